//! A call that has become something else than HTTP: exec, attach, port-forward, WebSockets. Its bytes are carried both ways
//! unchanged until one side ends it, or the gateway does, with words where the protocol has a place for them (H-18).
//!
//! What it is not: it decides nothing and reads nothing into the bytes; a tap is shown each piece. Invariants: what is read is
//! written once and in order (H-08); an end in one direction is passed on and the other keeps flowing (H-10); whatever
//! happens, the session's end is recorded once.

mod half;
mod observer;
mod protocol;
mod recording;
#[cfg(test)]
mod tests;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::recording::Ended;
use ::recording::tap::{Farewell, Tap, Way};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use model::decision::Obligations;
use model::event::Answer;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, Sleep, interval_at, sleep_until, timeout};

use self::half::{Broken, Half};
pub use self::observer::fuzz_exit_status;
use self::observer::{Exit, Observer};
pub(crate) use self::protocol::tap;
use self::recording::Flow;
pub(crate) use self::recording::Recording;
pub use self::recording::{RecordingKeys, Recordings, Which};
use super::LongCall;
use super::live::Counted;
use crate::audit::{End, Heartbeats, Place};

/// How long a tunnel may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Without data in either direction; a ping is none.
    pub idle: Duration,
    /// In all, whatever passes.
    pub longest: Option<Duration>,
}

impl Default for Bounds {
    /// The kubelet's own idle limit (`streamingConnectionIdleTimeout`, 4 h), and no limit of the whole.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(4 * 3_600),
            longest: None,
        }
    }
}

impl Bounds {
    /// The stricter of these and what the rules demand.
    pub(crate) fn within(self, owed: &Obligations) -> Self {
        let demanded = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let stricter = |one: Option<Duration>, other: Option<Duration>| one.into_iter().chain(other).min();
        Self {
            idle: stricter(Some(self.idle), demanded(owed.idle_seconds)).unwrap_or(self.idle),
            longest: stricter(self.longest, demanded(owed.longest_seconds)),
        }
    }
}

/// A record says at least this often that a session goes on.
const ALIVE_EVERY: Duration = Duration::from_secs(300);
/// What holds for one direction alone once the other has ended.
const HALF_CLOSED_IDLE: Duration = Duration::from_secs(300);
/// When the gateway stops, a tunnel goes on for so long: less than what the gateway gives its connections.
const DRAINS_WITHIN: Duration = Duration::from_secs(20);
/// For a client to close its side after our farewell.
const LINGERS_WITHIN: Duration = Duration::from_secs(1);
/// To say farewell in. Together with the second in which a change of rules is seen, an end takes at most two seconds.
const FAREWELL_WITHIN: Duration = Duration::from_millis(800);

/// The two sides of an upgraded call before they are there.
#[derive(Debug)]
pub(crate) struct Sides {
    /// The person's side: theirs once our own 101 has been written.
    pub(crate) client: OnUpgrade,
    /// The cluster's side.
    pub(crate) upstream: OnUpgrade,
}

/// One tunnel with everything that ends with it.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) sides: Sides,
    pub(crate) tap: Option<Tap>,
    pub(crate) recording: Option<Recording>,
    pub(crate) bounds: Bounds,
    pub(crate) end: End,
    pub(crate) call: LongCall,
    pub(crate) place: Place,
}

/// How a tunnel ended.
#[derive(Debug)]
enum Over {
    /// Both sides have ended it.
    Both,
    /// The person's side broke.
    Client(io::Error),
    /// The cluster's side broke.
    Upstream(io::Error),
    /// We end it.
    Ours(String),
}

