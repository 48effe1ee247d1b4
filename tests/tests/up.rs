//! `cargo xtask up` and `down`: the bench for a person, whole, and gone afterwards however it ends.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tests::counterparts::repository;
use tests::kubectl::{Output, run};
use tests::process::{MARK, marked};
use tests::wait::{PATIENCE, wait_until};

/// With a build that has nothing to do; minutes on a machine that has not built yet.
const LONG: Duration = Duration::from_secs(540);

struct Up {
    folder: tempfile::TempDir,
    mark: String,
}

impl Up {
    fn new() -> anyhow::Result<Self> {
        let folder = tempfile::TempDir::with_prefix("gatescribe-up-")?;
        let mark = format!("up-{}", folder.path().display());
        Ok(Self { folder, mark })
    }

    fn xtask(&self, task: &str) -> anyhow::Result<Output> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["xtask", task])
            .current_dir(repository())
            .env("GATESCRIBE_UP", self.folder.path())
            .env(MARK, &self.mark);
        run(command, "", LONG)
    }

    fn state(&self) -> anyhow::Result<Value> {
        let text = std::fs::read_to_string(self.folder.path().join("state.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Waits until neither processes nor the data folder are left.
    fn is_gone(&self, data: &Path) -> anyhow::Result<()> {
        wait_until("every process is gone", PATIENCE, || {
            marked(&self.mark).is_empty().then_some(())
        })?;
        wait_until("the data folder is gone", PATIENCE, || (!data.exists()).then_some(()))
    }
}

/// A shell of somebody, as the printed lines make it.
fn shell(state: &Value, exports: &str, line: &str) -> anyhow::Result<Output> {
    let folder = |program: &str| {
        let path = state[program].as_str().map(Path::new).and_then(Path::parent);
        path.map(|folder| folder.display().to_string()).unwrap_or_default()
    };
    let path = format!("{}:{}", folder("kubectl"), folder("gatescribe"));
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("export {exports} PATH={path}:$PATH; {line}")]);
    run(command, "", PATIENCE)
}

#[test]
fn up_gives_three_people_a_cluster_and_down_takes_it_away() -> anyhow::Result<()> {
    let up = Up::new()?;
    let said = up.xtask("up")?;
    assert_eq!(said.code, 0, "{said}");
    let state = up.state()?;
    let data = PathBuf::from(state["folder"].as_str().unwrap_or_default());
    let people = state["people"].as_array().cloned().unwrap_or_default();
    assert_eq!(people.len(), 3, "{state}");
    for person in &people {
        let exports = person["exports"].as_str().unwrap_or_default();
        let printed = format!("{}{}", said.stdout, said.stderr);
        assert!(printed.contains(exports), "{exports} was not printed:\n{printed}");
        let who = person["who"]
            .as_str()
            .unwrap_or_default()
            .split(' ')
            .next()
            .unwrap_or_default();
        let read = shell(
            &state,
            exports,
            "kubectl get namespaces && gatescribe audit search --since 5m",
        )?;
        assert!(read.code == 0 && read.stdout.contains("kube-system"), "{who}: {read}");
        assert!(read.stdout.contains(&format!("{who}@example.com")), "{who}: {read}");
    }
    let alice = people[0]["exports"].as_str().unwrap_or_default();
    let refused = shell(&state, alice, "kubectl get secrets -A")?;
    assert!(
        refused.code == 1 && refused.stderr.contains("may not list secrets"),
        "{refused}"
    );
    let again = up.xtask("up")?;
    assert!(again.code == 0 && format!("{again}").contains("up already"), "{again}");
    let down = up.xtask("down")?;
    assert_eq!(down.code, 0, "{down}");
    up.is_gone(&data)
}

#[test]
fn after_sigkill_of_the_bench_nothing_of_it_is_left() -> anyhow::Result<()> {
    let up = Up::new()?;
    let said = up.xtask("up")?;
    assert_eq!(said.code, 0, "{said}");
    let state = up.state()?;
    let pid = i32::try_from(state["pid"].as_i64().unwrap_or_default())?;
    kill(Pid::from_raw(pid), Signal::SIGKILL)?;
    up.is_gone(Path::new(state["folder"].as_str().unwrap_or_default()))?;
    let down = up.xtask("down")?;
    assert!(down.code == 0 && format!("{down}").contains("Nothing is up"), "{down}");
    Ok(())
}
