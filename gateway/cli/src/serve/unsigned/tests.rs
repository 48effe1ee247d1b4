//! Attacks on the ledger's files, all but the signature, between two runs of the gateway.

use std::fs;
use std::path::PathBuf;

use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
use ledger::verify::{Fault, Finding, Report, Trust, verify};
use model::erasure::Hold;
use model::subject::SubjectId;
use model::time::Timestamp;
use proxy::audit::{Limits, Station};
use proxy::clock::Clock;
use serde_json::{Value, json};
use state::{SealingKey, SealingKeys};

use super::super::erasing::{Finished, erased_keys, finish};
use super::super::{origins, through};
use super::*;

/// A gateway's folder, and its state file.
struct Place {
    folder: tempfile::TempDir,
    key: Arc<dyn Signer>,
    store: Store,
}

fn alice() -> SubjectId {
    SubjectId::from_digest([1; 16])
}

fn store() -> Store {
    let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
    Store::in_memory(keys, state::Limits::default()).unwrap()
}

fn small() -> ledger::Options {
    ledger::Options {
        segment_bytes: 256 << 10,
        max_open: 16,
        ..ledger::Options::default()
    }
}

fn scope() -> Value {
    json!({"subject": alice(), "kind": "person", "user": "alice"})
}

fn erasure(key: &str) -> (RecordKind, Value) {
    let who =
        |number: u8, user: &str| json!({"subject": SubjectId::from_digest([number; 16]), "user": user, "issuer": "i"});
    let erasure = json!({"what": "erased", "request": "r", "of": scope(), "asked": who(3, "carol"), "agreed": who(4, "dave"), "why": "w",
        "keys": [{"id": key, "class": "command"}]});
    let body = json!({"id": "e", "t": Timestamp::EPOCH, "erasure": erasure});
    (RecordKind::Erasure, body)
}

fn release() -> (RecordKind, Value) {
    let hold = json!({"what": "released", "id": "h", "of": scope(), "set_by": "carol", "why": "w"});
    (
        RecordKind::Hold,
        json!({"id": "x", "t": Timestamp::EPOCH, "hold": hold}),
    )
}

fn robot() -> SubjectId {
    SubjectId::from_digest([9; 16])
}

/// A credential was issued, and somebody acts as the robot.
fn issued_and_acted(origin: &str) -> [(RecordKind, Value); 2] {
    let issued = json!({"id": "JTI=a", "origin": origin, "expires": 5_000});
    let by = json!({"id": robot(), "user": "robot", "origin": origin});
    [
        (
            RecordKind::Issued,
            json!({"id": "i", "t": Timestamp::from_unix_seconds(1), "issued": issued}),
        ),
        (RecordKind::Config, json!({"id": "a", "by": by})),
    ]
}

fn refusal(refused: &[u64]) -> (RecordKind, Value) {
    (RecordKind::Damage, json!({"id": "d", "refused": refused}))
}

