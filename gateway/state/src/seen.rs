//! Identifiers that must not come twice (the `jti` of logout tokens).

use model::time::Timestamp;
use rusqlite::params;

use crate::secret::hash;
use crate::{StateError, Store};

impl Store {
    /// Marks an identifier as seen until `expires_at`; false when it was seen before.
    ///
    /// # Errors
    /// [`StateError::Full`] when too many are remembered; only a verified issuer can cause that. The database failed.
    pub fn first_sight(
        &self,
        issuer: &str,
        identifier: &str,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StateError> {
        // Length first: ("a", "bc") and ("ab", "c") are different pairs.
        let id = hash("seen", &format!("{}:{issuer}{identifier}", issuer.len()));
        let limit = self.limits.seen;
        self.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM seen WHERE expires_at < ?1")?
                .execute(params![now.unix_nanos()])?;
            let held: u32 = transaction
                .prepare_cached("SELECT count(*) FROM seen")?
                .query_row([], |row| row.get(0))?;
            if held >= limit {
                return Err(StateError::Full { table: "seen", limit });
            }
            let added = transaction
                .prepare_cached("INSERT OR IGNORE INTO seen (id_hash, expires_at) VALUES (?1, ?2)")?
                .execute(params![id, expires_at.unix_nanos()])?;
            Ok(added == 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::test_store;

    #[test]
    fn an_identifier_is_new_once_until_it_expires() {
        let store = test_store();
        let now = Timestamp::from_unix_seconds(1_000);
        let end = now.plus(Duration::from_secs(60));
        assert!(store.first_sight("issuer", "one", end, now).unwrap());
        assert!(!store.first_sight("issuer", "one", end, now).unwrap());
        assert!(store.first_sight("issuerone", "", end, now).unwrap());
        assert!(
            store
                .first_sight("issuer", "one", end, end.plus(Duration::from_secs(1)))
                .unwrap()
        );
    }
}
