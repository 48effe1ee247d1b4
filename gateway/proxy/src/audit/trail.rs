//! What is known of one request so far. It grows on the way through the stations; every record is drawn from it.
//!
//! Invariant: nothing in it is a secret. Credentials are named by id, header values other than the few listed here never
//! enter, the query's values stay out (promise 6).

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName};
use model::ask::PodQuestion;
use model::cluster::ClusterId;
use model::decision::RuleRef;
use model::event::{By, Called, Decided, Effective, Network, Presented, Record, Request, Source, Workload};
use model::request::{Action, RequestFacts, Target};
use model::service::{HostName, ServiceName};

use super::beat::Anchor;
use super::bodies::Asked;
use super::level::Judged;
use super::part::Keys;
use super::scan::Want;
use super::{query, words};
use crate::chain::OnBehalf;
use crate::clock::Reading;
use crate::entered::Entered;
use crate::headers::RequestedImpersonation;
use crate::identity::{Identity, groups_hash};
use crate::listener::Upgrade;
use crate::observe::Seen;
use crate::session::UnrecordedCause;
use crate::sign_in_first::Asker;
use crate::whom::Whom;

/// Random bytes of one thread, fetched by the hundred: asking for each id by itself is a system call for each request.
/// They make ids unique and are no secret.
struct Pool {
    bytes: [u8; 512],
    used: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; 512], used: 512 }) };
}

impl Pool {
    /// Bytes that nobody had before; `None` when there are none to be had.
    fn take(&mut self) -> Option<[u8; 10]> {
        let (random, left) = match self.bytes.get(self.used..).and_then(<[u8]>::split_first_chunk) {
            Some((random, left)) => (*random, left.len()),
            None => {
                self.used = self.bytes.len(); // what a failed fetch leaves behind is not used
                aws_lc_rs::rand::fill(&mut self.bytes).ok()?;
                let (random, left) = self.bytes.split_first_chunk()?;
                (*random, left.len())
            }
        };
        self.used = self.bytes.len() - left;
        Some(random)
    }
}

/// The id of a request: UUIDv7 text, which is its `Audit-ID` upstream.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// A new id. UUIDv7 is ordered by time, so that looking up an id is looking up a time.
    #[must_use]
    pub fn new() -> Self {
        let mut text = [0; 36];
        let id = POOL
            .with_borrow_mut(Pool::take)
            .map_or_else(uuid::Uuid::now_v7, |random| {
                let since = SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .unwrap_or_default();
                let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
                uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
            });
        id.hyphenated().encode_lower(&mut text);
        Self(text)
    }

    /// The 16 bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; 16] {
        uuid::Uuid::try_parse_ascii(&self.0).unwrap_or_default().into_bytes()
    }

    /// The 36 characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The client's side of the connection, formatted once per connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Address of the socket peer.
    pub ip: Arc<str>,
    /// Its port.
    pub port: u16,
    /// Name of the listener.
    pub listener: Arc<str>,
}

/// The service of a call.
#[derive(Clone, Debug)]
pub struct CalledService {
    /// The host under which it was asked for.
    pub host: HostName,
    /// Which service the path leads to.
    pub name: Option<ServiceName>,
    /// Whoever asked had not signed in, and a rule lets the public do it.
    pub is_public: bool,
    /// Who asks, by the request's head: in which form a refusal is told.
    pub(crate) asker: Asker,
    /// The hash of what binds a sign-in to this browser, where it holds that already.
    pub(crate) arrival: Option<Box<str>>,
}

impl CalledService {
    fn written(&self) -> Called<'_> {
        Called {
            name: self.name.as_ref().map(ServiceName::as_str),
            host: self.host.as_str(),
            public: self.is_public,
        }
    }
}

/// What a decision left behind for the record.
#[derive(Clone, Debug)]
pub struct DecisionTrail {
    /// The rules that mattered.
    pub rules: Arc<[RuleRef]>,
    /// Digest of the policy.
    pub policy: Arc<str>,
    /// Hash of the groups that are sent.
    pub sent_groups_hash: Arc<str>,
}

/// The client's own words about itself: untrusted, bounded.
#[derive(Clone, Debug, Default)]
struct Claims {
    agent: Option<Box<str>>,
    whole_agent: Option<Box<str>>,
    content_type: Option<Box<str>>,
    kubectl_command: Option<Box<str>>,
    kubectl_session: Option<Box<str>>,
    audit_id: Option<Box<str>>,
}

