//! Station 3: may this subject do this, now? Facts and rules become a [`Permit`], or a refusal that says why.
//!
//! The evaluator is the crate `access`; this station brings it the live snapshot, asks the cluster where the
//! configuration says `confirm`, and remembers verdicts under keys that name everything they depend on.
//! Invariant: no answer, an old snapshot and an unknown verb are a no (promise 3).

mod permit;
mod service;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use access::decide::{Acting, Authorization, Freshness, Impersonation, Query, decide, decide_on_behalf, nearest};
use access::rbac::{Attributes, CacheKey, Snapshot};
use access::rule::{Call, NamespaceLabels, RuleSet, Situation};
use model::ask::{AccessAnswer, AccessAttributes, AccessQuestion};
use model::cluster::ClusterId;
use model::decision::{Allowed, Denial, Denied, Obligations, RuleEffect, RuleKind, RuleRef, UpstreamIdentity, Verdict};
use model::request::{Kind, RequestFacts};
use model::subject::{Subject, SubjectId, SubjectKind};
use model::time::Timestamp;
use quick_cache::sync::Cache;
use tokio::sync::watch;

pub use self::permit::{Effect, NotAHeader, Outgoing, Permit, Permitted, PureRead};
pub use self::service::{Moment, ServiceDecided, ServiceRules, ServiceStation};
use crate::ask::Ask;
use crate::audit::Trail;
use crate::chain::OnBehalf;
use crate::headers::RequestedImpersonation;
use crate::identity::{Authenticated, Identity, Vouched, groups_hash};
use crate::observe::DecidedBy;
use crate::own_rights::{About, Question};
use crate::refusal::{Limit, Refusal};
use crate::session::Grounds;
use crate::turnstile::{Pace, TurnedAway, Turnstile};

/// The rules of one cluster as they stand now. Immutable; a change is a new one with another version.
#[derive(Debug)]
pub struct Rules {
    /// RBAC.
    pub snapshot: Arc<Snapshot>,
    /// Labels of namespaces.
    pub namespaces: Arc<NamespaceLabels>,
    /// Our own rules.
    pub rules: Arc<RuleSet>,
    /// Digest over all of it, for records.
    pub digest: Arc<str>,
    /// Rises with each change.
    pub version: u64,
    /// Whether everything has been heard of at least once.
    pub complete: bool,
}

/// When the cluster was last heard of.
pub type Heard = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How decisions about one cluster are made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which cluster.
    pub cluster: ClusterId,
    /// What RBAC silence means.
    pub authorization: Authorization,
    /// Most groups that are sent upstream.
    pub max_groups: usize,
    /// A snapshot older than this is not believed.
    pub stale_after: Duration,
    /// Verdicts that are remembered.
    pub cache_entries: usize,
}

/// The decision station of one cluster.
pub struct Station {
    settings: Settings,
    rules: watch::Receiver<Arc<Rules>>,
    heard: Heard,
    confirm: Ask<AccessQuestion, AccessAnswer>,
    cache: Cache<Key, Known>,
    askers: Turnstile<SubjectId>,
    recent_denials: Cache<AccessQuestion, (AccessAnswer, Timestamp)>,
    max_groups: AtomicUsize,
}

impl std::fmt::Debug for Station {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Station")
            .field("cluster", &self.settings.cluster)
            .finish_non_exhaustive()
    }
}

/// Everything that a remembered yes depends on besides the cluster.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    version: u64,
    who: Vouched,
    /// Rules can demand one. Which it is they do not see.
    reason_stated: bool,
    asked: CacheKey,
}

/// The same, borrowed: a look-up allocates nothing.
#[derive(Clone, Copy)]
struct Lookup<'a> {
    version: u64,
    identity: &'a Identity,
    reason_stated: bool,
    asked: Attributes<'a>,
}

impl Lookup<'_> {
    fn to_key(self) -> Key {
        Key {
            version: self.version,
            who: *self.identity.vouched(),
            reason_stated: self.reason_stated,
            asked: CacheKey::of(&self.asked),
        }
    }
}

/// Field by field as [`Key`]'s own.
impl Hash for Lookup<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.version.hash(state);
        self.identity.vouched().hash(state);
        self.reason_stated.hash(state);
        self.asked.hash_as_key(state);
    }
}

impl quick_cache::Equivalent<Key> for Lookup<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.version == key.version
            && self.reason_stated == key.reason_stated
            && *self.identity.vouched() == key.who
            && key.asked.is_of(&self.asked)
    }
}

