//! On the simulated disk: what is signed, what is kept, and what is not signed any more.

use std::path::Path;

use model::event::RecordKind;

use super::*;
use crate::Options;
use crate::note::{Algorithm, KeyName, SigningKey};
use crate::sim::{Fault, SimDisk};
use crate::verify::{Trust, verify};

fn key() -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(KeyName::new("audit.example/one").unwrap(), Algorithm::Ed25519).unwrap())
}

fn open(disk: &SimDisk) -> Arc<Ledger> {
    let options = Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        ..Options::default()
    };
    Arc::new(Ledger::open(Path::new("l"), options, Arc::new(disk.clone())).unwrap().0)
}

fn append(ledger: &Ledger, count: usize) {
    for _ in 0..count {
        let body = format!("{{\"id\":\"x\",\"note\":\"{}\"}}", "n".repeat(2000)).into_bytes();
        let ticket = ledger.append(RecordKind::Access, body, Vec::new()).unwrap();
        ticket.wait().unwrap();
    }
}

fn start(ledger: &Arc<Ledger>, disk: &SimDisk, key: &Arc<SigningKey>) -> Result<Publisher, PublishError> {
    let signers: Vec<Arc<dyn Signer>> = vec![Arc::clone(key) as Arc<dyn Signer>];
    let clock = Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000));
    Publisher::start(ledger, Arc::new(disk.clone()), None, signers, clock)
}

fn start_beside(
    ledger: &Arc<Ledger>,
    disk: &SimDisk,
    beside: &SimDisk,
    key: &Arc<SigningKey>,
) -> Result<Publisher, PublishError> {
    let signers: Vec<Arc<dyn Signer>> = vec![Arc::clone(key) as Arc<dyn Signer>];
    let clock = Arc::new(|| Timestamp::from_unix_seconds(1_790_000_000));
    Publisher::start(
        ledger,
        Arc::new(disk.clone()),
        Some(Arc::new(beside.clone())),
        signers,
        clock,
    )
}

/// Stands for a key management service: what it does is said to it.
#[derive(Debug)]
struct Service {
    key: Arc<SigningKey>,
    mode: Mutex<Mode>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Signs,
    Fails,
    Hangs,
    /// Of something else than it was given.
    SignsWrongly,
    /// No signature at all.
    SignsNothing,
}

impl Service {
    fn will(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        self.changed.notify_all();
    }
}

impl Signer for Service {
    fn key(&self) -> &VerifierKey {
        self.key.key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mode = self.mode.lock().unwrap();
        let mode = *self.changed.wait_while(mode, |mode| *mode == Mode::Hangs).unwrap();
        match mode {
            Mode::Signs | Mode::Hangs => self.key.sign(message),
            Mode::SignsWrongly => self.key.sign(b"something else"),
            Mode::SignsNothing => Ok(Vec::new()),
            Mode::Fails => Err(SignError {
                key: self.key.key().short(),
                why: "the service does not answer".to_owned(),
            }),
        }
    }
}

