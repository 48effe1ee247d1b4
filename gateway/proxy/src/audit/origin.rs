//! Laundering: who holds a credential that was issued through the gate. A ServiceAccount's token that a person asked for is
//! that person's from then on, whatever name it carries.
//!
//! Bounded: when the table is full, what has ended goes, then what ends first. The ledger's `issued` records are the truth; this is
//! filled from them at a start.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use model::time::Timestamp;

/// Credentials that are remembered at the same time.
const MOST: usize = 100_000;
/// Whose end is not known is remembered so long.
const WITHOUT_END: i64 = 86_400;

#[derive(Debug)]
struct Held {
    origin: Arc<str>,
    until: i64,
}

/// The holders of issued credentials, by credential id.
#[derive(Debug, Default)]
pub struct Origins {
    held: RwLock<HashMap<Box<str>, Held>>,
}

impl Origins {
    /// The person behind this credential, if it was issued through the gate.
    #[must_use]
    pub fn of(&self, id: &str) -> Option<Arc<str>> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        held.get(id).map(|held| Arc::clone(&held.origin))
    }

    /// Remembers who was handed the credential; `expires` in Unix seconds. The first holder stays. Returns whether it is new.
    pub fn keep(&self, id: &str, origin: &Arc<str>, expires: Option<i64>, now: Timestamp) -> bool {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.contains_key(id) {
            return false;
        }
        let now = now.unix_seconds();
        let until = expires.unwrap_or_else(|| now.saturating_add(WITHOUT_END));
        if held.len() >= MOST {
            make_room(&mut held, now);
        }
        let origin = Arc::clone(origin);
        held.insert(id.into(), Held { origin, until });
        true
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
        assert!(origins.held.read().unwrap().len() <= MOST);
    }
}
