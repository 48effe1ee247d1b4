//! Frames: what happened in a session, one after the other.
//!
//! On the wire `kind u8 | time varint | length varint | body`: the time is microseconds since the frame before (since the
//! chunk's time for its first), so that no frame can stand before another and the order over all channels is total. The
//! length lets a reader pass over a kind that it does not know. Varints are LEB128 (DWARF 5 §7.6), at most ten bytes.
//!
//! Invariant: what [`encode`] writes, [`FrameIter`] reads as the same value, and no bytes make it panic.

mod body;
mod iter;
mod varint;

pub(crate) use body::{encode, encode_data};
pub use iter::{FrameError, FrameIter};
#[cfg(test)]
pub(crate) use varint::put;
pub(crate) use varint::{Cursor, put as put_varint};

use crate::mask::Secret;
use crate::tap::{Channel, Control, Way};

/// A frame with its place and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamped<'a> {
    /// Its number within the session, from 0, over all channels.
    pub number: u64,
    /// Microseconds since the session began.
    pub at_micros: u64,
    /// What happened.
    pub frame: Frame<'a>,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The beginning: a [`crate::Head`] in JSON.
    Head(&'a [u8]),
    /// Bytes of a stream, masked.
    Data {
        /// Which way.
        way: Way,
        /// Of which stream.
        channel: Channel,
        /// As they passed, but for masked secrets, which keep their length.
        bytes: &'a [u8],
    },
    /// Bytes that were not kept, since the last frame of this kind.
    Counted {
        /// Which way.
        way: Way,
        /// Of which stream.
        channel: Channel,
        /// How many.
        bytes: u64,
    },
    /// A stream was opened.
    Opened {
        /// By whom.
        way: Way,
        /// Which.
        channel: Channel,
    },
    /// No more comes on this stream this way.
    Closed {
        /// Which way.
        way: Way,
        /// Which.
        channel: Channel,
    },
    /// The stream was given up.
    Reset {
        /// By whom.
        way: Way,
        /// Which.
        channel: Channel,
    },
    /// The peer said that it ends the connection.
    Farewell {
        /// Which peer: `Up` is the person's client.
        way: Way,
    },
    /// The person's terminal has this size now.
    Resize {
        /// Characters in a line.
        columns: u16,
        /// Lines.
        rows: u16,
    },
    /// How the process ended.
    Status {
        /// Its exit code; none when it was not said or cannot be read.
        code: Option<u32>,
        /// What was said besides, masked.
        text: &'a [u8],
    },
    /// What a reader should know about the recording.
    Note {
        /// What.
        noted: Noted,
        /// How often, or from which byte on; see [`Noted`].
        count: u64,
        /// In words.
        text: &'a [u8],
    },
    /// A file that `cp` carried.
    File(TarFile<'a>),
    /// A connection of a port-forward, or another upgraded connection, that has ended.
    Connection(Connection<'a>),
    /// What a ping, a pong or a close of a WebSocket carried that is no session of Kubernetes' own, masked.
    Control {
        /// Which way.
        way: Way,
        /// Of which kind.
        kind: Control,
        /// At most 125 bytes.
        bytes: &'a [u8],
    },
    /// The end: a [`crate::Finish`] in JSON. Nothing follows.
    End(&'a [u8]),
    /// Written by a later release.
    Unknown {
        /// Which kind.
        kind: u8,
        /// What it says.
        body: &'a [u8],
    },
}

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// What is typed into a terminal is not kept, since a terminal that does not echo reads passwords.
    InputNotKept,
    /// Secrets of this kind were masked in this chunk; the count says how many.
    Masked(Secret),
    /// One direction could not be read on; the text says why.
    Torn(Way),
    /// What `cp` carries cannot be read as tar from here on and is kept as it is; the text says why.
    TarUnread,
    /// A message about the terminal's size could not be read.
    SizeUnread,
    /// More connections at once than are told apart; the count says how many were opened beyond.
    ConnectionsUnlisted,
    /// Of a later release.
    Other(u8),
}

/// A file that `cp` carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TarFile<'a> {
    /// `Up` was written into the pod, `Down` taken out of it.
    pub way: Way,
    /// The type flag of its tar header: `0` file, `1` hard link, `2` symbolic link, `5` folder, …
    pub kind: u8,
    /// Permission bits.
    pub mode: u32,
    /// Bytes that the header promises.
    pub size: u64,
    /// Bytes that came; fewer than `size` when the stream broke off.
    pub seen: u64,
    /// SHA-256 of the bytes that came; none for links, folders and devices, which have no content.
    pub sha256: Option<[u8; 32]>,
    /// Its name as the archive has it, at most 4 KiB.
    pub name: &'a [u8],
    /// Where a link points.
    pub link: &'a [u8],
}

/// What a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Which: [`Channel::Forward`] or [`Channel::Message`].
    pub channel: Channel,
    /// When it was first seen, in microseconds since the session began.
    pub opened_micros: u64,
    /// Bytes to the pod.
    pub up: u64,
    /// Bytes to the person.
    pub down: u64,
    /// SHA-256 of all bytes to the pod.
    pub up_sha256: [u8; 32],
    /// SHA-256 of all bytes to the person.
    pub down_sha256: [u8; 32],
    /// It was given up, not closed.
    pub was_reset: bool,
    /// What the pod's side said went wrong, masked, at most 1 KiB.
    pub error: &'a [u8],
}
