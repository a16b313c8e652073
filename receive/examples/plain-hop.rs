//! A plain reverse proxy of hyper's HTTP/1.1 server and client, to measure the bridge against: two
//! of them in a row do what it does, without tunnel, encryption, routing or checks.
//!
//! `plain-hop LISTEN=TARGET...` (addresses with ports) serves until it is killed. One thread, pooled
//! connections to the target, bodies streamed both ways, `TCP_NODELAY` everywhere. Each connection is
//! kept or closed for itself: of the hop-by-hop fields, `Connection` ends here.
#![allow(clippy::disallowed_methods, reason = "it is killed, never drained")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use anyhow::Context as _;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self as client, SendRequest};
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::LocalRuntime;
use tokio::task::{JoinSet, spawn_local};

/// The most connections to a target that wait for a request.
const MAX_IDLE: usize = 2048;

fn main() -> anyhow::Result<()> {
    LocalRuntime::new()?.block_on(async {
        let mut hops = JoinSet::new();
        for pair in std::env::args().skip(1) {
            let (listen, target) = pair.split_once('=').context("usage: LISTEN=TARGET...")?;
            let target = Rc::new(Target { address: target.parse()?, idle: RefCell::default() });
            hops.spawn_local(serve(TcpListener::bind(listen).await?, target));
        }
        hops.join_next().await.context("usage: plain-hop LISTEN=TARGET...")??
    })
}

async fn serve(listener: TcpListener, target: Rc<Target>) -> anyhow::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let target = Rc::clone(&target);
        spawn_local(async move {
            let service = service_fn(|request| Rc::clone(&target).forward(request));
            // Fails when the caller hangs up or the target fails: its connection just ends.
            let _ = server::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Where requests go, with the connections that are free.
struct Target {
    address: SocketAddr,
    idle: RefCell<Vec<SendRequest<Incoming>>>,
}

impl Target {
    async fn forward(
        self: Rc<Self>,
        mut request: Request<Incoming>,
    ) -> anyhow::Result<Response<Answer>> {
        let mut connection = self.connection().await?;
        request.headers_mut().remove(CONNECTION);
        let mut response = connection.send_request(request).await?;
        response.headers_mut().remove(CONNECTION);
        Ok(response.map(|body| {
            let mut answer = Answer { body, connection: Some(connection), target: self };
            answer.release_at_end();
            answer
        }))
    }

    /// The connection that became free last, or a new one.
    async fn connection(&self) -> anyhow::Result<SendRequest<Incoming>> {
        loop {
            let Some(mut free) = self.idle.borrow_mut().pop() else { break };
            if free.ready().await.is_ok() {
                return Ok(free);
            }
        }
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = client::handshake(TokioIo::new(stream)).await?;
        spawn_local(connection);
        Ok(sender)
    }
}

/// A response's body, which frees its connection when it has been read.
struct Answer {
    body: Incoming,
    connection: Option<SendRequest<Incoming>>,
    target: Rc<Target>,
}

impl Answer {
    fn release_at_end(&mut self) {
        if self.body.is_end_stream() {
            let mut idle = self.target.idle.borrow_mut();
            if idle.len() < MAX_IDLE {
                idle.extend(self.connection.take());
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.release_at_end();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
