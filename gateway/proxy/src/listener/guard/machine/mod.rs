//! The inbound side of one HTTP/1 connection as a state machine over bytes: heads, bodies, pipelining, upgrades.
//!
//! It owns no socket and no buffer. Invariant: bytes that it lets pass are sound heads and exactly framed bodies, one
//! [`Head`] is produced for each, in order, and nothing passes behind a violation or an undecided upgrade.

use super::{
    super::{
        head::{Head, HeadLimits},
        violation::Violation,
    },
    chunk::{Chunks, Progress},
    lines::{Framing, HeadReader, Reading},
    target::Scheme,
};

/// The state of the inbound side.
#[derive(Debug)]
pub(crate) struct Machine {
    state: State,
    limits: HeadLimits,
    scheme: Scheme,
}

#[derive(Debug)]
enum State {
    Head(Box<HeadReader>),
    Between,
    Length(u64),
    Chunked(Chunks),
    /// Nothing behind this point is HTTP that we may read.
    Stopped,
}

/// Why a scan ended where it did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At the end of the bytes.
    Exhausted,
    /// The bytes behind `passed` are a head of which more must arrive.
    PartialHead,
    /// The queue of heads is full; the bytes behind `passed` are to be scanned later.
    QueueFull,
    /// The head that passed last asks for an upgrade; the bytes behind it belong to nobody yet.
    Upgrade,
    /// The head behind `passed` is refused; its facts are queued.
    Refused,
    /// The body behind `passed` is not framed soundly.
    Broken(Violation),
}

/// The outcome of one scan: the first `passed` bytes may be read by the parser behind.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) passed: usize,
    pub(crate) stop: Stop,
}

/// What the inbound side waits for; each has a deadline of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    NextRequest,
    RestOfHead,
    Body,
    Nothing,
}

/// Where heads go, in order.
pub(crate) trait Heads {
    /// Whether one more head may be queued.
    fn has_room(&self) -> bool;
    /// Queues the facts of one head.
    fn push(&mut self, head: Head);
}

impl Machine {
    pub(crate) fn new(limits: HeadLimits, scheme: Scheme) -> Self {
        Self {
            state: State::Between,
            limits,
            scheme,
        }
    }

    /// Scans `bytes`. Behind [`Stop::PartialHead`] and [`Stop::QueueFull`] the next scan must begin with the bytes that did
    /// not pass; behind the other stops nothing is scanned any more.
    pub(crate) fn scan(&mut self, bytes: &[u8], heads: &mut impl Heads) -> Scan {
        let mut passed = 0;
        loop {
            let rest = bytes.get(passed..).unwrap_or_default();
            if rest.is_empty() {
                return Scan {
                    passed,
                    stop: Stop::Exhausted,
                };
            }
            let (len, stop) = self.step(rest, heads);
            passed += len;
            if let Some(stop) = stop {
                return Scan { passed, stop };
            }
        }
    }

    /// What the next byte is waited for.
    pub(crate) fn waiting(&self) -> Waiting {
        match self.state {
            State::Between => Waiting::NextRequest,
            State::Head(_) => Waiting::RestOfHead,
            State::Length(_) | State::Chunked(_) => Waiting::Body,
            State::Stopped => Waiting::Nothing,
        }
    }

    /// Takes a prefix of `bytes`, which are not empty: its length, and why to stop if so.
    fn step(&mut self, bytes: &[u8], heads: &mut impl Heads) -> (usize, Option<Stop>) {
        match &mut self.state {
            State::Stopped => (0, Some(Stop::Upgrade)),
            State::Between if !heads.has_room() => (0, Some(Stop::QueueFull)),
            State::Between => {
                self.state = State::Head(Box::default());
                (0, None)
            }
            State::Head(_) => self.head(bytes, heads),
            State::Length(remaining) => {
                let skipped = usize::try_from(*remaining).unwrap_or(usize::MAX).min(bytes.len());
                *remaining -= skipped as u64;
                if *remaining == 0 {
                    self.state = State::Between;
                }
                (skipped, None)
            }
            State::Chunked(chunks) => match chunks.advance(bytes) {
                Progress::More => (bytes.len(), Some(Stop::Exhausted)),
                Progress::End(end) => {
                    self.state = State::Between;
                    (end, None)
                }
                Progress::Broken(at, violation) => {
                    self.state = State::Stopped;
                    (at, Some(Stop::Broken(violation)))
                }
            },
        }
    }

    fn head(&mut self, bytes: &[u8], heads: &mut impl Heads) -> (usize, Option<Stop>) {
        let State::Head(reader) = &mut self.state else {
            return (0, None);
        };
        match reader.advance(bytes, &self.limits, self.scheme) {
            Reading::Partial => (0, Some(Stop::PartialHead)),
            Reading::Refused(violation) => {
                heads.push(Head::refused(
                    violation,
                    reader.seen_target(),
                    reader.seen_host(),
                    bytes.len(),
                ));
                self.state = State::Stopped;
                (0, Some(Stop::Refused))
            }
            Reading::Complete(len, head, framing) => {
                heads.push(head);
                self.state = match framing {
                    Framing::None => State::Between,
                    Framing::Length(length) => State::Length(length),
                    Framing::Chunked => State::Chunked(Chunks::new()),
                    Framing::Upgrade => State::Stopped,
                };
                (len, (framing == Framing::Upgrade).then_some(Stop::Upgrade))
            }
        }
    }
}

/// Feeds bytes as a socket would and checks that what passes never exceeds what came; for fuzzing.
pub(crate) fn fuzz(data: &[u8]) {
    struct Queue(usize);
    impl Heads for Queue {
        fn has_room(&self) -> bool {
            self.0 < 64
        }
        fn push(&mut self, _: Head) {
            self.0 += 1;
        }
    }
    let Some((split, bytes)) = data.split_first() else {
        return;
    };
    let mut machine = Machine::new(HeadLimits::default(), Scheme::Https);
    let mut queue = Queue(0);
    let mut held = Vec::new();
    for piece in bytes.chunks(usize::from(*split).max(1)) {
        held.extend_from_slice(piece);
        let scan = machine.scan(&held, &mut queue);
        debug_assert!(scan.passed <= held.len(), "more passed than arrived");
        held.drain(..scan.passed.min(held.len()));
        if !matches!(scan.stop, Stop::Exhausted | Stop::PartialHead) {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
