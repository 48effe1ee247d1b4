//! The gateway's ledger against the API server's own audit log.
//!
//! Both have each call that the gateway forwards, under one id: the gateway mints it, writes it down before the call can have an
//! effect, and sends it as `Audit-ID`, which the API server takes for its own. So every difference is worth a look: the one log
//! was written by whoever runs the gateway, the other by whoever runs the cluster.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use model::time::Timestamp;
use serde::Serialize;

use crate::calls::{Call, Calls, Kept, LedgerGap, Sent};
use crate::coverage::{Coverage, Kinds};
use crate::recent::{Numbers, Recent, Times};
use crate::server_log::{ServerEvent, Stage};

/// Calls around the gate that were counted: of them, events that come late or again count nothing.
const MOST_ENDED: usize = 1_000_000;
/// Where a cluster is asked who somebody is, and what they may.
const REVIEWS: [&str; 3] = [
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
];

/// What is known beside the two logs.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The names by which the API server knows the gateway's credential for forwarding.
    pub accounts: BTreeSet<String>,
    /// The names of the gateway's other credentials, with which it reads for itself: nobody's call.
    pub own: BTreeSet<String>,
    /// By how much the two clocks may differ. Calls so near to either end of the log are not missed in it.
    pub slack: Duration,
    /// How many examples are kept of each caller around the gate, and of the calls that nobody knows the end of.
    pub examples: usize,
}

/// What a caller around the gate is, by its name (`system:` is reserved for the cluster's own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum CallerKind {
    /// No name of the cluster's own: a person, or who passes for one.
    Person,
    /// `system:serviceaccount:…`.
    ServiceAccount,
    /// Any other `system:…`: nodes, controllers, the API server itself.
    Component,
    /// Nobody was known.
    Anonymous,
}

impl CallerKind {
    /// By the name.
    #[must_use]
    pub fn of(user: &str) -> Self {
        match user {
            "" | "system:anonymous" => Self::Anonymous,
            name if name.starts_with("system:serviceaccount:") => Self::ServiceAccount,
            name if name.starts_with("system:") => Self::Component,
            _ => Self::Person,
        }
    }
}

/// What is wrong with one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Problem {
    /// The gateway's credential was used, and the ledger knows of no such call: it was used elsewhere, or a record is lost.
    NotInLedger,
    /// The ledger says that nothing left the gateway.
    SaidNotSent,
    /// Both know the call and say different things of it.
    Differs {
        /// What they differ in: `verb`, `path`, `user`, `status`, `account`.
        what: &'static str,
        /// What the ledger says.
        ledger: String,
        /// What the API server says.
        server: String,
    },
    /// It reached the API server more often than the gateway sent it: somebody sent it again.
    Repeated {
        /// How often the gateway sent it.
        sent: u32,
        /// How often the API server has it; of calls that have not ended, the first few dozen.
        arrived: u32,
    },
    /// The ledger says that the API server answered it, whose log does not have it: its policy leaves it out, an event was lost, or
    /// the gateway's word is wrong.
    NeverArrived,
}

impl Problem {
    const fn rank(&self) -> u8 {
        match self {
            Self::NotInLedger | Self::SaidNotSent => 0,
            Self::Repeated { .. } | Self::Differs { .. } => 1,
            Self::NeverArrived => 2,
        }
    }
}

/// One call that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The call's `Audit-ID`.
    pub id: String,
    /// The first of its records in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// When: by the API server's clock, or the gateway's where it has no event.
    pub at: Timestamp,
    /// Who, as far as either says.
    pub user: String,
    /// What was asked.
    pub verb: String,
    /// Of what.
    pub path: String,
    /// From where, by the API server's log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// How many such calls: an id that somebody else chose may stand for any number of them.
    pub times: u64,
    /// What is wrong.
    #[serde(flatten)]
    pub problem: Problem,
}

/// A call that did not come through the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The server's id of it.
    pub id: String,
    /// When, by the server's clock.
    pub at: Timestamp,
    /// The verb.
    pub verb: String,
    /// Path and query.
    pub uri: String,
    /// Whom the caller spoke for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated: Option<String>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// With what, by the caller's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// A call of which the ledger does not know whether it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Undecided {
    /// The call's `Audit-ID`.
    pub id: String,
    /// The first of its records in the ledger.
    pub seq: u64,
    /// When it began, by the gateway's clock.
    pub at: Timestamp,
    /// For whom; empty where names are sealed.
    pub user: String,
    /// What was asked.
    pub verb: String,
    /// Of what.
    pub path: String,
}

