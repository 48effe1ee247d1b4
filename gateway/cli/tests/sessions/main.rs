//! What the commands about sessions do as real processes, against a scripted gateway of this process: where their output
//! cannot go, what they leave on the disk and in a terminal, what they say of answers that the real gateway seldom gives.
//!
//! Nothing sleeps here: whatever has to wait, waits for a line, a request or the end of a process.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test ends where its surroundings are not as they have to be"
)]

mod answers;
mod export;
mod gateway;
mod machine;
mod output;
mod signals;
mod terminal;

use std::time::{Duration, Instant};

/// Waits until it is so; longer than anything takes on a machine that does much else.
#[track_caller]
fn until(what: &str, is: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(180);
    while !is() {
        assert!(Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}
