//! The fixed world: the same at every start but for its times, which count back from now.
//!
//! A small shop: six namespaces, 41 pods, 19 network policies, three groups of people. One pod crashes, so that there is
//! something to find out.

use std::time::Duration;

use model::time::Timestamp;
use serde_json::{Value, json};

use super::defaults;
use super::json::{At as _, elements_mut, set};
use super::kinds::{self, KindId};
use super::operations::{self, Part};
use super::status::Refusal;
use super::store::{Key, World};
use super::{rfc3339, rights};

/// Namespaces of the world.
pub const NAMESPACES: usize = 6;
/// Pods of the world.
pub const PODS: usize = 41;
/// Network policies of the world.
pub const NETWORK_POLICIES: usize = 19;

const DAY: u64 = 24 * 60 * 60;

/// Namespace, name, kind, replicas, image, port (0: no service), age in days.
#[rustfmt::skip]
const WORKLOADS: [(&str, &str, &str, u32, &str, u16, u64); 18] = [
    ("shop", "web", "Deployment", 3, "registry.platform.demo/shop/web:4.12.1", 8080, 12),
    ("shop", "cart", "Deployment", 2, "registry.platform.demo/shop/cart:2.8.0", 8080, 30),
    ("shop", "catalog", "Deployment", 2, "registry.platform.demo/shop/catalog:7.1.3", 8080, 30),
    ("shop", "checkout", "Deployment", 2, "registry.platform.demo/shop/checkout:3.0.5", 8080, 5),
    ("payments", "web", "StatefulSet", 2, "registry.platform.demo/payments/web:1.9.2", 8080, 44),
    ("payments", "api", "Deployment", 3, "registry.platform.demo/payments/api:5.4.0", 8443, 21),
    ("payments", "risk", "Deployment", 2, "registry.platform.demo/payments/risk:0.17.0", 9000, 9),
    ("payments", "ledger-sync", "Deployment", 1, "registry.platform.demo/payments/ledger-sync:0.3.1", 0, 2),
    ("monitoring", "prometheus", "StatefulSet", 2, "quay.demo/prometheus/prometheus:v3.7.0", 9090, 80),
    ("monitoring", "alertmanager", "StatefulSet", 2, "quay.demo/prometheus/alertmanager:v0.29.0", 9093, 80),
    ("monitoring", "grafana", "Deployment", 1, "docker.demo/grafana/grafana:12.2.0", 3000, 80),
    ("monitoring", "node-exporter", "Deployment", 3, "quay.demo/prometheus/node-exporter:v1.10.0", 9100, 80),
    ("monitoring", "kube-state-metrics", "Deployment", 1, "registry.demo/kube-state-metrics:v2.17.0", 8080, 80),
    ("platform", "ingress", "Deployment", 3, "registry.demo/ingress/controller:v1.14.0", 8443, 120),
    ("platform", "certificates", "Deployment", 1, "quay.demo/certificates/controller:v1.19.1", 9402, 120),
    ("platform", "gitops", "Deployment", 2, "quay.demo/gitops/server:v3.2.0", 8080, 66),
    ("platform", "registry", "Deployment", 1, "docker.demo/library/registry:3.0.0", 5000, 120),
    ("kube-system", "coredns", "Deployment", 2, "registry.demo/coredns/coredns:v1.13.1", 53, 200),
];

/// Namespace, name, image, age in days: pods without a controller.
#[rustfmt::skip]
const SINGLE_PODS: [(&str, &str, &str, u64); 6] = [
    ("kube-system", "kube-proxy-node-a", "registry.demo/kube-proxy:v1.36.0", 200),
    ("kube-system", "kube-proxy-node-b", "registry.demo/kube-proxy:v1.36.0", 200),
    ("kube-system", "kube-proxy-node-c", "registry.demo/kube-proxy:v1.36.0", 200),
    ("kube-system", "metrics-server-0", "registry.demo/metrics-server:v0.8.0", 200),
    ("default", "toolbox", "docker.demo/library/debian:13", 3),
    ("default", "ci-runner", "registry.platform.demo/ci/runner:18.5", 1),
];

