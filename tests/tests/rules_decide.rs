//! What an access rule can say, end to end: conditions on the address, the time and the sign-in, groups taken on for one
//! call, on the real API server; and `confirm`, where the API server's word is asked for what the gateway does not know.

use std::sync::Barrier;
use std::time::Instant;

use tests::caller::{self, Caller};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::once::Once;

const ROLES: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: ruled }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reads, namespace: ruled }
rules:
- { apiGroups: [""], resources: [configmaps, secrets, services, endpoints, pods, events], verbs: [get, list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: dev, namespace: ruled }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reads-limits, namespace: ruled }
rules: [{ apiGroups: [""], resources: [limitranges], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reads-limits, namespace: ruled }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-limits }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gatescribe:reads-limits" }]
"#;

/// A resource of its own for each condition, and whether it holds for alice, who has just signed in here.
const CONDITIONS: [(&str, &str, bool); 6] = [
    ("configmaps", r#"source.ip == ip("127.0.0.1")"#, true),
    ("secrets", r#"!(source.ip == ip("127.0.0.1"))"#, false),
    ("services", r#"now > timestamp("2020-01-01T00:00:00Z")"#, true),
    ("endpoints", r#"now < timestamp("2020-01-01T00:00:00Z")"#, false),
    ("pods", "auth.age < 36000", true),
    ("events", "auth.age >= 36000", false),
];

/// The shared cluster with the roles in it; two who apply the same objects at once meet "already exists".
fn prepared() -> anyhow::Result<&'static Cluster> {
    static PREPARED: Once<&Cluster> = Once::new();
    let prepare = || {
        let cluster = Cluster::shared()?;
        cluster.admin()?.apply(ROLES)?;
        Ok(cluster)
    };
    PREPARED.get(prepare).copied()
}

fn get(resource: &str) -> String {
    format!("/api/v1/namespaces/ruled/{resource}")
}

#[test]
fn a_condition_forbids_exactly_where_it_holds() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let rule = |(resource, when, _): &(&str, &str, bool)| {
        format!(
            "apiVersion: gatescribe.dev/v1\nkind: AccessRule\nmetadata: {{ name: no-{resource} }}\nspec:\n  effect: forbid\n  subjects: {{ groups: [dev] }}\n  kubernetes: {{ verbs: [get, list], resources: [{resource}] }}\n  when: '{when}'\n"
        )
    };
    let options = Options {
        rules: Some(CONDITIONS.iter().map(rule).collect::<Vec<_>>().join("---\n")),
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    for (resource, when, holds) in CONDITIONS {
        let (_, status, body) = alice.call("GET", &get(resource), &[], b"")?;
        let text = String::from_utf8_lossy(&body);
        assert_eq!(status, if holds { 403 } else { 200 }, "{when}: {text}");
        assert_eq!(text.contains(&format!("no-{resource}")), holds, "{when}: {text}");
    }
    Ok(())
}

#[test]
fn a_group_taken_on_reaches_the_cluster_for_the_calls_of_its_rule_only() -> anyhow::Result<()> {
    const RULE: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: limits }
spec:
  effect: allow
  subjects: { groups: [dev] }
  kubernetes: { verbs: [get, list], resources: [limitranges], namespaces: [ruled] }
  as: { groups: ["gatescribe:reads-limits"] }
"#;
    let cluster = prepared()?;
    for (rules, status) in [(Some(RULE.to_owned()), 200), (None, 403)] {
        let with_rule = rules.is_some();
        let options = Options {
            rules,
            ..Options::default()
        };
        let gateway = Gateway::start(cluster, &options)?;
        let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
        let (id, seen, body) = alice.call("GET", &get("limitranges"), &[], b"")?;
        assert_eq!(seen, status, "{}", String::from_utf8_lossy(&body));
        let (other, seen, _) = alice.call("GET", &get("configmaps"), &[], b"")?;
        assert_eq!(seen, 200);
        let groups = |id: &str| -> anyhow::Result<Vec<String>> {
            let event = cluster.audit_event("the call in the server's log", |event| event.audit_id == id)?;
            Ok(event.impersonated_user.unwrap_or_default().groups)
        };
        assert_eq!(groups(&other)?, ["dev", "system:authenticated"]);
        if with_rule {
            assert_eq!(groups(&id)?, ["dev", "gatescribe:reads-limits", "system:authenticated"]);
        }
    }
    Ok(())
}

#[test]
fn what_the_gateway_does_not_know_the_cluster_is_asked_and_its_word_counts() -> anyhow::Result<()> {
    let fake = FakeApiServer::start()?;
    fake.answer_rights(true);
    let gateway = Gateway::before(&fake.upstream(), &Options::default())?;
    let alice = Caller::new(&gateway, &gateway.sign_in("alice")?.token)?;
    let ask = |name: &str| {
        alice.call(
            "GET",
            &format!("/api/v1/namespaces/default/configmaps/{name}"),
            &[],
            b"",
        )
    };
    let before = fake.asked_rights();
    let (id, status, body) = ask("yes")?;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    assert_eq!(fake.asked_rights(), before + 1);
    let (first, _) = caller::both(&gateway, &id)?;
    assert_eq!(first["by"]["user"], "alice@example.com");

    fake.answer_rights(false);
    let reads = fake.reads();
    let (_, status, _) = ask("no")?;
    assert_eq!(status, 403);
    assert_eq!(
        (fake.asked_rights(), fake.reads()),
        (before + 2, reads),
        "nothing was sent"
    );
    Ok(())
}

/// Who asks the same at the same time is answered by one question to the cluster, as the cluster itself counts. An answer is
/// remembered for more than a second, so that a machine too slow for "at the same time" may ask once more for each second.
#[test]
fn equal_calls_at_the_same_time_make_the_cluster_answer_one_review() -> anyhow::Result<()> {
    const CALLERS: usize = 24;
    const OBSERVER: &str = "system:serviceaccount:gatescribe:observer";
    let cluster = Cluster::start(ClusterOptions::default())?;
    let gateway = Gateway::start(&cluster, &Options::default())?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let barrier = Barrier::new(CALLERS);
    let began = Instant::now();
    let statuses = std::thread::scope(|scope| {
        let call = || {
            let connection = gateway.client().and_then(|client| client.connect());
            barrier.wait(); // also without one: the others wait for everybody
            let mut connection = connection?;
            let headers = [("Authorization", bearer.as_str())];
            let answer = connection.exchange(
                "GET",
                "/clusters/bench/api/v1/namespaces/default/secrets",
                &headers,
                b"",
            )?;
            anyhow::Ok(answer.status)
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(call)).collect();
        let joined = callers.into_iter().map(|caller| caller.join().expect("a caller"));
        joined.collect::<anyhow::Result<Vec<u16>>>()
    })?;
    let most = 1 + usize::try_from(began.elapsed().as_secs())?;
    assert_eq!(statuses, [403; CALLERS]);
    // What comes behind it in the log is there only when all before it is.
    cluster.kubectl(&["get", "configmaps", "--field-selector=metadata.name=behind-the-reviews"])?;
    cluster.audit_event("the last call", |event| {
        event.request_uri.contains("behind-the-reviews")
    })?;
    let events = cluster.audit_events()?;
    let is_review = |event: &&tests::cluster::audit::Event| {
        let resource = event.object_ref.as_ref().map(|object| object.resource.as_str());
        event.user.username == OBSERVER && resource == Some("subjectaccessreviews") && event.stage == "ResponseComplete"
    };
    let reviews = events.iter().filter(is_review).count();
    assert!(
        (1..=most).contains(&reviews),
        "{reviews} reviews for {CALLERS} equal calls, at most {most}"
    );
    Ok(())
}

/// kubectl tells the cluster's own answer, and the gateway what it makes of it, on standard error.
const OWN_RULES: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: secrets-stay }
spec:
  effect: forbid
  subjects: { groups: [dev] }
  kubernetes: { verbs: [get], resources: [secrets] }
---
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: limits }
spec:
  effect: allow
  subjects: { groups: [dev] }
  kubernetes: { verbs: [get, list], resources: [limitranges], namespaces: [ruled] }
  as: { groups: ["gatescribe:reads-limits"] }
