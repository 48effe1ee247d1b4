//! A rule ready to be asked.

use std::sync::Arc;

use model::decision::{Obligations, RuleEffect, RuleKind, RuleRef};
use model::request::Action;
use model::time::Timestamp;

use super::call::Who;
use super::compile::SubjectPatterns;
use super::condition::Condition;
use super::document::{Effect, Mode};
use super::inquiry::{Inquiry, ServiceInquiry};
use super::labels::LabelSelector;
use super::pattern::{PathPattern, ResourcePattern};
use super::scope::{self, Cover};
use super::service::{Reached, ServiceCall};

/// A checked rule.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) name: Arc<str>,
    pub(super) namespace: Option<Arc<str>>,
    pub(super) effect: Effect,
    pub(super) mode: Mode,
    pub(super) until: Option<Timestamp>,
    /// For whom its subjects act; without it, it is about what they do themselves.
    pub(super) on_behalf_of: Option<SubjectPatterns>,
    pub(super) scope: Option<Scope>,
    /// Which calls of services.
    pub(super) services: Vec<Reached>,
    pub(super) condition: Condition,
    pub(super) obligations: Obligations,
    pub(super) act_as: Arc<[Arc<str>]>,
}

/// Which Kubernetes calls a rule reaches; `None` of a list means any.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) clusters: Option<Vec<Box<str>>>,
    pub(super) verbs: Option<Vec<Box<str>>>,
    pub(super) resources: Option<Vec<ResourcePattern>>,
    pub(super) actions: Option<Vec<Action>>,
    pub(super) paths: Option<Vec<PathPattern>>,
    pub(super) names: Option<Vec<Box<str>>>,
    pub(super) namespaces: Option<Vec<Box<str>>>,
    pub(super) selector: Option<LabelSelector>,
}

/// Why a rule does not reach a call; the first that fits, in the order written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Miss {
    /// Its `until` has passed.
    #[error("it has ended")]
    Ended,
    /// The call is on nobody's behalf.
    #[error("it is about calls on somebody's behalf")]
    InPerson,
    /// The call is on somebody's behalf.
    #[error("it is not about calls on somebody's behalf")]
    ForOthers,
    /// The call is on behalf of somebody else.
    #[error("it is about calls on behalf of others")]
    Whom,
    /// It is about HTTP services only.
    #[error("it is not about Kubernetes")]
    NotKubernetes,
    /// It is about Kubernetes only.
    #[error("it is not about services")]
    NotServices,
    /// Another host, method or path.
    #[error("another host, method or path")]
    Call,
    /// Another cluster.
    #[error("another cluster")]
    Cluster,
    /// Another verb.
    #[error("another verb")]
    Verb,
    /// Another resource or path.
    #[error("another resource or path")]
    Object,
    /// Another class of act.
    #[error("another class of act")]
    Action,
    /// Another namespace.
    #[error("another namespace")]
    Namespace,
    /// Another name, or none is known.
    #[error("another name")]
    Name,
    /// Its condition is false.
    #[error("its condition is false")]
    Condition,
}

/// What a rule says to one call by somebody it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It applies.
    Applies,
    /// It does not.
    Misses(Miss),
    /// It cannot be told: a forbid forbids, an allow grants nothing and what it demands is owed.
    Fails(Arc<str>),
}

