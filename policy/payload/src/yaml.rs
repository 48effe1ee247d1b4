//! YAML, as far as all readers agree on it.
//!
//! The API server reads YAML 1.1 and makes JSON of it, other readers 1.2. What differs is not guessed: anchors, aliases, tags, merge
//! keys, several documents, keys that stand twice or are no texts, and characters that end a line for some make the body opaque ([`Why::ManyReadings`]), and a plain word
//! that only some readers take for a text is masked wherever it stands. As aliases are never followed, none can blow a body up.

use std::borrow::Cow;

use granit_parser::{Event, Parser, ScalarStyle, StrInput};

use crate::value::{Member, Room, Value, Why};

/// Reads one document.
pub(crate) fn read(bytes: &[u8], room: &mut Room) -> Result<Value<'static>, Why> {
    let text = std::str::from_utf8(bytes).map_err(|_| Why::NotUtf8)?;
    if has_ends_of_lines_to_some(text) {
        return Err(Why::ManyReadings);
    }
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
    };
    let Some(Event::DocumentStart(..)) = reader.next()? else {
        return Err(Why::Malformed);
    };
    let first = reader.next()?.ok_or(Why::Malformed)?;
    let root = reader.node(first, room)?;
    while let Some(event) = reader.next()? {
        if matches!(event, Event::DocumentStart(..)) {
            return Err(Why::ManyReadings);
        }
    }
    Ok(root)
}

/// Whether a character stands in it that ends a line for one reader and not for another: U+0085, U+2028 and U+2029 do in YAML 1.1 (the API
/// server's), not in 1.2; a carriage return alone does in both and in few editors; a byte order mark is skipped by some wherever it stands.
/// What is a comment to one is then a member to the other.
fn has_ends_of_lines_to_some(text: &str) -> bool {
    let mut before = ' ';
    let mut is_return = false;
    for character in text.chars() {
        is_return = before == '\r' && character != '\n';
        if is_return || matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') {
            return true;
        }
        before = character;
    }
    is_return || before == '\r'
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Event<'a>>, Why> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..) | Event::StreamStart, _))) => {}
                Some(Ok((event, _))) => return Ok(Some(event)),
                Some(Err(_)) => return Err(Why::Malformed),
            }
        }
    }

    fn must(&mut self) -> Result<Event<'a>, Why> {
        self.next()?.ok_or(Why::Malformed)
    }

    fn node(&mut self, event: Event<'a>, room: &mut Room) -> Result<Value<'static>, Why> {
        room.take()?;
        match event {
            Event::Scalar(text, style, 0, None) => Ok(scalar(&text, style)),
            Event::SequenceStart(_, 0, None) => self.list(room),
            Event::MappingStart(_, 0, None) => self.members(room),
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) | Event::Alias(_) => {
                Err(Why::ManyReadings)
            }
            _ => Err(Why::Malformed),
        }
    }

    fn list(&mut self, room: &mut Room) -> Result<Value<'static>, Why> {
        room.enter()?;
        let mut items = Vec::new();
        loop {
            match self.must()? {
                Event::SequenceEnd => break,
                event => items.push(self.node(event, room)?),
            }
        }
        room.leave();
        Ok(Value::List(items))
    }

    fn members(&mut self, room: &mut Room) -> Result<Value<'static>, Why> {
        room.enter()?;
        let mut members: Vec<Member<'static>> = Vec::new();
        loop {
            let key = match self.must()? {
                Event::MappingEnd => break,
                Event::Scalar(text, style, 0, None) => match scalar(&text, style) {
                    Value::Text(key) if key != "<<" => key,
                    _ => return Err(Why::ManyReadings),
                },
                _ => return Err(Why::ManyReadings),
            };
            let event = self.must()?;
            let value = self.node(event, room)?;
            members.push(Member { key, value });
        }
        room.leave();
        room.each_once(&mut members)?;
        Ok(Value::Object(members))
    }
}

/// Words that YAML 1.1 reads as a truth value or as nothing, and YAML 1.2 as a text.
const WORDS: [&str; 22] = [
    "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "True", "TRUE", "n", "N", "no", "No", "NO", "off", "Off", "OFF",
    "False", "FALSE", "Null", "NULL",
];

fn scalar(text: &str, style: ScalarStyle) -> Value<'static> {
    let owned = || Cow::Owned(text.to_owned());
    if !matches!(style, ScalarStyle::Plain) {
        return Value::Text(owned());
    }
    match text {
        "" | "~" | "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ if is_json_number(text) => Value::Number(owned()),
        _ if WORDS.contains(&text) || looks_like_a_number(text) => Value::TwoWays(owned()),
        _ => Value::Text(owned()),
    }
}

fn is_json_number(text: &str) -> bool {
    let mut room = Room::new(1, 1);
    let starts = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    starts && matches!(crate::json::read(text.as_bytes(), &mut room), Ok(Value::Number(number)) if number == text)
}

/// Whether some reader takes it for a number or a time: whatever begins like one and has a digit, and the named floats.
fn looks_like_a_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let named = [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&unsigned);
    let begins = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    let has_form = unsigned
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit() || b"_.xXoO+-:TtZz ".contains(&byte));
    let is_address = text.split('.').count() == 4 && !text.contains(':');
    named || (begins && has_form && unsigned.bytes().any(|byte| byte.is_ascii_digit()) && !is_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_is_a_text_only_where_every_reader_takes_it_for_one() {
        let kind = |word: &str| match scalar(word, ScalarStyle::Plain) {
            Value::Text(_) => "text",
            Value::Number(_) => "number",
            Value::TwoWays(_) => "two ways",
            Value::Bool(_) => "bool",
            Value::Null => "null",
            _ => "other",
        };
        for (word, expected) in [
            ("pods", "text"),
            ("10.0.0.1", "text"),
            ("v1.2.3", "text"),
            ("100m", "text"),
            ("1", "number"),
            ("-1.5e3", "number"),
            ("true", "bool"),
            ("~", "null"),
            ("yes", "two ways"),
            ("NULL", "two ways"),
            ("012", "two ways"),
            ("1_000", "two ways"),
            ("0x1F", "two ways"),
            ("+1", "two ways"),
            (".5", "two ways"),
            (".inf", "two ways"),
            ("12:30:45", "two ways"),
            ("2026-11-22", "two ways"),
            ("2026-11-22T15:00:00Z", "two ways"),
        ] {
            assert_eq!(kind(word), expected, "{word}");
        }
        assert!(matches!(scalar("yes", ScalarStyle::SingleQuoted), Value::Text(_)));
    }

    /// What is a comment to a reader of YAML 1.2 is a member to one of YAML 1.1, and the other way round.
    #[test]
    fn what_ends_a_line_for_one_reader_and_not_for_another_is_read_by_none() {
        let read = |text: &str| read(text.as_bytes(), &mut Room::new(1_000, 10)).err();
        for end in ["\u{85}", "\u{2028}", "\u{2029}", "\r", "\u{feff}"] {
            for text in [
                format!("a: b # c{end}d: e\n"),
                format!("a: 'b{end}  c'\n"),
                format!("a: b\n{end}"),
                format!("a: |\n  b{end}  c\n"),
            ] {
                assert_eq!(read(&text), Some(Why::ManyReadings), "{text:?}");
            }
        }
        for text in ["a: b\r\nc: d\r\n", "a: \"b\\Nc\\Ld\\r\"\n"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
