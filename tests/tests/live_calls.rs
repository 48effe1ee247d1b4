//! Calls that go on end as soon as they would be refused, and only those: real kubectl watches and follows logs while
//! bindings, sessions and access rules change.

use tests::browser::Browser;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::counterparts::repository;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Kubectl, Running};
use tests::records::ended_of;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: Namespace
metadata: { name: bank }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: work }
rules:
- apiGroups: [""]
  resources: [configmaps, pods, pods/log]
  verbs: [get, list, watch, create, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: developers }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: work }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: operators }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: work }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: here, namespace: shop }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: here, namespace: bank }
"#;

const TALKER: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: talker, namespace: shop }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - name: talker
      image: none
      command: [sh, -c, "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"]
"#;

fn watch(kubectl: &Kubectl, namespace: &str) -> anyhow::Result<Running> {
    let mut watch = kubectl.start(&["get", "configmaps", "-n", namespace, "--watch", "-o", "name"])?;
    watch.line("the list before the watch", |line| line == "configmap/here")?;
    Ok(watch)
}

/// Shows that a watch goes on: something made now arrives.
fn goes_on(admin: &Kubectl, watch: &mut Running, namespace: &str, name: &str) -> anyhow::Result<()> {
    admin.ok(&["create", "configmap", name, "-n", namespace])?;
    let wanted = format!("configmap/{name}");
    watch.line("the watch goes on", |line| line == wanted).map(drop)
}

#[test]
fn a_removed_binding_ends_live_watches_and_logs_while_anothers_go_on() -> anyhow::Result<()> {
    let cluster = Cluster::with_pods(&[WORLD, "---", TALKER].concat())?;
    let admin = cluster.admin()?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    let bob = gateway.kubectl_of("bob")?;
    let (mut hers, mut his) = (watch(&alice, "shop")?, watch(&bob, "shop")?);
    let follow = ["logs", "-f", "talker", "-n", "shop"];
    let (mut her_log, mut his_log) = (alice.start(&follow)?, bob.start(&follow)?);
    for log in [&mut her_log, &mut his_log] {
        log.line("a line of the log", |line| line.starts_with("line "))?;
    }
    gateway.has_open(4)?;

    admin.ok(&["delete", "clusterrolebinding", "developers"])?;
    assert_eq!(her_log.end()?, 0, "a log that ends is no error to kubectl");
    hers.end()?;
    goes_on(&admin, &mut his, "shop", "after-the-end")?;
    his_log.goes_on()?;
    assert!(!hers.lines().iter().any(|line| line.contains("after-the-end")));
    let again = alice.run(&["get", "configmaps", "-n", "shop", "--watch"])?;
    assert_eq!(again.code, 1, "listing again meets the refusal: {again}");

    let records = gateway.records_with("both closes", |records| {
        ended_of(records, "alice@example.com").len() == 2
    })?;
    for why in ended_of(&records, "alice@example.com") {
        assert!(
            why.starts_with("ended by the gateway: no role and no rule allows it")
                || why.starts_with("ended by the gateway: no role allows it, and the cluster agrees"),
            "{why}"
        );
    }
    assert_eq!(ended_of(&records, "bob@example.com"), Vec::<&str>::new());
    Ok(())
}

#[test]
fn an_ended_session_takes_its_own_watches_and_leaves_those_of_others() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let leaving = gateway.sign_in("alice")?;
    let staying = gateway.sign_in("alice")?;
    let copied = gateway.sign_in("bob")?;
    let mut left = watch(&gateway.kubectl("alice-1", &leaving.token)?, "bank")?;
    let mut stayed = watch(&gateway.kubectl("alice-2", &staying.token)?, "bank")?;
    let mut stolen = watch(&gateway.kubectl("bob", &copied.token)?, "bank")?;
    gateway.has_open(3)?;

    gateway.revoke(&leaving.handle)?;
    left.end()?;
    goes_on(&admin, &mut stayed, "bank", "after-sign-out")?;
    goes_on(&admin, &mut stolen, "bank", "still-bob")?;

    // The same handle used twice by different hands: only a copy does that, and it ends the session.
    let first = gateway.renew(&copied.handle, "bench")?;
    gateway.renew(&first.handle, "bench")?;
    assert!(
        gateway.renew(&copied.handle, "bench").is_err(),
        "an old handle is refused"
    );
    stolen.end()?;
    goes_on(&admin, &mut stayed, "bank", "after-the-copy")?;

    let records = gateway.records_with("both closes", |records| {
        ended_of(records, "alice@example.com").len() == 1 && ended_of(records, "bob@example.com").len() == 1
    })?;
    assert_eq!(
        ended_of(&records, "alice@example.com"),
        ["ended by the gateway: the sign-in has ended: you signed out"]
    );
    assert_eq!(
        ended_of(&records, "bob@example.com"),
        ["ended by the gateway: the sign-in has ended: one of its secrets was used twice, which only a copy does"]
    );
    Ok(())
}

