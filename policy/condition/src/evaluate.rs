//! Evaluation of a checked expression, within a budget.
//!
//! One step is charged per node met, more where a function's work grows with its input. Logic follows CEL: `&&` and `||`
//! take the side that decides even when the other fails; a spent budget is never swallowed.

use std::sync::Arc;

use crate::escape;
use crate::functions::{self, Function, Shape};
use crate::program::{Kind, Loop, LoopKind, Node, Program};
use crate::value::Map;
use crate::{Fault, RuntimeError, Value};

/// The values of the declared variables.
#[derive(Clone, Debug, Default)]
pub struct Context {
    variables: Vec<(&'static str, Value)>,
}

impl Context {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a variable its value; the last one given counts.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: Value) -> Self {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value));
        self
    }

    /// Variables are few, and given in the order declared: the slot is nearly always right.
    fn find(&self, slot: usize, name: &str) -> Option<&Value> {
        match self.variables.get(slot) {
            Some((known, value)) if *known == name => Some(value),
            _ => self
                .variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value),
        }
    }
}

/// How much one evaluation may do. What is over it fails with [`Fault::TooManySteps`] or [`Fault::TooManyBytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Steps: about one per operation, loop round, compared element, and 32 bytes of text read. A million take some
    /// 50 milliseconds.
    pub steps: u64,
    /// Bytes of texts and lists built, 32 per list element.
    pub bytes: u64,
}

impl Default for Budget {
    /// 100,000 steps and 1 MiB: a hundred times what the examples of Kubernetes' documentation need on a large token.
    fn default() -> Self {
        Self {
            steps: 100_000,
            bytes: 1 << 20,
        }
    }
}

/// What is left of a budget.
#[derive(Debug)]
pub(crate) struct Meter {
    budget: Budget,
    steps: u64,
    bytes: u64,
}

impl Meter {
    fn new(budget: Budget) -> Self {
        Self {
            budget,
            steps: budget.steps,
            bytes: budget.bytes,
        }
    }

    pub(crate) fn step(&mut self, count: usize) -> Result<(), Fault> {
        let left = u64::try_from(count)
            .ok()
            .and_then(|count| self.steps.checked_sub(count));
        self.steps = left.ok_or(Fault::TooManySteps(self.budget.steps))?;
        Ok(())
    }

    /// Text of this length is read through.
    pub(crate) fn reads(&mut self, bytes: usize) -> Result<(), Fault> {
        self.step(bytes / 32)
    }

    /// Text of this length is made.
    pub(crate) fn built(&mut self, bytes: usize) -> Result<(), Fault> {
        let left = u64::try_from(bytes)
            .ok()
            .and_then(|bytes| self.bytes.checked_sub(bytes));
        self.bytes = left.ok_or(Fault::TooManyBytes(self.budget.bytes))?;
        self.reads(bytes)
    }

    /// A list or map of this many elements is made.
    pub(crate) fn built_items(&mut self, items: usize) -> Result<(), Fault> {
        self.step(items)?;
        self.built(items.saturating_mul(32))
    }

    /// Two values are compared, elements included.
    pub(crate) fn compares(&mut self, a: &Value, b: &Value) -> Result<(), Fault> {
        self.step(1)?;
        match (a, b) {
            (Value::String(a), Value::String(b)) if a.len() == b.len() => self.reads(a.len()),
            (Value::Bytes(a), Value::Bytes(b)) => self.reads(a.len().min(b.len())),
            (Value::List(a), Value::List(b)) if a.len() == b.len() => {
                a.iter().zip(b.iter()).try_for_each(|(a, b)| self.compares(a, b))
            }
            (Value::Map(a), Value::Map(b)) if a.len() == b.len() => {
                a.keys().try_for_each(|key| match (a.find(&key), b.find(&key)) {
                    (Some(a), Some(b)) => self.compares(a, b),
                    _ => self.step(1),
                })
            }
            (Value::Optional(Some(a)), Value::Optional(Some(b))) => self.compares(a, b),
            _ => Ok(()),
        }
    }
}

/// Evaluates a program and takes what that cost off `budget`.
pub(crate) fn evaluate(program: &Program, context: &Context, budget: &mut Budget) -> Result<Value, RuntimeError> {
    let mut run = Run {
        program,
        context,
        meter: Meter::new(*budget),
        locals: Vec::new(),
    };
    let value = run.node(&program.root);
    *budget = Budget {
        steps: run.meter.steps,
        bytes: run.meter.bytes,
    };
    value
}

