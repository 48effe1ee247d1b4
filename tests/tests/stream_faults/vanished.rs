//! Clients whose line is cut: they are gone without a FIN, a reset or a close, and the gateway hears nothing more of them. Real
//! kubectl in a network of its own, behind a cable whose far end is taken down.
//!
//! A loopback loses nothing, so the story runs a second time, in a network namespace of its own (`unshare -rn`: no rights on the
//! machine are needed, where user namespaces are permitted), and holds a second one for the people.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::Value;
use tests::cluster::{Cluster, Options as ClusterOptions};
use tests::gateway::{Gateway, Options};
use tests::kubectl::{Kubectl, Running};
use tests::left_out::{Lack, is_there};
use tests::measure::cpu::peak_kib;
use tests::pods::{dev_does_all, kept, namespace, shell};
use tests::process::{Folder, Process};
use tests::records::one_end_each;
use tests::rules::{entering, kept_is_recorded};
use tests::wait::{PATIENCE, try_until, wait_until};

use super::silence::MOST_KIB;

/// Set for the second run.
const INSIDE: &str = "GATESCRIBE_TEST_NETWORK_OF_ITS_OWN";
const STORY: &str = "vanished::a_08_who_vanishes_without_a_word_ends_once_and_takes_nobody_with_it";
/// The gateway's end of the cable, and the people's.
const GATE: &str = "10.77.0.1";
const PEOPLE: &str = "10.77.0.2";

/// The command in a network namespace of its own, whose loopback is up.
fn alone(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-rn", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\"", program]);
    command.args(words);
    command
}

#[test]
fn a_08_who_vanishes_without_a_word_ends_once_and_takes_nobody_with_it() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let mut asked = alone("ip", &["link", "add", "gate", "type", "veth", "peer", "name", "people"]);
    if !is_there("clients whose line is cut", Lack::Network, &mut asked)? {
        return Ok(());
    }
    let folder = Folder::held("vanished")?;
    let own = std::env::current_exe()?;
    let mut command = alone(own.to_str().context("UTF-8")?, &["--exact", STORY, "--nocapture"]);
    command.env(INSIDE, "1");
    let mut story = Process::start("story", &command, &folder)?;
    let ended = wait_until("the story ends", PATIENCE * 4, || story.ended().transpose());
    let log = story.log();
    ensure!(ended.with_context(|| log.clone())??.success(), "{log}");
    // A filter that fits nothing would end well, too.
    ensure!(log.contains("1 passed") && log.contains("peak_grown_kib="), "{log}");
    Ok(())
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn ip(words: &str) -> anyhow::Result<()> {
    done(Command::new("ip").args(words.split(' ')))
}

/// Where the people are: a network namespace that a process holds, at the other end of a cable.
struct Elsewhere {
    pid: Pid,
    _holder: Process,
}

impl Elsewhere {
    fn new(folder: &Folder) -> anyhow::Result<Self> {
        let mut holder = Command::new("unshare");
        holder.args(["-n", "sleep", "infinity"]);
        let holder = Process::start("elsewhere", &holder, folder)?;
        let pid = holder.pid()?;
        let of = |process: String| std::fs::read_link(format!("/proc/{process}/ns/net"));
        let here = of("self".to_owned())?;
        try_until("it has a network of its own", PATIENCE, || {
            ensure!(of(pid.to_string())? != here, "not yet");
            Ok(())
        })?;
        let this = Self { pid, _holder: holder };
        ip(&format!("link add gate type veth peer name people netns {pid}"))?;
        ip(&format!("addr add {GATE}/24 dev gate"))?;
        ip("link set gate up")?;
        this.ip(&format!("addr add {PEOPLE}/24 dev people"))?;
        this.ip("link set people up")?;
        Ok(this)
    }

    /// The command over there.
    fn runs(&self, command: &Command) -> Command {
        let mut there = Command::new("nsenter");
        there.args(["-t", &self.pid.to_string(), "-n", "--"]);
        there.arg(command.get_program()).args(command.get_args()).env_clear();
        let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
        there.envs(set);
        if let Some(folder) = command.get_current_dir() {
            there.current_dir(folder);
        }
        there
    }

    fn ip(&self, words: &str) -> anyhow::Result<()> {
        done(
            &mut self.runs(
                Command::new("ip")
                    .args(words.split(' '))
                    .env("PATH", std::env::var_os("PATH").unwrap_or_default()),
            ),
        )
    }

    /// Begins something that goes on, and waits for its first words.
    fn begins(&self, kubectl: &Kubectl, words: &[&str], first: &str) -> anyhow::Result<Running> {
        let mut running = Running::start(self.runs(&kubectl.command(words)?))?;
        running.line("it has begun", |line| line == first)?;
        Ok(running)
    }
}

