//! Gathers cosignatures: several witnesses are asked about one checkpoint, each answers when it can, and the checkpoint counts as
//! witnessed as soon as so many have cosigned it.
//!
//! Full: the oldest of [`ROUNDS`] checkpoints is forgotten; a witness that slow is counted by its own size and time, not for a
//! quorum.

use std::collections::VecDeque;

use crate::note::{Note, Signature, VerifierKey};
use crate::publish::Published;

/// Checkpoints that cosignatures are awaited for at once.
const ROUNDS: usize = 8;

/// What a cosignature has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The checkpoint has its quorum, with this note: that it has it, or that it has one more.
    Witnessed(Box<Published>),
    /// So many are still lacking.
    Lacks(usize),
    /// The checkpoint is not awaited any more.
    Forgotten,
}

/// The checkpoints that are being witnessed.
#[derive(Clone, Debug)]
pub struct Rounds {
    quorum: usize,
    keys: Vec<VerifierKey>,
    open: VecDeque<Published>,
}

impl Rounds {
    /// For these witnesses; a checkpoint is witnessed when `quorum` of them have cosigned it, one at least.
    #[must_use]
    pub fn new(keys: Vec<VerifierKey>, quorum: usize) -> Self {
        Self {
            quorum: quorum.max(1),
            keys,
            open: VecDeque::new(),
        }
    }

    /// Begins to await cosignatures of this checkpoint.
    pub fn begin(&mut self, published: &Published) {
        if self.find(published.note.text()).is_some() {
            return;
        }
        self.open.push_back(published.clone());
        if self.open.len() > ROUNDS {
            self.open.pop_front();
        }
    }

    /// Takes a cosignature of the checkpoint with this text, in place of an earlier one by the same witness.
    pub fn take(&mut self, text: &str, signature: Signature) -> Told {
        let (keys, quorum) = (self.keys.clone(), self.quorum);
        let Some(round) = self.find(text) else {
            return Told::Forgotten;
        };
        round.note.add(signature);
        match quorum.checked_sub(count(&round.note, &keys)) {
            None | Some(0) => Told::Witnessed(Box::new(round.clone())),
            Some(lacks) => Told::Lacks(lacks),
        }
    }

    /// Whether this note has enough cosignatures.
    #[must_use]
    pub fn is_witnessed(&self, note: &Note) -> bool {
        count(note, &self.keys) >= self.quorum
    }

    fn find(&mut self, text: &str) -> Option<&mut Published> {
        self.open.iter_mut().find(|round| round.note.text() == text)
    }
}

/// How many of these witnesses have cosigned; each counts once, and only if its signature holds.
fn count(note: &Note, keys: &[VerifierKey]) -> usize {
    keys.iter().filter(|key| note.verify([*key]).is_ok()).count()
}
