//! `gatescribe reconcile` on real parts: what a real API server wrote down of a gateway's calls, and of calls around it that this
//! story makes. Each planted one is found, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, roles};
use tests::cluster::audit::{Event, read};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::counterparts::own_binary;
use tests::gateway::{Gateway, Options};
use tests::http::{Client, Stream};
use tests::kubectl::{Output, run};
use tests::wait::{PATIENCE, try_until};
use tests::webhook::Webhook;

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
fn world(apiserver_arguments: Vec<String>) -> anyhow::Result<World> {
    world_of(apiserver_arguments, &Options::default())
}

fn world_of(apiserver_arguments: Vec<String>, options: &Options) -> anyhow::Result<World> {
    let cluster = Cluster::start(ClusterOptions {
        apiserver_arguments,
        ..ClusterOptions::default()
    })?;
    cluster.apply_gateway_rights()?;
    let admin = cluster.admin()?;
    admin.apply(&roles("reconciled", "dev"))?;
    let mut gateway = Gateway::start(&cluster, options)?;
    let alice = gateway.kubectl_of("alice")?;
    alice.ok(&["create", "configmap", "one", "-n", "reconciled", "--from-literal=a=b"])?;
    alice.ok(&["get", "configmaps", "-n", "reconciled"])?;
    alice.ok(&["get", "configmaps", "-n", "reconciled", "-w", "--request-timeout=2s"])?;
    let refused = alice.run(&["get", "secrets", "-n", "kube-system"])?;
    ensure!(refused.code != 0, "{refused}");
    let missing = alice.run(&["get", "configmap", "none", "-n", "reconciled"])?;
    ensure!(missing.code != 0, "{missing}");
    alice.ok(&["delete", "configmap", "one", "-n", "reconciled"])?;
    ask_for_odd_paths(&gateway)?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;
    // The last event of this log, so that it reaches behind all calls of the gateway.
    admin.ok(&["get", "--raw", "/version?the=end"])?;
    cluster.audit_event("the last call", |event| event.request_uri.ends_with("?the=end"))?;
    let log = cluster.audit_log();
    Ok(World { cluster, gateway, log })
}

/// Paths that anybody who is signed in may ask for, and that logs could write in two ways: longer than a record has them, one that
/// begins like a cluster's, and with bytes for which the API server writes all of a path anew.
fn ask_for_odd_paths(gateway: &Gateway) -> anyhow::Result<()> {
    let alice = Caller::new(gateway, &gateway.sign_in("alice")?.token)?;
    let clusters = "/clusters/bench/openapi".to_owned();
    let anew = "/openapi/^(%41)|".to_owned();
    for path in [
        long_path(),
        format!("{}/%20x", long_path()),
        clusters,
        anew,
        format!("{}/|", long_path()),
    ] {
        let (_, status, body) = alice.call("GET", &path, &[], &[])?;
        let said = String::from_utf8_lossy(&body);
        ensure!(matches!(status, 403 | 404), "{status} for {path}: {said}");
    }
    Ok(())
}

/// More than a record has of a text, and open to everybody.
fn long_path() -> String {
    format!("/openapi{}", "/a".repeat(596))
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
    let World { cluster, gateway, log } = world(Vec::new())?;
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
    // A watch as alice's was, under its id, that has no end yet.
    let watched = calls.iter().find(|record| record["req"]["verb"] == "watch");
    let watched = watched.context("a watch of alice's")?["id"]
        .as_str()
        .context("its id")?;
    let head = format!(
        "Host: cluster\r\nAuthorization: Bearer {token}\r\nImpersonate-User: {}\r\nImpersonate-Group: {}\r\nAudit-ID: {watched}\r\n",
        spoken_for[0].1, spoken_for[1].1
    );
    let _stolen = answered(&client, &format!("{target}?watch=true&stolen=yes"), &head)?;
    cluster.audit_event("the watch", |event| {
        event.stage == "ResponseStarted" && event.request_uri.ends_with("stolen=yes")
    })?;
    let mallory = cluster.as_person("mallory", &["system:masters"])?;
    mallory.ok(&["get", "--raw", "/api/v1/namespaces/reconciled/secrets?planted=yes"])?;
    cluster.audit_event("what mallory did", |event| event.request_uri.ends_with("?planted=yes"))?;

    let planted = report(&ledger, &[&log], 8)?;
    assert_eq!(found(&planted, "notInLedger"), ["stolen-1"], "{planted:#}");
    assert_eq!(found(&planted, "repeated"), [id, watched], "{planted:#}");
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
    let World { cluster, gateway, log } = world(Vec::new())?;
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
    // Of a path that is longer than a record has it, the beginning and the length.
    for lie in [long_path().replacen("/a", "/b", 1), format!("{}/a", long_path())] {
        let other = changed(&log, to("changed.log"), |event| {
            if event["requestURI"] == long_path() {
                event["requestURI"] = lie.clone().into();
            }
            true
        })?;
        let told = report(&ledger, &[&other], 8)?;
        let differs = &told["report"]["findings"][0]["what"];
        assert_eq!(
            (found(&told, "differs").len(), differs),
            (1, &json!("path")),
            "{told:#}"
        );
    }

    in_two_files(&log, &ledger, to)
}

