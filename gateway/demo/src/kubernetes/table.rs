//! Server-side printing: `meta.k8s.io/v1 Table` with the columns that the API server has for each kind.
//!
//! Values only; the age is counted from the time given.

use model::time::Timestamp;
use serde_json::{Value, json};

use super::json::At as _;
use super::kinds::{Kind, KindId};

/// How much of the object stands beside its row (`includeObject`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Include {
    None,
    #[default]
    Metadata,
    Object,
}

/// A column: name, and 1 if it shows only with `-o wide`.
type Column = (&'static str, u8);

/// A table of these objects.
pub(super) fn table(kind: KindId, objects: &[&Value], metadata: &Value, include: Include, now: Timestamp) -> Value {
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| row(kind.row(), object, include, now))
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": definitions(kind.row()), "rows": rows,
    })
}

fn definitions(kind: &Kind) -> Vec<Value> {
    let definition = |(name, priority): &Column| {
        let number = matches!(
            *name,
            "Desired" | "Current" | "Up-to-date" | "Available" | "Secrets" | "Data"
        );
        let format = if *name == "Name" { "name" } else { "" };
        json!({"name": name, "type": if number { "integer" } else { "string" }, "format": format, "description": name, "priority": priority})
    };
    columns(kind).iter().map(definition).collect()
}

fn row(kind: &Kind, object: &Value, include: Include, now: Timestamp) -> Value {
    let beside = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => object.clone(),
    };
    json!({"cells": cells(kind, object, now), "object": beside})
}

/// The object without all but its metadata.
pub(super) fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.at("metadata")})
}

#[rustfmt::skip]
fn columns(kind: &Kind) -> &'static [Column] {
    match kind.kind {
        "Namespace" => &[("Name", 0), ("Status", 0), ("Age", 0)],
        "Node" => &[("Name", 0), ("Status", 0), ("Roles", 0), ("Age", 0), ("Version", 0), ("Internal-IP", 1), ("External-IP", 1), ("OS-Image", 1), ("Kernel-Version", 1), ("Container-Runtime", 1)],
        "Pod" => &[("Name", 0), ("Ready", 0), ("Status", 0), ("Restarts", 0), ("Age", 0), ("IP", 1), ("Node", 1), ("Nominated Node", 1), ("Readiness Gates", 1)],
        "Service" => &[("Name", 0), ("Type", 0), ("Cluster-IP", 0), ("External-IP", 0), ("Port(s)", 0), ("Age", 0), ("Selector", 1)],
        "ConfigMap" => &[("Name", 0), ("Data", 0), ("Age", 0)],
        "Secret" => &[("Name", 0), ("Type", 0), ("Data", 0), ("Age", 0)],
        "ServiceAccount" => &[("Name", 0), ("Secrets", 0), ("Age", 0)],
        "Event" => &[("Last Seen", 0), ("Type", 0), ("Reason", 0), ("Object", 0), ("Message", 0), ("Name", 1)],
        "Deployment" => &[("Name", 0), ("Ready", 0), ("Up-to-date", 0), ("Available", 0), ("Age", 0), ("Containers", 1), ("Images", 1), ("Selector", 1)],
        "ReplicaSet" => &[("Name", 0), ("Desired", 0), ("Current", 0), ("Ready", 0), ("Age", 0), ("Containers", 1), ("Images", 1), ("Selector", 1)],
        "StatefulSet" => &[("Name", 0), ("Ready", 0), ("Age", 0), ("Containers", 1), ("Images", 1)],
        "NetworkPolicy" => &[("Name", 0), ("Pod-Selector", 0), ("Age", 0)],
        "EndpointSlice" => &[("Name", 0), ("AddressType", 0), ("Ports", 0), ("Endpoints", 0), ("Age", 0)],
        "RoleBinding" | "ClusterRoleBinding" => &[("Name", 0), ("Role", 0), ("Age", 0), ("Users", 1), ("Groups", 1), ("ServiceAccounts", 1)],
        "Role" | "ClusterRole" => &[("Name", 0), ("Created At", 0)],
        _ => &[("Name", 0), ("Age", 0)],
    }
}

