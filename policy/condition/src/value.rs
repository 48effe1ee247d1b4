//! Values of the language. Clones are cheap: what can be large is shared.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use model::time::Timestamp;

/// A value an expression reads or makes.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating-point number; every JSON number is one, as in Kubernetes.
    Double(f64),
    /// Text.
    String(Arc<str>),
    /// Octets.
    Bytes(Arc<[u8]>),
    /// Nanoseconds since 1970-01-01T00:00:00Z, years 1 to 9999.
    Timestamp(i128),
    /// Nanoseconds.
    Duration(i64),
    /// An IP address.
    Ip(IpAddr),
    /// An IP network.
    Cidr(Cidr),
    /// A list.
    List(Arc<[Value]>),
    /// A map or a record.
    Map(Arc<Map>),
    /// A value that may be absent.
    Optional(Option<Arc<Value>>),
    /// A type as a value, by its name.
    Type(&'static str),
}

/// An IP network as written: the address may have bits behind the prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The address as written.
    pub address: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

/// A map with keys of text, whole numbers or truth values, in key order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Map {
    texts: BTreeMap<Arc<str>, Value>,
    others: BTreeMap<OtherKey, (Value, Value)>,
}

/// Whole numbers are one key whatever their type, as `1 == 1u`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum OtherKey {
    Bool(bool),
    Number(i128),
}

impl Value {
    /// Text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::String(Arc::from(text))
    }

    /// A list of texts.
    #[must_use]
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self::List(texts.into_iter().map(Self::text).collect())
    }

    /// A list.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::from(items))
    }

    /// A record, or map with text keys.
    #[must_use]
    pub fn record<'a>(fields: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let texts = fields
            .into_iter()
            .map(|(name, value)| (Arc::from(name), value))
            .collect();
        Self::Map(Arc::new(Map {
            texts,
            others: BTreeMap::new(),
        }))
    }

    /// A point in time.
    #[must_use]
    pub fn time(at: Timestamp) -> Self {
        Self::Timestamp(i128::from(at.unix_nanos()))
    }

    /// A length of time; saturates at the type's end (292 years).
    #[must_use]
    pub fn duration(length: std::time::Duration) -> Self {
        Self::Duration(i64::try_from(length.as_nanos()).unwrap_or(i64::MAX))
    }

    /// JSON as Kubernetes gives claims to an expression: every number is a double.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(value) => Self::Double(value.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(value) => Self::text(value),
            serde_json::Value::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            serde_json::Value::Object(fields) => Self::record(
                fields
                    .iter()
                    .map(|(name, value)| (name.as_str(), Self::from_json(value))),
            ),
        }
    }

    /// The text, when it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Name of the value's type, as `type(x)` gives it.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
        }
    }

    /// Order of two values where the language has one; numbers compare across their types.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Self::String(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            _ => order_numbers(self, other),
        }
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self, Self::Int(_) | Self::Uint(_) | Self::Double(_))
    }

    fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(value) => Some(i128::from(*value)),
            Self::Uint(value) => Some(i128::from(*value)),
            _ => None,
        }
    }

    /// Whether this is the empty value of its type; decides `optional.ofNonZeroValue`.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null | Self::Optional(None) => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Optional(Some(inner)) => inner.is_zero(),
            // The first moment of year 1 is Go's zero time.
            Self::Timestamp(nanos) => *nanos == -62_135_596_800_000_000_000,
            Self::Ip(_) | Self::Cidr(_) | Self::Type(_) => false,
        }
    }
}

/// Equality of the language: numbers by value across types, never an error.
impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Map(a), Self::Map(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }
}

fn order_numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Double(a), b) => b.whole().and_then(|b| order_double(*a, b)),
        (a, Value::Double(b)) => a.whole().and_then(|a| order_double(*b, a)).map(Ordering::reverse),
        (a, b) => Some(a.whole()?.cmp(&b.whole()?)),
    }
}

/// Compares without rounding the whole number: 2^53 + 1 differs from 2^53 as a double.
fn order_double(double: f64, whole: i128) -> Option<Ordering> {
    const BOUND: f64 = 36_893_488_147_419_103_232.0; // 2^65, beyond both integer types
    if double.is_nan() {
        return None;
    }
    if double >= BOUND {
        return Some(Ordering::Greater);
    }
    if double <= -BOUND {
        return Some(Ordering::Less);
    }
    let floor = double.floor();
    let order = to_i128(floor).cmp(&whole);
    Some(if order == Ordering::Equal && double > floor {
        Ordering::Greater
    } else {
        order
    })
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass whole numbers below 2^65")]
pub(crate) fn to_i128(whole: f64) -> i128 {
    whole as i128
}

impl Map {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.texts.len() + self.others.len()
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a text key.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.texts.get(name)
    }

    /// The value under any key; `None` also for a key of a type that no map has.
    #[must_use]
    pub fn find(&self, key: &Value) -> Option<&Value> {
        match key {
            Value::String(name) => self.texts.get(name),
            other => self.others.get(&OtherKey::of(other)?).map(|(_, value)| value),
        }
    }

    /// Adds an entry. Answers `false` when the key is there already or its type cannot be a key.
    pub(crate) fn insert(&mut self, key: Value, value: Value) -> Option<bool> {
        if let Value::String(name) = key {
            return Some(self.texts.insert(name, value).is_none());
        }
        let other = OtherKey::of(&key).filter(|_| !matches!(key, Value::Double(_)))?;
        Some(self.others.insert(other, (key, value)).is_none())
    }

    /// All keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = Value> + '_ {
        let others = self.others.values().map(|(key, _)| key.clone());
        self.texts
            .keys()
            .map(|name| Value::String(Arc::clone(name)))
            .chain(others)
    }
}

impl OtherKey {
    fn of(key: &Value) -> Option<Self> {
        match key {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 9.3e18 => Some(Self::Number(to_i128(*value))),
            other => other.whole().map(Self::Number),
        }
    }
}
