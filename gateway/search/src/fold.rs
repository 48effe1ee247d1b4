//! Joins the records of one request by `id` (or `pair`), whichever way the ledger is walked.
//!
//! Walking back, ends come before what they end and wait here. The number of waiting ends is bounded
//! ([`MOST_WAITING`]); over it the one that has waited longest is dropped and counted: its act then shows an end that was not read.

use std::collections::{HashMap, VecDeque};

use ledger::Record;
use model::event::RecordKind;

use crate::leaf::{self, Decided, Ended, Kept, Leaf, Object, Passed};
use crate::row::{Outcome, Row};

/// As many as calls may be in flight at once (`ledger::Options::max_open`).
const MOST_WAITING: usize = 1 << 16;

/// What one record is to a fold.
#[derive(Debug)]
pub enum Piece {
    /// It begins an act, or is one by itself; with the run of the process (`boot`) that wrote it.
    Begin(Box<Row>, String),
    /// It ends or continues one.
    End(Box<Ending>),
}

/// A record that belongs to an earlier one.
#[derive(Debug)]
pub struct Ending {
    pub(crate) id: String,
    pub(crate) pair: Option<u64>,
    pub(crate) seq: u64,
    pub(crate) kind: RecordKind,
    outcome: Option<Ended>,
    object: Option<Object>,
    decision: Option<Decided>,
    recording: Option<Kept>,
    passed: Option<Passed>,
    node: Option<String>,
}

impl Piece {
    /// Reads a record.
    #[must_use]
    pub fn read(record: &Record) -> Self {
        Self::of(record.seq, record.kind, &record.leaf)
    }

    pub(crate) fn of(seq: u64, kind: RecordKind, bytes: &[u8]) -> Self {
        let Some(leaf) = Leaf::read(bytes) else {
            let row = Row::unreadable(seq, kind, leaf::time_of(bytes));
            return Self::Begin(Box::new(row), String::new());
        };
        let belongs = match kind {
            RecordKind::Outcome | RecordKind::Close | RecordKind::Heartbeat => true,
            RecordKind::Issued | RecordKind::Answer => leaf.pair.is_some(),
            _ => false,
        };
        if belongs {
            return Self::End(Box::new(Ending {
                id: leaf.id,
                pair: leaf.pair,
                seq,
                kind,
                outcome: leaf.outcome,
                object: leaf.object,
                decision: leaf.decision,
                recording: leaf.recording,
                passed: leaf.passed,
                node: leaf.upstream.and_then(|upstream| upstream.node),
            }));
        }
        let boot = leaf.boot.clone();
        Self::Begin(Box::new(Row::begin(seq, kind, leaf)), boot)
    }
}

impl Ending {
    /// By what its opening finds it.
    pub(crate) fn key(&self) -> String {
        match self.pair {
            Some(pair) if self.id.is_empty() => by_number(pair),
            _ => self.id.clone(),
        }
    }

    pub(crate) fn belongs_to(&self, row: &Row) -> bool {
        (!self.id.is_empty() && self.id == row.id) || self.pair == Some(row.first_seq)
    }

    /// Whether nothing comes after it.
    pub(crate) fn is_last(&self) -> bool {
        matches!(self.kind, RecordKind::Outcome | RecordKind::Close)
    }

    /// Adds what it says to the act it belongs to.
    pub(crate) fn join(self, row: &mut Row) {
        if !row.kinds.contains(&self.kind) {
            row.kinds.push(self.kind);
        }
        // A sign of life may say less than an earlier one: that it goes on, and nothing of the recording.
        row.recording = self.recording.or(row.recording.take());
        row.passed = self.passed.or(row.passed);
        row.node = self.node.or(row.node.take());
        if let Some(ended) = self.outcome {
            if row.is_session() {
                row.passed = Some(Passed {
                    bytes_in: ended.bytes_in,
                    bytes_out: ended.bytes_out,
                });
            }
            row.outcome = Some(Outcome::from(ended));
        } else if self.kind == RecordKind::Heartbeat && row.awaits_end() {
            row.set_end("inFlight", None);
        }
        if let Some(object) = self.object {
            row.learn_object(object);
        }
        if let Some(decision) = self.decision {
            row.decision = Some(decision.into());
        }
        row.judge();
        row.hide_again();
    }
}

pub(crate) fn by_number(seq: u64) -> String {
    format!("#{seq}")
}

/// Joins records that are given from the newest to the oldest.
#[derive(Debug, Default)]
pub struct Fold {
    waiting: HashMap<String, Vec<Ending>>,
    order: VecDeque<String>,
    dropped: u64,
}

impl Fold {
    /// Takes the next older record; gives the act that is whole with it, and its `boot`.
    pub fn push(&mut self, piece: Piece) -> Option<(Row, String)> {
        match piece {
            Piece::End(ending) => {
                self.keep(*ending);
                None
            }
            Piece::Begin(row, boot) => Some((self.complete(*row), boot)),
        }
    }

    /// Joins what waits for this act to it.
    pub(crate) fn complete(&mut self, mut row: Row) -> Row {
        let mut parts = self.waiting.remove(&row.id).unwrap_or_default();
        if !self.waiting.is_empty() {
            parts.extend(self.waiting.remove(&by_number(row.first_seq)).unwrap_or_default());
        }
        parts.sort_by_key(|part| part.seq);
        for part in parts {
            part.join(&mut row);
        }
        row
    }

    /// Forgets what waits for an act that nobody asks about.
    pub(crate) fn forget(&mut self, id: &str) {
        self.waiting.remove(id);
    }

    fn keep(&mut self, ending: Ending) {
        let key = ending.key();
        if let Some(parts) = self.waiting.get_mut(&key) {
            // Walking back, each sign of life is older than what is here already, and says less; but of the recording the
            // newest word may stand in an older one.
            let tells = ending.recording.is_some() && parts.iter().all(|part| part.recording.is_none());
            if ending.kind != RecordKind::Heartbeat || tells {
                parts.push(ending);
            }
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.drop_longest_waiting();
        }
        if self.order.len() >= 2 * MOST_WAITING {
            let waiting = &self.waiting;
            self.order.retain(|key| waiting.contains_key(key));
        }
        self.order.push_back(key.clone());
        self.waiting.insert(key, vec![ending]);
    }

    fn drop_longest_waiting(&mut self) {
        while let Some(oldest) = self.order.pop_front() {
            if self.waiting.remove(&oldest).is_some() {
                self.dropped += 1;
                return;
            }
        }
    }

    /// Ends that were dropped because too many waited.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