fn other(text: &str) -> (RecordKind, Value) {
    (RecordKind::Config, json!({"id": "c", "note": text}))
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ledger", "keys"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let name = KeyName::new("audit.example/unsigned").unwrap();
        let place = Self {
            folder,
            key: Arc::new(SigningKey::generate(name, Algorithm::Ed25519).unwrap()),
            store: store(),
        };
        place.store.hold(&place.hold()).unwrap();
        place
    }

    fn hold(&self) -> Hold {
        Hold {
            id: "h".to_owned(),
            of: serde_json::from_value(scope()).unwrap(),
            by: "carol".to_owned(),
            actor: None,
            why: "w".to_owned(),
            at: Timestamp::EPOCH,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Arc<Ledger> {
        let dir = self.at("ledger");
        Arc::new(Ledger::open(&dir, small(), Arc::new(RealDisk::new(&dir))).unwrap().0)
    }

    /// Whoever has the ledger's files appends this, and whoever has the key does not know.
    fn appends(&self, records: &[(RecordKind, Value)]) -> Vec<u64> {
        let ledger = self.open();
        let append = |(kind, body): &(RecordKind, Value)| {
            let body = serde_json::to_vec(body).unwrap();
            ledger.append(*kind, body, Vec::new()).unwrap().wait().unwrap().seq
        };
        let seqs = records.iter().map(append).collect();
        ledger.close();
        seqs
    }

    /// A start of the gateway up to where it serves, and its end; `known` is how many records the store stands on.
    fn starts(&self, known: u64) -> (Before, Finished) {
        self.starts_with(&self.store, known)
    }

    fn starts_with(&self, store: &Store, known: u64) -> (Before, Finished) {
        let ledger = self.open();
        let dirs = (self.at("ledger"), self.at("keys"));
        let before = refuse(&ledger, (&dirs.0, &dirs.1), &[self.key.key()], store, "boot").unwrap();
        let disk = |dir| -> Arc<dyn Disk> { Arc::new(RealDisk::new(dir)) };
        let signers = vec![Arc::clone(&self.key)];
        let publisher = Publisher::start(&ledger, disk(&dirs.0), Some(disk(&dirs.1)), signers, Arc::new(now)).unwrap();
        let finished = finish((&dirs.0, None), known, &before, store).unwrap();
        ledger.close();
        publisher.finish().unwrap();
        (before, finished)
    }

    /// A start that ends behind its first signature, before it has done anything by the records.
    fn dies_signed(&self) {
        let ledger = self.open();
        let dirs = (self.at("ledger"), self.at("keys"));
        refuse(&ledger, (&dirs.0, &dirs.1), &[self.key.key()], &self.store, "boot").unwrap();
        let disk = |dir| -> Arc<dyn Disk> { Arc::new(RealDisk::new(dir)) };
        let signers = vec![Arc::clone(&self.key)];
        drop(Publisher::start(&ledger, disk(&dirs.0), Some(disk(&dirs.1)), signers, Arc::new(now)).unwrap());
    }

    fn alarms(&self, before: &Before) -> Vec<String> {
        foreign(&self.at("ledger"), 0, before, &self.store)
            .unwrap()
            .alarms()
            .collect()
    }

    /// What a start learns behind its signature, whose store stands on so many records: who holds the credential, and who acted as the robot.
    fn learns(&self, before: &Before, known: u64) -> (Option<String>, Vec<String>) {
        let (dir, ledger) = (self.at("ledger"), self.open());
        let audit = Station::new(
            Arc::clone(&ledger),
            Clock::manual(1_000).0,
            "boot".into(),
            Limits::default(),
        );
        let foreign = foreign(&dir, known, before, &self.store).unwrap();
        origins::read_on((&dir, None, &foreign), known, &audit).unwrap();
        through::fill((&dir, None, &foreign), known, ledger.durable().size, &self.store).unwrap();
        let holder = audit.origins().of("JTI=a");
        (
            holder.map(|origin| origin.to_string()),
            self.store.origins_of(&robot()).unwrap(),
        )
    }

    fn key(&self) -> String {
        self.store
            .part_key(alice().as_str(), "command", Timestamp::EPOCH)
            .unwrap()
            .id
    }

    fn has(&self, key: &str) -> bool {
        self.store.part_key_named(alice().as_str(), key).unwrap().is_some()
    }

    fn verified(&self) -> Report {
        let trust = Trust {
            keys: vec![self.key.key().clone()],
            remembered: Vec::new(),
        };
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&self.at("ledger")));
        let report = verify(&disk, &trust, 2, &|_| {}).unwrap();
        let is_thiefs = |finding: &Finding| matches!(finding.fault, Fault::AfterEnd { .. });
        assert!(report.findings.iter().all(is_thiefs), "{:?}", report.findings);
        report
    }

    /// Writes these bytes in place of those, in each segment, checksums of frames and all; the checkpoints stay.
    fn exchanges(&self, old: &str, new: &str) {
        assert_eq!(old.len(), new.len());
        let mut exchanged = 0;
        for file in fs::read_dir(self.at("ledger"))
            .unwrap()
            .map(|file| file.unwrap().path())
        {
            if file.extension().is_none_or(|end| end != "seg") {
                continue;
            }
            let mut bytes = fs::read(&file).unwrap();
            let mut at = 0;
            while let Some(found) = bytes[at..]
                .windows(old.len())
                .position(|window| window == old.as_bytes())
            {
                at += found;
                bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
                let frame = (0..at).rev().find(|from| is_frame(&bytes[*from..], at - from)).unwrap();
                let len = u32::from_le_bytes(bytes[frame..frame + 4].try_into().unwrap()) as usize + 20;
                let crc = crc32c(&[&bytes[frame..frame + 4], &bytes[frame + 8..frame + len]].concat());
                bytes[frame + 4..frame + 8].copy_from_slice(&crc.to_le_bytes());
                exchanged += 1;
            }
            fs::write(&file, bytes).unwrap();
        }
        assert!(exchanged > 0);
    }
}

