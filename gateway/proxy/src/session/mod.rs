//! Calls that go on: watches, followed logs, upgrades. Each stands in one table with what it was allowed on, is
//! decided anew whenever that changes, and ends cleanly when it would now be refused or does not meet what is now demanded.
//!
//! A *session* here is one in a pod: an exec, attach, port-forward, whatever became something else than HTTP. What begins when a
//! person signs in is a *sign-in* here; records, metrics and the store call that a session, too (the glossary has both).
//!
//! It is no second decision: the stations of identity and decision are asked again, as for a request. Invariant: a call is in
//! the table from before it is sent until its end is recorded, and only those end.

#[cfg(any(test, feature = "bench"))]
pub mod bench;
mod call;
mod demands;
mod keeper;
mod live;
mod metrics;
mod registry;
#[cfg(test)]
mod tests;
pub(crate) mod tunnel;

pub use self::call::{Grounds, LongCall};
pub use self::keeper::Keeper;
pub use self::live::EndError;
pub use self::metrics::{Cause, LongCallMetrics};
pub use self::registry::{Full, Registry};
pub use self::tunnel::{
    KeyError, RecordingKeys, RecordingMetrics, Recordings, SessionsToRecord, UnrecordedCause, Writers,
    fuzz_service_frames,
};

/// A span for people, in the largest unit that it is whole in.
fn in_words(span: std::time::Duration) -> String {
    match span.as_secs() {
        seconds if seconds >= 3_600 && seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
