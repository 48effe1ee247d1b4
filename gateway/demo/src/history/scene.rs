//! The stage: who may do what in the fixed world, which pods there are, and how an act becomes a happening.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use model::decision::{RuleEffect, RuleKind, RuleRef};
use model::time::Timestamp;
use serde_json::Value;

use super::{Act, Actor, Decision, Happening};
use crate::identity::Person;
use crate::kubernetes::{Attributes, Known, User, known};

/// Everything of an act but its name, and the user: names do not matter to the world's bindings.
type Question = (
    String,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

/// The fixed world as the history sees it.
pub(super) struct Scene {
    known: Known,
    answers: HashMap<Question, Decision>,
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene")
            .field("answers", &self.answers.len())
            .finish_non_exhaustive()
    }
}

/// One person at work: which sign-in, from where, with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk {
    pub(super) actor: Actor,
    pub(super) address: &'static str,
    pub(super) client: &'static str,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self {
            known: known(),
            answers: HashMap::new(),
        }
    }

    /// The pods of a workload, by the start of their names.
    pub(super) fn pods(&self, namespace: &str, workload: &str) -> Vec<String> {
        let is_its = |name: &str| {
            name.strip_prefix(workload)
                .is_some_and(|rest| rest.starts_with('-') || rest.is_empty())
        };
        self.known
            .pods
            .iter()
            .filter(|(home, name)| home == namespace && is_its(name))
            .map(|(_, name)| name.clone())
            .collect()
    }

    /// An act at a desk. `status` is the answer's if it was let through.
    pub(super) fn happening(&mut self, at: Timestamp, desk: Desk, act: Act, status: u16, took: Duration) -> Happening {
        let decision = self.decide(desk.actor, &act);
        let (status, took) = match &decision {
            Decision::Allowed(_) => (status, took),
            Decision::Refused => (403, Duration::from_micros(400)),
        };
        let Desk { actor, address, client } = desk;
        Happening {
            at,
            actor,
            act,
            decision,
            status,
            took,
            address,
            client,
            chapter: None,
        }
    }

    fn decide(&mut self, actor: Actor, act: &Act) -> Decision {
        let user = user(actor);
        let question = (
            user.name.clone(),
            act.verb,
            act.group,
            act.resource,
            act.subresource,
            act.namespace,
        );
        if let Some(known) = self.answers.get(&question) {
            return known.clone();
        }
        let attributes = Attributes {
            user: &user,
            verb: act.verb,
            group: act.group,
            resource: act.resource,
            subresource: act.subresource,
            namespace: act.namespace,
            name: &act.name,
            path: None,
        };
        let granting = self.known.rights.granting(&attributes);
        let decision = granting.map_or(Decision::Refused, |binding| Decision::Allowed(rule(binding)));
        self.answers.insert(question, decision.clone());
        decision
    }
}

/// The user as the gateway would send it on.
pub(super) fn user(actor: Actor) -> User {
    let (name, groups): (&str, &[&str]) = match actor {
        Actor::Person {
            person: Person { email, groups, .. },
            ..
        } => (email, groups),
        Actor::Controller(name) => (name, &["system:serviceaccounts"]),
    };
    let groups = groups
        .iter()
        .copied()
        .chain(["system:authenticated"])
        .map(str::to_owned)
        .collect();
    User {
        name: name.to_owned(),
        groups,
        ..User::default()
    }
}

/// A binding as a record names it.
fn rule(binding: &Value) -> RuleRef {
    let word = |path: &str| binding.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let kind = if word("/kind") == "RoleBinding" {
        RuleKind::RoleBinding
    } else {
        RuleKind::ClusterRoleBinding
    };
    RuleRef {
        kind,
        name: word("/metadata/name").into(),
        namespace: Some(word("/metadata/namespace"))
            .filter(|name| !name.is_empty())
            .map(Into::into),
        role: Some(format!("{}/{}", word("/roleRef/kind"), word("/roleRef/name")).into()),
        effect: RuleEffect::Allow,
        why: None,
    }
}
