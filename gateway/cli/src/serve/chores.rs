//! What goes on beside requests: ends of sessions reach long calls, the store is swept, counts become records. Each chore
//! ends when the gateway stops.

use std::sync::Arc;
use std::time::Duration;

use console::api::LocksInForce as _;
use model::ask::{SessionAnswer, SessionQuestion};
use proxy::audit::Station;
use proxy::clock::Clock;
use proxy::session::Registry;
use state::{Revoked, SessionId, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::locks::LockBook;
use super::sessions::look_up;

/// How often counts of what was limited become records.
const SUMMARIES_EVERY: Duration = Duration::from_secs(10);
/// How often the store forgets what is past its time.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How often it is looked whether people with something open have to be asked about.
const RECHECKS_EVERY: Duration = Duration::from_secs(60);
/// Ends of access that are read at once.
const PAGE: u32 = 500;
/// After the store failed it is asked again so much later.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Writes the counts of what was limited.
pub(super) async fn summaries(audit: Arc<Station>, stop: CancellationToken) {
    let mut beat = tokio::time::interval(SUMMARIES_EVERY);
    loop {
        tokio::select! {
            _ = beat.tick() => audit.write_summaries(),
            () = stop.cancelled() => return,
        }
    }
}

/// Removes what is past its time from the store, at once and then every minute.
pub(super) async fn sweeps(store: Arc<Store>, clock: Clock, stop: CancellationToken) {
    let mut beat = tokio::time::interval(SWEEP_EVERY);
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let (store, now) = (Arc::clone(&store), clock.read().wall);
        match tokio::task::spawn_blocking(move || store.sweep(now)).await {
            Ok(Ok(swept)) => tracing::debug!(
                sessions = swept.sessions,
                short_lived = swept.short_lived,
                revocations = swept.revocations,
                "the store was swept"
            ),
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the store could not be swept; it is tried again in a minute")
            }
            Err(error) => tracing::error!(error = %error, "the sweep of the store broke"),
        }
    }
}

/// Has the provider asked about people who have something open and do not renew: before a shell that is never left, nobody else
/// would. Each sign-in is looked at once a minute, or as often as the provider is asked at all.
pub(super) async fn rechecks(
    renewals: console::Renewals,
    calls: Arc<Registry>,
    recheck: Duration,
    stop: CancellationToken,
) {
    let mut beat = tokio::time::interval(recheck.min(RECHECKS_EVERY));
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = beat.tick() => {}
            () = stop.cancelled() => return,
        }
        let open = calls.sign_ins();
        let open = open.iter().filter_map(|id| SessionId::parse(id)).collect();
        tokio::select! {
            () = renewals.of(open) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Ends the long calls of whoever loses access, as soon as the store says so.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) store: Arc<Store>,
    pub(super) calls: Arc<Registry>,
    pub(super) locks: Arc<LockBook>,
    pub(super) clock: Clock,
}

