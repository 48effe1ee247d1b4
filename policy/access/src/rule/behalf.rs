//! `onBehalfOf`: what workloads do for others. The rule's subjects are the workloads, the member says for whom.
//!
//! Such a rule answers only where a workload acts for somebody, and an allow lets it act within what they may do themselves. That
//! much power for one word has to be written out: which workload, which hosts, which verbs on which resources. A star there is
//! refused in an allow, and stands in a forbid for all, as everywhere.

use super::compile::{self, Members, SubjectPatterns, Wrong};
use super::document::{Effect, KubernetesScope, Spec, Subjects};

const MEMBERS: Members = Members {
    all: "spec.onBehalfOf",
    people: "spec.onBehalfOf.people",
    groups: "spec.onBehalfOf.groups",
    workloads: "spec.onBehalfOf.workloads",
};

/// For whom.
pub(super) fn read(spec: &Spec, wrong: &mut Wrong) -> Option<SubjectPatterns> {
    let whom = spec.on_behalf_of.as_ref()?;
    Some(compile::subjects(whom, &MEMBERS, wrong))
}

/// The same of a rule that is otherwise unreadable. What cannot be read stands for everybody: the rule is still about calls on
/// somebody's behalf alone.
pub(super) fn readable(whom: Option<&Subjects>) -> SubjectPatterns {
    let mut wrong = Wrong::default();
    let read = whom.map(|whom| compile::subjects(whom, &MEMBERS, &mut wrong));
    read.filter(|_| wrong.0.is_empty()).unwrap_or_else(SubjectPatterns::all)
}

/// What a rule about calls on somebody's behalf cannot say.
pub(super) fn check(spec: &Spec, wrong: &mut Wrong) {
    let Some(whom) = &spec.on_behalf_of else {
        return;
    };
    let Subjects {
        people,
        groups,
        workloads,
        public,
    } = &spec.subjects;
    if workloads.is_empty() || !people.is_empty() || !groups.is_empty() || *public {
        let what =
            "only workloads act for others: name `workloads` here, and nobody else; for whom stands in `onBehalfOf`";
        wrong.say("spec.subjects", what);
    }
    if whom.public {
        let what = "who has not signed in has no rights that somebody could act with; leave it out";
        wrong.say("spec.onBehalfOf.public", what);
    }
    if let Some(acting) = for_itself(workloads, whom) {
        let what = format!("`{acting}` would act for itself, which no workload does; it would match nothing");
        wrong.say("spec.onBehalfOf.workloads", what);
    }
    if !spec.act_as.groups.is_empty() {
        let what = "a rule with `onBehalfOf` grants nothing beyond what those may do themselves; write `as` where that is granted";
        wrong.say("spec.as", what);
    }
    if spec.effect == Effect::Allow {
        check_words(spec, wrong);
    }
}

/// The one workload that such a rule is about, where it is also the only one for whom it acts.
fn for_itself<'s>(workloads: &'s [String], whom: &Subjects) -> Option<&'s str> {
    let [acting] = workloads else { return None };
    let others = &whom.workloads;
    let alone = whom.people.is_empty() && whom.groups.is_empty() && !others.is_empty();
    let is_one = !acting.contains('*') && others.iter().all(|other| other == acting);
    (alone && is_one).then_some(acting)
}

/// An allow names what it allows.
fn check_words(spec: &Spec, wrong: &mut Wrong) {
    if let Some(item) = spec.subjects.workloads.iter().position(|text| text == "*") {
        let what = "`*` would let every workload act for others: name `<namespace>/<service account>`, `<namespace>/*` or `spiffe://…`";
        wrong.say_of("spec.subjects.workloads", Some(item), what);
    }
    for (item, scope) in spec.services.iter().enumerate() {
        if scope.hosts.iter().any(|text| text == "*") {
            let what = "hosts: `*` would let it call every service for others: name the hosts";
            wrong.say_of("spec.services", Some(item), what);
        }
    }
    let Some(KubernetesScope {
        verbs,
        resources,
        paths,
        ..
    }) = &spec.kubernetes
    else {
        return;
    };
    let is_all =
        |text: &&String| matches!(text.as_str(), "*" | "/*") || text.starts_with("*.") || text.starts_with("*/");
    for (member, list) in [
        ("spec.kubernetes.verbs", verbs),
        ("spec.kubernetes.resources", resources),
        ("spec.kubernetes.paths", paths),
    ] {
        if let Some(text) = list.iter().flatten().find(is_all) {
            let what = format!(
                "`{text}`: the Kubernetes API is called for others only where a rule says so in words: list what is meant"
            );
            wrong.say(member, what);
        }
    }
}
