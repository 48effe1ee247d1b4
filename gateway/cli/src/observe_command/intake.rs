//! Events on their way into the ledger: each once, whatever is read twice, and counted.
//!
//! **Neither lost nor doubled.** The ledger itself is the memory: what it has is read at the start, and an event that it has is not
//! written again. So where reading goes on after a crash may be too early, and never too late: a place in a file is kept, and a
//! webhook answered, only after its events are durable. An event is known by all that it says, not by its `Audit-ID` and stage alone:
//! those are its caller's choice, and a second call must not be hidden by the id of a first.
//!
//! **In any order.** A webhook sends batches side by side. Each call has one `access` record, whichever of its events comes first: a
//! beginning that comes after its end says nothing new and is counted, a second end is a `close`.
//!
//! **When it is full:** [`MOST_KNOWN`] events are remembered, the newest; an older one that comes again is written again. That is told.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::digest;
use insight::reconcile::CallerKind;
use insight::replay::Replay;
use insight::{ServerEvent, Stage};
use ledger::{AppendError, Ledger, Ticket};
use model::cluster::ClusterId;
use model::event::{Record, RecordKind, Source, Summed};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{self, Digest, Here};
use super::unproved::Unproved;

/// Events that are remembered; about 150 MB.
const MOST_KNOWN: usize = 4_000_000;
/// Calls whose beginning is in the ledger and whose end has not come.
const MOST_BEGUN: usize = 500_000;
/// Calls that ended, whose other events may still come.
const MOST_ENDED: usize = 500_000;
/// Digests of what could not be read in one record; a record has 16 KiB.
const MOST_DIGESTS: usize = 250;
/// Events that are made durable together.
pub(super) const BATCH: usize = 4_096;
/// Callers that are counted by name; of more, only the number is known.
const MOST_CALLERS: usize = 10_000;
/// Of what could not be read so many are named.
const NAMED: usize = 5;

/// Of a gap's words so many bytes are recorded.
const LONGEST_NOTE: usize = 1_024;
/// What a record is a summary of.
const UNREADABLE: &str = "unreadableEvents";

/// What was read and what became of it.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Counts {
    /// Events that were read.
    pub(super) events: u64,
    /// Records that were written.
    pub(super) written: u64,
    /// Events that were there already, or came twice.
    pub(super) known: u64,
    /// Events that say only that a call has come: what came of it says a later one.
    pub(super) announced: u64,
    /// Events that say that a call began, of which that, or its end, was there already.
    pub(super) late: u64,
    /// Lines, or events of a list, that could not be read.
    pub(super) unreadable: u64,
    /// Of them the first few: where, and why.
    pub(super) named: Vec<String>,
    /// Calls that ended.
    pub(super) calls: u64,
    /// Of them those that the server refused (401, 403).
    pub(super) refused: u64,
    /// From the first time to the last, by the server's clock.
    pub(super) covers: Option<(Timestamp, Timestamp)>,
    /// Ended calls by caller: how many, and of what kind the caller is.
    pub(super) callers: BTreeMap<String, Caller>,
    /// Calls of callers that are not among them, as there are too many.
    pub(super) others: u64,
    /// Events that had to be forgotten.
    pub(super) forgotten: u64,
    /// Where the log has, or may have, more than could be read: how often.
    pub(super) gaps: u64,
    /// Of them the first few, in words.
    pub(super) named_gaps: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Caller {
    pub(super) kind: CallerKind,
    pub(super) calls: u64,
}

/// The ledger that is written to.
pub(super) struct Book {
    pub(super) ledger: Arc<Ledger>,
    pub(super) boot: Arc<str>,
}

/// Takes events. One at a time: a second reader of the same event waits until the first has it durable.
pub(super) struct Intake {
    pub(super) cluster: ClusterId,
    book: Option<Book>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    memory: Memory,
    pub(super) counts: Counts,
    pub(super) replay: Option<Replay>,
    /// Calls that were counted in this run.
    counted: Ring,
    /// Unreadable ones that no record tells of yet.
    untold: Vec<Digest>,
    most_known: usize,
}

