//! curl and nghttp as callers.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::foreign::{output, program};

/// What curl is asked for, beside `--http1.1` or the like; URL stands for the origin.
const CASES: [(&str, &[&str]); 24] = [
    ("get", &["URL/a?b=c"]),
    ("empty query", &["URL/a?"]),
    ("odd path", &["--path-as-is", "URL//a/%2F/..;/./b/../c%20d/%zz/;p=1?q=//&r=%00"]),
    ("no path", &["URL"]),
    ("absolute target", &["--request-target", "http://other.example:81/a?b", "URL"]),
    ("post", &["--data-binary", "body", "URL/a"]),
    ("chunked", &["-H", "Transfer-Encoding: chunked", "--data-binary", "body", "URL/a"]),
    ("put", &["-X", "PUT", "-d", "body", "URL/a"]),
    ("get with a body", &["-X", "GET", "-d", "body", "URL/a"]),
    ("delete with a body", &["-X", "DELETE", "-d", "body", "URL/a"]),
    ("expect", &["-H", "Expect: 100-continue", "-d", "body", "URL/a"]),
    ("expect, and none is wanted", &["-H", "Expect: 100-continue", "-d", "body", "URL/early"]),
    ("head", &["--head", "-o", "/dev/null", "URL/data"]),
    ("options", &["-X", "OPTIONS", "--request-target", "*", "URL"]),
    ("range", &["-r", "10-19", "URL/data"]),
    ("204", &["URL/none"]),
    ("304", &["-H", "If-None-Match: \"data\"", "URL/data"]),
    ("trailers", &["-H", "TE: trailers", "URL/trailers"]),
    ("cookies", &["URL/cookies"]),
    ("many fields", &["URL/many"]),
    ("no fields", &["-H", "User-Agent:", "-H", "Accept:", "-H", "X-Empty;", "URL/a"]),
    ("obs-text", &["-H", "X-Obs: caf\u{e9}", "URL/a"]),
    ("until the end", &["URL/until-close"]),
    ("kept alive", &["URL/a", "URL/a", "URL/a"]),
];

/// What a version of HTTP has not, and what curl 7.88 fails at by itself: it cannot use a connection
/// again after prior knowledge, and forgets an answer that the reset of its request follows.
const LEFT_OUT: [(&str, &str); 5] = [
    ("--http1.0", "chunked"),
    ("--http1.0", "trailers"),
    ("--http2-prior-knowledge", "absolute target"),
    ("--http2-prior-knowledge", "expect, and none is wanted"),
    ("--http2-prior-knowledge", "kept alive"),
];

/// All cases with this flag for the version of HTTP.
pub fn curl(version: &str, origin: SocketAddr) -> Value {
    let case = |(name, args): &(&str, &[&str])| {
        let folder = tempfile::tempdir().unwrap();
        let heads = folder.path().join("heads");
        let mut command = program("curl");
        command.args(["-sS", version, "--max-time", "10", "-D"]).arg(&heads);
        command.args(["-w", "\n%{http_version} %{num_connects}\n"]);
        command.args(args.iter().map(|arg| arg.replace("URL", &format!("http://{origin}"))));
        let said = output(&mut command);
        let heads = latin1(&std::fs::read(&heads).unwrap());
        let seen = json!({ "heads": sections(&heads), "body": latin1(&said) });
        ((*name).to_owned(), seen)
    };
    let cases = CASES.iter().filter(|(name, _)| !LEFT_OUT.contains(&(version, *name)));
    Value::Object(cases.map(case).collect())
}

/// What nghttp gets.
pub fn nghttp(origin: SocketAddr) -> Value {
    let case = |(name, args): (&str, &[&str])| {
        let mut command = program("nghttp");
        command.args(["--no-verify-peer", "--timeout=10"]).args(args);
        command.arg(format!("http://{origin}/a?{name}"));
        (name.to_owned(), latin1(&output(&mut command)).into())
    };
    let cases: [(_, &[&str]); 3] = [
        ("prior", &[]),
        ("continuation", &["--continuation"]),
        ("many", &["--multiply=30", "--padding=20", "--window-bits=10"]),
    ];
    Value::Object(Map::from_iter(cases.map(case)))
}

/// The heads of answers, and trailers; status lines without their texts, which HTTP/2 has not.
fn sections(text: &str) -> Vec<Value> {
    let sections = text.split("\r\n\r\n").filter(|section| !section.is_empty());
    let section = |text: &str| {
        let (fields, status): (Vec<_>, Vec<_>) =
            text.lines().partition(|line| !line.starts_with("HTTP/"));
        let status = status.first().and_then(|line| line.split(' ').nth(1));
        let fields: Vec<_> = fields
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(n, v)| (n, v.trim()))
            .collect();
        json!({ "status": status, "headers": fields })
    };
    sections.map(section).collect()
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}
