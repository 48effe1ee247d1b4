//! Arithmetic and comparison. Overflow is an error, never a wrap.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Function, Outcome, times};
use crate::evaluate::Meter;
use crate::{Fault, Value};

pub(super) fn apply(function: Function, arguments: &[Value], meter: &mut Meter) -> Outcome {
    match arguments {
        [Value::Int(value)] => Some(value.checked_neg().map(Value::Int).ok_or(Fault::Overflow("-"))),
        [Value::Double(value)] => Some(Ok(Value::Double(-value))),
        [Value::Int(a), Value::Int(b)] => Some(integers(function, *a, *b)),
        [Value::Uint(a), Value::Uint(b)] => Some(unsigned(function, *a, *b)),
        [Value::Double(a), Value::Double(b)] => doubles(function, *a, *b),
        [a, b] if function == Function::Add => join(a, b, meter).or_else(|| times::add(a, b)),
        [a, b] if function == Function::Subtract => times::subtract(a, b),
        _ => None,
    }
}

fn integers(function: Function, a: i64, b: i64) -> Result<Value, Fault> {
    if b == 0 && matches!(function, Function::Divide | Function::Remainder) {
        return Err(Fault::DivisionByZero);
    }
    let result = match function {
        Function::Add => a.checked_add(b),
        Function::Subtract => a.checked_sub(b),
        Function::Multiply => a.checked_mul(b),
        Function::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    result.map(Value::Int).ok_or(Fault::Overflow(function.name()))
}

fn unsigned(function: Function, a: u64, b: u64) -> Result<Value, Fault> {
    if b == 0 && matches!(function, Function::Divide | Function::Remainder) {
        return Err(Fault::DivisionByZero);
    }
    let result = match function {
        Function::Add => a.checked_add(b),
        Function::Subtract => a.checked_sub(b),
        Function::Multiply => a.checked_mul(b),
        Function::Divide => a.checked_div(b),
        _ => a.checked_rem(b),
    };
    result.map(Value::Uint).ok_or(Fault::Overflow(function.name()))
}

fn doubles(function: Function, a: f64, b: f64) -> Outcome {
    let result = match function {
        Function::Add => a + b,
        Function::Subtract => a - b,
        Function::Multiply => a * b,
        Function::Divide => a / b,
        _ => return None,
    };
    Some(Ok(Value::Double(result)))
}

/// `+` of texts, octets and lists.
fn join(a: &Value, b: &Value, meter: &mut Meter) -> Outcome {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(
            meter
                .built(a.len() + b.len())
                .map(|()| Value::String(Arc::from([&**a, &**b].concat()))),
        ),
        (Value::Bytes(a), Value::Bytes(b)) => Some(
            meter
                .built(a.len() + b.len())
                .map(|()| Value::Bytes(Arc::from([&**a, &**b].concat()))),
        ),
        // One that is empty leaves the other as it is, also as one that was given.
        (Value::List(a), Value::List(b)) if a.is_empty() => Some(Ok(Value::List(Arc::clone(b)))),
        (Value::List(a), Value::List(b)) if b.is_empty() => Some(Ok(Value::List(Arc::clone(a)))),
        (Value::List(a), Value::List(b)) => Some(
            meter
                .built_items(a.len() + b.len())
                .map(|()| Value::List(a.iter().chain(b.iter()).cloned().collect())),
        ),
        _ => None,
    }
}

pub(super) fn compare(function: Function, arguments: &[Value], meter: &mut Meter) -> Outcome {
    let (a, b) = match arguments {
        [Value::Bool(value)] if function == Function::Not => return Some(Ok(Value::Bool(!value))),
        [a, b] => (a, b),
        _ => return None,
    };
    if let Err(fault) = meter.compares(a, b) {
        return Some(Err(fault));
    }
    match function {
        // An address or network is compared with its like or null only; as the second operand, it is merely another thing.
        // Not to be equal is more than not to be comparable: `!=` is true then.
        Function::Equal if is_network(a) && !matches!(b, Value::Null) && a.type_name() != b.type_name() => None,
        Function::Equal => Some(Ok(Value::Bool(a == b))),
        Function::NotEqual => Some(Ok(Value::Bool(a != b))),
        _ => ordered(function, a, b),
    }
}

const fn is_network(value: &Value) -> bool {
    matches!(value, Value::Ip(_) | Value::Cidr(_))
}

fn ordered(function: Function, a: &Value, b: &Value) -> Outcome {
    let Some(order) = a.order(b) else {
        // Not a number has no place in the order of numbers.
        return (a.is_number() && b.is_number()).then_some(Err(Fault::InvalidArgument(function.name())));
    };
    Some(Ok(Value::Bool(match function {
        Function::Less => order == Ordering::Less,
        Function::LessEqual => order != Ordering::Greater,
        Function::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })))
}
