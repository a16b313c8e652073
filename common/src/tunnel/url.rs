//! Tunnel URLs, as `--tunnel` takes them.

use std::fmt;
use std::str::FromStr;

/// Where a tunnel is listened for or dialled: `grpc://HOST:PORT`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TunnelUrl {
    /// Which transport.
    pub scheme: TunnelScheme,
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port; 0 lets a listener choose.
    pub port: u16,
}

/// The transports.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TunnelScheme {
    /// One gRPC call over mutual TLS.
    Grpc,
}

impl FromStr for TunnelUrl {
    type Err = InvalidTunnelUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = match text.split_once("://") {
            Some(("grpc", rest)) => rest,
            Some((scheme, _)) => {
                return Err(InvalidTunnelUrl(format!("{scheme:?} is no transport; use grpc")));
            }
            None => return Err(InvalidTunnelUrl("write it as grpc://HOST:PORT".to_owned())),
        };
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| InvalidTunnelUrl("the port is missing: grpc://HOST:PORT".to_owned()))?;
        let port = port
            .parse()
            .map_err(|_| InvalidTunnelUrl(format!("{port:?} is not a port (0 to 65535)")))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if is_host(host) => host,
            _ => return Err(InvalidTunnelUrl(format!("{host:?} is no host name or address"))),
        };
        Ok(Self { scheme: TunnelScheme::Grpc, host: host.to_owned(), port })
    }
}

fn is_host(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(legal)
}

impl fmt::Display for TunnelUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scheme: TunnelScheme::Grpc, host, port } = self;
        match host.contains(':') {
            true => write!(f, "grpc://[{host}]:{port}"),
            false => write!(f, "grpc://{host}:{port}"),
        }
    }
}

/// The text is no [`TunnelUrl`], and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTunnelUrl(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_as_it_is_shown() {
        for text in ["grpc://a.example:9000", "grpc://0.0.0.0:0", "grpc://[::1]:9000"] {
            assert_eq!(text.parse::<TunnelUrl>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn refuses_what_names_no_place() {
        let refused = [
            "a:9000",
            "http://a:1",
            "grpc://a",
            "grpc://:9000",
            "grpc://a:x",
            "grpc://a:70000",
            "grpc://a b:1",
            "grpc://::1:9000",
            "grpc://[a]:1",
            "grpc://u@a:1",
            "grpc://a:1/path",
        ];
        for text in refused {
            assert!(text.parse::<TunnelUrl>().is_err(), "{text}");
        }
    }
}
