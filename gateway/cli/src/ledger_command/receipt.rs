//! Receipts: checking one that somebody holds, and making one from a ledger's files.

use std::path::Path;

use anyhow::Context as _;
use ledger::note::{KeyChain, Vouched};
use ledger::{NoReceipt, Proved, Receipt};
use model::time::Timestamp;
use serde_json::{Value, json};

use super::witnessed::Asked;
use super::{Held, Output, Refused, followed, followed_as_json, shown};
use crate::Exit;
use crate::client::document::line;
use crate::terminal::data_and;

/// Checks the receipt in this file and says what it shows.
pub(super) fn check(held: &Held<'_>, witnesses: &Asked) -> Result<Exit, Refused> {
    let (file, keys) = (held.file, held.keys);
    let receipt = Receipt::parse(held.bytes)
        .with_context(|| format!("`{}` is neither a ledger's folder nor a receipt", file.display()))
        .map_err(|error| (Exit::Usage, error))?;
    let proved = receipt
        .verify_along(keys)
        .with_context(|| format!("`{}` proves nothing", file.display()))
        .map_err(|error| (Exit::Integrity, error))?;
    witnesses.demand(&proved.vouched, file)?;
    let text = match held.output {
        Output::Text => in_words(&receipt, &proved, keys),
        Output::Json => line(&as_json(&receipt, &proved, keys)),
    };
    Ok(data_and(&text, Exit::Done))
}

/// Prints the receipt of a record of this folder.
pub(super) fn make(dir: &Path, seq: u64) -> Result<Exit, Refused> {
    let receipt = Receipt::from_dir(dir, seq).map_err(|error| (exit(&error), error.into()))?;
    Ok(data_and(&receipt.to_string(), Exit::Done))
}

fn exit(error: &NoReceipt) -> Exit {
    match error {
        NoReceipt::Unsigned { .. } => Exit::NotFound,
        NoReceipt::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
        NoReceipt::Note(_) | NoReceipt::Checkpoint(_) | NoReceipt::Differs(_) => Exit::Integrity,
        NoReceipt::TooLong => Exit::Usage,
        NoReceipt::Io { .. } | NoReceipt::Tiles(_) => Exit::Fault,
    }
}

fn in_words(receipt: &Receipt, proved: &Proved<'_>, keys: &KeyChain) -> String {
    let checkpoint = receipt.checkpoint();
    let mut lines = vec![format!(
        "✔ record {} is among the {} records that were signed as {}",
        receipt.index(),
        checkpoint.size,
        checkpoint.origin
    )];
    lines.extend(proved.vouched.iter().map(vouched));
    lines.extend(followed(keys));
    format!("{}{}", shown(&lines), line(&record(receipt)))
}

fn as_json(receipt: &Receipt, proved: &Proved<'_>, keys: &KeyChain) -> Value {
    let checkpoint = receipt.checkpoint();
    json!({
        "proved": true,
        "index": receipt.index(),
        "size": checkpoint.size,
        "origin": checkpoint.origin,
        "vouched": proved.vouched.iter().map(vouched_as_json).collect::<Vec<_>>(),
        "keyChanges": followed_as_json(keys),
        "record": record(receipt),
    })
}

/// Who signed, for a person.
pub(crate) fn vouched(by: &Vouched<'_>) -> String {
    match time(by) {
        Some(time) => format!("witnessed by {} at {time}", by.key.short()),
        None => format!("signed by {}", by.key.short()),
    }
}

/// Who signed, for a machine.
pub(crate) fn vouched_as_json(by: &Vouched<'_>) -> Value {
    json!({"key": by.key.short(), "time": time(by).map(|time| time.to_string())})
}

fn time(by: &Vouched<'_>) -> Option<Timestamp> {
    let seconds = i64::try_from(by.time?).ok()?;
    Some(Timestamp::from_unix_seconds(seconds))
}

/// The record as JSON. A leaf that is none was hashed all the same, and stands there as text.
fn record(receipt: &Receipt) -> Value {
    serde_json::from_slice(receipt.leaf()).unwrap_or_else(|_| String::from_utf8_lossy(receipt.leaf()).into())
}