/// Promise 4 needs the disk alone: whoever keeps the key can be away, or be wrong.
#[test]
fn promise_4_a_signer_that_fails_or_hangs_holds_no_record_up_and_what_it_signs_wrongly_is_not_published() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 1);
    let service = Arc::new(Service {
        key: Arc::clone(&key),
        mode: Mutex::new(Mode::Signs),
        changed: Condvar::new(),
    });
    let seconds = Arc::new(std::sync::atomic::AtomicI64::new(1_790_000_000));
    let clock = {
        let seconds = Arc::clone(&seconds);
        move || Timestamp::from_unix_seconds(seconds.load(std::sync::atomic::Ordering::Relaxed))
    };
    let signers: Vec<Arc<dyn Signer>> = vec![Arc::clone(&service) as Arc<dyn Signer>];
    let publisher = Publisher::start(&ledger, Arc::new(disk.clone()), None, signers, Arc::new(clock)).unwrap();
    let until = |is_so: &dyn Fn() -> bool| {
        while !is_so() {
            std::thread::yield_now();
        }
    };
    let mut records = 1;
    for (mode, said) in [
        (
            Mode::Fails,
            format!(
                "the key `{}` did not sign: the service does not answer",
                key.key().short()
            ),
        ),
        (
            Mode::SignsWrongly,
            format!(
                "the key `{}` did not sign: what it gave is no signature of this key over this text",
                key.key().short()
            ),
        ),
        (
            Mode::SignsNothing,
            format!(
                "the key `{}` did not sign: what it gave is no signature of this key over this text",
                key.key().short()
            ),
        ),
        (
            Mode::Hangs,
            format!("the key `{}` has not signed for 7 s", key.key().short()),
        ),
    ] {
        service.will(mode);
        let before = disk.bytes(NEWEST);
        // Each is durable when this returns.
        append(&ledger, 20);
        records += 20;
        if mode == Mode::Hangs {
            until(&|| publisher.desk.state().asked.is_some());
            assert_eq!(publisher.trouble(), None, "it may take a little");
            seconds.fetch_add(7, std::sync::atomic::Ordering::Relaxed);
        } else {
            until(&|| publisher.trouble().is_some());
        }
        assert_eq!(publisher.trouble(), Some(said), "{mode:?}");
        assert_eq!(ledger.durable().size, records);
        assert_eq!(disk.bytes(NEWEST), before, "{mode:?}: nothing was published");
        service.will(Mode::Signs);
        assert!(
            publisher.covering(records, Duration::from_secs(3600)).is_some(),
            "{mode:?}: it goes on by itself"
        );
        until(&|| publisher.trouble().is_none());
    }
    ledger.close();
    publisher.finish().unwrap();
    assert_eq!(proved(&disk, &key), records + 1);
}

#[test]
fn nobody_else_opens_a_ledger_before_its_end_is_signed_and_written_down() {
    let (disk, beside, key) = (SimDisk::new(1), SimDisk::new(2), key());
    let ledger = open(&disk);
    append(&ledger, 5);
    let publisher = start_beside(&ledger, &disk, &beside, &key).unwrap();
    let opens = || Ledger::open(Path::new("l"), Options::default(), Arc::new(disk.clone()));
    let is_kept_out = || matches!(opens(), Err(crate::OpenError::InUse { .. }));
    ledger.close_and(|| {
        assert!(is_kept_out(), "the end is not signed yet");
        assert!(beside.bytes("closed").is_none());
        publisher.finish().unwrap();
        assert!(is_kept_out(), "it is not over yet");
    });
    let (second, _) = opens().unwrap();
    assert_eq!(proved(&disk, &key), second.found());
    assert!(beside.bytes("closed").is_some(), "it ended in order");
}

/// Who can write the ledger's folder alone writes another ledger, without checkpoints, and waits for the next start.
#[test]
fn promise_5_other_records_without_a_checkpoint_are_not_signed_where_one_is_kept_beside_the_key() {
    let (disk, beside, key) = (SimDisk::new(1), SimDisk::new(2), key());
    let ledger = open(&disk);
    append(&ledger, 5);
    ledger.close();
    start_beside(&ledger, &disk, &beside, &key).unwrap().finish().unwrap();
    for (records, said) in [(3, "were signed and"), (8, "are not those that were signed")] {
        let forged = SimDisk::new(3);
        let ledger = open(&forged);
        let body = |number: usize| format!("{{\"id\":\"forged-{number}\"}}").into_bytes();
        for number in 0..records {
            let ticket = ledger.append(RecordKind::Access, body(number), Vec::new()).unwrap();
            ticket.wait().unwrap();
        }
        let refused = start_beside(&ledger, &forged, &beside, &key).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
        assert!(forged.bytes(NEWEST).is_none(), "nothing of it is signed");
        // Without the copy it would be.
        start(&ledger, &forged, &key).unwrap();
    }
    let ledger = open(&disk);
    append(&ledger, 1);
    start_beside(&ledger, &disk, &beside, &key).unwrap();
}

