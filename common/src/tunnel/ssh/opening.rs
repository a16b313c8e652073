//! The clear beginning of a client: does it offer strict key exchange?

use std::io;

use bytes::{Buf, BytesMut};

/// Where the client says so. The server's signature covers this message, so that nobody between
/// the two can take the offer out.
const STRICT: &[u8] = b"kex-strict-c-v00@openssh.com";

/// What may come before the first packet has ended: RFC 4253 §4.2 limits the identification to
/// 255 bytes, and OpenSSH's first packet has about 1500.
const MAX_LEN: usize = 16 * 1024;

/// Collects a client's identification line and its first packet, which must be a KEXINIT.
#[derive(Debug, Default)]
pub(super) struct Opening(BytesMut);

impl Opening {
    /// Looks at what has come. Returns whether it has seen enough; afterwards all is encrypted or
    /// the business of `russh`.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> io::Result<bool> {
        self.0.extend_from_slice(bytes);
        let Some(packet) = self.packet() else {
            return match self.0.len() > MAX_LEN {
                true => Err(refused("the client's first packet is too long")),
                false => Ok(false),
            };
        };
        match packet.windows(STRICT.len()).any(|part| part == STRICT) {
            true => Ok(true),
            false => Err(refused("the client does not offer strict key exchange; update it")),
        }
    }

    /// The first packet, once it is complete.
    fn packet(&self) -> Option<&[u8]> {
        let line = self.0.iter().position(|&byte| byte == b'\n')?;
        let mut rest = self.0.get(line + 1..)?;
        let len = usize::try_from(rest.try_get_u32().ok()?).ok()?;
        rest.get(..len)
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn opening(algorithms: &[u8]) -> Vec<u8> {
        let mut bytes = b"SSH-2.0-x\r\n".to_vec();
        bytes.extend(u32::try_from(algorithms.len()).unwrap().to_be_bytes());
        bytes.extend(algorithms);
        bytes
    }

    #[test]
    fn decides_when_the_first_packet_is_complete() {
        let good = opening(b"a,kex-strict-c-v00@openssh.com,b");
        let mut opening_seen = Opening::default();
        for (index, byte) in good.iter().enumerate() {
            let enough = opening_seen.feed(&[*byte]).unwrap();
            assert_eq!(enough, index + 1 == good.len(), "{index}");
        }
        let error = Opening::default().feed(&opening(b"a,ext-info-c,b")).unwrap_err();
        assert!(error.to_string().contains("strict key exchange"), "{error}");
    }

    proptest! {
        #[test]
        fn is_the_same_in_any_pieces(line in "SSH[ -~]{0,5}\\r?\\n?", rest: Vec<u8>) {
            super::super::fuzzing::opening(&[line.as_bytes(), &opening(&rest)].concat());
            super::super::fuzzing::opening(&[line.as_bytes(), &rest].concat());
        }

        #[test]
        fn holds_little_of_anything(chunk in prop::collection::vec(any::<u8>(), 1..2000)) {
            let mut opening = Opening::default();
            while let Ok(false) = opening.feed(&chunk) {
                prop_assert!(opening.0.len() <= MAX_LEN);
            }
        }
    }
}
