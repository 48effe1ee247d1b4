//! What starts said of records that nobody had signed before them: that nothing proves who wrote them, or that the gateway did not.
//!
//! Such a record counts where a signature covers it, where it speaks of records before it, and where no later one speaks of it: a forger who appends
//! records appends one of these, too.

use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use model::event::RecordKind;
use serde::Deserialize;

use super::{Chain, FINDINGS_MAX, Fault};
use crate::segment::segment_name;

/// So many statements are held: whoever writes a log can fill it with them.
const STATEMENTS_MAX: usize = FINDINGS_MAX;

/// What records of kinds `damage` and `recovery` say of others, by their own numbers.
///
/// Of too many, the latest are held. Whether one counts is decided by later ones alone, so of those that are held it is decided as if all were. Of the earlier ones
/// it is said how many there are, and of which stretch they speak: no record in it passes as the gateway's.
#[derive(Clone, Debug, Default)]
pub struct Statements {
    list: BTreeMap<u64, Stated>,
    dropped: Option<Dropped>,
}

#[derive(Clone, Debug)]
struct Stated {
    records: Range<u64>,
    is_foreign: bool,
}

/// Statements that are not held; each stands before those that are.
#[derive(Clone, Debug)]
struct Dropped {
    count: u64,
    /// The numbers of the first and the last of them.
    first: u64,
    last: u64,
    /// The stretch of which they speak.
    records: Range<u64>,
}

impl Dropped {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            records: self.records.start.min(other.records.start)..self.records.end.max(other.records.end),
        }
    }
}

/// Which records were not signed when a run ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsigned {
    /// Whether the gateway wrote these is not proved: the runs that they follow did not end in order.
    pub unproved: Vec<Range<u64>>,
    /// It did not write these, each with the record that says so: the runs that they follow had signed all of their own, and ended.
    pub foreign: Vec<(Range<u64>, u64)>,
    /// Statements that are told together, since there are too many: the stretch of which they speak, and how many they are at most. It did not write some of these
    /// records, or that is not proved.
    pub more: Option<(Range<u64>, u64)>,
}

impl Unsigned {
    /// All of them.
    pub fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.unproved
            .iter()
            .chain(self.foreign.iter().map(|(records, _)| records))
            .chain(self.more.iter().map(|(records, _)| records))
    }

    /// What of it is a finding, and of which records.
    pub(super) fn faults(&self) -> Vec<(Fault, Range<u64>)> {
        let foreign = self.foreign.iter();
        let foreign = foreign.map(|(records, by)| (Fault::AfterEnd { by: *by }, records.clone()));
        let more = self.more.iter();
        let more = more.map(|(records, count)| (Fault::More { count: *count }, records.clone()));
        foreign.chain(more).collect()
    }
}

/// Stretches of records, for who asks of each record of a ledger whether it lies in one of them: a statement each may be ten thousand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stretches(Vec<Range<u64>>);

impl Stretches {
    /// Whether this record lies in one of them.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        let behind = self.0.partition_point(|records| records.start <= seq);
        let last = behind.checked_sub(1).and_then(|at| self.0.get(at));
        last.is_some_and(|records| records.contains(&seq))
    }
}

