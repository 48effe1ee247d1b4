//! Promise 5 against somebody who has the gateway's disk and its key: real gateways, whose ledgers are witnessed by `gatescribe ledger
//! witness` and by one on public libraries, and a public log that is witnessed by ours.

#[path = "witnessed/replicas.rs"]
mod replicas;
#[path = "witnessed/served.rs"]
mod served;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use ledger::note::{Algorithm, KeyName, Note, Signer as _, SigningKey, VerifierKey};
use ledger::{Checkpoint, Receipt};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::counterparts::{own_binary, program};
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::field;
use tests::kubectl::{Output, run};
use tests::metrics::Scrape;
use tests::person::Person;
use tests::ports::Port;
use tests::process::Folder;
use tests::wait::{PATIENCE, try_until};
use tests::witness::{PublicWitness, Witness};

/// What a witness says of a checkpoint of which nothing shows that it goes on.
const UNPROVED: &str = "a log's checkpoint came without a proof";
const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

fn ledger(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("ledger").args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path in UTF-8")
}

fn start(upstream: &FakeApiServer) -> anyhow::Result<Gateway> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    Gateway::before(&upstream.upstream(), &options)
}

/// Starts it again with these witnesses.
fn with_witnesses(gateway: &mut Gateway, witnesses: &[Value], quorum: Option<u32>) -> anyhow::Result<()> {
    let mut config: Value = serde_json::from_str(&fs::read_to_string(gateway.config())?)?;
    config["ledger"] = json!({ "witnesses": witnesses });
    if let Some(quorum) = quorum {
        config["ledger"]["quorum"] = json!(quorum);
    }
    fs::write(gateway.config(), config.to_string())?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()
}

/// Starts it again with another configuration.
fn configured(gateway: &mut Gateway, edit: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
    let mut config: Value = serde_json::from_str(&fs::read_to_string(gateway.config())?)?;
    edit(&mut config);
    fs::write(gateway.config(), config.to_string())?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()
}

fn read(gateway: &Gateway, times: usize) -> anyhow::Result<String> {
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let client = gateway.client()?;
    let mut id = None;
    for _ in 0..times {
        let answer = client.get(TARGET, &[("Authorization", &bearer)])?;
        ensure!(answer.status == 200, "{}", answer.head);
        id = field(&answer.head, "Gatescribe-Record").map(str::to_owned);
    }
    id.context("the answer names its record")
}

/// The newest checkpoint that the gateway's witnesses have cosigned.
fn witnessed(gateway: &Gateway) -> anyhow::Result<Checkpoint> {
    let note = Note::parse(&fs::read(gateway.ledger().join("witnessed"))?)?;
    Ok(Checkpoint::parse(note.text())?)
}

/// Waits until all that is durable now is witnessed.
fn all_witnessed(gateway: &Gateway) -> anyhow::Result<u64> {
    let size = gateway.records()?.len() as u64;
    try_until("all of it is witnessed", PATIENCE, || {
        let witnessed = witnessed(gateway)?.size;
        ensure!(witnessed >= size, "{witnessed} of {size}: {}", gateway.log());
        Ok(witnessed)
    })
}

fn ready_page(gateway: &Gateway) -> anyhow::Result<String> {
    let page = Browser::default().request("GET", &format!("http://{}/readyz", gateway.admin()), "")?;
    Ok(page.body)
}

/// Copies the files of a folder, not those below.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if path.is_file() {
            fs::copy(&path, to.join(path.file_name().context("a name")?))?;
        }
    }
    Ok(())
}

