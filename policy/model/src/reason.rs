//! Why somebody does something, in their own words: read in one way wherever it comes from.

/// One line of readable text: it stands in records and is shown in terminals.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason(String);

/// Why a text is no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReason {
    /// It has control characters or ends of lines or paragraphs.
    #[error("a reason is one line of text")]
    NotOneLine,
    /// It has marks after which text is read the other way.
    #[error("a reason has no marks that change the direction of writing (U+{:04X})", u32::from(*.0))]
    Direction(char),
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
    /// It is not one line, could be shown as if it said something else, or has not 3 to 500 characters.
    pub fn parse(text: &str) -> Result<Self, NoReason> {
        let text = text.trim();
        if text.chars().any(ends_line) {
            Err(NoReason::NotOneLine)
        } else if let Some(mark) = text.chars().find(|one| changes_direction(*one)) {
            Err(NoReason::Direction(mark))
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

fn ends_line(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Whether a character is no letter and makes those around it stand in another order (Unicode UAX #9 §2: embeddings, overrides,
/// isolates and the three marks). Text with one can look as if it said something else.
#[must_use]
pub const fn changes_direction(character: char) -> bool {
    matches!(
        character,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
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
            ("two\u{2028}lines", NoReason::NotOneLine),
            ("two\u{2029}lines", NoReason::NotOneLine),
            ("TICKET-7\u{85}x", NoReason::NotOneLine),
        ] {
            assert_eq!(parse(text), Err(why), "{text:?}");
        }
        assert_eq!(parse(&"x".repeat(501)), Err(NoReason::Length));
    }

    /// In a terminal it could be read as another reason, or as somebody else's words.
    #[test]
    fn a_reason_is_read_in_the_order_in_which_it_is_written() {
        for mark in
            "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars()
        {
            let text = format!("TICKET-7{mark}1174");
            assert_eq!(Reason::parse(&text), Err(NoReason::Direction(mark)), "{mark:?}");
        }
        assert_eq!(
            NoReason::Direction('\u{202e}').to_string(),
            "a reason has no marks that change the direction of writing (U+202E)"
        );
        let hebrew = "שלום TICKET-7";
        assert_eq!(Reason::parse(hebrew).map(String::from), Ok(hebrew.to_owned()));
    }
}
