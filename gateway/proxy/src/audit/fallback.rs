//! The second attempt of one session. kubectl asks for exec, attach and port-forward by WebSocket, and where that leads
//! nowhere it asks again by SPDY/3.1 (KEP-4006). For people that is one session; this remembers the first attempt, so that the
//! record of the second names it.
//!
//! What it is not: it joins nothing by a client's word. The same subject has to ask the same cluster for the same target from
//! the same address, at once. Bounded: when it is full, the oldest attempt is forgotten, and the second stands for itself.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::cluster::ClusterId;
use model::request::Action;
use model::subject::SubjectId;

use super::trail::{RequestId, Trail};
use crate::listener::Upgrade;

/// A client asks again at once; a slow network is allowed for.
const WITHIN: Duration = Duration::from_secs(30);
/// Attempts that are remembered at the same time.
const MOST: usize = 1_024;

/// WebSocket attempts that led nowhere, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Fallbacks(Mutex<VecDeque<Attempt>>);

#[derive(Debug)]
struct Attempt {
    id: RequestId,
    failed: u64,
    what: What,
}

/// What has to be the same.
#[derive(Debug, PartialEq, Eq)]
struct What {
    subject: SubjectId,
    cluster: ClusterId,
    target: Box<str>,
    ip: Box<str>,
}

impl What {
    /// What this call asks, if it is of the kind that clients repeat and asks it by this protocol.
    fn of(trail: &Trail, upgrade: Upgrade) -> Option<Self> {
        let action = trail.facts.as_ref()?.action();
        let repeats = matches!(action, Action::Exec | Action::Attach | Action::PortForward);
        if !repeats || trail.upgrade != Some(upgrade) {
            return None;
        }
        Some(Self {
            subject: trail.identity.as_deref()?.subject().id().clone(),
            cluster: trail.cluster.clone()?,
            target: trail.target.as_ref()?.raw().into(),
            ip: (*trail.peer.ip).into(),
        })
    }
}

impl Fallbacks {
    /// This call has led nowhere. `now` in nanoseconds since the process began.
    pub(crate) fn failed(&self, trail: &Trail, now: u64) {
        if let Some(what) = What::of(trail, Upgrade::WebSocket) {
            self.keep(trail.id, what, now);
        }
    }

    /// The attempt that this call repeats. Each is given once, the latest first.
    pub(crate) fn first_attempt(&self, trail: &Trail, now: u64) -> Option<RequestId> {
        self.take(&What::of(trail, Upgrade::Spdy31)?, now)
    }

    fn keep(&self, id: RequestId, what: What, now: u64) {
        let mut attempts = self.attempts();
        if attempts.len() >= MOST {
            attempts.pop_front();
        }
        attempts.push_back(Attempt { id, failed: now, what });
    }

    fn take(&self, what: &What, now: u64) -> Option<RequestId> {
        let mut attempts = self.attempts();
        let within = u64::try_from(WITHIN.as_nanos()).unwrap_or(u64::MAX);
        while attempts
            .front()
            .is_some_and(|oldest| now.saturating_sub(oldest.failed) > within)
        {
            attempts.pop_front();
        }
        let at = attempts.iter().rposition(|attempt| attempt.what == *what)?;
        attempts.remove(at).map(|attempt| attempt.id)
    }

    /// No critical section can panic half-way, so a poisoned lock holds a sound state.
    fn attempts(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn what(subject: &str, target: &str, ip: &str) -> What {
        What {
            subject: SubjectId::from_digest([subject.len().try_into().unwrap(); 16]),
            cluster: ClusterId::new("demo").unwrap(),
            target: target.into(),
            ip: ip.into(),
        }
    }

    #[test]
    fn only_the_same_question_of_the_same_person_from_the_same_place_is_a_second_attempt() {
        let fallbacks = Fallbacks::default();
        let asked = || what("alice", "/exec?command=id", "10.0.0.1");
        let id = RequestId::new();
        fallbacks.keep(id, asked(), 0);
        for other in [
            what("bob", "/exec?command=id", "10.0.0.1"),
            what("alice", "/exec?command=ls", "10.0.0.1"),
            what("alice", "/exec?command=id", "10.0.0.2"),
        ] {
            assert_eq!(fallbacks.take(&other, SECOND), None, "{other:?}");
        }
        assert_eq!(fallbacks.take(&asked(), SECOND), Some(id));
        assert_eq!(fallbacks.take(&asked(), SECOND), None, "each is given once");
    }

    #[test]
    fn an_attempt_of_long_ago_is_nobodys_first() {
        let fallbacks = Fallbacks::default();
        let asked = || what("alice", "/exec", "10.0.0.1");
        fallbacks.keep(RequestId::new(), asked(), 0);
        assert_eq!(fallbacks.take(&asked(), 31 * SECOND), None);
        let id = RequestId::new();
        fallbacks.keep(id, asked(), 40 * SECOND);
        assert_eq!(fallbacks.take(&asked(), 70 * SECOND), Some(id));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_attempt() {
        let fallbacks = Fallbacks::default();
        for n in 0..=MOST {
            fallbacks.keep(RequestId::new(), what("alice", &format!("/{n}"), "10.0.0.1"), 0);
        }
        assert_eq!(fallbacks.take(&what("alice", "/0", "10.0.0.1"), 0), None);
        assert!(fallbacks.take(&what("alice", "/1", "10.0.0.1"), 0).is_some());
    }
}
