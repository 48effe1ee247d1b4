//! Promise 5, attacked: a real gateway writes and signs its ledger. Afterwards somebody who can write every file of it changes
//! something, and `gatescribe ledger verify`, which has the public key alone, says what and where. And who breaks off is not accused: a start
//! that strace kills.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use ledger::note::{Algorithm, KeyName, VerifierKey};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::browser::Browser;
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, run};
use tests::metrics::Scrape;
use tests::process::Folder;
use tests::records::put_in;
use tests::tools::debian;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";

fn ledger(arguments: &[&str]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.arg("ledger").args(arguments);
    run(command, "", PATIENCE).with_context(|| arguments.join(" "))
}

fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path in UTF-8")
}

/// A gateway with some records, killed once in between and stopped in order at the end.
fn written(upstream: &FakeApiServer) -> anyhow::Result<(Gateway, String)> {
    let options = Options {
        authorization: Some("observe"),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)?;
    let key = gateway.public_key()?;
    work(&gateway)?;
    gateway.process().signal(Signal::SIGKILL)?;
    gateway.start_again()?;
    work(&gateway)?;
    gateway.stop()?;
    Ok((gateway, key))
}

fn work(gateway: &Gateway) -> anyhow::Result<()> {
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let client = gateway.client()?;
    for _ in 0..5 {
        let read = client.get(TARGET, &[("Authorization", &bearer)])?.status;
        ensure!(read == 200, "{read}");
    }
    Ok(())
}

fn copy(from: &Path, to: &Folder) -> anyhow::Result<PathBuf> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.path().join(entry.file_name()))?;
    }
    Ok(to.path().to_owned())
}

/// The segment with the first records.
fn first_segment(dir: &Path) -> PathBuf {
    dir.join(format!("{:020}.seg", 0))
}

#[test]
fn promise_5_every_record_is_proved_by_the_public_key_and_a_changed_one_is_named() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (gateway, key) = written(&upstream)?;
    let records = gateway.records()?;
    let dir = gateway.ledger();

    let half = ledger(&["key", text(&gateway.file("data/keys/ledger.key"))?])?;
    assert_eq!(half.stdout.trim_end(), key, "{half:?}");
    let proved = ledger(&["verify", text(&dir)?, "--key", &key, "-o", "json"])?;
    assert_eq!(proved.code, 0, "{proved:?}");
    let report: Value = serde_json::from_str(&proved.stdout)?;
    assert_eq!(report["provedUpTo"], records.len(), "{report}");
    assert_eq!(report["findings"], serde_json::json!([]));

    let target = records
        .iter()
        .rfind(|record| record["kind"] == "access")
        .context("a read of alice")?;
    let seq = target["seq"].as_u64().context("a number")?;
    let forged = Folder::new("forged")?;
    let forged = copy(&dir, &forged)?;
    let segment = fs::read_dir(&forged)?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|end| end == "seg"))
        .find_map(|path| {
            Some((path.clone(), fs::read(&path).ok()?)).filter(|(_, bytes)| position(bytes, seq).is_some())
        });
    let (path, mut bytes) = segment.context("the segment with that record")?;
    let at = position(&bytes, seq).context("the record")?;
    bytes[at + 40] ^= 1;
    fs::write(&path, bytes)?;

    let found = ledger(&["verify", text(&forged)?, "--key", &key])?;
    assert_eq!(found.code, 8, "{found:?}");
    assert!(found.stdout.contains(&format!("✖ record {seq}: ")), "{}", found.stdout);
    assert!(found.stdout.contains("✖ this ledger does not hold"), "{}", found.stdout);
    Ok(())
}

/// Where the leaf of this number begins.
fn position(bytes: &[u8], seq: u64) -> Option<usize> {
    let member = format!("\"seq\":{seq},");
    bytes
        .windows(member.len())
        .position(|window| window == member.as_bytes())
}

