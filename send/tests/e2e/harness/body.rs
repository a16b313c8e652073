//! Bodies of messages.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};

use super::origin;

/// A body that is there at once.
pub fn full(text: impl Into<Bytes>) -> origin::Body {
    Full::new(text.into()).boxed_unsync()
}

/// A megabyte that says whose it is, and that no other number's shares a block with.
pub fn filled(mapping: &str, number: usize) -> Bytes {
    let mut state = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in mapping.bytes() {
        state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut bytes = format!("{mapping} {number}\n").into_bytes();
    while bytes.len() < 1 << 20 {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(1 << 20);
    bytes.into()
}

/// A block of 64 KiB.
pub fn block() -> Bytes {
    Bytes::from_static(&[b'x'; 64 * 1024])
}

/// As many blocks as wanted, made as they are read, and perhaps trailers.
pub struct Filler {
    left: u64,
    trailers: Option<HeaderMap>,
    is_sized: bool,
}

impl Filler {
    /// `length` bytes, a multiple of a block, which are announced.
    pub fn sized(length: u64) -> Self {
        Self { left: length, trailers: None, is_sized: true }
    }

    /// The same without saying how many, and with trailers at their end.
    pub fn chunked(length: u64, trailers: HeaderMap) -> Self {
        Self { left: length, trailers: Some(trailers), is_sized: false }
    }
}

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(match self.left {
            0 => self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))),
            _ => {
                let mut data = block();
                data.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
                self.left -= data.len() as u64;
                Some(Ok(Frame::data(data)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_sized {
            true => SizeHint::with_exact(self.left),
            false => SizeHint::default(),
        }
    }
}
