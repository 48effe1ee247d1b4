//! The judge: where a forgery was done, and whether what the verifier says of it is that place and no other.

use std::ops::Range;

use super::Outcome;
use crate::verify::{Fault, Finding, Report};

/// Where a forgery was done, as far as anybody can know who has the files and the public key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The records that were altered. A finding may be about any of them, or stand between them.
    records: Vec<Range<u64>>,
    /// Where no record can be named: the span between the two signed sizes around it.
    span: Option<Range<u64>>,
    /// The file whose own bytes were altered: a checkpoint's.
    file: Option<String>,
    /// The records of which each has to be named; of the others one.
    each: Vec<u64>,
}

impl Place {
    /// One record.
    pub(super) fn record(seq: u64) -> Self {
        Self::records(seq..seq.saturating_add(1))
    }

    /// Records one behind the other.
    pub(super) fn records(records: Range<u64>) -> Self {
        Self {
            records: vec![records],
            ..Self::default()
        }
    }

    /// Several, each of which has to be named.
    pub(super) fn each(records: impl IntoIterator<Item = u64>) -> Self {
        let mut each: Vec<u64> = records.into_iter().collect();
        each.sort_unstable();
        each.dedup();
        let mut records: Vec<Range<u64>> = Vec::new();
        for &seq in &each {
            match records.last_mut() {
                Some(last) if last.end == seq => last.end = seq.saturating_add(1),
                _ => records.push(seq..seq.saturating_add(1)),
            }
        }
        Self {
            records,
            each,
            ..Self::default()
        }
    }

    /// The place before this record, and no record: something was put in there, or a segment's own words are false.
    pub(super) fn before(seq: u64) -> Self {
        Self::records(seq..seq)
    }

    /// Also the place before another one.
    pub(super) fn and_before(mut self, seq: u64) -> Self {
        self.records.push(seq..seq);
        self
    }

    /// A checkpoint's file.
    pub(super) fn file(name: &str) -> Self {
        Self {
            file: Some(name.to_owned()),
            ..Self::default()
        }
    }

    /// Also another record.
    pub(super) fn and(mut self, seq: u64) -> Self {
        self.records.push(seq..seq.saturating_add(1));
        self
    }

    /// All was computed anew behind the first of them: it may be no more than the span between the signed sizes around it.
    pub(super) fn or_span(mut self, sizes: &[u64]) -> Self {
        let first = self.first();
        let below = sizes.iter().rev().find(|size| **size <= first).copied();
        let above = sizes.iter().find(|size| **size > first).copied();
        self.span = Some(below.unwrap_or(0)..above.unwrap_or(u64::MAX));
        self
    }

    /// No more than this span can be known.
    pub(super) fn or_within(mut self, span: Range<u64>) -> Self {
        self.span = Some(span);
        self
    }

    /// The end was cut off: what was signed last says so, from the last size that still holds.
    pub(super) fn or_cut(mut self, sizes: &[u64]) -> Self {
        self = self.or_span(sizes);
        if let (Some(span), Some(last)) = (&mut self.span, sizes.last()) {
            span.end = *last;
        }
        self
    }

    /// The first record that it is about.
    pub(super) fn first(&self) -> u64 {
        self.records.iter().map(|records| records.start).min().unwrap_or(0)
    }

    fn names(&self, finding: &Finding) -> bool {
        let said = &finding.records;
        if said.is_empty() && is_of_a_checkpoint(finding) {
            return self.file.as_ref() == Some(&finding.file);
        }
        // What names no record counts where none was altered: between two.
        let counts = |records: &Range<u64>| !said.is_empty() || records.is_empty();
        let is_within = |records: &Range<u64>| records.start <= said.start && said.end <= records.end;
        let mut records = self.records.iter();
        records.any(|records| counts(records) && is_within(records)) || self.span.as_ref() == Some(said)
    }

    /// Whether it accuses what stands before the place, or another file.
    fn accuses_others(&self, finding: &Finding) -> bool {
        if self.names(finding) {
            return false;
        }
        let begin = self
            .span
            .as_ref()
            .map_or(self.first(), |span| span.start.min(self.first()));
        is_of_a_checkpoint(finding) || self.records.is_empty() || finding.records.start < begin
    }

