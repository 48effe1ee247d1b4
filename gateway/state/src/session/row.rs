//! The columns of a session, in and out.

use model::subject::SubjectId;
use model::time::Timestamp;
use rusqlite::{Row, Transaction, params};

use super::{ClientKind, EndReason, NewSession, Session, Standing};
use crate::{SessionId, StateError};

/// With the lock that may lie over the person, so that each reading sees it.
pub(super) const SELECT: &str = "SELECT s.id, s.subject_id, s.provider, s.provider_sid, s.identity, s.client, s.source,
    s.auth_time, s.acr, s.tokens_version, s.checked_at, s.created_at, s.last_used_at, s.idle_end, s.absolute_end,
    s.generation, s.revoked_why, l.before, s.revoked_at, s.reason, s.reason_until
    FROM sessions s LEFT JOIN locks l ON l.subject_id = s.subject_id";

pub(super) fn read_session(row: &Row<'_>, now: Timestamp) -> Result<Session, StateError> {
    let time = |index: usize| row.get::<_, i64>(index).map(Timestamp::from_unix_nanos);
    let (created_at, idle_end, absolute_end) = (time(11)?, time(13)?, time(14)?);
    let lock: Option<i64> = row.get(17)?;
    let standing = match row.get::<_, Option<i64>>(18)? {
        Some(_) => Standing::Ended(read_reason(row)?),
        None if lock.is_some_and(|before| created_at.unix_nanos() < before) => Standing::Ended(EndReason::Locked),
        None if absolute_end <= now => Standing::Ended(EndReason::TooOld),
        None if idle_end <= now => Standing::Ended(EndReason::Idle),
        None => Standing::Live,
    };
    let (reason, reason_until) = (row.get::<_, Option<String>>(19)?, row.get::<_, Option<i64>>(20)?);
    let stated = reason.zip(reason_until.map(Timestamp::from_unix_nanos));
    Ok(Session {
        id: SessionId::parse(row.get_ref(0)?.as_str().map_err(|_| broken("id"))?).ok_or_else(|| broken("id"))?,
        subject_id: SubjectId::parse(&row.get::<_, String>(1)?).ok_or_else(|| broken("subject_id"))?,
        provider: row.get(2)?,
        provider_sid: row.get(3)?,
        identity: serde_json::from_str(&row.get::<_, String>(4)?).map_err(|_| broken("identity"))?,
        client: read_client(&row.get::<_, String>(5)?)?,
        source: row.get(6)?,
        auth_time: row.get(7)?,
        acr: row.get(8)?,
        tokens_version: row.get(9)?,
        checked_at: time(10)?,
        created_at,
        last_used_at: time(12)?,
        idle_end,
        absolute_end,
        generation: row.get(15)?,
        stated_reason: stated.filter(|(_, until)| *until > now),
        standing,
    })
}

fn read_reason(row: &Row<'_>) -> Result<EndReason, StateError> {
    let name: Option<String> = row.get(16)?;
    name.as_deref()
        .and_then(EndReason::from_name)
        .ok_or_else(|| broken("revoked_why"))
}

fn read_client(name: &str) -> Result<ClientKind, StateError> {
    [ClientKind::Cli, ClientKind::Device, ClientKind::Browser]
        .into_iter()
        .find(|kind| kind.name() == name)
        .ok_or_else(|| broken("client"))
}

impl ClientKind {
    /// The stable name in the database and in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Device => "device",
            Self::Browser => "browser",
        }
    }
}

pub(super) fn insert(
    transaction: &Transaction<'_>,
    id: &SessionId,
    new: &NewSession,
    identity: &str,
    tokens: &[u8],
    now: Timestamp,
) -> Result<(), StateError> {
    let absolute_end = now.plus(new.absolute);
    let idle_end = now.plus(new.first_use).min(absolute_end);
    transaction
        .prepare_cached(
            "INSERT INTO sessions (id, subject_id, issuer, subject, provider, provider_sid, identity, client, source,
               auth_time, acr, tokens, tokens_version, checked_at, created_at, last_used_at, idle_nanos, idle_end,
               absolute_end, generation)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, ?13, ?13, ?13, ?14, ?15, ?16, 0)",
        )?
        .execute(params![
            id.as_str(),
            new.subject_id.as_str(),
            new.identity.issuer,
            new.identity.subject,
            new.provider,
            new.provider_sid,
            identity,
            new.client.name(),
            new.source,
            new.auth_time,
            new.acr,
            tokens,
            now.unix_nanos(),
            i64::try_from(new.idle.as_nanos()).unwrap_or(i64::MAX / 4),
            idle_end.unix_nanos(),
            absolute_end.unix_nanos()
        ])?;
    Ok(())
}

pub(super) const fn broken(what: &'static str) -> StateError {
    StateError::Row {
        table: "sessions",
        what,
    }
}
