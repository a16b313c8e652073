//! Fields that belong to one connection and end with it (RFC 9110 §7.6.1).

use std::fmt;

use http::header::{self, HeaderValue};
use http::{HeaderMap, HeaderName};

use super::{elements, remove_all};

/// Removes all that is meant for this connection only, and returns the protocol of an `Upgrade`.
///
/// That is first each field that `Connection` names, then the fields of RFC 9110 §7.6.1 and
/// §11.7. `TE: trailers` is put back where it was sent: gRPC servers ask for it, and trailers do
/// cross the bridge. `Trailer` stays: it is end to end (§6.6.2).
pub fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<UpgradeProtocol> {
    // Most messages have none, and to look is cheaper than the rest.
    if !headers.keys().any(is_hop_by_hop) {
        return None;
    }
    let upgrade = UpgradeProtocol::offered(headers);
    let trailers =
        elements(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    let named: Vec<HeaderName> = elements(headers, &header::CONNECTION)
        // The usual one needs no allocation: what it names goes anyway.
        .filter(|option| *option != b"keep-alive")
        .filter_map(|option| HeaderName::from_bytes(option).ok())
        .filter(|name| !KEPT_IF_NAMED.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
    remove_all(headers, is_hop_by_hop);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    upgrade
}

/// The protocols of an `Upgrade` that may be forwarded, such as `websocket`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeProtocol(HeaderValue);

impl UpgradeProtocol {
    /// What the message offers (request) or switches to (response); `None` without the `upgrade`
    /// option in `Connection`.
    ///
    /// `h2c` is left out of the list: a target that took it up would speak HTTP/2 past all rules
    /// of the bridge.
    fn offered(headers: &HeaderMap) -> Option<Self> {
        elements(headers, &header::CONNECTION)
            .find(|option| option.eq_ignore_ascii_case(b"upgrade"))?;
        let protocols: Vec<&[u8]> = elements(headers, &header::UPGRADE)
            .filter(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
            .collect();
        if protocols.is_empty() {
            return None;
        }
        HeaderValue::from_bytes(&protocols.join(b", ".as_slice())).ok().map(Self)
    }

    /// Puts the handshake back on a message for the next connection: `Connection` and `Upgrade`.
    pub fn restore(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, self.0.clone());
    }

    /// The value of the `Upgrade` field.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl fmt::Display for UpgradeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_bytes().escape_ascii())
    }
}

/// A caller may not take these away by naming them in `Connection`: they say where the message goes
/// and where it ends (RFC 9110 §7.6.1 forbids naming fields that are meant for all recipients).
static KEPT_IF_NAMED: [HeaderName; 2] = [header::HOST, header::CONTENT_LENGTH];

/// The `Proxy-Auth*` fields are between a client and the proxy that asked (RFC 9110 §11.7). No part
/// of the bridge asks, so they are a mistake here, and a target must not see such credentials nor
/// ask for them.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(connection: &'static str, upgrade: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static(connection));
        headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
        let protocol = strip_hop_by_hop(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
        protocol.map(|protocol| protocol.to_string())
    }

    #[test]
    fn an_upgrade_is_found_and_h2c_never() {
        let websocket = Some("websocket".to_owned());
        assert_eq!(offered("Upgrade", "websocket"), websocket);
        assert_eq!(offered("keep-alive, UPGRADE", "websocket"), websocket);
        assert_eq!(offered("upgrade, HTTP2-Settings", "H2C, websocket"), websocket);
        assert_eq!(offered("upgrade", "h2c"), None);
        assert_eq!(offered("upgrade", " ,H2c"), None);
        assert_eq!(offered("keep-alive", "websocket"), None);
        assert_eq!(offered("upgraded", "websocket"), None);
    }

    #[test]
    fn an_upgrade_can_be_put_back() {
        let mut headers = HeaderMap::new();
        UpgradeProtocol(HeaderValue::from_static("websocket")).restore(&mut headers);
        assert_eq!(
            strip_hop_by_hop(&mut headers).map(|p| p.to_string()).as_deref(),
            Some("websocket")
        );
    }

    #[test]
    fn an_odd_byte_hides_no_connection_option() {
        let mut headers = HeaderMap::new();
        let option = HeaderValue::from_bytes(b"\xff, x-secret").unwrap();
        headers.insert(header::CONNECTION, option);
        headers.insert("x-secret", HeaderValue::from_static("1"));
        strip_hop_by_hop(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }
}
