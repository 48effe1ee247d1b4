//! Receipts of a real ledger: made, read, checked, and forged.

use std::sync::Arc;

use model::event::RecordKind;
use proptest::prelude::*;

use super::*;
use crate::note::{Algorithm, KeyName, Signer as _, SigningKey};
use crate::sim::SimDisk;
use crate::tree::node_hash;
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

/// A read as a gateway records it, with what it has of a person, a cluster and a decision.
const TYPICAL: &str = r#"{"v":1,"kind":"access","seq":0,"id":"019ab2c4-61e8-7d31-9c07-5be2a1f4d083","t":"2026-11-18T11:06:41.284917Z","mono":83127409112,"boot":"019ab27e-0c55-7a92-b3de-4410f7c2a96b","cluster":"prod","by":{"id":"ca978112ca1bbdcafac231b39a23dc4d","kind":"person","iss":"https://login.example.com/realms/corp","sub":"8d2f7c1e-55b0-4f6a-9a3d-1c0e7b942f68","user":"alice.lee@example.com","email":"alice.lee@example.com","groups":"sha256:cd0aa9856147b6c5b4ff2b7dfee5da20aa38253099ef1b4a64aced233c9afe29","session":"043a718774c572bd8a25adbeb1bfcd5c","credential":"gatewayToken"},"net":{"ip":"10.1.2.3","port":50412,"http":"HTTP/2.0","listener":"kubernetes"},"req":{"method":"GET","path":"/api/v1/namespaces/shop/pods","verb":"list","group":"","version":"v1","resource":"pods","namespace":"shop","agent":"kubectl/v1.36.3 (linux/amd64) kubernetes/4b2e1d9","kubectl_session":"71c0a9e2-03f7-4c4e-8b68-2f9d1a5c7e30"},"decision":{"allowed":true,"who":"gateway","rules":[{"kind":"roleBinding","name":"shop-developers","namespace":"shop","role":"ClusterRole/edit","effect":"allow"}],"policy":"sha256:148de9c5a7a44d19e56cd9ae1a554bf67847afb0c58f6e12fa29ac7ddfca9940"}}"#;

/// The receipt of this leaf in a tree of so many records, with two witnesses.
fn receipt_in(size: u64, seq: u64, leaf: &[u8]) -> (Receipt, [SigningKey; 3]) {
    let levels = size.next_power_of_two().trailing_zeros();
    let path: Vec<Hash> = (0..levels).map(|level| leaf_hash(&level.to_be_bytes())).collect();
    // A tree of a power of two has one sibling in each level.
    let root = path.iter().enumerate().fold(leaf_hash(leaf), |node, (level, sibling)| {
        if seq >> level & 1 == 0 {
            node_hash(&node, sibling)
        } else {
            node_hash(sibling, &node)
        }
    });
    let log = signing("gate.example.com/audit-3f2a91bc", Algorithm::Ed25519);
    let witnesses = ["witness-a.example.com/w1", "gate-b.example.com/witness-91c2d004"];
    let [one, other] = witnesses.map(|name| signing(name, Algorithm::Cosignature));
    let checkpoint = Checkpoint {
        origin: log.key().name().to_string(),
        size: size.next_power_of_two(),
        root,
    };
    let mut note = Note::new(checkpoint.to_string()).unwrap();
    for key in [&log, &one, &other] {
        note.sign(key, 1_790_000_000).unwrap();
    }
    let mut receipt = Receipt {
        leaf: leaf.to_vec(),
        extra: leaf.to_vec(),
        index: seq,
        path,
        note,
        checkpoint,
    };
    receipt.fit();
    (receipt, [log, one, other])
}

#[test]
fn the_receipt_of_a_usual_record_with_two_witnesses_is_no_longer_than_two_and_a_half_kibibytes() {
    for size in [1_000, 1_000_000, 10_000_000] {
        let seq = size - 3;
        let leaf = TYPICAL.replace("\"seq\":0", &format!("\"seq\":{seq}"));
        let (receipt, keys) = receipt_in(size, seq, leaf.as_bytes());
        let text = receipt.to_string();
        assert!(text.len() <= FITS, "{size}: {}", text.len());
        let read = Receipt::parse(text.as_bytes()).unwrap();
        assert_eq!(read, receipt);
        assert_eq!(read.verify(keys.iter().map(SigningKey::key)).unwrap().vouched.len(), 3);
        assert_eq!(read.leaf(), leaf.as_bytes());
    }
}

/// The frozen records that stand as lines in the tests of those who read and write them, and those in the frozen ledgers of these tests.
fn frozen() -> Vec<String> {
    let texts = [
        include_str!("../../../search/tests/frozen/v1/leaves.ndjson"),
        include_str!("../../../search/tests/frozen/v1/sessions.ndjson"),
        include_str!("../../../cli/tests/erasures/v1.ndjson"),
    ];
    let mut leaves: Vec<String> = texts.iter().flat_map(|text| text.lines()).map(str::to_owned).collect();
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen");
    for folder in ["v1", "v1-proofs/ledger", "v1-sealed-parts"] {
        let reader = crate::Reader::open(&here.join(folder)).unwrap();
        let records = reader.records_from(0).map(|record| record.unwrap().leaf);
        leaves.extend(records.map(|leaf| String::from_utf8(leaf).unwrap()));
    }
    leaves
}

/// How long its receipt is in a ledger of ten million with two witnesses, which prove it.
fn length_of_receipt(leaf: &str) -> usize {
    let (receipt, keys) = receipt_in(10_000_000, 9_999_997, leaf.as_bytes());
    let text = receipt.to_string();
    let read = Receipt::parse(text.as_bytes()).unwrap();
    let proved = read.verify(keys.iter().map(SigningKey::key)).unwrap();
    assert_eq!((proved.vouched.len(), read.leaf()), (3, leaf.as_bytes()));
    text.len()
}

