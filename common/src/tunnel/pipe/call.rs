//! Opening the call at both ends, on HTTP/2 connections of our own.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::{self, Future, Ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2 as client;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::server::StreamingService;
use tonic::{Code, Status, Streaming};

use super::Pipe;
use super::connection::Connection;
use super::message::{Chunk, ChunkCodec, FRAME_LEN, MAX_MESSAGE_LEN, PATH};
use super::outbox::{Answer, Outbox};
use crate::drain::Drain;

/// How far the peer may write ahead of the reader, in bytes: 200 ms at 1 Gbit/s take 26 MB, and `h2`
/// returns half a window at a time. The tunnel reads at once, so that little of it is ever used on a
/// short path.
const STREAM_WINDOW: u32 = 64 << 20;

/// Not less, as one call has the connection for itself.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW;

/// How many bytes HTTP/2 holds that are not yet on the wire.
const SEND_BUFFER: usize = 256 << 10;

/// The call's headers are far below; in bytes.
const HEADER_LIST: u32 = 8 << 10;

/// One call, and room for a second to be refused with a reason.
const MAX_CALLS: u32 = 2;

/// Why there is no call on a connection.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The connection was closed in good order, but too early.
    #[error("the connection was closed before the call")]
    Closed,
    /// The connection failed.
    #[error("the connection failed before the call")]
    Connection(#[source] Box<dyn Error + Send + Sync>),
    /// The server answered with a gRPC error.
    #[error("the call was refused: {message} ({code:?})")]
    Refused {
        /// The gRPC status code.
        code: Code,
        /// The server's message.
        message: String,
    },
}

/// Makes the call on a new connection to `authority`. Without a time limit of its own; a drop
/// closes the connection. The connection's tasks run in `drain`, until some seconds after the
/// pipe was dropped.
///
/// # Errors
/// See [`CallError`].
pub async fn dial<Io>(io: Io, authority: Authority, drain: &Drain) -> Result<Pipe, CallError>
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let connection = Connection::new(drain);
    let (sender, dispatch) = client::Builder::new(connection.executor())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_LEN as u32)
        .max_header_list_size(HEADER_LIST)
        .max_send_buf_size(SEND_BUFFER)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| CallError::Connection(error.into()))?;
    // Its errors reach the call as well.
    connection.spawn(async { drop(dispatch.await) });

    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTPS);
    parts.authority = Some(authority);
    parts.path_and_query = Some(PathAndQuery::from_static("/"));
    let origin = Uri::from_parts(parts).unwrap_or_default();
    let (outbox, chunks) = Outbox::new();
    let response = tonic::client::Grpc::with_origin(Sender(sender), origin)
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .streaming(tonic::Request::new(chunks), PathAndQuery::from_static(PATH), ChunkCodec)
        .await?;
    Ok(Pipe::new(response.into_inner(), outbox, connection))
}

/// Serves a new connection until its client has made the call; any other call is answered with
/// a gRPC error. Without a time limit of its own; a drop closes the connection. The connection's
/// tasks run in `drain`, until some seconds after the pipe was dropped.
///
/// # Errors
/// See [`CallError`].
pub async fn accept<Io>(io: Io, drain: &Drain) -> Result<Pipe, CallError>
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (caller, call) = oneshot::channel();
    let caller = Rc::new(Cell::new(Some(caller)));
    let service = service_fn(move |request| answer(request, Rc::clone(&caller)));
    let connection = Connection::new(drain);
    let mut dispatch = Box::pin(
        server::Builder::new(connection.executor())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_frame_size(FRAME_LEN as u32)
            .max_header_list_size(HEADER_LIST)
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_streams(MAX_CALLS)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(io), service),
    );
    let (incoming, outbox) = tokio::select! {
        biased;
        end = &mut dispatch => return Err(match end {
            Ok(()) => CallError::Closed,
            Err(error) => CallError::Connection(error.into()),
        }),
        call = call => call.map_err(|_| CallError::Closed)?,
    };
    // Its errors reach the call as well.
    connection.spawn(async { drop(dispatch.await) });
    Ok(Pipe::new(incoming, outbox, connection))
}

