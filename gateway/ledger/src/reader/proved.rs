//! Records that are under a signature. A number below the signed size says nothing of the bytes that stand there now: whoever has the files writes
//! others, with checksums that hold. So the records themselves have to lead to the root that was signed.

use model::event::RecordKind;

use super::{Reader, Record, Spot};
use crate::error::{DamageKind, ReadError};
use crate::segment::segment_name;
use crate::tree::{Hash, Head, leaf_hash};

/// Where a record stands that was proved, and what it was then. It is read by [`Reader::proved_record`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proved {
    spot: Spot,
    hash: Hash,
}

impl Reader {
    /// The records of these kinds from `from` on that `head` covers: `None` where what stands here from `from` to its size does not lead to its root.
    /// Reads all of that, and of the segment in which `from` stands what is before it; holds 56 bytes for each record that it gives.
    ///
    /// The peaks in a segment's header are nobody's word either. But a root at a size binds the peaks at each smaller one: with others than those that were
    /// signed, no records lead to it.
    ///
    /// # Errors
    /// [`ReadError`] where something cannot be read, or is damaged.
    pub fn proved(&self, from: u64, head: &Head, kinds: &[RecordKind]) -> Result<Option<Vec<Proved>>, ReadError> {
        let mut proved = Vec::new();
        if from >= head.size {
            return Ok(Some(proved));
        }
        let Some(segment) = self.segments.iter().rfind(|segment| segment.first_seq <= from).copied() else {
            return Ok(None);
        };
        let mut frontier = self.frontier(segment)?;
        if frontier.size() != segment.first_seq {
            return Ok(None);
        }
        let before = usize::try_from(from - segment.first_seq).unwrap_or(usize::MAX);
        for hash in self.leaf_hashes(segment)?.into_iter().take(before) {
            frontier.push(hash);
        }
        for record in self.records_from(from).until(head.size) {
            let record = record?;
            if record.seq != frontier.size() {
                return Ok(None);
            }
            let hash = leaf_hash(&record.leaf);
            frontier.push(hash);
            if kinds.contains(&record.kind) {
                let spot = record.spot();
                proved.push(Proved { spot, hash });
            }
        }
        let leads = (frontier.size(), frontier.root()) == (head.size, head.root);
        Ok(leads.then_some(proved))
    }

    /// The record that was proved, as it was proved.
    ///
    /// # Errors
    /// [`ReadError`] where it cannot be read, or another one stands there by now.
    pub fn proved_record(&self, proved: &Proved) -> Result<Record, ReadError> {
        let Spot { seq, segment, offset } = proved.spot;
        let record = self.record_at(segment, offset)?;
        if record.seq == seq && leaf_hash(&record.leaf) == proved.hash {
            return Ok(record);
        }
        Err(self.damaged(&segment_name(segment), offset, DamageKind::Exchanged { seq }))
    }
}
