//! The names of the connected clusters are in a hosts file for CoreDNS.

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use serde_json::json;

use crate::cluster::{Cluster, config, until};
use crate::start::{Pair, Send};

on_each_server!({
    a_cluster_that_connects_has_a_name
    a_hosts_file_that_is_not_there_is_told
});

fn flag(cluster: &Cluster) -> String {
    format!("--dns-hosts={}/hosts", cluster.namespace)
}

fn hosts(cluster: &Cluster) -> String {
    let map = cluster.find::<ConfigMap>("hosts");
    map.and_then(|map| map.data?.remove("hosts")).unwrap_or_default()
}

fn a_cluster_that_connects_has_a_name(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&config([8050]));
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": "hosts" } }));
    let mut pair = Pair::start(cluster, &[&flag(cluster)]);
    let address = cluster.find::<Service>("tunnel-send").unwrap().spec.unwrap().cluster_ip.unwrap();
    let line = format!("{address} {}\n", Pair::CLUSTER);
    until("the name", || hosts(cluster).ends_with(&line).then_some(()));

    // It stays for a while.
    pair.receive.stop();
    until("the end of the tunnel", || (pair.send.tunnels() == 0).then_some(()));
    cluster.delete::<ConfigMap>("hosts");
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": "hosts" } }));
    until("the name again", || hosts(cluster).ends_with(&line).then_some(()));
}

fn a_hosts_file_that_is_not_there_is_told(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&config([8050]));
    let send = Send::start_with(cluster, &[&flag(cluster)]);
    send.until_noted(&format!("there is no ConfigMap {}/hosts", cluster.namespace));
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": "hosts" } }));
    until("a file", || hosts(cluster).starts_with("# Kept by tunnel-send").then_some(()));
}
