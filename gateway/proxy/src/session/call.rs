//! One call that goes on: what it was allowed on, and the way to end it.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use model::decision::Obligations;
use model::request::{Action, RequestFacts};
use model::subject::Subject;
use model::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::demands::Demands;
use super::live::Counted;
use super::metrics::Cause;
use super::registry::Registry;
use crate::audit::Trail;
use crate::identity::{Identity, holds_at_first};
use crate::listener::{Conn, Ending};
use crate::refusal::Refusal;

/// What a yes to a call that goes on rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grounds {
    /// The version of the rules that said it.
    pub version: u64,
    /// Until when the rules say it at most.
    pub not_after: Timestamp,
    /// The cluster itself was asked: no feed tells when it changes its mind, so it is asked again in growing distances.
    pub from_cluster: bool,
    /// A rule looks at the moment (`when`, `until`): the same rules can say no a minute later.
    pub momentary: bool,
}

/// A call in the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) trail: Arc<Trail>,
    pub(super) conn: Option<Arc<Conn>>,
    /// The version of the rules that allowed it last.
    pub(super) version: AtomicU64,
    /// When the rules are asked next whatever happens, nanoseconds since the epoch.
    judge_at: AtomicI64,
    /// How often the cluster itself has said yes since the rules changed.
    asked: AtomicU64,
    /// The last yes was that of the rules, and not the cluster's.
    by_rules: AtomicBool,
    /// Since when the cluster is being asked about it; 0 while it is not.
    asked_since: AtomicI64,
    /// When its caller has to be proved anew, nanoseconds since the epoch.
    prove_at: AtomicI64,
    /// Since when its caller had to be proved and was not; 0 while they are.
    unproved_since: AtomicI64,
    /// Its caller is being looked up.
    is_looked_up: AtomicBool,
    /// What a look-up that is under way finds may be of before a change.
    look_again: AtomicBool,
    /// Its caller as the provider has named them since it began.
    renamed: ArcSwapOption<Identity>,
    /// How often it has.
    renamings: AtomicU64,
    is_over: AtomicBool,
    why: OnceLock<(Cause, Box<str>)>,
    /// How long it may go on by the rules that let it begin.
    longest: OnceLock<Duration>,
    /// What the rules demand by now.
    demands: Demands,
    /// It goes on as a plain request, and becomes no session any more.
    stays_plain: AtomicBool,
    /// Once it is a session in a pod: watches and followed logs are none.
    pub(super) session: OnceLock<Session>,
    /// Cancelled when it is over, and for nothing else: a drain lets much of what goes on go on for a while.
    over: CancellationToken,
    /// Cancelled when it is over, and when the gateway drains.
    token: CancellationToken,
}

/// Whoever signed in is looked up this often, besides each end of a sign-in that is told at once.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// The cluster's own yes is asked again after this, then in doubling distances up to the second.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(640));
/// Its yes right after the rules had one no more: what it says may be older than what the feed has told, as each API server hears of
/// a binding that is gone by itself. It is asked once more, so that the end comes within two seconds.
const ASK_ONCE_MORE: Duration = Duration::from_millis(500);

impl Entry {
    pub(super) fn new(
        id: u64,
        trail: Arc<Trail>,
        conn: Option<Arc<Conn>>,
        draining: &CancellationToken,
        grounds: Grounds,
    ) -> Self {
        let now = trail.received.wall;
        let proved = trail
            .identity
            .as_deref()
            .map_or(now, |identity| holds_at_first(identity, now));
        let stays_plain = AtomicBool::new(trail.upgrade.is_none());
        let entry = Self {
            id,
            trail,
            conn,
            version: AtomicU64::new(0),
            judge_at: AtomicI64::new(0),
            asked: AtomicU64::new(0),
            by_rules: AtomicBool::new(false),
            asked_since: AtomicI64::new(0),
            prove_at: AtomicI64::new(0),
            unproved_since: AtomicI64::new(0),
            is_looked_up: AtomicBool::new(false),
            look_again: AtomicBool::new(false),
            renamed: ArcSwapOption::empty(),
            renamings: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            why: OnceLock::new(),
            longest: OnceLock::new(),
            demands: Demands::default(),
            stays_plain,
            session: OnceLock::new(),
            over: CancellationToken::new(),
            token: draining.child_token(),
        };
        entry.stands(grounds, now);
        entry.proved(proved, now);
        entry
    }

