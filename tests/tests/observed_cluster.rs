//! `gatescribe observe` on a real API server, whose callers know nothing of a gateway: its audit log as a file that is followed, and
//! its webhook backend, killed and started again in the middle of what it sends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::caller::roles;
use tests::cluster::{Cluster, Options};
use tests::counterparts::own_binary;
use tests::kubectl::{Output, run};
use tests::process::{Folder, Process};
use tests::wait::{PATIENCE, try_until};
use tests::webhook::Webhook;

const RULES: &str = "
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: nothing-is-deleted }
spec:
  effect: forbid
  subjects: { groups: [dev] }
  kubernetes: { clusters: [bench], verbs: [delete], resources: [configmaps], namespaces: [observed] }
";

fn gatescribe(arguments: &[&str], paths: &[&Path]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.args(arguments).args(paths);
    run(command, "", PATIENCE)
}

fn json(arguments: &[&str], paths: &[&Path]) -> anyhow::Result<Value> {
    let output = gatescribe(arguments, paths)?;
    serde_json::from_str(&output.stdout).with_context(|| output.to_string())
}

/// The rows of a query, each call by itself.
fn rows(ledger: &Path, query: &str) -> anyhow::Result<Vec<Value>> {
    let output = gatescribe(
        &[
            "audit", "search", query, "--all", "--limit", "500", "-o", "jsonl", "--dir",
        ],
        &[ledger],
    )?;
    output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).with_context(|| output.to_string()))
        .collect()
}

/// The API server's log with what it turned over, oldest first.
fn logs(cluster: &Cluster) -> anyhow::Result<Vec<PathBuf>> {
    let newest = cluster.audit_log();
    let mut all = Vec::new();
    for entry in fs::read_dir(newest.parent().context("a folder")?)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("audit-") && name.ends_with(".log") {
            all.push(newest.with_file_name(name));
        }
    }
    all.sort();
    all.push(newest);
    Ok(all)
}

/// `auditID` and stage of each event of a person, and how often it is there: in the API server's own log.
fn logged(cluster: &Cluster, user: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for log in logs(cluster)? {
        for line in fs::read_to_string(log)?.lines() {
            let event: Value = serde_json::from_str(line)?;
            if event["user"]["username"] == user && event["stage"] != "RequestReceived" {
                let (id, stage) = (event["auditID"].as_str(), event["stage"].as_str());
                let key = format!("{} {}", id.context("auditID")?, stage.context("stage")?);
                *found.entry(key).or_default() += 1;
            }
        }
    }
    Ok(found)
}

/// The same in the ledger, by its records.
fn recorded(ledger: &Path, user: &str) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut found = BTreeMap::new();
    for row in rows(ledger, &format!("user:{user}"))? {
        ensure!(row["source"] == "ingested", "{row:#}");
        let id = row["id"].as_str().context("an id")?;
        let shown = json(&["audit", "show", id, "-o", "json", "--dir"], &[ledger])?;
        for record in shown["records"].as_array().context("records")? {
            let said = &record["ingested"];
            let (audit_id, stage) = (said["audit_id"].as_str(), said["stage"].as_str());
            let key = format!("{} {}", audit_id.context("auditID")?, stage.context("stage")?);
            *found.entry(key).or_default() += 1;
        }
    }
    Ok(found)
}

