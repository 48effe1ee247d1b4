//! Watches and logs on a real API server, in every form in which it tells them: the same bytes through the gate as direct;
//! and they go on through everything that changes meanwhile but the rules that allow them.

#[path = "watches/websockets.rs"]
mod websockets;

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::caller::JSON;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::http::{Client, field};
use tests::kubectl::{Kubectl, Running};
use tests::metrics::Scrape;
use tests::once::Once;
use tests::wait::{PATIENCE, try_until};

const WORLD: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: forms }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: everything-here }
rules:
- { apiGroups: ["*"], resources: ["*"], verbs: ["*"] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: forms }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything-here }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec:
  group: example.com
  names: { kind: Widget, plural: widgets, singular: widget }
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    # A table without an age, which would be another one a second later.
    additionalPrinterColumns: [{ name: Size, type: integer, jsonPath: .spec.size }]
    schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
---
apiVersion: v1
kind: Pod
metadata: { name: talker, namespace: forms }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - name: talker
      image: none
      command: [sh, -c, "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"]
---
apiVersion: v1
kind: Pod
metadata: { name: told, namespace: forms }
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
    - { name: told, image: none, command: [sh, -c, "echo told; exec sleep 1000"] }
"#;

/// The cluster of this file: with a node, and with CBOR, which is off unless somebody switches it on.
fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD_ONCE: Once<Cluster> = Once::new();
    WORLD_ONCE.get(|| {
        let options = ClusterOptions {
            node: true,
            apiserver_arguments: vec!["--feature-gates=CBORServingAndStorage=true".to_owned()],
            ..ClusterOptions::default()
        };
        let cluster = Cluster::with_pods_and(options, WORLD)?;
        let kind = [
            "wait",
            "--for=condition=Established",
            "crd/widgets.example.com",
            "--timeout=170s",
        ];
        cluster.admin()?.ok(&kind)?;
        Ok(cluster)
    })
}

/// The same person, through the gate and direct.
struct Sides {
    gateway: Gateway,
    through: Client,
    bearer: String,
    direct: Client,
}

impl Sides {
    fn new(cluster: &Cluster, options: &Options) -> anyhow::Result<Self> {
        let gateway = Gateway::start(cluster, options)?;
        let identity = cluster.ca().client("alice@example.com", &["dev"])?;
        Ok(Self {
            through: gateway.client()?,
            bearer: format!("Bearer {}", gateway.sign_in("alice")?.token),
            direct: Client::new(cluster.address(), cluster.ca().certificate(), Some(&identity))?,
            gateway,
        })
    }

    /// Content type and body of the two answers, direct first.
    fn both(&self, target: &str, accept: &str) -> anyhow::Result<Both> {
        let direct = self.direct.get(target, &[("Accept", accept)])?;
        let headers = [("Accept", accept), ("Authorization", self.bearer.as_str())];
        let through = self.through.get(&format!("/clusters/bench{target}"), &headers)?;
        let mut both = Vec::new();
        for answer in [direct, through] {
            ensure!(
                answer.status == 200,
                "{target}: {}",
                String::from_utf8_lossy(&answer.body)
            );
            let kind = field(&answer.head, "content-type").context("a content type")?;
            both.push((kind.to_owned(), answer.body));
        }
        both.try_into().map_err(|_| anyhow::anyhow!("two answers"))
    }
}

/// A head (or what of it counts) and what was said behind it, direct and through the gate.
type Both = [(String, Vec<u8>); 2];

/// Asks for a watch that the server ends after some seconds, for more of them until both sides were told what comes last: how
/// long a server takes for that is its own.
fn until_told(last: &str, ask: impl Fn(&str) -> anyhow::Result<Both>) -> anyhow::Result<Both> {
    let mut missing = String::new();
    for seconds in [2, 10, 40] {
        let both = ask(&format!("timeoutSeconds={seconds}"))?;
        if both.iter().all(|(_, said)| has(said, last.as_bytes())) {
            return Ok(both);
        }
        missing = both.map(|(_, said)| said.escape_ascii().to_string()).join("\n");
    }
    anyhow::bail!("no {last} in one of:\n{missing}")
}

fn has(said: &[u8], part: &[u8]) -> bool {
    said.windows(part.len()).any(|window| window == part)
}

