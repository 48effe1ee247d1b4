//! Sign-ins under way: made when the browser leaves for the provider, taken once when it comes back.

use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, params};

use crate::fair::{Room, make_room};
use crate::secret::hash;
use crate::{Secret, StateError, Store};

/// A sign-in that begins.
#[derive(Debug)]
pub struct NewAttempt<'a> {
    /// The `state` parameter: 256 random bits.
    pub state: &'a Secret,
    /// What the browser holds in a cookie; the answer must come from the same browser.
    pub browser: &'a Secret,
    /// Where the browser calls from; bounds are per source.
    pub source: &'a str,
    /// What the caller needs to go on (nonce, verifier, purpose); kept sealed.
    pub payload: &'a [u8],
    /// When it is too late.
    pub expires_at: Timestamp,
}

/// What became of an attempt that somebody presented. Whatever it is, the attempt is gone afterwards.
#[derive(Debug, PartialEq, Eq)]
pub enum TakenAttempt {
    /// The payload; handed out once.
    Found(Vec<u8>),
    /// It exists, but belongs to another browser. The payload, so that this one can be told where to begin anew; it proves nothing.
    OtherBrowser(Vec<u8>),
    /// It was there, too long ago.
    Expired,
    /// Never made, used already, or pushed out by newer ones of the same source.
    Unknown,
}

impl Store {
    /// Remembers a sign-in that begins. A source over its share loses its own oldest attempt.
    ///
    /// # Errors
    /// The database failed.
    pub fn begin_attempt(&self, new: &NewAttempt<'_>, now: Timestamp) -> Result<(), StateError> {
        let state = hash("state", new.state.reveal());
        let payload = self.keys.seal("attempts", new.state.reveal(), new.payload)?;
        let room = Room {
            table: "attempts",
            total: self.limits.attempts,
            per_source: self.limits.attempts_per_source,
        };
        self.write(|transaction| {
            make_room(transaction, &room, new.source, now)?;
            transaction
                .prepare_cached(
                    "INSERT INTO attempts (state_hash, browser_hash, source, payload, created_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )?
                .execute(params![
                    state,
                    hash("browser", new.browser.reveal()),
                    new.source,
                    payload,
                    now.unix_nanos(),
                    new.expires_at.unix_nanos()
                ])?;
            Ok(())
        })
    }

    /// Takes the attempt of this `state`, whoever asks: a second presentation finds nothing (security OIDC-13).
    ///
    /// # Errors
    /// The database failed, or the payload does not open.
    pub fn take_attempt(
        &self,
        state: &Secret,
        browser: Option<&Secret>,
        now: Timestamp,
    ) -> Result<TakenAttempt, StateError> {
        let row: Option<(Vec<u8>, Vec<u8>, i64)> = self.write(|transaction| {
            Ok(transaction
                .prepare_cached(
                    "DELETE FROM attempts WHERE state_hash = ?1 RETURNING browser_hash, payload, expires_at",
                )?
                .query_row(params![hash("state", state.reveal())], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })
                .optional()?)
        })?;
        let Some((browser_hash, payload, expires_at)) = row else {
            return Ok(TakenAttempt::Unknown);
        };
        let is_its_own = browser.map(|browser| hash("browser", browser.reveal())) == Some(browser_hash);
        if expires_at <= now.unix_nanos() {
            return Ok(TakenAttempt::Expired);
        }
        let payload = self.keys.open("attempts", state.reveal(), &payload)?;
        Ok(if is_its_own {
            TakenAttempt::Found(payload)
        } else {
            TakenAttempt::OtherBrowser(payload)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::tests::{test_keys, test_store};
    use crate::{Limits, Store};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    fn begin(store: &Store, source: &str, at: u64) -> (Secret, Secret) {
        let (state, browser) = (Secret::random().unwrap(), Secret::random().unwrap());
        let now = NOW.plus(Duration::from_secs(at));
        let new = NewAttempt {
            state: &state,
            browser: &browser,
            source,
            payload: b"verifier",
            expires_at: now.plus(Duration::from_secs(600)),
        };
        store.begin_attempt(&new, now).unwrap();
        (state, browser)
    }

    #[test]
    fn an_attempt_is_found_once_by_its_own_browser() {
        let store = test_store();
        let (state, browser) = begin(&store, "a", 0);
        let take = || store.take_attempt(&state, Some(&browser), NOW).unwrap();
        assert_eq!(take(), TakenAttempt::Found(b"verifier".to_vec()));
        assert_eq!(take(), TakenAttempt::Unknown);
    }

    #[test]
    fn another_browser_burns_the_attempt_and_gets_nothing() {
        let store = test_store();
        let (state, browser) = begin(&store, "a", 0);
        let (_, other) = begin(&store, "b", 0);
        assert_eq!(
            store.take_attempt(&state, Some(&other), NOW).unwrap(),
            TakenAttempt::OtherBrowser(b"verifier".to_vec())
        );
        assert_eq!(
            store.take_attempt(&state, Some(&browser), NOW).unwrap(),
            TakenAttempt::Unknown
        );
        let (state, _) = begin(&store, "a", 0);
        assert_eq!(
            store.take_attempt(&state, None, NOW).unwrap(),
            TakenAttempt::OtherBrowser(b"verifier".to_vec())
        );
    }

    #[test]
    fn an_attempt_that_took_too_long_is_expired() {
        let store = test_store();
        let (state, browser) = begin(&store, "a", 0);
        let late = NOW.plus(Duration::from_secs(600));
        assert_eq!(
            store.take_attempt(&state, Some(&browser), late).unwrap(),
            TakenAttempt::Expired
        );
    }

    #[test]
    fn a_flood_from_one_source_pushes_out_only_its_own_attempts() {
        let limits = Limits {
            attempts: 20,
            attempts_per_source: 15,
            ..Limits::default()
        };
        let store = Store::in_memory(test_keys(), limits).unwrap();
        let honest: Vec<_> = (0..4).map(|at| begin(&store, "honest", at)).collect();
        for at in 0..100 {
            begin(&store, "flood", at);
        }
        // A second flood fills the table: the greediest source gives way, still not the honest one.
        for at in 0..100 {
            begin(&store, "flood two", at);
        }
        for (state, browser) in &honest {
            let taken = store
                .take_attempt(state, Some(browser), NOW.plus(Duration::from_secs(100)))
                .unwrap();
            assert_eq!(taken, TakenAttempt::Found(b"verifier".to_vec()));
        }
        let rows: u32 = store
            .read(|c| Ok(c.query_row("SELECT count(*) FROM attempts", [], |r| r.get(0))?))
            .unwrap();
        assert!(rows <= 20, "{rows}");
    }
}
