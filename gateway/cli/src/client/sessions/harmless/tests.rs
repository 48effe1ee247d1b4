//! What passes to a terminal, and what does not.

use proptest::prelude::*;
use recording::captures::{Seen, capture};

use super::*;

fn passed(bytes: &[u8]) -> Vec<u8> {
    Harmless::default().pass(bytes)
}

#[test]
fn how_much_of_strings_was_not_drawn_is_known() {
    let long = "x".repeat(5000);
    for (said, of_terminal, of_others) in [
        ("plain".to_owned(), 0, 0),
        ("\x1b]0;title\x07$ ".to_owned(), 0, 7),
        ("\x1b]0;title".to_owned(), 7, 7),
        (format!("\x1b]{long}\x07\x1b]0;\x07"), 5000, 5002),
        (format!("\x1bP{long}\x1b\\ok"), 5000, 5000),
        (format!("\x1b_{long}\x1b[mok"), 5000, 5000),
        (format!("\u{9d}{long}\x18ok"), 5000, 5000),
        // More than any sequence has.
        (format!("\x1b[{}m", "4111;".repeat(2000)), 10_002, 10_002),
    ] {
        for cut in [1, 1000, 100_000] {
            let mut harmless = Harmless::default();
            said.as_bytes().chunks(cut).for_each(|piece| drop(harmless.pass(piece)));
            let not_drawn = (harmless.not_drawn(true), harmless.not_drawn(false));
            assert_eq!(not_drawn, (of_terminal, of_others), "{:?}", said.get(..20));
        }
    }
}

#[test]
fn what_draws_passes_byte_for_byte() {
    for drawn in [
        "plain, käse, 漢字, 🔒 and \u{a0}\r\n\t\x08",
        "\x1b[1;31mred\x1b[0m\x1b[2J\x1b[H\x1b[?1049h\x1b[?25l\x1b[10;20r\x1b[38;5;1m\x1b[s\x1b[u",
        "\x1b7\x1b8\x1bM\x1b(B\x1b)0\x1b#8",
        "\x1b[2 q\x1b[1\"q\x07",
        "\x1b[4h\x1b[20h\x1b[?5h\x1b[?6h\x1b[?7l\x1b[?12h\x1b[?69h\x1b[?1049h\x1b[?2026l\x1b[?25;7h",
        "\x1b[3@\x1b[2P\x1b[5X\x1b[b\x1b[2d\x1b[3`\x1b[2L\x1b[M\x1b[2S\x1b[T\x1b[1;5r\x1b[g\x1b[2'}\x1b[2 @\x1b[?2K\x1b[?J",
        "\x1b[1;1;5;5$z\x1b[42;1;1;5;5$x\x1b[#{\x1b[4:3;58:2::1:2:3m\x1b[#}",
    ] {
        assert_eq!(passed(drawn.as_bytes()), drawn.as_bytes(), "{drawn:?}");
    }
}

#[test]
fn a_reset_draws_an_empty_screen_and_takes_nothing_of_the_persons_own() {
    let before = "one\r\n\x1b[31m\x1b[2;4r\x1b[?6h\x1b[?25l\x1b[?1049h\x1b(0three\x1b7";
    let said = format!("{before}\x1bctwo\x1b8!");
    let drawn = passed(said.as_bytes());
    assert!(!drawn.windows(2).any(|pair| pair == b"\x1bc"));
    assert_eq!(passed(FRESH), FRESH, "what takes its place passes");
    let screen = |bytes: &[u8]| {
        let mut terminal = vt100::Parser::default();
        terminal.process(bytes);
        let screen = terminal.screen();
        (
            screen.contents_formatted(),
            screen.cursor_position(),
            screen.alternate_screen(),
        )
    };
    assert_eq!(screen(&drawn), screen(said.as_bytes()));
}

