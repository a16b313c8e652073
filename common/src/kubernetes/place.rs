//! The names of ConfigMaps on the command line.

use std::fmt;
use std::str::FromStr;

/// A ConfigMap, written `NAMESPACE/NAME`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigMapName {
    /// The namespace.
    pub namespace: String,
    /// The name within it.
    pub name: String,
}

/// One key of a ConfigMap, written `NAMESPACE/NAME[:KEY]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigMapKey {
    /// The ConfigMap.
    pub map: ConfigMapName,
    /// The key; `config.json` unless written.
    pub key: String,
}

/// What is wrong with the name of a ConfigMap.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// The key has other characters than a ConfigMap's keys.
    #[error("the key is 1 to 253 of letters, digits, -, _ and .")]
    Key,
    /// The name is none.
    #[error("the name is 1 to 253 of a-z, 0-9, - and ., first and last a letter or digit")]
    Name,
    /// The namespace is none.
    #[error("the namespace is 1 to 63 of a-z, 0-9 and -, first and last a letter or digit")]
    Namespace,
    /// There is no `/`.
    #[error("write NAMESPACE/NAME, as in cnp-tunnel/tunnel-config")]
    Slash,
}

impl FromStr for ConfigMapName {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (namespace, name) = text.split_once('/').ok_or(PlaceError::Slash)?;
        if !is_name(namespace, 63) || namespace.contains('.') {
            return Err(PlaceError::Namespace);
        }
        if !is_name(name, 253) {
            return Err(PlaceError::Name);
        }
        Ok(Self { namespace: namespace.into(), name: name.into() })
    }
}

impl FromStr for ConfigMapKey {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let (map, key) = text.split_once(':').unwrap_or((text, "config.json"));
        let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if key.is_empty() || key.len() > 253 || !key.bytes().all(is_key) {
            return Err(PlaceError::Key);
        }
        Ok(Self { map: map.parse()?, key: key.into() })
    }
}

impl fmt::Display for ConfigMapName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for ConfigMapKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.map, self.key)
    }
}

/// Whether this is a DNS name as Kubernetes writes them: an RFC 1123 subdomain in lower case.
pub fn is_dns_name(text: &str) -> bool {
    is_name(text, 253)
}

fn is_name(text: &str, limit: usize) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    text.len() <= limit && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_may_be_left_out() {
        let short: ConfigMapKey = "cnp-tunnel/tunnel-config".parse().unwrap();
        assert_eq!(short.to_string(), "cnp-tunnel/tunnel-config:config.json");
        let full: ConfigMapKey = "a/b.c:other_Key.json".parse().unwrap();
        assert_eq!(full.to_string(), "a/b.c:other_Key.json");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, error) in [
            ("config", PlaceError::Slash),
            ("/b", PlaceError::Namespace),
            ("a.b/c", PlaceError::Namespace),
            ("A/b", PlaceError::Namespace),
            ("a/", PlaceError::Name),
            ("a/b/c", PlaceError::Name),
            ("a/-b", PlaceError::Name),
            ("a/b..c", PlaceError::Name),
            ("a/b:", PlaceError::Key),
            ("a/b:../c", PlaceError::Key),
        ] {
            assert_eq!(text.parse::<ConfigMapKey>(), Err(error), "{text}");
        }
    }
}
