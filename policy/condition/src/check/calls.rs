//! Calls and operators: which form fits the operands' types.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};

use super::{Checked, Checker};
use crate::functions::{Function, Overload, Shape, Style, overloads};
use crate::program::Kind;
use crate::{LoadError, Type};

impl Checker<'_> {
    pub(super) fn call(&mut self, node: &IdedExpr, call: &CallExpr) -> Checked {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [left, right]) => {
                let sides = Box::new([self.condition(left)?, self.condition(right)?]);
                Ok((self.node(node, Kind::And(sides)), Type::Bool))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                let sides = Box::new([self.condition(left)?, self.condition(right)?]);
                Ok((self.node(node, Kind::Or(sides)), Type::Bool))
            }
            (operators::CONDITIONAL, [condition, yes, no]) => self.conditional(node, condition, yes, no),
            (operators::OPT_SELECT, [operand, field]) => self.optional_select(node, operand, field),
            ("optMap" | "optFlatMap", [variable, body]) => self.optional_map(node, call, variable, body),
            _ => self.function(node, call),
        }
    }

    fn conditional(&mut self, node: &IdedExpr, condition: &IdedExpr, yes: &IdedExpr, no: &IdedExpr) -> Checked {
        let condition = self.condition(condition)?;
        let (yes, yes_type) = self.expression(yes)?;
        let (no_place, (no, no_type)) = (no, self.expression(no)?);
        if !yes_type.fits(&no_type) {
            let message = format!("the branches have different types, `{yes_type}` and `{no_type}`");
            return Err(self.error(no_place, message));
        }
        let result = join(yes_type, &no_type);
        Ok((
            self.node(node, Kind::Conditional(Box::new([condition, yes, no]))),
            result,
        ))
    }

    fn optional_select(&mut self, node: &IdedExpr, operand: &IdedExpr, field: &IdedExpr) -> Checked {
        let Some(name) = constant_text(field) else {
            return Err(self.error(field, "a field's name stands behind `.?`"));
        };
        self.mention(operand, name);
        let (operand, operand_type) = self.expression(operand)?;
        let field = self.unescape(name).into();
        let kind = match self.field_type(node, &operand_type, name)? {
            already @ Type::Optional(_) if matches!(operand_type, Type::Optional(_)) => already,
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
        let inner = self.inside_optional(place, kind)?;
        self.locals.push((variable.clone(), inner));
        let checked = self.expression(body);
        self.locals.pop();
        let (checked, body_type) = checked?;
        let result = match (flat, body_type) {
            (false, kind) => Type::optional(kind),
            (true, kind @ (Type::Optional(_) | Type::Dyn | Type::Any | Type::Open)) => kind,
            (true, other) => return Err(self.error(body, format!("must be an optional value, is `{other}`"))),
        };
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
        for argument in target.into_iter().chain(&call.args) {
            let (checked, kind) = self.expression(argument)?;
            arguments.push(checked);
            types.push(kind);
        }
        let (function, result) = self.resolve(node, &name, style, &types)?;
        let kind = self.finish(node, function, arguments)?;
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
            && !self.locals.iter().any(|(local, _)| local == space)
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

    /// The forms that can fit; their results joined.
    fn resolve(
        &self,
        node: &IdedExpr,
        name: &str,
        style: Style,
        types: &[Type],
    ) -> Result<(Function, Type), LoadError> {
        let mut found: Option<(Function, Type)> = None;
        for overload in overloads(name, style) {
            if let Some(result) = matching(overload, types) {
                found = Some(match found {
                    None => (overload.function, result),
                    Some((function, known)) if known == result && !result.is_open() => (function, known),
                    Some((function, _)) => (function, Type::Dyn),
                });
            }
        }
        found.ok_or_else(|| {
            let types: Vec<_> = types.iter().map(|kind| format!("`{kind}`")).collect();
            let shown = Shown(name);
            self.error(node, format!("{shown} has no form for {}", types.join(", ")))
        })
    }
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

/// The more general of two types that fit one another.
pub(super) fn join(a: Type, b: &Type) -> Type {
    match (a, b) {
        (Type::Open, other) => other.clone(),
        (known, Type::Open) => known,
        (_, general @ (Type::Dyn | Type::Any)) => general.clone(),
        (known @ (Type::Dyn | Type::Any), _) => known,
        (Type::Null, other) => other.clone(),
        (known, Type::Null) => known,
        (Type::List(a), Type::List(b)) => Type::list(join(*a, b)),
        (Type::Map(a_key, a), Type::Map(b_key, b)) => Type::map(join(*a_key, b_key), join(*a, b)),
        (Type::Optional(a), Type::Optional(b)) => Type::optional(join(*a, b)),
        (a, b) if a == *b => a,
        _ => Type::Dyn,
    }
}

/// The result of a form applied to these types; `None` when it does not fit.
fn matching(overload: &Overload, types: &[Type]) -> Option<Type> {
    if overload.parameters.len() != types.len() {
        return None;
    }
    let mut bound = Bound::default();
    for (shape, kind) in overload.parameters.iter().zip(types) {
        if !bound.accepts(shape, kind) {
            return None;
        }
    }
    Some(bound.result(&overload.result))
}

/// What `A` and `B` stand for in one use of a form.
#[derive(Default)]
struct Bound {
    a: Option<Type>,
    b: Option<Type>,
}

impl Bound {
    fn accepts(&mut self, shape: &Shape, kind: &Type) -> bool {
        match (shape, kind) {
            (Shape::A, kind) => bind(&mut self.a, kind),
            (Shape::B, kind) => bind(&mut self.b, kind),
            (_, Type::Dyn | Type::Any | Type::Open) | (Shape::Dyn, _) | (Shape::Optional(_), Type::Null) => true,
            (Shape::List(element), Type::List(kind)) => self.accepts(element, kind),
            (Shape::Map(key, value), Type::Map(key_type, value_type)) => {
                self.accepts(key, key_type) && self.accepts(value, value_type)
            }
            (Shape::Optional(inner), Type::Optional(kind)) => self.accepts(inner, kind),
            (simple, kind) => simple_type(simple).is_some_and(|wanted| kind.fits(&wanted)),
        }
    }

    fn result(&self, shape: &Shape) -> Type {
        match shape {
            Shape::A => self.a.clone().unwrap_or(Type::Open),
            Shape::B => self.b.clone().unwrap_or(Type::Open),
            Shape::List(element) => Type::list(self.result(element)),
            Shape::Map(key, value) => Type::map(self.result(key), self.result(value)),
            Shape::Optional(inner) => Type::optional(self.result(inner)),
            simple => simple_type(simple).unwrap_or(Type::Dyn),
        }
    }
}

fn bind(slot: &mut Option<Type>, kind: &Type) -> bool {
    match slot.take() {
        None => {
            *slot = Some(kind.clone());
            true
        }
        Some(known) => {
            let fits = known.fits(kind);
            *slot = Some(join(known, kind));
            fits
        }
    }
}

fn simple_type(shape: &Shape) -> Option<Type> {
    Some(match shape {
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
        Shape::Dyn => Type::Dyn,
        Shape::A | Shape::B | Shape::List(_) | Shape::Map(..) | Shape::Optional(_) => return None,
    })
}
