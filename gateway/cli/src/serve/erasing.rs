//! Erasures and holds for the gateway's own API: they are written into the ledger, and what the ledger says of them is so.
//!
//! Invariant: after a start, no key is in the store that a record of this ledger says was erased, and the holds in the store are those
//! that the ledger says stand: whatever was interrupted, and whichever older state of the store was put back. A record counts that is under a signature
//! and that no start refused (`unsigned`); what is less takes nothing away.

mod again;

use std::sync::Arc;

use console::NotRecorded;
use console::api::{Erases, ErasureAct, ErasureEvent};
use futures::future::BoxFuture;
use ledger::Ledger;
use model::event::{ErasedKey, Erasing, Held, Network, Record, RecordKind, Request};
use model::subject::SubjectId;
use proxy::audit::{RequestId, Station};
use state::Store;

#[cfg(test)]
pub(super) use self::again::Finished;
pub(super) use self::again::{Before, finish};
pub(crate) use self::again::{erased_keys, signed};
use super::api;

/// The audit station and the ledger, as far as erasing needs them.
#[derive(Debug)]
pub(super) struct Erasures {
    pub(super) audit: Arc<Station>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) store: Arc<Store>,
}

impl Erases for Erasures {
    fn id(&self) -> String {
        RequestId::new().as_str().to_owned()
    }

    fn record<'a>(&'a self, id: &str, event: ErasureEvent) -> BoxFuture<'a, Result<(), NotRecorded>> {
        let id = id.to_owned();
        Box::pin(async move { self.write(&id, &event).await })
    }

    fn records(&self) -> u64 {
        self.ledger.durable().size
    }

    fn seals_names(&self) -> bool {
        self.ledger.seals_names()
    }

    fn forget_keys(&self) {
        self.audit.forget_part_keys();
    }

    fn forget_what_passed_and(&self, subject: &SubjectId, take: &mut dyn FnMut()) {
        self.audit.forget_what_passed_and(subject, take);
    }
}

impl Erasures {
    async fn write(&self, id: &str, event: &ErasureEvent) -> Result<(), NotRecorded> {
        let keys = match &event.act {
            ErasureAct::Erased { keys, .. } => keys.as_slice(),
            _ => &[],
        };
        let keys: Vec<ErasedKey<'_>> = keys.iter().map(|(id, class)| ErasedKey { id, class }).collect();
        let ip = event.peer.as_ref().map(|peer| peer.ip.to_string()).unwrap_or_default();
        let net = event.peer.as_ref().map(|peer| Network {
            ip: &ip,
            port: peer.port,
            http: "",
            listener: &peer.listener,
        });
        let agent = event.agent.as_deref().map(proxy::audit::agent);
        let req = agent.filter(|agent| !agent.is_empty()).map(|agent| Request {
            agent: Some(agent),
            ..Request::default()
        });
        let (erasure, hold) = (erasing(&event.act, &keys), held(&event.act));
        let kind = if hold.is_some() {
            RecordKind::Hold
        } else {
            RecordKind::Erasure
        };
        let note = event.act.sentence();
        let record = Record {
            id,
            t: event.at,
            mono: self.audit.clock().read().mono,
            boot: self.audit.boot(),
            by: Some(api::by(&event.who, event.session.as_str())),
            net,
            req,
            erasure,
            hold,
            note: Some(&note),
            ..Record::default()
        };
        let takes_away = matches!(
            event.act,
            ErasureAct::Erased { .. } | ErasureAct::Withdrawn(_) | ErasureAct::Released { .. }
        );
        // Where names are sealed, their door remembers the words as they will stand: a digest of those in the clear could be guessed.
        if takes_away && !self.ledger.seals_names() {
            self.remember(&record).await?;
        }
        let written = self.audit.write(kind, &record).await;
        written.map(drop).map_err(|refusal| NotRecorded(refusal.in_words()))
    }
}

impl Erasures {
    /// What takes something away is known to the state file before it is written, so that it counts where a crash comes before its signature.
    async fn remember(&self, record: &Record<'_>) -> Result<(), NotRecorded> {
        let body = record.body().map_err(|error| NotRecorded(error.to_string()))?;
        let store = Arc::clone(&self.store);
        let kept = tokio::task::spawn_blocking(move || store.remember_words(&body)).await;
        let kept = kept.map_err(|error| NotRecorded(error.to_string()))?;
        kept.map_err(|error| NotRecorded(error.to_string()))
    }
}

fn erasing<'a>(act: &'a ErasureAct, keys: &'a [ErasedKey<'a>]) -> Option<Erasing<'a>> {
    let step = |what: &'static str, request: &'a model::erasure::Request| Erasing {
        what,
        request: &request.id,
        of: &request.of,
        asked: &request.asked,
        agreed: None,
        why: &request.why,
        refused: None,
        hold: None,
        until: None,
        keys: &[],
        more: 0,
    };
    match act {
        ErasureAct::Asked(request) => Some(Erasing {
            until: Some(request.until),
            ..step("asked", request)
        }),
        ErasureAct::Withdrawn(request) => Some(step("withdrawn", request)),
        ErasureAct::Refused { request, why, hold } => Some(Erasing {
            refused: Some(why),
            hold: hold.as_deref(),
            ..step("refused", request)
        }),
        ErasureAct::Erased {
            request, agreed, more, ..
        } => Some(Erasing {
            agreed: Some(agreed),
            keys,
            more: *more,
            ..step("erased", request)
        }),
        ErasureAct::Held(_) | ErasureAct::Released { .. } | ErasureAct::NotReleased { .. } => None,
    }
}

fn held(act: &ErasureAct) -> Option<Held<'_>> {
    let (what, hold, released, refused) = match act {
        ErasureAct::Held(hold) => ("created", hold, None, None),
        ErasureAct::Released { hold, why } => ("released", hold, Some(why.as_str()), None),
        ErasureAct::NotReleased { hold, why } => ("refused", hold, None, Some(why.as_str())),
        _ => return None,
    };
    Some(Held {
        what,
        id: &hold.id,
        of: &hold.of,
        set_by: &hold.by,
        why: &hold.why,
        released,
        refused,
    })
}

#[cfg(test)]
mod tests;
