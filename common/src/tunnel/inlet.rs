//! Below TLS and SSH: a socket that is read in large pieces, without a buffer of its own.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

/// What one `recv` may bring; rustls asks for 4 KiB at a time, and `russh` reads each packet's
/// length by itself.
const READ_SIZE: usize = 64 * 1024;

/// Free buffers that are kept for reuse.
const KEPT: usize = 4;

thread_local! {
    /// A socket holds one only while there are bytes in it: most of hundreds of tunnels are idle.
    static FREE: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// A socket and what was read from it that nobody has asked for yet.
pub struct Inlet<Io> {
    io: Io,
    ahead: BytesMut,
}

impl<Io> Inlet<Io> {
    pub(super) fn new(io: Io) -> Self {
        Self { io, ahead: BytesMut::new() }
    }

    /// The socket; what was read ahead is lost.
    pub(super) fn into_inner(self) -> Io {
        self.io
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Inlet<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
            buffer.reserve(READ_SIZE);
            let read = poll_read_buf(Pin::new(&mut self.io), cx, &mut buffer);
            match read {
                Poll::Ready(Ok(1..)) => self.ahead = buffer,
                _ => recycle(buffer),
            }
            ready!(read)?;
        }
        let len = self.ahead.len().min(buf.remaining());
        buf.put_slice(self.ahead.get(..len).unwrap_or_default());
        self.ahead.advance(len);
        if self.ahead.is_empty() {
            recycle(std::mem::take(&mut self.ahead));
        }
        Poll::Ready(Ok(()))
    }
}

fn recycle(mut buffer: BytesMut) {
    buffer.clear();
    FREE.with_borrow_mut(|free| {
        if buffer.try_reclaim(READ_SIZE) && free.len() < KEPT {
            free.push(buffer);
        }
    });
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Inlet<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    /// Fills what it is given to read to, as far as that goes.
    struct Counted<'a>(&'a [u8], Vec<usize>);

    impl AsyncRead for Counted<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let before = buf.filled().len();
            ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
            self.1.push(buf.filled().len() - before);
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn small_reads_become_large_ones_and_nothing_is_lost() {
        let data: Vec<u8> = (0..=250).cycle().take(2 * READ_SIZE + 100).collect();
        let mut inlet = Inlet::new(Counted(&data, Vec::new()));
        let (mut read, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match inlet.read(&mut piece).await.unwrap() {
                0 => break,
                len => read.extend_from_slice(&piece[..len]),
            }
        }
        assert!(read == data);
        assert_eq!(inlet.into_inner().1, [READ_SIZE, READ_SIZE, 100, 0]);
    }

    #[tokio::test]
    async fn an_idle_socket_holds_no_buffer() {
        let (near, mut far) = duplex(1000);
        let mut inlets = [Inlet::new(near), Inlet::new(duplex(1).0)];
        for _ in 0..3 {
            far.write_all(b"four").await.unwrap();
            let mut four = [0; 4];
            inlets[0].read_exact(&mut four[..3]).await.unwrap();
            assert_eq!(inlets[0].ahead, b"r"[..]);
            inlets[0].read_exact(&mut four[3..]).await.unwrap();
            assert_eq!(&four, b"four");
            assert_eq!(inlets[0].ahead.capacity(), 0);
            assert_eq!(inlets[1].read(&mut four).await.unwrap(), 0, "its other end is gone");
            assert_eq!(inlets[1].ahead.capacity(), 0);
        }
        FREE.with_borrow(|free| {
            assert!(free.iter().all(|buffer| buffer.capacity() >= READ_SIZE));
            assert_eq!(free.len(), 1, "one served both, each time");
        });
    }
}
