//! Doors for the targets in `fuzz/`. Not part of any release build.
#![expect(clippy::unwrap_used, reason = "what fails here is a finding")]

use std::task::Waker;
use std::time::Duration;

use bytes::{Buf, Bytes};

use super::super::error::ResetCode;
use super::super::head::{self, EncodedHead};
use super::input::MAX_OUT;
use super::*;
use crate::message::Response;

/// Few, so that both ends soon have as many as they may.
const MAX_STREAMS: u32 = 8;

/// Runs a session against a peer and an application that `script` makes up: a byte that says what
/// to do, and what that needs.
pub fn frames(script: &[u8]) {
    let mut script = Bytes::copy_from_slice(script);
    if script.is_empty() {
        return;
    }
    let mut session = Fuzzed::new(script.get_u8());
    while script.remaining() >= 2 && session.connection.end.is_none() {
        let (action, argument) = (script.get_u8(), script.get_u8());
        session.act(action, argument, &mut script);
        session.check();
    }
    session.end();
}

/// Reads a head as each of the three kinds; what can be read, reads back after it was written.
pub fn heads(payload: &[u8]) {
    if let Some(trailers) = head::decode_trailers(payload)
        && let Ok(written) = EncodedHead::trailers(&trailers)
    {
        assert_eq!(head::decode_trailers(written.payload()), Some(trailers));
    }
    if let Some(response) = head::decode_response(payload)
        && let Ok(written) = EncodedHead::response(&response)
    {
        assert_eq!(head::decode_response(written.payload()), Some(response));
    }
    if let Some(request) = head::decode_request(payload)
        && let Ok(written) = EncodedHead::request(&request)
    {
        assert_eq!(head::decode_request(written.payload()), Some(request));
    }
}

struct Fuzzed {
    connection: Connection,
    input: BytesMut,
    now: Instant,
    /// Streams of which the application holds halves: reader, writer.
    held: Vec<(u32, bool, bool)>,
}

impl Fuzzed {
    fn new(first: u8) -> Self {
        let side = if first & 1 == 0 { Side::Send } else { Side::Receive };
        let now = Instant::now();
        let limits = Limits {
            max_streams: MAX_STREAMS,
            initial_credit: 4096,
            max_credit: 16_384,
            memory: 20_000,
            ..Limits::default()
        };
        let mut connection = Connection::new(side, limits, Hello::default(), now);
        let mut input = BytesMut::new();
        if first & 2 == 0 {
            let hello =
                Hello { max_streams: MAX_STREAMS, initial_credit: 5000, ..Hello::default() };
            input.extend_from_slice(&PREFACE);
            put_json(&mut input, Kind::Hello, &hello);
        }
        if first & 4 != 0 {
            connection.next_stream += u32::MAX - 5;
        }
        Self { connection, input, now, held: Vec::new() }
    }

    fn act(&mut self, action: u8, argument: u8, script: &mut Bytes) {
        let number = usize::from(argument);
        match action & 15 {
            0..4 => {
                let piece = script.split_to(number.min(script.len()));
                self.input.extend_from_slice(&piece);
                self.feed();
            }
            // A frame whose header fits its payload.
            4 => {
                let kind = FRAMES.get(number % FRAMES.len()).copied().unwrap_or(Kind::Ping);
                let stream = u32::from(action >> 4);
                let payload = script.split_to(number.min(script.len()));
                put_frame(&mut self.input, kind, stream, argument & 128 != 0, &payload);
                self.feed();
            }
            5 => {
                let len = (number * 256).min(self.connection.out.len());
                self.connection.out.advance(len);
                self.connection.wrote(len, self.now);
                self.connection.next_turn();
            }
            6 => self.wait(argument),
            _ => self.call(action, argument),
        }
    }

    /// Time passes, and the application may leave.
    fn wait(&mut self, argument: u8) {
        self.now += Duration::from_millis(u64::from(argument));
        if let Err(error) = self.connection.check(self.now) {
            self.connection.fail(error);
        }
        match argument {
            250 => self.connection.drain(),
            255 => self.connection.close("enough"),
            _ => {}
        }
    }

