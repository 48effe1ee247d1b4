//! The channels within the messages of a WebSocket: what `channel.k8s.io` and its family mean by a first byte.
//!
//! Read as k8s.io/streaming/pkg/httpstream/wsstream reads. That reader knows no fragments: it takes the first byte of each
//! *frame* of a client for a channel, where RFC 6455 and every client's own reader take that of each message. A message of a
//! client in several frames therefore means two things, and is not read here at all; no client that works sends one.

use super::super::{Channel, Event, See, Version, Way, Why};
use super::base64::Base64;
use super::frame::Part;

/// Which channels there are.
#[derive(Debug)]
pub(super) enum Meaning {
    /// 0 to 4, of a command.
    Command { version: Version },
    /// Two for each port, data and error.
    Forward { ports: Vec<u16> },
}

/// The messages of one direction.
#[derive(Debug)]
pub(super) struct Channels {
    way: Way,
    base64: Option<Base64>,
    at: At,
    /// The channels of a command that are closed this way: nobody reads them any more.
    closed: [bool; COMMAND_CHANNELS],
    /// How many bytes of its port each channel of a port-forward has told, by its number.
    greeted: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// The first byte of a message, which is its channel.
    Channel,
    /// A channel that someone reads.
    Data {
        channel: Channel,
    },
    /// The port in front of the data of the channel with this number.
    Port {
        number: u8,
        channel: Channel,
    },
    /// A channel that nobody reads this way.
    Unread,
    /// The channel that a close message names.
    CloseOf,
    Closed,
}

impl Channels {
    pub(super) fn new(way: Way, is_base64: bool) -> Self {
        Self {
            way,
            base64: is_base64.then(Base64::default),
            at: At::Channel,
            closed: [false; COMMAND_CHANNELS],
            greeted: Vec::new(),
        }
    }

    /// Takes a part of the messages and tells `seen` what it means.
    pub(super) fn take(&mut self, meaning: &Meaning, part: &Part<'_>, seen: See<'_>) -> Result<(), Why> {
        match *part {
            Part::Begin { .. } => {
                self.at = At::Channel;
                if let Some(base64) = &mut self.base64 {
                    *base64 = Base64::default();
                }
                Ok(())
            }
            Part::Continue { bytes } if self.way == Way::Up && bytes > 0 => {
                Err("a message of a client in fragments, which servers take for several messages")
            }
            // The servers and clients of Kubernetes read nothing into them.
            Part::Continue { .. } | Part::Control { .. } => Ok(()),
            Part::Piece(bytes) => self.piece(meaning, bytes, seen),
            Part::End => self.end(),
            Part::Close => {
                seen(self.way, Event::Farewell);
                Ok(())
            }
        }
    }

    /// Whether the channel has told its port, so that a text on it is read as a text.
    pub(super) fn is_greeted(&self, number: u8) -> bool {
        self.greeted.get(usize::from(number)) == Some(&PORT_BYTES)
    }

    fn piece(&mut self, meaning: &Meaning, mut bytes: &[u8], seen: See<'_>) -> Result<(), Why> {
        while let (At::Channel | At::CloseOf | At::Closed, Some((first, rest))) = (self.at, bytes.split_first()) {
            self.at = match self.at {
                At::Channel => self.channel(meaning, *first),
                At::CloseOf => self.close(*first, seen)?,
                _ => return Err("a close message of more than one channel"),
            };
            bytes = rest;
        }
        match (&mut self.base64, self.at) {
            // A server drops what a client sends there. What a server sends may be read by a client of its own making.
            (_, At::Unread) if self.way == Way::Down && !bytes.is_empty() => {
                Err("a message of a server on a channel that nobody reads")
            }
            (_, At::Unread) => Ok(()),
            (Some(base64), at) => {
                let (way, greeted) = (self.way, &mut self.greeted);
                base64.feed(bytes, &mut |plain| data(way, at, greeted, plain, seen))
            }
            (None, at) => {
                data(self.way, at, &mut self.greeted, bytes, seen);
                Ok(())
            }
        }
    }

