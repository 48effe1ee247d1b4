//! Forms that the API server takes and that would mean something else there than here: refused, with what to write instead.
//!
//! Asked only of expressions that are to mean the same there ([`crate::Declarations::as_kubernetes`]). What is refused has no
//! meaning that an author could want: a comparison that is true because it failed, a loop over values in place of names.

use cel::IdedExpr;

use super::{Checker, Local};
use crate::functions::{Function, time_zone};
use crate::program::{Kind, Node};
use crate::{LoadError, LoadErrorKind, Type, Value};

impl Checker<'_> {
    /// `claims` and `user` are read by their members. As wholes they are of a type of their own there, equal to nothing but
    /// themselves, and looped over by values.
    pub(super) fn not_a_whole(&self, node: &IdedExpr, checked: &Node, kind: &Type) -> Result<(), LoadError> {
        let is_record = matches!(kind, Type::Map(..) | Type::Object(_)) && matches!(checked.kind, Kind::Variable(_));
        if !self.declarations.is_kubernetes() || !is_record {
            return Ok(());
        }
        let message = "a variable is read by its members here, `v.name`, `v['name']` or `has(v.name)`";
        Err(self.unsupported(node, message))
    }

    /// As arguments, only where a member is asked for.
    pub(super) fn no_wholes(
        &self,
        node: &IdedExpr,
        function: Function,
        arguments: &[Node],
        types: &[Type],
    ) -> Result<(), LoadError> {
        let asked = matches!(function, Function::Index | Function::OptionalIndex);
        arguments
            .iter()
            .zip(types)
            .skip(usize::from(asked))
            .try_for_each(|(argument, kind)| self.not_a_whole(node, argument, kind))
    }

    /// Keys of maps are texts, whole numbers and truth values of one type: there, anything is, and `1` and `1u` are two.
    pub(super) fn plain_keys(&mut self, node: &IdedExpr, keys: &Type) -> Result<(), LoadError> {
        if !self.declarations.is_kubernetes() {
            return Ok(());
        }
        match self.types.resolved(keys) {
            Type::String | Type::Int | Type::Uint | Type::Bool | Type::Parameter(_) => Ok(()),
            other => {
                let message = format!(
                    "keys of a map are texts, whole numbers or truth values here, not `{other}`; write `string(…)`"
                );
                Err(self.unsupported(node, message))
            }
        }
    }

    /// An address compared with what is none is an error there, but not within a list or a map, where it is equal to it.
    /// So what holds addresses holds nothing else, and is not taken for anything.
    pub(super) fn plain_addresses(
        &mut self,
        node: &IdedExpr,
        function: Function,
        types: &[Type],
        result: &Type,
    ) -> Result<(), LoadError> {
        use Function as F;
        if !self.declarations.is_kubernetes() || !types.iter().any(|kind| holds(kind, is_address)) {
            return Ok(());
        }
        let types: Vec<Type> = types.iter().map(|kind| self.types.resolved(kind)).collect();
        let within = types.iter().any(|kind| holds(kind, is_address) && !is_address(kind));
        let open = types.iter().any(|kind| holds(kind, is_anything));
        let refused = match function {
            F::ToDyn => true,
            F::Equal
            | F::NotEqual
            | F::In
            | F::IndexOf
            | F::LastIndexOf
            | F::SetContains
            | F::SetEquivalent
            | F::SetIntersects => within && open,
            F::Or | F::OrValue | F::Add => !holds(result, is_address),
            _ => false,
        };
        if refused {
            return Err(self.unsupported(
                node,
                "an address stands here together with what may be anything; write `string(…)` of it",
            ));
        }
        Ok(())
    }

    /// As [`Self::plain_addresses`], of the branches of a condition.
    pub(super) fn plain_branches(
        &self,
        node: &IdedExpr,
        yes: &Type,
        no: &Type,
        result: &Type,
    ) -> Result<(), LoadError> {
        let lost = (holds(yes, is_address) || holds(no, is_address)) && !holds(result, is_address);
        if self.declarations.is_kubernetes() && lost {
            return Err(self.unsupported(
                node,
                "an address stands here together with what may be anything; write `string(…)` of it",
            ));
        }
        Ok(())
    }

    /// An address within an optional value is an error there as soon as a variable or a condition hands it on.
    pub(super) fn no_optional_address(&mut self, node: &IdedExpr, kind: &Type) -> Result<(), LoadError> {
        if !self.declarations.is_kubernetes() || !matches!(kind, Type::Optional(_)) {
            return Ok(());
        }
        let kind = self.types.resolved(kind);
        let mut inner = &kind;
        while let Type::Optional(further) = inner {
            inner = further;
        }
        if is_address(inner) {
            return Err(self.unsupported(node, "an address is no optional value here; write `string(…)` of it"));
        }
        Ok(())
    }

    /// A variable that holds a type is not known there: the API server looks for a type of the variable's name.
    pub(super) fn value_of_variable(&mut self, node: &IdedExpr, kind: &Type) {
        if self.declarations.is_kubernetes() {
            let (line, column) = self.places.of(node.id, self.source);
            self.uses.push((line, column, kind.clone()));
        }
    }

    /// Once all types are settled.
    pub(super) fn check_variables(&mut self) -> Result<(), LoadError> {
        for (line, column, kind) in std::mem::take(&mut self.uses) {
            if self.types.settled(&kind) == Type::Type {
                return Err(LoadError {
                    line,
                    column,
                    message: "a variable cannot hold a type; write `type(…)` where it is compared".to_owned(),
                    kind: LoadErrorKind::Invalid,
                });
            }
        }
        Ok(())
    }

    /// Remembers to which variable what may be a list is added.
    pub(super) fn note_sum(&mut self, arguments: &[Node], types: &[Type]) {
        let may_be_list = types.get(1).is_some_and(|kind| {
            matches!(
                self.types.resolved(kind),
                Type::List(_) | Type::Dyn | Type::Any | Type::Parameter(_)
            )
        });
        let mut variables = Vec::new();
        arguments
            .first()
            .into_iter()
            .for_each(|left| given_by(left, &mut variables));
        for depth in variables.into_iter().filter(|_| may_be_list) {
            let loops = self.loops;
            if let Some(local) = self.locals.get_mut(depth) {
                local.added = Some(local.added.unwrap_or(false) || loops > local.loops);
            }
        }
    }

    /// There, adding to the empty list that `optMap` gave to its variable changes the variable.
    pub(super) fn not_added_to(&self, node: &IdedExpr, local: Option<Local>) -> Result<(), LoadError> {
        let changed = local.is_some_and(|local| local.added.is_some_and(|in_loop| in_loop || local.uses > 1));
        if !self.declarations.is_kubernetes() || !changed {
            return Ok(());
        }
        let message = "adding to the variable of `optMap` changes it for its other uses there; add to `v.map(e, e)`, \
                       or to `string(v)` if it is a text";
        Err(self.unsupported(node, message))
    }

    /// Whose zone `Local` is depends on the machine; what is refused without `as_kubernetes` anyway is told there.
    pub(super) fn zone_is_named(&self, node: &IdedExpr, zone: &Value) -> Result<(), LoadError> {
        match zone {
            Value::String(zone) if &**zone == "Local" => Err(self.unsupported(
                node,
                "`Local` is another zone on each machine; write `Europe/Berlin` or `+02:00`",
            )),
            Value::String(zone) if zone.contains(':') && time_zone(zone).is_none() => {
                Err(self.unsupported(node, "an offset is written `+02:00` here, up to 25 hours"))
            }
            _ => Ok(()),
        }
    }
}

/// Types as values have one type each there: a list of several is refused there, or not, by what they are types of.
pub(super) fn holds_types(kind: &Type) -> bool {
    holds(kind, |kind| *kind == Type::Type)
}

/// The variables that a node may give as they are, by their depth.
fn given_by(node: &Node, variables: &mut Vec<usize>) {
    match &node.kind {
        Kind::Local(depth) => variables.push(*depth),
        Kind::Conditional(parts) => {
            let [_, yes, no] = &**parts;
            given_by(yes, variables);
            given_by(no, variables);
        }
        _ => {}
    }
}

fn is_address(kind: &Type) -> bool {
    matches!(kind, Type::Ip | Type::Cidr)
}

fn is_anything(kind: &Type) -> bool {
    matches!(kind, Type::Dyn | Type::Any | Type::Null)
}

/// Whether the type or a part of it is such.
fn holds(kind: &Type, such: fn(&Type) -> bool) -> bool {
    such(kind)
        || match kind {
            Type::List(inner) | Type::Optional(inner) => holds(inner, such),
            Type::Map(key, value) => holds(key, such) || holds(value, such),
            _ => false,
        }
}
