//! Heads: from bytes, strictly, and back.

use std::mem::MaybeUninit;

use bytes::{Buf, BufMut, BytesMut};
use http::{HeaderMap, Method, StatusCode, Uri, Version};
use memchr::memchr_iter;

use super::error::Http1Error;
use super::{MAX_FIELDS, MAX_HEAD};
use crate::edge::Limits;
use crate::fields::{Field, Fields};
use crate::message::{RequestHead, Response};

/// Takes a request's head off `input`, once it is whole. `scanned` is how far earlier calls have
/// looked for its end; it starts at 0.
pub(super) fn take_request(
    input: &mut BytesMut,
    scanned: &mut usize,
    limits: &Limits,
) -> Result<Option<RequestHead>, Http1Error> {
    // RFC 9112 §2.2: an empty line before the request is ignored.
    while input.starts_with(b"\r\n") && *scanned == 0 {
        input.advance(2);
    }
    // Half of such a line, perhaps.
    if *input == b"\r"[..] {
        return Ok(None);
    }
    // What begins so is no method, and may never have an end: TLS, most of all.
    if input.first().is_some_and(|byte| !byte.is_ascii_graphic() && *byte != b'\r') {
        return Err(Http1Error::Malformed("not a request"));
    }
    let end = find_section(input, scanned)?;
    if end.unwrap_or(input.len()) > limits.max_head {
        return Err(Http1Error::HeadTooLarge);
    }
    let Some(end) = end else { return Ok(None) };
    let section = input.get(..end).unwrap_or_default();
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Request::new(&mut []);
    parsed.parse_with_uninit_headers(section, &mut fields).map_err(refused)?;
    if parsed.headers.len() > limits.max_fields {
        return Err(Http1Error::HeadTooLarge);
    }
    let method = parsed.method.unwrap_or_default();
    let head = RequestHead {
        method: Method::from_bytes(method.as_bytes())
            .map_err(|_| Http1Error::Malformed("a bad method"))?,
        uri: uri(parsed.path.unwrap_or_default())?,
        version: version(parsed.version),
        fields: list(parsed.headers)?,
    };
    input.advance(end);
    Ok(Some(head))
}

/// Takes a response's head off `input`, once it is whole. `scanned` as in [`take_request`].
pub(super) fn take_response(
    input: &mut BytesMut,
    scanned: &mut usize,
) -> Result<Option<Response<()>>, Http1Error> {
    const START: &[u8] = b"HTTP/1.";
    let len = input.len().min(START.len());
    if input.get(..len) != START.get(..len) {
        return Err(Http1Error::Malformed("not a response"));
    }
    let Some(end) = find_section(input, scanned)? else { return Ok(None) };
    let section = input.get(..end).unwrap_or_default();
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, section, &mut fields)
        .map_err(refused)?;
    let response = Response {
        status: StatusCode::from_u16(parsed.code.unwrap_or_default())
            .map_err(|_| Http1Error::Malformed("a bad status"))?,
        version: version(parsed.version),
        fields: list(parsed.headers)?,
        body: (),
    };
    input.advance(end);
    Ok(Some(response))
}

/// Takes trailers off `input`, once they are whole.
pub(super) fn take_trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Http1Error> {
    let Some(end) = find_section(input, &mut 0)? else { return Ok(None) };
    let section = input.get(..end).unwrap_or_default();
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let trailers = match httparse::parse_headers(section, &mut fields).map_err(refused)? {
        httparse::Status::Complete((_, fields)) => HeaderMap::from(&list(fields)?),
        httparse::Status::Partial => return Err(Http1Error::Malformed("bad trailers")),
    };
    input.advance(end);
    Ok(Some(trailers))
}

