//! A transcript: what a session showed, as lines of plain text.
//!
//! A state machine reads the escape sequences (crate `vte`), so what was overwritten in a line, as progress bars do, is
//! overwritten here too. A program that takes the whole screen (the alternate screen of xterm) is named and left out, with
//! how many bytes that were: its screen is no text with an order; play it instead.
//!
//! Invariant: memory is bounded, whatever a session showed. A recording may be far larger than its file.
//!
//! Without a terminal, lines of stdin begin with `> ` and those of stderr with `! `. Messages of a WebSocket are neither: those that
//! the person sent begin with `> `, those that came back with `< `, in the order in which they passed. What the recorder says stands in
//! brackets.
//!
//! Only what a terminal read drives that machine: the output of a session that has one. All else, what somebody typed, what a message
//! says and the output of a session without a terminal, is shown as it is, escaped as in Rust, and nothing of it hides another line. Nor
//! does a line of output look like one of ours: where it begins with one of our marks, a backslash stands in front of it, and in a
//! terminal's output also where it begins with a backslash. What a terminal takes and does not show, titles and the like, is not told
//! where it is short; what is long or does not end is named and counted.

mod strings;
mod verbatim;

use std::io::{self, Write};

use vte::{Params, Parser, Perform};

use crate::cast::{Utf8, ViewError, file_text, given_up_unless, note_text};
use crate::frame::{Connection, Frame};
use crate::reader::Recording;
use crate::tap::{Channel, Control, Way};
use strings::Strings;
use verbatim::Verbatim;

/// A longer line is broken: a stream need not have any line ends.
const LONGEST_LINE: usize = 4096;
/// So much of a frame is made into lines at once: a few bytes that move the cursor make a line of [`LONGEST_LINE`].
const PIECE: usize = 4096;

/// What a line of ours begins with, and what stands in front of a line of output that begins so.
const MARKS: [char; 5] = ['>', '<', '!', '[', '\\'];

/// What stands for a program that takes the whole screen. How much of it is left out stands between.
const FULL_SCREEN: [&str; 2] = ["[a full-screen program: ", " bytes left out]"];
/// What stands for a control string, or a sequence, of which no end came within [`LONGEST_STRING`].
const LONG_STRING: [&str; 2] = ["[a control string: ", " letters left out]"];

/// One stream of output, as lines.
pub struct Transcript {
    /// The parser reads letters that are cut in two, and what is none, otherwise than whole: controls come as letters, and more or fewer
    /// U+FFFD.
    utf8: Utf8,
    strings: Strings,
    parser: Parser,
    lines: Lines,
}

#[derive(Debug, Default)]
struct Lines {
    line: Vec<char>,
    column: usize,
    /// A program has the whole screen.
    full_screen: Option<LeftOut>,
    /// What [`SAVES`] kept.
    was_full_screen: bool,
    /// The parser stands behind a sequence that gave or took the whole screen.
    turned: Option<Turn>,
    done: String,
    prefix: &'static str,
}

/// What a program with the whole screen wrote, from behind the sequence that took it to the end of the one that gives it back.
#[derive(Debug, Default)]
struct LeftOut {
    /// Not told yet.
    bytes: u64,
    /// A line stands for what came before them.
    is_told: bool,
}

/// The screen's owner changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Taken,
    GivenBack,
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new("")
    }
}

impl Transcript {
    /// Each line begins with `prefix`.
    #[must_use]
    pub fn new(prefix: &'static str) -> Self {
        Self {
            utf8: Utf8::default(),
            strings: Strings::default(),
            parser: Parser::new(),
            lines: Lines {
                prefix,
                ..Lines::default()
            },
        }
    }

    /// Reads on; the lines that are complete.
    pub fn read(&mut self, bytes: &[u8]) -> String {
        let arrived = [self.utf8.begun(), bytes].concat();
        let text = self.utf8.text(bytes);
        let (mut counted, mut rest) = (0, text.as_bytes());
        while !rest.is_empty() {
            let (mut shown, behind) = self.strings.next(rest);
            while !shown.is_empty() {
                let read = self.parser.advance_until_terminated(&mut self.lines, shown);
                shown = shown.get(read..).unwrap_or_default();
                if let Some(turn) = self.lines.turned.take() {
                    let up_to_here = text.len().saturating_sub(shown.len()).saturating_sub(behind.len());
                    let came = length_of(&arrived, up_to_here);
                    self.lines.turn(turn, came.saturating_sub(counted));
                    counted = came;
                }
            }
            let ended = self.strings.ended.take();
            self.tell_string(ended);
            rest = behind;
        }
        let came = arrived.len().saturating_sub(self.utf8.begun().len());
        self.lines.leave_out(came.saturating_sub(counted));
        std::mem::take(&mut self.lines.done)
    }

