//! Follows what comes: each act as a row once it has ended, or after a moment while it still runs; a stream when it opens and
//! again when it closes. A row with an id that was given before replaces that one.
//!
//! Bounded: acts whose end is awaited ([`MOST_PENDING`]; the oldest is then given as it stands), runs that are remembered.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ledger::Records;
use model::event::RecordKind;
use model::time::Timestamp;

use crate::archive::{Archive, SearchError};
use crate::fold::{Ending, Piece};
use crate::query::Query;
use crate::row::Row;
use crate::scope::Scope;
use crate::view::{Folded, Placed, Rows, View};

/// An act that has not ended after this long is given as one that still runs.
const PATIENCE: Duration = Duration::from_secs(2);
const MOST_PENDING: usize = 8_192;
/// Rows after which the memory of kubectl runs begins anew.
const MOST_REMEMBERED: usize = 512;

/// A follower of the ledger. Each call of [`Tail::poll`] gives what has come since.
#[derive(Debug)]
pub struct Tail {
    archive: Arc<Archive>,
    records: Records,
    query: Query,
    scope: Scope,
    view: View,
    pending: BTreeMap<u64, Pending>,
    ids: HashMap<String, u64>,
    ready: VecDeque<Row>,
    runs: Rows,
    folded: Folded,
}

#[derive(Debug)]
struct Pending {
    row: Row,
    given: Given,
}

/// Whether an act that still runs was given as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    NotYet,
    Shown,
    /// It is counted in another row or among what is folded away.
    Counted,
    /// The query did not ask for it as it stood.
    NotAsked,
}

impl Tail {
    /// Begins behind the record `after`, or at the end.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn new(
        archive: Arc<Archive>,
        query: Query,
        scope: Scope,
        view: View,
        after: Option<u64>,
    ) -> Result<Self, SearchError> {
        let reader = archive.reader()?;
        let from = match after {
            Some(after) => after.saturating_add(1),
            None if archive.is_live() => archive.end(),
            None => {
                crate::scan::tip(&archive, &reader, &mut || true)
                    .0
                    .unwrap_or_default()
                    .end
            }
        };
        let runs = Rows::new(view, &query, MOST_REMEMBERED);
        Ok(Self {
            records: reader.records_from(from),
            archive,
            query,
            scope,
            view,
            pending: BTreeMap::new(),
            ids: HashMap::new(),
            ready: VecDeque::new(),
            runs,
            folded: Folded::default(),
        })
    }

    /// Begin behind this record to go on after an interruption: everything up to it was given or is not asked for.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        let waiting = self
            .pending
            .iter()
            .find(|(_, pending)| pending.given == Given::NotYet)
            .map(|(seq, _)| *seq);
        let ready = self.ready.iter().map(|row| row.first_seq).min();
        let next = [waiting, ready]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| self.records.position());
        next.checked_sub(1)
    }

    /// Whether there is more to read at once; of files alone that is not known.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        !self.ready.is_empty() || (self.archive.is_live() && self.records.position() < self.archive.end())
    }

    /// What was found since the beginning and is not given.
    #[must_use]
    pub fn folded(&self) -> Folded {
        let mut all = self.folded.clone();
        all.add_all(&self.runs.folded());
        all
    }

    /// When the next row is due even if no record comes.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        let waiting = self.pending.values().find(|pending| pending.given == Given::NotYet);
        waiting.map(|pending| pending.row.t.plus(PATIENCE))
    }

    /// The rows that are ready, at most `most`; reads at most `records` records. Blocks for as long as that takes.
    ///
    /// # Errors
    /// A record cannot be read; what was found before comes first.
    pub fn poll(&mut self, now: Timestamp, most: usize, records: usize) -> Result<Vec<Row>, SearchError> {
        self.records.set_until(self.archive.end());
        let mut left = records;
        while left > 0 && self.ready.len() < most {
            match self.records.next() {
                Some(Ok(record)) => self.take(Piece::read(&record)),
                Some(Err(_)) if !self.ready.is_empty() => break,
                Some(Err(error)) => return Err(self.archive.unreadable(error)),
                None => break,
            }
            left -= 1;
        }
        self.give_late(now);
        let count = most.min(self.ready.len());
        Ok(self.ready.drain(..count).collect())
    }

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Begin(row, _) => self.begin(*row),
            Piece::End(ending) => self.end(*ending),
        }
    }

    fn begin(&mut self, row: Row) {
        if !self.scope.shows(&row) {
            return;
        }
        if !row.awaits_end() {
            self.give(row);
            return;
        }
        let seq = row.first_seq;
        if self.pending.len() >= MOST_PENDING
            && let Some((_, oldest)) = self.pending.pop_first()
        {
            self.ids.remove(&oldest.row.id);
            if oldest.given == Given::NotYet {
                self.give_running(oldest.row);
            }
        }
        self.ids.insert(row.id.clone(), seq);
        let is_stream = row.kind == RecordKind::Open.name();
        let given = if is_stream {
            self.give_running(row.clone())
        } else {
            Given::NotYet
        };
        self.pending.insert(seq, Pending { row, given });
    }

    fn end(&mut self, ending: Ending) {
        let Some(seq) = self.ids.get(&ending.id).copied().or(ending.pair) else {
            return;
        };
        if !ending.is_last() {
            if let Some(pending) = self.pending.get_mut(&seq) {
                ending.join(&mut pending.row);
            }
            return;
        }
        if let Some(Pending { mut row, given }) = self.pending.remove(&seq) {
            self.ids.remove(&row.id);
            ending.join(&mut row);
            match given {
                Given::NotYet | Given::NotAsked => {
                    self.give(row);
                }
                Given::Shown => self.ready.extend(self.scope.view(row)),
                Given::Counted => {}
            }
        }
    }

    fn give_late(&mut self, now: Timestamp) {
        let late = |pending: &Pending| pending.given == Given::NotYet && pending.row.t.plus(PATIENCE) <= now;
        let rows: Vec<(u64, Row)> = self
            .pending
            .iter()
            .filter(|(_, pending)| late(pending))
            .map(|(seq, pending)| (*seq, pending.row.clone()))
            .collect();
        for (seq, row) in rows {
            let given = self.give_running(row);
            if let Some(pending) = self.pending.get_mut(&seq) {
                pending.given = given;
            }
        }
    }

    fn give_running(&mut self, mut row: Row) -> Given {
        row.set_end("inFlight", None);
        self.give(row)
    }

    fn give(&mut self, row: Row) -> Given {
        let Some(row) = self.scope.view(row).filter(|row| self.query.matches(row)) else {
            return Given::NotAsked;
        };
        if self.runs.len() >= MOST_REMEMBERED {
            self.folded.add_all(&self.runs.folded());
            self.runs = Rows::new(self.view, &self.query, MOST_REMEMBERED);
        }
        let changes = !matches!(row.verb.as_str(), "get" | "list" | "watch");
        match self.runs.place(row.clone()) {
            // What joins a row that was given already is news only if it changes something.
            Placed::Joined if !changes => Given::Counted,
            Placed::New | Placed::Full | Placed::Joined => {
                self.ready.push_back(row);
                Given::Shown
            }
            Placed::Folded => Given::Counted,
        }
    }
}
