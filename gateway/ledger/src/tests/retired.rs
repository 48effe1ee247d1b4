//! The attack of who steals a key that another one has followed: another history, no longer than the change of the key, signed by the old key. Whoever
//! knows of the change refuses it at every entry, and admits what the old key signed when it was the key (promise 5).

use std::path::Path;
use std::sync::Arc;

use super::turning::{Keys, Proofs, check_with, clock, faults, key, notes, proofs, start, turned};
use super::*;
use crate::disk::Disk;
use crate::evidence::Evidence;
use crate::note::{Algorithm, ChainError, KeyChain, KeyName, Note, Signer, SigningKey};
use crate::verify::{CHANGES, Fault, NEWEST_CHECKPOINT, Report, Source, SourceError, Trust, verify_remote};
use crate::{Checkpoint, Consistency, Inconsistent, NotProved, Publisher, RealDisk, Receipt, Tiles};

/// What the thief makes: a ledger of three other records, a receipt, a pack and a proof of it, all signed by the old key.
struct Forged {
    folder: tempfile::TempDir,
    notes: [Note; 2],
    receipt: Receipt,
    pack: Evidence,
    proof: Consistency,
}

fn forged(of: &Proofs) -> Forged {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
    let ledger = Arc::new(Ledger::open(folder.path(), options(), Arc::clone(&disk)).unwrap().0);
    let by_old = |ledger: &Arc<Ledger>| {
        let signers = vec![Arc::clone(&of.keys[0])];
        let publisher = Publisher::start(ledger, Arc::clone(&disk), None, signers, clock()).unwrap();
        publisher.finish().unwrap();
        Note::parse(&std::fs::read(folder.path().join(NEWEST_CHECKPOINT)).unwrap()).unwrap()
    };
    let forge = |count: usize| {
        for number in 0..count {
            let body = body(&format!("forged {number}"));
            ledger
                .append(RecordKind::Access, body, Vec::new())
                .unwrap()
                .wait()
                .unwrap();
        }
    };
    forge(2);
    let earlier = by_old(&ledger);
    forge(1);
    let note = by_old(&ledger);
    let reader = Reader::open_on(Arc::clone(&disk)).unwrap();
    let spot = reader.records_from(1).next().unwrap().unwrap().spot();
    let pack = Evidence::make(
        &ledger.tiles(),
        of.packs[1].statement().to_vec(),
        &[spot],
        None,
        note.clone(),
        &|| true,
    );
    let stated = Checkpoint::parse(earlier.text()).unwrap();
    let proof = Consistency::make(&ledger.tiles(), &stated, note.clone()).unwrap();
    let receipt = Receipt::make(&ledger.tiles(), 1, note.clone()).unwrap();
    ledger.close();
    Forged {
        folder,
        notes: [earlier, note],
        receipt,
        pack: pack.unwrap().with_changes(of.changes.clone()),
        proof,
    }
}

#[test]
fn promise_5_a_receipt_a_pack_and_a_proof_of_another_history_by_a_retired_key_are_refused() {
    let of = proofs();
    let forged = forged(&of);
    let last = Checkpoint::parse(of.changes[0].text()).unwrap().size;
    assert!(forged.receipt.checkpoint().size <= last, "no longer than the change");
    for known in &of.keys {
        let known = [known.key().clone()];
        let chain = KeyChain::follow(&known, &of.changes);
        let unbound = |size| ChainError::Unbound {
            key: of.keys[0].key().short(),
            last,
            size,
        };
        let refused = forged.receipt.verify_along(&chain).unwrap_err();
        assert_eq!(refused, NotProved::Chain(unbound(3)));
        let refused = forged.proof.verify_along(&chain, &forged.notes[0]).unwrap_err();
        assert!(
            matches!(refused, Inconsistent::Chain { which: "later", .. }),
            "{refused}"
        );
        let said = |pack: &Evidence, chain: &KeyChain| -> Vec<String> {
            pack.check(chain).faults.iter().map(ToString::to_string).collect()
        };
        let told = said(&forged.pack, &forged.pack.chain(&known, &[]));
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("nothing shows that they begin with the 3 that it signed"),
            "{told:?}"
        );
        // No proof of the true history carries it, and the thief's own lead to what he signed himself.
        let mut bound = forged.pack.chain(&known, &of.changes);
        of.proof.bind(&mut bound);
        forged.proof.bind(&mut bound);
        assert!(forged.receipt.verify_along(&bound).is_err());
        assert_eq!(said(&forged.pack, &bound).len(), 1);
        assert!(forged.proof.verify_along(&bound, &forged.notes[0]).is_err());
        // The true proof goes on from the true checkpoint only.
        let crossed = of.proof.verify_along(&chain, &forged.notes[1]).unwrap_err();
        assert!(matches!(crossed, Inconsistent::Proof(_)), "{crossed}");
    }
    // Both keys and no change: nothing says which is retired.
    let both: Vec<_> = of.keys.iter().map(|key| key.key().clone()).collect();
    let apart = KeyChain::follow(&both, []);
    for receipt in [&forged.receipt, &of.receipts[0], &of.receipts[1]] {
        let refused = receipt.verify_along(&apart).unwrap_err();
        assert!(
            matches!(refused, NotProved::Chain(ChainError::Apart { .. })),
            "{refused}"
        );
    }
}

