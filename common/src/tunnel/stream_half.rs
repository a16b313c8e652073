//! The two halves of a stream, as the forwarders hold them.

use std::cell::RefCell;
use std::error::Error;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::connection::Connection;
use super::error::{ResetCode, StreamError};
use super::head::{self, EncodedHead};
use crate::fields::Fields;
use crate::headers;
use crate::message::Response;

/// The half that reads: heads first, then a [`Body`].
///
/// Dropping it before its end cancels a request, or lets the rest of a request's body go unread.
pub struct RecvHalf {
    connection: Rc<RefCell<Connection>>,
    id: u32,
}

impl RecvHalf {
    pub(super) fn new(connection: &Rc<RefCell<Connection>>, id: u32) -> Self {
        Self { connection: Rc::clone(connection), id }
    }

    /// The next head of the answer: perhaps some with an informational status (1xx), then one
    /// without. Cancel safe.
    pub async fn response(&mut self) -> Result<Response<()>, StreamError> {
        let head = poll_fn(|cx| self.connection.borrow_mut().poll_head(self.id, cx)).await?;
        head::decode_response(&head).ok_or(StreamError::Malformed)
    }

    /// The head that came with the stream.
    pub(super) fn take_head(&self) -> Option<Bytes> {
        let cx = Context::from_waker(Waker::noop());
        match self.connection.borrow_mut().poll_head(self.id, &cx) {
            Poll::Ready(head) => head.ok(),
            Poll::Pending => None,
        }
    }

    /// The next bytes; `None` at their end. For readers that have no use for trailers.
    pub(super) fn poll_data(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Bytes, StreamError>>> {
        self.connection.borrow_mut().poll_data(self.id, cx)
    }
}

impl Body for RecvHalf {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if let Some(data) = ready!(self.poll_data(cx)) {
            return Poll::Ready(Some(data.map(Frame::data)));
        }
        let trailers = self.connection.borrow_mut().take_trailers(self.id);
        Poll::Ready(trailers.map(|payload| match head::decode_trailers(&payload) {
            Some(trailers) => Ok(Frame::trailers((&trailers).into())),
            None => Err(StreamError::Malformed),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.connection.borrow().is_finished(self.id)
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        self.connection.borrow_mut().release_reader(self.id);
    }
}

/// The half that sends. Dropping it before END was sent resets the stream.
pub struct SendHalf {
    connection: Rc<RefCell<Connection>>,
    id: u32,
}

impl SendHalf {
    pub(super) fn new(connection: &Rc<RefCell<Connection>>, id: u32) -> Self {
        Self { connection: Rc::clone(connection), id }
    }

    /// Sends a head; `end` says that nothing follows.
    pub async fn send_head(&mut self, head: &EncodedHead, end: bool) -> Result<(), StreamError> {
        poll_fn(|cx| self.connection.borrow_mut().poll_send_head(self.id, head, end, cx)).await
    }

    /// Sends a head with an informational status (1xx), unless the tunnel is so full that it would
    /// have to wait: such a head may always be left out (RFC 9110 §15.2).
    pub fn inform(&self, head: &EncodedHead) {
        self.connection.borrow_mut().inform(self.id, head);
    }

    /// Sends `body` to its end, trailers included. Fails as soon as the stream has, also while
    /// the body has nothing to give; a body that fails resets the stream.
    pub async fn send_body<B>(mut self, body: B) -> Result<(), SendBodyError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut body = pin!(body);
        while !body.is_end_stream() {
            let frame = poll_fn(|cx| {
                if let Poll::Ready(error) = self.poll_failed(cx) {
                    return Poll::Ready(Err(SendBodyError::Stream(error)));
                }
                body.as_mut().poll_frame(cx).map(|frame| {
                    frame.transpose().map_err(|error| SendBodyError::Body(error.into()))
                })
            });
            let frame = match frame.await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    self.reset(ResetCode::Failed);
                    return Err(error);
                }
            };
            match frame.into_data() {
                Ok(data) => self.send_data(data, body.is_end_stream()).await?,
                Err(frame) => return self.send_trailers(frame.into_trailers().ok()).await,
            }
        }
        self.send_end();
        Ok(())
    }

    /// Says that nothing more will be sent.
    pub fn finish(mut self) {
        self.send_end();
    }

    /// Gives the stream up, in both directions, and says why.
    pub fn reset(&self, code: ResetCode) {
        self.connection.borrow_mut().reset(self.id, code);
    }

    /// Resolves when the stream has ended early, by whichever side. Cancel safe.
    pub async fn failed(&self) -> StreamError {
        poll_fn(|cx| self.poll_failed(cx)).await
    }

    async fn send_data(&mut self, data: Bytes, end: bool) -> Result<(), SendBodyError> {
        let mut rest: &[u8] = &data;
        while !rest.is_empty() {
            let size = poll_fn(|cx| self.poll_reserve(rest.len(), cx)).await?;
            let (now, later) = rest.split_at(size.min(rest.len()));
            self.put_data(now, end && later.is_empty());
            rest = later;
        }
        Ok(())
    }

    async fn send_trailers(mut self, trailers: Option<HeaderMap>) -> Result<(), SendBodyError> {
        let encoded = trailers.as_ref().map(|trailers| {
            let mut trailers = Fields::from(trailers);
            headers::prepare_trailers(&mut trailers);
            EncodedHead::trailers(&trailers)
        });
        // Trailers that fit into no frame are left out, as RFC 9110 §6.5.1 allows.
        let Some(Ok(trailers)) = encoded else {
            self.send_end();
            return Ok(());
        };
        let sent = |cx: &mut Context<'_>| {
            self.connection.borrow_mut().poll_send_trailers(self.id, &trailers, cx)
        };
        Ok(poll_fn(sent).await?)
    }

    pub(super) fn poll_failed(&self, cx: &Context<'_>) -> Poll<StreamError> {
        self.connection.borrow_mut().poll_failed(self.id, cx)
    }

    pub(super) fn poll_reserve(
        &mut self,
        wanted: usize,
        cx: &Context<'_>,
    ) -> Poll<Result<usize, StreamError>> {
        self.connection.borrow_mut().poll_reserve(self.id, wanted, cx)
    }

    pub(super) fn put_data(&mut self, data: &[u8], end: bool) {
        self.connection.borrow_mut().send_data(self.id, data, end);
    }

    pub(super) fn is_ended(&self) -> bool {
        self.connection.borrow().is_ended(self.id)
    }

    pub(super) fn send_end(&mut self) {
        self.connection.borrow_mut().send_end(self.id);
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.connection.borrow_mut().release_writer(self.id);
    }
}

/// Why a body did not get through.
#[derive(Debug, thiserror::Error)]
pub enum SendBodyError {
    /// Where the body comes from failed.
    #[error("the body broke off: {0}")]
    Body(Box<dyn Error + Send + Sync>),
    /// The stream failed.
    #[error(transparent)]
    Stream(#[from] StreamError),
}
