//! How many bytes of bodies may be in memory because somebody wants to write them down, and how many of them one subject's
//! (promise 8). Who finds no room does not wait: the body passes unread, and the record says so.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The least that a body is counted as, so that no flood of empty ones fills the table of subjects.
const LEAST: usize = 1 << 10;

/// The bytes of all.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    most: usize,
    most_of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
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

impl BodyBudget {
    pub(crate) fn of(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_of_one,
            taken: Mutex::default(),
        })
    }

    /// Room for so many bytes of this subject's, if there is any.
    pub(crate) fn take(self: &Arc<Self>, subject: &str, bytes: usize) -> Option<Room> {
        let bytes = bytes.max(LEAST.min(self.most_of_one));
        let mut taken = self.taken();
        let of_one = taken.of.get(subject).copied().unwrap_or_default().checked_add(bytes)?;
        let all = taken.all.checked_add(bytes)?;
        if of_one > self.most_of_one || all > self.most {
            return None;
        }
        let subject: Arc<str> = subject.into();
        taken.all = all;
        taken.of.insert(Arc::clone(&subject), of_one);
        Some(Room {
            budget: Arc::clone(self),
            subject,
            bytes,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.budget.taken();
        taken.all = taken.all.saturating_sub(self.bytes);
        let left = taken.of.get(&self.subject).copied().unwrap_or_default();
        match left.saturating_sub(self.bytes) {
            0 => drop(taken.of.remove(&self.subject)),
            left => drop(taken.of.insert(Arc::clone(&self.subject), left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// promise_8: one subject never takes the room of the others, and what was taken comes back to the last byte.
    #[test]
    fn promise_8_one_subject_cannot_take_the_room_of_the_others() {
        let budget = BodyBudget::of(100_000, 30_000);
        let held: Vec<Room> = std::iter::from_fn(|| budget.take("greedy", 10_000)).collect();
        assert_eq!(held.len(), 3);
        assert!(budget.take("other", 30_000).is_some());
        let others: Vec<Room> = (0..).map_while(|n: u32| budget.take(&n.to_string(), 10_000)).collect();
        assert_eq!(others.len(), 7, "all together have a bound as well");
        drop((held, others));
        let taken = budget.taken();
        assert!(taken.all == 0 && taken.of.is_empty());
    }

    proptest! {
        #[test]
        fn what_is_given_back_is_what_was_taken(acts in prop::collection::vec((0_usize..4, 0_usize..40_000, any::<bool>()), 0..60)) {
            let budget = BodyBudget::of(100_000, 50_000);
            let mut held: Vec<Room> = Vec::new();
            for (who, bytes, gives_back) in acts {
                if gives_back {
                    held.pop();
                } else {
                    held.extend(budget.take(&who.to_string(), bytes));
                }
                let taken = budget.taken();
                prop_assert_eq!(taken.all, held.iter().map(|room| room.bytes).sum::<usize>());
                prop_assert!(taken.all <= 100_000);
                for (subject, bytes) in &taken.of {
                    let theirs: usize = held.iter().filter(|room| room.subject == *subject).map(|room| room.bytes).sum();
                    prop_assert!(theirs == *bytes && *bytes > 0 && *bytes <= 50_000);
                }
            }
        }
    }
}
