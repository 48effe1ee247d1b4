//! Locks: who is locked out, since when, by whom and why.
//!
//! A lock ends what is open and refuses new sessions in the same transaction. What is refused besides, raw tokens and
//! certificates among it, is up to whoever reads [`Store::locks`]; see [`model::lock`] for whom a lock counts.

use std::collections::HashSet;

use model::lock::Lock;
use model::subject::{SubjectId, SubjectKind};
use model::time::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use crate::revocation::{Revoked, raise};
use crate::session::{EndReason, end_all};
use crate::{Identity, SessionId, StateError, Store};

/// Newest sessions that are looked at for a name.
const MOST_NAMED: u32 = 1_000;

/// What became of a lock.
#[derive(Debug, PartialEq, Eq)]
pub enum Locking {
    /// It is in force; these sessions ended.
    Done(Vec<SessionId>),
    /// The subject is locked for longer already, and stays so.
    Longer(Box<Lock>),
}

impl Store {
    /// Ends all sessions of a subject that began before `lock.until`, and refuses new ones until then: a time in the past ends
    /// what is open, [`Timestamp::MAX`] locks out until [`Store::unlock`]. A lock on a person reaches every session of that
    /// user name. It takes the place of one on the same subject that ends no later.
    ///
    /// # Errors
    /// The database failed, or there are too many locks: nothing changed.
    pub fn lock(&self, lock: &Lock) -> Result<Locking, StateError> {
        let most = self.limits.locks;
        self.write(|transaction| {
            if let Some(longer) = one(transaction, &lock.subject)?.filter(|known| known.until > lock.until) {
                return Ok(Locking::Longer(Box::new(longer)));
            }
            has_room(transaction, &lock.subject, most)?;
            put(transaction, lock)?;
            raise(
                transaction,
                &Revoked::Subject(lock.subject.clone(), lock.until),
                &lock.why,
                lock.at,
            )?;
            let name = lock.is_by_name().then_some(lock.user.as_str());
            let ids = transaction
                .prepare_cached(
                    "SELECT id FROM sessions WHERE (subject_id = ?1 OR json_extract(identity, '$.username') = ?3)
                       AND created_at < ?2 AND revoked_at IS NULL",
                )?
                .query_map(params![lock.subject.as_str(), lock.until.unix_nanos(), name], |row| {
                    row.get::<_, String>(0)
                })?
                .collect::<Result<Vec<_>, _>>()?;
            end_all(transaction, &ids, EndReason::Locked, lock.at).map(Locking::Done)
        })
    }

    /// Lets a subject in again. Sessions that ended stay ended. False when there was no lock. Counts as a change for whoever
    /// watches the revision.
    ///
    /// # Errors
    /// The database failed.
    pub fn unlock(&self, subject: &SubjectId) -> Result<bool, StateError> {
        self.write(|transaction| {
            let removed = transaction
                .prepare_cached("DELETE FROM locks WHERE subject_id = ?1")?
                .execute(params![subject.as_str()])?;
            transaction
                .prepare_cached("UPDATE meta SET revision = revision + 1")?
                .execute([])?;
            Ok(removed == 1)
        })
    }

    /// The locks in force, newest first.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn locks(&self, now: Timestamp) -> Result<Vec<Lock>, StateError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare_cached(&format!("{SELECT} WHERE before > ?1 ORDER BY at DESC, subject_id"))?;
            let mut rows = statement.query(params![now.unix_nanos()])?;
            let mut locks = Vec::new();
            while let Some(row) = rows.next()? {
                locks.push(read(row)?);
            }
            Ok(locks)
        })
    }

    /// Whoever has, or had lately, a session under this user name, e-mail address (upper and lower case are the same) or
    /// subject id; newest first, each subject and user name once.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn people(&self, who: &str) -> Result<Vec<(SubjectId, Identity)>, StateError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT subject_id, identity FROM sessions WHERE subject_id = ?1
                   OR json_extract(identity, '$.username') = ?1 OR lower(json_extract(identity, '$.email')) = lower(?1)
                 ORDER BY created_at DESC LIMIT ?2",
            )?;
            let mut rows = statement.query(params![who, MOST_NAMED])?;
            let (mut seen, mut people) = (HashSet::new(), Vec::new());
            while let Some(row) = rows.next()? {
                let id = SubjectId::parse(&row.get::<_, String>(0)?).ok_or_else(|| broken("subject_id"))?;
                let identity: Identity =
                    serde_json::from_str(&row.get::<_, String>(1)?).map_err(|_| broken("identity"))?;
                if seen.insert((id.clone(), identity.username.clone())) {
                    people.push((id, identity));
                }
            }
            Ok(people)
        })
    }
}

