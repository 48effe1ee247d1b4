//! What of a ledger cannot be read, by the numbers of its records: whoever searches is told, so that nothing is absent in silence.

use serde::Serialize;

use super::in_words;
use crate::archive::Unread;

/// Consecutive records that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// The number of the first of them.
    pub first: u64,
    /// The number of the last one; absent where nothing says how many there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// What is wrong, with the file; absent for who sees only a part of the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// As many as are told one by one; a ledger with more of them is not searched but examined (`ledger verify`).
const MOST_HOLES: usize = 64;

impl Hole {
    fn of(unread: &Unread) -> Self {
        let why = match &unread.why {
            Some(error) => in_words(error),
            None => "their file is gone or ends before them".to_owned(),
        };
        Self {
            first: unread.first,
            last: unread.next.map(|next| next.saturating_sub(1)),
            why: Some(why),
        }
    }

    /// `record 7`, `records 7 to 9`, `records from 7 on`, with the reason where it is known.
    #[must_use]
    pub fn in_words(&self) -> String {
        let which = match self.last {
            Some(last) => ledger::span(&(self.first..last.saturating_add(1))),
            None => format!("records from {} on", self.first),
        };
        match &self.why {
            Some(why) => format!("{which} ({why})"),
            None => which,
        }
    }

    /// For whoever may not know where the ledger lies.
    pub(crate) fn without_files(self) -> Self {
        Self { why: None, ..self }
    }
}

/// Several, each once.
#[derive(Debug, Default)]
pub(crate) struct Holes {
    found: Vec<Hole>,
    more: u64,
}

impl Holes {
    pub(crate) fn note(&mut self, unread: &Unread) {
        let hole = Hole::of(unread);
        if self.found.iter().any(|known| known.first == hole.first) {
            return;
        }
        if self.found.len() < MOST_HOLES {
            self.found.push(hole);
        } else {
            self.more += 1;
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the order of their numbers, and what is to be said of them.
    pub(crate) fn finish(self, sees_all: bool) -> (Vec<Hole>, Option<String>) {
        let holes = self.found.into_iter();
        let mut holes: Vec<Hole> = if sees_all {
            holes.collect()
        } else {
            holes.map(Hole::without_files).collect()
        };
        holes.sort_unstable_by_key(|hole| hole.first);
        let mut words: Vec<String> = holes.iter().map(Hole::in_words).collect();
        if self.more > 0 {
            words.push(format!("{} more places", self.more));
        }
        let said = (!words.is_empty()).then(|| words.join("; "));
        (holes, said)
    }
}