/// Somebody whose calls did not come through the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Around {
    /// `user.username`.
    pub user: String,
    /// What the name says.
    pub kind: CallerKind,
    /// How many calls.
    pub calls: u64,
    /// When the first began.
    pub first: Timestamp,
    /// When the last began.
    pub last: Timestamp,
    /// The first few.
    pub examples: Vec<Example>,
}

/// What both logs say together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// From where to where the API server's log reaches, by its clock; nothing where it has no event.
    pub covers: Option<(Timestamp, Timestamp)>,
    /// When the ledger begins: its first record that is there, or its first call that the API server has, if that is earlier.
    pub begins: Option<Timestamp>,
    /// Events of the API server's log.
    pub events: u64,
    /// Calls that both have, and say the same of.
    pub joined: u64,
    /// Calls of the gateway's own: nobody's.
    pub own: u64,
    /// Calls of the ledger that nothing is said about: outside what the log covers, or never sent.
    pub outside: u64,
    /// Calls of which the ledger does not know whether they were sent, and which the API server's log does not have.
    pub undecided: u64,
    /// The first few of them, in the ledger's order.
    pub undecided_calls: Vec<Undecided>,
    /// Calls of which neither log can say whether they passed the gate.
    pub unknown: Unknown,
    /// Where a log has, or may have, less than there was.
    pub gaps: Vec<Gap>,
    /// How many calls came through the gate.
    pub coverage: Coverage,
    /// Events whose person was not compared: names are sealed in the ledger, and its files alone do not say whose call it was.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub sealed: u64,
    /// What is wrong: what nobody but a thief or a forger does before what may have other causes, then by time.
    pub findings: Vec<Finding>,
    /// Who went around the gate, people first, then by the number of calls.
    pub around: Vec<Around>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

impl Report {
    /// Calls around the gate by callers of a kind.
    #[must_use]
    pub fn around(&self, kind: CallerKind) -> u64 {
        self.around
            .iter()
            .filter(|one| one.kind == kind)
            .map(|one| one.calls)
            .sum()
    }
}

/// Calls of which nobody can say whether they are as they should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unknown {
    /// The API server has them from the gateway's credential, when calls went on without a record, or where records are not there any more.
    pub without_record: u64,
    /// The API server has them from the gateway's credential, from before the ledger begins.
    pub before_ledger: u64,
    /// The ledger has them, and the API server's log has a gap there.
    pub without_event: u64,
}

impl Unknown {
    /// All of them.
    #[must_use]
    pub const fn all(self) -> u64 {
        self.without_record
            .saturating_add(self.before_ledger)
            .saturating_add(self.without_event)
    }
}

/// Whose log has a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Side {
    /// The gateway's ledger.
    Ledger,
    /// The API server's log.
    Server,
}

/// A time of which a log has, or may have, less than there was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gap {
    /// Whose.
    pub side: Side,
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// How many calls went on without a record, as the ledger says; nothing where nobody can know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

#[derive(Debug, Default)]
struct Seen {
    /// One of them came with the gateway's credential.
    is_ours: bool,
    /// Events with which a call ends.
    ended: u32,
    times: Times,
    differs: BTreeMap<&'static str, (String, String)>,
    peer: Option<String>,
}

impl Seen {
    /// How often a call came under this id. One that goes on has no last event, and may be somebody else's.
    fn arrived(&self) -> u32 {
        self.ended.max(self.times.count())
    }
}

/// Where the record of a call would stand, had it passed the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    /// In which of the ledger's gaps.
    gap: Option<usize>,
    /// Whether the ledger's records of that time are there.
    kept: Kept,
}

/// What makes calls that no record has one finding: id, verb, address and whom it was done for, since each of them is the caller's choice
/// and none hides another; and where in the ledger it would be, so that one that came in a gap hides none that came later.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Unrecorded {
    id: String,
    verb: String,
    uri: String,
    user: String,
    place: Place,
}

/// Calls that no record has.
#[derive(Debug)]
struct Found {
    finding: Finding,
    kinds: Kinds,
    /// When the last of them came.
    latest: Timestamp,
    /// Those that go on.
    open: HashSet<u64>,
}

/// Takes the API server's log event by event. Memory is for the ledger's calls and those under way around the gate.
#[derive(Debug)]
pub struct Reconciliation<'a> {
    given: Given,
    calls: &'a Calls,
    seen: HashMap<&'a str, Seen>,
    unknown: HashMap<Unrecorded, Found>,
    coverage: Coverage,
    /// Where the API server's log has gaps.
    gaps: Vec<(Timestamp, Timestamp)>,
    numbers: Numbers,
    under_way: HashMap<u64, ServerEvent>,
    ended: Recent,
    around: BTreeMap<String, Around>,
    covers: Option<(Timestamp, Timestamp)>,
    events: u64,
    own: u64,
    sealed: u64,
}

