//! How a request ended. Exactly one end is written for each, whatever happens: answer, panic, timeout, cancel, drain.
//!
//! An [`End`] is carried by whoever holds the request; dropping it writes the outcome that is true at that moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, StatusCode};
use ledger::OutcomeSlot;
use model::event::{Answer, BodySeen, Outcome, Record, RecordKind, Recorded, Served, Span};
use payload::Side;
use tokio::runtime::Handle;

use super::beat::{Anchor, Heartbeats};
use super::bodies::{Answered, Tap};
use super::part::Keys;
use super::scan::{Asked, Issued, Scan, Seen, Unread};
use super::{Evidence, Pass, Stands, Station, Told, Trail};
use crate::clock::Reading;
use crate::refusal::Refusal;
use crate::whom::Whom;

/// How far the request came: decides what a sudden end means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has left the gateway.
    Before,
    /// It was sent; whether it had an effect is not known.
    Sent,
    /// The head of the answer has come.
    Answered,
}

/// The duty to write one end record.
pub struct End {
    station: Arc<Station>,
    trail: Arc<Trail>,
    settled: bool,
    upstream: Option<(Arc<str>, u16)>,
    other_audit_id: bool,
    attempts: u32,
    slot: Option<OutcomeSlot>,
    opened_by: RecordKind,
    pair: Option<u64>,
    /// It goes on without a record, and this counts how it ends.
    pass: Option<Pass>,
    stage: Stage,
    status: Option<u16>,
    upstream_status: Option<u16>,
    first: Option<u64>,
    bytes_in: Arc<AtomicU64>,
    bytes_out: Arc<AtomicU64>,
    body_sha256: Option<String>,
    exit_code: Option<i32>,
    /// A session stood behind it, so that its recording stays whatever comes.
    has_begun: bool,
    kept: Option<(Anchor, bool)>,
    /// When it was settled and as what, where its record is written later.
    settled_as: Option<(Reading, Answer, Option<String>)>,
    scan: Option<Scan>,
    tap: Option<Tap>,
    /// What is kept of the answer, until that is written.
    answered: Option<Answered>,
    /// Has it sealed, where those that were had before it came are out of use.
    new_keys: Option<Keys>,
    /// What the end has to say of it: nothing where a record of its own does.
    body: Option<BodySeen>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End")
            .field("pair", &self.pair)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl End {
    pub(super) fn of_effect(
        station: Arc<Station>,
        trail: Arc<Trail>,
        slot: OutcomeSlot,
        opened_by: RecordKind,
    ) -> Self {
        Self::new(station, trail, Some(slot), opened_by)
    }

    /// Whom its call is for.
    pub(crate) fn whom(&self) -> Whom {
        self.trail.whom()
    }

    pub(super) fn of_read(station: Arc<Station>, trail: Arc<Trail>) -> Self {
        Self::new(station, trail, None, RecordKind::Access)
    }

    /// Of a call that would have been opened by a record of this kind, and is counted instead.
    pub(super) fn without_record(station: Arc<Station>, trail: Arc<Trail>, opened_by: RecordKind, pass: Pass) -> Self {
        let mut end = Self::new(station, trail, None, opened_by);
        end.pass = Some(pass);
        end
    }

    fn new(station: Arc<Station>, trail: Arc<Trail>, slot: Option<OutcomeSlot>, opened_by: RecordKind) -> Self {
        trail.tells_elsewhere();
        trail.is_ended_by(true);
        Self {
            station,
            trail,
            settled: false,
            upstream: None,
            other_audit_id: false,
            attempts: 0,
            slot,
            opened_by,
            pair: None,
            pass: None,
            stage: Stage::Before,
            status: None,
            upstream_status: None,
            first: None,
            bytes_in: Arc::default(),
            bytes_out: Arc::default(),
            body_sha256: None,
            exit_code: None,
            has_begun: false,
            kept: None,
            settled_as: None,
            scan: None,
            tap: None,
            answered: None,
            new_keys: None,
            body: None,
        }
    }

    /// The sequence number of the record that this one ends.
    pub fn pairs_with(&mut self, sequence: u64) {
        self.pair = Some(sequence);
    }

    /// What the answer to a read stands on.
    pub(crate) fn stands_on(&mut self, Evidence(stands): Evidence) {
        match stands {
            Stands::On(sequence) => self.pairs_with(sequence),
            Stands::Counted(pass) => self.pass = Some(pass),
            Stands::CountedBefore => {}
        }
    }

    /// By which connection it went: the address that answered, our own port, and how often it was sent in all.
    pub fn asked(&mut self, address: Arc<str>, local_port: u16, attempts: u32) {
        self.upstream = Some((address, local_port));
        self.attempts = attempts;
    }

    /// How often it was sent in vain: nothing answered, so there is no address.
    pub fn tried(&mut self, attempts: u32) {
        self.attempts = attempts;
    }

    /// The answer carried another `Audit-Id` than ours.
    pub fn audit_id_differs(&mut self) {
        self.other_audit_id = true;
    }

    /// The counter of request body bytes, for the body that counts them.
    #[must_use]
    pub fn bytes_in(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_in)
    }

