//! Streams end: given up by whichever side, or let go by the application.

use std::task::{Context, Poll};

use super::super::error::{ResetCode, StreamError};
use super::super::frame::put_reset;
use super::super::stream::Stream;
use super::Connection;

impl Connection {
    /// Resolves when the stream has ended early, by whichever side.
    pub(crate) fn poll_failed(&mut self, id: u32, cx: &Context<'_>) -> Poll<StreamError> {
        match self.live(id) {
            Ok(stream) => {
                stream.writer.register(cx);
                Poll::Pending
            }
            Err(error) => Poll::Ready(error),
        }
    }

    /// Gives the stream up, in both directions.
    pub(crate) fn reset(&mut self, id: u32, code: ResetCode) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if stream.is_over() {
            return;
        }
        self.buffered -= stream.fail(StreamError::Reset(code));
        put_reset(&mut self.out, id, code);
        self.driver.wake();
    }

    /// The application has dropped the half that reads.
    pub(crate) fn release_reader(&mut self, id: u32) {
        let ours = self.side.opens(id);
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let is_whole = stream.inbound.ended;
        self.buffered -= stream.inbound.clear();
        if ours && !is_whole {
            // Nobody waits for the answer.
            self.reset(id, ResetCode::Cancelled);
        } else {
            // The answer to a request may be sent to its end without reading the rest of it.
            stream.discards = true;
        }
        self.release(id);
    }

    /// The application has dropped the half that sends.
    pub(crate) fn release_writer(&mut self, id: u32) {
        let code = match self.side.opens(id) {
            true => ResetCode::Cancelled,
            false => ResetCode::Failed,
        };
        match self.streams.get(&id) {
            Some(stream) if !stream.ended => self.reset(id, code),
            // The answer is complete, and the rest of the request is not wanted.
            Some(stream) if stream.discards && !stream.inbound.ended => {
                self.reset(id, ResetCode::Cancelled);
            }
            _ => {}
        }
        self.release(id);
    }

    fn release(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.handles = stream.handles.saturating_sub(1);
        if stream.handles == 0 {
            // Whatever the peer still has to say, nobody is there to hear it.
            self.reset(id, ResetCode::Cancelled);
            self.remove(id);
        }
    }

    pub(super) fn remove(&mut self, id: u32) {
        if self.streams.len() > 1 {
            self.shared_at = Some(self.now);
        }
        let Some(stream) = self.streams.remove(&id) else { return };
        if stream.queued || stream.called_in == self.turn {
            self.queue.remove(id);
        }
        self.buffered -= stream.inbound.len();
        self.spare_credit += stream.inbound.window.growth(self.limits.initial_credit);
        if !self.side.opens(id) {
            self.peer_streams -= 1;
        }
        self.wake_openers();
        self.advance_drain(None);
    }

    /// The stream, unless it has ended early.
    pub(super) fn live(&mut self, id: u32) -> Result<&mut Stream, StreamError> {
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Reset(ResetCode::Cancelled))?;
        match &stream.failure {
            Some(error) => Err(error.clone()),
            None => Ok(stream),
        }
    }
}
