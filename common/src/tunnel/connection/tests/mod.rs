//! Two connections joined by two byte queues, driven step by step.

mod bounds;
mod exchange;
mod room;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use bytes::Buf;
use http::{Method, StatusCode, Uri};

use super::super::head::EncodedHead;
use super::*;
use crate::fields::Fields;
use crate::message::{RequestHead, Response};

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
        self.receive.receive(self.to_receive.split().freeze(), now)?;
        self.send.receive(self.to_send.split().freeze(), now)
    }

    /// Moves bytes until both ends have nothing more to say.
    fn settle(&mut self) {
        while !(self.send.output().is_empty() && self.receive.output().is_empty()) {
            self.step(usize::MAX).unwrap();
        }
    }

    fn open(&mut self, end: bool) -> u32 {
        match try_open(&mut self.send, &request(), end) {
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

/// Opens a stream, or gives up at once.
fn try_open(
    connection: &mut Connection,
    head: &EncodedHead,
    end: bool,
) -> Poll<Result<u32, TunnelError>> {
    let mut ticket = Ticket::default();
    let opened = connection.poll_open(&mut ticket, head, end, &context());
    connection.leave(&mut ticket);
    opened
}

/// Counts how often a task is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    fn task() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), wakes.into())
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn request() -> EncodedHead {
    let mut head = RequestHead::get(Uri::from_static("/"));
    head.method = Method::POST;
    EncodedHead::request(&head).unwrap()
}

fn answer() -> EncodedHead {
    EncodedHead::response(&Response::new(StatusCode::OK, ())).unwrap()
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
