//! What HTTP/1 can say crosses the bridge as it is.

use http::{Method, Response, header};
use http_body_util::BodyExt;

use crate::harness::{Bridge, Filler, Origin, Transport, boxed, full};

over_each_transport!({
    a_get_and_a_post
    the_answer_to_head_has_a_length_and_no_body
    chunks_and_trailers_cross_both_ways
    a_body_waits_for_100_continue
    a_target_may_refuse_a_body_before_it_is_sent
    early_hints_come_before_the_answer
    many_hints_do_not_cost_the_answer
    http_1_0_gets_its_answer_without_chunks
    a_connection_is_kept_and_may_be_pipelined
    statuses_without_a_body_end_at_once
    curl_is_happy
});

fn a_get_and_a_post(transport: Transport) {
    let origin = Origin::http(async |request| {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let host = parts.headers[header::HOST].to_str().unwrap().to_owned();
        let text = format!("{} {} {host} {}", parts.method, parts.uri, body.escape_ascii());
        Response::builder().status(203).header("x-origin", "o").body(full(text)).unwrap()
    });
    let bridge = Bridge::new(transport).route("echo", &origin).start();

    let reply = bridge.get("echo", "/a/b?c=d");
    assert_eq!((reply.status, &*reply.text()), (203, "GET /a/b?c=d caller "));
    assert_eq!(reply.field("x-origin"), Some("o"));
    assert_eq!(reply.field("via"), Some("1.1 isthmus"));

    let mut caller = bridge.call("echo");
    caller.send("POST / HTTP/1.1\r\nHost: shop:1\r\nContent-Length: 3\r\n\r\n\0\u{ff}");
    assert_eq!(caller.reply().text(), "POST / shop:1 \\x00\\xc3\\xbf");
}

fn the_answer_to_head_has_a_length_and_no_body(transport: Transport) {
    let origin = Origin::http(async |request| {
        let length = if request.method() == Method::HEAD { "77" } else { "2" };
        let body = full(if length == "2" { "ok" } else { "" });
        Response::builder().header(header::CONTENT_LENGTH, length).body(body).unwrap()
    });
    let bridge = Bridge::new(transport).route("head", &origin).start();
    let mut caller = bridge.call("head");
    for _ in 0..3 {
        caller.send("HEAD / HTTP/1.1\r\nHost: caller\r\n\r\n");
        let head = caller.head();
        assert_eq!((head.status, head.field("content-length")), (200, Some("77")));
        caller.send_get("/", "");
        caller.reply().assert_ok("ok");
    }
    // A refusal has a body, whatever was asked before.
    caller.send("HEAD / HTTP/1.1\r\nHost: caller\r\n\r\n");
    caller.head();
    caller.send("nonsense\r\n\r\n");
    let refusal = caller.reply();
    assert_eq!((refusal.status, refusal.field("connection")), (400, Some("close")));
    assert!(refusal.text().contains("tunnel-send"), "{}", refusal.text());
}

fn chunks_and_trailers_cross_both_ways(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while let Some((_, fields)) = socket.head() {
            let chunked = ("transfer-encoding".to_owned(), "chunked".to_owned());
            assert!(fields.contains(&chunked), "{fields:?}");
            // Each chunk is there before the next is sent.
            assert_eq!(socket.chunk().unwrap(), b"one");
            socket.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n");
            socket.send("1;extension=x\r\n1\r\n");
            assert_eq!(socket.chunk().unwrap(), b"two");
            assert_eq!(socket.chunk(), None);
            assert_eq!(socket.trailers(), [("digest".to_owned(), "d".to_owned())]);
            socket.send("1\r\n2\r\n0\r\nX-Sum: 3\r\n\r\n");
        }
    });
    let bridge = Bridge::new(transport).route("chunks", &origin).start();
    let mut caller = bridge.call("chunks");
    for _ in 0..2 {
        caller.send("POST / HTTP/1.1\r\nHost: caller\r\nTE: trailers\r\nConnection: TE\r\n");
        caller.send("Trailer: Digest\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
        let head = caller.head();
        assert_eq!((head.status, head.field("trailer")), (200, Some("x-sum")));
        assert_eq!(caller.chunk().unwrap(), b"1");
        caller.send("3\r\ntwo\r\n0\r\nDigest: d\r\n\r\n");
        assert_eq!(caller.chunk().unwrap(), b"2");
        assert_eq!(caller.chunk(), None);
        assert_eq!(caller.trailers(), [("x-sum".to_owned(), "3".to_owned())]);
    }
}

