//! One call: which connection it takes, how long it waits, and whether it may be tried again.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;

use http::request::Parts;
use http::{Request, Response, header};
use http_body::Body;
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout_at};
use tunnel_common::config::{Route, Scheme};
use tunnel_common::error::ProxyError;
use tunnel_common::http1::{Answer, Client, Reply, SendError, Switched};

use super::body::{RequestBody, Upload, UpstreamBody};
use super::connect::{Connected, Dialler, timed_out};
use super::pool::{Pool, Shared};
use super::{after, failure, rewrite};

/// What a target answers.
pub type UpstreamAnswer = Answer<UpstreamBody, Switched>;

/// One request on its way to its target.
pub(super) struct Call<'a> {
    pub(super) route: &'a Route,
    pub(super) pool: Rc<Pool>,
    pub(super) dialler: &'a Dialler,
    /// Takes the informational responses that come before the answer, of HTTP/1.1 targets.
    pub(super) inform: &'a dyn Fn(&Response<()>),
}

impl Call<'_> {
    /// At most two tries: on a connection that is open already, then on one that is not.
    pub(super) async fn run(
        &self,
        request: Request<RequestBody>,
    ) -> Result<UpstreamAnswer, ProxyError> {
        let is_upgrade = request.headers().contains_key(header::UPGRADE);
        let request = match self.reuse(is_upgrade) {
            None => request,
            Some(connection) => match self.exchange(connection, request).await {
                Err(Failed::Retry(request)) => request,
                Err(Failed::Final(error)) => return Err(error),
                Ok(response) => return Ok(response),
            },
        };
        let connection = self.open(is_upgrade).await?;
        self.exchange(connection, request).await.map_err(|failed| match failed {
            Failed::Final(error) => error,
            Failed::Retry(_) => ProxyError::ConnectionTerminated("the connection to the target"),
        })
    }

    /// A connection that is open already.
    fn reuse(&self, is_upgrade: bool) -> Option<Connection> {
        if let Some(client) = self.pool.take_idle() {
            return Some(Connection::Http1 { client, reused: true });
        }
        // TLS chose HTTP/2 for the shared one, which cannot carry an upgrade.
        if is_upgrade && self.route.target.scheme == Scheme::Https {
            return None;
        }
        self.pool.shared().map(|shared| Connection::Http2 { shared, reused: true })
    }

    /// A new connection, or one that another request has just opened to be shared.
    async fn open(&self, is_upgrade: bool) -> Result<Connection, ProxyError> {
        let start = Instant::now();
        let only_http1 = is_upgrade && self.route.target.scheme == Scheme::Https;
        if self.pool.is_http1() || only_http1 {
            return self.dial(start, only_http1).await;
        }
        let deadline = after(start, self.route.connect_timeout);
        let turn =
            timeout_at(deadline, self.pool.dial_turn()).await.map_err(|_| timed_out(self.route))?;
        if let Some(shared) = self.pool.shared() {
            return Ok(Connection::Http2 { shared, reused: true });
        }
        // If the target was found to speak HTTP/1.1 meanwhile, nobody behind needs to wait.
        let _turn = (!self.pool.is_http1()).then_some(turn);
        self.dial(start, false).await
    }

    async fn dial(&self, start: Instant, only_http1: bool) -> Result<Connection, ProxyError> {
        match self.dialler.dial(self.route, start, only_http1).await? {
            Connected::Http1(client) => {
                if !only_http1 {
                    self.pool.learn_http1();
                }
                Ok(Connection::Http1 { client, reused: false })
            }
            Connected::Http2(sender) => {
                Ok(Connection::Http2 { shared: self.pool.share(sender), reused: false })
            }
        }
    }

    async fn exchange(
        &self,
        connection: Connection,
        request: Request<RequestBody>,
    ) -> Result<UpstreamAnswer, Failed> {
        match connection {
            Connection::Http1 { client, reused } => self.http1(client, reused, request).await,
            Connection::Http2 { shared, reused } => self.http2(shared, reused, request).await,
        }
    }

    async fn http1(
        &self,
        client: Client,
        reused: bool,
        request: Request<RequestBody>,
    ) -> Result<UpstreamAnswer, Failed> {
        let (mut parts, body) = request.into_parts();
        rewrite::for_http1(&mut parts)?;
        let is_upgrade = parts.headers.contains_key(header::UPGRADE);
        let repeatable = reused && body.is_end_stream() && parts.method.is_idempotent();
        let upload = body.upload();
        let sent = self.answer(&upload, client.send(&mut parts, body, self.inform)).await?;
        match sent {
            Ok(Reply::Response(response)) => Ok(Answer::Response(
                response.map(|body| UpstreamBody::http1(body, Rc::clone(&self.pool))),
            )),
            Ok(Reply::Switched(head, connection)) if is_upgrade => {
                Ok(Answer::Switched(head, connection))
            }
            Ok(Reply::Switched(..)) => Err(Failed::Final(ProxyError::HttpProtocol(
                "it switched protocols without being asked".to_owned(),
            ))),
            Err(SendError { answered, error }) => match failure::of_http1(&error) {
                (_, true) if repeatable && !answered => {
                    Err(Failed::Retry(Request::from_parts(parts, RequestBody::empty())))
                }
                (error, _) => Err(Failed::Final(error)),
            },
        }
    }

    async fn http2(
        &self,
        shared: Shared,
        reused: bool,
        request: Request<RequestBody>,
    ) -> Result<UpstreamAnswer, Failed> {
        let (mut parts, body) = request.into_parts();
        rewrite::for_http2(&mut parts, self.route)?;
        let (upload, spare) = (body.upload(), spare(&parts, &body, reused));
        let Shared { mut sender, streams, .. } = shared;
        let sent = sender.try_send_request(Request::from_parts(parts, body));
        let failed = match self.answer(&upload, sent).await {
            Ok(Ok(response)) => {
                return Ok(Answer::Response(
                    response.map(|incoming| UpstreamBody::http2(incoming, streams)),
                ));
            }
            Ok(Err(failed)) => retry_or_fail(failed, &upload, spare),
            Err(timeout) => timeout.into(),
        };
        match failed {
            // The fault of one stream.
            Failed::Final(ProxyError::HttpProtocol(_) | ProxyError::HttpRequest(_)) => {}
            // The connection is lost, or so silent that it may be: the next request gets a new one.
            _ => self.pool.forget(&streams),
        }
        Err(failed)
    }

    /// Waits for `sent` as long as something happens. One timer for a request: it is set again only
    /// when it goes off and the upload has moved meanwhile.
    async fn answer<T>(
        &self,
        upload: &Upload,
        sent: impl Future<Output = T>,
    ) -> Result<T, ProxyError> {
        let limit = self.route.timeout;
        let mut sent = pin!(sent);
        let mut quiet_since = Instant::now();
        loop {
            if let Ok(answer) = timeout_at(after(quiet_since, limit), sent.as_mut()).await {
                return Ok(answer);
            }
            if upload.moved() <= quiet_since {
                return Err(ProxyError::HttpResponseTimeout { limit });
            }
            quiet_since = upload.moved();
        }
    }
}

