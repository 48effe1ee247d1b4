//! Logout tokens (OpenID Connect Back-Channel Logout 1.0): each ends what it names once.
//!
//! Invariant: a token counts as seen in the same transaction in which it ended something. When that fails the provider sends it
//! again, and then it is new.

use model::time::Timestamp;
use rusqlite::{Transaction, params};

use crate::secret::hash;
use crate::session::end_by_issuer;
use crate::{EndReason, SessionId, StateError, Store};

/// What a verified logout token names.
#[derive(Clone, Copy, Debug)]
pub struct Logout<'a> {
    /// The issuer.
    pub issuer: &'a str,
    /// The token's own id (`jti`).
    pub token: &'a str,
    /// Until when the same id may come again.
    pub remember_until: Timestamp,
    /// The issuer's own id of a sign-in (`sid`).
    pub provider_sid: Option<&'a str>,
    /// The subject.
    pub subject: Option<&'a str>,
}

impl Store {
    /// Ends the sessions that a logout token names by the issuer's own session id, by subject, or by both; `None` when the
    /// token was seen before. Answers which ended.
    ///
    /// # Errors
    /// [`StateError::Full`] when too many tokens are remembered; only a verified issuer can cause that. The database failed:
    /// nothing ended, and the token was not seen.
    pub fn end_by_logout(&self, logout: &Logout<'_>, now: Timestamp) -> Result<Option<Vec<SessionId>>, StateError> {
        let limit = self.limits.seen;
        self.write(|transaction| {
            if !first_sight(transaction, logout, limit, now)? {
                return Ok(None);
            }
            let (sid, subject) = (logout.provider_sid, logout.subject);
            end_by_issuer(transaction, logout.issuer, sid, subject, EndReason::ProviderLogout, now).map(Some)
        })
    }
}

/// Marks the token as seen; false when it was seen before.
fn first_sight(
    transaction: &Transaction<'_>,
    logout: &Logout<'_>,
    limit: u32,
    now: Timestamp,
) -> Result<bool, StateError> {
    let (issuer, token) = (logout.issuer, logout.token);
    // Length first: ("a", "bc") and ("ab", "c") are different pairs.
    let id = hash("seen", &format!("{}:{issuer}{token}", issuer.len()));
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
        .execute(params![id, logout.remember_until.unix_nanos()])?;
    Ok(added == 1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::test_store;

    fn logout<'a>(issuer: &'a str, token: &'a str, remember_until: Timestamp) -> Logout<'a> {
        Logout {
            issuer,
            token,
            remember_until,
            provider_sid: Some("s"),
            subject: None,
        }
    }

    #[test]
    fn an_identifier_is_new_once_until_it_expires() {
        let store = test_store();
        let now = Timestamp::from_unix_seconds(1_000);
        let end = now.plus(Duration::from_secs(60));
        let is_new = |issuer, token, now| store.end_by_logout(&logout(issuer, token, end), now).unwrap().is_some();
        assert!(is_new("issuer", "one", now));
        assert!(!is_new("issuer", "one", now));
        assert!(is_new("issuerone", "", now));
        assert!(is_new("issuer", "one", end.plus(Duration::from_secs(1))));
    }

    #[test]
    fn a_token_that_could_end_nothing_is_new_when_it_comes_again() {
        let store = test_store();
        let now = Timestamp::from_unix_seconds(1_000);
        let one = logout("issuer", "one", now.plus(Duration::from_secs(60)));
        let query = |sql: &str| store.write(|transaction| Ok(transaction.execute_batch(sql)?)).unwrap();
        query("ALTER TABLE sessions RENAME TO away");
        assert!(store.end_by_logout(&one, now).is_err());
        query("ALTER TABLE away RENAME TO sessions");
        assert_eq!(store.end_by_logout(&one, now).unwrap(), Some(vec![]));
        assert_eq!(store.end_by_logout(&one, now).unwrap(), None);
    }
}
