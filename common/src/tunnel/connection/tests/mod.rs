//! Two connections joined by two byte queues, driven step by step.

use std::collections::HashMap;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::Method;
use http::header::HeaderMap;
use proptest::prelude::*;

use super::super::error::ResetCode;
use super::super::frame::{HEADER_LEN, MAX_HEAD};
use super::super::head::EncodedHead;
use super::*;

/// Both ends of a tunnel, and what is underway between them.
struct Pair {
    now: Instant,
    send: Connection,
    receive: Connection,
    /// What has left one end and has not reached the other.
    to_receive: BytesMut,
    to_send: BytesMut,
}

impl Pair {
    fn new(limits: &Limits) -> Self {
        let now = Instant::now();
        let connection = |side| Connection::new(side, limits.clone(), Hello::default(), now);
        Self {
            now,
            send: connection(Side::Send),
            receive: connection(Side::Receive),
            to_receive: BytesMut::new(),
            to_send: BytesMut::new(),
        }
    }

    fn connected(limits: &Limits) -> Self {
        let mut pair = Self::new(limits);
        pair.settle();
        pair
    }

    /// Moves up to `len` bytes each way.
    fn step(&mut self, len: usize) -> Result<(), TunnelError> {
        let now = self.now;
        take(&mut self.send, &mut self.to_receive, len, now);
        take(&mut self.receive, &mut self.to_send, len, now);
        self.receive.receive(&mut self.to_receive, now)?;
        self.send.receive(&mut self.to_send, now)
    }

    /// Moves bytes until both ends have nothing more to say.
    fn settle(&mut self) {
        while !(self.send.output().is_empty() && self.receive.output().is_empty()) {
            self.step(usize::MAX).unwrap();
        }
    }

