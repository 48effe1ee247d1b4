//! What rules demand of sessions, from the rule to what kubectl prints: an idle limit, a longest duration, a reason; and what
//! enters without becoming a session where all has to be recorded.

use std::process::Command;
use std::sync::OnceLock;

use anyhow::Context as _;
use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, Running, run};
use tests::person::Person;
use tests::wait::PATIENCE;

/// Namespaces of their own, so that each demand is met alone.
const NAMESPACES: [&str; 4] = ["quiet", "brief", "reasoned", "proxied"];

const PEOPLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: dev-does-all }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// Two rules about the same sessions where the shortest counts, in both orders of their names.
const RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: a-quiet-ends-late }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [quiet] }
  obligations: { idle: 1h, longest: 2h }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: b-quiet-ends-soon }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [quiet] }
  obligations: { idle: 3s }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: a-brief-ends-soon }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [brief] }
  obligations: { longest: 3s }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: b-brief-ends-late }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [brief] }
  obligations: { longest: 1h }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: reasoned-and-recorded }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [reasoned] }
  obligations: { reason: true, record: true }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: proxied-is-recorded }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [proxied] }
  obligations: { record: true }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: nodes-are-recorded }
spec:
  effect: allow
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], resources: [nodes/proxy] }
  obligations: { record: true }
"#;

const WAYS: [(&str, &str); 2] = [("websocket", "true"), ("spdy", "false")];

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD_OF_ALL: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let begin = || {
        let cluster = Cluster::start(ClusterOptions {
            node: true,
            ..ClusterOptions::default()
        })?;
        let admin = cluster.admin()?;
        admin.apply(PEOPLE)?;
        for namespace in NAMESPACES {
            admin.apply(&format!(
                "{{apiVersion: v1, kind: Namespace, metadata: {{ name: {namespace} }}}}"
            ))?;
            admin.apply(&format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{ name: shell, namespace: {namespace} }}, spec: {{ nodeName: node-1, \
                 terminationGracePeriodSeconds: 1, containers: [{{ name: shell, image: none }}] }}}}"
            ))?;
        }
        for namespace in NAMESPACES {
            let wait = [
                "wait",
                "--for=condition=Ready",
                "pod/shell",
                "-n",
                namespace,
                "--timeout=50s",
            ];
            admin.ok(&wait)?;
        }
        anyhow::Ok(cluster)
    };
    WORLD_OF_ALL
        .get_or_init(|| begin().map_err(|error| format!("{error:#}")))
        .as_ref()
        .map_err(|error| anyhow::anyhow!("{error}"))
}

fn gateway() -> anyhow::Result<Gateway> {
    let options = Options {
        rules: Some(RULES.to_owned()),
        ..Options::default()
    };
    Gateway::start(world()?, &options)
}

fn signed_in<'g>(gateway: &'g Gateway, name: &'static str) -> anyhow::Result<Person<'g>> {
    let person = Person::new(gateway, name)?;
    person.signs_in(&format!("gatescribe login {}", gateway.url))?;
    Ok(person)
}

/// `kubectl exec` of a shell line in a namespace's pod.
fn exec(person: &Person<'_>, websockets: &str, namespace: &str, line: &str) -> anyhow::Result<Command> {
    let mut command = person.command(&format!("kubectl exec shell -n {namespace} -- sh -c"))?;
    command.arg(line).env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
    Ok(command)
}

/// The sessions in a namespace that the gateway ended, once there are so many.
fn ended(gateway: &Gateway, namespace: &str, count: usize) -> anyhow::Result<Vec<Value>> {
    let is_open = |record: &&Value| record["kind"] == "open" && record["req"]["namespace"] == namespace;
    let of = |records: &[Value]| -> Vec<Value> {
        let opened: Vec<&Value> = records.iter().filter(is_open).map(|open| &open["id"]).collect();
        let closed = records.iter().filter(|record| record["kind"] == "close");
        let closed = closed.filter(|close| opened.contains(&&close["id"]) && close["outcome"]["end"] == "ended");
        closed.cloned().collect()
    };
    let records = gateway.records_with("their ends", |records| of(records).len() == count)?;
    Ok(of(&records))
}

#[test]
fn a_rule_ends_a_session_in_which_nothing_passes_and_kubectl_says_why() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = signed_in(&gateway, "alice")?;
    let words = "ended by the gateway: nothing has passed for 3 s, its limit";
    for (way, websockets) in WAYS {
        let mut running = Running::start(exec(&alice, websockets, "quiet", "echo begun; exec sleep 1000")?)?;
        running.line("it runs", |line| line == "begun")?;
        running.line("it is told why", |line| line.contains(words))?;
        assert_ne!(running.end()?, 0, "{way}: {:?}", running.lines());
    }
    for close in ended(&gateway, "quiet", 2)? {
        assert_eq!(close["outcome"]["why"], words, "{close}");
        assert_eq!(close["outcome"]["status"], 101, "{close}");
    }
    Ok(())
}

#[test]
fn a_rule_ends_a_session_that_has_lasted_long_enough_and_kubectl_says_why() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = signed_in(&gateway, "alice")?;
    let words = "ended by the gateway: it has lasted 3 s, its limit";
    for (way, websockets) in WAYS {
        let line = "while :; do echo tick; sleep 0.2; done";
        let mut running = Running::start(exec(&alice, websockets, "brief", line)?)?;
        running.line("it runs", |line| line == "tick")?;
        running.line("it is told why", |line| line.contains(words))?;
        assert_ne!(running.end()?, 0, "{way}: {:?}", running.lines());
    }
    for close in ended(&gateway, "brief", 2)? {
        assert_eq!(close["outcome"]["why"], words, "{close}");
    }
    Ok(())
}

