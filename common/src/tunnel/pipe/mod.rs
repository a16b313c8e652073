//! One gRPC call as a byte stream: what the `grpc` transport yields.
//!
//! The call is `isthmus.v1.Tunnel/Connect` of `docs/tunnel.proto`, the only one of its HTTP/2
//! connection, so that HTTP/2's shared window does no harm.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::connection::Connection;
use self::inbox::Inbox;
use self::outbox::Outbox;
use super::byte_stream::ByteStream;

mod call;
mod connection;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
mod inbox;
mod message;
mod outbox;

pub use self::call::{CallError, accept, dial};

/// The byte stream of one call.
///
/// Writes are taken up to 256 KiB ahead of the connection, and leave without a flush; `flush`
/// waits for nothing. `shutdown` ends this end's direction only. A drop ends it as well; what was
/// written still leaves, and what still comes is discarded, until the peer has ended its
/// direction or 5 s have passed. Reading fails with the status of the call if that was not OK.
pub struct Pipe {
    /// What is left of the last chunk.
    unread: Bytes,
    outbox: Outbox,
    /// `None` only while the pipe is dropped.
    call: Option<(Inbox, Connection)>,
}

impl Pipe {
    fn new(incoming: Incoming, outbox: Outbox, connection: Connection) -> Self {
        Self { unread: Bytes::new(), outbox, call: Some((Inbox::new(incoming), connection)) }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.outbox.end();
        if let Some((inbox, connection)) = self.call.take() {
            connection.leave(inbox);
        }
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.unread = ready!(self.poll_receive(cx, &mut BytesMut::new()))?;
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl ByteStream for Pipe {
    fn poll_receive(&mut self, cx: &mut Context<'_>, _: &mut BytesMut) -> Poll<io::Result<Bytes>> {
        while self.unread.is_empty() {
            let Some((inbox, _)) = &mut self.call else { break };
            match ready!(inbox.poll_data(cx))? {
                Some(data) => self.unread = data,
                None => break,
            }
        }
        Poll::Ready(Ok(std::mem::take(&mut self.unread)))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, data)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.end();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;
    use crate::drain::Drain;

    /// Far above what a healthy machine needs; only a hang reaches it.
    const LIMIT: Duration = Duration::from_secs(30);

    fn connections() -> (DuplexStream, DuplexStream) {
        duplex(64 << 10)
    }

    async fn pipes(drain: &Drain) -> (Pipe, Pipe) {
        let (left, right) = connections();
        let authority = "a.example:1".parse().unwrap();
        let (dialled, accepted) = tokio::join!(dial(left, authority, drain), accept(right, drain));
        (dialled.unwrap(), accepted.unwrap())
    }

    /// `len` bytes in which a lost, doubled or displaced chunk shows.
    fn pattern(len: usize) -> Vec<u8> {
        (0..len as u32 / 4).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    /// Writes `data` cut at `cuts`, in a circle, then ends the direction.
    async fn write_cut(io: &mut (impl AsyncWrite + Unpin), mut data: &[u8], cuts: &[usize]) {
        for cut in cuts.iter().cycle() {
            let (now, later) = data.split_at(data.len().min(*cut));
            io.write_all(now).await.unwrap();
            data = later;
            if data.is_empty() {
                return io.shutdown().await.unwrap();
            }
        }
    }

    async fn read_all(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
        let mut bytes = Vec::new();
        io.read_to_end(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test(flavor = "local")]
    async fn carries_all_bytes_both_ways_at_once() {
        let cuts = [1, 70_003, 13, 262_109, 4096, 299_999, 2];
        let data = pattern(8 << 20);
        let drain = Drain::new();
        let (client, server) = pipes(&drain).await;
        let (mut client_in, mut client_out) = tokio::io::split(client);
        let (mut server_in, mut server_out) = tokio::io::split(server);
        let (to_client, to_server, (), ()) = timeout(LIMIT, async {
            tokio::join!(
                read_all(&mut client_in),
                read_all(&mut server_in),
                write_cut(&mut client_out, &data, &cuts),
                write_cut(&mut server_out, &data, &[64 << 10, 1, 7]),
            )
        })
        .await
        .unwrap();
        assert!(to_client == data && to_server == data);

        drop((client_in, client_out, server_in, server_out));
        assert_eq!(drain.finish(LIMIT).await, 0);
    }

    #[tokio::test(flavor = "local")]
    async fn a_direction_ends_alone() {
        for client_first in [true, false] {
            let drain = Drain::new();
            let (client, server) = pipes(&drain).await;
            let (mut first, mut second) =
                if client_first { (client, server) } else { (server, client) };
            first.write_all(b"bye").await.unwrap();
            first.shutdown().await.unwrap();
            assert_eq!(timeout(LIMIT, read_all(&mut second)).await.unwrap(), b"bye");
            let data = pattern(1 << 20);
            let (got, ()) = timeout(LIMIT, async {
                tokio::join!(read_all(&mut first), write_cut(&mut second, &data, &[5000]))
            })
            .await
            .unwrap();
            assert!(got == data, "client first: {client_first}");
        }
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_drop_is_heard_by_reader_and_writer() {
        for client_drops in [true, false] {
            let drain = Drain::new();
            let (client, server) = pipes(&drain).await;
            let (dropped, mut left) =
                if client_drops { (client, server) } else { (server, client) };
            drop(dropped);
            timeout(LIMIT, async {
                assert_eq!(left.read(&mut [0; 8]).await.unwrap(), 0);
                while left.write_all(&[0; 1000]).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
            .await
            .unwrap();
            drop(left);
            assert_eq!(drain.finish(Duration::from_secs(2)).await, 0);
        }
    }

    #[tokio::test(flavor = "local")]
    async fn what_was_written_before_a_drop_arrives() {
        let drain = Drain::new();
        let (mut client, mut server) = pipes(&drain).await;
        client.write_all(&pattern(200 << 10)).await.unwrap();
        drop(client);
        assert!(timeout(LIMIT, read_all(&mut server)).await.unwrap() == pattern(200 << 10));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn a_black_hole_holds_nothing_after_a_drop() {
        let drain = Drain::new();
        let (near, mut relay_near) = connections();
        let (mut relay_far, far) = connections();
        let far_drain = Drain::new();
        let authority = "a.example:1".parse().unwrap();
        let open = async { tokio::join!(dial(near, authority, &drain), accept(far, &far_drain)) };
        let (client, server) = tokio::select! {
            pipes = open => pipes,
            _ = tokio::io::copy_bidirectional(&mut relay_near, &mut relay_far) => unreachable!(),
        };
        let mut client = client.unwrap();
        client.write_all(&[0; 100_000]).await.unwrap();
        drop(client);
        assert_eq!(drain.finish(Duration::from_secs(6)).await, 0);
        drop((server, relay_near, relay_far));
    }

    #[tokio::test(flavor = "local", start_paused = true)]
    async fn an_abandoned_dial_holds_nothing() {
        let drain = Drain::new();
        let (near, _silent) = connections();
        let dial = dial(near, "a.example:1".parse().unwrap(), &drain);
        assert!(timeout(Duration::from_secs(1), dial).await.is_err());
        assert_eq!(drain.finish(Duration::from_millis(1)).await, 0);
    }

    #[tokio::test(flavor = "local")]
    async fn a_writer_waits_for_its_reader() {
        let drain = Drain::new();
        let (mut client, mut server) = pipes(&drain).await;
        let data = pattern(96 << 20);
        let mut written = 0;
        while let Ok(len) =
            timeout(Duration::from_millis(500), client.write(&data[written..])).await
        {
            written += len.unwrap();
        }
        assert!((1..66 << 20).contains(&written), "{written} bytes were taken unread");
        drop(client);
        assert!(timeout(LIMIT, read_all(&mut server)).await.unwrap() == data[..written]);
    }

    proptest::proptest! {
        #[test]
        fn any_peer_ends_well(how: u8, bytes in proptest::collection::vec(0u8..16, 0..40)) {
            fuzzing::pipe(&[&[how], &bytes[..]].concat());
        }
    }
}
