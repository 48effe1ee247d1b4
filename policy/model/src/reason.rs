//! Why somebody does something, in their own words: read in one way wherever it comes from.

/// One line of readable text: it stands in records and is shown in terminals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

/// Why a text is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReason {
    /// It has control characters, such as the end of a line.
    #[error("a reason is one line of text")]
    NotOneLine,
    /// It is too short or too long.
    #[error("a reason has 3 to 500 characters")]
    Length,
}

impl Reason {
    /// Characters of a reason, without the space around it.
    const LENGTH: std::ops::RangeInclusive<usize> = 3..=500;

    /// The text without the space around it.
    ///
    /// # Errors
    /// It is not one line, or has not 3 to 500 characters.
    pub fn parse(text: &str) -> Result<Self, NoReason> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            Err(NoReason::NotOneLine)
        } else if Self::LENGTH.contains(&text.chars().count()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NoReason::Length)
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_around_a_reason_is_no_part_of_it_and_counts_for_nothing() {
        let parse = |text: &str| Reason::parse(text).map(String::from);
        assert_eq!(parse(" \tTICKET-7\u{a0}\n"), Ok("TICKET-7".to_owned()));
        assert_eq!(parse("äöü"), Ok("äöü".to_owned()));
        assert_eq!(parse(&"x".repeat(500)).map(|text| text.len()), Ok(500));
        for (text, why) in [
            ("", NoReason::Length),
            ("  x  ", NoReason::Length),
            ("\u{a0}xy\u{a0}", NoReason::Length),
            ("two\nlines", NoReason::NotOneLine),
            ("a \u{1b}[2J b", NoReason::NotOneLine),
        ] {
            assert_eq!(parse(text), Err(why), "{text:?}");
        }
        assert_eq!(parse(&"x".repeat(501)), Err(NoReason::Length));
    }
}
