//! Promise 3 and 4 on the real thing: the disk of the ledger fills up, fails on writing or on syncing, or turns read-only under a
//! running gateway. What callers are told, what readiness and metrics say, that nothing reaches the cluster meanwhile, that it
//! goes on by itself without a restart, and what the records say afterwards. And what a start says on a folder that it cannot have.
//!
//! A full disk is a small file system of one's own (`unshare -rm`). Errors of writing and syncing are strace's: it makes the calls
//! of the running process fail and is taken away again. A file system that is open for writing cannot be remounted read-only
//! from outside (`EBUSY`); one that turns so by itself (ext4 with `errors=remount-ro`) answers `EROFS`, and so does strace here.
//! What the machine does not permit is left out, and said.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tests::browser::Browser;
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::Client;
use tests::kubectl::run;
use tests::left_out::{Lack, is_there, left_out};
use tests::metrics::Scrape;
use tests::tools::debian;
use tests::wait::{PATIENCE, try_until};

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const OBJECT: &[u8] = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"}}"#;
/// How many calls are sent while the disk is in trouble.
const IN_TROUBLE: u64 = 20;

/// One person in front of a gateway whose cluster is a stand-in.
struct Stage {
    upstream: FakeApiServer,
    gateway: Gateway,
    client: Client,
    bearer: String,
    /// Where the ledger is, as this process sees it.
    ledger: PathBuf,
    key: String,
}

impl Stage {
    fn new(options: Options) -> anyhow::Result<Self> {
        let upstream = FakeApiServer::start()?;
        let gateway = Gateway::before(&upstream.upstream(), &options)?;
        let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
        let (client, ledger) = (gateway.client()?, gateway.ledger());
        let key = gateway.public_key()?;
        let stage = Self {
            upstream,
            gateway,
            client,
            bearer,
            ledger,
            key,
        };
        // What is opened and made at the first use is there when the disk fails.
        ensure!(stage.create()?.0 == 201 && stage.read()?.0 == 200);
        let _ = stage.upstream.take_effects();
        Ok(stage)
    }

