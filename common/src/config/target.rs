//! Takes a target URL apart.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use http::uri::Authority;
use rustls::pki_types::ServerName;
use schemars::{Schema, json_schema};

use super::route::{Scheme, Target, TargetTls};
use super::scalar::Scalar;
use super::value::{Port, Value};

/// The target without its TLS settings, which are a field of their own.
impl Value for Target {
    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^([hH][tT][tT][pP][sS]?|[hH]2[cC])://[^/?#@\s]+(/[^?#\s]*)?$",
            "examples": ["http://demo.default.svc.cluster.local:8080"],
        })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        let text = written.text().ok_or("is not a URL: write http://host:port")?;
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("has no scheme: begin it with http://, https:// or h2c://")?;
        let scheme = parse_scheme(scheme)?;
        if rest.contains('?') {
            return Err("has a query, which belongs to the request: remove it from the ?".into());
        }
        if rest.contains('#') {
            return Err("has a fragment, which is never sent: remove it from the #".into());
        }
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority(host)?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "has a character in its path that is not visible ASCII: write it as %XX".into()
            );
        }
        let base_path = path.trim_end_matches('/').to_owned();
        Ok(Self { scheme, authority, base_path, tls: TargetTls::default() })
    }
}

fn parse_scheme(text: &str) -> Result<Scheme, Cow<'static, str>> {
    match text.to_ascii_lowercase().as_str() {
        "h2c" => Ok(Scheme::H2c),
        "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        scheme @ ("tcp" | "connect" | "udp") => {
            Err(format!("is a {scheme} target, which is not supported yet: use http, https or h2c")
                .into())
        }
        _ => Err("has a scheme that does not exist here: use http, https or h2c".into()),
    }
}

/// A host (a DNS name, an IPv4 address or an IPv6 address in brackets) and an optional port. The
/// error ends a sentence that begins with what was written.
pub(super) fn authority(text: &str) -> Result<Authority, Cow<'static, str>> {
    if text.contains('@') {
        return Err("carries a user name or password: remove it, this file is not a secret".into());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    if host.is_empty() {
        return Err("has no host: write a DNS name or an IP address".into());
    }
    if !is_host(host) {
        return Err("has no valid host: write a DNS name, an IPv4 address, or an IPv6 address in \
                    brackets"
            .into());
    }
    if port.is_some_and(|port| Port::from_digits(port).is_none()) {
        return Err("has no valid port: write a number from 1 to 65535 after the colon".into());
    }
    text.parse().map_err(|_| "has no valid host: write a DNS name or an IP address".into())
}

fn is_host(text: &str) -> bool {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !text.contains(':') && ServerName::try_from(text).is_ok(),
    }
}
