//! Taps: the bytes of an upgraded connection, read as the streams of a session while they pass.
//!
//! Kubernetes carries `exec`, `attach` and `port-forward` over two transports (KEP-4006): SPDY/3.1, whose streams say in their
//! headers what they are, and WebSockets (RFC 6455), where the first byte of a message is the channel. A tap is shown both
//! directions in the order in which they passed and says what they meant. It never holds a byte back.
//!
//! A tap reads as the reader at the other end does (spdystream, golang.org/x/net, gorilla): what such a reader could take for
//! something else than the specification says is [`Torn`], never guessed at, or a session could show the recording one thing and
//! the pod another. Idle time is counted by [`Event::Data`], and pings are none, so they keep no session alive.
//!
//! Invariants: any way of cutting the same bytes into pieces gives the same events; memory is bounded whatever a peer sends; what
//! cannot be read ends in [`Torn`] once, and from then on the tap is silent.

mod farewell;
mod fuzz;
mod negotiate;
mod spdy;
mod websocket;

#[cfg(test)]
mod tests;

pub use farewell::Farewell;
pub use fuzz::{fuzz_spdy_tap, fuzz_stream_protocol, fuzz_websocket_tap};
pub use negotiate::{Act, Upgrade, ports};

use std::fmt;

use spdy::Spdy;
use websocket::WebSocket;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the person to the pod.
    Up,
    /// From the pod to the person.
    Down,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "to the pod",
            Self::Down => "to the person",
        })
    }
}

/// What a stream of a session carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// What the person types or sends; channel 0.
    Stdin,
    /// What the process writes; with a terminal both of its outputs. Channel 1.
    Stdout,
    /// Its other output; channel 2.
    Stderr,
    /// How it ended: a `Status` in JSON (stream protocol v4 and v5) or a text; channel 3.
    Status,
    /// Sizes of the person's terminal, `{"Width":…,"Height":…}` each; channel 4.
    Resize,
    /// One connection of a port-forward: `connection` counts from 0 within the session.
    Forward {
        /// Which connection.
        connection: u32,
        /// The port in the pod.
        port: u16,
    },
    /// What went wrong with one connection of a port-forward.
    ForwardError {
        /// Which connection.
        connection: u32,
        /// The port in the pod.
        port: u16,
    },
    /// A WebSocket that is no session of Kubernetes' own: something behind a `proxy` subresource, a watch.
    Message {
        /// Text (RFC 6455 opcode 1) or binary (2).
        is_text: bool,
    },
}

impl Channel {
    /// Whether anybody reads this channel at the end of this way. What a person sends on the channel of the output, say, reaches
    /// no one, and told as data it would be output in the recording: it is not told.
    #[must_use]
    pub fn flows(self, way: Way) -> bool {
        match self {
            Self::Stdin | Self::Resize => way == Way::Up,
            Self::Stdout | Self::Stderr | Self::Status | Self::ForwardError { .. } => way == Way::Down,
            Self::Forward { .. } | Self::Message { .. } => true,
        }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A stream was opened. WebSocket channels are open from the beginning and are not told.
    Opened {
        /// Which.
        channel: Channel,
    },
    /// Bytes of a stream, possibly only a piece of what the peer sent at once; never empty.
    Data {
        /// Of which stream.
        channel: Channel,
        /// The bytes without any framing, decoded where the protocol is one of the base64 ones.
        bytes: &'a [u8],
    },
    /// No more comes on this stream this way. A server that writes on all the same is still told.
    Closed {
        /// Which.
        channel: Channel,
    },
    /// The stream was given up (SPDY RST_STREAM).
    Reset {
        /// Which.
        channel: Channel,
    },
    /// What a control frame of [`Protocol::WebSocketPlain`] carried, whole; never empty, at most 125 bytes. No data: it keeps no session
    /// alive.
    Control {
        /// Of which kind.
        kind: Control,
        /// The payload.
        bytes: &'a [u8],
    },
    /// The peer says that it ends the connection (WebSocket close, SPDY GOAWAY).
    Farewell,
}

/// A control frame of a WebSocket (RFC 6455 §5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// The connection is closed: a code of two bytes, big endian, and a reason. Opcode 8.
    Close,
    /// Is anybody there? Opcode 9.
    Ping,
    /// Somebody is. Opcode 10.
    Pong,
}

/// A tap could not read on: the reason, for the record. Not a fault of the person's necessarily.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what went {way} could not be read: {why}")]
pub struct Torn {
    /// Which direction.
    pub way: Way,
    /// What is wrong with it.
    pub why: &'static str,
}

/// How a session's bytes are framed; found out from the two heads of the upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// SPDY/3.1 with the streams of `exec` and `attach`.
    SpdyCommand {
        /// What the streams mean.
        version: Version,
    },
    /// SPDY/3.1 with pairs of streams for each connection of a port-forward.
    SpdyForward,
    /// WebSocket messages whose first byte is the channel. `base64`: text messages, first character `0`…`4`, the rest base64.
    /// From [`Version::V5`] on a message of channel 255 closes the channel that it names.
    WebSocketCommand {
        /// The `base64.` family.
        base64: bool,
        /// What the channels mean.
        version: Version,
    },
    /// WebSocket messages with two channels for each port, data and error; the first message of each channel is the port in two
    /// bytes, little endian.
    WebSocketForward {
        /// The `base64.` family.
        base64: bool,
    },
    /// SPDY/3.1 with a port-forward's streams inside binary WebSocket messages (`SPDY/3.1+portforward.k8s.io`).
    WebSocketTunnel,
    /// WebSocket messages of some other meaning.
    WebSocketPlain,
}

