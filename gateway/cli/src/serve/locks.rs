//! Locks from the store in force in the request path: whoever is refused finds them in memory, and calls that go on end.
//!
//! Two may bring news at the same time, the API and whoever follows the store; one reads and publishes after the other, so that
//! nothing older is put in place of something newer.

use std::sync::{Arc, Mutex, PoisonError};

use console::api::LocksInForce;
use model::lock::Locks;
use proxy::clock::Clock;
use proxy::session::Registry;
use state::{StateError, Store};
use tokio::sync::watch;

/// What the store says of locks, for the request path.
#[derive(Debug)]
pub(super) struct LockBook {
    store: Arc<Store>,
    calls: Arc<Registry>,
    clock: Clock,
    publish: Mutex<watch::Sender<Arc<Locks>>>,
}

impl LockBook {
    /// Puts what the store says in force before anything is served.
    ///
    /// # Errors
    /// The store does not answer: nobody could tell who is locked out.
    pub(super) fn open(
        store: &Arc<Store>,
        calls: &Arc<Registry>,
        clock: &Clock,
    ) -> Result<(Arc<Self>, watch::Receiver<Arc<Locks>>), StateError> {
        let (publish, locks) = watch::channel(Arc::default());
        let book = Self {
            store: Arc::clone(store),
            calls: Arc::clone(calls),
            clock: clock.clone(),
            publish: Mutex::new(publish),
        };
        book.refresh()?;
        Ok((Arc::new(book), locks))
    }
}

impl LocksInForce for LockBook {
    fn refresh(&self) -> Result<usize, StateError> {
        let publish = self.publish.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.read().wall;
        let locks = Arc::new(Locks::new(self.store.locks(now)?));
        publish.send_replace(Arc::clone(&locks));
        Ok(self.calls.lock_out(locks, now))
    }
}

#[cfg(test)]
mod tests {
    use model::lock::Lock;
    use model::subject::{Subject, SubjectId, SubjectKind, SubjectParts};
    use model::time::Timestamp;
    use proxy::session::LongCallMetrics;
    use state::{Limits, SealingKey, SealingKeys};

    use super::*;

    #[test]
    fn what_the_store_says_is_in_force_from_the_start_and_at_each_change() {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        let store = Arc::new(Store::in_memory(keys, Limits::default()).unwrap());
        let now = Timestamp::from_unix_seconds(1_000_000);
        let (clock, _) = Clock::manual(now.unix_nanos());
        let alice = Subject::new(SubjectParts {
            id: SubjectId::from_digest([1; 16]),
            kind: SubjectKind::Person,
            issuer: "https://idp".to_owned(),
            subject: "alice".to_owned(),
            username: "alice".to_owned(),
            uid: None,
            groups: Vec::new(),
            extra: std::collections::BTreeMap::new(),
            email: None,
        })
        .unwrap();
        let lock = Lock {
            subject: alice.id().clone(),
            kind: SubjectKind::Person,
            user: "alice".to_owned(),
            email: None,
            until: Timestamp::MAX,
            why: "left".to_owned(),
            by: "carol".to_owned(),
            at: now,
        };
        store.lock(&lock).unwrap();
        let calls = Registry::new(8, LongCallMetrics::default());
        let (book, locks) = LockBook::open(&store, &calls, &clock).unwrap();
        let is_out = || locks.borrow().over(&alice, now).is_some();
        assert!(is_out(), "from the start");
        store.unlock(alice.id()).unwrap();
        book.refresh().unwrap();
        assert!(!is_out());
        store.lock(&lock).unwrap();
        book.refresh().unwrap();
        assert!(is_out());
    }
}
