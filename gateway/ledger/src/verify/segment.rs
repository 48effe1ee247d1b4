//! One segment, looked at by itself: every frame and leaf, what it leads to, and where it differs from what was signed.
//!
//! Numbers in it are whoever's wrote the file. A record is taken for the one that its place says it is: a number is believed where frame, leaf
//! and what stands behind it agree on it, so that a false one is said of its own record and accuses no other.

mod foreign;
mod leads;
mod walk;

use std::cell::Cell;
use std::ops::Range;

use super::erased::Erasures;
use super::heads::Head;
use super::straight::{self, Room};
use super::turns::Told;
use super::{FILE_MAX, Fault, Finding, io};
use crate::disk::{Disk, DiskFile, read_range_into};
use crate::error::ReadError;
use crate::options::to_u64;
use crate::recovery::read_header;
use crate::segment::{Header, segment_name};
use crate::tree::{Frontier, Hash};
pub(crate) use foreign::fuzz_walk;
use leads::Kept;
pub(super) use leads::{Followed, Following, is_among, said_of};
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
}

impl Examined {
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
}

impl Spot {
    /// The one that begins with `first`, before that which begins with `follower`.
    pub(super) fn of(disk: &dyn Disk, first: u64, follower: Option<u64>) -> Self {
        let following = follower.and_then(|next| read_header(disk, &segment_name(next)).ok());
        Self {
            first,
            follower,
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
    match examine_straight(disk, file, spot, heads, room, &reached)? {
        Some(examined) => Ok(examined),
        None => examine_whole(disk, file, spot, heads, room, (None, &reached)),
    }
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
    examined.follower = spot.follower;
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
    let read = file
        .len()
        .and_then(|len| read_range_into(file, 0..len.min(FILE_MAX), &mut room.whole, reached));
    read.map_err(|source| io(disk, &name, source))?;
    let data = &room.whole;
    let abandoned_at = spot.abandoned().and_then(|at| usize::try_from(at).ok());
    let end = abandoned_at.unwrap_or(data.len()).min(data.len());
    let mut walk = Walk::new(disk.display(&name), data.get(..end).unwrap_or_default(), named);
    walk.is_last = follower.is_none() && abandoned_at.is_none();
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
    walk.examined.abandoned = spot.abandoned();
    let (examined, leaves) = walk.end(before);
    let beside = Kept {
        disk,
        first: examined.first,
    };
    Ok(leaves.compare(&beside, heads, spot.leads_to(), examined))
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