/// A remembered yes.
#[derive(Clone)]
struct Known {
    decided: Arc<Yes>,
    until: Timestamp,
}

/// A yes, with everything the record and the permit need.
struct Yes {
    allowed: Allowed,
    grounds: Grounds,
    outgoing: Arc<Outgoing>,
    rules: Arc<[RuleRef]>,
    sent_groups_hash: Arc<str>,
}

/// A permit and what its record says.
#[derive(Debug)]
pub struct Decided {
    /// The permit.
    pub permit: Permitted,
    /// The rules that mattered.
    pub rules: Arc<[RuleRef]>,
    /// Digest of the policy.
    pub policy: Arc<str>,
    /// Hash of the groups that are sent.
    pub sent_groups_hash: Arc<str>,
    /// What a call that goes on rests on.
    pub grounds: Grounds,
}

/// A call under way, decided anew by the rules as they are now.
#[derive(Debug)]
pub(crate) enum Anew {
    /// It would be allowed.
    Stands(Standing),
    /// It would be refused.
    Refused(Refusal),
    /// The cluster has to be asked: see [`Station::ask_anew`].
    Ask(Box<Asking>),
}

/// A yes to a call under way.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) grounds: Grounds,
    /// What the rules demand by now.
    pub(crate) owed: Obligations,
}

impl Standing {
    /// Of a call of a service.
    pub(crate) fn of_service(decided: &ServiceDecided) -> Self {
        Self {
            grounds: decided.grounds,
            owed: decided.obligations().clone(),
        }
    }
}

/// A question to the cluster about a call under way.
#[derive(Debug)]
pub(crate) struct Asking {
    if_yes: Allowed,
    if_no: Denied,
    what: AccessAttributes,
    grounds: Grounds,
}

/// One case to be judged: a request, or a question about one.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// What is asked.
    pub call: Call<'a>,
    /// Who asks.
    pub subject: &'a Subject,
    /// As whom the subject asks to act.
    pub impersonation: Option<&'a Impersonation>,
    /// From where.
    pub source: Option<IpAddr>,
    /// When the person last proved who they are.
    pub signed_in: Option<Timestamp>,
    /// In which authentication context.
    pub acr: Option<&'a str>,
    /// Whether a reason was stated.
    pub reason_stated: bool,
    /// The point in time.
    pub now: Timestamp,
    /// Through which workloads, where one calls for the subject.
    pub on_behalf: Option<Arc<OnBehalf>>,
}

/// The cluster's own yes counts no longer than this, and it may be as old as [`CONFIRMING`] when it is heard: ten seconds.
const CONFIRMED_FOR: Duration = Duration::from_secs(9);
/// So long an answer of the cluster's is also that of an equal question, until whoever asked has remembered it.
pub const CONFIRMING: Duration = Duration::from_secs(1);
/// The cluster's own no is remembered so long: a client that tries again at once costs it nothing.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// How many of them.
const RECENT_DENIALS: usize = 10_000;
/// What one subject may make the gateway ask the cluster. The feed sends 32 questions at the same time.
const ASKING: Pace = Pace {
    per_second: 50,
    burst_seconds: 5,
    at_once: 8,
    wait: Duration::from_secs(5),
    askers: 100_000,
};
/// A remembered yes is looked at anew at least this often, so that a stale snapshot ends it.
const REMEMBERED_FOR: Duration = Duration::from_secs(30);

impl Station {
    /// A station that decides by the newest of `rules`.
    #[must_use]
    pub fn new(
        settings: Settings,
        rules: watch::Receiver<Arc<Rules>>,
        heard: Heard,
        confirm: Ask<AccessQuestion, AccessAnswer>,
    ) -> Self {
        let cache = Cache::new(settings.cache_entries);
        Self {
            max_groups: AtomicUsize::new(settings.max_groups),
            settings,
            rules,
            heard,
            confirm,
            cache,
            askers: Turnstile::new(ASKING),
            recent_denials: Cache::new(RECENT_DENIALS),
        }
    }

    /// Puts another greatest number of groups in force. What is remembered counts for its half minute.
    pub fn set_max_groups(&self, most: usize) {
        self.max_groups.store(most, Ordering::Relaxed);
    }

    /// Whether decisions can be made: every kind of object was listed and the cluster was heard of lately.
    #[must_use]
    pub fn is_ready(&self, now: Timestamp) -> bool {
        self.rules.borrow().complete && self.freshness(now) == Freshness::Fresh
    }

