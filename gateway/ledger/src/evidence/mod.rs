//! Evidence: the records that a question found, each with the proof that one signed ledger has it, and what was asked and counted.
//! As one text, whose lines are of plain characters, so that it stands in a page as it is.
//!
//! ```text
//! gatescribe.dev/evidence@v1
//! statement <what was asked and counted: JSON, base64>
//! told <the number of the ledger's own record of this statement, or ->
//! checkpoint <the signed checkpoint, with cosignatures, base64>
//! change <a change of the ledger's key, as both keys signed it, base64>
//! …
//! record <its number> <its leaf, base64> <hashes from its sibling to the root's child, base64>…
//! …
//! end <how many records>
//! ```
//!
//! What vouches for what: the checkpoint's signature for the root, the root for each record, and one of the records, which the
//! gateway wrote when it made the pack, for the statement ([`told`]). So the public key alone is enough for all of it; where the key was
//! changed, any of the ledger's keys is, along the changes.
//!
//! Not here: how records are found (crate `search`), who may have them (the console), the page around it (the command line).

mod check;
mod statement;

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError, decimal};
use crate::frame::MAX_LEAF_LEN;
use crate::note::{KeyTurn, MAX_NOTE_LEN, Note, NoteError};
use crate::reader::Spot;
use crate::receipt::NoReceipt;
use crate::tiles::{Tiles, TilesError};
use crate::tree::{Hash, Head, ProveError, check_inclusion, inclusion_proof, leaf_hash};

pub use check::{Checked, Fault, KeptRecording};
pub use statement::{
    Counts, MAX_POPULATION, MAX_SEED, MAX_STATEMENT_LEN, NotAStatement, Sample, Span, Statement, draw, is_seed, told,
};

/// The first line.
const HEADER: &str = "gatescribe.dev/evidence@v1";
/// A tree of 2^63 leaves has no longer a path.
const MAX_PATH: usize = 63;
/// The longest text that is read or made, in bytes.
pub const MAX_EVIDENCE_LEN: usize = 24 << 20;
/// Acts in one pack: a person looks at them in a page.
pub const MOST_ACTS: u32 = 2_000;
/// Records of these acts.
pub const MOST_RECORDS: usize = 10_000;
/// So many changes of the ledger's key, the newest ones.
pub const MAX_CHANGES: usize = 64;
/// The longest note of a change, in bytes: one has two keys and two signatures.
const MAX_CHANGE_LEN: usize = 4 << 10;

/// Why a text is no evidence.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EvidenceError {
    /// More than [`MAX_EVIDENCE_LEN`] bytes.
    #[error("it is longer than {MAX_EVIDENCE_LEN} bytes")]
    TooLong,
    /// Not UTF-8, or another first line: it is something else.
    #[error("its first line is not `{HEADER}`")]
    Header,
    /// A line is not what stands in that place. Counted from 1.
    #[error("line {line} is not `{wanted}`")]
    Line {
        /// Which.
        line: usize,
        /// What stands there.
        wanted: &'static str,
    },
    /// A record does not stand behind one with a smaller number: it stands twice, or two were swapped.
    #[error(
        "line {line}: record {seq} does not stand behind one with a smaller number: it stands twice, or two were swapped"
    )]
    Order {
        /// Which.
        line: usize,
        /// The record.
        seq: u64,
    },
    /// A change of the key stands twice, or behind a later one.
    #[error("line {line} is a change of the key that stands twice, or behind a later one")]
    Turns {
        /// Which.
        line: usize,
    },
    /// The last line says another number of records: some were taken out or put in.
    #[error("{have} records stand in it and its last line says {said}: some were taken out or put in")]
    Number {
        /// How many there are.
        have: usize,
        /// How many it says.
        said: u64,
    },
    /// What stands as the checkpoint is no signed note.
    #[error("its checkpoint is no signed note")]
    Note(#[from] NoteError),
    /// The note is no checkpoint.
    #[error("its checkpoint cannot be read")]
    Checkpoint(#[from] CheckpointError),
}

/// Records with their proofs. Unproved until [`Evidence::check`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    statement: Vec<u8>,
    told: Option<u64>,
    note: Note,
    checkpoint: Checkpoint,
    changes: Vec<Note>,
    records: Vec<Proven>,
}

