//! The key of a real gateway's ledger changes, the log itself says so, and who has the first public key, or the newest, verifies all of it
//! (promise 5).
#![expect(
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the lints spare only `#[test]` functions"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use ledger::note::{Algorithm, KeyName, SigningKey};
use serde_json::{Value, json};
use tests::chromium::look;
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, run};
use tests::person::Person;
use tests::process::Folder;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

/// The command `gatescribe ledger`.
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

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}

/// A pack of the acts of before and of after the change, as an auditor takes it.
fn packed(gateway: &Gateway) -> anyhow::Result<PathBuf> {
    let carol = Person::signed_in(gateway, "carol")?;
    try_until("it is signed", PATIENCE, || {
        carol.ok("gatescribe evidence pack verb:list -o pack.html")
    })?;
    let file = gateway.file("pack.html");
    fs::copy(carol.folder().join("pack.html"), &file)?;
    Ok(file)
}

fn evidence(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("evidence").args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

/// The change is in the pack: either key is enough, for the command as for the page in a browser.
fn pack_holds(pack: &Path, change: &str, keys: [&str; 2], dir: &str) -> anyhow::Result<()> {
    for known in keys {
        let proved = evidence(&["verify", text(pack)?, "--key", known])?;
        assert_eq!(proved.code, 0, "{proved:?}");
        assert!(proved.stdout.contains("the key changed at size "), "{proved:?}");
    }
    let stripped = pack.with_file_name("stripped.html");
    let page = fs::read_to_string(pack)?;
    let lines = page.split_inclusive('\n').filter(|line| !line.starts_with("change "));
    fs::write(&stripped, lines.collect::<String>())?;
    assert_eq!(evidence(&["verify", text(&stripped)?, "--key", keys[0]])?.code, 8);
    let along = evidence(&["verify", text(&stripped)?, "--key", keys[0], "--since", change])?;
    assert_eq!(along.code, 0, "{along:?}");
    let garbled = pack.with_file_name("garbled.html");
    fs::write(&garbled, page.replacen("\nchange ", "\nchange AAAA", 1))?;
    assert_eq!(evidence(&["verify", text(&garbled)?, "--key", keys[1]])?.code, 8);
    let from_files = pack.with_file_name("from-files.html");
    let made = evidence(&["pack", "verb:list", "--dir", dir, "-o", text(&from_files)?])?;
    assert_eq!(made.code, 0, "{made:?}");
    let proved = evidence(&["verify", text(&from_files)?, "--key", keys[0]])?;
    assert_eq!(proved.code, 10, "nobody vouches for its counts: {proved:?}");

    let url = |file: &Path| format!("file://{}", file.display());
    let seen = look(&[
        json!({"url": url(pack), "types": keys[0]}),
        json!({"url": url(pack), "types": keys[1]}),
        json!({"url": url(&stripped), "types": keys[0]}),
        json!({"url": url(&garbled), "types": keys[1]}),
    ])?;
    let verdicts: Vec<&str> = seen.iter().filter_map(|page| page["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["verified", "verified", "bad", "bad"], "{seen:#?}");
    let checks = seen[0]["checks"].to_string();
    assert!(
        checks.contains("to which changes of the ledger’s key lead from"),
        "{checks}"
    );
    Ok(())
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
    // What no gateway would take, or what nothing can follow, is said at once.
    let elsewhere = Folder::new("rotated")?;
    let renamed = elsewhere.path().join("audit.key");
    fs::copy(&file, &renamed)?;
    let refused = ledger(&["rotate-key", text(&renamed)?])?;
    assert!(
        refused.code == 2 && refused.stderr.contains("no gateway would take the next key beside it"),
        "{refused:?}"
    );
    let witness = elsewhere.path().join("ledger.key");
    let made = SigningKey::generate(KeyName::new("w")?, Algorithm::Cosignature)?;
    write_private(&witness, &made.to_private_text())?;
    let refused = ledger(&["rotate-key", text(&witness)?])?;
    assert!(
        refused.code == 2 && refused.stderr.contains("is the key of a witness"),
        "{refused:?}"
    );
    assert_eq!(fs::read_dir(elsewhere.path())?.count(), 2, "nothing is made");
    let needless = ledger(&["verify", text(&gateway.ledger())?, "--key", &first, "--patience", "5"])?;
    assert!(
        needless.code == 2 && needless.stderr.contains("`--patience`"),
        "{needless:?}"
    );
    work(&gateway)?;
    gateway.stop()?;
    let dir = gateway.ledger();
    let before = gateway.file("before.tlog-proof");
    fs::write(&before, ledger(&["proof", text(&dir)?, "2"])?.stdout)?;
    let kept = gateway.file("before.checkpoint");
    fs::write(&kept, ledger(&["checkpoint", text(&dir)?])?.stdout)?;
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
    let pack = packed(&gateway)?;
    gateway.stop()?;
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

    let change = gateway.file("change.note");
    for known in [first.as_str(), next] {
        let proved = ledger(&["verify", text(&dir)?, "--key", known, "-o", "json"])?;
        assert_eq!(proved.code, 0, "{proved:?}");
        let report: Value = serde_json::from_str(&proved.stdout)?;
        assert_eq!(
            (&report["provedUpTo"], &report["strangeCheckpoints"]),
            (&report["size"], &0.into())
        );
        let changed = &report["keyChanges"][0];
        assert_eq!((&changed["to"], &changed["record"]), (&next.into(), &told[0]["seq"]));
        fs::write(&change, changed["statement"].as_str().context("a statement")?)?;
    }
    let said = ledger(&["verify", text(&dir)?, "--key", &first])?.stdout;
    assert!(said.contains("the key changed at size "), "{said}");

    let after = gateway.file("after.tlog-proof");
    fs::write(&after, ledger(&["proof", text(&dir)?, "2"])?.stdout)?;
    assert_eq!(ledger(&["verify", text(&before)?, "--key", &first])?.code, 0);
    assert_eq!(ledger(&["verify", text(&after)?, "--key", next])?.code, 0);
    assert_eq!(ledger(&["verify", text(&after)?, "--key", &first])?.code, 8);

    // Whoever has the change besides believes both keys, of a receipt as of a consistency proof.
    let since = gateway.file("since");
    fs::write(
        &since,
        ledger(&["checkpoint", text(&dir)?, "--since", text(&kept)?])?.stdout,
    )?;
    let change = text(&change)?;
    for known in [first.as_str(), next] {
        for receipt in [&before, &after] {
            let proved = ledger(&["verify", text(receipt)?, "--key", known, "--since", change])?;
            assert_eq!(proved.code, 0, "{proved:?}");
            assert!(proved.stdout.contains("the key changed at size "), "{proved:?}");
        }
        let remembered = ["--remembered", text(&kept)?];
        let alone = ledger(&[&["verify", text(&since)?, "--key", known], remembered.as_slice()].concat())?;
        assert_eq!(alone.code, 8, "{alone:?}");
        let along = [
            &["verify", text(&since)?, "--key", known, "--since", change],
            remembered.as_slice(),
        ]
        .concat();
        assert_eq!(ledger(&along)?.code, 0);
    }
    let other = ledger(&["verify", text(&after)?, "--key", &first, "--since", text(&kept)?])?;
    assert!(
        other.code == 2 && other.stderr.contains("only changes of the log's key count"),
        "{other:?}"
    );
    pack_holds(&pack, change, [&first, next], text(&dir)?)?;

    // The copy from before knows nothing of it, and whoever knows of the change is not content with it.
    assert_eq!(ledger(&["verify", text(older.path())?, "--key", &first])?.code, 0);
    assert_eq!(ledger(&["verify", text(older.path())?, "--key", next])?.code, 8);
    Ok(())
}
