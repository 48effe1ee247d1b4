//! What this release does not carry (exec, attach, port-forward, the proxy subresources): real kubectl, by WebSocket and by
//! SPDY, gets an answer that says so; it is decided and recorded like any other call, and nothing reaches the cluster.

use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::Kubectl;

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: enters, namespace: shop }
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [""]
  resources: [pods/exec, pods/attach, pods/portforward, pods/proxy, services/proxy]
  verbs: [get, create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: enters, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: enters }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: looks, namespace: shop }
rules:
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: looks, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: looks }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }]
---
apiVersion: v1
kind: Pod
metadata: { name: web, namespace: shop }
spec:
  nodeName: nowhere
  containers: [{ name: c, image: none, ports: [{ containerPort: 80 }] }]
"#;

/// kubectl looks at the pod's state before it asks: no node runs it, so it is said.
const RUNNING: &str = r#"{"status":{"phase":"Running","containerStatuses":[{"name":"c","ready":true,"restartCount":0,"image":"none","imageID":"","state":{"running":{}}}]}}"#;

const SAYS: &str = "entering a pod, node or service is not built yet in this release";

/// Command and the subresource that it asks for.
const COMMANDS: [(&str, &str); 5] = [
    ("exec web -n shop -- true", "exec"),
    ("attach web -n shop", "attach"),
    ("port-forward web -n shop :80", "portforward"),
    ("get --raw /api/v1/namespaces/shop/pods/web:80/proxy/x", "proxy"),
    ("get --raw /api/v1/namespaces/shop/services/web:80/proxy/", "proxy"),
];

fn ways(kubectl: &Kubectl) -> [(&'static str, Kubectl); 2] {
    let over = |websockets: &str| {
        let all = kubectl.clone().with("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        all.with("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
    };
    [("WebSocket", over("true")), ("SPDY", over("false"))]
}

fn says(kubectl: &Kubectl, line: &str, words: &str) -> anyhow::Result<()> {
    let said = kubectl.run(&line.split(' ').collect::<Vec<_>>())?;
    anyhow::ensure!(said.code == 1 && said.stderr.contains(words), "no `{words}`: {said}");
    Ok(())
}

/// Refusals by the subresource that was asked for, with the status.
fn refused(records: &[Value], user: &str, status: u16) -> Vec<String> {
    let wanted = |record: &&Value| {
        record["kind"] == "refusal" && record["by"]["user"] == user && record["outcome"]["status"] == status
    };
    let name = |record: &Value| record["req"]["subresource"].as_str().unwrap_or_default().to_owned();
    records.iter().filter(wanted).map(name).collect()
}

#[test]
fn entering_is_decided_recorded_and_said_not_to_be_built() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    admin.ok(&[
        "patch",
        "pod",
        "web",
        "-n",
        "shop",
        "--subresource=status",
        "--type=strategic",
        "-p",
        RUNNING,
    ])?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    for (way, kubectl) in ways(&alice) {
        for (line, subresource) in COMMANDS {
            says(&kubectl, line, SAYS).map_err(|error| error.context(format!("{way}: {line}")))?;
            let records = gateway.records_with("the refusal is recorded", |records| {
                refused(records, "alice@example.com", 501)
                    .iter()
                    .any(|asked| asked == subresource)
            })?;
            assert!(records.len() > 1);
        }
    }
    // Without the right it is refused before: what is not built lends nobody a right.
    let bob = gateway.kubectl("bob", &gateway.sign_in("bob")?.token)?;
    for (way, kubectl) in ways(&bob) {
        for (line, _) in COMMANDS {
            says(&kubectl, line, "bob@example.com may not ")
                .map_err(|error| error.context(format!("{way}: {line}")))?;
        }
    }
    let enters = |records: &[Value]| refused(records, "bob@example.com", 403).len() >= 2 * COMMANDS.len();
    let records = gateway.records_with("bob's refusals", enters)?;
    let of_streams = |record: &&Value| record["kind"] == "refusal" && record["req"]["subresource"] == "exec";
    assert!(
        records
            .iter()
            .filter(of_streams)
            .all(|record| record["req"]["action"] == "exec")
    );
    assert_eq!(refused(&records, "bob@example.com", 501), Vec::<String>::new());
    // A plain call behind them, so that whatever was wrongly sent before it would be in the server's log by now.
    alice.ok(&["get", "pod", "web", "-n", "shop"])?;
    for event in cluster.audit_events()? {
        let entered = event
            .object_ref
            .as_ref()
            .is_some_and(|object| ["exec", "attach", "portforward", "proxy"].contains(&object.subresource.as_str()));
        assert!(!entered, "it reached the cluster: {} {}", event.verb, event.request_uri);
    }
    Ok(())
}
