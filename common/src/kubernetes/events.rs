//! Events on the ConfigMap: where `kubectl describe` shows what became of an edit.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use tokio::sync::watch;

use super::cluster::Cluster;
use crate::config::digest_of;

/// The longest note that an API server takes, in bytes.
const MAX_NOTE: usize = 1024;

/// Records events on the ConfigMap that the config comes from.
///
/// The same note about the same version of the ConfigMap is recorded once, whichever of several
/// replicas comes first. It needs the verb `create` on `events`; without it only the log tells.
pub struct Events {
    cluster: Cluster,
    component: &'static str,
    instance: String,
    object: watch::Receiver<ObjectReference>,
    /// The last event for each reason that was recorded.
    told: HashMap<&'static str, String>,
    failing: bool,
}

impl Events {
    /// Records in the name of `component`, such as `tunnel-send`; `instance` tells its replicas
    /// apart.
    pub fn new(
        cluster: Cluster,
        component: &'static str,
        instance: String,
        object: watch::Receiver<ObjectReference>,
    ) -> Self {
        Self { cluster, component, instance, object, told: HashMap::new(), failing: false }
    }

    /// Records a warning, for at most 5 s, unless it was the last one of `reason`, a word in
    /// CamelCase. Failures are logged once and change nothing.
    pub async fn warn(&mut self, reason: &'static str, note: &str) {
        let event = self.event(reason, note);
        let name = event.metadata.name.clone().unwrap_or_default();
        if self.told.get(reason) == Some(&name) {
            return;
        }
        let api =
            self.cluster.api::<Event>(event.metadata.namespace.as_deref().unwrap_or_default());
        let params = PostParams::default();
        match self.cluster.ask("create", "events", api.create(&params, &event)).await {
            Ok(_) => self.failing = false,
            // Another replica was first.
            Err(error) if error.code() == Some(409) => {}
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(%error, "events cannot be recorded; the log and /readyz tell all");
                }
                return;
            }
        }
        self.told.insert(reason, name);
    }

    fn event(&self, reason: &'static str, note: &str) -> Event {
        let object = self.object.borrow().clone();
        let key = format!(
            "{:?}{:?}{}{reason}{note}",
            object.uid, object.resource_version, self.component
        );
        let now = Time(Timestamp::now());
        Event {
            metadata: ObjectMeta {
                name: object
                    .name
                    .as_ref()
                    .map(|name| format!("{name}.{}", digest_of(key.as_bytes()))),
                namespace: object.namespace.clone(),
                ..ObjectMeta::default()
            },
            involved_object: object,
            type_: Some("Warning".to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(shortened(note)),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            source: Some(EventSource { component: Some(self.component.to_owned()), host: None }),
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

/// At most [`MAX_NOTE`] bytes, cut between characters.
fn shortened(note: &str) -> String {
    if note.len() <= MAX_NOTE {
        return note.to_owned();
    }
    let end = (0..=MAX_NOTE - '…'.len_utf8()).rev().find(|&end| note.is_char_boundary(end));
    format!("{}…", note.get(..end.unwrap_or_default()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_note_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let exact = "x".repeat(MAX_NOTE);
        assert_eq!(shortened(&exact), exact);
        for lead in ["", "x", "xx"] {
            let cut = shortened(&format!("{lead}{}", "ä".repeat(MAX_NOTE)));
            assert!((MAX_NOTE - 1..=MAX_NOTE).contains(&cut.len()), "{}", cut.len());
            assert!(cut.ends_with("ä…"));
        }
    }
}
