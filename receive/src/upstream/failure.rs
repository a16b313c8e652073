//! Reads the errors of connections to targets: what to tell the caller, and whether the target may have
//! seen the request.

use std::error::Error;
use std::io;

use tunnel_common::error::ProxyError;
use tunnel_common::http1::Http1Error;

/// Whether another connection may do better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Loss {
    /// The target says that it has not begun the request: whatever it is, it may be sent again.
    NotBegun,
    /// The connection was lost; nobody knows how far the request had come.
    Unknown,
    /// The fault is not the connection's.
    None,
}

pub(super) const LOST: ProxyError =
    ProxyError::ConnectionTerminated("the connection to the target");

/// What an error before the answer means.
pub(super) fn classify(error: &hyper::Error) -> (ProxyError, Loss) {
    let loss = match error.source().and_then(|source| source.downcast_ref::<h2::Error>()) {
        Some(http2) => loss_of_http2(http2),
        None if is_connection_loss(error) => Loss::Unknown,
        None => Loss::None,
    };
    match loss {
        Loss::NotBegun | Loss::Unknown => (LOST, loss),
        Loss::None => (ProxyError::HttpProtocol(chain(error)), loss),
    }
}

/// REFUSED_STREAM promises that nothing was processed (RFC 9113 §8.7), and so does GOAWAY for the
/// streams after the last that it names (§6.8); `h2` ends no others by it.
fn loss_of_http2(error: &h2::Error) -> Loss {
    let refused = error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
    match refused && error.is_remote() {
        true => Loss::NotBegun,
        false if error.is_io() => Loss::Unknown,
        false => Loss::None,
    }
}

/// The same for an HTTP/1.1 connection of our own.
pub(super) fn of_http1(error: &Http1Error) -> (ProxyError, Loss) {
    match error {
        Http1Error::Ended(_) | Http1Error::Io(_) | Http1Error::TimedOut => (LOST, Loss::Unknown),
        Http1Error::HeadTooLarge | Http1Error::Malformed(_) => {
            (ProxyError::HttpProtocol(error.to_string()), Loss::None)
        }
        Http1Error::Upload(_) => {
            (ProxyError::HttpRequest("the request's body broke off".into()), Loss::None)
        }
    }
}

fn is_connection_loss(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
        // The connection went away while the request waited for leave to open a stream.
        || error.is_user()
        || error.is_canceled()
        || error.is_closed()
        || error.source().is_some_and(<dyn Error>::is::<io::Error>)
}

/// An error with all that caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