    /// The line that was begun, and what was left out by now.
    pub fn finish(&mut self) -> String {
        self.lines.break_off();
        let begun = self.strings.is_long().then(|| self.strings.tell());
        self.tell_string(begun);
        self.lines.tell_left_out();
        std::mem::take(&mut self.lines.done)
    }

    /// As [`Transcript::finish`], where nothing more comes: also what was begun and has no end.
    pub fn end(&mut self) -> String {
        let mut done = self.finish();
        let begun = self.strings.tell();
        self.tell_string(Some(begun));
        done.push_str(&std::mem::take(&mut self.lines.done));
        done
    }

    /// A program with the whole screen has all its bytes counted.
    fn tell_string(&mut self, letters: Option<u64>) {
        if let Some(letters) = letters.filter(|letters| *letters > 0)
            && self.lines.full_screen.is_none()
        {
            self.lines.tell(LONG_STRING, letters);
        }
    }
}

impl std::fmt::Debug for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcript").finish_non_exhaustive()
    }
}

impl Recording {
    /// Writes the whole recording as plain text. `without_end` is its last line, in brackets, where the recording has no end.
    ///
    /// # Errors
    /// The recording is damaged or cannot be read; what came before is written, and a line that says so. Or `out` fails.
    pub fn write_text<W: Write>(&self, out: W, without_end: &str) -> Result<W, ViewError> {
        self.write_text_while(out, without_end, &mut || true)
    }

    /// As [`Recording::write_text`], for as long as `go_on` says so, which is asked before each few KiB of the session: much of one
    /// may make no text at all, and `out` is asked for nothing then.
    ///
    /// # Errors
    /// As there, or it was given up ([`ViewError::GivenUp`]).
    pub fn write_text_while<W: Write>(
        &self,
        mut out: W,
        without_end: &str,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<W, ViewError> {
        let is_terminal = self.head()?.is_some_and(|head| head.terminal);
        let mut streams = Streams::new(is_terminal);
        let mut last_message = None;
        let mut frames = self.frames();
        let read = loop {
            let stamped = match frames.next() {
                Ok(Some(stamped)) => stamped,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            given_up_unless(go_on)?;
            if let Frame::Data { way, channel, bytes } = stamped.frame {
                // A message need not end its line, and what answers it stands behind it.
                let is_message = matches!(channel, Channel::Message { .. });
                if is_message && last_message.replace(way).is_some_and(|last| last != way) {
                    streams.finish(&mut out)?;
                }
                for piece in bytes.chunks(PIECE) {
                    given_up_unless(go_on)?;
                    out.write_all(streams.read(channel, way, piece).as_bytes())?;
                }
            } else if let Some(line) = in_words(&stamped.frame) {
                streams.finish(&mut out)?;
                writeln!(out, "[{line}]")?;
            }
        };
        streams.end(&mut out)?;
        if let Some(words) = self.last_words(&read, without_end) {
            writeln!(out, "[{words}]")?;
        }
        out.flush()?;
        read?;
        Ok(out)
    }
}

/// All streams of a session.
struct Streams {
    typed: Verbatim,
    stdout: Output,
    stderr: Output,
    answers: Verbatim,
}

impl Streams {
    fn new(is_terminal: bool) -> Self {
        let output = |prefix| match is_terminal {
            true => Output::Terminal(Box::default()),
            false => Output::Lines(Verbatim::new(prefix)),
        };
        Self {
            typed: Verbatim::new("> "),
            stdout: output(""),
            stderr: output("! "),
            answers: Verbatim::new("< "),
        }
    }

    fn read(&mut self, channel: Channel, way: Way, bytes: &[u8]) -> String {
        match (channel, way) {
            (Channel::Stdin, _) | (Channel::Message { .. }, Way::Up) => self.typed.read(bytes),
            (Channel::Message { .. }, Way::Down) => self.answers.read(bytes),
            (Channel::Stderr, _) => self.stderr.read(bytes),
            _ => self.stdout.read(bytes),
        }
    }

    fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.typed.finish().as_bytes())?;
        out.write_all(self.stdout.finish().as_bytes())?;
        out.write_all(self.stderr.finish().as_bytes())?;
        out.write_all(self.answers.finish().as_bytes())
    }