/// Whoever plays a recording types Ctrl-C; a terminal in one of these modes would send something else for it, or send
/// something by itself.
#[test]
fn how_keys_mouse_and_paste_are_told_is_the_persons_own() {
    for told in [
        "\x1b[>4;2m",
        "\x1b[>4m",
        "\x1b[>4n",
        "\x1b[>1u",
        "\x1b[<u",
        "\x1b[<9u",
        "\x1b[=5;1u",
        "\x1b[2h",
        "\x1b[12l",
        "\x1b[?1h",
        "\x1b[?67h",
        "\x1b[?2l",
        "\x1b[?2h",
        "\x1b<",
        "\x1b[?9h",
        "\x1b[?1000h",
        "\x1b[?1002;1006h",
        "\x1b[?1016h",
        "\x1b[?1004h",
        "\x1b[?1036h",
        "\x1b[?2004h",
        "\x1b[?2004s",
        "\x1b[?2004r",
        "\x1b[?2004;1000s\x1b[?2004;1000r",
        "\x1b[?2031h",
        "\x1b[?2048h",
        "\x1b[?9001h",
        "\x1b[1;2;3;4;5T",
        "\x1b=",
        "\x1b>",
    ] {
        let around = format!("a{told}b");
        assert_eq!(passed(around.as_bytes()), b"ab", "{told:?}");
    }
    assert_eq!(
        passed(b"\x1b[?1000;25;2004;07h"),
        b"\x1b[?25;07h",
        "what draws of a list stays"
    );
}

#[test]
fn what_sets_up_the_terminal_itself_is_the_persons_own() {
    for set in [
        "\x1b[62;1\"p",
        "\x1b[?3h",
        "\x1b[?38h",
        "\x1b[?46h",
        "\x1b[?1043h",
        "\x1b[3h",
        "\x1b[1q",
        "\x1b[3J",
        "\x1b[03J",
        "\x1b[0;3J",
        "\x1b[3:0J",
        "\x1b[65539J",
        "\x1b[22J",
        "\x1b[?3J",
        "\x1b[1:2:3:4:5T",
        "\x1b[?25:1h",
        "\x1b[132$|",
        "\x1b[1$}",
        "\x1b[>0T",
        "\x1b[1?25h",
        "\x1bl",
        "\x1bV",
        "\x1b%@",
        "\x1b%G",
        "\x1b%/G",
        "\x1b F",
        "\x1b G",
    ] {
        let around = format!("a{set}b");
        assert_eq!(passed(around.as_bytes()), b"ab", "{set:?}");
    }
}

/// What vim, top and progress bars wrote: nothing of it reaches the keyboard, and all else is the same.
#[test]
fn of_the_captures_all_passes_but_what_speaks_to_the_terminal() {
    for (name, more_than_drawn) in [
        (
            "vim",
            &[
                "\x1b[>4;2m",
                "\x1b[>4;m",
                "\x1b[?2004h",
                "\x1b[?2004l",
                "\x1b[?1h",
                "\x1b[?1l",
                "\x1b=",
                "\x1b>",
                "\x1b[22;0;0t",
                "\x1b[22;2t",
                "\x1b[22;1t",
                "\x1b[23;2t",
                "\x1b[23;1t",
                "\x1b[23;0;0t",
                "\x1b[?4m",
            ][..],
        ),
        ("top", &["\x1b[?1h", "\x1b[?1l", "\x1b=", "\x1b>"]),
        ("progress", &[]),
    ] {
        let wrote: Vec<u8> = capture(name)
            .into_iter()
            .filter_map(|(_, seen)| match seen {
                Seen::Output(bytes) => Some(bytes),
                Seen::Size(..) => None,
            })
            .flatten()
            .collect();
        let mut expected = String::from_utf8(wrote.clone()).unwrap();
        for sequence in more_than_drawn {
            assert!(expected.contains(sequence), "{name} has {sequence:?}");
            expected = expected.replace(sequence, "");
        }
        assert!(String::from_utf8(passed(&wrote)).unwrap() == expected, "{name}");
    }
}