async fn answer(
    request: Request<Incoming>,
    caller: Rc<Cell<Option<Caller>>>,
) -> Result<Response<Body>, Infallible> {
    if request.uri().path() != PATH {
        return Ok(Status::unimplemented(format!("only {PATH} is served")).into_http());
    }
    let Some(caller) = caller.take() else {
        return Ok(Status::resource_exhausted("a connection carries one call").into_http());
    };
    let mut grpc = tonic::server::Grpc::new(ChunkCodec).max_decoding_message_size(MAX_MESSAGE_LEN);
    Ok(grpc.streaming(Connect(Some(caller)), request).await)
}

impl From<Status> for CallError {
    fn from(status: Status) -> Self {
        match status.source().is_some() {
            true => Self::Connection(Box::new(status)),
            false => Self::Refused { code: status.code(), message: status.message().to_owned() },
        }
    }
}

/// hyper's client as tonic wants it.
struct Sender(client::SendRequest<Body>);

impl GrpcService<Body> for Sender {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

type Caller = oneshot::Sender<(Streaming<Chunk>, Outbox)>;

/// The service behind [`PATH`]: hands both directions to [`accept`].
struct Connect(Option<Caller>);

impl StreamingService<Chunk> for Connect {
    type Response = Chunk;
    type ResponseStream = Answer;
    type Future = Ready<Result<tonic::Response<Answer>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Chunk>>) -> Self::Future {
        let (outbox, chunks) = Outbox::new();
        let taken =
            self.0.take().and_then(|caller| caller.send((request.into_inner(), outbox)).ok());
        future::ready(match taken {
            Some(()) => Ok(tonic::Response::new(Answer(chunks))),
            None => Err(Status::unavailable("the server is closing")),
        })
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::duplex;

    use super::*;

    /// Makes the call of `path` with an empty stream; returns its gRPC status.
    async fn call(sender: &mut client::SendRequest<Body>, path: &str) -> Code {
        let request = Request::post(format!("https://a.example{path}")).body(Body::empty());
        let response = sender.send_request(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code())
    }

    #[tokio::test(flavor = "local")]
    async fn serves_one_call_and_no_other() {
        let drain = Drain::new();
        let (near, far) = duplex(64 << 10);
        let connection = Connection::new(&drain);
        let client = async {
            let (mut sender, dispatch) = client::Builder::new(connection.executor())
                .handshake(TokioIo::new(near))
                .await
                .unwrap();
            connection.spawn(async { drop(dispatch.await) });
            assert_eq!(call(&mut sender, "/isthmus.v1.Tunnel/Other").await, Code::Unimplemented);
            assert_eq!(call(&mut sender, PATH).await, Code::Ok);
            assert_eq!(call(&mut sender, PATH).await, Code::ResourceExhausted);
        };
        let (pipe, ()) = tokio::join!(accept(far, &drain), client);
        pipe.unwrap();
    }

    #[tokio::test(flavor = "local")]
    async fn a_refused_dial_holds_the_servers_reason() {
        let drain = Drain::new();
        let (near, far) = duplex(64 << 10);
        let connection = Connection::new(&drain);
        let refuse = service_fn(async |_| {
            Ok::<_, Infallible>(Status::permission_denied("not today").into_http::<Body>())
        });
        let server =
            server::Builder::new(connection.executor()).serve_connection(TokioIo::new(far), refuse);
        connection.spawn(async { drop(server.await) });
        let error = dial(near, "a.example:1".parse().unwrap(), &drain).await.err().unwrap();
        let text = "the call was refused: not today (PermissionDenied)";
        assert_eq!(error.to_string(), text);
    }
}
