//! The commands of people against the real parts: kubectl with our credential plugin, `gatescribe serve`, a certified
//! provider, a browser by script. What a refusal tells a person to run is run, as it is printed.

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: shop-dev }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: shop-dev }
rules:
- apiGroups: [""]
  resources: [configmaps, pods]
  verbs: [get, list, watch, create, update, patch, delete]
"#;

const RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: pods-stay }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { verbs: [delete, deletecollection], resources: [pods] }
"#;

fn member(text: &str, name: &str) -> anyhow::Result<Value> {
    let document: Value = serde_json::from_str(text).with_context(|| text.to_owned())?;
    Ok(document[name].clone())
}

#[test]
fn a_person_signs_in_works_asks_why_and_signs_out_by_commands_alone() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(WORLD)?;
    let rules = Some(RULES.to_owned());
    let gateway = Gateway::start(
        &cluster,
        &Options {
            rules,
            ..Options::default()
        },
    )?;
    let login = format!("gatescribe login {}", gateway.url);
    let alice = Person::new(&gateway, "alice")?;
    alice.signs_in(&login)?;

    // kubectl has no credential of its own: the plugin gives one for each call.
    let kubeconfig = std::fs::read_to_string(alice.kubeconfig())?;
    assert!(
        kubeconfig.contains("credential") && !kubeconfig.contains("token:"),
        "{kubeconfig}"
    );
    alice.ok("kubectl create configmap first -n shop --from-literal=a=b")?;
    let read = alice.ok("kubectl get configmap first -n shop -o jsonpath={.data.a}")?;
    assert_eq!(read.stdout, "b");
    let event = cluster.audit_event("the server's own word on it", |event| {
        event.verb == "create" && event.request_uri.starts_with("/api/v1/namespaces/shop/configmaps")
    })?;
    assert_eq!(event.person(), "alice@example.com");

    let told = alice.ok("gatescribe whoami --claims -o json")?.stdout;
    assert_eq!(member(&told, "username")?, "alice@example.com");
    assert_eq!(member(&told, "groups")?, serde_json::json!(["dev"]));
    assert_eq!(member(&told, "claims")?["sub"], "alice", "{told}");
    let bindings = &member(&told, "clusters")?[0]["bindings"];
    let by_group = |binding: &serde_json::Value| binding["by"]["group"] == "dev" && binding["namespace"] == "shop";
    ensure!(
        bindings.as_array().is_some_and(|all| all.iter().any(by_group)),
        "the binding that names her group: {bindings}"
    );
    alice.ok("gatescribe can create configmaps -n shop")?;
    assert_eq!(alice.types("gatescribe can list secrets -n shop")?.code, 1);
    assert_eq!(
        alice.types("gatescribe can delete pods -n shop")?.code,
        1,
        "a rule forbids it"
    );

    searches(&alice, &event.audit_id)?;
    refusals(&gateway, &alice)?;
    signs_out(&cluster, &alice, &login)
}

/// What was done is found by the one who did it, and by an auditor; not by others.
fn searches(alice: &Person<'_>, id: &str) -> anyhow::Result<()> {
    let found = try_until("the call is found", PATIENCE, || {
        let found = alice.ok("gatescribe audit search --since 10m name:first verb:get")?;
        ensure!(found.stdout.contains("alice@example.com"), "{found}");
        Ok(found)
    })?;
    assert!(found.stdout.contains("kubectl get configmaps first -n shop"), "{found}");
    let shown = alice.ok(&format!("gatescribe audit show {id}"))?;
    assert!(
        shown.stdout.contains("configmaps") && shown.stdout.contains("201"),
        "{shown}"
    );
    for (name, sees) in [("bob", false), ("carol", true)] {
        let other = Person::new(alice.gateway(), name)?;
        other.signs_in(&format!("gatescribe login {}", alice.gateway().url))?;
        let found = other.types("gatescribe audit search --since 10m user:alice@example.com")?;
        assert_eq!(found.code, i32::from(!sees), "{name}: {found}");
        assert_eq!(found.stdout.contains("alice@example.com"), sees, "{name}: {found}");
        assert_eq!(
            other.types(&format!("gatescribe audit show {id}"))?.code == 0,
            sees,
            "{name}"
        );
    }
    Ok(())
}

/// Each refusal names a command; it is run as printed and succeeds.
fn refusals(gateway: &Gateway, alice: &Person<'_>) -> anyhow::Result<()> {
    for (line, because) in [
        ("kubectl get secrets -n shop", "no role allows it"),
        ("kubectl delete pod any -n shop", "a rule forbids it"),
        ("kubectl get configmaps -n shop --as=bob@example.com", "may not act as"),
    ] {
        let refused = alice.types(line)?;
        assert!(
            refused.code == 1 && refused.stderr.contains(because),
            "{line}: {refused}"
        );
        let next = Person::next(&refused)?;
        let told = try_until("the refusal is explained", PATIENCE, || alice.ok(&next))?;
        assert!(told.stdout.contains("refused"), "{next}: {told}");
        let decision = refused
            .stderr
            .lines()
            .find_map(|line| line.trim().strip_prefix("decision "));
        let id = decision
            .and_then(|rest| rest.split_whitespace().next())
            .context("a decision id")?;
        let told = alice.ok(&format!("gatescribe why {id}"))?;
        assert!(told.stdout.contains(because), "{told}");
    }
    let dave = Person::new(gateway, "dave")?;
    dave.signs_in(&format!("gatescribe login {}", gateway.url))?;
    let refused = dave.types("kubectl get configmaps -n shop")?;
    assert!(refused.stderr.contains("gives you no group"), "{refused}");
    let told = dave.ok(&Person::next(&refused)?)?;
    assert!(
        told.stdout.contains("dave@example.com") && told.stdout.contains("none"),
        "{told}"
    );
    Ok(())
}

/// After a sign-out nothing passes, and every program says how to come back.
fn signs_out(cluster: &Cluster, alice: &Person<'_>, login: &str) -> anyhow::Result<()> {
    let handed_out = alice.types("gatescribe kube credential --help")?;
    assert_eq!(handed_out.code, 0, "{handed_out}");
    alice.ok("gatescribe logout")?;
    let before = cluster
        .audit_events()?
        .iter()
        .filter(|event| event.person() == "alice@example.com")
        .count();
    let refused = alice.types("kubectl get configmaps -n shop")?;
    assert!(refused.code != 0 && refused.stderr.contains(login), "{refused}");
    let asked = alice.types("gatescribe whoami")?;
    assert!(asked.code == 3 && asked.stderr.contains(login), "{asked}");
    let after = cluster
        .audit_events()?
        .iter()
        .filter(|event| event.person() == "alice@example.com")
        .count();
    assert_eq!(before, after, "nothing reached the cluster");
    alice.signs_in(login)?;
    alice.ok("kubectl get configmaps -n shop").map(drop)
}
