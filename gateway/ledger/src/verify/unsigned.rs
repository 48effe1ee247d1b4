//! What starts said of records that nobody had signed before them: that nothing proves who wrote them, or that the gateway did not.
//!
//! Such a record counts where a signature covers it, where it speaks of records before it, and where no later one speaks of it: a forger who appends
//! records appends one of these, too.

use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

use model::event::RecordKind;
use serde::Deserialize;

use super::{Chain, Fault, Stretches};
use crate::segment::segment_name;

/// So many statements are held, about 6 MB: whoever writes a log can fill it with them. A gateway that is killed every ten minutes has as many in two years.
const STATEMENTS_MAX: usize = 100_000;

/// What records of kinds `damage` and `recovery` say of others, by their own numbers.
///
/// Of too many, the latest are held. Whether one counts is decided by later ones alone, so of those that are held it is decided as if all were. Of the earlier ones
/// it is said how many there are, and of which stretch they speak: no record in it passes as the gateway's. They are a finding only where one of them says that the
/// gateway did not write something: a gateway that is killed often says of each time what was not signed, and is not accused by that.
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
    /// How many of them say that the gateway did not write what they speak of.
    foreign: u64,
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
            foreign: self.foreign.saturating_add(other.foreign),
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
    /// Statements that are told together, since there are too many.
    pub more: Option<More>,
}

/// What statements say that are told together. Which of them count is not known, so of each number there are at most so many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct More {
    /// The stretch of which they speak: some of these records the gateway did not write, or that is not proved.
    pub records: Range<u64>,
    /// How many there are.
    pub count: u64,
    /// How many of them say that the gateway did not write what they speak of.
    pub foreign: u64,
}

impl Unsigned {
    /// All of them.
    pub fn ranges(&self) -> impl Iterator<Item = &Range<u64>> {
        self.unproved
            .iter()
            .chain(self.foreign.iter().map(|(records, _)| records))
            .chain(self.more.iter().map(|more| &more.records))
    }

    /// The records that the gateway did not write.
    #[must_use]
    pub fn put_in(&self) -> Stretches {
        Stretches::of(self.foreign.iter().map(|(records, _)| records.clone()))
    }

    /// The records of all of it.
    #[must_use]
    pub fn all(&self) -> Stretches {
        Stretches::of(self.ranges().cloned())
    }

    /// What of it is a finding, and of which records.
    pub(super) fn faults(&self) -> Vec<(Fault, Range<u64>)> {
        let foreign = self.foreign.iter();
        let foreign = foreign.map(|(records, by)| (Fault::AfterEnd { by: *by }, records.clone()));
        let more = self.more.iter().filter(|more| more.foreign > 0);
        let more = more.map(|more| (Fault::More { count: more.foreign }, more.records.clone()));
        foreign.chain(more).collect()
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
            let Stated { records, is_foreign } = first.remove();
            self.drop_more(Dropped {
                count: 1,
                foreign: u64::from(is_foreign),
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
            .map(|some| More {
                records: some.records.clone(),
                count: some.count,
                foreign: some.foreign,
            });
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
        let all_in = |segments: &[Range<u64>]| all_of(segments, true);
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
            let more = said.more.clone().unwrap();
            let count = too_many - said.foreign.len() as u64;
            assert_eq!((more.records.start, more.count, more.foreign), (0, count, count));
            assert_eq!(more.records.end, said.foreign[0].0.start - 1);
            let told = said.faults();
            assert_eq!(told.last(), Some(&(Fault::More { count }, more.records.clone())));
            assert_eq!(all.counting(2).more, Some(more), "the first of them is proved");
            assert_eq!(all.counting(1), Unsigned::default(), "none is");
            // Who put all of them in is told by one statement, as if they were few.
            let end = 2 * too_many;
            let leaf = format!(r#"{{"unsigned":{{"from":0,"until":{end}}}}}"#);
            all.read(RecordKind::Damage, leaf.as_bytes(), end);
            let said = all.counting(u64::MAX);
            assert_eq!((said.foreign, said.more), (vec![(0..end, end)], None));
        }
    }

    /// In each segment a statement of every second record.
    fn all_of(segments: &[Range<u64>], is_foreign: bool) -> Statements {
        let mut all = Statements::default();
        for segment in segments {
            let stated = |n: u64| {
                (
                    2 * n + 1,
                    Stated {
                        records: 2 * n..2 * n + 1,
                        is_foreign,
                    },
                )
            };
            let mut one = Statements {
                list: segment.clone().map(stated).collect(),
                dropped: None,
            };
            one.drop_beyond(STATEMENTS_MAX);
            all.add(one);
        }
        all
    }

    /// An honest gateway that was killed that often.
    #[test]
    fn promise_5_ends_of_any_number_that_were_not_in_order_are_no_finding() {
        let held = u64::try_from(STATEMENTS_MAX).unwrap();
        let said = all_of(&[0..300, 300..held], false).counting(u64::MAX);
        assert_eq!((said.unproved.len() as u64, &said.more), (held, &None));
        for segments in [&[0..held + 500, 0..0][..], &[0..300, 300..held + 500]] {
            let said = all_of(segments, false).counting(u64::MAX);
            assert_eq!(said.faults(), []);
            let more = said.more.unwrap();
            assert_eq!((more.records.start, more.foreign), (0, 0));
            assert_eq!(more.count + said.unproved.len() as u64, held + 500);
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
                prop_assert!(is_told || (is_dropped && said.more.iter().any(|more| is_in(&more.records) && (!is_foreign || more.foreign > 0))));
            }
            let counting = all_that_count(&all, proved);
            prop_assert!(said.foreign.iter().all(|(records, by)| counting.contains(&(records.clone(), *by, true))));
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
