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
//! With [`Declarations::as_kubernetes`], random expressions on one token give the same value, or the same class of error,
//! as the API server's own environment (1.36); `tests/tests/differential_cel.rs` asks both sides and knows these kinds of
//! difference, which stay:
//! - Maps iterate in key order (there: random); their keys are texts, truth values and whole numbers, `1` and `1u` being
//!   one key. `claims` and `user` themselves are looped over by their names (there: by their values).
//! - The element type of `[]` and `{}` is settled where it meets another type, not by how it is used later
//!   (`[].map(x, x != 'a', x)`, `{}.a`).
//! - A function met with a value of a type other than its argument's declared one takes any of its forms, and an optional or
//!   a type wrapped in `dyn(…)` is not taken for the text that it holds or is named by.
//! - Constants are not folded at load: a part made of constants that cannot be folded there, or changes by being folded
//!   (a type or an address as result of `optMap` or `map`), loads here and is evaluated like everything else.
//! - A point in time forgets the offset it was written with: `string(…)` of it is in UTC.
//! - A double and a whole number beyond 2^53 are compared exactly (there: as doubles).
//! - A double that lies exactly between two shortest decimals may be printed as the other one.
//! - An address compared with what is none fails also where it is wrapped in `dyn(…)`.
//! - An empty list or map of the input is a zero value to `optional.ofNonZeroValue`.
//! - `double("0x1p3")` and `double("1_0")` are refused, and so are `\B` and `--` within a class of a regular expression.
//! - The time zone `Local` is none, and the year 10000 does not begin anywhere earlier than in UTC.
//! - `existsOne` is another name of `exists_one`.
//!
//! Without it, a constant that `ip`, `cidr` or a time zone cannot read is refused at load as well.

mod beginning;
mod check;
mod declarations;
mod error;
mod evaluate;
mod functions;
mod parse;
mod pattern;
mod program;
mod value;

#[cfg(test)]
mod tests;

pub use declarations::{Declarations, ObjectType, Type};
pub use error::{Fault, LoadError, RuntimeError};
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
