//! Which tunnel a request takes: by the cluster that is asked for, and what shows of targets.

use crate::clusters::{Clusters, Tunnel};

#[test]
fn a_mapping_chooses_its_cluster() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    clusters.map(&[("8050", r#""cluster": "b""#), ("8051", r#""cluster": "c""#)]);
    let send = clusters.send(0, &[]);
    let b = clusters.receive_of("b", 0);
    let c = clusters.receive_of("c", 1);
    send.until_metric("isthmus_sessions", 2.0);
    for (port, count) in [(8050, 5), (8051, 3)] {
        for _ in 0..count {
            assert_eq!(clusters.get(port), "GET:");
        }
    }
    assert_eq!(
        (b.metric("isthmus_requests_total"), c.metric("isthmus_requests_total")),
        (5.0, 3.0)
    );

    // Another cluster's tunnel is no way there.
    c.terminate();
    send.until_metric("isthmus_sessions", 1.0);
    assert!(clusters.get(8051).contains("no tunnel from cluster c is up"));
    assert_eq!(b.metric("isthmus_requests_total"), 5.0);
}

#[test]
fn probes_show_which_target_is_not_well() {
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    clusters.map_to("10.77.2.1:9", &[("8050", r#""health": "tcp""#)]);
    let _send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &[]);
    receive.until_metric("isthmus_targets_unwell", 1.0);
    clusters.map(&[("8050", r#""health": "/healthz""#), ("8051", r#""health": "tcp""#)]);
    receive.until_metric("isthmus_targets_unwell", 0.0);
}
