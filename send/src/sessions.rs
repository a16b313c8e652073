//! The live sessions: which tunnel a request takes, and what happens when that fails.

use std::cell::RefCell;
use std::collections::HashSet;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::Instant;
use tunnel_common::condition::Condition;
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::tunnel::{
    Duplex, EncodedHead, Hello, Limits, Notice, Peer, RecvHalf, SendHalf, Session, Side,
    StreamError, TunnelError,
};

use crate::metrics::Metrics;

/// How often a request is tried at most, when no try can have begun it.
const MAX_TRIES: usize = 4;

/// The set of sessions that carry requests. Several may be up at a time, also of one cluster.
pub struct Sessions {
    members: RefCell<Vec<Member>>,
    /// Told whenever a member comes, goes or changes.
    changed: Notify,
    limits: Limits,
    hello: RefCell<Hello>,
    connect_wait: Duration,
    metrics: Metrics,
    drain: Drain,
}

struct Member {
    session: Session,
    hello: Hello,
    conditions: HashSet<String>,
}

/// A request on its way into the tunnel: what must be kept to send it again.
pub struct Outgoing<B> {
    /// The mapping that it is for.
    pub condition: Condition,
    /// Its head, stamped.
    pub head: EncodedHead,
    /// Its body.
    pub body: B,
    /// Its method may be repeated (RFC 9110 §9.2.2).
    pub idempotent: bool,
    /// It offers to switch protocols: its stream stays open both ways until the answer is known.
    pub upgrade: bool,
}

/// What came back.
pub enum Answer {
    /// An answer, whose body is still coming.
    Response(Response<RecvHalf>),
    /// 101: the target has switched protocols, and this is the new connection to it.
    Switched(Response<()>, Duplex),
}

impl Sessions {
    /// An empty set. `connect_wait` is how long a request waits for a session before it fails.
    pub fn new(
        limits: Limits,
        hello: Hello,
        connect_wait: Duration,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self {
            members: RefCell::default(),
            changed: Notify::new(),
            limits,
            hello: RefCell::new(hello),
            connect_wait,
            metrics,
            drain,
        }
    }

    /// Carries requests over `io` until that tunnel ends.
    pub fn add<Io>(self: &Rc<Self>, io: Io, peer: Peer)
    where
        Io: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let hello = self.hello.borrow().clone();
        let (session, driver) = Session::start(io, peer, Side::Send, self.limits.clone(), hello);
        self.drain.spawn(async move {
            driver.await;
        });
        self.drain.spawn(Rc::clone(self).follow(session));
    }

    /// How many sessions carry requests.
    pub fn len(&self) -> usize {
        self.members.borrow().len()
    }

    /// Whether no session carries requests.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests that are in a tunnel now.
    pub fn in_flight(&self) -> usize {
        self.members.borrow().iter().map(|member| member.session.in_flight()).sum()
    }

    /// Bytes that have come through the tunnels and were not read yet.
    pub fn buffered(&self) -> usize {
        self.members.borrow().iter().map(|member| member.session.buffered()).sum()
    }

    /// Tells all peers, and those to come, what this end's config is now.
    pub fn announce(&self, digest: &str, conditions: &[String]) {
        let mut hello = self.hello.borrow_mut();
        digest.clone_into(&mut hello.config);
        conditions.clone_into(&mut hello.conditions);
        let notice = Notice {
            config: Some(hello.config.clone()),
            conditions: Some(hello.conditions.clone()),
            ..Notice::default()
        };
        self.members.borrow().iter().for_each(|member| member.session.notify(&notice));
    }

    /// Says goodbye to all peers. For the very end: requests in flight are lost.
    pub fn close(&self) {
        self.members.borrow().iter().for_each(|member| member.session.close("shutting down"));
    }

    /// Sends a request through the session that suits it best, and through another if the first
    /// has provably not begun with it.
    pub async fn send<B>(&self, request: Outgoing<B>) -> Result<Answer, ProxyError>
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Outgoing { condition, head, body, idempotent, upgrade } = request;
        let bodiless = body.is_end_stream();
        let mut body = Some(body);
        let deadline = Instant::now() + self.connect_wait;
        for _ in 0..MAX_TRIES {
            let session = self.pick(&condition, deadline).await?;
            let opened = session.open(&head, bodiless && !upgrade).await;
            // Nothing was sent: the session ended while the request waited for its turn.
            let Ok((send, recv)) = opened else { continue };
            let held = match body.take() {
                Some(body) if !bodiless => self.pump(send, body),
                _ => Some(send),
            };
            match answer(held.filter(|_| upgrade), recv).await {
                Ok(answer) => return Ok(answer),
                Err(error) if bodiless && may_repeat(&error, idempotent) => {
                    self.metrics.replayed.inc();
                }
                Err(error) => return Err(failure(&error)),
            }
        }
        Err(ProxyError::ConnectionTerminated("every tunnel that was tried"))
    }

    /// Sends the body beside the answer, which may begin before the body's end.
    fn pump<B>(&self, send: SendHalf, body: B) -> Option<SendHalf>
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.drain.spawn(async move {
            // The stream tells the reader of the answer what happened.
            let _ = send.send_body(body).await;
        });
        None
    }

    /// The session with the fewest requests in flight, among those that map the condition; where
    /// none does, any: it is `receive` that knows, and its answer names the condition.
    async fn pick(&self, condition: &Condition, deadline: Instant) -> Result<Session, ProxyError> {
        loop {
            let changed = self.changed.notified();
            if let Some(session) = self.best(condition) {
                return Ok(session);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(ProxyError::DestinationUnavailable { waited: self.connect_wait });
            }
        }
    }

    fn best(&self, condition: &Condition) -> Option<Session> {
        self.members
            .borrow()
            .iter()
            .filter(|member| member.session.is_open())
            .min_by_key(|member| {
                let unmapped = !member.conditions.contains(condition.as_str());
                (unmapped, member.session.in_flight())
            })
            .map(|member| member.session.clone())
    }

    /// Keeps the session's place in the set up to date until it ends.
    async fn follow(self: Rc<Self>, session: Session) {
        let mut seen = 0;
        loop {
            seen = session.changed(seen).await;
            if let Some(end) = session.end() {
                let was_up = self.remove(&session);
                let (peer, reason) = (session.peer(), &end);
                match end {
                    // Whoever dialled says so, and once.
                    TunnelError::HungUp | TunnelError::Io(_) if !was_up => {
                        tracing::debug!(%peer, %reason, "a tunnel did not come up");
                    }
                    _ => tracing::info!(%peer, %reason, "tunnel ended"),
                }
                return;
            }
            if let Some(hello) = session.hello() {
                self.update(&session, hello);
            }
        }
    }

    fn update(&self, session: &Session, hello: Hello) {
        let conditions = hello.conditions.iter().cloned().collect();
        let mut members = self.members.borrow_mut();
        match members.iter_mut().find(|member| member.session == *session) {
            Some(member) => (member.hello, member.conditions) = (hello, conditions),
            None => {
                if let Err(reason) = admit(session.peer(), &hello) {
                    tracing::warn!(peer = %session.peer(), %reason, "tunnel refused");
                    session.close(&reason);
                    return;
                }
                displace(&mut members, &hello);
                self.metrics.sessions_begun.inc();
                tracing::info!(
                    peer = %session.peer(), instance = hello.instance, software = hello.software,
                    "tunnel is up"
                );
                members.push(Member { session: session.clone(), hello, conditions });
            }
        }
        self.metrics.sessions.set(members.len() as i64);
        self.changed.notify_waiters();
    }

    /// Returns whether it was there.
    fn remove(&self, session: &Session) -> bool {
        let mut members = self.members.borrow_mut();
        let before = members.len();
        members.retain(|member| member.session != *session);
        self.metrics.sessions.set(members.len() as i64);
        self.changed.notify_waiters();
        members.len() < before
    }
}

