//! Conditions written in CEL (Common Expression Language): read, type-checked and bounded at load, evaluated on values.
//!
//! Used for `AccessRule.when`, and for the claim mappings and validation rules of Kubernetes structured authentication.
//! The crate `cel` parses; everything after the syntax tree is ours, because a policy needs three things that no
//! interpreter offered: an error at load, with its place, for every name and type that cannot work; a closed list of
//! functions; and a budget counted while evaluating, so that neither a rule's author nor a token's content can make a
//! decision slow (promise 8). Verdicts follow cel-go as the Kubernetes API server configures it, so that a rule means the
//! same here and there.
//!
//! ```
//! use condition::{Budget, Context, Declarations, Type, Value, compile};
//! let declared = Declarations::new().variable("claims", Type::map(Type::String, Type::Dyn));
//! let program = compile("claims.hd == 'corp.example'", &declared)?;
//! let claims = Value::from_json(&serde_json::json!({"hd": "corp.example"}));
//! let verdict = program.evaluate(&Context::new().with("claims", claims), Budget::default());
//! assert_eq!(verdict, Ok(Value::Bool(true)));
//! # Ok::<(), condition::LoadError>(())
//! ```
//!
//! # What an expression may use
//! - literals, lists, maps, `? :`, `&&`, `||`, `!`, arithmetic, comparison, `in`, `x[i]`, `x.f`, and the optional forms
//!   `x.?f`, `x[?i]`, `[?e]`, `{?k: v}`; no message construction.
//! - macros: `has`, `all`, `exists`, `exists_one`, `map`, `filter`, `optMap`, `optFlatMap`.
//! - functions: exactly the rows of the table in `functions/table.rs`; [`function_names`] lists them.
//! - types as values: `type(x) == string`, with `bool`, `int`, `uint`, `double`, `string`, `bytes`, `list`, `map`,
//!   `null_type`, `type`.
//!
//! Everything else is refused at load, by name.
//!
//! # Limits
//! At load: [`MAX_EXPRESSION_BYTES`], [`MAX_NODES`], [`MAX_DEPTH`], [`MAX_NESTED_LOOPS`]. While evaluating: [`Budget`].
//!
//! # Where it differs from cel-go
//! With [`Declarations::as_kubernetes`], an expression gives the same value, or the same class of error, as in the API
//! server's own environment (1.36), or is refused at load with [`LoadErrorKind::Unsupported`] and what to write instead.
//! `tests/tests/differential_cel.rs` asks both sides: random expressions, tables of corners, and that what is refused is
//! taken there. Refused are:
//! - `claims` and `user` as wholes (looped over, compared, measured): there they have a type of their own and are looped
//!   over by values;
//! - keys of a map literal that are no texts, whole numbers or truth values, or of an unknown type;
//! - addresses where they meet what may be none: wrapped in `dyn(…)`, within an optional value, in a list or map that is
//!   compared with one of unknown type;
//! - several types in one list or map literal;
//! - adding to the variable of `optMap` what may be a list while it has other uses: there, that changes the variable;
//! - the time zone `Local` and offsets beyond 25 hours;
//! - regular expressions with `\B`, with `--` beside a class, or too large.
//!
//! What cannot be the same and is not seen at load:
//! - Maps iterate in key order; there, in the random order of Go's maps.
//! - Such a time zone or regular expression that is no constant, but comes out of a claim, is an error when it is met.
//! - The budget is ours: [`Budget`].
//! - What came out of an optional value by a variable is taken apart with escaped names (`x__dot__y`) in its inner maps,
//!   too; there, Go's values remain, and the names stand for themselves.
//!
//! Without `as_kubernetes`, none of that is refused; a constant that `ip`, `cidr` or a time zone cannot read is; the same
//! key twice in a map literal is an error; and names are never unescaped.

mod beginning;
mod check;
mod declarations;
mod error;
mod escape;
mod evaluate;
mod functions;
mod parse;
mod pattern;
mod program;
mod value;

#[cfg(test)]
mod tests;

pub use declarations::{Declarations, ObjectType, Type};
pub use error::{Fault, LoadError, LoadErrorKind, RuntimeError};
pub use evaluate::{Budget, Context};
pub use functions::function_names;
pub use program::{Program, compile};
pub use value::{Cidr, Map, Value};

/// Longest expression in bytes. Kubernetes' own examples stay under 300.
pub const MAX_EXPRESSION_BYTES: usize = 8 * 1024;
/// Most nodes that a checked expression may have.
pub const MAX_NODES: usize = 2_000;
/// Deepest nesting of a checked expression; keeps recursion far from any stack's end.
pub const MAX_DEPTH: usize = 100;
/// Most comprehensions inside one another.
pub const MAX_NESTED_LOOPS: usize = 4;