    /// Whether rules of another version allowed it last.
    pub(super) fn is_of_other_rules(&self, version: u64) -> bool {
        self.version.load(Ordering::Acquire) != version
    }

    /// Takes a new yes.
    pub(super) fn stands(&self, grounds: Grounds, now: Timestamp) {
        if self.version.swap(grounds.version, Ordering::AcqRel) != grounds.version {
            self.asked.store(0, Ordering::Relaxed);
        }
        if !grounds.from_cluster {
            self.by_rules.store(true, Ordering::Release);
        }
        let next = if grounds.from_cluster && self.by_rules.swap(false, Ordering::AcqRel) {
            now.plus(ASK_ONCE_MORE)
        } else if grounds.from_cluster {
            let times = self.asked.fetch_add(1, Ordering::Relaxed).min(6);
            let (first, last) = ASK_AGAIN;
            now.plus(first.saturating_mul(1 << times).min(last))
        } else if grounds.momentary {
            now.plus(LOOK_EVERY)
        } else {
            Timestamp::MAX
        };
        self.judge_again(next.min(grounds.not_after));
    }

    /// The rules are asked again then.
    pub(super) fn judge_again(&self, at: Timestamp) {
        self.judge_at.store(at.unix_nanos(), Ordering::Release);
    }

    /// Whether the rules have to be asked now, which are of this version.
    pub(super) fn has_to_be_judged(&self, now: Timestamp, version: u64) -> bool {
        self.judge_at.load(Ordering::Acquire) <= now.unix_nanos() || self.version.load(Ordering::Acquire) != version
    }

    /// Its caller is proved until then, as far as that can be known.
    pub(super) fn proved(&self, until: Timestamp, now: Timestamp) {
        let again = if self.proved_by_sign_in() {
            until.min(now.plus(LOOK_EVERY))
        } else {
            until
        };
        self.unproved_since.store(0, Ordering::Relaxed);
        self.prove_again(again);
    }

    /// Its caller is looked up again then.
    pub(super) fn prove_again(&self, at: Timestamp) {
        self.prove_at.store(at.unix_nanos(), Ordering::Release);
    }

    pub(super) fn has_to_be_proved(&self, now: Timestamp) -> bool {
        self.prove_at.load(Ordering::Acquire) <= now.unix_nanos()
    }

    /// For how long its caller had to be proved and was not, now included.
    pub(super) fn unproved_for(&self, now: Timestamp) -> Duration {
        waited(&self.unproved_since, now).unwrap_or_default()
    }

    /// False when its caller is being looked up already.
    pub(super) fn begin_look_up(&self) -> bool {
        !self.is_looked_up.swap(true, Ordering::AcqRel)
    }

    /// What is found from here on is of now.
    pub(super) fn looks_up(&self) {
        self.look_again.store(false, Ordering::Release);
    }

    /// Whether what was found may be of before a change, so that its caller has to be looked up once more.
    pub(super) fn end_look_up(&self) -> bool {
        self.is_looked_up.store(false, Ordering::Release);
        self.look_again.load(Ordering::Acquire)
    }

    /// Something about its caller has changed: they are looked up at the next beat, whatever is under way.
    pub(super) fn look_up_at(&self, now: Timestamp) {
        self.look_again.store(true, Ordering::Release);
        self.prove_again(now);
    }

    /// Its caller, as the provider names them by now.
    pub(super) fn identity(&self) -> Option<Arc<Identity>> {
        self.renamed.load_full().or_else(|| self.trail.identity.clone())
    }

