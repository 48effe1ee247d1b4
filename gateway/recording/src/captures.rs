//! What real programs wrote to a terminal, and when (`tests/captures`): for the tests of this crate and of whoever shows recordings.

use std::path::Path;
use std::time::Duration;

/// The window of the captures of vim and top when they begin: columns and lines.
pub const FIRST_SIZE: (u16, u16) = (100, 30);
/// The window of the capture of progress bars.
pub const PROGRESS_SIZE: (u16, u16) = (90, 24);
/// The window of the capture of vim after [`RESIZED_MICROS`].
pub const SECOND_SIZE: (u16, u16) = (72, 20);
/// When the window of the capture of vim became smaller.
pub const RESIZED_MICROS: u64 = 3_500_000;

/// What happened on a person's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A program wrote.
    Output(Vec<u8>),
    /// The window has so many columns and lines from here on.
    Size(u16, u16),
}

/// A capture (`vim`, `top`, `progress`) as what happened, each with its microseconds since the beginning.
///
/// # Panics
/// There is no such capture, or its times are not of its bytes.
#[must_use]
#[expect(
    clippy::expect_used,
    clippy::panic,
    reason = "files of this repository, read by tests alone"
)]
pub fn capture(name: &str) -> Vec<(u64, Seen)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let out = std::fs::read(folder.join(format!("{name}.out"))).expect("a capture");
    let timing = std::fs::read_to_string(folder.join(format!("{name}.timing"))).expect("its times");
    let (mut at, mut rest) = (Duration::ZERO, out.as_slice());
    let (columns, rows) = if name == "progress" { PROGRESS_SIZE } else { FIRST_SIZE };
    let mut seen = vec![(0, Seen::Size(columns, rows))];
    for line in timing.lines() {
        let (seconds, length) = line.split_once(' ').expect("seconds and bytes");
        at += Duration::from_secs_f64(seconds.parse().expect("seconds"));
        let length: usize = length.parse().expect("bytes");
        let Some((piece, behind)) = rest.split_at_checked(length) else {
            panic!("the times of `{name}` are of more bytes than there are");
        };
        seen.push((in_micros(at), Seen::Output(piece.to_vec())));
        rest = behind;
    }
    assert!(rest.is_empty(), "the times are of these bytes");
    if name == "vim" {
        let place = seen.iter().position(|(at, _)| *at > RESIZED_MICROS);
        let size = Seen::Size(SECOND_SIZE.0, SECOND_SIZE.1);
        seen.insert(place.expect("it lasts longer"), (RESIZED_MICROS, size));
    }
    seen
}

fn in_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
