//! The kinds of objects that the server has, with what it fills in and what it refuses.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::refusal::Refusal;

pub struct Kind {
    pub plural: &'static str,
    pub kind: &'static str,
    pub api_version: &'static str,
    /// As the server would write it again, without what the kind has no field for.
    known: fn(Value) -> Result<Value, serde_json::Error>,
}

const KINDS: [Kind; 6] = [
    Kind { plural: "configmaps", kind: "ConfigMap", api_version: "v1", known: typed::<ConfigMap> },
    Kind { plural: "events", kind: "Event", api_version: "v1", known: typed::<Event> },
    Kind { plural: "namespaces", kind: "Namespace", api_version: "v1", known: typed::<Namespace> },
    Kind { plural: "services", kind: "Service", api_version: "v1", known: typed::<Service> },
    Kind {
        plural: "leases",
        kind: "Lease",
        api_version: "coordination.k8s.io/v1",
        known: typed::<Lease>,
    },
    Kind {
        plural: "endpointslices",
        kind: "EndpointSlice",
        api_version: "discovery.k8s.io/v1",
        known: typed::<EndpointSlice>,
    },
];

fn typed<K: DeserializeOwned + Serialize>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<K>(value)?)
}

impl Kind {
    pub fn of(api_version: &str, plural: &str) -> Option<&'static Self> {
        static ALL: [Kind; 6] = KINDS;
        ALL.iter().find(|kind| (kind.api_version, kind.plural) == (api_version, plural))
    }

    /// Refuses what the kind has no field for.
    pub fn check_fields(&self, object: &Value) -> Result<(), Refusal> {
        let types = (object["apiVersion"].as_str(), object["kind"].as_str());
        if types != (Some(self.api_version), Some(self.kind)) {
            return Err(Refusal::bad(format!("{types:?} is no {}", self.kind)));
        }
        let known =
            (self.known)(object.clone()).map_err(|error| Refusal::bad(error.to_string()))?;
        match unknown(object, &known) {
            Some(field) => Err(Refusal::bad(format!(".{field}: field not declared in schema"))),
            None => Ok(()),
        }
    }

    /// Fills in what is left out, as admission and the allocators do.
    pub fn complete(&self, object: &mut Value, number: u64) {
        if self.kind != "Service" {
            return;
        }
        let spec = &mut object["spec"];
        if spec["type"].is_null() {
            spec["type"] = json!("ClusterIP");
        }
        if spec["clusterIP"].is_null() {
            let address = format!("10.96.{}.{}", number / 250 % 250, number % 250 + 1);
            spec["clusterIPs"] = json!([address]);
            spec["clusterIP"] = json!(address);
        }
        let has_node_ports = spec["type"] != "ClusterIP";
        let mut free = 32_767 - number % 1000;
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            if port["protocol"].is_null() {
                port["protocol"] = json!("TCP");
            }
            if port["targetPort"].is_null() {
                port["targetPort"] = port["port"].clone();
            }
            if has_node_ports && port["nodePort"].is_null() {
                port["nodePort"] = json!(free);
                free -= 1;
            }
        }
    }

    /// Refuses what the kind does not allow.
    pub fn validate(&self, object: &Value, namespace: &str) -> Result<(), Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let invalid = |causes| Err(Refusal::invalid(self.kind, name, causes));
        let mut causes = Vec::new();
        match self.kind {
            "Service" => validate_ports(object["spec"]["ports"].as_array(), &mut causes),
            "Event" if object["involvedObject"]["namespace"] != namespace => causes.push((
                "involvedObject.namespace".to_owned(),
                "does not match event.namespace".to_owned(),
            )),
            "Lease" => validate_lease(&object["spec"], &mut causes),
            _ => {}
        }
        if causes.is_empty() { Ok(()) } else { invalid(causes) }
    }
}

fn validate_ports(ports: Option<&Vec<Value>>, causes: &mut Vec<(String, String)>) {
    let ports = ports.map(Vec::as_slice).unwrap_or_default();
    if ports.is_empty() {
        causes.push(("spec.ports".to_owned(), "Required value".to_owned()));
    }
    let mut names = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let name = port["name"].as_str().unwrap_or_default();
        if ports.len() > 1 && name.is_empty() {
            causes.push((format!("spec.ports[{index}].name"), "Required value".to_owned()));
        } else if names.contains(&name) {
            let message = format!("Duplicate value: {name:?}");
            causes.push((format!("spec.ports[{index}].name"), message));
        }
        names.push(name);
        let Some(node_port) = port["nodePort"].as_u64() else { continue };
        let message = if ports.iter().take(index).any(|other| other["nodePort"] == node_port) {
            format!("Duplicate value: {node_port}")
        } else if !(30_000..=32_767).contains(&node_port) {
            format!(
                "Invalid value: {node_port}: provided port is not in the valid range. The range of \
                 valid ports is 30000-32767"
            )
        } else {
            continue;
        };
        causes.push((format!("spec.ports[{index}].nodePort"), message));
        // Ports are allocated one after the other, and the first failure is told.
        return;
    }
}

fn validate_lease(spec: &Value, causes: &mut Vec<(String, String)>) {
    if spec["leaseDurationSeconds"].as_i64().is_some_and(|seconds| seconds <= 0) {
        causes.push(("spec.leaseDurationSeconds".to_owned(), "must be greater than 0".to_owned()));
    }
    for field in ["acquireTime", "renewTime"] {
        // A MicroTime has six digits after the second, no more and no fewer.
        let Some(time) = spec[field].as_str() else { continue };
        let fraction = time.split_once('.').map(|(_, fraction)| fraction.trim_end_matches('Z'));
        if fraction.map(str::len) != Some(6) {
            causes.push((format!("spec.{field}"), format!("{time} is no MicroTime")));
        }
    }
}

/// The path of the first field that `known` lacks.
fn unknown(object: &Value, known: &Value) -> Option<String> {
    match (object, known) {
        (Value::Object(object), Value::Object(known)) => {
            object.iter().find_map(|(key, value)| match known.get(key) {
                Some(known) => unknown(value, known).map(|rest| format!("{key}.{rest}")),
                None if value.is_null() => None,
                None => Some(key.clone()),
            })
        }
        (Value::Array(object), Value::Array(known)) => {
            object.iter().zip(known).find_map(|(object, known)| unknown(object, known))
        }
        _ => None,
    }
}
