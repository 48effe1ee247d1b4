//! Records with what lies sealed beside them: the one that opens a call, and the one that says what its answer held.
//!
//! Invariant: nothing is handed to the ledger sealed under a key that was taken out of use before. Else it would stand behind the record that
//! says that the key was erased, and be taken for erased though nobody asked for that.

use std::sync::Arc;

use audit_policy::Level;
use model::event::{Record, RecordKind};

use super::part::{self, Class, Keys, Sealed};
use super::{Station, Trail, asked, bodies, level, not_encoded};
use crate::refusal::Refusal;

/// Whether what an answer held was written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Written,
    /// It was not, and will not be: why, as `body.why` says it.
    Not(&'static str),
    /// The keys that were had for it were taken out of use since.
    OutOfUse,
}

impl Station {
    /// Appends the record that opens a request, with its parts. A gap before it is recorded before it.
    ///
    /// Whoever takes keys out of use meanwhile has it sealed under new ones: parts under a key that a record says is erased would be
    /// taken for erased ones.
    pub(super) async fn opening<T>(
        self: &Arc<Self>,
        trail: &Trail,
        append: impl Fn(Vec<u8>, Vec<ledger::Part>) -> T,
    ) -> Result<T, Refusal> {
        if let Some(sealer) = &self.sealer {
            let mut origin = None;
            if let Some(by) = self.by(trail, &mut origin) {
                sealer.remember(&by).await?;
            }
        }
        let judged = self.judged(trail);
        let subject = trail.identity.as_deref().map(|identity| identity.subject().id());
        let sealed_by = self.sealer.as_ref().zip(subject);
        let is_least = judged.is_some_and(level::Judged::is_least);
        let loose = match sealed_by {
            Some(_) if !is_least => part::loose(trail),
            _ => Vec::new(),
        };
        let Some((sealer, subject)) = sealed_by.filter(|_| !is_least) else {
            self.write_gap().await;
            return self.opened(trail, Default::default(), append);
        };
        // What cannot be sealed when the answer comes should not have been asked for.
        let mut classes: Vec<Class> = loose.iter().map(|(class, _)| *class).collect();
        if keeps_answer(judged) {
            classes.extend(OF_ANSWER);
        }
        loop {
            let keys = sealer.keys(subject, &classes).await?;
            self.write_gap().await;
            let opened = sealer.with(&keys, || {
                let loose = loose.iter().map(|(class, bytes)| (*class, bytes.as_slice()));
                let sealed = keys.seal(trail.id.as_str(), loose).ok_or(Refusal::Internal)?;
                self.opened(trail, sealed, &append)
            });
            if let Some(opened) = opened {
                // Set once: a call is opened once.
                let _ = trail.answer_keys.set(keys);
                return opened;
            }
        }
    }

    fn opened<T>(
        &self,
        trail: &Trail,
        (named, kept): Sealed,
        append: impl Fn(Vec<u8>, Vec<ledger::Part>) -> T,
    ) -> Result<T, Refusal> {
        let judged = self.judged(trail);
        let (options, path) = (trail.options(), trail.told_path());
        let asked_keys = trail.query_keys();
        let keys: Vec<&str> = asked_keys.named.iter().map(String::as_str).collect();
        let mut origin = None;
        let record = Record {
            by: self.by(trail, &mut origin),
            effective: trail.effective(),
            net: Some(trail.network()),
            req: Some(asked(judged, trail.request((&keys, asked_keys.count), &options, &path))),
            body: trail.body.get().map(|kept| &kept.seen),
            decision: trail.decided(),
            audit: judged.map(level::Judged::written),
            recording: trail.recording.get().map(|anchor| anchor.recorded(false)),
            parts: &named,
            ..trail.head(&self.boot, trail.received)
        };
        let body = record.body().map_err(|_| Refusal::Internal)?;
        let beside: usize = kept.iter().map(|part| part.bytes.len()).sum();
        self.wrote(trail, body.len().saturating_add(beside));
        let before = self.pseudonym(trail);
        let appended = append(body, kept);
        // Where it changed in between, it is not known under which one the record stands: later ones do not say whose they are then.
        if let Some(pseudonym) = before.filter(|before| self.pseudonym(trail).as_ref() == Some(before)) {
            let _ = trail.pseudonym.set(pseudonym);
        }
        Ok(appended)
    }