    /// Decides one request.
    ///
    /// # Errors
    /// The refusal, with every rule that mattered.
    pub async fn decide(
        &self,
        who: &Authenticated,
        wanted: Option<&RequestedImpersonation>,
        facts: &RequestFacts,
        trail: &Trail,
    ) -> Result<Decided, Refusal> {
        let rules = Arc::clone(&self.rules.borrow());
        let (identity, now) = (calls_for(who, trail)?, trail.received.wall);
        let is_plain = wanted.is_none() && trail.on_behalf.is_none();
        let key = is_plain.then(|| Lookup {
            version: rules.version,
            identity,
            reason_stated: trail.stated_reason.is_some(),
            asked: Attributes::of(facts),
        });
        let remembered = key
            .as_ref()
            .and_then(|key| self.cache.get(key))
            .filter(|known| now < known.until);
        let yes = match remembered {
            Some(known) => {
                trail.decided_by(DecidedBy::Memory);
                known.decided
            }
            None => self.evaluate(&rules, identity, wanted, facts, trail, key).await?,
        };
        let not_after = yes.allowed.not_after.min(identity.expires_at());
        let obligations = yes.allowed.obligations.clone();
        let permit = match facts.kind() {
            Kind::PureRead => Permitted::Read(Permit::new(Arc::clone(&yes.outgoing), obligations, not_after)),
            Kind::Effect => Permitted::Effect(Permit::new(Arc::clone(&yes.outgoing), obligations, not_after)),
        };
        Ok(Decided {
            permit,
            rules: Arc::clone(&yes.rules),
            policy: Arc::clone(&rules.digest),
            sent_groups_hash: Arc::clone(&yes.sent_groups_hash),
            grounds: yes.grounds,
        })
    }

