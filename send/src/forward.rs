//! From a caller's request to the tunnel, and back.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use tunnel_common::config::Route;
use tunnel_common::edge::{CallerBody, CallerTls};
use tunnel_common::error::{self, ProxyError};
use tunnel_common::headers::{self, Address, Downstream, RequestIds};
use tunnel_common::http1::{Answer, Informer};
use tunnel_common::tunnel::{Duplex, EncodedHead, MAX_HEAD, RecvHalf};

use crate::exchange::Outgoing;
use crate::metrics::{MappingMetrics, Metrics};
use crate::sessions::{Reach, Sessions};
use crate::upload::Upload;

/// The name that this end signs its own replies with.
pub const NAME: &str = "tunnel-send";

/// Forwards requests to the sessions.
pub struct Forward {
    sessions: Rc<Sessions>,
    metrics: Metrics,
    request_ids: RequestIds,
    max_requests: usize,
    in_flight: Rc<Cell<usize>>,
}

/// What a listener knows of the mapping that it stands for.
pub struct Mapping {
    /// The mapping as the newest config has it.
    pub route: RefCell<Arc<Route>>,
    /// Its callers speak TLS.
    pub tls: RefCell<Option<Rc<CallerTls>>>,
    /// Its counters.
    pub metrics: MappingMetrics,
}

impl Forward {
    /// Beyond `max_requests` in flight, requests are shed.
    pub fn new(sessions: Rc<Sessions>, metrics: Metrics, max_requests: usize) -> Self {
        let request_ids = RequestIds::new();
        Self { sessions, metrics, request_ids, max_requests, in_flight: Rc::default() }
    }

    /// Answers a request that `peer` has sent to the mapping's port.
    pub async fn call(
        self: Rc<Self>,
        mapping: Rc<Mapping>,
        peer: Rc<Address>,
        mut parts: Parts,
        body: CallerBody,
    ) -> Answer<ReplyBody, Duplex> {
        let permit = Permit::new(&self);
        let json = error::wants_json(&parts.headers);
        let answer = self.forward(&mapping, &peer, &mut parts, body).await;
        let response = match answer {
            Ok(Answer::Switched(response, duplex)) => {
                mapping.metrics.answered(response.status());
                return Answer::Switched(response, duplex);
            }
            Ok(Answer::Response(response)) => response.map(Either::Right),
            Err(error) => mapping.refuse(&error, json).map(Either::Left),
        };
        mapping.metrics.answered(response.status());
        Answer::Response(response.map(|body| ReplyBody { body, _permit: Some(permit) }))
    }

    async fn forward(
        &self,
        mapping: &Mapping,
        peer: &Address,
        parts: &mut Parts,
        body: CallerBody,
    ) -> Result<Answer<RecvHalf, Duplex>, ProxyError> {
        if self.in_flight.get() > self.max_requests {
            return Err(ProxyError::ConnectionLimitReached);
        }
        let route = Arc::clone(&mapping.route.borrow());
        let downstream = Downstream {
            peer,
            tls: route.downstream.tls.is_some(),
            trust: route.downstream.trust_forwarded,
        };
        let upgrade = headers::prepare_request(parts, &downstream)?;
        self.request_ids.set(&mut parts.headers);
        // A body before the switch would have to end before the new protocol begins, and no
        // protocol in use needs that.
        let upgrade = upgrade.filter(|_| body.is_end_stream());
        headers::stamp(&mut parts.headers, &route.condition);
        if let Some(protocol) = &upgrade {
            protocol.restore(&mut parts.headers);
        }
        let head = encode(parts)?;
        headers::recycle(&mut parts.headers);
        let informer = body.informer();
        let expects_continue = informer.as_ref().is_some_and(Informer::expects_continue);
        let upload = match expects_continue {
            // To read it would be to ask for it.
            true => Upload::streamed(body),
            false => Upload::kept(body).await.map_err(|error| {
                ProxyError::HttpRequest(format!("the request's body broke off: {error}").into())
            })?,
        };
        let request = Outgoing {
            route,
            head,
            upload,
            idempotent: parts.method.is_idempotent(),
            upgrade: upgrade.is_some(),
            expects_continue,
        };
        let inform = |head: &Response<()>| {
            if let Some(informer) = &informer {
                informer.inform(head);
            }
        };
        self.sessions.send(request, &inform, Reach::All).await
    }
}

impl Mapping {
    /// The reply to a request that goes no further.
    pub fn refuse(&self, error: &ProxyError, json: bool) -> Response<Full<Bytes>> {
        tracing::debug!(mapping = self.route.borrow().name, %error, "answered by the bridge");
        self.metrics.failed(error);
        error.reply(NAME, json)
    }
}

fn encode(parts: &Parts) -> Result<EncodedHead, ProxyError> {
    if parts.method == Method::CONNECT {
        return Err(ProxyError::HttpRequest("CONNECT is for proxies; this is a service".into()));
    }
    EncodedHead::passed_on(parts).map_err(|_| ProxyError::RequestHeadTooLarge { limit: MAX_HEAD })
}

/// The body of a reply: a short text of the bridge's own, or what comes through the tunnel.
pub struct ReplyBody {
    body: Either<Full<Bytes>, RecvHalf>,
    _permit: Option<Permit>,
}

impl From<Full<Bytes>> for ReplyBody {
    fn from(text: Full<Bytes>) -> Self {
        Self { body: Either::Left(text), _permit: None }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts a request as in flight until its reply has been sent or dropped.
struct Permit {
    in_flight: Rc<Cell<usize>>,
    metrics: Metrics,
}

impl Permit {
    fn new(forward: &Forward) -> Self {
        forward.in_flight.update(|count| count + 1);
        forward.metrics.in_flight.inc();
        Self { in_flight: Rc::clone(&forward.in_flight), metrics: forward.metrics.clone() }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.in_flight.update(|count| count - 1);
        self.metrics.in_flight.dec();
    }
}
