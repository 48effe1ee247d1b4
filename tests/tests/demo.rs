//! The README's first command, through a real process: it keeps what it prints, and leaves nothing behind.

use nix::sys::signal::Signal;
use std::process::Command;
use tests::demo::{Demo, Surroundings};
use tests::kubectl::{Running, run};
use tests::wait::{PATIENCE, wait_until};

#[test]
fn however_it_is_told_to_stop_it_leaves_nothing() -> anyhow::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let demo = Demo::start(Surroundings::new(true)?, &[])?;
        demo.sign_in("alice")?;
        let read = demo.shell("alice", "kubectl get pods -n shop")?;
        assert_eq!(read.code, 0, "{read}");
        let (code, left) = demo.end(signal)?;
        assert_eq!((code, left), (0, Vec::new()), "{signal}");
    }
    Ok(())
}

#[test]
fn told_to_stop_while_it_starts_it_leaves_nothing() -> anyhow::Result<()> {
    let surroundings = Surroundings::new(false)?;
    let mut running = Running::start(surroundings.demo(&[])?)?;
    wait_until("its folder is there", PATIENCE, || {
        std::fs::read_dir(surroundings.temporary()).ok()?.next().map(drop)
    })?;
    running.signal(Signal::SIGTERM)?;
    assert_eq!(running.end()?, 0, "{:?}", running.lines());
    assert_eq!(surroundings.left()?, Vec::<String>::new());
    Ok(())
}

#[test]
fn a_start_that_fails_leaves_nothing() -> anyhow::Result<()> {
    // With so few open files it fails somewhere on its way, each time further on.
    let mut failed = 0;
    for files in [16, 24, 32, 40] {
        let surroundings = Surroundings::new(false)?;
        let demo = surroundings.demo(&[])?;
        let mut command = Command::new("/bin/sh");
        surroundings.surround(&mut command);
        let line = format!(
            "ulimit -n {files}; exec '{}' demo",
            demo.get_program().to_string_lossy()
        );
        command.args(["-c", &line]);
        let mut running = Running::start(command)?;
        if running.line("ready", |line| line.contains("Ctrl-C stops it")).is_ok() {
            running.signal(Signal::SIGTERM)?;
        } else {
            failed += 1;
            assert!(
                running.lines().iter().any(|line| line.starts_with('✖')),
                "{files}: {:?}",
                running.lines()
            );
        }
        running.end()?;
        assert_eq!(
            surroundings.left()?,
            Vec::<String>::new(),
            "{files}: {:?}",
            running.lines()
        );
    }
    assert!(failed > 0, "every start succeeded");
    Ok(())
}

#[test]
fn the_whole_story_is_as_promised_with_kubectl_and_without() -> anyhow::Result<()> {
    for kubectl in [true, false] {
        let surroundings = Surroundings::new(kubectl)?;
        let told = run(surroundings.demo(&["--script"])?, "", PATIENCE)?;
        assert_eq!(told.code, 0, "{told}");
        assert!(told.stderr.contains("✔ all 11 steps were as promised"), "{told}");
        assert_eq!(told.stdout.contains("$ kubectl get"), kubectl, "{told}");
        assert_eq!(surroundings.left()?, Vec::<String>::new());
    }
    Ok(())
}
