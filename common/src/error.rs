//! The one place that knows what can go wrong with a request, and what its caller is told.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;

use crate::fields::{Fields, Name};
use crate::message::Response;

/// Why a request was answered by the bridge and not by its target.
///
/// Each variant is an error type of RFC 9209 §2.3, whose name is also the metric's label.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyError {
    /// Something in the bridge's own set-up keeps the request from its target.
    #[error("{0}")]
    Configuration(Cow<'static, str>),
    /// The bridge is at a limit of its own and sheds this request.
    #[error("the bridge has too many {0}")]
    ConnectionLimitReached(&'static str),
    /// The target refused the connection, or it broke before one existed.
    #[error("the target {target} refused the connection: {reason}")]
    ConnectionRefused {
        /// The target's host and port.
        target: String,
        /// What the operating system said.
        reason: String,
    },
    /// The connection or the tunnel ended before the answer began.
    #[error("{0} ended before an answer began")]
    ConnectionTerminated(&'static str),
    /// The target did not accept a connection in time.
    #[error("no connection to the target {target} within {}", humantime::format_duration(*.limit))]
    ConnectionTimeout {
        /// The target's host and port.
        target: String,
        /// The route's `connectTimeout`.
        limit: Duration,
    },
    /// No mapping has this condition where the request arrived.
    #[error("condition {condition:?} is not mapped in {place}")]
    DestinationNotFound {
        /// The condition as it arrived.
        condition: String,
        /// Where it was looked up.
        place: Cow<'static, str>,
    },
    /// There is no live tunnel that could carry the request.
    #[error("no tunnel {}is up; waited {}", from_cluster(.cluster.as_deref()), humantime::format_duration(*.waited))]
    DestinationUnavailable {
        /// The cluster that it must come from, if the mapping says so.
        cluster: Option<String>,
        /// How long the request was held.
        waited: Duration,
    },
    /// The target's name does not resolve.
    #[error("the target's name {name} does not resolve: {reason}")]
    Dns {
        /// The name that was looked up.
        name: String,
        /// What the resolver said.
        reason: String,
    },
    /// The request breaks a rule of HTTP that the bridge enforces.
    #[error("{0}")]
    HttpRequest(Cow<'static, str>),
    /// The target answered with something that is not HTTP.
    #[error("the target broke the protocol: {0}")]
    HttpProtocol(String),
    /// The answer did not begin in time.
    #[error("the target did not begin to answer within {}", humantime::format_duration(*.limit))]
    HttpResponseTimeout {
        /// The route's `timeout`.
        limit: Duration,
    },
    /// The request has crossed so many bridges that it must be going round.
    #[error("the request crossed {bridges} bridges: it goes round in a loop")]
    LoopDetected {
        /// How many entries of `Via` are ours.
        bridges: usize,
    },
    /// A head is larger than the bridge carries.
    #[error("the request's head is over {bytes} bytes or {fields} fields")]
    RequestHeadTooLarge {
        /// The limit in bytes.
        bytes: usize,
        /// The limit in fields.
        fields: usize,
    },
    /// The request's head did not come in time.
    #[error("the request's head took too long")]
    RequestTimeout,
    /// The target's certificate is not to be trusted.
    #[error("the certificate of {target} was not accepted: {reason}")]
    TlsCertificate {
        /// The target's host and port.
        target: String,
        /// What the verifier said.
        reason: String,
    },
    /// TLS with the target failed for another reason than its certificate.
    #[error("TLS with {target} failed: {reason}")]
    TlsProtocol {
        /// The target's host and port.
        target: String,
        /// What the TLS library said.
        reason: String,
    },
}

fn from_cluster(cluster: Option<&str>) -> String {
    cluster.map_or_else(String::new, |cluster| format!("from cluster {cluster} "))
}

impl ProxyError {
    /// The status of the reply.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Configuration(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ConnectionLimitReached(_) | Self::DestinationUnavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectionTimeout { .. } | Self::HttpResponseTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::DestinationNotFound { .. } => StatusCode::NOT_FOUND,
            Self::HttpRequest(_) => StatusCode::BAD_REQUEST,
            Self::LoopDetected { .. } => StatusCode::LOOP_DETECTED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::RequestHeadTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::ConnectionRefused { .. }
            | Self::ConnectionTerminated(_)
            | Self::Dns { .. }
            | Self::HttpProtocol(_)
            | Self::TlsCertificate { .. }
            | Self::TlsProtocol { .. } => StatusCode::BAD_GATEWAY,
        }
    }

    /// The error type of RFC 9209 §2.3.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Configuration(_) => "proxy_configuration_error",
            Self::ConnectionLimitReached(_) => "connection_limit_reached",
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::ConnectionTerminated(_) => "connection_terminated",
            Self::ConnectionTimeout { .. } => "connection_timeout",
            Self::DestinationNotFound { .. } => "destination_not_found",
            Self::DestinationUnavailable { .. } => "destination_unavailable",
            Self::Dns { .. } => "dns_error",
            Self::HttpProtocol(_) => "http_protocol_error",
            Self::HttpRequest(_) | Self::RequestHeadTooLarge { .. } | Self::RequestTimeout => {
                "http_request_error"
            }
            Self::HttpResponseTimeout { .. } => "http_response_timeout",
            Self::LoopDetected { .. } => "proxy_loop_detected",
            Self::TlsCertificate { .. } => "tls_certificate_error",
            Self::TlsProtocol { .. } => "tls_protocol_error",
        }
    }

    /// The reply to a caller of `proxy`: status, `Proxy-Status`, and a short text or JSON.
    pub fn reply(&self, proxy: &'static str, json: bool) -> Response<Full<Bytes>> {
        let (kind, body) = match json {
            true => ("application/json", self.json(proxy)),
            false => ("text/plain; charset=utf-8", format!("{proxy}: {self}\n")),
        };
        let length = body.len().to_string();
        let mut reply = Response::new(self.status(), Full::from(body));
        reply.fields.append(Name::ContentType, kind.as_bytes());
        // Behind the tunnel nobody knows the length otherwise.
        reply.fields.append(Name::ContentLength, length.as_bytes());
        reply.fields.append(Name::ProxyStatus, self.proxy_status(proxy).as_bytes());
        if reply.status == StatusCode::SERVICE_UNAVAILABLE {
            reply.fields.append(Name::RetryAfter, b"1");
        }
        reply
    }

    fn json(&self, proxy: &str) -> String {
        let mut json = serde_json::json!({
            "proxy": proxy, "error": self.kind(), "message": self.to_string(),
        })
        .to_string();
        json.push('\n');
        json
    }

    /// RFC 9209 §2: one list member. The details are an RFC 8941 string: printable ASCII.
    fn proxy_status(&self, proxy: &str) -> String {
        let mut status = format!("{proxy}; error={}; details=\"", self.kind());
        for c in self.to_string().chars() {
            match c {
                '"' | '\\' => status.extend(['\\', c]),
                ' '..='~' => status.push(c),
                _ => status.push('?'),
            }
        }
        status.push('"');
        status
    }
}

