//! Whoever loses access while they are in a pod reads why, over both protocols, and others feel nothing: a lock by an auditor
//! over every credential of a person, a session that ends, an issuer's key that is withdrawn, a rule that is removed. Real
//! kubectl, the real API server, a node whose pods are real processes.
//!
//! What a removed binding and an end by a person do is told in `entering` and `session_commands`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Credential, Kubectl, Output, Running, Way};
use tests::once::Once;
use tests::person::Person;
use tests::pki::Ca;
use tests::pods::{TALK, listens, namespace, port, runs, shell};
use tests::records::{ended_of, opens};
use tests::wait::{PATIENCE, try_until};

/// Who may enter, and what may be watched.
const RIGHTS: &str = r#"---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: enters, namespace: shop }
rules:
- apiGroups: [""]
  resources: [pods, configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/exec, pods/attach, pods/portforward]
  # A WebSocket is a GET, and the API server asks both; without `get` kubectl would fall back to SPDY and say nothing of it.
  verbs: [get, create]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: enters, namespace: shop }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: enters }
subjects:
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: sre }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "corp:dev" }
- { apiGroup: rbac.authorization.k8s.io, kind: Group, name: "corp:sre" }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: here, namespace: shop }
"#;

/// Lets those in who have no binding, as a group that has one.
const GUESTS: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: guests-enter }
spec:
  effect: allow
  subjects: { groups: [guest] }
  kubernetes: { verbs: [get, create], resources: [pods, pods/exec], namespaces: [shop] }
  as: { groups: [dev] }
"#;

/// In its place: nobody is in that group.
const NO_GUESTS: &str = r#"
apiVersion: gatescribe.dev/v1
kind: AccessRule
metadata: { name: others-enter }
spec:
  effect: allow
  subjects: { groups: [nobody-is-here] }
  kubernetes: { verbs: [get], resources: [pods], namespaces: [shop] }
"#;

const LOOK: [&str; 4] = ["get", "configmaps", "-n", "shop"];

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    let near = runs("shop", "near", "exec \"$NODE_BINARY\" http --listen 127.0.0.1:0");
    let talker = runs("shop", "talker", TALK);
    let world = [&namespace("shop"), RIGHTS, &shell("shop", "web"), &near, &talker].concat();
    WORLD.get(|| Cluster::with_pods(&world))
}

/// A command in the pod that goes on.
fn talks(kubectl: &Kubectl, way: Way) -> anyhow::Result<Running> {
    let mut running = kubectl
        .over(way)
        .start(&["exec", "web", "-n", "shop", "--", "sh", "-c", TALK])?;
    running.line("the command talks", |line| line == "line 2")?;
    Ok(running)
}

/// Attached to what goes on in a pod by itself.
fn attached(kubectl: &Kubectl, way: Way) -> anyhow::Result<Running> {
    let mut running = kubectl.over(way).start(&["attach", "talker", "-n", "shop"])?;
    running.line("what goes on there", |line| line.starts_with("line "))?;
    Ok(running)
}

/// One over each protocol.
fn both_ways(kubectl: &Kubectl) -> anyhow::Result<[Running; 2]> {
    Ok([talks(kubectl, Way::WebSocket)?, talks(kubectl, Way::Spdy)?])
}

/// It has ended, and the person has read `words`.
fn has_read(running: &mut Running, words: &str) -> anyhow::Result<()> {
    let code = running.end()?;
    let said = running.lines().join("\n");
    ensure!(code != 0 && said.contains(words), "{code}, no `{words}` in:\n{said}");
    Ok(())
}

fn first(records: &[Value], is: impl Fn(&Value) -> bool) -> anyhow::Result<&Value> {
    records.iter().find(|record| is(record)).context("no such record")
}

