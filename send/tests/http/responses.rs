//! Malformed answers: what a target gets wrong never changes the next answer.

use std::io::{BufReader, Write};
use std::net::TcpStream;

use crate::bridge::Bridge;
use crate::harness::caller::{Caller, get};
use crate::target::target_by_path;

/// What the caller gets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// An answer of the bridge's: 502.
    Refused,
    /// A beginning, and then the end of the connection; or 502, if the mistake came with the head.
    BrokenOff,
    /// This body, and a connection that can be used again.
    Whole(&'static str),
}

use Fate::{BrokenOff, Refused, Whole};

/// What follows an answer on the connection would be the answer to the next request.
macro_rules! then_another {
    ($text:literal) => {
        concat!($text, "HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-Wrong: 1\r\n\r\nsmuggled")
    };
}

const CASES: &[(&str, Fate, &str)] = &[
    ("plain", Whole("ok"), "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (
        "another-after-it",
        Whole("ok"),
        then_another!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ),
    (
        "another-after-chunks",
        Whole("ok"),
        then_another!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ),
    ("another-after-204", Whole(""), then_another!("HTTP/1.1 204 No Content\r\n\r\n")),
    (
        "another-after-304",
        Whole(""),
        then_another!("HTTP/1.1 304 Not Modified\r\nContent-Length: 8\r\n\r\n"),
    ),
    (
        "cl.te",
        Whole("ok"),
        then_another!(
            "HTTP/1.1 200 OK\r\nContent-Length: 90\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        ),
    ),
    ("cl.cl", Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!"),
    ("cl-list", Refused, "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok!"),
    ("cl-plus", Refused, "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    ("cl-minus", Refused, "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok"),
    ("cl-overflow", Refused, "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551618\r\n\r\nok"),
    (
        "te-unknown",
        Refused,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    (
        "te.te",
        Refused,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ),
    ("bare-lf", Refused, "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    ("bare-cr", Refused, "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    ("nul", Refused, "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    ("obs-fold", Refused, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    ("space-before-colon", Refused, "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok"),
    ("no-colon", Refused, "HTTP/1.1 200 OK\r\nnothing\r\nContent-Length: 0\r\n\r\n"),
    ("http-2.0", Refused, "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("status-99", Refused, "HTTP/1.1 99 Odd\r\nContent-Length: 0\r\n\r\n"),
    ("status-2000", Refused, "HTTP/1.1 2000 Odd\r\nContent-Length: 0\r\n\r\n"),
    ("no-status", Refused, "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
    (
        "unasked-101",
        Refused,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    ),
    ("not-http", Refused, "220 mail.example ESMTP\r\n"),
    (
        "chunk-size",
        BrokenOff,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nx\r\n",
    ),
    (
        "chunk-too-long",
        BrokenOff,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok!\r\n0\r\n\r\n",
    ),
    (
        "chunk-overflow",
        BrokenOff,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nok\r\n0\r\n\r\n",
    ),
    (
        "chunk-bare-lf",
        BrokenOff,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n",
    ),
    (
        "trailer-bare-lf",
        BrokenOff,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: a\nb: c\r\n\r\n",
    ),
    ("cut-off", BrokenOff, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"),
    (
        "cut-off-in-chunks",
        BrokenOff,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
    ),
    ("cut-off-in-head", Refused, "HTTP/1.1 200 OK\r\nContent-Le"),
    ("nothing", Refused, ""),
];

/// Answers `/CASE` as the table says; where more is awaited then, it closes. Else with the path.
fn serve(stream: &mut BufReader<TcpStream>, path: &str) {
    let case = CASES.iter().find(|(name, ..)| path.strip_prefix('/') == Some(name));
    let Some((name, _, bytes)) = case else {
        let length = path.len();
        write!(stream.get_ref(), "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{path}")
            .unwrap();
        return;
    };
    // The bridge may close before it has read all.
    let _ = stream.get_ref().write_all(bytes.as_bytes());
    if name.starts_with("cut-off") || *name == "nothing" {
        let _ = stream.get_ref().shutdown(std::net::Shutdown::Both);
    }
}

#[test]
fn the_next_answer_is_its_own() {
    let origin = target_by_path(serve);
    let bridge = Bridge::to(&[format!("http://{origin}")]);
    for (name, fate, _) in CASES {
        let mut caller = Caller::connect(bridge.mapping(0));
        caller.send_get(&format!("/{name}"), "");
        let mut reply = caller.head();
        let fate = if reply.status == 502 && *fate == BrokenOff { &Refused } else { fate };
        match fate {
            Refused => {
                assert_eq!(reply.status, 502, "{name}: {reply:?}");
                assert!(reply.field("proxy-status").is_some(), "{name}: {reply:?}");
                caller.body(&mut reply);
            }
            Whole(body) => {
                caller.body(&mut reply);
                assert_eq!(reply.text(), *body, "{name}: {reply:?}");
            }
            BrokenOff => {
                let rest = caller.rest();
                let whole = match reply.field("content-length") {
                    Some(length) => rest.len() == length.parse::<usize>().unwrap(),
                    None => rest.ends_with(b"0\r\n\r\n"),
                };
                assert!(!whole, "{name}: {}", rest.escape_ascii());
            }
        }
        assert!(reply.field("x-wrong").is_none() && reply.field("set-cookie").is_none(), "{name}");
        if *fate != BrokenOff {
            caller.send_get("/same", "Connection: close\r\n");
            caller.reply().assert_ok("/same");
            assert!(caller.rest().is_empty(), "{name}");
        }
        for next in ["/next", "/after"] {
            get(bridge.mapping(0), next).assert_ok(next);
        }
    }
}
