//! Who asked, and through what: `X-Forwarded-*`, `Forwarded` (RFC 7239) and `Via` (RFC 9110 §7.6.3).

use std::fmt::Write;
use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, HeaderName, Version};

use super::{elements, remove_spellings};
use crate::error::ProxyError;

/// How many bridges a request may cross.
///
/// Every bridge signs `Via` with the same name, so a loop is found by counting, whatever its length
/// and whichever instances it runs through, and costs at most this many passes.
pub const MAX_BRIDGES: usize = 10;

/// Where a request came from, as the connection shows it and not as the request says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Downstream {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether the peer is a proxy whose own `X-Forwarded-*` and `Forwarded` are to be believed and
    /// continued; without trust they are dropped.
    pub trust: bool,
}

impl Downstream {
    fn scheme(&self) -> HeaderValue {
        HeaderValue::from_static(if self.tls { "https" } else { "http" })
    }

    /// One element of `Forwarded`. The host has been checked by
    /// [`settle_host`](super::settle_host): it holds nothing that a quoted string would escape.
    fn element(&self, peer: IpAddr, host: Option<&str>) -> String {
        let mut element = String::with_capacity(96);
        // Writing to a `String` cannot fail.
        let _ = match peer {
            IpAddr::V4(ip) => write!(element, "for={ip}"),
            IpAddr::V6(ip) => write!(element, "for=\"[{ip}]\""),
        };
        if let Some(host) = host {
            let quote = if host.bytes().all(is_token) { "" } else { "\"" };
            element.extend([";host=", quote, host, quote]);
        }
        element.push_str(if self.tls { ";proto=https" } else { ";proto=http" });
        element
    }
}

/// Says where the request came from. Expects a `Host` that [`settle_host`](super::settle_host) has
/// checked.
///
/// Without trust everything that speaks of an earlier client is dropped first, in any spelling; with
/// trust only misspelled fields are, and lists are continued.
pub fn set_forwarded(headers: &mut HeaderMap, downstream: &Downstream) {
    remove_spellings(headers, b"xf", |name, spelling| {
        let claims_origin = spelling.starts_with(b"x-forwarded-")
            || matches!(spelling, b"forwarded" | b"x-real-ip");
        claims_origin && !(downstream.trust && spelling == name.as_str().as_bytes())
    });
    let host = headers.get(header::HOST).filter(|host| !host.is_empty()).cloned();
    let peer = downstream.peer.to_canonical();
    let host_text = host.as_ref().and_then(|host| host.to_str().ok());
    continue_list(headers, header::FORWARDED, downstream.element(peer, host_text));
    continue_list(headers, X_FORWARDED_FOR, peer.to_string());
    headers.entry(X_FORWARDED_PROTO).or_insert_with(|| downstream.scheme());
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
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

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Adds an element to a list as one line: many programs read only the first.
fn continue_list(headers: &mut HeaderMap, name: HeaderName, element: String) {
    let mut list: Vec<&[u8]> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    let value = match list.is_empty() {
        true => HeaderValue::from_maybe_shared(Bytes::from(element)),
        false => {
            list.push(element.as_bytes());
            HeaderValue::from_bytes(&list.join(b", ".as_slice()))
        }
    };
    // Header values joined with a comma are a header value, so this is never an error.
    if let Ok(value) = value {
        headers.insert(name, value);
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
        set_forwarded(&mut headers, &Downstream { peer: peer.parse().unwrap(), tls, trust });
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
