//! Streams that are for no terminal.

use super::{LONGEST_LINE, begins_with_mark, first_shown, push_plain};
use crate::cast::Utf8;

/// A stream that is for no terminal, as lines: each byte that is none of a letter is escaped, so that the lines say what passed.
pub(super) struct Verbatim {
    utf8: Utf8,
    line: String,
    /// Letters of the line.
    length: usize,
    prefix: &'static str,
}

impl Verbatim {
    pub(super) fn new(prefix: &'static str) -> Self {
        Self {
            utf8: Utf8::default(),
            line: String::new(),
            length: 0,
            prefix,
        }
    }

    /// Reads on; the lines that are complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> String {
        let text = self.utf8.text(bytes);
        let mut done = String::new();
        for letter in text.chars() {
            match letter {
                '\n' => self.end(&mut done),
                '\\' => self.line.push_str("\\\\"),
                _ => push_plain(letter, &mut self.line),
            }
            self.length = if letter == '\n' {
                0
            } else {
                self.length.saturating_add(1)
            };
            if self.length == LONGEST_LINE {
                self.end(&mut done);
            }
        }
        done
    }

    /// The line that was begun.
    pub(super) fn finish(&mut self) -> String {
        let mut done = String::new();
        self.line.push_str(&self.utf8.finish());
        if !self.line.is_empty() {
            self.end(&mut done);
        }
        done
    }

    fn end(&mut self, done: &mut String) {
        self.length = 0;
        done.push_str(self.prefix);
        // A backslash in it is escaped already.
        if self.prefix.is_empty() && begins_with_mark(&self.line) && first_shown(&self.line) != Some('\\') {
            done.push('\\');
        }
        done.push_str(&self.line);
        done.push('\n');
        self.line.clear();
    }
}
