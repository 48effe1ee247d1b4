//! `gatescribe-supervise [--folder DIR] [--pid-file FILE] (--hold | -- COMMAND…)`: runs a command for a test runner and ends with it.
//!
//! Standard input is the lifeline: the runner holds the other end of that pipe, and the kernel closes it when the runner
//! ends in whatever way, SIGKILL included. (A parent-death signal from the runner would not do: it fires when the *thread*
//! that started the process ends, and tests are threads.) Then every descendant is killed, also those that left the process
//! group: we are their subreaper. Should the supervisor itself be killed, the command dies by its parent-death signal,
//! which is set in a second stage that replaces itself by the command, so no code runs between fork and exec.
//!
//! `--folder`: each supervisor of a bench shares a lock on the data folder; the last one to end removes it. With `--hold`
//! instead of a command it runs nothing and only keeps its share until the lifeline ends, so that the folder outlives the
//! programs in it; it writes one byte when it has the share.

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid, getppid};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The argument that marks the second stage; the next one is the supervisor's pid.
const SECOND_STAGE: &str = "--become";

struct Arguments {
    folder: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    hold: bool,
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    let result = if std::env::args().nth(1).as_deref() == Some(SECOND_STAGE) {
        become_command()
    } else {
        parse(std::env::args_os().skip(1)).and_then(|arguments| match arguments.hold {
            true => hold(&arguments),
            false => supervise(&arguments),
        })
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gatescribe-supervise: {error:#}");
            ExitCode::from(127)
        }
    }
}

fn parse(mut words: impl Iterator<Item = OsString>) -> anyhow::Result<Arguments> {
    let mut arguments = Arguments {
        folder: None,
        pid_file: None,
        hold: false,
        command: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--folder") => arguments.folder = words.next().map(PathBuf::from),
            Some("--pid-file") => arguments.pid_file = words.next().map(PathBuf::from),
            Some("--hold") => arguments.hold = true,
            Some("--") => arguments.command = words.by_ref().collect(),
            _ => bail!("unknown argument {}", word.display()),
        }
    }
    if arguments.command.is_empty() != arguments.hold {
        bail!("either a command or --hold");
    }
    Ok(arguments)
}

fn supervise(arguments: &Arguments) -> anyhow::Result<u8> {
    let lock = arguments.folder.as_deref().map(share_folder).transpose()?;
    prctl::set_child_subreaper(true).context("become the subreaper")?;
    let own = std::env::current_exe()?;
    // The main thread starts it and lives as long as the process, as the parent-death signal wants.
    let mut command = Command::new(own)
        .arg(SECOND_STAGE)
        .arg(getpid().to_string())
        .args(&arguments.command)
        .stdin(std::process::Stdio::null())
        .spawn()
        .context("start the command")?;
    let pid = Pid::from_raw(i32::try_from(command.id())?);
    if let Some(file) = &arguments.pid_file {
        publish_pid(file, pid)?;
    }
    std::thread::spawn(move || {
        lifeline_ends();
        let _ = kill(pid, Signal::SIGKILL); // wakes the main thread, which ends the rest
    });
    let status = command.wait().context("wait for the command")?;
    end_descendants();
    if let (Some(folder), Some(lock)) = (&arguments.folder, lock) {
        leave_folder(folder, &lock);
    }
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125))
}

fn hold(arguments: &Arguments) -> anyhow::Result<u8> {
    let folder = arguments.folder.as_deref().context("--hold needs --folder")?;
    let lock = share_folder(folder)?;
    let mut out = std::io::stdout();
    out.write_all(b"h")
        .and_then(|()| out.flush())
        .context("say that it is held")?;
    lifeline_ends();
    leave_folder(folder, &lock);
    Ok(0)
}

fn lifeline_ends() {
    let _ = std::io::copy(&mut std::io::stdin().take(u64::MAX), &mut std::io::sink());
}

/// Written whole or not at all: a reader that sees the file sees the number.
fn publish_pid(file: &Path, pid: Pid) -> anyhow::Result<()> {
    let draft = file.with_extension("pid.new");
    std::fs::write(&draft, pid.to_string())?;
    std::fs::rename(&draft, file)?;
    Ok(())
}

fn become_command() -> anyhow::Result<u8> {
    let mut words = std::env::args_os().skip(2);
    let supervisor = words.next().context("no supervisor")?;
    prctl::set_pdeathsig(Signal::SIGKILL).context("set the parent-death signal")?;
    if OsString::from(getppid().to_string()) != supervisor {
        bail!("the supervisor ended before its command began");
    }
    let program = words.next().context("no command")?;
    Err(anyhow::Error::from(Command::new(&program).args(words).exec()).context(format!("run {}", program.display())))
}

/// Kills until there is no child left; new ones may appear while we look.
fn end_descendants() {
    loop {
        for pid in descendants() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(std::time::Duration::from_millis(2)),
            Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// All processes below us, from `/proc/*/stat` (pid, name in parentheses, state, parent).
fn descendants() -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: Vec<(i32, i32)> = entries
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (_, after_name) = stat.rsplit_once(')')?;
            Some((pid, after_name.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect();
    let mut below = vec![getpid().as_raw()];
    loop {
        let before = below.len();
        for (pid, parent) in &parents {
            if below.contains(parent) && !below.contains(pid) {
                below.push(*pid);
            }
        }
        if below.len() == before {
            return below.into_iter().skip(1).map(Pid::from_raw).collect();
        }
    }
}

fn share_folder(folder: &Path) -> anyhow::Result<File> {
    let lock = File::create(folder.join(tests::process::SHARES)).context("open the data folder's lock")?;
    lock.lock_shared().context("share the data folder's lock")?;
    Ok(lock)
}

/// The last supervisor removes the folder. Trying to upgrade gives up our share first, so of two that try at once at
/// least one succeeds.
fn leave_folder(folder: &Path, lock: &File) {
    if std::env::var_os("GATESCRIBE_TEST_KEEP").is_none() && lock.try_lock().is_ok() {
        let _ = std::fs::remove_dir_all(folder);
    }
}
