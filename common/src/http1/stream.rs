//! The byte stream under an HTTP/1.1 connection: plain TCP or TLS.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection of either kind. One type, so that the code above is compiled once.
#[derive(Debug)]
pub enum Stream {
    /// In memory, for tests.
    #[cfg(any(test, feature = "fuzzing", feature = "testing"))]
    Memory(tokio::io::DuplexStream),
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS, as client or server.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Waits until a read may bring something, as far as that shows without one.
    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            // A failure is for the read to tell.
            Self::Plain(plain) => plain.poll_read_ready(cx).map(drop),
            _ => Poll::Ready(()),
        }
    }

    /// Whether nothing has come. Asks the system, which knows of an end before the reactor tells.
    pub(super) fn is_silent(&self) -> bool {
        let peek = |tcp| SockRef::from(tcp).peek(&mut [MaybeUninit::uninit()]);
        let blocks = |peeked: io::Result<_>| {
            peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        };
        self.tcp().is_none_or(|tcp| blocks(peek(tcp)))
    }

    /// Lets what is written from now on leave together with the end of the stream, which is to follow
    /// at once: one packet less.
    pub(super) fn hold_until_end(&self) {
        // Without it, the end takes a packet of its own.
        let _ = self.tcp().map(|tcp| SockRef::from(tcp).set_tcp_cork(true));
    }

    /// Whether the connection is reset when it is dropped, and not ended. What waits to leave is lost
    /// then.
    pub(super) fn reset_when_dropped(&self, reset: bool) {
        // If that fails, the recipient takes what it has got for all.
        let linger = reset.then_some(Duration::ZERO);
        let _ = self.tcp().map(|tcp| SockRef::from(tcp).set_linger(linger));
    }

    /// Why the connection has failed, if it has; no read or write is needed to tell.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.tcp()?.take_error().unwrap_or_else(Some)
    }

    fn tcp(&self) -> Option<&TcpStream> {
        match self {
            #[cfg(any(test, feature = "fuzzing", feature = "testing"))]
            Self::Memory(_) => None,
            Self::Plain(plain) => Some(plain),
            Self::Tls(tls) => Some(tls.get_ref().0),
        }
    }
}

macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            #[cfg(any(test, feature = "fuzzing", feature = "testing"))]
            Self::Memory(memory) => {
                let $stream = Pin::new(memory);
                $call
            }
            Self::Plain(plain) => {
                let $stream = Pin::new(plain);
                $call
            }
            Self::Tls(tls) => {
                let $stream = Pin::new(tls.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}
