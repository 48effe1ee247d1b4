//! What a check that was interrupted leaves for the next one: of each segment that it read to the end and in which nothing was wrong, what its
//! records lead to. The next one takes that, instead of reading the records again, for as long as the file is the one that was read.
//!
//! What holds, and why:
//! - That the hashes beside a segment lead from its header to the claimed end, that every header is what the segment before it leads to, and that
//!   each signed root is met, is computed anew, with the keys and checkpoints of now. So a claim makes no other history pass: it has to lead to what is
//!   signed, and a segment of which it does not is read.
//! - That the records are those of the hashes, and the parts those of the records, is taken from the claim: the word of whoever wrote it. So it must lie
//!   where nobody writes but who verifies, which is the caller's matter.
//! - That the file is still the one that was read is what `identity` says, of the open file and never of a name. A segment whose identity is another one is read. Where somebody can change a file
//!   and leave its identity as it was, the claim still says what was true then; so the report names these records as not read ([`super::Recalled`]).
//!
//! The newest segment is read always: it has no successor, and may have grown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::erased::{Erasures, GoneKeys, SealedParts};
use super::heads::Head;
use super::segment::{Calls, Examined, Recall, Spot, recall};
use super::turns::Told;
use crate::disk::{Disk, DiskFile};
use crate::segment::{OpenEntry, segment_name};
use crate::tree::Hash;

/// The form of a claim.
const VERSION: u8 = 3;

/// Says which file it is that is open under a name, or nothing where it could not be known again.
type Identity<'r> = dyn Fn(&str, &dyn DiskFile) -> Option<String> + Sync + 'r;

/// What an earlier check left, and where this one leaves its own.
pub struct Resume<'r> {
    claims: BTreeMap<u64, Claim>,
    identity: &'r Identity<'r>,
    keep: &'r (dyn Fn(&str) + Sync),
}

/// What is known of a segment without reading it.
pub(super) enum Recollection {
    /// Nothing was left of it.
    None,
    /// Something was, and its file is another one now, or does not lead to it.
    Changed,
    /// This.
    Holds(Box<Examined>),
}

impl std::fmt::Debug for Resume<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Resume")
            .field("claims", &self.claims.len())
            .finish()
    }
}

/// What one segment held when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    v: u8,
    first: u64,
    next: u64,
    /// Which file that was.
    file: String,
    /// Where its successor says that it was abandoned.
    abandoned: Option<u64>,
    /// The root before its first record, and the root behind its last one. A root and a size bind all records.
    start: String,
    end: String,
    records: u64,
    parts: u64,
    unbound: u64,
    gaps: u64,
    bytes: u64,
    /// Records of changes of the key: number, place, and what it states, if it states one.
    told: Vec<(u64, u64, Option<String>)>,
    /// Keys that records say are gone: by which record, and whether it was a recording's.
    gone: GoneKeys,
    /// Sealed parts by their key.
    sealed: SealedParts,
    /// Calls that began here and have no end here: number, whether it is a stream, request id.
    begun: Vec<(u64, bool, String)>,
    /// Records before this segment that an end in it names.
    ended: Vec<u64>,
}

impl Claim {
    fn calls(&self) -> Calls {
        let entry = |(seq, is_stream, id): &(u64, bool, String)| {
            let (is_stream, id) = (*is_stream, id.clone());
            (*seq, OpenEntry { is_stream, id })
        };
        Calls {
            begun: self.begun.iter().map(entry).collect(),
            ended: self.ended.iter().copied().collect(),
        }
    }
}

impl<'r> Resume<'r> {
    /// From the lines that `keep` was called with by an earlier check, in any order; of two of one segment the later one counts, and what is none is
    /// passed over, as the end of a file is that was being written. `identity` says which file stands under a name now: something that is another
    /// one when the file was changed or exchanged, or `None` where that cannot be said, and then it is read. It is asked of the open file before that is read and behind
    /// it, and what was read is left where it said the same: [`DiskFile::identity`].
    #[must_use]
    pub fn new(lines: &str, identity: &'r Identity<'r>, keep: &'r (dyn Fn(&str) + Sync)) -> Self {
        let claims = lines
            .lines()
            .filter_map(|line| serde_json::from_str::<Claim>(line).ok());
        let claims = claims.filter(|claim| claim.v == VERSION && claim.first < claim.next);
        Self {
            claims: claims.map(|claim| (claim.first, claim)).collect(),
            identity,
            keep,
        }
    }