enum Connection {
    Http1 { client: Client, reused: bool },
    Http2 { shared: Shared, reused: bool },
}

/// Why there is no answer.
enum Failed {
    /// The request is whole, and surely was not acted on or may be repeated.
    Retry(Request<RequestBody>),
    Final(ProxyError),
}

impl From<ProxyError> for Failed {
    fn from(error: ProxyError) -> Self {
        Self::Final(error)
    }
}

/// A copy of a request that may be sent again if the kept connection dies under it: RFC 9110 §9.2.2
/// allows it for idempotent methods; a body would be gone.
fn spare(parts: &Parts, body: &RequestBody, reused: bool) -> Option<Parts> {
    (reused && body.is_end_stream() && parts.method.is_idempotent()).then(|| parts.clone())
}

fn retry_or_fail(
    mut failed: TrySendError<Request<RequestBody>>,
    upload: &Upload,
    spare: Option<Parts>,
) -> Failed {
    if let Some(request) = failed.take_message() {
        return Failed::Retry(request);
    }
    if upload.is_broken() {
        return Failed::Final(ProxyError::HttpRequest("the request's body broke off".into()));
    }
    match (failure::classify(failed.error()), spare) {
        ((_, true), Some(parts)) => Failed::Retry(Request::from_parts(parts, RequestBody::empty())),
        ((error, _), _) => Failed::Final(error),
    }
}
