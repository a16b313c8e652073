//! What does not cross the bridge, as `docs/headers.md` says.

use std::process::Command;

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt;

use crate::harness::{Bridge, Filler, Http2, Origin, Transport, boxed, full, run};

over_each_transport!(memory: Memory, {
    informational_answers_are_for_http_1_1_only
    trailers_end_before_http_1_0
    the_reason_and_the_case_of_names_are_standard
    trailers_without_chunks_are_dropped
});

fn informational_answers_are_for_http_1_1_only(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        while socket.head().is_some() {
            socket.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n");
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let bridge = Bridge::new(transport).route("hints", &origin).start();
    let url = format!("http://{}/", bridge.at("hints"));
    for (version, hints) in [("--http1.0", 0), ("--http1.1", 1), ("--http2-prior-knowledge", 0)] {
        let curl = Command::new("curl")
            .args(["-sS", "-i", "--noproxy", "*", "--max-time", "10", version, &url])
            .output()
            .unwrap();
        let said = String::from_utf8(curl.stdout).unwrap();
        assert_eq!(said.matches(" 103 ").count(), hints, "{said}");
        assert!(said.ends_with("ok"), "{said}");
    }
}

fn trailers_end_before_http_1_0(transport: Transport) {
    let origin = Origin::http(async |_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let mut response = Response::new(boxed(Filler::chunked(64 * 1024, trailers)));
        response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        response
    });
    let bridge = Bridge::new(transport).route("old", &origin).start();
    let mut caller = bridge.call("old");
    caller.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(caller.reply().body.len(), 64 * 1024);
}

fn the_reason_and_the_case_of_names_are_standard(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        socket.head();
        socket.send("HTTP/1.1 200 Fine\r\nX-CASE: Kept\r\nContent-Length: 0\r\n\r\n");
    });
    let bridge = Bridge::new(transport).route("odd", &origin).start();
    let mut caller = bridge.call("odd");
    caller.send_get("/", "Connection: close\r\n");
    let answer = String::from_utf8(caller.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nx-case: Kept\r\n"), "{answer}");
}

/// HTTP/2 may have both a length and trailers; HTTP/1.1 has trailers only after chunks.
fn trailers_without_chunks_are_dropped(transport: Transport) {
    let origin = Origin::http(async |_| {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        let body = full("ok").with_trailers(async { Some(Ok(trailers)) });
        let mut response = Response::new(boxed(body));
        response.headers_mut().insert("content-length", "2".parse().unwrap());
        response
    });
    let target = format!("h2c://{}", origin.address());
    let bridge = Bridge::new(transport).target("sized", &target, &serde_json::json!({})).start();
    let reply = bridge.get("sized", "/");
    reply.assert_ok("ok");
    assert!(reply.trailers.is_empty());
    run(async {
        let mut caller = Http2::connect(bridge.at("sized")).await;
        let request = Request::get("http://caller/").body(full("")).unwrap();
        let response = caller.0.send_request(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "1");
    });
}