impl<'r> FromIterator<&'r Range<u64>> for Stretches {
    fn from_iter<I: IntoIterator<Item = &'r Range<u64>>>(all: I) -> Self {
        let mut all: Vec<Range<u64>> = all.into_iter().cloned().collect();
        all.sort_unstable_by_key(|records| records.start);
        all.dedup_by(|next, last| {
            let meets = next.start <= last.end;
            if meets {
                last.end = last.end.max(next.end);
            }
            meets
        });
        Self(all)
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
                self.list.insert(seq, Stated { records, is_foreign });
                self.drop_beyond(STATEMENTS_MAX);
            }
        }
    }

    /// The earliest go.
    fn drop_beyond(&mut self, most: usize) {
        loop {
            let is_too_many = self.list.len() > most;
            let Some(first) = self.list.first_entry() else { return };
            let seq = *first.key();
            // One that comes late, of an earlier stretch than those that are gone, goes as well.
            if !is_too_many && self.dropped.as_ref().is_none_or(|dropped| seq > dropped.last) {
                return;
            }
            let records = first.remove().records;
            self.drop_more(Dropped {
                count: 1,
                first: seq,
                last: seq,
                records,
            });
        }
    }

    fn drop_more(&mut self, more: Dropped) {
        self.dropped = Some(match self.dropped.take() {
            Some(dropped) => dropped.and(more),
            None => more,
        });
    }

    /// Whether none says anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.dropped.is_none()
    }

    pub(super) fn pass_over(&mut self, is_so: impl Fn(u64) -> bool) {
        self.list.retain(|seq, _| !is_so(*seq));
    }

    pub(super) fn add(&mut self, other: Self) {
        self.join(other, STATEMENTS_MAX);
    }

    fn join(&mut self, other: Self, most: usize) {
        self.list.extend(other.list);
        if let Some(dropped) = other.dropped {
            self.drop_more(dropped);
        }
        self.drop_beyond(most);
    }

    /// What counts of it, of the statements in records before `proved`. The later one is judged first, since it may speak of the earlier one.
    #[must_use]
    pub fn counting(&self, proved: u64) -> Unsigned {
        let (mut unsigned, mut spoken_of) = (Unsigned::default(), SpokenOf::default());
        for (by, Stated { records, is_foreign }) in self.list.range(..proved).rev() {
            if spoken_of.has_all(*by, *by) {
                continue;
            }
            spoken_of.ahead.push((records.end, records.start));
            match is_foreign {
                true => unsigned.foreign.push((records.clone(), *by)),
                false => add(&mut unsigned.unproved, records.clone()),
            }
        }
        unsigned.foreign.reverse();
        unsigned.unproved.reverse();
        // Which of them count is not known any more, but where none can.
        let some = self.dropped.as_ref().filter(|some| some.first < proved);
        unsigned.more = some
            .filter(|some| !spoken_of.has_all(some.first, some.last))
            .map(|some| (some.records.clone(), some.count));
        unsigned
    }
}

/// The ranges of statements that count, while those are judged from the last to the first: so that not each is asked for each.
#[derive(Debug, Default)]
struct SpokenOf {
    /// End and start of those that end before what is judged; the largest end first.
    ahead: BinaryHeap<(u64, u64)>,
    /// The lowest start of the others.
    from: Option<u64>,
}

impl SpokenOf {
    /// Whether one of them has all records from `first` to `last`, which is never larger than when this was asked before.
    fn has_all(&mut self, first: u64, last: u64) -> bool {
        while let Some(&(_, start)) = self.ahead.peek().filter(|(end, _)| *end > last) {
            self.from = Some(self.from.map_or(start, |from| from.min(start)));
            self.ahead.pop();
        }
        self.from.is_some_and(|from| from <= first)
    }
}

impl Chain {
    /// Says which records the gateway found, and had not written.
    pub(super) fn find_unsigned(&mut self) {
        let unsigned = self.erasures.unsigned(self.report.proved);
        for (fault, records) in unsigned.faults() {
            let name = self.file_of(records.start);
            self.find(fault, records, &name, 0);
        }
        self.report.unsigned = unsigned;
    }

    /// The file in which this record was read; of one that was not, the first file.
    fn file_of(&self, seq: u64) -> String {
        let file = self.files.range(..=seq).next_back();
        let file = file.or_else(|| self.files.first_key_value());
        segment_name(file.map_or(seq, |(_, named)| *named))
    }
}

