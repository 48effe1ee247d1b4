//! The keys of a log, from those that somebody knows along changes that both keys of each signed: so a proof from before a change is
//! believed by who knows the newest key alone, and one from after it by who knows the first.
//!
//! A change retires a key, and a retired key may be stolen. Its size alone says nothing of what it signed: a thief signs another history of
//! that size, or of a smaller one. So what only retired keys signed counts as far as something leads on from it to what the newest key
//! signed, or a witness cosigned ([`KeyChain::admit`]), and no further; the root that a change states is not an exception, as the older keys of
//! a chain may all be stolen.
//!
//! Where whole ledgers are checked, crate-internal `verify::turns` holds the changes against their records besides. Here there is none:
//! a change is believed because both keys signed it.

use thiserror::Error;

use super::{KeyTurn, Note, VerifierKey, Vouched};
use crate::checkpoint::Checkpoint;
use crate::tree::{Hash, Head, check_consistency};

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
    /// Only keys that others followed signed it, and nothing shows that it is of the same history.
    #[error(
        "another key followed `{key}` at {last} records, and nothing shows that they begin with the {size} that it signed: who has the old key \
         can sign others. Give the proof that they do (`gatescribe ledger checkpoint DIR --since FILE`) with `--since`, or the key of a witness \
         that cosigned them, or take it anew"
    )]
    Unbound {
        /// `NAME+ID`.
        key: String,
        /// The last size that it signs.
        last: u64,
        /// What it signed.
        size: u64,
    },
    /// Two keys of one log were given, and nothing says which is the newer one.
    #[error(
        "`{one}` and `{other}` are keys of one log, and no change leads from one to the other: which of them counts no more is not known. Give \
         the newest key alone, or the change with `--since`"
    )]
    Apart {
        /// `NAME+ID`.
        one: String,
        /// `NAME+ID`.
        other: String,
    },
}

/// That the tree of a signed note begins with an earlier one of the size `old`, as a proof of RFC 6962 §2.1.2 shows it.
#[derive(Clone, Debug)]
pub(crate) struct Bond {
    pub(crate) old: u64,
    pub(crate) proof: Vec<Hash>,
    pub(crate) later: Note,
    pub(crate) checkpoint: Checkpoint,
}

/// Keys that are believed, and the changes by which they were found.
#[derive(Clone, Debug, Default)]
pub struct KeyChain {
    keys: Vec<VerifierKey>,
    turns: Vec<KeyTurn>,
    bonds: Vec<Bond>,
    contradiction: Option<ChainError>,
}

/// What the signatures under a checkpoint are worth by themselves.
enum Worth<'c> {
    /// The newest key of its log signed it, or a witness.
    Enough,
    /// Only keys that others followed; the change of one of them.
    Old(&'c KeyTurn),
}

