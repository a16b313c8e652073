//! Who asked, and through what: `X-Forwarded-*`, `Forwarded` (RFC 7239) and `Via` (RFC 9110 §7.6.3).

use std::net::IpAddr;

use http::Version;

use super::{begins_like, spells};
use crate::error::ProxyError;
use crate::fields::{Field, Fields, Name};

/// How many bridges a request may cross.
///
/// Every bridge signs `Via` with the same name, so a loop is found by counting, whatever its length
/// and whichever instances it runs through, and costs at most this many passes.
pub const MAX_BRIDGES: usize = 10;

/// The address of a connection's other end, written out once for all its requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    text: String,
    is_v6: bool,
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { text: address.to_string(), is_v6: address.is_ipv6() }
    }
}

/// Where a request came from, as the connection shows it and not as the request says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Downstream<'a> {
    /// The other end of the connection.
    pub peer: &'a Address,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether the peer is a proxy whose own `X-Forwarded-*` and `Forwarded` are to be believed and
    /// continued; without trust they are dropped.
    pub trust: bool,
}

/// Says where the request came from. Expects a `Host` that [`settle_host`](super::settle_host) has
/// checked: it holds nothing that a quoted string would escape.
///
/// Without trust everything that speaks of an earlier client is dropped first, in any spelling; with
/// trust only misspelled fields are, and lists are continued.
pub fn set_forwarded(fields: &mut Fields, downstream: &Downstream<'_>) {
    let is_misspelled = |name: &[u8]| name.iter().any(|byte| matches!(byte, b'_' | b'.'));
    fields
        .retain(|field| !claims_origin(field) || (downstream.trust && !is_misspelled(field.name)));
    let peer = downstream.peer.text.as_bytes();
    let (before, after): (&[u8], &[u8]) = match downstream.peer.is_v6 {
        true => (b"for=\"[", b"]\""),
        false => (b"for=", b""),
    };
    let (scheme, proto): (&[u8], &[u8]) = match downstream.tls {
        true => (b"https", b";proto=https"),
        false => (b"http", b";proto=http"),
    };
    let host = fields.get(Name::Host).unwrap_or_default().to_vec();
    let key: &[u8] = if host.is_empty() { b"" } else { b";host=" };
    let quote: &[u8] = if host.iter().copied().all(is_token) { b"" } else { b"\"" };
    let element = [before, peer, after, key, quote, &host, quote, proto];
    continue_list(fields, Name::Forwarded, &element);
    continue_list(fields, Name::XForwardedFor, &[peer]);
    if !fields.contains(Name::XForwardedProto) {
        fields.append(Name::XForwardedProto, scheme);
    }
    if !host.is_empty() && !fields.contains(Name::XForwardedHost) {
        fields.append(Name::XForwardedHost, &host);
    }
}

/// Whether a field speaks of an earlier client, in any spelling.
pub(super) fn claims_origin(field: Field<'_>) -> bool {
    let name = field.name;
    begins_like(name, "x-forwarded-") || spells(name, "forwarded") || spells(name, "x-real-ip")
}

/// Signs a message that `version` was received in.
pub fn append_via(fields: &mut Fields, version: Version) {
    let via = match version {
        Version::HTTP_10 => "1.0 isthmus",
        Version::HTTP_2 => "2 isthmus",
        Version::HTTP_3 => "3 isthmus",
        _ => "1.1 isthmus",
    };
    fields.append(Name::Via, via.as_bytes());
}

/// Fails if the request has crossed [`MAX_BRIDGES`] bridges already.
pub fn check_loop(fields: &Fields) -> Result<(), ProxyError> {
    let bridges = fields
        .elements(Name::Via)
        .filter_map(|entry| {
            entry.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).nth(1)
        })
        .filter(|pseudonym| pseudonym.eq_ignore_ascii_case(b"isthmus"))
        .count();
    match bridges < MAX_BRIDGES {
        true => Ok(()),
        false => Err(ProxyError::LoopDetected { bridges }),
    }
}

/// Adds an element, given in parts, to a list as one line: many programs read only the first.
fn continue_list(fields: &mut Fields, name: Name, element: &[&[u8]]) {
    if !fields.contains(name) {
        return fields.append_parts(name, element);
    }
    let element = element.concat();
    let list: Vec<&[u8]> = fields.all(name).chain([element.as_slice()]).collect();
    let list = list.join(b", ".as_slice());
    fields.insert(name, &list);
}

/// RFC 9110 §5.6.2, as far as a host can hold such bytes.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(peer: &str, tls: bool, trust: bool, sent: &[(&str, &str)]) -> String {
        let mut fields = Fields::of(sent);
        let peer = Address::from(peer.parse::<IpAddr>().unwrap());
        set_forwarded(&mut fields, &Downstream { peer: &peer, tls, trust });
        fields.remove(Name::Host);
        let line = |field: Field<'_>| {
            format!("{}: {}", field.name.escape_ascii(), String::from_utf8_lossy(field.value))
        };
        let mut lines: Vec<_> = fields.iter().map(line).collect();
        lines.sort();
        lines.join("\n")
    }

    #[test]
    fn values_are_quoted_as_rfc_7239_asks() {
        assert_eq!(
            forwarded("2001:db8::1", true, false, &[("Host", "[2001:db8::2]:8050")]),
            "forwarded: for=\"[2001:db8::1]\";host=\"[2001:db8::2]:8050\";proto=https\n\
             x-forwarded-for: 2001:db8::1\n\
             x-forwarded-host: [2001:db8::2]:8050\n\
             x-forwarded-proto: https"
        );
        assert_eq!(
            forwarded("::ffff:192.0.2.1", false, false, &[]),
            "forwarded: for=192.0.2.1;proto=http\nx-forwarded-for: 192.0.2.1\nx-forwarded-proto: http"
        );
    }

    #[test]
    fn a_trusted_proxy_is_continued() {
        let sent = [
            ("Host", "shop"),
            ("X-Forwarded-For", "198.51.100.1"),
            ("X-Forwarded-For", "198.51.100.2"),
            ("X_Forwarded_For", "10.0.0.1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "public.example"),
            ("Forwarded", "for=198.51.100.1"),
        ];
        assert_eq!(
            forwarded("192.0.2.1", false, true, &sent),
            "forwarded: for=198.51.100.1, for=192.0.2.1;host=shop;proto=http\n\
             x-forwarded-for: 198.51.100.1, 198.51.100.2, 192.0.2.1\n\
             x-forwarded-host: public.example\n\
             x-forwarded-proto: https"
        );
    }

    #[test]
    fn a_loop_ends() {
        let mut fields = Fields::new();
        fields.append(Name::Via, b"1.1 other, 1.1  Isthmus (x), HTTP/2 isthmus");
        for _ in 2..MAX_BRIDGES {
            assert_eq!(check_loop(&fields), Ok(()));
            append_via(&mut fields, Version::HTTP_2);
        }
        assert_eq!(check_loop(&fields), Err(ProxyError::LoopDetected { bridges: MAX_BRIDGES }));
    }
}
