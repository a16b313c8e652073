//! Below `russh`: a socket that always takes a write.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::super::inlet::Inlet;
use super::link::Link;
use super::opening::Opening;

/// The most that waits for the socket; a peer that lets it come to this is cut. The channel stops
/// at [`Link::HIGH`], `russh` has at most 10 messages of 64 KiB under way, and the rest is room
/// for answers to what the peer asks.
const MAX_BACKLOG: usize = 4 * 1024 * 1024;

/// A socket whose writes go to memory when it is full.
///
/// `russh` awaits each write and does not read meanwhile. If both ends did that with full sockets
/// they would wait for each other for ever; so this end never makes it wait. What is in memory
/// leaves with the next reads and writes.
pub struct Wire<Io> {
    io: Inlet<Io>,
    out: BytesMut,
    link: Link,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// The client's beginning, until it has been looked at.
    opening: Option<Opening>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Wire<Io> {
    /// For `russh` as a client.
    pub fn of_client(io: Io, link: Link) -> Self {
        Self::new(io, link, None)
    }

    /// For `russh` as a server. A client that does not offer strict key exchange is cut.
    pub fn of_server(io: Io, link: Link) -> Self {
        Self::new(io, link, Some(Opening::default()))
    }

    fn new(io: Io, link: Link, opening: Option<Opening>) -> Self {
        let cut = Box::pin(link.cut().clone().cancelled_owned());
        Self { io: Inlet::new(io), out: BytesMut::new(), link, cut, opening }
    }

    /// Fails once the link is cut, and wakes the task then.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Gives the socket what waits for it. Pending while some is left.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = Pin::new(&mut self.io).poll_write(cx, &self.out);
            if let Poll::Ready(Ok(len)) = &written {
                self.out.advance(*len);
                self.link.sent(*len);
                self.link.set_backlog(self.out.len());
            }
            match ready!(written) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        // A burst's memory is not kept.
        if self.out.capacity() > Link::HIGH {
            self.out = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let _ = self.poll_drain(cx)?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        if !self.link.received(read.len()) {
            return Poll::Ready(Err(io::Error::other("the peer sends more than a tunnel needs")));
        }
        if let Some(opening) = &mut self.opening
            && opening.feed(read)?
        {
            self.opening = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        if self.out.is_empty()
            && let Poll::Ready(len) = Pin::new(&mut self.io).poll_write(cx, buf)?
        {
            self.link.sent(len);
            return Poll::Ready(Ok(len));
        }
        if self.out.len() + buf.len() > MAX_BACKLOG {
            return Poll::Ready(Err(io::Error::other("the peer does not read")));
        }
        self.out.extend_from_slice(buf);
        self.link.set_backlog(self.out.len());
        let _ = self.poll_drain(cx)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let _ = self.poll_drain(cx)?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        ready!(self.poll_drain(cx))?;
        pin!(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Polls once.
    async fn once<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        poll_fn(|cx| Poll::Ready(poll(cx))).await
    }

    #[tokio::test]
    async fn takes_what_the_socket_does_not_and_reads_meanwhile() {
        let (ours, mut peer) = tokio::io::duplex(16);
        let link = Link::new();
        let mut wire = Wire::of_client(ours, link.clone());
        let data: Vec<u8> = (0..=u8::MAX).cycle().take(Link::HIGH + 10_000).collect();
        wire.write_all(&data).await.unwrap();
        assert!(once(|cx| link.poll_writable(cx)).await.is_pending());

        peer.write_all(b"up").await.unwrap();
        assert_eq!(wire.read_u8().await.unwrap(), b'u');
        let mut received = vec![0; data.len()];
        let read = async {
            peer.read_exact(&mut received).await.unwrap();
            peer.write_all(b"!").await.unwrap();
        };
        let drive = async { wire.read_exact(&mut [0; 2]).await.unwrap() };
        tokio::join!(read, drive);
        assert!(received == data);
        assert!(once(|cx| link.poll_writable(cx)).await.is_ready());
    }

    #[tokio::test]
    async fn the_backlog_is_bounded() {
        let (ours, _peer) = tokio::io::duplex(16);
        let mut wire = Wire::of_client(ours, Link::new());
        wire.write_all(&vec![0; MAX_BACKLOG]).await.unwrap();
        let error = wire.write_all(&[0; 100]).await.unwrap_err();
        assert_eq!(error.to_string(), "the peer does not read");
    }

    #[tokio::test]
    async fn a_cut_wakes_the_reader() {
        let (ours, _peer) = tokio::io::duplex(16);
        let link = Link::new();
        let mut wire = Wire::of_client(ours, link.clone());
        let cut = async { drop(link.cut_on_drop()) };
        let read = tokio::time::timeout(Duration::from_secs(30), wire.read_u8());
        let (read, ()) = tokio::join!(read, cut);
        assert_eq!(read.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert!(wire.write_all(b"x").await.is_err());
    }

    #[tokio::test]
    async fn shutting_down_sends_the_rest_first() {
        let (ours, mut peer) = tokio::io::duplex(16);
        let mut wire = Wire::of_client(ours, Link::new());
        wire.write_all(&[7; 1000]).await.unwrap();
        let mut received = Vec::new();
        let (shut, _) = tokio::join!(wire.shutdown(), peer.read_to_end(&mut received));
        shut.unwrap();
        assert_eq!(received, [7; 1000]);
    }
}
