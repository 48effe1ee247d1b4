//! The records of erasures and holds read again: at a start, and before keys are put back from a backup.
//!
//! A record counts that is under a signature and that no start refused (`unsigned`); what is less takes nothing away.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use ledger::disk::read_file;
use ledger::note::MAX_NOTE_LEN;
use ledger::verify::{SaidErasure, refused, refuses};
use ledger::{Frontier, Head, ProvedSpot, Reader};
use model::erasure::{Actor, Erased, Hold, Scope};
use model::event::RecordKind;
use model::event::names::NAME_CLASS;
use model::subject::SubjectId;
use model::time::Timestamp;
use serde::Deserialize;
use state::{StateError, Store};

/// What the records say that the store may not know. Blocking.
///
/// `known` is how many records the store stands on: those of a store that is new, or was put back from a backup, are read again. Whoever can write the
/// ledger's files can exchange a record, or append one: so those up to `before` have to lead to what was signed there, and of those behind it count
/// that were not refused. Where they do not lead to it nothing goes and no hold ends; it is tried again at each start.
///
/// # Errors
/// The store or the ledger cannot be read, or a key cannot be destroyed.
pub(in crate::serve) fn finish(
    (dir, names): (&Path, Option<&Arc<dyn ledger::Names>>),
    known: u64,
    before: &Before,
    store: &Store,
) -> anyhow::Result<Finished> {
    let unproved = store.unproved_from()?;
    let from = [store.erasures_begun()?, unproved]
        .into_iter()
        .flatten()
        .fold(known, u64::min);
    let reader = Reader::open(dir)?;
    let mut finished = Finished::default();
    match reader.proved(from, &before.signed, &KINDS)? {
        Some(proved) => {
            let refused = refused_in(&reader, &proved)?;
            for proved in &proved {
                let record = reader.proved_record(proved)?;
                let is_believed = !refused.contains(&record.seq);
                obey(record, names, is_believed, store, &mut finished)?;
            }
        }
        None => {
            finished.is_unproved = true;
            for record in reader.records_from(from).until(before.signed.size) {
                obey(record?, names, false, store, &mut finished)?;
            }
        }
    }
    for record in reader.records_from(from.max(before.signed.size)) {
        let record = record?;
        let is_believed = !before.refused.contains(&record.seq);
        obey(record, names, is_believed, store, &mut finished)?;
    }
    store.keep_unproved_from(finished.is_unproved.then_some(from))?;
    if !finished.is_unproved {
        store.open_again()?;
    }
    Ok(finished)
}

/// With its names, where they are sealed beside it. Only behind the proof, which is over the leaf as it stands.
fn named(mut record: ledger::Record, names: Option<&Arc<dyn ledger::Names>>) -> ledger::Record {
    if let Some(names) = names {
        record.leaf = names.open(record.leaf, &record.parts);
    }
    record
}

/// The kinds of records that are read at a start.
const KINDS: [RecordKind; 3] = [RecordKind::Erasure, RecordKind::Hold, RecordKind::Damage];

/// What was signed when the process began, and which records behind that are not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::serve) struct Before {
    /// The newest tree that was signed.
    pub(in crate::serve) signed: Head,
    /// Records behind it.
    pub(in crate::serve) refused: BTreeSet<u64>,
    /// Those behind it that the gateway did not write.
    pub(in crate::serve) foreign: Range<u64>,
}

/// What came of reading the records again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::serve) struct Finished {
    /// Keys that had been erased and were there all the same.
    pub(in crate::serve) destroyed: usize,
    /// The records are not those that were signed: nothing was done by them.
    pub(in crate::serve) is_unproved: bool,
    /// Holds that records say were set and for which there is no room.
    pub(in crate::serve) holds_left_out: usize,
}

