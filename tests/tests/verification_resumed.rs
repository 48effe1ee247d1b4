//! A long verification that is killed and gone on with, and what somebody changes meanwhile (promise 5).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
use ledger::{Disk, Ledger, Options, Publisher, RealDisk};
use model::event::RecordKind;
use model::time::Timestamp;
use serde_json::Value;
use tests::counterparts::own_binary;
use tests::kubectl::{Output, run};
use tests::process::Folder;
use tests::wait::{PATIENCE, try_until};

/// A ledger of many small segments, and who verifies it.
struct Stage {
    folder: Folder,
    key: String,
    segments: Vec<PathBuf>,
}

impl Stage {
    fn new() -> anyhow::Result<Self> {
        let folder = Folder::new("resumed")?;
        let dir = folder.path().join("ledger");
        let signer = SigningKey::generate(KeyName::new("gate.example/resumed")?, Algorithm::Ed25519)?;
        let key = signer.key().to_string();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&dir));
        let options = Options {
            segment_bytes: 64 << 10,
            max_open: 32,
            outcome_bytes: 512,
            ..Options::default()
        };
        let ledger = Arc::new(Ledger::open(&dir, options, Arc::clone(&disk))?.0);
        for number in 0..120 {
            let body = format!("{{\"id\":\"{number}\",\"note\":\"{}\"}}", "n".repeat(4_000));
            let ticket = ledger.append(RecordKind::Access, body.into_bytes(), Vec::new())?;
            ticket.wait().map_err(|lost| anyhow::anyhow!("{lost:?}"))?;
        }
        let clock = Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000));
        let publisher = Publisher::start(&ledger, disk, None, vec![Arc::new(signer)], clock)?;
        ledger.close();
        publisher.finish()?;
        let mut segments: Vec<PathBuf> = fs::read_dir(&dir)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
        segments.sort();
        ensure!(segments.len() > 5, "{segments:?}");
        Ok(Self { folder, key, segments })
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    fn command(&self, more: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(own_binary("gatescribe")?);
        command.args(["ledger", "verify"]).arg(self.dir());
        command.args(["--key", &self.key, "--resume"]).args(more);
        command.env("GATESCRIBE_HOME", self.folder.path().join("home"));
        Ok(command)
    }

    fn verify(&self, more: &[&str]) -> anyhow::Result<Output> {
        run(self.command(more)?, "", PATIENCE)
    }

    /// The file with what was left; none where nothing was.
    fn left(&self) -> Option<PathBuf> {
        let files = fs::read_dir(self.folder.path().join("home/verifications")).ok()?;
        files.filter_map(|entry| Some(entry.ok()?.path())).next()
    }

    /// Two changes of a file within one tick of a clock look like one: nothing is left of what was changed just now.
    fn settled(&self) -> anyhow::Result<()> {
        try_until("nothing was changed just now", PATIENCE, || {
            for segment in &self.segments {
                let changed = Duration::from_secs(u64::try_from(segment.metadata()?.ctime())?);
                let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + changed)?;
                ensure!(age > Duration::from_secs(4), "{age:?}");
            }
            Ok(())
        })
    }

    /// Has a verification come to the newest segment, which it cannot open, and kills it there. Gives how many segments it has left.
    fn interrupted(&self) -> anyhow::Result<usize> {
        self.settled()?;
        let (last, aside) = (
            self.segments.last().context("a segment")?,
            self.folder.path().join("aside"),
        );
        fs::rename(last, &aside)?;
        ensure!(Command::new("mkfifo").arg(last).status()?.success());
        // The one before it asks the newest one's header where it ends.
        let wanted = self.segments.len() - 2;
        let mut child = self.command(&[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let read = try_until("all before the newest are read", PATIENCE, || {
            let text = fs::read_to_string(self.left().context("a file")?)?;
            let lines = text.lines().filter(|line| line.starts_with("{\"v\":")).count();
            ensure!(lines == wanted, "{lines} of {wanted}");
            Ok(())
        });
        child.kill()?;
        child.wait()?;
        fs::remove_file(last)?;
        fs::rename(&aside, last)?;
        read.map(|()| wanted)
    }
}

fn report(output: &Output) -> anyhow::Result<Value> {
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

fn flip(file: &Path) -> anyhow::Result<()> {
    let mut bytes = fs::read(file)?;
    let at = bytes.len() / 2;
    *bytes.get_mut(at).context("a byte")? ^= 1;
    Ok(fs::write(file, bytes)?)
}

#[test]
fn promise_5_a_killed_verification_is_gone_on_with_and_says_what_it_did_not_read_again() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let whole = report(&stage.verify(&["-o", "json"])?)?;
    assert_eq!(whole["proved"], true, "{whole:#}");
    assert_eq!(whole["recalled"]["segments"], 0, "there was nothing to go on with");
    assert_eq!(stage.left(), None, "what came to its end leaves nothing");

    let left = stage.interrupted()?;
    let gone_on = stage.verify(&["-o", "json"])?;
    assert_eq!(gone_on.code, 0, "{gone_on:?}");
    let said = report(&gone_on)?;
    let recalled = &said["recalled"];
    assert_eq!(
        (&recalled["segments"], &said["segments"]),
        (&left.into(), &2.into()),
        "{said:#}"
    );
    assert_eq!(
        (&said["provedUpTo"], &said["signers"]),
        (&whole["provedUpTo"], &whole["signers"])
    );
    let sum = |name: &str| {
        recalled[name]
            .as_u64()
            .zip(said[name].as_u64())
            .map(|(then, now)| then + now)
    };
    assert_eq!(sum("records"), whole["records"].as_u64());
    assert_eq!(recalled["notReadAgain"][0]["from"], 0);
    assert_eq!(stage.left(), None);

    stage.interrupted()?;
    let words = stage.verify(&[])?;
    assert!(
        words.code == 0
            && words
                .stdout
                .contains(" were read by the verification that was begun at 2"),
        "{words:?}"
    );
    assert!(words.stdout.contains("not shown: whether records 0 to "), "{words:?}");

    // Changed behind the place where it was killed: found, and located as by a verification that reads all.
    stage.interrupted()?;
    let second = stage.segments.get(1).context("a second segment")?;
    let honest = fs::read(second)?;
    flip(second)?;
    let found = stage.verify(&["-o", "json"])?;
    assert_eq!(found.code, 8, "{found:?}");
    let said = report(&found)?;
    let all_again = report(&stage.verify(&["-o", "json"])?)?;
    assert_eq!(said["findings"], all_again["findings"]);
    assert_eq!(said["recalled"]["segmentsReadAgain"], 1, "{said:#}");
    fs::write(second, honest)?;
    Ok(())
}

#[test]
fn promise_5_what_others_could_have_left_is_not_gone_on_with() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    stage.interrupted()?;
    let file = stage.left().context("what was left")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666))?;
    let refused = stage.verify(&[])?;
    assert!(
        refused.code == 8 && refused.stderr.contains("open for others to write"),
        "{refused:?}"
    );
    let elsewhere = stage.folder.path().join("elsewhere");
    fs::rename(&file, &elsewhere)?;
    symlink(&elsewhere, &file)?;
    let refused = stage.verify(&[])?;
    assert!(
        refused.code == 9 && refused.stderr.contains("cannot keep"),
        "{refused:?}"
    );
    fs::remove_file(&file)?;
    // Whoever may write the ledger's folder could write there, too.
    let mut inside = stage.command(&[])?;
    inside.env("GATESCRIBE_HOME", stage.dir().join("home"));
    let refused = run(inside, "", PATIENCE)?;
    assert!(
        refused.code == 2 && refused.stderr.contains("lies in the folder that is verified"),
        "{refused:?}"
    );
    for what in ["https://127.0.0.1:1", "missing.tlog-proof"] {
        let mut other = Command::new(own_binary("gatescribe")?);
        other.args(["ledger", "verify", what, "--key", &stage.key, "--resume"]);
        let refused = run(other, "", PATIENCE)?;
        assert!(
            refused.code == 2 && refused.stderr.contains("`--resume` is for a ledger's folder"),
            "{refused:?}"
        );
    }
    Ok(())
}
