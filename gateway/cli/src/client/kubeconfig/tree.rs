//! A kubeconfig's text as a tree whose nodes know their bytes. Anchors and aliases are understood, as people use them.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, StructureStyle};

use super::EditError;

/// Deeper than any kubeconfig; extensions may hold anything.
const MAX_DEPTH: usize = 64;
/// Aliases that unfold into aliases make a small file large.
const MAX_NODES: usize = 1_000_000;

/// Data without places: for comparing, and for what we put in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Text, and whether it was written without quotes (then it may be a number, a boolean, null).
    Scalar(String, bool),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Scalar(text.to_owned(), false)
    }

    pub(super) fn plain(text: &str) -> Self {
        Self::Scalar(text.to_owned(), true)
    }

    pub(super) fn map(members: Vec<(String, Self)>) -> Self {
        Self::Map(
            members
                .into_iter()
                .map(|(key, value)| (Self::plain(&key), value))
                .collect(),
        )
    }

    pub(super) fn member(&self, key: &str) -> Option<&Self> {
        let Self::Map(members) = self else { return None };
        members
            .iter()
            .find(|(known, _)| known.as_text() == Some(key))
            .map(|(_, value)| value)
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether it says nothing: an empty text, or null.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Scalar(text, plain) if text.is_empty() || (*plain && matches!(text.as_str(), "~" | "null")))
    }

    /// The same for a program that reads it: a text needs no quotes to be a text.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Scalar(one, _), Self::Scalar(two, _)) => one == two,
            (Self::List(one), Self::List(two)) => {
                one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.is_like(two))
            }
            (Self::Map(one), Self::Map(two)) => {
                one.len() == two.len()
                    && one.iter().all(|(key, value)| {
                        key.as_text()
                            .and_then(|key| other.member(key))
                            .is_some_and(|other| value.is_like(other))
                    })
            }
            _ => false,
        }
    }
}

/// A node and its bytes: from its first character to its last, without comments and blanks behind it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    /// The column of its first character.
    pub(super) column: usize,
    pub(super) is_flow: bool,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar { text: String, is_plain: bool },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Alias(Box<Node>),
}