/// A terminal that is told to read bytes one by one takes what continues a letter for controls.
#[test]
fn bytes_are_read_as_utf_8_and_the_terminal_is_not_told_otherwise() {
    for told in ["\x1b%@", "\x1b%G", "\x1b%/I", "\x1b F", "\x1b G", "\x1b L"] {
        let around = format!("a{told}b");
        assert_eq!(passed(around.as_bytes()), b"ab", "{told:?}");
    }
    // Longer than they have to be, beyond the last letter, halves of a pair: no letters, and controls when somebody is lenient.
    for (said, rest) in [
        (&b"\xe0\x82\x9b6n"[..], &b"\xe06n"[..]),
        (b"\xf0\x80\x82\x9b6n", b"\xf06n"),
        (b"\xf4\x9b\x9b\x9b", b"\xf4"),
        (b"\xf5\x9b\x9b\x9b", b"\xf5"),
        (b"\xed\xa0\x9b", b"\xed\xa0"),
        (b"\xc0\x9b", b"\xc0"),
    ] {
        assert_eq!(passed(said), rest, "{said:?}");
    }
    let letters = "\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}Û字";
    assert_eq!(passed(letters.as_bytes()), letters.as_bytes());
}

#[test]
fn what_speaks_to_the_terminal_does_not() {
    for said in [
        "\x1b]52;c;cm0gLXJmIH4=\x07",
        "\x1b]0;title\x1b\\",
        "\x1bP$q\"p\x1b\\",
        "\x1b_Gf=100;AAAA\x1b\\",
        "\x1b^private\x1b\\",
        "\x1bXstring\x1b\\",
        "\x1b[6n",
        "\x1b[c",
        "\x1b[>c",
        "\x1b[=c",
        "\x1b[21t",
        "\x1b[8;1;1t",
        "\x1b[>q",
        "\x1b[?1$p",
        "\x1b[?u",
        "\x1b[1;1;1;1;1;1*y",
        "\x1bZ",
        "\x1bktitle\x1b\\",
        "\x1b[5i",
        "\x1b[?1;1;0S",
        "\x1b[?4m",
        "\x1b[#R",
        "\x1b[1'z",
        "\x1b[#P",
        "\x1b[#Q",
        "\x05",
        "\x18",
        "\u{9b}6n",
        "\u{9d}52;c;AAAA\x07",
        "\u{90}$qm\x1b\\",
    ] {
        let around = format!("a{said}b");
        assert_eq!(passed(around.as_bytes()), b"ab", "{said:?}");
    }
    assert_eq!(passed(b"a\x9b6n"), b"a6n", "no control of one byte passes");
    let long = format!("a\x1b[{}mb", "1;".repeat(LONGEST));
    assert_eq!(passed(long.as_bytes()), b"ab");
    assert_eq!(passed(b"a\x1b]0;cut off\x1b[1mb"), b"a\x1b[1mb");
}

/// Konsole, SecureCRT and others begin to receive or send a file where they see it.
#[test]
fn nothing_that_passes_begins_a_transfer_by_zmodem() {
    assert_eq!(
        passed(b"rz\r**\x18B00000000000000\r\x8a\x11"),
        b"rz\r**B00000000000000\r\x11"
    );
    assert_eq!(passed(b"a\x1b[1\x18Bb\x1b]0;\x18**\x18B00"), b"aBb**B00");
}

