//! What starts said of records that nobody had signed before them: that nothing proves who wrote them, or that the gateway did not.
//!
//! Such a record counts where a signature covers it, where it speaks of records before it, and where no later one speaks of it: a forger who appends
//! records appends one of these, too.

use std::collections::BTreeMap;
use std::ops::Range;

use model::event::RecordKind;
use serde::Deserialize;

/// What records of kinds `damage` and `recovery` say of others, by their own numbers.
#[derive(Clone, Debug, Default)]
pub struct Statements(BTreeMap<u64, Stated>);

#[derive(Clone, Debug)]
struct Stated {
    records: Range<u64>,
    is_foreign: bool,
}

/// Which records were not signed when a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsigned {
    /// Whether the gateway wrote these is not proved: the runs that they follow did not end in order.
    pub unproved: Vec<Range<u64>>,
    /// It did not write these, each with the record that says so: the runs that they follow had signed all of their own, and ended.
    pub foreign: Vec<(Range<u64>, u64)>,
}

impl Unsigned {
    /// All of them.
    pub fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.unproved
            .iter()
            .chain(self.foreign.iter().map(|(records, _)| records))
    }
}

impl Statements {
    /// Reads a record, of whatever kind.
    pub fn read(&mut self, kind: RecordKind, leaf: &[u8], seq: u64) {
        #[derive(Deserialize)]
        struct Leaf {
            unsigned: Said,
        }
        #[derive(Deserialize)]
        struct Said {
            from: u64,
            until: u64,
        }
        let is_foreign = match kind {
            RecordKind::Damage => true,
            RecordKind::Recovery => false,
            _ => return,
        };
        if let Ok(Leaf { unsigned }) = serde_json::from_slice(leaf) {
            let records = unsigned.from..unsigned.until;
            if !records.is_empty() && records.end <= seq {
                self.0.insert(seq, Stated { records, is_foreign });
            }
        }
    }

    /// Whether none says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn pass_over(&mut self, is_so: impl Fn(u64) -> bool) {
        self.0.retain(|seq, _| !is_so(*seq));
    }

    pub(super) fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// What counts of it. The later one is judged first, since it may speak of the earlier one.
    #[must_use]
    pub fn counting(&self, counts: impl Fn(u64) -> bool) -> Unsigned {
        let mut unsigned = Unsigned::default();
        for (by, Stated { records, is_foreign }) in self.0.iter().rev() {
            if !counts(*by) || unsigned.ranges().any(|records| records.contains(by)) {
                continue;
            }
            match is_foreign {
                true => unsigned.foreign.push((records.clone(), *by)),
                false => add(&mut unsigned.unproved, records.clone()),
            }
        }
        unsigned.foreign.reverse();
        unsigned.unproved.reverse();
        unsigned
    }
}

/// The later ones come first. A start that died before it signed said the same as the next one.
fn add(all: &mut Vec<Range<u64>>, records: Range<u64>) {
    match all.last_mut() {
        Some(last) if records.end >= last.start => last.start = last.start.min(records.start),
        _ => all.push(records),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(statements: &[(u64, bool, Range<u64>)]) -> Unsigned {
        let mut all = Statements::default();
        for (seq, is_foreign, records) in statements {
            let leaf = format!(r#"{{"unsigned":{{"from":{},"until":{}}}}}"#, records.start, records.end);
            let kind = if *is_foreign {
                RecordKind::Damage
            } else {
                RecordKind::Recovery
            };
            all.read(kind, leaf.as_bytes(), *seq);
        }
        all.counting(|seq| seq < 100)
    }

    #[test]
    fn what_is_said_of_records_that_nobody_had_signed_counts_but_for_what_they_say_themselves() {
        assert_eq!(said(&[(9, true, 3..9)]).foreign, [(3..9, 9)]);
        assert_eq!(
            said(&[(9, false, 3..9), (20, false, 3..15)]).unproved,
            std::slice::from_ref(&(3..15))
        );
        assert_eq!(said(&[(9, false, 3..9), (20, false, 12..15)]).unproved, [3..9, 12..15]);
        // It speaks of what comes behind it, or of nothing, or is not signed.
        for none in [
            (9, true, 3..10),
            (9, true, Range { start: 9, end: 3 }),
            (100, true, 3..9),
        ] {
            assert_eq!(said(&[none]), Unsigned::default());
        }
        // A forger says of honest records that nobody had signed them.
        let forged = said(&[(9, true, 0..9), (8, false, 0..8), (20, true, 5..12)]);
        assert_eq!((forged.unproved, forged.foreign), (vec![], vec![(5..12, 20)]));
        assert_eq!(
            said(&[(9, true, 0..9), (20, false, 5..12)]).unproved,
            std::slice::from_ref(&(5..12))
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_say_nothing_of_other_records(data in prop::collection::vec(any::<u8>(), 0..300), seq: u64) {
            let mut all = Statements::default();
            for kind in RecordKind::ALL {
                all.read(kind, &data, seq);
            }
            prop_assert!(all.is_empty());
        }

        #[test]
        fn no_statement_counts_of_which_another_that_counts_speaks(
            statements in prop::collection::vec((0_u64..120, any::<bool>(), 0_u64..110, 0_u64..110), 0..12),
        ) {
            let statements: Vec<_> = statements.into_iter().map(|(seq, foreign, from, until)| (seq, foreign, from..until)).collect();
            let said = said(&statements);
            for (records, by) in &said.foreign {
                prop_assert!(records.end <= *by && *by < 100);
                prop_assert!(!said.ranges().any(|records| records.contains(by)));
            }
        }
    }
}
