//! How many bytes of bodies, and of what is to be written down of them, may be in memory, and how many of them one subject's (promise 8).
//! Who finds no room does not wait: the body passes unread, and the record says so.
//!
//! Half of it is kept for first parts: so much each subject may have whatever the others hold. The other half is common, and there a subject
//! has at most an eighth of what the others leave. So a few who hold as much as they can, for as long as they can, take what is common
//! and nobody's first part: with 64 MiB in all and 128 KiB as the first part, 256 subjects have to hold theirs at the same time before
//! somebody else finds nothing. A plain bound for each subject was not enough: eight of them held it all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least that a body is counted as, so that no flood of empty ones fills the table of subjects.
const LEAST: usize = 1 << 10;
/// Of what the others leave in common a subject has one part in so many.
const SHARE: usize = 8;

/// The bytes of all.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    most: usize,
    /// What is kept for each subject.
    first: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// Of that, what is no first part.
    common: usize,
    /// Who has some; never an entry of none.
    of: HashMap<Arc<str>, usize>,
}

/// Room for one body; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    budget: Arc<BodyBudget>,
    subject: Arc<str>,
    bytes: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// So many subjects have their first part that there is none left.
    OfAll,
    /// This one has its first part, and its share of what is common.
    OfSubject,
}

impl NoRoom {
    /// Stable code, for records.
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::OfAll => "budget",
            Self::OfSubject => "ownBudget",
        }
    }
}

impl BodyBudget {
    /// `most` bytes, of which each subject may have the `first` ones in any case while there are any.
    pub(crate) fn of(most: usize, first: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            first,
            taken: Mutex::default(),
        })
    }

    /// Room for so many bytes of this subject's.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn take(self: &Arc<Self>, subject: &str, bytes: usize) -> Result<Room, NoRoom> {
        let mut room = Room {
            budget: Arc::clone(self),
            subject: subject.into(),
            bytes: 0,
        };
        room.resize(bytes)?;
        Ok(room)
    }

    /// How many bytes are taken, and how many may be.
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.taken().all, self.most)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of so many bytes of one subject's, those that are no first part.
    const fn common_of(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.first)
    }

    /// One subject has so many bytes in place of so many. Less is always to be had.
    fn change(&self, subject: &Arc<str>, from: usize, to: usize) -> Result<(), NoRoom> {
        let mut taken = self.taken();
        let before = taken.of.get(subject).copied().unwrap_or_default();
        let after = before.saturating_sub(from).saturating_add(to);
        let all = taken.all.saturating_sub(before).saturating_add(after);
        let others = taken.common.saturating_sub(self.common_of(before));
        if to > from {
            let left = (self.most / 2).saturating_sub(others);
            if self.common_of(after) > left / SHARE {
                return Err(NoRoom::OfSubject);
            }
            if all > self.most {
                return Err(NoRoom::OfAll);
            }
        }
        taken.all = all;
        taken.common = others.saturating_add(self.common_of(after));
        match after {
            0 => drop(taken.of.remove(subject)),
            after => drop(taken.of.insert(Arc::clone(subject), after)),
        }
        Ok(())
    }
}

