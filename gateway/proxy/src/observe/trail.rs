//! What a trail carries for operators: where it is counted, when it passed the stations, and whether its end was told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::HeaderMap;
use model::ask::AccessAnswer;

use super::{Act, DecidedBy, Kind, Link, Moments, Reason, Review, Series, Span, Spans, Status};
use crate::audit::Trail;
use crate::refusal::Refusal;

/// See the module. Times are nanoseconds of the process; 0 says "not reached".
#[derive(Debug, Default)]
pub(crate) struct Seen {
    series: Option<Arc<Series>>,
    proved: AtomicU64,
    decided: AtomicU64,
    sent: AtomicU64,
    answered: AtomicU64,
    opened: AtomicU64,
    /// One more than the number of the reason why it was turned down.
    reason: AtomicU64,
    ended: AtomicBool,
    link: Option<Link>,
    names_nobody: bool,
}

impl Trail {
    /// Counts this request here from now on.
    pub(crate) fn counted_in(&mut self, series: &Arc<Series>) {
        self.seen.series = Some(Arc::clone(series));
    }

    /// Neither the log nor a trace says from now on who sent it. An id of a subject is made of the issuer and the name, so that whoever has a list of people
    /// can tell whose it is; and neither log nor trace is in the reach of an erasure.
    pub(crate) const fn names_nobody(&mut self) {
        self.seen.names_nobody = true;
    }

    /// Who sent it, where that may be said.
    pub(crate) fn told_subject(&self) -> Option<&str> {
        let identity = self.identity.as_deref().filter(|_| !self.seen.names_nobody);
        identity.map(|identity| identity.subject().id().as_str())
    }

    pub(crate) fn series(&self) -> Option<&Series> {
        self.seen.series.as_deref()
    }

    /// Keeps where the caller's own trace is, if this request is traced. To be called once it is known who calls.
    pub(crate) fn links_to(&mut self, headers: &HeaderMap) {
        if self.spans().is_some() {
            self.seen.link = Link::of(headers);
        }
    }

    /// Where the trace of this request goes, if it is traced.
    fn spans(&self) -> Option<&Spans> {
        let spans = self.series()?.spans.as_deref()?;
        spans.takes(self.id.bytes()).then_some(spans)
    }

    fn span(&self, cluster: &Arc<str>, act: Act, status: Option<u16>, nanos: u64) -> Span {
        let since = |moment: &AtomicU64| {
            let moment = moment.load(Ordering::Relaxed);
            (moment != 0).then(|| moment.saturating_sub(self.received.mono))
        };
        let reason = self.seen.reason.load(Ordering::Relaxed);
        let reason = reason.checked_sub(1).and_then(|number| usize::try_from(number).ok());
        let identity = self.identity.as_deref();
        Span {
            id: self.id.bytes(),
            cluster: Arc::clone(cluster),
            act,
            method: self.method.clone(),
            resource: identity.map_or("", |_| self.resource()).into(),
            status,
            subject: self.told_subject().map(Into::into),
            credential: identity.map(|identity| identity.credential().as_str()),
            reason: reason
                .and_then(|number| Reason::ALL.get(number))
                .map(|reason| reason.as_str()),
            link: self.seen.link,
            received: self.received.wall,
            moments: Moments {
                proved: since(&self.seen.proved),
                decided: since(&self.seen.decided),
                sent: since(&self.seen.sent),
                answered: since(&self.seen.answered),
                opened: since(&self.seen.opened),
                ended: nanos,
            },
        }
    }

    /// The sender is proved.
    pub(crate) fn passed_identity(&self, now: u64) {
        self.seen.proved.store(now, Ordering::Relaxed);
        if let (Some(series), Some(identity)) = (self.series(), self.identity.as_deref()) {
            series.proved(identity.credential(), now.saturating_sub(self.received.mono));
        }
    }

    /// The call is allowed.
    pub(crate) fn passed_decision(&self, now: u64) {
        self.seen.decided.store(now, Ordering::Relaxed);
        if let Some(series) = self.series() {
            series.decided(now.saturating_sub(self.seen.proved.load(Ordering::Relaxed)));
        }
    }

    /// What answered the question whether it is allowed.
    pub(crate) fn decided_by(&self, by: DecidedBy) {
        if let Some(series) = self.series() {
            series.decided_by(by);
        }
    }

    /// The cluster was asked whether it is allowed. Without an answer it is refused, which is a failure and told as one.
    pub(crate) fn reviewed(&self, answer: &AccessAnswer) {
        if let Some(series) = self.series() {
            series.reviewed(match answer {
                AccessAnswer::Yes { .. } => Review::Yes,
                AccessAnswer::No { .. } => Review::No,
                AccessAnswer::Unknown { .. } => Review::Unknown,
            });
        }
    }

    /// Its intent is durable, and it is about to be sent.
    pub(crate) fn passed_intent(&self, now: u64) {
        if let Some(series) = self.series() {
            series.waited_for_disk(now.saturating_sub(self.seen.decided.load(Ordering::Relaxed)));
        }
        self.leaves(now);
    }

