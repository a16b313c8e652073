//! Callers that speak HTTP/2: hyper's server, and WebSockets over it (RFC 8441).

use std::error::Error;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Version};
use http_body::Body;
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::activity::{Activity, InFlight, Tracked};
use super::{CallerBody, Limits};
use crate::drain::Drain;
use crate::fields::Name;
use crate::http1::{Answer, Http1Error, Switched};
use crate::message::{RequestHead, Response};
use crate::switch;

/// How often a silent caller is asked whether it is there, and how long it may take to say so.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What waits to be written to one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// Streams that callers may reset before they were answered, per connection, until they are cut off
/// (the "rapid reset" of CVE-2023-44487). hyper's own default, said here because it matters.
const MAX_RESETS: usize = 20;

/// Errors of single streams until a connection is cut off, in all its life. Uploads go on for a moment
/// after an early answer, which h2 counts among them, so that its own default of 1024 is soon used up
/// by a proxy in front of this one; without a limit each would cost memory.
const MAX_ERRORS: usize = 16 * 1024;

/// The body of an answer, or the empty one of a switch.
type AnswerBody<B> = Either<Tracked<B>, Empty<Bytes>>;

pub(super) async fn serve<S, F, B, Io>(
    io: Switched,
    service: S,
    refuse: impl Fn(&Http1Error) -> Response<B>,
    limits: &Limits,
    drain: &Drain,
) where
    S: Fn(RequestHead, CallerBody) -> F,
    F: Future<Output = Answer<B, Io>> + 'static,
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stream_idle = limits.stream_idle_timeout;
    let activity = Rc::new(Activity::default());
    let service = service_fn(|mut request: Request<Incoming>| {
        join_cookies(request.headers_mut());
        let on_upgrade = as_upgrade(&mut request);
        let in_flight = activity.begin();
        let body = |body| match on_upgrade {
            None => CallerBody::Http2(Tracked::new(body, &in_flight)),
            Some(_) => CallerBody::None,
        };
        let (parts, incoming) = request.into_parts();
        let is_head = parts.method == Method::HEAD;
        let answer = match parts.headers.len() > limits.max_fields {
            true => Err(refuse(&Http1Error::HeadTooLarge)),
            false => Ok(service(parts.into(), body(incoming))),
        };
        let drain = drain.clone();
        async move {
            let answer = match answer {
                Ok(answer) => answer.await,
                Err(refusal) => Answer::Response(refusal),
            };
            let answer = finish(answer, on_upgrade, in_flight, stream_idle, &drain)?;
            Ok::<_, Http1Error>(http::Response::from(answer.map(|body| match is_head {
                // The bridge's own replies have one (RFC 9110 §9.3.2).
                true => Either::Right(Empty::new()),
                false => body,
            })))
        }
    });
    let connection = server(limits, drain).serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let served = async {
        tokio::select! {
            served = connection.as_mut() => return served,
            () = drain.asked() => {}
            () = activity.unused(limits.idle_timeout) => {}
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    };
    let served = tokio::select! {
        served = served => served,
        () = activity.stalled(stream_idle) => return tracing::debug!("an HTTP/2 connection has stalled"),
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a caller's HTTP/2 connection failed");
    }
}

fn server(limits: &Limits, drain: &Drain) -> http2::Builder<Drain> {
    let mut server = http2::Builder::new(drain.clone());
    server
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .enable_connect_protocol()
        .max_concurrent_streams(limits.max_http2_streams)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS)
        .max_send_buf_size(SEND_BUFFER)
        // The answer's own Date is the target's.
        .auto_date_header(false);
    server
}

/// Makes one field of the cookies, which HTTP/2 may have in several (RFC 9113 §8.2.3): servers of
/// HTTP/1.1 would read these as a list with commas.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> =
        headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice()))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// Turns an extended CONNECT into the handshake of HTTP/1.1 that it stands for (RFC 8441 §5), so
/// that it crosses the bridge like any other. Returns the stream that switches.
fn as_upgrade(request: &mut Request<Incoming>) -> Option<OnUpgrade> {
    let protocol = request.extensions_mut().remove::<Protocol>()?;
    let protocol = HeaderValue::from_str(protocol.as_str()).ok()?;
    let on_upgrade = hyper::upgrade::on(&mut *request);
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    let headers = request.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
    // HTTP/2 has no such key, and a server of HTTP/1.1 demands one. It only keeps caches from
    // answering by accident (RFC 6455 §10.3); none is between here and the target.
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_static("aXN0aG11cy1yZmM4NDQxIQ=="));
    Some(on_upgrade)
}

fn finish<B, Io>(
    answer: Answer<B, Io>,
    on_upgrade: Option<OnUpgrade>,
    in_flight: Rc<InFlight>,
    stream_idle_timeout: Duration,
    drain: &Drain,
) -> Result<Response<AnswerBody<B>>, Http1Error>
where
    Io: AsyncRead + AsyncWrite + Unpin + 'static,
{
    match (answer, on_upgrade) {
        (Answer::Response(mut response), on_upgrade) => {
            in_flight.answers();
            // To the caller, any 2xx means that the protocol was switched (RFC 8441 §5).
            if on_upgrade.is_some() && response.status.is_success() {
                response.status = StatusCode::BAD_GATEWAY;
            }
            Ok(response.map(|body| Either::Left(Tracked::new(body, &in_flight))))
        }
        (Answer::Switched(head, io), Some(on_upgrade)) => {
            drain.spawn(async move {
                let _in_flight = in_flight;
                if let Ok(upgraded) = on_upgrade.await {
                    switch::join_until_idle(TokioIo::new(upgraded), io, stream_idle_timeout).await;
                }
            });
            Ok(switched(head).map(Either::Right))
        }
        (Answer::Switched(..), None) => Err(Http1Error::Malformed("a switch nobody asked for")),
    }
}

/// 101 is 200 in HTTP/2, without the fields of the handshake.
fn switched(mut head: Response<()>) -> Response<Empty<Bytes>> {
    head.status = StatusCode::OK;
    for name in [Name::Connection, Name::Upgrade, Name::SecWebsocketAccept] {
        head.fields.remove(name);
    }
    head.map(|()| Empty::new())
}