/// Names that a sign-in, a raw token and a certificate share: to the cluster they are one person.
fn gateway_for_every_credential(people: &Ca) -> anyhow::Result<Gateway> {
    let cluster = world()?;
    let authorities = cluster.folder().write("people.crt", people.certificate())?;
    let more = Some(json!({
        "identity": {
            "auditGroups": ["corp:auditor"],
            "dangerSharedNames": ["certificates:kubernetes"],
            "providers": [{
                "acceptAudiences": ["kubernetes"],
                "claims": { "userPrefix": "corp:", "groupPrefix": "corp:" },
            }],
        },
        "listeners": [{}, { "clientCertificates": { "caFile": authorities } }],
    }));
    Gateway::start(
        cluster,
        &Options {
            more,
            ..Options::default()
        },
    )
}

const ALICE: &str = "corp:alice@example.com";
const LOCKED: &str = "corp:alice@example.com is locked by corp:carol@example.com: TICKET-4711";

/// Everything that alice has open.
struct Open {
    /// Commands, and attached.
    sessions: [Running; 4],
    watch: Running,
    forward: Running,
}

impl Open {
    fn begin(session: &Kubectl, raw: &Kubectl, certified: &Kubectl) -> anyhow::Result<Self> {
        let mut watch = certified.start(&["get", "configmaps", "-n", "shop", "--watch", "-o", "name"])?;
        watch.line("the list before the watch", |line| line == "configmap/here")?;
        let mut forward = session
            .over(Way::WebSocket)
            .start(&["port-forward", "pod/web", "-n", "shop", ":80"])?;
        forward.forwards()?;
        Ok(Self {
            sessions: [
                talks(session, Way::WebSocket)?,
                talks(raw, Way::Spdy)?,
                attached(raw, Way::WebSocket)?,
                attached(certified, Way::Spdy)?,
            ],
            watch,
            forward,
        })
    }

    fn all_end(&mut self) -> anyhow::Result<()> {
        for session in &mut self.sessions {
            has_read(session, LOCKED)?;
        }
        // A watch has no place for words: kubectl begins it anew, and reads them there, or leaves.
        self.watch.end()?;
        // Neither has a port-forward through which nothing goes.
        self.forward.end()?;
        Ok(())
    }
}

fn is_refused(said: &Output) -> anyhow::Result<()> {
    ensure!(said.code == 1 && said.stderr.contains(LOCKED), "{said}");
    ensure!(said.stderr.contains("ask whoever locked you out"), "{said}");
    Ok(())
}

#[test]
fn ses_08_a_lock_ends_all_that_its_person_has_open_by_every_credential_and_nobody_elses() -> anyhow::Result<()> {
    let people = Ca::new("people")?;
    let gateway = gateway_for_every_credential(&people)?;
    let certificate = people.client(ALICE, &["corp:dev"])?;
    let token = gateway.provider.raw_token("alice")?;
    let session = gateway.kubectl_of("alice")?;
    let raw = gateway.kubectl("alice-raw", &token)?;
    let certified = gateway.kubectl_with("alice-certified", &Credential::Certificate(&certificate))?;
    let bob = gateway.kubectl_of("bob")?;
    let carol = Person::signed_in(&gateway, "carol")?;
    let mut hers = Open::begin(&session, &raw, &certified)?;
    let his = talks(&bob, Way::WebSocket)?;
    gateway.has_open(7)?;

    let told = carol.ok("gatescribe user lock alice@example.com --reason TICKET-4711")?;
    assert!(told.stderr.contains(&format!("{ALICE} is locked out")), "{told}");
    hers.all_end()?;
    his.goes_on()?;
    for kubectl in [&session, &raw, &certified] {
        is_refused(&kubectl.run(&LOOK)?)?;
        is_refused(&kubectl.run(&["exec", "web", "-n", "shop", "--", "true"])?)?;
    }
    let refused = gateway.visit("corp", "alice")?;
    assert!(
        format!("{:?} {}", refused.location, refused.body).contains("TICKET-4711"),
        "{refused:?}"
    );
    bob.ok(&LOOK)?;

    let listed = carol.ok("gatescribe user locks")?;
    assert!(
        listed.stdout.contains(ALICE) && listed.stdout.contains("TICKET-4711"),
        "{listed}"
    );
    let himself = carol.types("gatescribe user lock carol@example.com --reason mistake")?;
    assert!(
        himself.code == 6 && himself.stderr.contains("you cannot lock out yourself"),
        "{himself}"
    );
    let nobody = carol.types("gatescribe user lock alicia@example.com --reason mistake")?;
    assert!(
        nobody.code == 5 && nobody.stderr.contains("alicia@example.com"),
        "{nobody}"
    );
    carol.ok("gatescribe user unlock alice@example.com --reason found-again")?;
    raw.ok(&LOOK)?;
    certified.ok(&LOOK)?;
    let over = session.run(&LOOK)?;
    assert_eq!(over.code, 1, "what had ended stays ended: {over}");
    let again = gateway.kubectl("alice-again", &gateway.sign_in("alice")?.token)?;
    again.ok(&["exec", "web", "-n", "shop", "--", "true"])?;
    his.goes_on()?;
    assert_eq!(carol.types("gatescribe user locks")?.code, 1);
    drop(his);
    is_recorded(&gateway)
}

