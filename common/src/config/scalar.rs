//! A single JSON value, as far as a config has any.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

/// A text, a number, or what is neither. Display quotes it for a message, in at most some 80
/// characters, without control characters and without what may be secret.
pub(super) enum Scalar<'a> {
    Text(String),
    /// As written.
    Number(&'a str),
    /// Named for messages.
    Other(&'static str),
}

impl<'a> From<&'a RawValue> for Scalar<'a> {
    fn from(raw: &'a RawValue) -> Self {
        match raw.get().as_bytes().first() {
            Some(b'"') => match serde_json::from_str(raw.get()) {
                Ok(text) => Self::Text(text),
                Err(_) => Self::Other("a text with a broken escape"),
            },
            Some(b'{') => Self::Other("an object"),
            Some(b'[') => Self::Other("a list"),
            Some(b't') => Self::Other("true"),
            Some(b'f') => Self::Other("false"),
            Some(b'n') => Self::Other("null"),
            _ => Self::Number(raw.get()),
        }
    }
}

impl Scalar<'_> {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other(_) => None,
        }
    }

    /// The text or number as written, for values that may be either.
    pub(super) fn text_or_number(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Scalar<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{:?}", shorten(&redact(text))),
            Self::Number(number) => f.write_str(&shorten(number)),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// At most of a URL its scheme if there may be a password before an `@` or a token in a query.
fn redact(text: &str) -> Cow<'_, str> {
    if !text.contains(['@', '?', '#']) {
        return text.into();
    }
    match text.split_once("://") {
        Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            format!("{scheme}://***").into()
        }
        _ => "***".into(),
    }
}

fn shorten(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(80) {
        None => text.into(),
        Some(_) => text.chars().take(80).chain(['…']).collect::<String>().into(),
    }
}
