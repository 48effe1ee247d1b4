//! Thousands of objects, played by kwok: long lists in pieces, selectors over all of them, and a watch of a change of
//! everything at once say the same through the gate and direct.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::http::Client;
use tests::kubectl::{Kubectl, Running};
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: many }
---
apiVersion: v1
kind: Node
metadata: { name: fake-1, annotations: { kwok.x-k8s.io/node: fake } }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: herds, namespace: many }
rules:
- { apiGroups: [""], resources: [pods], verbs: [get, list, watch, deletecollection] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: herds, namespace: many }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: herds }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

const PODS: &str = "/api/v1/namespaces/many/pods";
const COUNT: usize = 3_000;
/// Every so many pods have the same color.
const COLORS: usize = 10;

fn pod(number: usize) -> Value {
    json!({
        "metadata": { "name": format!("many-{number:04}"), "labels": { "color": format!("c{}", number % COLORS) } },
        "spec": { "nodeName": "fake-1", "containers": [{ "name": "none", "image": "none" }] },
    })
}

/// Sends `COUNT` requests over four connections.
fn each(client: &Client, ask: impl Fn(usize) -> (&'static str, String, Vec<u8>) + Sync) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<()> {
        let mut connection = client.connect()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= COUNT {
                return Ok(());
            }
            let (method, target, body) = ask(number);
            let kind = match method {
                "PATCH" => "application/merge-patch+json",
                _ => "application/json",
            };
            let answer = connection.exchange(method, &target, &[("Content-Type", kind)], &body)?;
            ensure!(
                answer.status < 300,
                "{method} {target}: {}",
                String::from_utf8_lossy(&answer.body)
            );
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    })
}

/// The cluster with its herd, all of it running.
fn herd() -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(ClusterOptions {
        kwok: true,
        ..ClusterOptions::default()
    })?;
    cluster.admin()?.apply(WORLD)?;
    each(cluster.client(), |number| {
        ("POST", PODS.to_owned(), pod(number).to_string().into_bytes())
    })?;
    let running = format!("{PODS}?fieldSelector=status.phase%3DRunning&limit=1");
    // A slow machine needs its time for each of them.
    try_until("all of them run", PATIENCE * 4, || {
        let list = cluster.client().get(&running, &[])?.json()?;
        // The server does not count on behind a selector; one page with nothing behind it is the last.
        let waiting = format!("{PODS}?fieldSelector=status.phase%21%3DRunning&limit=1");
        let others = cluster.client().get(&waiting, &[])?.json()?;
        ensure!(list["items"][0].is_object() && others["items"] == json!([]), "{others}");
        Ok(())
    })?;
    Ok(cluster)
}

/// Lists, and how many lines each must give.
const LISTS: [(&str, usize); 9] = [
    ("-o name", COUNT),
    ("-o name --chunk-size=0", COUNT),
    ("-o name --chunk-size=700", COUNT),
    (
        "-o custom-columns=:.metadata.name,:.metadata.labels.color,:.status.phase --no-headers",
        COUNT,
    ),
    ("-o name -l color=c3", COUNT / COLORS),
    ("-o name -l color=c3 --chunk-size=7", COUNT / COLORS),
    ("-o name -l color!=c3,color", COUNT - COUNT / COLORS),
    (
        "-o name --field-selector=status.phase=Running,spec.nodeName=fake-1 --chunk-size=999",
        COUNT,
    ),
    ("-o name --field-selector=metadata.name=many-0007", 1),
];

