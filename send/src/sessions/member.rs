//! One session of the set, and what its peer has said of itself last.

use std::collections::HashSet;

use tunnel_common::config::{Config, Route};
use tunnel_common::keys::{SEND_NAME, normal_name};
use tunnel_common::tunnel::{Hello, Peer, Session};

/// Which sessions a request may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Tunnels first, and if there is none, a sibling that has one.
    All,
    /// Only tunnels: the request has come from a sibling, and goes round in no circle.
    Tunnels,
}

/// How well a session suits a request; less is better.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Rank {
    /// One hop more.
    via_sibling: bool,
    /// The peer does not map the condition. It may all the same be asked: its answer says so.
    unmapped: bool,
    /// The peer's probes of the target fail.
    unwell: bool,
    /// Requests in flight, less what comes off for writing [together](TOGETHER).
    load: isize,
}

/// How many more requests a tunnel may have in flight than another, and still be taken because it
/// has something to write anyway: frames that leave together share a record and a system call.
const TOGETHER: isize = 16;

fn load(session: &Session) -> isize {
    let in_flight = isize::try_from(session.in_flight()).unwrap_or(isize::MAX);
    if session.has_output() { in_flight - TOGETHER } else { in_flight }
}

impl Rank {
    /// Whether `session` cannot suit better, whatever else is found out about it.
    pub(super) fn stands_against(&self, session: &Session) -> bool {
        let flawless = !(self.via_sibling || self.unmapped || self.unwell);
        flawless && self.load <= load(session)
    }
}

/// A session that is up.
pub(super) struct Member {
    pub(super) session: Session,
    hello: Hello,
    conditions: HashSet<String>,
    unwell: HashSet<String>,
}

impl Member {
    pub(super) fn new(session: Session, hello: Hello) -> Self {
        let conditions = hello.conditions.iter().cloned().collect();
        let unwell = hello.unwell.iter().cloned().collect();
        Self { session, hello, conditions, unwell }
    }

    /// Whether the peer is another replica of this end.
    pub(super) fn is_sibling(&self) -> bool {
        is_sibling(self.session.peer())
    }

    pub(super) fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The name of the cluster that the tunnel leads to; empty if its transport proves none.
    pub(super) fn cluster(&self) -> &str {
        self.session.peer().names.first().map_or("", String::as_str)
    }

    /// How well the session suits requests of `route`, if they may take it.
    pub(super) fn rank(&self, route: &Route, reach: Reach) -> Option<Rank> {
        let via_sibling = self.is_sibling();
        let serves = match (&route.cluster, via_sibling) {
            (None, false) => true,
            (Some(cluster), false) => self.session.peer().names.contains(cluster),
            _ if reach == Reach::Tunnels => false,
            (None, true) => !self.hello.clusters.is_empty(),
            (Some(cluster), true) => self.hello.clusters.contains(cluster),
        };
        let condition = route.condition.as_str();
        (serves && self.session.is_open()).then(|| Rank {
            via_sibling,
            unmapped: !self.conditions.contains(condition),
            unwell: self.unwell.contains(condition),
            load: load(&self.session),
        })
    }

    /// What of `config` the peer should map and does not.
    pub(super) fn missing(&self, config: &Config) -> Vec<String> {
        let mut missing: Vec<_> = config
            .routes()
            .filter(|route| {
                let meant =
                    route.cluster.as_ref().is_none_or(|c| self.session.peer().names.contains(c));
                meant && !self.conditions.contains(route.condition.as_str())
            })
            .map(|route| route.condition.to_string())
            .collect();
        missing.sort_unstable();
        missing
    }
}

/// Whether the peer has the keys of `tunnel-send` itself.
pub(super) fn is_sibling(peer: &Peer) -> bool {
    peer.names.iter().any(|name| name == SEND_NAME)
}

/// A cluster is whom its keys say, whatever its HELLO claims.
pub(super) fn admit(peer: &Peer, hello: &Hello) -> Result<(), String> {
    match &hello.cluster {
        Some(cluster) if !peer.names.is_empty() && !peer.names.contains(&normal_name(cluster)) => {
            Err(format!(
                "its keys are for {}, not for cluster {cluster:?}; start it with that name, or make keys for it",
                peer.names.join(", ")
            ))
        }
        _ => Ok(()),
    }
}

/// An instance that dials again has lost its old session, though this end may not know yet.
pub(super) fn displace(members: &mut Vec<Member>, hello: &Hello) {
    members.retain(|member| {
        let same = (&member.hello.instance, member.hello.connection)
            == (&hello.instance, hello.connection);
        if same {
            member.session.close("displaced by a newer tunnel of the same instance");
        }
        !same
    });
}
