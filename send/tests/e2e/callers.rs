//! What concerns callers only, whatever the transport: TLS, names, how connections end.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tunnel_common::drain::Drain;

use crate::harness::{Bridge, LIMIT, Origin, Transport, full, run, until};

/// Shows the fields that the target sees.
fn showing(name: &'static str) -> Origin {
    Origin::http(async move |request: Request<_>| {
        let value = request.headers().get(name).map_or(&b"none"[..], |value| value.as_bytes());
        Response::new(full(value.to_vec()))
    })
}

/// Writes `tls.crt` and `tls.key` for localhost, as a Secret would be mounted.
fn write_certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (file, pem) in [("tls.crt", made.cert.pem()), ("tls.key", made.signing_key.serialize_pem())]
    {
        std::fs::write(folder.join(file), pem).unwrap();
    }
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.join("tls.key"), only_owner).unwrap();
}

#[test]
fn a_mapping_may_have_a_certificate_that_changes() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let origin = showing("x-forwarded-proto");
    let tls = json!({ "downstream": { "tls": folder.path() } });
    let bridge = Bridge::new(Transport::Memory)
        .target("secure", &format!("http://{}", origin.address()), &tls)
        .start();
    let at = bridge.at("secure");
    let curl = |version: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail", "--max-time", "10", "-w", " %{http_version}", version]);
        curl.arg("--cacert").arg(folder.path().join("tls.crt"));
        curl.arg("--connect-to").arg(format!("localhost:443:{at}"));
        let output = curl.arg("https://localhost/").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(curl("--http2"), "https 2");
    assert_eq!(curl("--http1.1"), "https 1.1");
    write_certificate(folder.path());
    until("the new certificate", || (curl("--http1.1") == "https 1.1").then_some(()));
}

#[test]
fn forwarded_fields_are_believed_where_the_mapping_says_so() {
    let origin = showing("x-forwarded-for");
    let target = format!("http://{}", origin.address());
    let bridge = Bridge::new(Transport::Memory)
        .target("wary", &target, &json!({}))
        .target("trusting", &target, &json!({ "downstream": { "trustForwarded": true } }))
        .start();
    let ask = |mapping: &str| {
        let mut caller = bridge.call(mapping);
        caller.send_get("/", "X-Forwarded-For: 192.0.2.1\r\n");
        caller.reply().text()
    };
    let wary = ask("wary");
    assert!(wary.starts_with("127."), "{wary}");
    assert_eq!(ask("trusting"), format!("192.0.2.1, {wary}"));
}

#[test]
fn requests_are_named_once() {
    let origin = showing("x-request-id");
    let bridge = Bridge::new(Transport::Memory).route("named", &origin).start();
    let mut caller = bridge.call("named");
    caller.send_get("/", "X-Request-Id: theirs\r\n");
    assert_eq!(caller.reply().text(), "theirs");
    let mut unnamed = || {
        caller.send_get("/", "");
        caller.reply().text()
    };
    let (one, other) = (unnamed(), unnamed());
    assert!(one.len() > 16 && one != other, "{one} {other}");
}

