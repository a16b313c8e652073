//! A connection with its buffers, shared by whoever reads a body from it and whoever writes one.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::io::poll_read_buf;

use super::decoder::Decoder;
use super::error::Http1Error;
use super::stream::Stream;
use crate::tunnel::MAX_DATA;

/// What one read may bring while a head is awaited.
pub(super) const SMALL: usize = 8 * 1024;

/// What one read may bring of a body: a frame of the tunnel, not one and the beginning of another.
pub(super) const LARGE: usize = MAX_DATA;

/// Free buffers that are kept for reuse, of each size.
const KEPT: usize = 32;

/// Output up to this length is copied together; longer pieces are written from where they are.
const COPY_BELOW: usize = 16 * 1024;

/// How often a connection that nobody reads from is looked at.
const LOOK: Duration = Duration::from_secs(5);

thread_local! {
    /// A connection holds a buffer only while there are bytes in it.
    static FREE: RefCell<[Vec<BytesMut>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// A connection and its buffers.
pub(super) struct Wire {
    pub(super) stream: Stream,
    /// What was read and not used yet.
    pub(super) input: BytesMut,
    /// What is left of the message that is being read.
    pub(super) decoder: Decoder,
    /// The body's reader has to ask for it first (RFC 9110 §10.1.1).
    pub(super) expects_continue: bool,
    /// The caller understands informational responses (RFC 9110 §15.2): it speaks HTTP/1.1.
    pub(super) is_informed: bool,
    /// How many may still read the body of the request.
    pub(super) readers: usize,
    /// Waits for the end of the body that someone else reads.
    pub(super) watcher: Option<Waker>,
    /// Looks whether the connection has failed while nobody reads from it.
    pub(super) look: Option<Pin<Box<Sleep>>>,
    /// Counts reads and writes that brought something.
    pub(super) moved: u64,
    output: BytesMut,
    /// A large piece, to be written after `output`, and what comes after it.
    piece: Bytes,
    after: &'static [u8],
    /// The stream has taken output that it may still hold, as TLS does.
    is_held: bool,
}

impl Wire {
    pub(super) fn new(stream: Stream, input: BytesMut) -> Self {
        Self {
            stream,
            input,
            decoder: Decoder::Done,
            expects_continue: false,
            is_informed: false,
            readers: 0,
            watcher: None,
            look: None,
            moved: 0,
            output: BytesMut::new(),
            piece: Bytes::new(),
            after: b"",
            is_held: false,
        }
    }

    /// Reads once, at most about `size` bytes. Yields how many came: 0 at the end.
    pub(super) fn poll_fill(
        &mut self,
        size: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        // Most reads that find nothing need no buffer for it.
        if self.stream.poll_readable(cx).is_pending() {
            self.release_input();
            return Poll::Pending;
        }
        if self.input.capacity() - self.input.len() < size / 2 {
            match self.input.is_empty() {
                true => recycle(std::mem::replace(&mut self.input, buffer(size))),
                false => self.input.reserve(size),
            }
        }
        let filled = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.input);
        self.moved += u64::from(filled.is_ready());
        if filled.is_pending() {
            self.release_input();
        }
        filled
    }

    /// Whether somebody is to read what is left of the body.
    pub(super) fn is_read(&self) -> bool {
        self.readers > 0 && !self.decoder.is_done()
    }

    /// Lets another connection use the buffer of what was read, if all of that has been used.
    pub(super) fn release_input(&mut self) {
        if self.input.is_empty() {
            recycle(std::mem::take(&mut self.input));
        }
    }

    /// Resolves when the connection has failed, within [`LOOK`]. A read would tell at once, but what
    /// was sent before the failure may wait for a reader that waits itself.
    pub(super) fn poll_failed(&mut self, cx: &mut Context<'_>) -> Poll<Http1Error> {
        let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        loop {
            ready!(look.as_mut().poll(cx));
            look.as_mut().reset(Instant::now() + LOOK);
            if let Some(error) = self.stream.failure() {
                return Poll::Ready(error.into());
            }
        }
    }

    /// Where heads and small pieces are written to.
    pub(super) fn output(&mut self) -> &mut BytesMut {
        if self.output.capacity() == 0 {
            self.output = buffer(SMALL);
        }
        &mut self.output
    }

    /// Adds a part of a body, and `after` it; only when [`Self::is_full`] is not.
    pub(super) fn put_data(&mut self, data: Bytes, after: &'static [u8]) {
        if data.len() < COPY_BELOW {
            self.output().extend_from_slice(&data);
            self.output().extend_from_slice(after);
        } else {
            self.piece = data;
            self.after = after;
        }
    }

    /// Whether output must leave before there may be more.
    pub(super) fn is_full(&self) -> bool {
        !self.piece.is_empty() || !self.after.is_empty() || self.output.len() >= LARGE
    }

    /// Resolves when all output has left, that which the stream holds included.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unsent() > 0 {
            let stream = Pin::new(&mut self.stream);
            let parts = [&*self.output, &*self.piece, self.after].map(IoSlice::new);
            let len = match self.piece.is_empty() && self.after.is_empty() {
                true => ready!(stream.poll_write(cx, &self.output))?,
                false => ready!(stream.poll_write_vectored(cx, &parts))?,
            };
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent(len);
        }
        if self.is_held {
            recycle(std::mem::take(&mut self.output));
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_held = false;
        }
        Poll::Ready(Ok(()))
    }

    fn unsent(&self) -> usize {
        self.output.len() + self.piece.len() + self.after.len()
    }

    fn sent(&mut self, len: usize) {
        self.moved += 1;
        self.is_held = true;
        let of_output = len.min(self.output.len());
        self.output.advance(of_output);
        let of_piece = (len - of_output).min(self.piece.len());
        self.piece.advance(of_piece);
        self.after = self.after.get(len - of_output - of_piece..).unwrap_or_default();
    }
}

