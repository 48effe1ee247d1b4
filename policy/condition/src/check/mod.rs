//! From syntax tree to program: every name known, every type able to fit, every limit kept.

mod beyond;
mod calls;
mod constants;
mod loops;
mod unify;

use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr};

use crate::escape;
use crate::parse::Places;
use crate::program::{Kind, Node, Program};
use crate::{Declarations, LoadError, LoadErrorKind, MAX_DEPTH, MAX_NODES, Type, Value};
use unify::Parameters;

/// Names of types that may stand as values.
const TYPE_NAMES: [&str; 10] = [
    "bool",
    "int",
    "uint",
    "double",
    "string",
    "bytes",
    "list",
    "map",
    "null_type",
    "type",
];

pub(crate) struct Checker<'a> {
    source: &'a str,
    declarations: &'a Declarations,
    places: &'a Places,
    /// Variables of loops and of `optMap` in scope, outermost first.
    locals: Vec<Local>,
    nodes: usize,
    depth: usize,
    loops: usize,
    mentions: Vec<(String, String)>,
    used: Vec<Arc<str>>,
    types: Parameters,
    /// What the literals hold: one type each once all types are settled.
    literals: Vec<Literal>,
    /// What variables of loops hold, where they are used.
    uses: Literal,
}

/// A variable of a loop or of `optMap`.
struct Local {
    name: String,
    kind: Type,
    /// How many loops there are around it.
    loops: usize,
    /// How often it was used.
    uses: usize,
    /// Whether something was added to it that may be a list; and whether in a loop of its body.
    added: Option<bool>,
}

/// Places and types of a list's elements, of a map's keys or of its values.
type Literal = Vec<(u32, u32, Type)>;

type Checked = Result<(Node, Type), LoadError>;

impl<'a> Checker<'a> {
    pub(crate) fn new(source: &'a str, declarations: &'a Declarations, places: &'a Places) -> Self {
        Self {
            source,
            declarations,
            places,
            locals: Vec::new(),
            nodes: 0,
            depth: 0,
            loops: 0,
            mentions: Vec::new(),
            used: Vec::new(),
            types: Parameters::default(),
            literals: Vec::new(),
            uses: Vec::new(),
        }
    }

    pub(crate) fn program(mut self, root: &IdedExpr) -> Result<Program, LoadError> {
        let (root, result) = self.expression(root)?;
        self.check_literals()?;
        self.check_variables()?;
        Ok(Program {
            root,
            result: self.types.settled(&result),
            names: self.declarations.names().map(Arc::clone).collect(),
            source: Arc::from(self.source),
            mentions: self.mentions,
            used: self.used,
            as_kubernetes: self.declarations.is_kubernetes(),
        })
    }

    fn declare(&mut self, name: &str, kind: Type) {
        self.locals.push(Local {
            name: name.to_owned(),
            kind,
            loops: self.loops,
            uses: 0,
            added: None,
        });
    }

    fn error(&self, node: &IdedExpr, message: impl Into<String>) -> LoadError {
        let (line, column) = self.places.of(node.id, self.source);
        LoadError {
            line,
            column,
            message: message.into(),
            kind: LoadErrorKind::Invalid,
        }
    }

    /// What the API server takes and we do not.
    fn unsupported(&self, node: &IdedExpr, message: impl Into<String>) -> LoadError {
        LoadError {
            kind: LoadErrorKind::Unsupported,
            ..self.error(node, message)
        }
    }

    /// Whether this name stands where the node starts, or right before its parenthesis.
    fn is_written(&self, node: &IdedExpr, name: &str) -> bool {
        let (before, after) = self.places.around(node.id, self.source);
        before.trim_end().ends_with(name) || after.trim_start_matches(['.', ' ']).starts_with(name)
    }

    fn node(&self, node: &IdedExpr, kind: Kind) -> Node {
        let (line, column) = self.places.of(node.id, self.source);
        Node { line, column, kind }
    }

    /// A value that is handed on.
    fn expression(&mut self, node: &IdedExpr) -> Checked {
        let (checked, kind) = self.operand(node)?;
        self.not_a_whole(node, &checked, &kind)?;
        Ok((checked, kind))
    }

