//! The ledger's side: each call that may have left the gateway, folded from its records.

use std::collections::HashMap;
use std::time::Duration;

use model::event::{RecordKind, TextLimits};
use model::time::Timestamp;
use serde::Deserialize;

use crate::go_path;

/// Whether a call has left the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The cluster answered it.
    Yes,
    /// Nothing left the gateway.
    No,
    /// It may have: no end is recorded, or no answer came.
    Unknown,
}

/// One call to a cluster, as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The first of its records.
    pub seq: u64,
    /// By the gateway's clock.
    pub began: Timestamp,
    /// By the gateway's clock; nothing while no end is recorded.
    pub ended: Option<Timestamp>,
    /// The Kubernetes verb.
    pub verb: Box<str>,
    /// The path as the record has it, percent-encoding kept; more than 1 KiB of it is cut.
    recorded: Box<str>,
    /// Where in it the path below the cluster's own begins.
    below: usize,
    /// What the record's texts may have been cut to.
    limits: TextLimits,
    /// Whether the record leaves out the end of the path, which belongs to a backend and is kept sealed beside it.
    pub is_cut: bool,
    /// Whom the gateway spoke for: the caller, or whom the caller asked to be. More than 1 KiB of a name is cut, as [`Call::is_of`] knows.
    pub user: Box<str>,
    /// What the cluster answered.
    pub status: Option<u16>,
    /// Whether it left.
    pub sent: Sent,
    /// How often it was sent.
    pub attempts: u32,
}

/// All calls to one cluster, by the id that they share with the API server's log: of one ledger, or of several that a gateway had one after
/// another.
#[derive(Debug)]
pub struct Calls {
    cluster: String,
    by_id: HashMap<String, Call>,
    /// Calls whose end is still to come, by the number of their first record.
    open: HashMap<u64, String>,
    unreadable: u64,
    gaps: Vec<LedgerGap>,
    /// Of each ledger; the last is the one that is read.
    reaches: Vec<Reach>,
}

/// From when to when the records of one ledger are there, by the gateway's clock.
#[derive(Clone, Copy, Debug, Default)]
struct Reach {
    has_begun: bool,
    begins: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Older records were taken away.
    lost_its_beginning: bool,
    breaks_off: bool,
}

/// Whether the records of a time are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// As far as the ledgers say.
    There,
    /// It is before the first record that is there.
    Before,
    /// They were taken away, or cannot be read.
    Gone,
}

/// When calls went on without a record, as the ledger itself says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerGap {
    /// Its record's id. A record that is written once more has the same; empty where it has none.
    pub id: Box<str>,
    /// The first of them, by the gateway's clock.
    pub from: Timestamp,
    /// The last of them.
    pub to: Timestamp,
    /// How many.
    pub passed: u64,
    /// There may have been more.
    pub at_least: bool,
}

#[derive(Deserialize)]
struct Gap {
    from: Timestamp,
    to: Timestamp,
    passed: Passed,
    #[serde(default)]
    at_least: bool,
}

#[derive(Deserialize)]
struct Passed {
    #[serde(default)]
    reads: u64,
    #[serde(default)]
    effects: u64,
}

/// What any record has.
#[derive(Deserialize)]
struct Any {
    t: Option<Timestamp>,
}

#[derive(Deserialize)]
struct WithGap {
    #[serde(default)]
    id: Box<str>,
    gap: Gap,
}

#[derive(Deserialize)]
struct Leaf {
    #[serde(default)]
    id: String,
    pair: Option<u64>,
    t: Option<Timestamp>,
    cluster: Option<String>,
    /// Whatever it says: the call went to an HTTP service.
    service: Option<serde::de::IgnoredAny>,
    source: Option<String>,
    by: Option<Person>,
    #[serde(rename = "as")]
    effective: Option<Person>,
    req: Option<Request>,
    upstream: Option<Upstream>,
    outcome: Option<Outcome>,
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    name: String,
    len: Option<usize>,
}

impl Part {
    /// Whether the end of a path is in it that the record leaves out. Where it is as long as what the record says to have the
    /// beginning of, it is all of that, and nothing came behind.
    fn has_the_end_of(&self, path: &str) -> bool {
        self.name == "path" && (self.len.is_none() || self.len != TextLimits::length_said(path))
    }
}

#[derive(Deserialize)]
struct Person {
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    path: String,
    #[serde(default)]
    verb: String,
}

#[derive(Deserialize)]
struct Upstream {
    address: Option<String>,
    attempts: Option<u32>,
    status: Option<u16>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(default)]
    end: String,
    status: Option<u16>,
}