fn a_body_waits_for_100_continue(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while let Some((_, fields)) = socket.head() {
            assert!(fields.contains(&("expect".to_owned(), "100-continue".to_owned())));
            socket.send("HTTP/1.1 100 Continue\r\n\r\n");
            assert_eq!(socket.read_exact(5), b"hello");
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let bridge = Bridge::new(transport).route("expect", &origin).start();
    let mut caller = bridge.call("expect");
    caller.send("PUT / HTTP/1.1\r\nHost: caller\r\nContent-Length: 5\r\n");
    caller.send("Expect: 100-continue\r\n\r\n");
    assert_eq!(caller.head().status, 100);
    caller.send("hello");
    caller.reply().assert_ok("ok");
}

fn a_target_may_refuse_a_body_before_it_is_sent(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while socket.head().is_some() {
            socket.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno");
        }
    });
    let bridge = Bridge::new(transport).route("expect", &origin).start();
    let mut caller = bridge.call("expect");
    caller.send("PUT / HTTP/1.1\r\nHost: caller\r\nContent-Length: 5\r\n");
    caller.send("Expect: 100-continue\r\n\r\n");
    let reply = caller.reply();
    assert_eq!((reply.status, &*reply.text()), (417, "no"), "and no 100 before it");
}

fn early_hints_come_before_the_answer(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while socket.head().is_some() {
            socket.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n");
            socket.send("HTTP/1.1 103 Early Hints\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n");
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let bridge = Bridge::new(transport).route("hints", &origin).start();
    let mut caller = bridge.call("hints");
    caller.send_get("/", "");
    let hints = caller.head();
    assert_eq!((hints.status, hints.field("link")), (103, Some("</a.css>; rel=preload")));
    let more = caller.head();
    assert_eq!((more.status, more.field("x-hop")), (103, None));
    caller.reply().assert_ok("ok");
}

fn many_hints_do_not_cost_the_answer(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while socket.head().is_some() {
            let hints =
                "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n".repeat(50);
            socket.send(format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
        }
    });
    let bridge = Bridge::new(transport).route("hints", &origin).start();
    let mut caller = bridge.call("hints");
    caller.send_get("/", "");
    let mut statuses = std::iter::repeat_with(|| caller.head().status);
    assert_eq!(statuses.find(|status| *status != 103), Some(200));
}

fn http_1_0_gets_its_answer_without_chunks(transport: Transport) {
    let origin = Origin::http(async |_| {
        Response::new(boxed(Filler::chunked(1 << 20, http::HeaderMap::new())))
    });
    let bridge = Bridge::new(transport).route("old", &origin).start();
    let mut caller = bridge.call("old");
    caller.send("GET / HTTP/1.0\r\n\r\n");
    let reply = caller.reply();
    assert_eq!((reply.status, reply.field("transfer-encoding")), (200, None));
    assert_eq!(reply.body.len(), 1 << 20);
}

fn a_connection_is_kept_and_may_be_pipelined(transport: Transport) {
    let origin = Origin::http(async |request| Response::new(full(request.uri().path().to_owned())));
    let bridge = Bridge::new(transport).route("line", &origin).start();
    let mut caller = bridge.call("line");
    for round in 0..3 {
        let paths: Vec<_> = (0..20).map(|number| format!("/{round}/{number}")).collect();
        let request = |path| format!("GET {path} HTTP/1.1\r\nHost: caller\r\n\r\n");
        caller.send(paths.iter().map(request).collect::<String>());
        paths.iter().for_each(|path| caller.reply().assert_ok(path));
    }
    caller.send_get("/last", "Connection: close\r\n");
    caller.reply().assert_ok("/last");
    assert_eq!(caller.rest(), b"");
}

fn statuses_without_a_body_end_at_once(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while let Some((line, _)) = socket.head() {
            let status = line.split(['/', ' ']).nth(2).unwrap();
            socket.send(format!("HTTP/1.1 {status} x\r\nETag: \"e\"\r\n\r\n"));
        }
    });
    let bridge = Bridge::new(transport).route("bare", &origin).start();
    let mut caller = bridge.call("bare");
    for status in [204, 304, 204] {
        caller.send_get(&format!("/{status}"), "");
        let reply = caller.reply();
        assert_eq!((reply.status, reply.field("etag")), (status, Some("\"e\"")));
        assert_eq!(reply.field("transfer-encoding"), None);
    }
}

fn curl_is_happy(transport: Transport) {
    let origin = Origin::http(async |request| {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(body))
    });
    let bridge = Bridge::new(transport).route("echo", &origin).start();
    let url = format!("http://{}/", bridge.at("echo"));
    for flags in [&["--http1.1"][..], &["--http2-prior-knowledge"], &["--http1.0"], &["--http2"]] {
        let curl = std::process::Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--max-time", "10", "--data", "hello", &url])
            .args(flags)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        assert_eq!(text(&curl.stdout), "hello", "{flags:?}: {}", text(&curl.stderr));
    }
}
