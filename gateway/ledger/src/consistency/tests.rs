//! Proofs between signed sizes of a real ledger: made, read, checked, and forged.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;
use proptest::prelude::*;

use super::*;
use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
use crate::sim::SimDisk;
use crate::{Ledger, Options};

const ORIGIN: &str = "gate.example/audit";

struct Stage {
    ledger: Ledger,
    key: SigningKey,
    notes: Vec<Note>,
}

fn key(name: &str) -> SigningKey {
    SigningKey::generate(KeyName::new(name).unwrap(), Algorithm::Ed25519).unwrap()
}

fn signed(checkpoint: &Checkpoint, key: &SigningKey) -> Note {
    let mut note = Note::new(checkpoint.to_string()).unwrap();
    note.sign(key, 0).unwrap();
    note
}

/// Sizes 1 to 40, each signed.
fn stage() -> Stage {
    let options = Options {
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(SimDisk::new(1))).unwrap();
    let key = key(ORIGIN);
    let notes = (0..40).map(|number| {
        let body = format!("{{\"id\":\"{number}\"}}").into_bytes();
        drop(ledger.append(RecordKind::Access, body, Vec::new()));
        ledger.drive();
        let Head { size, root } = ledger.durable();
        let origin = ORIGIN.to_owned();
        signed(&Checkpoint { origin, size, root }, &key)
    });
    let notes = notes.collect();
    Stage { ledger, key, notes }
}

impl Stage {
    fn proof(&self, from: usize, to: usize) -> Consistency {
        let earlier = Checkpoint::parse(self.notes[from - 1].text()).unwrap();
        Consistency::make(&self.ledger.tiles(), &earlier, self.notes[to - 1].clone()).unwrap()
    }

    fn check(&self, proof: &Consistency, from: usize) -> Result<(), Inconsistent> {
        proof.verify(&[self.key.key().clone()], &self.notes[from - 1]).map(drop)
    }
}

#[test]
fn each_signed_size_goes_on_from_each_before_it() {
    let stage = stage();
    for to in 1..=40 {
        for from in 1..=to {
            let text = stage.proof(from, to).to_string();
            let proof = Consistency::parse(text.as_bytes()).unwrap();
            assert_eq!((proof.old(), proof.checkpoint().size), (from as u64, to as u64));
            assert_eq!(stage.check(&proof, from), Ok(()), "{from} to {to}");
        }
    }
}

#[test]
fn another_story_another_key_and_another_size_are_told_apart() {
    let stage = stage();
    let proof = stage.proof(17, 40);
    assert_eq!(
        stage.check(&proof, 16),
        Err(Inconsistent::Size { proof: 17, earlier: 16 })
    );
    let strange = proof.verify(&[key(ORIGIN).key().clone()], &stage.notes[16]).map(drop);
    assert!(
        matches!(strange, Err(Inconsistent::Signature { which: "later", .. })),
        "{strange:?}"
    );

    let mut other = Checkpoint::parse(stage.notes[16].text()).unwrap();
    other.root = [1; 32];
    let forked = proof
        .verify(&[stage.key.key().clone()], &signed(&other, &stage.key))
        .map(drop);
    assert_eq!(forked, Err(Inconsistent::Proof(ProofError::WrongOldRoot)));
    let newest = stage.notes[39].clone();
    let error = Consistency::make(&stage.ledger.tiles(), &other, newest.clone()).unwrap_err();
    assert!(matches!(error, NoConsistency::Differs(_)), "{error:?}");
    other.origin = "elsewhere".to_owned();
    let error = Consistency::make(&stage.ledger.tiles(), &other, newest).unwrap_err();
    assert!(matches!(error, NoConsistency::Origin { .. }), "{error:?}");
    let later = Checkpoint::parse(stage.notes[39].text()).unwrap();
    let error = Consistency::make(&stage.ledger.tiles(), &later, stage.notes[16].clone()).unwrap_err();
    assert!(
        matches!(
            error,
            NoConsistency::Shrunk {
                earlier: 40,
                newest: 17
            }
        ),
        "{error:?}"
    );
}

#[test]
fn what_is_not_exactly_a_proof_is_refused_with_what_is_wrong() {
    let text = stage().proof(17, 40).to_string();
    let hash = text.lines().nth(1).unwrap();
    let error = |text: &str| Consistency::parse(text.as_bytes()).unwrap_err();
    assert_eq!(error(""), ConsistencyError::Old);
    assert_eq!(error(&text.replacen("old 17", "old 017", 1)), ConsistencyError::Old);
    assert_eq!(error(&text.replacen("old 17", "new 17", 1)), ConsistencyError::Old);
    assert_eq!(
        error(&text.replacen(hash, "AAAA", 1)),
        ConsistencyError::Proof { line: 1 }
    );
    let many = format!("old 1\n{}\n{hash}", [hash; MAX_PROOF].join("\n"));
    assert_eq!(
        error(&format!("{many}\n\n")),
        ConsistencyError::Proof { line: MAX_PROOF + 1 }
    );
    assert_eq!(error(&format!("old 17\n{hash}\n")), ConsistencyError::NoCheckpoint);
    assert_eq!(error("old 17\n\nnone"), ConsistencyError::Note(NoteError::NoSignatures));
    let long = format!("old 17\n\n{}", "x".repeat(MAX_CONSISTENCY_LEN));
    assert_eq!(error(&long), ConsistencyError::TooLong);
}

proptest! {
    /// Promise 5: whichever byte is changed, it is no proof any more, or shows nothing, or says the same.
    #[test]
    fn a_proof_with_one_changed_byte_shows_nothing_else(from in 1..40_usize, at: prop::sample::Index, to: u8) {
        thread_local!(static STAGE: Stage = stage());
        STAGE.with(|stage| {
            let proof = stage.proof(from, 40);
            let mut bytes = proof.to_string().into_bytes();
            let place = at.index(bytes.len());
            bytes[place] = to;
            if let Ok(forged) = Consistency::parse(&bytes)
                && stage.check(&forged, from).is_ok()
            {
                assert_eq!((forged.old, forged.checkpoint), (proof.old, proof.checkpoint));
            }
        });
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_consistency(&bytes);
        fuzz_consistency(&[OLD.as_bytes(), &bytes].concat());
    }
}
