//! The state of one stream, without any of its input and output.

use std::collections::VecDeque;
use std::task::{Context, Waker};

use bytes::{Buf, Bytes, BytesMut};

use super::error::{StreamError, TunnelError};
use super::window::Window;

/// Pieces shorter than this are copied together, so that a stream of small frames cannot pin many
/// large read buffers; longer ones are taken as they are.
const COPY_BELOW: usize = 8 * 1024;

/// Heads that may wait unread: an answer and a few informational ones (1xx) before it.
pub(crate) const MAX_HEADS: usize = 8;

/// One stream: what arrives, what leaves, and who is to be woken.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) inbound: Inbound,
    /// What the peer still takes.
    pub(crate) credit: usize,
    /// Bytes of DATA that were sent.
    pub(crate) sent: usize,
    /// Where the stream's first frame ends in the tunnel's output, counted from its start.
    pub(crate) begun_at: u64,
    /// END was sent.
    pub(crate) ended: bool,
    /// Why the stream ended before its time, once it has.
    pub(crate) failure: Option<StreamError>,
    /// The halves that the application still holds.
    pub(crate) handles: u8,
    pub(crate) reader: Slot,
    pub(crate) writer: Slot,
    /// The writer stands in the queue for room in the out buffer.
    pub(crate) queued: bool,
    /// The turn in which the writer was called from the queue.
    pub(crate) called_in: u64,
    /// Nobody reads: what still arrives is dropped.
    pub(crate) discards: bool,
    /// The turn in which the stream sent last, and how much it sent in it.
    turn: u64,
    pub(crate) used: usize,
}

impl Stream {
    pub(crate) fn new(window: Window, credit: usize) -> Self {
        Self {
            inbound: Inbound::new(window),
            credit,
            sent: 0,
            begun_at: 0,
            ended: false,
            failure: None,
            handles: 2,
            reader: Slot::default(),
            writer: Slot::default(),
            queued: false,
            called_in: 0,
            discards: false,
            turn: 0,
            used: 0,
        }
    }

    /// What is left for the stream in `turn`, of `quantum` bytes a turn.
    pub(crate) fn quantum(&mut self, turn: u64, quantum: usize) -> usize {
        if self.turn != turn {
            self.turn = turn;
            self.used = 0;
        }
        quantum.saturating_sub(self.used)
    }

    /// Both sides have said all they had to say, or it no longer matters.
    pub(crate) fn is_over(&self) -> bool {
        self.failure.is_some() || (self.ended && self.inbound.ended)
    }

    /// Ends the stream early and tells both halves. What has arrived whole can still be read;
    /// otherwise returns how many unread bytes were dropped.
    pub(crate) fn fail(&mut self, error: StreamError) -> usize {
        self.break_off(error);
        match self.inbound.ended {
            true => 0,
            false => self.inbound.clear(),
        }
    }

    /// Ends the stream early and tells both halves, behind what has arrived.
    pub(crate) fn break_off(&mut self, error: StreamError) {
        self.failure.get_or_insert(error);
        self.reader.wake();
        self.writer.wake();
    }
}

/// What has arrived and was not read yet.
#[derive(Debug)]
pub(crate) struct Inbound {
    /// The head that comes before `heads`: most streams have one only.
    head: Option<Bytes>,
    heads: VecDeque<Bytes>,
    chunks: VecDeque<Bytes>,
    /// Small pieces, copied together; they come after `chunks`.
    tail: BytesMut,
    len: usize,
    trailers: Option<Bytes>,
    pub(crate) ended: bool,
    /// DATA has begun: no further head may come.
    has_data: bool,
    pub(crate) window: Window,
}

impl Inbound {
    fn new(window: Window) -> Self {
        Self {
            head: None,
            heads: VecDeque::new(),
            chunks: VecDeque::new(),
            tail: BytesMut::new(),
            len: 0,
            trailers: None,
            ended: false,
            has_data: false,
            window,
        }
    }

    /// No further head has room before one is read.
    pub(crate) fn has_most_heads(&self) -> bool {
        self.heads.len() + usize::from(self.head.is_some()) >= MAX_HEADS
    }

    pub(crate) fn push_head(&mut self, head: Bytes) -> Result<(), TunnelError> {
        if self.has_data || self.ended {
            return Err(TunnelError::Protocol("a HEAD after DATA"));
        }
        self.len += head.len();
        match &mut self.head {
            first @ None if self.heads.is_empty() => *first = Some(head),
            _ => self.heads.push_back(head),
        }
        Ok(())
    }

