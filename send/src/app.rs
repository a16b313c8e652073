//! `tunnel-send` as a whole: built and bound first, then run until it is told to stop.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tunnel_common::config::Config;
use tunnel_common::drain::Drain;
use tunnel_common::kubernetes;
use tunnel_common::process::{self, Process};
use tunnel_common::ready::Ready;
use tunnel_common::telemetry::Telemetry;
use tunnel_common::tunnel::ssh::Terms;
use tunnel_common::tunnel::{Acceptor, Hello, HostPort, TunnelScheme, TunnelUrl};

use crate::args::ServeArgs;
use crate::forward::Forward;
use crate::listeners::{ListenError, Listeners};
use crate::metrics::Metrics;
use crate::services;
use crate::sessions::{Sessions, Siblings, look_up, with_port};
use crate::tunnel::entry::EntryAcceptor;
use crate::tunnel::grpc::GrpcAcceptor;
use crate::tunnel::ssh::SshAcceptor;

/// How often a mapping's port that could not be opened is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// What `/readyz` calls the mappings' ports.
const LISTENERS: &str = "listeners";

/// How long the tunnels' goodbyes may take, and handing over the Services.
const GOODBYE: Duration = Duration::from_secs(2);

/// Everything that `tunnel-send` is. Lives on the data thread.
pub struct App {
    process: Process,
    sessions: Rc<Sessions>,
    listeners: Listeners,
    metrics: Metrics,
    tunnels: Vec<SocketAddr>,
    /// The callers' side: listeners and their connections, ended first.
    callers: Drain,
    /// The tunnels' side, which the callers' requests need to the end.
    peers: Drain,
    grace: Duration,
    services: Option<services::Options>,
    /// How long callers are still accepted when the end was asked for.
    delay: Duration,
}

impl App {
    /// Reads config and keys and opens every port; fails on the first that cannot be had.
    pub async fn build(args: &ServeArgs) -> anyhow::Result<Self> {
        let mut app = Self::without_tunnels(args).await?;
        for url in &args.tunnel {
            let keys = args.keys.as_deref().context("--tunnel needs --keys")?;
            app.listen(url, keys).await.with_context(|| format!("--tunnel {url}"))?;
        }
        for url in &args.tunnel_entry {
            app.accept_from(EntryAcceptor::new(url));
        }
        if let (Some(place), Some(keys)) = (&args.siblings, &args.keys) {
            let (found, addresses) = watch::channel(BTreeSet::new());
            app.peers.spawn_until_asked(look_up(place.clone(), found));
            app.connect_to(addresses, keys);
        }
        if let (Some(service), Some(keys)) = (&args.sibling_service, &args.keys) {
            app.connect_to(app.endpoints(service)?, keys);
        }
        Ok(app)
    }

    /// Where the pods behind a Service take tunnels.
    fn endpoints(
        &self,
        service: &HostPort,
    ) -> anyhow::Result<watch::Receiver<BTreeSet<SocketAddr>>> {
        let kubernetes = self.process.kubernetes.as_ref();
        let kubernetes = kubernetes.context("--sibling-service needs --config-map")?;
        let namespace = kubernetes.object.borrow().namespace.clone().unwrap_or_default();
        let (pods, follow) =
            kubernetes::siblings::follow(kubernetes.cluster.clone(), &namespace, &service.host);
        self.process.spawn("siblings", follow);
        let (found, addresses) = watch::channel(BTreeSet::new());
        self.peers.spawn_until_asked(with_port(pods, service.port, found));
        Ok(addresses)
    }

    /// The same, but tunnels come only through [`Self::accept_from`].
    pub async fn without_tunnels(args: &ServeArgs) -> anyhow::Result<Self> {
        anyhow::ensure!(
            args.drain_delay.is_zero() || args.drain_delay < args.base.drain_timeout,
            "--drain-delay must be shorter than --drain-timeout, which it is a part of"
        );
        let services = services(args)?;
        let process = Process::start(&args.base, env!("CARGO_PKG_NAME")).await?;
        let (callers, peers, metrics) = (Drain::new(), Drain::new(), Metrics::default());
        metrics.register(&process.metrics);
        let hello = Hello {
            instance: process::instance(),
            software: concat!("isthmus/", env!("CARGO_PKG_VERSION")).to_owned(),
            ..Hello::default()
        };
        let sessions = Rc::new(Sessions::new(
            args.base.liveness.try_into()?,
            hello,
            args.connect_wait,
            metrics.clone(),
            peers.clone(),
            callers.clone(),
        ));
        let forward =
            Forward::new(Rc::clone(&sessions), metrics.in_flight.clone(), args.max_requests);
        let grace = args.base.drain_timeout;
        let mut listeners = Listeners::new(
            args.bind,
            Rc::new(forward),
            metrics.clone(),
            args.limits,
            callers.clone(),
            grace,
        );
        let config = Arc::clone(&process.config.borrow());
        listeners.apply(&config).map_err(|errors| anyhow!(join(&errors)))?;
        sessions.announce(&config);
        let (tunnels, delay) = (Vec::new(), args.drain_delay);
        Ok(Self {
            process,
            sessions,
            listeners,
            metrics,
            tunnels,
            callers,
            peers,
            grace,
            services,
            delay,
        })
    }

    /// Takes tunnels from `acceptor` too.
    pub fn accept_from(&self, mut acceptor: impl Acceptor) {
        let (sessions, drain) = (Rc::clone(&self.sessions), self.peers.clone());
        self.peers.spawn(async move {
            loop {
                tokio::select! {
                    () = drain.asked() => return,
                    (io, peer) = acceptor.accept() => sessions.add(io, peer),
                }
            }
        });
    }