#[test]
fn promise_5_a_ledger_is_witnessed_by_two_and_its_receipts_say_so_to_strangers() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let mut ours = Witness::over_tls(&[&key])?;
    let theirs = PublicWitness::of(&[&key])?;
    let configured = [ours.configured("ours"), theirs.configured("theirs")];
    with_witnesses(&mut gateway, &configured, None)?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let id = read(&gateway, 3)?;
    all_witnessed(&gateway)?;
    try_until("all is well", PATIENCE, || {
        let page = ready_page(&gateway)?;
        ensure!(page.contains("[+] witnesses ok\n"), "{page}");
        Ok(())
    })?;

    let taken = alice.ok(&format!("gatescribe audit receipt {id} -o read.tlog-proof"))?;
    assert!(taken.stderr.contains("✔ record "), "{taken}");
    let file = alice.folder().join("read.tlog-proof");
    let receipt = fs::read_to_string(&file)?;
    assert!(receipt.len() <= 2_560, "{} bytes:\n{receipt}", receipt.len());
    let both = ["--witness", &ours.key, "--witness", &theirs.key];
    let proved = ledger(&[&["verify", text(&file)?, "--key", &key], &both[..]].concat())?;
    assert_eq!(proved.code, 0, "{proved}");
    for name in ["witness.example/w1+", "public.example/w+"] {
        let line = format!("witnessed by {name}");
        assert!(proved.stdout.contains(&line), "{proved}");
    }
    // Go's and transparency-dev's libraries agree.
    let mut command = Command::new(program("tlog")?);
    command.args(["receipt", &key, &ours.key, &theirs.key]);
    let public = run(command, &receipt, PATIENCE)?;
    assert_eq!(public.code, 0, "{public}");
    // One cosignature taken out: signed still, and not witnessed by two.
    let less: String = receipt
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("\u{2014} public.example/w "))
        .collect();
    assert!(less.len() < receipt.len());
    fs::write(&file, less)?;
    let unwitnessed = ledger(&[&["verify", text(&file)?, "--key", &key], &both[..]].concat())?;
    assert_eq!(unwitnessed.code, 8, "{unwitnessed}");
    let one = ledger(&[&["verify", text(&file)?, "--key", &key, "--quorum", "1"], &both[..]].concat())?;
    assert_eq!(one.code, 0, "{one}");

    // The folder, beside the running gateway, once nobody writes any more.
    let dir = gateway.ledger();
    let report = try_until("every record is witnessed", PATIENCE, || {
        let proved = ledger(&[&["verify", text(&dir)?, "--key", &key, "-o", "json"], &both[..]].concat())?;
        ensure!(proved.code == 0, "{proved}");
        proved.json()
    })?;
    assert_eq!(
        (&report["witnessedUpTo"], &report["quorum"]),
        (&report["size"], &json!(2))
    );
    let scrape = Scrape::of(gateway.admin())?;
    for name in ["ours", "theirs"] {
        assert!(scrape.sum("gateway_ledger_witness_records", &[("witness", name)]) > 0.0);
        assert!(scrape.sum("gateway_ledger_witness_alarm", &[("witness", name)]) < 0.5);
    }

    let status = ledger(&["status", text(&dir)?, "-o", "json"])?.json()?;
    let by = status["witnessed"]["by"].as_array().context("who has cosigned")?;
    assert_eq!(by.len(), 2, "{status}");
    for cosigned in by {
        let (key, time) = (cosigned["key"].as_str().unwrap_or_default(), cosigned["time"].as_u64());
        assert!(
            key.starts_with("witness.example/w1+") || key.starts_with("public.example/w+"),
            "{status}"
        );
        assert!(time.is_some_and(|time| time > 1_700_000_000), "{status}");
    }
    let status = ledger(&["status", text(&dir)?])?;
    assert!(status.stdout.contains("  cosigned by witness.example/w1+"), "{status}");

    // A restart of either goes on where the other is, without an alarm.
    ours.start_again()?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    read(&gateway, 1)?;
    all_witnessed(&gateway)?;
    assert!(!gateway.log().contains("ALARM"), "{}", gateway.log());
    Ok(())
}