/// Where a collection stands now.
fn revision(cluster: &Cluster, collection: &str) -> anyhow::Result<String> {
    let list = cluster.client().get(&format!("{collection}?limit=1"), &[])?.json()?;
    Ok(list["metadata"]["resourceVersion"]
        .as_str()
        .context("a resource version")?
        .to_owned())
}

/// Three changes of one object, of this name.
fn changes(cluster: &Cluster, collection: &str, mut object: Value, name: &str) -> anyhow::Result<()> {
    object["metadata"] = json!({ "name": name });
    let patch = ("Content-Type", "application/merge-patch+json");
    let one = format!("{collection}/{name}");
    for (method, target, headers, body) in [
        ("POST", collection, JSON, object.to_string()),
        (
            "PATCH",
            one.as_str(),
            patch,
            r#"{"metadata":{"labels":{"seen":"yes"}}}"#.to_owned(),
        ),
        ("DELETE", one.as_str(), JSON, String::new()),
    ] {
        let answer = cluster.client().send(method, target, &[headers], body.as_bytes())?;
        ensure!(
            answer.status < 300,
            "{method} {target}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    Ok(())
}

const MAPS: &str = "/api/v1/namespaces/forms/configmaps";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/forms/widgets";

/// Forms of a watch: collection, what is accepted, what comes, and what is in it.
const FORMS: [(&str, &str, &str, &[u8]); 5] = [
    (MAPS, "application/json", "application/json", b"{\"type\":\"DELETED\""),
    (
        MAPS,
        "application/vnd.kubernetes.protobuf;stream=watch",
        "application/vnd.kubernetes.protobuf;stream=watch",
        b"k8s\0",
    ),
    (MAPS, "application/cbor", "application/cbor-seq", b"DELETED"),
    (
        WIDGETS,
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "application/json",
        b"\"kind\":\"Table\"",
    ),
    (
        WIDGETS,
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        "application/json",
        b"\"kind\":\"PartialObjectMetadata\"",
    ),
];

#[test]
fn g_11_a_watch_in_every_form_is_the_same_bytes_through_the_gate() -> anyhow::Result<()> {
    let cluster = world()?;
    let sides = Sides::new(cluster, &Options::default())?;
    for (number, (collection, accept, kind, part)) in FORMS.into_iter().enumerate() {
        let from = revision(cluster, collection)?;
        let object = match collection {
            MAPS => json!({ "data": { "k": "v" } }),
            _ => json!({ "apiVersion": "example.com/v1", "kind": "Widget", "spec": { "size": 3 } }),
        };
        let name = format!("form-{number}");
        changes(cluster, collection, object, &name)?;
        // Of these three changes alone: other tests have objects of their own beside them.
        let query = format!("watch=true&resourceVersion={from}&fieldSelector=metadata.name%3D{name}");
        let [direct, through] = until_told("DELETED", |limit| {
            sides.both(&format!("{collection}?{query}&{limit}"), accept)
        })?;
        ensure!(direct.0.starts_with(kind), "{accept}: {}", direct.0);
        ensure!(has(&direct.1, part), "{accept}: {}", direct.1.escape_ascii());
        let of = |(kind, mut body): (String, Vec<u8>)| {
            // An API server writes the members of a CBOR map in a new order each time, so that nobody relies on one.
            if accept == "application/cbor" {
                body.sort_unstable();
            }
            (kind, body)
        };
        let (direct, through) = (of(direct), of(through));
        ensure!(direct == through, "{accept}:\n{direct:?}\n{through:?}");
    }
    Ok(())
}

/// A watch's lines, without how far the server's own reading was when it wrote a bookmark.
fn told(body: &[u8]) -> anyhow::Result<Vec<Value>> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |line| -> anyhow::Result<Value> {
        let mut event: Value = serde_json::from_slice(line)?;
        if event["type"] == "BOOKMARK" {
            event["object"]["metadata"]["resourceVersion"] = json!("…");
        }
        Ok(event)
    };
    lines.map(read).collect()
}

/// The bookmark behind the last object that was there at the beginning (KEP-3157).
fn ends(event: &Value) -> bool {
    event["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
}

#[test]
fn g_11_bookmarks_and_initial_events_come_as_the_server_sends_them() -> anyhow::Result<()> {
    let cluster = world()?;
    let sides = Sides::new(cluster, &Options::default())?;
    for name in ["initial-a", "initial-b"] {
        let object = json!({ "metadata": { "name": name, "labels": { "initial": "yes" } } }).to_string();
        ensure!(cluster.client().send("POST", MAPS, &[JSON], object.as_bytes())?.status == 201);
    }
    let query = "watch=true&labelSelector=initial%3Dyes&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
    let [direct, through] = until_told("initial-events-end", |limit| {
        sides.both(&format!("{MAPS}?{query}&{limit}"), "application/json")
    })?;
    let [direct, through] = [told(&direct.1)?, told(&through.1)?];
    for side in [&direct, &through] {
        let added = side.iter().filter(|event| event["type"] == "ADDED").count();
        ensure!(
            added == 2 && side.iter().filter(|event| ends(event)).count() == 1,
            "{side:?}"
        );
    }
    // How many plain bookmarks there are besides is as the server's clock has it.
    let kept = |side: Vec<Value>| {
        let kept = side.into_iter();
        kept.filter(|event| event["type"] != "BOOKMARK" || ends(event))
            .collect::<Vec<_>>()
    };
    let (expected, found) = (kept(direct), kept(through));
    ensure!(expected == found, "{expected:?}\n{found:?}");
    Ok(())
}

#[test]
fn a_list_in_pieces_is_the_same_bytes_through_the_gate() -> anyhow::Result<()> {
    let cluster = world()?;
    let sides = Sides::new(cluster, &Options::default())?;
    for number in 0..7 {
        let object = json!({ "metadata": { "name": format!("piece-{number}"), "labels": { "piece": "yes" } } });
        ensure!(
            cluster
                .client()
                .send("POST", MAPS, &[JSON], object.to_string().as_bytes())?
                .status
                == 201
        );
    }
    let at = revision(cluster, MAPS)?;
    let mut query = format!("limit=3&resourceVersion={at}&resourceVersionMatch=Exact");
    let mut pieces = Vec::new();
    loop {
        let target = format!("{MAPS}?labelSelector=piece%3Dyes&{query}");
        let [direct, through] = sides.both(&target, "application/json")?;
        ensure!(direct == through, "{direct:?}\n{through:?}");
        let list: Value = serde_json::from_slice(&direct.1)?;
        pieces.push(list["items"].as_array().map_or(0, Vec::len));
        match list["metadata"]["continue"].as_str() {
            Some(next) if !next.is_empty() => query = format!("limit=3&continue={}", next.replace('=', "%3D")),
            _ => break,
        }
    }
    ensure!(pieces.iter().sum::<usize>() == 7 && pieces.len() >= 3, "{pieces:?}");
    Ok(())
}

#[test]
fn g_14_the_logs_of_fifty_pods_are_followed_at_the_same_time() -> anyhow::Result<()> {
    const PODS: usize = 50;
    let cluster = world()?;
    let go = cluster.folder().path().join("go");
    let script = format!(
        "echo I am here; while [ ! -e {} ]; do sleep 0.5; done; echo and gone",
        go.display()
    );
    let pods = (0..PODS).map(|number| {
        json!({ "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": format!("many-{number}"), "namespace": "forms", "labels": { "app": "many" } },
            "spec": { "nodeName": "node-1", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
                "containers": [{ "name": "c", "image": "none", "command": ["sh", "-c", script] }] } })
    });
    let items: Vec<Value> = pods.collect();
    let admin = cluster.admin()?;
    admin.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string())?;
    admin.ok(&[
        "wait",
        "--for=condition=Ready",
        "pod",
        "-l",
        "app=many",
        "-n",
        "forms",
        "--timeout=170s",
    ])?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    let follow = [
        "logs",
        "-f",
        "-l",
        "app=many",
        "-n",
        "forms",
        "--max-log-requests=50",
        "--tail=-1",
    ];
    let mut logs = alice.start(&follow)?;
    let said = |logs: &Running, words: &str| logs.lines().iter().filter(|line| *line == words).count();
    try_until("each of them is heard", PATIENCE, || {
        let heard = said(&logs, "I am here");
        ensure!(heard == PODS, "{heard} of {PODS}");
        Ok(())
    })?;
    let open = Scrape::of(gateway.admin())?.sum("gateway_upstream_open_connections", &[("class", "FollowLog")]);
    ensure!(open >= 50.0, "{open} connections: they share some");
    std::fs::write(&go, "")?;
    assert_eq!(logs.end()?, 0, "{:?}", logs.lines());
    assert_eq!((said(&logs, "I am here"), said(&logs, "and gone")), (PODS, PODS));
    Ok(())
}