const SHUT: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: shop-is-shut, namespace: shop }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { verbs: ["*"], resources: [configmaps] }
"#;

/// A misspelt member: the API server keeps it, and the gateway refuses the object as a whole.
const MISSPELT: &str = r#"
apiVersion: gatescribe.dev/v1
kind: ClusterAccessRule
metadata: { name: NAME }
spec:
  effect: EFFECT
  subjects: { groups: ["*"] }
  kubernetes: { verbs: ["*"], resources: [RESOURCE], namspaces: [shop] }
"#;

#[test]
fn access_rules_in_the_cluster_count_at_once_and_each_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    let without = Gateway::start(&cluster, &Options::default())?;
    let alice = without.kubectl("alice", &without.sign_in("alice")?.token)?;
    alice.ok(&["get", "configmaps", "-n", "shop"])?;
    assert!(
        without.log().contains("the cluster does not know this kind"),
        "{}",
        without.log()
    );
    drop(without);

    cluster.apply_file(&repository().join("deploy/kubernetes/access-rules.yaml"))?;
    admin.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=170s"])?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    let (mut shop, mut bank) = (watch(&alice, "shop")?, watch(&alice, "bank")?);
    gateway.has_open(2)?;

    admin.apply(SHUT)?;
    shop.end()?;
    let refused = alice.run(&["get", "configmaps", "-n", "shop"])?;
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused.stderr.contains("rule      AccessRule shop/shop-is-shut"),
        "{refused}"
    );
    goes_on(&admin, &mut bank, "bank", "another-namespace")?;
    admin.ok(&["delete", "accessrule", "shop-is-shut", "-n", "shop"])?;
    try_until("the shop is open again", PATIENCE, || {
        alice.ok(&["get", "configmaps", "-n", "shop"]).map(drop)
    })?;

    let written = |name: &str, effect: &str, resource: &str| {
        MISSPELT
            .replace("NAME", name)
            .replace("EFFECT", effect)
            .replace("RESOURCE", resource)
    };
    admin.apply(&written("meant-well", "allow", "secrets"))?;
    admin.apply(&written("meant-strictly", "forbid", "pods"))?;
    try_until("the invalid forbid forbids its readable scope", PATIENCE, || {
        let refused = alice.run(&["get", "pods", "-n", "bank"])?;
        anyhow::ensure!(refused.stderr.contains("AccessRule meant-strictly"), "{refused}");
        Ok(())
    })?;
    let secrets = alice.run(&["get", "secrets", "-n", "shop"])?;
    assert_eq!(secrets.code, 1, "an invalid allow grants nothing: {secrets}");
    alice.ok(&["get", "configmaps", "-n", "shop"])?;
    let metrics = Browser::default().request("GET", &format!("http://{}/metrics", gateway.admin()), "")?;
    for line in [
        "gateway_policy_invalid_granting_nothing{cluster=\"bench\"} 1",
        "gateway_policy_invalid_forbidding{cluster=\"bench\"} 1",
    ] {
        assert!(
            metrics.body.lines().any(|found| found == line),
            "{line} in {}",
            metrics.body
        );
    }
    assert!(
        gateway.log().contains("an access rule of the cluster is invalid"),
        "{}",
        gateway.log()
    );

    let loosening = SHUT.replace("effect: forbid", "effect: allow");
    let told = admin.run_with_input(&["apply", "-f", "-"], &loosening)?;
    assert!(told.stderr.contains("a rule of a namespace cannot loosen"), "{told}");
    let unknown = SHUT.replace("effect: forbid", "effect: perhaps");
    let told = admin.run_with_input(&["apply", "-f", "-"], &unknown)?;
    assert!(told.stderr.contains("Unsupported value: \"perhaps\""), "{told}");
    Ok(())
}
