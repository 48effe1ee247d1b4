//! `gatescribe reconcile` where somebody has the folders and no key: of a gateway that runs, was killed, or has ended, and of `gatescribe observe`. The API
//! server's log is made of what the gateway recorded, and of one call more.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use ledger::{Ledger, NEWEST_CHECKPOINT, RealDisk};
use model::event::RecordKind;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::counterparts::own_binary;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Output, run};
use tests::process::Folder;
use tests::wait::PATIENCE;

const TARGET: &str = "/clusters/bench/api/v1/namespaces/default/configmaps";
const STOLEN: &str = "019a0000-0000-7000-8000-000000000001";

fn gatescribe(arguments: &[&str], folders: &[&Path]) -> anyhow::Result<Output> {
    let mut command = Command::new(own_binary("gatescribe")?);
    command.args(arguments).args(folders);
    run(command, "", PATIENCE)
}

/// The exit code, the calls that are found, and what is not believed.
fn compared(ledger: &Path, log: &Path) -> anyhow::Result<(i32, Vec<String>, Value)> {
    let arguments = [
        "reconcile",
        "--cluster",
        "bench",
        "--account",
        "gate",
        "--slack",
        "0",
        "-o",
        "json",
    ];
    let output = gatescribe(&arguments, &[ledger, log])?;
    let said: Value = serde_json::from_str(&output.stdout).with_context(|| output.to_string())?;
    let findings = said["report"]["findings"].as_array().context("findings")?;
    let found = findings.iter().filter_map(|finding| finding["id"].as_str());
    let found = found.map(str::to_owned).collect();
    Ok((output.code, found, said["unread"].clone()))
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

fn event(id: &str, user: &str, at: &str) -> Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id, "stage": "ResponseComplete", "verb": "list",
        "requestURI": "/api/v1/namespaces/default/configmaps", "user": {"username": "gate"}, "impersonatedUser": {"username": user},
        "objectRef": {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}, "responseStatus": {"code": 200},
        "requestReceivedTimestamp": at, "stageTimestamp": at})
}

/// What an API server would have written of all calls that a gateway recorded, and of this one.
fn log(gateway: &Gateway, to: &Path, more: Option<&str>) -> anyhow::Result<()> {
    let (mut lines, mut last) = (String::new(), String::new());
    for record in gateway.records()? {
        if record["kind"] == "access" && record["req"]["verb"] == "list" {
            let text = |value: &Value| value.as_str().map(str::to_owned).context("a text");
            last = text(&record["t"])?;
            lines += &format!(
                "{}\n",
                event(&text(&record["id"])?, &text(&record["by"]["user"])?, &last)
            );
        }
    }
    if let Some(id) = more {
        lines += &format!("{}\n", event(id, "alice@example.com", &last));
    }
    Ok(fs::write(to, lines)?)
}

/// Whoever can write a folder while nothing runs on it. The end of his run is one record more.
fn put_in(folder: &Path, records: &[(RecordKind, Value)]) -> anyhow::Result<()> {
    let (writer, _) = Ledger::open(folder, ledger::Options::default(), Arc::new(RealDisk::new(folder)))?;
    for (kind, body) in records {
        let ticket = writer.append(*kind, body.to_string().into_bytes(), Vec::new())?;
        ticket.wait().map_err(|lost| anyhow::anyhow!("{lost:?}"))?;
    }
    writer.close();
    Ok(())
}

/// As the gateway records a call, and that it was answered.
fn call(at: &str) -> [(RecordKind, Value); 2] {
    let begin = json!({"id": STOLEN, "t": at, "boot": "forged", "cluster": "bench", "by": {"user": "alice@example.com"},
        "req": {"verb": "list", "path": TARGET}});
    let end = json!({"id": STOLEN, "t": at, "boot": "forged", "upstream": {"address": "10.0.0.1:6443"}, "outcome": {"end": "answered"}});
    [(RecordKind::Access, begin), (RecordKind::Close, end)]
}

struct Place {
    gateway: Gateway,
    folder: Folder,
    _upstream: FakeApiServer,
}

