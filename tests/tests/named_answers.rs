//! `Gatescribe-Record`: each answer that stands in a record of the ledger names it, whatever was asked and however it ended, and what
//! it names is there (promise 5).

use std::collections::BTreeSet;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tests::cluster::Cluster;
use tests::fake::{FakeApiServer, Then};
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, field};
use tests::person::Person;
use tests::pods::{dev_does_all, namespace};
use tests::upgraded::{Switch, Upgraded};
use tests::wait::{PATIENCE, try_until};

/// The record that an answer names, which is its id as well.
fn named(head: &str) -> anyhow::Result<String> {
    let record = field(head, "gatescribe-record").with_context(|| format!("no record in {head}"))?;
    assert_eq!(field(head, "audit-id"), Some(record), "{head}");
    Ok(record.to_owned())
}

/// The id of an answer that names no record.
fn unrecorded(head: &str) -> anyhow::Result<String> {
    assert_eq!(field(head, "gatescribe-record"), None, "{head}");
    Ok(field(head, "audit-id")
        .with_context(|| format!("no id in {head}"))?
        .to_owned())
}

/// All of these stand in the ledger.
fn are_recorded(gateway: &Gateway, ids: &BTreeSet<String>) -> anyhow::Result<()> {
    let have = |records: &[serde_json::Value]| {
        let there: BTreeSet<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
        ids.iter().all(|id| there.contains(id.as_str()))
    };
    gateway.records_with("every record that was named", have).map(drop)
}

#[test]
fn promise_5_every_answer_of_a_cluster_names_its_record_however_it_ends() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    cluster
        .admin()?
        .apply(&[namespace("named"), dev_does_all("named")].concat())?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let maps = "/clusters/bench/api/v1/namespaces/named/configmaps";
    let send = |method: &str, target: &str, bearer: Option<&str>, body: &str| -> anyhow::Result<Answer> {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(bearer.map(|bearer| ("Authorization", bearer)));
        gateway.client()?.send(method, target, &headers, body.as_bytes())
    };
    let made = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#;
    let one = format!("{maps}/a");
    let absent = format!("{maps}/absent");
    let watch = format!("{maps}?watch=true&timeoutSeconds=1");
    let dry = format!("{maps}?dryRun=All");
    let elsewhere = "/clusters/bench/api/v1/namespaces/default/secrets";
    let mut ids = BTreeSet::new();
    for (method, target, bearer, body, status) in [
        ("POST", maps, Some(alice.as_str()), made, 201),
        ("POST", maps, Some(&alice), made, 409),
        ("POST", &dry, Some(&alice), &made.replace("\"a\"", "\"b\""), 201),
        ("POST", maps, Some(&alice), "{", 400),
        ("PUT", &one, Some(&alice), made, 200),
        ("GET", maps, Some(&alice), "", 200),
        ("GET", &one, Some(&alice), "", 200),
        ("GET", &watch, Some(&alice), "", 200),
        ("GET", &absent, Some(&alice), "", 404),
        ("DELETE", &absent, Some(&alice), "", 404),
        ("DELETE", &one, Some(&alice), "", 200),
        ("GET", elsewhere, Some(&alice), "", 403),
        ("POST", elsewhere, Some(&alice), made, 403),
        ("GET", maps, None, "", 401),
        ("GET", maps, Some("Bearer no.token.here"), "", 401),
        ("GET", "/clusters/bench/api/v1/%2e%2e/pods", Some(&alice), "", 400),
        ("GET", "/clusters/nowhere/api/v1/pods", Some(&alice), "", 421),
    ] {
        let answer = send(method, target, bearer, body)?;
        ensure!(
            answer.status == status,
            "{method} {target}: {} {}",
            answer.status,
            answer.head
        );
        let is_new = ids.insert(named(&answer.head).with_context(|| format!("{method} {target}"))?);
        assert!(is_new, "{method} {target} names another's record");
    }
    // HEAD has the same head, with whatever status.
    let head = send("HEAD", &one, Some(&alice), "")?;
    ids.insert(named(&head.head).context("HEAD")?);
    are_recorded(&gateway, &ids)?;

    // What real clients are told by HTTP/2, effects and watches among it.
    let person = Person::signed_in(&gateway, "alice")?;
    for line in [
        "kubectl create configmap by-kubectl -n named --from-literal=a=b -v=8",
        "kubectl get configmaps -n named -v=8",
        "kubectl delete configmap by-kubectl -n named -v=8",
        "kubectl get secrets -n default -v=8",
    ] {
        let told = person.types(line)?;
        let lines = |name: &str| {
            let lines = told.stderr.lines().filter_map(|line| line.trim().strip_prefix(name));
            lines.map(|value| value.trim().to_owned()).collect::<Vec<_>>()
        };
        let (records, audit_ids) = (lines("Gatescribe-Record:"), lines("Audit-Id:"));
        assert!(!records.is_empty() && records == audit_ids, "{line}: {told}");
        are_recorded(&gateway, &records.into_iter().collect())?;
    }
    Ok(())
}

