//! The one place that knows what can go wrong with a request, and what its caller is told.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

/// Why a request was answered by the bridge and not by its target.
///
/// Each variant is an error type of RFC 9209 §2.3, whose name is also the metric's label.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyError {
    /// Something in the bridge's own set-up keeps the request from its target.
    #[error("{0}")]
    Configuration(Cow<'static, str>),
    /// The bridge is at a limit of its own and sheds this request.
    #[error("too many requests in flight")]
    ConnectionLimitReached,
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
    #[error("no tunnel is up; waited {}", humantime::format_duration(*.waited))]
    DestinationUnavailable {
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
    #[error("the request's head is over {limit} bytes")]
    RequestHeadTooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
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

impl ProxyError {
    /// The status of the reply.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Configuration(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ConnectionLimitReached | Self::DestinationUnavailable { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::ConnectionTimeout { .. } | Self::HttpResponseTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::DestinationNotFound { .. } => StatusCode::NOT_FOUND,
            Self::HttpRequest(_) => StatusCode::BAD_REQUEST,
            Self::LoopDetected { .. } => StatusCode::LOOP_DETECTED,
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
            Self::ConnectionLimitReached => "connection_limit_reached",
            Self::ConnectionRefused { .. } => "connection_refused",
            Self::ConnectionTerminated(_) => "connection_terminated",
            Self::ConnectionTimeout { .. } => "connection_timeout",
            Self::DestinationNotFound { .. } => "destination_not_found",
            Self::DestinationUnavailable { .. } => "destination_unavailable",
            Self::Dns { .. } => "dns_error",
            Self::HttpProtocol(_) => "http_protocol_error",
            Self::HttpRequest(_) | Self::RequestHeadTooLarge { .. } => "http_request_error",
            Self::HttpResponseTimeout { .. } => "http_response_timeout",
            Self::LoopDetected { .. } => "proxy_loop_detected",
            Self::TlsCertificate { .. } => "tls_certificate_error",
            Self::TlsProtocol { .. } => "tls_protocol_error",
        }
    }
}
