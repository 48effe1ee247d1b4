//! Whose turn it is to mask a long body: what one is taken apart to takes many times its own room, so that only so many are at a time.
//!
//! Subjects take turns, and of one subject who came first: whoever sends a hundred long bodies at once makes everybody else wait for one of
//! them, not for a hundred (promise 8). Who waits no longer, because the client has left, is passed over and leaves nothing behind. The line
//! needs no bound of its own: who stands in it holds room of the [budget](super::budget).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The turns, and who waits for one.
#[derive(Debug)]
pub(super) struct Turns {
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    /// Turns that nobody has. As long as there are any nobody waits.
    free: usize,
    /// Who waits, each subject's own in the order in which they came; never an entry of none.
    of: HashMap<Arc<str>, VecDeque<oneshot::Sender<Turn>>>,
    /// Each of those subjects once: the first is the next.
    next: VecDeque<Arc<str>>,
}

/// The right to mask one body; given back when dropped, wherever that is.
#[derive(Debug)]
pub(in crate::audit) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// So many at a time.
    pub(super) fn of(most: usize) -> Arc<Self> {
        Arc::new(Self {
            line: Mutex::new(Line {
                free: most,
                of: HashMap::new(),
                next: VecDeque::new(),
            }),
        })
    }

    /// Waits for a turn. Dropped before it has come, nothing was taken.
    pub(super) async fn take(self: &Arc<Self>, subject: &str) -> Turn {
        let waiting = {
            let mut line = self.line();
            match line.free.checked_sub(1) {
                Some(free) => {
                    line.free = free;
                    return Turn(Some(Arc::clone(self)));
                }
                None => line.wait(subject),
            }
        };
        // Nobody drops a sender whose receiver is there; if it were so, the body would be masked all the same.
        waiting.await.unwrap_or(Turn(None))
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn is over: it is the next one's. Nothing is handed over under the lock, as who has left meanwhile gives it back at once.
    fn pass_on(self: &Arc<Self>) {
        let mut turn = Turn(Some(Arc::clone(self)));
        loop {
            let Some(next) = self.line().leave() else {
                turn.0 = None;
                return;
            };
            match next.send(turn) {
                Ok(()) => return,
                Err(back) => turn = back,
            }
        }
    }
}

impl Line {
    fn wait(&mut self, subject: &str) -> oneshot::Receiver<Turn> {
        let (turn, waiting) = oneshot::channel();
        if let Some(theirs) = self.of.get_mut(subject) {
            // Those who have left are not counted by the budget any more.
            theirs.retain(|turn| !turn.is_closed());
            theirs.push_back(turn);
        } else {
            let subject: Arc<str> = subject.into();
            self.next.push_back(Arc::clone(&subject));
            self.of.insert(subject, VecDeque::from([turn]));
        }
        waiting
    }

    /// Whose turn it is; `None`: nobody's, and there is one more that is free.
    fn leave(&mut self) -> Option<oneshot::Sender<Turn>> {
        while let Some(subject) = self.next.pop_front() {
            let Some(theirs) = self.of.get_mut(&subject) else {
                continue;
            };
            let mut first = theirs.pop_front();
            while first.as_ref().is_some_and(oneshot::Sender::is_closed) {
                first = theirs.pop_front();
            }
            if theirs.is_empty() {
                self.of.remove(&subject);
            } else {
                self.next.push_back(subject);
            }
            if first.is_some() {
                return first;
            }
        }
        self.free = self.free.saturating_add(1);
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;

    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    type Waiting = Pin<Box<dyn Future<Output = Turn>>>;

    fn asks(turns: &Arc<Turns>, subject: &str) -> Waiting {
        let (turns, subject) = (Arc::clone(turns), subject.to_owned());
        let mut waiting: Waiting = Box::pin(async move { turns.take(&subject).await });
        // It takes its place in the line when it is first asked.
        match (&mut waiting).now_or_never() {
            Some(turn) => Box::pin(std::future::ready(turn)),
            None => waiting,
        }
    }

    /// promise_8: whoever has a hundred long bodies is waited for once.
    #[test]
    fn promise_8_who_has_many_long_bodies_is_waited_for_once() {
        let turns = Turns::of(1);
        let mut held = asks(&turns, "hog").now_or_never();
        assert!(held.is_some());
        let mut hogs: Vec<Waiting> = (0..100).map(|_| asks(&turns, "hog")).collect();
        let mut other = asks(&turns, "other");
        let mut before = 0;
        loop {
            drop(held.take());
            if (&mut other).now_or_never().is_some() {
                break;
            }
            held = (&mut hogs[before]).now_or_never();
            assert!(held.is_some(), "a turn is lost");
            before += 1;
            assert!(before <= 2, "the other one waits for {before} of the hog's");
        }
    }

    /// promise_8: nobody who has left keeps a turn, or a place in the line.
    #[test]
    fn promise_8_who_leaves_takes_no_turn_and_leaves_nothing_behind() {
        let turns = Turns::of(2);
        let held: Vec<Turn> = ["a", "b"]
            .map(|subject| asks(&turns, subject).now_or_never().unwrap())
            .into();
        for _ in 0..1_000 {
            drop(asks(&turns, "impatient"));
        }
        assert!(
            turns.line().of["impatient"].len() <= 1,
            "who has left stands in the line"
        );
        let (left, stays) = (asks(&turns, "left"), asks(&turns, "stays"));
        drop(held);
        // It was handed to one who leaves before taking it.
        drop(left);
        assert!(stays.now_or_never().is_some());
        let line = turns.line();
        assert!(line.free == 2 && line.of.is_empty() && line.next.is_empty(), "{line:?}");
    }

    proptest! {
        #[test]
        fn each_turn_is_somebody_s_or_free_and_nobody_is_passed_over(
            most in 1_usize..4, acts in prop::collection::vec((0_usize..4, 0_usize..5, any::<prop::sample::Index>()), 1..120),
        ) {
            let turns = Turns::of(most);
            let (mut held, mut waiting): (Vec<Turn>, Vec<(usize, Waiting)>) = (Vec::new(), Vec::new());
            // How often another one had a turn while this subject waited for its next.
            let mut passed_over = [[0_usize; 5]; 5];
            for (act, subject, which) in acts {
                match act {
                    0 if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                    1 if !waiting.is_empty() => drop(waiting.remove(which.index(waiting.len()))),
                    _ => waiting.push((subject, asks(&turns, &subject.to_string()))),
                }
                let mut at = 0;
                while at < waiting.len() {
                    let Some(turn) = (&mut waiting[at].1).now_or_never() else {
                        at += 1;
                        continue;
                    };
                    let (had, _) = waiting.remove(at);
                    held.push(turn);
                    passed_over[had] = [0; 5];
                    for (other, times) in passed_over.iter_mut().enumerate() {
                        let waits = other != had && waiting.iter().any(|(who, _)| *who == other);
                        times[had] += usize::from(waits);
                    }
                }
                prop_assert!(held.len() <= most);
                prop_assert!(passed_over.iter().flatten().all(|times| *times <= 1), "{passed_over:?}");
                prop_assert!(waiting.is_empty() || held.len() == most, "{} wait and a turn is free", waiting.len());
                for (subject, times) in passed_over.iter_mut().enumerate() {
                    if !waiting.iter().any(|(who, _)| *who == subject) {
                        *times = [0; 5];
                    }
                }
            }
            drop((held, waiting));
            let line = turns.line();
            prop_assert!(line.free == most && line.of.is_empty() && line.next.is_empty());
        }
    }
}
