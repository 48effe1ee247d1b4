//! Escape sequences of a terminal (ECMA 48) between the bytes of a secret: they pass, since the screen would break without them.

/// Where in a sequence the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Escape {
    /// In none.
    #[default]
    Outside,
    /// Behind ESC.
    Begun,
    /// Behind `ESC [`.
    Control,
}

/// What a byte was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Of no sequence.
    Plain,
    /// Part of a sequence.
    Sequence,
    /// The end of a sequence that goes on elsewhere on the screen.
    Elsewhere,
}

impl Escape {
    pub(super) fn take(&mut self, byte: u8) -> Piece {
        let (next, piece) = match (*self, byte) {
            (Self::Outside, 0x1b) => (Self::Begun, Piece::Sequence),
            (Self::Outside, _) => (Self::Outside, Piece::Plain),
            (Self::Begun, b'[') => (Self::Control, Piece::Sequence),
            // A window title and other strings are a text of their own.
            (Self::Begun, b']' | b'P' | b'_' | b'^' | b'X') => (Self::Outside, Piece::Elsewhere),
            (Self::Begun, 0x20..=0x2f | 0x1b) => (Self::Begun, Piece::Sequence),
            (Self::Begun, _) => (Self::Outside, Piece::Sequence),
            (Self::Control, 0x40..=0x7e) if moves_away(byte) => (Self::Outside, Piece::Elsewhere),
            (Self::Control, 0x40..=0x7e) => (Self::Outside, Piece::Sequence),
            (Self::Control, 0x20..=0x3f) => (Self::Control, Piece::Sequence),
            (Self::Control, _) => (Self::Outside, Piece::Elsewhere),
        };
        *self = next;
        piece
    }
}

/// Cursor to another line, or a screen wiped: what comes is not the next byte of the same text.
fn moves_away(last: u8) -> bool {
    matches!(last, b'A' | b'B' | b'E' | b'F' | b'G' | b'H' | b'J' | b'd' | b'f')
}