"#;

const REFUSES: &str = "Warning: the gateway would refuse this, whatever the cluster answers: ";

#[test]
fn l_04_what_the_cluster_says_of_own_rights_comes_with_what_the_gateway_makes_of_it() -> anyhow::Result<()> {
    let cluster = prepared()?;
    let options = Options {
        rules: Some(OWN_RULES.to_owned()),
        ..Options::default()
    };
    let gateway = Gateway::start(cluster, &options)?;
    let token = gateway.sign_in("alice")?.token;
    let kubectl = gateway.kubectl("alice", &token)?;
    let lets = "Warning: the gateway lets this pass beyond what the cluster answers (AccessRule limits)";
    let cases: [(&[&str], &str, i32, Option<&str>); 7] = [
        (&["get", "configmaps"], "yes", 0, None),
        (&["delete", "configmaps"], "no", 1, None),
        (&["get", "secrets"], "yes", 0, Some("(AccessRule secrets-stay)")),
        (&["list", "secrets"], "yes", 0, None),
        (&["get", "limitranges"], "no", 1, Some(lets)),
        (&["*", "*"], "no", 1, Some("ask about one act")),
        (&["create", "pods", "--subresource=exec"], "no", 1, None),
    ];
    for (asked, answer, code, warning) in cases {
        let said = kubectl.run(&[&["auth", "can-i", "-n", "ruled"], asked].concat())?;
        assert_eq!((said.stdout.trim(), said.code), (answer, code), "{asked:?}: {said}");
        let warned = said.stderr.contains("Warning: ") && said.stderr.contains("gateway");
        assert_eq!(warned, warning.is_some(), "{asked:?}: {said}");
        assert!(said.stderr.contains(warning.unwrap_or_default()), "{asked:?}: {said}");
    }
    let secrets = kubectl.run(&["auth", "can-i", "get", "secrets", "-n", "ruled"])?;
    assert!(secrets.stderr.starts_with(REFUSES), "{secrets}");
    // It is as it says.
    assert_eq!(kubectl.run(&["get", "secret", "any", "-n", "ruled"])?.code, 1);
    kubectl.ok(&["get", "limitranges", "-n", "ruled"])?;
    let list = kubectl.run(&["auth", "can-i", "--list", "-n", "ruled"])?;
    assert!(list.stdout.contains("secrets"), "{list}");
    assert!(list.stderr.contains("which are not in this list"), "{list}");
    asked_raw(&Caller::new(&gateway, &token)?)
}

