//! kubectl through the gate and kubectl direct: same output, same exit code, for a table of commands; and every call that
//! reached the API server in the gateway's name joins exactly one of our records by `Audit-ID`, with the right human.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::request::{RequestFacts, Target, Wire};
use serde_json::Value;
use tests::cluster::audit::Event;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::Kubectl;
use tests::wait::{PATIENCE, try_until, wait_until};

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
const HELD: &str =
    r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"held","finalizers":["example.com/held"]}}"#;
const EVENT: &str = r#"{"apiVersion":"v1","kind":"Event","metadata":{"name":"told"},"type":"Normal","reason":"Told","message":"it was told","involvedObject":{"apiVersion":"v1","kind":"ConfigMap","name":"one","namespace":"{ns}"},"source":{"component":"story"},"firstTimestamp":"2031-01-05T10:00:00Z","lastTimestamp":"2031-01-05T10:00:00Z","count":1}"#;

/// What kubectl builds by itself before it sends anything; `KUSTOMIZE` in a command is its folder.
const KUSTOMIZATION: [(&str, &str); 2] = [
    (
        "kustomization.yaml",
        "resources: [map.yaml]\nnamePrefix: my-\nlabels: [{ pairs: { team: green } }]\nconfigMapGenerator: [{ name: made, literals: [a=1] }]\n",
    ),
    (
        "map.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: from-kustomize}, data: {k: v}}\n",
    ),
];

/// A command, what it reads, and how it must end, on both sides: two sides that fail alike by accident do not agree.
/// `{ns}` is the side's namespace.
type Row = (&'static str, &'static str, i32);

/// Questions about the API and about one's rights.
const ABOUT_THE_API: &[Row] = &[
    ("version -o yaml --client=false", "", 0),
    ("api-versions", "", 0),
    ("api-resources -o name", "", 0),
    ("api-resources --api-group=apps --no-headers", "", 0),
    ("api-resources --namespaced=false --verbs=list,get -o name", "", 0),
    ("explain configmap", "", 0),
    ("explain deployment.spec.replicas", "", 0),
    ("explain pod.spec.containers --recursive", "", 0),
    ("explain widget", "", 0),
    ("explain nothing", "", 1),
    ("auth can-i create configmaps -n {ns}", "", 0),
    ("auth can-i delete nodes", "", 1),
    ("auth can-i --list -n {ns} --no-headers", "", 0),
    ("auth whoami -o jsonpath={.status.userInfo.username}", "", 0),
    ("get namespaces --field-selector=metadata.name={ns} -o name", "", 0),
    ("get namespace {ns} -o jsonpath={.metadata.name}", "", 0),
    ("get nodes -o name", "", 0),
    ("describe namespace {ns}", "", 0),
    ("get crd widgets.example.com -o jsonpath={.spec.group}", "", 0),
    ("get --raw /version", "", 0),
    ("get --raw /apis/apps/v1", "", 0),
    (
        "get --raw /api/v1/namespaces/{ns}/configmaps?limit=1&fieldSelector=metadata.name%3Dnone",
        "",
        0,
    ),
    ("get --raw /api/v1/namespaces/{ns}/nothing", "", 1),
    ("get nothing -n {ns}", "", 1),
    ("get configmaps -n {ns} --field-selector=data.a=1", "", 1),
];