impl Calls {
    /// Of one cluster, as the gateway's configuration names it.
    #[must_use]
    pub fn of(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            by_id: HashMap::new(),
            open: HashMap::new(),
            unreadable: 0,
            gaps: Vec::new(),
            reaches: vec![Reach::default()],
        }
    }

    /// What is pushed from now on is another ledger's, which the same gateway had before or since. In whatever order they come.
    pub fn next_ledger(&mut self) {
        self.open.clear();
        self.reaches.push(Reach::default());
    }

    /// Takes the next record of the ledger.
    pub fn push(&mut self, seq: u64, kind: RecordKind, leaf: &[u8]) {
        let begins = matches!(kind, RecordKind::Intent | RecordKind::Access | RecordKind::Open);
        let ends = matches!(kind, RecordKind::Outcome | RecordKind::Close);
        if !begins && !ends {
            self.reach(seq, serde_json::from_slice::<Any>(leaf).ok().and_then(|any| any.t));
            if kind == RecordKind::Gap {
                self.gap(leaf);
            }
            return;
        }
        let limits = TextLimits::of(leaf.len());
        let Ok(leaf) = serde_json::from_slice::<Leaf>(leaf) else {
            self.reach(seq, None);
            self.unreadable += 1;
            return;
        };
        self.reach(seq, leaf.t);
        if begins {
            self.begin(seq, leaf, limits);
        } else {
            self.end(leaf);
        }
    }

    /// Takes the next record where what it says counts for nothing: without it a ledger that begins with it would seem to have lost its first records.
    pub fn pass_over(&mut self, seq: u64) {
        self.reach(seq, None);
    }

    fn reach(&mut self, seq: u64, time: Option<Timestamp>) {
        if let Some(reach) = self.reaches.last_mut() {
            reach.push(seq, time);
        }
    }

    /// A gap of a crash holds no calls that went on, and says so by having no counts.
    fn gap(&mut self, leaf: &[u8]) {
        match serde_json::from_slice::<WithGap>(leaf) {
            Ok(WithGap { id, gap }) => self.add_gap(LedgerGap {
                id,
                from: gap.from,
                to: gap.to,
                passed: gap.passed.reads.saturating_add(gap.passed.effects),
                at_least: gap.at_least,
            }),
            // Nothing but the counts may be missing.
            Err(_) => self.unreadable += u64::from(serde_json::from_slice::<Any>(leaf).is_err()),
        }
    }

    /// One that stands twice is one gap. After a kill a gateway writes one again, from its file; the record of the process that counted
    /// may be there as well, and says all that the file does and how many there were.
    fn add_gap(&mut self, gap: LedgerGap) {
        match self.gaps.iter_mut().find(|other| other.is_the_same_as(&gap)) {
            None => self.gaps.push(gap),
            Some(other) if other.at_least && !gap.at_least && gap.says_all_of(other) => *other = gap,
            Some(_) => {}
        }
    }

    /// The rest of this ledger cannot be read.
    pub fn break_off(&mut self) {
        if let Some(reach) = self.reaches.last_mut() {
            reach.breaks_off = true;
        }
    }

    /// When calls went on without a record.
    #[must_use]
    pub fn gaps(&self) -> &[LedgerGap] {
        &self.gaps
    }

    /// When the first record that is there was written, by the gateway's clock.
    #[must_use]
    pub fn begins(&self) -> Option<Timestamp> {
        self.reaches.iter().filter_map(|reach| reach.begins).min()
    }

    /// Whether records of this time are there. Clocks may differ by `slack`. Between two ledgers they are, unless the later one has lost its
    /// first records or the earlier one its last: a gateway that does not run sends nothing.
    #[must_use]
    pub fn kept(&self, time: Timestamp, slack: Duration) -> Kept {
        if self.begins().is_some_and(|begins| time < begins.plus(slack)) {
            return Kept::Before;
        }
        if self.reaches.iter().any(|reach| self.is_gone(reach, time, slack)) {
            return Kept::Gone;
        }
        Kept::There
    }

    fn is_gone(&self, reach: &Reach, time: Timestamp, slack: Duration) -> bool {
        let Some(begins) = reach.begins else {
            return reach.breaks_off;
        };
        let others = || self.reaches.iter().filter(|other| other.begins.is_some());
        let earlier = others().filter(|other| other.begins < reach.begins);
        let ended = earlier.filter_map(|other| other.last).max();
        let later = others().filter(|other| other.begins > reach.begins);
        let next = later.filter_map(|other| other.begins).min();
        let before = reach.lost_its_beginning
            && time < begins.plus(slack)
            && ended.is_none_or(|ended| time > ended.minus(slack));
        let behind = reach.breaks_off
            && reach.last.is_none_or(|last| time > last.minus(slack))
            && next.is_none_or(|next| time < next.plus(slack));
        before || behind
    }

    fn begin(&mut self, seq: u64, leaf: Leaf, limits: TextLimits) {
        let here = leaf.cluster.as_deref() == Some(&self.cluster) && leaf.source.is_none() && leaf.service.is_none();
        let (true, Some(request), Some(began)) = (here && !leaf.id.is_empty(), leaf.req, leaf.t) else {
            return;
        };
        let user = leaf.effective.or(leaf.by).map(|person| person.user).unwrap_or_default();
        let call = Call {
            seq,
            began,
            ended: None,
            verb: request.verb.into(),
            is_cut: leaf.parts.iter().any(|part| part.has_the_end_of(&request.path)),
            below: below_the_cluster(&request.path, &self.cluster),
            recorded: request.path.into(),
            limits,
            user: user.into(),
            status: None,
            sent: Sent::Unknown,
            attempts: 1,
        };
        self.open.insert(seq, leaf.id.clone());
        self.by_id.insert(leaf.id, call);
    }

    fn end(&mut self, leaf: Leaf) {
        let by_pair = leaf.pair.and_then(|pair| self.open.remove(&pair));
        let Some(call) = self.by_id.get_mut(by_pair.as_ref().unwrap_or(&leaf.id)) else {
            return;
        };
        self.open.remove(&call.seq);
        call.ended = leaf.t;
        let end = leaf.outcome.as_ref().map_or("", |outcome| outcome.end.as_str());
        let upstream = leaf.upstream;
        let answered_from = upstream.as_ref().is_some_and(|upstream| upstream.address.is_some());
        call.sent = match end {
            "notSent" | "refused" => Sent::No,
            "answered" | "ended" | "upstreamLost" if answered_from => Sent::Yes,
            _ => Sent::Unknown,
        };
        call.attempts = upstream.as_ref().and_then(|upstream| upstream.attempts).unwrap_or(1);
        let told = leaf.outcome.as_ref().and_then(|outcome| outcome.status);
        call.status = upstream
            .and_then(|upstream| upstream.status)
            .or(told)
            .filter(|_| end == "answered");
    }

    /// The call of an `Audit-ID`, with the id as it is kept here.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<(&str, &Call)> {
        self.by_id.get_key_value(id).map(|(id, call)| (id.as_str(), call))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Call)> {
        self.by_id.iter().map(|(id, call)| (id.as_str(), call))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Records of calls that are no JSON of ours, and so were not counted.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.unreadable
    }
}

