//! Why a session that has to be recorded is not, or is no longer.
//!
//! One closed list with three readers. The person it is about reads `Display`, in the answer or in their own records: no path, no
//! number of the host's, no word of its system. Metrics count by [`UnrecordedCause`]. What really happened is the `source()`, and
//! stands in the log of whoever runs the gateway alone.

use std::error::Error;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use recording::tap::Torn;
use recording::{SealError, Trouble};
use tokio::task::JoinError;

use crate::audit::Trail;
use crate::observe::closed;

closed! {
    /// Why a session was not recorded: by what somebody has to do about it.
    UnrecordedCause {
        /// The folder of recordings is not there, is none, or may not be written to.
        Place = "place",
        /// The disk of recordings is full, or has no more room than `recording.keepFree`.
        DiskFull = "diskFull",
        /// The disk of recordings failed.
        Disk = "disk",
        /// The disk of recordings neither took a chunk in time nor refused it.
        Slow = "slow",
        /// The store of keys failed, or did not answer in time.
        KeyStore = "keyStore",
        /// The key that is kept does not open.
        Key = "key",
        /// What is recorded of its person has filled their day.
        Day = "bytesPerDay",
        /// What passed is no sound message of its protocol.
        Damaged = "damaged",
        /// Its protocol has no reader.
        Protocol = "protocol",
        /// A fault of the gateway's.
        Fault = "fault",
    }
}

impl UnrecordedCause {
    /// For the person whom it concerns.
    pub(crate) const fn in_words(self) -> &'static str {
        match self {
            Self::Place => "recordings have no place where they can be written",
            Self::DiskFull => "the disk of recordings is full",
            Self::Disk => "the disk of recordings fails",
            Self::Slow => "the disk of recordings does not take it in time",
            Self::KeyStore => "the store of keys fails",
            Self::Key => "its key cannot be used",
            Self::Day => "what is recorded of its person has reached the limit of a day (`limits.bytesPerDay`)",
            Self::Damaged => "what passes cannot be read",
            Self::Protocol => "its protocol is not known",
            Self::Fault => "the gateway is at fault",
        }
    }

    /// Whether only whoever runs the gateway can do something about it.
    const fn is_operators(self) -> bool {
        match self {
            Self::Place | Self::DiskFull | Self::Disk | Self::Slow | Self::KeyStore | Self::Key | Self::Fault => true,
            Self::Day | Self::Damaged | Self::Protocol => false,
        }
    }
}

impl EncodeLabelValue for UnrecordedCause {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        EncodeLabelValue::encode(&self.as_str(), encoder)
    }
}

