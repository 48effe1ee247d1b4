//! What holds for every input of the taps, as plain functions (docs/decisions/0006).

use super::{Act, Channel, Event, Farewell, Protocol, Tap, Torn, Upgrade, Version, Way, ports};

/// Feeds `data` to the SPDY taps: the first byte says which and how to cut, the rest is pieces.
///
/// A piece is a byte whose lowest bit is its way, two bytes of its length (big endian), and its bytes.
///
/// # Panics
/// When the cuts matter, something is held without bound, or something is told that cannot be.
pub fn fuzz_spdy_tap(data: &[u8]) {
    fuzz(data, |first| match first & 3 {
        0 => Protocol::SpdyCommand { version: Version::V1 },
        1 => Protocol::SpdyCommand { version: Version::V4 },
        _ => Protocol::SpdyForward,
    });
}

/// Feeds `data` to the WebSocket taps, like [`fuzz_spdy_tap`].
///
/// # Panics
/// See [`fuzz_spdy_tap`].
pub fn fuzz_websocket_tap(data: &[u8]) {
    fuzz(data, |first| {
        let base64 = first & 1 != 0;
        match first >> 1 & 7 {
            0 => Protocol::WebSocketPlain,
            1 => Protocol::WebSocketForward { base64 },
            2 => Protocol::WebSocketTunnel,
            3 => Protocol::WebSocketCommand {
                base64,
                version: Version::V1,
            },
            4 => Protocol::WebSocketCommand {
                base64,
                version: Version::V4,
            },
            _ => Protocol::WebSocketCommand {
                base64: false,
                version: Version::V5,
            },
        }
    });
}

/// Negotiates from `data`: lines of act, `Upgrade`, subprotocol and stream version, then one `ports` value each.
///
/// # Panics
/// When a protocol is found that the heads do not name, or a port that is none.
pub fn fuzz_stream_protocol(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut line = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let act = match line() {
        "command" => Act::Command,
        "forward" => Act::Forward,
        _ => Act::Other,
    };
    let (upgrade, subprotocol, version) = (line(), line(), line());
    let agreed = Upgrade {
        act,
        upgrade,
        subprotocol: Some(subprotocol).filter(|name| !name.is_empty()),
        stream_version: Some(version).filter(|name| !name.is_empty()),
    };
    let ports = ports(lines);
    if let Some(ports) = &ports {
        assert!((1..=127).contains(&ports.len()) && !ports.contains(&0), "{ports:?}");
    }
    let Some(protocol) = Protocol::of(&agreed) else {
        assert!(
            act != Act::Other || !upgrade.eq_ignore_ascii_case("websocket"),
            "a WebSocket of whatever meaning that nobody reads"
        );
        return;
    };
    let is_spdy = matches!(protocol, Protocol::SpdyCommand { .. } | Protocol::SpdyForward);
    assert_eq!(
        is_spdy,
        upgrade.eq_ignore_ascii_case("spdy/3.1"),
        "{protocol:?} of {upgrade:?}"
    );
    assert_eq!(
        act == Act::Other,
        protocol == Protocol::WebSocketPlain,
        "what is known to be a stream is read as one, and nothing else is"
    );
    if subprotocol.starts_with("SPDY/3.1+") && !is_spdy {
        assert!(matches!(protocol, Protocol::WebSocketTunnel | Protocol::WebSocketPlain));
    }
    let tap = Tap::new(protocol, ports.unwrap_or_default());
    assert!(tap.farewell(&Farewell::of("over")).is_some(), "nothing has come yet");
}

/// Something told, with neighbours joined: a piece of data says nothing by where it ends.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    Data(Way, Channel, Vec<u8>),
    Other(Way, String),
}

/// All that was told, and what ended it.
pub(super) type Outcome = (Vec<Told>, Option<Torn>);

fn fuzz(data: &[u8], protocol: impl Fn(u8) -> Protocol) {
    let Some((first, pieces)) = data.split_first() else {
        return;
    };
    let protocol = protocol(*first);
    let pieces =
        || std::iter::successors(piece(pieces), |(_, _, rest)| piece(rest)).map(|(way, bytes, _)| (way, bytes));
    let whole = read(protocol, pieces(), usize::MAX);
    let bytes = usize::from(*first >> 4) + 1;
    assert_eq!(whole, read(protocol, pieces(), bytes), "cut into pieces of {bytes}");
    assert_eq!(whole, read(protocol, pieces(), 1), "cut into single bytes");
}

/// What a tap tells of `pieces` that are cut again into pieces of at most `cut` bytes.
///
/// # Panics
/// When the tap holds more than it may or speaks after it tore.
pub(super) fn read<'p>(protocol: Protocol, pieces: impl Iterator<Item = (Way, &'p [u8])>, cut: usize) -> Outcome {
    let (mut tap, words) = (Tap::new(protocol, vec![80, 443]), Farewell::of("over"));
    let (mut told, mut torn) = (Vec::new(), None);
    for (way, bytes) in pieces {
        for bytes in bytes.chunks(cut) {
            let outcome = tap.feed(way, bytes, &mut |way, event| {
                assert!(torn.is_none(), "a torn tap is silent");
                tell(&mut told, way, event);
            });
            if let Err(why) = outcome {
                assert!(torn.is_none() && why.way == way, "{why}");
                torn = Some(why);
            }
        }
        assert!(tap.held_bytes() <= MOST_HELD_BYTES, "{} bytes held", tap.held_bytes());
    }
    assert_eq!(tap.is_torn(), torn.is_some());
    if let Some(farewell) = tap.farewell(&words) {
        assert!(
            torn.is_none_or(|torn| torn.way == Way::Up),
            "nobody knows where Down stands"
        );
        let outcome = tap.feed(Way::Down, &farewell, &mut |_, _| {});
        assert_eq!(outcome, Ok(()), "what it says can be read");
    }
    (told, torn)
}

fn piece(pieces: &[u8]) -> Option<(Way, &[u8], &[u8])> {
    let ([way, high, low], rest) = pieces.split_first_chunk::<3>()?;
    let way = if way & 1 == 0 { Way::Up } else { Way::Down };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (bytes, rest) = rest.split_at(length);
    Some((way, bytes, rest))
}

fn tell(told: &mut Vec<Told>, way: Way, event: Event<'_>) {
    let Event::Data { channel, bytes } = event else {
        told.push(Told::Other(way, format!("{event:?}")));
        return;
    };
    assert!(!bytes.is_empty() && channel.flows(way), "{channel:?} {way:?}");
    match told.last_mut() {
        Some(Told::Data(last_way, last, data)) if (*last_way, *last) == (way, channel) => {
            data.extend_from_slice(bytes);
        }
        _ => told.push(Told::Data(way, channel, bytes.to_vec())),
    }
}

/// Two header blocks compressed and inflated, and all streams with a request each.
const MOST_HELD_BYTES: usize = 3 << 20;
