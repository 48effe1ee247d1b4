//! Editing a kubeconfig's text in place.
//!
//! Three lists may get an item more or an item of ours replaced, and `current-context` may change; each edit replaces one
//! range of bytes. Afterwards the new text is read and compared with the old one ([`unharmed`]).

use super::emit::{block, json};
use super::entry::Entry;
use super::tree::{Kind, Node, Value};

/// Why a text is not edited.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EditError {
    /// Not YAML.
    #[error("it is not readable as YAML: {0}")]
    Syntax(String),
    /// More than one document.
    #[error("it holds a second YAML document, which kubectl would not read")]
    SecondDocument,
    /// The lists are none.
    #[error("`{0}` in it is no list")]
    NoList(&'static str),
    /// The document is no mapping.
    #[error("it holds something else than a kubeconfig")]
    NoKubeconfig,
    /// Somebody else's item has our name.
    #[error("it has a {kind} `{name}` that does not belong to this gateway")]
    NotOurs {
        /// `context`, `cluster` or `user`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An edit would have changed more than it should; nothing was written.
    #[error("it is written in a way that cannot be edited without touching `{0}`")]
    Harm(&'static str),
}

const LISTS: [&str; 3] = ["clusters", "contexts", "users"];

/// The name of the current context, if there is one.
pub(super) fn current_context(text: &str) -> Option<String> {
    let root = Node::parse(text).ok()??;
    let (_, value) = root.member("current-context")?;
    value
        .as_text()
        .filter(|_| !value.value().is_nothing())
        .map(str::to_owned)
}

/// The text with the entries in it, and `current` as the current context.
pub(super) fn put(text: &str, entries: &[Entry], current: Option<&str>) -> Result<String, EditError> {
    Node::parse(text)?;
    edited(text, entries, current).map_err(|error| match error {
        // It was readable before: what is replaced carried an anchor that others lead to.
        EditError::Syntax(_) => EditError::Harm("anchors"),
        error => error,
    })
}

fn edited(text: &str, entries: &[Entry], current: Option<&str>) -> Result<String, EditError> {
    let mut edited = text.to_owned();
    for entry in entries {
        edited = put_entry(&edited, entry)?;
    }
    if let Some(current) = current {
        edited = put_current(&edited, current)?;
    }
    unharmed(text, &edited, entries)?;
    let settled = entries
        .iter()
        .all(|entry| put_entry(&edited, entry).is_ok_and(|again| again == edited));
    if settled {
        Ok(edited)
    } else {
        Err(EditError::Harm("our own entries"))
    }
}

fn put_entry(text: &str, entry: &Entry) -> Result<String, EditError> {
    check_ownership(text, entry)?;
    let cluster = overlay(text, "clusters", &entry.name, "cluster", entry.cluster())?;
    let user = overlay(text, "users", &entry.name, "user", entry.user())?;
    let mut edited = put_item(text, "clusters", &item(&entry.name, "cluster", cluster))?;
    // The person's namespace stands in the context: one that is there stays as it is.
    if find(&edited, "contexts", &entry.context)?.is_none() {
        edited = put_item(&edited, "contexts", &item(&entry.context, "context", entry.context()))?;
    }
    put_item(&edited, "users", &item(&entry.name, "user", user))
}

fn item(name: &str, member: &str, value: Value) -> Value {
    Value::map(vec![("name".to_owned(), Value::text(name)), (member.to_owned(), value)])
}

/// What we want, with what a person added beside it (`proxy-url`, `env`, …).
fn overlay(text: &str, list: &'static str, name: &str, member: &str, wanted: Value) -> Result<Value, EditError> {
    let found = find(text, list, name)?;
    Ok(match found.as_ref().and_then(|item| item.member(member)) {
        Some(known) => merged(known, wanted),
        None => wanted,
    })
}

fn merged(known: &Value, wanted: Value) -> Value {
    match (known, wanted) {
        (Value::Map(known), Value::Map(mut wanted)) => {
            for (key, value) in known {
                let place = wanted.iter().position(|(own, _)| own.as_text() == key.as_text());
                match place.and_then(|place| wanted.get_mut(place)) {
                    None => wanted.push((key.clone(), value.clone())),
                    Some((_, own)) => *own = merged(value, own.clone()),
                }
            }
            Value::Map(wanted)
        }
        (_, wanted) => wanted,
    }
}

fn check_ownership(text: &str, entry: &Entry) -> Result<(), EditError> {
    let not_ours = |kind, name: &str| {
        Err(EditError::NotOurs {
            kind,
            name: name.to_owned(),
        })
    };
    let user = find(text, "users", &entry.name)?;
    let context = find(text, "contexts", &entry.context)?;
    let owns_user = user.as_ref().is_some_and(|user| entry.owns_user(user));
    if user.is_some() && !owns_user {
        return not_ours("user", &entry.name);
    }
    // A cluster carries no mark; it is ours where the user of the same name is.
    if find(text, "clusters", &entry.name)?.is_some() && !owns_user {
        return not_ours("cluster", &entry.name);
    }
    match context {
        Some(context) if !entry.owns_context(&context) => not_ours("context", &entry.context),
        _ => Ok(()),
    }
}

fn find(text: &str, list: &'static str, name: &str) -> Result<Option<Value>, EditError> {
    let Some(root) = Node::parse(text)? else {
        return Ok(None);
    };
    Ok(items(&root, list)?
        .into_iter()
        .find(|item| is_named(item, name))
        .map(Node::value))
}

fn is_named(item: &Node, name: &str) -> bool {
    item.value().member("name").and_then(Value::as_text) == Some(name)
}

fn items<'a>(root: &'a Node, list: &'static str) -> Result<Vec<&'a Node>, EditError> {
    if root.value().is_nothing() {
        return Ok(Vec::new());
    }
    if !matches!(root.kind, Kind::Map(_)) {
        return Err(EditError::NoKubeconfig);
    }
    match root.member(list).map(|(_, value)| value) {
        None => Ok(Vec::new()),
        Some(Node {
            kind: Kind::List(items),
            ..
        }) => Ok(items.iter().collect()),
        Some(value) if value.value().is_nothing() => Ok(Vec::new()),
        Some(_) => Err(EditError::NoList(list)),
    }
}

/// Adds or replaces one item of a list.
fn put_item(text: &str, list: &'static str, wanted: &Value) -> Result<String, EditError> {
    let end = line_end(text);
    let Some(root) = Node::parse(text)?.filter(|root| !root.value().is_nothing()) else {
        let head = format!("{}apiVersion: v1{end}kind: Config{end}", terminated(text, end));
        return Ok(format!("{head}{list}:{end}- {}{end}", block(wanted, 2, end)));
    };
    let items = items(&root, list)?;
    let name = wanted.member("name").and_then(Value::as_text).unwrap_or_default();
    if let Some(known) = items.iter().find(|item| is_named(item, name)) {
        if known.value().is_like(wanted) {
            return Ok(text.to_owned());
        }
        let new = if known.is_flow {
            json(wanted)
        } else {
            block(wanted, known.column, end)
        };
        return splice(text, known.span.clone(), &new);
    }
    let Some((_, value)) = root.member(list) else {
        return add_list(text, &root, list, wanted);
    };
    match items.last() {
        Some(last) if value.is_flow => splice(text, last.span.end..last.span.end, &format!(", {}", json(wanted))),
        Some(last) => append(text, value, last, wanted),
        None if value.is_flow && root.is_flow => splice(text, value.span.clone(), &format!("[{}]", json(wanted))),
        None if root.is_flow => splice(text, value.span.clone(), &format!(" [{}]", json(wanted))),
        None => {
            let indent = " ".repeat(root.column);
            splice(
                text,
                value.span.clone(),
                &format!("{end}{indent}- {}", block(wanted, root.column + 2, end)),
            )
        }
    }
}

/// Behind the last item, with dashes in the column that the list has.
fn append(text: &str, list: &Node, last: &Node, wanted: &Value) -> Result<String, EditError> {
    let end = line_end(text);
    let dash = dash_column(text, list).ok_or(EditError::Harm("the list"))?;
    let at = text
        .get(last.span.end..)
        .and_then(|rest| rest.find('\n'))
        .map(|place| last.span.end + place + 1);
    let item = format!("{}- {}{end}", " ".repeat(dash), block(wanted, dash + 2, end));
    match at {
        Some(at) => splice(text, at..at, &item),
        None => Ok(format!("{text}{end}{item}")),
    }
}

/// The column of the dash of the first item: the last dash before it, on its line or above.
fn dash_column(text: &str, list: &Node) -> Option<usize> {
    let Kind::List(items) = &list.kind else { return None };
    let before = text.get(..items.first()?.span.start)?;
    let line = before.lines().rev().find(|line| line.trim_start().starts_with('-'))?;
    Some(line.len() - line.trim_start().len())
}

/// The whole list is new: behind everything, or inside the braces.
fn add_list(text: &str, root: &Node, list: &str, wanted: &Value) -> Result<String, EditError> {
    let end = line_end(text);
    if root.is_flow {
        let at = root.span.end.saturating_sub(1);
        let is_empty = matches!(&root.kind, Kind::Map(members) if members.is_empty());
        let comma = if is_empty { "" } else { ", " };
        return splice(text, at..at, &format!("{comma}\"{list}\": [{}]", json(wanted)));
    }
    let indent = " ".repeat(root.column);
    let new = format!(
        "{indent}{list}:{end}{indent}- {}{end}",
        block(wanted, root.column + 2, end)
    );
    behind(text, root, &new)
}

/// Behind the last line of the document, before an end mark or comments that follow it.
fn behind(text: &str, root: &Node, new: &str) -> Result<String, EditError> {
    let last = root.span.end;
    match text.get(last..).and_then(|rest| rest.find('\n')) {
        Some(place) => splice(text, last + place + 1..last + place + 1, new),
        None => Ok(format!("{text}{}{new}", line_end(text))),
    }
}

fn put_current(text: &str, name: &str) -> Result<String, EditError> {
    let end = line_end(text);
    let Some(root) = Node::parse(text)? else {
        return Err(EditError::NoKubeconfig);
    };
    let value = Value::text(name);
    match root.member("current-context") {
        Some((_, known)) if known.as_text() == Some(name) => Ok(text.to_owned()),
        Some((
            _,
            Node {
                kind: Kind::Alias(_) | Kind::List(_) | Kind::Map(_),
                ..
            },
        )) => Err(EditError::Harm("current-context")),
        Some((_, known)) => {
            let gap = if known.span.is_empty() { " " } else { "" };
            splice(text, known.span.clone(), &format!("{gap}{}", json(&value)))
        }
        None if root.is_flow => {
            let at = root.span.end.saturating_sub(1);
            splice(text, at..at, &format!(", \"current-context\": {}", json(&value)))
        }
        None => {
            let indent = " ".repeat(root.column);
            behind(text, &root, &format!("{indent}current-context: {}{end}", json(&value)))
        }
    }
}

fn splice(text: &str, range: std::ops::Range<usize>, new: &str) -> Result<String, EditError> {
    match (text.get(..range.start), text.get(range.end..)) {
        (Some(before), Some(after)) => Ok(format!("{before}{new}{after}")),
        _ => Err(EditError::Harm("the text")),
    }
}

/// As the file has it; a file of Windows stays one.
fn line_end(text: &str) -> &'static str {
    match text.find('\n') {
        Some(place) if text.get(..place).is_some_and(|before| before.ends_with('\r')) => "\r\n",
        _ => "\n",
    }
}

fn terminated(text: &str, end: &str) -> String {
    let needs_end = !text.is_empty() && !text.ends_with('\n');
    format!("{text}{}", if needs_end { end } else { "" })
}

/// Everything but our items and `current-context` is the same, in the same order; ours are there once.
fn unharmed(before: &str, after: &str, entries: &[Entry]) -> Result<(), EditError> {
    let rest = |text: &str| -> Result<Vec<(Value, Value)>, EditError> {
        match Node::parse(text)?.map(|root| root.value()) {
            Some(Value::Map(members)) => Ok(members),
            Some(nothing) if nothing.is_nothing() => Ok(Vec::new()),
            None => Ok(Vec::new()),
            Some(_) => Err(EditError::NoKubeconfig),
        }
    };
    let (before, after) = (rest(before)?, rest(after)?);
    let member = |members: &[(Value, Value)], key: &str| {
        members
            .iter()
            .find(|(known, _)| known.as_text() == Some(key))
            .map(|(_, value)| value.clone())
    };
    for list in LISTS {
        let is_ours = |item: &Value| {
            let name = item.member("name").and_then(Value::as_text);
            entries.iter().any(|entry| {
                name == Some(if list == "contexts" {
                    &entry.context
                } else {
                    &entry.name
                })
            })
        };
        let others = |value: Option<Value>| match value {
            Some(Value::List(items)) => items.into_iter().filter(|item| !is_ours(item)).collect(),
            _ => Vec::new(),
        };
        if others(member(&before, list)) != others(member(&after, list)) {
            return Err(EditError::Harm(list));
        }
    }
    let kept = |(key, _): &&(Value, Value)| {
        key.as_text()
            .is_none_or(|key| key != "current-context" && !LISTS.contains(&key))
    };
    let same = before.iter().filter(kept).all(|pair| after.contains(pair));
    if same { Ok(()) } else { Err(EditError::Harm("the rest")) }
}
