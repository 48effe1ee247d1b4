//! Text to syntax tree, by the crate `cel`, with the places that its parser keeps only when it fails.

use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::SourceInfo;
use cel::parser::{ParseErrors, PrattParser};

use crate::{LoadError, LoadErrorKind, MAX_EXPRESSION_BYTES, MAX_NODES};

/// A syntax tree with the places of its nodes.
pub(crate) struct Parsed {
    pub(crate) root: IdedExpr,
    pub(crate) places: Places,
}

/// Where each node stands in the source.
pub(crate) struct Places {
    info: Option<Arc<SourceInfo>>,
}

impl Places {
    /// Line and column, both from 1.
    pub(crate) fn of(&self, node: u64, source: &str) -> (u32, u32) {
        place(source, self.offset(node))
    }

    /// The source before and from the place on.
    pub(crate) fn around<'s>(&self, node: u64, source: &'s str) -> (&'s str, &'s str) {
        source.split_at_checked(self.offset(node)).unwrap_or((source, ""))
    }

    fn offset(&self, node: u64) -> usize {
        let found = self.info.as_ref().and_then(|info| info.offset_for(node));
        found.map_or(0, |(start, _)| usize::try_from(start).unwrap_or(0))
    }
}

/// Reads one expression.
///
/// # Errors
/// Too long, or no CEL.
pub(crate) fn parse(source: &str) -> Result<Parsed, LoadError> {
    if source.len() > MAX_EXPRESSION_BYTES {
        return Err(at_start(format!(
            "an expression has at most {MAX_EXPRESSION_BYTES} bytes, this one {}",
            source.len()
        )));
    }
    if source.trim().is_empty() {
        return Err(at_start("the expression is empty".to_owned()));
    }
    let root = parser().parse(source).map_err(|errors| first_error(&errors, source))?;
    Ok(Parsed {
        root,
        places: Places { info: places(source) },
    })
}

fn parser() -> PrattParser {
    // The recursion limit is the parser's own guard; depth of the checked tree is limited again by `MAX_DEPTH`.
    PrattParser::new()
        .max_recursion_depth(64)
        .max_expression_node_count(MAX_NODES)
        .enable_optional_syntax(true)
}

/// The parser numbers nodes as it meets them and gives the places only together with an error. So the text is read once
/// more with a closing parenthesis too many behind it: the nodes before get the same numbers.
fn places(source: &str) -> Option<Arc<SourceInfo>> {
    let errors = parser().parse(&format!("{source}\n)")).err()?;
    errors.errors.into_iter().find_map(|error| error.source_info)
}

fn first_error(errors: &ParseErrors, source: &str) -> LoadError {
    let Some(error) = errors.errors.first() else {
        return at_start("not a CEL expression".to_owned());
    };
    let line = u32::try_from(error.pos.0).unwrap_or(1).max(1);
    let column = u32::try_from(error.pos.1).unwrap_or(1).max(1);
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg).trim();
    debug_assert!(source.len() <= MAX_EXPRESSION_BYTES);
    LoadError {
        line,
        column,
        message: format!("not a CEL expression: {message}"),
        kind: LoadErrorKind::Invalid,
    }
}

fn at_start(message: String) -> LoadError {
    LoadError {
        line: 1,
        column: 1,
        message,
        kind: LoadErrorKind::Invalid,
    }
}

fn place(source: &str, offset: usize) -> (u32, u32) {
    let before = source.get(..offset).unwrap_or(source);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}
