//! Receipts and the tree of a real gateway's ledger, checked by our verifier, which has the public key alone, and by public
//! libraries that know nothing of us (promise 5).

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tests::counterparts::program;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::Answer;
use tests::kubectl::{Output, run};
use tests::person::Person;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

fn start(upstream: &FakeApiServer) -> anyhow::Result<Gateway> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    Gateway::before(&upstream.upstream(), &options)
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then_some(value.trim())
    })
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
    let id = header(&served, "Gatescribe-Record").context("the answer names its record")?;
    assert_eq!(header(&served, "Audit-Id"), Some(id));
    let refused = gateway.client()?.get(TARGET, &[])?;
    assert_eq!(refused.status, 401);
    let of_refusal = header(&refused, "Gatescribe-Record").context("a refusal names its record, too")?;

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

    let reads = gateway.records_with("who took receipts", |records| {
        let notes = records.iter().filter_map(|record| record["note"].as_str());
        notes
            .filter(|note| note.starts_with("took the receipt of record"))
            .count()
            >= 4
    });
    reads.map(drop)
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
