//! Station 4: what happens is written down, durably, before it has an effect or is seen (promise 4).
//!
//! Two types are made only here. [`Recorded`] is the evidence that an effect's intent is durable; upstream takes nothing
//! else for an effect. [`Held`] keeps the answer to a pure read shut until its access record is durable. Neither can be
//! built, opened early or used twice outside this module: see `tests/compile_fail`. Where the operator has chosen in words that
//! calls go on while the disk takes no record, a durable count stands in the record's place (`unrecorded`), and that is made
//! only here, too.

mod beat;
mod beside;
mod bodies;
#[cfg(test)]
mod bounded;
mod budget;
mod elsewhere;
mod end;
mod fallback;
#[cfg(test)]
mod forgetting_tests;
mod gather;
mod level;
mod limits;
mod origin;
mod part;
mod query;
mod scan;
mod trail;
mod unrecorded;
mod words;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;
use ledger::{AppendError, Ledger, Lost, OutcomeSlot, Ticket};
use model::decision::RuleRef;
use model::event::{Answer, By, Decided, Issued, Network, Outcome, Record, RecordKind, Request, Summed};
use model::subject::SubjectId;

pub(crate) use self::beat::{Anchor, Heartbeats};
use self::beside::Told;
#[cfg(test)]
pub(crate) use self::bodies::BodyBudget;
pub use self::bodies::{Bodies, Fate as BodyFate};
pub(crate) use self::bodies::{NoRoom, Room};
pub use self::budget::{Alone, Budgets, Place, Readied, Suppressed, Whose};
pub use self::elsewhere::TargetWords;
pub use self::end::End;
pub(crate) use self::fallback::Fallbacks;
pub use self::gather::gather;
pub use self::level::AuditPolicy;
pub use self::limits::{Limits, PublicLimits};
pub use self::origin::{MOST_ORIGINS, Origin, Origins};
pub use self::part::{Class, PartKey, PartKeys, fuzz_open_part, open_part, seal_part};
pub(crate) use self::scan::{Scan, Want};
pub use self::trail::{CalledService, DecisionTrail, Peer, RequestId, Trail};
use self::unrecorded::{CallClass, Otherwise, Pass, Why};
pub use self::unrecorded::{FailMode, FailModes, SignedSize, Standing, Unkept, fuzz_unrecorded_calls};
pub use self::words::agent;
pub(crate) use self::words::{is_label, is_subdomain};
use crate::clock::{Clock, Reading};
use crate::decision::{Effect, Permit, PureRead};
use crate::listener::{Conn, Refused};
use crate::refusal::Refusal;

/// Evidence that the intent of `P` is durable, or counted as one without a record where the operator lets it go on. Moved, never
/// cloned: one record, one sending.
#[derive(Debug)]
pub struct Recorded<P> {
    permit: P,
    sequence: Option<u64>,
}

impl<P> Recorded<P> {
    /// What was permitted.
    pub const fn permit(&self) -> &P {
        &self.permit
    }

    /// The intent's sequence number; none where the call goes on without a record.
    pub const fn sequence(&self) -> Option<u64> {
        self.sequence
    }
}

/// Evidence that the record of a yes to an ingress is durable. Made only here; nothing says yes without it.
#[derive(Debug)]
pub struct RecordedVerdict(u64);

impl RecordedVerdict {
    /// The record's sequence number.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.0
    }
}

/// What a read stands on: its durable record, or its place in the count of those without one.
#[derive(Debug)]
pub struct Evidence(Stands);

#[derive(Debug)]
enum Stands {
    On(u64),
    Counted(Pass),
    /// It was counted before it was asked, and its end knows that.
    CountedBefore,
}

/// An answer that nobody may see before its access record is durable.
#[must_use = "an answer that is never opened is never given"]
#[derive(Debug)]
pub struct Held<R> {
    response: R,
    access: Access,
}

impl<R> Held<R> {
    /// Waits until the record is durable and gives the answer out with what it stands on.
    ///
    /// # Errors
    /// The record was lost, and the call may not go on without: the answer is dropped unseen.
    pub async fn open(self) -> Result<(R, Evidence), Refusal> {
        let Self { response, access } = self;
        let (ticket, otherwise) = match access.0 {
            Written::Recorded(ticket, otherwise) => (ticket, otherwise),
            Written::Counted => return Ok((response, Evidence(Stands::CountedBefore))),
        };
        let lost = match ticket.await {
            Ok(durable) => return Ok((response, Evidence(Stands::On(durable.seq)))),
            Err(lost) => lost,
        };
        match Otherwise::go_on(otherwise, CallClass::Reads, Why::of_lost(lost)).await {
            Some(pass) => Ok((response, Evidence(Stands::Counted(pass)))),
            None => Err(Refusal::LedgerRefuses(lost.to_string())),
        }
    }
}

