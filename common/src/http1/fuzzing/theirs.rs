//! Messages as hyper reads them.

use std::cell::RefCell;
use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::MAX_FIELDS;
use super::*;

/// How often anything is polled at most; each poll moves on, for the bytes are all there.
const MAX_POLLS: usize = 10_000;

/// The first request on a connection, if it is accepted whole.
pub(super) fn request(bytes: &[u8]) -> Option<Message> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            let first = format!("{} {} {:?}", parts.method, parts.uri, parts.version);
            let read = message(first, &parts.headers, body).await;
            seen.borrow_mut().push(read);
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut connection = pin!(
        server::Builder::new()
            .max_headers(MAX_FIELDS)
            .half_close(true)
            .keep_alive(false)
            .serve_connection(TokioIo::new(Script::new(bytes, true)), service)
    );
    // Its error is none of ours: the answer may be what fails.
    let _ = poll(|cx| connection.as_mut().poll(cx));
    let first = seen.borrow_mut().drain(..).next();
    first.flatten()
}

/// The answer to a request, if it is accepted whole.
pub(super) fn response(bytes: &[u8], to_head: bool) -> Option<Message> {
    let io = TokioIo::new(Script::new(bytes, false));
    let mut handshake =
        pin!(client::Builder::new().max_headers(MAX_FIELDS).handshake::<_, Empty<Bytes>>(io));
    let (mut sender, connection) = poll(|cx| handshake.as_mut().poll(cx))?.ok()?;
    let mut connection = pin!(connection);
    let method = if to_head { "HEAD" } else { "GET" };
    let request = Request::builder().method(method).uri("/").body(Empty::new()).ok()?;
    let mut exchange = pin!(async {
        let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
        let first = format!("{} {:?}", parts.status, parts.version);
        message(first, &parts.headers, body).await
    });
    poll(|cx| {
        let exchange = exchange.as_mut().poll(cx);
        if exchange.is_pending() {
            let _ = connection.as_mut().poll(cx);
        }
        exchange
    })?
}

/// Whether an answer is informational, and another comes after it.
pub(super) fn is_skipped(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

async fn message(first: String, headers: &HeaderMap, body: Incoming) -> Option<Message> {
    let body = body.collect().await.ok()?;
    let trailers = body.trailers().map(fields).unwrap_or_default();
    let body = body.to_bytes().to_vec();
    Some(Message { first, fields: fields(headers), body, trailers })
}

/// Polls until it is ready; `None` if it never is.
fn poll<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let mut cx = Context::from_waker(Waker::noop());
    (0..MAX_POLLS).find_map(|_| match poll(&mut cx) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}

/// A connection on which these bytes come, and then its end.
struct Script<'a> {
    bytes: &'a [u8],
    /// A server speaks only when it was asked.
    begun: bool,
}

impl<'a> Script<'a> {
    fn new(bytes: &'a [u8], begun: bool) -> Self {
        Self { bytes, begun }
    }
}

impl AsyncRead for Script<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.begun {
            return Poll::Pending;
        }
        let (now, later) = self.bytes.split_at(self.bytes.len().min(buf.remaining()));
        buf.put_slice(now);
        self.bytes = later;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begun = true;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