/// Where the next empty line ends, once that is there. Refuses line breaks that are not CRLF: what
/// some servers take for one, others do not (RFC 9112 §2.2).
fn find_section(input: &[u8], scanned: &mut usize) -> Result<Option<usize>, Http1Error> {
    let end = end_of_section(input, *scanned)?;
    *scanned = if end.is_some() { 0 } else { input.len() };
    match end.unwrap_or(input.len()) <= MAX_HEAD {
        true => Ok(end),
        false => Err(Http1Error::HeadTooLarge),
    }
}

/// Where the first empty line ends that ends at `from` or later. A CR that no LF follows is not
/// looked for: httparse refuses it.
fn end_of_section(input: &[u8], from: usize) -> Result<Option<usize>, Http1Error> {
    for at in memchr_iter(b'\n', input.get(from..).unwrap_or_default()) {
        let end = from + at + 1;
        let lines = input.get(..end).unwrap_or_default();
        if !lines.ends_with(b"\r\n") {
            return Err(Http1Error::Malformed("a line break that is not CRLF"));
        }
        if lines.ends_with(b"\r\n\r\n") {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

fn refused(error: httparse::Error) -> Http1Error {
    Http1Error::Malformed(match error {
        httparse::Error::TooManyHeaders => return Http1Error::HeadTooLarge,
        httparse::Error::HeaderName => "a bad field name",
        httparse::Error::HeaderValue => "a bad field value",
        httparse::Error::NewLine => "a bad line break",
        httparse::Error::Status => "a bad status",
        httparse::Error::Token => "a bad method or target",
        httparse::Error::Version => "a bad HTTP version",
    })
}

fn uri(target: &str) -> Result<Uri, Http1Error> {
    // A fragment is not part of a target (RFC 9112 §3.2); the URI type would drop it silently.
    if target.contains('#') {
        return Err(Http1Error::Malformed("a fragment in the target"));
    }
    Uri::try_from(target).map_err(|_| Http1Error::Malformed("a bad target"))
}

fn version(minor: Option<u8>) -> Version {
    match minor {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    }
}

/// httparse has checked names and values.
fn list(parsed: &[httparse::Header<'_>]) -> Result<Fields, Http1Error> {
    let mut fields = Fields::new();
    for field in parsed {
        fields
            .push_parsed(field.name.as_bytes(), field.value)
            .map_err(|_| Http1Error::HeadTooLarge)?;
    }
    Ok(fields)
}

/// Writes a request's first line and fields, without the empty line that ends a head.
pub(super) fn put_request(out: &mut BytesMut, head: &RequestHead) {
    let target = head.target();
    out.reserve(64 + target.len() + head.fields.len() * 48);
    out.put_slice(head.method.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(target.as_bytes());
    out.put_slice(b" HTTP/1.1\r\n");
    put_fields(out, &head.fields);
}

/// Writes a response's first line and fields, without the empty line that ends a head.
pub(super) fn put_response<B>(out: &mut BytesMut, response: &Response<B>) {
    let status = response.status;
    out.reserve(64 + response.fields.len() * 48);
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(status.as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    put_fields(out, &response.fields);
}

pub(super) fn put_fields(out: &mut BytesMut, fields: &Fields) {
    for Field { name, value, .. } in fields.iter() {
        out.put_slice(name);
        out.put_slice(b": ");
        out.put_slice(value);
        out.put_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fields::Name;

    fn request(text: &[u8]) -> Result<Option<RequestHead>, Http1Error> {
        take_request(&mut BytesMut::from(text), &mut 0, &Limits::default())
    }

    #[test]
    fn reads_a_request_in_any_pieces() {
        let text = b"\r\nPOST //a/..;/%2F? HTTP/1.1\r\nHost: x\r\nCookie: a\r\nCookie: b\r\nX: \xe9 \t\r\n\r\nbody";
        for step in 1..text.len() {
            let (mut input, mut scanned) = (BytesMut::new(), 0);
            let mut pieces = text.chunks(step);
            let head = loop {
                if let Some(head) =
                    take_request(&mut input, &mut scanned, &Limits::default()).unwrap()
                {
                    break head;
                }
                input.extend_from_slice(pieces.next().unwrap());
            };
            assert_eq!(head.method, Method::POST);
            assert_eq!(head.uri.to_string(), "//a/..;/%2F?");
            let fields = HeaderMap::from(&head.fields);
            assert_eq!(fields["x"].as_bytes(), b"\xe9");
            assert_eq!(fields.get_all("cookie").iter().collect::<Vec<_>>(), ["a", "b"]);
        }
    }

    #[test]
    fn ignores_empty_lines_in_any_pieces() {
        let text = b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
        for cut in 0..text.len() {
            let (mut input, mut scanned) = (BytesMut::from(&text[..cut]), 0);
            let limits = Limits::default();
            assert!(take_request(&mut input, &mut scanned, &limits).unwrap().is_none(), "{cut}");
            input.extend_from_slice(&text[cut..]);
            assert!(take_request(&mut input, &mut scanned, &limits).unwrap().is_some(), "{cut}");
        }
    }

    #[test]
    fn refuses_heads_that_servers_read_differently() {
        let refused: &[&[u8]] = &[
            b"GET / HTTP/1.1\nHost: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
            b"GET / HTTP/1.1\r\n Host: x\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: x\0y\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /  HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /#f HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
            b"GET / http/1.1\r\nHost: x\r\n\r\n",
            b"GET /\r\nHost: x\r\n\r\n",
            b"G@T / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"\x16\x03\x01\x02\x00\r\n\r\n",
        ];
        for text in refused {
            assert!(request(text).is_err(), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn refuses_a_cr_that_ends_no_line() {
        let heads = [
            b"GET /a HTTP/1.1\r\nHost: x y\r\nA:\r\n\r\n".as_slice(),
            b"HTTP/1.1 200 Very good\r\nServer: x y\r\nA:\r\n\r\n",
            b"Grpc-Status: 0 0\r\nA:\r\n\r\n",
        ];
        for (number, head) in heads.into_iter().enumerate() {
            let is_read = |text: &[u8]| match number {
                0 => matches!(request(text), Ok(Some(_))),
                1 => matches!(take_response(&mut BytesMut::from(text), &mut 0), Ok(Some(_))),
                _ => matches!(take_trailers(&mut BytesMut::from(text)), Ok(Some(_))),
            };
            assert!(is_read(head));
            for at in 0..head.len() {
                let text = [&head[..at], b"\r", &head[at..]].concat();
                assert!(!is_read(&text), "{}", text.escape_ascii());
            }
        }
    }

    #[test]
    fn refuses_heads_over_the_limits() {
        let long = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'a'; MAX_HEAD], b"\r\n\r\n"].concat();
        assert!(matches!(request(&long), Err(Http1Error::HeadTooLarge)));
        let endless = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'a'; MAX_HEAD]].concat();
        assert!(matches!(request(&endless), Err(Http1Error::HeadTooLarge)));
        let many = ["GET / HTTP/1.1\r\n", &"a: b\r\n".repeat(MAX_FIELDS + 1), "\r\n"].concat();
        assert!(matches!(request(many.as_bytes()), Err(Http1Error::HeadTooLarge)));
    }

    #[test]
    fn a_response_reads_back_as_it_was_written() {
        let mut response = Response::new(StatusCode::NOT_FOUND, ());
        response.fields.push(b"set-cookie", b"a").unwrap();
        response.fields.append(Name::Via, b"c");
        response.fields.push(b"set-cookie", b"b").unwrap();
        let mut out = BytesMut::new();
        put_response(&mut out, &response);
        out.put_slice(b"\r\nrest");
        let read = take_response(&mut out, &mut 0).unwrap().unwrap();
        assert_eq!(read, response);
        assert_eq!(&out[..], b"rest");
    }

    proptest! {
        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = request(&text);
            let _ = request(&[b"GET / HTTP/1.1\r\n".as_slice(), &text, b"\r\n\r\n"].concat());
            let _ = take_response(&mut BytesMut::from(&text[..]), &mut 0);
        }
    }
}