    fn create(&self) -> anyhow::Result<(u16, String)> {
        let headers = [
            ("Authorization", self.bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        let answer = self.client.send("POST", TARGET, &headers, OBJECT)?;
        Ok((
            answer.status,
            format!("{}\n{}", answer.head, String::from_utf8_lossy(&answer.body)),
        ))
    }

    fn read(&self) -> anyhow::Result<(u16, String)> {
        let answer = self.client.get(TARGET, &[("Authorization", &self.bearer)])?;
        Ok((
            answer.status,
            format!("{}\n{}", answer.head, String::from_utf8_lossy(&answer.body)),
        ))
    }

    /// Calls until the ledger takes nothing any more, and then some; each is refused in these words, and none of them leaves.
    fn is_refused(&self, words: &str) -> anyhow::Result<u64> {
        try_until("calls are refused", PATIENCE, || {
            let (status, _) = self.create()?;
            ensure!(status == 503, "{status}");
            Ok(())
        })?;
        let _ = self.upstream.take_effects();
        let reads = self.upstream.reads();
        for number in 0..IN_TROUBLE {
            let (status, said) = if number % 2 == 0 { self.create()? } else { self.read()? };
            ensure!(status == 503 && said.contains(words), "{status} {said}");
            ensure!(!said.to_ascii_lowercase().contains("retry-after"), "{said}");
        }
        let left = self.upstream.take_effects();
        ensure!(left.is_empty(), "effects without a record: {left:?}");
        ensure!(self.upstream.reads() == reads, "reads without a record");
        Ok(IN_TROUBLE)
    }

    /// What `/readyz` and `/metrics` say.
    fn says(&self, words: &str, trouble: &str) -> anyhow::Result<()> {
        let page = Browser::default().request("GET", &format!("http://{}/readyz", self.gateway.admin()), "")?;
        ensure!(page.status == 503, "{}", page.body);
        let line = page.body.lines().find(|line| line.starts_with("[-] ledger "));
        ensure!(line.is_some_and(|line| line.contains(words)), "{}", page.body);
        let scrape = Scrape::of(self.gateway.admin())?;
        let is = scrape.sum("gateway_ledger_trouble", &[("trouble", trouble)]);
        ensure!((is - 1.0).abs() < f64::EPSILON, "{is}");
        Ok(())
    }

    /// It takes calls again, and is ready, without being started again.
    fn goes_on(&self) -> anyhow::Result<()> {
        try_until("calls are taken again", PATIENCE, || {
            let (status, said) = self.create()?;
            ensure!(status == 201, "{status} {said}");
            Ok(())
        })?;
        ensure!(self.read()?.0 == 200);
        try_until("it is ready again", PATIENCE, || {
            let page = Browser::default().request("GET", &format!("http://{}/readyz", self.gateway.admin()), "")?;
            ensure!(page.status == 200, "{}", page.body);
            Ok(())
        })
    }

    fn records(&self) -> anyhow::Result<Vec<Value>> {
        let reader = ledger::Reader::open(&self.ledger)?;
        let leaves = reader.records_from(0).map(|record| anyhow::Ok(record?.leaf));
        leaves.map(|leaf| Ok(serde_json::from_slice(&leaf?)?)).collect()
    }

    /// Gaps are recorded with this reason and, together, at least so many missing records; the last one ends behind its beginning; the
    /// summaries count at least as many refused calls; and the ledger verifies, where it lies in the gateway's own folder.
    fn ends_recorded(mut self, why: &str, refused: u64) -> anyhow::Result<()> {
        let taken = try_until("the refused calls are summed up", PATIENCE, || {
            let records = self.records()?;
            let sums = records.iter().filter(|record| record["kind"] == "summary");
            let sum: u64 = sums.filter_map(|record| record["sum"]["count"].as_u64()).sum();
            ensure!(sum >= refused, "{sum} of {refused}");
            Ok(records)
        })?;
        let gaps: Vec<&Value> = taken.iter().filter(|record| record["kind"] == "gap").collect();
        let missing =
            |gap: &&Value| gap["gap"]["lost"].as_u64().unwrap_or(0) + gap["gap"]["refused"].as_u64().unwrap_or(0);
        let of_why = gaps.iter().filter(|gap| gap["gap"]["why"] == why);
        let all: u64 = of_why.map(missing).sum();
        ensure!(
            all >= refused,
            "{all} records are said to be missing, {refused} calls were refused: {gaps:?}"
        );
        let last = gaps.last().context("a gap record")?;
        ensure!(last["gap"]["from"].as_str() <= last["gap"]["to"].as_str(), "{last}");
        self.gateway.process().signal(Signal::SIGTERM)?;
        if self.ledger == self.gateway.ledger() {
            self.gateway.wait()?;
            let mut verify = Command::new(own_binary("gatescribe")?);
            verify
                .args(["ledger", "verify"])
                .arg(&self.ledger)
                .args(["--key", &self.key]);
            let found = run(verify, "", PATIENCE)?;
            ensure!(found.code == 0, "{found}");
        }
        Ok(())
    }
}

/// strace at a running process, which lets some of its system calls fail until it is dropped.
struct Failing {
    strace: Child,
    _folder: tempfile::TempDir,
}

impl Failing {
    /// `None` where nobody may be traced who already runs; that is said.
    fn begin(pid: Pid, calls: &str, error: &str) -> anyhow::Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let said = folder.path().join("said");
        let mut command = debian(&["strace", "libunwind8", "liblzma5"])?.command("strace")?;
        command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={error}"), "-p", &pid.to_string()]);
        let strace = command.stdout(Stdio::null()).stderr(File::create(&said)?).spawn()?;
        let mut failing = Self {
            strace,
            _folder: folder,
        };
        let attached = try_until("strace is attached", PATIENCE, || {
            let said = fs::read_to_string(&said)?;
            if let Some(status) = failing.strace.try_wait()? {
                return Ok(Err(format!("{status}: {said}")));
            }
            ensure!(said.contains("attached"), "{said}");
            Ok(Ok(()))
        })?;
        match attached {
            Ok(()) => Ok(Some(failing)),
            Err(why) => {
                left_out("a failing disk", Lack::Tracing, &why)?;
                Ok(None)
            }
        }
    }
}

impl Drop for Failing {
    /// The process goes on without it.
    fn drop(&mut self) {
        let pid = i32::try_from(self.strace.id()).map(Pid::from_raw);
        if let Ok(pid) = pid {
            let _ = kill(pid, Signal::SIGTERM);
        }
        let _ = self.strace.wait();
    }
}

fn small_segments() -> Options {
    Options {
        authorization: Some("observe"),
        more: Some(json!({ "ledger": { "segmentSize": "8MiB" } })),
        ..Options::default()
    }
}

/// The whole story of a disk that fails with `error` at `calls`, and gets well.
fn fails(calls: &str, error: &str) -> anyhow::Result<()> {
    let stage = Stage::new(small_segments())?;
    let Some(failing) = Failing::begin(stage.gateway.process().pid()?, calls, error)? else {
        return Ok(());
    };
    let refused = stage.is_refused("the audit disk fail")?;
    stage.says("the audit disk fail", "diskFailed")?;
    drop(failing);
    stage.goes_on()?;
    stage.ends_recorded("diskFailed", refused)
}

#[test]
fn a_disk_that_fails_on_writing_refuses_and_goes_on_when_it_is_well() -> anyhow::Result<()> {
    fails("pwrite64", "EIO")
}

#[test]
fn a_disk_that_fails_on_syncing_refuses_and_goes_on_when_it_is_well() -> anyhow::Result<()> {
    fails("fdatasync", "EIO")
}

#[test]
fn a_file_system_that_turns_read_only_refuses_and_goes_on_when_it_is_writable() -> anyhow::Result<()> {
    fails("pwrite64,fallocate,ftruncate,rename", "EROFS")
}

/// A shell that mounts a small file system at a place, which nobody else sees, and becomes what stands behind it.
fn on_small_disk(at: &Path, how: &str) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c"])
        .arg(format!("{how} && exec \"$@\""))
        .arg(at);
    command
}

