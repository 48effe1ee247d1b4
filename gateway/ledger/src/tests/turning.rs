//! The log's key changes while somebody attacks: the change is followed from the first key and from the last, and what is not signed by
//! both, or stands in the wrong place, or is missing, is found (promise 5).

use std::sync::Arc;

use base64::Engine as _;

use super::*;
use crate::disk::Disk;
use crate::evidence::Evidence;
use crate::note::{Algorithm, ChainError, KeyChain, KeyName, KeyTurn, Note, Signer, SigningKey, VerifierKey};
use crate::verify::{CHANGES, Fault, NEWEST_CHECKPOINT, Report, Trust, WITNESSED, verify};
use crate::witness::{Answer, Asker, NotCosigned, SIZE_TYPE};
use crate::{Checkpoint, Consistency, Head, Inconsistent, NotProved, Publisher, Receipt};

pub(super) type Keys = [Arc<dyn Signer>; 2];

pub(super) fn key() -> Arc<dyn Signer> {
    let name = KeyName::new("audit.example/turning").unwrap();
    Arc::new(SigningKey::generate(name, Algorithm::Ed25519).unwrap())
}

pub(super) fn clock() -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000))
}

pub(super) fn start(disk: &SimDisk) -> Arc<Ledger> {
    Arc::new(
        Ledger::open(Path::new("l"), options(), Arc::new(disk.clone()))
            .unwrap()
            .0,
    )
}

pub(super) fn append(ledger: &Ledger, count: usize) {
    for number in 0..count {
        let ticket = ledger
            .append(RecordKind::Access, body(&format!("r{number}")), Vec::new())
            .unwrap();
        ticket.wait().unwrap();
    }
}

fn sign(ledger: &Arc<Ledger>, disk: &SimDisk, key: &Arc<dyn Signer>) -> Result<Publisher, crate::PublishError> {
    Publisher::start(ledger, Arc::new(disk.clone()), None, vec![Arc::clone(key)], clock())
}

pub(super) fn turn(ledger: &Arc<Ledger>, disk: &SimDisk, [old, next]: &Keys) -> Result<(), crate::PublishError> {
    Publisher::turn(ledger, Arc::new(disk.clone()), None, [old, next], clock(), "b1")
}

/// A run that signs with this key, and ends.
pub(super) fn run(disk: &SimDisk, key: &Arc<dyn Signer>) {
    let ledger = start(disk);
    append(&ledger, 20);
    let publisher = sign(&ledger, disk, key).unwrap();
    append(&ledger, 20);
    ledger.close();
    publisher.finish().unwrap();
}

/// A run of the old key, the change, and a run of the new one.
pub(super) fn turned(disk: &SimDisk, keys: &Keys) {
    run(disk, &keys[0]);
    let ledger = start(disk);
    turn(&ledger, disk, keys).unwrap();
    ledger.close();
    run(disk, &keys[1]);
}

fn check(disk: &SimDisk, keys: &[&VerifierKey]) -> Report {
    check_with(disk, keys, Vec::new())
}