/// Whether a frame of a leaf may begin here that reaches to there.
fn is_frame(bytes: &[u8], to: usize) -> bool {
    let len = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    bytes[20..].starts_with(b"{\"v\":1,\"kind\"") && len + 20 > to
}

/// RFC 3720 appendix B.4, as slow as it is short.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    };
    !bytes.iter().fold(u32::MAX, step)
}

/// promise_5: the thief appends behind what was signed, and waits for a second start.
#[test]
fn promise_5_what_a_thief_appends_is_refused_before_it_is_signed_and_stays_so() {
    let place = Place::new();
    let key = place.key();
    place.appends(&[other("a record")]);
    place.starts(0);
    let thiefs = place.appends(&[erasure(&key), release(), other("another"), refusal(&[0])]);
    let refused: BTreeSet<u64> = [thiefs[0], thiefs[1], thiefs[3]].into();
    let (before, _) = place.starts(0);
    assert_eq!(before.refused, refused);
    // With the record of the end of their own run.
    let foreign = thiefs[0]..thiefs[3] + 2;
    assert_eq!(before.foreign, foreign);
    let words = format!(
        "records {} to {} are not the gateway's: put in behind the end of a run that had signed all of its records",
        foreign.start,
        foreign.end - 1
    );
    assert_eq!(place.alarms(&before), std::slice::from_ref(&words));
    // The store stands on nothing, and reads all of them again, signed by now.
    for _ in 0..2 {
        let (before, finished) = place.starts(0);
        assert!(before.refused.is_empty() && before.signed.size > thiefs[3]);
        // Nobody has done anything about it.
        assert!(before.foreign.is_empty());
        assert_eq!(place.alarms(&before), std::slice::from_ref(&words));
        assert_eq!(finished, Finished::default());
        assert!(place.has(&key));
        assert_eq!(place.store.holds().unwrap(), [place.hold()]);
    }
    let report = place.verified();
    let accused: Vec<_> = report.findings.iter().map(|finding| finding.records.clone()).collect();
    assert_eq!(accused, [foreign]);
    assert_eq!(report.proved, report.size);
    assert_eq!(
        (report.erased.records, report.erased.refused),
        (BTreeSet::new(), refused)
    );
    // A backup is put back with that key: nobody erased it. Nor does a record that lacks almost all, and takes nothing away, keep all keys out.
    place.appends(&[(RecordKind::Erasure, json!({"id": "x", "erasure": {"what": "asked"}}))]);
    let size = report.size + 1;
    let head = place.starts(size).0.signed;
    assert!(erased_keys(&place.at("ledger"), size, &head).unwrap().is_empty());
}

/// promise_5: the same, and the gateway dies between the refusal and the signature.
#[test]
fn promise_5_a_refusal_that_was_not_signed_is_said_again() {
    let place = Place::new();
    let key = place.key();
    place.appends(&[other("a record")]);
    place.starts(0);
    let thiefs = place.appends(&[erasure(&key)]);
    let ledger = place.open();
    let dirs = (place.at("ledger"), place.at("keys"));
    refuse(&ledger, (&dirs.0, &dirs.1), &[place.key.key()], &place.store, "boot").unwrap();
    ledger.close();
    drop(ledger);
    let (before, _) = place.starts(0);
    let refused: Vec<u64> = before.refused.iter().copied().collect();
    assert_eq!((refused.len(), refused[0]), (2, thiefs[0]));
    let second = Reader::open(&dirs.0).unwrap().record(refused[1]).unwrap().unwrap();
    assert_eq!(
        second.kind,
        RecordKind::Damage,
        "and so is the refusal that nobody signed"
    );
    place.starts(0);
    assert!(place.has(&key));
    assert!(place.verified().erased.records.is_empty());
}

