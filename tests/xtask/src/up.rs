//! `up` and `down`: the bench for a person, kept running by `gatescribe-bench` in a session of its own.
//!
//! All state is `target/up/state.json`, written by that process when it is ready: cluster, node, provider, gateway, and three
//! people who are signed in. What is printed here is made of it.

use crate::command::{cargo, root, succeeds, target, tell};
use crate::counterparts;
use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(300);
const PAUSE: Duration = Duration::from_millis(100);

/// Brings it up, or says how to use the one that is up.
///
/// # Errors
/// Something does not build or start; then nothing is left running.
pub(crate) fn up() -> anyhow::Result<()> {
    if let Some(state) = running()? {
        tell("The bench is up already.");
        return show(&state);
    }
    counterparts::build()?;
    let build = ["build", "-p", "gatescribe-tests", "-p", "gatescribe-cli", "--bins"];
    if !succeeds(&mut cargo(&build))? {
        bail!("the bench does not build");
    }
    let folder = folder();
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let _ = std::fs::remove_file(state_file());
    let log = folder.join("bench.log");
    let mut bench = start(&log)?;
    tell("Starting etcd, kube-apiserver, controller manager, scheduler, a node, a provider and the gateway …");
    let begun = Instant::now();
    while !state_file().is_file() {
        if let Some(status) = bench.try_wait()? {
            bail!("the bench ended ({status}):\n{}", std::fs::read_to_string(&log)?);
        }
        if begun.elapsed() > PATIENCE {
            end(Pid::from_raw(i32::try_from(bench.id())?))?;
            bail!("not ready after {} s; see {}", PATIENCE.as_secs(), log.display());
        }
        std::thread::sleep(PAUSE);
    }
    tell(&format!("Ready after {:.1} s.", begun.elapsed().as_secs_f32()));
    show(&read_state()?)
}

/// Takes it down and waits until it is gone.
///
/// # Errors
/// It does not end.
pub(crate) fn down() -> anyhow::Result<()> {
    let Some(state) = running()? else {
        tell("Nothing is up.");
        return Ok(());
    };
    end(pid_of(&state)?)?;
    let data = state.get("folder").and_then(Value::as_str).map(PathBuf::from);
    let begun = Instant::now();
    while data.as_deref().is_some_and(Path::exists) {
        if begun.elapsed() > PATIENCE {
            bail!("something still runs in {}", data.unwrap_or_default().display());
        }
        std::thread::sleep(PAUSE);
    }
    std::fs::remove_file(state_file())?;
    tell("The bench is down; nothing is left of it.");
    Ok(())
}

fn start(log: &Path) -> anyhow::Result<Child> {
    let log = File::create(log)?;
    let mut command = Command::new(target()?.join("debug/gatescribe-bench"));
    command.args(["run", "--session", "--state"]).arg(state_file());
    command
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command.spawn().context("start gatescribe-bench")
}

/// Ends the process group and waits for its leader; its counterparts end by their lifelines.
fn end(leader: Pid) -> anyhow::Result<()> {
    killpg(leader, Signal::SIGTERM).or_else(|error| if error == Errno::ESRCH { Ok(()) } else { Err(error) })?;
    let begun = Instant::now();
    while is_bench(leader) {
        if begun.elapsed() > PATIENCE {
            bail!("process {leader} does not end");
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// The state, if its process still runs; a stale one is removed.
fn running() -> anyhow::Result<Option<Value>> {
    if !state_file().is_file() {
        return Ok(None);
    }
    let state = read_state()?;
    if is_bench(pid_of(&state)?) {
        return Ok(Some(state));
    }
    std::fs::remove_file(state_file())?;
    Ok(None)
}

/// A pid may belong to another by now.
fn is_bench(pid: Pid) -> bool {
    let alive = kill(pid, None).is_ok();
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    alive && name.starts_with("gatescribe-benc") && !stat.contains(") Z ")
}

fn pid_of(state: &Value) -> anyhow::Result<Pid> {
    let pid = state
        .get("pid")
        .and_then(Value::as_i64)
        .context("the state has no pid")?;
    Ok(Pid::from_raw(i32::try_from(pid)?))
}

fn read_state() -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&std::fs::read_to_string(state_file())?)?)
}

/// `GATESCRIBE_UP` names another one, so that a test does not meet the bench of the person who runs it.
fn folder() -> PathBuf {
    std::env::var_os("GATESCRIBE_UP").map_or_else(|| root().join("target/up"), PathBuf::from)
}

fn state_file() -> PathBuf {
    folder().join("state.json")
}

/// What is there, and commands to paste.
fn show(state: &Value) -> anyhow::Result<()> {
    let text = |key: &str| state.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    for (what, key) in [
        ("API server", "server"),
        ("its audit log", "auditLog"),
        ("gateway", "gateway"),
        ("its ledger", "ledger"),
    ] {
        tell(&format!("{what:<14} {}", text(key)));
    }
    tell(&format!("{:<14} {}/*.log", "logs", text("folder")));
    tell("\nIn another terminal, become somebody:\n");
    let people = state
        .get("people")
        .and_then(Value::as_array)
        .context("the state has no people")?;
    for person in people {
        let word = |key: &str| person.get(key).and_then(Value::as_str).unwrap_or_default();
        tell(&format!("# {}\nexport {}", word("who"), word("exports")));
    }
    tell(&format!(
        "# past the gateway, as system:masters\nexport {}",
        text("admin")
    ));
    let folders: Vec<String> = ["kubectl", "gatescribe"]
        .into_iter()
        .filter_map(|program| Some(Path::new(&text(program)).parent()?.display().to_string()))
        .collect();
    tell(&format!("\nThen try:\n\n  export PATH={}:$PATH", folders.join(":")));
    let lines = state.get("try").and_then(Value::as_array).into_iter().flatten();
    for line in lines.filter_map(Value::as_str) {
        tell(&format!("  {line}"));
    }
    tell("\nAway with it: cargo xtask down");
    Ok(())
}
