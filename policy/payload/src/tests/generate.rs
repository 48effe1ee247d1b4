//! Objects of every built-in kind, filled field by field from the table, with a canary wherever nothing may be seen.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::table::{Field, Form, Id, Show, TABLE};

/// How an object is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// As its kind has it, so that it can be sent in protobuf, too.
    Faithful,
    /// With values of wrong types, fields that there are not, and canaries in the wrong form where names are shown.
    Hostile,
}

pub(super) struct Filler {
    pub(super) canary: String,
    pub(super) manner: Manner,
    /// Names that were put where names are shown.
    pub(super) seen: Vec<String>,
    state: u64,
}

impl Filler {
    pub(super) fn new(canary: String, manner: Manner, seed: u64) -> Self {
        Self {
            canary,
            manner,
            seen: Vec::new(),
            state: seed,
        }
    }

    /// splitmix64.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn is_hostile(&mut self, one_in: u64) -> bool {
        self.manner == Manner::Hostile && self.below(one_in) == 0
    }

    pub(super) fn object(&mut self, api_version: &str, kind: &str, id: Id) -> Value {
        let mut object = self.message(id, 7);
        object.insert("apiVersion".into(), json!(api_version));
        object.insert("kind".into(), json!(kind));
        let object = Value::Object(object);
        // A name may have stood in what was dropped: a map whose second value was too deep, a key that came twice.
        let text = object.to_string();
        self.seen.retain(|name| text.contains(name.as_str()));
        object
    }

    fn message(&mut self, id: Id, depth: u32) -> Map<String, Value> {
        let mut members = Map::new();
        let message = TABLE.message(id).unwrap();
        for field in &message.fields {
            match (&field.form, field.is_inline) {
                (Form::Message(inner), true) => members.extend(self.message(*inner, depth)),
                _ if self.below(5) < 3 && field.name != "metadata" => {}
                _ => {
                    if let Some(value) = self.field(field, depth) {
                        members.insert(field.name.to_owned(), value);
                    }
                }
            }
        }
        if self.is_hostile(8) {
            let (key, value) = (self.hidden(), self.junk());
            members.insert(key, value);
        }
        if self.is_hostile(8)
            && let Some(field) = message.fields.first()
        {
            let value = self.junk();
            members.insert(field.name.to_uppercase(), value);
        }
        members
    }

    fn field(&mut self, field: &Field, depth: u32) -> Option<Value> {
        if self.is_hostile(12) {
            return Some(self.misfit(&field.form, field.show));
        }
        self.formed(&field.form, field.show, depth)
    }

    /// `None`: too deep, or a form that is not filled faithfully.
    fn formed(&mut self, form: &Form, show: Show, depth: u32) -> Option<Value> {
        let is_faithful = self.manner == Manner::Faithful;
        Some(match form {
            Form::Message(_) if show == Show::Hidden && is_faithful => return None,
            Form::Message(_) if show == Show::Hidden => self.tree(),
            Form::Text => json!(self.text(show)),
            Form::Bytes => json!(STANDARD.encode(&self.canary)),
            Form::Bool => json!(true),
            Form::Integer => json!(self.below(1 << 40) + 1),
            Form::Quantity => json!("5Gi"),
            Form::IntOrString => {
                [json!(8080), json!("http-web"), json!("25%")][usize::try_from(self.below(3)).unwrap()].clone()
            }
            Form::Time => json!("2026-11-22T15:04:05Z"),
            Form::MicroTime => json!("2026-11-22T15:04:05.123456Z"),
            Form::Double | Form::Duration | Form::Any if is_faithful => return None,
            Form::Double => json!(1.5),
            Form::Duration => json!("1h0m0s"),
            Form::Any => self.junk(),
            Form::Json => self.tree(),
            Form::TextList => json!([self.text(show), self.text(show)]),
            Form::Message(id) => {
                let inner = self.message(*id, depth.checked_sub(1)?);
                if inner.is_empty() {
                    return None;
                }
                Value::Object(inner)
            }
            Form::List(element) => {
                let items: Vec<Value> = (0..2).filter_map(|_| self.formed(element, show, depth)).collect();
                if items.is_empty() {
                    return None;
                }
                Value::Array(items)
            }
            Form::Map(element) => {
                let mut pairs = Map::new();
                for _ in 0..2 {
                    let values = if show == Show::Labels { show } else { Show::Masked };
                    let value = self.formed(element, values, depth)?;
                    let key = match show {
                        Show::Labels | Show::Keys if !self.is_hostile(2) => self.name(),
                        Show::Labels | Show::Keys => self.spaced(),
                        _ => self.hidden(),
                    };
                    pairs.insert(key, value);
                }
                Value::Object(pairs)
            }
        })
    }

    fn text(&mut self, show: Show) -> String {
        match show {
            // In the form of no name: in another kind's place such a field may be one that is shown.
            Show::Hidden | Show::Word(_) | Show::Plural | Show::Group => self.spaced(),
            Show::Masked | Show::Keys => self.hidden(),
            Show::Origin => format!("https://hooks.example:8443/{}?{}", self.canary, self.canary),
            Show::Cron if self.manner == Manner::Faithful => "*/5 * * * *".to_owned(),
            Show::Cron => format!("{}_", self.canary),
            Show::Name | Show::Labels if self.is_hostile(3) => self.spaced(),
            Show::Name | Show::Labels => self.name(),
        }
    }

    fn name(&mut self) -> String {
        let name = format!("seen-{}", self.below(1 << 40));
        self.seen.push(name.clone());
        name
    }

    /// The canary in some spelling.
    fn hidden(&mut self) -> String {
        let canary = &self.canary.clone();
        match self.below(5) {
            0 => format!("\"{canary}\\\n"),
            1 => format!("pass={canary} é"),
            2 => format!("eyJ{canary}"),
            _ => canary.clone(),
        }
    }

    /// In the form of no name.
    pub(super) fn spaced(&mut self) -> String {
        let number = self.below(100);
        format!("{} {number}", self.canary)
    }

    /// Something that has no place in a field of this form.
    fn misfit(&mut self, form: &Form, show: Show) -> Value {
        if show != Show::Masked {
            // A name would be one, wherever it stands in such a field.
            return match self.below(3) {
                0 => json!({ self.spaced(): self.spaced() }),
                1 => json!([self.spaced(), { self.spaced(): [self.spaced()] }]),
                _ => json!(self.spaced()),
            };
        }
        match (self.below(4), form) {
            (0, _) => self.tree(),
            (1, _) => json!([self.hidden(), { self.hidden(): self.hidden() }]),
            (_, Form::List(_)) => json!([self.spaced(), [self.spaced()]]),
            _ => json!(self.hidden() + " "),
        }
    }

    /// Of no kind that is known.
    fn tree(&mut self) -> Value {
        json!({ self.hidden(): self.hidden(), "spec": { "x": [self.hidden(), { "password": self.hidden() }] } })
    }

    fn junk(&mut self) -> Value {
        match self.below(3) {
            0 => json!(self.hidden()),
            1 => json!([self.hidden()]),
            _ => self.tree(),
        }
    }
}