/// Namespace, name, pods (by `app`; empty: all), from or to, whom (`app`, `namespace/app` or an address range).
#[rustfmt::skip]
const POLICIES: [(&str, &str, &str, Side, &[&str]); NETWORK_POLICIES] = [
    ("shop", "default-deny", "", Side::Ingress, &[]),
    ("shop", "web-from-ingress", "web", Side::Ingress, &["platform/ingress"]),
    ("shop", "cart-from-web", "cart", Side::Ingress, &["web"]),
    ("shop", "catalog-from-web", "catalog", Side::Ingress, &["web", "cart"]),
    ("shop", "checkout-from-cart", "checkout", Side::Ingress, &["cart"]),
    ("shop", "allow-dns", "", Side::Egress, &["kube-system/coredns"]),
    ("payments", "default-deny", "", Side::Ingress, &[]),
    ("payments", "api-from-checkout", "api", Side::Ingress, &["shop/checkout"]),
    ("payments", "risk-from-api", "risk", Side::Ingress, &["api"]),
    ("payments", "web-from-ingress", "web", Side::Ingress, &["platform/ingress"]),
    ("payments", "ledger-sync-egress", "ledger-sync", Side::Egress, &["203.0.113.0/24"]),
    ("payments", "allow-dns", "", Side::Egress, &["kube-system/coredns"]),
    ("monitoring", "default-deny", "", Side::Ingress, &[]),
    ("monitoring", "grafana-from-ingress", "grafana", Side::Ingress, &["platform/ingress"]),
    ("monitoring", "prometheus-from-grafana", "prometheus", Side::Ingress, &["grafana"]),
    ("monitoring", "alertmanager-from-prometheus", "alertmanager", Side::Ingress, &["prometheus"]),
    ("platform", "default-deny", "", Side::Ingress, &[]),
    ("platform", "ingress-from-anywhere", "ingress", Side::Ingress, &["0.0.0.0/0"]),
    ("platform", "registry-from-nodes", "registry", Side::Ingress, &["10.0.0.0/24"]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ingress,
    Egress,
}

/// Makes the world as of `now`.
pub(super) fn build(now: Timestamp, limit: usize) -> World {
    let mut world = World::empty(limit);
    // The world is fixed and fits; a mistake in it is found by the tests below, which count everything.
    if let Err(refusal) = fill(&mut world, now) {
        tracing::error!(status = %refusal.status(), "the demo's world is not complete");
    }
    world.now = now;
    world
}

fn fill(world: &mut World, now: Timestamp) -> Result<(), Refusal> {
    let ago = |days: u64| {
        now.minus(Duration::from_secs(
            days * DAY + defaults::number(&days.to_string()) % 40_000,
        ))
    };
    world.now = ago(200);
    for name in ["default", "kube-system", "monitoring", "payments", "platform", "shop"] {
        make(
            world,
            "",
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": name}}}),
        )?;
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        make(world, name, account)?;
        let root = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": "(none: this is the demo)"}});
        make(world, name, root)?;
    }
    nodes(world)?;
    rights::grant(world)?;
    for (namespace, name, kind, replicas, image, port, days) in WORKLOADS {
        world.now = ago(days);
        workload(world, (namespace, name, kind), replicas, image, port)?;
    }
    for (namespace, name, image, days) in SINGLE_PODS {
        world.now = ago(days);
        single_pod(world, namespace, name, image)?;
    }
    world.now = ago(60);
    for policy in POLICIES {
        make(world, policy.0, network_policy(policy))?;
    }
    settings(world)?;
    world.now = now.minus(Duration::from_secs(95));
    crash(world, now)
}

pub(super) fn make(world: &mut World, namespace: &str, object: Value) -> Result<(), Refusal> {
    let (api_version, kind) = (
        object.at("apiVersion").as_str().unwrap_or_default(),
        object.at("kind").as_str().unwrap_or_default(),
    );
    let kind = KindId::by_kind(api_version, kind).ok_or_else(Refusal::not_served)?;
    operations::create(world, kind, namespace, object).map(|_| ())
}

fn workload(
    world: &mut World,
    (namespace, name, kind): (&str, &str, &str),
    replicas: u32,
    image: &str,
    port: u16,
) -> Result<(), Refusal> {
    let labels = json!({"app": name, "team": namespace});
    let mut container =
        json!({"name": name, "image": image, "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}});
    if port > 0 {
        set(&mut container, &["ports"], json!([{"containerPort": port}]));
    }
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    if kind == "StatefulSet" {
        set(&mut object, &["spec", "serviceName"], json!(name));
    }
    make(world, namespace, object)?;
    if port == 0 {
        return Ok(());
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels},
        "spec": {"selector": {"app": name}, "ports": [{"name": "main", "port": port, "targetPort": port}]},
    });
    make(world, namespace, service)
}

fn single_pod(world: &mut World, namespace: &str, name: &str, image: &str) -> Result<(), Refusal> {
    let container = if name.starts_with("kube-proxy") {
        "kube-proxy"
    } else {
        name
    };
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": container, "team": namespace}},
        "spec": {"containers": [{"name": container, "image": image}]},
    });
    if let Some(node) = name.strip_prefix("kube-proxy-") {
        set(&mut pod, &["spec", "nodeName"], json!(node));
    }
    make(world, namespace, pod)
}

