//! The checked form of an expression: names are slots, functions are known, patterns are compiled.

use std::sync::Arc;

use crate::beginning;
use crate::check::Checker;
use crate::functions::{Function, Shape};
use crate::pattern::Pattern;
use crate::{Budget, Context, Declarations, LoadError, RuntimeError, Type, Value, evaluate, parse};

/// A checked expression, ready to evaluate any number of times, by any number of threads.
#[derive(Debug)]
pub struct Program {
    pub(crate) root: Node,
    pub(crate) result: Type,
    pub(crate) names: Vec<Arc<str>>,
    pub(crate) source: Arc<str>,
    pub(crate) mentions: Vec<(String, String)>,
    pub(crate) used: Vec<Arc<str>>,
    /// Whether it is evaluated as the API server would: names unescaped, optional values handed on as in Go.
    pub(crate) as_kubernetes: bool,
}

/// Reads and checks an expression.
///
/// # Errors
/// Syntax, an undeclared name, a function outside the list, types that can never fit, a constant that its function
/// cannot read, or one of the limits named in the crate's documentation; with the place.
pub fn compile(source: &str, declarations: &Declarations) -> Result<Program, LoadError> {
    let parsed = parse::parse(source)?;
    Checker::new(source, declarations, &parsed.places).program(&parsed.root)
}

impl Program {
    /// Type of the result as far as known at load.
    #[must_use]
    pub fn result_type(&self) -> &Type {
        &self.result
    }

    /// The expression as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the expression selects this field of this variable by a constant name (`v.f`, `v.?f`, `has(v.f)`,
    /// `v["f"]`). Kubernetes asks so whether `claims.email_verified` is used at all.
    #[must_use]
    pub fn mentions(&self, variable: &str, field: &str) -> bool {
        self.mentions
            .iter()
            .any(|(known, selected)| known == variable && selected == field)
    }

    /// The text with which every text that the expression can give begins, as far as it can be read off the expression;
    /// empty when nothing is certain. For a list, that of all its elements. An empty text counts as none.
    #[must_use]
    pub fn beginning(&self) -> String {
        beginning::of(&self.root)
    }

    /// The declared variables that the expression uses.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.used.iter().map(|name| &**name)
    }

    /// Evaluates within a budget.
    ///
    /// # Errors
    /// Any [`crate::Fault`], with its place in the expression. An error is never a verdict: the caller refuses.
    pub fn evaluate(&self, context: &Context, mut budget: Budget) -> Result<Value, RuntimeError> {
        evaluate::evaluate(self, context, &mut budget)
    }

    /// Evaluates within what is left of a budget that several programs share.
    ///
    /// # Errors
    /// As [`Program::evaluate`].
    pub fn evaluate_sharing(&self, context: &Context, left: &mut Budget) -> Result<Value, RuntimeError> {
        evaluate::evaluate(self, context, left)
    }
}

/// A node and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) kind: Kind,
}

impl Node {
    /// Whether it asks for a member of something.
    pub(crate) fn is_member(&self) -> bool {
        match &self.kind {
            Kind::Select { .. } => true,
            Kind::Call { function, .. } => matches!(function, Function::Index | Function::OptionalIndex),
            _ => false,
        }
    }
}

/// What a node does.
#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Value),
    /// A declared variable: index into the program's names.
    Variable(usize),
    /// A loop's or `optMap`'s variable: distance from the bottom of the local stack.
    Local(usize),
    Select {
        operand: Box<Node>,
        field: Arc<str>,
        optional: bool,
    },
    Has {
        operand: Box<Node>,
        field: Arc<str>,
    },
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    Conditional(Box<[Node; 3]>),
    /// Elements, and whether each is optional (`?e`).
    List(Vec<(Node, bool)>),
    /// Keys, values, and whether each entry is optional.
    Map(Vec<(Node, Node, bool)>),
    Loop(Box<Loop>),
    /// `target.optMap(v, body)`; `flat` when the body itself gives an optional.
    OptionalMap {
        target: Box<Node>,
        body: Box<Node>,
        flat: bool,
    },
    /// `a.or(b)` and `a.orValue(b)`: the second only when the first is empty.
    OptionalOr {
        sides: Box<[Node; 2]>,
        unwraps: bool,
    },
    /// `target.matches(constant)`, `target.find(constant)`, `target.findAll(constant, limit)`.
    Search {
        function: Function,
        target: Box<Node>,
        pattern: Pattern,
        limit: Option<Box<Node>>,
    },
    /// `item in constants`.
    Among {
        item: Box<Node>,
        constants: Vec<Value>,
    },
    Call {
        function: Function,
        arguments: Vec<Node>,
        /// The only form that fits, where its types are to be kept also by what is met.
        form: Option<&'static [Shape]>,
    },
}

/// A comprehension.
#[derive(Debug)]
pub(crate) struct Loop {
    pub(crate) kind: LoopKind,
    pub(crate) range: Node,
    pub(crate) body: Node,
}

/// The macros that loop.
#[derive(Debug)]
pub(crate) enum LoopKind {
    All,
    Exists,
    ExistsOne,
    /// `map` and `filter`: elements that pass the condition are replaced by the body.
    Transform(Option<Node>),
}
