//! The bytes on their way from the writer to the call, cut into chunks when the call takes them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body, Frame};

use super::message::{self, MAX_DATA_LEN, MAX_HEAD_LEN};

/// How many bytes wait at most: four full chunks.
const CAPACITY: usize = 4 * MAX_DATA_LEN;

/// The writer's end. Dropping it ends the stream behind the bytes that it holds.
///
/// Small writes meet in one buffer, and an idle call is woken once for all of them. One buffer
/// is reused: nothing is allocated per write.
pub(super) struct Outbox(Rc<RefCell<State>>);

/// The call's end: the chunks as a body. Dropping it fails the writer.
pub(super) struct Chunks {
    state: Rc<RefCell<State>>,
    /// What a server's answer ends with: its status.
    trailers: Option<HeaderMap>,
}

#[derive(Default)]
struct State {
    /// Chunks, each with room for its head; all but the last are full.
    framed: BytesMut,
    /// How many bytes of data are in them.
    len: usize,
    /// Nothing comes any more: the writer has ended the stream.
    ended: bool,
    /// Nothing goes any more: the call is over.
    broken: bool,
    writer: Option<Waker>,
    call: Option<Waker>,
}

impl State {
    /// Adds what there is room for.
    fn put(&mut self, data: &[u8]) -> usize {
        let room = data.len().min(CAPACITY - self.len);
        let (mut data, _) = data.split_at(room);
        while !data.is_empty() {
            let filled = self.len % MAX_DATA_LEN;
            if filled == 0 {
                self.framed.extend_from_slice(&[0; MAX_HEAD_LEN]);
            }
            let (now, later) = data.split_at(data.len().min(MAX_DATA_LEN - filled));
            self.framed.extend_from_slice(now);
            self.len += now.len();
            data = later;
        }
        room
    }

    fn take(&mut self) -> Option<Bytes> {
        let len = self.len.min(MAX_DATA_LEN);
        self.len -= len;
        (len > 0).then(|| message::frame(self.framed.split_to(MAX_HEAD_LEN + len)))
    }
}

impl Outbox {
    /// The body of a request, without `trailers`, or of an answer.
    pub(super) fn new(trailers: Option<HeaderMap>) -> (Self, Chunks) {
        let state = Rc::<RefCell<State>>::default();
        (Self(Rc::clone(&state)), Chunks { state, trailers })
    }

    /// Takes what there is room for; [`io::ErrorKind::BrokenPipe`] once either side is done.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        if state.ended || state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let taken = state.put(data);
        if taken == 0 && !data.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        wake(state.call.take());
        Poll::Ready(Ok(taken))
    }

    /// Ends the stream behind what was written.
    pub(super) fn end(&self) {
        let mut state = self.0.borrow_mut();
        state.ended = true;
        wake(state.call.take());
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.end();
    }
}

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut state = self.state.borrow_mut();
        if let Some(chunk) = state.take() {
            wake(state.writer.take());
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if !state.ended {
            state.call = Some(cx.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.broken = true;
        state.framed = BytesMut::new();
        wake(state.writer.take());
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::message::{Chunk, PREFIX_LEN};
    use super::*;

    /// All chunks that are there, by length; `None` at the end of the stream.
    fn take(chunks: &mut Chunks) -> (Vec<usize>, bool) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut lens = Vec::new();
        loop {
            match Pin::new(&mut *chunks).poll_frame(&mut cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let mut message = frame.into_data().unwrap().split_off(PREFIX_LEN);
                    lens.push(Chunk::decode(&mut message).unwrap().data.len());
                }
                end => return (lens, end.is_ready()),
            }
        }
    }

    fn write(outbox: &Outbox, len: usize) -> Poll<Result<usize, io::ErrorKind>> {
        let mut cx = Context::from_waker(Waker::noop());
        outbox.poll_write(&mut cx, &vec![0; len]).map_err(|error| error.kind())
    }

    #[test]
    fn writes_meet_in_few_full_chunks() {
        let (outbox, mut chunks) = Outbox::new(None);
        for _ in 0..1000 {
            assert_eq!(write(&outbox, 100), Poll::Ready(Ok(100)));
        }
        assert_eq!(take(&mut chunks), (vec![MAX_DATA_LEN, 100_000 - MAX_DATA_LEN], false));

        let mut left = 1 << 20;
        let mut count = 0;
        while left > 0 {
            match write(&outbox, left) {
                Poll::Ready(Ok(len)) => left -= len,
                _ => count += take(&mut chunks).0.len(),
            }
        }
        assert_eq!(count + take(&mut chunks).0.len(), 17);
    }

    #[test]
    fn is_bounded_and_reuses_its_buffer() {
        let (outbox, mut chunks) = Outbox::new(None);
        for _ in 0..100 {
            assert_eq!(write(&outbox, 1 << 20), Poll::Ready(Ok(CAPACITY)));
            assert_eq!(write(&outbox, 1), Poll::Pending);
            assert_eq!(take(&mut chunks).0.len(), 4);
        }
        assert!(outbox.0.borrow().framed.capacity() <= 2 * CAPACITY);
    }

    #[test]
    fn ends_behind_the_last_byte() {
        let (outbox, mut chunks) = Outbox::new(None);
        assert_eq!(write(&outbox, 3), Poll::Ready(Ok(3)));
        outbox.end();
        assert_eq!(write(&outbox, 3), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
        assert_eq!(take(&mut chunks), (vec![3], true));
    }

    #[test]
    fn fails_the_writer_when_the_call_is_over() {
        let (outbox, chunks) = Outbox::new(None);
        drop(chunks);
        assert_eq!(write(&outbox, 3), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
    }
}