/// Objects, one at a time.
const OBJECTS: &[Row] = &[
    ("create configmap one -n {ns} --from-literal=a=1", "", 0),
    ("create configmap two -n {ns} --from-literal=a=2", "", 0),
    ("create configmap one -n {ns} --from-literal=a=1", "", 1),
    ("get configmap one -n {ns} -o jsonpath={.data}", "", 0),
    ("get configmap one -n {ns} -o go-template={{.metadata.name}}", "", 0),
    ("get configmaps -n {ns} -o name", "", 0),
    (
        "get configmaps -n {ns} --no-headers --sort-by=.metadata.name -o custom-columns=N:.metadata.name",
        "",
        0,
    ),
    ("get configmaps -n {ns} -o name --chunk-size=1", "", 0),
    (
        "get configmaps -n {ns} --field-selector=metadata.name=two -o name",
        "",
        0,
    ),
    ("get configmap none -n {ns}", "", 1),
    ("get configmap none -n {ns} --ignore-not-found", "", 0),
    (
        "get configmap one two -n {ns} -o custom-columns=N:.metadata.name,A:.data.a",
        "",
        0,
    ),
    ("describe configmap one -n {ns}", "", 0),
    ("label configmap one -n {ns} team=blue", "", 0),
    ("label configmap one -n {ns} team=red", "", 1),
    ("label configmap one -n {ns} team=red --overwrite", "", 0),
    ("get configmaps -n {ns} -l team=red -o name", "", 0),
    ("get configmaps -n {ns} -l team!=red,team -o name", "", 0),
    ("get configmaps -n {ns} -l team@@red", "", 1),
    ("annotate configmap one -n {ns} note=x", "", 0),
    (
        "patch configmap one -n {ns} --type=merge -p {\"data\":{\"a\":\"9\"}}",
        "",
        0,
    ),
    (
        "patch configmap one -n {ns} --type=json -p [{\"op\":\"replace\",\"path\":\"/data/a\",\"value\":\"8\"}]",
        "",
        0,
    ),
    (
        "patch configmap one -n {ns} --type=json -p [{\"op\":\"test\",\"path\":\"/data/a\",\"value\":\"never\"}]",
        "",
        1,
    ),
    ("patch configmap one -n {ns} -p {\"data\":{\"b\":\"7\"}}", "", 0),
    ("get configmap one -n {ns} -o jsonpath={.data.a}{.data.b}", "", 0),
    (
        "wait --for=jsonpath={.data.a}=8 configmap/one -n {ns} --timeout=170s",
        "",
        0,
    ),
    ("create secret generic hidden -n {ns} --from-literal=p=q", "", 0),
    ("get secret hidden -n {ns} -o jsonpath={.data.p}", "", 0),
    ("describe secret hidden -n {ns}", "", 0),
    ("create serviceaccount robot -n {ns}", "", 0),
    ("create token robot -n {ns} --duration=10m", "", 0),
    (
        "create token robot -n {ns} --bound-object-kind=Secret --bound-object-name=hidden",
        "",
        0,
    ),
    ("create token nobody -n {ns}", "", 1),
    (
        "create service clusterip svc -n {ns} --tcp=80:80 --dry-run=server -o name",
        "",
        0,
    ),
    ("run dry -n {ns} --image=local --dry-run=server -o name", "", 0),
    // Behind the pod: none is taken before a controller has counted those that there are.
    ("create quota q -n {ns} --hard=pods=9", "", 0),
    ("create configmap dry -n {ns} --dry-run=server -o name", "", 0),
    ("get configmap dry -n {ns}", "", 1),
    ("create -n {ns} -f -", EVENT, 0),
    ("events -n {ns} --for configmap/one --no-headers", "", 0),
    ("events -n {ns} --types=Warning --for configmap/one", "", 0),
    ("get events -n {ns} --field-selector=reason=Told -o name", "", 0),
];

/// Watches that the server ends; those that a person ends are in [`watches`].
const WATCHES: &[Row] = &[(
    "get --raw /api/v1/namespaces/{ns}/configmaps?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Dnone",
    "",
    0,
)];

