//! HTTP/2 targets: connections that requests share.

use super::super::call::{IN_VAIN, TRIES};
use super::frames::{answer, begin, ends, frame, greet, read_frame};
use super::*;
use hyper_util::rt::TokioExecutor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;
use tunnel_common::http1::MAX_FIELDS;

/// Runs a hyper HTTP/2 server, whose tasks must be `Send`.
async fn serve<S, F>(stream: TcpStream, service: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    serve_at_most(None, stream, service).await;
}

/// The same with a limit of streams.
async fn serve_at_most<S, F>(limit: impl Into<Option<u32>>, stream: TcpStream, service: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let mut server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    server.max_concurrent_streams(limit);
    let _ = server.serve_connection(TokioIo::new(stream), service_fn(service)).await;
}

/// Sends so many requests at once, and returns what their answers say.
async fn at_once<B>(world: &Rc<World>, count: usize, request: fn() -> Request<B>) -> Vec<String>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + 'static,
{
    let mut callers = JoinSet::new();
    for _ in 0..count {
        let world = Rc::clone(world);
        callers.spawn_local(async move {
            let answer = world.send(request()).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
            text(answer).await
        });
    }
    callers.join_all().await
}

#[tokio::test(flavor = "local")]
async fn requests_share_a_connection() {
    let both = Arc::new(Barrier::new(2));
    let world = World::new(Scheme::H2c, move |stream, _| {
        let both = both.clone();
        serve(stream, move |request| {
            let both = both.clone();
            async move {
                both.wait().await;
                describe(request).await
            }
        })
    })
    .await;
    let (first, second) =
        tokio::join!(world.send(request(Method::GET)), world.send(streaming(Method::POST)));
    let first = first.unwrap();
    assert_eq!(first.version(), Version::HTTP_2);
    assert_eq!(text(first).await, "GET http://caller/a?b  0");
    assert_eq!(text(second.unwrap()).await, "POST http://caller/a?b hello 1");
    assert_eq!(world.accepted.get(), 1);
}

#[tokio::test(flavor = "local")]
async fn a_lost_connection_is_replaced() {
    let cut = Rc::new(Notify::new());
    let end = cut.clone();
    let world = World::new(Scheme::H2c, move |stream, _| {
        let end = end.clone();
        async move {
            tokio::select! { () = serve(stream, describe) => {}, () = end.notified() => {} }
        }
    })
    .await;
    assert_eq!(world.get().await.as_deref(), Ok("GET http://caller/a?b  0"));
    cut.notify_one();
    world.until_connections(0).await;
    assert_eq!(world.get().await.as_deref(), Ok("GET http://caller/a?b  0"));
    assert_eq!(world.accepted.get(), 2);
}

fn post() -> Request<Frames> {
    let frames = [Frame::data("he".into()), Frame::data("llo".into())];
    request(Method::POST).map(|_| Frames(frames.into_iter().collect()))
}

/// GOAWAY after stream 1.
const GOAWAY: (u8, u32, &[u8]) = (7, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);

#[tokio::test(flavor = "local")]
async fn what_the_target_says_not_to_have_begun_is_repeated() {
    const REFUSED_STREAM: (u8, u32, &[u8]) = (3, 3, &[0, 0, 0, 7]);
    for (kind, stream, payload) in [GOAWAY, REFUSED_STREAM] {
        let world = World::new(Scheme::H2c, move |mut target, number| async move {
            if number > 0 {
                return serve(target, describe).await;
            }
            greet(&mut target).await;
            answer(&mut target, 1).await;
            while !ends(&read_frame(&mut target).await, 3) {}
            target.write_all(&frame(kind, 0, stream, payload)).await.unwrap();
            let _ = target.read_to_end(&mut Vec::new()).await;
        })
        .await;
        assert_eq!(world.get().await.as_deref(), Ok(""));
        let answer = world.send(post()).await.unwrap();
        assert_eq!(text(answer).await, "POST http://caller/a?b hello 0");
        assert_eq!(world.accepted.get(), 2);
    }
}

