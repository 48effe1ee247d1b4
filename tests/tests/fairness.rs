//! The API server's own priority and fairness, seen through the gate: it knows the person and not the gateway, what it
//! refuses is told as it said it and is not sent again, and so are its warnings.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use serde_json::json;
use tests::caller::{JSON, both, roles};
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::http::{Answer, Client, Stream};
use tests::once::Once;
use tests::wait::{PATIENCE, try_until};

/// One level with next to no seats, for bob, and a schema of its own for alice. Precedence 100 is before all that come with
/// the server and match people.
const FLOWS: &str = r#"
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: PriorityLevelConfiguration
metadata: { name: hardly-anybody }
spec: { type: Limited, limited: { nominalConcurrencyShares: 0, lendablePercent: 0, borrowingLimitPercent: 0, limitResponse: { type: Reject } } }
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: { name: of-bob }
spec:
  matchingPrecedence: 100
  priorityLevelConfiguration: { name: hardly-anybody }
  distinguisherMethod: { type: ByUser }
  rules:
  - subjects: [{ kind: User, user: { name: bob@example.com } }]
    resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true }]
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: { name: of-alice }
spec:
  matchingPrecedence: 100
  priorityLevelConfiguration: { name: workload-low }
  distinguisherMethod: { type: ByUser }
  rules:
  - subjects: [{ kind: User, user: { name: alice@example.com } }]
    resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true }]
---
apiVersion: flowcontrol.apiserver.k8s.io/v1
kind: FlowSchema
metadata: { name: of-the-gateway }
spec:
  # Before all others: whatever is its own counts here.
  matchingPrecedence: 90
  priorityLevelConfiguration: { name: workload-low }
  distinguisherMethod: { type: ByUser }
  rules:
  - subjects: [{ kind: ServiceAccount, serviceAccount: { name: impersonator, namespace: gatescribe } }]
    resourceRules: [{ verbs: ["*"], apiGroups: ["*"], resources: ["*"], namespaces: ["*"], clusterScope: true }]
"#;

const MAPS: &str = "/api/v1/namespaces/fair/configmaps";
const WARNED: &str = "/api/v1/namespaces/warned/configmaps";

/// A cluster of its own: what it counts is compared with what is sent here.
fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    WORLD.get(|| {
        let cluster = Cluster::start(ClusterOptions::default())?;
        let admin = cluster.admin()?;
        admin.apply(&roles("fair", "dev"))?;
        admin.apply(&roles("unfair", "sre"))?;
        admin.apply(&roles("warned", "auditor"))?;
        admin.apply(FLOWS)?;
        Ok(cluster)
    })
}

/// Who asks the API server itself, as the same person.
fn direct(cluster: &Cluster, user: &str, group: &str) -> anyhow::Result<Client> {
    let identity = cluster.ca().client(user, &[group])?;
    Client::new(cluster.address(), cluster.ca().certificate(), Some(&identity))
}

/// Who asks through the gate.
struct Through {
    client: Client,
    bearer: String,
}

impl Through {
    fn new(gateway: &Gateway, person: &str) -> anyhow::Result<Self> {
        Ok(Self {
            client: gateway.client()?,
            bearer: format!("Bearer {}", gateway.sign_in(person)?.token),
        })
    }

    fn send(&self, method: &str, target: &str, body: &[u8]) -> anyhow::Result<Answer> {
        let headers = [("Authorization", self.bearer.as_str()), JSON];
        self.client
            .send(method, &format!("/clusters/bench{target}"), &headers, body)
    }
}

/// The values of a header, in order.
fn values(answer: &Answer, name: &str) -> Vec<String> {
    let lines = answer.head.lines().filter_map(|line| line.split_once(':'));
    let of_name = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    of_name.map(|(_, value)| value.trim().to_owned()).collect()
}

const SCHEMA: &str = "X-Kubernetes-PF-FlowSchema-UID";
const LEVEL: &str = "X-Kubernetes-PF-PriorityLevel-UID";