struct Run<'a> {
    program: &'a Program,
    context: &'a Context,
    meter: Meter,
    locals: Vec<Value>,
}

fn at(node: &Node, fault: Fault) -> RuntimeError {
    RuntimeError {
        line: node.line,
        column: node.column,
        fault,
    }
}

fn no_overload(node: &Node, name: &'static str) -> RuntimeError {
    at(node, Fault::NoSuchOverload(name))
}

/// In what was given, escaped keys are keys as well as escaped fields are (`claims["a__dot__b"]`).
fn unescape(function: Function, nodes: &[Node], operands: &mut [Value; 2]) {
    let [left, right] = operands;
    let [first, _] = nodes else { return };
    let (place, container, key) = match function {
        Function::Index | Function::OptionalIndex => (first, left, right),
        _ => return,
    };
    let map = match container {
        Value::Map(map) => map,
        Value::Optional(Some(inner)) if place.is_member() => match &**inner {
            Value::Map(map) => map,
            _ => return,
        },
        _ => return,
    };
    let Value::String(name) = &*key else { return };
    let top = matches!(place.kind, Kind::Variable(_));
    match escape::key(map, name, top) {
        Some(std::borrow::Cow::Owned(plain)) => *key = Value::text(&plain),
        Some(std::borrow::Cow::Borrowed(_)) => {}
        // No claim has this key: no name has a NUL.
        None => *key = Value::text("\0"),
    }
}

