//! One segment, looked at by itself: every frame and leaf, what it leads to, and where it differs from what was signed.
//!
//! Numbers in it are whoever's wrote the file. A record is taken for the one that its place says it is: a number is believed where frame, leaf
//! and what stands behind it agree on it, so that a false one is said of its own record and accuses no other.

mod foreign;

use std::cell::Cell;
use std::ops::Range;

use model::event::RecordKind;

use super::erased::Erasures;
use super::heads::Head;
use super::straight::{self, Room};
use super::turns::Told;
use super::{FILE_MAX, Fault, Finding, io, read_whole};
use crate::disk::{Disk, DiskFile, read_range_into};
use crate::error::ReadError;
use crate::frame::{FRAME_HEADER_LEN, Frame, FrameError, FrameKind, read_frame};
use crate::leaf;
use crate::options::to_u64;
use crate::parts::{self, PartsFault};
use crate::recovery::read_header;
use crate::segment::{FOOTER_LEN, FOOTER_MAGIC, Footer, Header, evidence_of_sync, hashes_name, segment_name, written};
use crate::tree::{Frontier, Hash, leaf_hash};
pub(crate) use foreign::fuzz_walk;

/// How far a number may jump and still be taken for a gap.
const JUMP_MAX: u64 = 1 << 24;

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

/// The walk over the frames of a segment, which goes on behind damage.
struct Walk<'a> {
    data: &'a [u8],
    file: String,
    pos: usize,
    /// The number that must come next.
    expected: u64,
    /// Parts that stand before the leaf to come, with the number in the frame of each.
    parts: Vec<(u64, &'a [u8])>,
    /// The leaves that were read, by rising number.
    leaves: Vec<Leaf>,
    /// Whether a crash may have torn its end.
    is_last: bool,
    /// The largest size that was signed: whatever stands below it was durable, and is not being written.
    signed: u64,
    /// What the next segment's file is called.
    follower: Option<u64>,
    /// Up to which number hashes stand beside the segment.
    beside: u64,
    /// The records that were missing last: parts of theirs may have stayed.
    lost: Range<u64>,
    /// Where the last frame stood in no record's place: of many in a row one is said.
    surplus: Option<u64>,
    footer: Option<Footer>,
    examined: Examined,
}

/// A leaf that was read.
#[derive(Clone, Copy, Debug)]
struct Leaf {
    seq: u64,
    hash: Hash,
    /// Where its frame begins.
    place: u64,
}

impl<'a> Walk<'a> {
    fn new(file: String, data: &'a [u8], first: u64) -> Self {
        Self {
            data,
            file,
            pos: 0,
            expected: first,
            parts: Vec::new(),
            leaves: Vec::new(),
            is_last: false,
            signed: 0,
            follower: None,
            beside: 0,
            lost: 0..0,
            surplus: None,
            footer: None,
            examined: Examined {
                first,
                next: first,
                ..Examined::default()
            },
        }
    }

    fn run(&mut self) {
        self.header();
        loop {
            let rest = self.data.get(self.pos..).unwrap_or_default();
            if rest.starts_with(FOOTER_MAGIC)
                && let Some(footer) = Footer::decode(rest)
            {
                self.footer(footer);
                break;
            }
            match read_frame(rest) {
                Ok(frame) => self.step(&frame),
                Err(why) if !self.skip(why) => break,
                Err(_) => {}
            }
        }
    }

