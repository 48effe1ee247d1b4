//! Time for the request path: read once per request and handed on, so that one request is judged at one point in time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use model::time::Timestamp;

/// Where time comes from.
#[derive(Clone)]
pub enum Clock {
    /// The machine's clocks.
    System {
        /// When the process began: the origin of `mono`.
        began: Instant,
    },
    /// A hand-set clock for tests.
    Manual(Arc<AtomicI64>),
    /// A hand-set clock for tests whose wall time goes apart from it, as when somebody sets the machine's clock.
    Stepped {
        /// Nanoseconds since the epoch, as of [`Clock::Manual`].
        hand: Arc<AtomicI64>,
        /// By how many nanoseconds wall time is ahead of that.
        ahead: Arc<AtomicI64>,
    },
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::System { .. } => "Clock::System",
            Self::Manual(_) => "Clock::Manual",
            Self::Stepped { .. } => "Clock::Stepped",
        })
    }
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Wall time.
    pub wall: Timestamp,
    /// Nanoseconds since the process began; never goes back.
    pub mono: u64,
}

impl Clock {
    /// The machine's clocks, `mono` counted from now.
    #[must_use]
    pub fn system() -> Self {
        Self::System { began: Instant::now() }
    }

    /// A clock that stands at `nanos` since the epoch until somebody sets it.
    #[must_use]
    pub fn manual(nanos: i64) -> (Self, Arc<AtomicI64>) {
        let hand = Arc::new(AtomicI64::new(nanos));
        (Self::Manual(Arc::clone(&hand)), hand)
    }

    /// Reads wall and monotonic time.
    #[must_use]
    pub fn read(&self) -> Reading {
        match self {
            Self::System { began } => Reading {
                wall: wall(),
                mono: nanos_since(*began),
            },
            Self::Manual(hand) => manual(hand.load(Ordering::Relaxed), 0),
            Self::Stepped { hand, ahead } => manual(hand.load(Ordering::Relaxed), ahead.load(Ordering::Relaxed)),
        }
    }

    /// Reads monotonic time alone: nanoseconds since the process began.
    #[must_use]
    pub fn mono(&self) -> u64 {
        match self {
            Self::System { began } => nanos_since(*began),
            Self::Manual(_) | Self::Stepped { .. } => self.read().mono,
        }
    }
}

fn manual(nanos: i64, ahead: i64) -> Reading {
    Reading {
        wall: Timestamp::from_unix_nanos(nanos.saturating_add(ahead)),
        mono: u64::try_from(nanos).unwrap_or(0),
    }
}

fn nanos_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

fn wall() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
