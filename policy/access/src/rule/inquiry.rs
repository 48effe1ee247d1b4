//! One call that many rules are asked about.
//!
//! The values for their conditions are made once. Invariant: all rules of the call's namespace together cost no more than
//! one small budget, whoever wrote however many of them; rules of the whole cluster have a budget each.

use std::cell::{Cell, OnceCell};

use condition::{Budget, Context};

use super::call::{Call, Situation, Who};
use super::condition::{self as values, Condition};
use super::scope;
use super::service::ServiceCall;

/// What the conditions of one namespace's rules may cost together, for one call: half a millisecond.
const OF_A_NAMESPACE: Budget = Budget {
    steps: 10_000,
    bytes: 64 << 10,
};

/// What is asked, and what the answers may still cost.
#[derive(Debug)]
pub struct Inquiry<'a> {
    pub(super) who: &'a Who<'a>,
    pub(super) call: &'a Call<'a>,
    pub(super) situation: &'a Situation<'a>,
    pub(super) whom: Option<&'a Who<'a>>,
    values: OnceCell<Context>,
    /// The same of the object behind a name with a port.
    of_the_object: OnceCell<Context>,
    left: Left,
}

/// What the conditions of the namespace's rules may still cost.
#[derive(Debug)]
struct Left(Cell<Budget>);

impl Left {
    fn evaluated(&self, condition: &Condition, values: &Context, local: bool) -> Result<bool, std::sync::Arc<str>> {
        if !local {
            return condition.holds(values, &mut Budget::default());
        }
        let mut left = self.0.get();
        let held = condition.holds(values, &mut left);
        self.0.set(left);
        held
    }
}

/// One call of a service that many rules are asked about, within the same bounds.
#[derive(Debug)]
pub struct ServiceInquiry<'a> {
    pub(super) who: &'a Who<'a>,
    call: &'a ServiceCall<'a>,
    situation: &'a Situation<'a>,
    pub(super) whom: Option<&'a Who<'a>>,
    values: OnceCell<Context>,
    left: Left,
}

impl<'a> ServiceInquiry<'a> {
    /// An inquiry about a call by `who`.
    #[must_use]
    pub const fn new(who: &'a Who<'a>, call: &'a ServiceCall<'a>, situation: &'a Situation<'a>) -> Self {
        Self {
            who,
            call,
            situation,
            whom: None,
            values: OnceCell::new(),
            left: Left(Cell::new(OF_A_NAMESPACE)),
        }
    }

    /// The same on behalf of somebody: only rules about such calls answer.
    #[must_use]
    pub const fn on_behalf_of(mut self, whom: &'a Who<'a>) -> Self {
        self.whom = Some(whom);
        self
    }

    /// The same within what earlier ones have left over.
    pub(super) fn within(mut self, left: Budget) -> Self {
        self.left = Left(Cell::new(left));
        self
    }

    /// What the rules of the namespace may still cost.
    pub(super) fn left(&self) -> Budget {
        self.left.0.get()
    }

    pub(super) const fn call(&self) -> &'a ServiceCall<'a> {
        self.call
    }

    pub(super) const fn situation(&self) -> &'a Situation<'a> {
        self.situation
    }

    /// Whether a condition of a rule holds; `local`: of one of the namespace.
    pub(super) fn holds(&self, condition: &Condition, local: bool) -> Result<bool, std::sync::Arc<str>> {
        if matches!(condition, Condition::Always) {
            return Ok(true);
        }
        let values = self
            .values
            .get_or_init(|| values::of_service(self.who, self.whom, self.call, self.situation));
        self.left.evaluated(condition, values, local)
    }
}

impl<'a> Inquiry<'a> {
    /// An inquiry about a call by `who`.
    #[must_use]
    pub const fn new(who: &'a Who<'a>, call: &'a Call<'a>, situation: &'a Situation<'a>) -> Self {
        Self {
            who,
            call,
            situation,
            whom: None,
            values: OnceCell::new(),
            of_the_object: OnceCell::new(),
            left: Left(Cell::new(OF_A_NAMESPACE)),
        }
    }

    /// The same on behalf of somebody: only rules about such calls answer.
    #[must_use]
    pub const fn on_behalf_of(mut self, whom: &'a Who<'a>) -> Self {
        self.whom = Some(whom);
        self
    }

    /// The same within what earlier ones have left over.
    pub(super) fn within(mut self, left: Budget) -> Self {
        self.left = Left(Cell::new(left));
        self
    }

    /// What the rules of the namespace may still cost.
    pub(super) fn left(&self) -> Budget {
        self.left.0.get()
    }

    /// Whether a condition of a rule holds; `local`: of one of the namespace.
    pub(super) fn holds(&self, condition: &Condition, local: bool) -> Result<bool, std::sync::Arc<str>> {
        if matches!(condition, Condition::Always) {
            return Ok(true);
        }
        let values = self
            .values
            .get_or_init(|| values::context(self.who, self.whom, self.call, self.situation));
        self.left.evaluated(condition, values, local)
    }

    /// Whether it holds of the object that the call is about, where the name is written with a scheme or a port.
    pub(super) fn holds_of_the_object(
        &self,
        condition: &Condition,
        local: bool,
    ) -> Option<Result<bool, std::sync::Arc<str>>> {
        let name = scope::behind(self.call)?;
        if matches!(condition, Condition::Always) {
            return Some(Ok(true));
        }
        let values = self.of_the_object.get_or_init(|| {
            let path = path_of_the_object(self.call, name);
            let mut call = *self.call;
            call.asked.name = name;
            call.asked.path = path.as_deref().unwrap_or(call.asked.path);
            values::context(self.who, self.whom, &call, self.situation)
        });
        Some(self.left.evaluated(condition, values, local))
    }
}

/// The path with the object's name alone in the place of the name as it is written.
fn path_of_the_object(call: &Call<'_>, name: &str) -> Option<String> {
    let asked = &call.asked;
    let written = format!("/{}/{}", asked.resource, asked.name);
    let (before, behind) = asked.path.split_once(&written)?;
    Some(format!("{before}/{}/{name}{behind}", asked.resource))
}