    fn header(&mut self) {
        let named = self.expected;
        match Header::decode(self.data) {
            Some((header, len)) if header.first_seq() == named => {
                self.pos = len;
                self.examined.start = Some(header.frontier);
            }
            // Its file has another's name: header and records say which it is.
            Some((header, len)) if self.begins_with(len, header.first_seq()) => {
                let first = header.first_seq();
                (self.expected, self.examined.first) = (first, first);
                // What the names of other files say is not about these records.
                (self.follower, self.beside, self.is_last) = (None, 0, false);
                self.pos = len;
                self.examined.start = Some(header.frontier);
                self.find(Fault::Name { named }, first..first);
            }
            // The newest one, whose header was never synced: no record can stand in it.
            None if self.is_unborn() => {
                self.examined.torn = to_u64(written(self.data).len());
                self.pos = self.data.len();
            }
            found => {
                self.find(Fault::Damaged("the segment's header does not hold"), named..named);
                self.pos = found.map_or(0, |(_, len)| len);
                let skip = self.next_frame(self.pos, named).unwrap_or(0);
                self.pos = self.pos.saturating_add(skip);
            }
        }
    }

    fn is_unborn(&self) -> bool {
        self.is_last && self.expected >= self.signed && !evidence_of_sync(written(self.data), 1, 0)
    }

    /// Whether the first frame here, or the footer of a segment without records, has this number.
    fn begins_with(&self, at: usize, first: u64) -> bool {
        let rest = self.data.get(at..).unwrap_or_default();
        match read_frame(rest) {
            Ok(frame) => frame.seq == first && frame.check_leaf().is_ok(),
            Err(_) => Footer::decode(rest).is_some_and(|footer| footer.first_seq == first),
        }
    }

    fn step(&mut self, frame: &Frame<'a>) {
        match frame.kind {
            // A part whose leaf is gone carries its number, too: the leaf decides.
            FrameKind::Part => self.parts.push((frame.seq, frame.body)),
            FrameKind::Leaf(kind) => match self.number(frame) {
                Some(seq) => self.leaf(frame, seq, kind),
                None => self.parts.clear(),
            },
        }
        self.pos = self.pos.saturating_add(frame.encoded_len());
    }

    /// Which record this leaf is: the one that comes next, or a later one where those between are missing. `None` where it stands in no
    /// record's place. Its numbers are whoever's wrote it: what stands behind it says whether one is false, or records are missing.
    fn number(&mut self, frame: &Frame<'a>) -> Option<u64> {
        let (expected, agrees) = (self.expected, frame.check_leaf().is_ok());
        if agrees && frame.seq == expected {
            self.surplus = None;
            return Some(expected);
        }
        let said = [Some(frame.seq), leaf::seq_in(frame.body)];
        let behind = self.behind(self.pos.saturating_add(frame.encoded_len()));
        let goes_on_with = |seq: u64| behind.contains(&Some(seq));
        let leads_on = |seq: &u64| *seq > expected && seq.checked_add(1).is_some_and(goes_on_with);
        let is_said = said.contains(&Some(expected));
        if let Some(seq) = said.into_iter().flatten().find(leads_on).filter(|_| !is_said) {
            self.miss(seq);
            self.differ(agrees, seq, seq);
            return Some(seq);
        }
        let by_others = self.signed.max(self.beside);
        let is_end = behind == [None, None] && expected < by_others && frame.seq >= by_others;
        if is_said || is_end || expected.checked_add(1).is_some_and(goes_on_with) {
            self.differ(agrees, expected, frame.seq);
            return Some(expected);
        }
        let most = self
            .follower
            .unwrap_or(expected.saturating_add(JUMP_MAX).max(by_others));
        let later = said.into_iter().flatten().find(|seq| expected < *seq && *seq < most);
        if let Some(seq) = later.filter(|_| !goes_on_with(expected)) {
            self.miss(seq);
            self.differ(agrees, seq, seq);
            return Some(seq);
        }
        if self.surplus.replace(expected) != Some(expected) {
            let found = frame.seq;
            self.find(Fault::Misplaced { expected, found }, expected..expected);
        }
        None
    }

    /// Says of record `seq` that frame and leaf do not agree, or that both say that they are another one.
    fn differ(&mut self, agrees: bool, seq: u64, found: u64) {
        self.surplus = None;
        if !agrees {
            self.find(Fault::FrameLeaf, one(seq));
        } else if seq != found {
            self.find(Fault::Misplaced { expected: seq, found }, one(seq));
        }
    }

