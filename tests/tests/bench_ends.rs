//! Nothing of the bench outlives its runner, however that ends.

use std::process::Command;
use tests::counterparts::own_binary;
use tests::kubectl::Running;
use tests::process::{Folder, MARK, Process, alive, marked};
use tests::wait::{PATIENCE, wait_until};

#[test]
fn after_sigkill_of_the_runner_nothing_is_left() -> anyhow::Result<()> {
    let mark = format!("bench-ends-{}", std::process::id());
    let mut runner = Command::new(own_binary("gatescribe-bench")?);
    runner.args(["run", "--parts", "apiserver,node"]).env(MARK, &mark);
    let mut runner = Running::start(runner)?;
    let folder = runner.line("the bench says where it is", |line| line.starts_with("folder "))?;
    runner.line("the bench is ready", |line| line == "ready")?;
    // etcd, kube-apiserver and node, each under a supervisor, and the runner itself.
    assert!(marked(&mark).len() >= 7, "{:?}", marked(&mark));

    runner.kill_hard()?;

    wait_until("every process is gone", PATIENCE, || {
        marked(&mark).is_empty().then_some(())
    })?;
    let folder = std::path::PathBuf::from(folder.trim_start_matches("folder "));
    wait_until("the data folder is gone", PATIENCE, || (!folder.exists()).then_some(()))?;
    Ok(())
}

#[test]
fn a_dropped_process_takes_its_escaped_grandchildren_along() -> anyhow::Result<()> {
    let mark = format!("bench-grandchild-{}", std::process::id());
    let folder = Folder::new("grandchild")?;
    let mut shell = Command::new("sh");
    // A session of its own, orphaned at once: neither the process group nor the parent leads to it.
    shell
        .args(["-c", "setsid sh -c 'sleep 1000 & sleep 1000' & sleep 1000"])
        .env(MARK, &mark);
    let process = Process::start("shell", &shell, &folder)?;
    // Supervisor, shell, its sleep, the session's shell and its two.
    wait_until("all six run", PATIENCE, || (marked(&mark).len() == 6).then_some(()))?;

    drop(process);

    assert_eq!(marked(&mark), Vec::<u32>::new());
    assert!(!folder.path().exists());
    Ok(())
}

#[test]
fn a_held_folder_outlives_its_programs_and_goes_with_its_holder() -> anyhow::Result<()> {
    let folder = Folder::held("held")?;
    let path = folder.path().to_path_buf();
    for name in ["first", "second"] {
        let mut process = Process::start(name, &Command::new("true"), &folder)?;
        assert!(process.wait()?.success());
        assert!(path.join(format!("{name}.log")).is_file(), "{name} left what it wrote");
    }
    drop(folder);
    assert!(!path.exists());
    Ok(())
}

#[test]
fn a_folder_in_which_nothing_runs_goes_with_its_value() -> anyhow::Result<()> {
    let idle = Folder::new("idle")?;
    let busy = Folder::new("busy")?;
    let (path, watched) = (idle.path().to_path_buf(), busy.path().to_path_buf());
    idle.write("copy", "of a ledger")?;
    let mut command = Command::new("sleep");
    command.arg("1000");
    let process = Process::start("sleep", &command, &busy)?;
    process.pid()?;

    drop(idle);
    drop(busy);

    assert!(!path.exists());
    assert!(watched.exists(), "what runs keeps its folder");
    drop(process);
    assert!(!watched.exists());
    Ok(())
}

#[test]
fn when_the_supervisor_is_killed_its_program_dies_too() -> anyhow::Result<()> {
    let folder = Folder::new("orphan")?;
    let mut command = Command::new("sleep");
    command.arg("1000");
    let process = Process::start("sleep", &command, &folder)?;
    let pid = process.pid()?;
    wait_until("it has become sleep", PATIENCE, || {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|name| name == "sleep\n")
            .then_some(())
    })?;
    nix::sys::signal::kill(process.supervisor(), nix::sys::signal::Signal::SIGKILL)?;
    wait_until("sleep is gone", PATIENCE, || {
        (!alive(pid.as_raw().unsigned_abs())).then_some(())
    })?;
    Ok(())
}