#[test]
fn g_14_previous_logs_and_timestamps_are_the_same_through_the_gate() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let mark = cluster.folder().path().join("was-here");
    let script = format!(
        "if [ ! -e {0} ]; then touch {0}; echo first life; exit 1; fi; echo second life; exec sleep 1000",
        mark.display()
    );
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "twice", "namespace": "forms" },
        "spec": { "nodeName": "node-1", "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "c", "image": "none", "command": ["sh", "-c", script] }] } });
    admin.apply(&pod.to_string())?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let through = gateway.kubectl_of("alice")?;
    let direct = cluster.as_person("alice@example.com", &["dev"])?;
    try_until("it lives again", PATIENCE, || {
        let said = admin.ok(&["logs", "twice", "-n", "forms"])?;
        ensure!(said == "second life\n", "{said}");
        Ok(())
    })?;
    for (more, has) in [
        ("--previous", "first life\n"),
        ("--timestamps", "Z second life\n"),
        ("--tail=1", "second life\n"),
    ] {
        let command = ["logs", "twice", "-n", "forms", more];
        let [expected, found] = [direct.ok(&command)?, through.ok(&command)?];
        ensure!(
            expected.ends_with(has) && expected == found,
            "{more}: {expected:?} {found:?}"
        );
    }
    Ok(())
}

