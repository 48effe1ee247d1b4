//! The rule: what is not known to be harmless is masked.
//!
//! Known is what stands in the table. A text of a known field is shown if `shown.txt` names the field, the text has the form that
//! is named there, and the last net does not catch it. Numbers, truth values, times and quantities of known fields are shown. In a
//! place that is not known truth values and nothing else are shown: they can hold no secret, while a number can (a PIN). A key
//! is shown where it is a field's name, or where it is made of technical words alone.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::About;
use crate::digest::{DigestKey, Domain};
use crate::document::Node;
use crate::shape;
use crate::table::{Field, Form, Id, Show, TABLE};
use crate::types;
use crate::value::{Member, Value};

/// What else was seen while masking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Notes {
    /// Keys that some readers take for a field of another spelling (`DATA` for `data`). Their values are masked.
    pub other_case: usize,
    /// Members of built-in messages that the table does not know.
    pub unknown: usize,
    /// Words of YAML that readers take for different values. They are masked.
    pub two_ways: usize,
    /// Entries of `metadata.managedFields` that were left out.
    pub managed_left_out: usize,
}

pub(crate) struct Walk<'k> {
    pub(crate) key: &'k DigestKey,
    pub(crate) omit_managed: bool,
    /// The body is a strategic merge patch, with its directives among the members.
    pub(crate) has_directives: bool,
    /// What the call was about, which says two words of the type.
    pub(crate) about: About<'k>,
    pub(crate) notes: Notes,
}

