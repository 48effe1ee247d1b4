//! What vouches for a ledger, byte for byte: the records of a change of its key and of a step of the clock, the note of the change, a witness's
//! memory and marker, and a pack of evidence. What this release writes for fixed keys and times, and what any later one must still read.
//!
//! The files in `frozen/v1-proofs` never change. A new version of a format gets files of its own beside them, as the memory of a witness has that was shown the
//! change of the key (`frozen/v1-shown-change`).
#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking; the lint spares only `#[test]` functions"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ledger::evidence::{Counts, Evidence, Span, Statement, told};
use ledger::note::{KeyChain, KeyTurn, Note, Signer, SigningKey, VerifierKey};
use ledger::verify::{Trust, key_changes, verify};
use ledger::witness::{Asker, Place, WhenForgotten, Witness, begin};
use ledger::{Disk, Ledger, Options, Publisher, Reader, RealDisk, Receipt};
use model::event::RecordKind;
use model::time::Timestamp;

/// Seeds of 32 times 1, 2 and 3.
const FIRST: &str = "PRIVATE+KEY+audit.example/frozen+fa9a371f+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
const NEXT: &str = "PRIVATE+KEY+audit.example/frozen+dbec05fc+AQICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC";
const WITNESS: &str = "PRIVATE+KEY+witness.example/frozen+6f929a57+BAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD";

const MARKER: &str = "w.key.begun";
const FILES: [&str; 8] = [
    "ledger/00000000000000000000.seg",
    "ledger/00000000000000000000.hashes",
    "ledger/00000000000000000000.checkpoints",
    "ledger/checkpoint",
    "ledger/key-changes",
    "w.key.begun",
    "cosigned/779c8850ad528af47edefc0e7d9d4d4a.cosigned",
    "evidence.txt",
];

/// What a change of the key that is shown changes of a witness.
const CHANGED: [&str; 2] = ["w.key.begun", "cosigned/779c8850ad528af47edefc0e7d9d4d4a.cosigned"];

fn signer(text: &str) -> Arc<dyn Signer> {
    Arc::new(text.parse::<SigningKey>().unwrap())
}

fn keys(texts: &[&str]) -> Vec<VerifierKey> {
    texts.iter().map(|text| signer(text).key().clone()).collect()
}

fn clock() -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000))
}

fn disk(folder: &Path) -> Arc<dyn Disk> {
    std::fs::create_dir_all(folder).unwrap();
    Arc::new(RealDisk::new(folder))
}

fn append(ledger: &Ledger, kind: RecordKind, body: &str) -> u64 {
    let ticket = ledger.append(kind, body.as_bytes().to_vec(), Vec::new()).unwrap();
    ticket.wait().unwrap().seq
}

/// A ledger with a step of the clock and a change of its key, a witness of both keys, and a pack from after the change.
fn write(folder: &Path) {
    let dir = folder.join("ledger");
    let options = Options {
        clock: clock(),
        boot: Arc::from("01996f3a-0000-7000-8000-000000000001"),
        ..Options::default()
    };
    let ledger = Arc::new(Ledger::open(&dir, options, disk(&dir)).unwrap().0);
    append(
        &ledger,
        RecordKind::Access,
        r#"{"id":"01996f3a-0000-7000-8000-000000000002","t":"2026-09-21T14:13:20.000000Z"}"#,
    );
    append(
        &ledger,
        RecordKind::Clock,
        r#"{"id":"01996f3a-0000-7000-8000-000000000003","t":"2026-09-21T15:13:20.000000Z","boot":"01996f3a-0000-7000-8000-000000000001","clock":{"from":"2026-09-21T14:13:20.000000Z","to":"2026-09-21T15:13:20.000000Z","millis":3600000},"note":"the machine's clock was set forward by 3600.000 s"}"#,
    );
    let started = |key: &str| Publisher::start(&ledger, disk(&dir), None, vec![signer(key)], clock()).unwrap();
    started(FIRST).finish().unwrap();
    cosign(folder, &ledger, &started(FIRST));
    let turn = [&signer(FIRST), &signer(NEXT)];
    Publisher::turn(
        &ledger,
        disk(&dir),
        None,
        turn,
        clock(),
        "01996f3a-0000-7000-8000-000000000001",
    )
    .unwrap();
    let publisher = started(NEXT);
    let statement = Statement {
        v: Statement::VERSION,
        made: Timestamp::from_unix_seconds(1_790_000_000),
        tool: "gatescribe frozen".to_owned(),
        query: "verb:list".to_owned(),
        from: None,
        to: Timestamp::from_unix_seconds(1_790_000_000),
        scope: "all".to_owned(),
        subject: None,
        read: Some(Span {
            first: 0,
            end: 3,
            within: 3,
        }),
        acts: Counts {
            range: 3,
            matched: 1,
            packed: 1,
        },
        sample: None,
        records: vec![vec![0]],
    };
    let statement = statement.to_bytes();
    let sentence = format!(
        "packed 1 acts of all records as evidence for `verb:list`, {}",
        told(&statement)
    );
    let body = format!(r#"{{"id":"01996f3a-0000-7000-8000-000000000004","note":"{sentence}"}}"#);
    let seq = append(&ledger, RecordKind::AuditRead, &body);
    ledger.close();
    publisher.finish().unwrap();
    let note = publisher.newest().unwrap().note.clone();
    let spot = Reader::open(&dir)
        .unwrap()
        .records_from(0)
        .next()
        .unwrap()
        .unwrap()
        .spot();
    let pack = Evidence::make(&ledger.tiles(), statement, &[spot], Some(seq), note, &|| true).unwrap();
    let pack = pack.with_changes(publisher.key_changes().unwrap());
    std::fs::write(folder.join("evidence.txt"), pack.to_string()).unwrap();
}

fn marker(folder: &Path) -> Place {
    Place {
        disk: disk(folder),
        name: MARKER.to_owned(),
    }
}

/// One that knows these keys of the log.
fn witness(folder: &Path, logs: &[&str]) -> Witness {
    let logs = keys(logs);
    let memory = disk(&folder.join("cosigned"));
    Witness::open(
        &memory,
        &marker(folder),
        signer(WITNESS),
        logs,
        clock(),
        WhenForgotten::Refuse,
    )
    .unwrap()
}

fn cosign(folder: &Path, ledger: &Ledger, publisher: &Publisher) {
    begin(&marker(folder), signer(WITNESS).key()).unwrap();
    let asker = Asker::new(signer(WITNESS).key().clone(), &[]).unwrap();
    let request = asker.request(&ledger.tiles(), &publisher.newest().unwrap()).unwrap();
    // The log's key is to change, and the next one is not listed yet: a witness begins with the newest that it knows.
    witness(folder, &[FIRST])
        .add_checkpoint(request.to_string().as_bytes())
        .unwrap();
}

fn frozen() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/frozen/v1-proofs")
}

