//! Walks the frames of one segment held in memory, and tells a torn end from damage. Changes nothing.
//!
//! **How the two are told apart.** The writer syncs each batch before it writes the next, and marks the first frame of a
//! batch. So a broken frame with a marked frame of a later record after it (or a valid footer) stood on the disk whole once:
//! that is damage, and the ledger refuses to go on. A broken frame with nothing marked after it lies in the last batch: a crash may
//! have torn that one, and in any order, so whole frames of the same batch behind the broken one prove nothing.

use std::ops::Range;

use super::{FOOTER_MAGIC, Footer, Header, OpenEntry, OpenSet, cut_id};
use crate::frame::{FRAME_HEADER_LEN, Frame, FrameError, FrameKind, read_frame};
use crate::leaf;
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
    let mut at = from;
    while let Some(rest) = data.get(at..).filter(|rest| rest.len() >= FRAME_HEADER_LEN) {
        match rest {
            // The cheap look first: length below 2^24, version 1, marked as the first of a batch.
            [_, _, _, 0, _, _, _, _, _, 1, 1, 0, ..]
                if read_frame(rest).is_ok_and(|frame| frame.starts_batch && frame.seq >= seq) =>
            {
                return true;
            }
            [b'G', b'S', ..] if Footer::decode(rest).is_some() => return true,
            _ => {}
        }
        at += 1;
    }
    false
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
            self.pair(kind, frame)?;
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

    fn pair(&mut self, kind: model::event::RecordKind, frame: &Frame<'_>) -> Result<(), BrokenWhy> {
        use model::event::RecordKind::{Close, Intent, Open, Outcome};
        match kind {
            Intent | Open => {
                let facts = leaf::facts(frame.body).ok_or(BrokenWhy::Json)?;
                let entry = OpenEntry {
                    is_stream: kind == Open,
                    id: cut_id(&facts.id),
                };
                self.open.insert(frame.seq, entry);
            }
            Outcome | Close => {
                let facts = leaf::facts(frame.body).ok_or(BrokenWhy::Json)?;
                if let Some(pair) = facts.pair {
                    self.open.remove(&pair);
                }
            }
            _ => {}
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
