//! The HTTP edge: accepts callers and serves them, with HTTP/1.1 or HTTP/2 as they begin.

mod http2;
mod limits;
mod tls;

use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub use self::limits::Limits;
pub use self::tls::CallerTls;
use crate::drain::Drain;
use crate::error::ProxyError;
use crate::http1::{self, Answer, End, Http1Error, Informer, RequestBody, Stream};

/// How long accepting pauses when the system has nothing left to accept with (`EMFILE`).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How much of an answer the system may hold that the caller's side has no room for. Without a
/// bound it takes megabytes for each caller that reads slowly, and a thousand of those slow down
/// every connection of the machine.
const UNSENT: u32 = 128 * 1024;

/// The next connection of `listener`. Survives what only concerns one connection, and waits out a
/// lack of file descriptors; `name` is for the log. Cancel safe.
pub async fn accept(listener: &TcpListener, name: &str) -> (TcpStream, SocketAddr) {
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // A socket that has just been reset has no options; its first read will tell.
                let _ = stream.set_nodelay(true);
                let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT);
                return (stream, address);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(listener = name, %error, "cannot accept; trying again");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

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
    S: Fn(Parts, CallerBody) -> F,
    F: Future<Output = Answer<B, Io>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    async move {
        let http1 = |parts, body| service(parts, CallerBody::Http1(body));
        let refuse_http1 = |error: &Http1Error| refuse(&unfit(error, limits));
        match http1::serve(stream, http1, refuse_http1, limits, drain).await {
            Ok(End::Closed) => {}
            // Boxed, so that a connection that waits for its next request does not hold room for it.
            Ok(End::Http2(io)) => Box::pin(http2::serve(io, service, limits, drain)).await,
            // A caller that hangs up or does not speak HTTP; nobody else is affected.
            Err(error) => tracing::debug!(%error, "a caller's connection failed"),
        }
    }
}

/// What a caller is told whose request is not passed on.
fn unfit(error: &Http1Error, limits: &Limits) -> ProxyError {
    match error {
        Http1Error::HeadTooLarge => ProxyError::RequestHeadTooLarge { limit: limits.max_head },
        Http1Error::TimedOut => ProxyError::RequestTimeout,
        other => ProxyError::HttpRequest(other.to_string().into()),
    }
}

/// The body of a caller's request.
pub enum CallerBody {
    /// In HTTP/1.1.
    Http1(RequestBody),
    /// In HTTP/2.
    Http2(Incoming),
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
