//! Why the ledger says no, by whose fault it is.

use std::io;

use crate::parts::PartsFault;
use crate::publish::PublishError;
use crate::segment::BrokenWhy;

/// Why a record was not taken. Nothing was queued; the caller refuses its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The queue is full: the disk is slower than the callers. Passes by itself.
    #[error("the audit queue is full")]
    Full,
    /// Too many intents or streams are without their end.
    #[error("too many calls are in flight: {limit} intents or streams have no end yet")]
    TooManyOpen {
        /// `Options::max_open`.
        limit: usize,
    },
    /// There is no space on the disk. Passes when there is space again.
    #[error("the audit disk is full")]
    DiskFull,
    /// The disk fails. Passes when a new segment can be written.
    #[error("the audit disk fails")]
    DiskFailed,
    /// What the disk holds is not what was written to it; a human must look.
    #[error("the audit disk does not hold what was written to it")]
    Corrupt,
    /// The ledger was closed.
    #[error("the ledger is closed")]
    Closed,
    /// The record or one of its parts is too long.
    #[error("the record is {len} bytes long and at most {limit} are taken")]
    TooLong {
        /// Bytes of the record or part.
        len: usize,
        /// The limit that it broke.
        limit: usize,
    },
    /// A part has no bytes.
    #[error("a part of the record is empty")]
    EmptyPart,
    /// The body is no compact JSON object, or (intent, open) lacks what pairing needs.
    #[error("the record's body is no compact JSON object")]
    NotAnObject,
    /// An intent or open goes through `append_intent` or `append_open`, an outcome through its slot.
    #[error("a record of this kind is appended together with its slot")]
    NeedsSlot,
    /// Names are sealed in this ledger (`Names`), and the key of one cannot be had.
    #[error("a name in the record cannot be sealed")]
    NotSealed,
}

/// Why an outcome was not taken. The slot is used up only by success: it comes back inside the error.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct FillError {
    /// Why.
    pub why: FillWhy,
    /// The slot, to be filled with something better.
    pub slot: crate::OutcomeSlot,
}

/// The caller's mistakes; a full disk or queue is none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillWhy {
    /// The intent is not durable yet, so nothing may have been sent for it.
    #[error("the intent is not durable yet")]
    IntentNotDurable,
    /// The intent was lost; there is nothing to end.
    #[error("the intent was lost")]
    IntentLost,
    /// Longer than the place that was reserved.
    #[error("the outcome is {len} bytes long and {limit} are reserved for it")]
    TooLong {
        /// Bytes of the body.
        len: usize,
        /// `Options::outcome_bytes`.
        limit: usize,
    },
    /// Not a compact JSON object whose `pair` is the intent's sequence number.
    #[error("the outcome's `pair` is not the intent's sequence number {expected}")]
    WrongPair {
        /// The intent's.
        expected: u64,
    },
    /// Only `outcome` and `close` end something.
    #[error("a record of this kind ends nothing")]
    WrongKind,
    /// As [`AppendError::NotSealed`].
    #[error("a name in the outcome cannot be sealed")]
    NotSealed,
    /// The ledger was closed, or its disk is not to be trusted any more; a later start lists the call as unknown.
    #[error("the ledger is closed")]
    Closed,
}

/// Why a folder could not be opened as a ledger.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to it.
    #[error(
        "`{dir}` is in use: another process writes to this ledger; stop that one first, or give this one a folder of its own"
    )]
    InUse {
        /// The folder.
        dir: String,
    },
    /// The disk said no.
    #[error("cannot {what} `{file}`")]
    Io {
        /// What was being done.
        what: &'static str,
        /// To which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// Something that was durable is damaged. Nothing is appended: more records would bury it.
    #[error("`{file}` is damaged at byte {offset}: {why}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: Damage,
    },
    /// How much was found cannot be written down beside the key, and records of the start itself would have come behind it.
    #[error("how many records stood there before this start cannot be written down beside the ledger's key")]
    Beside(#[source] Box<PublishError>),
    /// The options contradict one another.
    #[error("the ledger's options do not fit together: {0}")]
    Options(&'static str),
}

/// What is wrong with a damaged file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Damage(#[from] pub(crate) DamageKind);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DamageKind {
    #[error(transparent)]
    Frames(#[from] BrokenWhy),
    #[error("its header does not hold")]
    Header,
    #[error("its footer does not hold")]
    Footer,
    #[error("its name, header, footer and neighbours do not agree")]
    Neighbours,
    #[error("record {seq} is missing")]
    Missing { seq: u64 },
    #[error("record {seq} is another one than a moment before")]
    Exchanged { seq: u64 },
    #[error("record {seq}: {fault}")]
    Parts { seq: u64, fault: PartsFault },
    #[error("the records do not lead to the next segment's root")]
    Root,
    #[error("it is {len} bytes long, more than a segment can be")]
    Size { len: u64 },
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk said no.
    #[error("cannot read `{file}`")]
    Io {
        /// Which file.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A record is damaged or missing.
    #[error("`{file}` is damaged at byte {offset}: {why}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        why: Damage,
    },
}
