//! A call that has become something else than HTTP: exec, attach, port-forward, WebSockets. Its bytes are carried both ways
//! unchanged until one side ends it, or the gateway does, with words where the protocol has a place for them (H-18).
//!
//! One exec, in the order of the code: the decision (`request.rs`) says yes to an upgrade; the call is entered into the table of
//! calls that go on, so that lost rights find it; its recording stands ready ([`Recordings::begin`]); its intent, a record of the
//! kind `open`, is durable (`audit`); the cluster is asked (`request/upgrade.rs`); on its 101 the call becomes a session
//! ([`LongCall::becomes_session`]); bytes are carried ([`Carried::carry`]), each piece shown to the tap ([`Observer::see`]); it
//! ends, with words where we end it; its recording is finished and its close is written ([`record`]).
//!
//! What it is not: it decides nothing and changes no byte; a tap is shown each piece. Invariants: what is read is
//! written once and in order (H-08); an end in one direction is passed on and the other keeps flowing (H-10); whatever
//! happens, the session's end is recorded once.

mod half;
mod observer;
mod protocol;
mod recording;
#[cfg(test)]
mod tests;
mod unrecorded;
mod websocket;
mod writers;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
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
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::half::{Broken, Half};
use self::observer::{Exit, Observer};
pub(crate) use self::protocol::{may_be_read, never_switches, runs_a_command, tap_for};
use self::recording::Flow;
pub(crate) use self::recording::Recording;
pub use self::recording::{RecordingKeys, Recordings, SessionsToRecord};
pub(crate) use self::unrecorded::Unrecorded;
pub use self::unrecorded::{KeyError, RecordingMetrics, UnrecordedCause};
use self::websocket::CloseCode;
pub(crate) use self::websocket::ServerFrames;
pub use self::websocket::fuzz_service_frames;
pub use self::writers::Writers;
use super::live::Counted;
use super::{LongCall, in_words};
use crate::audit::{End, Heartbeats, Place};
use crate::whom::Whom;

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
    /// Of a service's WebSocket.
    pub(crate) frames: Option<ServerFrames>,
    pub(crate) recording: Option<Recording>,
    pub(crate) bounds: Bounds,
    /// Learns the pod's node for the record, within a deadline of its own.
    pub(crate) node: Option<JoinHandle<()>>,
    pub(crate) end: End,
    pub(crate) call: LongCall,
    pub(crate) place: Place,
}

/// What ends a session by time alone.
#[derive(Clone, Copy, Debug)]
enum Limit {
    Idle(Duration),
    Longest(Duration),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle(idle) => write!(f, "nothing has passed for {}", in_words(*idle)),
            Self::Longest(longest) => write!(f, "it has lasted {}", in_words(*longest)),
        }
    }
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
    /// We end it, because what passes has to be recorded and can no longer be: [`Observer::unrecorded`] says why.
    Unrecorded,
}

impl Tunnel {
    /// Carries the bytes until the end, and records it.
    pub(crate) async fn run(self) {
        let Self {
            sides,
            tap,
            frames,
            mut recording,
            bounds,
            node,
            mut end,
            call,
            place,
        } = self;
        let heartbeats = end.begins();
        if let Some(recording) = &mut recording {
            recording.begins(&heartbeats);
        }
        // The upgraded streams come when the 101 of each side has been written or read, or not at all.
        let (client, upstream) = match tokio::join!(sides.client, sides.upstream) {
            (Ok(client), Ok(upstream)) => (client, upstream),
            (Err(_), _) => {
                let why = "the client left before the session began";
                return record(end, recording, &heartbeats, Answer::ClientGone, Some(why.to_owned())).await;
            }
            (_, Err(_)) => {
                let why = format!("{} left before the session began", end.whom());
                return record(end, recording, &heartbeats, Answer::UpstreamLost, Some(why)).await;
            }
        };
        let over = call.becomes_session(Counted {
            up: Arc::clone(&heartbeats.bytes_in),
            down: Arc::clone(&heartbeats.bytes_out),
        });
        let carried = Carried::new(
            TokioIo::new(client),
            TokioIo::new(upstream),
            match frames {
                Some(frames) => Observer::of_service(Some(frames)),
                None => Observer::new(tap, recording),
            },
            bounds,
            heartbeats,
        )
        .of(end.whom());
        let session = Session { node, end, call, place };
        session.run(carried, over).await;
    }
}

