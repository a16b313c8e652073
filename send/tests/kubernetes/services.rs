//! The Services follow the config.

use std::collections::BTreeMap;
use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use crate::cluster::{CONFIG, Cluster, config, until};
use crate::harness::Place;
use crate::start::{Send, refusal};

on_each_server!({
    the_ports_follow_the_mappings
    node_ports_are_those_of_the_config
    a_mapping_with_a_name_has_a_service
    what_others_manage_is_told_and_left_alone
    a_field_that_somebody_takes_over_is_told_and_left_to_them
    a_service_that_is_made_later_is_taken_up
    what_somebody_deletes_comes_back
    one_replica_writes_and_another_takes_over
    five_hundred_services_are_written
});

const MANAGE: &[&str] = &["--manage-services"];

/// The TCP ports of the Service by their name.
fn ports(cluster: &Cluster, name: &str) -> BTreeMap<String, ServicePort> {
    let service = cluster.find::<Service>(name);
    let ports = service.and_then(|service| service.spec?.ports).unwrap_or_default();
    ports.into_iter().map(|port| (port.name.clone().unwrap_or_default(), port)).collect()
}

fn until_ports(cluster: &Cluster, name: &str, expected: &[&str]) {
    until(&format!("the ports {expected:?} of {name}"), || {
        ports(cluster, name).keys().map(String::as_str).eq(expected.iter().copied()).then_some(())
    });
}

fn named(names: &[(u16, &str)]) -> Value {
    let mappings = names
        .iter()
        .map(|(port, name)| json!({ "port": port, "remoteIP": "http://demo:8080", "name": name }));
    json!({ "data": mappings.collect::<Vec<_>>() })
}

fn the_ports_follow_the_mappings(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&config([8050]));
    let send = Send::start_with(cluster, MANAGE);
    until_ports(cluster, "tunnel-send", &["m-8050", "tunnel"]);
    cluster.edit_config(&config([8051, 8052]));
    until_ports(cluster, "tunnel-send", &["m-8051", "m-8052", "tunnel"]);
    // What others do to their port stays.
    cluster.patch::<Service>("tunnel-send", &json!({ "metadata": { "labels": { "a": "b" } } }));
    cluster.edit_config(&config([]));
    until_ports(cluster, "tunnel-send", &["tunnel"]);
    let service = cluster.find::<Service>("tunnel-send").unwrap();
    assert_eq!(service.metadata.labels.unwrap()["a"], "b");
    assert!(service.metadata.owner_references.is_none(), "the Service is not the bridge's");
    send.until_noted("note: services: this replica keeps them: 0 ports, 0 Services\n");
}

fn node_ports_are_those_of_the_config(cluster: &mut Cluster) {
    cluster.create_service();
    let node_port = |port: u16| json!({ "port": 8050, "remoteIP": "http://a", "nodePort": port });
    // From the band that a cluster does not take from by itself before the rest is used up.
    let free = 30_000 + (std::process::id() % 86) as u16;
    cluster.create_config(&json!({ "data": [node_port(free)] }));
    let send = Send::start_with(cluster, MANAGE);
    until("that port of the nodes", || {
        let ports = ports(cluster, "tunnel-send");
        (ports.get("m-8050")?.node_port == Some(free.into())).then_some(())
    });
    // Those that the cluster does not give keep no other mapping out.
    let other = json!({ "port": 8051, "remoteIP": "http://a" });
    let refused = (0..20)
        .map(|n| json!({ "port": 8052 + n, "remoteIP": "http://a", "nodePort": 81 + n }))
        .chain([node_port(80), other.clone()]);
    cluster.edit_config(&json!({ "data": refused.collect::<Vec<_>>() }));
    until_ports(cluster, "tunnel-send", &["m-8051", "tunnel"]);
    let page = send.until_noted("port 8050: ");
    assert!(page.contains("nodePort") && page.contains("range"), "{page}");
    until("an event", || cluster.notes("ServicesRefused").pop());
    // One that another port of the Service has keeps no other out either, nor does one that is asked
    // for later.
    let taken = json!({ "port": 8052, "remoteIP": "http://a", "nodePort": free });
    cluster
        .edit_config(&json!({ "data": [json!({ "port": 8050, "remoteIP": "http://a" }), other] }));
    until_ports(cluster, "tunnel-send", &["m-8050", "m-8051", "tunnel"]);
    cluster.edit_config(&json!({ "data": [node_port(free), other] }));
    until("that port of the nodes", || {
        let ports = ports(cluster, "tunnel-send");
        (ports.get("m-8050")?.node_port == Some(free.into())).then_some(())
    });
    send.until_noted("this replica keeps them: 2 ports, 0 Services\n");
    let tunnel_port = ports(cluster, "tunnel-send")["tunnel"].node_port.unwrap();
    cluster.edit_config(&json!({ "data": [node_port(tunnel_port as u16), other, taken] }));
    until_ports(cluster, "tunnel-send", &["m-8051", "m-8052", "tunnel"]);
    send.until_noted("Duplicate value");
}