fn cells(kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
    let name = object.at("metadata").at("name").clone();
    let age = json!(age(object.at("metadata").at("creationTimestamp"), now));
    let (spec, status) = (object.at("spec"), object.at("status"));
    match kind.kind {
        "Namespace" => vec![name, status.at("phase").clone(), age],
        "Node" => node(object, name, age),
        "Pod" => pod(object, name, age, now),
        "Service" => service(object, name, age),
        "ConfigMap" => vec![name, json!(count(object, "data") + count(object, "binaryData")), age],
        "Secret" => vec![
            name,
            json!(object.at("type").as_str().unwrap_or("Opaque")),
            json!(count(object, "data")),
            age,
        ],
        "ServiceAccount" => vec![name, json!(object.at("secrets").as_array().map_or(0, Vec::len)), age],
        "Event" => event(object, name, now),
        "Deployment" => {
            let ready = format!("{}/{}", number(status.at("readyReplicas")), number(spec.at("replicas")));
            let mut cells = vec![
                name,
                json!(ready),
                json!(number(status.at("updatedReplicas"))),
                json!(number(status.at("availableReplicas"))),
                age,
            ];
            cells.extend(template(spec));
            cells
        }
        "ReplicaSet" => {
            let mut cells = vec![
                name,
                json!(number(spec.at("replicas"))),
                json!(number(status.at("replicas"))),
                json!(number(status.at("readyReplicas"))),
                age,
            ];
            cells.extend(template(spec));
            cells
        }
        "StatefulSet" => {
            let ready = format!("{}/{}", number(status.at("readyReplicas")), number(spec.at("replicas")));
            let mut cells = vec![name, json!(ready), age];
            cells.extend(template(spec).into_iter().take(2));
            cells
        }
        "NetworkPolicy" => vec![name, json!(selector(spec.at("podSelector"))), age],
        "EndpointSlice" => endpoint_slice(object, name, age),
        "RoleBinding" | "ClusterRoleBinding" => binding(object, name, age),
        "Role" | "ClusterRole" => vec![name, object.at("metadata").at("creationTimestamp").clone()],
        _ => vec![name, age],
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn count(object: &Value, name: &str) -> usize {
    object.at(name).as_object().map_or(0, serde_json::Map::len)
}

fn joined<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<&str> = values.collect();
    if all.is_empty() {
        "<none>".to_owned()
    } else {
        all.join(",")
    }
}

fn node(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let (labels, info) = (object.at("metadata").at("labels"), object.at("status").at("nodeInfo"));
    let roles = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"));
    let mut state = if super::controllers::is_ready(object) {
        "Ready"
    } else {
        "NotReady"
    }
    .to_owned();
    if object.at("spec").at("unschedulable") == true {
        state.push_str(",SchedulingDisabled");
    }
    let addresses = object.at("status").at("addresses").as_array();
    let address = addresses.and_then(|all| all.iter().find(|one| one.at("type") == "InternalIP"));
    let address = address.map_or(json!("<none>"), |one| one.at("address").clone());
    vec![
        name,
        json!(state),
        json!(joined(roles)),
        age,
        info.at("kubeletVersion").clone(),
        address,
        json!("<none>"),
        info.at("osImage").clone(),
        info.at("kernelVersion").clone(),
        info.at("containerRuntimeVersion").clone(),
    ]
}

fn pod(object: &Value, name: Value, age_cell: Value, now: Timestamp) -> Vec<Value> {
    let status = object.at("status");
    let statuses = status.at("containerStatuses").as_array().map_or(&[][..], Vec::as_slice);
    let ready = statuses.iter().filter(|one| one.at("ready") == true).count();
    let total = object.at("spec").at("containers").as_array().map_or(0, Vec::len);
    let waiting = statuses.iter().find_map(|one| {
        one.at("state")
            .at("waiting")
            .at("reason")
            .as_str()
            .or(one.at("state").at("terminated").at("reason").as_str())
    });
    let phase = if object.at("metadata").at("deletionTimestamp").is_null() {
        waiting.or(status.at("phase").as_str()).unwrap_or("Unknown")
    } else {
        "Terminating"
    };
    let restarts: u64 = statuses.iter().map(|one| number(one.at("restartCount"))).sum();
    let last = statuses
        .iter()
        .filter_map(|one| one.at("lastState").at("terminated").at("finishedAt").as_str())
        .max();
    let restarts = match last {
        Some(last) if restarts > 0 => json!(format!("{restarts} ({} ago)", age(&json!(last), now))),
        _ => json!(restarts.to_string()),
    };
    let or_none = |value: &Value| {
        if value.is_null() {
            json!("<none>")
        } else {
            value.clone()
        }
    };
    vec![
        name,
        json!(format!("{ready}/{total}")),
        json!(phase),
        restarts,
        age_cell,
        or_none(status.at("podIP")),
        or_none(object.at("spec").at("nodeName")),
        json!("<none>"),
        json!("<none>"),
    ]
}

fn service(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let spec = object.at("spec");
    let port = |port: &Value| {
        let number = number(port.at("port"));
        let protocol = port.at("protocol").as_str().unwrap_or("TCP");
        match port.at("nodePort").as_u64() {
            Some(node) => format!("{number}:{node}/{protocol}"),
            None => format!("{number}/{protocol}"),
        }
    };
    let ports: Vec<String> = spec.at("ports").as_array().into_iter().flatten().map(port).collect();
    let outside = if spec.at("type") == "LoadBalancer" {
        "<pending>"
    } else {
        "<none>"
    };
    vec![
        name,
        spec.at("type").clone(),
        json!(spec.at("clusterIP").as_str().unwrap_or("<none>")),
        json!(outside),
        json!(joined(ports.iter().map(String::as_str))),
        age,
        json!(labels(spec.at("selector"))),
    ]
}

fn event(object: &Value, name: Value, now: Timestamp) -> Vec<Value> {
    let about = object.at("involvedObject");
    let kind = about.at("kind").as_str().unwrap_or_default().to_lowercase();
    let target = format!("{kind}/{}", about.at("name").as_str().unwrap_or_default());
    vec![
        json!(age(object.at("lastTimestamp"), now)),
        object.at("type").clone(),
        object.at("reason").clone(),
        json!(target),
        object.at("message").clone(),
        name,
    ]
}

fn template(spec: &Value) -> Vec<Value> {
    let containers = spec
        .at("template")
        .at("spec")
        .at("containers")
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let all = |field: &str| joined(containers.iter().filter_map(|one| one.at(field).as_str()));
    vec![
        json!(all("name")),
        json!(all("image")),
        json!(selector(spec.at("selector"))),
    ]
}

fn endpoint_slice(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let ports: Vec<String> = object
        .at("ports")
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| number(port.at("port")).to_string())
        .collect();
    let addresses = object
        .at("endpoints")
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one.at("addresses").at(0).as_str());
    let mut addresses: Vec<&str> = addresses.collect();
    let more = addresses.len().saturating_sub(3);
    addresses.truncate(3);
    let mut shown = joined(addresses.into_iter());
    if more > 0 {
        shown.push_str(&format!(" + {more} more..."));
    }
    vec![
        name,
        object.at("addressType").clone(),
        json!(joined(ports.iter().map(String::as_str))),
        json!(shown),
        age,
    ]
}

