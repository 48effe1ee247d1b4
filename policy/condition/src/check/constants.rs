//! Constants: what can be computed once is, and what its function can never read is refused at load.

use cel::IdedExpr;

use super::{Checker, unescape};
use crate::functions::{Function, time_zone};
use crate::pattern::Pattern;
use crate::program::{Kind, Node};
use crate::{Budget, Context, LoadError, Program, Type, Value};

impl Checker<'_> {
    /// A checked call, its constants used.
    pub(super) fn finish(
        &self,
        node: &IdedExpr,
        function: Function,
        mut arguments: Vec<Node>,
    ) -> Result<Kind, LoadError> {
        self.check_key(node, function, &mut arguments)?;
        self.check_zone(node, function, &arguments)?;
        if let Some(pattern) = self.pattern(node, function, &arguments)?
            && function == Function::Matches
        {
            arguments.truncate(1);
            if let Some(target) = arguments.pop() {
                return Ok(Kind::Matches {
                    target: Box::new(target),
                    pattern,
                });
            }
        }
        match arguments.as_slice() {
            // Nothing is in an empty list, whatever it is: cel-go does not even look at it.
            [
                _,
                Node {
                    kind: Kind::List(items),
                    ..
                },
            ] if function == Function::In && items.is_empty() => Ok(Kind::Literal(Value::Bool(false))),
            [_, _] if matches!(function, Function::Or | Function::OrValue) => {
                let operands: Result<Box<[Node; 2]>, _> = arguments.into_boxed_slice().try_into();
                let unwraps = function == Function::OrValue;
                operands
                    .map(|sides| Kind::OptionalOr { sides, unwraps })
                    .map_err(|_| self.error(node, "takes one argument"))
            }
            [only] if constant(only).is_some() && self.converts_at_load(function) => {
                self.fold(node, function, arguments)
            }
            _ => Ok(Kind::Call { function, arguments }),
        }
    }

    /// Escaped keys are keys as well as escaped fields are (`claims["a__dot__b"]`); null is none.
    fn check_key(&self, node: &IdedExpr, function: Function, arguments: &mut [Node]) -> Result<(), LoadError> {
        if !matches!(function, Function::Index | Function::OptionalIndex) {
            return Ok(());
        }
        match arguments.get_mut(1).map(|key| &mut key.kind) {
            Some(Kind::Literal(Value::Null)) => Err(self.error(node, "null is neither a key nor a position")),
            Some(Kind::Literal(Value::String(key))) if self.declarations.is_kubernetes() => {
                *key = unescape(key).into();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn pattern(&self, node: &IdedExpr, function: Function, arguments: &[Node]) -> Result<Option<Pattern>, LoadError> {
        match (function, arguments.get(1).and_then(constant)) {
            (Function::Matches | Function::Find | Function::FindAll, Some(Value::String(pattern))) => {
                let compiled = Pattern::new(pattern);
                let message = "not a regular expression in RE2 syntax, or too large";
                compiled.map(Some).ok_or_else(|| self.error(node, message))
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
            | F::ToDyn => true,
            F::ToIp | F::ToCidr => !self.declarations.is_kubernetes(),
            _ => false,
        }
    }

    /// The value of a call on a constant, computed once.
    fn fold(&self, node: &IdedExpr, function: Function, arguments: Vec<Node>) -> Result<Kind, LoadError> {
        let program = Program {
            root: self.node(node, Kind::Call { function, arguments }),
            result: Type::Dyn,
            names: Vec::new(),
            source: "".into(),
            mentions: Vec::new(),
            used: Vec::new(),
        };
        match program.evaluate(&Context::new(), Budget::default()) {
            Ok(value) => Ok(Kind::Literal(value)),
            Err(error) => Err(self.error(node, error.fault.to_string())),
        }
    }

    fn check_zone(&self, node: &IdedExpr, function: Function, arguments: &[Node]) -> Result<(), LoadError> {
        match arguments.get(1).and_then(constant) {
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
