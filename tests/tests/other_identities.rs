//! Identities besides a person's own, on a real cluster: ServiceAccounts by TokenReview (OIDC-29, IMP-12), and a person who
//! acts as another (`kubectl --as`, IMP-02), recorded as both.

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::wait::try_until;

const RIGHTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: apps }
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: reader, namespace: apps }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: reads-configmaps }
rules: [{ apiGroups: [""], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: apps }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reads-configmaps }
subjects:
- { kind: ServiceAccount, name: reader, namespace: apps }
- { apiGroup: rbac.authorization.k8s.io, kind: User, name: bob@example.com }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: acts-as-bob }
rules: [{ apiGroups: [""], resources: [users], resourceNames: [bob@example.com], verbs: [impersonate] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: acts-as-bob }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: acts-as-bob }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: alice@example.com }]
"#;
const TARGET: &str = "/clusters/bench/api/v1/namespaces/apps/configmaps";
const READER: &str = "system:serviceaccount:apps:reader";

fn started() -> anyhow::Result<(Cluster, Gateway)> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(RIGHTS)?;
    let options = Options {
        identity: Some(json!({ "serviceAccounts": { "accept": true } })),
        ..Options::default()
    };
    let gateway = Gateway::start(&cluster, &options)?;
    Ok((cluster, gateway))
}

#[test]
fn oidc_29_a_service_account_counts_with_our_audience_and_until_it_is_deleted() -> anyhow::Result<()> {
    let (cluster, gateway) = started()?;
    let client = gateway.client()?;
    let ask = |token: &str| client.get(TARGET, &[("Authorization", &format!("Bearer {}", token.trim()))]);
    let token = |audience: &[&str]| {
        let mut arguments = vec!["create", "token", "reader", "-n", "apps"];
        arguments.extend_from_slice(audience);
        cluster.admin()?.ok(&arguments)
    };
    let ours = token(&["--audience", &gateway.url])?;
    let answer = ask(&ours)?;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let of_reader = |record: &&Value| record["kind"] == "access" && record["by"]["user"] == READER;
    let records = gateway.records_with("the read is the account's", |records| {
        records.iter().any(|r| of_reader(&r))
    })?;
    let id = records.iter().find(of_reader).expect("a record")["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let event = cluster.audit_event("the same call upstream", |event| event.audit_id == id)?;
    assert_eq!(event.person(), READER);
    for other in [vec![], vec!["--audience", "https://another.example"]] {
        let answer = ask(&token(&other)?)?;
        assert_eq!(answer.status, 401, "a token for {other:?} is none for the gateway");
    }
    cluster
        .admin()?
        .ok(&["delete", "serviceaccount", "reader", "-n", "apps"])?;
    // A positive answer counts for 10 s at most.
    try_until(
        "the deleted account's token is refused",
        Duration::from_secs(30),
        || {
            let status = ask(&ours)?.status;
            ensure!(status == 401, "still {status}");
            Ok(())
        },
    )
}

#[test]
fn imp_02_whoever_acts_as_another_is_decided_and_recorded_as_both() -> anyhow::Result<()> {
    let (cluster, gateway) = started()?;
    let alice = gateway.sign_in("alice")?;
    let kubectl = gateway.kubectl("alice", &alice.token)?;
    let own = kubectl.run(&["get", "configmaps", "-n", "apps"])?;
    assert_eq!(own.code, 1, "alice herself may not: {own}");
    let as_bob = kubectl.run(&["get", "configmaps", "-n", "apps", "--as", "bob@example.com"])?;
    assert_eq!(as_bob.code, 0, "{as_bob}\n{}", gateway.log());
    for other in ["carol@example.com", "system:admin", READER] {
        let refused = kubectl.run(&["get", "configmaps", "-n", "apps", "--as", other])?;
        assert_eq!(refused.code, 1, "{other}: {refused}");
    }
    let more = kubectl.run(&[
        "get",
        "configmaps",
        "-n",
        "apps",
        "--as",
        "bob@example.com",
        "--as-group",
        "system:masters",
    ])?;
    assert_eq!(more.code, 1, "a group that was not granted: {more}");
    let both = |record: &&Value| record["as"]["user"] == "bob@example.com" && record["outcome"]["status"] != 403;
    let sent = |record: &&Value| both(record) && matches!(record["kind"].as_str(), Some("access" | "intent"));
    let records = gateway.records_with("the call is recorded", |records| records.iter().any(|r| sent(&r)))?;
    let record = records.iter().find(sent).expect("the call as bob");
    assert_eq!(record["by"]["user"], "alice@example.com", "{record}");
    let id = record["id"].as_str().expect("an id").to_owned();
    let event = cluster.audit_event("the same call upstream", |event| event.audit_id == id)?;
    assert_eq!(event.person(), "bob@example.com");
    Ok(())
}
