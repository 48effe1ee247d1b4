//! The records that the ledger writes by itself: gap, checkpoint, recovery, and the unknown end of a call that an earlier
//! run left open. Member names follow `model::event::Record`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::event::{Answer, RecordKind};
use model::time::Timestamp;
use serde::Serialize;

use crate::options::Options;
use crate::queue::{Item, Role};
use crate::tree::Head;

/// What a recovery cut off.
#[derive(Clone, Debug)]
pub(crate) struct Dropped {
    pub(crate) bytes: u64,
    pub(crate) kept_in: String,
}

/// A call of an earlier run that has no end.
#[derive(Clone, Debug)]
pub(crate) struct Unknown {
    pub(crate) intent: u64,
    pub(crate) id: String,
    pub(crate) is_stream: bool,
}

#[derive(Serialize, Default)]
struct Body<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<u64>,
    t: Timestamp,
    boot: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Ended>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gap: Option<Gap>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<Checkpoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovery: Option<Found<'a>>,
}

#[derive(Serialize)]
struct Ended {
    end: Answer,
    why: &'static str,
}

#[derive(Serialize)]
struct Gap {
    why: &'static str,
    from: Timestamp,
    to: Timestamp,
    lost: u64,
    refused: u64,
}

#[derive(Serialize)]
struct Checkpoint {
    size: u64,
    root: String,
    why: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    dropped_bytes: u64,
    kept_in: &'a str,
    size: u64,
}

pub(super) fn gap(options: &Options, why: &'static str, from: Timestamp, lost: u64, refused: u64) -> Item {
    let to = (options.clock)();
    let gap = Gap {
        why,
        from,
        to,
        lost,
        refused,
    };
    item(
        RecordKind::Gap,
        &Body {
            t: to,
            boot: &options.boot,
            gap: Some(gap),
            ..Body::default()
        },
        None,
    )
}

pub(super) fn checkpoint(options: &Options, head: &Head) -> Item {
    let checkpoint = Checkpoint {
        size: head.size,
        root: STANDARD.encode(head.root),
        why: "close",
    };
    let body = Body {
        t: (options.clock)(),
        boot: &options.boot,
        checkpoint: Some(checkpoint),
        ..Body::default()
    };
    item(RecordKind::Checkpoint, &body, None)
}

pub(super) fn recovery(options: &Options, dropped: &Dropped, size: u64) -> Item {
    let found = Found {
        dropped_bytes: dropped.bytes,
        kept_in: &dropped.kept_in,
        size,
    };
    let body = Body {
        t: (options.clock)(),
        boot: &options.boot,
        recovery: Some(found),
        ..Body::default()
    };
    item(RecordKind::Recovery, &body, None)
}

/// An intent ends with an `outcome`, a stream with a `close`; both say `unknown`.
pub(super) fn unknown(options: &Options, call: &Unknown) -> Item {
    let kind = if call.is_stream {
        RecordKind::Close
    } else {
        RecordKind::Outcome
    };
    let body = Body {
        id: &call.id,
        pair: Some(call.intent),
        t: (options.clock)(),
        boot: &options.boot,
        outcome: Some(Ended {
            end: Answer::Unknown,
            why: "the gateway stopped before the end was recorded",
        }),
        ..Body::default()
    };
    item(kind, &body, Some(call.intent))
}

fn item(kind: RecordKind, body: &Body<'_>, ends: Option<u64>) -> Item {
    // Plain strings and numbers always serialise; the fallback is still a whole record of its kind.
    let body = serde_json::to_vec(body).unwrap_or_else(|_| b"{}".to_vec());
    Item {
        kind,
        body,
        parts: Vec::new(),
        promise: None,
        role: Role::Own { ends },
    }
}