/// Who can write both folders, that of the ledger and that of the key, and does not have the key. The newest checkpoints are taken away, or older ones
/// that were honestly signed are put in their place; what is kept along the ledger, or what witnesses cosigned, contradicts the other records.
#[test]
fn promise_5_a_start_signs_nothing_that_a_kept_or_witnessed_checkpoint_contradicts() {
    let (disk, beside, key) = (SimDisk::new(1), SimDisk::new(2), key());
    let ledger = open(&disk);
    append(&ledger, 4);
    start_beside(&ledger, &disk, &beside, &key).unwrap().finish().unwrap();
    let older = disk.bytes(NEWEST).unwrap();
    append(&ledger, 4);
    let publisher = start_beside(&ledger, &disk, &beside, &key).unwrap();
    publisher.take_witnessed(&publisher.newest().unwrap()).unwrap();
    ledger.close();
    publisher.finish().unwrap();
    let kept = format!("{:020}.checkpoints", 0);
    let (all_kept, witnessed) = (disk.bytes(&kept).unwrap(), disk.bytes("witnessed").unwrap());
    // The first four are those of the ledger, as an attacker leaves them; then fewer, or others.
    let forged = |records: usize| {
        let forged = SimDisk::new(3);
        let ledger = open(&forged);
        append(&ledger, 4);
        for number in 0..records {
            let body = format!("{{\"id\":\"forged-{number}\"}}").into_bytes();
            let ticket = ledger.append(RecordKind::Access, body, Vec::new()).unwrap();
            ticket.wait().unwrap();
        }
        (forged, ledger)
    };
    for (records, is_behind) in [(1, true), (30, false)] {
        for newest in [None, Some(&older)] {
            for (name, left, on_beside) in [
                (kept.as_str(), &all_kept, false),
                ("witnessed", &witnessed, false),
                ("witnessed", &witnessed, true),
            ] {
                let ((forged, ledger), beside) = (forged(records), SimDisk::new(4));
                newest.into_iter().for_each(|older| {
                    forged.put(NEWEST, older);
                    beside.put(NEWEST, older);
                });
                (if on_beside { &beside } else { &forged }).put(name, left);
                let refused = start_beside(&ledger, &forged, &beside, &key).map(drop).unwrap_err();
                let is_so = match refused {
                    PublishError::Behind { have, .. } => is_behind && have == 5,
                    PublishError::Differs { size } => !is_behind && size > 4,
                    _ => false,
                };
                assert!(is_so, "{name} {records} {on_beside}: {refused}");
                assert_eq!(forged.bytes(NEWEST).as_ref(), newest, "nothing of it is signed");
            }
        }
    }
    // The ledger itself goes on without its newest checkpoints, or with older ones: what is kept fits its records.
    for newest in [Vec::new(), older] {
        let copy = disk.copy(5);
        let beside = SimDisk::new(6);
        if newest.is_empty() {
            copy.remove(NEWEST).unwrap();
        } else {
            copy.put(NEWEST, &newest);
            beside.put(NEWEST, &newest);
        }
        let ledger = open(&copy);
        let (on, size): (Arc<dyn Disk>, u64) = (Arc::new(copy.clone()), disk_size(&disk));
        let signed = Publisher::signed_before(&ledger, &on, None, &[key.key()]).unwrap();
        assert_eq!(signed.size, size, "all that was signed is known");
        start_beside(&ledger, &copy, &beside, &key).unwrap();
    }
}

/// Under its newest checkpoint.
fn disk_size(disk: &SimDisk) -> u64 {
    let note = Note::parse(&disk.bytes(NEWEST).unwrap()).unwrap();
    Checkpoint::parse(note.text()).unwrap().size
}

fn proved(disk: &SimDisk, key: &SigningKey) -> u64 {
    let trust = Trust {
        keys: vec![key.key().clone()],
        remembered: Vec::new(),
    };
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify(&disk, &trust, 2, &|_| {}).unwrap();
    assert_eq!(report.findings, []);
    report.proved
}

#[test]
fn every_record_of_a_closed_ledger_is_proved_over_segments_and_runs() {
    let (disk, key) = (SimDisk::new(1), key());
    for run in 1..=3_u64 {
        let ledger = open(&disk);
        append(&ledger, 60);
        let publisher = start(&ledger, &disk, &key).unwrap();
        ledger.close();
        publisher.finish().unwrap();
        // Sixty of ours and the record of closing, in each run.
        assert_eq!(proved(&disk, &key), run * 61);
    }
}

#[test]
fn the_durable_end_is_signed_while_the_ledger_grows() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 1);
    let publisher = start(&ledger, &disk, &key).unwrap();
    assert_eq!(publisher.newest().unwrap().checkpoint.size, 1);
    append(&ledger, 2);
    let newest = publisher.covering(3, Duration::from_secs(60)).unwrap();
    assert_eq!(newest.checkpoint.size, 3);
    assert!(
        publisher.covering(4, Duration::ZERO).is_none(),
        "what is not there is not signed"
    );
    let file = disk.bytes(NEWEST).unwrap();
    assert_eq!(file, publisher.newest().unwrap().note.to_string().into_bytes());
}

