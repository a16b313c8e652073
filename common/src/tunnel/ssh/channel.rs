//! Above `russh`: the one channel that carries the tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use russh::{Channel, ChannelId, ChannelMsg, ChannelStream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::super::byte_stream::ByteStream;
use super::link::Link;

/// What `russh` makes of a message of a channel.
pub trait Message: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static {}
impl<M: From<(ChannelId, ChannelMsg)> + Send + Sync + 'static> Message for M {}

/// The byte stream of one tunnel. Once it is dropped, [`Returned`] resolves.
pub struct SshChannel<M: Message> {
    stream: Option<ChannelStream<M>>,
    /// What was read before the stream was handed over.
    first: Bytes,
    link: Link,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    /// This end has said that it writes no more.
    shut: bool,
    owner: Option<oneshot::Sender<Goodbye<M>>>,
}

/// Comes back when an [`SshChannel`] is dropped.
pub struct Returned<M: Message>(oneshot::Receiver<Goodbye<M>>);

/// The rest of a channel: what there is to say at its end.
struct Goodbye<M: Message> {
    stream: ChannelStream<M>,
    link: Link,
    shut: bool,
}

impl<M: Message> SshChannel<M> {
    /// How long the peer may take to close its side too.
    const GOODBYE: Duration = Duration::from_secs(1);

    /// Carries a tunnel on `channel` of the connection of `link`, as if read from the beginning
    /// with `first`. Reads as ended once `end` is cancelled.
    pub fn new(channel: Channel<M>, link: Link, end: CancellationToken) -> (Self, Returned<M>) {
        let (owner, returned) = oneshot::channel();
        let channel = Self {
            stream: Some(channel.into_stream()),
            first: Bytes::new(),
            link,
            ended: Box::pin(end.cancelled_owned()),
            shut: false,
            owner: Some(owner),
        };
        (channel, Returned(returned))
    }

    /// Looks at the first byte, which is read again; `None` at the end of the stream.
    pub async fn peek(&mut self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let len = self.read(&mut first).await?;
        self.first = Bytes::copy_from_slice(first.get(..len).unwrap_or_default());
        Ok(self.first.first().copied())
    }

    fn stream(&mut self) -> io::Result<Pin<&mut ChannelStream<M>>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<M: Message> Returned<M> {
    /// Waits until the tunnel is over, tells the peer, and waits a second at most for its answer.
    pub async fn wait(self) {
        let Ok(Goodbye { mut stream, link, shut }) = self.0.await else { return };
        let goodbye = async {
            if !shut {
                stream.shutdown().await?;
            }
            let mut ignored = [0; 4096];
            loop {
                match stream.read(&mut ignored).await? {
                    0 => return io::Result::Ok(()),
                    len => link.delivered(len),
                }
            }
        };
        // The channel is over either way.
        let _ = tokio::time::timeout(SshChannel::<M>::GOODBYE, goodbye).await;
    }
}

impl<M: Message> AsyncRead for SshChannel<M> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.first.is_empty() {
            let len = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.split_to(len));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match self.stream()?.poll_read(cx, buf) {
            Poll::Pending => self.ended.as_mut().poll(cx).map(Ok),
            ready => {
                self.link.delivered(buf.filled().len() - before);
                ready
            }
        }
    }
}

impl<M: Message> AsyncWrite for SshChannel<M> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.link.poll_writable(cx));
        self.stream()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(self.stream()?.poll_shutdown(cx))?;
            self.shut = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl<M: Message> ByteStream for SshChannel<M> {}

impl<M: Message> Drop for SshChannel<M> {
    fn drop(&mut self) {
        if let (Some(stream), Some(owner)) = (self.stream.take(), self.owner.take()) {
            // An owner that is gone wants no goodbye.
            let _ = owner.send(Goodbye { stream, link: self.link.clone(), shut: self.shut });
        }
    }
}
