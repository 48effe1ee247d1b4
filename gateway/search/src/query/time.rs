//! Points in time as people type them.

use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use model::time::Timestamp;

/// A bound in time; what is relative is resolved when the search begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeBound {
    /// So long before now.
    Ago(Duration),
    /// The beginning of the day that is so many days before today, in UTC.
    Day(u16),
    /// A point in time.
    At(Timestamp),
}

/// A day, as UTC has no others.
const DAY: Duration = Duration::from_secs(86_400);

impl TimeBound {
    /// The point in time.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(duration) => now.minus(duration),
            Self::Day(before) => {
                let today = now.unix_seconds().div_euclid(86_400).saturating_mul(86_400);
                Timestamp::from_unix_seconds(today).minus(DAY * u32::from(before))
            }
            Self::At(time) => time,
        }
    }
}

/// Reads `90s`, `5m`, `2h`, `7d`, `4w` (ago), `today`, `yesterday` (its beginning), `2026-11-01`, `2026-11-01T10:30` (both UTC) or RFC 3339.
#[must_use]
pub fn read_time(text: &str) -> Option<TimeBound> {
    if let Some(duration) = duration(text) {
        return Some(TimeBound::Ago(duration));
    }
    if let Some(before) = ["today", "yesterday"]
        .into_iter()
        .position(|day| day.eq_ignore_ascii_case(text))
    {
        return u16::try_from(before).ok().map(TimeBound::Day);
    }
    if !text.is_ascii() || text.len() > 40 {
        return None;
    }
    if let Ok(time) = Timestamp::parse(text) {
        return Some(TimeBound::At(time));
    }
    let civil: DateTime = if text.len() == 10 {
        text.parse::<Date>().ok()?.to_datetime(jiff::civil::Time::midnight())
    } else if text.len() >= 16 && text.as_bytes().get(4) == Some(&b'-') && !text.contains('[') {
        text.parse().ok()?
    } else {
        return None;
    };
    let time = civil.to_zoned(TimeZone::UTC).ok()?.timestamp();
    i64::try_from(time.as_nanosecond())
        .ok()
        .map(|nanos| TimeBound::At(Timestamp::from_unix_nanos(nanos)))
}

fn duration(text: &str) -> Option<Duration> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: u64 = match text.strip_prefix(number)? {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(seconds)
        .map(Duration::from_secs)
}
