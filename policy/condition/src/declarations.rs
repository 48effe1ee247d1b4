//! What an expression may name, and the types it is checked against.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type of the language, as far as it is known at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known only when evaluated.
    Dyn,
    /// As [`Type::Dyn`], but not to be looped over unless wrapped in `dyn(…)`: what Kubernetes declares claims as.
    Any,
    /// Not settled yet, by number: the element of an empty literal, what a form of a function takes. Becomes what it is used
    /// with; at the end, `Dyn`.
    Parameter(usize),
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// Signed 64 bits; overflow is an error.
    Int,
    /// Unsigned 64 bits; overflow is an error.
    Uint,
    /// IEEE 754 binary64.
    Double,
    /// Unicode text.
    String,
    /// Octets.
    Bytes,
    /// A point in time, years 1 to 9999.
    Timestamp,
    /// A length of time in nanoseconds.
    Duration,
    /// An IP address.
    Ip,
    /// An IP network.
    Cidr,
    /// A list of this type.
    List(Box<Type>),
    /// A map from the first to the second type.
    Map(Box<Type>, Box<Type>),
    /// A value that may be absent.
    Optional(Box<Type>),
    /// A type as a value.
    Type,
    /// A record with declared fields.
    Object(Arc<ObjectType>),
}

/// A record type: a map with text keys whose fields are known at load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectType {
    name: String,
    fields: BTreeMap<String, Type>,
}

impl ObjectType {
    /// A record type of this name and these fields.
    pub fn new<'a>(name: &str, fields: impl IntoIterator<Item = (&'a str, Type)>) -> Self {
        let fields = fields
            .into_iter()
            .map(|(field, kind)| (field.to_owned(), kind))
            .collect();
        Self {
            name: name.to_owned(),
            fields,
        }
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Type> {
        self.fields.get(name)
    }

    pub(crate) fn field_names(&self) -> impl Iterator<Item = &str> {
        self.fields.keys().map(String::as_str)
    }
}

impl Type {
    /// A list of `element`.
    #[must_use]
    pub fn list(element: Self) -> Self {
        Self::List(Box::new(element))
    }

    /// A map from `key` to `value`.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Box::new(key), Box::new(value))
    }

    /// An optional `inner`.
    #[must_use]
    pub fn optional(inner: Self) -> Self {
        Self::Optional(Box::new(inner))
    }

    /// A record type.
    #[must_use]
    pub fn object(object: ObjectType) -> Self {
        Self::Object(Arc::new(object))
    }

    /// Whether a value of this type can stand where `wanted` is asked. `Dyn` fits everywhere and takes everything.
    #[must_use]
    pub fn fits(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Dyn | Self::Any | Self::Parameter(_), _) | (_, Self::Dyn | Self::Any | Self::Parameter(_)) => true,
            (Self::List(have), Self::List(want)) | (Self::Optional(have), Self::Optional(want)) => have.fits(want),
            (Self::Map(have_key, have), Self::Map(want_key, want)) => have_key.fits(want_key) && have.fits(want),
            (Self::Null, other) | (other, Self::Null) => other.is_nullable(),
            (have, want) => have == want,
        }
    }

    /// With `Dyn` for all that stayed open.
    pub(crate) fn settled(self) -> Self {
        match self {
            Self::Parameter(_) => Self::Dyn,
            Self::List(inner) => Self::list(inner.settled()),
            Self::Optional(inner) => Self::optional(inner.settled()),
            Self::Map(key, value) => Self::map(key.settled(), value.settled()),
            other => other,
        }
    }

    /// Whether `null` can stand where this type is asked.
    pub(crate) fn is_nullable(&self) -> bool {
        matches!(
            self,
            Self::Null | Self::Timestamp | Self::Duration | Self::Optional(_) | Self::Object(_) | Self::Ip | Self::Cidr
        )
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dyn | Self::Parameter(_) => f.write_str("dyn"),
            Self::Any => f.write_str("any"),
            Self::Null => f.write_str("null_type"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Uint => f.write_str("uint"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Bytes => f.write_str("bytes"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Ip => f.write_str("net.IP"),
            Self::Cidr => f.write_str("net.CIDR"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(inner) => write!(f, "optional_type({inner})"),
            Self::Type => f.write_str("type"),
            Self::Object(object) => f.write_str(&object.name),
        }
    }
}

/// The variables an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Declarations {
    variables: Vec<(Arc<str>, Type)>,
    kubernetes: bool,
}

impl Declarations {
    /// No variables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable; the last declaration of a name counts.
    #[must_use]
    pub fn variable(mut self, name: &str, kind: Type) -> Self {
        self.variables.retain(|(known, _)| &**known != name);
        self.variables.push((Arc::from(name), kind));
        self
    }

    /// Reads expressions exactly as the API server reads those of its own configuration: `__dot__`, `__dash__`,
    /// `__slash__` and `__underscores__` in field names and keys stand for their characters
    /// (`claims.kubernetes__dot__io`), and a constant that `ip(…)` or `cidr(…)` cannot read fails when it is evaluated.
    /// Otherwise such a constant is refused at load, as every other one.
    #[must_use]
    pub fn as_kubernetes(mut self) -> Self {
        self.kubernetes = true;
        self
    }

    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Type)> {
        let slot = self.variables.iter().position(|(known, _)| &**known == name)?;
        self.variables.get(slot).map(|(_, kind)| (slot, kind))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.variables.iter().map(|(name, _)| name)
    }

    pub(crate) fn is_kubernetes(&self) -> bool {
        self.kubernetes
    }
}
