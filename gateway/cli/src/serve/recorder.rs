//! What happens to sessions, rules, configuration and the process itself, as records.
//!
//! Requests are not recorded here: the audit station does that.

use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::digest;
use console::{NotRecorded, Recorder, SessionEvent};
use futures::future::BoxFuture;
use model::cluster::ClusterId;
use model::event::{By, ConfigChange, Network, Person, PolicyChange, Record, RecordKind, Request, Started, Workload};
use model::subject::{SubjectId, SubjectKind};
use oidc::gateway::assertion::Actor;
use proxy::audit::{RequestId, Station};
use tokio::sync::watch;

use super::outline::{Difference, PolicySet};
use super::unrecorded;
use crate::config::Config;

/// Means of one sign-in that its record names; nobody has as many.
const MOST_AMR: usize = 8;

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

    async fn write(&self, event: SessionEvent) -> Result<Option<String>, NotRecorded> {
        let now = self.audit.clock().read();
        // Strangers share one budget; what is above it is counted, and a refusal stands without a record of its own.
        if event.is_by_stranger() && self.audit.budgets().stranger(now).is_err() {
            return Ok(None);
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
            acr: who.acr.as_deref(),
        });
        // As on the way of a request: a client may put anything there, a secret too.
        let agent = event.agent.as_deref().map(proxy::audit::agent);
        let req = agent.filter(|agent| !agent.is_empty()).map(|agent| Request {
            agent: Some(agent),
            ..Request::default()
        });
        let person = Person {
            what: event.what.name(),
            session,
            provider: event.provider.as_deref(),
            why: event.why,
            amr: event.amr.get(..MOST_AMR).unwrap_or(&event.amr),
        };
        let act: Vec<Workload<'_>> = event.act.iter().map(in_record).collect();
        let record = Record {
            act,
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
        let written = self.audit.write(RecordKind::Session, &record).await;
        written
            .map(|_| Some(id.as_str().to_owned()))
            .map_err(|refusal| NotRecorded(refusal.in_words()))
    }
}

fn in_record(actor: &Actor) -> Workload<'_> {
    Workload {
        id: &actor.workload,
        user: &actor.username,
    }
}

impl Recorder for LedgerRecorder {
    fn record(&self, event: SessionEvent) -> BoxFuture<'_, Result<Option<String>, NotRecorded>> {
        Box::pin(self.write(event))
    }

    fn count(&self, whose: Option<&SubjectId>) {
        self.audit.budgets().count_refusal(whose, self.audit.clock().read());
    }
}

/// A run begins: nothing is served that comes before its record. `epoch` is the number of records before it; `seals_names`: the
/// ledger names nobody in the clear.
///
/// # Errors
/// The ledger cannot take it.
pub(super) async fn start(audit: &Station, url: &str, epoch: u64, seals_names: bool) -> anyhow::Result<()> {
    let (id, now) = (RequestId::new(), audit.clock().read());
    let note = format!("gatescribe {} begins", env!("CARGO_PKG_VERSION"));
    let record = Record {
        start: Some(Started {
            version: env!("CARGO_PKG_VERSION"),
            origin: url,
            epoch,
            names: seals_names.then_some(super::names::SEALED),
        }),
        note: Some(&note),
        id: id.as_str(),
        t: now.wall,
        mono: now.mono,
        boot: audit.boot(),
        ..Record::default()
    };
    written(audit.write(RecordKind::Start, &record).await)
}

/// The configuration takes effect.
///
/// # Errors
/// The ledger cannot take it.
pub(super) async fn config(audit: &Station, config: &Config) -> anyhow::Result<()> {
    let note = match unrecorded::warning(&config.ledger) {
        Some(warning) => format!("configuration in effect; {warning}"),
        None => "configuration in effect".to_owned(),
    };
    config_changed(audit, config, &note).await
}

async fn config_changed(audit: &Station, config: &Config, note: &str) -> anyhow::Result<()> {
    in_effect(audit, None, Some((config, note))).await
}

/// An audit policy that takes effect, or the last one that goes: digest and file, before and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PolicyFile {
    pub(super) before: Option<(String, String)>,
    pub(super) now: Option<(String, String)>,
}

