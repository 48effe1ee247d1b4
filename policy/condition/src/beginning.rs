//! With which text the texts of an expression begin, read off its tree. It errs on one side only: what is not certain is
//! the empty text, so that nobody is told of a separation that is none.

use crate::Value;
use crate::functions::Function;
use crate::program::{Kind, LoopKind, Node};

pub(crate) fn of(root: &Node) -> String {
    texts(root).unwrap_or_default()
}

/// What all texts of this node begin with; `None` when it gives none at all, as `[]`, `null` and the empty text do.
fn texts(node: &Node) -> Option<String> {
    match &node.kind {
        // Nobody and nothing has an empty name: such a text is refused or left out.
        Kind::Literal(Value::String(text)) if text.is_empty() => None,
        Kind::Literal(Value::String(text)) => Some(text.to_string()),
        Kind::Literal(Value::Null) => None,
        Kind::Conditional(parts) => {
            let [_, yes, no] = &**parts;
            common(texts(yes), texts(no))
        }
        Kind::List(elements) => elements.iter().map(|(element, _)| texts(element)).fold(None, common),
        Kind::Loop(of) if matches!(of.kind, LoopKind::Transform(_)) => texts(&of.body),
        Kind::Call {
            function, arguments, ..
        } if *function == Function::Add => match arguments.as_slice() {
            [left, right] => sum(left, right),
            _ => Some(String::new()),
        },
        _ => Some(String::new()),
    }
}

/// Texts are joined, lists are appended; which of the two this is shows at the far left.
fn sum(left: &Node, right: &Node) -> Option<String> {
    match &left.kind {
        Kind::Literal(Value::String(text)) => {
            let rest = behind(right);
            Some(format!("{text}{rest}"))
        }
        _ if is_text(left) => texts(left),
        _ => common(texts(left), texts(right)),
    }
}

/// What a text begins with that is joined behind another: there the empty text adds nothing and is none that is left out.
fn behind(node: &Node) -> String {
    match &node.kind {
        Kind::Literal(Value::String(text)) => text.to_string(),
        Kind::Conditional(parts) => {
            let [_, yes, no] = &**parts;
            common(Some(behind(yes)), Some(behind(no))).unwrap_or_default()
        }
        Kind::Call { .. } if is_text(node) => texts(node).unwrap_or_default(),
        _ => String::new(),
    }
}

fn is_text(node: &Node) -> bool {
    match &node.kind {
        Kind::Literal(value) => matches!(value, Value::String(_)),
        Kind::Call {
            function, arguments, ..
        } => *function == Function::Add && arguments.first().is_some_and(is_text),
        _ => false,
    }
}

fn common(a: Option<String>, b: Option<String>) -> Option<String> {
    let (a, b) = match (a, b) {
        (Some(a), Some(b)) => (a, b),
        (a, b) => return a.or(b),
    };
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b);
    Some(same.map(|(a, _)| a).collect())
}
