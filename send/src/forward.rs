//! From a caller's request to the tunnel, and back.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Method;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{Either, Full};
use prometheus_client::metrics::gauge::Gauge;
use tunnel_common::config::Route;
use tunnel_common::edge::{CallerBody, CallerTls};
use tunnel_common::error::{self, ProxyError};
use tunnel_common::headers::{self, Address, Downstream, RequestIds};
use tunnel_common::http1::{Answer, Informer, MAX_FIELDS};
use tunnel_common::message::{RequestHead, Response};
use tunnel_common::tunnel::{Duplex, EncodedHead, MAX_HEAD, RecvHalf};

use crate::exchange::{Outgoing, broken_off};
use crate::metrics::{Counted, MappingMetrics};
use crate::sessions::{Reach, Sessions};
use crate::upload::Upload;

/// The name that this end signs its own replies with.
pub const NAME: &str = "tunnel-send";

/// Forwards requests to the sessions.
pub struct Forward {
    sessions: Rc<Sessions>,
    in_flight: Gauge,
    request_ids: RequestIds,
    max_requests: i64,
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

/// Who is at the other end of a connection.
pub struct Caller {
    /// Where it is.
    pub address: Address,
    /// Whether the connection is TLS.
    pub tls: bool,
}

impl Forward {
    /// Counts requests as `in_flight`, and sheds those beyond `max_requests`.
    pub fn new(sessions: Rc<Sessions>, in_flight: Gauge, max_requests: usize) -> Self {
        let max_requests = max_requests.try_into().unwrap_or(i64::MAX);
        Self { sessions, in_flight, request_ids: RequestIds::new(), max_requests }
    }

    /// Answers a request that `caller` has sent to the mapping's port.
    ///
    /// The head is dealt with at once: the future then has no room for it.
    pub fn call(
        self: Rc<Self>,
        mapping: Rc<Mapping>,
        caller: &Caller,
        mut head: RequestHead,
        body: CallerBody,
    ) -> impl Future<Output = Answer<ReplyBody, Duplex>> + 'static {
        let in_flight = Counted::new(&self.in_flight);
        let json = error::wants_json(&head.fields);
        let informer = body.informer();
        let mut request = self.prepare(&mapping, caller, &mut head, body);
        async move {
            let answer = match request {
                Ok(ref mut request) => self.forward(request, informer.as_ref()).await,
                Err(error) => Err(error),
            };
            let response = match answer {
                Ok(Answer::Switched(response, duplex)) => {
                    mapping.metrics.answered(response.status);
                    return Answer::Switched(response, duplex);
                }
                Ok(Answer::Response(response)) => response.map(Either::Right),
                Err(error) => mapping.refuse(&error, json).map(Either::Left),
            };
            mapping.metrics.answered(response.status);
            Answer::Response(response.map(|body| ReplyBody { body, _in_flight: Some(in_flight) }))
        }
    }

    fn prepare(
        &self,
        mapping: &Mapping,
        caller: &Caller,
        head: &mut RequestHead,
        body: CallerBody,
    ) -> Result<Outgoing<CallerBody>, ProxyError> {
        if self.in_flight.get() > self.max_requests {
            return Err(ProxyError::ConnectionLimitReached("requests in flight"));
        }
        let route = Arc::clone(&mapping.route.borrow());
        let downstream = Downstream {
            peer: &caller.address,
            tls: caller.tls,
            trust: route.downstream.trust_forwarded,
        };
        let upgrade = headers::prepare_request(head, &downstream)?;
        self.request_ids.set(&mut head.fields);
        // A body before the switch would have to end before the new protocol begins, and no
        // protocol in use needs that.
        let upgrade = upgrade.filter(|_| body.is_end_stream());
        headers::stamp(&mut head.fields, &route.condition);
        if let Some(protocol) = &upgrade {
            protocol.restore(&mut head.fields);
        }
        let encoded = encode(head)?;
        let expects_continue = body.informer().is_some_and(|caller| caller.expects_continue());
        Ok(Outgoing {
            route,
            head: encoded,
            upload: Upload::streamed(body),
            idempotent: head.method.is_idempotent(),
            upgrade: upgrade.is_some(),
            expects_continue,
            broken: Rc::default(),
        })
    }

    async fn forward(
        &self,
        request: &mut Outgoing<CallerBody>,
        informer: Option<&Informer>,
    ) -> Result<Answer<RecvHalf, Duplex>, ProxyError> {
        // To read a body that is to be asked for would be to ask for it.
        if !request.expects_continue && !request.upload.is_empty() {
            Box::pin(request.upload.keep()).await.map_err(broken_off)?;
        }
        let inform = |head: &Response<()>| {
            if let Some(informer) = informer {
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

fn encode(head: &RequestHead) -> Result<EncodedHead, ProxyError> {
    if head.method == Method::CONNECT {
        return Err(ProxyError::HttpRequest("CONNECT is for proxies; this is a service".into()));
    }
    EncodedHead::request(head)
        .map_err(|_| ProxyError::RequestHeadTooLarge { bytes: MAX_HEAD, fields: MAX_FIELDS })
}

/// The body of a reply: a short text of the bridge's own, or what comes through the tunnel.
pub struct ReplyBody {
    body: Either<Full<Bytes>, RecvHalf>,
    /// The request is in flight until its reply has been sent or dropped.
    _in_flight: Option<Counted>,
}

impl From<Full<Bytes>> for ReplyBody {
    fn from(text: Full<Bytes>) -> Self {
        Self { body: Either::Left(text), _in_flight: None }
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
