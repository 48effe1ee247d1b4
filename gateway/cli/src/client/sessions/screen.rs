//! The terminal while it shows what another one showed.
//!
//! Invariant: however showing ends, by its end, by Ctrl-C or by an error, the terminal is left as a shell expects one.

use std::io::{self, IsTerminal as _, Stdout, Write};
use std::time::Duration;

use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::time::{Instant, sleep};

use super::harmless::Harmless;
use crate::terminal::{Reader, Unwritten, hand};

/// Where something is drawn.
pub(super) trait Terminal: Write {
    /// Whether there is a terminal at all; else bytes go to a file or a pipe and nothing but them does.
    fn is_there(&self) -> bool;
    /// Columns and lines that it has now; none when it does not know.
    fn size(&self) -> Option<(u16, u16)>;
    /// Lets bytes through as they are and shows nothing that is typed.
    fn let_through(&mut self);
    /// Undoes that.
    fn put_back(&mut self);
}

/// This process' own, on standard output.
#[derive(Debug)]
pub(super) struct Own {
    out: Stdout,
    before: Option<Termios>,
}

impl Own {
    pub(super) fn new() -> Self {
        Self {
            out: io::stdout(),
            before: None,
        }
    }
}

impl Write for Own {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Terminal for Own {
    fn is_there(&self) -> bool {
        self.out.is_terminal()
    }

    fn size(&self) -> Option<(u16, u16)> {
        let (columns, lines) = terminal_size::terminal_size_of(&self.out)?;
        Some((columns.0, lines.0))
    }

    fn let_through(&mut self) {
        let Ok(before) = tcgetattr(&self.out) else { return };
        let mut during = before.clone();
        during.output_flags.remove(OutputFlags::OPOST);
        // Ctrl-C still ends it; other keys would be drawn between what is played.
        during.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
        // A terminal that takes no settings shows it all the same.
        let _ = tcsetattr(&self.out, SetArg::TCSADRAIN, &during);
        self.before = Some(before);
    }

    fn put_back(&mut self) {
        if let Some(before) = self.before.take() {
            // What was recorded may have asked the terminal something (where its cursor is, what it can): the answer stands
            // where keys do, and no shell shall read it.
            let _ = tcsetattr(&self.out, SetArg::TCSAFLUSH, &before);
        }
    }
}

/// What of the bytes that were recorded is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passing {
    /// What draws.
    Harmless,
    /// Every byte. For whoever keeps them, never for a terminal.
    Raw,
}

/// A terminal that shows what the recorded one did. Put back when dropped.
#[derive(Debug)]
pub(super) struct Screen<T: Terminal> {
    terminal: T,
    /// The recorded process wrote for a terminal, so that line feeds are only that.
    is_raw: bool,
    has_begun: bool,
    /// What the terminal is told before anything else; empty when it was.
    opening: &'static [u8],
    sizes: Sizes,
    passing: Passing,
    harmless: Harmless,
}

/// What is known of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sizes {
    /// It has not been asked for another one.
    Own,
    /// It was, and takes them as far as one can see; before it had this one.
    Asked { before: Option<(u16, u16)> },
    /// It does not take any.
    Refuses { wanted: (u16, u16) },
}

/// How long a terminal is given to take a size that it was asked for.
const TAKES_WITHIN: Duration = Duration::from_millis(250);
const LOOKS_EVERY: Duration = Duration::from_millis(10);
/// No window is larger; what a recording says is not trusted with the memory of whoever plays it.
const LARGEST: u16 = 1_000;

/// What a recorded terminal begins with, whatever the person's own is in: no colours, nothing protected, plain letters, no inserting, no
/// margins, lines that break and do not break backwards, a cursor. How the screen and the cursor look (reversed, blinking) and
/// whether lines break backwards is kept first, where the terminal can (XTSAVE); nothing that passes touches what was kept.
const AT_FIRST: &[u8] =
    b"\x1b[?5;12;45s\x1b[0m\x1b[0\"q\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b}\x1b[4l\x1b[20l\x1b7\x1b[?69l\x1b[r\x1b8\
\x1b[?7h\x1b[?45l\x1b[?25h";
/// What of that which passes ([`Harmless`]) may be left: a sequence in its middle, the other screen, colours, letters that cannot be
/// erased or are lines (in all four sets, and which of them are used), inserting, line feeds that begin a line, reversed colours, margins
/// on all sides, breaks of lines, the cursor. The cursor is kept first: whoever leaves the other screen without being in it would be put
/// where it was kept last. What cannot be set (keys, mouse, paste, the ways of a VT52) is not taken back either: it is the person's own.
/// Hence no soft reset (`CSI ! p`) here, which would take back how keys are told. What not every recording leaves is in [`Left`].
const AS_USUAL: &[u8] =
    b"\x18\x1b\\\x1b7\x1b[?1049l\x1b[?2026l\x1b[0m\x1b[0\"q\x1b(B\x1b)B\x1b*B\x1b+B\x0f\x1b}\x1b[4l\x1b[20l\x1b[?5l\x1b7\x1b[?69l\x1b[r\x1b8\
\x1b[?7h\x1b[?45l\x1b[?12l\x1b[?25h\x1b[34h";
/// What was kept at first.
const OWN_AGAIN: &[u8] = b"\x1b[?5;12;45r";
/// Positions count from the screen's corner again. That puts the cursor there, so it is put at the last line; and what was kept
/// of it before is not to bring the mode back.
const FROM_THE_CORNER: &[u8] = b"\x1b[?6l\x1b[999H\x1b7";
/// Lines may be of double size; the next one, below all, is not.
const BELOW_ALL: &[u8] = b"\x1b[999H";
/// The shape that the person has set.
const OWN_SHAPE: &[u8] = b"\x1b[0 q";
/// Where a terminal does not know its size.
const USUAL_COLUMNS: u16 = 80;

