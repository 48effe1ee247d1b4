//! Device codes (RFC 8628): a terminal without a browser waits while a person answers in a browser elsewhere.
//!
//! `waiting` → the person typed the code and signed in → `asking` → yes or no → `approved` | `denied`. Each step is taken
//! once; the yes must come from the browser that signed in.

use std::time::Duration;

use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use crate::fair::{Room, make_room};
use crate::secret::{hash, random_user_code};
use crate::{Secret, SessionId, StateError, Store, user_code_form};

/// A device that asks.
#[derive(Debug)]
pub struct NewDevice<'a> {
    /// Where it calls from; bounds are per source and the person sees it.
    pub source: &'a str,
    /// What it says of itself; the person sees it, marked as the device's own words.
    pub asked_by: &'a str,
    /// How long to wait between polls.
    pub interval: Duration,
    /// When it is too late.
    pub expires_at: Timestamp,
}

/// A device that waits, as the person sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Where it called from.
    pub source: String,
    /// What it says of itself.
    pub asked_by: String,
    /// When it asked.
    pub created_at: Timestamp,
    /// When it is too late.
    pub expires_at: Timestamp,
}

/// The answer to a device's poll.
#[derive(Debug, PartialEq, Eq)]
pub enum DevicePoll {
    /// Nobody answered yet.
    Pending,
    /// It asks too often; this is its interval from now on (RFC 8628 §3.5).
    SlowDown(Duration),
    /// Somebody said yes. Given once.
    Approved(SessionId),
    /// Somebody said no.
    Denied,
    /// Too late.
    Expired,
    /// Never made, or its answer was given already.
    Unknown,
}

impl Store {
    /// Makes a device code and the user code that goes with it.
    ///
    /// # Errors
    /// The database failed.
    pub fn begin_device(&self, new: &NewDevice<'_>, now: Timestamp) -> Result<(Secret, String), StateError> {
        let (device, user_code) = (Secret::random()?, random_user_code()?);
        let room = Room {
            table: "devices",
            total: self.limits.devices,
            per_source: self.limits.devices_per_source,
        };
        self.write(|transaction| {
            make_room(transaction, &room, new.source, now)?;
            transaction
                .prepare_cached(
                    "INSERT INTO devices (device_hash, user_hash, source, asked_by, status, interval_s, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, 'waiting', ?5, ?6, ?7)",
                )?
                .execute(params![
                    hash("device", device.reveal()),
                    hash("user code", &user_code),
                    new.source,
                    new.asked_by,
                    i64::try_from(new.interval.as_secs()).unwrap_or(5),
                    now.unix_nanos(),
                    new.expires_at.unix_nanos()
                ])?;
            Ok(())
        })?;
        Ok((device, user_code))
    }

    /// The device that waits for this user code, however it was typed.
    ///
    /// # Errors
    /// The database failed.
    pub fn waiting_device(&self, typed: &str, now: Timestamp) -> Result<Option<Device>, StateError> {
        let Some(user_code) = user_code_form(typed) else {
            return Ok(None);
        };
        self.read(|connection| {
            Ok(connection
                .prepare_cached(
                    "SELECT source, asked_by, created_at, expires_at FROM devices
                     WHERE user_hash = ?1 AND status IN ('waiting', 'asking') AND expires_at > ?2",
                )?
                .query_row(params![hash("user code", &user_code), now.unix_nanos()], |row| {
                    Ok(Device {
                        source: row.get(0)?,
                        asked_by: row.get(1)?,
                        created_at: Timestamp::from_unix_nanos(row.get(2)?),
                        expires_at: Timestamp::from_unix_nanos(row.get(3)?),
                    })
                })
                .optional()?)
        })
    }

