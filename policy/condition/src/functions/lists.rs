//! Lists, maps and sets.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Function, Outcome, numbers};
use crate::evaluate::Meter;
use crate::value::to_i128;
use crate::{Fault, Value};

pub(super) fn apply(function: Function, arguments: &[Value], meter: &mut Meter) -> Outcome {
    match (function, arguments) {
        (Function::Size, [value]) => size(value, meter),
        (Function::In, [item, container]) => contains(item, container, meter),
        (Function::Index, [container, key]) => index(container, key),
        (Function::OptionalIndex, [container, key]) => optional_index(container, key),
        (Function::ListIndexOf | Function::ListLastIndexOf, [Value::List(items), item]) => {
            Some(position(function, items, item, meter))
        }
        (Function::IsSorted | Function::Sum | Function::Min | Function::Max, [Value::List(items)]) => {
            fold(function, items, meter)
        }
        (
            Function::SetContains | Function::SetEquivalent | Function::SetIntersects,
            [Value::List(a), Value::List(b)],
        ) => Some(sets(function, a, b, meter)),
        _ => None,
    }
}

fn size(value: &Value, meter: &mut Meter) -> Outcome {
    let count = match value {
        Value::String(text) => {
            if let Err(fault) = meter.reads(text.len()) {
                return Some(Err(fault));
            }
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(map) => map.len(),
        _ => return None,
    };
    Some(integer(count))
}

pub(super) fn integer(count: usize) -> Result<Value, Fault> {
    i64::try_from(count)
        .map(Value::Int)
        .map_err(|_| Fault::Overflow("size"))
}

fn contains(item: &Value, container: &Value, meter: &mut Meter) -> Outcome {
    match container {
        Value::List(items) => Some(any_equal(items, item, meter).map(Value::Bool)),
        Value::Map(map) => Some(Ok(Value::Bool(map.find(item).is_some()))),
        _ => None,
    }
}

fn any_equal(items: &[Value], item: &Value, meter: &mut Meter) -> Result<bool, Fault> {
    for candidate in items {
        meter.compares(candidate, item)?;
        if candidate == item {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What lies behind an index; `Ok(None)`: nothing, in a container that could have had it.
fn look_up(container: &Value, key: &Value) -> Option<Result<Option<Value>, Fault>> {
    match container {
        Value::List(items) => {
            let position = match key {
                Value::Int(position) => i128::from(*position),
                Value::Uint(position) => i128::from(*position),
                Value::Double(position) if position.fract() == 0.0 => to_i128(*position),
                _ => return None,
            };
            // What `int` cannot hold is no position; cel-go counts the lowest double out, too.
            let lowest = matches!(key, Value::Double(_)) && position == i128::from(i64::MIN);
            if lowest || i64::try_from(position).is_err() {
                return None;
            }
            Some(Ok(usize::try_from(position).ok().and_then(|at| items.get(at)).cloned()))
        }
        Value::Map(map) => match key {
            Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_) => {
                Some(Ok(map.find(key).cloned()))
            }
            _ => None,
        },
        _ => None,
    }
}

fn index(container: &Value, key: &Value) -> Outcome {
    if matches!(container, Value::Optional(_)) {
        return optional_index(container, key);
    }
    let missing = if matches!(container, Value::List(_)) {
        Fault::IndexOutOfRange
    } else {
        Fault::NoSuchKey
    };
    look_up(container, key).map(|found| found?.ok_or(missing))
}

fn optional_index(container: &Value, key: &Value) -> Outcome {
    let inner = match container {
        Value::Optional(None) => return Some(Ok(Value::Optional(None))),
        Value::Optional(Some(inner)) => inner,
        plain => plain,
    };
    if !matches!(inner, Value::List(_) | Value::Map(_)) {
        // What holds nothing holds nothing under this key: cel-go answers so, too.
        return Some(Ok(Value::Optional(None)));
    }
    look_up(inner, key).map(|found| Ok(Value::Optional(found?.map(Arc::new))))
}

fn position(function: Function, items: &[Value], item: &Value, meter: &mut Meter) -> Result<Value, Fault> {
    for candidate in items {
        meter.compares(candidate, item)?;
    }
    let found = match function {
        Function::ListIndexOf => items.iter().position(|candidate| candidate == item),
        _ => items.iter().rposition(|candidate| candidate == item),
    };
    found.map_or(Ok(Value::Int(-1)), integer)
}

fn fold(function: Function, items: &[Value], meter: &mut Meter) -> Outcome {
    if let Err(fault) = meter.step(items.len()) {
        return Some(Err(fault));
    }
    match function {
        Function::IsSorted => is_sorted(items),
        Function::Sum => sum(items, meter),
        Function::Min => extreme(items, Ordering::Less),
        _ => extreme(items, Ordering::Greater),
    }
}

/// In ascending order, neighbours of different types not compared.
fn is_sorted(items: &[Value]) -> Outcome {
    let mut before: Option<&Value> = None;
    for item in items {
        if matches!(
            item,
            Value::Null | Value::List(_) | Value::Map(_) | Value::Optional(_) | Value::Type(_)
        ) {
            return None;
        }
        if before.is_some_and(|before| before.order(item) == Some(Ordering::Greater)) {
            return Some(Ok(Value::Bool(false)));
        }
        before = Some(item);
    }
    Some(Ok(Value::Bool(true)))
}

fn sum(items: &[Value], meter: &mut Meter) -> Outcome {
    let mut rest = items.iter();
    let Some(first) = rest.next() else {
        return Some(Ok(Value::Int(0)));
    };
    if !matches!(
        first,
        Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Duration(_)
    ) {
        return None;
    }
    let mut total = match first {
        Value::Double(first) => Value::Double(0.0 + first), // the sum starts at zero: there is no -0.0
        first => first.clone(),
    };
    for item in rest {
        total = match numbers::apply(Function::Add, &[total, item.clone()], meter)? {
            Ok(total) => total,
            fault => return Some(fault),
        };
    }
    Some(Ok(total))
}

fn extreme(items: &[Value], wanted: Ordering) -> Outcome {
    let mut rest = items.iter();
    let Some(mut best) = rest.next() else {
        return Some(Err(Fault::InvalidArgument(if wanted == Ordering::Less {
            "min"
        } else {
            "max"
        })));
    };
    if !best.is_number() {
        best.order(best)?;
    }
    for item in rest {
        match item.order(best) {
            Some(order) if order == wanted => best = item,
            Some(_) => {}
            // What is not a number is never preferred, and stays when it comes first.
            None if item.is_number() && best.is_number() => {}
            None => return None,
        }
    }
    Some(Ok(best.clone()))
}

fn sets(function: Function, a: &[Value], b: &[Value], meter: &mut Meter) -> Result<Value, Fault> {
    let verdict = match function {
        Function::SetContains => includes(a, b, meter)?,
        Function::SetEquivalent => includes(a, b, meter)? && includes(b, a, meter)?,
        _ => {
            let mut met = false;
            for item in b {
                met = met || any_equal(a, item, meter)?;
            }
            met
        }
    };
    Ok(Value::Bool(verdict))
}

fn includes(outer: &[Value], inner: &[Value], meter: &mut Meter) -> Result<bool, Fault> {
    for item in inner {
        if !any_equal(outer, item, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}
