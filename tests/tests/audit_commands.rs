//! `gatescribe audit search | show | tail`, by the gateway and from the ledger's files beside it, and `gatescribe idp test`.

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, Running};
use tests::person::Person;
use tests::pods::{dev_does_all, namespace};
use tests::wait::{PATIENCE, try_until};

fn gateway() -> anyhow::Result<Gateway> {
    let cluster = Cluster::shared()?;
    cluster
        .admin()?
        .apply(&[namespace("told"), dev_does_all("told")].concat())?;
    Gateway::start(cluster, &Options::default())
}

fn create(person: &Person<'_>, name: &str) -> anyhow::Result<()> {
    let line = format!("kubectl create configmap {name} -n told --from-literal=a=b");
    person.ok(&line).map(drop)
}

#[test]
fn the_files_of_a_ledger_that_is_being_written_say_what_the_gateway_says() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
    create(&alice, "in-files")?;
    alice.ok("kubectl get configmap in-files -n told")?;
    assert_eq!(alice.types("kubectl get configmap in-files -n default")?.code, 1);
    let dir = format!("--dir {}", gateway.ledger().display());
    // The gateway still writes into these files; both look at the same three acts once their ends are there.
    let question = "gatescribe audit search name:in-files -o json";
    let by_gateway = try_until("the three acts have ended", PATIENCE, || {
        let found = carol.ok(question)?.json()?;
        let records = found["records"].as_array().context("records")?.clone();
        let ended = records.iter().filter(|record| record["outcome"]["end"] != "inFlight");
        ensure!(records.len() == 3 && ended.count() == 3, "{found}");
        Ok(records)
    })?;
    let by_files = carol.ok(&format!("{question} {dir}"))?;
    assert_eq!(by_files.json()?["records"], Value::Array(by_gateway.clone()));
    let table = |line: &str| carol.ok(line).map(|found| found.stdout);
    let question = "gatescribe audit search name:in-files";
    assert_eq!(table(question)?, table(&format!("{question} {dir}"))?);

    let id = by_gateway[0]["id"].as_str().context("an id")?;
    let show = format!("gatescribe audit show {id} -o json");
    let shown = carol.ok(&format!("{show} {dir}"))?.json()?;
    assert_eq!(shown["record"]["id"], id, "{shown}");
    assert_eq!(shown["record"], carol.ok(&show)?.json()?["record"]);
    for (line, code, words) in [
        (
            format!("gatescribe audit search name:nowhere {dir}"),
            1,
            "nothing found",
        ),
        (
            format!("gatescribe audit search status:soon {dir}"),
            2,
            "the query is not understood",
        ),
        (
            format!("gatescribe audit tail status:soon {dir}"),
            2,
            "the query is not understood",
        ),
        (
            format!("gatescribe audit show 0192f0c1-7c3e-7d00-a000-0000000007f3 {dir}"),
            5,
            "there is no record",
        ),
        (
            "gatescribe audit search --dir nowhere".to_owned(),
            9,
            "the ledger cannot be read",
        ),
        (
            format!("gatescribe audit show {id} --dir nowhere"),
            9,
            "the ledger cannot be read",
        ),
        (
            "gatescribe audit tail --dir nowhere".to_owned(),
            9,
            "the ledger cannot be read",
        ),
    ] {
        let told = carol.types(&line)?;
        assert!(told.code == code && told.stderr.contains(words), "{line}: {told}");
        assert_eq!(told.stdout, "", "{line}");
    }

    // Nothing says when it has begun, so acts are made until one arrives.
    let mut tail = Running::start(carol.command(&format!("gatescribe audit tail verb:create {dir}"))?)?;
    let mut number = 0;
    let row = try_until("an act arrives from the files", PATIENCE, || {
        number += 1;
        create(&alice, &format!("followed-{number}"))?;
        let lines = tail.lines();
        let row = lines
            .iter()
            .find(|line| line.contains("kubectl create configmap followed-"))
            .cloned();
        row.with_context(|| format!("{lines:?}"))
    })?;
    assert!(row.contains("alice@example.com") && row.contains("-n told"), "{row}");
    tail.kill_hard()?;
    let mut tail = Running::start(carol.command(&format!("gatescribe audit tail {dir}"))?)?;
    try_until("what is folded away is counted", PATIENCE, || {
        // Her question is a record, and no act of anybody.
        carol.types("gatescribe audit search name:nowhere")?;
        let lines = tail.lines();
        let is_counted = |line: &String| line.contains("folded away: ") && line.contains(" of reading the audit");
        ensure!(lines.iter().any(is_counted), "{lines:?}");
        Ok(())
    })?;
    tail.kill_hard()
}

