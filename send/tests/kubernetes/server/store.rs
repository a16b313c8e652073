//! What the server keeps: the objects, and what changed in which order.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::kinds::Kind;
use super::object::Object;
use super::refusal::Refusal;

/// Where an object is: plural, namespace, name.
pub type Key = (&'static str, String, String);

#[derive(Default)]
pub struct Store {
    objects: BTreeMap<Key, Object>,
    version: u64,
    /// Watches from before this version are too old.
    forgotten: u64,
    changes: Vec<Change>,
}

#[derive(Clone)]
pub struct Change {
    pub version: u64,
    pub key: Key,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// What a write found, and what it makes of it; `None` deletes.
pub type Write<'a> = &'a dyn Fn(Option<&Object>) -> Result<Option<Object>, Refusal>;

impl Store {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, key: &Key) -> Option<&Value> {
        self.objects.get(key).map(|object| &object.value)
    }

    pub fn list<'a>(
        &'a self,
        plural: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Value> {
        let objects = self.objects.iter().filter(move |(key, _)| {
            key.0 == plural && (namespace.is_empty() || key.1 == namespace)
        });
        objects.map(|(_, object)| &object.value)
    }

    /// All changes after that version, if they are known.
    pub fn since(&self, version: u64) -> Result<impl Iterator<Item = &Change>, Refusal> {
        if version < self.forgotten {
            let message = format!("too old resource version: {version} ({})", self.forgotten);
            return Err(Refusal::gone(&message));
        }
        Ok(self.changes.iter().filter(move |change| change.version > version))
    }

    /// Forgets all changes up to now.
    pub fn compact(&mut self) {
        self.forgotten = self.version;
        self.changes.clear();
    }

    /// Writes one object. Answers with what is there then, or was there last.
    pub fn write(&mut self, kind: &Kind, key: &Key, write: Write<'_>) -> Result<Value, Refusal> {
        let before = self.objects.get(key);
        let after = write(before)?;
        let before = before.map(|object| object.value.clone());
        let Some(mut object) = after else {
            self.objects.remove(key);
            return Ok(self.note(key, before, None));
        };
        object.show_managers();
        let version = self.version + 1;
        kind.complete(&mut object.value, version);
        kind.validate(&object.value, &key.1)?;
        let metadata = &mut object.value["metadata"];
        metadata["name"] = json!(key.2);
        if !key.1.is_empty() {
            metadata["namespace"] = json!(key.1);
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("00000000-0000-0000-0000-{version:012}"));
            metadata["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        metadata["resourceVersion"] = before
            .as_ref()
            .map_or(json!(""), |before| before["metadata"]["resourceVersion"].clone());
        // What changes nothing is no change.
        if before.as_ref() == Some(&object.value) {
            return Ok(object.value);
        }
        object.value["metadata"]["resourceVersion"] = json!(version.to_string());
        let after = object.value.clone();
        self.objects.insert(key.clone(), object);
        Ok(self.note(key, before, Some(after)))
    }

    fn note(&mut self, key: &Key, before: Option<Value>, after: Option<Value>) -> Value {
        self.version += 1;
        let result = after.clone().or_else(|| before.clone()).unwrap_or_default();
        self.changes.push(Change { version: self.version, key: key.clone(), before, after });
        result
    }
}
