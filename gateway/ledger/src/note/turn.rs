//! The change of a log's key, as both keys state it: a checkpoint of the log with one more line, which names the key that signed until then
//! and the one that signs from then on. Both sign it.
//!
//! Because it is a checkpoint, it binds the change to one history of one log: it cannot be taken to another log, nor to other
//! records of this one. Because both sign it, nobody makes somebody else's key the next one, and who knows either key learns the
//! other. Public clients read it as the checkpoint that it is: further lines mean nothing to them (C2SP tlog-checkpoint, "Note text").

use super::{Note, NoteError, SignError, Signer, VerifierKey};
use crate::checkpoint::Checkpoint;
use crate::tree::Head;

const LINE_START: &str = "gatescribe.dev/next-key ";

/// A change of the key that both keys signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTurn {
    /// The last size that the old key signs. The root at that size stands in the note.
    pub size: u64,
    /// Which signed until then.
    pub old: VerifierKey,
    /// Which signs from then on.
    pub next: VerifierKey,
    note: Note,
}

/// Why keys make no change of a log's key.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// They are called differently, or are one, or one is a witness's.
    #[error(
        "`{next}` cannot follow `{old}`: a log has one name, which all of its keys have, and another key than before"
    )]
    Keys {
        /// `NAME+ID`.
        old: String,
        /// `NAME+ID`.
        next: String,
    },
    /// One of them did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The name cannot stand in a note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl KeyTurn {
    /// States the change at this size of the log.
    ///
    /// # Errors
    /// [`TurnError`].
    pub fn state(head: &Head, old: &dyn Signer, next: &dyn Signer) -> Result<Self, TurnError> {
        let (old_key, next_key) = (old.key().clone(), next.key().clone());
        if !can_follow(&old_key, &next_key) {
            return Err(TurnError::Keys {
                old: old_key.short(),
                next: next_key.short(),
            });
        }
        let checkpoint = Checkpoint {
            origin: old_key.name().to_string(),
            size: head.size,
            root: head.root,
        };
        let mut note = Note::new(format!("{checkpoint}{LINE_START}{old_key} {next_key}\n"))?;
        note.sign(old, 0)?;
        note.sign(next, 0)?;
        Ok(Self {
            size: head.size,
            old: old_key,
            next: next_key,
            note,
        })
    }

    /// Reads the change out of a checkpoint; `None` where it states none, or not both keys signed it.
    #[must_use]
    pub fn read(note: &Note) -> Option<Self> {
        let line = note.text().lines().nth(3)?.strip_prefix(LINE_START)?;
        let (old, next) = line.split_once(' ')?;
        let (old, next): (VerifierKey, VerifierKey) = (old.parse().ok()?, next.parse().ok()?);
        let checkpoint = Checkpoint::parse(note.text()).ok()?;
        let is_of_both = note.verify([&old, &next]).is_ok_and(|vouched| vouched.len() == 2);
        (is_of_both && old.is_of_log(&checkpoint.origin) && can_follow(&old, &next)).then(|| Self {
            size: checkpoint.size,
            old,
            next,
            note: note.clone(),
        })
    }

    /// The signed note that states it.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }
}

fn can_follow(old: &VerifierKey, next: &VerifierKey) -> bool {
    let origin = old.name().as_str();
    old.is_of_log(origin) && next.is_of_log(origin) && old != next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Algorithm, KeyName, SigningKey};

    fn key(name: &str) -> SigningKey {
        SigningKey::generate(KeyName::new(name).unwrap(), Algorithm::Ed25519).unwrap()
    }

    const HEAD: Head = Head { size: 7, root: [3; 32] };

    #[test]
    fn a_change_is_read_as_it_was_stated_and_is_a_checkpoint_to_everybody() {
        let (old, next) = (key("log"), key("log"));
        let turn = KeyTurn::state(&HEAD, &old, &next).unwrap();
        let note = Note::parse(turn.note().to_string().as_bytes()).unwrap();
        assert_eq!(KeyTurn::read(&note), Some(turn));
        let checkpoint = Checkpoint::parse(note.text()).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (7, [3; 32]));
    }

    #[test]
    fn what_not_both_signed_is_no_change() {
        let (old, next, thief) = (key("log"), key("log"), key("log"));
        let turn = KeyTurn::state(&HEAD, &old, &next).unwrap();
        let text = turn.note().text().to_owned();
        let signed_by = |signers: &[&SigningKey]| {
            let mut note = Note::new(text.clone()).unwrap();
            signers.iter().for_each(|signer| note.sign(*signer, 0).unwrap());
            KeyTurn::read(&note)
        };
        assert_eq!(
            signed_by(&[&old]),
            None,
            "nobody is made the next one against their will"
        );
        assert_eq!(signed_by(&[&next]), None, "nobody makes themselves the next one");
        assert_eq!(signed_by(&[&old, &thief]), None);
        assert!(signed_by(&[&old, &next, &thief]).is_some());
        // The signatures of one text under another.
        let moved = turn.note().to_string().replacen("\n7\n", "\n8\n", 1);
        assert_eq!(KeyTurn::read(&Note::parse(moved.as_bytes()).unwrap()), None);
    }

    #[test]
    fn only_another_key_of_the_same_log_can_follow() {
        let old = key("log");
        let again: SigningKey = old.to_private_text().parse().unwrap();
        let witness = SigningKey::generate(KeyName::new("log").unwrap(), Algorithm::Cosignature).unwrap();
        for next in [&key("other"), &again, &witness] {
            let refused = KeyTurn::state(&HEAD, &old, next);
            assert!(matches!(refused, Err(TurnError::Keys { .. })), "{refused:?}");
        }
    }
}
