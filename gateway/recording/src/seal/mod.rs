//! Sealing: chunks become durable, unreadable without the key, and chained.
//!
//! One file for each session, appended to and never rewritten. [`Sealer::seal`] returns when the chunk is on the disk, so that
//! its hash can be anchored in the ledger afterwards. What this gives and does not give:
//! - whoever lacks the key can neither read a chunk nor make one that opens;
//! - each chunk's hash covers the one before, so the newest hash stands for all chunks up to it. Whoever has the key could write
//!   the whole file anew, and anybody can cut its end: only the hashes in the ledger show that;
//! - a running hash and no Merkle tree, since a recording is only ever read from its beginning: a tree would buy proofs
//!   for single chunks, which mean nothing by themselves.
//!
//! Invariant: a chunk's number is used once with one content. After a failed write the very same bytes are written again;
//! after a failed sync nothing is, because what the disk holds is then not known.

pub(crate) mod format;
mod key;
mod output;
mod pack;
mod room;
mod trouble;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::chunk::{Chunk, MAX_PLAIN_BYTES};
use format::{CHUNK_HEADER, COVERED, ChunkHeader, FILE_HEADER, Hash, TAG, check, chunk_hash, file_header, header_hash};
pub(crate) use key::Cipher;
pub use key::SessionKey;
use output::{LARGE, Output};
use pack::Packer;
use room::{BLOCK, Room};
pub use trouble::Trouble;

/// What stands for a recording up to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// How many chunks are sealed.
    pub chunks: u64,
    /// How many frames they hold.
    pub frames: u64,
    /// Length of the file.
    pub bytes: u64,
    /// Hash of the newest chunk, which covers all; of the file's header while there is none.
    pub hash: Hash,
}

/// A chunk that is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its number, from 0.
    pub number: u64,
    /// Its hash, which covers all chunks before.
    pub hash: Hash,
    /// Its bytes in the file, header included.
    pub length: u64,
    /// How many frames it holds.
    pub frames: u32,
}