    /// The application does something with its streams.
    fn call(&mut self, action: u8, argument: u8) {
        let cx = Context::from_waker(Waker::noop());
        let connection = &mut self.connection;
        let number = usize::from(argument);
        let end = action & 16 != 0;
        let at = number.min(self.held.len().saturating_sub(1));
        let id = self.held.get(at).map_or(0, |(id, _, _)| *id);
        match action & 15 {
            7 => {
                let mut ticket = Ticket::default();
                let opened = connection.poll_open(&mut ticket, &head(), end, &cx);
                connection.leave(&mut ticket);
                if let Poll::Ready(Ok(id)) = opened {
                    self.held.push((id, true, true));
                }
            }
            8 => {
                if let Poll::Ready(Ok(id)) = connection.poll_accept(&cx) {
                    self.held.push((id, true, true));
                }
            }
            9 => drop(connection.poll_head(id, &cx)),
            10 => {
                if matches!(connection.poll_data(id, &cx), Poll::Ready(None)) {
                    connection.take_trailers(id);
                }
            }
            11 => {
                if let Poll::Ready(Ok(size)) = connection.poll_reserve(id, number * 64, &cx) {
                    connection.send_data(id, &vec![0; size], end);
                }
            }
            12 => drop(connection.poll_send_head(id, &head(), end, &cx)),
            13 => drop(connection.poll_send_trailers(id, &head(), &cx)),
            14 => connection.reset(id, ResetCode::Failed),
            _ => self.release(at, end),
        }
    }

    fn feed(&mut self) {
        if let Err(error) = self.connection.receive(self.input.split().freeze(), self.now) {
            self.connection.fail(error);
        }
        let needed = match self.connection.reading {
            Reading::Payload(header) => header.len,
            _ => PREFACE.len(),
        };
        assert!(self.connection.partial.len() < needed || self.connection.end.is_some());
    }

    /// Drops one half of a stream.
    fn release(&mut self, at: usize, reader: bool) {
        let Some((id, reads, writes)) = self.held.get_mut(at) else { return };
        if reader && std::mem::take(reads) {
            self.connection.release_reader(*id);
        } else if !reader && std::mem::take(writes) {
            self.connection.release_writer(*id);
        }
        self.held.retain(|(_, reads, writes)| *reads || *writes);
    }

    /// What holds at any time.
    fn check(&self) {
        let connection = &self.connection;
        let held: usize = connection.streams.values().map(|stream| stream.inbound.len()).sum();
        assert_eq!(connection.buffered, held);
        assert!(connection.buffered <= connection.limits.memory);
        assert!(connection.out.len() <= MAX_OUT || connection.end.is_some());
        let peers = connection.streams.keys().filter(|id| !connection.side.opens(**id)).count();
        assert_eq!(connection.peer_streams as usize, peers);
        assert!(connection.peer_streams <= MAX_STREAMS);
        assert_eq!(connection.streams.len(), self.held.len() + connection.accepted.len());
    }

    /// The application lets go of everything, and nothing is left.
    fn end(mut self) {
        self.connection.fail(TunnelError::HungUp);
        while !self.held.is_empty() {
            self.release(0, true);
            self.release(0, false);
        }
        let cx = Context::from_waker(Waker::noop());
        assert!(matches!(self.connection.poll_accept(&cx), Poll::Ready(Err(_))));
        assert_eq!((self.connection.streams.len(), self.connection.buffered), (0, 0));
        assert_eq!(self.connection.spare_credit, self.connection.limits.memory / 2);
        assert!(self.connection.queue.is_empty());
    }
}

const FRAMES: [Kind; 11] = [
    Kind::Head,
    Kind::Data,
    Kind::Trailers,
    Kind::Credit,
    Kind::Reset,
    Kind::Ping,
    Kind::Pong,
    Kind::Notice,
    Kind::Hello,
    Kind::Close,
    Kind::Unknown,
];

/// Some head; whether it says something is not the session's affair.
fn head() -> EncodedHead {
    EncodedHead::response(&Response::new(http::StatusCode::OK, ())).unwrap()
}
