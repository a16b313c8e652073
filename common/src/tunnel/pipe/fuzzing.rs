//! Doors for the targets in `fuzz/`. Not part of any release build.
#![expect(clippy::unwrap_used, reason = "what fails here is a finding")]

use http::{Request, header};
use http_body_util::Full;
use hyper::client::conn::http2 as client;
use hyper_util::rt::TokioIo;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::runtime::{Builder, LocalOptions};

use super::message::{Chunk, MAX_MESSAGE_LEN, PATH};
use super::*;
use crate::drain::Drain;

/// What a connection in memory holds.
const ROOM: usize = 64 * 1024;

/// A peer sends anything: to the server, to the client, or as the messages of a good call.
pub fn pipe(script: &[u8]) {
    let Some((how, bytes)) = script.split_first() else { return };
    let runtime = Builder::new_current_thread().enable_time().build_local(LocalOptions::default());
    runtime.unwrap().block_on(async {
        let (near, far) = duplex(ROOM);
        let drain = Drain::new();
        match how % 3 {
            0 => _ = tokio::join!(accept_and_read(far, &drain), send(near, bytes)),
            1 => _ = tokio::join!(dial_and_read(far, &drain), send(near, bytes)),
            _ => {
                let (read, ()) =
                    tokio::join!(accept_and_read(far, &drain), call(near, bytes, &drain));
                check(bytes, &read.unwrap());
            }
        }
    });
}

/// What came, and whether the end was a good one.
type Read = Option<(Vec<u8>, bool)>;

async fn accept_and_read(io: DuplexStream, drain: &Drain) -> Read {
    read(accept(io, drain).await.ok()?).await
}

async fn dial_and_read(io: DuplexStream, drain: &Drain) -> Read {
    read(dial(io, "a.example:1".parse().unwrap(), drain).await.ok()?).await
}

async fn read(mut pipe: Pipe) -> Read {
    let mut bytes = Vec::new();
    let end = pipe.read_to_end(&mut bytes).await;
    Some((bytes, end.is_ok()))
}

/// Sends these bytes and reads what comes, until the other end is gone.
async fn send(io: DuplexStream, bytes: &[u8]) {
    let (mut read, mut write) = split(io);
    let write = async {
        // The other end may hang up.
        let _ = write.write_all(bytes).await;
        let _ = write.shutdown().await;
    };
    let mut received = Vec::new();
    let (_, _) = tokio::join!(write, read.read_to_end(&mut received));
}

/// Makes the call with these bytes as its body.
async fn call(io: DuplexStream, bytes: &[u8], drain: &Drain) {
    let (mut sender, connection) =
        client::handshake(drain.clone(), TokioIo::new(io)).await.unwrap();
    drain.spawn(async {
        // The call sees its errors.
        let _ = connection.await;
    });
    let request = Request::post(format!("http://a.example{PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(Bytes::copy_from_slice(bytes)));
    let _ = sender.send_request(request.unwrap()).await;
}

/// What was read is the data of the messages, up to the first that is none; that is an error.
fn check(mut bytes: &[u8], (read, good): &(Vec<u8>, bool)) {
    let mut expected = Vec::new();
    while let Some((prefix, rest)) = bytes.split_first_chunk::<5>() {
        let [flag, length @ ..] = *prefix;
        let length = u32::from_be_bytes(length) as usize;
        let Some(message) = rest.get(..length).filter(|_| flag == 0 && length <= MAX_MESSAGE_LEN)
        else {
            break;
        };
        let Ok(chunk) = Chunk::decode(message) else { break };
        expected.extend_from_slice(&chunk.data);
        bytes = rest.get(length..).unwrap_or_default();
    }
    assert_eq!(*read, expected);
    assert_eq!(*good, bytes.is_empty(), "{}", bytes.escape_ascii());
}