#[test]
fn promise_5_one_witness_that_is_away_delays_neither_the_quorum_nor_the_ledger() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let there = Witness::of(&[&key])?;
    let mut away = PublicWitness::of(&["PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"])?;
    let configured = [there.configured("there"), away.configured("stranger")];
    with_witnesses(&mut gateway, &configured, Some(1))?;
    read(&gateway, 2)?;
    all_witnessed(&gateway)?;
    let page = try_until("it is said", PATIENCE, || {
        let page = ready_page(&gateway)?;
        ensure!(page.contains("not witnessed by `stranger`"), "{page}");
        Ok(page)
    })?;
    assert!(page.contains("give it the ledger's public key"), "{page}");
    let scrape = Scrape::of(gateway.admin())?;
    let unknown = [("witness", "stranger"), ("cause", "unknown")];
    assert!(scrape.sum("gateway_ledger_witness_failures_total", &unknown) >= 1.0);
    away.end()?;
    read(&gateway, 2)?;
    all_witnessed(&gateway)?;
    try_until("nobody answers", PATIENCE, || {
        let scrape = Scrape::of(gateway.admin())?;
        let unreachable = [("witness", "stranger"), ("cause", "unreachable")];
        ensure!(scrape.sum("gateway_ledger_witness_failures_total", &unreachable) >= 1.0);
        Ok(())
    })
}

fn is_alarmed(gateway: &Gateway, witness: &str) -> anyhow::Result<()> {
    try_until("the alarm is raised", PATIENCE, || {
        let raised = Scrape::of(gateway.admin())?.sum("gateway_ledger_witness_alarm", &[("witness", witness)]);
        ensure!(raised > 0.5, "{}", gateway.log());
        Ok(())
    })
}

/// A ledger with a past: some records, a copy of it then, and more that were witnessed.
struct Past {
    gateway: Gateway,
    witness: Witness,
    key: String,
    /// The copy.
    older: Folder,
    /// How many records the copy has.
    size: u64,
    /// A receipt of what came later.
    receipt: PathBuf,
}

fn past(upstream: &FakeApiServer) -> anyhow::Result<Past> {
    let mut gateway = start(upstream)?;
    let key = gateway.public_key()?;
    let witness = Witness::of(&[&key])?;
    with_witnesses(&mut gateway, &[witness.configured("elsewhere")], None)?;
    read(&gateway, 3)?;
    all_witnessed(&gateway)?;
    gateway.stop()?;
    let older = Folder::new("older")?;
    copy(&gateway.ledger(), &older.path().join("ledger"))?;
    for name in ["checkpoint", "witnessed"] {
        fs::copy(gateway.file("data/keys").join(name), older.path().join(name))?;
    }
    let size = gateway.records()?.len() as u64;
    gateway.start_again()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let id = read(&gateway, 12)?;
    all_witnessed(&gateway)?;
    alice.ok(&format!("gatescribe audit receipt {id} -o kept.tlog-proof"))?;
    let receipt = older.write("kept.tlog-proof", fs::read(alice.folder().join("kept.tlog-proof"))?)?;
    drop(alice);
    all_witnessed(&gateway)?;
    gateway.stop()?;
    Ok(Past {
        gateway,
        witness,
        key,
        older,
        size,
        receipt,
    })
}

impl Past {
    /// Puts the copy where the ledger was, with all that would betray it, as somebody does who has the whole disk; and lets the
    /// gateway sign on.
    fn forked(&mut self) -> anyhow::Result<()> {
        let dir = self.gateway.ledger();
        fs::remove_dir_all(&dir)?;
        copy(&self.older.path().join("ledger"), &dir)?;
        for name in ["checkpoint", "witnessed"] {
            fs::copy(self.older.path().join(name), self.gateway.file("data/keys").join(name))?;
        }
        self.gateway.start_again()
    }
}

