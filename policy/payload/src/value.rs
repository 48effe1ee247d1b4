//! What was read of a body, before anything of it is masked. It holds secrets: it is neither printed nor handed out.

use std::borrow::Cow;

/// A value in one of the formats, as the API server reads it.
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    /// As it was written: a number is never rounded by us.
    Number(Cow<'a, str>),
    Text(Cow<'a, str>),
    /// Bytes in protobuf; a text in base64 in the others.
    Bytes(&'a [u8]),
    /// A plain word of YAML that one reader takes for a text and another for something else.
    TwoWays(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Vec<Member<'a>>),
}

pub(crate) struct Member<'a> {
    pub(crate) key: Cow<'a, str>,
    pub(crate) value: Value<'a>,
}

impl<'a> Value<'a> {
    /// The member of that very name.
    pub(crate) fn member(&self, name: &str) -> Option<&Value<'a>> {
        match self {
            Self::Object(members) => members
                .iter()
                .find(|member| member.key == name)
                .map(|member| &member.value),
            _ => None,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Why a body is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// There are no bytes.
    #[error("the body is empty")]
    Empty,
    /// `Content-Encoding`, or that of the protobuf envelope.
    #[error("the body is compressed")]
    Compressed,
    /// CBOR, forms, anything that is not read here.
    #[error("the media type is not read")]
    OtherType,
    /// More bytes than [`crate::Limits::body`].
    #[error("the body is longer than what is read of one")]
    TooLong,
    /// Not all of it was there.
    #[error("the body was cut off")]
    Cut,
    /// Not what its type says.
    #[error("the body is not what its type says")]
    Malformed,
    /// Not UTF-8, or half of a surrogate pair: readers put different characters in its place.
    #[error("a text in the body is not valid UTF-8")]
    NotUtf8,
    /// Deeper than [`crate::Limits::depth`].
    #[error("the body is nested too deep")]
    TooDeep,
    /// More values than [`crate::Limits::values`].
    #[error("the body has too many values")]
    TooWide,
    /// A key that stands twice in one object; in YAML anchors, aliases, tags, merge keys, several documents, ends of lines that are none to
    /// others.
    #[error("readers differ on the body")]
    ManyReadings,
    /// It says its `apiVersion` or its `kind` and not both, or says it with something else than a text.
    #[error("the body names half of a type")]
    HalfType,
    /// Protobuf of a kind whose fields are not known.
    #[error("the fields of this kind are not known in protobuf")]
    UnknownKind,
}

impl Why {
    /// Each of them.
    pub const ALL: [Self; 12] = [
        Self::Empty,
        Self::Compressed,
        Self::OtherType,
        Self::TooLong,
        Self::Cut,
        Self::Malformed,
        Self::NotUtf8,
        Self::TooDeep,
        Self::TooWide,
        Self::ManyReadings,
        Self::HalfType,
        Self::UnknownKind,
    ];

    /// Stable code, for records.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Compressed => "compressed",
            Self::OtherType => "otherType",
            Self::TooLong => "tooLong",
            Self::Cut => "cutOff",
            Self::Malformed => "malformed",
            Self::NotUtf8 => "notUtf8",
            Self::TooDeep => "tooDeep",
            Self::TooWide => "tooManyValues",
            Self::ManyReadings => "manyReadings",
            Self::HalfType => "halfType",
            Self::UnknownKind => "unknownKind",
        }
    }
}

/// Counts what is read against the limits, so that a small body cannot become a large tree.
pub(crate) struct Room {
    values: usize,
    depth: usize,
    /// Comparisons of keys and fields, which grow as the body does and not faster.
    pub(crate) steps: usize,
}

impl Room {
    pub(crate) const fn new(values: usize, depth: usize) -> Self {
        Self {
            values,
            depth,
            steps: 0,
        }
    }

    /// One more value.
    pub(crate) fn take(&mut self) -> Result<(), Why> {
        self.values = self.values.checked_sub(1).ok_or(Why::TooWide)?;
        Ok(())
    }

    pub(crate) fn enter(&mut self) -> Result<(), Why> {
        self.depth = self.depth.checked_sub(1).ok_or(Why::TooDeep)?;
        Ok(())
    }

    pub(crate) const fn leave(&mut self) {
        self.depth = self.depth.saturating_add(1);
    }

    /// So many comparisons are made.
    pub(crate) const fn step(&mut self, comparisons: usize) {
        self.steps = self.steps.saturating_add(comparisons);
    }

    /// Sorts members by their keys. A key that stands twice is read as its last value by the API server (`sigs.k8s.io/json`), as its first or
    /// as an error by others: whatever one of them would be shown as, it would not be what was read.
    pub(crate) fn each_once(&mut self, members: &mut [Member<'_>]) -> Result<(), Why> {
        self.step(members.len());
        if !members.is_sorted_by(|one, other| one.key < other.key) {
            members.sort_by(|one, other| {
                self.step(1);
                one.key.cmp(&other.key)
            });
        }
        let twice = members.windows(2).any(|pair| match pair {
            [one, other] => one.key == other.key,
            _ => false,
        });
        if twice { Err(Why::ManyReadings) } else { Ok(()) }
    }
}