impl Rule {
    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The namespace it is confined to.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Allow or forbid.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        self.effect
    }

    /// Whether it counts.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// When it ends.
    #[must_use]
    pub const fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// What a call that it allows still owes.
    #[must_use]
    pub const fn obligations(&self) -> &Obligations {
        &self.obligations
    }

    /// Whether it demands anything.
    #[must_use]
    pub fn demands(&self) -> bool {
        self.obligations != Obligations::default()
    }

    /// Whether namespaces are chosen by their labels, so that a call can be judged only where those are known.
    #[must_use]
    pub fn selects_by_labels(&self) -> bool {
        self.scope.as_ref().is_some_and(|scope| scope.selector.is_some())
    }

    /// The groups that a call beyond RBAC takes on.
    #[must_use]
    pub fn act_as(&self) -> &[Arc<str>] {
        &self.act_as
    }

    /// The object names that it lists.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.scope.as_ref().and_then(|scope| scope.names.as_ref());
        names.into_iter().flatten().map(AsRef::as_ref)
    }

    /// Whether its answer can change while subject, request and rules stay the same, having been `reach`. What its scope
    /// misses it always misses, and what has ended does not begin again.
    #[must_use]
    pub const fn depends_on_the_moment(&self, reach: &Reach) -> bool {
        let settled = match reach {
            Reach::Misses(Miss::Condition) | Reach::Applies | Reach::Fails(_) => false,
            Reach::Misses(_) => true,
        };
        !settled && (self.until.is_some() || self.condition.depends_on_the_moment())
    }

    /// Whether it is about what workloads do for others.
    #[must_use]
    pub const fn is_on_behalf(&self) -> bool {
        self.on_behalf_of.is_some()
    }

    /// What a rule says about calls on somebody's behalf it says about no other, and the other way round.
    fn missed_by(&self, whom: Option<&Who<'_>>) -> Option<Miss> {
        match (&self.on_behalf_of, whom) {
            (None, None) => None,
            (Some(_), None) => Some(Miss::InPerson),
            (None, Some(_)) => Some(Miss::ForOthers),
            (Some(own), Some(whom)) => (!own.cover(whom)).then_some(Miss::Whom),
        }
    }

    /// Whether it reaches the call. That it is about the subject was found by the index.
    #[must_use]
    pub fn reach(&self, asked: &Inquiry<'_>) -> Reach {
        if self.until.is_some_and(|until| asked.situation.now >= until) {
            return Reach::Misses(Miss::Ended);
        }
        if let Some(miss) = self.missed_by(asked.whom) {
            return Reach::Misses(miss);
        }
        let Some(scope) = &self.scope else {
            return Reach::Misses(Miss::NotKubernetes);
        };
        let doubt = match scope::cover(scope, self, asked.call, asked.situation) {
            Cover::Not(miss) => return Reach::Misses(miss),
            Cover::Surely => None,
            Cover::Perhaps(..) if self.effect == Effect::Forbid => None,
            Cover::Perhaps(_, why) if self.demands() => Some(why),
            Cover::Perhaps(miss, _) => return Reach::Misses(miss),
        };
        let local = self.namespace.is_some();
        match (asked.holds(&self.condition, local), doubt) {
            (Ok(false), _) => self.reach_of_the_object(asked, local),
            (Err(why), _) => Reach::Fails(why),
            (Ok(true), Some(why)) => Reach::Fails(why.into()),
            (Ok(true), None) if self.effect == Effect::Allow => self.grant_of_the_object(asked, local),
            (Ok(true), None) => Reach::Applies,
        }
    }

    /// Whether it reaches a call of a service. That it is about the subject was found by the index.
    #[must_use]
    pub fn reach_service(&self, asked: &ServiceInquiry<'_>) -> Reach {
        if self.until.is_some_and(|until| asked.situation().now >= until) {
            return Reach::Misses(Miss::Ended);
        }
        if let Some(miss) = self.missed_by(asked.whom) {
            return Reach::Misses(miss);
        }
        if self.services.is_empty() {
            return Reach::Misses(Miss::NotServices);
        }
        let call = asked.call();
        if self.namespace.as_deref().is_some_and(|own| own != call.namespace) {
            return Reach::Misses(Miss::Namespace);
        }
        if !self.services.iter().any(|reached| reached.covers(call, self.effect)) {
            // Of all calls at once, what is demanded of some is owed.
            let demands_of_some = call.is_any() && self.demands() && self.reaches_some(call);
            return match demands_of_some.then(|| asked.holds(&self.condition, self.namespace.is_some())) {
                None | Some(Ok(false)) => Reach::Misses(Miss::Call),
                Some(Ok(true)) => Reach::Fails("it is about some of these calls".into()),
                Some(Err(why)) => Reach::Fails(why),
            };
        }
        match asked.holds(&self.condition, self.namespace.is_some()) {
            Ok(true) => Reach::Applies,
            Ok(false) => Reach::Misses(Miss::Condition),
            Err(why) => Reach::Fails(why),
        }
    }

    /// Whether it is about some of the calls that [`ServiceCall::any`] stands for, whoever makes them and whatever its condition says.
    #[must_use]
    pub fn reaches_some(&self, call: &ServiceCall<'_>) -> bool {
        self.services.iter().any(|reached| reached.reaches_some(call))
    }

    /// Its condition holds of the name as it is written. Where it does not of the object behind it, a port beside the name would
    /// be granted what the name is not: `request.name != 'vault'` does not mean `vault:8200`.
    fn grant_of_the_object(&self, asked: &Inquiry<'_>, local: bool) -> Reach {
        match asked.holds_of_the_object(&self.condition, local) {
            None | Some(Ok(true)) => Reach::Applies,
            Some(Ok(false)) if !self.demands() => Reach::Misses(Miss::Condition),
            Some(Ok(false)) => Reach::Fails("its condition does not hold of the name without port and scheme".into()),
            Some(Err(why)) => Reach::Fails(why),
        }
    }

    /// Its condition does not hold of the name as it is written. A port beside the name leaves neither a forbid nor a demand, and
    /// makes nothing granted.
    fn reach_of_the_object(&self, asked: &Inquiry<'_>, local: bool) -> Reach {
        let restricts = self.effect == Effect::Forbid || self.demands();
        let held = restricts.then(|| asked.holds_of_the_object(&self.condition, local));
        match held.flatten() {
            None | Some(Ok(false)) => Reach::Misses(Miss::Condition),
            Some(Ok(true)) if self.effect == Effect::Forbid => Reach::Applies,
            Some(Ok(true)) => Reach::Fails("its condition holds of the name without port and scheme".into()),
            Some(Err(why)) => Reach::Fails(why),
        }
    }

    /// Names the rule for a decision.
    #[must_use]
    pub fn as_ref(&self, why: Option<Arc<str>>) -> RuleRef {
        let effect = match (self.effect, self.mode) {
            (Effect::Allow, Mode::Enforce) => RuleEffect::Allow,
            (Effect::Forbid, Mode::Enforce) => RuleEffect::Forbid,
            (Effect::Allow, Mode::Shadow) => RuleEffect::WouldAllow,
            (Effect::Forbid, Mode::Shadow) => RuleEffect::WouldForbid,
        };
        RuleRef {
            kind: RuleKind::AccessRule,
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            role: None,
            effect,
            why,
        }
    }
}
