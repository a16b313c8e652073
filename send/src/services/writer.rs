//! Writes what the plan says, while this replica holds the Lease.

use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tunnel_common::config::Config;
use tunnel_common::kubernetes::{ApiError, Cluster, Events, Follower, Refusal, Selector};
use tunnel_common::process::Kubernetes;
use tunnel_common::ready::Ready;

use super::MANAGER;
use super::lease::Held;
use super::plan::{Plan, Situation, Write};

/// How long to wait for further changes, so that one write follows many.
const SETTLE: Duration = Duration::from_millis(50);
/// How long changes that do not end may delay a write.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);
/// How often what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// How many requests may be under way at a time: an API server bounds them per client, too.
const PARALLEL: usize = 8;

/// Why writing has stopped.
const LOST: &str = "the Lease was lost";

/// Makes the Services as the config says.
pub(super) struct Writer {
    cluster: Cluster,
    api: Api<Service>,
    events: Events,
    kubernetes: Kubernetes,
    name: String,
    config: watch::Receiver<Arc<Config>>,
    held: Held,
    ready: Ready,
    services: Follower<Service>,
    /// Whether the Services were listed, and why they cannot be followed since.
    known: Option<Result<(), ApiError>>,
    told: String,
}

impl Writer {
    /// For the Service `name` of `namespace`.
    pub(super) fn new(
        kubernetes: Kubernetes,
        namespace: &str,
        name: String,
        config: watch::Receiver<Arc<Config>>,
        held: Held,
        ready: Ready,
    ) -> Self {
        let cluster = kubernetes.cluster.clone();
        Self {
            api: cluster.api(namespace),
            services: Follower::new(cluster.clone(), namespace, Selector::All),
            events: kubernetes.events(),
            cluster,
            kubernetes,
            name,
            config,
            held,
            ready,
            known: None,
            told: String::new(),
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut retry_at = None;
        loop {
            self.wait(retry_at).await;
            retry_at = None;
            let (note, problems) = match &self.known {
                None => continue,
                Some(Ok(())) if !self.held.is_held() => {
                    self.ready.note("services", "another replica keeps them");
                    continue;
                }
                Some(Ok(())) => self.write().await,
                Some(Err(error)) => ("they stay as they are".to_owned(), vec![error.to_string()]),
            };
            if !problems.is_empty() {
                retry_at = Some(Instant::now() + RETRY);
            }
            self.report(&note, &problems.join("; ")).await;
        }
    }

    /// Waits for a change, and then until there are no more for a moment.
    async fn wait(&mut self, retry_at: Option<Instant>) {
        let retry = async {
            match retry_at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = retry => return,
            () = self.changed() => {}
        }
        let settled = async { while timeout(SETTLE, self.changed()).await.is_ok() {} };
        tokio::select! {
            () = settled => {}
            () = sleep(SETTLE_LIMIT) => {}
        }
    }

    /// Cancel safe.
    async fn changed(&mut self) {
        tokio::select! {
            changed = self.services.changed() => self.known = Some(changed),
            Ok(()) = self.config.changed() => {}
            Ok(()) = self.kubernetes.object.changed() => {}
            () = self.held.changed() => {}
        }
    }

    /// Writes what is to be written. Returns what has come of it, and the problems.
    async fn write(&mut self) -> (String, Vec<String>) {
        let config = Arc::clone(&self.config.borrow_and_update());
        let owner = self.kubernetes.object.borrow_and_update().clone();
        let (mut refused, mut failures) = (BTreeMap::new(), Vec::new());
        // The API server tells of one port at a time that it refuses: it is left out to save the others.
        let plan = loop {
            let plan = Situation {
                config: &config,
                services: self.services.objects(),
                name: &self.name,
                owner: &owner,
                refused: &refused,
            }
            .plan();
            let Some(body) = plan.own.clone() else { break plan };
            if !self.held.is_held() {
                failures.push(LOST.to_owned());
                break plan;
            }
            let Err(error) = self.request(Write::Apply { name: self.name.clone(), body }).await
            else {
                break plan;
            };
            let blamed = blamed(&error, &config);
            // So there are at most as many rounds as mappings.
            if blamed.keys().all(|port| refused.contains_key(port)) {
                failures.push(error.to_string());
                break plan;
            }
            refused.extend(blamed);
        };
        let Plan { others, mut problems, ports, services, .. } = plan;
        failures.extend(self.requests(others).await);
        problems.extend(failures);
        (format!("this replica keeps them: {ports} ports, {services} Services"), problems)
    }

    /// Sends these requests, some at a time. Returns why some failed.
    async fn requests(&mut self, writes: Vec<Write>) -> Vec<String> {
        let (mut running, mut failures) = (JoinSet::new(), Vec::new());
        for write in writes {
            if running.len() >= PARALLEL {
                failures.extend(running.join_next().await.and_then(failure));
            }
            if !self.held.is_held() {
                failures.push(LOST.to_owned());
                break;
            }
            running.spawn(self.request(write));
        }
        while let Some(done) = running.join_next().await {
            failures.extend(failure(done));
        }
        failures
    }

    fn request(&self, write: Write) -> impl Future<Output = Result<(), ApiError>> + Send + use<> {
        let (cluster, api) = (self.cluster.clone(), self.api.clone());
        async move {
            match write {
                Write::Apply { name, body } => {
                    tracing::info!(service = name, "applying");
                    let (params, patch) = (PatchParams::apply(MANAGER), Patch::Apply(body));
                    let applied = api.patch(&name, &params, &patch);
                    cluster.ask("patch", "services", applied).await.map(drop)
                }
                Write::Delete { name, uid } => {
                    tracing::info!(service = name, "deleting");
                    let only = Preconditions { uid: Some(uid), resource_version: None };
                    let params = DeleteParams::default().preconditions(only);
                    match cluster.ask("delete", "services", api.delete(&name, &params)).await {
                        Err(error) if error.code() == Some(404) => Ok(()),
                        other => other.map(drop),
                    }
                }
            }
        }
    }

    /// Tells `/readyz`, and of problems that are new also the log and those who edit the
    /// ConfigMap.
    async fn report(&mut self, note: &str, problems: &str) {
        if problems.is_empty() {
            self.ready.note("services", note);
        } else {
            self.ready.note("services", format!("{note}; {problems}"));
            if self.told != problems {
                tracing::warn!(problems, "not all Services are as the config says");
            }
            self.events.warn("ServicesRefused", problems).await;
        }
        problems.clone_into(&mut self.told);
    }
}

fn failure(done: Result<Result<(), ApiError>, JoinError>) -> Option<String> {
    match done {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

/// The mappings' ports whose `nodePort` is not to be had, by the API server's answer.
fn blamed(error: &ApiError, config: &Config) -> BTreeMap<u16, String> {
    let Refusal::Answer(status) = &error.refusal else { return BTreeMap::new() };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let causes = causes.filter(|cause| cause.field.ends_with(".nodePort"));
    causes
        .filter_map(|cause| {
            // "Duplicate value", where another port of the same Service has it.
            let value = number(cause.message.split_once(" value: ")?.1)?;
            let route = config.routes().find(|route| route.node_port == Some(value))?;
            Some((route.port, format!("nodePort: {}", cause.message)))
        })
        .collect()
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u16> {
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kube::core::Status;

    use super::*;

    fn blame(field: &str, message: &str) -> Vec<u16> {
        let text = r#"{"data":[{"port":8050,"nodePort":80,"remoteIP":"http://a"}]}"#;
        let config = Config::parse(text, Path::new("config.json")).unwrap();
        let status: Status = serde_json::from_value(serde_json::json!({
            "code": 422, "message": "no",
            "details": { "causes": [{ "field": field, "message": message, "reason": "no" }] },
        }))
        .unwrap();
        let refusal = Refusal::Answer(Box::new(status));
        let error = ApiError { verb: "patch", resource: "services".to_owned(), refusal };
        blamed(&error, &config).into_keys().collect()
    }

    #[test]
    fn the_ports_that_an_answer_complains_of_are_found() {
        let message = "Invalid value: 80: provided port is not in the valid range.";
        assert_eq!(blame("spec.ports[3].nodePort", message), [8050]);
        assert_eq!(blame("spec.ports[3].nodePort", "Duplicate value: 80"), [8050]);
        assert!(blame("spec.ports[3].nodePort", "Invalid value: 81: no").is_empty());
        assert!(blame("spec.selector", "Invalid value: 80").is_empty());
    }
}
