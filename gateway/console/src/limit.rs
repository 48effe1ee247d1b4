//! How often one source, or one subject, may try. In memory: a restart forgives. Bounded: when more sources are known than fit, those
//! that have recovered are forgotten, and if none has, newcomers share one budget until some have.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::time::Timestamp;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Act {
    /// Beginning a sign-in in a browser.
    SignIn,
    /// Going on to a service with the session that a browser has, by subject: each is two writes of the store.
    Onward,
    /// Asking for a device code.
    Device,
    /// A wrong user code: 34 bits must not be guessable (RFC 8628 §5.1).
    WrongUserCode,
    /// A wrong code, handle or token. Above it they are refused all the same, and counted instead of recorded.
    WrongCredential,
    /// A path or a host name that is not here: a browser that looks for an icon must not use up the other one.
    Stray,
    /// A renewal, by subject: each is a write of the store.
    Renewal,
    /// A question to the API, by subject: most leave a record.
    Question,
    /// A tile of the ledger's tree, by subject: a client of the whole tree asks for many small ones.
    Tile,
    /// A pack of evidence, by subject: it looks at everything within its bounds.
    Pack,
    /// Stating a reason, by subject: each is a write of the store and a record, and all tokens are looked up anew.
    Reason,
    /// An assertion for another service, by the workload that asks: each is a record and a signature.
    Exchange,
    /// A provider's frame that signs somebody out: nothing in it is signed.
    FrontChannel,
    /// A logout token, whose signature costs us work.
    LogoutToken,
}

impl Act {
    /// How many at once, and how long until one more.
    const fn allowance(self) -> (u32, Duration) {
        match self {
            Self::SignIn | Self::Onward | Self::FrontChannel => (120, Duration::from_millis(500)),
            Self::Device => (30, Duration::from_secs(2)),
            Self::WrongUserCode => (10, Duration::from_secs(60)),
            Self::WrongCredential | Self::Stray => (60, Duration::from_secs(1)),
            Self::Renewal => (120, Duration::from_millis(500)),
            Self::Question => (300, Duration::from_millis(100)),
            Self::Tile => (1_000, Duration::from_millis(20)),
            Self::Pack => (20, Duration::from_secs(15)),
            Self::Reason => (20, Duration::from_secs(3)),
            Self::Exchange => (2_000, Duration::from_millis(10)),
            Self::LogoutToken => (500, Duration::from_millis(10)),
        }
    }
}

const SOURCES: usize = 20_000;
const SHARED: &str = "";

/// Token buckets by act and source, each kept as the time at which it will be full again.
#[derive(Debug, Default)]
pub(crate) struct Limiter {
    full_again: Mutex<HashMap<(Act, String), Timestamp>>,
}

impl Limiter {
    /// Takes one; else how long to wait.
    pub(crate) fn take(&self, act: Act, source: &str, now: Timestamp) -> Result<(), Duration> {
        let mut buckets = self.full_again.lock().unwrap_or_else(PoisonError::into_inner);
        let key = place_for(&mut buckets, act, source, now);
        let owed = one_more(buckets.get(&key).copied(), act, now)?;
        buckets.insert(key, now.plus(owed));
        Ok(())
    }

    /// Whether one could be taken, without taking it: for acts that count only when they turn out wrong.
    pub(crate) fn may(&self, act: Act, source: &str, now: Timestamp) -> Result<(), Duration> {
        let buckets = self.full_again.lock().unwrap_or_else(PoisonError::into_inner);
        let own = buckets.get(&(act, source.to_owned())).copied();
        one_more(own, act, now).map(drop)
    }
}

/// How long until the bucket is full again when one more is taken; else how long to wait.
fn one_more(full_again: Option<Timestamp>, act: Act, now: Timestamp) -> Result<Duration, Duration> {
    let (burst, every) = act.allowance();
    let (owed, most) = (owed(full_again, act, now) + every, every * burst);
    if owed > most {
        Err(owed.saturating_sub(most))
    } else {
        Ok(owed)
    }
}

/// How long until a bucket is full again.
fn owed(full_again: Option<Timestamp>, act: Act, now: Timestamp) -> Duration {
    let (burst, every) = act.allowance();
    let owed = full_again.map_or(Duration::ZERO, |full_again| full_again.since(now));
    // Further ahead than a whole bucket only after the clock was set back, which must shut nobody out.
    if owed > every * burst { Duration::ZERO } else { owed }
}

fn place_for(buckets: &mut HashMap<(Act, String), Timestamp>, act: Act, source: &str, now: Timestamp) -> (Act, String) {
    let key = (act, source.to_owned());
    if buckets.len() >= SOURCES && !buckets.contains_key(&key) {
        buckets.retain(|(act, _), full_again| !owed(Some(*full_again), *act, now).is_zero());
        if buckets.len() >= SOURCES {
            return (act, SHARED.to_owned());
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000);

    #[test]
    fn ses_14_a_source_may_try_so_often_and_then_waits() {
        let limiter = Limiter::default();
        for _ in 0..10 {
            assert!(limiter.take(Act::WrongUserCode, "a", NOW).is_ok());
        }
        assert_eq!(limiter.take(Act::WrongUserCode, "a", NOW), Err(Duration::from_secs(60)));
        assert_eq!(limiter.may(Act::WrongUserCode, "a", NOW), Err(Duration::from_secs(60)));
        assert!(limiter.take(Act::WrongUserCode, "b", NOW).is_ok());
        let later = NOW.plus(Duration::from_secs(60));
        assert!(limiter.take(Act::WrongUserCode, "a", later).is_ok());
        assert!(limiter.take(Act::WrongUserCode, "a", later).is_err());
    }

    /// It would have been for as long as the step.
    #[test]
    fn a_clock_that_was_set_back_shuts_nobody_out_and_limits_from_then_on() {
        let limiter = Limiter::default();
        let before = NOW.plus(Duration::from_secs(86_400));
        while limiter.take(Act::WrongUserCode, "a", before).is_ok() {}
        assert!(limiter.may(Act::WrongUserCode, "a", NOW).is_ok());
        for _ in 0..10 {
            assert!(limiter.take(Act::WrongUserCode, "a", NOW).is_ok());
        }
        assert_eq!(limiter.take(Act::WrongUserCode, "a", NOW), Err(Duration::from_secs(60)));
        // What was owed by the other clock takes no place either.
        let full = Limiter::default();
        for number in 0..SOURCES {
            full.take(Act::SignIn, &number.to_string(), before).unwrap();
        }
        full.take(Act::SignIn, "newcomer", NOW).unwrap();
        assert_eq!(full.full_again.lock().unwrap().len(), 1);
    }

    #[test]
    fn too_many_sources_share_one_budget_and_memory_stays_bounded() {
        let limiter = Limiter::default();
        let refused = (0..SOURCES + 100)
            .filter(|number| limiter.take(Act::WrongUserCode, &number.to_string(), NOW).is_err())
            .count();
        assert_eq!(refused, 90);
        assert!(limiter.full_again.lock().unwrap().len() <= SOURCES + 5);
    }
}
