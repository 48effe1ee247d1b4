//! One row for each human act: what programs do by themselves is folded away and counted, and the calls of one kubectl
//! run stand together.
//!
//! Which calls belong to one run is the client's word (`Kubectl-Session`), so it may hide nothing: calls are joined only
//! within one person's one sign-in and one namespace, each different change keeps a row of its own and so does each object
//! that was changed or looked at by name, refused calls are never joined to allowed ones, and a row is led by its most
//! telling call.
//!
//! That a session was asked for by WebSocket first and then by SPDY/3.1 is the gateway's own word: both are one act, which
//! the second tells, unless the first may have run.

use std::collections::HashMap;

use serde::Serialize;

use crate::query::{Key, Query};
use crate::row::{Call, Row};

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// One row for each human act.
    #[default]
    Acts,
    /// One row for each session: its attempts over two protocols stand together, and nothing else does.
    Sessions,
    /// One row for each request and each record of the ledger's own.
    All,
}

/// What was found and is not shown, with exact counts for the range that was searched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Folded {
    /// Requests of people to `/api`, `/apis`, `/openapi`, `/version`.
    pub discovery: u64,
    /// Calls of controllers and other programs.
    pub machines: u64,
    /// Those of them that were refused.
    pub machines_refused: u64,
    /// Checkpoints of the ledger.
    pub checkpoints: u64,
    /// Searches and views of records: else the trace of one search would be the first hit of the next.
    pub audit_reads: u64,
    /// Calls of services that the public may do, and did: whoever has not signed in, as often as they like. Left out where there is none.
    #[serde(skip_serializing_if = "is_none_of_them")]
    pub public: u64,
    /// The busiest programs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub busiest: Vec<Busy>,
    #[serde(skip)]
    by_machine: HashMap<String, u64>,
}

/// A program and its calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Busy {
    /// Its user name.
    pub user: String,
    /// Its calls.
    pub count: u64,
}

/// At most so many programs are told apart; what others do is counted in the total only.
const MOST_MACHINES: usize = 1_024;
const MOST_BUSIEST: usize = 5;
/// Calls that a row names; the count is exact beyond.
const MOST_CALLS: usize = 20;

