//! The parser expands its macros into folds; here they become loops again, so that each has one type rule.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, operators};

use super::{Checked, Checker};
use crate::functions::Style;
use crate::program::{Kind, Loop, LoopKind, Node};
use crate::{LoadError, MAX_NESTED_LOOPS, Type};

/// The parts of an expanded macro.
enum Shape<'e> {
    All(&'e IdedExpr),
    Exists(&'e IdedExpr),
    ExistsOne(&'e IdedExpr),
    Transform {
        filter: Option<&'e IdedExpr>,
        body: &'e IdedExpr,
    },
}

impl Checker<'_> {
    pub(super) fn comprehension(&mut self, node: &IdedExpr, comprehension: &ComprehensionExpr) -> Checked {
        let (range, element) = self.range(&comprehension.iter_range)?;
        if self.loops >= MAX_NESTED_LOOPS {
            return Err(self.error(node, format!("at most {MAX_NESTED_LOOPS} loops inside one another")));
        }
        let Some(shape) = shape(comprehension) else {
            return Err(self.error(node, "this macro is not supported"));
        };
        if self.declarations.is_kubernetes()
            && matches!(shape, Shape::ExistsOne(_))
            && self.is_written(node, "existsOne")
        {
            return Err(self.error(node, "there is no macro `existsOne`; it is `exists_one`"));
        }
        self.loops += 1;
        self.declare(&comprehension.iter_var, element);
        let checked = self.body(&shape);
        self.locals.pop();
        self.loops -= 1;
        let (kind, body, result) = checked?;
        Ok((
            self.node(node, Kind::Loop(Box::new(Loop { kind, range, body }))),
            result,
        ))
    }

    /// What is looped over, and the type of what the variable holds: elements of a list, keys of a map.
    fn range(&mut self, range: &IdedExpr) -> Checked {
        let (checked, kind) = self.expression(range)?;
        let element = match self.types.resolved(&kind) {
            Type::List(element) => *element,
            Type::Map(key, _) => *key,
            Type::Dyn => Type::Dyn,
            open @ Type::Parameter(_) => {
                self.types.fits(&Type::Dyn, &open);
                Type::Dyn
            }
            Type::Any => return Err(self.error(range, "its type is not known; loop over `dyn(…)` of it")),
            other => return Err(self.error(range, format!("only lists and maps can be looped over, not `{other}`"))),
        };
        Ok((checked, element))
    }

    fn body(&mut self, shape: &Shape<'_>) -> Result<(LoopKind, Node, Type), LoadError> {
        Ok(match shape {
            Shape::All(body) => (LoopKind::All, self.condition(body)?, Type::Bool),
            Shape::Exists(body) => (LoopKind::Exists, self.condition(body)?, Type::Bool),
            Shape::ExistsOne(body) => (LoopKind::ExistsOne, self.condition(body)?, Type::Bool),
            Shape::Transform { filter, body } => {
                let result = Type::list(self.types.fresh());
                let filter = filter.map(|filter| self.condition(filter)).transpose()?;
                let (checked, kind) = self.expression(body)?;
                // What the parser makes of the macro: an empty list to which lists of one element are added.
                let sum = self.resolve(body, operators::ADD, Style::Global, &[result.clone(), Type::list(kind)])?;
                self.types.fits(&result, &sum.result);
                (LoopKind::Transform(filter), checked, self.types.resolved(&result))
            }
        })
    }

    /// An expression that must be true or false.
    pub(super) fn condition(&mut self, node: &IdedExpr) -> Result<Node, LoadError> {
        let (checked, kind) = self.expression(node)?;
        self.must_be_bool(node, &kind)?;
        Ok(checked)
    }

    pub(super) fn must_be_bool(&mut self, node: &IdedExpr, kind: &Type) -> Result<(), LoadError> {
        if self.types.fits(kind, &Type::Bool) {
            return Ok(());
        }
        Err(self.error(node, format!("must be true or false, is `{kind}`")))
    }
}

fn shape(comprehension: &ComprehensionExpr) -> Option<Shape<'_>> {
    if comprehension.iter_var2.is_some() {
        return None;
    }
    let Expr::Call(step) = &comprehension.loop_step.expr else {
        return None;
    };
    match (step.func_name.as_str(), step.args.as_slice()) {
        (operators::LOGICAL_AND, [_, body]) => Some(Shape::All(body)),
        (operators::LOGICAL_OR, [_, body]) => Some(Shape::Exists(body)),
        (operators::ADD, _) => Some(Shape::Transform {
            filter: None,
            body: appended(step)?,
        }),
        (operators::CONDITIONAL, [filter, then, _]) => conditional(filter, then),
        _ => None,
    }
}

fn conditional<'e>(filter: &'e IdedExpr, then: &'e IdedExpr) -> Option<Shape<'e>> {
    let Expr::Call(step) = &then.expr else {
        return None;
    };
    match appended(step) {
        Some(body) => Some(Shape::Transform {
            filter: Some(filter),
            body,
        }),
        None => Some(Shape::ExistsOne(filter)),
    }
}

/// The one element of `@result + [element]`.
fn appended(step: &CallExpr) -> Option<&IdedExpr> {
    match step.args.as_slice() {
        [
            _,
            IdedExpr {
                expr: Expr::List(list), ..
            },
        ] => list.elements.first(),
        _ => None,
    }
}