fn nodes(world: &mut World) -> Result<(), Refusal> {
    let now = rfc3339(world.now);
    for (number, name) in defaults::NODES.iter().enumerate() {
        let role = if number == 0 {
            "node-role.kubernetes.io/control-plane"
        } else {
            "node-role.kubernetes.io/worker"
        };
        let node = json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {role: "", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": format!("zone-{}", number + 1)}},
            "spec": {"podCIDR": format!("10.42.{number}.0/24")},
            "status": {
                "addresses": [{"type": "InternalIP", "address": format!("10.0.0.{}", 10 + number)}, {"type": "Hostname", "address": name}],
                "capacity": {"cpu": "4", "memory": "16Gi", "pods": "110"}, "allocatable": {"cpu": "4", "memory": "15Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "the demo's node is always ready", "lastHeartbeatTime": now, "lastTransitionTime": now}],
                "nodeInfo": {
                    "kubeletVersion": "v1.36.0", "kubeProxyVersion": "", "osImage": "Demo Linux", "kernelVersion": "6.12.0-demo", "containerRuntimeVersion": "demo://1.0",
                    "operatingSystem": "linux", "architecture": "amd64", "machineID": "", "systemUUID": "", "bootID": "",
                },
            },
        });
        make(world, "", node)?;
    }
    Ok(())
}

fn network_policy((_, name, app, side, peers): (&str, &str, &str, Side, &[&str])) -> Value {
    let by_app = |app: &str| json!({"matchLabels": {"app": app}});
    let peer = |peer: &&str| match peer.split_once('/') {
        Some((address, _)) if address.contains('.') => json!({"ipBlock": {"cidr": peer}}),
        Some((namespace, app)) => {
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, "podSelector": by_app(app)})
        }
        None => json!({"podSelector": by_app(peer)}),
    };
    let peers: Vec<Value> = peers.iter().map(peer).collect();
    let (kind, rules, whom) = match side {
        Side::Ingress => ("Ingress", "ingress", "from"),
        Side::Egress => ("Egress", "egress", "to"),
    };
    let mut spec = json!({"podSelector": if app.is_empty() { json!({}) } else { by_app(app) }, "policyTypes": [kind]});
    if !peers.is_empty() {
        set(&mut spec, &[rules], json!([{whom: peers}]));
    }
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec})
}

