//! Receipts and the tree of a real gateway's ledger, checked by our verifier, which has the public key alone, and by public
//! libraries that know nothing of us (promise 5).

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::counterparts::program;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::field;
use tests::kubectl::{Output, run};
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};
use tests::witness::{PublicWitness, Witness};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

fn start(upstream: &FakeApiServer) -> anyhow::Result<Gateway> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    Gateway::before(&upstream.upstream(), &options)
}

/// The program on Go's and transparency-dev's libraries.
fn public(arguments: &[&str], input: &str, token: &str) -> anyhow::Result<Output> {
    let mut command = Command::new(program("tlog")?);
    command.args(arguments).env("TOKEN", token);
    run(command, input, PATIENCE)
}

#[test]
fn promise_5_each_answer_names_its_record_and_its_receipt_is_checked_by_strangers() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let [alice, bob] = Person::all_signed_in(&gateway, ["alice", "bob"])?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let served = gateway.client()?.get(TARGET, &[("Authorization", &bearer)])?;
    ensure!(served.status == 200, "{}", served.head);
    let id = field(&served.head, "Gatescribe-Record").context("the answer names its record")?;
    assert_eq!(field(&served.head, "Audit-Id"), Some(id));
    let refused = gateway.client()?.get(TARGET, &[])?;
    assert_eq!(refused.status, 401);
    let of_refusal = field(&refused.head, "Gatescribe-Record").context("a refusal names its record, too")?;

    let take = format!("gatescribe audit receipt {id} -o read.tlog-proof");
    // A busy disk may take longer to sign than the gateway waits.
    let taken = try_until("the record is signed", PATIENCE, || alice.ok(&take))?;
    assert!(taken.stderr.contains("✔ record "), "{taken}");
    let file = alice.folder().join("read.tlog-proof");
    let text = fs::read_to_string(&file)?;
    assert_eq!(alice.types(&take)?.code, 6, "a receipt takes nothing's place");
    for (who, what) in [(&bob, id), (&alice, of_refusal)] {
        let told = who.types(&format!("gatescribe audit receipt {what}"))?;
        assert!(
            told.code == 5 && told.stdout.is_empty(),
            "what is not theirs is not there: {told}"
        );
    }
    let end = try_until("the call has ended", PATIENCE, || {
        alice.ok(&format!("gatescribe audit receipt {id} --end"))
    })?;

    let verify = |file: &str, more: &str| alice.types(&format!("gatescribe ledger verify {file} --key {key} {more}"));
    let proved = verify("read.tlog-proof", "-o json")?;
    assert_eq!(proved.code, 0, "{proved}");
    let said = proved.json()?;
    assert_eq!(
        (&said["record"]["id"], &said["record"]["kind"]),
        (&id.into(), &"access".into())
    );
    let other = key.replacen('+', "x+", 1);
    let strange = alice.types(&format!("gatescribe ledger verify read.tlog-proof --key {other}"))?;
    assert_ne!(strange.code, 0, "{strange}");

    let checked = public(&["receipt", &key], &text, "")?;
    assert_eq!(checked.code, 0, "{checked}");
    assert_eq!(serde_json::from_str::<Value>(&checked.stdout)?, said["record"]);
    let checked = public(&["receipt", &key], &end.stdout, "")?;
    let closed: Value = serde_json::from_str(&checked.stdout)?;
    assert_eq!((&closed["id"], &closed["kind"]), (&id.into(), &"close".into()));

    // Somebody makes it say something else: another record of the same ledger in place of this one.
    let lines: Vec<&str> = text.lines().collect();
    let foreign = end.stdout.lines().nth(1).context("the other record")?;
    let forged = text.replacen(lines[1], foreign, 1);
    fs::write(alice.folder().join("forged.tlog-proof"), &forged)?;
    let told = verify("forged.tlog-proof", "")?;
    assert!(told.code == 2 || told.code == 8, "{told}");
    assert_ne!(public(&["receipt", &key], &forged, "")?.code, 0);
    let numberless = text.replacen("\nindex ", "\nindex -", 1);
    let told = public(&["receipt", &key], &numberless, "")?;
    assert!(
        told.code == 1 && told.stderr.contains("TLogProof.Unmarshal: tlog proof index"),
        "it is read by the library of the format: {told}"
    );

    let reads = gateway.records_with("who took receipts", |records| {
        let notes = records.iter().filter_map(|record| record["note"].as_str());
        notes
            .filter(|note| note.starts_with("took the receipt of record"))
            .count()
            >= 4
    });
    reads.map(drop)
}

