//! Signals that end a command or stop it for a while, for commands that have something to put back first.

use nix::sys::signal::{Signal, raise};
use nix::unistd::{getpgrp, getsid};
use tokio::signal::unix::{self, SignalKind, signal};

use super::trouble::Trouble;
use crate::Exit;

/// Signals after which a command ends, as it would have without us.
#[derive(Debug)]
pub(crate) struct Ends {
    hangup: Option<unix::Signal>,
    interrupt: Option<unix::Signal>,
    quit: Option<unix::Signal>,
    terminate: Option<unix::Signal>,
}

impl Ends {
    /// From here on they end nothing by themselves.
    pub(crate) fn listen() -> Result<Self, Trouble> {
        Ok(Self {
            hangup: heard(SignalKind::hangup(), Signal::SIGHUP)?,
            interrupt: heard(SignalKind::interrupt(), Signal::SIGINT)?,
            quit: heard(SignalKind::quit(), Signal::SIGQUIT)?,
            terminate: heard(SignalKind::terminate(), Signal::SIGTERM)?,
        })
    }

    /// Waits for one; how the command ends because of it. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Exit {
        tokio::select! {
            () = one(&mut self.hangup) => Exit::HungUp,
            () = one(&mut self.interrupt) => Exit::Interrupted,
            () = one(&mut self.quit) => Exit::Quit,
            () = one(&mut self.terminate) => Exit::Terminated,
        }
    }
}

/// The terminal's stop key (Ctrl-Z).
#[derive(Debug)]
pub(crate) struct Stops(Option<unix::Signal>);

impl Stops {
    /// From here on it stops nothing by itself. Where nobody could let us go on again there is none: a shell gives each of its
    /// jobs a process group, and what runs in the session's own has no shell that would (POSIX: an orphaned group is not stopped).
    pub(crate) fn listen() -> Result<Self, Trouble> {
        let is_a_job = getsid(None).is_ok_and(|session| session != getpgrp());
        let stop = nix::libc::SIGTSTP;
        let signal = match is_a_job {
            true => heard(SignalKind::from_raw(stop), Signal::SIGTSTP)?,
            false => None,
        };
        Ok(Self(signal))
    }

    /// None of them counts.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Waits for it. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        one(&mut self.0).await;
    }

    /// Stops this process until it is told to go on.
    pub(crate) fn stop(&self) -> Result<(), Trouble> {
        raise(Signal::SIGSTOP).map_err(|error| not_heard(error.into()))
    }
}

async fn one(signal: &mut Option<unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// None where whoever started us wants it to be ignored (`nohup`, a job behind `&` of a script).
fn heard(kind: SignalKind, as_known: Signal) -> Result<Option<unix::Signal>, Trouble> {
    if is_ignored(as_known) {
        return Ok(None);
    }
    signal(kind).map(Some).map_err(not_heard)
}

/// By the kernel's own word, as there is no safe call that asks; systems without that file do not say it.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    #[expect(clippy::as_conversions, reason = "the number of a signal is its place in the mask")]
    let place = signal as u32 - 1;
    mask.is_some_and(|mask| mask.checked_shr(place).is_some_and(|rest| rest & 1 == 1))
}

fn not_heard(error: std::io::Error) -> Trouble {
    Trouble::new(Exit::Fault, "signals cannot be waited for")
        .because(error.to_string())
        .remedy("gatescribe session export ID -o FILE takes a recording away without them")
}
