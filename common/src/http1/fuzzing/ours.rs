//! Messages as this module reads them, from bytes that come in pieces.

use super::super::head;
use http::Method;

use super::*;
use crate::edge::Limits;

/// Bytes in the pieces in which they come.
pub(super) struct Pieces<'a>(Box<dyn Iterator<Item = &'a [u8]> + 'a>);

impl<'a> Pieces<'a> {
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self(Box::new(std::iter::once(bytes)))
    }

    /// Two pieces.
    pub(super) fn cut(bytes: &'a [u8], at: usize) -> Self {
        let (first, second) = bytes.split_at(at);
        Self(Box::new([first, second].into_iter()))
    }

    /// Each byte by itself.
    pub(super) fn single(bytes: &'a [u8]) -> Self {
        Self(Box::new(bytes.chunks(1)))
    }

    /// Adds the next piece to `input`.
    fn fill(&mut self, input: &mut BytesMut) -> Result<(), Http1Error> {
        let piece = self.0.next().ok_or(Http1Error::Ended("early"))?;
        input.extend_from_slice(piece);
        Ok(())
    }
}

pub(super) fn request(mut pieces: Pieces<'_>) -> Result<Message, Http1Error> {
    let (mut input, mut scanned, limits) = (BytesMut::new(), 0, Limits::default());
    let head = loop {
        match head::take_request(&mut input, &mut scanned, &limits)? {
            Some(head) => break head,
            None => pieces.fill(&mut input)?,
        }
    };
    let framing = Framing::of_request(&head.fields, head.version)?;
    let (body, trailers) = read_body(framing.into(), &mut input, &mut pieces)?;
    let first = format!("{} {} {:?}", head.method, head.uri, head.version);
    let fields_of_head = fields(&HeaderMap::from(&head.fields));
    Ok(Message { first, fields: fields_of_head, body, trailers: fields(&trailers) })
}

pub(super) fn response(mut pieces: Pieces<'_>, to_head: bool) -> Result<Message, Http1Error> {
    let (mut input, mut scanned) = (BytesMut::new(), 0);
    let response = loop {
        match head::take_response(&mut input, &mut scanned)? {
            Some(response) if theirs::is_skipped(response.status) => {}
            Some(response) => break response,
            None => pieces.fill(&mut input)?,
        }
    };
    let method = if to_head { Method::HEAD } else { Method::GET };
    let (framing, _) = Framing::of_response(&method, &response)?;
    let (body, trailers) = read_body(framing.into(), &mut input, &mut pieces)?;
    let first = format!("{} {:?}", response.status, response.version);
    let fields_of_head = fields(&HeaderMap::from(&response.fields));
    Ok(Message { first, fields: fields_of_head, body, trailers: fields(&trailers) })
}

/// The body, its trailers, and what comes after it.
pub(super) fn body(
    decoder: Decoder,
    pieces: &mut Pieces<'_>,
) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Http1Error> {
    let mut input = BytesMut::new();
    let (body, trailers) = read_body(decoder, &mut input, pieces)?;
    while pieces.fill(&mut input).is_ok() {}
    Ok((body, trailers, input.to_vec()))
}

fn read_body(
    mut decoder: Decoder,
    input: &mut BytesMut,
    pieces: &mut Pieces<'_>,
) -> Result<(Vec<u8>, HeaderMap), Http1Error> {
    let mut body = Vec::new();
    loop {
        match decoder.decode(input)? {
            Decoded::Data(data) => body.extend_from_slice(&data),
            Decoded::Trailers(trailers) => return Ok((body, trailers)),
            Decoded::End => return Ok((body, HeaderMap::new())),
            Decoded::More if pieces.fill(input).is_ok() => {}
            Decoded::More => {
                decoder.end()?;
                return Ok((body, HeaderMap::new()));
            }
        }
    }
}
