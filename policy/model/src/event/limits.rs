//! What a record has of a text, held against the text as somebody else has it.
//!
//! Exactly, and without a guess at which words are a record's own: a text may itself end in `… (N bytes)`. So what somebody else has is
//! written as a record writes it, and both are compared.

use super::record::MOST_TEXT;
use super::writer::RecordWriter;

/// How long a record is at least whose texts were cut shorter than to 1 KiB: only one that would have more than 16 KiB is, and that takes
/// so many texts that their beginnings alone are longer.
const LONG_RECORD: usize = 4_000;

/// Bytes of a text that is never cut to 1 KiB, whatever of it is escaped: `\u0000` for one.
const ALWAYS_WHOLE: usize = 1_024 / 6;

/// What the texts of one record may have been cut to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextLimits {
    is_long: bool,
}

impl TextLimits {
    /// Of a record whose leaf has so many bytes.
    #[must_use]
    pub const fn of(leaf: usize) -> Self {
        Self {
            is_long: leaf >= LONG_RECORD,
        }
    }

    /// Whether `kept` is what a record has of `whole`: all of it, or its beginning and how long it was.
    #[must_use]
    pub fn is_kept_of(self, kept: &str, whole: &str) -> bool {
        // So short, no text is cut; nearly always.
        if kept == whole && whole.len() <= ALWAYS_WHOLE {
            return true;
        }
        let limits = MOST_TEXT.iter().take(if self.is_long { MOST_TEXT.len() } else { 1 });
        let may_be = kept == whole || Self::length_said(kept) == Some(whole.len());
        may_be && limits.into_iter().any(|most| cut(whole, *most) == kept)
    }

    /// Whether `kept` is what a record has of a text with which `whole` begins.
    #[must_use]
    pub fn is_kept_of_the_beginning(self, kept: &str, whole: &str) -> bool {
        let beginning = Self::length_said(kept).and_then(|length| whole.get(..length));
        let is_whole = whole.starts_with(kept) && self.is_kept_of(kept, kept);
        is_whole || beginning.is_some_and(|beginning| self.is_kept_of(kept, beginning))
    }

    /// How many bytes a text had, by the words of a record that has its beginning alone; or by words of the text's own that look like them.
    #[must_use]
    pub fn length_said(kept: &str) -> Option<usize> {
        Self::beginning_said(kept).map(|(_, length)| length)
    }

    /// That beginning, and how many bytes the text had.
    #[must_use]
    pub fn beginning_said(kept: &str) -> Option<(&str, usize)> {
        let (beginning, length) = kept.strip_suffix(" bytes)")?.rsplit_once("… (")?;
        Some((beginning, length.parse().ok()?))
    }
}

/// A text as a record has it.
fn cut(text: &str, most: usize) -> String {
    let mut out = Vec::new();
    RecordWriter { out: &mut out, most }.text(text);
    serde_json::from_slice(&out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Effective, Record};

    /// A leaf with a text, as long as its groups make it.
    fn leaf(text: &str, groups: &[String]) -> (Vec<u8>, String) {
        let effective = Effective {
            user: "",
            uid: None,
            groups,
            groups_count: None,
            groups_hash: None,
            extra_keys: Vec::new(),
            extra_count: None,
        };
        let record = Record {
            effective: Some(effective),
            note: Some(text),
            ..Record::default()
        };
        let leaf = record.body().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&leaf).unwrap();
        let kept = read["note"].as_str().unwrap().to_owned();
        (leaf, kept)
    }

    #[test]
    fn a_text_that_ends_as_one_that_was_cut_stands_for_itself_alone() {
        let long = "a".repeat(1_200);
        let own = format!("{}… (1200 bytes)", "a".repeat(40));
        let (short, any) = (TextLimits::of(1_000), TextLimits::of(16_000));
        for limits in [short, any] {
            assert!(limits.is_kept_of(&own, &own));
            assert!(!limits.is_kept_of(&own, &long), "too short a beginning");
            assert!(!limits.is_kept_of_the_beginning(&own, &long));
            assert!(limits.is_kept_of_the_beginning(&own, &format!("{own}x")));
        }
        // Where a record was too long its texts are cut to 64 bytes; no short one's are.
        let at_64 = format!("{}… (1200 bytes)", "a".repeat(64));
        assert!(any.is_kept_of(&at_64, &long) && !short.is_kept_of(&at_64, &long));
        assert!(!any.is_kept_of(&at_64.replace("1200", "01200"), &long));
    }

    fn a_text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,40}",
            "[a-c\"\\x01]{1000,1040}",
            "(a|é){500,700}",
            "a{1,1300}",
            "[a-c]{40,1030}… \\([0-9]{1,4} bytes\\)"
        ]
    }

    proptest! {
        #[test]
        fn what_is_cut_shorter_than_usual_is_no_short_record(count in 1..400_usize, length in 1..1_500_usize) {
            let text = "x".repeat(1_200);
            let (leaf, kept) = leaf(&text, &vec!["y".repeat(length); count]);
            prop_assert!(kept.len() > 1_024 || leaf.len() >= LONG_RECORD, "{} bytes", leaf.len());
            prop_assert!(TextLimits::of(leaf.len()).is_kept_of(&kept, &text));
        }

        #[test]
        fn a_text_is_known_again_by_what_a_record_has_of_it_and_no_other_is_taken_for_it(
            (text, other) in (a_text(), a_text()),
            groups in prop::collection::vec("[a-c]{0,1500}", 0..30),
            place in any::<prop::sample::Index>(),
        ) {
            let (leaf, kept) = leaf(&text, &groups);
            let limits = TextLimits::of(leaf.len());
            let longer = format!("{text}/x");
            prop_assert!(limits.is_kept_of(&kept, &text));
            prop_assert!(limits.is_kept_of_the_beginning(&kept, &text) && limits.is_kept_of_the_beginning(&kept, &longer));
            prop_assert!(!limits.is_kept_of(&kept, &longer));
            let mut changed: Vec<char> = text.chars().collect();
            if !changed.is_empty() {
                *place.get_mut(&mut changed) = '\u{2}';
            }
            // One of the same length that differs behind what the record has is all that may be taken for it.
            let shown = kept.strip_suffix(&format!("… ({} bytes)", text.len())).filter(|_| kept != text);
            for other in [other, changed.into_iter().collect()] {
                // As long as what it was cut from, it reads as that text's and as its own: length and beginning are the same.
                if kept != text && kept.len() != text.len() && !limits.is_long {
                    prop_assert!(!limits.is_kept_of(&kept, &kept), "what was cut is no text itself");
                }
                if limits.is_kept_of(&kept, &other) {
                    prop_assert!(other.len() == text.len() && other.starts_with(shown.unwrap_or(&text)), "{other}");
                }
            }
        }
    }
}
