//! The check that never ends: a gateway goes through its own records again and again, a piece at a time, as slowly as it is
//! told to. What it trusts is what it holds itself: its key, and in memory the tree as its writer made it.
//!
//! The second is what finds a forgery that agrees with itself: every record behind it computed anew, headers and footers too, and all
//! checkpoints taken away. The tree in memory says no to it in the same round, and trees of earlier rounds, of which [`MOST_TREES`] are
//! remembered, say where.
//!
//! A piece is read by the reader, a record at a time, so that nothing larger than a record is held. Only where something does not
//! hold, the segment is looked at whole, as [`super::verify`] does, to say which record.
//!
//! Not here: when the next piece is due, and whom to tell (whoever calls [`StandingCheck::step`]); records that are not durable yet.

use std::collections::VecDeque;
use std::sync::Arc;

use super::heads::{Head, Heads};
use super::segment::Spot;
use super::straight::Room;
use super::{Chain, FINDINGS_MAX, Fault, Finding, KEPT, Statements, Trust, add, io, segment};
use crate::disk::Disk;
use crate::error::ReadError;
use crate::note::VerifierKey;
use crate::options::to_u64;
use crate::reader::{Reader, Records, SegmentInfo};
use crate::recovery::footer_at_end;
use crate::segment::segment_name;
use crate::tree::{self, Frontier, leaf_hash};

/// Trees of the run that are remembered. One more, and every second one is forgotten.
const MOST_TREES: usize = 256;
/// What their findings name in place of a file with a checkpoint.
const IN_MEMORY: &str = "the memory of the process";

/// Goes round and round over a ledger.
#[derive(Debug)]
pub struct StandingCheck {
    disk: Arc<dyn Disk>,
    trust: Trust,
    /// What the writer's tree was at the beginning of each round, by rising size.
    trees: Vec<tree::Head>,
    /// The first record that this round has not come to.
    reached: u64,
    /// What the records of this round say of others.
    said: Statements,
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
    /// Whether all was looked at: the next step begins anew.
    pub is_over: bool,
}

/// One time over all sealed segments.
#[derive(Debug)]
struct Round {
    ahead: VecDeque<SegmentInfo>,
    /// What the records so far lead to; `None` behind a resumption or damage.
    before: Option<Frontier>,
    walk: Option<Walk>,
    /// The largest size of which a tree agreed: all records before it are the right ones.
    held: u64,
    /// What was durable when the folder was listed.
    live: tree::Head,
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
    /// The largest size so far of which a tree agreed.
    held: u64,
    is_doubtful: bool,
    /// Whether it is being written: it has no footer yet, and records that are not durable may stand at its end.
    is_live: bool,
}

