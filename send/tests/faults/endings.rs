//! What must not hold up the end of a process.

use std::net::UdpSocket;

use crate::clusters::{Clusters, Tunnel};
use crate::harness::wait::LIMIT;

#[test]
fn a_resolver_that_does_not_answer() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    clusters.b.set_resolver("10.77.2.1");
    let resolver = clusters.b.run(|| UdpSocket::bind("10.77.2.1:53").unwrap());
    let receive = clusters.receive_to("grpc://cluster-a.example:9000");
    resolver.set_read_timeout(Some(LIMIT)).unwrap();
    resolver.recv(&mut [0; 512]).unwrap();
    receive.terminate();
}

/// Nobody has the address, so a probe takes as long as it may.
#[test]
fn probes_of_many_targets_that_do_not_answer() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let ports: Vec<_> = (10_000..10_400).map(|port: u16| port.to_string()).collect();
    let probed = ports.iter().map(|port| (&**port, r#""health": "tcp""#)).collect::<Vec<_>>();
    clusters.map_to("10.77.2.99:80", &probed);
    let _send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &[]);
    receive.terminate();
}
