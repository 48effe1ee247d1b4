//! What a recorded program wrote, without what would speak to the terminal of whoever looks at it instead of drawing on it.
//!
//! A pod's output is a stranger's. Strings of the operating system command and device control kinds set clipboards and titles,
//! some sequences ask the terminal something, which it answers where keys stand: a shell would read that. Others set how keys,
//! mouse and paste are told: then Ctrl-C is no Ctrl-C any more. So a sequence passes that is known to draw, byte for byte, and no
//! other one: terminals learn new ones each year. Invariants: what passes does not depend on how the bytes were cut; memory is
//! bounded; no control of eight bits passes, and nothing that makes a terminal look for one in the middle of a letter.
//!
//! What a terminal keeps for later (modes, colours) it may keep for somebody else: the programs that the person was in. So nothing is
//! kept in its places for modes, and nothing brought back that was not kept here; and [`Left`] says what has to be put back.
//!
//! ECMA 48 §5.4 and §5.6; what each sequence does: xterm's `ctlseqs`.

use std::collections::BTreeMap;

/// The longest sequence that draws something; one beyond is dropped to its end.
const LONGEST: usize = 256;

/// Titles and paths are shorter.
const LONGEST_STRING: u64 = 4096;

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
    letter: Letter,
    left: Left,
    /// Bytes of the string, or of the sequence that is too long, in which it stands.
    string: u64,
    /// Bytes of those that ended, and of the long ones among them.
    dropped: (u64, u64),
    /// Private modes that have passed, and how they stand.
    modes: BTreeMap<u16, bool>,
    /// How those stood that were kept.
    kept: BTreeMap<u16, bool>,
}

/// What has passed and stays when nothing more does, beyond what is put back in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// A mode in which positions count from the margins (DECOM). To leave it moves the cursor.
    pub(super) origin: bool,
    pub(super) tabs: bool,
    pub(super) cursor_shape: bool,
    /// Lines of letters of double size.
    pub(super) large_lines: bool,
    /// Colours and the like that were kept and not brought back.
    pub(super) kept_colours: u8,
}

/// The rest of a letter in UTF-8: as many bytes, the first of them within these bounds (Unicode 15 §3.9, table 3-7).
#[derive(Clone, Copy, Debug, Default)]
struct Letter {
    rest: u8,
    from: u8,
    to: u8,
}

impl Letter {
    fn begun_by(byte: u8) -> Self {
        let (rest, from, to) = match byte {
            0xc3..=0xdf => (1, 0x80, 0xbf),
            0xe0 => (2, 0xa0, 0xbf),
            0xed => (2, 0x80, 0x9f),
            0xe1..=0xef => (2, 0x80, 0xbf),
            0xf0 => (3, 0x90, 0xbf),
            0xf1..=0xf3 => (3, 0x80, 0xbf),
            0xf4 => (3, 0x80, 0x8f),
            _ => (0, 0, 0),
        };
        Self { rest, from, to }
    }

    /// Whether it goes on with this byte.
    fn takes(&mut self, byte: u8) -> bool {
        if self.rest == 0 || !(self.from..=self.to).contains(&byte) {
            *self = Self::default();
            return false;
        }
        *self = Self {
            rest: self.rest - 1,
            from: 0x80,
            to: 0xbf,
        };
        true
    }
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

    /// How many bytes stood in strings: of a terminal's output only in long ones and in one without an end, since programs set titles.
    pub(super) const fn not_drawn(&self, is_of_terminal: bool) -> u64 {
        let (all, long) = self.dropped;
        self.string.saturating_add(if is_of_terminal { long } else { all })
    }

    fn drop_one(&mut self) {
        self.string = self.string.saturating_add(1);
    }

    fn has_dropped(&mut self) {
        let string = std::mem::take(&mut self.string);
        let (all, long) = &mut self.dropped;
        *all = all.saturating_add(string);
        if string > LONGEST_STRING {
            *long = long.saturating_add(string);
        }
    }

