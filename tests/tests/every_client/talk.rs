//! A program that is spoken with while it runs: its outputs are kept as bytes, each for itself.

use std::io::{Read, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::wait::{PATIENCE, try_until, wait_until};

/// How a program ended, and what it said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// -1 if a signal ended it.
    pub(crate) code: i32,
}

/// A running program. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    outputs: [Output; 2],
}

#[derive(Debug)]
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Output {
    fn of(mut source: impl Read + Send + 'static) -> Self {
        let bytes: Arc<Mutex<Vec<u8>>> = Arc::default();
        let kept = Arc::clone(&bytes);
        let reading = std::thread::spawn(move || {
            let mut part = [0; 64 * 1024];
            while let Ok(count @ 1..) = source.read(&mut part) {
                let read = part.get(..count).unwrap_or_default();
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend_from_slice(read);
            }
        });
        Self { bytes, reading }
    }

    fn so_far(&self) -> Vec<u8> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Talk {
    pub(crate) fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{command:?}"))?;
        let stdout = child.stdout.take().context("standard output")?;
        let stderr = child.stderr.take().context("standard error")?;
        Ok(Self {
            stdin: child.stdin.take(),
            outputs: [Output::of(stdout), Output::of(stderr)],
            child,
        })
    }

    /// Runs a program to its end with `input` on standard input.
    pub(crate) fn run(command: Command, input: &[u8]) -> anyhow::Result<Ended> {
        let mut talk = Self::start(command)?;
        // It may end without reading, so a pipe that is closed is no error.
        let _ = talk.write(input);
        talk.close();
        talk.end()
    }

    /// Waits until `what` is in standard output, and gives all of it.
    pub(crate) fn says(&mut self, what: &str) -> anyhow::Result<String> {
        let look = || {
            let ended = self.child.try_wait()?.is_some() && self.outputs.iter().all(|one| one.reading.is_finished());
            let [stdout, stderr] = self.outputs.each_ref().map(|one| lossy(&one.so_far()));
            if stdout.contains(what) || ended {
                return Ok((stdout, stderr));
            }
            anyhow::bail!("stdout: {stdout}\nstderr: {stderr}")
        };
        let (stdout, stderr) = try_until(&format!("it says {what:?}"), PATIENCE, look)?;
        ensure!(
            stdout.contains(what),
            "it ended without saying {what:?}\nstdout: {stdout}\nstderr: {stderr}"
        );
        Ok(stdout)
    }

    /// Waits until one of these is in standard error, or it has ended, and gives all that is.
    pub(crate) fn complains(&mut self, of: [&str; 2]) -> anyhow::Result<String> {
        try_until(&format!("it complains of {of:?}"), PATIENCE, || {
            let ended = self.child.try_wait()?.is_some() && self.outputs.iter().all(|one| one.reading.is_finished());
            let [_, stderr] = self.outputs.each_ref().map(|one| lossy(&one.so_far()));
            ensure!(ended || of.iter().any(|what| stderr.contains(what)), "{stderr}");
            Ok(stderr)
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let stdin = self.stdin.as_mut().context("standard input is closed")?;
        stdin.write_all(bytes)?;
        Ok(stdin.flush()?)
    }

    /// Closes its standard input.
    pub(crate) fn close(&mut self) {
        drop(self.stdin.take());
    }

    /// As Ctrl-C does.
    pub(crate) fn interrupt(&self) -> anyhow::Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT)?)
    }

    /// Waits for its end and gives all that it said.
    pub(crate) fn end(&mut self) -> anyhow::Result<Ended> {
        let status = wait_until("the program ends", PATIENCE, || self.child.try_wait().transpose());
        let said = || {
            self.outputs
                .each_ref()
                .map(|one| lossy(&one.so_far()))
                .join("\nstderr: ")
        };
        let status = status.with_context(|| format!("stdout: {}", said()))??;
        wait_until("its outputs end", PATIENCE, || {
            self.outputs.iter().all(|one| one.reading.is_finished()).then_some(())
        })?;
        let [stdout, stderr] = self.outputs.each_ref().map(Output::so_far);
        Ok(Ended {
            stdout,
            stderr: lossy(&stderr),
            code: status.code().unwrap_or(-1),
        })
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes for a reader, at most a screenful of them.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
