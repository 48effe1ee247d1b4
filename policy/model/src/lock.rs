//! Who is locked out: no credential of theirs counts, whoever vouches for it, until the lock ends or is lifted.
//!
//! To Kubernetes a person is a user name, so that a lock on a person counts for everybody who is proved under that name: the
//! sign-in, the raw token and the client certificate of one person may be three subjects. Names of ServiceAccounts are given
//! by each cluster for itself, so that a lock on one counts for that subject alone.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::subject::{Subject, SubjectId, SubjectKind};
use crate::time::Timestamp;

/// A lock on one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Who is locked out.
    pub subject: SubjectId,
    /// What kind of subject.
    pub kind: SubjectKind,
    /// Their Kubernetes user name.
    pub user: String,
    /// For display, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// It ends by itself then; [`Timestamp::MAX`] where somebody has to lift it.
    #[serde(skip_serializing_if = "Lock::is_without_end")]
    pub until: Timestamp,
    /// Why, in the words of whoever locked.
    pub why: String,
    /// The user name of whoever locked.
    pub by: String,
    /// Since when.
    pub at: Timestamp,
}

impl Lock {
    /// Whether it is in force.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Whether it counts for everybody of that user name, and not for the one subject alone.
    #[must_use]
    pub const fn is_by_name(&self) -> bool {
        matches!(self.kind, SubjectKind::Person)
    }

    /// Whether it counts for `subject`, at any time.
    #[must_use]
    pub fn is_on(&self, subject: &Subject) -> bool {
        self.subject == *subject.id()
            || (self.is_by_name() && subject.kind() == self.kind && self.user == subject.username())
    }

    /// One sentence for whoever is locked out.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self {
            user, by, why, until, ..
        } = self;
        if Self::is_without_end(until) {
            format!("{user} is locked by {by}: {why}")
        } else {
            format!("{user} is locked by {by} until {until}: {why}")
        }
    }

    fn is_without_end(until: &Timestamp) -> bool {
        *until == Timestamp::MAX
    }
}

/// All locks at one time, to be asked on each request.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    of_subjects: HashMap<SubjectId, Arc<Lock>>,
    of_names: HashMap<Box<str>, Arc<Lock>>,
}

impl Locks {
    /// Of several that count for the same name, the one that ends last is told.
    #[must_use]
    pub fn new(locks: impl IntoIterator<Item = Lock>) -> Self {
        let mut all = Self::default();
        for lock in locks.into_iter().map(Arc::new) {
            let ends_later = |known: &Arc<Lock>| known.until < lock.until;
            if lock.is_by_name() && all.of_names.get(lock.user.as_str()).is_none_or(ends_later) {
                all.of_names.insert(lock.user.as_str().into(), Arc::clone(&lock));
            }
            all.of_subjects.insert(lock.subject.clone(), lock);
        }
        all
    }

    /// The lock that is on `subject` now, if there is one.
    #[must_use]
    pub fn over(&self, subject: &Subject, now: Timestamp) -> Option<&Arc<Lock>> {
        if self.of_subjects.is_empty() {
            return None;
        }
        let of_name = || match subject.kind() {
            SubjectKind::Person => self.of_names.get(subject.username()),
            SubjectKind::ServiceAccount | SubjectKind::Workload | SubjectKind::Public => None,
        };
        let own = self.of_subjects.get(subject.id()).filter(|lock| lock.holds(now));
        own.or_else(|| of_name().filter(|lock| lock.holds(now)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::subject::SubjectParts;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    fn subject(number: u8, kind: SubjectKind, user: &str) -> Subject {
        let groups = match kind {
            SubjectKind::ServiceAccount => vec![
                "system:serviceaccounts".to_owned(),
                "system:serviceaccounts:shop".to_owned(),
            ],
            _ => Vec::new(),
        };
        Subject::new(SubjectParts {
            id: SubjectId::from_digest([number; 16]),
            kind,
            issuer: format!("issuer-{number}"),
            subject: user.to_owned(),
            username: user.to_owned(),
            uid: None,
            groups,
            extra: BTreeMap::new(),
            email: None,
        })
        .unwrap()
    }

    fn lock(of: &Subject, until: Timestamp, why: &str) -> Lock {
        Lock {
            subject: of.id().clone(),
            kind: of.kind(),
            user: of.username().to_owned(),
            email: None,
            until,
            why: why.to_owned(),
            by: "carol".to_owned(),
            at: NOW,
        }
    }

    #[test]
    fn a_lock_on_a_person_counts_for_whoever_is_proved_under_the_name_and_for_the_subject_under_another() {
        let alice = subject(1, SubjectKind::Person, "alice");
        let by_certificate = subject(2, SubjectKind::Person, "alice");
        let renamed = subject(1, SubjectKind::Person, "alice.lee");
        let bob = subject(3, SubjectKind::Person, "bob");
        let locks = Locks::new([lock(&alice, Timestamp::MAX, "left")]);
        for locked in [&alice, &by_certificate, &renamed] {
            assert!(locks.over(locked, NOW).is_some(), "{locked:?}");
        }
        assert!(locks.over(&bob, NOW).is_none());
        assert!(Locks::default().over(&alice, NOW).is_none());
    }

    #[test]
    fn a_lock_on_a_service_account_leaves_the_one_of_that_name_at_another_cluster() {
        let name = "system:serviceaccount:shop:ci";
        let here = subject(1, SubjectKind::ServiceAccount, name);
        let there = subject(2, SubjectKind::ServiceAccount, name);
        let locks = Locks::new([lock(&here, Timestamp::MAX, "leaked")]);
        assert!(locks.over(&here, NOW).is_some());
        assert!(locks.over(&there, NOW).is_none());
    }

    #[test]
    fn a_lock_ends_at_its_time_and_of_two_the_one_that_holds_is_told() {
        let hour = NOW.plus(Duration::from_secs(3_600));
        let (alice, again) = (
            subject(1, SubjectKind::Person, "alice"),
            subject(2, SubjectKind::Person, "alice"),
        );
        let both = [
            lock(&alice, hour, "for an hour"),
            lock(&again, Timestamp::MAX, "for good"),
        ];
        for order in [both.clone(), [both[1].clone(), both[0].clone()]] {
            let locks = Locks::new(order);
            assert_eq!(locks.over(&alice, NOW).unwrap().why, "for an hour");
            assert_eq!(locks.over(&alice, hour).unwrap().why, "for good");
        }
        let locks = Locks::new([lock(&alice, hour, "for an hour")]);
        assert!(locks.over(&alice, hour).is_none());
    }

    #[test]
    fn whoever_is_locked_out_reads_by_whom_until_when_and_why() {
        let alice = subject(1, SubjectKind::Person, "alice");
        assert_eq!(
            lock(&alice, Timestamp::MAX, "TICKET-7").in_words(),
            "alice is locked by carol: TICKET-7"
        );
        assert_eq!(
            lock(&alice, NOW, "TICKET-7").in_words(),
            format!("alice is locked by carol until {NOW}: TICKET-7")
        );
    }
}
