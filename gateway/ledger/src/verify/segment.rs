//! One segment, looked at by itself: every frame and leaf, what it leads to, and where it differs from what was signed.

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
use crate::options::to_u64;
use crate::parts::{self, PartsFault};
use crate::recovery::read_header;
use crate::segment::{FOOTER_MAGIC, Footer, Header, evidence_of_sync, hashes_name, segment_name};
use crate::tree::{Frontier, Hash, leaf_hash};

/// How far a number may jump and still be taken for a gap.
const JUMP_MAX: u64 = 1 << 24;

/// What one segment holds.
#[derive(Debug, Default)]
pub(super) struct Examined {
    /// By its name.
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

/// A segment, as its name and its successor say it.
pub(super) struct Spot {
    /// Its first record.
    pub(super) first: u64,
    /// The first record of the next one.
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
/// second time.
pub(super) fn examine(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
) -> Result<Examined, ReadError> {
    match examine_straight(disk, file, spot, heads, room)? {
        Some(examined) => Ok(examined),
        None => examine_whole(disk, file, spot, heads, room),
    }
}

/// `None` where anything is not as it should be.
pub(super) fn examine_straight(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
) -> Result<Option<Examined>, ReadError> {
    let name = segment_name(spot.first);
    if spot.abandoned().is_some() {
        return Ok(None);
    }
    let read = straight::read(file, &disk.display(&name), spot.first, heads, room);
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
    (examined.end, examined.heads) = (followed.end, followed.heads);
    Ok(is_whole.then_some(examined))
}

/// Whatever it holds: goes on behind what is wrong, and says where that is.
pub(super) fn examine_whole(
    disk: &dyn Disk,
    file: &dyn DiskFile,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
) -> Result<Examined, ReadError> {
    let name = segment_name(spot.first);
    let read = file.len().and_then(|len| {
        let len = usize::try_from(len.min(FILE_MAX)).unwrap_or(usize::MAX);
        read_range_into(file, 0, len, &mut room.whole)
    });
    read.map_err(|source| io(disk, &name, source))?;
    let data = &room.whole;
    let abandoned_at = spot.abandoned().and_then(|at| usize::try_from(at).ok());
    let end = abandoned_at.unwrap_or(data.len()).min(data.len());
    let mut walk = Walk::new(disk.display(&name), data.get(..end).unwrap_or_default(), spot.first);
    walk.is_last = spot.follower.is_none() && abandoned_at.is_none();
    walk.run();
    walk.examined.bytes = to_u64(data.len());
    walk.examined.abandoned = spot.abandoned();
    if let Some(follower) = spot.follower.filter(|&follower| follower > walk.expected) {
        walk.find(Fault::Missing, walk.expected..follower);
        walk.leave_out(follower);
    }
    walk.examined.next = walk.expected;
    let Walk {
        hashes,
        places,
        file,
        footer,
        mut examined,
        ..
    } = walk;
    let leaves = Leaves { hashes, places, file };
    let beside = Kept {
        disk,
        first: spot.first,
    };
    leaves.compare(&beside, heads, spot.leads_to(), footer.as_ref(), &mut examined);
    Ok(examined)
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
    /// Parts that stand before the leaf to come.
    parts: Vec<&'a [u8]>,
    /// Hash of each leaf; `None` where there is no readable one.
    hashes: Vec<Option<Hash>>,
    /// Where each begins.
    places: Vec<u64>,
    /// Whether a crash may have torn its end.
    is_last: bool,
    footer: Option<Footer>,
    examined: Examined,
}

impl<'a> Walk<'a> {
    fn new(file: String, data: &'a [u8], first: u64) -> Self {
        Self {
            data,
            file,
            pos: 0,
            expected: first,
            parts: Vec::new(),
            hashes: Vec::new(),
            places: Vec::new(),
            is_last: false,
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
        let first = self.expected;
        match Header::decode(self.data) {
            Some((header, len)) if header.first_seq() == first => {
                self.pos = len;
                self.examined.start = Some(header.frontier);
            }
            found => {
                self.find(Fault::Damaged("the segment's header does not hold"), first..first);
                self.pos = found.map_or(0, |(_, len)| len);
                self.pos += self.next_frame(self.pos, first).unwrap_or(0);
            }
        }
    }

    fn step(&mut self, frame: &Frame<'a>) {
        if frame.seq > self.expected {
            // A part whose leaf is gone carries its number, too; the leaf decides.
            self.find(Fault::Missing, self.expected..frame.seq);
            self.leave_out(frame.seq);
        } else if frame.seq < self.expected {
            let fault = Fault::Misplaced {
                expected: self.expected,
                found: frame.seq,
            };
            self.find(fault, frame.seq..frame.seq + 1);
            self.pos += frame.encoded_len();
            self.parts.clear();
            return;
        }
        if frame.check_leaf().is_err() {
            self.find(Fault::FrameLeaf, frame.seq..frame.seq + 1);
        }
        match frame.kind {
            FrameKind::Part => self.parts.push(frame.body),
            FrameKind::Leaf(kind) => self.leaf(frame, kind),
        }
        self.pos += frame.encoded_len();
    }

    fn leaf(&mut self, frame: &Frame<'a>, kind: RecordKind) {
        if kind == RecordKind::Key {
            let told = Told::read(frame.body, frame.seq, &self.file, to_u64(self.pos));
            self.examined.told.push(told);
        }
        if kind == RecordKind::Erasure {
            self.examined.erasures.read(frame.body, frame.seq);
        }
        if kind == RecordKind::Damage {
            self.examined.erasures.read_refusal(frame.body, frame.seq);
        }
        self.examined.gaps += u64::from(kind == RecordKind::Gap);
        let count = self.parts.len();
        let declared = parts::declared(frame.body);
        self.examined.erasures.count(&declared);
        match parts::compare(&declared, &self.parts) {
            Ok(bound) => self.examined.unbound += to_u64(count.saturating_sub(bound)),
            Err(fault @ PartsFault::Missing(_)) => match parts::detached(&declared, &self.parts) {
                Some(keys) => {
                    let at = to_u64(self.pos);
                    let lack = finding(fault.into(), frame.seq..frame.seq + 1, self.file.clone(), at);
                    self.examined.erasures.lacks(lack, &keys);
                }
                None => self.find(fault.into(), frame.seq..frame.seq + 1),
            },
            Err(fault) => self.find(fault.into(), frame.seq..frame.seq + 1),
        }
        self.examined.parts += to_u64(count);
        self.examined.records += 1;
        self.parts.clear();
        self.hashes.push(Some(leaf_hash(frame.body)));
        self.places.push(to_u64(self.pos));
        self.expected = frame.seq.saturating_add(1);
    }

    /// Behind bytes that are no frame: to the next one, if there is one. False at the end of what was written.
    fn skip(&mut self, why: FrameError) -> bool {
        let rest = self.data.get(self.pos..).unwrap_or_default();
        let written = rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if written == 0 {
            return false;
        }
        let whole = rest.get(..written).unwrap_or_default();
        let was_durable = !self.is_last || evidence_of_sync(whole, 1, self.expected);
        if !was_durable {
            self.examined.torn = to_u64(written);
            return false;
        }
        let Some(skip) = self.next_frame(self.pos + 1, self.expected) else {
            self.find(Fault::Damaged(words(why)), self.expected..self.expected);
            return false;
        };
        let at = self.pos + 1 + skip;
        let next = self
            .data
            .get(at..)
            .and_then(|rest| read_frame(rest).ok())
            .map_or(self.expected, |frame| frame.seq);
        self.find(Fault::Damaged(words(why)), self.expected..next.max(self.expected));
        self.leave_out(next.max(self.expected));
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
        let count = usize::try_from(until.saturating_sub(self.expected).min(JUMP_MAX)).unwrap_or(0);
        self.hashes.extend(std::iter::repeat_n(None, count));
        self.places.extend(std::iter::repeat_n(to_u64(self.pos), count));
        self.expected = until;
        self.parts.clear();
    }

    fn footer(&mut self, footer: Footer) {
        if (self.expected + 1..self.expected.saturating_add(JUMP_MAX)).contains(&footer.next_seq) {
            self.find(Fault::Missing, self.expected..footer.next_seq);
            self.leave_out(footer.next_seq);
        }
        let said = (footer.first_seq, footer.next_seq, footer.data_end);
        if said != (self.examined.first, self.expected, to_u64(self.pos)) {
            self.find(Fault::Footer, self.expected..self.expected);
        }
        self.footer = Some(footer);
    }

    fn find(&mut self, fault: Fault, records: Range<u64>) {
        let found = finding(fault, records, self.file.clone(), to_u64(self.pos));
        self.examined.findings.push(found);
    }
}

/// The leaves that a walk found, to be held against what was signed.
struct Leaves {
    hashes: Vec<Option<Hash>>,
    places: Vec<u64>,
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
        footer: Option<&Footer>,
        examined: &mut Examined,
    ) {
        let Some(start) = examined.start.clone() else { return };
        let own = Followed::along(start.clone(), self.hashes.iter().copied(), heads);
        let footer_holds = |followed: &Followed| match (footer, &followed.end) {
            (Some(footer), Some(end)) => footer.root == end.root(),
            (Some(_), None) => false,
            (None, _) => true,
        };
        let mut believed = own;
        let is_short = beside.count() > to_u64(self.hashes.len());
        if is_short || !believed.holds(leads_to) || !footer_holds(&believed) {
            let kept = beside.hashes();
            let behind = self.hashes.iter().copied().skip(kept.len());
            let said = Followed::along(start, kept.iter().copied().map(Some).chain(behind), heads);
            let by_head = said.heads.iter().any(|(_, held)| *held);
            let by_footer = footer.is_some() && footer_holds(&said);
            if said.holds(leads_to) && (by_head || by_footer || leads_to.is_some()) {
                self.altered(&kept, examined);
                believed = said;
            }
        }
        if believed.end.is_some() && !footer_holds(&believed) {
            let at = examined.next;
            examined
                .findings
                .push(finding(Fault::Footer, at..at, self.file.clone(), 0));
        }
        (examined.end, examined.heads) = (believed.end, believed.heads);
    }

    /// Says which records differ from the hashes that lead to a signed root.
    fn altered(&self, kept: &[Hash], examined: &mut Examined) {
        let mut run: Option<(Range<u64>, u64)> = None;
        let mut runs = Vec::new();
        for (index, (have, signed)) in self.hashes.iter().zip(kept).enumerate() {
            let seq = examined.first.saturating_add(to_u64(index));
            let is_known = examined.findings.iter().any(|finding| finding.records.contains(&seq));
            if *have == Some(*signed) || is_known {
                runs.extend(run.take());
            } else if let Some((records, _)) = &mut run {
                records.end = seq + 1;
            } else {
                run = Some((seq..seq + 1, self.places.get(index).copied().unwrap_or_default()));
            }
        }
        runs.extend(run);
        for (records, place) in runs {
            examined
                .findings
                .push(finding(Fault::Altered, records, self.file.clone(), place));
        }
        if kept.len() > self.hashes.len() {
            let records = examined.next..examined.first.saturating_add(to_u64(kept.len()));
            examined
                .findings
                .push(finding(Fault::Missing, records, self.file.clone(), 0));
        }
    }
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
