//! Who is locked out: proved, and refused all the same, whatever proves them.
//!
//! Asked on every request, also of whoever is remembered as good, so that a lock counts from the moment on that it stands in
//! memory. Invariant: whoever is locked out becomes no [`Authenticated`].

use std::sync::Arc;

use model::lock::Lock;
use model::subject::Subject;
use model::time::Timestamp;

use super::{Authenticated, Identity, Station, Unproved};
use crate::refusal::Refusal;

/// Somebody who is locked out.
#[derive(Debug)]
pub(super) struct LockedOut {
    who: Arc<Identity>,
    why: String,
}

impl LockedOut {
    /// In words for whoever it is.
    pub(super) fn why(self) -> String {
        self.why
    }

    pub(super) fn by(lock: &Lock, who: Arc<Identity>) -> Self {
        Self {
            who,
            why: lock.in_words(),
        }
    }
}

/// Why a token does not let in.
#[derive(Debug)]
pub(super) enum Turned {
    /// It proves nobody, or that cannot be found out.
    Refused(Refusal),
    /// It proves somebody who is locked out.
    Locked(LockedOut),
}

impl From<Refusal> for Turned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<LockedOut> for Unproved {
    fn from(out: LockedOut) -> Self {
        Self {
            known: Some(Arc::clone(&out.who)),
            ..Self::by(out.who.credential.as_str(), Refusal::Locked(out.why))
        }
    }
}

impl Station {
    pub(super) fn lock_on(&self, subject: &Subject, now: Timestamp) -> Option<Arc<Lock>> {
        self.locks.borrow().over(subject, now).map(Arc::clone)
    }

    pub(super) fn admit(&self, identity: Arc<Identity>, now: Timestamp) -> Result<Authenticated, LockedOut> {
        match self.lock_on(&identity.subject, now) {
            Some(lock) => Err(LockedOut::by(&lock, identity)),
            None => Ok(Authenticated { identity }),
        }
    }
}
