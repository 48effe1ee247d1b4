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

/// What became of a code with which a browser arrives.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrived {
    /// The first presentation. The code is used up, whatever the caller finds next.
    First {
        /// The session it leads to.
        session: SessionId,
        /// As it was stored.
        payload: Vec<u8>,
    },
    /// Presented before. It gives nothing any more; what it was made for is handed out, so that a browser that asks twice can be told
    /// where it wanted to go.
    Again {
        /// As it was stored.
        payload: Vec<u8>,
    },
    /// It was there, too long ago.
    Expired,
    /// Never made.
    Unknown,
}

/// A code of one kind is unknown as one of the other.
const CLIENT: &str = "code";
const BROWSER: &str = "arrival";

impl Store {
    /// Makes a code.
    ///
    /// # Errors
    /// [`StateError::Full`] when too many are outstanding; the database failed.
    pub fn make_code(&self, new: &NewCode<'_>, now: Timestamp) -> Result<Secret, StateError> {
        self.make(CLIENT, new, now)
    }

    /// Makes a code with which a browser arrives on another host, see [`Store::redeem_arrival`].
    ///
    /// # Errors
    /// As [`Store::make_code`].
    pub fn make_arrival(&self, new: &NewCode<'_>, now: Timestamp) -> Result<Secret, StateError> {
        self.make(BROWSER, new, now)
    }

    fn make(&self, kind: &'static str, new: &NewCode<'_>, now: Timestamp) -> Result<Secret, StateError> {
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
                    hash(kind, code.reveal()),
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
        let code_hash = hash(CLIENT, code.reveal());
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

    /// Uses the code of a browser up. A second presentation ends nothing: what makes the code good is a cookie of the browser, which the
    /// caller compares, so that whoever else has seen the address holds nothing. And honest browsers ask twice: they reload, they send a
    /// GET again when a connection ends under it, and there are programs that fetch each address which a person has visited.
    ///
    /// # Errors
    /// The database failed, or the payload does not open.
    pub fn redeem_arrival(&self, code: &Secret, now: Timestamp) -> Result<Arrived, StateError> {
        let code_hash = hash(BROWSER, code.reveal());
        let found = self.write(|transaction| {
            let row: Option<(String, Vec<u8>, Option<i64>, i64)> = transaction
                .prepare_cached("SELECT session_id, payload, used_at, expires_at FROM codes WHERE code_hash = ?1")?
                .query_row(params![code_hash], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
                })
                .optional()?;
            if matches!(row, Some((_, _, None, _))) {
                transaction
                    .prepare_cached("UPDATE codes SET used_at = ?2 WHERE code_hash = ?1")?
                    .execute(params![code_hash, now.unix_nanos()])?;
            }
            Ok(row)
        })?;
        let Some((session, payload, used_at, expires_at)) = found else {
            return Ok(Arrived::Unknown);
        };
        if expires_at <= now.unix_nanos() {
            return Ok(Arrived::Expired);
        }
        let payload = self.keys.open("codes", code.reveal(), &payload)?;
        if used_at.is_some() {
            return Ok(Arrived::Again { payload });
        }
        let session = SessionId::parse(&session).ok_or(StateError::Row {
            table: "codes",
            what: "session_id",
        })?;
        Ok(Arrived::First { session, payload })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Standing;
    use crate::session::tests::of_browser;
    use crate::store::tests::test_store;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn new<'a>(session: &'a SessionId) -> NewCode<'a> {
        NewCode {
            session,
            payload: b"where",
            expires_at: NOW.plus(Duration::from_secs(60)),
        }
    }

    fn stands(store: &Store, session: &SessionId) -> bool {
        store.session(session, NOW).unwrap().unwrap().standing == Standing::Live
    }

    #[test]
    fn a_browser_arrives_once_with_a_code_and_a_second_time_ends_nothing() {
        let store = test_store();
        let session = of_browser(&store);
        let code = store.make_arrival(&new(&session), NOW).unwrap();
        let arrive = |at: u64| store.redeem_arrival(&code, NOW.plus(Duration::from_secs(at))).unwrap();
        let payload = b"where".to_vec();
        let first = Arrived::First {
            session: session.clone(),
            payload: payload.clone(),
        };
        assert_eq!(arrive(0), first);
        assert_eq!(arrive(0), Arrived::Again { payload });
        assert_eq!(arrive(60), Arrived::Expired);
        assert!(stands(&store, &session));
        assert_eq!(
            store.redeem_arrival(&Secret::presented("x"), NOW).unwrap(),
            Arrived::Unknown
        );
        let late = store.make_arrival(&new(&session), NOW).unwrap();
        let after = NOW.plus(Duration::from_secs(60));
        assert_eq!(store.redeem_arrival(&late, after).unwrap(), Arrived::Expired);
    }

    /// Whoever sees the address of a browser could end its session at the token endpoint, and a code of the command line would be good
    /// without its verifier.
    #[test]
    fn a_code_of_one_kind_is_unknown_as_one_of_the_other() {
        let store = test_store();
        let session = of_browser(&store);
        let (client, browser) = (
            store.make_code(&new(&session), NOW).unwrap(),
            store.make_arrival(&new(&session), NOW).unwrap(),
        );
        for _ in 0..2 {
            assert_eq!(store.redeem_arrival(&client, NOW).unwrap(), Arrived::Unknown);
            assert_eq!(store.redeem_code(&browser, NOW).unwrap(), RedeemedCode::Unknown);
        }
        assert!(stands(&store, &session));
        assert!(matches!(
            store.redeem_code(&client, NOW).unwrap(),
            RedeemedCode::First { .. }
        ));
        assert!(matches!(
            store.redeem_arrival(&browser, NOW).unwrap(),
            Arrived::First { .. }
        ));
    }
}
