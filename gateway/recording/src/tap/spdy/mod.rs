//! The tap of SPDY/3.1: streams that say in their headers what they are.
//!
//! What a person sees of an end on purpose, tried with kubectl v1.36 (k8s.io/client-go/tools/remotecommand, tools/portforward,
//! github.com/moby/spdystream):
//!
//! - a command from v4 on: the `Status` as the last data of its error stream, then GOAWAY. kubectl hands on all data that came
//!   before the GOAWAY, ends its other streams there, prints `error: MESSAGE` and exits with 1. Before v4 it is the text:
//!   `error: error executing remote command: TEXT`.
//! - a port-forward with open connections: the text as the last data of each error stream, the end of each data stream, and no
//!   GOAWAY, behind which kubectl may leave without having looked at its error streams. It logs `an error occurred forwarding
//!   LOCAL -> PORT: TEXT`, ends the connection by itself, says `error: lost connection to pod` and exits with 1.
//! - a port-forward with no open connection: GOAWAY, and `error: lost connection to pod` is all that it can say.

mod dictionary;
mod frame;
mod headers;
mod streams;

#[cfg(test)]
pub(super) use dictionary::DICTIONARY;
use frame::{Frames, Kind, Part};
use headers::Headers;
use streams::{PerWay, Streams};

use super::{Channel, Event, Farewell, See, Version, Way, Why};

/// Reads both directions of a SPDY connection.
#[derive(Debug)]
pub(super) struct Spdy {
    up: Frames,
    down: Frames,
    inside: Inside,
}

/// What frames act upon.
#[derive(Debug)]
struct Inside {
    meaning: Meaning,
    headers: PerWay<Headers>,
    streams: Streams,
    has_left: PerWay<bool>,
}

/// What the streams are for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Meaning {
    Command { version: Version },
    Forward,
}

/// The bytes of an end on purpose.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) bytes: Vec<u8>,
    /// Whether it ends with a GOAWAY.
    pub(super) is_last: bool,
}

impl Spdy {
    pub(super) fn new(meaning: Meaning) -> Self {
        Self {
            up: Frames::new(),
            down: Frames::new(),
            inside: Inside {
                meaning,
                headers: PerWay::default(),
                streams: Streams::new(meaning),
                has_left: PerWay::default(),
            },
        }
    }

    pub(super) fn feed(&mut self, way: Way, bytes: &[u8], seen: See<'_>) -> Result<(), Why> {
        let frames = match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        };
        let inside = &mut self.inside;
        frames.feed(bytes, &mut |part| inside.take(way, &part, seen))
    }

    /// The bytes that end the session behind what was read Down; None within a frame.
    pub(super) fn farewell(&self, words: &Farewell) -> Option<Said> {
        if self.inside.has_left.down || !self.down.is_between_frames() {
            return None;
        }
        let said = match self.inside.meaning {
            Meaning::Command { version } if version.ends_with_status() => &words.status,
            Meaning::Command { .. } | Meaning::Forward => &words.text,
        };
        let (mut bytes, mut is_last) = (Vec::new(), true);
        for (stream, channel) in self.inside.streams.open_down() {
            match channel {
                Channel::Status => last_data(&mut bytes, stream, said.as_bytes()),
                Channel::ForwardError { .. } => {
                    last_data(&mut bytes, stream, said.as_bytes());
                    is_last = false;
                }
                Channel::Forward { .. } => last_data(&mut bytes, stream, b""),
                Channel::Stdin | Channel::Stdout | Channel::Stderr | Channel::Resize | Channel::Message { .. } => {}
            }
        }
        if is_last {
            bytes.extend_from_slice(&[frame::CONTROL, 3, 0, 7, 0, 0, 0, 8]);
            bytes.extend_from_slice(&self.inside.streams.last_up().to_be_bytes());
            bytes.extend_from_slice(&[0; 4]); // OK (§2.6.6)
        }
        Some(Said { bytes, is_last })
    }
}

impl Spdy {
    /// Without what zlib holds, which does not grow.
    pub(super) fn held_bytes(&self) -> usize {
        let Inside { headers, streams, .. } = &self.inside;
        let frames = self.up.held_bytes() + self.down.held_bytes();
        frames + headers.up.held_bytes() + headers.down.held_bytes() + streams.held_bytes()
    }
}

/// A data frame that is the last of its stream.
fn last_data(bytes: &mut Vec<u8>, stream: u32, data: &[u8]) {
    let data = data.get(..MAX_DATA_BYTES).unwrap_or(data);
    let length = u32::try_from(data.len()).unwrap_or_default();
    let [_, high, middle, low] = length.to_be_bytes();
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(&[frame::FIN, high, middle, low]);
    bytes.extend_from_slice(data);
}

