//! The key of a real gateway's ledger changes, the log itself says so, and who has the first public key, or the newest, verifies all of it
//! (promise 5).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, run};
use tests::process::Folder;
use tests::wait::PATIENCE;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

fn ledger(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("ledger").args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path in UTF-8")
}

fn work(gateway: &Gateway) -> anyhow::Result<()> {
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    for _ in 0..5 {
        ensure!(gateway.client()?.get(TARGET, &[("Authorization", &bearer)])?.status == 200);
    }
    Ok(())
}

fn stop(gateway: &mut Gateway) -> anyhow::Result<()> {
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()
}

#[test]
fn promise_5_the_ledger_records_the_change_of_its_key_and_either_key_verifies_it() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
    let file = gateway.file("data/keys/ledger.key");
    let key = |file: &Path| Ok::<_, anyhow::Error>(ledger(&["key", text(file)?])?.stdout.trim_end().to_owned());
    let first = key(&file)?;
    work(&gateway)?;
    // Made while the gateway runs, which goes on as it was.
    let made = ledger(&["rotate-key", text(&file)?])?;
    assert_eq!(made.code, 0, "{made:?}");
    let next = made.stdout.trim_end();
    assert_eq!(key(&gateway.file("data/keys/ledger.next.key"))?, next);
    assert_eq!(ledger(&["rotate-key", text(&file)?])?.code, 6, "one at a time");
    work(&gateway)?;
    stop(&mut gateway)?;
    let dir = gateway.ledger();
    let before = gateway.file("before.tlog-proof");
    fs::write(&before, ledger(&["proof", text(&dir)?, "2"])?.stdout)?;
    let older = Folder::new("older")?;
    for entry in fs::read_dir(&dir)? {
        let entry = entry?;
        fs::copy(entry.path(), older.path().join(entry.file_name()))?;
    }

    gateway.start_again()?;
    assert_eq!(
        key(&file)?,
        next,
        "the next key is the key now, and the old one is gone"
    );
    assert!(!gateway.file("data/keys/ledger.next.key").exists());
    work(&gateway)?;
    stop(&mut gateway)?;
    let told = gateway
        .records()?
        .into_iter()
        .filter(|record| record["kind"] == "key")
        .collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0]["key"]["from"], &told[0]["key"]["to"]),
        (&first.clone().into(), &next.into())
    );

    for known in [first.as_str(), next] {
        let proved = ledger(&["verify", text(&dir)?, "--key", known, "-o", "json"])?;
        assert_eq!(proved.code, 0, "{proved:?}");
        let report: Value = serde_json::from_str(&proved.stdout)?;
        assert_eq!(
            (&report["provedUpTo"], &report["strangeCheckpoints"]),
            (&report["size"], &0.into())
        );
        let change = &report["keyChanges"][0];
        assert_eq!((&change["to"], &change["record"]), (&next.into(), &told[0]["seq"]));
    }
    let said = ledger(&["verify", text(&dir)?, "--key", &first])?.stdout;
    assert!(said.contains("the key changed at size "), "{said}");

    let after = gateway.file("after.tlog-proof");
    fs::write(&after, ledger(&["proof", text(&dir)?, "2"])?.stdout)?;
    assert_eq!(ledger(&["verify", text(&before)?, "--key", &first])?.code, 0);
    assert_eq!(ledger(&["verify", text(&after)?, "--key", next])?.code, 0);
    assert_eq!(ledger(&["verify", text(&after)?, "--key", &first])?.code, 8);

    // The copy from before knows nothing of it, and whoever knows of the change is not content with it.
    assert_eq!(ledger(&["verify", text(older.path())?, "--key", &first])?.code, 0);
    assert_eq!(ledger(&["verify", text(older.path())?, "--key", next])?.code, 8);
    Ok(())
}
