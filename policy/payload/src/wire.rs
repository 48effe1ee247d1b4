//! The wire format of protobuf, and the envelope that Kubernetes puts around it: the one place where its bytes are taken apart.
//!
//! Public, because three readers stand on it: the masking of this crate, the question about one's own rights (`proxy`), and the stand-in of
//! an API server (`demo`). What a field means is theirs. It is at home here and not in `model`: a noun has no bytes, and this is the crate
//! below all three that reads bodies of strangers.
//!
//! Stricter than protobuf asks, so that no two readers differ: field numbers that Go's generated code would cut to 32 bits, numbers of
//! more than 64 bits, and groups (wire types 3 and 4, which Kubernetes never writes) are [`Malformed`]. Nothing is copied, and nothing
//! here is deep: a message within a message is bytes.
//!
//! Source: <https://protobuf.dev/programming-guides/encoding/>; kubernetes/apimachinery `pkg/runtime/serializer/protobuf`.

use std::fmt;

/// What every body of Kubernetes' protobuf begins with.
pub const MAGIC: &[u8] = b"k8s\0";
/// The highest field number there is.
const LAST_FIELD: u64 = (1 << 29) - 1;

/// The bytes are no message of protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no message of protobuf")]
pub struct Malformed;

/// How a field's value stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of up to ten bytes (wire type 0).
    Number,
    /// Eight bytes (wire type 1).
    Eight,
    /// A length, and so many bytes (wire type 2).
    Length,
    /// Four bytes (wire type 5).
    Four,
}

/// Number and kind of the field that a tag begins.
///
/// # Errors
/// There is no such field or kind.
pub fn field(tag: u64) -> Result<(u64, Kind), Malformed> {
    let kind = match tag & 7 {
        0 => Kind::Number,
        1 => Kind::Eight,
        2 => Kind::Length,
        5 => Kind::Four,
        _ => return Err(Malformed),
    };
    match tag >> 3 {
        number @ 1..=LAST_FIELD => Ok((number, kind)),
        _ => Err(Malformed),
    }
}

/// A number on its way, byte by byte: seven bits each, the lowest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Varint {
    value: u64,
    shift: u32,
}

impl Varint {
    /// Takes one byte; gives the number when it was the last one.
    ///
    /// # Errors
    /// It is no number of 64 bits.
    pub fn take(&mut self, byte: u8) -> Result<Option<u64>, Malformed> {
        if self.shift > 63 || (self.shift == 63 && byte > 1) {
            return Err(Malformed);
        }
        self.value |= u64::from(byte & 0x7f) << self.shift;
        self.shift = self.shift.saturating_add(7);
        Ok((byte & 0x80 == 0).then_some(self.value))
    }

    /// Whether a byte was taken.
    #[must_use]
    pub const fn has_begun(self) -> bool {
        self.shift > 0
    }
}

/// The value of a field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wire<'a> {
    /// A number.
    Number(u64),
    /// Four or eight bytes, lowest first.
    Fixed(&'a [u8]),
    /// Bytes with a length before them: a text, bytes, or a message.
    Bytes(&'a [u8]),
}

impl fmt::Debug for Wire<'_> {
    /// What stands in it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(_) => f.write_str("Number"),
            Self::Fixed(bytes) => write!(f, "Fixed({} bytes)", bytes.len()),
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
        }
    }
}