pub(super) fn check_with(disk: &SimDisk, keys: &[&VerifierKey], remembered: Vec<Note>) -> Report {
    let trust = Trust {
        keys: keys.iter().copied().cloned().collect(),
        remembered,
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    verify(&disk, &trust, 2, &|_| {}).unwrap()
}

pub(super) fn faults(report: &Report) -> Vec<&Fault> {
    report.findings.iter().map(|finding| &finding.fault).collect()
}

pub(super) fn simulated(disk: &SimDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn records(disk: &Arc<dyn Disk>) -> Vec<Record> {
    let reader = Reader::open_on(Arc::clone(disk)).unwrap();
    reader.records_from(0).map(Result::unwrap).collect()
}

pub(super) fn notes(disk: &SimDisk) -> Vec<String> {
    let disk: &dyn Disk = disk;
    disk.list()
        .unwrap()
        .into_iter()
        .filter(|name| name.ends_with(".checkpoints"))
        .collect()
}

#[test]
fn the_chain_is_followed_from_the_first_key_and_from_the_last() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    turned(&disk, &keys);
    let third = key();
    let ledger = start(&disk);
    turn(&ledger, &disk, &[Arc::clone(&keys[1]), Arc::clone(&third)]).unwrap();
    ledger.close();
    run(&disk, &third);
    let told: Vec<u64> = records(&simulated(&disk))
        .iter()
        .filter(|record| record.kind == RecordKind::Key)
        .map(|record| record.seq)
        .collect();
    for known in [keys[0].key(), keys[1].key(), third.key()] {
        let report = check(&disk, &[known]);
        assert_eq!(report.findings, []);
        assert!(report.is_proved() && report.proved == report.size, "{report:?}");
        let turns: Vec<_> = report
            .turns
            .iter()
            .map(|turn| (turn.from.clone(), turn.to.clone(), turn.record))
            .collect();
        let expected = [
            (keys[0].key().short(), keys[1].key().clone(), Some(told[0])),
            (keys[1].key().short(), third.key().clone(), Some(told[1])),
        ];
        assert_eq!(turns, expected);
        assert_eq!((report.strange, report.signers.len()), (0, 3));
    }
    let stranger = check(&disk, &[key().key()]);
    assert!(!stranger.is_proved() && stranger.turns.is_empty() && stranger.findings.is_empty());
}

#[test]
fn where_the_statement_was_taken_away_the_record_itself_leads_on() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    turned(&disk, &keys);
    for name in notes(&disk) {
        disk.put(&name, b"");
    }
    disk.put(CHANGES, b"");
    let report = check(&disk, &[keys[0].key()]);
    assert_eq!(report.findings, []);
    assert_eq!((report.turns.len(), report.proved), (1, report.size));
}

#[test]
fn a_change_that_was_interrupted_is_taken_up_and_made_once() {
    let keys = [key(), key()];
    for skip in 0..40 {
        let disk = SimDisk::new(skip);
        run(&disk, &keys[0]);
        let ledger = start(&disk);
        disk.fail_after(skip, crate::sim::Fault::Crash);
        let _ = turn(&ledger, &disk, &keys);
        drop(ledger);
        disk.power_cut();
        disk.restart();
        let ledger = start(&disk);
        turn(&ledger, &disk, &keys).unwrap();
        ledger.close();
        run(&disk, &keys[1]);
        let report = check(&disk, &[keys[0].key()]);
        assert_eq!(report.findings, [], "{skip}");
        assert_eq!((report.turns.len(), report.proved), (1, report.size), "{skip}");
    }
}

#[test]
fn a_key_that_was_followed_signs_this_ledger_no_more() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    run(&disk, &keys[0]);
    let before = disk.bytes(NEWEST_CHECKPOINT).unwrap();
    let ledger = start(&disk);
    turn(&ledger, &disk, &keys).unwrap();
    turn(&ledger, &disk, &keys).unwrap();
    assert!(
        sign(&ledger, &disk, &keys[0]).is_err(),
        "the newest checkpoint is the new key's"
    );
    // As if the power went before the new key's first checkpoint was written.
    disk.put(NEWEST_CHECKPOINT, &before);
    let refused = sign(&ledger, &disk, &keys[0]).unwrap_err().to_string();
    assert!(refused.contains("signs this ledger no more"), "{refused}");
    let other = turn(&ledger, &disk, &[Arc::clone(&keys[0]), key()])
        .unwrap_err()
        .to_string();
    assert!(other.contains("signs this ledger no more"), "{other}");
    ledger.close();
}

/// A ledger in a real folder, with what was proved before its key changed and after it.
pub(super) struct Proofs {
    pub(super) keys: Keys,
    /// The change as it stands beside the records.
    pub(super) changes: Vec<Note>,
    /// The newest checkpoint, a receipt and evidence, of before and of after.
    pub(super) notes: [Note; 2],
    pub(super) receipts: [Receipt; 2],
    pub(super) packs: [Evidence; 2],
    /// From the checkpoint of before to that of after.
    pub(super) proof: Consistency,
}

