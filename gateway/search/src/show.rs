//! One act with all its records, by its id.
//!
//! A request's id is a UUIDv7 and so says when it was made: its neighbourhood in time is looked at first, a wider one next, and
//! everything after that.

use std::collections::HashSet;
use std::time::Duration;

use ledger::{Reader, Record, SegmentInfo, Spot};
use model::event::RecordKind;
use model::event::names::NAME_CLASS;
use model::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::archive::{Archive, Block, Leaf, SearchError, Unread, read_block};
use crate::fold::Piece;
use crate::row::Row;
use crate::scan::{CLOCK_SLACK, Hole, Holes, tip};
use crate::scope::{Hides, Scope, Sight};

/// What stands sealed beside a record, with what the record says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SealedPart {
    /// What it is: `query`, `agent`, `command`, `path`, `body`, `answer`, `diff`.
    pub name: String,
    /// Class of the key it is sealed under.
    pub class: String,
    /// Public name of that key.
    pub key: String,
    /// HMAC-SHA256 of the plain bytes, keyed by the salt that is sealed with them; hexadecimal.
    pub commitment: String,
    /// The sealed bytes.
    #[serde(skip)]
    pub bytes: Vec<u8>,
}

/// One act.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// As in a search.
    pub record: Row,
    /// Its records as they stand in the ledger, oldest first, members unknown to this version included.
    pub records: Vec<Box<RawValue>>,
    /// What stands sealed beside its records.
    #[serde(skip)]
    pub sealed: Vec<SealedPart>,
    /// Where its records stand, as many and in the order as [`Shown::records`].
    #[serde(skip)]
    places: Vec<(RecordKind, Spot)>,
    /// What of it may be seen, and done with it.
    #[serde(skip)]
    pub sight: Sight,
    /// Further acts of the same id, oldest first: of calls that were read from another log, whose id is their caller's choice.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Self>,
    /// What could not be read or was not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Shown {
    /// The records themselves say all: they are not shown where anything is hidden.
    fn withhold(&mut self) {
        if self.sight.hides.is_empty() {
            return;
        }
        self.records.clear();
        self.sealed.clear();
        let hidden: Vec<&str> = self.sight.hides.iter().copied().map(Hides::name).collect();
        let why = format!(
            "your audit role hides {}, so the records themselves are not shown",
            hidden.join(", ")
        );
        self.note = Some(match self.note.take() {
            Some(note) => format!("{note}; {why}"),
            None => why,
        });
    }

    /// Where the record stands that begins the act.
    #[must_use]
    pub fn begin(&self) -> Option<Spot> {
        self.places.first().map(|(_, spot)| *spot)
    }

    /// Where the record stands that says how it ended; `None` while it goes on, and where the first record says all.
    #[must_use]
    pub fn end(&self) -> Option<Spot> {
        let ends = |(kind, _): &&(RecordKind, Spot)| matches!(kind, RecordKind::Outcome | RecordKind::Close);
        self.places.iter().find(ends).map(|(_, spot)| *spot)
    }
}

/// What became of looking for an id.
#[derive(Debug)]
pub enum Found {
    /// It is there and may be seen.
    Yes(Box<Shown>),
    /// It is not there, or may not be seen: the two look the same, and cost the same.
    No,
    /// As [`Found::No`], among what can be read: it may stand among these records, which cannot.
    Unread(Vec<Hole>),
    /// The budget ended before all was looked at.
    NotYet,
}

/// What became of looking for the record that begins an act.
#[derive(Debug)]
pub enum Begun {
    /// It is there and may be seen: the act as in a search, in flight.
    Yes(Box<Row>),
    /// It is not there, or may not be seen: the two look the same.
    No,
    /// The budget ended before all was looked at.
    NotYet,
}

/// Between an id and the record that begins its request there is rarely more: a clock that was set, or a person who was asked.
const CLOSE: Duration = Duration::from_secs(60);
/// Records of one act that are shown at most; a stream that lived for weeks has many signs of life.
const MOST_RECORDS: usize = 256;
/// Acts of one id that are shown at most; of more, the number is said.
const MOST_ACTS: usize = 100;

