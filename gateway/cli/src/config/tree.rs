//! YAML as a tree whose every node knows where it stands.
//!
//! A deliberately small YAML: one document, no anchors, aliases or tags (they are how a small file becomes a large one),
//! no duplicate keys. Scalars are typed by the YAML 1.2 core schema, so that `yes` and `0123` stay texts.

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

use super::problem::Problem;

/// A node and the bytes it covers.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Scalar(Value),
    Sequence(Vec<Node>),
    Mapping(Vec<Member>),
}

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

/// How deep a configuration may nest; the deepest legal one is about eight.
const MAX_DEPTH: usize = 32;

impl Node {
    /// Reads one document.
    pub(super) fn parse(text: &str) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader {
            parser: Parser::new_from_str(text),
            problems: Vec::new(),
            end: text.len(),
        };
        let root = reader.document();
        match root {
            Some(root) if reader.problems.is_empty() => Ok(root),
            _ => Err(reader.problems),
        }
    }

    /// The node's value without its places.
    pub(super) fn value(&self) -> Value {
        match &self.kind {
            NodeKind::Scalar(value) => value.clone(),
            NodeKind::Sequence(items) => Value::Array(items.iter().map(Self::value).collect()),
            NodeKind::Mapping(members) => {
                let pairs = members.iter().map(|member| (member.key.clone(), member.value.value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// The member with this key.
    pub(super) fn member(&self, key: &str) -> Option<&Member> {
        match &self.kind {
            NodeKind::Mapping(members) => members.iter().find(|member| member.key == key),
            _ => None,
        }
    }

    /// Whether `path` (`/clusters/0/name`) is written.
    pub(super) fn has(&self, path: &str) -> bool {
        let mut node = self;
        for step in path.split('/').filter(|step| !step.is_empty()) {
            let next = match &node.kind {
                NodeKind::Mapping(_) => node.member(step).map(|member| &member.value),
                NodeKind::Sequence(items) => step.parse::<usize>().ok().and_then(|i| items.get(i)),
                NodeKind::Scalar(_) => None,
            };
            let Some(next) = next else { return false };
            node = next;
        }
        true
    }

    /// Where `path` (`/clusters/0/name`) stands; the nearest parent's place when it is not written.
    pub(super) fn place(&self, path: &str) -> Range<usize> {
        let mut node = self;
        let mut place = self.span.clone();
        for step in path.split('/').filter(|step| !step.is_empty()) {
            let next = match &node.kind {
                NodeKind::Mapping(_) => node.member(step).map(|member| (&member.value, member.key_span.clone())),
                NodeKind::Sequence(items) => step
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| items.get(i))
                    .map(|item| (item, item.span.clone())),
                NodeKind::Scalar(_) => None,
            };
            let Some((next, at)) = next else { return place };
            place = if matches!(next.kind, NodeKind::Scalar(_)) {
                next.span.clone()
            } else {
                at
            };
            node = next;
        }
        place
    }
}

struct Reader<'a> {
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    problems: Vec<Problem>,
    end: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<(Event<'a>, Range<usize>)> {
        loop {
            match self.parser.next()? {
                Ok((Event::Comment(..) | Event::StreamStart, _)) => {}
                Ok((event, span)) => return Some((event, range(&span, self.end))),
                Err(error) => {
                    let at = error.marker().byte_offset().unwrap_or(self.end).min(self.end);
                    self.problems.push(Problem::syntax(error.info().to_string(), at..at));
                    return None;
                }
            }
        }
    }

    fn document(&mut self) -> Option<Node> {
        let (event, span) = self.next()?;
        if !matches!(event, Event::DocumentStart(..)) {
            self.problems
                .push(Problem::syntax("the file is empty".to_owned(), span));
            return None;
        }
        let first = self.next()?;
        let root = self.node(first, 0)?;
        while let Some((event, span)) = self.next() {
            match event {
                Event::DocumentStart(..) => {
                    self.problems.push(Problem::syntax(
                        "a second document begins here; one file holds one".to_owned(),
                        span,
                    ));
                    return None;
                }
                Event::StreamEnd => break,
                _ => {}
            }
        }
        Some(root)
    }

    fn node(&mut self, (event, span): (Event<'a>, Range<usize>), depth: usize) -> Option<Node> {
        if depth > MAX_DEPTH {
            self.problems
                .push(Problem::syntax(format!("nested deeper than {MAX_DEPTH} levels"), span));
            return None;
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &span);
                Some(Node {
                    kind: NodeKind::Scalar(scalar(&text, style)),
                    span,
                })
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &span);
                self.sequence(span, depth)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.plain_only(anchor, tag.is_some(), &span);
                self.mapping(span, depth)
            }
            Event::Alias(_) => {
                self.problems.push(Problem::syntax(
                    "aliases (`*name`) are not used here; write the value out".to_owned(),
                    span.clone(),
                ));
                Some(Node {
                    kind: NodeKind::Scalar(Value::Null),
                    span,
                })
            }
            _ => {
                self.problems
                    .push(Problem::syntax("a value is missing here".to_owned(), span));
                None
            }
        }
    }

    fn plain_only(&mut self, anchor: usize, tagged: bool, span: &Range<usize>) {
        if anchor != 0 {
            self.problems.push(Problem::syntax(
                "anchors (`&name`) are not used here; write the value out".to_owned(),
                span.clone(),
            ));
        }
        if tagged {
            self.problems.push(Problem::syntax(
                "tags (`!name`) are not used here".to_owned(),
                span.clone(),
            ));
        }
    }

    fn sequence(&mut self, span: Range<usize>, depth: usize) -> Option<Node> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Some(Node {
                    span: span.start..at.end.max(span.end),
                    kind: NodeKind::Sequence(items),
                });
            }
            items.push(self.node((event, at), depth.saturating_add(1))?);
        }
    }

    fn mapping(&mut self, span: Range<usize>, depth: usize) -> Option<Node> {
        let mut members: Vec<Member> = Vec::new();
        loop {
            let (event, key_span) = self.next()?;
            let key = match event {
                Event::MappingEnd => {
                    return Some(Node {
                        span: span.start..key_span.end.max(span.end),
                        kind: NodeKind::Mapping(members),
                    });
                }
                Event::Scalar(text, ..) => text.into_owned(),
                _ => {
                    self.problems
                        .push(Problem::syntax("a key must be a plain word".to_owned(), key_span));
                    return None;
                }
            };
            let first = self.next()?;
            let value = self.node(first, depth.saturating_add(1))?;
            if members.iter().any(|member| member.key == key) {
                self.problems.push(Problem::new(
                    format!("`{key}` is set twice"),
                    "the second one is here",
                    key_span.clone(),
                    "keep one of them",
                ));
            }
            members.push(Member { key, key_span, value });
        }
    }
}

fn range(span: &Span, end: usize) -> Range<usize> {
    let range = span.byte_range().unwrap_or(end..end);
    range.start.min(end)..range.end.min(end)
}

/// YAML 1.2 core schema: only plain scalars are numbers, booleans or null.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if !matches!(style, ScalarStyle::Plain) {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" => return Value::Null,
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let decimal = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'));
    match text.parse::<i64>() {
        Ok(number) if decimal => Value::Number(Number::from(number)),
        _ => Value::String(text.to_owned()),
    }
}