/// What the ledger has.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// With each event whether it was met in this run.
    events: HashMap<Digest, bool>,
    order: VecDeque<Digest>,
    begun: HashSet<Digest>,
    ended: Ring,
    /// What stands there and nothing proves.
    unproved: Unproved,
}

/// The newest [`MOST_ENDED`] of them.
#[derive(Debug, Default)]
struct Ring {
    known: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Ring {
    /// Whether it is new.
    fn insert(&mut self, one: Digest) -> bool {
        if !self.known.insert(one) {
            return false;
        }
        self.order.push_back(one);
        if self.order.len() > MOST_ENDED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// A batch, sorted.
#[derive(Default)]
struct Sorted<'e> {
    new: Vec<New<'e>>,
    known: Vec<(Digest, &'e ServerEvent)>,
    announced: u64,
    late: u64,
}

/// An event that the ledger does not have yet.
struct New<'e> {
    digest: Digest,
    call: Digest,
    begins: bool,
    event: &'e ServerEvent,
    /// It stands in the ledger, where nothing proved it: so it is not written again.
    stands: bool,
    ticket: Option<Ticket>,
}

/// The members of a leaf by which an event is known again.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Kept {
    id: String,
    source: String,
    outcome: Option<serde::de::IgnoredAny>,
    ingested: Option<KeptEvent>,
    sum: Option<KeptSum>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeptSum {
    what: String,
    by: Vec<(String, u64)>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeptEvent {
    event: String,
}

impl Memory {
    /// Takes the next record of the ledger, oldest first.
    pub(super) fn learn(&mut self, kind: RecordKind, leaf: &[u8], most: usize) {
        if !matches!(kind, RecordKind::Access | RecordKind::Close | RecordKind::Summary) {
            return;
        }
        let kept: Kept = serde_json::from_slice(leaf).unwrap_or_default();
        if let Some(sum) = kept.sum.filter(|sum| sum.what == UNREADABLE) {
            for unreadable in sum.by.iter().filter_map(|(digest, _)| Digest::parse(digest)) {
                self.remember(unreadable, false, most);
            }
            return;
        }
        let Some(event) = kept.ingested.and_then(|ingested| Digest::parse(&ingested.event)) else {
            return;
        };
        if kept.source != "ingested" {
            return;
        }
        self.remember(event, false, most);
        if let Some(call) = uuid::Uuid::parse_str(&kept.id).ok().map(|id| Digest(id.into_bytes())) {
            self.follow(call, kind == RecordKind::Access && kept.outcome.is_none());
        }
    }

    /// Takes the next record of which nothing proves that this command wrote it.
    pub(super) fn learn_unproved(&mut self, cluster: &ClusterId, kind: RecordKind, body: &[u8], most: usize) {
        match kind {
            RecordKind::Access | RecordKind::Close => self.unproved.learn(kind, body, most),
            // What such a record says is all that is said of what cannot be read.
            RecordKind::Summary => {
                let unreadable = unreadable_in(cluster, body).unwrap_or_default();
                self.unproved.learn_unreadable(unreadable, most);
            }
            _ => {}
        }
    }

    /// Whether it has any events; calls of an observer that was here before.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty() && self.unproved.is_empty()
    }

    fn follow(&mut self, call: Digest, begins: bool) {
        if !begins {
            self.begun.remove(&call);
            self.ended.insert(call);
        } else if self.begun.len() < MOST_BEGUN {
            self.begun.insert(call);
        }
    }

    /// How many were forgotten for it.
    fn remember(&mut self, event: Digest, met: bool, most: usize) -> u64 {
        if self.events.insert(event, met).is_some() {
            return 0;
        }
        self.order.push_back(event);
        let mut forgotten = 0;
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.events.remove(&oldest);
                forgotten += 1;
            }
        }
        forgotten
    }
}