fn replace(file: &std::path::Path, text: &str) -> anyhow::Result<()> {
    let draft = file.with_extension("draft");
    std::fs::write(&draft, text)?;
    Ok(std::fs::rename(draft, file)?)
}

/// A watch and a followed log of one person.
struct Followed {
    watch: Running,
    log: Running,
}

impl Followed {
    fn begin(kubectl: &Kubectl, gateway: &Gateway) -> anyhow::Result<Self> {
        let followed = Self {
            watch: kubectl.start(&[
                "get",
                "configmaps",
                "-n",
                "forms",
                "-l",
                "followed=yes",
                "--watch-only",
                "-o",
                "name",
            ])?,
            log: kubectl.start(&["logs", "-f", "talker", "-n", "forms", "--tail=1"])?,
        };
        gateway.has_open(2)?;
        Ok(followed)
    }

    /// Something made now is told, and the log says more.
    fn goes_on(&mut self, admin: &Kubectl, after: &str) -> anyhow::Result<()> {
        let object = json!({ "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": after, "namespace": "forms", "labels": { "followed": "yes" } } });
        admin.apply(&object.to_string())?;
        let wanted = format!("configmap/{after}");
        self.watch.line(after, |line| line == wanted)?;
        self.log.goes_on()
    }
}

#[test]
fn g_03_watches_and_followed_logs_go_on_through_reload_rotations_and_the_end_of_their_token() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let options = Options {
        identity: Some(json!({ "session": { "token": "1m" } })),
        ..Options::default()
    };
    let mut gateway = Gateway::start(cluster, &options)?;
    let token = gateway.sign_in("alice")?.token;
    let mut followed = Followed::begin(&gateway.kubectl("alice", &token)?, &gateway)?;

    let file = gateway.file("gatescribe.yaml");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    config["log"] = json!({ "level": "debug" });
    replace(&file, &config.to_string())?;
    try_until("the new configuration is in force", PATIENCE, || {
        ensure!(gateway.log().contains("\"level\":\"DEBUG\""), "no debug line");
        Ok(())
    })?;
    followed.goes_on(&admin, "after-the-reload")?;

    gateway.provider.control("/rotate", &json!({ "withdraw": true }))?;
    // Keys are asked for again half a minute after the last time.
    try_until("bob signs in with the provider's new key", PATIENCE, || {
        gateway.sign_in("bob")
    })?;
    followed.goes_on(&admin, "after-the-providers-keys")?;

    let next = cluster.service_account_token("gatescribe", "impersonator")?;
    replace(&gateway.file("impersonator"), &next)?;
    try_until("the gateway's next credential is in force", PATIENCE, || {
        ensure!(gateway.log().contains("cluster credentials read anew"), "not yet");
        Ok(())
    })?;
    followed.goes_on(&admin, "after-the-gateways-credential")?;

    let bearer = format!("Bearer {token}");
    let client = gateway.client()?;
    try_until("the token has ended", PATIENCE, || {
        let target = "/clusters/bench/api/v1/namespaces/forms/configmaps?limit=1";
        let answer = client.get(target, &[("Authorization", &bearer)])?;
        ensure!(answer.status == 401, "{}", answer.status);
        Ok(())
    })?;
    followed.goes_on(&admin, "after-the-token")?;

    gateway.process().signal(Signal::SIGTERM)?;
    for running in [&mut followed.watch, &mut followed.log] {
        assert_eq!(running.end()?, 0, "{:?}", running.lines().last());
    }
    gateway.wait()?;
    let closes = gateway
        .records()?
        .into_iter()
        .filter(|record| record["outcome"]["end"] == "ended");
    let why: Vec<Value> = closes.map(|close| close["outcome"]["why"].clone()).collect();
    assert_eq!(
        why,
        [
            json!("ended by the gateway: it stops"),
            json!("ended by the gateway: it stops")
        ]
    );
    Ok(())
}

