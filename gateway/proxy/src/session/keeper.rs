//! Looks after calls that go on: whenever rules, sessions, keys or authorities change, or a time has come, they are decided
//! anew, and those end that would now be refused or that do not meet what is now demanded of them.
//!
//! Rules alone are judged in one go, a few microseconds each, so that 20,000 calls take well under a second. What needs
//! somebody's answer (the cluster's, the session store's) is asked beside that and never holds up the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use model::cluster::ClusterId;
use model::decision::RuleEffect;
use model::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::call::Entry;
use super::in_words;
use super::metrics::Cause;
use super::registry::Registry;
use crate::clock::Clock;
use crate::decision::{self, Anew, Asking, Standing};
use crate::identity::{self, Credential};
use crate::listener::ClientCertificate;
use crate::refusal::Refusal;

/// How often the times of calls are looked at.
const BEAT: Duration = Duration::from_secs(1);
/// Questions under way at the same time, for one cluster's calls.
const AT_ONCE: usize = 32;
/// After so many judgements other tasks get their turn.
const CHUNK: usize = 64;
/// Who cannot be looked up is kept for so long, and tried again in this distance.
const UNKNOWN_HOLDS: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));

/// Decides the calls of a [`Registry`] anew after each change, and ends those that would be refused now.
#[derive(Clone, Debug)]
pub struct Keeper {
    registry: Arc<Registry>,
    identity: Arc<identity::Station>,
    clusters: Arc<HashMap<ClusterId, Arc<decision::Station>>>,
    clock: Clock,
}

impl Keeper {
    /// Looks after the calls in `registry` by the same stations that allowed them.
    #[must_use]
    pub fn new(
        registry: Arc<Registry>,
        identity: Arc<identity::Station>,
        clusters: HashMap<ClusterId, Arc<decision::Station>>,
        clock: Clock,
    ) -> Self {
        Self {
            registry,
            identity,
            clusters: Arc::new(clusters),
            clock,
        }
    }

    /// Starts what looks after them, until `stop`. Within a tokio runtime.
    pub fn start(self, stop: &CancellationToken) {
        for cluster in self.clusters.keys() {
            tokio::spawn(self.clone().follow_rules(cluster.clone(), stop.clone()));
            tokio::spawn(self.clone().follow_time(cluster.clone(), stop.clone()));
        }
        tokio::spawn(self.follow_keys(stop.clone()));
    }

