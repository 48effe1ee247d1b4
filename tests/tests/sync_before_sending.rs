//! Promise 4 as the kernel sees it: of one create through the gateway, the sync of its intent returns before the first
//! byte of it is written to the upstream socket; and of a session that has to be recorded (promise 3), so do the sync of
//! the record of its beginning and that of the first chunk of its recording, with the folder that names it. The switch of
//! protocols comes later still: it is the answer to what was sent then. Seen by strace, from start to end of the process.
//!
//! It needs the right to trace one's own child; where that is forbidden it fails and says so (`cargo xtask check
//! --without counterparts` leaves it out by name).

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use tests::fake::{FakeApiServer, Then};
use tests::gateway::{Gateway, Options};
use tests::rules::entering;
use tests::tools::debian;
use tests::upgraded::{Switch, Upgraded};

const ROLES: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: makes-configmaps }
rules:
- { apiGroups: [""], resources: [configmaps], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: makes-configmaps }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: makes-configmaps }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

/// strace, which writes to a file, to be given the program that it runs.
fn strace(trace: &Path) -> anyhow::Result<Command> {
    let calls = "trace=fdatasync,fsync,sync_file_range,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg";
    let mut under = debian(&["strace", "libunwind8", "liblzma5"])?.command("strace")?;
    // -yy: files and sockets by name; -s: long enough for a record and the head of a request; -I2: it can be told to end.
    under.args([
        "-f",
        "-yy",
        "-I2",
        "-s",
        "16384",
        "-E",
        "LD_LIBRARY_PATH",
        "-e",
        calls,
        "-o",
    ]);
    under.arg(trace);
    Ok(under)
}

const ENTERS: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: enters }
rules:
- { apiGroups: [""], resources: [pods/exec], verbs: [create] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: enters }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: enters }
subjects: [{ apiGroup: rbac.authorization.k8s.io, kind: Group, name: dev }]
"#;

#[test]
fn the_intent_is_synced_before_the_first_byte_goes_upstream() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    let under = strace(&trace)?;
    let upstream = FakeApiServer::start()?;
    let options = Options {
        authorization: Some("enforce"),
        rules: Some(ROLES.to_owned()),
        under: Some(under),
        ..Options::default()
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)
        .context("the gateway under strace (is ptrace permitted here?)")?;
    let bearer = format!("Bearer {}", gateway.sign_in("alice")?.token);
    let answer = gateway.client()?.send(
        "POST",
        "/clusters/bench/api/v1/namespaces/default/configmaps",
        &[("Authorization", &bearer), ("Content-Type", "application/json")],
        br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"one"}}"#,
    )?;
    assert_eq!(answer.status, 201, "{}", String::from_utf8_lossy(&answer.body));
    let arrived = upstream.take_effects();
    assert_eq!(arrived.len(), 1, "one create: {arrived:?}");
    let id = arrived.keys().next().context("its id")?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;

    let trace = String::from_utf8_lossy(&std::fs::read(&trace)?).into_owned();
    synced_before_sent(&trace, id, "intent", "POST /api/v1/")
}

#[test]
fn promise_3_the_first_chunk_of_a_recording_is_synced_before_the_session_is_asked_for() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace");
    let upstream = FakeApiServer::start()?;
    let recorded = entering("kept-is-recorded", "namespaces: [kept]", "record: true");
    let options = Options {
        authorization: Some("enforce"),
        under: Some(strace(&trace)?),
        ..Options::ruled([ENTERS, &recorded].concat())
    };
    let mut gateway = Gateway::before(&upstream.upstream(), &options)
        .context("the gateway under strace (is ptrace permitted here?)")?;
    let token = gateway.sign_in("alice")?.token;
    let switch = Switch::WebSocket("v5.channel.k8s.io");
    upstream.answer_upgrades_of("/pods/shell/", &switch.granted(), Then::Cat);
    let target = "/clusters/bench/api/v1/namespaces/kept/pods/shell/exec?command=cat&stdin=true&stdout=true";
    let client = Upgraded::ask(&gateway, &token, target, switch, b"")?;
    ensure!(client.is_granted(), "{}", client.head);
    let id = client.id()?;
    drop(client);
    gateway.end_of(&id)?;
    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;

    let trace = String::from_utf8_lossy(&std::fs::read(&trace)?).into_owned();
    kept_before_sent(&trace, &id)?;
    synced_before_sent(&trace, &id, "open", "GET /api/v1/")
}

