use std::path::Path;

use super::*;

/// A cluster whose Service is `tunnel-send`, with the tunnel's port from its manifest.
struct Scene {
    services: BTreeMap<String, Service>,
    owner: ObjectReference,
    refused: BTreeMap<u16, String>,
}

impl Scene {
    fn new() -> Self {
        let owner = ObjectReference {
            name: Some("config".to_owned()),
            uid: Some("u1".to_owned()),
            ..ObjectReference::default()
        };
        let mut scene = Self { services: BTreeMap::new(), owner, refused: BTreeMap::new() };
        scene.own(&json!([tunnel()]), &[]);
        scene
    }

    /// The Service has these ports, of which those were applied.
    fn own(&mut self, ports: &Value, applied: &[u16]) {
        let keys = applied.iter().map(|port| {
            let key = json!({ "port": port, "protocol": "TCP" });
            let fields = json!({ ".": {}, "f:name": {}, "f:targetPort": {} });
            (format!("k:{key}"), fields)
        });
        let keys: Map<_, _> = keys.collect();
        self.put(json!({
            "metadata": {
                "name": "tunnel-send",
                "uid": "u0",
                "managedFields": [
                    { "manager": "kubectl", "operation": "Update", "fieldsV1": { "f:spec": {} } },
                    {
                        "manager": MANAGER,
                        "operation": "Apply",
                        "fieldsV1": { "f:spec": { "f:ports": keys } },
                    },
                ],
            },
            "spec": { "type": "NodePort", "selector": { "app": "send" }, "ports": ports },
        }));
    }

    fn put(&mut self, service: Value) {
        let service: Service = serde_json::from_value(service).unwrap();
        self.services.insert(service.metadata.name.clone().unwrap(), service);
    }

    /// What there is after the plan.
    fn perform(&mut self, plan: &Plan) {
        if let Some(body) = &plan.own {
            let mut ports = vec![tunnel()];
            ports.extend(body["spec"]["ports"].as_array().cloned().unwrap_or_default());
            let applied = ports.iter().skip(1).map(|port| port["port"].as_u64().unwrap() as u16);
            let applied: Vec<_> = applied.collect();
            self.own(&json!(ports), &applied);
        }
        for write in &plan.others {
            match write {
                Write::Apply { body, .. } => {
                    let mut body = body.clone();
                    body["metadata"]["uid"] = json!("u2");
                    self.put(body);
                }
                Write::Delete { name, .. } => _ = self.services.remove(name),
            }
        }
    }

    fn plan(&self, mappings: &Value) -> Plan {
        let text = json!({ "data": mappings }).to_string();
        let config = Config::parse(&text, Path::new("config.json")).unwrap();
        Situation {
            config: &config,
            services: &self.services,
            name: "tunnel-send",
            owner: &self.owner,
            refused: &self.refused,
        }
        .plan()
    }
}

fn tunnel() -> Value {
    json!({ "name": "tunnel", "port": 9000, "targetPort": 9000, "protocol": "TCP" })
}

fn mapping(port: u16) -> Value {
    json!({ "port": port, "remoteIP": "http://demo" })
}

fn named(port: u16, name: &str) -> Value {
    json!({ "port": port, "remoteIP": "http://demo", "name": name })
}

fn applied(plan: &Plan) -> Vec<u64> {
    let ports = plan.own.iter().filter_map(|body| body["spec"]["ports"].as_array()).flatten();
    ports.map(|port| port["port"].as_u64().unwrap()).collect()
}

fn single(problems: &[String]) -> &str {
    assert_eq!(problems.len(), 1, "{problems:?}");
    &problems[0]
}

#[test]
fn what_was_written_needs_no_more_writes() {
    let mut scene = Scene::new();
    let mut node_port = mapping(8051);
    node_port["nodePort"] = json!(30051);
    let mappings = json!([mapping(8050), node_port, named(8052, "orders")]);
    let plan = scene.plan(&mappings);
    assert_eq!((applied(&plan), plan.others.len()), (vec![8050, 8051, 8052], 1));
    assert_eq!((plan.ports, plan.services, plan.problems.len()), (3, 1, 0));
    scene.perform(&plan);
    let again = scene.plan(&mappings);
    assert_eq!((again.own, again.others, again.problems), (None, vec![], vec![]));
}