    /// Says that the records up to this one are missing.
    fn miss(&mut self, until: u64) {
        self.find(Fault::Missing, self.expected..until);
        self.lost = self.expected..until;
        self.expected = until;
    }

    /// Which record comes next behind this byte: what frame and leaf say of it, or what a footer says, or the next file's name.
    fn behind(&self, mut at: usize) -> [Option<u64>; 2] {
        loop {
            let rest = self.data.get(at..).unwrap_or_default();
            match read_frame(rest) {
                Ok(frame) if frame.kind == FrameKind::Part => at = at.saturating_add(frame.encoded_len()),
                Ok(frame) => return [Some(frame.seq), leaf::seq_in(frame.body)],
                Err(_) => {
                    let footer = Footer::decode(rest).map(|footer| footer.next_seq);
                    // Whoever puts a record in at the end of a segment makes its footer anew, too; the next file is another one.
                    let next = self.follower.filter(|_| rest.is_empty() || footer.is_some());
                    return [next.or(footer), None];
                }
            }
        }
    }

    fn leaf(&mut self, frame: &Frame<'a>, seq: u64, kind: RecordKind) {
        if kind == RecordKind::Key {
            let told = Told::read(frame.body, seq, &self.file, to_u64(self.pos));
            self.examined.told.push(told);
        }
        if kind == RecordKind::Erasure {
            self.examined.erasures.read(frame.body, seq);
        }
        if kind == RecordKind::Damage {
            self.examined.erasures.read_refusal(frame.body, seq);
        }
        let is_gap = u64::from(kind == RecordKind::Gap);
        self.examined.gaps = self.examined.gaps.saturating_add(is_gap);
        self.compare_parts(frame, seq);
        self.examined.records = self.examined.records.saturating_add(1);
        let (hash, place) = (leaf_hash(frame.body), to_u64(self.pos));
        self.leaves.push(Leaf { seq, hash, place });
        self.expected = seq.saturating_add(1);
    }

    fn compare_parts(&mut self, frame: &Frame<'a>, seq: u64) {
        let there = self.take_parts(seq);
        let count = there.len();
        let declared = parts::declared(frame.body);
        self.examined.erasures.count(&declared);
        match parts::compare(&declared, &there) {
            Ok(bound) => {
                let unbound = to_u64(count.saturating_sub(bound));
                self.examined.unbound = self.examined.unbound.saturating_add(unbound);
            }
            Err(fault @ PartsFault::Missing(_)) => match parts::detached(&declared, &there) {
                Some(keys) => {
                    let lack = finding(fault.into(), one(seq), self.file.clone(), to_u64(self.pos));
                    self.examined.erasures.lacks(lack, &keys);
                }
                None => self.find(fault.into(), one(seq)),
            },
            Err(fault) => self.find(fault.into(), one(seq)),
        }
        self.examined.parts = self.examined.parts.saturating_add(to_u64(count));
    }

