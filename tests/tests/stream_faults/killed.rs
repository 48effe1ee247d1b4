//! Real programs that are killed or stopped in the middle of real sessions: the gateway, the API server, the node.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use recording::{Anchor, Survey, Tail};
use serde_json::{Value, json};
use tests::cluster::Cluster;
use tests::fake::FakeApiServer;
use tests::gateway::{Gateway, Options};
use tests::http::Stream;
use tests::kubectl::{Kubectl, Running, Way};
use tests::measure::cpu::peak_kib;
use tests::person::Person;
use tests::pods::{TICKS, kept};
use tests::records::{close_of, one_end_each, opens};
use tests::rules::{entering, kept_is_recorded};
use tests::wait::{PATIENCE, try_until};

use super::silence::MOST_KIB;
use super::stage::Neighbour;

/// What is watched.
const MAP: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: here, namespace: kept }\n";

/// One's own, as it is killed.
fn world() -> anyhow::Result<Cluster> {
    Cluster::with_pods(&[&kept(), MAP].concat())
}

/// A shell line in the pod, over a WebSocket and over SPDY.
fn both_ways(kubectl: &Kubectl, line: &str) -> anyhow::Result<Vec<Running>> {
    let words = ["exec", "-i", "shell", "-n", "kept", "--", "sh", "-c", line];
    let start = |way| {
        let mut running = kubectl.over(way).start(&words)?;
        running.line("the command runs", |line| line == "begun")?;
        Ok(running)
    };
    Way::BOTH.into_iter().map(start).collect()
}

/// A watch that has begun: kubectl lists first and says so, and only what changes behind that comes by the watch.
fn watching(kubectl: &Kubectl) -> anyhow::Result<Running> {
    let mut watching = kubectl.start(&["get", "configmaps", "-n", "kept", "--watch", "-o", "name"])?;
    watching.line("what there is is listed", |line| line == "configmap/here")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let label = format!("watched-at=t{now}");
    kubectl.ok(&["label", "configmap", "here", "-n", "kept", "--overwrite", &label])?;
    try_until("the watch has begun", PATIENCE, || {
        let lines = watching.lines();
        ensure!(
            lines.iter().filter(|line| *line == "configmap/here").count() > 1,
            "{lines:?}"
        );
        Ok(())
    })?;
    Ok(watching)
}

/// Waits for what [`both_ways`] started, whose connection is lost, and gives the exit codes. Over SPDY kubectl takes the end of a
/// connection for the end of a command (k8s.io/client-go/tools/remotecommand, `watchErrorStream`); over a WebSocket it says that
/// it failed.
fn end_in_vain(talking: &mut [Running]) -> anyhow::Result<Vec<i32>> {
    let mut codes = Vec::new();
    for (running, is_told) in talking.iter_mut().zip([true, false]) {
        let code = running.end()?;
        ensure!(
            code != 0 || !is_told,
            "kubectl took it for an end: {:?}",
            running.lines()
        );
        codes.push(code);
    }
    Ok(codes)
}

/// A watch of one's own bytes that has begun, over HTTP/1.1.
fn raw_watch(gateway: &Gateway, token: &str) -> anyhow::Result<Stream> {
    let mut stream = gateway.client()?.open()?;
    let target = "/clusters/bench/api/v1/namespaces/kept/configmaps?watch=true";
    let host = gateway.address;
    write!(
        stream,
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
    )?;
    let (mut said, mut piece) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&said).contains("\"ADDED\"") {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "the watch did not begin: {}", String::from_utf8_lossy(&said));
        said.extend(piece.iter().take(read));
    }
    ensure!(said.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&said));
    Ok(stream)
}

/// The sessions that have begun, by id, with what the ledger knows of their recordings.
fn sessions(records: &[Value]) -> anyhow::Result<BTreeMap<String, Vec<Anchor>>> {
    let mut found = BTreeMap::new();
    for open in opens(records, |_| true) {
        let id = open["id"].as_str().context("an id")?;
        let of_it = records.iter().filter(|record| record["id"] == id);
        let anchors = of_it.filter_map(|record| anchor(&record["recording"]));
        found.insert(id.to_owned(), anchors.collect());
    }
    Ok(found)
}

fn anchor(recording: &Value) -> Option<Anchor> {
    let hash = hex::decode(recording["hash"].as_str()?).ok()?;
    Anchor::of_root(recording["chunks"].as_u64()?, hash.try_into().ok()?)
}

fn survey(gateway: &Gateway, id: &str, anchors: &[Anchor]) -> anyhow::Result<Survey> {
    let folder = gateway.file("data/recordings");
    Ok(Survey::of(Path::new(&folder.join(format!("{id}.rec"))), anchors)?)
}

/// What the gateway has needed at the most before something breaks.
struct Memory {
    gateway: i32,
    before: f64,
}

