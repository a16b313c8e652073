//! Turns a request to the bridge into a request to the target.
//!
//! The path is never normalised or decoded: `//`, `%2F`, `..;` and an empty query arrive as sent.
//! ([`http::Uri`] has dropped a `#fragment` before, and refuses a few bytes, such as `<`, that
//! RFC 3986 does not allow either.)

use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Version};
use tunnel_common::config::{HostPolicy, Route};
use tunnel_common::error::ProxyError;
use tunnel_common::fields::{Fields, Name};
use tunnel_common::message::RequestHead;

/// Aims a request at the route's target, for any version of HTTP: its URI is then the path that the
/// target sees, and `Host` the name.
pub(super) fn aim(head: &mut RequestHead, route: &Route) -> Result<(), ProxyError> {
    if head.method == Method::CONNECT {
        return Err(ProxyError::HttpRequest("CONNECT has no meaning for an HTTP target".into()));
    }
    head.uri = Uri::from(join(&route.target.base_path, &head.uri)?);
    let host = match &route.host {
        HostPolicy::Caller if head.fields.contains(Name::Host) => return Ok(()),
        HostPolicy::Fixed(host) => host.as_str(),
        HostPolicy::Caller | HostPolicy::Target => route.target.authority.as_str(),
    };
    head.fields.insert(Name::Host, host.as_bytes());
    Ok(())
}

/// Last touches for an HTTP/1.1 connection. Undoes [`for_http2`].
pub(super) fn for_http1(head: &mut RequestHead) -> Result<(), ProxyError> {
    head.version = Version::HTTP_11;
    if let Some(authority) = head.uri.authority() {
        head.fields.insert(Name::Host, authority.as_str().as_bytes());
        head.uri = Uri::from(join("", &head.uri)?);
    }
    set_connection(&mut head.fields);
    Ok(())
}

/// Last touches for an HTTP/2 connection: what HTTP/1.1 says in `Host` is in the URI, and nothing
/// speaks of the connection (RFC 9113 §8.2.2, §8.3.1). An `Upgrade` is dropped, as a server that
/// does not know the protocol would.
pub(super) fn for_http2(head: &mut RequestHead, route: &Route) -> Result<(), ProxyError> {
    head.version = Version::HTTP_2;
    for name in [Name::Connection, Name::TransferEncoding, Name::Upgrade] {
        head.fields.remove(name);
    }
    let Some(host) = head.fields.get(Name::Host) else { return Ok(()) };
    let authority = Authority::try_from(host);
    head.fields.remove(Name::Host);
    let scheme = match route.target.scheme {
        tunnel_common::config::Scheme::Https => Scheme::HTTPS,
        _ => Scheme::HTTP,
    };
    head.uri = Uri::builder()
        .scheme(scheme)
        .authority(authority.unwrap_or_else(|_| route.target.authority.clone()))
        .path_and_query(join("", &head.uri)?)
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
    let has_path = path.as_str().starts_with('/');
    if (base.is_empty() && has_path) || path == "*" {
        return Ok(path.clone());
    }
    let joined = match has_path {
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

/// A sender of `Upgrade` or `TE` names it in `Connection` (RFC 9110 §7.8, §10.1.4).
fn set_connection(fields: &mut Fields) {
    let options: &[u8] = match (fields.contains(Name::Upgrade), fields.contains(Name::Te)) {
        (true, true) => b"upgrade, te",
        (true, false) => b"upgrade",
        (false, true) => b"te",
        (false, false) => return,
    };
    fields.insert(Name::Connection, options);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tunnel_common::condition::Condition;
    use tunnel_common::config::{self, Target, TargetTls};

    use super::*;

    fn route(base: &str, host: HostPolicy) -> Route {
        Route {
            condition: Condition::from(8050),
            port: 8050,
            name: "8050".to_owned(),
            node_port: None,
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

    fn aimed(method: Method, uri: &str, route: &Route) -> RequestHead {
        let mut head = RequestHead::get(uri.parse().unwrap());
        head.method = method;
        head.fields.append(Name::Host, b"caller");
        aim(&mut head, route).unwrap();
        head
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
            let mut head = aimed(Method::GET, asked, &route);
            let target = head.uri.path_and_query().map(PathAndQuery::as_str);
            assert_eq!(target, Some(expected), "{base} {asked}");
            for_http2(&mut head, &route).unwrap();
            assert_eq!(head.uri.to_string(), format!("http://caller{expected}"));
            assert!(!head.fields.contains(Name::Host));
            for_http1(&mut head).unwrap();
            assert_eq!(head.uri.to_string(), expected, "back");
            assert_eq!(head.fields.get(Name::Host), Some(&b"caller"[..]));
        }
    }

    #[test]
    fn an_asterisk_stays_one() {
        let route = route("/base", HostPolicy::Caller);
        let mut head = aimed(Method::OPTIONS, "*", &route);
        assert_eq!(head.uri.to_string(), "*");
        for_http2(&mut head, &route).unwrap();
        assert_eq!(head.uri.path_and_query().map(PathAndQuery::as_str), Some("*"));
        for_http1(&mut head).unwrap();
        assert_eq!(head.uri.to_string(), "*");
    }

    #[test]
    fn the_host_is_as_the_mapping_says() {
        let fixed = HostPolicy::Fixed("fixed".parse().unwrap());
        for (policy, host) in
            [(HostPolicy::Caller, "caller"), (HostPolicy::Target, "target:81"), (fixed, "fixed")]
        {
            let head = aimed(Method::GET, "/", &route("", policy));
            assert_eq!(head.fields.get(Name::Host), Some(host.as_bytes()));
        }
        let mut head = RequestHead::get(Uri::from_static("/"));
        aim(&mut head, &route("", HostPolicy::Caller)).unwrap();
        assert_eq!(head.fields.get(Name::Host), Some(&b"target:81"[..]));
    }

    #[test]
    fn what_a_connection_needs_is_added() {
        let route = route("", HostPolicy::Caller);
        let mut head = aimed(Method::GET, "/", &route);
        head.fields.append(Name::Upgrade, b"websocket");
        head.fields.append(Name::Te, b"trailers");
        for_http1(&mut head).unwrap();
        assert_eq!(head.fields.get(Name::Connection), Some(&b"upgrade, te"[..]));
        for_http2(&mut head, &route).unwrap();
        assert_eq!(head.fields.iter().map(|field| field.name).collect::<Vec<_>>(), [b"te"]);
    }
}
