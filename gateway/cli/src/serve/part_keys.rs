//! The keys of parts and recordings, from the state store: outside the ledger, so that destroying one erases what it sealed.

use std::sync::Arc;
use std::time::Duration;

use console::api::{Opened, OpensParts};
use futures::future::BoxFuture;
use model::erasure::{Erased, recording_class};
use model::event::{Person, Record, RecordKind};
use model::subject::SubjectId;
use proxy::audit::{Class, PartKey, PartKeys, RequestId, Station, open_part};
use proxy::session::{KeyError, RecordingKeys};
use recording::SessionKey;
use search::SealedPart;
use state::{StateError, Store};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::config::Span;

/// Keys that the state store keeps.
#[derive(Debug)]
pub(super) struct StoredKeys {
    pub(super) store: Arc<Store>,
}

impl PartKeys for StoredKeys {
    fn key(&self, subject: &SubjectId, class: Class) -> BoxFuture<'_, Result<Arc<PartKey>, String>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        Box::pin(async move {
            let find = move || store.part_key(subject.as_str(), class.name(), super::now());
            let kept = tokio::task::spawn_blocking(find).await;
            let kept = kept
                .map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())?;
            let key = PartKey::new(&kept.id, &kept.bytes);
            key.map(Arc::new).ok_or_else(|| "it cannot be used".to_owned())
        })
    }

    fn acts_through(&self, subject: &SubjectId, user: &str, origin: &str) -> BoxFuture<'_, Result<(), String>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        let (user, origin) = (user.to_owned(), origin.to_owned());
        Box::pin(async move {
            let keep = move || store.acts_through(&subject, &user, &origin);
            let kept = tokio::task::spawn_blocking(keep).await;
            kept.map_err(|error| error.to_string())?
                .map_err(|error| error.to_string())
        })
    }
}

impl RecordingKeys for StoredKeys {
    fn new_key(&self, subject: &SubjectId, session: &str) -> BoxFuture<'_, Result<SessionKey, KeyError>> {
        let (store, subject) = (Arc::clone(&self.store), subject.clone());
        let class = recording_class(session);
        Box::pin(async move {
            let make = move || store.part_key(subject.as_str(), &class, super::now());
            let made = tokio::task::spawn_blocking(make).await;
            let made = made.map_err(|error| KeyError::Store(error.into()))?.map_err(no_key)?;
            Ok(SessionKey::new(made.bytes))
        })
    }

    fn forget(&self, subject: &SubjectId, session: &str) {
        let (store, subject, class) = (Arc::clone(&self.store), subject.clone(), recording_class(session));
        let forget = move || {
            if let Err(error) = store.drop_part_key(subject.as_str(), &class) {
                tracing::warn!(error = %error, "the key of a recording that never began is still kept");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(forget)),
            Err(_) => forget(),
        }
    }
}

impl OpensParts for StoredKeys {
    fn open(&self, subject: &SubjectId, request: &str, part: &SealedPart) -> Opened {
        let Some(class) = Class::ALL.into_iter().find(|class| class.name() == part.class) else {
            return Opened::Unreadable("it is of a class that this version does not know".to_owned());
        };
        let kept = match self.store.part_key_named(subject.as_str(), &part.key) {
            // The state file that knew whose pseudonym it is may be lost, and the keys put back from a backup.
            Ok(None) => self.store.part_key_behind(subject.as_str(), &part.key),
            found => found,
        };
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => return Opened::Unreadable(error.to_string()),
        };
        let Some(key) = kept.and_then(|kept| PartKey::new(&kept.id, &kept.bytes)) else {
            return match self.store.erased_key(&part.key) {
                Ok(erased) => erased.map_or(Opened::NoKey, Opened::Erased),
                Err(error) => Opened::Unreadable(error.to_string()),
            };
        };
        match open_part(&key, request, class, &part.commitment, &part.bytes) {
            Some(plain) => Opened::Plain(plain),
            None => Opened::Unreadable("it is not what the record says that stood beside it".to_owned()),
        }
    }
}

/// How often it is looked whether keys of parts are of the age at which new ones begin.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Has a new key follow each key of parts that is of this age, at once and then each minute, until the gateway stops.
pub(super) async fn renew(audit: Arc<Station>, store: Arc<Store>, age: Span, stop: CancellationToken) {
    let mut beat = tokio::time::interval(LOOK_EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = renew_once(&audit, &store, age).await {
            tracing::warn!(error = %error, "keys of parts are older than `ledger.partKeyAge`, and new ones do not begin yet; it is tried again in a minute");
        }
    }
}

/// The record comes first; then they are out of use, here and where they are held in memory. Gives how many.
async fn renew_once(audit: &Station, store: &Arc<Store>, age: Span) -> Result<usize, String> {
    let now = audit.clock().read();
    let (before, wall) = (now.wall.minus(age.duration()), now.wall);
    let old = blocking(store, move |store| store.part_keys_in_use_since_before(before)).await?;
    if old == 0 {
        return Ok(0);
    }
    let id = RequestId::new();
    let note = format!("new keys for parts from now on: of those in use {old} are older than {age}");
    let record = Record {
        id: id.as_str(),
        t: wall,
        mono: now.mono,
        boot: audit.boot(),
        person: Some(Person {
            what: "partKeysRotated",
            session: None,
            provider: None,
            why: None,
            amr: &[],
        }),
        note: Some(&note),
        ..Record::default()
    };
    let written = audit.write(RecordKind::Session, &record).await;
    written.map_err(|refusal| refusal.in_words())?;
    let retired = blocking(store, move |store| store.retire_part_keys_made_before(before, wall)).await?;
    audit.forget_part_keys();
    Ok(retired)
}