/// A webhook's list, given in two files, the second of which breaks off.
fn in_two_files(log: &Path, ledger: &Path, to: impl Fn(&str) -> PathBuf) -> anyhow::Result<()> {
    let text = fs::read_to_string(log)?;
    let lines: Vec<&str> = text.lines().collect();
    let (first, second) = lines.split_at(lines.len() / 2);
    let list = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{}]}}"#,
        first.join(",")
    );
    fs::write(to("list.log"), list)?;
    fs::write(to("rest.log"), format!("{}\n{{\"kind\":\"Event\"", second.join("\n")))?;
    let whole = reconcile(ledger, &[&to("list.log"), &to("rest.log")], &[])?;
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

/// Files alone do not say whose call it was, and the comparison needs nothing else: what it can join, it joins, and says of how many it could not compare the person.
#[test]
fn promise_4_where_names_are_sealed_all_is_compared_but_whose_call_it_was_and_that_is_told() -> anyhow::Result<()> {
    let options = Options {
        more: Some(json!({"ledger": {"names": "sealed"}})),
        ..Options::default()
    };
    let World { cluster, gateway, log } = world_of(Vec::new(), &options)?;
    let (ledger, calls) = (gateway.ledger(), gateway.records()?);
    let clean = report(&ledger, &[&log], 1)?;
    assert_eq!(clean["report"]["findings"], json!([]), "{clean:#}");
    let sent = calls
        .iter()
        .filter(|record| record["upstream"]["address"].is_string())
        .count();
    assert!(sent >= 6, "{sent} calls of alice reached the API server");
    // A watch has an event at its beginning and one at its end.
    let ours: BTreeSet<&str> = calls.iter().filter_map(|record| record["id"].as_str()).collect();
    let mut events = 0;
    for line in fs::read_to_string(&log)?.lines() {
        let event: Value = serde_json::from_str(line)?;
        events += usize::from(event["auditID"].as_str().is_some_and(|id| ours.contains(id)));
    }
    assert!(events > sent, "{events} events of {sent} calls");
    assert_eq!(
        (&clean["report"]["joined"], &clean["report"]["sealed"]),
        (&json!(sent), &json!(events)),
        "{clean:#}"
    );
    let said = reconcile(&ledger, &[&log], &[])?;
    let told = format!("not compared: whose call it was, in {events} events: names are sealed in this ledger");
    assert!(said.stdout.contains(&told), "{said}");

    let made = calls
        .iter()
        .find(|record| record["kind"] == "intent" && record["req"]["verb"] == "create");
    let id = made.context("what alice made")?["id"].as_str().context("its id")?;
    let (to, of_it) = (
        |name: &str| cluster.folder().path().join(name),
        |event: &Value| event["auditID"] == id,
    );
    // Changed behind the gate's back: all but the person is found.
    let lies = [
        ("/verb", Value::from("get"), 8, vec![id]),
        ("/requestURI", "/api/v1/namespaces/other/configmaps".into(), 8, vec![id]),
        ("/responseStatus/code", 409.into(), 8, vec![id]),
        ("/user/username", OBSERVER.into(), 8, vec![id]),
        ("/impersonatedUser/username", "bob".into(), 1, vec![]),
    ];
    for (member, lie, code, differ) in lies {
        let other = changed(&log, to("changed.log"), |event| {
            if let (true, Some(place)) = (of_it(event), event.pointer_mut(member)) {
                *place = lie.clone();
            }
            true
        })?;
        let told = report(&ledger, &[&other], code)?;
        assert_eq!(found(&told, "differs"), differ, "{member}: {told:#}");
    }
    // One that never arrived is told without a name, and with where it stands.
    let without = changed(&log, to("without.log"), |event| !of_it(event))?;
    assert_eq!(found(&report(&ledger, &[&without], 8)?, "neverArrived"), [id]);
    let said = reconcile(&ledger, &[&without], &[])?;
    assert!(
        said.stdout
            .contains(": (sealed name) create /api/v1/namespaces/reconciled/configmaps"),
        "{said}"
    );
    assert!(!said.stdout.contains("alice"), "{said}");
    Ok(())
}

