//! The pods of a Service are known from its EndpointSlices.

use std::collections::BTreeSet;

use clap::Parser;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use tokio::sync::watch;
use tunnel_common::control::Control;
use tunnel_common::keys;
use tunnel_common::kubernetes::{Cluster as Api, siblings};
use tunnel_send::app::App;
use tunnel_send::args::ServeArgs;

use crate::cluster::{CONFIG, Cluster, config, until};
use crate::harness::{End, Place, log};

on_each_server!({
    ready_pods_are_siblings
    slices_of_other_services_do_not_count
});

/// Follows the Service `tunnel-peers`.
struct Scene {
    addresses: watch::Receiver<BTreeSet<String>>,
    _control: Control,
}

impl Scene {
    fn new(cluster: &Cluster) -> Self {
        let control = Control::start().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let kubeconfig = cluster.kubeconfig.clone().into_os_string();
        let connect = async move { Api::connect(Some(&kubeconfig)).await.unwrap() };
        let api = runtime.block_on(control.run(connect)).unwrap();
        let (addresses, follow) = siblings::follow(api, &cluster.namespace, "tunnel-peers");
        control.spawn("siblings", follow);
        Self { addresses, _control: control }
    }

    fn until(&self, expected: &[&str]) {
        let expected = expected.iter().map(|&address| address.to_owned()).collect();
        until("the siblings", || (*self.addresses.borrow() == expected).then_some(()));
    }
}

fn slice(cluster: &Cluster, name: &str, service: &str, endpoints: &Value) {
    cluster.create::<EndpointSlice>(json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/service-name": service } },
        "addressType": "IPv4",
        "endpoints": endpoints,
    }));
}

fn ready_pods_are_siblings(cluster: &mut Cluster) {
    slice(
        cluster,
        "one",
        "tunnel-peers",
        &json!([
            { "addresses": ["10.1.0.1"], "conditions": { "ready": true } },
            { "addresses": ["10.1.0.2"], "conditions": { "ready": false } },
            { "addresses": ["10.1.0.3"] },
        ]),
    );
    let scene = Scene::new(cluster);
    scene.until(&["10.1.0.1", "10.1.0.3"]);
    slice(cluster, "two", "tunnel-peers", &json!([{ "addresses": ["10.1.0.4"] }]));
    scene.until(&["10.1.0.1", "10.1.0.3", "10.1.0.4"]);
    let endpoints = json!([{ "addresses": ["10.1.0.2"], "conditions": { "ready": true } }]);
    cluster.patch::<EndpointSlice>("one", &json!({ "endpoints": endpoints }));
    scene.until(&["10.1.0.2", "10.1.0.4"]);
    cluster.delete::<EndpointSlice>("two");
    scene.until(&["10.1.0.2"]);
}

fn slices_of_other_services_do_not_count(cluster: &mut Cluster) {
    slice(cluster, "other", "orders", &json!([{ "addresses": ["10.1.0.9"] }]));
    slice(cluster, "ours", "tunnel-peers", &json!([{ "addresses": ["10.1.0.1"] }]));
    let scene = Scene::new(cluster);
    scene.until(&["10.1.0.1"]);
    let labels = json!({ "metadata": { "labels": { "kubernetes.io/service-name": "orders" } } });
    cluster.patch::<EndpointSlice>("ours", &labels);
    scene.until(&[]);
}

#[test]
fn an_outage_leaves_the_siblings_as_they_were() {
    let mut cluster = Cluster::in_process();
    slice(&cluster, "one", "tunnel-peers", &json!([{ "addresses": ["10.1.0.1"] }]));
    let scene = Scene::new(&cluster);
    scene.until(&["10.1.0.1"]);
    cluster.server().restart();
    slice(&cluster, "two", "tunnel-peers", &json!([{ "addresses": ["10.1.0.2"] }]));
    scene.until(&["10.1.0.1", "10.1.0.2"]);
    assert_eq!(cluster.server().requests("list", "endpointslices"), 1);
}

/// Only in this process: a real server takes no loopback addresses for pods.
#[test]
fn replicas_find_each_other() {
    let cluster = Cluster::in_process();
    cluster.create::<ConfigMap>(json!({
        "metadata": { "name": CONFIG }, "data": { "config.json": config([]).to_string() },
    }));
    let places = [Place::take(), Place::take()];
    let addresses = places.each_ref().map(|place| json!({ "addresses": [place.address] }));
    slice(&cluster, "pods", "tunnel-peers", &json!(addresses));
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    keys::generate(&keys, &["tunnel.example".to_owned()], "b").unwrap();
    let replicas = places.each_ref().map(|place| {
        let mut flags = cluster.flags(place);
        flags.extend([
            format!("--keys={}", keys.join("send").display()),
            format!("--tunnel=grpc://{}", place.port(9000)),
            "--sibling-service=tunnel-peers:9000".to_owned(),
        ]);
        let args = ServeArgs::try_parse_from(flags).unwrap();
        log(&args);
        End::start("send", async move || App::build(&args).await).unwrap()
    });
    for replica in &replicas {
        until("the sibling", || (replica.metric("isthmus_siblings ") == 1).then_some(()));
    }
}
