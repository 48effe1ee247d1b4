//! Frames are read as they were written, and nothing else is read.

use proptest::prelude::*;

use crate::frame::{Connection, Frame, FrameError, FrameIter, Noted, TarFile, encode, put};
use crate::mask::Secret;
use crate::tap::{Channel, Control, Way};

fn way() -> impl Strategy<Value = Way> {
    prop::sample::select(vec![Way::Up, Way::Down])
}

fn channel() -> impl Strategy<Value = Channel> {
    prop_oneof![
        prop::sample::select(vec![
            Channel::Stdin,
            Channel::Stdout,
            Channel::Stderr,
            Channel::Status,
            Channel::Resize,
            Channel::Message { is_text: true },
            Channel::Message { is_text: false },
        ]),
        (any::<u32>(), any::<u16>()).prop_map(|(connection, port)| Channel::Forward { connection, port }),
        (any::<u32>(), any::<u16>()).prop_map(|(connection, port)| Channel::ForwardError { connection, port }),
    ]
}

fn noted() -> impl Strategy<Value = Noted> {
    prop_oneof![
        Just(Noted::InputNotKept),
        prop::sample::select(Secret::ALL.to_vec()).prop_map(Noted::Masked),
        way().prop_map(Noted::Torn),
        Just(Noted::TarUnread),
        Just(Noted::SizeUnread),
        Just(Noted::ConnectionsUnlisted),
        (7..=255_u8).prop_map(Noted::Other),
    ]
}

/// A frame is written, read and compared: the bytes that it borrows come from here.
fn check(frame: Frame<'_>, after: u64) -> Result<(), TestCaseError> {
    let mut bytes = vec![1];
    put(&mut bytes, 41);
    put(&mut bytes, 1000);
    encode(&Frame::Farewell { way: Way::Up }, 0, &mut bytes);
    encode(&frame, after, &mut bytes);
    let read: Result<Vec<_>, _> = FrameIter::new(&bytes).unwrap().collect();
    let read = read.unwrap();
    prop_assert_eq!(read.len(), 2);
    prop_assert_eq!(
        (read[1].number, read[1].at_micros, read[1].frame),
        (42, 1000 + after, frame)
    );
    for length in 0..bytes.len() {
        let cut = FrameIter::new(&bytes[..length]).map(|frames| frames.filter_map(Result::ok).count());
        prop_assert!(cut.unwrap_or(0) < 2, "cut at {}", length);
    }
    Ok(())
}

proptest! {
    #[test]
    fn frames_are_read_as_they_were_written(
        after in 0..u64::MAX / 2,
        (way, channel, noted) in (way(), channel(), noted()),
        bytes in prop::collection::vec(any::<u8>(), 0..50),
        (number, other) in (any::<u64>(), any::<u64>()),
        control in prop::sample::select(vec![Control::Close, Control::Ping, Control::Pong]),
        (columns, rows) in (any::<u16>(), any::<u16>()),
        code in prop::option::of(any::<u32>()),
        hash: [u8; 32],
        flag: bool,
    ) {
        let frames = [
            Frame::Head(&bytes),
            Frame::Data { way, channel, bytes: &bytes },
            Frame::Counted { way, channel, bytes: number },
            Frame::Opened { way, channel },
            Frame::Closed { way, channel },
            Frame::Reset { way, channel },
            Frame::Farewell { way },
            Frame::Resize { columns, rows },
            Frame::Status { code, text: &bytes },
            Frame::Note { noted, count: number, text: &bytes },
            Frame::File(TarFile {
                way,
                kind: b'0',
                mode: 0o644,
                size: number,
                seen: other,
                sha256: flag.then_some(hash),
                name: &bytes,
                link: b"link",
            }),
            Frame::Connection(Connection {
                channel,
                opened_micros: number,
                up: other,
                down: number,
                up_sha256: hash,
                down_sha256: [0; 32],
                was_reset: flag,
                error: &bytes,
            }),
            Frame::Control { way, kind: control, bytes: &bytes },
            Frame::End(&bytes),
            Frame::Unknown { kind: 200, body: &bytes },
        ];
        for frame in frames {
            check(frame, after)?;
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz_recording_reader(&bytes);
        crate::fuzz_recording_reader(&[&[1, 0, 0][..], &bytes].concat());
    }
}

#[test]
fn what_is_no_frame_says_why() {
    let read =
        |bytes: &[u8]| FrameIter::new(bytes).and_then(|frames| frames.collect::<Result<Vec<_>, _>>().map(|_| ()));
    assert_eq!(read(b""), Err(FrameError::EndsEarly));
    assert_eq!(read(&[2, 0, 0]), Err(FrameError::Version(2)));
    assert_eq!(read(&[1, 0x80]), Err(FrameError::EndsEarly));
    assert_eq!(
        read(&[1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2]),
        Err(FrameError::Number)
    );
    assert_eq!(read(&[1, 0, 0, 8, 0, 9, 1]), Err(FrameError::EndsEarly));
    assert_eq!(
        read(&[1, 0, 0, 8, 0, 3, 1, 1, 1]),
        Err(FrameError::Body(8)),
        "a body is read to its end"
    );
    assert_eq!(
        read(&[1, 0, 0, 2, 0, 1, 9]),
        Err(FrameError::Body(2)),
        "no such channel"
    );
    assert_eq!(read(&[1, 0, 0, 7, 0, 1, 1]), Err(FrameError::Body(7)), "no such way");
    assert_eq!(
        read(&[1, 0, 0, 14, 0, 2, 0, 7]),
        Err(FrameError::Body(14)),
        "no control frame"
    );
    let message = FrameError::Version(2).to_string();
    assert_eq!(
        message,
        "version 2 of the recording format is not known to this release"
    );
}