/// Who verifies asks for a witness, and has what was cosigned while the old key was the key.
#[test]
fn what_a_witness_cosigned_under_the_old_key_is_admitted_without_a_proof() {
    let of = proofs();
    let name = KeyName::new("witness.example").unwrap();
    let witness = SigningKey::generate(name, Algorithm::Cosignature).unwrap();
    let mut cosigned = of.notes[0].clone();
    cosigned.sign(&witness, 1_790_000_000).unwrap();
    let text = of.receipts[0]
        .to_string()
        .replace(&of.notes[0].to_string(), &cosigned.to_string());
    let receipt = Receipt::parse(text.as_bytes()).unwrap();
    for known in &of.keys {
        let chain = KeyChain::follow(&[known.key().clone(), witness.key().clone()], &of.changes);
        assert_eq!(receipt.verify_along(&chain).unwrap().vouched.len(), 2);
        assert!(of.receipts[0].verify_along(&chain).is_err(), "it has no cosignature");
        let stranger = KeyChain::follow(&[known.key().clone()], &of.changes);
        assert!(
            receipt.verify_along(&stranger).is_err(),
            "of a witness that nobody asked for"
        );
    }
}

/// Another history, of so many records and one at its end, all of it signed by this key.
fn forge(disk: &SimDisk, key: &Arc<dyn Signer>, count: u64) {
    let ledger = start(disk);
    for number in 0..count {
        let body = body(&format!("forged {number}"));
        ledger
            .append(RecordKind::Access, body, Vec::new())
            .unwrap()
            .wait()
            .unwrap();
    }
    let signers = vec![Arc::clone(key)];
    let publisher = Publisher::start(&ledger, Arc::new(disk.clone()), None, signers, clock()).unwrap();
    ledger.close();
    publisher.finish().unwrap();
}

fn trusting(keys: &[&Keys], known: &[usize], remembered: &[Note]) -> Trust {
    let keys: Vec<_> = keys.iter().flat_map(|keys| keys.iter()).collect();
    Trust {
        keys: known.iter().map(|at| keys[*at].key().clone()).collect(),
        remembered: remembered.to_vec(),
    }
}

/// A folder of the thief's making: fewer records than the change, as many, or as many as there are.
#[test]
fn promise_5_a_folder_with_another_history_by_a_retired_key_is_found_and_none_of_it_is_proved() {
    let (true_disk, keys) = (SimDisk::new(1), [key(), key()]);
    turned(&true_disk, &keys);
    let change = crate::verify::key_changes(&true_disk).unwrap();
    let last = Checkpoint::parse(change[0].text()).unwrap().size;
    for short_by in [10, 0] {
        let disk = SimDisk::new(2);
        // A ledger has one record of its own at its end.
        forge(&disk, &keys[0], last - short_by - 1);
        let have = last - short_by;
        // The true change beside it, to look like the log of both keys; or given by who verifies.
        for (is_beside, known, remembered) in [
            (true, vec![0], &[][..]),
            (true, vec![1], &[]),
            (true, vec![0, 1], &[]),
            (false, vec![0, 1], &change),
            (false, vec![1], &change),
        ] {
            let text: String = change.iter().filter(|_| is_beside).map(ToString::to_string).collect();
            disk.put(CHANGES, text.as_bytes());
            let trust = trusting(&[&keys], &known, remembered);
            let report = check_with(&disk, &trust.keys.iter().collect::<Vec<_>>(), trust.remembered);
            assert!(
                !report.is_proved() && report.proved == 0 && report.signers.is_empty(),
                "{report:?}"
            );
            let located = |fault: &Fault| {
                report
                    .findings
                    .iter()
                    .any(|found| found.fault == *fault && found.records.start == 0)
            };
            let key = keys[0].key().short();
            if have < last {
                let fault = Fault::Unsettled { key, last, size: have };
                assert!(located(&fault), "{report:?}");
                assert!(
                    located(&Fault::Cut {
                        signed: last,
                        have,
                        held: 0
                    }),
                    "{report:?}"
                );
            } else {
                // Two roots of one size: it is held against the one that the newer key signed, too.
                assert!(faults(&report).contains(&&Fault::Fork { size: last }), "{report:?}");
            }
            assert_all_named(&report, have);
        }
        // Without the change the two keys stand apart, and neither counts.
        disk.put(CHANGES, b"");
        let trust = trusting(&[&keys], &[0, 1], &[]);
        let report = check_with(&disk, &trust.keys.iter().collect::<Vec<_>>(), Vec::new());
        assert!(
            matches!(faults(&report).as_slice(), [Fault::Apart { .. }]),
            "{report:?}"
        );
        assert!(
            report.proved == 0 && report.signers.is_empty() && report.turns.is_empty(),
            "{report:?}"
        );
        // Who knows the first key alone has nothing to tell by: the page on proving says so.
        assert!(check_with(&disk, &[keys[0].key()], Vec::new()).is_proved());
    }
    // The honest folder, whichever keys are given.
    for known in [vec![0], vec![1], vec![0, 1], vec![1, 0]] {
        let trust = trusting(&[&keys], &known, &[]);
        let report = check_with(&true_disk, &trust.keys.iter().collect::<Vec<_>>(), Vec::new());
        assert_eq!(report.findings, []);
        assert_eq!((report.proved, report.signers.len()), (report.size, 2));
    }
}