#[test]
fn promise_5_a_ledger_that_was_forked_is_refused_by_its_witness_and_caught_by_everybody_who_kept_something()
-> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut past = past(&upstream)?;
    let known = fs::read_to_string(past.witness.memory()?)?;
    past.forked()?;
    // The gateway itself cannot know: all that it has on its own disk agrees. Its witness does.
    is_alarmed(&past.gateway, "elsewhere")?;
    let page = ready_page(&past.gateway)?;
    assert!(page.contains("ALARM by `elsewhere`: it has cosigned "), "{page}");
    past.gateway.records_with("the alarm is a record", |records| {
        let notes = records.iter().filter(|record| record["kind"] == "damage");
        notes.filter_map(|record| record["note"].as_str()).any(|note| {
            note.starts_with("alarm: the witness `elsewhere` has seen another history of this ledger: it has cosigned ")
        })
    })?;
    // Longer than what the witness knows: there is no size any more by which it could be told, only the proof.
    while (past.gateway.records()?.len() as u64) < past.size + 120 {
        read(&past.gateway, 20)?;
    }
    try_until("the proof of the longer fork is refused", PATIENCE, || {
        let refused = past.witness.said(UNPROVED);
        refused.with_context(|| past.gateway.log())
    })?;
    assert_eq!(
        fs::read_to_string(past.witness.memory()?)?,
        known,
        "nothing was cosigned"
    );
    past.gateway.stop()?;

    let dir = past.gateway.ledger();
    let verify = |more: &[&str]| ledger(&[&["verify", text(&dir)?, "--key", &past.key], more].concat());
    assert_eq!(verify(&[])?.code, 0, "by itself the fork holds");
    let kept = past.witness.memory()?;
    for kept in [text(&kept)?, text(&past.receipt)?] {
        let caught = verify(&["--remembered", kept])?;
        assert_eq!(caught.code, 8, "{caught}");
        assert!(caught.stdout.contains("✖ this ledger does not hold"), "{caught}");
    }
    let unwitnessed = verify(&["--witness", &past.witness.key])?;
    assert_eq!(unwitnessed.code, 10, "{unwitnessed}");
    assert!(
        unwitnessed
            .stdout
            .contains("are not witnessed: what follows could be another history"),
        "{unwitnessed}"
    );
    // Without the old cosignatures nothing at all is witnessed.
    for entry in fs::read_dir(&dir)? {
        let path = entry?.path();
        if path.ends_with("witnessed") || path.extension().is_some_and(|end| end == "checkpoints") {
            fs::remove_file(path)?;
        }
    }
    let nothing = verify(&["--witness", &past.witness.key])?;
    assert_eq!(nothing.code, 8, "{nothing}");
    assert!(nothing.stdout.contains("✖ nothing is witnessed"), "{nothing}");
    Ok(())
}

#[test]
fn a_stale_or_malformed_checkpoint_is_refused_with_the_status_of_the_specification() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let past = past(&upstream)?;
    let known = Checkpoint::parse(Note::parse(&fs::read(past.witness.memory()?)?)?.text())?.size;
    let older = fs::read_to_string(past.older.path().join("checkpoint"))?;
    let stale = past.witness.post(&format!("old {}\n\n{older}", past.size))?;
    assert_eq!((stale.status, stale.body), (409, format!("{known}\n")));
    let shrunk = past.witness.post(&format!("old {known}\n\n{older}"))?;
    assert_eq!(shrunk.status, 400, "{}", shrunk.body);
    let kept = Receipt::parse(&fs::read(&past.receipt)?)?;
    let unproved = past.witness.post(&format!("old 0\n\n{}", kept.note()))?;
    assert_eq!(unproved.status, 409, "{}", unproved.body);
    assert_eq!(past.witness.post("something else")?.status, 400);
    let unsigned = older.replacen(&format!("\n{}\n", past.size), &format!("\n{}\n", past.size + 1), 1);
    assert_eq!(past.witness.post(&format!("old 0\n\n{unsigned}"))?.status, 403);
    let unknown = older.replacen("/audit-", "/other-", 1);
    assert_eq!(past.witness.post(&format!("old 0\n\n{unknown}"))?.status, 404);
    let long = past.witness.post(&format!("old 0\n{}", "A".repeat(140_000)))?;
    assert_eq!(long.status, 413, "{}", long.body);
    let page = Browser::default().request("GET", &format!("{}/add-checkpoint", past.witness.url()), "")?;
    assert_eq!(page.status, 405);
    let page = Browser::default().request("GET", &format!("{}/metrics", past.witness.url()), "")?;
    assert_eq!(page.status, 404, "counts are for the operator");
    Ok(())
}

