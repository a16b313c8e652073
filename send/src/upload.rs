//! The body of a request: a small one is kept, so that it can be sent again.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tunnel_common::message::KEPT_BODY;

/// A body that says to be no longer is kept.
const KEPT: u64 = KEPT_BODY as u64;

/// How long a request may wait for the body that is to be kept; a slower one is passed on as it
/// comes.
const KEEP_WAIT: Duration = Duration::from_millis(50);

/// A request's body before it is sent.
pub enum Upload<B> {
    /// There is none.
    Empty,
    /// All of it, to be sent as often as it takes.
    Kept(Bytes),
    /// What has come of it and the rest, to be sent once; `None` when that was done.
    Streamed(Option<UploadBody<B>>),
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// A body that is passed on as it comes.
    pub fn streamed(body: B) -> Self {
        match body.is_end_stream() {
            true => Self::Empty,
            false => Self::Streamed(Some(UploadBody { begun: Bytes::new(), rest: Some(body) })),
        }
    }

    /// Reads and keeps a body that says to be small, as far as it comes soon. Fails as the body
    /// does.
    pub async fn keep(&mut self) -> Result<(), B::Error> {
        let Self::Streamed(Some(UploadBody { begun, rest: Some(body) })) = self else {
            return Ok(());
        };
        let Some(length @ 1..=KEPT) = body.size_hint().exact() else { return Ok(()) };
        let mut whole = BytesMut::with_capacity(length as usize);
        let deadline = Instant::now() + KEEP_WAIT;
        while !body.is_end_stream() {
            let Ok(frame) = timeout_at(deadline, body.frame()).await else {
                *begun = whole.freeze();
                return Ok(());
            };
            match frame.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => whole.extend_from_slice(&data),
                // Trailers after a body of known length are nobody's.
                Some(Err(_)) => {}
                None => break,
            }
        }
        *self = Self::Kept(whole.freeze());
        Ok(())
    }

    /// There is no body.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// The whole body is still here.
    pub(crate) fn is_untouched(&self) -> bool {
        !matches!(self, Self::Streamed(None))
    }

    /// The body, as long as it is here.
    pub(crate) fn take(&mut self) -> Option<UploadBody<B>> {
        match self {
            Self::Empty => None,
            Self::Kept(whole) => Some(UploadBody { begun: whole.clone(), rest: None }),
            Self::Streamed(body) => body.take(),
        }
    }
}

/// A body on its way into the tunnel.
pub struct UploadBody<B> {
    begun: Bytes,
    rest: Option<B>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for UploadBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if !self.begun.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.begun)))));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_empty() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::convert::Infallible;

    use http_body::SizeHint;

    use super::*;

    /// A body that says how long it is, and has come so far.
    struct Pieces {
        length: u64,
        come: VecDeque<Bytes>,
        has_more: bool,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.come.pop_front() {
                None if self.has_more => Poll::Pending,
                piece => Poll::Ready(piece.map(|piece| Ok(Frame::data(piece)))),
            }
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.length)
        }
    }

    async fn upload(length: usize, come: &[&'static [u8]]) -> Upload<Pieces> {
        let so_far: usize = come.iter().map(|piece| piece.len()).sum();
        let come = come.iter().map(|piece| Bytes::from_static(piece)).collect();
        let mut upload =
            Upload::streamed(Pieces { length: length as u64, come, has_more: so_far < length });
        upload.keep().await.unwrap();
        upload
    }

    async fn first_frame(upload: &mut Upload<Pieces>) -> Option<Bytes> {
        upload.take()?.frame().await?.unwrap().into_data().ok()
    }

    #[tokio::test]
    async fn a_small_body_may_be_sent_again() {
        let mut upload = upload(5, &[b"he", b"llo"]).await;
        for _ in 0..2 {
            assert_eq!(first_frame(&mut upload).await.unwrap(), "hello");
            assert!(upload.is_untouched());
        }
    }

    #[tokio::test]
    async fn a_large_body_is_sent_once() {
        const LARGE: &[u8] = &[7; KEPT_BODY + 1];
        let mut upload = upload(LARGE.len(), &[LARGE]).await;
        assert!(upload.is_untouched());
        assert_eq!(first_frame(&mut upload).await.unwrap(), LARGE);
        assert!(!upload.is_untouched() && upload.take().is_none());
    }

    #[tokio::test]
    async fn a_slow_body_is_sent_once_with_what_has_come() {
        let mut upload = upload(5, &[b"he"]).await;
        assert_eq!(first_frame(&mut upload).await.unwrap(), "he");
        assert!(!upload.is_untouched());
    }
}
