//! HTTP/2 with prior knowledge, on either side or both; with both, it carries gRPC.

use std::sync::mpsc::sync_channel;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version, header};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::json;
use tunnel_common::drain::Drain;

use crate::harness::{Bridge, Http2, LIMIT, Origin, Transport, block, boxed, channel, full, run};

over_each_transport!({
    http_2_in_front_of_http_1
    http_1_in_front_of_http_2
    a_target_may_read_on_after_its_answer
    grpc_streams_both_ways_and_ends_in_trailers
    grpc_may_fail_at_once
    many_streams_share_one_connection
    a_reset_cancels_the_request
    cookies_in_several_fields_become_one
    trailers_that_name_a_hop_are_dropped
    a_reply_of_the_bridge_to_head_has_no_body
});

/// A target that speaks HTTP/2 only.
fn h2c(bridge: Bridge, name: &str, origin: &Origin) -> Bridge {
    bridge.target(name, &format!("h2c://{}", origin.address()), &json!({}))
}

/// Says what came, and in which version.
fn describing() -> Origin {
    Origin::http(async |request| {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let host = match parts.version {
            Version::HTTP_2 => parts.uri.authority().unwrap().to_string(),
            _ => parts.headers[header::HOST].to_str().unwrap().to_owned(),
        };
        let path = parts.uri.path_and_query().unwrap();
        Response::new(full(format!("{:?} {host} {path} {}", parts.version, body.escape_ascii())))
    })
}

fn http_2_in_front_of_http_1(transport: Transport) {
    let origin = describing();
    let bridge = Bridge::new(transport).route("echo", &origin).start();
    run(async {
        let mut caller = Http2::connect(bridge.at("echo")).await;
        let request = Request::post("http://shop:1/a?b").body(full("hi")).unwrap();
        let response = caller.0.send_request(request).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "HTTP/1.1 shop:1 /a?b hi");
    });
}

fn http_1_in_front_of_http_2(transport: Transport) {
    let origin = describing();
    let bridge = h2c(Bridge::new(transport), "echo", &origin).start();
    bridge.get("echo", "/a?b").assert_ok("HTTP/2.0 caller /a?b ");
    let mut caller = bridge.call("echo");
    caller.send("POST /p HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n");
    caller.send("2\r\nhi\r\n0\r\n\r\n");
    caller.reply().assert_ok("HTTP/2.0 shop /p hi");
}

fn a_target_may_read_on_after_its_answer(transport: Transport) {
    let (read, body) = sync_channel(1);
    let origin = Origin::http(async move |request| {
        let read = read.clone();
        Drain::new().spawn(async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            read.send(body).unwrap();
        });
        Response::new(full("taken"))
    });
    let bridge = h2c(Bridge::new(transport), "jobs", &origin).start();
    let mut caller = bridge.call("jobs");
    for _ in 0..2 {
        caller.send("POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n");
        caller.reply().assert_ok("taken");
        for _ in 0..1000 {
            caller.send(format!("400\r\n{}\r\n", "x".repeat(0x400)));
        }
        caller.send("0\r\n\r\n");
        assert_eq!(body.recv_timeout(LIMIT).unwrap().len(), 1000 * 0x400);
    }
}

fn grpc_streams_both_ways_and_ends_in_trailers(transport: Transport) {
    let origin = Origin::http(async |request| {
        assert_eq!(request.headers()[header::TE], "trailers");
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        trailers.insert("grpc-message", "done%21".parse().unwrap());
        let echo = request.into_body().with_trailers(async { Some(Ok(trailers)) });
        let answer = Response::builder().header(header::CONTENT_TYPE, "application/grpc");
        answer.body(boxed(echo)).unwrap()
    });
    let bridge = h2c(Bridge::new(transport), "grpc", &origin).start();
    run(async {
        let mut caller = Http2::connect(bridge.at("grpc")).await;
        for _ in 0..3 {
            let (messages, body) = channel();
            let request = Request::post("http://shop/pkg.Service/Method")
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(header::TE, "trailers");
            messages.send(Frame::data("0".into())).await.unwrap();
            let response = caller.0.send_request(request.body(body).unwrap()).await.unwrap();
            let mut echo = response.into_body();
            // Each message comes back before the next is sent.
            for number in 0..10 {
                let frame = echo.frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), number.to_string());
                messages.send(Frame::data((number + 1).to_string().into())).await.unwrap();
            }
            drop(messages);
            let rest = echo.collect().await.unwrap();
            assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
            assert_eq!(rest.trailers().unwrap()["grpc-message"], "done%21");
            assert_eq!(rest.to_bytes(), "10");
        }
    });
}

