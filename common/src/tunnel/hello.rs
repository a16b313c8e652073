//! What the two ends tell each other: HELLO once, NOTICE whenever something changes.
//!
//! Both are JSON. Fields that a release does not know are ignored, so that releases can differ.

use serde::{Deserialize, Serialize};

/// The first frame in each direction.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Hello {
    /// Names the process; another one at each start.
    pub instance: String,
    /// Which of the instance's connections this is; each has a number of its own.
    pub connection: u32,
    /// The cluster that the sender belongs to, as it claims; the peer's certificate must cover it.
    pub cluster: Option<String>,
    /// Name and release, for logs.
    pub software: String,
    /// The digest of the sender's config.
    pub config: String,
    /// The conditions that the sender's config maps.
    pub conditions: Vec<String>,
    /// How many streams the sender takes at a time.
    pub max_streams: u32,
    /// How many bytes of DATA the sender takes on a new stream before it has granted more.
    pub initial_credit: u32,
}

/// What has changed since HELLO. An absent field has not.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Notice {
    /// The sender is about to leave: open no more streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
    /// The digest of the sender's new config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The conditions that the sender's new config maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<String>>,
}

impl Hello {
    /// Takes over what `notice` says has changed.
    pub(crate) fn update(&mut self, notice: Notice) {
        if let Some(config) = notice.config {
            self.config = config;
        }
        if let Some(conditions) = notice.conditions {
            self.conditions = conditions;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_fields_of_other_releases() {
        let hello: Hello = serde_json::from_str(r#"{"instance": "i", "later": {"x": 1}}"#).unwrap();
        assert_eq!(hello, Hello { instance: "i".into(), ..Hello::default() });
    }
}
