//! Masking: known patterns of secrets are replaced before anything is kept.
//!
//! [`Masker::pass`] goes over bytes that were just copied into the open chunk and replaces in place. It remembers the last 60 bytes
//! of its channel, which is more than any introduction with what is looked up in front of it; a secret itself is masked as it
//! comes and needs no memory. So any way of cutting the same bytes gives the same record, in linear time.
//!
//! One thing is decided afterwards: digits behind `://host:` are a port or the beginning of a password. Up to five of them
//! are masked and put back when the URL goes on as after a port; if a chunk was closed in between, they stay masked.

mod counts;
mod escape;
mod patterns;
mod recent;
mod value;

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

pub(crate) use counts::Counts;
use escape::{Escape, Piece};
pub use patterns::Secret;
use patterns::{INTRODUCTIONS, Introduction, LONGEST, Then};
use recent::Recent;
use value::{Ending, Glyph, Verdict, is_blank, is_control, longest};

/// Masks one channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masker {
    state: State,
    escape: Escape,
    recent: Recent,
    glyph: Glyph,
    secret: Option<Secret>,
    /// How many bytes the state may still last.
    left: u32,
    was_counted: bool,
    port: Port,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// For the next introduction.
    #[default]
    Search,
    /// Behind a word such as `secret`: what may still belong to the word.
    Word { tail: Tail, is_flag: bool },
    /// Behind the word.
    Before { ends: Unquoted, is_flag: bool },
    /// Behind `=` or `:`.
    After { ends: Unquoted, is_escaped: bool },
    /// In the secret.
    Value(Ending),
    /// Behind `://`.
    User,
    /// Behind `://…:`.
    Port,
}

/// How far a value goes that has no quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unquoted {
    ToBlank,
    ToLineEnd,
}

/// `secret_key`, `SECRET_ACCESS_KEY`, `tokenKey`: how much of the tail was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Nothing,
    Key(u8),
    Access(u8),
}

/// Digits that may be a port: where they stand in the open chunk, and what they were.
#[derive(Clone, Copy, Debug, Default)]
struct Port {
    digits: [Option<(usize, u8)>; 5],
    seen: u8,
}

/// Between a word and its value there is seldom more than a quote, a colon and a blank.
const GAP: u32 = 64;

/// Editors draw what they show in pieces: a value in quotes goes on behind a move of the cursor, for so many bytes at most.
const DRAWN_ON: u32 = 128;

static SEARCH: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostFirst)
        .build(INTRODUCTIONS.iter().map(|introduction| introduction.text))
        .ok()
});

impl Masker {
    /// Masks `buffer[from..]`, the bytes that the channel carries next.
    pub(crate) fn pass(&mut self, buffer: &mut [u8], from: usize, found: &mut Counts) {
        let mut at = from;
        while let Some(byte) = buffer.get(at).copied() {
            if self.state == State::Search {
                at = self.search(buffer, at);
            } else {
                self.step(byte, at, buffer, found);
                at = at.saturating_add(1);
            }
        }
    }

    /// The open chunk is closed: what may be a port stays masked, and counts.
    pub(crate) fn cut(&mut self, found: &mut Counts) {
        if self.port.seen > 0 && !self.was_counted {
            self.count(found);
        }
        self.port.digits = [None; 5];
    }

    /// Goes on to the end of the next introduction, or of the bytes.
    fn search(&mut self, buffer: &[u8], at: usize) -> usize {
        let bytes = buffer.get(at..).unwrap_or_default();
        let Some((length, introduction)) = self.across(bytes).or_else(|| first(bytes)) else {
            self.recent.extend(bytes);
            return buffer.len();
        };
        self.recent.extend(bytes.get(..length).unwrap_or_default());
        self.begin(introduction);
        at.saturating_add(length)
    }

    /// An introduction that began in an earlier piece: how many of these bytes it needs.
    fn across(&self, bytes: &[u8]) -> Option<(usize, &'static Introduction)> {
        let fresh = self.recent.fresh();
        if fresh.is_empty() {
            return None;
        }
        let mut joint = [0; Recent::SIZE + LONGEST];
        let head = bytes.get(..bytes.len().min(LONGEST))?;
        let length = fresh.len().checked_add(head.len())?;
        joint.get_mut(..fresh.len())?.copy_from_slice(fresh);
        joint.get_mut(fresh.len()..length)?.copy_from_slice(head);
        // What is whole within a secret that has ended is past; what began there may end here.
        let mut from = 0;
        loop {
            let (start, end, introduction) = find(joint.get(from..length)?)?;
            match from.checked_add(end)?.checked_sub(fresh.len()) {
                Some(0) | None => from = from.checked_add(start)?.checked_add(1)?,
                Some(needed) => return Some((needed, introduction)),
            }
        }
    }

