//! How to reach the API server.

use std::ffi::OsStr;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config};
use tokio::time::timeout;

use super::error::{ApiError, Refusal, innermost};

/// How long the API server may take to answer; it gives up on a request after a minute itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// A client of the API server. Clones share its connections.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    server: String,
}

/// Why there is no API server to ask.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// What the cluster asks for cannot be done.
    #[error("cannot connect to {server}: {reason}")]
    Client {
        /// The server's address.
        server: String,
        /// What is in the way.
        reason: String,
    },
    /// A kubeconfig cannot be used.
    #[error("the kubeconfig {}: {reason}", .path.display())]
    Kubeconfig {
        /// The file; the last of several if it is their sum.
        path: PathBuf,
        /// What is in the way; nothing secret of what is in the file.
        reason: String,
    },
    /// This is no pod.
    #[error(
        "no cluster: KUBECONFIG (--kubeconfig) is not set, and the service account of a pod is not \
         there either ({0})"
    )]
    NoCluster(kube::config::InClusterError),
}

impl Cluster {
    /// Connects to the cluster of `kubeconfig`, which is written as `KUBECONFIG` is: one file, or
    /// several with `:` between. Without it, to the cluster of the pod by its service account,
    /// whose token is read again as it changes. Asks nothing yet.
    ///
    /// Belongs on the control thread: requests are sent from the runtime that calls this.
    pub async fn connect(kubeconfig: Option<&OsStr>) -> Result<Self, ConnectError> {
        let files: Vec<_> =
            kubeconfig.map(|list| std::env::split_paths(list).collect()).unwrap_or_default();
        let files: Vec<_> = files.into_iter().filter(|path| path != "").collect();
        let mut config = match files.last() {
            Some(last) => from_files(&files, last).await?,
            None => Config::incluster_env().map_err(ConnectError::NoCluster)?,
        };
        // Whoever asks tries again and says so; a second layer of that only delays the report.
        config.default_retry = false;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        match Client::try_from(config) {
            Ok(client) => Ok(Self { client, server }),
            Err(error) => Err(ConnectError::Client { server, reason: innermost(&error) }),
        }
    }

    /// The objects of one kind in a namespace.
    pub fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Waits for the answer to a request, at most 5 s. `verb` and `resource` are RBAC's words for
    /// it, for the error.
    pub async fn ask<T>(
        &self,
        verb: &'static str,
        resource: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        match timeout(ANSWER_LIMIT, request).await {
            Ok(answer) => answer.map_err(|error| self.explain(verb, resource, error)),
            Err(_) => Err(ApiError {
                verb,
                resource: resource.to_owned(),
                refusal: Refusal::Late {
                    server: self.server.clone(),
                    seconds: ANSWER_LIMIT.as_secs(),
                },
            }),
        }
    }

    pub(super) fn explain(
        &self,
        verb: &'static str,
        resource: &str,
        error: kube::Error,
    ) -> ApiError {
        ApiError::new(verb, resource, &self.server, error)
    }
}

/// As kubectl does: what an earlier file says goes before a later one.
async fn from_files(files: &[PathBuf], last: &Path) -> Result<Config, ConnectError> {
    let failed = |path: &Path, error: &KubeconfigError| ConnectError::Kubeconfig {
        path: path.to_owned(),
        reason: explain_kubeconfig(error),
    };
    let mut merged = Kubeconfig::default();
    for file in files {
        let read = Kubeconfig::read_from(file).map_err(|error| failed(file, &error))?;
        merged = merged.merge(read).map_err(|error| failed(file, &error))?;
    }
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(merged, &options).await;
    config.map_err(|error| failed(last, &error))
}

/// A parser quotes what it does not understand, which may be a token.
fn explain_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::Parse(error) => match error.location() {
            Some(place) => {
                format!("line {} column {}: not as a kubeconfig is", place.line(), place.column())
            }
            None => "not as a kubeconfig is".to_owned(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_broken_kubeconfig_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let [good, bad] = ["good", "bad"].map(|name| folder.path().join(name));
        std::fs::write(&good, "apiVersion: v1\nkind: Config\n").unwrap();
        for text in [
            "users:\n- name: a\n  user:\n    token: \"secret\n    client-key-data: secret\n",
            "users:\n- name: a\n  user:\n    token: secret: x\n",
            "users: secret\n",
        ] {
            std::fs::write(&bad, text).unwrap();
            let list = std::env::join_paths([&bad, &good]).unwrap();
            let error = Cluster::connect(Some(&list)).await.err().unwrap().to_string();
            let place = format!("the kubeconfig {}: line ", bad.display());
            assert!(error.starts_with(&place), "{error}");
            assert!(!error.contains("secret") && !error.contains('\n'), "{error}");
        }
    }
}
