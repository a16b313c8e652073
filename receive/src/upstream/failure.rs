//! Reads the errors of connections to targets: what to tell the caller, and whether the target may have
//! seen the request.

use std::error::Error;
use std::io;

use tunnel_common::error::ProxyError;
use tunnel_common::http1::Http1Error;

/// What an error before the answer means, and whether it is the connection that was lost (so that
/// another connection may do better) and not the target that answered badly.
pub(super) fn classify(error: &hyper::Error) -> (ProxyError, bool) {
    let lost = match error.source().and_then(|source| source.downcast_ref::<h2::Error>()) {
        Some(http2) => {
            // REFUSED_STREAM promises that nothing was processed (RFC 9113 §8.7); with GOAWAY or
            // a broken socket the connection is gone.
            http2.reason() == Some(h2::Reason::REFUSED_STREAM)
                || (http2.is_go_away() && http2.is_remote())
                || http2.is_io()
        }
        None => is_connection_loss(error),
    };
    match lost {
        true => (ProxyError::ConnectionTerminated("the connection to the target"), true),
        false => (ProxyError::HttpProtocol(chain(error)), false),
    }
}

/// The same for an HTTP/1.1 connection of our own.
pub(super) fn of_http1(error: &Http1Error) -> (ProxyError, bool) {
    match error {
        Http1Error::Ended(_) | Http1Error::Io(_) | Http1Error::TimedOut => {
            (ProxyError::ConnectionTerminated("the connection to the target"), true)
        }
        Http1Error::HeadTooLarge | Http1Error::Malformed(_) => {
            (ProxyError::HttpProtocol(error.to_string()), false)
        }
        Http1Error::Upload(_) => {
            (ProxyError::HttpRequest("the request's body broke off".into()), false)
        }
    }
}

fn is_connection_loss(error: &hyper::Error) -> bool {
    error.is_incomplete_message()
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