    /// What is to be put back.
    pub(super) const fn left(&self) -> Left {
        self.left
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.at {
            At::Ground => self.ground(byte, out),
            At::C2 => self.behind_c2(byte, out),
            At::String => {
                match byte {
                    BEL | CAN | SUB => self.at = At::Ground,
                    ESC => self.at = At::StringEscape,
                    _ => return self.drop_one(),
                }
                self.has_dropped();
            }
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
        if self.letter.takes(byte) {
            return out.push(byte);
        }
        match byte {
            ESC => self.begin(At::Escape, &[ESC]),
            // ENQ asks who it is. CAN draws nothing, and begins a header of ZMODEM, which terminals answer by themselves.
            ENQ | CAN => {}
            // Controls of one byte, in a terminal that is not one of UTF-8.
            0x80..0xa0 => {}
            0xc2 => self.at = At::C2,
            _ => {
                self.letter = Letter::begun_by(byte);
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
        self.has_dropped();
        self.at = at;
        self.held.clear();
        self.held.extend_from_slice(bytes);
    }

    fn sequence(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            ESC => return self.begin(At::Escape, &[ESC]),
            CAN | SUB => {
                self.has_dropped();
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
            (At::TooLong, 0x40..0x7f) => {
                self.has_dropped();
                self.at = At::Ground;
            }
            (At::TooLong, _) => self.drop_one(),
            (At::Escape, 0x30..0x7f) | (At::Control, 0x40..0x7f) => {
                self.held.push(byte);
                match self.at {
                    At::Escape => self.escape(out),
                    _ => self.control(out),
                }
                self.at = At::Ground;
            }
            (At::Escape, 0x20..0x30) | (At::Control, 0x20..0x40) if self.held.len() < LONGEST => self.held.push(byte),
            (At::Escape | At::Control, 0x20..0x40) => {
                self.string = u64::try_from(self.held.len()).unwrap_or(u64::MAX);
                self.drop_one();
                self.at = At::TooLong;
            }
            // No sequence has such a byte: it is given up, and the byte stands for itself.
            _ => {
                self.at = At::Ground;
                self.ground(byte, out);
            }
        }
    }
}

/// What a full reset (`ESC c`, RIS) draws: an empty screen with nothing set. The reset itself would take the lines that have left the
/// screen and how keys are told, which are the person's own.
const FRESH: &[u8] = b"\x1b7\x1b[?1049l\x1b[?2026l\x1b[0m\x1b[0\"q\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b}\x1b[4l\x1b[20l\x1b[?5l\x1b[?6l\x1b[?69l\x1b[r\
\x1b[?7h\x1b[?45l\x1b[?12l\x1b[?25h\x1b[34h\x1b[0 q\x1b[?5W\x1b[H\x1b[2J\x1b7";

/// What a soft reset (`CSI ! p`, DECSTR) draws: nothing set, and the cursor where it is. The reset itself would take how keys are told.
const SOFT: &[u8] = b"\x1b7\x1b[?69l\x1b[r\x1b8\x1b[0m\x1b[0\"q\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b}\x1b[4l\x1b[?25h";

/// So many colours a terminal keeps (xterm's XTPUSHSGR); it counts those beyond.
const MOST_KEPT: u8 = 10;

/// Whether a sequence behind ESC draws: cursor, tabs, index, single and locking shifts, lines of double size, letters of
/// another set. Not: the keypad's keys, other encodings (`%`, space), memory locks, guarded areas, strings' ends.
fn escape_draws(sequence: &[u8]) -> bool {
    match sequence {
        [ESC, last] => b"6789DEHMNOno|}~".contains(last),
        [ESC, b'#', last] => b"34568".contains(last),
        [ESC, b'(' | b')' | b'*' | b'+' | b'-' | b'.' | b'/', ..] => true,
        _ => false,
    }
}

/// Modes of ECMA 48 that draw: inserting, line feeds that begin a line, screen's cursor.
const DRAWING: [u16; 3] = [4, 20, 34];
/// Private modes that draw: reversed screen, origin, line breaks both ways, the cursor, side margins, the other screen and its
/// kept cursor, drawing at once.
const DRAWING_PRIVATE: [u16; 12] = [5, 6, 7, 12, 25, 45, 47, 69, 1047, 1048, 1049, 2026];
const ORIGIN: u16 = 6;
const CURSOR: u16 = 25;
/// Private modes that a terminal is in at the beginning: lines break, the cursor shows.
const SET_AT_FIRST: [u16; 2] = [7, CURSOR];
/// Keeps and brings back the cursor, and is nothing that could be kept.
const KEEPS_CURSOR: u16 = 1048;

/// A control sequence in its parts.
struct Control<'a> {
    /// `?` and the like, which make it another sequence.
    private: &'a [u8],
    parameters: &'a [u8],
    between: &'a [u8],
    last: u8,
}

impl<'a> Control<'a> {
    /// None where its bytes stand in an order that no sequence has.
    fn read(sequence: &'a [u8]) -> Option<Self> {
        let (last, rest) = sequence.strip_prefix(b"\x1b[")?.split_last()?;
        let part = |rest: &'a [u8], is: fn(&u8) -> bool| {
            let length = rest.iter().position(|byte| !is(byte)).unwrap_or(rest.len());
            rest.split_at_checked(length)
        };
        let (private, rest) = part(rest, |byte| (b'<'..=b'?').contains(byte))?;
        let (parameters, rest) = part(rest, |byte| (b'0'..=b';').contains(byte))?;
        let (between, rest) = part(rest, |byte| (0x20..0x30).contains(byte))?;
        rest.is_empty().then_some(Self {
            private,
            parameters,
            between,
            last: *last,
        })
    }

    fn numbers(&self) -> impl Iterator<Item = (&'a [u8], Option<u16>)> {
        let numbers = self.parameters.split(|byte| *byte == b';');
        numbers.map(|text| (text, std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())))
    }

