//! Whose traces stand under somebody else's keys: acts of an account with a credential that was handed out to a person.
//!
//! Invariant: what stands here was durable before anything of such an act was sealed. Never swept: the keys may outlive the credential.

use model::subject::SubjectId;
use rusqlite::params;

use crate::{StateError, Store};

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
