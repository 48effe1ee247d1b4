//! What passes, as the tap reads it: when data passed last, and how the command ended.

use std::task::Context;

use recording::tap::{Channel, Event, Farewell, Protocol, Tap, Torn, Way};
use serde::Deserialize;
use tokio::time::Instant;

use super::half::Seen;
use super::recording::{Flow, Recording};
use crate::audit::Heartbeats;

/// As much of the final `Status` is looked at: the API server's own are a few hundred bytes.
const MOST_STATUS: usize = 16 * 1024;

/// Looks at the bytes of one tunnel.
#[derive(Debug)]
pub(super) struct Observer {
    tap: Option<Tap>,
    pub(super) recording: Option<Recording>,
    /// Why what passes can no longer be recorded, though it has to be.
    unrecorded: Option<String>,
    /// When data passed last; a ping is none. Where nobody can tell what is data, all of it is.
    active: Instant,
    status: Vec<u8>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// It was not run, or not to its end: the cluster's words.
    Failed(String),
}

impl Observer {
    pub(super) fn new(tap: Option<Tap>, recording: Option<Recording>) -> Self {
        let unread = recording.is_some() && tap.is_none();
        Self {
            tap,
            recording,
            unrecorded: unread.then(|| "what passes cannot be recorded: its protocol is not known".to_owned()),
            active: Instant::now(),
            status: Vec::new(),
        }
    }

    pub(super) const fn active(&self) -> Instant {
        self.active
    }

    /// Takes a piece that was read. Withheld: it has to be recorded and cannot be. After the last for now [`Observer::poll`] has to be
    /// asked before more is read.
    pub(super) fn see(&mut self, way: Way, piece: &[u8]) -> Seen {
        let Some(tap) = &mut self.tap else {
            self.active = Instant::now();
            return self.seen();
        };
        let (mut has_data, status, recording) = (false, &mut self.status, &mut self.recording);
        let fed = tap.feed(way, piece, &mut |way, event| {
            if let Some(recording) = recording {
                recording.event(way, event);
            }
            if let Event::Data { channel, bytes } = event {
                has_data = true;
                if (channel, way) == (Channel::Status, Way::Down) {
                    let room = MOST_STATUS.saturating_sub(status.len());
                    status.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
                }
            }
        });
        let is_torn = tap.is_torn();
        if let Err(torn) = fed {
            self.lost(&torn);
        }
        if has_data || is_torn {
            self.active = Instant::now();
        }
        self.seen()
    }

    /// From here on nobody can tell what is data. The tap is shown the rest all the same: it knows where words may be said.
    fn lost(&mut self, torn: &Torn) {
        tracing::warn!(error = %torn, "the bytes of a session could not be read");
        if let Some(recording) = &mut self.recording {
            recording.torn(torn);
            self.unrecorded = Some(format!("what passes cannot be recorded: {torn}"));
        }
    }

    /// Moves the recording along; whether bytes may be read.
    ///
    /// # Errors
    /// In words why the session has to end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, heartbeats: &Heartbeats) -> Result<Flow, String> {
        if let Some(why) = &self.unrecorded {
            return Err(why.clone());
        }
        match &mut self.recording {
            Some(recording) => {
                let flow = recording.poll(cx, heartbeats);
                flow.inspect_err(|why| self.unrecorded = Some(why.clone()))
            }
            None => Ok(Flow::Goes),
        }
    }

    /// Why what passes can no longer be recorded, though it has to be.
    pub(super) fn unrecorded(&self) -> Option<&str> {
        self.unrecorded.as_deref()
    }

    fn seen(&self) -> Seen {
        if self.unrecorded.is_some() {
            Seen::Withheld
        } else if self.recording.as_ref().is_some_and(Recording::has_a_chunk) {
            Seen::PassesLast
        } else {
            Seen::Passes
        }
    }

    /// Whether something has passed whose time to be kept wakes nobody before [`Observer::poll`].
    pub(super) fn has_a_new_timer(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::has_a_new_timer)
    }

    /// Whether there are words at all that could be said in this protocol.
    pub(super) const fn can_speak(&self) -> bool {
        self.tap.is_some()
    }

    /// The bytes that tell the person, if they may be said here.
    pub(super) fn farewell(&self, words: &Farewell) -> Option<Vec<u8>> {
        self.tap.as_ref()?.farewell(words)
    }

    /// Whether a command runs whose end the cluster tells, to somebody who reads it.
    pub(super) fn awaits_exit(&self) -> bool {
        let protocol = self.tap.as_ref().map(Tap::protocol);
        matches!(
            protocol,
            Some(Protocol::SpdyCommand { .. } | Protocol::WebSocketCommand { .. })
        )
    }

    #[cfg(test)]
    pub(super) fn is_torn(&self) -> bool {
        self.tap.as_ref().is_some_and(Tap::is_torn)
    }

    /// How the command ended, if the cluster has said so.
    pub(super) fn exit(&self) -> Option<Exit> {
        if self.status.is_empty() {
            return None;
        }
        exit(&self.status)
    }
}

/// `Status` as the streams of v4 and v5 carry it (k8s.io/apimachinery `remotecommand`); older ones say a text.
fn exit(status: &[u8]) -> Option<Exit> {
    let Ok(status) = serde_json::from_slice::<Status>(status) else {
        let text = String::from_utf8_lossy(status);
        let first = text.lines().next()?.chars().take(MOST_WORDS).collect();
        return Some(Exit::Failed(first));
    };
    if status.status.as_deref() == Some("Success") {
        return Some(Exit::Code(0));
    }
    let code = || {
        let cause = status
            .details
            .as_ref()?
            .causes
            .iter()
            .find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
        cause.message.as_deref()?.parse().ok()
    };
    if status.reason.as_deref() == Some("NonZeroExitCode")
        && let Some(code) = code()
    {
        return Some(Exit::Code(code));
    }
    let words = status
        .message
        .unwrap_or_else(|| "it failed without saying why".to_owned());
    Some(Exit::Failed(words.chars().take(MOST_WORDS).collect()))
}

const MOST_WORDS: usize = 256;

#[derive(Deserialize)]
struct Status {
    status: Option<String>,
    message: Option<String>,
    reason: Option<String>,
    details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    causes: Vec<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    reason: Option<String>,
    message: Option<String>,
}

/// Entry for the fuzzer: foreign bytes where a `Status` should be.
///
/// # Panics
/// When what is kept of a pod's words has no bound, or an end well or with a code is said of something that is no JSON.
pub fn fuzz_exit_status(data: &[u8]) {
    match exit(data) {
        Some(Exit::Failed(words)) => assert!(words.chars().count() <= MOST_WORDS, "{} bytes", words.len()),
        Some(Exit::Code(_)) => assert!(serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok()),
        None => assert!(String::from_utf8_lossy(data).lines().next().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_how_the_command_ended() {
        let code = br#"{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}"#;
        assert_eq!(exit(code), Some(Exit::Code(3)));
        assert_eq!(exit(br#"{"metadata":{},"status":"Success"}"#), Some(Exit::Code(0)));
        let gone = br#"{"status":"Failure","message":"container gone","reason":"InternalError","code":500}"#;
        assert_eq!(exit(gone), Some(Exit::Failed("container gone".to_owned())));
        assert_eq!(exit(b"no such file\n"), Some(Exit::Failed("no such file".to_owned())));
        // A code that is none is no code.
        let odd = br#"{"status":"Failure","message":"m","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}"#;
        assert_eq!(exit(odd), Some(Exit::Failed("m".to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_an_end_that_can_be_told(data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            fuzz_exit_status(&data);
        }
    }
}
