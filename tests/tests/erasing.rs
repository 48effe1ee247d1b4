//! `gatescribe ledger erase` and `gatescribe hold`: two people erase what is sealed of a third, what was erased stays erased, and every proof
//! of it holds (promise 5).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Way, run};
use tests::once::Once;
use tests::person::Person;
use tests::pods::{kept, nowhere};
use tests::rules::entering;
use tests::wait::{PATIENCE, try_until};

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    WORLD.get(|| Cluster::with_pods(&[kept(), nowhere("kept")].concat()))
}

/// A gateway that records commands in the namespace, with two auditors.
fn gateway() -> anyhow::Result<Gateway> {
    gateway_with(None)
}

fn gateway_with(more: Option<Value>) -> anyhow::Result<Gateway> {
    let place = "namespaces: [kept], verbs: [create], resources: [pods/exec]";
    let rules = entering("kept-is-recorded", place, "record: true");
    let options = Options {
        more,
        ..Options::ruled(rules)
    };
    let gateway = Gateway::start(world()?, &options)?;
    let dave = json!({"id": "dave", "claims": {"groups": ["auditor"]}});
    gateway.provider.control("/people", &dave)?;
    Ok(gateway)
}

/// Alice says this in the pod; gives the session's id.
fn says(alice: &Person<'_>, auditor: &Person<'_>, words: &str) -> anyhow::Result<String> {
    let line = format!("echo {words}");
    let command = alice.kubectl(
        Way::WebSocket,
        &["exec", "shell", "-n", "kept", "--", "sh", "-c", &line],
    )?;
    let said = run(command, "", PATIENCE)?;
    ensure!(said.code == 0 && said.stdout.contains(words), "{said}");
    try_until("the session is listed with its end", PATIENCE, || {
        let listed = auditor.sessions("user:alice ns:kept")?;
        let newest = listed.first().context("a session")?;
        ensure!(newest["outcome"]["exit_code"] == 0, "{newest}");
        let id = newest["id"].as_str().context("an id")?;
        let shown = auditor.ok(&format!("gatescribe audit show {id} -o json"))?.json()?;
        ensure!(shown["parts"]["command"][2] == line.as_str(), "{shown}");
        Ok(id.to_owned())
    })
}

/// What is said of the words of its command in place of them.
fn unreadable(auditor: &Person<'_>, id: &str) -> anyhow::Result<String> {
    let shown = auditor.ok(&format!("gatescribe audit show {id} -o json"))?.json()?;
    let why = shown["parts"]["command"]["unreadable"].as_str();
    why.map(str::to_owned).with_context(|| format!("it is read: {shown}"))
}

fn pack(auditor: &Person<'_>, file: &str) -> anyhow::Result<()> {
    try_until("it is signed", PATIENCE, || {
        let _ = fs::remove_file(auditor.folder().join(file));
        auditor.ok(&format!("gatescribe evidence pack user:alice -o {file}"))
    })
    .map(drop)
}

fn files_of_the_store(gateway: &Gateway) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|end| gateway.file("data").join(format!("state.sqlite{end}")))
}

/// Made by `age-keygen`, for this story alone.
const RECIPIENT: &str = "age1gyk3fjxz8ew36ynuaxgn8vvsrzrcavxvg7dtndecctps5ven950ql2mjv5";
const IDENTITY: &str = "AGE-SECRET-KEY-1FJJHFAY0KWM8CRP2CVQTZ79XUQYMRER02Z6SQ07MDZNJMDAPE7MSM9J60Q";

/// `gatescribe ledger keys` with the gateway's own configuration.
fn keys(person: &Person<'_>, gateway: &Gateway, words: &str) -> anyhow::Result<tests::kubectl::Output> {
    let line = format!("gatescribe ledger keys {words} --config {}", gateway.config().display());
    person.types(&line)
}

fn backs_up(person: &Person<'_>, gateway: &Gateway, name: &str) -> anyhow::Result<()> {
    let file = gateway.file(name);
    let told = keys(
        person,
        gateway,
        &format!("backup {} --recipient {RECIPIENT}", file.display()),
    )?;
    ensure!(told.code == 0, "{told}");
    Ok(())
}