/// Whether, in a trace, the first chunk of the recording `id` is written behind the head of its file, then synced, as is the folder,
/// and only then the session is asked for.
fn kept_before_sent(trace: &str, id: &str) -> anyhow::Result<()> {
    let lines: Vec<&str> = trace.lines().collect();
    let file = format!("/{id}.rec>");
    let after = |what: &str, from: usize, is: &dyn Fn(&str) -> bool| -> anyhow::Result<usize> {
        let found = lines.iter().skip(from).position(|line| is(line)).map(|at| at + from);
        let found = found.with_context(|| format!("no {what} behind line {from}"))?;
        ended(&lines, found).with_context(|| format!("no end of the {what}"))
    };
    let is_done = |at: usize| lines.get(at).is_some_and(|line| line.trim_end().ends_with("= 0"));
    let writes = |line: &str| line.contains("write") && line.contains(&file);
    let syncs = |line: &str| line.contains("sync(") && line.contains(&file);
    // The head of the file has a sync of its own; the first chunk comes behind it.
    let begun = after("write of the head", 0, &writes)?;
    let begun = after("sync of the head", begun + 1, &syncs)?;
    let written = after("write of the first chunk", begun + 1, &writes)?;
    let synced = after("sync of the first chunk", written + 1, &syncs)?;
    let named = after("sync of the folder", 0, &|line| {
        line.contains("fsync(") && line.contains("/recordings>")
    })?;
    ensure!(is_done(synced) && is_done(named), "a sync failed");
    let is_sent = |line: &&str| line.contains("GET /api/v1/") && line.contains(id) && line.contains("<TCP:[");
    let sent = lines.iter().position(is_sent).context("the request's write")?;
    ensure!(
        synced < sent && named < sent,
        "sent at line {sent}, synced at line {synced}, named at line {named}"
    );
    Ok(())
}