    /// Nothing more comes.
    fn end(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.finish(out)?;
        for output in [&mut self.stdout, &mut self.stderr] {
            if let Output::Terminal(transcript) = output {
                out.write_all(transcript.end().as_bytes())?;
            }
        }
        Ok(())
    }
}

/// What a process wrote.
enum Output {
    /// To a terminal, which read it.
    Terminal(Box<Transcript>),
    /// Into a file, or to whatever reads it.
    Lines(Verbatim),
}

impl Output {
    fn read(&mut self, bytes: &[u8]) -> String {
        match self {
            Self::Terminal(transcript) => transcript.read(bytes),
            Self::Lines(lines) => lines.read(bytes),
        }
    }

    fn finish(&mut self) -> String {
        match self {
            Self::Terminal(transcript) => transcript.finish(),
            Self::Lines(lines) => lines.finish(),
        }
    }
}

/// Escaped where it is a control or would make text stand elsewhere than where it is.
fn push_plain(letter: char, line: &mut String) {
    if letter.is_control() || moves_text(letter) {
        line.extend(letter.escape_default());
    } else {
        line.push(letter);
    }
}

/// Turns the direction of writing, or breaks a line where no line feed does (Unicode 15 §23.2).
const fn moves_text(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a line of output looks as if it began with a mark: nothing that shows stands in front of one.
fn begins_with_mark(line: &str) -> bool {
    first_shown(line).is_some_and(|letter| MARKS.contains(&letter))
}

fn first_shown(line: &str) -> Option<char> {
    let shows = |letter: &char| {
        let mut escaped = letter.escape_debug();
        // Quotes and backslashes are escaped and show; so does a blank, as an indent.
        matches!(letter, '\'' | '"' | '\\' | ' ') || escaped.next() == Some(*letter) && !letter.is_whitespace()
    };
    line.chars().find(shows)
}

/// A frame that is no stream's data, in words: notes, files, connections, what control frames carried and the exit; none for others.
#[must_use]
pub fn in_words(frame: &Frame<'_>) -> Option<String> {
    match frame {
        Frame::Note { noted, count, text } => Some(note_text(*noted, *count, text)),
        Frame::File(file) => Some(file_text(file)),
        Frame::Connection(connection) => Some(connection_text(connection)),
        Frame::Control { way, kind, bytes } => Some(control_text(*way, *kind, bytes)),
        Frame::Status { code: Some(code), .. } => Some(format!("exit {code}")),
        Frame::Status { code: None, text } => Some(one_line(text)),
        _ => None,
    }
}

fn control_text(way: Way, kind: Control, bytes: &[u8]) -> String {
    let way = match way {
        Way::Up => "sent",
        Way::Down => "received",
    };
    match (kind, bytes) {
        (Control::Close, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("close {way}: {code} {}", reason.escape_ascii())
                .trim_end()
                .to_owned()
        }
        (Control::Close, bytes) => format!("close {way}: {}", bytes.escape_ascii()),
        (Control::Ping, bytes) => format!("ping {way}: {}", bytes.escape_ascii()),
        (Control::Pong, bytes) => format!("pong {way}: {}", bytes.escape_ascii()),
    }
}

fn connection_text(connection: &Connection<'_>) -> String {
    let (up, down) = (connection.up, connection.down);
    let (what, passed) = match connection.channel {
        // Behind them may be a service or a node.
        Channel::Message { .. } => ("messages".to_owned(), format!("{up} bytes sent, {down} received")),
        Channel::Forward { connection, port } => (
            format!("connection {connection} to port {port}"),
            format!("{up} bytes to the pod, {down} from it"),
        ),
        _ => (
            "connection".to_owned(),
            format!("{up} bytes to the pod, {down} from it"),
        ),
    };
    let how = if connection.was_reset { ", given up" } else { "" };
    let error = one_line(connection.error);
    let error = if error.is_empty() { error } else { format!(": {error}") };
    format!("{what}: {passed}{how}{error}")
}

/// What the cluster or a pod says, so that it neither looks like another line nor moves the cursor.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut line = String::with_capacity(text.len());
    text.trim_end().chars().for_each(|letter| push_plain(letter, &mut line));
    line
}

