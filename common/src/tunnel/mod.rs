//! The tunnel: one authenticated byte stream, and many requests on it.

pub mod pipe;
pub mod tls;
mod transport;

pub use self::transport::{Acceptor, ConnectError, Connector, Peer};
