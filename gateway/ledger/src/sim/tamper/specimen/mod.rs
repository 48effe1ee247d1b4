//! A ledger of the ledger's own making, what its owner keeps elsewhere, and the judgement whether a forgery was found in place.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;
use model::time::Timestamp;

use super::hand::Hand;
use super::judge::Place;
use super::served::Served;
use super::{Harmless, Outcome, Tampering};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::frame::FrameKind;
use crate::note::{Algorithm, KeyName, KeyTurn, Note, Signer as _, SigningKey};
use crate::queue::Part;
use crate::segment::{parse_segment_name, segment_name};
use crate::sim::{Rng, SimDisk};
#[cfg(test)]
use crate::verify::StandingCheck;
use crate::verify::{CHANGES, KEPT, Report, Trust, verify};
use crate::{Ledger, Options, Reader};

/// A ledger with what its owner keeps elsewhere.
#[derive(Debug)]
pub struct Specimen {
    pub(super) disk: SimDisk,
    /// The folder as it was after its second run.
    pub(super) older: SimDisk,
    /// The largest size of which a checkpoint lies there.
    pub(super) older_signed: u64,
    pub(super) key: SigningKey,
    /// The newest checkpoint, as a witness would have it.
    remembered: Note,
    /// The sizes that were signed, rising.
    pub(super) sizes: Vec<u64>,
    /// The key of a witness that is believed.
    pub(super) witness: SigningKey,
    /// Records of another ledger.
    pub(super) foreign: Vec<(FrameKind, Vec<u8>)>,
    /// The same log, as a server gives it.
    served: Served,
    /// A ledger whose key changed, and where its record says so.
    turned: Turned,
}

/// A small ledger whose key changed.
#[derive(Debug)]
struct Turned {
    disk: SimDisk,
    key: SigningKey,
    /// The sizes that were signed, rising.
    sizes: Vec<u64>,
    /// The record of the change.
    record: u64,
}

impl Specimen {
    /// Writes a ledger of several segments, with parts, restarts and checkpoints all along, by the ledger itself.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let key = new_key("audit.example/specimen", Algorithm::Ed25519);
        let (mut sizes, mut notes) = (Vec::new(), Vec::new());
        let (mut older, mut older_signed, mut newest) = (disk.copy(seed), 0, None);
        for run in 0..3 {
            let options = options();
            let Ok((ledger, _)) = Ledger::open_by_hand(Path::new("specimen"), options, Arc::new(disk.clone())) else {
                break;
            };
            for record in 0..60 + rng.below(60) {
                append(&ledger, &mut rng);
                if record % 16 == 0 {
                    let note = signed(&ledger, &key);
                    sizes.push(ledger.durable().size);
                    notes.push((ledger.durable().size, note));
                }
            }
            ledger.close();
            if run == 1 {
                older = with_heads(&disk, &notes, seed);
                older_signed = notes.last().map_or(0, |(size, _)| *size);
            }
            let note = signed(&ledger, &key);
            sizes.push(ledger.durable().size);
            notes.push((ledger.durable().size, note.clone()));
            newest = Some(note);
        }
        let disk = with_heads(&disk, &notes, seed);
        let remembered = newest.unwrap_or_else(unreachable_name);
        Self {
            served: Served::of(&disk, &remembered),
            disk,
            older,
            older_signed,
            key,
            remembered,
            sizes,
            witness: new_key("witness.example/w", Algorithm::Cosignature),
            foreign: foreign(&mut rng),
            turned: Turned::new(&mut rng),
        }
    }

    /// What is wrongly found in it, untouched.
    pub(super) fn false_alarms(&self) -> u64 {
        let (folder, turned) = (self.check(&self.disk, &[]), self.turned.check(&self.turned.disk));
        let found = folder.findings.len() + turned.findings.len();
        u64::try_from(found).unwrap_or(u64::MAX) + self.served.false_alarms(&self.trust(&[]))
    }

    /// What is wrongly found where nothing was done to what was signed.
    pub(super) fn harmless(&self, what: Harmless, rng: &mut Rng) -> u64 {
        let disk = self.disk.copy(rng.next_u64());
        let done = Hand::new(&disk).harmless(what, self, rng);
        let report = self.check(&disk, &[]);
        let is_torn = what != Harmless::Rest || report.torn > 0;
        let is_strange = what != Harmless::OtherLog || report.strange > 0;
        let is_all = report.is_proved() && Some(&report.proved) == self.sizes.last() && report.size == report.proved;
        u64::from(!(done.is_some() && is_all && is_torn && is_strange))
    }

    fn trust(&self, remembered: &[Note]) -> Trust {
        Trust {
            keys: vec![self.key.key().clone(), self.witness.key().clone()],
            remembered: remembered.to_vec(),
        }
    }

    pub(super) fn check(&self, disk: &SimDisk, remembered: &[Note]) -> Report {
        checked(disk, &self.trust(remembered))
    }

    pub(super) fn round(&self, kind: Tampering, rng: &mut Rng) -> (Outcome, String) {
        if kind.is_served() {
            return self.served.round(kind, &self.trust(&[]), rng);
        }
        let whole = if kind == Tampering::KeyChange {
            &self.turned.disk
        } else {
            &self.disk
        };
        let forged = whole.copy(rng.next_u64());
        let Some(place) = self.forge(&forged, kind, rng) else {
            return (Outcome::Missed, "the forgery could not be made".to_owned());
        };
        let report = match kind {
            Tampering::KeyChange => self.turned.check(&forged),
            // What a copy that was put back whole cannot show by itself, somebody else has to remember.
            Tampering::StaleCopy => self.check(&self.older.copy(1), std::slice::from_ref(&self.remembered)),
            _ => self.check(&forged, &[]),
        };
        let words: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
        let said = words.join("; ");
        // A strange key's signature is no finding; that nothing is proved is.
        let is_seen = kind == Tampering::Resign && report.findings.is_empty() && report.proved == 0;
        let outcome = if is_seen {
            Outcome::Located
        } else {
            place.judge(&report, &said)
        };
        (outcome, said)
    }

    pub(super) fn forge(&self, disk: &SimDisk, kind: Tampering, rng: &mut Rng) -> Option<Place> {
        let hand = Hand::new(disk);
        if kind == Tampering::KeyChange {
            return hand.change_of_key(self.turned.record, &self.turned.sizes, rng);
        }
        hand.forge(kind, self, rng)
    }

    /// What the standing check says of the same forgery: it knows the key and what the writer has in memory.
    #[cfg(test)]
    fn standing(&self, disk: &SimDisk) -> Vec<crate::verify::Finding> {
        round_of(&mut self.check_of(disk), self.head())
    }

    #[cfg(test)]
    fn check_of(&self, disk: &SimDisk) -> StandingCheck {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        StandingCheck::new(disk, vec![self.key.key().clone()], 0)
    }

    /// The tree that its writer has in memory at the end.
    #[cfg(test)]
    fn head(&self) -> crate::tree::Head {
        head_of(&self.remembered)
    }
}

