//! Text. Positions count characters (Unicode scalar values), as in cel-go.

use std::sync::Arc;

use super::lists::integer;
use super::{Function, Outcome, lists};
use crate::evaluate::Meter;
use crate::pattern::Pattern;
use crate::{Fault, Value};

pub(super) fn apply(function: Function, arguments: &[Value], meter: &mut Meter) -> Outcome {
    use Function as F;
    if let Err(fault) = charge(arguments, meter) {
        return Some(Err(fault));
    }
    let result = match (function, arguments) {
        (F::IndexOf, [Value::List(_), _]) => return lists::apply(F::ListIndexOf, arguments, meter),
        (F::LastIndexOf, [Value::List(_), _]) => return lists::apply(F::ListLastIndexOf, arguments, meter),
        (F::Contains, [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.contains(&**part))),
        (F::StartsWith, [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.starts_with(&**part))),
        (F::EndsWith, [Value::String(text), Value::String(part)]) => Ok(Value::Bool(text.ends_with(&**part))),
        (F::Matches | F::Find | F::FindAll, [text @ Value::String(_), Value::String(pattern), rest @ ..]) => {
            let limit = rest.first();
            if !limit.is_none_or(|limit| matches!(limit, Value::Int(_))) {
                return None;
            }
            // Compiling an unknown pattern costs far more than matching with it.
            if let Err(fault) = meter.step(500) {
                return Some(Err(fault));
            }
            match Pattern::new(pattern) {
                Ok(pattern) => search(function, text, &pattern, limit, meter),
                Err(_) => Err(Fault::InvalidArgument(function.name())),
            }
        }
        (F::LowerAscii, [Value::String(text)]) => made(text.to_ascii_lowercase(), meter),
        (F::UpperAscii, [Value::String(text)]) => made(text.to_ascii_uppercase(), meter),
        (F::Trim, [Value::String(text)]) => made(text.trim().to_owned(), meter),
        (F::Split, [Value::String(text), Value::String(separator), rest @ ..]) => split(text, separator, rest, meter)?,
        (F::Join, [Value::List(items), rest @ ..]) => join(items, rest, meter)?,
        (F::Replace, [Value::String(text), Value::String(old), Value::String(new), rest @ ..]) => {
            replace(text, old, new, rest, meter)?
        }
        (F::Substring, [Value::String(text), Value::Int(start)]) => substring(text, *start, None, meter),
        (F::Substring, [Value::String(text), Value::Int(start), Value::Int(end)]) => {
            substring(text, *start, Some(*end), meter)
        }
        (F::CharAt, [Value::String(text), Value::Int(at)]) => char_at(text, *at),
        (F::IndexOf, [Value::String(text), Value::String(part), rest @ ..]) => index_of(text, part, rest)?,
        (F::LastIndexOf, [Value::String(text), Value::String(part), rest @ ..]) => last_index_of(text, part, rest)?,
        _ => return None,
    };
    Some(result)
}

fn charge(arguments: &[Value], meter: &mut Meter) -> Result<(), Fault> {
    arguments
        .iter()
        .filter_map(Value::as_text)
        .try_for_each(|text| meter.reads(text.len()))
}

fn made(text: String, meter: &mut Meter) -> Result<Value, Fault> {
    meter.built(text.len())?;
    Ok(Value::String(Arc::from(text)))
}

/// `matches`, `find` or `findAll` with a pattern that is compiled.
pub(crate) fn search(
    function: Function,
    target: &Value,
    pattern: &Pattern,
    limit: Option<&Value>,
    meter: &mut Meter,
) -> Result<Value, Fault> {
    let text = text_of(target).ok_or(Fault::NoSuchOverload(function.name()))?;
    meter.step(text.len() / 4)?;
    match (function, limit) {
        (Function::Matches, _) => Ok(Value::Bool(pattern.is_match(text))),
        (Function::Find, _) => made(pattern.find(text).unwrap_or_default().to_owned(), meter),
        (_, None) => texts(pattern.find_all(text), meter),
        (_, Some(limit)) => {
            let limit = whole_of(limit).ok_or(Fault::NoSuchOverload(function.name()))?;
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            texts(pattern.find_all(text).take(limit), meter)
        }
    }
}

/// With a constant pattern, cel-go takes whatever is a text of Go: also a type's name, and what an optional value holds.
fn text_of(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        Value::Type(name) => Some(name),
        Value::Optional(Some(inner)) => text_of(inner),
        _ => None,
    }
}

fn whole_of(value: &Value) -> Option<i64> {
    match value {
        Value::Int(whole) => Some(*whole),
        Value::Optional(Some(inner)) => whole_of(inner),
        _ => None,
    }
}

fn texts<'a>(parts: impl Iterator<Item = &'a str>, meter: &mut Meter) -> Result<Value, Fault> {
    let mut list = Vec::new();
    for part in parts {
        meter.built_items(1)?;
        meter.built(part.len())?;
        list.push(Value::text(part));
    }
    Ok(Value::list(list))
}

