//! The format stays: a recording of this version is read as it was when it was frozen, and the page's example holds.
//!
//! `FREEZE=1 cargo test -p gatescribe-recording frozen` writes the example anew; that is a change of the format and wants a new version.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::{Anchor, Tail};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/v1")
}

/// A session in which each kind of frame comes.
fn example() -> Vec<(u64, (Way, Event<'static>))> {
    let forward = Channel::Forward {
        connection: 0,
        port: 80,
    };
    let error = Channel::ForwardError {
        connection: 0,
        port: 80,
    };
    vec![
        (
            1_000,
            (
                Way::Up,
                Event::Opened {
                    channel: Channel::Stdin,
                },
            ),
        ),
        (
            2_000,
            (
                Way::Up,
                Event::Data {
                    channel: Channel::Resize,
                    bytes: br#"{"Width":80,"Height":24}"#,
                },
            ),
        ),
        (
            3_000,
            (
                Way::Up,
                Event::Data {
                    channel: Channel::Stdin,
                    bytes: b"id\n",
                },
            ),
        ),
        (4_000, down(Channel::Stdout, b"TOKEN=abc\n\xff\n")),
        (2_100_000, down(Channel::Stderr, b"err\n")),
        (
            2_200_000,
            (
                Way::Up,
                Event::Data {
                    channel: forward,
                    bytes: b"ping",
                },
            ),
        ),
        (2_300_000, down(error, b"refused")),
        (2_400_000, (Way::Down, Event::Reset { channel: forward })),
        (
            2_500_000,
            (
                Way::Up,
                Event::Closed {
                    channel: Channel::Stdin,
                },
            ),
        ),
        (2_600_000, down(Channel::Status, br#"{"status":"Success"}"#)),
        (2_700_000, (Way::Down, Event::Farewell)),
    ]
}

/// Control frames of a proxied WebSocket, which came to the format later.
fn controls() -> Vec<(u64, (Way, Event<'static>))> {
    let control = |way, kind, bytes| (way, Event::Control { kind, bytes });
    vec![
        (1_000, control(Way::Up, Control::Ping, b"are you there".as_slice())),
        (2_000, control(Way::Down, Control::Pong, b"are you there")),
        (2_500_000, control(Way::Down, Control::Close, b"\x03\xe8bye")),
    ]
}

/// All frames as lines, JSON as text.
fn lines(recording: &Recording) -> String {
    let mut out = String::new();
    let mut frames = recording.frames();
    while let Some(stamped) = frames.next().unwrap() {
        let frame = match stamped.frame {
            crate::Frame::Head(json) | crate::Frame::End(json) => String::from_utf8(json.to_vec()).unwrap(),
            frame => format!("{frame:?}"),
        };
        writeln!(out, "{} {} {frame}", stamped.number, stamped.at_micros).unwrap();
    }
    out
}

type Session = fn() -> Vec<(u64, (Way, Event<'static>))>;

/// Each with the names of its files: recording, frames as text, root.
const EXAMPLES: [(Session, [&str; 3]); 2] = [
    (example, ["example.rec", "frames.txt", "root.hex"]),
    (controls, ["controls.rec", "controls.txt", "controls.hex"]),
];

#[test]
fn the_frozen_recordings_of_version_1_are_read_as_they_were() {
    for (session, [file, frames, root]) in EXAMPLES {
        let path = folder().join(file);
        if std::env::var_os("FREEZE").is_some() {
            let (made, recording) = recorded(head(&["sh", "-c", "id"], false), &session());
            std::fs::create_dir_all(folder()).unwrap();
            let made = std::fs::read_dir(made.path()).unwrap().next().unwrap().unwrap().path();
            std::fs::copy(made, &path).unwrap();
            std::fs::write(folder().join(frames), lines(&recording)).unwrap();
            std::fs::write(folder().join(root), hex::encode(recording.survey().root.hash)).unwrap();
        }
        let root = std::fs::read_to_string(folder().join(root)).unwrap();
        let hash = hex::decode(root.trim()).unwrap().try_into().unwrap();
        let recording = Recording::open(&path, &SessionKey::new(KEY), &[Anchor { number: 1, hash }]).unwrap();
        assert_eq!(recording.tail(), Tail::Closed);
        assert_eq!(
            lines(&recording),
            std::fs::read_to_string(folder().join(frames)).unwrap()
        );
    }
}

#[test]
fn the_same_sessions_have_the_same_frames_today() {
    for (session, [_, frames, _]) in EXAMPLES {
        let (_folder, recording) = recorded(head(&["sh", "-c", "id"], false), &session());
        assert_eq!(
            lines(&recording),
            std::fs::read_to_string(folder().join(frames)).unwrap()
        );
    }
}
