//! The names of the connected clusters are in a hosts file for CoreDNS.

use clap::Parser;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use serde_json::json;
use tempfile::TempDir;
use tunnel_common::keys;
use tunnel_receive::app::App as ReceiveApp;
use tunnel_receive::args::ServeArgs as ReceiveArgs;
use tunnel_send::app::App as SendApp;
use tunnel_send::args::ServeArgs as SendArgs;

use crate::cluster::{Cluster, config, until};
use crate::harness::{End, Place, log};

on_each_server!({
    a_cluster_that_connects_has_a_name
    a_hosts_file_that_is_not_there_is_told
});

/// Where the tests have their tunnel.
const TUNNEL: u16 = 9000;

fn flags(cluster: &Cluster, place: &Place) -> Vec<String> {
    let mut flags = cluster.flags(place);
    flags.push(format!("--dns-hosts={}/hosts", cluster.namespace));
    flags
}

fn hosts(cluster: &Cluster) -> String {
    let map = cluster.find::<ConfigMap>("hosts");
    map.and_then(|map| map.data?.remove("hosts")).unwrap_or_default()
}

/// A `tunnel-receive` of the cluster `name` that dials `place`.
fn receive(cluster: &Cluster, place: &Place, keys: &TempDir, name: &str) -> End {
    let flags = [
        "tunnel-receive".to_owned(),
        format!("--config-map={}/{}", cluster.namespace, crate::cluster::CONFIG),
        format!("--kubeconfig={}", cluster.kubeconfig.display()),
        "--admin=127.0.0.1:0".to_owned(),
        format!("--keys={}", keys.path().join("keys/receive").display()),
        format!("--tunnel=grpc://{}", place.port(TUNNEL)),
        format!("--cluster={name}"),
    ];
    let args = ReceiveArgs::try_parse_from(flags).unwrap();
    End::start("receive", async move || ReceiveApp::build(&args).await).unwrap()
}

fn a_cluster_that_connects_has_a_name(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&config([8050]));
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": "hosts" } }));
    let (place, folder) = (Place::take(), tempfile::tempdir().unwrap());
    let names = [place.address.to_string()];
    keys::generate(&folder.path().join("keys"), &names, "shop-7").unwrap();
    let mut all = flags(cluster, &place);
    all.push(format!("--keys={}", folder.path().join("keys/send").display()));
    all.push(format!("--tunnel=grpc://{}", place.port(TUNNEL)));
    all.retain(|flag| !flag.starts_with("--tunnel-entry"));
    let args = SendArgs::try_parse_from(all).unwrap();
    log(&args);
    let _send = End::start("send", async move || SendApp::build(&args).await).unwrap();
    let mut receive = receive(cluster, &place, &folder, "shop-7");
    let address = cluster.find::<Service>("tunnel-send").unwrap().spec.unwrap().cluster_ip.unwrap();
    let line = format!("{address} shop-7\n");
    until("the name", || hosts(cluster).ends_with(&line).then_some(()));

    // It stays for a while, and what others write into the file does not.
    receive.stop();
    cluster.patch::<ConfigMap>("hosts", &json!({ "data": { "other": "10.0.0.9 else" } }));
    assert!(hosts(cluster).ends_with(&line));
}

fn a_hosts_file_that_is_not_there_is_told(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&config([8050]));
    let place = Place::take();
    let args = SendArgs::try_parse_from(flags(cluster, &place)).unwrap();
    log(&args);
    let send = End::start("send", async move || SendApp::without_tunnels(&args).await).unwrap();
    until("a note", || {
        let page = send.admin("/readyz").text();
        page.contains(&format!("there is no ConfigMap {}/hosts", cluster.namespace)).then_some(())
    });
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": "hosts" } }));
    until("a file", || hosts(cluster).starts_with("# Kept by tunnel-send").then_some(()));
}