    /// Decisions that are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.cache.len()
    }

    /// The version of the rules now.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.rules.borrow().version
    }

    /// The rules as they change.
    #[must_use]
    pub fn rules(&self) -> watch::Receiver<Arc<Rules>> {
        self.rules.clone()
    }

    /// Decides a call under way of this identity by the newest rules, without anything that is remembered. Without an identity,
    /// or facts in the trail, it is refused.
    pub(crate) fn anew(&self, trail: &Trail, identity: Option<&Identity>, now: Timestamp) -> Anew {
        let rules = Arc::clone(&self.rules.borrow());
        let (Some(identity), Some(facts)) = (identity, trail.facts.as_ref()) else {
            return Anew::Refused(Refusal::Internal);
        };
        let impersonation = trail.effective.as_ref().map(wanted);
        let case = self.case(identity, impersonation.as_ref(), facts, trail, now);
        let (verdict, cacheable) = self.ask_rules(&rules, &case);
        let grounds = |allowed: &Allowed, from_cluster| Grounds {
            version: rules.version,
            not_after: allowed.not_after,
            from_cluster,
            momentary: !cacheable,
        };
        match verdict {
            Verdict::Allow(allowed) => {
                let grounds = grounds(&allowed, false);
                let owed = allowed.obligations;
                Anew::Stands(Standing { grounds, owed })
            }
            Verdict::Deny(denied) => Anew::Refused(Refusal::Denied(Box::new(denied))),
            Verdict::AskCluster { if_yes, if_no } => Anew::Ask(Box::new(Asking {
                grounds: grounds(&if_yes, true),
                if_yes,
                if_no,
                what: attributes(&Attributes::of(facts)),
            })),
        }
    }

    /// Asks the cluster what the rules cannot say.
    ///
    /// # Errors
    /// It would be refused.
    pub(crate) async fn ask_anew(&self, asking: Asking) -> Result<Standing, Refusal> {
        // Nobody chose this moment: it costs no share of the person's, and what was heard before does not count.
        let question = self.question(&asking.if_yes, asking.what);
        let answer = self.confirm.ask(question).await;
        let allowed = self.answered(answer, asking.if_yes, asking.if_no)?;
        Ok(Standing {
            grounds: asking.grounds,
            owed: allowed.obligations,
        })
    }

    fn case<'a>(
        &'a self,
        identity: &'a Identity,
        impersonation: Option<&'a Impersonation>,
        facts: &'a RequestFacts,
        trail: &Trail,
        now: Timestamp,
    ) -> Case<'a> {
        Case {
            call: Call::of(self.settings.cluster.as_str(), facts),
            subject: identity.subject(),
            impersonation,
            source: trail.peer.ip.parse().ok(),
            signed_in: identity.auth_time(),
            acr: identity.acr(),
            // As it was when the call began: a session does not end with the time of its reason.
            reason_stated: trail.stated_reason.is_some(),
            now,
            on_behalf: trail.on_behalf.clone(),
        }
    }

    async fn evaluate(
        &self,
        rules: &Rules,
        identity: &Identity,
        wanted: Option<&RequestedImpersonation>,
        facts: &RequestFacts,
        trail: &Trail,
        key: Option<Lookup<'_>>,
    ) -> Result<Arc<Yes>, Refusal> {
        let now = trail.received.wall;
        let impersonation = wanted.map(self::wanted);
        let case = self.case(identity, impersonation.as_ref(), facts, trail, now);
        let (verdict, cacheable) = self.ask_rules(rules, &case);
        trail.decided_by(match &verdict {
            Verdict::AskCluster { .. } => DecidedBy::Cluster,
            Verdict::Allow(_) | Verdict::Deny(_) => DecidedBy::Rules,
        });
        let (allowed, from_cluster) = match verdict {
            Verdict::Allow(allowed) => (allowed, false),
            Verdict::Deny(denied) => return Err(self.finally(rules, &case, Refusal::Denied(Box::new(denied)))),
            Verdict::AskCluster { if_yes, if_no } => {
                let what = attributes(&Attributes::of(facts));
                let question = self.question(&if_yes, what);
                let answer = self.ask_cluster(question, case.subject, now).await?;
                trail.reviewed(&answer);
                let answered = self.answered(answer, if_yes, if_no);
                (answered.map_err(|refusal| self.finally(rules, &case, refusal))?, true)
            }
        };
        let grounds = Grounds {
            version: rules.version,
            not_after: allowed.not_after,
            from_cluster,
            momentary: !cacheable,
        };
        let remembered = if from_cluster { CONFIRMED_FOR } else { REMEMBERED_FOR };
        let until = now.plus(remembered).min(allowed.not_after);
        let yes = Arc::new(yes(allowed, grounds, identity, wanted.is_some())?);
        if let Some(key) = key.filter(|_| cacheable) {
            self.cache.insert(
                key.to_key(),
                Known {
                    decided: Arc::clone(&yes),
                    until,
                },
            );
        }
        Ok(yes)
    }

    /// Whether a call would be allowed now, and under which policy: the same evaluation as for a request, the cluster asked
    /// where a request would ask it.
    ///
    /// # Errors
    /// The denial, inside.
    pub async fn judge(&self, case: &Case<'_>) -> (Result<Allowed, Refusal>, Arc<str>) {
        let rules = Arc::clone(&self.rules.borrow());
        let verdict = match self.ask_rules(&rules, case).0 {
            Verdict::Allow(allowed) => Ok(allowed),
            Verdict::Deny(denied) => Err(Refusal::Denied(Box::new(denied))),
            Verdict::AskCluster { if_yes, if_no } => {
                let question = self.question(&if_yes, attributes(&case.call.asked));
                let answer = self.ask_cluster(question, case.subject, case.now).await;
                answer.and_then(|answer| self.answered(answer, if_yes, if_no))
            }
        };
        (
            verdict.map_err(|refusal| self.finally(&rules, case, refusal)),
            Arc::clone(&rules.digest),
        )
    }

    /// What the cluster does not know when somebody asks it about their own rights: where the gateway would decide
    /// otherwise, in one sentence. `None`: nowhere, as far as the rules say. Nobody is asked for it.
    pub(crate) fn foresees(&self, about: About, question: Option<&Question>, trail: &Trail) -> Option<String> {
        let rules = Arc::clone(&self.rules.borrow());
        let (identity, facts) = (trail.identity.as_deref()?, trail.facts.as_ref()?);
        let has_rules = !rules.rules.rules().is_empty();
        let asked = match (about, question.and_then(Question::asked)) {
            (About::Rules, _) => return has_rules.then(|| LIST_OF_THE_CLUSTERS.to_owned()),
            (About::Act, None) => return Some(NOT_COMPARED.to_owned()),
            (About::Act, Some(asked)) => asked,
        };
        let impersonation = trail.effective.as_ref().map(wanted);
        let case = Case {
            call: Call::asking(self.settings.cluster.as_str(), asked),
            ..self.case(identity, impersonation.as_ref(), facts, trail, trail.received.wall)
        };
        match self.ask_rules(&rules, &case).0 {
            Verdict::Allow(allowed) => {
                beyond(&allowed).or_else(|| (has_rules && asks_for_all(&asked)).then(|| WIDE.to_owned()))
            }
            Verdict::Deny(denied) => {
                let by = denied.rules.first().filter(|rule| rule.effect == RuleEffect::Forbid);
                let by = by.map(|rule| format!(" ({rule})")).unwrap_or_default();
                let refusal = Refusal::Denied(Box::new(denied));
                Some(format!("{REFUSES}: {}{by}", refusal.in_words()))
            }
            Verdict::AskCluster { .. } => (has_rules && asks_for_all(&asked)).then(|| WIDE.to_owned()),
        }
    }

    fn ask_rules(&self, rules: &Rules, case: &Case<'_>) -> (Verdict, bool) {
        let situation = situation(rules, case);
        let query = self.query(rules, case, &situation);
        let decision = match case.on_behalf.as_deref() {
            None => decide(&query),
            Some(on_behalf) => decide_on_behalf(
                &query,
                &Acting {
                    workload: on_behalf.workload.subject(),
                    through: &on_behalf.through(),
                },
            ),
        };
        for error in &decision.errors {
            tracing::debug!(binding = %error.binding, role = &*error.role, "a binding names a role that does not exist");
        }
        (decision.verdict, decision.cacheable)
    }

    /// The refusal of a call that nobody is asked about any more. Only now the nearest role is looked for: most of what
    /// the rules are silent about is allowed by the cluster in the end.
    fn finally(&self, rules: &Rules, case: &Case<'_>, refusal: Refusal) -> Refusal {
        let Refusal::Denied(mut denied) = refusal else {
            return refusal;
        };
        denied.nearest = nearest(&self.query(rules, case, &situation(rules, case)));
        Refusal::Denied(denied)
    }

    fn query<'a>(&self, rules: &'a Rules, case: &'a Case<'_>, situation: &'a Situation<'a>) -> Query<'a> {
        let freshness = if rules.complete {
            self.freshness(case.now)
        } else {
            Freshness::Stale { age_seconds: None }
        };
        Query {
            call: case.call,
            subject: case.subject,
            impersonation: case.impersonation,
            situation,
            snapshot: &rules.snapshot,
            freshness,
            rules: &rules.rules,
            authorization: self.settings.authorization,
            max_groups: self.max_groups.load(Ordering::Relaxed),
        }
    }

    fn question(&self, if_yes: &Allowed, what: AccessAttributes) -> AccessQuestion {
        AccessQuestion {
            cluster: self.settings.cluster.clone(),
            user: Arc::clone(&if_yes.upstream.user),
            uid: if_yes.upstream.uid.clone(),
            groups: Arc::clone(&if_yes.upstream.groups),
            extra: Arc::clone(&if_yes.upstream.extra),
            what,
        }
    }

    /// Asks the cluster within the share of `asker`. What was refused a moment ago and what is being asked already costs
    /// nothing.
    async fn ask_cluster(
        &self,
        question: AccessQuestion,
        asker: &Subject,
        now: Timestamp,
    ) -> Result<AccessAnswer, Refusal> {
        if let Some((no, until)) = self.recent_denials.get(&question)
            && now < until
        {
            return Ok(no);
        }
        if let Some(answer) = self.confirm.join(&question).await {
            return Ok(answer);
        }
        let over = |TurnedAway| Refusal::Limit(Limit::Questions(ASKING.per_second));
        let place = self.askers.pass(asker.id(), now).await.map_err(over)?;
        let answer = self.confirm.ask_keeping(question.clone(), place).await;
        if matches!(answer, AccessAnswer::No { .. }) {
            self.recent_denials
                .insert(question, (answer.clone(), now.plus(REFUSED_FOR)));
        }
        Ok(answer)
    }

    fn answered(&self, answer: AccessAnswer, if_yes: Allowed, mut if_no: Denied) -> Result<Allowed, Refusal> {
        match answer {
            AccessAnswer::Yes { .. } => return Ok(if_yes),
            AccessAnswer::No { reason } if matches!(if_no.denial, Denial::NoRule) => {
                if_no.denial = Denial::ClusterSaysNo { reason }
            }
            AccessAnswer::No { .. } => {}
            AccessAnswer::Unknown { why } => {
                tracing::warn!(cluster = %self.settings.cluster, why, "a SubjectAccessReview got no answer; the call is refused");
                if_no.denial = Denial::ClusterSilent;
            }
        }
        Err(Refusal::Denied(Box::new(if_no)))
    }

    fn freshness(&self, now: Timestamp) -> Freshness {
        let heard = (self.heard)();
        let age = now.since(heard);
        if age <= self.settings.stale_after {
            Freshness::Fresh
        } else {
            Freshness::Stale {
                age_seconds: (heard != Timestamp::EPOCH).then_some(age.as_secs()),
            }
        }
    }
}

