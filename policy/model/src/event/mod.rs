//! What is written down: the kinds of record and the members of leaf v1.
//!
//! The body of a record is a compact JSON object with a fixed member order (the order of the fields here). The ledger
//! splices `"v":1,"kind":…,"seq":…` in front of it. Readers keep members they do not know.

mod kind;
pub mod names;
mod record;
mod writer;

pub use kind::RecordKind;
pub use record::{
    Answer, Audited, BodySeen, By, ByClass, ClockStep, ConfigChange, Decided, DiffSeen, Effective, Ends, ErasedKey,
    Erasing, Held, Ingested, Issued, ItemsSeen, Network, Object, Outcome, Part, Passed, Person, PolicyChange,
    Presented, Reading, Record, Recorded, Request, Served, Source, Span, Started, Summed, Unrecorded, Workload,
};
pub use writer::NotPlain;
