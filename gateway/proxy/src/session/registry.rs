//! The table of calls that go on. Bounded: when it is full, a new long call is refused with 429 and the old ones stay.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use dashmap::DashMap;
use model::cluster::ClusterId;
use model::lock::Locks;
use model::time::Timestamp;
use tokio_util::sync::CancellationToken;

use super::call::{Entry, Grounds, LongCall};
use super::metrics::{Cause, LongCallMetrics};
use crate::audit::Trail;
use crate::chain::OnBehalf;
use crate::identity::Identity;
use crate::listener::Conn;
use crate::refusal::Limit;

/// The table of the calls that go on (watches, followed logs), bounded by `limits.longCalls`.
#[derive(Debug)]
pub struct Registry {
    calls: DashMap<u64, Arc<Entry>>,
    next: AtomicU64,
    held: AtomicUsize,
    /// Those of them that are the public's.
    held_by_public: AtomicUsize,
    most: AtomicUsize,
    ended: Mutex<Ended>,
    /// Sign-ins of whose people the provider has lately said something else.
    changed: Mutex<Ended>,
    locks: ArcSwap<Locks>,
    /// When looking after them broke last.
    broke: Mutex<Option<Timestamp>>,
    pub(super) metrics: LongCallMetrics,
}

/// Sign-ins that ended or changed lately. A call that was authenticated just before that enters the table just after; here it finds
/// out.
#[derive(Debug, Default)]
struct Ended {
    why: HashMap<Box<str>, (Timestamp, Box<str>)>,
}

/// Longer than any request is under way between identity and this table.
const REMEMBERED: Duration = Duration::from_secs(120);
/// So long it is told that looking after them broke.
const TOLD_FOR: Duration = Duration::from_secs(3_600);
/// Most ends that are remembered; a flood of ends above it forgets the oldest ones first.
const MOST_ENDED: usize = 10_000;

/// The public has one place of so many at most: each of its calls stands here, and people need the rest.
const OF_PUBLIC: usize = 4;

/// There is no place for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// The table is full.
    #[error("{most} watches and other long calls go through this gateway, which is its limit")]
    ForAll {
        /// The limit.
        most: usize,
    },
    /// What of it is the public's is full.
    #[error("{most} calls of those who have not signed in go through this gateway, which is their limit")]
    ForPublic {
        /// The limit.
        most: usize,
    },
}

impl From<Full> for Limit {
    fn from(full: Full) -> Self {
        match full {
            Full::ForAll { most } => Self::LongCalls(most),
            Full::ForPublic { .. } => Self::Public,
        }
    }
}

impl Registry {
    /// A table for `most` calls.
    #[must_use]
    pub fn new(most: usize, metrics: LongCallMetrics) -> Arc<Self> {
        Arc::new(Self {
            calls: DashMap::new(),
            next: AtomicU64::new(1),
            held: AtomicUsize::new(0),
            held_by_public: AtomicUsize::new(0),
            most: AtomicUsize::new(most),
            ended: Mutex::default(),
            changed: Mutex::default(),
            locks: ArcSwap::default(),
            broke: Mutex::default(),
            metrics,
        })
    }

    /// Puts another limit in force; calls above a lower one go on.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Puts a call in that was just allowed on `grounds`, before it is sent. `draining` ends it, too; `conn` is asked about
    /// the client's certificate.
    ///
    /// # Errors
    /// There is no place left: the call must be refused.
    pub fn enter(
        self: &Arc<Self>,
        trail: Arc<Trail>,
        conn: Option<Arc<Conn>>,
        draining: &CancellationToken,
        grounds: Grounds,
    ) -> Result<LongCall, Full> {
        self.take_place(is_of_public(&trail))
            .inspect_err(|_| _ = self.metrics.full.inc())?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let entry = Arc::new(Entry::new(id, trail, conn, draining, grounds));
        self.calls.insert(id, Arc::clone(&entry));
        self.metrics.open.inc();
        // After it stands in the table: an end that comes now finds it there, one that came before is found here.
        if let Some(why) = entry.sign_in().and_then(|sign_in| lately(&self.ended, sign_in)) {
            self.end(&entry, Cause::Session, &why);
        }
        if entry
            .sign_in()
            .is_some_and(|sign_in| lately(&self.changed, sign_in).is_some())
        {
            entry.look_up_at(entry.trail.received.wall);
        }
        self.end_if_locked(&entry, &self.locks.load(), entry.trail.received.wall);
        Ok(LongCall {
            registry: Arc::clone(self),
            entry,
        })
    }

    fn take_place(&self, is_of_public: bool) -> Result<(), Full> {
        let most = self.most.load(Ordering::Relaxed);
        let take = |held: &AtomicUsize, most: usize| {
            let more = |held: usize| (held < most).then_some(held.saturating_add(1));
            held.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
        };
        let of_public = (most / OF_PUBLIC).max(1);
        if is_of_public && !take(&self.held_by_public, of_public) {
            return Err(Full::ForPublic { most: of_public });
        }
        if take(&self.held, most) {
            return Ok(());
        }
        self.give_back_public(is_of_public);
        Err(Full::ForAll { most })
    }

