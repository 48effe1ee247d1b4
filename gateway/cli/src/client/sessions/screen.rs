//! The terminal while it shows what another one showed.

use std::io::{IsTerminal as _, Stdout, Write as _};

use nix::sys::termios::{LocalFlags, OutputFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// Standard output, as the recorded terminal was: bytes go through as they are. Put back when dropped.
pub(super) struct Screen {
    out: Stdout,
    before: Option<Termios>,
    is_terminal: bool,
}

/// Colours, cursor, main screen, mouse and pasting as usual; a new line.
const AS_USUAL: &[u8] =
    b"\x1b[0m\x1b[?25h\x1b[?1049l\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?7h\x1b>\r\n";

impl Screen {
    /// `raw`: the recorded process wrote for a terminal, so that line feeds are only that.
    pub(super) fn begin(raw: bool) -> Self {
        let out = std::io::stdout();
        let is_terminal = out.is_terminal();
        let before = tcgetattr(&out).ok().filter(|_| is_terminal && raw);
        if let Some(before) = &before {
            let mut during = before.clone();
            during.output_flags.remove(OutputFlags::OPOST);
            // Ctrl-C still ends it; other keys would be drawn between what is played.
            during.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
            // A terminal that takes no settings shows it all the same.
            let _ = tcsetattr(&out, SetArg::TCSADRAIN, &during);
        }
        Self {
            out,
            before,
            is_terminal,
        }
    }

    /// False when nobody reads.
    pub(super) fn show(&mut self, bytes: &[u8]) -> bool {
        let mut out = self.out.lock();
        out.write_all(bytes).and_then(|()| out.flush()).is_ok()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = self.show(AS_USUAL);
        }
        if let Some(before) = &self.before {
            let _ = tcsetattr(&self.out, SetArg::TCSADRAIN, before);
        }
    }
}
