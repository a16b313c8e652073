//! What is to be written so that the Services are as the config says.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ObjectReference, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Map, Value, json};
use tunnel_common::config::{Config, Route};

use super::MANAGER;

/// The label whose value is [`MANAGER`].
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The label whose value is the name of the Service that a mapping's Service belongs to.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// What the plan is made from.
pub(super) struct Situation<'a> {
    pub(super) config: &'a Config,
    /// All Services of the namespace.
    pub(super) services: &'a BTreeMap<String, Service>,
    /// The name of `tunnel-send`'s own Service.
    pub(super) name: &'a str,
    /// The ConfigMap.
    pub(super) owner: &'a ObjectReference,
    /// Ports that the API server has refused, and why.
    pub(super) refused: &'a BTreeMap<u16, String>,
}

/// What is to be done, and what cannot be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// What to apply to `tunnel-send`'s own Service.
    pub(super) own: Option<Value>,
    /// What to do with those of the mappings.
    pub(super) others: Vec<Write>,
    pub(super) problems: Vec<String>,
    /// How many mappings the Service has a port for.
    pub(super) ports: usize,
    /// How many mappings have a Service of their own.
    pub(super) services: usize,
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Write {
    /// Applies a body to the Service of this name.
    Apply { name: String, body: Value },
    /// Deletes the Service of this name while it has that UID.
    Delete { name: String, uid: String },
}

impl Situation<'_> {
    pub(super) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        let Some(base) = self.services.get(self.name) else {
            plan.problems.push(format!("there is no Service {:?}: create it", self.name));
            return plan;
        };
        // What a ConfigMap that is gone owned is collected; it must not come back meanwhile.
        let Some(owner) = self.owner.uid.as_deref() else {
            plan.problems.push("the ConfigMap is gone: the Services stay as they are".to_owned());
            return plan;
        };
        let mut routes: Vec<_> = self.config.routes().map(AsRef::as_ref).collect();
        routes.sort_unstable_by_key(|route| route.port);
        self.ports(base, &routes, &mut plan);
        let mut wanted = BTreeSet::new();
        for route in routes {
            if let Some(name) =
                route.service().filter(|_| self.mapping(route, base, owner, &mut plan))
            {
                wanted.insert(name);
            }
        }
        plan.services = wanted.len();
        let unwanted = self.services.iter().filter(|(name, service)| {
            self.is_ours(service) && !wanted.contains(name.as_str()) && *name != self.name
        });
        plan.others.extend(unwanted.map(|(name, service)| Write::Delete {
            name: name.clone(),
            uid: service.metadata.uid.clone().unwrap_or_default(),
        }));
        plan
    }

    /// The mappings' ports of the Service itself; what else it has stays.
    fn ports(&self, base: &Service, routes: &[&Route], plan: &mut Plan) {
        let (applied, there) = (fields_by_port(base, is_applied), tcp_ports(base));
        let foreign = fields_by_port(base, |entry| !is_applied(entry));
        let kind = base.spec.as_ref().and_then(|spec| spec.type_.as_deref());
        let has_node_ports = matches!(kind, Some("LoadBalancer" | "NodePort"));
        let (mut wanted, mut is_new) = (BTreeMap::new(), false);
        for route in routes {
            let (port, found) = (route.port, there.get(&route.port));
            let mine = applied.get(&port);
            if let Some(reason) = self.refused.get(&port) {
                plan.problems.push(format!("port {port}: {reason}"));
                continue;
            }
            if found.is_some() && mine.is_none() {
                let name = self.name;
                plan.problems.push(format!(
                    "port {port}: the Service {name:?} has it from somebody else; remove it there"
                ));
                continue;
            }
            let node_port = route.node_port.filter(|_| has_node_ports);
            if let Some(asked) = route.node_port.filter(|_| !has_node_ports) {
                plan.problems.push(format!(
                    "port {port}: nodePort {asked} needs a Service of type NodePort or LoadBalancer"
                ));
            }
            let mut body = port_body(port, node_port);
            if let Some((found, mine)) = found.zip(mine) {
                let theirs = foreign.get(&port);
                for field in differences(found, &body) {
                    // What nobody has set is the cluster's choice.
                    if mine.contains(field) || theirs.is_none_or(|theirs| !theirs.contains(field)) {
                        is_new = true;
                    } else if let Some(left) = body.remove(field) {
                        plan.problems.push(format!(
                            "port {port}: somebody else has set its {field}, which should be {left}"
                        ));
                    }
                }
                is_new |= node_port.is_none() && mine.contains("nodePort");
            }
            wanted.insert(port, body);
        }
        plan.ports = wanted.len();
        if is_new || !wanted.keys().eq(applied.keys()) {
            let mut body = json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": { "name": self.name, "uid": base.metadata.uid },
            });
            if !wanted.is_empty() {
                body["spec"] = json!({ "ports": wanted.into_values().collect::<Vec<_>>() });
            }
            plan.own = Some(body);
        }
    }

    /// The Service of a mapping with a name. Says whether it may have one.
    fn mapping(&self, route: &Route, base: &Service, owner: &str, plan: &mut Plan) -> bool {
        let Some(name) = route.service() else { return false };
        let found = self.services.get(name);
        if name == self.name || found.is_some_and(|found| !self.is_ours(found)) {
            plan.problems.push(format!(
                "mapping {name:?}: there is a Service of that name from somebody else; rename one"
            ));
            return false;
        }
        let selector = base.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|selector| !selector.is_empty()) else {
            let own = self.name;
            plan.problems.push(format!(
                "mapping {name:?}: the Service {own:?} has no selector that its own could take over"
            ));
            // One that is there is left to those who took the selector away.
            return found.is_some();
        };
        if found.is_some_and(|found| {
            let spec = found.spec.clone().unwrap_or_default();
            let owners = found.metadata.owner_references.iter().flatten();
            let ports = spec.ports.unwrap_or_default();
            spec.selector.as_ref() == Some(selector)
                && owners.map(|owner| owner.uid.as_str()).eq([owner])
                && matches!(ports.as_slice(), [port] if port.port == i32::from(route.port)
                    && differences(port, &port_body(route.port, None)).is_empty())
        }) {
            return true;
        }
        let mut body = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": name,
                "labels": { MANAGED_BY: MANAGER, INSTANCE: self.name },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "ConfigMap", "name": self.owner.name, "uid": owner,
                }],
            },
            "spec": { "selector": selector, "ports": [port_body(route.port, None)] },
        });
        // With a UID, one that is gone meanwhile is not made anew in passing.
        if let Some(uid) = found.and_then(|found| found.metadata.uid.as_ref()) {
            body["metadata"]["uid"] = json!(uid);
        }
        plan.others.push(Write::Apply { name: name.to_owned(), body });
        true
    }

    fn is_ours(&self, service: &Service) -> bool {
        let label = |name| service.metadata.labels.as_ref().and_then(|labels| labels.get(name));
        label(MANAGED_BY).is_some_and(|value| value == MANAGER)
            && label(INSTANCE).is_some_and(|value| value == self.name)
    }
}