    async fn follow_rules(self, cluster: ClusterId, stop: CancellationToken) {
        let Some(station) = self.clusters.get(&cluster) else {
            return;
        };
        let mut rules = station.rules();
        loop {
            tokio::select! {
                changed = rules.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            rules.mark_unchanged();
            self.rules_changed(&cluster).await;
        }
    }

    async fn follow_time(self, cluster: ClusterId, stop: CancellationToken) {
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beat.tick() => self.time_passed(&cluster).await,
                () = stop.cancelled() => return,
            }
        }
    }

    async fn follow_keys(self, stop: CancellationToken) {
        let mut trust = self.identity.trust();
        loop {
            tokio::select! {
                changed = trust.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            trust.mark_unchanged();
            self.keys_changed().await;
        }
    }

    /// Decides the calls to a cluster anew after its rules have changed.
    pub async fn rules_changed(&self, cluster: &ClusterId) {
        let Some(station) = self.clusters.get(cluster) else {
            return;
        };
        let calls = self.registry.of_other_rules(cluster, station.version());
        self.judge(station, calls).await;
    }

    /// Looks at the calls to a cluster whose time has come, and at those that entered by rules that were just replaced.
    pub async fn time_passed(&self, cluster: &ClusterId) {
        let Some(station) = self.clusters.get(cluster) else {
            return;
        };
        let (now, version) = (self.clock.read().wall, station.version());
        self.authorities_now(cluster);
        let due = self.registry.chosen(|entry| {
            let is_due = entry.is_due(now) || entry.version.load(Ordering::Acquire) != version;
            is_due && entry.trail.cluster.as_ref() == Some(cluster)
        });
        let (over, due): (Vec<_>, Vec<_>) = due.into_iter().partition(|entry| entry.has_lasted(now).is_some());
        for entry in over {
            let longest = entry.has_lasted(now).unwrap_or_default();
            let why = format!("it has lasted {}, its limit", in_words(longest));
            self.registry.end(&entry, Cause::Rules, &why);
        }
        let proved = stream::iter(due)
            .map(|entry| async move { self.is_proved(&entry, now).await.then_some(entry) })
            .buffer_unordered(AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        self.judge(station, proved).await;
    }

    /// Looks at the calls that a provider's key vouches for.
    pub async fn keys_changed(&self) {
        let now = self.clock.read().wall;
        for entry in self.registry.chosen(|entry| is_by(entry, Credential::ProviderToken)) {
            self.is_proved(&entry, now).await;
        }
    }

    /// Costs a comparison for each call with a certificate as long as the authorities are the same.
    fn authorities_now(&self, cluster: &ClusterId) {
        let by_certificate = self
            .registry
            .chosen(|entry| is_by(entry, Credential::Certificate) && entry.trail.cluster.as_ref() == Some(cluster));
        for entry in by_certificate {
            if let Some(ClientCertificate::Rejected(_, problem)) =
                entry.conn.as_deref().map(|conn| conn.client_certificate())
            {
                self.registry.end(&entry, Cause::Credential, &problem.to_string());
            }
        }
    }

    /// Whether whoever called is proved still; ends the call when not.
    async fn is_proved(&self, entry: &Entry, now: Timestamp) -> bool {
        let Some(identity) = entry.trail.identity.as_deref() else {
            self.registry
                .end(entry, Cause::Credential, "nobody is known to have called");
            return false;
        };
        let since = entry.trail.received.wall;
        match self.identity.still(identity, entry.conn.as_deref(), since, now).await {
            Ok(until) => {
                entry.proved(until);
                true
            }
            Err(Refusal::CannotVerify(why)) => {
                let (holds, again) = UNKNOWN_HOLDS;
                if entry.unknown_for(now) < holds {
                    entry.look_again(now.plus(again));
                } else {
                    self.registry.end(entry, Cause::Unknown, &why);
                }
                false
            }
            Err(refusal @ Refusal::SessionEnded(_)) => {
                self.registry.end(entry, Cause::Session, &refusal.in_words());
                false
            }
            Err(refusal) => {
                self.registry.end(entry, Cause::Credential, &refusal.in_words());
                false
            }
        }
    }

    async fn judge(&self, station: &Arc<decision::Station>, calls: Vec<Arc<Entry>>) {
        let mut asking = Vec::new();
        for (number, entry) in calls.into_iter().enumerate() {
            if number % CHUNK == CHUNK - 1 {
                tokio::task::yield_now().await;
            }
            let now = self.clock.read().wall;
            self.registry.metrics.decided.inc();
            match station.anew(&entry.trail, now) {
                Anew::Stands(standing) => self.stands(&entry, &standing, now),
                Anew::Refused(refusal) => self.refused(&entry, &refusal),
                // One question for one call at a time; the next beat asks again for what changed meanwhile.
                Anew::Ask(question) => {
                    if entry.begin_asking() {
                        asking.push((entry, question));
                    } else {
                        entry.look_again(now);
                    }
                }
            }
        }
        if !asking.is_empty() {
            tokio::spawn(self.clone().ask(Arc::clone(station), asking));
        }
    }

    async fn ask(self, station: Arc<decision::Station>, asking: Vec<(Arc<Entry>, Box<Asking>)>) {
        let (keeper, station) = (&self, &station);
        stream::iter(asking)
            .for_each_concurrent(AT_ONCE, |(entry, question)| async move {
                let answered = station.ask_anew(*question).await;
                entry.end_asking();
                match answered {
                    Ok(standing) => keeper.stands(&entry, &standing, keeper.clock.read().wall),
                    Err(refusal) => keeper.refused(&entry, &refusal),
                }
            })
            .await;
    }

    /// Its rights stand; it goes on if it meets what they demand by now.
    fn stands(&self, entry: &Entry, standing: &Standing, now: Timestamp) {
        match entry.owes(&standing.owed) {
            Some(why) => {
                self.registry.end(entry, Cause::Rules, why);
            }
            None => entry.stands(standing.grounds, now),
        }
    }

    fn refused(&self, entry: &Entry, refusal: &Refusal) {
        self.registry.end(entry, Cause::Rules, &because(refusal));
    }
}

fn is_by(entry: &Entry, credential: Credential) -> bool {
    let identity = entry.trail.identity.as_deref();
    identity.is_some_and(|identity| identity.credential() == credential)
}

/// The reason for the record: with the rule that forbids, as in a refusal.
fn because(refusal: &Refusal) -> String {
    let words = refusal.in_words();
    let Refusal::Denied(denied) = refusal else { return words };
    match denied.rules.iter().find(|rule| rule.effect == RuleEffect::Forbid) {
        Some(rule) => format!("{words} ({rule})"),
        None => words,
    }
}
