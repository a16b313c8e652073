//! Bodies of messages.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;

type BoxError = Box<dyn Error + Send + Sync>;

/// Any body.
pub type AnyBody = UnsyncBoxBody<Bytes, BoxError>;

/// Makes any body of one.
pub fn boxed<B>(body: B) -> AnyBody
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A body that is there at once.
pub fn full(text: impl Into<Bytes>) -> AnyBody {
    boxed(Full::new(text.into()))
}

/// A body whose frames come one by one; it ends when the sender is dropped.
pub fn channel() -> (mpsc::Sender<Frame<Bytes>>, AnyBody) {
    let (sender, frames) = mpsc::channel(1);
    (sender, boxed(Channel(frames)))
}

struct Channel(mpsc::Receiver<Frame<Bytes>>);

impl Body for Channel {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A megabyte in blocks that say whose they are and which, so that no two blocks are equal.
pub fn filled(mapping: &str, number: usize) -> Bytes {
    let block = |index| {
        let mut block = format!("{mapping} {number} {index} ").into_bytes();
        block.resize(1024, b'.');
        block
    };
    (0..1024).map(block).collect::<Vec<_>>().concat().into()
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
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
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