/// The keys of both backups come back but the erased ones, while the gateway stands still and not before.
fn puts_back(gateway: &mut Gateway, public: &str, [before, after]: [&str; 2]) -> anyhow::Result<()> {
    let identity = gateway.file("identity.txt");
    fs::write(&identity, format!("{IDENTITY}\n"))?;
    let restore = |gateway: &Gateway, name: &str| {
        let words = format!(
            "restore {} --identity {}",
            gateway.file(name).display(),
            identity.display()
        );
        keys(&Person::new(gateway, "carol")?, gateway, &words)
    };
    let told = restore(gateway, after)?;
    ensure!(told.code == 6 && told.stderr.contains("is in use"), "{told}");
    gateway.stop()?;
    let told = verify(&Person::new(gateway, "carol")?, &gateway.ledger(), public)?;
    ensure!(
        told.code == 0
            && told
                .stdout
                .contains("not shown: what the parts say, and whether somebody has a key"),
        "proofs need no key, and say nothing of keys: {told}"
    );
    let told = restore(gateway, before)?;
    ensure!(
        told.code == 0 && told.stderr.contains("2 were erased and stay so"),
        "{told}"
    );
    let told = restore(gateway, after)?;
    ensure!(told.code == 0 && told.stderr.contains("0 were erased"), "{told}");
    Ok(())
}

fn verify(person: &Person<'_>, dir: &Path, key: &str) -> anyhow::Result<tests::kubectl::Output> {
    person.types(&format!("gatescribe ledger verify {} --key {key}", dir.display()))
}

#[test]
fn two_people_erase_and_what_was_erased_stays_so_and_every_proof_holds() -> anyhow::Result<()> {
    let mut gateway = gateway()?;
    let key = gateway.public_key()?;
    let (first, recorded) = {
        let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
        let first = says(&alice, &carol, "first-words")?;
        pack(&carol, "before.html")?;
        let told = carol.ok(&format!("gatescribe evidence verify before.html --key {key}"))?;
        backs_up(&carol, &gateway, "before.age")?;
        (first, (told.code, fs::read(carol.folder().join("before.html"))?))
    };
    assert_eq!(recorded.0, 0);
    gateway.stop()?;
    let store = files_of_the_store(&gateway);
    let backup: Vec<Option<Vec<u8>>> = store.iter().map(|file| fs::read(file).ok()).collect();
    gateway.start_again()?;

    let second = {
        let [alice, carol, dave, bob] = Person::all_signed_in(&gateway, ["alice", "carol", "dave", "bob"])?;
        is_not_erased_without_two(&gateway, [&carol, &dave, &bob])?;
        let erased = is_erased(&gateway, [&carol, &dave], &first)?;
        let second = says(&alice, &carol, "second-words")?;
        assert_eq!(
            unreadable(&carol, &first)?,
            erased,
            "and the new words are read under a new key"
        );
        let searched = carol.ok("gatescribe audit search user:alice kind:open ns:kept -o json")?;
        assert!(
            searched.stdout.contains(&first) && searched.stdout.contains(&second),
            "{searched}"
        );
        fs::write(carol.folder().join("before.html"), &recorded.1)?;
        pack(&carol, "after.html")?;
        for file in ["before.html", "after.html"] {
            carol.ok(&format!("gatescribe evidence verify {file} --key {key}"))?;
        }
        backs_up(&carol, &gateway, "after.age")?;
        second
    };
    gateway.stop()?;
    let carol = Person::new(&gateway, "carol")?;
    let told = verify(&carol, &gateway.ledger(), &key)?;
    assert_eq!(told.code, 0, "{told}");
    assert!(
        told.stdout.contains("1 recordings are erased, with proof: records "),
        "{told}"
    );
    is_found_when_forged(&carol, &gateway, &key)?;
    drop(carol);

    // A crash between the record and the end of the keys, and a store that is put back, look the same: the keys are there again.
    for (file, bytes) in store.iter().zip(&backup) {
        match bytes {
            Some(bytes) => fs::write(file, bytes)?,
            None => drop(fs::remove_file(file)),
        }
    }
    gateway.start_again()?;
    assert!(
        gateway.log().contains("of which the ledger says that they were erased"),
        "{}",
        gateway.log()
    );
    {
        let carol = Person::signed_in(&gateway, "carol")?;
        assert!(
            unreadable(&carol, &first)?.starts_with("erased on "),
            "the record is obeyed again"
        );
        let told = carol.types(&format!("gatescribe session export {first}"))?;
        assert!(told.code == 5 && told.stderr.contains("erased on "), "{told}");
        let lost = unreadable(&carol, &second)?;
        assert!(
            lost.contains("no record says that it was erased"),
            "that key was in no backup: {lost}"
        );
    }

    // All keys are lost, without any record of it.
    gateway.stop()?;
    for file in &store {
        let _ = fs::remove_file(file);
    }
    gateway.start_again()?;
    {
        let carol = Person::signed_in(&gateway, "carol")?;
        assert!(
            unreadable(&carol, &first)?.starts_with("erased on "),
            "the ledger knows it still"
        );
        assert!(unreadable(&carol, &second)?.contains("no record says that it was erased"));
        let told = carol.types(&format!("gatescribe session export {second}"))?;
        assert!(told.code == 8 && told.stderr.contains("its key is missing"), "{told}");
    }

    puts_back(&mut gateway, &key, ["before.age", "after.age"])?;
    gateway.start_again()?;
    {
        let carol = Person::signed_in(&gateway, "carol")?;
        assert!(
            unreadable(&carol, &first)?.starts_with("erased on "),
            "a backup from before the erasure brings nothing of it back"
        );
        let told = carol.types(&format!("gatescribe session export {first}"))?;
        assert!(told.code == 5 && told.stderr.contains("erased on "), "{told}");
        let shown = carol.ok(&format!("gatescribe audit show {second} -o json"))?.json()?;
        assert_eq!(
            shown["parts"]["command"][2], "echo second-words",
            "what was lost is read again"
        );
        carol.ok(&format!("gatescribe session export {second}"))?;
    }
    gateway.stop()?;
    let carol = Person::new(&gateway, "carol")?;
    let told = verify(&carol, &gateway.ledger(), &key)?;
    assert_eq!(told.code, 0, "every proof holds: {told}");
    Ok(())
}

