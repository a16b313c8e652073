//! Everything at random for a while: no answer is wrong, and nothing is left behind.

use std::time::{Duration, Instant};

use crate::clusters::{Clusters, Tunnel, mapping_address};
use crate::harness::wait::until;
use crate::load::Load;

/// What the resident memory of a process may grow by, in MiB: what its allocator keeps.
const GROWTH: usize = 16;

#[test]
fn soak() {
    let seconds = std::env::var("ISTHMUS_SOAK").map_or(10, |seconds| seconds.parse().unwrap());
    let clusters = Clusters::new(Tunnel::Grpc, 1);
    let send = clusters.send(0, &[]);
    let receive = clusters.receive(0, &["--connections=2"]);
    let text = std::fs::read_to_string(clusters.config()).unwrap();
    let (warm, end) = (Duration::from_secs(2), Instant::now() + Duration::from_secs(seconds));
    let load = Load::start(&clusters.a, mapping_address(0));
    std::thread::park_timeout(warm);
    let before = [&send, &receive].map(|end| (end.process.memory(), end.process.descriptors()));
    // A fixed sequence without a pattern, so that a failure can be had again.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    while Instant::now() < end {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        match random >> 62 {
            0 => _ = clusters.wire.cut(true),
            1 => _ = clusters.wire.cut(false),
            2 => _ = clusters.wire.swallow(),
            _ => {
                let other = text.replace(
                    r#""data": ["#,
                    r#""data": [ { "port": "8051", "remoteIP": "http://nowhere:1" },"#,
                );
                let now = std::fs::read_to_string(clusters.config()).unwrap();
                let next = if now == text { other } else { text.clone() };
                std::fs::write(clusters.config(), next).unwrap();
            }
        }
        std::thread::park_timeout(Duration::from_millis(400 + (random >> 40) % 1600));
    }
    send.until_metric("isthmus_sessions", 2.0);
    let outcome = load.end();
    assert!(outcome.failed.is_empty(), "{:?}", outcome.failed);
    send.until_metric("isthmus_requests_in_flight", 0.0);
    send.until_metric("isthmus_connections", 0.0);
    send.until_metric("isthmus_sessions", 2.0);
    for (end, (memory, files)) in [&send, &receive].into_iter().zip(before) {
        let now = end.process.memory();
        println!("memory {memory} → {now} MiB, files at first {files}");
        assert!(now <= memory + GROWTH, "memory {memory} → {now} MiB");
        // Free connections to targets are kept for a while.
        until("files to be closed", || (end.process.descriptors() <= files).then_some(()));
    }
}