#[test]
fn an_older_copy_is_not_signed_any_more() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 5);
    ledger.close();
    let older = disk.copy(2);
    let ledger = open(&disk);
    append(&ledger, 5);
    start(&ledger, &disk, &key).unwrap().finish().unwrap();
    older.put(NEWEST, &disk.bytes(NEWEST).unwrap());
    let ledger = open(&older);
    let refused = start(&ledger, &older, &key).unwrap_err();
    assert!(
        matches!(refused, PublishError::Behind { signed: 11, have: 6 }),
        "{refused}"
    );
}

#[test]
fn other_records_under_the_signed_size_are_not_signed_any_more() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 5);
    start(&ledger, &disk, &key).unwrap().finish().unwrap();
    let other = SimDisk::new(2);
    let ledger = open(&other);
    let ticket = ledger
        .append(RecordKind::Access, b"{\"id\":\"other\"}".to_vec(), Vec::new())
        .unwrap();
    ticket.wait().unwrap();
    append(&ledger, 9);
    other.put(NEWEST, &disk.bytes(NEWEST).unwrap());
    let refused = start(&ledger, &other, &key).unwrap_err();
    assert!(matches!(refused, PublishError::Differs { size: 5 }), "{refused}");
}

#[test]
fn another_key_does_not_go_on_in_silence() {
    let (disk, first) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 5);
    start(&ledger, &disk, &first).unwrap().finish().unwrap();
    let refused = start(&ledger, &disk, &key()).unwrap_err();
    assert!(matches!(refused, PublishError::OtherKey { .. }), "{refused}");
    disk.put(NEWEST, b"no note");
    let refused = start(&ledger, &disk, &first).unwrap_err();
    assert!(matches!(refused, PublishError::Note { .. }), "{refused}");
}

#[test]
fn a_disk_that_fails_is_said_and_passes() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 1);
    // So that the failing operation is the publisher's.
    ledger.close();
    disk.fail_after(0, Fault::Io);
    let refused = start(&ledger, &disk, &key).unwrap_err();
    assert!(matches!(refused, PublishError::Io { what: "write", .. }), "{refused}");
    start(&ledger, &disk, &key).unwrap();
    assert_eq!(proved(&disk, &key), 2);
}

#[test]
fn cosignatures_come_into_the_newest_checkpoint_and_stay_where_a_newer_one_is_signed() {
    let (disk, beside, key) = (SimDisk::new(1), SimDisk::new(2), key());
    let ledger = open(&disk);
    append(&ledger, 3);
    let publisher = start_beside(&ledger, &disk, &beside, &key).unwrap();
    let witness = SigningKey::generate(KeyName::new("witness.example").unwrap(), Algorithm::Cosignature).unwrap();
    let cosigned = |size: u64| cosigned(&publisher, size, &witness);
    let first = cosigned(3);
    assert!(publisher.witnessed().is_none());
    publisher.take_witnessed(&first).unwrap();
    let text = first.note.to_string().into_bytes();
    for disk in [&disk, &beside] {
        assert_eq!(disk.bytes(NEWEST).as_ref(), Some(&text), "in the newest one");
        assert_eq!(disk.bytes("witnessed").as_ref(), Some(&text));
    }
    assert_eq!(publisher.newest().unwrap().note, first.note);
    let kept = disk.bytes(&format!("{:020}.checkpoints", 0)).unwrap();
    assert!(kept.ends_with(&text), "among those that are kept");

    append(&ledger, 2);
    let second = cosigned(5);
    assert_ne!(disk.bytes(NEWEST).unwrap(), text, "a newer one has none yet");
    assert_eq!(disk.bytes("witnessed").as_ref(), Some(&text), "and the older one stays");
    let none = publisher.witnessed_covering(5, Duration::ZERO);
    assert!(none.is_none(), "{none:?}");
    publisher.take_witnessed(&second).unwrap();
    // One that comes late takes nothing back.
    publisher.take_witnessed(&first).unwrap();
    assert_eq!(publisher.witnessed().unwrap().checkpoint.size, 5);
    assert!(publisher.witnessed_covering(5, Duration::ZERO).is_some());

    let trust = Trust {
        keys: vec![key.key().clone(), witness.key().clone()],
        remembered: Vec::new(),
    };
    ledger.close();
    publisher.finish().unwrap();
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    let report = verify(&on, &trust, 1, &|_| {}).unwrap();
    assert!(report.is_proved(), "{report:?}");
    assert_eq!(report.signers.get(&witness.key().short()), Some(&5), "{report:?}");
}