/// The access record of a pure read that is on its way to the disk while upstream is asked.
#[must_use = "the answer can only be held by its own record"]
#[derive(Debug)]
pub struct Access(Written);

#[derive(Debug)]
enum Written {
    Recorded(Ticket, Option<Otherwise>),
    /// It goes on without one.
    Counted,
}

impl Access {
    /// Holds the answer until the record is durable.
    pub const fn hold<R>(self, response: R) -> Held<R> {
        Held { response, access: self }
    }
}

/// The audit station.
#[derive(Debug)]
pub struct Station {
    ledger: Arc<Ledger>,
    clock: Clock,
    boot: Arc<str>,
    budgets: Budgets,
    origins: Origins,
    sealer: Option<part::Sealer>,
    policy: ArcSwapOption<AuditPolicy>,
    /// Lets calls go on without a record, where the operator has chosen that.
    unkept: OnceLock<Arc<Unkept>>,
    bodies: bodies::Keeping,
    body_counts: bodies::Counts,
}

impl Station {
    /// A station that writes to `ledger`; `boot` names this run of the process in each record.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, clock: Clock, boot: Arc<str>, limits: Limits) -> Arc<Self> {
        Arc::new(Self::without_parts(ledger, clock, boot, limits))
    }

    /// As [`Station::new`]; what may not stand in a record is kept beside it, sealed under `keys`.
    #[must_use]
    pub fn keeping_parts(
        ledger: Arc<Ledger>,
        clock: Clock,
        boot: Arc<str>,
        limits: Limits,
        keys: Arc<dyn PartKeys>,
    ) -> Arc<Self> {
        Arc::new(Self {
            sealer: Some(part::Sealer::new(keys)),
            ..Self::without_parts(ledger, clock, boot, limits)
        })
    }

    fn without_parts(ledger: Arc<Ledger>, clock: Clock, boot: Arc<str>, limits: Limits) -> Self {
        Self {
            ledger,
            clock,
            boot,
            budgets: Budgets::new(limits),
            origins: Origins::default(),
            sealer: None,
            policy: ArcSwapOption::empty(),
            unkept: OnceLock::new(),
            bodies: bodies::Keeping::new(),
            body_counts: bodies::Counts::default(),
        }
    }

    /// Asks for the keys of parts anew from now on: some were taken out of use, and nothing more may be sealed with them. What was sealed with
    /// them stays readable.
    pub fn forget_part_keys(&self) {
        self.forget_keys_and(|| (), || ());
    }

    /// The same, where what was sealed of this subject is to be erased: what passed to them is not remembered either. Else the next change of an object would
    /// say what it was before, under a key that nobody erases.
    ///
    /// `take` takes them out of use. Where names are sealed nothing is sealed from then until all of it is forgotten: a record in between would stand under the
    /// pseudonym of before with a key of since, or the reverse. Blocks for as long as `take` does, and so does whatever is to be recorded meanwhile: `take` is one
    /// step of the state file, on a thread that may block.
    pub fn forget_what_passed_and(&self, subject: &SubjectId, take: impl FnOnce()) {
        let forget_bodies = || {
            if let Some(bodies) = self.bodies.get() {
                bodies.forget(subject);
            }
        };
        if self.seals_names() {
            return self.forget_keys_and(take, forget_bodies);
        }
        // Names are in the clear: nothing is to be joined, and no call has to wait for a disk.
        take();
        self.forget_keys_and(|| (), forget_bodies);
    }

    /// The keys of parts and those of names in one moment: a record between the two would have its parts under new keys beside the name of before, and so
    /// join what an erasure parts.
    fn forget_keys_and(&self, take: impl FnOnce(), act: impl FnOnce()) {
        let forget = || {
            self.ledger.forget_name_keys_and(take);
            act();
        };
        match &self.sealer {
            Some(sealer) => sealer.forget_and(forget),
            None => forget(),
        }
    }

    /// The clock that stamps records.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Names this run of the process in each record.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// Whether records name people by pseudonyms: then nothing else may say whose call it is by what can be guessed.
    pub(crate) fn seals_names(&self) -> bool {
        self.ledger.seals_names()
    }

    /// The budgets of subjects and strangers.
    #[must_use]
    pub const fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Who holds which credential that was issued through the gate.
    #[must_use]
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }

    /// How much of the calls that come from now on is kept. Without a policy that is everything but bodies.
    pub fn set_policy(&self, policy: Option<Arc<AuditPolicy>>) {
        self.policy.store(policy);
    }

    /// What the policy says about a request, once and for all its records.
    fn judged<'t>(&self, trail: &'t Trail) -> Option<&'t level::Judged> {
        // What cannot be sealed is not kept.
        let keeps_bodies = self.sealer.is_some() && self.bodies.get().is_some();
        let judge = || {
            let policy = self.policy.load();
            policy.as_ref().and_then(|policy| policy.judge(trail, keeps_bodies))
        };
        trail.judged.get_or_init(judge).as_ref()
    }

    /// Who asks, and who stands behind an issued credential.
    fn by<'a>(&self, trail: &'a Trail, origin: &'a mut Option<Arc<str>>) -> Option<By<'a>> {
        let mut by = trail.by()?;
        *origin = by.credential_id.and_then(|id| self.origins.of(id));
        by.origin = origin.as_deref();
        Some(by)
    }

    /// Records that an answer handed a credential out: its id alone. A later call with it carries this caller as origin.
    fn issued(&self, trail: &Trail, pair: Option<u64>, seen: &scan::Issued) {
        let (now, mut origin) = (self.clock.read(), None);
        let Some(by) = self.by(trail, &mut origin) else { return };
        let holder: Arc<str> = by.origin.unwrap_or(by.user).into();
        if !self.origins.keep(&seen.id, &holder, seen.expires, now.wall) {
            return; // seen before: a certificate is read as often as somebody looks at it
        }
        let account = trail.account();
        let issued = Issued {
            id: &seen.id,
            what: if account.is_some() { "token" } else { "certificate" },
            account: account.as_deref(),
            serial: seen.serial.as_deref(),
            expires: seen.expires,
            origin: &holder,
        };
        let record = Record {
            pair,
            by: Some(by),
            effective: trail.effective(),
            issued: Some(issued),
            ..trail.head(&self.boot, now)
        };
        let write = || {
            // Without a name the ledger's door keeps of it that there was one, and when it ends; who holds it is in the state file.
            let is_named = self.names_as_before(trail);
            let record = Record {
                by: record.by.clone().filter(|_| is_named),
                effective: record.effective.clone().filter(|_| is_named),
                ..record.clone()
            };
            self.forget(RecordKind::Issued, &record)
        };
        let written = match &self.sealer {
            Some(sealer) => sealer.undisturbed(write),
            None => write(),
        };
        self.wrote(trail, written);
    }

    /// Writes the intent of an effect and waits until it is durable; or, where the operator lets it go on without, until it is counted.
    ///
    /// Cancellation before the end leaves at most an intent whose outcome says `notSent`.
    ///
    /// # Errors
    /// The ledger cannot take it: nothing may be sent.
    pub async fn intend(
        self: &Arc<Self>,
        trail: &Arc<Trail>,
        permit: Permit<Effect>,
    ) -> Result<(Recorded<Permit<Effect>>, End), Refusal> {
        let kind = if trail.may_become_a_session() {
            RecordKind::Open
        } else {
            RecordKind::Intent
        };
        let append = |body, parts| match kind {
            RecordKind::Open => self.ledger.append_open(body, parts),
            _ => self.ledger.append_intent(body, parts),
        };
        let appended = self.opening(trail, append).await?;
        let (why, refusal) = match appended {
            Ok((ticket, slot)) => {
                let end = End::of_effect(Arc::clone(self), Arc::clone(trail), slot, kind);
                match Self::intended(ticket, end).await {
                    Ok((sequence, end)) => {
                        let sequence = Some(sequence);
                        return Ok((Recorded { permit, sequence }, end));
                    }
                    Err(unkept) => (unkept.why(), unkept.into()),
                }
            }
            Err(error) => (Why::of_append(&error), full(&error)),
        };
        let otherwise = Otherwise::of(self, trail, permit.obligations().record);
        match Otherwise::go_on(otherwise, CallClass::Effects, why).await {
            Some(pass) => {
                let end = End::without_record(Arc::clone(self), Arc::clone(trail), kind, pass);
                Ok((Recorded { permit, sequence: None }, end))
            }
            None => Err(refusal),
        }
    }

    /// Waits in a task of its own: an end can only be written once its intent is durable. Whoever leaves in between leaves
    /// the waiting to the task, which then drops the end, and that says `notSent`.
    async fn intended(ticket: Ticket, end: End) -> Result<(u64, End), NotDurable> {
        tokio::spawn(until_durable(ticket, end))
            .await
            .unwrap_or(Err(NotDurable::Broke))
    }

    /// Writes the one record of a yes that an ingress is told, and waits until it is durable. What the ingress does with it nobody here
    /// sees. No fail mode lets one go without: it would leave no trace at all.
    ///
    /// # Errors
    /// The ledger cannot take it: the ingress may not be told yes.
    pub async fn verdict(self: &Arc<Self>, trail: &Trail) -> Result<RecordedVerdict, Refusal> {
        let append = |body, parts| self.ledger.append(RecordKind::Verdict, body, parts);
        let ticket = self.opening(trail, append).await?.map_err(|error| full(&error))?;
        match ticket.await {
            Ok(durable) => Ok(RecordedVerdict(durable.seq)),
            Err(lost) => Err(Refusal::LedgerRefuses(lost.to_string())),
        }
    }

    /// Hands the access record of a pure read to the ledger. It becomes durable beside the upstream call.
    ///
    /// # Errors
    /// The ledger cannot take it: nothing may be asked, as the answer could not be shown.
    pub async fn access(
        self: &Arc<Self>,
        trail: &Arc<Trail>,
        permit: &Permit<PureRead>,
    ) -> Result<(Access, End), Refusal> {
        let append = |body, parts| self.ledger.append(RecordKind::Access, body, parts);
        let appended = self.opening(trail, append).await?;
        let otherwise = Otherwise::of(self, trail, permit.obligations().record);
        let (station, known) = (Arc::clone(self), Arc::clone(trail));
        match appended {
            Ok(ticket) => Ok((
                Access(Written::Recorded(ticket, otherwise)),
                End::of_read(station, known),
            )),
            Err(error) => {
                let pass = Otherwise::go_on(otherwise, CallClass::Reads, Why::of_append(&error)).await;
                let pass = pass.ok_or_else(|| full(&error))?;
                let end = End::without_record(station, known, RecordKind::Access, pass);
                Ok((Access(Written::Counted), end))
            }
        }
    }

    /// Records a refusal, and says whether it did: above a budget, or when the ledger does not take it, it is only counted. It
    /// is not waited for: a refusal has no effect and shows nothing. What was opened has its own end, also when whoever was to
    /// carry on panicked: that one stands, and no refusal beside it.
    pub fn refuse(&self, trail: &Trail, refusal: &Refusal) -> bool {
        let words = refusal.in_words_of(trail.whom());
        let rules = match refusal {
            Refusal::Denied(denied) => denied.rules.as_slice(),
            _ => &[],
        };
        let outcome = Outcome {
            status: Some(refusal.status().as_u16()),
            reason: Some(refusal.reason()),
            why: Some(&words),
            ..bare(Answer::Refused)
        };
        self.turned_away(trail, refusal.code(), rules, outcome)
    }

    /// Records that nobody waits any more for what was not decided yet: the client has left, or the process stops.
    pub fn left(&self, trail: &Trail, is_draining: bool) {
        let (code, end, why) = if is_draining {
            (
                "draining",
                Answer::Ended,
                "the gateway stopped before there was an answer",
            )
        } else {
            (
                "clientLeft",
                Answer::ClientGone,
                "the client left before there was an answer",
            )
        };
        let outcome = Outcome {
            why: Some(why),
            ..bare(end)
        };
        self.turned_away(trail, code, &[], outcome);
    }

    fn turned_away(&self, trail: &Trail, code: &str, rules: &[RuleRef], outcome: Outcome<'_>) -> bool {
        if trail.has_an_end() {
            return true;
        }
        let now = self.clock.read();
        let subject = trail.identity.as_deref().map(|identity| identity.subject().id());
        if subject.is_none() && self.budgets.stranger(now).is_err() {
            return false; // counted; the next summary says how many
        }
        let asked_keys = trail.query_keys();
        let keys: Vec<&str> = asked_keys.named.iter().map(String::as_str).collect();
        let (options, path) = (trail.options(), trail.told_path());
        let (rules, rules_count) = trail::first_few(rules);
        let decided = Decided {
            allowed: false,
            who: "gateway",
            reason: Some(code),
            rules,
            rules_count,
            policy: trail.decision.as_ref().map_or("", |decision| &decision.policy),
            sent_groups_hash: "",
            stated_reason: trail.stated_reason.as_deref(),
        };
        let mut origin = None;
        let judged = self.judged(trail);
        let unrecorded = trail.unrecordable.get();
        let unrecorded = unrecorded.map(|cause| format!("not recorded: {}", cause.in_words()));
        let record = Record {
            by: self.by(trail, &mut origin),
            effective: trail.effective(),
            presented: trail.presented(),
            net: Some(trail.network()),
            req: Some(asked(judged, trail.request((&keys, asked_keys.count), &options, &path))),
            decision: Some(decided),
            audit: judged.map(level::Judged::written),
            outcome: Some(outcome),
            note: unrecorded.as_deref().or(trail.told_by.as_deref()),
            ..trail.head(&self.boot, now)
        };
        let Some(length) = self.forget(RecordKind::Refusal, &record) else {
            self.budgets.count_refusal(subject, now);
            return false;
        };
        self.wrote(trail, length);
        true
    }

    /// Records a visit to what is public, by somebody who showed nothing. All of them share the strangers' budget.
    pub fn visited(&self, trail: &Trail, status: u16) {
        let now = self.clock.read();
        if self.budgets.stranger(now).is_err() {
            return;
        }
        let outcome = Outcome {
            status: Some(status),
            ..bare(Answer::Answered)
        };
        let path = trail.told_path();
        let record = Record {
            net: Some(trail.network()),
            req: Some(trail.request((&[], None), "", &path)),
            outcome: Some(outcome),
            ..trail.head(&self.boot, now)
        };
        self.wrote(trail, self.forget(RecordKind::Access, &record));
    }

    /// Writes the counts of what was limited since the last call. Called by a timer and at the end of the process.
    pub fn write_summaries(&self) {
        let now = self.clock.read();
        for suppressed in self.budgets.take_suppressed() {
            let id = RequestId::new();
            let what = match &suppressed.whose {
                Whose::Strangers => "limited requests of strangers".to_owned(),
                Whose::Newcomers => "limited requests of subjects for whom there was no room".to_owned(),
                Whose::Subject(subject) => format!("limited requests of subject {subject}"),
            };
            let sum = Summed {
                count: suppressed.count,
                from: suppressed.from,
                to: suppressed.to,
                what: &what,
                by: &[],
            };
            let record = Record {
                sum: Some(sum),
                ..blank(&id, &self.boot, now)
            };
            if self.forget(RecordKind::Summary, &record).is_none() {
                // A full disk must not make a count smaller: it stands in a later summary.
                self.budgets.give_back(&suppressed);
            }
        }
    }

    /// Writes a record of any kind and waits until it is durable.
    ///
    /// # Errors
    /// The ledger cannot take it.
    pub async fn write(&self, kind: RecordKind, record: &Record<'_>) -> Result<u64, Refusal> {
        let body = record.body().map_err(|_| Refusal::Internal)?;
        if kind == RecordKind::Session && record.by.is_none() {
            self.budgets.strangers_wrote(body.len(), self.clock.read());
        }
        let ticket = self
            .ledger
            .append(kind, body, Vec::new())
            .map_err(|error| full(&error))?;
        ticket
            .await
            .map(|durable| durable.seq)
            .map_err(|lost| Refusal::LedgerRefuses(lost.to_string()))
    }

    /// What a record costs counts against its subject's day, or against what strangers share, whatever the call came to.
    fn wrote(&self, trail: &Trail, bytes: impl Into<Option<usize>>) {
        let bytes = bytes.into().unwrap_or(0);
        match trail.identity.as_deref() {
            Some(identity) => self.budgets.wrote(identity.subject().id(), bytes),
            None => self.budgets.strangers_wrote(bytes, self.clock.read()),
        }
    }

    /// Writes a record that nobody waits for; returns its length, or nothing when the ledger does not take it.
    fn forget(&self, kind: RecordKind, record: &Record<'_>) -> Option<usize> {
        let body = record.body().inspect_err(|error| not_encoded(record, error)).ok()?;
        let length = body.len();
        if let Err(error) = self.ledger.append_forget(kind, body, Vec::new()) {
            tracing::warn!(request.id = record.id, record.kind = kind.name(), error = %error, "a record that nobody waits for was not taken");
            return None;
        }
        Some(length)
    }

    fn settle(&self, trail: &Trail, kind: RecordKind, slot: Option<OutcomeSlot>, record: &Record<'_>) {
        let Some(slot) = slot else {
            return self.wrote(trail, self.forget(kind, record));
        };
        let Ok(body) = record
            .body_within(slot.most())
            .inspect_err(|error| not_encoded(record, error))
        else {
            return;
        };
        self.wrote(trail, body.len());
        if let Err(error) = slot.fill(kind, body) {
            // A later start lists the call as "outcome unknown", which is then true.
            tracing::error!(request.id = record.id, error = %error, "an outcome was not taken");
        }
    }

    /// Records a connection that never came to a request. All of them share the strangers' budget.
    pub fn connection_refused(&self, conn: &Conn, reason: Refused) {
        let now = self.clock.read();
        if self.budgets.stranger(now).is_err() {
            return;
        }
        let (id, why) = (RequestId::new(), reason.in_words());
        let net = Network {
            ip: conn.peer_ip(),
            port: conn.peer().port(),
            http: "",
            listener: conn.listener(),
        };
        let outcome = Outcome {
            bytes_in: conn.counters().bytes_read(),
            bytes_out: conn.counters().bytes_written(),
            why: Some(why),
            ..bare(Answer::Refused)
        };
        let record = Record {
            net: Some(net),
            outcome: Some(outcome),
            ..blank(&id, &self.boot, now)
        };
        match self.forget(RecordKind::Refusal, &record) {
            Some(length) => self.budgets.strangers_wrote(length, now),
            None => self.budgets.count_refusal(None, now),
        }
    }

    fn read_clock(&self) -> Reading {
        self.clock.read()
    }
}

