//! What the API server fills in when an object is made: identity, defaults of the few fields that others rely on.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::json::{At as _, elements_mut, set, set_default, take};
use super::kinds::{DEPLOYMENTS, KindId, NAMESPACES, PODS, REPLICASETS, SERVICES, STATEFULSETS};
use super::rfc3339;
use super::store::World;

/// The three nodes of the world, in the order in which pods are spread over them.
pub(super) const NODES: [&str; 3] = ["node-a", "node-b", "node-c"];

/// A stable number for a text, so that the world is the same at every start.
pub(super) fn number(text: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    hash.as_ref()
        .iter()
        .take(8)
        .fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// A stable suffix in Kubernetes' alphabet of letters that spell no words.
pub(super) fn suffix(text: &str, length: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut left = number(text);
    let mut out = String::new();
    for _ in 0..length {
        let place = usize::try_from(left % 27).unwrap_or(0);
        out.push(LETTERS.get(place).map_or('x', |letter| char::from(*letter)));
        left /= 27;
    }
    out
}

fn uid(text: &str) -> String {
    let (high, low) = (number(text), number(&format!("{text}/uid")));
    let variant = 0x8000 | (low >> 48 & 0x3fff);
    format!(
        "{:08x}-{:04x}-4{:03x}-{variant:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// Fills in a new object. The name and namespace stand already.
pub(super) fn fill(object: &mut Value, kind: KindId, world: &World) {
    let now = rfc3339(world.now);
    let row = kind.row();
    let name = object.at("metadata").at("name").as_str().unwrap_or_default().to_owned();
    let namespace = object
        .at("metadata")
        .at("namespace")
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let identity = format!("{}/{namespace}/{name}/{}", row.plural, world.revision());
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for server_side in [
            "resourceVersion",
            "deletionTimestamp",
            "selfLink",
            "managedFields",
            "generateName",
        ] {
            if server_side != "generateName" {
                metadata.remove(server_side);
            }
        }
    }
    set(object, &["metadata", "uid"], json!(uid(&identity)));
    set(object, &["metadata", "creationTimestamp"], json!(now));
    if !object["spec"].is_null() && kind != NAMESPACES {
        set(object, &["metadata", "generation"], json!(1));
    }
    match kind {
        NAMESPACES => {
            set(
                object,
                &["metadata", "labels", "kubernetes.io/metadata.name"],
                json!(name),
            );
            set(object, &["spec", "finalizers"], json!(["kubernetes"]));
            set(object, &["status"], json!({"phase": "Active"}));
        }
        PODS => pod(object, &identity, &now),
        SERVICES => service(object, &identity),
        DEPLOYMENTS => {
            set_default(object, &["spec", "replicas"], json!(1));
            set_default(object, &["spec", "revisionHistoryLimit"], json!(10));
            set_default(object, &["spec", "progressDeadlineSeconds"], json!(600));
            let rolling =
                json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}});
            set_default(object, &["spec", "strategy"], rolling);
            template(object);
        }
        REPLICASETS | STATEFULSETS => {
            set_default(object, &["spec", "replicas"], json!(1));
            template(object);
        }
        _ => {}
    }
}

fn template(object: &mut Value) {
    let mut spec = take(object, "/spec/template/spec");
    pod_spec(&mut spec);
    set(object, &["spec", "template", "spec"], spec);
}

fn pod_spec(spec: &mut Value) {
    set_default(spec, &["restartPolicy"], json!("Always"));
    set_default(spec, &["dnsPolicy"], json!("ClusterFirst"));
    set_default(spec, &["schedulerName"], json!("default-scheduler"));
    set_default(spec, &["terminationGracePeriodSeconds"], json!(30));
    for container in elements_mut(spec, "/containers") {
        let is_latest = container
            .at("image")
            .as_str()
            .is_some_and(|image| !image.contains(':') || image.ends_with(":latest"));
        set_default(
            container,
            &["imagePullPolicy"],
            json!(if is_latest { "Always" } else { "IfNotPresent" }),
        );
        set_default(container, &["resources"], json!({}));
        set_default(container, &["terminationMessagePath"], json!("/dev/termination-log"));
        set_default(container, &["terminationMessagePolicy"], json!("File"));
        for port in elements_mut(container, "/ports") {
            set_default(port, &["protocol"], json!("TCP"));
        }
    }
}

/// A new pod runs at once: there is no scheduler and no node behind the look-alike, only their results.
fn pod(object: &mut Value, identity: &str, now: &str) {
    let mut spec = take(object, "/spec");
    pod_spec(&mut spec);
    let node = NODES
        .get(usize::try_from(number(identity) % 3).unwrap_or(0))
        .copied()
        .unwrap_or("node-a");
    set_default(&mut spec, &["nodeName"], json!(node));
    set_default(&mut spec, &["serviceAccountName"], json!("default"));
    let node = spec.at("nodeName").as_str().unwrap_or_default().to_owned();
    let containers = spec.at("containers").as_array().cloned().unwrap_or_default();
    set(object, &["spec"], spec);
    let statuses: Vec<Value> = containers
        .iter()
        .map(|container| container_status(container, identity, now))
        .collect();
    let condition =
        |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now, "lastProbeTime": null});
    let host = 10 + NODES.iter().position(|known| *known == node).unwrap_or(0);
    let address = format!("10.42.{}.{}", host - 10, 2 + number(identity) % 250);
    let kinds = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ];
    let status = json!({
        "phase": "Running",
        "conditions": (kinds.map(condition)),
        "hostIP": format!("10.0.0.{host}"),
        "hostIPs": [{"ip": format!("10.0.0.{host}")}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "containerStatuses": statuses,
        "qosClass": "BestEffort",
    });
    set(object, &["status"], status);
}

fn container_status(container: &Value, identity: &str, now: &str) -> Value {
    let name = container.at("name").as_str().unwrap_or_default();
    json!({
        "name": name,
        "image": container.at("image"),
        "imageID": format!("demo.example/image@sha256:{:016x}", number(container.at("image").as_str().unwrap_or_default())),
        "containerID": format!("demo://{:016x}", number(&format!("{identity}/{name}"))),
        "ready": true, "started": true, "restartCount": 0, "lastState": {},
        "state": {"running": {"startedAt": now}},
    })
}

fn service(object: &mut Value, identity: &str) {
    set_default(object, &["spec", "type"], json!("ClusterIP"));
    set_default(object, &["spec", "sessionAffinity"], json!("None"));
    set_default(object, &["spec", "internalTrafficPolicy"], json!("Cluster"));
    if object.at("spec").at("type") != "ExternalName" {
        let hash = number(identity);
        set_default(
            object,
            &["spec", "clusterIP"],
            json!(format!("10.43.{}.{}", hash >> 8 & 0xff, 1 + hash % 254)),
        );
        let address = object.at("spec").at("clusterIP").clone();
        set_default(object, &["spec", "clusterIPs"], json!([address]));
        set_default(object, &["spec", "ipFamilies"], json!(["IPv4"]));
        set_default(object, &["spec", "ipFamilyPolicy"], json!("SingleStack"));
    }
    for port in elements_mut(object, "/spec/ports") {
        set_default(port, &["protocol"], json!("TCP"));
        let own = port.at("port").clone();
        set_default(port, &["targetPort"], own);
    }
    set(object, &["status"], json!({"loadBalancer": {}}));
}
