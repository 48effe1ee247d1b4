//! The walk over the frames of a segment, which goes on behind damage.

use std::ops::Range;

use model::event::RecordKind;

use super::leads::Leaves;
use super::{Calls, Examined, finding, one};
use crate::frame::{FRAME_HEADER_LEN, Frame, FrameError, FrameKind, read_frame};
use crate::leaf;
use crate::options::to_u64;
use crate::parts::{self, PartsFault};
use crate::segment::{
    Checksums, Evidence, FOOTER_LEN, FOOTER_MAGIC, Footer, Header, Looked, evidence_of_sync, written,
};
use crate::tree::{Frontier, Hash, leaf_hash};
use crate::verify::turns::Told;
use crate::verify::{FINDINGS_MAX, Fault, add};

/// How far a number may jump and still be taken for a gap.
const JUMP_MAX: u64 = 1 << 24;

/// The walk over the frames of a segment, which goes on behind damage.
pub(super) struct Walk<'a> {
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
    pub(super) is_last: bool,
    /// The largest size that was signed: whatever stands below it was durable, and is not being written.
    pub(super) signed: u64,
    /// What the next segment's file is called.
    pub(super) follower: Option<u64>,
    /// Up to which number hashes stand beside the segment.
    pub(super) beside: u64,
    /// The records that were missing last: parts of theirs may have stayed.
    lost: Range<u64>,
    /// Where the last frame stood in no record's place: of many in a row one is said.
    surplus: Option<u64>,
    footer: Option<Footer>,
    /// Where the zeros begin behind which nothing was ever written; looked for at the first damage.
    written: Option<usize>,
    pub(super) evidence: Evidence,
    checksums: Checksums,
    pub(super) examined: Examined,
}

/// A leaf that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaf {
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// Where its frame begins.
    pub(super) place: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: String, data: &'a [u8], first: u64) -> Self {
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
            written: None,
            evidence: Evidence::default(),
            checksums: Checksums::of(data),
            examined: Examined {
                first,
                next: first,
                calls: Some(Calls::default()),
                ..Examined::default()
            },
        }
    }

    pub(super) fn run(&mut self) {
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
                (self.examined.start, self.examined.open) = (Some(header.frontier), Some(header.open));
            }
            // Its file has another's name: header and records say which it is.
            Some((header, len)) if self.begins_with(len, header.first_seq()) => {
                let first = header.first_seq();
                (self.expected, self.examined.first) = (first, first);
                // What the names of other files say is not about these records.
                (self.follower, self.beside, self.is_last) = (None, 0, false);
                self.pos = len;
                (self.examined.start, self.examined.open) = (Some(header.frontier), Some(header.open));
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
                    // Of the last one, more was signed than a footer that was made anew behind a cut says.
                    let least = if self.is_last { self.signed.max(self.beside) } else { 0 };
                    let footer = Footer::decode(rest).map(|footer| footer.next_seq);
                    let footer = footer.filter(|next| *next >= least);
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
        self.examined.erasures.read_of_others(kind, frame.body, seq);
        self.examined.follow_call(kind, seq, frame.body);
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
        let data = self.data;
        let end = *self.written.get_or_insert_with(|| written(data).len());
        if end <= self.pos {
            return false;
        }
        let was_durable = !self.is_last || self.expected < self.signed || {
            let (written, from) = (data.get(..end).unwrap_or_default(), self.pos.saturating_add(1));
            let (evidence, checksums) = (&mut self.evidence, &mut self.checksums);
            evidence.stands(written, from, self.expected, checksums)
        };
        if !was_durable {
            self.examined.torn = to_u64(end.saturating_sub(self.pos));
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
    fn next_frame(&mut self, from: usize, expected: u64) -> Option<usize> {
        let rest = self.data.get(from..)?;
        let near = expected..expected.saturating_add(JUMP_MAX);
        for skip in 0..rest.len().saturating_sub(FRAME_HEADER_LEN) {
            let is_it = match rest.get(skip..) {
                Some(bytes @ [_, _, _, 0, _, _, _, _, _, _, 1, 0, ..]) => match self.checksums.read(bytes) {
                    Looked::Frame(frame) => near.contains(&frame.seq),
                    Looked::Nothing => false,
                    Looked::TooMuch => return None,
                },
                Some(bytes @ [b'G', b'S', ..]) => Footer::decode(bytes).is_some(),
                _ => false,
            };
            if is_it {
                return Some(skip);
            }
        }
        None
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
    pub(super) fn end(mut self, before: Option<&Frontier>) -> (Examined, Leaves) {
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
        add(&mut self.examined.findings, found, FINDINGS_MAX);
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