/// `kubectl rollout status` is an informer of client-go: it lists and watches again by itself, and says so to nobody.
#[test]
fn g_10_client_go_lists_again_after_a_drain_and_misses_nothing() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "drained", "namespace": "forms" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "drained" } },
            "template": { "metadata": { "labels": { "app": "drained" } },
                "spec": { "containers": [{ "name": "c", "image": "none" }] } } } });
    admin.apply(&deployment.to_string())?;
    let mut gateway = Gateway::start(cluster, &Options::default())?;
    let alice = gateway.kubectl_of("alice")?;
    let mut waiting = alice.start(&[
        "rollout",
        "status",
        "deployment/drained",
        "-n",
        "forms",
        "--timeout=170s",
    ])?;
    waiting.line("it waits", |line| line.starts_with("Waiting for deployment"))?;
    gateway.has_open(1)?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    // Nobody controls deployments here: what a controller would write is written by hand, while nobody may be watching.
    let status = r#"{"status":{"observedGeneration":1,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}"#;
    admin.ok(&[
        "patch",
        "deployment",
        "drained",
        "-n",
        "forms",
        "--subresource=status",
        "--type=merge",
        "-p",
        status,
    ])?;
    assert_eq!(waiting.end()?, 0, "{:?}", waiting.lines());
    let last = waiting.lines().pop().unwrap_or_default();
    assert!(last.contains("successfully rolled out"), "{:?}", waiting.lines());
    let records = gateway.records()?;
    let ended = records
        .iter()
        .filter(|record| record["outcome"]["why"] == "ended by the gateway: it stops");
    assert_eq!(ended.count(), 1);
    Ok(())
}

/// How many watches of a resource the API server has open, as it counts them.
fn watches_of(cluster: &Cluster, resource: &str) -> anyhow::Result<f64> {
    let page = String::from_utf8(cluster.client().get("/metrics", &[])?.body)?;
    let of_it = page.lines().filter(|line| {
        line.starts_with("apiserver_longrunning_requests{") && line.contains(&format!("resource=\"{resource}\""))
    });
    of_it
        .map(|line| Ok(line.rsplit(' ').next().context("a value")?.parse::<f64>()?))
        .sum()
}

