//! What values are compared with.

use std::net::IpAddr;

use crate::row::Outcome;

/// Text with `*` for any characters; upper and lower case are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    text: String,
    is_glob: bool,
}

impl Pattern {
    /// `typed` without quotes has its `*` as a sign; in quotes everything stands for itself.
    pub(super) fn new(typed: &str, quoted: bool) -> Self {
        Self {
            text: typed.to_lowercase(),
            is_glob: !quoted && typed.contains('*'),
        }
    }

    /// In lower case, as typed.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The whole text, when it holds no sign.
    pub(crate) fn exact(&self) -> Option<&str> {
        (!self.is_glob).then_some(self.text.as_str())
    }

    pub(crate) fn matches(&self, found: &str) -> bool {
        if self.is_glob {
            return glob(&self.text, &found.to_lowercase());
        }
        // Most values are ASCII and of another length: no allocation for those.
        if found.is_ascii() {
            return found.eq_ignore_ascii_case(&self.text);
        }
        found.to_lowercase() == self.text
    }

    /// As [`Pattern::matches`], and also what merely contains the text.
    pub(crate) fn is_in(&self, found: &str) -> bool {
        if self.is_glob {
            return self.matches(found);
        }
        found.to_lowercase().contains(&self.text)
    }
}

/// The pieces between the stars must stand in this order: linear, since the first place of each piece is the best one.
fn glob(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = rest.get(at + piece.len()..).unwrap_or_default();
    }
    rest.ends_with(last)
}

/// A test on the HTTP status: from, to, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusTest {
    from: u16,
    to: u16,
}

impl StatusTest {
    pub(super) fn read(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u16>().ok()).flatten()
        };
        if let Some(rest) = text.strip_prefix(">=") {
            return number(rest).map(|from| Self { from, to: 999 });
        }
        if let Some(rest) = text.strip_prefix("<=") {
            return number(rest).map(|to| Self { from: 0, to });
        }
        if let Some(rest) = text.strip_prefix('>') {
            return number(rest).map(|from| Self {
                from: from + 1,
                to: 999,
            });
        }
        if let Some(rest) = text.strip_prefix('<') {
            return number(rest).map(|to| Self {
                from: 0,
                to: to.saturating_sub(1),
            });
        }
        let lower = text.to_ascii_lowercase();
        if let Some(class) = lower.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            return Some(Self {
                from: class * 100,
                to: class * 100 + 99,
            });
        }
        number(text).map(|status| Self {
            from: status,
            to: status,
        })
    }

    pub(super) fn holds(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

/// How an act ended, as one asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// By the name in the record or of [`Outcome::end`].
    Named(&'static str),
    /// Refused by the gateway or the cluster.
    Refused,
    /// Answered with a status below 400.
    Ok,
    /// Anything that did not end well and was not refused.
    Failed,
}

impl Ending {
    /// What can be typed.
    pub(super) const NAMES: [&'static str; 12] = [
        "ok",
        "refused",
        "failed",
        "unknown",
        "inFlight",
        "answered",
        "notSent",
        "clientGone",
        "upstreamLost",
        "ended",
        "notRecorded",
        "notRead",
    ];

    pub(super) fn read(text: &str) -> Option<Self> {
        let name = Self::NAMES.into_iter().find(|name| name.eq_ignore_ascii_case(text))?;
        Some(match name {
            "ok" => Self::Ok,
            "refused" => Self::Refused,
            "failed" => Self::Failed,
            other => Self::Named(other),
        })
    }

    pub(super) fn holds(self, outcome: Option<&Outcome>, refused: bool) -> bool {
        let end = outcome.map_or("", |outcome| outcome.end.as_str());
        let good = outcome
            .and_then(|outcome| outcome.status)
            .is_none_or(|status| status < 400);
        match self {
            Self::Named(name) => end == name,
            Self::Refused => refused,
            Self::Ok => !refused && matches!(end, "answered" | "ended" | "clientGone") && good,
            Self::Failed => {
                !refused && (matches!(end, "unknown" | "upstreamLost" | "notSent") || (end == "answered" && !good))
            }
        }
    }
}

/// A client address: one, several by `*`, or a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Like(Pattern),
    Network(IpAddr, u8),
}

impl Address {
    pub(super) fn read(text: &str, quoted: bool) -> Option<Self> {
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits: u8 = bits.parse().ok().filter(|bits| *bits <= most)?;
            return Some(Self::Network(address, bits));
        }
        let pattern = Pattern::new(text, quoted);
        let fits = match pattern.exact() {
            Some(exact) => exact.parse::<IpAddr>().is_ok(),
            None => text
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':' | b'*')),
        };
        fits.then_some(Self::Like(pattern))
    }

    pub(super) fn holds(&self, found: &str) -> bool {
        match self {
            Self::Like(pattern) => pattern.matches(found),
            Self::Network(network, bits) => match (network, found.parse()) {
                (IpAddr::V4(network), Ok(IpAddr::V4(found))) => {
                    let keep = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                    network.to_bits() & keep == found.to_bits() & keep
                }
                (IpAddr::V6(network), Ok(IpAddr::V6(found))) => {
                    let keep = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                    network.to_bits() & keep == found.to_bits() & keep
                }
                _ => false,
            },
        }
    }
}