/// promise_5: the thief exchanges a record that is signed, far below the end; the checkpoints are not touched.
#[test]
fn promise_5_files_alone_carry_out_no_erasure_at_a_start() {
    let place = Place::new();
    let key = place.key();
    let (kind, mut body) = erasure(&key);
    body["erasure"]["what"] = "asks__".into();
    place.appends(&[(kind, body)]);
    // So many that it stands in an earlier segment.
    place.appends(&vec![other(&"x".repeat(2_000)); 300]);
    place.starts(u64::MAX);
    let dir = place.at("ledger");
    assert!(Reader::open(&dir).unwrap().segments().len() > 1);
    place.exchanges("\"what\":\"asks__\"", "\"what\":\"erased\"");
    let record = Reader::open(&dir).unwrap().record(0).unwrap().unwrap();
    assert!(String::from_utf8(record.leaf).unwrap().contains("\"what\":\"erased\""));
    // The store was put back from a backup, or is new: it reads everything.
    let (before, finished) = place.starts(0);
    assert!(before.signed.size > 300);
    assert!(finished.is_unproved && finished.destroyed == 0, "{finished:?}");
    assert!(place.has(&key), "the key is there");
    // It is tried at each start until the ledger is whole again.
    assert_eq!(place.store.unproved_from().unwrap(), Some(0));
    assert!(place.starts(u64::MAX).1.is_unproved);
    place.exchanges("\"what\":\"erased\"", "\"what\":\"asks__\"");
    assert!(!place.starts(u64::MAX).1.is_unproved);
    assert_eq!(place.store.unproved_from().unwrap(), None);
    assert!(place.has(&key));
}

/// promise_5: the other way round: a signed erasure is exchanged for something else, so that a restore brings the key back.
#[test]
fn promise_5_a_restore_believes_no_record_that_was_exchanged() {
    let place = Place::new();
    let key = place.key();
    place.appends(&[erasure(&key)]);
    place.appends(&vec![other(&"x".repeat(2_000)); 300]);
    place.starts_with(&store(), u64::MAX);
    let head = place.starts_with(&store(), u64::MAX).0.signed;
    let (dir, size) = (place.at("ledger"), head.size);
    place.exchanges("\"what\":\"erased\"", "\"what\":\"asked_\"");
    let error = erased_keys(&dir, size, &head).unwrap_err().to_string();
    let expected = format!(
        "the first {size} records are not those that were signed: `gatescribe ledger verify` says where they differ"
    );
    assert_eq!(error, expected);
}

/// promise_5: the newest checkpoints are taken away, so that nothing would seem to be signed, and what two people erased would be refused.
#[test]
fn promise_5_what_was_signed_stays_so_where_the_newest_checkpoints_are_taken_away() {
    let place = Place::new();
    let key = place.key();
    let said = erasure(&key);
    place
        .store
        .remember_words(&serde_json::to_vec(&said.1).unwrap())
        .unwrap();
    place.appends(&[said]);
    place.starts(0);
    assert!(!place.has(&key));
    place.store.forget_words().unwrap();
    for folder in ["ledger", "keys"] {
        fs::remove_file(place.at(folder).join(ledger::NEWEST_CHECKPOINT)).unwrap();
    }
    let (before, _) = place.starts(0);
    assert!(before.signed.size > 0 && before.refused.is_empty(), "{before:?}");
    assert_eq!(place.verified().erased.records, [0].into());
}