impl StandingCheck {
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
            trees: Vec::new(),
            reached: from,
            said: Statements::default(),
            round: None,
        }
    }

    /// Reads on for about `most` bytes, to the end of a segment at most. `live` is what is durable now, as its writer has it in memory: all
    /// of it has to be in the folder, and to lead to this root. What cannot be read is a finding, too.
    pub fn step(&mut self, most: u64, live: tree::Head) -> Step {
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

    fn begin(&mut self, live: tree::Head) -> Result<Round, ReadError> {
        self.remember(live);
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
            held: self.reached,
            live,
        })
    }

    fn remember(&mut self, live: tree::Head) {
        if self.trees.last().is_none_or(|last| last.size < live.size) {
            self.trees.push(live);
        }
        if self.trees.len() > MOST_TREES {
            let mut at = 0_usize;
            self.trees.retain(|_| {
                at += 1;
                !at.is_multiple_of(2)
            });
        }
    }

    fn go_on(&mut self, mut round: Round, most: u64, step: &mut Step) {
        let walk = match round.walk.take() {
            Some(walk) => Ok(Some(walk)),
            None => self.next(&mut round, step),
        };
        match walk {
            Ok(Some(mut walk)) => {
                if walk.read(most, step, &mut self.said) {
                    self.judge(walk, &mut round, step);
                } else {
                    round.walk = Some(walk);
                }
                self.round = Some(round);
            }
            Ok(None) => {
                self.find_unsigned(round.live.size, step);
                self.end(step);
            }
            Err((segment, error)) => {
                step.findings.push(self.unreadable(segment.first_seq, &error));
                (round.before, self.reached) = (None, segment.next_seq.unwrap_or(self.reached));
                self.round = Some(round);
            }
        }
    }

    /// Opens the next segment.
    fn next(&self, round: &mut Round, step: &mut Step) -> Result<Option<Walk>, (SegmentInfo, ReadError)> {
        let Some(segment) = round.ahead.pop_front() else {
            // Everything that is durable has been seen then.
            let live = round.live.size;
            let seen = round.before.as_ref().map_or(live, Frontier::size);
            if seen < live {
                step.findings.push(self.finding(Fault::Missing, seen, live));
            }
            return Ok(None);
        };
        let at = |error| (segment, error);
        let reader = Reader::open_on(Arc::clone(&self.disk)).map_err(at)?;
        let begin = reader.frontier(segment).map_err(at)?;
        let follows = round.before.as_ref().is_none_or(|before| *before == begin);
        let is_live = segment.next_seq.is_none() && reader.sealed_end(segment).is_none();
        let mut records = reader.records_in(segment);
        if is_live {
            if !follows {
                let seen = round.before.as_ref().map_or(0, Frontier::size);
                let fault = if begin.size() > seen {
                    Fault::Missing
                } else {
                    Fault::Header
                };
                step.findings.push(self.finding(fault, seen, begin.size().max(seen)));
                return Ok(None);
            }
            records = records.until(round.live.size);
        }
        let heads = self.heads_of(segment).map_err(at)?;
        // A checkpoint that is being kept just now may be there by half.
        let is_doubtful = !follows || !(is_live || heads.findings.is_empty());
        // Of a live segment the newest checkpoint may reach behind what was durable when the round began.
        let compared = |head: &Head| head.size > begin.size() && !(is_live && head.size > round.live.size);
        Ok(Some(Walk {
            segment,
            records,
            heads: heads.list.into_iter().filter(compared).collect(),
            frontier: begin,
            offset: 0,
            held: round.held,
            is_doubtful,
            is_live,
        }))
    }

    /// The trees that this process had in memory, of sizes that this segment reaches; the writer's newest is among them.
    fn remembered(&self, segment: SegmentInfo) -> impl Iterator<Item = Head> {
        let end = segment.next_seq;
        let end = end.or_else(|| Reader::unread(Arc::clone(&self.disk)).sealed_end(segment));
        let until = end.unwrap_or(u64::MAX);
        let trees = self.trees.iter();
        let within = trees.filter(move |tree| segment.first_seq < tree.size && tree.size <= until);
        within.map(|tree| Head {
            size: tree.size,
            root: tree.root,
            file: IN_MEMORY.to_owned(),
            signers: Vec::new(),
            is_settled: true,
            is_compared: false,
        })
    }

    /// What was signed within a segment, and what this process remembers of it: where the two differ, what its writer made counts. A folder that cannot be listed is said: no list is not an empty one.
    fn heads_of(&self, segment: SegmentInfo) -> Result<Heads, ReadError> {
        let kept = segment_name(segment.first_seq).replace(".seg", KEPT);
        let names = self.disk.list().map_err(|source| io(&*self.disk, &kept, source))?;
        let names: Vec<_> = names.into_iter().filter(|name| *name == kept).collect();
        let mut heads = Heads::read(&*self.disk, &names, &self.trust)?;
        for tree in self.remembered(segment) {
            match heads.list.iter().find(|head| head.size == tree.size) {
                Some(signed) if signed.root == tree.root => {}
                // Somebody has the key, too: what the writer made counts.
                Some(_) => {
                    heads.list.retain(|head| head.size != tree.size);
                    heads.list.push(tree);
                }
                None => heads.list.push(tree),
            }
        }
        heads.list.sort_by_key(|head| head.size);
        Ok(heads)
    }

    /// A segment was read to its end: it holds, or it is looked at whole.
    fn judge(&mut self, walk: Walk, round: &mut Round, step: &mut Step) {
        let Walk { segment, frontier, .. } = &walk;
        round.held = walk.held;
        if walk.is_doubtful || !self.ends_well(&walk) {
            round.before = self.locate(*segment, round, step);
        } else {
            round.before = Some(frontier.clone());
        }
        self.reached = segment.next_seq.unwrap_or_else(|| frontier.size());
    }

    fn ends_well(&self, walk: &Walk) -> bool {
        // That all that is durable was there is seen at the end of the round.
        if walk.is_live {
            return walk.heads.is_empty();
        }
        let footer = footer_at_end(&*self.disk, &segment_name(walk.segment.first_seq));
        let next = walk.segment.next_seq.map(|next| {
            let reader = Reader::unread(Arc::clone(&self.disk));
            reader.header(&segment_name(next)).ok()
        });
        let by_footer = match footer {
            Ok(Some(footer)) => footer.next_seq == walk.frontier.size() && footer.root == walk.frontier.root(),
            // An abandoned segment has none, and its successor says so. Of another one it may stand before zeros, where the cut behind it was lost in a
            // crash; whether it does is looked at whole.
            Ok(None) => matches!(&next, Some(Some(header)) if header.abandoned_at.is_some()),
            Err(_) => false,
        };
        let by_next = next.is_none_or(|next| next.is_some_and(|next| next.frontier == walk.frontier));
        by_footer && by_next && walk.heads.is_empty()
    }

    /// Says what does not hold, and what the segment leads to.
    fn locate(&self, segment: SegmentInfo, round: &Round, step: &mut Step) -> Option<Frontier> {
        let found = self.heads_of(segment).and_then(|heads| {
            let name = segment_name(segment.first_seq);
            let file = self.disk.open_read(&name);
            let file = file.map_err(|source| io(&*self.disk, &name, source))?;
            let spot = Spot::of(&*self.disk, segment.first_seq, segment.next_seq, false);
            let examined = segment::examine(&*self.disk, &*file, &spot, &heads.list, &mut Room::default(), &|_| {})?;
            let expected = round.before.as_ref().map_or(segment.first_seq, Frontier::size);
            let mut chain = Chain::from(Arc::clone(&self.disk), heads, expected, round.before.clone());
            step.bytes = step.bytes.saturating_add(examined.bytes);
            chain.take(examined);
            // Nothing takes parts out of a ledger that is written: here each that is missing is a fault, whatever was erased.
            let (_, missing) = std::mem::take(&mut chain.erasures).judge(0);
            chain.add_all(missing);
            chain.leave_disputed();
            chain.find_unsettled();
            for finding in &mut chain.report.findings {
                // Where no tree agreed since, what differs may lie in segments before this one, forged so that they agree with it.
                if matches!(finding.fault, Fault::Root { .. }) && finding.records.start == expected {
                    finding.records.start = round.held.min(expected);
                }
            }
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

    /// Says, in each round, which records a start found that the gateway had not written: they are signed by now, and agree with everything.
    fn find_unsigned(&self, size: u64, step: &mut Step) {
        let unsigned = self.said.counting(size);
        for (fault, records) in unsigned.faults() {
            let found = self.finding(fault, records.start, records.end);
            add(&mut step.findings, found, FINDINGS_MAX);
        }
    }

    fn end(&mut self, step: &mut Step) {
        self.said = Statements::default();
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
    fn read(&mut self, most: u64, step: &mut Step, said: &mut Statements) -> bool {
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
            step.bytes = step
                .bytes
                .saturating_add(to_u64(record.leaf.len().saturating_add(parts)));
            self.offset = record.offset;
            self.frontier.push(leaf_hash(&record.leaf));
            self.is_doubtful |= record.check_parts().is_err() || !self.agrees();
            if self.is_doubtful {
                return true;
            }
            said.read(record.kind, &record.leaf, record.seq);
            if self.offset.saturating_sub(begin) >= most {
                return false;
            }
        }
    }

    /// Whether what was signed at this size is what was read.
    fn agrees(&mut self) -> bool {
        let size = self.frontier.size();
        let Some(head) = self.heads.pop_front_if(|head| head.size <= size) else {
            return true;
        };
        let agrees = head.size == size && head.root == self.frontier.root();
        // What only a key signed that another followed is compared, and settles nothing.
        if agrees && head.is_settled {
            self.held = size;
        }
        agrees
    }
}
