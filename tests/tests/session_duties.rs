//! What rules demand of sessions, from the rule to what kubectl prints: an idle limit, a longest duration, a reason; and what
//! enters without becoming a session where all has to be recorded.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, Running, Way, run};
use tests::once::Once;
use tests::person::Person;
use tests::pods::{TICKS, namespace, runs, shell};
use tests::records::{Session, close_of, find};
use tests::rules::{entering, rule};
use tests::upgraded::{Switch, Upgraded};
use tests::wait::{PATIENCE, try_until};

/// Namespaces of their own, so that each demand is met alone.
const NAMESPACES: [&str; 4] = ["quiet", "brief", "reasoned", "proxied"];

const PEOPLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: dev-does-all }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// Name, place and duties. Of two rules about the same sessions the shortest limit counts, in both orders of their names. It is
/// long enough for a command to begin in it on a busy machine.
const RULES: [(&str, &str, &str); 5] = [
    ("a-quiet-ends-late", "namespaces: [quiet]", "idle: 1h, longest: 2h"),
    ("b-quiet-ends-soon", "namespaces: [quiet]", "idle: 10s"),
    ("a-brief-ends-soon", "namespaces: [brief]", "longest: 10s"),
    ("b-brief-ends-late", "namespaces: [brief]", "longest: 1h"),
    (
        "reasoned-and-recorded",
        "namespaces: [reasoned]",
        "reason: true, record: true",
    ),
];

/// Alone: through a node the demands of every namespace are owed.
const PROXIED: (&str, &str, &str) = ("proxied-is-recorded", "namespaces: [proxied]", "record: true");

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    let pods = NAMESPACES.map(|name| [namespace(name), shell(name, "shell")].concat());
    WORLD.get(|| Cluster::with_pods(&[PEOPLE, &pods.concat(), &runs("brief", "talks", TICKS)].concat()))
}

fn gateway() -> anyhow::Result<Gateway> {
    gateway_by(&RULES)
}

fn gateway_by(rules: &[(&str, &str, &str)]) -> anyhow::Result<Gateway> {
    let rules: Vec<String> = rules
        .iter()
        .map(|(name, place, duties)| entering(name, place, duties))
        .collect();
    Gateway::start(world()?, &Options::ruled(rules.concat()))
}

/// `kubectl exec` of a shell line in a namespace's pod.
fn exec(person: &Person<'_>, way: Way, namespace: &str, line: &str) -> anyhow::Result<Command> {
    person.kubectl(way, &["exec", "shell", "-n", namespace, "--", "sh", "-c", line])
}

/// The two sessions in a namespace, which the gateway ended with these words.
fn both_are_ended(gateway: &Gateway, namespace: &str, words: &str) -> anyhow::Result<()> {
    for Session { close, .. } in gateway.sessions(2, |open| open["req"]["namespace"] == namespace)? {
        assert_eq!(close["outcome"]["end"], "ended", "{close}");
        assert_eq!(close["outcome"]["why"], words, "{close}");
        assert_eq!(close["outcome"]["status"], 101, "{close}");
    }
    Ok(())
}

/// A line in a namespace's pod that goes on, both ways at once, until the person is told these words.
fn both_are_told(gateway: &Gateway, namespace: &str, line: &str, words: &str) -> anyhow::Result<()> {
    let alice = Person::signed_in(gateway, "alice")?;
    let begun = Way::BOTH.map(|way| Running::start(exec(&alice, way, namespace, line)?));
    for (way, running) in Way::BOTH.into_iter().zip(begun) {
        let mut running = running?;
        running.line("it runs", |line| line == "begun")?;
        running.line("it is told why", |line| line.contains(words))?;
        assert_ne!(running.end()?, 0, "{way}: {:?}", running.lines());
        // kubectl prints the warnings of plain answers, and none of the answer to a switch.
        let warned = running.lines().iter().any(|line| line.contains("Warning"));
        assert!(!warned, "{way}: {:?}", running.lines());
    }
    both_are_ended(gateway, namespace, words)
}

#[test]
fn a_rule_ends_a_session_in_which_nothing_passes_and_kubectl_says_why() -> anyhow::Result<()> {
    let words = "ended by the gateway: nothing has passed for 10 s, its limit";
    both_are_told(&gateway()?, "quiet", "echo begun; exec sleep 1000", words)
}

#[test]
fn a_rule_ends_a_session_that_has_lasted_long_enough_and_kubectl_says_why() -> anyhow::Result<()> {
    let words = "ended by the gateway: it has lasted 10 s, its limit";
    both_are_told(&gateway()?, "brief", TICKS, words)
}

/// kubectl does not print it; who speaks the protocol by itself reads when the session will end on the answer that begins it.
#[test]
fn k_08_the_answer_that_begins_a_session_names_its_end() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let token = gateway.sign_in("alice")?.token;
    for switch in [
        Switch::WebSocket("v5.channel.k8s.io"),
        Switch::Spdy("v4.channel.k8s.io"),
    ] {
        let target = |namespace: &str| {
            format!("/clusters/bench/api/v1/namespaces/{namespace}/pods/shell/exec?command=true&stdout=true")
        };
        let named = Upgraded::ask(&gateway, &token, &target("brief"), switch, b"")?;
        ensure!(named.is_granted(), "{}", named.head);
        let warning = named.field("warning").with_context(|| named.head.clone())?;
        assert!(
            warning.starts_with("299 gatescribe \"the rules that allow this end it at 20"),
            "{warning}"
        );
    }
    Ok(())
}