impl Turned {
    /// Signed by one key, then by another, as a record of it says.
    fn new(rng: &mut Rng) -> Self {
        let [key, next] = [(); 2].map(|()| new_key("audit.example/turned", Algorithm::Ed25519));
        let disk = SimDisk::new(rng.next_u64());
        let (mut sizes, mut notes) = (Vec::new(), Vec::new());
        let Ok((ledger, _)) = Ledger::open_by_hand(Path::new("turned"), options(), Arc::new(disk.clone())) else {
            unreachable_name()
        };
        let sign_with = |by: &SigningKey, sizes: &mut Vec<u64>, notes: &mut Vec<(u64, Note)>| {
            sizes.push(ledger.durable().size);
            notes.push((ledger.durable().size, signed(&ledger, by)));
        };
        (0..5 + rng.below(20)).for_each(|_| append(&ledger, rng));
        sign_with(&key, &mut sizes, &mut notes);
        let record = ledger.durable().size;
        let turn = KeyTurn::state(&ledger.durable(), &key, &next).unwrap_or_else(|_| unreachable_name());
        let text = turn.note().to_string();
        let member =
            serde_json::json!({ "size": turn.size, "from": key.key().short(), "to": next.key().short(), "note": text });
        let body = format!("{{\"id\":\"turn\",\"key\":{member}}}");
        let taken = ledger.append(RecordKind::Key, body.into_bytes(), Vec::new());
        ledger.drive();
        drop(taken);
        sign_with(&next, &mut sizes, &mut notes);
        (0..5 + rng.below(20)).for_each(|_| append(&ledger, rng));
        ledger.close();
        sign_with(&next, &mut sizes, &mut notes);
        keep_heads(&disk, &notes);
        disk.put(CHANGES, text.as_bytes());
        Self {
            disk,
            key,
            sizes,
            record,
        }
    }

    fn check(&self, disk: &SimDisk) -> Report {
        let trust = Trust {
            keys: vec![self.key.key().clone()],
            remembered: Vec::new(),
        };
        checked(disk, &trust)
    }
}

fn checked(disk: &SimDisk, trust: &Trust) -> Report {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify(&disk, trust, 1, &|_| {}).unwrap_or_default()
}

fn new_key(name: &str, algorithm: Algorithm) -> SigningKey {
    let name = KeyName::new(name).unwrap_or_else(|_| unreachable_name());
    SigningKey::generate(name, algorithm).unwrap_or_else(|_| unreachable_name())
}