fn a_mapping_with_a_name_has_a_service(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&named(&[(8050, "orders"), (8051, "billing")]));
    let _send = Send::start_with(cluster, MANAGE);
    until_ports(cluster, "orders", &["m-8050"]);
    until_ports(cluster, "billing", &["m-8051"]);
    let orders = cluster.find::<Service>("orders").unwrap();
    let spec = orders.spec.unwrap();
    assert_eq!(spec.selector.unwrap()["app"], "tunnel-send");
    let owner = &orders.metadata.owner_references.unwrap()[0];
    let config = cluster.find::<ConfigMap>(CONFIG).unwrap();
    assert_eq!((&*owner.name, Some(&owner.uid)), (CONFIG, config.metadata.uid.as_ref()));

    // A new name for the port, the old name for a new port.
    cluster.edit_config(&named(&[(8050, "carts"), (8052, "orders")]));
    until_ports(cluster, "carts", &["m-8050"]);
    until_ports(cluster, "orders", &["m-8052"]);
    until("an end of billing", || cluster.find::<Service>("billing").is_none().then_some(()));
    until_ports(cluster, "tunnel-send", &["m-8050", "m-8052", "tunnel"]);
}

fn what_others_manage_is_told_and_left_alone(cluster: &mut Cluster) {
    cluster.create_service();
    let foreign: Service = cluster.create(json!({
        "metadata": { "name": "orders" },
        "spec": { "selector": { "app": "else" }, "ports": [{ "port": 80, "protocol": "TCP" }] },
    }));
    let http = json!({ "name": "http", "port": 8051, "protocol": "TCP" });
    let tunnel = json!({ "name": "tunnel", "port": 9000, "protocol": "TCP" });
    let patch = json!({ "spec": { "ports": [tunnel, http] } });
    cluster.patch::<Service>("tunnel-send", &patch);
    cluster.create_config(&named(&[(8050, "orders"), (8051, "carts")]));
    let send = Send::start_with(cluster, MANAGE);
    until_ports(cluster, "tunnel-send", &["http", "m-8050", "tunnel"]);
    until_ports(cluster, "carts", &["m-8051"]);
    let page = send.until_noted("mapping \"orders\": ");
    assert!(page.contains("port 8051: the Service \"tunnel-send\" has it"), "{page}");
    let note = until("an event", || cluster.notes("ServicesRefused").pop());
    assert!(note.contains("\"orders\"") && note.contains("8051"), "{note}");
    cluster.edit_config(&config([8052]));
    until_ports(cluster, "tunnel-send", &["http", "m-8052", "tunnel"]);
    until("an end of carts", || cluster.find::<Service>("carts").is_none().then_some(()));
    let after = cluster.find::<Service>("orders").unwrap();
    assert_eq!(after.metadata.resource_version, foreign.metadata.resource_version);
}