/// Of how many of these bytes the first `length` bytes of their text were made.
fn length_of(bytes: &[u8], length: usize) -> usize {
    let (mut made, mut read) = (0_usize, 0_usize);
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().len();
        if made.saturating_add(valid) >= length {
            break;
        }
        made = made
            .saturating_add(valid)
            .saturating_add(char::REPLACEMENT_CHARACTER.len_utf8());
        read = read.saturating_add(valid).saturating_add(chunk.invalid().len());
    }
    read.saturating_add(length.saturating_sub(made))
}

impl Lines {
    fn end(&mut self) {
        let text: String = self.line.drain(..).collect();
        self.column = 0;
        self.done.push_str(self.prefix);
        if self.prefix.is_empty() && begins_with_mark(&text) {
            self.done.push('\\');
        }
        self.done.push_str(text.trim_end());
        self.done.push('\n');
    }

    /// The cursor goes elsewhere; a line that says nothing is not told.
    fn break_off(&mut self) {
        if self.line.iter().any(|letter| *letter != ' ') {
            self.end();
        }
        self.line.clear();
        self.column = 0;
    }

    fn go_to(&mut self, column: usize) {
        self.column = column.min(LONGEST_LINE);
    }

    fn erase(&mut self, mode: u16) {
        let (from, to) = match mode {
            0 => (self.column, self.line.len()),
            1 => (0, self.column.saturating_add(1)),
            _ => (0, self.line.len()),
        };
        self.blank(from, to);
    }

    /// Blanks at its end are no part of a line: a program may erase long ones for ever.
    fn blank(&mut self, from: usize, to: usize) {
        if to >= self.line.len() {
            self.line.truncate(from);
        }
        for letter in self.line.iter_mut().take(to).skip(from) {
            *letter = ' ';
        }
    }

    /// What moves beyond the longest line is gone, and is not moved.
    fn insert_blanks(&mut self, count: usize) {
        let stays = LONGEST_LINE.saturating_sub(self.column).saturating_sub(count);
        self.line.truncate(self.column.saturating_add(stays));
        if self.column < self.line.len() {
            let blanks = std::iter::repeat_n(' ', count);
            self.line.splice(self.column..self.column, blanks);
        }
    }

    /// The parser is to stop here if the screen's owner changes.
    fn set_full_screen(&mut self, is_taken: bool) {
        self.turned = match (is_taken, self.full_screen.is_some()) {
            (true, false) => Some(Turn::Taken),
            (false, true) => Some(Turn::GivenBack),
            _ => return,
        };
    }

    /// The owner changes, `came` bytes behind what was counted.
    fn turn(&mut self, turn: Turn, came: usize) {
        match turn {
            Turn::Taken => {
                self.break_off();
                self.full_screen = Some(LeftOut::default());
            }
            Turn::GivenBack => {
                self.leave_out(came);
                self.tell_left_out();
                self.full_screen = None;
            }
        }
    }

    fn leave_out(&mut self, came: usize) {
        if let Some(left_out) = &mut self.full_screen {
            let came = u64::try_from(came).unwrap_or(u64::MAX);
            left_out.bytes = left_out.bytes.saturating_add(came);
        }
    }

    fn tell_left_out(&mut self) {
        let Some(left_out) = &mut self.full_screen else { return };
        if left_out.bytes == 0 && left_out.is_told {
            return;
        }
        let bytes = std::mem::take(&mut left_out.bytes);
        left_out.is_told = true;
        self.tell(FULL_SCREEN, bytes);
    }

    fn tell(&mut self, [before, behind]: [&str; 2], count: u64) {
        for words in [self.prefix, before, &count.to_string(), behind, "\n"] {
            self.done.push_str(words);
        }
    }
}

/// The modes of the alternate screen (xterm, "DEC Private Mode Set"): of several in one sequence each counts.
const ALTERNATE_SCREEN: [u16; 3] = [47, 1047, 1049];
/// Keeps modes (XTSAVE), for [`RESTORES`].
const SAVES: char = 's';
/// Puts back what was kept (XTRESTORE), or else the main screen. Terminals that do not know it stay as they are, so it only ever
/// ends a full screen here: what one of them may have shown is not left out.
const RESTORES: char = 'r';

