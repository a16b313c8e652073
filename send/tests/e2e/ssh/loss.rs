//! Connections that are lost: noticed from both ends, replaced, and freed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::time::timeout;

use super::pair::Server;
use crate::harness::{Bridge, Caller, Origin, Place, Relay, Transport, run, until};

/// How long a lost connection may stay unnoticed.
const NOTICED: Duration = Duration::from_secs(3);

/// What has been sent may be sent again, because it is a GET.
#[test]
fn a_cut_loses_no_request_and_is_mended_within_a_second() {
    let origin = Origin::saying("good");
    let bridge = Bridge::new(Transport::SshRelay).route("good", &origin).start();
    let (address, over, answered) = (bridge.at("good"), AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut caller = Caller::connect(address);
                while !over.load(Ordering::Relaxed) {
                    caller.send_get("/", "");
                    caller.reply().assert_ok("good");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 2..6 {
            let begun = Instant::now();
            bridge.relays[0].cut();
            until("the next tunnel", || {
                (bridge.sends[0].metric("isthmus_sessions_begun_total") >= round).then_some(())
            });
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
            let goal = answered.load(Ordering::Relaxed) + 200;
            until("answers", || (answered.load(Ordering::Relaxed) >= goal).then_some(()));
        }
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_black_hole_is_left_within_three_seconds() {
    let origin = Origin::saying("good");
    let bridge = Bridge::new(Transport::SshRelay).route("good", &origin).start();
    bridge.get("good", "/").assert_ok("good");
    let begun = Instant::now();
    bridge.relays[0].swallow();
    until("the next tunnel", || {
        (bridge.sends[0].metric("isthmus_sessions_begun_total") >= 2).then_some(())
    });
    assert!(begun.elapsed() < NOTICED, "{:?}", begun.elapsed());
    bridge.until_up();
    bridge.get("good", "/").assert_ok("good");
}

/// Who has dialled notices by SSH alone; the other end leaves that to the tunnel.
#[test]
fn a_black_hole_is_noticed_without_a_tunnel_and_leaves_nothing() {
    run(async {
        let mut server = Server::start().await;
        let place = Place::take();
        let relay = Relay::start(place.port(9500), server.address());
        let known = server.client_keys().join("known_hosts");
        let line = std::fs::read_to_string(&known).unwrap().replace("127.0.0.1", "127.*");
        std::fs::write(known, line).unwrap();
        let (mut client, accepted) = server.tunnel_at(place.port(9500)).await;
        relay.swallow();
        let end = timeout(NOTICED, client.read(&mut [0])).await.unwrap();
        assert!(matches!(end, Ok(0) | Err(_)));
        drop((client, accepted));
        assert_eq!(server.drain.finish(NOTICED).await, 0);
    });
}
