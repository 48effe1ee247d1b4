//! Checks a ledger from outside: its files and a public key, nothing else. Not the gateway's own reading (`reader`), which
//! stops at the first damage; this goes on behind it and says where everything is that does not hold.
//!
//! What is signed is a root at a size. Whoever can write all files can also compute all hashes anew, but not sign; so a record is
//! *proved* when it leads to a signed root, and only then. Checkpoints are kept all along the ledger, and the hashes of
//! leaves beside the segments: a forger who leaves any of them as they were is located to the record, another to the span
//! between two signed sizes.
//!
//! Segments are looked at beside one another, each from the state in its own header; that every header is what the records
//! before it lead to is compared afterwards.

mod disputed;
mod erased;
mod heads;
mod remote;
mod resume;
mod segment;
mod standing;
mod straight;
mod stretches;
mod turns;
mod unsigned;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::disk::{Disk, DiskFile, read_range};
use crate::error::ReadError;
use crate::note::{Note, VerifierKey};
use crate::parts::PartsFault;
use crate::segment::{OpenSet, parse_segment_name, segment_name};
use crate::tree::Frontier;
use erased::Erasures;
pub(crate) use erased::fuzz_erasure;
pub use erased::{Erased, SaidErasure, SaidKey, refused, refuses};
pub(crate) use heads::{CHANGES, KEPT, notes};
use heads::{Head, Heads};
pub use heads::{NEWEST as NEWEST_CHECKPOINT, WITNESSED};
pub use heads::{key_changes, newest_size};
pub use remote::{RemoteError, Source, SourceError, THREADS_MAX, fuzz_remote, verify_remote};
use resume::Recollection;
pub use resume::{Resume, fuzz_resume};
pub(crate) use segment::fuzz_walk;
use segment::{Dispute, Examined, Spot};
pub use standing::{StandingCheck, Step};
use straight::Room;
pub use stretches::Stretches;
pub use turns::Turn;
pub(crate) use turns::stated_in;
use turns::{AllTold, Keys, Unsettled};
pub use unsigned::{More, Statements, Unsigned};

