//! The live sessions: which tunnel a request takes, and what happens when that fails.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tunnel_common::condition::Condition;
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::http1::Answer;
use tunnel_common::tunnel::{Duplex, Hello, Limits, Peer, RecvHalf, Session, Side, TunnelError};

use crate::exchange::{self, Outgoing};
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
    clusters: watch::Sender<BTreeSet<String>>,
}

struct Member {
    session: Session,
    hello: Hello,
    conditions: HashSet<String>,
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
            clusters: watch::Sender::default(),
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

    /// The names of the clusters that a session is up to.
    pub fn clusters(&self) -> watch::Receiver<BTreeSet<String>> {
        self.clusters.subscribe()
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
    pub fn announce(&self, config: &Config) {
        let notice = self.hello.borrow_mut().set_config(config);
        self.members.borrow().iter().for_each(|member| member.session.notify(&notice));
    }

    /// Says goodbye to all peers. For the very end: requests in flight are lost.
    pub fn close(&self) {
        self.members.borrow().iter().for_each(|member| member.session.close("shutting down"));
    }

    /// Sends a request through the session that suits it best, and through another if the first
    /// has provably not begun with it.
    pub async fn send<B>(
        &self,
        mut request: Outgoing<B>,
    ) -> Result<Answer<RecvHalf, Duplex>, ProxyError>
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let deadline = Instant::now() + self.connect_wait;
        for _ in 0..MAX_TRIES {
            let session = self.pick(&request.condition, deadline).await?;
            let opened = session.open(&request.head, request.bodiless && !request.upgrade).await;
            // Nothing was sent: the session ended while the request waited for its turn.
            let Ok((send, recv)) = opened else { continue };
            match request.exchange(send, recv, &self.drain).await {
                Ok(answer) => return Ok(answer),
                Err(error) if request.may_repeat(&error) => {
                    self.metrics.replayed.inc();
                }
                Err(error) => return Err(exchange::failure(&error)),
            }
        }
        Err(ProxyError::ConnectionTerminated("every tunnel that was tried"))
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
        self.clusters.send_replace(members.iter().filter_map(Member::cluster).collect());
        self.changed.notify_waiters();
    }

    /// Returns whether it was there.
    fn remove(&self, session: &Session) -> bool {
        let mut members = self.members.borrow_mut();
        let before = members.len();
        members.retain(|member| member.session != *session);
        self.metrics.sessions.set(members.len() as i64);
        self.clusters.send_replace(members.iter().filter_map(Member::cluster).collect());
        self.changed.notify_waiters();
        members.len() < before
    }
}

impl Member {
    /// The name that it goes by; without one in its HELLO, that of its keys.
    fn cluster(&self) -> Option<String> {
        let names = &self.session.peer().names;
        self.hello.cluster.clone().or_else(|| names.first().cloned())
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
