//! Fields that belong to one connection and end with it (RFC 9110 §7.6.1).

use std::fmt;

use crate::fields::{Fields, Name, Names};

/// Removes all that is meant for this connection only, and returns the protocol of an `Upgrade`.
///
/// That is first each field that `Connection` names, then the fields of RFC 9110 §7.6.1 and
/// §11.7. `TE: trailers` is put back where it was sent: gRPC servers ask for it, and trailers do
/// cross the bridge. `Trailer` stays: it is end to end (§6.6.2).
pub fn strip_hop_by_hop(fields: &mut Fields) -> Option<UpgradeProtocol> {
    // Most messages have none.
    if !fields.has_any(HOP_BY_HOP) {
        return None;
    }
    let upgrade = UpgradeProtocol::offered(fields);
    let trailers = fields.elements(Name::Te).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    // The usual one needs no allocation: what it names goes anyway.
    let named = fields.elements(Name::Connection).filter(|option| *option != b"keep-alive");
    let named = sorted(named);
    fields.retain(|field| match field.known {
        Some(name) if HOP_BY_HOP.contains(name) => false,
        Some(name) if KEPT_IF_NAMED.contains(name) => true,
        _ => !has(&named, field.name),
    });
    if trailers {
        fields.append(Name::Te, b"trailers");
    }
    upgrade
}

/// Whether a 101 switches to what the request offers (RFC 9110 §7.8): to at least one protocol, and to
/// no other.
pub fn is_offered(request: &Fields, answer: &Fields) -> bool {
    let (offered, taken) =
        (sorted(request.elements(Name::Upgrade)), sorted(answer.elements(Name::Upgrade)));
    !taken.is_empty() && taken.iter().all(|protocol| has(&offered, protocol))
}

/// Elements in lower case and in order: a list may have ten thousands, and be compared with as many.
fn sorted<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut sorted: Vec<_> = elements.map(<[u8]>::to_ascii_lowercase).collect();
    sorted.sort_unstable();
    sorted
}

fn has(sorted: &[Vec<u8>], element: &[u8]) -> bool {
    sorted.binary_search_by(|other| other.as_slice().cmp(element)).is_ok()
}

/// The protocols of an `Upgrade` that may be forwarded, such as `websocket`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpgradeProtocol(Vec<u8>);

impl UpgradeProtocol {
    /// What the message offers (request) or switches to (response); `None` without the `upgrade`
    /// option in `Connection`.
    ///
    /// `h2c` is left out of the list: a target that took it up would speak HTTP/2 past all rules
    /// of the bridge.
    fn offered(fields: &Fields) -> Option<Self> {
        fields.elements(Name::Connection).find(|option| option.eq_ignore_ascii_case(b"upgrade"))?;
        let protocols: Vec<&[u8]> = fields
            .elements(Name::Upgrade)
            .filter(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))
            .collect();
        (!protocols.is_empty()).then(|| Self(protocols.join(b", ".as_slice())))
    }

    /// Puts the handshake back on a message for the next connection: `Connection` and `Upgrade`.
    pub fn restore(&self, fields: &mut Fields) {
        fields.insert(Name::Connection, b"upgrade");
        fields.insert(Name::Upgrade, &self.0);
    }
}

impl fmt::Display for UpgradeProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// A caller may not take these away by naming them in `Connection`: they say where the message goes
/// and where it ends (RFC 9110 §7.6.1 forbids naming fields that are meant for all recipients).
const KEPT_IF_NAMED: Names = Names::of(&[Name::Host, Name::ContentLength]);

/// The `Proxy-Auth*` fields are between a client and the proxy that asked (RFC 9110 §11.7). No part
/// of the bridge asks, so they are a mistake here, and a target must not see such credentials nor
/// ask for them.
pub(super) const HOP_BY_HOP: Names = Names::of(&[
    Name::Connection,
    Name::Http2Settings,
    Name::KeepAlive,
    Name::ProxyAuthenticate,
    Name::ProxyAuthenticationInfo,
    Name::ProxyAuthorization,
    Name::ProxyConnection,
    Name::Te,
    Name::TransferEncoding,
    Name::Upgrade,
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(connection: &str, upgrade: &str) -> Option<String> {
        let mut fields = Fields::new();
        fields.append(Name::Connection, connection.as_bytes());
        fields.append(Name::Upgrade, upgrade.as_bytes());
        let protocol = strip_hop_by_hop(&mut fields);
        assert!(fields.is_empty(), "{fields:?}");
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
    fn a_switch_is_to_what_was_offered() {
        let upgrade = |protocols: &str| {
            let mut fields = Fields::new();
            fields.append(Name::Upgrade, protocols.as_bytes());
            fields
        };
        let request = upgrade("websocket, x/2");
        assert!(is_offered(&request, &upgrade("WebSocket")));
        assert!(is_offered(&request, &upgrade("x/2, websocket")));
        for other in ["h2c", "x", "websocket, h2c"] {
            assert!(!is_offered(&request, &upgrade(other)), "{other}");
        }
        assert!(!is_offered(&request, &Fields::new()) && !is_offered(&request, &upgrade(",")));
        assert!(!is_offered(&Fields::new(), &upgrade("websocket")));
    }

    #[test]
    fn an_upgrade_can_be_put_back() {
        let mut fields = Fields::new();
        UpgradeProtocol(b"websocket".to_vec()).restore(&mut fields);
        assert_eq!(
            strip_hop_by_hop(&mut fields).map(|p| p.to_string()).as_deref(),
            Some("websocket")
        );
    }

    #[test]
    fn an_odd_byte_hides_no_connection_option() {
        let mut fields = Fields::new();
        fields.append(Name::Connection, b"\xff, X-Secret");
        fields.push(b"x-secret", b"1").unwrap();
        strip_hop_by_hop(&mut fields);
        assert!(fields.is_empty(), "{fields:?}");
    }
}
