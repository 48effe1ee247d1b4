//! The walk of a search: from the newest record back, block by block, until there are rows enough, the budget is used up or
//! nothing older is asked for.
//!
//! Ends stand behind what they end. Where the walk does not begin at the newest record (a page further down, `until:`), it
//! first looks ahead a little for them, and at last looks up the ends of exactly those rows that still miss one.
//!
//! Time and order: a record's place says what came before it; its time is what a clock said. Blocks are skipped by their
//! exact times. Whole segments are skipped by the time of their first record with [`CLOCK_SLACK`] on both sides; a clock that
//! was wrong by more hides a record from a search with bounds in time, not from one without.

use std::collections::HashMap;

use ledger::{Reader, SegmentInfo};
use model::event::RecordKind;
use model::time::Timestamp;

use super::tip::{Tip, tip};
use super::{Budget, CLOCK_SLACK, Holes, Page, Range, Search, Stopped};
use crate::archive::{Archive, Block, Unread, read_block};
use crate::fold::{Fold, Piece, by_number};
use crate::leaf;
use crate::nearest::Vocabulary;
use crate::row::Row;
use crate::scope::Scope;
use crate::view::{Placed, Rows};

/// Beyond any record, and still a whole number in every JSON reader.
const FAR: u64 = 1 << 53;
/// Records that are looked at ahead of the walk for the ends of its first acts.
const LOOK_AHEAD: u64 = 8_192;
/// Records that are looked through at last for the ends that are still missing.
const LOOK_UP: u64 = 131_072;

pub(super) struct Walk<'a, 'b> {
    archive: &'a Archive,
    reader: Reader,
    search: &'a Search<'a>,
    budget: Budget<'b>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    tip: Tip,
    /// Openings from here on are not looked at.
    start: u64,
    fold: Fold,
    rows: Rows,
    vocabulary: Vocabulary,
    /// Whether every record behind the walk was seen.
    seen_all: bool,
    /// Where the look ahead ended.
    ahead: u64,
    boots: HashMap<u64, String>,
    /// All openings from here to `start` were looked at.
    cursor: u64,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    read: u64,
    began: bool,
    stopped: Stopped,
    unread_ends: u64,
    holes: Holes,
    /// Ends may stand among what cannot be read, so that a missing one says nothing.
    is_torn: bool,
}

impl<'a, 'b> Walk<'a, 'b> {
    pub(super) fn new(archive: &'a Archive, reader: Reader, search: &'a Search<'a>, budget: Budget<'b>) -> Self {
        let (since, until) = search.query.times(search.now);
        Self {
            archive,
            reader,
            search,
            budget,
            since,
            until,
            tip: Tip::default(),
            start: 0,
            fold: Fold::default(),
            rows: Rows::new(search.view, search.query, search.limit),
            vocabulary: Vocabulary::default(),
            seen_all: false,
            ahead: 0,
            boots: HashMap::new(),
            cursor: 0,
            oldest: None,
            newest: None,
            read: 0,
            began: false,
            stopped: Stopped::Complete,
            unread_ends: 0,
            holes: Holes::default(),
            is_torn: false,
        }
    }

    pub(super) fn run(&mut self) {
        let (tip, unread) = tip(self.archive, &self.reader, self.budget.go_on);
        unread.iter().for_each(|unread| self.note(unread));
        let Some(tip) = tip else {
            self.stopped = Stopped::Budget;
            self.cursor = self.search.after.unwrap_or(FAR);
            return;
        };
        self.start = self.search.after.unwrap_or(tip.end).min(tip.end);
        self.cursor = self.start;
        self.tip = tip;
        let segments = self.segments();
        for at in (0..segments.len()).rev() {
            let done = segments.get(at).is_none_or(|segment| !self.segment(*segment));
            if done {
                break;
            }
        }
        self.note_missing_begin();
        self.look_up();
    }

    /// A ledger begins with record 0, unless somebody took its first files away.
    fn note_missing_begin(&mut self) {
        let Some(first) = self.reader.segments().first().copied() else {
            return;
        };
        let begin = || self.archive.begin_of(&self.reader, first, self.tip.end);
        let reaches = self
            .since
            .is_none_or(|since| begin().is_none_or(|begin| begin >= since));
        if first.first_seq > 0 && self.stopped == Stopped::Complete && reaches {
            self.note(&Unread {
                first: 0,
                next: Some(first.first_seq),
                why: None,
            });
        }
    }