impl Archive {
    /// Finds one act by the id of its request or the sequence number of a record; by an id that stands in another system's log, all acts that
    /// have it, in the order of the ledger.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn show(&self, id: &str, scope: &Scope, go_on: &mut dyn FnMut() -> bool) -> Result<Found, SearchError> {
        let reader = self.reader()?;
        let Some(wanted) = Wanted::read(id) else {
            return Ok(Found::No);
        };
        let mut holes = Holes::default();
        let looked = self.look(&reader, &Eye { wanted: &wanted, scope }, &mut holes, go_on);
        Ok(match looked {
            Looked::Found(_, _, leaf) if wanted.is_chosen(&leaf) => self.show_all(&reader, &wanted, scope, go_on),
            Looked::Found(segment, block, _) => self.collect(&reader, &wanted, segment, &block, scope, go_on),
            Looked::NotYet => Found::NotYet,
            Looked::Nowhere if holes.is_empty() => Found::No,
            Looked::Nowhere => Found::Unread(holes.finish(*scope == Scope::All).0),
        })
    }

    /// Finds the record that begins an act of which the caller knows that it goes on, and reads nothing of what came after it:
    /// that costs no more when the act is old.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn going_on(&self, id: &str, scope: &Scope, go_on: &mut dyn FnMut() -> bool) -> Result<Begun, SearchError> {
        let reader = self.reader()?;
        let Some(wanted) = Wanted::read(id) else {
            return Ok(Begun::No);
        };
        let eye = Eye { wanted: &wanted, scope };
        Ok(match self.look(&reader, &eye, &mut Holes::default(), go_on) {
            Looked::Found(_, _, leaf) => match Piece::of(leaf.seq, leaf.kind, &leaf.bytes) {
                Piece::Begin(row, _) => scope.view(*row).map_or(Begun::No, |mut row| {
                    row.set_end("inFlight", None);
                    Begun::Yes(Box::new(row))
                }),
                Piece::End(_) => Begun::No,
            },
            Looked::NotYet => Begun::NotYet,
            Looked::Nowhere => Begun::No,
        })
    }

    /// All acts of an id that is no act's own.
    fn show_all(&self, reader: &Reader, wanted: &Wanted<'_>, scope: &Scope, go_on: &mut dyn FnMut() -> bool) -> Found {
        let end = self.end();
        let eye = Eye { wanted, scope };
        let (mut acts, mut known, mut beyond) = (Vec::new(), HashSet::new(), 0_u64);
        let mut whole = true;
        'all: for segment in reader.segments() {
            let indexed = self.blocks(reader, *segment, end, go_on);
            // What cannot be read may have more of them.
            whole &= indexed.whole && indexed.unread.is_none();
            for block in indexed.index.iter() {
                if !go_on() {
                    whole = false;
                    break 'all;
                }
                let (leaves, unread) = read_block(reader, *segment, block);
                whole &= unread.is_none();
                for leaf in leaves {
                    let Some(id) = eye.sees(&leaf).then(|| own_id(&leaf)) else {
                        continue;
                    };
                    if acts.len() >= MOST_ACTS {
                        beyond += u64::from(!known.contains(&id));
                    } else if known.insert(id) {
                        acts.push((*segment, *block, leaf.seq));
                    }
                }
            }
        }
        let mut shown = Vec::new();
        for (segment, block, seq) in acts {
            match self.collect(reader, &Wanted::Number(seq), segment, &block, scope, go_on) {
                Found::Yes(one) => shown.push(*one),
                Found::No | Found::Unread(_) => {}
                Found::NotYet => whole = false,
            }
        }
        let mut rest = shown.into_iter();
        let Some(mut first) = rest.next() else {
            return if whole { Found::No } else { Found::NotYet };
        };
        first.others = rest.collect();
        let mut notes: Vec<String> = first.note.take().into_iter().collect();
        if !first.others.is_empty() {
            notes.push(format!(
                "{} acts have this id, which callers choose: each is shown, oldest first",
                first.others.len() + 1
            ));
        }
        if beyond > 0 {
            notes.push(format!("{beyond} later records with this id are not shown"));
        }
        if !whole {
            notes.push("not all of the ledger was looked at: there may be more with this id".to_owned());
        }
        first.note = Some(notes.join("; ")).filter(|note| !note.is_empty());
        Found::Yes(Box::new(first))
    }

    fn look(&self, reader: &Reader, eye: &Eye<'_>, holes: &mut Holes, go_on: &mut dyn FnMut() -> bool) -> Looked {
        let near = |slack: Duration| {
            eye.wanted
                .time()
                .map(|time| Some((time.minus(slack), time.plus(slack))))
        };
        let places = [near(CLOSE), near(CLOCK_SLACK), Some(None)];
        for bounds in places.into_iter().flatten() {
            match self.find(reader, eye, bounds, holes, go_on) {
                Looked::Nowhere => {}
                found => return found,
            }
        }
        Looked::Nowhere
    }

    fn find(
        &self,
        reader: &Reader,
        eye: &Eye<'_>,
        bounds: Option<(Timestamp, Timestamp)>,
        holes: &mut Holes,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Looked {
        let (end, wanted) = (self.end(), eye.wanted);
        let first = reader.segments().first().map_or(0, |segment| segment.first_seq);
        // The files that a ledger begins with are gone.
        if first > 0 && wanted.may_stand_in(0, Some(first)) {
            holes.note(&Unread {
                first: 0,
                next: Some(first),
                why: None,
            });
        }
        for segment in self.segments_between(reader, bounds, end).iter().rev() {
            if let Wanted::Number(seq) = wanted
                && (*seq < segment.first_seq || segment.next_seq.is_some_and(|next| *seq >= next))
            {
                continue;
            }
            let indexed = self.blocks(reader, *segment, end, go_on);
            note_unless_elsewhere(wanted, indexed.unread.as_ref(), holes);
            if !indexed.whole {
                return Looked::NotYet;
            }
            for block in indexed.index.iter().rev() {
                let outside = bounds.is_some_and(|(from, to)| block.to < from || block.from > to);
                if outside || matches!(wanted, Wanted::Number(seq) if !(block.first..block.next).contains(seq)) {
                    continue;
                }
                if !go_on() {
                    return Looked::NotYet;
                }
                let (leaves, unread) = read_block(reader, *segment, block);
                note_unless_elsewhere(wanted, unread.as_ref(), holes);
                if let Some(leaf) = leaves.into_iter().find(|leaf| eye.sees(leaf)) {
                    return Looked::Found(*segment, *block, leaf);
                }
            }
        }
        Looked::Nowhere
    }

    fn segments_between(&self, reader: &Reader, bounds: Option<(Timestamp, Timestamp)>, end: u64) -> Vec<SegmentInfo> {
        let all = reader.segments();
        let Some((from, to)) = bounds else { return all.to_vec() };
        let begin = |one: &SegmentInfo| self.begin_of(reader, *one, end).unwrap_or(Timestamp::MAX);
        let upto = all.partition_point(|one| begin(one) <= to);
        let first = all.partition_point(|one| begin(one) <= from).saturating_sub(1);
        all.get(first..upto.max(first)).unwrap_or_default().to_vec()
    }

    /// Walks on from the block in which the act begins until its end.
    fn collect(
        &self,
        reader: &Reader,
        wanted: &Wanted<'_>,
        segment: SegmentInfo,
        block: &Block,
        scope: &Scope,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Found {
        let end = self.end();
        let here = reader.records_in_from(segment, block.first, block.offset);
        let behind = reader.segments().iter().filter(|one| one.first_seq > segment.first_seq);
        let walks = std::iter::once(here).chain(behind.map(|one| reader.records_in(*one)));
        let (mut act, mut next) = (Act::default(), block.first);
        for (at, record) in walks.flat_map(|walk| walk.until(end)).enumerate() {
            match record {
                // Where a file is gone the next one goes on as if nothing were missing.
                Ok(record) if record.seq == next => act.take(wanted, &record),
                read => {
                    let unread = Unread {
                        first: next,
                        next: read.as_ref().ok().map(|record| record.seq),
                        why: read.err(),
                    };
                    act.note_unread(&unread, scope);
                    break;
                }
            }
            next += 1;
            // What begins and ends in one record has nothing behind it.
            if act.is_whole() {
                break;
            }
            if at % 1_024 == 1_023 && !go_on() {
                act.note = Some("its end was not looked for to the end of the ledger".to_owned());
                break;
            }
        }
        let is_cut = end != u64::MAX && next < end && !act.is_whole() && act.note.is_none();
        if is_cut && !self.has_more_than(reader) {
            let unread = Unread {
                first: next,
                next: Some(end),
                why: None,
            };
            act.note_unread(&unread, scope);
        }
        let Some((mut row, sight)) = act.row.and_then(|row| scope.sight(&row).map(|sight| (row, sight))) else {
            return Found::No;
        };
        // A sign of life says how it stood then, and no more about what was not read than no word at all.
        if row.awaits_end() || row.end_is("inFlight") {
            match act.note.is_none().then(|| tip(self, reader, go_on).0) {
                Some(Some(tip)) => tip.settle(&mut row, &act.boot, self.is_live()),
                unread => {
                    row.set_end("notRead", None);
                    if unread.is_some() {
                        act.note = Some("whether its gateway still runs was not looked up".to_owned());
                    }
                }
            }
        }
        // The same act, without what is hidden of it.
        let Some(row) = scope.view(row) else {
            return Found::No;
        };
        let mut shown = Shown {
            record: row,
            records: act.raw,
            sealed: act.sealed,
            places: act.places,
            sight,
            others: Vec::new(),
            note: act.note,
        };
        shown.withhold();
        Found::Yes(Box::new(shown))
    }
}

/// What is looked for, and by whom: what they may not see is passed by as if it were another record, so that it is looked for on
/// and on like one that is not there.
struct Eye<'e> {
    wanted: &'e Wanted<'e>,
    scope: &'e Scope,
}