    /// Strict: the record, or exactly the span, and nothing before it.
    pub(super) fn judge(&self, report: &Report, said: &str) -> Outcome {
        let findings = &report.findings;
        if findings.is_empty() {
            return Outcome::Missed;
        }
        let naming: Vec<_> = findings.iter().filter(|finding| self.names(finding)).collect();
        let is_there = |seq: &u64| naming.iter().any(|finding| finding.records.contains(seq));
        let is_named = !naming.is_empty() && self.each.iter().all(is_there);
        if is_named && !findings.iter().any(|finding| self.accuses_others(finding)) {
            Outcome::Located
        } else {
            Outcome::Misplaced(said.to_owned())
        }
    }
}

fn is_of_a_checkpoint(finding: &Finding) -> bool {
    matches!(
        finding.fault,
        Fault::Signature(_) | Fault::Checkpoint(_) | Fault::Fork { .. } | Fault::Retired { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(found: &[(Fault, Range<u64>, &str)]) -> Report {
        let finding = |(fault, records, file): &(Fault, Range<u64>, &str)| Finding {
            fault: fault.clone(),
            records: records.clone(),
            file: (*file).to_owned(),
            offset: 0,
        };
        Report {
            findings: found.iter().map(finding).collect(),
            ..Report::default()
        }
    }

    #[test]
    fn a_finding_counts_that_names_the_record_or_exactly_the_span_and_accuses_nothing_before_it() {
        let is_located =
            |place: &Place, found: &[(Fault, Range<u64>, &str)]| place.judge(&report(found), "") == Outcome::Located;
        let sizes = [10, 20, 30];
        let record = Place::record(15);
        assert_eq!(record.judge(&report(&[]), ""), Outcome::Missed);
        assert!(is_located(&record, &[(Fault::Altered, 15..16, "s")]));
        assert!(
            !is_located(&record, &[(Fault::Footer, 15..15, "s")]),
            "no record is named"
        );
        assert!(is_located(&Place::before(15), &[(Fault::Footer, 15..15, "s")]));
        for wrong in [14..15, 14..16, 15..17, 10..20, 16..17, 0..0] {
            assert!(
                !is_located(&record, &[(Fault::Altered, wrong.clone(), "s")]),
                "{wrong:?}"
            );
        }
        let before = [(Fault::Altered, 15..16, "s"), (Fault::Missing, 3..4, "s")];
        assert!(!is_located(&record, &before), "what stands before it is accused");
        let behind = [(Fault::Altered, 15..16, "s"), (Fault::Missing, 20..21, "s")];
        assert!(is_located(&record, &behind), "what follows from it may be said, too");
        let of_a_file = [(Fault::Altered, 15..16, "s"), (Fault::Fork { size: 3 }, 0..0, "c")];
        assert!(
            !is_located(&record, &of_a_file),
            "a checkpoint is accused that nobody touched"
        );

        let span = Place::record(15).or_span(&sizes);
        let root = |size| Fault::Root { size };
        assert!(is_located(&span, &[(root(20), 10..20, "s")]));
        for wrong in [0..20, 10..30, 11..20, 10..19] {
            assert!(!is_located(&span, &[(root(20), wrong.clone(), "s")]), "{wrong:?}");
        }
        assert!(is_located(
            &Place::record(15).or_cut(&sizes),
            &[(root(30), 10..30, "s")]
        ));

        let several = Place::each([3, 9]);
        assert!(!is_located(&several, &[(Fault::Missing, 3..4, "s")]));
        assert!(is_located(
            &several,
            &[(Fault::Missing, 3..4, "s"), (Fault::Missing, 9..10, "s")]
        ));

        let file = Place::file("c");
        assert!(is_located(&file, &[(Fault::Signature(String::new()), 0..0, "c")]));
        assert!(!is_located(&file, &[(Fault::Signature(String::new()), 0..0, "d")]));
        assert!(!is_located(&file, &[(Fault::Altered, 0..1, "c")]));
    }
}
