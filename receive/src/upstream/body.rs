//! The body of an answer, which gives its connection back.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tunnel_common::http1::ResponseBody;

use super::pool::Pool;
use super::upload::{BoxError, RequestBody};

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
