//! Takes a body out of the bytes of a connection.

use bytes::{Buf, Bytes, BytesMut};
use http::HeaderMap;

use super::error::Http1Error;
use super::framing::Framing;
use super::head;

/// A line that gives a chunk's size may be this long, extensions included.
const MAX_SIZE_LINE: usize = 256;

/// Pieces shorter than this are copied, so that they do not pin a whole read buffer.
const COPY_BELOW: usize = 8 * 1024;

/// What is left of a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decoder {
    /// In a chunk with so many bytes left.
    Chunk(u64),
    /// At the line break after a chunk.
    ChunkEnd,
    /// At the line that gives the next chunk's size.
    ChunkSize,
    Done,
    Length(u64),
    Trailers,
    UntilClose,
}

/// One step of decoding.
#[derive(Debug)]
pub(super) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    /// More input is needed.
    More,
}

impl From<Framing> for Decoder {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Chunked => Self::ChunkSize,
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

impl Decoder {
    pub(super) fn is_done(self) -> bool {
        self == Self::Done
    }

    /// The next part of the body that is in `input`.
    pub(super) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, Http1Error> {
        loop {
            let next = match *self {
                Self::Done => return Ok(Decoded::End),
                Self::UntilClose => return Ok(piece(input, u64::MAX).0),
                Self::Length(left) => {
                    let (decoded, left) = piece(input, left);
                    *self = if left == 0 { Self::Done } else { Self::Length(left) };
                    return Ok(decoded);
                }
                Self::Chunk(left) => {
                    let (decoded, left) = piece(input, left);
                    *self = if left == 0 { Self::ChunkEnd } else { Self::Chunk(left) };
                    return Ok(decoded);
                }
                Self::ChunkEnd => line_break(input)?.then_some(Self::ChunkSize),
                Self::ChunkSize => size_line(input)?.map(|size| match size {
                    0 => Self::Trailers,
                    size => Self::Chunk(size),
                }),
                Self::Trailers => match trailers(input)? {
                    None => None,
                    Some(trailers) => {
                        *self = Self::Done;
                        let empty = trailers.is_empty();
                        return Ok(if empty { Decoded::End } else { Decoded::Trailers(trailers) });
                    }
                },
            };
            match next {
                Some(next) => *self = next,
                None => return Ok(Decoded::More),
            }
        }
    }

