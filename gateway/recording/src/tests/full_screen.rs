//! Who has the screen, a program or the lines: held against a terminal emulator, byte after byte.

use std::num::NonZeroU16;

use proptest::prelude::*;

use crate::Transcript;
use crate::captures::{Seen, capture};

/// A letter or what is none, as a terminal sees it, and how many bytes it was.
fn letters(bytes: &[u8]) -> Vec<(String, u64)> {
    let length = |bytes: usize| u64::try_from(bytes).unwrap();
    bytes
        .utf8_chunks()
        .flat_map(|chunk| {
            let valid = chunk
                .valid()
                .chars()
                .map(|letter| (letter.to_string(), length(letter.len_utf8())));
            let invalid = chunk.invalid().len();
            let invalid = (invalid > 0).then(|| ("\u{fffd}".to_owned(), length(invalid)));
            valid.chain(invalid).collect::<Vec<_>>()
        })
        .collect()
}

/// All that a program wrote.
pub(super) fn written(seen: Vec<(u64, Seen)>) -> Vec<u8> {
    let outputs = seen.into_iter().filter_map(|(_, seen)| match seen {
        Seen::Output(bytes) => Some(bytes),
        Seen::Size(..) => None,
    });
    outputs.flatten().collect()
}

/// How many bytes came while a program had the emulator's screen, and whether it has it at the end.
pub(super) fn emulated(bytes: &[u8]) -> (u64, bool) {
    let side = |length| NonZeroU16::new(length).unwrap();
    let mut terminal = vt100::Parser::new(side(24), side(80), 0);
    let mut hidden = 0;
    for (letter, length) in letters(bytes) {
        if terminal.screen().alternate_screen() {
            hidden += length;
        }
        terminal.process(letter.as_bytes());
    }
    (hidden, terminal.screen().alternate_screen())
}

/// The lines of these bytes, as they come in pieces.
fn lines(bytes: &[u8], cut: usize) -> String {
    let mut transcript = Transcript::default();
    let mut lines: String = bytes.chunks(cut).map(|piece| transcript.read(piece)).collect();
    lines.push_str(&transcript.finish());
    lines
}

/// The counts in the lines that stand for full-screen programs.
fn counts(lines: &str) -> Vec<u64> {
    let counts = lines.lines().filter_map(|line| {
        let count = line.strip_prefix("[a full-screen program: ")?;
        Some(count.strip_suffix(" bytes left out]").unwrap().parse().unwrap())
    });
    counts.collect()
}

/// Behind whatever a sequence or string was begun.
const SHOWN: &[u8] = b"\x18\r\nshown\r\n";

#[track_caller]
fn is_as_emulated(bytes: &[u8], cut: usize) {
    let bytes = [bytes, SHOWN].concat();
    let (hidden, at_the_end) = emulated(&bytes);
    let lines = lines(&bytes, cut);
    assert_eq!(counts(&lines).iter().sum::<u64>(), hidden, "{lines}");
    let is_shown = lines.lines().any(|line| line == "shown");
    assert_eq!(is_shown, !at_the_end, "{lines}");
}

/// What the emulator knows: it has no 1047, no XTSAVE, and takes `CSI ? 1049 $ h` for a change of modes.
const PARTS: [&[u8]; 40] = [
    b"\x1b[?1049h",
    b"\x1b[?1049l",
    b"\x1b[?47h",
    b"\x1b[?47l",
    b"\x1b[?25;1049h",
    b"\x1b[?25;1049l",
    b"\x1b[?1049;25l",
    b"\x1b[?1;47;2004h",
    b"\x1b[?2004;47;1l",
    b"\x1b[?47;1049l",
    b"\x1b[?25:1049l",
    b"\x1b[?;1049l",
    b"\x1b[1049l",
    b"\x1b[1049h",
    b"\x1b[>1049l",
    b"\x1bc",
    b"\x1b#c",
    b"\x1b[c",
    b"\x1b[!p",
    b"\x1b",
    b"[",
    b"?",
    b"1049",
    b"47",
    b"25",
    b";",
    b"h",
    b"l",
    b"c",
    b"\x1b]0;",
    b"\x1bP",
    b"\x07",
    b"\x18",
    b"\x1b\\",
    b"\r",
    b"\n",
    b"words",
    b"\xe6\xbc\xa2\xc3\xa9",
    b"\xc3",
    b"\xf0\x90\xff",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_text_leaves_out_what_a_terminal_draws_on_its_other_screen(
        parts in prop::collection::vec(prop::sample::select(PARTS.to_vec()), 0..40),
        cut in 1..30_usize,
    ) {
        is_as_emulated(&parts.concat(), cut);
    }
}

