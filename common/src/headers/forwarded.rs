//! Who asked, and through what: `X-Forwarded-*`, `Forwarded` (RFC 7239) and `Via` (RFC 9110 §7.6.3).

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, Entry, HeaderValue};
use http::{HeaderMap, HeaderName, Version};

use super::{begins_like, elements, remove_all, spells};
use crate::error::ProxyError;

/// How many bridges a request may cross.
///
/// Every bridge signs `Via` with the same name, so a loop is found by counting, whatever its length
/// and whichever instances it runs through, and costs at most this many passes.
pub const MAX_BRIDGES: usize = 10;

/// The address of a connection's other end, written out once for all its requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Address {
    text: HeaderValue,
    is_v6: bool,
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let text = HeaderValue::from_maybe_shared(Bytes::from(address.to_string()));
        // Digits, dots and colons are a header value.
        let text = text.unwrap_or(HeaderValue::from_static("unknown"));
        Self { text, is_v6: address.is_ipv6() }
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

impl Downstream<'_> {
    fn scheme(&self) -> HeaderValue {
        HeaderValue::from_static(if self.tls { "https" } else { "http" })
    }

    /// One element of `Forwarded`. The host has been checked by
    /// [`settle_host`](super::settle_host): it holds nothing that a quoted string would escape.
    fn element(&self, host: Option<&HeaderValue>) -> Vec<u8> {
        let (before, after): (&[u8], &[u8]) = match self.peer.is_v6 {
            true => (b"for=\"[", b"]\""),
            false => (b"for=", b""),
        };
        let host = host.map(HeaderValue::as_bytes);
        let quote: &[u8] = match host.is_some_and(|host| !host.iter().copied().all(is_token)) {
            true => b"\"",
            false => b"",
        };
        let proto: &[u8] = if self.tls { b";proto=https" } else { b";proto=http" };
        let key: &[u8] = if host.is_some() { b";host=" } else { b"" };
        let host = host.unwrap_or_default();
        [before, self.peer.text.as_bytes(), after, key, quote, host, quote, proto].concat()
    }
}

/// Says where the request came from. Expects a `Host` that [`settle_host`](super::settle_host) has
/// checked.
///
/// Without trust everything that speaks of an earlier client is dropped first, in any spelling; with
/// trust only misspelled fields are, and lists are continued.
pub fn set_forwarded(headers: &mut HeaderMap, downstream: &Downstream<'_>) {
    remove_all(headers, |name| {
        let name = name.as_str();
        claims_origin(name) && (!downstream.trust || name.contains(['_', '.']))
    });
    let host = headers.get(header::HOST).filter(|host| !host.is_empty()).cloned();
    let element = HeaderValue::from_maybe_shared(Bytes::from(downstream.element(host.as_ref())));
    // Made of header values, it is one.
    if let Ok(element) = element {
        continue_list(headers, header::FORWARDED, element);
    }
    continue_list(headers, X_FORWARDED_FOR, downstream.peer.text.clone());
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| downstream.scheme());
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// Whether a field speaks of an earlier client, in any spelling.
pub(super) fn claims_origin(name: &str) -> bool {
    begins_like(name, "x-forwarded-") || spells(name, "forwarded") || spells(name, "x-real-ip")
}

/// Signs a message that `version` was received in.
pub fn append_via(headers: &mut HeaderMap, version: Version) {
    let via = match version {
        Version::HTTP_10 => "1.0 isthmus",
        Version::HTTP_2 => "2 isthmus",
        Version::HTTP_3 => "3 isthmus",
        _ => "1.1 isthmus",
    };
    headers.append(header::VIA, HeaderValue::from_static(via));
}

/// Fails if the request has crossed [`MAX_BRIDGES`] bridges already.
pub fn check_loop(headers: &HeaderMap) -> Result<(), ProxyError> {
    let bridges = elements(headers, &header::VIA)
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

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
pub(super) const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Adds an element to a list as one line: many programs read only the first.
fn continue_list(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(element);
        }
        Entry::Occupied(mut entry) => {
            let list: Vec<&[u8]> =
                entry.iter().chain([&element]).map(HeaderValue::as_bytes).collect();
            // Header values joined with a comma are a header value, so this is never an error.
            if let Ok(list) = HeaderValue::from_bytes(&list.join(b", ".as_slice())) {
                entry.insert(list);
            }
        }
    }
}

/// RFC 9110 §5.6.2, as far as a host can hold such bytes.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(
        peer: &str,
        tls: bool,
        trust: bool,
        sent: &[(&'static str, &'static str)],
    ) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_static(value));
        }
        let peer = Address::from(peer.parse::<IpAddr>().unwrap());
        set_forwarded(&mut headers, &Downstream { peer: &peer, tls, trust });
        headers.remove(header::HOST);
        let mut lines: Vec<_> =
            headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
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
        let mut headers = HeaderMap::new();
        headers.append(
            header::VIA,
            HeaderValue::from_static("1.1 other, 1.1  Isthmus (x), HTTP/2 isthmus"),
        );
        for _ in 2..MAX_BRIDGES {
            assert_eq!(check_loop(&headers), Ok(()));
            append_via(&mut headers, Version::HTTP_2);
        }
        assert_eq!(check_loop(&headers), Err(ProxyError::LoopDetected { bridges: MAX_BRIDGES }));
    }
}
