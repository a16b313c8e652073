//! What surrounds the data path in both binaries: config watch, admin address, control thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::ObjectReference;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::cli::BaseArgs;
use crate::config::watch::{Status, Watched};
use crate::config::{self, Config};
use crate::control::Control;
use crate::kubernetes::config_map::Opened;
use crate::kubernetes::{Cluster, Events};
use crate::metrics::Metrics;
use crate::open_files;
use crate::ready::{Gate, Ready};

/// How long the control thread may take to end.
const CONTROL_END: Duration = Duration::from_secs(1);

/// The control thread and what it shares with the data thread.
pub struct Process {
    /// The newest good config.
    pub config: watch::Receiver<Arc<Config>>,
    /// What `/readyz` tells.
    pub ready: Ready,
    /// To be opened once the process serves: until then `/readyz` must not say that it does.
    pub start: Gate,
    /// What `/metrics` tells.
    pub metrics: Metrics,
    /// The cluster whose ConfigMap is followed, if it is one.
    pub kubernetes: Option<Kubernetes>,
    admin: Option<SocketAddr>,
    control: Control,
}

/// The cluster that the config comes from.
#[derive(Clone)]
pub struct Kubernetes {
    /// Its API server; to be asked on the control thread.
    pub cluster: Cluster,
    /// The ConfigMap; without a UID while there is none.
    pub object: watch::Receiver<ObjectReference>,
    /// The binary's name.
    pub component: &'static str,
    /// Names this process among its replicas.
    pub instance: String,
}

impl Kubernetes {
    /// A recorder of events on the ConfigMap.
    pub fn events(&self) -> Events {
        Events::new(
            self.cluster.clone(),
            self.component,
            self.instance.clone(),
            self.object.clone(),
        )
    }
}

impl Process {
    /// Loads the config, opens the admin address, and starts the control thread on both.
    /// `component` is the binary's name, which events are recorded in.
    pub async fn start(args: &BaseArgs, component: &'static str) -> anyhow::Result<Self> {
        open_files::raise_limit();
        let (ready, metrics) = (Ready::new(), Metrics::new(env!("CARGO_PKG_VERSION")));
        let start = ready.gate("start");
        let control = Control::start().context("cannot start the control thread")?;
        let (watched, kubernetes) = follow(args, component, &control).await?;
        control.spawn("config status", tell(watched.status, ready.clone(), metrics.clone()));
        let admin = args
            .admin
            .map(Admin::bind)
            .transpose()
            .context("--admin (choose another port, or end what holds it)")?;
        let address = admin.as_ref().map(Admin::local_addr);
        if let Some(admin) = admin {
            control.spawn("admin", admin.serve(ready.clone(), metrics.clone()));
        }
        let config = watched.config;
        Ok(Self { config, ready, start, metrics, kubernetes, admin: address, control })
    }

    /// Runs a task on the control thread until it ends or the process does; see
    /// [`Control::spawn`].
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.control.spawn(name, task);
    }

    /// Where the admin pages are served.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Ends the control thread.
    pub fn stop(self) {
        if !self.control.stop(CONTROL_END) {
            tracing::warn!("the control thread did not end in time");
        }
    }
}

/// Reads the config and follows its source on the control thread.
async fn follow(
    args: &BaseArgs,
    component: &'static str,
    control: &Control,
) -> anyhow::Result<(Watched, Option<Kubernetes>)> {
    if let Some(place) = args.source.config_map.clone() {
        let kubeconfig = args.kubeconfig.clone();
        let open = async move {
            let cluster = Cluster::connect(kubeconfig.as_deref()).await?;
            Ok::<_, anyhow::Error>((Opened::open(cluster.clone(), place).await?, cluster))
        };
        let opened = control.run(open).await.context("the control thread ended")?;
        let (opened, cluster) = opened.context("--config-map")?;
        let (watched, object) = (opened.watched.clone(), opened.object.clone());
        let kubernetes = Kubernetes { cluster, object, component, instance: instance() };
        control.spawn("config watch", opened.follow(kubernetes.events()));
        return Ok((watched, Some(kubernetes)));
    }
    let file = args.source.config.clone().context("--config or --config-map is needed")?;
    // On a thread of its own, as a file system that hangs must not keep the process from ending.
    let path = file.clone();
    let loaded = tokio::task::spawn_blocking(move || Config::load(&path)).await;
    let config = loaded.context("the config's reader ended")??;
    let (watched, watch) = config::watch::file(file, config);
    control.spawn("config watch", watch);
    Ok((watched, None))
}

/// Names this process in HELLO, another at each start: host, process id and a random part.
pub fn instance() -> String {
    use std::hash::BuildHasher;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = std::hash::RandomState::new().hash_one(std::time::SystemTime::now());
    format!("{}-{}-{:08x}", host.trim(), std::process::id(), random as u32)
}

/// Shows in `/readyz` and in the metrics how the source stands to what serves.
async fn tell(mut status: watch::Receiver<Status>, ready: Ready, metrics: Metrics) {
    let applied = metrics.register(
        "config_applied",
        "Configs that were taken up since the start",
        prometheus_client::metrics::counter::Counter::<u64>::default(),
    );
    let refused = metrics.register(
        "config_refused",
        "Configs that were broken and left aside",
        prometheus_client::metrics::counter::Counter::<u64>::default(),
    );
    loop {
        let Status { digest, error, applied: now_applied, refused: now_refused } =
            status.borrow_and_update().clone();
        applied.inc_by(now_applied.saturating_sub(applied.get()));
        refused.inc_by(now_refused.saturating_sub(refused.get()));
        match error {
            None => ready.note("config", digest),
            Some(error) => {
                let error = error.replace('\n', "; ");
                ready.note("config", format!("{digest}; not up to date: {error}"));
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}
