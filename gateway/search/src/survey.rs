//! All acts that a query asks for, counted, with every record of theirs: what evidence is made of.
//!
//! A search shows the newest rows and may end early; this one looks at everything within its bounds or gives nothing, because a count
//! of a part would be taken for one of the whole. Nothing is folded and nothing joined: each call is an act, each record of the
//! ledger's own, too.
//!
//! It walks from the oldest record on, so that an act is whole when its end is met. What has not ended by the last record is
//! judged as it stands there.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use ledger::{Record, Spot};
use model::time::Timestamp;

use crate::archive::{Archive, Block, SearchError};
use crate::fold::{Ending, Piece};
use crate::leaf;
use crate::query::Query;
use crate::row::Row;
use crate::scan::{Tip, tip};
use crate::scope::Scope;

/// More acts than these are not counted one by one.
pub const MOST_MATCHED: usize = ledger::evidence::MAX_POPULATION;
/// Acts that wait for their end at one time: as many as calls may be in flight (`ledger::Options::max_open`). Of more than these the
/// oldest is taken as it stands.
const MOST_OPEN: usize = 1 << 16;
/// Records of one act that are told, and its end. A stream that lived for weeks has many signs of life.
const MOST_RECORDS: usize = 256;
/// How often somebody may say that it is enough.
const LOOK_UP_EVERY: u64 = 1_024;

/// What is surveyed.
#[derive(Clone, Debug)]
pub struct Survey<'q> {
    /// What is asked.
    pub query: &'q Query,
    /// Whose records may be seen.
    pub scope: &'q Scope,
    /// Now: what relative times mean.
    pub now: Timestamp,
}

/// What became of a survey.
#[derive(Debug)]
pub enum Surveyed {
    /// Everything was looked at.
    Whole(Population),
    /// More than [`MOST_MATCHED`] acts match.
    TooMany,
    /// The budget ended first.
    NotYet,
}

/// All that matched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// The bounds in time as they were understood; `None`: from the beginning.
    pub from: Option<Timestamp>,
    /// Before this time: now at the latest.
    pub to: Timestamp,
    /// The first record that was read.
    pub first: u64,
    /// The first behind the last one that was read.
    pub end: u64,
    /// Records among them with a time within the bounds, whoever's they are.
    pub within: u64,
    /// Acts that began within the bounds, of those that may be seen.
    pub range: u64,
    /// Those that the query asks for, by the number of the record that began them.
    pub matched: Vec<Matched>,
}

/// One act that matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matched {
    /// Where its records stand, in the order of their numbers; never empty.
    pub records: Vec<Spot>,
}

impl Matched {
    /// The number of the record that began it.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.records.first().map_or(0, |spot| spot.seq)
    }
}

impl Archive {
    /// Looks at everything within the query's bounds. Blocks; asks at each thousandth record whether to go on.
    ///
    /// # Errors
    /// A record cannot be read: a count would be wrong.
    pub fn survey(&self, survey: &Survey<'_>, go_on: &mut dyn FnMut() -> bool) -> Result<Surveyed, SearchError> {
        let reader = self.reader()?;
        let (Some(tip), unread) = tip(self, &reader, go_on) else {
            return Ok(Surveyed::NotYet);
        };
        if let Some(unread) = unread.into_iter().next() {
            return Err(self.lacks(unread));
        }
        let (from, until) = survey.query.times(survey.now);
        let Some(there) = self.there(&reader, tip.end, (from, until), go_on)? else {
            return Ok(Surveyed::NotYet);
        };
        let first = there.start;
        let mut walk = Walk {
            survey,
            tip: &tip,
            live: self.is_live(),
            from,
            until,
            last: there.end,
            open: BTreeMap::new(),
            by_id: HashMap::new(),
            found: Population {
                from,
                to: until.unwrap_or(survey.now).min(survey.now),
                first,
                end: first,
                ..Population::default()
            },
        };
        for record in reader.records_from(first).until(tip.end) {
            let record = record.map_err(|error| self.unreadable(error))?;
            if record.seq % LOOK_UP_EVERY == 0 && !go_on() {
                return Ok(Surveyed::NotYet);
            }
            if walk.is_behind(&record) {
                break;
            }
            walk.take(&record);
            if walk.found.matched.len() > MOST_MATCHED {
                return Ok(Surveyed::TooMany);
            }
        }
        Ok(walk.finish())
    }

