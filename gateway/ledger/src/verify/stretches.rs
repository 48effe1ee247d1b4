//! Stretches of records, asked for each record of a ledger whether they have it.

use std::ops::Range;

/// Stretches of records, in order and apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretches(Vec<Range<u64>>);

impl Stretches {
    /// Of these records, in whatever order.
    pub fn of(records: impl IntoIterator<Item = Range<u64>>) -> Self {
        let mut all: Vec<_> = records.into_iter().filter(|records| !records.is_empty()).collect();
        all.sort_unstable_by_key(|records| records.start);
        all.dedup_by(|next, last| {
            let is_joined = next.start <= last.end;
            if is_joined {
                last.end = last.end.max(next.end);
            }
            is_joined
        });
        Self(all)
    }

    /// Whether one of them has this record.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        let before = self.0.partition_point(|records| records.start <= seq);
        let nearest = before.checked_sub(1).and_then(|at| self.0.get(at));
        nearest.is_some_and(|records| records.contains(&seq))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_is_in_stretches_where_one_of_them_has_it(
            records in prop::collection::vec((0_u64..40, 0_u64..9), 0..12), seq in 0_u64..60,
        ) {
            let records: Vec<_> = records.into_iter().map(|(from, len)| from..from + len).collect();
            let expected = records.iter().any(|records| records.contains(&seq));
            prop_assert_eq!(Stretches::of(records).has(seq), expected);
        }
    }
}
