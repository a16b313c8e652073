//! The routing header on its way: stamped by `send` last of all, taken off by `receive`.

use super::spells;
use crate::condition::{Condition, InvalidCondition};
use crate::error::ProxyError;
use crate::fields::{Fields, Name};

/// Says where the request goes. Whatever a caller put there before is gone, in any spelling.
///
/// Call it last: a later [`strip_hop_by_hop`](super::strip_hop_by_hop) would let a caller take the
/// stamp off with `Connection: X-Proxy-Condition`.
pub fn stamp(fields: &mut Fields, condition: &Condition) {
    remove_condition(fields);
    fields.append(Name::XProxyCondition, condition.as_str().as_bytes());
}

/// Takes the condition off a request, so that the target sees what a direct call would have sent.
///
/// Fails unless there is exactly one, and it is valid.
pub fn take_condition(fields: &mut Fields) -> Result<Condition, ProxyError> {
    let mut values = fields.all(Name::XProxyCondition);
    let condition = match (values.next(), values.next()) {
        (Some(value), None) => value
            .try_into()
            .map_err(|error: InvalidCondition| ProxyError::HttpRequest(error.to_string().into())),
        (None, _) => Err(ProxyError::HttpRequest("the request has no X-Proxy-Condition".into())),
        (Some(_), Some(_)) => {
            Err(ProxyError::HttpRequest("the request has more than one X-Proxy-Condition".into()))
        }
    };
    drop(values);
    remove_condition(fields);
    condition
}

/// Drops the routing header and all that a target or framework could take for it, such as
/// `X_Proxy_Condition`.
pub fn remove_condition(fields: &mut Fields) {
    fields.retain(|field| !spells(field.name, Name::XProxyCondition.as_str()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::headers::strip_hop_by_hop;

    #[test]
    fn the_stamp_replaces_every_spelling() {
        let mut fields = Fields::of(&[
            ("X-Proxy-Condition", "1"),
            ("x-proxy-condition", "2"),
            ("X_Proxy_Condition", "3"),
            ("x.proxy-condition", "4"),
            ("x-proxy-condition-2", "other"),
        ]);
        stamp(&mut fields, &Condition::from(8050));
        assert_eq!(fields.all(Name::XProxyCondition).collect::<Vec<_>>(), [b"8050"]);
        assert_eq!(fields.len(), 2, "{fields:?}");
    }

    #[test]
    fn a_connection_option_cannot_take_the_stamp_off() {
        let mut fields =
            Fields::of(&[("Connection", "X-Proxy-Condition"), ("X-Proxy-Condition", "1")]);
        strip_hop_by_hop(&mut fields);
        stamp(&mut fields, &Condition::from(8050));
        assert_eq!(fields.get(Name::XProxyCondition), Some(&b"8050"[..]));
        assert!(!fields.contains(Name::Connection));
    }

    #[test]
    fn exactly_one_valid_condition_is_taken() {
        let mut one = Fields::of(&[("X-Proxy-Condition", "8050"), ("x_proxy_condition", "8051")]);
        assert_eq!(take_condition(&mut one), Ok(Condition::from(8050)));
        assert!(one.is_empty(), "{one:?}");
        for list in [
            &[][..],
            &[("x_proxy_condition", "8050")],
            &[("x-proxy-condition", "80 50")],
            &[("x-proxy-condition", "8050"), ("x-proxy-condition", "8050")],
        ] {
            let mut fields = Fields::of(list);
            assert!(matches!(take_condition(&mut fields), Err(ProxyError::HttpRequest(_))));
            assert!(fields.is_empty(), "{fields:?}");
        }
    }
}
