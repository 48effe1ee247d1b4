//! Kubernetes' protobuf: four magic bytes, `runtime.Unknown`, and in it the message of a built-in kind, read by the table.
//!
//! No library: prost wants the types at build time, and of the crates with Kubernetes' types k8s-openapi has no protobuf. What is
//! needed is small: the wire (`wire.rs`), and a walk beside the table. Nothing is guessed. A kind without a table is opaque; a field that the
//! table does not know becomes a member that the table does not know either, and so is masked; a singular field that stands twice,
//! which protobuf would merge, is refused.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::json;
use crate::table::{Field, Form, Id, TABLE};
use crate::value::{Member, Room, Value, Why};
use crate::wire::{self, Fields, Malformed, Wire, once};

impl From<Malformed> for Why {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

/// A body and what its envelope says of it.
pub(crate) struct Envelope<'a> {
    pub(crate) api_version: &'a str,
    pub(crate) kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    pub(crate) fn open(body: &'a [u8]) -> Result<Self, Why> {
        let envelope = wire::Envelope::open(body)?;
        if !envelope.encoding.is_empty() {
            return Err(Why::Compressed);
        }
        if !envelope.media.is_empty() {
            return Err(Why::OtherType);
        }
        if !envelope.has_object {
            return Err(Why::Malformed);
        }
        Ok(Self {
            api_version: utf8(envelope.api_version)?,
            kind: utf8(envelope.kind)?,
            raw: envelope.object,
        })
    }

    /// The object, with its `apiVersion` and `kind`.
    pub(crate) fn object(&self, id: Id, room: &mut Room) -> Result<Value<'a>, Why> {
        let Value::Object(mut members) = message(self.raw, id, room)? else {
            return Err(Why::Malformed);
        };
        for (key, text) in [("apiVersion", self.api_version), ("kind", self.kind)] {
            if members.iter().all(|member| member.key != key) {
                members.push(Member {
                    key: Cow::Borrowed(key),
                    value: Value::Text(Cow::Borrowed(text)),
                });
            }
        }
        Ok(Value::Object(members))
    }
}

/// The members of a message on their way.
struct Members<'a> {
    all: Vec<Member<'a>>,
    /// Where those of known fields stand among them, by the field's place in its message. Looked up so and not by their names: a body
    /// may have as many members as it has bytes, and then it would take the square of them.
    places: Vec<Option<usize>>,
    /// Fields that the table does not know, by their numbers; there may be several of each.
    strange: BTreeMap<u64, Vec<Value<'a>>>,
}

fn message<'a>(bytes: &'a [u8], id: Id, room: &mut Room) -> Result<Value<'a>, Why> {
    room.enter()?;
    let known = TABLE.message(id).ok_or(Why::UnknownKind)?;
    let mut members = Members {
        all: Vec::new(),
        places: vec![None; known.fields.len()],
        strange: BTreeMap::new(),
    };
    for entry in Fields::of(bytes) {
        let (number, wire) = entry?;
        room.step(known.fields.len());
        let field = known
            .fields
            .iter()
            .enumerate()
            .find(|(_, field)| field.number == number);
        match field {
            Some((place, field)) => members.take(place, field, wire, room)?,
            None => {
                room.take()?;
                members.strange.entry(number).or_default().push(unknown(wire));
            }
        }
    }
    let mut members = members.read();
    members.retain(|member| !is_zero(member, id));
    for member in &mut members {
        if let Value::Object(pairs) = &mut member.value
            && TABLE
                .field(id, &member.key)
                .is_some_and(|field| matches!(field.form, Form::Map(_)))
        {
            room.each_once(pairs)?;
        }
    }
    // An embedded message may say what its parent says.
    room.each_once(&mut members).map_err(|_| Why::Malformed)?;
    room.leave();
    Ok(Value::Object(members))
}

fn unknown(wire: Wire<'_>) -> Value<'_> {
    match wire {
        Wire::Bytes(bytes) | Wire::Fixed(bytes) => Value::Bytes(bytes),
        Wire::Number(number) => Value::Number(Cow::Owned(number.to_string())),
    }
}

impl<'a> Members<'a> {
    fn take(&mut self, place: usize, field: &'static Field, wire: Wire<'a>, room: &mut Room) -> Result<(), Why> {
        let slot = self.places.get_mut(place).ok_or(Why::Malformed)?;
        let Some(at) = *slot else {
            *slot = Some(self.all.len());
            return self.first(field, wire, room);
        };
        match (&field.form, self.all.get_mut(at).map(|member| &mut member.value)) {
            _ if field.is_inline => Err(Why::Malformed),
            (Form::List(element), Some(Value::List(items))) => {
                items.push(value(element, wire, room)?);
                Ok(())
            }
            (Form::Map(element), Some(Value::Object(pairs))) => {
                pairs.push(pair(element, wire, room)?);
                Ok(())
            }
            _ => Err(Why::Malformed),
        }
    }

    fn first(&mut self, field: &'static Field, wire: Wire<'a>, room: &mut Room) -> Result<(), Why> {
        if field.is_inline {
            let (Form::Message(inner), Wire::Bytes(bytes)) = (&field.form, wire) else {
                return Err(Why::Malformed);
            };
            let Value::Object(inner) = message(bytes, *inner, room)? else {
                return Err(Why::Malformed);
            };
            self.all.extend(inner);
            return Ok(());
        }
        let value = match &field.form {
            Form::List(element) => Value::List(vec![value(element, wire, room)?]),
            Form::Map(element) => Value::Object(vec![pair(element, wire, room)?]),
            form => value(form, wire, room)?,
        };
        self.all.push(Member {
            key: Cow::Borrowed(field.name),
            value,
        });
        Ok(())
    }

    /// All of them; those that the table does not know under their numbers.
    fn read(self) -> Vec<Member<'a>> {
        let mut all = self.all;
        all.extend(self.strange.into_iter().map(|(number, mut values)| {
            let value = match values.len() {
                1 => values.swap_remove(0),
                _ => Value::List(values),
            };
            Member {
                key: Cow::Owned(format!("#{number}")),
                value,
            }
        }));
        all
    }
}

