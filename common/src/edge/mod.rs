//! The HTTP edge: accepts callers and serves them, with HTTP/1.1 or HTTP/2 as they begin.

mod activity;
mod http2;
mod limits;
mod listener;
mod tls;

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};

use self::activity::Tracked;
pub use self::limits::Limits;
pub use self::listener::{Listener, Place};
pub use self::tls::CallerTls;
use crate::drain::Drain;
use crate::error::ProxyError;
use crate::http1::{self, Answer, End, Http1Error, Informer, RequestBody, Stream};
use crate::message::{RequestHead, Response};

/// Serves one connection until it ends. `refuse` makes the reply to what no service may see. Once
/// the drain is asked, the requests in flight are the last ones.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, while it runs")]
pub fn serve<S, F, B, Io>(
    stream: Stream,
    service: S,
    refuse: impl Fn(&ProxyError) -> Response<B>,
    limits: &Limits,
    drain: &Drain,
) -> impl Future<Output = ()>
where
    S: Fn(RequestHead, CallerBody) -> F,
    F: Future<Output = Answer<B, Io>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    async move {
        let http1 = |head, body| service(head, CallerBody::Http1(body));
        let refuse_http1 = |error: &Http1Error| refuse(&unfit(error, limits));
        match http1::serve(stream, http1, refuse_http1, limits, drain).await {
            Ok(End::Closed) => {}
            // Boxed, so that a connection that waits for its next request does not hold room for it.
            Ok(End::Http2(io)) => {
                let refuse = |error: &_| refuse(&unfit(error, limits));
                Box::pin(http2::serve(io, service, refuse, limits, drain)).await;
            }
            // A caller that hangs up or does not speak HTTP; nobody else is affected.
            Err(error) => tracing::debug!(%error, "a caller's connection failed"),
        }
    }
}

/// What a caller is told whose request is not passed on.
fn unfit(error: &Http1Error, limits: &Limits) -> ProxyError {
    match error {
        Http1Error::HeadTooLarge => {
            ProxyError::RequestHeadTooLarge { bytes: limits.max_head, fields: limits.max_fields }
        }
        Http1Error::TimedOut => ProxyError::RequestTimeout,
        other => ProxyError::HttpRequest(other.to_string().into()),
    }
}

/// The body of a caller's request.
pub enum CallerBody {
    /// In HTTP/1.1.
    Http1(RequestBody),
    /// In HTTP/2.
    Http2(Tracked<Incoming>),
    /// There is none.
    None,
}

impl CallerBody {
    /// The way for informational responses (1xx); hyper has none in HTTP/2.
    pub fn informer(&self) -> Option<Informer> {
        match self {
            Self::Http1(body) => Some(body.informer()),
            Self::Http2(_) | Self::None => None,
        }
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Http2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::None => SizeHint::with_exact(0),
        }
    }
}
