//! `tunnel-receive` as a whole: built and bound first, then run until it is told to stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::process::{self, Process};
use tunnel_common::telemetry::Telemetry;
use tunnel_common::tunnel::ssh::Terms;
use tunnel_common::tunnel::{Connector, GrpcConnector, Hello, TunnelScheme, TunnelUrl};

use crate::args::ServeArgs;
use crate::dialler::Dialler;
use crate::entrance::Entrance;
use crate::forward::Forward;
use crate::health::Probes;
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use crate::tunnel::ssh::SshConnector;
use crate::upstream::Upstreams;

/// How long connections to targets may take to close once no request needs them.
const TARGETS_END: Duration = Duration::from_secs(1);

/// Everything that `tunnel-receive` is. Lives on the data thread.
pub struct App {
    process: Process,
    sessions: Rc<Sessions>,
    entrance: Option<SocketAddr>,
    metrics: Metrics,
    connections: usize,
    /// Tunnels, callers of the entrance, and their requests.
    peers: Drain,
    /// Connections to targets, which the requests need to the end.
    targets: Drain,
    grace: Duration,
}

impl App {
    /// Reads config and keys and opens the entrance; fails on the first that cannot be had.
    pub async fn build(args: &ServeArgs) -> anyhow::Result<Self> {
        let app = Self::without_tunnels(args).await?;
        for url in &args.tunnel {
            let keys = args.keys.as_deref().context("--tunnel needs --keys")?;
            app.dial(url, keys).with_context(|| format!("--tunnel {url}"))?;
        }
        Ok(app)
    }

    /// The same, but tunnels come only through [`Self::dial_through`] and the entrance.
    pub async fn without_tunnels(args: &ServeArgs) -> anyhow::Result<Self> {
        let process = Process::start(&args.base, env!("CARGO_PKG_NAME")).await?;
        let (peers, targets, metrics) = (Drain::new(), Drain::new(), Metrics::default());
        metrics.register(&process.metrics);
        let hello = Hello {
            instance: process::instance(),
            cluster: args.cluster.clone(),
            software: concat!("isthmus/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Hello::default()
        };
        let upstreams = Rc::new(Upstreams::new(targets.clone()));
        let forward =
            Rc::new(Forward::new(process.config.clone(), Rc::clone(&upstreams), metrics.clone()));
        // Behind the entrance alone, it is up to others whether a tunnel comes.
        let gate = (!args.tunnel.is_empty()).then(|| process.ready.gate("tunnel"));
        let sessions = Rc::new(Sessions::new(
            Rc::clone(&forward),
            args.base.liveness.try_into()?,
            hello,
            gate,
            metrics.clone(),
            peers.clone(),
        ));
        sessions.announce(&process.config.borrow());
        let (config, unwell) = (process.config.clone(), metrics.unwell.clone());
        let probes = Probes::new(config, upstreams, Rc::clone(&sessions), unwell, peers.clone());
        peers.spawn(probes.run());
        let grace = args.base.drain_timeout;
        let mut app = Self {
            process,
            sessions,
            entrance: None,
            metrics,
            connections: usize::from(args.connections),
            peers,
            targets,
            grace,
        };
        if let Some(address) = args.listen {
            app.open_entrance(address, forward)?;
        }
        Ok(app)
    }

    /// Keeps tunnels up through `connector` too.
    pub fn dial_through(&self, connector: impl Connector) {
        let dialler = Dialler::new(
            connector,
            self.connections,
            Rc::clone(&self.sessions),
            self.metrics.clone(),
            self.peers.clone(),
        );
        self.peers.spawn(dialler.run());
    }

    /// Where the plain entrance is.
    pub fn entrance_address(&self) -> Option<SocketAddr> {
        self.entrance
    }

    /// Where the admin pages are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.process.admin_address()
    }

    /// The tunnels that are up.
    pub fn sessions(&self) -> &Rc<Sessions> {
        &self.sessions
    }

    /// Shows in the metrics how the log does.
    pub fn register(&self, telemetry: &Telemetry) {
        telemetry.register(&self.process.metrics);
    }

    /// Serves until `stop`; then asks the peers for no more requests and finishes those in flight.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { process, sessions, metrics, peers, targets, grace, .. } = self;
        process.start.open();
        tokio::select! {
            () = follow(process.config.clone(), sessions) => {}
            () = stop => {}
        }
        process.ready.drain();
        peers.finish(grace).await;
        let cut = metrics.cut.get();
        if cut > 0 {
            tracing::warn!(requests = cut, "not all requests were served to the end in time");
        }
        targets.finish(TARGETS_END).await;
        process.stop();
        Ok(())
    }

    fn open_entrance(&mut self, address: SocketAddr, forward: Rc<Forward>) -> anyhow::Result<()> {
        let (sessions, cut) = (Rc::clone(&self.sessions), self.metrics.cut.clone());
        let entrance = Entrance::bind(address, forward, sessions, cut, self.peers.clone())
            .with_context(|| format!("--listen: cannot listen on {address}"))?;
        self.entrance = entrance.local_addr().ok();
        self.peers.spawn(entrance.serve());
        Ok(())
    }

    fn dial(&self, url: &TunnelUrl, keys: &Path) -> anyhow::Result<()> {
        match url.scheme {
            TunnelScheme::Grpc => {
                let connector = GrpcConnector::new(url.to_string().parse()?, keys, &self.peers)?;
                self.dial_through(connector);
            }
            TunnelScheme::Ssh => {
                let terms = Terms::default();
                let connector = SshConnector::new(url.clone(), keys, terms, &self.peers)?;
                self.dial_through(connector);
            }
        }
        Ok(())
    }
}

/// Tells the peers of each new config.
async fn follow(mut config: watch::Receiver<Arc<Config>>, sessions: Rc<Sessions>) {
    while config.changed().await.is_ok() {
        sessions.announce(&config.borrow_and_update());
    }
    std::future::pending::<()>().await;
}
