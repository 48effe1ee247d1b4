//! One-time codes of our own authorization endpoint (RFC 6749 §4.1.2): good once, for seconds.

use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use crate::secret::hash;
use crate::session::end;
use crate::{EndReason, Secret, SessionId, StateError, Store};

/// A code that is handed out.
#[derive(Debug)]
pub struct NewCode<'a> {
    /// The session it leads to.
    pub session: &'a SessionId,
    /// What must fit at redemption (challenge, redirect URI, client); kept sealed.
    pub payload: &'a [u8],
    /// When it is too late; at most 60 s by our own rule.
    pub expires_at: Timestamp,
}

/// What became of a code that somebody presented.
#[derive(Debug, PartialEq, Eq)]
pub enum RedeemedCode {
    /// The first presentation. The code is used up, whatever the caller finds next.
    First {
        /// The session it leads to.
        session: SessionId,
        /// As it was stored.
        payload: Vec<u8>,
    },
    /// Presented before: two parties hold it, so the session that came of it ended (RFC 6749 §4.1.2).
    Again {
        /// Which session ended, or had ended.
        session: SessionId,
        /// Whether it ended now.
        ended: bool,
    },
    /// It was there, too long ago.
    Expired,
    /// Never made.
    Unknown,
}

impl Store {
    /// Makes a code.
    ///
    /// # Errors
    /// [`StateError::Full`] when too many are outstanding; the database failed.
    pub fn make_code(&self, new: &NewCode<'_>, now: Timestamp) -> Result<Secret, StateError> {
        let code = Secret::random()?;
        let payload = self.keys.seal("codes", code.reveal(), new.payload)?;
        let limit = self.limits.codes;
        self.write(|transaction| {
            transaction
                .prepare_cached("DELETE FROM codes WHERE expires_at < ?1")?
                .execute(params![now.unix_nanos()])?;
            let held: u32 = transaction
                .prepare_cached("SELECT count(*) FROM codes")?
                .query_row([], |row| row.get(0))?;
            if held >= limit {
                return Err(StateError::Full { table: "codes", limit });
            }
            transaction
                .prepare_cached(
                    "INSERT INTO codes (code_hash, session_id, payload, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
                )?
                .execute(params![
                    hash("code", code.reveal()),
                    new.session.as_str(),
                    payload,
                    now.unix_nanos(),
                    new.expires_at.unix_nanos()
                ])?;
            Ok(())
        })?;
        Ok(code)
    }

    /// Uses a code up. The caller still has to compare what it was made for.
    ///
    /// # Errors
    /// The database failed, or the payload does not open.
    pub fn redeem_code(&self, code: &Secret, now: Timestamp) -> Result<RedeemedCode, StateError> {
        let code_hash = hash("code", code.reveal());
        let found = self.write(|transaction| {
            let row: Option<(String, Vec<u8>, Option<i64>, i64)> = transaction
                .prepare_cached("SELECT session_id, payload, used_at, expires_at FROM codes WHERE code_hash = ?1")?
                .query_row(params![code_hash], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            let Some((session, payload, used_at, expires_at)) = row else {
                return Ok(None);
            };
            let session = SessionId::parse(&session).ok_or(StateError::Row {
                table: "codes",
                what: "session_id",
            })?;
            if used_at.is_some() {
                let ended = end(transaction, &session, EndReason::CodeReused, now)?;
                return Ok(Some(Err(RedeemedCode::Again { session, ended })));
            }
            transaction
                .prepare_cached("UPDATE codes SET used_at = ?2 WHERE code_hash = ?1")?
                .execute(params![code_hash, now.unix_nanos()])?;
            if expires_at <= now.unix_nanos() {
                return Ok(Some(Err(RedeemedCode::Expired)));
            }
            Ok(Some(Ok((session, payload))))
        })?;
        match found {
            None => Ok(RedeemedCode::Unknown),
            Some(Err(other)) => Ok(other),
            Some(Ok((session, payload))) => Ok(RedeemedCode::First {
                session,
                payload: self.keys.open("codes", code.reveal(), &payload)?,
            }),
        }
    }
}
