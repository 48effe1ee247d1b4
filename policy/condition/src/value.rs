//! Values of the language. Clones are cheap: what can be large is shared.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

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
    /// As [`Value::Timestamp`], and the offset from UTC in minutes, not zero, with which it was written and is printed.
    Zoned(i128, i16),
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
#[derive(Clone, Debug, Default)]
pub struct Map {
    texts: BTreeMap<Arc<str>, Value>,
    others: BTreeMap<OtherKey, (Value, Value)>,
    /// Whether it was given, not written in the expression: the API server reads escaped names in those only, and never
    /// takes one for a zero value.
    given: bool,
}

/// The empty list that was given, as empty lists written in an expression are not: see [`Value::is_zero`].
static GIVEN_EMPTY: LazyLock<Arc<[Value]>> = LazyLock::new(|| Arc::from(Vec::new()));

/// A list from outside of the expression.
fn given_list(items: Arc<[Value]>) -> Value {
    Value::List(if items.is_empty() {
        Arc::clone(&GIVEN_EMPTY)
    } else {
        items
    })
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
        given_list(texts.into_iter().map(Self::text).collect())
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
            given: true,
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
            serde_json::Value::Array(items) => given_list(items.iter().map(Self::from_json).collect()),
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
            Self::Timestamp(_) | Self::Zoned(..) => "google.protobuf.Timestamp",
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
            (Self::Timestamp(a) | Self::Zoned(a, _), Self::Timestamp(b) | Self::Zoned(b, _)) => Some(a.cmp(b)),
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

    /// What cel-go makes of an optional value that is handed on by a variable or a condition: what is in it is turned into
    /// a value of Go and back, in which a type becomes its name, what is in an inner optional value comes out, and an
    /// address cannot come back (`None`).
    pub(crate) fn renewed(self) -> Option<Self> {
        match self {
            Self::Optional(Some(inner)) if inner.is_changed_by_go() => {
                Some(Self::Optional(Some(Arc::new(inner.through_go()?))))
            }
            same => Some(same),
        }
    }

    fn is_changed_by_go(&self) -> bool {
        match self {
            Self::Type(_) | Self::Optional(_) | Self::Ip(_) | Self::Cidr(_) => true,
            Self::List(items) => Arc::ptr_eq(items, &GIVEN_EMPTY),
            Self::Map(map) => map.given && map.is_empty(),
            _ => false,
        }
    }

    fn through_go(&self) -> Option<Self> {
        match self {
            Self::Type(name) => Some(Self::text(name)),
            Self::Optional(None) => Some(Self::Null),
            Self::Optional(Some(inner)) => inner.through_go(),
            Self::Ip(_) | Self::Cidr(_) => None,
            plain => Some(plain.clone().own()),
        }
    }

    /// The same, an empty list or map as if it were written in the expression.
    pub(crate) fn own(self) -> Self {
        match self {
            Self::List(items) if items.is_empty() => Self::list(Vec::new()),
            Self::Map(map) if map.is_empty() => Self::Map(Arc::default()),
            same => same,
        }
    }

    /// Whether this constant is the item that `in` asks for: as equal, but a double and a whole number only without loss,
    /// since cel-go looks constants up.
    pub(crate) fn is_same(&self, item: &Self) -> bool {
        match (self, item) {
            (Self::Double(constant), Self::Int(_) | Self::Uint(_)) => {
                OtherKey::of(&Self::Double(*constant)).is_some_and(|key| OtherKey::of(item) == Some(key))
            }
            _ => self == item,
        }
    }

    /// Whether this is the empty value of its type; decides `optional.ofNonZeroValue`. As in cel-go under the API server,
    /// optional values have no such value, and neither have lists and maps of the input.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) | Self::Duration(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(value) => value.is_empty(),
            Self::Bytes(value) => value.is_empty(),
            Self::List(items) => items.is_empty() && !Arc::ptr_eq(items, &GIVEN_EMPTY),
            Self::Map(map) => map.is_empty() && !map.given,
            // The first moment of year 1 is Go's zero time.
            Self::Timestamp(nanos) | Self::Zoned(nanos, _) => *nanos == -62_135_596_800_000_000_000,
            Self::Optional(_) | Self::Ip(_) | Self::Cidr(_) | Self::Type(_) => false,
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
        (Value::Double(a), b) => order_double(*a, b),
        (a, Value::Double(b)) => order_double(*b, a).map(Ordering::reverse),
        (a, b) => Some(a.whole()?.cmp(&b.whole()?)),
    }
}

/// As doubles, so that 2^53 + 1 equals 2^53 as a double; what is outside of the whole number's type is beyond all of it.
#[expect(
    clippy::cast_precision_loss,
    reason = "cel-go compares after rounding the whole number to the nearest double"
)]
fn order_double(double: f64, whole: &Value) -> Option<Ordering> {
    let (low, high, rounded) = match whole {
        Value::Int(whole) => (-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_808.0, *whole as f64),
        Value::Uint(whole) => (0.0, 18_446_744_073_709_551_616.0, *whole as f64),
        _ => return None,
    };
    if double < low {
        return Some(Ordering::Less);
    }
    if double > high {
        return Some(Ordering::Greater);
    }
    double.partial_cmp(&rounded)
}

#[expect(clippy::cast_possible_truncation, reason = "callers pass whole numbers below 2^65")]
pub(crate) fn to_i128(whole: f64) -> i128 {
    whole as i128
}

/// By their entries, wherever they come from.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts && self.others == other.others
    }
}

impl Map {
    /// Whether it was given, not written in the expression.
    pub(crate) fn is_given(&self) -> bool {
        self.given
    }

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

    /// Takes an entry out, if it is there.
    pub(crate) fn remove(&mut self, key: &Value) {
        match key {
            Value::String(name) => drop(self.texts.remove(name)),
            other => drop(OtherKey::of(other).and_then(|key| self.others.remove(&key))),
        }
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
            // Those that one of the two types of whole numbers has without loss.
            Value::Double(value)
                if value.fract() == 0.0
                    && *value > -9_223_372_036_854_775_808.0
                    && *value < 18_446_744_073_709_551_616.0 =>
            {
                Some(Self::Number(to_i128(*value)))
            }
            other => other.whole().map(Self::Number),
        }
    }
}
