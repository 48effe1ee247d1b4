//! What a recording is worth: its file held against the ledger.

use std::io::ErrorKind;

use recording::{ReadError, Recording, Tail};
use search::Row;
use serde::Serialize;

use super::{CannotOpen, Known};

/// How a recording stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "standing", rename_all = "camelCase")]
pub(super) enum Verdict {
    /// All of the session is there, as the ledger says.
    Whole,
    /// The session goes on; all up to now is as the ledger says.
    GoesOn,
    /// All of the session is there, and the ledger does not know its end.
    Closed {
        /// Why.
        why: String,
    },
    /// What is there is as the ledger says, and the end was never kept.
    Incomplete {
        /// Why.
        why: String,
    },
    /// There was nothing to keep.
    Nothing {
        /// Why.
        why: String,
    },
    /// Something is missing or was changed.
    Damaged {
        /// What and where.
        why: String,
    },
    /// It cannot be told at this moment.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Verdict {
    /// The verdict on a recording that was opened, or not.
    pub(super) fn of(opened: &Result<Recording, CannotOpen>, known: &Known) -> Self {
        match opened {
            Err(_) if has_nothing(&known.row) => Self::of_tail(Tail::Open, known),
            Ok(recording) => Self::of_tail(recording.tail(), known),
            // Of a session that the cluster refused nothing is kept, no key either, and what was not read may say so.
            Err(error @ (CannotOpen::Missing | CannotOpen::NoKey)) if is_unread(end_of(&known.row)) => Self::Unknown {
                why: format!("{}; {error}", unread(known.note.as_deref())),
            },
            Err(error) => Self::unopened(error),
        }
    }

    /// The verdict on a file that ends so.
    pub(super) fn of_tail(tail: Tail, known: &Known) -> Self {
        let row = &known.row;
        if has_nothing(row) {
            return Self::Nothing {
                why: "the session ended before anything passed in it".to_owned(),
            };
        }
        let is_whole = row.recording.as_ref().is_none_or(|kept| !kept.incomplete);
        Self::on(tail, end_of(row), is_whole, known.note.as_deref())
    }

    fn unopened(error: &CannotOpen) -> Self {
        let why = error.to_string();
        match error {
            CannotOpen::NoKey | CannotOpen::Missing | CannotOpen::Unreadable(_) => Self::Damaged { why },
            CannotOpen::NotNow(_) => Self::Unknown { why },
        }
    }

    /// The verdict on a file that ends so, of a session whose end the ledger names so; `note` says why not all of it was read.
    fn on(tail: Tail, end: &str, was_kept: bool, note: Option<&str>) -> Self {
        match tail {
            Tail::Damaged(damage) => Self::Damaged {
                why: damage.to_string(),
            },
            // What was not read may hold a hash that the file is not.
            _ if is_unread(end) => Self::Unknown { why: unread(note) },
            Tail::Closed if end == "unknown" => Self::Closed {
                why: "the ledger's end of it is unknown: the gateway had stopped".to_owned(),
            },
            Tail::Closed if end == "inFlight" => Self::Closed {
                why: "the ledger does not have its end yet".to_owned(),
            },
            Tail::Closed => Self::Whole,
            Tail::Open | Tail::Torn { .. } if end == "inFlight" => Self::GoesOn,
            Tail::Open | Tail::Torn { .. } if end == "unknown" => Self::Incomplete {
                why: "the gateway stopped before the session had ended".to_owned(),
            },
            Tail::Open | Tail::Torn { .. } if !was_kept => Self::Incomplete {
                why: "not all of the session could be kept, and the ledger says so".to_owned(),
            },
            Tail::Open | Tail::Torn { .. } => Self::Damaged {
                why: "its end is missing, and the ledger says that it was there".to_owned(),
            },
        }
    }

    /// What is said when it cannot be read on.
    pub(super) fn broken(error: &ReadError) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let why = format!("{error}{}", cause.unwrap_or_default());
        match error {
            // A file that has become shorter is another one; all else is between the gateway and its disk.
            ReadError::Io(cause) if cause.kind() != ErrorKind::UnexpectedEof => Self::Unknown { why },
            _ => Self::Damaged { why },
        }
    }
}