impl LedgerGap {
    fn says_all_of(&self, other: &Self) -> bool {
        self.from <= other.from && other.to <= self.to && other.passed <= self.passed
    }

    fn is_the_same_as(&self, other: &Self) -> bool {
        let says = |gap: &Self| (gap.from, gap.to, gap.passed, gap.at_least);
        (!self.id.is_empty() && self.id == other.id) || says(self) == says(other)
    }
}

impl Reach {
    fn push(&mut self, seq: u64, time: Option<Timestamp>) {
        if !std::mem::replace(&mut self.has_begun, true) {
            self.lost_its_beginning = seq > 0;
        }
        // Of a first record that cannot be read, the next one tells nearly the same.
        self.begins = self.begins.or(time);
        self.last = self.last.max(time);
    }
}

impl Call {
    /// The path below the cluster's own, as far as the record has it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.recorded.get(self.below..).unwrap_or_default()
    }

    /// Whether it is what the API server saw at this path, as far as the record has it: all of it but what is sealed beside the record, or
    /// of more than 1 KiB the beginning and how long it was.
    #[must_use]
    pub fn is_at(&self, path: &str) -> bool {
        // A path of the API server's own may begin like a cluster's.
        self.has_recorded(path)
            || self
                .prefix()
                .is_some_and(|prefix| self.has_recorded(&format!("{prefix}{path}")))
    }

    fn has_recorded(&self, path: &str) -> bool {
        let of_the_beginning = self.is_cut && self.limits.is_kept_of_the_beginning(&self.recorded, path);
        of_the_beginning || self.has(&self.recorded, path) || self.is_written_anew(path)
    }

    /// The API server writes a path anew in which a byte stands that may not: whoever is signed in can send one.
    fn is_written_anew(&self, path: &str) -> bool {
        let kept = &self.recorded;
        // A path may itself end in words that look like a record's own.
        let cut = TextLimits::beginning_said(kept).filter(|_| !self.limits.is_kept_of(kept, kept));
        match cut {
            Some((beginning, len)) => go_path::may_begin(path, beginning, (!self.is_cut).then_some(len)),
            None if self.is_cut => go_path::may_begin(path, kept, None),
            None => go_path::is_of(path, kept),
        }
    }

    /// A ledger of `observe` stands for the API server's log, and its records are cut as these are.
    fn has(&self, kept: &str, whole: &str) -> bool {
        kept == whole || self.limits.is_kept_of(kept, whole)
    }

    fn prefix(&self) -> Option<&str> {
        self.recorded.get(..self.below).filter(|prefix| !prefix.is_empty())
    }

    /// Whether it was done for whom the API server saw, as far as the record has the name.
    #[must_use]
    pub fn is_of(&self, user: &str) -> bool {
        self.has(&self.user, user)
    }

    /// Whether it is of the verb that the API server saw: a caller may choose a long one.
    #[must_use]
    pub fn has_verb(&self, verb: &str) -> bool {
        self.has(&self.verb, verb)
    }
}

/// Where behind `/clusters/NAME` the path begins that is sent to a cluster of a gateway that has several.
fn below_the_cluster(path: &str, cluster: &str) -> usize {
    let below = path
        .strip_prefix("/clusters/")
        .and_then(|rest| rest.strip_prefix(cluster))
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    below.map_or(0, |rest| path.len().saturating_sub(rest.len()))
}