/// The public name of the key under which the words of a session's command stand.
fn key_of(gateway: &Gateway, session: &str) -> anyhow::Result<String> {
    let records = gateway.records()?;
    let parts = records.iter().filter(|record| record["id"] == session);
    let mut parts = parts.flat_map(|record| record["parts"].as_array().into_iter().flatten());
    let part = parts.find(|part| part["name"] == "command").context("a part")?;
    part["key"].as_str().map(str::to_owned).context("its key")
}

/// Makes all keys so many seconds older, while the gateway stands still.
fn ages_keys(gateway: &Gateway, seconds: i64) -> anyhow::Result<()> {
    let database = rusqlite::Connection::open(gateway.file("data").join("state.sqlite"))?;
    let older = "UPDATE part_keys SET created_at = created_at - ?1";
    ensure!(
        database.execute(older, [seconds * 1_000_000_000])? > 0,
        "there is a key"
    );
    Ok(())
}

fn rotations(gateway: &Gateway) -> anyhow::Result<Vec<Value>> {
    let records = gateway.records()?;
    let is_one = |record: &Value| record["person"]["what"] == "partKeysRotated";
    Ok(records.into_iter().filter(is_one).collect())
}

#[test]
fn keys_of_parts_are_renewed_by_their_age_and_by_hand_and_what_the_old_ones_sealed_is_read_and_erased_with_them()
-> anyhow::Result<()> {
    let mut gateway = gateway_with(Some(json!({"ledger": {"partKeyAge": "1h"}})))?;
    let first = {
        let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
        says(&alice, &carol, "first-words")?
    };
    gateway.stop()?;
    assert!(rotations(&gateway)?.is_empty(), "no key was an hour old");
    ages_keys(&gateway, 3_700)?;
    gateway.start_again()?;
    gateway.records_with("keys that are older than an hour are followed by new ones", |records| {
        records
            .iter()
            .any(|record| record["person"]["what"] == "partKeysRotated")
    })?;
    let by_age = rotations(&gateway)?;
    let note = by_age.first().context("one")?["note"].as_str().unwrap_or_default();
    assert!(
        note.starts_with("new keys for parts from now on: of those in use "),
        "{note}"
    );
    assert!(note.ends_with("older than 1h"), "{note}");
    assert!(
        by_age.iter().all(|record| record.get("by").is_none()),
        "nobody did it: {by_age:?}"
    );

    let [alice, carol, dave] = Person::all_signed_in(&gateway, ["alice", "carol", "dave"])?;
    let second = says(&alice, &carol, "second-words")?;
    let rotate = "gatescribe ledger rotate-part-keys --reason quarter";
    assert_eq!(alice.types(rotate)?.code, 4, "alice is no auditor");
    carol.ok(rotate)?;
    let by_hand = rotations(&gateway)?;
    assert_eq!(by_hand.len(), by_age.len() + 1);
    assert_eq!(
        by_hand.last().context("one")?["by"]["user"],
        address_of(&gateway, "carol")?.as_str()
    );
    let third = says(&alice, &carol, "third-words")?;
    let sessions = [(&first, "first"), (&second, "second"), (&third, "third")];
    let keys: std::collections::BTreeSet<String> = sessions
        .iter()
        .map(|(session, _)| key_of(&gateway, session))
        .collect::<anyhow::Result<_>>()?;
    assert_eq!(keys.len(), 3, "each under a key of its own: {keys:?}");
    for (session, word) in sessions {
        let shown = carol.ok(&format!("gatescribe audit show {session} -o json"))?.json()?;
        assert_eq!(
            shown["parts"]["command"][2],
            format!("echo {word}-words").as_str(),
            "{shown}"
        );
    }
    let who = address_of(&gateway, "alice")?;
    let ask = format!("gatescribe ledger erase --subject {who} --class command --reason TICKET-3");
    let request = carol.ok(&ask)?.stdout.trim().to_owned();
    let told = dave.ok(&format!("gatescribe ledger erase --agree {request}"))?;
    assert!(told.stderr.contains("3 keys destroyed"), "old and new: {told}");
    for (session, _) in sessions {
        assert!(unreadable(&carol, session)?.starts_with("erased on "));
    }
    Ok(())
}

