//! Looks after calls that go on: whenever rules, sign-ins, keys or authorities change, or a time has come, they are decided
//! anew, and those end that would now be refused or that do not meet what is now demanded of them.
//!
//! Limits and rules alone are judged in one go, a few microseconds each, so that 20,000 calls take well under a second. What
//! needs somebody's answer (the cluster's, the state store's) is asked beside that, so many at a time, and never holds up
//! anything else. Invariant: an answer that does not come ends the call after a minute, whether it was asked for in that time or
//! waited for its turn. What breaks in here ends the one call that was looked at, and nobody else is looked at less for it: a
//! loop that breaks off is begun again, is counted, and `/readyz` and the log say so.

mod service;

use std::collections::HashMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use model::cluster::ClusterId;
use model::decision::RuleEffect;
use model::time::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::call::Entry;
use super::in_words;
use super::metrics::Cause;
use super::registry::Registry;
use crate::clock::Clock;
use crate::decision::{self, Anew, Asking, ServiceStation, Standing};
use crate::identity::{self, Credential};
use crate::refusal::Refusal;
use crate::whom::Whom;

/// How often the times of calls are looked at.
const BEAT: Duration = Duration::from_secs(1);
/// Questions under way at the same time: to the state store, and to each cluster.
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
    services: Option<Arc<ServiceStation>>,
    look_ups: Arc<Semaphore>,
    reviews: Arc<HashMap<ClusterId, Semaphore>>,
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
        let reviews = clusters
            .keys()
            .map(|cluster| (cluster.clone(), Semaphore::new(AT_ONCE)));
        Self {
            registry,
            identity,
            reviews: Arc::new(reviews.collect()),
            clusters: Arc::new(clusters),
            services: None,
            look_ups: Arc::new(Semaphore::new(AT_ONCE)),
            clock,
        }
    }

    /// Looks after calls of services, too, by the station that allowed them.
    #[must_use]
    pub fn with_services(mut self, station: Arc<ServiceStation>) -> Self {
        self.services = Some(station);
        self
    }

    /// Starts what looks after them, until `stop`. Within a tokio runtime.
    pub fn start(self, stop: &CancellationToken) {
        for cluster in self.clusters.keys() {
            let name = cluster.clone();
            self.goes_on(stop, move |keeper, stop| keeper.follow_rules(name.clone(), stop));
            let name = cluster.clone();
            self.goes_on(stop, move |keeper, stop| keeper.follow_time(name.clone(), stop));
        }
        if self.services.is_some() {
            self.goes_on(stop, Self::follow_service_rules);
            self.goes_on(stop, Self::follow_service_time);
        }
        self.goes_on(stop, Self::follow_keys);
    }

    /// Runs a loop until it ends or `stop`. One that breaks off is begun again after a beat: were it not, nobody would be judged
    /// any more, and everything would look well.
    pub(super) fn goes_on<F>(
        &self,
        stop: &CancellationToken,
        run: impl Fn(Self, CancellationToken) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (keeper, stop) = (self.clone(), stop.clone());
        tokio::spawn(async move {
            while let Err(broken) = tokio::spawn(run(keeper.clone(), stop.clone())).await {
                if !broken.is_panic() {
                    return; // the runtime goes
                }
                keeper.broke("a loop that judges long calls broke off and is begun again");
                tokio::select! {
                    () = tokio::time::sleep(BEAT) => {}
                    () = stop.cancelled() => return,
                }
            }
        });
    }

    fn broke(&self, what: &'static str) {
        self.registry.keeper_broke(self.clock.read().wall);
        // The panic hook has told where.
        tracing::error!("{what}");
    }

    /// What `look` finds out of one call. Where that breaks the call ends: whether it may go on cannot be told, and the next look
    /// would break, too.
    fn look_at<T>(&self, entry: &Entry, look: impl FnOnce() -> T) -> Option<T> {
        let seen = catch_unwind(AssertUnwindSafe(look)).ok();
        if seen.is_none() {
            self.broke("judging a long call broke, and it is ended");
            let why = "whether it may go on cannot be told: a fault of the gateway";
            self.registry.end(entry, Cause::Unknown, why);
        }
        seen
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
            self.keys_changed();
        }
    }

    /// Decides the calls to a cluster anew after its rules have changed.
    pub async fn rules_changed(&self, cluster: &ClusterId) {
        let Some(station) = self.clusters.get(cluster) else {
            return;
        };
        let calls = self.registry.of_other_rules(cluster, station.version());
        self.judge(cluster, station, calls).await;
    }

    /// Looks at the calls to a cluster whose time has come, and at those that entered by rules that were just replaced. Waits for
    /// nobody's answer.
    pub async fn time_passed(&self, cluster: &ClusterId) {
        let Some(station) = self.clusters.get(cluster) else {
            return;
        };
        let due = self.due(|entry| entry.trail.cluster.as_ref() == Some(cluster), station.version());
        self.judge(cluster, station, due).await;
    }

    /// Of the calls that it `is` about, those that the rules have to be asked about now. Ends those whose limit is reached, and has
    /// whoever called proved where that is due.
    fn due(&self, is: impl Fn(&Entry) -> bool + Copy, version: u64) -> Vec<Arc<Entry>> {
        let now = self.clock.read().wall;
        self.authorities_now(is);
        let mut due = self.registry.chosen(|entry| {
            let is_due = entry.has_to_be_proved(now) || entry.has_to_be_judged(now, version);
            is(entry) && (is_due || entry.has_lasted(now).is_some())
        });
        due.retain(|entry| {
            let longest = entry.has_lasted(now);
            if let Some(longest) = longest {
                let why = format!("it has lasted {}, its limit", in_words(longest));
                self.registry.end(entry, Cause::Rules, &why);
            }
            longest.is_none()
        });
        self.prove(due.iter().filter(|entry| entry.has_to_be_proved(now)), now);
        due.retain(|entry| entry.has_to_be_judged(now, version));
        due
    }

    /// Looks at the calls that a provider's key vouches for.
    pub fn keys_changed(&self) {
        let vouched = self.registry.chosen(|entry| is_by(entry, Credential::ProviderToken));
        self.prove(vouched.iter(), self.clock.read().wall);
    }

    /// Costs a comparison for each call with a certificate as long as the authorities, or its trust domain's bundle, are the same.
    fn authorities_now(&self, is: impl Fn(&Entry) -> bool) {
        let is_certified = |entry: &Entry| is_by(entry, Credential::Certificate) || is_by(entry, Credential::Svid);
        let by_certificate = self.registry.chosen(|entry| is_certified(entry) && is(entry));
        for entry in by_certificate {
            let problem = || {
                entry
                    .conn
                    .as_deref()
                    .and_then(|conn| conn.client_certificate().problem())
            };
            if let Some(Some(problem)) = self.look_at(&entry, problem) {
                self.registry.end(&entry, Cause::Credential, &problem);
            }
        }
    }

    /// Whether whoever called is proved still; ends the calls of those who are not. Who has to be looked up is, in their turn.
    fn prove<'a>(&self, calls: impl Iterator<Item = &'a Arc<Entry>>, now: Timestamp) {
        let mut by_sign_in: HashMap<Box<str>, Vec<Arc<Entry>>> = HashMap::new();
        for entry in calls {
            let Some(identity) = entry.trail.identity.as_deref() else {
                self.registry
                    .end(entry, Cause::Credential, "nobody is known to have called");
                continue;
            };
            let since = entry.trail.received.wall;
            let unproved = entry.unproved_for(now);
            let still = || self.identity.still(identity, entry.conn.as_deref(), since, now);
            let Some(still) = self.look_at(entry, still) else {
                continue;
            };
            match still {
                Some(found) => self.found(entry, &found, now),
                None if entry.begin_look_up() => {
                    let of_sign_in = by_sign_in.entry(identity.sign_in().into()).or_default();
                    of_sign_in.push(Arc::clone(entry));
                }
                None if unproved >= UNKNOWN_HOLDS.0 => {
                    let why = "the sign-in cannot be looked up: nobody has answered in time";
                    self.registry.end(entry, Cause::Unknown, why);
                }
                None => {}
            }
        }
        for of_sign_in in by_sign_in.into_values() {
            tokio::spawn(self.clone().look_up(of_sign_in));
        }
    }

    /// One question for all calls of one sign-in.
    async fn look_up(self, mut of_sign_in: Vec<Arc<Entry>>) {
        // It is never closed.
        let _turn = self.look_ups.acquire().await;
        of_sign_in.retain(|entry| self.registry.goes_on(entry));
        let Some(identity) = of_sign_in.first().and_then(|entry| entry.trail.identity.as_deref()) else {
            return;
        };
        of_sign_in.iter().for_each(|entry| entry.looks_up());
        let (found, subject) = match self.identity.sign_in_stands(identity).await {
            Ok((until, subject)) => (Ok(until), subject),
            Err(refusal) => (Err(refusal), None),
        };
        let now = self.clock.read().wall;
        let mut renamed: HashMap<Option<ClusterId>, Vec<Arc<Entry>>> = HashMap::new();
        for entry in &of_sign_in {
            let is_of_before = entry.end_look_up();
            self.found(entry, &found, now);
            if is_of_before {
                entry.prove_again(now);
            }
            let is_renamed = subject.as_deref().is_some_and(|subject| entry.is_named(subject));
            if is_renamed {
                let of_cluster = renamed.entry(entry.trail.cluster.clone()).or_default();
                of_cluster.push(Arc::clone(entry));
            }
        }
        for (cluster, calls) in renamed {
            match cluster
                .as_ref()
                .and_then(|cluster| self.clusters.get_key_value(cluster))
            {
                Some((cluster, station)) => self.judge(cluster, station, calls).await,
                None => self.judge_services(calls).await,
            }
        }
    }

    /// Takes what was found out about who called.
    fn found(&self, entry: &Entry, found: &Result<Timestamp, Refusal>, now: Timestamp) {
        match found {
            Ok(until) => entry.proved(*until, now),
            Err(Refusal::CannotVerify(why)) => {
                let (holds, again) = UNKNOWN_HOLDS;
                if entry.unproved_for(now) < holds {
                    entry.prove_again(now.plus(again));
                } else {
                    self.registry.end(entry, Cause::Unknown, why);
                }
            }
            Err(refusal @ Refusal::SignInEnded(_)) => {
                self.registry.end(entry, Cause::Session, &refusal.in_words());
            }
            Err(refusal) => {
                self.registry.end(entry, Cause::Credential, &refusal.in_words());
            }
        }
    }

    async fn judge(&self, cluster: &ClusterId, station: &Arc<decision::Station>, calls: Vec<Arc<Entry>>) {
        for (number, entry) in calls.into_iter().enumerate() {
            if number % CHUNK == CHUNK - 1 {
                tokio::task::yield_now().await;
            }
            let now = self.clock.read().wall;
            self.registry.metrics.decided.inc();
            let (renamings, identity) = (entry.renamings(), entry.identity());
            let Some(anew) = self.look_at(&entry, || station.anew(&entry.trail, identity.as_deref(), now)) else {
                continue;
            };
            match anew {
                Anew::Stands(standing) => self.stands(&entry, &standing, now),
                Anew::Refused(refusal) => self.refused(&entry, &refusal),
                // One question for one call at a time; the next beat asks again for what changed meanwhile.
                Anew::Ask(question) => match entry.begin_asking(now) {
                    None => drop(tokio::spawn(self.clone().ask(
                        cluster.clone(),
                        entry,
                        question,
                        renamings,
                    ))),
                    Some(asked) if asked < UNKNOWN_HOLDS.0 => entry.judge_again(now),
                    Some(_) => {
                        let why = "the rules leave it to the cluster, which has not answered in time";
                        self.registry.end(&entry, Cause::Unknown, why);
                    }
                },
            }
        }
    }

    /// `renamings`: of the caller that the question is about.
    async fn ask(self, cluster: ClusterId, entry: Arc<Entry>, question: Box<Asking>, renamings: u64) {
        let (Some(station), Some(reviews)) = (self.clusters.get(&cluster), self.reviews.get(&cluster)) else {
            return;
        };
        // It is never closed.
        let _turn = reviews.acquire().await;
        if !self.registry.goes_on(&entry) {
            return;
        }
        let answered = station.ask_anew(*question).await;
        entry.end_asking();
        if entry.renamings() != renamings {
            return entry.judge_again(self.clock.read().wall); // it was about whom the provider names otherwise by now
        }
        match answered {
            Ok(standing) => self.stands(&entry, &standing, self.clock.read().wall),
            Err(refusal) => self.refused(&entry, &refusal),
        }
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
        let why = because(refusal, entry.trail.whom());
        let why = match entry.renamings() {
            0 => why,
            _ => format!("what the identity provider says of you has changed: {why}"),
        };
        self.registry.end(entry, Cause::Rules, &why);
    }
}

/// Whether this kind of credential proved whoever calls, or for whom.
pub(super) fn is_by(entry: &Entry, credential: Credential) -> bool {
    let caller = entry.trail.identity.as_deref();
    // Who calls for somebody proved themselves, too.
    let workload = entry.trail.on_behalf.as_deref().map(|on_behalf| &*on_behalf.workload);
    let mut proved = caller.into_iter().chain(workload);
    proved.any(|identity| identity.credential() == credential)
}

/// The reason for the record: with the rule that forbids, as in a refusal.
fn because(refusal: &Refusal, whom: Whom) -> String {
    let words = refusal.in_words_of(whom);
    let Refusal::Denied(denied) = refusal else { return words };
    match denied.rules.iter().find(|rule| rule.effect == RuleEffect::Forbid) {
        Some(rule) => format!("{words} ({rule})"),
        None => words,
    }
}
