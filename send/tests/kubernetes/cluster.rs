//! A namespace of a cluster, as the tests see it.

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::harness::Place;
use crate::server::ApiServer;

/// The ConfigMap of the mappings.
pub const CONFIG: &str = "tunnel-config";
/// How long anything may take, leases that must expire included.
const LIMIT: Duration = Duration::from_secs(40);

/// A namespace of its own, which goes with this.
pub struct Cluster {
    pub namespace: String,
    pub kubeconfig: PathBuf,
    /// The server, if it is in this process.
    pub server: Option<ApiServer>,
    client: Client,
    runtime: Runtime,
    _folder: TempDir,
}

impl Cluster {
    pub fn in_process() -> Self {
        let server = ApiServer::start();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let text = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{ "name": "test", "cluster": { "server": format!("http://{}", server.address()) } }],
            "users": [{ "name": "test", "user": {} }],
            "contexts": [{ "name": "test", "context": { "cluster": "test", "user": "test" } }],
        });
        std::fs::write(&kubeconfig, text.to_string()).unwrap();
        Self::new(kubeconfig, folder, Some(server))
    }

    /// `None`, with a message, without a kubeconfig to use.
    pub fn real() -> Option<Self> {
        let Some(kubeconfig) = std::env::var_os("ISTHMUS_KUBECONFIG") else {
            println!("skipped: ISTHMUS_KUBECONFIG names no kubeconfig");
            return None;
        };
        Some(Self::new(kubeconfig.into(), tempfile::tempdir().unwrap(), None))
    }

    fn new(kubeconfig: PathBuf, folder: TempDir, server: Option<ApiServer>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (client, namespace) = runtime.block_on(async {
            let file = Kubeconfig::read_from(&kubeconfig).unwrap();
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
            let client = Client::try_from(config).unwrap();
            let namespace = json!({ "metadata": { "generateName": "isthmus-test-" } });
            let namespace: Namespace = serde_json::from_value(namespace).unwrap();
            let api = Api::all(client.clone());
            let namespace = api.create(&PostParams::default(), &namespace).await.unwrap();
            (client, namespace.metadata.name.unwrap())
        });
        Self { namespace, kubeconfig, server, client, runtime, _folder: folder }
    }

    /// The server in this process.
    pub fn server(&mut self) -> &mut ApiServer {
        self.server.as_mut().unwrap()
    }

    /// The flags of a `tunnel-send` at `place`.
    pub fn flags(&self, place: &Place) -> Vec<String> {
        let mut flags = vec![
            "tunnel-send".to_owned(),
            format!("--bind={}", place.address),
            "--admin=127.0.0.1:0".to_owned(),
            "--connect-wait=1ms".to_owned(),
            // Nothing is there; the apps of most tests take no tunnels.
            "--tunnel-entry=http://127.0.0.1:1".to_owned(),
        ];
        flags.extend(self.source());
        flags
    }

    /// The flags of both ends that say where the config is.
    pub fn source(&self) -> [String; 2] {
        [
            format!("--config-map={}/{CONFIG}", self.namespace),
            format!("--kubeconfig={}", self.kubeconfig.display()),
        ]
    }

    pub fn create<K: Object>(&self, object: Value) -> K {
        let object: K = serde_json::from_value(object).unwrap();
        let params = PostParams {
            field_manager: Some("kubectl-create".to_owned()),
            ..PostParams::default()
        };
        self.runtime.block_on(self.api::<K>().create(&params, &object)).unwrap()
    }

    /// As `kubectl edit` and `kubectl patch --type merge` do.
    pub fn patch<K: Object>(&self, name: &str, patch: &Value) -> K {
        let params = PatchParams {
            field_manager: Some("kubectl-edit".to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Merge(patch);
        self.runtime.block_on(self.api::<K>().patch(name, &params, &patch)).unwrap()
    }

    /// Deletes it unless it is gone already.
    pub fn delete<K: Object>(&self, name: &str) {
        match self.runtime.block_on(self.api::<K>().delete(name, &DeleteParams::default())) {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            other => _ = other.unwrap(),
        }
    }

    pub fn find<K: Object>(&self, name: &str) -> Option<K> {
        self.runtime.block_on(self.api::<K>().get_opt(name)).unwrap()
    }

    pub fn list<K: Object>(&self) -> Vec<K> {
        self.runtime.block_on(self.api::<K>().list(&ListParams::default())).unwrap().items
    }

    /// Creates the ConfigMap.
    pub fn create_config(&self, config: &Value) {
        self.create::<ConfigMap>(json!({
            "metadata": { "name": CONFIG }, "data": { "config.json": config.to_string() },
        }));
    }

    /// Edits the ConfigMap.
    pub fn edit_config(&self, config: &Value) {
        self.edit_text(&config.to_string());
    }

    pub fn edit_text(&self, text: &str) {
        self.patch::<ConfigMap>(CONFIG, &json!({ "data": { "config.json": text } }));
    }

    /// The notes of all events of that reason.
    pub fn notes(&self, reason: &str) -> Vec<String> {
        let events = self.list::<Event>().into_iter();
        let events = events.filter(|event| event.reason.as_deref() == Some(reason));
        events.map(|event| event.message.unwrap_or_default()).collect()
    }

    /// The Service that `tunnel-send` is behind: its own port is the tunnel's.
    pub fn create_service(&self) -> Service {
        self.create(json!({
            "metadata": { "name": "tunnel-send" },
            "spec": {
                "type": "NodePort",
                "selector": { "app": "tunnel-send" },
                "ports": [{ "name": "tunnel", "port": 9000, "targetPort": 9000, "protocol": "TCP" }],
            },
        }))
    }

    fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_none() {
            let api = Api::<Namespace>::all(self.client.clone());
            let deleted =
                self.runtime.block_on(api.delete(&self.namespace, &DeleteParams::default()));
            println!("deleted {}: {}", self.namespace, deleted.is_ok());
        }
    }
}

/// The kinds that the tests handle.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + 'static
{
}

impl<K> Object for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + 'static
{
}

/// A config that maps these ports.
pub fn config(ports: impl IntoIterator<Item = u16>) -> Value {
    let mappings: Vec<_> = ports
        .into_iter()
        .map(|port| json!({ "port": port, "remoteIP": "http://demo:8080" }))
        .collect();
    json!({ "data": mappings })
}

/// Looks until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
