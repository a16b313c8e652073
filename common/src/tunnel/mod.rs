//! The tunnel: one authenticated byte stream, and many requests on it.

mod transport;

pub use self::transport::{Acceptor, ConnectError, Connector, Peer};
