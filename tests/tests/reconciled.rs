//! `gatescribe reconcile` on real parts: what a real API server wrote down of a gateway's calls, and of calls around it that this
//! story makes. Each planted one is found, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::caller::roles;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::counterparts::own_binary;
use tests::gateway::{Gateway, Options};
use tests::http::Client;
use tests::kubectl::{Output, run};
use tests::wait::PATIENCE;

const IMPERSONATOR: &str = "system:serviceaccount:gatescribe:impersonator";
const OBSERVER: &str = "system:serviceaccount:gatescribe:observer";

fn reconcile(ledger: &Path, logs: &[&Path], more: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("reconcile").arg(ledger).args(logs);
    command.args(["--cluster", "bench", "--account", IMPERSONATOR, "--own", OBSERVER]);
    command.args(["--slack", "0"]).args(more);
    run(command, "", PATIENCE)
}

fn report(ledger: &Path, logs: &[&Path], code: i32) -> anyhow::Result<Value> {
    let output = reconcile(ledger, logs, &["-o", "json"])?;
    ensure!(output.code == code, "{output}");
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Findings by kind: the ids, or whose they are.
fn found<'a>(report: &'a Value, kind: &str) -> Vec<&'a str> {
    let all = report["report"]["findings"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    all.iter()
        .filter(|finding| finding["kind"] == kind)
        .filter_map(|finding| finding["id"].as_str())
        .collect()
}

/// The log with each event changed, or left out.
fn changed(log: &Path, to: PathBuf, change: impl Fn(&mut Value) -> bool) -> anyhow::Result<PathBuf> {
    let mut lines = String::new();
    for line in fs::read_to_string(log)?.lines() {
        let mut event: Value = serde_json::from_str(line)?;
        if change(&mut event) {
            lines.push_str(&format!("{event}\n"));
        }
    }
    fs::write(&to, lines)?;
    Ok(to)
}

struct World {
    cluster: Cluster,
    gateway: Gateway,
    log: PathBuf,
}

/// Somebody works through the gate with kubectl, and everything that the API server wrote of it is there.
fn world() -> anyhow::Result<World> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.apply_gateway_rights()?;
    let admin = cluster.admin()?;
    admin.apply(&roles("reconciled", "dev"))?;
    let mut gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    alice.ok(&["create", "configmap", "one", "-n", "reconciled", "--from-literal=a=b"])?;
    alice.ok(&["get", "configmaps", "-n", "reconciled"])?;
    alice.ok(&["get", "configmaps", "-n", "reconciled", "-w", "--request-timeout=2s"])?;
    let refused = alice.run(&["get", "secrets", "-n", "kube-system"])?;
    ensure!(refused.code != 0, "{refused}");
    let missing = alice.run(&["get", "configmap", "none", "-n", "reconciled"])?;
    ensure!(missing.code != 0, "{missing}");
    alice.ok(&["delete", "configmap", "one", "-n", "reconciled"])?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;
    // The last event of this log, so that it reaches behind all calls of the gateway.
    admin.ok(&["get", "--raw", "/version?the=end"])?;
    cluster.audit_event("the last call", |event| event.request_uri.ends_with("?the=end"))?;
    let log = cluster.audit_log();
    Ok(World { cluster, gateway, log })
}

/// With the gateway's own credential, as a thief of it would.
fn call(client: &Client, token: &str, target: &str, more: &[(&str, &str)]) -> anyhow::Result<u16> {
    let bearer = format!("Bearer {token}");
    let mut headers = vec![("Authorization", bearer.as_str())];
    headers.extend(more);
    Ok(client.get(target, &headers)?.status)
}