/// Whether such can be had here.
fn may_mount(case: &str, at: &Path, how: &str) -> anyhow::Result<bool> {
    let mut tried = on_small_disk(at, how);
    Ok(is_there(case, Lack::FileSystem, tried.arg("true"))?)
}

#[test]
fn a_full_file_system_refuses_and_goes_on_when_there_is_room() -> anyhow::Result<()> {
    const MOUNT: &str = "mount -t tmpfs -o size=64m small \"$0\"";
    let disk = tempfile::tempdir()?;
    if !may_mount("a full disk of the ledger", disk.path(), MOUNT)? {
        return Ok(());
    }
    let mut options = small_segments();
    options.more = Some(json!({ "ledger": { "segmentSize": "8MiB", "dir": disk.path() } }));
    options.under = Some(on_small_disk(disk.path(), MOUNT));
    let mut stage = Stage::new(options)?;
    let inside = PathBuf::from(format!("/proc/{}/root", stage.gateway.process().pid()?));
    stage.ledger = inside.join(disk.path().strip_prefix("/")?);
    let ballast = stage.ledger.join("ballast");
    let mut file = File::create(&ballast)?;
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);
    // Long names make long records, so that the allocated room is soon used up.
    let long = format!("{TARGET}/{}", "x".repeat(12_000));
    let refused = (0..4_000).find_map(|_| {
        let answer = stage.client.get(&long, &[("Authorization", &stage.bearer)]).ok()?;
        (answer.status == 503).then_some(())
    });
    refused.context("the disk never was full")?;
    // What is left has room for shorter records yet.
    let refused = stage.is_refused("the audit disk is full")?;
    stage.says("the audit disk is full", "diskFull")?;
    fs::remove_file(&ballast)?;
    stage.goes_on()?;
    stage.ends_recorded("diskFull", refused)
}

