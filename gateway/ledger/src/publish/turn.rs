//! The change of the key that signs a ledger: a record says so, both keys sign it, and from then on the new one signs.
//!
//! The order is: the statement is signed, its record made durable, the statement kept twice (among the checkpoints, and with all changes in one
//! file), the new key's first checkpoint written. Whatever is
//! interrupted is taken up again by the next call with the same keys; until the first checkpoint of the new key stands there, the caller
//! must not throw the old one away, and afterwards it has no use for it.

use model::event::RecordKind;
use serde::Serialize;

use super::*;
use crate::note::KeyTurn;
use crate::verify::{CHANGES, key_changes, stated_in};

/// The body of the record; member names follow `model::event::Record`.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    t: Timestamp,
    boot: &'a str,
    key: Member,
    note: String,
}

#[derive(Serialize)]
struct Member {
    size: u64,
    from: String,
    to: String,
    /// The statement that both signed.
    note: String,
}

impl Publisher {
    /// Has `next` sign this ledger from now on, in place of `old`. Nothing else may be signing it; records may come. Does nothing where
    /// the newest checkpoint is signed by `next` already. Blocks for the disk.
    ///
    /// # Errors
    /// [`PublishError`]. The change may be recorded then; the same call takes it up.
    pub fn turn(
        ledger: &Arc<Ledger>,
        disk: Arc<dyn Disk>,
        beside: Option<Arc<dyn Disk>>,
        [old, next]: [&Arc<dyn Signer>; 2],
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
        boot: &str,
    ) -> Result<(), PublishError> {
        let signers = vec![Arc::clone(next), Arc::clone(old)];
        let mut desk = Desk::new(ledger, disk, beside, signers, clock);
        desk.compare()?;
        if desk.is_signed_by(next.key())? {
            return Ok(());
        }
        let known = desk.turn_from(old.key())?;
        let turn = match known {
            Some(turn) if turn.next == *next.key() => turn,
            Some(turn) => {
                return Err(PublishError::Followed {
                    key: turn.old.short(),
                    next: turn.next.short(),
                });
            }
            None => {
                if let Some(beside) = &desk.beside {
                    Self::note_found(ledger, &**beside)?;
                }
                desk.record_turn(&**old, &**next, boot)?
            }
        };
        desk.keep(turn.size, turn.note().to_string().as_bytes())?;
        desk.keep_change(&turn)?;
        desk.signers.pop();
        desk.publish(true)
    }
}

impl Desk {
    /// Whether the newest checkpoint, wherever it is kept, is this key's.
    fn is_signed_by(&self, key: &VerifierKey) -> Result<bool, PublishError> {
        let Some(bytes) = read(&*self.disk, NEWEST)? else {
            return Ok(false);
        };
        Ok(Note::parse(&bytes).is_ok_and(|note| note.verify([key]).is_ok() && KeyTurn::read(&note).is_none()))
    }

    /// The change from this key to another that is recorded behind the newest checkpoint: in records that no key has signed yet. Before
    /// it there is none, because a checkpoint of the old key behind such a record would not have been signed.
    pub(super) fn turn_from(&self, old: &VerifierKey) -> Result<Option<KeyTurn>, PublishError> {
        let bytes = read(&*self.disk, NEWEST)?;
        let note = bytes.and_then(|bytes| Note::parse(&bytes).ok());
        let newest = note.and_then(|note| Checkpoint::parse(note.text()).ok());
        let from = newest.map_or(0, |newest| newest.size);
        let reader = Reader::open_on(Arc::clone(&self.disk))?;
        // What is durable, and no further: behind it the writer is at work.
        for record in reader.records_from(from).until(self.ledger.durable().size) {
            let record = record?;
            if record.kind != RecordKind::Key {
                continue;
            }
            if let Some(turn) = stated_in(&record.leaf).filter(|turn| turn.old == *old) {
                return Ok(Some(turn));
            }
        }
        Ok(None)
    }

    /// Adds it to the file of all changes, for proofs that leave the ledger.
    fn keep_change(&self, turn: &KeyTurn) -> Result<(), PublishError> {
        let mut kept = key_changes(&*self.disk)?;
        if kept.iter().all(|note| note.text() != turn.note().text()) {
            kept.push(turn.note().clone());
        }
        let text: String = kept.iter().map(ToString::to_string).collect();
        replace(&*self.disk, CHANGES, text.as_bytes())
    }

    fn record_turn(&self, old: &dyn Signer, next: &dyn Signer, boot: &str) -> Result<KeyTurn, PublishError> {
        let turn = KeyTurn::state(&self.ledger.durable(), old, next)?;
        let body = Body {
            id: "",
            t: (self.clock.0)(),
            boot,
            key: Member {
                size: turn.size,
                from: turn.old.to_string(),
                to: turn.next.to_string(),
                note: turn.note().to_string(),
            },
            note: format!(
                "the ledger's key changed from {} to {}",
                turn.old.short(),
                turn.next.short()
            ),
        };
        let body = serde_json::to_vec(&body).map_err(|_| AppendError::NotAnObject)?;
        let ticket = self.ledger.append(RecordKind::Key, body, Vec::new())?;
        ticket.wait().map_err(|_| PublishError::Unrecorded)?;
        Ok(turn)
    }
}
