//! The tunnel protocol as a state machine: bytes and time go in, bytes and wake-ups come out.
//!
//! A [`Connection`] knows no socket, no clock and no task, so tests drive it step by step.
//! The transport's driver calls [`input`] and [`turn`]; the streams' halves call [`output`],
//! [`reader`] and [`ending`].

mod ending;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod input;
mod openers;
mod output;
mod queue;
mod reader;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use self::input::Reading;
#[cfg(test)]
pub(crate) use self::input::{MAX_OUT, MAX_SMALL_FRAMES};
use self::openers::Openers;
pub(crate) use self::openers::Ticket;
use self::queue::Queue;
use super::error::{StreamError, TunnelError};
use super::frame::{Kind, MAX_REASON, PREFACE, put_frame};
use super::hello::{Hello, Notice};
use super::limits::Limits;
use super::liveness::Liveness;
use super::stream::{Slot, Stream};

/// Which streams a side opens, so that both may open some without asking.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// `tunnel-receive`: opens even streams.
    Receive,
    /// `tunnel-send`: opens odd streams.
    Send,
}

impl Side {
    fn first_stream(self) -> u32 {
        match self {
            Self::Send => 1,
            Self::Receive => 2,
        }
    }

    fn opens(self, stream: u32) -> bool {
        stream % 2 == self.first_stream() % 2
    }
}

/// Streams by id. Ids are small and sequential, so one multiplication spreads them well enough.
type Streams = HashMap<u32, Stream, BuildHasherDefault<IdHasher>>;

/// The state of one tunnel.
pub(crate) struct Connection {
    side: Side,
    limits: Limits,
    /// The time of the last call that brought one.
    now: Instant,
    started_at: Instant,
    liveness: Liveness,

    reading: Reading,
    /// The beginning of a preface, a header or a payload that has not come whole.
    partial: BytesMut,
    /// Small frames since the last PING was due; see [`input`].
    small_frames: u32,

    out: BytesMut,
    /// Bytes of output that were taken by the transport.
    written: u64,
    /// Counts the times that the out buffer ran low; a stream gets one quantum each time.
    turn: u64,
    queue: Queue,
    openers: Openers,
    driver: Slot,

    streams: Streams,
    next_stream: u32,
    peer_streams: u32,
    accepted: VecDeque<u32>,
    acceptor: Slot,
    /// Unread bytes on all streams, heads and trailers included.
    buffered: usize,
    /// What all windows together may still grow by.
    spare_credit: usize,
    /// When there was last more than one stream.
    shared_at: Option<Instant>,

    /// This end's HELLO said that it takes no streams yet.
    standby: bool,
    peer: Option<Hello>,
    peer_draining: bool,
    drain: Option<DrainMark>,
    closing: Option<Goodbye>,
    end: Option<TunnelError>,
    /// Counts the changes that [`Self::poll_changed`] tells of.
    changes: u64,
    observer: Slot,
}

/// A CLOSE on its way out. What comes behind it is for nobody.
#[derive(Clone, Copy, Debug)]
struct Goodbye {
    said_at: Instant,
    /// Where it ends in the tunnel's output, counted from its start.
    ends_at: u64,
}

/// How far this side's drain has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DrainMark {
    /// The peer may not have read the notice yet: streams that it opens are still served.
    Announced { ping: u64 },
    /// The peer has answered a PING that was sent after the notice.
    Known,
    /// Nothing is in flight any more, but the last answers may still be on their way.
    Ended { ping: u64 },
    /// The peer has answered a PING that was sent after them.
    Arrived,
}

impl Connection {
    pub(crate) fn new(side: Side, limits: Limits, hello: Hello, now: Instant) -> Self {
        let limits = limits.on_the_wire();
        let hello = Hello {
            max_streams: limits.max_streams,
            initial_credit: limits.initial_credit as u32,
            ..hello
        };
        let mut out = BytesMut::from(&PREFACE[..]);
        put_json(&mut out, Kind::Hello, &hello);
        Self {
            side,
            now,
            started_at: now,
            liveness: Liveness::new(now),
            reading: Reading::Preface,
            partial: BytesMut::new(),
            small_frames: 0,
            out,
            written: 0,
            turn: 0,
            queue: Queue::default(),
            openers: Openers::default(),
            driver: Slot::default(),
            streams: Streams::default(),
            next_stream: side.first_stream(),
            peer_streams: 0,
            accepted: VecDeque::new(),
            acceptor: Slot::default(),
            buffered: 0,
            spare_credit: limits.memory / 2,
            shared_at: None,
            standby: hello.draining,
            peer: None,
            peer_draining: false,
            drain: None,
            closing: None,
            end: None,
            changes: 0,
            observer: Slot::default(),
            limits,
        }
    }

    /// Tells the peer what has changed.
    pub(crate) fn notify(&mut self, notice: &Notice) {
        put_json(&mut self.out, Kind::Notice, notice);
        self.driver.wake();
    }

