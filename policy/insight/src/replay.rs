//! Rules asked about calls that others have decided already: the API server's own log, event by event.
//!
//! It is the evaluator of the gateway, with what an event says: who, with which groups, as whom, what, from where, when. What no
//! event says (labels of namespaces, the age of a sign-in, a stated reason, an approval) makes a call one of which nothing can be
//! said, wherever the answer hangs on it: never a refusal, and never a yes.
//!
//! RBAC: with objects given, those alone count. Without, the API server's own decision stands for RBAC, as under `authorization:
//! confirm`; so only what rules forbid can be refused then.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use access::decide::{Authorization, Freshness, Impersonation, Query, RuleTrace, explain};
use access::rbac::{AUTHENTICATED, Snapshot, service_account};
use access::rule::{Call, Effect, Mode, NamespaceLabels, Reach, RuleSet, Situation};
use model::decision::{Denial, Denied, RuleEffect, RuleKind, RuleRef, Unmet, Verdict};
use model::request::RequestFacts;
use model::spiffe::SpiffeId;
use model::subject::{Subject, SubjectId, SubjectKind, SubjectParts};
use model::time::Timestamp;
use serde::Serialize;

use crate::asked::{Unclear, facts_of};
use crate::network::Network;
use crate::recent::{Numbers, Recent};
use crate::reconcile::CallerKind;
use crate::server_log::{Person, ServerEvent, Stage};

/// Groups of calls that are kept apart of each class; of more, only the number of calls is known.
const MOST_GROUPS: usize = 10_000;
/// Long calls whose beginning was judged and whose end has not come; more are judged when they end.
const MOST_BEGUN: usize = 100_000;
/// Calls that ended, of which a beginning that comes late is not judged again.
const MOST_ENDED: usize = 500_000;

/// What is asked.
#[derive(Debug)]
pub struct Rules {
    /// The cluster's name, as rules know it.
    pub cluster: String,
    /// The access rules.
    pub rules: RuleSet,
    /// The RBAC objects, where there are any.
    pub rbac: Option<Snapshot>,
    /// Labels of namespaces, as far as they are known.
    pub namespaces: NamespaceLabels,
    /// Balancers before the API server, whose word on where a call came from is believed ([`ServerEvent::source`]).
    pub balancers: Vec<Network>,
}

/// Calls of one person of one kind, judged alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// `user.username`, who connected.
    pub user: String,
    /// Whom they spoke for.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub effective: Option<String>,
    /// The verb that rules are asked about.
    pub verb: String,
    /// `resource` or `resource/subresource`, with `.group` where it has one; a path.
    pub resource: String,
    /// The namespace; empty where there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Why: in words, with the rules.
    pub why: String,
    /// How many calls.
    pub calls: u64,
    /// The server's time of the first that was read.
    pub first: Timestamp,
    /// And of the last.
    pub last: Timestamp,
    /// `Audit-ID` of the first.
    pub example: String,
    /// The closest role that would do, where one would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<String>,
}

/// What the rules say to the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Said {
    /// Calls that were judged.
    pub judged: u64,
    /// Of them: both say the same.
    pub same: u64,
    /// The server answered them, and the rules would have refused them.
    pub refused: Vec<Group>,
    /// The server refused them, and the rules would have allowed them.
    pub allowed: Vec<Group>,
    /// Of them nothing can be said.
    pub unknown: Vec<Group>,
    /// Calls of the cluster's own parts, which do not come through the gate: not judged.
    pub components: u64,
    /// All calls of each class, in a group or in none.
    pub calls: ByClass,
    /// Of them those that are in no group, as there were too many groups of the class.
    pub beyond: ByClass,
    /// Judged calls with further addresses before the one that was taken for their source: the caller's word.
    pub forwarded: u64,
}

/// Calls by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByClass {
    /// As [`Said::refused`].
    pub refused: u64,
    /// As [`Said::allowed`].
    pub allowed: u64,
    /// As [`Said::unknown`].
    pub unknown: u64,
}