/// What is told as a whole and compared with what there is.
const DECLARED: &[Row] = &[
    ("apply -n {ns} -f -", CONFIG, 0),
    ("apply -n {ns} -f -", CONFIG, 0),
    ("diff -n {ns} -f -", CONFIG, 0),
    ("diff -n {ns} -f -", CHANGED, 1),
    ("apply --server-side -n {ns} -f -", CHANGED, 0),
    ("apply --server-side --field-manager=other -n {ns} -f -", CONFIG, 1),
    (
        "apply --server-side --field-manager=other --force-conflicts -n {ns} -f -",
        CONFIG,
        0,
    ),
    ("get configmap applied -n {ns} -o jsonpath={.data.k}", "", 0),
    (
        "get configmap applied -n {ns} --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}",
        "",
        0,
    ),
    ("replace -n {ns} -f -", CONFIG, 0),
    ("kustomize KUSTOMIZE", "", 0),
    ("apply -n {ns} -k KUSTOMIZE --dry-run=server", "", 0),
    ("apply -n {ns} -k KUSTOMIZE", "", 0),
    ("apply -n {ns} -k KUSTOMIZE", "", 0),
    ("diff -n {ns} -k KUSTOMIZE", "", 0),
    (
        "get configmap my-from-kustomize -n {ns} -o jsonpath={.data.k}{.metadata.labels.team}",
        "",
        0,
    ),
    ("delete -n {ns} -k KUSTOMIZE", "", 0),
    ("get configmaps -n {ns} -l team=green -o name", "", 0),
    ("create -n {ns} -f -", HELD, 0),
    ("delete configmap held -n {ns} --wait=false", "", 0),
    ("get configmap held -n {ns} -o jsonpath={.metadata.finalizers}", "", 0),
    ("delete configmap held -n {ns} --timeout=1s", "", 1),
    (
        "patch configmap held -n {ns} --type=merge -p {\"metadata\":{\"finalizers\":null}}",
        "",
        0,
    ),
    ("wait --for=delete configmap/held -n {ns} --timeout=170s", "", 0),
    ("get configmap held -n {ns}", "", 1),
    ("apply -n {ns} -f -", WIDGET, 0),
    ("get widgets -n {ns} -o name", "", 0),
    ("get widget one -n {ns} -o jsonpath={.spec.size}", "", 0),
    (
        "patch widget one -n {ns} --type=merge -p {\"spec\":{\"size\":4}}",
        "",
        0,
    ),
    ("patch widget one -n {ns} -p {\"spec\":{\"size\":5}}", "", 1),
];

/// What runs.
const RUNNING: &[Row] = &[
    ("apply -n {ns} -f -", DEPLOYMENT, 0),
    ("rollout status deployment/web -n {ns} --timeout=170s", "", 0),
    (
        "wait --for=condition=available deployment/web -n {ns} --timeout=170s",
        "",
        0,
    ),
    ("logs deployment/web -n {ns} --tail=1", "", 0),
    ("get deployment web -n {ns} -o jsonpath={.status.readyReplicas}", "", 0),
    (
        "get deployment web -n {ns} --subresource=status -o jsonpath={.status.replicas}",
        "",
        0,
    ),
    ("set env deployment/web -n {ns} A=B --dry-run=server -o name", "", 0),
    ("rollout history deployment/web -n {ns}", "", 0),
    ("rollout undo deployment/web -n {ns}", "", 1),
    ("rollout pause deployment/web -n {ns}", "", 0),
    ("rollout resume deployment/web -n {ns}", "", 0),
    ("scale deployment web -n {ns} --replicas=7 --current-replicas=3", "", 1),
    ("scale deployment web -n {ns} --replicas=0", "", 0),
    ("wait --for=delete pod -l app=web -n {ns} --timeout=170s", "", 0),
    ("delete deployment web -n {ns}", "", 0),
    ("delete widget one -n {ns}", "", 0),
    ("delete configmap one two -n {ns}", "", 0),
    ("delete configmap one -n {ns}", "", 1),
    ("delete configmaps -n {ns} -l a=b", "", 0),
    ("delete secrets -n {ns} --all", "", 0),
];

fn commands() -> Vec<Row> {
    [ABOUT_THE_API, OBJECTS, WATCHES, DECLARED, RUNNING].concat()
}

