//! Callers by hyper: for many requests at a time, and for HTTP/2.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::LocalRuntime;
use tunnel_common::drain::Drain;

use super::body::AnyBody;

/// Runs a caller's side of a test, for at most as long as hundreds of megabytes may take on a
/// machine that is busy otherwise.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    let limit = super::wait::LIMIT * 12;
    let limited = async { tokio::time::timeout(limit, work).await.expect("the test hangs") };
    LocalRuntime::new().unwrap().block_on(limited)
}

/// An HTTP/1.1 connection.
pub struct Http1(pub http1::SendRequest<AnyBody>);

impl Http1 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        Drain::new().spawn(async {
            // The exchange sees its errors.
            let _ = connection.await;
        });
        Self(sender)
    }

    /// A whole exchange.
    pub async fn send(&mut self, request: Request<AnyBody>) -> hyper::Result<Response<Bytes>> {
        self.0.ready().await?;
        collect(self.0.send_request(request).await?).await
    }
}

/// An HTTP/2 connection with prior knowledge.
pub struct Http2(pub http2::SendRequest<AnyBody>);

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) =
            http2::handshake(Drain::new(), TokioIo::new(stream)).await.unwrap();
        Drain::new().spawn(async {
            let _ = connection.await;
        });
        Self(sender)
    }

    /// Waits until the other end has closed the connection.
    pub async fn closed(&self) {
        while !self.0.is_closed() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn collect(response: Response<hyper::body::Incoming>) -> hyper::Result<Response<Bytes>> {
    let (parts, body) = response.into_parts();
    Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
}