impl ByClass {
    const fn of(&mut self, class: Class) -> &mut u64 {
        match class {
            Class::Refused => &mut self.refused,
            Class::Allowed => &mut self.allowed,
            Class::Unknown => &mut self.unknown,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Refused,
    Allowed,
    Unknown,
}

type Key = (Class, String, Option<String>, String, String, String, String);

/// Judges calls as they are read.
#[derive(Debug)]
pub struct Replay {
    given: Rules,
    groups: BTreeMap<Key, Group>,
    /// How many groups there are of each class.
    kept: ByClass,
    numbers: Numbers,
    begun: HashSet<u64>,
    ended: Recent,
    fresh: Vec<Group>,
    said: Said,
    most_groups: u64,
}

/// Whether the event names further addresses before the one that is taken for its source.
fn guesses_source(event: &ServerEvent, balancers: &[Network]) -> bool {
    let is_ours = |text: &String| {
        let address = text.parse::<std::net::IpAddr>().ok();
        address.is_some_and(|address| balancers.iter().any(|network| network.contains(address)))
    };
    !event.more.forwarded.is_empty() && !event.peer.as_ref().is_some_and(is_ours)
}

/// What came of one call.
enum Judged {
    Same,
    Other(Class, String, Option<String>),
}

impl Replay {
    /// With these rules.
    #[must_use]
    pub fn of(given: Rules) -> Self {
        Self {
            given,
            groups: BTreeMap::new(),
            kept: ByClass::default(),
            numbers: Numbers::default(),
            begun: HashSet::new(),
            ended: Recent::of(MOST_ENDED),
            fresh: Vec::new(),
            said: Said::default(),
            most_groups: u64::try_from(MOST_GROUPS).unwrap_or(u64::MAX),
        }
    }

    /// Judges the call of an event: a long one when it begins, every other one when it ends; once, in whatever order its events come.
    pub fn push(&mut self, event: &ServerEvent) {
        let call = self.numbers.of(event);
        match event.stage {
            Stage::RequestReceived => return,
            Stage::ResponseStarted if self.ended.has(call) || self.begun.len() >= MOST_BEGUN => return,
            Stage::ResponseStarted if !self.begun.insert(call) => return,
            Stage::ResponseStarted => {}
            // A second end of a call, as where its handler failed after its answer.
            Stage::ResponseComplete | Stage::Panic if !self.ended.insert(call) => return,
            Stage::ResponseComplete | Stage::Panic if self.begun.remove(&call) => return,
            Stage::ResponseComplete | Stage::Panic => {}
        }
        if CallerKind::of(&event.user) == CallerKind::Component {
            self.said.components += 1;
            return;
        }
        self.said.judged += 1;
        self.said.forwarded += u64::from(guesses_source(event, &self.given.balancers));
        let facts = facts_of(event);
        match judge(&self.given, event, facts.as_ref()) {
            Judged::Same => self.said.same += 1,
            Judged::Other(class, why, nearest) => self.keep(event, facts.ok().as_ref(), class, why, nearest),
        }
    }

    fn keep(
        &mut self,
        event: &ServerEvent,
        facts: Option<&RequestFacts>,
        class: Class,
        why: String,
        nearest: Option<String>,
    ) {
        let verb = facts
            .map_or(event.verb.as_str(), RequestFacts::authorization_verb)
            .to_owned();
        let resource = facts.map_or_else(|| event.path().to_owned(), named);
        let namespace = facts.map_or("", RequestFacts::namespace).to_owned();
        let key = (
            class,
            event.user.clone(),
            event.impersonated.clone(),
            verb.clone(),
            resource.clone(),
            namespace.clone(),
            why.clone(),
        );
        *self.said.calls.of(class) += 1;
        let is_new = !self.groups.contains_key(&key);
        // Each class by itself: whoever makes many groups of one hides nothing of another.
        if is_new && *self.kept.of(class) >= self.most_groups {
            *self.said.beyond.of(class) += 1;
            return;
        }
        *self.kept.of(class) += u64::from(is_new);
        let group = self.groups.entry(key).or_insert_with(|| Group {
            user: event.user.clone(),
            effective: event.impersonated.clone(),
            verb,
            resource,
            namespace,
            why,
            calls: 0,
            first: event.received,
            last: event.received,
            example: event.audit_id.clone(),
            nearest,
        });
        group.calls += 1;
        group.first = group.first.min(event.received);
        group.last = group.last.max(event.received);
        if is_new && class == Class::Refused {
            self.fresh.push(group.clone());
        }
    }

    /// What the rules would have refused, and was not told of before: one for each group.
    pub fn take_fresh(&mut self) -> Vec<Group> {
        std::mem::take(&mut self.fresh)
    }

    /// What was said so far: most calls first.
    #[must_use]
    pub fn said(&self) -> Said {
        let mut said = self.said.clone();
        for ((class, ..), group) in &self.groups {
            let list = match class {
                Class::Refused => &mut said.refused,
                Class::Allowed => &mut said.allowed,
                Class::Unknown => &mut said.unknown,
            };
            list.push(group.clone());
        }
        for list in [&mut said.refused, &mut said.allowed, &mut said.unknown] {
            list.sort_by_key(|group| std::cmp::Reverse(group.calls));
        }
        said
    }
}

fn named(facts: &RequestFacts) -> String {
    if !facts.is_resource_request() {
        return facts.path().to_owned();
    }
    match facts.api_group() {
        "" => facts.combined_resource().into_owned(),
        group => format!("{}.{group}", facts.combined_resource()),
    }
}

fn unknown(why: impl Into<String>) -> Judged {
    Judged::Other(Class::Unknown, why.into(), None)
}

fn judge(given: &Rules, event: &ServerEvent, facts: Result<&RequestFacts, &Unclear>) -> Judged {
    let let_in = event.more.allowed.unwrap_or(!matches!(event.code, Some(401 | 403)));
    if CallerKind::of(&event.user) == CallerKind::Anonymous {
        return match let_in {
            true => unknown("nobody known: through the gate they would have to sign in"),
            false => Judged::Same,
        };
    }
    let facts = match facts {
        Ok(facts) => facts,
        Err(Unclear::Target) if let_in => {
            return Judged::Other(
                Class::Refused,
                "the gate refuses an address that can be read in two ways".to_owned(),
                None,
            );
        }
        Err(Unclear::Target) => return Judged::Same,
        Err(Unclear::Verb) => return unknown("its verb is not that of its address"),
    };
    let subject = match subject(event) {
        Ok(subject) => subject,
        Err(why) => return unknown(why),
    };
    let impersonation = event
        .impersonated
        .as_deref()
        .map(|user| impersonation(user, &event.more.impersonated));
    if impersonation.is_some() && given.rbac.is_none() {
        return unknown("it is done as somebody else, and who may do so stands in RBAC objects that were not given");
    }
    let situation = Situation {
        now: event.received,
        source: event.source(&given.balancers),
        signed_in: None,
        acr: None,
        namespaces: &given.namespaces,
        reason_stated: false,
        approved_by: &[],
    };
    let none = Snapshot::default();
    let query = Query {
        call: Call::of(&given.cluster, facts),
        subject: &subject,
        impersonation: impersonation.as_ref(),
        situation: &situation,
        snapshot: given.rbac.as_ref().unwrap_or(&none),
        freshness: Freshness::Fresh,
        rules: &given.rules,
        authorization: match given.rbac {
            Some(_) => Authorization::Enforce,
            None => Authorization::Confirm,
        },
        max_groups: usize::MAX,
    };
    weigh(given, &query, let_in)
}

/// The verdict beside what the server said.
fn weigh(given: &Rules, query: &Query<'_>, let_in: bool) -> Judged {
    let told = explain(query);
    let labels_known =
        query.call.asked.namespace.is_empty() || given.namespaces.contains_key(query.call.asked.namespace);
    let by_labels = |rule: &RuleRef| {
        let is_it =
            |own: &&access::rule::Rule| own.name() == &*rule.name && own.namespace() == rule.namespace.as_deref();
        let found = given.rules.rules().iter().find(is_it);
        !labels_known && found.is_some_and(access::rule::Rule::selects_by_labels)
    };
    // An allow that would count, if something were known that is not.
    let may_allow = || {
        told.rules.iter().find(|trace| {
            let counts = trace.rule.effect == RuleEffect::Allow;
            counts
                && (matches!(trace.reach, Reach::Fails(_)) || trace.reach != Reach::Applies && by_labels(&trace.rule))
        })
    };
    match &told.decision.verdict {
        Verdict::Allow(_) if let_in => Judged::Same,
        Verdict::AskCluster { .. } => Judged::Same,
        Verdict::Allow(allowed) => {
            let by: Vec<String> = allowed
                .rules
                .iter()
                .filter(|rule| rule.effect == RuleEffect::Allow)
                .map(ToString::to_string)
                .collect();
            Judged::Other(Class::Allowed, by.join(", "), None)
        }
        Verdict::Deny(_) if !let_in => Judged::Same,
        Verdict::Deny(denied) => refused(denied, query, &by_labels, &may_allow),
    }
}

/// Why the rules would have refused what the server let in, or what would have to be known to say so.
fn refused<'t>(
    denied: &Denied,
    query: &Query<'_>,
    by_labels: &dyn Fn(&RuleRef) -> bool,
    may_allow: &dyn Fn() -> Option<&'t RuleTrace>,
) -> Judged {
    match &denied.denial {
        Denial::Forbidden => {
            let forbids = || denied.rules.iter().filter(|rule| rule.effect == RuleEffect::Forbid);
            let names: Vec<String> = forbids().map(ToString::to_string).collect();
            match forbids().all(|rule| rule.why.is_some() || by_labels(rule)) {
                true => unknown(format!("{} {}", names.join(", "), lacking(forbids().any(by_labels)))),
                false => Judged::Other(Class::Refused, format!("forbidden by {}", names.join(", ")), None),
            }
        }
        Denial::Obligation(unmet) => unknown(owed(unmet, &denied.rules)),
        Denial::NoRule | Denial::NoGroups => match may_allow() {
            Some(trace) => unknown(format!("{} {}", trace.rule, lacking(by_labels(&trace.rule)))),
            None => {
                let nearest = query.snapshot.nearest(&query.call.asked, |_| true);
                let nearest = nearest.map(|nearest| match nearest.namespace {
                    Some(namespace) => format!("{} in {namespace}", nearest.role),
                    None => nearest.role.to_string(),
                });
                Judged::Other(Class::Refused, "nothing allows it".to_owned(), nearest)
            }
        },
        Denial::MayNotImpersonate { what } => {
            Judged::Other(Class::Refused, format!("they may not act as {what}"), None)
        }
        Denial::ReservedName { name } => Judged::Other(
            Class::Refused,
            format!("nobody may act as {name} through the gate"),
            None,
        ),
        Denial::UnknownVerb => Judged::Other(Class::Refused, "the verb is unknown".to_owned(), None),
        Denial::NoOnBehalfOf { .. }
        | Denial::TooManyGroups { .. }
        | Denial::StaleSnapshot { .. }
        | Denial::ClusterSaysNo { .. }
        | Denial::ClusterSilent => unknown("it cannot be decided from a log"),
    }
}

/// What a rule asks for in vain.
const fn lacking(labels: bool) -> &'static str {
    if labels {
        "asks for labels of the namespace, which is not among the objects that were given"
    } else {
        "asks what the log does not say"
    }
}