/// What may differ between two honest runs: names of namespaces, generated names, times, and the store's revision, which
/// moves with each lease that a component of the cluster renews in between.
fn comparable(text: &str, namespace: &str) -> String {
    let text = without_revisions(&text.replace(namespace, "NS"));
    let word = |word: &str| {
        let generated = word.contains("web-") && word.len() > 8;
        if let Some(account) = account_of(word) {
            return account.replace(namespace, "NS");
        }
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
    // `wait --for=delete` may find nothing left to wait for, on either side, and `rollout status` more or less of its way done.
    let is_progress = |line: &str| line.starts_with("pod/") || line.starts_with("Waiting for deployment");
    text.lines()
        .map(line)
        .filter(|line| !is_progress(line) && !line.contains("no matching resources"))
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

/// Whose a ServiceAccount token is; nothing else of two tokens is equal.
fn account_of(word: &str) -> Option<String> {
    let claims = word.starts_with("eyJ").then(|| word.split('.').nth(1)).flatten()?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    Some(format!("a token for {}", claims["sub"].as_str()?))
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

/// One of the two ways to the cluster, with a namespace of its own.
struct Side {
    kubectl: Kubectl,
    namespace: &'static str,
}

impl Side {
    fn run(&self, command: &str, input: &str) -> anyhow::Result<(i32, String, String)> {
        let command = command.replace("{ns}", self.namespace);
        let arguments: Vec<&str> = command.split(' ').collect();
        let output = self
            .kubectl
            .run_with_input(&arguments, &input.replace("{ns}", self.namespace))?;
        Ok((
            output.code,
            comparable(&output.stdout, self.namespace),
            comparable(&output.stderr, self.namespace),
        ))
    }
}

#[test]
fn kubectl_says_the_same_through_the_gate_and_every_call_joins_one_record() -> anyhow::Result<()> {
    let cluster = Cluster::start(ClusterOptions::whole())?;
    let admin = cluster.admin()?;
    admin.apply(WORLD)?;
    for name in ["first-hand", "second-hand"] {
        admin.apply(&namespace(name))?;
    }
    is_complete(&admin)?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let mut alice = gateway.sign_in("alice")?;
    let direct = Side {
        kubectl: cluster.as_person("alice@example.com", &["dev"])?,
        namespace: "first-hand",
    };
    let through = Side {
        kubectl: gateway.kubectl("alice", &alice.token)?,
        namespace: "second-hand",
    };
    let kustomize = gateway.file("kustomize");
    std::fs::create_dir(&kustomize)?;
    for (name, text) in KUSTOMIZATION {
        std::fs::write(kustomize.join(name), text)?;
    }

    let commands = commands();
    assert!(commands.len() >= 100, "{} commands", commands.len());
    let mut differences = Vec::new();
    for (number, (command, input, code)) in commands.iter().enumerate() {
        // A token ends after ten minutes, and on a slow machine all of them take longer.
        if number % 20 == 19 {
            alice = gateway.renew(&alice.handle, "bench")?;
            gateway.kubectl("alice", &alice.token)?;
        }
        let command = command.replace("KUSTOMIZE", &kustomize.display().to_string());
        let expected = direct.run(&command, input)?;
        let found = through.run(&command, input)?;
        if expected != found || expected.0 != *code {
            differences.push(format!(
                "kubectl {command}\n  must end with {code}\n  direct:  {expected:?}\n  through: {found:?}"
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
    watches(&cluster, &direct, &through)?;
    joins(&cluster, &gateway)?;
    every_target_is_read_as_the_server_reads_it(&cluster)
}

/// Waits for what the server's controllers make of the world: both sides are to find the same, whenever they come.
fn is_complete(admin: &Kubectl) -> anyhow::Result<()> {
    try_until("the new kind and the namespaces are complete", PATIENCE, || {
        admin.ok(&["explain", "widget"])?;
        for name in ["first-hand", "second-hand"] {
            admin.ok(&[
                "get",
                "configmap/kube-root-ca.crt",
                "serviceaccount/default",
                "-n",
                name,
            ])?;
        }
        Ok(())
    })
}

/// What clients sent to the API server without us, as its own log has it: our reader accepts each target, and sees in it the
/// verb and the object that the server saw.
fn every_target_is_read_as_the_server_reads_it(cluster: &Cluster) -> anyhow::Result<()> {
    let ours = [IMPERSONATOR, OBSERVER];
    let events = cluster.audit_events()?;
    let direct = events
        .iter()
        .filter(|event| !ours.contains(&event.user.username.as_str()));
    let (mut targets, mut refused, mut differ) = (0_usize, Vec::new(), Vec::new());
    for event in direct {
        targets += 1;
        match read_as(event) {
            Err(why) => refused.push(format!("{}: {why}", event.request_uri)),
            Ok(None) => {}
            Ok(Some(difference)) => differ.push(format!("{}: {difference}", event.request_uri)),
        }
    }
    println!("refused_valid={} targets={targets}", refused.len());
    ensure!(targets > 400, "only {targets} targets");
    ensure!(refused.is_empty(), "refused though valid: {refused:#?}");
    ensure!(differ.is_empty(), "read otherwise: {differ:#?}");
    Ok(())
}

/// Where our reading differs from the event.
fn read_as(event: &Event) -> Result<Option<String>, String> {
    let target = Target::parse(event.request_uri.as_bytes()).map_err(|error| error.to_string())?;
    let wire = Wire {
        method: method_of(&event.verb),
        wants_upgrade: false,
        impersonates: false,
    };
    let facts = RequestFacts::classify(&target, wire).map_err(|error| error.to_string())?;
    if facts.is_resource_request() != event.object_ref.is_some() {
        return Ok(Some("one of us says that it is no object".to_owned()));
    }
    let Some(object) = &event.object_ref else {
        let same = facts.verb().as_str() == event.verb;
        return Ok((!same).then(|| {
            format!(
                "verb: we say `{}`, the API server says `{}`",
                facts.verb().as_str(),
                event.verb
            )
        }));
    };
    // The log has a name that a body gave; ours is that of the target alone.
    let named = |name: &str| event.verb != "create" || !name.is_empty();
    let rows = [
        ("verb", facts.verb().as_str(), event.verb.as_str()),
        ("group", facts.api_group(), &object.api_group),
        ("resource", facts.resource(), &object.resource),
        ("subresource", facts.subresource(), &object.subresource),
        ("namespace", facts.namespace(), &object.namespace),
        ("name", facts.name(), &object.name),
    ];
    let differs = |(what, ours, theirs): &(&str, &str, &str)| ours != theirs && (*what != "name" || named(ours));
    let found = rows.into_iter().find(|row| differs(row));
    Ok(found.map(|(what, ours, theirs)| format!("{what}: we say `{ours}`, the API server says `{theirs}`")))
}

/// The log has the verb alone; each comes of one method.
fn method_of(verb: &str) -> &str {
    match verb {
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" | "deletecollection" => "DELETE",
        "head" => "HEAD",
        _ => "GET",
    }
}

/// A watch that shows nothing of what there is, told of a change, and ended by the person.
fn watches(cluster: &Cluster, direct: &Side, through: &Side) -> anyhow::Result<()> {
    let mut told = Vec::new();
    for side in [direct, through] {
        let watch = "get configmaps -l seen=yes --watch-only -o name -n";
        let watch: Vec<&str> = watch.split(' ').chain([side.namespace]).collect();
        side.run("create configmap old -n {ns}", "")?;
        side.run("label configmap old -n {ns} seen=yes", "")?;
        let mut running = side.kubectl.start(&watch)?;
        let path = format!("/api/v1/namespaces/{}/configmaps?", side.namespace);
        cluster.audit_event("the watch has begun", |event| {
            event.verb == "watch" && event.request_uri.starts_with(&path) && event.request_uri.contains("seen%3Dyes")
        })?;
        side.run("create configmap new -n {ns}", "")?;
        side.run("label configmap new -n {ns} seen=yes", "")?;
        side.run("delete configmap new -n {ns}", "")?;
        // It came into the selection, and it went.
        let both = || (running.lines().len() >= 2).then_some(());
        wait_until("both changes are told", PATIENCE, both).with_context(|| format!("{:?}", running.lines()))?;
        running.signal(nix::sys::signal::Signal::SIGINT)?;
        told.push((running.end()?, running.lines()));
    }
    let [first, second] = told.as_slice() else {
        unreachable!("two sides");
    };
    assert_eq!(first, second);
    assert_eq!(
        first.1,
        ["configmap/new", "configmap/new"],
        "what was there before is not shown"
    );
    Ok(())
}

/// Who called the API server, by its own log.
const IMPERSONATOR: &str = "system:serviceaccount:gatescribe:impersonator";
const OBSERVER: &str = "system:serviceaccount:gatescribe:observer";

/// Both ways: each event of the impersonator has its one record with the right human, and each record that was answered has
/// as many events as it says that it was sent. Calls of the observer, and those around the gate, have none.
fn joins(cluster: &Cluster, gateway: &Gateway) -> anyhow::Result<()> {
    let calls = Calls::of(&gateway.records_with("every call has its end", |records| {
        Calls::of(records).is_ok_and(|calls| calls.0.values().all(|call| call.end.is_some()))
    })?)?;
    let arrived = try_until("each answered call is in the server's log", PATIENCE, || {
        let arrived = arrived(cluster, &calls)?;
        for (id, call) in calls.0.iter().filter(|(_, call)| call.was_answered()) {
            let times = arrived.get(id).copied().unwrap_or(0);
            ensure!(
                times == call.sent(),
                "recorded as sent {} times, arrived {times} times: {call:?}",
                call.sent()
            );
        }
        Ok(arrived)
    })?;
    assert!(arrived.len() > 200, "only {} calls arrived", arrived.len());

    let events = cluster.audit_events()?;
    let of = |user: &'static str| events.iter().filter(move |event| event.user.username == user);
    for event in of(OBSERVER).chain(of("alice@example.com")) {
        assert!(!calls.0.contains_key(&event.audit_id), "not a call of ours: {event:?}");
    }
    assert!(of(OBSERVER).count() > 0 && of("alice@example.com").count() > 200);
    Ok(())
}

/// How often each call of the impersonator has arrived, by its `Audit-ID`.
fn arrived(cluster: &Cluster, calls: &Calls) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut arrived: BTreeMap<String, u64> = BTreeMap::new();
    for event in cluster.audit_events()? {
        if event.user.username != IMPERSONATOR {
            continue;
        }
        let call = calls.0.get(&event.audit_id);
        let said = call.map(|call| (call.human(), call.opening["req"]["verb"].as_str().unwrap_or_default()));
        assert_eq!(said, Some((event.person(), event.verb.as_str())), "{event:?}");
        // A watch is told twice, when it begins and when it ends.
        if event.stage == "ResponseComplete" {
            *arrived.entry(event.audit_id).or_default() += 1;
        }
    }
    Ok(arrived)
}

/// The records of forwarded calls, folded by id.
#[derive(Debug)]
struct Calls(BTreeMap<String, Call>);

#[derive(Debug)]
struct Call {
    opening: Value,
    end: Option<Value>,
}

impl Calls {
    fn of(records: &[Value]) -> anyhow::Result<Self> {
        let mut calls: BTreeMap<String, Call> = BTreeMap::new();
        for record in records {
            let id = record["id"].as_str().unwrap_or_default().to_owned();
            let record = record.clone();
            match record["kind"].as_str() {
                Some("intent" | "access" | "open") => {
                    let call = Call {
                        opening: record,
                        end: None,
                    };
                    ensure!(calls.insert(id.clone(), call).is_none(), "two openings for {id}");
                }
                Some("outcome" | "close") => {
                    let call = calls
                        .get_mut(&id)
                        .with_context(|| format!("an end without a beginning: {record}"))?;
                    ensure!(call.end.replace(record).is_none(), "two ends for {id}");
                }
                _ => {}
            }
        }
        Ok(Self(calls))
    }
}

impl Call {
    fn human(&self) -> &str {
        self.opening["by"]["user"].as_str().unwrap_or_default()
    }

    fn was_answered(&self) -> bool {
        self.end.as_ref().is_some_and(|end| end["outcome"]["end"] == "answered")
    }

    /// How often it was sent, as its record says: `attempts` stands there when it was more than once.
    fn sent(&self) -> u64 {
        let end = self.end.as_ref();
        end.and_then(|end| end["upstream"]["attempts"].as_u64()).unwrap_or(1)
    }
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
