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

use http::Version;

use self::forwarded::claims_origin;
pub use self::forwarded::{
    Address, Downstream, MAX_BRIDGES, append_via, check_loop, set_forwarded,
};
pub use self::framing::{check_framing, settle_host};
use self::hop_by_hop::HOP_BY_HOP;
pub use self::hop_by_hop::{UpgradeProtocol, is_offered, strip_hop_by_hop};
pub use self::request_id::RequestIds;
pub use self::routing::{remove_condition, stamp, take_condition};
use crate::error::ProxyError;
use crate::fields::{Fields, Name, Names};
use crate::http1::content_length;
use crate::message::RequestHead;

/// Makes a request from outside fit to be forwarded, all but its routing header.
///
/// Returns the protocol that the caller offers to switch to; the last forwarder before the target
/// puts it back with [`UpgradeProtocol::restore`]. Fails on requests that another server could read
/// differently, and on loops.
pub fn prepare_request(
    head: &mut RequestHead,
    downstream: &Downstream<'_>,
) -> Result<Option<UpgradeProtocol>, ProxyError> {
    check_framing(head)?;
    settle_host(head)?;
    check_loop(&head.fields)?;
    // HTTP/1.0 has no Upgrade (RFC 9110 §7.8), and HTTP/2 no such header field (RFC 9113 §8.2.2).
    let upgrade = strip_hop_by_hop(&mut head.fields).filter(|_| head.version == Version::HTTP_11);
    set_forwarded(&mut head.fields, downstream);
    append_via(&mut head.fields, head.version);
    Ok(upgrade)
}

/// Makes a response fit to be forwarded, which `version` was received in.
///
/// Returns the protocol that a 101 switches to, for [`UpgradeProtocol::restore`].
pub fn prepare_response(fields: &mut Fields, version: Version) -> Option<UpgradeProtocol> {
    // Where both are, Transfer-Encoding counts and the other is dropped (RFC 9112 §6.3). One that can
    // be read in two ways is left only where there is no body.
    if fields.contains(Name::TransferEncoding) || content_length(fields).is_err() {
        fields.remove(Name::ContentLength);
    }
    let upgrade = strip_hop_by_hop(fields);
    append_via(fields, version);
    upgrade
}

/// Makes trailers fit to be forwarded, of a request or a response: a field that speaks of the last hop,
/// or that says where a message ends, goes or comes from, has no place there (RFC 9110 §6.5.1).
pub fn prepare_trailers(trailers: &mut Fields) {
    const OF_THE_MESSAGE: Names = Names::of(&[Name::ContentLength, Name::Host, Name::Trailer]);
    trailers.retain(|field| {
        let is_known_by = |names: Names| field.known.is_some_and(|name| names.contains(name));
        !is_known_by(HOP_BY_HOP) && !is_known_by(OF_THE_MESSAGE) && !claims_origin(field)
    });
    remove_condition(trailers);
}

/// Whether a name begins with `start`, in any spelling.
///
/// CGI-style servers see `X_Forwarded_For` and `X-Forwarded-For` as one variable, and some
/// frameworks map `.` too; names are lower case in [`Fields`] already.
fn begins_like(name: &[u8], start: &str) -> bool {
    let alike = |(byte, of_start): (&u8, u8)| {
        *byte == of_start || (of_start == b'-' && matches!(byte, b'_' | b'.'))
    };
    name.len() >= start.len() && name.iter().zip(start.bytes()).all(alike)
}

/// Whether a name is `other`, in any spelling.
fn spells(name: &[u8], other: &str) -> bool {
    name.len() == other.len() && begins_like(name, other)
}

#[cfg(test)]
mod tests;
