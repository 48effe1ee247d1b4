//! A long verification that is killed and gone on with, what somebody changes meanwhile (promise 5), and how far it says that it is.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
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
use tests::left_out::{Lack, left_out};
use tests::process::Folder;
use tests::terminal::in_window;
use tests::wait::{PATIENCE, try_until};

/// Bytes that a segment is made as long as, so that a verification is still at it when it is killed.
const LONG: u64 = 1 << 29;
/// How often that is tried, should the machine be faster than who kills it.
const ATTEMPTS: usize = 20;

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
        let mut command = self.plain()?;
        command.arg("--resume").args(more);
        Ok(command)
    }

    /// The same without `--resume`.
    fn plain(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(own_binary("gatescribe")?);
        command.args(["ledger", "verify"]).arg(self.dir());
        command.args(["--key", &self.key]);
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

    /// Kills a verification that has read all but the newest segment, which has a long end of zeros meanwhile. Gives how many segments it has left.
    fn interrupted(&self) -> anyhow::Result<usize> {
        self.interrupted_with(self.segments.len() - 1)
    }

    /// The same, once it has left so many.
    fn interrupted_with(&self, wanted: usize) -> anyhow::Result<usize> {
        self.settled()?;
        let last = fs::File::options()
            .write(true)
            .open(self.segments.last().context("a segment")?)?;
        let len = last.metadata()?.len();
        // Zeros where nothing was written yet, as in a young segment, and a hole in the file: it takes seconds to read and no room.
        last.set_len(LONG)?;
        let killed = (0..ATTEMPTS).find_map(|_| self.killed_with(wanted).transpose());
        last.set_len(len)?;
        killed.unwrap_or_else(|| anyhow::bail!("each of {ATTEMPTS} verifications had come to its end"))
    }

    /// Nothing where it came to its end before it could be killed; then it leaves nothing either.
    fn killed_with(&self, wanted: usize) -> anyhow::Result<Option<usize>> {
        let mut child = self.command(&[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let read = try_until("all before the newest are read", PATIENCE, || {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            let text = fs::read_to_string(self.left().context("a file")?)?;
            let lines = text.lines().filter(|line| line.starts_with("{\"v\":")).count();
            ensure!(lines == wanted, "{lines} of {wanted}");
            Ok(())
        });
        child.kill()?;
        let ended = child.wait()?;
        read?;
        Ok((ended.signal() == Some(9)).then_some(wanted))
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
        (&left.into(), &1.into()),
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

/// Python runs what the attacker does: mapped memory and calls of the kernel take `unsafe` in Rust.
fn python(program: &str, file: &Path) -> anyhow::Result<Output> {
    let mut command = Command::new("python3");
    command.args(["-c", program]).arg(file);
    run(command, "", PATIENCE)
}

/// Exchanges what the file holds with other blocks of the disk: `EXT4_IOC_MOVE_EXT`, which leaves all times as they were. Ends with
/// [`NO_EXCHANGE`] where the file system has no such thing, and with 1 where it has and did something else.
const MOVE_EXTENTS: &str = r#"
import errno, fcntl, os, struct, sys
path = sys.argv[1]
other = path + ".other"
size = os.stat(path).st_size
with open(other, "wb") as file:
    file.write(b"f" * size)
ours, theirs = os.open(other, os.O_RDWR), os.open(path, os.O_RDWR)
before, old = os.fstat(theirs), os.pread(theirs, size, 0)
blocks, done = (size + 4095) // 4096, 0
for attempt in range(200):
    for file in (ours, theirs):
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    argument = bytearray(struct.pack("=IIQQQQ", 0, theirs, done, done, blocks - done, 0))
    try:
        fcntl.ioctl(ours, 0xC028660F, argument)
    except OSError as error:
        if done == 0 and error.errno in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
            print(error)
            sys.exit(3)
        if error.errno not in (errno.EAGAIN, errno.EBUSY):
            raise
    done += struct.unpack("=IIQQQQ", argument)[5]
    if done >= blocks:
        break
os.fsync(ours)
os.posix_fadvise(theirs, 0, 0, os.POSIX_FADV_DONTNEED)
after, new = os.fstat(theirs), os.pread(theirs, size, 0)
same = (before.st_ctime_ns, before.st_mtime_ns, before.st_ino) == (after.st_ctime_ns, after.st_mtime_ns, after.st_ino)
os.unlink(other)
if done == 0:
    print("it is busy")
    sys.exit(3)
if not same or new == old:
    sys.exit(f"exchanged {done} of {blocks} blocks; times as they were: {same}; other content: {new != old}")
"#;
const NO_EXCHANGE: i32 = 3;

/// Writes to a page of the file by mapped memory before and after the verification has read it, with one mapping and no call in between.
const MAPPED: &str = r#"
import mmap, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
size = os.fstat(file).st_size
mapped = mmap.mmap(file, size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
at = size // 2
mapped[at] = mapped[at]
print("touched", flush=True)
sys.stdin.readline()
mapped[at] ^= 1
print("changed", flush=True)
sys.stdin.readline()
"#;

/// Whether the ledger lies where files can be known again. Elsewhere all is read each time, and there is nothing to attack.
fn leaves_traces(stage: &Stage, case: &str) -> anyhow::Result<bool> {
    let mut command = Command::new("stat");
    command.args(["-f", "-c", "%T"]).arg(stage.dir());
    let system = run(command, "", PATIENCE)?.stdout;
    let leaves = ["ext2/ext3", "xfs", "btrfs"].contains(&system.trim());
    if !leaves {
        left_out(case, Lack::Times, &system)?;
    }
    Ok(leaves)
}

#[test]
fn promise_5_a_file_whose_blocks_were_exchanged_by_somebody_who_may_write_to_it_is_read_again() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    if !leaves_traces(&stage, "a file whose blocks are exchanged")? {
        return Ok(());
    }
    let second = stage.segments.get(1).context("a second segment")?;
    fs::set_permissions(second, fs::Permissions::from_mode(0o666))?;
    // Nothing of it is left, and that is said at once.
    let left = stage.interrupted_with(stage.segments.len() - 2)?;
    let exchanged = python(MOVE_EXTENTS, second)?;
    if exchanged.code == NO_EXCHANGE {
        left_out("a file whose blocks are exchanged", Lack::Exchange, &exchanged.stdout)?;
        return Ok(());
    }
    ensure!(exchanged.code == 0, "{exchanged}");
    let found = stage.verify(&["-o", "json"])?;
    assert_eq!(found.code, 8, "{found:?}");
    assert!(found.stderr.contains("others than you may write to them"), "{found:?}");
    let said = report(&found)?;
    // The one before it asks for its header, which is gone with the rest.
    assert_eq!(said["recalled"]["segments"], left - 1, "{said:#}");
    assert_eq!(said["recalled"]["segmentsReadAgain"], 1, "{said:#}");
    assert_eq!(said["recalled"]["readEachTime"][0]["segments"], 1, "{said:#}");
    assert_eq!(said["findings"][0]["file"].as_str(), second.to_str(), "{said:#}");
    Ok(())
}

#[test]
fn promise_5_a_file_that_was_changed_by_mapped_memory_while_it_was_verified_is_read_again() -> anyhow::Result<()> {
    use std::io::{BufRead as _, BufReader, Write as _};
    let stage = Stage::new()?;
    if !leaves_traces(&stage, "a file that is changed by mapped memory")? {
        return Ok(());
    }
    let second = stage.segments.get(1).context("a second segment")?;
    let mut command = Command::new("python3");
    command.args(["-c", MAPPED]).arg(second);
    let mut thief = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut told = BufReader::new(thief.stdout.take().context("its words")?).lines();
    assert_eq!(told.next().context("a word")??, "touched");
    // The page is dirty now, so that what is written to it next makes no fault.
    let left = stage.interrupted()?;
    let mut go_on = thief.stdin.take().context("a way to tell it")?;
    writeln!(go_on)?;
    assert_eq!(told.next().context("a word")??, "changed");
    stage.settled()?;
    let found = stage.verify(&["-o", "json"]);
    drop(go_on);
    thief.wait()?;
    let found = found?;
    assert_eq!(found.code, 8, "{found:?}");
    let said = report(&found)?;
    assert_eq!(said["recalled"]["segments"], left - 1, "{said:#}");
    assert_eq!(said["findings"][0]["file"].as_str(), second.to_str(), "{said:#}");
    Ok(())
}

#[test]
fn promise_5_another_folder_or_file_in_the_place_of_the_one_that_was_read_is_read_again() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let second = stage.segments.get(1).context("a second segment")?;
    let left = stage.interrupted()?;
    // Another file with the same name, length and times.
    let times = second.metadata()?;
    let times = fs::FileTimes::new()
        .set_accessed(times.accessed()?)
        .set_modified(times.modified()?);
    let forged = stage.folder.path().join("forged");
    fs::copy(second, &forged)?;
    flip(&forged)?;
    fs::File::options().write(true).open(&forged)?.set_times(times)?;
    fs::rename(&forged, second)?;
    stage.settled()?;
    let found = stage.verify(&["-o", "json"])?;
    assert_eq!(found.code, 8, "{found:?}");
    let said = report(&found)?;
    assert_eq!(said["recalled"]["segmentsReadAgain"], 1, "{said:#}");
    flip(second)?;

    // Another folder with the same files.
    assert_eq!(stage.interrupted()?, left);
    let (dir, copy) = (stage.dir(), stage.folder.path().join("copy"));
    let copied = Command::new("cp").arg("-a").args([&dir, &copy]).status()?;
    ensure!(copied.success());
    fs::rename(&dir, stage.folder.path().join("honest"))?;
    fs::rename(&copy, &dir)?;
    flip(second)?;
    stage.settled()?;
    let found = stage.verify(&["-o", "json"])?;
    assert_eq!(found.code, 8, "{found:?}");
    let said = report(&found)?;
    assert_eq!(said["recalled"]["segments"], 0, "{said:#}");
    Ok(())
}

/// Each `READ/ALL` of bytes that a bar draws, in its order.
fn drawn(screen: &str) -> Vec<(String, String)> {
    let texts = screen.split(['\r', '\u{1b}']);
    let bars = texts.filter_map(|text| {
        let (read, rest) = text.split_once("iB/").map_or_else(|| text.split_once(" B/"), Some)?;
        let all = rest.split_once("iB").map(|(all, _)| all)?;
        let read = read.rsplit(['█', '░', '#', '-']).next()?;
        Some((read.trim().to_owned(), all.trim().to_owned()))
    });
    bars.collect()
}

/// Whoever waits for hundreds of gigabytes sees that something moves; whoever keeps the output in a file has the report alone.
#[test]
fn in_a_terminal_a_bar_says_how_many_bytes_of_all_are_read_and_elsewhere_nothing_does() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let piped = run(stage.plain()?, "", PATIENCE)?;
    ensure!(piped.code == 0 && piped.stdout.contains("121 records"), "{piped}");
    assert_eq!(piped.stderr, "", "nobody looks there");

    let shown = run(
        in_window(&stage.plain()?, stage.folder.path(), (24, 100), None)?,
        "",
        PATIENCE,
    )?;
    assert_eq!(shown.code, 0, "{shown}");
    let bars = drawn(&shown.stdout);
    let (_, all) = bars.first().with_context(|| format!("no bar: {:?}", shown.stdout))?;
    assert!(bars.iter().all(|(_, of)| of == all), "the end does not move: {bars:?}");
    let mut reads: Vec<&String> = bars.iter().map(|(read, _)| read).collect();
    reads.dedup();
    assert!(reads.len() > 2, "it moves: {bars:?} in {:?}", shown.stdout);
    // The report stands below, as it is in a file.
    let report = shown.stdout.replace("\r\n", "\n");
    assert!(report.ends_with(&piped.stdout), "{:?}", shown.stdout);
    Ok(())
}
