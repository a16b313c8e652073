//! The sessions of this end: each serves the requests that come through one tunnel.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::ready::Gate;
use tunnel_common::tunnel::{ByteStream, Hello, Limits, Notice, Peer, Session, Side, TunnelError};

use crate::forward::Forward;
use crate::metrics::Metrics;
use crate::workers::Workers;

/// Serves sessions and knows which are up.
pub struct Sessions {
    workers: Rc<Workers>,
    limits: Limits,
    hello: RefCell<Hello>,
    /// All that were begun and have not ended.
    started: RefCell<Vec<Session>>,
    up: RefCell<Vec<Session>>,
    /// The numbers of this process's tunnels.
    numbers: RefCell<BTreeSet<u32>>,
    /// Told when a session comes, goes, or hears of something.
    changed: Notify,
    /// Open while a session is up, where readiness depends on that.
    gate: Option<Gate>,
    metrics: Metrics,
    drain: Drain,
}

impl Sessions {
    /// No sessions yet.
    pub fn new(
        forward: Rc<Forward>,
        limits: Limits,
        hello: Hello,
        gate: Option<Gate>,
        metrics: Metrics,
        drain: Drain,
    ) -> Self {
        Self {
            workers: Workers::new(forward, metrics.cut.clone(), &drain),
            limits,
            hello: RefCell::new(hello),
            started: RefCell::default(),
            up: RefCell::default(),
            numbers: RefCell::default(),
            changed: Notify::new(),
            gate,
            metrics,
            drain,
        }
    }

    /// Begins a session on `io`; it is to be served. `number` is one of this process's tunnels. On
    /// standby, it carries nothing and does not count before it [joins](Session::join).
    pub fn start<Io>(&self, io: Io, peer: Peer, number: u32, standby: bool) -> Session
    where
        Io: ByteStream + 'static,
    {
        let hello = Hello { connection: number, draining: standby, ..self.hello.borrow().clone() };
        let (session, driver) = Session::start(io, peer, Side::Receive, self.limits.clone(), hello);
        self.drain.spawn(async move {
            driver.await;
        });
        self.started.borrow_mut().push(session.clone());
        session
    }

    /// Serves the peer's requests until the tunnel ends, and returns why. When the drain is asked,
    /// the peer is told first, what it has sent is served, and then the tunnel ends.
    pub async fn serve(&self, session: &Session) -> TunnelError {
        let end = self.follow(session).await;
        self.down(session);
        end
    }

    /// A number that no other tunnel of this process has, until it is released. Small, so that a
    /// tunnel which replaces a lost one has the same: the peer then knows which is lost.
    pub fn free_number(&self) -> u32 {
        let mut numbers = self.numbers.borrow_mut();
        let free = (1..).find(|number| !numbers.contains(number)).unwrap_or_default();
        numbers.insert(free);
        free
    }

    /// Gives a number back.
    pub fn release_number(&self, number: u32) {
        self.numbers.borrow_mut().remove(&number);
        self.changed.notify_waiters();
    }

    /// Resolves when a session comes, goes, or hears of something, from the time of the call on.
    pub fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Resolves when the peer has said HELLO, or the session has ended before.
    pub async fn met(&self, session: &Session) {
        loop {
            let changed = self.changed();
            if session.hello().is_some() || session.end().is_some() {
                return;
            }
            changed.await;
        }
    }

    /// Tells all peers, and those to come, which conditions' targets are not well.
    pub fn set_unwell(&self, unwell: Vec<String>) {
        let notice = Notice { unwell: Some(unwell), ..Notice::default() };
        self.hello.borrow_mut().update(notice.clone());
        self.tell(&notice);
    }

    fn tell(&self, notice: &Notice) {
        self.started.borrow().iter().for_each(|session| session.notify(notice));
    }

    /// How many sessions are up.
    pub fn len(&self) -> usize {
        self.up.borrow().len()
    }

    /// Whether no session is up.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Requests that are in a tunnel now.
    pub fn in_flight(&self) -> usize {
        self.up.borrow().iter().map(Session::in_flight).sum()
    }

    /// Bytes that have come through the tunnels and were not read yet.
    pub fn buffered(&self) -> usize {
        self.up.borrow().iter().map(Session::buffered).sum()
    }

    /// Tells all peers, and those to come, what this end's config is now.
    pub fn announce(&self, config: &Config) {
        let notice = self.hello.borrow_mut().set_config(config);
        self.tell(&notice);
    }

    async fn follow(&self, session: &Session) -> TunnelError {
        let (mut seen, mut draining) = (0, false);
        loop {
            tokio::select! {
                request = session.accept() => match request {
                    Ok(request) => self.workers.serve(request),
                    Err(end) => return end,
                },
                now = session.changed(seen) => {
                    seen = now;
                    self.up(session);
                    if session.is_drained() {
                        session.close("drained");
                    }
                }
                () = self.drain.asked(), if !draining => {
                    draining = true;
                    session.drain();
                }
            }
        }
    }

    fn up(&self, session: &Session) {
        self.changed.notify_waiters();
        let Some(hello) = session.hello() else { return };
        if session.is_standby() || session.end().is_some() || self.up.borrow().contains(session) {
            return;
        }
        tracing::info!(
            peer = %session.peer(), instance = hello.instance, software = hello.software,
            "tunnel is up"
        );
        self.metrics.sessions_begun.inc();
        self.up.borrow_mut().push(session.clone());
        self.count();
    }

    fn down(&self, session: &Session) {
        self.started.borrow_mut().retain(|started| started != session);
        self.up.borrow_mut().retain(|up| up != session);
        self.count();
        self.changed.notify_waiters();
    }

    fn count(&self) {
        let count = self.up.borrow().len();
        self.metrics.sessions.set(count as i64);
        match &self.gate {
            Some(gate) if count == 0 => gate.close("no tunnel is up"),
            Some(gate) => gate.open(),
            None => {}
        }
    }
}