    /// The parts that stand before record `seq`. Those of records that are missing before it are not its own.
    fn take_parts(&mut self, seq: u64) -> Vec<&'a [u8]> {
        let parts = std::mem::take(&mut self.parts);
        let is_lost = |number: u64| self.lost.contains(&number) && number != seq;
        let own: Vec<_> = parts.into_iter().filter(|(number, _)| !is_lost(*number)).collect();
        if own.iter().any(|(number, _)| *number != seq) {
            self.find(Fault::FrameLeaf, one(seq));
        }
        self.lost = 0..0;
        own.into_iter().map(|(_, part)| part).collect()
    }

    /// Behind bytes that are no frame: to the next one, if there is one. False at the end of what was written.
    fn skip(&mut self, why: FrameError) -> bool {
        let whole = written(self.data.get(self.pos..).unwrap_or_default());
        if whole.is_empty() {
            return false;
        }
        let was_durable = !self.is_last || self.expected < self.signed || evidence_of_sync(whole, 1, self.expected);
        if !was_durable {
            self.examined.torn = to_u64(whole.len());
            return false;
        }
        let fault = Fault::Damaged(words(why));
        let from = self.pos.saturating_add(1);
        let Some(skip) = self.next_frame(from, self.expected) else {
            // Whatever follows here cannot be read. That a record belongs here is known from elsewhere.
            let is_known = self.expected < self.follower.unwrap_or(0).max(self.signed).max(self.beside);
            let until = self.expected.saturating_add(u64::from(is_known));
            self.find(fault, self.expected..until);
            self.leave_out(until);
            return false;
        };
        let at = from.saturating_add(skip);
        let next = self.data.get(at..).and_then(|rest| read_frame(rest).ok());
        let next = next.map_or(self.expected, |frame| frame.seq).max(self.expected);
        self.find(fault, self.expected..next);
        self.leave_out(next);
        self.pos = at;
        true
    }

    /// How far behind `from` the next frame or footer begins.
    fn next_frame(&self, from: usize, expected: u64) -> Option<usize> {
        let rest = self.data.get(from..)?;
        (0..rest.len().saturating_sub(FRAME_HEADER_LEN)).find(|&skip| match rest.get(skip..) {
            Some(bytes @ [_, _, _, 0, _, _, _, _, _, _, 1, 0, ..]) => {
                read_frame(bytes).is_ok_and(|frame| (expected..expected.saturating_add(JUMP_MAX)).contains(&frame.seq))
            }
            Some(bytes @ [b'G', b'S', ..]) => Footer::decode(bytes).is_some(),
            _ => false,
        })
    }

    fn leave_out(&mut self, until: u64) {
        self.lost = self.expected..until;
        self.expected = until;
        self.parts.clear();
    }

    fn footer(&mut self, footer: Footer) {
        if !self.parts.is_empty() {
            let fault = Fault::Damaged("parts stand before the footer without their record");
            self.find(fault, self.expected..self.expected);
        }
        // A footer alone may say what it likes: that records are missing is believed where others say it, too.
        if footer.next_seq > self.expected && footer.next_seq <= self.follower.unwrap_or(self.signed.max(self.beside)) {
            self.miss(footer.next_seq);
        }
        let said = (footer.first_seq, footer.next_seq, footer.data_end);
        if said != (self.examined.first, self.expected, to_u64(self.pos)) {
            self.find(Fault::Footer, self.expected..self.expected);
        }
        let behind = self.data.get(self.pos.saturating_add(FOOTER_LEN)..).unwrap_or_default();
        if behind.iter().any(|byte| *byte != 0) {
            let fault = Fault::Damaged("bytes stand behind the segment's footer");
            self.find(fault, self.expected..self.expected);
        }
        self.footer = Some(footer);
    }

    /// What it held, and its leaves.
    fn end(mut self, before: Option<&Frontier>) -> (Examined, Leaves) {
        self.examined.next = self.expected;
        if let Some(before) = before {
            self.examined.start = Some(before.clone());
        }
        let leaves = Leaves {
            leaves: self.leaves,
            footer: self.footer,
            file: self.file,
        };
        (self.examined, leaves)
    }

    fn find(&mut self, fault: Fault, records: Range<u64>) {
        let found = finding(fault, records, self.file.clone(), to_u64(self.pos));
        self.examined.findings.push(found);
    }
}

/// The leaves that a walk found, to be held against what was signed.
struct Leaves {
    leaves: Vec<Leaf>,
    footer: Option<Footer>,
    file: String,
}