    /// The modes of those that it sets or leaves that may be; none where it is no such sequence.
    fn modes(&self) -> Option<&'static [u16]> {
        match (self.private, self.between, self.last) {
            (b"", b"", b'h' | b'l') => Some(&DRAWING),
            (b"?", b"", b'h' | b'l' | b's' | b'r') => Some(&DRAWING_PRIVATE),
            _ => None,
        }
    }

    /// Whether it draws and asks nothing. Rectangles are drawn, columns put in and taken out, and what an own selection is.
    fn draws(&self) -> bool {
        // Some take what stands in front of a colon for the number, some do not. In colours there are such.
        let is_clear = self.last == b'm' || !self.parameters.contains(&b':');
        is_clear
            && match (self.private, self.between) {
                // All lines that have left the screen are the person's own (3; of kitty, 22 puts some there).
                (b"" | b"?", b"") if self.last == b'J' => {
                    let is_of_screen = |text: &[u8], number| text.is_empty() || matches!(number, Some(0..=2));
                    self.numbers().all(|(text, number)| is_of_screen(text, number))
                }
                // With more it tracks the mouse.
                (b"", b"") if self.last == b'T' => self.numbers().count() == 1,
                (b"", b"") => b"@ABCDEFGHIKLMPSXZ^`abdefgjkmrsu".contains(&self.last),
                (b"?", b"") => b"KW".contains(&self.last),
                (b"", b" ") => b"@Aq".contains(&self.last),
                (b"", b"\"") => self.last == b'q',
                (b"", b"'") => b"}~".contains(&self.last),
                (b"", b"$") => b"rtvxz{".contains(&self.last),
                _ => false,
            }
    }
}

impl Harmless {
    /// A sequence behind ESC that has come to its end.
    fn escape(&mut self, out: &mut Vec<u8>) {
        if self.held == b"\x1bc" {
            self.modes.clear();
            self.left.tabs = true;
            self.left.cursor_shape = true;
            out.extend_from_slice(FRESH);
        } else if escape_draws(&self.held) {
            self.left.tabs |= self.held == b"\x1bH";
            self.left.large_lines |= self.held.starts_with(b"\x1b#");
            out.append(&mut self.held);
        }
    }