impl Inside {
    fn take(&mut self, way: Way, part: &Part<'_>, seen: See<'_>) -> Result<(), Why> {
        // Go's server reads nothing behind its client's GOAWAY (spdystream `Connection.Serve`). Clients may write there: kubectl up to
        // 1.28 does not wait for its copy to a connection of a port-forward, and a command that is given up while its last stream is
        // opened may begin to copy.
        if way == Way::Up && self.has_left.up {
            return Ok(());
        }
        match *part {
            Part::Data { stream, bytes } => {
                if let Some(channel) = self.data(way, stream)? {
                    seen(way, Event::Data { channel, bytes });
                }
                Ok(())
            }
            Part::Last { stream } => self.end(way, stream, seen),
            Part::Control { kind, flags, body } => self.control(way, kind, flags, body, seen),
        }
    }

    /// The channel that data of `stream` are for; None if they are dropped.
    fn data(&mut self, way: Way, stream: u32) -> Result<Option<Channel>, Why> {
        match self.meaning {
            // Before its GOAWAY a server has given up all streams of a command (`connection.Close`); the connections of a port-forward
            // may go on.
            Meaning::Command { .. } if way == Way::Up && self.has_left.down => Ok(None),
            Meaning::Command { .. } | Meaning::Forward => self.streams.data(way, stream),
        }
    }

    fn control(&mut self, way: Way, kind: Kind, flags: u8, body: &[u8], seen: See<'_>) -> Result<(), Why> {
        match (kind, way) {
            (Kind::SynStream, Way::Up) => self.open(flags, body, seen),
            // Clients of Kubernetes open streams, servers none: kubectl takes one of a server and never reads it.
            (Kind::SynStream, Way::Down) => Err("a SPDY stream that a server opens"),
            // Go's server waits for a reader of a stream's headers, and there is none; behind them it reads no more of the stream.
            (Kind::SynReply | Kind::Headers, Way::Up) => Err("a SPDY reply or later headers of a client"),
            (Kind::SynReply | Kind::Headers, Way::Down) => {
                let (stream, block) = stream(body)?;
                self.headers.of(way).read(block)?;
                if kind == Kind::SynReply {
                    self.streams.taken(stream);
                }
                if flags & frame::FIN != 0 {
                    return self.end(way, stream, seen);
                }
                Ok(())
            }
            (Kind::RstStream, _) => {
                let (stream, reason) = stream(body)?;
                if reason == [0; 4] {
                    return Err("a SPDY reset without a reason");
                }
                if let Some(channel) = self.streams.reset(way, stream)? {
                    seen(way, Event::Reset { channel });
                }
                Ok(())
            }
            (Kind::Settings, _) => settings(body),
            (Kind::Ping, _) if body == [0; 4] => Err("a SPDY ping without a number"),
            (Kind::Ping | Kind::WindowUpdate, _) => Ok(()),
            (Kind::GoAway, _) => {
                *self.has_left.of(way) = true;
                seen(way, Event::Farewell);
                Ok(())
            }
        }
    }

    /// Clients set no flags. A stream that says to be half closed, or wholly, is written to by Go's server all the same (spdystream
    /// `addStreamFrame`). Nor do they give it a parent or a priority; by priorities Go's server would take one frame before another.
    fn open(&mut self, flags: u8, body: &[u8], seen: See<'_>) -> Result<(), Why> {
        if flags != 0 {
            return Err("a SPDY stream that is opened with flags, which no client sets");
        }
        let (stream, rest) = stream(body)?;
        let (place, block) = rest.split_at_checked(SYN_STREAM_REST_BYTES).unwrap_or((rest, b""));
        if place.iter().any(|byte| *byte != 0) {
            return Err("a SPDY stream with a parent or a priority, which no client gives it");
        }
        let opening = self.headers.up.read(block)?;
        if self.has_left.down {
            self.streams.refused(stream);
        } else if let Some(channel) = self.streams.open(stream, &opening)? {
            seen(Way::Up, Event::Opened { channel });
        }
        Ok(())
    }

    fn end(&mut self, way: Way, stream: u32, seen: See<'_>) -> Result<(), Why> {
        if let Some(channel) = self.streams.end(way, stream)? {
            seen(way, Event::Closed { channel });
        }
        Ok(())
    }
}

/// The stream that a control frame is about. Go reads all 32 bits of an id, the draft 31.
fn stream(body: &[u8]) -> Result<(u32, &[u8]), Why> {
    let (id, rest) = body
        .split_first_chunk::<4>()
        .ok_or("a SPDY frame too short for its kind")?;
    match u32::from_be_bytes(*id) {
        0 => Err("a SPDY frame of stream 0"),
        id @ 1..=0x7fff_ffff => Ok((id, rest)),
        _ => Err("a SPDY stream id of 32 bits"),
    }
}

/// Only the length matters, see [`frame`].
fn settings(body: &[u8]) -> Result<(), Why> {
    let count = body
        .first_chunk::<4>()
        .map(|count| u64::from(u32::from_be_bytes(*count)));
    if count.is_some_and(|count| count * 8 + 4 == body.len() as u64) {
        Ok(())
    } else {
        Err("SPDY settings of another length than they say")
    }
}

/// Behind the stream: the associated stream, priority and slot (§2.6.1).
const SYN_STREAM_REST_BYTES: usize = 6;
/// A length has 24 bits.
const MAX_DATA_BYTES: usize = (1 << 24) - 1;