/// Why a chunk is not on the disk.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file cannot be made. A session must not begin then.
    #[error("the recording cannot be begun at `{}`", path.display())]
    Create {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The chunk was not written, and nothing of it is left. The same chunk may be sealed again.
    #[error("a chunk of the recording could not be written")]
    Write(#[source] io::Error),
    /// The chunk was not written, because the disk has too little room left that is not for recordings. The same chunk may be
    /// sealed again.
    #[error("the disk has {free} bytes left, and recordings leave {keeps} free for the ledger")]
    Room {
        /// Bytes that may be used.
        free: u64,
        /// Bytes that recordings leave.
        keeps: u64,
    },
    /// The chunk was not written, and some of it may be left. Nothing more can be sealed into this file.
    #[error("a chunk of the recording could not be written, nor taken back")]
    Unclear(#[source] io::Error),
    /// The disk did not confirm. Nothing more can be sealed into this file.
    #[error("the disk did not confirm a chunk of the recording")]
    Sync(#[source] io::Error),
    /// An earlier failure left the file in an unknown state.
    #[error("the recording was given up after an earlier failure")]
    GivenUp,
    /// Chunks must come in their order; one is missing, or came twice, or comes after the end.
    #[error("chunk {found} of the recording came where {expected} belongs")]
    OutOfOrder {
        /// The number that belongs here.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// Compression or encryption refused, which they do not for chunks of the recorder.
    #[error("a chunk of the recording could not be sealed")]
    Unsealable,
}

/// Writes the file of one session. Blocks; belongs on a thread that may.
pub struct Sealer {
    output: Output,
    path: PathBuf,
    session: Uuid,
    cipher: Cipher,
    packer: Packer,
    /// Of the bytes of a chunk on the disk.
    room: Room,
    root: Root,
    state: State,
    /// Bytes of the disk that are left alone.
    keeps_free: u64,
    /// A chunk that was sealed and could not be written.
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The last chunk is in.
    Ended,
    GivenUp,
}

/// Its bytes stand in the sealer's room.
#[derive(Clone, Copy, Debug)]
struct Pending {
    number: u64,
    hash: Hash,
    length: usize,
}

impl Sealer {
    /// Makes `<session>.rec` in `folder`, readable by its owner only. When this returns, the file is durable and can be found after a
    /// crash; a session must not begin before.
    ///
    /// # Errors
    /// [`SealError::Create`]: the folder is missing, full or not ours, or the session has a recording already.
    pub fn create(folder: &Path, session: Uuid, key: &SessionKey) -> Result<Self, SealError> {
        let path = folder.join(format!("{session}.rec"));
        let file = create_durably(folder, &path, session).map_err(|source| SealError::Create {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            output: Output::new(file),
            path,
            session,
            cipher: key.cipher().ok_or(SealError::Unsealable)?,
            packer: Packer::new().map_err(|_| SealError::Unsealable)?,
            room: Room::default(),
            root: Root {
                chunks: 0,
                frames: 0,
                bytes: to_u64(FILE_HEADER),
                hash: header_hash(session),
            },
            state: State::Open,
            keeps_free: 0,
            pending: None,
        })
    }

    /// Seals nothing that would leave less than `bytes` of the disk: a recording may fill no ledger.
    #[must_use]
    pub const fn keeping_free(mut self, bytes: u64) -> Self {
        self.keeps_free = bytes;
        self
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands for all that is sealed.
    #[must_use]
    pub fn root(&self) -> Root {
        self.root
    }

    /// Compresses, encrypts, appends and syncs. When this returns a value, the chunk is durable.
    ///
    /// # Errors
    /// After [`SealError::Write`] the same chunk may come again, for instance when the disk has room; after every other error
    /// of the disk nothing more can be sealed.
    pub fn seal(&mut self, chunk: &Chunk) -> Result<Sealed, SealError> {
        match self.state {
            State::GivenUp => return Err(SealError::GivenUp),
            State::Open if chunk.number == self.root.chunks => {}
            State::Open | State::Ended => {
                return Err(SealError::OutOfOrder {
                    expected: self.root.chunks,
                    found: chunk.number,
                });
            }
        }
        self.check_room(to_u64(chunk.bytes.len()))?;
        let pending = match self.pending.take() {
            Some(pending) if pending.number == chunk.number => pending,
            _ => self.encode(chunk).ok_or(SealError::Unsealable)?,
        };
        self.append(pending, chunk)
    }

    /// Closes the file; what stands for the whole recording.
    ///
    /// # Errors
    /// The disk did not confirm.
    pub fn close(self) -> Result<Root, SealError> {
        if self.state == State::GivenUp {
            return Err(SealError::GivenUp);
        }
        self.output.sync_all().map_err(SealError::Sync)?;
        Ok(self.root)
    }

    fn check_room(&self, wanted: u64) -> Result<(), SealError> {
        if self.keeps_free == 0 {
            return Ok(());
        }
        let free = self.output.free().map_err(SealError::Write)?;
        if free < self.keeps_free.saturating_add(wanted) {
            let keeps = self.keeps_free;
            return Err(SealError::Room { free, keeps });
        }
        Ok(())
    }

    fn encode(&mut self, chunk: &Chunk) -> Option<Pending> {
        if chunk.bytes.len() > MAX_PLAIN_BYTES {
            return None;
        }
        let around = CHUNK_HEADER.checked_add(TAG)?;
        let most = Packer::bound(chunk.bytes.len())
            .checked_add(2 * BLOCK)?
            .checked_add(around)?;
        let (header, body) = self.room.of(most)?.split_first_chunk_mut::<CHUNK_HEADER>()?;
        let packed = self.packer.pack(&chunk.bytes, body)?;
        let gap = if packed < LARGE {
            0
        } else {
            // Ends with a block of the disk, so that what follows can be written past the cache.
            pack::gap(self.root.bytes.checked_add(to_u64(packed.checked_add(around)?))?, BLOCK)
        };
        let filled = packed.checked_add(gap)?;
        pack::fill(body.get_mut(packed..filled)?)?;
        let sealed_length = filled.checked_add(TAG)?;
        let covered = ChunkHeader {
            sealed: u32::try_from(sealed_length).ok()?,
            plain: u32::try_from(chunk.bytes.len()).ok()?,
            number: chunk.number,
            first_frame: chunk.first_frame,
            from_micros: chunk.from_micros,
            until_micros: chunk.until_micros,
            frames: chunk.frames,
            is_last: chunk.is_last,
            before: self.root.hash,
            check: 0,
        }
        .covered();
        let sealed = body.get_mut(..sealed_length)?;
        self.cipher.seal(self.session, chunk.number, &covered, sealed)?;
        let (place, check_place) = header.split_first_chunk_mut::<COVERED>()?;
        *place = covered;
        check_place.copy_from_slice(&check(&covered, sealed).to_le_bytes());
        Some(Pending {
            number: chunk.number,
            hash: chunk_hash(&covered, sealed),
            length: CHUNK_HEADER.checked_add(sealed_length)?,
        })
    }

    fn append(&mut self, pending: Pending, chunk: &Chunk) -> Result<Sealed, SealError> {
        let bytes = self.room.lent(pending.length);
        if let Err(error) = self.output.append(bytes, self.root.bytes) {
            return Err(self.taken_back(pending, error));
        }
        if let Err(error) = self.output.sync() {
            self.state = State::GivenUp;
            return Err(SealError::Sync(error));
        }
        self.room.give_back();
        let length = to_u64(pending.length);
        self.root = Root {
            chunks: self.root.chunks.saturating_add(1),
            frames: self.root.frames.saturating_add(chunk.frames.into()),
            bytes: self.root.bytes.saturating_add(length),
            hash: pending.hash,
        };
        if chunk.is_last {
            self.state = State::Ended;
        }
        Ok(Sealed {
            number: chunk.number,
            hash: pending.hash,
            length,
            frames: chunk.frames,
        })
    }

    /// A write failed half-way, as on a full disk: what arrived of it goes again, and the same bytes wait for another try.
    fn taken_back(&mut self, pending: Pending, error: io::Error) -> SealError {
        if self.output.take_back(self.root.bytes).is_err() {
            self.state = State::GivenUp;
            return SealError::Unclear(error);
        }
        self.pending = Some(pending);
        SealError::Write(error)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer")
            .field("path", &self.path)
            .field("root", &self.root)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// A file that is there after a crash: its bytes, its inode and its name in the folder are synced. One that cannot be is not left behind.
fn create_durably(folder: &Path, path: &Path, session: Uuid) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut begin = || {
        file.write_all(&file_header(session))?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    };
    if let Err(error) = begin() {
        // The session is refused for the first reason; a rest of the file would only look like a recording.
        let _ = std::fs::remove_file(path);
        return Err(error);
    }
    Ok(file)
}

fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
