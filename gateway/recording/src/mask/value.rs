//! Where the bytes of a secret end, and what stands in their place.
//!
//! A mask has as many bytes as what it hides, so nothing behind it moves in the record, and as many columns, so nothing on the
//! screen moves either: `*` for ASCII; of other characters the width follows from their first byte (two bytes: one column;
//! East Asian and emoji: two), which is right for all but combining marks.

use std::ops::ControlFlow;

/// How a value ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// At a byte that is of no token.
    Token,
    /// At white space or a quote.
    Word,
    /// At this quote, or at the end of the line.
    Quoted(u8),
    /// At a backslash, since the quote in front had one; JSON within JSON.
    Escaped,
    /// At a quote or the end of the line.
    Line,
    /// At five dashes; so many were seen.
    Pem(u8),
    /// At what ends a password in a URL.
    Url,
}

/// How long a secret may be at most; behind that the record shows what passes.
pub(super) const fn longest(ending: Ending) -> u32 {
    match ending {
        Ending::Token => 16 << 10,
        Ending::Word | Ending::Quoted(_) | Ending::Escaped | Ending::Line => 4 << 10,
        Ending::Pem(_) => 32 << 10,
        Ending::Url => 256,
    }
}

/// What to do with a byte behind an introduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It belongs to the secret.
    Hide,
    /// It belongs to how the secret is shown.
    Show,
}

impl Ending {
    /// Judges a byte that is part of no escape sequence. `Break`: the secret has ended before it.
    pub(super) fn judge(&mut self, byte: u8) -> ControlFlow<(), Verdict> {
        if let Self::Pem(dashes) = self {
            return pem(dashes, byte);
        }
        if matches!(byte, 0x07 | 0x08) {
            return ControlFlow::Continue(Verdict::Show); // bell and backspace, of whoever edits a line
        }
        let is_over = match *self {
            Self::Token => !is_token(byte),
            Self::Word => is_blank(byte) || matches!(byte, b'"' | b'\'' | b'`'),
            Self::Quoted(quote) => byte == quote || is_control(byte),
            Self::Escaped => byte == b'\\' || is_control(byte),
            Self::Line => is_control(byte) || matches!(byte, b'"' | b'\''),
            Self::Url => is_blank(byte) || matches!(byte, b'@' | b'/' | b'"' | b'\'' | b'?' | b'#'),
            Self::Pem(_) => false,
        };
        if is_over {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(Verdict::Hide)
        }
    }
}

/// Lines and dashes stay; the fifth dash in a row is part of `-----END`. What cannot stand in a PEM block (RFC 1421 headers
/// included) ends it, so that the first line of one by itself hides only what looks like the next.
fn pem(dashes: &mut u8, byte: u8) -> ControlFlow<(), Verdict> {
    if byte == b'-' {
        *dashes = dashes.saturating_add(1);
        return if *dashes < 5 {
            ControlFlow::Continue(Verdict::Show)
        } else {
            ControlFlow::Break(())
        };
    }
    *dashes = 0;
    match byte {
        _ if is_blank(byte) => ControlFlow::Continue(Verdict::Show),
        b'+' | b'/' | b'=' | b':' | b',' | b'\\' => ControlFlow::Continue(Verdict::Hide),
        _ if byte.is_ascii_alphanumeric() => ControlFlow::Continue(Verdict::Hide),
        _ => ControlFlow::Break(()),
    }
}

/// Bytes of base64 (RFC 4648 §4 and §5), of JWTs and of the providers' tokens.
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+' | b'/' | b'=' | b'~')
}

pub(super) fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

pub(super) fn is_blank(byte: u8) -> bool {
    byte <= 0x20 || byte == 0x7f
}

/// What stands for characters of two bytes, of three, of three and two columns, of four and two columns.
const TWO: &[u8] = "·".as_bytes();
const THREE: &[u8] = "•".as_bytes();
const THREE_WIDE: &[u8] = "＊".as_bytes();
const FOUR_WIDE: &[u8] = "🔒".as_bytes();

/// Puts masks in the place of characters, byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Glyph {
    /// What is left of the mask of the character whose first byte was seen.
    left: &'static [u8],
}

impl Glyph {
    /// The byte in whose place this one stands.
    pub(super) fn over(&mut self, byte: u8) -> u8 {
        let whole = match byte {
            0x80..=0xbf => self.left,
            0xc0..=0xdf => TWO,
            0xe3..=0xed => THREE_WIDE,
            0xe0..=0xef => THREE,
            0xf0..=0xf7 => FOUR_WIDE,
            _ => &[],
        };
        let Some((first, rest)) = whole.split_first() else {
            self.left = &[];
            return b'*';
        };
        self.left = rest;
        *first
    }
}