/// What is no session goes on until the limit, too, while something happens and while nothing does.
#[test]
fn a_rule_ends_a_watch_and_a_followed_log_that_have_lasted_long_enough() -> anyhow::Result<()> {
    let calls = "verbs: [get, watch], resources: [configmaps, pods/log], namespaces: [brief]";
    let gateway = Gateway::start(
        world()?,
        &Options::ruled(rule("dev", "brief-looks", calls, "longest: 10s")),
    )?;
    let alice = gateway.kubectl_of("alice")?;
    let mut begun = [
        alice.start(&["get", "configmaps", "-n", "brief", "--watch-only", "-o", "name"])?,
        alice.start(&["logs", "-f", "talks", "-n", "brief"])?,
        alice.start(&["logs", "-f", "shell", "-n", "brief"])?,
    ];
    begun[1].line("a line of the log", |line| line == "tick")?;
    for running in &mut begun {
        // They end as a watch and a log do, which is no error to kubectl.
        assert_eq!(running.end()?, 0, "{:?}", running.lines());
    }
    let is_one = |record: &&Value| {
        let asks = record["req"]["verb"] == "watch" || record["req"]["subresource"] == "log";
        record["kind"] == "access" && asks && record["req"]["namespace"] == "brief"
    };
    let closes = |records: &[Value]| -> Vec<Value> {
        let begun = records.iter().filter(is_one);
        begun.filter_map(|begun| close_of(records, begun).cloned()).collect()
    };
    let records = gateway.records_with("their ends", |records| closes(records).len() == begun.len())?;
    for close in closes(&records) {
        assert_eq!(close["outcome"]["end"], "ended", "{close}");
        assert_eq!(
            close["outcome"]["why"], "ended by the gateway: it has lasted 10 s, its limit",
            "{close}"
        );
    }
    Ok(())
}

/// Whoever is signed in for a minute reads at the beginning when it ends, and at the end that it has.
#[test]
fn ses_09_what_is_open_ends_with_its_sign_in_which_is_named_at_the_beginning() -> anyhow::Result<()> {
    let more = json!({ "identity": { "session": { "idle": "1m", "max": "1m", "token": "1m" } } });
    let gateway = Gateway::start(
        world()?,
        &Options {
            more: Some(more),
            ..Options::default()
        },
    )?;
    let alice = gateway.kubectl_of("alice")?;
    let mut watch = alice.start(&["get", "configmaps", "-n", "quiet", "--watch-only", "-o", "name"])?;
    let begun = Way::BOTH.map(|way| {
        let exec = ["exec", "shell", "-n", "quiet", "--", "sh", "-c", TICKS];
        alice.over(way).start(&exec)
    });
    watch.line("the watch names its end", |line| {
        line.starts_with("Warning: your sign-in ends at 20") && line.ends_with(", and this with it")
    })?;
    let words = "ended by the gateway: the sign-in has ended: it has reached its greatest age";
    for (way, running) in Way::BOTH.into_iter().zip(begun) {
        let mut running = running?;
        running.line("it is told why", |line| line.contains(words))?;
        assert_ne!(running.end()?, 0, "{way}: {:?}", running.lines());
    }
    // A watch has no place for words; kubectl begins it anew, and is turned away.
    watch.end()?;
    both_are_ended(&gateway, "quiet", words)
}

const FOR_ONE: &str = "TICKET-4711: the disk is full";
const FOR_A_WHILE: &str = "TICKET-4712: still full";

