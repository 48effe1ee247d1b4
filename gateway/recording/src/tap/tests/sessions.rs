//! The same session over each transport, cut anyhow, is told the same.

use super::writer::*;
use super::*;
use ::base64::Engine as _;
use ::base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

/// One thing that happens in a session.
#[derive(Clone, Debug)]
enum Step {
    /// Data of a channel by its number.
    Data(u8, Vec<u8>),
    /// Something that says nothing.
    Noise(Way),
}

const CHANNELS: [Channel; 5] = [
    Channel::Stdin,
    Channel::Stdout,
    Channel::Stderr,
    Channel::Status,
    Channel::Resize,
];

fn way(number: u8) -> Way {
    if matches!(number, 0 | 4) { UP } else { DOWN }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..400);
    let step = prop_oneof![
        4 => (0_u8..5, bytes).prop_map(|(number, bytes)| Step::Data(number, bytes)),
        1 => prop_oneof![Just(UP), Just(DOWN)].prop_map(Step::Noise),
    ];
    proptest::collection::vec(step, 0..12)
}

/// What shall be told of the data.
fn expected(steps: &[Step]) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    for step in steps {
        let Step::Data(number, bytes) = step else { continue };
        let (way, channel) = (way(*number), CHANNELS[usize::from(*number)]);
        match told.last_mut() {
            _ if bytes.is_empty() => {}
            Some(Told::Data(last_way, last, told)) if (*last_way, *last) == (way, channel) => told.extend(bytes),
            _ => told.push(data(way, channel, bytes)),
        }
    }
    told
}

/// Frames of `step` on a WebSocket; `fragment` is how long each frame of a server may be.
fn websocket(step: &Step, is_base64: bool, mask: [u8; 4], fragment: usize) -> (Way, Vec<u8>) {
    let (number, bytes) = match step {
        Step::Noise(Way::Up) => return (UP, ws_frame(0x89, Some(mask), b"are you there")),
        Step::Noise(Way::Down) => return (DOWN, ws_frame(0x8a, None, b"")),
        Step::Data(number, bytes) => (*number, bytes),
    };
    let payload = if is_base64 {
        format!("{number}{}", STANDARD.encode(bytes)).into_bytes()
    } else {
        [&[number], bytes.as_slice()].concat()
    };
    let kind = if is_base64 { 1 } else { 2 };
    if way(number) == UP {
        return (UP, ws_frame(0x80 | kind, Some(mask), &payload));
    }
    let mut frames = Vec::new();
    let pieces: Vec<&[u8]> = payload.chunks(fragment).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let last = if at + 1 == pieces.len() { 0x80 } else { 0 };
        frames.extend(ws_frame(last | if at == 0 { kind } else { 0 }, None, piece));
        frames.extend(ws_frame(0x89, None, b"").iter().filter(|_| last == 0));
    }
    (DOWN, frames)
}

/// The stream of each channel number: all opened, and taken by the server.
fn spdy_opening() -> Vec<(Way, Vec<u8>)> {
    let (mut client, mut server) = (SpdyWriter::new(), SpdyWriter::new());
    let kinds = ["stdin", "stdout", "stderr", "error", "resize"];
    (1..)
        .step_by(2)
        .zip(kinds)
        .flat_map(|(id, kind)| {
            let opening = client.syn_stream(id, &[("streamtype", kind)]);
            [(UP, opening), (DOWN, server.syn_reply(id))]
        })
        .collect()
}

fn spdy(step: &Step, frame: usize) -> (Way, Vec<u8>) {
    match step {
        Step::Noise(way) => (*way, [ping(1), settings(&[(4, 1)])].concat()),
        Step::Data(number, bytes) => {
            let id = 2 * u32::from(*number) + 1;
            (
                way(*number),
                bytes.chunks(frame).flat_map(|piece| spdy_data(id, piece)).collect(),
            )
        }
    }
}

/// Told of `pieces` when they are cut into pieces of `cuts` bytes, over and over.
fn told_of(protocol: Protocol, pieces: &[(Way, Vec<u8>)], cuts: &[usize]) -> Outcome {
    let mut cuts = cuts.iter().cycle();
    let mut cut: Vec<(Way, &[u8])> = Vec::new();
    for (way, bytes) in pieces {
        let mut bytes = bytes.as_slice();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(*cuts.next().unwrap()));
            cut.push((*way, now));
            bytes = later;
        }
    }
    read(protocol, cut.into_iter(), usize::MAX)
}

proptest! {
    #[test]
    fn over_websockets(
        steps in steps(),
        cuts in proptest::collection::vec(1_usize..200, 1..8),
        mask in any::<[u8; 4]>(),
        fragment in 1_usize..500,
    ) {
        for (base64, version) in [(false, Version::V1), (true, Version::V1), (true, Version::V4), (false, Version::V5)] {
            let pieces: Vec<_> = steps.iter().map(|step| websocket(step, base64, mask, fragment)).collect();
            let (told, torn) = told_of(Protocol::WebSocketCommand { base64, version }, &pieces, &cuts);
            prop_assert_eq!(torn, None);
            prop_assert_eq!(told, expected(&steps));
        }
    }

    #[test]
    fn over_spdy(
        steps in steps(),
        cuts in proptest::collection::vec(1_usize..200, 1..8),
        frame in 1_usize..500,
    ) {
        let mut pieces = spdy_opening();
        pieces.extend(steps.iter().map(|step| spdy(step, frame)));
        let (mut told, torn) = told_of(Protocol::SpdyCommand { version: Version::V4 }, &pieces, &cuts);
        prop_assert_eq!(torn, None);
        let opened: Vec<Told> = told.drain(..5).collect();
        prop_assert_eq!(opened, CHANNELS.map(super::opened));
        prop_assert_eq!(told, expected(&steps));
    }

    #[test]
    fn one_changed_byte_is_read_or_refused(
        steps in steps(),
        at in any::<proptest::sample::Index>(),
        by in 1_u8..,
        is_spdy in any::<bool>(),
    ) {
        let mut pieces: Vec<(Way, Vec<u8>)> = if is_spdy {
            spdy_opening().into_iter().chain(steps.iter().map(|step| spdy(step, 100))).collect()
        } else {
            std::iter::once((UP, ws_up(b"\x00"))).chain(steps.iter().map(|step| websocket(step, false, MASK, 100))).collect()
        };
        let piece = at.index(pieces.len());
        let byte = at.index(pieces[piece].1.len().max(1));
        if let Some(byte) = pieces[piece].1.get_mut(byte) {
            *byte ^= by;
        }
        let protocol = if is_spdy {
            Protocol::SpdyCommand { version: Version::V4 }
        } else {
            Protocol::WebSocketCommand { base64: false, version: Version::V5 }
        };
        outcome(protocol, &pieces);
    }
}