/// What ends with a session.
struct Session {
    node: Option<JoinHandle<()>>,
    end: End,
    call: LongCall,
    place: Place,
}

impl Session {
    /// Carries the bytes until the end, and records it.
    async fn run<C: Io, U: Io>(self, mut carried: Carried<C, U>, over: CancellationToken) {
        let Self {
            node,
            mut end,
            call,
            place,
        } = self;
        let ended = carried.carry(&call, over).await;
        let told = match (carried.our_words(&ended), &ended) {
            // Whoever does not read cannot be told.
            (Some(why), _) => {
                let code = if call.is_drained() {
                    CloseCode::GoingAway
                } else {
                    CloseCode::Policy
                };
                timeout(FAREWELL_WITHIN, carried.say_farewell(&why, code)).await.is_ok()
            }
            (None, Over::Client(_) | Over::Upstream(_)) => carried.hand_over_the_rest().await,
            (None, _) => false,
        };
        let (answer, why) = carried.outcome(&ended);
        let Carried {
            client,
            upstream,
            mut observer,
            heartbeats,
            ..
        } = carried;
        // Whatever the record still waits for: the process in the pod has nobody any more.
        drop(upstream);
        if let Some(Exit::Code(code)) = observer.exit() {
            end.exited(code);
        }
        if let Some(learnt) = node {
            // Whether it was or not, the end is recorded.
            let _ = learnt.await;
        }
        record(end, observer.recording.take(), &heartbeats, answer, why).await;
        drop((call, place));
        if told {
            linger(client).await;
        }
    }
}

