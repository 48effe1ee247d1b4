//! kubectl through the gate and kubectl direct: same output, same exit code, for a table of commands; and every call that
//! reached the API server in the gateway's name joins exactly one of our records by `Audit-ID`, with the right human.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::Kubectl;

const WORLD: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: looks }
rules:
- apiGroups: [""]
  resources: [namespaces, nodes]
  verbs: [get, list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  verbs: [get, list]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: looks }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: looks }
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
    schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
"#;

/// One namespace for each side, with the same rights in it.
fn namespace(name: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{ name: {name} }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{ name: works, namespace: {name} }}
rules:
- apiGroups: ["", apps, batch, example.com, events.k8s.io, networking.k8s.io]
  resources: ["*"]
  verbs: [get, list, watch, create, update, patch, delete, deletecollection]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{ name: works, namespace: {name} }}
roleRef: {{ apiGroup: rbac.authorization.k8s.io, kind: Role, name: works }}
subjects: [{{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }}]
"#
    )
}

const DEPLOYMENT: &str = r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},"template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"local","command":["sh","-c","echo hello; while true; do sleep 1; done"]}]}}}}"#;
const CONFIG: &str =
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied","labels":{"a":"b"}},"data":{"k":"v"}}"#;
const CHANGED: &str =
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"applied","labels":{"a":"b"}},"data":{"k":"w"}}"#;
const WIDGET: &str = r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"one"},"spec":{"size":3}}"#;