/// The fields of a message with their numbers, in the order in which they stand. Ends after the first that is none.
#[derive(Clone)]
pub struct Fields<'a>(&'a [u8]);

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fields({} bytes)", self.0.len())
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    /// Those of this message.
    #[must_use]
    pub const fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>), Malformed> {
        let (number, kind) = field(self.number()?)?;
        let wire = match kind {
            Kind::Number => Wire::Number(self.number()?),
            Kind::Eight => Wire::Fixed(self.take(8)?),
            Kind::Four => Wire::Fixed(self.take(4)?),
            Kind::Length => {
                let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                Wire::Bytes(self.take(length)?)
            }
        };
        Ok((number, wire))
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = Varint::default();
        loop {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            if let Some(value) = number.take(*byte)? {
                return Ok(value);
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

/// The values of fields 1 to `N`, each with a length and at most once; others are not looked at.
///
/// # Errors
/// One of them stands twice, which readers would have to merge, or is a number; or it is no message.
pub fn once<const N: usize>(message: &[u8]) -> Result<[Option<&[u8]>; N], Malformed> {
    let mut found = [None; N];
    for field in Fields::of(message) {
        let (number, wire) = field?;
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        let Some(slot) = place.and_then(|place| found.get_mut(place)) else {
            continue;
        };
        match wire {
            Wire::Bytes(bytes) if slot.is_none() => *slot = Some(bytes),
            _ => return Err(Malformed),
        }
    }
    Ok(found)
}

/// A body taken out of `runtime.Unknown`; what is not there is empty.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    /// `apiVersion` of the object.
    pub api_version: &'a [u8],
    /// `kind` of the object.
    pub kind: &'a [u8],
    /// The object's own message.
    pub object: &'a [u8],
    /// Whether there is one: a body that ends before it is whole to protobuf.
    pub has_object: bool,
    /// How it is compressed.
    pub encoding: &'a [u8],
    /// What it is, where it is no protobuf.
    pub media: &'a [u8],
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({} bytes)", self.object.len())
    }
}

impl<'a> Envelope<'a> {
    /// Opens a body.
    ///
    /// # Errors
    /// It is not Kubernetes' protobuf, or says something twice.
    pub fn open(body: &'a [u8]) -> Result<Self, Malformed> {
        let [types, object, encoding, media] = once(body.strip_prefix(MAGIC).ok_or(Malformed)?)?;
        let [api_version, kind] = once(types.unwrap_or_default())?;
        Ok(Self {
            api_version: api_version.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            has_object: object.is_some(),
            object: object.unwrap_or_default(),
            encoding: encoding.unwrap_or_default(),
            media: media.unwrap_or_default(),
        })
    }

    /// Whether the object is protobuf as it stands there.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.encoding.is_empty() && self.media.is_empty()
    }
}

/// Entry for the fuzzer: any bytes are a message or none; what was read of one and is written anew is read as the same; and a number is the same
/// byte by byte.
///
/// # Panics
/// Where that does not hold.
pub fn fuzz_protobuf_wire(data: &[u8]) {
    let read: Vec<_> = Fields::of(data).map_while(Result::ok).collect();
    let mut anew = Vec::new();
    for (number, wire) in &read {
        put(*number, *wire, &mut anew);
    }
    let again: Result<Vec<_>, _> = Fields::of(&anew).collect();
    assert_eq!(
        again.as_deref(),
        Ok(read.as_slice()),
        "fields that were read are written as others"
    );
    assert!(
        anew.len() <= data.len(),
        "the shortest form is longer than what was read"
    );
    if let Ok(envelope) = Envelope::open(data) {
        assert!(envelope.object.len() < data.len(), "an envelope holds more than it is");
    }
}

/// Writes a field in the shortest form.
fn put(number: u64, wire: Wire<'_>, out: &mut Vec<u8>) {
    let (kind, bytes) = match wire {
        Wire::Number(_) => (0, &[][..]),
        Wire::Fixed(bytes) if bytes.len() == 8 => (1, bytes),
        Wire::Fixed(bytes) => (5, bytes),
        Wire::Bytes(bytes) => (2, bytes),
    };
    put_number(number << 3 | kind, out);
    match wire {
        Wire::Number(value) => put_number(value, out),
        Wire::Bytes(bytes) => put_number(u64::try_from(bytes.len()).unwrap_or(u64::MAX), out),
        Wire::Fixed(_) => {}
    }
    out.extend_from_slice(bytes);
}