/// Entry for the fuzzer: reads foreign bytes as an answer, in JSON and in protobuf.
pub fn fuzz_answer_scan(data: &[u8]) {
    scan::fuzz(data);
}

fn not_encoded(record: &Record<'_>, error: &model::event::NotPlain) {
    tracing::error!(request.id = record.id, error = %error, "a record could not be encoded");
}

/// An end of which no more is known.
const fn bare(end: Answer) -> Outcome<'static> {
    Outcome {
        end,
        status: None,
        reason: None,
        bytes_in: 0,
        bytes_out: 0,
        took: None,
        body_sha256: None,
        body_hmac: None,
        exit_code: None,
        unread: None,
        diverged: false,
        why: None,
    }
}

fn blank<'a>(id: &'a RequestId, boot: &'a str, now: Reading) -> Record<'a> {
    Record {
        id: id.as_str(),
        t: now.wall,
        mono: now.mono,
        boot,
        ..Record::default()
    }
}

/// Why an intent is not durable.
#[derive(Debug)]
enum NotDurable {
    Lost(Lost),
    /// A fault of ours.
    Broke,
}

impl NotDurable {
    const fn why(&self) -> Option<Why> {
        match self {
            Self::Lost(lost) => Why::of_lost(*lost),
            Self::Broke => None,
        }
    }
}

impl From<NotDurable> for Refusal {
    fn from(not: NotDurable) -> Self {
        match not {
            NotDurable::Lost(lost) => Self::LedgerRefuses(lost.to_string()),
            NotDurable::Broke => Self::Internal,
        }
    }
}

async fn until_durable(ticket: Ticket, mut end: End) -> Result<(u64, End), NotDurable> {
    match ticket.await {
        Ok(durable) => {
            end.pairs_with(durable.seq);
            Ok((durable.seq, end))
        }
        Err(lost) => {
            end.withdraw();
            Err(NotDurable::Lost(lost))
        }
    }
}

/// What stands in a record of what was asked.
fn asked<'r>(judged: Option<&level::Judged>, request: Request<'r>) -> Request<'r> {
    if judged.is_some_and(level::Judged::is_least) {
        level::least(request)
    } else {
        request
    }
}

fn full(error: &AppendError) -> Refusal {
    Refusal::LedgerRefuses(error.to_string())
}

#[cfg(test)]
mod sealed_tests;
#[cfg(test)]
mod tests;
