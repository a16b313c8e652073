//! The routing condition: the value that `send` stamps on a request and `receive` looks up.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Names one mapping, by default with its port number: 1 to 128 visible ASCII characters.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Condition(Arc<str>);

impl Condition {
    /// The longest condition, in bytes.
    pub const MAX_LEN: usize = 128;

    /// The condition as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&[u8]> for Condition {
    type Error = InvalidCondition;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let text = str::from_utf8(bytes).map_err(|_| InvalidCondition)?;
        match (1..=Self::MAX_LEN).contains(&text.len()) && bytes.iter().all(u8::is_ascii_graphic) {
            true => Ok(Self(text.into())),
            false => Err(InvalidCondition),
        }
    }
}

impl FromStr for Condition {
    type Err = InvalidCondition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.as_bytes().try_into()
    }
}

impl From<u16> for Condition {
    fn from(port: u16) -> Self {
        Self(port.to_string().into())
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
