//! Reading a ledger's folder, with no lock and beside a live writer: forwards from any record, or segment by segment from the
//! newest. Strict: checksum, sequence, and kind, version and sequence in frame and leaf must all hold. Changes nothing.
//!
//! Beside a live writer a reader may see a record a moment before its sync has returned; who must not, bounds the walk with
//! [`Records::until`] and the writer's durable size. The walk ends at the last whole record and goes on from there when asked again.

mod proved;
mod window;

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;

use crate::disk::{Disk, DiskFile, RealDisk, read_range};
use crate::error::{Damage, DamageKind, OpenError, ReadError};
use crate::frame::{FrameKind, read_frame};
use crate::names::Names;
use crate::options::to_u64;
use crate::parts::{self, PartsFault};
use crate::recovery::{footer_at_end, read_header};
use crate::segment::{BrokenWhy, FOOTER_MAGIC, Footer, Header, hashes_name, parse_segment_name, scan, segment_name};
use crate::tree::{Frontier, Hash, leaf_hash};
pub use proved::Proved;
use window::Window;

/// A ledger's folder, opened for reading.
#[derive(Debug, Clone)]
pub struct Reader {
    disk: Arc<dyn Disk>,
    segments: Vec<SegmentInfo>,
    names: Option<Arc<dyn Names>>,
}

/// One segment of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its first record.
    pub first_seq: u64,
    /// The first record of the next segment; `None` for the last one.
    pub next_seq: Option<u64>,
}

/// Where a record stands: its number, and the way to it without a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// Its sequence number.
    pub seq: u64,
    /// The first record of its segment.
    pub segment: u64,
    /// Where its first frame begins in that segment's file.
    pub offset: u64,
}

/// One record as it stands on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its sequence number, which is its index in the tree.
    pub seq: u64,
    /// Its kind.
    pub kind: RecordKind,
    /// The whole leaf, as it was hashed.
    pub leaf: Vec<u8>,
    /// What was written before it as its parts, as the caller gave it.
    pub parts: Vec<Vec<u8>>,
    /// The segment it stands in.
    pub segment: u64,
    /// Where its first frame (part or leaf) begins in that segment's file; with `segment`, a way back to it.
    pub offset: u64,
}

impl Record {
    /// Where it stands.
    #[must_use]
    pub const fn spot(&self) -> Spot {
        Spot {
            seq: self.seq,
            segment: self.segment,
            offset: self.offset,
        }
    }

    /// Whether the parts that stand before the leaf are those that it commits to.
    ///
    /// # Errors
    /// The first difference.
    pub fn check_parts(&self) -> Result<(), PartsFault> {
        parts::check(&self.leaf, &self.parts).map(drop)
    }
}

/// What a check of a segment found whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Records.
    pub records: u64,
    /// Parts beside them.
    pub parts: u64,
}

impl Reader {
    /// Checks one segment whole: every frame and leaf, the tree from the header's peaks to the next segment's header, and
    /// that each part is the one that was sealed with its record. A part that was erased still stands there; it only cannot be opened
    /// any more.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] with file and byte of the first thing that does not hold.
    pub fn verify(&self, segment: SegmentInfo) -> Result<Verified, ReadError> {
        let name = segment_name(segment.first_seq);
        let mut frontier = self.header(&name)?.frontier;
        let mut verified = Verified::default();
        for record in self.records_in(segment) {
            let record = record?;
            if let Err(fault) = record.check_parts() {
                let kind = DamageKind::Parts { seq: record.seq, fault };
                return Err(self.damaged(&name, record.offset, kind));
            }
            frontier.push(leaf_hash(&record.leaf));
            verified.records += 1;
            verified.parts += to_u64(record.parts.len());
        }
        if let Some(next) = segment.next_seq {
            let next = self.header(&segment_name(next))?.frontier;
            if (next.size(), next.root()) != (frontier.size(), frontier.root()) {
                return Err(self.damaged(&name, 0, DamageKind::Root));
            }
        }
        Ok(verified)
    }

    /// Opens the ledger in this folder.
    ///
    /// # Errors
    /// [`ReadError::Io`] when the folder cannot be listed.
    pub fn open(dir: &Path) -> Result<Self, ReadError> {
        Self::open_on(Arc::new(RealDisk::new(dir)))
    }