#[test]
fn of_several_modes_in_one_sequence_each_counts_and_so_does_a_full_reset() {
    for ends in [
        "\x1b[?25;1049l",
        "\x1b[?1049;25l",
        "\x1b[?1;2;3;4;47l",
        "\x1b[?12;1047l",
        "\x1bc",
        "\x1b[?1049r",
        "\x1b[?25;1049r",
    ] {
        for begins in ["\x1b[?1049h", "\x1b[?25;1049h", "\x1b[?7;47h", "\x1b[?1047h"] {
            let shown = format!("before\r\n{begins}drawn\r\n{ends}behind\r\n");
            let left_out = "drawn\r\n".len() + ends.len();
            let told = format!("before\n[a full-screen program: {left_out} bytes left out]\nbehind\n");
            for cut in 1..=shown.len() {
                assert_eq!(lines(shown.as_bytes(), cut), told, "{begins:?} {ends:?} {cut}");
            }
        }
    }
    // A mode of ANSI, parts of one mode, a soft reset, a character set: none of them ends it.
    for goes_on in ["\x1b[1049l", "\x1b[?25:1049l", "\x1b[!p", "\x1b(c", "\x1b[?1049$l"] {
        let shown = format!("\x1b[?1049h{goes_on}drawn\r\n");
        let left_out = goes_on.len() + "drawn\r\n".len();
        let told = format!("[a full-screen program: {left_out} bytes left out]\n");
        assert_eq!(lines(shown.as_bytes(), 5), told);
    }
    // Kept while it had the screen: put back, it has it still.
    let shown = "\x1b[?1049h\x1b[?1049s\x1b[?1049rdrawn";
    assert_eq!(
        lines(shown.as_bytes(), 3),
        "[a full-screen program: 21 bytes left out]\n"
    );
    // A reset ends the line that was begun, too: the terminal is empty.
    assert_eq!(lines(b"begun\x1bcbehind", 4), "begun\nbehind\n");
}

/// What stands between two of its pieces is told between them.
#[test]
fn what_is_left_out_is_told_in_its_place() {
    let mut transcript = Transcript::new("! ");
    assert_eq!(transcript.read(b"\x1b[?1049h"), "");
    assert_eq!(transcript.finish(), "! [a full-screen program: 0 bytes left out]\n");
    assert_eq!(transcript.finish(), "");
    assert_eq!(transcript.read(b"drawn \xe6\xbc"), "");
    assert_eq!(transcript.finish(), "! [a full-screen program: 6 bytes left out]\n");
    assert_eq!(
        transcript.read(b"\xa2\x1b[?1049lbehind\n"),
        "! [a full-screen program: 11 bytes left out]\n! behind\n"
    );
    assert_eq!(transcript.finish(), "");
}

#[test]
fn the_captures_leave_out_what_the_emulator_draws_on_its_other_screen() {
    for name in ["vim", "top", "progress"] {
        let bytes = written(capture(name));
        let hidden = emulated(&bytes).0;
        assert_eq!(hidden > 0, name == "vim", "{name}");
        assert_eq!(counts(&lines(&bytes, 50)).iter().sum::<u64>(), hidden, "{name}");
    }
}
