//! Several tunnels: requests spread over them, and one of them may end without a loss.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use crate::harness::{Bridge, LIMIT, Load, Origin, Transport, until};

over_each_transport!({
    requests_spread_over_all_tunnels
    receives_are_restarted_one_after_the_other_under_load
    sends_are_restarted_one_after_the_other_under_load
    a_send_that_ends_finishes_its_requests
    a_receive_that_ends_finishes_its_requests
});

fn requests_spread_over_all_tunnels(transport: Transport) {
    let origin = Origin::saying("good");
    let bridge = Bridge::new(transport).route("good", &origin).receives(3).start();
    let load = Load::start(&[(bridge.at("good"), "good")]);
    for receive in &bridge.receives {
        until("requests through each tunnel", || {
            (receive.metric("isthmus_requests_total") >= 50).then_some(())
        });
    }
    load.finish();
}

fn receives_are_restarted_one_after_the_other_under_load(transport: Transport) {
    let origin = Origin::saying("good");
    let mut bridge = Bridge::new(transport).route("good", &origin).receives(2).start();
    let load = Load::start(&[(bridge.at("good"), "good")]);
    for round in 0..6 {
        bridge.receives[round % 2].stop();
        load.until_answered(20);
        bridge.restart_receive(round % 2);
        bridge.until_up();
        load.until_answered(20);
    }
    load.finish();
}

/// Callers stay with their `tunnel-send`, so the load is on the one that is not restarted.
fn sends_are_restarted_one_after_the_other_under_load(transport: Transport) {
    let origin = Origin::saying("good");
    let mut bridge = Bridge::new(transport).route("good", &origin).sends(2).start();
    for round in 0..4 {
        let (stays, leaves) = (round % 2, 1 - round % 2);
        let load = Load::start(&[(bridge.at_send(stays, "good"), "good")]);
        bridge.sends[leaves].stop();
        load.until_answered(20);
        bridge.restart_send(leaves);
        bridge.until_up();
        load.until_answered(20);
        load.finish();
    }
}

/// Answers with the first half at once, with the second when it is told to.
fn halves() -> (Origin, SyncSender<()>) {
    let (go, wait) = sync_channel::<()>(0);
    let wait = Arc::new(Mutex::new(wait));
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            wait.lock().unwrap().recv_timeout(LIMIT).unwrap();
            socket.send(" last");
        }
    });
    (origin, go)
}

fn a_send_that_ends_finishes_its_requests(transport: Transport) {
    let (origin, go) = halves();
    let mut bridge = Bridge::new(transport).route("slow", &origin).start();
    let (address, mut caller) = (bridge.at("slow"), bridge.call("slow"));
    caller.send_get("/", "");
    assert_eq!(caller.head().status, 200);
    bridge.sends[0].ask();
    until("a closed port", || std::net::TcpStream::connect(address).is_err().then_some(()));
    go.send(()).unwrap();
    assert_eq!(caller.rest(), b"first last");
    bridge.sends[0].stop();
}

fn a_receive_that_ends_finishes_its_requests(transport: Transport) {
    let (origin, go) = halves();
    let good = Origin::saying("good");
    let mut bridge =
        Bridge::new(transport).route("slow", &origin).route("good", &good).receives(2).start();
    let mut caller = bridge.call("slow");
    caller.send_get("/", "");
    assert_eq!(caller.head().status, 200);
    let busy = until("who has the request", || {
        bridge.receives.iter().position(|receive| receive.in_flight() == 1)
    });
    bridge.receives[busy].ask();
    for _ in 0..20 {
        bridge.get("good", "/").assert_ok("good");
    }
    go.send(()).unwrap();
    assert_eq!(caller.read_exact(10), b"first last");
    bridge.receives[busy].stop();
    bridge.get("good", "/").assert_ok("good");
}
