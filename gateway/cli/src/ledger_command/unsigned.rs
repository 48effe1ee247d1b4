//! What a verification says of records that were not signed when a run ended.

use std::ops::Range;

use ledger::span;
use ledger::verify::Unsigned;

use super::MOST_TOLD;

/// Of what nothing proves that the gateway wrote it.
pub(super) fn in_words(unsigned: &Unsigned) -> Vec<String> {
    let more = unsigned.more.as_ref().filter(|more| more.foreign == 0);
    let more = more.map(|more| {
        format!(
            "which of {} were not signed yet when a run ended: {} starts say so of some, and are too many to be told one by one",
            span(&more.records),
            more.count
        )
    });
    one_by_one(&unsigned.unproved).into_iter().chain(more).collect()
}

fn one_by_one(unproved: &[Range<u64>]) -> Option<String> {
    let told: Vec<String> = unproved.iter().take(MOST_TOLD).map(span).collect();
    let more = match unproved.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!(" and {more} such stretches more"),
    };
    (!told.is_empty()).then(|| {
        format!(
            "whether the gateway wrote {}{more}: they were not signed yet when a run ended, and whoever could write to the folder then may have put them there",
            told.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use ledger::verify::More;

    use super::*;

    #[test]
    fn of_statements_that_are_too_many_only_those_that_accuse_nobody_are_told_as_not_shown() {
        let of = |foreign| Unsigned {
            unproved: vec![7..8, 12..15],
            more: Some(More {
                records: 0..6,
                count: 3,
                foreign,
            }),
            ..Unsigned::default()
        };
        let one_by_one = "whether the gateway wrote record 7, records 12 to 14: they were not signed yet when a run ended, and whoever could write to the folder then may have put them there";
        let together = "which of records 0 to 5 were not signed yet when a run ended: 3 starts say so of some, and are too many to be told one by one";
        assert_eq!(in_words(&of(0)), [one_by_one, together]);
        assert_eq!(in_words(&of(1)), [one_by_one], "that is a finding");
    }
}
