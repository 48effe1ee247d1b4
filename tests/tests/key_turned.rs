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
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ledger::evidence::Evidence;
use ledger::note::{Algorithm, KeyName, Note, Signer, SigningKey};
use ledger::{Checkpoint, Ledger, NEWEST_CHECKPOINT, Publisher, Reader, RealDisk};
use model::event::RecordKind;
use model::time::Timestamp;
use nix::sys::signal::Signal;
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

/// What the thief of the retired key makes: a ledger of three records of his own, signed by that key, and in it the change as both keys signed it.
fn forge(dir: &Path, stolen: &str, change: &str) -> anyhow::Result<(Note, Evidence)> {
    let signer: Arc<dyn Signer> = Arc::new(stolen.trim_end().parse::<SigningKey>()?);
    let disk: Arc<dyn ledger::Disk> = Arc::new(RealDisk::new(dir));
    let ledger = Arc::new(Ledger::open(dir, ledger::Options::default(), Arc::clone(&disk))?.0);
    for _ in 0..3 {
        let body = br#"{"id":"forged","note":"nothing was deleted"}"#.to_vec();
        let ticket = ledger.append(RecordKind::Access, body, Vec::new())?;
        ticket.wait().map_err(|lost| anyhow::anyhow!("{lost:?}"))?;
    }
    let clock = Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000));
    Publisher::start(&ledger, Arc::clone(&disk), None, vec![signer], clock)?.finish()?;
    let note = Note::parse(&fs::read(dir.join(NEWEST_CHECKPOINT))?)?;
    let spot = Reader::open(dir)?.records_from(1).next().context("a record")??.spot();
    let statement = br#"{"v":1,"made":"2026-11-22T00:00:00Z","tool":"t","query":"","to":"2026-11-22T00:00:00Z","scope":"all","acts":{"range":1,"matched":1,"packed":1},"records":[[1]]}"#;
    let pack = Evidence::make(
        &ledger.tiles(),
        statement.to_vec(),
        &[spot],
        None,
        note.clone(),
        &|| true,
    )?;
    ledger.close();
    Ok((note, pack.with_changes(vec![Note::parse(change.as_bytes())?])))
}

