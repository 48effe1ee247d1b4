//! Who may fill how much of the ledger, and keep how much in flight (promise 8).
//!
//! Each subject has limits of its own; all records without identity share one. Above a limit the call is answered
//! 429 and only counted: the counts become summaries with exact numbers. The table of subjects is bounded: when it is
//! full, idle subjects are dropped; when none is idle, a new subject is refused and counted, so that the table never refuses
//! somebody whom it knows.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use model::subject::SubjectId;
use model::time::Timestamp;

use super::limits::Limits;
use crate::clock::Reading;
use crate::refusal::Limit;

/// A rate limit that needs one word: the theoretical arrival time of the next conforming event (GCRA).
#[derive(Debug, Default)]
struct Rate {
    arrival: AtomicU64,
}

impl Rate {
    /// Whether an event at `now` (ns) conforms to one per `interval` ns with `tolerance` ns of burst.
    fn admit(&self, now: u64, interval: u64, tolerance: u64) -> bool {
        let next = |arrival: u64| {
            let arrival = arrival.max(now);
            (arrival.saturating_sub(now) <= tolerance).then(|| arrival.saturating_add(interval))
        };
        self.arrival
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, next)
            .is_ok()
    }

    /// Whether anything may come at `now`, where what it takes is known only afterwards and [`Rate::charge`]d then.
    fn has_room(&self, now: u64, tolerance: u64) -> bool {
        self.arrival.load(Ordering::Relaxed).saturating_sub(now) <= tolerance
    }

    fn charge(&self, now: u64, interval: u64) {
        let next = |arrival: u64| Some(arrival.max(now).saturating_add(interval));
        let _ = self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Takes back an event that was admitted.
    fn give_back(&self, interval: u64) {
        let before = |arrival: u64| Some(arrival.saturating_sub(interval));
        let _ = self.arrival.fetch_update(Ordering::Relaxed, Ordering::Relaxed, before);
    }

    fn is_idle(&self, now: u64) -> bool {
        self.arrival.load(Ordering::Relaxed) < now
    }
}

/// What one subject has used.
#[derive(Debug, Default)]
struct Used {
    /// One of the public's callers.
    is_public: AtomicBool,
    in_flight: AtomicU32,
    streams: AtomicU32,
    logs: AtomicU32,
    proxied: AtomicU32,
    rate: Rate,
    /// Recordings that were made ready and that no session has begun with.
    unbegun: Rate,
    day: AtomicU64,
    bytes: AtomicU64,
    suppressed: Counted,
}

/// Events that were counted instead of recorded, since the last summary. Number and times go together, so one short lock holds them.
#[derive(Debug, Default)]
struct Counted(Mutex<Counts>);

/// Nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    count: u64,
    from: i64,
    to: i64,
}

/// Whose calls were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Of all without identity.
    Strangers,
    /// Of those for whom the table of subjects had no room.
    Newcomers,
    /// Of one subject.
    Subject(SubjectId),
}

/// Counts that are ready to be written as a summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// Whose.
    pub whose: Whose,
    /// How many, exactly.
    pub count: u64,
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub to: Timestamp,
}

impl Counted {
    fn add(&self, at: Timestamp) {
        let at = at.unix_nanos();
        self.join(Counts {
            count: 1,
            from: at,
            to: at,
        });
    }

    fn put_back(&self, counts: &Suppressed) {
        self.join(Counts {
            count: counts.count,
            from: counts.from.unix_nanos(),
            to: counts.to.unix_nanos(),
        });
    }

    fn join(&self, more: Counts) {
        let mut counts = self.counts();
        *counts = if counts.count == 0 {
            more
        } else {
            Counts {
                count: counts.count.saturating_add(more.count),
                from: counts.from.min(more.from),
                to: counts.to.max(more.to),
            }
        };
    }

    fn take(&self, whose: Whose) -> Option<Suppressed> {
        let Counts { count, from, to } = std::mem::take(&mut *self.counts());
        (count > 0).then(|| Suppressed {
            whose,
            count,
            from: Timestamp::from_unix_nanos(from),
            to: Timestamp::from_unix_nanos(to),
        })
    }

    fn is_empty(&self) -> bool {
        self.counts().count == 0
    }