fn is_recorded(gateway: &Gateway) -> anyhow::Result<()> {
    let why = format!("ended by the gateway: {LOCKED}");
    let turned_away = |records: &[Value], credential: &str| {
        let of_it = |record: &&Value| {
            record["kind"] == "refusal"
                && record["by"]["user"] == ALICE
                && record["by"]["credential"] == credential
                && record["decision"]["reason"] == "locked"
                && record["outcome"]["status"] == 403
        };
        records.iter().any(|record| of_it(&record))
    };
    // Who was turned away is known, whatever they presented.
    let records = gateway.records_with("six closes, and a refusal of each credential", |records| {
        let credentials = ["gatewayToken", "providerToken", "certificate"];
        ended_of(records, ALICE).len() == 6 && credentials.iter().all(|credential| turned_away(records, credential))
    })?;
    assert!(
        ended_of(&records, ALICE).iter().all(|ended| *ended == why),
        "{:?}",
        ended_of(&records, ALICE)
    );
    assert_eq!(ended_of(&records, "corp:bob@example.com"), Vec::<&str>::new());
    let what = |what: &'static str| move |record: &Value| record["person"]["what"] == what;
    let locked = first(&records, what("userLocked"))?;
    let unlocked = first(&records, what("userUnlocked"))?;
    for (record, begins, ends) in [
        (locked, "locked corp:alice@example.com (", "TICKET-4711"),
        (unlocked, "unlocked corp:alice@example.com (", "now: found-again"),
    ] {
        let note = record["note"].as_str().context("a note")?;
        assert!(note.starts_with(begins) && note.ends_with(ends), "{note}");
        assert_eq!(record["by"]["user"], "corp:carol@example.com", "{record}");
    }
    let close = first(&records, |record| record["outcome"]["why"] == why)?;
    assert!(locked["seq"].as_u64() < close["seq"].as_u64(), "the record comes first");
    Ok(())
}

/// One request through a forwarded port, on a connection that stays open.
fn used(address: &str) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /there HTTP/1.1\r\nHost: sample\r\n\r\n")?;
    let mut answer = [0; 15];
    stream.read_exact(&mut answer)?;
    ensure!(answer == *b"HTTP/1.1 200 OK", "{answer:?}");
    Ok(stream)
}

