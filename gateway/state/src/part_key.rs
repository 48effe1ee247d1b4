//! The keys under which parts of records are sealed: one for each subject and class, random, never derived, so that
//! destroying one leaves nothing to make it from again.

use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use crate::secret::random_bytes;
use crate::{StateError, Store};

/// A key as it is kept.
pub struct PartKeyBytes {
    /// Its public name, which stands in records.
    pub id: String,
    /// The key.
    pub bytes: [u8; 32],
}

impl std::fmt::Debug for PartKeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PartKeyBytes({})", self.id)
    }
}

pub(crate) const TABLE: &str = "part_keys";
/// The one that is in use.
const FIND: &str = "SELECT id, sealed FROM part_keys WHERE subject_id = ?1 AND class = ?2 AND retired_at IS NULL";

/// Those in use of parts, made before `?1`.
const OLD: &str = "retired_at IS NULL AND class NOT LIKE 'recording:%' AND created_at < ?1";

impl Store {
    /// The key of this subject for this class; made and durable at first use.
    ///
    /// # Errors
    /// The database failed, or the kept key does not open.
    pub fn part_key(&self, subject: &str, class: &str, now: Timestamp) -> Result<PartKeyBytes, StateError> {
        if let Some(kept) = self.find_part_key(subject, class)? {
            return Ok(kept);
        }
        let bytes = random_bytes::<32>()?;
        let id = hex::encode(random_bytes::<8>()?);
        let sealed = self.keys.seal(TABLE, &id, &bytes)?;
        let (id, sealed): (String, Vec<u8>) = self.write(|transaction| {
            // Two first calls at the same time: the first key stays.
            transaction
                .prepare_cached("INSERT OR IGNORE INTO part_keys (id, subject_id, class, sealed, created_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![id, subject, class, sealed, now.unix_nanos()])?;
            let mut find = transaction.prepare_cached(FIND)?;
            Ok(find.query_row(params![subject, class], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })?;
        self.opened(id, &sealed)
    }

    /// The key of this subject for this class, where there is one: a key that was destroyed does not come back by being looked for.
    ///
    /// # Errors
    /// The database failed, or the kept key does not open.
    pub fn find_part_key(&self, subject: &str, class: &str) -> Result<Option<PartKeyBytes>, StateError> {
        let kept: Option<(String, Vec<u8>)> = self.read(|connection| {
            let mut find = connection.prepare_cached(FIND)?;
            Ok(find
                .query_row(params![subject, class], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?)
        })?;
        kept.map(|(id, sealed)| self.opened(id, &sealed)).transpose()
    }

    /// The key of this subject with this public name, also where another one has taken its place.
    ///
    /// # Errors
    /// The database failed, or the kept key does not open.
    pub fn part_key_named(&self, subject: &str, id: &str) -> Result<Option<PartKeyBytes>, StateError> {
        let sealed: Option<Vec<u8>> = self.read(|connection| {
            let mut find =
                connection.prepare_cached("SELECT sealed FROM part_keys WHERE id = ?1 AND subject_id = ?2")?;
            Ok(find.query_row(params![id, subject], |row| row.get(0)).optional()?)
        })?;
        sealed.map(|sealed| self.opened(id.to_owned(), &sealed)).transpose()
    }

    /// The key with this public name, whosever it is.
    ///
    /// # Errors
    /// The database failed, or the kept key does not open.
    pub fn part_key_of_id(&self, id: &str) -> Result<Option<PartKeyBytes>, StateError> {
        let sealed: Option<Vec<u8>> = self.read(|connection| {
            let mut find = connection.prepare_cached("SELECT sealed FROM part_keys WHERE id = ?1")?;
            Ok(find.query_row(params![id], |row| row.get(0)).optional()?)
        })?;
        sealed.map(|sealed| self.opened(id.to_owned(), &sealed)).transpose()
    }

    /// Takes the keys of parts out of use, of one subject or of all, so that the next part of each is sealed under a new one; what they
    /// have sealed they still open. Recordings have a key each and keep it. Gives how many.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn retire_part_keys(&self, subject: Option<&str>, now: Timestamp) -> Result<usize, StateError> {
        self.write(|transaction| {
            Ok(transaction
                .prepare_cached(
                    "UPDATE part_keys SET retired_at = ?2 WHERE retired_at IS NULL AND class NOT LIKE 'recording:%'
                       AND (?1 IS NULL OR subject_id = ?1)",
                )?
                .execute(params![subject, now.unix_nanos()])?)
        })
    }

    /// How many keys of parts are in use that were made before this.
    ///
    /// # Errors
    /// The database failed.
    pub fn part_keys_in_use_since_before(&self, before: Timestamp) -> Result<u64, StateError> {
        self.read(|connection| {
            let count = format!("SELECT count(*) FROM part_keys WHERE {OLD}");
            let mut count = connection.prepare_cached(&count)?;
            let keys: i64 = count.query_row(params![before.unix_nanos()], |row| row.get(0))?;
            Ok(u64::try_from(keys).unwrap_or_default())
        })
    }

    /// As [`Store::retire_part_keys`], those of everybody that were made before this.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn retire_part_keys_made_before(&self, before: Timestamp, now: Timestamp) -> Result<usize, StateError> {
        self.write(|transaction| {
            Ok(transaction
                .prepare_cached(&format!("UPDATE part_keys SET retired_at = ?2 WHERE {OLD}"))?
                .execute(params![before.unix_nanos(), now.unix_nanos()])?)
        })
    }

    /// Destroys the key of this subject for this class: whatever it sealed cannot be opened any more. False when there was none.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn drop_part_key(&self, subject: &str, class: &str) -> Result<bool, StateError> {
        self.write(|transaction| {
            let dropped = transaction
                .prepare_cached("DELETE FROM part_keys WHERE subject_id = ?1 AND class = ?2")?
                .execute(params![subject, class])?;
            Ok(dropped > 0)
        })
    }

    pub(crate) fn opened(&self, id: String, sealed: &[u8]) -> Result<PartKeyBytes, StateError> {
        let bytes = self.keys.open(TABLE, &id, sealed)?;
        let bytes = bytes.try_into().map_err(|_| StateError::Sealed { table: TABLE })?;
        Ok(PartKeyBytes { id, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::test_store;

    #[test]
    fn a_key_is_made_once_for_each_subject_and_class() {
        let (store, now) = (test_store(), Timestamp::EPOCH);
        assert!(
            store.find_part_key("alice", "query").unwrap().is_none(),
            "looking for one makes none"
        );
        assert!(store.find_part_key("alice", "query").unwrap().is_none());
        let first = store.part_key("alice", "query", now).unwrap();
        let found = store.find_part_key("alice", "query").unwrap().unwrap();
        assert_eq!((&first.id, first.bytes), (&found.id, found.bytes));
        let again = store.part_key("alice", "query", now).unwrap();
        assert_eq!((&first.id, first.bytes), (&again.id, again.bytes));
        for (subject, class) in [("bob", "query"), ("alice", "agent")] {
            let other = store.part_key(subject, class, now).unwrap();
            assert_ne!((&other.id, other.bytes), (&first.id, first.bytes));
        }
    }

    #[test]
    fn a_key_out_of_use_opens_what_it_sealed_and_a_new_one_seals() {
        let (store, now) = (test_store(), Timestamp::EPOCH);
        let old = store.part_key("alice", "query", now).unwrap();
        let bobs = store.part_key("bob", "query", now).unwrap();
        let recording = store.part_key("alice", "recording:1", now).unwrap();
        assert_eq!(store.retire_part_keys(Some("alice"), now).unwrap(), 1);
        let new = store.part_key("alice", "query", now).unwrap();
        assert_ne!((&new.id, new.bytes), (&old.id, old.bytes));
        let named = store.part_key_named("alice", &old.id).unwrap().unwrap();
        assert_eq!(named.bytes, old.bytes);
        assert!(store.part_key_named("bob", &old.id).unwrap().is_none(), "nobody else's");
        assert_eq!(store.part_key("bob", "query", now).unwrap().id, bobs.id);
        assert_eq!(store.part_key("alice", "recording:1", now).unwrap().id, recording.id);
        assert_eq!(store.retire_part_keys(None, now).unwrap(), 2);
    }

    #[test]
    fn a_key_of_a_certain_age_goes_out_of_use_and_no_younger_one_and_none_of_a_recording() {
        let (store, at) = (test_store(), Timestamp::from_unix_seconds);
        let old = store.part_key("alice", "query", at(10)).unwrap();
        let young = store.part_key("alice", "agent", at(20)).unwrap();
        let recording = store.part_key("alice", "recording:1", at(10)).unwrap();
        assert_eq!(store.part_keys_in_use_since_before(at(10)).unwrap(), 0);
        assert_eq!(store.part_keys_in_use_since_before(at(20)).unwrap(), 1);
        assert_eq!(store.retire_part_keys_made_before(at(20), at(30)).unwrap(), 1);
        assert_eq!(store.retire_part_keys_made_before(at(20), at(31)).unwrap(), 0, "once");
        assert_ne!(store.part_key("alice", "query", at(30)).unwrap().id, old.id);
        assert_eq!(store.part_key("alice", "agent", at(30)).unwrap().id, young.id);
        assert_eq!(store.part_key("alice", "recording:1", at(30)).unwrap().id, recording.id);
        assert_eq!(
            store.part_key_named("alice", &old.id).unwrap().unwrap().bytes,
            old.bytes
        );
    }

    #[test]
    fn a_destroyed_key_is_gone_and_no_other() {
        let (store, now) = (test_store(), Timestamp::EPOCH);
        for subject in ["alice", "bob"] {
            store.part_key(subject, "recording:1", now).unwrap();
        }
        assert!(store.drop_part_key("alice", "recording:1").unwrap());
        assert!(!store.drop_part_key("alice", "recording:1").unwrap());
        assert!(store.find_part_key("alice", "recording:1").unwrap().is_none());
        assert!(store.find_part_key("bob", "recording:1").unwrap().is_some());
    }
}
