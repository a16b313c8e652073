//! Kubernetes objects that follow the config: the ports of `tunnel-send`'s own Service, a Service
//! for each mapping with a name, and `hosts`, the names of the clusters that are connected.
//!
//! `plan` says what is to be written, `writer` writes it while the `lease` is held, so that
//! one of several replicas does. What others manage is reported and left alone.

mod hosts;
mod lease;
mod plan;
mod writer;

use std::collections::BTreeSet;
use std::future::{Future, pending};
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tunnel_common::config::Config;
use tunnel_common::kubernetes::ConfigMapName;
use tunnel_common::process::Kubernetes;
use tunnel_common::ready::Ready;

use self::hosts::Hosts;
use self::lease::Keeper;
use self::writer::Writer;

/// Who writes, in `managedFields` and in the label `app.kubernetes.io/managed-by`.
pub const MANAGER: &str = "tunnel-send";

/// The name of a Service: a label of RFC 1035 in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceName(String);

/// What is no name of a Service.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a Service's name is 1 to 63 of a-z, 0-9 and -, first a letter, last no -")]
pub struct ServiceNameError;

impl FromStr for ServiceName {
    type Err = ServiceNameError;

    fn from_str(text: &str) -> Result<Self, ServiceNameError> {
        let is_name = text.len() <= 63
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if is_name { Ok(Self(text.to_owned())) } else { Err(ServiceNameError) }
    }
}

impl Default for ServiceName {
    /// `tunnel-send`.
    fn default() -> Self {
        Self(MANAGER.to_owned())
    }
}

impl AsRef<str> for ServiceName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// What to keep.
pub struct Options {
    /// `tunnel-send`'s own Service, in the ConfigMap's namespace.
    pub name: ServiceName,
    /// Whether its ports and the Services of the mappings are kept.
    pub services: bool,
    /// Where the hosts file is kept, if it is.
    pub hosts: Option<ConfigMapName>,
}

/// Keeps what `options` say until `stop`, and then lets another replica do so at once. Runs on
/// the control thread. `clusters` are those that are connected.
pub fn follow(
    kubernetes: Kubernetes,
    options: Options,
    config: watch::Receiver<Arc<Config>>,
    clusters: watch::Receiver<BTreeSet<String>>,
    ready: Ready,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send + 'static {
    let namespace = kubernetes.object.borrow().namespace.clone().unwrap_or_default();
    let Options { name: ServiceName(name), services, hosts } = options;
    let (keeper, held) = Keeper::new(
        kubernetes.cluster.clone(),
        &namespace,
        format!("{name}-services"),
        kubernetes.instance.clone(),
    );
    let hosts = hosts.map(|place| {
        let service = (namespace.as_str(), name.as_str());
        Hosts::new(&kubernetes, place, service, clusters, held.clone(), ready.clone())
    });
    let writer = services.then(|| Writer::new(kubernetes, &namespace, name, config, held, ready));
    async move {
        tokio::select! {
            () = keeper.run(stop) => {}
            () = run(writer.map(Writer::run)) => {}
            () = run(hosts.map(Hosts::run)) => {}
        }
    }
}

/// Never ends without a task.
async fn run(task: Option<impl Future<Output = ()>>) {
    match task {
        Some(task) => task.await,
        None => pending().await,
    }
}