impl Eye<'_> {
    fn sees(&self, leaf: &Leaf) -> bool {
        self.wanted.begins(leaf.seq, leaf.kind, &leaf.bytes)
            && match Piece::of(leaf.seq, leaf.kind, &leaf.bytes) {
                Piece::Begin(row, _) => self.scope.shows(&row),
                Piece::End(_) => self.scope.shows(&Row::unreadable(leaf.seq, leaf.kind, None)),
            }
    }
}

fn note_unless_elsewhere(wanted: &Wanted<'_>, unread: Option<&Unread>, holes: &mut Holes) {
    if let Some(unread) = unread.filter(|unread| wanted.may_stand_in(unread.first, unread.next)) {
        holes.note(unread);
    }
}

enum Looked {
    Found(SegmentInfo, Block, Leaf),
    Nowhere,
    NotYet,
}

enum Wanted<'w> {
    Id(&'w str),
    Number(u64),
}

impl<'w> Wanted<'w> {
    fn read(id: &'w str) -> Option<Self> {
        match id.parse::<u64>() {
            Ok(seq) => Some(Self::Number(seq)),
            Err(_) if id.is_empty() || id.len() > 64 || id.contains(['"', '\\']) => None,
            Err(_) => Some(Self::Id(id)),
        }
    }

    fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Number(_) => None,
            Self::Id(id) => time_of_id(id),
        }
    }

    /// Whether it may be one of these records, which cannot be read.
    fn may_stand_in(&self, first: u64, next: Option<u64>) -> bool {
        match self {
            Self::Number(seq) => *seq >= first && next.is_none_or(|next| *seq < next),
            Self::Id(_) => true,
        }
    }

    /// Whether it was found by another id than its own.
    fn is_chosen(&self, leaf: &Leaf) -> bool {
        matches!(self, Self::Id(id) if own_id(leaf) != *id)
    }

    fn begins(&self, seq: u64, kind: RecordKind, leaf: &[u8]) -> bool {
        match self {
            Self::Number(wanted) => seq == *wanted,
            Self::Id(id) => {
                memchr::memmem::find(leaf, id.as_bytes()).is_some()
                    && matches!(Piece::of(seq, kind, leaf), Piece::Begin(row, _) if row.id == *id || row.audit_id.as_deref() == Some(*id))
            }
        }
    }
}

/// The id by which an act's records are joined.
fn own_id(leaf: &Leaf) -> String {
    match Piece::of(leaf.seq, leaf.kind, &leaf.bytes) {
        Piece::Begin(row, _) => row.id,
        Piece::End(_) => String::new(),
    }
}