    /// As [`Reader::open`], on any disk.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn open_on(disk: Arc<dyn Disk>) -> Result<Self, ReadError> {
        let mut reader = Self::unread(disk);
        reader.refresh()?;
        Ok(reader)
    }

    /// One that has not looked at the folder yet.
    pub(crate) fn unread(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            segments: Vec::new(),
            names: None,
        }
    }

    /// Puts names back into the leaves of the records that are read: for whoever may see names, and never for proofs, which are over
    /// leaves as they stand.
    #[must_use]
    pub fn naming(mut self, names: Option<Arc<dyn Names>>) -> Self {
        self.names = names;
        self
    }

    /// Looks for segments that have come since.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub fn refresh(&mut self) -> Result<(), ReadError> {
        let names = self.disk.list().map_err(|error| self.io(".", error))?;
        let mut firsts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
        firsts.sort_unstable();
        let next = firsts.iter().skip(1).copied().map(Some).chain(std::iter::once(None));
        self.segments = firsts
            .iter()
            .zip(next)
            .map(|(&first_seq, next_seq)| SegmentInfo { first_seq, next_seq })
            .collect();
        Ok(())
    }

    /// The segments, oldest first, as of the last look.
    #[must_use]
    pub fn segments(&self) -> &[SegmentInfo] {
        &self.segments
    }

    /// All records from `seq` on (from the first there is, when that is later), through all segments.
    #[must_use]
    pub fn records_from(&self, seq: u64) -> Records {
        let before = self
            .segments
            .iter()
            .rposition(|segment| segment.first_seq <= seq)
            .unwrap_or(0);
        let first = self.segments.get(before).map_or(0, |segment| segment.first_seq);
        Records {
            reader: self.clone(),
            at: first,
            from: seq.max(first),
            until: u64::MAX,
            only: false,
            begin: None,
            window: None,
        }
    }

    /// The records of one segment from the record `seq` on, whose first frame begins at `offset` (`Record::offset` of an
    /// earlier walk): nothing before it is read.
    #[must_use]
    pub fn records_in_from(&self, segment: SegmentInfo, seq: u64, offset: u64) -> Records {
        Records {
            from: seq,
            begin: Some(offset),
            ..self.records_in(segment)
        }
    }

    /// The records of one segment.
    #[must_use]
    pub fn records_in(&self, segment: SegmentInfo) -> Records {
        let first = segment.first_seq;
        Records {
            reader: self.clone(),
            at: first,
            from: first,
            until: u64::MAX,
            only: true,
            begin: None,
            window: None,
        }
    }

    /// The record with this sequence number, if there is one. Walks its segment up to it.
    ///
    /// # Errors
    /// As the walk.
    pub fn record(&self, seq: u64) -> Result<Option<Record>, ReadError> {
        Ok(self
            .records_from(seq)
            .until(seq.saturating_add(1))
            .next()
            .transpose()?
            .filter(|record| record.seq == seq))
    }

    /// The record whose first frame begins at this place (`Record::segment`, `Record::offset`): one read, no walk.
    ///
    /// # Errors
    /// [`ReadError::Damaged`] when no whole record begins there.
    pub fn record_at(&self, segment: u64, offset: u64) -> Result<Record, ReadError> {
        let mut window = Window::open(self, segment)?;
        window.seek(offset);
        match window.next_record(None)? {
            Some(record) => Ok(record),
            None => Err(self.damaged(&segment_name(segment), offset, DamageKind::Missing { seq: segment })),
        }
    }

    /// The tree as the segment's header says it was before its first record.
    ///
    /// # Errors
    /// [`ReadError`] when the header cannot be read.
    pub fn frontier(&self, segment: SegmentInfo) -> Result<Frontier, ReadError> {
        Ok(self.header(&segment_name(segment.first_seq))?.frontier)
    }

    /// The level-0 hashes of a segment's records: from its side file when that is whole, else hashed again.
    ///
    /// # Errors
    /// As the walk.
    pub fn leaf_hashes(&self, segment: SegmentInfo) -> Result<Vec<Hash>, ReadError> {
        let first = segment.first_seq;
        if let Some(next) = segment.next_seq
            && let Some(hashes) = self.side_hashes(first, next, first..next)
        {
            return Ok(hashes);
        }
        self.records_in(segment)
            .map(|record| record.map(|record| leaf_hash(&record.leaf)))
            .collect()
    }

    /// What the side file of the segment `first .. end` says of these records of it; `None` when it is not whole. Only where
    /// the segment has a successor or a footer does a whole length mean that the bytes behind it are synced.
    pub(crate) fn side_hashes(&self, first: u64, end: u64, records: std::ops::Range<u64>) -> Option<Vec<Hash>> {
        let file = self.disk.open_read(&hashes_name(first)).ok()?;
        if file.len().ok()? != end.checked_sub(first)?.checked_mul(32)? {
            return None;
        }
        let at = records.start.checked_sub(first)?.checked_mul(32)?;
        let wanted = usize::try_from(records.end.checked_sub(records.start)?).ok()?;
        let bytes = read_range(&*file, at, wanted.checked_mul(32)?).ok()?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        (rest.is_empty() && hashes.len() == wanted).then(|| hashes.to_vec())
    }

    /// The record behind the last one of a segment that has a footer at its end.
    pub(crate) fn sealed_end(&self, segment: SegmentInfo) -> Option<u64> {
        let footer = footer_at_end(&*self.disk, &segment_name(segment.first_seq)).ok()??;
        // Its numbers are a stranger's: no segment ends before it begins.
        let is_its = footer.first_seq == segment.first_seq && footer.next_seq >= footer.first_seq;
        is_its.then_some(footer.next_seq)
    }

    fn io(&self, name: &str, source: std::io::Error) -> ReadError {
        ReadError::Io {
            file: self.disk.display(name),
            source,
        }
    }

    fn damaged(&self, name: &str, offset: u64, kind: DamageKind) -> ReadError {
        ReadError::Damaged {
            file: self.disk.display(name),
            offset,
            why: Damage(kind),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Result<Header, ReadError> {
        read_header(&*self.disk, name).map_err(|error| match error {
            OpenError::Io { file, source, .. } => ReadError::Io { file, source },
            OpenError::Damaged { file, offset, why } => ReadError::Damaged { file, offset, why },
            OpenError::InUse { dir } => self.damaged(&dir, 0, DamageKind::Header),
            OpenError::Options(_) | OpenError::Beside(_) => self.damaged(name, 0, DamageKind::Header),
        })
    }

    fn open_file(&self, name: &str) -> Result<Box<dyn DiskFile>, ReadError> {
        self.disk.open_read(name).map_err(|error| self.io(name, error))
    }
}

/// A walk over records. `None` means "no more for now": asked again later, it goes on with what has come since.
#[derive(Debug)]
pub struct Records {
    reader: Reader,
    /// First record of the segment that is being walked.
    at: u64,
    from: u64,
    until: u64,
    /// Whether to stay in this segment.
    only: bool,
    /// Where in the first segment the record `from` begins, when that is known.
    begin: Option<u64>,
    window: Option<Window>,
}

impl Records {
    /// Ends the walk before this sequence number, such as the writer's durable size. Can be moved on later.
    #[must_use]
    pub fn until(mut self, end: u64) -> Self {
        self.until = end;
        self
    }

    /// As [`Records::until`], on a walk that has begun.
    pub fn set_until(&mut self, end: u64) {
        self.until = end;
    }

    /// The next sequence number that the walk will return.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.from
    }

    fn step(&mut self) -> Result<Option<Record>, ReadError> {
        loop {
            if self.from >= self.until {
                return Ok(None);
            }
            let Some(window) = self.window()? else { return Ok(None) };
            match window.next_record(None)? {
                Some(record) if record.seq < self.from => {}
                Some(record) => {
                    self.from = record.seq.saturating_add(1);
                    return Ok(Some(record));
                }
                None => {
                    if !self.advance()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn window(&mut self) -> Result<Option<&mut Window>, ReadError> {
        if self.window.is_none() {
            if self.reader.segments.iter().all(|segment| segment.first_seq != self.at) {
                self.reader.refresh()?;
                match self.reader.segments.first() {
                    Some(first) if self.at == 0 => self.at = first.first_seq,
                    _ => return Ok(None),
                }
            }
            let mut window = Window::open(&self.reader, self.at)?;
            if let Some(offset) = self.begin.take() {
                window.skip_to(offset, self.from);
            }
            // What an abandoned segment holds behind its end was never durable there.
            if let Some(next) = self.reader.next_of(self.at)
                && let Some(header) = self.reader.header_if_begun(&segment_name(next))?
            {
                window.set_end(header.abandoned_at);
            }
            self.window = Some(window);
        }
        Ok(self.window.as_mut())
    }

    /// Turns to the next segment, if this one is at its end and there is one.
    fn advance(&mut self) -> Result<bool, ReadError> {
        if self.only {
            return Ok(false);
        }
        let Some(window) = &mut self.window else {
            return Ok(false);
        };
        let next = match self.reader.next_of(self.at) {
            Some(next) => next,
            None => {
                self.reader.refresh()?;
                match self.reader.next_of(self.at) {
                    Some(next) => next,
                    None => return Ok(false),
                }
            }
        };
        let name = segment_name(next);
        let Some(header) = self.reader.header_if_begun(&name)? else {
            return Ok(false);
        };
        // The old segment may have grown between our last look at it and the birth of the next: read it to its end first.
        window.set_end(header.abandoned_at);
        if let Some(record) = window.peek()? {
            return Ok(record < next);
        }
        let reached = window.expected();
        if reached != next || header.first_seq() != next {
            let kind = DamageKind::Missing { seq: reached };
            return Err(self.reader.damaged(&segment_name(self.at), window.offset(), kind));
        }
        self.at = next;
        self.window = None;
        Ok(true)
    }
}

impl Reader {
    /// A segment whose header is not there yet has not begun. What a disk does not let read is no such segment: a walk that took it for
    /// one would end there as if nothing stood behind it, or offer what the segment before has abandoned.
    fn header_if_begun(&self, name: &str) -> Result<Option<Header>, ReadError> {
        match self.header(name) {
            Ok(header) => Ok(Some(header)),
            Err(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error @ ReadError::Io { .. }) => Err(error),
            Err(ReadError::Damaged { .. }) => Ok(None),
        }
    }

    fn next_of(&self, first: u64) -> Option<u64> {
        self.segments
            .iter()
            .find(|segment| segment.first_seq == first)
            .and_then(|segment| segment.next_seq)
    }
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut step = self.step();
        if step.is_err() {
            // Nothing behind damage is offered as if it stood in order.
            self.until = 0;
        }
        if let (Ok(Some(record)), Some(names)) = (&mut step, &self.reader.names) {
            record.leaf = names.open(std::mem::take(&mut record.leaf), &record.parts);
        }
        step.transpose()
    }
}

/// Reads foreign bytes as a frame, a header, a footer and a whole segment. Never panics, whatever they are.
pub fn fuzz_frame_reader(data: &[u8]) {
    let mut rest = data;
    while let Ok(frame) = read_frame(rest) {
        let _ = frame.check_leaf();
        if let FrameKind::Leaf(_) = frame.kind {
            let _ = crate::leaf::facts(frame.body);
            crate::verify::fuzz_erasure(frame.body);
        }
        rest = rest.get(frame.encoded_len()..).unwrap_or_default();
    }
    crate::verify::fuzz_erasure(data);
    crate::verify::fuzz_walk(data);
    let _ = Header::decode(data);
    let _ = Footer::decode(data);
    let _ = scan(data);
    // Past the header's checksum, which a fuzzer does not guess: the same bytes behind a valid header.
    let mut whole = Header::default().encode();
    whole.extend_from_slice(data);
    let _ = scan(&whole);
}

/// Whether a footer stands here.
fn is_footer(data: &[u8]) -> bool {
    data.starts_with(FOOTER_MAGIC) && Footer::decode(data).is_some()
}

fn broken(why: BrokenWhy) -> DamageKind {
    DamageKind::Frames(why)
}

#[cfg(test)]
mod tests;