#[test]
fn a_demanded_reason_is_given_for_one_session_or_for_a_while_and_stands_where_it_was_for() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    let refused = |when: &str| -> anyhow::Result<()> {
        for way in Way::BOTH {
            let said = run(exec(&alice, way, "reasoned", "true")?, "", PATIENCE)?;
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

    for (round, way) in Way::BOTH.into_iter().enumerate() {
        let mut command = alice.command("gatescribe exec --reason")?;
        let line = format!("echo inside; exit {}", 3 + round);
        command.args([FOR_ONE, "shell", "-n", "reasoned", "--", "sh", "-c", &line]);
        command.envs(way.variables());
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
    for (round, way) in Way::BOTH.into_iter().enumerate() {
        let line = format!("exit {}", 5 + round);
        let said = run(exec(&alice, way, "reasoned", &line)?, "", PATIENCE)?;
        assert_eq!(said.code, i32::try_from(5 + round)?, "{way}: {said}");
        has_reason(&gateway, &carol, 5 + round, FOR_A_WHILE)?;
    }
    alice.ok("gatescribe reason --clear")?;
    refused("it was taken back")
}

/// Forbids something else, so that what is open is judged anew.
const ELSEWHERE: &str = r#"---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: none-elsewhere }
spec:
  effect: forbid
  subjects: { groups: ["*"] }
  kubernetes: { actions: [enter], namespaces: [quiet] }
"#;

#[test]
fn a_stated_reason_counts_for_its_sign_in_until_its_time_is_over_and_ends_nothing_that_it_began() -> anyhow::Result<()>
{
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    // The same person at another machine: another sign-in.
    let elsewhere = Person::signed_in(&gateway, "alice")?;
    let refused = |when: &str, person: &Person<'_>| -> anyhow::Result<()> {
        for way in Way::BOTH {
            let said = run(exec(person, way, "reasoned", "true")?, "", PATIENCE)?;
            let told = said.stderr.contains("this needs a stated reason");
            assert!(said.code == 1 && told, "{when}, {way}: {said}");
            assert_eq!(
                Person::next(&said)?,
                "gatescribe reason 'TEXT' --for 15m",
                "{when}, {way}"
            );
        }
        Ok(())
    };
    let mut state = alice.command("gatescribe reason")?;
    state.args([FOR_A_WHILE, "--for", "1m"]);
    let stated = run(state, "", PATIENCE)?;
    assert_eq!(stated.code, 0, "{stated}");
    let begun = Way::BOTH.map(|way| Running::start(exec(&alice, way, "reasoned", TICKS)?));
    let mut begun = begun.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    for running in &mut begun {
        running.line("it runs", |line| line == "begun")?;
    }
    refused("another sign-in", &elsewhere)?;
    let shown = elsewhere.ok("gatescribe reason")?;
    assert!(shown.stderr.contains("no reason is stated"), "{shown}");

    try_until("the minute is over", PATIENCE, || {
        let shown = alice.ok("gatescribe reason")?;
        anyhow::ensure!(shown.stderr.contains("no reason is stated"), "{shown}");
        Ok(())
    })?;
    refused("its time is over", &alice)?;
    // Judged anew by the rules, which still demand a reason: they had one when they began.
    let rules = std::fs::read_to_string(gateway.file("rules.yaml"))?;
    std::fs::write(gateway.file("rules.draft"), rules + ELSEWHERE)?;
    std::fs::rename(gateway.file("rules.draft"), gateway.file("rules.yaml"))?;
    try_until("the new rule counts", PATIENCE, || {
        let said = run(exec(&alice, Way::WebSocket, "quiet", "true")?, "", PATIENCE)?;
        anyhow::ensure!(said.stderr.contains("none-elsewhere"), "{said}");
        Ok(())
    })?;
    begun.iter().try_for_each(Running::goes_on)?;
    drop(begun);
    let of_it = |open: &Value| open["req"]["namespace"] == "reasoned" && open["req"]["action"] == "exec";
    for Session { open, close } in gateway.sessions(2, of_it)? {
        assert_eq!(open["decision"]["stated_reason"], FOR_A_WHILE, "{open}");
        assert_eq!(close["outcome"]["end"], "clientGone", "{close}");
    }
    Ok(())
}

/// The reason stands on the record of the session that ended with this code, in its recording's head, and where both are shown.
fn has_reason(gateway: &Gateway, carol: &Person<'_>, code: usize, reason: &str) -> anyhow::Result<()> {
    let ended = |record: &&Value| record["kind"] == "close" && record["outcome"]["exit_code"] == code;
    let records = gateway.records_with("its end", |records| records.iter().any(|record| ended(&record)))?;
    let close = records.iter().find(ended).context("waited for")?;
    let id = close["id"].as_str().context("an id")?;
    let open = find(&records, "open", id)?;
    assert_eq!(open["decision"]["stated_reason"], reason, "{open}");
    assert!(
        open.get("as").is_none(),
        "acting as oneself is no impersonation: {open}"
    );
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?;
    assert_eq!(shown.json()?["recording"]["head"]["reason"], reason, "{shown}");
    let shown = carol.ok(&format!("gatescribe session show {id}"))?;
    assert!(shown.stdout.contains(reason), "{shown}");
    Ok(())
}

/// What passes in no session is in no recording: a plain request to whatever listens behind a `proxy` subresource is refused
/// where all that enters has to be recorded, and goes its way elsewhere. A node leads into every namespace, that one too.
#[test]
fn a_plain_request_through_a_proxy_is_refused_where_all_has_to_be_recorded() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = gateway_by(&[PROXIED])?;
    let alice = gateway.kubectl_of("alice")?;
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

/// The kubelet runs commands in every pod of its node, so what one namespace demands is demanded there.
#[test]
fn a_reason_that_one_namespace_demands_is_demanded_through_the_node_too() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?;
    for target in [
        "/api/v1/nodes/node-1/proxy/run/reasoned/shell/shell",
        "/api/v1/nodes/node-1/proxy/containerLogs/reasoned/shell/shell",
    ] {
        let said = alice.run(&["get", "--raw", target])?;
        let words = ["this needs a stated reason", "AccessRule reasoned-and-recorded"];
        let told = words.iter().all(|word| said.stderr.contains(word));
        assert!(said.code == 1 && told, "{target}: {said}");
    }
    Ok(())
}
