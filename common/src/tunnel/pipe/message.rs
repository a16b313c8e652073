//! What the call carries, as `docs/tunnel.proto` publishes it.

use bytes::Bytes;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

/// The path of the call.
pub(super) const PATH: &str = "/isthmus.v1.Tunnel/Connect";

/// The HTTP/2 frame size of both ends. The largest chunk fills exactly one frame: a byte more
/// would cost a second frame each time.
pub(super) const FRAME_LEN: usize = 64 << 10;

/// The largest message: a frame without gRPC's prefix of a flag and a length.
pub(super) const MAX_MESSAGE_LEN: usize = FRAME_LEN - 5;

/// The most data in one chunk: a message without the field's tag and three bytes of length.
pub(super) const MAX_DATA_LEN: usize = MAX_MESSAGE_LEN - 4;

/// The next bytes of the stream.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Chunk {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) data: Bytes,
}

/// [`ProstCodec`] with buffers for whole frames; its default of 8 KiB grows for each chunk.
pub(super) struct ChunkCodec;

impl ChunkCodec {
    fn buffers() -> BufferSettings {
        BufferSettings::new(FRAME_LEN, FRAME_LEN / 2)
    }
}

impl Codec for ChunkCodec {
    type Encode = Chunk;
    type Decode = Chunk;
    type Encoder = ProstEncoder<Chunk>;
    type Decoder = ProstDecoder<Chunk>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<Chunk, Chunk>::raw_encoder(Self::buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<Chunk, Chunk>::raw_decoder(Self::buffers())
    }
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

        // Field 1, length-delimited: tag 0x0a.
        assert!(proto.contains("\n  bytes data = 1;\n"));
        let chunk = Chunk { data: Bytes::from_static(b"ab") };
        assert_eq!(chunk.encode_to_vec(), [0x0a, 2, b'a', b'b']);
    }

    #[test]
    fn the_largest_chunk_is_the_largest_message() {
        let chunk = Chunk { data: vec![0; MAX_DATA_LEN].into() };
        assert_eq!(chunk.encoded_len(), MAX_MESSAGE_LEN);
    }
}
