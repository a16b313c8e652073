//! The server's side of a connection: one request after the other, strictly read.

mod connection;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Version};
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
use crate::fields::Name;
use crate::message::{RequestHead, Response};
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

/// What few connections end with.
enum Ending<B, Io> {
    /// A request that is refused.
    Refused(Http1Error, Response<B>),
    /// A switch of protocols.
    Switched(Response<()>, Io),
}

/// Serves the requests of one connection. `refuse` makes the reply to one that is not HTTP/1.1 as
/// all servers read it. Ends after the request in flight when `drain` is asked, and tells the caller
/// with its next answer when it is warned.
///
/// The future is what an idle caller costs: the head, the service's future, the answer and the
/// ending are each alive across one `await` only, so that they share their room.
pub fn serve<S, F, B, Io>(
    stream: Stream,
    service: S,
    refuse: impl Fn(&Http1Error) -> Response<B>,
    limits: &Limits,
    drain: &Drain,
) -> impl Future<Output = Result<End, Http1Error>>
where
    S: Fn(RequestHead, RequestBody) -> F,
    F: Future<Output = Answer<B, Io>>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection::new(stream, limits);
    async move {
        let mut asked = pin!(drain.asked());
        let ending = loop {
            let next = poll_fn(|cx| {
                let next = connection.poll_head(cx);
                if next.is_ready() || !connection.is_unused() {
                    return next;
                }
                match asked.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Ok(Next::End)),
                    Poll::Pending => next,
                }
            });
            let answer = match next.await {
                Ok(Next::Request(head)) => service(head, connection.body()),
                Ok(Next::End) => return Ok(End::Closed),
                Ok(Next::Http2) => return Ok(End::Http2(connection.into_switched()?)),
                Err(error @ (Http1Error::Io(_) | Http1Error::Ended(_))) => return Err(error),
                Err(error) => {
                    let reply = refuse(&error);
                    break Ending::Refused(error, reply);
                }
            };
            let sending = match connection.answer(pin!(answer)).await? {
                Answer::Response(response) => connection.begin(response, drain.is_warned()),
                Answer::Switched(head, other) => break Ending::Switched(head, other),
            };
            if !connection.finish(sending).await? {
                Box::pin(connection.close(drain)).await;
                return Ok(End::Closed);
            }
        };
        Box::pin(end(connection, ending, drain)).await
    }
}

async fn end<B, Io>(
    mut connection: Connection<'_>,
    ending: Ending<B, Io>,
    drain: &Drain,
) -> Result<End, Http1Error>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    Io: AsyncRead + AsyncWrite + Unpin,
{
    match ending {
        Ending::Refused(error, reply) => {
            let sending = connection.begin(reply, true);
            connection.finish(sending).await?;
            connection.close(drain).await;
            Err(error)
        }
        Ending::Switched(head, other) => {
            let timeout = connection.limits().stream_idle_timeout;
            connection.send_switch(&head).await?;
            switch::join_until_idle(connection.into_switched()?, other, timeout).await;
            Ok(End::Closed)
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
    /// Nobody has asked anything that could be read.
    const UNKNOWN: Self = Self { version: Version::HTTP_11, is_head: false, keep_alive: false };

    fn of(head: &RequestHead) -> Self {
        let keep_alive = match head.version {
            Version::HTTP_10 => head
                .fields
                .get(Name::Connection)
                .is_some_and(|option| option.eq_ignore_ascii_case(b"keep-alive")),
            _ => !names_close(&head.fields),
        };
        Self { version: head.version, is_head: head.method == Method::HEAD, keep_alive }
    }
}
