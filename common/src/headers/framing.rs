//! What a request must be before it may be forwarded: where it ends and whom it is for can be read
//! in one way only. This is the ground that request smuggling needs.

use http::{Method, Uri, Version};

use crate::error::ProxyError;
use crate::fields::Name;
use crate::http1::Framing;
use crate::message::RequestHead;

/// Refuses a request whose end two servers could see at different places (RFC 9112 §6), whichever
/// version it came in.
pub fn check_framing(head: &RequestHead) -> Result<(), ProxyError> {
    match Framing::of_request(&head.fields, head.version) {
        Ok(_) => Ok(()),
        Err(error) => Err(ProxyError::HttpRequest(error.to_string().into())),
    }
}

/// Makes `Host` the one place that names what the caller asked for.
///
/// The authority of an absolute URI replaces `Host` (RFC 9112 §3.2.2); HTTP/2 sends it as
/// `:authority`, and there both must agree (RFC 9113 §8.3.1).
///
/// Fails on an authority alone, which is for CONNECT (RFC 9112 §3.2.3) and which others take for a path;
/// if an HTTP/1.1 request has no `Host`, if any has several, or one that is not `host[:port]`; and if
/// anything but OPTIONS is for `*`, the server as a whole (RFC 9112 §3.2.4).
pub fn settle_host(head: &mut RequestHead) -> Result<(), ProxyError> {
    if head.uri.path() == "*" && head.method != Method::OPTIONS {
        return Err(refused("only OPTIONS can be for *"));
    }
    // In origin form a path is never empty (RFC 9112 §3.2.1), as that of `http://host?query` is.
    if let Some(query) = head.uri.path_and_query().filter(|path| path.as_str().starts_with('?')) {
        head.uri = Uri::try_from(["/", query.as_str()].concat())
            .map_err(|_| refused("the path is too long or not a path"))?;
    }
    let mut hosts = head.fields.all(Name::Host);
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(refused("the request has more than one Host"));
    }
    let Some(authority) = head.uri.authority() else {
        return match host {
            Some(host) if is_host(host) => Ok(()),
            Some(_) => Err(refused("the Host is not a host and port")),
            None if head.version == Version::HTTP_10 => Ok(()),
            None => Err(refused("the request has no Host")),
        };
    };
    if head.uri.scheme().is_none() && head.method != Method::CONNECT {
        return Err(refused("the target is neither a path nor a URI"));
    }
    if !is_host(authority.as_str().as_bytes()) {
        return Err(refused("the URI's authority is not a host and port"));
    }
    if head.version == Version::HTTP_2
        && host.is_some_and(|host| !authority.as_str().as_bytes().eq_ignore_ascii_case(host))
    {
        return Err(refused("the Host differs from the :authority"));
    }
    drop(hosts);
    head.fields.insert(Name::Host, authority.as_str().as_bytes());
    Ok(())
}

fn refused(why: &'static str) -> ProxyError {
    ProxyError::HttpRequest(why.into())
}

/// Whether this is `host[:port]`, or empty as RFC 9110 §7.2 allows.
///
/// RFC 3986 also allows `!$&'()*+,;=` in a name. No name has them, and `,` `;` `=` would separate
/// elements in the fields that this value is copied to.
fn is_host(bytes: &[u8]) -> bool {
    let (name, port) = match bytes.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, port) = rest.split_at(end);
            let address = std::str::from_utf8(address).unwrap_or_default();
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            (&b""[..], port.strip_prefix(b"]").unwrap_or_default())
        }
        None => bytes.split_at(bytes.iter().position(|byte| *byte == b':').unwrap_or(bytes.len())),
    };
    name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%".contains(byte))
        && match port {
            [] => true,
            [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use http::uri::PathAndQuery;

    use super::*;

    fn head(version: Version, uri: &str, fields: &[(&str, &[u8])]) -> RequestHead {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0.into()
    }

    /// Whether HTTP/1.1 lines such as `content-length: 5` pass.
    fn passes(lines: &[&str]) -> bool {
        let fields = lines.iter().map(|line| line.split_once(": ").unwrap());
        let fields: Vec<_> = fields.map(|(name, value)| (name, value.as_bytes())).collect();
        check_framing(&head(Version::HTTP_11, "/", &fields)).is_ok()
    }

    #[test]
    fn ambiguous_ends_are_refused() {
        for fine in ["content-length: 0", "content-length: 5", "transfer-encoding: Chunked"] {
            assert!(passes(&[fine]), "{fine}");
        }
        for bad in [
            &["content-length: +5"][..],
            &["content-length: -5"],
            &["content-length: "],
            &["content-length: 0x5"],
            &["content-length: 5, 5"],
            &["content-length: 99999999999999999999"],
            &["content-length: 5", "content-length: 5"],
            &["content-length: 5", "content-length: 6"],
            &["transfer-encoding: chunked", "content-length: 5"],
            &["transfer-encoding: gzip, chunked"],
            &["transfer-encoding: identity"],
            &["transfer-encoding: chunked", "transfer-encoding: chunked"],
        ] {
            assert!(!passes(bad), "{bad:?}");
        }
        let old = head(Version::HTTP_10, "/", &[("transfer-encoding", b"chunked")]);
        assert!(check_framing(&old).is_err());
    }

    #[test]
    fn a_path_is_never_empty() {
        let whole = head(Version::HTTP_11, "http://b?q", &[("host", b"b")]);
        let mut query = head(Version::HTTP_2, "/", &[("host", b"b")]);
        query.uri = Uri::from(PathAndQuery::from_static("?q"));
        for mut head in [whole, query] {
            settle_host(&mut head).unwrap();
            assert_eq!(head.uri.path_and_query().unwrap().as_str(), "/?q");
        }
    }

    #[test]
    fn one_valid_host_is_needed() {
        let settled = |version, uri, hosts: &[&[u8]]| {
            let fields: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
            let mut head = head(version, uri, &fields);
            settle_host(&mut head).ok().map(|()| head.fields.get(Name::Host).map(<[u8]>::to_vec))
        };
        let host = |text: &str| Some(Some(text.as_bytes().to_vec()));
        let v11 = |uri, hosts: &[&[u8]]| settled(Version::HTTP_11, uri, hosts);
        for good in ["shop", "shop.example:8050", "192.0.2.1", "[2001:db8::1]:80", "a_b", "", "h:"]
        {
            assert_eq!(v11("/", &[good.as_bytes()]), host(good), "{good}");
        }
        for bad in [
            "a b", "u@h", "h/x", "h:80:80", "h:http", "h:123456", "[::1", "[x]", "[::1]x", "h,i",
            "é",
        ] {
            assert_eq!(v11("/", &[bad.as_bytes()]), None, "{bad}");
        }
        assert_eq!(v11("/", &[]), None);
        assert_eq!(v11("*", &[b"a"]), None);
        assert_eq!(v11("/", &[b"a", b"a"]), None);
        assert_eq!(v11("http://b/", &[b"a"]), host("b"));
        assert_eq!(v11("http://u@b/", &[b"a"]), None);
        assert_eq!(v11("b", &[b"a"]), None);
        assert_eq!(settled(Version::HTTP_10, "/", &[]), Some(None));
        assert_eq!(settled(Version::HTTP_2, "http://b/", &[]), host("b"));
        assert_eq!(settled(Version::HTTP_2, "http://b/", &[b"B"]), host("b"));
        assert_eq!(settled(Version::HTTP_2, "http://b/", &[b"a"]), None);
    }
}