impl Finished {
    /// For whoever reads the log.
    pub(in crate::serve) fn say(&self) {
        if self.is_unproved {
            tracing::error!(
                "records of this ledger are not those that were signed, so that nothing is done by what they say was erased or released: `gatescribe ledger verify` says where; put the ledger back from a copy, and the next start reads them again"
            );
        }
        if self.destroyed > 0 {
            tracing::warn!(
                keys = self.destroyed,
                "keys were in the state file of which the ledger says that they were erased, as after a crash or from a backup: they are destroyed"
            );
        }
        if self.holds_left_out > 0 {
            tracing::error!(
                holds = self.holds_left_out,
                "records say of more legal holds that they were set than there can be, and these are not in force: `gatescribe hold ls` shows those that are; somebody may have written into the ledger's files. Let nobody erase anything until you know which are yours, release the others, and set again what is missing"
            );
        }
    }
}

fn refused_in(reader: &Reader, proved: &[ProvedSpot]) -> anyhow::Result<BTreeSet<u64>> {
    let mut refusals = BTreeMap::new();
    for proved in proved {
        let record = reader.proved_record(proved)?;
        if record.kind == RecordKind::Damage {
            refusals.insert(record.seq, refuses(&record.leaf));
        }
    }
    Ok(refused(&refusals))
}

fn obey(
    record: ledger::Record,
    names: Option<&Arc<dyn ledger::Names>>,
    is_believed: bool,
    store: &Store,
    finished: &mut Finished,
) -> anyhow::Result<()> {
    let pseudonym = names.and_then(|_| pseudonym_in(&record));
    let record = named(record, names);
    match record.kind {
        RecordKind::Erasure if is_believed => {
            erase_again(&record.leaf, store, finished)?;
            // A store from before it was asked for has it in use, and gave it out again.
            Ok(pseudonym.map_or(Ok(()), |pseudonym| store.forget_pseudonym(&pseudonym))?)
        }
        RecordKind::Hold => hold_again(&record.leaf, is_believed, store, finished),
        _ => Ok(()),
    }
}

/// How many records are signed, as the newest checkpoint beside them says; whether it is so, is for whoever signs next.
pub(crate) fn signed(dir: &Path) -> u64 {
    let text = read_file(&dir.join(ledger::NEWEST_CHECKPOINT), MAX_NOTE_LEN).unwrap_or_default();
    let note = ledger::note::Note::parse(&text).ok();
    let checkpoint = note.and_then(|note| ledger::Checkpoint::parse(note.text()).ok());
    checkpoint.map_or(0, |checkpoint| checkpoint.size)
}

/// The names of all keys that a record of this ledger says were erased, signed or not: nothing is destroyed by them here. `size` records have to
/// be there, from the first one on: who takes away those that say it would have the keys back; and those up to `signed` have to be the ones that were
/// signed, or an erasure could be exchanged for something else. One that a start refused did not erase; a refusal is believed where it is signed. Blocking.
///
/// # Errors
/// The ledger cannot be read, has not all of these records or others than were signed, or has one of an erasure that cannot be read.
pub(crate) fn erased_keys(dir: &Path, size: u64, signed: &Head) -> anyhow::Result<HashSet<String>> {
    let (mut erased, mut refusals) = (Vec::new(), BTreeMap::new());
    let mut tree = Frontier::default();
    for record in Reader::open(dir)?.records_from(0) {
        let record = record?;
        is_signed(&tree, signed)?;
        let next = tree.size();
        anyhow::ensure!(
            record.seq == next,
            "the records from {next} to before {} are missing",
            record.seq
        );
        tree.push(ledger::leaf_hash(&record.leaf));
        match record.kind {
            RecordKind::Erasure => erased.push((record.seq, erased_by(&record))),
            RecordKind::Damage if record.seq < signed.size => {
                refusals.insert(record.seq, refuses(&record.leaf));
            }
            _ => {}
        }
    }
    is_signed(&tree, signed)?;
    let (next, size) = (tree.size(), size.max(signed.size));
    anyhow::ensure!(next >= size, "the records from {next} to before {size} are missing");
    let refused = refused(&refusals);
    erased.retain(|(seq, _)| !refused.contains(seq));
    let keys: Vec<Vec<String>> = erased.into_iter().map(|(_, keys)| keys).collect::<Result<_, _>>()?;
    Ok(keys.into_iter().flatten().collect())
}

