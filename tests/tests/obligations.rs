//! What a rule demands of an allowed call is met or the call is refused, with words that a person can act on.

use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::person::Person;
use tests::pods::{dev_does_all, namespace};
use tests::rules::rule;

/// One rule for each kind of object, so that each duty is met alone.
const DUTIES: [(&str, &str, &str); 6] = [
    ("recorded", "configmaps", "record: true"),
    ("reasoned", "services", "reason: true"),
    ("approved", "endpoints", "approval: { from: [sre] }"),
    ("fresh-enough", "pods", "stepUp: { maxAge: 8h }"),
    ("for-an-hour", "resourcequotas", "longest: 1h"),
    ("strong-enough", "secrets", r#"stepUp: { acr: "urn:example:hardware" }"#),
];

/// Rules that are over, or only rehearsed.
const IDLE: &str = r#"---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: over }
spec:
  effect: forbid
  until: "2020-01-01T00:00:00Z"
  subjects: { groups: ["*"] }
  kubernetes: { verbs: ["*"], resources: [replicationcontrollers] }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: rehearsed }
spec:
  effect: forbid
  mode: shadow
  subjects: { groups: ["*"] }
  kubernetes: { verbs: ["*"], resources: [limitranges] }
"#;

fn gateway() -> anyhow::Result<Gateway> {
    let cluster = Cluster::shared()?;
    cluster
        .admin()?
        .apply(&[namespace("duties"), dev_does_all("duties")].concat())?;
    let rules = DUTIES.map(|(name, resource, duties)| {
        let all_of_them = format!(r#"verbs: ["*"], resources: [{resource}]"#);
        rule(r#""*""#, name, &all_of_them, duties)
    });
    Gateway::start(cluster, &Options::ruled([&rules.concat(), IDLE].concat()))
}

#[test]
fn a_duty_that_cannot_be_met_refuses_the_call_and_says_so() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = gateway.sign_in("alice")?;
    let kubectl = gateway.kubectl("alice", &alice.token)?;
    for (resource, because, next) in [
        (
            "services",
            "this needs a stated reason",
            "next      gatescribe reason 'TEXT' --for 15m",
        ),
        (
            "endpoints",
            "this needs approval from sre, and this release has no way to ask for it",
            "next      ask whoever writes the rules",
        ),
    ] {
        let refused = kubectl.run(&["get", resource, "-n", "duties"])?;
        assert_eq!(refused.code, 1, "{resource}: {refused}");
        let words = [because, next, "rule      AccessRule "];
        for word in words {
            assert!(refused.stderr.contains(word), "{resource}: no `{word}` in {refused}");
        }
        let write = kubectl.run(&["delete", resource, "none", "-n", "duties"])?;
        assert_eq!(write.code, 1, "{resource}: {write}");
        assert!(write.stderr.contains(because), "{resource}: {write}");
    }
    let too_weak = kubectl.run(&["get", "secrets", "-n", "duties"])?;
    assert!(
        too_weak.stderr.contains("this needs a fresh sign-in")
            && too_weak.stderr.contains("gatescribe login --fresh http"),
        "{too_weak}"
    );
    // A call that is no session is in the ledger whole: there is nothing more to record.
    for resource in ["configmaps", "pods", "replicationcontrollers", "limitranges"] {
        let allowed = kubectl.run(&["get", resource, "-n", "duties"])?;
        assert_eq!(allowed.code, 0, "{resource}: {allowed}");
    }
    let of = |resource: &'static str| {
        move |record: &serde_json::Value| record["kind"] == "access" && record["req"]["resource"] == resource
    };
    let records = gateway.records_with("the reads", |records| records.iter().any(of("limitranges")))?;
    let rehearsed = records
        .iter()
        .find(|record| of("limitranges")(record))
        .expect("found above");
    let rules = rehearsed["decision"]["rules"].to_string();
    assert!(rules.contains("rehearsed") && rules.contains("wouldforbid"), "{rules}");
    Ok(())
}