/// A port as it is applied.
fn port_body(port: u16, node_port: Option<u16>) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("name".to_owned(), format!("m-{port}").into());
    body.insert("port".to_owned(), port.into());
    body.insert("protocol".to_owned(), "TCP".into());
    body.insert("targetPort".to_owned(), port.into());
    if let Some(node_port) = node_port {
        body.insert("nodePort".to_owned(), node_port.into());
    }
    body
}

/// The fields that are there otherwise than in [`port_body`].
fn differences(found: &ServicePort, body: &Map<String, Value>) -> Vec<&'static str> {
    let target = match &found.target_port {
        Some(IntOrString::Int(port)) => Some(json!(port)),
        Some(IntOrString::String(name)) => Some(json!(name)),
        None => None,
    };
    let fields = [
        ("name", found.name.as_ref().map(|name| json!(name))),
        ("targetPort", target),
        ("nodePort", found.node_port.map(|port| json!(port))),
    ];
    let differ = |(name, value): &(&str, Option<Value>)| {
        body.get(*name).is_some_and(|wanted| Some(wanted) != value.as_ref())
    };
    fields.iter().filter(|field| differ(field)).map(|(name, _)| *name).collect()
}

/// The TCP ports of a Service; other protocols have ports of their own.
fn tcp_ports(service: &Service) -> BTreeMap<u16, &ServicePort> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let tcp = ports.filter(|port| port.protocol.as_deref().is_none_or(|name| name == "TCP"));
    tcp.filter_map(|port| Some((u16::try_from(port.port).ok()?, port))).collect()
}

/// Whether this was applied in the name of [`MANAGER`].
fn is_applied(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(MANAGER) && entry.operation.as_deref() == Some("Apply")
}

/// The ports that these managers have set, each with the fields that still are as they were set: who
/// changes a field takes it over.
fn fields_by_port(
    service: &Service,
    managers: impl Fn(&ManagedFieldsEntry) -> bool,
) -> BTreeMap<u16, BTreeSet<String>> {
    let entries = service.metadata.managed_fields.iter().flatten();
    let entries = entries.filter(|entry| managers(entry));
    let ports = entries
        .filter_map(|entry| entry.fields_v1.as_ref()?.0.get("f:spec")?.get("f:ports")?.as_object());
    let mut owned = BTreeMap::<u16, BTreeSet<String>>::new();
    for (key, fields) in ports.flatten() {
        let port = || {
            let key: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
            u16::try_from(key.get("port")?.as_u64()?).ok()
        };
        if let Some((port, fields)) = port().zip(fields.as_object()) {
            let names = fields.keys().filter_map(|field| field.strip_prefix("f:"));
            owned.entry(port).or_default().extend(names.map(str::to_owned));
        }
    }
    owned
}

#[cfg(test)]
mod tests;
