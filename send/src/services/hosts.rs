//! A hosts file for CoreDNS: the name of every connected cluster, with the address of
//! `tunnel-send`'s Service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tunnel_common::kubernetes::{
    ApiError, Cluster, ConfigMapName, Follower, Selector, is_dns_name,
};
use tunnel_common::process::Kubernetes;
use tunnel_common::ready::Ready;

use super::MANAGER;
use super::lease::Held;

/// How long the name of a cluster stays that is no longer connected: a caller that finds no tunnel
/// is told so by 503, which is better than that the name does not exist.
const GONE: Duration = Duration::from_secs(10 * 60);
/// The most names; a ConfigMap holds 1 MiB.
const MAX_NAMES: usize = 2048;
/// How often what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// The key in the ConfigMap.
const KEY: &str = "hosts";

/// Keeps the file.
pub(super) struct Hosts {
    cluster: Cluster,
    place: ConfigMapName,
    service: String,
    clusters: watch::Receiver<BTreeSet<String>>,
    held: Held,
    ready: Ready,
    maps: Follower<ConfigMap>,
    services: Follower<Service>,
    names: Names,
    was_held: bool,
    /// What `/readyz` was told last.
    told: String,
}

impl Hosts {
    /// In the ConfigMap `place`, for `service`, a namespace and a name.
    pub(super) fn new(
        kubernetes: &Kubernetes,
        place: ConfigMapName,
        service: (&str, &str),
        clusters: watch::Receiver<BTreeSet<String>>,
        held: Held,
        ready: Ready,
    ) -> Self {
        let cluster = kubernetes.cluster.clone();
        let (namespace, service) = service;
        let map = Selector::Name(place.name.clone());
        Self {
            maps: Follower::new(cluster.clone(), &place.namespace, map),
            services: Follower::new(cluster.clone(), namespace, Selector::Name(service.to_owned())),
            cluster,
            place,
            service: service.to_owned(),
            clusters,
            held,
            ready,
            names: Names::default(),
            was_held: false,
            told: String::new(),
        }
    }

    /// Runs until it is dropped.
    pub(super) async fn run(mut self) {
        let mut wake_at = None;
        loop {
            let wake = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            let failure = tokio::select! {
                () = wake => None,
                changed = self.maps.changed() => changed.err(),
                changed = self.services.changed() => changed.err(),
                Ok(()) = self.clusters.changed() => None,
                () = self.held.changed() => None,
            };
            let written = match failure {
                Some(error) => Err(error.to_string()),
                None if !(self.maps.is_listed() && self.services.is_listed()) => {
                    wake_at = None;
                    continue;
                }
                None => self.write().await,
            };
            wake_at = match &written {
                Ok(_) => self.names.next_removal(),
                Err(_) => Some(Instant::now() + RETRY),
            };
            self.report(&written);
        }
    }

    /// Writes the file if it is not as it should be. Says what is in it.
    async fn write(&mut self) -> Result<String, String> {
        let Some(map) = self.maps.objects().get(&self.place.name) else {
            return Err(format!("there is no ConfigMap {}: create it", self.place));
        };
        let found = map.data.as_ref().and_then(|data| data.get(KEY)).cloned().unwrap_or_default();
        let (uid, now, is_held) = (map.metadata.uid.clone(), Instant::now(), self.held.is_held());
        // Once this replica writes, what it took out may still show for a moment.
        if !std::mem::replace(&mut self.was_held, is_held) || !is_held {
            self.names.remember(&found, now);
        }
        self.names.update(&self.clusters.borrow_and_update(), now);
        let text = self.names.text(&self.addresses()?);
        if !is_held {
            return Ok("another replica keeps them".to_owned());
        }
        if text != found {
            self.apply(uid, &text).await.map_err(|error| error.to_string())?;
        }
        Ok(format!("this replica keeps {} names", self.names.0.len()))
    }

    async fn apply(&mut self, uid: Option<String>, text: &str) -> Result<(), ApiError> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": self.place.name, "uid": uid },
            "data": { KEY: text },
        });
        let api = self.cluster.api::<ConfigMap>(&self.place.namespace);
        let (params, patch) = (PatchParams::apply(MANAGER), Patch::Apply(body));
        let applied = api.patch(&self.place.name, &params, &patch);
        self.cluster.ask("patch", "configmaps", applied).await.map(drop)
    }

    /// The addresses that the Service has within the cluster.
    fn addresses(&self) -> Result<Vec<IpAddr>, String> {
        let service = self.services.objects().get(&self.service);
        let spec = service.and_then(|service| service.spec.as_ref());
        let addresses = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
        let addresses: Vec<_> = addresses.filter_map(|address| address.parse().ok()).collect();
        match addresses.is_empty() {
            true => Err(format!("the Service {:?} has no address in the cluster", self.service)),
            false => Ok(addresses),
        }
    }

    fn report(&mut self, written: &Result<String, String>) {
        let text = match written {
            Ok(text) | Err(text) => text,
        };
        if *text == self.told {
            return;
        }
        if let Err(reason) = written {
            tracing::warn!(config_map = %self.place, reason, "the hosts file is not kept; trying on");
        }
        self.ready.note("dns hosts", text);
        text.clone_into(&mut self.told);
    }
}

