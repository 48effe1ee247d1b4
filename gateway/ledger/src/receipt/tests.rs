//! Receipts of a real ledger: made, read, checked, and forged.

use std::sync::Arc;

use model::event::RecordKind;
use proptest::prelude::*;

use super::*;
use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
use crate::sim::SimDisk;
use crate::{Ledger, Options, RealDisk};

const ORIGIN: &str = "gate.example/audit";

struct Stage {
    folder: tempfile::TempDir,
    ledger: Ledger,
    key: SigningKey,
}

fn signing(name: &str, algorithm: Algorithm) -> SigningKey {
    SigningKey::generate(KeyName::new(name).unwrap(), algorithm).unwrap()
}

impl Stage {
    fn new(records: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            segment_bytes: 64 << 10,
            max_open: 32,
            outcome_bytes: 512,
            ..Options::default()
        };
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (ledger, _) = Ledger::open(folder.path(), options, disk).unwrap();
        let tickets: Vec<_> = (0..records)
            .map(|number| {
                let body = format!("{{\"id\":\"{number}\",\"note\":\"{}\"}}", "n".repeat(900));
                ledger
                    .append(RecordKind::Access, body.into_bytes(), Vec::new())
                    .unwrap()
            })
            .collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        let key = signing(ORIGIN, Algorithm::Ed25519);
        Self { folder, ledger, key }
    }

    fn checkpoint(&self) -> Note {
        let Head { size, root } = self.ledger.durable();
        let origin = ORIGIN.to_owned();
        let mut note = Note::new(Checkpoint { origin, size, root }.to_string()).unwrap();
        note.sign(&self.key, 0).unwrap();
        note
    }

    fn receipt(&self, seq: u64) -> Receipt {
        Receipt::make(&self.ledger.tiles(), seq, self.checkpoint()).unwrap()
    }
}

#[test]
fn every_record_s_receipt_is_read_back_and_proved_by_the_public_key_alone() {
    let stage = Stage::new(300);
    let reader = crate::Reader::open(stage.folder.path()).unwrap();
    assert!(reader.segments().len() > 1, "over the end of a segment");
    for seq in 0..300 {
        let text = stage.receipt(seq).to_string();
        let receipt = Receipt::parse(text.as_bytes()).unwrap();
        let proved = receipt.verify([stage.key.key()]).unwrap();
        assert_eq!((receipt.index(), proved.vouched.len()), (seq, 1));
        let leaf: serde_json::Value = serde_json::from_slice(receipt.leaf()).unwrap();
        assert_eq!((&leaf["seq"], &leaf["id"]), (&seq.into(), &seq.to_string().into()));
    }
}

#[test]
fn whoever_knows_where_a_record_stands_has_its_receipt_without_a_walk() {
    let stage = Stage::new(300);
    let reader = crate::Reader::open(stage.folder.path()).unwrap();
    let records: Vec<_> = reader.records_from(0).map(Result::unwrap).collect();
    let (first, wanted) = (&records[0], &records[5]);
    assert_eq!(
        (first.segment, wanted.segment),
        (0, 0),
        "both in a segment that is sealed"
    );
    // A walk would end at the first record.
    let file = stage.folder.path().join("00000000000000000000.seg");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[usize::try_from(first.offset).unwrap() + 30] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let tiles = stage.ledger.tiles();
    assert!(Receipt::make(&tiles, 5, stage.checkpoint()).is_err());
    let receipt = Receipt::make_at(&tiles, wanted.spot(), stage.checkpoint(), &|| true).unwrap();
    assert_eq!(receipt.leaf(), wanted.leaf);
    receipt.verify([stage.key.key()]).unwrap();
    // Another number than the record's that stands there is no receipt of either.
    let wrong = Spot {
        seq: 6,
        ..wanted.spot()
    };
    let error = Receipt::make_at(&tiles, wrong, stage.checkpoint(), &|| true).unwrap_err();
    assert!(
        matches!(error, NoReceipt::Tiles(TilesError::Missing { index: 6 })),
        "{error:?}"
    );
}

#[test]
fn a_walk_ends_when_nobody_waits_and_is_gone_on_with() {
    let stage = Stage::new(40);
    let spot = crate::Reader::open(stage.folder.path()).unwrap().records_from(3).next();
    let spot = spot.unwrap().unwrap().spot();
    let tiles = stage.ledger.tiles();
    let asked = std::cell::Cell::new(0);
    let ended = Receipt::make_at(&tiles, spot, stage.checkpoint(), &|| {
        asked.set(asked.get() + 1);
        false
    });
    assert!(matches!(ended, Err(NoReceipt::Tiles(TilesError::Stopped))), "{ended:?}");
    assert_eq!(asked.get(), 1);
    let receipt = Receipt::make_at(&tiles, spot, stage.checkpoint(), &|| true).unwrap();
    receipt.verify([stage.key.key()]).unwrap();
}

#[test]
fn the_receipt_of_a_folder_is_that_of_its_newest_checkpoint() {
    let stage = Stage::new(3);
    let dir = stage.folder.path();
    let error = Receipt::from_dir(dir, 1).unwrap_err();
    assert!(matches!(error, NoReceipt::Io { .. }), "{error}");
    std::fs::write(dir.join(NEWEST_CHECKPOINT), stage.checkpoint().to_string()).unwrap();
    assert_eq!(Receipt::from_dir(dir, 1).unwrap(), stage.receipt(1));
    let error = Receipt::from_dir(dir, 3).unwrap_err();
    assert_eq!(
        error.to_string(),
        "record 3 is not signed yet: the newest checkpoint has 3 records"
    );
}

