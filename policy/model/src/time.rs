//! Points in time as values. No clock is read here: time is always an argument.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted (POSIX time).
///
/// Range: years 1678 to 2262. Displayed and serialised as RFC 3339 in UTC with microseconds, the precision of
/// `metav1.MicroTime`, which `audit.k8s.io/v1` uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// The text is no RFC 3339 time, or lies outside the years 1678 to 2262.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a time in RFC 3339 form, such as `2026-11-21T14:03:00Z`")]
pub struct TimestampError(String);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last representable point; stands for "never".
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the epoch; saturates at the ends of the range.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn unix_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// This much later; saturates.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// This much earlier; saturates.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 with any offset.
    ///
    /// # Errors
    /// The text is no such time, or out of range.
    pub fn parse(text: &str) -> Result<Self, TimestampError> {
        let time: jiff::Timestamp = text
            .parse()
            .map_err(|_| TimestampError(text.chars().take(64).collect()))?;
        i64::try_from(time.as_nanosecond())
            .map(Self)
            .map_err(|_| TimestampError(text.chars().take(64).collect()))
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stamp().as_str())
    }
}

/// A time as text; without the formatting machinery, because every record is stamped several times.
struct Stamp([u8; 27]);

impl Stamp {
    fn as_str(&self) -> &str {
        // Digits and separators only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Timestamp {
    /// The years that nanoseconds reach, 1677 to 2262, have four digits.
    fn stamp(self) -> Stamp {
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let (days, second_of_day) = (
            self.unix_seconds().div_euclid(86_400),
            self.unix_seconds().rem_euclid(86_400),
        );
        let (year, month, day) = civil_from_days(days);
        let micros = self.0.rem_euclid(1_000_000_000) / 1_000;
        let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
        let fields = [
            (year, 0..4),
            (month, 5..7),
            (day, 8..10),
            (hour, 11..13),
            (minute, 14..16),
            (second, 17..19),
            (micros, 20..26),
        ];
        for (mut number, place) in fields {
            for digit in text.get_mut(place).unwrap_or_default().iter_mut().rev() {
                *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
                number /= 10;
            }
        }
        Stamp(text)
    }
}

/// Days since the epoch to a date of the proleptic Gregorian calendar (H. Hinnant, "chrono-compatible low-level date
/// algorithms"). Written out because every record is stamped and a general formatter costs several times as much.
const fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.stamp().as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_agrees_with_a_calendar_library_over_five_centuries() {
        for step in -2_000_i64..2_000 {
            let time = Timestamp::from_unix_seconds(step * 3_999_971 + step);
            let expected = jiff::Timestamp::from_second(time.unix_seconds()).unwrap();
            assert_eq!(
                time.to_string(),
                format!("{}", expected.strftime("%Y-%m-%dT%H:%M:%S.000000Z"))
            );
        }
    }

    #[test]
    fn the_first_and_the_last_time_have_years_of_four_digits() {
        let first = Timestamp::from_unix_nanos(i64::MIN).to_string();
        assert_eq!(first, "1677-09-21T00:12:43.145224Z");
        assert_eq!(Timestamp::MAX.to_string(), "2262-04-11T23:47:16.854775Z");
    }

    #[test]
    fn what_is_displayed_is_read_back_to_the_microsecond() {
        let time = Timestamp::from_unix_nanos(1_795_000_000_123_456_789);
        assert_eq!(
            Timestamp::parse(&time.to_string()).unwrap().unix_nanos(),
            1_795_000_000_123_456_000
        );
    }

    #[test]
    fn arithmetic_saturates_and_never_wraps() {
        assert_eq!(Timestamp::MAX.plus(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }

    #[test]
    fn a_text_that_is_no_time_is_refused_with_the_form_it_should_have() {
        let error = Timestamp::parse("yesterday").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`yesterday` is not a time in RFC 3339 form, such as `2026-11-21T14:03:00Z`"
        );
    }
}