    /// Takes how the provider names its caller; true when that is another word than before, and it has to be judged by it.
    pub(super) fn is_named(&self, now: &Subject) -> bool {
        let renamed = self.identity().and_then(|identity| identity.renamed(now));
        let is_another = renamed.is_some();
        if let Some(renamed) = renamed {
            self.renamed.store(Some(Arc::new(renamed)));
            self.renamings.fetch_add(1, Ordering::AcqRel);
        }
        is_another
    }

    /// How often the provider has named its caller otherwise.
    pub(super) fn renamings(&self) -> u64 {
        self.renamings.load(Ordering::Acquire)
    }

    /// For how long somebody asks already; none, and then it begins now, when nobody does.
    pub(super) fn begin_asking(&self, now: Timestamp) -> Option<Duration> {
        waited(&self.asked_since, now)
    }

    pub(super) fn end_asking(&self) {
        self.asked_since.store(0, Ordering::Release);
    }

    /// Somebody's answer about it is waited for.
    #[cfg(test)]
    pub(super) fn waits_for_an_answer(&self) -> bool {
        self.is_looked_up.load(Ordering::Acquire) || self.asked_since.load(Ordering::Acquire) != 0
    }

    /// How long it was allowed to go on, once it has.
    pub(super) fn has_lasted(&self, now: Timestamp) -> Option<Duration> {
        let both = [self.longest.get().copied(), self.demands.longest()];
        let longest = both.into_iter().flatten().min()?;
        (self.trail.received.wall.plus(longest) <= now).then_some(longest)
    }

    /// Takes what the rules demand from now on. In words why it has to end, if it does not meet that.
    pub(super) fn owes(&self, owed: &Obligations) -> Option<&'static str> {
        self.demands.take(owed);
        self.unrecorded()
    }

    /// Why it has to end if it has to be recorded and is not. What is no session yet is asked when it becomes one: its
    /// recording may be about to begin. A plain request through a `proxy` subresource passes in none, and no other owes one.
    fn unrecorded(&self) -> Option<&'static str> {
        // Of a demand and of a beginning at the same moment, one sees the other.
        fence(Ordering::SeqCst);
        let is_proxied = |facts: &RequestFacts| facts.action() == Action::Proxy;
        let is_plain = self.stays_plain.load(Ordering::Acquire) && self.trail.facts.as_ref().is_some_and(is_proxied);
        // A recording that was made ready for a session counts for a session alone: what was answered plainly is in none.
        let is_unrecorded = is_plain || (self.session.get().is_some() && self.trail.recording.get().is_none());
        let is_owed = self.demands.record() && is_unrecorded;
        is_owed.then_some("the rules now demand that it be recorded")
    }

    pub(super) fn proved_by_sign_in(&self) -> bool {
        let identity = self.trail.identity.as_deref();
        identity.is_some_and(|identity| identity.credential().is_of_sign_in())
    }

    /// The sign-in of its caller.
    pub(super) fn sign_in(&self) -> Option<&str> {
        self.trail.identity.as_deref().map(Identity::sign_in)
    }

    /// Ends it: the first reason stands. False when it was over already.
    pub(super) fn end(&self, cause: Cause, why: &str) -> bool {
        let first = self.why.set((cause, why.into())).is_ok();
        self.is_over.store(true, Ordering::Release);
        self.over.cancel();
        self.token.cancel();
        first
    }

    pub(super) fn has_ended(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }
}

impl Ending for Entry {
    fn ender(&self) -> &CancellationToken {
        &self.over
    }

    fn is_over(&self) -> bool {
        self.has_ended()
    }
}

/// How long it has been since `since`; none where that begins now.
fn waited(since: &AtomicI64, now: Timestamp) -> Option<Duration> {
    let begun = since.compare_exchange(0, now.unix_nanos(), Ordering::AcqRel, Ordering::Acquire);
    begun.err().map(|since| now.since(Timestamp::from_unix_nanos(since)))
}

