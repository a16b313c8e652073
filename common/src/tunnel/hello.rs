//! What the two ends tell each other: HELLO once, NOTICE whenever something changes.
//!
//! Both are JSON. Fields that a release does not know are ignored, so that releases can differ.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;
use crate::config::Config;

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
    /// From `tunnel-send`: the instances of its siblings that it is connected to, so that a
    /// `tunnel-receive` learns of all.
    pub siblings: Vec<String>,
    /// From `tunnel-send`: the clusters that it has tunnels to, so that a sibling knows what it can
    /// relay. A cluster whose transport proves no name is the empty text.
    pub clusters: Vec<String>,
    /// From `tunnel-receive`: the conditions whose target does not answer its probes.
    pub unwell: Vec<String>,
    /// The sender takes no streams: not yet, as long as it has not decided to keep the tunnel, or no
    /// more.
    pub draining: bool,
    /// How many streams the sender takes at a time.
    pub max_streams: u32,
    /// How many bytes of DATA the sender takes on a new stream before it has granted more.
    pub initial_credit: u32,
}

/// What has changed since HELLO. An absent field has not.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Notice {
    /// Whether the sender takes no streams; true when it is about to leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draining: Option<bool>,
    /// The digest of the sender's new config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// The conditions that the sender's new config maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<Vec<String>>,
    /// The siblings that the sender is connected to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub siblings: Option<Vec<String>>,
    /// The clusters that the sender has tunnels to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clusters: Option<Vec<String>>,
    /// The conditions whose targets do not answer their probes now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unwell: Option<Vec<String>>,
}

/// The longest text that a peer may say of itself, in bytes; it ends up in logs.
pub(crate) const MAX_TEXT: usize = 256;

/// More conditions than there are ports make no sense, nor does any other list as long.
pub(crate) const MAX_LIST: usize = 65_536;

impl Hello {
    /// Takes up a new config of this end, and says what a peer is to be told of it.
    pub fn set_config(&mut self, config: &Config) -> Notice {
        config.digest().clone_into(&mut self.config);
        self.conditions = config.conditions().map(Condition::to_string).collect();
        Notice {
            config: Some(self.config.clone()),
            conditions: Some(self.conditions.clone()),
            ..Notice::default()
        }
    }

    /// Reads a HELLO. `None` if it is malformed or has texts or lists of an absurd length.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let hello: Self = serde_json::from_slice(json).ok()?;
        let Self { instance, cluster, software, config, .. } = &hello;
        let texts = [Some(instance), cluster.as_ref(), Some(software), Some(config)];
        let lists = [&hello.conditions, &hello.siblings, &hello.clusters, &hello.unwell];
        (are_short(texts) && lists.iter().all(|list| is_bounded(list))).then_some(hello)
    }

    /// Takes over what `notice` says has changed.
    pub fn update(&mut self, notice: Notice) {
        if let Some(config) = notice.config {
            self.config = config;
        }
        self.draining = notice.draining.unwrap_or(self.draining);
        let lists = [
            (notice.conditions, &mut self.conditions),
            (notice.siblings, &mut self.siblings),
            (notice.clusters, &mut self.clusters),
            (notice.unwell, &mut self.unwell),
        ];
        for (new, list) in lists {
            if let Some(new) = new {
                *list = new;
            }
        }
    }
}

impl Notice {
    /// Reads a NOTICE. `None` if it is malformed or has texts or lists of an absurd length.
    pub(crate) fn parse(json: &[u8]) -> Option<Self> {
        let notice: Self = serde_json::from_slice(json).ok()?;
        let lists = [&notice.conditions, &notice.siblings, &notice.clusters, &notice.unwell];
        let bounded = lists.into_iter().flatten().all(|list| is_bounded(list));
        (are_short([notice.config.as_ref()]) && bounded).then_some(notice)
    }
}

/// What is in a list may end up in logs, too.
fn is_bounded(list: &[String]) -> bool {
    list.len() <= MAX_LIST && list.iter().all(|text| text.len() <= MAX_TEXT)
}

fn are_short<const N: usize>(texts: [Option<&String>; N]) -> bool {
    texts.iter().flatten().all(|text| text.len() <= MAX_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_absurd_texts() {
        let hello = |len| {
            let hello = Hello { software: "x".repeat(len), ..Hello::default() };
            Hello::parse(&serde_json::to_vec(&hello).unwrap())
        };
        assert!(hello(MAX_TEXT).is_some());
        assert!(hello(MAX_TEXT + 1).is_none());
        assert!(Hello::parse(b"").is_none());
        assert!(Notice::parse(b"{\"config\": 1}").is_none());
    }

    #[test]
    fn takes_fields_of_other_releases() {
        let hello = Hello::parse(br#"{"instance": "i", "later": {"x": 1}}"#).unwrap();
        assert_eq!(hello, Hello { instance: "i".into(), ..Hello::default() });
    }
}
