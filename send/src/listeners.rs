//! One listener per mapping, following the config: new mappings open, removed ones drain, the
//! others never notice.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tunnel_common::condition::Condition;
use tunnel_common::config::{Config, Downstream, Route};
use tunnel_common::drain::Drain;
use tunnel_common::edge::{self, CallerTls, Limits};
use tunnel_common::keys::KeysError;
use tunnel_common::open_files::{Reserve, is_exhausted};

use crate::callers::Callers;
use crate::forward::{Forward, Mapping};
use crate::metrics::Metrics;

/// The open listeners.
pub struct Listeners {
    open: HashMap<u16, OpenMapping>,
    bind: IpAddr,
    forward: Rc<Forward>,
    metrics: Metrics,
    limits: Limits,
    drain: Drain,
    grace: Duration,
    /// Opened and not told in the log yet.
    untold: Vec<(SocketAddr, String)>,
}

struct OpenMapping {
    mapping: Rc<Mapping>,
    drain: Drain,
}

/// A mapping's port that could not be opened, or not as the config says.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The certificate for its callers cannot be used.
    #[error("mapping {mapping}: {}", with_source(.reason))]
    Keys {
        /// The mapping's name.
        mapping: String,
        /// What is wrong with it.
        reason: KeysError,
    },
    /// The operating system refuses the address.
    #[error("cannot listen on {address} for mapping {mapping}: {reason}{}", advice(.reason))]
    Port {
        /// The address.
        address: SocketAddr,
        /// The mapping's name.
        mapping: String,
        /// What the operating system said.
        reason: io::Error,
    },
}

/// An error of the operating system, once more.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn with_source(error: &KeysError) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; end what holds the port, or change the mapping",
        io::ErrorKind::PermissionDenied => "; choose a port from 1024 on, or grant the right",
        _ if is_exhausted(error) => "; raise the limit of open files, or map fewer",
        _ => "",
    }
}

impl Listeners {
    /// No listeners yet. They will listen on `bind`; connections of a removed mapping may finish
    /// within `grace`.
    pub fn new(
        bind: IpAddr,
        forward: Rc<Forward>,
        metrics: Metrics,
        limits: Limits,
        drain: Drain,
        grace: Duration,
    ) -> Self {
        let (open, untold) = (HashMap::new(), Vec::new());
        Self { open, bind, forward, metrics, limits, drain, grace, untold }
    }

    /// Opens, changes and closes listeners until they are what `config` says. What fails for one
    /// mapping does not keep the others from it; it is tried again at the next call. Some files are
    /// left to others: a mapping that would take the last ones is not opened.
    pub fn apply(&mut self, config: &Config) -> Result<(), Vec<ListenError>> {
        self.open.retain(|port, listener| {
            let kept = config.route(&Condition::from(*port)).is_some();
            if !kept {
                tracing::info!(port, "mapping removed; draining its connections");
                listener.drain.ask();
            }
            kept
        });
        let (known, new): (Vec<_>, Vec<_>) =
            config.routes().partition(|route| self.open.contains_key(&route.port));
        let mut failures: Vec<_> = known
            .iter()
            .filter_map(|route| self.open.get(&route.port)?.update(route).err())
            .collect();
        let reserve = if new.is_empty() { None } else { Some(Reserve::new()) };
        failures.extend(new.iter().filter_map(|route| match &reserve {
            Some(Err(error)) => Some(self.not_open(route, copy(error))),
            _ => self.open(route).err(),
        }));
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    /// Logs what was opened. Not part of [`Self::apply`], so that a start that fails says why, and
    /// nothing else.
    pub fn log_opened(&mut self) {
        for (address, name) in self.untold.drain(..) {
            tracing::info!(%address, name, "mapping opened");
        }
    }

    fn not_open(&self, route: &Route, reason: io::Error) -> ListenError {
        let address = SocketAddr::new(self.bind, route.port);
        ListenError::Port { address, mapping: route.name.clone(), reason }
    }

    fn open(&mut self, route: &Arc<Route>) -> Result<(), ListenError> {
        let tls = caller_tls(route)?;
        let address = SocketAddr::new(self.bind, route.port);
        let max_connections = self.limits.max_connections;
        let listener = edge::Listener::bind(address, max_connections)
            .map_err(|reason| self.not_open(route, reason))?;
        let drain = self.drain.child();
        let mapping = Rc::new(Mapping {
            route: RefCell::new(Arc::clone(route)),
            tls: RefCell::new(tls),
            metrics: self.metrics.mapping(&route.condition),
        });
        self.untold.push((address, route.name.clone()));
        let callers = Callers::new(
            Rc::clone(&mapping),
            Rc::clone(&self.forward),
            self.metrics.clone(),
            self.limits,
            drain.clone(),
        );
        drain.spawn(Rc::new(callers).serve(listener));
        let (ending, grace) = (drain.clone(), self.grace);
        let (port, all) = (route.port, self.drain.clone());
        self.drain.spawn(async move {
            ending.asked().await;
            let cut = ending.finish(grace).await;
            // At the end of the process, all are told of together.
            if cut > 0 && !all.is_asked() {
                tracing::warn!(port, "not all callers of the removed mapping were served in time");
            }
        });
        self.open.insert(route.port, OpenMapping { mapping, drain });
        Ok(())
    }
}

impl OpenMapping {
    /// Takes up what has changed about the mapping; its connections go on.
    fn update(&self, route: &Arc<Route>) -> Result<(), ListenError> {
        let Downstream { tls, .. } = self.mapping.route.borrow().downstream.clone();
        if tls != route.downstream.tls {
            self.mapping.tls.replace(caller_tls(route)?);
        }
        self.mapping.route.replace(Arc::clone(route));
        Ok(())
    }
}

fn caller_tls(route: &Route) -> Result<Option<Rc<CallerTls>>, ListenError> {
    let Some(folder) = &route.downstream.tls else { return Ok(None) };
    match CallerTls::new(folder) {
        Ok(tls) => Ok(Some(Rc::new(tls))),
        Err(reason) => Err(ListenError::Keys { mapping: route.name.clone(), reason }),
    }
}