fn binding(object: &Value, name: Value, age: Value) -> Vec<Value> {
    let role = object.at("roleRef");
    let role = format!(
        "{}/{}",
        role.at("kind").as_str().unwrap_or_default(),
        role.at("name").as_str().unwrap_or_default()
    );
    let subjects = object.at("subjects").as_array().map_or(&[][..], Vec::as_slice);
    let of = |kind: &str| {
        let named: Vec<String> = subjects
            .iter()
            .filter(|subject| subject.at("kind") == kind)
            .map(|subject| match subject.at("namespace").as_str() {
                Some(namespace) => format!("{namespace}/{}", subject.at("name").as_str().unwrap_or_default()),
                None => subject.at("name").as_str().unwrap_or_default().to_owned(),
            })
            .collect();
        json!(named.join(", "))
    };
    vec![name, json!(role), age, of("User"), of("Group"), of("ServiceAccount")]
}

fn labels(map: &Value) -> String {
    let pairs: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    joined(pairs.iter().map(String::as_str))
}

fn selector(selector: &Value) -> String {
    let mut shown = vec![];
    if selector
        .at("matchLabels")
        .as_object()
        .is_some_and(|map| !map.is_empty())
    {
        shown.push(labels(selector.at("matchLabels")));
    }
    for expression in selector.at("matchExpressions").as_array().into_iter().flatten() {
        let key = expression.at("key").as_str().unwrap_or_default();
        let values = expression
            .at("values")
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let values = values.collect::<Vec<_>>().join(",");
        shown.push(match expression.at("operator").as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    joined(shown.iter().map(String::as_str))
}

fn age(since: &Value, now: Timestamp) -> String {
    match since.as_str().and_then(|text| Timestamp::parse(text).ok()) {
        Some(since) => human(now.since(since).as_secs()),
        None => "<unknown>".to_owned(),
    }
}

/// A duration as kubectl prints it: two units while the second one matters.
fn human(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: u64, unit: char, small: u64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        _ => format!("{large}{unit}{small}{small_unit}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => pair(minutes, 'm', seconds % 60, 's'),
        () if minutes < 180 => format!("{minutes}m"),
        () if hours < 8 => pair(hours, 'h', minutes % 60, 'm'),
        () if hours < 48 => format!("{hours}h"),
        () if hours < 192 => pair(days, 'd', hours % 24, 'h'),
        () if days < 730 => format!("{days}d"),
        () if days < 2920 => pair(days / 365, 'y', days % 365, 'd'),
        () => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kinds::{KINDS, PODS};
    use super::*;

    #[test]
    fn durations_read_as_kubectl_prints_them() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (135, "2m15s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_600, "3h30m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (63_158_400, "2y1d"),
        ];
        for (seconds, text) in cases {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn every_kind_has_as_many_cells_as_columns() {
        for kind in &KINDS {
            assert_eq!(
                cells(kind, &json!({}), Timestamp::EPOCH).len(),
                columns(kind).len(),
                "{}",
                kind.kind
            );
        }
    }

    #[test]
    fn a_crashing_pod_says_so() {
        let pod = json!({"metadata": {"name": "p", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"containers": [{}, {}], "nodeName": "node-a"},
            "status": {"phase": "Running", "podIP": "10.42.0.9", "containerStatuses": [
                {"ready": true, "restartCount": 0},
                {"ready": false, "restartCount": 7, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "1970-01-01T00:01:00Z"}}}]}});
        let table = table(
            PODS,
            &[&pod],
            &json!({}),
            Include::None,
            Timestamp::from_unix_seconds(180),
        );
        let cells = &table["rows"][0]["cells"];
        assert_eq!(
            *cells,
            json!([
                "p",
                "1/2",
                "CrashLoopBackOff",
                "7 (2m ago)",
                "3m",
                "10.42.0.9",
                "node-a",
                "<none>",
                "<none>"
            ])
        );
    }
}