    fn give_back_public(&self, is_of_public: bool) {
        if is_of_public {
            self.held_by_public.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Looking after them broke. It goes on.
    pub(super) fn keeper_broke(&self, now: Timestamp) {
        self.metrics.broke.inc();
        *self.broke.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Why a person should look at how these calls are looked after, in words; for an hour after it broke.
    #[must_use]
    pub fn trouble(&self, now: Timestamp) -> Option<String> {
        let broke = *self.broke.lock().unwrap_or_else(PoisonError::into_inner);
        let broke = broke.filter(|at| now.since(*at) < TOLD_FOR)?;
        let times = self.metrics.broke.get();
        Some(format!(
            "judging them anew has broken, {times} in all and the last one at {broke}; it goes on, and the log has where"
        ))
    }

    pub(super) fn leave(&self, id: u64) {
        if let Some((_, entry)) = self.calls.remove(&id) {
            self.held.fetch_sub(1, Ordering::AcqRel);
            self.give_back_public(is_of_public(&entry.trail));
            self.metrics.open.dec();
        }
    }

    /// How many go on now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether none goes on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Ends the calls of a sign-in that has ended. Returns how many.
    pub fn end_sign_in(&self, sign_in: &str, why: &str, now: Timestamp) -> usize {
        remember(&self.ended, sign_in, why, now);
        let of_it = self.chosen(|entry| entry.sign_in() == Some(sign_in));
        of_it
            .iter()
            .filter(|entry| self.end(entry, Cause::Session, why))
            .count()
    }

    /// The provider says something else of the person of a sign-in: their calls are judged by that at the next beat. Returns how many.
    pub fn sign_in_changed(&self, sign_in: &str, now: Timestamp) -> usize {
        remember(&self.changed, sign_in, "", now);
        let of_it = self.chosen(|entry| entry.sign_in() == Some(sign_in));
        of_it.iter().for_each(|entry| entry.look_up_at(now));
        of_it.len()
    }

    /// The sign-ins at this gateway that have calls under way.
    #[must_use]
    pub fn sign_ins(&self) -> HashSet<Box<str>> {
        let of_ours = self
            .calls
            .iter()
            .filter(|entry| !entry.has_ended() && entry.proved_by_sign_in());
        of_ours.filter_map(|entry| entry.sign_in().map(Into::into)).collect()
    }

    /// Puts these locks in force: ends the calls of everybody who is locked out now, and whatever of theirs still enters.
    /// Returns how many it ended.
    pub fn lock_out(&self, locks: Arc<Locks>, now: Timestamp) -> usize {
        // Before the table is looked through: whoever enters meanwhile finds them, or is found.
        self.locks.store(Arc::clone(&locks));
        let all = self.chosen(|_| true);
        all.iter()
            .filter(|entry| self.end_if_locked(entry, &locks, now))
            .count()
    }

    fn end_if_locked(&self, entry: &Entry, locks: &Locks, now: Timestamp) -> bool {
        let identity = entry.identity();
        let caller = identity.as_deref().map(Identity::subject);
        // Also whoever calls for them.
        let workloads = entry
            .trail
            .on_behalf
            .as_deref()
            .into_iter()
            .flat_map(OnBehalf::workloads);
        let lock = caller.into_iter().chain(workloads).find_map(|one| locks.over(one, now));
        lock.is_some_and(|lock| self.end(entry, Cause::Locked, &lock.in_words()))
    }

    pub(super) fn end(&self, entry: &Entry, cause: Cause, why: &str) -> bool {
        let first = entry.end(cause, why);
        if first {
            self.metrics.ended(cause);
            tracing::info!(
                request.id = entry.trail.id.as_str(),
                cause = cause.as_str(),
                "a long call was ended"
            );
        }
        first
    }

    /// Whether it has neither ended nor been told to.
    pub(super) fn goes_on(&self, entry: &Entry) -> bool {
        !entry.has_ended() && self.calls.contains_key(&entry.id)
    }

    /// The calls to one cluster that were last allowed by another version of its rules.
    pub(super) fn of_other_rules(&self, cluster: &ClusterId, version: u64) -> Vec<Arc<Entry>> {
        self.chosen(|entry| entry.trail.cluster.as_ref() == Some(cluster) && entry.is_of_other_rules(version))
    }

    pub(super) fn chosen(&self, is: impl Fn(&Entry) -> bool) -> Vec<Arc<Entry>> {
        self.calls
            .iter()
            .filter(|entry| !entry.has_ended() && is(entry))
            .map(|entry| Arc::clone(&entry))
            .collect()
    }
}

fn is_of_public(trail: &Trail) -> bool {
    trail.service.as_ref().is_some_and(|called| called.is_public)
}

fn lately(of: &Mutex<Ended>, sign_in: &str) -> Option<Box<str>> {
    let of = of.lock().unwrap_or_else(PoisonError::into_inner);
    of.why.get(sign_in).map(|(_, why)| why.clone())
}

fn remember(of: &Mutex<Ended>, sign_in: &str, why: &str, now: Timestamp) {
    let mut ended = of.lock().unwrap_or_else(PoisonError::into_inner);
    if ended.why.len() >= MOST_ENDED {
        ended.why.retain(|_, (at, _)| now.since(*at) < REMEMBERED);
    }
    if ended.why.len() >= MOST_ENDED {
        let oldest = ended
            .why
            .iter()
            .min_by_key(|(_, (at, _))| *at)
            .map(|(sign_in, _)| sign_in.clone());
        if let Some(oldest) = oldest {
            ended.why.remove(&oldest);
        }
    }
    ended.why.insert(sign_in.into(), (now, why.into()));
}
