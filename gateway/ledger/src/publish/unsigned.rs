//! What stands behind the signed end when a run begins, and who can have written it.
//!
//! Records are signed within a second. What a crash leaves unsigned is the gateway's own, or it is the work of whoever can write to the ledger's folder: nothing
//! tells the two apart, and a record says which records those are before anything is signed. Where the run before has signed all of its records and ended,
//! there is nothing of its own behind: a file in the folder of the key says so, which who has the ledger's folder alone cannot write. It counts for
//! as long as nothing more is signed.
//!
//! Nothing is appended behind such an end before it is written down how much was found there, also by the ledger itself while it is opened
//! ([`crate::Options::beside`]): a start that dies on its way accuses nobody. One that ends in order before its first record leaves the end as it found it.

use std::ops::Range;

use model::event::{Record, RecordKind, Unsigned};

use super::*;
use crate::checkpoint::decimal;
use crate::recovery::footer_at_end;
use crate::tree::Hash;

/// The file beside the key: a checkpoint without a signature, and in a fourth line how many records a later start, or a command, has found. Frozen
/// (`tests/frozen/v1-closed`).
const CLOSED: &str = "closed";

/// What a start found behind what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The largest tree that was signed.
    pub signed: Head,
    /// Records behind it that the gateway did not write: the run that signed it had ended.
    pub foreign: Range<u64>,
    /// Records behind it that the gateway may have written, or somebody else.
    pub unproved: Range<u64>,
}

/// That a run has signed all of its records, and ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Closed {
    stated: Checkpoint,
    /// What was found by whoever came first and appended.
    found: Option<u64>,
}

impl Publisher {
    /// Records which records stand behind what was signed before, as [`Publisher::signed_before`] says it: to be called before anything is appended or signed.
    /// `beside` is the folder that is given to [`Publisher::start`]. Blocks for the disk.
    ///
    /// # Errors
    /// [`PublishError`], as there, or the record is not durable; nothing must be signed then.
    pub fn say_unsigned(
        ledger: &Ledger,
        [disk, beside]: [&Arc<dyn Disk>; 2],
        keys: &[&VerifierKey],
        (boot, at): (&str, Timestamp),
    ) -> Result<Tail, PublishError> {
        let signed = before::signed(ledger, disk, Some(beside), keys)?;
        let tail = tail(signed, ledger.found(), Closed::read(&**beside)?.as_ref());
        if !tail.foreign.is_empty() {
            Self::note_found(ledger, &**beside)?;
            let note = "the gateway did not write these records: they stood behind the end of a run that had signed all of its own. Nothing is taken away by them";
            say(ledger, RecordKind::Damage, &tail.foreign, (boot, at, Some(note)))?;
        }
        if !tail.unproved.is_empty() {
            say(ledger, RecordKind::Recovery, &tail.unproved, (boot, at, None))?;
        }
        Ok(tail)
    }

    /// Writes down how much was found behind the end of a run, before more is appended without a signature: the next start tells the two apart.
    ///
    /// # Errors
    /// The folder of the key cannot be read or written.
    pub fn note_found(ledger: &Ledger, beside: &dyn Disk) -> Result<(), PublishError> {
        note_found(ledger.found(), beside)
    }
}

/// The same, where the ledger is not open yet.
pub(crate) fn note_found(found: u64, beside: &dyn Disk) -> Result<(), PublishError> {
    match Closed::read(beside)? {
        Some(closed) if closed.found.is_none() => {
            let found = Some(found);
            replace(beside, CLOSED, Closed { found, ..closed }.text().as_bytes())
        }
        _ => Ok(()),
    }
}

/// Which of the records that were found are whose.
fn tail(signed: Head, found: u64, closed: Option<&Closed>) -> Tail {
    let is_end = |closed: &&Closed| closed.stated.size == signed.size && closed.stated.root == signed.root;
    let foreign_until = match closed.filter(is_end) {
        Some(closed) => closed.found.unwrap_or(found).min(found),
        None => signed.size,
    };
    let foreign_until = foreign_until.max(signed.size);
    Tail {
        foreign: signed.size..foreign_until,
        unproved: foreign_until..found.max(foreign_until),
        signed,
    }
}