/// Whether, in a trace, the record of the kind `kind` of the request `id` is written, then synced, and only then that request is
/// sent, whose first line begins so.
fn synced_before_sent(trace: &str, id: &str, kind: &str, request: &str) -> anyhow::Result<()> {
    let lines: Vec<&str> = trace.lines().collect();
    let kind = format!(r#"\"kind\":\"{kind}\""#);
    // A part of the file may hold the records of others, too, so kind and id have to be of one record.
    let is_record = |line: &str| {
        let mut records = line.split(r#"{\"v\":"#);
        line.contains(".seg>") && records.any(|record| record.contains(&kind) && record.contains(id))
    };
    let is_sent = |line: &str| line.contains(request) && line.contains(id) && line.contains("<TCP:[");
    let find =
        |what: fn(&str) -> bool, from: usize| lines.iter().skip(from).position(|line| what(line)).map(|at| at + from);
    let written = lines
        .iter()
        .position(|line| is_record(line))
        .context("the record's write")?;
    let sent = lines
        .iter()
        .position(|line| is_sent(line))
        .context("the request's write")?;
    let written = ended(&lines, written).context("the end of the record's write")?;
    let sync = |line: &str| line.contains("fdatasync(") && line.contains(".seg>");
    let sync = find(sync, written).context("a sync of the ledger after the record's write")?;
    let synced = ended(&lines, sync).context("the end of the sync")?;
    ensure!(
        lines.get(synced).is_some_and(|line| line.trim_end().ends_with("= 0")),
        "the sync failed"
    );
    ensure!(
        synced < sent,
        "sent at line {sent}, synced at line {synced}:\n{}\n{}",
        lines.get(sent).unwrap_or(&""),
        lines.get(synced).unwrap_or(&"")
    );
    Ok(())
}

/// The line on which the call that begins at `at` returns: the same, or the one where strace resumes it.
fn ended(lines: &[&str], at: usize) -> Option<usize> {
    let line = lines.get(at)?;
    if !line.contains("<unfinished ...>") {
        return Some(at);
    }
    let thread = line.split_whitespace().next()?;
    let resumes = |line: &&str| line.split_whitespace().next() == Some(thread) && line.contains(" resumed>");
    lines.iter().skip(at + 1).position(resumes).map(|after| after + at + 1)
}

#[test]
fn a_trace_with_the_session_before_its_recording_is_told_apart() {
    let folder = "7 fsync(8</d/recordings>) = 0";
    let head = r#"7 write(9</d/recordings/X.rec>, "GSREC", 5) = 5"#;
    let made = "7 fsync(9</d/recordings/X.rec>) = 0";
    let chunk = r#"7 write(9</d/recordings/X.rec>, "\x01", 1) = 1"#;
    let whole = "7 fdatasync(9</d/recordings/X.rec>) = 0";
    let (begins, ends) = (
        "7 fdatasync(9</d/recordings/X.rec> <unfinished ...>",
        "7 <... fdatasync resumed>) = 0",
    );
    let failed = "7 fdatasync(9</d/recordings/X.rec>) = -1 EIO";
    let sent =
        r#"8 writev(12<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base="GET /api/v1/x HTTP/1.1\r\naudit-id: X"}], 1) = 9"#;
    let judge = |lines: &[&str]| kept_before_sent(&lines.join("\n"), "X").is_ok();
    assert!(judge(&[head, made, folder, chunk, whole, sent]));
    assert!(judge(&[head, made, chunk, begins, ends, folder, sent]));
    assert!(!judge(&[head, made, folder, chunk, begins, sent, ends]));
    assert!(!judge(&[head, made, folder, chunk, sent, whole]));
    assert!(!judge(&[head, made, folder, sent, chunk, whole]));
    assert!(!judge(&[head, made, folder, sent]), "nothing but the head was kept");
    assert!(
        !judge(&[head, chunk, made, folder, sent]),
        "the chunk has no sync behind the head's"
    );
    assert!(
        !judge(&[head, made, chunk, whole, sent, folder]),
        "a file that no folder names is gone with the crash"
    );
    assert!(!judge(&[head, made, chunk, whole, sent]));
    assert!(!judge(&[head, made, folder, chunk, failed, sent]));
    assert!(!judge(&[head, made, folder, chunk, whole]), "nothing was sent");
}

#[test]
fn a_trace_with_the_request_before_the_sync_is_told_apart() {
    let write = r#"7 pwrite64(9</d/0.seg>, "{\"v\":1,\"kind\":\"intent\",\"id\":\"X\"}", 30, 0) = 30"#;
    let (begins, ends) = (
        "7 fdatasync(9</d/0.seg> <unfinished ...>",
        "7 <... fdatasync resumed>) = 0",
    );
    let whole = "7 fdatasync(9</d/0.seg>) = 0";
    let sent =
        r#"8 writev(12<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{iov_base="POST /api/v1/x HTTP/1.1\r\naudit-id: X"}], 1) = 9"#;
    let judge = |lines: &[&str]| synced_before_sent(&lines.join("\n"), "X", "intent", "POST /api/v1/").is_ok();
    assert!(judge(&[write, whole, sent]));
    assert!(judge(&[write, begins, ends, sent]));
    assert!(!judge(&[write, begins, sent, ends]));
    assert!(!judge(&[write, sent, whole]));
    assert!(!judge(&[whole, write, sent]), "a sync before the write does not count");
    assert!(!judge(&[write, "7 fdatasync(9</d/0.seg>) = -1 EIO", sent]));
    assert!(!judge(&[write, whole]), "nothing was sent");
    let others = write
        .replace('X', "Y")
        .replace("}\"", r#"}{\"v\":1,\"kind\":\"access\",\"id\":\"X\"}""#);
    assert!(
        !judge(&[&others, whole, sent]),
        "another's intent, and another record of it"
    );
}