/// How the ledger names the end of a session; empty where it was not asked.
fn end_of(row: &Row) -> &str {
    row.outcome.as_ref().map_or("", |outcome| outcome.end.as_str())
}

/// Whether the records of a session were not read to the end of the ledger.
fn is_unread(end: &str) -> bool {
    matches!(end, "" | "notRead")
}

fn unread(note: Option<&str>) -> String {
    let note = note.unwrap_or("its end was not looked up");
    format!("not all that the ledger says of it was read: {note}")
}

/// Whether the ledger says that a session ended and nothing is kept of it: the cluster refused it, or the person left before it
/// began. What is kept of a session that began has one chunk at least, also when nothing passed.
fn has_nothing(row: &Row) -> bool {
    let end = end_of(row);
    let has_ended = !is_unread(end) && !matches!(end, "inFlight" | "unknown");
    has_ended
        && row
            .recording
            .as_ref()
            .is_some_and(|kept| kept.chunks == 0 && !kept.incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_file_is_what_was_read_of_the_ledger() {
        let torn = Tail::Torn { at: 28, bytes: 3 };
        for (tail, end, incomplete, standing) in [
            (Tail::Closed, "answered", false, "whole"),
            (Tail::Closed, "inFlight", false, "closed"),
            (Tail::Closed, "notRead", false, "unknown"),
            (Tail::Open, "notRead", false, "unknown"),
            (torn, "notRead", true, "unknown"),
            (Tail::Closed, "", false, "unknown"),
            (Tail::Open, "", false, "unknown"),
            (Tail::Closed, "unknown", false, "closed"),
            (Tail::Open, "inFlight", false, "goesOn"),
            (torn, "inFlight", false, "goesOn"),
            (torn, "unknown", false, "incomplete"),
            (Tail::Open, "ended", true, "incomplete"),
            (Tail::Open, "answered", false, "damaged"),
            (torn, "answered", false, "damaged"),
            (
                Tail::Damaged(recording::Damage::Corrupt { number: 2 }),
                "inFlight",
                false,
                "damaged",
            ),
            (
                Tail::Damaged(recording::Damage::Corrupt { number: 2 }),
                "notRead",
                false,
                "damaged",
            ),
        ] {
            let verdict = serde_json::to_value(Verdict::on(tail, end, !incomplete, Some("too long"))).unwrap();
            assert_eq!(verdict["standing"], standing, "{tail:?} {end} {incomplete}");
            let why = verdict["why"].as_str().unwrap_or_default();
            assert_eq!(why.ends_with("was read: too long"), standing == "unknown", "{why}");
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let no_key = Verdict::unopened(&CannotOpen::NoKey);
        assert!(
            matches!(&no_key, Verdict::Damaged { why } if why.contains("its key is missing") && why.contains("backup")),
            "{no_key:?}"
        );
        let missing = Verdict::unopened(&CannotOpen::Missing);
        assert!(
            matches!(missing, Verdict::Damaged { why } if why.contains("`recording.dir`") && why.contains("backup"))
        );
        let not_now = Verdict::unopened(&CannotOpen::NotNow("the store is busy".to_owned()));
        assert!(matches!(not_now, Verdict::Unknown { why } if why.contains("the store is busy")));
    }

    #[test]
    fn a_disk_that_does_not_answer_is_no_damage_and_a_file_that_lost_its_end_is() {
        let broken = |kind: ErrorKind| Verdict::broken(&ReadError::Io(kind.into()));
        for kind in [ErrorKind::PermissionDenied, ErrorKind::Other] {
            assert!(matches!(broken(kind), Verdict::Unknown { .. }), "{kind}");
        }
        assert!(matches!(broken(ErrorKind::UnexpectedEof), Verdict::Damaged { .. }));
        assert!(matches!(Verdict::broken(&ReadError::Unpack), Verdict::Damaged { .. }));
    }
}
