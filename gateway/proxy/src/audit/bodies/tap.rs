//! An answer's body on its way down: copied while it passes, and masked when all of it has passed. Nothing is held back for it.

use std::sync::Arc;

use audit_policy::Level;
use http::{HeaderMap, StatusCode};
use model::event::{Answer, DiffSeen};
use payload::Side;

use super::before::{Changed, unknown_before};
use super::{AT_ONCE, Bodies, Form, Kept, MOST, NoRoom, Of, Room, Turn};
use crate::audit::{Station, Trail};

/// Copies one answer.
pub(in crate::audit) struct Tap {
    bodies: Arc<Bodies>,
    of: Of,
    form: Form,
    status: StatusCode,
    copy: Result<Copied, Unread>,
    length: u64,
}

/// What has passed, and the room for it.
struct Copied {
    bytes: Vec<u8>,
    room: Room,
}

/// Why nothing is copied.
#[derive(Clone, Copy)]
enum Unread {
    Opaque(&'static str),
    NoRoom(NoRoom),
}

/// Of an answer that does not say how long it is so much room is taken at first.
const AT_FIRST: usize = 4 << 10;

impl Copied {
    fn begin(room: Room, length: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(length),
            room,
        }
    }

    /// Takes what passes, and room for it: twice as much as before, so that it is asked for seldom.
    fn take(&mut self, more: &[u8]) -> Result<(), Unread> {
        let length = self.bytes.len().saturating_add(more.len());
        if length > MOST {
            return Err(Unread::Opaque(payload::Why::TooLong.code()));
        }
        if length > self.bytes.capacity() {
            let wanted = self.bytes.capacity().saturating_mul(2).clamp(length, MOST);
            self.room.resize(wanted).map_err(Unread::NoRoom)?;
            self.bytes.reserve_exact(wanted.saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tap({} bytes)", self.length)
    }
}

/// What is kept of an answer.
#[derive(Debug)]
pub(in crate::audit) struct Answered {
    pub(in crate::audit) kept: Kept,
    /// Of a change: what it changed, or why that is not known.
    pub(in crate::audit) diff: Option<DiffSeen>,
    /// The changes themselves, as JSON.
    pub(in crate::audit) changes: Option<String>,
    /// For what is kept, until it is written.
    _room: Option<Room>,
}

impl Answered {
    /// Says nothing of what was before: its keys were taken out of use since it was compared, and what was sealed under them may be what somebody
    /// has erased.
    pub(in crate::audit) fn forget_before(&mut self) {
        if self.changes.take().is_some() {
            self.diff = Some(unknown_before());
        }
    }
}

impl Station {
    /// What copies the answer to a call, if its policy wants that.
    pub(in crate::audit) fn tap(&self, trail: &Trail, status: StatusCode, headers: &HeaderMap) -> Option<Tap> {
        let bodies = self.wanted(trail, Level::RequestResponse)?;
        let facts = trail.facts.as_ref()?;
        let is_stream = facts.long_running() || facts.subresource() == "log" || trail.upgrade.is_some();
        let of = self.about(trail).filter(|_| !is_stream)?;
        let subject = trail.identity.as_deref()?.subject().id().as_str();
        let form = Form::of(headers);
        let declared = headers.get(http::header::CONTENT_LENGTH);
        let declared = declared.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        let copy = match (form.unreadable(), declared) {
            (Some(why), _) => Err(Unread::Opaque(why)),
            (None, Some(length)) if length > MOST => Err(Unread::Opaque(payload::Why::TooLong.code())),
            (None, length) => {
                let length = length.unwrap_or(AT_FIRST);
                let room = bodies.budget.take(subject, length);
                room.map(|room| Copied::begin(room, length)).map_err(Unread::NoRoom)
            }
        };
        Some(Tap {
            bodies: Arc::clone(bodies),
            of,
            form,
            status,
            copy,
            length: 0,
        })
    }
}

impl Tap {
    /// Response bytes pass.
    pub(in crate::audit) fn feed(&mut self, bytes: &[u8]) {
        self.length = self
            .length
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        let taken = self.copy.as_mut().map(|copy| copy.take(bytes));
        if let Ok(Err(why)) = taken {
            self.copy = Err(why);
        }
    }

    /// Whether there is so much to mask that nobody should wait for it.
    pub(in crate::audit) fn takes_time(&self) -> bool {
        self.copy.as_ref().is_ok_and(|copy| copy.bytes.len() > AT_ONCE)
    }

    /// Who masks it.
    pub(in crate::audit) fn bodies(&self) -> Arc<Bodies> {
        Arc::clone(&self.bodies)
    }

    /// What is kept of it, now that it has ended so; `None` where there was no body.
    pub(in crate::audit) fn finish(self, trail: &Trail, end: Answer) -> Option<Answered> {
        if self.length == 0 {
            return None;
        }
        let media = self.form.media.as_deref();
        let (kept, room) = match self.copy {
            Ok(copy) if end == Answer::Answered => self.bodies.masked_copy(&self.of, &self.form, copy),
            Ok(_) => (Kept::none(media, "brokeOff"), None),
            Err(Unread::NoRoom(none)) => (Kept::none(media, none.code()), None),
            Err(Unread::Opaque(why)) => (Kept::opaque(media, why), None),
        };
        let mut answered = Answered {
            kept,
            diff: None,
            changes: None,
            _room: room,
        };
        answered.kept.seen.bytes = Some(self.length);
        if let Some(changed) = self
            .bodies
            .before
            .pass(trail, &self.of, self.status, answered.kept.document.as_ref())
        {
            let Changed { seen, changes } = changed;
            (answered.diff, answered.changes) = (Some(seen), changes);
        }
        Some(answered)
    }
}

impl Bodies {
    /// Masks an answer, and keeps room for the document in place of the copy's.
    fn masked_copy(&self, of: &Of, form: &Form, copy: Copied) -> (Kept, Option<Room>) {
        let Copied { bytes, mut room } = copy;
        let kept = self.mask(of, form, &bytes, Side::Answer);
        drop(bytes);
        let Some(length) = kept.document.as_ref().map(|document| document.json().len()) else {
            return (kept, None);
        };
        match room.resize(length) {
            Ok(()) => (kept, Some(room)),
            Err(none) => (kept.without_room(form.media.as_deref(), none), None),
        }
    }

    /// Counts those ends that are written aside.
    pub(in crate::audit) const fn ends(&self) -> &tokio_util::task::TaskTracker {
        &self.ends
    }

    /// Waits for its turn to mask what takes its time.
    pub(in crate::audit) async fn turn_of_answer(&self, trail: &Trail) -> Turn {
        let subject = trail
            .identity
            .as_deref()
            .map(|identity| identity.subject().id().as_str());
        self.turn(subject.unwrap_or_default()).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::audit::BodyBudget;

    proptest! {
        /// promise_8: a copy takes no more memory than its room, however the answer is cut.
        #[test]
        fn promise_8_a_copy_is_what_has_passed_and_no_larger_than_its_room(
            declared in prop::option::of(0..=MOST), pieces in prop::collection::vec(0_usize..30_000, 0..8),
        ) {
            let budget = BodyBudget::of(1 << 20, 128 << 10);
            let length = declared.unwrap_or(AT_FIRST);
            let mut copied = Copied::begin(budget.take("s", length).unwrap(), length);
            let mut passed = Vec::new();
            for (number, piece) in pieces.into_iter().enumerate() {
                let piece = vec![u8::try_from(number).unwrap(); piece];
                passed.extend_from_slice(&piece);
                let taken = copied.take(&piece);
                prop_assert!(copied.bytes.capacity() <= budget.held().0, "{} bytes", copied.bytes.capacity());
                if passed.len() > MOST {
                    prop_assert!(matches!(taken, Err(Unread::Opaque("tooLong"))));
                    return Ok(());
                }
                prop_assert!(taken.is_ok() && copied.bytes == passed);
            }
        }
    }
}
