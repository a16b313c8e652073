//! From the tunnel, or the plain entrance, to the target that the config names, and back.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Empty, Full};
use hyper::body::Incoming as CallerBody;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tunnel_common::config::{Config, Route};
use tunnel_common::drain::Drain;
use tunnel_common::error::{self, ProxyError};
use tunnel_common::headers::{self, Downstream};
use tunnel_common::switch;
use tunnel_common::tunnel::{Duplex, EncodedHead, HeadTooLarge, Incoming, RecvHalf, SendHalf};

use crate::metrics::Metrics;
use crate::upstream::{UpstreamBody, Upstreams};

/// The name that this end signs its own replies with.
pub const NAME: &str = "tunnel-receive";

/// The body of a reply: a short text of the bridge's own, or the target's.
pub type ReplyBody = Either<Full<Bytes>, UpstreamBody>;

/// Forwards requests to their targets.
pub struct Forward {
    config: watch::Receiver<Arc<Config>>,
    upstreams: Upstreams,
    metrics: Metrics,
    drain: Drain,
}

impl Forward {
    /// Looks conditions up in the newest `config`.
    pub fn new(
        config: watch::Receiver<Arc<Config>>,
        upstreams: Upstreams,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self { config, upstreams, metrics, drain }
    }

    /// Answers a request that came through the tunnel; ends early when nobody waits any more.
    pub async fn serve(self: Rc<Self>, incoming: Incoming) {
        let Incoming { request, reply } = incoming;
        let (mut parts, body) = request.into_parts();
        match headers::strip_hop_by_hop(&mut parts.headers) {
            None => self.exchange(parts, Either::Left(body), None, reply).await,
            Some(protocol) => {
                protocol.restore(&mut parts.headers);
                self.exchange(parts, Either::Right(Empty::new()), Some(body), reply).await;
            }
        }
    }

    /// `kept` is the way from the caller, where the request offers to switch protocols.
    async fn exchange(
        &self,
        parts: Parts,
        body: Either<RecvHalf, Empty<Bytes>>,
        kept: Option<RecvHalf>,
        mut reply: SendHalf,
    ) {
        let mut response = tokio::select! {
            response = self.answer(parts, body) => response,
            _ = reply.failed() => return,
        };
        let switched = switched(&mut response);
        let (head, body) = encode(response);
        let end = switched.is_none() && body.is_end_stream();
        // If the stream fails, its other end knows; nobody is left here to be told.
        if reply.send_head(&head, end).await.is_err() || end {
            return;
        }
        match (switched, kept) {
            (Some(on_upgrade), Some(kept)) => {
                switch::join(on_upgrade, Duplex::new(reply, kept)).await;
            }
            _ => {
                let _ = reply.send_body(body).await;
            }
        }
    }

    /// Answers a request that came to the plain entrance with its condition in the header.
    pub async fn call(
        self: Rc<Self>,
        peer: SocketAddr,
        mut request: Request<CallerBody>,
    ) -> Result<Response<ReplyBody>, Infallible> {
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        // Who may choose the target may also say for whom.
        let downstream = Downstream { peer: peer.ip(), tls: false, trust: true };
        match headers::prepare_request(&mut parts, &downstream) {
            Err(error) => return Ok(self.refuse(&error, error::wants_json(&parts.headers))),
            Ok(None) => {}
            Ok(Some(protocol)) => protocol.restore(&mut parts.headers),
        }
        let mut response = self.answer(parts, body).await;
        if let Some(target) = switched(&mut response) {
            self.drain.spawn(async {
                if let Ok(upgraded) = target.await {
                    switch::join(on_upgrade, TokioIo::new(upgraded)).await;
                }
            });
        }
        Ok(response)
    }

    async fn answer<B>(&self, mut parts: Parts, body: B) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let json = error::wants_json(&parts.headers);
        let answer = async {
            let route = self.route(&mut parts)?;
            self.upstreams.send(&route, Request::from_parts(parts, body)).await
        };
        match answer.await {
            Ok(mut response) => {
                let version = response.version();
                let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
                match headers::prepare_response(response.headers_mut(), version) {
                    Some(protocol) if switches => protocol.restore(response.headers_mut()),
                    _ => {}
                }
                self.metrics.answered(response.status());
                response.map(Either::Right)
            }
            Err(error) => self.refuse(&error, json),
        }
    }

    fn route(&self, parts: &mut Parts) -> Result<Arc<Route>, ProxyError> {
        let condition = headers::take_condition(&mut parts.headers)?;
        self.config.borrow().route(&condition).cloned().ok_or_else(|| {
            ProxyError::DestinationNotFound {
                condition: condition.to_string(),
                place: "the config of tunnel-receive".into(),
            }
        })
    }

    fn refuse(&self, error: &ProxyError, json: bool) -> Response<ReplyBody> {
        tracing::debug!(%error, "answered by the bridge");
        self.metrics.failed(error);
        let reply = error.reply(NAME, json);
        self.metrics.answered(reply.status());
        reply.map(Either::Left)
    }
}

/// The connection behind a 101.
fn switched(response: &mut Response<ReplyBody>) -> Option<OnUpgrade> {
    (response.status() == StatusCode::SWITCHING_PROTOCOLS).then(|| hyper::upgrade::on(response))
}

/// The head as the tunnel carries it; one that is too large becomes an error of the target's.
fn encode(response: Response<ReplyBody>) -> (EncodedHead, ReplyBody) {
    let (parts, body) = response.into_parts();
    match EncodedHead::response(parts.status, &parts.headers) {
        Ok(head) => (head, body),
        Err(error @ HeadTooLarge) => {
            let reply = ProxyError::HttpProtocol(error.to_string()).reply(NAME, false);
            encode(reply.map(Either::Left))
        }
    }
}
