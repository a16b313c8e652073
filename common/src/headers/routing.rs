//! The routing header on its way: stamped by `send` last of all, taken off by `receive`.

use http::HeaderMap;

use super::{remove_all, spells};
use crate::condition::{Condition, HEADER, InvalidCondition};
use crate::error::ProxyError;

/// Says where the request goes. Whatever a caller put there before is gone, in any spelling.
///
/// Call it last: a later [`strip_hop_by_hop`](super::strip_hop_by_hop) would let a caller take the
/// stamp off with `Connection: X-Proxy-Condition`.
pub fn stamp(headers: &mut HeaderMap, condition: &Condition) {
    remove_condition(headers);
    headers.insert(HEADER, condition.header_value().clone());
}

/// Takes the condition off a request, so that the target sees what a direct call would have sent.
///
/// Fails unless there is exactly one, and it is valid.
pub fn take_condition(headers: &mut HeaderMap) -> Result<Condition, ProxyError> {
    let mut values = headers.get_all(HEADER).into_iter();
    let condition = match (values.next(), values.next()) {
        (Some(value), None) => value
            .clone()
            .try_into()
            .map_err(|error: InvalidCondition| ProxyError::HttpRequest(error.to_string().into())),
        (None, _) => Err(ProxyError::HttpRequest("the request has no X-Proxy-Condition".into())),
        (Some(_), Some(_)) => {
            Err(ProxyError::HttpRequest("the request has more than one X-Proxy-Condition".into()))
        }
    };
    remove_condition(headers);
    condition
}

/// Drops the routing header and all that a target or framework could take for it, such as
/// `X_Proxy_Condition`.
pub fn remove_condition(headers: &mut HeaderMap) {
    remove_all(headers, |name| spells(name.as_str(), HEADER.as_str()));
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::{self, HeaderValue};

    use super::*;
    use crate::headers::strip_hop_by_hop;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static(value))
            })
            .collect()
    }

    #[test]
    fn the_stamp_replaces_every_spelling() {
        let mut map = headers(&[
            ("X-Proxy-Condition", "1"),
            ("x-proxy-condition", "2"),
            ("X_Proxy_Condition", "3"),
            ("x.proxy-condition", "4"),
            ("x-proxy-condition-2", "other"),
        ]);
        stamp(&mut map, &Condition::from(8050));
        assert_eq!(map.get_all(HEADER).iter().collect::<Vec<_>>(), ["8050"]);
        assert_eq!(map.len(), 2, "{map:?}");
    }

    #[test]
    fn a_connection_option_cannot_take_the_stamp_off() {
        let mut map = headers(&[("Connection", "X-Proxy-Condition"), ("X-Proxy-Condition", "1")]);
        strip_hop_by_hop(&mut map);
        stamp(&mut map, &Condition::from(8050));
        assert_eq!(map.get(HEADER), Some(&HeaderValue::from_static("8050")));
        assert!(!map.contains_key(header::CONNECTION));
    }

    #[test]
    fn exactly_one_valid_condition_is_taken() {
        let mut map = headers(&[("X-Proxy-Condition", "8050"), ("x_proxy_condition", "8051")]);
        assert_eq!(take_condition(&mut map), Ok(Condition::from(8050)));
        assert!(map.is_empty(), "{map:?}");
        for fields in [
            &[][..],
            &[("x_proxy_condition", "8050")],
            &[("x-proxy-condition", "80 50")],
            &[("x-proxy-condition", "8050"), ("x-proxy-condition", "8050")],
        ] {
            let mut map = headers(fields);
            assert!(matches!(take_condition(&mut map), Err(ProxyError::HttpRequest(_))));
            assert!(map.is_empty(), "{map:?}");
        }
    }
}