fn say(
    ledger: &Ledger,
    kind: RecordKind,
    records: &Range<u64>,
    (boot, t, note): (&str, Timestamp, Option<&str>),
) -> Result<(), PublishError> {
    let record = Record {
        t,
        boot,
        unsigned: Some(Unsigned {
            from: records.start,
            until: records.end,
        }),
        note,
        ..Record::default()
    };
    let body = record.body().map_err(|_| AppendError::NotAnObject)?;
    let ticket = ledger.append(kind, body, Vec::new())?;
    ticket.wait().map(drop).map_err(|_| PublishError::Unsaid)
}

impl Closed {
    fn read(beside: &dyn Disk) -> Result<Option<Self>, PublishError> {
        let Some(bytes) = read(beside, CLOSED)? else {
            return Ok(None);
        };
        Self::parse(&bytes).map(Some).map_err(|source| PublishError::Closed {
            file: beside.display(CLOSED),
            source,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let text = std::str::from_utf8(bytes).map_err(|_| CheckpointError::Lines)?;
        let stated = Checkpoint::parse(text)?;
        let found = text
            .lines()
            .nth(3)
            .map(|line| decimal(line).ok_or(CheckpointError::Size));
        let found = found.transpose()?;
        Ok(Self { stated, found })
    }

    fn text(&self) -> String {
        let found = self.found.map(|found| format!("{found}\n"));
        format!("{}{}", self.stated, found.unwrap_or_default())
    }
}

impl Desk {
    /// Writes down, beside the key, that all records are signed and none of this run comes behind them. Not where the end of the ledger is not known to be on the disk, and not
    /// where calls have no end: the next start appends that before anything.
    pub(super) fn keep_closed(&self) -> Result<(), PublishError> {
        let newest = self.state().newest.clone();
        let (Some(beside), Some(newest)) = (&self.beside, newest) else {
            return Ok(());
        };
        let end = &newest.checkpoint;
        // A start that broke off before its first record seals nothing. Nobody else could write meanwhile, so the end that it found, and signed, is the end still.
        let is_end = self.ledger.is_left_as_found() && end.size == self.ledger.found();
        if self.ledger.without_end() > 0 || !(is_end || self.is_sealed_at(end.size, &end.root)?) {
            return Ok(());
        }
        let closed = Closed {
            stated: end.clone(),
            found: None,
        };
        replace(&**beside, CLOSED, closed.text().as_bytes())
    }

    /// Whether the last segment has a footer that says so: nothing stands behind it.
    fn is_sealed_at(&self, size: u64, root: &Hash) -> Result<bool, PublishError> {
        let disk = &*self.disk;
        let names = disk.list().map_err(|source| io(disk, "list", ".", source))?;
        let Some(last) = names.iter().filter_map(|name| parse_segment_name(name)).max() else {
            return Ok(false);
        };
        let name = segment_name(last);
        let footer = footer_at_end(disk, &name).map_err(|source| io(disk, "read", &name, source))?;
        Ok(footer.is_some_and(|footer| footer.next_seq == size && footer.root == *root))
    }

    /// This run has begun to sign, and appends from now on.
    pub(super) fn forget_closed(&self) -> Result<(), PublishError> {
        let Some(beside) = &self.beside else { return Ok(()) };
        if read(&**beside, CLOSED)?.is_none() {
            return Ok(());
        }
        // Under the name that it is written under before it takes its own: nobody reads that, and where the disk gets full its room is there to say the same again.
        let aside = beside
            .rename(CLOSED, &new_name(CLOSED))
            .and_then(|()| beside.sync_dir());
        aside.map_err(|source| io(&**beside, "rename", CLOSED, source))
    }
}

#[cfg(test)]
mod tests;
