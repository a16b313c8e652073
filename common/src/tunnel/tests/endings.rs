//! How streams and tunnels end.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;

use bytes::{BufMut, BytesMut};
use http_body_util::{Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, timeout};

use super::super::frame::{Kind, PREFACE, put_frame};
use super::*;

/// What a peer that was written by hand says first.
fn hello() -> BytesMut {
    let hello = Hello { max_streams: 10, initial_credit: 1 << 30, ..Hello::default() };
    let mut bytes = BytesMut::from(&PREFACE[..]);
    put_frame(&mut bytes, Kind::Hello, 0, false, &serde_json::to_vec(&hello).unwrap());
    bytes
}

/// A session against a peer that was written by hand.
async fn against(first: &[u8]) -> (Session, DuplexStream, Drain) {
    let (near, mut far) = duplex(64 << 10);
    let drain = Drain::new();
    let session = start(near, Side::Send, &drain);
    far.write_all(first).await.unwrap();
    (session, far, drain)
}

async fn end(session: &Session) -> TunnelError {
    let mut seen = 0;
    while session.end().is_none() {
        seen = timeout(LIMIT, session.changed(seen)).await.unwrap();
    }
    session.end().unwrap()
}

#[tokio::test(flavor = "local")]
async fn a_caller_that_leaves_cancels() {
    for keep_sending in [false, true] {
        let tunnel = Tunnel::new(64);
        let (send, recv) = tunnel.send.open(&request(), false).await.unwrap();
        let incoming = tunnel.receive.accept().await.unwrap();
        drop(recv);
        let _held = keep_sending.then_some(send);
        let failed = timeout(LIMIT, incoming.reply.failed()).await.unwrap();
        assert!(matches!(failed, StreamError::Reset(ResetCode::Cancelled)), "{failed}");
        drop((incoming, _held));
        tunnel.assert_idle().await;
    }
}

#[tokio::test(flavor = "local")]
async fn an_answer_that_breaks_off_is_an_error() {
    let tunnel = Tunnel::new(64);
    let (send, mut recv) = tunnel.send.open(&request(), true).await.unwrap();
    let mut incoming = tunnel.receive.accept().await.unwrap();
    incoming.reply.send_head(&answer(), false).await.unwrap();
    recv.response().await.unwrap();
    drop(incoming);
    let error = timeout(LIMIT, recv.collect()).await.unwrap().unwrap_err();
    assert!(matches!(error, StreamError::Reset(ResetCode::Failed)), "{error}");
    drop(send);
    tunnel.assert_idle().await;
}

#[tokio::test(flavor = "local")]
async fn an_answer_may_come_whole_before_the_request_does() {
    let tunnel = Tunnel::new(64);
    let (send, mut recv) = tunnel.send.open(&request(), false).await.unwrap();
    let server = async {
        let mut incoming = tunnel.receive.accept().await.unwrap();
        incoming.reply.send_head(&answer(), false).await.unwrap();
        incoming.reply.send_body(Full::new(pattern(1000))).await.unwrap();
    };
    let upload = send.send_body(Full::new(pattern(10 << 20)));
    let download = async {
        recv.response().await.unwrap();
        recv.collect().await.unwrap().to_bytes()
    };
    let all = async { tokio::join!(server, upload, download) };
    let ((), upload, download) = timeout(LIMIT, all).await.unwrap();
    assert!(matches!(upload, Err(SendBodyError::Stream(StreamError::Reset(ResetCode::Cancelled)))));
    assert_eq!(download, pattern(1000));
    tunnel.assert_idle().await;
}

