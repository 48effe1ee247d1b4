//! Connections of a port-forward, counted and digested, not kept; and other upgraded connections, whose messages are kept beside.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

use super::writer::Writer;
use crate::frame::{Connection, Frame, Noted};
use crate::tap::{Channel, Way};

/// So many connections at once are told apart; more are counted.
const MAX_OPEN: usize = 4096;
/// So many that are over are known, the newest: a pod that has not heard of a reset writes on for a moment.
const MAX_OVER: usize = 4096;
/// Of what the pod says went wrong so much is kept.
const MAX_ERROR: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Connections {
    open: BTreeMap<Key, Open>,
    /// Those of them that the client gave up, in that order, some of them told since. The pod owes them no end, and what it writes
    /// to them passes (spdystream `Stream.Write` asks nothing).
    given_up: VecDeque<Key>,
    /// Told already, or not listed: what comes behind opens none of them again.
    over: BTreeSet<Key>,
    opened: u64,
    unlisted: u64,
}

/// A WebSocket of another meaning is one connection by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Message,
    Forward(u32),
}

struct Open {
    channel: Channel,
    since: u64,
    up: Side,
    down: Side,
    was_reset: bool,
    error: Vec<u8>,
}

/// One direction.
struct Side {
    bytes: u64,
    /// How many of them stand in frames already.
    told: u64,
    digest: Context,
    is_closed: bool,
}

impl Side {
    fn new() -> Self {
        Self {
            bytes: 0,
            told: 0,
            digest: Context::new(&SHA256),
            is_closed: false,
        }
    }
}

impl fmt::Debug for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Open")
            .field("channel", &self.channel)
            .finish_non_exhaustive()
    }
}

impl Connections {
    /// How many were opened.
    pub(super) fn opened(&self) -> u64 {
        self.opened
    }

    pub(super) fn open(&mut self, at: u64, way: Way, channel: Channel, writer: &mut Writer) {
        let Some(key) = key(channel) else { return };
        if self.open.contains_key(&key) || self.over.contains(&key) {
            return;
        }
        if self.open.len() >= MAX_OPEN {
            self.tell_given_up(at, writer);
        }
        if self.open.len() >= MAX_OPEN {
            self.unlisted = self.unlisted.saturating_add(1);
            self.is_over(key);
            return;
        }
        self.opened = self.opened.saturating_add(1);
        let open = Open {
            channel,
            since: at,
            up: Side::new(),
            down: Side::new(),
            was_reset: false,
            error: Vec::new(),
        };
        self.open.insert(key, open);
        writer.frame(at, &Frame::Opened { way, channel });
    }

    /// WebSockets tell no opening: a connection begins with its first bytes there.
    pub(super) fn data(&mut self, at: u64, way: Way, channel: Channel, bytes: &[u8], writer: &mut Writer) {
        self.open(at, way, channel, writer);
        if let Some(open) = key(channel).and_then(|key| self.open.get_mut(&key)) {
            let side = open.side(way);
            side.bytes = side
                .bytes
                .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            side.digest.update(bytes);
            writer.touch(at);
        }
    }

    /// Tells what passed since the last time, so that a crash does not take the counts of what is open with it.
    pub(super) fn tell_counts(&mut self, at: u64, writer: &mut Writer) {
        for open in self
            .open
            .values_mut()
            .filter(|open| !matches!(open.channel, Channel::Message { .. }))
        {
            for (way, side) in [(Way::Up, &mut open.up), (Way::Down, &mut open.down)] {
                let bytes = side.bytes.saturating_sub(side.told);
                side.told = side.bytes;
                if bytes > 0 {
                    let channel = open.channel;
                    writer.frame(at, &Frame::Counted { way, channel, bytes });
                }
            }
        }
    }

    pub(super) fn error(&mut self, at: u64, connection: u32, port: u16, bytes: &[u8], writer: &mut Writer) {
        self.open(at, Way::Down, Channel::Forward { connection, port }, writer);
        if let Some(open) = self.open.get_mut(&Key::Forward(connection)) {
            let room = MAX_ERROR.saturating_sub(open.error.len());
            open.error.extend(bytes.iter().take(room));
        }
    }

    /// One direction is done; with both the connection is told.
    pub(super) fn closed(&mut self, at: u64, way: Way, channel: Channel, writer: &mut Writer) {
        let Some(key) = key(channel) else { return };
        let Some(open) = self.open.get_mut(&key) else { return };
        open.side(way).is_closed = true;
        if open.up.is_closed && open.down.is_closed {
            self.tell(at, key, writer);
        }
    }

    /// One side gave it up. The pod's word ends both directions; the client's hides nothing of what the pod goes on to send, so that
    /// the connection is told only at the pod's end of it.
    pub(super) fn reset(&mut self, at: u64, way: Way, channel: Channel, writer: &mut Writer) {
        let Some(key) = key(channel) else { return };
        let Some(open) = self.open.get_mut(&key) else { return };
        let was_given_up = std::mem::replace(&mut open.was_reset, true);
        open.up.is_closed = true;
        if way == Way::Down || open.down.is_closed {
            self.tell(at, key, writer);
        } else if !was_given_up {
            self.give_up(key);
        }
    }

    fn give_up(&mut self, key: Key) {
        if self.given_up.len() >= 2 * MAX_OPEN {
            self.given_up.retain(|key| self.open.contains_key(key));
        }
        self.given_up.push_back(key);
    }

    /// Tells the one that was given up first, to make room. The tap, which knows as many streams, has forgotten it by then: what would
    /// come of it could not be read.
    fn tell_given_up(&mut self, at: u64, writer: &mut Writer) {
        while let Some(key) = self.given_up.pop_front() {
            if self.open.contains_key(&key) {
                return self.tell(at, key, writer);
            }
        }
    }

    /// Tells those that are still open.
    pub(super) fn finish(&mut self, at: u64, writer: &mut Writer) {
        let keys: Vec<Key> = self.open.keys().copied().collect();
        for key in keys {
            self.tell(at, key, writer);
        }
        if self.unlisted > 0 {
            let note = Frame::Note {
                noted: Noted::ConnectionsUnlisted,
                count: self.unlisted,
                text: b"",
            };
            writer.frame(at, &note);
        }
    }

    /// Connections are numbered as they come, so that the lowest is the oldest.
    fn is_over(&mut self, key: Key) {
        self.over.insert(key);
        if self.over.len() > MAX_OVER {
            self.over.pop_first();
        }
    }

    fn tell(&mut self, at: u64, key: Key, writer: &mut Writer) {
        let Some(mut open) = self.open.remove(&key) else { return };
        self.is_over(key);
        writer.mask_text(&mut open.error);
        let connection = Connection {
            channel: open.channel,
            opened_micros: open.since,
            up: open.up.bytes,
            down: open.down.bytes,
            up_sha256: hash(open.up.digest),
            down_sha256: hash(open.down.digest),
            was_reset: open.was_reset,
            error: &open.error,
        };
        writer.frame(at, &Frame::Connection(connection));
    }
}

impl Open {
    fn side(&mut self, way: Way) -> &mut Side {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }
}

fn key(channel: Channel) -> Option<Key> {
    match channel {
        Channel::Forward { connection, .. } => Some(Key::Forward(connection)),
        Channel::Message { .. } => Some(Key::Message),
        Channel::Stdin
        | Channel::Stdout
        | Channel::Stderr
        | Channel::Status
        | Channel::Resize
        | Channel::ForwardError { .. } => None,
    }
}

fn hash(digest: Context) -> [u8; 32] {
    digest.finish().as_ref().try_into().unwrap_or([0; 32])
}
