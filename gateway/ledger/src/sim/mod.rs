//! A disk in memory that loses what a real one may lose, and rounds of crashes on it. For tests and `cargo xtask soak crash`
//! (feature `sim`); no part of a release.
//!
//! Everything follows from one seed: what is torn, what is kept, when the power goes.

mod answered;
mod disk;
mod rng;
mod rounds;
mod tamper;

pub use answered::{Answered, Look};
pub use disk::{Fault, Point, SimDisk};
pub use rng::Rng;
pub use rounds::{CrashReport, crash_round, crash_rounds, crash_rounds_with};
pub use tamper::{Failure, Outcome, Specimen, TamperReport, Tampering, tamper_round, tamper_rounds};

/// A promise that is broken on purpose, so that the rounds show that they notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// Batches are written and never synced.
    NoDataSync,
    /// The waiting are told before the sync.
    WakeBeforeSync,
    /// New names are never synced.
    NoDirectorySync,
    /// The hashes of the tree's upper levels are written and never synced.
    NoTileSync,
    /// Gap records count one less than is missing.
    ForgetsOne,
}
