//! The config follows its ConfigMap.

use std::net::TcpStream;
use std::time::Instant;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use crate::cluster::{CONFIG, Cluster, config, until};
use crate::harness::{Origin, Place, get};
use crate::start::{Pair, Send};

on_each_server!({
    an_edit_opens_and_closes_ports
    a_broken_edit_changes_nothing_and_is_told_everywhere
    a_deleted_config_map_leaves_the_last_good_config
    a_key_that_goes_is_told
    an_edit_is_answered_within_a_second
    five_hundred_mappings_are_taken_up
});

fn an_edit_opens_and_closes_ports(cluster: &mut Cluster) {
    cluster.create_config(&config([8050]));
    let send = Send::start(cluster);
    send.until_open(8050);
    cluster.edit_config(&config([8051, 8052]));
    send.until_open(8051);
    send.until_open(8052);
    send.until_closed(8050);
    assert_eq!(send.end.metric("isthmus_config_applied_total"), 1);
    // What is not the config is no new config.
    cluster.patch::<ConfigMap>(CONFIG, &json!({ "data": { "other": "text" } }));
    cluster.edit_config(&config([8053]));
    send.until_open(8053);
    assert_eq!(send.end.metric("isthmus_config_applied_total"), 2);
}

fn a_broken_edit_changes_nothing_and_is_told_everywhere(cluster: &mut Cluster) {
    cluster.create_config(&config([8050]));
    let send = Send::start(cluster);
    let place = "config.json:1: data[0].port";
    for round in 1..3 {
        cluster.edit_config(&json!({ "data": [
            { "port": "80x", "remoteIP": "http://demo" },
            { "port": 8051, "remoteIP": "http://demo", "timeout": round },
        ] }));
        send.until_noted(place);
        until("an event for each edit", || {
            (cluster.notes("ConfigRefused").len() == round).then_some(())
        });
        assert!(cluster.notes("ConfigRefused").iter().all(|note| note.contains(place)));
    }
    assert_eq!(send.end.metric("isthmus_config_refused_total"), 2);
    assert!(send.is_open(8050) && !send.is_open(8051));
    cluster.edit_config(&config([8052]));
    send.until_open(8052);
    send.until_quiet();
}

fn a_deleted_config_map_leaves_the_last_good_config(cluster: &mut Cluster) {
    cluster.create_config(&config([8050]));
    let send = Send::start(cluster);
    cluster.delete::<ConfigMap>(CONFIG);
    send.until_noted("does not exist");
    assert!(send.is_open(8050));
    cluster.create_config(&config([8050]));
    send.until_quiet();
    cluster.edit_config(&config([8051]));
    send.until_open(8051);
}

fn a_key_that_goes_is_told(cluster: &mut Cluster) {
    cluster.create_config(&config([8050]));
    let send = Send::start(cluster);
    let data = json!({ "data": { "config.json": null, "config.jsn": "{}" } });
    cluster.patch::<ConfigMap>(CONFIG, &data);
    send.until_noted(r#"no key "config.json", only config.jsn"#);
    assert!(send.is_open(8050));
}

/// Prints how long it takes from the edit until the new port gives the target's answer.
fn an_edit_is_answered_within_a_second(cluster: &mut Cluster) {
    const ROUNDS: u16 = 21;
    let origin = Origin::saying("hello");
    let to_origin = |ports: &[u16]| {
        let target = format!("http://{}", origin.address());
        let mappings = ports.iter().map(|port| json!({ "port": port, "remoteIP": target }));
        json!({ "data": mappings.collect::<Vec<_>>() })
    };
    cluster.create_config(&to_origin(&[8050]));
    let pair = Pair::start(cluster, &[]);
    let answered = |port| {
        let reply = is_open(&pair.place, port).then(|| get(pair.place.port(port), "/"))?;
        (reply.status == 200 && reply.text() == "hello").then_some(())
    };
    until("the first answer", || answered(8050));
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            let begun = Instant::now();
            cluster.edit_config(&to_origin(&[8050, 20_000 + round]));
            until("an answer", || answered(20_000 + round));
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("from the edit to the answer: {median:?} at the median, {worst:?} at most");
    assert!(median.as_secs() < 1, "{times:?}");
}

/// Prints how long that takes.
fn five_hundred_mappings_are_taken_up(cluster: &mut Cluster) {
    cluster.create_config(&config([8050]));
    let send = Send::start(cluster);
    let begun = Instant::now();
    cluster.edit_config(&config(20_000..20_500));
    (20_000..20_500).for_each(|port| send.until_open(port));
    println!("from the edit to 500 open ports: {:?}", begun.elapsed());
    assert!(begun.elapsed().as_secs() < 5);
}

/// Whether something listens.
pub fn is_open(place: &Place, port: u16) -> bool {
    TcpStream::connect(place.port(port)).is_ok()
}
