//! The sessions of this end: each serves the requests that come through one tunnel.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::ready::Gate;
use tunnel_common::tunnel::{Hello, Limits, Peer, Session, Side, TunnelError};

use crate::forward::Forward;
use crate::metrics::Metrics;

/// Serves sessions and knows which are up.
pub struct Sessions {
    forward: Rc<Forward>,
    limits: Limits,
    hello: RefCell<Hello>,
    up: RefCell<Vec<Session>>,
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
            forward,
            limits,
            hello: RefCell::new(hello),
            up: RefCell::default(),
            gate,
            metrics,
            drain,
        }
    }

    /// Serves the peer's requests on `io` until the tunnel ends, and returns why. When the drain
    /// is asked, the peer is told first, what it has sent is served, and then the tunnel ends.
    ///
    /// `connection` numbers this process's tunnels to the peer.
    pub async fn serve<Io>(&self, io: Io, peer: Peer, connection: u32) -> TunnelError
    where
        Io: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let hello = Hello { connection, ..self.hello.borrow().clone() };
        let (session, driver) = Session::start(io, peer, Side::Receive, self.limits.clone(), hello);
        self.drain.spawn(async move {
            driver.await;
        });
        let end = self.follow(&session).await;
        self.down(&session);
        end
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
        self.up.borrow().iter().for_each(|session| session.notify(&notice));
    }

    async fn follow(&self, session: &Session) -> TunnelError {
        let (mut seen, mut draining) = (0, false);
        loop {
            tokio::select! {
                incoming = session.accept() => match incoming {
                    Ok(incoming) => self.drain.spawn(Rc::clone(&self.forward).serve(incoming)),
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
        let Some(hello) = session.hello() else { return };
        if session.end().is_some() || self.up.borrow().contains(session) {
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
        self.up.borrow_mut().retain(|up| up != session);
        self.count();
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