/// Over both protocols, and on a real server, which counts what it has open.
#[test]
fn g_06_whoever_leaves_a_watch_leaves_nothing_open_at_the_server() -> anyhow::Result<()> {
    // Nobody else watches these here.
    const LIMITS: &str = "/clusters/bench/api/v1/namespaces/forms/limitranges?watch=true";
    let cluster = world()?;
    cluster.admin()?.apply(
        r#"{"apiVersion":"v1","kind":"LimitRange","metadata":{"name":"here","namespace":"forms"},"spec":{"limits":[]}}"#,
    )?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let token = gateway.sign_in("alice")?.token;
    let before = watches_of(cluster, "limitranges")?;
    let has_open = |more: f64| {
        try_until("the server counts it", PATIENCE, || {
            let open = watches_of(cluster, "limitranges")? - before;
            ensure!((open - more).abs() < f64::EPSILON, "{open}");
            Ok(())
        })
    };
    let mut over_http1 = gateway.client()?.open()?;
    write!(
        over_http1,
        "GET {LIMITS} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n\r\n",
        gateway.address
    )?;
    over_http1.read_exact(&mut [0; 15])?;
    has_open(1.0)?;
    drop(over_http1);
    has_open(0.0)?;
    // kubectl speaks HTTP/2, and is killed as a terminal that is closed does it.
    let alice = gateway.kubectl("alice", &token)?;
    let mut over_http2 = alice.start(&["get", "limitranges", "-n", "forms", "--watch-only", "-o", "name"])?;
    has_open(1.0)?;
    over_http2.kill_hard()?;
    has_open(0.0)?;
    let ends = |records: &[Value]| -> Vec<Vec<Value>> {
        let watches = records.iter().filter(|record| {
            record["kind"] == "access" && record["req"]["resource"] == "limitranges" && record["req"]["verb"] == "watch"
        });
        let ends_of = |watch: &Value| {
            let ends = records
                .iter()
                .filter(|end| end["pair"] == watch["seq"] && end["kind"] == "close");
            ends.cloned().collect()
        };
        watches.map(ends_of).collect()
    };
    let records = gateway.records_with("two ends", |records| {
        let ends = ends(records);
        ends.len() == 2 && ends.iter().all(|ends| !ends.is_empty())
    })?;
    for ends in ends(&records) {
        let [end] = ends.as_slice() else {
            anyhow::bail!("it ended more than once: {ends:?}");
        };
        assert_eq!(end["outcome"]["end"], "clientGone", "{end}");
    }
    Ok(())
}

/// The informer behind `kubectl rollout status` lists again when its watch ends, and is told there that it may not.
#[test]
fn g_10_client_go_lists_again_after_its_right_is_gone_and_is_refused() -> anyhow::Result<()> {
    let cluster = world()?;
    let admin = cluster.admin()?;
    let binding = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: for-a-while, namespace: forms }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: everything-here }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: User, name: bob@example.com }]
"#;
    admin.apply(binding)?;
    let deployment = json!({ "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": "revoked", "namespace": "forms" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "revoked" } },
            "template": { "metadata": { "labels": { "app": "revoked" } },
                "spec": { "containers": [{ "name": "c", "image": "none" }] } } } });
    admin.apply(&deployment.to_string())?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let bob = gateway.kubectl_of("bob")?;
    let words = [
        "rollout",
        "status",
        "deployment/revoked",
        "-n",
        "forms",
        "--timeout=170s",
    ];
    let mut waiting = bob.start(&words)?;
    waiting.line("it waits", |line| line.starts_with("Waiting for deployment"))?;
    gateway.has_open(1)?;
    admin.ok(&["delete", "rolebinding", "for-a-while", "-n", "forms"])?;
    waiting.line("it reads why", |line| line.contains("bob@example.com may not "))?;
    drop(waiting);
    let of_it = |record: &&Value| record["req"]["resource"] == "deployments";
    let is_refused = |record: &&Value| record["kind"] == "refusal";
    // Neither the end nor the refusal is waited for by whoever reads of it.
    let records = gateway.records_with("the refusal", |records| {
        records.iter().filter(of_it).any(|record| is_refused(&record))
    })?;
    let watch = records
        .iter()
        .filter(of_it)
        .find(|record| record["kind"] == "access" && record["req"]["verb"] == "watch");
    let watch = watch.context("the watch")?;
    let end = gateway.end_of(watch["id"].as_str().context("an id")?)?;
    assert_eq!(
        (&end["pair"], &end["outcome"]["end"]),
        (&watch["seq"], &json!("ended")),
        "{end}"
    );
    let refused = records.iter().filter(of_it).find(is_refused);
    let refused = refused.context("the refusal")?;
    assert!(refused["seq"].as_u64() > end["seq"].as_u64(), "{refused}");
    assert_eq!(refused["outcome"]["status"], 403, "{refused}");
    Ok(())
}