/// Names of clusters, each with when it is to be removed if it does not come back.
#[derive(Default)]
struct Names(BTreeMap<String, Option<Instant>>);

impl Names {
    /// Takes over what is in the file, as another replica may have written it.
    fn remember(&mut self, text: &str, now: Instant) {
        let names = text.lines().filter(|line| !line.starts_with('#'));
        for name in names.filter_map(|line| line.split_whitespace().nth(1)) {
            self.add(name, Some(now + GONE));
        }
    }

    fn update(&mut self, connected: &BTreeSet<String>, now: Instant) {
        for (name, gone) in &mut self.0 {
            match connected.contains(name) {
                true => *gone = None,
                false => _ = gone.get_or_insert(now + GONE),
            }
        }
        self.0.retain(|_, gone| gone.is_none_or(|gone| now < gone));
        connected.iter().for_each(|name| self.add(name, None));
    }

    /// What is no DNS name cannot be asked for, and might be more than one line.
    fn add(&mut self, name: &str, gone: Option<Instant>) {
        if is_dns_name(name) && (self.0.len() < MAX_NAMES || self.0.contains_key(name)) {
            self.0.entry(name.to_owned()).or_insert(gone);
        }
    }

    fn next_removal(&self) -> Option<Instant> {
        self.0.values().flatten().min().copied()
    }

    fn text(&self, addresses: &[IpAddr]) -> String {
        let mut text = "# Kept by tunnel-send: the clusters that are connected.\n".to_owned();
        for name in self.0.keys() {
            for address in addresses {
                // Writing to a `String` cannot fail.
                let _ = writeln!(text, "{address} {name}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn known(names: &Names) -> Vec<&str> {
        names.0.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_name_goes_when_its_cluster_has_been_gone_for_a_while() {
        let (mut names, begin) = (Names::default(), Instant::now());
        let second = Duration::from_secs(1);
        names.update(&set(&["a", "b"]), begin);
        assert_eq!(names.next_removal(), None);
        names.update(&set(&["a"]), begin + second);
        assert_eq!(names.next_removal(), Some(begin + second + GONE));
        names.update(&set(&["a"]), begin + GONE);
        assert_eq!(known(&names), ["a", "b"]);
        names.update(&set(&["a"]), begin + second + GONE);
        assert_eq!(known(&names), ["a"]);
    }

    #[test]
    fn one_that_comes_back_stays() {
        let (mut names, begin) = (Names::default(), Instant::now());
        names.update(&set(&["a"]), begin);
        names.update(&set(&[]), begin);
        names.update(&set(&["a"]), begin + GONE / 2);
        assert_eq!(names.next_removal(), None);
        names.update(&set(&["a"]), begin + 2 * GONE);
        assert_eq!(known(&names), ["a"]);
    }

    #[test]
    fn the_file_of_another_replica_is_taken_over() {
        let addresses = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        let (mut first, begin) = (Names::default(), Instant::now());
        first.update(&set(&["a", "b.example"]), begin);
        let text = first.text(&addresses);
        assert!(text.ends_with("10.0.0.1 a\nfd00::1 a\n10.0.0.1 b.example\nfd00::1 b.example\n"));

        let mut second = Names::default();
        second.remember(&text, begin);
        second.update(&set(&["a"]), begin);
        assert_eq!(second.text(&addresses), text);
        assert_eq!(second.next_removal(), Some(begin + GONE));
    }

    #[test]
    fn what_is_no_name_is_left_out() {
        let mut names = Names::default();
        names.update(&set(&["a b", "x\n10.0.0.1 bank", "Upper", ""]), Instant::now());
        assert_eq!(known(&names), [""; 0]);
    }

    #[test]
    fn there_is_a_limit() {
        let all: BTreeSet<_> = (0..MAX_NAMES + 1).map(|number| format!("c{number}")).collect();
        let mut names = Names::default();
        names.update(&all, Instant::now());
        assert_eq!(names.0.len(), MAX_NAMES);
    }
}
