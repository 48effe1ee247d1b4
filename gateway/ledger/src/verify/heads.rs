//! The signed sizes and roots that a check compares with: the newest checkpoint, those kept along the ledger, and what the
//! caller remembers.

use std::collections::{BTreeMap, BTreeSet};

use super::turns::Keys;
use super::{CHECKPOINT_FINDINGS_MAX, Fault, Finding, Trust, add, io, read_whole};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::error::ReadError;
use crate::note::{KeyTurn, MAX_NOTE_LEN, Note, VerifyError, Vouched};
use crate::options::to_u64;
use crate::publish::torn_end;
use crate::tree::Hash;

/// The file with the newest checkpoint.
pub const NEWEST: &str = "checkpoint";
/// The file with the newest checkpoint that witnesses cosigned.
pub const WITNESSED: &str = "witnessed";
/// The file with the changes of the log's key, each a note that both keys signed.
pub(crate) const CHANGES: &str = "key-changes";
/// What names of files with older ones end with.
pub(crate) const KEPT: &str = ".checkpoints";

/// Stands for a file where the caller gave the checkpoint.
const REMEMBERED: &str = "a remembered checkpoint";
/// And where the caller gave the keys.
const GIVEN: &str = "the keys that were given";

/// A root that a trusted key signed.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) size: u64,
    pub(super) root: Hash,
    /// Where it stands.
    pub(super) file: String,
    /// Whose signatures held, `NAME+ID`.
    pub(super) signers: Vec<String>,
    /// Whether one of them settles which records there are: by the newest key, or by a witness.
    pub(super) is_settled: bool,
    pub(super) is_compared: bool,
}

/// All of them, ordered by size, one for each size.
#[derive(Debug, Default)]
pub(super) struct Heads {
    pub(super) list: Vec<Head>,
    /// Whose signatures count.
    pub(super) keys: Keys,
    pub(super) findings: Vec<Finding>,
    pub(super) strange: u64,
    /// Bytes of checkpoints whose writing broke off.
    pub(super) torn: u64,
}

impl Heads {
    pub(super) fn read(disk: &dyn Disk, names: &[String], trust: &Trust) -> Result<Self, ReadError> {
        let mut heads = Self::default();
        let mut found = Vec::new();
        for name in names
            .iter()
            .filter(|name| [NEWEST, WITNESSED, CHANGES].contains(&name.as_str()) || name.ends_with(KEPT))
        {
            let file = disk.open_read(name).map_err(|source| io(disk, name, source))?;
            let bytes = read_whole(&*file).map_err(|source| io(disk, name, source))?;
            let display = disk.display(name);
            let whole = heads.whole(name, &bytes, trust);
            for (offset, bytes) in notes(whole) {
                match Note::parse(bytes) {
                    Ok(note) => found.push((note, display.clone(), offset)),
                    Err(error) => heads.find(Fault::Checkpoint(error.to_string()), &display, offset),
                }
            }
        }
        heads.judge_all(found, trust);
        Ok(heads)
    }

