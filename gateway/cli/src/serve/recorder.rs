//! What happens to sessions, as records of the kind `session`.

use std::sync::Arc;

use console::{NotRecorded, Recorder, SessionEvent};
use futures::future::BoxFuture;
use model::event::{By, Network, Person, Record, RecordKind, Request};
use model::subject::SubjectKind;
use proxy::audit::{RequestId, Station};

/// Writes session events through the audit station.
#[derive(Clone, Debug)]
pub(super) struct LedgerRecorder {
    audit: Arc<Station>,
}

impl LedgerRecorder {
    /// Writes to `audit`.
    #[must_use]
    pub(super) const fn new(audit: Arc<Station>) -> Self {
        Self { audit }
    }

    async fn write(&self, event: SessionEvent) -> Result<(), NotRecorded> {
        let now = self.audit.clock().read();
        // Strangers share one budget; what is above it is counted, and a refusal stands without a record of its own.
        if event.who.is_none() && self.audit.budgets().stranger(now).is_err() {
            return Ok(());
        }
        let id = RequestId::new();
        let ip = event.peer.as_ref().map(|peer| peer.ip.to_string()).unwrap_or_default();
        let net = event.peer.as_ref().map(|peer| Network {
            ip: &ip,
            port: peer.port,
            http: "",
            listener: &peer.listener,
        });
        let session = event.session.as_ref().map(state::SessionId::as_str);
        let by = event.who.as_ref().map(|who| By {
            id: &who.subject_id,
            kind: SubjectKind::Person,
            iss: &who.identity.issuer,
            sub: &who.identity.subject,
            user: &who.identity.username,
            email: who.identity.email.as_deref(),
            groups_hash: "",
            session,
            credential: "signIn",
            credential_id: None,
            auth_time: who.auth_time,
            origin: None,
        });
        let req = event.agent.as_deref().map(|agent| Request {
            agent: Some(agent),
            ..Request::default()
        });
        let person = Person {
            what: event.what.name(),
            session,
            provider: event.provider.as_deref(),
            why: event.why,
        };
        let record = Record {
            id: id.as_str(),
            t: event.at,
            mono: now.mono,
            boot: self.audit.boot(),
            by,
            net,
            req,
            person: Some(person),
            note: event.note.as_deref(),
            ..Record::default()
        };
        self.audit
            .write(RecordKind::Session, &record)
            .await
            .map(drop)
            .map_err(|refusal| NotRecorded(refusal.in_words()))
    }
}

impl Recorder for LedgerRecorder {
    fn record(&self, event: SessionEvent) -> BoxFuture<'_, Result<(), NotRecorded>> {
        Box::pin(self.write(event))
    }
}
