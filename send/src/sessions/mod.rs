//! The live sessions: which tunnel a request takes, and what happens when that fails.

mod drift;
mod member;
mod membership;
mod refusals;
mod relay;
mod siblings;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tunnel_common::config::{Config, Route};
use tunnel_common::drain::Drain;
use tunnel_common::error::ProxyError;
use tunnel_common::http1::Answer;
use tunnel_common::message::Response;
use tunnel_common::tunnel::{
    ByteStream, Duplex, Hello, Limits, Notice, Peer, RecvHalf, Session, Side,
};

pub use self::member::Reach;
use self::member::{Member, Rank, is_sibling};
use self::refusals::Refusals;
pub use self::siblings::{Siblings, look_up, with_port};
use crate::exchange::Outgoing;
use crate::metrics::Metrics;

/// How often a request is tried at most, when no try can have begun it.
const MAX_TRIES: usize = 4;

/// The set of sessions that carry requests. Several may be up at a time, also of one cluster.
pub struct Sessions {
    members: RefCell<Vec<Member>>,
    /// Told whenever a member comes, goes or changes.
    changed: Notify,
    /// Counts these changes.
    changes: Cell<u64>,
    limits: Limits,
    hello: RefCell<Hello>,
    connect_wait: Duration,
    config: RefCell<Arc<Config>>,
    metrics: Metrics,
    /// The tunnels.
    drain: Drain,
    /// The requests of siblings, which end when those of callers do.
    relays: Drain,
    /// For what is kept elsewhere: the names of the clusters that a tunnel leads to.
    clusters: watch::Sender<BTreeSet<String>>,
}

impl Sessions {
    /// An empty set. `connect_wait` is how long a request waits for a session before it fails. The
    /// tunnels run in `drain`, the requests of siblings in `relays`.
    pub fn new(
        limits: Limits,
        hello: Hello,
        connect_wait: Duration,
        metrics: Metrics,
        drain: Drain,
        relays: Drain,
    ) -> Self {
        Self {
            members: RefCell::default(),
            changed: Notify::new(),
            changes: Cell::default(),
            limits,
            hello: RefCell::new(hello),
            connect_wait,
            config: RefCell::default(),
            metrics,
            drain,
            relays,
            clusters: watch::Sender::default(),
        }
    }

    /// Carries requests over `io` until that tunnel ends; where a sibling has dialled, its requests.
    pub fn add<Io>(self: &Rc<Self>, io: Io, peer: Peer)
    where
        Io: ByteStream + 'static,
    {
        let hello = self.hello.borrow().clone();
        let session = self.start(io, peer, Side::Send, hello);
        self.drain.spawn(Rc::clone(self).follow(session, Side::Send));
    }

    /// The same with a sibling that this end has dialled, until that ends. `number` is not 0, and no
    /// other session's that is dialled. Returns whether it was this process itself.
    pub(crate) async fn serve_sibling<Io>(self: &Rc<Self>, io: Io, peer: Peer, number: u32) -> bool
    where
        Io: ByteStream + 'static,
    {
        let hello = Hello { connection: number, ..self.hello.borrow().clone() };
        let session = self.start(io, peer, Side::Receive, hello);
        Rc::clone(self).follow(session.clone(), Side::Receive).await;
        let instance = session.hello().map(|hello| hello.instance);
        instance.as_ref() == Some(&self.hello.borrow().instance)
    }

    fn start<Io>(&self, io: Io, peer: Peer, side: Side, hello: Hello) -> Session
    where
        Io: ByteStream + 'static,
    {
        let (session, driver) = Session::start(io, peer, side, self.limits.clone(), hello);
        self.drain.spawn(async move {
            driver.await;
        });
        session
    }

    /// How many tunnels carry requests; siblings do not count.
    pub fn len(&self) -> usize {
        self.members.borrow().iter().filter(|member| !member.is_sibling()).count()
    }