#[test]
fn promise_5_an_older_copy_is_caught_by_who_kept_a_checkpoint_and_is_not_signed_again() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (mut gateway, key) = written(&upstream)?;
    let (dir, older) = (gateway.ledger(), Folder::new("older")?);
    let older = copy(&dir, &older)?;
    gateway.start_again()?;
    work(&gateway)?;
    gateway.stop()?;
    let newest = ledger(&["checkpoint", text(&dir)?])?;
    assert_eq!(newest.code, 0, "{newest:?}");
    let kept = older.join("kept-elsewhere");
    fs::write(&kept, &newest.stdout)?;

    let alone = ledger(&["verify", text(&older)?, "--key", &key])?;
    assert_eq!(alone.code, 0, "an older copy holds by itself: {alone:?}");
    assert!(
        alone.stdout.contains("not shown: whether newer records were cut off"),
        "{}",
        alone.stdout
    );
    let remembered = ledger(&["verify", text(&older)?, "--key", &key, "--remembered", text(&kept)?])?;
    assert_eq!(remembered.code, 8, "{remembered:?}");
    assert!(remembered.stdout.contains("cut off"), "{}", remembered.stdout);

    // The disk loses the newest records, but not the checkpoint over them: the gateway does not tell a second story.
    let checkpoint = fs::read(dir.join("checkpoint"))?;
    fs::remove_dir_all(&dir)?;
    fs::rename(&older, &dir)?;
    fs::write(dir.join("checkpoint"), checkpoint)?;
    let refused = gateway
        .start_again()
        .expect_err("a ledger that lost records is not signed on")
        .to_string();
    assert!(refused.contains("an older copy was put back"), "{refused}");
    Ok(())
}

#[test]
fn a_ledger_that_no_given_key_signed_is_not_called_proved() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (gateway, key) = written(&upstream)?;
    let dir = gateway.ledger();
    let other = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let strange = ledger(&["verify", text(&dir)?, "--key", other])?;
    assert_eq!(strange.code, 8, "{strange:?}");
    assert!(strange.stdout.contains("nothing is proved"), "{}", strange.stdout);
    let mistyped = ledger(&["verify", text(&dir)?, "--key", &key.replacen("audit", "audjt", 1)])?;
    assert_eq!(mistyped.code, 2, "{mistyped:?}");
    let empty = Folder::new("empty")?;
    let nothing = ledger(&["verify", text(empty.path())?, "--key", &key])?;
    assert_eq!(nothing.code, 9, "{nothing:?}");
    assert_eq!(ledger(&["checkpoint", text(empty.path())?])?.code, 5);
    assert!(first_segment(&dir).exists());
    Ok(())
}

