//! Writes a record: compact JSON, as `serde_json` writes it, in one pass and without formatting machinery, because each request
//! writes two. A record has a length whatever a stranger put into it: each text ends at a limit and says how long it was.
//!
//! Done where the texts are written, so that no member can be forgotten. Invariant: what is within the limit is byte for byte what
//! `serde_json` writes (a property test compares them).

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, SerializeTupleStruct,
    Serializer,
};

/// A record holds plain values alone: texts, whole numbers, truth values, lists, objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record cannot hold this: {0}")]
pub struct NotPlain(Box<str>);

impl serde::ser::Error for NotPlain {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

fn not_plain<T>(what: &str) -> Result<T, NotPlain> {
    Err(NotPlain(what.into()))
}

/// Writes compact JSON whose texts have at most so many bytes.
pub(super) struct RecordWriter<'o> {
    pub(super) out: &'o mut Vec<u8>,
    pub(super) most: usize,
}

/// How a byte stands in a JSON text: as it is, behind a backslash, or as `\u00..` (RFC 8259 §7).
fn escape(byte: u8) -> Option<&'static [u8]> {
    Some(match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        0x08 => b"\\b",
        b'\t' => b"\\t",
        b'\n' => b"\\n",
        0x0c => b"\\f",
        b'\r' => b"\\r",
        0x00..0x20 => b"\\u00",
        _ => return None,
    })
}

fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

impl RecordWriter<'_> {
    pub(super) fn text(&mut self, text: &str) {
        self.out.push(b'"');
        // Nearly always; all bytes are looked at, which needs no branch for each.
        if text.len() <= self.most && !text.bytes().fold(false, |found, byte| found | is_escaped(byte)) {
            self.out.extend_from_slice(text.as_bytes());
        } else {
            self.unusual(text);
        }
        self.out.push(b'"');
    }

    /// With what is escaped, and cut where the room ends.
    fn unusual(&mut self, text: &str) {
        let mut room = self.most;
        let mut rest = text;
        while !rest.is_empty() {
            let plain = rest.bytes().position(is_escaped).unwrap_or(rest.len());
            let (fragment, behind) = rest.split_at_checked(plain).unwrap_or((rest, ""));
            let kept = fragment.get(..fragment.floor_char_boundary(room)).unwrap_or_default();
            self.out.extend_from_slice(kept.as_bytes());
            room = room.saturating_sub(kept.len());
            rest = behind;
            let is_cut = kept.len() < fragment.len() || !self.escaped(&mut rest, &mut room);
            if is_cut {
                self.out
                    .extend_from_slice(format!("… ({} bytes)", text.len()).as_bytes());
                return;
            }
        }
    }

    /// Writes the first byte of `rest`, which is to be escaped, if there is one; `false`: there is no room.
    fn escaped(&mut self, rest: &mut &str, room: &mut usize) -> bool {
        let Some((byte, written)) = rest.bytes().next().and_then(|byte| Some((byte, escape(byte)?))) else {
            return true;
        };
        let hexadecimal = written.len() > 2;
        let length = if hexadecimal { 6 } else { 2 };
        if length > *room {
            return false;
        }
        self.out.extend_from_slice(written);
        if hexadecimal {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            for half in [byte >> 4, byte & 15] {
                self.out.extend(DIGITS.get(usize::from(half)));
            }
        }
        *room -= length;
        // Only ASCII is escaped.
        *rest = rest.get(1..).unwrap_or_default();
        true
    }

    fn number(&mut self, negative: bool, mut number: u64) {
        let mut digits = [0_u8; 20];
        let mut from = digits.len();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            from -= 1;
            if number == 0 {
                break;
            }
        }
        if negative {
            self.out.push(b'-');
        }
        self.out.extend_from_slice(digits.get(from..).unwrap_or_default());
    }
}

/// A list or an object under way.
pub(super) struct Members<'c, 'o> {
    cut: &'c mut RecordWriter<'o>,
    is_first: bool,
    end: u8,
}

impl<'c, 'o> Members<'c, 'o> {
    fn begin(cut: &'c mut RecordWriter<'o>, (begin, end): (u8, u8)) -> Self {
        cut.out.push(begin);
        Self {
            cut,
            is_first: true,
            end,
        }
    }