    /// A person signed in to answer; `pending` (sealed) is what the session will be made of. A second person who signs
    /// in for the same code takes the question over: nothing was approved yet. False when the device waits no longer.
    ///
    /// # Errors
    /// The database failed.
    pub fn ask_device(
        &self,
        typed: &str,
        browser: &Secret,
        pending: &[u8],
        now: Timestamp,
    ) -> Result<bool, StateError> {
        let Some(user_code) = user_code_form(typed) else {
            return Ok(false);
        };
        let sealed = self.keys.seal("devices", browser.reveal(), pending)?;
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE devices SET status = 'asking', browser_hash = ?2, pending = ?3
                     WHERE user_hash = ?1 AND status IN ('waiting', 'asking') AND expires_at > ?4",
                )?
                .execute(params![
                    hash("user code", &user_code),
                    hash("device answer", browser.reveal()),
                    sealed,
                    now.unix_nanos()
                ])?;
            Ok(changed == 1)
        })
    }

    /// Takes the question of this browser, to answer it: what was `pending`, once. Until [`Store::answer_device`] the
    /// device keeps waiting.
    ///
    /// # Errors
    /// The database failed, or what was kept does not open.
    pub fn take_device_question(
        &self,
        browser: &Secret,
        now: Timestamp,
    ) -> Result<Option<(Device, Vec<u8>)>, StateError> {
        let row: Option<(Device, Vec<u8>)> = self.write(|transaction| {
            let found = transaction
                .prepare_cached(
                    "SELECT source, asked_by, created_at, expires_at, pending FROM devices
                     WHERE browser_hash = ?1 AND status = 'asking' AND pending IS NOT NULL AND expires_at > ?2",
                )?
                .query_row(
                    params![hash("device answer", browser.reveal()), now.unix_nanos()],
                    |row| {
                        let device = Device {
                            source: row.get(0)?,
                            asked_by: row.get(1)?,
                            created_at: Timestamp::from_unix_nanos(row.get(2)?),
                            expires_at: Timestamp::from_unix_nanos(row.get(3)?),
                        };
                        Ok((device, row.get(4)?))
                    },
                )
                .optional()?;
            transaction
                .prepare_cached("UPDATE devices SET pending = NULL WHERE browser_hash = ?1")?
                .execute(params![hash("device answer", browser.reveal())])?;
            Ok(found)
        })?;
        row.map(|(device, sealed)| Ok((device, self.keys.open("devices", browser.reveal(), &sealed)?)))
            .transpose()
    }

    /// The answer: the session, or no. False when the device waits no longer.
    ///
    /// # Errors
    /// The database failed.
    pub fn answer_device(
        &self,
        browser: &Secret,
        session: Option<&SessionId>,
        now: Timestamp,
    ) -> Result<bool, StateError> {
        self.write(|transaction| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE devices SET status = CASE WHEN ?2 IS NULL THEN 'denied' ELSE 'approved' END,
                       session_id = ?2, pending = NULL
                     WHERE browser_hash = ?1 AND status = 'asking' AND expires_at > ?3",
                )?
                .execute(params![
                    hash("device answer", browser.reveal()),
                    session.map(SessionId::as_str),
                    now.unix_nanos()
                ])?;
            Ok(changed == 1)
        })
    }

    /// A device asks whether somebody answered. A final answer is given once.
    ///
    /// # Errors
    /// The database failed or the row is unreadable.
    pub fn poll_device(&self, device: &Secret, now: Timestamp) -> Result<DevicePoll, StateError> {
        let device_hash = hash("device", device.reveal());
        self.write(|transaction| {
            let row = transaction
                .prepare_cached(
                    "SELECT status, session_id, interval_s, polled_at, expires_at FROM devices WHERE device_hash = ?1",
                )?
                .query_row(params![device_hash], Polled::read)
                .optional()?;
            let Some(row) = row else {
                return Ok(DevicePoll::Unknown);
            };
            if let Some(last) = row.last_answer(now)? {
                transaction
                    .prepare_cached("DELETE FROM devices WHERE device_hash = ?1")?
                    .execute(params![device_hash])?;
                return Ok(last);
            }
            let longer = row.longer_interval(now);
            transaction
                .prepare_cached("UPDATE devices SET polled_at = ?2, interval_s = ?3 WHERE device_hash = ?1")?
                .execute(params![device_hash, now.unix_nanos(), longer.unwrap_or(row.interval_s)])?;
            Ok(longer.map_or(DevicePoll::Pending, |seconds| {
                DevicePoll::SlowDown(Duration::from_secs(seconds.unsigned_abs()))
            }))
        })
    }
}

struct Polled {
    status: String,
    session: Option<String>,
    interval_s: i64,
    polled_at: Option<i64>,
    expires_at: i64,
}