    /// Takes `len` bytes of DATA off the front of `input`.
    pub(crate) fn push_data(&mut self, input: &mut Bytes, len: usize) -> Result<(), TunnelError> {
        if self.ended {
            return Err(TunnelError::Protocol("DATA after END"));
        }
        self.window.receive(len)?;
        self.has_data = true;
        self.len += len;
        if len < COPY_BELOW {
            self.tail.extend_from_slice(input.get(..len).unwrap_or_default());
            input.advance(len);
            return Ok(());
        }
        if !self.tail.is_empty() {
            self.chunks.push_back(self.tail.split().freeze());
        }
        self.chunks.push_back(input.split_to(len));
        Ok(())
    }

    pub(crate) fn push_trailers(&mut self, trailers: Bytes) -> Result<(), TunnelError> {
        if self.ended {
            return Err(TunnelError::Protocol("TRAILERS after END"));
        }
        self.len += trailers.len();
        self.trailers = Some(trailers);
        self.ended = true;
        Ok(())
    }

    pub(crate) fn pop_head(&mut self) -> Option<Bytes> {
        let head = self.head.take().or_else(|| self.heads.pop_front())?;
        self.len -= head.len();
        Some(head)
    }

    pub(crate) fn pop_data(&mut self) -> Option<Bytes> {
        let chunk = match self.chunks.pop_front() {
            Some(chunk) => chunk,
            None if self.tail.is_empty() => return None,
            // Taken with its room: to share that would cost another allocation.
            None => std::mem::take(&mut self.tail).freeze(),
        };
        self.len -= chunk.len();
        Some(chunk)
    }

    pub(crate) fn pop_trailers(&mut self) -> Option<Bytes> {
        let trailers = self.trailers.take()?;
        self.len -= trailers.len();
        Some(trailers)
    }

    /// Unread bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Nothing is left to read, and nothing more will come.
    pub(crate) fn is_finished(&self) -> bool {
        self.ended && self.len == 0
    }

    /// Drops what is unread, so that its loss is seen as one. Returns how many bytes that were.
    pub(crate) fn abandon(&mut self) -> usize {
        self.ended = false;
        self.clear()
    }

    /// Drops what is unread. Returns how many bytes that were.
    pub(crate) fn clear(&mut self) -> usize {
        self.head = None;
        self.heads.clear();
        self.chunks.clear();
        self.tail = BytesMut::new();
        self.trailers = None;
        std::mem::take(&mut self.len)
    }
}

/// Holds the waker of the one task that waits here.
#[derive(Debug, Default)]
pub(crate) struct Slot(Option<Waker>);

impl Slot {
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        match &mut self.0 {
            Some(waker) => waker.clone_from(cx.waker()),
            slot => *slot = Some(cx.waker().clone()),
        }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(waker) = self.0.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    impl Inbound {
        fn with_credit(size: usize) -> Self {
            Self::new(Window::new(size, Instant::now()))
        }
    }

    #[test]
    fn keeps_the_order_of_small_and_large_pieces() {
        let mut inbound = Inbound::with_credit(1 << 20);
        let large = vec![b'L'; COPY_BELOW];
        let mut expected = Vec::new();
        for piece in [&b"one"[..], b"two", &large, b"three", &large] {
            expected.extend_from_slice(piece);
            let mut input = Bytes::copy_from_slice(piece);
            let len = input.len();
            inbound.push_data(&mut input, len).unwrap();
            assert!(input.is_empty());
        }
        let mut read = Vec::new();
        while let Some(chunk) = inbound.pop_data() {
            read.extend_from_slice(&chunk);
        }
        assert!(read == expected);
        assert_eq!(inbound.len(), 0);
    }

    #[test]
    fn refuses_what_comes_out_of_order() {
        let mut inbound = Inbound::with_credit(1 << 20);
        inbound.push_data(&mut Bytes::from_static(b"x"), 1).unwrap();
        assert!(inbound.push_head(Bytes::new()).is_err());
        inbound.push_trailers(Bytes::new()).unwrap();
        assert!(inbound.push_trailers(Bytes::new()).is_err());
        assert!(inbound.push_data(&mut Bytes::from_static(b"x"), 1).is_err());
    }
}
