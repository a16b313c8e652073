//! Heads: what is in them arrives as it was sent, up to limits that answer clearly.

use std::sync::mpsc::{SyncSender, sync_channel};

use crate::harness::{Bridge, LIMIT, Origin, Transport};

over_each_transport!({
    paths_are_exact
    repeated_fields_keep_their_order
    heads_may_be_large
    larger_heads_get_a_clear_answer
    answers_may_have_large_heads
    larger_heads_of_answers_are_an_error_of_the_target
    malformed_requests_are_refused
});

type Head = (String, Vec<(String, String)>);

/// Shows each head to the test, and answers with nothing.
fn showing(heads: SyncSender<Head>) -> Origin {
    Origin::script(move |mut socket| {
        while let Some(head) = socket.head() {
            heads.send(head).unwrap();
            socket.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    })
}

fn values<'a>(fields: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    fields.iter().filter(|(found, _)| found == name).map(|(_, value)| &**value).collect()
}

fn paths_are_exact(transport: Transport) {
    let (heads, seen) = sync_channel(1);
    let origin = showing(heads);
    let bridge = Bridge::new(transport).route("paths", &origin).start();
    let mut caller = bridge.call("paths");
    for path in [
        "/",
        "/?",
        "//",
        "//a//b/",
        "/a/../../b/./c",
        "/..;/a",
        "/%2F%2f%00%zz%",
        "/a;b=c,d:e@f!$&'()*+~",
        "/a?b=c&d=%20+?/",
        "/\"{}|^\\[]",
        "/caf\u{e9}",
        "/x?\u{1f980}",
    ] {
        caller.send_get(path, "");
        assert_eq!(caller.reply().status, 204, "{path}");
        let (line, _) = seen.recv_timeout(LIMIT).unwrap();
        assert_eq!(line, format!("GET {path} HTTP/1.1"));
    }
    caller.send("OPTIONS * HTTP/1.1\r\nHost: caller\r\n\r\n");
    caller.reply();
    assert_eq!(seen.recv_timeout(LIMIT).unwrap().0, "OPTIONS * HTTP/1.1");
    caller.send("GET http://other:1/a HTTP/1.1\r\nHost: caller\r\n\r\n");
    caller.reply();
    let (line, fields) = seen.recv_timeout(LIMIT).unwrap();
    assert_eq!((&*line, &*values(&fields, "host")), ("GET /a HTTP/1.1", &["other:1"][..]));
}

fn repeated_fields_keep_their_order(transport: Transport) {
    let (heads, seen) = sync_channel(1);
    let origin = Origin::script(move |mut socket| {
        while let Some(head) = socket.head() {
            heads.send(head).unwrap();
            socket.send("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX: x\r\nSet-Cookie: b=2, c\r\n");
            socket.send("Set-Cookie:\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let bridge = Bridge::new(transport).route("order", &origin).start();
    let mut caller = bridge.call("order");
    caller.send_get("/", "Accept: a\r\nCookie: x=y\r\nAccept: b, c\r\nACCEPT:\r\nX: \x7e \t!\r\n");
    let reply = caller.reply();
    assert_eq!(reply.all("set-cookie"), ["a=1", "b=2, c", ""]);
    let (_, fields) = seen.recv_timeout(LIMIT).unwrap();
    assert_eq!(values(&fields, "accept"), ["a", "b, c", ""]);
    assert_eq!(values(&fields, "x"), ["~ \t!"]);
}

fn heads_may_be_large(transport: Transport) {
    let (heads, seen) = sync_channel(1);
    let origin = showing(heads);
    let bridge = Bridge::new(transport).route("large", &origin).start();
    let mut caller = bridge.call("large");
    let value = "v".repeat(60_000);
    caller.send_get("/", &format!("X-Large: {value}\r\n"));
    assert_eq!(caller.reply().status, 204);
    assert_eq!(values(&seen.recv_timeout(LIMIT).unwrap().1, "x-large"), [value]);

    let many: String = (0..100).map(|number| format!("X-{number}: {number}\r\n")).collect();
    caller.send_get("/", &many);
    assert_eq!(caller.reply().status, 204);
    let (_, fields) = seen.recv_timeout(LIMIT).unwrap();
    assert_eq!((0..100).filter(|n| values(&fields, &format!("x-{n}")).len() == 1).count(), 100);

    caller.send_get(&format!("/{}", "p".repeat(50_000)), "");
    assert_eq!(caller.reply().status, 204);
    assert_eq!(seen.recv_timeout(LIMIT).unwrap().0.len(), 50_014);
}

fn larger_heads_get_a_clear_answer(transport: Transport) {
    let origin = Origin::saying("reached");
    let bridge = Bridge::new(transport).route("large", &origin).start();
    let many: String = (0..300).map(|number| format!("X-{number}: {number}\r\n")).collect();
    for fields in [format!("X-Large: {}\r\n", "v".repeat(70_000)), many] {
        let mut caller = bridge.call("large");
        caller.send_get("/", &fields);
        assert_eq!(caller.reply().status, 431);
    }
    // Fits into the edge's buffer, but no longer once the bridge's own fields are added.
    let mut caller = bridge.call("large");
    caller.send_get("/", &format!("X-Large: {}\r\n", "v".repeat(65_480)));
    caller.reply().assert_error(431, "http_request_error");
    bridge.get("large", "/").assert_ok("reached");
}

fn answers_may_have_large_heads(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while socket.head().is_some() {
            let value = "v".repeat(60_000);
            socket
                .send(format!("HTTP/1.1 200 OK\r\nX-Large: {value}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let bridge = Bridge::new(transport).route("large", &origin).start();
    assert_eq!(bridge.get("large", "/").field("x-large").unwrap().len(), 60_000);
}

fn larger_heads_of_answers_are_an_error_of_the_target(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while let Some((line, _)) = socket.head() {
            let size: usize = line.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
            let value = "v".repeat(size);
            socket
                .send(format!("HTTP/1.1 200 OK\r\nX-Large: {value}\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let bridge = Bridge::new(transport).route("large", &origin).start();
    // More than the tunnel carries, and more than is read of an answer's head.
    for size in [70_000, 200_000] {
        let reply = bridge.get("large", &format!("/{size}"));
        reply.assert_error(502, "http_protocol_error");
    }
    assert_eq!(bridge.get("large", "/1").status, 200);
}

fn malformed_requests_are_refused(transport: Transport) {
    let origin = Origin::saying("reached");
    let bridge = Bridge::new(transport).route("strict", &origin).start();
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nA b: c\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n folded: c\r\n",
        "GET /a b HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n",
        "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n",
    ] {
        let mut caller = bridge.call("strict");
        caller.send(format!("{head}\r\n"));
        assert_eq!(caller.reply().status, 400, "{head:?}");
    }
    bridge.get("strict", "/").assert_ok("reached");
}