/// "Trailers-Only" of gRPC: one head, which ends the stream.
fn grpc_may_fail_at_once(transport: Transport) {
    let origin = Origin::http(async |_| {
        Response::builder().header("grpc-status", "12").body(full("")).unwrap()
    });
    let bridge = h2c(Bridge::new(transport), "grpc", &origin).start();
    run(async {
        let mut caller = Http2::connect(bridge.at("grpc")).await;
        let (messages, body) = channel();
        let request = Request::post("http://shop/pkg.Service/None").body(body).unwrap();
        messages.send(Frame::data("message".into())).await.unwrap();
        let response = caller.0.send_request(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
        drop(messages);
    });
}

fn many_streams_share_one_connection(transport: Transport) {
    let origin = Origin::http(async |request| {
        let text = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full([text.as_bytes(), &body[..]].concat()))
    });
    let bridge = h2c(Bridge::new(transport), "h2c", &origin).route("http", &origin).start();
    run(async {
        for mapping in ["h2c", "http"] {
            let caller = Http2::connect(bridge.at(mapping)).await;
            let mut exchanges = tokio::task::JoinSet::new();
            for number in 0..200 {
                let mut sender = caller.0.clone();
                exchanges.spawn_local(async move {
                    let body = Bytes::from(vec![number as u8; 50_000]);
                    let request = Request::post(format!("http://shop/{number}"));
                    let request = request.body(full(body.clone())).unwrap();
                    let response = sender.send_request(request).await.unwrap();
                    let answer = response.into_body().collect().await.unwrap().to_bytes();
                    let path = format!("/{number}");
                    assert!(answer.strip_prefix(path.as_bytes()) == Some(&body[..]), "{number}");
                });
            }
            exchanges.join_all().await;
        }
    });
}

fn a_reset_cancels_the_request(transport: Transport) {
    let (gone, seen) = sync_channel(1);
    let origin = Origin::script(move |mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
            gone.send(socket.send_until_gone(&block())).unwrap();
        }
    });
    let bridge = Bridge::new(transport).route("download", &origin).start();
    run(async {
        let mut caller = Http2::connect(bridge.at("download")).await;
        let request = Request::get("http://shop/").body(full("")).unwrap();
        let mut response = caller.0.send_request(request).await.unwrap();
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        // The connection stays; only the stream is reset.
        let error = tokio::task::spawn_blocking(move || seen.recv_timeout(LIMIT / 2)).await;
        assert_ne!(error.unwrap().unwrap(), std::io::ErrorKind::WouldBlock);
        assert!(!caller.0.is_closed());
        bridge.until_idle();
    });
}

fn cookies_in_several_fields_become_one(transport: Transport) {
    let origin = Origin::http(async |request| {
        let cookies = request.headers().get_all(header::COOKIE).iter();
        let cookies: Vec<_> = cookies.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        Response::new(full(cookies.join(" and ")))
    });
    let bridge = Bridge::new(transport).route("login", &origin).start();
    run(async {
        let mut caller = Http2::connect(bridge.at("login")).await;
        let request = Request::get("http://shop/").header("cookie", "a=1").header("cookie", "b=2");
        let request = request.body(full("")).unwrap();
        let response = caller.0.send_request(request).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "a=1; b=2");
    });
}

fn a_reply_of_the_bridge_to_head_has_no_body(transport: Transport) {
    let origin = Origin::script(|mut socket| {
        socket.head();
    });
    let bridge = Bridge::new(transport).route("mute", &origin).start();
    run(async {
        let mut caller = Http2::connect(bridge.at("mute")).await;
        let request = Request::head("http://shop/").body(full("")).unwrap();
        let response = caller.0.send_request(request).await.unwrap();
        assert_eq!(response.status(), 502);
        assert_ne!(response.headers()[header::CONTENT_LENGTH], "0");
        assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty());
    });
}

/// HTTP/2 would refuse them, and with them the end of the message.
fn trailers_that_name_a_hop_are_dropped(transport: Transport) {
    let origin = Origin::http(async |request| {
        let trailers = request.into_body().collect().await.unwrap().trailers().cloned();
        let trailers = trailers.unwrap_or_default();
        let mut names: Vec<_> = trailers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        Response::new(full(names.join(" ")))
    });
    let bridge = h2c(Bridge::new(transport), "sums", &origin).start();
    let mut caller = bridge.call("sums");
    caller.send("POST / HTTP/1.1\r\nHost: caller\r\nTransfer-Encoding: chunked\r\n\r\n");
    caller.send("2\r\nhi\r\n0\r\nKeep-Alive: 5\r\nConnection: close\r\nX-Sum: 1\r\n");
    caller.send("X-Forwarded-For: evil\r\nX_Proxy_Condition: 1\r\nContent-Length: 9\r\n\r\n");
    caller.reply().assert_ok("x-sum");
}