pub(super) fn proofs() -> Proofs {
    let keys = [key(), key()];
    let dir = tempfile::tempdir().unwrap();
    let real: Arc<dyn Disk> = Arc::new(crate::RealDisk::new(dir.path()));
    let ledger = Arc::new(Ledger::open(dir.path(), options(), Arc::clone(&real)).unwrap().0);
    append(&ledger, 3);
    let start = |key: &Arc<dyn Signer>| {
        let publisher = Publisher::start(&ledger, Arc::clone(&real), None, vec![Arc::clone(key)], clock()).unwrap();
        publisher.finish().unwrap();
        publisher.key_changes().unwrap()
    };
    assert_eq!(start(&keys[0]), []);
    let proved = || {
        let note = Note::parse(&std::fs::read(dir.path().join(NEWEST_CHECKPOINT)).unwrap()).unwrap();
        let spot = records(&real)[1].spot();
        let statement = br#"{"v":1,"made":"2026-11-22T00:00:00Z","tool":"t","query":"","to":"2026-11-22T00:00:00Z","scope":"all","acts":{"range":1,"matched":1,"packed":1},"records":[[1]]}"#;
        let pack = Evidence::make(
            &ledger.tiles(),
            statement.to_vec(),
            &[spot],
            None,
            note.clone(),
            &|| true,
        )
        .unwrap();
        (note, Receipt::from_dir(dir.path(), 1).unwrap(), pack)
    };
    let before = proved();
    // The change states a larger tree than the old key's last checkpoint.
    append(&ledger, 2);
    Publisher::turn(&ledger, Arc::clone(&real), None, [&keys[0], &keys[1]], clock(), "b1").unwrap();
    append(&ledger, 3);
    let changes = start(&keys[1]);
    let after = proved();
    let earlier = Checkpoint::parse(before.0.text()).unwrap();
    let proof = Consistency::make(&ledger.tiles(), &earlier, after.0.clone()).unwrap();
    ledger.close();
    Proofs {
        keys,
        packs: [before.2, after.2.with_changes(changes.clone())],
        changes,
        notes: [before.0, after.0],
        receipts: [before.1, after.1],
        proof,
    }
}

#[test]
fn receipts_packs_and_consistency_from_before_and_after_the_change_hold_for_who_knows_either_key() {
    let of = proofs();
    assert_eq!(of.changes.len(), 1);
    for known in &of.keys {
        let known = [known.key().clone()];
        let chain = KeyChain::follow(&known, &of.changes);
        of.receipts[1].verify_along(&chain).unwrap();
        of.proof.verify_along(&chain, &of.notes[0]).unwrap();
        // From before the change: with the proof that the ledger went on from there.
        let mut bound = chain.clone();
        of.proof.bind(&mut bound);
        of.receipts[0].verify_along(&bound).unwrap();
        // The newer pack has the change in it, as a file that is read again has.
        let read = Evidence::parse(of.packs[1].to_string().as_bytes()).unwrap();
        assert_eq!((&read, read.changes()), (&of.packs[1], of.changes.as_slice()));
        assert_eq!(read.check(&read.chain(&known, &[])).faults, []);
        let mut bound = of.packs[0].chain(&known, &of.changes);
        of.proof.bind(&mut bound);
        assert_eq!(of.packs[0].check(&bound).faults, []);
    }
    // Without the change each key believes what it signed itself, and no more.
    let alone = |at: usize| KeyChain::follow(&[of.keys[at].key().clone()], []);
    for (at, receipt) in of.receipts.iter().enumerate() {
        receipt.verify_along(&alone(at)).unwrap();
        assert!(receipt.verify_along(&alone(1 - at)).is_err());
        assert!(of.proof.verify_along(&alone(at), &of.notes[0]).is_err());
    }
    let stripped = of.packs[1].clone().with_changes(Vec::new());
    assert_eq!(stripped.check(&alone(0)).faults.len(), 1);
}

