//! Who may write recordings to the disk at the same time.
//!
//! A write waits for the disk on a thread that may block, and look-ups of sign-ins wait for such threads too: one person's many
//! recordings, or a disk that hangs, must leave some to everybody else (promise 8). When all turns are taken the next one waits;
//! whoever waits too long is told that the disk does not take it in time, as where the disk itself is slow.

use std::fmt;
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use model::subject::SubjectId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// Writes under way of all people: a quarter of the threads that tokio has for what blocks (512).
const MOST: usize = 128;
/// Writes under way of one. A sync takes others with it, so that more of them bring little more to the disk.
pub(super) const MOST_OF_ONE: usize = 16;

/// The turns of the process; clones share them.
#[derive(Clone)]
pub struct Writers(Arc<Turns>);

struct Turns {
    all: Arc<Semaphore>,
    /// Of those who have a recording, and of nobody else.
    people: DashMap<SubjectId, Weak<Share>>,
}

impl Default for Writers {
    fn default() -> Self {
        Self(Arc::new(Turns {
            all: Arc::new(Semaphore::new(MOST)),
            people: DashMap::new(),
        }))
    }
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers")
            .field("free", &self.0.all.available_permits())
            .finish_non_exhaustive()
    }
}

/// What one person may take of the turns. Whoever has a recording holds it.
pub(super) struct Share {
    turns: Arc<Turns>,
    subject: SubjectId,
    own: Arc<Semaphore>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("free", &self.own.available_permits())
            .finish_non_exhaustive()
    }
}

/// Given back on drop.
#[derive(Debug)]
pub(super) struct Turn {
    _all: Option<OwnedSemaphorePermit>,
    _own: Option<OwnedSemaphorePermit>,
}

impl Writers {
    /// The share of this person.
    pub(super) fn share(&self, subject: &SubjectId) -> Arc<Share> {
        let share = || {
            Arc::new(Share {
                turns: Arc::clone(&self.0),
                subject: subject.clone(),
                own: Arc::new(Semaphore::new(MOST_OF_ONE)),
            })
        };
        match self.0.people.entry(subject.clone()) {
            Entry::Occupied(mut known) => known.get().upgrade().unwrap_or_else(|| {
                let new = share();
                known.insert(Arc::downgrade(&new));
                new
            }),
            Entry::Vacant(place) => {
                let new = share();
                place.insert(Arc::downgrade(&new));
                new
            }
        }
    }
}

impl Share {
    /// Runs `write` on a thread that may block, when it is this person's turn. Dropped before that, it never runs; after it, it
    /// goes on and keeps its turn to its end.
    ///
    /// # Errors
    /// `write` panicked.
    pub(super) async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        write: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = self.turn().await;
        // The share, too: a thread that hangs counts against its person also when the recording is given up.
        let share = Arc::clone(self);
        let writing = move || {
            let written = write();
            drop((turn, share));
            written
        };
        tokio::task::spawn_blocking(writing).await
    }

    /// One's own first: who waits for that holds up nobody else. The semaphores are never closed, so neither is refused.
    pub(super) async fn turn(&self) -> Turn {
        let own = Arc::clone(&self.own).acquire_owned().await.ok();
        let all = Arc::clone(&self.turns.all).acquire_owned().await.ok();
        Turn { _all: all, _own: own }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Somebody may have come meanwhile and have a new one.
        let is_gone = |_: &SubjectId, share: &Weak<Self>| share.strong_count() == 0;
        self.turns.people.remove_if(&self.subject, is_gone);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt as _;
    use tokio::task::JoinHandle;

    use super::*;

    fn subject(number: usize) -> SubjectId {
        SubjectId::from_digest((number as u128).to_be_bytes())
    }

    /// As many writes as there are turns for them, none of which ends before `release` is dropped.
    async fn hang(share: &Arc<Share>, count: usize) -> (mpsc::Sender<()>, Vec<JoinHandle<Result<(), JoinError>>>) {
        let (release, released) = mpsc::channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let mut writes = Vec::new();
        for _ in 0..count {
            let (share, released, begun) = (Arc::clone(share), Arc::clone(&released), begun.clone());
            writes.push(tokio::spawn(async move {
                let write = move || {
                    begun.send(()).unwrap();
                    let _ = released.lock().unwrap().recv();
                };
                share.write(write).await
            }));
        }
        for _ in 0..count {
            has_begun.recv().await.unwrap();
        }
        (release, writes)
    }

    #[tokio::test]
    async fn promise_8_one_persons_writes_that_hang_hold_up_no_other_person() {
        let writers = Writers::default();
        let (al, bo) = (writers.share(&subject(1)), writers.share(&subject(2)));
        let (release, writes) = hang(&al, MOST_OF_ONE).await;
        assert!(al.turn().now_or_never().is_none(), "all of al's are taken");
        assert!(
            writers.share(&subject(1)).turn().now_or_never().is_none(),
            "it is one share"
        );
        assert_eq!(bo.write(|| 7).await.unwrap(), 7);
        drop(release);
        for write in writes {
            write.await.unwrap().unwrap();
        }
        assert_eq!(al.write(|| 8).await.unwrap(), 8, "they were given back");
    }

    #[tokio::test]
    async fn promise_8_a_disk_that_hangs_leaves_threads_to_what_is_no_recording() {
        let writers = Writers::default();
        let mut hanging = Vec::new();
        for person in 0..MOST / MOST_OF_ONE {
            let share = writers.share(&subject(person));
            hanging.push((hang(&share, MOST_OF_ONE).await, share));
        }
        let late = writers.share(&subject(MOST));
        assert!(late.turn().now_or_never().is_none(), "all turns are taken");
        assert_eq!(tokio::task::spawn_blocking(|| 7).await.unwrap(), 7, "a look-up goes on");
        let ((release, _), _share) = hanging.pop().unwrap();
        drop(release);
        assert_eq!(late.write(|| 8).await.unwrap(), 8);
        drop(hanging);
    }

    /// The one whose caller is gone keeps its turn while it is at work: a thread is taken as long.
    #[tokio::test]
    async fn a_write_that_nobody_waits_for_any_more_keeps_its_turn() {
        let writers = Writers::default();
        let al = writers.share(&subject(1));
        let (release, writes) = hang(&al, MOST_OF_ONE).await;
        for write in writes {
            write.abort();
            assert!(write.await.unwrap_err().is_cancelled());
        }
        assert_eq!(al.own.available_permits(), 0);
        drop(release);
        assert_eq!(al.write(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn promise_8_what_hangs_counts_also_when_its_recordings_are_given_up() {
        let writers = Writers::default();
        let al = writers.share(&subject(1));
        let (release, writes) = hang(&al, MOST_OF_ONE).await;
        writes.iter().for_each(JoinHandle::abort);
        drop(al);
        let again = writers.share(&subject(1));
        assert!(again.turn().now_or_never().is_none(), "no more threads for that");
        drop(release);
        assert_eq!(again.write(|| 7).await.unwrap(), 7);
    }

    #[test]
    fn who_has_no_recording_any_more_is_forgotten() {
        let writers = Writers::default();
        let al = writers.share(&subject(1));
        let again = writers.share(&subject(1));
        drop(al);
        assert_eq!(writers.0.people.len(), 1);
        drop(again);
        assert!(writers.0.people.is_empty());
    }
}
