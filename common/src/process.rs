//! What surrounds the data path in both binaries: config watch, admin address, control thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use crate::admin::Admin;
use crate::cli::BaseArgs;
use crate::config::{self, Config, watch::Status};
use crate::control::Control;
use crate::metrics::Metrics;
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
    admin: Option<SocketAddr>,
    control: Control,
}

impl Process {
    /// Loads the config, opens the admin address, and starts the control thread on both.
    pub fn start(args: &BaseArgs) -> anyhow::Result<Self> {
        let config = Config::load(&args.config)?;
        let admin = args
            .admin
            .map(Admin::bind)
            .transpose()
            .context("--admin (choose another port, or end what holds it)")?;
        let (ready, metrics) = (Ready::new(), Metrics::new(env!("CARGO_PKG_VERSION")));
        let start = ready.gate("start");
        let control = Control::start().context("cannot start the control thread")?;
        let (watched, watch) = config::watch::file(args.config.clone(), config);
        control.spawn("config watch", watch);
        control.spawn("config status", tell(watched.status, ready.clone(), metrics.clone()));
        let address = admin.as_ref().map(Admin::local_addr);
        if let Some(admin) = admin {
            control.spawn("admin", admin.serve(ready.clone(), metrics.clone()));
        }
        Ok(Self { config: watched.config, ready, start, metrics, admin: address, control })
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

/// Names this process in HELLO, another at each start: host, process id and a random part.
pub fn instance() -> String {
    use std::hash::BuildHasher;
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = std::hash::RandomState::new().hash_one(std::time::SystemTime::now());
    format!("{}-{}-{:08x}", host.trim(), std::process::id(), random as u32)
}

/// Shows in `/readyz` and in the metrics how the file stands to what serves.
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
                ready.note("config", format!("{digest}; the file is broken: {error}"));
            }
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}
