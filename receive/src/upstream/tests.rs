//! Calls to real origins on loopback, most of them scripts that say byte for byte what happens.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tunnel_common::condition::Condition;
use tunnel_common::config::{HostPolicy, Route, Scheme, Target, TargetTls};
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::http1::Answer;

use super::{UpstreamAnswer, UpstreamBody, Upstreams};

mod frames;
mod http1;
mod http2;
mod limits;
mod tls;

/// The longest that any of these tests may take.
const LIMIT: Duration = Duration::from_secs(20);

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Upstreams and the origin they call.
struct World {
    drain: Drain,
    upstreams: Upstreams,
    route: Route,
    accepted: Rc<Cell<usize>>,
}

impl World {
    /// An origin that runs `serve` on each connection, which it also tells the number of.
    async fn new<F>(scheme: Scheme, serve: impl Fn(TcpStream, usize) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Not part of the drain under test: its tasks are counted.
        let origin = Drain::new();
        let accepted = Rc::new(Cell::new(0));
        let count = accepted.clone();
        origin.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                origin.spawn(serve(stream, count.replace(count.get() + 1)));
            }
        });
        let drain = Drain::new();
        let target = Target {
            scheme,
            authority: address.to_string().parse().unwrap(),
            base_path: String::new(),
            tls: TargetTls::default(),
        };
        let route = Route {
            condition: Condition::from(8050),
            port: 8050,
            name: "8050".to_owned(),
            node_port: None,
            cluster: None,
            health: None,
            target,
            host: HostPolicy::Caller,
            downstream: tunnel_common::config::Downstream::default(),
            timeout: LIMIT,
            connect_timeout: LIMIT,
        };
        Self { upstreams: Upstreams::new(drain.clone()), drain, route, accepted }
    }

    /// An origin that answers each request line with `OK`.
    async fn answering() -> Self {
        Self::new(Scheme::Http, async |mut stream, _| {
            while !head(&mut stream).await.is_empty() {
                stream.write_all(OK).await.unwrap();
            }
        })
        .await
    }

    async fn send<B>(&self, request: Request<B>) -> Result<Response<UpstreamBody>, ProxyError>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + 'static,
    {
        self.answer(request).await.map(|answer| match answer {
            Answer::Response(response) => response.into(),
            Answer::Switched(head, _) => panic!("switched: {head:?}"),
        })
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<UpstreamAnswer, ProxyError>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + 'static,
    {
        let (parts, body) = request.into_parts();
        within(self.upstreams.send(&self.route, &mut parts.into(), body, &|_| ())).await
    }

    async fn get(&self) -> Result<String, ProxyError> {
        Ok(text(self.send(request(Method::GET)).await?).await)
    }

    /// Waits until no connection is left that could be used again.
    async fn until_none_is_free(&self) {
        let pool = self.upstreams.pools.of(&self.route.target);
        within(async {
            while let Some(client) = pool.take_idle(false) {
                pool.put(client);
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until only the sweeper and `connections` are left.
    async fn until_connections(&self, connections: usize) {
        within(async {
            while self.drain.tasks() != 1 + connections {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.expect("the test hangs")
}

fn request(method: Method) -> Request<Empty<Bytes>> {
    let request = Request::builder().method(method).uri("/a?b").header(header::HOST, "caller");
    request.body(Empty::new()).unwrap()
}

/// A request whose body has no known length and ends with a trailer.
fn streaming(method: Method) -> Request<impl http_body::Body<Data = Bytes, Error = Infallible>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("digest", "d".parse().unwrap());
    let frames = [Frame::data("he".into()), Frame::data("llo".into()), Frame::trailers(trailers)];
    let body = Frames(frames.into_iter().collect());
    request(method).map(|_| body)
}

/// Hands out frames one by one, and knows no length.
struct Frames(std::collections::VecDeque<Frame<Bytes>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::Poll::Ready(self.0.pop_front().map(Ok))
    }
}

async fn text(response: Response<UpstreamBody>) -> String {
    let body = within(response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Reads up to the end of a head; empty at the end of the stream.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    read_until(stream, "\r\n\r\n").await
}

async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        match stream.read_u8().await {
            Ok(byte) => text.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(text).unwrap()
}

/// What a hyper origin saw, as text, after the body has arrived.
async fn describe(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().map_or(0, HeaderMap::len);
    let body = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    let text = format!("{} {} {body} {trailers}", parts.method, parts.uri);
    Ok(Response::new(Full::new(text.into())))
}
