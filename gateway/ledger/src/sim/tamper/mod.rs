//! Forgeries of a ledger, from a flipped bit to a careful hand that computes everything anew, so that tests and
//! `cargo xtask soak tamper` show which of them the verifier finds, and where.

mod hand;
mod pieces;
mod specimen;

use std::collections::BTreeMap;

use super::Rng;
pub use specimen::Specimen;

/// What is done to a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its name; `Tampering::words` says it")]
pub enum Tampering {
    Flip,
    FlipWithChecksum,
    Zero,
    Drop,
    DropRenumbered,
    Insert,
    InsertRenumbered,
    Swap,
    SwapRenumbered,
    FrameOfAnotherKind,
    DropPart,
    ExchangePart,
    SwapParts,
    InsertPart,
    CutTail,
    DropSegment,
    ReplaySegment,
    Header,
    Footer,
    Checkpoint,
    Resign,
    Fork,
    RewriteAll,
    StaleCopy,
}

impl Tampering {
    /// Every kind.
    pub const ALL: [Self; 24] = [
        Self::Flip,
        Self::FlipWithChecksum,
        Self::Zero,
        Self::Drop,
        Self::DropRenumbered,
        Self::Insert,
        Self::InsertRenumbered,
        Self::Swap,
        Self::SwapRenumbered,
        Self::FrameOfAnotherKind,
        Self::DropPart,
        Self::ExchangePart,
        Self::SwapParts,
        Self::InsertPart,
        Self::CutTail,
        Self::DropSegment,
        Self::ReplaySegment,
        Self::Header,
        Self::Footer,
        Self::Checkpoint,
        Self::Resign,
        Self::Fork,
        Self::RewriteAll,
        Self::StaleCopy,
    ];

    /// What it does, for a person.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Flip => "a bit of a record is flipped",
            Self::FlipWithChecksum => "a record is changed and its checksum made anew",
            Self::Zero => "a record is overwritten with zeros",
            Self::Drop => "a record is cut out",
            Self::DropRenumbered => "a record is cut out, numbers and hashes of all later ones made anew",
            Self::Insert => "a record is put in twice",
            Self::InsertRenumbered => "a record is put in, numbers and hashes of all later ones made anew",
            Self::Swap => "two records change places",
            Self::SwapRenumbered => "two records change places and numbers",
            Self::FrameOfAnotherKind => "a frame says another kind than its leaf",
            Self::DropPart => "a part is cut out",
            Self::ExchangePart => "a part's sealed bytes are exchanged for others",
            Self::SwapParts => "the parts of two records change places",
            Self::InsertPart => "a part is put in beside those of a record",
            Self::CutTail => "the last records are cut off",
            Self::DropSegment => "a segment is taken away",
            Self::ReplaySegment => "an older state of the last segment is put back",
            Self::Header => "a segment's header is made up",
            Self::Footer => "a segment's footer is made up",
            Self::Checkpoint => "a checkpoint's root is changed",
            Self::Resign => "all is rewritten and signed by another key",
            Self::Fork => "the key signs a second root for one size",
            Self::RewriteAll => "a record is changed and everything but signatures computed anew",
            Self::StaleCopy => "the whole folder is put back to an older state",
        }
    }
}

/// What a round showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Found where it was done.
    Located,
    /// Found, and said to be elsewhere.
    Misplaced(String),
    /// Not found.
    Missed,
}

/// A round that was not located, with what [`tamper_round`] needs to do it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed of the ledger that was forged.
    pub specimen: u64,
    /// The seed of the round.
    pub round: u64,
    /// What was done.
    pub kind: Tampering,
    /// What the verifier said.
    pub said: String,
}

/// How often each kind was tried, found where it was, found elsewhere and missed.
#[derive(Clone, Debug, Default)]
pub struct TamperReport {
    /// By kind: rounds, located, found elsewhere, missed.
    pub kinds: BTreeMap<Tampering, [u64; 4]>,
    /// The first round that was not located.
    pub first_failure: Option<Failure>,
    /// Ledgers that were not tampered with, and what was wrongly found in them.
    pub untouched: u64,
    /// Findings in ledgers that were left as they were.
    pub false_alarms: u64,
}

impl TamperReport {
    /// The sum of a column of [`TamperReport::kinds`].
    fn sum(&self, column: usize) -> u64 {
        self.kinds.values().filter_map(|counts| counts.get(column)).sum()
    }

    /// Rounds in all.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.sum(0)
    }

    /// Forgeries that were not found.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.sum(3)
    }

    /// Forgeries that were found and said to be elsewhere.
    #[must_use]
    pub fn misplaced(&self) -> u64 {
        self.sum(2)
    }
}

/// Forges `rounds` times, each kind in turn, at places that follow from the seed.
#[must_use]
pub fn tamper_rounds(seed: u64, rounds: u64) -> TamperReport {
    let mut report = TamperReport::default();
    let kinds = u64::try_from(Tampering::ALL.len()).unwrap_or(1);
    let mut of_specimen = seed;
    let mut specimen = Specimen::new(seed);
    for round in 0..rounds {
        if round % (kinds * 8) == 0 {
            of_specimen = seed.wrapping_add(round);
            specimen = Specimen::new(of_specimen);
            report.untouched += 1;
            report.false_alarms += specimen.false_alarms();
        }
        let kind = Tampering::ALL
            .iter()
            .cycle()
            .nth(usize::try_from(round % kinds).unwrap_or(0))
            .copied()
            .unwrap_or(Tampering::Flip);
        let of_round = seed ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (outcome, said) = specimen.round(kind, &mut Rng::new(of_round));
        let counts = report.kinds.entry(kind).or_default();
        let column = match outcome {
            Outcome::Located => 1,
            Outcome::Misplaced(_) => 2,
            Outcome::Missed => 3,
        };
        for at in [0, column] {
            if let Some(count) = counts.get_mut(at) {
                *count += 1;
            }
        }
        if column != 1 && report.first_failure.is_none() {
            report.first_failure = Some(Failure {
                specimen: of_specimen,
                round: of_round,
                kind,
                said,
            });
        }
    }
    report
}

/// Does one round again: a [`Failure`]'s seeds and kind give what it was, and what the verifier says of it now.
#[must_use]
pub fn tamper_round(specimen: u64, round: u64, kind: Tampering) -> (Outcome, String) {
    Specimen::new(specimen).round(kind, &mut Rng::new(round))
}