fn put_number(mut value: u64, out: &mut Vec<u8>) {
    while let Some(byte) = u8::try_from(value & 0x7f).ok().filter(|_| value >= 0x80) {
        out.push(byte | 0x80);
        value >>= 7;
    }
    out.extend(u8::try_from(value).ok());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Made {
        Number(u64),
        Fixed(Vec<u8>),
        Bytes(Vec<u8>),
    }

    fn made() -> impl Strategy<Value = Made> {
        prop_oneof![
            any::<u64>().prop_map(Made::Number),
            any::<[u8; 8]>().prop_map(|bytes| Made::Fixed(bytes.to_vec())),
            any::<[u8; 4]>().prop_map(|bytes| Made::Fixed(bytes.to_vec())),
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Made::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was_and_cut_anywhere_it_is_none(
            fields in prop::collection::vec((1..=LAST_FIELD, made()), 0..12), cut in any::<prop::sample::Index>(),
        ) {
            let (mut bytes, mut ends) = (Vec::new(), vec![0]);
            let wires: Vec<(u64, Wire<'_>)> = fields.iter().map(|(number, made)| (*number, match made {
                Made::Number(value) => Wire::Number(*value),
                Made::Fixed(bytes) => Wire::Fixed(bytes),
                Made::Bytes(bytes) => Wire::Bytes(bytes),
            })).collect();
            for (number, wire) in &wires {
                put(*number, *wire, &mut bytes);
                ends.push(bytes.len());
            }
            let read: Result<Vec<_>, _> = Fields::of(&bytes).collect();
            prop_assert_eq!(read.as_deref(), Ok(wires.as_slice()));
            let at = cut.index(bytes.len() + 1);
            let read: Result<Vec<_>, _> = Fields::of(&bytes[..at]).collect();
            prop_assert_eq!(read.is_ok(), ends.contains(&at));
        }

        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            fuzz_protobuf_wire(&bytes);
            fuzz_protobuf_wire(&[if magic { MAGIC } else { b"" }, &bytes].concat());
        }
    }

    /// Go's generated code cuts a field number to 32 bits and the bits of a number beyond 64: it would read another message than we.
    #[test]
    fn what_go_would_read_as_something_else_is_no_message() {
        let tag = |number: u64| {
            let mut bytes = Vec::new();
            put(number, Wire::Bytes(b"x"), &mut bytes);
            Fields::of(&bytes)
                .collect::<Result<Vec<_>, _>>()
                .map(|fields| fields.len())
        };
        assert_eq!(tag(LAST_FIELD), Ok(1));
        for number in [0, LAST_FIELD + 1, (1 << 32) + 1] {
            assert_eq!(tag(number), Err(Malformed), "{number}");
        }
        let number = |bytes: &[u8]| match Fields::of(&[b"\x08", bytes].concat()).next() {
            Some(Ok((1, Wire::Number(number)))) => Ok(number),
            other => Err(other.is_some_and(|field| field.is_err())),
        };
        let longest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(number(&longest), Ok(u64::MAX));
        for over in [[0xff; 11], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0]] {
            assert_eq!(number(&over), Err(true));
        }
        for group in [b"\x0b\x0c", b"\x0e\x00"] {
            assert_eq!(Fields::of(group).next(), Some(Err(Malformed)));
        }
    }

    #[test]
    fn an_envelope_says_each_thing_once() {
        let field = |number, bytes: &[u8]| {
            let mut out = Vec::new();
            put(number, Wire::Bytes(bytes), &mut out);
            out
        };
        let types = field(1, &[field(1, b"v1"), field(2, b"Pod")].concat());
        let body = |more: &[u8]| [MAGIC, &types, &field(2, b"object"), more].concat();
        let whole = body(&[field(3, b""), field(4, b"")].concat());
        let envelope = Envelope::open(&whole).unwrap();
        assert_eq!(
            (envelope.api_version, envelope.kind, envelope.object),
            (&b"v1"[..], &b"Pod"[..], &b"object"[..])
        );
        assert!(envelope.is_plain());
        assert!(!Envelope::open(&body(&field(3, b"gzip"))).unwrap().is_plain());
        assert!(
            !Envelope::open(&body(&field(4, b"application/json")))
                .unwrap()
                .is_plain()
        );
        for twice in [types.clone(), field(2, b"other")] {
            assert_eq!(Envelope::open(&body(&twice)).err(), Some(Malformed));
        }
        assert_eq!(Envelope::open(b"k8s").err(), Some(Malformed));
    }
}
