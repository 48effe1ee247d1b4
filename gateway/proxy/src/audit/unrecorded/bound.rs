//! How many calls of a bounded class go on, for how long, and when they may again.
//!
//! One bound is for a run of trouble and not for each: whoever makes a disk fail and lets it be well in turn has no more of it than
//! whoever makes it fail once. So nothing makes it whole but health that was seen, without a break, for as long as the bound lasts
//! and for [`WELL_FOR`] at least, with all that went on recorded before it begins. Values in, values out; what is spent stands in
//! the file, the rest is in memory and begins anew, with less allowed, when the process does.

use std::collections::HashMap;
use std::time::Duration;

use model::event::ByClass;
use model::subject::SubjectId;

use super::tally::Window;
use super::{CallClass, FailModes};
use crate::clock::Reading;

/// For so long at least a ledger has to take records before a bound is whole again. A bound of a second would be whole each second
/// otherwise; with this, a disk that comes and goes as it suits somebody lets no more than one bound an hour go on, of which a quarter
/// is theirs, and each hour begins with a `gap` record and an alert.
pub(super) const WELL_FOR: Duration = Duration::from_secs(3_600);

/// The bound of both classes.
#[derive(Debug)]
pub(super) struct Bound {
    most: u64,
    within: Duration,
    /// When the window began, as monotonic time; that of an earlier run began before 0.
    began: i128,
    /// What each subject took of this window.
    shares: HashMap<Option<SubjectId>, ByClass<u64>>,
    well: Option<Well>,
}

/// A ledger that takes records.
#[derive(Clone, Copy, Debug)]
struct Well {
    /// Monotonic time, in nanoseconds.
    since: u64,
    /// How often it had stopped by then.
    troubles: u64,
}

impl Bound {
    /// With what an earlier run has spent.
    pub(super) fn new(chosen: &FailModes, window: Option<&Window>, now: Reading) -> Self {
        let elapsed = window.map_or(Duration::ZERO, |window| now.wall.since(window.began));
        Self {
            most: chosen.most,
            within: chosen.within,
            began: i128::from(now.mono).saturating_sub(nanos(elapsed)),
            shares: HashMap::new(),
            well: None,
        }
    }

    /// Whether one more call of the class has room in it.
    pub(super) fn has_room(&self, window: Option<&Window>, class: CallClass, now: Reading) -> bool {
        let Some(window) = window else { return self.most > 0 };
        let elapsed = i128::from(now.mono).saturating_sub(self.began);
        class.of(&window.spent) < self.most && elapsed < nanos(self.within)
    }

    /// Takes the room of one call, if there is some for it. Of one bound no subject takes more than a quarter, so that nobody uses
    /// up what others need.
    pub(super) fn take(
        &mut self,
        window: &mut Option<Window>,
        class: CallClass,
        subject: Option<&SubjectId>,
        now: Reading,
    ) -> bool {
        let subject = subject.cloned();
        let taken = self.shares.get(&subject).map_or(0, |taken| class.of(taken));
        if !self.has_room(window.as_ref(), class, now) || taken >= self.most.div_ceil(4) {
            return false;
        }
        let window = window.get_or_insert_with(|| {
            self.began = i128::from(now.mono);
            Window {
                began: now.wall,
                spent: ByClass::default(),
            }
        });
        *class.of_mut(&mut window.spent) += 1;
        *class.of_mut(self.shares.entry(subject).or_default()) += 1;
        true
    }

    /// Gives back the room of a call that did not go on.
    pub(super) fn give_back(&mut self, window: &mut Option<Window>, class: CallClass, subject: Option<&SubjectId>) {
        let less = |each: &mut ByClass<u64>| {
            let count = class.of_mut(each);
            *count = count.saturating_sub(1);
        };
        window.iter_mut().for_each(|window| less(&mut window.spent));
        let subject = subject.cloned();
        let Some(share) = self.shares.get_mut(&subject) else {
            return; // of a bound that is whole again
        };
        less(share);
        if *share == ByClass::default() {
            self.shares.remove(&subject);
        }
    }

    /// A call has met with trouble.
    pub(super) const fn is_troubled(&mut self) {
        self.well = None;
    }

    /// The ledger was looked at: it takes records, everything that went on is recorded, and it had stopped `troubles` times until
    /// now; or else `None`. Answers whether the bound became whole.
    pub(super) fn sees(&mut self, window: &mut Option<Window>, troubles: Option<u64>, now: Reading) -> bool {
        let Some(troubles) = troubles else {
            self.well = None;
            return false;
        };
        // What failed and was well again between two looks was not well.
        let well = self.well.filter(|well| well.troubles == troubles);
        let well = well.unwrap_or(Well {
            since: now.mono,
            troubles,
        });
        self.well = Some(well);
        let for_so_long = Duration::from_nanos(now.mono.saturating_sub(well.since));
        if window.is_none() || for_so_long < self.within.max(WELL_FOR) {
            return false;
        }
        *window = None;
        self.shares.clear();
        true
    }
}

