//! `gatescribe ledger status`: what a ledger's folder holds, at a glance, with nothing proved.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ledger::note::Signature;
use ledger::status::{Newest, Status, StatusError};
use ledger::{Disk, NEWEST_CHECKPOINT, ReadError, RealDisk, spanned};
use serde_json::{Value, json};

use super::{Output, Refused, shown};
use crate::Exit;
use crate::client::document::line;
use crate::terminal::data_and;

pub(super) fn show(dir: &Path, output: Output) -> Result<Exit, Refused> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let status = Status::of(&disk).map_err(|error| (exit_of(&error), error.into()))?;
    if status.segments.is_empty() && status.checkpoint.is_none() {
        let what = format!("`{}` holds no ledger: no `*.seg` file stands there", dir.display());
        return Err((Exit::NotFound, anyhow::anyhow!(what)));
    }
    let age = age(dir);
    let text = match output {
        Output::Text => in_words(&status, age),
        Output::Json => line(&as_json(&status, age)),
    };
    Ok(data_and(&text, exit(&status)))
}

fn exit(status: &Status) -> Exit {
    match () {
        () if !status.missing.is_empty() || status.cut_off() > 0 => Exit::Integrity,
        () if !status.uncovered().is_empty() => Exit::Partly,
        () => Exit::Done,
    }
}

fn exit_of(error: &StatusError) -> Exit {
    match error {
        StatusError::Read(ReadError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Exit::NotFound
        }
        StatusError::Read(ReadError::Io { .. }) => Exit::Fault,
        StatusError::Read(ReadError::Damaged { .. }) | StatusError::Note { .. } | StatusError::Checkpoint { .. } => {
            Exit::Integrity
        }
    }
}

/// How long ago the file of the newest checkpoint was written. The checkpoint itself says no time.
fn age(dir: &Path) -> Option<Duration> {
    let written = std::fs::metadata(dir.join(NEWEST_CHECKPOINT)).and_then(|file| file.modified());
    SystemTime::now().duration_since(written.ok()?).ok()
}

fn in_words(status: &Status, age: Option<Duration>) -> String {
    let sealed = status.segments.iter().filter(|segment| segment.is_sealed).count();
    let bytes: u64 = status.segments.iter().map(|segment| segment.bytes).sum();
    let (segments, records) = (status.segments.len(), status.size.saturating_sub(status.first));
    let mut lines = vec![format!(
        "{records} records from {} on, in {segments} segments ({sealed} sealed), {bytes} bytes",
        status.first
    )];
    match &status.checkpoint {
        None => lines.push("nothing is signed".to_owned()),
        Some(newest) => {
            let (origin, size) = (&newest.checkpoint.origin, newest.checkpoint.size);
            let age = age.map_or_else(String::new, |age| format!(", written {} s ago", age.as_secs()));
            lines.push(format!("newest checkpoint: {size} records of {origin}{age}"));
            lines.extend(
                newest
                    .note
                    .signatures()
                    .iter()
                    .map(|by| format!("  signed as {}", key(by))),
            );
        }
    }
    if let Some(witnessed) = &status.witnessed {
        lines.push(format!("witnessed: {} records", witnessed.checkpoint.size));
        lines.extend(cosigned(witnessed).map(|(by, time)| format!("  cosigned by {}, {}", key(by), ago(time))));
    }
    for gone in &status.missing {
        lines.push(format!("✖ {} missing", spanned(gone, ["is", "are"])));
    }
    let (cut, uncovered) = (status.cut_off(), status.uncovered());
    if cut > 0 {
        lines.push(format!("✖ {cut} records were signed and are not here any more"));
    }
    if !uncovered.is_empty() {
        let newer = spanned(&uncovered, ["is", "are"]);
        lines.push(format!("{newer} not under the newest checkpoint yet"));
    }
    lines.push("nothing of this is proved: gatescribe ledger verify DIR --key KEY".to_owned());
    shown(&lines)
}

fn as_json(status: &Status, age: Option<Duration>) -> Value {
    let span = |range: &std::ops::Range<u64>| json!({"from": range.start, "until": range.end});
    let segment = |segment: &ledger::status::SegmentStatus| json!({"first": segment.first, "next": segment.next, "sealed": segment.is_sealed, "bytes": segment.bytes});
    let checkpoint = status.checkpoint.as_ref().map(|newest| {
        json!({
            "origin": newest.checkpoint.origin,
            "size": newest.checkpoint.size,
            "keys": newest.note.signatures().iter().map(key).collect::<Vec<_>>(),
            "ageSeconds": age.map(|age| age.as_secs()),
        })
    });
    let witnessed = status.witnessed.as_ref().map(|witnessed| {
        let by = cosigned(witnessed).map(|(by, time)| json!({"key": key(by), "time": time}));
        json!({"size": witnessed.checkpoint.size, "by": by.collect::<Vec<_>>()})
    });
    json!({
        "witnessed": witnessed,
        "first": status.first,
        "size": status.size,
        "segments": status.segments.iter().map(segment).collect::<Vec<_>>(),
        "checkpoint": checkpoint,
        "missing": status.missing.iter().map(span).collect::<Vec<_>>(),
        "cutOff": status.cut_off(),
        "uncovered": span(&status.uncovered()),
    })
}

/// The cosignatures, each with the second since 1970 at which its witness says to have cosigned.
fn cosigned(witnessed: &Newest) -> impl Iterator<Item = (&Signature, u64)> {
    let each = witnessed.note.signatures().iter();
    each.filter_map(|by| Some((by, by.claimed_time()?)))
}

/// How long ago that was, by the clock of this machine.
fn ago(time: u64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs());
    match now.checked_sub(time) {
        Some(seconds) => format!("{seconds} s ago"),
        None => "later than this machine's clock says it is".to_owned(),
    }
}

/// `NAME+ID`, as a signature says of itself.
fn key(signature: &Signature) -> String {
    format!("{}+{:08x}", signature.name(), signature.id())
}
