//! The rotating handle: what the command line holds instead of provider tokens. Good once; each use gives the next.
//!
//! Form: `gsh1.<session id>.<generation>.<family>.<secret>`. The family is one secret for all handles of a session: it
//! tells a real old handle (reuse: the session ends) from one that somebody made up from a session id read in a record
//! (nothing happens). The server keeps hashes only, and no history.
//!
//! A lost answer. A client that never saw the answer to its exchange asks again with its old handle. That looks exactly
//! like a thief with a copy, so a repetition is honoured only with the same *request key* as the first time (a random
//! value that the client made for this one exchange and that is no part of the handle), within 30 s, and only as long
//! as the new handle was not used. It then gets the same new handle once more. Without a request key there is no grace:
//! two uses of a handle end the session.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{EndReason, Session, Standing, end, find, row::broken, touch};
use crate::secret::{hash, random_bytes};
use crate::{Secret, SessionId, StateError, Store};

/// How long a lost answer may be asked for again.
const REPEAT_WITHIN: Duration = Duration::from_secs(30);

/// One exchange of a handle for the next.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// What the client holds.
    pub handle: &'a Secret,
    /// The client's own random value for this exchange, at least 16 characters; shorter counts as none.
    pub request_key: Option<&'a Secret>,
}

/// What came of it.
#[derive(Debug)]
pub enum Exchanged {
    /// The handle was good; this is the next one. (From [`Store::inspect_handle`]: the handle is good, unchanged.)
    Good {
        /// The session, its idle end moved on.
        session: Box<Session>,
        /// What the client is to hold from now on.
        handle: Secret,
    },
    /// An older handle came back. The session ended with this call.
    Reused(Box<Session>),
    /// The session had ended before.
    Ended(Box<Session>, EndReason),
    /// No such handle.
    Unknown,
}

struct Parsed<'a> {
    id: SessionId,
    generation: i64,
    family: &'a str,
    whole: &'a str,
}

struct Row {
    family_hash: Option<Vec<u8>>,
    generation: i64,
    handle_hash: Option<Vec<u8>>,
    previous_hash: Option<Vec<u8>>,
    rotated_at: Option<i64>,
    rotation_key: Option<Vec<u8>>,
    rotation_reply: Option<Vec<u8>>,
}

enum Verdict {
    Current,
    Repeated(Vec<u8>),
    Reused,
    Unknown,
}

impl Store {
    /// The first handle of a session, once: `None` when it has one already, ended, or is unknown.
    ///
    /// # Errors
    /// The database failed.
    pub fn first_handle(&self, id: &SessionId, now: Timestamp) -> Result<Option<Secret>, StateError> {
        let family = Secret::random()?;
        let handle = make_handle(id, 1, family.reveal())?;
        self.write(|transaction| {
            let given = transaction
                .prepare_cached(
                    "UPDATE sessions SET generation = 1, family_hash = ?2, handle_hash = ?3
                     WHERE id = ?1 AND generation = 0 AND revoked_at IS NULL AND idle_end > ?4",
                )?
                .execute(params![
                    id.as_str(),
                    hash("family", family.reveal()),
                    hash("handle", handle.reveal()),
                    now.unix_nanos()
                ])?;
            if given != 1 {
                return Ok(None);
            }
            touch(transaction, id, now)?;
            Ok(Some(handle))
        })
    }

    /// What [`Store::exchange`] would say, without rotating. For the work between reading and rotating (asking the
    /// provider), so that its failure costs the client nothing. An older handle ends the session here already.
    ///
    /// # Errors
    /// The database failed.
    pub fn inspect_handle(&self, exchange: &Exchange<'_>, now: Timestamp) -> Result<Exchanged, StateError> {
        self.with_handle(exchange, now, |_, session| {
            Ok(Exchanged::Good {
                session: Box::new(session),
                handle: exchange.handle.clone(),
            })
        })
    }

    /// Exchanges a handle for the next one, atomically. The same handle again gets the
    /// same answer only with the same request key, within 30 s; otherwise it ends the session.
    ///
    /// # Errors
    /// The database failed: the old handle is still good.
    pub fn exchange(&self, exchange: &Exchange<'_>, now: Timestamp) -> Result<Exchanged, StateError> {
        self.with_handle(exchange, now, |transaction, session| {
            let handle = self.rotate(transaction, exchange, &session, now)?;
            let session = find(transaction, &session.id, now)?.ok_or_else(|| broken("id"))?;
            Ok(Exchanged::Good {
                session: Box::new(session),
                handle,
            })
        })
    }