impl Place {
    fn new(name: &str) -> anyhow::Result<Self> {
        let upstream = FakeApiServer::start()?;
        let options = Options {
            authorization: Some("observe"),
            ..Options::default()
        };
        let gateway = Gateway::before(&upstream.upstream(), &options)?;
        work(&gateway)?;
        Ok(Self {
            gateway,
            folder: Folder::held(name)?,
            _upstream: upstream,
        })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn promise_4_what_is_put_in_behind_the_newest_checkpoint_is_told_and_an_older_one_hides_nothing() -> anyhow::Result<()>
{
    let mut place = Place::new("put-in")?;
    let (ledger, honest, stolen) = (place.gateway.ledger(), place.at("honest.log"), place.at("stolen.log"));
    // It runs, and has signed what was read before the comparison ends.
    log(&place.gateway, &honest, None)?;
    let (code, found, unread) = compared(&ledger, &honest)?;
    assert_eq!((code, found), (0, vec![]), "{unread:#}");
    // It is killed: of its last second it is said that no checkpoint is over it, and nobody is accused.
    work(&place.gateway)?;
    place.gateway.process().signal(Signal::SIGKILL)?;
    place.gateway.wait()?;
    log(&place.gateway, &honest, None)?;
    let (code, found, unread) = compared(&ledger, &honest)?;
    let is_behind = unread["underNoCheckpoint"].as_u64() > Some(0);
    assert_eq!((code, found), (if is_behind { 10 } else { 0 }, vec![]), "{unread:#}");
    place.gateway.start_again()?;
    work(&place.gateway)?;
    place.gateway.stop()?;
    log(&place.gateway, &honest, None)?;
    log(&place.gateway, &stolen, Some(STOLEN))?;
    assert_eq!(compared(&ledger, &honest)?.0, 0);
    let (code, found, _) = compared(&ledger, &stolen)?;
    assert_eq!((code, found), (8, vec![STOLEN.to_owned()]));

    let records = place.gateway.records()?;
    let last = records.last().context("a record")?["t"]
        .as_str()
        .context("its time")?
        .to_owned();
    let older = fs::read(ledger.join(NEWEST_CHECKPOINT))?;
    put_in(&ledger, &call(&last))?;
    let (code, found, unread) = compared(&ledger, &stolen)?;
    assert_eq!(
        (code, found, &unread["underNoCheckpoint"]),
        (10, vec![], &json!(3)),
        "{unread:#}"
    );
    place.gateway.start_again()?;
    place.gateway.stop()?;
    let (code, found, unread) = compared(&ledger, &stolen)?;
    assert_eq!((code, found), (8, vec![STOLEN.to_owned()]), "{unread:#}");
    assert_eq!(
        (&unread["notTheGateways"], &unread["underNoCheckpoint"]),
        (&json!(3), &json!(0))
    );
    // What the gateway said of it is under no checkpoint then, and that is told.
    fs::write(ledger.join(NEWEST_CHECKPOINT), &older)?;
    let (code, found, unread) = compared(&ledger, &stolen)?;
    assert_eq!(
        (code, found, &unread["saidToBePutIn"]),
        (10, vec![], &json!(3)),
        "{unread:#}"
    );
    Ok(())
}

#[test]
fn promise_4_an_event_that_is_put_into_the_folder_of_observe_accuses_no_gateway() -> anyhow::Result<()> {
    let mut place = Place::new("put-in-observed")?;
    place.gateway.stop()?;
    let (ledger, audit, observed) = (place.gateway.ledger(), place.at("audit.log"), place.at("observed"));
    log(&place.gateway, &audit, None)?;
    let observe = || -> anyhow::Result<()> {
        let output = gatescribe(
            &["observe", "--cluster", "bench", "--log"],
            &[&audit, Path::new("--ledger"), &observed],
        )?;
        ensure!(output.code == 0, "{output}");
        Ok(())
    };
    observe()?;
    let (code, found, unread) = compared(&ledger, &observed)?;
    assert_eq!((code, found), (0, vec![]), "{unread:#}");
    let last = place.gateway.records()?.last().context("a record")?["t"].clone();
    let event = json!({"id": STOLEN, "t": last, "boot": "forged", "source": "ingested", "cluster": "bench", "by": {"user": "gate"},
        "as": {"user": "alice@example.com"}, "req": {"verb": "list", "path": "/api/v1/namespaces/default/configmaps"}, "outcome": {"status": 200},
        "ingested": {"audit_id": STOLEN, "stage": "ResponseComplete", "received": last, "stamped": last}});
    put_in(&observed, &[(RecordKind::Access, event)])?;
    let (_, _, unread) = compared(&ledger, &observed)?;
    assert_eq!(unread["underNoCheckpoint"], 2, "{unread:#}");
    observe()?;
    let (code, found, unread) = compared(&ledger, &observed)?;
    assert_eq!(
        (code, found, &unread["notTheGateways"]),
        (10, vec![], &json!(2)),
        "{unread:#}"
    );
    Ok(())
}
