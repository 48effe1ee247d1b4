//! All rules in force, found by whom they are about.

use std::collections::HashMap;
use std::sync::Arc;

use model::subject::SubjectKind;

use super::call::Who;
use super::compile::{Compiled, SubjectPatterns};
use super::compiled::{Reach, Rule};
use super::document::Effect;
use super::inquiry::{Inquiry, ServiceInquiry};
use super::pattern::WorkloadPattern;

/// An immutable set of rules. Their order as given means nothing: they are kept in the order of their names.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    everywhere: Index,
    /// Rules of a namespace reach nothing beyond it and are not looked at there.
    namespaces: HashMap<Arc<str>, Index>,
}

/// Where the rules stand that are about somebody.
#[derive(Debug, Default)]
struct Index {
    people: HashMap<Box<str>, Vec<usize>>,
    groups: HashMap<Box<str>, Vec<usize>>,
    any_person: Vec<usize>,
    everyone: Vec<usize>,
    workloads: Vec<(WorkloadPattern, usize)>,
    /// Rules that reach who has not signed in: those that say so, and what is forbidden to everyone.
    public: Vec<usize>,
}

/// Checked rules on their way into a set: those of files and those of a cluster can be joined.
#[derive(Clone, Debug, Default)]
pub struct Rules(pub(super) Vec<Compiled>);

impl Rules {
    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl RuleSet {
    /// Builds the index.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let mut rules = rules.0;
        rules.sort_by(|a, b| (&a.rule.namespace, &a.rule.name).cmp(&(&b.rule.namespace, &b.rule.name)));
        let mut set = Self::default();
        for Compiled { rule, subjects, .. } in rules {
            let at = set.rules.len();
            let index = match &rule.namespace {
                Some(namespace) => set.namespaces.entry(Arc::clone(namespace)).or_default(),
                None => &mut set.everywhere,
            };
            index.add(subjects, rule.effect, at);
            set.rules.push(rule);
        }
        set
    }

    /// All rules, in the order of their names.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rules that are about somebody and a namespace (empty: none), in the order of their names and each once.
    #[must_use]
    pub fn about(&self, who: &Who<'_>, namespace: &str) -> Vec<&Rule> {
        let mut found = Vec::new();
        for index in std::iter::once(&self.everywhere).chain(self.namespaces.get(namespace)) {
            index.find(who, &mut found);
        }
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| self.rules.get(at)).collect()
    }

    /// What each rule about somebody says to a call of a service.
    #[must_use]
    pub fn ask_service(&self, asked: &ServiceInquiry<'_>) -> Vec<(&Rule, Reach)> {
        self.about(asked.who, asked.call().namespace)
            .into_iter()
            .map(|rule| (rule, rule.reach_service(asked)))
            .collect()
    }

    /// What each rule about somebody says to a call.
    #[must_use]
    pub fn ask(&self, asked: &Inquiry<'_>) -> Vec<(&Rule, Reach)> {
        self.about(asked.who, asked.call.asked.namespace)
            .into_iter()
            .map(|rule| (rule, rule.reach(asked)))
            .collect()
    }
}

impl Index {
    fn add(&mut self, subjects: SubjectPatterns, effect: Effect, at: usize) {
        let reaches_the_public = subjects.public || (subjects.everyone && effect == Effect::Forbid);
        self.public.extend(reaches_the_public.then_some(at));
        // Who has signed in is not locked out of what everybody else may do.
        let everyone = subjects.everyone || subjects.public;
        for person in subjects.people {
            self.people.entry(person).or_default().push(at);
        }
        for group in subjects.groups {
            self.groups.entry(group).or_default().push(at);
        }
        self.any_person.extend(subjects.any_person.then_some(at));
        self.everyone.extend(everyone.then_some(at));
        self.workloads
            .extend(subjects.workloads.into_iter().map(|pattern| (pattern, at)));
    }

    fn find(&self, who: &Who<'_>, found: &mut Vec<usize>) {
        if who.kind == SubjectKind::Public {
            found.extend(&self.public);
            return;
        }
        found.extend(&self.everyone);
        match who.kind {
            SubjectKind::Person => {
                found.extend(&self.any_person);
                // `*` stands in the index as a name that only a person called so would meet.
                let named = self
                    .people
                    .get(who.view.username())
                    .filter(|_| who.view.username() != "*");
                found.extend(named.into_iter().flatten());
            }
            SubjectKind::ServiceAccount | SubjectKind::Workload => {
                let covers = |(pattern, _): &&(WorkloadPattern, usize)| pattern.covers(who.view.username());
                found.extend(self.workloads.iter().filter(covers).map(|(_, at)| at));
            }
            SubjectKind::Public => {}
        }
        for group in who.view.groups() {
            found.extend(self.groups.get(group).into_iter().flatten());
        }
    }
}