fn a_field_that_somebody_takes_over_is_told_and_left_to_them(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&named(&[(8050, "orders"), (8051, "carts")]));
    let send = Send::start_with(cluster, MANAGE);
    until_ports(cluster, "tunnel-send", &["m-8050", "m-8051", "tunnel"]);
    until_ports(cluster, "orders", &["m-8050"]);
    let mut all: Vec<_> = ports(cluster, "tunnel-send").into_values().collect();
    let changed = all.iter_mut().filter(|port| port.port == 8050);
    changed.for_each(|port| port.target_port = Some(IntOrString::Int(1)));
    cluster.patch::<Service>("tunnel-send", &json!({ "spec": { "ports": all } }));
    send.until_noted("port 8050: somebody else has set its targetPort");
    let selector = json!({ "spec": { "selector": { "app": "else" } } });
    cluster.patch::<Service>("orders", &selector);
    let page = send.until_noted("conflict with ");
    assert!(page.contains("kubectl-edit"), "{page}");

    cluster.edit_config(&named(&[(8050, "orders"), (8052, "carts")]));
    until_ports(cluster, "tunnel-send", &["m-8050", "m-8052", "tunnel"]);
    until_ports(cluster, "carts", &["m-8052"]);
    let left = ports(cluster, "tunnel-send").remove("m-8050").unwrap();
    assert_eq!(left.target_port, Some(IntOrString::Int(1)));
    let orders = cluster.find::<Service>("orders").unwrap().spec.unwrap();
    assert_eq!(orders.selector.unwrap()["app"], "else");
    if let Some(server) = &cluster.server {
        let patches = server.requests("patch", "services");
        assert!(patches < 15, "{patches} requests");
    }
}

fn a_service_that_is_made_later_is_taken_up(cluster: &mut Cluster) {
    cluster.create_config(&named(&[(8050, "orders")]));
    let send = Send::start_with(cluster, MANAGE);
    send.until_noted("there is no Service \"tunnel-send\"");
    assert!(cluster.find::<Service>("tunnel-send").is_none());
    cluster.create_service();
    until_ports(cluster, "tunnel-send", &["m-8050", "tunnel"]);
    until_ports(cluster, "orders", &["m-8050"]);
}

fn what_somebody_deletes_comes_back(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&named(&[(8050, "orders")]));
    let send = Send::start_with(cluster, MANAGE);
    until_ports(cluster, "orders", &["m-8050"]);
    let first = cluster.find::<Service>("orders").unwrap().metadata.uid;
    cluster.delete::<Service>("orders");
    until("a new Service", || {
        cluster.find::<Service>("orders").filter(|found| found.metadata.uid != first)
    });
    // Without the ConfigMap, what it owned is left to the cluster.
    cluster.delete::<ConfigMap>(CONFIG);
    send.until_noted("the ConfigMap is gone");
    cluster.delete::<Service>("orders");
    cluster.create::<Service>(json!({
        "metadata": { "name": "bystander" },
        "spec": { "ports": [{ "port": 80, "protocol": "TCP" }] },
    }));
    send.until_noted("the ConfigMap is gone");
    assert!(cluster.find::<Service>("orders").is_none());
    cluster.create_config(&named(&[(8050, "orders")]));
    until_ports(cluster, "orders", &["m-8050"]);
}