/// A shell line in `kept` or `poured`.
fn in_pod<'a>(namespace: &'a str, line: &'a str) -> [&'a str; 9] {
    ["exec", "-i", "shell", "-n", namespace, "--", "sh", "-c", line]
}

/// The id of the first call whose record of this kind is so, once there is one.
fn begun(gateway: &Gateway, kind: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<String> {
    try_until("its beginning is recorded", PATIENCE, || {
        let records = gateway.records()?;
        let mut found = records.iter().filter(|record| record["kind"] == kind && is(record));
        let id = found.next().and_then(|record| record["id"].as_str());
        Ok(id.context("not yet")?.to_owned())
    })
}

fn inside() -> anyhow::Result<()> {
    let folder = Folder::new("cable")?;
    let elsewhere = Elsewhere::new(&folder)?;
    let poured = [namespace("poured"), dev_does_all("poured"), shell("poured", "shell")].concat();
    let map = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: { name: here, namespace: kept }\n";
    let options = ClusterOptions {
        node: true,
        // There is no route outward here by which the server would find one.
        apiserver_arguments: vec![format!("--advertise-address={GATE}")],
        ..ClusterOptions::default()
    };
    let cluster = Cluster::with_pods_and(options, &[&kept(), &*poured, map].concat())?;
    let limit = entering("poured-ends", "namespaces: [poured]", "record: true, idle: 20s");
    let mut gateway = Gateway::start(
        &cluster,
        &Options {
            address: Some(GATE.parse()?),
            ..Options::ruled([kept_is_recorded(), limit].concat())
        },
    )?;
    let alice = gateway.kubectl_of("alice")?;
    let mut neighbour = alice.start(&in_pod("kept", "echo begun; exec cat"))?;
    neighbour.line("the neighbour's session has begun", |line| line == "begun")?;
    let of_the_neighbour = begun(&gateway, "open", |open| open["req"]["namespace"] == "kept")?;
    let go: PathBuf = folder.path().join("go");
    let pours = format!(
        "echo begun; while [ ! -e {} ]; do sleep 0.05; done; exec yes",
        go.display()
    );
    let _gone = [
        elsewhere.begins(&alice, &in_pod("kept", "echo begun; exec cat"), "begun")?,
        elsewhere.begins(&alice, &in_pod("poured", &pours), "begun")?,
        elsewhere.begins(
            &alice,
            &["get", "configmaps", "-n", "kept", "--watch", "-o", "name"],
            "configmap/here",
        )?,
    ];
    let is_kept = |open: &Value| open["req"]["namespace"] == "kept";
    let of_the_quiet = begun(&gateway, "open", |open| {
        is_kept(open) && open["id"] != *of_the_neighbour
    })?;
    let of_the_poured = begun(&gateway, "open", |open| open["req"]["namespace"] == "poured")?;
    let of_the_watch = begun(&gateway, "access", |access| access["req"]["verb"] == "watch")?;
    let pid = gateway.process().pid()?.as_raw();
    let before = peak_kib(pid)?;

    elsewhere.ip("link set people down")?;
    std::fs::write(&go, "")?;
    cluster
        .admin()?
        .ok(&["create", "configmap", "meanwhile", "-n", "kept"])?;
    let mut echoes = |line: &str| {
        neighbour.write(&format!("{line}\n"))?;
        neighbour
            .line("the neighbour's session goes on", |said| said == line)
            .map(drop)
    };
    echoes("while they vanish")?;
    // What is said to nobody stays in the windows, until the limit of silence is over; the words of the end reach nobody.
    let end = gateway.end_of(&of_the_poured)?;
    assert_eq!(end["outcome"]["end"], "ended", "{end}");
    assert_eq!(
        end["outcome"]["why"], "ended by the gateway: nothing has passed for 20 s, its limit",
        "{end}"
    );
    // Nothing is under way to these two, or one event: the system's probes and its limit for what nobody confirms end them.
    for id in [&of_the_quiet, &of_the_watch] {
        let end = gateway.end_of(id)?;
        assert_eq!(end["outcome"]["end"], "clientGone", "{end}");
    }
    let grown = peak_kib(pid)? - before;
    println!("peak_grown_kib={grown}");
    assert!(grown < MOST_KIB, "{grown} KiB more");
    echoes("when they are gone")?;
    neighbour.close_input();
    assert_eq!(neighbour.end()?, 0, "{:?}", neighbour.lines());
    let end = gateway.end_of(&of_the_neighbour)?;
    assert_eq!(end["outcome"]["exit_code"], 0, "{end}");

    gateway.process().signal(Signal::SIGTERM)?;
    gateway.wait()?;
    let records = gateway.records()?;
    assert_eq!(one_end_each(&records)?.len(), 3, "three sessions");
    let watches = records
        .iter()
        .filter(|record| record["kind"] == "close" && record["id"] == *of_the_watch);
    assert_eq!(watches.count(), 1, "the watch ended once");
    Ok(())
}