/// Whom to believe.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// The public keys of the log, of whom the newest counts, and those of its witnesses. Without one, nothing is proved, and the report says
    /// so; two of one log between which no change of the key leads are a finding.
    pub keys: Vec<VerifierKey>,
    /// Checkpoints from elsewhere: what a witness, an auditor or a receipt remembers.
    pub remembered: Vec<Note>,
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Bytes that once were records, and are none.
    #[error("the bytes are damaged: {0}")]
    Damaged(&'static str),
    /// Records are not there.
    #[error("missing")]
    Missing,
    /// A record that stands where another belongs: inserted, doubled or moved.
    #[error("record {found} stands where record {expected} belongs")]
    Misplaced {
        /// Which record belongs there.
        expected: u64,
        /// Which stands there.
        found: u64,
    },
    /// The file of a segment is called by another number than that of its first record: renamed, or two changed their names.
    #[error("its file is called as if it began with record {named}")]
    Name {
        /// What its name says.
        named: u64,
    },
    /// Kind, version or number in the leaf are not those of its frame.
    #[error("frame and leaf differ in kind, version or number")]
    FrameLeaf,
    /// The record is whole, and it is not the one that was signed.
    #[error("not the record that was signed")]
    Altered,
    /// The parts beside the leaf are not those that it commits to.
    #[error(transparent)]
    Parts(#[from] PartsFault),
    /// Somewhere in this span the records are not those that were signed.
    #[error("the records do not lead to the root that was signed at size {size}")]
    Root {
        /// The size of the checkpoint.
        size: u64,
    },
    /// Records that the gateway did not write, and that a start of it recorded as such before it signed them with the rest.
    #[error(
        "not the gateway's: it was put in behind the end of a run that had signed all of its records, as record {by} says"
    )]
    AfterEnd {
        /// The record that says so.
        by: u64,
    },
    /// The segment's header is not what the records before it lead to.
    #[error("the segment does not follow from the records before it")]
    Header,
    /// Of the calls without an end that a segment's header names, some have one, or others are missing: a start would record ends that never were, or none.
    #[error("the segment's header names other calls without an end than the records before it leave")]
    Calls,
    /// The record is another one than the hashes beside it say, and no signed root says which of the two is right.
    #[error(
        "it is not the record of which the hash beside it and the header of the next segment speak, and nothing that is signed says which of them is right"
    )]
    Disputed,
    /// There is more that does not hold than is told one by one.
    #[error("{count} more findings here are not told one by one: nothing of this stretch counts as looked at")]
    More {
        /// How much more.
        count: u64,
    },
    /// The segment's footer says other things than its records.
    #[error("the segment's footer does not agree with its records")]
    Footer,
    /// A checkpoint was signed over more records than are there. Which are missing is known up to the span between the last size
    /// that held and the signed one.
    #[error(
        "cut off: {signed} records were signed, {have} are here, and the first {held} of them are those that were signed"
    )]
    Cut {
        /// The largest signed size.
        signed: u64,
        /// How many records there are.
        have: u64,
        /// How many of those lead to a signed root.
        held: u64,
    },
    /// The key signed two roots of one size: it told two stories.
    #[error("two different roots were signed at size {size}: the log forked")]
    Fork {
        /// The size.
        size: u64,
    },
    /// A signature by a key that another one had followed by then: whoever has the old key still signs.
    #[error("a checkpoint of size {size} is signed by `{key}`, which another key followed at size {last}")]
    Retired {
        /// `NAME+ID`.
        key: String,
        /// The last size that it signs.
        last: u64,
        /// The size that it signed.
        size: u64,
    },
    /// A key states that two others follow it, or a key that it follows two others: the log forked.
    #[error("two changes of the key `{key}` were signed, at sizes {size} and {other}: the log forked")]
    TwoTurns {
        /// `NAME+ID`.
        key: String,
        /// Where one was stated.
        size: u64,
        /// Where the other was.
        other: u64,
    },
    /// Two keys of one log are believed, and nothing says that one followed the other: if one is retired, whoever has it can sign what he likes.
    #[error(
        "`{one}` and `{other}` are keys of one log, and no change leads from one to the other: which of them counts no more is not known. Give \
         the newest key alone, or the change with `--remembered`"
    )]
    Apart {
        /// `NAME+ID`.
        one: String,
        /// `NAME+ID`.
        other: String,
    },
    /// Records lead to what a key signed that another followed, and not to what the newer one signed.
    #[error(
        "they lead to what `{key}` signed at size {size}, and not to what the key signed that followed it at size {last}: who has the old key \
         can sign others"
    )]
    Unsettled {
        /// `NAME+ID`.
        key: String,
        /// The last size that it signs.
        last: u64,
        /// The size that it signed.
        size: u64,
    },
    /// A record says that the log's key changes, and no key that signs this log says so, or not there, or a second time.
    #[error("it says that the log's key changes, and the keys of this log did not sign that for this place")]
    Turn,
    /// The keys say that they follow one another, and no record does.
    #[error("the key changed to `{key}`, and no record says so")]
    Unrecorded {
        /// `NAME+ID`.
        key: String,
    },
    /// A signature that claims a trusted key and is not by it.
    #[error("a checkpoint's signature does not hold: {0}")]
    Signature(String),
    /// A published tile of hashes is not what the tile below it, or the records, lead to.
    #[error("the tile's hashes are not those that what lies below it leads to")]
    Tile,
    /// The disk, or the server, does not give it back.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// A note that is none, or no checkpoint.
    #[error("a checkpoint cannot be read: {0}")]
    Checkpoint(String),
}

/// Where something does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub fault: Fault,
    /// Which records it is about; empty where it is about none.
    pub records: Range<u64>,
    /// The file, as the disk calls it.
    pub file: String,
    /// The byte in it.
    pub offset: u64,
}

/// So many findings of records are told one by one, in the order of the records. A file can be made that has millions, and whoever
/// checks it must neither run out of memory nor stop.
pub const FINDINGS_MAX: usize = 10_000;
/// And so many of checkpoints: they are said first, and leave room for the others.
const CHECKPOINT_FINDINGS_MAX: usize = 1_000;

/// Adds a finding where fewer than `most` are there; else it is counted, and the stretch said in which it lies.
fn add(findings: &mut Vec<Finding>, new: Finding, most: usize) {
    if findings.len() < most {
        findings.push(new);
        return;
    }
    let further = if let Fault::More { count } = new.fault {
        count
    } else {
        1
    };
    if let Some(Finding {
        fault: Fault::More { count },
        records,
        ..
    }) = findings.last_mut()
    {
        *count = count.saturating_add(further);
        // A finding of a file alone is about no stretch.
        if new.records != (0..0) {
            *records = records.start.min(new.records.start)..records.end.max(new.records.end);
        }
        return;
    }
    let fault = Fault::More { count: further };
    findings.push(Finding { fault, ..new });
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.records.is_empty() {
            write!(formatter, "{}: ", crate::span(&self.records))?;
        }
        write!(formatter, "{} ({}, byte {})", self.fault, self.file, self.offset)
    }
}