/// The allow rule alone that lets a call pass, in words: the cluster, asked about the person, says no.
fn beyond(allowed: &Allowed) -> Option<String> {
    let ours = |rule: &&RuleRef| rule.kind == RuleKind::AccessRule && rule.effect == RuleEffect::Allow;
    let theirs = |rule: &RuleRef| rule.kind != RuleKind::AccessRule;
    if allowed.rules.iter().any(theirs) {
        return None;
    }
    let rule = allowed.rules.iter().find(ours)?;
    Some(format!(
        "the gateway lets this pass beyond what the cluster answers ({rule})"
    ))
}

/// Whether a question is about more than one kind of act: rules may refuse a part of it.
fn asks_for_all(asked: &Attributes<'_>) -> bool {
    [asked.verb, asked.group, asked.resource].contains(&"*")
}

const REFUSES: &str = "the gateway would refuse this, whatever the cluster answers";
const WIDE: &str = "the gateway has access rules of its own, which may refuse a part of this; ask about one act";
const LIST_OF_THE_CLUSTERS: &str = "the gateway has access rules of its own, which are not in this list and may refuse a part of it; ask about one act";
const NOT_COMPARED: &str =
    "this question could not be compared with the gateway's own rules, which may refuse what the cluster allows";

/// As whom a call goes to the cluster: as whoever was proved, or as the person for whom that workload calls.
fn calls_for<'a>(who: &'a Authenticated, trail: &'a Trail) -> Result<&'a Arc<Identity>, Refusal> {
    match (&trail.on_behalf, &trail.identity) {
        (None, _) => Ok(who.identity()),
        (Some(_), Some(person)) => Ok(person),
        (Some(_), None) => Err(Refusal::Internal),
    }
}

