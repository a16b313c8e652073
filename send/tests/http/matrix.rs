//! The conformance matrix: each client's cases, without the bridge and through it.

use std::net::SocketAddr;

use serde_json::Value;

use crate::bridge::Bridge;
use crate::curl::{curl, nghttp};
use crate::foreign::{Server, output, script};
use crate::observation::normalised;

/// The transports that carry the tunnel, by the schemes of their URLs.
const TRANSPORTS: [&str; 2] = ["grpc", "ssh"];

/// Fails unless `client` sees through the bridge what it sees at `direct`, whichever of `origins`
/// is behind it and whatever carries the tunnel.
fn assert_same(
    direct: &Server,
    origins: &[(&str, &Server)],
    client: impl Fn(SocketAddr) -> Value + Sync,
) {
    let urls: Vec<_> =
        origins.iter().map(|(scheme, origin)| format!("{scheme}://{}", origin.address)).collect();
    let see = |address: SocketAddr| normalised(client(address), &[&address.to_string()]);
    let expected = see(direct.address);
    let expected = expected.as_object().unwrap();
    assert!(!expected.is_empty());
    let differences = |transport: &str| {
        let (bridge, mut differences) = (Bridge::over(transport, &urls), String::new());
        for (index, url) in (0..).zip(&urls) {
            let seen = see(bridge.mapping(index));
            for (case, expected) in expected {
                if seen[case] != *expected {
                    differences += &format!(
                        "\n{case}, to {url} over {transport}\n  direct:  {expected}\n  bridged: {}\n",
                        seen[case]
                    );
                }
            }
        }
        differences
    };
    // At once, for each takes seconds, mostly of waiting.
    let differences = &differences;
    let all: String = std::thread::scope(|scope| {
        let running = TRANSPORTS.map(|transport| scope.spawn(move || differences(transport)));
        running.into_iter().map(|each| each.join().unwrap()).collect()
    });
    assert!(all.is_empty(), "{all}");
}

/// What a script with this argument for the address prints.
fn said(name: &str, address: SocketAddr, args: &[&str]) -> Value {
    let said = output(script(name).arg(address.to_string()).args(args));
    serde_json::from_slice(&said).unwrap()
}

/// An origin for HTTP/1.1 and one for HTTP/2.
fn origins() -> (Server, Server) {
    (Server::script("origin.js", &["h1"]), Server::script("origin.js", &["h2c"]))
}

#[test]
fn curl_http_1_0() {
    let (h1, h2) = origins();
    assert_same(&h1, &[("http", &h1), ("h2c", &h2)], |address| curl("--http1.0", address));
}

#[test]
fn curl_http_1_1() {
    let (h1, h2) = origins();
    assert_same(&h1, &[("http", &h1), ("h2c", &h2)], |address| curl("--http1.1", address));
}

#[test]
fn curl_http_2() {
    let (h1, h2) = origins();
    let client = |address| curl("--http2-prior-knowledge", address);
    assert_same(&h2, &[("http", &h1), ("h2c", &h2)], client);
}

#[test]
fn nghttp_http_2() {
    let (h1, h2) = origins();
    assert_same(&h2, &[("http", &h1), ("h2c", &h2)], nghttp);
}

#[test]
fn httpx_http_1_1() {
    let (h1, h2) = origins();
    assert_same(&h1, &[("http", &h1), ("h2c", &h2)], |at| said("httpx_client.py", at, &["1"]));
}

#[test]
fn httpx_http_2() {
    let (h1, h2) = origins();
    assert_same(&h2, &[("http", &h1), ("h2c", &h2)], |at| said("httpx_client.py", at, &["2"]));
}

#[test]
fn python_h2() {
    let (h1, h2) = origins();
    assert_same(&h2, &[("http", &h1), ("h2c", &h2)], |at| said("h2_client.py", at, &[]));
}

#[test]
fn undici() {
    let (h1, _) = origins();
    assert_same(&h1, &[("http", &h1)], |at| said("undici_client.js", at, &[]));
}

#[test]
fn python_websockets() {
    let origin = Server::script("websocket_origin.py", &[]);
    assert_same(&origin, &[("http", &origin)], |at| said("websocket_client.py", at, &[]));
}

#[test]
fn grpcio() {
    let origin = Server::script("grpc_origin.py", &[]);
    assert_same(&origin, &[("h2c", &origin)], |at| said("grpc_client.py", at, &[]));
}

#[test]
fn grpc_js() {
    let origin = Server::script("grpc_origin.py", &[]);
    assert_same(&origin, &[("h2c", &origin)], |at| said("grpc_client.js", at, &[]));
}