/// As [`Publisher::take_witnessed`] is given it: the newest checkpoint, once it has so many records, with a cosignature.
fn cosigned(publisher: &Publisher, size: u64, witness: &SigningKey) -> Published {
    let mut published = (*publisher.covering(size, Duration::from_secs(60)).unwrap()).clone();
    published.note.sign(witness, 1_790_000_000).unwrap();
    published
}

/// Who asks at any moment, and remembers what they were given.
#[test]
fn what_is_served_is_the_newest_witnessed_one_and_never_fewer_records_than_before() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 3);
    let publisher = start(&ledger, &disk, &key).unwrap();
    let witness = SigningKey::generate(KeyName::new("witness.example").unwrap(), Algorithm::Cosignature).unwrap();
    let is_witnessed = |note: &Note| note.verify([witness.key()]).is_ok();
    let first = cosigned(&publisher, 3, &witness);
    append(&ledger, 2);
    let second = cosigned(&publisher, 5, &witness);
    let served = publisher.served().unwrap();
    assert!(!is_witnessed(&served.note), "until one is witnessed, the newest");
    assert_eq!(served.checkpoint.size, 5);
    publisher.take_witnessed(&first).unwrap();
    assert_eq!(
        publisher.served(),
        Some(served),
        "not three records where five were served"
    );
    append(&ledger, 2);
    publisher.covering(7, Duration::from_secs(60)).unwrap();
    assert_eq!(publisher.served().unwrap().checkpoint.size, 5, "and no further away");
    publisher.take_witnessed(&second).unwrap();
    assert_eq!(*publisher.served().unwrap(), second);
    publisher.take_witnessed(&cosigned(&publisher, 7, &witness)).unwrap();
    append(&ledger, 2);
    publisher.covering(9, Duration::from_secs(60)).unwrap();
    // However long the witnesses are silent then.
    let served = publisher.served().unwrap();
    assert!(is_witnessed(&served.note));
    assert_eq!(
        (served.checkpoint.size, publisher.newest().unwrap().checkpoint.size),
        (7, 9)
    );
    ledger.close();
}

#[test]
fn a_start_serves_on_what_was_witnessed_before_and_nothing_that_another_key_signed_or_of_other_records() {
    let (disk, key) = (SimDisk::new(1), key());
    let witness = SigningKey::generate(KeyName::new("witness.example").unwrap(), Algorithm::Cosignature).unwrap();
    let ledger = open(&disk);
    append(&ledger, 3);
    let publisher = start(&ledger, &disk, &key).unwrap();
    let witnessed = cosigned(&publisher, 3, &witness);
    publisher.take_witnessed(&witnessed).unwrap();
    append(&ledger, 2);
    ledger.close();
    publisher.finish().unwrap();
    drop(publisher);

    let ledger = open(&disk);
    let publisher = start(&ledger, &disk, &key).unwrap();
    let signed_by = |key: &SigningKey, checkpoint: &Checkpoint| {
        let mut note = Note::new(checkpoint.to_string()).unwrap();
        note.sign(key, 0).unwrap();
        note.sign(&witness, 1_790_000_000).unwrap();
        note
    };
    let newest = publisher.newest().unwrap().checkpoint.clone();
    assert!(newest.size > 3);
    let retired = SigningKey::generate(KeyName::new("audit.example/one").unwrap(), Algorithm::Ed25519).unwrap();
    let other = Checkpoint {
        root: crate::leaf_hash(b"others"),
        ..newest.clone()
    };
    let more = Checkpoint {
        size: newest.size + 1,
        ..newest.clone()
    };
    let strange = [
        signed_by(&retired, &newest),
        signed_by(&key, &other),
        signed_by(&key, &more),
        signed_by(
            &key,
            &Checkpoint {
                origin: "audit.example/two".to_owned(),
                ..newest.clone()
            },
        ),
    ];
    publisher.go_on_witnessed(&strange).unwrap();
    assert_eq!(publisher.served().unwrap().note, publisher.newest().unwrap().note);
    drop(publisher);

    let publisher = start(&ledger, &disk, &key).unwrap();
    let kept = publisher.kept_witnessed().unwrap();
    publisher.go_on_witnessed(strange.iter().chain(&kept)).unwrap();
    assert_eq!(publisher.served().unwrap().note, witnessed.note);
    // A witness that comes late with what was witnessed before takes nothing back, and one that answers brings it on.
    publisher
        .take_witnessed(&cosigned(&publisher, newest.size, &witness))
        .unwrap();
    publisher.take_witnessed(&witnessed).unwrap();
    assert_eq!(publisher.served().unwrap().checkpoint, newest);
    ledger.close();
}

