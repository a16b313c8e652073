//! What each verb but `watch` does.

use serde_json::{Value, json};

use super::Shared;
use super::object::Object;
use super::refusal::Refusal;
use super::request::Request;
use super::store::{Key, Store};

impl Shared {
    /// Answers with a status code and an object.
    pub(super) fn answer(&self, request: &Request) -> (u16, Value) {
        let mut store = self.store.lock().unwrap();
        let answer = request.answer(&mut store);
        self.changed.send_replace(store.version());
        match answer {
            Ok(value) if request.verb == "create" => (201, value),
            Ok(value) => (200, value),
            Err(refusal) => (refusal.code, refusal.status()),
        }
    }
}

impl Request {
    fn answer(&self, store: &mut Store) -> Result<Value, Refusal> {
        match self.verb {
            "get" => self.get(store),
            "list" => Ok(self.list(store)),
            "create" => self.create(store),
            "update" => self.update(store),
            "patch" if self.content_type == "application/apply-patch+yaml" => self.apply(store),
            "patch" => self.merge(store),
            "delete" => self.delete(store),
            other => Err(Refusal::bad(format!("no verb: {other}"))),
        }
    }

    fn key(&self) -> Key {
        (self.kind.plural, self.namespace.clone(), self.name.clone())
    }

    fn get(&self, store: &Store) -> Result<Value, Refusal> {
        let found = store.get(&self.key()).cloned();
        found.ok_or_else(|| Refusal::not_found(self.kind.plural, &self.name))
    }

    fn list(&self, store: &Store) -> Value {
        let items = store.list(self.kind.plural, &self.namespace);
        let items: Vec<_> = items.filter(|object| self.selects(object)).collect();
        json!({
            "kind": format!("{}List", self.kind.kind), "apiVersion": self.kind.api_version,
            "metadata": { "resourceVersion": store.version().to_string() }, "items": items,
        })
    }

    fn create(&self, store: &mut Store) -> Result<Value, Refusal> {
        self.kind.check_fields(&self.body)?;
        let mut value = self.body.clone();
        let metadata = &mut value["metadata"];
        if let Some(start) = metadata["generateName"].as_str() {
            metadata["name"] = json!(format!("{start}{:05}", store.version()));
        }
        let name = metadata["name"].as_str().unwrap_or_default().to_owned();
        if name.is_empty() {
            return Err(Refusal::invalid(
                self.kind.kind,
                "",
                vec![(
                    "metadata.name".to_owned(),
                    "Required value: name or generateName is required".to_owned(),
                )],
            ));
        }
        let key = (self.kind.plural, self.namespace.clone(), name);
        store.write(self.kind, &key, &|before| match before {
            Some(_) => {
                let message = format!("{} {:?} already exists", self.kind.plural, key.2);
                Err(Refusal::new(409, "AlreadyExists", message))
            }
            None => Ok(Some(self.empty().replace(value.clone(), self.manager()))),
        })
    }

    fn update(&self, store: &mut Store) -> Result<Value, Refusal> {
        self.kind.check_fields(&self.body)?;
        store.write(self.kind, &self.key(), &|before| {
            let before = self.must_be(before)?;
            self.check_version(before, &self.body["metadata"]["resourceVersion"])?;
            Ok(Some(before.replace(self.body.clone(), self.manager())))
        })
    }

    fn merge(&self, store: &mut Store) -> Result<Value, Refusal> {
        if self.content_type != "application/merge-patch+json" {
            return Err(Refusal::new(415, "UnsupportedMediaType", self.content_type.clone()));
        }
        store.write(self.kind, &self.key(), &|before| {
            let before = self.must_be(before)?;
            let mut value = before.value.clone();
            merge(&mut value, &self.body);
            self.kind.check_fields(&value)?;
            Ok(Some(before.replace(value, self.manager())))
        })
    }

    fn apply(&self, store: &mut Store) -> Result<Value, Refusal> {
        if !self.query.contains_key("fieldManager") {
            return Err(Refusal::bad("fieldManager is required for apply patch".to_owned()));
        }
        self.kind.check_fields(&self.body)?;
        if self.body["metadata"]["name"] != self.name {
            return Err(Refusal::bad("metadata.name must be the one of the request".to_owned()));
        }
        let (wanted, uid) = (&self.body, &self.body["metadata"]["uid"]);
        store.write(self.kind, &self.key(), &|before| {
            let found = before.map_or(&Value::Null, |before| &before.value["metadata"]["uid"]);
            if !uid.is_null() && uid != found {
                let message = format!("uid mismatch: {uid} is wanted, {found} is there");
                return Err(Refusal::conflict(message));
            }
            match before {
                Some(before) => before.apply(wanted, self.manager()).map(Some),
                None => self.empty().apply(wanted, self.manager()).map(Some),
            }
        })
    }

    fn delete(&self, store: &mut Store) -> Result<Value, Refusal> {
        let wanted = &self.body["preconditions"];
        store.write(self.kind, &self.key(), &|before| {
            let before = self.must_be(before)?;
            self.check_version(before, &wanted["resourceVersion"])?;
            let uid = &wanted["uid"];
            match uid.is_null() || *uid == before.value["metadata"]["uid"] {
                true => Ok(None),
                false => Err(Refusal::conflict("the UID in the precondition differs".to_owned())),
            }
        })
    }

    fn empty(&self) -> Object {
        Object::empty(self.kind.api_version, self.kind.kind)
    }

    fn must_be<'a>(&self, before: Option<&'a Object>) -> Result<&'a Object, Refusal> {
        before.ok_or_else(|| Refusal::not_found(self.kind.plural, &self.name))
    }

    fn check_version(&self, before: &Object, wanted: &Value) -> Result<(), Refusal> {
        let found = &before.value["metadata"]["resourceVersion"];
        match wanted.is_null() || wanted == found {
            true => Ok(()),
            false => Err(Refusal::conflict(format!(
                "Operation cannot be fulfilled on {} {:?}: the object has been modified",
                self.kind.plural, self.name
            ))),
        }
    }
}

/// RFC 7396.
fn merge(value: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *value = patch.clone();
        return;
    };
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(map) = value else { return };
    for (name, patch) in patch {
        match patch {
            Value::Null => _ = map.remove(name),
            patch => merge(map.entry(name).or_insert(Value::Null), patch),
        }
    }
}
