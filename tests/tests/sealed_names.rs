//! `ledger.names: sealed`: who a person was stands in no file of the ledger, is read by whoever may see it, and is nowhere after an erasure,
//! while every proof holds (promises 5 and 6).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::caller::{Caller, JSON, roles};
use tests::cluster::Cluster;
use tests::collector::Collector;
use tests::gateway::{Gateway, Options};
use tests::http::Client;
use tests::kubectl::{Way, run};
use tests::once::Once;
use tests::person::Person;
use tests::pods::{kept, nowhere};
use tests::rules::entering;
use tests::wait::{PATIENCE, try_until};

/// By what the provider and the cluster know her; no object of hers is called so.
const ALICE: &str = "alice@example.com";
const NAMES: [&str; 4] = [ALICE, "carol@example.com", "dave@example.com", "bob@example.com"];

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    WORLD.get(|| Cluster::with_pods(&[kept(), nowhere("kept")].concat()))
}

fn gateway(names: &str) -> anyhow::Result<Gateway> {
    gateway_with(json!({"ledger": {"names": names}}))
}

fn gateway_with(more: Value) -> anyhow::Result<Gateway> {
    let place = "namespaces: [kept], verbs: [create], resources: [pods/exec]";
    let mut options = Options::ruled(entering("kept-is-recorded", place, "record: true"));
    options.more = Some(more);
    let gateway = Gateway::start(world()?, &options)?;
    let dave = json!({"id": "dave", "claims": {"groups": ["auditor"]}});
    gateway.provider.control("/people", &dave)?;
    Ok(gateway)
}

/// Every file below it.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

/// Files below it in which one of these words stands, with the words.
fn where_stand(folder: &Path, words: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for file in files(folder)? {
        let bytes = fs::read(&file)?;
        let standing = words
            .iter()
            .filter(|word| memchr::memmem::find(&bytes, word.as_bytes()).is_some());
        found.extend(standing.map(|word| format!("{word} in {}", file.display())));
    }
    Ok(found)
}

/// A call of each sort, and what auditors do about somebody: each names her somewhere.
fn is_named_everywhere(gateway: &Gateway, [alice, carol, dave, bob]: [&Person<'_>; 4]) -> anyhow::Result<()> {
    let kubectl = |person: &Person<'_>, words: &[&str]| -> anyhow::Result<i32> {
        Ok(run(person.kubectl(Way::WebSocket, words)?, "", PATIENCE)?.code)
    };
    ensure!(kubectl(alice, &["get", "pods", "-n", "kept"])? == 0);
    ensure!(kubectl(alice, &["exec", "shell", "-n", "kept", "--", "echo", "hello"])? == 0);
    kubectl(alice, &["create", "configmap", "settings", "-n", "kept"])?;
    // Allowed or refused: she is named in both.
    kubectl(alice, &["get", "secrets", "-n", "kube-system"])?;
    kubectl(bob, &["get", "pods", "-n", "kept", "--as", ALICE])?;
    carol.ok(&format!("gatescribe audit search user:{ALICE}"))?;
    carol.ok(&format!("gatescribe user lock {ALICE} --reason TICKET-1"))?;
    carol.ok(&format!("gatescribe user unlock {ALICE} --reason found-again"))?;
    let held = dave.ok(&format!("gatescribe hold create --subject {ALICE} --reason TICKET-2"))?;
    carol.ok(&format!("gatescribe hold release {} --reason over", held.stdout.trim()))?;
    let recorded = |records: &[Value]| records.iter().any(|record| record["kind"] == "hold");
    gateway.records_with("a hold", recorded).map(drop)
}