/// What one request gathers on its way, for its records: a short list of fields, and no header or body beside them.
#[derive(Debug)]
pub struct Trail {
    /// The request's id.
    pub id: RequestId,
    /// When its head was complete.
    pub received: Reading,
    /// Who sent it, as an address.
    pub peer: Peer,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http: &'static str,
    /// The HTTP method.
    pub method: http::Method,
    /// Which cluster, once routed.
    pub cluster: Option<ClusterId>,
    /// The service, once routed.
    pub service: Option<CalledService>,
    /// The ingress that tells of it, where it does not pass here and only a verdict is asked for.
    pub(crate) told_by: Option<Box<str>>,
    /// The target, once parsed.
    pub target: Option<Target>,
    /// What it asks, once classified.
    pub facts: Option<RequestFacts>,
    /// Who asks, once proved.
    pub identity: Option<Arc<Identity>>,
    /// Through which workloads it comes, where one acts for somebody.
    pub on_behalf: Option<Arc<OnBehalf>>,
    /// What was presented in vain, and the configured issuer that it names.
    pub presented: Option<(&'static str, Option<Arc<str>>)>,
    /// Whom they want to act as.
    pub effective: Option<RequestedImpersonation>,
    /// Why it was allowed.
    pub decision: Option<DecisionTrail>,
    /// The reason that the person stated.
    pub stated_reason: Option<Arc<str>>,
    /// The recording that stands ready for it.
    pub(crate) recording: OnceLock<Anchor>,
    /// The node of the pod that is entered, once the cluster has said it.
    pub(crate) node: OnceLock<Arc<str>>,
    /// Why it cannot be recorded. No more than that: who is refused may read their own record.
    pub(crate) unrecordable: OnceLock<UnrecordedCause>,
    /// The protocol that it asks to switch to.
    pub(crate) upgrade: Option<Upgrade>,
    /// The attempt over the other protocol that this one repeats.
    pub(crate) fallback_of: Option<RequestId>,
    /// What it enters, found out when it is asked for.
    entered: OnceLock<Option<Entered>>,
    /// What the audit policy says about it, from its first record on.
    pub(super) judged: OnceLock<Option<Judged>>,
    /// What is kept of its body, where something is.
    pub(super) body: OnceLock<Asked>,
    /// What seals its answer, where that is kept.
    pub(super) answer_keys: OnceLock<Keys>,
    /// Under which pseudonym its first record stands, where names are sealed.
    pub(super) pseudonym: OnceLock<String>,
    claims: Claims,
    told: AtomicBool,
    /// An [`End`](super::End) says how it ends, or has said it.
    has_an_end: AtomicBool,
    /// It goes on without a record, as the operator lets it.
    is_unrecorded: AtomicBool,
    /// What operators see of it.
    pub(crate) seen: Seen,
}

/// Most of what a client says about itself that is looked at.
const MAX_CLAIM: usize = 256;
/// Groups, extra keys and rules that a record names; a longer list is counted (and groups are hashed).
const MOST_NAMED: usize = 8;
/// As much of a `User-Agent` is kept beside the record, where the record has not all of it.
const MAX_AGENT: usize = 1024;

impl Trail {
    /// The beginning: a head has arrived.
    #[must_use]
    pub fn new(received: Reading, peer: Peer, http: &'static str, method: http::Method, headers: &HeaderMap) -> Self {
        let said = claim(headers, &USER_AGENT, MAX_AGENT, |text| Some(text));
        let said = said.as_deref().unwrap_or_default();
        let agent = words::agent(said.get(..MAX_CLAIM).unwrap_or(said));
        let claims = Claims {
            whole_agent: (said.len() > agent.len()).then(|| said.into()),
            agent: (!agent.is_empty()).then(|| agent.into()),
            content_type: claim(headers, &CONTENT_TYPE, 128, words::media_type),
            kubectl_command: claim(headers, &KUBECTL_COMMAND, 128, words::command),
            kubectl_session: claim(headers, &KUBECTL_SESSION, 64, words::session),
            audit_id: claim(headers, &AUDIT_ID, 64, |text| Some(text)),
        };
        Self {
            id: RequestId::new(),
            received,
            peer,
            http,
            method,
            cluster: None,
            service: None,
            told_by: None,
            target: None,
            facts: None,
            identity: None,
            on_behalf: None,
            presented: None,
            effective: None,
            decision: None,
            stated_reason: None,
            recording: OnceLock::new(),
            node: OnceLock::new(),
            unrecordable: OnceLock::new(),
            upgrade: None,
            fallback_of: None,
            entered: OnceLock::new(),
            judged: OnceLock::new(),
            body: OnceLock::new(),
            answer_keys: OnceLock::new(),
            pseudonym: OnceLock::new(),
            claims,
            told: AtomicBool::new(false),
            has_an_end: AtomicBool::new(false),
            is_unrecorded: AtomicBool::new(false),
            seen: Seen::default(),
        }
    }

