//! The header rules of a proxy; `docs/headers.md` lists them field by field, and is tested.
//!
//! Their order is part of the protection: [`prepare_request`] refuses bad framing, drops what
//! belongs to the last hop and says where the request came from; [`stamp`] comes after it, so that
//! nothing a caller sends (`Connection: X-Proxy-Condition`) can touch the stamp.

mod forwarded;
mod framing;
mod hop_by_hop;
mod request_id;
mod routing;
mod spare;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Version, header};

use self::forwarded::claims_origin;
pub use self::forwarded::{
    Address, Downstream, MAX_BRIDGES, append_via, check_loop, set_forwarded,
};
pub use self::framing::{check_framing, settle_host};
use self::hop_by_hop::is_hop_by_hop;
pub use self::hop_by_hop::{UpgradeProtocol, strip_hop_by_hop};
pub use self::request_id::RequestIds;
pub use self::routing::{remove_condition, stamp, take_condition};
pub use self::spare::{empty_map, parse_name, recycle};
use crate::error::ProxyError;

/// Makes a request from outside fit to be forwarded, all but its routing header.
///
/// Returns the protocol that the caller offers to switch to; the last forwarder before the target
/// puts it back with [`UpgradeProtocol::restore`]. Fails on requests that another server could read
/// differently, and on loops.
pub fn prepare_request(
    parts: &mut Parts,
    downstream: &Downstream<'_>,
) -> Result<Option<UpgradeProtocol>, ProxyError> {
    check_framing(parts)?;
    settle_host(parts)?;
    check_loop(&parts.headers)?;
    // HTTP/1.0 has no Upgrade (RFC 9110 §7.8), and HTTP/2 no such header field (RFC 9113 §8.2.2).
    let upgrade =
        strip_hop_by_hop(&mut parts.headers).filter(|_| parts.version == Version::HTTP_11);
    set_forwarded(&mut parts.headers, downstream);
    append_via(&mut parts.headers, parts.version);
    Ok(upgrade)
}

/// Makes a response fit to be forwarded, which `version` was received in.
///
/// Returns the protocol that a 101 switches to, for [`UpgradeProtocol::restore`].
pub fn prepare_response(headers: &mut HeaderMap, version: Version) -> Option<UpgradeProtocol> {
    // Where both are, Transfer-Encoding counts and the other is dropped (RFC 9112 §6.3).
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    let upgrade = strip_hop_by_hop(headers);
    append_via(headers, version);
    upgrade
}

/// Makes trailers fit to be forwarded, of a request or a response: a field that speaks of the last hop,
/// or that says where a message ends, goes or comes from, has no place there (RFC 9110 §6.5.1).
pub fn prepare_trailers(trailers: &mut HeaderMap) {
    remove_all(trailers, |name| {
        is_hop_by_hop(name)
            || claims_origin(name.as_str())
            || matches!(*name, header::CONTENT_LENGTH | header::HOST | header::TRAILER)
    });
    remove_condition(trailers);
}

/// The comma-separated elements of all lines of a field (RFC 9110 §5.6.1). Bytes, because a value
/// need not be text, and one odd byte must not hide the elements beside it.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Removes every field whose name is `matching`.
fn remove_all(headers: &mut HeaderMap, matching: impl Fn(&HeaderName) -> bool) {
    let mut found = headers.keys().filter(|name| matching(name)).cloned();
    let Some(first) = found.next() else { return };
    // More than one is rare, and an empty list costs nothing.
    let more: Vec<HeaderName> = found.collect();
    headers.remove(first);
    for name in more {
        headers.remove(name);
    }
}

/// Whether a name begins with `start`, in any spelling.
///
/// CGI-style servers see `X_Forwarded_For` and `X-Forwarded-For` as one variable, and some
/// frameworks map `.` too; header names are lower case in a [`HeaderMap`] already.
fn begins_like(name: &str, start: &str) -> bool {
    let alike = |(byte, of_start): (u8, u8)| {
        byte == of_start || (of_start == b'-' && matches!(byte, b'_' | b'.'))
    };
    name.len() >= start.len() && name.bytes().zip(start.bytes()).all(alike)
}

/// Whether a name is `other`, in any spelling.
fn spells(name: &str, other: &str) -> bool {
    name.len() == other.len() && begins_like(name, other)
}

#[cfg(test)]
mod tests;
