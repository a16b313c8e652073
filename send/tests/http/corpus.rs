//! Requests that two servers could read differently, and what becomes of each.

/// What the bridge does with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// Answered by the bridge with this status; the origin sees nothing.
    Refused(u16),
    /// Refused when the origin may have seen its head already, which then never has an end.
    Broken,
    /// Passed on: the origin sees it once, with the path that it was sent with.
    Passed,
    /// Two requests on one connection, and meant so.
    Two,
}

use Fate::{Broken, Passed, Refused, Two};

/// One row of the corpus: a name and the bytes, in which `{path}` is a path of its own, `{host}` is
/// the mapping's address and `{other}` that of a mapping which nothing may reach.
pub struct Case {
    pub name: &'static str,
    pub fate: Fate,
    pub bytes: &'static [u8],
}

const fn case(name: &'static str, fate: Fate, bytes: &'static [u8]) -> Case {
    Case { name, fate, bytes }
}

/// What follows a message that one server may take for longer or shorter than another.
macro_rules! post {
    ($fields:literal, $rest:literal) => {
        concat!("POST {path} HTTP/1.1\r\nHost: {host}\r\n", $fields, "\r\n", $rest).as_bytes()
    };
}

macro_rules! get {
    ($fields:literal) => {
        concat!("GET {path} HTTP/1.1\r\nHost: {host}\r\n", $fields, "\r\n").as_bytes()
    };
}

