//! What can be wrong with a message or its connection.

use std::io;

/// Why a message could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Http1Error {
    /// The connection ended inside a message, or before one that was awaited.
    #[error("the connection ended {0}")]
    Ended(&'static str),
    /// A head has too many bytes or fields.
    #[error("the head is over the limit of {MAX_HEAD} bytes and {MAX_FIELDS} fields", MAX_HEAD = super::MAX_HEAD, MAX_FIELDS = super::MAX_FIELDS)]
    HeadTooLarge,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not a message that all servers read alike.
    #[error("{0}")]
    Malformed(&'static str),
    /// Nothing came for too long.
    #[error("nothing came in time")]
    TimedOut,
    /// What was to be sent broke off.
    #[error("the body broke off: {0}")]
    Upload(Box<dyn std::error::Error + Send + Sync>),
}
