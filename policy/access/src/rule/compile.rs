//! From a document to a rule: every mistake is told, and all of them at once.

use std::fmt;
use std::sync::Arc;

use model::decision::Obligations;
use model::subject::{SubjectKind, is_padded};
use model::time::Timestamp;

use super::behalf;
use super::call::Who;
use super::compiled::{Rule, Scope};
use super::condition::{About, Condition};
use super::document::{API_VERSION, AccessRuleDocument, Effect, KubernetesScope, ObligationSpec, Spec, Subjects};
use super::lasting::{self, Lasting};
use super::pattern::{self, PathPattern, ResourcePattern, WorkloadPattern};
use super::remarks;
use super::service::Reached;

/// A rule and whom it is about.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    pub(super) rule: Rule,
    pub(super) subjects: SubjectPatterns,
    /// What is to say about it though it counts.
    pub(super) remarks: Vec<Point>,
}

/// Whom a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SubjectPatterns {
    pub(super) any_person: bool,
    pub(super) people: Vec<Box<str>>,
    pub(super) everyone: bool,
    pub(super) groups: Vec<Box<str>>,
    pub(super) workloads: Vec<WorkloadPattern>,
    /// Also who has not signed in.
    pub(super) public: bool,
}

impl SubjectPatterns {
    /// Whether somebody is among them, found as the index of a set finds rules.
    pub(super) fn cover(&self, who: &Who<'_>) -> bool {
        let name = who.view.username();
        let by_name = match who.kind {
            SubjectKind::Person => self.any_person || self.people.iter().any(|own| own.as_ref() == name),
            SubjectKind::ServiceAccount | SubjectKind::Workload => {
                self.workloads.iter().any(|pattern| pattern.covers(name))
            }
            SubjectKind::Public => return self.public,
        };
        let in_group = |group: &str| self.groups.iter().any(|own| own.as_ref() == group);
        self.everyone || self.public || by_name || who.view.groups().any(in_group)
    }

    /// For a forbid whose subjects cannot be read.
    pub(super) fn all() -> Self {
        Self {
            everyone: true,
            public: true,
            ..Self::default()
        }
    }
}

/// # Errors
/// All that is wrong with the document, each with the member it is about.
pub(super) fn compile(document: &AccessRuleDocument) -> Result<Compiled, Vec<Point>> {
    let mut wrong = Wrong::default();
    let AccessRuleDocument {
        api_version,
        kind,
        metadata,
        spec,
        status: _,
    } = document;
    if api_version != API_VERSION {
        wrong.say("apiVersion", format!("`{api_version}` is not `{API_VERSION}`"));
    }
    if !matches!(kind.as_str(), "AccessRule" | "ClusterAccessRule") {
        wrong.say(
            "kind",
            format!("`{kind}` is neither `AccessRule` nor `ClusterAccessRule`"),
        );
    }
    let namespace = metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty());
    if kind == "ClusterAccessRule" && namespace.is_some() {
        wrong.say("metadata.namespace", "a `ClusterAccessRule` has none");
    }
    if metadata.name.is_empty() {
        wrong.say("metadata.name", "it is empty");
    }
    let subjects = subjects(&spec.subjects, &SUBJECTS, &mut wrong);
    let on_behalf_of = behalf::read(spec, &mut wrong);
    let scope = spec.kubernetes.as_ref().map(|scope| self::scope(scope, &mut wrong));
    let services = services(spec, &mut wrong);
    check_whole(spec, namespace, scope.as_ref(), &mut wrong);
    let rule = Rule {
        name: metadata.name.as_str().into(),
        namespace: namespace.map(Into::into),
        effect: spec.effect,
        mode: spec.mode,
        until: spec
            .until
            .as_deref()
            .and_then(|until| wrong.keep("spec.until", read_time(until))),
        on_behalf_of,
        scope,
        services,
        condition: condition(spec, &mut wrong),
        obligations: obligations(&spec.obligations, &mut wrong),
        act_as: act_as(spec, &mut wrong),
    };
    if !wrong.0.is_empty() {
        return Err(wrong.0);
    }
    Ok(Compiled {
        remarks: remarks::of_one(&rule),
        rule,
        subjects,
    })
}