fn one_replica_writes_and_another_takes_over(cluster: &mut Cluster) {
    let holder =
        |cluster: &Cluster| cluster.find::<Lease>("tunnel-send-services")?.spec?.holder_identity;
    cluster.create_service();
    cluster.create_config(&config([8050]));
    let mut first = Send::start_with(cluster, MANAGE);
    first.until_noted("this replica keeps them: 1 ports");
    let second = Send::start_with(cluster, MANAGE);
    second.until_noted("another replica keeps them");
    let before = until("a holder", || holder(cluster));
    cluster.edit_config(&config([8051]));
    until_ports(cluster, "tunnel-send", &["m-8051", "tunnel"]);
    assert_eq!(holder(cluster).as_ref(), Some(&before));

    let begun = Instant::now();
    first.end.stop();
    second.until_noted("this replica keeps them: 1 ports");
    println!("another replica took over after {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 12, "the Lease was not given back");
    assert_ne!(holder(cluster), Some(before));
    cluster.edit_config(&config([8052]));
    until_ports(cluster, "tunnel-send", &["m-8052", "tunnel"]);
}

/// Prints how long that takes.
fn five_hundred_services_are_written(cluster: &mut Cluster) {
    cluster.create_service();
    cluster.create_config(&config([8050]));
    let send = Send::start_with(cluster, MANAGE);
    until_ports(cluster, "tunnel-send", &["m-8050", "tunnel"]);

    let begun = Instant::now();
    cluster.edit_config(&config(20_000..20_500));
    until("500 ports", || (ports(cluster, "tunnel-send").len() == 501).then_some(()));
    println!("from the edit to 500 ports of the Service: {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 5);

    // A real server has 254 addresses for Services unless it is told otherwise.
    let count = if cluster.server.is_some() { 500 } else { 200 };
    let names: Vec<_> = (0..count).map(|number| format!("svc-{number}")).collect();
    let names: Vec<_> = (20_000..).zip(names.iter().map(String::as_str)).collect();
    let begun = Instant::now();
    cluster.edit_config(&named(&names));
    send.until_noted(&format!("this replica keeps them: {count} ports, {count} Services\n"));
    until("the Services", || (cluster.list::<Service>().len() == count + 1).then_some(()));
    println!("from the edit to {count} Services more: {:?}", begun.elapsed());

    cluster.edit_config(&config([]));
    until("an end of them", || (cluster.list::<Service>().len() == 1).then_some(()));
}

#[test]
fn a_lease_that_is_not_renewed_is_taken_over() {
    let cluster = Cluster::in_process();
    cluster.create_service();
    cluster.create_config(&config([8050]));
    cluster.create::<Lease>(json!({
        "metadata": { "name": "tunnel-send-services" },
        "spec": { "holderIdentity": "dead", "leaseDurationSeconds": 2 },
    }));
    let send = Send::start_with(&cluster, MANAGE);
    send.until_noted("another replica keeps them");
    until_ports(&cluster, "tunnel-send", &["m-8050", "tunnel"]);
    let lease = cluster.find::<Lease>("tunnel-send-services").unwrap().spec.unwrap();
    assert_eq!(lease.lease_transitions, Some(1));
}

#[test]
fn without_the_lease_nothing_is_written() {
    let mut cluster = Cluster::in_process();
    cluster.create_service();
    cluster.create_config(&config([8050]));
    cluster.server().faults().forbidden.push(("create", "leases"));
    let send = Send::start_with(&cluster, MANAGE);
    send.until_noted("another replica keeps them");
    cluster.edit_config(&config([8051]));
    send.until_open(8051);
    assert_eq!(cluster.server().requests("patch", "services"), 0);
}

#[test]
fn a_verb_that_is_missing_is_told() {
    for (verb, expected) in [
        ("list", r#"cannot list services: services is forbidden"#),
        ("watch", r#"resource "services", verb "watch""#),
        ("patch", r#"resource "services", verb "patch""#),
    ] {
        let mut cluster = Cluster::in_process();
        cluster.create_service();
        cluster.create_config(&config([8050]));
        cluster.server().faults().forbidden.push((verb, "services"));
        let send = Send::start_with(&cluster, MANAGE);
        send.until_noted(expected);
        assert!(send.is_open(8050));
        cluster.server().faults().forbidden.clear();
        // What was refused is tried again, or at once when the config changes.
        cluster.edit_config(&config([8051]));
        until_ports(&cluster, "tunnel-send", &["m-8051", "tunnel"]);
    }
}

#[test]
fn the_flag_needs_a_config_map_and_a_name() {
    let flags = ["tunnel-send", "--config=c", "--manage-services", "--tunnel-entry=http://a:1"];
    let error = refusal(flags.map(str::to_owned).into());
    assert!(error.contains("--config-map"), "{error}");
    let cluster = Cluster::in_process();
    let mut flags = cluster.flags(&Place::take());
    flags.push("--manage-services=Tunnel".to_owned());
    let error = refusal(flags);
    assert!(error.contains("--manage-services") && error.contains("a-z"), "{error}");
}
