//! A record has a length whatever a stranger put into it: each text ends at a limit and says how long it was.
//!
//! Done where the texts are written, so that no member can be forgotten.

use std::io::{self, Write};

use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

/// Writes compact JSON whose texts have at most so many bytes.
pub(super) struct Cut {
    most: usize,
    /// Bytes of the text that is being written, as they are and as they stand in the record.
    length: usize,
    written: usize,
    is_cut: bool,
}

impl Cut {
    pub(super) const fn at(most: usize) -> Self {
        Self {
            most,
            length: 0,
            written: 0,
            is_cut: false,
        }
    }

    fn room(&self) -> usize {
        if self.is_cut {
            0
        } else {
            self.most.saturating_sub(self.written)
        }
    }
}

impl Formatter for Cut {
    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        *self = Self::at(self.most);
        writer.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let kept = fragment
            .get(..fragment.floor_char_boundary(self.room()))
            .unwrap_or_default();
        self.length = self.length.saturating_add(fragment.len());
        self.written = self.written.saturating_add(kept.len());
        self.is_cut |= kept.len() < fragment.len();
        writer.write_all(kept.as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        let escaped = if matches!(escape, CharEscape::AsciiControl(_)) {
            6
        } else {
            2
        };
        // Only ASCII is escaped.
        self.length = self.length.saturating_add(1);
        if escaped > self.room() {
            self.is_cut = true;
            return Ok(());
        }
        self.written = self.written.saturating_add(escaped);
        CompactFormatter.write_char_escape(writer, escape)
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.is_cut {
            write!(writer, "… ({} bytes)", self.length)?;
        }
        writer.write_all(b"\"")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use crate::event::{Effective, Record, Request};

    /// A record of a call with texts at a stranger's choice.
    fn body(text: &str, names: &[String], most: usize) -> Value {
        let effective = Effective {
            user: text,
            uid: Some(text),
            groups: names,
            groups_count: None,
            groups_hash: None,
            extra_keys: names.iter().map(String::as_str).collect(),
            extra_count: None,
        };
        let request = Request {
            path: text,
            namespace: Some(text),
            name: Some(text),
            ..Request::default()
        };
        let record = Record {
            effective: Some(effective),
            req: Some(request),
            note: Some(text),
            ..Record::default()
        };
        let body = record.body_within(most).unwrap();
        assert!(body.len() <= most, "{} bytes", body.len());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_text_at_the_limit_stays_whole_and_the_next_byte_cuts_it() {
        let written = |text: &str| body(text, &[], 16 << 10)["note"].as_str().unwrap().to_owned();
        let whole = "é".repeat(512);
        assert_eq!(written(&whole), whole);
        assert_eq!(written(&format!("{whole}x")), format!("{whole}… (1025 bytes)"));
        assert_eq!(
            written(&format!("x{whole}")),
            format!("x{}… (1025 bytes)", "é".repeat(511)),
            "no half of a letter"
        );
    }

    proptest! {
        #[test]
        fn any_text_stands_whole_or_with_its_beginning_and_its_length(
            text in prop_oneof!["\\PC{0,40}", "[\\x00-\\x7f]{0,3000}", "\\PC{0,2000}"],
            names in prop::collection::vec("[\\x00-\\x7f]{0,1500}", 0..8),
        ) {
            for most in [16 << 10, 4_096] {
                let written = body(&text, &names, most);
                let kept = written["note"].as_str().unwrap();
                if kept != text {
                    let said = format!("… ({} bytes)", text.len());
                    prop_assert!(kept.strip_suffix(said.as_str()).is_some_and(|kept| text.starts_with(kept) && kept.len() <= 1_024));
                }
            }
        }

        #[test]
        fn short_texts_are_written_as_anybody_writes_them(text in "[\\x00-\\x7fé€😀]{0,100}") {
            let record = Record { note: Some(&text), ..Record::default() };
            prop_assert_eq!(record.body().unwrap(), serde_json::to_vec(&record).unwrap());
        }
    }
}
