//! `X-Request-Id`: one name for a request in the logs of all that it meets.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use crate::fields::{Fields, Name};

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
    pub fn set(&self, fields: &mut Fields) {
        if fields.contains(Name::XRequestId) {
            return;
        }
        let number = self.next.replace(self.next.get().wrapping_add(1));
        let mut digits = [b'0'; MAX_DIGITS];
        let digits = hexadecimal(number, &mut digits);
        fields.append_parts(Name::XRequestId, &[&self.process, digits]);
    }
}

/// Of a 64-bit number.
const MAX_DIGITS: usize = 16;

/// Eight digits, then as many as it takes. By hand, as it is done for each request.
fn hexadecimal(number: u64, room: &mut [u8; MAX_DIGITS]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, digit) in room.iter_mut().rev().enumerate() {
        *digit = DIGITS.get((number >> (4 * place)) as usize & 15).copied().unwrap_or(b'0');
    }
    let len = (u64::BITS - number.leading_zeros()).div_ceil(4).max(8) as usize;
    room.get(MAX_DIGITS - len..).unwrap_or_default()
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
        let named = |given: Option<&str>| {
            let mut fields = Fields::new();
            given.into_iter().for_each(|given| fields.append(Name::XRequestId, given.as_bytes()));
            ids.set(&mut fields);
            assert_eq!(fields.len(), 1);
            String::from_utf8(fields.get(Name::XRequestId).unwrap().to_vec()).unwrap()
        };
        assert_eq!(named(Some("theirs")), "theirs");
        assert_ne!(named(None), named(None));
    }
}
