//! Ends of access in their order, for whoever must act on them: the request path ends streams and forgets tokens.

use std::time::Duration;

use model::subject::SubjectId;
use model::time::Timestamp;
use rusqlite::{Transaction, params};

use crate::{SessionId, StateError, Store};

/// Longer than any token of ours lives; what is older is read from the session or the lock itself.
const KEEP: Duration = Duration::from_secs(24 * 3600);

/// The reason of an entry for a session that goes on: its person is another to Kubernetes by the provider's word, and may have lost
/// access.
pub const IDENTITY_CHANGED: &str = "identityChanged";

/// What lost access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revoked {
    /// One session.
    Session(SessionId),
    /// All sessions of a person that began before this time.
    Subject(SubjectId, Timestamp),
}

/// One end of access.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its place in the order.
    pub revision: u64,
    /// What lost access.
    pub revoked: Revoked,
    /// The reason: a name of [`crate::EndReason`], [`IDENTITY_CHANGED`], or an operator's words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// The ends of access after a revision, in order, at most `limit`.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn revocations_since(&self, revision: u64, limit: u32) -> Result<Vec<Revocation>, StateError> {
        let after = i64::try_from(revision).unwrap_or(i64::MAX);
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT revision, session_id, subject_id, before, why, at FROM revocations
                 WHERE revision > ?1 ORDER BY revision LIMIT ?2",
            )?;
            let mut rows = statement.query(params![after, limit])?;
            let mut revocations = Vec::new();
            while let Some(row) = rows.next()? {
                revocations.push(Revocation {
                    revision: u64::try_from(row.get::<_, i64>(0)?).map_err(|_| broken("revision"))?,
                    revoked: read_revoked(row.get(1)?, row.get(2)?, row.get(3)?)?,
                    why: row.get(4)?,
                    at: Timestamp::from_unix_nanos(row.get(5)?),
                });
            }
            Ok(revocations)
        })
    }
}

/// Counts one end of access in the transaction that makes it so.
pub(crate) fn raise(
    transaction: &Transaction<'_>,
    revoked: &Revoked,
    why: &str,
    now: Timestamp,
) -> Result<(), StateError> {
    let revision: i64 = transaction
        .prepare_cached("UPDATE meta SET revision = revision + 1 RETURNING revision")?
        .query_row([], |row| row.get(0))?;
    let (session, subject, before) = match revoked {
        Revoked::Session(id) => (Some(id.as_str()), None, None),
        Revoked::Subject(id, before) => (None, Some(id.as_str()), Some(before.unix_nanos())),
    };
    transaction
        .prepare_cached(
            "INSERT INTO revocations (revision, session_id, subject_id, before, why, at, keep_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            revision,
            session,
            subject,
            before,
            why,
            now.unix_nanos(),
            now.plus(KEEP).unix_nanos()
        ])?;
    Ok(())
}

fn read_revoked(session: Option<String>, subject: Option<String>, before: Option<i64>) -> Result<Revoked, StateError> {
    match (session, subject, before) {
        (Some(id), None, None) => SessionId::parse(&id)
            .map(Revoked::Session)
            .ok_or_else(|| broken("session_id")),
        (None, Some(id), Some(before)) => SubjectId::parse(&id)
            .map(|id| Revoked::Subject(id, Timestamp::from_unix_nanos(before)))
            .ok_or_else(|| broken("subject_id")),
        _ => Err(broken("session_id")),
    }
}

const fn broken(what: &'static str) -> StateError {
    StateError::Row {
        table: "revocations",
        what,
    }
}
