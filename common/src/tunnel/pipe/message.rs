//! What the call carries, as `docs/tunnel.proto` publishes it.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

/// The path of the call.
pub(super) const PATH: &str = "/isthmus.v1.Tunnel/Connect";

/// The HTTP/2 frame size of both ends. The largest chunk fills exactly one frame: a byte more
/// would cost a second frame each time.
pub(super) const FRAME_LEN: usize = 64 << 10;

/// What gRPC puts before a message: a flag that tells whether it is compressed, and its length.
pub(super) const PREFIX_LEN: usize = 5;

/// The largest message: a frame without the prefix.
pub(super) const MAX_MESSAGE_LEN: usize = FRAME_LEN - PREFIX_LEN;

/// What precedes the data of a chunk at most: the prefix, the field's tag, three bytes of length.
pub(super) const MAX_HEAD_LEN: usize = PREFIX_LEN + 4;

/// The most data in one chunk.
pub(super) const MAX_DATA_LEN: usize = FRAME_LEN - MAX_HEAD_LEN;

/// The next bytes of the stream.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Chunk {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
}

/// What precedes the data in an encoded [`Chunk`]: field 1, length-delimited.
const DATA_TAG: u8 = 0x0a;

/// Makes an encoded [`Chunk`] with its prefix out of [`MAX_HEAD_LEN`] bytes of room and the data
/// behind them, which is not copied.
pub(super) fn frame(mut framed: BytesMut) -> Bytes {
    let len = framed.len().saturating_sub(MAX_HEAD_LEN);
    let field_len = 1 + encoded_len_varint(len as u64);
    framed.advance(MAX_HEAD_LEN - PREFIX_LEN - field_len);
    let mut head = framed.as_mut();
    head.put_u8(0);
    head.put_u32((field_len + len) as u32);
    head.put_u8(DATA_TAG);
    encode_varint(len as u64, &mut head);
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_published_file_says_the_same() {
        let proto = include_str!("../../../../docs/tunnel.proto");
        let word_after = |key: &str| {
            let rest = proto.split(&format!("\n{key} ")).nth(1).unwrap();
            rest.split([' ', ';', '(']).next().unwrap().to_owned()
        };
        let (package, service, call) =
            (word_after("package"), word_after("service"), word_after("  rpc"));
        assert_eq!(format!("/{package}.{service}/{call}"), PATH);
        assert!(proto.contains(&format!("at most {MAX_MESSAGE_LEN} bytes")));

        assert!(proto.contains("\n  bytes data = 1;\n"));
    }

    #[test]
    fn a_frame_is_what_prost_encodes() {
        for len in [1, 127, 128, 16_383, 16_384, MAX_DATA_LEN] {
            let data = vec![7; len];
            let mut room = BytesMut::zeroed(MAX_HEAD_LEN);
            room.extend_from_slice(&data);
            let message = Chunk { data: data.into() }.encode_to_vec();
            let prefix = [&[0][..], &(message.len() as u32).to_be_bytes()].concat();
            assert_eq!(frame(room), [prefix, message].concat());
        }
    }

    #[test]
    fn the_largest_chunk_is_the_largest_message() {
        let chunk = Chunk { data: vec![0; MAX_DATA_LEN].into() };
        assert_eq!(chunk.encoded_len(), MAX_MESSAGE_LEN);
    }
}
