//! From syntax tree to program: every name known, every type able to fit, every limit kept.

mod calls;
mod constants;
mod loops;

use std::sync::Arc;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr};

use crate::parse::Places;
use crate::program::{Kind, Node, Program};
use crate::{Declarations, LoadError, MAX_DEPTH, MAX_NODES, Type, Value};

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
    /// Loop variables in scope, outermost first.
    locals: Vec<(String, Type)>,
    nodes: usize,
    depth: usize,
    loops: usize,
    mentions: Vec<(String, String)>,
    used: Vec<Arc<str>>,
}

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
        }
    }

    pub(crate) fn program(mut self, root: &IdedExpr) -> Result<Program, LoadError> {
        let (root, result) = self.expression(root)?;
        Ok(Program {
            root,
            result: result.settled(),
            names: self.declarations.names().map(Arc::clone).collect(),
            source: Arc::from(self.source),
            mentions: self.mentions,
            used: self.used,
        })
    }

    fn error(&self, node: &IdedExpr, message: impl Into<String>) -> LoadError {
        let (line, column) = self.places.of(node.id, self.source);
        LoadError {
            line,
            column,
            message: message.into(),
        }
    }

    fn node(&self, node: &IdedExpr, kind: Kind) -> Node {
        let (line, column) = self.places.of(node.id, self.source);
        Node { line, column, kind }
    }

    fn expression(&mut self, node: &IdedExpr) -> Checked {
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
        checked
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
        if let Some(depth) = self.locals.iter().rposition(|(local, _)| local == name) {
            let kind = self.locals.get(depth).map_or(Type::Dyn, |(_, kind)| kind.clone());
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
        let (operand, operand_type) = self.expression(&select.operand)?;
        let field: Arc<str> = Arc::from(self.unescape(&select.field));
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
        let hidden = self.declarations.find(root).is_some() || self.locals.iter().any(|(local, _)| local == root);
        match (root.as_str(), inner.field.as_str(), select.field.as_str()) {
            _ if hidden || select.test || inner.test => None,
            ("google", "protobuf", "Timestamp") => Some("google.protobuf.Timestamp"),
            ("google", "protobuf", "Duration") => Some("google.protobuf.Duration"),
            _ => None,
        }
    }

    /// Type of a field, or an error that names what there is.
    fn field_type(&self, node: &IdedExpr, operand: &Type, field: &str) -> Result<Type, LoadError> {
        match operand {
            Type::Dyn | Type::Any | Type::Open => Ok(Type::Dyn),
            Type::Map(key, value) if Type::String.fits(key) => Ok((**value).clone()),
            Type::Object(object) => object.field(field).cloned().ok_or_else(|| {
                let known: Vec<_> = object.field_names().map(|name| format!("`{name}`")).collect();
                self.error(
                    node,
                    format!("`{operand}` has no field `{field}`; it has {}", known.join(", ")),
                )
            }),
            Type::Optional(inner) => self.field_type(node, inner, field).map(Type::optional),
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
            unescape(name)
        } else {
            name.to_owned()
        }
    }

    fn list(&mut self, node: &IdedExpr, list: &ListExpr) -> Checked {
        let mut items = Vec::with_capacity(list.elements.len());
        let mut element: Option<Type> = None;
        for (position, item) in list.elements.iter().enumerate() {
            let optional = list.optional_indices.contains(&position);
            let (checked, kind) = self.expression(item)?;
            let kind = if optional {
                self.inside_optional(item, kind)?
            } else {
                kind
            };
            self.same_type(item, &mut element, kind)?;
            items.push((checked, optional));
        }
        Ok((
            self.node(node, Kind::List(items)),
            Type::list(element.unwrap_or(Type::Open)),
        ))
    }

    fn map(&mut self, node: &IdedExpr, map: &MapExpr) -> Checked {
        let mut entries = Vec::with_capacity(map.entries.len());
        let (mut key_type, mut value_type) = (None, None);
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(self.error(node, "messages cannot be built here; use a map"));
            };
            let (key, kind) = self.expression(&entry.key)?;
            self.same_type(&entry.key, &mut key_type, kind)?;
            let (value, kind) = self.expression(&entry.value)?;
            let kind = if entry.optional {
                self.inside_optional(&entry.value, kind)?
            } else {
                kind
            };
            self.same_type(&entry.value, &mut value_type, kind)?;
            entries.push((key, value, entry.optional));
        }
        let kind = Type::map(key_type.unwrap_or(Type::Open), value_type.unwrap_or(Type::Open));
        Ok((self.node(node, Kind::Map(entries)), kind))
    }

    fn inside_optional(&self, node: &IdedExpr, kind: Type) -> Result<Type, LoadError> {
        match kind {
            Type::Optional(inner) => Ok(*inner),
            Type::Dyn | Type::Any | Type::Open => Ok(Type::Dyn),
            other => Err(self.error(node, format!("`?` takes an optional value here, not `{other}`"))),
        }
    }

    /// Elements of one literal have one type, as the API server demands; `dyn` too is a type of its own here.
    fn same_type(&self, node: &IdedExpr, seen: &mut Option<Type>, kind: Type) -> Result<(), LoadError> {
        match seen {
            Some(first) if !equivalent(first, &kind) => Err(self.error(
                node,
                format!("elements of types `{first}` and `{kind}` in one literal; wrap each in `dyn(…)`"),
            )),
            Some(first) => {
                let general = calls::join(first.clone(), &kind);
                *first = general;
                Ok(())
            }
            None => {
                *seen = Some(kind);
                Ok(())
            }
        }
    }
}

/// Equal, where what is not settled equals anything.
fn equivalent(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Open, _) | (_, Type::Open) => true,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => equivalent(a, b),
        (Type::Map(a_key, a), Type::Map(b_key, b)) => equivalent(a_key, b_key) && equivalent(a, b),
        _ => a == b,
    }
}

/// Kubernetes' escapes of characters that CEL names cannot have.
pub(crate) fn unescape(name: &str) -> String {
    if !name.contains("__") {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'outer: while !rest.is_empty() {
        for (escape, plain) in [
            ("__underscores__", "__"),
            ("__dot__", "."),
            ("__dash__", "-"),
            ("__slash__", "/"),
        ] {
            if let Some(tail) = rest.strip_prefix(escape) {
                out.push_str(plain);
                rest = tail;
                continue 'outer;
            }
        }
        let mut characters = rest.chars();
        out.extend(characters.next());
        rest = characters.as_str();
    }
    out
}
