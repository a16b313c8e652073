//! Objects of one kind, kept up to date by list and watch.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout};

use super::cluster::Cluster;
use super::error::ApiError;
use crate::backoff::Backoff;

/// How long the server is asked to keep a watch open: what a lost connection may hide, and how
/// long a permission that was taken away may still have an effect.
const WATCH_SECONDS: u32 = 60;
/// Without a word for this long, the connection of a watch counts as lost.
const SILENCE_LIMIT: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 15);

/// Which objects to follow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// All of the namespace.
    All,
    /// Those with this label and value.
    Label(&'static str, String),
    /// The one of this name. RBAC allows that by `resourceNames`.
    Name(String),
}

/// Follows the objects of kind `K` that a selector names.
///
/// It lists, watches from there on, and lists anew when the server has forgotten where it was (410
/// Gone). Streaming lists are not used. After a failure the first retry is immediate; further ones
/// wait for up to 5 s.
pub struct Follower<K> {
    cluster: Cluster,
    api: Api<K>,
    selector: Selector,
    objects: BTreeMap<String, K>,
    is_listed: bool,
    /// Where the watch goes on; `None` before a list.
    version: Option<String>,
    watch: Option<Watch<K>>,
    retry_at: Option<Instant>,
    backoff: Backoff,
    failing: bool,
}

struct Watch<K> {
    events: Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<K>>> + Send>>,
    begun: Instant,
}

impl<K> Follower<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    /// Asks nothing yet.
    pub fn new(cluster: Cluster, namespace: &str, selector: Selector) -> Self {
        Self {
            api: cluster.api(namespace),
            cluster,
            selector,
            objects: BTreeMap::new(),
            is_listed: false,
            version: None,
            watch: None,
            retry_at: None,
            backoff: Backoff::default(),
            failing: false,
        }
    }

    /// The objects by their name, as they were last seen.
    pub fn objects(&self) -> &BTreeMap<String, K> {
        &self.objects
    }

    /// Whether the server has said what there is; before, no object is known.
    pub fn is_listed(&self) -> bool {
        self.is_listed
    }

    /// Waits until the objects may have changed, which after an error also means that all is well
    /// again. An error leaves the objects as they were; the next call tries again after a pause.
    /// Cancel safe.
    pub async fn changed(&mut self) -> Result<(), ApiError> {
        loop {
            match self.step().await {
                Ok(false) => {}
                Ok(true) => {
                    self.failing = false;
                    return Ok(());
                }
                Err(error) if error.is_gone() => self.forget(),
                Err(error) => {
                    self.failing = true;
                    self.pause(Duration::ZERO);
                    return Err(error);
                }
            }
        }
    }

    /// Says whether there may be news.
    async fn step(&mut self) -> Result<bool, ApiError> {
        if let Some(at) = self.retry_at {
            sleep_until(at).await;
            self.retry_at = None;
        }
        let Some(version) = &self.version else {
            self.list().await?;
            return Ok(true);
        };
        if self.watch.is_none() {
            let selected = self.selector.watch();
            let events = self.api.watch(&selected, version);
            let events = self.cluster.ask("watch", &K::plural(&()), events).await?;
            self.watch = Some(Watch { events: Box::pin(events), begun: Instant::now() });
            return Ok(self.failing);
        }
        self.event().await
    }

    async fn list(&mut self) -> Result<(), ApiError> {
        let selected = self.selector.list();
        let list = self.cluster.ask("list", &K::plural(&()), self.api.list(&selected)).await?;
        self.version = Some(list.metadata.resource_version.unwrap_or_default());
        let items = list.items.into_iter();
        self.objects =
            items.map(|item| (item.meta().name.clone().unwrap_or_default(), item)).collect();
        self.is_listed = true;
        Ok(())
    }

    async fn event(&mut self) -> Result<bool, ApiError> {
        let Some(watch) = &mut self.watch else { return Ok(false) };
        let next = poll_fn(|context| watch.events.as_mut().poll_next(context));
        let error = match timeout(SILENCE_LIMIT, next).await {
            Ok(Some(Ok(WatchEvent::Error(status)))) => kube::Error::Api(status),
            Ok(Some(Ok(event))) => return Ok(self.take(event)),
            Ok(Some(Err(error))) => error,
            Ok(None) | Err(_) => {
                let lived = watch.begun.elapsed();
                self.pause(lived);
                return Ok(false);
            }
        };
        self.watch = None;
        Err(self.cluster.explain("watch", &K::plural(&()), error))
    }

    fn take(&mut self, event: WatchEvent<K>) -> bool {
        let (object, is_there) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, true),
            WatchEvent::Deleted(object) => (object, false),
            WatchEvent::Bookmark(bookmark) => {
                self.version = Some(bookmark.metadata.resource_version);
                return false;
            }
            WatchEvent::Error(_) => return false,
        };
        self.version = object.meta().resource_version.clone().or(self.version.take());
        let name = object.meta().name.clone().unwrap_or_default();
        match is_there {
            true => self.objects.insert(name, object),
            false => self.objects.remove(&name),
        };
        true
    }

    fn forget(&mut self) {
        tracing::debug!(resource = %K::plural(&()), "the watch is too old; listing anew");
        self.version = None;
        self.pause(Duration::ZERO);
    }

    fn pause(&mut self, lived: Duration) {
        self.watch = None;
        self.retry_at = Some(Instant::now() + self.backoff.after(lived));
    }
}

impl Selector {
    fn list(&self) -> ListParams {
        let all = ListParams::default();
        match self {
            Self::All => all,
            Self::Label(label, value) => all.labels(&format!("{label}={value}")),
            Self::Name(name) => all.fields(&format!("metadata.name={name}")),
        }
    }

    fn watch(&self) -> WatchParams {
        let all = WatchParams::default().timeout(WATCH_SECONDS);
        match self {
            Self::All => all,
            Self::Label(label, value) => all.labels(&format!("{label}={value}")),
            Self::Name(name) => all.fields(&format!("metadata.name={name}")),
        }
    }
}
