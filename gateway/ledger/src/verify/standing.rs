//! The check that never ends: a gateway goes through its own sealed segments again and again, a piece at a time, as slowly as it is
//! told to. What it trusts is what it holds itself, its key.
//!
//! A piece is read by the reader, a record at a time, so that nothing larger than a record is held. Only where something does not
//! hold, the segment is looked at whole, as [`super::verify`] does, to say which record.
//!
//! Not here: when the next piece is due, and whom to tell (whoever calls [`Standing::step`]); the segment that is being written,
//! which its writer knows.

use std::collections::VecDeque;
use std::sync::Arc;

use super::heads::{Head, Heads};
use super::{Chain, Fault, Finding, KEPT, Trust, io, segment};
use crate::disk::Disk;
use crate::error::ReadError;
use crate::note::VerifierKey;
use crate::options::to_u64;
use crate::reader::{Reader, Records, SegmentInfo};
use crate::recovery::footer_at_end;
use crate::segment::segment_name;
use crate::tree::{Frontier, leaf_hash};

/// Goes round and round over a ledger.
#[derive(Debug)]
pub struct Standing {
    disk: Arc<dyn Disk>,
    trust: Trust,
    /// The first record that this round has not come to.
    reached: u64,
    round: Option<Round>,
}

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// What does not hold.
    pub findings: Vec<Finding>,
    /// The first record of the segment with which a later run goes on; 0 when the round is over.
    pub reached: u64,
    /// Whether all that is sealed was looked at: the next step begins anew.
    pub is_over: bool,
}

/// One time over all sealed segments.
#[derive(Debug)]
struct Round {
    ahead: VecDeque<SegmentInfo>,
    /// What the records so far lead to; `None` behind a resumption or damage.
    before: Option<Frontier>,
    walk: Option<Walk>,
    /// Durable records when the folder was listed.
    live: u64,
}

/// A segment of which some was read.
#[derive(Debug)]
struct Walk {
    segment: SegmentInfo,
    records: Records,
    frontier: Frontier,
    heads: VecDeque<Head>,
    /// Where the last record that was read begins.
    offset: u64,
    is_doubtful: bool,
}

