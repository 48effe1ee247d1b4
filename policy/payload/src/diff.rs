//! What changed between two masked documents. It sees nothing but them, so it shows nothing that they do not show.
//!
//! Elements of a list are told apart by what names them (`name`, `uid`, `type`…), where every element of both lists has it and it is
//! there once; else the list has changed as a whole. That is Kubernetes' own rule for merging lists, without its table: the documents
//! may be of any kind.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use crate::document::{Node, push_key};
use crate::json;

/// One place in which two documents differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// `None`: it was not there.
    pub before: Option<Node>,
    /// `None`: it is there no more.
    pub after: Option<Node>,
}

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// In the order of the documents, at most [`MOST_CHANGES`].
    pub changes: Vec<Change>,
    /// Changes beyond those.
    pub more: usize,
}

/// More are only counted.
pub const MOST_CHANGES: usize = 500;

/// What tells the elements of a list apart: the merge keys of Kubernetes, the most telling first.
const NAMES: [&str; 10] = [
    "name",
    "uid",
    "key",
    "mountPath",
    "devicePath",
    "type",
    "ip",
    "topologyKey",
    "containerPort",
    "port",
];

/// Compares two documents.
#[must_use]
pub fn diff(before: &Node, after: &Node) -> Diff {
    let mut found = Diff::default();
    compare(before, after, &mut String::new(), &mut found);
    found
}

fn compare(before: &Node, after: &Node, path: &mut String, found: &mut Diff) {
    match (before, after) {
        (Node::Object(one), Node::Object(other)) => {
            let mut one = one.iter().peekable();
            let mut other = other.iter().peekable();
            // Both are sorted by key.
            loop {
                let (from, to) = match (one.peek(), other.peek()) {
                    (None, None) => break,
                    (Some((left, _)), Some((right, _))) if left == right => (one.next(), other.next()),
                    (Some((left, _)), Some((right, _))) if left > right => (None, other.next()),
                    (Some(_), _) => (one.next(), None),
                    (None, Some(_)) => (None, other.next()),
                };
                let length = path.len();
                if let Some((key, _)) = from.or(to) {
                    push_key(path, key);
                }
                either(from.map(|(_, node)| node), to.map(|(_, node)| node), path, found);
                path.truncate(length);
            }
        }
        (Node::List(one), Node::List(other)) if one != other => match naming(one, other) {
            Some(name) => elements(one, other, name, path, found),
            None => change(Some(before), Some(after), path, found),
        },
        _ if before == after => {}
        _ => change(Some(before), Some(after), path, found),
    }
}

fn either(before: Option<&Node>, after: Option<&Node>, path: &mut String, found: &mut Diff) {
    match (before, after) {
        (Some(before), Some(after)) => compare(before, after, path, found),
        _ => change(before, after, path, found),
    }
}

fn elements(before: &[Node], after: &[Node], name: &str, path: &mut String, found: &mut Diff) {
    let word = |node: &Node| node.member(name).map(Node::to_json);
    let (of_before, of_after): (HashMap<_, _>, HashSet<_>) = (
        before.iter().map(|node| (word(node), node)).collect(),
        after.iter().map(word).collect(),
    );
    let gone = before.iter().filter(|node| !of_after.contains(&word(node)));
    let gone = gone.map(|node| (Some(node), None));
    let there = after
        .iter()
        .map(|node| (of_before.get(&word(node)).copied(), Some(node)));
    for (from, to) in gone.chain(there) {
        let length = path.len();
        if let Some(word) = from.or(to).and_then(|node| node.member(name)) {
            let _ = write!(path, "[{name}=");
            match word {
                Node::Text(text)
                    if text
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte)) =>
                {
                    path.push_str(text);
                }
                Node::Text(text) => json::write_text(text, path),
                other => path.push_str(&other.to_json()),
            }
            path.push(']');
        }
        either(from, to, path, found);
        path.truncate(length);
    }
}

/// By which member all elements of both lists can be told apart; lists of more elements are compared as a whole.
fn naming(one: &[Node], other: &[Node]) -> Option<&'static str> {
    const MOST: usize = 512;
    if one.len() > MOST || other.len() > MOST {
        return None;
    }
    NAMES
        .into_iter()
        .find(|name| is_unique(one, name) && is_unique(other, name))
}

fn is_unique(list: &[Node], name: &str) -> bool {
    let mut words: Vec<String> = Vec::with_capacity(list.len());
    for element in list {
        match element.member(name) {
            // A name that is masked tells elements apart as well.
            Some(word @ (Node::Text(_) | Node::Number(_) | Node::Mask(_))) => words.push(word.to_json()),
            _ => return false,
        }
    }
    let all = words.len();
    words.sort_unstable();
    words.dedup();
    words.len() == all
}

fn change(before: Option<&Node>, after: Option<&Node>, path: &str, found: &mut Diff) {
    if found.changes.len() >= MOST_CHANGES {
        found.more = found.more.saturating_add(1);
        return;
    }
    found.changes.push(Change {
        path: path.to_owned(),
        before: before.cloned(),
        after: after.cloned(),
    });
}