/// One thing to say of a document, and of which member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Point {
    /// Such as `spec.kubernetes.names`.
    pub(super) member: &'static str,
    /// Which item of it, where it is a list.
    pub(super) item: Option<usize>,
    pub(super) what: String,
}

impl Point {
    /// The path of what it is about within the document.
    pub(super) fn path(&self) -> String {
        match self.item {
            Some(item) => format!("{}.{item}", self.member),
            None => self.member.to_owned(),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.member, self.what)
    }
}

/// Gathers what is wrong.
#[derive(Default)]
pub(super) struct Wrong(pub(super) Vec<Point>);

impl Wrong {
    pub(super) fn say(&mut self, member: &'static str, what: impl Into<String>) {
        self.say_of(member, None, what);
    }

    pub(super) fn say_of(&mut self, member: &'static str, item: Option<usize>, what: impl Into<String>) {
        let what = what.into();
        self.0.push(Point { member, item, what });
    }

    pub(super) fn keep<T>(&mut self, member: &'static str, read: Result<T, String>) -> Option<T> {
        read.map_err(|what| self.say(member, what)).ok()
    }

    /// An absent list means any; an empty one is a mistake.
    fn list<T>(
        &mut self,
        member: &'static str,
        list: Option<&Vec<String>>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let list = list?;
        if list.is_empty() {
            self.say(
                member,
                "an empty list matches nothing; leave it out for any, or list what is meant",
            );
        }
        let mut kept = Vec::with_capacity(list.len());
        for (item, text) in list.iter().enumerate() {
            match read(text) {
                Ok(read) => kept.push(read),
                Err(what) => self.say_of(member, Some(item), what),
            }
        }
        Some(kept)
    }
}

fn read_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|error| error.to_string())
}

fn plain(text: &str) -> Result<Box<str>, String> {
    if text.is_empty() {
        return Err("an empty name matches nothing".to_owned());
    }
    if is_padded(text) {
        return Err(format!("`{text}` begins or ends with a space, which no name does"));
    }
    if text != "*" && text.contains('*') {
        return Err(format!("`{text}`: a star stands for all, never for a part of a name"));
    }
    Ok(text.into())
}

fn exact(text: &str) -> Result<Box<str>, String> {
    if text == "*" {
        Err("leave it out for any".to_owned())
    } else {
        plain(text)
    }
}

/// A verb; those of Kubernetes are lower case, and so are methods on paths.
fn verb(text: &str) -> Result<Box<str>, String> {
    let verb = plain(text)?;
    if text
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || b"-:*".contains(&byte))
    {
        Ok(verb)
    } else {
        Err(format!("`{text}` is no verb: verbs are written in lower case"))
    }
}

/// What members that name somebody are called.
pub(super) struct Members {
    pub(super) all: &'static str,
    pub(super) people: &'static str,
    pub(super) groups: &'static str,
    pub(super) workloads: &'static str,
}

const SUBJECTS: Members = Members {
    all: "spec.subjects",
    people: "spec.subjects.people",
    groups: "spec.subjects.groups",
    workloads: "spec.subjects.workloads",
};

pub(super) fn subjects(written: &Subjects, members: &Members, wrong: &mut Wrong) -> SubjectPatterns {
    let Subjects {
        people,
        groups,
        workloads,
        public,
    } = written;
    if people.is_empty() && groups.is_empty() && workloads.is_empty() && !public {
        wrong.say(
            members.all,
            "nobody is named; write `groups: [\"*\"]` if everyone who has signed in is meant",
        );
    }
    let people = wrong.list(members.people, Some(people).filter(|list| !list.is_empty()), plain);
    let groups = wrong.list(members.groups, Some(groups).filter(|list| !list.is_empty()), plain);
    let workloads = Some(workloads).filter(|list| !list.is_empty());
    let workloads = wrong.list(members.workloads, workloads, WorkloadPattern::parse);
    let star = |list: &Option<Vec<Box<str>>>| list.iter().flatten().any(|item| item.as_ref() == "*");
    SubjectPatterns {
        any_person: star(&people),
        everyone: star(&groups),
        people: people.unwrap_or_default(),
        groups: groups.unwrap_or_default(),
        workloads: workloads.unwrap_or_default(),
        public: *public,
    }
}

