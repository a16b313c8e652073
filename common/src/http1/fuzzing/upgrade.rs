//! A server whose callers may switch protocols.

use std::cell::RefCell;
use std::rc::Rc;

use http::StatusCode;
use http_body::Body;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::runtime::{Builder, LocalOptions};

use super::super::{Answer, RequestBody, Stream, serve};
use super::*;
use crate::drain::Drain;
use crate::edge::Limits;
use crate::headers;
use crate::message::{RequestHead, Response};

/// What a connection in memory holds.
const ROOM: usize = 64 * 1024;

/// Serves a caller that sends these bytes. After a switch, the other side gets what follows the
/// request, byte for byte, and the caller gets that back.
pub fn upgrade(bytes: &[u8]) {
    let runtime = Builder::new_current_thread().enable_time().build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let (near, far) = duplex(ROOM);
        let switched = Rc::new(RefCell::new(None));
        let drain = Drain::new();
        let service = |head, body| answer(head, body, Rc::clone(&switched), drain.clone());
        let refuse = |_: &Http1Error| response(StatusCode::BAD_REQUEST);
        let limits = Limits::default();
        let server = async {
            // What is wrong with the bytes is the caller's affair.
            let _ = serve(Stream::Memory(far), service, refuse, &limits, &drain).await;
        };
        let (mut read, mut write) = split(near);
        let mut received = Vec::new();
        let caller = async {
            // The server may hang up on it.
            let _ = write.write_all(bytes).await;
            let _ = write.shutdown().await;
        };
        let reader = async { read.read_to_end(&mut received).await.unwrap() };
        tokio::join!(server, caller, reader);
        if let Some(switched) = switched.borrow_mut().take() {
            assert!(bytes.ends_with(&switched), "{}", switched.escape_ascii());
            assert!(received.ends_with(&switched), "{}", received.escape_ascii());
            let before = &bytes[..bytes.len() - switched.len()];
            assert!(before.ends_with(b"\r\n\r\n"), "{}", before.escape_ascii());
        }
    });
}

type Switched = Rc<RefCell<Option<Vec<u8>>>>;

async fn answer(
    mut head: RequestHead,
    body: RequestBody,
    switched: Switched,
    drain: Drain,
) -> Answer<Full<Bytes>, DuplexStream> {
    let offered = headers::strip_hop_by_hop(&mut head.fields).filter(|_| body.is_end_stream());
    let Some(protocol) = offered else {
        let whole = body.collect().await.is_ok();
        return Answer::Response(response(match whole {
            true => StatusCode::OK,
            false => StatusCode::BAD_GATEWAY,
        }));
    };
    assert!(!protocol.to_string().eq_ignore_ascii_case("h2c"));
    drop(body);
    let (ours, theirs) = duplex(ROOM);
    drain.spawn(echo(theirs, switched));
    let mut answer = Response::new(StatusCode::SWITCHING_PROTOCOLS, ());
    protocol.restore(&mut answer.fields);
    Answer::Switched(answer, ours)
}

/// Keeps what comes and sends it back.
async fn echo(mut io: DuplexStream, switched: Switched) {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await.unwrap();
    // A caller that is gone needs no echo.
    let _ = io.write_all(&bytes).await;
    switched.replace(Some(bytes));
}

fn response(status: StatusCode) -> Response<Full<Bytes>> {
    Response::new(status, Full::default())
}