    /// From now on an end without an answer is "unknown".
    pub fn sent(&mut self) {
        self.stage = Stage::Sent;
    }

    /// It provably never left after all.
    pub fn not_sent(&mut self) {
        self.stage = Stage::Before;
    }

    /// The head of the answer has come.
    pub fn answered(&mut self, status: u16) {
        self.stage = Stage::Answered;
        self.status = Some(status);
        let now = self.station.read_clock();
        // Told twice, where it comes and where it is passed on.
        let elapsed = self.elapsed(now);
        self.first.get_or_insert(elapsed);
        self.trail.first_byte(now.mono);
    }

    /// Fields of the answer are wanted.
    pub(crate) fn scans(&mut self, scan: Scan) {
        self.scan = Some(scan);
    }

    /// The head of the answer that is passed on: its body is kept, if the policy wants that.
    pub(crate) fn keeps_answer(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.tap = self.station.tap(&self.trail, status, headers);
    }

    /// Response bytes have passed.
    pub fn passed(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes_out.fetch_add(length, Ordering::Relaxed);
        if let Some(scan) = &mut self.scan {
            scan.feed(bytes);
        }
        if let Some(tap) = &mut self.tap {
            tap.feed(bytes);
        }
    }

    /// The command of a session has ended with this code.
    pub(crate) const fn exited(&mut self, code: i32) {
        self.exit_code = Some(code);
    }

    /// What stands for the recording at the end, and whether all of the session is in it.
    pub(crate) fn kept(&mut self, anchor: Anchor, is_whole: bool) {
        self.kept = Some((anchor, is_whole));
    }

    /// A session begins. What is returned writes that it goes on, and counts its bytes for this end too.
    pub(crate) fn begins(&mut self) -> Heartbeats {
        self.has_begun = true;
        Heartbeats {
            station: Arc::clone(&self.station),
            trail: Arc::clone(&self.trail),
            pair: self.pair,
            bytes_in: Arc::clone(&self.bytes_in),
            bytes_out: Arc::clone(&self.bytes_out),
        }
    }

    /// The digest of the request body, hexadecimal. What is written is another one, keyed.
    pub fn digest(&mut self, sha256: String) {
        self.body_sha256 = Some(sha256);
    }

    /// Writes the end. Where the answer is to be masked before, or needs new keys, that is done aside: whoever passes the answer on does not
    /// wait.
    pub fn settle(mut self, end: Answer, why: Option<&str>) {
        let Some(tap) = &self.tap else {
            return self.write(end, why);
        };
        let bodies = tap.bodies();
        let Ok(runtime) = Handle::try_current() else {
            return self.write(end, why);
        };
        if end != Answer::Answered || !tap.takes_time() {
            self.mask(end);
            if self.tell() != Told::OutOfUse {
                return self.write(end, why);
            }
        }
        self.settled_as = Some((self.station.read_clock(), end, why.map(str::to_owned)));
        bodies.ends().spawn_on(self.settle_aside(end), &runtime);
    }

    /// As [`Self::settle`]. Dropped before the end, for example because the process stops, it writes the end that it was given.
    async fn settle_aside(mut self, end: Answer) {
        if let Some(bodies) = self.tap.as_ref().map(Tap::bodies) {
            let turn = bodies.turn_of_answer(&self.trail).await;
            let masking = tokio::task::spawn_blocking(move || {
                self.mask(end);
                drop(turn);
                self
            });
            match masking.await {
                Ok(this) => self = this,
                // The end went with it, and is written.
                Err(_) => return,
            }
        }
        while self.tell() == Told::OutOfUse {
            self.new_keys = self.station.keys_of_answer(&self.trail).await;
            if self.new_keys.is_none() {
                return;
            }
        }
    }