/// Go writes fields that are no pointers also when they are empty; JSON leaves them out.
fn is_zero(member: &Member<'_>, id: Id) -> bool {
    let Some(field) = TABLE.field(id, &member.key) else {
        return false;
    };
    !field.is_optional
        && match &member.value {
            Value::Bool(is_set) => !is_set,
            Value::Number(number) => number == "0",
            Value::Text(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Object(members) => members.is_empty() && matches!(field.form, Form::Message(_)),
            Value::Null => true,
            Value::TwoWays(_) | Value::List(_) => false,
        }
}

fn pair<'a>(element: &'static Form, wire: Wire<'a>, room: &mut Room) -> Result<Member<'a>, Why> {
    let Wire::Bytes(bytes) = wire else {
        return Err(Why::Malformed);
    };
    let (mut key, mut found) = (None, None);
    for field in Fields::of(bytes) {
        match field? {
            (1, Wire::Bytes(text)) if key.is_none() => key = Some(utf8(text)?),
            (2, wire) if found.is_none() => found = Some(value(element, wire, room)?),
            _ => return Err(Why::Malformed),
        }
    }
    // An empty value may be left out on the wire.
    let value = match found {
        Some(value) => value,
        None => value(element, Wire::Bytes(&[]), room)?,
    };
    Ok(Member {
        key: Cow::Borrowed(key.unwrap_or_default()),
        value,
    })
}

fn value<'a>(form: &'static Form, wire: Wire<'a>, room: &mut Room) -> Result<Value<'a>, Why> {
    room.take()?;
    Ok(match (form, wire) {
        (Form::Text, Wire::Bytes(bytes)) => text(bytes)?,
        (Form::Bytes | Form::Any | Form::Duration, Wire::Bytes(bytes)) => Value::Bytes(bytes),
        (Form::Bool, Wire::Number(number)) => Value::Bool(number != 0),
        (Form::Integer, Wire::Number(number)) => integer(number),
        // Of eight bytes; those of the table are bounds in schemas. Shown in no place, so digested as they are.
        (Form::Double, wire) => unknown(wire),
        (Form::Quantity, Wire::Bytes(bytes)) => {
            let [quantity] = once(bytes)?;
            text(quantity.unwrap_or_default())?
        }
        (Form::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Form::Time | Form::MicroTime, Wire::Bytes(bytes)) => time(bytes)?,
        (Form::Json, Wire::Bytes(bytes)) => {
            let [raw] = once(bytes)?;
            let raw = raw.unwrap_or_default();
            match json::read(raw, room) {
                Ok(value) => value,
                Err(why @ (Why::TooDeep | Why::TooWide)) => return Err(why),
                Err(_) => Value::Bytes(raw),
            }
        }
        (Form::TextList, Wire::Bytes(bytes)) => {
            let mut texts = Vec::new();
            for field in Fields::of(bytes) {
                room.take()?;
                match field? {
                    (1, Wire::Bytes(bytes)) => texts.push(text(bytes)?),
                    _ => return Err(Why::Malformed),
                }
            }
            Value::List(texts)
        }
        (Form::Message(id), Wire::Bytes(bytes)) => message(bytes, *id, room)?,
        _ => return Err(Why::Malformed),
    })
}

fn text(bytes: &[u8]) -> Result<Value<'_>, Why> {
    Ok(Value::Text(Cow::Borrowed(utf8(bytes)?)))
}

fn integer(number: u64) -> Value<'static> {
    Value::Number(Cow::Owned(number.cast_signed().to_string()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value<'_>, Why> {
    let (mut is_text, mut number, mut word) = (false, 0, &[][..]);
    for field in Fields::of(bytes) {
        match field? {
            (1, Wire::Number(kind)) => is_text = kind == 1,
            (2, Wire::Number(value)) => number = value,
            (3, Wire::Bytes(value)) => word = value,
            _ => return Err(Why::Malformed),
        }
    }
    if is_text { text(word) } else { Ok(integer(number)) }
}

/// `seconds` and `nanos` since 1970; nothing at all is the zero time, which JSON has as `null`.
fn time(bytes: &[u8]) -> Result<Value<'static>, Why> {
    const DAY: i64 = 86_400;
    let (mut seconds, mut nanos) = (None, 0);
    for field in Fields::of(bytes) {
        match field? {
            (1, Wire::Number(value)) => seconds = Some(value.cast_signed()),
            (2, Wire::Number(value)) => nanos = value,
            _ => return Err(Why::Malformed),
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    // Years 1 to 9999, those that RFC 3339 can write.
    if !(-62_135_596_800..253_402_300_800).contains(&seconds) || nanos >= 1_000_000_000 {
        return Err(Why::Malformed);
    }
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{:06}", nanos / 1000),
    };
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z");
    Ok(Value::Text(Cow::Owned(text)))
}

/// Days since 1970-01-01 as year, month and day (H. Hinnant, "chrono-compatible low-level date algorithms", `civil_from_days`).
/// The caller has bounded the days, so nothing overflows.
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + era * 400;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

fn utf8(bytes: &[u8]) -> Result<&str, Why> {
    std::str::from_utf8(bytes).map_err(|_| Why::NotUtf8)
}