    /// A control sequence that has come to its end.
    fn control(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        let Some(control) = Control::read(&held) else {
            return;
        };
        match (control.private, control.between, control.last) {
            (b"", b"!", b'p') => {
                self.modes.insert(CURSOR, true);
                return out.extend_from_slice(SOFT);
            }
            (b"", b"#", b'p' | b'{') => {
                self.left.kept_colours = self.left.kept_colours.saturating_add(1);
                if self.left.kept_colours <= MOST_KEPT {
                    out.extend_from_slice(&held);
                }
                return;
            }
            (b"", b"#", b'q' | b'}') => {
                if (1..=MOST_KEPT).contains(&self.left.kept_colours) {
                    out.extend_from_slice(&held);
                }
                self.left.kept_colours = self.left.kept_colours.saturating_sub(1);
                return;
            }
            _ => {}
        }
        if let Some(drawing) = control.modes() {
            return self.change_modes(&control, drawing, out);
        }
        if control.draws() {
            self.left.tabs |= matches!((control.private, control.last), (b"", b'g') | (b"?", b'W'));
            self.left.cursor_shape |= control.between == b" " && control.last == b'q';
            out.extend_from_slice(&held);
        }
    }

    fn change_modes(&mut self, control: &Control<'_>, drawing: &[u16], out: &mut Vec<u8>) {
        let draws = |number: &Option<u16>| number.is_some_and(|number| drawing.contains(&number));
        let passing = || control.numbers().filter(|(_, number)| draws(number));
        let numbers = passing().filter_map(|(_, number)| number);
        match control.last {
            b's' => {
                for mode in numbers.filter(|mode| *mode != KEEPS_CURSOR) {
                    let stands = self.modes.get(&mode).copied();
                    self.kept
                        .insert(mode, stands.unwrap_or_else(|| SET_AT_FIRST.contains(&mode)));
                }
            }
            b'r' => {
                for mode in numbers {
                    if let Some(is_set) = self.kept.get(&mode).copied() {
                        let last = if is_set { b'h' } else { b'l' };
                        self.told(mode, is_set);
                        out.extend_from_slice(format!("\x1b[?{mode}").as_bytes());
                        out.push(last);
                    }
                }
            }
            last => {
                let texts: Vec<&[u8]> = passing().map(|(text, _)| text).collect();
                if texts.is_empty() {
                    return;
                }
                if control.private == b"?" {
                    numbers.for_each(|mode| self.told(mode, last == b'h'));
                }
                out.extend_from_slice(b"\x1b[");
                out.extend_from_slice(control.private);
                out.extend_from_slice(&texts.join(&b';'));
                out.push(last);
            }
        }
    }

    /// A private mode that passes.
    fn told(&mut self, mode: u16, is_set: bool) {
        self.modes.insert(mode, is_set);
        self.left.origin |= mode == ORIGIN && is_set;
    }
}

/// Fuzz entry: what passes of any bytes does not depend on how they were cut, has nothing that terminals answer, no control of eight bits
/// and no sequence that would not pass again.
pub fn fuzz_played(data: &[u8]) {
    let (first, said) = data.split_first().unwrap_or((&0, &[]));
    let whole = Harmless::default().pass(said);
    let mut harmless = Harmless::default();
    let pieces = said.chunks(usize::from(*first).max(1));
    let cut: Vec<u8> = pieces.flat_map(|piece| harmless.pass(piece)).collect();
    assert_eq!(whole, cut, "cuts make no difference");
    assert!(
        !whole.iter().any(|byte| matches!(*byte, ENQ | CAN)),
        "nothing is answered"
    );
    let and_a_letter = [whole.as_slice(), b"a"].concat();
    let again = Harmless::default().pass(&and_a_letter);
    assert_eq!(again, and_a_letter, "what passed passes");
    let controls = String::from_utf8_lossy(&whole);
    assert!(
        !controls.chars().any(|letter| matches!(letter, '\u{80}'..='\u{9f}')),
        "no control of eight bits"
    );
}

#[cfg(test)]
mod tests;
