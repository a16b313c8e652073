//! New connections: name, address, TCP, TLS, and the task that then drives HTTP on it.

use std::cell::{OnceCell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout_at};
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

/// How many streams a target takes before its SETTINGS say how many: it may refuse any.
const UNKNOWN: usize = 0;

/// Opens connections to targets.
pub(super) struct Dialler {
    drain: Drain,
    lookups: Rc<Lookups>,
    trust: tls::Trust,
}

/// A connection that has just been opened.
pub(super) enum Connected {
    Http1(Client),
    Http2(Sender, Link),
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
        let connection = Rc::new(RefCell::new(connection));
        let link = Link::of(Rc::downgrade(&connection));
        let failure = Rc::clone(&link.failure);
        self.drain.spawn(async move {
            let ended = poll_fn(|cx| Pin::new(&mut *connection.borrow_mut()).poll(cx)).await;
            if let Err(error) = ended {
                let _ = failure.set(error);
            }
        });
        Ok(Connected::Http2(sender, link))
    }

    /// Keeps the `turn` to dial until the target has said how many streams it takes, so that the
    /// requests behind know whether they need connections of their own; not beyond `deadline`.
    pub(super) fn hold<T: 'static>(&self, turn: T, link: Link, deadline: Instant) {
        self.drain.spawn(async move {
            // hyper tells nobody when SETTINGS come.
            while link.most_streams() == Some(UNKNOWN) && Instant::now() < deadline {
                sleep(Duration::from_millis(1)).await;
            }
            drop(turn);
        });
    }
}

/// What hyper tells of an HTTP/2 connection only where it is driven.
#[derive(Clone)]
pub(super) struct Link {
    most: Rc<dyn Fn() -> Option<usize>>,
    failure: Rc<OnceCell<hyper::Error>>,
}

impl Link {
    /// The reference is weak because an ended connection must be dropped: that frees what waits for it.
    fn of<I>(connection: Weak<RefCell<http2::Connection<I, RequestBody, Drain>>>) -> Self
    where
        I: Read + Write + Unpin + 'static,
    {
        let most = move || {
            let connection = connection.upgrade()?;
            let most = connection.try_borrow().ok()?.current_max_send_streams();
            Some(most)
        };
        Self { most: Rc::new(most), failure: Rc::default() }
    }

    /// How many streams at a time the target takes now; `None` once the connection has ended.
    pub(super) fn most_streams(&self) -> Option<usize> {
        (self.most)()
    }

    /// Why the connection has ended, if by an error.
    pub(super) fn failure(&self) -> Option<&hyper::Error> {
        self.failure.get()
    }
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