/// The later ones come first. A start that died before it signed said the same as the next one.
fn add(all: &mut Vec<Range<u64>>, records: Range<u64>) {
    match all.last_mut() {
        Some(last) if records.end >= last.start && records.start <= last.end => {
            *last = last.start.min(records.start)..last.end.max(records.end);
        }
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
        all.counting(100)
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

    /// As if there were no bound, and each asked for each.
    fn all_that_count(statements: &BTreeMap<u64, Stated>, proved: u64) -> Vec<(Range<u64>, u64, bool)> {
        let mut counting: Vec<(Range<u64>, u64, bool)> = Vec::new();
        for (by, stated) in statements.range(..proved).rev() {
            if !counting.iter().any(|(records, ..)| records.contains(by)) {
                counting.push((stated.records.clone(), *by, stated.is_foreign));
            }
        }
        counting
    }

    #[test]
    fn promise_5_statements_that_are_too_many_are_counted_and_none_of_their_records_passes() {
        let too_many = u64::try_from(STATEMENTS_MAX).unwrap() + 500;
        let leaf = |from: u64, until: u64| format!(r#"{{"unsigned":{{"from":{from},"until":{until}}}}}"#);
        let all_in = |segments: &[Range<u64>]| {
            let mut all = Statements::default();
            for segment in segments {
                let mut one = Statements::default();
                for n in segment.clone() {
                    one.read(RecordKind::Damage, leaf(2 * n, 2 * n + 1).as_bytes(), 2 * n + 1);
                }
                all.add(one);
            }
            all
        };
        for segments in [
            &[0..too_many, 0..0][..],
            &[0..300, 300..too_many],
            &[600..too_many, 0..600],
        ] {
            let mut all = all_in(segments);
            assert_eq!(
                all.list.len() + usize::try_from(all.dropped.as_ref().unwrap().count).unwrap(),
                STATEMENTS_MAX + 500
            );
            let said = all.counting(u64::MAX);
            let (stretch, count) = said.more.clone().unwrap();
            assert_eq!((stretch.start, count), (0, too_many - said.foreign.len() as u64));
            assert_eq!(stretch.end, said.foreign[0].0.start - 1);
            assert_eq!(
                all.counting(2).more,
                Some((stretch, count)),
                "the first of them is proved"
            );
            assert_eq!(all.counting(1), Unsigned::default(), "none is");
            // Who put all of them in is told by one statement, as if they were few.
            let end = 2 * too_many;
            all.read(RecordKind::Damage, leaf(0, end).as_bytes(), end);
            let said = all.counting(u64::MAX);
            assert_eq!((said.foreign, said.more), (vec![(0..end, end)], None));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_dropped_what_is_held_counts_as_before_and_the_rest_is_in_the_stretch(
            statements in prop::collection::vec((0_u64..60, any::<bool>(), 0_u64..60, 0_u64..60), 0..30),
            most in 0_usize..12, cut in 0_usize..30, proved in 0_u64..70,
        ) {
            let (mut held, mut all) = ([Statements::default(), Statements::default()], BTreeMap::new());
            for (n, (seq, is_foreign, from, until)) in statements.into_iter().enumerate() {
                let stated = Stated { records: from..until.min(seq), is_foreign };
                if !stated.records.is_empty() && !all.contains_key(&seq) {
                    all.insert(seq, stated.clone());
                    let one = &mut held[usize::from(n < cut)];
                    one.list.insert(seq, stated);
                    one.drop_beyond(most);
                }
            }
            let [mut one, other] = held;
            one.join(other, most);
            prop_assert!(one.list.len() <= most);
            let said = one.counting(proved);
            for (records, by, is_foreign) in all_that_count(&all, proved) {
                let is_in = |stretch: &Range<u64>| stretch.start <= records.start && records.end <= stretch.end;
                let is_told = match is_foreign {
                    true => said.foreign.contains(&(records.clone(), by)),
                    false => said.unproved.iter().any(is_in),
                };
                let is_dropped = one.dropped.as_ref().is_some_and(|dropped| by <= dropped.last);
                prop_assert!(is_told || (is_dropped && said.more.iter().any(|(stretch, _)| is_in(stretch))));
            }
            let counting = all_that_count(&all, proved);
            prop_assert!(said.foreign.iter().all(|(records, by)| counting.contains(&(records.clone(), *by, true))));
        }

        #[test]
        fn a_record_is_in_stretches_where_it_is_in_one_of_them(
            all in prop::collection::vec((0_u64..40, 0_u64..9), 0..12), seq in 0_u64..50,
        ) {
            let all: Vec<Range<u64>> = all.into_iter().map(|(from, len)| from..from + len).collect();
            let stretches: Stretches = all.iter().collect();
            prop_assert_eq!(stretches.has(seq), all.iter().any(|records| records.contains(&seq)));
        }

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
