//! Promise 4, attacked: the gateway is killed in the middle of its work, and started again on the same folder. Whatever
//! reached the API server has a durable intent, and what never got an end is listed as unknown.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::wait::{PATIENCE, wait_until};

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: makes-configmaps }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [create, get, list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: makes-configmaps }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: makes-configmaps }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const WRITERS: usize = 4;
const ROUNDS: usize = 3;

#[test]
fn whatever_reached_the_cluster_before_a_kill_has_a_durable_intent() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(ROLES)?;
    let mut gateway = Gateway::start(&cluster, &Options::default())?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let mut acknowledged = BTreeSet::new();
    for round in 0..ROUNDS {
        acknowledged.extend(work_until_killed(&gateway, &bearer, round)?);
        gateway.start_again()?;
    }

    let records = gateway.records_with("every intent has an end", |records| {
        ids(records, "intent") == ended(records)
    })?;
    let intents = ids(&records, "intent");
    for event in cluster.audit_events()? {
        let ours = event.user.username == "system:serviceaccount:gatescribe:impersonator" && event.verb == "create";
        assert!(
            !ours || intents.contains(&event.audit_id),
            "{} {} has no intent",
            event.verb,
            event.audit_id
        );
    }
    let lost: Vec<_> = acknowledged.difference(&intents).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert!(
        acknowledged.len() >= ROUNDS * 20,
        "only {} were acknowledged",
        acknowledged.len()
    );
    let starts = records.iter().filter(|record| record["kind"] == "start").count();
    assert!(starts > ROUNDS, "each start is a record: {starts}");
    Ok(())
}

/// Creates objects from several threads, kills the gateway in the middle, and returns the ids that were answered 201.
fn work_until_killed(gateway: &Gateway, bearer: &str, round: usize) -> anyhow::Result<BTreeSet<String>> {
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (done, over) = (&done, &over);
                scope.spawn(move || write(gateway, bearer, &format!("r{round}-w{writer}"), done, over))
            })
            .collect();
        let enough = || (done.load(Ordering::Relaxed) >= 30).then_some(());
        let waited = wait_until("thirty objects are made", PATIENCE, enough);
        gateway.process().signal(Signal::SIGKILL)?;
        over.store(true, Ordering::Relaxed);
        let mut ids = BTreeSet::new();
        for writer in writers {
            ids.extend(writer.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??);
        }
        waited.map(|()| ids)
    })
}

fn write(
    gateway: &Gateway,
    bearer: &str,
    name: &str,
    done: &AtomicUsize,
    over: &AtomicBool,
) -> anyhow::Result<BTreeSet<String>> {
    let client = gateway.client()?;
    let mut ids = BTreeSet::new();
    for number in 0..10_000 {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let object =
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("{name}-{number}") } });
        let headers = [("Authorization", bearer), ("Content-Type", "application/json")];
        // After the kill there is no answer; that is the point.
        let Ok(answer) = client.send("POST", TARGET, &headers, object.to_string().as_bytes()) else {
            break;
        };
        if answer.status == 201 {
            let line = answer
                .head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("audit-id: ").map(str::to_owned));
            ids.extend(line);
            done.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(ids)
}

fn ids(records: &[Value], kind: &str) -> BTreeSet<String> {
    let of_kind = records.iter().filter(|record| record["kind"] == kind);
    of_kind
        .filter_map(|record| record["id"].as_str().map(str::to_owned))
        .collect()
}

fn ended(records: &[Value]) -> BTreeSet<String> {
    let ends: BTreeSet<u64> = records
        .iter()
        .filter(|record| record["kind"] == "outcome")
        .filter_map(|record| record["pair"].as_u64())
        .collect();
    let begun = records.iter().filter(|record| record["kind"] == "intent");
    begun
        .filter(|record| record["seq"].as_u64().is_some_and(|seq| ends.contains(&seq)))
        .filter_map(|record| record["id"].as_str().map(str::to_owned))
        .collect()
}