/// A small file system that stays when the process on it is killed: another one holds it.
struct Held {
    holder: Child,
    at: tempfile::TempDir,
}

impl Held {
    /// `None` where no such can be had; that is said.
    fn new(case: &str) -> anyhow::Result<Option<Self>> {
        const MOUNT: &str = "mount -t tmpfs -o size=64m small \"$0\"";
        let at = tempfile::tempdir()?;
        if !may_mount(case, at.path(), MOUNT)? {
            return Ok(None);
        }
        let mut holder = on_small_disk(at.path(), MOUNT);
        holder.args(["sh", "-c", "echo mounted && exec sleep infinity"]);
        let mut holder = holder.stdout(Stdio::piped()).spawn()?;
        let said = holder.stdout.take().context("its output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let held = Self { holder, at };
        ensure!(line == "mounted\n", "{line}");
        Ok(Some(held))
    }

    /// As the gateway on it sees it.
    fn dir(&self) -> &Path {
        self.at.path()
    }

    /// As everybody else does.
    fn seen(&self) -> anyhow::Result<PathBuf> {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        Ok(root.join(self.dir().strip_prefix("/")?))
    }

    /// What begins a command there.
    fn under(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--preserve-credentials", "--user", "--mount", "--target"]);
        command.arg(self.holder.id().to_string());
        command
    }

    fn fill(&self) -> anyhow::Result<PathBuf> {
        let ballast = self.seen()?.join("ballast");
        let mut file = File::create(&ballast)?;
        while file.write_all(&[1; 4096]).is_ok() {}
        Ok(ballast)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Recorded,
    /// It went on, and is not recorded.
    Unrecorded,
    Refused,
}

fn told(answer: &(u16, String)) -> anyhow::Result<Told> {
    let (status, said) = answer;
    let head = said.to_ascii_lowercase();
    let (warned, named) = (
        head.contains("the gateway cannot record this call"),
        head.contains("gatescribe-record:"),
    );
    match (*status, warned, named) {
        (503, false, _) if head.contains("the audit disk is full") => Ok(Told::Refused),
        (200..500, false, true) => Ok(Told::Recorded),
        (200..500, true, false) => Ok(Told::Unrecorded),
        _ => bail!("{status} {said}"),
    }
}

/// Calls that went on without a record.
#[derive(Debug, Default)]
struct Counted {
    reads: u64,
    effects: u64,
}

/// A gateway whose disk is full and which goes on as it was told: `calls` of each bounded class, a quarter of them of one person.
fn goes_on_full(held: &Held, modes: &Value) -> anyhow::Result<(Stage, PathBuf, Counted)> {
    let mut options = small_segments();
    options.more = Some(json!({ "ledger": { "segmentSize": "8MiB", "dir": held.dir(), "dangerFailModes": modes } }));
    options.under = Some(held.under());
    let mut stage = Stage::new(options)?;
    stage.ledger = held.seen()?;
    ensure!(
        stage
            .gateway
            .log()
            .contains("DANGER: while the ledger's disk is full or fails"),
        "said at the start"
    );
    let ballast = held.fill()?;
    let mut counted = Counted::default();
    let long = format!("{TARGET}/{}", "x".repeat(12_000));
    let is_full = (0..4_000).find_map(|_| {
        let answer = stage.client.get(&long, &[("Authorization", &stage.bearer)]).ok()?;
        let said = format!("{}\n{}", answer.head, String::from_utf8_lossy(&answer.body));
        match told(&(answer.status, said)) {
            Ok(Told::Recorded) => None,
            Ok(Told::Unrecorded) => Some(Ok(1)),
            Ok(Told::Refused) => Some(Ok(0)),
            Err(error) => Some(Err(error)),
        }
    });
    counted.reads = is_full.context("the disk never was full")??;
    let _ = stage.upstream.take_effects();
    for _ in 0..12 {
        counted.reads += u64::from(told(&stage.read()?)? == Told::Unrecorded);
        counted.effects += u64::from(told(&stage.create()?)? == Told::Unrecorded);
    }
    // What enters a pod is closed, whatever was chosen.
    let exec = "/clusters/bench/api/v1/namespaces/default/pods/web/exec?command=id";
    let answer = stage
        .client
        .send("POST", exec, &[("Authorization", &stage.bearer)], b"")?;
    ensure!(answer.status == 503, "{}", answer.head);
    // And so is what may be a credential.
    let secrets = "/clusters/bench/api/v1/namespaces/default/secrets";
    let answer = stage.client.get(secrets, &[("Authorization", &stage.bearer)])?;
    ensure!(answer.status == 503, "{}", answer.head);
    let sent: u64 = stage.upstream.take_effects().values().sum();
    ensure!(
        sent == counted.effects,
        "{sent} were sent, {} were let on",
        counted.effects
    );
    let scrape = Scrape::of(stage.gateway.admin())?;
    for (class, count) in [("reads", counted.reads), ("effects", counted.effects)] {
        let said = scrape.sum("gateway_ledger_unrecorded_calls_total", &[("class", class)]);
        ensure!(
            (said - f64::from(u32::try_from(count)?)).abs() < f64::EPSILON,
            "{class}: {said} and {count}"
        );
    }
    Ok((stage, ballast, counted))
}

/// One gap with exactly these counts, and a verifier that says that there are such records.
fn is_counted(mut stage: Stage, counted: &Counted, at_least: Option<bool>) -> anyhow::Result<()> {
    let records = try_until("the gap is recorded", PATIENCE, || {
        let records = stage.records()?;
        ensure!(records.iter().any(|record| record["gap"].get("passed").is_some()));
        Ok(records)
    })?;
    let gaps: Vec<&Value> = records
        .iter()
        .filter(|record| record["gap"].get("passed").is_some())
        .collect();
    ensure!(gaps.len() == 1, "{gaps:?}");
    let gap = &gaps[0]["gap"];
    let passed = json!({ "reads": counted.reads, "effects": counted.effects });
    ensure!(
        gap["passed"] == passed && gap["why"] == "diskFull",
        "{gap} and {passed}"
    );
    ensure!(gap.get("at_least").and_then(Value::as_bool) == at_least, "{gap}");
    stage.gateway.process().signal(Signal::SIGTERM)?;
    stage.gateway.wait()?;
    let mut verify = Command::new(own_binary("gatescribe")?);
    verify
        .args(["ledger", "verify"])
        .arg(&stage.ledger)
        .args(["--key", &stage.key]);
    let found = run(verify, "", PATIENCE)?;
    ensure!(found.code == 0, "{found}");
    ensure!(found.stdout.contains("or that calls went on without one"), "{found}");
    Ok(())
}

#[test]
fn promise_4_on_a_full_disk_what_the_operator_lets_go_on_is_counted_and_the_gap_says_so() -> anyhow::Result<()> {
    let Some(held) = Held::new("calls that go on on a full disk")? else {
        return Ok(());
    };
    let modes = json!({ "reads": "open", "effects": "bounded", "bounded": { "calls": 8, "for": "1h" } });
    let (stage, ballast, counted) = goes_on_full(&held, &modes)?;
    ensure!(
        counted.reads >= 12 && counted.effects == 2,
        "one person has a quarter: {counted:?}"
    );
    let page = Browser::default().request("GET", &format!("http://{}/readyz", stage.gateway.admin()), "")?;
    ensure!(page.status == 200, "{}", page.body);
    for words in [
        "the audit disk is full, and calls go on without a record; ",
        "DANGER: while the ledger's disk",
    ] {
        ensure!(page.body.contains(words), "{}", page.body);
    }
    let mut check = Command::new(own_binary("gatescribe")?);
    check.args(["serve", "--check", "--config"]).arg(stage.gateway.config());
    let checked = run(check, "", PATIENCE)?;
    let said = format!("{}{}", checked.stdout, checked.stderr);
    ensure!(
        said.contains("! DANGER: while the ledger's disk is full or fails, any number of reads and up to 8 calls"),
        "{said}"
    );
    fs::remove_file(ballast)?;
    stage.goes_on()?;
    is_counted(stage, &counted, None)
}

#[test]
fn promise_4_a_gateway_killed_while_calls_go_on_records_them_at_the_next_start() -> anyhow::Result<()> {
    let Some(held) = Held::new("a gateway that is killed on a full disk")? else {
        return Ok(());
    };
    for (modes, at_least) in [
        (
            json!({ "reads": "bounded", "effects": "bounded", "bounded": { "calls": 20 } }),
            None,
        ),
        (json!({ "reads": "closed", "effects": "open" }), Some(true)),
    ] {
        let (mut stage, ballast, counted) = goes_on_full(&held, &modes)?;
        match at_least {
            None => ensure!(counted.reads == 5 && counted.effects == 5, "{counted:?}"),
            Some(_) => ensure!(counted.reads == 0 && counted.effects == 12, "{counted:?}"),
        }
        stage.gateway.process().signal(Signal::SIGKILL)?;
        fs::remove_file(ballast)?;
        stage.gateway.start_again()?;
        is_counted(stage, &counted, at_least)?;
        for entry in fs::read_dir(held.seen()?)? {
            let path = entry?.path();
            if path.is_dir() {
                fs::remove_dir_all(path)?
            } else {
                fs::remove_file(path)?
            }
        }
    }
    Ok(())
}

/// What the API server wrote down of calls that came with the gateway's credential in this gap.
fn audit_log(gap: &Value, calls: u64) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut log = tempfile::NamedTempFile::new()?;
    for number in 0..calls {
        let event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("in-the-gap-{number}"), "stage": "ResponseComplete",
            "verb": "get", "requestURI": "/version", "user": { "username": "gate" },
            "impersonatedUser": { "username": "alice@example.com" },
            "requestReceivedTimestamp": gap["from"], "stageTimestamp": gap["to"],
        });
        writeln!(log, "{event}")?;
    }
    Ok(log)
}