impl Polled {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            status: row.get(0)?,
            session: row.get(1)?,
            interval_s: row.get(2)?,
            polled_at: row.get(3)?,
            expires_at: row.get(4)?,
        })
    }

    /// What is final: given once, then the row is gone.
    fn last_answer(&self, now: Timestamp) -> Result<Option<DevicePoll>, StateError> {
        let broken = || StateError::Row {
            table: "devices",
            what: "session_id",
        };
        Ok(match (self.status.as_str(), &self.session) {
            _ if self.expires_at <= now.unix_nanos() => Some(DevicePoll::Expired),
            ("approved", Some(id)) => Some(DevicePoll::Approved(SessionId::parse(id).ok_or_else(broken)?)),
            ("denied", _) => Some(DevicePoll::Denied),
            _ => None,
        })
    }

    /// Five seconds more when the device came too early; at most a minute.
    fn longer_interval(&self, now: Timestamp) -> Option<i64> {
        const TOLERANCE: Duration = Duration::from_millis(500);
        let due = Duration::from_secs(self.interval_s.unsigned_abs()).saturating_sub(TOLERANCE);
        let waited = now.since(Timestamp::from_unix_nanos(self.polled_at?));
        (waited < due).then(|| (self.interval_s + 5).min(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::test_store;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn begin(store: &Store) -> (Secret, String) {
        let new = NewDevice {
            source: "192.0.2.1",
            asked_by: "gatescribe on build-7",
            interval: Duration::from_secs(5),
            expires_at: NOW.plus(Duration::from_secs(600)),
        };
        store.begin_device(&new, NOW).unwrap()
    }

    fn at(seconds: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn a_yes_reaches_the_device_once() {
        let store = test_store();
        let (device, user_code) = begin(&store);
        let browser = Secret::random().unwrap();
        let session = SessionId::of(&browser);
        assert_eq!(store.poll_device(&device, at(0)).unwrap(), DevicePoll::Pending);
        assert!(
            store
                .ask_device(&user_code.to_lowercase(), &browser, b"alice", at(1))
                .unwrap()
        );
        let (shown, pending) = store.take_device_question(&browser, at(2)).unwrap().unwrap();
        assert_eq!(
            (shown.source.as_str(), pending.as_slice()),
            ("192.0.2.1", b"alice".as_slice())
        );
        assert!(
            store.take_device_question(&browser, at(2)).unwrap().is_none(),
            "a question is answered once"
        );
        assert!(store.answer_device(&browser, Some(&session), at(3)).unwrap());
        assert_eq!(
            store.poll_device(&device, at(10)).unwrap(),
            DevicePoll::Approved(session)
        );
        assert_eq!(store.poll_device(&device, at(16)).unwrap(), DevicePoll::Unknown);
    }

    #[test]
    fn a_no_ends_it_and_another_browser_cannot_answer() {
        let store = test_store();
        let (device, user_code) = begin(&store);
        let (browser, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert!(store.ask_device(&user_code, &browser, b"alice", at(1)).unwrap());
        assert!(
            !store
                .answer_device(&other, Some(&SessionId::of(&other)), at(1))
                .unwrap()
        );
        assert!(store.answer_device(&browser, None, at(2)).unwrap());
        assert_eq!(store.poll_device(&device, at(5)).unwrap(), DevicePoll::Denied);
    }

    #[test]
    fn polling_too_often_lengthens_the_interval() {
        let store = test_store();
        let (device, _) = begin(&store);
        assert_eq!(store.poll_device(&device, at(0)).unwrap(), DevicePoll::Pending);
        assert_eq!(
            store.poll_device(&device, at(1)).unwrap(),
            DevicePoll::SlowDown(Duration::from_secs(10))
        );
        assert_eq!(store.poll_device(&device, at(11)).unwrap(), DevicePoll::Pending);
    }

    #[test]
    fn an_expired_code_is_no_longer_asked_about() {
        let store = test_store();
        let (device, user_code) = begin(&store);
        assert!(store.waiting_device(&user_code, at(599)).unwrap().is_some());
        assert!(store.waiting_device(&user_code, at(600)).unwrap().is_none());
        assert!(
            !store
                .ask_device(&user_code, &Secret::random().unwrap(), b"", at(600))
                .unwrap()
        );
        assert_eq!(store.poll_device(&device, at(600)).unwrap(), DevicePoll::Expired);
    }
}
