//! Opening the call at both ends, on HTTP/2 connections of our own.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error;
use std::future::ready;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header,
};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2 as client;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tonic::metadata::GRPC_CONTENT_TYPE;
use tonic::{Code, Status};

use super::Pipe;
use super::connection::Connection;
use super::message::{FRAME_LEN, PATH};
use super::outbox::{Chunks, Outbox};
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

/// What an answer ends with.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

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
    let (mut sender, dispatch) = client::Builder::new(connection.executor())
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

    let (outbox, chunks) = Outbox::new(None);
    let response = sender.send_request(request(authority, chunks)).await;
    let response = response.map_err(|error| CallError::Connection(error.into()))?;
    match refusal(&response) {
        Some(refused) => Err(refused),
        None => Ok(Pipe::new(response.into_body(), outbox, connection)),
    }
}

fn request(authority: Authority, chunks: Chunks) -> Request<Chunks> {
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTPS);
    uri.authority = Some(authority);
    uri.path_and_query = Some(PathAndQuery::from_static(PATH));
    let mut request = Request::new(chunks);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    request.headers_mut().insert(header::TE, HeaderValue::from_static("trailers"));
    request.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    request
}

/// Why there is no call, if so: a status of gRPC, or an answer of something else.
fn refusal<B>(response: &Response<B>) -> Option<CallError> {
    let (code, message) = match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => (status.code(), status.message().to_owned()),
        _ if response.status() != StatusCode::OK => {
            (Code::Unknown, format!("HTTP status {}", response.status()))
        }
        _ => return None,
    };
    Some(CallError::Refused { code, message })
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
    let caller = Cell::new(Some(caller));
    let service = service_fn(move |request: Request<Incoming>| {
        let response = match request.uri().path() == PATH {
            true => answer(request, caller.take()),
            false => refuse(Status::unimplemented(format!("only {PATH} is served"))),
        };
        ready(Ok::<_, Infallible>(response))
    });
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

type Caller = oneshot::Sender<(Incoming, Outbox)>;
type Answer = Either<Chunks, Empty<Bytes>>;

/// Hands both directions of the call to [`accept`], whose `caller` is there for the first one.
fn answer(request: Request<Incoming>, caller: Option<Caller>) -> Response<Answer> {
    let Some(caller) = caller else {
        return refuse(Status::resource_exhausted("a connection carries one call"));
    };
    let good = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let (outbox, chunks) = Outbox::new(Some(good));
    if caller.send((request.into_body(), outbox)).is_err() {
        return refuse(Status::unavailable("the server is closing"));
    }
    let mut response = Response::new(Either::Left(chunks));
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

fn refuse(status: Status) -> Response<Answer> {
    status.into_http::<Empty<Bytes>>().map(Either::Right)
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use tokio::io::duplex;

    use super::*;

    /// Makes the call of `path` with an empty stream; returns its gRPC status.
    async fn call(sender: &mut client::SendRequest<Empty<Bytes>>, path: &str) -> Code {
        let request = Request::post(format!("https://a.example{path}")).body(Empty::new());
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
            Ok::<_, Infallible>(Status::permission_denied("not today").into_http::<Empty<Bytes>>())
        });
        let server =
            server::Builder::new(connection.executor()).serve_connection(TokioIo::new(far), refuse);
        connection.spawn(async { drop(server.await) });
        let error = dial(near, "a.example:1".parse().unwrap(), &drain).await.err().unwrap();
        let text = "the call was refused: not today (PermissionDenied)";
        assert_eq!(error.to_string(), text);
    }
}
