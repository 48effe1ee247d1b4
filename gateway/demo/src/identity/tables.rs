//! What the provider remembers: codes, refresh handles, access tokens, sessions. Values only, time is an argument.
//!
//! Bounded: a full table first forgets what has expired, then its oldest entry; whoever held that one signs in again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use model::time::Timestamp;

/// A bounded table whose entries expire.
#[derive(Debug)]
pub(super) struct Expiring<T> {
    entries: HashMap<String, (Timestamp, T)>,
    order: VecDeque<String>,
    limit: usize,
    lifetime: Duration,
}

impl<T> Expiring<T> {
    pub(super) fn new(limit: usize, lifetime: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            order: VecDeque::new(),
            limit,
            lifetime,
        }
    }

    pub(super) fn insert(&mut self, key: String, value: T, now: Timestamp) {
        // All entries live equally long, so the oldest is also the first to expire.
        while let Some(oldest) = self.order.front() {
            let gone = self.entries.get(oldest).is_none_or(|(until, _)| *until <= now);
            if !gone && self.entries.len() < self.limit {
                break;
            }
            self.entries.remove(oldest);
            self.order.pop_front();
        }
        self.order.push_back(key.clone());
        self.entries.insert(key, (now.plus(self.lifetime), value));
    }

    pub(super) fn live(&self, key: &str, now: Timestamp) -> Option<&T> {
        self.entries
            .get(key)
            .filter(|(until, _)| now < *until)
            .map(|(_, value)| value)
    }

    pub(super) fn live_mut(&mut self, key: &str, now: Timestamp) -> Option<&mut T> {
        self.entries
            .get_mut(key)
            .filter(|(until, _)| now < *until)
            .map(|(_, value)| value)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.entries.retain(|_, (_, value)| keep(value));
        self.order.retain(|key| self.entries.contains_key(key));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_its_oldest_entry() {
        let mut table = Expiring::new(2, Duration::from_secs(60));
        for name in ["a", "b", "c"] {
            table.insert(name.to_owned(), (), Timestamp::EPOCH);
        }
        assert_eq!(table.len(), 2);
        assert!(table.live("a", Timestamp::EPOCH).is_none());
        assert!(table.live("c", Timestamp::EPOCH).is_some());
    }

    #[test]
    fn an_entry_is_gone_at_the_end_of_its_life() {
        let mut table = Expiring::new(2, Duration::from_secs(60));
        table.insert("a".to_owned(), (), Timestamp::EPOCH);
        assert!(table.live("a", Timestamp::from_unix_seconds(59)).is_some());
        assert!(table.live("a", Timestamp::from_unix_seconds(60)).is_none());
    }
}
