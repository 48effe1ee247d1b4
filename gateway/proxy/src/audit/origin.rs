//! Laundering: who holds a credential that was issued through the gate. A ServiceAccount's token that a person asked for is
//! that person's from then on, whatever name it carries.
//!
//! Bounded: when the table is full, what has ended goes, then what ends first. The ledger's `issued` records are the truth; this is
//! filled from them at a start, and what is new is taken out from time to time, to be kept where a start finds it sooner.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use model::time::Timestamp;

/// Credentials that are remembered at the same time.
pub const MOST_ORIGINS: usize = 100_000;
const MOST: usize = MOST_ORIGINS;
/// Whose end is not known is remembered so long.
const WITHOUT_END: i64 = 86_400;

#[derive(Debug)]
struct Held {
    origin: Arc<str>,
    until: i64,
}

/// The holders of issued credentials, by credential id.
#[derive(Debug, Default)]
pub struct Origins(RwLock<Table>);

#[derive(Debug, Default)]
struct Table {
    held: HashMap<Box<str>, Held>,
    /// What nobody has taken yet. As long as the table: everything in it.
    new: Vec<Box<str>>,
}

/// One credential and who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The credential's id.
    pub id: Box<str>,
    /// The person.
    pub origin: Arc<str>,
    /// Its end, in Unix seconds.
    pub until: i64,
}

impl Origins {
    /// The person behind this credential, if it was issued through the gate.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<Arc<str>> {
        let table = self.0.read().unwrap_or_else(PoisonError::into_inner);
        table.held.get(id).map(|held| Arc::clone(&held.origin))
    }

    /// Remembers who was handed the credential; `expires` in Unix seconds. The first holder stays. Returns whether it is new.
    pub fn keep(&self, id: &str, origin: &Arc<str>, expires: Option<i64>, now: Timestamp) -> bool {
        let mut table = self.table();
        if table.held.contains_key(id) {
            return false;
        }
        let now = now.unix_seconds();
        let until = expires.unwrap_or_else(|| now.saturating_add(WITHOUT_END));
        table.insert(id, Arc::clone(origin), until, now);
        table.is_new(id.into());
        true
    }

    /// Puts back what was kept by an earlier run.
    pub fn restore(&self, kept: Origin, now: Timestamp) {
        self.table()
            .insert(&kept.id, kept.origin, kept.until, now.unix_seconds());
    }

    /// What was not taken before, to be kept.
    pub fn take_new(&self) -> Vec<Origin> {
        let mut table = self.table();
        let new = std::mem::take(&mut table.new);
        let of = |id: &str, held: &Held| Origin {
            id: id.into(),
            origin: Arc::clone(&held.origin),
            until: held.until,
        };
        if new.len() >= MOST {
            return table.held.iter().map(|(id, held)| of(id, held)).collect();
        }
        new.iter().filter_map(|id| Some(of(id, table.held.get(id)?))).collect()
    }

    /// It could not be kept: the next [`Origins::take_new`] has it again.
    pub fn give_back(&self, taken: Vec<Origin>) {
        let mut table = self.table();
        taken.into_iter().for_each(|origin| table.is_new(origin.id));
    }

    fn table(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, id: &str, origin: Arc<str>, until: i64, now: i64) {
        if self.held.len() >= MOST {
            make_room(&mut self.held, now);
        }
        self.held.insert(id.into(), Held { origin, until });
    }

    fn is_new(&mut self, id: Box<str>) {
        if self.new.len() < MOST {
            self.new.push(id);
        }
    }
}

fn make_room(held: &mut HashMap<Box<str>, Held>, now: i64) {
    held.retain(|_, held| held.until > now);
    if held.len() >= MOST {
        let mut ends: Vec<i64> = held.values().map(|held| held.until).collect();
        let (_, middle, _) = ends.select_nth_unstable(MOST / 10);
        let middle = *middle;
        held.retain(|_, held| held.until > middle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn the_first_holder_of_a_credential_stays_its_origin() {
        let origins = Origins::default();
        assert!(origins.keep("JTI=a", &"alice".into(), Some(100), at(1)));
        assert!(!origins.keep("JTI=a", &"bob".into(), Some(100), at(2)));
        assert_eq!(origins.of("JTI=a").as_deref(), Some("alice"));
        assert_eq!(origins.of("JTI=b"), None);
    }

    #[test]
    fn what_is_new_is_taken_once_unless_it_could_not_be_kept() {
        let origins = Origins::default();
        let restored = Origin {
            id: "JTI=old".into(),
            origin: "bob".into(),
            until: 50,
        };
        origins.restore(restored, at(1));
        origins.keep("JTI=a", &"alice".into(), None, at(1));
        let taken = origins.take_new();
        let alice = Origin {
            id: "JTI=a".into(),
            origin: "alice".into(),
            until: 1 + WITHOUT_END,
        };
        assert_eq!(taken, [alice]);
        origins.give_back(taken.clone());
        assert_eq!(origins.take_new(), taken);
        assert_eq!(origins.take_new(), []);
        assert_eq!(origins.of("JTI=old").as_deref(), Some("bob"));
    }

    #[test]
    fn a_full_table_forgets_what_has_ended_and_then_what_ends_first() {
        let origins = Origins::default();
        let alice: Arc<str> = "alice".into();
        for n in 0..MOST {
            let expires = i64::try_from(n).unwrap();
            origins.keep(&format!("JTI={n}"), &alice, Some(expires), at(0));
        }
        assert!(origins.keep("JTI=new", &alice, Some(5), at(10)));
        assert_eq!((origins.of("JTI=10"), origins.of("JTI=11").is_some()), (None, true));
        for n in 0..20 {
            assert!(origins.keep(&format!("JTI=later-{n}"), &alice, Some(i64::MAX), at(10)));
        }
        assert!(
            origins.of(&format!("JTI={}", MOST - 1)).is_some(),
            "the longest-lived stay"
        );
        assert!(origins.0.read().unwrap().held.len() <= MOST);
    }
}
