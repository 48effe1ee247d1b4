//! Why: the same evaluation, with every rule that was asked.

use model::decision::{Nearest, RuleRef};

use super::{Decision, Query, decide};
use crate::rule::{Inquiry, Reach, Who};

/// The whole decision tree of one call.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What was decided.
    pub decision: Decision,
    /// Every binding that allows it by itself.
    pub bindings: Vec<RuleRef>,
    /// Every rule that is about whoever acts, those of other namespaces apart, and what it said.
    pub rules: Vec<RuleTrace>,
    /// The nearest role that would do, when nothing allows it.
    pub nearest: Option<Nearest>,
}

/// What one rule said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrace {
    /// The rule, with the effect it has when it applies.
    pub rule: RuleRef,
    /// Whether it applies, and if not why.
    pub reach: Reach,
}

/// Explains a call. For operators: it names rules whether or not the subject may see them.
#[must_use]
pub fn explain(query: &Query<'_>) -> Explanation {
    let who = query.acting();
    let asked = query.rules.ask(&Inquiry::new(&who, &query.call, query.situation));
    let rules = asked
        .into_iter()
        .map(|(rule, reach)| RuleTrace {
            rule: rule.as_ref(None),
            reach,
        })
        .collect();
    let bindings = query.snapshot.all_that_allow(&who.view, &query.call.asked);
    let nearest = if bindings.is_empty() { nearest(query) } else { None };
    Explanation {
        decision: decide(query),
        bindings,
        rules,
        nearest,
    }
}

/// The nearest role that would have allowed the call and that the caller may read, for a refusal.
///
/// Apart from [`decide`], because it looks at every binding of the namespace: ask only when a refusal is written. Under
/// `--as` it is the caller who reads it, so the caller's own rights say what may be named.
#[must_use]
pub fn nearest(query: &Query<'_>) -> Option<Nearest> {
    let reader = Who::of(query.subject);
    let snapshot = query.fresh_snapshot()?;
    snapshot.nearest(&query.call.asked, |candidate| snapshot.may_see(&reader.view, candidate))
}