/// Why there is no key for a recording.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The store could not be read or written.
    #[error("the store of keys failed")]
    Store(#[source] Box<dyn Error + Send + Sync>),
    /// The store has one, and it does not open: it was sealed with another key, or changed since.
    #[error("the key that is kept does not open")]
    Unopened(#[source] Box<dyn Error + Send + Sync>),
    /// The store did not answer in time.
    #[error("the store of keys did not answer in time")]
    Silent,
}

/// Why a session that has to be recorded is not, or is no longer. See the module for who reads what of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unrecorded {
    /// There is no key for it.
    #[error("{}", self.cause().in_words())]
    Key(#[from] KeyError),
    /// It could not be sealed.
    #[error("{}", self.cause().in_words())]
    Seal(#[from] SealError),
    /// The disk neither took it in time nor refused it.
    #[error("{}", self.cause().in_words())]
    Slow,
    /// It has filled its person's day.
    #[error("{}", self.cause().in_words())]
    Day,
    /// What passes is not what its protocol says. The words name no more than what the person has sent or was sent.
    #[error("what passes cannot be recorded: {0}")]
    Damaged(Torn),
    /// Nobody can read its protocol.
    #[error("what passes cannot be recorded: {}", self.cause().in_words())]
    Protocol,
    /// What had to be there is not.
    #[error("{}", self.cause().in_words())]
    Missing(#[source] Missing),
    /// Whoever sealed it panicked.
    #[error("{}", self.cause().in_words())]
    Panicked(#[from] JoinError),
}

/// What has to be there by then.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(crate) enum Missing {
    #[error("the clock went back behind the request")]
    Clock,
    #[error("nobody is known to have called")]
    Caller,
    #[error("what was asked is not known")]
    Request,
    #[error("the recording is over")]
    Sealer,
}

impl Unrecorded {
    pub(crate) fn cause(&self) -> UnrecordedCause {
        match self {
            Self::Key(KeyError::Store(_) | KeyError::Silent) => UnrecordedCause::KeyStore,
            Self::Key(KeyError::Unopened(_)) => UnrecordedCause::Key,
            Self::Seal(error) => match error.trouble() {
                Trouble::Place => UnrecordedCause::Place,
                Trouble::Full => UnrecordedCause::DiskFull,
                Trouble::Disk => UnrecordedCause::Disk,
                Trouble::Fault => UnrecordedCause::Fault,
            },
            Self::Slow => UnrecordedCause::Slow,
            Self::Day => UnrecordedCause::Day,
            Self::Damaged(_) => UnrecordedCause::Damaged,
            Self::Protocol => UnrecordedCause::Protocol,
            Self::Missing(_) | Self::Panicked(_) => UnrecordedCause::Fault,
        }
    }

    /// All that is known, for the log.
    fn detail(&self) -> String {
        let mut detail = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            detail.push_str(": ");
            detail.push_str(&error.to_string());
            source = error.source();
        }
        detail
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCause {
    cause: UnrecordedCause,
}

/// Sessions that had to be recorded and were not. Cheap to clone, shared.
#[derive(Clone, Debug, Default)]
pub struct RecordingMetrics {
    refused: Family<ByCause, Counter>,
    cut: Family<ByCause, Counter>,
}

impl RecordingMetrics {
    /// Declares all of them.
    pub fn register(&self, registry: &mut Registry) {
        for cause in UnrecordedCause::ALL {
            for family in [&self.refused, &self.cut] {
                drop(family.get_or_create_owned(&ByCause { cause: *cause }));
            }
        }
        registry.register(
            "gateway_recording_sessions_refused",
            "Sessions that had to be recorded and did not begin because they could not be, by cause",
            self.refused.clone(),
        );
        registry.register(
            "gateway_recording_sessions_cut",
            "Sessions under way that had to be recorded and were ended because they no longer could be, by cause",
            self.cut.clone(),
        );
    }

    /// A session does not begin. The log has why; its record and its person have the cause.
    pub(crate) fn refused(&self, trail: &Trail, why: &Unrecorded) {
        let cause = why.cause();
        self.refused.get_or_create(&ByCause { cause }).inc();
        // Set once: a call is refused once.
        let _ = trail.unrecordable.set(cause);
        tell(trail.id.as_str(), why, "a session cannot be recorded");
    }

    /// A session under way is ended.
    pub(super) fn cut(&self, id: &str, why: &Unrecorded) {
        self.cut.get_or_create(&ByCause { cause: why.cause() }).inc();
        tell(id, why, "a session can no longer be recorded and ends");
    }

    /// Sessions refused so far and sessions cut so far for `cause`.
    #[cfg(test)]
    pub(crate) fn counted(&self, cause: UnrecordedCause) -> (u64, u64) {
        let of = |family: &Family<ByCause, Counter>| family.get_or_create(&ByCause { cause }).get();
        (of(&self.refused), of(&self.cut))
    }
}

fn tell(id: &str, why: &Unrecorded, what: &'static str) {
    let cause = why.cause();
    if cause.is_operators() {
        tracing::error!(request.id = id, cause = cause.as_str(), error = why.detail(), "{what}");
    } else {
        tracing::warn!(request.id = id, cause = cause.as_str(), error = why.detail(), "{what}");
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;

    use super::*;

    /// What a person may read of it says nothing of the host; what the operator reads says all.
    #[test]
    fn a_persons_words_have_no_path_and_no_word_of_the_system_and_the_logs_have_them() {
        let source = || io::Error::from_raw_os_error(13);
        let path = PathBuf::from("/srv/secret");
        let state = || Box::new(io::Error::other("/srv/state.sqlite is locked"));
        for (why, cause, hidden) in [
            (
                SealError::Create { path, source: source() }.into(),
                UnrecordedCause::Place,
                "/srv/secret",
            ),
            (
                SealError::Room {
                    free: 4_711,
                    keeps: 9_000,
                }
                .into(),
                UnrecordedCause::DiskFull,
                "4711",
            ),
            (
                Unrecorded::Seal(SealError::Write(source())),
                UnrecordedCause::Disk,
                "os error",
            ),
            (
                KeyError::Store(state()).into(),
                UnrecordedCause::KeyStore,
                "state.sqlite",
            ),
            (KeyError::Unopened(state()).into(), UnrecordedCause::Key, "state.sqlite"),
            (KeyError::Silent.into(), UnrecordedCause::KeyStore, "in time"),
            (
                Unrecorded::Missing(Missing::Caller),
                UnrecordedCause::Fault,
                "nobody is known",
            ),
        ] {
            let (words, detail) = (why.to_string(), why.detail());
            assert_eq!((why.cause(), words.as_str()), (cause, cause.in_words()));
            assert!(!words.contains(hidden) && detail.contains(hidden), "{words}: {detail}");
            assert!(detail.starts_with(&words), "{detail}");
        }
    }
}
