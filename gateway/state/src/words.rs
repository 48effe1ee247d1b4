//! The words of records that take something away: known here before they stand in the ledger, so that one that nobody has signed yet can be told
//! from one that somebody else wrote into the ledger's files.
//!
//! Bound: one row of 32 bytes for each step that two people took in one run of the process; all go when the end of the ledger is signed.

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{OptionalExtension as _, params};

use crate::{StateError, Store};

impl Store {
    /// This body is about to be written as a record.
    ///
    /// # Errors
    /// The database failed: it must not be written.
    pub fn remember_words(&self, body: &[u8]) -> Result<(), StateError> {
        let digest = digest(&SHA256, body);
        self.write(|transaction| {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO own_words (digest) VALUES (?1)")?
                .execute(params![digest.as_ref()])?;
            Ok(())
        })
    }

    /// Whether this body was about to be written, here and since the end of the ledger was last signed at a start.
    ///
    /// # Errors
    /// The database failed.
    pub fn knows_words(&self, body: &[u8]) -> Result<bool, StateError> {
        let digest = digest(&SHA256, body);
        self.read(|connection| {
            let mut find = connection.prepare_cached("SELECT 1 FROM own_words WHERE digest = ?1")?;
            Ok(find.exists(params![digest.as_ref()])?)
        })
    }

    /// All that was written is signed.
    ///
    /// # Errors
    /// The database failed.
    pub fn forget_words(&self) -> Result<(), StateError> {
        self.write(|transaction| Ok(transaction.execute("DELETE FROM own_words", []).map(drop)?))
    }

    /// From which record on those of erasures were not proved the last time.
    ///
    /// # Errors
    /// The database failed.
    pub fn unproved_from(&self) -> Result<Option<u64>, StateError> {
        self.read(|connection| {
            let from: Option<Option<i64>> = connection
                .query_row("SELECT unproved_from FROM meta", [], |row| row.get(0))
                .optional()?;
            Ok(from.flatten().and_then(|from| u64::try_from(from).ok()))
        })
    }

    /// Keeps that; `None`: they are proved.
    ///
    /// # Errors
    /// The database failed.
    pub fn keep_unproved_from(&self, from: Option<u64>) -> Result<(), StateError> {
        let from = from.map(|from| i64::try_from(from).unwrap_or(i64::MAX));
        self.write(|transaction| {
            transaction.execute("UPDATE meta SET unproved_from = ?1", params![from])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::test_store;

    #[test]
    fn words_are_known_to_the_letter_until_they_are_signed() {
        let store = test_store();
        store.remember_words(b"{\"id\":\"e\"}").unwrap();
        store.remember_words(b"{\"id\":\"e\"}").unwrap();
        assert!(store.knows_words(b"{\"id\":\"e\"}").unwrap());
        for other in [&b"{\"id\":\"f\"}"[..], b"{\"id\":\"e\"} ", b""] {
            assert!(!store.knows_words(other).unwrap());
        }
        store.forget_words().unwrap();
        assert!(!store.knows_words(b"{\"id\":\"e\"}").unwrap());
    }

    #[test]
    fn what_was_not_proved_is_known_until_it_is() {
        let store = test_store();
        assert_eq!(store.unproved_from().unwrap(), None);
        for from in [Some(7), Some(0), None] {
            store.keep_unproved_from(from).unwrap();
            assert_eq!(store.unproved_from().unwrap(), from);
        }
    }
}
