//! A request to the API, taken apart.

use std::collections::HashMap;

use http::{Method, request};
use serde_json::Value;

use super::kinds::Kind;
use super::refusal::Refusal;

pub struct Request {
    pub verb: &'static str,
    pub kind: &'static Kind,
    /// Empty for what is in none.
    pub namespace: String,
    /// Empty for all.
    pub name: String,
    pub query: HashMap<String, String>,
    pub content_type: String,
    pub body: Value,
    /// Who writes, if the query does not say.
    agent: String,
}

impl Request {
    pub fn parse(head: &request::Parts, body: &[u8]) -> Result<Self, Refusal> {
        let header = |name| {
            let value = head.headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let path = head.uri.path().trim_matches('/');
        let steps: Vec<_> = path.split('/').collect();
        let (api_version, rest) = match steps.as_slice() {
            ["api", version, rest @ ..] => ((*version).to_owned(), rest),
            ["apis", group, version, rest @ ..] => (format!("{group}/{version}"), rest),
            _ => return Err(Refusal::not_found("path", path)),
        };
        let (namespace, plural, name) = match rest {
            ["namespaces", namespace, plural] => (*namespace, *plural, ""),
            ["namespaces", namespace, plural, name] => (*namespace, *plural, *name),
            [plural] => ("", *plural, ""),
            [plural, name] => ("", *plural, *name),
            _ => return Err(Refusal::not_found("path", path)),
        };
        let kind = Kind::of(&api_version, plural)
            .ok_or_else(|| Refusal::not_found("resource", &format!("{api_version}/{plural}")))?;
        let query = head.uri.query().unwrap_or_default();
        let query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let is_watch = query.get("watch").is_some_and(|value| value == "1" || value == "true");
        let verb = match (&head.method, name) {
            (&Method::GET, "") if is_watch => "watch",
            (&Method::GET, "") => "list",
            (&Method::GET, _) => "get",
            (&Method::POST, "") => "create",
            (&Method::PUT, _) => "update",
            (&Method::PATCH, _) => "patch",
            (&Method::DELETE, _) => "delete",
            _ => return Err(Refusal::new(405, "MethodNotAllowed", String::new())),
        };
        let body = match body {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|e| Refusal::bad(e.to_string()))?,
        };
        Ok(Self {
            verb,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            query,
            content_type: header("content-type"),
            body,
            agent: header("user-agent").split('/').next().unwrap_or_default().to_owned(),
        })
    }

    pub fn manager(&self) -> &str {
        self.query.get("fieldManager").map_or(&self.agent, String::as_str)
    }

    /// Whether the selectors of a list or watch match.
    pub fn selects(&self, object: &Value) -> bool {
        let terms = |name: &str| {
            let text = self.query.get(name).cloned().unwrap_or_default();
            let terms = text.split(',').filter(|term| !term.is_empty());
            terms
                .map(|term| term.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
                .collect::<Vec<_>>()
        };
        let metadata = &object["metadata"];
        terms("fieldSelector").iter().flatten().all(|(field, value)| match field.as_str() {
            "metadata.name" => metadata["name"] == *value,
            _ => false,
        }) && terms("labelSelector")
            .iter()
            .flatten()
            .all(|(label, value)| metadata["labels"][label] == *value)
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.query.get(name)?.parse().ok()
    }
}
