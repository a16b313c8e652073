//! Heads and trailers as length-prefixed fields.
//!
//! No byte of a field is ever searched for a delimiter, so nothing in it can end it early.

use bytes::BufMut;
use http::{Method, StatusCode, Uri, Version};

use super::frame::MAX_HEAD;
use crate::fields::Fields;
use crate::message::{RequestHead, Response};

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;
const FIELDS: u8 = 3;

/// An encoded head or trailer section: the payload of one frame, at most [`MAX_HEAD`] long.
#[derive(Debug)]
pub struct EncodedHead(Vec<u8>);

impl EncodedHead {
    /// Encodes a request's head. Of its URI, path and query cross the tunnel.
    pub fn request(head: &RequestHead) -> Result<Self, HeadTooLarge> {
        let target = head.target();
        let mut out = buffer(target.len(), &head.fields);
        out.put_u8(REQUEST);
        put_short(&mut out, head.method.as_str().as_bytes())?;
        put_short(&mut out, target.as_bytes())?;
        Self::finish(out, &head.fields)
    }

    /// Encodes a response's head.
    pub fn response<B>(response: &Response<B>) -> Result<Self, HeadTooLarge> {
        let mut out = buffer(0, &response.fields);
        out.put_u8(RESPONSE);
        out.put_u16(response.status.as_u16());
        Self::finish(out, &response.fields)
    }

    /// Encodes a trailer section.
    pub fn trailers(trailers: &Fields) -> Result<Self, HeadTooLarge> {
        let mut out = buffer(0, trailers);
        out.put_u8(FIELDS);
        Self::finish(out, trailers)
    }

    fn finish(mut out: Vec<u8>, fields: &Fields) -> Result<Self, HeadTooLarge> {
        for field in fields.iter() {
            put_short(&mut out, field.name)?;
            put_short(&mut out, field.value)?;
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
pub(crate) fn decode_request(payload: &[u8]) -> Option<RequestHead> {
    let mut reader = Reader::new(payload, REQUEST)?;
    let method = Method::from_bytes(reader.short()?).ok()?;
    let uri = Uri::try_from(reader.short()?).ok()?;
    Some(RequestHead {
        method,
        uri: uri.authority().is_none().then_some(uri)?,
        version: Version::HTTP_11,
        fields: reader.fields()?,
    })
}

/// Reads a response's head. `None` if it is malformed.
pub(crate) fn decode_response(payload: &[u8]) -> Option<Response<()>> {
    let mut reader = Reader::new(payload, RESPONSE)?;
    let status = StatusCode::from_u16(reader.u16()?).ok()?;
    Some(Response { status, version: Version::HTTP_11, fields: reader.fields()?, body: () })
}

/// Reads a trailer section. `None` if it is malformed.
pub(crate) fn decode_trailers(payload: &[u8]) -> Option<Fields> {
    Reader::new(payload, FIELDS)?.fields()
}

fn buffer(extra: usize, fields: &Fields) -> Vec<u8> {
    // Most fields are shorter than 48 bytes; a longer one costs at worst one more allocation.
    Vec::with_capacity(32 + extra + fields.len() * 48)
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), HeadTooLarge> {
    out.put_u16(u16::try_from(bytes.len()).map_err(|_| HeadTooLarge)?);
    out.put_slice(bytes);
    Ok(())
}

/// What is left of a payload.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn new(payload: &'a [u8], tag: u8) -> Option<Self> {
        let (first, rest) = payload.split_first()?;
        (*first == tag).then_some(Self(rest))
    }

    fn u16(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    /// The next length-prefixed bytes.
    fn short(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.u16()?);
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn fields(mut self) -> Option<Fields> {
        let mut fields = Fields::new();
        while !self.0.is_empty() {
            let (name, value) = (self.short()?, self.short()?);
            fields.push(name, value).ok()?;
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::fuzzing;
    use super::*;
    use crate::fields::Name;

    #[test]
    fn a_request_reads_back_as_it_was_written() {
        let mut head = RequestHead::get(Uri::from_static("//a/..;/%2F?"));
        head.method = Method::POST;
        head.fields.append(Name::Host, b"albums.example");
        head.fields.push(b"cookie", b"a=1").unwrap();
        head.fields.push(b"cookie", b"b=2").unwrap();
        head.fields.push(b"x-latin", b"\xe9").unwrap();
        let encoded = EncodedHead::request(&head).unwrap();
        assert_eq!(decode_request(encoded.payload()), Some(head));
    }

    #[test]
    fn a_response_and_trailers_read_back_as_they_were_written() {
        let mut head = Response::new(StatusCode::EARLY_HINTS, ());
        head.fields.push(b"grpc-status", b"0").unwrap();
        let encoded = EncodedHead::response(&head).unwrap();
        assert_eq!(decode_response(encoded.payload()).as_ref(), Some(&head));
        let encoded = EncodedHead::trailers(&head.fields).unwrap();
        assert_eq!(decode_trailers(encoded.payload()), Some(head.fields));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut fields = Fields::new();
        fields.push(b"x", &vec![b'a'; MAX_HEAD]).unwrap();
        assert_eq!(EncodedHead::trailers(&fields).map(|_| ()), Err(HeadTooLarge));
    }

    #[test]
    fn refuses_line_breaks_and_odd_names() {
        let field = |name: &[u8], value: &[u8]| {
            let mut out = vec![FIELDS];
            put_short(&mut out, name).unwrap();
            put_short(&mut out, value).unwrap();
            decode_trailers(&out)
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
