//! The routing condition: the value that `send` stamps on a request and `receive` looks up.

use std::fmt;
use std::str::FromStr;

use http::HeaderName;
use http::header::HeaderValue;

/// The header that carries the [`Condition`] through the tunnel.
pub const HEADER: HeaderName = HeaderName::from_static("x-proxy-condition");

/// Names one mapping, by default with its port number: 1 to 128 visible ASCII characters.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Condition(HeaderValue);

impl Condition {
    /// The longest condition, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The condition as text.
    pub fn as_str(&self) -> &str {
        // A condition is visible ASCII by construction, which is always a string.
        self.0.to_str().unwrap_or_default()
    }

    /// The value to stamp on a request; cloning it is cheap.
    pub fn header_value(&self) -> &HeaderValue {
        &self.0
    }
}

impl TryFrom<HeaderValue> for Condition {
    type Error = InvalidCondition;

    fn try_from(value: HeaderValue) -> Result<Self, Self::Error> {
        let bytes = value.as_bytes();
        if bytes.is_empty() || bytes.len() > Self::MAX_LEN {
            return Err(InvalidCondition);
        }
        match bytes.iter().all(u8::is_ascii_graphic) {
            true => Ok(Self(value)),
            false => Err(InvalidCondition),
        }
    }
}

impl FromStr for Condition {
    type Err = InvalidCondition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        HeaderValue::from_str(text).map_err(|_| InvalidCondition)?.try_into()
    }
}

impl From<u16> for Condition {
    fn from(port: u16) -> Self {
        Self(HeaderValue::from(port))
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not a [`Condition`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a condition is 1 to 128 visible ASCII characters")]
pub struct InvalidCondition;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_ports_and_names() {
        assert_eq!(Condition::from(8050).as_str(), "8050");
        assert_eq!("8050".parse(), Ok(Condition::from(8050)));
        assert_eq!("a".repeat(128).parse::<Condition>().map(|c| c.as_str().len()), Ok(128));
    }

    #[test]
    fn refuses_what_a_header_could_hide() {
        for text in ["", " ", "80 50", "8050\r\nHost: x", "805\u{e9}", "\u{7f}", &"a".repeat(129)] {
            assert_eq!(text.parse::<Condition>(), Err(InvalidCondition), "{text:?}");
        }
    }
}
