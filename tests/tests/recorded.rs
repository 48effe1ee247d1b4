//! Sessions that have to be recorded are, with anchors in the ledger, or they do not begin.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::json;
use tests::cluster::Cluster;
use tests::gateway::{Gateway, Options};
use tests::kubectl::Way;
use tests::metrics::Scrape;
use tests::once::Once;
use tests::person::Person;
use tests::pods::{kept, nowhere};
use tests::records::Session;
use tests::rules::kept_is_recorded;
use tests::wait::{PATIENCE, try_until};

fn world() -> anyhow::Result<&'static Cluster> {
    static WORLD: Once<Cluster> = Once::new();
    WORLD.get(|| Cluster::with_pods(&[kept(), nowhere("kept")].concat()))
}

/// A gateway that records all that enters the namespace.
fn gateway() -> anyhow::Result<Gateway> {
    Gateway::start(world()?, &Options::ruled(kept_is_recorded()))
}

fn files(gateway: &Gateway) -> anyhow::Result<Vec<PathBuf>> {
    let folder = gateway.file("data/recordings");
    let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[test]
fn a_recorded_session_leaves_one_sealed_file_and_its_anchors() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = gateway.kubectl_of("alice")?;
    for kubectl in Way::BOTH.map(|way| alice.over(way)) {
        let said = kubectl.run(&[
            "exec",
            "shell",
            "-n",
            "kept",
            "--",
            "sh",
            "-c",
            "echo a-secret-canary; exit 4",
        ])?;
        assert_eq!((said.stdout.as_str(), said.code), ("a-secret-canary\n", 4), "{said}");
    }
    let sessions = gateway.sessions(2, |open| open["recording"].is_object())?;
    let files = files(&gateway)?;
    assert_eq!(files.len(), 2, "{files:?}");
    for Session { open, close } in sessions {
        assert_eq!(
            open["recording"]["chunks"], 1,
            "who and where was on the disk before: {open}"
        );
        assert_eq!(close["outcome"]["exit_code"], 4, "{close}");
        let kept = &close["recording"];
        assert!(
            kept["chunks"].as_u64() >= Some(1) && kept["frames"].as_u64() >= Some(3),
            "{kept}"
        );
        assert!(
            kept.get("incomplete").is_none() && kept["hash"] != open["recording"]["hash"],
            "{kept}"
        );
        let id = close["id"].as_str().context("an id")?;
        let file = files
            .iter()
            .find(|file| file.to_string_lossy().contains(id))
            .context("its file")?;
        let bytes = std::fs::read(file)?;
        assert_eq!(Some(bytes.len() as u64), kept["bytes"].as_u64(), "{kept}");
        assert_eq!(std::fs::metadata(file)?.permissions().mode() & 0o777, 0o600);
        assert!(!bytes.windows(8).any(|window| window == b"a-secret"), "it is sealed");
    }
    Ok(())
}

#[test]
fn promise_3_without_a_place_to_write_no_session_begins() -> anyhow::Result<()> {
    let cluster = world()?;
    let gateway = gateway()?;
    let alice = gateway.kubectl_of("alice")?;
    let folder = gateway.file("data/recordings");
    std::fs::remove_dir(&folder)?;
    std::fs::write(&folder, "no folder")?;
    for kubectl in Way::BOTH.map(|way| alice.over(way)) {
        let said = kubectl.run(&["exec", "shell", "-n", "kept", "--", "touch", "it-ran"])?;
        assert_eq!(said.code, 1, "{said}");
        for words in [
            "this session has to be recorded, and it cannot be recorded now",
            "tell whoever runs the gateway",
        ] {
            assert!(said.stderr.contains(words), "no `{words}`: {said}");
        }
        assert!(!said.stderr.contains("os error"), "{said}");
    }
    // She may read her own record: what is wrong with the disk, and where it is, stands in the log alone.
    let records = gateway.records_with("why it could not be recorded", |records| {
        let mut refused = records.iter().filter(|record| record["kind"] == "refusal");
        refused.any(|record| record["note"] == "not recorded: recordings have no place where they can be written")
    })?;
    let folder = folder.to_str().context("UTF-8")?;
    for record in records {
        let record = record.to_string();
        assert!(!record.contains("os error") && !record.contains(folder), "{record}");
    }
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("a session cannot be recorded"));
    let line = line.context("a line in the log")?;
    for part in ["\"level\":\"ERROR\"", "\"cause\":\"place\"", folder, "os error 20"] {
        assert!(line.contains(part), "no `{part}`: {line}");
    }
    let refused = "gateway_recording_sessions_refused_total";
    let scrape = Scrape::of(gateway.admin())?;
    let counted = |wanted: &[_]| scrape.sum(refused, wanted);
    // kubectl falls back to SPDY where a WebSocket is refused.
    assert!(counted(&[("cause", "place")]) >= 2.0, "{scrape:?}");
    assert!((counted(&[]) - counted(&[("cause", "place")])).abs() < f64::EPSILON);
    let admin = cluster.admin()?;
    let did_not = ["exec", "shell", "-n", "kept", "--", "test", "!", "-e", "it-ran"];
    admin.ok(&did_not).context("it ran")?;
    // What is no session goes on.
    alice.ok(&["get", "pods", "-n", "kept"])?;
    Ok(())
}

