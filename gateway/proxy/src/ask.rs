//! Asking the outside world from the request path: one channel, one deadline, one flight per question.
//!
//! Invariant: an asker always gets an answer within the deadline; "full", "closed" and "late" are the answer
//! `unknown`, on which every caller fails closed.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use tokio::sync::{mpsc, oneshot, watch};

/// A question on its way, and where its answer goes.
pub type Asked<Q, A> = (Q, oneshot::Sender<A>);

/// The asking end of one kind of question.
pub struct Ask<Q, A> {
    sender: mpsc::Sender<Asked<Q, A>>,
    deadline: Duration,
    unknown: fn(String) -> A,
    /// So long after it landed a flight can still be joined.
    lingers: Duration,
    flights: Arc<DashMap<Q, watch::Receiver<Option<A>>>>,
}

impl<Q, A> Clone for Ask<Q, A> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            deadline: self.deadline,
            unknown: self.unknown,
            lingers: self.lingers,
            flights: Arc::clone(&self.flights),
        }
    }
}

impl<Q, A> std::fmt::Debug for Ask<Q, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ask")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl<Q, A> Ask<Q, A>
where
    Q: Clone + Eq + Hash + Send + Sync + 'static,
    A: Clone + Send + Sync + 'static,
{
    /// An asking end and the receiver for whoever answers. At most `capacity` questions wait; more are answered
    /// `unknown` at once. `unknown` makes the answer that stands for "could not find out".
    #[must_use]
    pub fn new(capacity: usize, deadline: Duration, unknown: fn(String) -> A) -> (Self, mpsc::Receiver<Asked<Q, A>>) {
        let (sender, receiver) = mpsc::channel(capacity);
        (
            Self {
                sender,
                deadline,
                unknown,
                lingers: Duration::ZERO,
                flights: Arc::default(),
            },
            receiver,
        )
    }

    /// Lets a flight that has landed be joined for so long. Whoever remembers answers needs a moment to do so, and an
    /// equal question in that moment would be asked again. What stays in the table is what is asked in that time.
    #[must_use]
    pub fn lingering(mut self, lingers: Duration) -> Self {
        self.lingers = lingers;
        self
    }

    /// Asks, or joins the flight of an equal question that is under way. Cancel-safe: the question is carried by a task of
    /// its own, so that an asker who goes away takes no answer from the others.
    pub async fn ask(&self, question: Q) -> A {
        let flight = self.flight(question, (), |flight| flight.borrow().is_none());
        self.landed(flight).await
    }

    /// Joins the flight of an equal question, also one that lingers; `None` when there is none.
    pub async fn join(&self, question: &Q) -> Option<A> {
        let flight = self.flights.get(question).map(|flight| flight.clone())?;
        Some(self.landed(flight).await)
    }

    /// As [`Ask::ask`], and a flight that lingers is joined, too; `kept` is dropped when the question is done, even if its
    /// asker has gone before.
    pub(crate) async fn ask_keeping<K: Send + 'static>(&self, question: Q, kept: K) -> A {
        let flight = self.flight(question, kept, |_| true);
        self.landed(flight).await
    }

    /// The flight of an equal question, if it `counts`, or a new one.
    fn flight<K: Send + 'static>(
        &self,
        question: Q,
        kept: K,
        counts: impl Fn(&watch::Receiver<Option<A>>) -> bool,
    ) -> watch::Receiver<Option<A>> {
        match self.flights.entry(question.clone()) {
            Entry::Occupied(entry) if counts(entry.get()) => entry.get().clone(),
            entry => {
                let (publish, flight) = watch::channel(None);
                drop(entry.insert(flight.clone()));
                self.carry(question, publish, kept);
                flight
            }
        }
    }

    async fn landed(&self, mut flight: watch::Receiver<Option<A>>) -> A {
        match flight.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().unwrap_or_else(|| (self.unknown)("no answer".to_owned())),
            Err(_) => (self.unknown)("the question was dropped".to_owned()),
        }
    }

    fn carry<K: Send + 'static>(&self, question: Q, publish: watch::Sender<Option<A>>, kept: K) {
        let (sender, deadline, unknown) = (self.sender.clone(), self.deadline, self.unknown);
        let (flights, lingers) = (Arc::clone(&self.flights), self.lingers);
        tokio::spawn(async move {
            let answered = put(&sender, question.clone(), deadline).await;
            let lingers = lingers.checked_mul(u32::from(answered.is_ok())).unwrap_or_default();
            let answer = answered.unwrap_or_else(unknown);
            let own = publish.subscribe();
            let take_away = || flights.remove_if(&question, |_, flight| flight.same_channel(&own));
            if lingers.is_zero() {
                take_away();
            }
            drop(kept);
            // Nobody listens any more when all askers have gone.
            let _ = publish.send(Some(answer));
            if !lingers.is_zero() {
                tokio::time::sleep(lingers).await;
                take_away();
            }
        });
    }
}

