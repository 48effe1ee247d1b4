//! The outside of a file: headers, checksums and the chain, without the key.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use uuid::Uuid;

use super::{Anchor, Damage, ReadError, Tail};
use crate::chunk::MAX_PLAIN_BYTES;
use crate::seal::format::{
    CHUNK_HEADER, ChunkHeader, FILE_HEADER, Hash, TAG, check, chunk_hash, header_hash, session_of,
};

/// What does not compress grows by less.
const SLACK: usize = 64 << 10;

/// Bytes that are read by their place: a file, or a slice in tests.
pub(super) trait Source {
    fn length(&self) -> io::Result<u64>;
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

impl Source for &[u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(u64::try_from(self.len()).unwrap_or(u64::MAX))
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(at).ok().and_then(|at| self.get(at..));
        let bytes = bytes.and_then(|bytes| bytes.get(..into.len()));
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Where a chunk stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Of its sealed bytes.
    pub(super) at: u64,
    pub(super) header: ChunkHeader,
}

/// What was found, up to now.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) session: Uuid,
    pub(super) places: Vec<Place>,
    pub(super) frames: u64,
    /// Where the next chunk belongs.
    pub(super) end: u64,
    /// Hash of the newest chunk.
    pub(super) hash: Hash,
    pub(super) tail: Tail,
    anchors: BTreeMap<u64, Hash>,
}

impl Scan {
    /// Reads a file's header.
    pub(super) fn begin(source: &impl Source, anchors: &[Anchor]) -> Result<Self, ReadError> {
        let mut header = [0; FILE_HEADER];
        if source.length().map_err(ReadError::Io)? < to_u64(FILE_HEADER) {
            return Err(ReadError::NotARecording);
        }
        source.read_at(0, &mut header).map_err(ReadError::Io)?;
        let session = session_of(&header).ok_or(ReadError::NotARecording)?;
        Ok(Self {
            session,
            places: Vec::new(),
            frames: 0,
            end: to_u64(FILE_HEADER),
            hash: header_hash(session),
            tail: Tail::Open,
            anchors: anchors.iter().map(|anchor| (anchor.number, anchor.hash)).collect(),
        })
    }

    /// Reads on from the last whole chunk; what was torn may be whole now.
    pub(super) fn go_on(&mut self, source: &impl Source) -> Result<(), ReadError> {
        self.go_on_while(source, &mut || true)
    }

    /// As [`Scan::go_on`], for as long as `may` says so, which is asked before each chunk.
    pub(super) fn go_on_while(&mut self, source: &impl Source, may: &mut dyn FnMut() -> bool) -> Result<(), ReadError> {
        if matches!(self.tail, Tail::Closed | Tail::Damaged(_)) {
            return Ok(());
        }
        let length = source.length().map_err(ReadError::Io)?;
        let mut bytes = Vec::new();
        self.tail = loop {
            if !may() {
                return Err(ReadError::GivenUp);
            }
            if let Some(tail) = self.chunk(source, length, &mut bytes).map_err(ReadError::Io)? {
                break tail;
            }
        };
        if let Some(anchored) = self.missing_anchor().filter(|_| !matches!(self.tail, Tail::Damaged(_))) {
            self.tail = Tail::Damaged(Damage::Cut {
                chunks: self.number(),
                anchored,
            });
        }
        Ok(())
    }

    /// Number of the chunk that comes next.
    fn number(&self) -> u64 {
        to_u64(self.places.len())
    }

    fn missing_anchor(&self) -> Option<u64> {
        let last = self.anchors.keys().next_back()?;
        (*last >= self.number()).then_some(*last)
    }