/// What a receipt has in its `extra` line.
fn extra(receipt: &str) -> anyhow::Result<Vec<u8>> {
    let line = receipt.lines().nth(1).and_then(|line| line.strip_prefix("extra "));
    Ok(STANDARD.decode(line.context("a line of extra data")?)?)
}

/// The same receipt with other extra data.
fn with_extra(receipt: &str, extra: &[u8]) -> anyhow::Result<String> {
    let old = receipt.lines().nth(1).context("a line of extra data")?;
    Ok(receipt.replacen(old, &format!("extra {}", STANDARD.encode(extra)), 1))
}

/// A long record makes the file too long with it as it is, as a usual one does in a large tree. Whoever checks it has zlib and no program of ours.
#[test]
fn promise_5_a_receipt_whose_record_is_compressed_is_checked_by_strangers_with_the_cosignatures_of_both_witnesses()
-> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let mut gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let (ours, theirs) = (Witness::of(&[&key])?, PublicWitness::of(&[&key])?);
    let mut config: Value = serde_json::from_str(&fs::read_to_string(gateway.config())?)?;
    config["ledger"] = json!({ "witnesses": [ours.configured("ours"), theirs.configured("theirs")] });
    fs::write(gateway.config(), config.to_string())?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    let alice = Person::signed_in(&gateway, "alice")?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let program = "kubectl/v1.36.0 (linux/amd64) ".repeat(30);
    let names = "n".repeat(900);
    let target = format!("{TARGET}?fieldSelector=metadata.name%3D{names}");
    let headers = [("Authorization", bearer.as_str()), ("User-Agent", program.as_str())];
    let served = gateway.client()?.get(&target, &headers)?;
    ensure!(served.status == 200, "{}", served.head);
    let id = field(&served.head, "Gatescribe-Record").context("the answer names its record")?;

    // Without the cosignatures it is shorter: it is taken again until both are in it.
    let text = try_until("the record is witnessed by both", PATIENCE, || {
        let taken = alice.ok(&format!("gatescribe audit receipt {id}"))?;
        let cosigned = ["\n— witness.example/w1 ", "\n— public.example/w "];
        ensure!(cosigned.iter().all(|line| taken.stdout.contains(line)), "{taken}");
        Ok(taken.stdout)
    })?;
    let compressed = extra(&text)?;
    assert_ne!(compressed.first(), Some(&b'{'), "{} bytes: {text}", text.len());
    let file = alice.folder().join("long.tlog-proof");
    let verify = |text: &str| -> anyhow::Result<Output> {
        fs::write(&file, text)?;
        let (ours, theirs) = (&ours.key, &theirs.key);
        alice.types(&format!(
            "gatescribe ledger verify long.tlog-proof --key {key} --witness {ours} --witness {theirs} -o json"
        ))
    };
    let by_public = |text: &str| public(&["receipt", &key, &ours.key, &theirs.key], text, "");
    let proved = verify(&text)?;
    assert_eq!(proved.code, 0, "{proved}");
    let record = proved.json()?["record"].clone();
    assert_eq!(record["id"], *id);
    let leaf = record.to_string();
    assert!(leaf.len() > compressed.len(), "{} and {}", leaf.len(), compressed.len());
    let checked = by_public(&text)?;
    assert_eq!(checked.code, 0, "{checked}");
    assert_eq!(serde_json::from_str::<Value>(&checked.stdout)?, record);
    // The bytes that were hashed, and no others that say the same.
    let plain = with_extra(&text, checked.stdout.trim_end().as_bytes())?;
    assert!(plain.len() > 2_560, "it would fit: {}", plain.len());
    for (told, by) in [(verify(&plain)?, "ours"), (by_public(&plain)?, "theirs")] {
        assert_eq!(told.code, 0, "{by}: as it was before there was another form: {told}");
    }

    // Whatever is changed in what is compressed, nobody takes it for the record.
    for at in [0, 2, compressed.len() / 2, compressed.len() - 1] {
        let mut altered = compressed.clone();
        *altered.get_mut(at).context("a byte")? ^= 1;
        let altered = with_extra(&text, &altered)?;
        let (told, by_theirs) = (verify(&altered)?, by_public(&altered)?);
        assert!([2, 8].contains(&told.code), "byte {at}: {told}");
        assert_ne!(by_theirs.code, 0, "byte {at}: {by_theirs}");
    }
    let short = with_extra(&text, compressed.get(..compressed.len() - 5).context("most of it")?)?;
    let (told, by_theirs) = (verify(&short)?, by_public(&short)?);
    assert!([2, 8].contains(&told.code) && by_theirs.code != 0, "{told} {by_theirs}");
    // And the cosignature of either is missed.
    for name in ["witness.example/w1", "public.example/w"] {
        let less = text
            .split_inclusive('\n')
            .filter(|line| !line.starts_with(&format!("— {name} ")));
        let less: String = less.collect();
        let (told, by_theirs) = (verify(&less)?, by_public(&less)?);
        assert!(told.code == 8 && by_theirs.code != 0, "{name}: {told} {by_theirs}");
    }
    Ok(())
}

