//! Typed scalars: durations, sizes, references to secrets. `15m` and `64MiB` are values, not magic strings.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration: a whole number and one of `s`, `m`, `h`, `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// So many hours.
    #[must_use]
    pub const fn hours(hours: u64) -> Self {
        Self(Duration::from_secs(hours * 3_600))
    }

    /// So many minutes.
    #[must_use]
    pub const fn minutes(minutes: u64) -> Self {
        Self(Duration::from_secs(minutes * 60))
    }

    /// The duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            s if s > 0 && s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s > 0 && s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            s if s > 0 && s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

impl std::str::FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let seconds = match number_and_unit(text) {
            Some((number, "s")) => Some(number),
            Some((number, "m")) => number.checked_mul(60),
            Some((number, "h")) => number.checked_mul(3_600),
            Some((number, "d")) => number.checked_mul(86_400),
            _ => None,
        };
        seconds
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| format!("`{text}` is no duration: write a number and s, m, h or d, such as `15m`"))
    }
}

/// A size in bytes: a whole number and one of `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Size {
    /// The largest.
    pub const MAX: Self = Self(u64::MAX);

    /// So many mebibytes.
    #[must_use]
    pub const fn mebibytes(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes % (1 << 30) == 0 => write!(f, "{}GiB", bytes >> 30),
            bytes if bytes > 0 && bytes % (1 << 20) == 0 => write!(f, "{}MiB", bytes >> 20),
            bytes => write!(f, "{}KiB", bytes >> 10),
        }
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let shift = |number: u64, by: u32| number.checked_mul(1_u64 << by);
        let bytes = match number_and_unit(text) {
            Some((number, "KiB")) => shift(number, 10),
            Some((number, "MiB")) => shift(number, 20),
            Some((number, "GiB")) => shift(number, 30),
            _ => None,
        };
        bytes
            .map(Self)
            .ok_or_else(|| format!("`{text}` is no size: write a number and KiB, MiB or GiB, such as `64MiB`"))
    }
}

/// Where a secret is to be read; the configuration itself never holds one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// `${env:NAME}`.
    Environment(String),
    /// `${file:/path}`; one final line end is cut.
    File(String),
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment(name) => write!(f, "${{env:{name}}}"),
            Self::File(path) => write!(f, "${{file:{path}}}"),
        }
    }
}

impl std::str::FromStr for Secret {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text
            .strip_prefix("${")
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap_or_default();
        match inner.split_once(':') {
            Some(("env", name)) if !name.is_empty() => Ok(Self::Environment(name.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            // The text is not repeated: it may be the secret itself.
            _ => Err("a secret is never written here: use `${env:NAME}` or `${file:/path}`".to_owned()),
        }
    }
}

macro_rules! text_value {
    ($type:ty, $name:literal, $says:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $name, "description": $says })
            }
        }
    };
}

text_value!(Span, "duration", "a whole number and s, m, h or d, such as `15m`");
text_value!(Size, "size", "a whole number and KiB, MiB or GiB, such as `64MiB`");
text_value!(Secret, "secretReference", "`${env:NAME}` or `${file:/path}`");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_read_back_what_they_show() {
        for text in ["1s", "90s", "15m", "8h", "7d"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for text in ["4KiB", "64MiB", "8GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "15",
            "m",
            "1.5h",
            "-1s",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_secret_that_is_written_out_is_refused_without_being_repeated() {
        let error = "hunter2".parse::<Secret>().unwrap_err();
        assert!(!error.contains("hunter2"));
        assert_eq!("${env:A}".parse(), Ok(Secret::Environment("A".into())));
    }
}