impl Standing {
    /// Goes on at the segment that begins with `from` ([`Step::reached`] of an earlier run, or 0). `keys` are those that sign this
    /// ledger.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, keys: Vec<VerifierKey>, from: u64) -> Self {
        let trust = Trust {
            keys,
            remembered: Vec::new(),
        };
        Self {
            disk,
            trust,
            reached: from,
            round: None,
        }
    }

    /// Reads on for about `most` bytes, to the end of a segment at most. `live` is how many records are durable now: all of them have to be
    /// in the folder. What cannot be read is a finding, too.
    pub fn step(&mut self, most: u64, live: u64) -> Step {
        let mut step = Step::default();
        match self.round.take() {
            Some(round) => self.go_on(round, most, &mut step),
            None => match self.begin(live) {
                Ok(round) => self.go_on(round, most, &mut step),
                Err(error) => {
                    step.findings.push(self.unreadable(self.reached, &error));
                    self.end(&mut step);
                }
            },
        }
        step.reached = self.reached;
        step
    }

    fn begin(&self, live: u64) -> Result<Round, ReadError> {
        let reader = Reader::open_on(Arc::clone(&self.disk))?;
        let ahead = reader
            .segments()
            .iter()
            .filter(|segment| segment.first_seq >= self.reached);
        Ok(Round {
            ahead: ahead.copied().collect(),
            // Only the beginning of the ledger is known beforehand.
            before: (self.reached == 0).then(Frontier::default),
            walk: None,
            live,
        })
    }

    fn go_on(&mut self, mut round: Round, most: u64, step: &mut Step) {
        let walk = match round.walk.take() {
            Some(walk) => Ok(Some(walk)),
            None => self.next(&mut round, step),
        };
        match walk {
            Ok(Some(mut walk)) => {
                if walk.read(most, step) {
                    self.judge(walk, &mut round, step);
                } else {
                    round.walk = Some(walk);
                }
                self.round = Some(round);
            }
            Ok(None) => self.end(step),
            Err((segment, error)) => {
                step.findings.push(self.unreadable(segment.first_seq, &error));
                (round.before, self.reached) = (None, segment.next_seq.unwrap_or(self.reached));
                self.round = Some(round);
            }
        }
    }

    /// Opens the next sealed segment. At the last one, which is being written, only where it begins is looked at.
    fn next(&self, round: &mut Round, step: &mut Step) -> Result<Option<Walk>, (SegmentInfo, ReadError)> {
        let Some(segment) = round.ahead.pop_front() else {
            // Sealed to its end, or empty: then everything that is durable has been seen.
            let seen = round.before.as_ref().map_or(round.live, Frontier::size);
            if seen < round.live {
                step.findings.push(self.finding(Fault::Missing, seen, round.live));
            }
            return Ok(None);
        };
        let at = |error| (segment, error);
        let reader = Reader::open_on(Arc::clone(&self.disk)).map_err(at)?;
        let begin = reader.frontier(segment).map_err(at)?;
        let follows = round.before.as_ref().is_none_or(|before| *before == begin);
        if segment.next_seq.is_none() && reader.sealed_end(segment).is_none() {
            if !follows {
                let seen = round.before.as_ref().map_or(0, Frontier::size);
                let fault = if begin.size() > seen {
                    Fault::Missing
                } else {
                    Fault::Header
                };
                step.findings.push(self.finding(fault, seen, begin.size().max(seen)));
            }
            return Ok(None);
        }
        let heads = self.heads_of(segment).map_err(at)?;
        let is_doubtful = !follows || !heads.findings.is_empty();
        let behind = |head: &Head| head.size > begin.size();
        Ok(Some(Walk {
            segment,
            records: reader.records_in(segment),
            heads: heads.list.into_iter().filter(behind).collect(),
            frontier: begin,
            offset: 0,
            is_doubtful,
        }))
    }

    /// What was signed within a segment. A folder that cannot be listed is said: no list is not an empty one.
    fn heads_of(&self, segment: SegmentInfo) -> Result<Heads, ReadError> {
        let kept = segment_name(segment.first_seq).replace(".seg", KEPT);
        let names = self.disk.list().map_err(|source| io(&*self.disk, &kept, source))?;
        let names: Vec<_> = names.into_iter().filter(|name| *name == kept).collect();
        Heads::read(&*self.disk, &names, &self.trust)
    }

    /// A segment was read to its end: it holds, or it is looked at whole.
    fn judge(&mut self, walk: Walk, round: &mut Round, step: &mut Step) {
        let Walk { segment, frontier, .. } = &walk;
        if walk.is_doubtful || !self.ends_well(&walk) {
            round.before = self.locate(*segment, round, step);
        } else {
            round.before = Some(frontier.clone());
        }
        self.reached = segment.next_seq.unwrap_or_else(|| frontier.size());
    }

    fn ends_well(&self, walk: &Walk) -> bool {
        let footer = footer_at_end(&*self.disk, &segment_name(walk.segment.first_seq));
        let by_footer = match footer {
            Ok(Some(footer)) => footer.next_seq == walk.frontier.size() && footer.root == walk.frontier.root(),
            // An abandoned segment has none, and its successor says what it leads to.
            Ok(None) => walk.segment.next_seq.is_some(),
            Err(_) => false,
        };
        let by_next = match walk.segment.next_seq {
            Some(next_seq) => {
                let next = SegmentInfo {
                    first_seq: next_seq,
                    next_seq: None,
                };
                let reader = Reader::unread(Arc::clone(&self.disk));
                reader.frontier(next).is_ok_and(|next| next == walk.frontier)
            }
            None => true,
        };
        by_footer && by_next && walk.heads.is_empty()
    }

    /// Says what does not hold, and what the segment leads to.
    fn locate(&self, segment: SegmentInfo, round: &Round, step: &mut Step) -> Option<Frontier> {
        let found = self.heads_of(segment).and_then(|heads| {
            let examined = segment::examine(&*self.disk, segment.first_seq, segment.next_seq, &heads.list)?;
            let expected = round.before.as_ref().map_or(segment.first_seq, Frontier::size);
            let mut chain = Chain::from(Arc::clone(&self.disk), heads, expected, round.before.clone());
            step.bytes += examined.bytes;
            chain.take(examined);
            Ok(chain)
        });
        match found {
            Ok(chain) => {
                step.findings.extend(chain.report.findings);
                chain.frontier
            }
            Err(error) => {
                step.findings.push(self.unreadable(segment.first_seq, &error));
                None
            }
        }
    }

    fn end(&mut self, step: &mut Step) {
        (self.round, self.reached, step.is_over) = (None, 0, true);
    }

    fn finding(&self, fault: Fault, from: u64, until: u64) -> Finding {
        Finding {
            fault,
            records: from..until,
            file: self.disk.display(&segment_name(from)),
            offset: 0,
        }
    }

    fn unreadable(&self, first: u64, error: &ReadError) -> Finding {
        let why = match error {
            ReadError::Io { source, .. } => source.to_string(),
            ReadError::Damaged { why, .. } => why.to_string(),
        };
        self.finding(Fault::Unreadable(why), first, first)
    }
}

impl Walk {
    /// Reads on; true at the end of the segment, or where it does not hold.
    fn read(&mut self, most: u64, step: &mut Step) -> bool {
        let begin = self.offset;
        loop {
            let record = match self.records.next() {
                None => return true,
                Some(Err(_)) => {
                    self.is_doubtful = true;
                    return true;
                }
                Some(Ok(record)) => record,
            };
            let parts: usize = record.parts.iter().map(Vec::len).sum();
            step.bytes += to_u64(record.leaf.len() + parts);
            self.offset = record.offset;
            self.frontier.push(leaf_hash(&record.leaf));
            self.is_doubtful |= record.check_parts().is_err() || !self.agrees();
            if self.is_doubtful {
                return true;
            }
            if self.offset.saturating_sub(begin) >= most {
                return false;
            }
        }
    }

    /// Whether what was signed at this size is what was read.
    fn agrees(&mut self) -> bool {
        let size = self.frontier.size();
        match self.heads.pop_front_if(|head| head.size <= size) {
            Some(head) => head.size == size && head.root == self.frontier.root(),
            None => true,
        }
    }
}
