//! `X-Request-Id`: one name for a request in the logs of all that it meets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, HeaderName};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names requests that have no name yet: a random part of this process, and a number.
#[derive(Debug)]
pub struct RequestIds {
    /// 16 hexadecimal digits and a dash.
    process: Vec<u8>,
    next: Cell<u64>,
}

impl RequestIds {
    /// Names that no other process gives.
    pub fn new() -> Self {
        let process = RandomState::new().hash_one(std::process::id());
        Self { process: format!("{process:016x}-").into_bytes(), next: Cell::new(0) }
    }

    /// Keeps the name that a caller has given, or gives one.
    pub fn set(&self, headers: &mut HeaderMap) {
        headers.entry(X_REQUEST_ID).or_insert_with(|| {
            let number = self.next.replace(self.next.get().wrapping_add(1));
            let mut name = Vec::with_capacity(self.process.len() + MAX_DIGITS);
            name.extend_from_slice(&self.process);
            name.extend(hexadecimal(number));
            let name = HeaderValue::from_maybe_shared(Bytes::from(name));
            name.unwrap_or(HeaderValue::from_static("isthmus"))
        });
    }
}

/// Of a 64-bit number.
const MAX_DIGITS: usize = 16;

/// Eight digits, then as many as it takes. By hand, as it is done for each request.
fn hexadecimal(number: u64) -> impl Iterator<Item = u8> {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(4).max(8);
    let digit = move |place| b"0123456789abcdef".get((number >> (4 * place)) as usize & 15);
    (0..digits).rev().filter_map(digit).copied()
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_has_no_name() {
        let ids = RequestIds::new();
        let named = |given: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            given.map(|given| headers.insert(X_REQUEST_ID, HeaderValue::from_static(given)));
            ids.set(&mut headers);
            headers[X_REQUEST_ID].clone()
        };
        assert_eq!(named(Some("theirs")), "theirs");
        assert_ne!(named(None), named(None));
    }
}
