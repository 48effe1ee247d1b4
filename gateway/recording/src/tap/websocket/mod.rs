//! The tap of a WebSocket: frames, and within them channels, a SPDY tunnel, or messages of their own.

mod base64;
mod channels;
mod farewell;
mod frame;

use channels::{Channels, Meaning};
use frame::{Frames, Part};

use super::spdy::{self, Spdy};
use super::{Channel, Event, See, Version, Way, Why};

/// Reads both directions of a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    up: Frames,
    down: Frames,
    content: Content,
}

/// What the messages carry.
#[derive(Debug)]
enum Content {
    Channels {
        meaning: Meaning,
        is_base64: bool,
        up: Channels,
        down: Channels,
    },
    Tunnel(Box<Spdy>),
    /// Whether the message that is open in each direction is a text.
    Plain {
        up: bool,
        down: bool,
    },
}

impl WebSocket {
    pub(super) fn of_command(is_base64: bool, version: Version) -> Self {
        Self::of_channels(Meaning::Command { version }, is_base64)
    }

    pub(super) fn of_forward(is_base64: bool, ports: Vec<u16>) -> Self {
        Self::of_channels(Meaning::Forward { ports }, is_base64)
    }

    pub(super) fn of_tunnel() -> Self {
        Self::of(Content::Tunnel(Box::new(Spdy::new(spdy::Meaning::Forward))))
    }

    pub(super) fn of_messages() -> Self {
        Self::of(Content::Plain { up: false, down: false })
    }

    fn of_channels(meaning: Meaning, is_base64: bool) -> Self {
        Self::of(Content::Channels {
            meaning,
            is_base64,
            up: Channels::new(Way::Up, is_base64),
            down: Channels::new(Way::Down, is_base64),
        })
    }

    fn of(content: Content) -> Self {
        Self {
            up: Frames::new(true),
            down: Frames::new(false),
            content,
        }
    }

    pub(super) fn held_bytes(&self) -> usize {
        match &self.content {
            Content::Tunnel(spdy) => spdy.held_bytes(),
            Content::Channels { .. } | Content::Plain { .. } => 0,
        }
    }

    pub(super) fn feed(&mut self, way: Way, bytes: &[u8], seen: See<'_>) -> Result<(), Why> {
        let Self { up, down, content } = self;
        let frames = match way {
            Way::Up => up,
            Way::Down => down,
        };
        frames.feed(bytes, &mut |part| content.take(way, &part, seen))
    }
}

impl Content {
    fn take(&mut self, way: Way, part: &Part<'_>, seen: See<'_>) -> Result<(), Why> {
        match (self, way) {
            (Self::Channels { meaning, up, .. }, Way::Up) => up.take(meaning, part, seen),
            (Self::Channels { meaning, down, .. }, Way::Down) => down.take(meaning, part, seen),
            (Self::Tunnel(spdy), _) => tunnelled(spdy, way, part, seen),
            (Self::Plain { up, .. }, Way::Up) => plain(up, way, part, seen),
            (Self::Plain { down, .. }, Way::Down) => plain(down, way, part, seen),
        }
    }
}

/// A tunnel is a stream of bytes: where its messages begin and end means nothing
/// (k8s.io/client-go/tools/portforward/tunneling_connection.go).
fn tunnelled(spdy: &mut Spdy, way: Way, part: &Part<'_>, seen: See<'_>) -> Result<(), Why> {
    match *part {
        Part::Begin { is_text: true } => Err("a text message in a tunnel"),
        Part::Piece(bytes) => spdy.feed(way, bytes, seen),
        Part::Close => {
            seen(way, Event::Farewell);
            Ok(())
        }
        Part::Begin { is_text: false } | Part::Continue { .. } | Part::Control { .. } | Part::End => Ok(()),
    }
}

fn plain(open_is_text: &mut bool, way: Way, part: &Part<'_>, seen: See<'_>) -> Result<(), Why> {
    match *part {
        Part::Begin { is_text } => *open_is_text = is_text,
        Part::Piece(bytes) => {
            let channel = Channel::Message { is_text: *open_is_text };
            seen(way, Event::Data { channel, bytes });
        }
        // Whoever stands behind it may read more into them than that somebody is there.
        Part::Control { kind, bytes } => seen(way, Event::Control { kind, bytes }),
        Part::Close => seen(way, Event::Farewell),
        Part::Continue { .. } | Part::End => {}
    }
    Ok(())
}