/// An audit policy takes effect, other keys of tokens do, or both: by one record, so that either both are recorded or neither is.
/// What is said of the keys comes with the configuration in which they stand. With a policy it is a `policy` record.
///
/// # Errors
/// The ledger cannot take it: nothing may take effect.
pub(super) async fn in_effect(
    audit: &Station,
    policy: Option<&PolicyFile>,
    config: Option<(&Config, &str)>,
) -> anyhow::Result<()> {
    let text = config.map(|(config, _)| serde_saphyr::to_string(config));
    let text = text.transpose().context("the configuration cannot be written down")?;
    let config_digest = text.map(|text| short_digest([text.as_bytes()]));
    let names = policy.map(|policy| [policy.in_words()]);
    let said = [policy.map(PolicyFile::note), config.map(|(_, said)| said)];
    let note: Vec<&str> = said.into_iter().flatten().collect();
    let note = note.join("; ");
    let (id, now) = (RequestId::new(), audit.clock().read());
    let record = Record {
        policy: policy.zip(names.as_ref()).map(|(policy, names)| policy.change(names)),
        config: config_digest
            .as_ref()
            .map(|digest| ConfigChange { digest, refused: None }),
        note: Some(&note),
        id: id.as_str(),
        t: now.wall,
        mono: now.mono,
        boot: audit.boot(),
        ..Record::default()
    };
    let kind = if policy.is_some() {
        RecordKind::Policy
    } else {
        RecordKind::Config
    };
    written(audit.write(kind, &record).await)
}

impl PolicyFile {
    const fn mark(&self) -> char {
        match (&self.before, &self.now) {
            (None, _) => '+',
            (Some(_), Some(_)) => '~',
            (Some(_), None) => '-',
        }
    }

    fn in_words(&self) -> String {
        let named = self.now.as_ref().or(self.before.as_ref());
        let file = named.map_or("", |(_, file)| file);
        format!("{}audit policy {file}", self.mark())
    }

    const fn note(&self) -> &'static str {
        match self.mark() {
            '-' => "no audit policy: all calls are kept at level Metadata",
            _ => "audit policy in effect",
        }
    }

    fn change<'a>(&'a self, names: &'a [String]) -> PolicyChange<'a> {
        let digest = |of: &'a Option<(String, String)>| of.as_ref().map_or("", |(digest, _)| digest);
        let mark = self.mark();
        PolicyChange {
            digest: digest(&self.now),
            before: digest(&self.before),
            added: u64::from(mark == '+'),
            changed: u64::from(mark == '~'),
            removed: u64::from(mark == '-'),
            names,
            refused: None,
        }
    }
}

/// Something is wrong with the ledger itself: one `damage` record in these words.
///
/// # Errors
/// The ledger cannot take it.
pub(super) async fn alarm(audit: &Station, words: &str) -> anyhow::Result<()> {
    let (id, now) = (RequestId::new(), audit.clock().read());
    let record = Record {
        note: Some(words),
        id: id.as_str(),
        t: now.wall,
        mono: now.mono,
        boot: audit.boot(),
        ..Record::default()
    };
    written(audit.write(RecordKind::Damage, &record).await)
}

fn written(sequence: Result<u64, proxy::refusal::Refusal>) -> anyhow::Result<()> {
    sequence
        .map(drop)
        .map_err(|refusal| anyhow::anyhow!("{}", refusal.in_words()))
}

/// SHA-256, hexadecimal, first 16 bytes.
pub(super) fn short_digest<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let digest = context.finish();
    hex::encode(digest.as_ref().get(..16).unwrap_or_default())
}

/// Writes a `policy` record for each set of rules of a cluster that takes effect. Sets that follow one another faster than
/// they can be written are one change, from the first to the last.
pub(super) async fn policies(
    audit: Arc<Station>,
    cluster: Option<ClusterId>,
    mut sets: watch::Receiver<Arc<PolicySet>>,
) {
    let mut before = Arc::new(PolicySet::default());
    loop {
        let newest = Arc::clone(&sets.borrow_and_update());
        // Of a gateway without services there is nothing to say.
        let is_nothing = cluster.is_none() && newest.objects.is_empty() && before.objects.is_empty();
        if newest.digest != before.digest && !is_nothing {
            record_policy(&audit, cluster.as_ref(), &before, &newest).await;
            before = newest;
        }
        if sets.changed().await.is_err() {
            return;
        }
    }
}

async fn record_policy(audit: &Station, cluster: Option<&ClusterId>, before: &PolicySet, now_in_effect: &PolicySet) {
    let whose = cluster.map_or_else(|| "services".to_owned(), |cluster| format!("cluster {cluster}"));
    let difference = Difference::between(before, now_in_effect);
    let (id, now) = (RequestId::new(), audit.clock().read());
    let note = format!(
        "rules of {whose} in effect: {} new, {} changed, {} gone",
        difference.added, difference.changed, difference.removed
    );
    let record = Record {
        note: Some(&note),
        policy: Some(PolicyChange {
            digest: &now_in_effect.digest,
            before: &before.digest,
            added: difference.added,
            changed: difference.changed,
            removed: difference.removed,
            names: &difference.names,
            refused: None,
        }),
        cluster,
        id: id.as_str(),
        t: now.wall,
        mono: now.mono,
        boot: audit.boot(),
        ..Record::default()
    };
    if let Err(refusal) = audit.write(RecordKind::Policy, &record).await {
        tracing::warn!(policy.digest = &*now_in_effect.digest, why = %refusal.in_words(), "a change of rules could not be recorded");
    }
}