/// What only a session has.
#[derive(Debug)]
pub(super) struct Session {
    /// What has passed.
    pub(super) counted: Counted,
}

/// The place of a call in the table, held by whoever carries its answer. Dropping it gives the place back.
#[must_use = "a call that holds no place is not decided anew"]
pub struct LongCall {
    pub(super) registry: Arc<Registry>,
    pub(super) entry: Arc<Entry>,
}

impl std::fmt::Debug for LongCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LongCall")
            .field("id", &self.entry.id)
            .finish_non_exhaustive()
    }
}

impl Drop for LongCall {
    fn drop(&mut self) {
        self.registry.leave(self.entry.id);
    }
}

impl LongCall {
    /// It ends when it has gone on so long, whatever passes.
    pub(crate) fn lasts_at_most(&self, longest: Duration) {
        // Set once: a call is allowed once.
        let _ = self.entry.longest.set(longest);
    }

    /// The idle limit that the rules demand by now. Whoever waits is woken when that changes.
    pub(crate) fn idle_by_now(&self, waker: &Waker) -> Option<Duration> {
        self.entry.demands.idle(waker)
    }

    /// It offered to become a session, and was answered as a plain request.
    pub(crate) fn stays_plain(&self) {
        self.entry.stays_plain.store(true, Ordering::Release);
        self.end_if_unrecorded();
    }

    fn end_if_unrecorded(&self) {
        if let Some(why) = self.entry.unrecorded() {
            self.registry.end(&self.entry, Cause::Rules, why);
        }
    }

    /// It has become a session, whose bytes these count: from now on it is listed. Cancelled is what is returned when it has to
    /// end, but not yet when the gateway only drains.
    pub(crate) fn becomes_session(&self, counted: Counted) -> CancellationToken {
        // Set once: a call becomes a session once.
        let _ = self.entry.session.set(Session { counted });
        self.end_if_unrecorded();
        self.over().clone()
    }

    /// Cancelled when the call has to end, and for nothing else: no drain touches it.
    pub(crate) fn over(&self) -> &CancellationToken {
        &self.entry.over
    }

    /// Resolves when the call has to end, and when the gateway begins to drain; [`LongCall::is_over`] tells which.
    #[must_use]
    pub fn ender(&self) -> &CancellationToken {
        &self.entry.token
    }

    /// What demands its end where nobody asks its answer whether it has to.
    pub(crate) fn ending(&self) -> Arc<dyn Ending> {
        Arc::clone(&self.entry) as Arc<dyn Ending>
    }

    /// Whether it has to end. Cheap: asked before each piece of the answer.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.entry.has_ended()
    }

    /// Whether nothing but the gateway's own stop ends it.
    pub(crate) fn is_drained(&self) -> bool {
        !self.is_over() && self.entry.token.is_cancelled()
    }

    /// Why it has to end, for the record.
    #[must_use]
    pub fn why(&self) -> String {
        match self.entry.why.get() {
            Some((_, why)) => format!("ended by the gateway: {why}"),
            None => "ended by the gateway: it stops".to_owned(),
        }
    }

    /// What its caller is told if it had to end before its answer came.
    pub(crate) fn refusal_within(&self) -> Refusal {
        Refusal::EndedWithin(self.why())
    }

    /// What its caller is told if it had to end before it was sent: what ends a call may come while it is decided, recorded or
    /// made ready.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let (cause, why) = self.entry.why.get().filter(|_| self.is_over())?;
        let why = why.to_string();
        Some(match cause {
            Cause::Session => Refusal::SignInEnded(why),
            Cause::Locked => Refusal::Locked(why),
            Cause::Credential => Refusal::BadCredential(why),
            Cause::Unknown => Refusal::CannotVerify(why),
            Cause::Rules | Cause::Person => Refusal::Ended(why),
        })
    }
}