pub const CORPUS: &[Case] = &[
    // Two lengths.
    case("cl.te", Refused(400), post!("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\nX")),
    case("te.cl", Refused(400), post!("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "27\r\nGET /smuggled HTTP/1.1\r\nHost: {other}\r\n\r\n\r\n0\r\n\r\n")),
    case("cl-0.te", Refused(400), post!("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    case("cl.cl", Refused(400), post!("Content-Length: 4\r\nContent-Length: 5\r\n", "abcde")),
    case("cl.cl-equal", Refused(400), post!("Content-Length: 4\r\nContent-Length: 4\r\n", "abcd")),
    case("cl-list", Refused(400), post!("Content-Length: 4, 4\r\n", "abcd")),
    case("cl-list-differs", Refused(400), post!("Content-Length: 0, 36\r\n", "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
    case("cl-plus", Refused(400), post!("Content-Length: +4\r\n", "abcd")),
    case("cl-minus", Refused(400), post!("Content-Length: -1\r\n", "abcd")),
    case("cl-empty", Refused(400), post!("Content-Length: \r\n", "abcd")),
    case("cl-hex", Refused(400), post!("Content-Length: 0x4\r\n", "abcd")),
    case("cl-underscore", Refused(400), post!("Content-Length: 1_0\r\n", "abcdabcdab")),
    case("cl-decimal", Refused(400), post!("Content-Length: 4.0\r\n", "abcd")),
    case("cl-inner-space", Refused(400), post!("Content-Length: 4 4\r\n", "abcd")),
    case("cl-quoted", Refused(400), post!("Content-Length: \"4\"\r\n", "abcd")),
    case("cl-overflow", Refused(400), post!("Content-Length: 18446744073709551620\r\n", "abcd")),
    case("cl-long", Refused(400), post!("Content-Length: 99999999999999999999999999999999\r\n", "abcd")),
    case("cl-obs-text", Refused(400), "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: \u{664}\r\n\r\nabcd".as_bytes()),
    case("cl-leading-zeros", Passed, post!("Content-Length: 0004\r\n", "abcd")),
    case("cl-tab", Passed, post!("Content-Length:\t4\t\r\n", "abcd")),
    case("cl-name-underscore", Passed, post!("Content-Length: 4\r\nContent_Length: 0\r\n", "abcd")),
    case("cl-in-get", Passed, b"GET {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nabcd"),
    case("cl-in-http-1.0", Passed, b"POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nabcd"),
    case("cl-connection", Passed, post!("Connection: Content-Length\r\nContent-Length: 36\r\n",
        "GET /smuggled HTTP/1.1\r\nHost: ab\r\n\r\n")),
    case("short-body", Broken, post!("Content-Length: 10\r\nConnection: close\r\n", "abcd")),
    // Codings that not all know, or spell.
    case("te-xchunked", Refused(400), post!("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")),
    case("te-identity", Refused(400), post!("Transfer-Encoding: identity\r\n", "")),
    case("te-identity.cl", Refused(400), post!("Transfer-Encoding: identity\r\nContent-Length: 4\r\n", "abcd")),
    case("te-gzip-chunked", Refused(400), post!("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")),
    case("te-chunked-identity", Refused(400), post!("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n")),
    case("te-chunked-chunked", Refused(400), post!("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")),
    case("te.te", Refused(400), post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n")),
    case("te.te-equal", Refused(400), post!("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    case("te-empty", Refused(400), post!("Transfer-Encoding: \r\n", "0\r\n\r\n")),
    case("te-comma", Refused(400), post!("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n")),
    case("te-quoted", Refused(400), post!("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n")),
    case("te-parameter", Refused(400), post!("Transfer-Encoding: chunked;q=1\r\n", "0\r\n\r\n")),
    case("te-vertical-tab", Refused(400), post!("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n")),
    case("te-form-feed", Refused(400), post!("Transfer-Encoding: chunked\x0c\r\n", "0\r\n\r\n")),
    case("te-no-break-space", Refused(400), "POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\u{a0}chunked\r\n\r\n0\r\n\r\n".as_bytes()),
    case("te-space-before-colon", Refused(400), post!("Transfer-Encoding : chunked\r\n", "0\r\n\r\n")),
    case("te-tab-before-colon", Refused(400), post!("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n")),
    case("te-folded", Refused(400), post!("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n")),
    case("te-bare-cr", Refused(400), post!("X: a\rTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    case("te-bare-lf", Refused(400), post!("X: a\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
    case("te-in-http-1.0", Refused(400), b"POST {path} HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("te-in-http-1.0.cl", Refused(400), b"POST {path} HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    case("te-case", Passed, post!("transfer-ENCODING: CHUNKed\r\n", "4\r\nabcd\r\n0\r\n\r\n")),
    case("te-name-underscore", Passed, post!("Transfer_Encoding: chunked\r\nContent-Length: 4\r\n", "abcd")),
    case("te-connection", Passed, post!("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\n\r\n")),
    case("te-in-get", Passed, b"GET {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"),
    // Chunks.
    case("chunk-size-empty", Broken, post!("Transfer-Encoding: chunked\r\n", "\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-overflow", Broken, post!("Transfer-Encoding: chunked\r\n", "10000000000000004\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-prefix", Broken, post!("Transfer-Encoding: chunked\r\n", "0x4\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-plus", Broken, post!("Transfer-Encoding: chunked\r\n", "+4\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-minus", Broken, post!("Transfer-Encoding: chunked\r\n", "-1\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-underscore", Broken, post!("Transfer-Encoding: chunked\r\n", "0_4\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-leading-space", Broken, post!("Transfer-Encoding: chunked\r\n", " 4\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-trailing-space", Broken, post!("Transfer-Encoding: chunked\r\n", "4 \r\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-bare-lf", Broken, post!("Transfer-Encoding: chunked\r\n", "4\nabcd\r\n0\r\n\r\n")),
    case("chunk-size-bare-cr", Broken, post!("Transfer-Encoding: chunked\r\n", "4\rabcd\r\n0\r\n\r\n")),
    case("chunk-size-not-hex", Broken, post!("Transfer-Encoding: chunked\r\n", "g\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-too-long", Broken, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcdXX\r\n0\r\n\r\n")),
    case("chunk-end-bare-lf", Broken, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\n0\r\n\r\n")),
    case("chunk-end-missing", Broken, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd0\r\n\r\n")),
    case("chunk-extension-bare-lf", Broken, post!("Transfer-Encoding: chunked\r\n", "4;a\nGET /smuggled HTTP/1.1\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-extension-bare-cr", Broken, post!("Transfer-Encoding: chunked\r\n", "4;a\rb\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-extension-nul", Broken, post!("Transfer-Encoding: chunked\r\n", "4;a\0\r\nabcd\r\n0\r\n\r\n")),
    case("chunk-extension", Passed, post!("Transfer-Encoding: chunked\r\n", "4;a=b;c=\"d\"\r\nabcd\r\n0;x\r\n\r\n")),
    case("chunk-size-zeros", Passed, post!("Transfer-Encoding: chunked\r\n", "00000004\r\nabcd\r\n000\r\n\r\n")),
    case("trailer-te", Passed, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n")),
    case("trailer-cl", Passed, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nContent-Length: 50\r\n\r\n")),
    case("trailer-host", Passed, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nHost: {other}\r\n\r\n")),
    case("trailer-condition", Passed, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nX-Proxy-Condition: 8051\r\n\r\n")),
    case("trailer-bad-name", Broken, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nX : y\r\n\r\n")),
    case("trailer-bare-lf", Broken, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nX: y\n\r\n\r\n")),
    case("trailer-request", Broken, post!("Transfer-Encoding: chunked\r\n", "4\r\nabcd\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")),
    // Lines.
    case("bare-lf-everywhere", Refused(400), b"GET {path} HTTP/1.1\nHost: {host}\n\n\r\n\r\n"),
    case("bare-lf-in-value", Refused(400), get!("X: a\nGET /smuggled HTTP/1.1\r\n")),
    case("bare-lf-at-the-end", Refused(400), b"GET {path} HTTP/1.1\r\nHost: {host}\r\nX: a\n\r\n\r\n"),
    case("bare-cr-in-value", Refused(400), get!("X: a\rb\r\n")),
    case("bare-cr-in-name", Refused(400), get!("X\rY: b\r\n")),
    case("bare-cr-before-crlf", Refused(400), get!("X: a\r\r\n")),
    case("nul-in-value", Refused(400), get!("X: a\0b\r\n")),
    case("nul-in-name", Refused(400), get!("X\0: b\r\n")),
    case("nul-in-path", Refused(400), b"GET {path}\0 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("nul-in-method", Refused(400), b"GE\0T {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("delete-in-value", Refused(400), get!("X: a\x7fb\r\n")),
    case("obs-fold", Refused(400), get!("X: a\r\n b\r\n")),
    case("obs-fold-tab", Refused(400), get!("X: a\r\n\tb\r\n")),
    case("obs-fold-first", Refused(400), b"GET {path} HTTP/1.1\r\n Host: {other}\r\nHost: {host}\r\n\r\n"),
    case("space-before-colon", Refused(400), get!("X : a\r\n")),
    case("space-in-name", Refused(400), get!("X Y: a\r\n")),
    case("no-colon", Refused(400), get!("nothing\r\n")),
    case("empty-name", Refused(400), get!(": a\r\n")),
    case("obs-text-in-name", Refused(400), "GET {path} HTTP/1.1\r\nHost: {host}\r\nX\u{e9}: a\r\n\r\n".as_bytes()),
    case("obs-text-in-value", Passed, "GET {path} HTTP/1.1\r\nHost: {host}\r\nX: \u{e9}\r\n\r\n".as_bytes()),
    case("delimiter-in-name", Refused(400), get!("X(Y): a\r\n")),
    case("empty-lines-before", Passed, b"\r\n\r\nGET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("empty-value", Passed, get!("X:\r\n")),
    case("many-fields", Passed, get!("A: 1\r\nA: 2\r\nA: 3\r\nB: ,,\r\n")),
    // The first line.
    case("two-spaces", Refused(400), b"GET  {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("tab-for-space", Refused(400), b"GET\t{path}\tHTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("leading-space", Refused(400), b" GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("trailing-space", Refused(400), b"GET {path} HTTP/1.1 \r\nHost: {host}\r\n\r\n"),
    case("space-in-path", Refused(400), b"GET {path} x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("request-in-path", Refused(400), b"GET {path} HTTP/1.1 HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("http-0.9", Refused(400), b"GET {path}\r\n\r\n"),
    case("http-1.2", Refused(400), b"GET {path} HTTP/1.2\r\nHost: {host}\r\n\r\n"),
    case("http-2.0", Refused(400), b"GET {path} HTTP/2.0\r\nHost: {host}\r\n\r\n"),
    case("http-lower", Refused(400), b"GET {path} http/1.1\r\nHost: {host}\r\n\r\n"),
    case("http-01.1", Refused(400), b"GET {path} HTTP/01.1\r\nHost: {host}\r\n\r\n"),
    case("method-delimiter", Refused(400), b"GET@ {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("fragment", Refused(400), b"GET {path}#fragment HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("backslash", Passed, b"GET {path}\\..\\x HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("bare-authority", Refused(400), b"GET a HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("relative-target", Refused(400), b"GET a{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("connect", Refused(400), b"CONNECT {other} HTTP/1.1\r\nHost: {other}\r\n\r\n"),
    case("asterisk-get", Refused(400), b"GET * HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    // Whom it is for.
    case("no-host", Refused(400), b"GET {path} HTTP/1.1\r\n\r\n"),
    case("two-hosts", Refused(400), get!("Host: {other}\r\n")),
    case("two-hosts-equal", Refused(400), get!("Host: {host}\r\n")),
    case("host-list", Refused(400), b"GET {path} HTTP/1.1\r\nHost: {host}, {other}\r\n\r\n"),
    case("host-path", Refused(400), b"GET {path} HTTP/1.1\r\nHost: {host}/{other}\r\n\r\n"),
    case("host-user", Refused(400), b"GET {path} HTTP/1.1\r\nHost: {host}@{other}\r\n\r\n"),
    case("host-space", Refused(400), b"GET {path} HTTP/1.1\r\nHost: {host} {other}\r\n\r\n"),
    case("host-two-ports", Refused(400), b"GET {path} HTTP/1.1\r\nHost: {host}:80\r\n\r\n"),
    case("host-of-another-mapping", Passed, b"GET {path} HTTP/1.1\r\nHost: {other}\r\n\r\n"),
    case("absolute", Passed, b"GET http://{host}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("absolute-another-host", Passed, b"GET http://{other}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("absolute-user", Refused(400), b"GET http://{host}@{other}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("absolute-no-host", Passed, b"GET http://{other}{path} HTTP/1.0\r\n\r\n"),
    case("host-in-connection", Passed, get!("Connection: Host\r\n")),
    case("http-1.0-no-host", Passed, b"GET {path} HTTP/1.0\r\n\r\n"),
    // The routing header.
    case("condition", Passed, get!("X-Proxy-Condition: 8051\r\n")),
    case("condition-twice", Passed, get!("X-Proxy-Condition: 8051\r\nX-Proxy-Condition: 8051\r\n")),
    case("condition-in-connection", Passed, get!("Connection: X-Proxy-Condition\r\nX-Proxy-Condition: 8051\r\n")),
    case("condition-underscore", Passed, get!("X_Proxy_Condition: 8051\r\n")),
    case("condition-dot", Passed, get!("X.Proxy.Condition: 8051\r\n")),
    case("condition-case", Passed, get!("x-PROXY-condition: 8051\r\n")),
    case("condition-space", Refused(400), get!("X-Proxy-Condition : 8051\r\n")),
    case("condition-upgraded", Passed, get!("Connection: Upgrade, X-Proxy-Condition\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Proxy-Condition: 8051\r\n")),
    // Two requests.
    case("pipelined", Two, b"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\nGET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("pipelined-after-a-body", Two, b"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nabcdGET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("pipelined-after-chunks", Two, b"POST {path} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\nGET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("preface-later", Two, b"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\nGET {path} HTTP/1.1\r\nHost: {host}\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    case("after-close", Passed, b"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("after-http-1.0", Passed, b"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"),
    case("preface-cut", Refused(400), b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
    case("tls", Refused(400), b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"),
];