/// A crash between the record and its signature loses nothing that two people did.
#[test]
fn what_two_people_did_counts_also_where_a_crash_came_before_the_signature() {
    let place = Place::new();
    let key = place.key();
    let (erasure, release) = (erasure(&key), release());
    for (_, body) in [&erasure, &release] {
        place.store.remember_words(&serde_json::to_vec(body).unwrap()).unwrap();
    }
    place.appends(&[erasure, release]);
    let (before, finished) = place.starts(0);
    assert!(before.refused.is_empty());
    assert_eq!(finished.destroyed, 1);
    assert!(!place.has(&key));
    assert!(place.store.holds().unwrap().is_empty());
}

/// promise_5: what two people did is exchanged before it is signed: the request is theirs, and the keys are others.
#[test]
fn promise_5_the_words_of_two_people_are_not_taken_for_other_words() {
    let place = Place::new();
    let meant = place
        .store
        .part_key(alice().as_str(), "query", Timestamp::EPOCH)
        .unwrap()
        .id;
    let key = place.key();
    place
        .store
        .remember_words(&serde_json::to_vec(&erasure(&meant).1).unwrap())
        .unwrap();
    place.appends(&[erasure(&key)]);
    let (before, finished) = place.starts(0);
    assert_eq!((before.refused.len(), finished.destroyed), (1, 0));
    assert!(place.has(&key) && place.has(&meant));
}

/// promise_5: a second record of a hold's name that holds less.
#[test]
fn promise_5_no_record_makes_a_hold_smaller() {
    let place = Place::new();
    let mut smaller = scope();
    smaller["classes"] = json!(["agent"]);
    let hold = json!({"what": "created", "id": "h", "of": smaller, "set_by": "carol", "why": "w"});
    place.appends(&[(
        RecordKind::Hold,
        json!({"id": "h", "t": Timestamp::EPOCH, "hold": hold}),
    )]);
    for _ in 0..2 {
        place.starts(0);
        assert_eq!(place.store.holds().unwrap(), [place.hold()]);
    }
}

/// The start that finds what a thief put in says so, signs it, and dies; the next one has no end of a run to hold the records against.
#[test]
fn promise_5_no_later_start_believes_what_an_earlier_one_said_is_not_the_gateways() {
    let place = Place::new();
    place
        .store
        .part_key(robot().as_str(), "query", Timestamp::EPOCH)
        .unwrap();
    place.appends(&issued_and_acted("alice"));
    let known = place.starts(0).0.signed.size;
    assert_eq!(known, 0, "nothing was signed");
    let thiefs = place.appends(&issued_and_acted("bob"));
    place.dies_signed();
    let alice = (Some("alice".to_owned()), vec!["alice".to_owned()]);
    // From where the store stood; then a backup of keys was put back, and who acted is read from all records.
    for known in [thiefs[0], 0] {
        place.store.acted_through_all(&[], known).unwrap();
        let (before, _) = place.starts(known);
        assert!(before.foreign.is_empty() && before.signed.size > thiefs[1]);
        let (holder, acted) = place.learns(&before, known);
        let expected = if known == 0 { alice.clone() } else { (None, Vec::new()) };
        assert_eq!((holder, acted), expected);
        let said = place.alarms(&before);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with(&format!("records {} to ", thiefs[0])), "{said:?}");
    }
}

/// A statement that nobody had signed is the thief's own: what the gateway recorded stays believed.
#[test]
fn promise_5_a_thief_who_says_that_records_are_not_the_gateways_is_not_believed() {
    let place = Place::new();
    place
        .store
        .part_key(robot().as_str(), "query", Timestamp::EPOCH)
        .unwrap();
    place.appends(&issued_and_acted("alice"));
    place.starts(0);
    fs::remove_file(place.at("keys").join("closed")).unwrap();
    place.appends(&[(
        RecordKind::Damage,
        json!({"id": "d", "unsigned": {"from": 0, "until": 2}}),
    )]);
    place.dies_signed();
    let (before, _) = place.starts(0);
    assert_eq!(place.alarms(&before), Vec::<String>::new());
    let (holder, acted) = place.learns(&before, 0);
    assert_eq!((holder.as_deref(), acted), (Some("alice"), vec!["alice".to_owned()]));
}