/// The identity headers of an allowed call. A person's and a workload's carry the session, so that the cluster's own log names it
/// too; it is constant per session, because the API server caches by these values. A ServiceAccount goes by its name alone.
fn yes(mut allowed: Allowed, grounds: Grounds, identity: &Identity, nested: bool) -> Result<Yes, Refusal> {
    if nested || identity.subject().kind() != SubjectKind::ServiceAccount {
        let mut extra = BTreeMap::clone(&allowed.upstream.extra);
        extra.insert("gatescribe.dev/session".to_owned(), vec![identity.sign_in().to_owned()]);
        allowed.upstream.extra = Arc::new(extra);
    } else {
        allowed.upstream = UpstreamIdentity {
            user: allowed.upstream.user,
            uid: None,
            groups: Arc::default(),
            extra: Arc::default(),
        };
    }
    let outgoing = Outgoing::new(&allowed.upstream).map_err(|error| Refusal::BadCredential(error.to_string()))?;
    let rules = allowed.rules.as_slice().into();
    let sent_groups_hash = groups_hash(&allowed.upstream.groups);
    Ok(Yes {
        allowed,
        grounds,
        outgoing: Arc::new(outgoing),
        rules,
        sent_groups_hash,
    })
}

fn wanted(wanted: &RequestedImpersonation) -> Impersonation {
    Impersonation {
        user: wanted.user.as_str().into(),
        uid: wanted.uid.as_deref().map(Into::into),
        groups: wanted.groups.iter().map(|group| group.as_str().into()).collect(),
        extra: Arc::new(wanted.extra.clone()),
    }
}

fn situation<'a>(rules: &'a Rules, case: &Case<'a>) -> Situation<'a> {
    Situation {
        now: case.now,
        source: case.source,
        signed_in: case.signed_in,
        acr: case.acr,
        namespaces: &rules.namespaces,
        reason_stated: case.reason_stated,
        approved_by: &[],
    }
}

fn attributes(asked: &Attributes<'_>) -> AccessAttributes {
    if asked.is_resource {
        AccessAttributes::Resource {
            verb: asked.verb.into(),
            group: asked.group.into(),
            version: "*".into(),
            resource: asked.resource.into(),
            subresource: asked.subresource.into(),
            namespace: asked.namespace.into(),
            name: asked.name.into(),
        }
    } else {
        AccessAttributes::NonResource {
            verb: asked.verb.into(),
            path: asked.path.into(),
        }
    }
}
