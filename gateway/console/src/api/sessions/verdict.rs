//! What a recording is worth: its file held against the ledger.

use std::io::ErrorKind;

use recording::{Damage, ReadError, Recording, Tail};
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
    /// The end was never kept.
    Incomplete {
        /// Why, and how far what is there is as the ledger says.
        why: String,
        /// The last chunk that a hash in the ledger covers; none where no chunk is.
        #[serde(skip_serializing_if = "Option::is_none")]
        upto: Option<u64>,
    },
    /// There was nothing to keep.
    Nothing {
        /// Why.
        why: String,
    },
    /// Something is missing or was changed.
    Damaged {
        /// What and where, and how far what is there is as the ledger says.
        why: String,
        /// The last chunk before the damage that a hash in the ledger covers; none where no chunk is.
        #[serde(skip_serializing_if = "Option::is_none")]
        upto: Option<u64>,
        /// There is no file at all.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        missing: bool,
    },
    /// Its key was destroyed, and a record says so.
    Erased {
        /// When, by whom and in which record.
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
            Err(_) if has_nothing(&known.row) => Self::nothing(),
            Ok(recording) => Self::of_opened(recording, known),
            // Of a session that the cluster refused nothing is kept, no key either, and what was not read may say so.
            Err(error @ (CannotOpen::Missing | CannotOpen::NoKey)) if is_unread(end_of(&known.row)) => Self::Unknown {
                why: format!("{}; {error}", unread(known.note.as_deref())),
            },
            Err(error) => Self::unopened(error),
        }
    }

    /// The verdict on a file as it was opened or read on.
    pub(super) fn of_opened(recording: &Recording, known: &Known) -> Self {
        let row = &known.row;
        if has_nothing(row) {
            return Self::nothing();
        }
        let survey = recording.survey();
        let ledger = Said {
            end: end_of(row),
            was_kept: row.recording.as_ref().is_none_or(|kept| !kept.incomplete),
            note: known.note.as_deref(),
            upto: known.covered(survey.root.chunks),
        };
        Self::on(survey.tail, &ledger)
    }

    fn nothing() -> Self {
        Self::Nothing {
            why: "the session ended before anything passed in it".to_owned(),
        }
    }

    fn unopened(error: &CannotOpen) -> Self {
        let why = error.to_string();
        match error {
            CannotOpen::Missing => Self::Damaged {
                why,
                upto: None,
                missing: true,
            },
            CannotOpen::Erased(_) => Self::Erased { why },
            CannotOpen::NoKey => Self::Damaged {
                why,
                upto: None,
                missing: false,
            },
            CannotOpen::Unreadable(_) => Self::damaged(&why, None),
            CannotOpen::NotNow(_) | CannotOpen::GivenUp => Self::Unknown { why },
        }
    }

    fn damaged(what: &str, upto: Option<u64>) -> Self {
        Self::Damaged {
            why: with_cover(what, upto),
            upto,
            missing: false,
        }
    }

    fn incomplete(what: &str, upto: Option<u64>) -> Self {
        Self::Incomplete {
            why: with_cover(what, upto),
            upto,
        }
    }

    /// The verdict on a file that ends so, of a session of which the ledger says this.
    fn on(tail: Tail, ledger: &Said<'_>) -> Self {
        let Said {
            end,
            was_kept,
            note,
            upto,
        } = *ledger;
        match tail {
            Tail::Damaged(damage) => Self::damaged(&damage.to_string(), upto),
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
            Tail::Open | Tail::Torn { .. } if end == "unknown" => {
                Self::incomplete("the gateway stopped before the session had ended", upto)
            }
            Tail::Open | Tail::Torn { .. } if !was_kept => {
                Self::incomplete("not all of the session could be kept, and the ledger says so", upto)
            }
            Tail::Open | Tail::Torn { .. } => {
                Self::damaged("its end is missing, and the ledger says that it was there", upto)
            }
        }
    }

    /// What is said when it cannot be read on.
    pub(super) fn broken(error: &ReadError, known: &Known, recording: &Recording) -> Self {
        let sound = match error {
            ReadError::Damaged(Damage::Foreign { number }) => *number,
            // What is there by now was not looked through again.
            ReadError::Io(_) => 0,
            _ => recording.survey().root.chunks,
        };
        Self::of_error(error, known.covered(sound))
    }

    fn of_error(error: &ReadError, upto: Option<u64>) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let why = format!("{error}{}", cause.unwrap_or_default());
        match error {
            // A file that has become shorter is another one; all else is between the gateway and its disk.
            ReadError::Io(cause) if cause.kind() != ErrorKind::UnexpectedEof => Self::Unknown { why },
            ReadError::GivenUp => Self::Unknown { why },
            _ => Self::damaged(&why, upto),
        }
    }
}