    /// Reads one chunk; how the file ends where no good one follows.
    fn chunk(&mut self, source: &impl Source, length: u64, sealed: &mut Vec<u8>) -> io::Result<Option<Tail>> {
        let left = length.saturating_sub(self.end);
        if left == 0 {
            return Ok(Some(Tail::Open));
        }
        let torn = Tail::Torn {
            at: self.end,
            bytes: left,
        };
        let Some(raw) = header_at(source, self.end, length)? else {
            return Ok(Some(torn));
        };
        let Some(header) = ChunkHeader::parse(&raw).filter(is_sane) else {
            return Ok(Some(self.unreadable(source, left)?));
        };
        let at = self.end.saturating_add(to_u64(CHUNK_HEADER));
        let end = at.saturating_add(header.sealed.into());
        if end > length {
            return Ok(Some(torn));
        }
        sealed.resize(usize::try_from(header.sealed).unwrap_or(0), 0);
        source.read_at(at, sealed)?;
        let covered = header.covered();
        if check(&covered, sealed) != header.check {
            let number = self.number();
            return Ok(Some(if end == length {
                torn
            } else {
                Tail::Damaged(Damage::Corrupt { number })
            }));
        }
        let hash = chunk_hash(&covered, sealed);
        if let Some(damage) = self.misplaced(source, length, &header, &hash)? {
            return Ok(Some(Tail::Damaged(damage)));
        }
        self.places.push(Place { at, header });
        self.frames = self.frames.saturating_add(header.frames.into());
        self.hash = hash;
        self.end = end;
        Ok(match (header.is_last, end == length) {
            (true, true) => Some(Tail::Closed),
            (true, false) => Some(Tail::Damaged(Damage::Surplus { at: end })),
            (false, _) => None,
        })
    }

    /// A chunk that is whole and does not belong here.
    fn misplaced(
        &self,
        source: &impl Source,
        length: u64,
        header: &ChunkHeader,
        hash: &Hash,
    ) -> io::Result<Option<Damage>> {
        let (expected, found) = (self.number(), header.number);
        if found != expected {
            let comes_later = found < expected || comes_later(source, self.end, length, expected)?;
            return Ok(Some(if comes_later {
                Damage::Swapped { expected, found }
            } else {
                Damage::Missing { expected, found }
            }));
        }
        if header.before != self.hash || header.first_frame != self.frames {
            return Ok(Some(Damage::Unchained { number: found }));
        }
        let is_other = self.anchors.get(&found).is_some_and(|anchored| anchored != hash);
        Ok(is_other.then_some(Damage::NotAnchored { number: found }))
    }

    /// No header stands here. Zeros up to the end are what a crash leaves where the file grew and its bytes did not arrive.
    fn unreadable(&self, source: &impl Source, left: u64) -> io::Result<Tail> {
        let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(MAX_PLAIN_BYTES + SLACK)];
        source.read_at(self.end, &mut bytes)?;
        let is_all = to_u64(bytes.len()) == left;
        if is_all && bytes.iter().all(|byte| *byte == 0) {
            return Ok(Tail::Torn {
                at: self.end,
                bytes: left,
            });
        }
        Ok(Tail::Damaged(Damage::Malformed { at: self.end }))
    }
}

fn header_at(source: &impl Source, at: u64, length: u64) -> io::Result<Option<[u8; CHUNK_HEADER]>> {
    let mut header = [0; CHUNK_HEADER];
    if length.saturating_sub(at) < to_u64(CHUNK_HEADER) {
        return Ok(None);
    }
    source.read_at(at, &mut header)?;
    Ok(Some(header))
}

fn is_sane(header: &ChunkHeader) -> bool {
    let (sealed, plain) = (to_usize(header.sealed), to_usize(header.plain));
    (TAG..=MAX_PLAIN_BYTES.saturating_add(SLACK)).contains(&sealed) && (1..=MAX_PLAIN_BYTES).contains(&plain)
}

/// Whether the chunk of this number stands further behind.
fn comes_later(source: &impl Source, mut at: u64, length: u64, number: u64) -> io::Result<bool> {
    while let Some(raw) = header_at(source, at, length)? {
        let Some(header) = ChunkHeader::parse(&raw).filter(is_sane) else {
            return Ok(false);
        };
        if header.number == number {
            return Ok(true);
        }
        at = at
            .saturating_add(to_u64(CHUNK_HEADER))
            .saturating_add(header.sealed.into());
    }
    Ok(false)
}

pub(super) fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
