//! Tunnels that are lost: cut, or silent for ever.

use std::time::Duration;

use crate::clusters::{Clusters, Tunnel, mapping_address};
use crate::load::Load;
use crate::relay::Relay;

/// The outage that a cut may cause. It is stated as 500 ms; a busy machine gets the double.
const CUT: Duration = Duration::from_secs(1);

/// The same for a tunnel that falls silent, stated as 3 s.
const SILENT: Duration = Duration::from_millis(3500);

fn cut_of_the_only_tunnel(tunnel: Tunnel) {
    let clusters = Clusters::new(tunnel, 1);
    let send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &[]);
    let load = Load::start(&clusters.a, mapping_address(0));
    for round in 1..=5 {
        std::thread::park_timeout(Duration::from_millis(700));
        assert_eq!(clusters.wire.cut(false), 1);
        send.until_metric("isthmus_sessions_begun_total", f64::from(1 + round));
    }
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.slowest < CUT, "{:?}", outcome.slowest);
    receive.terminate();
    send.terminate();
}

#[test]
fn cut_of_the_only_tunnel_over_grpc() {
    cut_of_the_only_tunnel(Tunnel::Grpc);
}

#[test]
fn cut_of_the_only_tunnel_over_ssh() {
    cut_of_the_only_tunnel(Tunnel::Ssh);
}

/// Only what was under way on the cut one, and cannot be sent again, may fail.
#[test]
fn cut_of_one_of_two_tunnels() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &["--connections=2"]);
    send.until_metric("isthmus_sessions", 2.0);
    let load = Load::start(&clusters.a, mapping_address(0));
    let (mut begun, mut streams) = (2.0, 0.0);
    for _ in 0..5 {
        std::thread::park_timeout(Duration::from_millis(500));
        // At 200 requests a second one is hardly ever under way, but streams are.
        streams += send.metric("isthmus_requests_in_flight");
        assert_eq!(clusters.wire.cut(true), 1);
        begun += 1.0;
        send.until_metric("isthmus_sessions_begun_total", begun);
        send.until_metric("isthmus_sessions", 2.0);
    }
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.broken_off.len() as f64 <= streams, "{:?}", outcome.broken_off);
    receive.terminate();
    send.terminate();
}

fn silence(tunnel: Tunnel, fall_silent: impl Fn(&Relay) -> usize) {
    let clusters = Clusters::new(tunnel, 1);
    let send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &[]);
    let load = Load::start(&clusters.a, mapping_address(0));
    std::thread::park_timeout(Duration::from_millis(500));
    assert_eq!(fall_silent(&clusters.wire), 1);
    send.until_metric("isthmus_sessions_begun_total", 2.0);
    std::thread::park_timeout(Duration::from_millis(500));
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    assert!(outcome.slowest < SILENT, "{:?}", outcome.slowest);
    receive.terminate();
    send.terminate();
}

#[test]
fn silence_over_grpc() {
    silence(Tunnel::Grpc, Relay::swallow);
}

#[test]
fn silence_over_ssh() {
    silence(Tunnel::Ssh, Relay::swallow);
}

/// Only one of the two can notice by itself.
#[test]
fn silence_of_one_end() {
    silence(Tunnel::Grpc, |wire| wire.swallow_from(0));
    silence(Tunnel::Grpc, |wire| wire.swallow_from(1));
}

/// A slow wire is not a lost one.
#[test]
fn a_slow_wire() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &[]);
    clusters.wire.slow_down(Duration::from_millis(20), 1 << 20);
    let load = Load::start(&clusters.a, mapping_address(0));
    std::thread::park_timeout(Duration::from_secs(4));
    load.end().assert_all_answered();
    assert_eq!(send.metric("isthmus_sessions_begun_total"), 1.0, "sessions come and go");
    receive.terminate();
    send.terminate();
}