    fn begin(&mut self, introduction: &Introduction) {
        self.secret = Some(introduction.secret);
        self.was_counted = false;
        self.escape = Escape::Outside;
        self.left = GAP;
        let before = self.recent.before(introduction.text.len());
        let state = match introduction.then {
            Then::Token => State::Value(Ending::Token),
            Then::WordToken if before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()) => {
                State::Value(Ending::Token)
            }
            Then::Pem if recent::ends_a_begin(before) => State::Value(Ending::Pem(0)),
            Then::WordToken | Then::Pem => State::Search,
            Then::Value => State::Word {
                tail: Tail::Nothing,
                is_flag: recent::is_in_a_flag(before),
            },
            Then::Line => State::Before {
                ends: Unquoted::ToLineEnd,
                is_flag: false,
            },
            Then::Url => State::User,
        };
        match state {
            State::Value(ending) => self.begin_value(ending),
            State::User => self.left = longest(Ending::Url),
            _ => {}
        }
        self.state = state;
        self.recent.restart();
    }

    fn begin_value(&mut self, ending: Ending) {
        self.state = State::Value(ending);
        self.left = longest(ending);
        self.glyph = Glyph::default();
    }

    /// One byte behind an introduction.
    fn step(&mut self, byte: u8, at: usize, buffer: &mut [u8], found: &mut Counts) {
        self.recent.push(byte);
        if let State::Value(ending) = self.state {
            return self.in_value(ending, byte, at, buffer, found);
        }
        if let Some(introduction) = ends_here(self.recent.fresh()) {
            self.leave_port(buffer, byte, found);
            self.begin(introduction);
            return;
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 && self.state != State::Port {
            self.state = State::Search;
            return;
        }
        match self.state {
            State::Word { tail, is_flag } => self.in_word(tail, is_flag, byte),
            State::Before { ends, is_flag } => self.before(ends, is_flag, byte),
            State::After { ends, is_escaped } => self.after(ends, is_escaped, byte, at, buffer, found),
            State::User => self.in_user(byte),
            State::Port => self.in_port(byte, at, buffer, found),
            State::Search | State::Value(_) => {}
        }
    }

    fn in_word(&mut self, tail: Tail, is_flag: bool, byte: u8) {
        let next = match (tail, byte.to_ascii_lowercase()) {
            (_, b'_' | b'-') => Some(tail),
            (Tail::Nothing, b'k') | (Tail::Access(6), b'k') => Some(Tail::Key(1)),
            (Tail::Key(1), b'e') => Some(Tail::Key(2)),
            (Tail::Key(2), b'y') => Some(Tail::Key(3)),
            (Tail::Nothing, b'a') => Some(Tail::Access(1)),
            (Tail::Access(seen), letter) if b"access".get(usize::from(seen)) == Some(&letter) => {
                Some(Tail::Access(seen.saturating_add(1)))
            }
            _ => None,
        };
        let is_whole = matches!(tail, Tail::Nothing | Tail::Key(3));
        match next {
            Some(tail) => self.state = State::Word { tail, is_flag },
            None if is_whole => self.before(Unquoted::ToBlank, is_flag, byte),
            None => self.state = State::Search,
        }
    }

    fn before(&mut self, ends: Unquoted, is_flag: bool, byte: u8) {
        self.state = match (self.escape.take(byte), byte) {
            (Piece::Sequence, _) => State::Before { ends, is_flag },
            (Piece::Plain, b':' | b'=') => State::After {
                ends,
                is_escaped: false,
            },
            (Piece::Plain, b' ') if is_flag => State::After {
                ends,
                is_escaped: false,
            },
            (Piece::Plain, b' ' | b'\t' | b'"' | b'\'' | b'\\') => State::Before { ends, is_flag },
            (Piece::Plain | Piece::Elsewhere, _) => State::Search,
        };
    }

    fn after(&mut self, ends: Unquoted, is_escaped: bool, byte: u8, at: usize, buffer: &mut [u8], found: &mut Counts) {
        self.state = match (self.escape.take(byte), byte) {
            (Piece::Sequence, _) => State::After { ends, is_escaped },
            (Piece::Plain, b' ' | b'\t' | b':' | b'=' | b'>') => State::After { ends, is_escaped },
            (Piece::Plain, b'\\') => State::After { ends, is_escaped: true },
            (Piece::Plain, b'"' | b'\'') => {
                let ending = if is_escaped {
                    Ending::Escaped
                } else {
                    Ending::Quoted(byte)
                };
                return self.begin_value(ending);
            }
            (Piece::Plain, b'{' | b'[') | (Piece::Elsewhere, _) => State::Search,
            (Piece::Plain, _) if is_control(byte) => State::Search,
            (Piece::Plain, _) => {
                let ending = match ends {
                    Unquoted::ToBlank => Ending::Word,
                    Unquoted::ToLineEnd => Ending::Line,
                };
                self.begin_value(ending);
                return self.in_value(ending, byte, at, buffer, found);
            }
        };
    }

    fn in_value(&mut self, mut ending: Ending, byte: u8, at: usize, buffer: &mut [u8], found: &mut Counts) {
        self.left = self.left.saturating_sub(1);
        let verdict = match self.escape.take(byte) {
            Piece::Sequence => ControlFlow::Continue(Verdict::Show),
            Piece::Elsewhere if matches!(ending, Ending::Pem(_)) => ControlFlow::Continue(Verdict::Show),
            Piece::Elsewhere if matches!(ending, Ending::Quoted(_)) => {
                self.left = self.left.min(DRAWN_ON);
                ControlFlow::Continue(Verdict::Show)
            }
            Piece::Elsewhere => ControlFlow::Break(()),
            Piece::Plain => ending.judge(byte),
        };
        match verdict {
            ControlFlow::Continue(verdict) if self.left > 0 => {
                self.state = State::Value(ending);
                if verdict == Verdict::Hide {
                    self.hide(byte, at, buffer, found);
                }
            }
            ControlFlow::Continue(_) | ControlFlow::Break(()) => {
                self.state = State::Search;
                if let Some(introduction) = ends_here(self.recent.fresh()) {
                    self.begin(introduction); // `token: Bearer …`
                }
            }
        }
    }

    fn hide(&mut self, byte: u8, at: usize, buffer: &mut [u8], found: &mut Counts) {
        if !self.was_counted {
            self.count(found);
        }
        if let Some(place) = buffer.get_mut(at) {
            *place = self.glyph.over(byte);
        }
    }

    fn count(&mut self, found: &mut Counts) {
        self.was_counted = true;
        if let Some(secret) = self.secret {
            found.add(secret);
        }
    }

    fn in_user(&mut self, byte: u8) {
        self.state = match byte {
            b':' => {
                self.port = Port::default();
                State::Port
            }
            b'@' | b'/' | b'"' | b'\'' | b'?' | b'#' | b'[' => State::Search,
            _ if is_blank(byte) => State::Search,
            _ => State::User,
        };
    }

    fn in_port(&mut self, byte: u8, at: usize, buffer: &mut [u8], found: &mut Counts) {
        if byte.is_ascii_digit()
            && let Some(digit) = self.port.digits.get_mut(usize::from(self.port.seen))
        {
            *digit = Some((at, byte));
            self.port.seen = self.port.seen.saturating_add(1);
            if let Some(place) = buffer.get_mut(at) {
                *place = b'*';
            }
            return;
        }
        let is_password = self.leave_port(buffer, byte, found);
        self.state = State::Search;
        if is_password && byte != b'@' {
            self.begin_value(Ending::Url);
            self.in_value(Ending::Url, byte, at, buffer, found);
        }
    }

    /// The digits are followed by `next`: a password's stay masked, a port's come back.
    fn leave_port(&mut self, buffer: &mut [u8], next: u8, found: &mut Counts) -> bool {
        if self.state != State::Port {
            return false;
        }
        let is_port = is_blank(next) || b"/\"'?#,;)]}>\\`*".contains(&next);
        for (place, digit) in self.port.digits.iter().flatten() {
            if let Some(place) = buffer.get_mut(*place).filter(|_| is_port) {
                *place = *digit;
            }
        }
        if !is_port && self.port.seen > 0 && !self.was_counted {
            self.count(found);
        }
        self.port = Port::default();
        !is_port
    }
}

/// Masks a text that stands by itself.
pub(crate) fn mask_text(text: &mut [u8], found: &mut Counts) {
    let mut masker = Masker::default();
    masker.pass(text, 0, found);
    masker.cut(found);
}

/// The first introduction in these bytes: where it begins and ends, and which.
fn find(bytes: &[u8]) -> Option<(usize, usize, &'static Introduction)> {
    let found = SEARCH.as_ref()?.find(bytes)?;
    let introduction = INTRODUCTIONS.get(found.pattern().as_usize())?;
    Some((found.start(), found.end(), introduction))
}

fn first(bytes: &[u8]) -> Option<(usize, &'static Introduction)> {
    find(bytes).map(|(_, end, introduction)| (end, introduction))
}

fn ends_here(bytes: &[u8]) -> Option<&'static Introduction> {
    INTRODUCTIONS
        .iter()
        .find(|introduction| bytes.ends_with(introduction.text.as_bytes()))
}