#[test]
fn an_answer_above_a_limit_names_a_record_that_is_there_or_none() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        more: Some(json!({ "limits": { "recordsPerSecond": 1, "streams": 1 } })),
        ..Options::default()
    };
    let gateway = Gateway::before(&upstream.upstream(), &options)?;
    let [alice, bob] = ["alice", "bob"].map(|person| gateway.sign_in(person));
    let (alice, bob) = (format!("Bearer {}", alice?.token), format!("Bearer {}", bob?.token));
    let maps = "/clusters/bench/api/v1/namespaces/default/configmaps";
    let watch = format!("{maps}?watch=true");
    let client = gateway.client()?;
    let mut ids = BTreeSet::new();

    // Above the budget of records there is none, and so none is named: only how many there were is recorded.
    let mut unnamed = BTreeSet::new();
    for _ in 0..60 {
        let answer = client.get(maps, &[("Authorization", &alice)])?;
        match answer.status {
            200 => ensure!(ids.insert(named(&answer.head)?), "{}", answer.head),
            429 => drop(unnamed.insert(unrecorded(&answer.head)?)),
            _ => anyhow::bail!("{}", answer.head),
        }
    }
    ensure!(!ids.is_empty() && !unnamed.is_empty(), "{ids:?} {unnamed:?}");

    // One watch too many is counted as well.
    upstream.hold();
    let mut held = client.connect()?;
    held.ask("GET", &watch, &[("Authorization", &bob)])?;
    let before = ids.len() as u64;
    try_until("the watch has reached the API server", PATIENCE, || {
        ensure!(
            upstream.reads() == before + 1,
            "{} of {before} and one",
            upstream.reads()
        );
        Ok(())
    })?;
    let refused = client.get(&watch, &[("Authorization", &bob)])?;
    ensure!(refused.status == 429, "{}", refused.head);
    unnamed.insert(unrecorded(&refused.head)?);
    upstream.release();
    are_recorded(&gateway, &ids)?;
    let records = gateway.records()?;
    let is_there = |id: &String| records.iter().any(|record| record["id"] == **id);
    ensure!(!unnamed.iter().any(is_there), "what names none has none");
    Ok(())
}

#[test]
fn an_upgrade_a_redirect_and_a_cluster_that_fails_name_their_record_too() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let gateway = Gateway::before(&upstream.upstream(), &options)?;
    let token = gateway.sign_in("alice")?.token;
    let pod = |name: &str| format!("/clusters/bench/api/v1/namespaces/default/pods/{name}/exec?command=ls&stdout=true");
    let switch = Switch::WebSocket("v5.channel.k8s.io");
    upstream.answer_upgrades_of("granted", &switch.granted(), Then::Leave);
    let moved = b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere.example/\r\nContent-Length: 0\r\n\r\n";
    upstream.answer_upgrades_of("moved", moved, Then::Leave);
    let mut ids = BTreeSet::new();
    let granted = Upgraded::ask(&gateway, &token, &pod("granted"), switch, b"")?;
    ensure!(granted.is_granted(), "{}", granted.head);
    ids.insert(named(&granted.head)?);
    let moved = Upgraded::ask(&gateway, &token, &pod("moved"), switch, b"")?;
    ensure!(!moved.is_granted(), "{}", moved.head);
    ids.insert(named(&moved.head)?);
    // What the cluster itself says when it has too much to do, whatever it calls its own record.
    for (part, line) in [("busy", "429 Too Many Requests"), ("away", "503 Service Unavailable")] {
        let answer = format!(
            "HTTP/1.1 {line}\r\nAudit-Id: theirs\r\nGatescribe-Record: theirs\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"
        );
        upstream.answer_upgrades_of(part, answer.as_bytes(), Then::Leave);
        let told = Upgraded::ask(&gateway, &token, &pod(part), switch, b"")?;
        ensure!(
            told.head.contains(line.split(' ').next().unwrap_or(line)),
            "{}",
            told.head
        );
        ids.insert(named(&told.head)?);
    }
    upstream.refuse_the_gateway(true);
    let bearer = format!("Bearer {token}");
    let maps = "/clusters/bench/api/v1/namespaces/default/configmaps";
    for method in ["GET", "POST"] {
        let failed = gateway
            .client()?
            .send(method, maps, &[("Authorization", &bearer)], b"")?;
        ensure!(failed.status >= 500, "{}", failed.head);
        ids.insert(named(&failed.head)?);
    }
    are_recorded(&gateway, &ids)
}
