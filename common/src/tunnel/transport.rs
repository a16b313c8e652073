//! The seam between the tunnel and what carries it: a transport only yields byte streams.

use std::fmt;
use std::future::Future;

use super::byte_stream::ByteStream;

/// Accepts the byte streams that the other cluster dials; the `send` side of a transport.
pub trait Acceptor: 'static {
    /// One authenticated byte stream.
    type Io: ByteStream + 'static;

    /// The next stream of an authenticated peer. Cancel safe. Logs its own errors and goes on;
    /// a slow or hostile handshake never holds up another.
    fn accept(&mut self) -> impl Future<Output = (Self::Io, Peer)>;
}

/// Dials the other cluster; the `receive` side of a transport.
pub trait Connector: 'static {
    /// One authenticated byte stream.
    type Io: ByteStream + 'static;

    /// One try, handshake included. Bounded in time, but for this: where a third party joins the
    /// two ends (a stock `sshd`), it waits for the other end as long as the third party is alive.
    fn connect(&self) -> impl Future<Output = Result<(Self::Io, Peer), ConnectError>>;
}

/// Who is at the other end of a byte stream, as the transport has proved it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Peer {
    /// Where the stream comes from or goes to, for logs; never a reason to trust.
    pub address: String,
    /// The names that the peer has proved, the first being its own; empty where the transport
    /// proves none (a plain stream that `ssh` carries).
    pub names: Vec<String>,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.names.first() {
            Some(name) => write!(f, "{name} at {}", self.address),
            None => f.write_str(&self.address),
        }
    }
}

/// Why a dial failed, in one line that says what to do where that is known.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConnectError(pub String);