    /// Whether no tunnel carries requests.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the clusters that a tunnel leads to.
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
    pub fn announce(&self, config: &Arc<Config>) {
        self.config.replace(Arc::clone(config));
        let notice = self.hello.borrow_mut().set_config(config);
        self.tell(&notice);
        self.has_changed();
    }

    fn has_changed(&self) {
        self.changes.update(|changes| changes + 1);
        self.changed.notify_waiters();
    }

    /// Asks siblings for no more requests. Tunnels still serve this end's own.
    pub fn drain_siblings(&self) {
        let members = self.members.borrow();
        members.iter().filter(|member| member.is_sibling()).for_each(|m| m.session.drain());
    }

    fn tell(&self, notice: &Notice) {
        self.members.borrow().iter().for_each(|member| member.session.notify(notice));
    }

    /// Says goodbye to all peers. For the very end: requests in flight are lost.
    pub fn close(&self) {
        self.members.borrow().iter().for_each(|member| member.session.close("shutting down"));
    }

    /// Sends a request through the session that suits it best, and through another if the first
    /// has provably not begun with it. Informational responses (1xx) are given to `inform`.
    pub async fn send<B>(
        &self,
        request: &mut Outgoing<B>,
        inform: &dyn Fn(&Response<()>),
        reach: Reach,
    ) -> Result<Answer<RecvHalf, Duplex>, ProxyError>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let wait = if reach == Reach::All { self.connect_wait } else { Duration::ZERO };
        // Of all tries, from the first that finds no session, or is refused.
        let mut deadline = None;
        let mut deadline = || *deadline.get_or_insert_with(|| Instant::now() + wait);
        let mut refusals = Refusals::default();
        let (mut tries, mut was_sent) = (0, false);
        while tries < MAX_TRIES {
            let session = match self.best(&request.route, reach, &refusals) {
                Some(session) => session,
                None => Box::pin(self.wait(&request.route, reach, &refusals, deadline())).await?,
            };
            let changes = self.changes.get();
            let end = request.upload.is_empty() && !request.upgrade;
            // Nothing was sent: the session ended while the request waited for its turn.
            let Ok((send, recv)) = session.open(&request.head, end).await else {
                tries += 1;
                continue;
            };
            if std::mem::replace(&mut was_sent, true) {
                self.metrics.replayed.inc();
            }
            match request.exchange(send, recv, inform, &self.drain).await {
                Ok(answer) => return Ok(answer),
                Err(error) if !request.may_repeat(&error) => return Err(request.failure(&error)),
                Err(error) if error.is_not_begun() && is_sibling(session.peer()) => {
                    if Instant::now() >= deadline() {
                        return Err(self.unavailable(&request.route));
                    }
                    refusals.add(session, changes);
                }
                Err(_) => tries += 1,
            }
        }
        Err(ProxyError::ConnectionTerminated("every tunnel that was tried"))
    }

    /// Waits for a session that suits the route.
    async fn wait(
        &self,
        route: &Route,
        reach: Reach,
        refusals: &Refusals,
        deadline: Instant,
    ) -> Result<Session, ProxyError> {
        loop {
            let changed = self.changed.notified();
            if let Some(session) = self.best(route, reach, refusals) {
                return Ok(session);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return Err(self.unavailable(route));
            }
        }
    }

    fn unavailable(&self, route: &Route) -> ProxyError {
        let cluster = route.cluster.clone();
        ProxyError::DestinationUnavailable { cluster, waited: self.connect_wait }
    }

    /// The session that suits the route best, but for what has refused it since the last change.
    fn best(&self, route: &Route, reach: Reach, refusals: &Refusals) -> Option<Session> {
        let members = self.members.borrow();
        let mut best: Option<(Rank, &Session)> = None;
        for member in members.iter() {
            // Looking closely at each of hundreds of tunnels would cost more than the request.
            if best.is_some_and(|(least, _)| least.stands_against(&member.session)) {
                continue;
            }
            let Some(rank) = member.rank(route, reach) else { continue };
            if refusals.has(&member.session, self.changes.get()) {
                continue;
            }
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, &member.session));
            }
        }
        best.map(|(_, session)| session.clone())
    }
}
