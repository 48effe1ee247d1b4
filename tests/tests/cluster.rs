//! The control plane of the bench is a real one, and its options do what they say.

use serde_json::json;
use tests::cluster::{Cluster, Options, any_admin_of};
use tests::kubectl::Credential;
use tests::wait::{PATIENCE, wait_until};

#[test]
fn the_servers_own_audit_log_tells_who_did_what() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let alice = cluster.as_person("alice", &["dev", "ops"])?;
    let refused = alice.run(&["delete", "configmap", "audited"])?;
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains(r#"User "alice" cannot delete resource "configmaps""#),
        "{refused}"
    );
    let event = cluster.audit_event("alice's attempt", |event| {
        event.person() == "alice" && event.verb == "delete"
    })?;
    assert_eq!(event.code(), Some(403));
    assert_eq!(event.user.groups, ["dev", "ops", "system:authenticated"]);
    assert!(event.impersonated_user.is_none());
    let object = event.object_ref.unwrap_or_default();
    assert_eq!(
        (object.resource.as_str(), object.name.as_str()),
        ("configmaps", "audited")
    );
    assert!(!event.audit_id.is_empty());
    Ok(())
}

#[test]
fn versions_are_the_pinned_ones() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    let version: serde_json::Value = serde_json::from_str(&cluster.admin()?.ok(&["version", "-o", "json"])?)?;
    assert_eq!(version["clientVersion"]["gitVersion"], "v1.36.3");
    assert_eq!(version["serverVersion"]["gitVersion"], "v1.36.3");
    Ok(())
}

#[test]
fn a_persons_own_cluster_is_used_when_named() -> anyhow::Result<()> {
    let shared = Cluster::shared()?.admin()?;
    let named = any_admin_of(Some(shared.kubeconfig()))?;
    assert_eq!(named.kubeconfig(), shared.kubeconfig());
    assert!(named.ok(&["auth", "whoami"])?.contains("admin"));
    let missing = any_admin_of(Some("/nowhere/kubeconfig".as_ref())).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "GATESCRIBE_TEST_KUBECONFIG: no file /nowhere/kubeconfig"
    );
    assert_eq!(any_admin_of(None)?.kubeconfig(), shared.kubeconfig());
    Ok(())
}

#[test]
fn debian_programs_run_without_being_installed() -> anyhow::Result<()> {
    let set = tests::tools::debian(&["nginx", "nginx-common", "wrk"])?;
    let mut version = set.command("nginx")?;
    version.arg("-v");
    let said = tests::kubectl::run(version, "", PATIENCE)?;
    assert!(said.stderr.starts_with("nginx version: nginx/"), "{said}");
    assert!(set.command("no-such-program").is_err());
    let again = tests::tools::debian(&["nginx", "nginx-common", "wrk"])?;
    assert_eq!(again.root(), set.root());
    Ok(())
}

#[test]
fn structured_authentication_is_taken() -> anyhow::Result<()> {
    // The issuer need not answer: the server starts without its keys and says which token it cannot judge.
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": false},
        "jwt": [{
            "issuer": {"url": "https://127.0.0.1:1/issuer", "audiences": ["bench"]},
            "claimMappings": {"username": {"claim": "sub", "prefix": ""}},
        }],
    });
    // With anonymous requests off, readiness is asked with the admin's certificate.
    let cluster = Cluster::start(Options {
        authentication_config: Some(config.to_string()),
        ..Options::default()
    })?;
    let stranger = tests::http::Client::new(cluster.address(), cluster.ca().certificate(), None)?;
    assert_eq!(
        stranger.get("/version", &[])?.status,
        401,
        "anonymous is off as configured"
    );
    let holder = cluster.as_holder("holder", &Credential::Token("not.a.token"))?;
    let refused = holder.run(&["get", "pods"])?;
    assert!(
        refused.stderr.contains("You must be logged in to the server"),
        "{refused}"
    );
    Ok(())
}

#[test]
fn kwok_plays_hundreds_of_pods() -> anyhow::Result<()> {
    let cluster = Cluster::start(Options {
        kwok: true,
        ..Options::default()
    })?;
    let admin = cluster.admin()?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {
        "name": "fake-1", "annotations": {"kwok.x-k8s.io/node": "fake"}}});
    let pods = (0..300).map(|number| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("many-{number}")},
               "spec": {"nodeName": "fake-1", "containers": [{"name": "none", "image": "none"}]}})
    });
    let items: Vec<_> = std::iter::once(node).chain(pods).collect();
    admin.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string())?;
    wait_until("all are Running", PATIENCE, || {
        let selector = "--field-selector=status.phase=Running";
        let running = admin.ok(&["get", "pods", selector, "-o", "name"]).ok()?;
        (running.lines().count() == 300).then_some(())
    })?;
    Ok(())
}

#[test]
fn the_same_new_objects_may_be_applied_by_many_at_the_same_time() -> anyhow::Result<()> {
    let admin = Cluster::shared()?.admin()?;
    let items: Vec<_> = (0..4)
        .map(
            |number| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": format!("wanted-{number}")}}),
        )
        .collect();
    let world = json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string();
    std::thread::scope(|scope| {
        let applied: Vec<_> = (0..6).map(|_| scope.spawn(|| admin.apply(&world))).collect();
        applied
            .into_iter()
            .try_for_each(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
