//! One segment, looked at by itself: every frame and leaf, what it leads to, and where it differs from what was signed.
//!
//! Numbers in it are whoever's wrote the file. A record is taken for the one that its place says it is: a number is believed where frame, leaf
//! and what stands behind it agree on it, so that a false one is said of its own record and accuses no other.

#[cfg(test)]
mod crafted;
mod foreign;
mod leads;
mod walk;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;

use model::event::RecordKind;

use super::erased::Erasures;
use super::heads::Head;
use super::straight::{self, Room};
use super::turns::Told;
use super::{FILE_MAX, Fault, Finding, io, read_whole};
use crate::disk::{Disk, DiskFile, read_down_into, read_range_into};
use crate::error::ReadError;
use crate::leaf;
use crate::options::to_u64;
use crate::recovery::read_header;
use crate::segment::{Header, OpenSet, evidence_of_sync, follow, segment_name, written};
use crate::tree::{Frontier, Hash};
pub(crate) use foreign::fuzz_walk;
use leads::Kept;
pub(super) use leads::{Followed, Following};
use walk::Walk;

/// What one segment holds.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// The number that its file is called by.
    pub(super) named: u64,
    /// The number that the name of the next file says.
    pub(super) follower: Option<u64>,
    /// Its first record: by its name, or by what stands in it where the file has another's name.
    pub(super) first: u64,
    /// The number after its last record.
    pub(super) next: u64,
    /// The state that its header says; `None` when that cannot be read.
    pub(super) start: Option<Frontier>,
    /// What its records lead to from there; `None` where damage hides it.
    pub(super) end: Option<Frontier>,
    /// Which checkpoints were compared, by their index, and whether they held.
    pub(super) heads: Vec<(usize, bool)>,
    pub(super) findings: Vec<Finding>,
    /// Records of changes of the key.
    pub(super) told: Vec<Told>,
    /// What is said of erasures.
    pub(super) erasures: Erasures,
    pub(super) records: u64,
    pub(super) parts: u64,
    /// Those that no leaf binds.
    pub(super) unbound: u64,
    /// Records that say what is missing.
    pub(super) gaps: u64,
    pub(super) bytes: u64,
    pub(super) torn: u64,
    /// Where its successor says that it was abandoned.
    pub(super) abandoned: Option<u64>,
    /// Records, parts and bytes that an earlier check read, and this one did not.
    pub(super) recalled: Option<[u64; 3]>,
    /// Nothing stands behind it but, at most, a segment that was never born.
    pub(super) is_end: bool,
    /// The calls without an end that its header names.
    pub(super) open: Option<OpenSet>,
    /// What its records say of calls; `None` where that cannot be told.
    pub(super) calls: Option<Calls>,
    /// What only what is signed behind it can settle.
    pub(super) dispute: Option<Dispute>,
}

/// Which calls began and ended in a segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    /// Those that began here and have no end here.
    pub(super) begun: OpenSet,
    /// Records before this segment that an end names, be they calls or not.
    pub(super) ended: BTreeSet<u64>,
}

/// No segment of a gateway ends more calls that began before it.
const ENDED_MAX: usize = 1 << 20;

/// Records that are not those of the hashes beside them, where what is signed within the segment does not say which is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dispute {
    /// What the records lead to as they stand, where it is the hashes and the header behind that are made up.
    pub(super) own: Option<Frontier>,
    /// What is found where the hashes are right.
    pub(super) accusations: Vec<Finding>,
    /// What is found where the records are.
    pub(super) otherwise: Vec<Finding>,
}

impl Examined {
    /// Takes what a record means for the calls without an end.
    pub(super) fn follow_call(&mut self, kind: RecordKind, seq: u64, leaf: &[u8]) {
        if !matches!(
            kind,
            RecordKind::Intent | RecordKind::Open | RecordKind::Outcome | RecordKind::Close
        ) {
            return;
        }
        let (facts, first) = (leaf::first_facts(leaf), self.first);
        let Some(calls) = self.calls.as_mut() else { return };
        let pair = facts.as_ref().and_then(|facts| facts.pair);
        if !kind.promises_an_end()
            && let Some(before) = pair.filter(|pair| *pair < first)
        {
            calls.ended.insert(before);
        }
        let is_told = follow(&mut calls.begun, kind, seq, || facts).is_some();
        if !is_told || calls.ended.len() > ENDED_MAX {
            self.calls = None;
        }
    }

