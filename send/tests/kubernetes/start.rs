//! A `tunnel-send` that follows a ConfigMap, and how it refuses to start.

use std::net::TcpListener;

use clap::Parser;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tempfile::TempDir;
use tunnel_common::keys;
use tunnel_receive::app::App as ReceiveApp;
use tunnel_receive::args::ServeArgs as ReceiveArgs;
use tunnel_send::app::App;
use tunnel_send::args::ServeArgs;

use crate::cluster::{CONFIG, Cluster, config, until};
use crate::config_map::is_open;
use crate::harness::{End, Place, log};

on_each_server!({
    a_config_map_that_is_not_there_is_told
    a_key_that_is_not_there_is_told
    a_broken_config_is_told
});

/// A `tunnel-send` at work, without tunnels.
pub struct Send {
    pub end: End,
    pub place: Place,
}

impl Send {
    pub fn start(cluster: &Cluster) -> Self {
        Self::start_with(cluster, &[])
    }

    /// With further flags.
    pub fn start_with(cluster: &Cluster, flags: &[&str]) -> Self {
        let place = Place::take();
        let mut all = cluster.flags(&place);
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let end = start(all).unwrap();
        Self { end, place }
    }

    pub fn is_open(&self, port: u16) -> bool {
        is_open(&self.place, port)
    }

    pub fn until_open(&self, port: u16) {
        until("an open port", || self.is_open(port).then_some(()));
    }

    pub fn until_closed(&self, port: u16) {
        until("a closed port", || (!self.is_open(port)).then_some(()));
    }

    /// Waits until `/readyz` says that, and takes what it says.
    pub fn until_noted(&self, text: &str) -> String {
        until(text, || {
            let page = self.end.admin("/readyz").text();
            page.contains(text).then_some(page)
        })
    }

    /// Waits until `/readyz` complains of nothing.
    pub fn until_quiet(&self) {
        until("a clean /readyz", || {
            let page = self.end.admin("/readyz").text();
            (!page.contains("not up to date")).then_some(())
        });
    }
}

/// Both ends, with a tunnel between them.
pub struct Pair {
    pub send: End,
    pub receive: End,
    pub place: Place,
    _keys: TempDir,
}

impl Pair {
    /// The name that the keys of `tunnel-receive` prove.
    pub const CLUSTER: &str = "shop-7";

    /// With further flags for `tunnel-send`. Returns before the tunnel is up.
    pub fn start(cluster: &Cluster, flags: &[&str]) -> Self {
        let (place, folder) = (Place::take(), tempfile::tempdir().unwrap());
        let keys = folder.path().join("keys");
        keys::generate(&keys, &[place.address.to_string()], Self::CLUSTER).unwrap();
        let tunnel = format!("--tunnel=grpc://{}", place.port(9000));

        let mut all = cluster.flags(&place);
        all.retain(|flag| {
            !flag.starts_with("--tunnel-entry") && !flag.starts_with("--connect-wait")
        });
        all.extend([format!("--keys={}", keys.join("send").display()), tunnel.clone()]);
        all.extend(flags.iter().map(|&flag| flag.to_owned()));
        let args = ServeArgs::try_parse_from(all).unwrap();
        log(&args);
        let send = End::start("send", async move || App::build(&args).await).unwrap();

        let keys = format!("--keys={}", keys.join("receive").display());
        let (source, admin) = (cluster.source(), "--admin=127.0.0.1:0".to_owned());
        let all = ["tunnel-receive".to_owned(), admin, keys, tunnel].into_iter().chain(source);
        let args = ReceiveArgs::try_parse_from(all).unwrap();
        let receive = End::start("receive", async move || ReceiveApp::build(&args).await).unwrap();
        Self { send, receive, place, _keys: folder }
    }
}

fn start(flags: Vec<String>) -> anyhow::Result<End> {
    let args = ServeArgs::try_parse_from(flags)?;
    log(&args);
    End::start("send", async move || App::without_tunnels(&args).await)
}

/// Why it does not start.
pub fn refusal(flags: Vec<String>) -> String {
    let error = start(flags).err().expect("a refusal");
    format!("{error:#}")
}

fn a_config_map_that_is_not_there_is_told(cluster: &mut Cluster) {
    let error = refusal(cluster.flags(&Place::take()));
    let name = format!("ConfigMap {}/{CONFIG}:config.json: it does not exist", cluster.namespace);
    assert!(error.contains(&name) && !error.contains('\n'), "{error}");
}

fn a_key_that_is_not_there_is_told(cluster: &mut Cluster) {
    cluster.create::<ConfigMap>(json!({ "metadata": { "name": CONFIG }, "data": { "a": "{}" } }));
    let error = refusal(cluster.flags(&Place::take()));
    assert!(error.contains(r#"it has no key "config.json", only a"#), "{error}");
}

fn a_broken_config_is_told(cluster: &mut Cluster) {
    cluster.create_config(&json!({ "data": 7 }));
    let error = refusal(cluster.flags(&Place::take()));
    assert!(error.contains("config.json:1: data"), "{error}");
}

#[test]
fn a_verb_that_is_forbidden_is_named() {
    let mut cluster = Cluster::in_process();
    cluster.create_config(&config([8050]));
    cluster.server().faults().forbidden.push(("list", "configmaps"));
    let error = refusal(cluster.flags(&Place::take()));
    assert!(error.contains("cannot list configmaps: "), "{error}");
    assert!(error.contains(r#"resource "configmaps", verb "list""#), "{error}");
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_server_that_cannot_be_reached_is_named() {
    let mut cluster = Cluster::in_process();
    cluster.server().stop();
    let error = refusal(cluster.flags(&Place::take()));
    let server = format!("http://{}", cluster.server().address());
    assert!(error.contains(&server) && error.contains("refused"), "{error}");
}

#[test]
fn a_server_that_does_not_answer_is_named() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let cluster = Cluster::in_process();
    let text = std::fs::read_to_string(&cluster.kubeconfig).unwrap();
    let server = cluster.server.as_ref().unwrap().address().to_string();
    let address = silent.local_addr().unwrap().to_string();
    std::fs::write(&cluster.kubeconfig, text.replace(&server, &address)).unwrap();
    let error = refusal(cluster.flags(&Place::take()));
    assert!(error.contains("did not answer within 5 s"), "{error}");
}

#[test]
fn without_a_cluster_it_says_what_was_tried() {
    let flags = ["tunnel-send", "--config-map=a/b", "--kubeconfig=", "--tunnel-entry=http://a:1"];
    let error = refusal(flags.map(str::to_owned).into());
    assert!(error.contains("KUBECONFIG") && error.contains("service account"), "{error}");

    let flags =
        ["tunnel-send", "--config-map=a/b", "--kubeconfig=/no/file", "--tunnel-entry=http://a:1"];
    let error = refusal(flags.map(str::to_owned).into());
    assert!(error.contains("the kubeconfig /no/file: "), "{error}");
}