    fn next(&mut self) -> &mut RecordWriter<'o> {
        if !std::mem::take(&mut self.is_first) {
            self.cut.out.push(b',');
        }
        self.cut
    }

    fn done(self) {
        self.cut.out.push(self.end);
    }
}

const LIST: (u8, u8) = (b'[', b']');
const OBJECT: (u8, u8) = (b'{', b'}');

macro_rules! whole_numbers {
    ($($name:ident: $signed:ty),*) => {$(
        fn $name(self, value: $signed) -> Result<(), NotPlain> {
            let value = i64::from(value);
            self.number(value < 0, value.unsigned_abs());
            Ok(())
        }
    )*};
}

impl<'c, 'o> Serializer for &'c mut RecordWriter<'o> {
    type Ok = ();
    type Error = NotPlain;
    type SerializeSeq = Members<'c, 'o>;
    type SerializeTuple = Members<'c, 'o>;
    type SerializeTupleStruct = Members<'c, 'o>;
    type SerializeTupleVariant = Impossible<(), NotPlain>;
    type SerializeMap = Members<'c, 'o>;
    type SerializeStruct = Members<'c, 'o>;
    type SerializeStructVariant = Impossible<(), NotPlain>;

    whole_numbers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32);

    fn serialize_u64(self, value: u64) -> Result<(), NotPlain> {
        self.number(false, value);
        Ok(())
    }

    fn serialize_bool(self, value: bool) -> Result<(), NotPlain> {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Result<(), NotPlain> {
        self.text(text);
        Ok(())
    }

    fn serialize_char(self, letter: char) -> Result<(), NotPlain> {
        self.text(letter.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_none(self) -> Result<(), NotPlain> {
        self.serialize_unit()
    }

    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<(), NotPlain> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotPlain> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), NotPlain> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), NotPlain> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: ?Sized + Serialize>(self, _: &'static str, value: &T) -> Result<(), NotPlain> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Members<'c, 'o>, NotPlain> {
        Ok(Members::begin(self, LIST))
    }

    fn serialize_tuple(self, _: usize) -> Result<Members<'c, 'o>, NotPlain> {
        Ok(Members::begin(self, LIST))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Members<'c, 'o>, NotPlain> {
        Ok(Members::begin(self, LIST))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'c, 'o>, NotPlain> {
        Ok(Members::begin(self, OBJECT))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Members<'c, 'o>, NotPlain> {
        Ok(Members::begin(self, OBJECT))
    }

    fn serialize_f32(self, _: f32) -> Result<(), NotPlain> {
        not_plain("a fraction")
    }

    fn serialize_f64(self, _: f64) -> Result<(), NotPlain> {
        not_plain("a fraction")
    }

    fn serialize_bytes(self, _: &[u8]) -> Result<(), NotPlain> {
        not_plain("bytes")
    }

    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), NotPlain> {
        not_plain("a variant with content")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, NotPlain> {
        not_plain("a variant with content")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, NotPlain> {
        not_plain("a variant with content")
    }
}

macro_rules! list {
    ($($kind:ident::$element:ident),*) => {$(
        impl $kind for Members<'_, '_> {
            type Ok = ();
            type Error = NotPlain;

            fn $element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), NotPlain> {
                value.serialize(self.next())
            }

            fn end(self) -> Result<(), NotPlain> {
                self.done();
                Ok(())
            }
        }
    )*};
}

list!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field
);

impl SerializeMap for Members<'_, '_> {
    type Ok = ();
    type Error = NotPlain;

    /// Keys are texts everywhere in a record.
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), NotPlain> {
        key.serialize(self.next())
    }

    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), NotPlain> {
        self.cut.out.push(b':');
        value.serialize(&mut *self.cut)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.done();
        Ok(())
    }
}

impl SerializeStruct for Members<'_, '_> {
    type Ok = ();
    type Error = NotPlain;

