//! The values of `config.json`, each with its reading and its JSON Schema side by side.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use http::uri::PathAndQuery;
use rustls::pki_types::{DnsName, ServerName};
use schemars::{Schema, json_schema};

use super::route::{Health, HostPolicy};
use super::scalar::Scalar;
use super::target;
use crate::keys::normal_name;

/// A value that is written as one text or number.
pub(super) trait Value: Sized {
    /// What may be written.
    fn schema() -> Schema;

    /// Reads it. The error ends a sentence that begins with what was written: what is wrong with
    /// it, and what to write.
    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>>;
}

/// A port that can be listened on; never 0.
pub(super) struct Port(pub(super) u16);

impl Port {
    /// Matches 1 to 65535.
    const PATTERN: &str =
        "^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

    /// Decimal digits without sign and leading zeros: a port has one spelling.
    pub(super) fn from_digits(digits: &str) -> Option<Self> {
        match digits.starts_with(['+', '0']) {
            true => None,
            false => digits.parse().ok().map(Self),
        }
    }
}

impl Value for Port {
    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "pattern": Self::PATTERN },
            { "type": "integer", "minimum": 1, "maximum": u16::MAX },
        ] })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        written
            .text_or_number()
            .and_then(Self::from_digits)
            .ok_or("is not a port: write a number from 1 to 65535".into())
    }
}

/// A name that Kubernetes takes for a Service: a label of RFC 1035 §2.3.1 in lower case.
pub(super) struct Name(pub(super) String);

impl Value for Name {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$" })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        let is_label = |text: &&str| {
            text.len() <= 63
                && text.starts_with(|first: char| first.is_ascii_lowercase())
                && !text.ends_with('-')
                && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        };
        written.text().filter(is_label).map(|text| Self(text.into())).ok_or(
            "is not a name: write 1 to 63 of a-z, 0-9 and -, first a letter, last no -".into(),
        )
    }
}

/// The name of a cluster: what a certificate can hold as a DNS name.
pub(super) struct Cluster(pub(super) String);

impl Value for Cluster {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 253, "examples": ["cluster-b"] })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        let name = written.text().filter(|text| DnsName::try_from(*text).is_ok());
        name.map(|text| Self(normal_name(text))).ok_or(
            "is not a cluster: write the name that its keys were made for, letters, digits, - and ."
                .into(),
        )
    }
}

impl Value for Health {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": "^(tcp|/.*)$", "examples": ["/healthz", "tcp"] })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        let path = |text: &str| PathAndQuery::try_from(text).ok().map(Self::Path);
        match written.text() {
            Some("tcp") => Some(Self::Tcp),
            Some(text) if text.starts_with('/') => path(text),
            _ => None,
        }
        .ok_or("is no probe: write \"tcp\", or a path that begins with /".into())
    }
}

impl Value for HostPolicy {
    fn schema() -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "examples": ["caller", "target", "demo.example:8080"],
        })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        match written.text() {
            None => Err("is not a host: write \"caller\", \"target\" or a host to send".into()),
            Some(text) if text.eq_ignore_ascii_case("caller") => Ok(Self::Caller),
            Some(text) if text.eq_ignore_ascii_case("target") => Ok(Self::Target),
            Some(text) => target::authority(text).map(Self::Fixed),
        }
    }
}

impl Value for Duration {
    fn schema() -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "pattern": "^([0-9]+|([0-9]+(ms|s|m|h))+)$" },
            { "type": "number", "exclusiveMinimum": 0, "maximum": MAX_DURATION.as_secs() },
        ] })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        let duration = match written {
            Scalar::Text(text) => duration_from_text(text),
            Scalar::Number(number) => {
                number.parse().ok().and_then(|seconds| Self::try_from_secs_f64(seconds).ok())
            }
            Scalar::Other(_) => None,
        };
        duration.filter(|duration| !duration.is_zero() && *duration <= MAX_DURATION).ok_or(
            "is not a duration: write seconds or a text such as \"500ms\", \"30s\", \"5m\" or \
             \"1h30m\", over 0 and at most 24h"
                .into(),
        )
    }
}

/// A day: longer waits hide that something is wrong.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Whole seconds, or numbers with the units that Go writes too; `humantime` knows more, which
/// others would read differently (a `M` is a month).
fn duration_from_text(text: &str) -> Option<Duration> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    let mut units = text.split(|c: char| c.is_ascii_digit()).filter(|unit| !unit.is_empty());
    match units.all(|unit| matches!(unit, "ms" | "s" | "m" | "h")) {
        true => humantime::parse_duration(text).ok(),
        false => None,
    }
}

impl Value for bool {
    fn schema() -> Schema {
        json_schema!({ "type": "boolean" })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        match written {
            Scalar::Other("true") => Ok(true),
            Scalar::Other("false") => Ok(false),
            _ => Err("is neither true nor false: write one of them, without quotes".into()),
        }
    }
}

/// A path, as written.
impl Value for PathBuf {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        match written.text() {
            Some(text) if !text.is_empty() && !text.contains('\0') => Ok(text.into()),
            _ => Err("is not a path: write one of a file or folder".into()),
        }
    }
}

impl Value for ServerName<'static> {
    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }

    fn parse(written: &Scalar<'_>) -> Result<Self, Cow<'static, str>> {
        written
            .text()
            .and_then(|text| Self::try_from(text.to_owned()).ok())
            .ok_or("is not a server name: write a DNS name or an IP address".into())
    }
}
