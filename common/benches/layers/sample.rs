//! A request and its answer, as API calls are.

use bytes::BytesMut;
use http::Response;
use http::request::Parts;
use tunnel_common::http1::benching::{take_request, take_response};

pub(super) const REQUEST: &[u8] = b"GET /albums/42?fields=title,artist HTTP/1.1\r\n\
    Host: albums.example:8050\r\n\
    User-Agent: shop/3.14 (linux)\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip, br\r\n\
    Authorization: Bearer 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b\r\n\
    Cookie: session=2c26b46b68ffc68ff99b453c1d304134\r\n\
    Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

pub(super) const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 36\r\n\
    Date: Sat, 21 Nov 2026 02:21:06 GMT\r\n\
    Cache-Control: no-cache\r\n\r\n";

pub(super) fn request() -> Parts {
    take_request(&mut BytesMut::from(REQUEST)).unwrap()
}

pub(super) fn response() -> Response<()> {
    take_response(&mut BytesMut::from(RESPONSE)).unwrap()
}
