//! Waiting for a condition: the one place of the bench that sleeps between two looks. No test sleeps for itself.

use std::time::{Duration, Instant};

/// How long most conditions may take before a story fails. Generous: a busy machine is no defect.
pub const PATIENCE: Duration = Duration::from_secs(180);

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Looks until `check` answers `Some`, with growing pauses, and returns what it answered.
///
/// # Errors
/// `what` did not come true within `patience`.
pub fn wait_until<T>(what: &str, patience: Duration, mut check: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    try_until(what, patience, || {
        check().map(Ok).unwrap_or_else(|| Err(anyhow::anyhow!("not yet")))
    })
}

/// Like [`wait_until`] for a check that can say why it failed; the last reason becomes part of the error.
///
/// # Errors
/// `check` still failed after `patience`.
pub fn try_until<T>(what: &str, patience: Duration, mut check: impl FnMut() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(reason) if Instant::now() >= deadline => {
                return Err(reason.context(format!("waited {} s in vain: {what}", patience.as_secs())));
            }
            Err(_) => std::thread::sleep(pause),
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_comes_true_is_returned() {
        let mut looks = 0;
        let seen = wait_until("three looks", PATIENCE, || {
            looks += 1;
            (looks == 3).then_some(looks)
        });
        assert_eq!(seen.unwrap(), 3);
    }

    #[test]
    fn a_condition_that_never_comes_true_names_itself_and_the_last_reason() {
        let refused: anyhow::Result<()> = try_until("the moon", Duration::ZERO, || anyhow::bail!("still dark"));
        assert_eq!(
            format!("{:#}", refused.unwrap_err()),
            "waited 0 s in vain: the moon: still dark"
        );
    }
}
