//! Requests of a sibling that has no tunnel of its own for them: passed on through one of this
//! replica's, and through nothing else.

use std::rc::Rc;
use std::sync::Arc;

use tunnel_common::config::Route;
use tunnel_common::error::ProxyError;
use tunnel_common::fields::Name;
use tunnel_common::headers;
use tunnel_common::http1::Answer;
use tunnel_common::message::{RequestHead, Response};
use tunnel_common::switch;
use tunnel_common::tunnel::{Duplex, EncodedHead, Incoming, RecvHalf, ResetCode, SendHalf};

use super::{Reach, Sessions};
use crate::exchange::Outgoing;
use crate::upload::Upload;

impl Sessions {
    /// Answers a sibling's request; ends early when the sibling no longer waits.
    pub(super) async fn relay(self: Rc<Self>, incoming: Incoming) {
        let Incoming { mut head, body, mut reply } = incoming;
        // With another config than the sibling's, this replica would have to guess the cluster.
        let Some(route) = self.route(&mut head) else { return reply.reset(ResetCode::NotBegun) };
        let Ok(encoded) = EncodedHead::request(&head) else {
            return reply.reset(ResetCode::Failed);
        };
        self.metrics.relayed.inc();
        let upgrade = head.fields.contains(Name::Upgrade);
        let (upload, kept) = match upgrade {
            true => (Upload::Empty, Some(body)),
            false => (Upload::streamed(body), None),
        };
        let mut request = Outgoing {
            route,
            head: encoded,
            idempotent: head.method.is_idempotent(),
            upload,
            upgrade,
            expects_continue: false,
            broken: Rc::default(),
        };
        let inform = |head: &Response<()>| {
            if let Ok(head) = EncodedHead::response(head) {
                reply.inform(&head);
            }
        };
        let answer = tokio::select! {
            answer = self.send(&mut request, &inform, Reach::Tunnels) => answer,
            _ = reply.failed() => return,
        };
        // If the stream fails from here on, its other end knows; nobody is left here to be told.
        match answer {
            Ok(Answer::Response(response)) => pass_on(response, reply).await,
            Ok(Answer::Switched(response, duplex)) => {
                let head = EncodedHead::response(&response);
                if let (Ok(head), Some(kept)) = (head, kept)
                    && reply.send_head(&head, false).await.is_ok()
                {
                    switch::join(duplex, Duplex::new(reply, kept)).await;
                }
            }
            Err(ProxyError::DestinationUnavailable { .. }) => reply.reset(ResetCode::NotBegun),
            Err(_) => reply.reset(ResetCode::Failed),
        }
    }

    fn route(&self, head: &mut RequestHead) -> Option<Arc<Route>> {
        let condition = headers::take_condition(&mut head.fields).ok()?;
        headers::stamp(&mut head.fields, &condition);
        self.config.borrow().route(&condition).cloned()
    }
}

async fn pass_on(response: Response<RecvHalf>, mut reply: SendHalf) {
    let Ok(head) = EncodedHead::response(&response) else {
        return reply.reset(ResetCode::Failed);
    };
    let body = response.body;
    let end = http_body::Body::is_end_stream(&body);
    if reply.send_head(&head, end).await.is_ok() && !end {
        // Both ends of the stream know how it went.
        let _ = reply.send_body(body).await;
    }
}
