//! Tunnel URLs, as `--tunnel` takes them.

use std::fmt;
use std::str::FromStr;

/// Where a tunnel is listened for or dialled: `grpc://HOST:PORT`, or
/// `ssh://[USER@]HOST:PORT[?forward=ADDRESS:PORT]`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TunnelUrl {
    /// Which transport.
    pub scheme: TunnelScheme,
    /// As whom to log in; only with `ssh`.
    pub user: Option<String>,
    /// The host and port; port 0 lets a listener choose.
    pub place: HostPort,
    /// What to ask the server to forward; only with `ssh`.
    pub forward: Option<Forward>,
}

/// The transports.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum TunnelScheme {
    /// One gRPC call over mutual TLS.
    Grpc,
    /// One channel of a reverse forward of SSH.
    Ssh,
}

/// A host and a port.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostPort {
    /// A name or an IP address, IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What an SSH client asks the server to listen on. It is spoken of in these words, and the
/// server's configuration decides what they mean.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Forward {
    /// An address or a name, `*`, or empty.
    pub address: String,
    /// The port; never 0.
    pub port: u16,
}

impl FromStr for TunnelUrl {
    type Err = InvalidTunnelUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("grpc", rest)) => (TunnelScheme::Grpc, rest),
            Some(("ssh", rest)) => (TunnelScheme::Ssh, rest),
            Some((scheme, _)) => {
                return Err(InvalidTunnelUrl(format!(
                    "{scheme:?} is no transport; use grpc or ssh"
                )));
            }
            None => return Err("write it as grpc://HOST:PORT or ssh://USER@HOST:PORT".into()),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (user, place) = match rest.split_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, rest),
        };
        if scheme != TunnelScheme::Ssh && (user.is_some() || query.is_some()) {
            return Err("only an ssh:// URL names a user or a forward".into());
        }
        let user = user.map(parse_user).transpose()?;
        let forward = query.map(parse_query).transpose()?;
        Ok(Self { scheme, user, place: place.parse()?, forward })
    }
}

impl FromStr for HostPort {
    type Err = InvalidTunnelUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('@') {
            // Not shown: a password may be before it.
            return Err("no user belongs before the host here".into());
        }
        let (host, port) = text.rsplit_once(':').ok_or("the port is missing: HOST:PORT")?;
        let port = port
            .parse()
            .map_err(|_| InvalidTunnelUrl(format!("{port:?} is not a port (0 to 65535)")))?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(address) if address.parse::<std::net::Ipv6Addr>().is_ok() => address,
            None if is_host(host) => host,
            _ => return Err(InvalidTunnelUrl(format!("{host:?} is no host name or address"))),
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl FromStr for Forward {
    type Err = InvalidTunnelUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || InvalidTunnelUrl(format!("{text:?} is no forward: write ADDRESS:PORT"));
        let (address, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:*".contains(&byte);
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
        let address = bare.unwrap_or(address);
        match port.parse() {
            Ok(port) if port > 0 && address.bytes().all(legal) => {
                Ok(Self { address: address.to_owned(), port })
            }
            _ => Err(wrong()),
        }
    }
}

fn parse_user(user: &str) -> Result<String, InvalidTunnelUrl> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    match !user.is_empty() && user.bytes().all(legal) {
        true => Ok(user.to_owned()),
        // Not shown: it may hold a password.
        false => Err("the user before the @ may have letters, digits, -, _ and . only".into()),
    }
}

fn parse_query(query: &str) -> Result<Forward, InvalidTunnelUrl> {
    query
        .strip_prefix("forward=")
        .ok_or("after the ? comes forward=ADDRESS:PORT and nothing else")?
        .parse()
}

fn is_host(host: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !host.is_empty() && host.bytes().all(legal)
}

impl fmt::Display for TunnelUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.scheme {
            TunnelScheme::Grpc => "grpc://",
            TunnelScheme::Ssh => "ssh://",
        })?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        write!(f, "{}", self.place)?;
        match &self.forward {
            Some(forward) => write!(f, "?forward={forward}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.contains(':') {
            true => write!(f, "[{}]:{}", self.address, self.port),
            false => write!(f, "{}:{}", self.address, self.port),
        }
    }
}

/// The text is no [`TunnelUrl`], or no part of one, and why.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTunnelUrl(String);

impl From<&str> for InvalidTunnelUrl {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_back_as_it_is_shown() {
        for text in [
            "grpc://a.example:9000",
            "grpc://0.0.0.0:0",
            "grpc://[::1]:9000",
            "ssh://0.0.0.0:2222",
            "ssh://tunnel@[::1]:22?forward=localhost:8079",
            "ssh://a_b.c-1@a:1?forward=*:8079",
            "ssh://a:1?forward=:8079",
            "ssh://a:1?forward=[::1]:8079",
        ] {
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
            "grpc://a:1?forward=a:1",
            "ssh://a",
            "ssh://@a:1",
            "ssh://u:p@a:1",
            "ssh://a:1?forward=8079",
            "ssh://a:1?forward=a:0",
            "ssh://a:1?forward=a b:1",
            "ssh://a:1?backward=a:1",
            "ssh://a:1?",
        ];
        for text in refused {
            assert!(text.parse::<TunnelUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn never_shows_a_password() {
        let error = "ssh://me:secret@a:1".parse::<TunnelUrl>().unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    proptest! {
        #[test]
        fn survives_any_text(text in "(ssh://)?[a:@?=\\[\\]0-9.*/ é]{0,20}(forward=)?.{0,10}") {
            if let Ok(url) = text.parse::<TunnelUrl>() {
                prop_assert_eq!(url.to_string().parse::<TunnelUrl>().unwrap(), url);
            }
        }
    }
}
