//! What a verification says of records that were not signed when a run ended.

use std::ops::Range;

use ledger::span;

use super::MOST_TOLD;

/// Of what nothing proves that the gateway wrote it.
pub(super) fn in_words(unproved: &[Range<u64>]) -> Option<String> {
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