impl Memory {
    fn of(gateway: &Gateway) -> anyhow::Result<Self> {
        let gateway = gateway.process().pid()?.as_raw();
        let before = peak_kib(gateway)?;
        Ok(Self { gateway, before })
    }

    fn is_bounded(&self) -> anyhow::Result<()> {
        let grown = peak_kib(self.gateway)? - self.before;
        ensure!(grown < MOST_KIB, "{grown} KiB more");
        Ok(())
    }
}

#[test]
fn promise_4_a_gateway_killed_in_a_session_leaves_one_end_and_what_was_sealed() -> anyhow::Result<()> {
    let cluster = world()?;
    let mut gateway = Gateway::start(&cluster, &Options::ruled(kept_is_recorded()))?;
    let alice = gateway.kubectl_of("alice")?;
    let mut talking = both_ways(&alice, TICKS)?;
    let mut watch = watching(&alice)?;
    let watches = |record: &&Value| record["kind"] == "access" && record["req"]["verb"] == "watch";
    let records = gateway.records_with("all have begun", |records| {
        let sessions = records.iter().filter(|record| record["kind"] == "open").count();
        sessions == 2
            && records
                .iter()
                .filter(watches)
                .any(|watch| watch["by"]["user"] == "alice@example.com")
    })?;
    let begun = sessions(&records)?;
    try_until("some of each is sealed", PATIENCE, || {
        for id in begun.keys() {
            let survey = survey(&gateway, id, &[])?;
            ensure!(survey.root.chunks >= 3, "{survey:?}");
        }
        Ok(())
    })?;

    gateway.process().signal(Signal::SIGKILL)?;
    end_in_vain(&mut talking)?;
    watch.end()?;
    // Killed once more while nothing goes on: what had no end has one by then, and gets no other.
    gateway.start_again()?;
    gateway.process().signal(Signal::SIGKILL)?;
    gateway.start_again()?;

    let records = gateway.records()?;
    let ends = one_end_each(&records)?;
    assert_eq!(ends.len(), 2, "{ends:?}");
    // A read has no effect whose outcome could be unknown: what stands of it is that it was let through.
    let watch = records.iter().find(watches).context("the watch")?;
    assert_eq!(close_of(&records, watch), None);
    let carol = Person::signed_in(&gateway, "carol")?;
    for (id, anchors) in sessions(&records)? {
        assert_eq!(ends[&id]["outcome"]["end"], "unknown", "{}", ends[&id]);
        let survey = survey(&gateway, &id, &anchors)?;
        assert!(matches!(survey.tail, Tail::Open | Tail::Torn { .. }), "{survey:?}");
        assert!(survey.root.chunks >= 3 && !anchors.is_empty(), "{survey:?}");
        let read = carol.types(&format!("gatescribe session export {id} --format text"))?;
        assert_eq!(read.code, 10, "{read}");
        assert!(
            read.stdout.contains("begun\n") && read.stdout.contains("tick\n"),
            "{read}"
        );
        let why = "the recording has no end: the gateway stopped before the session had ended";
        assert!(read.stderr.contains(why), "{read}");
        let shown = carol.ok(&format!("gatescribe session show {id}"))?;
        assert!(
            shown
                .stdout
                .contains("the gateway stopped before the session had ended"),
            "{shown}"
        );
    }
    // Others are as before, with the token of before.
    let said = alice.ok(&["exec", "shell", "-n", "kept", "--", "echo", "again"])?;
    assert_eq!(said, "again\n");
    Ok(())
}

/// Another cluster behind the same gateway, played by the stand-in.
fn with_another_cluster(fake: &FakeApiServer, folder: &Path) -> anyhow::Result<Options> {
    let token = folder.join("token");
    std::fs::write(&token, "token")?;
    let upstream = fake.upstream();
    let other = json!({
        "name": "other", "servers": [upstream.server], "authorization": "observe",
        "impersonator": { "tokenFile": token }, "observer": { "tokenFile": token },
    });
    Ok(Options {
        more: Some(json!({ "clusters": [{}, other] })),
        ..Options::ruled(kept_is_recorded())
    })
}

