//! The heads of a request and of its answer.

use bytes::BytesMut;
use http::Response;
use http::request::Parts;
use tunnel_common::http1::benching::{REQUEST, RESPONSE, take_request, take_response};

pub(super) fn request() -> Parts {
    take_request(&mut BytesMut::from(REQUEST)).unwrap()
}

pub(super) fn response() -> Response<()> {
    take_response(&mut BytesMut::from(RESPONSE)).unwrap()
}