/// The step-up commands of a refusal, run as they are printed: by a shell that knows nothing else.
#[test]
fn a_demanded_sign_in_is_done_by_the_printed_command_and_the_call_then_works() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    alice.ok("kubectl get pods -n duties")?;
    let call = "kubectl get secrets -n duties";
    let refused = alice.types(call)?;
    assert_eq!(refused.code, 1, "{refused}");
    let next = Person::next(&refused)?;
    assert_eq!(
        next,
        format!("gatescribe login --fresh {} --acr urn:example:hardware", gateway.url)
    );
    // Fresh alone is not of the class that the rule wants.
    let (fresh, _) = next.split_once(" --acr").expect("compared above");
    alice.signs_in(fresh)?;
    assert_eq!(Person::next(&alice.types(call)?)?, next, "the class counts");
    alice.signs_in(&next)?;
    alice.ok(call)?;
    Ok(())
}

/// A reason that is demanded, stated by the printed command, by the sign-in's own way and for one call.
#[test]
fn a_demanded_reason_is_stated_by_the_printed_command_and_stands_in_the_records() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let call = "kubectl get services -n duties";
    let refused = alice.types(call)?;
    assert_eq!(refused.code, 1, "{refused}");
    assert_eq!(Person::next(&refused)?, "gatescribe reason 'TEXT' --for 15m");

    let stated = alice.types("gatescribe reason TICKET-4711 --for 15m")?;
    assert!(stated.code == 0 && stated.stderr.contains("stated until "), "{stated}");
    alice.ok(call)?;
    assert_eq!(alice.types("gatescribe reason")?.stdout, "TICKET-4711\n");
    let cleared = alice.types("gatescribe reason --clear")?;
    assert_eq!(cleared.code, 0, "{cleared}");
    assert_eq!(alice.types(call)?.code, 1, "it is taken back at once");
    let short = alice.types("gatescribe reason x")?;
    assert!(
        short.code == 2 && short.stderr.contains("3 to 500 characters"),
        "{short}"
    );

    // For one call, as who one is; nobody else's name is lent by it.
    let with = "--as=alice@example.com --as-user-extra=gatescribe.dev/reason=TICKET-4712";
    alice.ok(&format!("{call} {with}"))?;
    let another = alice.types(&format!("{call} {}", with.replace("alice", "bob")))?;
    assert!(
        another.code == 1 && another.stderr.contains("may not act as"),
        "{another}"
    );

    let of = |record: &serde_json::Value, reason: &str| {
        record["kind"] == "access"
            && record["req"]["resource"] == "services"
            && record["decision"]["stated_reason"] == reason
    };
    let records = gateway.records_with("both reasons", |records| {
        ["TICKET-4711", "TICKET-4712"]
            .iter()
            .all(|reason| records.iter().any(|record| of(record, reason)))
    })?;
    let one = records
        .iter()
        .find(|record| of(record, "TICKET-4712"))
        .expect("waited for");
    assert!(one.get("as").is_none(), "acting as oneself is no impersonation: {one}");
    let stated = |what: &str| {
        records
            .iter()
            .any(|record| record["kind"] == "session" && record["person"]["what"] == what)
    };
    assert!(stated("reasonStated") && stated("reasonTakenBack"), "their own records");
    Ok(())
}

#[test]
fn a_watch_whose_end_is_known_says_it_at_its_beginning() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = gateway.sign_in("alice")?;
    let kubectl = gateway.kubectl("alice", &alice.token)?;
    // The watch ends by itself: what is looked at is what kubectl printed when it began.
    let watch = |resource: &str| {
        let target = format!("/api/v1/namespaces/duties/{resource}?watch=true&timeoutSeconds=1");
        let ran = kubectl.run(&["get", "--raw", &target])?;
        anyhow::ensure!(ran.code == 0, "{ran}");
        Ok(ran.stderr)
    };
    let named = watch("resourcequotas")?;
    assert!(
        named.contains("Warning: the rules that allow this end it at 20"),
        "{named}"
    );
    assert!(!watch("configmaps")?.contains("Warning"), "its end is not known");
    Ok(())
}