/// What a check found, and how far it reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// All that does not hold, in the order of the records.
    pub findings: Vec<Finding>,
    /// The first record that is here.
    pub first: u64,
    /// The number after the last record.
    pub size: u64,
    /// Up to which number records are proved by a signature.
    pub proved: u64,
    /// Whose signatures held, as `NAME+ID`, with the largest size of each.
    pub signers: BTreeMap<String, u64>,
    /// Changes of the log's key that were followed, in their order.
    pub turns: Vec<Turn>,
    /// Checkpoints whose root was compared.
    pub checkpoints: u64,
    /// Checkpoints by keys that were not given; they prove nothing here.
    pub strange: u64,
    /// What was not read, because an earlier check had read it ([`verify_resumed`]).
    pub recalled: Recalled,
    /// Segments that were read.
    pub segments: u64,
    /// Records that were hashed.
    pub records: u64,
    /// Parts beside them.
    pub parts: u64,
    /// Parts whose sealed bytes no record binds, as earlier builds wrote them: only their being there is looked at.
    pub unbound: u64,
    /// What nobody can open any more, by records that are proved.
    pub erased: Erased,
    /// Which records were not signed when a run ended, as the start behind it says.
    pub unsigned: Unsigned,
    /// Records that say that others are missing, or that calls went on without one (kind `gap`).
    pub gaps: u64,
    /// Tiles of hashes that were compared; of a log that is read from a server.
    pub tiles: u64,
    /// Entries that do not begin with a kind and their number, and so are no records of this format; of a log that is read from a
    /// server. Not [`Unsigned::foreign`], which are records.
    pub foreign: u64,
    /// Bytes of segments, or of entries and tiles.
    pub bytes: u64,
    /// Bytes of an end that a crash tore off, behind the last whole record; no fault, since nobody was told they are durable.
    pub torn: u64,
    /// Bytes at the ends of files of kept checkpoints, of one whose writing broke off; a start cuts them off.
    pub torn_checkpoints: u64,
}

/// What an earlier check read, and this one only computed into what is signed, from the hashes beside the records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// Which records: whether they were changed since, leaving no trace on their files, was not looked at.
    pub spans: Vec<Range<u64>>,
    /// How many segments.
    pub segments: u64,
    /// How many records.
    pub records: u64,
    /// How many parts beside them.
    pub parts: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Segments of which the earlier check left something and that were read all the same: their files are others, or do not lead to it.
    pub reread: u64,
}