impl Node {
    /// The one document of a text; `None` for an empty one.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, EditError> {
        let mut reader = Reader {
            text,
            parser: Parser::new_from_str(text),
            anchors: HashMap::new(),
            nodes: 0,
        };
        let mut document = None;
        while let Some((event, span, column)) = reader.next()? {
            match event {
                Event::StreamEnd | Event::DocumentEnd => {}
                Event::DocumentStart(..) if document.is_some() => return Err(EditError::SecondDocument),
                Event::DocumentStart(..) => {
                    let first = reader.next()?.ok_or(EditError::Syntax("it ends early".to_owned()))?;
                    document = Some(reader.node(first, 0)?);
                }
                _ => {
                    return Err(EditError::Syntax(format!(
                        "something unexpected at byte {} column {column}",
                        span.start
                    )));
                }
            }
        }
        Ok(document)
    }

    pub(super) fn member(&self, key: &str) -> Option<(&Self, &Self)> {
        let Kind::Map(members) = &self.kind else { return None };
        members
            .iter()
            .find(|(known, _)| known.as_text() == Some(key))
            .map(|(key, value)| (key, value))
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub(super) fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar { text, is_plain } => Value::Scalar(text.clone(), *is_plain),
            Kind::List(items) => Value::List(items.iter().map(Self::value).collect()),
            Kind::Map(members) => Value::Map(
                members
                    .iter()
                    .map(|(key, value)| (key.value(), value.value()))
                    .collect(),
            ),
            Kind::Alias(node) => node.value(),
        }
    }

    fn count(&self) -> usize {
        match &self.kind {
            Kind::Scalar { .. } => 1,
            Kind::List(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Kind::Map(members) => {
                1 + members
                    .iter()
                    .map(|(key, value)| key.count() + value.count())
                    .sum::<usize>()
            }
            Kind::Alias(node) => 1 + node.count(),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    parser: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

type Step<'a> = (Event<'a>, Range<usize>, usize);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Step<'a>>, EditError> {
        loop {
            match self.parser.next() {
                None => return Ok(None),
                Some(Ok((Event::Comment(..) | Event::StreamStart, _))) => {}
                Some(Ok((event, span))) => {
                    let end = self.text.len();
                    let range = span.byte_range().unwrap_or(end..end);
                    return Ok(Some((event, range, span.start.col())));
                }
                Some(Err(error)) => return Err(EditError::Syntax(error.to_string())),
            }
        }
    }

    fn node(&mut self, (event, span, column): Step<'a>, depth: usize) -> Result<Node, EditError> {
        self.nodes += 1;
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return Err(EditError::Syntax("it is nested too deeply".to_owned()));
        }
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let kind = Kind::Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain,
                };
                (
                    Node {
                        span: self.trimmed(span),
                        column,
                        is_flow: false,
                        kind,
                    },
                    anchor,
                )
            }
            Event::SequenceStart(style, anchor, _) => (self.list(&span, column, style, depth)?, anchor),
            Event::MappingStart(style, anchor, _) => (self.map(&span, column, style, depth)?, anchor),
            Event::Alias(id) => (self.alias(span, column, id)?, 0),
            _ => {
                return Err(EditError::Syntax(format!(
                    "something unexpected at byte {}",
                    span.start
                )));
            }
        };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, span: Range<usize>, column: usize, id: usize) -> Result<Node, EditError> {
        let known = self.anchors.get(&id).cloned();
        let known = known.ok_or_else(|| EditError::Syntax("an alias leads into itself".to_owned()))?;
        self.nodes = self.nodes.saturating_add(known.count());
        Ok(Node {
            span,
            column,
            is_flow: false,
            kind: Kind::Alias(Box::new(known)),
        })
    }

    fn list(
        &mut self,
        span: &Range<usize>,
        column: usize,
        style: StructureStyle,
        depth: usize,
    ) -> Result<Node, EditError> {
        let mut items = Vec::new();
        loop {
            let step = self
                .next()?
                .ok_or_else(|| EditError::Syntax("it ends early".to_owned()))?;
            if matches!(step.0, Event::SequenceEnd) {
                let last = items.last().map(|item: &Node| item.span.end);
                let span = whole(span, &step.1, last, style);
                let is_flow = style == StructureStyle::Flow;
                return Ok(Node {
                    span,
                    column,
                    is_flow,
                    kind: Kind::List(items),
                });
            }
            items.push(self.node(step, depth + 1)?);
        }
    }

    fn map(
        &mut self,
        span: &Range<usize>,
        column: usize,
        style: StructureStyle,
        depth: usize,
    ) -> Result<Node, EditError> {
        let mut members: Vec<(Node, Node)> = Vec::new();
        loop {
            let step = self
                .next()?
                .ok_or_else(|| EditError::Syntax("it ends early".to_owned()))?;
            if matches!(step.0, Event::MappingEnd) {
                let last = members.last().map(|(_, value)| value.span.end);
                let span = whole(span, &step.1, last, style);
                let is_flow = style == StructureStyle::Flow;
                return Ok(Node {
                    span,
                    column,
                    is_flow,
                    kind: Kind::Map(members),
                });
            }
            let key = self.node(step, depth + 1)?;
            if members
                .iter()
                .any(|(known, _)| known.as_text().is_some() && known.as_text() == key.as_text())
            {
                return Err(EditError::Syntax(format!(
                    "`{}` stands twice",
                    key.as_text().unwrap_or_default()
                )));
            }
            let value = self
                .next()?
                .ok_or_else(|| EditError::Syntax("it ends early".to_owned()))?;
            let mut value = self.node(value, depth + 1)?;
            if value.span.is_empty() {
                let after = self.behind_colon(key.span.end);
                value.span = after..after;
            }
            members.push((key, value));
        }
    }

    /// Where the value of a member without one would stand.
    fn behind_colon(&self, key_end: usize) -> usize {
        let colon = self.text.get(key_end..).and_then(|rest| rest.find(':'));
        colon.map_or(key_end, |colon| key_end + colon + 1)
    }

    /// A block scalar's bytes reach to where the next thing begins.
    fn trimmed(&self, span: Range<usize>) -> Range<usize> {
        let text = self.text.get(span.clone()).unwrap_or_default();
        span.start..span.start + text.trim_end_matches([' ', '\t', '\r', '\n']).len()
    }
}

/// The parser lets a block collection reach to where the next thing begins; its own last byte is that of its last item.
fn whole(start: &Range<usize>, end: &Range<usize>, last: Option<usize>, style: StructureStyle) -> Range<usize> {
    match (style, last) {
        (StructureStyle::Flow, _) => start.start..end.end,
        (StructureStyle::Block, Some(last)) => start.start..last,
        (StructureStyle::Block, None) => start.start..start.start,
    }
}
