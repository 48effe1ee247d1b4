//! The end of the ledger that nobody had signed when the last run ended. A crash leaves one, and whoever can write the ledger's files can append to it or
//! exchange it. The start signs it with the rest, and then it is as good as any other record. So before that, what stands there and would take something
//! away is looked at: a record that says that keys are erased, that a request is withdrawn or a hold released, or that records are refused. The state file
//! knows the very words of those that this gateway wrote; each other one is refused, in a record of kind `damage` that is durable before anything is signed.
//!
//! Where the run before had ended in order and signed all of its records, none behind them is the gateway's, whatever it says; else nothing tells which are. Both are
//! recorded, and `ledger verify` says it.
//!
//! Whoever reads the ledger later passes over what was refused: the next starts, `ledger verify`, `ledger keys restore`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ledger::note::VerifierKey;
use ledger::verify::{Statements, Stretches, refuses};
use ledger::{Disk, Ledger, Publisher, Reader, RealDisk, Tail};
use model::event::{Record, RecordKind};
use serde::Deserialize;
use state::Store;

use super::erasing::Before;
use super::{now, through};

/// Records that one record refuses.
const IN_RECORD: usize = 1_000;

/// What was signed before this run, by one of these keys; what stands behind it and is not believed is refused. To be called before anything is signed.
/// `beside` is the folder that has the newest checkpoint, too. Blocking.
///
/// # Errors
/// The ledger is not the one that was signed, it or the store cannot be read, or a refusal cannot be recorded.
pub(super) fn refuse(
    ledger: &Ledger,
    (dir, beside): (&Path, &Path),
    keys: &[&VerifierKey],
    store: &Store,
    boot: &str,
) -> anyhow::Result<Before> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(dir));
    let beside: Arc<dyn Disk> = Arc::new(RealDisk::new(beside));
    let Tail {
        signed,
        foreign,
        unproved,
    } = Publisher::say_unsigned(ledger, [&disk, &beside], keys, (boot, now()))
        .context("the ledger cannot be signed")?;
    tell(signed.size, &foreign, &unproved);
    let mut refused = BTreeSet::new();
    let records = Reader::open(dir)?.records_from(signed.size);
    for record in records.until(ledger.durable().size) {
        let record = record?;
        if takes_away(&record) && (foreign.contains(&record.seq) || !store.knows_words(&body(&record))?) {
            refused.insert(record.seq);
        }
    }
    let all: Vec<u64> = refused.iter().copied().collect();
    for some in all.chunks(IN_RECORD) {
        say(ledger, some, boot).context(
            "records that nobody had signed and that are not believed cannot be refused, so nothing is signed",
        )?;
    }
    Ok(Before {
        signed,
        refused,
        foreign,
    })
}

/// Records that are not the gateway's: they were put in behind the end of a run that had signed all of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Foreign {
    /// As they were found, each one alarm.
    found: Vec<Range<u64>>,
    all: Stretches,
}

impl Foreign {
    /// Whether this record is among them.
    pub(super) fn has(&self, seq: u64) -> bool {
        self.all.has(seq)
    }

    /// What somebody has to look at, for whoever asks how the gateway is.
    pub(super) fn alarms(&self) -> impl Iterator<Item = String> {
        self.found.iter().map(in_words)
    }
}

/// The alarm of such records; in each run the same.
pub(super) fn in_words(foreign: &Range<u64>) -> String {
    let records = ledger::spanned(foreign, ["is", "are"]);
    format!("{records} not the gateway's: put in behind the end of a run that had signed all of its records")
}

