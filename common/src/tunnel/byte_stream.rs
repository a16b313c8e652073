//! The byte stream that carries a tunnel.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use super::frame::{HEADER_LEN, MAX_DATA};

/// What one read may bring.
const READ_SIZE: usize = 64 * 1024;

/// With less room than this, a new read buffer is begun: a DATA frame that is cut is passed on in
/// two writes.
const MIN_READ: usize = HEADER_LEN + MAX_DATA;

/// What carries a tunnel. A stream that has what it reads in buffers of its own hands them over,
/// which spares a copy of each byte.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin {
    /// The next bytes; none at the end. `room` is what a stream without such buffers reads to, the
    /// same each time and always left empty.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut BytesMut,
    ) -> Poll<io::Result<Bytes>> {
        if room.capacity() < MIN_READ {
            room.reserve(READ_SIZE);
        }
        ready!(poll_read_buf(Pin::new(self), cx, room))?;
        Poll::Ready(Ok(room.split().freeze()))
    }
}

impl ByteStream for TcpStream {}

#[cfg(any(test, feature = "testing"))]
impl ByteStream for tokio::io::DuplexStream {}