/// What the ledger says of a session and its recording.
struct Said<'l> {
    /// How it names the end.
    end: &'l str,
    /// Whether all was kept that was to be.
    was_kept: bool,
    /// Why not all of it was read.
    note: Option<&'l str>,
    /// The last chunk of the file that one of its hashes covers.
    upto: Option<u64>,
}

fn with_cover(what: &str, upto: Option<u64>) -> String {
    match upto {
        Some(number) => format!("{what}; up to chunk {number} it is as the ledger says"),
        None => format!("{what}; nothing of it is known to be as the ledger says"),
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
                Tail::Damaged(Damage::Corrupt { number: 2 }),
                "inFlight",
                false,
                "damaged",
            ),
            (
                Tail::Damaged(Damage::Corrupt { number: 2 }),
                "notRead",
                false,
                "damaged",
            ),
        ] {
            for (upto, words) in [
                (Some(4), "; up to chunk 4 it is as the ledger says"),
                (None, "; nothing of it is known to be as the ledger says"),
            ] {
                let ledger = Said {
                    end,
                    was_kept: !incomplete,
                    note: Some("too long"),
                    upto,
                };
                let verdict = serde_json::to_value(Verdict::on(tail, &ledger)).unwrap();
                assert_eq!(verdict["standing"], standing, "{tail:?} {end} {incomplete}");
                let why = verdict["why"].as_str().unwrap_or_default();
                assert_eq!(why.ends_with("was read: too long"), standing == "unknown", "{why}");
                let is_partly = matches!(standing, "damaged" | "incomplete");
                assert_eq!(why.ends_with(words), is_partly, "{why}");
                assert_eq!(verdict["upto"].as_u64(), upto.filter(|_| is_partly), "{verdict}");
                assert_eq!(verdict["missing"], serde_json::Value::Null, "the file is there");
            }
        }
    }

    #[test]
    fn what_cannot_be_opened_says_why() {
        let no_key = Verdict::unopened(&CannotOpen::NoKey);
        assert!(
            matches!(&no_key, Verdict::Damaged { why, missing: false, .. } if why.contains("its key is missing") && why.contains("backup")),
            "{no_key:?}"
        );
        let erased = model::erasure::Erased {
            record: "r-1".to_owned(),
            at: model::time::Timestamp::EPOCH,
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        };
        let erased = serde_json::to_value(Verdict::unopened(&CannotOpen::Erased(erased))).unwrap();
        let why = "erased on 1970-01-01T00:00:00.000000Z by carol and dave, record r-1";
        assert_eq!(erased, serde_json::json!({"standing": "erased", "why": why}));
        let missing = Verdict::unopened(&CannotOpen::Missing);
        assert!(
            matches!(missing, Verdict::Damaged { why, upto: None, missing: true } if why.contains("`recording.dir`")
                && why.ends_with("backup"))
        );
        let other = Verdict::unopened(&CannotOpen::Unreadable("it is another session's".to_owned()));
        assert!(matches!(other, Verdict::Damaged { why, missing: false, .. } if why.ends_with("as the ledger says")));
        let long = Verdict::unopened(&CannotOpen::GivenUp);
        assert!(matches!(long, Verdict::Unknown { why } if why.contains("so long")));
        let not_now = Verdict::unopened(&CannotOpen::NotNow("the store is busy".to_owned()));
        assert!(matches!(not_now, Verdict::Unknown { why } if why.contains("the store is busy")));
    }

    #[test]
    fn a_disk_that_does_not_answer_is_no_damage_and_a_file_that_lost_its_end_is() {
        let broken = |kind: ErrorKind| Verdict::of_error(&ReadError::Io(kind.into()), None);
        for kind in [ErrorKind::PermissionDenied, ErrorKind::Other] {
            assert!(matches!(broken(kind), Verdict::Unknown { .. }), "{kind}");
        }
        assert!(matches!(broken(ErrorKind::UnexpectedEof), Verdict::Damaged { .. }));
        assert!(matches!(
            Verdict::of_error(&ReadError::Unpack, Some(1)),
            Verdict::Damaged { upto: Some(1), .. }
        ));
        assert!(matches!(
            Verdict::of_error(&ReadError::GivenUp, Some(1)),
            Verdict::Unknown { .. }
        ));
    }
}
