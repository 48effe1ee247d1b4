//! An error and its causes as one line: `Display` of ours says one level only (kept apart, so that no level is told twice), and
//! whoever shows one to a person, or keeps it in a record, puts them together here.

use std::error::Error;

/// The error with its causes, joined by `: `. A cause that the level above it ends with already, as errors of others do, is not
/// said again.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut said = text.clone();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !said.ends_with(&words) {
            text = format!("{text}: {words}");
            said = words;
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Level>>);

    impl std::fmt::Display for Level {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str(self.0)
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
        }
    }

    fn levels(words: &[&'static str]) -> Level {
        let mut below = None;
        for word in words.iter().rev() {
            below = Some(Box::new(Level(word, below)));
        }
        *below.unwrap()
    }

    #[test]
    fn each_cause_is_said_once_also_where_the_level_above_says_it_too() {
        let said = |words: &[&'static str]| chain(&levels(words));
        assert_eq!(said(&["cannot connect"]), "cannot connect");
        assert_eq!(
            said(&["cannot connect", "refused", "os error 111"]),
            "cannot connect: refused: os error 111"
        );
        assert_eq!(said(&["cannot connect: refused", "refused"]), "cannot connect: refused");
        assert_eq!(
            said(&["a: b", "b", "c"]),
            "a: b: c",
            "what was passed over hides no further cause"
        );
    }
}