/// What is planted around a gate, and how it must be told.
struct Planted {
    /// The id of a call that the gateway sent, which a credential of somebody else's carries.
    taken: String,
}

/// Straight at the API server: another credential, the gateway's own in other hands, and another one under an id of ours.
fn plant(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<Planted> {
    let target = "/api/v1/namespaces/reconciled/configmaps";
    let mallory = cluster.as_person("mallory", &["system:masters"])?;
    mallory.ok(&["get", "--raw", "/api/v1/namespaces/reconciled/secrets"])?;

    let token = fs::read_to_string(gateway.folder().join("impersonator"))?;
    let thief = Client::new(cluster.address(), cluster.ca().certificate(), None)?;
    let spoken_for = [("Impersonate-User", "alice@example.com"), ("Impersonate-Group", "dev")];
    let stolen = [spoken_for[0], spoken_for[1], ("Audit-ID", "stolen-1")];
    ensure!(call(&thief, &token, target, &stolen)? == 200, "the thief's call");

    let calls = gateway.records()?;
    let is_hers = |record: &&Value| record["req"]["verb"] == "list" && record["req"]["resource"] == "configmaps";
    let listed = calls.iter().find(is_hers).context("a list of alice's")?;
    let taken = listed["id"].as_str().context("its id")?.to_owned();
    let trudy = cluster.ca().client("trudy", &["dev"])?;
    let trudy = Client::new(cluster.address(), cluster.ca().certificate(), Some(&trudy))?;
    let disguised = trudy.get(target, &[("Audit-ID", &taken)])?;
    ensure!(disguised.status == 200, "{}", disguised.status);
    Ok(Planted { taken })
}

/// The API server's own log has a call that somebody makes now, and everything in it until then has come to the receiver.
fn all_has_come(cluster: &Cluster, webhook: &Webhook, by: &str) -> anyhow::Result<()> {
    cluster
        .as_person(by, &["dev"])?
        .ok(&["get", "--raw", "/version?the=end"])?;
    cluster.audit_event("the last call", |event| event.user.username == by)?;
    let logged = cluster.audit_events()?.into_iter();
    let logged: BTreeSet<(String, String)> = logged.map(|event| (event.audit_id, event.stage)).collect();
    try_until("all that was logged was posted", PATIENCE, || {
        let received = webhook.received()?;
        let missing: Vec<_> = logged.difference(&received).collect();
        ensure!(missing.is_empty(), "{} are missing: {missing:?}", missing.len());
        Ok(())
    })
}

/// `through` or `around` of one of the shares.
fn share(report: &Value, of: &str, which: &str) -> u64 {
    let share = report["report"]["coverage"].pointer(of);
    share.and_then(|share| share[which].as_u64()).unwrap_or_default()
}

/// By what the caller is, by verb, by resource and by day it is the same calls each time.
fn shares_add_up(report: &Value) {
    for which in ["through", "around", "unknown"] {
        for by in ["callers", "verbs", "resources", "days"] {
            let shares = report["report"]["coverage"][by].as_object();
            let sum: u64 = shares
                .into_iter()
                .flatten()
                .filter_map(|(_, share)| share[which].as_u64())
                .sum();
            assert_eq!(sum, share(report, "/all", which), "{which} by {by}: {report:#}");
        }
    }
}

/// Calls around the gate, of one name.
fn of_person(report: &Value, user: &str) -> u64 {
    let around = report["report"]["around"].as_array();
    let mut around = around.into_iter().flatten();
    let person = around.find(|one| one["user"] == user);
    person.and_then(|one| one["calls"].as_u64()).unwrap_or_default()
}

#[test]
fn promise_4_what_a_webhook_posted_that_never_passed_the_gate_is_found() -> anyhow::Result<()> {
    let webhook = Webhook::new()?;
    let mut receiver = webhook.start()?;
    let World { cluster, gateway, .. } = world(webhook.apiserver_arguments())?;
    let ledger = gateway.ledger();
    all_has_come(&cluster, &webhook, "carol")?;

    // Nothing but who set this up, and who made the last call, went around the gate.
    let clean = report(&ledger, &[&webhook.ledger], 1)?;
    assert_eq!(clean["report"]["findings"], json!([]), "{clean:#}");
    let calls = gateway.records()?;
    let sent = calls
        .iter()
        .filter(|record| record["upstream"]["address"].is_string())
        .count();
    assert_eq!(clean["report"]["joined"], sent, "{clean:#}");
    assert!(sent >= 6, "{sent} calls of alice reached the API server");
    assert_eq!(share(&clean, "/all", "through"), u64::try_from(sent)?);
    assert_eq!(share(&clean, "/callers/person", "through"), u64::try_from(sent)?);
    let admin = of_person(&clean, "admin");
    assert_eq!(share(&clean, "/callers/person", "around"), admin + 1, "{clean:#}");
    shares_add_up(&clean);

    let planted = plant(&cluster, &gateway)?;
    all_has_come(&cluster, &webhook, "dave")?;
    receiver.signal(Signal::SIGTERM)?;
    let ended = receiver.wait()?;
    ensure!(ended.code() == Some(0), "{ended}: {}", receiver.log_end(20));

    let told = report(&ledger, &[&webhook.ledger], 8)?;
    assert_eq!(found(&told, "notInLedger"), ["stolen-1"], "{told:#}");
    assert_eq!(found(&told, "repeated"), [&planted.taken], "{told:#}");
    let findings = told["report"]["findings"].as_array().context("findings")?;
    let mut differs: Vec<(&str, &str, &str)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding["kind"] == "differs") {
        let text = |name: &str| finding[name].as_str().context("text");
        differs.push((text("id")?, text("what")?, text("server")?));
    }
    differs.sort_unstable();
    let id = planted.taken.as_str();
    assert_eq!(differs, [(id, "account", "trudy"), (id, "user", "trudy")], "{told:#}");
    assert_eq!(findings.len(), 4, "and no other: {told:#}");
    for (person, times) in [
        ("mallory", 1),
        ("trudy", 1),
        ("carol", 1),
        ("dave", 1),
        ("admin", admin),
    ] {
        assert_eq!(of_person(&told, person), times, "{person}: {told:#}");
    }

    // The stolen credential spoke for a person, and so is one of people's calls around the gate.
    assert_eq!(share(&told, "/all", "through"), u64::try_from(sent)?);
    assert_eq!(share(&told, "/callers/person", "through"), u64::try_from(sent)?);
    assert_eq!(share(&told, "/callers/person", "around"), admin + 5, "{told:#}");
    let around_now = |of: &str| share(&told, of, "around") - share(&clean, of, "around");
    assert_eq!(around_now("/resources/configmaps"), 2, "the thief's and trudy's");
    assert_eq!(around_now("/resources/secrets"), 1, "mallory's");
    assert_eq!(share(&told, "/all", "unknown"), 0);
    shares_add_up(&told);
    Ok(())
}