/// Whoever sends heads of requests and never their bodies takes room of his own, and none of those that are judged.
#[test]
fn a_client_that_never_sends_its_bodies_shuts_nobody_else_out() -> anyhow::Result<()> {
    let key = SigningKey::generate(KeyName::new("log.example/a")?, Algorithm::Ed25519)?;
    let witness = Witness::of(&[&key.key().to_string()])?;
    let (greedy, other): (IpAddr, IpAddr) = ("127.0.0.1".parse()?, "127.0.0.2".parse()?);
    let checkpoint = Checkpoint {
        origin: key.key().name().to_string(),
        size: 1,
        root: ledger::leaf_hash(b"one"),
    };
    let mut note = Note::new(checkpoint.to_string())?;
    note.sign(&key, 0)?;
    let request = format!("old 0\n\n{note}");
    let mut idle = Vec::new();
    try_until("the greedy one has all that it gets", PATIENCE, || {
        // The witness gives up on those of an earlier try.
        idle.clear();
        for _ in 0..40 {
            idle.push(witness.begin_from(greedy, 100)?);
        }
        // Nothing that would be cosigned where it is let in.
        let status = witness.post_from(greedy, "something else")?;
        ensure!(status == 503, "{status}");
        Ok(())
    })?;
    assert_eq!(witness.post_from(other, &request)?, 200, "there is room for others");
    let full = witness
        .scrape()?
        .sum("gateway_witness_requests_total", &[("outcome", "full")]);
    assert!(full >= 1.0, "{full}");
    drop(idle);
    try_until("it has room again", PATIENCE, || {
        let status = witness.post_from(greedy, "something else")?;
        ensure!(status == 400, "{status}");
        Ok(())
    })
}

/// The witness's folder is emptied while neither runs. Begun anew all the same, it would cosign any history from nothing.
#[test]
fn promise_5_a_witness_that_has_forgotten_does_not_start_and_is_found_out_by_its_log() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut past = past(&upstream)?;
    past.witness.forget()?;
    let refused = past.witness.ends(&[])?;
    assert_ne!(refused.code, 0, "{refused}");
    for words in [
        "w1.key.begun",
        "it was emptied, or is an older copy",
        "begin with a new key",
    ] {
        assert!(
            refused.stderr.contains(words) || refused.stdout.contains(words),
            "{refused}"
        );
    }
    past.witness.start_with(&["--danger-begin-anew"])?;
    past.gateway.start_again()?;
    is_alarmed(&past.gateway, "elsewhere")?;
    let page = ready_page(&past.gateway)?;
    assert!(page.contains("ALARM by `elsewhere`: it has cosigned "), "{page}");
    assert!(page.contains(" and knows of 0 now: it has forgotten them"), "{page}");
    past.gateway.records_with("the alarm is a record", |records| {
        let notes = records.iter().filter(|record| record["kind"] == "damage");
        notes.filter_map(|record| record["note"].as_str()).any(|note| {
            note.starts_with(
                "alarm: the witness `elsewhere` has forgotten what it cosigned of this ledger: it has cosigned ",
            )
        })
    })?;
    let forgot = [("witness", "elsewhere"), ("cause", "forgot")];
    try_until("it is asked again", PATIENCE, || {
        let count = Scrape::of(past.gateway.admin())?.sum("gateway_ledger_witness_failures_total", &forgot);
        ensure!(count >= 2.0, "{count}");
        Ok(())
    })?;
    assert!(past.witness.memory().is_err(), "and is not fed");
    // Left switched on, the flag stops the next start.
    past.witness.stop()?;
    let needless = past.witness.ends(&["--danger-begin-anew"])?;
    assert_ne!(needless.code, 0, "{needless}");
    Ok(())
}