impl<'a> Reconciliation<'a> {
    /// Against these calls.
    #[must_use]
    pub fn of(calls: &'a Calls, given: Given) -> Self {
        Self {
            given,
            calls,
            seen: HashMap::new(),
            unknown: HashMap::new(),
            coverage: Coverage::default(),
            gaps: Vec::new(),
            numbers: Numbers::default(),
            under_way: HashMap::new(),
            ended: Recent::of(MOST_ENDED),
            around: BTreeMap::new(),
            covers: None,
            events: 0,
            own: 0,
            sealed: 0,
        }
    }

    /// Takes the next event. They may come in any order: a call around the gate is counted once, with its last one where there is one.
    pub fn push(&mut self, event: ServerEvent) {
        self.events += 1;
        let (from, to) = self.covers.unwrap_or((event.received, event.at));
        self.covers = Some((from.min(event.received), to.max(event.at)));
        let ours = self.given.accounts.contains(&event.user);
        match self.calls.find(&event.audit_id) {
            Some((id, call)) => {
                self.compare(id, call, &event, ours);
                // Whoever takes the id of a call of the gateway's goes around it all the same.
                if !ours {
                    self.elsewhere(event);
                }
            }
            None if ours => self.not_in_ledger(event),
            None if self.reads_for_itself(&event) => self.own += u64::from(event.stage.is_last()),
            None => self.elsewhere(event),
        }
    }

    /// Between these times the API server's log has, or may have, more than is given here: what is missing there says nothing.
    pub fn gap(&mut self, from: Timestamp, to: Timestamp) {
        self.gaps.push((from, to));
    }

    /// One of the gateway's other credentials, at what it is for: reading, and asking the cluster about people.
    fn reads_for_itself(&self, event: &ServerEvent) -> bool {
        let reads = matches!(event.verb.as_str(), "get" | "list" | "watch");
        let asks = event.verb == "create" && REVIEWS.contains(&event.path());
        self.given.own.contains(&event.user) && event.impersonated.is_none() && (reads || asks)
    }

    fn compare(&mut self, id: &'a str, call: &Call, event: &ServerEvent, ours: bool) {
        if ours && !self.seen.contains_key(id) {
            self.coverage.count(Kinds::of(event), |share| share.through += 1);
        }
        let seen = self.seen.entry(id).or_default();
        seen.is_ours |= ours;
        seen.times.add(event.received);
        seen.peer = seen.peer.take().or_else(|| event.peer.clone());
        seen.ended += u32::from(event.stage.is_last());
        let server = event.impersonated.as_deref().unwrap_or(&event.user);
        let mut say = |what, is_the_same: bool, ledger: String, server: &str| {
            if !is_the_same {
                seen.differs.entry(what).or_insert((ledger, server.to_owned()));
            }
        };
        let account = "the gateway's credential".to_owned();
        say("account", ours, account, &event.user);
        say("verb", call.has_verb(&event.verb), call.verb.to_string(), &event.verb);
        say("path", call.is_at(event.path()), call.path().to_owned(), event.path());
        // In the clear everybody has a name: without one it is sealed.
        let is_sealed = call.user.is_empty();
        self.sealed += u64::from(is_sealed);
        say("user", is_sealed || call.is_of(server), call.user.to_string(), server);
        // What a handler that failed told its caller is not in its event.
        let last = event.stage == Stage::ResponseComplete;
        if let (true, Some(recorded), Some(code)) = (last, call.status, event.code) {
            say("status", recorded == code, recorded.to_string(), &code.to_string());
        }
    }

    fn place_of(&self, at: Timestamp) -> Place {
        let slack = self.given.slack;
        let holds = |gap: &LedgerGap| (gap.from.minus(slack)..=gap.to.plus(slack)).contains(&at);
        Place {
            gap: self.calls.gaps().iter().position(holds),
            kept: self.calls.kept(at, slack),
        }
    }

