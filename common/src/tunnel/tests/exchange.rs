//! Requests and answers through both drivers.

use http_body_util::Full;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

#[tokio::test(flavor = "local")]
async fn body_and_trailers_cross_whatever_the_transport_holds() {
    for (size, len) in [(7, 20_000), (64, 200_000), (64 << 10, 4 << 20)] {
        let tunnel = Tunnel::new(size);
        tunnel.echo();
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let sent = trailers.clone();
        let body = Full::new(pattern(len)).with_trailers(async { Some(Ok(sent)) });
        let answer = timeout(LIMIT, exchange(&tunnel.send, body)).await.unwrap();
        assert_eq!(answer.trailers(), Some(&trailers));
        assert!(answer.to_bytes() == pattern(len), "over {size} bytes");
        tunnel.assert_idle().await;
    }
}

#[tokio::test(flavor = "local")]
async fn bulk_both_ways_at_once_does_not_lock_up() {
    for (size, len) in [(7, 4_000), (1000, 300_000), (64 << 10, 1 << 20)] {
        let tunnel = Tunnel::new(size);
        tunnel.echo();
        // This end opens streams too.
        let (send, drain) = (tunnel.send.clone(), tunnel.drain.clone());
        tunnel.drain.spawn(async move {
            while let Ok(Incoming { body, mut reply, .. }) = send.accept().await {
                drain.spawn(async move {
                    reply.send_head(&answer(), false).await.unwrap();
                    reply.send_body(body).await.unwrap();
                });
            }
        });
        let answers: Shared<usize> = Shared::default();
        for session in [&tunnel.send, &tunnel.receive] {
            for _ in 0..8 {
                let (session, answers) = (session.clone(), Rc::clone(&answers));
                tunnel.drain.spawn(async move {
                    let answer = exchange(&session, Full::new(pattern(len))).await;
                    assert!(answer.to_bytes() == pattern(len));
                    *answers.borrow_mut().get_or_insert(0) += 1;
                });
            }
        }
        until(|| *answers.borrow() == Some(16)).await;
        tunnel.assert_idle().await;
    }
}

#[tokio::test(flavor = "local")]
async fn many_streams_share_the_tunnel() {
    let tunnel = Tunnel::new(64 << 10);
    tunnel.echo();
    let answers: Shared<usize> = Shared::default();
    for len in 0..1000 {
        let (session, answers) = (tunnel.send.clone(), Rc::clone(&answers));
        tunnel.drain.spawn(async move {
            let answer = exchange(&session, Full::new(pattern(len))).await;
            assert_eq!(answer.to_bytes(), pattern(len));
            *answers.borrow_mut().get_or_insert(0) += 1;
        });
    }
    until(|| *answers.borrow() == Some(1000)).await;
    tunnel.assert_idle().await;
}

#[tokio::test(flavor = "local")]
async fn plain_bytes_end_one_way_at_a_time() {
    let tunnel = Tunnel::new(64);
    let len = 300_000;
    let client = async {
        let (send, mut recv) = tunnel.send.open(&request(), false).await.unwrap();
        recv.response().await.unwrap();
        let mut io = Duplex::new(send, recv);
        io.write_all(&pattern(len)).await.unwrap();
        io.shutdown().await.unwrap();
        let late = io.write(b"late").await.unwrap_err();
        assert_eq!(late.kind(), std::io::ErrorKind::BrokenPipe);
        let mut read = Vec::new();
        io.read_to_end(&mut read).await.unwrap();
        assert!(read == pattern(len));
    };
    let server = async {
        let Incoming { body, mut reply, .. } = tunnel.receive.accept().await.unwrap();
        reply.send_head(&answer(), false).await.unwrap();
        let mut io = Duplex::new(reply, body);
        let mut read = Vec::new();
        io.read_to_end(&mut read).await.unwrap();
        io.write_all(&read).await.unwrap();
        io.shutdown().await.unwrap();
    };
    timeout(LIMIT, async { tokio::join!(client, server) }).await.unwrap();
    tunnel.assert_idle().await;
}

#[tokio::test(flavor = "local")]
async fn informational_heads_come_before_the_answer() {
    let tunnel = Tunnel::new(64);
    let server = async {
        let mut incoming = tunnel.receive.accept().await.unwrap();
        let hints = EncodedHead::response(&Response::new(StatusCode::EARLY_HINTS, ())).unwrap();
        incoming.reply.send_head(&hints, false).await.unwrap();
        incoming.reply.send_head(&answer(), true).await.unwrap();
    };
    let client = async {
        let (_send, mut recv) = tunnel.send.open(&request(), true).await.unwrap();
        assert_eq!(recv.response().await.unwrap().status, StatusCode::EARLY_HINTS);
        assert_eq!(recv.response().await.unwrap().status, StatusCode::OK);
        assert!(recv.collect().await.unwrap().to_bytes().is_empty());
    };
    timeout(LIMIT, async { tokio::join!(client, server) }).await.unwrap();
    tunnel.assert_idle().await;
}
