//! JSON patches (RFC 6902): a list of operations, each with a path (RFC 6901) that says what its value is.

use crate::digest::Domain;
use crate::document::Node;
use crate::mask::Walk;
use crate::shape;
use crate::table::{Form, Id, Show, TABLE};
use crate::value::{Member, Value};

/// Where a path has led to.
enum At<'t> {
    /// The whole object: of this message, if it is known.
    Root(Option<Id>),
    Formed(&'t Form, Show, Domain),
    Unknown(Domain),
}

const OPERATIONS: [&str; 6] = ["add", "remove", "replace", "move", "copy", "test"];

impl Walk<'_> {
    /// Masks a JSON patch on an object of this message.
    pub(crate) fn patch(&mut self, value: &Value<'_>, target: Option<Id>) -> Node {
        let Value::List(operations) = value else {
            return self.unknown(value, Domain::Text);
        };
        Node::List(
            operations
                .iter()
                .map(|operation| self.operation(operation, target))
                .collect(),
        )
    }

    fn operation(&mut self, operation: &Value<'_>, target: Option<Id>) -> Node {
        let Value::Object(members) = operation else {
            return self.unknown(operation, Domain::Text);
        };
        let path = operation.member("path").and_then(Value::text);
        let mut nodes: Vec<(Box<str>, Node)> = members
            .iter()
            .map(|member| {
                let node = self.operand(member, path, target);
                let key: &str = &member.key;
                let is_known = matches!(key, "op" | "path" | "from" | "value");
                (if is_known { key.into() } else { self.member_key(key) }, node)
            })
            .collect();
        nodes.sort_by(|(one, _), (other, _)| one.cmp(other));
        Node::Object(nodes)
    }

    fn operand(&mut self, member: &Member<'_>, path: Option<&str>, target: Option<Id>) -> Node {
        match (&*member.key, &member.value) {
            ("op", Value::Text(op)) if OPERATIONS.contains(&&**op) => Node::Text((&**op).into()),
            ("path" | "from", Value::Text(pointer)) => match self.pointer(pointer, target) {
                Some((shown, _)) => Node::Text(shown.into()),
                None => self.unknown(&member.value, Domain::Text),
            },
            ("value", value) => match path.and_then(|path| self.pointer(path, target)) {
                Some((_, At::Root(Some(id)))) => self.message(value, id),
                Some((_, At::Root(None))) => self.object(value),
                Some((_, At::Formed(form, show, domain))) => self.formed(value, form, show, domain),
                Some((_, At::Unknown(domain))) => self.unknown(value, domain),
                None => self.unknown(value, Domain::Text),
            },
            (_, value) => self.unknown(value, Domain::Text),
        }
    }

    /// The path with what is not known in it masked, and where it leads. `None`: it is no pointer.
    fn pointer(&mut self, pointer: &str, target: Option<Id>) -> Option<(String, At<'static>)> {
        let (mut shown, mut at) = (String::new(), At::Root(target));
        if pointer.is_empty() {
            return Some((shown, at));
        }
        for segment in pointer.strip_prefix('/')?.split('/') {
            let segment = unescaped(segment)?;
            let (key, next) = self.step(&segment, &at);
            shown.push('/');
            shown.push_str(&key.replace('~', "~0").replace('/', "~1"));
            at = next;
        }
        Some((shown, at))
    }

    fn step(&mut self, segment: &str, at: &At<'static>) -> (Box<str>, At<'static>) {
        match at {
            At::Root(None) if segment == "metadata" => {
                let pod = TABLE.by_name("core.Pod");
                let metadata = pod.and_then(|pod| TABLE.field(pod, "metadata"));
                let at = metadata.map_or(At::Unknown(Domain::Text), |field| {
                    At::Formed(&field.form, field.show, field.domain)
                });
                (segment.into(), at)
            }
            At::Root(Some(id)) | At::Formed(Form::Message(id), ..) => self.field_step(segment, *id),
            At::Formed(Form::List(element), show, domain) => (self.place(segment), At::Formed(element, *show, *domain)),
            At::Formed(Form::TextList, show, domain) => (self.place(segment), At::Formed(&Form::Text, *show, *domain)),
            At::Formed(Form::Map(element), show, domain) => {
                let is_shown = match show {
                    Show::Labels => shape::is_label_key(segment),
                    Show::Keys => shape::is_name(segment),
                    _ => false,
                };
                let key = if is_shown && !shape::looks_like_a_secret(segment) {
                    segment.into()
                } else {
                    self.member_key(segment)
                };
                let values = if *show == Show::Labels { *show } else { Show::Masked };
                (key, At::Formed(element, values, *domain))
            }
            At::Root(None) => (self.member_key(segment), At::Unknown(Domain::Text)),
            At::Formed(_, _, domain) | At::Unknown(domain) => (self.place(segment), At::Unknown(*domain)),
        }
    }

    fn field_step(&mut self, segment: &str, id: Id) -> (Box<str>, At<'static>) {
        match TABLE.field(id, segment) {
            Some(field) => (segment.into(), At::Formed(&field.form, field.show, field.domain)),
            None => {
                self.notes.unknown = self.notes.unknown.saturating_add(1);
                let domain = TABLE.message(id).map_or(Domain::Text, |message| message.domain);
                (self.member_key(segment), At::Unknown(domain))
            }
        }
    }

    /// A place in a list: its end, or a number of at most two digits, which can hold no secret where there is no list.
    fn place(&self, segment: &str) -> Box<str> {
        let is_number = (1..=2).contains(&segment.len()) && segment.bytes().all(|byte| byte.is_ascii_digit());
        if segment == "-" || is_number {
            segment.into()
        } else {
            self.member_key(segment)
        }
    }
}

fn unescaped(segment: &str) -> Option<String> {
    let mut text = String::with_capacity(segment.len());
    let mut characters = segment.chars();
    while let Some(character) = characters.next() {
        match character {
            '~' => text.push(match characters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            }),
            other => text.push(other),
        }
    }
    Some(text)
}