impl Tunnel {
    /// Carries the bytes until the end, and records it.
    pub(crate) async fn run(self) {
        let Self {
            sides,
            tap,
            recording,
            bounds,
            mut end,
            call,
            place,
        } = self;
        // The upgraded streams come when the 101 of each side has been written or read, or not at all.
        let (client, upstream) = match tokio::join!(sides.client, sides.upstream) {
            (Ok(client), Ok(upstream)) => (client, upstream),
            (Err(_), _) => return end.settle(Answer::ClientGone, Some("the client left before the session began")),
            (_, Err(_)) => return end.settle(Answer::UpstreamLost, Some("the cluster left before the session began")),
        };
        let heartbeats = end.heartbeats();
        call.is_session(Counted {
            up: Arc::clone(&heartbeats.bytes_in),
            down: Arc::clone(&heartbeats.bytes_out),
        });
        let observer = Observer::new(tap, recording);
        let mut carried = Carried::new(
            TokioIo::new(client),
            TokioIo::new(upstream),
            observer,
            bounds,
            heartbeats,
        );
        let mut count = |way, piece: &[u8]| {
            if way == Way::Down {
                end.passed(piece);
            }
        };
        let over = carried.carry(&call, &mut count).await;
        let mut told = false;
        if let Over::Ours(why) = &over {
            // Whoever does not read cannot be told.
            let telling = timeout(FAREWELL_WITHIN, carried.say_farewell(why, &mut count)).await;
            told = telling.is_ok();
        }
        drop((call, place));
        let (answer, why) = carried.outcome(&over);
        if let Some(Exit::Code(code)) = carried.observer.exit() {
            end.exited(code);
        }
        if let Some(recording) = carried.observer.recording.take() {
            let ended = Ended {
                how: answer.as_str().to_owned(),
                why: why.clone(),
            };
            let (anchor, is_whole) = recording.finish(ended).await;
            end.kept(anchor, is_whole);
        }
        end.settle(answer, why.as_deref());
        if told {
            carried.linger().await;
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for T {}

/// The bytes under way.
struct Carried<C, U> {
    client: C,
    upstream: U,
    up: Half,
    down: Half,
    observer: Observer,
    heartbeats: Heartbeats,
    bounds: Bounds,
    began: Instant,
    /// Whose end came first.
    left_first: Option<Way>,
}

impl<C: Io, U: Io> Carried<C, U> {
    fn new(client: C, upstream: U, observer: Observer, bounds: Bounds, heartbeats: Heartbeats) -> Self {
        Self {
            client,
            upstream,
            up: Half::new(),
            down: Half::new(),
            observer,
            heartbeats,
            bounds,
            began: Instant::now(),
            left_first: None,
        }
    }

    async fn carry(&mut self, call: &LongCall, count: &mut impl FnMut(Way, &[u8])) -> Over {
        let mut limit = pin!(sleep_until(self.next_limit().0));
        let mut ended = pin!(call.ender().cancelled());
        let mut draining: Option<Pin<Box<Sleep>>> = None;
        let mut beat = interval_at(self.began + ALIVE_EVERY, ALIVE_EVERY);
        poll_fn(|cx| {
            if call.is_over() {
                return Poll::Ready(Over::Ours(call.why()));
            }
            if draining.is_none() && ended.as_mut().poll(cx).is_ready() {
                if call.is_over() {
                    return Poll::Ready(Over::Ours(call.why()));
                }
                draining = Some(Box::pin(tokio::time::sleep(DRAINS_WITHIN)));
            }
            if draining
                .as_mut()
                .is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready())
            {
                return Poll::Ready(Over::Ours(call.why()));
            }
            let was_whole = self.left_first.is_none();
            if let Poll::Ready(over) = self.poll(cx, count) {
                return Poll::Ready(over);
            }
            if was_whole && self.left_first.is_some() {
                // What is left has a shorter limit, from now on and not from when the longer one ends.
                limit.as_mut().reset(self.next_limit().0);
            }
            while beat.poll_tick(cx).is_ready() {
                self.heartbeats.alive();
            }
            while limit.as_mut().poll(cx).is_ready() {
                let (at, why) = self.next_limit();
                if at <= Instant::now() {
                    return Poll::Ready(Over::Ours(why));
                }
                limit.as_mut().reset(at);
            }
            Poll::Pending
        })
        .await
    }

    /// What that end means for the record.
    fn outcome(&self, over: &Over) -> (Answer, Option<String>) {
        match (over, self.observer.exit()) {
            (Over::Ours(why), _) => (Answer::Ended, Some(why.clone())),
            // The command has ended; how the connections end after it tells nothing.
            (_, Some(Exit::Code(_))) => (Answer::Answered, None),
            (_, Some(Exit::Failed(words))) => (Answer::Answered, Some(format!("the cluster said: {words}"))),
            (Over::Client(error), None) => (Answer::ClientGone, Some(format!("the client left: {error}"))),
            (Over::Upstream(error), None) => (Answer::UpstreamLost, Some(format!("the cluster left: {error}"))),
            (Over::Both, None) if !self.observer.awaits_exit() => (Answer::Answered, None),
            (Over::Both, None) if self.left_first == Some(Way::Up) => (
                Answer::ClientGone,
                Some("the client left before the command had ended".to_owned()),
            ),
            (Over::Both, None) => {
                let words = "the cluster ended it without saying how the command had ended";
                (Answer::UpstreamLost, Some(words.to_owned()))
            }
        }
    }

    /// When it has to end if nothing passes until then, and why.
    fn next_limit(&self) -> (Instant, String) {
        let idle = if self.up.has_ended() || self.down.has_ended() {
            self.bounds.idle.min(HALF_CLOSED_IDLE)
        } else {
            self.bounds.idle
        };
        let quiet = self.observer.active() + idle;
        match self.bounds.longest.map(|longest| (self.began + longest, longest)) {
            Some((at, longest)) if at <= quiet => (
                at,
                format!("ended by the gateway: it has lasted {}, its limit", in_words(longest)),
            ),
            _ => (
                quiet,
                format!(
                    "ended by the gateway: nothing has passed for {}, its limit",
                    in_words(idle)
                ),
            ),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, count: &mut impl FnMut(Way, &[u8])) -> Poll<Over> {
        let Self {
            client,
            upstream,
            up,
            down,
            observer,
            heartbeats,
            left_first,
            ..
        } = self;
        let may_read = match observer.poll(cx, heartbeats) {
            Ok(flow) => flow == Flow::Goes,
            Err(why) => return Poll::Ready(Over::Ours(format!("ended by the gateway: {why}"))),
        };
        let going_up = up.poll(cx, client, upstream, may_read, &mut |piece| {
            count(Way::Up, piece);
            add(&heartbeats.bytes_in, piece);
            observer.see(Way::Up, piece);
        });
        let going_down = down.poll(cx, upstream, client, may_read, &mut |piece| {
            count(Way::Down, piece);
            add(&heartbeats.bytes_out, piece);
            observer.see(Way::Down, piece);
        });
        if left_first.is_none() {
            *left_first = match (up.has_ended(), down.has_ended()) {
                (true, _) => Some(Way::Up),
                (false, true) => Some(Way::Down),
                (false, false) => None,
            };
        }
        match (going_up, going_down) {
            (Poll::Ready(Err(Broken::Reading(error))), _) | (_, Poll::Ready(Err(Broken::Writing(error)))) => {
                Poll::Ready(Over::Client(error))
            }
            (Poll::Ready(Err(Broken::Writing(error))), _) | (_, Poll::Ready(Err(Broken::Reading(error)))) => {
                Poll::Ready(Over::Upstream(error))
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(Over::Both),
            _ => Poll::Pending,
        }
    }

    /// Tells the person why it ends, behind the last whole piece of what the pod said.
    async fn say_farewell(&mut self, why: &str, count: &mut impl FnMut(Way, &[u8])) {
        let words = Farewell::of(why);
        let Self {
            client,
            upstream,
            down,
            observer,
            ..
        } = self;
        let farewell = poll_fn(|cx| {
            loop {
                ready!(down.poll_rest(cx, client))?;
                let said = observer.farewell(&words);
                if said.is_some() || !observer.can_speak() {
                    return Poll::Ready(Ok(said));
                }
                // In the middle of a sentence: the rest of it first.
                let more = down.poll(cx, upstream, client, true, &mut |piece| {
                    count(Way::Down, piece);
                    observer.see(Way::Down, piece);
                });
                if let Poll::Ready(ended) = more {
                    return Poll::Ready(ended.map(|()| None));
                }
                if observer.can_speak() && observer.farewell(&words).is_none() {
                    return Poll::Pending;
                }
            }
        })
        .await;
        // No end of ours behind the words: it may overtake them on their way to the person. The client closes.
        if let Ok(Some(bytes)) = farewell
            && client.write_all(&bytes).await.is_ok()
        {
            // Whoever is gone needs no words.
            let _ = client.flush().await;
        }
    }

    /// Waits until the person's side has closed: what it still sends would be answered with a reset, which takes our words
    /// with it on their way.
    async fn linger(self) {
        drop(self.upstream);
        let mut client = self.client;
        let mut sink = tokio::io::sink();
        // However that ends, so does the connection.
        let _ = timeout(LINGERS_WITHIN, tokio::io::copy(&mut client, &mut sink)).await;
    }
}

fn add(counter: &AtomicU64, piece: &[u8]) {
    counter.fetch_add(u64::try_from(piece.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

fn in_words(span: Duration) -> String {
    match span.as_secs() {
        seconds if seconds >= 3_600 && seconds % 3_600 == 0 => format!("{} h", seconds / 3_600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}