/// Short ones have a short receipt, and those that say much of a person and a decision are like the usual one.
#[test]
fn the_receipt_of_every_frozen_record_is_no_longer_than_two_and_a_half_kibibytes() {
    let mut lengths = std::collections::BTreeMap::<String, usize>::new();
    for leaf in frozen() {
        let said: serde_json::Value = serde_json::from_str(&leaf).unwrap();
        let number = format!("\"seq\":{},", said["seq"]);
        let leaf = leaf.replacen(&number, "\"seq\":9999997,", 1);
        let longest = lengths.entry(said["kind"].as_str().unwrap().to_owned()).or_default();
        *longest = length_of_receipt(&leaf).max(*longest);
    }
    assert!(lengths.len() >= 15, "{lengths:?}");
    assert!(lengths.values().all(|length| *length <= FITS), "{lengths:?}");
}

/// What makes one longer: digests, of which nothing is left out. Three for each sealed part, up to the longest record.
#[test]
fn the_receipt_of_a_record_with_sealed_parts_is_longer_by_their_digests_and_bounded() {
    let typical = TYPICAL.replace("\"seq\":0", "\"seq\":9999997");
    let hex = |seed: u32| hex::encode(leaf_hash(&seed.to_be_bytes()));
    let with_parts = |count: u32| {
        let part = |number: u32| {
            format!(
                r#"{{"name":"query","len":31,"commitment":"{}","class":"query","key":"{:.32}","sealed":"{}"}}"#,
                hex(3 * number),
                hex(3 * number + 1),
                hex(3 * number + 2)
            )
        };
        let parts: Vec<String> = (0..count).map(part).collect();
        let end = format!(",\"parts\":[{}]}}", parts.join(","));
        typical.strip_suffix('}').unwrap().to_owned() + &end
    };
    let mut before = FITS;
    // As the book says: 2.7, 2.8 and 3.0 KiB, where they are rounded.
    for (count, most) in [(1, 2_816), (2, 2_918), (3, 3_123)] {
        let length = length_of_receipt(&with_parts(count));
        assert!(before < length && length <= most, "{count}: {length}");
        before = length;
    }
    // One of almost 16 KiB, which is as long as the gateway writes any, of nothing but digests.
    let noise: String = (0..230).map(hex).collect();
    let dense = format!("{},\"note\":\"{noise}\"}}", typical.strip_suffix('}').unwrap());
    let length = length_of_receipt(&dense);
    assert!(dense.len() > 15_500 && length <= 14_848, "{}: {length}", dense.len());
}

#[test]
fn a_record_is_compressed_only_where_the_receipt_would_be_too_long_with_it() {
    let leaf = |filling: usize| {
        format!(
            "{{\"v\":1,\"kind\":\"access\",\"seq\":0,\"note\":\"{}\"}}",
            "n".repeat(filling)
        )
    };
    let plain = receipt_in(2, 0, leaf(900).as_bytes()).0;
    assert_eq!(plain.extra, plain.leaf);
    let long = receipt_in(2, 0, leaf(9_000).as_bytes()).0;
    assert!(long.extra.len() < 200 && long.extra.first() != Some(&b'{'));
    // What was written before there was another form is read as it was.
    let mut before = long.clone();
    before.extra.clone_from(&before.leaf);
    let read = Receipt::parse(before.to_string().as_bytes()).unwrap();
    assert_eq!((read.leaf(), read.index()), (long.leaf(), 0));
    // Random bytes get no shorter, and are left as they are.
    let hex: String = (0..3_000_u32)
        .map(|at| hex::encode(&leaf_hash(&at.to_be_bytes())[..1]))
        .collect();
    let dense = receipt_in(
        2,
        0,
        leaf(0).replace("\"note\":\"", &format!("\"note\":\"{hex}")).as_bytes(),
    )
    .0;
    assert!(dense.extra.len() < dense.leaf.len());
}

/// The attack: a few bytes that stand for very many, or for a leaf and something behind it.
#[test]
fn what_is_compressed_is_one_whole_leaf_and_no_longer_than_a_leaf_can_be() {
    let (receipt, keys) = receipt_in(
        2,
        0,
        format!(
            "{{\"v\":1,\"kind\":\"access\",\"seq\":0,\"note\":\"{}\"}}",
            "n".repeat(9_000)
        )
        .as_bytes(),
    );
    let with = |extra: Vec<u8>| {
        let forged = Receipt {
            extra,
            ..receipt.clone()
        };
        Receipt::parse(forged.to_string().as_bytes())
    };
    with(receipt.extra.clone())
        .unwrap()
        .verify(keys.iter().map(SigningKey::key))
        .unwrap();
    let whole = receipt.extra.clone();
    let bomb = deflated(&[b"{".as_slice(), &vec![b' '; 64 << 20]].concat()).unwrap();
    assert!(bomb.len() < MAX_RECEIPT_LEN);
    let checksum = {
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        changed
    };
    for extra in [
        bomb,
        checksum,
        [whole.as_slice(), b"more"].concat(),
        whole[..whole.len() - 1].to_vec(),
        deflated(b"no record").unwrap(),
        deflated(&receipt.extra).unwrap(),
        Vec::new(),
    ] {
        assert_eq!(with(extra), Err(ReceiptError::Extra));
    }
    let longest = format!("{{{}}}", " ".repeat(MAX_LEAF_LEN - 2));
    assert_eq!(
        leaf_in(&deflated(longest.as_bytes()).unwrap()).unwrap().len(),
        MAX_LEAF_LEN
    );
    assert_eq!(leaf_in(&deflated(format!("{longest} ").as_bytes()).unwrap()), None);
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
