//! The place of an outcome, reserved when its intent is appended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use model::event::RecordKind;

use super::{Item, Role, Shared};
use crate::error::{FillError, FillWhy};
use crate::leaf;
use crate::ticket::{Ticket, ticket};

const PENDING: u64 = u64::MAX;
const LOST: u64 = u64::MAX - 1;

/// One reserved place; counted in `Shared::slots` until it is released, once.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    intent: AtomicU64,
    is_released: AtomicBool,
}

impl Place {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            intent: AtomicU64::new(PENDING),
            is_released: AtomicBool::new(false),
        }
    }

    pub(crate) fn durable(&self, intent: u64) {
        self.intent.store(intent, Ordering::SeqCst);
    }

    pub(crate) fn lost(&self) {
        self.intent.store(LOST, Ordering::SeqCst);
        self.release();
    }

    pub(crate) fn release(&self) {
        if !self.is_released.swap(true, Ordering::SeqCst) {
            self.shared.release_slot();
        }
    }
}

/// The reserved place of the outcome of one intent, or of the close of one stream.
///
/// Dropped unfilled, it gives its place back and the call stays without an end: the next start records it as unknown.
#[derive(Debug)]
#[must_use = "a dropped slot leaves its call without an end"]
pub struct OutcomeSlot {
    place: Option<Arc<Place>>,
}

impl OutcomeSlot {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        Self { place: Some(place) }
    }

    /// The intent's sequence number, once it is durable.
    #[must_use]
    pub fn intent(&self) -> Option<u64> {
        let seq = self.place.as_ref()?.intent.load(Ordering::SeqCst);
        (seq < LOST).then_some(seq)
    }

    /// The longest body that it takes.
    #[must_use]
    pub fn most(&self) -> usize {
        self.place.as_ref().map_or(0, |place| place.shared.limits().outcome)
    }

    /// Appends the outcome (`RecordKind::Outcome` or `Close`) in its reserved place: no full queue and no full disk refuses it.
    /// `body` has `"pair":<the intent's sequence number>` at its top level.
    ///
    /// # Errors
    /// [`FillError`] for the caller's mistakes and for a closed ledger; the slot comes back inside it.
    pub fn fill(mut self, kind: RecordKind, body: Vec<u8>) -> Result<Ticket, FillError> {
        let Some(place) = self.place.take() else {
            return Err(FillError {
                why: FillWhy::Closed,
                slot: self,
            });
        };
        match try_fill(&place, kind, body) {
            Ok(ticket) => Ok(ticket),
            Err(why) => {
                self.place = Some(place);
                Err(FillError { why, slot: self })
            }
        }
    }
}

fn try_fill(place: &Arc<Place>, kind: RecordKind, body: Vec<u8>) -> Result<Ticket, FillWhy> {
    if !matches!(kind, RecordKind::Outcome | RecordKind::Close) {
        return Err(FillWhy::WrongKind);
    }
    let intent = match place.intent.load(Ordering::SeqCst) {
        PENDING => return Err(FillWhy::IntentNotDurable),
        LOST => return Err(FillWhy::IntentLost),
        seq => seq,
    };
    let limit = place.shared.limits().outcome;
    if body.len() > limit {
        return Err(FillWhy::TooLong { len: body.len(), limit });
    }
    let fits = |body: Vec<u8>, _: Vec<super::Part>| push_end(place, kind, intent, body);
    // Nothing lies beside an end: its place is reserved, and parts have none.
    let pushed = place.shared.sealing.with(kind, body, None, fits);
    pushed.unwrap_or(Err(FillWhy::NotSealed))
}

fn push_end(place: &Arc<Place>, kind: RecordKind, intent: u64, body: Vec<u8>) -> Result<Ticket, FillWhy> {
    let pair = if leaf::is_object(&body) {
        leaf::facts(&body).and_then(|facts| facts.pair)
    } else {
        None
    };
    if pair != Some(intent) {
        return Err(FillWhy::WrongPair { expected: intent });
    }
    let (promise, ticket) = ticket();
    let role = Role::Ends {
        intent,
        place: Arc::clone(place),
    };
    let item = Item {
        kind,
        body,
        parts: Vec::new(),
        promise: Some(promise),
        role,
    };
    place.shared.push_reserved(item).map_err(|_| FillWhy::Closed)?;
    Ok(ticket)
}

impl Drop for OutcomeSlot {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            place.release();
        }
    }
}
