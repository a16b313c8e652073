//! Keeps tunnels up to every `tunnel-send` behind one URL.
//!
//! Behind a load balancer, one URL leads to any replica. The first that answers names its siblings,
//! and this end dials on until it has met each: a connection too many is closed again, and the next
//! try waits a little longer.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tunnel_common::backoff::{Backoff, BackoffConfig};
use tunnel_common::drain::Drain;
use tunnel_common::retry::Retry;
use tunnel_common::tunnel::{ByteStream, Connector, Peer, Session, TunnelError};

use crate::metrics::Metrics;
use crate::sessions::Sessions;

/// How long to wait at least after a dial that failed while another tunnel is up: it may be all that is
/// to be had, as behind an sshd whose forward carries one.
const BESIDE: Duration = Duration::from_secs(1);

/// A tunnel that `tunnel-send` closes sooner than that was refused: there is something to mend.
const REFUSED_WITHIN: Duration = Duration::from_secs(2);

/// The longest pause after a tunnel that was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// How long to wait after a connection that was one too many. Three replicas behind a balancer that
/// chooses at random take five to six dials on average, which is well under a second.
const SURPLUS: BackoffConfig = BackoffConfig {
    base: Duration::from_millis(20),
    cap: Duration::from_secs(5),
    settled: Duration::MAX,
};

/// Keeps the tunnels through one connector up.
pub struct Dialler<C> {
    connector: C,
    /// How many tunnels each `tunnel-send` gets.
    connections: usize,
    live: Rc<RefCell<Vec<Session>>>,
    /// How the tunnel ended that ended last, until that was taken note of.
    ended: Rc<RefCell<Option<Ended>>>,
    sessions: Rc<Sessions>,
    metrics: Metrics,
    drain: Drain,
}

/// How a tunnel went.
enum Ended {
    /// As tunnels do, after it lived this long.
    Over(Duration),
    /// Before it was up, and why.
    NeverUp(String),
    /// By the other end, as soon as it was up, and why.
    Refused(String),
}

impl Ended {
    fn of(session: &Session, end: &TunnelError, lived: Duration) -> Self {
        match end {
            // One too many, or the end of this process.
            TunnelError::Closed => Self::Over(lived),
            end if session.is_standby() => Self::NeverUp(end.to_string()),
            TunnelError::ClosedByPeer(_) if lived < REFUSED_WITHIN => {
                Self::Refused(end.to_string())
            }
            _ => Self::Over(lived),
        }
    }
}

impl<C: Connector> Dialler<C> {
    /// Will keep `connections` tunnels up to each `tunnel-send` that is found.
    pub fn new(
        connector: C,
        connections: usize,
        sessions: Rc<Sessions>,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        let (live, ended) = (Rc::default(), Rc::default());
        Self { connector, connections, live, ended, sessions, metrics, drain }
    }

    /// Dials until the drain is asked. The tunnels that are up then are left to themselves.
    pub async fn run(self) {
        let mut retry = Retry::new("dialling the other cluster");
        let refused = || Retry::with_longest_pause("a tunnel to the other cluster", REFUSED_PAUSE);
        let (mut surplus, mut refusals) = (Backoff::new(SURPLUS), refused());
        loop {
            tokio::select! {
                () = self.drain.asked() => return,
                () = self.lacking() => {}
            }
            let pause = match self.ended.take() {
                Some(Ended::NeverUp(reason)) => self.failed(&mut retry, &reason),
                Some(Ended::Refused(reason)) => self.failed(&mut refusals, &reason),
                Some(Ended::Over(lived)) => {
                    if lived >= REFUSED_WITHIN {
                        refusals = refused();
                    }
                    retry.ended(lived)
                }
                None => self.dial(&mut retry, &mut surplus).await,
            };
            tokio::select! {
                () = self.drain.asked() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// Resolves while a `tunnel-send` that is known of has too few tunnels, or none is known.
    async fn lacking(&self) {
        loop {
            let changed = self.sessions.changed();
            if self.ended.borrow().is_some() || self.lacks() {
                return;
            }
            changed.await;
        }
    }

    fn lacks(&self) -> bool {
        let hellos: Vec<_> = self.live.borrow().iter().filter_map(Session::hello).collect();
        let instances: BTreeSet<_> = hellos
            .iter()
            .flat_map(|hello| std::iter::once(&hello.instance).chain(&hello.siblings))
            .collect();
        let count =
            |instance: &str| hellos.iter().filter(|hello| hello.instance == instance).count();
        hellos.is_empty() || instances.into_iter().any(|name| count(name) < self.connections)
    }

    /// One try. Returns how long to wait before the next.
    async fn dial(&self, retry: &mut Retry, surplus: &mut Backoff) -> Duration {
        let dialled = tokio::select! {
            () = self.drain.asked() => return Duration::ZERO,
            dialled = self.connector.connect() => dialled,
        };
        let session = match dialled {
            Ok((io, peer)) => self.begin(io, peer),
            Err(error) => {
                let pause = self.failed(retry, &error.to_string());
                return if self.live.borrow().is_empty() { pause } else { pause.max(BESIDE) };
            }
        };
        self.sessions.met(&session).await;
        if session.end().is_some() {
            // How it ended is judged next.
            return Duration::ZERO;
        }
        retry.worked();
        if self.is_surplus(&session) {
            session.close("there are enough tunnels to this instance");
            return surplus.after(Duration::ZERO);
        }
        session.join();
        *surplus = Backoff::new(SURPLUS);
        Duration::ZERO
    }

    /// Notes a try that failed. Returns how long to wait before the next.
    fn failed(&self, retry: &mut Retry, reason: &str) -> Duration {
        self.metrics.dials_failed.inc();
        retry.failed(reason)
    }

    /// Whether the peer, which has said HELLO, has enough tunnels without this one.
    fn is_surplus(&self, session: &Session) -> bool {
        let instance = |session: &Session| session.hello().map(|hello| hello.instance);
        let same = |other: &&Session| instance(other) == instance(session);
        self.live.borrow().iter().filter(same).count() > self.connections
    }

    /// Serves a tunnel, beside the others, until it ends.
    fn begin<Io>(&self, io: Io, peer: Peer) -> Session
    where
        Io: ByteStream + 'static,
    {
        let number = self.sessions.free_number();
        let session = self.sessions.start(io, peer, number, true);
        self.live.borrow_mut().push(session.clone());
        let (live, ended) = (Rc::clone(&self.live), Rc::clone(&self.ended));
        let (sessions, served) = (Rc::clone(&self.sessions), session.clone());
        self.drain.spawn(async move {
            let begun = Instant::now();
            let end = sessions.serve(&served).await;
            let peer = served.peer();
            // What never came up is told with the next try, and what was one too many to nobody.
            if served.is_standby() {
                tracing::debug!(%peer, reason = %end, "a tunnel did not come up");
            } else {
                tracing::info!(%peer, reason = %end, "tunnel ended");
            }
            live.borrow_mut().retain(|session| *session != served);
            ended.replace(Some(Ended::of(&served, &end, begun.elapsed())));
            sessions.release_number(number);
        });
        session
    }
}
