//! Whether a request that got no answer may be sent again.

use std::rc::Rc;

use http::Request;
use hyper::client::conn::TrySendError;
use tunnel_common::error::ProxyError;
use tunnel_common::message::RequestHead;

use super::failure::{self, Loss};
use super::upload::{RequestBody, Upload};

/// Why there is no answer.
pub(super) enum Failed {
    /// The target has surely not begun the request.
    NotBegun(RequestBody),
    /// The connection was lost, and the request may be repeated.
    Lost(RequestBody),
    Final(ProxyError),
}

impl From<ProxyError> for Failed {
    fn from(error: ProxyError) -> Self {
        Self::Final(error)
    }
}

/// What decides whether a request may be sent again, and the body for it.
pub(super) struct Replay {
    pub(super) idempotent: bool,
    pub(super) upload: Option<Rc<Upload>>,
}

impl Replay {
    pub(super) fn new(head: &RequestHead, body: &RequestBody) -> Self {
        Self { idempotent: head.method.is_idempotent(), upload: body.upload() }
    }

    /// Keeps the body for another try.
    pub(super) fn keep(&self) {
        if let Some(upload) = &self.upload {
            upload.keep();
        }
    }

    pub(super) fn after(&self, (error, loss): (ProxyError, Loss)) -> Failed {
        let again: fn(RequestBody) -> Failed = match loss {
            Loss::NotBegun => Failed::NotBegun,
            // RFC 9110 §9.2.2.
            Loss::Unknown if self.idempotent => Failed::Lost,
            _ => return Failed::Final(error),
        };
        let body = match &self.upload {
            None => Some(RequestBody::empty()),
            Some(upload) => upload.again(),
        };
        body.map_or(Failed::Final(error), again)
    }

    /// `end` is why the connection has ended, if by an error.
    pub(super) fn after_http2(
        &self,
        mut failed: TrySendError<Request<RequestBody>>,
        end: Option<&hyper::Error>,
    ) -> Failed {
        if let Some(request) = failed.take_message() {
            return Failed::NotBegun(request.into_body());
        }
        if self.upload.as_deref().is_some_and(Upload::is_broken) {
            return Failed::Final(ProxyError::HttpRequest("the request's body broke off".into()));
        }
        // A request that waited for leave to open a stream is not told.
        let error = end.filter(|_| failed.error().is_user()).unwrap_or(failed.error());
        self.after(failure::classify(error))
    }
}