/// Two people erase all that is sealed of her.
fn is_erased([carol, dave]: [&Person<'_>; 2]) -> anyhow::Result<()> {
    let ask = format!("gatescribe ledger erase --subject {ALICE} --reason TICKET-3");
    let request = carol.ok(&ask)?.stdout.trim().to_owned();
    let told = dave.ok(&format!("gatescribe ledger erase --agree {request}"))?;
    ensure!(told.stderr.contains("keys destroyed"), "{told}");
    Ok(())
}

#[test]
fn promise_6_where_names_are_sealed_a_name_is_in_no_file_of_the_ledger_and_after_its_erasure_in_none()
-> anyhow::Result<()> {
    let mut gateway = gateway("sealed")?;
    let key = gateway.public_key()?;
    let data = gateway.file("data");
    {
        let [alice, carol, dave, bob] = Person::all_signed_in(&gateway, ["alice", "carol", "dave", "bob"])?;
        is_named_everywhere(&gateway, [&alice, &carol, &dave, &bob])?;
        // The lock has ended her sign-in already.
        alice.types("gatescribe logout")?;
        let none: [String; 0] = [];
        for folder in [gateway.ledger(), data.join("recordings")] {
            assert_eq!(where_stand(&folder, &NAMES)?, none, "no file names anybody");
        }
        for name in NAMES {
            assert!(!gateway.log().contains(name), "the log names {name}: {}", gateway.log());
        }

        // Whoever may see names reads them, and finds by them.
        let found = carol.ok(&format!("gatescribe audit search user:{ALICE} -o json"))?;
        assert!(
            found.stdout.contains(ALICE) && found.stdout.contains("\"resource\": \"pods\""),
            "{found}"
        );
        carol.ok(&format!("gatescribe evidence pack user:{ALICE} -o pack.html"))?;
        carol.ok(&format!("gatescribe evidence verify pack.html --key {key}"))?;

        is_erased([&carol, &dave])?;
        assert_eq!(where_stand(&data, &[ALICE])?, none, "she is named in no file any more");
        assert!(!gateway.log().contains(ALICE));
        let all = carol.ok("gatescribe audit search resource:pods ns:kept -user:bob@example.com -o json")?;
        assert!(
            all.stdout.contains("erased person ") && !all.stdout.contains(ALICE),
            "{all}"
        );
        assert_eq!(
            carol
                .types(&format!(
                    "gatescribe audit search user:{ALICE} resource:pods verb:list ns:kept"
                ))?
                .code,
            1
        );
    }
    gateway.stop()?;
    let carol = Person::new(&gateway, "carol")?;
    let told = carol.types(&format!(
        "gatescribe ledger verify {} --key {key}",
        gateway.ledger().display()
    ))?;
    assert_eq!(told.code, 0, "every proof holds: {told}");
    assert!(told.stdout.contains("erased, with proof"), "{told}");
    let told = carol.ok(&format!(
        "gatescribe audit search resource:pods ns:kept --dir {}",
        gateway.ledger().display()
    ))?;
    assert!(told.stdout.contains("sealed name "), "files alone name nobody: {told}");
    drop(carol);
    gateway.start_again()?;
    {
        let carol = Person::signed_in(&gateway, "carol")?;
        let all = carol.ok("gatescribe audit search resource:pods ns:kept -user:bob@example.com -o json")?;
        assert!(
            all.stdout.contains("erased person ") && !all.stdout.contains(ALICE),
            "also after a start: {all}"
        );
    }
    Ok(())
}

/// By what else she is known: to the provider (the issuer's word for her, a display name, a group that is hers alone), by her machine, and by the
/// reason that she states.
const HERS: [&str; 5] = [
    "alice",
    "Wonderland",
    "home-of-alicia",
    "laptop-of-alicia",
    "cousin-of-alicia",
];
/// Others, somebody whom nobody knows, and an account.
const THEIRS: [&str; 6] = [
    "carol@example.com",
    "dave@example.com",
    "bob@example.com",
    "Carol Auditor",
    "trudy",
    "system:serviceaccount:robots:robot",
];

/// Calls by which she and others could be told: each with one more word that tells.
fn is_told_by_everything(gateway: &Gateway, [alice, carol, bob]: [&Person<'_>; 3]) -> anyhow::Result<()> {
    alice.ok("gatescribe reason cousin-of-alicia-asked")?;
    for words in [
        &["get", "pods", "-n", "kept"][..],
        &["exec", "shell", "-n", "kept", "--", "echo", "hello"],
    ] {
        ensure!(run(alice.kubectl(Way::WebSocket, words)?, "", PATIENCE)?.code == 0);
    }
    let signed_in = gateway.sign_in("alice")?;
    let by_hand = Caller::new(gateway, &signed_in.token)?;
    let agent = [("User-Agent", "laptop-of-alicia/1.0")];
    let (_, status, _) = by_hand.call("GET", "/api/v1/namespaces/kept/pods", &agent, b"")?;
    ensure!(status == 200, "{status}");
    gateway.revoke(&signed_in.handle)?;
    // An account whose token somebody was handed out.
    let bob_s = Caller::new(gateway, &gateway.sign_in("bob")?.token)?;
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [gateway.url]}});
    let path = "/api/v1/namespaces/robots/serviceaccounts/robot/token";
    let (_, status, body) = bob_s.call("POST", path, &[JSON], request.to_string().as_bytes())?;
    let answer: Value = serde_json::from_slice(&body)?;
    ensure!(status == 201, "{answer}");
    let robot = Caller::new(gateway, answer["status"]["token"].as_str().context("a token")?)?;
    let (_, status, _) = robot.call("GET", "/api/v1/namespaces/robots/configmaps", &[], b"")?;
    ensure!(status == 200, "{status}");
    // Strangers: a token that is none, a name that nobody has, and somebody who may not act as another.
    let client: Client = gateway.client()?;
    let refused = client.get("/clusters/bench/api/v1/pods", &[("Authorization", "Bearer trudy")])?;
    ensure!(refused.status == 401, "{}", refused.status);
    gateway
        .visit("corp", "trudy")
        .map(drop)
        .or_else(|_| gateway.visit("trudy", "trudy").map(drop))?;
    run(
        bob.kubectl(
            Way::WebSocket,
            &["get", "pods", "-n", "kept", "--as", "trudy@example.com"],
        )?,
        "",
        PATIENCE,
    )?;
    // Of whom records are looked at, in whatever words.
    for search in ["user:alice@example.com", "Wonderland", "user:trudy"] {
        carol.types(&format!("gatescribe audit search {search}"))?;
    }
    let is_there = |records: &[Value]| records.iter().any(|record| record["kind"] == "issued");
    gateway.records_with("the issued credential", is_there).map(drop)
}

