//! Keeps the issuers' keys fresh and answers "is there a newer key?" on the way of a token.
//!
//! `oidc::KeyState` says when to fetch; here it is only sent. At most one fetch per issuer is under way, an unknown `kid`
//! fetches at most once per cool-down, and the last good set stays while an issuer is silent (O-12…O-14).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use model::ask::{KeyAnswer, KeyQuestion};
use model::time::Timestamp;
use oidc::gateway::GatewayVerifier;
use oidc::keys::{Fetched, UnknownKey};
use oidc::{Answer, Discovery, Issuer, Issuers, KeyState, Trust};
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// Sends one request to one issuer. Follows no redirect, bounds time and size.
pub type Fetch =
    Arc<dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Bytes>, String>> + Send + Sync>;

/// One issuer and its way.
#[derive(Clone)]
pub struct IssuerSource {
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// How it is asked; issuers may trust different authorities.
    pub fetch: Fetch,
}

impl std::fmt::Debug for IssuerSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuerSource")
            .field("issuer", &self.issuer.url())
            .finish_non_exhaustive()
    }
}

/// The feed of issuer keys.
#[derive(Debug)]
pub struct IssuerFeed {
    trust: watch::Sender<Arc<Trust>>,
    entries: BTreeMap<Arc<str>, Arc<Entry>>,
    fetches: Fetches,
}

#[derive(Debug, Default)]
struct Fetches {
    good: AtomicU64,
    failed: AtomicU64,
}

impl Fetches {
    fn count(&self, worked: bool) {
        let which = if worked { &self.good } else { &self.failed };
        which.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Entry {
    source: IssuerSource,
    state: Mutex<KeyState>,
    done: Notify,
    /// Why the last fetch brought nothing that can be used.
    trouble: Mutex<Option<String>>,
    /// Why nobody is believed any more whom it vouches for.
    disowned: OnceLock<String>,
}

/// How often the background looks whether a fetch is due; the state machine decides.
const BEAT: Duration = Duration::from_secs(1);
/// How long a token waits for the fetch that another one began.
const WAIT: Duration = Duration::from_secs(5);

impl IssuerFeed {
    /// A feed, and the snapshots that come of it. Nothing is fetched before [`IssuerFeed::keep_fresh`].
    #[must_use]
    pub fn new(
        issuers: Arc<Issuers>,
        sources: Vec<IssuerSource>,
        gateway: Arc<GatewayVerifier>,
    ) -> (Arc<Self>, watch::Receiver<Arc<Trust>>) {
        let first = Trust {
            issuers,
            keys: BTreeMap::new(),
            discoveries: BTreeMap::new(),
            gateway,
            generation: 1,
        };
        let (trust, snapshots) = watch::channel(Arc::new(first));
        let entry = |source: IssuerSource| {
            let url: Arc<str> = source.issuer.url().into();
            (
                url,
                Arc::new(Entry {
                    source,
                    state: Mutex::new(KeyState::new()),
                    done: Notify::new(),
                    trouble: Mutex::default(),
                    disowned: OnceLock::new(),
                }),
            )
        };
        (
            Arc::new(Self {
                trust,
                fetches: Fetches::default(),
                entries: sources.into_iter().map(entry).collect(),
            }),
            snapshots,
        )
    }

    /// Why the last fetch of an issuer's keys brought nothing that can be used; `None` when it did, or none has ended yet.
    #[must_use]
    pub fn trouble(&self, issuer: &str) -> Option<String> {
        let entry = self.entries.get(issuer)?;
        if let Some(why) = entry.disowned.get() {
            return Some(why.clone());
        }
        entry.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetches of keys that worked, and that did not, so far.
    #[must_use]
    pub fn fetches(&self) -> (u64, u64) {
        (
            self.fetches.good.load(Ordering::Relaxed),
            self.fetches.failed.load(Ordering::Relaxed),
        )
    }

    /// Believes no token of an issuer any more, whatever it publishes, until the process starts anew. `false`: it was not
    /// believed before either.
    pub fn disown(&self, issuer: &str, why: &str) -> bool {
        let Some(entry) = self.entries.get(issuer) else {
            return false;
        };
        if entry.disowned.set(why.to_owned()).is_err() {
            return false;
        }
        self.trust.send_modify(|trust| {
            let mut next = Trust::clone(trust);
            next.issuers = Arc::new(next.issuers.without(issuer));
            next.keys.remove(issuer);
            next.discoveries.remove(issuer);
            // What was verified under the old one counts no longer.
            next.generation = next.generation.wrapping_add(1);
            *trust = Arc::new(next);
        });
        true
    }

    /// Verifies the gateway's own tokens with this from now on. What was verified before is verified anew.
    pub fn set_gateway(&self, gateway: Arc<GatewayVerifier>) {
        self.trust.send_modify(|trust| {
            let mut next = Trust::clone(trust);
            next.gateway = gateway;
            next.generation = next.generation.wrapping_add(1);
            *trust = Arc::new(next);
        });
    }

    /// Fetches the keys of all issuers now, whenever they are due: somebody knows that one was withdrawn. Within a tokio runtime.
    pub fn fetch_now(self: &Arc<Self>) {
        for entry in self.entries.values() {
            entry.with_state(|state| state.want(now()));
        }
        self.fetch_due();
    }

    fn fetch_due(self: &Arc<Self>) {
        for entry in self.entries.values() {
            if entry.disowned.get().is_none() && entry.with_state(|state| state.due(now())) {
                tokio::spawn(Arc::clone(self).fetch(Arc::clone(entry)));
            }
        }
    }

    /// Fetches what is due, for as long as anybody looks.
    pub async fn keep_fresh(self: Arc<Self>) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => {}
                () = self.trust.closed() => return,
            }
            self.fetch_due();
        }
    }

