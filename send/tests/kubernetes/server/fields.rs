//! Which manager has set which field: the sets behind `managedFields`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// Where a field is; a step is written as in `fieldsV1`: `f:NAME`, or `k:{…}` for an item.
pub type Path = Vec<String>;

/// Lists whose items have keys. Every other list is one value.
fn keys_of(path: &[String]) -> Option<&'static [&'static str]> {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    match path.as_slice() {
        ["f:metadata", "f:ownerReferences"] => Some(&["uid"]),
        ["f:spec", "f:ports"] => Some(&["port", "protocol"]),
        _ => None,
    }
}

/// What identifies an object is nobody's.
fn is_identity(path: &[String]) -> bool {
    let path: Vec<_> = path.iter().map(String::as_str).collect();
    matches!(
        path.as_slice(),
        ["f:apiVersion" | "f:kind"]
            | [
                "f:metadata",
                "f:name"
                    | "f:namespace"
                    | "f:uid"
                    | "f:resourceVersion"
                    | "f:creationTimestamp"
                    | "f:generateName"
                    | "f:managedFields"
            ]
    )
}

/// All fields that have a value, and the items with keys.
pub fn fields(object: &Value) -> BTreeSet<Path> {
    let mut found = BTreeSet::new();
    collect(object, &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, path: &mut Path, found: &mut BTreeSet<Path>) {
    if is_identity(path) {
        return;
    }
    match (value, keys_of(path)) {
        (Value::Object(map), _) if !map.is_empty() => {
            for (name, value) in map {
                path.push(format!("f:{name}"));
                collect(value, path, found);
                path.pop();
            }
        }
        (Value::Array(items), Some(keys)) => {
            for item in items {
                path.push(step(item, keys));
                found.insert(path.clone());
                collect(item, path, found);
                path.pop();
            }
        }
        // Without a field of its own, an object says nothing.
        (Value::Null | Value::Object(_), _) => {}
        _ => _ = found.insert(path.clone()),
    }
}

fn step(item: &Value, keys: &[&str]) -> String {
    let key: Map<_, _> = keys.iter().map(|&key| (key.to_owned(), item[key].clone())).collect();
    format!("k:{}", Value::Object(key))
}

/// Where in a list the item with these keys is.
fn position(list: &Value, step: &str) -> Option<usize> {
    let keys: Map<String, Value> = serde_json::from_str(&step[2..]).unwrap();
    let has_keys = |item: &Value| keys.iter().all(|(key, value)| item[key] == *value);
    list.as_array()?.iter().position(has_keys)
}

/// The value there.
pub fn find<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().enumerate().try_fold(object, |value, (depth, step)| match step.strip_prefix("f:") {
        Some(name) => value.get(name),
        None => {
            keys_of(&path[..depth])?;
            value.as_array()?.get(position(value, step)?)
        }
    })
}

/// Puts a value there, with all that it is in.
pub fn set(object: &mut Value, path: &[String], value: Value) {
    let mut place = object;
    for (depth, step) in path.iter().enumerate() {
        place = match (step.strip_prefix("f:"), keys_of(&path[..depth])) {
            (Some(name), _) => &mut place[name],
            (None, Some(_)) => {
                if !place.is_array() {
                    *place = json!([]);
                }
                let at = position(place, step);
                let items = place.as_array_mut().unwrap();
                let at = at.unwrap_or_else(|| {
                    items.push(serde_json::from_str(&step[2..]).unwrap());
                    items.len() - 1
                });
                &mut items[at]
            }
            (None, None) => unreachable!("only lists with keys have items"),
        };
    }
    // An item is there once its keys are.
    if path.last().is_some_and(|last| last.starts_with("f:")) {
        *place = value;
    }
}

/// Takes the value away that is there.
pub fn remove(object: &mut Value, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let Some(keys) = find(object, parents).map(|_| keys_of(parents)) else { return };
    let mut place = object;
    for (depth, step) in parents.iter().enumerate() {
        place = match (step.strip_prefix("f:"), keys_of(&path[..depth])) {
            (Some(name), _) => &mut place[name],
            (None, Some(_)) => {
                let at = position(place, step).unwrap();
                &mut place[at]
            }
            (None, None) => unreachable!("only lists with keys have items"),
        };
    }
    match (place, keys) {
        (Value::Array(items), Some(keys)) => items.retain(|item| step(item, keys) != *last),
        (Value::Object(map), _) => _ = map.remove(&last[2..]),
        _ => {}
    }
}

/// As `managedFields` shows a set.
pub fn encode(set: &BTreeSet<Path>) -> Value {
    let mut tree = json!({});
    for path in set {
        let mut place = &mut tree;
        for step in path {
            place = &mut place[step.as_str()];
            if place.is_null() {
                *place = json!({});
            }
        }
        if path.last().is_some_and(|last| last.starts_with("k:")) {
            place["."] = json!({});
        }
    }
    tree
}

/// As the causes of a conflict name a field, such as `.spec.ports[port=80,protocol="TCP"].name`.
pub fn display(path: &[String]) -> String {
    path.iter().fold(String::new(), |text, step| match step.strip_prefix("f:") {
        Some(name) => format!("{text}.{name}"),
        None => {
            let keys: Map<String, Value> = serde_json::from_str(&step[2..]).unwrap();
            let keys: Vec<_> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{text}[{}]", keys.join(","))
        }
    })
}
