//! A ledger of the ledger's own making, what its owner keeps elsewhere, and the judgement whether a forgery was found in place.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;
use model::time::Timestamp;

use super::hand::Hand;
use super::{Outcome, Tampering};
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::note::{Algorithm, KeyName, Note, Signer as _, SigningKey};
use crate::queue::Part;
use crate::segment::{parse_segment_name, segment_name};
use crate::sim::{Rng, SimDisk};
#[cfg(test)]
use crate::verify::StandingCheck;
use crate::verify::{Fault, KEPT, Report, Trust, verify};
use crate::{Ledger, Options};

/// A ledger with what its owner keeps elsewhere.
#[derive(Debug)]
pub struct Specimen {
    pub(super) disk: SimDisk,
    /// The folder as it was after its second run.
    pub(super) older: SimDisk,
    pub(super) key: SigningKey,
    /// The newest checkpoint, as a witness would have it.
    remembered: Note,
    /// The sizes that were signed, rising.
    pub(super) sizes: Vec<u64>,
}

impl Specimen {
    /// Writes a ledger of several segments, with parts, restarts and checkpoints all along, by the ledger itself.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let disk = SimDisk::new(seed);
        let name = KeyName::new("audit.example/specimen").unwrap_or_else(|_| unreachable_name());
        let key = SigningKey::generate(name, Algorithm::Ed25519).unwrap_or_else(|_| unreachable_name());
        let (mut sizes, mut notes) = (Vec::new(), Vec::new());
        let (mut older, mut newest) = (disk.copy(seed), None);
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
            }
            let note = signed(&ledger, &key);
            sizes.push(ledger.durable().size);
            notes.push((ledger.durable().size, note.clone()));
            newest = Some(note);
        }
        Self {
            disk: with_heads(&disk, &notes, seed),
            older,
            key,
            remembered: newest.unwrap_or_else(unreachable_name),
            sizes,
        }
    }

    /// What is wrongly found in it, untouched.
    pub(super) fn false_alarms(&self) -> u64 {
        let found = self.check(&self.disk, &[]).findings.len();
        u64::try_from(found).unwrap_or(u64::MAX)
    }

    pub(super) fn check(&self, disk: &SimDisk, remembered: &[Note]) -> Report {
        let trust = Trust {
            keys: vec![self.key.key().clone()],
            remembered: remembered.to_vec(),
        };
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        verify(&disk, &trust, 1, &|_| {}).unwrap_or_default()
    }

    pub(super) fn round(&self, kind: Tampering, rng: &mut Rng) -> (Outcome, String) {
        let forged = self.disk.copy(rng.next_u64());
        let hand = Hand::new(&forged);
        let Some(target) = hand.forge(kind, self, rng) else {
            return (Outcome::Missed, "the forgery could not be made".to_owned());
        };
        let forged = if kind == Tampering::StaleCopy {
            self.older.copy(1)
        } else {
            forged
        };
        // What a copy that was put back whole cannot show by itself, somebody else has to remember.
        let remembered: &[Note] = match kind {
            Tampering::StaleCopy => std::slice::from_ref(&self.remembered),
            _ => &[],
        };
        let report = self.check(&forged, remembered);
        let said = report
            .findings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("; ");
        (self.judge(kind, target, &report, &said), said)
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

    /// Whether a finding names the place. Where everything was computed anew, the span between two signed sizes is all that
    /// can be known; so it is where all that follows has moved by one, and the last signed size is not reached any more.
    fn judge(&self, kind: Tampering, target: u64, report: &Report, said: &str) -> Outcome {
        if report.findings.is_empty() {
            // A strange key's signature is no finding; that nothing is proved is.
            let is_seen = kind == Tampering::Resign && !report.is_proved();
            return if is_seen { Outcome::Located } else { Outcome::Missed };
        }
        let below = self
            .sizes
            .iter()
            .rev()
            .find(|&&size| size <= target)
            .copied()
            .unwrap_or(0);
        let above = self
            .sizes
            .iter()
            .find(|&&size| size > target)
            .copied()
            .unwrap_or(u64::MAX);
        let is_located = report.findings.iter().any(|finding| match (&finding.fault, kind) {
            (Fault::Root { .. }, Tampering::RewriteAll) => finding.records == (below..above),
            (Fault::Fork { size }, Tampering::Fork) => *size == target,
            (Fault::Signature(_), Tampering::Checkpoint | Tampering::Fork | Tampering::Resign) => true,
            (Fault::Cut { .. }, Tampering::DropRenumbered) => finding.records == (below..above),
            (Fault::Cut { have, .. }, _) => *have == target,
            (Fault::Parts(_), _) => finding.records == (target..target + 1),
            _ => finding.records.start <= target && target <= finding.records.end,
        });
        if is_located {
            Outcome::Located
        } else {
            Outcome::Misplaced(said.to_owned())
        }
    }
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
