//! Has the count on the disk: one thread writes, and each writing is for all that have come since the one before. So whoever waits
//! holds no thread, however long the disk takes.
//!
//! **When it is full:** above [`MOST_WAITING`] nobody waits any more, and those calls are refused.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::tally::{Counted, Tally};

/// So many calls may wait for their count at the same time. Far more than one writing of a healthy disk is for.
pub(super) const MOST_WAITING: usize = 8_192;

/// Whether the count is on the disk.
pub(super) type Kept = Result<(), Arc<io::Error>>;

/// Hands counts to the thread that writes them. Dropping it ends the thread once it has written what it has.
#[derive(Debug)]
pub(super) struct Keeper {
    desk: Arc<Desk>,
}

#[derive(Debug, Default)]
struct Desk {
    asked: Mutex<Asked>,
    comes: Condvar,
}

#[derive(Debug, Default)]
struct Asked {
    /// What is to be written next. What it replaces is left out: each count is all that is counted.
    newest: Option<Counted>,
    /// Of the count that was handed over last.
    number: u64,
    waiting: Vec<Waiting>,
    is_over: bool,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    told: oneshot::Sender<Kept>,
}

impl Keeper {
    /// Begins to write to this file.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(tally: Tally) -> io::Result<Self> {
        let desk = Arc::new(Desk::default());
        let at = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("unrecorded-calls".to_owned());
        // Not waited for at the end: a disk that hangs must not hold the process.
        thread.spawn(move || Writer(at).run(tally))?;
        Ok(Self { desk })
    }

    /// Has this count written as soon as may be. Counts are handed over in the order in which they arose.
    pub(super) fn keep(&self, counted: &Counted) {
        self.desk.asked().hand_over(counted);
        self.desk.comes.notify_one();
    }

    /// As [`Keeper::keep`], and it is told how that went. `None`: too many wait, or nothing is written any more.
    pub(super) fn keep_and_tell(&self, counted: &Counted) -> Option<oneshot::Receiver<Kept>> {
        let mut asked = self.desk.asked();
        if asked.waiting.len() >= MOST_WAITING {
            asked.waiting.retain(|waiting| !waiting.told.is_closed());
        }
        if asked.is_over || asked.waiting.len() >= MOST_WAITING {
            return None;
        }
        asked.hand_over(counted);
        let number = asked.number;
        let (told, is_told) = oneshot::channel();
        asked.waiting.push(Waiting { number, told });
        drop(asked);
        self.desk.comes.notify_one();
        Some(is_told)
    }
}

#[cfg(test)]
impl Keeper {
    /// Whether something waits for the thread to take it up.
    pub(super) fn has_more_to_write(&self) -> bool {
        self.desk.asked().newest.is_some()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.desk.asked().is_over = true;
        self.desk.comes.notify_one();
    }
}

impl Desk {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        // What is done under the lock is whole at every step.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next count to write, and its number; `None`: there will be none.
    fn next(&self) -> Option<(u64, Counted)> {
        let mut asked = self.asked();
        loop {
            if let Some(counted) = asked.newest.take() {
                return Some((asked.number, counted));
            }
            if asked.is_over {
                return None;
            }
            asked = self.comes.wait(asked).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Asked {
    fn hand_over(&mut self, counted: &Counted) {
        self.newest = Some(*counted);
        self.number += 1;
    }
}

struct Writer(Arc<Desk>);

impl Writer {
    fn run(self, mut tally: Tally) {
        while let Some((number, counted)) = self.0.next() {
            let kept: Kept = tally.keep(&counted).map_err(Arc::new);
            let mut asked = self.0.asked();
            let waiting = std::mem::take(&mut asked.waiting);
            let (told, still) = waiting.into_iter().partition(|waiting| waiting.number <= number);
            asked.waiting = still;
            drop(asked);
            answer(told, &kept);
        }
    }
}

fn answer(waiting: Vec<Waiting>, kept: &Kept) {
    if let Err(error) = kept
        && waiting.is_empty()
    {
        tracing::error!(error = %error, "the file that counts calls without a record cannot be written");
    }
    for Waiting { told, .. } in waiting {
        // Whoever has left has no count any more.
        let _ = told.send(kept.clone());
    }
}

impl Drop for Writer {
    /// Also after a fault of ours: nobody may wait for a count that will never be written.
    fn drop(&mut self) {
        let mut asked = self.0.asked();
        asked.is_over = true;
        asked.waiting.clear();
    }
}