    /// The segments that may hold what is asked for, oldest first.
    fn segments(&self) -> Vec<SegmentInfo> {
        let all: Vec<SegmentInfo> = self
            .reader
            .segments()
            .iter()
            .copied()
            .filter(|one| one.first_seq < self.start)
            .collect();
        if !self.archive.is_in_order(&self.reader) {
            return all;
        }
        let begin = |one: &SegmentInfo| {
            self.archive
                .begin_of(&self.reader, *one, self.tip.end)
                .unwrap_or(Timestamp::MAX)
        };
        let upto = self.until.map_or(all.len(), |until| {
            all.partition_point(|one| begin(one) <= until.plus(CLOCK_SLACK))
        });
        let from = self.since.map_or(0, |since| {
            all.partition_point(|one| begin(one) <= since.minus(CLOCK_SLACK))
                .saturating_sub(1)
        });
        all.get(from..upto.max(from)).unwrap_or_default().to_vec()
    }

    /// Goes through one segment; `false` when the search is over.
    fn segment(&mut self, segment: SegmentInfo) -> bool {
        let indexed = self
            .archive
            .blocks(&self.reader, segment, self.tip.end, self.budget.go_on);
        if let Some(unread) = &indexed.unread {
            self.note(unread);
        }
        if !indexed.whole {
            self.stopped = Stopped::Budget;
            return false;
        }
        for at in (0..indexed.index.len()).rev() {
            let Some(block) = indexed.index.get(at) else { continue };
            let later = block.first >= self.start || self.until.is_some_and(|until| block.from >= until);
            let earlier = self.since.is_some_and(|since| block.to < since);
            if later || earlier {
                // What ends an act may stand in what is skipped.
                self.seen_all &= !self.began;
                continue;
            }
            if self.began && !self.may_go_on() {
                self.stopped = Stopped::Budget;
                return false;
            }
            if !std::mem::replace(&mut self.began, true) {
                self.look_ahead(segment, indexed.index.get(at + 1), block.next);
            }
            self.budget.bytes = self.budget.bytes.saturating_sub(block.bytes);
            if !self.block(segment, block) {
                self.stopped = Stopped::Limit;
                return false;
            }
        }
        true
    }

    fn may_go_on(&mut self) -> bool {
        self.budget.bytes > 0 && (self.budget.go_on)()
    }

    /// Goes through one block from its end; `false` when there are rows enough.
    fn block(&mut self, segment: SegmentInfo, block: &Block) -> bool {
        let (leaves, unread) = read_block(&self.reader, segment, block);
        if let Some(unread) = &unread {
            self.note(unread);
        }
        for one in leaves.iter().rev() {
            self.read += 1;
            if self.is_foreign(&one.bytes, one.kind) {
                if let Some(id) = leaf::id_of(&one.bytes) {
                    self.fold.forget(id);
                }
            } else if let Some((row, boot)) = self.fold.push(Piece::of(one.seq, one.kind, &one.bytes))
                && row.first_seq < self.start
                && !self.found(row, &boot)
            {
                self.cursor = one.seq + 1;
                return false;
            }
            self.cursor = self.cursor.min(one.seq);
        }
        true
    }

    /// Whether a record that begins an act cannot be the asker's, told without reading it.
    fn is_foreign(&self, leaf: &[u8], kind: RecordKind) -> bool {
        let Scope::Own(id) = self.search.scope else {
            return false;
        };
        let ends = matches!(
            kind,
            RecordKind::Outcome | RecordKind::Close | RecordKind::Heartbeat | RecordKind::Issued | RecordKind::Answer
        );
        !ends && memchr::memmem::find(leaf, id.as_str().as_bytes()).is_none()
    }

    /// Takes an act that was read; `false` when it is one too many.
    fn found(&mut self, mut row: Row, boot: &str) -> bool {
        let timed = row.t != Timestamp::EPOCH;
        if timed && (self.since.is_some_and(|since| row.t < since) || self.until.is_some_and(|until| row.t >= until)) {
            return true;
        }
        if !self.search.scope.shows(&row) {
            return true;
        }
        let (t, seq) = (row.t, row.first_seq);
        let waits = row.awaits_end();
        if waits && !(self.seen_all && self.fold.dropped() == 0) {
            row.set_end("notRead", None);
        } else {
            self.tip.settle(&mut row, boot, self.archive.is_live());
        }
        // What is hidden is compared with nothing.
        let Some(row) = self.search.scope.view(row) else {
            return true;
        };
        let query = self.search.query;
        self.vocabulary.learn(&row, query);
        let unread = row.end_is("notRead");
        if unread && (query.asks_for_end() || (row.awaits_name() && query.asks_for_name())) {
            self.unread_ends += 1;
        }
        if query.matches(&row) {
            if self.rows.place(row) == Placed::Full {
                return false;
            }
            if unread {
                self.boots.insert(seq, boot.to_owned());
            }
        }
        if timed {
            self.oldest = Some(self.oldest.map_or(t, |oldest| oldest.min(t)));
            self.newest = Some(self.newest.map_or(t, |newest| newest.max(t)));
        }
        true
    }