#[test]
fn the_body_of_the_service_has_nothing_but_its_ports() {
    let mut node_port = mapping(8050);
    node_port["nodePort"] = json!(30050);
    let plan = Scene::new().plan(&json!([node_port]));
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": { "name": "tunnel-send", "uid": "u0" },
        "spec": { "ports": [{
            "name": "m-8050", "port": 8050, "targetPort": 8050, "protocol": "TCP", "nodePort": 30050,
        }] },
    });
    assert_eq!(plan.own, Some(expected));
}

#[test]
fn a_removed_mapping_is_taken_out() {
    let mut scene = Scene::new();
    scene.perform(&scene.plan(&json!([mapping(8050), named(8051, "orders")])));
    let plan = scene.plan(&json!([mapping(8050)]));
    assert_eq!(applied(&plan), [8050]);
    let deletion = Write::Delete { name: "orders".to_owned(), uid: "u2".to_owned() };
    assert_eq!(plan.others, [deletion]);
    scene.perform(&plan);

    let plan = scene.plan(&json!([]));
    assert_eq!(plan.own.as_ref().map(|body| &body["spec"]), Some(&Value::Null));
    scene.perform(&plan);
    assert_eq!(scene.plan(&json!([])), Plan::default());
}

#[test]
fn what_is_not_as_it_was_applied_is_applied_again() {
    let mut scene = Scene::new();
    let mappings = json!([mapping(8050), named(8051, "orders")]);
    scene.perform(&scene.plan(&mappings));
    let ports = &mut scene.services.get_mut("tunnel-send").unwrap().spec.as_mut().unwrap().ports;
    ports.as_mut().unwrap()[1].target_port = Some(IntOrString::Int(1));
    let orders = scene.services.get_mut("orders").unwrap();
    orders.spec.as_mut().unwrap().selector.as_mut().unwrap().insert("b".into(), "c".into());
    let plan = scene.plan(&mappings);
    assert_eq!((applied(&plan), plan.others.len()), (vec![8050, 8051], 1));
}

#[test]
fn a_field_that_somebody_took_over_is_left_to_them() {
    let mut scene = Scene::new();
    scene.perform(&scene.plan(&json!([mapping(8050)])));
    let ports = &mut scene.services.get_mut("tunnel-send").unwrap().spec.as_mut().unwrap().ports;
    ports.as_mut().unwrap()[1].name = Some("web".to_owned());
    let fields = &mut scene.services.get_mut("tunnel-send").unwrap().metadata.managed_fields;
    let [theirs, ours] = &mut fields.as_mut().unwrap()[..] else { panic!("two managers") };
    let ports = &mut ours.fields_v1.as_mut().unwrap().0["f:spec"]["f:ports"];
    let (key, fields) = ports.as_object_mut().unwrap().iter_mut().next().unwrap();
    let name = fields.as_object_mut().unwrap().remove("f:name").unwrap();
    theirs.fields_v1.as_mut().unwrap().0["f:spec"] =
        json!({ "f:ports": { (key): { "f:name": name } } });

    let plan = scene.plan(&json!([mapping(8050)]));
    assert_eq!(plan.own, None);
    assert!(single(&plan.problems).contains("set its name, which should be \"m-8050\""));
    let plan = scene.plan(&json!([mapping(8050), mapping(8051)]));
    let expected = json!([
        { "port": 8050, "targetPort": 8050, "protocol": "TCP" },
        { "name": "m-8051", "port": 8051, "targetPort": 8051, "protocol": "TCP" },
    ]);
    assert_eq!(plan.own.unwrap()["spec"]["ports"], expected);
}

/// Nobody owns what the cluster has chosen.
#[test]
fn a_node_port_may_be_asked_for_later() {
    let mut scene = Scene::new();
    let chosen = json!({
        "name": "m-8050", "port": 8050, "targetPort": 8050, "protocol": "TCP", "nodePort": 31234,
    });
    scene.own(&json!([tunnel(), chosen]), &[8050]);
    let mut asking = mapping(8050);
    assert_eq!(scene.plan(&json!([asking])).own, None);
    asking["nodePort"] = json!(30050);
    let plan = scene.plan(&json!([asking]));
    assert_eq!(plan.own.unwrap()["spec"]["ports"][0]["nodePort"], 30050);
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
}