fn settings(world: &mut World) -> Result<(), Refusal> {
    let map = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    let secret = |name: &str, data: Value| json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": name}, "data": data});
    make(
        world,
        "shop",
        map(
            "web-settings",
            json!({"currency": "EUR", "banner": "autumn", "theme.json": "{\"dark\": true}"}),
        ),
    )?;
    make(
        world,
        "payments",
        map("api-settings", json!({"provider": "demo-bank", "retries": "3"})),
    )?;
    make(
        world,
        "monitoring",
        map("alert-rules", json!({"shop.yaml": "groups: []"})),
    )?;
    // "not-a-real-secret", so that whoever decodes it is told.
    make(
        world,
        "payments",
        secret("bank-credentials", json!({"token": "bm90LWEtcmVhbC1zZWNyZXQ="})),
    )?;
    make(
        world,
        "shop",
        secret("session-key", json!({"key": "bm90LWEtcmVhbC1zZWNyZXQ="})),
    )
}

/// One pod of `ledger-sync` keeps failing.
fn crash(world: &mut World, now: Timestamp) -> Result<(), Refusal> {
    let Some(pod) = world
        .within(kinds::PODS, "payments")
        .into_iter()
        .find(|pod| pod.at("metadata").at("labels").at("app") == "ledger-sync")
    else {
        return Ok(());
    };
    let mut object = Value::clone(&pod);
    let message = "back-off 5m0s restarting failed container=ledger-sync";
    let finished = rfc3339(now.minus(Duration::from_secs(95)));
    let mut status = object.at("status").at("containerStatuses").at(0).clone();
    set(&mut status, &["ready"], json!(false));
    set(&mut status, &["started"], json!(false));
    set(&mut status, &["restartCount"], json!(17));
    set(
        &mut status,
        &["state"],
        json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}),
    );
    set(
        &mut status,
        &["lastState"],
        json!({"terminated": {"exitCode": 1, "reason": "Error", "startedAt": finished, "finishedAt": finished}}),
    );
    set(&mut object, &["status", "containerStatuses"], json!([status]));
    for condition in elements_mut(&mut object, "/status/conditions") {
        if condition.at("type") == "Ready" || condition.at("type") == "ContainersReady" {
            set(condition, &["status"], json!("False"));
            set(condition, &["reason"], json!("ContainersNotReady"));
        }
    }
    let key = Key::new(
        kinds::PODS,
        "payments",
        pod.at("metadata").at("name").as_str().unwrap_or_default(),
    );
    let crashed = operations::replace(world, &key, object, Part::Status)?;
    super::events::note(world, kinds::PODS, &crashed, "BackOff", message, "kubelet")
}

#[cfg(test)]
mod tests {
    use super::super::store::Scope;
    use super::*;

    fn world() -> World {
        let mut world = World::empty(1000);
        fill(&mut world, Timestamp::from_unix_seconds(1_795_000_000)).unwrap();
        world
    }

    fn count(world: &World, plural: &str, group: &str) -> usize {
        let kind = KindId::by_plural(group, plural).unwrap();
        world.scope(&Scope { kind, namespace: None }).count()
    }

    #[test]
    fn the_world_has_what_the_demo_says_it_has() {
        let world = world();
        assert_eq!(count(&world, "namespaces", ""), NAMESPACES);
        assert_eq!(count(&world, "pods", ""), PODS);
        assert_eq!(count(&world, "networkpolicies", "networking.k8s.io"), NETWORK_POLICIES);
        assert!(world.object(&Key::new(kinds::PODS, "payments", "web-0")).is_some());
    }

    #[test]
    fn two_worlds_of_the_same_moment_are_equal() {
        let pods = |world: &World| {
            world
                .scope(&Scope {
                    kind: kinds::PODS,
                    namespace: None,
                })
                .map(|(_, pod)| pod.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(pods(&world()), pods(&world()));
    }

    #[test]
    fn every_object_of_the_world_has_only_fields_that_exist() {
        let world = world();
        for kind in KindId::all() {
            for (key, object) in world.scope(&Scope { kind, namespace: None }) {
                let unknown = super::super::schema::unknown_fields(object, kind.row().message);
                assert_eq!(unknown, Vec::<String>::new(), "{key:?}");
            }
        }
    }
}