const MAPS: &str = "/api/v1/namespaces/reconciled/configmaps";
/// An API server's buffer of events is written when it has so many; nothing else writes it.
const BUFFER: usize = 400;

/// Two API servers that keep events in memory, as the webhook backend does by default; and one kind of object that the first cannot
/// finish to make, because nobody answers what it asks about it.
fn forgetful(asked: &TcpListener) -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(ClusterOptions {
        second_apiserver: true,
        apiserver_arguments: vec![
            "--audit-log-mode=batch".to_owned(),
            "--audit-log-batch-max-wait=24h".to_owned(),
            format!("--audit-log-batch-max-size={BUFFER}"),
            "--audit-log-batch-throttle-enable=false".to_owned(),
        ],
        ..ClusterOptions::default()
    })?;
    let admin = cluster.admin()?;
    admin.apply(&roles("reconciled", "dev"))?;
    let hook = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "nobody" },
        "webhooks": [{
            "name": "nobody.answers.test", "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 30,
            "clientConfig": { "url": format!("https://{}/", asked.local_addr()?) },
            "objectSelector": { "matchLabels": { "held": "yes" } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }],
        }],
    });
    admin.apply(&hook.to_string())?;
    Ok(cluster)
}

/// Calls an API server until an event stands in its log: its buffer was full then, and has little in it now.
fn written(client: &Client, log: &Path, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
    try_until("the event is written", PATIENCE, || {
        for _ in 0..BUFFER / 20 {
            client.get("/version", &[])?;
        }
        ensure!(read(log)?.iter().any(&wanted), "not yet");
        Ok(())
    })
}

