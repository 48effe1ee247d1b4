//! The keys of a log, from those that somebody knows along changes that both keys of each signed: so a proof from before a change is
//! believed by who knows the newest key alone, and one from after it by who knows the first.
//!
//! Where whole ledgers are checked, crate-internal `verify::turns` holds the changes against their records besides. Here there is none:
//! a change is believed because both keys signed it.

use thiserror::Error;

use super::{KeyTurn, Note, VerifierKey, Vouched};
use crate::checkpoint::Checkpoint;

/// Why a signature of a key of the chain counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChainError {
    /// One key states two changes, or one key follows two: somebody signs with an old key.
    #[error("the key `{key}` states a change at {size} records and another at {other}: somebody else signs with it")]
    TwoTurns {
        /// `NAME+ID`.
        key: String,
        /// The size of the one.
        size: u64,
        /// The size of the other.
        other: u64,
    },
    /// A key has signed more records than there were when another one followed it.
    #[error("another key followed `{key}` at {last} records, and it signed {size}")]
    Retired {
        /// `NAME+ID`.
        key: String,
        /// The last size that it signs.
        last: u64,
        /// What it signed.
        size: u64,
    },
}

/// Keys that are believed, and the changes by which they were found.
#[derive(Clone, Debug, Default)]
pub struct KeyChain {
    keys: Vec<VerifierKey>,
    turns: Vec<KeyTurn>,
    contradiction: Option<ChainError>,
}

impl KeyChain {
    /// From `known`, along the changes that these notes state, in both directions. What leads to none of the keys, and what is no change
    /// that both of its keys signed, changes nothing. Changes that contradict one another make every signature refused.
    #[must_use]
    pub fn follow<'n>(known: &[VerifierKey], stated: impl IntoIterator<Item = &'n Note>) -> Self {
        let mut chain = Self {
            keys: known.to_vec(),
            ..Self::default()
        };
        let mut ahead: Vec<KeyTurn> = stated.into_iter().filter_map(KeyTurn::read).collect();
        while let Some(next) = ahead
            .iter()
            .position(|turn| chain.knows(&turn.old) || chain.knows(&turn.next))
        {
            let turn = ahead.swap_remove(next);
            chain.take(turn);
        }
        chain.turns.sort_by_key(|turn| turn.size);
        chain
    }

    fn take(&mut self, turn: KeyTurn) {
        let is_of_either = |known: &&KeyTurn| known.old == turn.old || known.next == turn.next;
        match self.turns.iter().find(is_of_either) {
            // Its text says all: a cosignature more makes no other change of it.
            Some(known) if known.note().text() == turn.note().text() => {}
            Some(known) => {
                self.contradiction = Some(ChainError::TwoTurns {
                    key: turn.old.short(),
                    size: known.size,
                    other: turn.size,
                });
            }
            None => {
                for key in [&turn.old, &turn.next] {
                    if !self.knows(key) {
                        self.keys.push(key.clone());
                    }
                }
                self.turns.push(turn);
            }
        }
    }

    fn knows(&self, key: &VerifierKey) -> bool {
        self.keys.contains(key)
    }

    /// All keys: those that were known, then those that were found.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }

    /// The changes that were followed, by their size.
    #[must_use]
    pub fn turns(&self) -> &[KeyTurn] {
        &self.turns
    }

    /// Refuses what these vouch for where changes contradict one another, or where one of these keys had been followed by another one
    /// at a smaller size.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn admit(&self, checkpoint: &Checkpoint, vouched: &[Vouched<'_>]) -> Result<(), ChainError> {
        if let Some(contradiction) = &self.contradiction {
            return Err(contradiction.clone());
        }
        let is_over = |turn: &&KeyTurn| checkpoint.size > turn.size && vouched.iter().any(|by| *by.key == turn.old);
        match self.turns.iter().find(is_over) {
            None => Ok(()),
            Some(turn) => Err(ChainError::Retired {
                key: turn.old.short(),
                last: turn.size,
                size: checkpoint.size,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
    use crate::tree::Head;

    const ORIGIN: &str = "log";

    fn key() -> SigningKey {
        SigningKey::generate(KeyName::new(ORIGIN).unwrap(), Algorithm::Ed25519).unwrap()
    }

    fn stated(size: u64, old: &SigningKey, next: &SigningKey) -> Note {
        let head = Head { size, root: [3; 32] };
        KeyTurn::state(&head, old, next).unwrap().note().clone()
    }

    /// Whether a checkpoint of this size by this key is admitted to who knows `known`.
    fn admitted(known: &SigningKey, stated: &[Note], size: u64, by: &SigningKey) -> bool {
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root: [4; 32],
        };
        let mut note = Note::new(checkpoint.to_string()).unwrap();
        note.sign(by, 0).unwrap();
        let chain = KeyChain::follow(&[known.key().clone()], stated);
        let vouched = note.verify(chain.keys());
        vouched.is_ok_and(|vouched| chain.admit(&checkpoint, &vouched).is_ok())
    }

    #[test]
    fn every_key_leads_to_every_other_in_whatever_order_the_changes_stand() {
        let keys = [key(), key(), key()];
        let mut stated = vec![stated(10, &keys[0], &keys[1]), stated(20, &keys[1], &keys[2])];
        for _ in 0..2 {
            for known in &keys {
                let chain = KeyChain::follow(&[known.key().clone()], &stated);
                assert_eq!(chain.keys().len(), 3);
                let sizes: Vec<_> = chain.turns().iter().map(|turn| turn.size).collect();
                assert_eq!(sizes, [10, 20]);
                for (by, signs, signs_not) in [(0, 10, 11), (1, 20, 21)] {
                    assert!(admitted(known, &stated, signs, &keys[by]));
                    assert!(!admitted(known, &stated, signs_not, &keys[by]), "{by} was followed");
                }
                assert!(admitted(known, &stated, u64::from(u32::MAX), &keys[2]));
            }
            stated.reverse();
        }
    }

    #[test]
    fn what_both_keys_did_not_sign_leads_nowhere_and_what_is_another_log_s_changes_nothing() {
        let (first, next, thief) = (key(), key(), key());
        let mut one_signed = stated(10, &first, &thief);
        let by_thief = one_signed
            .signatures()
            .iter()
            .find(|one| one.claims(thief.key()))
            .cloned();
        one_signed = Note::new(one_signed.text().to_owned()).unwrap();
        one_signed.add(by_thief.unwrap());
        assert!(!admitted(&first, &[one_signed], 11, &thief));
        let elsewhere = stated(10, &thief, &next);
        assert!(!admitted(&first, std::slice::from_ref(&elsewhere), 11, &next));
        assert!(
            admitted(&first, &[elsewhere], 11, &first),
            "and it retires nobody's key"
        );
    }

    #[test]
    fn of_two_changes_by_one_key_neither_is_believed() {
        let (first, next, thief) = (key(), key(), key());
        let both = [stated(10, &first, &next), stated(10, &first, &thief)];
        for by in [&first, &next, &thief] {
            assert!(!admitted(&first, &both, 10, by));
        }
        // The same one twice, once with a witness's signature, is one.
        let mut again = both[0].clone();
        let witness = SigningKey::generate(KeyName::new("w").unwrap(), Algorithm::Cosignature).unwrap();
        again.sign(&witness, 1).unwrap();
        assert!(admitted(&first, &[both[0].clone(), again], 11, &next));
    }
}
