//! What access rules say to one call, folded: forbid before all else, obligations added up, shadow rules apart.

use std::sync::Arc;

use model::decision::{Obligations, RuleEffect, RuleRef};

use super::{Query, ServiceQuery};
use crate::rule::{Call, Effect, Inquiry, Mode, Reach, Rule, ServiceInquiry, Who};

/// The outcome of all rules for one call.
#[derive(Debug, Default)]
pub(super) struct Rulings {
    forbids: Vec<RuleRef>,
    allows: Vec<Granted>,
    /// Allow rules that grant nothing here and whose demands are owed all the same.
    demanding: Vec<RuleRef>,
    /// Rules without effect: in shadow, or that failed and demand nothing; and bindings that mattered.
    others: Vec<RuleRef>,
    obligations: Obligations,
    /// Groups of each allow that names some, in the order of rules.
    act_as: Vec<Arc<[Arc<str>]>>,
    /// The earliest end of an allow that counted.
    until: Option<model::time::Timestamp>,
    /// Whether any rule asked could answer differently at another moment.
    momentary: bool,
}

/// An allow rule that applied.
#[derive(Debug)]
struct Granted {
    rule: RuleRef,
    /// The names that it lists.
    names: Vec<Box<str>>,
    demands: bool,
}

/// What follows where an allow rule cannot be told, in the decision's trail.
const OWED: &str = "it grants nothing, and what it demands is owed";

/// Asks all rules that are about `who`.
pub(super) fn ruled(query: &Query<'_>, who: &Who<'_>, call: &Call<'_>) -> Rulings {
    ruled_for(query, who, None, call)
}

/// Asks all rules that are about `who`; about what `who` does for `whom`, where that is somebody.
pub(super) fn ruled_for(query: &Query<'_>, who: &Who<'_>, whom: Option<&Who<'_>>, call: &Call<'_>) -> Rulings {
    let mut rulings = Rulings::default();
    let asked = Inquiry::new(who, call, query.situation);
    let asked = match whom {
        Some(whom) => asked.on_behalf_of(whom),
        None => asked,
    };
    for rule in query.rules.about(who, call.asked.namespace) {
        let reach = rule.reach(&asked);
        rulings.momentary |= rule.depends_on_the_moment(&reach);
        rulings.add(rule, reach);
    }
    rulings
}

/// Asks all rules that are about `who` for a call of a service.
pub(super) fn ruled_service(query: &ServiceQuery<'_>, who: &Who<'_>, whom: Option<&Who<'_>>) -> Rulings {
    let mut rulings = Rulings::default();
    let asked = ServiceInquiry::new(who, query.call, query.situation);
    let asked = match whom {
        Some(whom) => asked.on_behalf_of(whom),
        None => asked,
    };
    for rule in query.rules.about(who, query.call.namespace) {
        let reach = rule.reach_service(&asked);
        rulings.momentary |= rule.depends_on_the_moment(&reach);
        rulings.add(rule, reach);
    }
    rulings
}

impl Rulings {
    fn add(&mut self, rule: &Rule, reach: Reach) {
        let why = match reach {
            Reach::Misses(_) => return,
            Reach::Applies => None,
            Reach::Fails(why) => Some(why),
        };
        match (rule.mode(), rule.effect(), why) {
            (Mode::Shadow, _, why) => self.others.push(rule.as_ref(why)),
            (Mode::Enforce, Effect::Forbid, why) => self.forbids.push(rule.as_ref(why)),
            (Mode::Enforce, Effect::Allow, None) => self.allow(rule),
            // Whether somebody has to be recorded must not hang on a condition that fails (promise 3).
            (Mode::Enforce, Effect::Allow, Some(why)) if rule.demands() => {
                self.obligations.join(rule.obligations());
                self.demanding.push(rule.as_ref(Some(format!("{why}; {OWED}").into())));
            }
            // It grants nothing, but whoever asks why should see it.
            (Mode::Enforce, Effect::Allow, why) => self.others.push(rule.as_ref(why)),
        }
    }

    fn allow(&mut self, rule: &Rule) {
        self.allows.push(Granted {
            rule: rule.as_ref(None),
            names: rule.names().map(Into::into).collect(),
            demands: rule.demands(),
        });
        self.obligations.join(rule.obligations());
        if !rule.act_as().is_empty() {
            self.act_as.push(rule.act_as().into());
        }
        self.until = match (self.until, rule.until()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    pub(super) const fn is_forbidden(&self) -> bool {
        !self.forbids.is_empty()
    }

    pub(super) const fn is_allowed(&self) -> bool {
        !self.allows.is_empty()
    }

    /// The first allow rule that applied; with `exactly`, the first that lists this very name.
    pub(super) fn allow_for(&self, exactly: Option<&str>) -> Option<RuleRef> {
        let fits = |names: &[Box<str>]| exactly.is_none_or(|name| names.iter().any(|own| own.as_ref() == name));
        let granted = self.allows.iter().find(|granted| fits(&granted.names))?;
        Some(granted.rule.clone())
    }

    pub(super) const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    pub(super) fn act_as(&self) -> &[Arc<[Arc<str>]>] {
        &self.act_as
    }

    pub(super) const fn until(&self) -> Option<model::time::Timestamp> {
        self.until
    }

    pub(super) const fn is_momentary(&self) -> bool {
        self.momentary
    }

    /// Notes a rule that mattered without being one of ours, or for another question.
    pub(super) fn mattered(&mut self, rule: RuleRef) {
        if !self.others.contains(&rule) {
            self.others.push(rule);
        }
    }

    /// Adds what was said to another question of the same decision.
    pub(super) fn take(&mut self, other: Self) {
        self.momentary |= other.momentary;
        for forbid in other.forbids {
            if !self.forbids.contains(&forbid) {
                self.forbids.push(forbid);
            }
        }
        for rule in other.demanding {
            let same = |own: &RuleRef| (&own.name, &own.namespace) == (&rule.name, &rule.namespace);
            let is_told = self.allows.iter().any(|granted| same(&granted.rule)) || self.demanding.iter().any(same);
            if !is_told {
                self.demanding.push(rule);
            }
        }
        let granted = other.allows.into_iter().map(|granted| granted.rule);
        granted.chain(other.others).for_each(|rule| self.mattered(rule));
        self.obligations.join(&other.obligations);
        self.until = match (self.until, other.until) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    /// What is forbidden to somebody who acts as or for another and demanded of them; what is allowed to them is not asked. `why`:
    /// an allow rule about them grants nothing here.
    pub(super) fn of_a_caller(self, why: &str) -> Self {
        let would = |rule: &RuleRef| rule.effect == RuleEffect::WouldForbid;
        let others = self.others.into_iter().filter(would).collect();
        let demanding = self.allows.into_iter().filter(|granted| granted.demands);
        let demanding = demanding.map(|granted| RuleRef {
            why: Some(format!("{why}; {OWED}").into()),
            ..granted.rule
        });
        Self {
            forbids: self.forbids,
            demanding: demanding.chain(self.demanding).collect(),
            others,
            obligations: self.obligations,
            momentary: self.momentary,
            ..Self::default()
        }
    }

    /// Every rule that mattered: what forbids, then `decisive`, then what allows, then the rest.
    pub(super) fn into_rules(self, decisive: Option<RuleRef>) -> Vec<RuleRef> {
        self.forbids
            .into_iter()
            .chain(decisive)
            .chain(self.allows.into_iter().map(|granted| granted.rule))
            .chain(self.demanding)
            .chain(self.others)
            .collect()
    }
}