    fn open(&mut self, end: bool) -> u32 {
        match self.send.poll_open(&request(), end, &context()) {
            Poll::Ready(Ok(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn accept(&mut self) -> u32 {
        match self.receive.poll_accept(&context()) {
            Poll::Ready(Ok(id)) => id,
            other => panic!("{other:?}"),
        }
    }

    fn assert_nothing_left(&self, limits: &Limits) {
        for end in [&self.send, &self.receive] {
            assert_eq!((end.in_flight(), end.buffered, end.peer_streams), (0, 0, 0));
            assert_eq!(end.spare_credit, limits.memory / 2);
            assert!(end.accepted.is_empty());
        }
    }
}

fn take(from: &mut Connection, queue: &mut BytesMut, len: usize, now: Instant) {
    let len = len.min(from.output().len());
    queue.extend_from_slice(&from.output()[..len]);
    from.output().advance(len);
    from.wrote(len, now);
    from.next_turn();
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn request() -> EncodedHead {
    EncodedHead::request(&Method::POST, "/", &HeaderMap::new()).unwrap()
}

fn answer() -> EncodedHead {
    EncodedHead::response(http::StatusCode::OK, &HeaderMap::new()).unwrap()
}

fn send_all(connection: &mut Connection, id: u32, mut data: &[u8]) -> usize {
    let before = data.len();
    while let Poll::Ready(Ok(size)) = connection.poll_reserve(id, data.len(), &context()) {
        if size == 0 {
            break;
        }
        connection.send_data(id, &data[..size], false);
        data = &data[size..];
    }
    before - data.len()
}

fn read_all(connection: &mut Connection, id: u32) -> Vec<u8> {
    let mut read = Vec::new();
    while let Poll::Ready(Some(Ok(data))) = connection.poll_data(id, &context()) {
        read.extend_from_slice(&data);
    }
    read
}

fn release(connection: &mut Connection, id: u32) {
    connection.release_writer(id);
    connection.release_reader(id);
}

#[test]
fn a_request_and_its_answer_leave_nothing_behind() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(true);
    pair.settle();
    assert_eq!(pair.accept(), id);
    assert!(pair.receive.poll_head(id, &context()).is_ready());
    assert!(pair.receive.poll_send_head(id, &answer(), false, &context()).is_ready());
    assert_eq!(send_all(&mut pair.receive, id, b"body"), 4);
    pair.receive.send_end(id);
    pair.settle();
    assert!(pair.send.poll_head(id, &context()).is_ready());
    assert_eq!(read_all(&mut pair.send, id), b"body");
    assert!(pair.send.is_finished(id));
    release(&mut pair.receive, id);
    release(&mut pair.send, id);
    pair.settle();
    pair.assert_nothing_left(&limits);
}

#[test]
fn nothing_is_opened_before_hello() {
    let mut pair = Pair::new(&Limits::default());
    assert!(pair.send.poll_open(&request(), true, &context()).is_pending());
    pair.settle();
    assert!(pair.send.poll_open(&request(), true, &context()).is_ready());
}

#[test]
fn a_sender_stops_at_the_credit_and_goes_on_when_it_is_read() {
    let limits = Limits { initial_credit: 1000, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    assert_eq!(send_all(&mut pair.send, id, &[7; 5000]), 1000);
    pair.settle();
    assert_eq!(send_all(&mut pair.send, id, &[7; 5000]), 0);
    assert_eq!(read_all(&mut pair.receive, id).len(), 1000);
    pair.settle();
    assert_eq!(send_all(&mut pair.send, id, &[7; 400]), 400);
}

#[test]
fn data_beyond_the_credit_ends_the_tunnel() {
    let limits = Limits { initial_credit: 10, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    pair.send.out.put_frame(Kind::Data, id, false, &[0; 11]);
    assert!(matches!(pair.step(usize::MAX), Err(TunnelError::Protocol(_))));
}

#[test]
fn a_stalled_stream_costs_others_nothing() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let (stalled, other) = (pair.open(false), pair.open(false));
    let data = vec![1; limits.initial_credit];
    for _ in 0..100 {
        send_all(&mut pair.send, stalled, &data);
        pair.settle();
    }
    assert_eq!(pair.receive.buffered, limits.initial_credit);
    assert_eq!(send_all(&mut pair.send, other, b"quick"), 5);
    pair.settle();
    assert_eq!(read_all(&mut pair.receive, other), b"quick");
}

#[test]
fn the_memory_cap_resets_the_stream_that_holds_the_most() {
    let limits = Limits { memory: 1500, initial_credit: 1000, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    let (greedy, modest) = (pair.open(false), pair.open(false));
    send_all(&mut pair.send, modest, &[1; 600]);
    send_all(&mut pair.send, greedy, &[1; 1000]);
    pair.settle();
    let failure = |pair: &Pair, id| pair.send.streams[&id].failure.clone();
    assert!(matches!(failure(&pair, greedy), Some(StreamError::Reset(ResetCode::Overloaded))));
    assert!(failure(&pair, modest).is_none());
    assert_eq!(pair.receive.buffered, 600);
}

#[test]
fn streams_over_the_limit_are_refused_as_not_begun() {
    let limits = Limits { max_streams: 1, ..Limits::default() };
    let mut pair = Pair::connected(&limits);
    pair.open(true);
    assert!(pair.send.poll_open(&request(), true, &context()).is_pending(), "the peer said 1");
    pair.send.peer.as_mut().unwrap().max_streams = 2;
    let refused = pair.open(true);
    pair.settle();
    assert!(matches!(
        pair.send.poll_head(refused, &context()),
        Poll::Ready(Err(error)) if error.is_not_begun()
    ));
}

#[test]
fn an_early_answer_stops_the_upload() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(false);
    send_all(&mut pair.send, id, &[0; 1000]);
    pair.settle();
    pair.accept();
    assert!(pair.receive.poll_send_head(id, &answer(), false, &context()).is_ready());
    send_all(&mut pair.receive, id, b"no, thanks");
    pair.receive.send_end(id);
    release(&mut pair.receive, id);
    pair.settle();
    assert!(pair.send.poll_failed(id, &context()).is_ready(), "the uploader is told");
    assert!(pair.send.poll_head(id, &context()).is_ready());
    assert_eq!(read_all(&mut pair.send, id), b"no, thanks");
    release(&mut pair.send, id);
    pair.assert_nothing_left(&limits);
}

#[test]
fn a_caller_that_leaves_cancels_the_stream() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    let id = pair.open(true);
    pair.settle();
    pair.accept();
    release(&mut pair.send, id);
    pair.settle();
    assert!(matches!(
        pair.receive.poll_failed(id, &context()),
        Poll::Ready(StreamError::Reset(ResetCode::Cancelled))
    ));
    release(&mut pair.receive, id);
    pair.settle();
    pair.assert_nothing_left(&limits);
}

#[test]
fn a_lost_tunnel_tells_which_requests_never_left() {
    let mut pair = Pair::connected(&Limits::default());
    let sent = pair.open(true);
    pair.settle();
    let unsent = pair.open(true);
    pair.send.fail(TunnelError::HungUp);
    let begun = |pair: &mut Pair, id| match pair.send.poll_head(id, &context()) {
        Poll::Ready(Err(error)) => !error.is_not_begun(),
        other => panic!("{other:?}"),
    };
    assert!(begun(&mut pair, sent));
    assert!(!begun(&mut pair, unsent));
}

#[test]
fn a_drain_serves_what_comes_before_the_peer_knows() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    pair.receive.drain();
    let early = pair.open(true);
    pair.settle();
    assert_eq!(pair.accept(), early, "a stream that crossed the notice is served");
    assert!(!pair.receive.is_drained());
    assert!(matches!(
        pair.send.poll_open(&request(), true, &context()),
        Poll::Ready(Err(TunnelError::Closed))
    ));
    assert!(pair.receive.poll_send_head(early, &answer(), true, &context()).is_ready());
    release(&mut pair.receive, early);
    assert!(pair.receive.is_drained());
}

#[test]
fn floods_end_the_tunnel() {
    let flood = |kind, stream, payload: &[u8]| {
        let mut pair = Pair::connected(&Limits::default());
        let id = pair.open(false);
        for _ in 0..2000 {
            pair.send.out.put_frame(kind, stream * id, false, payload);
        }
        pair.step(usize::MAX)
    };
    assert!(flood(Kind::Ping, 0, &[0; 8]).is_err());
    assert!(flood(Kind::Notice, 0, b"{}").is_err());
    assert!(flood(Kind::Data, 1, b"").is_err());
    assert!(flood(Kind::Unknown, 0, b"").is_err());
    assert!(flood(Kind::Data, 1, b"x").is_ok(), "small DATA is covered by credit");
}

#[test]
fn refuses_other_versions_and_other_protocols() {
    for input in [&b"\0ISTHMUS\0\x02\0\0"[..], b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n"] {
        let mut pair = Pair::new(&Limits::default());
        let error = pair.send.receive(&mut BytesMut::from(input), pair.now);
        assert!(matches!(error, Err(TunnelError::Version)), "{input:?}");
    }
}

#[test]
fn skips_frames_of_later_versions() {
    let mut pair = Pair::connected(&Limits::default());
    pair.send.out.put_frame(Kind::Unknown, 5, true, b"whatever it is");
    let id = pair.open(true);
    pair.settle();
    assert_eq!(pair.accept(), id);
}

#[test]
fn finds_a_silent_peer() {
    let limits = Limits::default();
    let mut pair = Pair::connected(&limits);
    while pair.send.deadline() < pair.now + limits.silence {
        let deadline = pair.send.deadline();
        assert!(pair.send.check(deadline).is_ok());
    }
    assert!(matches!(pair.send.check(pair.now + limits.silence), Err(TunnelError::Silent(_))));
}

#[test]
fn a_peer_without_hello_is_given_up() {
    let limits = Limits { silence: Duration::from_secs(60), ..Limits::default() };
    let mut pair = Pair::new(&limits);
    let due = pair.now + limits.handshake;
    assert!(pair.send.deadline() <= due);
    assert!(matches!(pair.send.check(due), Err(TunnelError::Silent(_))));
}

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
                if let Poll::Ready(opened) =
                    self.pair.send.poll_open(&request(), body == 0, &context())
                {
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

#[test]
fn the_largest_head_fits_into_a_frame() {
    const { assert!(MAX_HEAD < 1 << 24 && HEADER_LEN == 8) };
    let mut headers = HeaderMap::new();
    headers.insert("x", Bytes::from(vec![b'a'; MAX_HEAD - 20]).to_vec().try_into().unwrap());
    let head = EncodedHead::request(&Method::GET, "/", &headers).unwrap();
    let mut pair = Pair::connected(&Limits::default());
    assert!(pair.send.poll_open(&head, true, &context()).is_ready());
    pair.settle();
    let id = pair.accept();
    assert!(matches!(pair.receive.poll_head(id, &context()), Poll::Ready(Ok(_))));
}