fn slot(size: usize) -> usize {
    usize::from(size > SMALL)
}

fn buffer(size: usize) -> BytesMut {
    let free = FREE.with_borrow_mut(|free| free.get_mut(slot(size)).and_then(Vec::pop));
    free.unwrap_or_else(|| BytesMut::with_capacity(size))
}

/// Keeps an empty buffer for the next connection, unless parts of it are still in use.
fn recycle(mut buffer: BytesMut) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    let size = match () {
        () if buffer.try_reclaim(LARGE) => LARGE,
        () if buffer.try_reclaim(SMALL) => SMALL,
        () => return,
    };
    FREE.with_borrow_mut(|free| {
        if let Some(kept) = free.get_mut(slot(size)).filter(|kept| kept.len() < KEPT) {
            kept.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::{TlsConnector, client};

    use super::*;
    use crate::edge::CallerTls;
    use crate::keys::generate;

    const LIMIT: Duration = Duration::from_secs(20);

    /// Both ends of a TLS connection.
    async fn pair() -> (Wire, client::TlsStream<TcpStream>) {
        let keys = tempfile::tempdir().unwrap();
        generate(keys.path(), &["localhost".to_owned()], "b").unwrap();
        let ca = CertificateDer::from_pem_file(keys.path().join("ca/ca.crt")).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let tls = CallerTls::new(&keys.path().join("send")).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let shaken = tokio::join!(tls.accept(accepted, LIMIT), connector.connect(name, caller));
        (Wire::new(shaken.0.unwrap(), BytesMut::new()), shaken.1.unwrap())
    }

    #[tokio::test]
    async fn what_tls_holds_back_is_flushed_too() {
        let (mut wire, mut caller) = pair().await;
        let mut sent = Vec::new();
        let flush = async |wire: &mut Wire| poll_fn(|cx| Poll::Ready(wire.poll_flush(cx))).await;
        while flush(&mut wire).await.is_ready() {
            wire.output().extend_from_slice(&[1; 1024]);
            sent.extend_from_slice(&[1; 1024]);
        }
        assert_eq!(wire.unsent(), 0, "TLS has taken what the socket does not take");
        assert!(flush(&mut wire).await.is_pending());
        let mut came = vec![0; sent.len()];
        let flushed = poll_fn(|cx| wire.poll_flush(cx));
        let both = async { tokio::join!(flushed, caller.read_exact(&mut came)) };
        let (flushed, read) = tokio::time::timeout(LIMIT, both).await.unwrap();
        assert!(flushed.is_ok() && read.is_ok() && came == sent);
    }
}
