//! What `deploy/kubernetes/` grants the gateway's accounts, tried on a real API server: enough, and nothing more.
//!
//! For each grant in the files (each resource and each verb of each rule) a variant without it is bound to an account of
//! its own, and a named check must fail there: no grant is for nothing. Accounts of their own also keep the API server's
//! ten-second impersonation cache out of the picture.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tests::cluster::{Cluster, Options};
use tests::counterparts::repository;
use tests::once::Once;
use tests::wait::{PATIENCE, try_until};

const SESSION: &str = "gatescribe.dev/session";

#[test]
fn imp_15_the_impersonator_can_do_nothing_as_itself() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let impersonator = cluster.as_service_account("gatescribe", "impersonator")?;
    for resource in ["pods", "secrets", "namespaces", "clusterroles", "nodes"] {
        let output = impersonator.run(&["get", resource, "-A"])?;
        assert_eq!(output.code, 1, "{resource}: {output}");
        assert!(
            output
                .stderr
                .contains("User \"system:serviceaccount:gatescribe:impersonator\" cannot list resource"),
            "{resource}: {output}"
        );
    }
    let grants = impersonator.ok(&["auth", "can-i", "--list"])?;
    let mut impersonations = 0;
    for grant in grants.lines().skip(1) {
        // Discovery and questions about oneself are open to every account; all else must be impersonation.
        let (_, verbs) = grant.rsplit_once("   [").context("a line without verbs")?;
        let open = grant.starts_with("selfsubject") || (grant.starts_with(' ') && verbs == "get]");
        let impersonation = verbs
            .trim_end_matches(']')
            .split(' ')
            .all(|verb| verb.starts_with("impersonate"));
        assert!(open || impersonation, "{grant}");
        impersonations += usize::from(!open);
    }
    assert!(impersonations > 0, "it may impersonate: {grants}");
    Ok(())
}

#[test]
fn imp_16_a_person_gets_exactly_their_own_rights() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let impersonator = cluster.as_service_account("gatescribe", "impersonator")?;
    let extra = format!("--as-user-extra={SESSION}=s-1");
    let alice = ["--as=alice", "--as-group=dev", "--as-uid=u-1", &extra];
    let listed = impersonator.run(&[&["get", "pods", "-A"], alice.as_slice()].concat())?;
    assert_eq!(listed.code, 0, "{listed}");

    let refused = impersonator.run(&[&["create", "namespace", "alices"], alice.as_slice()].concat())?;
    assert_eq!(refused.code, 1, "{refused}");
    assert!(
        refused
            .stderr
            .contains("User \"alice\" cannot create resource \"namespaces\""),
        "{refused}"
    );

    let event = cluster.audit_event("alice's list is in the audit log", |event| {
        event.person() == "alice" && event.verb == "list" && event.code() == Some(200)
    })?;
    assert_eq!(event.user.username, "system:serviceaccount:gatescribe:impersonator");
    let sent = event.impersonated_user.context("impersonated")?;
    assert_eq!(sent.uid, "u-1");
    assert_eq!(sent.groups, ["dev", "system:authenticated"]);
    assert_eq!(
        sent.extra.get(SESSION).map(Vec::as_slice),
        Some(["s-1".to_owned()].as_slice())
    );
    let constraint = event
        .rest
        .get("authenticationMetadata")
        .and_then(|data| data.get("impersonationConstraint"));
    assert_eq!(constraint, Some(&json!("impersonate:user-info")));
    Ok(())
}

#[test]
fn imp_09_nobody_becomes_a_master_a_node_or_someone_with_foreign_extras() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let impersonator = cluster.as_service_account("gatescribe", "impersonator")?;
    for (flags, refusal) in [
        (
            ["--as=alice", "--as-group=system:masters"],
            "impersonating the system:masters group is not allowed",
        ),
        (
            ["--as=system:node:node-1", "--as-uid="],
            "cannot impersonate-on:arbitrary-node:list",
        ),
        (["--as=alice", "--as-user-extra=example.org/scopes=all"], "userextras"),
        (
            ["--as=system:serviceaccount:default:default", "--as-group=dev"],
            "cannot impersonate",
        ),
    ] {
        let output = impersonator.run(&[["get", "pods"].as_slice(), &flags].concat())?;
        assert_eq!(output.code, 1, "{flags:?}: {output}");
        assert!(output.stderr.contains(refusal), "{flags:?}: {output}");
    }
    Ok(())
}