impl Walk<'_> {
    /// A value whose message is known.
    pub(crate) fn message(&mut self, value: &Value<'_>, id: Id) -> Node {
        let Value::Object(members) = value else {
            let domain = TABLE.message(id).map_or(Domain::Text, |message| message.domain);
            return self.unknown(value, domain);
        };
        let nodes = members.iter().filter_map(|member| self.member(member, id)).collect();
        sorted(nodes)
    }

    fn member(&mut self, member: &Member<'_>, id: Id) -> Option<(Box<str>, Node)> {
        let name: &str = &member.key;
        if let Some(field) = TABLE.field(id, name) {
            if field.name == "managedFields" && self.omit_managed {
                let entries = match &member.value {
                    Value::List(entries) => entries.len(),
                    _ => 1,
                };
                self.notes.managed_left_out = self.notes.managed_left_out.saturating_add(entries);
                return None;
            }
            return Some((name.into(), self.field(&member.value, field)));
        }
        if let Some(known) = self.type_or_directive(member, id) {
            return Some((name.into(), known));
        }
        let domain = match TABLE.field_in_any_case(id, name) {
            Some(field) => {
                self.notes.other_case = self.notes.other_case.saturating_add(1);
                field.domain
            }
            None => {
                self.notes.unknown = self.notes.unknown.saturating_add(1);
                TABLE.message(id).map_or(Domain::Text, |message| message.domain)
            }
        };
        Some((self.member_key(name), self.unknown(&member.value, domain)))
    }

    /// `apiVersion` and `kind`, which stand in no message, and what a strategic merge patch says beside the fields.
    fn type_or_directive(&mut self, member: &Member<'_>, id: Id) -> Option<Node> {
        let name: &str = &member.key;
        let is_object = TABLE.message(id).is_some_and(|message| message.is_object);
        if is_object && matches!(name, "apiVersion" | "kind") {
            return Some(self.type_word(name, &member.value));
        }
        if !self.has_directives {
            return None;
        }
        match name {
            "$patch" => return Some(self.text(&member.value, Show::Name, Domain::Text)),
            "$retainKeys" => return Some(self.field_names(&member.value, id)),
            _ => {}
        }
        let (directive, field) = name.split_once('/')?;
        let field = TABLE.field(id, field)?;
        let is_known = matches!(directive, "$setElementOrder" | "$deleteFromPrimitiveList");
        is_known.then(|| self.field(&member.value, field))
    }

    /// `apiVersion` or `kind`: a word that the table or the path says, and no other that somebody wrote there.
    fn type_word(&mut self, name: &str, value: &Value<'_>) -> Node {
        let is_known = match (name, value) {
            ("kind", Value::Text(text)) => types::is_known_kind(text, &self.about),
            (_, Value::Text(text)) => types::is_known_version(text, &self.about),
            _ => false,
        };
        match value {
            Value::Text(text) if is_known => Node::Text((&**text).into()),
            other => self.unknown(other, Domain::Text),
        }
    }

    fn field_names(&mut self, value: &Value<'_>, id: Id) -> Node {
        let Value::List(items) = value else {
            return self.unknown(value, Domain::Text);
        };
        let node = |item: &Value<'_>| match item {
            Value::Text(name) if TABLE.field(id, name).is_some() => Node::Text((&**name).into()),
            other => self.unknown(other, Domain::Text),
        };
        Node::List(items.iter().map(node).collect())
    }

    /// A value whose field is known.
    pub(crate) fn field(&mut self, value: &Value<'_>, field: &Field) -> Node {
        self.formed(value, &field.form, field.show, field.domain)
    }

    pub(crate) fn formed(&mut self, value: &Value<'_>, form: &Form, show: Show, domain: Domain) -> Node {
        match (form, value) {
            (_, Value::Null) => Node::Null,
            _ if show == Show::Hidden => self.unknown(value, domain),
            (Form::Message(id), Value::Object(_)) => self.message(value, *id),
            (Form::Map(element), Value::Object(members)) => self.map(members, element, show, domain),
            (Form::List(element), Value::List(items)) => Node::List(
                items
                    .iter()
                    .map(|item| self.formed(item, element, show, domain))
                    .collect(),
            ),
            (Form::TextList, Value::List(items)) => {
                Node::List(items.iter().map(|item| self.text(item, show, domain)).collect())
            }
            (Form::Text, _) => self.text(value, show, domain),
            (Form::Bool, Value::Bool(value)) => Node::Bool(*value),
            (Form::Integer | Form::Double | Form::IntOrString | Form::Quantity, Value::Number(number))
                if shape::is_short_number(number) =>
            {
                Node::Number((&**number).into())
            }
            (Form::Quantity, Value::Text(text)) => self.if_it_is(shape::is_quantity, text, domain),
            (Form::IntOrString, Value::Text(text)) => self.if_it_is(shape::is_port_or_percent, text, domain),
            (Form::Time | Form::MicroTime, Value::Text(text)) => self.if_it_is(shape::is_time, text, domain),
            (Form::Duration, Value::Text(text)) => self.if_it_is(shape::is_duration, text, domain),
            (Form::Bytes, Value::Bytes(bytes)) => Node::Mask(self.key.mask(domain, bytes)),
            // The same bytes have the same digest, in JSON and in protobuf, in `data` and in `stringData`.
            (Form::Bytes, Value::Text(text)) => match STANDARD.decode(text.as_bytes()) {
                Ok(bytes) => Node::Mask(self.key.mask(domain, &bytes)),
                Err(_) => self.unknown(value, domain),
            },
            (Form::Json, Value::Object(_)) => self.embedded(value),
            _ => self.unknown(value, domain),
        }
    }

    fn if_it_is(&self, is: fn(&str) -> bool, text: &str, domain: Domain) -> Node {
        if is(text) {
            Node::Text(text.into())
        } else {
            Node::Mask(self.key.mask(domain, text.as_bytes()))
        }
    }

    /// An object within another (an item of a `List`, a row's object): of its own kind, where it says so and the kind is known.
    fn embedded(&mut self, value: &Value<'_>) -> Node {
        match TABLE.kind(word(value, "apiVersion"), word(value, "kind")) {
            Some(kind) => self.message(value, kind.message),
            None => self.object(value),
        }
    }

    fn map(&mut self, members: &[Member<'_>], element: &Form, show: Show, domain: Domain) -> Node {
        let nodes = members.iter().map(|member| {
            let name: &str = &member.key;
            let is_shown = match show {
                Show::Labels => shape::is_label_key(name),
                Show::Keys => shape::is_name(name) && !name.is_empty(),
                _ => false,
            };
            let key = if is_shown && !shape::looks_like_a_secret(name) {
                name.into()
            } else {
                self.member_key(name)
            };
            let values = if show == Show::Labels { show } else { Show::Masked };
            (key, self.formed(&member.value, element, values, domain))
        });
        let nodes = nodes.collect();
        sorted(nodes)
    }

    fn text(&mut self, value: &Value<'_>, show: Show, domain: Domain) -> Node {
        let Value::Text(text) = value else {
            return self.unknown(value, domain);
        };
        let mask = || self.key.mask(domain, text.as_bytes());
        let has_form = match show {
            Show::Masked | Show::Keys | Show::Hidden => false,
            Show::Word(words) => words.contains(&&**text),
            Show::Plural => types::is_known_plural(text, &self.about),
            Show::Group => types::is_known_group(text, &self.about),
            Show::Name => shape::is_name(text),
            Show::Labels => shape::is_label_value(text),
            Show::Cron => shape::is_cron(text),
            Show::Origin => {
                return Node::Mask(match shape::origin(text) {
                    Some(origin) if !shape::looks_like_a_secret(origin) => mask().leading_to(origin),
                    _ => mask(),
                });
            }
        };
        match has_form {
            true if shape::looks_like_a_secret(text) => Node::Mask(mask().alarming()),
            true => Node::Text((&**text).into()),
            false => Node::Mask(mask()),
        }
    }

    /// An object of a kind that no table has: what every object has is known, and nothing else.
    pub(crate) fn object(&mut self, value: &Value<'_>) -> Node {
        let Value::Object(members) = value else {
            return self.unknown(value, Domain::Text);
        };
        let metadata = TABLE.by_name("meta.ObjectMeta");
        let nodes = members.iter().map(|member| {
            let name: &str = &member.key;
            match (name, metadata) {
                ("apiVersion" | "kind", _) => (name.into(), self.type_word(name, &member.value)),
                ("metadata", Some(id)) => (name.into(), self.message(&member.value, id)),
                // A list of a kind that is not known: each item is such an object.
                ("items", _) => {
                    let Value::List(items) = &member.value else {
                        return (name.into(), self.unknown(&member.value, Domain::Text));
                    };
                    let nodes = items.iter().map(|item| self.embedded(item)).collect();
                    (name.into(), Node::List(nodes))
                }
                _ => (self.member_key(name), self.unknown(&member.value, Domain::Text)),
            }
        });
        let nodes = nodes.collect();
        sorted(nodes)
    }

    /// A value in a place that is not known.
    pub(crate) fn unknown(&mut self, value: &Value<'_>, domain: Domain) -> Node {
        let mask = |bytes: &[u8]| Node::Mask(self.key.mask(domain, bytes));
        match value {
            Value::Null => Node::Null,
            Value::Bool(value) => Node::Bool(*value),
            Value::Number(number) => Node::Mask(self.key.mask(Domain::Number, number.as_bytes())),
            Value::Text(text) => mask(text.as_bytes()),
            Value::Bytes(bytes) => mask(bytes),
            Value::TwoWays(word) => {
                self.notes.two_ways = self.notes.two_ways.saturating_add(1);
                mask(word.as_bytes())
            }
            Value::List(items) => Node::List(items.iter().map(|item| self.unknown(item, domain)).collect()),
            Value::Object(members) => {
                let nodes = members
                    .iter()
                    .map(|member| (self.member_key(&member.key), self.unknown(&member.value, domain)));
                let nodes = nodes.collect();
                sorted(nodes)
            }
        }
    }

    /// A key that is no field's name.
    pub(crate) fn member_key(&self, name: &str) -> Box<str> {
        if TABLE.is_public_key(name) {
            return name.into();
        }
        let mask = self.key.mask(Domain::Key, name.as_bytes());
        format!("~{}", mask.word()).into()
    }
}

fn sorted(mut members: Vec<(Box<str>, Node)>) -> Node {
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    Node::Object(members)
}

/// What an object says of itself.
pub(crate) fn word<'v>(value: &'v Value<'_>, name: &str) -> &'v str {
    value.member(name).and_then(Value::text).unwrap_or_default()
}