fn nanos(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use model::time::Timestamp;
    use proptest::prelude::*;

    use super::super::FailMode;
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn bound(most: u64, within: u64) -> Bound {
        let chosen = FailModes {
            modes: ByClass {
                reads: FailMode::Bounded,
                effects: FailMode::Bounded,
            },
            most,
            within: Duration::from_secs(within),
        };
        Bound::new(&chosen, None, at(0))
    }

    fn at(seconds: u64) -> Reading {
        Reading {
            wall: Timestamp::EPOCH.plus(Duration::from_secs(seconds)),
            mono: seconds * SECOND,
        }
    }

    fn subject(number: u8) -> SubjectId {
        SubjectId::from_digest([number; 16])
    }

    #[test]
    fn a_bound_is_whole_after_health_that_was_seen_for_as_long_as_it_lasts_and_for_an_hour_at_least() {
        for (within, heals_after) in [(1, 3_600), (3_600, 3_600), (7_200, 7_200)] {
            let (mut bound, mut window) = (bound(4, within), None);
            assert!(bound.take(&mut window, CallClass::Reads, Some(&subject(1)), at(10)));
            assert!(!bound.sees(&mut window, Some(1), at(20)));
            assert!(!bound.sees(&mut window, Some(1), at(20 + heals_after - 1)));
            assert!(!bound.take(&mut window, CallClass::Reads, Some(&subject(1)), at(21)));
            assert!(bound.sees(&mut window, Some(1), at(20 + heals_after)));
            assert!(window.is_none());
            assert!(
                !bound.sees(&mut window, Some(1), at(20 + heals_after)),
                "it is said once"
            );
            assert!(bound.take(&mut window, CallClass::Reads, Some(&subject(1)), at(20 + heals_after)));
        }
    }

    /// Each of these ends the health that was seen: a look at trouble, trouble between two looks, a call that met with it.
    #[test]
    fn health_with_a_break_in_it_begins_anew() {
        for break_in in 0..3 {
            let (mut bound, mut window) = (bound(4, 60), None);
            assert!(bound.take(&mut window, CallClass::Effects, None, at(0)));
            assert!(!bound.sees(&mut window, Some(1), at(0)));
            let troubles = match break_in {
                0 => {
                    assert!(!bound.sees(&mut window, None, at(3_000)));
                    1
                }
                1 => 2,
                _ => {
                    bound.is_troubled();
                    1
                }
            };
            assert!(!bound.sees(&mut window, Some(troubles), at(3_600)), "{break_in}");
            assert!(!bound.sees(&mut window, Some(troubles), at(7_199)), "{break_in}");
            assert!(bound.sees(&mut window, Some(troubles), at(7_200)), "{break_in}");
        }
    }

    #[test]
    fn time_runs_from_the_first_call_and_an_earlier_run_has_begun_it() {
        let (mut bound, mut window) = (bound(8, 60), None);
        for (seconds, who, goes_on) in [(100, 1, true), (159, 2, true), (160, 3, false)] {
            let took = bound.take(&mut window, CallClass::Reads, Some(&subject(who)), at(seconds));
            assert_eq!(took, goes_on, "{seconds}");
        }
        let began = Window {
            began: at(100).wall,
            spent: ByClass { reads: 2, effects: 0 },
        };
        assert_eq!(window, Some(began));
        let chosen = FailModes {
            modes: ByClass::default(),
            most: 8,
            within: Duration::from_secs(60),
        };
        // The next process counts its monotonic time from its own begin.
        for (wall, goes_on) in [(159, true), (160, false)] {
            let now = Reading { mono: 5, ..at(wall) };
            let next = Bound::new(&chosen, Some(&began), now);
            assert_eq!(next.has_room(Some(&began), CallClass::Reads, now), goes_on, "{wall}");
        }
    }

    proptest! {
        /// Whoever takes and gives back in any order: never more than the bound, never more than a quarter of one subject, and
        /// subjects without a share leave nothing behind.
        #[test]
        fn nobody_takes_more_than_their_share_and_all_together_no_more_than_the_bound(
            most in 0..40_u64,
            steps in proptest::collection::vec((0..6_u8, any::<bool>(), any::<bool>()), 0..200),
        ) {
            let (mut bound, mut window) = (bound(most, 60), None);
            let mut held: HashMap<(u8, bool), u64> = HashMap::new();
            for (who, reads, takes) in steps {
                let class = if reads { CallClass::Reads } else { CallClass::Effects };
                let count = held.entry((who, reads)).or_default();
                if takes {
                    *count += u64::from(bound.take(&mut window, class, Some(&subject(who)), at(1)));
                } else if *count > 0 {
                    bound.give_back(&mut window, class, Some(&subject(who)));
                    *count -= 1;
                }
                prop_assert!(*count <= most.div_ceil(4));
            }
            for reads in [true, false] {
                let all: u64 = held.iter().filter(|((_, of), _)| *of == reads).map(|(_, count)| count).sum();
                prop_assert!(all <= most);
                let class = if reads { CallClass::Reads } else { CallClass::Effects };
                prop_assert_eq!(window.map_or(0, |window| class.of(&window.spent)), all);
            }
            let with_some: std::collections::HashSet<u8> =
                held.iter().filter(|(_, count)| **count > 0).map(|((who, _), _)| *who).collect();
            prop_assert_eq!(bound.shares.len(), with_some.len());
        }
    }
}
