//! Whose the records of a folder are, as the folder itself says it. Nothing of it is checked against a key: that is what `gatescribe ledger verify` does.
//!
//! A record is the gateway's word where a checkpoint is over it and no later record says that a start found it unsigned. The rest is not passed over in silence:
//! what somebody put in is left out, what nothing proves is counted, and so is what stands behind the newest checkpoint, where whoever can write the folder
//! could have put it a moment ago.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ledger::verify::{Statements, Stretches, newest_size};
use ledger::{Reader, RealDisk};

/// What is not the gateway's own word in one ledger.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    foreign: Stretches,
    unsigned: Stretches,
    /// Foreign by the word of records that no checkpoint is over.
    claimed: Stretches,
    /// Behind the last record that the newest checkpoint is over; none where there is no checkpoint.
    signed: Option<u64>,
}

impl Doubt {
    /// Goes through all of the ledger, since what is put in comes before what says so.
    ///
    /// # Errors
    /// The checkpoints cannot be read.
    pub(super) fn of(reader: &Reader, first: u64, folder: &Path) -> anyhow::Result<Self> {
        let mut said = Statements::default();
        // What cannot be read is said where it is read for what it holds.
        for record in reader.records_from(first).map_while(Result::ok) {
            said.read(record.kind, &record.leaf, record.seq);
        }
        // Behind the records: what a start says that runs is signed within a second.
        let signed = Some(signed(folder)?).filter(|signed| *signed > 0);
        let counting = said.counting(signed.unwrap_or(u64::MAX));
        Ok(Self {
            foreign: counting.put_in(),
            unsigned: counting.all(),
            claimed: said.counting(u64::MAX).put_in(),
            signed,
        })
    }

    /// Whether somebody put this record in.
    pub(super) fn is_foreign(&self, seq: u64) -> bool {
        self.foreign.has(seq)
    }

    /// Whether it was not signed when a run ended.
    pub(super) fn is_unsigned(&self, seq: u64) -> bool {
        self.unsigned.has(seq)
    }

    /// Whether somebody may have put this record in, as far as the folder says: nothing proves it, or no checkpoint is over it.
    pub(super) fn is_doubtful(&self, seq: u64) -> bool {
        self.is_unsigned(seq) || self.is_claimed(seq) || self.signed.is_some_and(|signed| seq >= signed)
    }

    /// Whether a record says that somebody put it in, and no checkpoint is over the record that says so.
    pub(super) fn is_claimed(&self, seq: u64) -> bool {
        self.claimed.has(seq) && !self.foreign.has(seq)
    }
}

/// How far a ledger was read.
#[derive(Debug)]
pub(super) struct End {
    folder: PathBuf,
    first: u64,
    /// Behind its last record.
    end: u64,
    /// Records of gaps that were taken for what they say.
    gaps: Vec<u64>,
}

impl End {
    /// Nothing was read yet.
    pub(super) fn of(folder: &Path, first: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            first,
            end: first,
            gaps: Vec::new(),
        }
    }

    /// This record was read.
    pub(super) fn reach(&mut self, seq: u64) {
        self.end = self.end.max(seq.saturating_add(1));
    }

    /// It is a gap, and excuses something.
    pub(super) fn excuses(&mut self, seq: u64) {
        self.gaps.push(seq);
    }
}

/// Records that were read and are behind the newest checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) records: u64,
    /// Of them those of gaps.
    pub(super) gaps: u64,
}

impl Behind {
    fn of(ends: &[End]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for End {
            folder,
            first,
            end,
            gaps,
        } in ends
        {
            let signed = signed(folder)?;
            all.records += end.saturating_sub(signed.max(*first));
            all.gaps += gaps.iter().filter(|seq| **seq >= signed).map(|_| 1).sum::<u64>();
        }
        Ok(all)
    }

    /// Of what was read, what no checkpoint is over by now. A gateway that runs signs within a second: `again` waits for the next look, and says
    /// whether there is one.
    ///
    /// # Errors
    /// The checkpoints cannot be read.
    pub(super) fn settled(ends: &[End], again: &mut dyn FnMut() -> bool) -> anyhow::Result<Self> {
        loop {
            let behind = Self::of(ends)?;
            if behind.records == 0 || !again() {
                return Ok(behind);
            }
        }
    }
}

fn signed(folder: &Path) -> anyhow::Result<u64> {
    newest_size(&RealDisk::new(folder))
        .with_context(|| format!("cannot read the checkpoint of the ledger in `{}`", folder.display()))
}

#[cfg(test)]
mod tests;
