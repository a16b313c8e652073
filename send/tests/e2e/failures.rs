//! What goes wrong has its own answer, and the bridge goes on.

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use crate::harness::{Bridge, Origin, Reply, Transport};

over_each_transport!({
    each_failure_has_its_own_answer
    a_target_with_tls_is_verified
    without_a_tunnel_requests_fail_in_time
    who_asks_for_json_gets_json
});

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn assert_says(reply: &Reply, status: u16, error: &str, parts: &[&str]) {
    reply.assert_error(status, error);
    let text = reply.text();
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    assert_eq!(text.matches('\n').count(), 1, "{text}");
}

fn each_failure_has_its_own_answer(transport: Transport) {
    let good = Origin::saying("good");
    let (dead, plain) = (nobody(), good.address());
    let mute = Origin::script(|mut socket| {
        socket.head();
        socket.rest();
    });
    let odd = Origin::script(|mut socket| {
        if socket.head().is_some() {
            socket.send("SSH-2.0-OpenSSH_9.9\r\n");
        }
        socket.rest();
    });
    let bridge = Bridge::new(transport)
        .route("good", &good)
        .only_in_send("orphan")
        .target("dead", &format!("http://{dead}"), &json!({}))
        .target("nowhere", "http://nowhere.invalid", &json!({}))
        .target("plain", &format!("https://{plain}"), &json!({}))
        .target("mute", &format!("http://{}", mute.address()), &json!({ "timeout": "200ms" }))
        .route("odd", &odd)
        .start();
    let orphan = bridge.at("orphan").port().to_string();
    for (mapping, status, error, parts) in [
        ("orphan", 404, "destination_not_found", [&*orphan, "tunnel-receive"]),
        ("dead", 502, "connection_refused", [&*dead.to_string(), "refused"]),
        ("nowhere", 502, "dns_error", ["nowhere.invalid", "does not resolve"]),
        ("plain", 502, "tls_protocol_error", [&*plain.to_string(), "TLS"]),
        ("mute", 504, "http_response_timeout", ["did not begin to answer", "200ms"]),
        ("odd", 502, "http_protocol_error", ["broke the protocol", "tunnel-receive"]),
    ] {
        assert_says(&bridge.get(mapping, "/"), status, error, &parts);
        bridge.get("good", "/").assert_ok("good");
        let counted = format!("isthmus_errors_total{{error=\"{error}\"}}");
        assert_eq!(bridge.receives[0].metric(&counted), 1, "{mapping}");
    }
}

fn a_target_with_tls_is_verified(transport: Transport) {
    let (origin, certificate) = Origin::https("localhost", "secure");
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate).unwrap();
    let target = format!("https://localhost:{}", origin.address().port());
    let trusted = &json!({ "tls": { "ca": ca } });
    let misnamed = &json!({ "tls": { "ca": ca, "serverName": "other.example" } });
    let bridge = Bridge::new(transport)
        .target("trusted", &target, trusted)
        .target("untrusted", &target, &json!({ "tls": { "ca": foreign_authority(&folder) } }))
        .target("misnamed", &target, misnamed)
        .target("without-tls", &format!("http://{}", origin.address()), &json!({}))
        .start();
    let place = target.strip_prefix("https://").unwrap();
    for mapping in ["untrusted", "misnamed"] {
        let parts = [place, "certificate", "was not accepted"];
        assert_says(&bridge.get(mapping, "/"), 502, "tls_certificate_error", &parts);
        bridge.get("trusted", "/").assert_ok("secure");
    }
    let reply = bridge.get("without-tls", "/");
    assert_eq!(reply.status, 502, "{}", reply.text());
    bridge.get("trusted", "/").assert_ok("secure");
}

/// The certificate of somebody else.
fn foreign_authority(folder: &tempfile::TempDir) -> Value {
    let path = folder.path().join("foreign.pem");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&path, key.cert.pem()).unwrap();
    json!(path)
}

fn without_a_tunnel_requests_fail_in_time(transport: Transport) {
    let origin = Origin::saying("good");
    let mut bridge =
        Bridge::new(transport).route("good", &origin).send_flag("--connect-wait=200ms").start();
    bridge.receives[0].stop();
    let reply = bridge.get("good", "/");
    assert_says(&reply, 503, "destination_unavailable", &["no tunnel", "200ms"]);
    assert_eq!(reply.field("retry-after"), Some("1"));
    bridge.restart_receive(0);
    bridge.until_up();
    bridge.get("good", "/").assert_ok("good");
}

fn who_asks_for_json_gets_json(transport: Transport) {
    let bridge = Bridge::new(transport).only_in_send("orphan").start();
    let mut caller = bridge.call("orphan");
    caller.send_get("/", "Accept: application/json\r\n");
    let reply = caller.reply();
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let json: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (&json["proxy"], &json["error"]),
        (&json!("tunnel-receive"), &json!("destination_not_found"))
    );
}