/// Whoever changed the files after they were signed gets no receipt that would look sound to them.
#[test]
fn no_receipt_is_made_of_a_ledger_that_is_not_the_signed_one() {
    let stage = Stage::new(5);
    let Head { size, root } = stage.ledger.durable();
    let forged = Checkpoint {
        origin: ORIGIN.to_owned(),
        size,
        root: root.map(|byte| !byte),
    };
    let note = Note::new(forged.to_string()).unwrap();
    let error = Receipt::make(&stage.ledger.tiles(), 1, note).unwrap_err();
    assert!(matches!(error, NoReceipt::Differs(ProofError::WrongRoot)), "{error}");
}

#[test]
fn a_stranger_s_key_and_that_of_another_log_prove_nothing() {
    let stage = Stage::new(2);
    let receipt = stage.receipt(1);
    let stranger = signing(ORIGIN, Algorithm::Ed25519);
    let error = receipt.verify([stranger.key()]).unwrap_err();
    assert!(
        matches!(error, NotProved::Signature(VerifyError::Unknown { .. })),
        "{error}"
    );

    // Another log's key, and a witness's, sign the same checkpoint: neither speaks for this log.
    for key in [
        signing("gate.example/other", Algorithm::Ed25519),
        signing(ORIGIN, Algorithm::Cosignature),
    ] {
        let mut note = stage.checkpoint();
        note.sign(&key, 1).unwrap();
        let receipt = Receipt::make(&stage.ledger.tiles(), 1, note).unwrap();
        let error = receipt.verify([key.key()]).unwrap_err();
        assert!(matches!(error, NotProved::Origin { .. }), "{error}");
        let proved = receipt.verify([key.key(), stage.key.key()]).unwrap();
        assert_eq!(proved.vouched.len(), 2);
    }
}

/// With two witnesses and the path of a tree of 100 million records; the record itself is as long as it is.
#[test]
fn the_proof_with_two_witnesses_is_no_longer_than_two_and_a_half_kibibytes() {
    let stage = Stage::new(1);
    let mut note = stage.checkpoint();
    for name in ["witness.example/first-site", "witness.example/second-site"] {
        note.sign(&signing(name, Algorithm::Cosignature), 1_790_000_000)
            .unwrap();
    }
    let mut receipt = Receipt::make(&stage.ledger.tiles(), 0, note).unwrap();
    let leaf = STANDARD.encode(receipt.leaf()).len();
    receipt.path = vec![[7; 32]; 27];
    let proof = receipt.to_string().len() - leaf;
    assert!(proof <= 2560, "{proof}");
}

#[test]
fn what_is_no_receipt_is_told_so_by_what_is_wrong() {
    let stage = Stage::new(3);
    let text = stage.receipt(1).to_string();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        Receipt::parse(lines.concat().as_bytes()).unwrap_err()
    };
    assert_eq!(Receipt::parse(b"").unwrap_err(), ReceiptError::Header);
    assert_eq!(Receipt::parse(b"\xff").unwrap_err(), ReceiptError::Header);
    assert_eq!(with(0, "c2sp.org/tlog-proof@v2\n"), ReceiptError::Header);
    assert_eq!(with(1, ""), ReceiptError::Extra);
    assert_eq!(with(1, "extra !\n"), ReceiptError::Extra);
    assert_eq!(with(1, "extra e30=\n"), ReceiptError::Record { index: 1 });
    assert_eq!(with(2, "index 2\n"), ReceiptError::Record { index: 2 });
    assert_eq!(with(2, "index 01\n"), ReceiptError::Index);
    assert_eq!(with(2, "index -1\n"), ReceiptError::Index);
    assert_eq!(with(3, "AAAA\n"), ReceiptError::Path { line: 1 });
    let many = lines[3].repeat(MAX_PATH + 1);
    assert_eq!(with(3, &many), ReceiptError::Path { line: MAX_PATH + 1 });
    let cut = lines[..4].concat();
    assert_eq!(Receipt::parse(cut.as_bytes()).unwrap_err(), ReceiptError::NoCheckpoint);
    assert!(matches!(with(6, ""), ReceiptError::Checkpoint(_)));
    let long = vec![b'x'; MAX_RECEIPT_LEN + 1];
    assert_eq!(Receipt::parse(&long).unwrap_err(), ReceiptError::TooLong);
}

/// The disk of the simulation stands for a copy that somebody keeps: a receipt needs nothing of the ledger any more.
#[test]
fn a_receipt_outlives_its_ledger() {
    let stage = Stage::new(2);
    let text = stage.receipt(0).to_string();
    let key = stage.key.key().clone();
    drop(stage);
    let nothing = Tiles::open_on(Arc::new(SimDisk::new(1)));
    assert!(nothing.record(0, 1).is_err());
    Receipt::parse(text.as_bytes()).unwrap().verify([&key]).unwrap();
}

proptest! {
    /// Promise 5: whichever byte is changed, it is no receipt any more, or proves nothing, or says the same.
    #[test]
    fn a_receipt_with_one_changed_byte_proves_nothing_else(seq in 0..40_u64, at: prop::sample::Index, to: u8) {
        thread_local!(static STAGE: Stage = Stage::new(40));
        STAGE.with(|stage| {
            let receipt = stage.receipt(seq);
            let mut bytes = receipt.to_string().into_bytes();
            let place = at.index(bytes.len());
            bytes[place] = to;
            if let Ok(forged) = Receipt::parse(&bytes)
                && forged.verify([stage.key.key()]).is_ok()
            {
                assert_eq!((forged.leaf(), forged.index()), (receipt.leaf(), receipt.index()));
            }
        });
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        fuzz_receipt(&bytes);
    }
}