impl Leaves {
    /// `leads_to` is what the next segment says these records lead to, and `beside` has the hashes beside them: both can be made
    /// anew by whoever can write here, and a forger who forgets one of them is located by it.
    fn compare(
        &self,
        beside: &Kept<'_>,
        heads: &[Head],
        leads_to: Option<&Frontier>,
        mut examined: Examined,
    ) -> Examined {
        let Some(start) = examined.start.clone() else {
            return examined;
        };
        let (first, next) = (examined.first, examined.next);
        let own = Followed::along(start.clone(), self.row(first, next), heads);
        let footer_holds = |followed: &Followed| match (&self.footer, &followed.end) {
            (Some(footer), Some(end)) => footer.root == end.root(),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut believed = own;
        // Of the newest segment more hashes may stand beside it than a crash left records; what was signed says which of them count.
        let signed = heads.iter().map(|head| head.size).max().unwrap_or_default();
        let most = if leads_to.is_none() { signed.max(next) } else { u64::MAX };
        let is_short = first.saturating_add(beside.count()).min(most) > next;
        if is_short || !believed.holds(leads_to) || !footer_holds(&believed) {
            let mut kept = beside.hashes();
            kept.truncate(usize::try_from(most.saturating_sub(first)).unwrap_or(usize::MAX));
            let behind = self.row(first.saturating_add(to_u64(kept.len())), next);
            let said = Followed::along(start, kept.iter().copied().map(Some).chain(behind), heads);
            let by_head = said.heads.iter().any(|(_, held)| *held);
            let by_footer = self.footer.is_some() && footer_holds(&said);
            if said.holds(leads_to) && (by_head || by_footer || leads_to.is_some()) {
                self.altered(&kept, &mut examined);
                believed = said;
            }
        }
        let is_said = examined.findings.iter().any(|finding| finding.fault == Fault::Footer);
        if believed.end.is_some() && !footer_holds(&believed) && !is_said {
            let found = finding(Fault::Footer, next..next, self.file.clone(), 0);
            examined.findings.push(found);
        }
        (examined.end, examined.heads) = (believed.end, believed.heads);
        examined
    }

    /// The hashes of the records `from .. until`; `None` for each that was not read. Whoever follows them stops at the first of these: their
    /// number is a stranger's.
    fn row(&self, from: u64, until: u64) -> impl Iterator<Item = Option<Hash>> + '_ {
        let begin = self.leaves.partition_point(|leaf| leaf.seq < from);
        let mut there = self.leaves.get(begin..).unwrap_or_default().iter().peekable();
        (from..until).map(move |seq| there.next_if(|leaf| leaf.seq == seq).map(|leaf| leaf.hash))
    }

    /// Says which records differ from the hashes that lead to a signed root.
    fn altered(&self, kept: &[Hash], examined: &mut Examined) {
        let said = said_of(&examined.findings);
        let mut there = self.leaves.iter().peekable();
        let mut runs: Vec<(Range<u64>, u64)> = Vec::new();
        let mut seq = examined.first;
        for signed in kept {
            let leaf = there.next_if(|leaf| leaf.seq == seq);
            if leaf.is_none_or(|leaf| leaf.hash != *signed) && !is_among(&said, seq) {
                match runs.last_mut() {
                    Some((records, _)) if records.end == seq => records.end = seq.saturating_add(1),
                    _ => runs.push((one(seq), leaf.map_or(0, |leaf| leaf.place))),
                }
            }
            seq = seq.saturating_add(1);
        }
        for (records, place) in runs {
            // What stands beside the segment of records that are not here is what is missing.
            let (here, gone) = (
                records.start..records.end.min(examined.next),
                records.start.max(examined.next)..records.end,
            );
            for (fault, records, place) in [(Fault::Altered, here, place), (Fault::Missing, gone, 0)] {
                if !records.is_empty() {
                    let found = finding(fault, records, self.file.clone(), place);
                    examined.findings.push(found);
                }
            }
        }
    }
}

/// The records that findings are about, in order and once each.
pub(super) fn said_of<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<Range<u64>> {
    let mut said: Vec<_> = findings.into_iter().map(|finding| finding.records.clone()).collect();
    said.retain(|records| !records.is_empty());
    said.sort_unstable_by_key(|records| (records.start, records.end));
    let mut apart: Vec<Range<u64>> = Vec::with_capacity(said.len());
    for records in said {
        match apart.last_mut() {
            Some(last) if records.start <= last.end => last.end = last.end.max(records.end),
            _ => apart.push(records),
        }
    }
    apart
}