async fn blocking<T: Send + 'static>(
    store: &Arc<Store>,
    work: impl FnOnce(&Store) -> Result<T, StateError> + Send + 'static,
) -> Result<T, String> {
    let store = Arc::clone(store);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    done.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

impl StoredKeys {
    /// The key of a session's recording, where there is one still. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn recording_key(&self, subject: &SubjectId, session: &str) -> Result<Option<SessionKey>, String> {
        let found = self.store.find_part_key(subject.as_str(), &recording_class(session));
        Ok(found
            .map_err(|error| error.to_string())?
            .map(|key| SessionKey::new(key.bytes)))
    }
}

impl StoredKeys {
    /// What a record says of the key of a session's recording, where it was erased. Blocks.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn erased_recording(&self, subject: &SubjectId, session: &str) -> Result<Option<Erased>, String> {
        let erased = self.store.erased_key_of(subject.as_str(), &recording_class(session));
        erased.map_err(|error| error.to_string())
    }
}

fn no_key(error: StateError) -> KeyError {
    match error {
        StateError::Sealed { .. } => KeyError::Unopened(error.into()),
        error => KeyError::Store(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use ledger::{Ledger, Reader, RealDisk};
    use model::time::Timestamp;
    use proxy::audit::Limits;
    use proxy::clock::Clock;
    use state::{SealingKey, SealingKeys};

    use super::*;

    #[tokio::test]
    async fn a_new_key_begins_when_the_old_one_is_of_age_and_a_record_says_so_before() {
        let folder = tempfile::tempdir().unwrap();
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        let store = Arc::new(Store::in_memory(keys, state::Limits::default()).unwrap());
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (ledger, _) = Ledger::open(folder.path(), ledger::Options::default(), disk).unwrap();
        let start = Timestamp::from_unix_seconds(1_000_000);
        let (clock, hand) = Clock::manual(start.unix_nanos());
        let ledger = Arc::new(ledger);
        let audit = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
        let age = Span::hours(2);
        let old = store.part_key("alice", "query", start).unwrap();
        let recording = store.part_key("alice", "recording:1", start).unwrap();
        assert_eq!(renew_once(&audit, &store, age).await, Ok(0));
        let pass = |hours: u64| {
            hand.store(
                start.plus(Span::hours(hours).duration()).unix_nanos() + 1,
                Ordering::Relaxed,
            )
        };
        pass(1);
        assert_eq!(renew_once(&audit, &store, age).await, Ok(0), "it is not of age");
        assert_eq!(ledger.durable().size, 0, "and nothing is recorded of what is not done");
        pass(2);
        assert_eq!(renew_once(&audit, &store, age).await, Ok(1));
        assert_eq!(renew_once(&audit, &store, age).await, Ok(0));
        let new = store.part_key("alice", "query", audit.clock().read().wall).unwrap();
        assert_ne!(new.id, old.id);
        assert_eq!(store.part_key("alice", "recording:1", start).unwrap().id, recording.id);
        let records = Reader::open(folder.path()).unwrap().records_from(0);
        let said: Vec<serde_json::Value> = records
            .map(|record| serde_json::from_slice(&record.unwrap().leaf).unwrap())
            .collect();
        assert_eq!(said.len(), 1, "{said:?}");
        assert_eq!(said[0]["person"]["what"], "partKeysRotated");
        assert_eq!(
            said[0]["note"],
            "new keys for parts from now on: of those in use 1 are older than 2h"
        );
        // What cannot be recorded is not done.
        pass(5);
        ledger.close();
        assert!(renew_once(&audit, &store, age).await.is_err());
        let kept = store.part_key("alice", "query", audit.clock().read().wall).unwrap();
        assert_eq!(kept.id, new.id);
    }

    /// The state file is lost, and with it whose pseudonym is whose; the keys were put back from a backup.
    #[test]
    fn what_stands_under_an_unknown_pseudonym_opens_with_the_key_of_whoever_owns_it_and_of_nobody_else() {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        let store = Arc::new(Store::in_memory(keys, state::Limits::default()).unwrap());
        let (alice, bob) = (SubjectId::from_digest([1; 16]), SubjectId::from_digest([2; 16]));
        let now = Timestamp::EPOCH;
        let kept = store.part_key(alice.as_str(), "query", now).unwrap();
        for subject in [&alice, &bob] {
            store.part_key(subject.as_str(), "name", now).unwrap();
        }
        let key = PartKey::new(&kept.id, &kept.bytes).unwrap();
        let (part, bytes) = proxy::audit::seal_part(&key, "r-1", Class::Query, b"container=main").unwrap();
        let sealed = SealedPart {
            name: "query".to_owned(),
            class: "query".to_owned(),
            key: kept.id.clone(),
            commitment: part.commitment.to_string(),
            bytes: bytes.bytes,
        };
        let stored = StoredKeys { store };
        let unknown = SubjectId::from_digest([9; 16]);
        let plain = Opened::Plain(b"container=main".to_vec());
        assert_eq!(stored.open(&alice, "r-1", &sealed), plain);
        assert_eq!(stored.open(&unknown, "r-1", &sealed), plain);
        assert_eq!(
            stored.open(&bob, "r-1", &sealed),
            Opened::NoKey,
            "a key of somebody else"
        );
        assert!(matches!(stored.open(&unknown, "r-2", &sealed), Opened::Unreadable(_)));
    }
}
