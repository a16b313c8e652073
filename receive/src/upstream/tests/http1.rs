//! HTTP/1.1 targets: reuse, replay, bodies, upgrades.

use super::*;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, yield_now};

#[tokio::test(flavor = "local")]
async fn a_connection_is_used_again() {
    let world = World::answering().await;
    for _ in 0..3 {
        assert_eq!(world.get().await.as_deref(), Ok("ok"));
    }
    assert_eq!(world.accepted.get(), 1);
    let (first, second) = tokio::join!(world.get(), world.get());
    assert_eq!((first.as_deref(), second.as_deref()), (Ok("ok"), Ok("ok")));
    assert_eq!(world.accepted.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn an_early_dropped_body_closes_its_connection() {
    let closed = Rc::new(Cell::new(false));
    let seen = closed.clone();
    let world = World::new(Scheme::Http, move |mut stream, _| {
        let seen = seen.clone();
        async move {
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
            assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
            seen.set(true);
        }
    })
    .await;
    drop(world.send(request(Method::GET)).await.unwrap());
    within(async {
        while !closed.get() {
            yield_now().await;
        }
    })
    .await;
    world.until_none_is_free().await;
}

/// An origin that answers once on its first connection and then closes it, after it has read the
/// next request's head if `after_reading`. Later connections answer all.
async fn stale(after_reading: bool) -> World {
    World::new(Scheme::Http, move |mut stream, number| async move {
        while !head(&mut stream).await.is_empty() {
            stream.write_all(OK).await.unwrap();
            if number == 0 {
                if after_reading {
                    head(&mut stream).await;
                }
                return;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "local")]
async fn a_stale_connection_is_replaced() {
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let world = stale(true).await;
        world.get().await.unwrap();
        let response = world.send(request(method)).await.unwrap();
        assert_eq!((response.status(), world.accepted.get()), (StatusCode::OK, 2));
    }
}

/// An origin whose first connection dies with the second request that it has read; otherwise it
/// answers with the body that it got. `END` ends one.
async fn dies_after_body() -> World {
    World::new(Scheme::Http, async |mut stream, number| {
        for exchange in 0.. {
            let head = head(&mut stream).await.to_lowercase();
            let body = match head.contains("content-length") {
                true => read_until(&mut stream, "END").await,
                _ if head.contains("chunked") => read_until(&mut stream, "\r\n\r\n").await,
                false => String::new(),
            };
            if head.is_empty() || (number == 0 && exchange == 1) {
                return;
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await
}

#[tokio::test(flavor = "local")]
async fn a_small_body_is_sent_again_whole() {
    let largest = [&[b'x'; 16 * 1024 - 3], &b"END"[..]].concat();
    for (method, body) in [(Method::PUT, b"END".to_vec()), (Method::DELETE, largest)] {
        let world = dies_after_body().await;
        world.get().await.unwrap();
        let again = world.send(request(method).map(|_| Full::from(body.clone()))).await.unwrap();
        assert_eq!(text(again).await.as_bytes(), body);
        assert_eq!(world.accepted.get(), 2);
    }
    let world = dies_after_body().await;
    world.get().await.unwrap();
    let frames = [Frame::data("he".into()), Frame::data("lloEND".into())];
    let chunks = Frames(frames.into_iter().collect());
    let again = world.send(request(Method::PUT).map(|_| chunks)).await.unwrap();
    assert_eq!(text(again).await, "helloEND");
}

#[tokio::test(flavor = "local")]
async fn what_may_have_been_acted_on_is_not_repeated() {
    let lost = ProxyError::ConnectionTerminated("the connection to the target");
    let world = stale(true).await;
    world.get().await.unwrap();
    assert_eq!(world.send(request(Method::POST)).await.err(), Some(lost.clone()));
    assert_eq!(world.accepted.get(), 1);

    for (method, body) in [
        (Method::POST, b"END".to_vec()),
        (Method::PUT, [&[b'x'; 16 * 1024 - 2], &b"END"[..]].concat()),
    ] {
        let world = dies_after_body().await;
        world.get().await.unwrap();
        let sent = world.send(request(method.clone()).map(|_| Full::from(body))).await;
        assert_eq!((sent.err(), world.accepted.get()), (Some(lost.clone()), 1), "{method}");
    }

    // Its trailers are gone.
    let world = dies_after_body().await;
    world.get().await.unwrap();
    assert_eq!(world.send(streaming(Method::PUT)).await.err(), Some(lost.clone()));
    assert_eq!(world.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_target_that_dies_of_a_request_gets_it_twice() {
    let world = World::new(Scheme::Http, async |mut stream, _| {
        head(&mut stream).await;
    })
    .await;
    let lost = ProxyError::ConnectionTerminated("the connection to the target");
    assert_eq!(world.get().await, Err(lost.clone()));
    assert_eq!(world.accepted.get(), 2);
    assert_eq!(world.send(request(Method::POST)).await.err(), Some(lost));
    assert_eq!(world.accepted.get(), 3);
}

#[tokio::test(flavor = "local")]
async fn what_was_announced_is_not_repeated() {
    let world = World::new(Scheme::Http, async |mut stream, _| {
        head(&mut stream).await;
        stream.write_all(OK).await.unwrap();
        head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").await.unwrap();
    })
    .await;
    world.get().await.unwrap();
    let lost = ProxyError::ConnectionTerminated("the connection to the target");
    assert_eq!(world.get().await, Err(lost));
    assert_eq!(world.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_connection_that_was_closed_while_free_costs_nothing() {
    let world = stale(false).await;
    world.get().await.unwrap();
    world.until_none_is_free().await;
    assert_eq!(world.send(request(Method::POST)).await.map(|r| r.status()), Ok(StatusCode::OK));
    assert_eq!(world.accepted.get(), 2);
}

/// In the same turn of the event loop as the next request.
#[tokio::test(flavor = "local")]
async fn a_connection_that_was_closed_just_now_takes_no_request_that_it_could_lose() {
    let kept = Rc::new(RefCell::new(None));
    let keep = Rc::clone(&kept);
    let world = World::new(Scheme::Http, move |mut stream, _| {
        let keep = Rc::clone(&keep);
        async move {
            head(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            keep.replace(Some(stream.into_std().unwrap()));
        }
    })
    .await;
    for accepted in 1..=2 {
        let answer = world.send(request(Method::POST)).await.unwrap();
        assert_eq!((text(answer).await.as_str(), world.accepted.get()), ("ok", accepted));
        assert!(kept.take().is_some(), "it is closed");
    }
}

#[tokio::test(flavor = "local")]
async fn many_connections_that_were_closed_while_free_cost_nothing() {
    const MANY: usize = 100;
    let (all, closed) = (Rc::new(Barrier::new(MANY)), Rc::new(Cell::new(0)));
    let count = Rc::clone(&closed);
    let world = World::new(Scheme::Http, move |mut stream, number| {
        let (all, count) = (Rc::clone(&all), Rc::clone(&count));
        async move {
            head(&mut stream).await;
            if number < MANY {
                all.wait().await;
            }
            stream.write_all(OK).await.unwrap();
            drop(stream);
            count.update(|count| count + 1);
        }
    })
    .await;
    let world = Rc::new(world);
    let mut gets = JoinSet::new();
    for _ in 0..MANY {
        let world = Rc::clone(&world);
        gets.spawn_local(async move { world.get().await.unwrap() });
    }
    gets.join_all().await;
    // The ends are there, and the runtime has looked.
    while closed.get() < MANY {
        yield_now().await;
    }
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(world.send(request(Method::POST)).await.map(|r| r.status()), Ok(StatusCode::OK));
    assert_eq!(world.accepted.get(), MANY + 1);
}

#[tokio::test(flavor = "local")]
async fn every_method_may_have_a_body() {
    let world = World::new(Scheme::Http, async |stream, _| {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(TokioIo::new(stream), service_fn(describe)).await;
    })
    .await;
    for method in ["GET", "DELETE", "OPTIONS", "POST", "PUT", "PATCH", "PURGE"] {
        let method: Method = method.parse().unwrap();
        let answer = text(world.send(streaming(method.clone())).await.unwrap()).await;
        assert_eq!(answer, format!("{method} /a?b hello 1"));
        let answer = text(world.send(request(method.clone())).await.unwrap()).await;
        assert_eq!(answer, format!("{method} /a?b  0"));
    }
    assert_eq!(world.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn trailers_go_both_ways() {
    let world = World::new(Scheme::Http, async |mut stream, _| {
        head(&mut stream).await;
        assert_eq!(
            read_until(&mut stream, "\r\n\r\n").await,
            "2\r\nhe\r\n3\r\nllo\r\n0\r\ndigest: d\r\n\r\n"
        );
        let answer =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let response = world.send(streaming(Method::POST)).await.unwrap();
    let body = within(response.into_body().collect()).await.unwrap();
    assert_eq!(body.trailers().unwrap()["x"], "y");
    assert_eq!(body.to_bytes(), "ok");
}

fn upgrade() -> Request<Empty<Bytes>> {
    let mut request = request(Method::GET);
    request.headers_mut().insert(header::UPGRADE, "echo".parse().unwrap());
    request
}

async fn switch(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let head = head(&mut stream).await;
    let handshake = head.contains("upgrade: echo\r\n") && head.contains("connection: upgrade\r\n");
    assert!(handshake || !head.contains("upgrade"), "{head}");
    let answer =
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(answer).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let _ = tokio::io::copy(&mut read, &mut write).await;
}

#[tokio::test(flavor = "local")]
async fn an_upgrade_is_a_stream_of_bytes() {
    let world = World::new(Scheme::Http, |stream, _| switch(stream)).await;
    let Ok(Answer::Switched(head, mut stream)) = world.answer(upgrade()).await else {
        panic!("not switched");
    };
    assert_eq!(head.status, StatusCode::SWITCHING_PROTOCOLS);
    stream.write_all(b"hello").await.unwrap();
    let mut echo = [0; 5];
    within(stream.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"hello");
}

#[tokio::test(flavor = "local")]
async fn nobody_switches_unasked() {
    let world = World::new(Scheme::Http, |stream, _| switch(stream)).await;
    assert!(matches!(world.get().await, Err(ProxyError::HttpProtocol(_))));
}

#[tokio::test(flavor = "local")]
async fn a_refused_upgrade_is_an_answer() {
    let world = World::answering().await;
    assert_eq!(text(world.send(upgrade()).await.unwrap()).await, "ok");
    assert_eq!(world.get().await.as_deref(), Ok("ok"));
    assert_eq!(world.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_length_without_its_bytes_is_refused() {
    let world = World::answering().await;
    for length in ["5", "+0", "0, 5"] {
        let mut request = request(Method::GET);
        request.headers_mut().insert(header::CONTENT_LENGTH, length.parse().unwrap());
        assert!(matches!(world.send(request).await, Err(ProxyError::HttpRequest(_))), "{length}");
    }
    assert_eq!(world.accepted.get(), 0);
}

#[tokio::test(flavor = "local")]
async fn an_answer_during_the_upload_arrives() {
    let world = World::new(Scheme::Http, async |mut stream, _| {
        head(&mut stream).await;
        let answer =
            b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    for _ in 0..20 {
        let request = request(Method::POST).map(|_| Full::new(Bytes::from(vec![0; 8 << 20])));
        let status = world.send(request).await.map(|response| response.status());
        assert_eq!(status, Ok(StatusCode::PAYLOAD_TOO_LARGE));
    }
}