    /// It is about to be sent.
    pub(crate) fn leaves(&self, now: u64) {
        self.seen.sent.store(now, Ordering::Relaxed);
    }

    /// The head of the answer has come. Only the first time counts: whoever hands it on says so again.
    pub(crate) fn first_byte(&self, now: u64) {
        if self.seen.answered.load(Ordering::Relaxed) != 0 {
            return;
        }
        self.seen.answered.store(now, Ordering::Relaxed);
        if let Some(series) = self.series() {
            series.first_byte(now.saturating_sub(self.seen.sent.load(Ordering::Relaxed)));
        }
    }

    /// The answer, if there is one, was held until now.
    pub(crate) fn opened(&self, now: u64) {
        let answered = self.seen.answered.load(Ordering::Relaxed);
        if answered == 0 {
            return;
        }
        self.seen.opened.store(now, Ordering::Relaxed);
        if let Some(series) = self.series() {
            series.waited_for_disk(now.saturating_sub(answered));
        }
    }

    /// The gateway refuses it, or could not finish it. Failures of ours are told in the log, each reason once a second.
    pub(crate) fn turned_down(&self, refusal: &Refusal, now: u64) {
        let Some(series) = self.series() else { return };
        let reason = refusal.kind();
        let number = u64::try_from(reason as usize).unwrap_or_default();
        self.seen.reason.store(number.saturating_add(1), Ordering::Relaxed);
        series.refused(reason, refusal.limit().map(Into::into));
        if !reason.is_own_failure() {
            return;
        }
        let pace = series.failures.get(reason as usize);
        if let Some(untold) = pace.and_then(|pace| pace.pass(now)) {
            let service = self.service.as_ref().and_then(|called| called.name.as_ref());
            tracing::warn!(
                request.id = self.id.as_str(),
                cluster = (!series.cluster.is_empty()).then_some(&*series.cluster),
                service = service.map(model::service::ServiceName::as_str),
                reason = reason.as_str(),
                why = refusal.in_words_of(self.whom()),
                untold,
                "a request failed, and not by its sender's fault"
            );
        }
    }

    /// Counts the end and writes the line of log, once.
    pub(crate) fn told_end(&self, status: Option<u16>, now: u64) {
        let Some(series) = self.series() else { return };
        if self.seen.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let nanos = now.saturating_sub(self.received.mono);
        let kind = self.kind();
        let act = match (kind, &self.facts) {
            (Kind::Own, None) => Act::Path,
            (_, None) if self.service.is_some() => Act::Path,
            (_, facts) => Act::of(facts.as_ref()),
        };
        series.ended(act, Status::of(status), kind, nanos);
        tracing::debug!(
            request.id = self.id.as_str(),
            cluster = &*series.cluster,
            verb = act.as_str(),
            resource = self.resource(),
            status,
            millis = nanos / 1_000_000,
            subject.id = self.told_subject(),
            "request"
        );
        if let Some(spans) = self.spans() {
            spans.offer(self.span(&series.cluster, act, status, nanos));
        }
    }

    fn kind(&self) -> Kind {
        if self.seen.sent.load(Ordering::Relaxed) == 0 {
            return match self.seen.reason.load(Ordering::Relaxed) {
                0 => Kind::Own,
                _ => Kind::Refused,
            };
        }
        match &self.facts {
            Some(facts) if facts.long_running() => Kind::Long,
            Some(facts) if facts.kind() == model::request::Kind::PureRead => Kind::Read,
            _ => Kind::Effect,
        }
    }

    /// The resource as the target names it: a kind of object, never an object.
    fn resource(&self) -> &str {
        let facts = self.facts.as_ref().filter(|facts| facts.is_resource_request());
        let name = facts.map_or("", |facts| facts.resource());
        name.get(..MOST_OF_A_NAME).unwrap_or(name)
    }
}

/// A DNS label is not longer; whatever is, is no resource of any cluster.
const MOST_OF_A_NAME: usize = 63;

/// Lets one line a second pass, and counts those in between.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the next line may pass.
    next: AtomicU64,
    untold: AtomicU64,
}

const SECOND: u64 = 1_000_000_000;

impl Pace {
    /// How many were kept back since the last one that passed, if this one may pass.
    fn pass(&self, now: u64) -> Option<u64> {
        let due = |next: u64| (now >= next).then(|| now.saturating_add(SECOND));
        match self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due) {
            Ok(_) => Some(self.untold.swap(0, Ordering::Relaxed)),
            Err(_) => {
                self.untold.fetch_add(1, Ordering::Relaxed);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_failures_writes_one_line_a_second_and_the_count_of_the_others() {
        let pace = Pace::default();
        assert_eq!(pace.pass(5), Some(0));
        assert_eq!(pace.pass(6), None);
        assert_eq!(pace.pass(SECOND), None);
        assert_eq!(pace.pass(5 + SECOND), Some(2));
        assert_eq!(pace.pass(5 + 2 * SECOND), Some(0));
    }
}