    /// Somebody has the duty from now on to say how this request ends: an [`End`](super::End), its answer, the gateway host.
    pub(crate) fn tells_elsewhere(&self) {
        self.told.store(true, Ordering::Relaxed);
    }

    /// It goes on without a record.
    pub(super) fn goes_unrecorded(&self) {
        self.is_unrecorded.store(true, Ordering::Relaxed);
    }

    /// Whether it goes on without a record.
    pub(crate) fn is_unrecorded(&self) -> bool {
        self.is_unrecorded.load(Ordering::Relaxed)
    }

    /// Whether somebody has that duty.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Relaxed)
    }

    /// Something was opened for it, which has its end; or that was taken back.
    pub(super) fn is_ended_by(&self, has_an_end: bool) {
        self.has_an_end.store(has_an_end, Ordering::Release);
    }

    /// Whether its end is written by an [`End`](super::End).
    pub(super) fn has_an_end(&self) -> bool {
        self.has_an_end.load(Ordering::Acquire)
    }

    /// Who asks, for a record.
    pub(super) fn by(&self) -> Option<By<'_>> {
        self.identity.as_deref().map(Identity::by)
    }

    /// The workloads that act for somebody, nearest last.
    fn act(&self) -> Vec<Workload<'_>> {
        let chain = self.on_behalf.as_deref().map(|on_behalf| on_behalf.chain.actors());
        let actors = chain.unwrap_or_default().iter().rev();
        actors
            .map(|actor| Workload {
                id: &actor.workload,
                user: &actor.username,
            })
            .collect()
    }

    pub(super) fn presented(&self) -> Option<Presented<'_>> {
        let (credential, iss) = self.presented.as_ref()?;
        Some(Presented {
            credential,
            iss: iss.as_deref(),
        })
    }

    pub(super) fn effective(&self) -> Option<Effective<'_>> {
        let asked = self.effective.as_ref()?;
        let (groups, groups_count) = first_few(&asked.groups);
        Some(Effective {
            user: &asked.user,
            uid: asked.uid.as_deref(),
            groups,
            groups_count,
            groups_hash: groups_count.map(|_| groups_hash(&asked.groups)),
            extra_keys: asked.extra.keys().map(String::as_str).take(MOST_NAMED).collect(),
            extra_count: (asked.extra.len() > MOST_NAMED).then_some(asked.extra.len()),
        })
    }

    /// Whom it is for.
    pub(crate) fn whom(&self) -> Whom {
        match self.service {
            Some(_) => Whom::Service,
            None => Whom::Cluster,
        }
    }

    /// What of the path may stand in the record.
    pub(crate) fn told_path(&self) -> Cow<'_, str> {
        let raw = self.target.as_ref().map_or("", Target::path_raw);
        match self.service {
            Some(_) => words::service_path(raw),
            None => Cow::Borrowed(words::path(raw)),
        }
    }

    /// What of the path is kept beside the record.
    pub(super) fn path_beside<'t>(&self, target: &'t Target) -> &'t str {
        match self.service {
            Some(_) => words::beside_service(target.path_raw()),
            None => words::beside(target.path_raw()),
        }
    }

    pub(super) fn network(&self) -> Network<'_> {
        Network {
            ip: &self.peer.ip,
            port: self.peer.port,
            http: self.http,
            listener: &self.peer.listener,
        }
    }

    /// Whether the least record is all that remains of it, as its first record has settled.
    pub(super) fn is_kept_least(&self) -> bool {
        self.judged
            .get()
            .is_some_and(|judged| judged.as_ref().is_some_and(Judged::is_least))
    }

    /// The `User-Agent`, where not all of it stands in the record.
    pub(super) fn whole_agent(&self) -> Option<&str> {
        self.claims.whole_agent.as_deref()
    }

    /// Query parameters that stand in the record with their values.
    pub(super) fn options(&self) -> String {
        let query = self.target.as_ref().and_then(Target::query_raw);
        query.map(query::options).unwrap_or_default()
    }

    /// What it enters, once it is known what it asks.
    pub(crate) fn entered(&self) -> Option<&Entered> {
        let (facts, target) = (self.facts.as_ref()?, self.target.as_ref()?);
        // Nearly always: nothing of this is looked at where nothing is entered.
        if !facts.action().enters() {
            return None;
        }
        self.entered.get_or_init(|| Entered::of(facts, target)).as_ref()
    }

    /// The pod that is entered, for a question about it.
    pub(crate) fn pod(&self) -> Option<PodQuestion> {
        let entered = self.entered()?;
        Some(PodQuestion {
            cluster: self.cluster.clone()?,
            namespace: (*entered.namespace).into(),
            name: (*entered.pod).into(),
        })
    }

    /// `NAMESPACE/NAME` of the pod that is entered through a node's kubelet: what else is known of the request names the node.
    pub(crate) fn pod_by_kubelet(&self) -> Option<&str> {
        self.entered()?.by_kubelet.as_deref()
    }

    pub(super) fn request<'a>(
        &'a self,
        (query_keys, query_count): (&'a [&'a str], Option<usize>),
        options: &'a str,
        path: &'a str,
    ) -> Request<'a> {
        let facts = self.facts.as_ref();
        let resource = facts.filter(|facts| facts.is_resource_request());
        let some = |text: &'a str| (!text.is_empty()).then_some(text);
        Request {
            method: self.method.as_str(),
            path,
            query_keys,
            query_count,
            options,
            verb: facts.map_or("", |facts| facts.verb().as_str()),
            action: facts
                .map(RequestFacts::action)
                .filter(|action| *action != Action::Plain)
                .map(Action::as_str),
            group: resource.map(RequestFacts::api_group),
            version: resource.map(RequestFacts::api_version),
            resource: resource.map(RequestFacts::resource),
            subresource: resource.and_then(|facts| some(facts.subresource())),
            namespace: resource.and_then(|facts| some(facts.namespace())),
            name: resource.and_then(|facts| some(facts.name())),
            content_type: self.claims.content_type.as_deref(),
            dry_run: self.is_a_dry_run(),
            agent: self.claims.agent.as_deref(),
            kubectl_command: self.claims.kubectl_command.as_deref(),
            kubectl_session: self.claims.kubectl_session.as_deref(),
            client_audit_id: self.claims.audit_id.as_deref(),
            container: self.entered().and_then(|entered| entered.container.as_deref()),
            pod: self.pod_by_kubelet(),
            fallback_of: self.fallback_of.as_ref().map(RequestId::as_str),
        }
    }

    /// Whether the API server is told, in a way that it obeys, that nothing shall be stored. Where that is not certain it is
    /// none: a record may not make less of a call than it was. So only what is written with the query's options counts (a
    /// deletion reads those of its body first), not what opens a stream or is answered by a backend, and no token, which is
    /// handed out all the same; and not what an aggregated API server may answer, which need not obey. `dryRun` is a list of
    /// which every value has to be `All`.
    /// API reference: `CreateOptions`, `UpdateOptions`, `PatchOptions`.
    pub(super) fn is_a_dry_run(&self) -> bool {
        let stores = self.facts.as_ref().is_some_and(|facts| {
            facts.is_resource_request()
                && matches!(facts.verb().as_str(), "create" | "update" | "patch")
                && OWN_GROUPS.contains(&facts.api_group())
        });
        if !stores || self.may_become_a_session() || self.reaches_a_backend() || self.asks_for_token() {
            return false;
        }
        let Some(target) = &self.target else { return false };
        let mut said = target
            .query()
            .filter(|(key, _)| key.as_ref() == b"dryRun")
            .map(|(_, value)| value);
        said.next()
            .is_some_and(|first| first.as_ref() == b"All" && said.all(|value| value.as_ref() == b"All"))
    }

    /// Whether the query says anything of a dry run, whatever comes of it.
    pub(super) fn asks_for_a_dry_run(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| target.query().any(|(key, _)| key.as_ref() == b"dryRun"))
    }

    /// Whether one object is asked for, by name or by creating it.
    pub(super) fn asks_for_one(&self) -> bool {
        let facts = self.facts.as_ref();
        facts.is_some_and(|facts| !matches!(facts.verb().as_str(), "list" | "watch" | "deletecollection"))
    }

    /// What is looked for in an answer with this status; `None`: it is not looked at.
    pub(crate) fn wants(&self, status: http::StatusCode) -> Option<Want> {
        let facts = self.facts.as_ref()?;
        if !status.is_success() {
            return Some(Want::Names);
        }
        if self.asks_for_token() {
            return Some(Want::Token);
        }
        if self.asks_for_certificate() {
            return Some(Want::Certificate);
        }
        let is_object = facts.is_resource_request() && !facts.long_running() && facts.subresource() != "log";
        (is_object && !self.reaches_a_backend()).then_some(Want::Names)
    }

    /// Whether it is recorded as a session is: whatever asks to switch, and exec, attach and port-forward however they are asked
    /// for. A plain request through a `proxy` subresource is none.
    pub(super) fn may_become_a_session(&self) -> bool {
        let streams = |facts: &RequestFacts| facts.action().streams();
        self.upgrade.is_some() || self.facts.as_ref().is_some_and(streams)
    }

    /// Whether something behind the API server answers: a pod, a service, a node.
    pub(super) fn reaches_a_backend(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| facts.subresource() == "proxy")
    }

    /// Whether the answer hands out a ServiceAccount's token.
    pub(crate) fn asks_for_token(&self) -> bool {
        let facts = self.facts.as_ref();
        facts.is_some_and(|facts| {
            (facts.resource(), facts.subresource(), facts.verb().as_str()) == ("serviceaccounts", "token", "create")
        })
    }

    /// Whether the answer is one request for a certificate, with the certificate once there is one.
    pub(crate) fn asks_for_certificate(&self) -> bool {
        let facts = self.facts.as_ref();
        facts.is_some_and(|facts| {
            let is_one = facts.is_resource_request() && !facts.long_running() && facts.verb().as_str() != "list";
            is_one && facts.resource() == "certificatesigningrequests"
        })
    }

    /// Whether it may make, sign, read or be answered with what somebody can sign in to the cluster with. By what is asked alone: of
    /// which type a `Secret` is (a ServiceAccount's token, one that joins nodes, a key) stands in its body, and deletions answer with
    /// what they delete. A certificate can be fetched by a list or a watch as well.
    /// API reference: `TokenRequest`, `Secret`, `CertificateSigningRequest`, `PodCertificateRequest`.
    pub(super) fn may_hand_out_a_credential(&self) -> bool {
        self.facts.as_ref().is_none_or(|facts| match facts.resource() {
            "secrets" | "certificatesigningrequests" | "podcertificaterequests" => true,
            "serviceaccounts" => facts.subresource() == "token",
            _ => false,
        })
    }

    /// Whether a table has the objects themselves in its rows (`includeObject=Object`, k8s.io/apimachinery `TableOptions`).
    pub(crate) fn asks_for_whole_rows(&self) -> bool {
        let target = self.target.as_ref();
        target.is_some_and(|target| {
            let mut asked = target.query().filter(|(name, _)| name.as_ref() == b"includeObject");
            asked.any(|(_, value)| value.as_ref() == b"Object")
        })
    }

    /// Whether a digest of the body is kept. Not of what is a secret or asks for one, in whatever group: who may write such a body and read
    /// records could try guesses with a digest, however it is keyed. Not of what goes to a backend or no resource: what it may be nobody
    /// here knows.
    pub(crate) fn may_be_digested(&self) -> bool {
        self.facts.as_ref().is_some_and(|facts| {
            let is_secret = matches!(
                (facts.resource(), facts.subresource()),
                (
                    "secrets" | "tokenreviews" | "certificatesigningrequests" | "podcertificaterequests",
                    _
                ) | ("serviceaccounts", "token")
            );
            facts.is_resource_request() && !self.reaches_a_backend() && !self.may_become_a_session() && !is_secret
        })
    }

    /// The account whose token is asked for.
    pub(super) fn account(&self) -> Option<String> {
        let facts = self.facts.as_ref()?;
        (facts.resource() == "serviceaccounts")
            .then(|| format!("system:serviceaccount:{}:{}", facts.namespace(), facts.name()))
    }

    pub(super) fn decided(&self) -> Option<Decided<'_>> {
        let decision = self.decision.as_ref()?;
        let (rules, rules_count) = first_few(&decision.rules);
        Some(Decided {
            allowed: true,
            who: "gateway",
            reason: None,
            rules,
            rules_count,
            policy: &decision.policy,
            sent_groups_hash: &decision.sent_groups_hash,
            stated_reason: self.stated_reason.as_deref(),
        })
    }

    /// The names of the query's parameters.
    pub(super) fn query_keys(&self) -> query::Keys {
        let query = self.target.as_ref().and_then(Target::query_raw);
        query.map(query::keys).unwrap_or_default()
    }

    /// The members that every record of this request begins with.
    pub(super) fn head<'a>(&'a self, boot: &'a str, at: Reading) -> Record<'a> {
        Record {
            id: self.id.as_str(),
            t: at.wall,
            mono: at.mono,
            boot,
            cluster: self.cluster.as_ref(),
            service: self.service.as_ref().map(CalledService::written),
            act: self.act(),
            source: if self.told_by.is_some() {
                Source::Verdict
            } else {
                Source::Gateway
            },
            note: self.told_by.as_deref(),
            ..Record::default()
        }
    }
}

