//! Which type each parameter stands for while an expression is checked: of `[]` and `{}`, and of the forms of functions.
//!
//! Unification with the rules of cel-go's checker, so that an expression loads here exactly when it loads there. What a
//! failed attempt bound is taken back. Work is counted: types that name each other grow without end, and a rule's author
//! must not be able to make that our problem (promise 8).

use crate::Type;
use crate::functions::{Overload, Shape};

/// Most types looked at in one check. A long rule takes some thousand.
const MAX_STEPS: usize = 200_000;
/// Most parts that one type may have.
const MAX_PARTS: usize = 200;

/// The parameters met so far and what they stand for.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    bound: Vec<Option<Type>>,
    /// What was bound before, newest last, to be able to go back.
    undo: Vec<(usize, Option<Type>)>,
    steps: usize,
}

/// A form with parameters of its own.
pub(super) struct Instance {
    pub(super) parameters: Vec<Type>,
    pub(super) result: Type,
}

impl Parameters {
    /// A parameter that stands for nothing yet.
    pub(super) fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Parameter(self.bound.len() - 1)
    }

    /// The form with fresh parameters for its `A` and `B`.
    pub(super) fn instance(&mut self, overload: &Overload) -> Instance {
        let (mut a, mut b) = (None, None);
        let parameters = overload.parameters.iter();
        Instance {
            parameters: parameters.map(|shape| self.concrete(shape, &mut a, &mut b)).collect(),
            result: self.concrete(&overload.result, &mut a, &mut b),
        }
    }

    fn concrete(&mut self, shape: &Shape, a: &mut Option<Type>, b: &mut Option<Type>) -> Type {
        match shape {
            Shape::A => a.get_or_insert_with(|| self.fresh()).clone(),
            Shape::B => b.get_or_insert_with(|| self.fresh()).clone(),
            Shape::Dyn => Type::Dyn,
            Shape::Bool => Type::Bool,
            Shape::Int => Type::Int,
            Shape::Uint => Type::Uint,
            Shape::Double => Type::Double,
            Shape::String => Type::String,
            Shape::Bytes => Type::Bytes,
            Shape::Timestamp => Type::Timestamp,
            Shape::Duration => Type::Duration,
            Shape::Ip => Type::Ip,
            Shape::Cidr => Type::Cidr,
            Shape::Type => Type::Type,
            Shape::List(element) => Type::list(self.concrete(element, a, b)),
            Shape::Map(key, value) => Type::map(self.concrete(key, a, b), self.concrete(value, a, b)),
            Shape::Optional(inner) => Type::optional(self.concrete(inner, a, b)),
        }
    }

    /// Whether all fit, one by one; binds parameters only if so.
    pub(super) fn all_fit(&mut self, have: &[Type], wanted: &[Type]) -> bool {
        let before = self.undo.len();
        if have.len() == wanted.len()
            && have
                .iter()
                .zip(wanted)
                .all(|(have, wanted)| self.assignable(have, wanted))
        {
            self.undo.clear();
            return true;
        }
        for (parameter, old) in self.undo.drain(before..).rev() {
            if let Some(slot) = self.bound.get_mut(parameter) {
                *slot = old;
            }
        }
        false
    }

    /// Whether one fits.
    pub(super) fn fits(&mut self, have: &Type, wanted: &Type) -> bool {
        self.all_fit(std::slice::from_ref(have), std::slice::from_ref(wanted))
    }

    /// With what its parameters stand for in their places; those that stand for nothing stay.
    pub(super) fn resolved(&mut self, kind: &Type) -> Type {
        if self.spent() {
            return Type::Dyn;
        }
        self.steps += 1;
        match kind {
            Type::Parameter(parameter) => match self.standing_for(*parameter) {
                Some(known) => self.resolved(&known),
                None => kind.clone(),
            },
            Type::List(inner) => Type::list(self.resolved(inner)),
            Type::Optional(inner) => Type::optional(self.resolved(inner)),
            Type::Map(key, value) => Type::map(self.resolved(key), self.resolved(value)),
            plain => plain.clone(),
        }
    }

    /// As [`Self::resolved`], at the end: what still stands for nothing is `dyn`.
    pub(super) fn settled(&mut self, kind: &Type) -> Type {
        self.resolved(kind).settled()
    }

    /// Whether this type, or all together, have become more than a check may look at.
    pub(super) fn too_much(&self, kind: &Type) -> bool {
        self.spent() || parts(kind) > MAX_PARTS
    }

    fn spent(&self) -> bool {
        self.steps >= MAX_STEPS
    }

    fn standing_for(&self, parameter: usize) -> Option<Type> {
        self.bound.get(parameter).cloned().flatten()
    }

    fn bind(&mut self, parameter: usize, kind: Type) {
        if let Some(slot) = self.bound.get_mut(parameter) {
            self.undo.push((parameter, slot.replace(kind)));
        }
    }

    fn assignable(&mut self, have: &Type, wanted: &Type) -> bool {
        self.steps += 1;
        if self.spent() {
            return false;
        }
        if let Type::Parameter(parameter) = wanted {
            let (valid, known) = self.stands_for(*parameter, have);
            if valid || known {
                return valid;
            }
        }
        if let Type::Parameter(parameter) = have {
            return self.stands_for(*parameter, wanted).0;
        }
        match (have, wanted) {
            (Type::Dyn | Type::Any, _) | (_, Type::Dyn | Type::Any) => true,
            (Type::Null, other) | (other, Type::Null) => other.is_nullable(),
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.assignable(a, b),
            (Type::Map(a_key, a), Type::Map(b_key, b)) => self.assignable(a_key, b_key) && self.assignable(a, b),
            (a, b) => a == b,
        }
    }

    /// Whether the parameter can stand for this type, and whether it stood for one already. A more general type than the
    /// one known takes its place.
    fn stands_for(&mut self, parameter: usize, kind: &Type) -> (bool, bool) {
        if *kind == Type::Parameter(parameter) {
            return (true, true);
        }
        let Some(known) = self.standing_for(parameter) else {
            let free = !self.occurs(parameter, kind);
            if free {
                self.bind(parameter, kind.clone());
            }
            return (free, false);
        };
        if *kind == known {
            return (true, true);
        }
        if !self.assignable(kind, &known) {
            return (false, true);
        }
        let general = if as_general(kind, &known) { kind.clone() } else { known };
        if !self.occurs(parameter, &general) {
            self.bind(parameter, general);
        }
        (true, true)
    }

    /// Whether the parameter is part of the type.
    fn occurs(&mut self, parameter: usize, kind: &Type) -> bool {
        self.steps += 1;
        if self.spent() {
            return true;
        }
        match kind {
            Type::Parameter(other) if *other == parameter => true,
            Type::Parameter(other) => self
                .standing_for(*other)
                .is_some_and(|known| self.occurs(parameter, &known)),
            Type::List(inner) | Type::Optional(inner) => self.occurs(parameter, inner),
            Type::Map(key, value) => self.occurs(parameter, key) || self.occurs(parameter, value),
            _ => false,
        }
    }
}

/// The more general of two types that fit one another.
pub(super) fn general(a: Type, b: Type) -> Type {
    if as_general(&a, &b) { a } else { b }
}

/// Whether `a` is at least as general as `b`.
fn as_general(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Any | Type::Parameter(_), _) => true,
        (_, Type::Dyn | Type::Any | Type::Parameter(_)) => false,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => as_general(a, b),
        (Type::Map(a_key, a), Type::Map(b_key, b)) => as_general(a_key, b_key) && as_general(a, b),
        (a, b) => a == b,
    }
}

fn parts(kind: &Type) -> usize {
    1 + match kind {
        Type::List(inner) | Type::Optional(inner) => parts(inner),
        Type::Map(key, value) => parts(key) + parts(value),
        _ => 0,
    }
}