    fn not_in_ledger(&mut self, event: ServerEvent) {
        let (call, is_last) = (self.numbers.of(&event), event.stage.is_last());
        let has_ended = if is_last {
            self.ended.insert(call);
            true
        } else {
            self.ended.has(call)
        };
        let kinds = Kinds::of(&event);
        let path = event.path().to_owned();
        let user = event.impersonated.unwrap_or(event.user);
        let key = Unrecorded {
            id: event.audit_id.clone(),
            verb: event.verb.clone(),
            uri: event.uri,
            user: user.clone(),
            place: self.place_of(event.received),
        };
        let found = self.unknown.entry(key).or_insert_with(|| Found {
            finding: Finding {
                id: event.audit_id,
                seq: None,
                at: event.received,
                user,
                verb: event.verb,
                path,
                peer: event.peer.clone(),
                times: 0,
                problem: Problem::NotInLedger,
            },
            kinds: kinds.clone(),
            latest: event.received,
            open: HashSet::new(),
        });
        found.latest = found.latest.max(event.received);
        if event.received < found.finding.at {
            (found.finding.at, found.finding.peer, found.kinds) = (event.received, event.peer, kinds);
        }
        found.finding.times += u64::from(is_last);
        if has_ended {
            found.open.remove(&call);
        } else {
            found.open.insert(call);
        }
    }

    /// A call is counted with its last event, or at the end of the log with what there is.
    fn elsewhere(&mut self, event: ServerEvent) {
        let call = self.numbers.of(&event);
        if event.stage.is_last() {
            self.under_way.remove(&call);
            if self.ended.insert(call) {
                self.count(event);
            }
        } else if !self.ended.has(call) {
            self.under_way.insert(call, event);
        }
    }

    fn count(&mut self, event: ServerEvent) {
        self.coverage.count(Kinds::of_caller(&event), |share| share.around += 1);
        let around = self.around.entry(event.user.clone()).or_insert_with(|| Around {
            kind: CallerKind::of(&event.user),
            user: event.user.clone(),
            calls: 0,
            first: event.received,
            last: event.received,
            examples: Vec::new(),
        });
        around.calls += 1;
        around.first = around.first.min(event.received);
        around.last = around.last.max(event.received);
        if around.examples.len() < self.given.examples {
            around.examples.push(Example {
                id: event.audit_id,
                at: event.received,
                verb: event.verb,
                uri: event.uri,
                impersonated: event.impersonated,
                status: event.code,
                peer: event.peer,
                agent: event.agent,
            });
        }
    }

    /// What both say together, when the log has been read.
    #[must_use]
    pub fn finish(mut self) -> Report {
        for event in std::mem::take(&mut self.under_way).into_values() {
            self.count(event);
        }
        let begins = self.begins();
        let (unknown, stolen) = self.sort_unknown(begins);
        let mut report = Report {
            unknown,
            begins,
            gaps: self.all_gaps(),
            coverage: std::mem::take(&mut self.coverage),
            covers: self.covers,
            events: self.events,
            joined: 0,
            own: self.own,
            outside: 0,
            undecided: 0,
            undecided_calls: Vec::new(),
            sealed: self.sealed,
            findings: stolen,
            around: self.around.into_values().collect(),
        };
        let mut undecided: Vec<(&str, &Call)> = Vec::new();
        for (id, call) in self.calls.iter() {
            match self.seen.remove(id) {
                Some(seen) => arrived(&mut report, id, call, seen),
                None if missing(&mut report, id, call, (&self.gaps, self.given.slack)) => undecided.push((id, call)),
                None => {}
            }
        }
        tell_undecided(&mut report, undecided, self.given.examples);
        let order = |one: &Finding| (one.problem.rank(), one.at, one.id.clone());
        report
            .findings
            .sort_by_cached_key(|one| (order(one), one.path.clone(), one.verb.clone(), one.user.clone()));
        report
            .around
            .sort_by(|a, b| (a.kind, b.calls, &a.user).cmp(&(b.kind, a.calls, &b.user)));
        report
    }
}