/// Makes objects with the label until one is not made: the first few, where the API server has not heard of the label yet. Returns
/// the ids of those, and of that one.
fn make_held(alice: &Caller) -> anyhow::Result<(Vec<String>, String)> {
    let mut made = Vec::new();
    loop {
        let object = json!({ "metadata": { "name": format!("held-{}", made.len()), "labels": { "held": "yes" } } });
        let (id, status, body) = alice.call("POST", MAPS, &[JSON], object.to_string().as_bytes())?;
        match status {
            201 => made.push(id),
            502 => return Ok((made, id)),
            _ => anyhow::bail!("{status}: {}", String::from_utf8_lossy(&body)),
        }
    }
}

/// A watch that has been answered and goes on.
fn watch(gateway: &Gateway, alice: &Caller) -> anyhow::Result<Stream> {
    let head = format!("Host: {}\r\nAuthorization: {}\r\n", gateway.address, alice.bearer);
    answered(&gateway.client()?, &format!("/clusters/bench{MAPS}?watch=true"), &head)
}

/// A call whose answer has begun and goes on.
fn answered(client: &Client, target: &str, headers: &str) -> anyhow::Result<Stream> {
    let mut stream = client.open()?;
    stream.write_all(format!("GET {target} HTTP/1.1\r\n{headers}\r\n").as_bytes())?;
    let mut head = Vec::new();
    while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the watch ended");
        head.extend(piece.iter().take(read));
    }
    ensure!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
    Ok(stream)
}

/// Whoever asks, and is not answered while this is held.
fn asks(asked: &TcpListener) -> anyhow::Result<TcpStream> {
    asked.set_nonblocking(true)?;
    let (stream, _) = try_until("the API server asks about the object", PATIENCE, || {
        asked.accept().context("nobody")
    })?;
    Ok(stream)
}

/// What the first API server answered and had not written down when it was killed, what it had in its hands then, and what came behind.
struct Killed {
    before: usize,
    unwritten: BTreeSet<String>,
    held: String,
    after: String,
}

