//! A stream as plain bytes both ways: what an upgraded connection becomes in the tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream_half::{RecvHalf, SendHalf};

/// Both halves of a stream as one byte stream.
pub struct Duplex {
    send: SendHalf,
    recv: RecvHalf,
    unread: Bytes,
}

impl Duplex {
    /// Joins the two halves of one stream, after their heads.
    pub fn new(send: SendHalf, recv: RecvHalf) -> Self {
        Self { send, recv, unread: Bytes::new() }
    }
}

impl AsyncRead for Duplex {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.recv.poll_data(cx)) {
                Some(data) => self.unread = data?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = buf.remaining().min(self.unread.len());
        buf.put_slice(self.unread.get(..len).unwrap_or_default());
        self.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Duplex {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if self.send.is_ended() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let size = ready!(self.send.poll_reserve(buf.len(), cx))?.min(buf.len());
        self.send.put_data(buf.get(..size).unwrap_or_default(), false);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The tunnel's driver writes whatever is there as soon as it runs.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.send.send_end();
        Poll::Ready(Ok(()))
    }
}
