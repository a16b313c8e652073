//! The config from a ConfigMap, followed through the API.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;

use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference};
use tokio::sync::watch;

use super::cluster::Cluster;
use super::error::ApiError;
use super::events::Events;
use super::follower::{Follower, Selector};
use super::place::ConfigMapKey;
use crate::config::watch::{Publisher, Watched};
use crate::config::{Config, Problems};

/// Why there is no config to begin with.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The API server does not give it.
    #[error("ConfigMap {place}: {reason}")]
    Api {
        /// Where it should be.
        place: ConfigMapKey,
        /// What is in the way.
        reason: Box<ApiError>,
    },
    /// What is there is no config.
    #[error("ConfigMap {place}: {reason}")]
    Content {
        /// Where it should be.
        place: ConfigMapKey,
        /// What is wrong with it.
        reason: ContentError,
    },
}

/// Why a ConfigMap has no config.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ContentError {
    /// It has no such key.
    #[error("it has no key {key:?}, only {}: add the key, or name another one", list(.others))]
    Key {
        /// The key.
        key: String,
        /// The keys that it has.
        others: Vec<String>,
    },
    /// There is no ConfigMap.
    #[error("it does not exist: create it, or name another one")]
    Missing,
    /// The text has mistakes.
    #[error(transparent)]
    Problems(#[from] Problems),
}

/// A ConfigMap that had a good config when it was opened.
pub struct Opened {
    /// What it comes to.
    pub watched: Watched,
    /// The ConfigMap, for those who refer to it; without a UID while there is none.
    pub object: watch::Receiver<ObjectReference>,
    source: Source,
}

/// What the config is read from, time and again.
struct Source {
    place: ConfigMapKey,
    follower: Follower<ConfigMap>,
    publisher: Publisher,
    seen: watch::Sender<ObjectReference>,
    /// The content that was taken up or refused last.
    settled: Content,
    refusal: Option<String>,
}

impl Opened {
    /// Reads the config at `place`. Fails when it cannot be had now or is broken.
    pub async fn open(cluster: Cluster, place: ConfigMapKey) -> Result<Self, OpenError> {
        let name = Selector::Name(place.map.name.clone());
        let mut follower = Follower::new(cluster, &place.map.namespace, name);
        if let Err(reason) = follower.changed().await {
            return Err(OpenError::Api { place, reason: Box::new(reason) });
        }
        let settled = Content::of(follower.objects(), &place);
        let config = match settled.parse(&place.key) {
            Ok(config) => config,
            Err(reason) => return Err(OpenError::Content { place, reason }),
        };
        let (publisher, watched) = Publisher::new(place.to_string(), config);
        let (seen, object) = watch::channel(reference(follower.objects(), &place));
        let source = Source { place, follower, publisher, seen, settled, refusal: None };
        Ok(Self { watched, object, source })
    }

    /// Follows the ConfigMap for as long as anybody holds a receiver of the config.
    ///
    /// New content counts at once, for the API has no half-written objects. What is broken leaves
    /// the last good config serving, and so does a ConfigMap or a permission that is gone.
    pub fn follow(self, events: Events) -> impl Future<Output = ()> + Send + 'static {
        self.source.run(events)
    }
}

impl Source {
    async fn run(mut self, mut events: Events) {
        loop {
            let changed = tokio::select! {
                () = self.publisher.closed() => return,
                changed = self.follower.changed() => changed,
            };
            match changed {
                Ok(()) => self.look(&mut events).await,
                Err(error) => self.doubt(&error),
            }
        }
    }

    async fn look(&mut self, events: &mut Events) {
        let content = Content::of(self.follower.objects(), &self.place);
        self.seen.send_replace(reference(self.follower.objects(), &self.place));
        if content == self.settled {
            // What was in doubt has turned out to be as it was.
            self.publisher.doubt(self.refusal.clone());
            return;
        }
        let config = content.parse(&self.place.key);
        self.settled = content;
        match config {
            Ok(config) => {
                self.refusal = None;
                self.publisher.apply(config);
            }
            Err(error) => {
                let refusal = error.to_string();
                self.publisher.refuse(&refusal);
                events.warn("ConfigRefused", &refusal).await;
                self.refusal = Some(refusal);
            }
        }
    }

    fn doubt(&self, error: &ApiError) {
        let reason = error.to_string();
        if self.publisher.doubt(Some(reason.clone())) {
            tracing::warn!(config_map = %self.place, reason, "cannot be followed; trying on");
        }
    }
}

/// What is in the ConfigMap under the key.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Content {
    Missing,
    /// The keys that there are instead.
    Others(Vec<String>),
    Text(String),
}

impl Content {
    fn of(objects: &BTreeMap<String, ConfigMap>, place: &ConfigMapKey) -> Self {
        let Some(map) = objects.get(&place.map.name) else { return Self::Missing };
        match map.data.as_ref().and_then(|data| data.get(&place.key)) {
            Some(text) => Self::Text(text.clone()),
            None => Self::Others(map.data.iter().flatten().map(|(key, _)| key.clone()).collect()),
        }
    }

    fn parse(&self, key: &str) -> Result<Config, ContentError> {
        match self {
            Self::Missing => Err(ContentError::Missing),
            Self::Others(others) => {
                Err(ContentError::Key { key: key.to_owned(), others: others.clone() })
            }
            // The key is no path to anything, so relative paths start where the process runs.
            Self::Text(text) => Ok(Config::parse(text, Path::new(key))?),
        }
    }
}

fn reference(objects: &BTreeMap<String, ConfigMap>, place: &ConfigMapKey) -> ObjectReference {
    let metadata = objects.get(&place.map.name).map(|map| map.metadata.clone()).unwrap_or_default();
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        name: Some(place.map.name.clone()),
        namespace: Some(place.map.namespace.clone()),
        resource_version: metadata.resource_version,
        uid: metadata.uid,
        ..ObjectReference::default()
    }
}

/// At most ten, for a message.
fn list(keys: &[String]) -> String {
    match keys {
        [] => "none at all".to_owned(),
        keys => keys.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}