fn reconciled(ledger: &Path, log: &tempfile::NamedTempFile, code: i32) -> anyhow::Result<Value> {
    let mut reconcile = Command::new(own_binary("gatescribe")?);
    reconcile.arg("reconcile").arg(ledger).arg(log.path());
    reconcile.args(["--cluster", "bench", "--account", "gate", "--slack", "0", "-o", "json"]);
    let output = run(reconcile, "", PATIENCE)?;
    ensure!(output.code == code, "{output}");
    Ok(serde_json::from_str(&output.stdout)?)
}

/// Nothing proves a record that nobody had signed when the gateway was killed, so that of a gap would excuse its calls no more: an honest
/// gateway's credential would be told as stolen.
#[test]
fn promise_4_a_gap_that_nobody_had_signed_when_the_gateway_was_killed_counts_its_calls_after_the_next_start()
-> anyhow::Result<()> {
    let Some(held) = Held::new("a gateway that is killed before it has signed a gap")? else {
        return Ok(());
    };
    let modes = json!({ "reads": "bounded", "effects": "bounded", "bounded": { "calls": 20 } });
    let (mut stage, ballast, counted) = goes_on_full(&held, &modes)?;
    // A folder in the place of the next checkpoint's file, which stands there empty, keeps anything from being signed.
    let unsigned = stage.ledger.join("checkpoint.new");
    try_until("nothing can be signed", PATIENCE, || {
        let _ = fs::remove_file(&unsigned);
        Ok(fs::create_dir(&unsigned)?)
    })?;
    fs::remove_file(ballast)?;
    let gaps = |stage: &Stage| -> anyhow::Result<Vec<Value>> {
        let all = stage.records()?.into_iter();
        Ok(all.filter(|record| record["gap"].get("passed").is_some()).collect())
    };
    let first = try_until("the gap is recorded", PATIENCE, || {
        gaps(&stage)?.pop().context("a gap record")
    })?;
    stage.gateway.process().signal(Signal::SIGKILL)?;
    stage.gateway.wait()?;
    fs::remove_dir(&unsigned)?;
    stage.gateway.start_again()?;
    stage.gateway.process().signal(Signal::SIGTERM)?;
    stage.gateway.wait()?;

    let calls = counted.reads + counted.effects;
    let report = reconciled(&stage.ledger, &audit_log(&first["gap"], calls)?, 10)?;
    ensure!(report["report"]["findings"] == json!([]), "{report:#}");
    ensure!(report["report"]["unknown"]["withoutRecord"] == calls, "{report:#}");
    ensure!(
        report["report"]["gaps"].as_array().map(Vec::len) == Some(1),
        "{report:#}"
    );
    // Twice written is not twice as many.
    let report = reconciled(&stage.ledger, &audit_log(&first["gap"], calls + 1)?, 8)?;
    ensure!(
        report["report"]["findings"].as_array().map(Vec::len) == Some(usize::try_from(calls)? + 1),
        "{report:#}"
    );
    // A start behind an orderly end writes it no third time.
    stage.gateway.start_again()?;
    let again = gaps(&stage)?;
    ensure!(
        again.len() == 2 && again[0] == first && again[1]["id"] == first["id"] && again[1]["gap"] == first["gap"],
        "{again:#?}"
    );
    stage.gateway.process().signal(Signal::SIGTERM)?;
    stage.gateway.wait()?;
    let mut verify = Command::new(own_binary("gatescribe")?);
    verify
        .args(["ledger", "verify"])
        .arg(&stage.ledger)
        .args(["--key", &stage.key]);
    let found = run(verify, "", PATIENCE)?;
    ensure!(found.code == 0, "{found}");
    Ok(())
}

