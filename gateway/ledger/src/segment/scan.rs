//! Walks the frames of one segment held in memory, and tells a torn end from damage. Changes nothing.
//!
//! **How the two are told apart.** The writer syncs each batch before it writes the next, and marks the first frame of a
//! batch. So a broken frame with a marked frame of a later record after it (or a valid footer) stood on the disk whole once:
//! that is damage, and the ledger refuses to go on. A broken frame with nothing marked after it lies in the last batch: a crash may
//! have torn that one, and in any order, so whole frames of the same batch behind the broken one prove nothing.

use std::ops::Range;

use model::event::RecordKind;

use super::{FOOTER_MAGIC, Footer, Header, OpenEntry, OpenSet, cut_id};
use crate::frame::{FRAME_HEADER_LEN, Frame, FrameError, FrameKind, MAX_PART_LEN, read_frame};
use crate::leaf::{self, Facts};
use crate::options::to_u64;
use crate::tree::{Frontier, Hash, leaf_hash};

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The state after the last whole record.
    pub(crate) frontier: Frontier,
    pub(crate) open: OpenSet,
    /// As in the header: where an abandoned predecessor's records end.
    pub(crate) abandoned_at: Option<u64>,
    /// Hashes of the segment's leaves.
    pub(crate) hashes: Vec<Hash>,
    /// Where the last whole record ends.
    pub(crate) end: usize,
    /// Where the last batch begins: the only bytes that may not have been synced.
    pub(crate) last_batch: usize,
    pub(crate) footer: Option<Footer>,
    /// Bytes after `end` that are neither zeros nor the footer: a torn end, from `end` to the last byte that is not zero.
    pub(crate) torn: Range<usize>,
}

/// Damage: the bytes once stood there whole.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// Where in the file.
    pub(crate) offset: usize,
    pub(crate) why: BrokenWhy,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy, thiserror::Error)]
pub(crate) enum BrokenWhy {
    #[error("the segment's header does not hold, and records follow it")]
    Header,
    #[error("{0}, and later records follow it")]
    Frame(FrameError),
    #[error("record {found} stands where record {expected} belongs")]
    Sequence { expected: u64, found: u64 },
    #[error("kind, version or sequence in the leaf differ from the frame")]
    Leaf,
    #[error("the leaf is not the JSON that its kind needs")]
    Json,
    #[error("a part stands before the footer without its record")]
    LonePart,
    #[error("the footer does not agree with the records before it")]
    Footer,
}

/// Reads a whole segment.
///
/// `Ok(None)`: nothing was ever recorded here (the header was never synced).
pub(crate) fn scan(data: &[u8]) -> Result<Option<Scan>, Broken> {
    let Some((header, start)) = Header::decode(data) else {
        return if evidence_of_sync(written(data), 1, 0) {
            Err(Broken {
                offset: 0,
                why: BrokenWhy::Header,
            })
        } else {
            Ok(None)
        };
    };
    let mut walk = Walk::new(header, start);
    loop {
        let rest = data.get(walk.pos..).unwrap_or_default();
        if rest.starts_with(FOOTER_MAGIC)
            && let Some(footer) = Footer::decode(rest)
        {
            return walk.sealed(footer).map(Some);
        }
        match read_frame(rest) {
            Ok(frame) => walk.step(&frame).map_err(|why| Broken { offset: walk.pos, why })?,
            Err(why) => return walk.ended(data, why).map(Some),
        }
    }
}

/// Whether a frame that begins a batch with a record after `seq`, or a valid footer, stands anywhere from `from` on.
pub(crate) fn evidence_of_sync(data: &[u8], from: usize, seq: u64) -> bool {
    Evidence::default().stands(data, from, seq, &mut Checksums::of(data))
}

/// The same question, asked at one damage after the other of the same bytes: no byte is looked at twice.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// What was found last: where, and of which record; of a footer the largest number.
    found: Option<(usize, u64)>,
    /// Before this place there is nothing else.
    looked: usize,
    /// Places that were looked at.
    pub(crate) steps: u64,
}

impl Evidence {
    /// Whether it stands there. Neither `from` nor `seq` may go back from one question to the next.
    pub(crate) fn stands(&mut self, data: &[u8], from: usize, seq: u64, checksums: &mut Checksums) -> bool {
        if self.found.is_some_and(|(at, of)| at >= from && of >= seq) {
            return true;
        }
        let mut at = self.looked.max(from);
        while let Some(rest) = data.get(at..).filter(|rest| rest.len() >= FRAME_HEADER_LEN) {
            self.steps = self.steps.saturating_add(1);
            let of = match rest {
                // The cheap look first: length below 2^24, version 1, marked as the first of a batch.
                [_, _, _, 0, _, _, _, _, _, 1, 1, 0, ..] => match checksums.read(rest) {
                    Looked::Frame(frame) => (frame.starts_batch && frame.seq >= seq).then_some(frame.seq),
                    Looked::Nothing => None,
                    // No writer leaves so many bytes that are nearly frames: not a torn end, whatever follows.
                    Looked::TooMuch => {
                        self.found = Some((usize::MAX, u64::MAX));
                        return true;
                    }
                },
                [b'G', b'S', ..] => Footer::decode(rest).map(|_| u64::MAX),
                _ => None,
            };
            at += 1;
            if let Some(of) = of {
                (self.found, self.looked) = (Some((at - 1, of)), at);
                return true;
            }
        }
        self.looked = at;
        false
    }
}

/// Bounds the checksums that a search for frames computes. Bytes can be made so that a frame of the greatest length seems to begin at every eighth one,
/// and a search through a segment of them would compute eight thousand times as many bytes as it has.
#[derive(Debug)]
pub(crate) struct Checksums {
    /// Bytes that may still be computed over.
    left: u64,
}