/// A version of the stream protocol of `exec` and `attach` (k8s.io/apimachinery/pkg/util/remotecommand).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `channel.k8s.io`, or none named.
    V1,
    /// Standard input can end.
    V2,
    /// The terminal has a size.
    V3,
    /// The end is a `Status` in JSON instead of a text.
    V4,
    /// WebSocket channels can be closed.
    V5,
}

impl Version {
    /// Whether [`Channel::Status`] carries a `Status` in JSON; else a text for the person, and nothing after success.
    #[must_use]
    pub fn ends_with_status(self) -> bool {
        self >= Self::V4
    }
}

/// Reads the two directions of one upgraded connection.
///
/// ```
/// use recording::tap::{Channel, Event, Protocol, Tap, Version, Way};
///
/// let (base64, version) = (false, Version::V5);
/// let mut tap = Tap::new(Protocol::WebSocketCommand { base64, version }, Vec::new());
/// let mut output = Vec::new();
/// tap.feed(Way::Down, b"\x82\x03\x01ok", &mut |_, event| {
///     if let Event::Data { channel: Channel::Stdout, bytes } = event {
///         output.extend_from_slice(bytes);
///     }
/// })?;
/// assert_eq!(output, b"ok");
/// # Ok::<(), recording::tap::Torn>(())
/// ```
///
/// Its memory is bounded: some 100 KiB for SPDY, 20 KiB for a WebSocket, at most a megabyte for a port-forward of 4096 connections.
#[derive(Debug)]
pub struct Tap {
    protocol: Protocol,
    reader: Reader,
    torn: Option<Way>,
}

#[derive(Debug)]
enum Reader {
    Spdy(Box<Spdy>),
    WebSocket(Box<WebSocket>),
}

impl Reader {
    fn feed(&mut self, way: Way, bytes: &[u8], seen: See<'_>) -> Result<(), Why> {
        match self {
            Self::Spdy(spdy) => spdy.feed(way, bytes, seen),
            Self::WebSocket(websocket) => websocket.feed(way, bytes, seen),
        }
    }
}

/// Tells what was seen.
type See<'s> = &'s mut dyn FnMut(Way, Event<'_>);

/// What is wrong with a direction.
type Why = &'static str;

impl Tap {
    /// Stands behind the two heads of the upgrade. `ports` are those of [`Protocol::WebSocketForward`] in their order, see
    /// [`ports()`]; no other protocol looks at them.
    #[must_use]
    pub fn new(protocol: Protocol, ports: Vec<u16>) -> Self {
        let spdy = |meaning| Reader::Spdy(Box::new(Spdy::new(meaning)));
        let reader = match protocol {
            Protocol::SpdyCommand { version } => spdy(spdy::Meaning::Command { version }),
            Protocol::SpdyForward => spdy(spdy::Meaning::Forward),
            Protocol::WebSocketCommand { base64, version } => {
                Reader::WebSocket(Box::new(WebSocket::of_command(base64, version)))
            }
            Protocol::WebSocketForward { base64 } => Reader::WebSocket(Box::new(WebSocket::of_forward(base64, ports))),
            Protocol::WebSocketTunnel => Reader::WebSocket(Box::new(WebSocket::of_tunnel())),
            Protocol::WebSocketPlain => Reader::WebSocket(Box::new(WebSocket::of_messages())),
        };
        Self {
            protocol,
            reader,
            torn: None,
        }
    }

    /// How it reads.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether a direction could not be read. Nothing is told any more, of either.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.torn.is_some()
    }

    /// Reads `bytes`, which went `way` next, and tells `seen` what they meant. After an error it tells nothing more; what goes Down
    /// shall still be fed, so that a [`Tap::farewell`] knows its place.
    ///
    /// # Errors
    /// [`Torn`], once, where the bytes cannot be read with certainty; what was told before it stands.
    pub fn feed(&mut self, way: Way, bytes: &[u8], seen: &mut dyn FnMut(Way, Event<'_>)) -> Result<(), Torn> {
        match (self.torn, way) {
            (None, _) => {
                let outcome = self.reader.feed(way, bytes, seen);
                self.torn = outcome.is_err().then_some(way);
                outcome.map_err(|why| Torn { way, why })
            }
            (Some(Way::Up), Way::Down) => {
                if self.reader.feed(way, bytes, &mut |_, _| {}).is_err() {
                    self.torn = Some(way);
                }
                Ok(())
            }
            (Some(_), _) => Ok(()),
        }
    }

    /// The bytes that end the session on purpose, to be sent Down directly behind the last byte that was fed Down. What a person
    /// sees of them stands with each transport, in `tap/spdy/mod.rs` and `tap/websocket/farewell.rs`.
    ///
    /// None while Down stands inside a frame or a message, when a farewell has passed already, or when Down is torn: then ask again
    /// behind the next bytes, or close without a word. Behind these bytes nothing of the upstream's may follow.
    ///
    /// The connection, both halves of it, shall then stay open until the client has closed it or a second has passed. Every client
    /// of Kubernetes closes; kubectl prints the words of a port-forward only afterwards, and what ends the connection sooner takes
    /// them with it.
    #[must_use]
    pub fn farewell(&self, words: &Farewell) -> Option<Vec<u8>> {
        if self.torn == Some(Way::Down) {
            return None;
        }
        match &self.reader {
            Reader::Spdy(spdy) => spdy.farewell(words).map(|said| said.bytes),
            Reader::WebSocket(websocket) => websocket.farewell(words),
        }
    }

    /// Bytes on the heap that grow with what is read.
    fn held_bytes(&self) -> usize {
        match &self.reader {
            Reader::Spdy(spdy) => spdy.held_bytes(),
            Reader::WebSocket(websocket) => websocket.held_bytes(),
        }
    }
}