const SELECT: &str = "SELECT subject_id, before, why, kind, user_name, email, by_user, at FROM locks";

fn one(connection: &Connection, subject: &SubjectId) -> Result<Option<Lock>, StateError> {
    let mut statement = connection.prepare_cached(&format!("{SELECT} WHERE subject_id = ?1"))?;
    let mut rows = statement.query(params![subject.as_str()])?;
    rows.next()?.map(read).transpose()
}

fn has_room(transaction: &Transaction<'_>, subject: &SubjectId, most: u32) -> Result<(), StateError> {
    let there: u32 = transaction
        .prepare_cached("SELECT count(*) FROM locks WHERE subject_id != ?1")?
        .query_row(params![subject.as_str()], |row| row.get(0))?;
    if there < most {
        Ok(())
    } else {
        Err(StateError::Full {
            table: "locks",
            limit: most,
        })
    }
}

fn put(transaction: &Transaction<'_>, lock: &Lock) -> Result<(), StateError> {
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO locks (subject_id, before, why, kind, user_name, email, by_user, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            lock.subject.as_str(),
            lock.until.unix_nanos(),
            lock.why,
            name_of(lock.kind),
            lock.user,
            lock.email,
            lock.by,
            lock.at.unix_nanos()
        ])?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<Lock, StateError> {
    Ok(Lock {
        subject: SubjectId::parse(&row.get::<_, String>(0)?).ok_or_else(|| broken("subject_id"))?,
        until: Timestamp::from_unix_nanos(row.get(1)?),
        why: row.get(2)?,
        kind: kind_of(&row.get::<_, String>(3)?).ok_or_else(|| broken("kind"))?,
        user: row.get(4)?,
        email: row.get(5)?,
        by: row.get(6)?,
        at: Timestamp::from_unix_nanos(row.get(7)?),
    })
}

/// The reason of the lock that refuses a new session of this person, and until when.
pub(crate) fn refuses(
    transaction: &Transaction<'_>,
    subject: &SubjectId,
    username: &str,
    now: Timestamp,
) -> Result<Option<String>, StateError> {
    let found: Option<(String, i64)> = transaction
        .prepare_cached(
            "SELECT why, before FROM locks WHERE before > ?3 AND (subject_id = ?1 OR (kind = 'person' AND user_name = ?2))
             ORDER BY before DESC LIMIT 1",
        )?
        .query_row(params![subject.as_str(), username, now.unix_nanos()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(found.map(|(why, until)| match Timestamp::from_unix_nanos(until) {
        Timestamp::MAX => why,
        until => format!("{why} (until {until})"),
    }))
}

const fn name_of(kind: SubjectKind) -> &'static str {
    match kind {
        SubjectKind::Person => "person",
        SubjectKind::ServiceAccount => "serviceAccount",
        SubjectKind::Workload => "workload",
        SubjectKind::Public => "public",
    }
}

fn kind_of(name: &str) -> Option<SubjectKind> {
    [
        SubjectKind::Person,
        SubjectKind::ServiceAccount,
        SubjectKind::Workload,
        SubjectKind::Public,
    ]
    .into_iter()
    .find(|kind| name_of(*kind) == name)
}

const fn broken(what: &'static str) -> StateError {
    StateError::Row { table: "locks", what }
}