fn services(spec: &Spec, wrong: &mut Wrong) -> Vec<Reached> {
    let mut read = Vec::with_capacity(spec.services.len());
    for (item, scope) in spec.services.iter().enumerate() {
        match Reached::read(scope) {
            Ok(reached) => read.push(reached),
            Err(whats) => {
                for what in whats {
                    wrong.say_of("spec.services", Some(item), what);
                }
            }
        }
    }
    read
}

pub(super) fn scope(written: &KubernetesScope, wrong: &mut Wrong) -> Scope {
    let KubernetesScope {
        clusters,
        verbs,
        resources,
        actions,
        paths,
        names,
        namespaces,
        namespace_selector,
    } = written;
    if actions.is_none() && (verbs.is_none() || (resources.is_none() && paths.is_none())) {
        let what = "name `verbs` with `resources` or `paths`, or name `actions`; `[\"*\"]` stands for all";
        wrong.say("spec.kubernetes", what);
    }
    if let Some(problem) = namespace_selector.as_ref().and_then(|selector| selector.problem()) {
        wrong.say("spec.kubernetes.namespaceSelector", problem);
    }
    if namespace_selector.as_ref().is_some_and(|selector| selector.is_empty()) {
        wrong.say(
            "spec.kubernetes.namespaceSelector",
            "it has no condition; leave it out for any",
        );
    }
    let acts = wrong.list("spec.kubernetes.actions", actions.as_ref(), pattern::actions);
    Scope {
        clusters: wrong.list("spec.kubernetes.clusters", clusters.as_ref(), plain),
        verbs: wrong.list("spec.kubernetes.verbs", verbs.as_ref(), verb),
        resources: wrong.list("spec.kubernetes.resources", resources.as_ref(), ResourcePattern::parse),
        actions: acts.map(|acts| acts.into_iter().flatten().collect()),
        paths: wrong.list("spec.kubernetes.paths", paths.as_ref(), PathPattern::parse),
        names: wrong.list("spec.kubernetes.names", names.as_ref(), exact),
        namespaces: wrong.list("spec.kubernetes.namespaces", namespaces.as_ref(), exact),
        selector: namespace_selector.clone(),
    }
}

fn check_whole(spec: &Spec, namespace: Option<&str>, scope: Option<&Scope>, wrong: &mut Wrong) {
    if spec.kubernetes.is_none() && spec.services.is_empty() {
        wrong.say(
            "spec",
            "it names neither `kubernetes` calls nor `services`, so it would match nothing",
        );
    }
    if spec.subjects.public {
        check_public(spec, wrong);
    }
    behalf::check(spec, wrong);
    if let Some(namespace) = namespace {
        check_local(spec, namespace, wrong);
    }
    if spec.effect == Effect::Forbid {
        if spec.obligations != ObligationSpec::default() {
            wrong.say("spec.obligations", "a forbid allows nothing that could owe something");
        }
        if !spec.act_as.groups.is_empty() {
            wrong.say("spec.as", "a forbid sends nothing upstream");
        }
    } else {
        check_lasting(spec, scope, wrong);
    }
}

/// What a rule about those who have not signed in cannot say.
fn check_public(spec: &Spec, wrong: &mut Wrong) {
    if spec.kubernetes.is_some() {
        let what = "nobody calls Kubernetes without having signed in: only `services` can be public";
        wrong.say("spec.subjects.public", what);
    }
    if spec.effect == Effect::Allow && spec.obligations != ObligationSpec::default() {
        wrong.say(
            "spec.obligations",
            "who has not signed in can meet none; make two rules of it, one of them `public`",
        );
    }
}

/// What a rule of a namespace cannot say.
fn check_local(spec: &Spec, namespace: &str, wrong: &mut Wrong) {
    if spec.effect == Effect::Allow {
        wrong.say(
            "spec.effect",
            "a rule of a namespace cannot loosen; only `forbid` is possible here",
        );
    }
    let listed = spec.kubernetes.as_ref().and_then(|scope| scope.namespaces.as_ref());
    for (item, other) in listed.into_iter().flatten().enumerate() {
        if other != namespace {
            let what = format!("`{other}`: a rule of namespace `{namespace}` reaches that namespace only");
            wrong.say_of("spec.kubernetes.namespaces", Some(item), what);
        }
    }
}