    /// Writes the end with a status that the gateway itself answered.
    pub fn settle_with(mut self, end: Answer, status: u16, why: Option<&str>) {
        self.status = Some(status);
        self.write(end, why);
    }

    /// The same for a refusal, in words of whom the call is for.
    pub(crate) fn settle_refused(self, end: Answer, refusal: &Refusal) {
        let why = refusal.in_words_of(self.whom());
        self.settle_with(end, refusal.status().as_u16(), Some(&why));
    }

    /// Writes the end of a call whose answer is not passed on: the caller is told `status` by the gateway.
    pub fn settle_instead(mut self, status: u16, why: &str) {
        self.upstream_status = self.status.replace(status);
        self.write(Answer::Answered, Some(why));
    }

    /// Takes the duty back: the opening record never became durable, so there is nothing to end.
    pub(crate) fn withdraw(mut self) {
        self.trail.is_ended_by(false);
        self.settled = true;
    }

    fn elapsed(&self, now: Reading) -> u64 {
        now.mono.saturating_sub(self.trail.received.mono) / 1_000
    }

    fn write(&mut self, end: Answer, why: Option<&str>) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        let settled_at = self.settled_as.as_ref().map(|(at, ..)| *at);
        self.mask(end);
        if self.tell() == Told::OutOfUse {
            self.untold("noKey");
        }
        let answer = self.body.take();
        let now = settled_at.unwrap_or_else(|| self.station.read_clock());
        self.trail.told_end(self.status, now.mono);
        let total = self.elapsed(now);
        let kind = match self.opened_by {
            RecordKind::Intent => RecordKind::Outcome,
            _ => RecordKind::Close,
        };
        let (seen, issued) = self.seen(end);
        let (seen, unread) = match &seen {
            Some(Ok(seen)) => (Some(seen), None),
            Some(Err(why)) => (None, Some(why.in_words())),
            None => (None, None),
        };
        // Credentials that were handed out are looked for and recorded at every level, and so is a no of the cluster.
        let is_least = self.trail.is_kept_least();
        let object = seen.filter(|_| !is_least);
        let sha256 = self.body_sha256.as_deref().filter(|_| !is_least);
        // Never the plain one: with all else of the body known, that would tell a short secret to whoever tries.
        let hmac = sha256.and_then(|sha256| self.station.keyed(&self.trail, sha256));
        let outcome = Outcome {
            end,
            status: self.status,
            reason: seen.and_then(Seen::reason),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            took: Some(Span {
                first: self.first.unwrap_or(total),
                total,
            }),
            body_sha256: None,
            body_hmac: hmac.as_deref(),
            exit_code: self.exit_code,
            unread: unread.filter(|_| !is_least),
            diverged: self.diverged(seen),
            why,
        };
        let (slot, pass) = (self.slot.take(), self.pass.take());
        let record = Record {
            pair: self.pair,
            upstream: self.served(),
            outcome: Some(outcome),
            object: object.and_then(|seen| seen.object(self.question())),
            items: object.and_then(Seen::items),
            recording: self.recorded(),
            body: answer.as_ref(),
            ..self.trail.head(&self.station.boot, now)
        };
        match pass {
            // There is no record to which an end would belong.
            Some(pass) => pass.ended(end),
            None => self.station.settle(&self.trail, kind, slot, &record),
        }
        if let Some(issued) = seen.and_then(|seen| seen.issued.as_ref()).or(issued.as_ref()) {
            self.station.issued(&self.trail, self.pair, issued);
        }
    }

    /// Masks the answer, where it is kept and has ended so.
    fn mask(&mut self, end: Answer) {
        if let Some(tap) = self.tap.take() {
            self.answered = tap.finish(&self.trail, end);
        }
    }

    /// As [`End::settle`], and does this when the answer was compared and before anything is sealed.
    #[cfg(test)]
    pub(super) async fn settle_and(mut self, end: Answer, act: impl FnOnce()) {
        self.mask(end);
        act();
        self.settled_as = Some((self.station.read_clock(), end, None));
        self.settle_aside(end).await;
    }

    /// Writes what the answer held, or keeps for the end what is to be said of it.
    fn tell(&mut self) -> Told {
        let Some(mut answered) = self.answered.take() else {
            return Told::Written;
        };
        if answered.kept.document.is_none() {
            self.say(answered.kept.seen);
            return Told::Written;
        }
        let keys = self.new_keys.as_ref().or_else(|| self.trail.answer_keys.get());
        let told = self.station.answer(&self.trail, self.pair, &answered, keys);
        match told {
            Told::Written => self.station.body_counts.add(Side::Answer, "document", None),
            Told::OutOfUse => {
                answered.forget_before();
                self.answered = Some(answered);
            }
            Told::Not(why) => {
                self.answered = Some(answered);
                self.untold(why);
            }
        }
        told
    }

    /// What the answer held is not written, for this reason.
    fn untold(&mut self, why: &'static str) {
        if let Some(answered) = self.answered.take() {
            let mut seen = answered.kept.seen;
            self.say(BodySeen {
                kept: "none",
                media: seen.media.take(),
                why: Some(why),
                bytes: seen.bytes,
                ..BodySeen::default()
            });
        }
    }

    fn say(&mut self, seen: BodySeen) {
        self.station.body_counts.add(Side::Answer, seen.kept, seen.why);
        self.body = Some(seen);
    }

    /// Who has answered, and how; none where nothing is known of it.
    fn served(&self) -> Option<Served<'_>> {
        let attempts = (self.attempts > 1).then_some(self.attempts);
        let upstream = self.upstream.as_ref();
        let (address, local_port) = upstream.map(|(address, port)| (&**address, *port)).unzip();
        let node = self.trail.node.get().map(AsRef::as_ref);
        let said = address.is_some() || attempts.is_some() || self.upstream_status.is_some() || node.is_some();
        said.then_some(Served {
            address,
            local_port,
            attempts,
            audit_id_differs: self.other_audit_id,
            status: self.upstream_status,
            node,
        })
    }

    /// What the answer is an answer to.
    fn question(&self) -> Asked<'_> {
        Asked {
            is_for_one: self.trail.asks_for_one(),
            name: self.trail.facts.as_ref().map_or("", |facts| facts.name()),
            is_success: self.status.is_some_and(|status| (200..300).contains(&status)),
        }
    }

    /// What stands for the recording at the end. One that stood ready for a session which never began is taken back.
    fn recorded(&self) -> Option<Recorded<'_>> {
        let kept = self.kept.as_ref().map(|(anchor, is_whole)| anchor.recorded(!is_whole));
        let taken_back = !self.has_begun && self.trail.recording.get().is_some();
        kept.or_else(|| taken_back.then(Recorded::default))
    }

    /// Whether the cluster refused what the gateway allowed. Behind an upgrade or a `proxy` subresource somebody else may answer
    /// 403 too: there only the cluster's own words count.
    fn diverged(&self, seen: Option<&Seen>) -> bool {
        let by_others = self.opened_by == RecordKind::Open || self.trail.reaches_a_backend();
        let in_words = || seen.and_then(Seen::reason) == Some("Forbidden");
        self.status == Some(403) && (!by_others || in_words())
    }

    /// What was seen of the answer, if it was looked at and something came; and the credential in one that broke off.
    fn seen(&mut self, end: Answer) -> (Option<Result<Seen, Unread>>, Option<Issued>) {
        match self.scan.take().filter(|_| self.bytes_out.load(Ordering::Relaxed) > 0) {
            None => (None, None),
            Some(scan) if end == Answer::Answered => (Some(scan.finish()), None),
            Some(scan) => (Some(Err(Unread::NotWhole)), scan.issued_so_far()),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some((_, end, why)) = &self.settled_as {
            let (end, why) = (*end, why.clone());
            return self.write(end, why.as_deref());
        }
        match self.stage {
            _ if self.has_begun => self.write(Answer::Ended, Some("the gateway broke the session off")),
            Stage::Before => self.write(Answer::NotSent, Some("the request ended before it was sent")),
            Stage::Sent => self.write(Answer::Unknown, Some("it was sent and no answer came")),
            Stage::Answered => self.write(Answer::ClientGone, Some("the client left before the end of the answer")),
        }
    }
}