    /// No critical section can panic half-way, so a poisoned lock holds a sound state.
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All budgets of the process.
#[derive(Debug)]
pub struct Budgets {
    limits: ArcSwap<Limits>,
    strangers: Used,
    strangers_bytes: Rate,
    newcomers: Counted,
    subjects: DashMap<SubjectId, Arc<Used>>,
}

/// A place among the requests in flight of one subject; given back on drop.
#[derive(Debug)]
pub struct Place {
    used: Arc<Used>,
    stream: bool,
    alone: Option<Alone>,
}

/// What takes a connection to the cluster for itself; these are few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alone {
    /// The reading of a log.
    Log,
    /// A plain request through a `proxy` subresource.
    Proxied,
}

/// A recording that is made ready for a session. It costs a file, a key and a few syncs of a disk that everybody is recorded
/// on, whether a session begins or not.
#[derive(Debug)]
pub struct Readied {
    used: Arc<Used>,
}

/// Recordings that one subject may have made ready with no session to begin with them. Somebody who enters many pods at once has
/// as many under way.
const MOST_UNBEGUN: u32 = 256;
/// So often one more, nanoseconds.
const UNBEGUN_EVERY: u64 = 500_000_000;

impl Readied {
    /// A session begins with it: it counts no longer.
    pub fn begins(self) {
        self.used.unbegun.give_back(UNBEGUN_EVERY);
    }
}

impl Used {
    const fn alone(&self, what: Alone) -> &AtomicU32 {
        match what {
            Alone::Log => &self.logs,
            Alone::Proxied => &self.proxied,
        }
    }
}