    /// The connection has ended: fine only where that is how the body ends.
    pub(super) fn end(&mut self) -> Result<(), Http1Error> {
        match self {
            Self::Done | Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            _ => Err(Http1Error::Ended("inside a body")),
        }
    }
}

/// Up to `left` bytes, and how many are left after them.
fn piece(input: &mut BytesMut, left: u64) -> (Decoded, u64) {
    if input.is_empty() {
        return (Decoded::More, left);
    }
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    let data = match len < COPY_BELOW {
        true => {
            let data = Bytes::copy_from_slice(input.get(..len).unwrap_or_default());
            input.advance(len);
            data
        }
        false => input.split_to(len).freeze(),
    };
    (Decoded::Data(data), left - len as u64)
}

fn line_break(input: &mut BytesMut) -> Result<bool, Http1Error> {
    match input.first_chunk::<2>() {
        Some(b"\r\n") => {
            input.advance(2);
            Ok(true)
        }
        Some(_) => Err(Http1Error::Malformed("a chunk that is longer than its size")),
        None => Ok(false),
    }
}

/// RFC 9112 §7.1: hexadecimal digits, and extensions that a recipient ignores.
fn size_line(input: &mut BytesMut) -> Result<Option<u64>, Http1Error> {
    let window = input.get(..input.len().min(MAX_SIZE_LINE)).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', window) else {
        return match window.len() < MAX_SIZE_LINE {
            true => Ok(None),
            false => Err(Http1Error::Malformed("a chunk's size line that is too long")),
        };
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let size = line.and_then(chunk_size).ok_or(Http1Error::Malformed("a bad chunk size"))?;
    input.advance(end + 1);
    Ok(Some(size))
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at_checked(digits)?;
    let legal = match extension.trim_ascii_start().first() {
        // Spaces may stand before an extension, and nowhere else.
        Some(first) => {
            *first == b';' && extension.iter().all(|b| *b == b'\t' || *b >= b' ' && *b != 0x7f)
        }
        None => extension.is_empty(),
    };
    if !legal || digits.is_empty() || digits.len() > 16 {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, Http1Error> {
    if input.starts_with(b"\r\n") {
        input.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    head::take_trailers(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes `input` given in pieces of `step` bytes; the body, its trailers, and the rest.
    fn decode(
        framing: Framing,
        input: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, HeaderMap, Vec<u8>), Http1Error> {
        let mut decoder = Decoder::from(framing);
        let (mut body, mut trailers, mut buffer) = (Vec::new(), HeaderMap::new(), BytesMut::new());
        let mut pieces = input.chunks(step);
        loop {
            match decoder.decode(&mut buffer)? {
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(fields) => trailers = fields,
                Decoded::End => break,
                Decoded::More => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => {
                        decoder.end()?;
                        break;
                    }
                },
            }
        }
        pieces.for_each(|piece| buffer.extend_from_slice(piece));
        Ok((body, trailers, buffer.to_vec()))
    }

    #[test]
    fn bodies_in_any_pieces() {
        let chunked =
            b"5\r\nhello\r\n1;x=\"y\"\r\n \r\n00F \t;a\r\n123456789012345\r\n0\r\n\r\nnext";
        for step in 1..chunked.len() {
            let (body, trailers, rest) = decode(Framing::Chunked, chunked, step).unwrap();
            assert_eq!(body, b"hello 123456789012345");
            assert!(trailers.is_empty());
            assert_eq!(rest, b"next");
        }
        assert_eq!(decode(Framing::Length(3), b"abcdef", 2).unwrap().0, b"abc");
        assert_eq!(decode(Framing::UntilClose, b"abcdef", 4).unwrap().0, b"abcdef");
    }

    #[test]
    fn trailers_come_after_the_body() {
        let input = b"1\r\nx\r\n0\r\nGrpc-Status: 0\r\nx: y\r\n\r\n";
        for step in 1..input.len() {
            let (body, trailers, rest) = decode(Framing::Chunked, input, step).unwrap();
            assert_eq!((body.as_slice(), rest.as_slice()), (&b"x"[..], &b""[..]));
            assert_eq!(trailers["grpc-status"], "0");
        }
    }

    #[test]
    fn refuses_chunks_that_servers_read_differently() {
        let refused: &[&[u8]] = &[
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"+1\r\n",
            b"0x1\r\n",
            b" 1\r\n",
            b"1 \r\nx\r\n",
            b"1\nx\r\n",
            b"1\r\nxy\r\n",
            b"1\r\nx\n0\r\n\r\n",
            b"1\r\nx0\r\n\r\n",
            b"10000000000000000\r\n",
            b"1;a\rb\r\nx\r\n",
            b"1;\0\r\nx\r\n",
            b"0\r\nx : y\r\n\r\n",
            b"0\r\nx: y\n\r\n",
        ];
        for input in refused {
            assert!(
                decode(Framing::Chunked, input, 1).is_err(),
                "{:?}",
                input.escape_ascii().to_string()
            );
        }
        let long = [b"1;".as_slice(), &[b'a'; MAX_SIZE_LINE], b"\r\nx\r\n0\r\n\r\n"].concat();
        assert!(decode(Framing::Chunked, &long, 7).is_err());
    }

    #[test]
    fn notices_what_is_missing() {
        assert!(decode(Framing::Length(3), b"ab", 1).is_err());
        assert!(decode(Framing::Chunked, b"1\r\nx\r\n", 1).is_err());
        assert!(decode(Framing::Chunked, b"1\r\nx\r\n0\r\n", 1).is_err());
    }
}