#[test]
fn the_observer_sees_what_feeds_need_and_no_secret() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let observer = cluster.as_service_account("gatescribe", "observer")?;
    let may = |verb: &str, resource: &str| -> anyhow::Result<bool> {
        Ok(observer.run(&["auth", "can-i", verb, resource, "-A"])?.code == 0)
    };
    for resource in [
        "namespaces",
        "roles.rbac.authorization.k8s.io",
        "rolebindings.rbac.authorization.k8s.io",
        "clusterroles.rbac.authorization.k8s.io",
        "clusterrolebindings.rbac.authorization.k8s.io",
    ] {
        observer.ok(&["get", resource, "-A"])?;
    }
    for (verb, resource, expected) in [
        ("create", "tokenreviews.authentication.k8s.io", true),
        ("create", "subjectaccessreviews.authorization.k8s.io", true),
        ("get", "namespaces", false),
        // For the node in a session's record (observer-pods.yaml).
        ("get", "pods", true),
        ("list", "pods", false),
        ("watch", "pods", false),
        // For where the pods of published Services are (observer-services.yaml).
        ("list", "services", true),
        ("watch", "services", true),
        ("get", "services", false),
        ("list", "endpointslices.discovery.k8s.io", true),
        ("watch", "endpointslices.discovery.k8s.io", true),
        ("get", "endpointslices.discovery.k8s.io", false),
        ("list", "serviceaccounts", false),
        ("get", "secrets", false),
        ("list", "secrets", false),
        ("watch", "secrets", false),
        ("create", "serviceaccounts/token", false),
        ("create", "pods", false),
        ("create", "pods/exec", false),
        ("delete", "namespaces", false),
        ("impersonate", "users", false),
        ("escalate", "clusterroles.rbac.authorization.k8s.io", false),
    ] {
        assert_eq!(may(verb, resource)?, expected, "{verb} {resource}");
    }
    let secrets = observer.run(&["get", "secrets", "-A"])?;
    assert_eq!(secrets.code, 1, "{secrets}");
    Ok(())
}

#[test]
fn imp_16_every_grant_of_the_impersonator_is_needed() -> anyhow::Result<()> {
    every_grant_is_needed(&["impersonator.yaml"], "constrained", &impersonator_checks())
}

#[test]
fn every_grant_of_the_legacy_impersonator_is_needed() -> anyhow::Result<()> {
    every_grant_is_needed(&["impersonator-legacy.yaml"], "legacy", &impersonator_checks())
}

#[test]
fn every_grant_of_the_observer_is_needed() -> anyhow::Result<()> {
    every_grant_is_needed(
        &["observer.yaml", "observer-pods.yaml", "observer-services.yaml"],
        "observer",
        &observer_checks(),
    )
}

/// A request that must not be refused; what it names need not exist, so it has no effect.
struct Check {
    name: String,
    method: &'static str,
    target: String,
    headers: Vec<(String, String)>,
    body: &'static str,
}

/// Requests through the impersonator, as the gateway would send them.
fn impersonator_checks() -> Vec<Check> {
    let person = [("Impersonate-User", "bench-person")];
    let account = [("Impersonate-User", "system:serviceaccount:default:bench-account")];
    let mut checks = Vec::new();
    for (who, identity) in [("person", person), ("account", account)] {
        for (verb, method, path) in [
            ("get", "GET", "things/a"),
            ("list", "GET", "things"),
            ("watch", "GET", "things?watch=true&timeoutSeconds=1"),
            ("create", "POST", "things"),
            ("update", "PUT", "things/a"),
            ("patch", "PATCH", "things/a"),
            ("delete", "DELETE", "things/a"),
            ("deletecollection", "DELETE", "things"),
        ] {
            let target = format!("/apis/bench.gatescribe.dev/v1/namespaces/default/{path}");
            checks.push(check(format!("{who} {verb}"), method, &target, &identity));
        }
        for method in ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"] {
            checks.push(check(
                format!("{who} {method} on a path"),
                method,
                "/bench/path",
                &identity,
            ));
        }
    }
    let with = |name: &str, header: &'static str, value: &'static str| {
        check(
            name.to_owned(),
            "GET",
            "/bench/path",
            &[("Impersonate-User", "bench-person"), (header, value)],
        )
    };
    checks.push(with("person with group", "Impersonate-Group", "dev"));
    checks.push(with("person with uid", "Impersonate-Uid", "u-1"));
    checks.push(with(
        "person with session",
        "Impersonate-Extra-Gatescribe.dev%2fsession",
        "s-1",
    ));
    checks.push(with(
        "person with reason",
        "Impersonate-Extra-Gatescribe.dev%2freason",
        "INC-1",
    ));
    checks.push(with(
        "person with credential id",
        "Impersonate-Extra-Authentication.kubernetes.io%2fcredential-Id",
        "JTI=1",
    ));
    checks
}