/// The uid of a FlowSchema.
fn uid(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    let path = format!("/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{name}");
    let schema = cluster.client().get(&path, &[])?.json()?;
    Ok(schema["metadata"]["uid"].as_str().context("a uid")?.to_owned())
}

/// The server takes new schemas up a moment after they are written.
fn is_in_force(cluster: &Cluster, client: &Client, target: &str, schema: &str) -> anyhow::Result<Answer> {
    let uid = uid(cluster, schema)?;
    try_until("the schema is in force", PATIENCE, || {
        let answer = client.get(target, &[])?;
        ensure!(values(&answer, SCHEMA) == [uid.as_str()], "{}", answer.head);
        Ok(answer)
    })
}

#[test]
fn k_05_what_the_servers_fairness_refuses_is_told_as_it_is_and_not_sent_again() -> anyhow::Result<()> {
    let cluster = world()?;
    let target = "/api/v1/namespaces/unfair/configmaps";
    let bob = direct(cluster, "bob@example.com", "sre")?;
    is_in_force(cluster, &bob, target, "of-bob")?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let through = Through::new(&gateway, "bob")?;
    let mut seats = Vec::new();
    let refused = try_until("all seats are taken", PATIENCE, || {
        seats.push(takes_a_seat(cluster, &bob, target)?);
        // Again and again: a call of before may have been let go a moment late.
        let answers = [bob.get(target, &[])?, bob.get(target, &[])?, bob.get(target, &[])?];
        let statuses = answers.each_ref().map(|answer| answer.status);
        ensure!(statuses == [429; 3], "{statuses:?}");
        let [answer, ..] = answers;
        Ok(answer)
    })?;
    for (method, target) in [
        ("GET", target.to_owned()),
        ("POST", format!("{target}?fieldManager=once")),
    ] {
        let told = through.send(method, &target, br#"{"metadata":{"name":"never"}}"#)?;
        assert_eq!((told.status, &told.body), (429, &refused.body), "{}", told.head);
        for name in [SCHEMA, LEVEL, "Content-Type"] {
            assert_eq!(values(&told, name), values(&refused, name), "{name}: {}", told.head);
        }
        // How long depends on how much was refused lately; it is the server's number.
        let wait = values(&told, "Retry-After");
        let [wait] = wait.as_slice() else {
            anyhow::bail!("Retry-After {wait:?}");
        };
        ensure!(wait.parse::<u32>()? >= 1, "{wait}");
        let id = values(&told, "Audit-Id").pop().context("an id")?;
        let (_, end) = both(&gateway, &id)?;
        assert_eq!(
            (&end["outcome"]["end"], &end["outcome"]["status"]),
            (&json!("answered"), &json!(429)),
            "{end}"
        );
        assert!(end["upstream"]["attempts"].is_null(), "it was sent once: {end}");
    }
    drop(seats);
    // Others go by the same connections and feel nothing. (Not alice, whose calls are counted.)
    let carol = Through::new(&gateway, "carol")?;
    assert_eq!(carol.send("GET", WARNED, b"")?.status, 200);
    Ok(())
}

/// A call whose body never comes: the server has let it in and waits for it, for up to its minute.
fn takes_a_seat(cluster: &Cluster, client: &Client, target: &str) -> anyhow::Result<Stream> {
    let mut stream = client.open()?;
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n",
        cluster.address()
    );
    stream.write_all(head.as_bytes())?;
    stream.flush()?;
    Ok(stream)
}

/// How many requests the server counts for one schema.
fn dispatched(cluster: &Cluster, schema: &str) -> anyhow::Result<f64> {
    let page = cluster.client().get("/metrics", &[])?;
    let text = String::from_utf8(page.body)?;
    let name = "apiserver_flowcontrol_dispatched_requests_total";
    let lines = text.lines().filter(|line| line.starts_with(name));
    let of_it = lines.filter(|line| line.contains(&format!("flow_schema=\"{schema}\"")));
    let value = |line: &str| -> anyhow::Result<f64> { Ok(line.rsplit(' ').next().context("a value")?.parse()?) };
    of_it.map(value).sum()
}