impl Reconciliation<'_> {
    /// When the ledger begins. The time in its first record is the word of whoever wrote it, or of a clock that was wrong: where the API server
    /// has a call of the ledger's from before, the ledger had begun then, and what is not in it is missed.
    fn begins(&self) -> Option<Timestamp> {
        let seen = self
            .seen
            .values()
            .filter(|seen| seen.is_ours)
            .filter_map(|seen| seen.times.first());
        self.calls
            .begins()
            .map(|begins| seen.min().map_or(begins, |first| first.min(begins)))
    }

    /// Calls with the gateway's credential that no record has. Where the ledger says itself that calls went on without one, or where its
    /// records are not there any more, nobody can say whose they were; and there are no more than it says.
    fn sort_unknown(&mut self, begins: Option<Timestamp>) -> (Unknown, Vec<Finding>) {
        let gaps = self.calls.gaps();
        let mut in_gaps: Vec<u64> = vec![0; gaps.len()];
        let mut all = std::mem::take(&mut self.unknown);
        for (key, found) in &mut all {
            let open = u64::try_from(found.open.len()).unwrap_or(u64::MAX);
            found.finding.times = found.finding.times.saturating_add(open);
            if let Some(count) = key.place.gap.and_then(|gap| in_gaps.get_mut(gap)) {
                *count += found.finding.times;
            }
        }
        let is_as_said = |(gap, count): (&LedgerGap, &u64)| gap.at_least || *count <= gap.passed;
        let as_said: Vec<bool> = gaps.iter().zip(&in_gaps).map(is_as_said).collect();
        let (mut unknown, mut stolen) = (Unknown::default(), Vec::new());
        for (Unrecorded { place, .. }, found) in all {
            let times = found.finding.times;
            let is_as_said = place.gap.and_then(|gap| as_said.get(gap)).is_some_and(|said| *said);
            let had_begun = begins.is_none_or(|begins| found.latest >= begins.plus(self.given.slack));
            let count = match place.kept {
                Kept::Before if !had_begun => Some(&mut unknown.before_ledger),
                Kept::Gone => Some(&mut unknown.without_record),
                Kept::Before | Kept::There => is_as_said.then_some(&mut unknown.without_record),
            };
            if let Some(count) = count {
                *count += times;
                self.coverage.count(found.kinds, |share| share.unknown += times);
            } else {
                self.coverage.count(found.kinds, |share| share.around += times);
                stolen.push(found.finding);
            }
        }
        (unknown, stolen)
    }

    fn all_gaps(&self) -> Vec<Gap> {
        let of_ledger = self.calls.gaps().iter().map(|gap| Gap {
            side: Side::Ledger,
            from: gap.from,
            to: gap.to,
            calls: Some(gap.passed),
        });
        let of_server = self.gaps.iter().map(|(from, to)| Gap {
            side: Side::Server,
            from: *from,
            to: *to,
            calls: None,
        });
        let mut all: Vec<Gap> = of_ledger.chain(of_server).collect();
        all.sort_by_key(|gap| (gap.from, gap.to));
        all
    }
}

fn arrived(report: &mut Report, id: &str, call: &Call, seen: Seen) {
    let mut problems: Vec<Problem> = Vec::new();
    if call.sent == Sent::No {
        problems.push(Problem::SaidNotSent);
    }
    let arrived = seen.arrived();
    if arrived > call.attempts {
        let sent = call.attempts;
        problems.push(Problem::Repeated { sent, arrived });
    }
    problems.extend(
        seen.differs
            .into_iter()
            .map(|(what, (ledger, server))| Problem::Differs { what, ledger, server }),
    );
    report.joined += u64::from(problems.is_empty());
    let at = seen.times.first().unwrap_or(call.began);
    let of = |problem| finding(id, call, at, seen.peer.clone(), problem);
    report.findings.extend(problems.into_iter().map(of));
}

/// Whether the ledger does not know if it was sent: the API server's log does not have it, and would have it.
fn missing(report: &mut Report, id: &str, call: &Call, (gaps, slack): (&[(Timestamp, Timestamp)], Duration)) -> bool {
    let ended = call.ended.unwrap_or(call.began);
    let covered = report
        .covers
        .is_some_and(|(from, to)| call.began >= from.plus(slack) && ended <= to.minus(slack));
    let is_in_gap = |(from, to): &(Timestamp, Timestamp)| call.began <= to.plus(slack) && ended >= from.minus(slack);
    match call.sent {
        Sent::Yes | Sent::Unknown if covered && gaps.iter().any(is_in_gap) => report.unknown.without_event += 1,
        Sent::Yes if covered => report
            .findings
            .push(finding(id, call, call.began, None, Problem::NeverArrived)),
        Sent::Unknown if covered => return true,
        _ => report.outside += 1,
    }
    false
}

/// All of them are counted and the first few named, by the ledger's order: a map has none.
fn tell_undecided(report: &mut Report, mut undecided: Vec<(&str, &Call)>, most: usize) {
    undecided.sort_unstable_by_key(|(id, call)| (call.seq, *id));
    report.undecided = u64::try_from(undecided.len()).unwrap_or(u64::MAX);
    let named = undecided.into_iter().take(most).map(|(id, call)| Undecided {
        id: id.to_owned(),
        seq: call.seq,
        at: call.began,
        user: call.user.to_string(),
        verb: call.verb.to_string(),
        path: call.path().to_owned(),
    });
    report.undecided_calls = named.collect();
}

fn finding(id: &str, call: &Call, at: Timestamp, peer: Option<String>, problem: Problem) -> Finding {
    Finding {
        id: id.to_owned(),
        seq: Some(call.seq),
        at,
        user: call.user.to_string(),
        verb: call.verb.to_string(),
        path: call.path().to_owned(),
        peer,
        times: 1,
        problem,
    }
}