/// What a person reads who forwards a port when they are locked out, as docs/how-to/lock-somebody-out.md says it.
#[test]
fn h_18_a_port_forward_reads_of_a_lock_where_a_connection_is_open_and_ends_in_every_case() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let port = port(&listens(&world()?.admin()?, "shop", "near", "near")?)?;
    let carol = Person::signed_in(&gateway, "carol")?;
    for way in Way::BOTH {
        let alice = gateway.kubectl("alice", &gateway.sign_in("alice")?.token)?.over(way);
        let begin = || -> anyhow::Result<(Running, String)> {
            let mut forward = alice.start(&["port-forward", "pod/near", "-n", "shop", &format!(":{port}")])?;
            let address = forward.forwards()?;
            Ok((forward, address))
        };
        let ((mut idle, _), (mut busy, address)) = (begin()?, begin()?);
        let _connection = used(&address)?;
        carol.ok("gatescribe user lock alice@example.com --reason TICKET-4711")?;
        let why = "ended by the gateway: alice@example.com is locked by carol@example.com: TICKET-4711";
        for (forward, is_told) in [(&mut idle, false), (&mut busy, true)] {
            let code = forward.end()?;
            let said = forward.lines().join("\n");
            println!("{way} told={is_told} code={code}\n{said}");
            assert_eq!(code, 1, "{way}: {said}");
            assert!(said.contains("lost connection to pod"), "{way}: {said}");
            assert_eq!(said.contains(why), is_told, "{way}: {said}");
        }
        carol.ok("gatescribe user unlock alice@example.com --reason found-again")?;
    }
    Ok(())
}

#[test]
fn a_session_that_ends_is_read_of_in_the_pod() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::default())?;
    let (leaving, staying) = (gateway.sign_in("alice")?, gateway.sign_in("alice")?);
    let mut left = both_ways(&gateway.kubectl("alice-1", &leaving.token)?)?;
    let stayed = both_ways(&gateway.kubectl("alice-2", &staying.token)?)?;
    gateway.revoke(&leaving.handle)?;
    for exec in &mut left {
        has_read(exec, "ended by the gateway: the sign-in has ended: you signed out")?;
    }
    stayed.iter().try_for_each(Running::goes_on)
}

#[test]
fn an_issuers_key_that_is_withdrawn_is_read_of_in_the_pod() -> anyhow::Result<()> {
    let options = Options {
        more: Some(json!({ "identity": { "providers": [{ "acceptAudiences": ["kubernetes"] }] } })),
        ..Options::default()
    };
    let gateway = Gateway::start(world()?, &options)?;
    let alice = gateway.kubectl("alice", &gateway.provider.raw_token("alice")?)?;
    let bob = gateway.kubectl_of("bob")?;
    let (mut hers, his) = (both_ways(&alice)?, both_ways(&bob)?);
    gateway.provider.control("/rotate", &json!({ "withdraw": true }))?;
    // A token of the new key makes the gateway look for it.
    let newer = gateway.kubectl("newer", &gateway.provider.raw_token("alice")?)?;
    try_until("the new key is known", PATIENCE, || newer.ok(&LOOK).map(drop))?;
    for exec in &mut hers {
        has_read(
            exec,
            "ended by the gateway: the key that signed the token is published by its issuer no longer",
        )?;
    }
    his.iter().try_for_each(Running::goes_on)
}

/// No newer token tells the gateway of it, and the key's age is an hour: the operator does.
#[test]
fn o_15_a_withdrawn_key_counts_no_longer_at_the_operators_signal() -> anyhow::Result<()> {
    let options = Options {
        more: Some(json!({ "identity": { "providers": [{ "acceptAudiences": ["kubernetes"] }] } })),
        ..Options::default()
    };
    let gateway = Gateway::start(world()?, &options)?;
    let alice = gateway.kubectl("alice", &gateway.provider.raw_token("alice")?)?;
    let bob = gateway.kubectl_of("bob")?;
    let (mut hers, his) = (both_ways(&alice)?, both_ways(&bob)?);
    gateway.provider.control("/rotate", &json!({ "withdraw": true }))?;
    alice.ok(&LOOK)?;
    gateway.process().signal(Signal::SIGHUP)?;
    for exec in &mut hers {
        has_read(
            exec,
            "ended by the gateway: the key that signed the token is published by its issuer no longer",
        )?;
    }
    assert_eq!(alice.run(&LOOK)?.code, 1, "refused from then on");
    his.iter().try_for_each(Running::goes_on)?;
    // Each is what it is called.
    let records = gateway.records()?;
    let mut methods: Vec<&Value> = opens(&records, |open| open["req"]["action"] == "exec")
        .map(|open| &open["req"]["method"])
        .collect();
    methods.sort_by_key(ToString::to_string);
    assert_eq!(methods, ["GET", "GET", "POST", "POST"]);
    Ok(())
}