/// One record and its way to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proven {
    seq: u64,
    leaf: Vec<u8>,
    path: Vec<Hash>,
}

/// What stands around the records besides statement and checkpoint, at most: names and numbers, changes, and the record that vouches for the
/// statement.
const AROUND: usize = 1024 + MAX_CHANGES * (base64_len(MAX_CHANGE_LEN) + 8) + base64_len(MAX_LEAF_LEN) + MAX_PATH * 45;

impl Proven {
    /// How long its line is, with its end.
    fn line_len(&self) -> usize {
        "record \n".len() + MAX_DIGITS + 1 + base64_len(self.leaf.len()) + self.path.len() * (1 + HASH_LEN)
    }
}

/// Digits of a record's number, at most.
const MAX_DIGITS: usize = 19;
/// A hash in base64.
const HASH_LEN: usize = 44;

const fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

impl Evidence {
    /// Proves that these records, which are in order and each once, are in the tree of this checkpoint, for as long as `go_on` says so. What is handed back
    /// was checked against its root. `told` is the record of the ledger that vouches for the statement.
    ///
    /// # Errors
    /// [`NoReceipt`]; [`NoReceipt::TooLong`] as soon as the records would not fit; [`TilesError::Stopped`] in it when there was no more time.
    pub fn make(
        tiles: &Tiles,
        statement: Vec<u8>,
        spots: &[Spot],
        told: Option<u64>,
        note: Note,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Self, NoReceipt> {
        let checkpoint = Checkpoint::parse(note.text())?;
        let head = head(&checkpoint);
        let mut records = Vec::with_capacity(spots.len() + 1);
        // Lines around the records, and room for the record that vouches.
        let mut room =
            MAX_EVIDENCE_LEN.saturating_sub(base64_len(statement.len()) + base64_len(note.to_string().len()) + AROUND);
        for spot in spots {
            signed(spot.seq, head)?;
            let leaf = tiles.record_at(*spot)?;
            let record = prove(tiles, spot.seq, leaf, head, go_on)?;
            room = room.checked_sub(record.line_len()).ok_or(NoReceipt::TooLong)?;
            records.push(record);
        }
        if let Some(seq) = told.filter(|told| spots.iter().all(|spot| spot.seq != *told)) {
            signed(seq, head)?;
            let leaf = tiles.record(seq, head.size)?;
            records.push(prove(tiles, seq, leaf, head, go_on)?);
            records.sort_by_key(|record| record.seq);
        }
        Ok(Self {
            statement,
            told,
            note,
            checkpoint,
            changes: Vec::new(),
            records,
        })
    }

    /// The same with the changes of this ledger's key, the oldest first: of other notes, and of more than [`MAX_CHANGES`] the oldest, nothing is
    /// taken.
    #[must_use]
    pub fn with_changes(mut self, changes: Vec<Note>) -> Self {
        let mut turns: Vec<_> = changes
            .iter()
            .filter_map(|note| turn_of(note, &self.checkpoint.origin))
            .collect();
        turns.sort_by_key(|turn| turn.size);
        let mut texts = BTreeSet::new();
        turns.retain(|turn| texts.insert(turn.note().text().to_owned()));
        self.changes = turns.into_iter().map(|turn| turn.note().clone()).collect();
        let older = self.changes.len().saturating_sub(MAX_CHANGES);
        self.changes.drain(..older);
        self
    }

    /// Reads evidence; it proves nothing yet.
    ///
    /// # Errors
    /// [`EvidenceError`], by the first thing that is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, EvidenceError> {
        if bytes.len() > MAX_EVIDENCE_LEN {
            return Err(EvidenceError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| EvidenceError::Header)?;
        let mut lines = Lines { rest: text, at: 0 };
        if lines.next() != Some(HEADER) {
            return Err(EvidenceError::Header);
        }
        let statement = lines.member("statement <base64>", |value| decoded(value, MAX_STATEMENT_LEN))?;
        let told = lines.member("told <number, or ->", |value| match value {
            "-" => Some(None),
            number => decimal(number).map(Some),
        })?;
        let note = lines.member("checkpoint <base64>", |value| decoded(value, MAX_NOTE_LEN))?;
        let note = Note::parse(&note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        let changes = lines.changes(&checkpoint.origin)?;
        let records = lines.records()?;
        Ok(Self {
            statement,
            told,
            note,
            checkpoint,
            changes,
            records,
        })
    }

    /// What was asked and counted, as it stands there.
    #[must_use]
    pub fn statement(&self) -> &[u8] {
        &self.statement
    }

    /// What the log says of itself.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The signed checkpoint in it.
    #[must_use]
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The changes of the ledger's key in it, each signed by both keys.
    #[must_use]
    pub fn changes(&self) -> &[Note] {
        &self.changes
    }

    /// The number of the ledger's own record that vouches for the statement; `None` where it was made from files alone.
    #[must_use]
    pub const fn told(&self) -> Option<u64> {
        self.told
    }

    /// The records: number and leaf, in the order of their numbers.
    pub fn records(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.records.iter().map(|record| (record.seq, record.leaf.as_slice()))
    }
}

impl fmt::Display for Evidence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{HEADER}")?;
        writeln!(formatter, "statement {}", STANDARD.encode(&self.statement))?;
        match self.told {
            Some(seq) => writeln!(formatter, "told {seq}")?,
            None => writeln!(formatter, "told -")?,
        }
        writeln!(formatter, "checkpoint {}", STANDARD.encode(self.note.to_string()))?;
        for change in &self.changes {
            writeln!(formatter, "change {}", STANDARD.encode(change.to_string()))?;
        }
        for record in &self.records {
            write!(formatter, "record {} {}", record.seq, STANDARD.encode(&record.leaf))?;
            for hash in &record.path {
                write!(formatter, " {}", STANDARD.encode(hash))?;
            }
            writeln!(formatter)?;
        }
        writeln!(formatter, "end {}", self.records.len())
    }
}