#[test]
fn promise_5_any_client_of_tiles_reads_the_tree_that_was_signed_and_its_records() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let gateway = start(&upstream)?;
    let key = gateway.public_key()?;
    let api = |person: &str| {
        let handle = gateway.sign_in(person)?.handle;
        gateway
            .renew(&handle, "gatescribe-api")
            .map(|signed_in| signed_in.token)
    };
    let (auditor, alice) = (api("carol")?, api("alice")?);
    // As somebody else may have kept it.
    let file = gateway.file("older.checkpoint");
    try_until("something is signed", PATIENCE, || {
        Ok(fs::copy(gateway.ledger().join("checkpoint"), &file).map(drop)?)
    })?;

    let person = format!("Bearer {}", gateway.sign_in("alice")?.token);
    // More than one tile of leaves.
    for _ in 0..140 {
        ensure!(gateway.client()?.get(TARGET, &[("Authorization", &person)])?.status == 200);
    }
    let url = format!("{}/api/v1/ledger", gateway.url);
    let file = file.to_str().context("a path in UTF-8")?;
    let size = try_until("so many records are signed", PATIENCE, || {
        let read = public(&["tree", &key, &url, file], "", &auditor)?;
        ensure!(read.code == 0, "{read}");
        let size: u64 = read.stdout.trim().parse()?;
        ensure!(size > 280, "{size}");
        Ok(size)
    })?;
    assert!(gateway.records()?.len() >= usize::try_from(size)?);

    let told = public(&["tree", &key, &url, file], "", &alice)?;
    assert!(
        told.code == 1 && told.stderr.contains("403"),
        "entries are everybody's records: {told}"
    );
    let told = public(&["tree", &key, &url, file], "", "no token")?;
    assert!(told.code == 1 && told.stderr.contains("401"), "{told}");
    // Who was shown another story before is told so.
    let text = fs::read_to_string(file)?;
    let lines: Vec<&str> = text.lines().collect();
    let forged = text.replacen(lines[2], "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1);
    fs::write(file, forged)?;
    let told = public(&["tree", &key, &url, file], "", &auditor)?;
    assert!(told.code == 1 && told.stderr.contains("older checkpoint"), "{told}");
    Ok(())
}
