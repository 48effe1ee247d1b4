//! Identities besides a person's own, on a real cluster: ServiceAccounts by TokenReview (OIDC-29, IMP-12), and a person who
//! acts as another (`kubectl --as`, IMP-02), recorded as both.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::counterparts;
use tests::gateway::{Gateway, Options};
use tests::wait::{PATIENCE, try_until};

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
fn oidc_29_imp_12_a_service_account_counts_with_our_audience_and_until_it_is_deleted() -> anyhow::Result<()> {
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
    try_until("the deleted account's token is refused", PATIENCE, || {
        let status = ask(&ours)?.status;
        ensure!(status == 401, "still {status}");
        Ok(())
    })
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

const ACCOUNT_ISSUER: &str = "https://kubernetes.default.svc";
/// An `AuthenticationConfiguration` that names the cluster's own issuer, on its fourth line.
const AUTHENTICATION: &str = "apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: { url: https://kubernetes.default.svc, audiences: [us] }
  claimMappings: { username: { claim: sub, prefix: 'k:' } }
";

/// The gateway's configuration beside it, with another data folder, changed by `change`: where it stands, and how a start
/// and a check of it end.
fn starts(
    gateway: &Gateway,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> anyhow::Result<(PathBuf, [(i32, String); 2])> {
    let mut configured: Value = serde_json::from_str(&std::fs::read_to_string(gateway.config())?)?;
    configured["dataDir"] = json!(gateway.file(&format!("data-{name}")));
    change(&mut configured);
    let file = gateway.file(&format!("{name}.yaml"));
    std::fs::write(&file, serde_json::to_string_pretty(&configured)?)?;
    let run = |more: &[&str]| {
        let mut command = Command::new(counterparts::own_binary("gatescribe")?);
        command.arg("serve").args(more).arg("--config").arg(&file);
        // A start that is not refused does not end by itself.
        let ended = tests::kubectl::run(command, "", PATIENCE)?;
        anyhow::Ok((ended.code, format!("{}{}", ended.stdout, ended.stderr)))
    };
    Ok((file.clone(), [run(&[])?, run(&["--check"])?]))
}

#[test]
fn o_24_a_clusters_own_issuer_is_refused_as_an_issuer_of_people_wherever_it_is_written() -> anyhow::Result<()> {
    let (cluster, gateway) = started()?;
    let provider = json!({
        "name": "odd", "issuer": ACCOUNT_ISSUER, "clientId": "us",
        "claims": { "user": "sub", "userPrefix": "k:", "groups": "groups", "groupPrefix": "k:" },
    });
    let add = |configured: &mut Value| {
        let providers = configured["identity"]["providers"].as_array_mut().expect("providers");
        // Of the two alike in nothing: the first one's names have a prefix, too.
        providers[0]["claims"]["userPrefix"] = json!("corp:");
        providers[0]["claims"]["groupPrefix"] = json!("corp:");
        providers.push(provider.clone());
    };
    // Without a token of a ServiceAccount only the API server itself says who issues them.
    let account = cluster.ca().client(
        "system:serviceaccount:gatescribe:observer",
        &["system:serviceaccounts", "system:authenticated"],
    )?;
    let (certificate, key) = (gateway.file("account.crt"), gateway.file("account.key"));
    std::fs::write(&certificate, &account.certificate)?;
    std::fs::write(&key, &account.key)?;
    let by_certificate = json!({ "certFile": certificate, "keyFile": key });
    let authentication = gateway.file("authentication.yaml");
    std::fs::write(&authentication, AUTHENTICATION)?;

    let (by_token, ends) = starts(&gateway, "by-token", add)?;
    let said = place(&by_token)?;
    for (code, told) in ends {
        assert_eq!(code, 1, "{told}");
        assert!(told.contains(&said), "{said}: {told}");
        let words = "this issuer is that of the ServiceAccount tokens of cluster `bench`";
        assert!(told.contains(words), "{told}");
    }
    let (published, ends) = starts(&gateway, "published", |configured| {
        add(configured);
        configured["clusters"][0]["observer"] = by_certificate.clone();
        configured["clusters"][0]["impersonator"] = by_certificate.clone();
    })?;
    let said = place(&published)?;
    for (code, told) in ends {
        assert_eq!(code, 1, "{told}");
        assert!(told.contains(&said), "{said}: {told}");
    }
    let (_, ends) = starts(&gateway, "as-kubernetes", |configured| {
        configured["identity"]["authenticationConfigurationFile"] = json!(authentication);
    })?;
    for (code, told) in ends {
        assert!(code == 1 || code == 9, "{code}: {told}");
        assert!(
            told.contains("4:18: `jwt[0].issuer.url` is the issuer of a cluster's ServiceAccount tokens"),
            "{told}"
        );
    }
    Ok(())
}

/// `file:line:` of the issuer, as mistakes are shown.
fn place(file: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(file)?;
    let line = text
        .lines()
        .position(|line| line.contains("\"issuer\"") && line.contains(ACCOUNT_ISSUER));
    Ok(format!("{}:{}:", file.display(), line.context("the issuer")? + 1))
}