    /// Lets the peer open streams, where HELLO said that it must not yet; unless the tunnel is about to
    /// end.
    pub(crate) fn join(&mut self) {
        if self.drain.is_some() || self.closing.is_some() {
            return;
        }
        if std::mem::take(&mut self.standby) {
            self.notify(&Notice { draining: Some(false), ..Notice::default() });
            self.changed();
        }
    }

    /// Whether the peer must not open streams yet.
    pub(crate) fn is_standby(&self) -> bool {
        self.standby
    }

    /// Asks the peer to open no more streams; those that it has opened, or opens before it knows,
    /// are served to their end.
    pub(crate) fn drain(&mut self) {
        if self.drain.is_some() {
            return;
        }
        self.notify(&Notice { draining: Some(true), ..Notice::default() });
        let ping = self.ping();
        self.drain = Some(DrainMark::Announced { ping });
    }

    /// Nothing is in flight, nothing will be, and the peer has all that was sent: a slow path may
    /// hold megabytes that nobody waits for once the tunnel is closed.
    pub(crate) fn is_drained(&self) -> bool {
        self.drain == Some(DrainMark::Arrived)
    }

    /// Whether the peer must know by now that it can open no more streams.
    fn refuses_streams(&self) -> bool {
        !matches!(self.drain, None | Some(DrainMark::Announced { .. }))
    }

    /// The drain may have come further: the last stream is gone, or `pong` has come.
    fn advance_drain(&mut self, pong: Option<u64>) {
        match self.drain {
            Some(DrainMark::Announced { ping }) if pong == Some(ping) => {
                self.drain = Some(DrainMark::Known);
                self.advance_drain(None);
            }
            Some(DrainMark::Known) if self.streams.is_empty() => {
                let ping = self.ping();
                self.drain = Some(DrainMark::Ended { ping });
            }
            Some(DrainMark::Ended { ping }) if pong == Some(ping) => {
                self.drain = Some(DrainMark::Arrived);
                self.changed();
            }
            _ => {}
        }
    }

    /// Says goodbye: what was sent before still leaves, then the driver ends the tunnel. Of
    /// `reason`, the peer is told the first [`MAX_REASON`] bytes.
    pub(crate) fn close(&mut self, reason: &str) {
        if self.closing.is_none() && self.end.is_none() {
            let len = reason.floor_char_boundary(MAX_REASON);
            let reason = reason.as_bytes().get(..len).unwrap_or(&[]);
            put_frame(&mut self.out, Kind::Close, 0, false, reason);
            let ends_at = self.written + self.out.len() as u64;
            self.closing = Some(Goodbye { said_at: self.now, ends_at });
            self.openers.wake(usize::MAX);
            self.driver.wake();
        }
    }

    /// Ends the tunnel, and every stream with it.
    pub(crate) fn fail(&mut self, error: TunnelError) {
        if self.end.is_some() {
            return;
        }
        for stream in self.streams.values_mut() {
            let sent = stream.begun_at <= self.written;
            self.buffered -= stream.fail(StreamError::TunnelLost { cause: error.clone(), sent });
        }
        self.end = Some(error);
        self.acceptor.wake();
        self.driver.wake();
        self.openers.wake(usize::MAX);
        self.changed();
    }

    /// Whom to wake when there is something to write.
    pub(crate) fn set_driver(&mut self, cx: &Context<'_>) {
        self.driver.register(cx);
    }

    pub(crate) fn end(&self) -> Option<&TunnelError> {
        self.end.as_ref()
    }

    pub(crate) fn peer(&self) -> Option<&Hello> {
        self.peer.as_ref()
    }

    /// Whether new streams may be opened.
    pub(crate) fn is_open(&self) -> bool {
        self.end.is_none() && self.closing.is_none() && !self.peer_draining && self.peer.is_some()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.streams.len()
    }

    /// Unread bytes on all streams, heads and trailers included.
    pub(crate) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Resolves when HELLO or a NOTICE came, a drain is over, or the tunnel ended, since `seen` was
    /// returned. For one task at a time.
    pub(crate) fn poll_changed(&mut self, seen: u64, cx: &Context<'_>) -> Poll<u64> {
        if self.changes != seen {
            return Poll::Ready(self.changes);
        }
        self.observer.register(cx);
        Poll::Pending
    }

    fn changed(&mut self) {
        self.changes += 1;
        self.observer.wake();
    }

    fn ping(&mut self) -> u64 {
        let nonce = self.liveness.ping(self.now);
        put_frame(&mut self.out, Kind::Ping, 0, false, &nonce.to_be_bytes());
        self.driver.wake();
        nonce
    }
}

fn put_json(out: &mut BytesMut, kind: Kind, value: &impl serde::Serialize) {
    // Strings, numbers and lists of them always serialise.
    let json = serde_json::to_vec(value).unwrap_or_default();
    put_frame(out, kind, 0, false, &json);
}

#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // The table looks at the low bits, into which the high bits of an id do not reach.
        self.0 ^ self.0 >> 32
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        // Fibonacci hashing: 2^64 divided by the golden ratio.
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
