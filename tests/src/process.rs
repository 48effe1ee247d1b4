//! Supervised processes: what a story starts ends with the test runner, however that ends.
//!
//! Each process runs under `gatescribe-supervise` (see `src/bin/supervise.rs` for the mechanism), in a process group of its
//! own, with its output in a log file of the data folder.

use crate::counterparts;
use crate::wait::{PATIENCE, try_until, wait_until};
use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The file in a data folder that each supervisor of a process in it locks, shared with the others.
pub const SHARES: &str = ".supervised";

/// The data folder of one bench. It goes with this value or with the last supervised process in it, whichever ends last;
/// `GATESCRIBE_TEST_KEEP=1` keeps it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    holder: Option<Child>,
}

impl Folder {
    /// Makes a new folder below the system's folder for temporary files, readable by its owner only.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn new(what: &str) -> anyhow::Result<Self> {
        let made = tempfile::Builder::new()
            .prefix(&format!("gatescribe-{what}-"))
            .tempdir()?;
        Ok(Self {
            path: made.keep(),
            holder: None,
        })
    }

    /// As [`Folder::new`], but it outlives every process in it, so that one can be killed and started again on what it
    /// left. It goes when this value is dropped, or when the runner ends in whatever way.
    ///
    /// # Errors
    /// The disk refuses, or the supervisor is not built.
    pub fn held(what: &str) -> anyhow::Result<Self> {
        let mut folder = Self::new(what)?;
        let mut holder = Command::new(counterparts::own_binary("gatescribe-supervise")?);
        holder.arg("--folder").arg(&folder.path).arg("--hold");
        let mut holder = holder
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the folder's holder")?;
        // It says a byte once it has its share of the folder; before that, another process' end would remove it.
        let said = holder.stdout.take().map(|mut said| said.read_exact(&mut [0]));
        folder.holder = Some(holder);
        said.context("the holder's output")?.context("the folder is not held")?;
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it and returns the file's path.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> anyhow::Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Whether no supervisor has a share of it (any more): then none will remove it.
    fn nothing_runs(&self) -> bool {
        File::open(self.path.join(SHARES)).map_or(true, |shares| shares.try_lock().is_ok())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Some(holder) = &mut self.holder {
            drop(holder.stdin.take()); // the lifeline
            let _ = holder.wait();
        }
        if std::env::var_os("GATESCRIBE_TEST_KEEP").is_none() && self.nothing_runs() {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// A running program. Dropping it kills it and all that it started, and waits for that.
#[derive(Debug)]
pub struct Process {
    name: String,
    supervisor: Child,
    log: PathBuf,
    pid_file: PathBuf,
}

impl Process {
    /// Starts `command` (its program, arguments, environment and folder) under a supervisor. Output goes to `NAME.log`.
    ///
    /// # Errors
    /// The supervisor is not built, or the system refuses.
    pub fn start(name: &str, command: &Command, folder: &Folder) -> anyhow::Result<Self> {
        let log = folder.path().join(format!("{name}.log"));
        let pid_file = folder.path().join(format!("{name}.pid"));
        let _ = std::fs::remove_file(&pid_file); // a restart under the same name
        let output = File::options().create(true).append(true).open(&log)?;
        let mut supervisor = Command::new(counterparts::own_binary("gatescribe-supervise")?);
        supervisor
            .arg("--folder")
            .arg(folder.path())
            .arg("--pid-file")
            .arg(&pid_file);
        supervisor.arg("--").arg(command.get_program()).args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => supervisor.env(key, value),
                None => supervisor.env_remove(key),
            };
        }
        if let Some(current) = command.get_current_dir() {
            supervisor.current_dir(current);
        }
        let supervisor = supervisor
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            supervisor,
            log,
            pid_file,
        })
    }

    /// The name it was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pid of the program itself, not of its supervisor.
    ///
    /// # Errors
    /// It did not start.
    pub fn pid(&self) -> anyhow::Result<Pid> {
        let number = wait_until(&format!("{} has started", self.name), PATIENCE, || {
            std::fs::read_to_string(&self.pid_file).ok()
        })?;
        Ok(Pid::from_raw(number.parse()?))
    }

    /// The pid of its supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Pid {
        Pid::from_raw(self.supervisor.id().cast_signed())
    }

    /// Sends the program a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill(self.pid()?, signal).with_context(|| format!("signal {}", self.name))
    }

    /// How it ended, if it did. 125 stands for an end by a signal.
    ///
    /// # Errors
    /// The system does not know.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.supervisor.try_wait()?)
    }

    /// Waits until it has ended, with all that it started: its ports and locks are free then.
    ///
    /// # Errors
    /// It still runs after a minute: nobody told it to end.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let what = format!("{} has ended", self.name);
        try_until(&what, PATIENCE, || self.ended()?.context("it runs"))
    }

    /// Its whole output so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of its output, for error messages.
    #[must_use]
    pub fn log_end(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all.get(all.len().saturating_sub(lines)..)
            .unwrap_or_default()
            .join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.supervisor.stdin.take()); // the lifeline
        let _ = self.supervisor.wait();
    }
}

/// Set in the environment of a program that a test starts, so that every descendant can be found by it.
pub const MARK: &str = "GATESCRIBE_TEST_MARK";

/// Live processes with the mark in their environment.
#[must_use]
pub fn marked(mark: &str) -> Vec<u32> {
    let wanted = format!("{MARK}={mark}");
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let found = environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == wanted.as_bytes());
            (found && alive(pid)).then_some(pid)
        })
        .collect()
}

/// Whether a process lives. A zombie that nobody waits for is dead.
#[must_use]
pub fn alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    })
}
