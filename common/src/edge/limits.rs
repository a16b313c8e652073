//! What callers may use at most.

use std::time::Duration;

use crate::flag::{at_most, positive_duration};
use crate::http1::MAX_FIELDS;
use crate::tunnel::MAX_HEAD;

/// The bounds of each listener, as flags.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Limits {
    /// Connections that a listener holds at a time; more wait to be accepted.
    #[arg(long, value_name = "COUNT", env = "ISTHMUS_MAX_CONNECTIONS", default_value_t = 10_000,
          value_parser = at_most::<1_000_000>)]
    pub max_connections: usize,

    /// Bytes of a request's head, at most 65536; more are answered with 431.
    #[arg(long, value_name = "BYTES", env = "ISTHMUS_MAX_HEAD", default_value_t = MAX_HEAD,
          value_parser = at_most::<MAX_HEAD>)]
    pub max_head: usize,

    /// Fields of a request's head, at most 256; more are answered with 431.
    #[arg(long, value_name = "COUNT", env = "ISTHMUS_MAX_FIELDS", default_value_t = MAX_FIELDS,
          value_parser = at_most::<MAX_FIELDS>)]
    pub max_fields: usize,

    /// How long the head of a request may take to arrive once it has begun, and a TLS handshake;
    /// then 408, or the connection is closed.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_HEAD_TIMEOUT", default_value = "30s",
          value_parser = positive_duration)]
    pub head_timeout: Duration,

    /// How long a connection may stay open without a request.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_IDLE_TIMEOUT", default_value = "2m",
          value_parser = positive_duration)]
    pub idle_timeout: Duration,

    /// How long an answer or a switched connection (WebSocket) may go without a byte either way.
    #[arg(long, value_name = "DURATION", env = "ISTHMUS_STREAM_IDLE_TIMEOUT", default_value = "1h",
          value_parser = positive_duration)]
    pub stream_idle_timeout: Duration,

    /// Requests that one HTTP/2 connection may have in flight.
    #[arg(long, value_name = "COUNT", env = "ISTHMUS_MAX_HTTP2_STREAMS", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_http2_streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_head: MAX_HEAD,
            max_fields: MAX_FIELDS,
            head_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(120),
            stream_idle_timeout: Duration::from_secs(3600),
            max_http2_streams: 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        limits: Limits,
    }

    #[test]
    fn the_flags_and_the_defaults_agree() {
        let cli = Cli::try_parse_from(["x"]).unwrap();
        assert_eq!(format!("{:?}", cli.limits), format!("{:?}", Limits::default()));
    }

    #[test]
    fn nothing_larger_than_the_tunnel_carries() {
        assert!(Cli::try_parse_from(["x", "--max-head", "65536"]).is_ok());
        assert!(Cli::try_parse_from(["x", "--max-head", "65537"]).is_err());
        assert!(Cli::try_parse_from(["x", "--max-fields", "0"]).is_err());
        assert!(Cli::try_parse_from(["x", "--max-http2-streams", "0"]).is_err());
    }
}