fn killed(cluster: &Cluster, gateway: &Gateway, asked: &TcpListener) -> anyhow::Result<Killed> {
    let alice = Caller::new(gateway, &gateway.sign_in("alice")?.token)?;
    let answered = |method: &str, object: &str| {
        let (id, status, body) = alice.call(method, MAPS, &[JSON], object.as_bytes())?;
        ensure!(
            matches!(status, 200 | 201),
            "{status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(id)
    };
    let before = [
        answered("POST", r#"{"metadata":{"name":"one"}}"#)?,
        answered("GET", "")?,
    ];
    written(cluster.client(), &cluster.audit_log(), |event| {
        event.audit_id == before[1]
    })?;

    let mut unwritten = BTreeSet::from([
        answered("POST", r#"{"metadata":{"name":"two"}}"#)?,
        answered("GET", "")?,
    ]);
    let open = watch(gateway, &alice)?;
    let (made, held) = std::thread::scope(|scope| {
        let making = scope.spawn(|| make_held(&alice));
        let asking = asks(asked)?;
        kill(cluster.pid_of("kube-apiserver")?, Signal::SIGKILL)?;
        let made = making.join().map_err(|_| anyhow::anyhow!("the caller panicked"))?;
        drop(asking);
        made
    })?;
    unwritten.extend(made);
    drop(open);
    let (after, status, _) = alice.call("POST", MAPS, &[JSON], br#"{"metadata":{"name":"three"}}"#)?;
    ensure!(status >= 500, "the API server is gone: {status}");
    Ok(Killed {
        before: before.len(),
        unwritten,
        held,
        after,
    })
}

#[test]
fn what_the_gate_sent_and_the_server_never_logged_is_said_to_have_never_arrived() -> anyhow::Result<()> {
    let asked = TcpListener::bind("127.0.0.1:0")?;
    let cluster = forgetful(&asked)?;
    let mut gateway = Gateway::start(&cluster, &Options::default())?;
    let Killed {
        before,
        mut unwritten,
        held,
        after,
    } = killed(&cluster, &gateway, &asked)?;
    gateway.stop()?;

    // The other API server goes on, and so the cluster's log reaches behind all of this.
    let admin = cluster.ca().client("admin", &["system:masters"])?;
    let other = cluster.second_address().context("the second server")?;
    let other = Client::new(other, cluster.ca().certificate(), Some(&admin))?;
    let logs = ["audit.log", "audit-2.log"].map(|name| cluster.folder().path().join(name));
    other.get("/version?the=end", &[])?;
    written(&other, &logs[1], |event| event.request_uri.ends_with("?the=end"))?;

    let records = gateway.records()?;
    let of = |verb: &str| {
        let mut calls = records.iter().filter(|record| record["req"]["verb"] == verb);
        calls.find_map(|record| record["id"].as_str())
    };
    unwritten.insert(of("watch").context("the watch's id")?.to_owned());
    let logs = logs.each_ref().map(PathBuf::as_path);
    let told = report(&gateway.ledger(), &logs, 8)?;
    let never: BTreeSet<String> = found(&told, "neverArrived").into_iter().map(str::to_owned).collect();
    assert_eq!(never, unwritten, "{told:#}");
    let findings = told["report"]["findings"].as_array().context("findings")?;
    assert_eq!(findings.len(), unwritten.len(), "and nothing else: {told:#}");
    assert_eq!(told["report"]["joined"], before, "{told:#}");

    // Of the one in the server's hands nobody knows; the ledger says so, too. What came behind was not sent.
    assert_eq!(told["report"]["undecided"], 1, "{told:#}");
    let ends_with = |end: &str| -> Vec<&str> {
        let ends = records.iter().filter(|record| record["outcome"]["end"] == end);
        ends.filter_map(|record| record["id"].as_str()).collect()
    };
    assert_eq!(ends_with("unknown"), [&held]);
    let named = told["report"]["undecidedCalls"].as_array().context("the call")?;
    assert!(named.len() == 1 && named[0]["id"] == held.as_str(), "{told:#}");
    assert_eq!(ends_with("notSent"), [&after]);
    assert_eq!(told["report"]["outside"], 1, "{told:#}");
    assert_eq!(
        told["report"]["unknown"],
        json!({ "withoutRecord": 0, "beforeLedger": 0, "withoutEvent": 0 })
    );
    let said = reconcile(&gateway.ledger(), &logs, &[])?;
    for id in &unwritten {
        assert!(said.stdout.contains(&format!(" {id}, record ")), "{id}:\n{said}");
    }
    assert!(said.stdout.contains(&format!(" {held}, record ")), "{held}:\n{said}");
    for words in [
        "the ledger says that it was answered, and the API server's log does not have it",
        "not compared: 1 calls of which the ledger does not know whether they were sent; the audit log has none of them",
        "not compared: 1 calls of the ledger, which were not sent",
    ] {
        assert!(said.stdout.contains(words), "{words}:\n{said}");
    }
    Ok(())
}
