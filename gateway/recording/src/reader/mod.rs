//! Reading a recording: what is whole is read, what is not is named.
//!
//! Opening goes once over the file without the key: headers, checksums, the chain, and the hashes that the ledger holds. Frames are
//! decrypted chunk by chunk while they are asked for, so memory is bounded by one chunk and a hundred bytes for each.
//!
//! Invariant: no frame comes from a chunk that is not authentic, not in its place, or not what the ledger says.

mod frames;
mod scan;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::Path;

use uuid::Uuid;

use crate::frame::{Frame, FrameError, FrameIter};
use crate::head::{Finish, Head};
use crate::seal::{Cipher, Root, SessionKey};
pub use frames::Frames;
use scan::{Place, Scan, Source as _, to_usize};

/// What the ledger says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its number, from 0.
    pub number: u64,
    /// Its hash, which covers all chunks before.
    pub hash: [u8; 32],
}

impl Anchor {
    /// What a [`Root`] in the ledger says, by its count of chunks and its hash; none while there was no chunk.
    #[must_use]
    pub fn of_root(chunks: u64, hash: [u8; 32]) -> Option<Self> {
        let number = chunks.checked_sub(1)?;
        Some(Self { number, hash })
    }
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With its end; nothing is missing.
    Closed,
    /// After a whole chunk, without its end: the session goes on, or its gateway crashed.
    Open,
    /// Within a chunk, as a crash or a write that is under way leaves it; all before is whole.
    Torn {
        /// Where the piece begins.
        at: u64,
        /// How long it is.
        bytes: u64,
    },
    /// Somebody or something changed the file; what comes before the damage can be read.
    Damaged(Damage),
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// Chunks were taken out.
    #[error("chunk {expected} is missing; chunk {found} stands in its place")]
    Missing {
        /// The number that belongs here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
    /// Chunks stand in another order, or one stands there twice.
    #[error("chunk {found} stands where chunk {expected} belongs")]
    Swapped {
        /// The number that belongs here.
        expected: u64,
        /// The number that is here.
        found: u64,
    },
    /// It names another chunk as the one before: it, or one before it, was replaced.
    #[error("chunk {number} does not follow the chunk before it")]
    Unchained {
        /// Which.
        number: u64,
    },
    /// Its checksum is wrong, and it is not the last, so that no crash explains it.
    #[error("the bytes of chunk {number} are damaged")]
    Corrupt {
        /// Which.
        number: u64,
    },
    /// It was not sealed with this session's key for this place.
    #[error("chunk {number} is not of this session or was changed")]
    Foreign {
        /// Which.
        number: u64,
    },
    /// The ledger knows it with another hash.
    #[error("chunk {number} is not the one that the ledger knows")]
    NotAnchored {
        /// Which.
        number: u64,
    },
    /// The ledger knows chunks that are not in the file.
    #[error("the file ends after {chunks} chunks, but the ledger knows chunk {anchored}")]
    Cut {
        /// How many are there.
        chunks: u64,
        /// The last that the ledger knows.
        anchored: u64,
    },
    /// Bytes behind the end.
    #[error("bytes stand behind the recording's end at {at}")]
    Surplus {
        /// Where they begin.
        at: u64,
    },
    /// No chunk begins where one must.
    #[error("no chunk begins at {at}")]
    Malformed {
        /// Where.
        at: u64,
    },
}

/// Why a recording cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("the recording cannot be read")]
    Io(#[source] io::Error),
    /// It is no recording, or one of a later format.
    #[error("the file is no recording of a version that this release knows")]
    NotARecording,
    /// It was changed.
    #[error("the recording is damaged")]
    Damaged(#[source] Damage),
    /// Authentic bytes that are no frames: of a later release, or our mistake.
    #[error("a chunk of the recording cannot be understood")]
    Frame(#[source] FrameError),
    /// Authentic bytes that do not unpack to their length.
    #[error("a chunk of the recording cannot be unpacked")]
    Unpack,
    /// Whoever asked did not wait for its end.
    #[error("the recording was not read to its end")]
    GivenUp,
}

/// What a file is, as far as that can be said without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Whose recording it is.
    pub session: Uuid,
    /// What stands for its whole chunks.
    pub root: Root,
    /// Time of the last frame in them, in microseconds since the session began.
    pub until_micros: u64,
    /// How it ends.
    pub tail: Tail,
}

impl Survey {
    /// Verifies a file's chain without the key, also against what the ledger says.
    ///
    /// # Errors
    /// The file cannot be read or is no recording. Damage is part of the answer, in [`Survey::tail`].
    pub fn of(path: &Path, anchors: &[Anchor]) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::Io)?;
        let mut scan = Scan::begin(&file, anchors)?;
        scan.go_on(&file)?;
        Ok(survey(&scan))
    }
}

/// A recording that is open for reading. Blocks on its file.
pub struct Recording {
    file: File,
    cipher: Cipher,
    scan: Scan,
}

impl Recording {
    /// Opens a file and verifies its chain, also against what the ledger says of its chunks.
    ///
    /// A damaged file opens, because what stands before the damage is evidence; [`Recording::tail`] says so, and the frames end in that
    /// error.
    ///
    /// # Errors
    /// The file cannot be read or is no recording.
    pub fn open(path: &Path, key: &SessionKey, anchors: &[Anchor]) -> Result<Self, ReadError> {
        Self::open_while(path, key, anchors, &mut || true)
    }

