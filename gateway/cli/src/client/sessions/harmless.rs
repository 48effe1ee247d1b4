//! What a recorded program wrote, without what would speak to the terminal of whoever looks at it instead of drawing on it.
//!
//! A pod's output is a stranger's. Strings of the operating system command and device control kinds set clipboards and titles,
//! and some sequences ask the terminal something, which it answers where keys stand: a shell would read that. Everything that
//! draws passes byte for byte. Invariants: what passes does not depend on how the bytes were cut; memory is bounded.
//!
//! ECMA 48 §5.4 and §5.6; what is asked for by which sequence: xterm's `ctlseqs`.

/// The longest sequence that draws something; one beyond is dropped to its end.
const LONGEST: usize = 256;

const ESC: u8 = 0x1b;
const ENQ: u8 = 0x05;
const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;

/// Lets through what draws.
#[derive(Debug, Default)]
pub(super) struct Harmless {
    at: At,
    /// Of a sequence that has begun and may have to be dropped.
    held: Vec<u8>,
    /// Bytes of a letter that are still to come.
    letter: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Ground,
    /// Behind ESC and intermediate bytes.
    Escape,
    /// Behind CSI.
    Control,
    /// In a sequence that is too long.
    TooLong,
    /// In a string that nobody is to read.
    String,
    /// Behind ESC in such a string.
    StringEscape,
    /// Behind C2, which may make a control of the next byte (U+0080 to U+009F).
    C2,
}

impl Harmless {
    /// The bytes of `piece`, which come next, that may pass.
    pub(super) fn pass(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for byte in piece {
            self.byte(*byte, &mut out);
        }
        out
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.at {
            At::Ground => self.ground(byte, out),
            At::C2 => self.behind_c2(byte, out),
            At::String => match byte {
                BEL | CAN | SUB => self.at = At::Ground,
                ESC => self.at = At::StringEscape,
                _ => {}
            },
            At::StringEscape if byte == b'\\' => self.at = At::Ground,
            // Any other sequence ends the string, too.
            At::StringEscape => {
                self.begin(At::Escape, &[ESC]);
                self.byte(byte, out);
            }
            At::Escape | At::Control | At::TooLong => self.sequence(byte, out),
        }
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<u8>) {
        if self.letter > 0 && (0x80..0xc0).contains(&byte) {
            self.letter -= 1;
            return out.push(byte);
        }
        self.letter = 0;
        match byte {
            ESC => self.begin(At::Escape, &[ESC]),
            ENQ => {}
            // Controls of one byte, in a terminal that is not one of UTF-8.
            0x80..0xa0 => {}
            0xc2 => self.at = At::C2,
            _ => {
                self.letter = match byte {
                    0xc3..0xe0 => 1,
                    0xe0..0xf0 => 2,
                    0xf0..0xf8 => 3,
                    _ => 0,
                };
                out.push(byte);
            }
        }
    }

    fn behind_c2(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.at = At::Ground;
        match byte {
            0x80..0xa0 => match byte - 0x40 {
                b'[' => self.begin(At::Control, &[ESC, b'[']),
                b'P' | b'X' | b']' | b'^' | b'_' => self.at = At::String,
                // Others draw at most a line feed, and no program of today writes them so.
                _ => {}
            },
            0xa0..0xc0 => out.extend([0xc2, byte]),
            _ => {
                out.push(0xc2);
                self.ground(byte, out);
            }
        }
    }

    fn begin(&mut self, at: At, bytes: &[u8]) {
        self.at = at;
        self.held.clear();
        self.held.extend_from_slice(bytes);
    }

    fn sequence(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            ESC => return self.begin(At::Escape, &[ESC]),
            CAN | SUB => {
                self.at = At::Ground;
                return;
            }
            ENQ => return,
            // A control within a sequence is obeyed at once (ECMA 48 leaves it open, terminals agree).
            0..0x20 => return out.push(byte),
            _ => {}
        }
        let is_first = self.held.len() == 1;
        match (self.at, byte) {
            (At::Escape, b'[') if is_first => {
                self.held.push(byte);
                self.at = At::Control;
            }
            // `ESC k` sets the title in screen and tmux.
            (At::Escape, b'P' | b'X' | b']' | b'^' | b'_' | b'k') if is_first => self.at = At::String,
            // DECID asks who it is.
            (At::Escape, b'Z') if is_first => self.at = At::Ground,
            (At::TooLong, 0x40..0x7f) => self.at = At::Ground,
            (At::TooLong, _) => {}
            (At::Escape, 0x30..0x7f) | (At::Control, 0x40..0x7f) => {
                self.held.push(byte);
                if self.at == At::Escape || draws(&self.held) {
                    out.append(&mut self.held);
                }
                self.at = At::Ground;
            }
            (At::Escape, 0x20..0x30) | (At::Control, 0x20..0x40) if self.held.len() < LONGEST => self.held.push(byte),
            (At::Escape | At::Control, 0x20..0x40) => self.at = At::TooLong,
            // No sequence has such a byte: it is given up, and the byte stands for itself.
            _ => {
                self.at = At::Ground;
                self.ground(byte, out);
            }
        }
    }
}

/// Whether a control sequence draws and asks nothing: not DSR, DA, reports and changes of the window, XTVERSION, DECRQM,
/// DECREQTPARM, checksums and other reports, keyboards and locator.
fn draws(sequence: &[u8]) -> bool {
    let (Some(last), Some(before)) = (
        sequence.last(),
        sequence.len().checked_sub(2).and_then(|at| sequence.get(at)),
    ) else {
        return false;
    };
    match (last, before) {
        (b'n' | b'c' | b't' | b'x' | b'i', _) | (_, b'#') => false,
        (b'S' | b'm', _) => sequence.get(2) != Some(&b'?'),
        (b'q', before) => *before == b' ' || *before == b'"',
        (b'p', b'$') | (b'y' | b'w' | b'u' | b'|' | b'}' | b'z' | b'{', b'*' | b'\'' | b'&') => false,
        (b'y' | b'w' | b'u' | b'|' | b'}', b'$') => false,
        (b'u', _) => sequence.get(2) != Some(&b'?'),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(bytes: &[u8]) -> Vec<u8> {
        Harmless::default().pass(bytes)
    }

    #[test]
    fn what_draws_passes_byte_for_byte() {
        for drawn in [
            "plain, käse, 漢字, 🔒 and \u{a0}\r\n\t\x08",
            "\x1b[1;31mred\x1b[0m\x1b[2J\x1b[H\x1b[?1049h\x1b[?25l\x1b[10;20r\x1b[38;5;1m\x1b[s\x1b[u",
            "\x1b7\x1b8\x1b=\x1b>\x1bM\x1b(B\x1b)0\x1b#8\x1bc",
            "\x1b[2 q\x1b[1\"q\x1b[!p\x07",
        ] {
            assert_eq!(passed(drawn.as_bytes()), drawn.as_bytes(), "{drawn:?}");
        }
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
            "\x05",
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
            prop_assert!(!whole.contains(&ENQ));
            // Nothing is taken out twice: what passed passes.
            let and_a_letter = [whole, b"a".to_vec()].concat();
            prop_assert_eq!(passed(&and_a_letter), and_a_letter);
        }
    }
}