fn owed(unmet: &Unmet, rules: &[RuleRef]) -> String {
    let what = match unmet {
        Unmet::Reason => "a reason",
        Unmet::Recording | Unmet::NoSession => "a recording",
        Unmet::StepUp { .. } => "a fresh or stronger sign-in",
        Unmet::Approval { .. } => "an approval",
    };
    let by: Vec<String> = rules
        .iter()
        .filter(|rule| rule.kind == RuleKind::AccessRule)
        .map(ToString::to_string)
        .collect();
    format!(
        "{} would have asked for {what}, which no log of the API server shows",
        by.join(", ")
    )
}

/// Whoever connected, as the gateway would know them.
fn subject(event: &ServerEvent) -> Result<Subject, String> {
    let account = service_account(&event.user).is_some();
    let person = &event.more.user;
    if let Some(group) = person
        .groups
        .iter()
        .find(|group| matches!(group.as_str(), "system:masters" | "system:nodes"))
    {
        return Err(format!("member of {group}, which nobody is through the gate"));
    }
    let parts = SubjectParts {
        // Nothing is told apart by it here.
        id: SubjectId::from_digest([0; 16]),
        kind: if account {
            SubjectKind::ServiceAccount
        } else if SpiffeId::parse(&event.user).is_ok() {
            SubjectKind::Workload
        } else {
            SubjectKind::Person
        },
        issuer: String::new(),
        subject: event.user.clone(),
        username: event.user.clone(),
        uid: person.uid.clone(),
        groups: person
            .groups
            .iter()
            .filter(|group| *group != AUTHENTICATED)
            .cloned()
            .collect(),
        extra: person.extra.clone(),
        email: None,
    };
    Subject::new(parts).map_err(|error| format!("the gate takes no such name: {error}"))
}

