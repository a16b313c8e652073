//! The heads of a request and of its answer.

use bytes::BytesMut;
use tunnel_common::http1::benching::{REQUEST, RESPONSE, take_request, take_response};
use tunnel_common::message::{RequestHead, Response};

pub(super) fn request() -> RequestHead {
    take_request(&mut BytesMut::from(REQUEST)).unwrap()
}

pub(super) fn response() -> Response<()> {
    take_response(&mut BytesMut::from(RESPONSE)).unwrap()
}
