//! Random schedules and random input.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::error::ResetCode;
use super::*;

/// What a random schedule may do next. Numbers choose among what is there.
#[derive(Clone, Debug)]
enum Action {
    Open { body: usize },
    Accept,
    Send { stream: usize, len: usize },
    Read { stream: usize },
    Reset { stream: usize, at_send: bool },
    Step { len: usize },
    Wait { millis: u64 },
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0usize..40_000).prop_map(|body| Action::Open { body }),
        3 => Just(Action::Accept),
        8 => (any::<usize>(), 1usize..20_000).prop_map(|(stream, len)| Action::Send { stream, len }),
        6 => any::<usize>().prop_map(|stream| Action::Read { stream }),
        1 => (any::<usize>(), any::<bool>())
            .prop_map(|(stream, at_send)| Action::Reset { stream, at_send }),
        8 => (1usize..30_000).prop_map(|len| Action::Step { len }),
        1 => (1u64..900).prop_map(|millis| Action::Wait { millis }),
    ]
}

/// An upload as both ends see it: `body` bytes whose values follow from stream and position.
#[derive(Default)]
struct Upload {
    body: usize,
    sent: usize,
    read: usize,
    accepted: bool,
    reset: bool,
}

fn byte_at(id: u32, position: usize) -> u8 {
    (id as usize).wrapping_mul(31).wrapping_add(position.wrapping_mul(7) >> 3) as u8
}

/// Runs a schedule over uploads and checks every byte on the way.
struct Schedule {
    pair: Pair,
    uploads: HashMap<u32, Upload>,
}

impl Schedule {
    fn pick(&self, number: usize) -> Option<u32> {
        let mut ids: Vec<_> = self.uploads.keys().copied().collect();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[number % ids.len()])
    }

    fn run(&mut self, action: &Action) {
        match *action {
            Action::Open { body } => {
                if let Poll::Ready(opened) = try_open(&mut self.pair.send, &request(), body == 0) {
                    self.uploads.insert(opened.unwrap(), Upload { body, ..Upload::default() });
                }
            }
            Action::Accept => {
                if let Poll::Ready(accepted) = self.pair.receive.poll_accept(&context()) {
                    self.uploads.get_mut(&accepted.unwrap()).unwrap().accepted = true;
                }
            }
            Action::Send { stream, len } => {
                self.pick(stream).into_iter().for_each(|id| self.send(id, len));
            }
            Action::Read { stream } => self.pick(stream).into_iter().for_each(|id| self.read(id)),
            Action::Reset { stream, at_send } => {
                let Some(id) = self.pick(stream) else { return };
                let end = if at_send { &mut self.pair.send } else { &mut self.pair.receive };
                end.reset(id, ResetCode::Cancelled);
                self.uploads.get_mut(&id).unwrap().reset = true;
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
        }
    }

    fn send(&mut self, id: u32, len: usize) {
        let upload = self.uploads.get_mut(&id).unwrap();
        let wanted = len.min(upload.body - upload.sent);
        if wanted == 0 {
            return;
        }
        if let Poll::Ready(Ok(size)) = self.pair.send.poll_reserve(id, wanted, &context()) {
            let data: Vec<_> =
                (upload.sent..upload.sent + size).map(|at| byte_at(id, at)).collect();
            upload.sent += size;
            self.pair.send.send_data(id, &data, upload.sent == upload.body);
        }
    }

    fn read(&mut self, id: u32) {
        let upload = self.uploads.get_mut(&id).unwrap();
        if !upload.accepted {
            return;
        }
        if let Poll::Ready(Some(Ok(data))) = self.pair.receive.poll_data(id, &context()) {
            for byte in data {
                assert_eq!(byte, byte_at(id, upload.read), "stream {id} at {}", upload.read);
                upload.read += 1;
            }
        }
    }

    /// Lets every upload come to its end.
    fn finish(&mut self) {
        for _ in 0..1000 {
            self.run(&Action::Accept);
            let ids: Vec<_> = self.uploads.keys().copied().collect();
            for id in ids {
                self.send(id, usize::MAX);
                self.read(id);
            }
            self.pair.settle();
        }
        for (id, upload) in &self.uploads {
            assert!(upload.reset || upload.read == upload.body, "stream {id} is not complete");
            release(&mut self.pair.send, *id);
            if upload.accepted {
                release(&mut self.pair.receive, *id);
            }
        }
        self.pair.settle();
        while self.pair.receive.poll_accept(&context()).is_ready() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_schedule_delivers_the_same_bytes(actions in proptest::collection::vec(action(), 1..200)) {
        let limits = Limits { initial_credit: 4096, max_credit: 16_384, max_streams: 8, ..Limits::default() };
        let pair = Pair::connected(&limits);
        let mut schedule = Schedule { pair, uploads: HashMap::new() };
        for action in &actions {
            schedule.run(action);
        }
        schedule.finish();
        schedule.pair.assert_nothing_left(&limits);
    }

    #[test]
    fn any_input_is_survived(input in proptest::collection::vec(any::<u8>(), 0..2000), cut in 1usize..100) {
        let mut pair = Pair::connected(&Limits::default());
        pair.open(false);
        let mut queue = BytesMut::new();
        for piece in input.chunks(cut) {
            queue.extend_from_slice(piece);
            if pair.receive.receive(&mut queue, pair.now).is_err() {
                break;
            }
        }
    }

    #[test]
    fn any_frame_is_survived(
        frames in proptest::collection::vec((0u8..12, 0u32..6, any::<bool>(), 0usize..40, any::<u8>()), 1..60),
    ) {
        let mut pair = Pair::connected(&Limits::default());
        pair.open(false);
        pair.settle();
        let mut input = BytesMut::new();
        for (kind, stream, end, len, fill) in frames {
            input.extend_from_slice(&stream.to_be_bytes());
            input.extend_from_slice(&[kind | if end { 0x80 } else { 0 }, 0, 0, len as u8]);
            input.extend_from_slice(&vec![fill; len]);
        }
        let _ = pair.send.receive(&mut input.clone(), pair.now);
        let _ = pair.receive.receive(&mut input, pair.now);
    }
}
