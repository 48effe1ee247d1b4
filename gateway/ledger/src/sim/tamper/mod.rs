//! Forgeries of a ledger, from a flipped bit to a careful hand that computes everything anew, so that tests and
//! `cargo xtask soak tamper` show which of them the verifier finds, and where.

mod further;
mod hand;
mod judge;
mod pieces;
mod served;
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
    FalseNumber,
    HugeNumber,
    FalseNumbers,
    FrameLength,
    FlipPart,
    ReplayRecord,
    InsertForeign,
    DropSeveral,
    Holes,
    ZeroTail,
    BehindFooter,
    HeaderNumber,
    FooterNumber,
    DoubleSegment,
    RenameSegment,
    SwapSegments,
    KeyChange,
    Cosignature,
    ServedEntry,
    ServedTile,
    ServedGone,
    ServedSize,
}

impl Tampering {
    /// Every kind.
    pub const ALL: [Self; 46] = [
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
        Self::FalseNumber,
        Self::HugeNumber,
        Self::FalseNumbers,
        Self::FrameLength,
        Self::FlipPart,
        Self::ReplayRecord,
        Self::InsertForeign,
        Self::DropSeveral,
        Self::Holes,
        Self::ZeroTail,
        Self::BehindFooter,
        Self::HeaderNumber,
        Self::FooterNumber,
        Self::DoubleSegment,
        Self::RenameSegment,
        Self::SwapSegments,
        Self::KeyChange,
        Self::Cosignature,
        Self::ServedEntry,
        Self::ServedTile,
        Self::ServedGone,
        Self::ServedSize,
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
            Self::FalseNumber => "a frame has another number than its leaf",
            Self::HugeNumber => "a frame, or its leaf, too, has the largest number there is",
            Self::FalseNumbers => "frame and leaf both have another number",
            Self::FrameLength => "a frame's length is another one",
            Self::FlipPart => "a bit of a part is flipped",
            Self::ReplayRecord => "a record of another ledger stands in place of one",
            Self::InsertForeign => "a record of another ledger is put in",
            Self::DropSeveral => "records are cut out at several places",
            Self::Holes => "holes are punched into a segment",
            Self::ZeroTail => "the end of the last segment is overwritten with zeros",
            Self::BehindFooter => "bytes are put behind a segment's footer",
            Self::HeaderNumber => "a segment's header begins with another number",
            Self::FooterNumber => "a number of a segment's footer is another one",
            Self::DoubleSegment => "a segment stands there twice, under two names",
            Self::RenameSegment => "a segment is renamed",
            Self::SwapSegments => "two segments change their names",
            Self::KeyChange => "the record of a change of the key is altered",
            Self::Cosignature => "a checkpoint gets a witness's signature of something else",
            Self::ServedEntry => "a server gives an entry with a bit flipped",
            Self::ServedTile => "a server gives a tile of hashes with a bit flipped",
            Self::ServedGone => "a server gives a tile no more",
            Self::ServedSize => "a server gives a tile that is cut or has a byte more",
        }
    }

    /// Whether it is done by a server, and not to a folder.
    const fn is_served(self) -> bool {
        matches!(
            self,
            Self::ServedEntry | Self::ServedTile | Self::ServedGone | Self::ServedSize
        )
    }
}

/// What is done to files and is no tampering with what was signed: every record is there and proved, and nothing may be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harmless {
    /// The hashes beside a segment are derived: altered, cut, or gone.
    Hashes,
    /// Bits in the rest of the newest segment, where nothing was written yet: a torn end, and said to be one.
    Rest,
    /// An older checkpoint is put back as the newest, and the later ones are kept along the ledger.
    OlderCheckpoint,
    /// The checkpoint of another log lies there.
    OtherLog,
    /// A checkpoint is taken away that a later one covers.
    FewerCheckpoints,
}

impl Harmless {
    const ALL: [Self; 5] = [
        Self::Hashes,
        Self::Rest,
        Self::OlderCheckpoint,
        Self::OtherLog,
        Self::FewerCheckpoints,
    ];
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
    /// The first round of each kind that was not located.
    pub failures: BTreeMap<Tampering, Failure>,
    /// Ledgers that were not tampered with: as they were written, or with changes that touch nothing that was signed.
    pub untouched: u64,
    /// What was wrongly found in those.
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
        // One that is no tampering, for each time round the kinds.
        if round % kinds == 0 {
            let at = usize::try_from(round / kinds % 5).unwrap_or(0);
            let harmless = Harmless::ALL.get(at).copied().unwrap_or(Harmless::Hashes);
            report.untouched += 1;
            report.false_alarms += specimen.harmless(harmless, &mut Rng::new(seed ^ round));
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
        if column != 1 {
            report.failures.entry(kind).or_insert(Failure {
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