/// A full disk, or a crash, in the middle of an append to the kept checkpoints: what is left there is no damage for ever.
#[test]
fn promise_5_a_kept_checkpoint_that_was_written_by_half_is_no_damage_at_whatever_write_it_broke_off() {
    // So long a name that a checkpoint goes over the end of a sector.
    let name = KeyName::new(format!("audit.example/{}", "x".repeat(300))).unwrap();
    let key = Arc::new(SigningKey::generate(name, Algorithm::Ed25519).unwrap());
    let ledger_of = |disk: &SimDisk| {
        let ledger = open(disk);
        append(&ledger, 3);
        ledger.close();
        start(&ledger, disk, &key).unwrap().finish().unwrap();
        // Closed, so that the operation that fails is the publisher's.
        let ledger = open(disk);
        append(&ledger, 3);
        ledger.close();
        ledger
    };
    let most = {
        let disk = SimDisk::new(0);
        let ledger = ledger_of(&disk);
        let before = disk.operations();
        start(&ledger, &disk, &key).unwrap().finish().unwrap();
        disk.operations() - before
    };
    assert!(most >= 7, "one file is replaced, another appended to: {most}");
    let (mut failed, mut mended) = (0, 0);
    for (fault, at, seed) in [(Fault::Crash, 32), (Fault::Io, 2), (Fault::Torn, 2)]
        .into_iter()
        .flat_map(|(fault, seeds)| (0..most).flat_map(move |at| (0..seeds).map(move |seed| (fault, at, seed))))
    {
        let disk = SimDisk::new(seed);
        let ledger = ledger_of(&disk);
        disk.fail_after(at, fault);
        let first = start(&ledger, &disk, &key);
        failed += usize::from(first.is_err());
        drop(first);
        if fault == Fault::Crash {
            disk.power_cut();
        }
        disk.restart();
        // A verification in between, by somebody who mends nothing, meets whole checkpoints wherever the process lived on.
        if fault != Fault::Crash {
            proved(&disk, &key);
        }
        let ledger = open(&disk);
        let again = start(&ledger, &disk, &key).unwrap();
        mended += again.mended().len();
        ledger.close();
        again.finish().unwrap();
        assert_eq!(
            proved(&disk, &key),
            ledger.durable().size,
            "{fault:?} at {at}, seed {seed}"
        );
    }
    assert!(
        failed > 0 && mended > 0,
        "{failed} starts failed, {mended} ends were mended"
    );
}

#[test]
fn an_append_that_cannot_be_taken_back_at_once_is_before_the_next_one() {
    let (disk, key) = (SimDisk::new(1), key());
    let ledger = open(&disk);
    append(&ledger, 3);
    ledger.close();
    let publisher = start(&ledger, &disk, &key).unwrap();
    publisher.stop();
    let kept = format!("{:020}.checkpoints", 0);
    let whole = disk.bytes(&kept).unwrap();
    let newest = publisher.newest().unwrap();
    let text = newest.note.to_string();
    disk.fail_after(0, Fault::Torn);
    let failed = publisher
        .desk
        .keep(newest.checkpoint.size, text.as_bytes())
        .unwrap_err();
    assert!(matches!(failed, PublishError::Io { what: "write", .. }), "{failed}");
    assert_eq!(disk.bytes(&kept).as_ref(), Some(&whole), "taken back at once");
    // As if the disk had not let it.
    publisher.desk.state().torn = Some((kept.clone(), whole.len() as u64));
    disk.put(&kept, &[&whole[..], b"half"].concat());
    publisher.desk.keep(newest.checkpoint.size, text.as_bytes()).unwrap();
    assert_eq!(disk.bytes(&kept), Some([&whole[..], text.as_bytes()].concat()));
}
