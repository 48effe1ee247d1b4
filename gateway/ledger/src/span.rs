//! A stretch of records as words, so that all reports have the same ones.

use std::ops::Range;

/// `record 7`, or `records 7 to 9`.
#[must_use]
pub fn span(records: &Range<u64>) -> String {
    let Range { start, end } = *records;
    match end.saturating_sub(1) {
        last if last <= start => format!("record {start}"),
        last => format!("records {start} to {last}"),
    }
}

/// The same with a verb behind it: the first one of a single record, else the second.
#[must_use]
pub fn spanned(records: &Range<u64>, [one, more]: [&str; 2]) -> String {
    let is_one = records.end.saturating_sub(records.start) <= 1;
    format!("{} {}", span(records), if is_one { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_record_is_told_as_one() {
        assert_eq!(span(&(7..10)), "records 7 to 9");
        assert_eq!(spanned(&(7..8), ["is", "are"]), "record 7 is");
        assert_eq!(spanned(&(7..9), ["is", "are"]), "records 7 to 8 are");
    }
}
