//! What has come on a stream is read, and credit for it returned.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::super::error::StreamError;
use super::super::frame::put_credit;
use super::super::window::Growth;
use super::Connection;

/// How long a stream has to be the only one to count as alone: small requests come and go.
const ALONE_AFTER: Duration = Duration::from_millis(250);

impl Connection {
    /// The next head that has come.
    pub(crate) fn poll_head(
        &mut self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<Result<Bytes, StreamError>> {
        if let Some(head) = self.streams.get_mut(&id).and_then(|s| s.inbound.pop_head()) {
            self.buffered -= head.len();
            return Poll::Ready(Ok(head));
        }
        let stream = match self.live(id) {
            Ok(stream) => stream,
            Err(error) => return Poll::Ready(Err(error)),
        };
        if stream.inbound.ended {
            return Poll::Ready(Err(StreamError::Malformed));
        }
        stream.reader.register(cx);
        Poll::Pending
    }

    /// The next DATA that has come; `None` at its end.
    pub(crate) fn poll_data(
        &mut self,
        id: u32,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamError>>> {
        let Some(stream) = self.streams.get_mut(&id) else { return Poll::Ready(None) };
        if let Some(chunk) = stream.inbound.pop_data() {
            self.buffered -= chunk.len();
            self.taken(id, chunk.len());
            return Poll::Ready(Some(Ok(chunk)));
        }
        if stream.inbound.ended {
            return Poll::Ready(None);
        }
        if let Some(error) = &stream.failure {
            return Poll::Ready(Some(Err(error.clone())));
        }
        stream.reader.register(cx);
        Poll::Pending
    }

    /// Returns credit for what the reader has taken.
    fn taken(&mut self, id: u32, len: usize) {
        let shared_at = self.shared_at.map(|at| self.now.duration_since(at));
        let is_alone = self.streams.len() == 1 && shared_at.is_none_or(|ago| ago >= ALONE_AFTER);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.inbound.ended || stream.failure.is_some() {
            return;
        }
        let growth = Growth {
            round_trip: self.liveness.round_trip(),
            is_alone,
            max: self.limits.max_credit,
            spare: &mut self.spare_credit,
        };
        if let Some(grant) = stream.inbound.window.take(len, self.now, growth) {
            put_credit(&mut self.out, id, grant);
            self.driver.wake();
        }
    }

    /// The trailers, once DATA has come to its end.
    pub(crate) fn take_trailers(&mut self, id: u32) -> Option<Bytes> {
        let trailers = self.streams.get_mut(&id)?.inbound.pop_trailers()?;
        self.buffered -= trailers.len();
        Some(trailers)
    }

    /// Whether nothing is left to read on the stream, and nothing more will come.
    pub(crate) fn is_finished(&self, id: u32) -> bool {
        self.streams.get(&id).is_none_or(|stream| stream.inbound.is_finished())
    }
}