    /// A value of which a member may be asked for.
    fn operand(&mut self, node: &IdedExpr) -> Checked {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(self.error(
                node,
                format!("an expression has at most {MAX_NODES} parts; split the rule"),
            ));
        }
        if self.depth >= MAX_DEPTH {
            return Err(self.error(
                node,
                format!("an expression is nested at most {MAX_DEPTH} deep; use a list and `in`"),
            ));
        }
        self.depth += 1;
        let checked = self.kind(node);
        self.depth -= 1;
        match checked {
            Ok((_, kind)) if self.types.too_much(&kind) => {
                Err(self.error(node, "its type is too large to be checked; split the rule"))
            }
            Ok((checked, kind)) => {
                self.no_optional_address(node, &kind)?;
                Ok((checked, kind))
            }
            refused => refused,
        }
    }

    fn kind(&mut self, node: &IdedExpr) -> Checked {
        match &node.expr {
            Expr::Literal(literal) => Ok(self.literal(node, literal)),
            Expr::Ident(name) => self.identifier(node, name),
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => self.list(node, list),
            Expr::Map(map) => self.map(node, map),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension),
            Expr::Struct(object) => Err(self.error(
                node,
                format!(
                    "messages such as `{}` cannot be built here; use a map",
                    object.type_name
                ),
            )),
            Expr::Unspecified => Err(self.error(node, "not a CEL expression")),
        }
    }

    fn literal(&self, node: &IdedExpr, literal: &LiteralValue) -> (Node, Type) {
        let (value, kind) = match literal {
            LiteralValue::Boolean(value) => (Value::Bool(*value.inner()), Type::Bool),
            LiteralValue::Bytes(value) => (Value::Bytes(Arc::from(value.inner())), Type::Bytes),
            LiteralValue::Double(value) => (Value::Double(*value.inner()), Type::Double),
            LiteralValue::Int(value) => (Value::Int(*value.inner()), Type::Int),
            LiteralValue::Null => (Value::Null, Type::Null),
            LiteralValue::String(value) => (Value::text(value.inner()), Type::String),
            LiteralValue::UInt(value) => (Value::Uint(*value.inner()), Type::Uint),
        };
        (self.node(node, Kind::Literal(value)), kind)
    }

    fn identifier(&mut self, node: &IdedExpr, name: &str) -> Checked {
        if let Some((depth, local)) = self
            .locals
            .iter_mut()
            .enumerate()
            .rfind(|(_, local)| local.name == name)
        {
            local.uses += 1;
            let kind = local.kind.clone();
            self.value_of_variable(node, &kind);
            return Ok((self.node(node, Kind::Local(depth)), kind));
        }
        if let Some((slot, kind)) = self.declarations.find(name) {
            let kind = kind.clone();
            if !self.used.iter().any(|used| &**used == name) {
                self.used.push(Arc::from(name));
            }
            return Ok((self.node(node, Kind::Variable(slot)), kind));
        }
        if let Some(known) = TYPE_NAMES.iter().find(|known| **known == name) {
            return Ok((self.node(node, Kind::Literal(Value::Type(known))), Type::Type));
        }
        let declared: Vec<_> = self.declarations.names().map(|name| format!("`{name}`")).collect();
        Err(self.error(
            node,
            format!("no variable is called `{name}`; there are {}", declared.join(", ")),
        ))
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Checked {
        if let Some(name) = self.type_with_dots(select) {
            return Ok((self.node(node, Kind::Literal(Value::Type(name))), Type::Type));
        }
        self.mention(&select.operand, &select.field);
        let (operand, operand_type) = self.operand(&select.operand)?;
        let field: Arc<str> = Arc::from(select.field.as_str());
        let kind = self.field_type(node, &operand_type, &field)?;
        let operand = Box::new(operand);
        if select.test {
            return Ok((self.node(node, Kind::Has { operand, field }), Type::Bool));
        }
        Ok((
            self.node(
                node,
                Kind::Select {
                    operand,
                    field,
                    optional: false,
                },
            ),
            kind,
        ))
    }

    /// `google.protobuf.Timestamp` and `google.protobuf.Duration`, what `type(…)` gives for times.
    fn type_with_dots(&self, select: &SelectExpr) -> Option<&'static str> {
        let Expr::Select(inner) = &select.operand.expr else {
            return None;
        };
        let Expr::Ident(root) = &inner.operand.expr else {
            return None;
        };
        let hidden = self.declarations.find(root).is_some() || self.locals.iter().any(|local| local.name == *root);
        match (root.as_str(), inner.field.as_str(), select.field.as_str()) {
            _ if hidden || select.test || inner.test => None,
            ("google", "protobuf", "Timestamp") => Some("google.protobuf.Timestamp"),
            ("google", "protobuf", "Duration") => Some("google.protobuf.Duration"),
            _ => None,
        }
    }

    /// Type of a field, or an error that names what there is. A field of an optional value is optional.
    fn field_type(&mut self, node: &IdedExpr, operand: &Type, field: &str) -> Result<Type, LoadError> {
        match self.types.resolved(operand) {
            Type::Optional(inner) => self.plain_field_type(node, &inner, field).map(Type::optional),
            plain => self.plain_field_type(node, &plain, field),
        }
    }

    fn plain_field_type(&mut self, node: &IdedExpr, operand: &Type, field: &str) -> Result<Type, LoadError> {
        match operand {
            Type::Dyn | Type::Any => Ok(Type::Dyn),
            Type::Parameter(_) => {
                self.types.fits(&Type::Dyn, operand);
                Ok(Type::Dyn)
            }
            Type::Map(_, value) => Ok((**value).clone()),
            Type::Object(object) => object.field(field).cloned().ok_or_else(|| {
                let known: Vec<_> = object.field_names().map(|name| format!("`{name}`")).collect();
                self.error(
                    node,
                    format!("`{operand}` has no field `{field}`; it has {}", known.join(", ")),
                )
            }),
            other => Err(self.error(node, format!("a value of type `{other}` has no fields (`.{field}`)"))),
        }
    }

    fn mention(&mut self, operand: &IdedExpr, field: &str) {
        if let Expr::Ident(variable) = &operand.expr {
            self.mentions.push((variable.clone(), self.unescape(field)));
        }
    }

    fn unescape(&self, name: &str) -> String {
        if self.declarations.is_kubernetes() {
            escape::plain(name).unwrap_or_else(|| name.to_owned())
        } else {
            name.to_owned()
        }
    }

    fn list(&mut self, node: &IdedExpr, list: &ListExpr) -> Checked {
        let mut items = Vec::with_capacity(list.elements.len());
        let mut elements = Elements::default();
        for (position, item) in list.elements.iter().enumerate() {
            let optional = list.optional_indices.contains(&position);
            let (checked, kind) = self.expression(item)?;
            self.element(item, &mut elements, kind, optional)?;
            items.push((checked, optional));
        }
        let kind = Type::list(self.one_type(elements));
        Ok((self.node(node, Kind::List(items)), kind))
    }

    fn map(&mut self, node: &IdedExpr, map: &MapExpr) -> Checked {
        let mut entries = Vec::with_capacity(map.entries.len());
        let (mut keys, mut values) = (Elements::default(), Elements::default());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(self.error(node, "messages cannot be built here; use a map"));
            };
            let (key, kind) = self.expression(&entry.key)?;
            self.element(&entry.key, &mut keys, kind, false)?;
            let (value, kind) = self.expression(&entry.value)?;
            self.element(&entry.value, &mut values, kind, entry.optional)?;
            entries.push((key, value, entry.optional));
        }
        let keys = self.one_type(keys);
        self.plain_keys(node, &keys)?;
        let kind = Type::map(keys, self.one_type(values));
        Ok((self.node(node, Kind::Map(entries)), kind))
    }

    /// Elements of one literal have one type, as the API server demands.
    fn element(
        &mut self,
        node: &IdedExpr,
        elements: &mut Elements,
        kind: Type,
        optional: bool,
    ) -> Result<(), LoadError> {
        let kind = match kind {
            Type::Optional(inner) if optional => *inner,
            other if optional => {
                return Err(self.error(node, format!("`?` takes an optional value here, not `{other}`")));
            }
            plain => plain,
        };
        let (line, column) = self.places.of(node.id, self.source);
        elements.met.push((line, column, kind.clone()));
        elements.general = Some(match elements.general.take() {
            None => kind,
            Some(first) if self.types.fits(&first, &kind) => unify::general(first, kind),
            Some(first) => {
                let (first, kind) = (self.types.settled(&first), self.types.settled(&kind));
                return Err(self.error(node, Self::different(&first, &kind)));
            }
        });
        Ok(())
    }

    fn one_type(&mut self, elements: Elements) -> Type {
        self.literals.push(elements.met);
        elements.general.unwrap_or_else(|| self.types.fresh())
    }

    fn different(first: &Type, other: &Type) -> String {
        format!("elements of types `{first}` and `{other}` in one literal; wrap each in `dyn(…)`")
    }

    /// Once all types are settled, those within a literal are the same; `dyn` too is a type of its own here.
    fn check_literals(&mut self) -> Result<(), LoadError> {
        for literal in std::mem::take(&mut self.literals) {
            let mut first: Option<Type> = None;
            for (line, column, kind) in literal {
                let kind = self.types.settled(&kind);
                let Some(expected) = &first else {
                    first = Some(kind);
                    continue;
                };
                let (message, kind) = if *expected != kind {
                    (Self::different(expected, &kind), LoadErrorKind::Invalid)
                } else if self.declarations.is_kubernetes() && beyond::holds_types(&kind) {
                    let message = "several types in one literal are not supported here; compare with each by `==`";
                    (message.to_owned(), LoadErrorKind::Unsupported)
                } else {
                    continue;
                };
                return Err(LoadError {
                    line,
                    column,
                    message,
                    kind,
                });
            }
        }
        Ok(())
    }
}

/// Of a list, of a map's keys or of its values: what was met, and the most general type of it.
#[derive(Default)]
struct Elements {
    met: Literal,
    general: Option<Type>,
}
