//! The bytes on their way from the call to the reader: its messages, taken out of frames.

use std::error::Error;
use std::fmt::Display;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use tonic::{Code, Status};

use super::message::{Chunk, MAX_MESSAGE_LEN, PREFIX_LEN};

/// The reader's end of a call.
///
/// A message that came in one frame, as this bridge sends them, is not copied; one that did not is
/// put together first, and holds no more than a message and a frame.
pub(super) struct Inbox {
    body: Incoming,
    /// What begins with a message, or with a part of one that was not looked at yet.
    whole: Bytes,
    /// A message of which the rest is to come.
    partial: BytesMut,
}

impl Inbox {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, whole: Bytes::new(), partial: BytesMut::new() }
    }

    /// The data of the next message; `None` at the end. Fails with the status of the call if that
    /// was not OK.
    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            if let Some(data) = self.next_message()? {
                return Poll::Ready(Ok(Some(data)));
            }
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(match self.partial.is_empty() {
                    true => Ok(None),
                    false => Err(failure("it ends inside a message")),
                });
            };
            // hyper's own text only says that a body was read.
            let frame = frame.map_err(|error| match error.source() {
                Some(cause) => failure(cause),
                None => failure(error),
            })?;
            match frame.into_data() {
                Ok(data) if self.partial.is_empty() => self.whole = data,
                Ok(data) => self.partial.extend_from_slice(&data),
                Err(other) => {
                    let status = other.into_trailers().ok();
                    let status = status.and_then(|fields| Status::from_header_map(&fields));
                    if let Some(status) = status.filter(|status| status.code() != Code::Ok) {
                        let (code, message) = (status.code(), status.message());
                        return Poll::Ready(Err(failure(format!("{message} ({code:?})"))));
                    }
                }
            }
        }
    }

    fn next_message(&mut self) -> io::Result<Option<Bytes>> {
        if is_complete(&self.partial)? {
            self.whole = std::mem::take(&mut self.partial).freeze();
        }
        if !self.partial.is_empty() || self.whole.is_empty() {
            return Ok(None);
        }
        if !is_complete(&self.whole)? {
            self.partial.extend_from_slice(&std::mem::take(&mut self.whole));
            return Ok(None);
        }
        self.whole.advance(1);
        let len = self.whole.get_u32() as usize;
        let chunk = Chunk::decode(self.whole.split_to(len)).map_err(failure)?;
        Ok(Some(chunk.data))
    }

    /// Discards what still comes.
    pub(super) async fn discard(mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
    }
}

/// Whether `bytes` begin with a whole message.
fn is_complete(bytes: &[u8]) -> io::Result<bool> {
    let Some((&[flag, ref len @ ..], message)) = bytes.split_first_chunk::<PREFIX_LEN>() else {
        return Ok(false);
    };
    let len = u32::from_be_bytes(*len) as usize;
    match (flag, len) {
        (0, ..=MAX_MESSAGE_LEN) => Ok(message.len() >= len),
        (0, _) => Err(failure(format!("a message of {len} bytes, at most {MAX_MESSAGE_LEN}"))),
        _ => Err(failure("a compressed message")),
    }
}

fn failure(reason: impl Display) -> io::Error {
    io::Error::other(format!("the tunnel's call failed: {reason}"))
}
