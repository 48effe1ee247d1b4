//! The leaf: compact JSON whose first members the ledger writes itself, and the few members it reads. Not the record's
//! meaning (see `model::event`).

use std::borrow::Cow;
use std::io::Write;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use model::event::RecordKind;
use serde::Deserialize;

/// No leaf's own first members are longer than this, in bytes.
pub(crate) const PREFIX_MAX: usize = 64;
/// The longest request id that is kept for pairing, in bytes (a UUID has 36).
pub(crate) const ID_MAX: usize = 64;

/// Writes `{"v":1,"kind":"…","seq":n` and then the members of `body`, which is a JSON object (see [`is_object`]).
pub(crate) fn write(out: &mut Vec<u8>, kind: RecordKind, seq: u64, body: &[u8]) {
    write_prefix(out, kind, seq);
    let members = body.get(1..).unwrap_or(b"}");
    if members != b"}" {
        out.push(b',');
    }
    out.extend_from_slice(members);
}

const BEFORE_KIND: &[u8] = b"{\"v\":1,\"kind\":\"";
const BEFORE_SEQ: &[u8] = b"\",\"seq\":";

fn write_prefix(out: &mut Vec<u8>, kind: RecordKind, seq: u64) {
    out.extend_from_slice(BEFORE_KIND);
    out.extend_from_slice(kind.name().as_bytes());
    out.extend_from_slice(BEFORE_SEQ);
    // A Vec takes every write; there is no error to pass on.
    let _ = write!(out, "{seq}");
}

/// Whether the leaf begins with exactly what [`write`] puts there for this kind and sequence number.
pub(crate) fn begins_with(leaf: &[u8], kind: RecordKind, seq: u64) -> bool {
    // Piece by piece, since this stands in the way of every record that is verified: to write the prefix anew is an allocation.
    let rest = leaf.strip_prefix(BEFORE_KIND);
    let rest = rest.and_then(|rest| rest.strip_prefix(kind.name().as_bytes()));
    let Some(rest) = rest.and_then(|rest| rest.strip_prefix(BEFORE_SEQ)) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = rest.split_at_checked(digits).unwrap_or_default();
    is_decimal_of(number, seq) && matches!(rest, [b',', .., b'}'] | [b'}'])
}

/// The number that a leaf says it is, whatever its kind; `None` where it does not begin as a leaf does. A stranger's number: up to 2^64 - 1.
pub(crate) fn seq_in(leaf: &[u8]) -> Option<u64> {
    let rest = leaf.strip_prefix(BEFORE_KIND)?;
    let kind = rest.iter().position(|byte| *byte == b'"')?;
    let rest = rest.get(kind..)?.strip_prefix(BEFORE_SEQ)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = rest.get(..digits)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    is_decimal_of(digits, number).then_some(number)
}

/// Whether these are exactly the digits of the number.
fn is_decimal_of(digits: &[u8], number: u64) -> bool {
    let is_plain = digits == b"0" || !matches!(digits, [] | [b'0', ..]);
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        value.checked_mul(10)?.checked_add(u64::from(digit.wrapping_sub(b'0')))
    });
    is_plain && value == Some(number)
}

/// The kind of record `seq` of a ledger, where these bytes can be that record.
pub(crate) fn kind_of(leaf: &[u8], seq: u64) -> Option<RecordKind> {
    RecordKind::ALL
        .iter()
        .copied()
        .find(|kind| begins_with(leaf, *kind, seq))
}

/// Whether these bytes can be record `seq` of a ledger, of whichever kind.
pub(crate) fn is_of(leaf: &[u8], seq: u64) -> bool {
    kind_of(leaf, seq).is_some()
}

/// Whether `body` looks like a compact JSON object: cheap, because it stands in the path of every record; the encoder in
/// `model` makes the bytes, and the members the ledger itself relies on are parsed where they matter ([`facts`]).
pub(crate) fn is_object(body: &[u8]) -> bool {
    matches!(body, [b'{', b'}'] | [b'{', b'"', .., b'}'])
}

/// The members of a leaf or body that the ledger itself reads.
#[derive(Debug, Deserialize)]
pub(crate) struct Facts<'a> {
    /// Joins the records of one request.
    #[serde(borrow, default)]
    pub(crate) id: Cow<'a, str>,
    /// The record that this one ends.
    #[serde(default)]
    pub(crate) pair: Option<u64>,
}

/// Parses the whole JSON and keeps what the ledger needs; `None` when it is no JSON object with those members' types.
pub(crate) fn facts(json: &[u8]) -> Option<Facts<'_>> {
    serde_json::from_slice(json).ok()
}

