//! Frames: what the tunnel's byte stream is made of. The layout is specified in
//! `docs/tunnel-protocol.md`.

use bytes::{BufMut, BytesMut};

use super::error::{ResetCode, TunnelError};

/// What either side sends first: a magic that no HTTP client begins with, the protocol's version,
/// and two bytes kept for later, sent as 0 and not looked at.
pub(crate) const PREFACE: [u8; 12] = *b"\0ISTHMUS\0\x01\0\0";

/// The length of a frame's header.
pub(crate) const HEADER_LEN: usize = 8;

/// The largest DATA payload that is sent; larger ones are legal to receive.
///
/// With its header, and a small frame beside it, it fits into what the transports carry at once: an
/// HTTP/2 frame of 64 KiB and four records of TLS, or a packet of SSH. A byte more than these hold
/// would leave alone, and wake the other end for itself.
pub(crate) const MAX_DATA: usize = 64 * 1024 - 64;

/// The largest HEAD or TRAILERS payload.
pub const MAX_HEAD: usize = 64 * 1024;

/// The largest HELLO, NOTICE or CLOSE payload: room for the conditions of 10 000 mappings.
pub(crate) const MAX_CONTROL: usize = 2 * 1024 * 1024;

/// What of a CLOSE's reason is sent and looked at, in bytes.
pub(crate) const MAX_REASON: usize = 200;

/// Set in the kind byte: the sender will send nothing more on this stream.
const END: u8 = 0x80;

/// What a frame is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Close,
    Credit,
    Data,
    Head,
    Hello,
    Notice,
    Ping,
    Pong,
    Reset,
    Trailers,
    /// A kind of a later version: its payload is skipped.
    Unknown,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::Hello => 1,
            Self::Notice => 2,
            Self::Head => 3,
            Self::Data => 4,
            Self::Trailers => 5,
            Self::Credit => 6,
            Self::Reset => 7,
            Self::Ping => 8,
            Self::Pong => 9,
            Self::Close => 10,
            Self::Unknown => 0x7f,
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            1 => Self::Hello,
            2 => Self::Notice,
            3 => Self::Head,
            4 => Self::Data,
            5 => Self::Trailers,
            6 => Self::Credit,
            7 => Self::Reset,
            8 => Self::Ping,
            9 => Self::Pong,
            10 => Self::Close,
            _ => Self::Unknown,
        }
    }
}

/// The fixed part of a frame: stream (4 bytes), kind and END flag (1), payload length (3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameHeader {
    pub(crate) stream: u32,
    pub(crate) kind: Kind,
    pub(crate) end: bool,
    pub(crate) len: usize,
}

impl FrameHeader {
    /// Reads a header and refuses what no correct peer sends.
    pub(crate) fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, TunnelError> {
        let [s0, s1, s2, s3, kind, l0, l1, l2] = bytes;
        let header = Self {
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            kind: Kind::from_code(kind & !END),
            end: kind & END != 0,
            len: u32::from_be_bytes([0, l0, l1, l2]) as usize,
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), TunnelError> {
        let (min, max, on_stream) = match self.kind {
            Kind::Hello | Kind::Notice | Kind::Close => (0, MAX_CONTROL, false),
            Kind::Ping | Kind::Pong => (8, 8, false),
            Kind::Head | Kind::Trailers => (1, MAX_HEAD, true),
            Kind::Credit => (4, 4, true),
            Kind::Reset => (2, 2, true),
            Kind::Data => (0, usize::MAX, true),
            Kind::Unknown => return Ok(()),
        };
        if self.len < min || self.len > max {
            return Err(TunnelError::Protocol("a frame has an impossible length"));
        }
        if on_stream != (self.stream != 0) {
            return Err(TunnelError::Protocol("a frame is on a stream it cannot be on"));
        }
        Ok(())
    }
}

/// Appends a whole frame to the tunnel's out buffer.
pub(crate) fn put_frame(out: &mut BytesMut, kind: Kind, stream: u32, end: bool, payload: &[u8]) {
    debug_assert!(payload.len() < 1 << 24, "the length has three bytes");
    out.reserve(HEADER_LEN + payload.len());
    out.put_u32(stream);
    out.put_u8(kind.code() | if end { END } else { 0 });
    out.put_uint(payload.len() as u64, 3);
    out.put_slice(payload);
}

pub(crate) fn put_credit(out: &mut BytesMut, stream: u32, amount: u32) {
    put_frame(out, Kind::Credit, stream, false, &amount.to_be_bytes());
}

pub(crate) fn put_reset(out: &mut BytesMut, stream: u32, code: ResetCode) {
    put_frame(out, Kind::Reset, stream, false, &code.to_wire().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let mut out = BytesMut::new();
        put_frame(&mut out, Kind::Data, 0x0102_0304, true, b"payload");
        let header: [u8; HEADER_LEN] = out[..HEADER_LEN].try_into().unwrap();
        assert_eq!(header, [1, 2, 3, 4, 0x84, 0, 0, 7]);
        let parsed = FrameHeader::parse(header).unwrap();
        assert_eq!(
            parsed,
            FrameHeader { stream: 0x0102_0304, kind: Kind::Data, end: true, len: 7 }
        );
        assert_eq!(&out[HEADER_LEN..], b"payload");
    }

    #[test]
    fn refuses_impossible_frames() {
        let refused = [
            [0, 0, 0, 0, 4, 0, 0, 1],     // DATA on stream 0
            [0, 0, 0, 1, 1, 0, 0, 1],     // HELLO on a stream
            [0, 0, 0, 0, 8, 0, 0, 7],     // a short PING
            [0, 0, 0, 1, 6, 0, 0, 5],     // a long CREDIT
            [0, 0, 0, 1, 3, 0, 0, 0],     // an empty HEAD
            [0, 0, 0, 1, 3, 1, 0, 1],     // a HEAD over the limit
            [0, 0, 0, 0, 10, 0xff, 0, 0], // a CLOSE over the limit
        ];
        for header in refused {
            assert!(FrameHeader::parse(header).is_err(), "{header:?}");
        }
    }

    #[test]
    fn takes_kinds_of_later_versions() {
        let header = FrameHeader::parse([0, 0, 0, 9, 0x6f, 0xff, 0xff, 0xff]).unwrap();
        assert_eq!((header.kind, header.len), (Kind::Unknown, 0xff_ffff));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in any::<[u8; HEADER_LEN]>()) {
            let _ = FrameHeader::parse(bytes);
        }
    }
}