/// What stands at a place that was looked at.
pub(crate) enum Looked<'a> {
    /// A frame that holds.
    Frame(Frame<'a>),
    /// None.
    Nothing,
    /// Nobody knows: the bound is reached.
    TooMuch,
}

impl Checksums {
    /// So many bytes for each byte that is searched, and so many besides. What is no forgery needs hardly any: in a record no byte is zero.
    const EACH: u64 = 16;
    const BESIDES: u64 = 16 << 20;

    pub(crate) fn of(data: &[u8]) -> Self {
        let left = to_u64(data.len())
            .saturating_mul(Self::EACH)
            .saturating_add(Self::BESIDES);
        Self { left }
    }

    /// Reads the frame that may begin here.
    pub(crate) fn read<'a>(&mut self, bytes: &'a [u8]) -> Looked<'a> {
        let frame = read_frame(bytes);
        let costs = match &frame {
            Ok(frame) => frame.encoded_len(),
            Err(FrameError::Checksum) => MAX_PART_LEN,
            Err(_) => 0,
        };
        match (self.left.checked_sub(to_u64(costs)), frame) {
            (None, _) => Looked::TooMuch,
            (Some(left), frame) => {
                self.left = left;
                frame.map_or(Looked::Nothing, Looked::Frame)
            }
        }
    }
}

/// What a record means for the calls that have no end yet. `None` where its `facts` cannot be read.
pub(crate) fn follow<'a>(
    open: &mut OpenSet,
    kind: RecordKind,
    seq: u64,
    facts: impl FnOnce() -> Option<Facts<'a>>,
) -> Option<()> {
    match kind {
        RecordKind::Intent | RecordKind::Open => {
            let entry = OpenEntry {
                is_stream: kind == RecordKind::Open,
                id: cut_id(&facts()?.id),
            };
            open.insert(seq, entry);
        }
        RecordKind::Outcome | RecordKind::Close => {
            if let Some(pair) = facts()?.pair {
                open.remove(&pair);
            }
        }
        _ => {}
    }
    Some(())
}

/// All up to the last byte that is not zero. Whole pages are compared first: most of a young segment is zeros.
pub(crate) fn written(data: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut end = data.len();
    while let Some(page) = end.checked_sub(ZEROS.len()).and_then(|from| data.get(from..end)) {
        if page != ZEROS {
            break;
        }
        end -= ZEROS.len();
    }
    let head = data.get(..end).unwrap_or_default();
    head.get(..head.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1))
        .unwrap_or_default()
}

struct Walk {
    pos: usize,
    /// First sequence number of the segment.
    first_seq: u64,
    abandoned_at: Option<u64>,
    /// Where the group (parts and their leaf) that is being read begins.
    group: usize,
    last_batch: usize,
    frontier: Frontier,
    open: OpenSet,
    hashes: Vec<Hash>,
}

impl Walk {
    fn new(header: Header, start: usize) -> Self {
        let first_seq = header.first_seq();
        let Header {
            frontier,
            open,
            abandoned_at,
        } = header;
        let hashes = Vec::new();
        Self {
            pos: start,
            first_seq,
            abandoned_at,
            group: start,
            last_batch: start,
            frontier,
            open,
            hashes,
        }
    }

    fn step(&mut self, frame: &Frame<'_>) -> Result<(), BrokenWhy> {
        let expected = self.frontier.size();
        if frame.seq != expected {
            return Err(BrokenWhy::Sequence {
                expected,
                found: frame.seq,
            });
        }
        if frame.starts_batch {
            self.last_batch = self.pos;
        }
        if let FrameKind::Leaf(kind) = frame.kind {
            frame.check_leaf().map_err(|_| BrokenWhy::Leaf)?;
            follow(&mut self.open, kind, frame.seq, || leaf::facts(frame.body)).ok_or(BrokenWhy::Json)?;
            let hash = leaf_hash(frame.body);
            self.frontier.push(hash);
            self.hashes.push(hash);
        }
        self.pos += frame.encoded_len();
        if frame.kind != FrameKind::Part {
            self.group = self.pos;
        }
        Ok(())
    }

    fn sealed(self, footer: Footer) -> Result<Scan, Broken> {
        if self.group != self.pos {
            return Err(Broken {
                offset: self.group,
                why: BrokenWhy::LonePart,
            });
        }
        let agrees = footer.first_seq == self.first_seq
            && footer.next_seq == self.frontier.size()
            && usize::try_from(footer.data_end) == Ok(self.pos)
            && footer.root == self.frontier.root();
        if !agrees {
            return Err(Broken {
                offset: self.pos,
                why: BrokenWhy::Footer,
            });
        }
        let end = self.pos;
        Ok(self.done(Some(footer), end..end))
    }

    fn ended(self, data: &[u8], why: FrameError) -> Result<Scan, Broken> {
        let written = written(data);
        if evidence_of_sync(written, self.pos + 1, self.frontier.size()) {
            return Err(Broken {
                offset: self.pos,
                why: BrokenWhy::Frame(why),
            });
        }
        let group = self.group;
        Ok(self.done(None, group..written.len().max(group)))
    }

    fn done(self, footer: Option<Footer>, torn: Range<usize>) -> Scan {
        let last_batch = self.last_batch.min(self.group);
        let Self {
            group,
            frontier,
            open,
            hashes,
            abandoned_at,
            ..
        } = self;
        Scan {
            frontier,
            open,
            abandoned_at,
            hashes,
            end: group,
            last_batch,
            footer,
            torn,
        }
    }
}
