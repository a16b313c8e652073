//! Doors for `benches/`: heads from bytes and back. Not part of any release build.

use bytes::BytesMut;
use http::Response;
use http::request::Parts;

use super::head;
use crate::edge::Limits;

/// Takes a request's head off `input`; `None` unless it is whole and good.
pub fn take_request(input: &mut BytesMut) -> Option<Parts> {
    head::take_request(input, &mut 0, &Limits::default()).ok().flatten()
}

/// Takes a response's head off `input`; `None` unless it is whole and good.
pub fn take_response(input: &mut BytesMut) -> Option<Response<()>> {
    head::take_response(input, &mut 0).ok().flatten()
}

/// Writes a request's head, without the empty line that ends it.
pub fn put_request(out: &mut BytesMut, parts: &Parts) {
    head::put_request(out, parts);
}

/// Writes a response's head, without the empty line that ends it.
pub fn put_response(out: &mut BytesMut, response: &Response<()>) {
    head::put_response(out, response.status(), response.headers());
}
