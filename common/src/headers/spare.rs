//! Header maps and names that are made once and used for many messages.

use std::cell::RefCell;

use http::header::{HeaderMap, HeaderName, InvalidHeaderName};

/// Maps that are kept for reuse.
const KEPT: usize = 64;

/// A map for more fields than this is let go: its memory is for a rare message. The usual message of
/// up to 12 fields takes 1.3 KiB, for which malloc has no quick path.
const MAX_CAPACITY: usize = 48;

thread_local! {
    static MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

/// An empty map for about `fields` fields.
pub fn empty_map(fields: usize) -> HeaderMap {
    let spare = match fields <= MAX_CAPACITY {
        true => MAPS.with_borrow_mut(Vec::pop),
        false => None,
    };
    spare.unwrap_or_else(|| HeaderMap::with_capacity(fields))
}

/// Empties a map that has served its message, and keeps it for the next one.
pub fn recycle(map: &mut HeaderMap) {
    let mut map = std::mem::take(map);
    if (1..=MAX_CAPACITY).contains(&map.capacity()) {
        map.clear();
        MAPS.with_borrow_mut(|maps| {
            if maps.len() < KEPT {
                maps.push(map);
            }
        });
    }
}

/// A field's name. Those that the bridge itself adds to every request are found without allocating.
pub fn parse_name(name: &[u8]) -> Result<HeaderName, InvalidHeaderName> {
    Ok(match name {
        b"x-forwarded-for" => super::forwarded::X_FORWARDED_FOR,
        b"x-forwarded-host" => super::forwarded::X_FORWARDED_HOST,
        b"x-forwarded-proto" => super::forwarded::X_FORWARDED_PROTO,
        b"x-proxy-condition" => crate::condition::HEADER,
        b"x-request-id" => super::request_id::X_REQUEST_ID,
        name => return HeaderName::from_bytes(name),
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_recycled_map_is_empty() {
        let mut map = empty_map(4);
        map.append("x-a", HeaderValue::from_static("1"));
        map.append("x-a", HeaderValue::from_static("2"));
        recycle(&mut map);
        let again = empty_map(4);
        assert!(again.is_empty() && again.get("x-a").is_none());
        assert!(again.capacity() >= 4);
    }

    #[test]
    fn keeps_no_large_map() {
        MAPS.with_borrow_mut(Vec::clear);
        recycle(&mut HeaderMap::with_capacity(256));
        recycle(&mut HeaderMap::new());
        assert!(MAPS.with_borrow(Vec::is_empty));
    }

    #[test]
    fn names_are_what_they_say() {
        let own = ["for", "host", "proto"].map(|last| format!("x-forwarded-{last}"));
        let own = own.iter().map(String::as_str).chain(["x-proxy-condition", "x-request-id"]);
        for name in own.chain(["host", "x-other", "X-Forwarded-For"]) {
            let parsed = parse_name(name.as_bytes()).unwrap();
            assert_eq!(parsed, HeaderName::from_bytes(name.as_bytes()).unwrap());
            assert_eq!(parsed.as_str(), name.to_ascii_lowercase());
        }
        assert!(parse_name(b"a b").is_err());
    }
}
