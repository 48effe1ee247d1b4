//! Calls and operators: which form fits the operands' types.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::{Checked, Checker};
use crate::functions::{Function, Shape, Style, overloads};
use crate::program::{Kind, Node};
use crate::{LoadError, Type};

impl Checker<'_> {
    pub(super) fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Checked {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => {
                let sides = self.sides(left, right)?;
                Ok((self.node(node, Kind::And(sides)), Type::Bool))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let sides = self.sides(left, right)?;
                Ok((self.node(node, Kind::Or(sides)), Type::Bool))
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.conditional(node, condition, yes, no),
            (operators::OPT_SELECT, [operand, field]) => self.optional_select(node, operand, field),
            ("optMap" | "optFlatMap", [variable, body]) => self.optional_map(node, call, variable, body),
            _ => self.function(node, call),
        }
    }

    /// Both sides of `&&` or `||`.
    fn sides(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Box<[Node; 2]>, LoadError> {
        let (left_node, left_type) = self.expression(left)?;
        let (right_node, right_type) = self.expression(right)?;
        self.must_be_bool(left, &left_type)?;
        self.must_be_bool(right, &right_type)?;
        Ok(Box::new([left_node, right_node]))
    }

    fn conditional(&mut self, node: &IdedExpr, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Checked {
        let (condition_node, condition_type) = self.expression(condition)?;
        let (yes, yes_type) = self.expression(yes)?;
        let (no_place, (no, no_type)) = (no, self.expression(no)?);
        self.must_be_bool(condition, &condition_type)?;
        let message = format!("the branches have different types, `{yes_type}` and `{no_type}`");
        let result = self
            .one_of(yes_type.clone(), no_type.clone())
            .ok_or_else(|| self.error(no_place, message))?;
        self.plain_branches(node, &yes_type, &no_type, &result)?;
        let parts = Box::new([condition_node, yes, no]);
        Ok((self.node(node, Kind::Conditional(parts)), result))
    }

    /// The type of what is one of two; `None` when no type is both.
    fn one_of(&mut self, a: Type, b: Type) -> Option<Type> {
        let result = self.types.fresh();
        let fits = self.types.all_fit(&[a, b], &[result.clone(), result.clone()]);
        fits.then(|| self.types.resolved(&result))
    }

    fn optional_select(&mut self, node: &IdedExpr, operand: &IdedExpr, field: &IdedExpr) -> Checked {
        let Some(name) = constant_text(field) else {
            return Err(self.error(field, "a field's name stands behind `.?`"));
        };
        self.mention(operand, name);
        let (operand, operand_type) = self.operand(operand)?;
        let field = name.into();
        let kind = match self.field_type(node, &operand_type, name)? {
            already @ Type::Optional(_) if matches!(self.types.resolved(&operand_type), Type::Optional(_)) => already,
            plain => Type::optional(plain),
        };
        Ok((
            self.node(
                node,
                Kind::Select {
                    operand: Box::new(operand),
                    field,
                    optional: true,
                },
            ),
            kind,
        ))
    }

    fn optional_map(&mut self, node: &IdedExpr, call: &CallExpr, variable: &IdedExpr, body: &IdedExpr) -> Checked {
        let flat = call.func_name == "optFlatMap";
        let (Some(target), Expr::Ident(variable)) = (&call.target, &variable.expr) else {
            return Err(self.error(
                node,
                format!("`{}` is called as `x.{0}(v, expression)`", call.func_name),
            ));
        };
        let place = target;
        let (target, kind) = self.expression(target)?;
        let message = format!("`{}` takes an optional value, not `{kind}`", call.func_name);
        let inner = self.types.fresh();
        if !self.types.fits(&kind, &Type::optional(inner.clone())) {
            return Err(self.error(place, message));
        }
        let inner = self.types.resolved(&inner);
        self.value_of_variable(place, &inner);
        self.declare(variable, inner);
        let checked = self.expression(body);
        let local = self.locals.pop();
        let (checked, body_type) = checked?;
        self.not_added_to(body, local)?;
        let message = format!("must be an optional value, is `{body_type}`");
        let given = if flat { body_type } else { Type::optional(body_type) };
        let none = Type::optional(self.types.fresh());
        let result = self.one_of(given, none).ok_or_else(|| self.error(body, message))?;
        let kind = Kind::OptionalMap {
            target: Box::new(target),
            body: Box::new(checked),
            flat,
        };
        Ok((self.node(node, kind), result))
    }

    fn function(&mut self, node: &IdedExpr, call: &CallExpr) -> Checked {
        let (name, target) = self.qualified(call);
        let style = if target.is_some() { Style::Member } else { Style::Global };
        if overloads(&name, style).next().is_none() {
            return Err(self.unknown_function(node, &name, style));
        }
        if matches!(call.func_name.as_str(), operators::INDEX | operators::OPT_INDEX)
            && let [operand, key] = call.args.as_slice()
            && let Some(key) = constant_text(key)
        {
            self.mention(operand, key);
        }
        let mut arguments = Vec::with_capacity(call.args.len() + 1);
        let mut types = Vec::with_capacity(call.args.len() + 1);
        for argument in &call.args {
            let (checked, kind) = self.operand(argument)?;
            arguments.push(checked);
            types.push(kind);
        }
        // The receiver last, as in cel-go: what the arguments settle about a variable counts for it.
        if let Some(target) = target {
            let (checked, kind) = self.operand(target)?;
            arguments.insert(0, checked);
            types.insert(0, kind);
        }
        let resolved = self.resolve(node, &name, style, &types)?;
        let (function, result) = (resolved.function, resolved.result);
        self.no_wholes(node, function, &arguments, &types)?;
        self.plain_addresses(node, function, &types, &result)?;
        if function == Function::Add {
            self.note_sum(&arguments, &types);
        }
        let kind = self.finish(node, function, resolved.form, arguments)?;
        Ok((self.node(node, kind), result))
    }

    /// `optional.of(x)` and `sets.contains(a, b)` are names with a dot unless a variable is called so.
    fn qualified<'e>(&self, call: &'e CallExpr) -> (String, Option<&'e IdedExpr>) {
        let target = call.target.as_deref();
        if let Some(IdedExpr {
            expr: Expr::Ident(space),
            ..
        }) = target
            && matches!(space.as_str(), "optional" | "sets")
            && self.declarations.find(space).is_none()
            && !self.locals.iter().any(|local| local.name == *space)
        {
            return (format!("{space}.{}", call.func_name), None);
        }
        (call.func_name.clone(), target)
    }

    fn unknown_function(&self, node: &IdedExpr, name: &str, style: Style) -> LoadError {
        let other = if style == Style::Member {
            Style::Global
        } else {
            Style::Member
        };
        if overloads(name, other).next().is_some() {
            let form = if other == Style::Member { "x.f(…)" } else { "f(x)" };
            return self.error(node, format!("`{name}` is called as `{}`", form.replace('f', name)));
        }
        self.error(node, format!("there is no function `{name}` here"))
    }

    /// The forms that can fit, in the order of cel-go: the first may settle types that a later one then cannot take. Their
    /// results joined.
    pub(super) fn resolve(
        &mut self,
        node: &IdedExpr,
        name: &str,
        style: Style,
        types: &[Type],
    ) -> Result<Resolved, LoadError> {
        let mut found: Option<Resolved> = None;
        for overload in overloads(name, style).filter(|overload| overload.parameters.len() == types.len()) {
            let form = self.types.instance(overload);
            if !self.types.all_fit(types, &form.parameters) {
                continue;
            }
            let result = self.types.resolved(&form.result);
            found = Some(match found {
                None => Resolved {
                    function: overload.function,
                    form: Some(overload.parameters).filter(|_| !overload.function.takes_what_it_can()),
                    result,
                },
                Some(first) => Resolved {
                    result: if first.result == result { result } else { Type::Dyn },
                    form: None,
                    ..first
                },
            });
        }
        found.ok_or_else(|| {
            let types: Vec<_> = types
                .iter()
                .map(|kind| format!("`{}`", self.types.settled(kind)))
                .collect();
            let shown = Shown(name);
            self.error(node, format!("{shown} has no form for {}", types.join(", ")))
        })
    }
}

/// What a call comes to.
pub(super) struct Resolved {
    pub(super) function: Function,
    /// The only form that fits, if what is met must be of its types.
    pub(super) form: Option<&'static [Shape]>,
    pub(super) result: Type,
}

/// A function's or operator's name for a person.
struct Shown<'a>(&'a str);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(name) = self;
        match *name {
            "_[_]" | "_[?_]" => f.write_str("`[…]`"),
            "@in" => f.write_str("`in`"),
            operator => write!(f, "`{}`", operator.trim_matches('_')),
        }
    }
}

fn constant_text(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