    /// Answers questions about unknown keys.
    pub async fn answer(self: Arc<Self>, mut asked: mpsc::Receiver<(KeyQuestion, oneshot::Sender<KeyAnswer>)>) {
        while let Some((question, answer)) = asked.recv().await {
            let known = self.entries.get(&question.issuer).cloned();
            let Some(entry) = known.filter(|entry| entry.disowned.get().is_none()) else {
                let _ = answer.send(KeyAnswer::Unknown);
                continue;
            };
            let feed = Arc::clone(&self);
            tokio::spawn(async move {
                // Whoever asked may have gone.
                let _ = answer.send(feed.newer(entry, &question.kid).await);
            });
        }
    }

    async fn newer(self: Arc<Self>, entry: Arc<Entry>, kid: &str) -> KeyAnswer {
        let done = entry.done.notified();
        tokio::pin!(done);
        done.as_mut().enable();
        match entry.with_state(|state| state.on_unknown_kid(kid, now())) {
            UnknownKey::Fetch => self.fetch(Arc::clone(&entry)).await,
            UnknownKey::Wait => {
                // A fetch that never reports is given up by the state machine itself.
                let _ = tokio::time::timeout(WAIT, done).await;
            }
            UnknownKey::Negative => return KeyAnswer::Unknown,
        }
        KeyAnswer::Fetched
    }

    async fn fetch(self: Arc<Self>, entry: Arc<Entry>) {
        let issuer = &entry.source.issuer;
        let discovered = discover(&entry.source).await;
        let response = match &discovered {
            Ok(discovery) => (entry.source.fetch)(discovery.keys_request()).await,
            Err(why) => Err(why.clone()),
        };
        let answer = response.as_ref().ok().map(|response| Answer {
            status: response.status(),
            headers: response.headers(),
            body: response.body(),
        });
        let (fetched, keys) = entry.with_state(|state| (state.fetched(answer.as_ref(), now()), state.keys().cloned()));
        *entry.trouble.lock().unwrap_or_else(PoisonError::into_inner) = match (&fetched, &response) {
            (_, Err(why)) => Some(why.clone()),
            (Fetched::Failed(error), _) => Some(error.to_string()),
            _ => None,
        };
        let worked = response.is_ok() && !matches!(fetched, Fetched::Failed(_));
        self.fetches.count(worked);
        match (&fetched, &response) {
            (_, Err(why)) => tracing::warn!(
                issuer = issuer.url(),
                why,
                "the keys of an issuer cannot be fetched; the last good set stays"
            ),
            (Fetched::Failed(error), _) => {
                tracing::warn!(issuer = issuer.url(), error = %error, "the keys of an issuer cannot be used; the last good set stays")
            }
            (Fetched::Changed { reused_names, .. }, _) if !reused_names.is_empty() => {
                tracing::error!(
                    issuer = issuer.url(),
                    "an issuer published another key under a name that it had used: somebody should look"
                );
            }
            _ => {}
        }
        self.publish(issuer.url(), keys, discovered.ok());
        entry.done.notify_waiters();
    }