/// The thief has the disk, too: the beginning is another one, what follows the true one.
#[test]
fn promise_5_a_beginning_that_only_a_retired_key_signed_is_not_said_to_hold() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    turned(&disk, &keys);
    let forged = SimDisk::new(2);
    forge(&forged, &keys[0], 40);
    let last = Checkpoint::parse(crate::verify::key_changes(&disk).unwrap()[0].text())
        .unwrap()
        .size;
    // All that the thief signed of his own history, in place of what the old key signed of the true one.
    let name = notes(&disk).remove(0);
    disk.put(&name, &forged.bytes(&notes(&forged)[0]).unwrap());
    for end in ["seg", "hashes"] {
        let file = disk
            .list()
            .unwrap()
            .into_iter()
            .find(|name| name.ends_with(end))
            .unwrap();
        let theirs = forged
            .list()
            .unwrap()
            .into_iter()
            .find(|name| name.ends_with(end))
            .unwrap();
        disk.put(&file, &forged.bytes(&theirs).unwrap());
    }
    let report = check_with(&disk, &[keys[1].key()], Vec::new());
    assert!(!report.is_proved(), "{report:?}");
    assert_all_named(&report, last);
}

/// Every record up to `end` is under a finding.
fn assert_all_named(report: &Report, end: u64) {
    for seq in 0..end {
        let is_named = report.findings.iter().any(|found| found.records.contains(&seq));
        assert!(is_named, "{seq}: {report:?}");
    }
}

/// A folder of tiles, as a server gives it.
struct Served(tempfile::TempDir);

impl Served {
    fn of(ledger: &Path, note: &Note) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let size = Checkpoint::parse(note.text()).unwrap().size;
        Tiles::open(ledger).export(folder.path(), size).unwrap();
        std::fs::write(folder.path().join(NEWEST_CHECKPOINT), note.to_string()).unwrap();
        Self(folder)
    }
}

impl Source for Served {
    fn fetch(&self, path: &str, _: usize) -> Result<Vec<u8>, SourceError> {
        std::fs::read(self.0.path().join(path)).map_err(|_| SourceError::Missing)
    }
}

#[test]
fn promise_5_a_server_with_another_history_by_a_retired_key_is_found() {
    let of = proofs();
    let forged = forged(&of);
    let last = Checkpoint::parse(of.changes[0].text()).unwrap().size;
    let check = |known: &[usize], remembered: &[Note]| -> Report {
        let served = Served::of(forged.folder.path(), &forged.notes[1]);
        verify_remote(&served, &trusting(&[&of.keys], known, remembered), 2, &|_, _| {}).unwrap()
    };
    for known in [&[0][..], &[1], &[0, 1]] {
        let report = check(known, &of.changes);
        assert!(
            !report.is_proved() && report.proved == 0 && report.signers.is_empty(),
            "{report:?}"
        );
        let cut = Fault::Cut {
            signed: last,
            have: 3,
            held: 0,
        };
        assert!(faults(&report).contains(&&cut), "{report:?}");
        let key = of.keys[0].key().short();
        assert!(
            faults(&report).contains(&&Fault::Unsettled { key, last, size: 3 }),
            "{report:?}"
        );
    }
    let report = check(&[0, 1], &[]);
    assert!(
        matches!(faults(&report).as_slice(), [Fault::Apart { .. }]),
        "{report:?}"
    );
    assert!(!report.is_proved() && report.proved == 0, "{report:?}");
    assert!(!check(&[1], &[]).is_proved(), "no key that is known signed it");
}
