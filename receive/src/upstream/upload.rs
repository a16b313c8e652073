//! The body of a request: how it goes is watched, and a small one can be sent again.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tunnel_common::message::KEPT_BODY;

/// Any error that a caller's body may end in.
pub(super) type BoxError = Box<dyn Error + Send + Sync>;

type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError>>>;

/// The body of a request, as one type for all connections; without one it holds nothing.
pub(super) struct RequestBody(Option<Rc<Upload>>);

impl RequestBody {
    pub(super) fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self::of(Bytes::new(), Some(Box::pin(body.map_err(Into::into))))
    }

    pub(super) fn empty() -> Self {
        Self(None)
    }

    fn of(begun: Bytes, rest: Option<AnyBody>) -> Self {
        Self(Some(Rc::new(Upload {
            begun: RefCell::new(begun),
            rest: RefCell::new(rest),
            kept: RefCell::default(),
            moved: Cell::new(Instant::now()),
            broken: Cell::new(false),
        })))
    }

    /// How it goes, unless there is nothing to upload.
    pub(super) fn upload(&self) -> Option<Rc<Upload>> {
        self.0.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.as_ref().map_or(Poll::Ready(None), |upload| upload.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), |upload| upload.size_hint())
    }
}

/// How an upload goes. The next piece is asked for only when there is room, that is when the target
/// has taken some of what came before.
pub(super) struct Upload {
    /// What an earlier try had taken, to go out first and at once.
    begun: RefCell<Bytes>,
    /// Gone once it has ended, or another try has taken it.
    rest: RefCell<Option<AnyBody>>,
    /// What has gone out, as long as it may be needed again.
    kept: RefCell<Option<BytesMut>>,
    moved: Cell<Instant>,
    broken: Cell<bool>,
}

impl Upload {
    /// When the upload last made progress, at first when it was created.
    pub(super) fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Whether the caller's body ended in an error.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Keeps what goes out from now on, unless it is more than 16 KiB or has trailers.
    pub(super) fn keep(&self) {
        self.kept.replace(Some(BytesMut::new()));
    }

    /// The whole body once more, if it was kept; this one has no more of it.
    pub(super) fn again(&self) -> Option<RequestBody> {
        let kept = self.kept.take()?.freeze();
        let unsent = self.begun.take();
        let begun = if unsent.is_empty() { kept } else { unsent };
        Some(RequestBody::of(begun, self.rest.take()))
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let begun = self.begun.take();
        if !begun.is_empty() {
            let frame = Frame::data(begun);
            self.remember(&frame);
            return Poll::Ready(Some(Ok(frame)));
        }
        let mut rest = self.rest.borrow_mut();
        let Some(body) = rest.as_mut() else { return Poll::Ready(None) };
        let frame = ready!(body.as_mut().poll_frame(cx));
        self.moved.set(Instant::now());
        match &frame {
            Some(Ok(frame)) => self.remember(frame),
            Some(Err(_)) => self.broken.set(true),
            None => *rest = None,
        }
        Poll::Ready(frame)
    }

    fn remember(&self, frame: &Frame<Bytes>) {
        let mut kept = self.kept.borrow_mut();
        let Some(before) = kept.as_mut() else { return };
        match frame.data_ref() {
            Some(data) if before.len() + data.len() <= KEPT_BODY => before.extend_from_slice(data),
            _ => *kept = None,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.borrow().is_empty()
            && self.rest.borrow().as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let begun = self.begun.borrow().len() as u64;
        let rest = self.rest.borrow();
        let rest = rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut whole = SizeHint::new();
        whole.set_lower(begun + rest.lower());
        rest.upper().into_iter().for_each(|upper| whole.set_upper(begun + upper));
        whole
    }
}