/// The key of a log was changed because the old one was stolen. Its witness, which lists the old one alone, is told by the log itself.
#[test]
fn promise_5_a_witness_is_shown_the_change_of_the_key_and_cosigns_nothing_more_of_the_old_one() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let mut witness = Witness::of(&[&key])?;
    with_witnesses(&mut gateway, &[witness.configured("elsewhere")], None)?;
    read(&gateway, 3)?;
    all_witnessed(&gateway)?;
    let file = gateway.file("data/keys/ledger.key");
    let stolen: SigningKey = fs::read_to_string(&file)?.trim_end().parse()?;
    let made = ledger(&["rotate-key", text(&file)?])?;
    assert_eq!(made.code, 0, "{made}");
    let next = made.stdout.trim_end().to_owned();
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    let told = "the witness was shown that the ledger's key has changed";
    try_until("the witness is told", PATIENCE, || {
        ensure!(gateway.log().contains(told), "{}", gateway.log());
        Ok(())
    })?;
    // The thief goes on with the old key, before and after the witness was started again, and while the log goes on with its new one.
    for round in 0..2 {
        read(&gateway, 2)?;
        let known = all_witnessed(&gateway)?;
        for size in [known, known + 5] {
            let checkpoint = Checkpoint {
                origin: stolen.key().name().to_string(),
                size,
                root: [7; 32],
            };
            let mut note = Note::new(checkpoint.to_string())?;
            note.sign(&stolen, 0)?;
            let refused = witness.post(&format!("old {known}\n\n{note}"))?;
            assert_eq!(refused.status, 403, "{}", refused.body);
            let words = "and the newer key `";
            assert!(refused.body.contains(words), "{round}, {size}: {}", refused.body);
        }
        witness.start_again()?;
    }
    assert!(!gateway.log().contains("ALARM"), "{}", gateway.log());
    // What the witness remembers is still a checkpoint that a ledger is held against.
    gateway.stop()?;
    let (dir, memory) = (gateway.ledger(), witness.memory()?);
    for known in [&key, &next] {
        let held = ledger(&["verify", text(&dir)?, "--key", known, "--remembered", text(&memory)?])?;
        assert_eq!(held.code, 0, "{held}");
    }
    // Whoever takes the change out of its memory stops it.
    let whole = fs::read_to_string(&memory)?;
    let (checkpoint, _) = whole.split_once("gatescribe.dev/key-changes\n").context("the change")?;
    witness.stop()?;
    fs::write(&memory, checkpoint)?;
    let refused = witness.ends(&[])?;
    let said = format!("{}{}", refused.stdout, refused.stderr);
    assert!(
        refused.code != 0 && said.contains("is the newest key of its log"),
        "{refused}"
    );
    Ok(())
}

/// A gateway that is told whom to witness, and where it is asked.
fn witnesses_others(gateway: &mut Gateway, log: &str, address: SocketAddr) -> anyhow::Result<String> {
    configured(gateway, |config| {
        let listener = json!({ "name": "witness", "address": address.to_string(), "serves": ["witness"] });
        config["listeners"]
            .as_array_mut()
            .into_iter()
            .for_each(|all| all.push(listener.clone()));
        config["ledger"] = json!({ "witnessFor": [log] });
    })?;
    let key = ledger(&["key", text(&gateway.file("data/keys/witness.key"))?])?;
    ensure!(key.code == 0, "{key}");
    Ok(key.stdout.trim_end().to_owned())
}

#[test]
fn promise_5_a_gateway_that_is_told_to_witness_itself_does_not_start() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let own = gateway.public_key()?;
    let refused = witnesses_others(&mut gateway, &own, Port::reserve()?.address()).unwrap_err();
    let said = format!("{refused:#}");
    let words = "is the ledger of this very gateway: who has its disk would have the cosignatures, too. Name those of others in `ledger.witnessFor`";
    assert!(said.contains(words), "{said}");
    Ok(())
}