impl Run<'_> {
    fn node(&mut self, node: &Node) -> Result<Value, RuntimeError> {
        self.meter.step(1).map_err(|fault| at(node, fault))?;
        match &node.kind {
            Kind::Literal(value) => Ok(value.clone()),
            Kind::Variable(slot) => self.variable(node, *slot),
            Kind::Local(depth) => match self.locals.get(*depth).cloned() {
                Some(value) => self.handed_on(node, value),
                None => Err(no_overload(node, "variable")),
            },
            Kind::Select {
                operand,
                field,
                optional,
            } => self.select(node, operand, field, *optional),
            Kind::Has { operand, field } => self.has(node, operand, field),
            Kind::And(sides) => self.logic(node, sides, false),
            Kind::Or(sides) => self.logic(node, sides, true),
            Kind::Conditional(parts) => self.conditional(parts),
            Kind::List(items) => self.list(node, items),
            Kind::Map(entries) => self.map(node, entries),
            Kind::Loop(loops) => self.comprehension(node, loops),
            Kind::OptionalMap { target, body, flat } => self.optional_map(node, target, body, *flat),
            Kind::OptionalOr { sides, unwraps } => self.optional_or(sides, *unwraps),
            Kind::Search {
                function,
                target,
                pattern,
                limit,
            } => {
                let target = self.node(target)?;
                let limit = limit.as_deref().map(|limit| self.node(limit)).transpose()?;
                functions::search(*function, &target, pattern, limit.as_ref(), &mut self.meter)
                    .map_err(|fault| at(node, fault))
            }
            Kind::Among { item, constants } => {
                let item = self.node(item)?;
                self.meter.step(constants.len()).map_err(|fault| at(node, fault))?;
                Ok(Value::Bool(constants.iter().any(|constant| constant.is_same(&item))))
            }
            Kind::Call {
                function,
                arguments,
                form,
            } => self.call(node, *function, arguments, *form),
        }
    }

    fn variable(&self, node: &Node, slot: usize) -> Result<Value, RuntimeError> {
        let name = self.program.names.get(slot).cloned().unwrap_or_else(|| Arc::from(""));
        match self.context.find(slot, &name) {
            Some(value) => Ok(value.clone()),
            None => Err(at(node, Fault::UnboundVariable(name))),
        }
    }

    fn select(&mut self, node: &Node, operand: &Node, field: &str, optional: bool) -> Result<Value, RuntimeError> {
        let (inner, unwrapped) = match self.node(operand)? {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => ((*inner).clone(), true),
            plain => (plain, false),
        };
        let optional = optional || unwrapped;
        let found = match &inner {
            Value::Map(map) => self.field(map, operand, field, unwrapped).cloned(),
            Value::List(_) => return Err(no_overload(node, ".")),
            _ if optional => None,
            _ => return Err(no_overload(node, ".")),
        };
        if optional {
            return Ok(Value::Optional(found.map(Arc::new)));
        }
        found.ok_or_else(|| at(node, Fault::NoSuchKey))
    }

    /// The value of a field, its name unescaped where the API server does that: not in what came out of an optional value,
    /// unless that was itself made by asking for a member.
    fn field<'m>(&self, map: &'m Map, operand: &Node, field: &str, unwrapped: bool) -> Option<&'m Value> {
        if self.program.as_kubernetes && (!unwrapped || operand.is_member()) {
            escape::look_up(map, field, matches!(operand.kind, Kind::Variable(_)))
        } else {
            map.field(field)
        }
    }

    /// What is no container has no fields: `has(…)` of it is false, as in cel-go. A list is asked by position only.
    fn has(&mut self, node: &Node, operand: &Node, field: &str) -> Result<Value, RuntimeError> {
        let place = operand;
        let operand = self.node(operand)?;
        let (inner, unwrapped) = match &operand {
            Value::Optional(Some(inner)) => (&**inner, true),
            plain => (plain, false),
        };
        match inner {
            Value::Map(map) => Ok(Value::Bool(self.field(map, place, field, unwrapped).is_some())),
            Value::List(_) => Err(no_overload(node, "has")),
            _ => Ok(Value::Bool(false)),
        }
    }

    /// `&&` (`decisive` is false) and `||` (true): either side may decide; otherwise a failure is the result.
    fn logic(&mut self, node: &Node, sides: &[Node; 2], decisive: bool) -> Result<Value, RuntimeError> {
        let name = if decisive { "||" } else { "&&" };
        let [left, right] = sides;
        let mut failure = None;
        for side in [left, right] {
            match self.node(side) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failure = failure.or_else(|| Some(no_overload(node, name))),
                Err(error) if error.fault.is_final() => return Err(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn conditional(&mut self, parts: &[Node; 3]) -> Result<Value, RuntimeError> {
        let [condition, yes, no] = parts;
        let branch = match self.node(condition)? {
            Value::Bool(true) => yes,
            Value::Bool(false) => no,
            _ => return Err(no_overload(condition, "?:")),
        };
        let value = self.node(branch)?;
        if branch.is_member() {
            return Ok(value);
        }
        self.handed_on(branch, value)
    }

    fn list(&mut self, node: &Node, items: &[(Node, bool)]) -> Result<Value, RuntimeError> {
        self.meter.built_items(items.len()).map_err(|fault| at(node, fault))?;
        let mut list = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.node(item)?, optional) {
                (value, false) => list.push(value),
                (Value::Optional(inner), true) => list.extend(inner.as_deref().cloned()),
                _ => return Err(no_overload(item, "[?]")),
            }
        }
        Ok(Value::list(list))
    }

    fn map(&mut self, node: &Node, entries: &[(Node, Node, bool)]) -> Result<Value, RuntimeError> {
        self.meter.built_items(entries.len()).map_err(|fault| at(node, fault))?;
        let mut map = Map::default();
        for (key, value, optional) in entries {
            let place = key;
            let key = self.node(key)?;
            let value = match (self.node(value)?, optional) {
                (value, false) => value,
                (Value::Optional(Some(inner)), true) => (*inner).clone(),
                (Value::Optional(None), true) => {
                    map.remove(&key);
                    continue;
                }
                _ => return Err(no_overload(place, "{?}")),
            };
            match map.insert(key, value) {
                Some(true) => {}
                // The API server lets the last one count.
                Some(false) if self.program.as_kubernetes => {}
                Some(false) => return Err(at(place, Fault::DuplicateKey)),
                None => return Err(no_overload(place, "{}")),
            }
        }
        Ok(Value::Map(Arc::new(map)))
    }

    /// What is no optional value stands for itself, as in cel-go. `or` gives the optional, `orValue` what is in it.
    fn optional_or(&mut self, sides: &[Node; 2], unwraps: bool) -> Result<Value, RuntimeError> {
        let [first, second] = sides;
        match self.node(first)? {
            Value::Optional(None) => self.node(second),
            Value::Optional(Some(inner)) if unwraps => Ok((*inner).clone()),
            other => Ok(other),
        }
    }

    fn optional_map(&mut self, node: &Node, target: &Node, body: &Node, flat: bool) -> Result<Value, RuntimeError> {
        let inner = match self.node(target)? {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => (*inner).clone(),
            _ => return Err(no_overload(node, if flat { "optFlatMap" } else { "optMap" })),
        };
        // What is empty becomes a value of the expression's own, there.
        let inner = if self.program.as_kubernetes { inner.own() } else { inner };
        self.locals.push(inner);
        let result = self.node(body);
        self.locals.pop();
        match (result?, flat) {
            (value, false) => self.handed_on(node, Value::Optional(Some(Arc::new(value)))),
            // Whatever it is: cel-go does not look.
            (value, true) => self.handed_on(node, value),
        }
    }

    /// What a variable or a condition gives; the API server's way of handing on optional values changes some.
    fn handed_on(&self, node: &Node, value: Value) -> Result<Value, RuntimeError> {
        if !self.program.as_kubernetes {
            return Ok(value);
        }
        value.renewed().ok_or_else(|| no_overload(node, "optional"))
    }

    fn call(
        &mut self,
        node: &Node,
        function: Function,
        arguments: &[Node],
        form: Option<&'static [Shape]>,
    ) -> Result<Value, RuntimeError> {
        // Most calls have one or two operands: no heap for them.
        let result = match arguments {
            [only] => functions::apply(function, form, &[self.node(only)?], &mut self.meter),
            [left, right] => {
                let mut operands = [self.node(left)?, self.node(right)?];
                if self.program.as_kubernetes {
                    unescape(function, arguments, &mut operands);
                }
                functions::apply(function, form, &operands, &mut self.meter)
            }
            more => {
                let operands = more.iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
                functions::apply(function, form, &operands, &mut self.meter)
            }
        };
        result.map_err(|fault| at(node, fault))
    }

    fn comprehension(&mut self, node: &Node, loops: &Loop) -> Result<Value, RuntimeError> {
        let items: Arc<[Value]> = match self.node(&loops.range)? {
            Value::List(items) => items,
            Value::Map(map) => {
                self.meter.built_items(map.len()).map_err(|fault| at(node, fault))?;
                map.keys().collect()
            }
            _ => return Err(no_overload(node, "comprehension")),
        };
        match &loops.kind {
            LoopKind::All => self.quantifier(node, &items, &loops.body, false),
            LoopKind::Exists => self.quantifier(node, &items, &loops.body, true),
            LoopKind::ExistsOne => self.exists_one(&items, &loops.body),
            LoopKind::Transform(filter) => self.transform(node, &items, filter.as_ref(), &loops.body),
        }
    }

    fn with_local(&mut self, item: &Value, body: &Node) -> Result<Value, RuntimeError> {
        self.locals.push(item.clone());
        let result = self.node(body);
        self.locals.pop();
        result
    }

    /// `all` and `exists` are `&&` and `||` over the elements, failures included.
    fn quantifier(&mut self, node: &Node, items: &[Value], body: &Node, decisive: bool) -> Result<Value, RuntimeError> {
        let mut failure = None;
        for item in items {
            match self.with_local(item, body) {
                Ok(Value::Bool(value)) if value == decisive => return Ok(Value::Bool(decisive)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => failure = failure.or_else(|| Some(no_overload(node, if decisive { "||" } else { "&&" }))),
                Err(error) if error.fault.is_final() => return Err(error),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn is_true(&mut self, item: &Value, body: &Node) -> Result<bool, RuntimeError> {
        match self.with_local(item, body)? {
            Value::Bool(value) => Ok(value),
            _ => Err(no_overload(body, "?:")),
        }
    }

    fn exists_one(&mut self, items: &[Value], body: &Node) -> Result<Value, RuntimeError> {
        let mut count = 0_usize;
        for item in items {
            count += usize::from(self.is_true(item, body)?);
        }
        Ok(Value::Bool(count == 1))
    }

    fn transform(
        &mut self,
        node: &Node,
        items: &[Value],
        filter: Option<&Node>,
        body: &Node,
    ) -> Result<Value, RuntimeError> {
        let mut list = Vec::new();
        for item in items {
            if let Some(filter) = filter
                && !self.is_true(item, filter)?
            {
                continue;
            }
            self.meter.built_items(1).map_err(|fault| at(node, fault))?;
            list.push(self.with_local(item, body)?);
        }
        Ok(Value::list(list))
    }
}