/// Whether a request asks for errors in JSON: its `Accept` begins with `application/json`.
pub fn wants_json(request: &Fields) -> bool {
    request.get(Name::Accept).is_some_and(|accept| accept.starts_with(b"application/json"))
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn unmapped() -> ProxyError {
        ProxyError::DestinationNotFound { condition: "80\u{e9}\"50".into(), place: "B".into() }
    }

    #[tokio::test]
    async fn replies_with_status_reason_and_text() {
        let reply = unmapped().reply("tunnel-receive", false);
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert_eq!(
            str::from_utf8(reply.fields.get(Name::ProxyStatus).unwrap()).unwrap(),
            "tunnel-receive; error=destination_not_found; \
             details=\"condition \\\"80?\\\\\\\"50\\\" is not mapped in B\""
        );
        let text = reply.body.collect().await.unwrap().to_bytes();
        assert!(text.starts_with(b"tunnel-receive: condition "), "{text:?}");
    }

    #[tokio::test]
    async fn replies_in_json_to_who_asks_for_it() {
        let mut request = Fields::new();
        request.append(Name::Accept, b"application/json");
        assert!(wants_json(&request) && !wants_json(&Fields::new()));
        let reply = unmapped().reply("tunnel-send", true);
        let json = reply.body.collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(json["error"], "destination_not_found");
    }

    #[test]
    fn asks_to_come_back_while_there_is_no_tunnel() {
        let error =
            ProxyError::DestinationUnavailable { cluster: None, waited: Duration::from_secs(5) };
        let reply = error.reply("tunnel-send", false);
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.fields.get(Name::RetryAfter), Some(&b"1"[..]));
    }
}
