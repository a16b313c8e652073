//! New connections: name, address, TCP, TLS, and the task that then drives HTTP on it.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tunnel_common::config::{Route, Scheme, Target};
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::http1::{Client, Stream};
use tunnel_common::open_files::is_exhausted;

use super::lookup::Lookups;
use super::pool::Sender;
use super::upload::RequestBody;
use super::{after, failure, tls};

/// The largest head of a response in HTTP/2; a larger one is an error.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// What a target may send ahead on one stream, and on all of one connection. The second is so much
/// larger because it is shared: 256 stalled readers must stall before they hold up another.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// Streams given up by their callers that a target may still be sending on without an error; each is
/// remembered for a second.
const FORGIVEN_RESETS: usize = 4096;

/// Errors of single streams until a connection is given up, in all its life.
const MAX_ERRORS: usize = 16 * 1024;

/// Until its SETTINGS say how many streams the target takes, it may refuse any beyond one. A target that
/// says this itself gets its requests one after the other.
const UNKNOWN: usize = 1;

/// Opens connections to targets.
pub(super) struct Dialler {
    drain: Drain,
    lookups: Rc<Lookups>,
    trust: tls::Trust,
}

/// A connection that has just been opened.
pub(super) enum Connected {
    Http1(Client),
    /// And how many requests at once the target takes, as soon as that is known.
    Http2(Sender, Rc<Cell<usize>>),
}

impl Dialler {
    pub(super) fn new(drain: Drain) -> Self {
        Self { lookups: Lookups::new(drain.clone()), drain, trust: tls::Trust::default() }
    }

    /// Opens a connection within the route's `connectTimeout`, counted from `start`. With
    /// `only_http1` TLS does not offer HTTP/2. Cancel safe.
    pub(super) async fn dial(
        &self,
        route: &Route,
        start: Instant,
        only_http1: bool,
    ) -> Result<Connected, ProxyError> {
        let target = &route.target;
        let deadline = after(start, route.connect_timeout);
        let tcp = self.connect(route, deadline).await?;
        match target.scheme {
            Scheme::H2c => self.http2(tcp).await,
            Scheme::Http => Ok(Connected::Http1(Client::new(Stream::Plain(tcp)))),
            Scheme::Https => {
                let client = self.trust.client(target).await?;
                let config = if only_http1 { client.http1 } else { client.any };
                let handshake = TlsConnector::from(config).connect(tls::server_name(target)?, tcp);
                let stream = timeout_at(deadline, handshake)
                    .await
                    .map_err(|_| timed_out(route))?
                    .map_err(|error| tls::handshake_failed(&error, place(target)))?;
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => self.http2(stream).await,
                    _ => {
                        let stream = Stream::Tls(Box::new(stream.into()));
                        Ok(Connected::Http1(Client::new(stream)))
                    }
                }
            }
        }
    }

    /// Resolves the name and tries its addresses in turn. Each has an equal share of the time that is
    /// left, so one dead address does not use up all of it.
    async fn connect(&self, route: &Route, deadline: Instant) -> Result<TcpStream, ProxyError> {
        let addresses = self.resolve(route, deadline).await?;
        let mut failure = None;
        for (index, address) in addresses.iter().enumerate() {
            let now = Instant::now();
            let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = now + deadline.saturating_duration_since(now) / left;
            match timeout_at(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    configure(&stream);
                    return Ok(stream);
                }
                Ok(Err(error)) if is_exhausted(&error) => {
                    return Err(ProxyError::ConnectionLimitReached("open files"));
                }
                Ok(Err(error)) => failure = Some(error.to_string()),
                Err(_) => failure = None,
            }
        }
        Err(failure.map_or_else(
            || timed_out(route),
            |reason| ProxyError::ConnectionRefused { target: place(&route.target), reason },
        ))
    }

    async fn resolve(
        &self,
        route: &Route,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, ProxyError> {
        let (host, port) = (route.target.host(), route.target.port());
        let found = timeout_at(deadline, self.lookups.find(host))
            .await
            .unwrap_or_else(|_| Err("the resolver did not answer in time".to_owned()))
            .map_err(|reason| ProxyError::Dns { name: host.to_owned(), reason })?;
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    async fn http2<I>(&self, io: I) -> Result<Connected, ProxyError>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(self.drain.clone())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_WINDOW as usize)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .initial_max_send_streams(UNKNOWN)
            .max_concurrent_reset_streams(FORGIVEN_RESETS)
            .max_local_error_reset_streams(MAX_ERRORS)
            .handshake(TokioIo::new(io))
            .await
            .map_err(|error| failure::classify(&error).0)?;
        let most = Rc::new(Cell::new(usize::MAX));
        self.drain.spawn(drive(connection, Rc::clone(&most)));
        Ok(Connected::Http2(sender, most))
    }
}

/// Runs a connection, and notes how many requests at once its target takes.
async fn drive<I>(connection: http2::Connection<I, RequestBody, Drain>, most: Rc<Cell<usize>>)
where
    I: Read + Write + Unpin + 'static,
{
    let mut connection = pin!(connection);
    let run = poll_fn(|cx| {
        let ended = connection.as_mut().poll(cx);
        if ended.is_pending() && connection.current_max_send_streams() > UNKNOWN {
            most.set(connection.current_max_send_streams());
        }
        ended
    });
    let _ = run.await;
}

/// Small writes go out at once, and a peer that vanished while we only wait is noticed in about
/// 30 s. Both only tune: a socket that refuses them still works.
fn configure(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(15))
        .with_interval(Duration::from_secs(5))
        .with_retries(3);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

pub(super) fn timed_out(route: &Route) -> ProxyError {
    ProxyError::ConnectionTimeout { target: place(&route.target), limit: route.connect_timeout }
}

fn place(target: &Target) -> String {
    format!("{}:{}", target.host(), target.port())
}