/// Kubernetes' protobuf of an object that was filled faithfully.
pub(super) fn protobuf(object: &Value, id: Id) -> Vec<u8> {
    let word = |name: &str| object[name].as_str().unwrap().as_bytes();
    let types = [bytes(1, word("apiVersion")), bytes(2, word("kind"))].concat();
    let raw = message(object.as_object().unwrap(), id);
    [
        b"k8s\0".to_vec(),
        bytes(1, &types),
        bytes(2, &raw),
        bytes(3, b""),
        bytes(4, b""),
    ]
    .concat()
}

fn message(object: &Map<String, Value>, id: Id) -> Vec<u8> {
    let mut out = Vec::new();
    for field in &TABLE.message(id).unwrap().fields {
        match (&field.form, field.is_inline) {
            (Form::Message(inner), true) => out.extend(bytes(field.number, &message(object, *inner))),
            _ => {
                if let Some(value) = object.get(field.name) {
                    out.extend(of_form(field.number, value, &field.form));
                }
            }
        }
    }
    out
}

fn of_form(number: u64, value: &Value, form: &Form) -> Vec<u8> {
    match form {
        Form::List(element) => {
            let items = value.as_array().unwrap().iter();
            items.flat_map(|item| of_form(number, item, element)).collect()
        }
        Form::Map(element) => {
            let pairs = value.as_object().unwrap().iter();
            let pair = |(key, value): (&String, &Value)| {
                bytes(number, &[bytes(1, key.as_bytes()), of_form(2, value, element)].concat())
            };
            pairs.flat_map(pair).collect()
        }
        Form::Bool => varint(number, 1),
        Form::Integer => varint(number, value.as_u64().unwrap()),
        Form::Text => bytes(number, value.as_str().unwrap().as_bytes()),
        Form::Bytes => bytes(number, &STANDARD.decode(value.as_str().unwrap()).unwrap()),
        Form::Quantity => bytes(number, &bytes(1, value.as_str().unwrap().as_bytes())),
        Form::IntOrString => bytes(
            number,
            &match value.as_str() {
                Some(text) => [varint(1, 1), varint(2, 0), bytes(3, text.as_bytes())].concat(),
                None => [varint(1, 0), varint(2, value.as_u64().unwrap()), bytes(3, b"")].concat(),
            },
        ),
        // 2026-11-22T15:04:05Z
        Form::Time => bytes(number, &[varint(1, 1_795_359_845), varint(2, 0)].concat()),
        Form::MicroTime => bytes(number, &[varint(1, 1_795_359_845), varint(2, 123_456_000)].concat()),
        Form::Json => bytes(number, &bytes(1, value.to_string().as_bytes())),
        Form::TextList => {
            let items = value.as_array().unwrap().iter();
            let items: Vec<u8> = items
                .flat_map(|item| bytes(1, item.as_str().unwrap().as_bytes()))
                .collect();
            bytes(number, &items)
        }
        Form::Message(id) => bytes(number, &message(value.as_object().unwrap(), *id)),
        Form::Double | Form::Duration | Form::Any => Vec::new(),
    }
}

fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

pub(super) fn varint(field: u64, value: u64) -> Vec<u8> {
    [number(field << 3), number(value)].concat()
}

pub(super) fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    [
        number(field << 3 | 2),
        number(u64::try_from(value.len()).unwrap()),
        value.to_vec(),
    ]
    .concat()
}
