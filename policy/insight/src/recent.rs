//! Calls that were met already, by all that makes one another: events come in any order, and again.

use std::collections::hash_map::RandomState;
use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher as _;

use model::time::Timestamp;

use crate::ServerEvent;

/// Of the times under one id, so many beside the first are told apart.
const MOST_TIMES: usize = 64;

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

/// When the calls under one id came: all stages of a call have one time, whether it has ended or not. **When it is full** others are not
/// counted: whoever has the gateway's credential may send an id as often as they like.
#[derive(Debug, Default)]
pub(crate) struct Times {
    first: Option<Timestamp>,
    others: Vec<Timestamp>,
}

impl Times {
    pub(crate) fn add(&mut self, time: Timestamp) {
        let Some(first) = &mut self.first else {
            self.first = Some(time);
            return;
        };
        if time == *first || self.others.contains(&time) {
            return;
        }
        let later = std::mem::replace(first, time.min(*first)).max(time);
        if self.others.len() < MOST_TIMES {
            self.others.push(later);
        }
    }

    pub(crate) const fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// How many of them, at least.
    pub(crate) fn count(&self) -> u32 {
        let others = u32::try_from(self.others.len()).unwrap_or(u32::MAX);
        u32::from(self.first.is_some()).saturating_add(others)
    }
}