#[test]
fn promise_3_on_a_disk_without_room_for_recordings_no_session_begins() -> anyhow::Result<()> {
    let cluster = world()?;
    let options = Options {
        // A pebibyte: more than the disk has.
        more: Some(json!({ "recording": { "keepFree": "1048576GiB" } })),
        ..Options::ruled(kept_is_recorded())
    };
    let gateway = Gateway::start(cluster, &options)?;
    let alice = gateway.kubectl_of("alice")?;
    for kubectl in Way::BOTH.map(|way| alice.over(way)) {
        let said = kubectl.run(&["exec", "shell", "-n", "kept", "--", "touch", "it-ran-without-room"])?;
        assert_eq!(said.code, 1, "{said}");
        for words in [
            "this session has to be recorded, and it cannot be recorded now",
            "tell whoever runs the gateway",
        ] {
            assert!(said.stderr.contains(words), "no `{words}`: {said}");
        }
    }
    let keeps = (1_u64 << 50).to_string();
    let records = gateway.records_with("why it could not be recorded", |records| {
        let mut refused = records.iter().filter(|record| record["kind"] == "refusal");
        refused.any(|record| record["note"] == "not recorded: the disk of recordings is full")
    })?;
    for record in records {
        assert_ne!(record["kind"], "open", "{record}");
        assert!(!record.to_string().contains(&keeps), "what the host has: {record}");
    }
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("a session cannot be recorded"));
    let line = line.context("a line in the log")?;
    let leaves = format!("recordings leave {keeps} free for the ledger");
    for part in ["\"level\":\"ERROR\"", "\"cause\":\"diskFull\"", &leaves] {
        assert!(line.contains(part), "no `{part}`: {line}");
    }
    let scrape = Scrape::of(gateway.admin())?;
    let counted = |wanted: &[_]| scrape.sum("gateway_recording_sessions_refused_total", wanted);
    assert!(counted(&[("cause", "diskFull")]) >= 2.0, "{scrape:?}");
    assert!((counted(&[]) - counted(&[("cause", "diskFull")])).abs() < f64::EPSILON);
    let did_not = [
        "exec",
        "shell",
        "-n",
        "kept",
        "--",
        "test",
        "!",
        "-e",
        "it-ran-without-room",
    ];
    cluster.admin()?.ok(&did_not).context("it ran")?;
    // What is no session goes on.
    alice.ok(&["get", "pods", "-n", "kept"])?;
    try_until("nothing is left of what did not begin", PATIENCE, || {
        let files = files(&gateway)?;
        ensure!(files.is_empty(), "{files:?}");
        Ok(())
    })
}

#[test]
fn everything_is_recorded_where_the_configuration_says_so_and_a_refused_session_leaves_nothing() -> anyhow::Result<()> {
    let options = Options {
        more: Some(json!({ "recording": { "sessions": "all" } })),
        ..Options::default()
    };
    let gateway = Gateway::start(world()?, &options)?;
    let alice = gateway.kubectl_of("alice")?;
    let missing = alice.run(&["exec", "nowhere", "-n", "kept", "--", "true"])?;
    assert!(
        missing.code == 1 && missing.stderr.contains("does not have a host assigned"),
        "{missing}"
    );
    alice.ok(&["exec", "shell", "-n", "kept", "--", "true"])?;
    gateway.records_with("the end", |records| {
        records
            .iter()
            .any(|record| record["kind"] == "close" && record["outcome"]["exit_code"] == 0)
    })?;
    // The refused one's own is taken away at its end, which nobody waits for.
    try_until("one file for the session, none for the refused one", PATIENCE, || {
        let files = files(&gateway)?;
        ensure!(files.len() == 1, "{files:?}");
        Ok(())
    })
}

/// `cp` is an exec of `tar`: the recording names the files, both ways, and keeps none of what is in them.
#[test]
fn h_20_a_copy_is_known_by_its_files() -> anyhow::Result<()> {
    let gateway = gateway()?;
    let alice = gateway.kubectl_of("alice")?;
    let carol = Person::signed_in(&gateway, "carol")?;
    let folder = tempfile::tempdir()?;
    let (there, back) = (folder.path().join("payroll.csv"), folder.path().join("back.csv"));
    std::fs::write(&there, "a-salary-canary\n")?;
    let path = |path: &Path| path.to_str().map(str::to_owned).context("UTF-8");
    for kubectl in Way::BOTH.map(|way| alice.over(way)) {
        kubectl.ok(&["cp", &path(&there)?, "kept/shell:payroll.csv"])?;
        kubectl.ok(&["cp", "kept/shell:payroll.csv", &path(&back)?])?;
        assert_eq!(std::fs::read_to_string(&back)?, "a-salary-canary\n");
    }
    // To copy into a pod kubectl first asks whether the destination is a folder.
    let mut copies = 0;
    for Session { close, .. } in gateway.sessions(6, |open| open["recording"].is_object())? {
        let id = close["id"].as_str().context("an id")?;
        let shown = carol.ok(&format!("gatescribe session show {id} -o json"))?;
        let shown = shown.json()?;
        let command = &shown["recording"]["head"]["command"];
        if command[0] != "tar" {
            continue;
        }
        copies += 1;
        assert_eq!(shown["recording"]["finish"]["files"], 1, "{shown}");
        let text = carol
            .ok(&format!("gatescribe session export {id} --format text"))?
            .stdout;
        assert!(
            text.contains("payroll.csv") && !text.contains("canary"),
            "{command}: {text}"
        );
    }
    assert_eq!(copies, 4, "two ways, two protocols");
    Ok(())
}