#[derive(Default)]
struct Act {
    row: Option<Row>,
    boot: String,
    raw: Vec<Box<RawValue>>,
    sealed: Vec<SealedPart>,
    places: Vec<(RecordKind, Spot)>,
    note: Option<String>,
    ended: bool,
}

impl Act {
    fn take(&mut self, wanted: &Wanted<'_>, record: &Record) {
        if self.row.is_none() && !wanted.begins(record.seq, record.kind, &record.leaf) {
            return;
        }
        match (Piece::read(record), &mut self.row) {
            (Piece::Begin(row, boot), None) => {
                (self.row, self.boot) = (Some(*row), boot);
                self.sealed = sealed(record);
            }
            // The number of a record that ends something: shown by itself.
            (Piece::End(_), None) => {
                self.row = Some(Row::unreadable(
                    record.seq,
                    record.kind,
                    crate::leaf::time_of(&record.leaf),
                ));
                self.ended = true;
            }
            (Piece::Begin(other, _), Some(row)) if !row.id.is_empty() && other.id == row.id => {}
            (Piece::End(ending), Some(row)) if ending.belongs_to(row) => {
                self.ended |= ending.is_last();
                if self.sealed.len() < MOST_RECORDS {
                    self.sealed.extend(sealed(record));
                }
                ending.join(row);
            }
            _ => return,
        }
        // The end is shown in any case.
        if (self.raw.len() < MOST_RECORDS || self.ended)
            && let Ok(text) = std::str::from_utf8(&record.leaf)
            && let Ok(raw) = RawValue::from_string(text.to_owned())
        {
            self.raw.push(raw);
            self.places.push((record.kind, record.spot()));
        }
    }

    fn note_unread(&mut self, unread: &Unread, scope: &Scope) {
        let mut holes = Holes::default();
        holes.note(unread);
        let (_, words) = holes.finish(*scope == Scope::All);
        self.note = words.map(|words| format!("part of the ledger cannot be read: {words}"));
    }

    fn is_whole(&self) -> bool {
        self.ended
            || self
                .row
                .as_ref()
                .is_some_and(|row| !row.awaits_end() && !row.end_is("inFlight"))
    }
}

/// The parts of a record, in the order in which it names them.
fn sealed(record: &Record) -> Vec<SealedPart> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        parts: Vec<SealedPart>,
    }
    let named: Named = serde_json::from_slice(&record.leaf).unwrap_or_default();
    let parts = named.parts.into_iter().zip(&record.parts);
    // Names have been put back where they can be.
    let parts = parts.filter(|(part, _)| part.class != NAME_CLASS);
    parts
        .map(|(part, bytes)| SealedPart {
            bytes: bytes.clone(),
            ..part
        })
        .collect()
}

/// The time in a UUIDv7 (RFC 9562 §5.7).
fn time_of_id(id: &str) -> Option<Timestamp> {
    let hex: String = id.chars().filter(|c| *c != '-').collect();
    let is_v7 = hex.len() == 32 && hex.is_ascii() && hex.as_bytes().get(12) == Some(&b'7');
    let millis = i64::from_str_radix(hex.get(..12).filter(|_| is_v7)?, 16).ok()?;
    let time = Duration::from_millis(u64::try_from(millis).ok()?);
    Some(Timestamp::EPOCH.plus(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_request_says_when_it_was_made() {
        let time = time_of_id("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").unwrap();
        assert_eq!(time.to_string(), "2022-02-22T19:22:22.000000Z"); // the example of RFC 9562, A.6
        assert_eq!(time_of_id("017f22e2-79b0-4cc3-98c4-dc0c0c07398f"), None);
        assert_eq!(time_of_id("last"), None);
    }
}