impl Ends {
    /// `revisions` tells of each change, `from` is the revision before the first request.
    pub(super) async fn follow(self, mut revisions: watch::Receiver<u64>, mut from: u64, stop: CancellationToken) {
        loop {
            match self.once(from).await {
                // There may be another page.
                Ok(reached) => {
                    if std::mem::replace(&mut from, reached) != reached {
                        continue;
                    }
                }
                Err(why) => {
                    tracing::error!(
                        error = why,
                        "ends of access cannot be read; long calls of whoever lost it go on until they can"
                    );
                    tokio::select! {
                        () = tokio::time::sleep(AGAIN_AFTER) => continue,
                        () = stop.cancelled() => return,
                    }
                }
            }
            tokio::select! {
                changed = revisions.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// Locks come first: a lock ends sessions, too, and of the two reasons the person reads the one of the lock.
    async fn once(&self, from: u64) -> Result<u64, String> {
        let locks = Arc::clone(&self.locks);
        let refreshed = tokio::task::spawn_blocking(move || locks.refresh().map_err(|error| error.to_string()));
        refreshed.await.map_err(|error| error.to_string())??;
        let (ended, reached) = read_ends(&self.store, from, &self.clock).await?;
        for (session, told) in ended {
            let now = self.clock.read().wall;
            match told {
                Told::Ended(why) => self.calls.end_sign_in(&session, &why, now),
                Told::Changed => self.calls.sign_in_changed(&session, now),
            };
        }
        Ok(reached)
    }
}

/// What is told of a session.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It has ended, for this reason.
    Ended(String),
    /// It goes on, and its person is another to Kubernetes.
    Changed,
}

/// What was told of sessions after `from`, and the revision that was reached. Everything that ends a person's sessions ends each of
/// them by name, too.
async fn read_ends(store: &Arc<Store>, from: u64, clock: &Clock) -> Result<(Vec<(String, Told)>, u64), String> {
    let (store, now) = (Arc::clone(store), clock.read().wall);
    let read = move || {
        let revoked = store.revocations_since(from, PAGE).map_err(|error| error.to_string())?;
        let reached = revoked.last().map_or(from, |last| last.revision);
        let ended = revoked.into_iter().filter_map(|revocation| {
            let Revoked::Session(id) = revocation.revoked else {
                return None;
            };
            let question = SessionQuestion {
                session: id.as_str().into(),
                after: revocation.revision,
            };
            let ended = |why| Told::Ended(format!("the sign-in has ended: {why}"));
            let told = match look_up(&store, &question, now) {
                SessionAnswer::Ended { why } => ended(why),
                // Whoever has something open looks it up, and waits if that cannot be done.
                _ if revocation.why == state::IDENTITY_CHANGED => Told::Changed,
                SessionAnswer::Unknown { why } => ended(why),
                SessionAnswer::Live { .. } => ended(revocation.why),
            };
            Some((id.as_str().to_owned(), told))
        });
        Ok((ended.collect(), reached))
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| error.to_string())?
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use model::subject::SubjectId;
    use model::time::Timestamp;
    use proxy::session::LongCallMetrics;
    use state::{
        ClientKind, EndReason, Identity, Limits, NewSession, ProviderTokens, SealingKey, SealingKeys, SessionSecrets,
    };

    use super::*;

    fn store() -> Arc<Store> {
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        Arc::new(Store::in_memory(keys, Limits::default()).unwrap())
    }

    fn begin(store: &Store, now: Timestamp) -> SessionId {
        let hour = Duration::from_secs(3_600);
        let new = NewSession {
            subject_id: SubjectId::from_digest([1; 16]),
            provider: "corp".to_owned(),
            provider_sid: None,
            identity: Identity {
                issuer: "https://idp".to_owned(),
                subject: "al".to_owned(),
                username: "al".to_owned(),
                uid: None,
                groups: Vec::new(),
                extra: std::collections::BTreeMap::new(),
                email: None,
            },
            client: ClientKind::Cli,
            source: "127.0.0.1".to_owned(),
            auth_time: None,
            acr: None,
            tokens: ProviderTokens {
                refresh: None,
                id_token: None,
                claims: String::new(),
                nonce: String::new(),
            },
            first_use: hour,
            idle: hour,
            absolute: hour,
        };
        match store.begin_session(&new, now).unwrap() {
            SessionSecrets::Begun { session, .. } => session.id,
            SessionSecrets::Locked { why } => panic!("{why}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_swept_every_minute_by_the_given_clock_until_the_gateway_stops() {
        let store = store();
        let day = Duration::from_secs(86_400);
        let start = Timestamp::from_unix_seconds(1_000_000);
        let (clock, hand) = Clock::manual(start.unix_nanos());
        let id = begin(&store, start);
        let stop = CancellationToken::new();
        let chore = tokio::spawn(sweeps(Arc::clone(&store), clock, stop.clone()));
        tokio::time::sleep(SWEEP_EVERY * 3).await;
        assert!(store.session(&id, start).unwrap().is_some(), "it is not past its time");
        hand.store(start.plus(day * 2).unix_nanos(), Ordering::Relaxed);
        tokio::time::sleep(SWEEP_EVERY * 2).await;
        assert!(store.session(&id, start).unwrap().is_none(), "it was swept");
        stop.cancel();
        chore.await.unwrap();
    }

    #[tokio::test]
    async fn every_end_of_a_session_is_read_once_with_its_reason_in_words() {
        let store = store();
        let now = Timestamp::from_unix_seconds(1_000_000);
        let (clock, _) = Clock::manual(now.unix_nanos());
        let (first, second) = (begin(&store, now), begin(&store, now));
        assert_eq!(read_ends(&store, 0, &clock).await.unwrap(), (vec![], 0));
        store.end_session(&first, EndReason::SignedOut, now).unwrap();
        let (ended, reached) = read_ends(&store, 0, &clock).await.unwrap();
        assert_eq!(
            ended,
            [(
                first.as_str().to_owned(),
                Told::Ended("the sign-in has ended: you signed out".to_owned())
            )]
        );
        let (tokens, version) = store.provider_tokens(&second).unwrap().unwrap();
        let mut identity = store.session(&second, now).unwrap().unwrap().identity;
        identity.groups.push("another".to_owned());
        let is_kept = store.store_provider_tokens(&second, version, &tokens, Some(&identity), now);
        assert!(is_kept.unwrap());
        let (changed, reached) = read_ends(&store, reached, &clock).await.unwrap();
        assert_eq!(changed, [(second.as_str().to_owned(), Told::Changed)]);
        store.end_session(&second, EndReason::Locked, now).unwrap();
        let (ended, _) = read_ends(&store, reached, &clock).await.unwrap();
        assert_eq!(ended.len(), 1);
        assert_eq!(ended[0].0, second.as_str());
        let calls = Registry::new(8, LongCallMetrics::default());
        assert_eq!(calls.end_sign_in(first.as_str(), "x", now), 0, "nothing of it goes on");
    }
}