#[test]
fn g_11_three_thousand_pods_are_listed_and_watched_alike_through_the_gate_and_direct() -> anyhow::Result<()> {
    let cluster = herd()?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let through = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let direct = cluster.as_person("alice@example.com", &["dev"])?;

    for (list, lines) in LISTS {
        let list: Vec<&str> = "get pods -n many".split(' ').chain(list.split(' ')).collect();
        let [expected, found] = [direct.ok(&list)?, through.ok(&list)?];
        assert_eq!(expected.lines().count(), lines, "{list:?}");
        assert!(
            expected == found,
            "{list:?} differs: {}",
            first_difference(&expected, &found)
        );
    }
    let pages = |records: &[Value], limit: &str| {
        let of_it = |record: &&Value| record["kind"] == "access" && record["req"]["options"] == limit;
        records.iter().filter(of_it).count()
    };
    let records = gateway.records()?;
    assert_eq!(
        (pages(&records, "limit=700"), pages(&records, "limit=500")),
        (5, 2 * 6 + 1 + 6 + 1)
    );
    whole_objects(&direct, &through)?;
    everything_goes(&cluster, &direct, &through)
}

/// Every byte of every object, in one answer of some megabytes, compressed as kubectl asks for it.
fn whole_objects(direct: &Kubectl, through: &Kubectl) -> anyhow::Result<()> {
    let items = |kubectl: &Kubectl| -> anyhow::Result<BTreeMap<String, Value>> {
        let list: Value = serde_json::from_str(&kubectl.ok(&["get", "--raw", PODS])?)?;
        let items = list["items"].as_array().context("items")?.iter();
        Ok(items
            .map(|pod| (pod["metadata"]["name"].to_string(), pod.clone()))
            .collect())
    };
    let [expected, found] = [items(direct)?, items(through)?];
    assert_eq!(expected.len(), COUNT);
    assert!(expected == found, "some object differs");
    Ok(())
}

/// One call deletes them all, and two watches tell of each, in the order in which they went.
fn everything_goes(cluster: &Cluster, direct: &Kubectl, through: &Kubectl) -> anyhow::Result<()> {
    let watch = ["get", "pods", "-n", "many", "--watch-only", "-o", "name"];
    let mut watches = [direct.start(&watch)?, through.start(&watch)?];
    try_until("both watches have begun", PATIENCE, || {
        let begun = cluster.audit_events()?.into_iter();
        let begun = begun.filter(|event| event.verb == "watch" && event.request_uri.starts_with(&format!("{PODS}?")));
        let by: BTreeSet<_> = begun.map(|event| event.user.username).collect();
        ensure!(by.len() == 2, "{by:?}");
        Ok(())
    })?;
    // The server gives one call a minute for all of them: where that is too little, the next goes on.
    try_until("all of them are deleted", PATIENCE, || {
        through.ok(&["delete", "--raw", &format!("{PODS}?gracePeriodSeconds=0")])
    })?;
    try_until("all of them are gone", PATIENCE, || {
        let left = cluster.client().get(&format!("{PODS}?limit=1"), &[])?.json()?;
        ensure!(left["items"] == json!([]), "{left}");
        Ok(())
    })?;
    // A watch tells in order: who tells of this one has told of all the others.
    let last = json!({"metadata": {"name": "last"}, "spec": pod(0)["spec"]}).to_string();
    let kind = [("Content-Type", "application/json")];
    cluster.client().send("POST", PODS, &kind, last.as_bytes())?;
    let [expected, found] = &mut watches;
    let [expected, found] = [told(expected)?, told(found)?];
    assert!(
        expected == found,
        "the watches differ: {}",
        first_difference(&expected, &found)
    );
    let names: BTreeSet<&str> = expected.lines().collect();
    assert_eq!(names.len(), COUNT);
    Ok(())
}

/// What a watch tells before the last object.
fn told(watch: &mut Running) -> anyhow::Result<String> {
    watch.line("the last object", |line| line == "pod/last")?;
    let lines = watch.lines();
    let before: Vec<String> = lines.into_iter().take_while(|line| line != "pod/last").collect();
    Ok(before.join("\n"))
}

fn first_difference(expected: &str, found: &str) -> String {
    let differs = expected.lines().zip(found.lines()).find(|(one, other)| one != other);
    format!(
        "{differs:?}, {} and {} lines",
        expected.lines().count(),
        found.lines().count()
    )
}
