//! What comes after 101: a connection that is plain bytes both ways.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Copies bytes both ways until both directions have ended, or either side is gone.
pub async fn join(
    mut one: impl AsyncRead + AsyncWrite + Unpin,
    mut other: impl AsyncRead + AsyncWrite + Unpin,
) {
    // How it ends is between the two; both are told by the end itself.
    let _ = tokio::io::copy_bidirectional(&mut one, &mut other).await;
}

/// The same, until no byte has moved for `idle`. For the edge, which a caller is connected to: what
/// lies behind hears of its end.
pub async fn join_until_idle(
    one: impl AsyncRead + AsyncWrite + Unpin,
    other: impl AsyncRead + AsyncWrite + Unpin,
    idle: Duration,
) {
    let moved = Cell::new(false);
    let one = Watched { io: one, moved: &moved };
    let watch = async {
        loop {
            tokio::time::sleep(idle).await;
            if !moved.take() {
                return;
            }
        }
    };
    tokio::select! {
        () = join(one, other) => {}
        () = watch => tracing::debug!("a switched connection was idle for too long"),
    }
}

/// Notes that bytes have moved.
struct Watched<'a, Io> {
    io: Io,
    moved: &'a Cell<bool>,
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<'_, Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        self.moved.set(self.moved.get() || read.is_ready());
        read
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Watched<'_, Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.moved.set(self.moved.get() || written.is_ready());
        written
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

    #[tokio::test(start_paused = true)]
    async fn ends_when_nothing_moves() {
        let (mut near, one) = duplex(64);
        let (other, mut far) = duplex(64);
        let idle = Duration::from_secs(60);
        let joined = join_until_idle(one, other, idle);
        let talk = async {
            for _ in 0..5 {
                tokio::time::sleep(idle * 3 / 4).await;
                near.write_all(b"x").await.unwrap();
                assert_eq!(far.read_u8().await.unwrap(), b'x');
            }
            assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "idle");
        };
        tokio::join!(joined, talk);
    }
}
