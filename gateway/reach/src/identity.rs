//! One of a cluster's two credentials over time: the current snapshot, and how it is read again.
//!
//! Invariant: the current snapshot is always one that parsed as a whole; a failed read leaves it where it was.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;
use tokio::sync::Notify;

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
}

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
        })
    }

    /// What goes out now. Cheap: one atomic load and a reference count.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// The upstream answered 401 to our credential: have the files read again soon (protocol.md F-10). Cheap and safe to
    /// call per answer, since calls fold into one and [`crate::ClusterConnection::keep_fresh`] has a cool-down.
    pub fn was_refused(&self) {
        self.reread.notify_one();
    }

    /// Reads the files again. `Ok(true)`: there is a new snapshot. Blocking.
    pub(crate) fn reread(&self) -> Result<bool, ReachError> {
        // Held over the reading, so that of two rereads the older content cannot win.
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
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