/// Each connection is for one request, and the client learns it when it has sent others.
#[tokio::test(flavor = "local")]
async fn a_request_that_is_not_begun_gets_a_connection_of_its_own_at_last() {
    const MANY: usize = 20;
    let world = World::new(Scheme::H2c, |mut target, _| async move {
        assert_eq!(greet(&mut target).await, "hello");
        answer(&mut target, 1).await;
        target.write_all(&frame(GOAWAY.0, 0, GOAWAY.1, GOAWAY.2)).await.unwrap();
        let _ = target.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let world = Rc::new(world);
    let answers = at_once(&world, MANY, post).await;
    assert_eq!((answers.len(), world.accepted.get()), (MANY, MANY));
}

#[tokio::test(flavor = "local")]
async fn a_target_that_refuses_all_is_left_alone_at_last() {
    let world = World::new(Scheme::H2c, |mut target, _| async move {
        assert_eq!(greet(&mut target).await, "hello");
        target.write_all(&frame(3, 0, 1, &[0, 0, 0, 7])).await.unwrap();
        let _ = target.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let lost = ProxyError::ConnectionTerminated("the connection to the target");
    assert_eq!(world.send(post()).await.err(), Some(lost));
    assert_eq!(world.accepted.get(), TRIES);
}

/// It may refuse whatever is beyond its limit.
#[tokio::test(flavor = "local")]
async fn a_burst_respects_what_the_target_takes() {
    let world = World::new(Scheme::H2c, |stream, _| serve_at_most(2, stream, describe)).await;
    let answers = at_once(&Rc::new(world), 50, || streaming(Method::POST)).await;
    assert_eq!(answers, ["POST http://caller/a?b hello 1"; 50]);
}

/// As streams that stay open are, they would wait for each other.
#[tokio::test(flavor = "local")]
async fn what_one_connection_does_not_take_goes_on_others() {
    const REQUESTS: usize = 6;
    for (limit, is_known) in [(1, false), (2, false), (1, true), (2, true)] {
        let all = Arc::new(Barrier::new(REQUESTS));
        let world = World::new(Scheme::H2c, move |stream, _| {
            let all = Arc::clone(&all);
            serve_at_most(limit, stream, move |request| {
                let all = Arc::clone(&all);
                async move {
                    if request.method() == Method::POST {
                        all.wait().await;
                    }
                    describe(request).await
                }
            })
        })
        .await;
        if is_known {
            world.get().await.unwrap();
        }
        let world = Rc::new(world);
        let answers = at_once(&world, REQUESTS, || streaming(Method::POST)).await;
        assert_eq!(answers, ["POST http://caller/a?b hello 1"; REQUESTS]);
        assert_eq!(world.accepted.get(), REQUESTS / limit as usize, "{limit} {is_known}");
    }
}

/// h2 counts what comes late for a stream that was given up as errors of the connection.
#[tokio::test(flavor = "local")]
async fn callers_that_give_up_leave_the_connection_to_the_others() {
    let world = World::new(Scheme::H2c, |mut target, _| async move {
        target.set_nodelay(true).unwrap();
        begin(&mut target).await;
        loop {
            // HEADERS are answered with a head, and RST_STREAM with some of that body and of the first.
            let reply = match read_frame(&mut target).await {
                (1, _, stream, _) => frame(1, 4, stream, &[0x88]),
                (3, _, stream, _) => [frame(0, 0, stream, b"late"), frame(0, 0, 1, b"on")].concat(),
                _ => continue,
            };
            target.write_all(&reply).await.unwrap();
        }
    })
    .await;
    let mut quiet = world.send(request(Method::GET)).await.unwrap().into_body();
    // Twice what h2 bears by itself.
    for _ in 0..2 * 1024 {
        drop(world.send(request(Method::GET)).await.unwrap());
        within(quiet.frame()).await.unwrap().unwrap();
    }
    assert_eq!(world.accepted.get(), 1);
}

/// As a node that has lost its power does: nothing comes, not even the end.
#[tokio::test(flavor = "local")]
async fn a_connection_that_answers_nobody_is_replaced() {
    let silent = Arc::new(AtomicBool::new(false));
    let hear = Arc::clone(&silent);
    let world = World::new(Scheme::H2c, move |stream, number| {
        let silent = Arc::clone(&hear);
        serve(stream, move |request| {
            let silent = Arc::clone(&silent);
            async move {
                if number == 0 && silent.load(Ordering::Relaxed) {
                    std::future::pending::<()>().await;
                }
                describe(request).await
            }
        })
    })
    .await;
    world.get().await.unwrap();
    silent.store(true, Ordering::Relaxed);
    let impatient = |patience| tokio::time::timeout(patience, world.get());
    assert!(impatient(IN_VAIN / 10).await.is_err());
    assert!(impatient(IN_VAIN * 2).await.is_err(), "the first may just have been in a hurry");
    assert!(impatient(LIMIT).await.unwrap().is_ok());
    assert_eq!(world.accepted.get(), 2);
}

#[tokio::test(flavor = "local")]
async fn an_answer_has_no_more_fields_than_one_of_http1() {
    let world = World::new(Scheme::H2c, |stream, _| {
        serve(stream, async |_| {
            let mut response = Response::new(Full::default());
            for number in 0..=MAX_FIELDS {
                let name: http::HeaderName = format!("x-{number}").parse().unwrap();
                response.headers_mut().insert(name, http::HeaderValue::from_static("y"));
            }
            Ok(response)
        })
    })
    .await;
    assert!(matches!(world.get().await, Err(ProxyError::HttpProtocol(_))));
}

#[tokio::test(flavor = "local")]
async fn an_http1_target_is_not_http2() {
    let mut world = World::answering().await;
    world.route.target.scheme = Scheme::H2c;
    assert!(
        matches!(world.get().await, Err(ProxyError::HttpProtocol(_))),
        "{:?}",
        world.get().await
    );
}