/// The old key was stolen after the change and signs what there is once more.
#[test]
fn receipts_packs_and_consistency_that_the_old_key_signs_after_the_change_are_refused() {
    let of = proofs();
    let mut stolen = Note::new(of.notes[1].text().to_owned()).unwrap();
    stolen.sign(&*of.keys[0], 0).unwrap();
    let resigned = |text: String| text.replace(&of.notes[1].to_string(), &stolen.to_string());
    let chain = KeyChain::follow(&[of.keys[0].key().clone()], &of.changes);
    let receipt = Receipt::parse(resigned(of.receipts[1].to_string()).as_bytes()).unwrap();
    receipt.verify([of.keys[0].key()]).unwrap();
    let refused = receipt.verify_along(&chain).unwrap_err();
    assert!(
        matches!(refused, NotProved::Chain(ChainError::Retired { .. })),
        "{refused}"
    );
    let proof = Consistency::parse(resigned(of.proof.to_string()).as_bytes()).unwrap();
    let refused = proof.verify_along(&chain, &of.notes[0]).unwrap_err();
    assert!(
        matches!(refused, Inconsistent::Chain { which: "later", .. }),
        "{refused}"
    );
    let encoded = |note: &Note| base64::engine::general_purpose::STANDARD.encode(note.to_string());
    let pack = of.packs[1]
        .to_string()
        .replace(&encoded(&of.notes[1]), &encoded(&stolen));
    let pack = Evidence::parse(pack.as_bytes()).unwrap();
    let faults: Vec<_> = pack.check(&chain).faults.iter().map(ToString::to_string).collect();
    assert!(
        faults.len() == 1 && faults[0].contains("another key followed"),
        "{faults:?}"
    );
    // With another change beside the true one nothing of either is believed.
    let thief = key();
    let head = Head { size: 3, root: [7; 32] };
    let other = KeyTurn::state(&head, &*of.keys[0], &*thief).unwrap();
    let both = [of.changes[0].clone(), other.note().clone()];
    let chain = KeyChain::follow(&[of.keys[0].key().clone()], &both);
    let refused = of.receipts[0].verify_along(&chain).unwrap_err();
    assert!(
        matches!(refused, NotProved::Chain(ChainError::TwoTurns { .. })),
        "{refused}"
    );
}

/// What a witness has cosigned is known across a change of the key: emptied in between, it is noticed.
#[test]
fn a_witness_that_forgets_while_the_key_changes_is_noticed() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    let name = KeyName::new("witness.example").unwrap();
    let witness = SigningKey::generate(name, Algorithm::Cosignature).unwrap();
    let ledger = start(&disk);
    append(&ledger, 20);
    let publisher = sign(&ledger, &disk, &keys[0]).unwrap();
    let mut cosigned = (*publisher.newest().unwrap()).clone();
    cosigned.note.sign(&witness, 1_790_000_000).unwrap();
    publisher.take_witnessed(&cosigned).unwrap();
    publisher.finish().unwrap();
    turn(&ledger, &disk, &keys).unwrap();
    let publisher = sign(&ledger, &disk, &keys[1]).unwrap();
    let kept = publisher.kept_witnessed().unwrap();
    assert_eq!(kept.len(), 1);
    let mut asker = Asker::new(witness.key().clone(), &kept).unwrap();
    assert_eq!(asker.known(), cosigned.checkpoint.size);
    let newest = publisher.newest().unwrap();
    let answer = Answer {
        status: 409,
        content_type: SIZE_TYPE,
        body: b"0\n",
    };
    let forgot = asker.take(&newest, newest.checkpoint.size, &answer).unwrap_err();
    assert_eq!(
        forgot,
        NotCosigned::Forgot {
            cosigned: cosigned.checkpoint.size,
            known: 0
        }
    );
    // Of another ledger of that name it says nothing of this one.
    let other = SimDisk::new(2);
    let elsewhere = start(&other);
    append(&elsewhere, 30);
    drop(sign(&elsewhere, &other, &keys[0]).unwrap());
    let mut foreign = Note::parse(&other.bytes(NEWEST_CHECKPOINT).unwrap()).unwrap();
    foreign.sign(&witness, 1_790_000_000).unwrap();
    for text in [
        foreign.to_string(),
        cosigned.note.to_string().replace("\n20\n", "\n19\n"),
    ] {
        disk.put(WITNESSED, text.as_bytes());
        assert_eq!(publisher.kept_witnessed().unwrap(), []);
    }
    ledger.close();
    elsewhere.close();
}

