//! Turns a request to the bridge into a request to the target.
//!
//! The path is never normalised or decoded: `//`, `%2F`, `..;` and an empty query arrive as sent.
//! ([`http::Uri`] has dropped a `#fragment` before, and refuses a few bytes, such as `<`, that
//! RFC 3986 does not allow either.)

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, Method, Version};
use tunnel_common::config::{HostPolicy, Route};
use tunnel_common::error::ProxyError;

/// Aims a request at the route's target, for any version of HTTP: its URI is then the path that the
/// target sees, and `Host` the name.
pub(super) fn aim(parts: &mut Parts, route: &Route) -> Result<(), ProxyError> {
    if parts.method == Method::CONNECT {
        return Err(ProxyError::HttpRequest("CONNECT has no meaning for an HTTP target".into()));
    }
    parts.uri = Uri::from(join(&route.target.base_path, &parts.uri)?);
    let host = match &route.host {
        HostPolicy::Caller if parts.headers.contains_key(header::HOST) => return Ok(()),
        HostPolicy::Fixed(host) => host.clone(),
        HostPolicy::Caller | HostPolicy::Target => authority_value(&route.target.authority)?,
    };
    parts.headers.insert(header::HOST, host);
    Ok(())
}

/// Last touches for an HTTP/1.1 connection. Undoes [`for_http2`].
pub(super) fn for_http1(parts: &mut Parts) -> Result<(), ProxyError> {
    parts.version = Version::HTTP_11;
    if let Some(authority) = parts.uri.authority() {
        parts.headers.insert(header::HOST, authority_value(authority)?);
        parts.uri = Uri::from(join("", &parts.uri)?);
    }
    set_connection(&mut parts.headers);
    Ok(())
}

/// Last touches for an HTTP/2 connection: what HTTP/1.1 says in `Host` is in the URI, and nothing
/// speaks of the connection (RFC 9113 §8.2.2, §8.3.1). An `Upgrade` is dropped, as a server that
/// does not know the protocol would.
pub(super) fn for_http2(parts: &mut Parts, route: &Route) -> Result<(), ProxyError> {
    parts.version = Version::HTTP_2;
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        parts.headers.remove(name);
    }
    let Some(host) = parts.headers.remove(header::HOST) else { return Ok(()) };
    let authority = Authority::try_from(host.as_bytes());
    let scheme = match route.target.scheme {
        tunnel_common::config::Scheme::Https => Scheme::HTTPS,
        _ => Scheme::HTTP,
    };
    parts.uri = Uri::builder()
        .scheme(scheme)
        .authority(authority.unwrap_or_else(|_| route.target.authority.clone()))
        .path_and_query(join("", &parts.uri)?)
        .build()
        .map_err(|error| ProxyError::HttpRequest(error.to_string().into()))?;
    Ok(())
}

/// Puts `base` before the path, with one slash between, as Go's `NewSingleHostReverseProxy` does.
/// `*` (RFC 9112 §3.2.4) is the server itself and has no path.
fn join(base: &str, uri: &Uri) -> Result<PathAndQuery, ProxyError> {
    let Some(path) = uri.path_and_query() else {
        return base_only(base);
    };
    if base.is_empty() || path == "*" {
        return Ok(path.clone());
    }
    let joined = match path.as_str().starts_with('/') {
        true => [base, path.as_str()].concat(),
        false => [base, "/", path.as_str()].concat(),
    };
    PathAndQuery::try_from(joined).map_err(|_| bad_path())
}

fn base_only(base: &str) -> Result<PathAndQuery, ProxyError> {
    PathAndQuery::try_from([base, "/"].concat()).map_err(|_| bad_path())
}

fn bad_path() -> ProxyError {
    ProxyError::HttpRequest("the path is too long or not a path".into())
}

fn authority_value(authority: &Authority) -> Result<HeaderValue, ProxyError> {
    HeaderValue::from_str(authority.as_str())
        .map_err(|_| ProxyError::Configuration("the target's host is not ASCII".into()))
}