/// Commands in order; `{ns}` is the side's namespace, a text behind ` < ` is the input.
fn commands() -> Vec<(String, &'static str)> {
    let plain = [
        "version -o yaml --client=false",
        "api-versions",
        "api-resources -o name",
        "api-resources --api-group=apps --no-headers",
        "explain configmap",
        "explain deployment.spec.replicas",
        "explain widget",
        "auth can-i create configmaps -n {ns}",
        "auth can-i delete nodes",
        "auth can-i --list -n {ns} --no-headers",
        "get namespaces --field-selector=metadata.name={ns} -o name",
        "get namespace {ns} -o jsonpath={.metadata.name}",
        "get nodes -o name",
        "get crd widgets.example.com -o jsonpath={.spec.group}",
        "get --raw /version",
        "get --raw /api/v1/namespaces/{ns}/configmaps?limit=1&fieldSelector=metadata.name%3Dnone",
        "get --raw /apis/apps/v1",
        "create configmap one -n {ns} --from-literal=a=1",
        "create configmap two -n {ns} --from-literal=a=2",
        "create configmap one -n {ns} --from-literal=a=1",
        "get configmap one -n {ns} -o jsonpath={.data}",
        "get configmaps -n {ns} -o name",
        "get configmaps -n {ns} -o name --chunk-size=1",
        "get configmaps -n {ns} --field-selector=metadata.name=two -o name",
        "get configmap none -n {ns}",
        "get configmap one two -n {ns} -o custom-columns=N:.metadata.name,A:.data.a",
        "label configmap one -n {ns} team=blue",
        "label configmap one -n {ns} team=red",
        "label configmap one -n {ns} team=red --overwrite",
        "get configmaps -n {ns} -l team=red -o name",
        "get configmaps -n {ns} -l team!=red,team -o name",
        "annotate configmap one -n {ns} note=x",
        "patch configmap one -n {ns} --type=merge -p {\"data\":{\"a\":\"9\"}}",
        "patch configmap one -n {ns} --type=json -p [{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"8\"}]",
        "patch configmap one -n {ns} -p {\"data\":{\"b\":\"7\"}}",
        "get configmap one -n {ns} -o jsonpath={.data.a}{.data.b}",
        "create secret generic hidden -n {ns} --from-literal=p=q",
        "get secret hidden -n {ns} -o jsonpath={.data.p}",
        "describe secret hidden -n {ns}",
        "create serviceaccount robot -n {ns}",
        "create quota q -n {ns} --hard=pods=9",
        "create service clusterip svc -n {ns} --tcp=80:80 --dry-run=server -o name",
        "run dry -n {ns} --image=local --dry-run=server -o name",
        "create configmap dry -n {ns} --dry-run=server -o name",
        "get configmap dry -n {ns}",
    ];
    let mut all: Vec<(String, &'static str)> = plain.iter().map(|command| ((*command).to_owned(), "")).collect();
    for (command, input) in [
        ("apply -n {ns} -f -", CONFIG),
        ("apply -n {ns} -f -", CONFIG),
        ("diff -n {ns} -f -", CONFIG),
        ("diff -n {ns} -f -", CHANGED),
        ("apply --server-side -n {ns} -f -", CHANGED),
        ("apply --server-side --force-conflicts -n {ns} -f -", CHANGED),
        ("get configmap applied -n {ns} -o jsonpath={.data.k}", ""),
        ("replace -n {ns} -f -", CONFIG),
        ("apply -n {ns} -f -", WIDGET),
        ("get widgets -n {ns} -o name", ""),
        ("get widget one -n {ns} -o jsonpath={.spec.size}", ""),
        ("patch widget one -n {ns} --type=merge -p {\"spec\":{\"size\":4}}", ""),
        ("apply -n {ns} -f -", DEPLOYMENT),
        ("rollout status deployment/web -n {ns} --timeout=60s", ""),
        (
            "wait --for=condition=available deployment/web -n {ns} --timeout=60s",
            "",
        ),
        ("logs deployment/web -n {ns} --tail=1", ""),
        ("get deployment web -n {ns} -o jsonpath={.status.readyReplicas}", ""),
        ("set env deployment/web -n {ns} A=B --dry-run=server -o name", ""),
        ("rollout history deployment/web -n {ns}", ""),
        ("scale deployment web -n {ns} --replicas=0", ""),
        ("wait --for=delete pod -l app=web -n {ns} --timeout=60s", ""),
        ("delete deployment web -n {ns}", ""),
        ("delete widget one -n {ns}", ""),
        ("delete configmap one two -n {ns}", ""),
        ("delete configmap one -n {ns}", ""),
        ("delete configmaps -n {ns} -l a=b", ""),
    ] {
        all.push((command.to_owned(), input));
    }
    all
}

/// What may differ between two honest runs: names of namespaces, generated names, times, and the store's revision, which
/// moves with each lease that a component of the cluster renews in between.
fn comparable(text: &str, namespace: &str) -> String {
    let text = without_revisions(&text.replace(namespace, "NS"));
    let word = |word: &str| {
        let generated = word.contains("web-") && word.len() > 8;
        let temporary = word.starts_with("/tmp/") || is_date(word);
        let clock = word.len() > 7
            && word
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'));
        if generated || temporary || clock {
            "…".to_owned()
        } else {
            word.to_owned()
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    // `wait --for=delete` may find nothing left to wait for, on either side.
    text.lines()
        .map(line)
        .filter(|line| !line.starts_with("pod/") && !line.contains("no matching resources"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// `"resourceVersion":"284"` → `"resourceVersion":"…"`, as often as it occurs.
fn without_revisions(text: &str) -> String {
    const FIELD: &str = "\"resourceVersion\":\"";
    let mut parts = text.split(FIELD);
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push_str(FIELD);
        whole.push('…');
        whole.push_str(part.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    }
    whole
}

/// It begins as an RFC 3339 date does: `2026-11-21T…`.
fn is_date(word: &str) -> bool {
    let digits = |range: std::ops::Range<usize>| {
        word.get(range)
            .is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    digits(0..4) && word.get(4..5) == Some("-") && digits(5..7)
}

#[test]
fn only_what_may_differ_is_left_out() {
    assert_eq!(
        comparable(r#"{"metadata":{"resourceVersion":"284"},"items":[1]}"#, "x"),
        r#"{"metadata":{"resourceVersion":"…"},"items":[1]}"#
    );
    assert_ne!(
        comparable("configmap/one created", "x"),
        comparable("configmap/two created", "x")
    );
    assert_eq!(comparable("at 2031-01-05T10:00:00Z", "x"), "at …");
}

fn run(kubectl: &Kubectl, command: &str, input: &str, namespace: &str) -> anyhow::Result<(i32, String, String)> {
    let command = command.replace("{ns}", namespace);
    let arguments: Vec<&str> = command.split(' ').collect();
    let output = kubectl.run_with_input(&arguments, input)?;
    Ok((
        output.code,
        comparable(&output.stdout, namespace),
        comparable(&output.stderr, namespace),
    ))
}

#[test]
fn kubectl_says_the_same_through_the_gate_and_every_call_joins_one_record() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::whole())?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    for name in ["first-hand", "second-hand"] {
        admin.apply(&namespace(name))?;
    }
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.sign_in("alice")?;
    let through = gateway.kubectl("alice", &alice.token)?;
    let direct = cluster.as_person("alice@example.com", &["dev"])?;

    let commands = commands();
    assert!(commands.len() >= 60, "{} commands", commands.len());
    let mut differences = Vec::new();
    for (command, input) in &commands {
        let expected = run(&direct, command, input, "first-hand")?;
        let found = run(&through, command, input, "second-hand")?;
        if expected != found {
            differences.push(format!(
                "kubectl {command}\n  direct:  {expected:?}\n  through: {found:?}"
            ));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        commands.len(),
        differences.join("\n")
    );
    joins(&cluster, &gateway)
}

/// Both ways: each event of the impersonator has its record, each record that was sent has its event.
fn joins(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<()> {
    let ends = |records: &[Value], kind: &str| records.iter().filter(|record| record["kind"] == kind).count();
    let settled = |records: &[Value]| ends(records, "intent") == ends(records, "outcome");
    let records = gateway.records_with("every intent has its outcome", settled)?;
    let mut people: BTreeMap<&str, &str> = BTreeMap::new();
    for record in &records {
        if let (Some("intent" | "access" | "open"), Some(id)) = (record["kind"].as_str(), record["id"].as_str()) {
            assert!(
                people
                    .insert(id, record["by"]["user"].as_str().unwrap_or_default())
                    .is_none(),
                "two openings for {id}"
            );
        }
    }
    let mut arrived = BTreeSet::new();
    for event in cluster.audit_events()? {
        if event.user.username != "system:serviceaccount:gatescribe:impersonator" {
            continue;
        }
        let human = people.get(event.audit_id.as_str());
        assert_eq!(
            human.copied(),
            Some(event.person()),
            "{} {}",
            event.verb,
            event.request_uri
        );
        arrived.insert(event.audit_id);
    }
    assert!(arrived.len() > 100, "only {} calls arrived", arrived.len());
    for record in records.iter().filter(|record| record["outcome"]["end"] == "answered") {
        let id = record["id"].as_str().unwrap_or_default();
        assert!(
            arrived.contains(id),
            "recorded as answered, and the server has never seen it: {record}"
        );
    }
    Ok(())
}

#[test]
fn a_call_that_goes_around_the_gate_with_a_known_id_is_not_taken_for_ours() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::default())?;
    cluster.admin()?.apply(&namespace("second-hand"))?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let alice = gateway.sign_in("alice")?;
    gateway
        .kubectl("alice", &alice.token)?
        .ok(&["create", "configmap", "mine", "-n", "second-hand"])?;
    let ended = |records: &[Value]| records.iter().any(|record| record["kind"] == "outcome");
    let records = gateway.records_with("the create has its outcome", ended)?;
    let id = records
        .iter()
        .find(|record| record["kind"] == "intent")
        .and_then(|record| record["id"].as_str())
        .expect("an intent")
        .to_owned();

    let target = "/api/v1/namespaces/second-hand/configmaps";
    cluster.client().get(target, &[("Audit-ID", &id)])?;
    cluster.audit_event("the replay in the server's log", |event| {
        event.audit_id == id && event.request_uri == target && event.verb == "list"
    })?;
    let ours: Vec<_> = cluster
        .audit_events()?
        .into_iter()
        .filter(|event| event.audit_id == id)
        .collect();
    let through = ours
        .iter()
        .filter(|event| event.user.username == "system:serviceaccount:gatescribe:impersonator");
    assert_eq!(
        through.count(),
        1,
        "the replay is another account's: it joins nothing of ours"
    );
    let found: Vec<&Value> = records.iter().filter(|record| record["id"] == id.as_str()).collect();
    assert_eq!(found.len(), 2, "intent and outcome: {found:?}");
    Ok(())
}