/// Calls by which the id of their records is known: the id itself, as its bits are fewer than those of the call's digest.
fn call_key(cluster: &ClusterId, event: &ServerEvent) -> Digest {
    let id = record::id_of(record::call_of(cluster, event));
    uuid::Uuid::parse_str(&id).map_or(Digest([0; 16]), |id| Digest(id.into_bytes()))
}

impl Intake {
    pub(super) fn new(
        cluster: ClusterId,
        book: Option<Book>,
        memory: Memory,
        replay: Option<Replay>,
        clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    ) -> Self {
        Self {
            cluster,
            book,
            clock,
            memory,
            counts: Counts::default(),
            replay,
            counted: Ring::default(),
            untold: Vec::new(),
            most_known: MOST_KNOWN,
        }
    }

    #[cfg(test)]
    pub(super) fn remembering(mut self, most: usize) -> Self {
        self.most_known = most;
        self
    }

    /// Whether the ledger had nothing of a log when it was opened, and nothing has come since.
    pub(super) fn is_fresh(&self) -> bool {
        self.memory.is_empty()
    }

    /// Notes what could not be read, and where: once, however often it is read. `spot` is the byte of its file where its line begins, and
    /// its number in a list; `whole` is the SHA-256 of all of its bytes.
    pub(super) fn unreadable(&mut self, place: &str, spot: (u64, u64), whole: &digest::Digest, why: &str) {
        let digest = record::digest_of_text(&self.cluster, spot, whole);
        match self.memory.events.get_mut(&digest) {
            Some(true) => return,
            // Recorded in an earlier run; this one did not read it either.
            Some(met) => *met = true,
            None => {
                if !self.memory.unproved.has_unreadable(digest) {
                    self.untold.push(digest);
                }
                self.counts.forgotten += self.memory.remember(digest, true, self.most_known);
            }
        }
        self.counts.unreadable += 1;
        if self.counts.named.len() < NAMED {
            self.counts.named.push(format!("{place}: {why}"));
        }
    }