impl<T: Terminal> Screen<T> {
    /// Nothing is changed before something is shown.
    pub(super) fn new(terminal: T, is_raw: bool, passing: Passing) -> Self {
        Self {
            terminal,
            is_raw,
            passing,
            has_begun: false,
            opening: AT_FIRST,
            sizes: Sizes::Own,
            harmless: Harmless::default(),
        }
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Columns and lines of the window.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        self.terminal.size().filter(|_| self.terminal.is_there())
    }

    /// Draws what was recorded, and nothing that would do more than draw: behind a pipe there may be a terminal, too.
    pub(super) fn show(&mut self, bytes: &[u8]) -> Result<Reader, Unwritten> {
        self.begin();
        match self.passing {
            Passing::Raw if !self.terminal.is_there() => hand(&mut self.terminal, bytes),
            Passing::Raw | Passing::Harmless => {
                let drawn = self.harmless.pass(bytes);
                self.tell(&drawn)
            }
        }
    }

    /// Asks the window for the size that the recorded one had (xterm's `CSI 8 t`), and sees whether it takes it: a screen of
    /// another size breaks lines and scrolls elsewhere.
    pub(super) async fn take_size(&mut self, columns: u16, lines: u16) {
        let is_one = (1..=LARGEST).contains(&columns) && (1..=LARGEST).contains(&lines);
        if !is_one || !self.is_raw || !self.terminal.is_there() {
            return;
        }
        self.begin();
        let now = self.terminal.size();
        self.sizes = match self.sizes {
            Sizes::Refuses { .. } => Sizes::Refuses {
                wanted: (columns, lines),
            },
            known if now == Some((columns, lines)) => known,
            Sizes::Own => Sizes::Asked { before: now },
            asked @ Sizes::Asked { .. } => asked,
        };
        if now == Some((columns, lines)) || matches!(self.sizes, Sizes::Refuses { .. }) {
            return;
        }
        // Where it cannot be written, what comes next says so.
        let _ = self.tell(&ask_for(columns, lines));
        if now.is_some() && !self.has_taken(columns, lines).await {
            self.sizes = Sizes::Refuses {
                wanted: (columns, lines),
            };
        }
    }

    /// The size that this terminal would have to have and did not take.
    pub(super) fn refused_size(&self) -> Option<(u16, u16)> {
        match self.sizes {
            Sizes::Refuses { wanted } if self.size() != Some(wanted) => Some(wanted),
            Sizes::Refuses { .. } | Sizes::Own | Sizes::Asked { .. } => None,
        }
    }

    async fn has_taken(&self, columns: u16, lines: u16) -> bool {
        let until = Instant::now() + TAKES_WITHIN;
        loop {
            if self.terminal.size() == Some((columns, lines)) {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            sleep(LOOKS_EVERY).await;
        }
    }

    /// Behind what a terminal is told at first.
    fn tell(&mut self, bytes: &[u8]) -> Result<Reader, Unwritten> {
        if !self.terminal.is_there() {
            return hand(&mut self.terminal, bytes);
        }
        let opening = std::mem::take(&mut self.opening);
        hand(&mut self.terminal, &[opening, bytes].concat())
    }

    /// How many bytes stood in control strings that no terminal draws: of a terminal's output in long ones, or in one without an end.
    pub(super) fn not_drawn(&self) -> u64 {
        self.harmless.not_drawn(self.is_raw)
    }

    /// What puts the terminal back.
    fn closing(&self) -> Vec<u8> {
        let left = self.harmless.left();
        let mut last = AS_USUAL.to_vec();
        if self.opening.is_empty() {
            last.extend_from_slice(OWN_AGAIN);
        }
        // Each brings back colours; the last are none.
        if left.kept_colours > 0 {
            last.extend(b"\x1b[#}".repeat(left.kept_colours.into()));
            last.extend_from_slice(b"\x1b[0m");
        }
        if left.cursor_shape {
            last.extend_from_slice(OWN_SHAPE);
        }
        if left.origin {
            last.extend_from_slice(FROM_THE_CORNER);
        }
        if left.large_lines {
            last.extend_from_slice(BELOW_ALL);
        }
        last.extend_from_slice(b"\r\n");
        if left.tabs {
            last.extend(usual_tabs(self.size().map_or(USUAL_COLUMNS, |(columns, _)| columns)));
        }
        last
    }

    fn begin(&mut self) {
        if !self.has_begun && self.is_raw && self.terminal.is_there() {
            self.terminal.let_through();
        }
        self.has_begun = true;
    }
}

impl<T: Terminal> Drop for Screen<T> {
    fn drop(&mut self) {
        if !self.has_begun || !self.terminal.is_there() {
            return;
        }
        let mut last = self.closing();
        if let Sizes::Asked {
            before: Some((columns, lines)),
        } = self.sizes
        {
            last.extend(ask_for(columns, lines));
        }
        // A terminal that has gone needs nothing.
        let _ = hand(&mut self.terminal, &last);
        self.terminal.put_back();
    }
}

fn ask_for(columns: u16, lines: u16) -> Vec<u8> {
    format!("\x1b[8;{lines};{columns}t").into_bytes()
}

/// One in each eighth column: by hand, and for terminals that know it (DECST8C) in those columns, too, that the window does not have now.
fn usual_tabs(columns: u16) -> Vec<u8> {
    let stops = (9..=columns).step_by(8);
    let stops: String = stops.map(|column| format!("\x1b[{column}G\x1bH")).collect();
    format!("\x1b[3g{stops}\r\x1b[?5W").into_bytes()
}