/// Nobody has to be known there, and nobody is to take the place of the logs that are witnessed.
#[test]
fn promise_8_one_address_has_no_more_than_64_connections_to_a_gateway_as_a_witness() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let port = Port::reserve()?;
    witnesses_others(&mut gateway, &log_key()?.1, port.address())?;
    let answered = || -> anyhow::Result<Option<TcpStream>> {
        let mut stream = TcpStream::connect(port.address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")?;
        let mut first = [0; 12];
        // Closed before a byte, or reset.
        let answers = stream.read_exact(&mut first).is_ok() && first == *b"HTTP/1.1 404";
        Ok(answers.then_some(stream))
    };
    let mut open = Vec::new();
    for number in 0..64 {
        open.push(answered()?.with_context(|| format!("connection {number}"))?);
    }
    assert!(answered()?.is_none(), "one too many");
    // Who works with the gateway comes by another listener.
    read(&gateway, 1)?;
    open.pop();
    try_until("there is room again", PATIENCE, || answered()?.context("no answer"))?;
    Ok(())
}

/// A log's key, private and public.
fn log_key() -> anyhow::Result<(String, String)> {
    let key = SigningKey::generate(KeyName::new("tessera.example/log")?, Algorithm::Ed25519)?;
    Ok((key.to_private_text().to_string(), key.key().to_string()))
}

/// Tessera is the log library of transparency-dev; its client of witnesses is told from ours by everything but the protocol.
#[test]
fn a_public_log_is_witnessed_by_ours_and_its_fork_is_not() -> anyhow::Result<()> {
    let folder = Folder::new("tessera")?;
    let (secret, public) = log_key()?;
    let key = folder.write("log.key", secret)?;
    let mut witness = Witness::of(&[&public])?;
    let policy = format!("witness w1 {} {}\nquorum w1\n", witness.key, witness.url());
    let policy = folder.write("policy", policy)?;
    let add = |log: &str, entry: &str| {
        let entries = folder.write("entry", entry)?;
        let mut command = Command::new(program("tessera-oneshot")?);
        command.arg(format!("--storage_dir={}", folder.path().join(log).display()));
        command.arg(format!("--entries={}", entries.display()));
        command.arg(format!("--private_key={}", key.display()));
        command.arg(format!("--witness_policy_file={}", policy.display()));
        run(command, "", PATIENCE)
    };
    let cosigner: VerifierKey = witness.key.parse()?;
    let size = |log: &str| -> anyhow::Result<(u64, usize)> {
        let note = Note::parse(&fs::read(folder.path().join(log).join("checkpoint"))?)?;
        let vouched = note.verify([&cosigner])?;
        Ok((Checkpoint::parse(note.text())?.size, vouched.len()))
    };
    for entries in 1..=5 {
        let added = add("log", &format!("entry {entries}"))?;
        assert_eq!(added.code, 0, "{added}");
        assert_eq!(size("log")?, (entries, 1));
    }
    witness.start_again()?;
    let added = add("log", "entry 6")?;
    assert_eq!(added.code, 0, "{added}");
    let cosigned = fs::read_to_string(witness.memory()?)?;
    assert!(cosigned.contains("\n6\n"), "{cosigned}");
    // The same key, another log: it asks, is refused, and publishes nothing.
    let forked = |more: &[&str]| {
        let mut command = Command::new(program("tessera-oneshot")?);
        command.arg(format!("--storage_dir={}", folder.path().join("fork").display()));
        command.arg(format!("--entries={}", folder.path().join("forked-*").display()));
        command.arg(format!("--private_key={}", key.display()));
        command.arg(format!("--witness_policy_file={}", policy.display()));
        command.args(more);
        run(command, "", PATIENCE)
    };
    for number in 1..=9 {
        folder.write(&format!("forked-{number}"), format!("another {number}"))?;
    }
    let refused = forked(&[])?;
    assert_ne!(refused.code, 0, "{refused}");
    // It is told not to care, and grows beyond what was cosigned: the proof gives it away.
    let alone = forked(&["--witness_fail_open=true"])?;
    assert_eq!(alone.code, 0, "{alone}");
    assert!(size("fork").is_err(), "nobody has cosigned it");
    let refused = witness.said(UNPROVED).with_context(|| alone.to_string())?;
    // As it was signed, so that the fork can be held against it.
    let evidence = Note::parse(refused["checkpoint"].as_str().unwrap_or_default().as_bytes())?;
    evidence.verify([&public.parse()?])?;
    assert_eq!(fs::read_to_string(witness.memory()?)?, cosigned);
    Ok(())
}
