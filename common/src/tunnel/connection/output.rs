//! Streams are opened, and what they send goes into the out buffer.

use std::task::{Context, Poll, Waker};

use super::super::error::{StreamError, TunnelError};
use super::super::frame::{Kind, MAX_DATA, put_frame};
use super::super::head::EncodedHead;
use super::super::stream::Stream;
use super::super::window::Window;
use super::{Connection, Ticket};

/// Up to here streams may fill the out buffer. A small request that comes behind it waits for at
/// most this many bytes.
pub(super) const ROOM: usize = 4 * QUANTUM;

/// Up to here heads and trailers may fill the out buffer, and the first [`YOUNG`] bytes of each
/// stream, so that small exchanges pass by bulky ones.
pub(super) const ROOM_FOR_SMALL: usize = 512 * 1024;

/// How much of a stream counts as small.
const YOUNG: usize = 16 * 1024;

/// What a stream may append each time that the out buffer ran low.
const QUANTUM: usize = MAX_DATA;

/// What a head usually takes, to tell how many streams may be opened at a time.
const USUAL_HEAD: usize = 1024;

impl Connection {
    /// Opens a stream with a request's head. Waits until the peer has said HELLO, takes one more
    /// stream, and the out buffer has room. Whoever gives up must [leave](Self::leave).
    pub(crate) fn poll_open(
        &mut self,
        ticket: &mut Ticket,
        head: &EncodedHead,
        end: bool,
        cx: &Context<'_>,
    ) -> Poll<Result<u32, TunnelError>> {
        if let Some(error) = &self.end {
            return Poll::Ready(Err(error.clone()));
        }
        if self.closing.is_some() || self.peer_draining {
            return Poll::Ready(Err(TunnelError::Closed));
        }
        let peer_credit = match &self.peer {
            Some(peer) if self.openers.may_open(ticket, self.free()) => peer.initial_credit,
            _ => {
                self.openers.wait(ticket, cx);
                return Poll::Pending;
            }
        };
        self.openers.leave(ticket);
        let window = Window::new(self.limits.initial_credit, self.now);
        let mut stream = Stream::new(window, peer_credit as usize);
        let id = self.free_id();
        put_frame(&mut self.out, Kind::Head, id, end, head.payload());
        stream.begun_at = self.written + self.out.len() as u64;
        stream.ended = end;
        self.streams.insert(id, stream);
        self.driver.wake();
        Poll::Ready(Ok(id))
    }

    /// Gives up a place in the line of [`Self::poll_open`].
    pub(crate) fn leave(&mut self, ticket: &mut Ticket) {
        if self.openers.leave(ticket) {
            self.wake_openers();
        }
    }

    /// How many streams may be opened now, as far as the peer and the out buffer are concerned.
    fn free(&self) -> usize {
        let Some(peer) = &self.peer else { return 0 };
        let opened = self.streams.len() - self.peer_streams as usize;
        let room = ROOM_FOR_SMALL.saturating_sub(self.out.len()).div_ceil(USUAL_HEAD);
        (peer.max_streams as usize).saturating_sub(opened).min(room)
    }

    pub(super) fn wake_openers(&mut self) {
        self.openers.wake(self.free());
    }

    /// Ids count up and begin again after four billion; one still in use then is passed by.
    fn free_id(&mut self) -> u32 {
        loop {
            let id = self.next_stream;
            self.next_stream = id.checked_add(2).unwrap_or(self.side.first_stream());
            if !self.streams.contains_key(&id) {
                return id;
            }
        }
    }

    /// The next stream that the peer has opened.
    pub(crate) fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Result<u32, TunnelError>> {
        while let Some(id) = self.accepted.pop_front() {
            match self.streams.get(&id) {
                Some(stream) if stream.failure.is_none() => return Poll::Ready(Ok(id)),
                _ => self.remove(id),
            }
        }
        if let Some(error) = &self.end {
            return Poll::Ready(Err(error.clone()));
        }
        self.acceptor.register(cx);
        Poll::Pending
    }

