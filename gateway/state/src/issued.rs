//! Who holds credentials that were issued through the gate, so that a start need not read the whole ledger for it.
//!
//! The ledger is the truth; this is what was read from it so far. Invariant: rows and the number of records read are
//! written in one transaction.

use model::time::Timestamp;
use rusqlite::params;

use crate::{StateError, Store};

/// A credential that was handed out through the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCredential {
    /// The credential's id, as Kubernetes writes it (`JTI=…`, `X509SHA256=…`). No secret.
    pub id: String,
    /// The person behind it.
    pub origin: String,
    /// Its end, in Unix seconds.
    pub until: i64,
}

impl Store {
    /// The credentials that have not ended, and how many of the ledger's records they were read from.
    ///
    /// # Errors
    /// The database failed.
    pub fn issued(&self, now: Timestamp) -> Result<(Vec<IssuedCredential>, u64), StateError> {
        self.read(|connection| {
            let records: i64 = connection.query_row("SELECT records FROM issued_read", [], |row| row.get(0))?;
            let mut find = connection.prepare_cached("SELECT id, origin, until FROM issued WHERE until > ?1")?;
            let rows = find.query_map(params![now.unix_seconds()], |row| {
                Ok(IssuedCredential {
                    id: row.get(0)?,
                    origin: row.get(1)?,
                    until: row.get(2)?,
                })
            })?;
            let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
            Ok((rows, u64::try_from(records).unwrap_or(0)))
        })
    }

    /// Adds credentials, of which the first holder stays, and says how many of the ledger's records have been read. At most
    /// `most` are kept: what has ended goes, then what ends first.
    ///
    /// # Errors
    /// The database failed; nothing was written.
    pub fn keep_issued(
        &self,
        new: &[IssuedCredential],
        records: u64,
        most: usize,
        now: Timestamp,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut add =
                transaction.prepare_cached("INSERT OR IGNORE INTO issued (id, origin, until) VALUES (?1, ?2, ?3)")?;
            for credential in new {
                add.execute(params![credential.id, credential.origin, credential.until])?;
            }
            transaction
                .prepare_cached("DELETE FROM issued WHERE until <= ?1")?
                .execute(params![now.unix_seconds()])?;
            transaction
                .prepare_cached(
                    "DELETE FROM issued WHERE id IN (SELECT id FROM issued ORDER BY until DESC LIMIT -1 OFFSET ?1)",
                )?
                .execute(params![i64::try_from(most).unwrap_or(i64::MAX)])?;
            transaction
                .prepare_cached("UPDATE issued_read SET records = ?1")?
                .execute(params![i64::try_from(records).unwrap_or(i64::MAX)])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::test_store;

    fn credential(id: &str, origin: &str, until: i64) -> IssuedCredential {
        IssuedCredential {
            id: id.to_owned(),
            origin: origin.to_owned(),
            until,
        }
    }

    #[test]
    fn the_first_holder_stays_until_the_credential_ends() {
        let (store, now) = (test_store(), Timestamp::from_unix_seconds(10));
        assert_eq!(store.issued(now).unwrap(), (vec![], 0));
        let alice = credential("JTI=a", "alice", 100);
        store.keep_issued(std::slice::from_ref(&alice), 5, 9, now).unwrap();
        store
            .keep_issued(&[credential("JTI=a", "bob", 200)], 7, 9, now)
            .unwrap();
        assert_eq!(store.issued(now).unwrap(), (vec![alice], 7));
        let later = Timestamp::from_unix_seconds(100);
        assert_eq!(store.issued(later).unwrap().0, []);
    }

    #[test]
    fn a_full_table_keeps_what_ends_last() {
        let (store, now) = (test_store(), Timestamp::from_unix_seconds(10));
        let all: Vec<_> = (1..=9).map(|n| credential(&format!("JTI={n}"), "a", n * 10)).collect();
        store.keep_issued(&all, 1, 3, now).unwrap();
        let mut kept: Vec<_> = store.issued(now).unwrap().0.iter().map(|row| row.until).collect();
        kept.sort_unstable();
        assert_eq!(kept, [70, 80, 90]);
    }
}
