//! One of a cluster's two credentials over time: the current snapshot, and how it is read again.
//!
//! Invariant: the current snapshot is always one that parsed as a whole; a failed read leaves it where it was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::ReachError;
use crate::credential::{Place, Raw, Snapshot};
use crate::source::{Authorities, CredentialSource};

/// The impersonator or the observer.
#[derive(Debug)]
pub struct Identity {
    authorities: Authorities,
    credential: CredentialSource,
    place: Place,
    current: ArcSwap<Snapshot>,
    digest: Mutex<u64>,
    reread: Arc<Notify>,
    unreadable: Mutex<Option<String>>,
    refused: Mutex<Option<Refused>>,
    /// Whether `refused` is set: what each answer looks at.
    is_refused: AtomicBool,
}

/// What a person should know about a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The cluster answered 401 to it within the last minute, and has accepted it nowhere since.
    Refused,
    /// Its files cannot be read or used as they are now; the previous content stays in use.
    Unreadable(String),
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    generation: u64,
    at: Instant,
}

/// A refusal that nothing has confirmed for so long says nothing about now: perhaps nobody has asked since.
const REFUSAL_COUNTS: Duration = Duration::from_secs(60);

impl Identity {
    pub(crate) fn load(
        authorities: Authorities,
        credential: CredentialSource,
        reread: Arc<Notify>,
    ) -> Result<Self, ReachError> {
        let place = Place::of(&authorities, &credential);
        let raw = Raw::read(&authorities, &credential)?;
        let current = ArcSwap::new(raw.parse(&place, 1)?);
        Ok(Self {
            authorities,
            credential,
            place,
            current,
            digest: Mutex::new(raw.digest()),
            reread,
            unreadable: Mutex::default(),
            refused: Mutex::default(),
            is_refused: AtomicBool::new(false),
        })
    }

    /// What goes out now. Cheap: one atomic load and a reference count.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The upstream answered 401 to our credential: have the files read again soon (F-10). Cheap and safe to
    /// call per answer, since calls fold into one and [`crate::ClusterConnection::keep_fresh`] has a cool-down.
    pub fn was_refused(&self) {
        *lock(&self.refused) = Some(Refused {
            generation: self.current.load().generation(),
            at: Instant::now(),
        });
        self.is_refused.store(true, Ordering::Release);
        self.reread.notify_one();
    }

    /// The upstream answered anything but 401 to our credential. One atomic load, as long as it was not refused before.
    pub fn was_accepted(&self) {
        if self.is_refused.load(Ordering::Acquire) {
            *lock(&self.refused) = None;
            self.is_refused.store(false, Ordering::Release);
        }
    }

    /// What is wrong with it now, the worst first.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let generation = self.current.load().generation();
        let refused = (*lock(&self.refused))
            .is_some_and(|refused| refused.generation == generation && refused.at.elapsed() < REFUSAL_COUNTS);
        if refused {
            return Some(Trouble::Refused);
        }
        lock(&self.unreadable).clone().map(Trouble::Unreadable)
    }

    /// Reads the files again. `Ok(true)`: there is a new snapshot. Blocking.
    pub(crate) fn reread(&self) -> Result<bool, ReachError> {
        let read = self.read_anew();
        *lock(&self.unreadable) = read.as_ref().err().map(in_one_line);
        read
    }

    fn read_anew(&self) -> Result<bool, ReachError> {
        // Held over the reading, so that of two rereads the older content cannot win.
        let mut digest = lock(&self.digest);
        let raw = Raw::read(&self.authorities, &self.credential)?;
        let found = raw.digest();
        if found == *digest {
            return Ok(false);
        }
        let generation = self.current.load().generation().wrapping_add(1);
        self.current.store(raw.parse(&self.place, generation)?);
        *digest = found;
        Ok(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn in_one_line(error: &ReachError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