    /// Keeps connected to the siblings at `addresses`; this process itself may be among them.
    pub fn connect_to(&self, addresses: watch::Receiver<BTreeSet<SocketAddr>>, keys: &Path) {
        let (sessions, drain) = (Rc::clone(&self.sessions), self.peers.clone());
        let siblings = Siblings::new(sessions, keys.to_owned(), addresses, drain);
        self.peers.spawn(siblings.run());
    }

    /// Where tunnels are accepted, in the order of `--tunnel`.
    pub fn tunnel_addresses(&self) -> &[SocketAddr] {
        &self.tunnels
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

    /// Serves until `stop`; then takes no new connections, waits for the requests in flight, and
    /// says goodbye to the tunnels.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self { process, sessions, listeners, metrics, tunnels, callers, peers, .. } = self;
        let (grace, delay) = (self.grace, self.delay);
        for address in tunnels {
            tracing::info!(%address, "waiting for tunnels");
        }
        process.start.open();
        let keeping =
            self.services.and_then(|options| Keeping::start(options, &process, &sessions));
        peers.spawn_until_asked(Rc::clone(&sessions).watch_drift(process.ready.clone()));
        let (config, ready) = (process.config.clone(), process.ready.clone());
        let follow = follow(listeners, config, Rc::clone(&sessions), ready);
        let leave = async {
            stop.await;
            process.ready.drain();
            keeping.iter().for_each(Keeping::stop);
            sessions.drain_siblings();
            callers.warn();
            tokio::time::sleep(delay).await;
        };
        tokio::select! {
            () = follow => {}
            () = leave => {}
        }
        let cut_before = metrics.cut.get();
        callers.finish(grace - delay).await;
        let cut = metrics.cut.get() - cut_before;
        if cut > 0 {
            tracing::warn!(connections = cut, "not all callers were served to the end in time");
        }
        sessions.close();
        peers.finish(GOODBYE).await;
        if let Some(keeping) = keeping {
            keeping.stopped().await;
        }
        process.stop();
        Ok(())
    }

    async fn listen(&mut self, url: &TunnelUrl, keys: &Path) -> anyhow::Result<()> {
        anyhow::ensure!(
            url.user.is_none() && url.forward.is_none(),
            "to listen takes an address and a port only; users and forwards are for dialling"
        );
        let address = lookup_host((url.place.host.as_str(), url.place.port))
            .await
            .context("the host is no address of this machine")?
            .next()
            .context("the host has no address")?;
        match url.scheme {
            TunnelScheme::Grpc => {
                let acceptor = GrpcAcceptor::bind(address, keys, &self.peers).await?;
                self.tunnels.push(acceptor.local_addr());
                self.accept_from(acceptor);
            }
            TunnelScheme::Ssh => {
                let terms = Terms::default();
                let acceptor = SshAcceptor::bind(address, keys, terms, &self.peers).await?;
                self.tunnels.push(acceptor.local_addr());
                self.accept_from(acceptor);
            }
        }
        Ok(())
    }
}

/// What is kept in the cluster meanwhile, on the control thread.
struct Keeping {
    stop: CancellationToken,
    stopped: CancellationToken,
}

impl Keeping {
    fn start(options: services::Options, process: &Process, sessions: &Sessions) -> Option<Self> {
        let (stop, stopped) = (CancellationToken::new(), CancellationToken::new());
        let (config, clusters) = (process.config.clone(), sessions.clusters());
        let (kubernetes, ready) = (process.kubernetes.clone()?, process.ready.clone());
        let follow = services::follow(kubernetes, options, config, clusters, ready, stop.clone());
        let ended = stopped.clone().drop_guard();
        process.spawn("services", async move {
            follow.await;
            drop(ended);
        });
        Some(Self { stop, stopped })
    }

    fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until another replica may keep it from now on, and not once a Lease has expired.
    async fn stopped(self) {
        // If the API server is away, the Lease does expire.
        let _ = timeout(GOODBYE, self.stopped.cancelled()).await;
    }
}

/// What is to be kept in the cluster, if anything is.
fn services(args: &ServeArgs) -> anyhow::Result<Option<services::Options>> {
    let (services, hosts) = (args.manage_services.is_some(), args.dns_hosts.clone());
    if !services && hosts.is_none() {
        return Ok(None);
    }
    anyhow::ensure!(
        args.base.source.config_map.is_some(),
        "--manage-services and --dns-hosts need --config-map, which names the cluster"
    );
    let name = args.manage_services.clone().unwrap_or_default();
    Ok(Some(services::Options { name, services, hosts }))
}

/// Applies each new config, and tries again what failed. That is only noted in `ready`: the other
/// mappings are served, and all replicas have the same config.
async fn follow(
    mut listeners: Listeners,
    mut config: watch::Receiver<Arc<Config>>,
    sessions: Rc<Sessions>,
    ready: Ready,
) {
    let mut failures = String::new();
    loop {
        listeners.log_opened();
        tokio::select! {
            changed = config.changed() => if changed.is_err() { return std::future::pending().await },
            () = tokio::time::sleep(RETRY), if !failures.is_empty() => {}
        }
        let snapshot = Arc::clone(&config.borrow_and_update());
        match listeners.apply(&snapshot) {
            Ok(()) => {
                failures.clear();
                ready.clear_note(LISTENERS);
            }
            Err(errors) => {
                let errors = join(&errors);
                if errors != failures {
                    tracing::error!(errors, "some mappings are not open; trying on");
                    failures.clone_from(&errors);
                }
                ready.note(LISTENERS, errors);
            }
        }
        sessions.announce(&snapshot);
    }
}

fn join(errors: &[ListenError]) -> String {
    errors.iter().map(ListenError::to_string).collect::<Vec<_>>().join("; ")
}