    /// Where the data of the channel `first` goes.
    fn channel(&mut self, meaning: &Meaning, first: u8) -> At {
        let number = match &self.base64 {
            Some(_) => first.wrapping_sub(b'0'),
            None => first,
        };
        match meaning {
            Meaning::Command { version } if *version >= Version::V5 && number == CLOSE => At::CloseOf,
            Meaning::Command { .. } => command_channel(number)
                .filter(|channel| channel.flows(self.way) && !self.is_closed(number))
                .map_or(At::Unread, |channel| At::Data { channel }),
            Meaning::Forward { ports } => forward_channel(ports, number)
                .filter(|channel| channel.flows(self.way))
                .map_or(At::Unread, |channel| self.forward(number, channel)),
        }
    }

    /// Closes the channel `number`; the server hangs up if there is none.
    fn close(&mut self, number: u8, seen: See<'_>) -> Result<At, Why> {
        let channel = command_channel(number).ok_or("a close message of an unknown channel")?;
        if let Some(is_closed) = self.closed.get_mut(usize::from(number))
            && !std::mem::replace(is_closed, true)
        {
            seen(self.way, Event::Closed { channel });
        }
        Ok(At::Closed)
    }

    fn is_closed(&self, number: u8) -> bool {
        self.closed.get(usize::from(number)) == Some(&true)
    }

    fn forward(&mut self, number: u8, channel: Channel) -> At {
        if self.way == Way::Up {
            return At::Data { channel };
        }
        let known = self.greeted.len().max(usize::from(number) + 1);
        self.greeted.resize(known, 0);
        At::Port { number, channel }
    }

    fn end(&mut self) -> Result<(), Why> {
        match (self.at, &self.base64) {
            (At::CloseOf, _) => Err("a close message of no channel"),
            (At::Data { .. } | At::Port { .. }, Some(base64)) => base64.end(),
            _ => Ok(()),
        }
    }
}

/// Tells of `bytes`, which are decoded.
fn data(way: Way, at: At, greeted: &mut [u8], bytes: &[u8], seen: See<'_>) {
    let (channel, bytes) = match at {
        At::Data { channel } => (channel, bytes),
        At::Port { number, channel } => (channel, skip_port(greeted, number, bytes)),
        At::Channel | At::Unread | At::CloseOf | At::Closed => return,
    };
    if !bytes.is_empty() {
        seen(way, Event::Data { channel, bytes });
    }
}

/// What follows the two bytes of the port, the first on a channel of the server.
fn skip_port<'b>(greeted: &mut [u8], number: u8, bytes: &'b [u8]) -> &'b [u8] {
    let Some(seen) = greeted.get_mut(usize::from(number)) else {
        return bytes;
    };
    let skipped = usize::from(PORT_BYTES - *seen).min(bytes.len());
    *seen = seen.saturating_add(u8::try_from(skipped).unwrap_or(PORT_BYTES));
    bytes.get(skipped..).unwrap_or_default()
}

fn command_channel(number: u8) -> Option<Channel> {
    Some(match number {
        0 => Channel::Stdin,
        1 => Channel::Stdout,
        2 => Channel::Stderr,
        3 => Channel::Status,
        4 => Channel::Resize,
        _ => return None,
    })
}

fn forward_channel(ports: &[u16], number: u8) -> Option<Channel> {
    let port = *ports.get(usize::from(number / 2))?;
    let connection = u32::from(number / 2);
    Some(match number % 2 {
        0 => Channel::Forward { connection, port },
        _ => Channel::ForwardError { connection, port },
    })
}

/// `StreamClose` of k8s.io/apimachinery/pkg/util/remotecommand.
const CLOSE: u8 = 255;
const COMMAND_CHANNELS: usize = 5;
/// The first message of each channel of a port-forward (k8s.io/cri-streaming/pkg/streaming/portforward).
const PORT_BYTES: u8 = 2;
