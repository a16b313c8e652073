//! Whether targets are well: probed where the config says how, and told to the peers, which then
//! prefer a tunnel to another cluster's.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http_body_util::Empty;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tunnel_common::condition::Condition;
use tunnel_common::config::{Config, Health, Route};
use tunnel_common::dial::dial;
use tunnel_common::drain::Drain;
use tunnel_common::fields::Name;
use tunnel_common::http1::Answer;
use tunnel_common::message::RequestHead;
use tunnel_common::tunnel::HostPort;

use crate::sessions::Sessions;
use crate::upstream::Upstreams;

/// How often each target is probed, unless the probe before has not ended.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a probe may take.
const LIMIT: Duration = Duration::from_secs(2);

/// Probes that run at a time.
const AT_ONCE: usize = 32;

/// Failures in a row that make a target unwell; one success makes it well again.
const FAILURES: u32 = 2;

/// Probes the targets.
pub struct Probes {
    config: watch::Receiver<Arc<Config>>,
    upstreams: Rc<Upstreams>,
    sessions: Rc<Sessions>,
    unwell: Gauge,
    drain: Drain,
    places: Semaphore,
    /// What is being probed, or waits for a place.
    probing: RefCell<BTreeSet<Condition>>,
    /// Failures in a row.
    failures: RefCell<BTreeMap<Condition, u32>>,
}

impl Probes {
    /// Will tell `sessions`, and count in `unwell`.
    pub fn new(
        config: watch::Receiver<Arc<Config>>,
        upstreams: Rc<Upstreams>,
        sessions: Rc<Sessions>,
        unwell: Gauge,
        drain: Drain,
    ) -> Rc<Self> {
        let places = Semaphore::new(AT_ONCE);
        let (probing, failures) = (RefCell::default(), RefCell::default());
        Rc::new(Self { config, upstreams, sessions, unwell, drain, places, probing, failures })
    }

    /// Runs until the drain is asked.
    pub async fn run(self: Rc<Self>) {
        loop {
            let config = Arc::clone(&self.config.borrow());
            self.forget_unmapped(&config);
            for route in config.routes() {
                if let Some(health) = route.health.clone()
                    && self.probing.borrow_mut().insert(route.condition.clone())
                {
                    self.drain.spawn_until_asked(Rc::clone(&self).probe(Arc::clone(route), health));
                }
            }
            tokio::select! {
                () = self.drain.asked() => return,
                () = sleep(INTERVAL) => {}
            }
        }
    }

    fn forget_unmapped(&self, config: &Config) {
        let probed = |condition: &Condition| {
            config.route(condition).is_some_and(|route| route.health.is_some())
        };
        let before = self.unwell();
        self.failures.borrow_mut().retain(|condition, _| probed(condition));
        self.tell(&before);
    }

    async fn probe(self: Rc<Self>, route: Arc<Route>, health: Health) {
        let Ok(_place) = self.places.acquire().await else { return };
        let found = match &health {
            Health::Tcp => self.connects(&route).await,
            Health::Path(path) => self.answers(&route, path.as_str()).await,
        };
        let before = self.unwell();
        let mut failures = self.failures.borrow_mut();
        let count = failures.entry(route.condition.clone()).or_default();
        match found {
            Ok(()) => {
                if std::mem::take(count) >= FAILURES {
                    tracing::info!(mapping = route.name, "the target is well again");
                }
            }
            Err(reason) => {
                *count = count.saturating_add(1);
                if *count == FAILURES {
                    tracing::warn!(mapping = route.name, reason, "the target is not well");
                }
            }
        }
        drop(failures);
        self.probing.borrow_mut().remove(&route.condition);
        self.tell(&before);
    }

    async fn connects(&self, route: &Route) -> Result<(), String> {
        let place = HostPort { host: route.target.host().to_owned(), port: route.target.port() };
        match timeout(LIMIT, dial(&place)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {LIMIT:?}")),
        }
    }

    async fn answers(&self, route: &Route, path: &str) -> Result<(), String> {
        let Ok(uri) = Uri::try_from(path) else { return Ok(()) };
        let mut head = RequestHead::get(uri);
        head.fields.append(Name::Host, route.target.authority.as_str().as_bytes());
        let body = Empty::<Bytes>::new();
        match timeout(LIMIT, self.upstreams.send(route, &mut head, body, &|_| {})).await {
            Ok(Ok(Answer::Response(response))) if response.status.as_u16() < 400 => Ok(()),
            Ok(Ok(Answer::Response(response))) => Err(format!("{path}: {}", response.status)),
            Ok(Ok(Answer::Switched(..))) => Err(format!("{path}: another protocol")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("{path}: no answer within {LIMIT:?}")),
        }
    }

    fn unwell(&self) -> Vec<String> {
        let failures = self.failures.borrow();
        let unwell = failures.iter().filter(|(_, count)| **count >= FAILURES);
        unwell.map(|(condition, _)| condition.to_string()).collect()
    }

    fn tell(&self, before: &[String]) {
        let now = self.unwell();
        if now != before {
            self.unwell.set(now.len() as i64);
            self.sessions.set_unwell(now);
        }
    }
}