#[test]
fn l_09_the_servers_fairness_counts_the_person_and_not_the_gateway() -> anyhow::Result<()> {
    const CALLS: u32 = 25;
    let cluster = world()?;
    let expected = is_in_force(cluster, &direct(cluster, "alice@example.com", "dev")?, MAPS, "of-alice")?;
    let gateway = Gateway::start(cluster, &Options::default())?;
    let alice = Through::new(&gateway, "alice")?;
    // The schema of the gateway is in force, too: a call of its own is counted there.
    let own = format!(
        "Bearer {}",
        cluster.service_account_token("gatescribe", "impersonator")?
    );
    let itself = Client::new(cluster.address(), cluster.ca().certificate(), None)?;
    try_until("the gateway's schema is in force", PATIENCE, || {
        let counted = dispatched(cluster, "of-the-gateway")?;
        itself.get(MAPS, &[("Authorization", &own)])?;
        ensure!(dispatched(cluster, "of-the-gateway")? > counted, "not yet");
        Ok(())
    })?;
    let schemas = ["of-alice", "of-the-gateway"];
    let count = || -> anyhow::Result<Vec<f64>> { schemas.iter().map(|schema| dispatched(cluster, schema)).collect() };
    let watch = format!("{MAPS}?watch=true&timeoutSeconds=1");
    for (method, target, body, status) in [
        ("GET", MAPS, b"".as_slice(), 200),
        ("POST", MAPS, br#"{"metadata":{"generateName":"fair-"}}"#, 201),
        ("GET", watch.as_str(), b"", 200),
    ] {
        let calls = if target == MAPS { CALLS } else { 2 };
        let before = count()?;
        for _ in 0..calls {
            let answer = alice.send(method, target, body)?;
            assert_eq!(answer.status, status, "{method} {target}");
            for name in [SCHEMA, LEVEL] {
                assert_eq!(values(&answer, name), values(&expected, name), "{name}");
            }
        }
        let counted: Vec<f64> = count()?.iter().zip(&before).map(|(now, before)| now - before).collect();
        println!("{method} {target} calls={calls} counted_for_the_person_and_the_gateway={counted:?}");
        assert_eq!(counted, [f64::from(calls), 0.0], "{method} {target}");
    }
    Ok(())
}

const FORBID: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: secrets-stay }
spec:
  effect: forbid
  subjects: { groups: [auditor] }
  kubernetes: { verbs: [get], resources: [secrets] }
"#;

#[test]
fn k_08_warnings_of_the_cluster_stay_and_ours_comes_behind_them() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = Gateway::start(cluster, &Options::ruled(FORBID))?;
    let through = Through::new(&gateway, "carol")?;
    let direct = direct(cluster, "carol@example.com", "auditor")?;

    let map = json!({ "metadata": { "name": "w" }, "data": {}, "extra": 1, "other": 2 }).to_string();
    let target = format!("{WARNED}?fieldValidation=Warn&dryRun=All");
    let expected = direct.send("POST", &target, &[JSON], map.as_bytes())?;
    let found = through.send("POST", &target, map.as_bytes())?;
    assert_eq!((expected.status, found.status), (201, 201));
    let warnings = values(&expected, "Warning");
    assert_eq!(warnings.len(), 2, "{}", expected.head);
    assert_eq!(values(&found, "Warning"), warnings);

    let question = json!({ "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "extra": 1,
        "spec": { "resourceAttributes": { "namespace": "warned", "verb": "get", "resource": "secrets" } } })
    .to_string();
    let target = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?fieldValidation=Warn";
    let expected = values(&direct.send("POST", target, &[JSON], question.as_bytes())?, "Warning");
    let found = values(&through.send("POST", target, question.as_bytes())?, "Warning");
    assert_eq!(expected.len(), 1);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found.first(), expected.first());
    let ours = found.last().context("ours")?;
    ensure!(
        ours.starts_with("299 gatescribe \"") && ours.ends_with('"') && ours.len() < 600,
        "{ours}"
    );
    Ok(())
}