#[test]
fn promise_5_a_kept_checkpoint_is_shown_to_be_gone_on_from_and_the_status_says_what_is_there() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (mut gateway, key) = written(&upstream)?;
    let (dir, kept) = (gateway.ledger(), Folder::new("kept")?);
    let (earlier, proof) = (
        kept.path().join("earlier.checkpoint"),
        kept.path().join("since-earlier"),
    );
    fs::write(&earlier, ledger(&["checkpoint", text(&dir)?])?.stdout)?;
    let before = status(&dir)?;
    assert_eq!(before.0, 0, "{before:?}");
    gateway.start_again()?;
    work(&gateway)?;
    gateway.stop()?;

    let made = ledger(&["checkpoint", text(&dir)?, "--since", text(&earlier)?])?;
    assert_eq!(made.code, 0, "{made:?}");
    fs::write(&proof, &made.stdout)?;
    let verify = |proof: &Path, remembered: &Path| -> anyhow::Result<Output> {
        ledger(&[
            "verify",
            text(proof)?,
            "--key",
            &key,
            "--remembered",
            text(remembered)?,
            "-o",
            "json",
        ])
    };
    let shown = verify(&proof, &earlier)?;
    assert_eq!(shown.code, 0, "{shown:?}");
    let shown: Value = serde_json::from_str(&shown.stdout)?;
    let (code, now) = status(&dir)?;
    assert_eq!((code, &now["size"]), (0, &shown["size"]), "{now}");
    assert_eq!(before.1["size"], shown["from"]);
    assert_eq!(now["checkpoint"]["size"], now["size"]);
    let id = now["checkpoint"]["keys"][0].as_str().context("a key")?;
    assert!(key.starts_with(id), "{key} is {id}");
    assert_eq!(now["missing"], serde_json::json!([]));

    // One hash of the proof is another one.
    let lines: Vec<_> = made.stdout.lines().collect();
    let forged = made.stdout.replacen(lines[1], &format!("{}=", "A".repeat(43)), 1);
    let wrong = kept.path().join("forged");
    fs::write(&wrong, forged)?;
    assert_eq!(verify(&wrong, &earlier)?.code, 8);
    let newest = kept.path().join("newest.checkpoint");
    fs::write(&newest, ledger(&["checkpoint", text(&dir)?])?.stdout)?;
    assert_eq!(verify(&proof, &newest)?.code, 2, "it is about another checkpoint");
    assert_eq!(ledger(&["verify", text(&proof)?, "--key", &key])?.code, 2);
    // A witness that has cosigned nothing is asked for, and a receipt goes on from nothing.
    let stranger = VerifierKey::new(KeyName::new("stranger")?, Algorithm::Cosignature, [7; 32]).to_string();
    let (asked, earlier) = (["--key", &key, "--witness", &stranger], text(&earlier)?);
    let unwitnessed = ledger(&[&["verify", text(&proof)?, "--remembered", earlier], &asked[..]].concat())?;
    assert_eq!(unwitnessed.code, 8, "{unwitnessed:?}");
    assert!(unwitnessed.stderr.contains("1 of the 1 witnesses"), "{unwitnessed:?}");
    let receipt = kept.path().join("receipt");
    fs::write(&receipt, ledger(&["proof", text(&dir)?, "0"])?.stdout)?;
    assert_eq!(ledger(&["verify", text(&receipt)?, "--key", &key])?.code, 0);
    assert_eq!(
        ledger(&["verify", text(&receipt)?, "--key", &key, "--remembered", earlier])?.code,
        2
    );

    // Without its last segments the ledger has fewer records than were signed.
    let folder = Folder::new("copy")?;
    let copy = copy(&dir, &folder)?;
    let first = first_segment(&copy);
    for entry in fs::read_dir(&copy)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "seg") && path != first {
            fs::remove_file(&path)?;
        }
    }
    let (code, cut) = status(&copy)?;
    assert_eq!(code, 8, "{cut}");
    assert!(cut["cutOff"].as_u64() > Some(0), "{cut}");
    let (code, words) = {
        let said = ledger(&["status", text(&copy)?])?;
        (said.code, said.stdout)
    };
    assert_eq!(code, 8);
    assert!(words.contains("were signed and are not here any more"), "{words}");
    let empty = Folder::new("empty")?;
    assert_eq!(ledger(&["status", text(empty.path())?])?.code, 5);
    Ok(())
}

fn status(dir: &Path) -> anyhow::Result<(i32, Value)> {
    let said = ledger(&["status", text(dir)?, "-o", "json"])?;
    Ok((said.code, serde_json::from_str(&said.stdout)?))
}