#[test]
fn promise_4_what_the_api_server_has_and_what_the_ledger_has_is_the_same_and_what_is_planted_is_found()
-> anyhow::Result<()> {
    let World { cluster, gateway, log } = world()?;
    let ledger = gateway.ledger();
    let calls = gateway.records()?;

    // The administrator who set all this up goes around the gate; nothing else is to be said.
    let clean = report(&ledger, &[&log], 1)?;
    assert_eq!(clean["report"]["findings"], serde_json::json!([]), "{clean:#}");
    let sent = calls
        .iter()
        .filter(|record| record["upstream"]["address"].is_string())
        .count();
    assert_eq!(clean["report"]["joined"], sent, "{clean:#}");
    assert!(sent >= 6, "{sent} calls of alice reached the API server");
    assert!(
        clean["report"]["own"].as_u64() > Some(0),
        "what the observer reads is nobody's"
    );
    let people: Vec<&str> = clean["report"]["around"]
        .as_array()
        .context("callers")?
        .iter()
        .filter(|caller| caller["kind"] == "person")
        .filter_map(|caller| caller["user"].as_str())
        .collect();
    assert_eq!(people.len(), 1, "{people:?}");

    // Planted: the gateway's credential in other hands, a call of ours sent again, a person around the gate.
    let listed = calls
        .iter()
        .find(|record| {
            record["kind"] == "access" && record["req"]["verb"] == "list" && record["req"]["resource"] == "configmaps"
        })
        .context("a list of alice's")?;
    let id = listed["id"].as_str().context("its id")?;
    let token = fs::read_to_string(gateway.folder().join("impersonator"))?;
    let spoken_for = [("Impersonate-User", "alice@example.com"), ("Impersonate-Group", "dev")];
    let target = "/api/v1/namespaces/reconciled/configmaps";
    // Without a certificate: with one, the API server would take the call for that of its holder.
    let client = Client::new(cluster.address(), cluster.ca().certificate(), None)?;
    call(
        &client,
        &token,
        target,
        &[spoken_for[0], spoken_for[1], ("Audit-ID", "stolen-1")],
    )?;
    call(
        &client,
        &token,
        target,
        &[spoken_for[0], spoken_for[1], ("Audit-ID", id)],
    )?;
    let mallory = cluster.as_person("mallory", &["system:masters"])?;
    mallory.ok(&["get", "--raw", "/api/v1/namespaces/reconciled/secrets?planted=yes"])?;
    cluster.audit_event("what mallory did", |event| event.request_uri.ends_with("?planted=yes"))?;

    let planted = report(&ledger, &[&log], 8)?;
    assert_eq!(found(&planted, "notInLedger"), ["stolen-1"], "{planted:#}");
    assert_eq!(found(&planted, "repeated"), [id]);
    let said = reconcile(&ledger, &[&log], &[])?;
    for words in [
        "stolen-1: alice@example.com list /api/v1/namespaces/reconciled/configmaps from 127.0.0.1",
        "it was sent once and arrived 2 times: somebody sent it again",
        "⚠ mallory: 1 calls around the gate",
        "secrets?planted=yes 200 from 127.0.0.1, kubectl",
    ] {
        assert!(said.stdout.contains(words), "{words}:\n{said}");
    }
    Ok(())
}

#[test]
fn promise_4_a_log_that_was_changed_or_cut_differs_from_the_ledger_and_is_told_so() -> anyhow::Result<()> {
    let World { cluster, gateway, log } = world()?;
    let ledger = gateway.ledger();
    let calls = gateway.records()?;
    let made = calls
        .iter()
        .find(|record| record["kind"] == "intent" && record["req"]["verb"] == "create")
        .context("what alice made")?;
    let id = made["id"].as_str().context("its id")?;
    let to = |name: &str| cluster.folder().path().join(name);
    let of_it = |event: &Value| event["auditID"] == id;

    let without = changed(&log, to("without.log"), |event| !of_it(event))?;
    assert_eq!(found(&report(&ledger, &[&without], 8)?, "neverArrived"), [id]);
    let lies = [
        ("verb", "/verb", Value::from("get")),
        ("path", "/requestURI", "/api/v1/namespaces/other/configmaps".into()),
        ("user", "/impersonatedUser/username", "bob".into()),
        ("status", "/responseStatus/code", 409.into()),
    ];
    for (what, member, lie) in lies {
        let other = changed(&log, to("changed.log"), |event| {
            if let (true, Some(place)) = (of_it(event), event.pointer_mut(member)) {
                *place = lie.clone();
            }
            true
        })?;
        let told = report(&ledger, &[&other], 8)?;
        assert_eq!(found(&told, "differs"), [id], "{what}: {told:#}");
        assert_eq!(told["report"]["findings"][0]["what"], what);
    }

    // A webhook's list, given in two files, the second of which breaks off.
    let text = fs::read_to_string(&log)?;
    let lines: Vec<&str> = text.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let list = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{}]}}"#,
        first.join(",")
    );
    fs::write(to("list.log"), list)?;
    fs::write(to("rest.log"), format!("{}\n{{\"kind\":\"Event\"", second.join("\n")))?;
    let whole = reconcile(&ledger, &[&to("list.log"), &to("rest.log")], &[])?;
    assert_eq!(whole.code, 10, "{whole}");
    assert!(
        whole.stdout.contains("not compared: 1 lines of the audit log"),
        "{whole}"
    );
    assert!(
        whole
            .stdout
            .contains(&format!("rest.log:{}: it is no audit event", second.len() + 1)),
        "{whole}"
    );
    assert!(whole.stdout.contains("✔ nothing differs; around the gate: "), "{whole}");
    Ok(())
}