/// Whether a record is among these spans.
pub(super) fn is_among(apart: &[Range<u64>], seq: u64) -> bool {
    let before = apart.partition_point(|records| records.start <= seq);
    let nearest = before.checked_sub(1).and_then(|at| apart.get(at));
    nearest.is_some_and(|records| records.contains(&seq))
}

/// This record alone.
fn one(seq: u64) -> Range<u64> {
    seq..seq.saturating_add(1)
}

/// What a row of leaves leads to, and which checkpoints hold on the way.
pub(super) struct Followed {
    pub(super) end: Option<Frontier>,
    pub(super) heads: Vec<(usize, bool)>,
}

impl Followed {
    /// Whether it is known where the leaves lead, every checkpoint on the way holds, and the next segment follows.
    fn holds(&self, leads_to: Option<&Frontier>) -> bool {
        let end = self.end.as_ref();
        self.heads.iter().all(|(_, held)| *held) && end.is_some() && (leads_to.is_none() || end == leads_to)
    }

    fn along(start: Frontier, hashes: impl Iterator<Item = Option<Hash>>, heads: &[Head]) -> Self {
        let mut following = Following::from(start, heads);
        for hash in hashes {
            let Some(hash) = hash else {
                let heads = following.compared;
                return Self { end: None, heads };
            };
            following.push(hash);
        }
        following.end()
    }
}

/// The same, leaf by leaf.
pub(super) struct Following<'h> {
    frontier: Frontier,
    compared: Vec<(usize, bool)>,
    /// Checkpoints that are to come, and the index of the first of them.
    heads: &'h [Head],
    index: usize,
}

impl<'h> Following<'h> {
    pub(super) fn from(frontier: Frontier, heads: &'h [Head]) -> Self {
        let index = heads.partition_point(|head| head.size < frontier.size());
        let mut following = Self {
            frontier,
            compared: Vec::new(),
            heads: heads.get(index..).unwrap_or_default(),
            index,
        };
        following.look();
        following
    }

    pub(super) fn push(&mut self, leaf: Hash) {
        self.frontier.push(leaf);
        self.look();
    }

    fn look(&mut self) {
        if let [head, rest @ ..] = self.heads
            && head.size == self.frontier.size()
        {
            let held = head.root == self.frontier.root();
            self.compared.push((self.index, held));
            (self.heads, self.index) = (rest, self.index + 1);
        }
    }

    pub(super) fn end(self) -> Followed {
        Followed {
            end: Some(self.frontier),
            heads: self.compared,
        }
    }
}

/// The hashes beside the segment, as many as there are: the writer hands them over in pieces. Read only where the records do not hold
/// by themselves.
struct Kept<'a> {
    disk: &'a dyn Disk,
    first: u64,
}

impl Kept<'_> {
    fn count(&self) -> u64 {
        let file = self.disk.open_read(&hashes_name(self.first));
        file.and_then(|file| file.len()).map_or(0, |len| len / 32)
    }

    fn hashes(&self) -> Vec<Hash> {
        let file = self.disk.open_read(&hashes_name(self.first));
        let bytes = file.and_then(|file| read_whole(&*file)).unwrap_or_default();
        bytes.as_chunks::<32>().0.to_vec()
    }
}

fn finding(fault: Fault, records: Range<u64>, file: String, offset: u64) -> Finding {
    Finding {
        fault,
        records,
        file,
        offset,
    }
}

fn words(why: FrameError) -> &'static str {
    match why {
        FrameError::Empty => "zeros stand where a frame belongs",
        FrameError::Short { .. } => "a frame ends too early",
        FrameError::Length(_) => "a frame has an impossible length",
        FrameError::Kind(_) => "a frame has an unknown kind",
        FrameError::Flags(_) => "a frame has unknown flags",
        FrameError::Version(_) => "a frame has an unknown version",
        FrameError::Checksum => "a frame's checksum does not hold",
    }
}
