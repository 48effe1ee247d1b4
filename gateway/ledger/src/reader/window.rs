//! A walk through the frames of one segment file, read in pieces. Holds at most one piece and one record.

use super::{Reader, Record, broken, is_footer};
use crate::disk::{DiskFile, read_range};
use crate::error::ReadError;
use crate::frame::{FRAME_HEADER_LEN, FrameError, FrameKind, MAX_PART_LEN, read_frame};
use crate::options::to_u64;
use crate::segment::{BrokenWhy, evidence_of_sync, segment_name};

/// How much is read at once; more than the longest frame.
const PIECE: usize = 1 << 18;
const _: () = assert!(PIECE > FRAME_HEADER_LEN + MAX_PART_LEN);

#[derive(Debug)]
pub(super) struct Window {
    reader: Reader,
    file: Box<dyn DiskFile>,
    segment: u64,
    /// Where the next record begins.
    offset: u64,
    /// The sequence number that must come next; `None` after a jump.
    expected: Option<u64>,
    /// Where the records of an abandoned segment end.
    end: Option<u64>,
    piece: Vec<u8>,
    piece_at: u64,
}

enum Next {
    Record(Record),
    End,
    Broken(BrokenWhy),
}

impl Window {
    pub(super) fn open(reader: &Reader, segment: u64) -> Result<Self, ReadError> {
        let name = segment_name(segment);
        let file = reader.open_file(&name)?;
        let mut window = Self {
            reader: reader.clone(),
            file,
            segment,
            offset: 0,
            expected: Some(segment),
            end: None,
            piece: Vec::new(),
            piece_at: 0,
        };
        window.offset = match window.reader.header(&name) {
            Ok(header) if header.first_seq() == segment => to_u64(header.encode().len()),
            Ok(_) => return Err(window.damaged(0, BrokenWhy::Header)),
            Err(error) => return Err(error),
        };
        Ok(window)
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn expected(&self) -> u64 {
        self.expected.unwrap_or(self.segment)
    }

    /// Jumps to a place from an earlier walk; whichever record begins there is taken.
    pub(super) fn seek(&mut self, offset: u64) {
        self.offset = offset;
        self.expected = None;
    }

    /// As [`Window::seek`], where it is known which record begins there; anything else is damage.
    pub(super) fn skip_to(&mut self, offset: u64, seq: u64) {
        self.offset = offset;
        self.expected = Some(seq);
    }

    pub(super) fn set_end(&mut self, end: Option<u64>) {
        self.end = end;
    }

    /// The sequence number of the next record without moving on.
    pub(super) fn peek(&mut self) -> Result<Option<u64>, ReadError> {
        let (offset, expected) = (self.offset, self.expected);
        let next = self.next_record(None)?;
        (self.offset, self.expected) = (offset, expected);
        Ok(next.map(|record| record.seq))
    }

    /// The next whole record, or `None` at the end of what is there. A broken frame with proof behind it that it was once
    /// whole is damage; without, it is being written or was torn, and the walk ends before it.
    pub(super) fn next_record(&mut self, retried: Option<BrokenWhy>) -> Result<Option<Record>, ReadError> {
        match self.read_group()? {
            Next::Record(record) => Ok(Some(record)),
            Next::End => Ok(None),
            Next::Broken(why @ (BrokenWhy::Sequence { .. } | BrokenWhy::Leaf)) => Err(self.damaged(self.offset, why)),
            Next::Broken(why) if !self.is_damage()? => {
                let _ = why;
                Ok(None)
            }
            // The writer may have finished the frame between our two looks: damage is what stays broken.
            Next::Broken(why) if retried == Some(why) => Err(self.damaged(self.offset, why)),
            Next::Broken(why) => {
                self.piece.clear();
                self.next_record(Some(why))
            }
        }
    }

    fn read_group(&mut self) -> Result<Next, ReadError> {
        let mut at = self.offset;
        let mut parts = Vec::new();
        loop {
            if self.end.is_some_and(|end| at >= end) {
                return Ok(Next::End);
            }
            let (segment, offset, expected) = (self.segment, self.offset, self.expected);
            let data = self.bytes_at(at)?;
            let frame = match read_frame(data) {
                Ok(frame) => frame,
                Err(FrameError::Empty) if parts.is_empty() => return Ok(Next::End),
                Err(_) if is_footer(data) => return Ok(Next::End),
                Err(why) => return Ok(Next::Broken(BrokenWhy::Frame(why))),
            };
            if let Some(expected) = expected.filter(|expected| *expected != frame.seq) {
                return Ok(Next::Broken(BrokenWhy::Sequence {
                    expected,
                    found: frame.seq,
                }));
            }
            if frame.check_leaf().is_err() {
                return Ok(Next::Broken(BrokenWhy::Leaf));
            }
            let (seq, body) = (frame.seq, frame.body.to_vec());
            let (kind, len) = (frame.kind, to_u64(frame.encoded_len()));
            self.expected = Some(seq);
            at = at.saturating_add(len);
            match kind {
                FrameKind::Part => parts.push(body),
                FrameKind::Leaf(kind) => {
                    self.offset = at;
                    // Behind a jump the number is whatever stands there.
                    self.expected = Some(seq.saturating_add(1));
                    return Ok(Next::Record(Record {
                        seq,
                        kind,
                        leaf: body,
                        parts,
                        segment,
                        offset,
                    }));
                }
            }
        }
    }

    /// The bytes from `at` on: at least one whole frame of them, unless the file ends before.
    fn bytes_at(&mut self, at: u64) -> Result<&[u8], ReadError> {
        let inside = at
            .checked_sub(self.piece_at)
            .and_then(|skip| usize::try_from(skip).ok());
        let has_frame = inside.is_some_and(|skip| {
            self.piece.get(skip..).is_some_and(|rest| {
                // A frame that ends inside the piece can be used; anything else is read afresh, since it may have grown.
                read_frame(rest).is_ok()
            })
        });
        if !has_frame {
            self.piece = read_range(&*self.file, at, PIECE)
                .map_err(|error| self.reader.io(&segment_name(self.segment), error))?;
            self.piece_at = at;
        }
        let skip = usize::try_from(at.saturating_sub(self.piece_at)).unwrap_or(usize::MAX);
        Ok(self.piece.get(skip..).unwrap_or_default())
    }

    /// Whether records that were synced later stand behind the broken one, or the segment has a successor.
    fn is_damage(&mut self) -> Result<bool, ReadError> {
        let name = segment_name(self.segment);
        if self.expected.is_none() {
            return Ok(true);
        }
        let len = self.file.len().map_err(|error| self.reader.io(&name, error))?;
        let rest = usize::try_from(len.min(1 << 30).saturating_sub(self.offset)).unwrap_or(0);
        let bytes = read_range(&*self.file, self.offset, rest).map_err(|error| self.reader.io(&name, error))?;
        Ok(evidence_of_sync(&bytes, 1, self.expected()))
    }

    fn damaged(&self, offset: u64, why: BrokenWhy) -> ReadError {
        self.reader.damaged(&segment_name(self.segment), offset, broken(why))
    }
}
