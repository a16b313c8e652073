//! Random schedules and random input.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::error::ResetCode;
use super::*;

/// What a random schedule may do next. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Action {
    Open { up: usize, down: usize, from_receive: bool },
    Accept,
    Send { exchange: usize, len: usize, answer: bool },
    Read { exchange: usize, answer: bool },
    Reset { exchange: usize, opener: bool },
    DropReader { exchange: usize, opener: bool },
    DropWriter { exchange: usize, opener: bool },
    Step { len: usize },
    Wait { millis: u64 },
    Drain { receive: bool },
}

fn action() -> impl Strategy<Value = Action> {
    let choice = || (any::<usize>(), any::<bool>());
    prop_oneof![
        6 => (0usize..40_000, 0usize..40_000, any::<bool>())
            .prop_map(|(up, down, from_receive)| Action::Open { up, down, from_receive }),
        6 => Just(Action::Accept),
        24 => (choice(), 1usize..20_000)
            .prop_map(|((exchange, answer), len)| Action::Send { exchange, len, answer }),
        18 => choice().prop_map(|(exchange, answer)| Action::Read { exchange, answer }),
        1 => choice().prop_map(|(exchange, opener)| Action::Reset { exchange, opener }),
        1 => choice().prop_map(|(exchange, opener)| Action::DropReader { exchange, opener }),
        1 => choice().prop_map(|(exchange, opener)| Action::DropWriter { exchange, opener }),
        18 => (1usize..30_000).prop_map(|len| Action::Step { len }),
        3 => (1u64..900).prop_map(|millis| Action::Wait { millis }),
        1 => any::<bool>().prop_map(|receive| Action::Drain { receive }),
    ]
}

/// One direction of a stream: `len` bytes that follow from stream and position, then trailers.
#[derive(Debug, Default)]
struct Flow {
    len: usize,
    sent: usize,
    read: usize,
    head_sent: bool,
    head_read: bool,
    trailers_sent: bool,
    trailers_read: bool,
    writer_dropped: bool,
    reader_dropped: bool,
}

impl Flow {
    fn is_complete(&self) -> bool {
        self.read == self.len && self.trailers_read
    }

    /// Sends what can be sent of the flow: head, up to `len` bytes, trailers.
    fn send(&mut self, connection: &mut Connection, id: u32, len: usize) {
        if self.writer_dropped || self.trailers_sent {
            return;
        }
        if !self.head_sent {
            let sent = connection.poll_send_head(id, &answer(), false, &context());
            self.head_sent = matches!(sent, Poll::Ready(Ok(())));
            if !self.head_sent {
                return;
            }
        }
        let wanted = len.min(self.len - self.sent);
        if let Poll::Ready(Ok(size)) = connection.poll_reserve(id, wanted, &context()) {
            let data: Vec<_> = (self.sent..self.sent + size).map(|at| byte_at(id, at)).collect();
            connection.send_data(id, &data, false);
            self.sent += size;
        }
        if self.sent == self.len {
            let trailers = EncodedHead::trailers(&Fields::new()).unwrap();
            let sent = connection.poll_send_trailers(id, &trailers, &context());
            self.trailers_sent = matches!(sent, Poll::Ready(Ok(())));
        }
    }

    /// Reads one thing and checks it.
    fn read(&mut self, connection: &mut Connection, id: u32) {
        if self.reader_dropped || self.trailers_read {
            return;
        }
        if !self.head_read {
            let head = connection.poll_head(id, &context());
            self.head_read = matches!(head, Poll::Ready(Ok(_)));
            return;
        }
        match connection.poll_data(id, &context()) {
            Poll::Ready(Some(Ok(data))) => {
                for byte in data {
                    assert_eq!(byte, byte_at(id, self.read), "stream {id} at {}", self.read);
                    self.read += 1;
                }
            }
            Poll::Ready(None) => {
                assert_eq!(self.read, self.len, "stream {id} ended early");
                self.trailers_read = connection.take_trailers(id).is_some();
                assert!(self.trailers_read && connection.is_finished(id));
            }
            _ => {}
        }
    }
}

fn byte_at(id: u32, position: usize) -> u8 {
    (id as usize).wrapping_mul(31).wrapping_add(position.wrapping_mul(7) >> 3) as u8
}

/// A stream as both ends see it.
#[derive(Debug, Default)]
struct Exchange {
    up: Flow,
    down: Flow,
    accepted: bool,
    /// Some end gave it up, so that it need not come to its end.
    broken: bool,
}

/// Runs a schedule over streams in both directions, and checks every byte on the way.
struct Schedule {
    pair: Pair,
    exchanges: BTreeMap<u32, Exchange>,
}

impl Schedule {
    fn run(&mut self, action: &Action) {
        match *action {
            Action::Open { up, down, from_receive } => self.open(up, down, from_receive),
            Action::Accept => {
                self.accept(true);
                self.accept(false);
            }
            Action::Send { exchange, len, answer } => {
                self.pick(exchange).into_iter().for_each(|id| self.send(id, len, answer));
            }
            Action::Read { exchange, answer } => {
                self.pick(exchange).into_iter().for_each(|id| self.read(id, answer));
            }
            Action::Reset { exchange, opener } => {
                let Some((exchange, end, id)) = self.end_of(exchange, opener) else { return };
                exchange.broken = true;
                end.reset(id, ResetCode::Cancelled);
            }
            Action::DropReader { exchange, opener } => {
                let Some((exchange, end, id)) = self.end_of(exchange, opener) else { return };
                let flow = if opener { &mut exchange.down } else { &mut exchange.up };
                if !std::mem::replace(&mut flow.reader_dropped, true) {
                    exchange.broken = true;
                    end.release_reader(id);
                }
            }
            Action::DropWriter { exchange, opener } => {
                let Some((exchange, end, id)) = self.end_of(exchange, opener) else { return };
                let flow = if opener { &mut exchange.up } else { &mut exchange.down };
                if !std::mem::replace(&mut flow.writer_dropped, true) {
                    exchange.broken = true;
                    end.release_writer(id);
                }
            }
            Action::Step { len } => self.pair.step(len).unwrap(),
            Action::Wait { millis } => {
                // The peer answers in time, as settle() sees to; only time passes.
                self.pair.settle();
                self.pair.now += Duration::from_millis(millis);
                let now = self.pair.now;
                self.pair.send.check(now).unwrap();
                self.pair.receive.check(now).unwrap();
                self.pair.settle();
            }
            Action::Drain { receive: true } => self.pair.receive.drain(),
            Action::Drain { receive: false } => self.pair.send.drain(),
        }
        self.check();
    }