/// What is not the gateway's of the records that this start reads: what it found itself, and what records under a signature say, since the start that wrote those may have died
/// before it did anything by them. `known` is how many records the store stands on. Each is logged. Blocking.
///
/// # Errors
/// The store or the ledger cannot be read.
pub(super) fn foreign(dir: &Path, known: u64, before: &Before, store: &Store) -> anyhow::Result<Foreign> {
    let from = through::begins(known, store)?;
    let (reader, mut said) = (Reader::open(dir)?, Statements::default());
    let mut read = |record: ledger::Record| said.read(record.kind, &record.leaf, record.seq);
    match reader.proved(from, &before.signed, &[RecordKind::Damage, RecordKind::Recovery])? {
        Some(proved) => {
            for proved in &proved {
                read(reader.proved_record(proved)?);
            }
        }
        // Somebody changed what was signed, and could have changed the other records, too: too little is believed rather than too much.
        None => {
            for record in reader.records_from(from).until(before.signed.size) {
                read(record?);
            }
        }
    }
    // Of statements that are too many it is not known which count: a thief's would make honest records foreign.
    let said = said.counting(before.signed.size).foreign;
    for (records, by) in &said {
        tracing::error!(
            from = records.start,
            until = records.end,
            by,
            "an earlier start has recorded that this gateway did not write these records: it takes nothing away by them; somebody wrote into the ledger's files"
        );
    }
    let mut found: Vec<Range<u64>> = said.into_iter().map(|(records, _)| records).collect();
    found.extend((!before.foreign.is_empty()).then(|| before.foreign.clone()));
    let all = Stretches::of(found.iter().cloned());
    Ok(Foreign { found, all })
}

fn tell(signed: u64, foreign: &Range<u64>, unproved: &Range<u64>) {
    if !foreign.is_empty() {
        tracing::error!(
            from = foreign.start,
            until = foreign.end,
            "records stand behind the end of a run that had signed all of its own: this gateway did not write them, and takes nothing away by them; somebody wrote into the ledger's files"
        );
    }
    if signed == 0 && !unproved.is_empty() {
        tracing::info!(
            records = unproved.end,
            "nothing of this ledger was signed before: nothing proves who wrote the records that stand in it"
        );
    } else if !unproved.is_empty() {
        tracing::warn!(
            from = unproved.start,
            until = unproved.end,
            "the last run did not end in order: these records were not signed yet, and nothing proves that they are as they were written"
        );
    }
}

/// Whether somebody would lose something by it. A record that this release does not read may be such a one.
fn takes_away(record: &ledger::Record) -> bool {
    #[derive(Deserialize)]
    struct Leaf {
        #[serde(alias = "hold")]
        erasure: Says,
    }
    #[derive(Deserialize)]
    struct Says {
        what: String,
    }
    match record.kind {
        RecordKind::Damage => !refuses(&record.leaf).is_empty(),
        RecordKind::Erasure | RecordKind::Hold => {
            let leaf = serde_json::from_slice::<Leaf>(&record.leaf);
            leaf.map_or(true, |leaf| {
                !matches!(leaf.erasure.what.as_str(), "asked" | "refused" | "created")
            })
        }
        _ => false,
    }
}

/// What was given to the ledger: the leaf without what the ledger wrote in front of it.
pub(crate) fn body(record: &ledger::Record) -> Vec<u8> {
    let before = format!("{{\"v\":1,\"kind\":\"{}\",\"seq\":{}", record.kind.name(), record.seq);
    let rest = record.leaf.strip_prefix(before.as_bytes()).unwrap_or_default();
    let members = rest.strip_prefix(b",").unwrap_or(rest);
    [b"{", members].concat()
}

fn say(ledger: &Ledger, refused: &[u64], boot: &str) -> anyhow::Result<()> {
    let id = uuid::Uuid::now_v7().to_string();
    let note = "records that nobody had signed say that something is erased, withdrawn, released or refused, and the state file does not know \
                their words: nothing is done by them";
    let record = Record {
        id: &id,
        t: now(),
        boot,
        refused,
        note: Some(note),
        ..Record::default()
    };
    tracing::error!(
        records = ?refused,
        "records at the end of the ledger say that keys are erased or holds are released, nobody had signed them, and the state file does not know of it: they are refused, and nothing is erased or released by them. After a crash together with a state file from a backup, do it again; else somebody wrote into the ledger's files"
    );
    ledger.append(RecordKind::Damage, record.body()?, Vec::new())?.wait()?;
    Ok(())
}

#[cfg(test)]
mod tests;
