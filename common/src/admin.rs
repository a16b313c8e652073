//! The admin listener: health, readiness and metrics, for the kubelet and Prometheus.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::metrics::Metrics;
use crate::ready::Ready;

/// How many connections may be open; one more ends the oldest, so that idle ones cannot keep the
/// kubelet out.
const MAX_CONNECTIONS: usize = 64;
/// How long a request head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, which is one request: also bounds a reader that stalls.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The smallest buffer that hyper takes, and so the limit of a request head.
const BUFFER_SIZE: usize = 8192;
/// The pause after an accept that failed, as it does without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// A bound admin listener that serves `/livez`, `/readyz` and `/metrics` over HTTP/1.1.
///
/// It takes GET and HEAD only, one request per connection, and at most 64 connections at once.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
}

impl Admin {
    /// Binds `address`; port 0 takes a free one. Needs no runtime.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(Self { address: listener.local_addr()?, listener })
        };
        bind().map_err(|reason| BindError { address, reason })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until it is dropped, which ends its connections too. Belongs on the
    /// control thread, so that it answers however busy the data thread is.
    pub async fn serve(self, ready: Ready, metrics: Metrics) {
        let listener = match tokio::net::TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the admin listener does not work"),
        };
        let pages = Pages { ready, metrics };
        let mut connections = VecDeque::with_capacity(MAX_CONNECTIONS);
        let mut fails = false;
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    if !std::mem::replace(&mut fails, true) {
                        tracing::warn!(%error, "the admin listener cannot accept; trying on");
                    }
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            fails = false;
            connections.retain(|open: &AbortOnDropHandle<()>| !open.is_finished());
            if connections.len() >= MAX_CONNECTIONS {
                connections.pop_front();
            }
            let connection = Handle::current().spawn(pages.clone().serve_connection(stream));
            connections.push_back(AbortOnDropHandle::new(connection));
        }
    }
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}")]
pub struct BindError {
    address: SocketAddr,
    reason: io::Error,
}

#[derive(Clone)]
struct Pages {
    ready: Ready,
    metrics: Metrics,
}

impl Pages {
    async fn serve_connection(self, stream: TcpStream) {
        let service = service_fn(async |request| Ok::<_, Infallible>(self.answer(&request)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .keep_alive(false)
            .max_buf_size(BUFFER_SIZE)
            .serve_connection(TokioIo::new(stream), service);
        // A caller that hung up, was too slow or spoke no HTTP has had its answer from hyper.
        let _ = timeout(CONNECTION_TIMEOUT, connection).await;
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if !matches!(path, "/livez" | "/metrics" | "/readyz") {
            return text(StatusCode::NOT_FOUND, "there are /livez, /readyz and /metrics\n");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match path {
            "/metrics" => page(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.render()),
            "/readyz" => match self.ready.report() {
                (true, report) => text(StatusCode::OK, report),
                (false, report) => text(StatusCode::SERVICE_UNAVAILABLE, report),
            },
            _ => text(StatusCode::OK, "ok"),
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    page(status, "text/plain; charset=utf-8", body)
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;
    use crate::control::Control;

    /// A running admin listener; its thread ends with the test.
    fn serve(ready: &Ready) -> (Control, SocketAddr) {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = admin.local_addr();
        let control = Control::start().unwrap();
        control.spawn("admin", admin.serve(ready.clone(), Metrics::new("1.2.3")));
        (control, address)
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        write!(stream, "{request} HTTP/1.1\r\nHost: admin\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn tells_health_readiness_and_metrics() {
        let ready = Ready::new();
        let (_control, address) = serve(&ready);
        let alive = ask(address, "GET /livez");
        assert!(alive.starts_with("HTTP/1.1 200 ") && alive.ends_with("\r\n\r\nok"), "{alive}");

        let gate = ready.gate("session");
        let answer = ask(address, "GET /readyz");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("not ready\nwaiting for session: not yet\n"), "{answer}");
        gate.open();
        assert!(ask(address, "GET /readyz").starts_with("HTTP/1.1 200 "));

        let long = "x".repeat(20 * BUFFER_SIZE);
        ready.note("config", &long);
        assert!(ask(address, "GET /readyz").ends_with(&format!("note: config: {long}\n")));

        let answer = ask(address, "GET /metrics");
        assert!(answer.contains("content-type: application/openmetrics-text;"), "{answer}");
        assert!(answer.contains("isthmus_build_info{version=\"1.2.3\"} 1\n"), "{answer}");
    }

    #[test]
    fn refuses_other_paths_and_methods() {
        let (_control, address) = serve(&Ready::new());
        for (request, status) in [
            ("GET /", "404"),
            ("GET /livez/", "404"),
            ("POST /quit", "404"),
            ("POST /livez", "405"),
            ("OPTIONS *", "404"),
        ] {
            let answer = ask(address, request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        }
        let answer = ask(address, "HEAD /livez");
        assert!(
            answer.contains("content-length: 2\r\n") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn idle_connections_do_not_keep_others_out() {
        let (_control, address) = serve(&Ready::new());
        let mut idle: Vec<_> =
            (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(address).unwrap()).collect();
        assert!(ask(address, "GET /livez").starts_with("HTTP/1.1 200 "));
        // Well before its head is overdue, the oldest has made room.
        idle[0].set_read_timeout(Some(HEAD_TIMEOUT / 2)).unwrap();
        assert_eq!(idle[0].read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_used_address_is_named() {
        let admin = Admin::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = Admin::bind(admin.local_addr()).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("cannot listen on {}: ", admin.local_addr())),
            "{error}"
        );
    }
}
