//! What is written down: the kinds of record and the members of leaf v1.
//!
//! The body of a record is a compact JSON object with a fixed member order (the order of the fields here). The ledger
//! splices `"v":1,"kind":…,"seq":…` in front of it. Readers keep members they do not know.

mod answered;
mod happened;
mod kind;
mod limits;
pub mod names;
mod record;
mod writer;

pub use answered::{Answer, BodySeen, DiffSeen, ItemsSeen, Object, Outcome, Passed, Recorded, Served, Span};
pub use happened::{
    ByClass, ClockStep, ConfigChange, Ends, ErasedKey, Erasing, Held, Ingested, Issued, Person, PolicyChange, Reading,
    Started, Summed, Unrecorded, Unsigned,
};
pub use kind::RecordKind;
pub use limits::TextLimits;
pub use record::{
    Audited, By, Called, Decided, Effective, Network, Part, Presented, Record, Request, Source, Workload,
};
pub use writer::NotPlain;