    /// Under which pseudonym records of whoever calls stand now; none where names are in the clear.
    fn pseudonym(&self, trail: &Trail) -> Option<String> {
        let identity = trail.identity.as_deref()?;
        self.ledger.pseudonym(identity.subject().id())
    }

    /// Whether one more record of this call would name whoever calls as the first one did. Else their erasure was asked for meanwhile, and a
    /// record under the new pseudonym, with the id that the first one has under the old, would say that both are one person.
    pub(super) fn names_as_before(&self, trail: &Trail) -> bool {
        !self.ledger.seals_names()
            || self
                .pseudonym(trail)
                .is_some_and(|now| trail.pseudonym.get() == Some(&now))
    }

    /// The keys under which an answer is sealed, as they are now. `None`: they cannot be had; or names are sealed, and these are others than
    /// when the call began: beside a record of it they would join its pseudonym with the one that they belong to.
    pub(super) async fn keys_of_answer(&self, trail: &Trail) -> Option<Keys> {
        let subject = trail.identity.as_deref().map(|identity| identity.subject().id())?;
        let keys = self.sealer.as_ref()?.keys(subject, &OF_ANSWER).await;
        let failed = |refusal: &Refusal| {
            tracing::warn!(request.id = trail.id.as_str(), why = %refusal.in_words(), "what an answer held cannot be sealed");
        };
        let keys = keys.inspect_err(failed).ok()?;
        let are_the_same = || trail.answer_keys.get().is_some_and(|before| keys.are_of(before));
        (!self.ledger.seals_names() || are_the_same()).then_some(keys)
    }

    /// Records what an answer held, with its parts, before its end is told: whoever reads the end has seen it.
    pub(super) fn answer(
        &self,
        trail: &Trail,
        pair: Option<u64>,
        answered: &bodies::Answered,
        keys: Option<&Keys>,
    ) -> Told {
        let document = answered.kept.document.as_ref();
        let Some((pair, document)) = pair.zip(document) else {
            return Told::Not("ledger");
        };
        let Some((sealer, keys)) = self.sealer.as_ref().zip(keys) else {
            return Told::Not("noKey");
        };
        let loose = [
            Some((Class::Answer, document.json().as_bytes())),
            answered
                .changes
                .as_ref()
                .map(|changes| (Class::Diff, changes.as_bytes())),
        ];
        let written = sealer.with(keys, || {
            let sealed = keys.seal(trail.id.as_str(), loose.into_iter().flatten());
            sealed.map(|sealed| self.answered(trail, pair, answered, sealed))
        });
        match written {
            None => Told::OutOfUse,
            Some(None) => Told::Not("noKey"),
            Some(Some(true)) => Told::Written,
            Some(Some(false)) => Told::Not("ledger"),
        }
    }

    fn answered(&self, trail: &Trail, pair: u64, answered: &bodies::Answered, (named, kept): Sealed) -> bool {
        let record = Record {
            pair: Some(pair),
            body: Some(&answered.kept.seen),
            diff: answered.diff.as_ref(),
            parts: &named,
            ..trail.head(&self.boot, self.clock.read())
        };
        let beside: usize = kept.iter().map(|part| part.bytes.len()).sum();
        let Ok(body) = record.body().inspect_err(|error| not_encoded(&record, error)) else {
            return false;
        };
        let length = body.len().saturating_add(beside);
        if let Err(error) = self.ledger.append_forget(RecordKind::Answer, body, kept) {
            tracing::warn!(request.id = record.id, error = %error, "what an answer held was not taken");
            return false;
        }
        self.wrote(trail, length);
        true
    }
}

/// What an answer is sealed as.
const OF_ANSWER: [Class; 2] = [Class::Answer, Class::Diff];

fn keeps_answer(judged: Option<&level::Judged>) -> bool {
    judged.is_some_and(|judged| judged.kept() == Level::RequestResponse)
}
