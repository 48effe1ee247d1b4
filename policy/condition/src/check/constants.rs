//! Constants: what can be computed once is, and what its function can never read is refused at load.

use cel::IdedExpr;

use super::Checker;
use crate::functions::{Function, Shape, time_zone};
use crate::pattern::{Pattern, Refused};
use crate::program::{Kind, Node};
use crate::{Budget, Context, LoadError, Program, Type, Value};

impl Checker<'_> {
    /// A checked call, its constants used.
    pub(super) fn finish(
        &self,
        node: &IdedExpr,
        function: Function,
        form: Option<&'static [Shape]>,
        arguments: Vec<Node>,
    ) -> Result<Kind, LoadError> {
        self.check_key(node, function, &arguments)?;
        self.check_zone(node, function, &arguments)?;
        if let Some(pattern) = self.pattern(node, function, &arguments)? {
            return self.search(node, function, pattern, arguments);
        }
        match arguments.as_slice() {
            [_, list] if function == Function::In && constants_of(list).is_some() => self.among(node, arguments),
            [_, _] if matches!(function, Function::Or | Function::OrValue) => {
                let operands: Result<Box<[Node; 2]>, _> = arguments.into_boxed_slice().try_into();
                let unwraps = function == Function::OrValue;
                operands
                    .map(|sides| Kind::OptionalOr { sides, unwraps })
                    .map_err(|_| self.error(node, "takes one argument"))
            }
            [only] if is_constant(only) && self.converts_at_load(function) => {
                self.fold(node, function, form, arguments)
            }
            _ => Ok(Kind::Call {
                function,
                arguments,
                form,
            }),
        }
    }

    fn search(
        &self,
        node: &IdedExpr,
        function: Function,
        pattern: Pattern,
        arguments: Vec<Node>,
    ) -> Result<Kind, LoadError> {
        let mut arguments = arguments.into_iter();
        let target = arguments.next().map(Box::new);
        Ok(Kind::Search {
            function,
            target: target.ok_or_else(|| self.error(node, "takes a text"))?,
            pattern,
            limit: arguments.nth(1).map(Box::new),
        })
    }

    /// Constants are looked up. Nothing is in an empty list, whatever it is: cel-go does not even look at it.
    fn among(&self, node: &IdedExpr, mut arguments: Vec<Node>) -> Result<Kind, LoadError> {
        let constants = arguments.pop().as_ref().and_then(constants_of).unwrap_or_default();
        let item = arguments.pop().ok_or_else(|| self.error(node, "takes two operands"))?;
        Ok(if constants.is_empty() {
            Kind::Literal(Value::Bool(false))
        } else {
            Kind::Among {
                item: Box::new(item),
                constants,
            }
        })
    }

    /// Only texts, numbers and truth values are keys or positions.
    fn check_key(&self, node: &IdedExpr, function: Function, arguments: &[Node]) -> Result<(), LoadError> {
        let Some(key) = arguments
            .get(1)
            .filter(|_| matches!(function, Function::Index | Function::OptionalIndex))
        else {
            return Ok(());
        };
        let is_key = match &key.kind {
            Kind::Literal(value) => matches!(
                value,
                Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_)
            ),
            Kind::List(_) | Kind::Map(_) => !is_constant(key),
            _ => true,
        };
        if is_key {
            return Ok(());
        }
        Err(self.error(node, "this constant is neither a key nor a position"))
    }

    fn pattern(&self, node: &IdedExpr, function: Function, arguments: &[Node]) -> Result<Option<Pattern>, LoadError> {
        match (function, arguments.get(1).and_then(constant)) {
            (Function::Matches | Function::Find | Function::FindAll, Some(Value::String(pattern))) => {
                Pattern::new(pattern).map(Some).map_err(|refused| {
                    match refused {
                Refused::Invalid => self.error(node, "not a regular expression in RE2 syntax, or too large"),
                Refused::Unsupported => self.unsupported(
                    node,
                    "a regular expression that is too large, or has `\\B` or `--` in a class, is not supported here; \
                         write it shorter, or `\\-` for a hyphen",
                ),
            }
                })
            }
            _ => Ok(None),
        }
    }

    /// Conversions of constants are computed at load, as cel-go does.
    fn converts_at_load(&self, function: Function) -> bool {
        use Function as F;
        match function {
            F::ToInt
            | F::ToUint
            | F::ToDouble
            | F::ToString
            | F::ToBytes
            | F::ToBool
            | F::ToTimestamp
            | F::ToDuration
            | F::ToDyn
            | F::TypeOf => true,
            F::ToIp | F::ToCidr => !self.declarations.is_kubernetes(),
            _ => false,
        }
    }

    /// The value of a call on a constant, computed once.
    fn fold(
        &self,
        node: &IdedExpr,
        function: Function,
        form: Option<&'static [Shape]>,
        arguments: Vec<Node>,
    ) -> Result<Kind, LoadError> {
        let call = Kind::Call {
            function,
            arguments,
            form,
        };
        let program = Program {
            root: self.node(node, call),
            result: Type::Dyn,
            names: Vec::new(),
            source: "".into(),
            mentions: Vec::new(),
            used: Vec::new(),
            as_kubernetes: false,
        };
        match program.evaluate(&Context::new(), Budget::default()) {
            Ok(value) => Ok(Kind::Literal(value)),
            Err(error) => Err(self.error(node, error.fault.to_string())),
        }
    }

    fn check_zone(&self, node: &IdedExpr, function: Function, arguments: &[Node]) -> Result<(), LoadError> {
        match arguments.get(1).and_then(constant) {
            Some(zone) if function.reads_time() && self.declarations.is_kubernetes() => self.zone_is_named(node, zone),
            Some(Value::String(zone))
                if function.reads_time() && !self.declarations.is_kubernetes() && time_zone(zone).is_none() =>
            {
                let message = format!("there is no time zone `{zone}`; write `Europe/Berlin` or `+02:00`");
                Err(self.error(node, message))
            }
            _ => Ok(()),
        }
    }
}

fn constant(node: &Node) -> Option<&Value> {
    match &node.kind {
        Kind::Literal(value) => Some(value),
        _ => None,
    }
}

/// Whether a node, or every part of it, is a constant.
fn is_constant(node: &Node) -> bool {
    match &node.kind {
        Kind::Literal(_) => true,
        Kind::List(items) => items.iter().all(|(item, _)| is_constant(item)),
        Kind::Map(entries) => entries
            .iter()
            .all(|(key, value, _)| is_constant(key) && is_constant(value)),
        _ => false,
    }
}

/// The elements of a list of constants that cel-go looks up: texts, numbers and truth values.
fn constants_of(node: &Node) -> Option<Vec<Value>> {
    let Kind::List(items) = &node.kind else {
        return None;
    };
    let simple = |value: &&Value| {
        matches!(
            value,
            Value::String(_) | Value::Int(_) | Value::Uint(_) | Value::Bool(_) | Value::Double(_)
        )
    };
    items
        .iter()
        .map(|(item, _)| constant(item).filter(simple).cloned())
        .collect()
}