impl KeyChain {
    /// From `known`, along the changes that these notes state, in both directions. What leads to none of the keys, and what is no change
    /// that both of its keys signed, changes nothing. Changes that contradict one another make every signature refused.
    #[must_use]
    pub fn follow<'n>(known: &[VerifierKey], stated: impl IntoIterator<Item = &'n Note>) -> Self {
        let mut chain = Self::default();
        for key in known {
            if !chain.knows(key) {
                chain.keys.push(key.clone());
            }
        }
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

    /// The same with a proof that a tree goes on from an earlier one: what retired keys signed of the earlier one counts then, if what
    /// was signed of the later one does.
    pub(crate) fn bind(&mut self, bond: Bond) {
        self.bonds.push(bond);
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

    /// Refuses what these vouch for where changes contradict one another, where one of these keys had been followed by another one at a
    /// smaller size, and where all of them were followed by others and it is not shown to be of the history that the newest key signed. That is
    /// shown by a witness among them, or by proofs ([`crate::Consistency::bind`]) from it to what the newest key, or a witness, signed; changes of the
    /// key that state its very root may stand between.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn admit(&self, checkpoint: &Checkpoint, vouched: &[Vouched<'_>]) -> Result<(), ChainError> {
        self.admit_by(checkpoint, vouched, None)
    }

    /// The same with one proof more.
    pub(crate) fn admit_by(
        &self,
        checkpoint: &Checkpoint,
        vouched: &[Vouched<'_>],
        bond: Option<&Bond>,
    ) -> Result<(), ChainError> {
        if let Some(contradiction) = &self.contradiction {
            return Err(contradiction.clone());
        }
        match self.worth(checkpoint, vouched)? {
            Worth::Enough => Ok(()),
            Worth::Old(_) if self.is_bound(checkpoint, bond) => Ok(()),
            Worth::Old(turn) => Err(ChainError::Unbound {
                key: turn.old.short(),
                last: turn.size,
                size: checkpoint.size,
            }),
        }
    }

    fn worth(&self, checkpoint: &Checkpoint, vouched: &[Vouched<'_>]) -> Result<Worth<'_>, ChainError> {
        let ended = |by: &Vouched<'_>| self.turns.iter().find(|turn| turn.old == *by.key);
        let over = vouched
            .iter()
            .filter_map(ended)
            .find(|turn| checkpoint.size > turn.size);
        if let Some(turn) = over {
            return Err(ChainError::Retired {
                key: turn.old.short(),
                last: turn.size,
                size: checkpoint.size,
            });
        }
        // Only cosignatures say a time.
        if vouched.iter().any(|by| by.time.is_some()) {
            return Ok(Worth::Enough);
        }
        let origin = &checkpoint.origin;
        let mut newest = self
            .keys
            .iter()
            .filter(|key| key.is_of_log(origin) && !self.is_old(key));
        if let (Some(one), Some(other)) = (newest.next(), newest.next()) {
            return Err(ChainError::Apart {
                one: one.short(),
                other: other.short(),
            });
        }
        let of_log = || vouched.iter().filter(|by| by.key.is_of_log(origin));
        let old = of_log().filter_map(ended).next();
        Ok(match old {
            Some(turn) if of_log().all(|by| self.is_old(by.key)) => Worth::Old(turn),
            // That a key of this log is among them at all is the caller's to ask.
            _ => Worth::Enough,
        })
    }

    fn is_old(&self, key: &VerifierKey) -> bool {
        self.turns.iter().any(|turn| turn.old == *key)
    }

    /// Whether something leads on from this checkpoint to one whose signatures are enough. Sizes only rise on the way, so what is believed at
    /// the end is believed because of the newest key, however many older ones somebody has.
    fn is_bound(&self, checkpoint: &Checkpoint, further: Option<&Bond>) -> bool {
        let is_of_log = |bond: &&Bond| bond.checkpoint.origin == checkpoint.origin;
        let bonds: Vec<&Bond> = self.bonds.iter().chain(further).filter(is_of_log).collect();
        let stated = self.turns.iter().map(KeyTurn::note).filter_map(|note| {
            let stated = Checkpoint::parse(note.text()).ok()?;
            (stated.origin == checkpoint.origin).then_some((note, stated))
        });
        let later = bonds.iter().map(|bond| (&bond.later, bond.checkpoint.clone()));
        let (mut believed, mut ahead) = (Vec::new(), vec![head_of(checkpoint)]);
        for (note, stated) in stated.chain(later) {
            let head = head_of(&stated);
            if self.is_enough(note, &stated) {
                believed.push(head);
            } else {
                ahead.push(head);
            }
        }
        let target = head_of(checkpoint);
        loop {
            if believed.contains(&target) {
                return true;
            }
            let leads_on = |head: &Head| {
                believed.contains(head)
                    || bonds.iter().any(|bond| {
                        let later = head_of(&bond.checkpoint);
                        bond.old == head.size
                            && believed.contains(&later)
                            && check_consistency(head, &later, &bond.proof).is_ok()
                    })
            };
            let (found, left): (Vec<_>, Vec<_>) = ahead.into_iter().partition(leads_on);
            if found.is_empty() {
                return false;
            }
            believed.extend(found);
            ahead = left;
        }
    }

    /// Whether the newest key of its log, or a witness, signed this note.
    fn is_enough(&self, note: &Note, checkpoint: &Checkpoint) -> bool {
        let Ok(vouched) = note.verify(&self.keys) else {
            return false;
        };
        let is_of_log = vouched.iter().any(|by| by.key.is_of_log(&checkpoint.origin));
        is_of_log && matches!(self.worth(checkpoint, &vouched), Ok(Worth::Enough))
    }
}

const fn head_of(checkpoint: &Checkpoint) -> Head {
    Head {
        size: checkpoint.size,
        root: checkpoint.root,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
    use crate::tree::{Frontier, leaf_hash};

    const ORIGIN: &str = "log";

    fn key() -> SigningKey {
        SigningKey::generate(KeyName::new(ORIGIN).unwrap(), Algorithm::Ed25519).unwrap()
    }

    /// The tree of so many records of this story.
    fn head(story: &str, size: u64) -> Head {
        let mut frontier = Frontier::default();
        (0..size).for_each(|seq| frontier.push(leaf_hash(format!("{story} {seq}").as_bytes())));
        Head {
            size,
            root: frontier.root(),
        }
    }

    /// The proof from a power of two to the size twice as large: one hash, that of the second half.
    fn bond(story: &str, old: u64, by: &SigningKey) -> Bond {
        assert!(old.is_power_of_two());
        let mut second = Frontier::default();
        (old..old * 2).for_each(|seq| second.push(leaf_hash(format!("{story} {seq}").as_bytes())));
        let (later, checkpoint) = signed(&head(story, old * 2), &[by]);
        Bond {
            old,
            proof: vec![second.root()],
            later,
            checkpoint,
        }
    }

    fn stated_of(story: &str, size: u64, old: &SigningKey, next: &SigningKey) -> Note {
        KeyTurn::state(&head(story, size), old, next).unwrap().note().clone()
    }

    fn stated(size: u64, old: &SigningKey, next: &SigningKey) -> Note {
        stated_of("a", size, old, next)
    }

    fn signed(head: &Head, by: &[&SigningKey]) -> (Note, Checkpoint) {
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size: head.size,
            root: head.root,
        };
        let mut note = Note::new(checkpoint.to_string()).unwrap();
        by.iter().for_each(|by| note.sign(*by, 1).unwrap());
        (note, checkpoint)
    }

    /// What is said of this tree, signed by these, by who has this chain.
    fn judged(chain: &KeyChain, head: &Head, by: &[&SigningKey]) -> Result<(), ChainError> {
        let (note, checkpoint) = signed(head, by);
        chain.admit(&checkpoint, &note.verify(chain.keys()).unwrap())
    }

    /// Whether a checkpoint of this size by this key is admitted to who knows `known`.
    fn admitted(known: &SigningKey, stated: &[Note], size: u64, by: &SigningKey) -> bool {
        let (note, checkpoint) = signed(&head("a", size), &[by]);
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
                let chain = KeyChain::follow(&[known.key().clone(), known.key().clone()], &stated);
                assert_eq!(chain.keys().len(), 3);
                let sizes: Vec<_> = chain.turns().iter().map(|turn| turn.size).collect();
                assert_eq!(sizes, [10, 20]);
                for (by, signs_not) in [(0, 11), (1, 21)] {
                    assert!(!admitted(known, &stated, signs_not, &keys[by]), "{by} was followed");
                }
                for signs in [5, 20, 1000] {
                    assert!(admitted(known, &stated, signs, &keys[2]));
                }
            }
            stated.reverse();
        }
    }

    /// The attack: a retired key is stolen, and signs another history that is no longer than the change.
    #[test]
    fn promise_5_what_only_a_retired_key_signed_counts_where_something_leads_on_from_it() {
        let (old, next, witness) = (key(), key(), {
            SigningKey::generate(KeyName::new("w").unwrap(), Algorithm::Cosignature).unwrap()
        });
        let change = [stated(10, &old, &next)];
        for known in [&old, &next] {
            let known = [known.key().clone(), witness.key().clone()];
            let chain = KeyChain::follow(&known, &change);
            for size in [1, 4, 8, 9, 10] {
                let forged = judged(&chain, &head("forged", size), &[&old]).unwrap_err();
                assert!(matches!(forged, ChainError::Unbound { last: 10, .. }), "{forged}");
                assert_eq!(
                    forged.to_string(),
                    format!(
                        "another key followed `{}` at 10 records, and nothing shows that they begin with the {size} that it signed: who has the \
                         old key can sign others. Give the proof that they do (`gatescribe ledger checkpoint DIR --since FILE`) with `--since`, or \
                         the key of a witness that cosigned them, or take it anew",
                        old.key().short()
                    )
                );
            }
            // The change's own root, a cosignature, the newest key's signature beside it, or a proof.
            judged(&chain, &head("a", 10), &[&old]).unwrap();
            judged(&chain, &head("a", 4), &[&old, &witness]).unwrap();
            judged(&chain, &head("a", 4), &[&old, &next]).unwrap();
            assert!(judged(&chain, &head("a", 4), &[&old]).is_err());
            let mut bound = chain.clone();
            bound.bind(bond("a", 4, &next));
            judged(&bound, &head("a", 4), &[&old]).unwrap();
            assert!(judged(&bound, &head("forged", 4), &[&old]).is_err());
            assert!(judged(&bound, &head("a", 2), &[&old]).is_err());
            // A second step on the way; the thief's own proof, to what he signed himself, leads nowhere.
            bound.bind(bond("a", 2, &old));
            judged(&bound, &head("a", 2), &[&old]).unwrap();
            let mut stolen = chain.clone();
            stolen.bind(bond("forged", 4, &old));
            stolen.bind(bond("forged", 2, &old));
            for size in [2, 4, 8] {
                assert!(judged(&stolen, &head("forged", size), &[&old]).is_err());
            }
            // By a key that nobody knows.
            stolen.bind(bond("forged", 4, &key()));
            assert!(judged(&stolen, &head("forged", 4), &[&old]).is_err());
        }
    }

    /// All retired keys are stolen: a change among them states whatever root the thief likes, and even who signed before.
    #[test]
    fn a_change_between_retired_keys_binds_nothing_by_itself() {
        let (first, second, newest, thief) = (key(), key(), key(), key());
        let last = stated(20, &second, &newest);
        let known = [newest.key().clone()];
        for before in [&first, &thief] {
            let forged = stated_of("forged", 5, before, &second);
            let chain = KeyChain::follow(&known, [&last, &forged]);
            for by in [before, &second] {
                let refused = judged(&chain, &head("forged", 5), &[by]).unwrap_err();
                assert!(matches!(refused, ChainError::Unbound { .. }), "{refused}");
            }
        }
        // The true one counts once the newest key is shown to have gone on from it.
        let mut chain = KeyChain::follow(&known, [&last, &stated(8, &first, &second)]);
        assert!(judged(&chain, &head("a", 8), &[&first]).is_err());
        chain.bind(bond("a", 8, &newest));
        judged(&chain, &head("a", 8), &[&first]).unwrap();
    }

    /// `--key OLD --key NEW` without the change: nothing says that the one is retired.
    #[test]
    fn two_keys_of_a_log_without_the_change_between_them_count_for_nothing() {
        let (old, next) = (key(), key());
        let both = [old.key().clone(), next.key().clone()];
        let chain = KeyChain::follow(&both, []);
        for by in [&old, &next] {
            let refused = judged(&chain, &head("forged", 4), &[by]).unwrap_err();
            let (one, other) = (old.key().short(), next.key().short());
            assert_eq!(refused, ChainError::Apart { one, other });
        }
        let chain = KeyChain::follow(&both, &[stated(10, &old, &next)]);
        judged(&chain, &head("a", 4), &[&next]).unwrap();
        assert!(judged(&chain, &head("forged", 4), &[&old]).is_err());
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
