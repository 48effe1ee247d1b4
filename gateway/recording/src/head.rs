//! What a recording says about itself: its first frame, its last, and the rules by which it was kept.
//!
//! Head and end are JSON inside their frames, so that a later release can add members; readers keep going over ones that they
//! do not know.

use model::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What sort of session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// `pods/exec`.
    Exec,
    /// `pods/attach`.
    Attach,
    /// `pods/portforward`.
    PortForward,
    /// An upgraded connection through a `proxy` subresource.
    Proxy,
    /// Any other call that switched protocols: a console of an aggregated API, a watch over WebSocket.
    Other,
}

/// Who did what where: the first frame of a recording.
///
/// Arguments of the command are masked before they are written (see [`Rules`]) and cut after 32 KiB altogether.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The session: the `Audit-ID` of its request, which joins it with the ledger.
    pub session: Uuid,
    /// What sort of session.
    pub kind: Kind,
    /// The cluster's name.
    pub cluster: String,
    /// The person or workload, by the name under which the record in the ledger knows them.
    pub who: String,
    /// The namespace of the pod.
    pub namespace: String,
    /// The pod, or whatever else was entered.
    pub pod: String,
    /// The container, where the request names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command with its arguments; empty for attach and port-forward.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The process has a terminal (`tty=true`).
    #[serde(default)]
    pub terminal: bool,
    /// What is typed is kept though there may be a terminal, because nobody can say that it echoes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub input_kept: bool,
    /// Why the person entered, where they had to say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the session began; the times of all frames count from here.
    pub started: Timestamp,
}

/// How a session ended, as the carrier saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// In one word, the same as in the ledger's close record: `ended`, `clientGone`, `upstreamLost`, …
    pub how: String,
    /// Why, for a reader; for instance who ended it and the reason given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What passed in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Bytes of data from the person to the pod, over all channels; sizes of the terminal are not counted.
    pub up: u64,
    /// Bytes of data from the pod to the person, over all channels; the final status is not counted.
    pub down: u64,
    /// Secrets that were masked.
    pub masked: u64,
    /// Files that `cp` carried.
    pub files: u64,
    /// Connections of a port-forward that were opened.
    pub connections: u64,
    /// The exit code of the process; absent when none was said, as after an interruption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<u32>,
}

/// The last frame of a recording: how the session ended and what it came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finish {
    /// What the carrier said.
    #[serde(flatten)]
    pub ended: Ended,
    /// What was counted.
    #[serde(flatten)]
    pub totals: Totals,
}

/// Whether known patterns of secrets are replaced before anything is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masking {
    /// They are; the list stands in `mask/patterns.rs`.
    #[default]
    On,
    /// Everything is kept as it passed. Whoever may read the recording then reads the secrets.
    DangerOff,
}

/// By which rules a session is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Whether secrets are masked.
    pub masking: Masking,
    /// A chunk is due when it has so many bytes; at most, and by default, 1 MiB.
    pub chunk_bytes: usize,
    /// A chunk is due when its first frame is so old, in microseconds; 2 s by default.
    pub chunk_micros: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            masking: Masking::On,
            chunk_bytes: 1 << 20,
            chunk_micros: 2_000_000,
        }
    }
}
