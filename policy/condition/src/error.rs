//! What can be wrong with a condition: at load, told to its author with the place; while evaluating, told by class.
//!
//! Texts name functions, variables and places, never a value: values come from tokens and requests.

use std::sync::Arc;

/// An expression that cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} (line {line}, column {column} of the expression)")]
pub struct LoadError {
    /// Line within the expression, from 1.
    pub line: u32,
    /// Column within that line in characters, from 1.
    pub column: u32,
    /// What is wrong and what would do.
    pub message: String,
    /// Whose the limit is: the language's or ours.
    pub kind: LoadErrorKind,
}

/// Why an expression does not load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadErrorKind {
    /// No expression of the language: syntax, names, types, constants, or one of the limits of size.
    Invalid,
    /// An expression of the language that would not mean here what it means to the API server, or not with certainty. The
    /// message says what to write instead.
    Unsupported,
}

/// An expression that came to no value. A rule that fails so never allows anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (line {line}, column {column} of the expression)")]
pub struct RuntimeError {
    /// Line within the expression, from 1.
    pub line: u32,
    /// Column within that line in characters, from 1.
    pub column: u32,
    /// What went wrong.
    pub fault: Fault,
}

/// The classes of failure while evaluating.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The map has no such key; `has(…)` or `.?` would ask first.
    #[error("no such key; ask with `has(…)` or `.?` first")]
    NoSuchKey,
    /// The list is shorter.
    #[error("index out of range")]
    IndexOutOfRange,
    /// The operands' types do not fit this function or operator.
    #[error("`{0}` has no form for operands of these types")]
    NoSuchOverload(&'static str),
    /// The result does not fit its type.
    #[error("number or time out of range in `{0}`")]
    Overflow(&'static str),
    /// Division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// The argument's content is not what the function reads.
    #[error("`{0}` cannot read its argument")]
    InvalidArgument(&'static str),
    /// `value()` of an empty optional.
    #[error("the optional value is empty; `orValue(…)` gives a default")]
    EmptyOptional,
    /// The same key twice in a map literal.
    #[error("the same key stands twice in a map")]
    DuplicateKey,
    /// A declared variable was not given.
    #[error("variable `{0}` was not given")]
    UnboundVariable(Arc<str>),
    /// More steps than the budget allows.
    #[error("took more than the {0} steps allowed")]
    TooManySteps(u64),
    /// Built more than the budget allows.
    #[error("built more than the {0} bytes allowed")]
    TooManyBytes(u64),
}

impl Fault {
    /// Whether `&&`, `||` and loops must not swallow this failure: a spent budget ends the evaluation.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::TooManySteps(_) | Self::TooManyBytes(_))
    }
}