/// What is demanded of calls that last has an effect on such alone.
fn check_lasting(spec: &Spec, scope: Option<&Scope>, wrong: &mut Wrong) {
    // Of a scope that cannot be read in full nobody knows what it would cover, and a service may hold sessions one day.
    let is_readable = !wrong.0.iter().any(|point| point.member.starts_with("spec.kubernetes"));
    let Some(scope) = scope.filter(|_| is_readable && spec.services.is_empty()) else {
        return;
    };
    let Lasting { sessions, others } = lasting::of(scope);
    if sessions || others {
        return;
    }
    let ObligationSpec {
        record,
        idle,
        longest,
        reason: _,
        approval: _,
        step_up: _,
    } = &spec.obligations;
    let no_session =
        "it has no effect: no call of this rule is a session; leave it out, or name some, as `actions: [enter]` does";
    let none_lasts = "it has no effect: no call of this rule goes on once it is answered; leave it out, or name some that do, \
                      such as `actions: [enter, log]`";
    for (is_there, member, what) in [
        (*record, "spec.obligations.record", no_session),
        (idle.is_some(), "spec.obligations.idle", no_session),
        (longest.is_some(), "spec.obligations.longest", none_lasts),
    ] {
        if is_there {
            wrong.say(member, what);
        }
    }
}

fn condition(spec: &Spec, wrong: &mut Wrong) -> Condition {
    let Some(text) = &spec.when else {
        return Condition::Always;
    };
    let about = match (&spec.kubernetes, spec.services.is_empty()) {
        (Some(_), true) => About::Kubernetes,
        (None, _) => About::Services,
        (Some(_), false) => About::Both,
    };
    wrong
        .keep("spec.when", Condition::parse(text, about, spec.on_behalf_of.is_some()))
        .unwrap_or_default()
}

pub(super) fn obligations(spec: &ObligationSpec, wrong: &mut Wrong) -> Obligations {
    let step_up = spec.step_up.as_ref();
    if step_up.is_some_and(|step_up| step_up.max_age.is_none() && step_up.acr.is_none()) {
        wrong.say("spec.obligations.stepUp", "name `maxAge`, `acr` or both");
    }
    let max_age = step_up.and_then(|step_up| step_up.max_age.as_deref());
    let max_age = max_age.and_then(|text| wrong.keep("spec.obligations.stepUp.maxAge", pattern::duration(text)));
    let mut seconds = |member, text: &Option<String>| {
        let span = wrong.keep(member, pattern::duration(text.as_deref()?))?;
        Some(span.as_secs())
    };
    let idle_seconds = seconds("spec.obligations.idle", &spec.idle);
    let longest_seconds = seconds("spec.obligations.longest", &spec.longest);
    let from = spec.approval.as_ref().map(|approval| &approval.from);
    let from = wrong
        .list("spec.obligations.approval.from", from, exact)
        .unwrap_or_default();
    Obligations {
        record: spec.record,
        reason: spec.reason,
        max_auth_age_seconds: max_age.map(|age| age.as_secs()),
        acr: step_up
            .and_then(|step_up| step_up.acr.as_deref())
            .map(Into::into)
            .into_iter()
            .collect(),
        approval_from: from.into_iter().map(Into::into).collect(),
        idle_seconds,
        longest_seconds,
    }
}

/// Reserved groups come from the cluster alone; a rule that gave one could make anybody master of the cluster.
fn act_as(spec: &Spec, wrong: &mut Wrong) -> Arc<[Arc<str>]> {
    let read = |group: &str| match exact(group) {
        Ok(group) if group.starts_with("system:") => Err(format!("`{group}` is reserved and cannot be taken on")),
        other => other,
    };
    let groups = wrong.list(
        "spec.as.groups",
        Some(&spec.act_as.groups).filter(|list| !list.is_empty()),
        read,
    );
    groups.unwrap_or_default().into_iter().map(Into::into).collect()
}

/// The subjects of a rule that is otherwise unreadable; `None` when they are so themselves.
pub(super) fn readable_subjects(written: &Subjects) -> Option<SubjectPatterns> {
    let mut wrong = Wrong::default();
    let read = subjects(written, &SUBJECTS, &mut wrong);
    wrong.0.is_empty().then_some(read)
}
