//! JSON (RFC 8259), read strictly and in one pass, with texts borrowed from the body.
//!
//! A reader of our own for what serde_json hides: numbers as they were written, keys that stand twice, depth and width limits while
//! reading and not after. What readers see differently (invalid UTF-8, half a surrogate pair) is refused.

use std::borrow::Cow;

use crate::value::{Member, Room, Value, Why};

/// Reads one document and nothing after it.
pub(crate) fn read<'a>(bytes: &'a [u8], room: &mut Room) -> Result<Value<'a>, Why> {
    let text = std::str::from_utf8(bytes).map_err(|_| Why::NotUtf8)?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(room)?;
    reader.space();
    if reader.at == text.len() {
        Ok(value)
    } else {
        Err(Why::Malformed)
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at = self.at.saturating_add(1);
        }
    }

    /// The next byte that is no space, taken if it is this one.
    fn taken(&mut self, wanted: u8) -> bool {
        self.space();
        let is_there = self.peek() == Some(wanted);
        self.at = self.at.saturating_add(usize::from(is_there));
        is_there
    }

    fn expect(&mut self, wanted: u8) -> Result<(), Why> {
        if self.taken(wanted) {
            Ok(())
        } else {
            Err(Why::Malformed)
        }
    }

    fn value(&mut self, room: &mut Room) -> Result<Value<'a>, Why> {
        room.take()?;
        self.space();
        match self.peek().ok_or(Why::Malformed)? {
            b'{' => self.object(room),
            b'[' => self.list(room),
            b'"' => Ok(Value::Text(self.string()?)),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Result<Value<'a>, Why> {
        let rest = self.text.get(self.at..).ok_or(Why::Malformed)?;
        if !rest.starts_with(word) {
            return Err(Why::Malformed);
        }
        self.at = self.at.saturating_add(word.len());
        Ok(value)
    }

    fn object(&mut self, room: &mut Room) -> Result<Value<'a>, Why> {
        room.enter()?;
        self.expect(b'{')?;
        let mut members = Vec::new();
        if !self.taken(b'}') {
            loop {
                self.space();
                let key = self.string()?;
                self.expect(b':')?;
                let value = self.value(room)?;
                members.push(Member { key, value });
                if self.taken(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        room.leave();
        room.each_once(&mut members)?;
        Ok(Value::Object(members))
    }

    fn list(&mut self, room: &mut Room) -> Result<Value<'a>, Why> {
        room.enter()?;
        self.expect(b'[')?;
        let mut items = Vec::new();
        if !self.taken(b']') {
            loop {
                items.push(self.value(room)?);
                if self.taken(b']') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        room.leave();
        Ok(Value::List(items))
    }

    fn number(&mut self) -> Result<Value<'a>, Why> {
        let begin = self.at;
        let _ = self.sign(b"-");
        match self.digits()? {
            // No zero in front: `012` is no number.
            digits if digits > 1 && self.text.as_bytes().get(self.at.saturating_sub(digits)) == Some(&b'0') => {
                return Err(Why::Malformed);
            }
            _ => {}
        }
        if self.sign(b".") {
            self.digits()?;
        }
        if self.sign(b"eE") {
            let _ = self.sign(b"+-");
            self.digits()?;
        }
        let text = self.text.get(begin..self.at).ok_or(Why::Malformed)?;
        Ok(Value::Number(Cow::Borrowed(text)))
    }

    fn sign(&mut self, any_of: &[u8]) -> bool {
        let is_there = self.peek().is_some_and(|byte| any_of.contains(&byte));
        self.at = self.at.saturating_add(usize::from(is_there));
        is_there
    }

    /// How many; at least one.
    fn digits(&mut self) -> Result<usize, Why> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at = self.at.saturating_add(1);
        }
        let count = self.at.saturating_sub(begin);
        if count == 0 { Err(Why::Malformed) } else { Ok(count) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Why> {
        self.expect(b'"')?;
        let rest = self.text.get(self.at..).ok_or(Why::Malformed)?;
        let plain = plain_length(rest.as_bytes());
        let head = rest.get(..plain).ok_or(Why::Malformed)?;
        self.at = self.at.saturating_add(plain);
        if self.peek() == Some(b'"') {
            self.at = self.at.saturating_add(1);
            return Ok(Cow::Borrowed(head));
        }
        let mut text = head.to_owned();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at = self.at.saturating_add(1);
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    self.at = self.at.saturating_add(1);
                    text.push(self.escape()?);
                }
                // Control characters have to be escaped.
                Some(0x20..) => {
                    let rest = self.text.get(self.at..).ok_or(Why::Malformed)?;
                    let plain = plain_length(rest.as_bytes());
                    text.push_str(rest.get(..plain).ok_or(Why::Malformed)?);
                    self.at = self.at.saturating_add(plain);
                }
                _ => return Err(Why::Malformed),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Why> {
        let escape = self.peek().ok_or(Why::Malformed)?;
        self.at = self.at.saturating_add(1);
        Ok(match escape {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Why::Malformed),
        })
    }

    fn unicode(&mut self) -> Result<char, Why> {
        let first = self.four()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        // Go puts U+FFFD in the place of half a pair; others keep it or refuse it.
        if !(0xd800..0xdc00).contains(&first) || !self.sign(b"\\") || !self.sign(b"u") {
            return Err(Why::NotUtf8);
        }
        let second = self.four()?;
        let low = second
            .checked_sub(0xdc00)
            .filter(|low| *low < 0x400)
            .ok_or(Why::NotUtf8)?;
        let pair = 0x1_0000_u32.saturating_add((first.saturating_sub(0xd800) << 10) | low);
        char::from_u32(pair).ok_or(Why::NotUtf8)
    }

    fn four(&mut self) -> Result<u32, Why> {
        let end = self.at.saturating_add(4);
        let digits = self.text.get(self.at..end).ok_or(Why::Malformed)?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Why::Malformed);
        }
        self.at = end;
        u32::from_str_radix(digits, 16).map_err(|_| Why::Malformed)
    }
}

/// How many bytes stand for themselves. Ends at a quote, a backslash or a control character, never inside a character.
fn plain_length(bytes: &[u8]) -> usize {
    let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    bytes.iter().position(special).unwrap_or(bytes.len())
}

/// Writes a text with its quotes: as a whole what stands for itself.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    // It ends before a byte of ASCII, so that both halves are texts.
    while let Some((plain, special)) = rest.split_at_checked(plain_length(rest.as_bytes())) {
        out.push_str(plain);
        let mut after = special.chars();
        let Some(character) = after.next() else { break };
        write_escaped(character, out);
        rest = after.as_str();
    }
    out.push('"');
}

fn write_escaped(character: char, out: &mut String) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        control => {
            let code = u32::from(control);
            out.push_str("\\u00");
            for shift in [4, 0] {
                out.push(char::from_digit((code >> shift) & 0xf, 16).unwrap_or('0'));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What is written is what serde_json writes, and is read as it was.
        #[test]
        fn a_text_is_written_as_others_write_it(text in any::<String>(), controls in "[\\x00-\\x22\\\\\\x7fé😀]{0,20}") {
            for text in [&text, &controls, &format!("{text}{controls}{text}")] {
                let mut out = String::new();
                write_text(text, &mut out);
                let read = read(out.as_bytes(), &mut Room::new(1, 1));
                prop_assert!(matches!(&read, Ok(Value::Text(known)) if known == text.as_str()), "{out}");
                let theirs: String = serde_json::from_str(&out).unwrap();
                prop_assert_eq!(&theirs, text);
            }
        }
    }
}
