//! The bytes on their way from the writer to the call, cut into chunks when the call takes them.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use futures_core::Stream;
use tonic::Status;

use super::message::{Chunk, MAX_DATA_LEN};

/// How many bytes wait at most: four full chunks.
const CAPACITY: usize = 4 * MAX_DATA_LEN;

/// The writer's end. Dropping it ends the stream behind the bytes that it holds.
///
/// Small writes meet in one buffer, and an idle call is woken once for all of them. One buffer
/// is reused: nothing is allocated per write. The mutex only serves tonic's bounds, as all runs
/// on one thread.
pub(super) struct Outbox(Arc<Mutex<State>>);

/// The call's end: the stream of chunks. Dropping it fails the writer.
pub(super) struct Chunks(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bytes: BytesMut,
    /// Nothing comes any more: the writer has ended the stream.
    ended: bool,
    /// Nothing goes any more: the call is over.
    broken: bool,
    writer: Option<Waker>,
    call: Option<Waker>,
}

impl Outbox {
    pub(super) fn new() -> (Self, Chunks) {
        let state = Arc::new(Mutex::default());
        (Self(Arc::clone(&state)), Chunks(state))
    }

    /// Takes what there is room for; [`io::ErrorKind::BrokenPipe`] once either side is done.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        if state.ended || state.broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = data.len().min(CAPACITY - state.bytes.len());
        if room == 0 && !data.is_empty() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let (taken, _) = data.split_at(room);
        state.bytes.extend_from_slice(taken);
        wake(state.call.take());
        Poll::Ready(Ok(room))
    }

    /// Ends the stream behind what was written.
    pub(super) fn end(&self) {
        let mut state = lock(&self.0);
        state.ended = true;
        wake(state.call.take());
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for Chunks {
    type Item = Chunk;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        let mut state = lock(&self.0);
        if state.bytes.is_empty() {
            if state.ended {
                return Poll::Ready(None);
            }
            state.call = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = state.bytes.len().min(MAX_DATA_LEN);
        let data = state.bytes.split_to(len).freeze();
        wake(state.writer.take());
        Poll::Ready(Some(Chunk { data }))
    }
}

impl Drop for Chunks {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.broken = true;
        state.bytes = BytesMut::new();
        wake(state.writer.take());
    }
}

/// [`Chunks`] as a server's answer has them.
pub(super) struct Answer(pub(super) Chunks);

impl Stream for Answer {
    type Item = Result<Chunk, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.0).poll_next(cx).map(|next| next.map(Ok))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All chunks that are there, by length; `None` at the end of the stream.
    fn take(chunks: &mut Chunks) -> (Vec<usize>, bool) {
        let mut cx = Context::from_waker(Waker::noop());
        let mut lens = Vec::new();
        loop {
            match Pin::new(&mut *chunks).poll_next(&mut cx) {
                Poll::Ready(Some(chunk)) => lens.push(chunk.data.len()),
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
        let (outbox, mut chunks) = Outbox::new();
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
        let (outbox, mut chunks) = Outbox::new();
        for _ in 0..100 {
            assert_eq!(write(&outbox, 1 << 20), Poll::Ready(Ok(CAPACITY)));
            assert_eq!(write(&outbox, 1), Poll::Pending);
            assert_eq!(take(&mut chunks).0.len(), 4);
        }
        assert!(lock(&outbox.0).bytes.capacity() <= 2 * CAPACITY);
    }

    #[test]
    fn ends_behind_the_last_byte() {
        let (outbox, mut chunks) = Outbox::new();
        assert_eq!(write(&outbox, 3), Poll::Ready(Ok(3)));
        outbox.end();
        assert_eq!(write(&outbox, 3), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
        assert_eq!(take(&mut chunks), (vec![3], true));
    }

    #[test]
    fn fails_the_writer_when_the_call_is_over() {
        let (outbox, chunks) = Outbox::new();
        drop(chunks);
        assert_eq!(write(&outbox, 3), Poll::Ready(Err(io::ErrorKind::BrokenPipe)));
    }
}