const FOR_ONE: &str = "TICKET-4711: the disk is full";
const FOR_A_WHILE: &str = "TICKET-4712: still full";

#[test]
fn a_demanded_reason_is_given_for_one_session_or_for_a_while_and_stands_where_it_was_for() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let (alice, carol) = (signed_in(&gateway, "alice")?, signed_in(&gateway, "carol")?);
    let refused = |when: &str| -> anyhow::Result<()> {
        for (way, websockets) in WAYS {
            let said = run(exec(&alice, websockets, "reasoned", "true")?, "", PATIENCE)?;
            assert_eq!(said.code, 1, "{when}, {way}: {said}");
            assert!(
                said.stderr.contains("this needs a stated reason"),
                "{when}, {way}: {said}"
            );
            assert_eq!(
                Person::next(&said)?,
                "gatescribe reason 'TEXT' --for 15m",
                "{when}, {way}"
            );
        }
        Ok(())
    };
    refused("at first")?;

    for (round, (way, websockets)) in WAYS.into_iter().enumerate() {
        let mut command = alice.command("gatescribe exec --reason")?;
        let line = format!("echo inside; exit {}", 3 + round);
        command.args([FOR_ONE, "shell", "-n", "reasoned", "--", "sh", "-c", &line]);
        command.env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", websockets);
        let said = run(command, "", PATIENCE)?;
        assert_eq!(
            (said.stdout.as_str(), said.code),
            ("inside\n", i32::try_from(3 + round)?),
            "{way}: {said}"
        );
        has_reason(&gateway, &carol, 3 + round, FOR_ONE)?;
    }
    refused("it was for that one session")?;

    let mut state = alice.command("gatescribe reason")?;
    state.args([FOR_A_WHILE, "--for", "15m"]);
    let stated = run(state, "", PATIENCE)?;
    assert!(stated.code == 0 && stated.stderr.contains("stated until "), "{stated}");
    for (round, (way, websockets)) in WAYS.into_iter().enumerate() {
        let line = format!("exit {}", 5 + round);
        let said = run(exec(&alice, websockets, "reasoned", &line)?, "", PATIENCE)?;
        assert_eq!(said.code, i32::try_from(5 + round)?, "{way}: {said}");
        has_reason(&gateway, &carol, 5 + round, FOR_A_WHILE)?;
    }
    alice.ok("gatescribe reason --clear")?;
    refused("it was taken back")
}

/// The reason stands on the record of the session that ended with this code, in its recording's head, and where both are shown.
fn has_reason(gateway: &Gateway, carol: &Person<'_>, code: usize, reason: &str) -> anyhow::Result<()> {
    let ended = |record: &&Value| record["kind"] == "close" && record["outcome"]["exit_code"] == code;
    let records = gateway.records_with("its end", |records| records.iter().any(|record| ended(&record)))?;
    let close = records.iter().find(ended).context("waited for")?;
    let open = records
        .iter()
        .find(|record| record["kind"] == "open" && record["id"] == close["id"])
        .context("its open")?;
    assert_eq!(open["decision"]["stated_reason"], reason, "{open}");
    assert!(
        open.get("as").is_none(),
        "acting as oneself is no impersonation: {open}"
    );
    let id = close["id"].as_str().context("an id")?;
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?;
    let told: Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(told["recording"]["head"]["reason"], reason, "{shown}");
    let shown = carol.ok(&format!("gatescribe session show {id}"))?;
    assert!(shown.stdout.contains(reason), "{shown}");
    Ok(())
}

/// What passes in no session is in no recording: a plain request to whatever listens behind a `proxy` subresource is refused
/// where all that enters has to be recorded, and goes its way elsewhere.
#[test]
fn a_plain_request_through_a_proxy_is_refused_where_all_has_to_be_recorded() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = gateway()?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    let targets = [
        "/api/v1/namespaces/proxied/pods/shell:1/proxy/path",
        "/api/v1/namespaces/proxied/services/none:80/proxy/path",
        "/api/v1/nodes/node-1/proxy/healthz",
    ];
    let words = "what enters here has to be recorded, and a plain request passes in no session that could be";
    for target in targets {
        let asked: [(&[&str], &str); 2] = [
            (&["get", "--raw", target], ""),
            (&["create", "--raw", target, "-f", "-"], "{}"),
        ];
        for (line, input) in asked {
            let said: Output = alice.run_with_input(line, input)?;
            assert!(said.code == 1 && said.stderr.contains(words), "{line:?}: {said}");
        }
    }
    // Without the duty the same request goes on to the cluster, whatever that says of it.
    for elsewhere in [
        "/api/v1/namespaces/quiet/pods/shell:1/proxy/path",
        "/api/v1/namespaces/quiet/services/none:80/proxy/path",
    ] {
        let said = alice.run(&["get", "--raw", elsewhere])?;
        assert!(!said.stderr.contains(words), "{said}");
        cluster.audit_event("it reached the cluster", |event| event.request_uri == elsewhere)?;
    }
    // The log is written in order, so what had reached the cluster before would stand in it by now.
    for event in cluster.audit_events()? {
        assert!(
            !targets.contains(&event.request_uri.as_str()),
            "it reached the cluster: {} {}",
            event.verb,
            event.request_uri
        );
    }
    let refused = |records: &[Value]| {
        let of_it = |record: &&Value| {
            record["kind"] == "refusal" && record["req"]["action"] == "proxy" && record["outcome"]["status"] == 403
        };
        records.iter().filter(of_it).count()
    };
    gateway.records_with("their refusals", |records| refused(records) == 2 * targets.len())?;
    Ok(())
}