/// The change of the key of this log that both keys signed, if it is one.
fn turn_of(note: &Note, origin: &str) -> Option<KeyTurn> {
    let turn = KeyTurn::read(note).filter(|turn| turn.old.is_of_log(origin))?;
    (note.to_string().len() <= MAX_CHANGE_LEN).then_some(turn)
}

const fn head(checkpoint: &Checkpoint) -> Head {
    Head {
        size: checkpoint.size,
        root: checkpoint.root,
    }
}

fn signed(seq: u64, head: Head) -> Result<(), NoReceipt> {
    let signed = head.size;
    if seq < signed {
        Ok(())
    } else {
        Err(NoReceipt::Unsigned { seq, signed })
    }
}

fn prove(tiles: &Tiles, seq: u64, leaf: Vec<u8>, head: Head, go_on: &dyn Fn() -> bool) -> Result<Proven, NoReceipt> {
    if !go_on() {
        return Err(TilesError::Stopped.into());
    }
    let path = inclusion_proof(&tiles.nodes_while(go_on), seq, head.size).map_err(|error| match error {
        ProveError::Nodes(error) => error,
        // The number was compared with the size, and this source gives one hash for each node.
        ProveError::Outside { .. } | ProveError::Shrunk { .. } | ProveError::Count { .. } => {
            TilesError::Missing { index: seq }
        }
    })?;
    check_inclusion(&leaf_hash(&leaf), seq, &head, &path).map_err(NoReceipt::Differs)?;
    Ok(Proven { seq, leaf, path })
}

/// The lines of a text, each with its end.
struct Lines<'t> {
    rest: &'t str,
    at: usize,
}

