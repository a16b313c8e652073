//! HTTP/1.1 connections, lean and strict: the edges of the bridge.
//!
//! A connection is one task (server) or none of its own (client); a body is read from it when it is
//! polled and not before; buffers are held only while there are bytes in them. What two servers
//! could read differently is refused and never passed on. HTTP/2 is hyper's.

#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod benching;
mod body;
mod client;
mod decoder;
mod error;
mod framing;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod head;
mod sending;
mod server;
mod stream;
mod switched;
#[cfg(test)]
mod tests;
mod wire;

pub use self::body::{Informer, RequestBody};
pub use self::client::{Client, Reply, ResponseBody, SendError};
pub use self::error::Http1Error;
pub(crate) use self::framing::{Framing, content_length};
pub use self::server::{Answer, End, serve};
pub use self::stream::Stream;
pub use self::switched::Switched;
use crate::tunnel::MAX_HEAD;

/// Fields that a head or a trailer section may have.
pub const MAX_FIELDS: usize = 256;