fn split(text: &str, separator: &str, rest: &[Value], meter: &mut Meter) -> Outcome {
    let limit = match rest {
        [] => usize::MAX,
        [Value::Int(0)] => return Some(Ok(Value::list(Vec::new()))),
        [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
        _ => return None,
    };
    if !separator.is_empty() {
        return Some(texts(text.splitn(limit, separator), meter));
    }
    // An empty separator gives the characters, the last part holding the rest.
    let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).take(limit).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    Some(texts(
        starts
            .iter()
            .zip(ends)
            .map(|(start, end)| text.get(*start..end).unwrap_or_default()),
        meter,
    ))
}

fn join(items: &[Value], rest: &[Value], meter: &mut Meter) -> Outcome {
    let separator = match rest {
        [] => "",
        [Value::String(separator)] => separator,
        _ => return None,
    };
    let parts: Option<Vec<&str>> = items.iter().map(Value::as_text).collect();
    let parts = parts?;
    let length = parts.iter().map(|part| part.len() + separator.len()).sum();
    Some(
        meter
            .built(length)
            .map(|()| Value::String(Arc::from(parts.join(separator)))),
    )
}

fn replace(text: &str, old: &str, new: &str, rest: &[Value], meter: &mut Meter) -> Outcome {
    let limit = match rest {
        [] => usize::MAX,
        [Value::Int(limit)] => usize::try_from(*limit).unwrap_or(usize::MAX),
        _ => return None,
    };
    let places = text.matches(old).take(limit).count();
    let length = text.len().saturating_add(places.saturating_mul(new.len()));
    Some(
        meter
            .built(length)
            .map(|()| Value::String(Arc::from(text.replacen(old, new, limit)))),
    )
}

fn substring(text: &str, start: i64, end: Option<i64>, meter: &mut Meter) -> Result<Value, Fault> {
    let from = offset(text, start).ok_or(Fault::IndexOutOfRange)?;
    let to = match end {
        Some(end) => offset(text, end).ok_or(Fault::IndexOutOfRange)?,
        None => text.len(),
    };
    let part = text.get(from..to).ok_or(Fault::IndexOutOfRange)?;
    made(part.to_owned(), meter)
}

/// Byte offset of the character at this position; the end of the text is a position.
fn offset(text: &str, position: i64) -> Option<usize> {
    let position = usize::try_from(position).ok()?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(position)
}

fn char_at(text: &str, at: i64) -> Result<Value, Fault> {
    let from = offset(text, at).ok_or(Fault::IndexOutOfRange)?;
    let character = text.get(from..).and_then(|rest| rest.chars().next());
    Ok(Value::String(
        character.map_or_else(|| Arc::from(""), |c| Arc::from(c.to_string())),
    ))
}

fn index_of(text: &str, part: &str, rest: &[Value]) -> Outcome {
    let from = match rest {
        [] => 0,
        [Value::Int(from)] => *from,
        _ => return None,
    };
    if part.is_empty() {
        return Some(Ok(Value::Int(from)));
    }
    if from < 0 {
        return Some(Err(Fault::IndexOutOfRange));
    }
    let Some(start) = offset(text, from) else {
        return Some(Ok(Value::Int(-1)));
    };
    let found = text
        .get(start..)
        .and_then(|rest| rest.find(part))
        .map(|at| characters(text, start + at));
    Some(found.map_or(Ok(Value::Int(-1)), integer))
}

fn last_index_of(text: &str, part: &str, rest: &[Value]) -> Outcome {
    let length = text.chars().count();
    let from = match rest {
        [] if part.is_empty() => return Some(integer(length)),
        [] => i64::try_from(length).unwrap_or(i64::MAX).saturating_sub(1).max(0),
        [Value::Int(from)] if part.is_empty() => return Some(Ok(Value::Int(*from))),
        [Value::Int(from)] if *from < 0 => return Some(Err(Fault::IndexOutOfRange)),
        [Value::Int(from)] => *from,
        _ => return None,
    };
    if usize::try_from(from).is_ok_and(|from| from >= length) {
        return Some(Ok(Value::Int(-1)));
    }
    let end = offset(text, from).map_or(text.len(), |at| text.len().min(at + part.len()));
    let end = (end..=text.len())
        .find(|end| text.is_char_boundary(*end))
        .unwrap_or(text.len());
    let start = offset(text, from).unwrap_or(0);
    let found = text
        .get(..end)
        .unwrap_or(text)
        .rmatch_indices(part)
        .map(|(at, _)| at)
        .find(|at| *at <= start);
    Some(found.map_or(Ok(Value::Int(-1)), |at| integer(characters(text, at))))
}

fn characters(text: &str, bytes: usize) -> usize {
    text.get(..bytes).unwrap_or(text).chars().count()
}