/// Whoever can write the ledger's files appends a record while the gateway stands still.
fn appends(gateway: &Gateway, kind: model::event::RecordKind, body: &Value) -> anyhow::Result<u64> {
    let dir = gateway.ledger();
    let disk = std::sync::Arc::new(ledger::RealDisk::new(&dir));
    let (ledger, _) = ledger::Ledger::open(&dir, ledger::Options::default(), disk)?;
    let seq = ledger.append(kind, serde_json::to_vec(body)?, Vec::new())?.wait()?.seq;
    ledger.close();
    Ok(seq)
}

/// promise_5: the thief has the ledger's files, and neither its key nor the state file; the gateway signs what it finds, and believes it at no later start.
#[test]
fn promise_5_a_record_that_somebody_wrote_into_the_files_erases_nothing_at_any_start() -> anyhow::Result<()> {
    let mut gateway = gateway()?;
    let public = gateway.public_key()?;
    let (session, hold) = {
        let [alice, carol] = Person::all_signed_in(&gateway, ["alice", "carol"])?;
        let who = address_of(&gateway, "alice")?;
        let hold = carol.ok(&format!("gatescribe hold create --subject {who} --reason case-7"))?;
        (says(&alice, &carol, "kept-words")?, hold.stdout.trim().to_owned())
    };
    let key = key_of(&gateway, &session)?;
    gateway.stop()?;
    let records = gateway.records()?;
    let held = records
        .iter()
        .find(|record| record["kind"] == "hold")
        .context("the hold")?;
    let of = held["hold"]["of"].clone();
    let who =
        |number: u8, user: &str| json!({"subject": format!("{number:02x}").repeat(16), "user": user, "issuer": "i"});
    let erasure = json!({"what": "erased", "request": "r", "of": of, "asked": who(3, "carol"), "agreed": who(4, "dave"), "why": "w",
        "keys": [{"id": key, "class": "command"}]});
    let (id, t) = ("01996f3a-0000-7000-8000-000000000003", "2026-01-01T00:00:00Z");
    let erasure = json!({"id": id, "t": t, "erasure": erasure});
    let released = json!({"what": "released", "id": hold, "of": of, "set_by": "carol", "why": "w", "released": "w"});
    let release = json!({"id": id, "t": t, "hold": released});
    let first = appends(&gateway, model::event::RecordKind::Erasure, &erasure)?;
    let second = appends(&gateway, model::event::RecordKind::Hold, &release)?;
    for start in 0..3 {
        if start == 2 {
            // The state file is lost: all records are read again, these among them, signed by now.
            let person = Person::new(&gateway, "carol")?;
            backs_up(&person, &gateway, "before.age")?;
            for file in files_of_the_store(&gateway) {
                let _ = fs::remove_file(file);
            }
            let identity = gateway.file("identity.txt");
            fs::write(&identity, format!("{IDENTITY}\n"))?;
            let words = format!(
                "restore {} --identity {}",
                gateway.file("before.age").display(),
                identity.display()
            );
            let told = keys(&person, &gateway, &words)?;
            ensure!(told.code == 0 && told.stderr.contains("0 were erased"), "{told}");
        }
        gateway.start_again()?;
        let carol = Person::signed_in(&gateway, "carol")?;
        let shown = carol.ok(&format!("gatescribe audit show {session} -o json"))?.json()?;
        assert_eq!(shown["parts"]["command"][2], "echo kept-words", "start {start}");
        assert!(carol.ok("gatescribe hold ls")?.stdout.contains(&hold), "start {start}");
        drop(carol);
        gateway.stop()?;
    }
    let records = gateway.records()?;
    let refusals: Vec<&Value> = records
        .iter()
        .filter(|record| record.get("refused").is_some())
        .collect();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(
        (&refusals[0]["kind"], &refusals[0]["refused"]),
        (&json!("damage"), &json!([first, second]))
    );
    let told = verify(&Person::new(&gateway, "carol")?, &gateway.ledger(), &public)?;
    // They were put in behind a run that had ended: that is a finding, and of nothing else.
    assert_eq!(told.code, 8, "{told}");
    let found = format!("✖ records {first} to ");
    assert!(
        told.stdout.starts_with(&found) && told.stdout.matches(": not the gateway's: ").count() == 1,
        "{told}"
    );
    let line = format!(
        "! records {first}, {second} stood behind what was signed and say that something is erased or released"
    );
    assert!(
        told.stdout.contains(&line) && !told.stdout.contains("erased, with proof"),
        "{told}"
    );
    Ok(())
}