#[test]
fn promise_5_records_put_in_between_two_runs_are_not_the_gateways_and_it_says_so() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (mut gateway, key) = written(&upstream)?;
    let dir = gateway.ledger();
    let whole = ledger(&["verify", text(&dir)?, "--key", &key])?;
    ensure!(whole.code == 0, "{whole:?}");
    // Once it was killed: of its last second nothing is proved.
    let json: Value = serde_json::from_str(&ledger(&["verify", text(&dir)?, "--key", &key, "-o", "json"])?.stdout)?;
    ensure!(
        json["unsignedAtAnEnd"].as_array().is_some_and(|all| all.len() <= 1),
        "{json}"
    );

    let forged = put_in(&dir)?;
    gateway.start_again()?;
    let records = format!("records {} to {}", forged.start, forged.end - 1);
    let found =
        format!("{records} are not the gateway's: put in behind the end of a run that had signed all of its records");
    let page = Browser::default().request("GET", &format!("http://{}/readyz", gateway.admin()), "")?;
    ensure!(page.status == 200 && page.body.contains(&found), "{}", page.body);
    let findings = Scrape::of(gateway.admin())?.sum("gateway_ledger_findings", &[]);
    ensure!((1.0..2.0).contains(&findings), "one finding, not {findings}");
    ensure!(
        gateway
            .log()
            .contains("this gateway did not write them, and takes nothing away by them"),
        "the log says it"
    );
    work(&gateway).context("it goes on serving")?;
    gateway.stop()?;
    // They stay, signed with the rest, and are named for good; the run behind them is whole.
    let of_damage = |records: Vec<Value>| {
        records
            .into_iter()
            .filter(|record| record["kind"] == "damage")
            .collect::<Vec<_>>()
    };
    let said = of_damage(gateway.records()?);
    ensure!(said.len() == 1, "{said:?}");
    ensure!(
        said[0]["unsigned"] == serde_json::json!({"from": forged.start, "until": forged.end}),
        "{said:?}"
    );
    let verified = ledger(&["verify", text(&dir)?, "--key", &key])?;
    ensure!(verified.code == 8, "{verified:?}");
    let expected = format!(
        "✖ {records}: not the gateway's: it was put in behind the end of a run that had signed all of its records, as record {} says (",
        said[0]["seq"]
    );
    ensure!(verified.stdout.starts_with(&expected), "{}", verified.stdout);
    ensure!(
        verified.stdout.matches('✖').count() == 2,
        "no other record is accused: {}",
        verified.stdout
    );
    Ok(())
}

#[test]
fn promise_5_behind_a_start_that_fails_before_its_first_record_what_is_put_in_is_not_the_gateways_either()
-> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (mut gateway, key) = written(&upstream)?;
    let (dir, records) = (gateway.ledger(), gateway.records()?.len());
    let (recordings, aside) = (gateway.file("data/recordings"), gateway.file("data/recordings.aside"));
    fs::rename(&recordings, &aside)?;
    fs::write(&recordings, "a file where the folder should be")?;
    let mut serve = Command::new(own_binary("gatescribe")?);
    serve.arg("serve").arg("--config").arg(gateway.config());
    let failed = run(serve, "", PATIENCE)?;
    ensure!(
        failed.code != 0 && failed.stderr.contains("cannot make the folder of recordings"),
        "{failed}"
    );
    ensure!(gateway.records()?.len() == records, "it recorded nothing");
    fs::remove_file(&recordings)?;
    fs::rename(&aside, &recordings)?;

    let forged = put_in(&dir)?;
    gateway.start_again()?;
    gateway.stop()?;
    let verified = ledger(&["verify", text(&dir)?, "--key", &key])?;
    let expected = format!("✖ records {} to {}: not the gateway's", forged.start, forged.end - 1);
    ensure!(
        verified.code == 8 && verified.stdout.starts_with(&expected),
        "{verified}"
    );
    Ok(())
}

/// The API server's log, read into a ledger of its own.
fn observe(mut command: Command, log: &Path, dir: &Path) -> anyhow::Result<Output> {
    command.args(["observe", "--cluster", "bench", "--log"]).arg(log);
    command.arg("--ledger").arg(dir);
    run(command, "", PATIENCE)
}

