//! The taps against writers of their own: one for SPDY over zlib's compressor, one for WebSocket frames, and streams that Go's
//! libraries wrote (`golden/`).

mod arrival;
mod farewell;
mod golden;
mod negotiate;
mod sessions;
mod spdy;
mod websocket;
mod writer;

use super::fuzz::{Outcome, Told, read};
use super::*;

const UP: Way = Way::Up;
const DOWN: Way = Way::Down;

/// What is told of `pieces`, having seen that it is the same however they are cut.
fn outcome(protocol: Protocol, pieces: &[(Way, Vec<u8>)]) -> Outcome {
    let pieces = || pieces.iter().map(|(way, bytes)| (*way, bytes.as_slice()));
    let whole = read(protocol, pieces(), usize::MAX);
    for cut in [1, 2, 3, 5, 7, 11, 4096] {
        assert_eq!(whole, read(protocol, pieces(), cut), "cut into pieces of {cut}");
    }
    whole
}

/// The same of pieces that can be read.
fn told(protocol: Protocol, pieces: &[(Way, Vec<u8>)]) -> Vec<Told> {
    let (told, torn) = outcome(protocol, pieces);
    assert_eq!(torn, None, "{told:?}");
    told
}

/// Why `pieces` cannot be read.
fn why(protocol: Protocol, pieces: &[(Way, Vec<u8>)]) -> &'static str {
    let (told, torn) = outcome(protocol, pieces);
    torn.unwrap_or_else(|| panic!("it was read as {told:?}")).why
}

fn data(way: Way, channel: Channel, bytes: impl AsRef<[u8]>) -> Told {
    Told::Data(way, channel, bytes.as_ref().to_vec())
}

fn opened(channel: Channel) -> Told {
    Told::Other(UP, format!("{:?}", Event::Opened { channel }))
}

fn closed(way: Way, channel: Channel) -> Told {
    Told::Other(way, format!("{:?}", Event::Closed { channel }))
}

fn reset(way: Way, channel: Channel) -> Told {
    Told::Other(way, format!("{:?}", Event::Reset { channel }))
}

fn left(way: Way) -> Told {
    Told::Other(way, format!("{:?}", Event::Farewell))
}

fn forward(connection: u32, port: u16) -> Channel {
    Channel::Forward { connection, port }
}

fn forward_error(connection: u32, port: u16) -> Channel {
    Channel::ForwardError { connection, port }
}

#[test]
fn a_tap_goes_where_its_session_goes() {
    fn moves<T: Send + Sync>() {}
    moves::<Tap>();
}