/// Writes the end, with what is kept of the session.
async fn record(
    mut end: End,
    recording: Option<Recording>,
    heartbeats: &Heartbeats,
    answer: Answer,
    why: Option<String>,
) {
    if let Some(recording) = recording {
        let ended = Ended {
            how: answer.as_str().to_owned(),
            why: why.clone(),
        };
        let (anchor, is_whole) = recording.finish(ended, heartbeats).await;
        end.kept(anchor, is_whole);
    }
    end.settle(answer, why.as_deref());
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
    /// What the rules demand by now, beside what they demanded at first.
    idle_by_now: Option<Duration>,
    began: Instant,
    /// Whose end came first.
    left_first: Option<Way>,
    /// The cluster takes no more. What it said before that, and how the command ended, may still be on its way.
    takes_no_more: Option<io::Error>,
    /// Whose the other side is.
    whom: Whom,
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
            idle_by_now: None,
            began: Instant::now(),
            left_first: None,
            takes_no_more: None,
            whom: Whom::Cluster,
        }
    }

    /// The same between a client and this upstream.
    fn of(self, whom: Whom) -> Self {
        Self { whom, ..self }
    }

    /// `over` is cancelled when the session has to end.
    async fn carry(&mut self, call: &LongCall, over: CancellationToken) -> Over {
        let ended = self.carry_on(call, over).await;
        if let Over::Unrecorded = ended {
            self.observer.is_cut(call.entry.trail.id.as_str());
        }
        ended
    }

    async fn carry_on(&mut self, call: &LongCall, over: CancellationToken) -> Over {
        let mut is_over = pin!(over.cancelled());
        let mut has_drained = pin!(async {
            call.ender().cancelled().await;
            tokio::time::sleep(DRAINS_WITHIN).await;
        });
        let mut next_beat = self.began + ALIVE_EVERY;
        let mut timer = pin!(sleep_until(self.next_limit().0.min(next_beat)));
        poll_fn(|cx| {
            if is_over.as_mut().poll(cx).is_ready() || has_drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Over::Ours(call.why()));
            }
            if let Poll::Ready(ended) = self.poll(cx) {
                return Poll::Ready(ended);
            }
            self.idle_by_now = call.idle_by_now(cx.waker());
            // The clock is asked and not the timer alone: among bytes that never pause, a timer may not get its turn.
            let now = Instant::now();
            if next_beat <= now {
                self.heartbeats.alive();
                next_beat = now + ALIVE_EVERY;
            }
            let (at, limit) = self.next_limit();
            if at <= now {
                return Poll::Ready(Over::Ours(format!("ended by the gateway: {limit}, its limit")));
            }
            let wake = at.min(next_beat);
            if wake < timer.deadline() {
                timer.as_mut().reset(wake);
            }
            while timer.as_mut().poll(cx).is_ready() {
                timer.as_mut().reset(wake);
            }
            Poll::Pending
        })
        .await
    }

    /// Why we end it, for the person and the record; none where we do not.
    fn our_words(&self, over: &Over) -> Option<String> {
        match over {
            Over::Ours(why) => Some(why.clone()),
            Over::Unrecorded => self
                .observer
                .unrecorded()
                .map(|why| format!("ended by the gateway: {why}")),
            Over::Both | Over::Client(_) | Over::Upstream(_) => None,
        }
    }

    /// What that end means for the record.
    fn outcome(&self, over: &Over) -> (Answer, Option<String>) {
        match (over, self.observer.exit()) {
            (Over::Ours(_) | Over::Unrecorded, _) => (Answer::Ended, self.our_words(over)),
            // The command has ended; how the connections end after it tells nothing.
            (_, Some(Exit::Code(_) | Exit::Silent)) => (Answer::Answered, None),
            // Not in the cluster's words: they may quote the command, and what was written into it (promise 6).
            (_, Some(Exit::Failed)) => {
                let words = "the cluster said that the command was not run, or not to its end";
                (Answer::Answered, Some(words.to_owned()))
            }
            (Over::Client(error), None) if self.left_first != Some(Way::Down) => (
                Answer::ClientGone,
                Some(format!("the client left: {}", in_plain(error))),
            ),
            (Over::Upstream(error), None) => (
                Answer::UpstreamLost,
                Some(format!("{} left: {}", self.whom, in_plain(error))),
            ),
            // How a client goes whose cluster has left tells nothing.
            (Over::Both | Over::Client(_), None) if !self.observer.awaits_exit() => (Answer::Answered, None),
            (Over::Both, None) if self.left_first == Some(Way::Up) => (
                Answer::ClientGone,
                Some("the client left before the command had ended".to_owned()),
            ),
            (Over::Both | Over::Client(_), None) => {
                let words = "the cluster ended it without saying how the command had ended";
                (Answer::UpstreamLost, Some(words.to_owned()))
            }
        }
    }

    /// When it has to end if nothing passes until then, and why.
    fn next_limit(&self) -> (Instant, Limit) {
        let has_one_way = self.up.has_ended() || self.down.has_ended() || self.takes_no_more.is_some();
        let half_closed = has_one_way.then_some(HALF_CLOSED_IDLE);
        let stricter = [half_closed, self.idle_by_now].into_iter().flatten();
        let idle = stricter.fold(self.bounds.idle, Duration::min);
        let quiet = self.observer.active() + idle;
        match self.bounds.longest.map(|longest| (self.began + longest, longest)) {
            Some((at, longest)) if at <= quiet => (at, Limit::Longest(longest)),
            _ => (quiet, Limit::Idle(idle)),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let over = self.poll_once(cx);
            // A chunk became full: it goes to the disk, and unless the one before is still on its way there, reading goes on.
            let is_held_up = self.up.was_held_up() || self.down.was_held_up();
            // Or it was begun, and what wakes us when it is old has to be asked once.
            if over.is_ready() || !(is_held_up || self.observer.has_a_new_timer()) {
                return over;
            }
        }
    }

    fn poll_once(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let Self {
            client,
            upstream,
            up,
            down,
            observer,
            heartbeats,
            left_first,
            takes_no_more,
            ..
        } = self;
        let may_read = match observer.poll(cx, heartbeats) {
            Some(flow) => flow == Flow::Goes,
            None => return Poll::Ready(Over::Unrecorded),
        };
        let going_up = if takes_no_more.is_some() {
            Poll::Pending
        } else {
            up.poll(cx, client, upstream, may_read, &mut |piece| {
                add(&heartbeats.bytes_in, piece);
                observer.see(Way::Up, piece)
            })
        };
        let going_up = match going_up {
            // What else comes down now would be read and not passed on: words of ours could stand in the middle of it.
            Poll::Ready(Err(Broken::Withheld)) => return Poll::Ready(Over::Unrecorded),
            Poll::Ready(Err(Broken::Reading(error))) => return Poll::Ready(Over::Client(error)),
            // A command that has ended takes no more. The other direction goes to its end.
            Poll::Ready(Err(Broken::Writing(error))) => {
                *takes_no_more = Some(error);
                Poll::Pending
            }
            Poll::Ready(Ok(())) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        };
        let going_down = down.poll(cx, upstream, client, may_read, &mut |piece| {
            add(&heartbeats.bytes_out, piece);
            observer.see(Way::Down, piece)
        });
        if left_first.is_none() {
            let takes_no_more = takes_no_more.is_some();
            *left_first = first_to_leave(up.has_ended(), down.has_ended() || takes_no_more, observer);
        }
        match going_down {
            Poll::Ready(Err(Broken::Withheld)) => Poll::Ready(Over::Unrecorded),
            Poll::Ready(Err(Broken::Writing(error))) => Poll::Ready(Over::Client(error)),
            Poll::Ready(Err(Broken::Reading(error))) => Poll::Ready(Over::Upstream(error)),
            Poll::Ready(Ok(())) => match takes_no_more.take() {
                Some(error) => Poll::Ready(Over::Upstream(error)),
                None => going_up.map(|()| Over::Both),
            },
            Poll::Pending => Poll::Pending,
        }
    }

    /// What was read and recorded reaches whom it is for, if they are still there and take it in time; whether the person has. No end
    /// behind it: a side that broke has said none.
    async fn hand_over_the_rest(&mut self) -> bool {
        let Self {
            client,
            upstream,
            up,
            down,
            ..
        } = self;
        let handing_over = async {
            let told = poll_fn(|cx| down.poll_rest(cx, client)).await.is_ok();
            // Whoever has gone needs nothing more.
            let _ = poll_fn(|cx| up.poll_rest(cx, upstream)).await;
            told
        };
        timeout(FAREWELL_WITHIN, handing_over).await.unwrap_or(false)
    }

    /// Tells the person why it ends, behind the last whole piece of what the pod said.
    async fn say_farewell(&mut self, why: &str, code: CloseCode) {
        let words = Farewell::of(why);
        let Self {
            client,
            upstream,
            down,
            observer,
            heartbeats,
            ..
        } = self;
        let farewell = poll_fn(|cx| {
            loop {
                ready!(down.poll_rest(cx, client))?;
                let said = observer.farewell(&words, code);
                // Nothing more is read where it could not be recorded, or only into memory: a sentence may have no end.
                if said.is_some() || !observer.can_speak() || observer.unrecorded().is_some() || observer.is_full() {
                    return Poll::Ready(Ok(said));
                }
                // In the middle of a sentence: the rest of it first.
                let more = down.poll(cx, upstream, client, true, &mut |piece| {
                    let seen = observer.see_last(piece);
                    add(&heartbeats.bytes_out, seen.passing(piece));
                    seen
                });
                if let Poll::Ready(ended) = more {
                    return Poll::Ready(ended.map(|()| None));
                }
                if down.was_held_up() {
                    // One full chunk holds nobody up now: what is read is kept at the end.
                    continue;
                }
                if observer.can_speak() && observer.farewell(&words, code).is_none() {
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
            if observer.is_websocket_of_service() {
                // A browser waits for the server's end once it has a close frame, and reads it in order (RFC 6455 §7.1.1).
                let _ = client.shutdown().await;
            }
        }
    }
}

/// Whose end has come; the observer is told where it is the person's.
fn first_to_leave(up_has_ended: bool, down_has_ended: bool, observer: &mut Observer) -> Option<Way> {
    if up_has_ended {
        observer.client_left();
        return Some(Way::Up);
    }
    down_has_ended.then_some(Way::Down)
}

/// Waits until the person's side has closed: what it still sends would be answered with a reset, which takes our words, or what the
/// pod said last, with it on their way.
async fn linger(mut client: impl Io) {
    let mut sink = tokio::io::sink();
    // However that ends, so does the connection.
    let _ = timeout(LINGERS_WITHIN, tokio::io::copy(&mut client, &mut sink)).await;
}

fn add(counter: &AtomicU64, piece: &[u8]) {
    counter.fetch_add(u64::try_from(piece.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// For the record: the TLS library's own words for this name a page about programming.
fn in_plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "its connection ended without a farewell".to_owned(),
        _ => error.to_string(),
    }
}