    fn serialize_field<T: ?Sized + Serialize>(&mut self, name: &'static str, value: &T) -> Result<(), NotPlain> {
        // A member's name is ours: a word that nothing in it asks to be escaped.
        let cut = self.next();
        cut.out.push(b'"');
        cut.out.extend_from_slice(name.as_bytes());
        cut.out.extend_from_slice(b"\":");
        value.serialize(cut)
    }

    fn end(self) -> Result<(), NotPlain> {
        self.done();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use crate::event::{Effective, Record, Request};

    /// A record of a call with texts at a stranger's choice.
    fn body(text: &str, names: &[String], most: usize) -> Value {
        let effective = Effective {
            user: text,
            uid: Some(text),
            groups: names,
            groups_count: None,
            groups_hash: None,
            extra_keys: names.iter().map(String::as_str).collect(),
            extra_count: None,
        };
        let request = Request {
            path: text,
            namespace: Some(text),
            name: Some(text),
            ..Request::default()
        };
        let record = Record {
            effective: Some(effective),
            req: Some(request),
            note: Some(text),
            ..Record::default()
        };
        let body = record.body_within(most).unwrap();
        assert!(body.len() <= most, "{} bytes", body.len());
        serde_json::from_slice(&body).unwrap()
    }

    #[test]
    fn a_text_at_the_limit_stays_whole_and_the_next_byte_cuts_it() {
        let written = |text: &str| body(text, &[], 16 << 10)["note"].as_str().unwrap().to_owned();
        let whole = "é".repeat(512);
        assert_eq!(written(&whole), whole);
        assert_eq!(written(&format!("{whole}x")), format!("{whole}… (1025 bytes)"));
        assert_eq!(
            written(&format!("x{whole}")),
            format!("x{}… (1025 bytes)", "é".repeat(511)),
            "no half of a letter"
        );
    }

    proptest! {
        #[test]
        fn any_text_stands_whole_or_with_its_beginning_and_its_length(
            text in prop_oneof!["\\PC{0,40}", "[\\x00-\\x7f]{0,3000}", "\\PC{0,2000}"],
            names in prop::collection::vec("[\\x00-\\x7f]{0,1500}", 0..8),
        ) {
            for most in [16 << 10, 4_096] {
                let written = body(&text, &names, most);
                let kept = written["note"].as_str().unwrap();
                if kept != text {
                    let said = format!("… ({} bytes)", text.len());
                    prop_assert!(kept.strip_suffix(said.as_str()).is_some_and(|kept| text.starts_with(kept) && kept.len() <= 1_024));
                }
            }
        }

        #[test]
        fn within_the_limit_a_record_is_written_as_anybody_writes_it(
            text in "[\\x00-\\x7fé€😀]{0,160}",
            names in prop::collection::vec("[\\x00-\\x7f]{0,40}", 0..4),
            numbers in any::<(u64, i64, u16, u32)>(),
        ) {
            let by = [(text.as_str(), numbers.0), ("x", 0)];
            let record = Record {
                pair: Some(numbers.0),
                t: crate::time::Timestamp::from_unix_seconds(numbers.1 / 1_000_000_000_000),
                mono: numbers.0,
                effective: Some(Effective {
                    user: &text, uid: None, groups: &names, groups_count: Some(names.len()), groups_hash: Some("h".into()),
                    extra_keys: names.iter().map(String::as_str).collect(), extra_count: None,
                }),
                req: Some(Request { path: &text, dry_run: numbers.0.is_multiple_of(2), ..Request::default() }),
                upstream: Some(crate::event::Served {
                    address: Some(&text), local_port: Some(numbers.2), attempts: Some(numbers.3), audit_id_differs: true,
                    status: Some(numbers.2),
                    node: Some(&text),
                }),
                sum: Some(crate::event::Summed {
                    count: 1, from: crate::time::Timestamp::EPOCH, to: crate::time::Timestamp::MAX, what: &text, by: &by,
                }),
                issued: Some(crate::event::Issued {
                    id: &text, what: "token", account: None, serial: None, expires: Some(numbers.1), origin: "o",
                }),
                note: Some(&text),
                ..Record::default()
            };
            prop_assert_eq!(record.body().unwrap(), serde_json::to_vec(&record).unwrap());
        }
    }
}
