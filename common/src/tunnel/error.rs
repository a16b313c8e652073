//! Why a tunnel or one of its streams ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Why a tunnel ended. Cheap to clone, because each of its streams is told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TunnelError {
    /// This side closed it.
    #[error("closed")]
    Closed,
    /// The peer closed it and said why.
    #[error("closed by the peer: {0}")]
    ClosedByPeer(Arc<str>),
    /// The byte stream ended without a goodbye.
    #[error("the peer hung up")]
    HungUp,
    /// The byte stream failed.
    #[error("the connection failed: {0}")]
    Io(Arc<io::Error>),
    /// The peer broke the protocol.
    #[error("the peer broke the tunnel protocol: {0}")]
    Protocol(&'static str),
    /// Nothing was heard, or nothing could be written, for too long.
    #[error("the peer was silent for {}", humantime::format_duration(*.0))]
    Silent(Duration),
    /// The peer speaks another version, or something else altogether.
    #[error(
        "the peer does not speak version 1 of the tunnel protocol; run the same release at both ends"
    )]
    Version,
    /// The peer takes in nothing.
    #[error("the peer read nothing for {}", humantime::format_duration(*.0))]
    WriteStalled(Duration),
}

impl From<io::Error> for TunnelError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::HungUp,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

/// Why a stream ended before its time.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StreamError {
    /// The peer's bytes for this stream are not what the protocol allows.
    #[error("the peer sent a malformed head")]
    Malformed,
    /// The peer gave the stream up.
    #[error("the stream was reset: {0}")]
    Reset(ResetCode),
    /// The whole tunnel ended.
    #[error("the tunnel ended: {cause}")]
    TunnelLost {
        /// Why it ended.
        cause: TunnelError,
        /// Whether any byte of the stream was handed to the transport. If not, the peer has
        /// provably not begun with it.
        sent: bool,
    },
}

impl StreamError {
    /// Whether the peer has provably not begun with the request, so that it is safe to send it
    /// again whatever it is.
    pub fn is_not_begun(&self) -> bool {
        matches!(self, Self::Reset(ResetCode::NotBegun) | Self::TunnelLost { sent: false, .. })
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        Self::new(io::ErrorKind::ConnectionReset, error)
    }
}

/// What RESET says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ResetCode {
    /// Nobody waits for the rest.
    #[error("cancelled")]
    Cancelled,
    /// The other leg of the request broke off half-way.
    #[error("broken off by the other leg")]
    Failed,
    /// The request was not looked at: it is safe to send it elsewhere.
    #[error("refused, not begun")]
    NotBegun,
    /// The tunnel's memory cap was reached, and this stream held the most unread bytes.
    #[error("over the tunnel's memory cap")]
    Overloaded,
    /// A code of a later version.
    #[error("code {0}")]
    Unknown(u16),
}

impl ResetCode {
    pub(crate) fn to_wire(self) -> u16 {
        match self {
            Self::NotBegun => 1,
            Self::Cancelled => 2,
            Self::Failed => 3,
            Self::Overloaded => 4,
            Self::Unknown(code) => code,
        }
    }

    pub(crate) fn from_wire(code: u16) -> Self {
        match code {
            1 => Self::NotBegun,
            2 => Self::Cancelled,
            3 => Self::Failed,
            4 => Self::Overloaded,
            code => Self::Unknown(code),
        }
    }
}