fn refused(report: &Value) -> Vec<(&str, &str, &str, u64)> {
    let groups = report["rules"]["refused"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    groups
        .iter()
        .map(|group| {
            let of = |name: &str| group[name].as_str().unwrap_or_default();
            (
                of("user"),
                of("verb"),
                of("resource"),
                group["calls"].as_u64().unwrap_or_default(),
            )
        })
        .collect()
}

/// People work with kubectl, straight at the API server; two of their calls are planted: the rules forbid them.
fn work(cluster: &Cluster) -> anyhow::Result<()> {
    let bob = cluster.as_person("bob", &["dev"])?;
    for name in ["one", "two"] {
        bob.ok(&[
            "create",
            "configmap",
            name,
            "-n",
            "observed",
            "--from-literal=password=hunter2",
        ])?;
        bob.ok(&["delete", "configmap", name, "-n", "observed", "--wait=false"])?;
    }
    bob.ok(&[
        "create",
        "secret",
        "generic",
        "s",
        "-n",
        "observed",
        "--from-literal=password=hunter2",
    ])?;
    bob.ok(&["delete", "secret", "s", "-n", "observed", "--wait=false"])?;
    bob.ok(&["get", "configmaps", "-n", "observed", "-w", "--request-timeout=2s"])?;
    let no = bob.run(&["get", "secrets", "-n", "kube-system"])?;
    ensure!(no.code != 0, "{no}");
    Ok(())
}

fn report(ledger: &[&Path], cluster: &Cluster) -> anyhow::Result<Value> {
    let logs = logs(cluster)?;
    let mut all = ledger.to_vec();
    all.push(Path::new("--log"));
    all.extend(logs.iter().map(PathBuf::as_path));
    json(&["observe", "-o", "json", "--cluster", "bench", "--policy"], &all)
}

#[test]
fn promise_5_an_api_server_s_log_is_followed_into_a_ledger_of_its_own_and_what_rules_forbid_is_told()
-> anyhow::Result<()> {
    let cluster = Cluster::start(Options {
        apiserver_arguments: vec!["--audit-log-maxsize=1".to_owned()],
        ..Options::default()
    })?;
    cluster.admin()?.apply(&roles("observed", "dev"))?;
    let folder = Folder::held("observed")?;
    let (ledger, rules) = (folder.path().join("observed"), folder.write("rules.yaml", RULES)?);
    let log = cluster.audit_log();
    let mut command = Command::new(own_binary("gatescribe")?);
    command
        .args(["observe", "--follow", "--cluster", "bench", "--log"])
        .arg(&log);
    command.arg("--ledger").arg(&ledger).arg("--policy").arg(&rules);
    let mut follower = Process::start("observe", &command, &folder)?;
    work(&cluster)?;
    let carol = cluster.as_person("carol", &["dev"])?;
    carol.ok(&["get", "--raw", "/version"])?;
    try_until("the last call is found", PATIENCE, || {
        ensure!(!rows(&ledger, "user:carol")?.is_empty(), "{}", follower.log_end(5));
        Ok(())
    })?;
    follower.signal(Signal::SIGTERM)?;
    let ended = follower.wait()?;
    let said = follower.log();
    ensure!(ended.code() == Some(1), "{ended}: {said}");
    for words in [
        "✖ bob: delete configmaps in observed, 2 times",
        "forbidden by AccessRule nothing-is-deleted",
        "Your rules would have refused 2 calls that the server answered:",
        "each marked ingested",
    ] {
        ensure!(said.contains(words), "{words}:\n{said}");
    }

    // Each of their events is there once, found by search, and by nobody taken for a record of a gateway.
    for user in ["bob", "carol"] {
        assert_eq!(recorded(&ledger, user)?, logged(&cluster, user)?, "{user}");
    }
    let table = gatescribe(&["audit", "search", "user:bob verb:delete", "--dir"], &[&ledger])?;
    assert_eq!(table.stdout.matches("(ingested)").count(), 3, "{table}");
    assert!(rows(&ledger, "source:gateway user:bob")?.is_empty());
    let deleted = rows(&ledger, "user:bob verb:delete resource:configmaps")?;
    let audit_id = deleted
        .first()
        .and_then(|row| row["audit_id"].as_str())
        .context("its Audit-ID")?;
    assert_eq!(
        rows(&ledger, &format!("id:{audit_id}"))?.len(),
        1,
        "found by the server's id, too"
    );
    assert_eq!(rows(&ledger, "user:bob status:403 resource:secrets")?.len(), 1);

    // The verifier, a receipt and a pack stand on it as on any ledger; no body is anywhere in it.
    let key = folder.path().join("observed.keys/ledger.pub");
    let verified = gatescribe(&["ledger", "verify", "--key"], &[&key, &ledger])?;
    ensure!(verified.code == 0, "{verified}");
    let receipt = folder.path().join("delete.tlog-proof");
    let taken = gatescribe(
        &["audit", "receipt", audit_id, "--dir"],
        &[&ledger, Path::new("-o"), &receipt],
    )?;
    ensure!(taken.code == 0, "{taken}");
    let proved = gatescribe(&["ledger", "verify", "--key"], &[&key, &receipt])?;
    ensure!(proved.code == 0, "{proved}");
    let pack = folder.path().join("bob.html");
    let packed = gatescribe(
        &["evidence", "pack", "user:bob", "--dir"],
        &[&ledger, Path::new("-o"), &pack],
    )?;
    ensure!(packed.code == 0, "{packed}");
    let checked = gatescribe(&["evidence", "verify", "--key"], &[&key, &pack])?;
    // It was made from files, so that no record says what was packed: all that is there holds.
    let holds = checked.stdout.contains("✔ every record is one that was signed");
    ensure!(holds && checked.code == 10, "{checked}");
    for file in fs::read_dir(&ledger)? {
        let bytes = fs::read(file?.path())?;
        ensure!(
            !bytes.windows(7).any(|window| window == b"hunter2"),
            "a value of a body stands in the ledger"
        );
    }

    // Read again as a whole: nothing twice, the same planted calls, no others. Without a ledger, too.
    let again = report(&[&rules, Path::new("--ledger"), &ledger], &cluster)?;
    assert_eq!(refused(&again), [("bob", "delete", "configmaps", 2)], "{again:#}");
    for user in ["bob", "carol"] {
        assert_eq!(recorded(&ledger, user)?, logged(&cluster, user)?, "{user}, once more");
    }
    let alone = report(&[&rules], &cluster)?;
    assert_eq!(refused(&alone), refused(&again));
    assert_eq!(alone["ledger"], Value::Null);

    // By the cluster's own RBAC as files the server was right in everything else.
    let objects = "clusterroles,clusterrolebindings,roles,rolebindings,namespaces";
    let objects = cluster.admin()?.ok(&["get", objects, "-A", "-o", "json"])?;
    let objects = folder.write("rbac.json", objects)?;
    let with = report(&[&rules, Path::new("--rbac"), &objects], &cluster)?;
    assert_eq!(refused(&with), [("bob", "delete", "configmaps", 2)], "{with:#}");
    assert_eq!(with["rules"]["allowed"], serde_json::json!([]), "{with:#}");
    Ok(())
}

#[test]
fn promise_4_a_webhook_that_is_killed_between_batches_and_in_them_loses_nothing_and_doubles_nothing()
-> anyhow::Result<()> {
    let webhook = Webhook::new()?;
    let mut receiver = webhook.start()?;
    let cluster = Cluster::start(Options {
        apiserver_arguments: webhook.apiserver_arguments(),
        ..Options::default()
    })?;
    cluster.admin()?.apply(&roles("observed", "dev"))?;
    let bob = cluster.as_person("bob", &["dev"])?;
    for round in 0..4 {
        for call in 0..6 {
            bob.ok(&["get", "--raw", &format!("/version?round={round}&call={call}")])?;
        }
        // Whatever it is at.
        receiver.signal(Signal::SIGKILL)?;
        receiver.wait()?;
        receiver = webhook.start()?;
    }
    bob.ok(&["get", "--raw", "/version?the=end"])?;
    cluster.audit_event("the last call", |event| event.request_uri.ends_with("?the=end"))?;
    let expected = logged(&cluster, "bob")?;
    ensure!(expected.len() >= 25, "{expected:?}");
    try_until("all of bob's calls have come", PATIENCE, || {
        let have = rows(&webhook.ledger, "user:bob")?;
        ensure!(have.len() >= expected.len(), "{} of {}", have.len(), expected.len());
        Ok(())
    })?;
    receiver.signal(Signal::SIGTERM)?;
    let ended = receiver.wait()?;
    ensure!(ended.code() == Some(0), "{ended}: {}", receiver.log_end(20));
    assert_eq!(recorded(&webhook.ledger, "bob")?, expected);
    let key = webhook.folder().join("observed.keys/ledger.pub");
    let verified = gatescribe(&["ledger", "verify", "--key"], &[&key, &webhook.ledger])?;
    ensure!(verified.code == 0, "{verified}");
    Ok(())
}