impl<'t> Lines<'t> {
    fn next(&mut self) -> Option<&'t str> {
        let (line, behind) = self.rest.split_once('\n')?;
        self.rest = behind;
        self.at += 1;
        Some(line)
    }

    /// The value of the next line, which begins with the first word of `wanted`.
    fn member<T>(&mut self, wanted: &'static str, read: impl FnOnce(&'t str) -> Option<T>) -> Result<T, EvidenceError> {
        let (name, _) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let line = self.at + 1;
        let value = self.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(read).ok_or(EvidenceError::Line { line, wanted })
    }

    fn changes(&mut self, origin: &str) -> Result<Vec<Note>, EvidenceError> {
        let wanted = "change <a change of the ledger's key that both keys signed, base64>";
        let (mut changes, mut newest): (Vec<Note>, _) = (Vec::new(), 0);
        while self.rest.starts_with("change ") {
            let line = self.at + 1;
            let note = self.member(wanted, |value| Note::parse(&decoded(value, MAX_CHANGE_LEN)?).ok())?;
            let turn = turn_of(&note, origin).filter(|_| changes.len() < MAX_CHANGES);
            let turn = turn.ok_or(EvidenceError::Line { line, wanted })?;
            // There is one way to write them: the oldest first, each once.
            if turn.size < newest || changes.iter().any(|older| older.text() == note.text()) {
                return Err(EvidenceError::Turns { line });
            }
            newest = turn.size;
            changes.push(note);
        }
        Ok(changes)
    }

    fn records(&mut self) -> Result<Vec<Proven>, EvidenceError> {
        let wanted = "record <number> <base64> <hashes>, or end <number>";
        let mut records: Vec<Proven> = Vec::new();
        loop {
            let line = self.at + 1;
            let not_it = EvidenceError::Line { line, wanted };
            let text = self.next().ok_or_else(|| not_it.clone())?;
            if let Some(said) = text.strip_prefix("end ").and_then(decimal) {
                let have = records.len();
                return if u64::try_from(have) != Ok(said) {
                    Err(EvidenceError::Number { have, said })
                } else if self.rest.is_empty() {
                    Ok(records)
                } else {
                    let wanted = "nothing: `end` is the last line";
                    Err(EvidenceError::Line { line: line + 1, wanted })
                };
            }
            let record = text.strip_prefix("record ").and_then(record).ok_or(not_it)?;
            let seq = record.seq;
            if records.last().is_some_and(|last| last.seq >= seq) {
                return Err(EvidenceError::Order { line, seq });
            }
            records.push(record);
        }
    }
}

fn record(text: &str) -> Option<Proven> {
    let mut words = text.split(' ');
    let seq = decimal(words.next()?)?;
    let leaf = decoded(words.next()?, MAX_LEAF_LEN)?;
    let mut path = Vec::new();
    for word in words {
        if path.len() >= MAX_PATH {
            return None;
        }
        path.push(STANDARD.decode(word).ok()?.try_into().ok()?);
    }
    Some(Proven { seq, leaf, path })
}

/// So many bytes at most.
fn decoded(text: &str, most: usize) -> Option<Vec<u8>> {
    let longest = most.div_ceil(3).checked_mul(4)?;
    (text.len() <= longest).then_some(())?;
    STANDARD.decode(text).ok().filter(|bytes| bytes.len() <= most)
}

/// Reads foreign bytes as evidence. Never panics; what is read is written the same, and is checked without a key.
pub fn fuzz_evidence(data: &[u8]) {
    let _ = Statement::parse(data);
    if let Ok(evidence) = Evidence::parse(data) {
        assert_eq!(
            evidence.to_string().as_bytes(),
            data,
            "evidence is written as it was read"
        );
        let chain = evidence.chain(&[], &[]);
        let checked = evidence.check(&chain);
        assert!(!checked.faults.is_empty(), "nothing is proved without a key");
    }
}

#[cfg(test)]
mod tests;