async fn put<Q, A>(sender: &mpsc::Sender<Asked<Q, A>>, question: Q, deadline: Duration) -> Result<A, String> {
    let (answer, answered) = oneshot::channel();
    sender.try_send((question, answer)).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => "too many questions wait already".to_owned(),
        mpsc::error::TrySendError::Closed(_) => "nobody answers such questions".to_owned(),
    })?;
    match tokio::time::timeout(deadline, answered).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err("the question was dropped".to_owned()),
        Err(_) => Err(format!("no answer within {} ms", deadline.as_millis())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(why: String) -> Result<u32, String> {
        Err(why)
    }

    #[tokio::test]
    async fn equal_questions_at_the_same_time_are_asked_once() {
        let (ask, mut asked) = Ask::<u32, _>::new(8, Duration::from_secs(5), unknown);
        let ask = Arc::new(ask);
        let askers: Vec<_> = (0..20)
            .map(|_| {
                let ask = Arc::clone(&ask);
                tokio::spawn(async move { ask.ask(7).await })
            })
            .collect();
        let (question, answer) = asked.recv().await.unwrap();
        assert_eq!(question, 7);
        // One turn of the single-threaded runtime lets every asker reach its wait.
        tokio::task::yield_now().await;
        answer.send(Ok(1)).unwrap();
        for asker in askers {
            assert_eq!(asker.await.unwrap(), Ok(1));
        }
        assert!(asked.try_recv().is_err(), "asked once");
    }

    /// An answer that nobody has had time to remember yet is not asked for again; who wants it anew gets it anew.
    #[tokio::test(start_paused = true)]
    async fn a_question_right_behind_the_answer_has_that_answer_and_is_asked_anew_after_a_moment() {
        let (ask, mut asked) = Ask::<u32, _>::new(8, Duration::from_secs(5), unknown);
        let ask = ask.lingering(Duration::from_secs(1));
        let answering = tokio::spawn(async move {
            let mut count = 0;
            while let Some((_, answer)) = asked.recv().await {
                count += 1;
                answer.send(Ok(count)).unwrap();
            }
        });
        assert_eq!(ask.ask_keeping(7, ()).await, Ok(1));
        assert_eq!(ask.join(&7).await, Some(Ok(1)));
        assert_eq!(ask.ask_keeping(7, ()).await, Ok(1));
        assert_eq!(
            ask.ask_keeping(8, ()).await,
            Ok(2),
            "another question is another flight"
        );
        assert_eq!(ask.ask(7).await, Ok(3), "what was heard before does not count here");
        // The end of the first flight's moment takes nothing from the one that took its place.
        tokio::time::sleep(Duration::from_millis(999)).await;
        assert_eq!(ask.join(&7).await, Some(Ok(3)));
        tokio::time::sleep(Duration::from_millis(10)).await;
        assert_eq!(ask.join(&7).await, None);
        assert!(ask.flights.is_empty());
        drop(ask);
        answering.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_answered_is_asked_again_at_once() {
        let (ask, mut asked) = Ask::<u32, _>::new(8, Duration::from_secs(5), unknown);
        let ask = ask.lingering(Duration::from_secs(1));
        assert_eq!(ask.ask_keeping(7, ()).await, Err("no answer within 5000 ms".to_owned()));
        assert_eq!(ask.join(&7).await, None);
        assert!(asked.recv().await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_unknown_at_the_deadline_and_a_full_channel_at_once() {
        let (ask, _asked) = Ask::<u32, _>::new(1, Duration::from_secs(2), unknown);
        let (first, second) = tokio::join!(ask.ask(1), ask.ask(2));
        assert_eq!(first, Err("no answer within 2000 ms".to_owned()));
        assert_eq!(second, Err("too many questions wait already".to_owned()));
    }

    #[tokio::test]
    async fn an_asker_who_goes_away_takes_no_answer_from_the_others() {
        let (ask, mut asked) = Ask::<u32, _>::new(8, Duration::from_secs(5), unknown);
        let ask = Arc::new(ask);
        let leader = tokio::spawn({
            let ask = Arc::clone(&ask);
            async move { ask.ask(7).await }
        });
        let (_, answer) = asked.recv().await.unwrap();
        leader.abort();
        let follower = tokio::spawn({
            let ask = Arc::clone(&ask);
            async move { ask.ask(7).await }
        });
        tokio::task::yield_now().await;
        answer.send(Ok(3)).unwrap();
        assert_eq!(follower.await.unwrap(), Ok(3));
    }
}
