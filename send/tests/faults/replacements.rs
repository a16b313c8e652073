//! Replicas that are replaced, the new one up before the old one leaves, and ones that die.

use std::time::Duration;

use crate::clusters::{Clusters, SERVICE, Tunnel, mapping_address, tunnel_address};
use crate::load::Load;

/// How often each kind is replaced.
fn rounds() -> usize {
    std::env::var("ISTHMUS_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap())
}

fn receives_are_replaced(tunnel: Tunnel) {
    let clusters = Clusters::new(tunnel, 1);
    let send = clusters.send(0, &[]);
    let mut receives = vec![clusters.receive(0, &[]), clusters.receive(1, &[])];
    send.until_metric("isthmus_sessions", 2.0);
    let load = Load::start(&clusters.a, mapping_address(0));
    for round in 0..rounds() {
        receives.push(clusters.receive(2 + round, &[]));
        send.until_metric("isthmus_sessions", 3.0);
        receives.remove(0).terminate();
    }
    let sessions = send.metric("isthmus_sessions_begun_total");
    load.end().assert_all_answered();
    assert_eq!(sessions, (2 + rounds()) as f64, "sessions come and go");
}

#[test]
fn receives_are_replaced_over_grpc() {
    receives_are_replaced(Tunnel::Grpc);
}

#[test]
fn receives_are_replaced_over_ssh() {
    receives_are_replaced(Tunnel::Ssh);
}

/// The callers' balancer and the wire learn of each change as from Kubernetes: a new replica once
/// it is ready, an old one when it is told to end, and not at the same instant.
fn sends_are_replaced(tunnel: Tunnel) {
    let clusters = Clusters::new(tunnel, 1);
    let flags = ["--siblings=siblings:9000", "--drain-delay=300ms"];
    let lead_to = |numbers: &[usize]| {
        let ends: Vec<_> = numbers.iter().map(|n| tunnel_address(tunnel, *n)).collect();
        clusters.wire.lead_to(&ends);
        let ends: Vec<_> = numbers.iter().map(|n| mapping_address(*n)).collect();
        clusters.service.lead_to(&ends);
        clusters.set_siblings(numbers);
    };
    let mut numbers = vec![0, 1];
    lead_to(&numbers);
    let mut sends = vec![clusters.send(0, &flags), clusters.send(1, &flags)];
    let receives = [clusters.receive(0, &[]), clusters.receive(1, &[])];
    sends.iter().for_each(|send| send.until_metric("isthmus_sessions", 2.0));
    let load = Load::start(&clusters.a, SERVICE.parse().unwrap());
    for round in 0..rounds() {
        let number = (2 + round) % 8;
        // Ready, it takes requests before any tunnel has found it.
        sends.push(clusters.send(number, &flags));
        numbers.push(number);
        lead_to(&numbers);
        sends.last().unwrap().until_metric("isthmus_sessions", 2.0);
        let old = sends.remove(0);
        old.process.signal("TERM");
        numbers.remove(0);
        lead_to(&numbers);
        old.assert_ends();
    }
    load.end().assert_all_answered();
    drop(receives);
}

#[test]
fn sends_are_replaced_over_grpc() {
    sends_are_replaced(Tunnel::Grpc);
}

#[test]
fn sends_are_replaced_over_ssh() {
    sends_are_replaced(Tunnel::Ssh);
}

/// What was under way in the one that died may break off; nothing else fails.
#[test]
fn one_of_two_receives_dies() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let send = clusters.send(0, &[]);
    let mut receives = [clusters.receive(0, &[]), clusters.receive(1, &[])];
    send.until_metric("isthmus_sessions", 2.0);
    let load = Load::start(&clusters.a, mapping_address(0));
    std::thread::park_timeout(Duration::from_millis(500));
    receives[0].process.kill();
    send.until_metric("isthmus_sessions", 1.0);
    std::thread::park_timeout(Duration::from_millis(500));
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert_eq!(send.metric("isthmus_sessions_begun_total"), 2.0, "sessions come and go");
}

/// Its own callers lose what was under way; the balancer leads the others elsewhere.
#[test]
fn one_of_two_sends_dies() {
    let clusters = Clusters::new(Tunnel::Grpc, 2);
    clusters.set_siblings(&[0, 1]);
    clusters.service.lead_to(&[mapping_address(0), mapping_address(1)]);
    let flags = ["--siblings=siblings:9000"];
    let mut sends = [clusters.send(0, &flags), clusters.send(1, &flags)];
    let receives = [clusters.receive(0, &[]), clusters.receive(1, &[])];
    sends.iter().for_each(|send| send.until_metric("isthmus_sessions", 2.0));
    sends[0].process.kill();
    let load = Load::start(&clusters.a, SERVICE.parse().unwrap());
    std::thread::park_timeout(Duration::from_secs(2));
    load.end().assert_all_answered();
    sends[1].until_metric("isthmus_siblings", 0.0);
    assert_eq!(sends[1].metric("isthmus_sessions_begun_total"), 2.0, "sessions come and go");
    drop(receives);
}
