//! How the server says no.

use serde_json::{Value, json};

#[derive(Debug)]
pub struct Refusal {
    pub code: u16,
    reason: &'static str,
    message: String,
    /// Field and message of each.
    causes: Vec<(String, String)>,
}

impl Refusal {
    pub fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self { code, reason, message, causes: Vec::new() }
    }

    pub fn bad(message: String) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub fn not_found(plural: &str, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{plural} {name:?} not found"))
    }

    pub fn forbidden(verb: &str, plural: &str, namespace: &str) -> Self {
        let message = format!(
            "{plural} is forbidden: User \"system:serviceaccount:{namespace}:tunnel\" cannot {verb} \
             resource {plural:?} in the namespace {namespace:?}"
        );
        Self::new(403, "Forbidden", message)
    }

    pub fn gone(message: &str) -> Self {
        Self::new(410, "Expired", message.to_owned())
    }

    pub fn conflict(message: String) -> Self {
        Self::new(409, "Conflict", message)
    }

    /// Fields that others manage, each with what its manager is called.
    pub fn managed_by_others(fields: Vec<(String, String)>) -> Self {
        let list: Vec<_> = fields.iter().map(|(field, by)| format!("{by}: {field}")).collect();
        let message = format!("Apply failed with {} conflicts: {}", fields.len(), list.join(", "));
        Self { causes: fields, ..Self::conflict(message) }
    }

    pub fn invalid(kind: &str, name: &str, causes: Vec<(String, String)>) -> Self {
        let list: Vec<_> = causes.iter().map(|(field, what)| format!("{field}: {what}")).collect();
        let message = format!("{kind} {name:?} is invalid: {}", list.join(", "));
        Self { causes, ..Self::new(422, "Invalid", message) }
    }

    pub fn status(&self) -> Value {
        let causes: Vec<_> = self
            .causes
            .iter()
            .map(|(field, message)| {
                let reason =
                    if self.code == 409 { "FieldManagerConflict" } else { "FieldValueInvalid" };
                json!({ "reason": reason, "message": message, "field": field })
            })
            .collect();
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
            "details": { "causes": causes },
        })
    }
}
