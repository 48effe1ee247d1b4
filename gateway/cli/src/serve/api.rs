//! The audit API's part of the composition: reads are recorded, and `can` asks the evaluator that decides requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access::rbac::{Attributes, SubjectView};
use access::rule::Call;
use console::api::{
    Asking, AuditRead, AuditRecorder, Bound, CanAnswer, CanQuestion, CannotExplain, Explain, NoProof, Proves, Written,
};
use console::{NotRecorded, Who};
use futures::future::BoxFuture;
use ledger::evidence::Evidence;
use ledger::{Published, Publisher, Receipt, Spot, TilePath, Tiles};
use model::cluster::ClusterId;
use model::event::{By, Network, Reading, Record, RecordKind, Request};
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;
use proxy::audit::{RequestId, Station};
use proxy::decision::{Case, ServiceRules};
use proxy::refusal::Refusal;
use proxy::request::ClusterGate;
use tokio::sync::watch;

use super::books::Books;
use super::can_services;
use super::witnesses::Witnesses;

/// Writes readings of the ledger into the ledger.
#[derive(Clone, Debug)]
pub(super) struct Readings {
    pub(super) audit: Arc<Station>,
}

impl Readings {
    async fn write(&self, read: AuditRead) -> Result<Written, NotRecorded> {
        let (id, now) = (RequestId::new(), self.audit.clock().read());
        let ip = read.peer.as_ref().map(|peer| peer.ip.to_string()).unwrap_or_default();
        let net = read.peer.as_ref().map(|peer| Network {
            ip: &ip,
            port: peer.port,
            http: "",
            listener: &peer.listener,
        });
        let req = Request {
            method: read.act.method(),
            path: read.act.path(),
            agent: read
                .agent
                .as_deref()
                .map(proxy::audit::agent)
                .filter(|agent| !agent.is_empty()),
            ..Request::default()
        };
        let sentence = read.sentence();
        let reading = Reading {
            what: read.act.name(),
            scope: read.whose.name(),
            roles: read.whose.roles(),
            query: &read.what,
            results: read.results,
        };
        let record = Record {
            id: id.as_str(),
            t: read.at,
            mono: now.mono,
            boot: self.audit.boot(),
            by: Some(by(&read.who, read.session.as_str())),
            net,
            req: Some(req),
            read: Some(reading),
            note: Some(&sentence),
            ..Record::default()
        };
        let seq = self
            .audit
            .write(RecordKind::AuditRead, &record)
            .await
            .map_err(|refusal| NotRecorded(refusal.in_words()))?;
        let id = id.as_str().to_owned();
        Ok(Written { seq, id })
    }
}

/// Whoever asks for a receipt waits until its record is signed, so often at most for so long; signing comes once a second.
const SIGNED_WAITS: u32 = 12;
const SIGNED_WAIT: Duration = Duration::from_millis(250);

/// So often they then wait for its cosignatures, while the witnesses answer: a checkpoint is shown to them every two seconds.
const WITNESSED_WAITS: u32 = 20;

/// Proves by the ledger's tree and its signed checkpoints.
#[derive(Debug)]
pub(super) struct Proofs {
    publisher: Arc<Publisher>,
    witnesses: Arc<Witnesses>,
    tiles: Tiles,
}

impl Proofs {
    pub(super) fn new(books: &Books, witnesses: &Arc<Witnesses>) -> Self {
        Self {
            publisher: Arc::clone(&books.publisher),
            witnesses: Arc::clone(witnesses),
            tiles: books.ledger.tiles(),
        }
    }

    fn signed(&self, size: u64, go_on: &dyn Fn() -> bool) -> Result<Arc<Published>, NoProof> {
        for _ in 0..SIGNED_WAITS {
            if let Some(newest) = self.publisher.covering(size, SIGNED_WAIT) {
                return Ok(newest);
            }
            // Whoever has gone needs no place.
            if !go_on() {
                return Err(NoProof::Late);
            }
        }
        Err(NoProof::Unsigned)
    }

    fn witnessed(&self, size: u64, go_on: &dyn Fn() -> bool) -> Option<Arc<Published>> {
        (0..WITNESSED_WAITS)
            .take_while(|_| go_on())
            .find_map(|_| self.witnesses.covering(size, SIGNED_WAIT))
    }

    fn covering(&self, size: u64, within: Duration) -> Result<Arc<Published>, NoProof> {
        self.publisher.covering(size, within).ok_or(NoProof::Unsigned)
    }
}

impl Proves for Proofs {
    fn checkpoint(&self) -> Option<String> {
        self.publisher.served().map(|served| served.note.to_string())
    }

    fn receipt(&self, spot: Spot, go_on: &dyn Fn() -> bool) -> Result<String, NoProof> {
        let size = spot.seq.saturating_add(1);
        let newest = self.signed(size, go_on)?;
        // One without cosignatures is a receipt, too.
        let newest = self.witnessed(size, go_on).unwrap_or(newest);
        let receipt = Receipt::make_at(&self.tiles, spot, newest.note.clone(), go_on)?;
        Ok(receipt.to_string())
    }