    /// Collects the ends that stand right behind the place where the walk begins.
    fn look_ahead(&mut self, segment: SegmentInfo, next: Option<&Block>, from: u64) {
        let mut left = LOOK_AHEAD;
        self.ahead = from;
        let here = next.map(|block| self.reader.records_in_from(segment, block.first, block.offset));
        let behind = self
            .reader
            .segments()
            .iter()
            .filter(|one| one.first_seq > segment.first_seq);
        let walks = here.into_iter().chain(behind.map(|one| self.reader.records_in(*one)));
        for record in walks.flat_map(|walk| walk.until(self.tip.end)) {
            let Ok(record) = record else { return };
            if left == 0 || record.seq != self.ahead {
                return;
            }
            left -= 1;
            self.ahead = record.seq + 1;
            if matches!(record.kind, RecordKind::Outcome | RecordKind::Close) {
                self.fold.push(Piece::read(&record));
            }
        }
        self.seen_all = !self.is_torn;
    }

    /// Looks for the ends of those rows that still miss one.
    fn look_up(&mut self) {
        let mut missing: HashMap<String, usize> = HashMap::new();
        for (index, row) in self.rows.rows_mut().iter().enumerate() {
            if row.end_is("notRead") {
                missing.insert(row.id.clone(), index);
                missing.insert(by_number(row.first_seq), index);
            }
        }
        if missing.is_empty() {
            return;
        }
        let mut left = LOOK_UP;
        for record in self.reader.records_from(self.ahead).until(self.tip.end) {
            let Ok(record) = record else { return };
            if missing.is_empty() {
                return;
            }
            left -= 1;
            if left == 0 || (left.is_multiple_of(1_024) && !(self.budget.go_on)()) {
                return;
            }
            if matches!(record.kind, RecordKind::Outcome | RecordKind::Close)
                && let Piece::End(ending) = Piece::read(&record)
                && let Some(index) = missing.remove(&ending.key())
                && let Some(row) = self.rows.rows_mut().get_mut(index)
            {
                ending.join(row);
                missing.retain(|_, other| *other != index);
            }
        }
        if self.is_torn {
            return; // what was not found may stand where nothing can be read
        }
        let live = self.archive.is_live();
        for row in self.rows.rows_mut() {
            if let Some(boot) = self.boots.get(&row.first_seq) {
                self.tip.settle(row, boot, live);
            }
        }
    }

    /// Of what lies behind the place where this page begins, an earlier page has told.
    fn note(&mut self, unread: &Unread) {
        (self.is_torn, self.seen_all) = (true, false);
        if self.search.after.is_none_or(|after| unread.first < after) {
            self.holes.note(unread);
        }
    }

    pub(super) fn page(self) -> Page {
        let complete = self.stopped == Stopped::Complete;
        let first = self.reader.segments().first();
        let begin = || first.and_then(|one| self.archive.begin_of(&self.reader, *one, self.tip.end));
        let from = if complete {
            self.since.or_else(begin)
        } else {
            self.oldest.or(self.since)
        };
        let to = match (self.search.after, self.until) {
            (Some(_), _) => self.newest.unwrap_or(self.search.now),
            (None, Some(until)) => until.min(self.search.now),
            (None, None) => self.search.now,
        };
        let nearest = if self.rows.len() == 0 && self.rows.folded().total() == 0 {
            self.vocabulary.nearest(self.search.query)
        } else {
            Vec::new()
        };
        let (rows, folded) = self.rows.finish();
        let (holes, trouble) = self.holes.finish(*self.search.scope == Scope::All);
        let mut page = Page {
            rows,
            scope: self.search.scope.name(),
            note: None,
            range: Range { from, to },
            lag: self.tip.time.map(|time| self.search.now.since(time)),
            next: (!complete).then_some(self.cursor),
            stopped: self.stopped,
            folded,
            nearest,
            unread_ends: self.unread_ends,
            holes,
            trouble,
            read: self.read,
        };
        page.note = page.sentences(self.search.scope.sentence());
        page
    }
}
