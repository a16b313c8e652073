//! One listener per mapping, following the config: new mappings open, removed ones drain, the
//! others never notice.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tunnel_common::config::{Config, Route};
use tunnel_common::drain::Drain;
use tunnel_common::edge;

use crate::forward::{Forward, Mapping, ReplyBody};
use crate::metrics::Metrics;

/// Connections that may wait to be accepted, per listener.
const BACKLOG: u32 = 1024;

/// The open listeners.
pub struct Listeners {
    open: HashMap<u16, Drain>,
    bind: IpAddr,
    forward: Rc<Forward>,
    metrics: Metrics,
    drain: Drain,
    grace: Duration,
    /// Opened and not told in the log yet.
    untold: Vec<(SocketAddr, String)>,
}

/// A mapping's port that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for mapping {mapping}: {reason}")]
pub struct ListenError {
    address: SocketAddr,
    mapping: String,
    reason: io::Error,
}

impl Listeners {
    /// No listeners yet. They will listen on `bind`; connections of a removed mapping may finish
    /// within `grace`.
    pub fn new(
        bind: IpAddr,
        forward: Rc<Forward>,
        metrics: Metrics,
        drain: Drain,
        grace: Duration,
    ) -> Self {
        Self { open: HashMap::new(), bind, forward, metrics, drain, grace, untold: Vec::new() }
    }

    /// Opens and closes listeners until they are what `config` says. A port that cannot be opened
    /// does not keep the others from it; it is tried again at the next call.
    pub fn apply(&mut self, config: &Config) -> Result<(), Vec<ListenError>> {
        self.open.retain(|port, listener| {
            let kept = config.routes().any(|route| route.port == *port);
            if !kept {
                tracing::info!(port, "mapping removed; draining its connections");
                listener.ask();
            }
            kept
        });
        let mut failures = Vec::new();
        for route in config.routes() {
            if !self.open.contains_key(&route.port) {
                failures.extend(self.open(route).err());
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    /// Logs what was opened. Not part of [`Self::apply`], so that a start that fails says why, and
    /// nothing else.
    pub fn log_opened(&mut self) {
        for (address, name) in self.untold.drain(..) {
            tracing::info!(%address, name, "mapping opened");
        }
    }

    fn open(&mut self, route: &Arc<Route>) -> Result<(), ListenError> {
        let address = SocketAddr::new(self.bind, route.port);
        let listener = listen(address).map_err(|reason| ListenError {
            address,
            mapping: route.name.clone(),
            reason,
        })?;
        let drain = self.drain.child();
        let mapping = Rc::new(Mapping {
            condition: route.condition.clone(),
            metrics: self.metrics.mapping(&route.condition),
        });
        self.untold.push((address, route.name.clone()));
        let callers = Callers {
            listener,
            mapping,
            forward: Rc::clone(&self.forward),
            metrics: self.metrics.clone(),
            drain: drain.clone(),
        };
        drain.spawn(callers.serve());
        let (ending, grace) = (drain.clone(), self.grace);
        self.drain.spawn(async move {
            ending.asked().await;
            ending.finish(grace).await;
        });
        self.open.insert(route.port, drain);
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A port whose last connections still linger can be opened again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The callers of one mapping.
struct Callers {
    listener: TcpListener,
    mapping: Rc<Mapping>,
    forward: Rc<Forward>,
    metrics: Metrics,
    drain: Drain,
}

impl Callers {
    async fn serve(self) {
        let name = self.mapping.condition.to_string();
        loop {
            let (stream, peer) = tokio::select! {
                () = self.drain.asked() => return,
                accepted = edge::accept(&self.listener, &name) => accepted,
            };
            let (forward, mapping) = (Rc::clone(&self.forward), Rc::clone(&self.mapping));
            let (drain, open) = (self.drain.clone(), OpenConnection::new(&self.metrics));
            self.drain.spawn(async move {
                let call = |request| Rc::clone(&forward).call(Rc::clone(&mapping), peer, request);
                let refuse = |error: &_| mapping.refuse(error, false).map(ReplyBody::from);
                edge::serve(stream, call, refuse, &drain).await;
                drop(open);
            });
        }
    }
}

/// Counts a connection as open until it is dropped.
struct OpenConnection(Metrics);

impl OpenConnection {
    fn new(metrics: &Metrics) -> Self {
        metrics.connections.inc();
        Self(metrics.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}
