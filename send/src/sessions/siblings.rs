//! The other replicas of this end: found, and kept connected to.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tunnel_common::drain::Drain;
use tunnel_common::retry::Retry;
use tunnel_common::tunnel::{Connector, GrpcConnector, HostPort, Peer};

use super::Sessions;

/// How often the siblings' name is looked up, and how long that may take.
const LOOKUP: Duration = Duration::from_secs(1);

/// Keeps a session up to each sibling.
pub struct Siblings {
    sessions: Rc<Sessions>,
    keys: PathBuf,
    /// Where the siblings are, this process among them.
    addresses: watch::Receiver<BTreeSet<SocketAddr>>,
    /// The addresses that are taken care of.
    kept: RefCell<BTreeSet<SocketAddr>>,
    drain: Drain,
}

impl Siblings {
    /// Will dial all `addresses` with the TLS keys in the folder `keys`.
    pub fn new(
        sessions: Rc<Sessions>,
        keys: PathBuf,
        addresses: watch::Receiver<BTreeSet<SocketAddr>>,
        drain: Drain,
    ) -> Rc<Self> {
        Rc::new(Self { sessions, keys, addresses, kept: RefCell::default(), drain })
    }

    /// Runs until the drain is asked.
    pub async fn run(self: Rc<Self>) {
        let mut addresses = self.addresses.clone();
        let mut number = 0;
        loop {
            let found = addresses.borrow_and_update().clone();
            for address in found {
                if self.kept.borrow_mut().insert(address) {
                    number += 1;
                    self.drain.spawn(Rc::clone(&self).keep(address, number));
                }
            }
            tokio::select! {
                () = self.drain.asked() => return,
                changed = addresses.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Keeps a session to the sibling at `address` up, as long as there is one. A sibling that has two
    /// addresses gets two sessions, which their `number` tells apart.
    async fn keep(self: Rc<Self>, address: SocketAddr, number: u32) {
        let mut retry = Retry::new(format!("dialling the sibling {address}"));
        let mut connector = None;
        while self.addresses.borrow().contains(&address) {
            let dialled = tokio::select! {
                () = self.drain.asked() => return,
                dialled = self.dial(address, &mut connector) => dialled,
            };
            let pause = match dialled {
                Ok((io, peer)) => {
                    retry.worked();
                    let begun = Instant::now();
                    let is_self = self.sessions.serve_sibling(io, peer, number).await;
                    if is_self {
                        // Kept in `kept`, so that it is not dialled again.
                        return;
                    }
                    retry.ended(begun.elapsed())
                }
                Err(reason) => retry.failed(&reason),
            };
            tokio::select! {
                () = self.drain.asked() => return,
                () = sleep(pause) => {}
            }
        }
        self.kept.borrow_mut().remove(&address);
    }

    /// Makes the connector at the first try, and again while the keys cannot be read.
    async fn dial(
        &self,
        address: SocketAddr,
        connector: &mut Option<GrpcConnector>,
    ) -> Result<(<GrpcConnector as Connector>::Io, Peer), String> {
        let connector = match connector {
            Some(connector) => connector,
            None => connector.insert(
                GrpcConnector::to_sibling(address, &self.keys, &self.drain)
                    .map_err(|error| error.to_string())?,
            ),
        };
        connector.connect().await.map_err(|error| error.to_string())
    }
}

/// Looks `place` up again and again, and keeps `addresses` at what it finds.
pub async fn look_up(place: HostPort, addresses: watch::Sender<BTreeSet<SocketAddr>>) {
    let mut retry = Retry::new(format!("looking up the siblings' name {}", place.host));
    while !addresses.is_closed() {
        match timeout(LOOKUP, lookup_host((place.host.as_str(), place.port))).await {
            Ok(Ok(found)) => {
                retry.worked();
                let found: BTreeSet<_> = found.collect();
                addresses.send_if_modified(|known| {
                    let changed = *known != found;
                    *known = found;
                    changed
                });
            }
            // The last answer stays: a resolver that is down says nothing about the siblings.
            Ok(Err(error)) => {
                retry.failed(&error.to_string());
            }
            Err(_) => {
                retry.failed("no answer from the resolver");
            }
        }
        sleep(LOOKUP).await;
    }
}

/// Keeps `addresses` at `port` of all `hosts` that are IP addresses.
pub async fn with_port(
    mut hosts: watch::Receiver<BTreeSet<String>>,
    port: u16,
    addresses: watch::Sender<BTreeSet<SocketAddr>>,
) {
    loop {
        let known = hosts.borrow_and_update().clone();
        let parsed = known.iter().filter_map(|host| host.parse::<IpAddr>().ok());
        addresses.send_replace(parsed.map(|host| SocketAddr::new(host, port)).collect());
        tokio::select! {
            () = addresses.closed() => return,
            changed = hosts.changed() => if changed.is_err() { return },
        }
    }
}