/// Whoever knows of the change is not content with what the retired key signed alone, and admits it where it is shown to be of the same history.
fn a_stolen_key_signs_no_other_beginning(
    folder: &Path,
    stolen: &str,
    change: &str,
    pack: &Path,
    keys: [&str; 2],
) -> anyhow::Result<()> {
    let dir = folder.join("forged");
    let (note, forged) = forge(&dir, stolen, &fs::read_to_string(change)?)?;
    ensure!(Checkpoint::parse(note.text())?.size == 3);
    let receipt = folder.join("forged.tlog-proof");
    fs::write(&receipt, ledger(&["proof", text(&dir)?, "1"])?.stdout)?;
    // The thief's pack stands in the very page that an honest one stands in.
    let page = fs::read_to_string(pack)?;
    let begin = page.find("gatescribe.dev/evidence@v1").context("the data")?;
    let (before, rest) = page.split_at(begin);
    let (_, behind) = rest.split_once("</script>").context("the end of the data")?;
    let file = folder.join("forged.html");
    fs::write(&file, format!("{before}{forged}</script>{behind}"))?;
    for known in keys {
        let refused = ledger(&["verify", text(&receipt)?, "--key", known, "--since", change])?;
        assert!(
            refused.code == 8
                && refused
                    .stderr
                    .contains("nothing shows that they begin with the 3 that it signed"),
            "{refused:?}"
        );
        let refused = evidence(&["verify", text(&file)?, "--key", known])?;
        assert!(
            refused.code == 8
                && refused
                    .stdout
                    .contains("nothing shows that they begin with the 3 that it signed"),
            "{refused:?}"
        );
        let refused = ledger(&["verify", text(&dir)?, "--key", known, "--since", change])?;
        assert!(
            refused.code == 8 && refused.stdout.contains("✖ records 0 to 2: they lead to what"),
            "{refused:?}"
        );
    }
    let both = |what: &Path| ledger(&["verify", text(what)?, "--key", keys[0], "--key", keys[1]]);
    for refused in [both(&receipt)?, both(&dir)?] {
        let said = format!("{}{}", refused.stdout, refused.stderr);
        assert!(
            refused.code == 8 && said.contains("no change leads from one to the other"),
            "{refused:?}"
        );
    }
    let url = format!("file://{}", file.display());
    let seen = look(&[
        json!({"url": url, "types": keys[0]}),
        json!({"url": url, "types": keys[1]}),
    ])?;
    for page in &seen {
        assert_eq!(page["verdict"], "bad", "{page:#}");
        let faults = page["faults"].to_string();
        assert!(
            faults.contains("nothing here shows that they begin with the 3 that it signed"),
            "{page:#}"
        );
    }
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
    let stolen = fs::read_to_string(&file)?;
    work(&gateway)?;
    // What somebody keeps of a smaller tree than the change will state.
    let (early, earlier) = (gateway.file("early.tlog-proof"), gateway.file("earlier.html"));
    let live = gateway.ledger();
    try_until("record 2 is signed", PATIENCE, || {
        let made = ledger(&["proof", text(&live)?, "2"])?;
        ensure!(made.code == 0, "{made:?}");
        Ok(fs::write(&early, made.stdout)?)
    })?;
    try_until("what is packed is signed", PATIENCE, || {
        let made = evidence(&["pack", "verb:list", "--dir", text(&live)?, "-o", text(&earlier)?])?;
        ensure!(made.code == 0, "{made:?}");
        Ok(())
    })?;
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
    let goes_on = gateway.file("goes-on");
    fs::write(
        &goes_on,
        ledger(&["checkpoint", text(&dir)?, "--since", text(&early)?])?.stdout,
    )?;
    let change = text(&change)?;
    for known in [first.as_str(), next] {
        // The change states the very root that the newer of the two receipts from before it has.
        let proof = text(&goes_on)?;
        for (receipt, proofs) in [(&early, &["--since", proof][..]), (&before, &[]), (&after, &[])] {
            let arguments = ["verify", text(receipt)?, "--key", known, "--since", change];
            let proved = ledger(&[&arguments, proofs].concat())?;
            assert_eq!(proved.code, 0, "{proved:?}");
            assert!(proved.stdout.contains("the key changed at size "), "{proved:?}");
        }
        // By itself it could be of whoever has stolen the old key since.
        let alone = ledger(&["verify", text(&early)?, "--key", known, "--since", change])?;
        assert!(
            alone.code == 8 && alone.stderr.contains("nothing shows that they begin with"),
            "{alone:?}"
        );
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
        other.code == 2 && other.stderr.contains("a receipt is checked by itself"),
        "{other:?}"
    );
    pack_holds(&pack, change, [&first, next], text(&dir)?)?;
    a_stolen_key_signs_no_other_beginning(elsewhere.path(), &stolen, change, &pack, [&first, next])?;
    // A pack of the old key, from before the change, with the proof that the ledger went on from it.
    let goes_on = gateway.file("goes-on-from-the-pack");
    let shown = ledger(&["checkpoint", text(&dir)?, "--since", text(&earlier)?])?;
    assert_eq!(shown.code, 0, "{shown:?}");
    fs::write(&goes_on, shown.stdout)?;
    let verify = ["verify", text(&earlier)?, "--key", next, "--since", change];
    assert_eq!(evidence(&verify)?.code, 8);
    let along = evidence(&[&verify[..], &["--since", text(&goes_on)?]].concat())?;
    assert_eq!(along.code, 10, "nobody vouches for its counts: {along:?}");

    // The copy from before knows nothing of it, and whoever knows of the change is not content with it.
    assert_eq!(ledger(&["verify", text(older.path())?, "--key", &first])?.code, 0);
    assert_eq!(ledger(&["verify", text(older.path())?, "--key", next])?.code, 8);
    Ok(())
}

#[test]
fn the_key_that_seals_the_state_file_changes_at_the_next_start_and_sessions_go_on() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
    let signed_in = gateway.sign_in("alice")?;
    let (seal, next) = (gateway.file("data/keys/seal"), gateway.file("data/keys/seal.next"));
    let before = fs::read(&seal)?;
    let config = gateway.config();
    let rotate = || ledger(&["keys", "rotate-seal", "--config", text(&config)?]);
    let made = rotate()?;
    assert_eq!(made.code, 0, "{made:?}");
    assert_eq!(rotate()?.code, 6, "one at a time");
    let after = fs::read(&next)?;
    // The gateway that runs seals with the key that it began with.
    let signed_in = gateway.renew(&signed_in.handle, "bench")?;
    assert_eq!(fs::read(&seal)?, before);
    gateway.process().signal(Signal::SIGKILL)?;
    gateway.start_again()?;
    assert_eq!(fs::read(&seal)?, after);
    assert!(!next.exists());
    let said = "the key that seals the state file has changed, and all of it is sealed anew";
    assert!(gateway.log().contains(said), "{}", gateway.log());
    let signed_in = gateway.renew(&signed_in.handle, "bench")?;
    let bearer = format!("Bearer {}", signed_in.token);
    assert_eq!(
        gateway.client()?.get(TARGET, &[("Authorization", &bearer)])?.status,
        200
    );
    // And once more, in order.
    assert_eq!(rotate()?.code, 0);
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.start_again()?;
    assert_ne!(fs::read(&seal)?, after);
    gateway.renew(&signed_in.handle, "bench")?;
    Ok(())
}