/// As [`facts`], of a leaf whose checksum holds, and mostly without a parse: the gateway writes `id` and `pair` first, in this order. Where they do not stand so,
/// the JSON is parsed. The rest of it is not looked at.
pub(crate) fn first_facts(leaf: &[u8]) -> Option<Facts<'_>> {
    static PAIR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"pair\":"));
    let quick = || {
        let rest = leaf.strip_prefix(BEFORE_KIND)?;
        let rest = rest
            .get(rest.iter().position(|byte| *byte == b'"')?..)?
            .strip_prefix(BEFORE_SEQ)?;
        let rest = rest.get(rest.iter().position(|byte| !byte.is_ascii_digit())?..)?;
        let rest = rest.strip_prefix(b",\"id\":\"")?;
        let (id, rest) = rest.split_at_checked(rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?)?;
        let rest = rest.strip_prefix(b"\"")?;
        let pair = match rest.strip_prefix(b",\"pair\":") {
            Some(rest) => {
                let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
                let (digits, rest) = rest.split_at_checked(end)?;
                let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
                Some(number).filter(|number| is_decimal_of(digits, *number) && matches!(rest, [b',' | b'}', ..]))
            }
            None => None,
        };
        // Elsewhere it may be a member of a member.
        if pair.is_none() && PAIR.find(rest).is_some() {
            return None;
        }
        let id = Cow::Borrowed(std::str::from_utf8(id).ok()?);
        Some(Facts { id, pair })
    };
    quick().or_else(|| facts(leaf))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However it is written: what is read without a parse is what a parse reads.
        #[test]
        fn what_stands_first_in_a_leaf_is_read_as_by_a_parse(
            seq: u64, id in "[ -~é]{0,80}", pair in prop::option::of(any::<u64>()), other in prop::option::of(any::<u64>()), order in 0..3_u8,
        ) {
            let id = serde_json::to_string(&id).unwrap();
            let pair = pair.map(|pair| format!("\"pair\":{pair}"));
            let inner = other.map(|other| format!("\"x\":{{\"pair\":{other},\"id\":\"no\"}}"));
            let id = Some(format!("\"id\":{id}"));
            let members = match order {
                0 => [id, pair, inner],
                1 => [inner, id, pair],
                _ => [pair, inner, id],
            };
            let members: Vec<_> = members.into_iter().flatten().collect();
            let mut leaf = Vec::new();
            write(&mut leaf, RecordKind::Outcome, seq, format!("{{{}}}", members.join(",")).as_bytes());
            let (quick, parsed) = (first_facts(&leaf).unwrap(), facts(&leaf).unwrap());
            prop_assert_eq!((quick.id, quick.pair), (parsed.id, parsed.pair));
        }

        /// Against the way that it is written: the whole prefix, byte for byte.
        #[test]
        fn a_leaf_begins_with_what_is_written_and_with_nothing_else(seq: u64, other: u64, near in 0_usize..40, byte: u8) {
            let mut leaf = Vec::new();
            write(&mut leaf, RecordKind::Access, seq, b"{\"a\":1}");
            prop_assert!(begins_with(&leaf, RecordKind::Access, seq));
            prop_assert_eq!(begins_with(&leaf, RecordKind::Access, other), seq == other);
            prop_assert!(!begins_with(&leaf, RecordKind::Intent, seq));
            let mut changed = leaf.clone();
            let near = near % (leaf.len() - 7);
            changed[near] = byte;
            prop_assert_eq!(begins_with(&changed, RecordKind::Access, seq), changed == leaf);
            prop_assert_eq!(seq_in(&leaf), Some(seq));
        }
    }

    #[test]
    fn a_number_in_another_spelling_is_none() {
        for (leaf, seq) in [
            (&b"{\"v\":1,\"kind\":\"access\",\"seq\":07}"[..], 7),
            (b"{\"v\":1,\"kind\":\"access\",\"seq\":00}", 0),
            (b"{\"v\":1,\"kind\":\"access\",\"seq\":}", 0),
            (b"{\"v\":1,\"kind\":\"access\",\"seq\":+7}", 7),
            (b"{\"v\":1,\"kind\":\"access\",\"seq\":18446744073709551616}", 0),
            (b"{\"v\":1,\"kind\":\"access\",\"seq\":7", 7),
            (b"{\"v\":1,\"kind\":\"access\",\"seq\":7 }", 7),
        ] {
            assert!(
                !begins_with(leaf, RecordKind::Access, seq),
                "{}",
                String::from_utf8_lossy(leaf)
            );
        }
        assert!(begins_with(
            b"{\"v\":1,\"kind\":\"access\",\"seq\":0}",
            RecordKind::Access,
            0
        ));
    }
}