#[test]
fn promise_5_wherever_a_start_of_observe_is_killed_it_is_not_accused_of_its_own_records() -> anyhow::Result<()> {
    const EVENT: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"aa","level":"Metadata","stage":"ResponseComplete","verb":"get",
        "requestURI":"/version","user":{"username":"alice"},"requestReceivedTimestamp":"2026-11-22T10:00:00.000000Z","stageTimestamp":"2026-11-22T10:00:00.000000Z"}"#;
    let folder = Folder::new("killed")?;
    let (log, dir) = (folder.path().join("audit.log"), folder.path().join("observed"));
    fs::write(&log, EVENT.replace('\n', " "))?;
    let program = own_binary("gatescribe")?;
    let ends = || -> anyhow::Result<()> {
        let ended = observe(Command::new(&program), &log, &dir)?;
        ensure!(ended.code == 0, "{ended}");
        Ok(())
    };
    ends()?;
    let mut killed = 0;
    for call in ["rename", "fsync", "fdatasync"] {
        for n in 1.. {
            let mut strace = debian(&["strace", "libunwind8", "liblzma5"])?.command("strace")?;
            strace.args(["-f", "-qq", "-o", "/dev/null", "-E", "LD_LIBRARY_PATH", "-e"]);
            strace.args([&format!("trace={call}"), "-e"]);
            strace.arg(format!("inject={call}:signal=KILL:when={n}")).arg(&program);
            let run = observe(strace, &log, &dir)?;
            if run.code == 0 {
                break;
            }
            ensure!(run.code == -1, "is ptrace permitted here? {run}");
            killed += 1;
            ends()?;
        }
    }
    ensure!(killed > 9, "only {killed} places");
    let key = folder.path().join("observed.keys/ledger.pub");
    let verified = ledger(&["verify", text(&dir)?, "--key", fs::read_to_string(key)?.trim()])?;
    ensure!(verified.code == 0, "{verified}");
    Ok(())
}

#[test]
fn promise_5_a_running_gateway_says_that_its_ledger_was_changed() -> anyhow::Result<()> {
    let upstream = FakeApiServer::start()?;
    let (mut gateway, _) = written(&upstream)?;
    gateway.start_again()?;
    let count = |name: &str| -> anyhow::Result<f64> { Ok(Scrape::of(gateway.admin())?.sum(name, &[])) };
    try_until("a round without a finding", PATIENCE, || {
        ensure!(count("gateway_ledger_checks_total")? >= 1.0, "no round yet");
        Ok(())
    })?;
    ensure!(count("gateway_ledger_findings")? < 1.0, "an alarm without a cause");

    // The first record of all stands in a sealed segment.
    let segment = first_segment(&gateway.ledger());
    let mut bytes = fs::read(&segment)?;
    let at = position(&bytes, 0).context("the first record")?;
    bytes[at + 40] ^= 1;
    fs::write(&segment, bytes)?;
    let found = "the ledger is not the one that was signed: record 0: ";
    let ready = format!("http://{}/readyz", gateway.admin());
    try_until("an alarm", PATIENCE, || {
        let page = Browser::default().request("GET", &ready, "")?;
        ensure!(page.status == 200, "it goes on serving, and says {}", page.status);
        ensure!(page.body.contains(found), "{}", page.body);
        Ok(())
    })?;
    let findings = count("gateway_ledger_findings")?;
    ensure!((1.0..2.0).contains(&findings), "one finding, not {findings}");
    try_until("a record", PATIENCE, || {
        let reader = ledger::Reader::open(&gateway.ledger())?;
        let last = reader.segments().last().context("a segment")?;
        let records = reader.records_in(*last).filter_map(Result::ok);
        let alarms = records.filter(|record| String::from_utf8_lossy(&record.leaf).contains(found));
        let kinds: Vec<_> = alarms.map(|record| record.kind.name()).collect();
        ensure!(kinds == ["damage"], "{kinds:?}");
        Ok(())
    })?;
    work(&gateway).context("it goes on serving")?;
    gateway.stop()
}