/// What the caller asked for: without what the API server adds by itself.
fn impersonation(user: &str, person: &Person) -> Impersonation {
    let own = service_account(user).map(|(namespace, _)| format!("system:serviceaccounts:{namespace}"));
    let is_added = |group: &str| {
        group == AUTHENTICATED
            || own
                .as_ref()
                .is_some_and(|own| group == own || group == "system:serviceaccounts")
    };
    let groups = person.groups.iter().filter(|group| !is_added(group));
    Impersonation {
        user: user.into(),
        uid: person.uid.as_deref().map(Into::into),
        groups: groups.map(|group| Arc::from(group.as_str())).collect(),
        extra: Arc::new(person.extra.clone()),
    }
}

impl Rules {
    /// Whether there is anything to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rbac.is_none() && self.rules.rules().is_empty()
    }

    /// Rules that are without effect here: in shadow mode they refuse nothing.
    #[must_use]
    pub fn in_shadow(&self) -> usize {
        let is_shadow = |rule: &&access::rule::Rule| rule.mode() == Mode::Shadow;
        self.rules.rules().iter().filter(is_shadow).count()
    }

    /// Rules that forbid.
    #[must_use]
    pub fn forbids(&self) -> usize {
        self.rules
            .rules()
            .iter()
            .filter(|rule| rule.effect() == Effect::Forbid)
            .count()
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
