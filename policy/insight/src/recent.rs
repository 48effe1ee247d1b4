//! Calls that were met already, by all that makes one another: events come in any order, and again.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher as _;

use crate::ServerEvent;

/// A number for the call of an event, the same for all its stages. Its `Audit-ID` alone is its caller's choice. The hash is keyed at
/// random, so that nobody can choose two calls with one number.
#[derive(Debug, Default)]
pub(crate) struct Numbers(RandomState);

impl Numbers {
    pub(crate) fn of(&self, event: &ServerEvent) -> u64 {
        self.0.hash_one((
            &event.audit_id,
            &event.user,
            &event.impersonated,
            &event.verb,
            &event.uri,
            event.received,
        ))
    }
}

/// The newest of them. **When it is full** the oldest is forgotten: what comes in the wrong order is near.
#[derive(Debug)]
pub(crate) struct Recent {
    known: HashSet<u64>,
    order: VecDeque<u64>,
    most: usize,
}

impl Recent {
    pub(crate) fn of(most: usize) -> Self {
        Self {
            known: HashSet::new(),
            order: VecDeque::new(),
            most,
        }
    }

    pub(crate) fn has(&self, call: u64) -> bool {
        self.known.contains(&call)
    }

    /// Whether it is new.
    pub(crate) fn insert(&mut self, call: u64) -> bool {
        if !self.known.insert(call) {
            return false;
        }
        self.order.push_back(call);
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        true
    }
}
