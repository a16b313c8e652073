//! The server's side of a connection: one request after the other, strictly read.

mod connection;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::header;
use http::request::Parts;
use http::{Method, Response, Version};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};

use self::connection::{Connection, Next};
use super::body::RequestBody;
use super::client::names_close;
use super::error::Http1Error;
use super::stream::Stream;
use super::switched::Switched;
use crate::drain::Drain;
use crate::edge::Limits;
use crate::switch;

/// What a service answers.
pub enum Answer<B, Io> {
    /// A response.
    Response(Response<B>),
    /// 101, and the other end of what the connection becomes.
    Switched(Response<()>, Io),
}

/// How a connection ended.
pub enum End {
    /// It is closed.
    Closed,
    /// The caller speaks HTTP/2; nothing was answered yet.
    Http2(Switched),
}

/// Serves the requests of one connection. `refuse` makes the reply to one that is not HTTP/1.1 as
/// all servers read it. Ends after the request in
/// flight when `drain` is asked, and tells the caller with its next answer when it is warned.
pub async fn serve<S, F, B, Io>(
    stream: Stream,
    service: S,
    refuse: impl Fn(&Http1Error) -> Response<B>,
    limits: &Limits,
    drain: &Drain,
) -> Result<End, Http1Error>
where
    S: Fn(Parts, RequestBody) -> F,
    F: Future<Output = Answer<B, Io>>,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut asked = pin!(drain.asked());
    let mut connection = Connection::new(stream, *limits);
    loop {
        let next = poll_fn(|cx| {
            let next = connection.poll_head(cx);
            match next.is_pending() && connection.is_unused() && asked.as_mut().poll(cx).is_ready()
            {
                true => Poll::Ready(Ok(Next::End)),
                false => next,
            }
        });
        let parts = match next.await {
            Ok(Next::Request(parts)) => parts,
            Ok(Next::End) => return Ok(End::Closed),
            Ok(Next::Http2) => return Ok(End::Http2(connection.into_switched()?)),
            Err(error) => {
                if !matches!(error, Http1Error::Io(_) | Http1Error::Ended(_)) {
                    connection.send(refuse(&error), &Caller::LAST).await?;
                    connection.linger().await;
                }
                return Err(error);
            }
        };
        let caller = Caller::of(&parts);
        let answer = {
            let answer = pin!(service(parts, connection.body()));
            connection.answer(answer).await?
        };
        match answer {
            Answer::Response(response) => {
                let caller =
                    Caller { keep_alive: caller.keep_alive && !drain.is_warned(), ..caller };
                if !connection.send(response, &caller).await? {
                    connection.linger().await;
                    return Ok(End::Closed);
                }
            }
            Answer::Switched(response, other) => {
                connection.send_switch(&response).await?;
                let connection = connection.into_switched()?;
                Box::pin(switch::join(connection, other, limits.stream_idle_timeout)).await;
                return Ok(End::Closed);
            }
        }
    }
}

/// What an answer must know of its request.
#[derive(Clone, Copy)]
struct Caller {
    version: Version,
    is_head: bool,
    keep_alive: bool,
}

impl Caller {
    const LAST: Self = Self { version: Version::HTTP_11, is_head: false, keep_alive: false };

    fn of(parts: &Parts) -> Self {
        let headers = &parts.headers;
        let keep_alive = match parts.version {
            Version::HTTP_10 => headers
                .get(header::CONNECTION)
                .is_some_and(|option| option.as_bytes().eq_ignore_ascii_case(b"keep-alive")),
            _ => !names_close(headers),
        };
        Self { version: parts.version, is_head: parts.method == Method::HEAD, keep_alive }
    }
}
