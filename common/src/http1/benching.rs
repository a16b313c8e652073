//! What benchmarks measure with: a request, and heads from bytes and back. Not part of any release build.

use bytes::BytesMut;

use super::head;
use crate::edge::Limits;
use crate::message::{RequestHead, Response};

/// A request as API calls are.
pub const REQUEST: &[u8] = b"GET /albums/42?fields=title,artist HTTP/1.1\r\n\
    Host: albums.example:8050\r\n\
    User-Agent: shop/3.14 (linux)\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip, br\r\n\
    Authorization: Bearer 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b\r\n\
    Cookie: session=2c26b46b68ffc68ff99b453c1d304134\r\n\
    Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n";

/// The head of its answer, which has 36 bytes of body.
pub const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Content-Type: application/json\r\n\
    Content-Length: 36\r\n\
    Date: Sat, 21 Nov 2026 02:21:06 GMT\r\n\
    Cache-Control: no-cache\r\n\r\n";

/// Takes a request's head off `input`; `None` unless it is whole and good.
pub fn take_request(input: &mut BytesMut) -> Option<RequestHead> {
    head::take_request(input, &mut 0, &Limits::default()).ok().flatten()
}

/// Takes a response's head off `input`; `None` unless it is whole and good.
pub fn take_response(input: &mut BytesMut) -> Option<Response<()>> {
    head::take_response(input, &mut 0).ok().flatten()
}

/// Writes a request's head, without the empty line that ends it.
pub fn put_request(out: &mut BytesMut, request: &RequestHead) {
    head::put_request(out, request);
}

/// Writes a response's head, without the empty line that ends it.
pub fn put_response(out: &mut BytesMut, response: &Response<()>) {
    head::put_response(out, response);
}