    /// Reads a line, an event or a list of them, into `waiting`, and takes what waits as soon as it is enough to be made durable together:
    /// so that a list of any number of items takes little memory. Gives why the line is neither.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub(super) fn line(
        &mut self,
        waiting: &mut Vec<ServerEvent>,
        at: u64,
        line: &[u8],
        place: &dyn Fn(u64) -> String,
    ) -> anyhow::Result<Option<String>> {
        let (mut number, mut failed) = (0, None);
        let read = insight::for_each(line, &mut |text, read| {
            number += 1;
            match read {
                Ok(event) => waiting.push(event),
                Err(error) => self.unreadable(
                    &place(number),
                    (at, number),
                    &sha256(text.as_bytes()),
                    &error.to_string(),
                ),
            }
            if waiting.len() + self.untold.len() >= BATCH {
                failed = self.take(waiting).err();
                waiting.clear();
            }
            match failed {
                None => ControlFlow::Continue(()),
                Some(_) => ControlFlow::Break(()),
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(read.err().map(|error| {
            let why = error.to_string();
            self.unreadable(&place(0), (at, 0), &sha256(line), &why);
            why
        }))
    }

    /// Notes that the log has, or may have, more than can be read, and records it.
    ///
    /// # Errors
    /// The ledger does not take it.
    pub(super) fn gap(&mut self, what: &str) -> anyhow::Result<()> {
        self.counts.gaps += 1;
        if self.counts.named_gaps.len() < NAMED {
            self.counts.named_gaps.push(what.to_owned());
        }
        crate::terminal::say(&format!("✖ a gap: {}", crate::client::trouble::clean(what)));
        let Some(book) = &self.book else { return Ok(()) };
        let (now, id) = ((self.clock)(), uuid::Uuid::now_v7().to_string());
        let record = Record {
            id: &id,
            t: now,
            boot: &book.boot,
            cluster: Some(&self.cluster),
            source: Source::Ingested,
            sum: Some(Summed {
                count: 1,
                from: self.counts.covers.map_or(now, |(_, to)| to.min(now)),
                to: now,
                what: "logGap",
                by: &[],
            }),
            note: Some(what.get(..what.floor_char_boundary(LONGEST_NOTE)).unwrap_or_default()),
            ..Record::default()
        };
        let ticket = append(&book.ledger, RecordKind::Summary, record.body()?)?;
        ticket.wait().context("a gap could not be recorded")?;
        Ok(())
    }

    /// Takes events; when it returns, they are durable.
    ///
    /// # Errors
    /// The ledger does not take them. None of those that are not durable counts as read then, so that they can be given again.
    pub(super) fn take(&mut self, events: &[ServerEvent]) -> anyhow::Result<()> {
        for batch in events.chunks(BATCH) {
            self.take_batch(batch)?;
        }
        self.tell_unreadable()
    }

    fn take_batch(&mut self, batch: &[ServerEvent]) -> anyhow::Result<()> {
        let mut sorted = Sorted::default();
        let sent = self.send(batch, &mut sorted);
        let settled = self.settle(sorted);
        sent.and(settled)
    }

    /// Hands new events to the ledger, whose answer is waited for afterwards.
    fn send<'e>(&self, batch: &'e [ServerEvent], sorted: &mut Sorted<'e>) -> anyhow::Result<()> {
        let now = (self.clock)();
        let mut among = HashSet::new();
        let (mut begun_here, mut ended_here) = (HashSet::new(), HashSet::new());
        for event in batch {
            if event.stage == Stage::RequestReceived {
                sorted.announced += 1;
                continue;
            }
            let digest = record::digest_of(&self.cluster, event);
            if self.memory.events.contains_key(&digest) || among.contains(&digest) {
                sorted.known.push((digest, event));
                continue;
            }
            let call = call_key(&self.cluster, event);
            let begins = !event.stage.is_last();
            let ended = ended_here.contains(&call) || self.memory.ended.known.contains(&call);
            let begun = ended || begun_here.contains(&call) || self.memory.begun.contains(&call);
            if begins && begun {
                sorted.late += 1;
                continue;
            }
            let unproved = &self.memory.unproved;
            let begun = begun || (!begins && unproved.has_begun(&self.cluster, call, event));
            let stands = unproved.has(&self.cluster, event, digest, begun);
            let mut ticket = None;
            if let Some(book) = self.book.as_ref().filter(|_| !stands) {
                let here = Here {
                    cluster: &self.cluster,
                    boot: &book.boot,
                    now,
                };
                let written = record::write(here, event, digest, begun)?;
                ticket = Some(append(&book.ledger, written.kind, written.body)?);
            }
            among.insert(digest);
            if begins {
                begun_here.insert(call);
            } else {
                ended_here.insert(call);
            }
            sorted.new.push(New {
                digest,
                call,
                begins,
                event,
                stands,
                ticket,
            });
        }
        Ok(())
    }

    /// What is durable is known and counted; what is not was never read.
    fn settle(&mut self, sorted: Sorted<'_>) -> anyhow::Result<()> {
        let mut lost = None;
        self.counts.announced += sorted.announced;
        self.counts.late += sorted.late;
        self.counts.events += sorted.announced + sorted.late;
        for new in sorted.new {
            if let Some(ticket) = new.ticket {
                if let Err(error) = ticket.wait() {
                    lost.get_or_insert(error);
                    continue;
                }
                self.counts.written += 1;
            }
            self.counts.events += 1;
            self.counts.known += u64::from(new.stands);
            self.memory.follow(new.call, new.begins);
            self.counts.forgotten += self.memory.remember(new.digest, true, self.most_known);
            self.judge(new.event, new.call);
        }
        for (digest, event) in sorted.known {
            self.counts.events += 1;
            self.counts.known += 1;
            // Written in an earlier run, and met for the first time in this one.
            if self.memory.events.get(&digest) == Some(&false) {
                self.memory.events.insert(digest, true);
                self.judge(event, call_key(&self.cluster, event));
            }
        }
        match lost {
            None => Ok(()),
            Some(error) => Err(anyhow::Error::new(error).context("what was read could not be kept")),
        }
    }

    /// Counts a call, and asks the rules about it.
    fn judge(&mut self, event: &ServerEvent, call: Digest) {
        let (from, to) = self.counts.covers.unwrap_or((event.received, event.at));
        self.counts.covers = Some((from.min(event.received), to.max(event.at)));
        if let Some(replay) = &mut self.replay {
            replay.push(event);
        }
        if !event.stage.is_last() || !self.counted.insert(call) {
            return;
        }
        self.counts.calls += 1;
        self.counts.refused += u64::from(matches!(event.code, Some(401 | 403)));
        let callers = &mut self.counts.callers;
        if callers.len() >= MOST_CALLERS && !callers.contains_key(&event.user) {
            self.counts.others += 1;
            return;
        }
        let kind = CallerKind::of(&event.user);
        let caller = callers.entry(event.user.clone()).or_insert(Caller { kind, calls: 0 });
        caller.calls += 1;
    }

    /// Records what could not be read since the last time, with digests by which it is known again.
    fn tell_unreadable(&mut self) -> anyhow::Result<()> {
        let Some(book) = &self.book else {
            self.untold.clear();
            return Ok(());
        };
        while !self.untold.is_empty() {
            let some: Vec<String> = self.untold.iter().take(MOST_DIGESTS).map(|one| one.to_hex()).collect();
            let here = Here {
                cluster: &self.cluster,
                boot: &book.boot,
                now: (self.clock)(),
            };
            let body = unreadable_body(here, &uuid::Uuid::now_v7().to_string(), &some)?;
            let ticket = append(&book.ledger, RecordKind::Summary, body)?;
            ticket.wait().context("what was read could not be kept")?;
            self.untold.drain(..some.len());
        }
        Ok(())
    }
}

/// The record of what could not be read, by digests of it.
fn unreadable_body(here: Here<'_>, id: &str, some: &[String]) -> anyhow::Result<Vec<u8>> {
    let by: Vec<(&str, u64)> = some.iter().map(|digest| (digest.as_str(), 1)).collect();
    let record = Record {
        id,
        t: here.now,
        boot: here.boot,
        cluster: Some(here.cluster),
        source: Source::Ingested,
        sum: Some(Summed {
            count: u64::try_from(some.len()).unwrap_or(u64::MAX),
            from: here.now,
            to: here.now,
            what: UNREADABLE,
            by: &by,
        }),
        note: Some("of the API server's log so many lines or events could not be read; nothing of them is here"),
        ..Record::default()
    };
    Ok(record.body()?)
}

/// The digests in a record of what could not be read, where it is to the byte what is written of them.
fn unreadable_in(cluster: &ClusterId, body: &[u8]) -> Option<Vec<Digest>> {
    #[derive(Deserialize)]
    struct Leaf {
        id: String,
        t: Timestamp,
        boot: String,
        sum: KeptSum,
    }
    let leaf = serde_json::from_slice::<Leaf>(body).ok()?;
    let some: Vec<String> = leaf.sum.by.into_iter().map(|(digest, _)| digest).collect();
    let here = Here {
        cluster,
        boot: &leaf.boot,
        now: leaf.t,
    };
    let is_written = unreadable_body(here, &leaf.id, &some).is_ok_and(|written| written == body);
    is_written.then(|| some.iter().filter_map(|digest| Digest::parse(digest)).collect())
}

/// All bytes of something that cannot be read, in short.
pub(super) fn sha256(text: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, text)
}

/// Appends, and waits where the queue is full for the moment.
fn append(ledger: &Ledger, kind: RecordKind, body: Vec<u8>) -> anyhow::Result<Ticket> {
    loop {
        match ledger.append(kind, body.clone(), Vec::new()) {
            Ok(ticket) => return Ok(ticket),
            Err(AppendError::Full) => {
                let size = ledger.durable().size;
                let _grown = ledger.wait_beyond(size, std::time::Duration::from_millis(100));
            }
            Err(error) => return Err(anyhow::Error::new(error).context("the ledger does not take what was read")),
        }
    }
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