/// The first few, and how many there are where those are not all: a caller chooses how many groups it names, and a policy how
/// many rules matter to a call.
pub(super) fn first_few<T>(all: &[T]) -> (&[T], Option<usize>) {
    match all.get(..MOST_NAMED) {
        Some(first) if first.len() < all.len() => (first, Some(all.len())),
        _ => (all, None),
    }
}

/// A header's text for the record: printable, bounded. The first value counts; what is no text is left out.
fn claim(headers: &HeaderMap, name: &HeaderName, most: usize, form: fn(&str) -> Option<&str>) -> Option<Box<str>> {
    // Text is ASCII here; of control characters it can hold the tab alone.
    let text = headers.get(name)?.to_str().ok()?;
    let kept = if text.contains('\t') {
        Cow::Owned(text.chars().filter(|c| *c != '\t').take(most).collect())
    } else {
        Cow::Borrowed(text.get(..most).unwrap_or(text))
    };
    form(&kept).filter(|kept| !kept.is_empty()).map(Into::into)
}

/// The groups that the API server answers by itself (k8s.io/api v0.36). Others may be custom resources, which it stores, or
/// belong to an aggregated API server: the name does not tell.
const OWN_GROUPS: [&str; 21] = [
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
];

static KUBECTL_COMMAND: HeaderName = HeaderName::from_static("kubectl-command");
static KUBECTL_SESSION: HeaderName = HeaderName::from_static("kubectl-session");
static AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_are_version_7_differ_and_are_ordered_by_time() {
        let ids: Vec<RequestId> = (0..10_000).map(|_| RequestId::new()).collect();
        let different: HashSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len(), "also beyond one fetch of random bytes");
        for pair in ids.windows(2) {
            let stamp = |id: &RequestId| id.as_str().get(..13).map(str::to_owned);
            assert!(stamp(&pair[0]) <= stamp(&pair[1]), "{pair:?}");
        }
        let version = uuid::Uuid::parse_str(ids[0].as_str()).unwrap().get_version_num();
        assert_eq!(version, 7);
    }

    #[test]
    fn one_request_for_a_certificate_is_an_answer_that_hands_one_out() {
        let world = crate::session::bench::World::new(8, access::decide::Authorization::Enforce);
        let person = Arc::new(crate::identity::for_bench(
            "al",
            &["dev"],
            crate::identity::Credential::GatewayToken,
        ));
        let certificates = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        for (path, hands_out, whole_rows) in [
            (format!("{certificates}/mine"), true, false),
            (format!("{certificates}/mine/status"), true, false),
            (format!("{certificates}/mine?includeObject=Object"), true, true),
            (format!("{certificates}/mine?includeObject=Metadata"), true, false),
            (certificates.to_owned(), false, false),
            (format!("{certificates}?watch=1"), false, false),
            ("/api/v1/namespaces/shop/pods/mine".to_owned(), false, false),
        ] {
            let trail = world.call(Arc::clone(&person), &path, false);
            assert_eq!(trail.asks_for_certificate(), hands_out, "{path}");
            assert_eq!(trail.asks_for_whole_rows(), whole_rows, "{path}");
            let wants = trail.wants(http::StatusCode::OK);
            assert_eq!(wants == Some(Want::Certificate), hands_out, "{path}");
        }
    }

    #[test]
    fn threads_do_not_share_random_bytes() {
        let elsewhere = std::thread::spawn(|| (0..100).map(|_| RequestId::new()).collect::<HashSet<_>>());
        let here: HashSet<_> = (0..100).map(|_| RequestId::new()).collect();
        assert!(here.is_disjoint(&elsewhere.join().unwrap()));
    }
}
