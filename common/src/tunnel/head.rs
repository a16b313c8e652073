//! Heads and trailers as length-prefixed fields.
//!
//! No byte of a field is ever searched for a delimiter, so nothing in it can end it early.

use std::ops::Range;

use bytes::{BufMut, Bytes};
use http::header::{HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri, Version};

use super::frame::MAX_HEAD;
use crate::headers;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const FIELDS: u8 = 3;

/// An encoded head or trailer section: the payload of one frame, at most [`MAX_HEAD`] long.
#[derive(Debug)]
pub struct EncodedHead(Vec<u8>);

impl EncodedHead {
    /// Encodes a request's head. `target` is the request-target of RFC 9112 §3.2.
    pub fn request(
        method: &Method,
        target: &str,
        headers: &HeaderMap,
    ) -> Result<Self, HeadTooLarge> {
        let mut out = buffer(target.len(), headers);
        out.put_u8(REQUEST);
        put_short(&mut out, method.as_str().as_bytes())?;
        put_short(&mut out, target.as_bytes())?;
        Self::finish(out, headers)
    }

    /// Encodes the head of a request that is passed on: of its target, path and query.
    pub fn passed_on(parts: &Parts) -> Result<Self, HeadTooLarge> {
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
        Self::request(&parts.method, target, &parts.headers)
    }

    /// Encodes a response's head.
    pub fn response(status: StatusCode, headers: &HeaderMap) -> Result<Self, HeadTooLarge> {
        let mut out = buffer(0, headers);
        out.put_u8(RESPONSE);
        out.put_u16(status.as_u16());
        Self::finish(out, headers)
    }

    /// Encodes a trailer section.
    pub fn trailers(trailers: &HeaderMap) -> Result<Self, HeadTooLarge> {
        let mut out = buffer(0, trailers);
        out.put_u8(FIELDS);
        Self::finish(out, trailers)
    }

    fn finish(mut out: Vec<u8>, headers: &HeaderMap) -> Result<Self, HeadTooLarge> {
        for (name, value) in headers {
            put_short(&mut out, name.as_str().as_bytes())?;
            put_short(&mut out, value.as_bytes())?;
        }
        match out.len() <= MAX_HEAD {
            true => Ok(Self(out)),
            false => Err(HeadTooLarge),
        }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.0
    }
}

/// The head does not fit into one frame of [`MAX_HEAD`] bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the head is over {MAX_HEAD} bytes")]
pub struct HeadTooLarge;

/// Reads a request's head. `None` if it is malformed.
pub(crate) fn decode_request(payload: Bytes) -> Option<Request<()>> {
    let mut reader = Reader::new(payload, REQUEST)?;
    let mut request = Request::new(());
    let method = reader.short()?;
    *request.method_mut() = Method::from_bytes(reader.payload.get(method)?).ok()?;
    *request.uri_mut() = Uri::from_maybe_shared(reader.shared()?).ok()?;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = reader.fields()?;
    Some(request)
}

/// Reads a response's head. `None` if it is malformed.
pub(crate) fn decode_response(payload: Bytes) -> Option<Response<()>> {
    let mut reader = Reader::new(payload, RESPONSE)?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(reader.u16()?).ok()?;
    *response.headers_mut() = reader.fields()?;
    Some(response)
}

/// Reads a trailer section. `None` if it is malformed.
pub(crate) fn decode_trailers(payload: Bytes) -> Option<HeaderMap> {
    Reader::new(payload, FIELDS)?.fields()
}

fn buffer(extra: usize, headers: &HeaderMap) -> Vec<u8> {
    // Most fields are shorter than 48 bytes; a longer one costs at worst one more allocation.
    Vec::with_capacity(32 + extra + headers.len() * 48)
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), HeadTooLarge> {
    out.put_u16(u16::try_from(bytes.len()).map_err(|_| HeadTooLarge)?);
    out.put_slice(bytes);
    Ok(())
}

struct Reader {
    payload: Bytes,
    /// How far it has been read.
    at: usize,
}

impl Reader {
    fn new(payload: Bytes, tag: u8) -> Option<Self> {
        (payload.first() == Some(&tag)).then_some(Self { payload, at: 1 })
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = *self.payload.get(self.at..)?.first_chunk()?;
        self.at += 2;
        Some(u16::from_be_bytes(bytes))
    }

    /// Where the next length-prefixed bytes are.
    fn short(&mut self) -> Option<Range<usize>> {
        let len = usize::from(self.u16()?);
        let range = self.at..self.at + len;
        self.at = range.end;
        (range.end <= self.payload.len()).then_some(range)
    }

    /// The same as a part of the payload; costs a count of references.
    fn shared(&mut self) -> Option<Bytes> {
        let range = self.short()?;
        Some(self.payload.slice(range))
    }

    fn fields(mut self) -> Option<HeaderMap> {
        let mut fields = headers::empty_map(12);
        while self.at < self.payload.len() {
            let name = self.short()?;
            let name = headers::parse_name(self.payload.get(name)?).ok()?;
            // The check of `from_maybe_shared` refuses CR, LF and NUL.
            let value = HeaderValue::from_maybe_shared(self.shared()?).ok()?;
            fields.try_append(name, value).ok()?;
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fuzzing;
    use super::*;

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let mut headers = HeaderMap::new();
        headers.append("host", HeaderValue::from_static("albums.example"));
        headers.append("cookie", HeaderValue::from_static("a=1"));
        headers.append("cookie", HeaderValue::from_static("b=2"));
        headers.append("x-latin", HeaderValue::from_bytes(b"\xe9").unwrap());
        let target = "//a/..;/%2F?";
        let head = EncodedHead::request(&Method::POST, target, &headers).unwrap();
        let read = decode_request(head.0.into()).unwrap();
        assert_eq!(read.method(), Method::POST);
        assert_eq!(read.uri().to_string(), target);
        assert_eq!(read.headers(), &headers);
    }

    #[test]
    fn a_response_and_trailers_read_back_as_they_were_written() {
        let mut headers = HeaderMap::new();
        headers.append("grpc-status", HeaderValue::from_static("0"));
        let head = EncodedHead::response(StatusCode::EARLY_HINTS, &headers).unwrap();
        let read = decode_response(head.0.into()).unwrap();
        assert_eq!((read.status(), read.headers()), (StatusCode::EARLY_HINTS, &headers));
        let trailers = EncodedHead::trailers(&headers).unwrap();
        assert_eq!(decode_trailers(trailers.0.into()), Some(headers));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut headers = HeaderMap::new();
        headers.append("x", HeaderValue::from_bytes(&vec![b'a'; MAX_HEAD]).unwrap());
        assert_eq!(EncodedHead::response(StatusCode::OK, &headers).map(|_| ()), Err(HeadTooLarge));
    }

    #[test]
    fn refuses_line_breaks_and_odd_names() {
        let field = |name: &[u8], value: &[u8]| {
            let mut out = vec![FIELDS];
            put_short(&mut out, name).unwrap();
            put_short(&mut out, value).unwrap();
            decode_trailers(out.into())
        };
        assert!(field(b"name", b"value").is_some());
        for (name, value) in [
            (&b"a:b"[..], &b"v"[..]),
            (b"", b"v"),
            (b"a b", b"v"),
            (b"a", b"v\r\nx: y"),
            (b"a", b"\0"),
        ] {
            assert!(field(name, value).is_none(), "{name:?}: {value:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for tag in [REQUEST, RESPONSE, FIELDS] {
                fuzzing::heads(&[&[tag], &bytes[..]].concat());
            }
        }
    }
}