/// At the signed size the tree has the root that was signed.
fn is_signed(tree: &Frontier, signed: &Head) -> anyhow::Result<()> {
    anyhow::ensure!(
        tree.size() != signed.size || tree.root() == signed.root,
        "the first {} records are not those that were signed: `gatescribe ledger verify` says where they differ",
        signed.size
    );
    Ok(())
}

/// The keys that this record says were erased. What else it says is not asked: where names are sealed nobody has to be able to tell, and whoever could have
/// the ledger's files refused for what one record lacks would have a switch.
fn erased_by(record: &ledger::Record) -> anyhow::Result<Vec<String>> {
    let said = SaidErasure::read(&record.leaf);
    let known = said.filter(|said| ["erased", "asked", "withdrawn", "refused"].contains(&said.what()));
    let known = known.with_context(|| {
        format!(
            "record {} is of an erasure, and this release does not read what it says",
            record.seq
        )
    })?;
    Ok(known.erased().iter().map(|key| key.id.clone()).collect())
}

/// Whom a record says that all was erased of, as it stands in the ledger, with the last record of that erasure and where the name went, too.
fn pseudonym_in(record: &ledger::Record) -> Option<String> {
    #[derive(Deserialize)]
    struct Of {
        subject: String,
    }
    let said = SaidErasure::read(&record.leaf)?;
    let is_whole = said.erased().iter().any(|key| key.class == NAME_CLASS);
    let of = said
        .member::<Of>("of")
        .filter(|_| is_whole && said.is_last() == Some(true));
    of.map(|of| of.subject)
}

fn erase_again(leaf: &[u8], store: &Store, finished: &mut Finished) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Leaf {
        id: String,
        t: Timestamp,
    }
    // Written by a later version in a way that this one does not know: nothing is done by it.
    let (Ok(leaf), Some(said)) = (serde_json::from_slice::<Leaf>(leaf), SaidErasure::read(leaf)) else {
        return Ok(());
    };
    let (Some(request), Some(of), Some(asked)) = (
        said.member::<String>("request"),
        said.member::<Scope>("of"),
        said.member::<Actor>("asked"),
    ) else {
        return Ok(());
    };
    let is_last = match said.what() {
        "erased" => said.is_last(),
        "withdrawn" => return Ok(store.forget_erasure(&request).map(drop)?),
        _ => None,
    };
    let Some(is_last) = is_last else { return Ok(()) };
    let keys: Vec<_> = said
        .erased()
        .iter()
        .map(|key| (key.id.clone(), key.class.clone()))
        .collect();
    let agreed = said.member::<Actor>("agreed");
    let erased = Erased {
        record: leaf.id,
        at: leaf.t,
        asked: asked.user,
        agreed: agreed.map(|agreed| agreed.user).unwrap_or_default(),
    };
    finished.destroyed += store.erased(&of.subject, &keys, &erased, is_last.then_some(request.as_str()))?;
    Ok(())
}

/// A hold begins also where nobody believes the record: too much is held rather than too little.
/// How many there are is not for whoever writes
/// the ledger's files to say.
fn hold_again(leaf: &[u8], is_believed: bool, store: &Store, finished: &mut Finished) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Leaf {
        t: Timestamp,
        by: Option<By>,
        hold: Said,
    }
    #[derive(Deserialize)]
    struct By {
        id: SubjectId,
        iss: String,
        user: String,
        email: Option<String>,
    }
    #[derive(Deserialize)]
    struct Said {
        what: String,
        id: String,
        of: Scope,
        set_by: String,
        why: String,
    }
    let Ok(Leaf { t, by, hold }) = serde_json::from_slice(leaf) else {
        return Ok(()); // as above
    };
    match hold.what.as_str() {
        "created" => {
            let kept = store.hold_again(&Hold {
                id: hold.id,
                of: hold.of,
                by: hold.set_by,
                actor: by.map(|by| Actor {
                    subject: by.id,
                    user: by.user,
                    issuer: by.iss,
                    email: by.email,
                }),
                why: hold.why,
                at: t,
            });
            match kept {
                Err(StateError::Full { .. }) => finished.holds_left_out += 1,
                kept => kept?,
            }
        }
        "released" if is_believed => drop(store.release(&hold.id)?),
        _ => {}
    }
    Ok(())
}