/// Some records of another ledger, as they stand there.
fn foreign(rng: &mut Rng) -> Vec<(FrameKind, Vec<u8>)> {
    let disk = SimDisk::new(rng.next_u64());
    let Ok((ledger, _)) = Ledger::open_by_hand(Path::new("foreign"), options(), Arc::new(disk.clone())) else {
        return Vec::new();
    };
    (0..40).for_each(|_| append(&ledger, rng));
    ledger.close();
    let Ok(reader) = Reader::open_on(Arc::new(disk)) else {
        return Vec::new();
    };
    let records = reader.records_from(0).filter_map(Result::ok);
    let alone = records.filter(|record| record.parts.is_empty());
    alone
        .map(|record| (FrameKind::Leaf(record.kind), record.leaf))
        .collect()
}

/// The tree that was signed.
#[cfg(test)]
fn head_of(note: &Note) -> crate::tree::Head {
    let Ok(Checkpoint { size, root, .. }) = Checkpoint::parse(note.text()) else {
        unreachable_name()
    };
    crate::tree::Head { size, root }
}

/// One whole round.
#[cfg(test)]
fn round_of(check: &mut StandingCheck, live: crate::tree::Head) -> Vec<crate::verify::Finding> {
    let mut findings = Vec::new();
    loop {
        let step = check.step(4 << 10, live);
        findings.extend(step.findings);
        if step.is_over {
            return findings;
        }
    }
}

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        clock: Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000)),
        boot: Arc::from("b1"),
        ..Options::default()
    }
}

fn append(ledger: &Ledger, rng: &mut Rng) {
    let id = rng.next_u64();
    let (mut parts, mut named) = (Vec::new(), Vec::new());
    if rng.one_in(3) {
        // Ledgers that an older release began hold parts that no leaf binds.
        let is_bound = !rng.one_in(4);
        for _ in 0..1 + rng.below(2) {
            let bytes: Vec<u8> = (0..1 + rng.len(200)).map(|_| rng.next_u64().to_le_bytes()[0]).collect();
            named.push(if is_bound {
                format!("{{\"name\":\"query\",\"sealed\":\"{}\"}}", Part::digest(&bytes))
            } else {
                "{\"name\":\"query\"}".to_owned()
            });
            parts.push(Part { bytes });
        }
    }
    let commits = if named.is_empty() {
        String::new()
    } else {
        format!(",\"parts\":[{}]", named.join(","))
    };
    let body = format!(
        "{{\"id\":\"{id:016x}\",\"note\":\"{}\"{commits}}}",
        "n".repeat(rng.len(900))
    );
    let taken = ledger.append(RecordKind::Access, body.into_bytes(), parts);
    ledger.drive();
    drop(taken);
}

fn signed(ledger: &Ledger, key: &SigningKey) -> Note {
    let head = ledger.durable();
    let checkpoint = Checkpoint {
        origin: key.key().name().as_str().to_owned(),
        size: head.size,
        root: head.root,
    };
    sign(&checkpoint, key)
}

pub(super) fn sign(checkpoint: &Checkpoint, key: &SigningKey) -> Note {
    let mut note = Note::new(checkpoint.to_string()).unwrap_or_else(|_| unreachable_name());
    // The key is in memory and signs whatever it is given.
    let _ = note.sign(key, 0);
    note
}

fn with_heads(disk: &SimDisk, notes: &[(u64, Note)], seed: u64) -> SimDisk {
    let copy = disk.copy(seed);
    keep_heads(&copy, notes);
    copy
}

/// Keeps them where the publisher does: beside the segment that each reaches into.
pub(super) fn keep_heads(disk: &SimDisk, notes: &[(u64, Note)]) {
    for (size, note) in notes {
        let name = kept_in(disk, *size);
        let mut text = disk.bytes(&name).unwrap_or_default();
        text.extend_from_slice(note.to_string().as_bytes());
        disk.put(&name, &text);
    }
}

/// The file with the checkpoints of this size.
pub(super) fn kept_in(disk: &SimDisk, size: u64) -> String {
    let names = disk.list().unwrap_or_default();
    let firsts = names.iter().filter_map(|name| parse_segment_name(name));
    let first = firsts.filter(|first| *first < size).max().unwrap_or(0);
    segment_name(first).replace(".seg", KEPT)
}

/// The names and texts above are constants that a test reads once.
#[expect(
    clippy::panic,
    reason = "a specimen that cannot be made is a broken test, and no part of a release"
)]
fn unreachable_name<T>() -> T {
    panic!("the specimen's own constants are wrong")
}

#[cfg(test)]
mod tests;
