//! HTTP/2 frame by frame, for targets that do what a library would not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A frame (RFC 9113 §4.1) with at most 255 bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    [&[0, 0, length, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Kind, flags, stream and payload of a frame.
pub(super) type Read = (u8, u8, u32, Vec<u8>);

pub(super) async fn read_frame(from: &mut TcpStream) -> Read {
    let mut head = [0; 5];
    from.read_exact(&mut head).await.unwrap();
    let [_, high, low, kind, flags] = head;
    let stream = from.read_u32().await.unwrap();
    let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
    from.read_exact(&mut payload).await.unwrap();
    (kind, flags, stream, payload)
}

/// Whether it is the last of the request on `stream`: HEADERS or DATA with END_STREAM.
pub(super) fn ends(&(kind, flags, id, _): &Read, stream: u32) -> bool {
    kind <= 1 && flags & 1 == 1 && id == stream
}

/// Begins a connection: the client's preface, and SETTINGS without a limit.
pub(super) async fn begin(target: &mut TcpStream) {
    target.read_exact(&mut [0; 24]).await.unwrap();
    target.write_all(&frame(4, 0, 0, &[])).await.unwrap();
}

/// Begins a connection, and returns the body of its first request when the client knows that it may
/// send more.
pub(super) async fn greet(target: &mut TcpStream) -> String {
    begin(target).await;
    let mut body = Vec::new();
    let (mut asked, mut acknowledged) = (false, false);
    while !(asked && acknowledged) {
        let read = read_frame(target).await;
        asked |= ends(&read, 1);
        match read {
            (0, _, 1, data) => body.extend(data),
            (4, 1, ..) => acknowledged = true,
            _ => {}
        }
    }
    String::from_utf8(body).unwrap()
}

/// Status 200, which is entry 8 of HPACK's table, without a body.
pub(super) async fn answer(target: &mut TcpStream, stream: u32) {
    target.write_all(&frame(1, 5, stream, &[0x88])).await.unwrap();
}
