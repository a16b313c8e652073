//! Who gets how much while much is going on. Bytes are counted, not time.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame};
use http_body_util::Full;

use super::*;

/// A body that never ends.
struct Endless(Bytes);

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

/// Echoes that run as fast as the tunnel lets them, and what each has brought back.
fn bulk(tunnel: &Tunnel, count: usize) -> Rc<Vec<Cell<usize>>> {
    let moved = Rc::new(vec![Cell::new(0); count]);
    for at in 0..count {
        let (session, moved) = (tunnel.send.clone(), Rc::clone(&moved));
        let drain = tunnel.drain.clone();
        tunnel.drain.spawn(async move {
            let (send, mut recv) = session.open(&request(), false).await.unwrap();
            drain.spawn(async move {
                let _ = send.send_body(Endless(pattern(100_000))).await;
            });
            recv.response().await.unwrap();
            while let Some(Ok(frame)) = recv.frame().await {
                let len = frame.into_data().map_or(0, |data| data.len());
                moved[at].set(moved[at].get() + len);
            }
        });
    }
    moved
}

fn total(moved: &[Cell<usize>]) -> usize {
    moved.iter().map(Cell::get).sum()
}

#[tokio::test(flavor = "local")]
async fn a_small_exchange_does_not_wait_for_bulk() {
    let tunnel = Tunnel::new(64 << 10);
    tunnel.echo();
    let moved = bulk(&tunnel, 16);
    until(|| moved.iter().all(|moved| moved.get() > 0)).await;
    for _ in 0..20 {
        let before = total(&moved);
        exchange(&tunnel.send, Full::new(pattern(1000))).await;
        let meanwhile = total(&moved) - before;
        // Each way, it waits behind 512 KiB at most in the out buffer and 64 KiB in the transport;
        // what the streams held before that is counted, too.
        assert!(meanwhile < 4 << 20, "{meanwhile} bytes passed it by");
    }
}

#[tokio::test(flavor = "local")]
async fn bulk_streams_share_alike() {
    let tunnel = Tunnel::new(64 << 10);
    tunnel.echo();
    let moved = bulk(&tunnel, 10);
    until(|| total(&moved) > 20 << 20).await;
    let least = moved.iter().map(Cell::get).min().unwrap();
    let most = moved.iter().map(Cell::get).max().unwrap();
    assert!(most < 2 * least, "between {least} and {most}");
}

#[tokio::test(flavor = "local")]
async fn a_reader_that_stalls_holds_up_nobody() {
    let tunnel = Tunnel::new(64 << 10);
    tunnel.echo();
    let mut stalled = Vec::new();
    for _ in 0..32 {
        let (send, recv) = tunnel.send.open(&request(), false).await.unwrap();
        tunnel.drain.spawn(async move {
            let _ = send.send_body(Endless(pattern(100_000))).await;
        });
        stalled.push(recv);
    }
    let answer = exchange(&tunnel.send, Full::new(pattern(4 << 20))).await;
    assert!(answer.to_bytes() == pattern(4 << 20));
    let held = tunnel.send.buffered();
    assert!(held <= 33 * (256 << 10) + 33 * 100, "{held} bytes are held");
}