/// Nobody renews: the gateway itself asks the provider about whoever has something open.
#[test]
fn oidc_28_whose_group_is_taken_at_the_provider_reads_it_in_the_pod_without_a_renewal() -> anyhow::Result<()> {
    let options = Options {
        identity: Some(json!({ "session": { "recheck": "1s" } })),
        ..Options::default()
    };
    let gateway = Gateway::start(world()?, &options)?;
    let alice = gateway.kubectl_of("alice")?;
    let bob = gateway.kubectl_of("bob")?;
    let (mut hers, his) = (both_ways(&alice)?, both_ways(&bob)?);
    let mut watch = alice.start(&["get", "configmaps", "-n", "shop", "--watch", "-o", "name"])?;
    watch.line("the list before the watch", |line| line == "configmap/here")?;
    gateway.has_open(5)?;
    hers.iter().try_for_each(Running::goes_on)?;
    let changed = json!({ "id": "alice", "claims": { "groups": ["another"] } });
    gateway.provider.control("/people", &changed)?;
    for exec in &mut hers {
        has_read(
            exec,
            "ended by the gateway: what the identity provider says of you has changed: no role",
        )?;
    }
    watch.end()?;
    his.iter().try_for_each(Running::goes_on)?;
    // The token that she holds still says the group.
    let refused = alice.run(&["exec", "web", "-n", "shop", "--", "true"])?;
    assert!(refused.code == 1 && refused.stderr.contains("no role"), "{refused}");
    bob.ok(&LOOK)?;
    let records = gateway.records_with("the change", |records| {
        records
            .iter()
            .any(|record| record["person"]["what"] == "identityChanged")
    })?;
    let changes = records
        .iter()
        .filter(|record| record["person"]["what"] == "identityChanged");
    assert_eq!(changes.count(), 1, "said once, and of nobody else");
    Ok(())
}

/// Whoever is gone at the provider loses the whole sign-in.
#[test]
fn oidc_28_whom_the_provider_no_longer_knows_reads_it_in_the_pod_without_a_renewal() -> anyhow::Result<()> {
    let options = Options {
        identity: Some(json!({ "session": { "recheck": "1s" } })),
        ..Options::default()
    };
    let gateway = Gateway::start(world()?, &options)?;
    let (alice, bob) = (gateway.kubectl_of("alice")?, gateway.kubectl_of("bob")?);
    let (mut hers, his) = (talks(&alice, Way::WebSocket)?, talks(&bob, Way::WebSocket)?);
    gateway.provider.control("/disable", &json!({ "id": "alice" }))?;
    has_read(
        &mut hers,
        "ended by the gateway: the sign-in has ended: the identity provider no longer vouches for you",
    )?;
    his.goes_on()
}

#[test]
fn a_rule_that_is_removed_is_read_of_in_the_pod() -> anyhow::Result<()> {
    let gateway = Gateway::start(world()?, &Options::ruled(GUESTS))?;
    let guest = json!({ "id": "alice", "claims": { "groups": ["guest"] } });
    gateway.provider.control("/people", &guest)?;
    let alice = gateway.kubectl_of("alice")?;
    let bob = gateway.kubectl_of("bob")?;
    let (mut hers, his) = (both_ways(&alice)?, both_ways(&bob)?);
    // As editors and projected volumes do: another file under the same name.
    let draft = gateway.file("rules.draft");
    std::fs::write(&draft, NO_GUESTS)?;
    std::fs::rename(draft, gateway.file("rules.yaml"))?;
    for exec in &mut hers {
        has_read(exec, "ended by the gateway: no role")?;
    }
    his.iter().try_for_each(Running::goes_on)
}
