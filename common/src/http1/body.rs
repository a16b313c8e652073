//! The body of a message that is being read, straight from its connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};

use super::decoder::{Decoded, Decoder};
use super::error::Http1Error;
use super::head;
use super::wire::{LARGE, Wire};
use crate::message::Response;

/// The body of a request. It reads from the caller's connection when it is polled, so a caller can
/// be no faster than whoever polls.
pub struct RequestBody(Rc<RefCell<Wire>>);

impl RequestBody {
    pub(super) fn new(wire: &Rc<RefCell<Wire>>) -> Self {
        wire.borrow_mut().readers += 1;
        Self(Rc::clone(wire))
    }

    /// The way for informational responses (1xx), which come before the answer.
    pub fn informer(&self) -> Informer {
        Informer(Rc::clone(&self.0))
    }
}

/// Sends informational responses to a caller. It must be dropped before a switch of protocols.
pub struct Informer(Rc<RefCell<Wire>>);

impl Informer {
    /// Whether the caller waits to be asked for its body, with a 100 (RFC 9110 §10.1.1). A body that
    /// is read all the same is asked for by that.
    pub fn expects_continue(&self) -> bool {
        self.0.borrow().expects_continue
    }

    /// Sends an informational response; it leaves when the connection's task runs next. To a caller
    /// that does not take what it was sent before, or that speaks HTTP/1.0, it is not sent, as RFC 9110
    /// §15.2 allows or asks for.
    pub fn inform(&self, head: &Response<()>) {
        let wire = &mut *self.0.borrow_mut();
        if !wire.is_informed || wire.is_full() {
            return;
        }
        if head.status == StatusCode::CONTINUE && !std::mem::take(&mut wire.expects_continue) {
            return;
        }
        head::put_response(wire.output(), head);
        wire.output().extend_from_slice(b"\r\n");
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let wire = &mut *self.0.borrow_mut();
        wire.readers -= 1;
        wire.watcher.take().into_iter().for_each(Waker::wake);
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Http1Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.borrow().decoder.is_done()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.borrow().decoder.size_hint()
    }
}

impl Wire {
    /// The next part of the body that [`Wire::decoder`] describes.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Http1Error>>> {
        if std::mem::take(&mut self.expects_continue) {
            self.output().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            let _ = self.poll_flush(cx)?;
        }
        loop {
            let decoded = match self.decoder.decode(&mut self.input) {
                Ok(decoded) => decoded,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            if self.decoder.is_done() {
                self.look = None;
                self.watcher.take().into_iter().for_each(Waker::wake);
            }
            match decoded {
                Decoded::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Decoded::Trailers(fields) => return Poll::Ready(Some(Ok(Frame::trailers(fields)))),
                Decoded::End => return Poll::Ready(None),
                Decoded::More => {
                    if ready!(self.poll_fill(LARGE, cx))? == 0 {
                        self.decoder.end()?;
                    }
                }
            }
        }
    }
}

impl Decoder {
    pub(super) fn size_hint(self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Length(left) => SizeHint::with_exact(left),
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::stream::Stream;
    use super::*;

    #[test]
    fn hints_do_not_pile_up() {
        let stream = Stream::Memory(tokio::io::duplex(1).0);
        let wire = Rc::new(RefCell::new(Wire::new(stream, BytesMut::new())));
        wire.borrow_mut().is_informed = true;
        let mut hint = Response::new(StatusCode::EARLY_HINTS, ());
        hint.fields.push(b"link", b"</a.css>").unwrap();
        let informer = Informer(Rc::clone(&wire));
        (0..LARGE).for_each(|_| informer.inform(&hint));
        assert!(wire.borrow_mut().output().len() < 2 * LARGE);
    }
}