#[test]
fn empty_lines_buy_no_time() {
    let origin = Origin::saying("ok");
    let bridge = Bridge::new(Transport::Memory)
        .route("limited", &origin)
        .send_flag("--head-timeout=300ms")
        .start();
    run(async {
        let mut caller = TcpStream::connect(bridge.at("limited")).await.unwrap();
        let dripping = async {
            // Ends when the connection is closed.
            while caller.write_all(b"\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(LIMIT, dripping).await.unwrap();
    });
}

#[test]
fn what_a_removed_mapping_breaks_off_is_counted() {
    let stuck = Origin::script(|mut socket| {
        if socket.head().is_some() {
            socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
            socket.rest();
        }
    });
    let mut bridge = Bridge::new(Transport::Memory)
        .route("stuck", &stuck)
        .send_flag("--drain-timeout=300ms")
        .start();
    let mut callers = [bridge.call("stuck"), bridge.call("stuck")];
    for caller in &mut callers {
        caller.send_get("/", "");
        assert_eq!(caller.head().status, 200);
    }
    bridge.mappings.remove("stuck");
    bridge.mappings.write();
    until("two broken connections", || {
        (bridge.sends[0].metric("isthmus_connections_cut_total") == 2).then_some(())
    });
}

#[test]
fn a_connection_stays_what_it_is_when_its_mapping_turns_to_tls() {
    let origin = Origin::http(async |request| {
        Response::new(full(request.headers()["x-forwarded-proto"].as_bytes().to_vec()))
    });
    let mut bridge = Bridge::new(Transport::Memory).route("echo", &origin).start();
    let mut caller = bridge.call("echo");
    caller.send_get("/", "");
    caller.reply().assert_ok("http");
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    bridge.mappings.change("echo", &json!({ "downstream": { "tls": folder.path() } }));
    bridge.mappings.write();
    until("TLS at the port", || {
        let mut other = bridge.call("echo");
        other.send_get("/", "Connection: close\r\n");
        (!other.rest().starts_with(b"HTTP")).then_some(())
    });
    caller.send_get("/", "");
    caller.reply().assert_ok("http");
}

#[test]
fn a_caller_that_shakes_no_hands_does_not_hold_up_the_end() {
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let tls = json!({ "downstream": { "tls": folder.path() } });
    let mut bridge = Bridge::new(Transport::Memory).target("secure", "http://a", &tls).start();
    let silent = bridge.call("secure");
    until("the connection", || (bridge.sends[0].metric("isthmus_connections ") == 1).then_some(()));
    bridge.sends[0].stop();
    drop(silent);
}

#[test]
fn a_connection_is_closed_at_once_only_after_the_last_request() {
    let origin = Origin::saying("ok");
    let bridge = Bridge::new(Transport::Memory).route("last", &origin).start();
    let call = |more: &[u8]| {
        let mut caller = std::net::TcpStream::connect(bridge.at("last")).unwrap();
        let last = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        caller.write_all(&[last, more].concat()).unwrap();
        caller.peek(&mut [0]).unwrap();
        caller
    };
    let mut silent = call(b"");
    let mut answer = String::new();
    silent.read_to_string(&mut answer).unwrap();
    silent.write_all(b"x").unwrap();
    until("the reset that a closed connection answers with", || silent.take_error().unwrap());

    // What a caller sends in spite of its word is read: a reset may take the answer from it.
    let talker = call(&[b'x'; 64 * 1024]);
    until("the end of both connections", || {
        (bridge.sends[0].metric("isthmus_connections ") == 0).then_some(())
    });
    assert!(talker.take_error().unwrap().is_none());
}

/// RFC 8441: what a browser does with a WebSocket where it has HTTP/2 already.
#[test]
fn a_websocket_over_http_2_becomes_an_upgrade() {
    let origin = Origin::script(|mut socket| {
        let Some((line, fields)) = socket.head() else { return };
        let field = |name: &str| {
            fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(line, "GET /chat HTTP/1.1");
        assert_eq!(field("upgrade"), Some("websocket"));
        assert_eq!(field("sec-websocket-key").map(str::len), Some(24));
        socket.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
        );
        assert_eq!(socket.read_exact(4), b"ping");
        socket.send("pong");
    });
    let bridge = Bridge::new(Transport::Memory).route("chat", &origin).start();
    let at = bridge.at("chat");
    run(async move {
        let (response, _sender) = websocket(at).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
        assert!(!response.headers().contains_key("sec-websocket-accept"));
        let mut socket = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
        socket.write_all(b"ping").await.unwrap();
        let mut pong = [0; 4];
        socket.read_exact(&mut pong).await.unwrap();
        assert_eq!(&pong, b"pong");
    });
}

/// Any 2xx would say that the WebSocket is open.
#[test]
fn a_websocket_over_http_2_that_is_declined_is_not_open() {
    let plain = Origin::saying("no");
    let bridge = Bridge::new(Transport::Memory).route("plain", &plain).start();
    let at = bridge.at("plain");
    run(async move {
        let (response, _sender) = websocket(at).await;
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    });
}

/// The answer to a WebSocket's request over HTTP/2, and what keeps its connection.
async fn websocket(at: SocketAddr) -> (Response<Incoming>, SendRequest<Empty<Bytes>>) {
    let stream = TokioIo::new(TcpStream::connect(at).await.unwrap());
    let drain = Drain::new();
    let (mut sender, connection) = hyper::client::conn::http2::Builder::new(drain.clone())
        .timer(TokioTimer::new())
        .handshake(stream)
        .await
        .unwrap();
    drain.spawn(async move {
        let _ = connection.await;
    });
    let request = Request::builder().method(Method::CONNECT).uri("http://chat/chat");
    let request = request.extension(Protocol::from_static("websocket"));
    let answer = sender.send_request(request.body(Empty::new()).unwrap()).await;
    (answer.unwrap(), sender)
}