impl Room {
    /// From now on it is room for so many bytes.
    ///
    /// # Errors
    /// There is no more: it is what it was. Never for less than it is.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let bytes = bytes.max(LEAST.min(self.budget.first));
        self.budget.change(&self.subject, self.bytes, bytes)?;
        self.bytes = bytes;
        Ok(())
    }

    /// From now on it is room for so many bytes more.
    ///
    /// # Errors
    /// As [`Self::resize`].
    pub(crate) fn widen(&mut self, more: usize) -> Result<(), NoRoom> {
        self.resize(self.bytes.saturating_add(more))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Giving back never fails.
        let _ = self.budget.change(&self.subject, self.bytes, 0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1 << 20;
    const FIRST: usize = 4 << 10;

    /// All that this subject can have, in pieces of this size.
    fn all_of(budget: &Arc<BodyBudget>, subject: &str, piece: usize) -> Vec<Room> {
        std::iter::from_fn(|| budget.take(subject, piece).ok()).collect()
    }

    fn held(rooms: &[Room]) -> usize {
        rooms.iter().map(|room| room.bytes).sum()
    }

    /// promise_8: who holds all that can be had leaves everybody else their first part, however many they are below what the half is for; and
    /// what was taken comes back to the last byte.
    #[test]
    fn promise_8_a_few_subjects_cannot_take_the_room_of_the_others() {
        let budget = BodyBudget::of(MOST, FIRST);
        let one = all_of(&budget, "greedy", FIRST);
        assert_eq!(
            held(&one),
            FIRST + MOST / 2 / SHARE / FIRST * FIRST,
            "its first part and its share"
        );
        assert_eq!(budget.take("greedy", 1).err(), Some(NoRoom::OfSubject));
        let most_of_them = MOST / 2 / FIRST - 1;
        let others: Vec<Room> = (0..most_of_them - 1)
            .flat_map(|number| all_of(&budget, &number.to_string(), [FIRST, LEAST][number % 2]))
            .collect();
        assert!(held(&one) + held(&others) <= MOST);
        let mut newcomer = budget.take("newcomer", 1).unwrap();
        newcomer.resize(FIRST / 2).unwrap();
        newcomer.widen(FIRST / 2).unwrap();
        drop((one, others, newcomer));
        let taken = budget.taken();
        assert!(taken.all == 0 && taken.common == 0 && taken.of.is_empty());
    }

    /// promise_8: whoever comes later finds something in common too, until very many have theirs.
    #[test]
    fn promise_8_what_is_common_is_no_prize_for_whoever_comes_first() {
        let budget = BodyBudget::of(64 << 20, 128 << 10);
        let hogs: Vec<Vec<Room>> = (0..12)
            .map(|number| all_of(&budget, &number.to_string(), 64 << 10))
            .collect();
        let hogs: Vec<usize> = hogs.iter().map(|rooms| held(rooms)).collect();
        assert!(hogs[0] <= (4 << 20) + (128 << 10), "{hogs:?}");
        assert!(
            hogs.is_sorted_by(|one, next| one >= next) && hogs[11] >= 512 << 10,
            "{hogs:?}"
        );
    }

    #[test]
    fn where_nobody_s_first_part_is_left_that_is_said() {
        let budget = BodyBudget::of(8 * FIRST, FIRST);
        let firsts: Vec<Room> = (0..8)
            .map(|number| budget.take(&number.to_string(), FIRST).unwrap())
            .collect();
        assert_eq!(budget.take("newcomer", 1).err(), Some(NoRoom::OfAll));
        drop(firsts);
        assert!(budget.take("newcomer", 1).is_ok());
    }

    proptest! {
        #[test]
        fn what_is_given_back_is_what_was_taken(
            acts in prop::collection::vec((0_usize..4, 0_usize..40_000, 0_usize..4, any::<prop::sample::Index>()), 0..80),
        ) {
            let (most, first) = (200_000, 20_000);
            let budget = BodyBudget::of(most, first);
            let mut held: Vec<Room> = Vec::new();
            for (who, bytes, act, which) in acts {
                match act {
                    0 if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                    1 if !held.is_empty() => {
                        let at = which.index(held.len());
                        let room = &mut held[at];
                        let before = room.bytes;
                        let done = room.resize(bytes);
                        prop_assert!(done.is_ok() || (bytes > before && room.bytes == before));
                    }
                    _ => held.extend(budget.take(&who.to_string(), bytes)),
                }
                let taken = budget.taken();
                prop_assert_eq!(taken.all, held.iter().map(|room| room.bytes).sum::<usize>());
                prop_assert_eq!(taken.common, taken.of.values().map(|bytes| bytes.saturating_sub(first)).sum::<usize>());
                prop_assert!(taken.all <= most && taken.common <= most / 2);
                for (subject, bytes) in &taken.of {
                    let theirs: usize = held.iter().filter(|room| room.subject == *subject).map(|room| room.bytes).sum();
                    prop_assert!(theirs == *bytes && *bytes > 0 && bytes.saturating_sub(first) <= most / 2 / SHARE);
                }
                // Four others at the most have something: there is a first part left for whoever comes.
                drop(taken);
                prop_assert!(budget.take("newcomer", first).is_ok());
            }
        }
    }
}