/// The thief has the new key, and not the old one: it is not his to follow.
#[test]
fn a_change_that_the_old_key_did_not_sign_is_refused_where_it_stands() {
    let (disk, old, thief) = (SimDisk::new(1), key(), key());
    let ledger = start(&disk);
    append(&ledger, 5);
    let head = ledger.durable();
    let stand_in = key();
    let turn = KeyTurn::state(&head, &*stand_in, &*thief).unwrap();
    let note = turn
        .note()
        .to_string()
        .replace(&stand_in.key().to_string(), &old.key().to_string());
    for (seq, note) in [(5, note), (6, turn.note().to_string()), (7, "nothing".to_owned())] {
        let body = serde_json::to_vec(&serde_json::json!({"id": "", "key": {"note": note}})).unwrap();
        let ticket = ledger.append(RecordKind::Key, body, Vec::new()).unwrap();
        assert_eq!(ticket.wait().unwrap().seq, seq);
    }
    let publisher = sign(&ledger, &disk, &old).unwrap();
    ledger.close();
    publisher.finish().unwrap();
    let report = check(&disk, &[old.key()]);
    let found: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.fault.clone(), finding.records.clone()))
        .collect();
    assert_eq!(found, [(Fault::Turn, 5..6), (Fault::Turn, 6..7), (Fault::Turn, 7..8)]);
}

/// The old key was stolen after the change, and goes on signing this ledger.
#[test]
fn what_the_old_key_signs_after_the_change_is_refused() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    turned(&disk, &keys);
    let size = check(&disk, &[keys[0].key()]).size;
    let newest = Checkpoint::parse(Note::parse(&disk.bytes(NEWEST_CHECKPOINT).unwrap()).unwrap().text()).unwrap();
    let mut stolen = Note::new(newest.to_string()).unwrap();
    stolen.sign(&*keys[0], 0).unwrap();
    disk.put(NEWEST_CHECKPOINT, stolen.to_string().as_bytes());
    let report = check(&disk, &[keys[0].key()]);
    let last = report.turns[0].size;
    let expected = Fault::Retired {
        key: keys[0].key().short(),
        last,
        size,
    };
    assert_eq!(faults(&report), [&expected]);
}

/// The thief of the old key tells another change: another key follows it, in a copy that ends before the true one.
#[test]
fn a_second_change_by_the_old_key_is_a_fork_for_who_remembers_the_first() {
    let (disk, keys, thief) = (SimDisk::new(1), [key(), key()], key());
    run(&disk, &keys[0]);
    let copy = disk.copy(2);
    let ledger = start(&disk);
    turn(&ledger, &disk, &keys).unwrap();
    ledger.close();
    let true_turn = notes(&disk).iter().find_map(|name| {
        let text = String::from_utf8(disk.bytes(name)?).ok()?;
        let at = text.find("gatescribe.dev/next-key")?;
        let begin = text.get(..at).unwrap().rfind("audit.example/turning\n").unwrap();
        Note::parse(
            text.get(begin..)
                .unwrap()
                .split_inclusive('\n')
                .take(7)
                .collect::<String>()
                .as_bytes(),
        )
        .ok()
    });
    let true_turn = true_turn.unwrap();
    assert!(KeyTurn::read(&true_turn).is_some());

    let ledger = start(&copy);
    append(&ledger, 1);
    turn(&ledger, &copy, &[Arc::clone(&keys[0]), Arc::clone(&thief)]).unwrap();
    ledger.close();
    run(&copy, &thief);
    // Who knows the first key alone cannot tell: the page on proving says so.
    assert!(check(&copy, &[keys[0].key()]).is_proved());
    // Who knows of the true change can, and who knows the new key believes nothing of it.
    let report = check_with(&copy, &[keys[0].key()], vec![true_turn]);
    assert!(
        faults(&report)
            .iter()
            .any(|fault| matches!(fault, Fault::TwoTurns { .. })),
        "{report:?}"
    );
    assert!(!check(&copy, &[keys[1].key()]).is_proved());
}