impl Recalled {
    fn add(&mut self, records: Range<u64>, [count, parts, bytes]: [u64; 3]) {
        match self.spans.last_mut() {
            Some(last) if last.end == records.start => last.end = records.end,
            _ => self.spans.push(records),
        }
        // What was left are somebody's numbers.
        self.segments = self.segments.saturating_add(1);
        self.records = self.records.saturating_add(count);
        self.parts = self.parts.saturating_add(parts);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Report {
    /// Whether all that could be checked holds and at least one signature proves it.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.findings.is_empty() && self.proved > self.first
    }
}

/// Checks all segments of a folder, two or more at once, against what `trust` believes. `progress` is called with the bytes
/// that were read since, piece by piece, from several threads. Where the only statement of a change of the key stands in a record, the files are read
/// once more, and their bytes told again.
///
/// # Errors
/// [`ReadError::Io`] when the folder or a file in it cannot be read. Whatever can be read and does not hold is a finding.
pub fn verify(
    disk: &Arc<dyn Disk>,
    trust: &Trust,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Report, ReadError> {
    verify_resumed(disk, trust, threads, progress, &Resume::new("", &|_, _| None, &|_| {}))
}

/// As [`verify`], going on from what an earlier check left that was interrupted, and leaving the same ([`Resume`]).
///
/// # Errors
/// As there.
pub fn verify_resumed(
    disk: &Arc<dyn Disk>,
    trust: &Trust,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    resume: &Resume<'_>,
) -> Result<Report, ReadError> {
    let mut trust = trust.clone();
    loop {
        let (report, learnt) = pass(disk, &trust, threads, progress, resume)?;
        // A change of the key whose statement stands in a record alone: somebody took the checkpoints away, and with them what that key
        // signed since. Each pass follows one change more at least, so this ends.
        if learnt.is_empty() {
            return Ok(report);
        }
        trust.remembered.extend(learnt);
    }
}

fn pass(
    disk: &Arc<dyn Disk>,
    trust: &Trust,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    resume: &Resume<'_>,
) -> Result<(Report, Vec<Note>), ReadError> {
    let list = || disk.list().map_err(|source| io(&**disk, ".", source));
    let heads = Heads::read(&**disk, &list()?, trust)?;
    // Behind the checkpoints: a segment that a living gateway began since is there for what it signed since.
    let mut firsts: Vec<u64> = list()?.iter().filter_map(|name| parse_segment_name(name)).collect();
    firsts.sort_unstable();
    let (examined, reread) = examine_all(disk, &firsts, &heads, threads, progress, resume)?;
    let mut chain = Chain::new(Arc::clone(disk), heads);
    chain.report.recalled.reread = reread;
    for segment in examined {
        chain.take(segment);
    }
    let learnt = chain.keys.learns(&chain.told);
    Ok((chain.end(), learnt))
}

fn examine_all(
    disk: &Arc<dyn Disk>,
    firsts: &[u64],
    heads: &Heads,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
    resume: &Resume<'_>,
) -> Result<(Vec<Examined>, u64), ReadError> {
    let (next, reread) = (AtomicUsize::new(0), AtomicU64::new(0));
    let (give, take) = mpsc::channel();
    let mut done: BTreeMap<usize, Examined> = BTreeMap::new();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, firsts.len().max(1)) {
            let (give, next, reread) = (give.clone(), &next, &reread);
            scope.spawn(move || {
                let mut room = Room::default();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&first) = firsts.get(index) else { return };
                    let is_last = index.saturating_add(2) >= firsts.len();
                    let spot = Spot::of(&**disk, first, firsts.get(index.saturating_add(1)).copied(), is_last);
                    let examined = look(&**disk, &spot, &heads.list, &mut room, (resume, reread), progress);
                    // What is read is told piece by piece: a segment may take a second.
                    if let Ok(Some([.., bytes])) = examined.as_ref().map(|examined| examined.recalled) {
                        progress(bytes);
                    }
                    if give.send((index, examined)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        for (index, examined) in take {
            done.insert(index, examined?);
        }
        let mut all: Vec<_> = done.into_values().collect();
        // Where a file has another's name, its records say where it belongs.
        // A file that says of itself to be another one stands behind that one, where it is there.
        all.sort_by_key(|segment| (segment.first, segment.named != segment.first));
        Ok((all, reread.load(Ordering::Relaxed)))
    })
}

/// Looks at one segment, by what was left of it or by reading it. Whose file that is, and what is read, is of one and the same open file: what its name
/// leads to a moment later is another question.
fn look(
    disk: &dyn Disk,
    spot: &Spot,
    heads: &[Head],
    room: &mut Room,
    (resume, reread): (&Resume<'_>, &AtomicU64),
    progress: &dyn Fn(u64),
) -> Result<Examined, ReadError> {
    let name = segment_name(spot.first);
    let file = disk.open_read(&name).map_err(|source| io(disk, &name, source))?;
    match resume.recall(disk, &*file, spot, heads) {
        Recollection::Holds(examined) => return Ok(*examined),
        Recollection::Changed => drop(reread.fetch_add(1, Ordering::Relaxed)),
        Recollection::None => {}
    }
    // The newest segment may have grown the next time, and is read always.
    let before = spot.follower.and_then(|_| resume.identity(&name, &*file));
    let examined = segment::examine(disk, &*file, spot, heads, room, progress)?;
    if let Some(before) = before
        && resume.identity(&name, &*file).as_ref() == Some(&before)
    {
        resume.keep(&examined, before, spot.follower);
    }
    Ok(examined)
}

/// Puts segments one behind the other.
struct Chain {
    disk: Arc<dyn Disk>,
    heads: Vec<Head>,
    keys: Keys,
    unsettled: Unsettled,
    /// The records that say that the key changes.
    told: AllTold,
    erasures: Erasures,
    report: Report,
    /// What the records so far lead to; `None` where damage hides it.
    frontier: Option<Frontier>,
    /// The calls that they leave without an end; `None` where that is not known.
    open: Option<OpenSet>,
    /// Which of two is right is not settled yet.
    dispute: Option<Dispute>,
    /// The number in the name of each file that was read, by the file's first record: a file may bear another's.
    files: BTreeMap<u64, u64>,
    is_first: bool,
    /// It does not begin in the middle; only then all records of changes of the key come by.
    is_whole: bool,
    /// A checkpoint did not hold, and every later one fails for the same reason until something holds again.
    is_off: bool,
}

impl Chain {
    fn new(disk: Arc<dyn Disk>, heads: Heads) -> Self {
        Self {
            disk,
            heads: heads.list,
            keys: heads.keys,
            unsettled: Unsettled::default(),
            told: AllTold::default(),
            erasures: Erasures::default(),
            report: Report {
                findings: heads.findings,
                strange: heads.strange,
                torn_checkpoints: heads.torn,
                ..Report::default()
            },
            frontier: Some(Frontier::default()),
            open: Some(OpenSet::new()),
            dispute: None,
            files: BTreeMap::new(),
            is_first: true,
            is_whole: true,
            is_off: false,
        }
    }

    /// One that begins in the middle: `before` is what the records before it lead to, if that is known.
    fn from(disk: Arc<dyn Disk>, heads: Heads, expected: u64, before: Option<Frontier>) -> Self {
        let mut chain = Self::new(disk, heads);
        (chain.is_first, chain.is_whole) = (false, false);
        (chain.report.first, chain.report.size) = (expected, expected);
        chain.frontier = before;
        chain.open = None;
        chain
    }

    fn take(&mut self, segment: Examined) {
        let segment = self.settle(segment);
        let name = segment_name(segment.named);
        let expected = self.report.size;
        // What its name says of records is not believed of a file without any.
        if segment.is_nothing() {
            self.count(&segment);
            self.report.torn = segment.torn;
            self.add_all(segment.findings);
            return;
        }
        // Nothing removes records in this release: a ledger that does not begin with record 0 lacks some.
        if std::mem::take(&mut self.is_first) {
            self.report.first = segment.first;
        }
        if segment.first > expected {
            self.find(Fault::Missing, expected..segment.first, &name, 0);
            (self.frontier, self.open) = (None, None);
        } else if segment.first < expected {
            let found = segment.first;
            let is_beside = segment.next <= expected;
            let doubled = if is_beside { expected } else { found };
            self.find(Fault::Misplaced { expected, found }, doubled..expected, &name, 0);
            // It stands beside the records that are here already, and takes nothing away from them.
            if is_beside {
                self.count(&segment);
                return;
            }
            (self.frontier, self.open) = (None, None);
        }
        let follows = match (&self.frontier, &segment.start) {
            (Some(have), Some(said)) => have == said,
            _ => true,
        };
        // What is signed behind a break says nothing of what stands before it.
        if !follows || self.frontier.is_none() {
            self.find_unsettled();
        }
        if !follows {
            self.find(Fault::Header, segment.first..segment.first, &name, 0);
            self.is_off = false;
        }
        let segment = self.along_what_is_before(segment);
        self.files.insert(segment.first, segment.named);
        self.count(&segment);
        self.compare_calls(&segment, &name);
        self.dispute = segment.dispute;
        self.add_all(segment.findings);
        self.told.take(&self.keys, segment.told);
        self.erasures.add(segment.erasures);
        for (index, held) in segment.heads {
            self.judge(index, held, &name);
        }
        self.report.size = segment.next.max(self.report.size);
        self.report.torn = segment.torn;
        self.frontier = segment.end;
    }

    /// Where a header is not what the records before lead to, or cannot be read, and what was signed is not reached from there: whether it is reached
    /// from what the records before lead to. Then it is the header alone that does not hold.
    fn along_what_is_before(&self, segment: Examined) -> Examined {
        let holds = |segment: &Examined| segment.heads.iter().all(|(_, held)| *held);
        let (Some(before), true) = (&self.frontier, segment.recalled.is_none()) else {
            return segment;
        };
        let is_its = segment.start.as_ref() == Some(before);
        if is_its || before.size() != segment.first || (segment.start.is_some() && holds(&segment)) {
            return segment;
        }
        let again = self.examine_behind(before, &segment);
        again.ok().filter(|again| holds(again)).unwrap_or(segment)
    }

    /// Reads a segment once more, from what the records before it lead to.
    fn examine_behind(&self, before: &Frontier, segment: &Examined) -> Result<Examined, ReadError> {
        let (disk, name) = (&*self.disk, segment_name(segment.named));
        let file = disk.open_read(&name).map_err(|source| io(disk, &name, source))?;
        let spot = Spot::of(disk, segment.named, segment.follower, segment.is_end);
        segment::examine_whole(
            disk,
            &*file,
            &spot,
            &self.heads,
            &mut Room::default(),
            (Some(before), &|_| {}),
        )
    }

    /// What was read, whatever it was.
    fn count(&mut self, segment: &Examined) {
        let report = &mut self.report;
        match segment.recalled {
            Some(counts) => report.recalled.add(segment.first..segment.next, counts),
            None => report.segments = report.segments.saturating_add(1),
        }
        let counts = [
            (&mut report.records, segment.records),
            (&mut report.parts, segment.parts),
            (&mut report.unbound, segment.unbound),
            (&mut report.gaps, segment.gaps),
            (&mut report.bytes, segment.bytes),
        ];
        for (count, more) in counts {
            *count = count.saturating_add(more);
        }
    }

    fn judge(&mut self, index: usize, held: bool, file: &str) {
        let Some(head) = self.heads.get_mut(index) else { return };
        let size = head.size;
        if held {
            self.is_off = false;
            if !std::mem::replace(&mut head.is_compared, true) {
                self.report.checkpoints = self.report.checkpoints.saturating_add(1);
            }
            self.unsettled.take(head, &mut self.report);
        } else {
            head.is_compared = true;
            if !std::mem::replace(&mut self.is_off, true) {
                let held = self.report.proved.max(self.unsettled.held());
                let from = held.max(self.report.first).min(size);
                self.find(Fault::Root { size }, from..size, file, 0);
            }
        }
    }

    fn end(mut self) -> Report {
        self.leave_disputed();
        let have = self.report.size;
        if let Some(head) = self
            .heads
            .iter()
            .filter(|head| head.size > have)
            .max_by_key(|head| head.size)
        {
            let (signed, file) = (head.size, head.file.clone());
            // What is here behind the last size that held leads to no signed root either: the cut may lie before it, and what
            // followed may have moved up.
            let held = self.report.proved.max(self.report.first).min(have);
            self.find(Fault::Cut { signed, have, held }, held..signed, &file, 0);
        }
        self.find_unsettled();
        // Without a signature that counts there is no key whose change could be judged.
        if self.is_whole && !self.heads.is_empty() {
            let there = self.report.first..self.report.proved;
            let (turns, findings) = self.keys.compare(&self.told, &there);
            self.report.turns = turns;
            self.add_all(findings);
        }
        // What a record says that is not the one that was signed is nobody's word, wherever the signatures reach.
        let altered = self
            .report
            .findings
            .iter()
            .filter(|finding| matches!(finding.fault, Fault::Altered | Fault::Disputed | Fault::More { .. }));
        let said = Stretches::of(altered.map(|finding| finding.records.clone()));
        self.erasures.pass_over(|seq| said.has(seq));
        self.find_unsigned();
        let (erased, findings) = std::mem::take(&mut self.erasures).judge(self.report.proved);
        self.report.erased = erased;
        self.add_all(findings);
        self.report
            .findings
            .sort_by_key(|finding| (finding.records.start, finding.offset));
        self.report
    }

    /// Says what leads to nothing but the signature of a key that another followed.
    fn find_unsettled(&mut self) {
        let left = std::mem::take(&mut self.unsettled).end(&self.keys, &self.report);
        self.add_all(left);
    }

    fn add_all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        for finding in findings {
            add(
                &mut self.report.findings,
                finding,
                FINDINGS_MAX + CHECKPOINT_FINDINGS_MAX,
            );
        }
    }

    fn find(&mut self, fault: Fault, records: Range<u64>, name: &str, offset: u64) {
        let file = self.disk.display(name);
        self.add_all([Finding {
            fault,
            records,
            file,
            offset,
        }]);
    }
}

/// No file is read beyond this, in bytes: a segment has 1 GiB at most.
const FILE_MAX: u64 = 1 << 30;

pub(crate) fn read_whole(file: &dyn DiskFile) -> std::io::Result<Vec<u8>> {
    let len = file.len()?.min(FILE_MAX);
    read_range(file, 0, usize::try_from(len).unwrap_or(usize::MAX))
}

fn io(disk: &dyn Disk, name: &str, source: std::io::Error) -> ReadError {
    ReadError::Io {
        file: disk.display(name),
        source,
    }
}

#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod straight_tests;
#[cfg(test)]
mod tests;