/// The clock stands still, or on a slow machine a PING would follow the request's head.
#[tokio::test(flavor = "local", start_paused = true)]
async fn a_lost_transport_ends_every_stream() {
    let (session, mut far, _drain) = against(&hello()).await;
    let (_send, mut recv) = session.open(&request(), true).await.unwrap();
    let mut arrived = BytesMut::new();
    while !arrived.ends_with(request().payload()) {
        assert!(timeout(LIMIT, far.read_buf(&mut arrived)).await.unwrap().unwrap() > 0);
    }
    let waiting = async { tokio::join!(recv.response(), session.accept(), end(&session)) };
    let lost = async { drop(far) };
    let ((response, accepted, end), ()) =
        timeout(LIMIT, async { tokio::join!(waiting, lost) }).await.unwrap();
    assert!(matches!(response, Err(StreamError::TunnelLost { sent: true, .. })));
    assert!(matches!(accepted, Err(TunnelError::HungUp)));
    assert!(matches!(end, TunnelError::HungUp));
    assert!(matches!(session.open(&request(), true).await, Err(TunnelError::HungUp)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_silent_peer_is_given_up() {
    for first in [&b""[..], &hello()] {
        let begun = Instant::now();
        let (session, _far, _drain) = against(first).await;
        assert!(matches!(end(&session).await, TunnelError::Silent(_)));
        let after = begun.elapsed();
        assert!((2500..3000).contains(&after.as_millis()), "{after:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_peer_that_does_not_come_to_the_point_is_given_up() {
    let (session, mut far, drain) = against(b"").await;
    drain.spawn(async move {
        for byte in hello() {
            if far.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    });
    let begun = Instant::now();
    assert!(matches!(end(&session).await, TunnelError::Silent(_)));
    assert_eq!(begun.elapsed().as_secs(), 5);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up() {
    let (session, mut far, drain) = against(&hello()).await;
    drain.spawn(async move {
        let mut ping = BytesMut::new();
        put_frame(&mut ping, Kind::Ping, 0, false, &[0; 8]);
        while far.write_all(&ping).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (send, _recv) = session.open(&request(), false).await.unwrap();
    drain.spawn(async move {
        let _ = send.send_body(Full::new(pattern(1 << 20))).await;
    });
    let begun = Instant::now();
    assert!(matches!(end(&session).await, TunnelError::WriteStalled(_)));
    assert_eq!(begun.elapsed().as_secs(), 10);
}

#[tokio::test(flavor = "local")]
async fn a_peer_that_breaks_the_protocol_is_told_why() {
    let mut broken = hello();
    broken.put_slice(&[0, 0, 0, 0, 4, 0, 0, 1]);
    for (first, why) in [
        (&broken[..], "the peer broke the tunnel protocol: a frame is on a stream it cannot be on"),
        (
            b"GET / HTTP/1.1\r\n\r\n",
            "the peer does not speak version 1 of the tunnel protocol; run the same release at \
             both ends",
        ),
    ] {
        let (session, mut far, _drain) = against(first).await;
        let mut read = Vec::new();
        timeout(LIMIT, far.read_to_end(&mut read)).await.unwrap().unwrap();
        assert!(read.starts_with(&PREFACE));
        let mut close = BytesMut::new();
        put_frame(&mut close, Kind::Close, 0, false, why.as_bytes());
        assert!(read.ends_with(&close), "{:?}", read.escape_ascii().to_string());
        assert_eq!(end(&session).await.to_string(), why);
    }
}

#[tokio::test(flavor = "local")]
async fn a_goodbye_comes_behind_what_was_sent_before() {
    let tunnel = Tunnel::new(7);
    let (_send, mut recv) = tunnel.send.open(&request(), true).await.unwrap();
    let mut incoming = timeout(LIMIT, tunnel.receive.accept()).await.unwrap().unwrap();
    incoming.reply.send_head(&answer(), false).await.unwrap();
    incoming.reply.send_body(Full::new(pattern(1000))).await.unwrap();
    tunnel.receive.close("shutting down");
    let (theirs, ours) = tokio::join!(end(&tunnel.send), end(&tunnel.receive));
    assert_eq!(theirs.to_string(), "closed by the peer: shutting down");
    assert!(matches!(ours, TunnelError::Closed));
    recv.response().await.unwrap();
    assert_eq!(recv.collect().await.unwrap().to_bytes(), pattern(1000));
}

#[tokio::test(flavor = "local")]
async fn a_drain_ends_when_the_last_request_does() {
    let tunnel = Tunnel::new(64);
    let (send, mut recv) = tunnel.send.open(&request(), true).await.unwrap();
    let mut incoming = tunnel.receive.accept().await.unwrap();
    tunnel.receive.drain();
    until(|| !tunnel.send.is_open()).await;
    assert!(tunnel.send.open(&request(), true).await.is_err());
    assert!(!tunnel.receive.is_drained());
    incoming.reply.send_head(&answer(), false).await.unwrap();
    let body = incoming.reply.send_body(Full::new(pattern(100_000)));
    let download = async {
        recv.response().await.unwrap();
        recv.collect().await.unwrap().to_bytes()
    };
    let (sent, read) = timeout(LIMIT, async { tokio::join!(body, download) }).await.unwrap();
    sent.unwrap();
    assert!(read == pattern(100_000));
    drop((incoming.body, send));
    let mut seen = 0;
    while !tunnel.receive.is_drained() {
        seen = timeout(LIMIT, tunnel.receive.changed(seen)).await.unwrap();
    }
}

#[tokio::test(flavor = "local")]
async fn dropping_the_driver_ends_the_session() {
    for polled in [false, true] {
        let (near, _far) = duplex(64);
        let (session, driver) =
            Session::start(near, Peer::default(), Side::Send, Limits::default(), Hello::default());
        {
            let mut driver = pin!(driver);
            if polled {
                assert!(
                    poll_fn(|cx| std::task::Poll::Ready(driver.as_mut().poll(cx).is_pending()))
                        .await
                );
            }
        }
        assert!(matches!(session.open(&request(), true).await, Err(TunnelError::Closed)));
        assert!(matches!(session.accept().await, Err(TunnelError::Closed)));
        assert!(matches!(session.end(), Some(TunnelError::Closed)));
    }
}

/// Counts how often a driver runs.
fn start_counted(io: DuplexStream, side: Side, drain: &Drain) -> (Session, Rc<Cell<usize>>) {
    let (session, driver) =
        Session::start(io, Peer::default(), side, Limits::default(), Hello::default());
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    drain.spawn(async move {
        let mut driver = pin!(driver);
        poll_fn(|cx| {
            count.set(count.get() + 1);
            driver.as_mut().poll(cx)
        })
        .await;
    });
    (session, polls)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_tunnel_at_rest_rests() {
    let (near, far) = duplex(64 << 10);
    let drain = Drain::new();
    let (send, polls) = start_counted(near, Side::Send, &drain);
    let receive = start(far, Side::Receive, &drain);
    // Someone waits to send, but the peer reads nothing.
    let (body, _recv) = send.open(&request(), false).await.unwrap();
    drain.spawn(async move {
        let _ = body.send_body(Full::new(pattern(1 << 20))).await;
    });
    let _incoming = receive.accept().await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = polls.get();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(send.end().is_none() && receive.end().is_none());
    // In a second, a PING goes each way and is answered.
    let polls = polls.get() - before;
    assert!(polls < 60 * 6, "{polls} times in a minute");
}

#[tokio::test(flavor = "local")]
async fn a_request_that_is_dropped_while_it_waits_leaves_nothing() {
    let (near, mut far) = duplex(64 << 10);
    let drain = Drain::new();
    let session = start(near, Side::Send, &drain);
    // Without HELLO, nothing can be opened.
    assert!(timeout(Duration::from_millis(1), session.open(&request(), true)).await.is_err());
    far.write_all(&hello()).await.unwrap();
    let (send, recv) = session.open(&request(), false).await.unwrap();
    assert_eq!(session.in_flight(), 1);
    let mut upload = Box::pin(send.send_body(Empty::new()));
    assert!(poll_fn(|cx| std::task::Poll::Ready(upload.as_mut().poll(cx).is_ready())).await);
    drop((upload, recv));
    assert_eq!(session.in_flight(), 0);
}
