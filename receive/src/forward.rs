//! From the tunnel, or the plain entrance, to the target that the config names, and back.

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use http_body_util::{Either, Empty, Full};
use tokio::sync::watch;
use tunnel_common::config::{Config, Route};
use tunnel_common::edge::CallerBody;
use tunnel_common::error::{self, ProxyError};
use tunnel_common::headers::{self, Address, Downstream};
use tunnel_common::http1::{Answer, Switched};
use tunnel_common::message::{RequestHead, Response};
use tunnel_common::switch;
use tunnel_common::tunnel::{Duplex, EncodedHead, HeadTooLarge, RecvHalf, SendHalf};

use crate::metrics::Metrics;
use crate::upstream::{UpstreamBody, Upstreams};

/// The name that this end signs its own replies with.
pub const NAME: &str = "tunnel-receive";

/// The body of a reply: a short text of the bridge's own, or the target's.
pub type ReplyBody = Either<Full<Bytes>, UpstreamBody>;

/// What a request is answered with.
pub type ForwardAnswer = Answer<ReplyBody, Switched>;

/// Forwards requests to their targets.
pub struct Forward {
    config: watch::Receiver<Arc<Config>>,
    upstreams: Rc<Upstreams>,
    metrics: Metrics,
}

impl Forward {
    /// Looks conditions up in the newest `config`.
    pub fn new(
        config: watch::Receiver<Arc<Config>>,
        upstreams: Rc<Upstreams>,
        metrics: Metrics,
    ) -> Self {
        Self { config, upstreams, metrics }
    }

    /// Answers a request that came through the tunnel; ends early when nobody waits any more.
    pub async fn serve(&self, head: &mut RequestHead, body: RecvHalf, reply: SendHalf) {
        let (body, kept) = match headers::strip_hop_by_hop(&mut head.fields) {
            None => (Either::Left(body), None),
            Some(protocol) => {
                protocol.restore(&mut head.fields);
                (Either::Right(Empty::new()), Some(body))
            }
        };
        self.exchange(head, body, kept, reply).await;
    }

    /// `kept` is the way from the caller, where the request offers to switch protocols.
    async fn exchange(
        &self,
        head: &mut RequestHead,
        body: Either<RecvHalf, Empty<Bytes>>,
        kept: Option<RecvHalf>,
        mut reply: SendHalf,
    ) {
        let inform = |head: &Response<()>| {
            if let Ok(head) = EncodedHead::response(&informational(head)) {
                reply.inform(&head);
            }
        };
        let answer = tokio::select! {
            answer = self.answer(head, body, &inform) => answer,
            _ = reply.failed() => return,
        };
        // If the stream fails from here on, its other end knows; nobody is left here to be told.
        match (answer, kept) {
            (Answer::Response(response), _) => {
                let (head, body) = self.encode(response);
                let end = body.is_end_stream();
                if reply.send_head(&head, end).await.is_ok() && !end {
                    let _ = reply.send_body(body).await;
                }
            }
            (Answer::Switched(head, connection), Some(kept)) => {
                let (head, _) = self.encode(head.map(|()| Either::Left(Full::default())));
                if reply.send_head(&head, false).await.is_ok() {
                    Box::pin(switch::join(connection, Duplex::new(reply, kept))).await;
                }
            }
            // Only a request that offers to switch is answered so, and its way is kept.
            (Answer::Switched(..), None) => {}
        }
    }

    /// Answers a request that came to the plain entrance with its condition in the header.
    pub async fn call(
        self: Rc<Self>,
        peer: Rc<Address>,
        mut head: RequestHead,
        body: CallerBody,
    ) -> ForwardAnswer {
        // Who may choose the target may also say for whom.
        let downstream = Downstream { peer: &peer, tls: false, trust: true };
        match headers::prepare_request(&mut head, &downstream) {
            Ok(Some(protocol)) => protocol.restore(&mut head.fields),
            Ok(None) => {}
            Err(error) => {
                let json = error::wants_json(&head.fields);
                return Answer::Response(self.counted(self.refuse(&error, json)));
            }
        }
        let informer = body.informer();
        let inform = |head: &Response<()>| {
            if let Some(informer) = &informer {
                informer.inform(&informational(head));
            }
        };
        match self.answer(&mut head, body, &inform).await {
            Answer::Response(response) => Answer::Response(self.counted(response)),
            Answer::Switched(head, connection) => Answer::Switched(self.counted(head), connection),
        }
    }

    /// The answer, which is counted once it is certain that it can be passed on.
    async fn answer<B>(
        &self,
        head: &mut RequestHead,
        body: B,
        inform: &dyn Fn(&Response<()>),
    ) -> ForwardAnswer
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let json = error::wants_json(&head.fields);
        let answer = async {
            let route = self.route(head)?;
            self.upstreams.send(&route, head, body, inform).await
        };
        match answer.await {
            Ok(Answer::Response(mut response)) => {
                let offered = headers::prepare_response(&mut response.fields, response.version);
                // It must say to what (RFC 9110 §15.5.22).
                if let (Some(protocol), StatusCode::UPGRADE_REQUIRED) = (offered, response.status) {
                    protocol.restore(&mut response.fields);
                }
                Answer::Response(response.map(Either::Right))
            }
            Ok(Answer::Switched(mut head, connection)) => {
                if let Some(protocol) = headers::prepare_response(&mut head.fields, head.version) {
                    protocol.restore(&mut head.fields);
                }
                Answer::Switched(head, connection)
            }
            Err(error) => Answer::Response(self.refuse(&error, json)),
        }
    }

    fn route(&self, head: &mut RequestHead) -> Result<Arc<Route>, ProxyError> {
        let condition = headers::take_condition(&mut head.fields)?;
        self.config.borrow().route(&condition).cloned().ok_or_else(|| {
            ProxyError::DestinationNotFound {
                condition: condition.to_string(),
                place: "the config of tunnel-receive".into(),
            }
        })
    }

    /// The reply to a request that goes no further.
    pub fn refuse(&self, error: &ProxyError, json: bool) -> Response<ReplyBody> {
        tracing::debug!(%error, "answered by the bridge");
        self.metrics.failed(error);
        error.reply(NAME, json).map(Either::Left)
    }

    /// Counts an answer.
    pub fn counted<T>(&self, response: Response<T>) -> Response<T> {
        self.metrics.answered(response.status);
        response
    }

    /// The head as the tunnel carries it; one that is too large becomes an error of the target's.
    fn encode(&self, response: Response<ReplyBody>) -> (EncodedHead, ReplyBody) {
        match EncodedHead::response(&response) {
            Ok(head) => {
                self.metrics.answered(response.status);
                (head, response.body)
            }
            Err(error @ HeadTooLarge) => {
                self.encode(self.refuse(&ProxyError::HttpProtocol(error.to_string()), false))
            }
        }
    }
}

/// An informational response, fit to be passed on.
fn informational(head: &Response<()>) -> Response<()> {
    let mut head = head.clone();
    headers::prepare_response(&mut head.fields, head.version);
    head
}
