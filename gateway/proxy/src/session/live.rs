//! Sessions under way, for people: who is where since when, and the way to end one.
//!
//! A session is a call that has become something else than HTTP; watches and followed logs stand in the same table and are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::live::{LiveService, LiveSession};
use model::request::RequestFacts;

use super::call::Entry;
use super::metrics::Cause;
use super::registry::Registry;

/// The counters of a session's bytes, framing included.
#[derive(Debug)]
pub(crate) struct Counted {
    /// From the person.
    pub(crate) up: Arc<AtomicU64>,
    /// To the person.
    pub(crate) down: Arc<AtomicU64>,
}

/// Why a session was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndError {
    /// None of this id goes on.
    #[error("it does not go on any more")]
    Over,
}

impl Registry {
    /// The sessions that go on now and have not been told to end, oldest first.
    #[must_use]
    pub fn sessions(&self) -> Vec<LiveSession> {
        let mut live: Vec<LiveSession> = self.chosen(|_| true).iter().filter_map(|entry| entry.live()).collect();
        live.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
        live
    }

    /// The session with this id, if it goes on.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<LiveSession> {
        self.chosen(|entry| entry.is(id)).first().and_then(|entry| entry.live())
    }

    /// Ends one session: the person is told `why` where the protocol has a place for words, and the record says it.
    ///
    /// # Errors
    /// It has ended, or is ending already.
    pub fn end_one(&self, id: &str, why: &str) -> Result<(), EndError> {
        let found = self.chosen(|entry| entry.is(id));
        let ended = found.iter().any(|entry| self.end(entry, Cause::Person, why));
        if ended { Ok(()) } else { Err(EndError::Over) }
    }
}

impl Entry {
    fn is(&self, id: &str) -> bool {
        self.session.get().is_some() && self.trail.id.as_str() == id
    }

    fn live(&self) -> Option<LiveSession> {
        let counted = &self.session.get()?.counted;
        let trail = &self.trail;
        let subject = trail.identity.as_deref()?.subject();
        let (facts, service) = (trail.facts.as_ref(), self.at_service());
        // It was asked of a cluster or of a service.
        let cluster = match (&trail.cluster, &service) {
            (Some(cluster), _) if facts.is_some() => cluster.as_str(),
            (_, Some(_)) => "",
            (_, None) => return None,
        };
        let of = |word: fn(&RequestFacts) -> &str| facts.map_or("", word).to_owned();
        let entered = trail.entered();
        Some(LiveSession {
            id: trail.id.as_str().to_owned(),
            subject: subject.id().clone(),
            user: subject.username().to_owned(),
            email: subject.email().map(str::to_owned),
            cluster: cluster.to_owned(),
            service,
            namespace: of(RequestFacts::namespace),
            resource: of(RequestFacts::resource),
            name: of(RequestFacts::name),
            container: entered.and_then(|pod| pod.container.as_deref()).map(str::to_owned),
            pod: trail.pod_by_kubelet().map(str::to_owned),
            node: trail.node.get().map(|node| node.to_string()),
            action: facts.map_or("", |facts| facts.action().as_str()).to_owned(),
            stated_reason: trail.stated_reason.as_deref().map(str::to_owned),
            since: trail.received.wall,
            bytes_in: counted.up.load(Ordering::Relaxed),
            bytes_out: counted.down.load(Ordering::Relaxed),
            is_recorded: trail.recording.get().is_some(),
        })
    }

    fn at_service(&self) -> Option<LiveService> {
        let called = self.trail.service.as_ref()?;
        Some(LiveService {
            name: called.name.as_ref().map(ToString::to_string),
            host: called.host.to_string(),
            path: self.trail.told_path().into_owned(),
            is_public: called.is_public,
        })
    }
}