/// `gatescribe serve` on the configuration of a gateway, which has to end by itself and say why.
fn does_not_start(gateway: &Gateway, under: Option<Command>) -> anyhow::Result<String> {
    let program = own_binary("gatescribe")?;
    let mut command = match under {
        None => Command::new(program),
        Some(mut under) => {
            under.arg(program);
            under
        }
    };
    command.arg("serve").arg("--config").arg(gateway.config());
    let output = run(command, "", PATIENCE)?;
    if output.code == 0 {
        bail!("it served: {output}");
    }
    Ok(format!("{}{}", output.stdout, output.stderr))
}

#[test]
fn a_second_gateway_on_the_same_folder_is_refused_with_what_to_do_and_the_first_goes_on() -> anyhow::Result<()> {
    let stage = Stage::new(small_segments())?;
    let before = stage.records()?.len();
    let said = does_not_start(&stage.gateway, None)?;
    ensure!(
        said.contains("another process writes to this ledger; stop that one first"),
        "{said}"
    );
    ensure!(stage.create()?.0 == 201 && stage.read()?.0 == 200, "the first goes on");
    let records = stage.records()?;
    let starts = records.iter().filter(|record| record["kind"] == "start").count();
    ensure!(starts == 1 && records.len() > before, "{starts} starts");
    Ok(())
}

#[test]
fn a_start_on_a_read_only_folder_says_what_to_do_and_a_later_one_goes_on() -> anyhow::Result<()> {
    const MOUNT: &str = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    let folder = tempfile::tempdir()?;
    if !may_mount("a read-only folder", folder.path(), MOUNT)? {
        return Ok(());
    }
    let mut options = small_segments();
    options.more = Some(json!({ "ledger": { "segmentSize": "8MiB", "dir": folder.path() } }));
    let mut stage = Stage::new(options)?;
    stage.ledger = folder.path().to_owned();
    stage.gateway.stop()?;
    let records = stage.records()?.len();
    let said = does_not_start(&stage.gateway, Some(on_small_disk(folder.path(), MOUNT)))?;
    for words in [
        "the ledger cannot be opened (mount its file system for writing",
        "Read-only file system",
    ] {
        ensure!(said.contains(words), "{said}");
    }
    ensure!(stage.records()?.len() == records, "nothing was written");
    stage.gateway.start_again()?;
    let records = stage.records()?;
    ensure!(
        !records.iter().any(|record| record["kind"] == "gap"),
        "nobody was there to be refused"
    );
    Ok(())
}