    /// As [`Recording::open`], for as long as `go_on` says so, which is asked before each chunk: a long file takes long.
    ///
    /// # Errors
    /// The file cannot be read, is no recording, or was given up ([`ReadError::GivenUp`]).
    pub fn open_while(
        path: &Path,
        key: &SessionKey,
        anchors: &[Anchor],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(ReadError::Io)?;
        let mut scan = Scan::begin(&file, anchors)?;
        scan.go_on_while(&file, go_on)?;
        Ok(Self {
            file,
            cipher: key.cipher().ok_or(ReadError::Unpack)?,
            scan,
        })
    }

    /// Looks for chunks that were sealed since; how many came.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refresh(&mut self) -> Result<u64, ReadError> {
        let before = self.scan.places.len();
        self.scan.go_on(&self.file)?;
        let came = self.scan.places.len().saturating_sub(before);
        Ok(u64::try_from(came).unwrap_or(u64::MAX))
    }

    /// What can be said without the key.
    #[must_use]
    pub fn survey(&self) -> Survey {
        survey(&self.scan)
    }

    /// How it ends.
    #[must_use]
    pub fn tail(&self) -> Tail {
        self.scan.tail
    }

    /// All frames.
    #[must_use]
    pub fn frames(&self) -> Frames<'_> {
        Frames::new(self, 0)
    }

    /// The plain bytes of one chunk, for a [`FrameIter`]; none where no such chunk is whole. For who gives the frames on piece by
    /// piece and holds no borrow meanwhile.
    ///
    /// # Errors
    /// The chunk is not what was sealed.
    pub fn chunk(&self, number: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let place = usize::try_from(number).ok().and_then(|at| self.scan.places.get(at));
        place.map(|place| self.open_chunk(place)).transpose()
    }

    /// Who did what where; none while no chunk is sealed.
    ///
    /// # Errors
    /// The first chunk is not authentic or cannot be understood.
    pub fn head(&self) -> Result<Option<Head>, ReadError> {
        match self.frames().next()?.map(|stamped| stamped.frame) {
            Some(Frame::Head(json)) => serde_json::from_slice(json)
                .map(Some)
                .map_err(|_| ReadError::Frame(FrameError::Body(1))),
            Some(_) => Err(ReadError::Frame(FrameError::Body(1))),
            None => Ok(None),
        }
    }

    /// How the session ended; none unless the recording is closed.
    ///
    /// # Errors
    /// The last chunk is not authentic or cannot be understood.
    pub fn finish(&self) -> Result<Option<Finish>, ReadError> {
        if self.tail() != Tail::Closed {
            return Ok(None);
        }
        let mut frames = Frames::new(self, self.scan.places.len().saturating_sub(1));
        while let Some(stamped) = frames.next()? {
            if let Frame::End(json) = stamped.frame {
                let finish = serde_json::from_slice(json);
                return finish.map(Some).map_err(|_| ReadError::Frame(FrameError::Body(13)));
            }
        }
        Err(ReadError::Frame(FrameError::EndsEarly))
    }

    /// Decrypts and unpacks a chunk.
    fn open_chunk(&self, place: &Place) -> Result<Vec<u8>, ReadError> {
        let header = &place.header;
        let mut bytes = vec![0; to_usize(header.sealed)];
        self.file.read_at(place.at, &mut bytes).map_err(ReadError::Io)?;
        let number = header.number;
        if !self
            .cipher
            .open(self.scan.session, number, &header.covered(), &mut bytes)
        {
            return Err(ReadError::Damaged(Damage::Foreign { number }));
        }
        let plain = zstd::bulk::decompress(&bytes, to_usize(header.plain)).map_err(|_| ReadError::Unpack)?;
        if plain.len() == to_usize(header.plain) {
            Ok(plain)
        } else {
            Err(ReadError::Unpack)
        }
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("survey", &self.survey())
            .finish_non_exhaustive()
    }
}

fn survey(scan: &Scan) -> Survey {
    Survey {
        session: scan.session,
        root: Root {
            chunks: u64::try_from(scan.places.len()).unwrap_or(u64::MAX),
            frames: scan.frames,
            bytes: scan.end,
            hash: scan.hash,
        },
        until_micros: scan.places.last().map_or(0, |place| place.header.until_micros),
        tail: scan.tail,
    }
}

/// Fuzz entry: any bytes as a file's chunks and as a chunk's plain bytes. Frames that can be read keep their meaning when they are
/// written again.
pub fn fuzz_recording_reader(data: &[u8]) {
    let file = [crate::seal::format::file_header(Uuid::nil()).as_slice(), data].concat();
    if let Ok(mut scan) = Scan::begin(&file.as_slice(), &[]) {
        assert!(
            scan.go_on(&file.as_slice()).is_ok(),
            "a file that was read from memory has no IO errors"
        );
    }
    let Ok(frames) = FrameIter::new(data) else { return };
    let mut last = 0;
    for stamped in frames.map_while(Result::ok) {
        assert!(stamped.at_micros >= last, "time never goes back");
        last = stamped.at_micros;
        let mut again = vec![crate::chunk::VERSION, 0, 0];
        crate::frame::encode(&stamped.frame, 0, &mut again);
        let read = FrameIter::new(&again).ok().and_then(|mut frames| frames.next());
        assert_eq!(read.map(|read| read.map(|read| read.frame)), Some(Ok(stamped.frame)));
    }
}
