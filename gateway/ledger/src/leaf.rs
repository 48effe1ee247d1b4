//! The leaf: compact JSON whose first members the ledger writes itself, and the few members it reads. Not the record's
//! meaning (see `model::event`).

use std::borrow::Cow;
use std::io::Write;

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

fn write_prefix(out: &mut Vec<u8>, kind: RecordKind, seq: u64) {
    out.extend_from_slice(b"{\"v\":1,\"kind\":\"");
    out.extend_from_slice(kind.name().as_bytes());
    out.extend_from_slice(b"\",\"seq\":");
    // A Vec takes every write; there is no error to pass on.
    let _ = write!(out, "{seq}");
}

/// Whether the leaf begins with exactly what [`write`] puts there for this kind and sequence number.
pub(crate) fn begins_with(leaf: &[u8], kind: RecordKind, seq: u64) -> bool {
    let mut prefix = Vec::with_capacity(PREFIX_MAX);
    write_prefix(&mut prefix, kind, seq);
    leaf.strip_prefix(prefix.as_slice())
        .is_some_and(|rest| matches!(rest, [b',', .., b'}'] | [b'}']))
}

/// Whether these bytes can be record `seq` of a ledger, of whichever kind.
pub(crate) fn is_of(leaf: &[u8], seq: u64) -> bool {
    RecordKind::ALL.iter().any(|kind| begins_with(leaf, *kind, seq))
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
