//! YAML as a tree whose every node knows where it stands.
//!
//! One document; no anchors, aliases or tags, and no key twice. A plain word that some readers of YAML take for something
//! else than a text (`yes`, `0x1f`, `1_000`) is no text here either: the API server reads YAML 1.1, and nobody should have to
//! know which words that turns into truth values.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use crate::finding::{Code, Finding, Severity};

/// A node and the bytes it covers.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Text(String),
    /// A plain word that is a number, or that YAML 1.1 and 1.2 read in two ways.
    Other(String),
    List(Vec<Node>),
    Members(Vec<Member>),
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Range<usize>,
    pub(crate) value: Node,
}

/// How deep a policy may nest; the deepest legal one is six.
const MAX_DEPTH: usize = 32;
/// Words that YAML 1.1 reads as a truth value or as nothing, and YAML 1.2 as a text.
const WORDS: [&str; 22] = [
    "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "True", "TRUE", "n", "N", "no", "No", "NO", "off", "Off", "OFF",
    "False", "FALSE", "Null", "NULL",
];

impl Node {
    pub(crate) fn member(&self, key: &str) -> Option<&Member> {
        match &self.kind {
            Kind::Members(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// What it is, for a person.
    pub(crate) const fn described(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Bool(_) => "a truth value",
            Kind::Text(_) => "a text",
            Kind::Other(_) => "a number, or a word that YAML may read as something else than a text",
            Kind::List(_) => "a list",
            Kind::Members(_) => "an object",
        }
    }
}

/// Reads one document.
pub(crate) fn read(text: &str) -> Result<Node, Vec<Finding>> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        findings: Vec::new(),
        end: text.len(),
    };
    match reader.document() {
        Some(root) if reader.findings.is_empty() => Ok(root),
        _ => Err(reader.findings),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    findings: Vec<Finding>,
    end: usize,
}

type Placed<'a> = (Event<'a>, Range<usize>);

impl<'a> Reader<'a> {
    fn wrong(&mut self, what: impl Into<String>, help: impl Into<String>, place: Range<usize>) {
        self.findings.push(Finding {
            severity: Severity::Refused,
            code: Code::Syntax,
            rule: None,
            what: what.into(),
            help: help.into(),
            place,
        });
    }

    fn next(&mut self) -> Option<Placed<'a>> {
        loop {
            match self.parser.next()? {
                Ok((Event::Comment(..) | Event::StreamStart, _)) => {}
                Ok((event, span)) => return Some((event, range(&span, self.end))),
                Err(error) => {
                    let at = error.marker().byte_offset().unwrap_or(self.end).min(self.end);
                    self.wrong(
                        format!("no valid YAML: {}", error.info()),
                        "look at the indentation and the quotes here and in the line before",
                        at..at,
                    );
                    return None;
                }
            }
        }
    }

    fn document(&mut self) -> Option<Node> {
        let begins = self.next();
        let Some((Event::DocumentStart(..), _)) = begins else {
            if self.findings.is_empty() {
                let help = "`gatescribe audit policy preset` prints a policy to begin with";
                self.wrong("the file is empty", help, 0..0);
            }
            return None;
        };
        let first = self.next()?;
        let root = self.node(first, 0)?;
        while let Some((event, span)) = self.next() {
            match event {
                Event::DocumentStart(..) => {
                    let help =
                        "keep one policy in a file; the API server would read the first and say nothing of the others";
                    self.wrong("a second document begins here", help, span);
                    return None;
                }
                Event::StreamEnd => break,
                _ => {}
            }
        }
        Some(root)
    }

    fn node(&mut self, (event, span): Placed<'a>, depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            self.wrong(
                format!("nested deeper than {MAX_DEPTH} levels"),
                "a policy has six",
                span,
            );
            return None;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &span);
                let kind = scalar(&text, style);
                Some(Node { span, kind })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &span);
                self.list(span, depth)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &span);
                self.members(span, depth)
            }
            Event::Alias(_) => {
                self.wrong(
                    "aliases (`*name`) are not used here",
                    "write the value out; a star in front of a text needs quotes",
                    span.clone(),
                );
                let kind = Kind::Null;
                Some(Node { span, kind })
            }
            _ => {
                self.wrong("a value is missing here", "write one, or take the key away", span);
                None
            }
        }
    }

    fn plain_only(&mut self, anchor: usize, is_tagged: bool, span: &Range<usize>) {
        if anchor != 0 {
            self.wrong(
                "anchors (`&name`) are not used here",
                "write the value out",
                span.clone(),
            );
        }
        if is_tagged {
            self.wrong(
                "tags (`!name`) are not used here",
                "quote the text instead",
                span.clone(),
            );
        }
    }

    fn list(&mut self, span: Range<usize>, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                let span = span.start..at.end.max(span.end);
                let kind = Kind::List(items);
                return Some(Node { span, kind });
            }
            items.push(self.node((event, at), depth.saturating_add(1))?);
        }
    }

    fn members(&mut self, span: Range<usize>, depth: usize) -> Option<Node> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let (event, key_span) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    let span = span.start..key_span.end.max(span.end);
                    let kind = Kind::Members(members);
                    return Some(Node { span, kind });
                }
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    self.wrong("a key must be a plain word", "write its name", key_span);
                    return None;
                }
            };
            let first = self.next()?;
            let value = self.node(first, depth.saturating_add(1))?;
            if members.iter().any(|member| member.key == key) {
                self.wrong(
                    format!("`{key}` is written twice"),
                    "keep one of them; the API server would take the last and only log it",
                    key_span.clone(),
                );
            }
            members.push(Member { key, key_span, value });
        }
    }
}

fn range(span: &Span, end: usize) -> Range<usize> {
    let range = span.byte_range().unwrap_or(end..end);
    let (start, end) = (range.start.min(end), range.end.min(end));
    start..end.max(start)
}

fn scalar(text: &str, style: ScalarStyle) -> Kind {
    if !matches!(style, ScalarStyle::Plain) {
        return Kind::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" => Kind::Null,
        "true" => Kind::Bool(true),
        "false" => Kind::Bool(false),
        _ if WORDS.contains(&text) || is_number(text) => Kind::Other(text.to_owned()),
        _ => Kind::Text(text.to_owned()),
    }
}

/// Whether any reader takes it for a number: decimal, with underscores, hexadecimal, octal, binary, a float, not a number.
fn is_number(text: &str) -> bool {
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(&plain);
    let in_base = |prefix: &str, base: u32| {
        let digits = unsigned.strip_prefix(prefix);
        digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(|c| c.is_digit(base)))
    };
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let named = [".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"].contains(&unsigned);
    named
        || in_base("0x", 16)
        || in_base("0X", 16)
        || in_base("0o", 8)
        || in_base("0b", 2)
        || in_base("0B", 2)
        || (begins && unsigned.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_is_a_text_only_where_every_reader_takes_it_for_one() {
        for (word, is_text) in [
            ("pods", true),
            ("-", true),
            ("1.2.3", true),
            ("0b", true),
            ("e5", true),
            ("inf", true),
            ("yes", false),
            ("N", false),
            ("012", false),
            ("1_000", false),
            ("0x1F", false),
            ("-0o7", false),
            ("1e3", false),
            ("+.5", false),
            (".nan", false),
        ] {
            let read = scalar(word, ScalarStyle::Plain);
            assert_eq!(matches!(read, Kind::Text(_)), is_text, "{word}: {read:?}");
            assert!(
                matches!(scalar(word, ScalarStyle::SingleQuoted), Kind::Text(_)),
                "{word}"
            );
        }
    }
}