/// The traces of the reads in these records: a trace has the id of its request.
fn reads(records: &[Value]) -> impl Iterator<Item = String> {
    let reads = records.iter().filter(|record| record["kind"] == "access");
    reads.filter_map(|record| Some(record["id"].as_str()?.replace('-', "")))
}

#[test]
fn promise_6_where_names_are_sealed_no_other_word_says_who_somebody_is_in_ledger_recordings_log_metrics_traces_or_packs()
-> anyhow::Result<()> {
    let collector = Collector::start()?;
    let gateway = gateway_with(json!({
        "ledger": {"names": "sealed"}, "log": {"level": "debug"}, "telemetry": {"otlp": {"endpoint": collector.endpoint()}},
        "identity": {"serviceAccounts": {"accept": true}},
    }))?;
    world()?.admin()?.apply(&roles("robots", "sre"))?;
    let claims = json!({"name": "Alicia Wonderland", "groups": ["dev", "home-of-alicia"]});
    gateway
        .provider
        .control("/people", &json!({"id": "alice", "claims": claims}))?;
    let data = gateway.file("data");
    let [alice, carol, dave, bob] = Person::all_signed_in(&gateway, ["alice", "carol", "dave", "bob"])?;
    is_told_by_everything(&gateway, [&alice, &carol, &bob])?;
    // Whoever has a list of people computes this of each.
    let id = proxy::identity::subject_id(&gateway.provider.issuer, "alice").to_string();
    let found = carol.ok(&format!("gatescribe audit search user:{ALICE} -o json"))?;
    assert!(found.stdout.contains(&id), "whoever may see names sees it: {found}");
    carol.ok("gatescribe evidence pack resource:pods -o pack.html")?;
    alice.ok("gatescribe logout")?;

    let mut words = [&HERS[..], &THEIRS, &[id.as_str()]].concat();
    let none: [String; 0] = [];
    for folder in [gateway.ledger(), data.join("recordings")] {
        assert_eq!(where_stand(&folder, &words)?, none);
    }
    let records = gateway.records_with("her reads and others'", |records| reads(records).count() > 1)?;
    try_until("the traces of all reads have come, hers among them", PATIENCE, || {
        let spans = collector.spans();
        let has_come = |trace: &String| spans.iter().any(|span| hex::encode(&span.trace_id) == *trace);
        ensure!(reads(&records).all(|trace| has_come(&trace)), "{} spans", spans.len());
        Ok(())
    })?;
    let metrics =
        tests::browser::Browser::default().request("GET", &format!("http://{}/metrics", gateway.admin()), "")?;
    let said = [
        ("the log", gateway.log().into_bytes()),
        ("metrics", metrics.body.into_bytes()),
        ("traces", collector.bytes()),
    ];
    for (place, bytes) in said {
        for word in &words {
            assert!(
                memchr::memmem::find(&bytes, word.as_bytes()).is_none(),
                "{place} says {word}: {}",
                gateway.log()
            );
        }
    }
    // Its maker may see names, and it is given to somebody who may not.
    let pack = fs::read(carol.folder().join("pack.html"))?;
    words.retain(|word| *word != "carol@example.com" && *word != "Carol Auditor");
    for word in &words {
        assert!(
            memchr::memmem::find(&pack, word.as_bytes()).is_none(),
            "the pack says {word}"
        );
    }

    // What a lock leaves in the state file goes as well.
    carol.ok(&format!("gatescribe user lock {ALICE} --reason TICKET-1"))?;
    carol.ok(&format!("gatescribe user unlock {ALICE} --reason found-again"))?;
    is_erased([&carol, &dave])?;
    let hers = [&HERS[..], &[id.as_str()]].concat();
    assert_eq!(
        where_stand(&data, &hers)?,
        none,
        "she is in no file any more, the state file included"
    );
    Ok(())
}

#[test]
fn a_ledger_that_was_begun_with_names_in_the_clear_is_not_gone_on_with_sealed_and_says_so() -> anyhow::Result<()> {
    let mut gateway = gateway("clear")?;
    drop(Person::signed_in(&gateway, "alice")?);
    gateway.stop()?;
    let told = fs::read_to_string(gateway.config())?;
    let names = try_until("the file has it", PATIENCE, || told.find("clear").context("names"))?;
    let mut changed = told.clone();
    changed.replace_range(names..names + "clear".len(), "sealed");
    fs::write(gateway.config(), changed)?;
    assert!(gateway.start_again().is_err());
    let log = gateway.log();
    assert!(log.contains("a ledger never changes how it names them"), "{log}");
    fs::write(gateway.config(), told)?;
    gateway.start_again()
}
