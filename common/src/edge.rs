//! The HTTP edge: serves the connections of callers with HTTP/1.1 and HTTP/2.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use crate::drain::Drain;
use crate::tunnel::MAX_HEAD;

/// How long the head of a request may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Fields that a head may have.
const MAX_FIELDS: usize = 256;

/// Requests that one HTTP/2 connection may have in flight.
const MAX_STREAMS: u32 = 1024;

/// How long accepting pauses when the system has nothing left to accept with (`EMFILE`).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The next connection of `listener`. Survives what only concerns one connection, and waits out a
/// lack of file descriptors; `name` is for the log. Cancel safe.
pub async fn accept(listener: &TcpListener, name: &str) -> (TcpStream, SocketAddr) {
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                // A socket that has just been reset has no options; its first read will tell.
                let _ = stream.set_nodelay(true);
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

/// Serves one connection until it ends. Once the drain is asked, the requests in flight are the
/// last ones.
pub async fn serve<Io, S, B>(io: Io, service: S, drain: &Drain)
where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: 'static,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let builder = builder(drain);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = drain.asked() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        // A caller that hangs up or does not speak HTTP; nobody else is affected.
        tracing::debug!(%error, "a caller's connection failed");
    }
}

fn builder(drain: &Drain) -> auto::Builder<Drain> {
    let mut builder = auto::Builder::new(drain.clone());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        // The answer's own Date is the target's.
        .auto_date_header(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(64 * 1024)
        .auto_date_header(false);
    builder
}
