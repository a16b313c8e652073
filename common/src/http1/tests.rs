//! Messages of many kinds, as this module reads them and as hyper does.

use proptest::prelude::*;
use proptest::sample::select;

use super::fuzzing;

/// What a message is made of: mostly right, sometimes not, and sometimes cut.
fn message(first: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let field = prop_oneof![
        6 => select(FIELDS).prop_map(str::to_owned),
        3 => ("[A-Za-z-]{1,9}", "[ -~\u{e9}]{0,12}").prop_map(|(n, v)| format!("{n}: {v}\r\n")),
        1 => "[\\x00-\\x7f]{0,9}",
    ];
    let body = prop_oneof![
        3 => select(BODIES).prop_map(str::to_owned),
        1 => "[0-9a-f;\r\n x]{0,20}",
    ];
    let parts =
        (select(first), prop::collection::vec(field, 0..5), prop::collection::vec(body, 0..4));
    (parts, any::<prop::sample::Index>(), 0..5).prop_map(|((first, fields, body), cut, whole)| {
        let text = [first, &fields.concat(), "\r\n", &body.concat()].concat();
        let mut bytes = text.into_bytes();
        if whole == 0 {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes
    })
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "PUT //x/%2F..;/ HTTP/1.0\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "CONNECT a:1 HTTP/1.1\r\n",
    "GET http://a/b HTTP/1.1\r\n",
    "HEAD /#f HTTP/1.1\r\n",
    "\r\n\r\nDELETE / HTTP/1.1\r\n",
    "\r\rGET / HTTP/1.1\r\n",
    "\nGET / HTTP/1.1\n",
    "GET  / HTTP/1.1\r\n",
    "X!#$%&'*+-.^_`|~ /\"<>\\^`{|} HTTP/1.1\r\n",
    "GET / HTTP/1.2\r\n",
    "GET /\u{e9} HTTP/1.1\r\n",
    "PRI * HTTP/2.0\r\n",
];

const RESPONSES: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 204 No Content\r\n",
    "HTTP/1.1 304 Not Modified\r\n",
    "HTTP/1.1 404\r\n",
    "HTTP/1.1 500 \r\n",
    "HTTP/1.1 999 \u{e9}\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 099 Low\r\n",
    "HTTP/1.1 20 OK\r\n",
    "HTTP/1.1  200 OK\r\n",
    "\r\nHTTP/1.1 200 OK\r\n",
    "HTTP/1.1 200 OK\n",
];

const FIELDS: &[&str] = &[
    "Host: a\r\n",
    "Content-Length: 4\r\n",
    "Content-Length: 0004\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: +4\r\n",
    "Content-Length: 4, 4\r\n",
    "Content-Length: 99999999999999999999\r\n",
    "Content-Length: \r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:CHUNKED \r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding:\tchunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Expect: 100-continue\r\n",
    "Connection: close\r\n",
    "Connection: upgrade\r\nUpgrade: x\r\n",
    "X:\r\n",
    "X: a\r\n b\r\n",
    "X: a\rb\r\n",
    "X: a\n",
    "X: \0\r\n",
    " X: a\r\n",
    ": a\r\n",
    "X\r\n",
    "Set-Cookie: a\r\nSet-Cookie: b\r\n",
];

const BODIES: &[&str] = &[
    "abcd",
    "4\r\nabcd\r\n",
    "4;x=\"y\"\r\nabcd\r\n",
    "0004 ;x\r\nabcd\r\n",
    "4 \r\nabcd\r\n",
    "+4\r\nabcd\r\n",
    "4\nabcd\r\n",
    "4\r\nabcdX\r\n",
    "ffffffffffffffff\r\nabcd",
    "10000000000000000\r\nabcd",
    "0\r\n\r\n",
    "0\r\nX: y\r\n\r\n",
    "0\r\nX : y\r\n\r\n",
    "0\r\nX: y\n\r\n",
    "0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn requests(bytes in message(REQUESTS)) {
        fuzzing::request(&bytes);
    }

    #[test]
    fn responses(bytes in message(RESPONSES), to_head: bool) {
        fuzzing::response(&bytes, to_head);
    }

    #[test]
    fn bodies(parts in prop::collection::vec(select(BODIES), 0..4), framing: u8) {
        fuzzing::body(parts.concat().as_bytes(), framing);
    }

    #[test]
    fn switches(bytes in message(REQUESTS)) {
        fuzzing::upgrade(&bytes);
    }
}
