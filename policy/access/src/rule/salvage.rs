//! What is left of an object that cannot be read in full: a forbid forbids what its readable part reaches, and what an
//! allow demands is owed there. It grants nothing, whatever can be read of it.
//!
//! It is only for objects of a cluster, which count each alone; files are taken whole or not at all. Invariant: what
//! cannot be read of a scope stands for all, and of demands for a recording.

use model::decision::Obligations;
use model::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::behalf;
use super::compile::{self, Compiled, SubjectPatterns, Wrong};
use super::compiled::{Rule, Scope};
use super::condition::Condition;
use super::document::{Effect, KubernetesScope, Mode, ObligationSpec, ServiceScope, Subjects};
use super::pattern::{PathPattern, ResourcePattern};
use super::service::Reached;

pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> Option<&'v str> {
    object.pointer(pointer).and_then(Value::as_str)
}

/// A rule that forbids or demands as far as it can be read.
pub(super) fn salvage(object: &Value, why: &str) -> Option<Compiled> {
    if text(object, "/spec/mode") == Some("shadow") {
        return None;
    }
    let (effect, obligations) = match text(object, "/spec/effect") {
        Some("forbid") => (Effect::Forbid, Obligations::default()),
        Some("allow") => (Effect::Allow, demands(object)?),
        _ => return None,
    };
    let subjects = object
        .pointer("/spec/subjects")
        .and_then(|subjects| Subjects::deserialize(subjects).ok());
    let subjects = subjects.and_then(|subjects| compile::readable_subjects(&subjects));
    let whom = object.pointer("/spec/onBehalfOf");
    let scope = object.pointer("/spec/kubernetes").map(salvage_scope);
    let written_services = object.pointer("/spec/services");
    let only_services = scope.is_none() && written_services.is_some();
    let only_kubernetes = scope.is_some() && written_services.is_none();
    Some(Compiled {
        subjects: subjects.unwrap_or_else(SubjectPatterns::all),
        remarks: Vec::new(),
        rule: Rule {
            name: text(object, "/metadata/name").unwrap_or("unreadable").into(),
            namespace: text(object, "/metadata/namespace").map(Into::into),
            effect,
            mode: Mode::Enforce,
            until: text(object, "/spec/until").and_then(|until| Timestamp::parse(until).ok()),
            on_behalf_of: whom.map(|whom| behalf::readable(Subjects::deserialize(whom).ok().as_ref())),
            scope: if only_services {
                None
            } else {
                Some(scope.unwrap_or_else(everything))
            },
            services: if only_kubernetes {
                Vec::new()
            } else {
                salvage_services(written_services)
            },
            condition: Condition::Unreadable(format!("it cannot be read in full: {why}").into()),
            obligations,
            act_as: Default::default(),
        },
    })
}

/// What cannot be read stands for every call.
fn salvage_services(written: Option<&Value>) -> Vec<Reached> {
    let scopes = written.and_then(|scopes| Vec::<ServiceScope>::deserialize(scopes).ok());
    let read: Option<Vec<_>> = scopes.and_then(|scopes| scopes.iter().map(|scope| Reached::read(scope).ok()).collect());
    read.filter(|read| !read.is_empty())
        .unwrap_or_else(|| vec![Reached::everything()])
}

/// What an allow demands as far as it can be read; none when it demands nothing. A member that is there and cannot be
/// read is owed itself where it can only have meant that, and stands for a recording otherwise.
fn demands(object: &Value) -> Option<Obligations> {
    let mut owed = Obligations::default();
    match written_demands(object)?.as_object() {
        None => owed.record = true,
        Some(members) => {
            let (readable, unreadable): (Map<_, _>, Map<_, _>) = members
                .clone()
                .into_iter()
                .partition(|(member, value)| is_readable(member, value));
            if let Ok(spec) = ObligationSpec::deserialize(Value::Object(readable)) {
                owed = compile::obligations(&spec, &mut Wrong::default());
            }
            for (member, _) in unreadable {
                match member.as_str() {
                    "reason" => owed.reason = true,
                    _ => owed.record = true,
                }
            }
        }
    }
    (owed != Obligations::default()).then_some(owed)
}

/// `obligations`; or, where that is missing, a member that holds what only obligations hold and is therefore a
/// misspelling of them.
fn written_demands(object: &Value) -> Option<&Value> {
    const WORDS: [&str; 6] = ["record", "reason", "approval", "stepUp", "idle", "longest"];
    let members = object.pointer("/spec")?.as_object()?;
    let holds_some = |value: &&Value| {
        let inner = value.as_object();
        inner.is_some_and(|inner| WORDS.iter().any(|word| inner.contains_key(*word)))
    };
    members.get("obligations").or_else(|| members.values().find(holds_some))
}

fn is_readable(member: &str, value: &Value) -> bool {
    let single = Value::Object([(member.to_owned(), value.clone())].into_iter().collect());
    let mut wrong = Wrong::default();
    ObligationSpec::deserialize(single).is_ok_and(|spec| {
        let _ = compile::obligations(&spec, &mut wrong);
        wrong.0.is_empty()
    })
}

/// Reads each member of the scope by itself.
fn salvage_scope(written: &Value) -> Scope {
    let Some(members) = written.as_object() else {
        return everything();
    };
    let mut scope = everything();
    let mut objects_read = false;
    for (member, value) in members {
        let single = Value::Object([(member.clone(), value.clone())].into_iter().collect());
        let Ok(read) = KubernetesScope::deserialize(&single) else {
            continue;
        };
        let mut wrong = Wrong::default();
        let read = compile::scope(&read, &mut wrong);
        // One complaint is about the members that were left out here.
        let complaints = wrong.0.iter().filter(|point| point.member != "spec.kubernetes");
        if complaints.count() > 0 {
            continue;
        }
        match member.as_str() {
            "clusters" => scope.clusters = read.clusters,
            "verbs" => scope.verbs = read.verbs,
            "actions" => scope.actions = read.actions,
            "names" => scope.names = read.names,
            "namespaces" => scope.namespaces = read.namespaces,
            "namespaceSelector" => scope.selector = read.selector,
            "resources" | "paths" => {
                if !std::mem::replace(&mut objects_read, true) {
                    (scope.resources, scope.paths) = (None, None);
                }
                scope.resources = scope.resources.or(read.resources);
                scope.paths = scope.paths.or(read.paths);
            }
            _ => {}
        }
    }
    // One of the two was there but unreadable: then all of its sort.
    if objects_read && members.contains_key("resources") && scope.resources.is_none() {
        scope.resources = everything().resources;
    }
    if objects_read && members.contains_key("paths") && scope.paths.is_none() {
        scope.paths = everything().paths;
    }
    scope
}

fn everything() -> Scope {
    Scope {
        resources: ResourcePattern::parse("*").ok().map(|all| vec![all]),
        paths: PathPattern::parse("*").ok().map(|all| vec![all]),
        ..Scope::default()
    }
}