impl Place {
    /// The same place for what takes a connection for itself, of which one subject has at most `most` of each kind at the same
    /// time.
    ///
    /// # Errors
    /// The limit is reached; the place is given back, and the refusal is counted for the subject's next summary.
    pub fn alone(mut self, what: Alone, most: u32, now: Reading) -> Result<Self, Limit> {
        let more = |held: u32| (held < most).then_some(held.saturating_add(1));
        let held = self.used.alone(what);
        if held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            self.used.suppressed.add(now.wall);
            return Err(match what {
                Alone::Log => Limit::Logs(most),
                Alone::Proxied => Limit::Proxied(most),
            });
        }
        self.alone = Some(what);
        Ok(self)
    }

    /// Takes note that a recording is about to be made ready.
    ///
    /// # Errors
    /// Too many were, and no session has begun; the refusal is counted for the subject's next summary.
    pub fn readies_recording(&self, now: Reading) -> Result<Readied, Limit> {
        let burst = UNBEGUN_EVERY.saturating_mul(u64::from(MOST_UNBEGUN.saturating_sub(1)));
        if !self.used.unbegun.admit(now.mono, UNBEGUN_EVERY, burst) {
            self.used.suppressed.add(now.wall);
            return Err(Limit::Unbegun(MOST_UNBEGUN));
        }
        Ok(Readied {
            used: Arc::clone(&self.used),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(what) = self.alone {
            self.used.alone(what).fetch_sub(1, Ordering::Relaxed);
        }
        let cell = if self.stream {
            &self.used.streams
        } else {
            &self.used.in_flight
        };
        cell.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Budgets {
    /// Empty budgets with these limits.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: ArcSwap::from_pointee(limits),
            strangers: Used::default(),
            strangers_bytes: Rate::default(),
            newcomers: Counted::default(),
            subjects: DashMap::new(),
        }
    }

    /// Puts other limits in force. What is held above a lower limit stays until it is given back.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Takes a place for a request of `subject`.
    ///
    /// # Errors
    /// The limit that is reached. The refusal is counted for the subject's next summary and must not be recorded.
    pub fn enter(&self, subject: &SubjectId, stream: bool, now: Reading) -> Result<Place, Limit> {
        let Some(used) = self.of(subject, now) else {
            self.newcomers.add(now.wall);
            return Err(Limit::Subjects);
        };
        self.place(used, stream, now)
    }

    /// The same for one of the public's callers, by the part that it has of what the public has.
    ///
    /// # Errors
    /// [`Limit::Public`], whatever was reached, or that the table is full; counted as above.
    pub fn enter_public(&self, caller: &SubjectId, stream: bool, now: Reading) -> Result<Place, Limit> {
        let Some(used) = self.of(caller, now) else {
            self.newcomers.add(now.wall);
            return Err(Limit::Subjects);
        };
        used.is_public.store(true, Ordering::Relaxed);
        self.place(used, stream, now).map_err(|_| Limit::Public)
    }

    fn place(&self, used: Arc<Used>, stream: bool, now: Reading) -> Result<Place, Limit> {
        // Once: limits that change meanwhile are the next one's.
        let limits = self.limits_of(&used);
        let refuse = |limit| Err(self.count(&used, now, limit));
        if let Some(limit) = over_bytes(&used, limits.bytes_per_day, now) {
            return refuse(limit);
        }
        let interval = 1_000_000_000 / u64::from(limits.records_per_second.max(1));
        let burst = u64::from(limits.burst_seconds) * 1_000_000_000;
        if !used.rate.admit(now.mono, interval, burst) {
            return refuse(Limit::RecordsPerSecond(limits.records_per_second));
        }
        let (cell, most, limit) = if stream {
            (&used.streams, limits.streams, Limit::Streams(limits.streams))
        } else {
            (&used.in_flight, limits.in_flight, Limit::InFlight(limits.in_flight))
        };
        let more = |held: u32| (held < most).then_some(held.saturating_add(1));
        if cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return refuse(limit);
        }
        Ok(Place {
            used,
            stream,
            alone: None,
        })
    }

    /// Adds to a subject's bytes of today.
    pub fn wrote(&self, subject: &SubjectId, bytes: usize) {
        if let Some(used) = self.subjects.get(subject) {
            used.bytes
                .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    /// A subject's bytes of today.
    #[cfg(test)]
    pub(crate) fn bytes_of(&self, subject: &SubjectId) -> u64 {
        let used = self.subjects.get(subject);
        used.map_or(0, |used| used.bytes.load(Ordering::Relaxed))
    }

    /// Whether a subject has filled its bytes of today.
    #[must_use]
    pub fn has_filled_its_day(&self, subject: &SubjectId, now: Reading) -> bool {
        let used = self.subjects.get(subject).map(|used| Arc::clone(&used));
        used.is_some_and(|used| over_bytes(&used, self.limits_of(&used).bytes_per_day, now).is_some())
    }

    fn limits_of(&self, used: &Used) -> Limits {
        let limits = **self.limits.load();
        if used.is_public.load(Ordering::Relaxed) {
            limits.of_one_of_public()
        } else {
            limits
        }
    }

    /// Whether one more record without identity may be written now; otherwise it is counted.
    ///
    /// # Errors
    /// [`Limit::Strangers`].
    pub fn stranger(&self, now: Reading) -> Result<(), Limit> {
        let limits = self.limits.load();
        let interval = 1_000_000_000 / u64::from(limits.strangers_per_second.max(1));
        let burst = u64::from(limits.burst_seconds) * 1_000_000_000;
        if self.strangers_bytes.has_room(now.mono, burst) && self.strangers.rate.admit(now.mono, interval, burst) {
            Ok(())
        } else {
            Err(self.count(&self.strangers, now, Limit::Strangers))
        }
    }

    /// Adds a record without identity to what strangers may write.
    pub fn strangers_wrote(&self, bytes: usize, now: Reading) {
        let each = 1_000_000_000 / u64::from(self.limits.load().strangers_bytes_per_second.max(1));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.strangers_bytes.charge(now.mono, each.saturating_mul(bytes));
    }

    /// Counts a refusal that has no record of its own: judged elsewhere (the gateway host), or not taken by the ledger.
    pub fn count_refusal(&self, whose: Option<&SubjectId>, now: Reading) {
        match whose.map(|subject| self.of(subject, now)) {
            None => self.strangers.suppressed.add(now.wall),
            Some(None) => self.newcomers.add(now.wall),
            Some(Some(used)) => used.suppressed.add(now.wall),
        }
    }

    /// Takes all counts since the last call, for summaries.
    pub fn take_suppressed(&self) -> Vec<Suppressed> {
        let known = self
            .subjects
            .iter()
            .filter_map(|entry| entry.value().suppressed.take(Whose::Subject(entry.key().clone())));
        let mut taken: Vec<_> = known.collect();
        taken.extend(self.strangers.suppressed.take(Whose::Strangers));
        taken.extend(self.newcomers.take(Whose::Newcomers));
        taken
    }

    /// Puts counts back whose summary could not be written: the next one has them.
    pub fn give_back(&self, counts: &Suppressed) {
        match &counts.whose {
            Whose::Strangers => self.strangers.suppressed.put_back(counts),
            Whose::Newcomers => self.newcomers.put_back(counts),
            Whose::Subject(subject) => self
                .subjects
                .entry(subject.clone())
                .or_default()
                .suppressed
                .put_back(counts),
        }
    }

    fn count(&self, used: &Used, now: Reading, limit: Limit) -> Limit {
        used.suppressed.add(now.wall);
        limit
    }

    fn of(&self, subject: &SubjectId, now: Reading) -> Option<Arc<Used>> {
        if let Some(used) = self.subjects.get(subject) {
            return Some(Arc::clone(&used));
        }
        if self.subjects.len() >= self.limits.load().subjects {
            self.forget_idle(now);
        }
        let has_room = self.subjects.len() < self.limits.load().subjects;
        has_room.then(|| Arc::clone(&self.subjects.entry(subject.clone()).or_default()))
    }

    fn forget_idle(&self, now: Reading) {
        self.subjects.retain(|_, used| {
            let busy = used.in_flight.load(Ordering::Relaxed) > 0 || used.streams.load(Ordering::Relaxed) > 0;
            // A subject whose bytes of today would be forgotten could start over: it stays.
            let counts = !used.suppressed.is_empty()
                || used.bytes.load(Ordering::Relaxed) > self.limits_of(used).bytes_per_day / 2;
            busy || counts || !used.rate.is_idle(now.mono) || !used.unbegun.is_idle(now.mono)
        });
    }
}

/// Whether a subject has filled its bytes of today.
fn over_bytes(used: &Used, limit: u64, now: Reading) -> Option<Limit> {
    let today = u64::try_from(now.wall.unix_seconds().div_euclid(86_400)).unwrap_or(0);
    if used.day.swap(today, Ordering::Relaxed) != today {
        used.bytes.store(0, Ordering::Relaxed);
    }
    (used.bytes.load(Ordering::Relaxed) >= limit).then_some(Limit::BytesPerDay(limit))
}

#[cfg(test)]
mod tests {
    use super::super::PublicLimits;
    use super::*;

    fn subject(n: u8) -> SubjectId {
        SubjectId::from_digest([n; 16])
    }

    fn at(seconds: u64) -> Reading {
        Reading {
            wall: Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap()),
            mono: seconds * 1_000_000_000,
        }
    }

    fn limits() -> Limits {
        Limits {
            in_flight: 2,
            streams: 1,
            records_per_second: 10,
            burst_seconds: 1,
            bytes_per_day: 1_000,
            strangers_per_second: 5,
            strangers_bytes_per_second: 100,
            subjects: 2,
            public: PublicLimits::default(),
        }
    }

    #[test]
    fn another_limit_counts_from_the_next_call() {
        let budgets = Budgets::new(limits());
        let subject = SubjectId::from_digest([9; 16]);
        let held: Vec<_> = (0..2).map(|_| budgets.enter(&subject, false, at(0)).unwrap()).collect();
        assert!(budgets.enter(&subject, false, at(0)).is_err());
        budgets.set_limits(Limits {
            in_flight: 3,
            ..limits()
        });
        let third = budgets.enter(&subject, false, at(0)).unwrap();
        budgets.set_limits(Limits {
            in_flight: 1,
            ..limits()
        });
        drop(third);
        assert!(budgets.enter(&subject, false, at(0)).is_err(), "two are held still");
        drop(held);
        assert!(budgets.enter(&subject, false, at(0)).is_ok());
    }

    #[test]
    fn a_place_in_flight_is_given_back_when_the_request_ends() {
        let budgets = Budgets::new(limits());
        let first = budgets.enter(&subject(1), false, at(1)).unwrap();
        let _second = budgets.enter(&subject(1), false, at(1)).unwrap();
        assert_eq!(
            budgets.enter(&subject(1), false, at(1)).unwrap_err(),
            Limit::InFlight(2)
        );
        assert!(
            budgets.enter(&subject(2), false, at(1)).is_ok(),
            "somebody else has places of their own"
        );
        drop(first);
        assert!(budgets.enter(&subject(1), false, at(1)).is_ok());
    }

    #[test]
    fn one_reads_no_more_logs_than_a_share_and_somebody_else_has_their_own() {
        let limits = Limits {
            streams: 10,
            ..limits()
        };
        let budgets = Budgets::new(limits);
        let log = |n| {
            budgets
                .enter(&subject(n), true, at(1))
                .unwrap()
                .alone(Alone::Log, 2, at(1))
        };
        let held = (log(1).unwrap(), log(1).unwrap());
        assert_eq!(log(1).unwrap_err(), Limit::Logs(2));
        assert!(log(2).is_ok());
        drop(held.0);
        assert!(log(1).is_ok(), "given back with its end");
        assert_eq!(budgets.take_suppressed().first().map(|counts| counts.count), Some(1));
    }

    #[test]
    fn promise_8_recordings_that_no_session_begins_with_are_few_and_those_of_sessions_are_not_counted() {
        let budgets = Budgets::new(limits());
        let place = |n| budgets.enter(&subject(n), true, at(1)).unwrap();
        let (hers, his) = (place(1), place(2));
        for _ in 0..10 * MOST_UNBEGUN {
            hers.readies_recording(at(1)).unwrap().begins();
        }
        for _ in 0..MOST_UNBEGUN {
            drop(hers.readies_recording(at(1)).unwrap());
        }
        let refused = || hers.readies_recording(at(1)).unwrap_err();
        assert_eq!(refused(), Limit::Unbegun(MOST_UNBEGUN));
        assert!(his.readies_recording(at(1)).is_ok(), "somebody else's is their own");
        let _another = budgets.enter(&subject(1), false, at(1)).unwrap();
        assert_eq!(
            refused(),
            Limit::Unbegun(MOST_UNBEGUN),
            "another place of hers changes nothing"
        );
        let later = (0..10).filter(|_| hers.readies_recording(at(2)).is_ok()).count();
        assert_eq!(later, 2, "one more each half second");
        assert_eq!(budgets.take_suppressed().first().map(|counts| counts.count), Some(10));
    }

    #[test]
    fn who_has_had_recordings_made_ready_in_vain_is_not_forgotten() {
        let budgets = Budgets::new(Limits {
            subjects: 1,
            ..limits()
        });
        let place = budgets.enter(&subject(1), true, at(1)).unwrap();
        for _ in 0..100 {
            drop(place.readies_recording(at(1)).unwrap());
        }
        drop(place);
        let another = |second| budgets.enter(&subject(2), true, at(second));
        assert_eq!(another(30).unwrap_err(), Limit::Subjects);
        assert!(another(60).is_ok(), "until they would be forgiven anyway");
    }

    #[test]
    fn records_above_the_rate_are_counted_exactly_and_once() {
        let budgets = Budgets::new(limits());
        let admitted = (0..100)
            .filter(|_| budgets.enter(&subject(1), false, at(5)).is_ok())
            .count();
        assert_eq!(admitted, 11, "one second's worth of burst and the one that is due");
        let suppressed = budgets.take_suppressed();
        assert_eq!(
            suppressed,
            [Suppressed {
                whose: Whose::Subject(subject(1)),
                count: 89,
                from: at(5).wall,
                to: at(5).wall
            }]
        );
        assert!(budgets.take_suppressed().is_empty());
        assert!(
            budgets.enter(&subject(1), false, at(6)).is_ok(),
            "the rate recovers with time"
        );
    }

    #[test]
    fn strangers_share_one_budget_and_touch_nobody_elses() {
        let budgets = Budgets::new(limits());
        let admitted = (0..50).filter(|_| budgets.stranger(at(5)).is_ok()).count();
        assert_eq!(admitted, 6);
        assert!(budgets.enter(&subject(1), false, at(5)).is_ok());
        assert_eq!(
            budgets.take_suppressed().first().map(|s| (s.whose.clone(), s.count)),
            Some((Whose::Strangers, 44))
        );
    }

    #[test]
    fn strangers_who_write_much_write_seldom_and_each_is_counted() {
        let budgets = Budgets::new(limits());
        let mut written = 0;
        for second in 1..=100 {
            for _ in 0..3 {
                if budgets.stranger(at(second)).is_ok() {
                    budgets.strangers_wrote(1_000, at(second));
                    written += 1;
                }
            }
        }
        assert!(
            (10..=12).contains(&written),
            "{written} times 1,000 bytes in 100 s, 100 bytes a second"
        );
        let counted: u64 = budgets.take_suppressed().iter().map(|counts| counts.count).sum();
        assert_eq!(written + counted, 300);
    }

    #[test]
    fn counts_whose_summary_was_not_taken_stand_in_the_next_one() {
        let budgets = Budgets::new(limits());
        let flood = |at_second| (0..50).filter(|_| budgets.stranger(at(at_second)).is_err()).count();
        let (first, second) = (flood(5), flood(6));
        let taken = budgets.take_suppressed();
        let third = flood(7);
        taken.iter().for_each(|counts| budgets.give_back(counts));
        let again = budgets.take_suppressed();
        let all = u64::try_from(first + second + third).unwrap();
        assert_eq!(
            again.iter().map(|s| (s.count, s.from, s.to)).collect::<Vec<_>>(),
            [(all, at(5).wall, at(7).wall)]
        );
        assert!(budgets.take_suppressed().is_empty());
    }

    #[test]
    fn bytes_of_a_day_are_forgotten_at_midnight_and_not_before() {
        let budgets = Budgets::new(limits());
        drop(budgets.enter(&subject(1), false, at(86_400)).unwrap());
        budgets.wrote(&subject(1), 1_000);
        assert_eq!(
            budgets.enter(&subject(1), false, at(2 * 86_400 - 1)).unwrap_err(),
            Limit::BytesPerDay(1_000)
        );
        assert!(budgets.enter(&subject(1), false, at(2 * 86_400)).is_ok());
    }

    #[test]
    fn a_full_table_keeps_whom_it_knows_and_forgets_only_the_idle() {
        let budgets = Budgets::new(limits());
        let _held = budgets.enter(&subject(1), false, at(1)).unwrap();
        drop(budgets.enter(&subject(2), false, at(1)).unwrap());
        assert!(budgets.enter(&subject(3), false, at(100)).is_ok(), "subject 2 was idle");
        assert!(budgets.subjects.contains_key(&subject(1)), "subject 1 was not");
        let _also = budgets.enter(&subject(3), false, at(100)).unwrap();
        assert_eq!(
            budgets.enter(&subject(4), false, at(100)).unwrap_err(),
            Limit::Subjects,
            "who has signed in is not told of strangers"
        );
        let counted: Vec<_> = budgets
            .take_suppressed()
            .into_iter()
            .map(|s| (s.whose, s.count))
            .collect();
        assert_eq!(counted, [(Whose::Newcomers, 1)]);
    }

    /// Whoever reads them takes number and times of the same events, also while others are counted.
    #[test]
    fn a_summary_s_times_are_those_of_what_it_counts() {
        const EVENTS: u64 = 200_000;
        let counted = Counted::default();
        let (first, last) = (1_000, 1_000 + i64::try_from(EVENTS).unwrap());
        let summaries = std::thread::scope(|scope| {
            let adding = scope.spawn(|| {
                for nanos in first..last {
                    counted.add(Timestamp::from_unix_nanos(nanos));
                }
            });
            let mut summaries = Vec::new();
            while !adding.is_finished() {
                summaries.extend(counted.take(Whose::Strangers));
            }
            summaries.extend(counted.take(Whose::Strangers));
            summaries
        });
        assert_eq!(summaries.iter().map(|summary| summary.count).sum::<u64>(), EVENTS);
        let mut next = first;
        for summary in summaries {
            let (from, to) = (summary.from.unix_nanos(), summary.to.unix_nanos());
            assert_eq!(from, next, "{summary:?}");
            next = from + i64::try_from(summary.count).unwrap();
            assert_eq!(to, next - 1, "{summary:?}");
        }
    }
}
