//! An answer's body on its way down: copied while it passes, and masked when all of it has passed. Nothing is held back for it.

use std::sync::Arc;

use audit_policy::Level;
use http::{HeaderMap, StatusCode};
use model::event::{Answer, DiffSeen};
use payload::Side;

use super::before::Changed;
use super::{AT_ONCE, Bodies, Form, Kept, MOST, Of, Room};
use crate::audit::{Station, Trail};

/// Copies one answer.
pub(in crate::audit) struct Tap {
    bodies: Arc<Bodies>,
    of: Of,
    form: Form,
    status: StatusCode,
    copy: Result<(Vec<u8>, Room), &'static str>,
    length: u64,
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
            (Some(why), _) => Err(why),
            (None, Some(length)) if length > MOST => Err(payload::Why::TooLong.code()),
            (None, length) => match bodies.budget.take(subject, length.unwrap_or(MOST)) {
                Some(room) => Ok((Vec::with_capacity(length.unwrap_or_default()), room)),
                None => Err("budget"),
            },
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
        if let Ok((copy, _)) = &mut self.copy {
            if copy.len().saturating_add(bytes.len()) > MOST {
                self.copy = Err(payload::Why::TooLong.code());
            } else {
                copy.extend_from_slice(bytes);
            }
        }
    }

    /// Whether there is so much to mask that nobody should wait for it.
    pub(in crate::audit) fn takes_time(&self) -> bool {
        self.copy.as_ref().is_ok_and(|(copy, _)| copy.len() > AT_ONCE)
    }

    /// Where those are counted that take their time.
    pub(in crate::audit) fn tracker(&self) -> tokio_util::task::TaskTracker {
        self.bodies.ends.clone()
    }

    /// What is kept of it, now that it has ended so; `None` where there was no body.
    pub(in crate::audit) fn finish(self, trail: &Trail, end: Answer) -> Option<Answered> {
        if self.length == 0 {
            return None;
        }
        let media = self.form.media.as_deref();
        let (kept, _room) = match self.copy {
            Ok((copy, room)) if end == Answer::Answered => {
                let kept = self.bodies.mask(&self.of, &self.form, &copy, Side::Answer);
                (kept, Some(room))
            }
            Ok(_) => (Kept::none(media, "brokeOff"), None),
            Err(why @ "budget") => (Kept::none(media, why), None),
            Err(why) => (Kept::opaque(media, why), None),
        };
        let mut answered = Answered {
            kept,
            diff: None,
            changes: None,
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
