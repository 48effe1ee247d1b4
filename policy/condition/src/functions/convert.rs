//! Conversions between types.

use std::sync::Arc;

use super::{Function, Outcome, decimal, times};
use crate::evaluate::Meter;
use crate::{Fault, Value};

pub(super) fn apply(function: Function, arguments: &[Value], meter: &mut Meter) -> Outcome {
    let [value] = arguments else {
        return None;
    };
    if let Err(fault) = value.as_text().map_or(Ok(()), |text| meter.reads(text.len())) {
        return Some(Err(fault));
    }
    match function {
        Function::ToInt => to_int(value),
        Function::ToUint => to_uint(value),
        Function::ToDouble => to_double(value),
        Function::ToString => to_string(value, meter),
        Function::ToBytes => to_bytes(value, meter),
        Function::ToBool => to_bool(value),
        Function::ToTimestamp => to_timestamp(value),
        Function::ToDuration => to_duration(value),
        Function::ToDyn => Some(Ok(value.clone())),
        _ => Some(Ok(Value::Type(value.type_name()))),
    }
}

fn to_int(value: &Value) -> Outcome {
    let overflow = Fault::Overflow("int");
    Some(match value {
        Value::Int(value) => Ok(Value::Int(*value)),
        Value::Uint(value) => i64::try_from(*value).map(Value::Int).map_err(|_| overflow),
        Value::Double(value) => truncate(*value, -9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0)
            .and_then(|whole| i64::try_from(whole).ok())
            .map(Value::Int)
            .ok_or(overflow),
        Value::String(text) => text.parse().map(Value::Int).map_err(|_| Fault::InvalidArgument("int")),
        Value::Timestamp(nanos) | Value::Zoned(nanos, _) => i64::try_from(nanos.div_euclid(1_000_000_000))
            .map(Value::Int)
            .map_err(|_| overflow),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        _ => return None,
    })
}

/// The whole part, when the number lies strictly between the bounds.
fn truncate(value: f64, low: f64, high: f64) -> Option<i128> {
    (value > low && value < high).then(|| crate::value::to_i128(value.trunc()))
}

fn to_uint(value: &Value) -> Outcome {
    let overflow = Fault::Overflow("uint");
    Some(match value {
        Value::Uint(value) => Ok(Value::Uint(*value)),
        Value::Int(value) => u64::try_from(*value).map(Value::Uint).map_err(|_| overflow),
        Value::Double(value) if *value < 0.0 => Err(overflow),
        Value::Double(value) => truncate(*value, -1.0, 18_446_744_073_709_551_616.0)
            .and_then(|whole| u64::try_from(whole).ok())
            .map(Value::Uint)
            .ok_or(overflow),
        Value::String(text) if text.starts_with('+') => Err(Fault::InvalidArgument("uint")),
        Value::String(text) => text
            .parse()
            .map(Value::Uint)
            .map_err(|_| Fault::InvalidArgument("uint")),
        _ => return None,
    })
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the language rounds to the nearest double here"
)]
fn to_double(value: &Value) -> Outcome {
    Some(match value {
        Value::Double(value) => Ok(Value::Double(*value)),
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        Value::String(text) => decimal::read(text)
            .map(Value::Double)
            .ok_or(Fault::InvalidArgument("double")),
        _ => return None,
    })
}

fn to_string(value: &Value, meter: &mut Meter) -> Outcome {
    let invalid = Fault::InvalidArgument("string");
    let text = match value {
        Value::String(text) => return Some(Ok(Value::String(Arc::clone(text)))),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => decimal::print(*value),
        Value::Bool(value) => value.to_string(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => return Some(Err(invalid)),
        },
        Value::Timestamp(nanos) => match times::print_timestamp(*nanos, 0) {
            Some(text) => text,
            None => return Some(Err(invalid)),
        },
        Value::Zoned(nanos, offset) => match times::print_timestamp(*nanos, *offset) {
            Some(text) => text,
            None => return Some(Err(invalid)),
        },
        Value::Duration(nanos) => times::print_duration(*nanos),
        Value::Ip(ip) => ip.to_string(),
        Value::Cidr(network) => format!("{}/{}", network.address, network.prefix),
        _ => return None,
    };
    Some(meter.built(text.len()).map(|()| Value::String(Arc::from(text))))
}

fn to_bytes(value: &Value, meter: &mut Meter) -> Outcome {
    Some(match value {
        Value::Bytes(bytes) => Ok(Value::Bytes(Arc::clone(bytes))),
        Value::String(text) => meter
            .built(text.len())
            .map(|()| Value::Bytes(Arc::from(text.as_bytes()))),
        _ => return None,
    })
}

fn to_bool(value: &Value) -> Outcome {
    Some(match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(Fault::InvalidArgument("bool")),
        },
        _ => return None,
    })
}

fn to_timestamp(value: &Value) -> Outcome {
    Some(match value {
        Value::Timestamp(_) | Value::Zoned(..) => Ok(value.clone()),
        Value::Int(seconds) => {
            times::timestamp(i128::from(*seconds) * 1_000_000_000).ok_or(Fault::Overflow("timestamp"))
        }
        Value::String(text) => times::parse_timestamp(text).ok_or(Fault::InvalidArgument("timestamp")),
        _ => return None,
    })
}

fn to_duration(value: &Value) -> Outcome {
    Some(match value {
        Value::Duration(nanos) => Ok(Value::Duration(*nanos)),
        // cel-go declares this form and then refuses every number: a number has no unit.
        Value::Int(_) => Err(Fault::InvalidArgument("duration")),
        Value::String(text) => times::parse_duration(text).ok_or(Fault::InvalidArgument("duration")),
        _ => return None,
    })
}
