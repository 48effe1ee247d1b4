//! Where a member of a YAML document stands. A document is read for it only when there is something to say about one.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Line and column, both from 1 and of the document.
pub(super) type Place = (u64, u64);

/// Where `member` (`spec.tests.0.name`) stands: a scalar at its value, a list or an object at its key, and what is not written
/// at the nearest that is. `None` for what is no YAML.
pub(super) fn of(document: &str, member: &str) -> Option<Place> {
    let root: Spanned<Node> = serde_saphyr::from_str(document).ok()?;
    let (mut node, mut place) = (&root.value, root.referenced);
    for step in member.split('.') {
        let Some((next, key)) = node.below(step) else { break };
        place = match (&next.value, key) {
            (Node::Members(_) | Node::Items(_), Some(key)) => key,
            _ => next.referenced,
        };
        node = &next.value;
    }
    Some((place.line(), place.column()))
}

/// A node without its value.
#[derive(Debug)]
enum Node {
    Scalar,
    Items(Vec<Spanned<Self>>),
    Members(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl Node {
    /// What stands below it, and where its key does.
    fn below(&self, step: &str) -> Option<(&Spanned<Self>, Option<Location>)> {
        match self {
            Self::Scalar => None,
            Self::Items(items) => Some((items.get(step.parse::<usize>().ok()?)?, None)),
            Self::Members(members) => {
                let (key, value) = members.iter().find(|(key, _)| key.value == step)?;
                Some((value, Some(key.referenced)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNode)
    }
}

struct AnyNode;

impl<'de> Visitor<'de> for AnyNode {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_i128<E: Error>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::Items(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Node::Members(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_stands_where_it_is_written_or_where_it_should_be() {
        let text = "# head\nspec:\n  effect: allow\n  names: {a: [x, 'y'], \"b\": ~}\n  tests:\n  - name: one\n  - name: two\n    at: 3\n";
        for (member, place) in [
            ("spec", (2, 1)),
            ("spec.effect", (3, 11)),
            ("spec.names", (4, 3)),
            ("spec.names.a", (4, 11)),
            ("spec.names.a.1", (4, 18)),
            ("spec.names.a.2", (4, 11)),
            ("spec.names.b", (4, 29)),
            ("spec.tests.0.name", (6, 11)),
            ("spec.tests.1", (7, 5)),
            ("spec.tests.1.at", (8, 9)),
            ("spec.tests.1.from", (7, 5)),
            ("spec.subjects.people", (2, 1)),
        ] {
            assert_eq!(of(text, member), Some(place), "{member}");
        }
        assert_eq!(of("spec: [", "spec"), None);
    }
}
