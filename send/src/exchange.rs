//! One request on one session: its body goes out beside the answer, which may come before it ends.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::Body;
use tokio::time::timeout;
use tunnel_common::config::Route;
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::http1::Answer;
use tunnel_common::message::Response;
use tunnel_common::tunnel::{
    Duplex, EncodedHead, RecvHalf, ResetCode, SendBodyError, SendHalf, StreamError,
};

use crate::upload::Upload;

/// How long a body that its target has not asked for is held back (RFC 9110 §10.1.1 leaves the time
/// to the client; this is curl's).
const CONTINUE_WAIT: Duration = Duration::from_secs(1);

/// A request on its way into the tunnel: what must be kept to send it again.
pub struct Outgoing<B> {
    /// The mapping that it is for.
    pub route: Arc<Route>,
    /// Its head, stamped.
    pub head: EncodedHead,
    /// Its body.
    pub upload: Upload<B>,
    /// Its method may be repeated (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// It offers to switch protocols: its stream stays open both ways until the answer is known.
    pub upgrade: bool,
    /// Its caller waits to be asked for the body, with a 100.
    pub expects_continue: bool,
    /// Why its body broke off on the way.
    pub broken: Rc<RefCell<Option<String>>>,
}

impl<B> Outgoing<B>
where
    B: Body<Data = Bytes> + Unpin + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Sends the body and waits for the answer, on a stream that was opened with the head.
    pub(crate) async fn exchange(
        &mut self,
        send: SendHalf,
        mut recv: RecvHalf,
        inform: &dyn Fn(&Response<()>),
        drain: &Drain,
    ) -> Result<Answer<RecvHalf, Duplex>, StreamError> {
        let mut way = Some(send);
        if !self.expects_continue {
            self.begin_body(&mut way, drain);
        }
        let head = loop {
            let holds_back = !self.upload.is_empty() && way.is_some();
            let head = match holds_back {
                true => Box::pin(timeout(CONTINUE_WAIT, recv.response())).await,
                false => Ok(recv.response().await),
            };
            let Ok(head) = head else {
                self.begin_body(&mut way, drain);
                continue;
            };
            let head = head?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                break head;
            }
            inform(&head);
            if head.status == StatusCode::CONTINUE {
                self.begin_body(&mut way, drain);
            }
        };
        // A caller that was not asked for its body may send it all the same.
        self.begin_body(&mut way, drain);
        answer(head, way.filter(|_| self.upgrade), recv)
    }

    /// Whether the request may be sent again after `error`: the peer has provably not begun with it,
    /// or its method allows it; and nothing of its body is gone.
    pub(crate) fn may_repeat(&self, error: &StreamError) -> bool {
        // Behind a sibling it may be another leg that lost its tunnel; this is how it says so.
        let lost =
            matches!(error, StreamError::TunnelLost { .. } | StreamError::Reset(ResetCode::Failed));
        self.upload.is_untouched() && (error.is_not_begun() || (self.idempotent && lost))
    }

    /// What the caller is told of a stream that failed before its answer.
    pub(crate) fn failure(&self, error: &StreamError) -> ProxyError {
        if let Some(reason) = &*self.broken.borrow() {
            return broken_off(reason);
        }
        ProxyError::ConnectionTerminated(match error {
            StreamError::TunnelLost { .. } => "the tunnel",
            StreamError::Reset(_) | StreamError::Malformed => "the request's stream in the tunnel",
        })
    }

    fn begin_body(&mut self, way: &mut Option<SendHalf>, drain: &Drain) {
        if self.upload.is_empty() {
            return;
        }
        if let (Some(send), Some(body)) = (way.take(), self.upload.take()) {
            let broken = Rc::clone(&self.broken);
            drain.spawn(async move {
                // Of its own failure, the stream tells the reader of the answer.
                if let Err(SendBodyError::Body(error)) = send.send_body(body).await {
                    broken.replace(Some(error.to_string()));
                }
            });
        }
    }
}

/// `way` is still open where the request offers to switch protocols.
fn answer(
    head: Response<()>,
    way: Option<SendHalf>,
    recv: RecvHalf,
) -> Result<Answer<RecvHalf, Duplex>, StreamError> {
    match (head.status, way) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(send)) => {
            Ok(Answer::Switched(head, Duplex::new(send, recv)))
        }
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(StreamError::Malformed),
        (_, way) => {
            way.into_iter().for_each(SendHalf::finish);
            Ok(Answer::Response(head.map(|()| recv)))
        }
    }
}

/// What the caller is told whose body broke off.
pub(crate) fn broken_off(error: impl fmt::Display) -> ProxyError {
    ProxyError::HttpRequest(format!("the request's body broke off: {error}").into())
}