/// The same question in Kubernetes' protobuf, and one that nothing of ours reads.
fn asked_raw(alice: &Caller) -> anyhow::Result<()> {
    let field = |number: u8, value: &[u8]| -> anyhow::Result<Vec<u8>> {
        Ok([&[(number << 3) | 2, u8::try_from(value.len())?], value].concat())
    };
    let act = [field(1, b"ruled")?, field(2, b"get")?, field(5, b"secrets")?].concat();
    let object = field(2, &field(1, &act)?)?;
    let kind = [
        field(1, b"authorization.k8s.io/v1")?,
        field(2, b"SelfSubjectAccessReview")?,
    ]
    .concat();
    let protobuf = [&b"k8s\0"[..], &field(1, &kind)?, &field(2, &object)?].concat();
    let yaml = b"{apiVersion: authorization.k8s.io/v1, kind: SelfSubjectAccessReview, spec: {resourceAttributes: {namespace: ruled, verb: get, resource: secrets}}}";
    for (form, body, warning) in [
        (
            "application/vnd.kubernetes.protobuf",
            &protobuf[..],
            "AccessRule secrets-stay",
        ),
        ("application/yaml", &yaml[..], "could not be compared"),
    ] {
        let target = "/clusters/bench/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let headers = [
            ("Authorization", alice.bearer.as_str()),
            ("Content-Type", form),
            ("Accept", "application/json"),
        ];
        let answer = alice.client.send("POST", target, &headers, body)?;
        assert_eq!(answer.status, 201, "{form}: {}", String::from_utf8_lossy(&answer.body));
        assert_eq!(answer.json()?["status"]["allowed"], true, "{form}");
        let warned = answer
            .head
            .lines()
            .any(|line| line.to_ascii_lowercase().starts_with("warning: 299 gatescribe \"") && line.contains(warning));
        assert!(warned, "{form}: {}", answer.head);
    }
    Ok(())
}