    /// What holds at any time.
    fn check(&self) {
        for end in [&self.pair.send, &self.pair.receive] {
            let held: usize = end.streams.values().map(|stream| stream.inbound.len()).sum();
            assert_eq!(end.buffered, held);
            let theirs = end.streams.keys().filter(|id| !end.side.opens(**id)).count();
            assert_eq!(end.peer_streams as usize, theirs);
        }
    }

    fn pick(&self, number: usize) -> Option<u32> {
        let count = self.exchanges.len().max(1);
        self.exchanges.keys().nth(number % count).copied()
    }

    /// One end of an exchange, unless it does not know of it yet.
    fn end_of(
        &mut self,
        number: usize,
        opener: bool,
    ) -> Option<(&mut Exchange, &mut Connection, u32)> {
        let id = self.pick(number)?;
        let exchange = self.exchanges.get_mut(&id)?;
        (opener || exchange.accepted).then(|| (exchange, self.pair.end(id, opener), id))
    }

    fn open(&mut self, up: usize, down: usize, from_receive: bool) {
        let end = if from_receive { &mut self.pair.receive } else { &mut self.pair.send };
        if let Poll::Ready(Ok(id)) = try_open(end, &request(), false) {
            let up = Flow { len: up, head_sent: true, ..Flow::default() };
            let down = Flow { len: down, ..Flow::default() };
            self.exchanges.insert(id, Exchange { up, down, ..Exchange::default() });
        }
    }

    fn accept(&mut self, at_receive: bool) {
        let end = if at_receive { &mut self.pair.receive } else { &mut self.pair.send };
        if let Poll::Ready(accepted) = end.poll_accept(&context()) {
            self.exchanges.get_mut(&accepted.unwrap()).unwrap().accepted = true;
        }
    }

    fn send(&mut self, id: u32, len: usize, answer: bool) {
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let end = self.pair.end(id, !answer);
        match answer {
            true if exchange.accepted => exchange.down.send(end, id, len),
            true => {}
            false => exchange.up.send(end, id, len),
        }
    }

    fn read(&mut self, id: u32, answer: bool) {
        let exchange = self.exchanges.get_mut(&id).unwrap();
        let end = self.pair.end(id, answer);
        match answer {
            true => exchange.down.read(end, id),
            false if exchange.accepted => exchange.up.read(end, id),
            false => {}
        }
    }

    /// Lets every exchange come to its end.
    fn finish(&mut self) {
        for _ in 0..200 {
            self.run(&Action::Accept);
            let ids: Vec<_> = self.exchanges.keys().copied().collect();
            for id in ids {
                for answer in [false, true] {
                    self.send(id, usize::MAX, answer);
                    (0..4).for_each(|_| self.read(id, answer));
                }
            }
            self.pair.settle();
        }
        for (id, exchange) in &self.exchanges {
            let complete = exchange.up.is_complete() && exchange.down.is_complete();
            let stream = self.pair.end(*id, true).streams.get(id);
            let failure = stream.and_then(|stream| stream.failure.as_ref());
            let refused = !exchange.accepted && failure.is_some_and(StreamError::is_not_begun);
            assert!(complete || exchange.broken || refused, "stream {id} stalls: {exchange:?}");
        }
        for (id, exchange) in std::mem::take(&mut self.exchanges) {
            let Exchange { up, down, accepted, .. } = exchange;
            let halves = [(true, up.writer_dropped, down.reader_dropped)];
            let theirs = accepted.then_some((false, down.writer_dropped, up.reader_dropped));
            for (opener, writer_dropped, reader_dropped) in halves.into_iter().chain(theirs) {
                let end = self.pair.end(id, opener);
                if !writer_dropped {
                    end.release_writer(id);
                }
                if !reader_dropped {
                    end.release_reader(id);
                }
            }
        }
        self.pair.settle();
        while self.pair.receive.poll_accept(&context()).is_ready() {}
        while self.pair.send.poll_accept(&context()).is_ready() {}
    }
}

impl Pair {
    /// The end that has opened the stream, or the other.
    fn end(&mut self, id: u32, opener: bool) -> &mut Connection {
        match Side::Send.opens(id) == opener {
            true => &mut self.send,
            false => &mut self.receive,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_schedule_delivers_the_same_bytes(
        actions in proptest::collection::vec(action(), 1..300),
    ) {
        let limits = Limits {
            initial_credit: 4096,
            max_credit: 16_384,
            max_streams: 8,
            ..Limits::default()
        };
        let pair = Pair::connected(&limits);
        let mut schedule = Schedule { pair, exchanges: BTreeMap::new() };
        for action in &actions {
            schedule.run(action);
        }
        schedule.finish();
        schedule.pair.assert_nothing_left(&limits);
    }

    #[test]
    fn any_script_is_survived(script in proptest::collection::vec(any::<u8>(), 0..3000)) {
        fuzzing::frames(&script);
    }
}
