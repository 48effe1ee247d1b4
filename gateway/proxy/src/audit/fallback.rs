//! The second attempt of one session. kubectl asks for exec, attach and port-forward by WebSocket, and where that leads
//! nowhere it asks again by SPDY/3.1 (KEP-4006). For people that is one session; this remembers the first attempt, so that the
//! record of the second names it.
//!
//! What it is not: it joins nothing by a client's word. The same subject has to ask the same cluster for the same target from
//! the same address, at once. Bounded: of each attempt a digest is kept, and of one subject no more than [`MOST_OF_ONE`]; when it is
//! full, the oldest attempt is forgotten, the subject's own before others', and the second stands for itself.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use model::request::Action;
use model::subject::SubjectId;

use super::trail::{RequestId, Trail};
use crate::listener::Upgrade;

/// A client asks again at once; a slow network is allowed for.
const WITHIN: Duration = Duration::from_secs(30);
/// Attempts that are remembered at the same time.
const MOST: usize = 1_024;
/// Of one subject; a script may enter some pods at the same time.
const MOST_OF_ONE: usize = 32;

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
#[derive(Clone, Debug, PartialEq, Eq)]
struct What {
    subject: SubjectId,
    /// Of cluster, target and address: a target may be 64 KiB long.
    digest: [u8; 32],
}

impl What {
    /// What this call asks, if it is of the kind that clients repeat and asks it by this protocol.
    fn of(trail: &Trail, upgrade: Upgrade) -> Option<Self> {
        let action = trail.facts.as_ref()?.action();
        let repeats = matches!(action, Action::Exec | Action::Attach | Action::PortForward);
        if !repeats || trail.upgrade != Some(upgrade) {
            return None;
        }
        let subject = trail.identity.as_deref()?.subject().id().clone();
        let (cluster, target) = (trail.cluster.as_ref()?, trail.target.as_ref()?);
        Self::new(subject, [cluster.as_str(), target.raw(), &trail.peer.ip])
    }

    fn new(subject: SubjectId, same: [&str; 3]) -> Option<Self> {
        let mut digest = Context::new(&SHA256);
        for text in same {
            digest.update(&u64::try_from(text.len()).ok()?.to_le_bytes());
            digest.update(text.as_bytes());
        }
        let digest = digest.finish().as_ref().try_into().ok()?;
        Some(Self { subject, digest })
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
        expire(&mut attempts, now);
        let is_theirs = |attempt: &Attempt| attempt.what.subject == what.subject;
        if attempts.iter().filter(|attempt| is_theirs(attempt)).count() >= MOST_OF_ONE {
            let oldest = attempts.iter().position(is_theirs);
            drop(oldest.and_then(|oldest| attempts.remove(oldest)));
        } else if attempts.len() >= MOST {
            attempts.pop_front();
        }
        attempts.push_back(Attempt { id, failed: now, what });
    }

    fn take(&self, what: &What, now: u64) -> Option<RequestId> {
        let mut attempts = self.attempts();
        expire(&mut attempts, now);
        let at = attempts.iter().rposition(|attempt| attempt.what == *what)?;
        attempts.remove(at).map(|attempt| attempt.id)
    }

    /// No critical section can panic half-way, so a poisoned lock holds a sound state.
    fn attempts(&self) -> MutexGuard<'_, VecDeque<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets those of too long ago.
fn expire(attempts: &mut VecDeque<Attempt>, now: u64) {
    let within = u64::try_from(WITHIN.as_nanos()).unwrap_or(u64::MAX);
    let is_old = |oldest: &Attempt| now.saturating_sub(oldest.failed) > within;
    while attempts.front().is_some_and(is_old) {
        attempts.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn what(subject: &str, target: &str, ip: &str) -> What {
        let mut digest = [0; 16];
        digest[..subject.len()].copy_from_slice(subject.as_bytes());
        What::new(SubjectId::from_digest(digest), ["demo", target, ip]).unwrap()
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
    fn what_is_remembered_is_short_and_its_parts_are_kept_apart() {
        let long = what("alice", &"x".repeat(64 << 10), "10.0.0.1");
        assert_eq!(size_of_val(&long.digest), 32);
        assert_ne!(what("alice", "/exec1", "0.0.0.1"), what("alice", "/exec", "10.0.0.1"));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_attempt() {
        let fallbacks = Fallbacks::default();
        let of = |n: usize| what(&format!("p{n}"), "/exec", "10.0.0.1");
        for n in 0..=MOST {
            fallbacks.keep(RequestId::new(), of(n), 0);
        }
        assert_eq!(fallbacks.take(&of(0), 0), None);
        assert!(fallbacks.take(&of(1), 0).is_some());
    }

    #[test]
    fn promise_8_one_person_s_attempts_drive_out_their_own_alone() {
        let fallbacks = Fallbacks::default();
        let of_bob = what("bob", "/exec", "10.0.0.2");
        fallbacks.keep(RequestId::new(), of_bob.clone(), 0);
        let of = |n: usize| what("alice", &format!("/exec?n={n}"), "10.0.0.1");
        for n in 0..10 * MOST {
            fallbacks.keep(RequestId::new(), of(n), 0);
        }
        assert_eq!(fallbacks.attempts().len(), 1 + MOST_OF_ONE);
        assert!(fallbacks.take(&of_bob, 0).is_some(), "another's is still there");
        assert!(fallbacks.take(&of(10 * MOST - 1), 0).is_some(), "and their latest");
        // What has expired is gone with the next one, whoever's.
        fallbacks.keep(RequestId::new(), of_bob, 31 * SECOND);
        assert_eq!(fallbacks.attempts().len(), 1);
    }
}