    /// What the segment that begins with `first` holds, without reading its records.
    pub(super) fn recall(&self, disk: &dyn Disk, file: &dyn DiskFile, spot: &Spot, heads: &[Head]) -> Recollection {
        let Some(claim) = self.claims.get(&spot.first) else {
            return Recollection::None;
        };
        match self.recall_claim(disk, file, claim, spot, heads) {
            Some(examined) => Recollection::Holds(Box::new(examined)),
            None => Recollection::Changed,
        }
    }

    fn recall_claim(
        &self,
        disk: &dyn Disk,
        file: &dyn DiskFile,
        claim: &Claim,
        spot: &Spot,
        heads: &[Head],
    ) -> Option<Examined> {
        let name = segment_name(claim.first);
        if spot.follower != Some(claim.next) || self.identity(&name, file)? != claim.file {
            return None;
        }
        let said = Recall {
            first: claim.first,
            next: claim.next,
            abandoned: claim.abandoned,
            start: root_of(&claim.start)?,
            end: root_of(&claim.end)?,
        };
        let mut examined = recall(disk, file, &said, heads)?;
        let place = disk.display(&name);
        let told = claim
            .told
            .iter()
            .map(|(seq, offset, note)| Told::recalled(*seq, note.as_deref(), &place, *offset));
        examined.told = told.collect();
        examined.erasures = Erasures::recalled(&claim.gone, &claim.sealed);
        (examined.unbound, examined.gaps) = (claim.unbound, claim.gaps);
        examined.calls = Some(claim.calls());
        examined.recalled = Some([claim.records, claim.parts, claim.bytes]);
        Some(examined)
    }

    /// Which file it is that is open under this name.
    pub(super) fn identity(&self, name: &str, file: &dyn DiskFile) -> Option<String> {
        (self.identity)(name, file)
    }

    /// Leaves what was read, if nothing of it is wrong and it has a successor.
    pub(super) fn keep(&self, examined: &Examined, file: String, follower: Option<u64>) {
        let (Some(start), Some(end)) = (&examined.start, &examined.end) else {
            return;
        };
        let (Some((gone, sealed)), []) = (examined.erasures.all(), examined.findings.as_slice()) else {
            return;
        };
        let Some(calls) = examined.calls.as_ref().filter(|_| examined.dispute.is_none()) else {
            return;
        };
        if follower != Some(examined.next) || examined.torn > 0 || end.size() != examined.next {
            return;
        }
        let told = examined.told.iter().map(Told::kept);
        let begun = calls.begun.iter();
        let begun = begun.map(|(seq, entry)| (*seq, entry.is_stream, entry.id.clone()));
        let claim = Claim {
            v: VERSION,
            first: examined.first,
            next: examined.next,
            file,
            abandoned: examined.abandoned,
            start: hex::encode(start.root()),
            end: hex::encode(end.root()),
            records: examined.records,
            parts: examined.parts,
            unbound: examined.unbound,
            gaps: examined.gaps,
            bytes: examined.bytes,
            told: told.collect(),
            gone,
            sealed,
            begun: begun.collect(),
            ended: calls.ended.iter().copied().collect(),
        };
        if let Ok(line) = serde_json::to_string(&claim) {
            (self.keep)(&line);
        }
    }
}

fn root_of(text: &str) -> Option<Hash> {
    let mut root = [0; 32];
    hex::decode_to_slice(text, &mut root).ok()?;
    Some(root)
}

/// Reads foreign bytes as what an earlier check left. Never panics; what is read of it is written and read the same.
pub fn fuzz_resume(data: &[u8]) {
    let read = |text: &str| Resume::new(text, &|_, _| None, &|_| {}).claims;
    let claims = read(&String::from_utf8_lossy(data));
    let lines = claims.values().filter_map(|claim| serde_json::to_string(claim).ok());
    let again = read(&lines.collect::<Vec<_>>().join("\n"));
    assert_eq!(again, claims, "what was left is read as it was written");
    for claim in claims.values() {
        let _ = (root_of(&claim.start), root_of(&claim.end));
        let _ = claim.calls();
        for (seq, offset, note) in &claim.told {
            let _ = Told::recalled(*seq, note.as_deref(), "", *offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_nothing_that_was_left(data in prop::collection::vec(any::<u8>(), 0..300), line in "[ -~]{0,200}") {
            fuzz_resume(&data);
            let left = Resume::new(&line, &|_, _| None, &|_| {});
            prop_assert!(left.claims.is_empty());
        }
    }
}
