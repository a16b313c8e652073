//! Doors for the targets in `fuzz/`, and for tests. Not part of any release build.
//!
//! Messages are read as this module reads them and as hyper does: what is accepted here has one
//! meaning.
#![expect(clippy::panic, clippy::unwrap_used, reason = "what fails here is a finding")]

mod ours;
mod theirs;
mod upgrade;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use self::ours::Pieces;
pub use self::upgrade::upgrade;
use super::decoder::{Decoded, Decoder};
use super::error::Http1Error;
use super::framing::Framing;

/// A message that was read: its first line, its fields in their order, its body.
#[derive(Debug, Eq, PartialEq)]
struct Message {
    first: String,
    fields: Vec<(String, Bytes)>,
    body: Vec<u8>,
    trailers: Vec<(String, Bytes)>,
}

/// Why a message that hyper accepts is refused here: servers differ about it.
const STRICTER: &[&str] = &[
    "Content-Length together with Transfer-Encoding",
    "a Content-Length that is no number",
    "a Transfer-Encoding other than chunked",
    "a bad chunk size",
    "a chunk's size line that is too long",
    "a fragment in the target",
    "a line break that is not CRLF",
    "not a request",
    "not a response",
    "several Content-Length fields",
];

/// Reads a request, whole and in pieces, here and with hyper.
pub fn request(bytes: &[u8]) {
    let read = ours::request(Pieces::whole(bytes));
    assert_same(&read, ours::request, bytes);
    compare(&read, theirs::request(bytes), bytes);
}

/// Reads the answer to a GET, or to a HEAD, in the same ways.
pub fn response(bytes: &[u8], to_head: bool) {
    let read = ours::response(Pieces::whole(bytes), to_head);
    assert_same(&read, |pieces| ours::response(pieces, to_head), bytes);
    compare(&read, theirs::response(bytes, to_head), bytes);
}

/// Decodes a body: in chunks, of a certain length or up to the end.
pub fn body(bytes: &[u8], framing: u8) {
    let decoder: Decoder = match framing {
        0 => Framing::Chunked,
        255 => Framing::UntilClose,
        length => Framing::Length(length.into()),
    }
    .into();
    let read = ours::body(decoder, &mut Pieces::whole(bytes));
    assert_same(&read, |mut pieces| ours::body(decoder, &mut pieces), bytes);
}

/// How the bytes are cut changes nothing.
fn assert_same<T: std::fmt::Debug + PartialEq>(
    whole: &Result<T, Http1Error>,
    read: impl Fn(Pieces<'_>) -> Result<T, Http1Error>,
    bytes: &[u8],
) {
    let step = 1 + bytes.len() / 64;
    let cuts = (0..bytes.len()).step_by(step).map(|cut| Pieces::cut(bytes, cut));
    for pieces in cuts.chain([Pieces::single(bytes)]) {
        match (whole, read(pieces)) {
            (Ok(whole), Ok(cut)) => assert_eq!(*whole, cut),
            (Err(whole), Err(cut)) => assert_eq!(whole.to_string(), cut.to_string()),
            (whole, cut) => panic!("{whole:?} as a whole, {cut:?} in pieces"),
        }
    }
}

/// What is accepted here, hyper accepts as the same.
fn compare(ours: &Result<Message, Http1Error>, theirs: Option<Message>, bytes: &[u8]) {
    match (ours, theirs) {
        (Ok(ours), Some(theirs)) => assert_eq!(*ours, theirs, "{}", bytes.escape_ascii()),
        (Ok(ours), None) => panic!("hyper refuses {ours:?}: {}", bytes.escape_ascii()),
        (Err(Http1Error::HeadTooLarge), _) | (Err(_), None) => {}
        (Err(Http1Error::Malformed(reason)), Some(_)) if STRICTER.contains(reason) => {}
        // Without CRLF, the head has no end here.
        (Err(Http1Error::Ended(_)), Some(_)) if has_bare_line_feed(bytes) => {}
        (Err(ours), Some(theirs)) => {
            panic!("{ours:?}, but hyper reads {theirs:?}: {}", bytes.escape_ascii())
        }
    }
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'\n')
        || bytes.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
}

fn fields(headers: &HeaderMap) -> Vec<(String, Bytes)> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), Bytes::copy_from_slice(value.as_bytes()))
    };
    headers.iter().map(field).collect()
}
