//! What the machine does by itself: beside it stand the figures of a bench.

use std::hint::black_box;
use std::time::{Duration, Instant};

use ledger::leaf_hash;
use nix::sys::resource::{UsageWho, getrusage};

/// Gigabytes a second that so many threads together hash with SHA-256, by pieces of this length, and CPU seconds of one gigabyte.
///
/// # Errors
/// The system does not say what was used.
pub(crate) fn hashing(threads: usize, piece: &[u8], how_long: Duration) -> Result<(f64, f64), nix::Error> {
    let (begin, before) = (Instant::now(), cpu_seconds()?);
    let hash = || {
        let mut done = 0_usize;
        while begin.elapsed() < how_long {
            // The clock is asked once in a mebibyte.
            for _ in 0..(1_usize << 20).div_ceil(piece.len()) {
                black_box(leaf_hash(black_box(piece)));
                done += piece.len();
            }
        }
        done
    };
    let done: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(hash)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default())
            .sum()
    });
    #[expect(clippy::cast_precision_loss, reason = "a figure to print, far below 2^52")]
    let gigabytes = done as f64 / 1e9;
    let used = cpu_seconds()? - before;
    Ok((gigabytes / begin.elapsed().as_secs_f64(), used / gigabytes))
}

/// CPU time of this process so far.
///
/// # Errors
/// The system does not say.
pub(crate) fn cpu_seconds() -> Result<f64, nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let seconds = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0)).as_secs_f64()
    };
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}