    /// A file without the end that a crash left of one more checkpoint: it was never given to anybody, and the next start cuts it off. Who cuts a
    /// checkpoint off takes it away with or without a rest.
    fn whole<'b>(&mut self, name: &str, bytes: &'b [u8], trust: &Trust) -> &'b [u8] {
        let mut origins = trust.keys.iter().map(|key| key.name().as_str());
        let torn = origins
            .find_map(|origin| torn_end(bytes, origin))
            .filter(|_| name.ends_with(KEPT));
        let (whole, torn) = bytes
            .split_at_checked(torn.unwrap_or(bytes.len()))
            .unwrap_or((bytes, &[]));
        self.torn = self.torn.saturating_add(to_u64(torn.len()));
        whole
    }

    /// Those of a log that is read from elsewhere: its newest checkpoint, which stands in `file`, and what is remembered.
    pub(super) fn of(newest: &Note, file: &str, trust: &Trust) -> Self {
        let mut heads = Self::default();
        heads.judge_all(vec![(newest.clone(), file.to_owned(), 0)], trust);
        heads
    }

    /// First the keys, by the changes that stand among the notes, then the notes by the keys.
    fn judge_all(&mut self, mut found: Vec<(Note, String, u64)>, trust: &Trust) {
        let remembered = trust.remembered.iter();
        found.extend(remembered.map(|note| (note.clone(), REMEMBERED.to_owned(), 0)));
        let turn = |(note, file, offset): &(Note, String, u64)| Some((KeyTurn::read(note)?, file.clone(), *offset));
        let (keys, findings) = Keys::follow(&trust.keys, found.iter().filter_map(turn).collect());
        for finding in findings {
            add(&mut self.findings, finding, CHECKPOINT_FINDINGS_MAX);
        }
        let origins: BTreeSet<String> = found
            .iter()
            .filter_map(|(note, ..)| Some(Checkpoint::parse(note.text()).ok()?.origin))
            .collect();
        for [one, other] in origins.iter().filter_map(|origin| keys.apart(origin)) {
            let (one, other) = (one.short(), other.short());
            self.find(Fault::Apart { one, other }, GIVEN, 0);
        }
        let mut by_size = BTreeMap::new();
        for (note, file, offset) in &found {
            self.judge(note, &keys, file, *offset, &mut by_size);
        }
        self.list = by_size.into_values().collect();
        self.keys = keys;
    }

    fn judge(&mut self, note: &Note, keys: &Keys, file: &str, offset: u64, by_size: &mut BTreeMap<u64, Head>) {
        let vouched = match note.verify(keys.known()) {
            Ok(vouched) => vouched,
            Err(VerifyError::Unknown { .. }) => {
                self.strange += 1;
                return;
            }
            Err(error @ VerifyError::Invalid { .. }) => {
                self.find(Fault::Signature(error.to_string()), file, offset);
                return;
            }
        };
        let checkpoint = match Checkpoint::parse(note.text()) {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                self.find(Fault::Checkpoint(error.to_string()), file, offset);
                return;
            }
        };
        let is_over = |vouched: &Vouched<'_>| {
            let last = keys.last_of(vouched.key)?;
            (checkpoint.size > last).then(|| Fault::Retired {
                key: vouched.key.short(),
                last,
                size: checkpoint.size,
            })
        };
        if let Some(fault) = vouched.iter().find_map(is_over) {
            self.find(fault, file, offset);
            return;
        }
        // A witness cosigns every log that it knows: without the signature of a log that was asked for this is another one.
        if !vouched.iter().any(|vouched| vouched.key.is_of_log(&checkpoint.origin)) {
            self.strange += 1;
            return;
        }
        let counts = |vouched: &&Vouched<'_>| vouched.time.is_some() || vouched.key.is_of_log(&checkpoint.origin);
        let signers: Vec<_> = vouched
            .iter()
            .filter(counts)
            .map(|vouched| vouched.key.short())
            .collect();
        let head = Head {
            size: checkpoint.size,
            root: checkpoint.root,
            file: file.to_owned(),
            signers,
            is_settled: keys.settle(&checkpoint.origin, &vouched),
            is_compared: false,
        };
        match by_size.get_mut(&checkpoint.size) {
            Some(known) if known.root != checkpoint.root => {
                self.find(Fault::Fork { size: checkpoint.size }, file, offset);
                // The records are compared with the one that the newer key signed.
                if head.is_settled && !known.is_settled {
                    *known = head;
                }
            }
            Some(known) => {
                known.is_settled |= head.is_settled;
                known.signers.extend(head.signers);
            }
            None => drop(by_size.insert(checkpoint.size, head)),
        }
    }

    fn find(&mut self, fault: Fault, file: &str, offset: u64) {
        let file = file.to_owned();
        let new = Finding {
            fault,
            records: 0..0,
            file,
            offset,
        };
        add(&mut self.findings, new, CHECKPOINT_FINDINGS_MAX);
    }
}

/// The changes of the log's key as they stand beside its records, the oldest first; none where it was never changed. Nothing of them is proved
/// beyond that both keys of each signed it.
///
/// # Errors
/// The file cannot be read.
pub fn key_changes(disk: &dyn Disk) -> Result<Vec<Note>, ReadError> {
    let file = match disk.open_read(CHANGES) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file.map_err(|source| io(disk, CHANGES, source))?,
    };
    let bytes = read_whole(&*file).map_err(|source| io(disk, CHANGES, source))?;
    let notes = notes(&bytes).into_iter();
    let notes = notes.filter_map(|(_, bytes)| Note::parse(bytes).ok());
    Ok(notes.filter(|note| KeyTurn::read(note).is_some()).collect())
}

/// Of how many records the newest checkpoint in this folder speaks, whoever signed it; 0 where there is none. Not those that are kept along the ledger: nothing ever
/// takes one away that somebody put there, and in an honest folder none of them is ahead of the newest.
///
/// # Errors
/// The file cannot be read.
pub fn newest_size(disk: &dyn Disk) -> Result<u64, ReadError> {
    let file = match disk.open_read(NEWEST) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        file => file.map_err(|source| io(disk, NEWEST, source))?,
    };
    let bytes = read_whole(&*file).map_err(|source| io(disk, NEWEST, source))?;
    let note = Note::parse(&bytes).ok();
    let checkpoint = note.and_then(|note| Checkpoint::parse(note.text()).ok());
    Ok(checkpoint.map_or(0, |checkpoint| checkpoint.size))
}

/// Parts a file into notes: one ends where a line that is no signature follows a signature.
pub(crate) fn notes(bytes: &[u8]) -> Vec<(u64, &[u8])> {
    const SIGNATURE: &[u8] = "\u{2014} ".as_bytes();
    let (mut notes, mut begin, mut at, mut signed) = (Vec::new(), 0, 0, false);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let is_signature = line.starts_with(SIGNATURE);
        if (signed && !is_signature) || at - begin > MAX_NOTE_LEN {
            notes.extend(bytes.get(begin..at).map(|note| (to_u64(begin), note)));
            begin = at;
        }
        signed = is_signature;
        at += line.len();
    }
    notes.extend(
        bytes
            .get(begin..at)
            .filter(|note| !note.is_empty())
            .map(|note| (to_u64(begin), note)),
    );
    notes
}