    /// Whether nothing in the file is a segment: neither a header nor a record. Then its name says nothing of records either.
    pub(super) fn is_nothing(&self) -> bool {
        self.start.is_none() && self.records == 0
    }
}

/// A segment, as its name and its successor say it.
pub(super) struct Spot {
    /// The number that its file is called by: its first record's.
    pub(super) first: u64,
    /// The number that the next one's is called by.
    pub(super) follower: Option<u64>,
    /// The next one's header, where that can be read.
    following: Option<Header>,
    /// Nothing stands behind it but, at most, a segment that was never born: a crash may have torn its end.
    is_end: bool,
}

impl Spot {
    /// The one that begins with `first`, before that which begins with `follower`, behind which, if `is_last`, there is none.
    pub(super) fn of(disk: &dyn Disk, first: u64, follower: Option<u64>, is_last: bool) -> Self {
        let following = follower.and_then(|next| read_header(disk, &segment_name(next)).ok());
        // A crash between the name of a new segment and its header: the next start takes it away. What was torn before it, as where the disk had
        // failed, was never told to anybody.
        let is_unborn = |next| is_last && following.is_none() && is_unborn(disk, next);
        Self {
            first,
            follower,
            is_end: follower.is_none_or(is_unborn),
            following,
        }
    }

    /// Where its successor says that it was abandoned: bytes behind that are no records.
    fn abandoned(&self) -> Option<u64> {
        self.following.as_ref().and_then(|header| header.abandoned_at)
    }

    fn leads_to(&self) -> Option<&Frontier> {
        self.following.as_ref().map(|header| &header.frontier)
    }
}

/// Reads and checks a segment that is open as `file`; `room` is where its bytes are put. One that is as its writer left it is read once, any other a
/// second time. `progress` is told of the bytes of the file, once each.
pub(super) fn examine(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
    progress: &dyn Fn(u64),
) -> Result<Examined, ReadError> {
    let told = Cell::new(0_u64);
    let reached = |place: u64| {
        let before = told.replace(told.get().max(place));
        if before < place {
            progress(place - before);
        }
    };
    if !room.is_doubtful
        && let Some(examined) = examine_straight(disk, file, spot, heads, room, &reached)?
    {
        return Ok(examined);
    }
    let examined = examine_whole(disk, file, spot, heads, room, (None, &reached))?;
    room.is_doubtful = !examined.findings.is_empty() || examined.dispute.is_some();
    Ok(examined)
}

/// `None` where anything is not as it should be. `reached` is told up to which byte was read.
pub(super) fn examine_straight(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
    reached: &dyn Fn(u64),
) -> Result<Option<Examined>, ReadError> {
    let name = segment_name(spot.first);
    if spot.abandoned().is_some() {
        return Ok(None);
    }
    let read = straight::read(file, &disk.display(&name), spot.first, heads, room, reached);
    let Some(straight) = read.map_err(|source| io(disk, &name, source))? else {
        return Ok(None);
    };
    let (mut examined, followed) = (straight.examined, straight.following.end());
    let beside = Kept {
        disk,
        first: spot.first,
    };
    let is_whole = spot.follower.is_none_or(|follower| follower == examined.next)
        && followed.holds(spot.leads_to())
        && followed.end.as_ref().map(Frontier::root) == Some(straight.root)
        // Hashes of more records than are here say which are missing.
        && beside.count() <= examined.records;
    (examined.follower, examined.is_end) = (spot.follower, spot.is_end);
    (examined.end, examined.heads) = (followed.end, followed.heads);
    Ok(is_whole.then_some(examined))
}

