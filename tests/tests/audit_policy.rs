//! The audit policy in a gateway before a real cluster: each call's record has the level that the policy gives for the person
//! who calls, and what that level leaves out is not there.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, both, roles};
use tests::cluster::Cluster;
use tests::counterparts::own_binary;
use tests::gateway::{Gateway, Options};
use tests::wait::{PATIENCE, try_until};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  users: ["alice@example.com"]
  verbs: [list]
  resources:
  - resources: [configmaps]
- level: Request
  userGroups: [dev]
  verbs: [create]
  namespaces: [levels]
- level: Metadata
"#;

fn replace(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, file)?)
}

/// What `gatescribe audit policy explain` says of the same call.
fn explained(file: &str, verb: &str) -> anyhow::Result<Value> {
    let mut command = std::process::Command::new(own_binary("gatescribe")?);
    command.args(["audit", "policy", "explain", file, verb, "configmaps", "-n", "levels"]);
    command.args(["--as", "alice@example.com", "--as-group", "dev", "-o", "json"]);
    let done = command.output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(serde_json::from_slice(&done.stdout)?)
}

#[test]
fn each_call_is_kept_at_the_level_that_the_policy_gives_for_the_person() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster.admin()?.apply(&roles("levels", "dev"))?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("audit.yaml");
    std::fs::write(&file, POLICY)?;
    let name = file.display().to_string();
    let gateway = Gateway::start(
        cluster,
        &Options {
            more: Some(json!({ "audit": { "policyFile": name } })),
            ..Options::default()
        },
    )?;
    let warned = "asks for bodies that hold secrets";
    assert!(gateway.log().contains(warned), "{}", gateway.log());
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let maps = "/api/v1/namespaces/levels/configmaps";
    let list = format!("{maps}?limit=5&labelSelector=app%3Dshop");
    let agent = (
        "User-Agent",
        "kubectl/v1.36.3 (linux/amd64) on behalf of: somebody@example.com",
    );

    let (id, status, _) = alice.call(
        "POST",
        maps,
        &[JSON, agent],
        br#"{"metadata":{"name":"a","labels":{"app":"shop"}}}"#,
    )?;
    let (intent, outcome) = both(&gateway, &id)?;
    assert_eq!(status, 201);
    let digest = intent["audit"]["policy"].clone();
    let wanted = json!({"level": "Request", "rule": 2, "policy": digest});
    assert_eq!(intent["audit"], wanted);
    let told = explained(&name, "create")?;
    assert_eq!(
        (&told["level"], &told["kept"], &told["rule"]),
        (&json!("Request"), &json!("Request"), &json!(2))
    );
    assert_eq!(outcome["object"]["name"], "a");
    assert!(
        intent["parts"].is_array() && outcome["outcome"]["body_hmac"].is_string(),
        "{intent} {outcome}"
    );

    let (id, status, _) = alice.call("GET", &list, &[agent], b"")?;
    let (access, close) = both(&gateway, &id)?;
    assert_eq!((status, &access["audit"]["level"]), (200, &json!("None")), "{access}");
    assert_eq!(access["audit"]["rule"], explained(&name, "list")?["rule"]);
    assert_eq!(
        (&access["req"]["verb"], &access["req"]["path"]),
        (&json!("list"), &json!(maps))
    );
    assert_eq!(access["by"]["user"], "alice@example.com");
    assert_eq!(
        (&close["outcome"]["status"], &close["outcome"]["end"]),
        (&json!(200), &json!("answered"))
    );
    for (record, member) in [
        (&access["req"], "query_keys"),
        (&access["req"], "options"),
        (&access["req"], "agent"),
        (&access, "parts"),
        (&close, "items"),
    ] {
        assert!(record.get(member).is_none(), "{member} in {access} {close}");
    }

    let forbidden = alice
        .call("GET", "/api/v1/namespaces/kube-system/configmaps", &[agent], b"")?
        .0;
    let is_it = |record: &&Value| record["id"] == *forbidden;
    let records = gateway.records_with("the refusal", |records| records.iter().any(|record| is_it(&record)))?;
    let refusal = records.iter().find(is_it).context("the refusal")?;
    assert_eq!(
        (&refusal["kind"], &refusal["audit"]["level"]),
        (&json!("refusal"), &json!("None"))
    );

    // Another file in its place counts without a restart; one that is none changes nothing.
    replace(
        &file,
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n",
    )?;
    let access = try_until("the changed policy counts", PATIENCE, || {
        let (access, close) = both(&gateway, &alice.call("GET", &list, &[agent], b"")?.0)?;
        ensure!(access["audit"]["policy"] != digest, "not yet: {access}");
        ensure!(
            close["items"]["count"].is_number() && access["parts"].is_array(),
            "{access} {close}"
        );
        Ok(access)
    })?;
    assert_eq!(
        (&access["audit"]["level"], &access["audit"]["rule"]),
        (&json!("Metadata"), &json!(1))
    );
    let change = |record: &&Value| record["policy"]["names"][0] == format!("~audit policy {name}");
    let records = gateway.records_with("the change", |records| records.iter().any(|record| change(&record)))?;
    let changed = records.iter().find(change).context("the change")?;
    assert_eq!(
        (&changed["policy"]["before"], &changed["policy"]["digest"]),
        (&digest, &access["audit"]["policy"])
    );
    assert!(
        changed["seq"].as_u64() < access["seq"].as_u64(),
        "it is recorded before it counts"
    );
    replace(&file, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n")?;
    try_until("the broken file is told", PATIENCE, || {
        let log = gateway.log();
        ensure!(log.contains("the new audit policy cannot be used"), "not yet");
        ensure!(log.contains(&format!("{name}:3:1: there are no rules")), "{log}");
        let ready = gateway
            .browser()
            .request("GET", &format!("http://{}/readyz", gateway.admin()), "")?;
        ensure!(
            ready.status == 200 && ready.body.contains("there are no rules"),
            "{}",
            ready.body
        );
        Ok(())
    })?;
    let (access, _) = both(&gateway, &alice.call("GET", &list, &[agent], b"")?.0)?;
    assert_eq!(
        access["audit"]["policy"], changed["policy"]["digest"],
        "the old one stays in effect"
    );
    Ok(())
}
