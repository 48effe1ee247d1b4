//! Endpoint slices: which pods stand behind a service.

use serde_json::{Value, json};

use super::controllers::{is_ready, owner, text};
use super::defaults::{self, suffix};
use super::json::{At as _, set};
use super::kinds::{ENDPOINTSLICES, PODS, SERVICES};
use super::status::Refusal;
use super::store::{Key, Object, World};

/// The endpoint slice of a service with a selector.
pub(super) fn publish(world: &mut World, service: &Object) -> Result<(), Refusal> {
    let (namespace, name) = (text(service, "namespace"), text(service, "name"));
    let Some(selector) = service.at("spec").at("selector").as_object() else {
        return Ok(());
    };
    let is_behind = |pod: &Object| {
        selector
            .iter()
            .all(|(key, value)| pod.at("metadata").at("labels").at(key.as_str()) == value)
    };
    let endpoints: Vec<Value> = world
        .within(PODS, namespace)
        .iter()
        .filter(|pod| is_behind(pod))
        .map(endpoint)
        .collect();
    let port = |port: &Value| json!({"name": port.at("name").as_str().unwrap_or_default(), "port": port.at("targetPort").as_u64().or(port.at("port").as_u64()), "protocol": port.at("protocol")});
    let ports: Vec<Value> = service
        .at("spec")
        .at("ports")
        .as_array()
        .into_iter()
        .flatten()
        .map(port)
        .collect();
    let slice_name = format!("{name}-{}", suffix(text(service, "uid"), 5));
    let key = Key::new(ENDPOINTSLICES, namespace, &slice_name);
    let slice = match world.object(&key) {
        Some(known) => {
            let mut slice = Value::clone(known);
            set(&mut slice, &["endpoints"], json!(endpoints));
            set(&mut slice, &["ports"], json!(ports));
            slice
        }
        None => {
            let mut slice = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": slice_name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name},
                    "ownerReferences": owner(SERVICES, service)},
                "endpoints": endpoints, "ports": ports,
            });
            defaults::fill(&mut slice, ENDPOINTSLICES, world);
            slice
        }
    };
    world.put(key, slice).map(|_| ())
}

fn endpoint(pod: &Object) -> Value {
    let is_ready = is_ready(pod);
    json!({
        "addresses": [pod.at("status").at("podIP")],
        "conditions": {"ready": is_ready, "serving": is_ready, "terminating": false},
        "nodeName": pod.at("spec").at("nodeName"),
        "targetRef": {"kind": "Pod", "namespace": pod.at("metadata").at("namespace"), "name": pod.at("metadata").at("name"), "uid": pod.at("metadata").at("uid")},
    })
}
