//! The ways in which somebody ends the demo: Ctrl-C, `kill`, the terminal closing.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Heard from the moment this exists: none of them ends the process any more without cleaning up.
pub(super) struct Told {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Told {
    /// Begins to listen. Inside a runtime.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let on = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
        })
    }

    /// Waits for the first of them. Cancelling loses none that comes later.
    pub(super) async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}
