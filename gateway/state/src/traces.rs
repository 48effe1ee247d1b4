//! Whose traces stand under somebody else's keys: acts of an account with a credential that was handed out to a person.
//!
//! Invariant: what stands here was durable before anything of such an act was sealed. What was sealed before this was kept, or by a run whose state file is lost,
//! is read from the ledger's records at a start ([`Store::through_read`]).
//!
//! Bound: one row for each account and person, however often they act, as long as the account has a key ([`Store::forget_through_without_keys`]). Not by age: keys
//! outlive credentials, and parts outlive both; and not by number: who made the table full could then erase what they did.

use model::subject::SubjectId;
use rusqlite::{Transaction, params};

use crate::{StateError, Store};

/// The person of the user name `origin` acted as the account `subject`, of the user name `user`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ActedThrough {
    /// Whose keys seal it.
    pub subject: SubjectId,
    /// The account's Kubernetes user name.
    pub user: String,
    /// The person's.
    pub origin: String,
}

/// `read` as it stands in the table.
pub(crate) fn keep_read(transaction: &Transaction<'_>, read: i64) -> Result<(), StateError> {
    transaction.execute("UPDATE meta SET through_read = ?1", params![read])?;
    Ok(())
}

impl Store {
    /// Remembers that the person of the user name `origin` acted as the account `subject`, of the user name `user`.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn acts_through(&self, subject: &SubjectId, user: &str, origin: &str) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO acted_through (subject_id, user_name, origin) VALUES (?1, ?2, ?3)",
                )?
                .execute(params![subject.as_str(), user, origin])?;
            Ok(())
        })
    }

    /// As [`Store::acts_through`], several at once, as they stand in the ledger's records up to `read`.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn acted_through_all(&self, all: &[ActedThrough], read: u64) -> Result<(), StateError> {
        self.write(|transaction| {
            let mut add = transaction.prepare_cached(
                "INSERT OR IGNORE INTO acted_through (subject_id, user_name, origin) VALUES (?1, ?2, ?3)",
            )?;
            for ActedThrough { subject, user, origin } in all {
                add.execute(params![subject.as_str(), user, origin])?;
            }
            keep_read(transaction, i64::try_from(read).unwrap_or(i64::MAX))
        })
    }

    /// Up to which of the ledger's records it was read who acted as whom; `None`: all that came before this was kept.
    ///
    /// # Errors
    /// The database failed.
    pub fn through_read(&self) -> Result<Option<u64>, StateError> {
        self.read(|connection| {
            let read: i64 = connection.query_row("SELECT through_read FROM meta", [], |row| row.get(0))?;
            Ok((read < i64::MAX).then(|| u64::try_from(read).unwrap_or(0)))
        })
    }

    /// All was read: what comes is kept before it is recorded.
    ///
    /// # Errors
    /// The database failed.
    pub fn through_is_read(&self) -> Result<(), StateError> {
        self.write(|transaction| keep_read(transaction, i64::MAX))
    }

    /// Forgets who acted as an account that has no key any more: there is nothing of theirs to be erased. To be called where nobody acts yet: whoever acts
    /// relies on it that what was kept once stays.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn forget_through_without_keys(&self) -> Result<usize, StateError> {
        self.write(|transaction| {
            Ok(transaction.execute(
                "DELETE FROM acted_through WHERE subject_id NOT IN (SELECT subject_id FROM part_keys)",
                [],
            )?)
        })
    }

    /// The user names of those who acted as this account.
    ///
    /// # Errors
    /// The database failed.
    pub fn origins_of(&self, subject: &SubjectId) -> Result<Vec<String>, StateError> {
        self.read(|connection| {
            let mut select =
                connection.prepare_cached("SELECT origin FROM acted_through WHERE subject_id = ?1 ORDER BY origin")?;
            let origins = select.query_map(params![subject.as_str()], |row| row.get(0))?;
            Ok(origins.collect::<Result<_, _>>()?)
        })
    }

    /// The accounts as which the person of this user name acted, with their user names.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn acted_through(&self, origin: &str) -> Result<Vec<(SubjectId, String)>, StateError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT subject_id, user_name FROM acted_through WHERE origin = ?1 ORDER BY user_name, subject_id",
            )?;
            let mut rows = select.query(params![origin])?;
            let mut accounts = Vec::new();
            while let Some(row) = rows.next()? {
                let subject = SubjectId::parse(&row.get::<_, String>(0)?).ok_or(StateError::Row {
                    table: "acted_through",
                    what: "subject_id",
                })?;
                accounts.push((subject, row.get(1)?));
            }
            Ok(accounts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::test_store;

    fn through(number: u8, user: &str, origin: &str) -> ActedThrough {
        ActedThrough {
            subject: SubjectId::from_digest([number; 16]),
            user: user.to_owned(),
            origin: origin.to_owned(),
        }
    }

    #[test]
    fn what_is_read_from_records_is_kept_with_how_far_it_was_read() {
        let store = test_store();
        assert_eq!(store.through_read().unwrap(), Some(0));
        let all = [
            through(1, "robot", "alice"),
            through(1, "robot", "alice"),
            through(2, "other", "bob"),
        ];
        store.acted_through_all(&all, 7).unwrap();
        assert_eq!(store.through_read().unwrap(), Some(7));
        assert_eq!(store.origins_of(&all[0].subject).unwrap(), ["alice"]);
        assert_eq!(store.origins_of(&all[2].subject).unwrap(), ["bob"]);
        store.through_is_read().unwrap();
        assert_eq!(store.through_read().unwrap(), None);
    }

    #[test]
    fn who_acted_as_an_account_is_known_as_long_as_the_account_has_a_key() {
        let store = test_store();
        let all = [through(1, "robot", "alice"), through(2, "other", "bob")];
        store.acted_through_all(&all, 7).unwrap();
        let now = model::time::Timestamp::EPOCH;
        store.part_key(all[0].subject.as_str(), "query", now).unwrap();
        assert_eq!(store.forget_through_without_keys().unwrap(), 1);
        assert_eq!(store.origins_of(&all[0].subject).unwrap(), ["alice"]);
        // Also where a key is out of use.
        store.retire_part_keys(None, now).unwrap();
        assert_eq!(store.forget_through_without_keys().unwrap(), 0);
        store.drop_part_key(all[0].subject.as_str(), "query").unwrap();
        assert_eq!(store.forget_through_without_keys().unwrap(), 1);
    }

    #[test]
    fn who_acted_as_an_account_is_known_from_both_sides_and_stands_once() {
        let store = test_store();
        let (robot, other) = (SubjectId::from_digest([1; 16]), SubjectId::from_digest([2; 16]));
        for _ in 0..2 {
            store.acts_through(&robot, "robot", "alice").unwrap();
        }
        store.acts_through(&robot, "robot", "bob").unwrap();
        store.acts_through(&other, "other", "alice").unwrap();
        assert_eq!(store.origins_of(&robot).unwrap(), ["alice", "bob"]);
        assert_eq!(
            store.acted_through("alice").unwrap(),
            [(other, "other".to_owned()), (robot.clone(), "robot".to_owned())]
        );
        assert!(store.acted_through("robot").unwrap().is_empty());
        assert!(store.origins_of(&SubjectId::from_digest([3; 16])).unwrap().is_empty());
    }
}