impl Folded {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.discovery + self.machines + self.checkpoints + self.audit_reads + self.public
    }

    fn add(&mut self, row: &Row, why: Noise) {
        match why {
            Noise::Discovery => self.discovery += 1,
            Noise::Checkpoint => self.checkpoints += 1,
            Noise::AuditRead => self.audit_reads += 1,
            Noise::Public => self.public += 1,
            Noise::Machine => {
                self.machines += 1;
                self.machines_refused += u64::from(row.refused);
                let user = row.who.as_ref().map(|who| who.user.as_str()).unwrap_or_default();
                let has_place = self.by_machine.len() < MOST_MACHINES;
                if let Some(count) = self.by_machine.get_mut(user) {
                    *count += 1;
                } else if has_place {
                    self.by_machine.insert(user.to_owned(), 1);
                }
            }
        }
    }

    /// Adds another count; the busiest programs are those of the later one.
    pub(crate) fn add_all(&mut self, later: &Self) {
        self.discovery += later.discovery;
        self.machines += later.machines;
        self.machines_refused += later.machines_refused;
        self.checkpoints += later.checkpoints;
        self.audit_reads += later.audit_reads;
        self.public += later.public;
        self.busiest.clone_from(&later.busiest);
    }

    /// Fills in what is derived at the end.
    pub(crate) fn finished(mut self) -> Self {
        let mut busiest: Vec<Busy> = std::mem::take(&mut self.by_machine)
            .into_iter()
            .map(|(user, count)| Busy { user, count })
            .collect();
        busiest.sort_unstable_by(|a, b| b.count.cmp(&a.count).then_with(|| a.user.cmp(&b.user)));
        busiest.truncate(MOST_BUSIEST);
        self.busiest = busiest;
        self
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_none_of_them(count: &u64) -> bool {
    *count == 0
}

#[derive(Clone, Copy)]
enum Noise {
    Discovery,
    Machine,
    Checkpoint,
    AuditRead,
    Public,
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// It is a row of its own.
    New,
    /// It joined another one.
    Joined,
    /// It is not shown and was counted.
    Folded,
    /// There is no place for another row.
    Full,
}

/// Puts the acts that were found into rows.
#[derive(Debug)]
pub(crate) struct Rows {
    view: View,
    shows_machines: bool,
    shows_public: bool,
    shows_all: bool,
    most: usize,
    rows: Vec<Row>,
    runs: HashMap<Run, Vec<usize>>,
    folded: Folded,
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Run {
    /// What repeated the attempt of this id.
    Fallback {
        attempt: String,
    },
    Kubectl {
        who: String,
        sign_in: String,
        run: String,
    },
    Stranger {
        ip: String,
        reason: String,
    },
}

impl Rows {
    pub(crate) fn new(view: View, query: &Query, most: usize) -> Self {
        Self {
            view,
            // Who names a program or a record wants to see it.
            shows_machines: query.wanted(Key::User).next().is_some(),
            shows_public: [Key::Public, Key::Service, Key::Host, Key::User]
                .into_iter()
                .any(|key| query.wanted(key).next().is_some()),
            shows_all: query.wanted(Key::Id).next().is_some() || query.wanted(Key::Kind).next().is_some(),
            most,
            rows: Vec::new(),
            runs: HashMap::new(),
            folded: Folded::default(),
        }
    }

    /// Places a row that was found.
    pub(crate) fn place(&mut self, row: Row) -> Placed {
        if let Some(noise) = self.noise(&row) {
            self.folded.add(&row, noise);
            return Placed::Folded;
        }
        if let Some(second) = self.repeated_by(&row) {
            mention(second, &row);
            return Placed::Joined;
        }
        let run = if self.view == View::Acts { run_of(&row) } else { None };
        let repeated = row.fallback_of.clone().filter(|_| self.view != View::All);
        let repeated = repeated.map(|attempt| Run::Fallback { attempt });
        if let Some(run) = &run
            && let Some(index) = self.home_of(run, &row)
            && let Some(home) = self.rows.get_mut(index)
        {
            join(home, row);
            if let Some(repeated) = repeated {
                self.runs.entry(repeated).or_default().push(index);
            }
            return Placed::Joined;
        }
        if self.rows.len() >= self.most {
            return Placed::Full;
        }
        for run in run.into_iter().chain(repeated) {
            self.runs.entry(run).or_default().push(self.rows.len());
        }
        self.rows.push(row);
        Placed::New
    }

    /// The act of the call that repeated this one. Calls are placed from the newest to the oldest, so it is there already.
    fn repeated_by(&mut self, attempt: &Row) -> Option<&mut Row> {
        // One that may have run is an act of its own.
        if attempt.end_is("unknown") || attempt.end_is("upstreamLost") {
            return None;
        }
        let run = Run::Fallback {
            attempt: attempt.id.clone(),
        };
        let index = self.runs.remove(&run)?.pop()?;
        self.rows.get_mut(index)
    }

    fn noise(&self, row: &Row) -> Option<Noise> {
        if self.view != View::Acts || self.shows_all {
            None
        } else if row.kind == "checkpoint" {
            Some(Noise::Checkpoint)
        } else if row.kind == "auditread" {
            Some(Noise::AuditRead)
        } else if row.who.as_ref().is_some_and(super::row::Who::is_machine) {
            (!self.shows_machines).then_some(Noise::Machine)
        } else if row.is_public() {
            (!self.shows_public).then_some(Noise::Public)
        } else {
            (is_discovery(row) && !row.refused).then_some(Noise::Discovery)
        }
    }

    fn home_of(&self, run: &Run, row: &Row) -> Option<usize> {
        let homes = self.runs.get(run)?;
        homes
            .iter()
            .copied()
            .find(|index| self.rows.get(*index).is_some_and(|home| belongs(home, row)))
    }

    pub(crate) const fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn rows_mut(&mut self) -> &mut [Row] {
        &mut self.rows
    }

    pub(crate) fn folded(&self) -> Folded {
        self.folded.clone().finished()
    }

    pub(crate) fn finish(self) -> (Vec<Row>, Folded) {
        (self.rows, self.folded.finished())
    }
}

/// Whether a person's client only asked what there is.
fn is_discovery(row: &Row) -> bool {
    if row.resource.is_some() || row.service.is_some() || row.who.is_none() {
        return false;
    }
    if !matches!(row.method.as_str(), "GET" | "HEAD") {
        return false;
    }
    let mut segments = row.path.trim_matches('/').split('/');
    let (first, rest) = (segments.next().unwrap_or_default(), segments.count());
    match first {
        "version" => rest == 0,
        "api" => rest <= 1,
        "apis" => rest <= 2,
        "openapi" => true,
        _ => false,
    }
}

fn run_of(row: &Row) -> Option<Run> {
    match (&row.who, &row.kubectl_session) {
        // No kubectl calls services, so that who says so hides one call behind another.
        (Some(_), _) if row.service.is_some() => None,
        // Nor does a workload run it for somebody: what it passes on may be theirs.
        (Some(_), _) if !row.via.is_empty() => None,
        (Some(who), Some(run)) => Some(Run::Kubectl {
            who: who.id.clone(),
            sign_in: who.session.clone().unwrap_or_default(),
            run: run.clone(),
        }),
        (None, _) if row.kind == "refusal" => Some(Run::Stranger {
            ip: row.net.as_ref().map(|net| net.ip.clone()).unwrap_or_default(),
            reason: row.reason.clone().unwrap_or_default(),
        }),
        _ => None,
    }
}

/// Whether a call is part of what this row shows.
fn belongs(home: &Row, row: &Row) -> bool {
    if home.who.is_none() {
        return true;
    }
    if home.refused != row.refused || home.cluster != row.cluster || home.effective != row.effective {
        return false;
    }
    if home.namespace != row.namespace {
        return false;
    }
    let same_kind = home.resource == row.resource && home.group == row.group;
    match (weight(home), weight(row)) {
        (Weight::Read, Weight::Read) => same_kind && is_seen_with(home, row) || is_side_look(row) || is_side_look(home),
        (Weight::Read, _) | (_, Weight::Read) => same_kind && is_seen_with(home, row),
        (Weight::Effect | Weight::Enter, Weight::Effect | Weight::Enter) => {
            same_kind && home.name == row.name && home.verb == row.verb && home.subresource == row.subresource
        }
    }
}

/// Whether both are about the same object, or one of them about all: a name beside another one would be hidden by it.
fn is_seen_with(home: &Row, row: &Row) -> bool {
    home.name == row.name || home.name.is_none() || row.name.is_none()
}

/// `kubectl describe` looks at the events of what it describes.
fn is_side_look(row: &Row) -> bool {
    row.resource.as_deref() == Some("events")
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    Read,
    Effect,
    Enter,
}

fn weight(row: &Row) -> Weight {
    match row.action.as_deref() {
        Some("exec" | "attach" | "portforward" | "proxy" | "ephemeralcontainers") => Weight::Enter,
        _ if matches!(row.verb.as_str(), "get" | "list" | "watch") => Weight::Read,
        _ => Weight::Effect,
    }
}

/// Adds a call to a row; the more telling one leads, and of equals the earlier.
fn join(home: &mut Row, row: Row) {
    let rank = |row: &Row| (weight(row), !is_side_look(row), std::cmp::Reverse(row.first_seq));
    mention(home, &row);
    let (count, first_seq) = (home.count + row.count, home.first_seq.min(row.first_seq));
    if rank(&row) > rank(home) {
        let calls = std::mem::take(&mut home.calls);
        *home = row;
        home.calls = calls;
    }
    (home.count, home.first_seq) = (count, first_seq);
}

/// Names a call among those of a row.
fn mention(home: &mut Row, row: &Row) {
    if home.calls.is_empty() {
        home.calls.push(call(home));
    }
    if home.calls.len() < MOST_CALLS {
        home.calls.push(call(row));
    }
}

fn call(row: &Row) -> Call {
    Call {
        id: row.id.clone(),
        seq: row.first_seq,
        act: row.act.clone(),
    }
}
