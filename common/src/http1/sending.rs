//! A body on its way into a connection.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use http::HeaderMap;
use http_body::Body;

use super::error::Http1Error;
use super::head;
use super::stream::Stream;
use super::wire::Wire;
use crate::fields::{Fields, Name};

/// Any error that a body may end in.
type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// How the recipient learns where the body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Encoding {
    /// As chunks.
    Chunked,
    /// By its length, of which so much is left.
    Length(u64),
    /// The message has none, whatever its head says.
    None,
    /// By the end of the connection.
    UntilClose,
}

impl Encoding {
    /// Chooses the framing of a body and says so in `fields`. A length that is there already is
    /// kept; otherwise the body's own is used, if it knows one.
    pub(super) fn choose(fields: &mut Fields, body: &impl Body, may_chunk: bool) -> Self {
        let length = fields
            .get(Name::ContentLength)
            .and_then(|length| str::from_utf8(length).ok()?.parse().ok());
        let known = length.or_else(|| body.size_hint().exact());
        match known {
            Some(known) => {
                // Of an earlier try, when not all of the body was there.
                fields.remove(Name::TransferEncoding);
                if length.is_none() {
                    fields.insert(Name::ContentLength, known.to_string().as_bytes());
                }
                Self::Length(known)
            }
            None if may_chunk => {
                fields.insert(Name::TransferEncoding, b"chunked");
                Self::Chunked
            }
            None => Self::UntilClose,
        }
    }

    fn put(&mut self, wire: &mut Wire, data: Bytes) -> Result<(), Http1Error> {
        match self {
            Self::None => {}
            Self::UntilClose => wire.put_data(data, b""),
            Self::Length(left) => {
                *left = left
                    .checked_sub(data.len() as u64)
                    .ok_or_else(|| Http1Error::Upload("it is longer than it said".into()))?;
                wire.put_data(data, b"");
            }
            // An empty chunk would end the body.
            Self::Chunked if data.is_empty() => {}
            Self::Chunked => {
                put_size(wire.output(), data.len());
                wire.put_data(data, b"\r\n");
            }
        }
        Ok(())
    }

    fn end(&mut self, wire: &mut Wire, trailers: Option<&HeaderMap>) -> Result<(), Http1Error> {
        match self {
            Self::Length(1..) => Err(Http1Error::Upload("it is shorter than it said".into())),
            Self::Chunked => {
                let out = wire.output();
                out.put_slice(b"0\r\n");
                trailers.into_iter().for_each(|trailers| head::put_fields(out, &trailers.into()));
                out.put_slice(b"\r\n");
                Ok(())
            }
            Self::None | Self::UntilClose | Self::Length(0) => Ok(()),
        }
    }
}

/// A chunk's size line.
fn put_size(out: &mut BytesMut, len: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for at in (0..digits).rev() {
        out.put_u8(DIGITS.get(len >> (4 * at) & 0xf).copied().unwrap_or(b'0'));
    }
    out.put_slice(b"\r\n");
}

/// A body and how far it has been sent.
pub(super) struct Sending<B> {
    body: B,
    encoding: Encoding,
    /// The connection is closed after it.
    is_last: bool,
    is_complete: bool,
}

impl<B> Sending<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    pub(super) fn new(body: B, encoding: Encoding, is_last: bool, stream: &Stream) -> Self {
        if encoding == Encoding::UntilClose {
            // Until all has left, only a reset tells that the end is not the body's.
            stream.reset_when_dropped(true);
        }
        Self { body, encoding, is_last, is_complete: false }
    }

    /// Sends as much as there is and the connection takes. Resolves when all has left. `wire` is
    /// not borrowed while the body is polled, which may read from it.
    pub(super) fn poll(
        &mut self,
        wire: &RefCell<Wire>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        loop {
            if self.is_complete || wire.borrow().is_full() {
                ready!(wire.borrow_mut().poll_flush(cx))?;
            }
            if self.is_complete {
                if self.encoding == Encoding::UntilClose {
                    wire.borrow().stream.reset_when_dropped(false);
                }
                return Poll::Ready(Ok(()));
            }
            let frame = match self.body.is_end_stream() {
                true => Poll::Ready(None),
                false => Pin::new(&mut self.body).poll_frame(cx),
            };
            let frame = match frame {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    let _ = wire.borrow_mut().poll_flush(cx)?;
                    return Poll::Pending;
                }
            };
            let frame = frame.transpose().map_err(|error| Http1Error::Upload(error.into()))?;
            let wire = &mut *wire.borrow_mut();
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(data)) => self.encoding.put(wire, data)?,
                Some(Err(other)) => self.end(wire, other.into_trailers().ok().as_ref())?,
                None => self.end(wire, None)?,
            }
        }
    }

    /// Sends what there is of a message that broke off, as far as the connection takes it at once: that
    /// is a part of it, and shows that more was to come. Not where its end is the connection's.
    pub(super) fn break_off(&self, wire: &RefCell<Wire>, cx: &mut Context<'_>) {
        if self.encoding != Encoding::UntilClose {
            // It is over, whatever comes of it.
            let _ = wire.borrow_mut().poll_flush(cx);
        }
    }

    fn end(&mut self, wire: &mut Wire, trailers: Option<&HeaderMap>) -> Result<(), Http1Error> {
        self.is_complete = true;
        if self.is_last && !wire.is_read() {
            wire.stream.hold_until_end();
        }
        self.encoding.end(wire, trailers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_lines() {
        let line = |len| {
            let mut out = BytesMut::new();
            put_size(&mut out, len);
            out
        };
        assert_eq!(&line(1)[..], b"1\r\n");
        assert_eq!(&line(0xabc)[..], b"abc\r\n");
        assert_eq!(&line(0x10000)[..], b"10000\r\n");
    }
}
