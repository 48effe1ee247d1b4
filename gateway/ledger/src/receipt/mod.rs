//! Receipts: one record with the proof that a signed ledger has it, as one text ([C2SP tlog-proof]). Whoever has the ledger's
//! public key checks it years later, without the ledger and without us.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <the record's leaf, base64>
//! index <its number>
//! <hashes from its sibling to the root's child, base64, one a line>
//!
//! <the signed checkpoint, with cosignatures>
//! ```
//!
//! The specification leaves `extra` to the application and warns that nothing vouches for it. Here it is the very bytes that
//! were hashed as the leaf, so that the proof itself vouches for them. Where the file would be longer than [`FITS`] with them, it is those bytes as zlib (RFC 1950)
//! makes them shorter: a leaf begins with `{`, and a zlib stream never does.
//!
//! Not here: who may have one (the console), which checkpoint is the newest ([`crate::Publisher`]).
//!
//! [C2SP tlog-proof]: https://c2sp.org/tlog-proof

use std::fmt;
use std::io::{Read as _, Write as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::bufread::ZlibDecoder;
use flate2::write::ZlibEncoder;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::disk::read_file;
use crate::frame::MAX_LEAF_LEN;
use crate::note::{ChainError, KeyChain, MAX_NOTE_LEN, Note, NoteError, VerifierKey, VerifyError, Vouched};
use crate::reader::Spot;
use crate::tiles::{NodesWhile, Tiles, TilesError};
use crate::tree::{Hash, Head, ProofError, ProveError, check_inclusion, inclusion_proof, leaf_hash};
use crate::verify::{NEWEST_CHECKPOINT, WITNESSED};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// A receipt that is longer has its record compressed, in bytes: so one of a usual record fits with two witnesses and the path of a large tree.
pub(crate) const FITS: usize = 2560;
/// A tree of 2^63 leaves has no longer a path.
const MAX_PATH: usize = 63;
/// The longest text that is read, in bytes.
pub const MAX_RECEIPT_LEN: usize = MAX_NOTE_LEN + MAX_LEAF_LEN * 2 + MAX_PATH * 64;

/// Why a text is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// More than [`MAX_RECEIPT_LEN`] bytes.
    #[error("it is longer than {MAX_RECEIPT_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or another first line.
    #[error("its first line is not `{HEADER}`")]
    Header,
    /// No `extra` line with base64 in it, or what that holds is no record, and none that zlib compressed. Proofs without are sound by the specification, and say nothing to
    /// a person.
    #[error("its second line is not `extra` and the record in base64")]
    Extra,
    /// The record is no record of a ledger: `{"v":1,"kind":…,"seq":<index>,…}`.
    #[error("the record in it is not record {index} of a ledger")]
    Record {
        /// The number that the receipt says.
        index: u64,
    },
    /// No `index` line with a plain decimal.
    #[error("its third line is not `index` and a number")]
    Index,
    /// A line of the proof is not a hash of 32 bytes in base64, or there are too many.
    #[error("line {line} of its proof is no hash")]
    Path {
        /// Counted from 1.
        line: usize,
    },
    /// No empty line between the proof and the checkpoint.
    #[error("no empty line stands between its proof and its checkpoint")]
    NoCheckpoint,
    /// What follows is no signed note.
    #[error("its checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("its checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointError),
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotProved {
    /// The checkpoint is not signed by a key that was given, or not by the one whose name is its origin.
    #[error("no key that you gave has signed its checkpoint")]
    Signature(#[from] VerifyError),
    /// It is signed by a key with another name than the checkpoint's origin: a signature of another log.
    #[error("its checkpoint is of the log `{origin}`, and no key that you gave is of that log")]
    Origin {
        /// What the checkpoint says.
        origin: String,
    },
    /// The record is not in the tree that was signed: record, number, proof or checkpoint was changed.
    #[error("the record is not in the tree that was signed: something in it was changed")]
    Inclusion(#[from] ProofError),
    /// The key that signed the checkpoint counts for nothing.
    #[error("the key that signed its checkpoint is not believed")]
    Chain(#[from] ChainError),
}

/// Why no receipt can be made.
#[derive(Debug, Error)]
pub enum NoReceipt {
    /// The signed tree does not reach the record yet.
    #[error("record {seq} is not signed yet: the newest checkpoint has {signed} records")]
    Unsigned {
        /// The record.
        seq: u64,
        /// Records that are signed.
        signed: u64,
    },
    /// The folder has no checkpoint, or one that cannot be read.
    #[error("the checkpoint `{file}` cannot be read")]
    Io {
        /// The file.
        file: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// The checkpoint is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The records and their proofs are longer than a pack of evidence may be.
    #[error("these records and their proofs are longer than a pack of evidence may be")]
    TooLong,
    /// Hashes or the record cannot be had.
    #[error(transparent)]
    Tiles(#[from] TilesError),
    /// The files lead to another root than the one that was signed: the ledger was changed, or its files are damaged.
    #[error("the ledger's files do not lead to what was signed; `gatescribe ledger verify` says where they differ")]
    Differs(#[source] ProofError),
}

/// The checkpoints of a ledger's folder that a proof may stand on, the better one first: the newest that is witnessed, and the newest. Nothing of them is
/// checked.
pub fn checkpoints_of(dir: &Path) -> [Result<Note, NoReceipt>; 2] {
    [WITNESSED, NEWEST_CHECKPOINT].map(|name| {
        let file = dir.join(name);
        let bytes = read_file(&file, MAX_NOTE_LEN).map_err(|source| NoReceipt::Io {
            file: file.display().to_string(),
            source,
        })?;
        Ok(Note::parse(&bytes)?)
    })
}

/// One record and the proof that a signed ledger has it. Unproved until [`Receipt::verify_along`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    leaf: Vec<u8>,
    /// The leaf as it stands in the file.
    extra: Vec<u8>,
    index: u64,
    path: Vec<Hash>,
    note: Note,
    checkpoint: Checkpoint,
}

/// What a receipt shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved<'a> {
    /// Who vouches for the checkpoint: the log itself, and witnesses among the keys that were given.
    pub vouched: Vec<Vouched<'a>>,
}

impl Receipt {
    /// Proves that record `seq` is in the tree of this checkpoint. What is handed back was checked against its root.
    ///
    /// # Errors
    /// [`NoReceipt`].
    pub fn make(tiles: &Tiles, seq: u64, note: Note) -> Result<Self, NoReceipt> {
        let checkpoint = signed_checkpoint(&note, seq)?;
        let leaf = tiles.record(seq, checkpoint.size)?;
        Self::prove(&tiles.nodes_while(&|| true), leaf, seq, note, checkpoint)
    }

    /// As [`Receipt::make`], of a record of which it is known where it stands, for as long as `go_on` says so: where the newest
    /// segment's hashes are in no file yet, it is walked, and a later question goes on where this one was ended.
    ///
    /// # Errors
    /// [`NoReceipt`]; [`TilesError::Stopped`] in it when there was no more time.
    pub fn make_at(tiles: &Tiles, spot: Spot, note: Note, go_on: &dyn Fn() -> bool) -> Result<Self, NoReceipt> {
        let checkpoint = signed_checkpoint(&note, spot.seq)?;
        let leaf = tiles.record_at(spot)?;
        Self::prove(&tiles.nodes_while(go_on), leaf, spot.seq, note, checkpoint)
    }

    fn prove(
        nodes: &NodesWhile<'_>,
        leaf: Vec<u8>,
        seq: u64,
        note: Note,
        checkpoint: Checkpoint,
    ) -> Result<Self, NoReceipt> {
        let path = inclusion_proof(nodes, seq, checkpoint.size).map_err(|error| match error {
            ProveError::Nodes(error) => error,
            // The number was compared with the size above, and this source gives one hash for each node.
            ProveError::Outside { .. } | ProveError::Shrunk { .. } | ProveError::Count { .. } => {
                TilesError::Missing { index: seq }
            }
        })?;
        let mut receipt = Self {
            extra: leaf.clone(),
            leaf,
            index: seq,
            path,
            note,
            checkpoint,
        };
        receipt.check_inclusion().map_err(NoReceipt::Differs)?;
        receipt.fit();
        Ok(receipt)
    }

    /// Has the record compressed where the file would be too long with it as it is.
    fn fit(&mut self) {
        if self.to_string().len() > FITS
            && let Some(shorter) = deflated(&self.leaf).filter(|shorter| shorter.len() < self.leaf.len())
        {
            self.extra = shorter;
        }
    }

    /// The same from a ledger's folder, or a copy of it, with the newest checkpoint that is witnessed, or with its newest one
    /// where that does not reach the record.
    ///
    /// # Errors
    /// [`NoReceipt`].
    pub fn from_dir(dir: &Path, seq: u64) -> Result<Self, NoReceipt> {
        let make = |note| Self::make(&Tiles::open(dir), seq, note);
        let [witnessed, newest] = checkpoints_of(dir);
        // Whatever is wrong with the first: the newest one is there, too, and says so itself.
        witnessed.and_then(make).or_else(|_| newest.and_then(make))
    }

    /// Reads a receipt; it proves nothing yet.
    ///
    /// # Errors
    /// [`ReceiptError`], by the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, ReceiptError> {
        if bytes.len() > MAX_RECEIPT_LEN {
            return Err(ReceiptError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| ReceiptError::Header)?;
        let mut rest = text;
        let mut line = || {
            let (line, behind) = rest.split_once('\n')?;
            rest = behind;
            Some(line)
        };
        if line() != Some(HEADER) {
            return Err(ReceiptError::Header);
        }
        let extra = line().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.and_then(|extra| STANDARD.decode(extra).ok());
        let extra = extra.ok_or(ReceiptError::Extra)?;
        let leaf = leaf_in(&extra).ok_or(ReceiptError::Extra)?;
        let index = line().and_then(|line| line.strip_prefix("index ")).and_then(decimal);
        let index = index.ok_or(ReceiptError::Index)?;
        if !crate::leaf::is_of(&leaf, index) {
            return Err(ReceiptError::Record { index });
        }
        let mut path = Vec::new();
        loop {
            let hash = match line() {
                None => return Err(ReceiptError::NoCheckpoint),
                Some("") => break,
                Some(line) => STANDARD.decode(line).ok().and_then(|hash| hash.try_into().ok()),
            };
            let number = path.len() + 1;
            path.push(
                hash.filter(|_| number <= MAX_PATH)
                    .ok_or(ReceiptError::Path { line: number })?,
            );
        }
        let note = Note::parse(rest.as_bytes())?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self {
            leaf,
            extra,
            index,
            path,
            note,
            checkpoint,
        })
    }

    /// Checks that the record is in the tree, and that one of these keys has signed for the log of that name. The other keys
    /// may be those of witnesses. Not for outside: these keys are believed without end, also where another one followed.
    ///
    /// # Errors
    /// [`NotProved`].
    pub(crate) fn verify<'a>(&self, keys: impl IntoIterator<Item = &'a VerifierKey>) -> Result<Proved<'a>, NotProved> {
        let vouched = self.note.verify(keys)?;
        if !vouched.iter().any(|by| by.key.is_of_log(&self.checkpoint.origin)) {
            let origin = self.checkpoint.origin.clone();
            return Err(NotProved::Origin { origin });
        }
        self.check_inclusion()?;
        Ok(Proved { vouched })
    }

    /// Checks that the record is in the tree, and that a key of the log has signed it to which changes of its key lead from those that are
    /// known: one from after a change with the first key. One from before it takes more than the signature of the key that was followed
    /// ([`KeyChain::admit`]).
    ///
    /// # Errors
    /// [`NotProved`].
    pub fn verify_along<'a>(&self, chain: &'a KeyChain) -> Result<Proved<'a>, NotProved> {
        let proved = self.verify(chain.keys())?;
        chain.admit(&self.checkpoint, &proved.vouched)?;
        Ok(proved)
    }

    fn check_inclusion(&self) -> Result<(), ProofError> {
        let head = Head {
            size: self.checkpoint.size,
            root: self.checkpoint.root,
        };
        check_inclusion(&leaf_hash(&self.leaf), self.index, &head, &self.path)
    }

    /// The record: the bytes that were hashed, a JSON object.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        &self.leaf
    }

    /// Its number.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// The signed checkpoint in it.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// What the log says of itself.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{HEADER}")?;
        writeln!(formatter, "extra {}", STANDARD.encode(&self.extra))?;
        writeln!(formatter, "index {}", self.index)?;
        for hash in &self.path {
            writeln!(formatter, "{}", STANDARD.encode(hash))?;
        }
        write!(formatter, "\n{}", self.note)
    }
}

