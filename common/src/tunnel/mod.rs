//! The tunnel: one authenticated byte stream, and many requests on it.
//!
//! A transport yields byte streams ([`Acceptor`] in `send`, [`Connector`] in `receive`); a
//! [`Session`] speaks the tunnel protocol on one of them. The protocol itself is a state machine
//! without input and output (`connection`); `driver` joins the two. The protocol is specified
//! in `docs/tunnel-protocol.md`.

pub mod pipe;
pub mod ssh;
pub mod tls;

mod byte_stream;
mod connection;
mod connector;
mod driver;
mod duplex;
mod error;
mod frame;
mod head;
mod hello;
mod inlet;
mod limits;
mod liveness;
mod session;
mod stream;
mod stream_half;
#[cfg(test)]
mod tests;
mod transport;
mod url;
mod window;

pub use self::byte_stream::ByteStream;
pub use self::connection::Side;
pub use self::connector::{GrpcConnector, GrpcError};
pub use self::duplex::Duplex;
pub use self::error::{ResetCode, StreamError, TunnelError};
pub(crate) use self::frame::MAX_DATA;
pub use self::frame::MAX_HEAD;
pub use self::head::{EncodedHead, HeadTooLarge};
pub use self::hello::{Hello, Notice};
pub use self::limits::{Limits, LivenessArgs};
pub use self::session::{Incoming, Session};
pub use self::stream_half::{RecvHalf, SendBodyError, SendHalf};
pub use self::transport::{Acceptor, ConnectError, Connector, Peer};
pub use self::url::{Forward, HostPort, InvalidTunnelUrl, TunnelScheme, TunnelUrl};

/// Doors for `benches/`. Not part of any release build.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod benching {
    use super::head::{self, EncodedHead};
    use crate::message::{RequestHead, Response};

    /// Reads a request's head as it comes in a frame.
    pub fn decode_request(head: &EncodedHead) -> Option<RequestHead> {
        head::decode_request(head.payload())
    }

    /// Reads a response's head as it comes in a frame.
    pub fn decode_response(head: &EncodedHead) -> Option<Response<()>> {
        head::decode_response(head.payload())
    }
}

/// Doors for the targets in `fuzz/`.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    pub use super::connection::fuzzing::{frames, heads};
    pub use super::pipe::fuzzing::pipe;
    pub use super::ssh::fuzzing::opening;
}