impl Perform for Lines {
    fn print(&mut self, letter: char) {
        // The parser takes DEL for a letter, terminals draw nothing.
        if self.full_screen.is_some() || letter.is_control() {
            return;
        }
        if self.column >= LONGEST_LINE {
            self.end();
        }
        if self.column >= self.line.len() {
            self.line.resize(self.column.saturating_add(1), ' ');
        }
        if let Some(place) = self.line.get_mut(self.column) {
            *place = match letter {
                letter if moves_text(letter) => char::REPLACEMENT_CHARACTER,
                letter => letter,
            };
        }
        self.column = self.column.saturating_add(1);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            _ if self.full_screen.is_some() => {}
            b'\n' => self.end(),
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => self.go_to(self.column.saturating_add(8) & !7),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], _ignore: bool, action: char) {
        let first = params
            .iter()
            .next()
            .and_then(|param| param.first())
            .copied()
            .unwrap_or(0);
        let count = usize::from(first.max(1));
        let is_screen = || {
            params
                .iter()
                .any(|mode| matches!(mode, [mode] if ALTERNATE_SCREEN.contains(mode)))
        };
        match (intermediates, action) {
            (b"?", 'h' | 'l') if is_screen() => self.set_full_screen(action == 'h'),
            (b"?", SAVES) if is_screen() => self.was_full_screen = self.full_screen.is_some(),
            (b"?", RESTORES) if is_screen() && !self.was_full_screen => self.set_full_screen(false),
            _ if self.full_screen.is_some() || !intermediates.is_empty() => {}
            (_, 'K') => self.erase(first),
            (_, 'X') => self.blank(self.column, self.column.saturating_add(count)),
            (_, 'C') => self.go_to(self.column.saturating_add(count)),
            (_, 'D') => self.go_to(self.column.saturating_sub(count)),
            (_, 'G') => self.go_to(count.saturating_sub(1)),
            (_, 'P') => {
                let end = self.column.saturating_add(count).min(self.line.len());
                if self.column < end {
                    self.line.drain(self.column..end);
                }
            }
            (_, '@') => self.insert_blanks(count),
            (_, 'A' | 'B' | 'E' | 'F' | 'H' | 'f' | 'd' | 'J') if !(action == 'J' && first == 0) => self.break_off(),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        // RIS, the full reset: the main screen, and empty.
        if intermediates.is_empty() && byte == b'c' {
            self.break_off();
            self.set_full_screen(false);
        }
    }

    fn terminated(&self) -> bool {
        self.turned.is_some()
    }
}

/// Fuzz entry: any frames make lines without controls, none of which looks like one of another stream, however they are cut.
pub fn fuzz_transcript(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let cut = usize::from(*first).max(1);
    let is_terminal = first & 1 == 1;
    let mut whole = Streams::new(is_terminal);
    let mut pieces = Streams::new(is_terminal);
    for stamped in crate::frame::FrameIter::resume(rest, 0, 0).map_while(Result::ok) {
        let Frame::Data { way, channel, bytes } = stamped.frame else {
            continue;
        };
        let text = whole.read(channel, way, bytes);
        let cut: String = bytes
            .chunks(cut)
            .map(|piece| pieces.read(channel, way, piece))
            .collect();
        assert_eq!(text, cut, "cuts make no difference");
        let mark = match (channel, way) {
            (Channel::Stdin, _) | (Channel::Message { .. }, Way::Up) => Some("> "),
            (Channel::Message { .. }, Way::Down) => Some("< "),
            (Channel::Stderr, _) if !is_terminal => Some("! "),
            _ => None,
        };
        assert!(text.is_empty() || text.ends_with('\n'), "lines are told whole");
        for line in text.split_terminator('\n') {
            assert!(
                !line.chars().any(|letter| letter.is_control() || moves_text(letter)),
                "`{line:?}`"
            );
            let is_told_apart = match mark {
                Some(mark) => line.starts_with(mark),
                // Without a terminal each backslash that passed stands doubled, so what begins with one alone, seen or not, is an escape.
                None if !is_terminal && first_shown(line) == Some('\\') => true,
                None => is_left_out(line) || line.starts_with('\\') || !begins_with_mark(line),
            };
            assert!(is_told_apart, "`{line}` is of another stream");
        }
    }
}

/// Whether a line stands for what is left out.
fn is_left_out(line: &str) -> bool {
    [FULL_SCREEN, LONG_STRING].into_iter().any(|[before, behind]| {
        let count = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind));
        count.is_some_and(|count| count.parse::<u64>().is_ok())
    })
}

#[cfg(test)]
mod tests;