    /// How many of `wanted` bytes may be sent now; waits while that is none, or credit is short of a
    /// whole frame. With half of a first window in hand more is on its way, unless nobody reads.
    pub(crate) fn poll_reserve(
        &mut self,
        id: u32,
        wanted: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<usize, StreamError>> {
        let (out, turn, line) = (self.out.len(), self.turn, self.queue.has_bulky());
        let closing = self.closing.is_some();
        let half = self.peer.as_ref().map_or(0, |peer| peer.initial_credit as usize / 2);
        let least = wanted.min(QUANTUM).min(half).max(1);
        let stream = match self.live(id) {
            Ok(stream) => stream,
            Err(error) => return Poll::Ready(Err(error)),
        };
        stream.writer.register(cx);
        if stream.credit < least || closing {
            return Poll::Pending;
        }
        let young = YOUNG.saturating_sub(stream.sent).min(ROOM_FOR_SMALL.saturating_sub(out));
        let room = match line && stream.called_in != turn {
            // Those that wait come first.
            true => young,
            false => young.max(ROOM.saturating_sub(out)),
        };
        let size = stream.quantum(turn, QUANTUM).min(room).min(stream.credit).min(wanted);
        if size > 0 || wanted == 0 {
            return Poll::Ready(Ok(size));
        }
        self.enqueue(id);
        Poll::Pending
    }

    fn enqueue(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if std::mem::replace(&mut stream.queued, true) {
            return;
        }
        match stream.sent < YOUNG {
            true => self.queue.push_small(id),
            false => self.queue.push_bulky(id, stream.called_in == self.turn && stream.used == 0),
        }
        self.driver.wake();
    }

    /// Whether END was sent.
    pub(crate) fn is_ended(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(|stream| stream.ended)
    }

    /// Sends DATA, no more than [`Self::poll_reserve`] has just allowed.
    pub(crate) fn send_data(&mut self, id: u32, data: &[u8], end: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.failure.is_some() || stream.ended {
            return;
        }
        self.queue.served(id);
        stream.credit = stream.credit.saturating_sub(data.len());
        stream.sent += data.len();
        stream.used += data.len();
        stream.ended |= end;
        put_frame(&mut self.out, Kind::Data, id, end, data);
        self.driver.wake();
    }

    /// Sends END, unless it was sent.
    pub(crate) fn send_end(&mut self, id: u32) {
        if self.streams.get(&id).is_some_and(|stream| !stream.ended) {
            self.send_data(id, &[], true);
        }
    }

    /// Sends a head on a stream that the peer has opened, once the out buffer has room.
    pub(crate) fn poll_send_head(
        &mut self,
        id: u32,
        head: &EncodedHead,
        end: bool,
        cx: &Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        self.poll_send_section(Kind::Head, id, head, end, cx)
    }

    /// Sends a head with an informational status, or leaves it out where it would have to wait.
    pub(crate) fn inform(&mut self, id: u32, head: &EncodedHead) {
        // Only then nobody is put in the place of who waits for the stream's failure.
        if !self.is_full() {
            let _ = self.poll_send_head(id, head, false, &Context::from_waker(Waker::noop()));
        }
    }

    /// Sends trailers, which end the stream, once the out buffer has room.
    pub(crate) fn poll_send_trailers(
        &mut self,
        id: u32,
        trailers: &EncodedHead,
        cx: &Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        self.poll_send_section(Kind::Trailers, id, trailers, true, cx)
    }

    fn poll_send_section(
        &mut self,
        kind: Kind,
        id: u32,
        section: &EncodedHead,
        end: bool,
        cx: &Context<'_>,
    ) -> Poll<Result<(), StreamError>> {
        let full = self.is_full();
        let stream = match self.live(id) {
            Ok(stream) => stream,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if full {
            stream.writer.register(cx);
            self.enqueue(id);
            return Poll::Pending;
        }
        if stream.ended {
            return Poll::Ready(Ok(()));
        }
        stream.ended = end;
        put_frame(&mut self.out, kind, id, end, section.payload());
        self.driver.wake();
        Poll::Ready(Ok(()))
    }

    /// Whether heads and trailers have to wait.
    fn is_full(&self) -> bool {
        self.out.len() >= ROOM_FOR_SMALL || self.closing.is_some()
    }

    /// Gives the next streams that wait for room their turn.
    pub(super) fn call_queue(&mut self) {
        for id in self.queue.call() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.queued = false;
                stream.called_in = self.turn;
                stream.writer.wake();
            }
        }
    }
}