    /// From the segment with the first record of these bounds, to the first record behind the last of them: by the times of all records,
    /// since a clock that was wrong once puts some where nobody would look for them. `None`: the budget ended first; what was looked
    /// at is kept, and the next one goes on from there.
    fn there(
        &self,
        reader: &ledger::Reader,
        end: u64,
        (from, until): (Option<Timestamp>, Option<Timestamp>),
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Range<u64>>, SearchError> {
        let is_within =
            |block: &Block| from.is_none_or(|from| block.to >= from) && until.is_none_or(|until| block.from < until);
        let mut there: Option<Range<u64>> = None;
        for segment in reader.segments().iter().filter(|segment| segment.first_seq < end) {
            let indexed = self.blocks(reader, *segment, end, go_on);
            if let Some(unread) = indexed.unread {
                return Err(self.lacks(unread));
            }
            if !indexed.whole {
                return Ok(None);
            }
            for block in indexed.index.iter().filter(|block| is_within(block)) {
                there.get_or_insert(segment.first_seq..block.next).end = block.next.min(end);
            }
        }
        Ok(Some(there.unwrap_or(end..end)))
    }
}

struct Walk<'a> {
    survey: &'a Survey<'a>,
    tip: &'a Tip,
    live: bool,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    /// From here on no record lies within the bounds.
    last: u64,
    /// Acts that wait for their end, by the number of the record that began them.
    open: BTreeMap<u64, Open>,
    by_id: HashMap<String, u64>,
    found: Population,
}

struct Open {
    row: Row,
    boot: String,
    records: Vec<Spot>,
}

impl Walk<'_> {
    /// Whether nothing that is asked for can stand from here on.
    fn is_behind(&self, record: &Record) -> bool {
        self.open.is_empty() && record.seq >= self.last
    }

    fn is_within(&self, time: Timestamp) -> bool {
        // A record without a readable time may lie in any range, and is shown.
        time == Timestamp::EPOCH
            || self.from.is_none_or(|from| time >= from) && self.until.is_none_or(|until| time < until)
    }

    fn take(&mut self, record: &Record) {
        self.found.end = record.seq + 1;
        if self.is_within(leaf::time_of(&record.leaf).unwrap_or_default()) {
            self.found.within += 1;
        }
        match Piece::read(record) {
            Piece::Begin(row, boot) => self.begin(*row, boot, record.spot()),
            Piece::End(ending) => self.end(*ending, record.spot()),
        }
    }

    fn begin(&mut self, row: Row, boot: String, spot: Spot) {
        if !self.is_within(row.t) || !self.survey.scope.shows(&row) {
            return;
        }
        self.found.range += 1;
        let open = Open {
            boot,
            records: vec![spot],
            row,
        };
        if !open.row.awaits_end() {
            self.judge(open);
            return;
        }
        if !open.row.id.is_empty() {
            self.by_id.insert(open.row.id.clone(), spot.seq);
        }
        self.open.insert(spot.seq, open);
        if self.open.len() > MOST_OPEN
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.judge_unended(oldest);
        }
    }

    fn end(&mut self, ending: Ending, spot: Spot) {
        let by_id = self.by_id.get(&ending.id).copied();
        let Some(first) = by_id.or(ending.pair).filter(|first| self.open.contains_key(first)) else {
            return;
        };
        let is_last = ending.is_last();
        if let Some(open) = self.open.get_mut(&first) {
            if open.records.len() < MOST_RECORDS || is_last {
                open.records.push(spot);
            }
            ending.join(&mut open.row);
        }
        if is_last && let Some(open) = self.open.remove(&first) {
            self.by_id.remove(&open.row.id);
            self.judge(open);
        }
    }

    fn judge_unended(&mut self, mut open: Open) {
        self.by_id.remove(&open.row.id);
        self.tip.settle(&mut open.row, &open.boot, self.live);
        self.judge(open);
    }

    fn judge(&mut self, open: Open) {
        let Open { row, records, .. } = open;
        let row = self.survey.scope.view(row);
        if row.is_some_and(|row| self.survey.query.matches(&row)) {
            self.found.matched.push(Matched { records });
        }
    }

    fn finish(mut self) -> Surveyed {
        for open in std::mem::take(&mut self.open).into_values() {
            self.judge_unended(open);
        }
        if self.found.matched.len() > MOST_MATCHED {
            return Surveyed::TooMany;
        }
        self.found.matched.sort_by_key(Matched::first);
        Surveyed::Whole(self.found)
    }
}