    fn publish(&self, issuer: &str, keys: Option<Arc<oidc::KeySet>>, discovery: Option<Discovery>) {
        self.trust.send_if_modified(|trust| {
            // A fetch may have been under way when the issuer was disowned.
            if trust.issuers.find(issuer).is_none() {
                return false;
            }
            let mut next = Trust::clone(trust);
            let mut changed = false;
            if let Some(keys) = keys
                && !next.keys.get(issuer).is_some_and(|known| Arc::ptr_eq(known, &keys))
            {
                next.keys.insert(issuer.into(), keys);
                next.generation = next.generation.wrapping_add(1);
                changed = true;
            }
            if let Some(discovery) = discovery
                && next.discoveries.get(issuer).is_none_or(|known| **known != discovery)
            {
                next.discoveries.insert(issuer.into(), Arc::new(discovery));
                changed = true;
            }
            if changed {
                *trust = Arc::new(next);
            }
            changed
        });
    }
}

impl Entry {
    fn with_state<T>(&self, work: impl FnOnce(&mut KeyState) -> T) -> T {
        // No critical section can panic half-way.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn discover(source: &IssuerSource) -> Result<Discovery, String> {
    let response = (source.fetch)(Discovery::request(&source.issuer)).await?;
    let answer = Answer {
        status: response.status(),
        headers: response.headers(),
        body: response.body(),
    };
    Discovery::read(&source.issuer, &answer).map_err(|error| error.to_string())
}

fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::from_unix_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: { url: https://people.example, audiences: [us] }
  claimMappings: { username: { claim: sub, prefix: "" } }
- issuer: { url: https://cluster.example, audiences: [us] }
  claimMappings: { username: { claim: sub, prefix: "" } }
"#;

    #[tokio::test]
    async fn of_a_disowned_issuer_nothing_is_believed_or_asked_any_more() {
        let read = oidc::issuer::read_authentication_configuration(FILE, &[]).unwrap();
        let issuers = Arc::new(Issuers::new(read.issuers).unwrap());
        let fetch: Fetch = Arc::new(|_| Box::pin(async { Err("not asked".to_owned()) }));
        let sources = issuers.iter().map(|issuer| IssuerSource {
            issuer: Arc::clone(issuer),
            fetch: Arc::clone(&fetch),
        });
        let sources = sources.collect();
        let (key, _) = oidc::gateway::SigningKey::generate().unwrap();
        let own = oidc::gateway::SigningKey::key_set([&key]).unwrap();
        let late = Arc::new(own.clone());
        let gateway = GatewayVerifier::new("https://gate.example", own, Duration::ZERO);
        let (feed, trust) = IssuerFeed::new(issuers, sources, Arc::new(gateway));
        let before = trust.borrow().generation;

        assert!(feed.disown("https://cluster.example", "a cluster's"));
        assert!(!feed.disown("https://cluster.example", "said once"));
        assert!(!feed.disown("https://unknown.example", "nobody's"));
        let now = Arc::clone(&trust.borrow());
        assert_ne!(now.generation, before, "what was verified before counts no longer");
        let left: Vec<_> = now.issuers.iter().map(|issuer| issuer.url().to_owned()).collect();
        assert_eq!(left, ["https://people.example"]);
        assert_eq!(feed.trouble("https://cluster.example").as_deref(), Some("a cluster's"));

        // A fetch that was under way brings its keys too late.
        feed.publish("https://cluster.example", Some(late), None);
        assert!(!trust.borrow().keys.contains_key("https://cluster.example"));
        let (ask, asked) = mpsc::channel(1);
        tokio::spawn(Arc::clone(&feed).answer(asked));
        let (answer, answered) = oneshot::channel();
        let question = KeyQuestion {
            issuer: "https://cluster.example".into(),
            kid: "k".into(),
        };
        ask.send((question, answer)).await.unwrap();
        assert!(matches!(answered.await.unwrap(), KeyAnswer::Unknown));
        assert_eq!(feed.trouble("https://cluster.example").as_deref(), Some("a cluster's"));
    }
}