/// A sender of `Upgrade` or `TE` names it in `Connection` (RFC 9110 §7.8, §10.1.4).
fn set_connection(headers: &mut HeaderMap) {
    let options = match (headers.contains_key(header::UPGRADE), headers.contains_key(header::TE)) {
        (true, true) => "upgrade, te",
        (true, false) => "upgrade",
        (false, true) => "te",
        (false, false) => return,
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static(options));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Request;
    use tunnel_common::condition::Condition;
    use tunnel_common::config::{self, Target, TargetTls};

    use super::*;

    fn route(base: &str, host: HostPolicy) -> Route {
        Route {
            condition: Condition::from(8050),
            port: 8050,
            name: "8050".to_owned(),
            cluster: None,
            health: None,
            target: Target {
                scheme: config::Scheme::H2c,
                authority: "target:81".parse().unwrap(),
                base_path: base.to_owned(),
                tls: TargetTls::default(),
            },
            host,
            downstream: config::Downstream::default(),
            timeout: Duration::from_secs(1),
            connect_timeout: Duration::from_secs(1),
        }
    }

    fn aimed(method: Method, uri: &str, route: &Route) -> Parts {
        let request = Request::builder().method(method).uri(uri).header(header::HOST, "caller");
        let mut parts = request.body(()).unwrap().into_parts().0;
        aim(&mut parts, route).unwrap();
        parts
    }

    #[test]
    fn the_base_path_is_joined_and_the_rest_is_exact() {
        for (base, asked, expected) in [
            ("", "/", "/"),
            ("", "/a?", "/a?"),
            ("", "//a//b/../%2F;x?y=%zz&?", "//a//b/../%2F;x?y=%zz&?"),
            ("/base", "/", "/base/"),
            ("/base", "/a", "/base/a"),
            ("/base", "//a", "/base//a"),
            ("/base", "/..;/a?q", "/base/..;/a?q"),
            ("/base", "http://other/a", "/base/a"),
            ("/base", "http://other", "/base/"),
            ("", "http://other?q", "/?q"),
        ] {
            let route = route(base, HostPolicy::Caller);
            let mut parts = aimed(Method::GET, asked, &route);
            assert_eq!(parts.uri.to_string(), expected, "{base} {asked}");
            for_http2(&mut parts, &route).unwrap();
            assert_eq!(parts.uri.to_string(), format!("http://caller{expected}"));
            assert!(!parts.headers.contains_key(header::HOST));
            for_http1(&mut parts).unwrap();
            assert_eq!(parts.uri.to_string(), expected, "back");
            assert_eq!(parts.headers[header::HOST], "caller");
        }
    }

    #[test]
    fn an_asterisk_stays_one() {
        let route = route("/base", HostPolicy::Caller);
        let mut parts = aimed(Method::OPTIONS, "*", &route);
        assert_eq!(parts.uri.to_string(), "*");
        for_http2(&mut parts, &route).unwrap();
        assert_eq!(parts.uri.path_and_query().map(PathAndQuery::as_str), Some("*"));
        for_http1(&mut parts).unwrap();
        assert_eq!(parts.uri.to_string(), "*");
    }

    #[test]
    fn the_host_is_as_the_mapping_says() {
        let fixed = HostPolicy::Fixed(HeaderValue::from_static("fixed"));
        for (policy, host) in
            [(HostPolicy::Caller, "caller"), (HostPolicy::Target, "target:81"), (fixed, "fixed")]
        {
            let parts = aimed(Method::GET, "/", &route("", policy));
            assert_eq!(parts.headers[header::HOST], host);
        }
        let mut parts = Request::get("/").body(()).unwrap().into_parts().0;
        aim(&mut parts, &route("", HostPolicy::Caller)).unwrap();
        assert_eq!(parts.headers[header::HOST], "target:81");
    }

    #[test]
    fn what_a_connection_needs_is_added() {
        let route = route("", HostPolicy::Caller);
        let mut parts = aimed(Method::GET, "/", &route);
        parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        parts.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        for_http1(&mut parts).unwrap();
        assert_eq!(parts.headers[header::CONNECTION], "upgrade, te");
        for_http2(&mut parts, &route).unwrap();
        assert_eq!(parts.headers.keys().collect::<Vec<_>>(), [header::TE]);
    }
}