/// One person twice, somebody without the role, and a hold.
fn is_not_erased_without_two(gateway: &Gateway, [carol, dave, bob]: [&Person<'_>; 3]) -> anyhow::Result<()> {
    let ask = "gatescribe ledger erase --subject alice@bench.example --reason TICKET-1";
    let ask = ask.replace("alice@bench.example", &address_of(gateway, "alice")?);
    assert_eq!(bob.types(&ask)?.code, 4, "bob is no auditor");
    let held = dave.ok(&ask.replace("ledger erase", "hold create"))?;
    let hold = held.stdout.trim();
    let refused = carol.types(&ask)?;
    assert!(refused.code == 6 && refused.stderr.contains(hold), "{refused}");
    assert!(carol.ok("gatescribe hold ls")?.stdout.contains("TICKET-1"));
    assert_eq!(
        bob.types(&format!("gatescribe hold release {hold} --reason because"))?
            .code,
        4
    );
    carol.ok(&format!("gatescribe hold release {hold} --reason over"))?;
    assert_eq!(carol.types("gatescribe hold ls")?.code, 1);

    let id = carol.ok(&ask)?.stdout.trim().to_owned();
    let agree = format!("gatescribe ledger erase --agree {id}");
    let again = Person::signed_in(gateway, "carol")?;
    for person in [carol, &again] {
        let refused = person.types(&agree)?;
        assert!(refused.code == 6 && refused.stderr.contains("two people"), "{refused}");
    }
    assert_eq!(bob.types(&agree)?.code, 4);
    dave.ok(&format!("gatescribe ledger erase --withdraw {id}"))?;
    assert_eq!(dave.types(&agree)?.code, 5, "it was withdrawn");
    Ok(())
}

/// Gives what is said in place of what was erased.
fn is_erased(gateway: &Gateway, [carol, dave]: [&Person<'_>; 2], id: &str) -> anyhow::Result<String> {
    let ask = format!(
        "gatescribe ledger erase --subject {} --class command --class recording --reason TICKET-2",
        address_of(gateway, "alice")?
    );
    let request = carol.ok(&ask)?.stdout.trim().to_owned();
    let listed = dave.ok("gatescribe ledger erase --list")?;
    assert!(
        listed.stdout.contains(&request) && listed.stdout.contains("TICKET-2"),
        "{listed}"
    );
    carol.ok(&format!("gatescribe session export {id}"))?;
    let agree = format!("gatescribe ledger erase --agree {request}");
    let told = dave.ok(&agree)?;
    assert!(told.stderr.contains("2 keys destroyed, 1 of recordings"), "{told}");
    assert_eq!(dave.types(&agree)?.code, 5, "an agreement counts once");
    let records = gateway.records()?;
    let steps: Vec<&Value> = records.iter().filter(|record| record["kind"] == "erasure").collect();
    let whats: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["erasure"]["what"].as_str())
        .collect();
    assert_eq!(
        whats,
        ["refused", "asked", "refused", "refused", "withdrawn", "asked", "erased"],
        "each step is a record: {steps:?}"
    );
    let last = steps.last().context("counted")?;
    assert_eq!(last["erasure"]["keys"].as_array().map(Vec::len), Some(2), "{last}");
    assert_eq!(last["by"]["user"], address_of(gateway, "dave")?.as_str());
    assert_eq!(last["erasure"]["asked"]["user"], address_of(gateway, "carol")?.as_str());
    let why = unreadable(carol, id)?;
    let record = last["id"].as_str().context("an id")?;
    assert!(why.starts_with("erased on ") && why.ends_with(record), "{why}");
    assert!(why.contains("carol") && why.contains("dave"), "{why}");
    let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?.json()?;
    assert_eq!(shown["recording"], json!({"standing": "erased", "why": why}), "{shown}");
    assert_eq!(shown["command"]["unreadable"], why.as_str(), "{shown}");
    let shown = carol.ok(&format!("gatescribe session show {id}"))?;
    assert!(shown.stdout.contains("erased on "), "{shown}");
    for line in [
        format!("gatescribe session export {id}"),
        format!("gatescribe session export {id} --format text"),
    ] {
        let told = carol.types(&line)?;
        assert!(told.code == 5 && told.stderr.contains(&why), "{line}: {told}");
    }
    Ok(why)
}

/// A copy in which the record of the erasure says something else.
fn is_found_when_forged(person: &Person<'_>, gateway: &Gateway, key: &str) -> anyhow::Result<()> {
    let copy = person.folder().join("copy");
    fs::create_dir(&copy)?;
    let mut forged = 0;
    for file in fs::read_dir(gateway.ledger())? {
        let file = file?;
        let mut bytes = fs::read(file.path())?;
        let (old, new) = (b"\"what\":\"erased\"", b"\"what\":\"erasad\"");
        if file.path().extension().is_some_and(|end| end == "seg")
            && let Some(at) = bytes.windows(old.len()).position(|window| window == old)
            && let Some(place) = bytes.get_mut(at..at + new.len())
        {
            place.copy_from_slice(new);
            forged += 1;
        }
        fs::write(copy.join(file.file_name()), bytes)?;
    }
    assert_eq!(forged, 1);
    let told = verify(person, &copy, key)?;
    assert!(told.code == 8 && !told.stdout.contains("erased, with proof"), "{told}");
    Ok(())
}

/// The user name that the gateway gives somebody.
fn address_of(gateway: &Gateway, name: &str) -> anyhow::Result<String> {
    let records = gateway.records()?;
    let mut users = records.iter().filter_map(|record| record["by"]["user"].as_str());
    let user = users.find(|user| user.split('@').next() == Some(name));
    user.map(str::to_owned).with_context(|| format!("{name} has signed in"))
}