    fn with_handle(
        &self,
        exchange: &Exchange<'_>,
        now: Timestamp,
        good: impl FnOnce(&Transaction<'_>, Session) -> Result<Exchanged, StateError>,
    ) -> Result<Exchanged, StateError> {
        let Some(parsed) = parse(exchange.handle.reveal()) else {
            return Ok(Exchanged::Unknown);
        };
        self.write(|transaction| {
            let (Some(row), Some(session)) = (read(transaction, &parsed.id)?, find(transaction, &parsed.id, now)?)
            else {
                return Ok(Exchanged::Unknown);
            };
            let verdict = judge(&row, &parsed, exchange, now);
            match (verdict, session.standing) {
                (Verdict::Unknown, _) => Ok(Exchanged::Unknown),
                (_, Standing::Ended(why)) => Ok(Exchanged::Ended(Box::new(session), why)),
                (Verdict::Current, Standing::Live) => good(transaction, session),
                (Verdict::Repeated(sealed), Standing::Live) => self.repeat(session, &sealed),
                (Verdict::Reused, Standing::Live) => {
                    end(transaction, &parsed.id, EndReason::HandleReused, now)?;
                    Ok(Exchanged::Reused(Box::new(session)))
                }
            }
        })
    }

    fn rotate(
        &self,
        transaction: &Transaction<'_>,
        exchange: &Exchange<'_>,
        session: &Session,
        now: Timestamp,
    ) -> Result<Secret, StateError> {
        let family = parse(exchange.handle.reveal())
            .map(|parsed| parsed.family)
            .unwrap_or_default();
        let next = make_handle(&session.id, session.generation.saturating_add(1), family)?;
        let key = usable_key(exchange);
        let reply = match key {
            Some(_) => Some(
                self.keys
                    .seal("handles", session.id.as_str(), next.reveal().as_bytes())?,
            ),
            None => None,
        };
        transaction
            .prepare_cached(
                "UPDATE sessions SET generation = generation + 1, previous_hash = handle_hash, handle_hash = ?2,
                   rotated_at = ?3, rotation_key = ?4, rotation_reply = ?5 WHERE id = ?1",
            )?
            .execute(params![
                session.id.as_str(),
                hash("handle", next.reveal()),
                now.unix_nanos(),
                key,
                reply
            ])?;
        touch(transaction, &session.id, now)?;
        Ok(next)
    }

    fn repeat(&self, session: Session, sealed: &[u8]) -> Result<Exchanged, StateError> {
        let plain = self.keys.open("handles", session.id.as_str(), sealed)?;
        let text = String::from_utf8(plain).map_err(|_| broken("rotation_reply"))?;
        Ok(Exchanged::Good {
            session: Box::new(session),
            handle: Secret::presented(&text),
        })
    }
}

fn judge(row: &Row, parsed: &Parsed<'_>, exchange: &Exchange<'_>, now: Timestamp) -> Verdict {
    if !same(row.family_hash.as_deref(), &hash("family", parsed.family)) {
        return Verdict::Unknown;
    }
    let presented = hash("handle", parsed.whole);
    if parsed.generation == row.generation && same(row.handle_hash.as_deref(), &presented) {
        return Verdict::Current;
    }
    let repeated = row.generation.checked_sub(1) == Some(parsed.generation)
        && same(row.previous_hash.as_deref(), &presented)
        && usable_key(exchange).is_some_and(|key| same(row.rotation_key.as_deref(), &key))
        && row
            .rotated_at
            .is_some_and(|at| now < Timestamp::from_unix_nanos(at).plus(REPEAT_WITHIN));
    match (&row.rotation_reply, repeated) {
        (Some(reply), true) => Verdict::Repeated(reply.clone()),
        // The family is right, so its holder had a handle of this session: an old one, or a guess from an old one.
        _ => Verdict::Reused,
    }
}

fn usable_key(exchange: &Exchange<'_>) -> Option<Vec<u8>> {
    exchange
        .request_key
        .filter(|key| key.reveal().len() >= 16)
        .map(|key| hash("request key", key.reveal()))
}

fn same(stored: Option<&[u8]>, presented: &[u8]) -> bool {
    stored.is_some_and(|stored| verify_slices_are_equal(stored, presented).is_ok())
}

fn read(transaction: &Transaction<'_>, id: &SessionId) -> Result<Option<Row>, StateError> {
    Ok(transaction
        .prepare_cached(
            "SELECT family_hash, generation, handle_hash, previous_hash, rotated_at, rotation_key, rotation_reply
             FROM sessions WHERE id = ?1",
        )?
        .query_row(params![id.as_str()], |row| {
            Ok(Row {
                family_hash: row.get(0)?,
                generation: row.get(1)?,
                handle_hash: row.get(2)?,
                previous_hash: row.get(3)?,
                rotated_at: row.get(4)?,
                rotation_key: row.get(5)?,
                rotation_reply: row.get(6)?,
            })
        })
        .optional()?)
}

fn make_handle(id: &SessionId, generation: i64, family: &str) -> Result<Secret, StateError> {
    use base64::Engine as _;
    let secret = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(random_bytes::<32>()?);
    Ok(Secret::presented(&format!("gsh1.{id}.{generation}.{family}.{secret}")))
}

fn parse(handle: &str) -> Option<Parsed<'_>> {
    if handle.len() > 256 {
        return None;
    }
    let mut pieces = handle.split('.');
    let (Some("gsh1"), Some(id), Some(generation), Some(family), Some(_), None) = (
        pieces.next(),
        pieces.next(),
        pieces.next(),
        pieces.next(),
        pieces.next(),
        pieces.next(),
    ) else {
        return None;
    };
    Some(Parsed {
        id: SessionId::parse(id)?,
        generation: generation.parse().ok()?,
        family,
        whole: handle,
    })
}