/// The leaf as zlib makes it shorter.
fn deflated(leaf: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(leaf).ok()?;
    encoder.finish().ok()
}

/// The leaf that stands in the file: as it is, or whole in one zlib stream. A short stream can stand for very much, so no more is read than a leaf can have.
fn leaf_in(extra: &[u8]) -> Option<Vec<u8>> {
    if extra.first() == Some(&b'{') {
        return Some(extra.to_vec());
    }
    let (mut leaf, limit) = (Vec::new(), u64::try_from(MAX_LEAF_LEN).unwrap_or(u64::MAX));
    let mut decoder = ZlibDecoder::new(extra).take(limit + 1);
    decoder.read_to_end(&mut leaf).ok()?;
    let is_whole = decoder.limit() > 0 && decoder.into_inner().into_inner().is_empty();
    (is_whole && leaf.first() == Some(&b'{')).then_some(leaf)
}

/// What the note says, if it covers this record.
fn signed_checkpoint(note: &Note, seq: u64) -> Result<Checkpoint, NoReceipt> {
    let checkpoint = Checkpoint::parse(note.text())?;
    let signed = checkpoint.size;
    if seq >= signed {
        return Err(NoReceipt::Unsigned { seq, signed });
    }
    Ok(checkpoint)
}

/// Reads foreign bytes as a receipt. Never panics; what is read is written the same.
pub fn fuzz_receipt(data: &[u8]) {
    if let Ok(receipt) = Receipt::parse(data) {
        assert_eq!(
            receipt.to_string().as_bytes(),
            data,
            "a receipt is written as it was read"
        );
        let _ = receipt.verify([]);
    }
}

#[cfg(test)]
mod tests;
