//! A mapping in domain types: what was text in `config.json` is known to be usable here.

use std::path::PathBuf;
use std::time::Duration;

use http::uri::{Authority, PathAndQuery};
use rustls::pki_types::ServerName;

use crate::condition::Condition;

/// One mapping: a port of `tunnel-send` that stands for a service beside `tunnel-receive`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// What the request is stamped with; the port's number.
    pub condition: Condition,
    /// The port that `tunnel-send` listens on; never 0.
    pub port: u16,
    /// A label for logs; the port's number unless set.
    pub name: String,
    /// The port of every Kubernetes node that leads here, where `tunnel-send` manages its Service;
    /// the cluster chooses unless set.
    pub node_port: Option<u16>,
    /// The cluster whose tunnels may carry the requests, by the name that it proves; any unless set.
    pub cluster: Option<String>,
    /// Where `tunnel-receive` sends the request.
    pub target: Target,
    /// How `tunnel-receive` finds out whether the target is well; it does not unless set.
    pub health: Option<Health>,
    /// Which `Host` the target sees; [`HostPolicy::Caller`] unless set.
    pub host: HostPolicy,
    /// What concerns the callers of the port.
    pub downstream: Downstream,
    /// How long the target may stay silent before its answer begins; 5 minutes unless set.
    pub timeout: Duration,
    /// How long connecting to the target may take, TLS included; 5 seconds unless set.
    pub connect_timeout: Duration,
}

impl Route {
    /// The name that was set, which also names a Kubernetes Service.
    pub fn service(&self) -> Option<&str> {
        // A name begins with a letter, so that no number is one.
        Some(self.name.as_str()).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
    }
}

/// How a target is probed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Health {
    /// A GET of this path must be answered with a status below 400.
    Path(PathAndQuery),
    /// A TCP connection must come about.
    Tcp,
}

/// What concerns the callers of a mapping's port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Downstream {
    /// Folder with `tls.crt` and `tls.key`: callers speak TLS. Relative paths start at the folder of
    /// `config.json`.
    pub tls: Option<PathBuf>,
    /// Callers are proxies whose own `X-Forwarded-*` and `Forwarded` are believed; not so unless set.
    pub trust_forwarded: bool,
}

/// A target URL, taken apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Target {
    /// How to speak to the target.
    pub scheme: Scheme,
    /// Host (IPv6 in brackets) and optional port, as written.
    pub authority: Authority,
    /// Path that is put before the request's own, without a trailing slash; often empty.
    pub base_path: String,
    /// How to trust an `https` target.
    pub tls: TargetTls,
}

impl Target {
    /// The host without brackets, as a resolver takes it.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port, by default the scheme's.
    pub fn port(&self) -> u16 {
        self.authority.port_u16().unwrap_or(match self.scheme {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        })
    }
}

/// The protocol spoken to a target.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
    /// HTTP/1.1 without TLS.
    Http,
    /// HTTP/2 or HTTP/1.1 over TLS, as the target chooses by ALPN.
    Https,
}

/// How an `https` target proves itself. There is no way to turn the proof off.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct TargetTls {
    /// PEM file of the authorities to trust instead of the system's; relative paths start at the
    /// folder of `config.json`.
    pub ca: Option<PathBuf>,
    /// The name to ask for and to check instead of the URL's host.
    pub server_name: Option<ServerName<'static>>,
}

/// Which `Host` the target sees.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum HostPolicy {
    /// The caller's, unchanged (what Go's `NewSingleHostReverseProxy` does).
    #[default]
    Caller,
    /// Always this one.
    Fixed(Authority),
    /// The target URL's host and port.
    Target,
}