    fn evidence(
        &self,
        statement: Vec<u8>,
        spots: &[Spot],
        told: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<String, NoProof> {
        // The record that vouches for the statement came after all others.
        let size = told.saturating_add(1);
        let newest = self.signed(size, go_on)?;
        let newest = self.witnessed(size, go_on).unwrap_or(newest);
        let made = Evidence::make(&self.tiles, statement, spots, Some(told), newest.note.clone(), go_on)?;
        let changes = self.publisher.key_changes();
        let changes = changes.map_err(|error| NoProof::Failed(Box::new(error)))?;
        Ok(made.with_changes(changes).to_string())
    }

    fn tile(&self, tile: &TilePath, go_on: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProof> {
        // No tree is so large.
        let size = tile.tree_size().ok_or(NoProof::Unsigned)?;
        self.covering(size, Duration::ZERO)?;
        Ok(self.tiles.read_while(tile, go_on)?)
    }
}

/// Who it is, for a record.
pub(super) fn by<'a>(who: &'a Who, session: &'a str) -> By<'a> {
    By {
        id: &who.subject_id,
        kind: SubjectKind::Person,
        iss: &who.identity.issuer,
        sub: &who.identity.subject,
        user: &who.identity.username,
        email: who.identity.email.as_deref(),
        groups_hash: "",
        session: Some(session),
        credential: "gatewayToken",
        credential_id: None,
        auth_time: who.auth_time,
        origin: None,
        acr: who.acr.as_deref(),
    }
}

impl AuditRecorder for Readings {
    fn audit_read(&self, read: AuditRead) -> BoxFuture<'_, Result<Written, NotRecorded>> {
        Box::pin(self.write(read))
    }
}

/// Answers `can` by the clusters' decision stations, and by the rules about services.
#[derive(Clone, Debug)]
pub(super) struct Evaluators {
    pub(super) clusters: BTreeMap<ClusterId, Arc<ClusterGate>>,
    pub(super) services: watch::Receiver<Arc<ServiceRules>>,
}

impl Evaluators {
    fn gate(&self, name: Option<&str>) -> Result<(&ClusterId, &Arc<ClusterGate>), CannotExplain> {
        let mut all = self.clusters.iter();
        match (name, all.next(), all.next()) {
            (Some(name), ..) => {
                let found = self.clusters.iter().find(|(id, _)| id.as_str() == name);
                found.ok_or_else(|| CannotExplain::NoSuchCluster(name.to_owned()))
            }
            (None, Some(only), None) => Ok(only),
            (None, ..) => Err(CannotExplain::WhichCluster(
                self.clusters.keys().map(ToString::to_string).collect(),
            )),
        }
    }

    async fn judge(&self, asking: &Asking, question: &CanQuestion) -> Result<CanAnswer, CannotExplain> {
        let subject = subject(&asking.who).map_err(|error| CannotExplain::Question(error.to_string()))?;
        if let Some(asked) = &question.service {
            let rules = Arc::clone(&self.services.borrow());
            return can_services::judge(&rules, (asking, &subject), asked, super::now());
        }
        let (id, gate) = self.gate(question.cluster.as_deref())?;
        let asked = Attributes {
            verb: &question.verb,
            group: &question.group,
            resource: &question.resource,
            subresource: &question.subresource,
            namespace: &question.namespace,
            name: &question.name,
            path: &question.path,
            is_resource: question.path.is_empty(),
        };
        let case = Case {
            call: Call::asking(id.as_str(), asked),
            subject: &subject,
            impersonation: None,
            source: asking.peer.as_ref().map(|peer| peer.ip),
            signed_in: asking.who.auth_time.map(Timestamp::from_unix_seconds),
            acr: asking.who.acr.as_deref(),
            reason_stated: false,
            now: super::now(),
            on_behalf: None,
        };
        let (verdict, policy) = gate.decision.judge(&case).await;
        let policy = policy.to_string();
        Ok(match verdict {
            Ok(allowed) => CanAnswer {
                allowed: true,
                rules: allowed.rules,
                policy,
                ..CanAnswer::default()
            },
            Err(refusal) => {
                let (words, reason) = (vec![refusal.in_words()], Some(refusal.code().to_owned()));
                let (rules, nearest) = match refusal {
                    Refusal::Denied(denied) => (denied.rules, denied.nearest),
                    _ => (Vec::new(), None),
                };
                CanAnswer {
                    allowed: false,
                    reason,
                    words,
                    rules,
                    nearest,
                    policy,
                }
            }
        })
    }
}

impl Explain for Evaluators {
    fn can<'a>(
        &'a self,
        asking: &'a Asking,
        question: &'a CanQuestion,
    ) -> BoxFuture<'a, Result<CanAnswer, CannotExplain>> {
        Box::pin(self.judge(asking, question))
    }

    fn bindings(&self, asking: &Asking) -> Result<Vec<Bound>, CannotExplain> {
        let subject = subject(&asking.who).map_err(|error| CannotExplain::Question(error.to_string()))?;
        let view = SubjectView::impersonated(subject.username(), subject.groups());
        let bound = |(id, gate): (&ClusterId, &Arc<ClusterGate>)| {
            let rules = Arc::clone(&gate.decision.rules().borrow());
            Bound {
                cluster: id.to_string(),
                is_known: gate.decision.is_ready(super::now()),
                bindings: rules.snapshot.bindings_of(&view),
            }
        };
        Ok(self.clusters.iter().map(bound).collect())
    }
}

pub(super) fn subject(who: &Who) -> Result<Subject, model::subject::SubjectError> {
    let identity = &who.identity;
    Subject::new(SubjectParts {
        id: who.subject_id.clone(),
        kind: SubjectKind::Person,
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        username: identity.username.clone(),
        uid: identity.uid.clone(),
        groups: identity.groups.clone(),
        extra: identity.extra.clone(),
        email: identity.email.clone(),
    })
}
