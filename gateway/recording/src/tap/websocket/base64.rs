//! Base64 read as it comes, with the limits of Go's `base64.StdEncoding`, which is what reads it at the other end: padding is
//! owed, line ends are nothing, and bits too many are dropped.

use super::super::Why;

/// Where within one encoded message its reader stands.
#[derive(Debug, Default)]
pub(super) struct Base64 {
    bits: u32,
    /// Characters of the unfinished group of four.
    have: u8,
    /// One `=` came and another is owed.
    owes_padding: bool,
    is_over: bool,
}

impl Base64 {
    /// Decodes `text` and hands on what it stands for, in pieces that are never empty.
    pub(super) fn feed(&mut self, mut text: &[u8], take: &mut dyn FnMut(&[u8])) -> Result<(), Why> {
        loop {
            if self.have == 0 && !self.is_over {
                text = groups(text, take);
            }
            let Some((character, rest)) = text.split_first() else {
                return Ok(());
            };
            text = rest;
            let whole = self.character(*character)?;
            let [_, group @ ..] = self.bits.to_be_bytes();
            if let Some(bytes @ [_, ..]) = group.get(..whole) {
                take(bytes);
            }
        }
    }

    /// # Errors
    /// The message ends within a group.
    pub(super) fn end(&self) -> Result<(), Why> {
        if self.have == 0 { Ok(()) } else { Err(INVALID) }
    }

    /// Takes one character; says how many bytes it makes whole.
    fn character(&mut self, character: u8) -> Result<usize, Why> {
        if matches!(character, b'\r' | b'\n') {
            return Ok(0);
        }
        if self.is_over {
            return Err(INVALID);
        }
        if character == b'=' {
            return self.padding();
        }
        let value = value(character).filter(|_| !self.owes_padding).ok_or(INVALID)?;
        self.bits = (self.bits << 6 | u32::from(value)) & 0x00ff_ffff;
        self.have = (self.have + 1) % 4;
        Ok(if self.have == 0 { 3 } else { 0 })
    }

    fn padding(&mut self) -> Result<usize, Why> {
        let bytes = match (self.have, self.owes_padding) {
            (2, false) => {
                self.owes_padding = true;
                return Ok(0);
            }
            (2, true) => 1,
            (3, false) => 2,
            _ => return Err(INVALID),
        };
        self.bits <<= 6 * (4 - u32::from(self.have));
        self.have = 0;
        self.is_over = true;
        Ok(bytes)
    }
}

/// Decodes the groups of four characters that `text` begins with and gives back the rest.
fn groups<'t>(mut text: &'t [u8], take: &mut dyn FnMut(&[u8])) -> &'t [u8] {
    let mut decoded = [[0_u8; 3]; GROUPS];
    loop {
        let (groups, _) = text.as_chunks::<4>();
        let mut len = 0;
        for (place, [a, b, c, d]) in decoded.iter_mut().zip(groups) {
            let (Some(a), Some(b), Some(c), Some(d)) = (value(*a), value(*b), value(*c), value(*d)) else {
                break;
            };
            *place = [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d];
            len += 1;
        }
        if len == 0 {
            return text;
        }
        take(decoded.get(..len).unwrap_or_default().as_flattened());
        text = text.get(4 * len..).unwrap_or_default();
    }
}

fn value(character: u8) -> Option<u8> {
    VALUES
        .get(usize::from(character))
        .copied()
        .filter(|value| *value != NO_VALUE)
}

/// What each character stands for (RFC 4648 §4).
const VALUES: [u8; 256] = {
    let mut values = [NO_VALUE; 256];
    let mut alphabet: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while let [character, rest @ ..] = alphabet {
        if let Some((_, [place, ..])) = values.split_at_mut_checked(*character as usize) {
            *place = value;
        }
        value += 1;
        alphabet = rest;
    }
    values
};
const NO_VALUE: u8 = 0xff;
const INVALID: Why = "a message that is not base64";
/// Decoded at once.
const GROUPS: usize = 256;