/// What the feeds and the two questions send as the observer.
fn observer_checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for (group, resource) in [
        ("/api/v1", "namespaces"),
        ("/apis/rbac.authorization.k8s.io/v1", "roles"),
        ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
        ("/apis/rbac.authorization.k8s.io/v1", "clusterroles"),
        ("/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
        ("/apis/gatescribe.dev/v1", "accessrules"),
        ("/apis/gatescribe.dev/v1", "clusteraccessrules"),
        ("/api/v1", "services"),
        ("/apis/discovery.k8s.io/v1", "endpointslices"),
    ] {
        let all = format!("{group}/{resource}");
        checks.push(check(format!("list {resource}"), "GET", &format!("{all}?limit=1"), &[]));
        // A version from the future is answered at once with an error of its own, so nothing has to be waited for.
        let watch = format!("{all}?watch=true&timeoutSeconds=1&resourceVersion=1&resourceVersionMatch=Exact");
        checks.push(check(format!("watch {resource}"), "GET", &watch, &[]));
    }
    let mut review = check(
        "review a token".into(),
        "POST",
        "/apis/authentication.k8s.io/v1/tokenreviews",
        &[],
    );
    review.body = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"none"}}"#;
    checks.push(review);
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let mut ask = check("ask for a person's access".into(), "POST", path, &[]);
    ask.body = r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview",
        "spec":{"user":"alice","resourceAttributes":{"verb":"get","resource":"pods"}}}"#;
    checks.push(ask);
    let pod = "/api/v1/namespaces/default/pods/a?includeObject=None";
    checks.push(check("ask for a pod's node".into(), "GET", pod, &[]));
    checks
}

fn check(name: String, method: &'static str, target: &str, headers: &[(&str, &str)]) -> Check {
    let headers = headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Check {
        name,
        method,
        target: target.to_owned(),
        headers,
        body: "{}",
    }
}

fn every_grant_is_needed(files: &[&str], kind: &str, checks: &[Check]) -> anyhow::Result<()> {
    let cluster = prepared()?;
    let rules = files
        .iter()
        .map(|file| rules_of(file))
        .collect::<Result<Vec<_>, _>>()?
        .concat();
    let variants = variants(&rules);
    let mut accounts = vec![("whole".to_owned(), format!("{kind}-whole"), rules)];
    for (number, (missing, rules)) in variants.into_iter().enumerate() {
        accounts.push((missing, format!("{kind}-{number}"), rules));
    }
    let documents: Vec<Value> = accounts
        .iter()
        .flat_map(|(_, name, rules)| account_with(name, rules))
        .collect();
    cluster
        .admin()?
        .apply(&json!({"apiVersion": "v1", "kind": "List", "items": documents}).to_string())?;

    let mut caught = BTreeSet::new();
    for (missing, account, _) in &accounts {
        let failing = failing(cluster, account, checks)?;
        if missing == "whole" {
            assert_eq!(failing, Vec::<String>::new(), "the whole role must pass every check");
        } else {
            assert!(
                !failing.is_empty(),
                "{files:?}: nothing breaks without {missing}: it is not needed"
            );
            caught.extend(failing);
        }
    }
    let unbroken: Vec<_> = checks
        .iter()
        .filter(|check| !caught.contains(&check.name))
        .map(|c| &c.name)
        .collect();
    assert!(
        unbroken.is_empty(),
        "{files:?}: these checks depend on no grant: {unbroken:?}"
    );
    Ok(())
}

