//! The two bodies of an upstream call: one watches the upload, one gives the connection back.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;
use tunnel_common::http1::ResponseBody;

use super::pool::Pool;

/// The body of a target's answer.
///
/// Read to its end, it returns the connection to the pool; dropped early, it closes the connection
/// (HTTP/1.1) or resets the stream (HTTP/2), so that the target stops sending.
pub struct UpstreamBody(Inner);

enum Inner {
    /// `body` is the connection, too; it is gone once the body has ended.
    Http1 {
        body: Option<ResponseBody<RequestBody>>,
        pool: Rc<Pool>,
    },
    Http2 {
        incoming: Incoming,
        _stream: Rc<()>,
    },
}

impl UpstreamBody {
    pub(super) fn http1(body: ResponseBody<RequestBody>, pool: Rc<Pool>) -> Self {
        let mut body = Self(Inner::Http1 { body: Some(body), pool });
        body.release_at_end();
        body
    }

    /// `stream` counts as one on its connection until the body is dropped.
    pub(super) fn http2(incoming: Incoming, stream: Rc<()>) -> Self {
        Self(Inner::Http2 { incoming, _stream: stream })
    }

    fn release_at_end(&mut self) {
        let Inner::Http1 { body, pool } = &mut self.0 else { return };
        let ended = body.take_if(|body| body.is_end_stream());
        if let Some(client) = ended.and_then(ResponseBody::into_client) {
            pool.put(client);
        }
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.0 {
            Inner::Http1 { body: None, .. } => return Poll::Ready(None),
            Inner::Http1 { body: Some(body), .. } => {
                ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map_err(Into::into))
            }
            Inner::Http2 { incoming, .. } => {
                return Pin::new(incoming).poll_frame(cx).map_err(Into::into);
            }
        };
        self.release_at_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Http1 { body, .. } => body.is_none(),
            Inner::Http2 { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Http1 { body, .. } => {
                body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
            }
            Inner::Http2 { incoming, .. } => incoming.size_hint(),
        }
    }
}

impl fmt::Debug for UpstreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamBody").finish_non_exhaustive()
    }
}

/// Any error that a caller's body may end in.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a request, as one type for all connections; an ended one holds nothing.
pub(super) struct RequestBody(Option<(AnyBody, Rc<Upload>)>);

type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>;

impl RequestBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        let body = body.map_err(Into::into);
        Self(Some((Box::pin(body), Rc::default())))
    }

    pub(super) fn empty() -> Self {
        Self(None)
    }

    /// How it goes, unless there is nothing to upload.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        self.0.as_ref().map(|(_, upload)| Rc::clone(upload))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some((body, upload)) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(body.as_mut().poll_frame(cx));
        upload.moved.set(Instant::now());
        upload.broken.set(matches!(frame, Some(Err(_))));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |(body, _)| body.size_hint())
    }
}

/// How an upload goes. The next piece is asked for only when there is room, that is when the target
/// has taken some of what came before.
#[derive(Debug)]
pub(super) struct Upload {
    moved: Cell<Instant>,
    broken: Cell<bool>,
}

impl Upload {
    /// When the upload last made progress, at first when it was created.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the caller's body ended in an error.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }
}

impl Default for Upload {
    fn default() -> Self {
        Self { moved: Cell::new(Instant::now()), broken: Cell::new(false) }
    }
}