/// The statement and its record are taken again: to another log, or a second time in this one.
#[test]
fn a_change_that_is_replayed_is_refused() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    turned(&disk, &keys);
    let told = records(&simulated(&disk))
        .into_iter()
        .find(|record| record.kind == RecordKind::Key)
        .unwrap();
    let member: serde_json::Value = serde_json::from_slice(&told.leaf).unwrap();
    let replayed = serde_json::to_vec(&serde_json::json!({"id": "", "key": member["key"]})).unwrap();

    let ledger = start(&disk);
    let again = ledger
        .append(RecordKind::Key, replayed.clone(), Vec::new())
        .unwrap()
        .wait()
        .unwrap()
        .seq;
    let publisher = sign(&ledger, &disk, &keys[1]).unwrap();
    ledger.close();
    publisher.finish().unwrap();
    let report = check(&disk, &[keys[0].key()]);
    assert_eq!(faults(&report), [&Fault::Turn]);
    assert_eq!(report.findings[0].records, again..again + 1);

    // Another log of the same key, as a restored copy of an older state is: the statement's root is not its own.
    let other = SimDisk::new(3);
    let ledger = start(&other);
    append(&ledger, usize::try_from(told.seq).unwrap() + 1);
    ledger
        .append(RecordKind::Key, replayed, Vec::new())
        .unwrap()
        .wait()
        .unwrap();
    let publisher = sign(&ledger, &other, &keys[1]).unwrap();
    ledger.close();
    publisher.finish().unwrap();
    let report = check(&other, &[keys[0].key()]);
    assert!(
        faults(&report).iter().any(|fault| matches!(fault, Fault::Root { .. })),
        "{report:?}"
    );
}

/// Who has the new key writes the ledger anew from the change on, without its record.
#[test]
fn a_change_without_its_record_is_found() {
    let (disk, keys) = (SimDisk::new(1), [key(), key()]);
    let ledger = start(&disk);
    append(&ledger, 5);
    let statement = KeyTurn::state(&ledger.durable(), &*keys[0], &*keys[1]).unwrap();
    drop(sign(&ledger, &disk, &keys[0]).unwrap());
    append(&ledger, 5);
    ledger.close();
    disk.put(NEWEST_CHECKPOINT, b"");
    let name = notes(&disk).remove(0);
    let mut kept = disk.bytes(&name).unwrap();
    kept.extend_from_slice(statement.note().to_string().as_bytes());
    disk.put(&name, &kept);
    let disk_of = disk.copy(9);
    let head = {
        let ledger = start(&disk_of);
        let head = ledger.durable();
        ledger.close();
        head
    };
    let mut newest = Note::new(
        Checkpoint {
            origin: keys[1].key().name().to_string(),
            size: head.size,
            root: head.root,
        }
        .to_string(),
    )
    .unwrap();
    newest.sign(&*keys[1], 0).unwrap();
    disk_of.put(NEWEST_CHECKPOINT, newest.to_string().as_bytes());
    let report = check(&disk_of, &[keys[0].key()]);
    let key = keys[1].key().short();
    assert_eq!(faults(&report), [&Fault::Unrecorded { key }]);
    assert_eq!(
        report.findings[0].records.start, 5,
        "located behind the size at which it was stated"
    );
}