/// Whatever it holds: goes on behind what is wrong, and says where that is. `before` is what the records before it lead to, where that counts and not what
/// its header says.
pub(super) fn examine_whole(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
    (before, reached): (Option<&Frontier>, &dyn Fn(u64)),
) -> Result<Examined, ReadError> {
    let (named, follower) = (spot.first, spot.follower);
    let name = segment_name(named);
    let read = file.len().and_then(|len| match len.min(FILE_MAX) {
        len if spot.is_end => read_down_into(file, len, &mut room.whole, reached),
        len => read_range_into(file, 0..len, &mut room.whole, reached),
    });
    read.map_err(|source| io(disk, &name, source))?;
    let data = &room.whole;
    let abandoned_at = spot.abandoned().and_then(|at| usize::try_from(at).ok());
    let end = abandoned_at.unwrap_or(data.len()).min(data.len());
    let mut walk = Walk::new(disk.display(&name), data.get(..end).unwrap_or_default(), named);
    walk.is_last = spot.is_end && abandoned_at.is_none();
    walk.signed = heads.iter().map(|head| head.size).max().unwrap_or_default();
    // A name alone may be whoever's: it counts where what stands in the file says the same.
    walk.follower = follower.filter(|next| {
        spot.following
            .as_ref()
            .is_some_and(|header| header.first_seq() == *next)
    });
    walk.beside = named.saturating_add(Kept { disk, first: named }.count());
    walk.run();
    walk.examined.bytes = to_u64(data.len());
    (walk.examined.named, walk.examined.follower) = (named, follower);
    (walk.examined.abandoned, walk.examined.is_end) = (spot.abandoned(), spot.is_end);
    let (examined, leaves) = walk.end(before);
    let beside = Kept {
        disk,
        first: examined.first,
    };
    Ok(leaves.compare(&beside, heads, spot.leads_to(), examined))
}

/// Whether nothing was ever durable in this file but its name.
fn is_unborn(disk: &dyn Disk, first: u64) -> bool {
    let file = disk.open_read(&segment_name(first));
    let bytes = file.and_then(|file| read_whole(&*file));
    bytes.is_ok_and(|bytes| !evidence_of_sync(written(&bytes), 1, 0))
}

/// What a segment is said to hold.
pub(super) struct Recall {
    pub(super) first: u64,
    pub(super) next: u64,
    /// Where its successor says that it was abandoned.
    pub(super) abandoned: Option<u64>,
    /// The root before its first record.
    pub(super) start: Hash,
    /// The root behind its last record.
    pub(super) end: Hash,
}

/// Follows the hashes beside a segment in place of its records. `None` where they do not lead from what its header says to what was said and to what the next
/// header says, or where a checkpoint on the way does not hold.
pub(super) fn recall(disk: &dyn Disk, file: &dyn DiskFile, said: &Recall, heads: &[Head]) -> Option<Examined> {
    let (header, _) = straight::header(file).ok()??;
    let following = read_header(disk, &segment_name(said.next)).ok()?;
    if (header.first_seq(), header.frontier.root(), following.abandoned_at) != (said.first, said.start, said.abandoned)
    {
        return None;
    }
    let beside = Kept {
        disk,
        first: said.first,
    };
    if said.first.checked_add(beside.count()) != Some(said.next) {
        return None;
    }
    let hashes = beside.hashes().into_iter().map(Some);
    let followed = Followed::along(header.frontier.clone(), hashes, heads);
    if !followed.holds(Some(&following.frontier)) || followed.end.as_ref().map(Frontier::root) != Some(said.end) {
        return None;
    }
    Some(Examined {
        named: said.first,
        follower: Some(said.next),
        first: said.first,
        next: said.next,
        start: Some(header.frontier),
        end: followed.end,
        heads: followed.heads,
        open: Some(header.open),
        ..Examined::default()
    })
}

/// This record alone.
fn one(seq: u64) -> Range<u64> {
    seq..seq.saturating_add(1)
}

fn finding(fault: Fault, records: Range<u64>, file: String, offset: u64) -> Finding {
    Finding {
        fault,
        records,
        file,
        offset,
    }
}