#[test]
fn a_port_of_somebody_else_is_left_alone() {
    let mut scene = Scene::new();
    let foreign = json!({ "name": "http", "port": 8050, "protocol": "TCP" });
    let udp = json!({ "name": "dns", "port": 8051, "protocol": "UDP" });
    scene.own(&json!([tunnel(), foreign, udp]), &[]);
    let plan = scene.plan(&json!([mapping(8050), mapping(8051)]));
    assert_eq!(applied(&plan), [8051]);
    assert!(single(&plan.problems).starts_with("port 8050: "), "{:?}", plan.problems);
}

#[test]
fn a_refused_port_does_not_keep_the_others_out() {
    let mut scene = Scene::new();
    scene.refused.insert(8050, "not in the valid range".to_owned());
    let plan = scene.plan(&json!([mapping(8050), mapping(8051)]));
    assert_eq!(applied(&plan), [8051]);
    assert_eq!(single(&plan.problems), "port 8050: not in the valid range");
}

#[test]
fn a_service_of_somebody_else_is_never_touched() {
    let labels = json!({ MANAGED_BY: MANAGER, INSTANCE: "other-send" });
    for labels in [json!({}), json!({ MANAGED_BY: "helm", INSTANCE: "tunnel-send" }), labels] {
        let mut scene = Scene::new();
        scene.put(json!({ "metadata": { "name": "orders", "uid": "u9", "labels": labels } }));
        let plan = scene.plan(&json!([named(8050, "orders")]));
        assert_eq!((applied(&plan), plan.others), (vec![8050], vec![]));
        assert!(single(&plan.problems).contains("\"orders\""), "{:?}", plan.problems);
        assert_eq!(scene.plan(&json!([])).others, []);
    }
    let plan = Scene::new().plan(&json!([named(8050, "tunnel-send")]));
    assert_eq!(plan.others, []);
    single(&plan.problems);
}

#[test]
fn a_mappings_service_belongs_to_the_config_map() {
    let plan = Scene::new().plan(&json!([named(8050, "orders")]));
    let [Write::Apply { name, body }] = plan.others.as_slice() else { panic!("{plan:?}") };
    assert_eq!(name, "orders");
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "orders",
            "labels": {
                "app.kubernetes.io/managed-by": "tunnel-send",
                "app.kubernetes.io/instance": "tunnel-send",
            },
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "ConfigMap", "name": "config", "uid": "u1" },
            ],
        },
        "spec": {
            "selector": { "app": "send" },
            "ports": [{ "name": "m-8050", "port": 8050, "targetPort": 8050, "protocol": "TCP" }],
        },
    });
    assert_eq!(*body, expected);
}

#[test]
fn without_the_config_map_or_the_service_nothing_is_written() {
    let mut scene = Scene::new();
    scene.perform(&scene.plan(&json!([mapping(8050), named(8051, "orders")])));
    scene.owner.uid = None;
    let plan = scene.plan(&json!([mapping(8052)]));
    assert_eq!((&plan.own, plan.others.len()), (&None, 0));
    assert!(single(&plan.problems).contains("ConfigMap is gone"));
    // Made anew, it owns the Services that are still there.
    scene.owner.uid = Some("u8".to_owned());
    assert_eq!(scene.plan(&json!([mapping(8050), named(8051, "orders")])).others.len(), 1);

    scene.services.remove("tunnel-send");
    let plan = scene.plan(&json!([mapping(8052)]));
    assert_eq!((&plan.own, plan.others.len()), (&None, 0));
    assert!(single(&plan.problems).contains("create it"));
}

#[test]
fn what_the_service_cannot_give_is_told() {
    let mut scene = Scene::new();
    let spec = scene.services.get_mut("tunnel-send").unwrap().spec.as_mut().unwrap();
    spec.type_ = Some("ClusterIP".to_owned());
    spec.selector = None;
    let mut mapping = named(8050, "orders");
    mapping["nodePort"] = json!(30050);
    let plan = scene.plan(&json!([mapping]));
    assert_eq!(plan.own.unwrap()["spec"]["ports"][0]["nodePort"], Value::Null);
    assert_eq!((plan.others, plan.problems.len()), (vec![], 2));
}
