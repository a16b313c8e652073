//! One object, and who has set what in it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fields::{self, Path};
use super::refusal::Refusal;

#[derive(Clone, Debug)]
pub struct Object {
    pub value: Value,
    managers: Vec<Manager>,
}

#[derive(Clone, Debug)]
struct Manager {
    name: String,
    applies: bool,
    set: BTreeSet<Path>,
}

impl Object {
    /// Without any field.
    pub fn empty(api_version: &str, kind: &str) -> Self {
        let value = json!({ "apiVersion": api_version, "kind": kind, "metadata": {} });
        Self { value, managers: Vec::new() }
    }

    /// What `manager` writes takes the place of what is there.
    pub fn replace(&self, mut value: Value, manager: &str) -> Self {
        for kept in ["name", "namespace", "uid", "creationTimestamp"] {
            let old = &self.value["metadata"][kept];
            if !old.is_null() {
                value["metadata"][kept] = old.clone();
            }
        }
        let after = fields::fields(&value);
        let is_changed =
            |path: &Path| fields::find(&self.value, path) != fields::find(&value, path);
        let changed: BTreeSet<_> = after.iter().filter(|path| is_changed(path)).cloned().collect();
        let mut managers = self.managers.clone();
        for other in &mut managers {
            let is_mine = other.name == manager && !other.applies;
            let keeps = |path: &Path| after.contains(path) && (is_mine || !changed.contains(path));
            other.set.retain(keeps);
        }
        Self::own(&mut managers, manager, false).extend(changed);
        Self { value, managers }
    }

    /// What `manager` wants to be set is set, and what it no longer wants is not. What others have
    /// set otherwise is a conflict, which is never forced.
    pub fn apply(&self, wanted: &Value, manager: &str) -> Result<Self, Refusal> {
        let set = fields::fields(wanted);
        let value_of = |path| fields::find(wanted, path);
        let conflicts: Vec<_> = self
            .managers
            .iter()
            .filter(|other| !(other.name == manager && other.applies))
            .flat_map(|other| other.set.intersection(&set).map(move |path| (path, other)))
            .filter(|(path, _)| path.last().is_some_and(|last| last.starts_with("f:")))
            .filter(|(path, _)| fields::find(&self.value, path) != value_of(path))
            .map(|(path, other)| (fields::display(path), format!("conflict with {:?}", other.name)))
            .collect();
        if !conflicts.is_empty() {
            return Err(Refusal::managed_by_others(conflicts));
        }
        let (mut value, mut managers) = (self.value.clone(), self.managers.clone());
        let old = std::mem::replace(Self::own(&mut managers, manager, true), set.clone());
        for path in old.iter().filter(|path| !set.contains(*path)) {
            if !managers.iter().any(|other| other.set.contains(path)) {
                fields::remove(&mut value, path);
            }
        }
        for path in &set {
            fields::set(&mut value, path, value_of(path).cloned().unwrap_or_default());
        }
        Ok(Self { value, managers })
    }

    /// Shows who has set what.
    pub fn show_managers(&mut self) {
        self.managers.retain(|manager| !manager.set.is_empty());
        let shown = self.managers.iter().map(|manager| {
            json!({
                "manager": manager.name,
                "operation": if manager.applies { "Apply" } else { "Update" },
                "apiVersion": self.value["apiVersion"],
                "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": fields::encode(&manager.set),
            })
        });
        let shown = shown.collect();
        self.value["metadata"]["managedFields"] = Value::Array(shown);
    }

    fn own<'a>(
        managers: &'a mut Vec<Manager>,
        name: &str,
        applies: bool,
    ) -> &'a mut BTreeSet<Path> {
        let at = managers
            .iter()
            .position(|manager| manager.name == name && manager.applies == applies)
            .unwrap_or_else(|| {
                managers.push(Manager { name: name.to_owned(), applies, set: BTreeSet::new() });
                managers.len() - 1
            });
        &mut managers[at].set
    }
}