/// The places are the terminal's, and what is in them may be of the programs that the person was in.
#[test]
fn modes_are_brought_back_only_where_they_were_kept_here() {
    for nobody_kept in [
        "\x1b[?25r",
        "\x1b[?1049;7r",
        "\x1b[?25;25r",
        "\x1b[?7s\x1b[?25r",
        "\x1b[?1048s\x1b[?1048r",
    ] {
        assert_eq!(passed(nobody_kept.as_bytes()), b"", "{nobody_kept:?}");
    }
    for (said, drawn) in [
        ("\x1b[?25l\x1b[?25s\x1b[?25h\x1b[?25r", "\x1b[?25l\x1b[?25h\x1b[?25l"),
        ("\x1b[?7;25;5s\x1b[?5;7r\x1b[?25r", "\x1b[?5l\x1b[?7h\x1b[?25h"),
        (
            "\x1b[?1049h\x1b[?1049;1000s\x1b[?1049l\x1b[?1000;1049r",
            "\x1b[?1049h\x1b[?1049l\x1b[?1049h",
        ),
        (
            "\x1b[?25l\x1b[!p\x1b[?25s\x1b[?25r",
            &format!("\x1b[?25l{}\x1b[?25h", std::str::from_utf8(SOFT).unwrap()),
        ),
    ] {
        assert_eq!(String::from_utf8(passed(said.as_bytes())).unwrap(), drawn, "{said:?}");
    }
    let mut harmless = Harmless::default();
    harmless.pass(b"\x1b[?6h\x1b[?6s\x1b[?6l\x1bc");
    harmless.left = Left::default();
    harmless.pass(b"\x1b[?6r");
    assert!(harmless.left().origin, "it is set again");
}

#[test]
fn colours_are_brought_back_only_where_they_were_kept_here() {
    assert_eq!(passed(b"\x1b[#}\x1b[#q"), b"");
    assert_eq!(
        passed(b"\x1b[#{a\x1b[1#pb\x1b[#}c\x1b[#q\x1b[#}d"),
        b"\x1b[#{a\x1b[1#pb\x1b[#}c\x1b[#qd"
    );
    let mut harmless = Harmless::default();
    let many = harmless.pass(&b"\x1b[#{".repeat(12));
    assert_eq!(
        (many.len(), harmless.left().kept_colours),
        (40, 12),
        "no terminal keeps more"
    );
    assert_eq!(harmless.pass(&b"\x1b[#}".repeat(13)), b"\x1b[#}".repeat(10));
    assert_eq!(harmless.left().kept_colours, 0);
}

#[test]
fn a_soft_reset_takes_what_is_drawn_and_not_how_keys_are_told() {
    assert_eq!(passed(b"\x1b[!p"), SOFT);
    assert_eq!(passed(SOFT), SOFT, "what takes its place passes");
    let mut terminal = vt100::Parser::default();
    terminal.process(b"\x1b[2;4r\x1b[31m\x1b[?25l\x1b[3;5H\x1b[?1h");
    terminal.process(&passed(b"\x1b[!p"));
    let screen = terminal.screen();
    assert_eq!(screen.cursor_position(), (2, 4));
    assert!(!screen.hide_cursor() && screen.fgcolor() == vt100::Color::Default && screen.application_cursor());
    terminal.process(&[b'\n'; 30]);
    assert_eq!(terminal.screen().cursor_position().0, 23, "no margins");
}

proptest! {
    #[test]
    fn what_passes_does_not_depend_on_the_cuts_and_asks_nothing(
        bytes in prop::collection::vec(
            prop_oneof![any::<u8>(), prop::sample::select(b"\x1b[]PX^_\\\x07;?>$1ncqtpm\xc2\x9b\x9d ".to_vec())], 0..200),
        cuts in prop::collection::vec(0_usize..200, 0..6),
    ) {
        let whole = passed(&bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let (mut harmless, mut pieces, mut from) = (Harmless::default(), Vec::new(), 0);
        for cut in cuts.into_iter().chain([bytes.len()]) {
            pieces.extend(harmless.pass(&bytes[from..cut]));
            from = cut;
        }
        prop_assert_eq!(&whole, &pieces);
        prop_assert!(!whole.contains(&ENQ) && !whole.contains(&CAN));
        // Nothing is taken out twice: what passed passes.
        let and_a_letter = [whole, b"a".to_vec()].concat();
        prop_assert_eq!(passed(&and_a_letter), and_a_letter);
    }
}