fn copy(to: &Path) {
    for name in FILES {
        let file = to.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::copy(frozen().join(name), file).unwrap();
    }
}

#[test]
fn what_vouches_for_a_ledger_is_written_byte_for_byte_as_it_was_frozen() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    are_as_frozen(folder.path(), "v1-proofs", &FILES);
}

/// The witness of the frozen ledger, which lists its first key alone, is shown the change.
#[test]
fn the_memory_of_a_witness_that_was_shown_a_change_is_written_as_it_was_frozen_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    let change = std::fs::read_to_string(folder.path().join("ledger/key-changes")).unwrap();
    let shown = format!("old 2\n\n{change}");
    witness(folder.path(), &[FIRST])
        .add_checkpoint(shown.as_bytes())
        .unwrap();
    are_as_frozen(folder.path(), "v1-shown-change", &CHANGED);
    for name in CHANGED {
        std::fs::copy(
            frozen().with_file_name("v1-shown-change").join(name),
            folder.path().join(name),
        )
        .unwrap();
    }
    assert_eq!(witness(folder.path(), &[FIRST]).newest_keys(), keys(&[NEXT]));
}

fn are_as_frozen(folder: &Path, version: &str, files: &[&str]) {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(version);
    let mut differ = Vec::new();
    for name in files {
        let now = std::fs::read(folder.join(name)).unwrap();
        let then = std::fs::read(frozen().with_file_name(version).join(name)).unwrap_or_default();
        if now != then {
            std::fs::create_dir_all(kept.join(name).parent().unwrap()).unwrap();
            std::fs::write(kept.join(name), &now).unwrap();
            differ.push(name);
        }
    }
    assert!(
        differ.is_empty(),
        "{differ:?} differ from the frozen ones; what is written now is in {}",
        kept.display()
    );
}

#[test]
fn a_frozen_change_of_the_key_is_followed_from_either_key() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    let dir = folder.path().join("ledger");
    let kinds: Vec<RecordKind> = Reader::open(&dir)
        .unwrap()
        .records_from(0)
        .map(|record| record.unwrap().kind)
        .collect();
    assert!(
        kinds.contains(&RecordKind::Clock) && kinds.contains(&RecordKind::Key),
        "{kinds:?}"
    );
    let changes = key_changes(&*disk(&dir)).unwrap();
    let turn = KeyTurn::read(&changes[0]).unwrap();
    assert_eq!((changes.len(), turn.size), (1, 2));
    for known in [FIRST, NEXT] {
        let trust = Trust {
            keys: keys(&[known]),
            remembered: Vec::new(),
        };
        let report = verify(&disk(&dir), &trust, 1, &|_| {}).unwrap();
        assert_eq!(report.findings, []);
        assert_eq!((report.turns.len(), report.proved), (1, report.size));
        let chain = KeyChain::follow(&keys(&[known]), &changes);
        Receipt::from_dir(&dir, 1).unwrap().verify_along(&chain).unwrap();
    }
}

#[test]
fn a_frozen_memory_of_a_witness_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    copy(folder.path());
    assert_eq!(
        witness(folder.path(), &[FIRST, NEXT]).known(),
        [("audit.example/frozen".to_owned(), 2)]
    );
}

#[test]
fn frozen_evidence_is_read_and_holds() {
    let text = std::fs::read_to_string(frozen().join("evidence.txt")).unwrap();
    let evidence = Evidence::parse(text.as_bytes()).unwrap();
    assert_eq!(evidence.to_string(), text);
    for known in [FIRST, NEXT] {
        let chain = evidence.chain(&keys(&[known]), &[]);
        let checked = evidence.check(&chain);
        assert_eq!(checked.faults, []);
        assert_eq!((checked.told, checked.records), (Some(3), 2));
    }
    let note: &Note = evidence.note();
    assert!(note.text().starts_with("audit.example/frozen\n"));
}

/// Whatever is flipped in a pack with a change of the key, also in the change itself, is refused or found.
#[test]
fn whatever_is_flipped_in_a_pack_with_a_change_is_found() {
    let text = std::fs::read(frozen().join("evidence.txt")).unwrap();
    for known in [FIRST, NEXT] {
        let known = keys(&[known]);
        for at in 0..text.len() {
            let mut flipped = text.clone();
            flipped[at] ^= 1 << (at % 7);
            let holds = Evidence::parse(&flipped)
                .is_ok_and(|evidence| evidence.check(&evidence.chain(&known, &[])).faults.is_empty());
            assert!(!holds, "byte {at}");
        }
    }
}
