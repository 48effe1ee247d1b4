//! `gatescribe demo` as a person runs it: a process with a home and a folder for temporary files of its own.

use crate::counterparts::{own_binary, program};
use crate::kubectl::{Output, Running, run};
use crate::process::{MARK, marked};
use crate::wait::{PATIENCE, wait_until};
use anyhow::{Context as _, ensure};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Where a demo may leave its traces.
#[derive(Debug)]
pub struct Surroundings {
    folder: TempDir,
    mark: String,
    path: OsString,
}

impl Surroundings {
    /// With kubectl on the path, or without.
    ///
    /// # Errors
    /// The disk refuses, or there is no kubectl in the bench.
    pub fn new(kubectl: bool) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("demo-story-")?;
        for name in ["tmp", "home", "bin"] {
            std::fs::create_dir(folder.path().join(name))?;
        }
        let bin = folder.path().join("bin");
        // The path's other folders may hold a kubectl of the machine: only what a shell needs is taken along.
        for name in ["sh", "cat", "env"] {
            let found = ["/bin", "/usr/bin"]
                .iter()
                .map(|folder| Path::new(folder).join(name))
                .find(|path| path.exists());
            std::os::unix::fs::symlink(found.with_context(|| format!("there is no {name}"))?, bin.join(name))?;
        }
        if kubectl {
            std::os::unix::fs::symlink(program("kubectl")?, bin.join("kubectl"))?;
        }
        let mark = folder.path().display().to_string();
        Ok(Self {
            path: bin.into(),
            folder,
            mark,
        })
    }

    /// The command, in these surroundings.
    ///
    /// # Errors
    /// The program is not built.
    pub fn demo(&self, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(own_binary("gatescribe")?);
        command.arg("demo").args(arguments);
        self.surround(&mut command);
        Ok(command)
    }

    /// Puts any command into these surroundings.
    pub fn surround(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", self.home())
            .env("TMPDIR", self.temporary())
            .env("LC_ALL", "C.UTF-8")
            .env(MARK, &self.mark)
            .current_dir(self.folder.path());
    }

    /// The home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// The folder for temporary files.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.folder.path().join("tmp")
    }

    /// Files and processes that are left.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn left(&self) -> anyhow::Result<Vec<String>> {
        let mut left: Vec<String> = marked(&self.mark).iter().map(|pid| format!("process {pid}")).collect();
        for folder in [self.temporary(), self.home()] {
            for entry in std::fs::read_dir(folder)? {
                left.push(entry?.path().display().to_string());
            }
        }
        Ok(left)
    }

    /// What is left when a command here has ended: the kernel may take a moment to end the children of a process.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn left_in_the_end(&self) -> anyhow::Result<Vec<String>> {
        // What stays in spite of that is what was asked for, and no failure of the waiting.
        let _ = wait_until("nothing is left", PATIENCE, || self.left().ok().filter(Vec::is_empty));
        self.left()
    }
}

/// A demo that is ready.
#[derive(Debug)]
pub struct Demo {
    running: Running,
    surroundings: Surroundings,
    environment: PathBuf,
}

impl Demo {
    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// It does not become ready; what it said is in the error.
    pub fn start(surroundings: Surroundings, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_with(surroundings, arguments, &[])
    }

    /// As [`Demo::start`], with more in its environment.
    ///
    /// # Errors
    /// As [`Demo::start`].
    pub fn start_with(
        surroundings: Surroundings,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let mut command = surroundings.demo(arguments)?;
        command.envs(environment.iter().copied());
        let mut running = Running::start(command)?;
        let environment = running.line("the demo names its environment", |line| line.starts_with("  . /"))?;
        running.line("the demo is ready", |line| line.contains("Ctrl-C stops it"))?;
        Ok(Self {
            running,
            surroundings,
            environment: environment.trim_start_matches("  . ").into(),
        })
    }

    /// What it has printed.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.running.lines()
    }

    /// The addresses that it has printed.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        let said = self.said().join(" ");
        let words = said.split_whitespace().filter_map(|word| word.split("://").nth(1));
        words.filter_map(|word| word.parse().ok()).collect()
    }

    /// The file that a shell reads.
    #[must_use]
    pub fn environment(&self) -> &Path {
        &self.environment
    }

    /// Runs a line in a shell that has read the demo's environment, as a person who signs in by hand as `person`.
    ///
    /// # Errors
    /// It did not end within a minute.
    pub fn shell(&self, person: &str, line: &str) -> anyhow::Result<Output> {
        let mut command = Command::new("/bin/sh");
        self.surroundings.surround(&mut command);
        command
            .args(["-c", &format!(". {}; {line}", self.environment.display())])
            .env("BROWSER", format!("gatescribe demo browse {person}"));
        run(command, "", PATIENCE).with_context(|| line.to_owned())
    }

    /// Signs a person in.
    ///
    /// # Errors
    /// It is refused.
    pub fn sign_in(&self, person: &str) -> anyhow::Result<()> {
        let said = self.shell(person, "gatescribe login \"$GATESCRIBE_GATEWAY\"")?;
        ensure!(
            said.code == 0 && said.stderr.contains(&format!("{person}@demo.example")),
            "{said}"
        );
        Ok(())
    }

    /// Ends it and gives its exit code and everything that it left: files and processes. A port is held by a process, and
    /// may be another demo's a moment later, so it is not asked for by its number.
    ///
    /// # Errors
    /// It does not end.
    pub fn end(mut self, signal: Signal) -> anyhow::Result<(i32, Vec<String>)> {
        self.running.signal(signal)?;
        let code = self.running.end()?;
        Ok((code, self.surroundings.left_in_the_end()?))
    }
}
