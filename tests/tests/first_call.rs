//! The story that all else stands on: a person signs in at a certified provider, kubectl calls a real API server through
//! the gate, and the ledger says who did it.

use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};

const ROLES: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: shop-dev }
rules:
- apiGroups: [""]
  resources: [configmaps, pods, pods/log]
  verbs: [get, list, watch, create, update, patch, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shop-dev }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

fn find<'r>(records: &'r [Value], kind: &str, name: &str) -> Option<&'r Value> {
    records
        .iter()
        .find(|record| record["kind"] == kind && record["req"]["name"] == name)
}

#[test]
fn a_named_human_calls_a_real_cluster_and_the_ledger_says_so() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(ROLES)?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.sign_in("alice")?;
    let kubectl = gateway.kubectl("alice", &alice.token)?;

    let created = kubectl.run(&["create", "configmap", "first", "-n", "shop", "--from-literal=a=b"])?;
    assert_eq!(created.code, 0, "{created}\n{}", gateway.log());
    let read = kubectl.run(&["get", "configmap", "first", "-n", "shop", "-o", "jsonpath={.data.a}"])?;
    assert_eq!((read.code, read.stdout.as_str()), (0, "b"), "{read}\n{}", gateway.log());
    let mut watch = kubectl.start(&["get", "configmaps", "-n", "shop", "--watch", "-o", "name"])?;
    watch.line("the list before the watch", |line| line.contains("configmap/first"))?;
    kubectl.ok(&["create", "configmap", "second", "-n", "shop"])?;
    watch.line("the watch shows the new object", |line| {
        line.contains("configmap/second")
    })?;
    drop(watch);
    let refused = kubectl.run(&["get", "secrets", "-n", "shop"])?;
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused
            .stderr
            .starts_with("Error from server (Forbidden): alice@example.com may not list secrets in namespace shop"),
        "{refused}"
    );

    let refusal = |record: &Value| record["kind"] == "refusal";
    let outcomes = |records: &[Value]| records.iter().filter(|record| record["kind"] == "outcome").count() == 2;
    let records = gateway.records_with("both ends and the refusal", |records| {
        outcomes(records) && records.iter().any(refusal)
    })?;
    let intent = find(&records, "intent", "")
        .or_else(|| {
            records
                .iter()
                .find(|r| r["kind"] == "intent" && r["req"]["verb"] == "create")
        })
        .expect("an intent");
    assert_eq!(intent["by"]["user"], "alice@example.com");
    assert_eq!(intent["by"]["sub"], "alice");
    assert_eq!(intent["req"]["resource"], "configmaps");
    let outcome = records
        .iter()
        .find(|r| r["kind"] == "outcome" && r["pair"] == intent["seq"])
        .expect("its outcome");
    assert_eq!(outcome["outcome"]["status"], 201);
    let access = find(&records, "access", "first").expect("the read");
    assert_eq!(access["by"]["user"], "alice@example.com");
    let refusal = records
        .iter()
        .find(|r| r["kind"] == "refusal" && r["req"]["resource"] == "secrets")
        .expect("the refusal");
    assert_eq!(refusal["decision"]["allowed"], false);

    let id = intent["id"].as_str().expect("an id");
    let event = cluster.audit_event("the server's own record of the same call", |event| event.audit_id == id)?;
    assert_eq!(event.person(), "alice@example.com");
    Ok(())
}
