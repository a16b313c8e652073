//! What cannot work ends in its own error, within its own time.

use super::*;

#[tokio::test(flavor = "local")]
async fn a_dead_port_refuses() {
    let mut world = World::answering().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    world.route.target.authority = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    assert!(matches!(world.get().await, Err(ProxyError::ConnectionRefused { .. })));
}

#[tokio::test(flavor = "local")]
async fn an_unknown_name_is_a_dns_error() {
    let mut world = World::answering().await;
    world.route.target.authority = "no-such-host.invalid".parse().unwrap();
    assert!(matches!(world.get().await, Err(ProxyError::Dns { .. })));
}

#[tokio::test(flavor = "local")]
async fn a_handshake_that_hangs_is_a_connection_timeout() {
    let mut world = World::new(Scheme::Https, async |mut stream, _| {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    let (authority, _) = tls::authority("localhost");
    world.route.target.tls.ca = Some(authority.path().to_owned());
    world.route.connect_timeout = Duration::from_millis(100);
    assert!(matches!(world.get().await, Err(ProxyError::ConnectionTimeout { .. })));
}

#[tokio::test(flavor = "local")]
async fn a_silent_target_times_out() {
    let mut world = World::new(Scheme::Http, async |mut stream, _| {
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    world.route.timeout = Duration::from_millis(50);
    let limit = world.route.timeout;
    assert_eq!(world.get().await, Err(ProxyError::HttpResponseTimeout { limit }));
    assert!(matches!(
        world.send(streaming(Method::POST)).await,
        Err(ProxyError::HttpResponseTimeout { .. })
    ));
    world.until_none_is_free().await;
}

#[tokio::test(flavor = "local")]
async fn a_slow_upload_is_not_cut() {
    let mut world = World::new(Scheme::Http, async |mut stream, _| {
        read_until(&mut stream, "0\r\n\r\n").await;
        stream.write_all(OK).await.unwrap();
    })
    .await;
    world.route.timeout = Duration::from_millis(600);
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let upload = async {
        for _ in 0..6 {
            tokio::time::sleep(world.route.timeout / 4).await;
            send.send(Bytes::from_static(b"x")).await.unwrap();
        }
        drop(send);
    };
    let body = Channel(receive);
    let answer = async { world.send(request(Method::POST).map(|_| body)).await };
    let ((), answer) = tokio::join!(upload, answer);
    assert_eq!(text(answer.unwrap()).await, "ok");
}

/// A body that comes from elsewhere, piece by piece.
struct Channel(tokio::sync::mpsc::Receiver<Bytes>);

impl http_body::Body for Channel {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test(flavor = "local")]
async fn what_is_not_http_is_a_protocol_error() {
    for answer in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"] {
        let world = World::new(Scheme::Http, async move |mut stream, _| {
            head(&mut stream).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        })
        .await;
        assert!(matches!(world.get().await, Err(ProxyError::HttpProtocol(_))), "{answer}");
    }
}

#[tokio::test(flavor = "local")]
async fn a_huge_answer_head_is_refused() {
    let world = World::new(Scheme::Http, async |mut stream, _| {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream
            .write_all(b"x-large: 0123456789012345678901234567890123456789\r\n")
            .await
            .is_ok()
        {}
    })
    .await;
    assert!(matches!(world.get().await, Err(ProxyError::HttpProtocol(_))));
}

#[tokio::test(flavor = "local")]
async fn connect_is_refused() {
    let world = World::answering().await;
    let answer = world.send(request(Method::CONNECT)).await;
    assert!(matches!(answer, Err(ProxyError::HttpRequest(_))));
}

#[tokio::test(flavor = "local")]
async fn a_drain_closes_free_connections_at_once() {
    let world = World::answering().await;
    let kept = world.send(request(Method::GET)).await.unwrap();
    world.get().await.unwrap();
    world.drain.ask();
    // The one whose answer is still being read stays; the sweeper is gone too.
    within(async {
        while world.drain.tasks() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(text(kept).await, "ok");
    assert_eq!(within(world.drain.finish(LIMIT)).await, 0);
}
