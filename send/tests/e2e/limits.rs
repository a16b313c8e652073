//! What callers may use at most, and for how long.

use http::{HeaderMap, Request, Response};

use crate::harness::{
    Bridge, Filler, Http2, LIMIT, Origin, Reply, Transport, boxed, full, run, until,
};

#[test]
fn limits_are_flags() {
    let origin = Origin::saying("ok");
    let bridge = Bridge::new(Transport::Memory)
        .route("limited", &origin)
        .send_flag("--max-head=500")
        .send_flag("--max-fields=5")
        .send_flag("--head-timeout=300ms")
        .send_flag("--idle-timeout=600ms")
        .send_flag("--max-connections=2")
        .start();
    let refused = |fields: &str| {
        let mut caller = bridge.call("limited");
        caller.send_get("/", fields);
        caller.reply().status
    };
    assert_eq!(refused(&format!("X: {}\r\n", "x".repeat(500))), 431);
    assert_eq!(refused(&"X: y\r\n".repeat(5)), 431);
    assert_eq!(refused(&"X: y\r\n".repeat(4)), 200);

    let mut slow = bridge.call("limited");
    slow.send("GET / HTTP/1.1\r\n");
    assert_eq!(slow.reply().status, 408);
    let mut unused = bridge.call("limited");
    assert_eq!(unused.rest(), b"", "closed without a word");

    let (mut one, mut two) = (bridge.call("limited"), bridge.call("limited"));
    let mut three = bridge.call("limited");
    three.send_get("/", "");
    one.send_get("/", "");
    assert_eq!(one.reply().status, 200);
    until("two connections", || {
        (bridge.sends[0].metric("isthmus_connections ") == 2).then_some(())
    });
    assert!(three.is_silent(), "it asked first, and there is no place for it");
    two.send_get("/", "Connection: close\r\n");
    assert_eq!(two.reply().status, 200);
    assert_eq!(three.reply().status, 200, "a place was free again");
}

#[test]
fn limits_hold_for_http_2_too() {
    let origin =
        Origin::http(async |_| Response::new(boxed(Filler::chunked(1 << 30, HeaderMap::new()))));
    let quick = Origin::saying("ok");
    let bridge = Bridge::new(Transport::Memory)
        .route("endless", &origin)
        .route("quick", &quick)
        .send_flag("--max-fields=5")
        .send_flag("--idle-timeout=300ms")
        .send_flag("--stream-idle-timeout=400ms")
        .start();
    let get = |fields: usize| {
        let mut request = Request::get("http://shop/");
        for number in 0..fields {
            request = request.header(format!("x-{number}"), "y");
        }
        request.body(full("")).unwrap()
    };
    run(async {
        let mut caller = Http2::connect(bridge.at("quick")).await;
        assert_eq!(caller.0.send_request(get(6)).await.unwrap().status(), 431);
        assert_eq!(caller.0.send_request(get(5)).await.unwrap().status(), 200);
        caller.closed().await;

        let mut caller = Http2::connect(bridge.at("endless")).await;
        let unread = caller.0.send_request(get(0)).await.unwrap();
        assert_eq!(bridge.sends[0].in_flight(), 1);
        caller.closed().await;
        drop(unread);
        bridge.until_idle();
    });
}

#[test]
fn requests_beyond_the_limit_are_shed() {
    let (release, released) = std::sync::mpsc::sync_channel::<()>(1);
    let released = std::sync::Arc::new(std::sync::Mutex::new(released));
    let origin = Origin::script(move |mut socket| {
        while socket.head().is_some() {
            released.lock().unwrap().recv_timeout(LIMIT).unwrap();
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let bridge =
        Bridge::new(Transport::Memory).route("busy", &origin).send_flag("--max-requests=1").start();
    let mut first = bridge.call("busy");
    first.send_get("/", "");
    until("the first request", || {
        (bridge.sends[0].metric("isthmus_requests_in_flight") == 1).then_some(())
    });
    let shed: Reply = bridge.get("busy", "/");
    shed.assert_error(503, "connection_limit_reached");
    assert_eq!(shed.field("retry-after"), Some("1"));
    release.send(()).unwrap();
    first.reply().assert_ok("ok");
}
