//! Lines of text: told apart from ours, whatever comes.

use proptest::prelude::*;

use super::strings::At;
use super::*;

proptest! {
    #[test]
    fn any_data_makes_lines_that_are_told_apart(
        frames in prop::collection::vec(
            (
                prop::sample::select(vec![0x80_u8, 1, 2, 0x87, 7]),
                prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\x1b[?1049hlc;]0;\x07><!\\\r\n\t\x7f \xe2\x80\xaa".to_vec())], 0..60),
            ),
            0..12,
        ),
        cut: u8,
    ) {
        let mut bytes = vec![cut];
        for (channel, data) in &frames {
            bytes.extend([2, 9, u8::try_from(data.len() + 1).unwrap(), *channel]);
            bytes.extend(data);
        }
        fuzz_transcript(&bytes);
    }

    #[test]
    fn what_the_parser_is_not_given_changes_no_line(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "\x1b", "]", "\x1b]", "\x07", "\x18", "\x1a", "\x1b\\", "\x1bP", "\x1b_", "\x1b[", "\x1b(", "0;", "m", "a", "é", "\n",
                "\r", "\x7f", "\u{9d}",
            ]),
            0..30,
        ),
        cut in 1..9_usize,
    ) {
        let bytes = words.concat().into_bytes();
        let (mut transcript, mut parser, mut lines) = (Transcript::default(), Parser::new(), Lines::default());
        let mut ours = String::new();
        for piece in bytes.chunks(cut) {
            ours.push_str(&transcript.read(piece));
        }
        // Whole: it reads a letter that two pieces share otherwise.
        parser.advance(&mut lines, &bytes);
        lines.break_off();
        ours.push_str(&transcript.finish());
        prop_assert_eq!(ours, lines.done);
    }

    /// Our states are the parser's: what it says nothing of is what is counted.
    #[test]
    fn what_is_counted_is_what_the_parser_says_nothing_of(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "\x1b", "[", "]", "P", "X", "^", "_", "\x07", "\x18", "\x1a", "\\", "(", "#", "0;", "<", "m", "q", "a", "é", "漢", "\n", "\x7f", "\u{9c}",
            ]),
            0..30,
        ),
    ) {
        let text = words.concat();
        let (mut parser, mut said) = (Parser::new(), Said::default());
        let mut at = At::Outside;
        for byte in text.as_bytes() {
            said.0 = false;
            parser.advance(&mut said, std::slice::from_ref(byte));
            let before = at;
            at = before.next(*byte);
            let is_counted = before != At::Outside && at != At::Outside && *byte != 0x1b;
            // A letter of several bytes is said with its last one.
            if is_counted && *byte >= 0x20 {
                prop_assert!(!said.0, "{text:?} at {byte:#x}");
            }
            if before == At::Outside && at == At::Outside && byte.is_ascii() {
                prop_assert!(said.0, "{text:?} at {byte:#x}");
            }
        }
    }

    /// Whatever it is, and however it was cut: nothing of it is lost, and nothing of it is another line.
    #[test]
    fn what_is_typed_is_told_letter_by_letter(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "\x1b", "[?1049h", "\x1b]0;", "\x07", "> ", "! ", "[exit 0]", "\\", "u{1b}", "\r", "\n", "\t", "\u{9b}", "\u{202e}", "\u{2028}", "é", " ",
            ]),
            0..30,
        ),
        cut in 1..9_usize,
    ) {
        let text = words.concat();
        let mut typed = Verbatim::new("> ");
        let mut lines: String = text.as_bytes().chunks(cut).map(|piece| typed.read(piece)).collect();
        lines.push_str(&typed.finish());
        let mut said = String::new();
        for line in lines.split_terminator('\n') {
            prop_assert!(!line.chars().any(|letter| letter.is_control() || moves_text(letter)), "{line:?}");
            said.push_str(&unescaped(line.strip_prefix("> ").unwrap()));
            said.push('\n');
        }
        let whole = if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" };
        prop_assert_eq!(said, whole);
    }
}

/// Whether the parser said anything that may be seen.
#[derive(Default)]
struct Said(bool);

impl Perform for Said {
    fn print(&mut self, _: char) {
        self.0 = true;
    }

    fn execute(&mut self, _: u8) {
        self.0 = true;
    }

    fn csi_dispatch(&mut self, _: &Params, _: &[u8], _: bool, _: char) {
        self.0 = true;
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, _: u8) {
        self.0 = true;
    }
}

/// As Rust reads a literal.
fn unescaped(line: &str) -> String {
    let (mut out, mut rest) = (String::new(), line);
    while let Some((plain, escaped)) = rest.split_once('\\') {
        out.push_str(plain);
        let (letter, behind) = match escaped.split_at(1) {
            ("u", number) => {
                let (number, behind) = number.strip_prefix('{').unwrap().split_once('}').unwrap();
                let number = u32::from_str_radix(number, 16).unwrap();
                (char::from_u32(number).unwrap(), behind)
            }
            (letter, behind) => {
                let known = [("\\", '\\'), ("r", '\r'), ("t", '\t')];
                (known.iter().find(|(name, _)| *name == letter).unwrap().1, behind)
            }
        };
        out.push(letter);
        rest = behind;
    }
    out + rest
}

/// Found by the fuzzer.
#[test]
fn letters_that_are_cut_in_two_are_read_as_whole() {
    for bytes in [
        &b"a\xc2\x85[x\n"[..],
        b"\xe2\x80\xc3\x8b>\n",
        b"\xe2\x7f\xc2\x85\n",
        b"\xf0\x90\x80a\xc2\x9b6n\n",
    ] {
        for cut in 1..=bytes.len() {
            let frame = |bytes: &[u8]| [&[2, 9, u8::try_from(bytes.len() + 1).unwrap(), 1], bytes].concat();
            fuzz_transcript(&[vec![u8::try_from(cut).unwrap()], frame(bytes)].concat());
        }
    }
}

#[test]
fn what_is_typed_without_a_line_end_is_broken_off() {
    let mut typed = Verbatim::new("> ");
    let lines = typed.read(&b"a".repeat(2 * LONGEST_LINE + 1));
    let line = format!("> {}\n", "a".repeat(LONGEST_LINE));
    assert!(lines == line.repeat(2), "{}", lines.len());
    assert_eq!(typed.finish(), "> a\n");
    assert_eq!(typed.finish(), "");
    assert_eq!(typed.read(b"a\xc3") + &typed.finish(), "> a\u{fffd}\n");
}

#[test]
fn of_a_string_without_end_the_parser_is_given_nothing() {
    let mut strings = Strings::default();
    assert_eq!(strings.next(b"$ \x1b]52;c;aaaa"), (&b"$ \x1b]"[..], &b"52;c;aaaa"[..]));
    for _ in 0..3 {
        assert_eq!(strings.next(b"aaaa;\n\xff"), (&[][..], &[][..]));
    }
    assert_eq!(strings.next(b"aa\x07ok\n"), (&b"\x07ok\n"[..], &[][..]));
}

/// What was written at once at most.
#[derive(Default)]
struct Widest(usize);

impl Write for Widest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.max(bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn short_bytes_that_make_long_lines_are_written_line_after_line() {
    let lines = b"\x1b[4096Gx\n".repeat(60_000);
    let shown = crate::tests::down(Channel::Stdout, &lines);
    let (_folder, recording) = crate::tests::recorded(crate::tests::head(&["sh"], true), &[(1, shown)]);
    let widest = recording.write_text(Widest::default(), "no end").unwrap();
    assert!((4096..=PIECE * LONGEST_LINE / 8).contains(&widest.0), "{}", widest.0);
}
