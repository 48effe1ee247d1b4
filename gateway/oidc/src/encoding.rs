//! Base64url and JSON with one reading each: what two parsers could understand differently is refused (RFC 8725 §2.4).

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// No padding, no other alphabet, no bits left over: one text for one value.
const STRICT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// Deepest nesting of JSON that is read. Real claims stay under five.
const MAX_JSON_DEPTH: usize = 16;
/// Most members and elements in one document.
const MAX_JSON_ITEMS: usize = 20_000;

/// Decodes unpadded canonical base64url (RFC 7515 §2).
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STRICT.decode(text).ok()
}

/// Encodes as unpadded base64url.
pub(crate) fn encode(bytes: &[u8]) -> String {
    STRICT.encode(bytes)
}

/// Why a JSON document is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonFault {
    #[error("is not JSON")]
    Syntax,
    #[error("has a member twice")]
    Duplicate,
    #[error("is nested too deep or has too many members")]
    TooComplex,
    #[error("is not a JSON object")]
    NotAnObject,
}

/// Reads one JSON object: UTF-8 without mark, no member twice at any depth, nothing behind it.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    let state = State {
        fault: Cell::new(None),
        items: Cell::new(0),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        depth: 0,
        state: &state,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value))
    .map_err(|_| state.fault.get().unwrap_or(JsonFault::Syntax))?;
    match value {
        Value::Object(members) => Ok(members),
        _ => Err(JsonFault::NotAnObject),
    }
}

struct State {
    fault: Cell<Option<JsonFault>>,
    items: Cell<usize>,
}

#[derive(Clone, Copy)]
struct Seed<'s> {
    depth: usize,
    state: &'s State,
}

impl Seed<'_> {
    fn refuse<E: serde::de::Error>(self, fault: JsonFault) -> E {
        self.state.fault.set(Some(fault));
        E::custom("refused")
    }

    fn inner<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_JSON_DEPTH {
            return Err(self.refuse(JsonFault::TooComplex));
        }
        Ok(Self {
            depth: self.depth + 1,
            state: self.state,
        })
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let items = self.state.items.get() + 1;
        self.state.items.set(items);
        if items > MAX_JSON_ITEMS {
            Err(self.refuse(JsonFault::TooComplex))
        } else {
            Ok(())
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            self.count()?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.count()?;
            if map.contains_key(&name) {
                return Err(self.refuse(JsonFault::Duplicate));
            }
            let value = members.next_value_seed(inner)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