#[test]
fn a_followed_act_comes_as_one_row_and_discovery_is_folded_with_a_count() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let mut tail = Running::start(alice.command("gatescribe audit tail namespace:told")?)?;
    // The note is the first thing that the gateway sends, after it has begun to follow.
    tail.line("the note that it has begun", |line| {
        line.contains("your own records only")
    })?;
    create(&alice, "row")?;
    alice.ok("kubectl delete configmap row -n told")?;
    // Its name is the server's choice: neither path nor body says it.
    std::fs::write(
        alice.folder().join("made.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { generateName: made- }\n",
    )?;
    let said = alice.ok("kubectl create -f made.yaml -n told")?.stdout;
    let made = said.trim().strip_prefix("configmap/").context("a name")?;
    let made = made.strip_suffix(" created").context("it was created")?;
    let rows = [
        ("kubectl create configmap row -n told".to_owned(), "201"),
        ("kubectl delete configmap row -n told".to_owned(), "200"),
        (format!("kubectl create configmap {made} -n told"), "201"),
    ];
    for (act, status) in &rows {
        let is_it = |line: &str| line.contains(act) && line.contains(status);
        let row = tail.line("the row of an act", is_it)?;
        for words in ["alice@example.com", "bench", "✔"] {
            assert!(row.contains(words), "no `{words}` in {row}");
        }
        // An act that took long is told before its end, too.
        let ended = tail.lines().into_iter().filter(|line| is_it(line)).count();
        assert_eq!(ended, 1, "{act}");
        let found = alice.ok(&format!(
            "gatescribe audit search name:{}",
            act.split(' ').nth(3).context("a name")?
        ))?;
        assert!(found.stdout.lines().any(is_it), "{found}");
    }
    let heads = tail.lines().into_iter().filter(|line| line.contains("TIME (UTC)"));
    assert_eq!(heads.count(), 1);
    tail.kill_hard()?;

    // kubectl looked around first, which is no act of hers.
    let search = "gatescribe audit search user:alice@example.com --limit 500";
    let folded = alice.ok(search)?;
    assert!(
        folded.stderr.contains("folded away: ") && folded.stderr.contains(" of discovery"),
        "{folded}"
    );
    let whole = alice.ok(&format!("{search} --all"))?;
    assert!(!whole.stderr.contains("folded away"), "{whole}");
    let looked_around = |found: &Output| {
        found
            .stdout
            .lines()
            .filter(|line| line.contains("/openapi") || line.contains("/api"))
            .count()
    };
    assert_eq!(looked_around(&folded), 0, "{folded}");
    assert!(looked_around(&whole) > 0, "{whole}");
    let count = alice.ok(&format!("{search} -o json"))?.json()?["folded"]["discovery"].as_u64();
    assert_eq!(
        count.and_then(|count| usize::try_from(count).ok()),
        Some(looked_around(&whole)),
        "{whole}"
    );
    Ok(())
}

#[test]
fn a_person_sees_what_arrived_of_a_new_sign_in_and_what_it_is_good_for() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let session = |told: &Value| told["session"].clone();
    let before = alice.ok("gatescribe whoami -o json")?.json()?;
    let said = alice.signs_in("gatescribe idp test")?;
    for words in [
        "alice@example.com",
        "corp",
        "mapping",
        "what the provider said",
        "email_verified",
        "bindings in bench",
        "by group dev",
    ] {
        assert!(said.contains(words), "no `{words}` in\n{said}");
    }
    let after = alice.ok("gatescribe whoami -o json")?.json()?;
    assert_ne!(session(&before), session(&after), "it signed in anew");
    alice.ok("kubectl get configmaps -n told")?;
    // Somebody without groups is told so.
    let dave = Person::new(&gateway, "dave")?;
    let said = dave.signs_in(&format!("gatescribe idp test --gateway {}", gateway.url))?;
    assert!(
        said.contains("dave@example.com") && said.contains("groups     none"),
        "{said}"
    );
    assert!(!said.contains("by group dev"), "{said}");
    Ok(())
}

/// Bob's group reads one namespace and no names; he is told so, and finds nobody by a name.
#[test]
fn an_audit_role_shows_its_namespace_without_what_it_hides_and_says_so() -> anyhow::Result<()> {
    let cluster = Cluster::shared()?;
    for name in ["told-part", "told-else"] {
        cluster
            .admin()?
            .apply(&[namespace(name), dev_does_all(name)].concat())?;
    }
    let role =
        json!({ "name": "council", "groups": ["sre"], "namespaces": ["told-p*"], "hide": ["people", "addresses"] });
    let identity = Some(json!({ "auditRoles": [role] }));
    let gateway = Gateway::start(
        cluster,
        &Options {
            identity,
            ..Options::default()
        },
    )?;
    let [alice, bob, carol] = Person::all_signed_in(&gateway, ["alice", "bob", "carol"])?;
    for place in ["told-part", "told-else"] {
        alice.ok(&format!(
            "kubectl create configmap in-{place} -n {place} --from-literal=a=b"
        ))?;
    }
    let found = bob.ok("gatescribe audit search name:in-told-part,in-told-else")?;
    assert!(
        found.stdout.contains("in-told-part") && !found.stdout.contains("in-told-else"),
        "{found}"
    );
    assert!(
        found.stdout.contains("(hidden)") && !found.stdout.contains("alice"),
        "{found}"
    );
    assert!(found.stderr.contains("what the audit role council shows"), "{found}");
    let row = bob.ok("gatescribe audit search name:in-told-part -o json")?.json()?["records"][0].clone();
    assert!(row["net"].is_null() && row["who"]["id"].is_string(), "{row}");
    assert_eq!(
        bob.types("gatescribe audit search user:alice name:in-told-part")?.code,
        1
    );
    let id = row["id"].as_str().context("an id")?;
    let shown = bob.ok(&format!("gatescribe audit show {id} -o json"))?;
    assert!(
        !shown.stdout.contains("alice") && shown.json()?["records"] == json!([]),
        "{shown}"
    );
    let taken = bob.types(&format!("gatescribe audit receipt {id} -o taken"))?;
    assert!(taken.code == 4 && taken.stderr.contains("may: [receipts]"), "{taken}");
    let can = bob.ok("gatescribe audit can")?.stdout;
    for words in ["council", "told-p*", "people, addresses", "nothing else"] {
        assert!(can.contains(words), "no `{words}` in {can}");
    }
    let can = carol.ok("gatescribe audit can")?.stdout;
    assert!(can.contains("identity.auditGroups") && can.contains("sre"), "{can}");
    let asked = carol
        .ok("gatescribe audit search kind:auditread user:bob --all")?
        .stdout;
    assert!(asked.contains("searched own and council's records for"), "{asked}");
    Ok(())
}
