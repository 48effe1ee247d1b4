//! How long to wait before what is shown next.

use std::time::Duration;

/// The pace at which a recording is played.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// What came before is shown at once.
    pub(super) from: Duration,
    /// The longest pause, before it is shortened by the speed.
    pub(super) idle: Duration,
    /// As many times as fast as it was.
    pub(super) speed: f64,
}

impl Pace {
    /// How long to wait between something at `last` and something at `at`.
    pub(super) fn between(&self, last: Duration, at: Duration) -> Duration {
        let gap = at.saturating_sub(last.max(self.from)).min(self.idle);
        Duration::try_from_secs_f64(gap.as_secs_f64() / self.speed).unwrap_or(gap)
    }

    /// The same, begun anew where it had come to.
    pub(super) fn going_on_at(self, reached: Duration) -> Self {
        let from = self.from.max(reached);
        Self { from, ..self }
    }
}

/// `90s`, `1m30s`, `1h`, `500ms`, `2`.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no time; one is 90s, 1m30s, 1h or 500ms");
    let (mut rest, mut all) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let (number, more) = rest.split_at(digits);
        let units = more.find(|letter: char| letter.is_ascii_digit()).unwrap_or(more.len());
        let (unit, more) = more.split_at(units);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let one = match unit {
            "ms" => Duration::from_millis(1),
            "" | "s" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            _ => return Err(wrong()),
        };
        all = all.saturating_add(one.saturating_mul(number));
        rest = more;
    }
    if text.is_empty() { Err(wrong()) } else { Ok(all) }
}

/// `0.25` to `100`.
pub(super) fn speed(text: &str) -> Result<f64, String> {
    let speed = text.strip_suffix(['x', '×']).unwrap_or(text).parse().ok();
    speed
        .filter(|speed| (0.25..=100.0).contains(speed))
        .ok_or_else(|| format!("`{text}` is no speed; one is 0.25 to 100"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_cut_and_shortened_and_what_came_before_is_shown_at_once() {
        let pace = Pace {
            from: Duration::from_secs(10),
            idle: Duration::from_secs(2),
            speed: 4.0,
        };
        let between = |last: u64, at: u64| pace.between(Duration::from_millis(last), Duration::from_millis(at));
        assert_eq!(between(0, 9_000), Duration::ZERO);
        assert_eq!(between(9_000, 10_400), Duration::from_millis(100));
        assert_eq!(between(11_000, 11_200), Duration::from_millis(50));
        assert_eq!(between(12_000, 99_000), Duration::from_millis(500));
        let later = pace.going_on_at(Duration::from_secs(60));
        assert_eq!(later.from, Duration::from_secs(60));
        assert_eq!(later.going_on_at(Duration::from_secs(9)).from, Duration::from_secs(60));
    }

    #[test]
    fn times_and_speeds_are_read_as_people_write_them() {
        for (text, millis) in [
            ("90s", 90_000),
            ("1m30s", 90_000),
            ("2", 2_000),
            ("500ms", 500),
            ("1h1m", 3_660_000),
        ] {
            assert_eq!(span(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "1d", "1.5s", "-1s", "99999999999s"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert_eq!((speed("4"), speed("0.5x")), (Ok(4.0), Ok(0.5)));
        for text in ["0", "-1", "101", "nan", "fast"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