/// A cluster is whom its keys say, whatever its HELLO claims.
fn admit(peer: &Peer, hello: &Hello) -> Result<(), String> {
    match &hello.cluster {
        Some(cluster) if !peer.names.is_empty() && !peer.names.contains(cluster) => Err(format!(
            "its keys are for {}, not for cluster {cluster:?}; start it with that name, or make keys for it",
            peer.names.join(", ")
        )),
        _ => Ok(()),
    }
}

/// An instance that dials again has lost its old session, though this end may not know yet.
fn displace(members: &mut Vec<Member>, hello: &Hello) {
    members.retain(|member| {
        let same = (&member.hello.instance, member.hello.connection)
            == (&hello.instance, hello.connection);
        if same {
            member.session.close("displaced by a newer tunnel of the same instance");
        }
        !same
    });
}

/// Waits for the answer. `held` is the open way to the target of a request that may switch
/// protocols.
async fn answer(held: Option<SendHalf>, mut recv: RecvHalf) -> Result<Answer, StreamError> {
    let head = loop {
        let head = recv.response().await?;
        if !head.status().is_informational() || head.status() == StatusCode::SWITCHING_PROTOCOLS {
            break head;
        }
    };
    match (head.status(), held) {
        (StatusCode::SWITCHING_PROTOCOLS, Some(send)) => {
            Ok(Answer::Switched(head, Duplex::new(send, recv)))
        }
        (StatusCode::SWITCHING_PROTOCOLS, None) => Err(StreamError::Malformed),
        (_, held) => {
            held.into_iter().for_each(SendHalf::finish);
            Ok(Answer::Response(head.map(|()| recv)))
        }
    }
}

fn may_repeat(error: &StreamError, idempotent: bool) -> bool {
    error.is_not_begun() || (idempotent && matches!(error, StreamError::TunnelLost { .. }))
}

fn failure(error: &StreamError) -> ProxyError {
    match error {
        StreamError::TunnelLost { .. } => ProxyError::ConnectionTerminated("the tunnel"),
        StreamError::Reset(_) | StreamError::Malformed => {
            ProxyError::ConnectionTerminated("the request's stream in the tunnel")
        }
    }
}