#[test]
fn g_07_an_api_server_killed_in_a_watch_and_in_sessions_ends_each_once_and_spares_the_other_cluster()
-> anyhow::Result<()> {
    let (cluster, fake, folder) = (world()?, FakeApiServer::start()?, tempfile::tempdir()?);
    let gateway = Gateway::start(&cluster, &with_another_cluster(&fake, folder.path())?)?;
    let signed_in = gateway.sign_in("alice")?;
    let elsewhere = gateway.renew(&signed_in.handle, "other")?;
    let alice = gateway.kubectl("alice", &signed_in.token)?;
    let mut neighbour = Neighbour::begin(&fake, &gateway, &elsewhere.token, "other")?;
    let mut talking = both_ways(&alice, TICKS)?;
    // The same person in the same pod, past the gate.
    let direct = cluster.as_person("alice@example.com", &["dev"])?;
    let mut talking_directly = both_ways(&direct, TICKS)?;
    let mut raw = raw_watch(&gateway, &signed_in.token)?;
    let mut watching = watching(&alice)?;
    let watches = |record: &Value| record["kind"] == "access" && record["req"]["verb"] == "watch";
    let records = gateway.records_with("the watch is recorded", |records| {
        records.iter().filter(|record| watches(record)).count() == 2
    })?;
    let watched: Vec<Value> = records.into_iter().filter(watches).collect();

    let memory = Memory::of(&gateway)?;
    kill(cluster.pid_of("kube-apiserver")?, Signal::SIGKILL)?;
    let codes = end_in_vain(&mut talking)?;
    assert_eq!(codes, end_in_vain(&mut talking_directly)?, "as direct");
    assert_eq!(
        codes,
        [1, 0],
        "what docs/reference/statements.md says of both protocols"
    );
    // The end of a watch whose server is gone is no end of an answer (G-07): no last chunk.
    let mut rest = Vec::new();
    let ended = raw.read_to_end(&mut rest);
    assert!(
        !rest.ends_with(b"0\r\n\r\n"),
        "{ended:?}: {}",
        String::from_utf8_lossy(&rest)
    );
    watching.end()?;
    neighbour.echoes()?;
    let mut here = sessions(&gateway.records()?)?;
    here.remove(&neighbour.id()?).context("the neighbour's")?;
    assert_eq!(here.len(), 2, "{here:?}");
    for id in here.keys() {
        let end = gateway.end_of(id)?;
        assert_eq!(end["outcome"]["end"], "upstreamLost", "{end}");
        assert!(end["recording"].get("incomplete").is_none(), "{end}");
        let survey = survey(&gateway, id, &[])?;
        assert_eq!(survey.tail, Tail::Closed, "the recording is whole: {survey:?}");
    }
    for watch in &watched {
        let end = gateway.end_of(watch["id"].as_str().context("an id")?)?;
        assert_eq!(end["outcome"]["end"], "upstreamLost", "{end}");
    }
    neighbour.echoes()?;
    memory.is_bounded()?;
    let id = neighbour.id()?;
    drop(neighbour);
    gateway.end_of(&id)?;
    let records = gateway.records()?;
    assert_eq!(one_end_each(&records)?.len(), 3);
    for watch in &watched {
        let ends = records
            .iter()
            .filter(|record| record["pair"] == watch["seq"] && record["kind"] == "close");
        assert_eq!(ends.count(), 1, "the watch ended once");
    }
    Ok(())
}

/// Lets a stopped process go on, also when the story fails.
struct Stopped(Pid);

impl Stopped {
    fn stop(pid: Pid) -> anyhow::Result<Self> {
        kill(pid, Signal::SIGSTOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT); // it may be gone
    }
}

#[test]
fn a_node_that_stands_still_ends_its_sessions_at_the_idle_limit_with_words_and_no_watch() -> anyhow::Result<()> {
    let (cluster, fake, folder) = (world()?, FakeApiServer::start()?, tempfile::tempdir()?);
    let admin = cluster.admin()?;
    // The neighbour is behind another cluster, where nothing ends by idling.
    let idle_ends = entering("node-ends", "clusters: [bench], namespaces: [kept]", "idle: 20s");
    let mut options = with_another_cluster(&fake, folder.path())?;
    options.rules = Some([kept_is_recorded(), idle_ends].concat());
    let gateway = Gateway::start(&cluster, &options)?;
    let signed_in = gateway.sign_in("alice")?;
    let elsewhere = gateway.renew(&signed_in.handle, "other")?;
    let alice = gateway.kubectl("alice", &signed_in.token)?;
    let mut watching = watching(&alice)?;
    let mut talking = both_ways(&alice, "echo begun; sleep 1000")?;
    let memory = Memory::of(&gateway)?;
    let mut neighbour = Neighbour::begin(&fake, &gateway, &elsewhere.token, "other")?;
    let stopped = Stopped::stop(cluster.pid_of("node")?)?;
    neighbour.echoes()?;
    for running in &mut talking {
        let why = "nothing has passed for 20 s, its limit";
        running.line("the person is told", |line| line.contains(why))?;
        assert_ne!(running.end()?, 0);
    }
    admin.ok(&["create", "configmap", "meanwhile", "-n", "kept"])?;
    watching.line("the watch goes on", |line| line == "configmap/meanwhile")?;
    neighbour.echoes()?;
    memory.is_bounded()?;
    drop(stopped);
    neighbour.leaves(&gateway)?;
    for session in gateway.sessions(2, |open| open["req"]["name"] == "shell")? {
        assert_eq!(session.close["outcome"]["end"], "ended", "{}", session.close);
    }
    assert_eq!(one_end_each(&gateway.records()?)?.len(), 3);
    Ok(())
}