/// The rules of the ClusterRole in a file of `deploy/kubernetes/`.
fn rules_of(file: &str) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(repository().join("deploy/kubernetes").join(file))?;
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text)?;
    let role = documents
        .iter()
        .find(|document| document["kind"] == "ClusterRole")
        .context("no ClusterRole")?;
    Ok(role["rules"].as_array().context("no rules")?.clone())
}

/// Every way to leave out one resource, path or verb of one rule, with its description.
fn variants(rules: &[Value]) -> Vec<(String, Vec<Value>)> {
    let mut all = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        for field in ["resources", "nonResourceURLs", "verbs"] {
            for (at, item) in rule[field].as_array().into_iter().flatten().enumerate() {
                let mut without = rules.to_vec();
                let left = without[index][field].as_array_mut().unwrap();
                left.remove(at);
                if left.is_empty() {
                    without.remove(index);
                }
                all.push((format!("rule {index}: {field} {item} of {rule}"), without));
            }
        }
    }
    all
}

fn account_with(name: &str, rules: &[Value]) -> Vec<Value> {
    let role = format!("bench-rights-{name}");
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": "bench-rights"}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
               "metadata": {"name": role}, "rules": rules}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": role},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
               "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "bench-rights"}]}),
    ]
}

/// The checks that the account is refused, once its binding has reached the authorizer.
fn failing(cluster: &Cluster, account: &str, checks: &[Check]) -> anyhow::Result<Vec<String>> {
    let path = format!("/api/v1/namespaces/bench-rights/serviceaccounts/{account}/token");
    let request = br#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
    let answer = cluster
        .client()
        .send("POST", &path, &[("Content-Type", "application/json")], request)?
        .json()?;
    let token = answer["status"]["token"].as_str().context("no token")?.to_owned();
    let client = tests::http::Client::new(cluster.address(), cluster.ca().certificate(), None)?;
    let bearer = format!("Bearer {token}");
    let refused = |check: &Check| -> anyhow::Result<bool> {
        let mut headers = vec![("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
        headers.extend(
            check
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        let answer = client.send(check.method, &check.target, &headers, check.body.as_bytes())?;
        ensure!(answer.status != 401, "{}: 401", check.name);
        Ok(answer.status == 403)
    };
    try_until("the account's binding is in force", PATIENCE, || {
        for check in checks {
            if !refused(check)? {
                return Ok(());
            }
        }
        anyhow::bail!("{account} is refused everything")
    })?;
    let mut failing = Vec::new();
    for check in checks {
        if refused(check)? {
            failing.push(check.name.clone());
        }
    }
    Ok(failing)
}

/// A cluster with the gateway's accounts, alice's group, and people who may do all that the checks do; one for all tests
/// here. It has a controller manager because the role `view` is put together by that.
fn prepared() -> anyhow::Result<&'static Cluster> {
    static PREPARED: Once<Cluster> = Once::new();
    PREPARED.get(prepare)
}

fn prepare() -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(Options {
        controller_manager: true,
        ..Options::default()
    })?;
    cluster.apply_gateway_rights()?;
    cluster.admin()?.apply(PEOPLE)?;
    let impersonator = cluster.as_service_account("gatescribe", "impersonator")?;
    try_until("the authorizer knows the accounts and `view`", PATIENCE, || {
        impersonator
            .ok(&["get", "pods", "-A", "--as=dora", "--as-group=dev"])
            .map(drop)
    })?;
    Ok(cluster)
}

const PEOPLE: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: bench-rights}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-dev-views}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: dev}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bench-things}
rules:
  - {apiGroups: [bench.gatescribe.dev], resources: ["*"], verbs: ["*"]}
  - {nonResourceURLs: ["/bench/*"], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-things}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bench-things}
subjects:
  - {kind: User, apiGroup: rbac.authorization.k8s.io, name: bench-person}
  - {kind: ServiceAccount, namespace: default, name: bench-account}
"#;
