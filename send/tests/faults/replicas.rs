//! Several replicas of both ends behind one address.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::clusters::{Clusters, Tunnel, mapping_address, tunnel_address};
use crate::harness::caller::get;
use crate::harness::wait::until;
use crate::load::Load;

/// How long it may take until each receive has a tunnel to each send.
const COVERED: Duration = Duration::from_secs(5);

fn every_receive_finds_every_send(tunnel: Tunnel) {
    let clusters = Clusters::new(tunnel, 3);
    clusters.set_siblings(&[0, 1, 2]);
    let flags = ["--siblings=siblings:9000"];
    let mut sends: Vec<_> = (0..3).map(|number| clusters.send(number, &flags)).collect();
    let begun = Instant::now();
    let receives: Vec<_> = (0..3).map(|number| clusters.receive(number, &[])).collect();
    sends.iter().for_each(|send| send.until_metric("isthmus_sessions", 3.0));
    println!("covered after {:?}", begun.elapsed());
    assert!(begun.elapsed() < COVERED, "{:?}", begun.elapsed());

    sends.remove(0).terminate();
    let begun = Instant::now();
    let new = clusters.send(3, &flags);
    clusters.wire.lead_to(&[1, 2, 3].map(|number| tunnel_address(tunnel, number)));
    clusters.set_siblings(&[1, 2, 3]);
    new.until_metric("isthmus_sessions", 3.0);
    sends.push(new);
    println!("covered again after {:?}", begun.elapsed());
    assert!(begun.elapsed() < COVERED, "{:?}", begun.elapsed());
    sends.iter().for_each(|send| send.until_metric("isthmus_sessions", 3.0));
    drop(receives);
}

#[test]
fn every_receive_finds_every_send_over_grpc() {
    every_receive_finds_every_send(Tunnel::Grpc);
}

#[test]
fn every_receive_finds_every_send_over_ssh() {
    every_receive_finds_every_send(Tunnel::Ssh);
}

/// The second replica has no tunnel, and no receive can reach it.
#[test]
fn a_replica_without_a_tunnel_uses_a_siblings() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    clusters.set_siblings(&[0, 1]);
    let flags = ["--siblings=siblings:9000"];
    let (first, second) = (clusters.send(0, &flags), clusters.send(1, &flags));
    let _receive = clusters.receive(0, &[]);
    first.until_metric("isthmus_sessions", 1.0);
    let load = Load::start(&clusters.a, mapping_address(1));
    std::thread::park_timeout(Duration::from_secs(2));
    load.end().assert_all_answered();
    assert!(first.metric("isthmus_requests_relayed_total") > 0.0);
    assert_eq!(second.metric("isthmus_sessions"), 0.0);

    // With nothing in reach, both wait for a tunnel, and neither sends the other's request back.
    clusters.wire.lead_to(&[] as &[SocketAddr]);
    clusters.wire.cut(false);
    first.until_metric("isthmus_sessions", 0.0);
    let relayed = first.metric("isthmus_requests_relayed_total");
    let waiting = Load::start(&clusters.a, mapping_address(1));
    second.until_page("requests that wait", "/metrics", |page| {
        !page.text().contains("isthmus_requests_in_flight 0\n")
    });
    clusters.wire.lead_to(&[tunnel_address(Tunnel::Grpc, 0)]);
    first.until_metric("isthmus_sessions", 1.0);
    std::thread::park_timeout(Duration::from_secs(1));
    waiting.end().assert_all_answered();
    assert!(first.metric("isthmus_requests_relayed_total") > relayed);
}

/// As in a cluster whose pods have an address of each family.
#[test]
fn a_sibling_may_have_two_addresses() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    clusters.set_siblings(&[0, 1, 2]);
    let siblings = "--siblings=siblings:9000";
    let also = format!("--tunnel=grpc://{}", tunnel_address(Tunnel::Grpc, 2));
    let first = clusters.send(0, &[siblings, &also]);
    let _second = clusters.send(1, &[siblings]);
    let _receive = clusters.receive(0, &[]);
    first.until_metric("isthmus_sessions", 1.0);
    let load = Load::start(&clusters.a, mapping_address(1));
    std::thread::park_timeout(Duration::from_secs(2));
    load.end().assert_all_answered();
}

/// The second replica's tunnel ends at once, the first's when what it carries does.
#[test]
fn a_request_waits_though_a_sibling_has_a_tunnel_that_drains() {
    let clusters = Clusters::new(Tunnel::Grpc, 2);
    let target = clusters.b.run(|| TcpListener::bind("10.77.2.1:8081").unwrap());
    target.set_nonblocking(true).unwrap();
    let request = || until("a request", || Some(target.accept().ok()?.0));
    clusters.map_to("10.77.2.1:8081", &[("8050", r#""name": "mapped""#)]);
    clusters.set_siblings(&[0, 1]);
    let flags = ["--siblings=siblings:9000"];
    let (first, second) = (clusters.send(0, &flags), clusters.send(1, &flags));
    let leaving = clusters.receive(0, &[]);
    [&first, &second].iter().for_each(|send| send.until_metric("isthmus_sessions", 1.0));
    let held = clusters.a.spawn(|| get(mapping_address(0), "/"));
    let mut carried = request();
    leaving.process.signal("TERM");
    second.until_metric("isthmus_sessions", 0.0);

    let waiting = clusters.a.spawn(|| get(mapping_address(1), "/"));
    second.until_metric("isthmus_requests_in_flight", 1.0);
    let _new = clusters.receive(1, &[]);
    let answer = |stream: &mut TcpStream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    };
    answer(&mut request());
    assert_eq!(waiting.join().unwrap().status, 200);
    answer(&mut carried);
    assert_eq!(held.join().unwrap().status, 200);
    leaving.assert_ends();
}
