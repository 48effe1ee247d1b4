//! Parts whose keys were destroyed are told from parts that somebody took away: by a signed record, and by nothing else (promise 5).

use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::disk::Disk;
use crate::note::{Algorithm, KeyName, Signer, SigningKey, VerifierKey};
use crate::verify::{Erased, Fault, Report, Trust, verify};
use crate::{Part, PartsFault, Publisher};

struct World {
    disk: SimDisk,
    key: Arc<dyn Signer>,
}

const BYTES: [&[u8]; 2] = [b"sealed command", b"sealed query"];

impl World {
    fn new() -> Self {
        let name = KeyName::new("audit.example/erasing").unwrap();
        Self {
            disk: SimDisk::new(1),
            key: Arc::new(SigningKey::generate(name, Algorithm::Ed25519).unwrap()),
        }
    }

    /// A run of the gateway whose end is signed, or is not.
    fn run(&self, is_signed: bool, work: impl FnOnce(&Ledger)) {
        let (disk, clock) = (Arc::new(self.disk.clone()), || {
            Timestamp::from_unix_seconds(1_790_000_000)
        });
        let ledger = Arc::new(Ledger::open(Path::new("l"), options(), disk.clone()).unwrap().0);
        let publisher = is_signed
            .then(|| Publisher::start(&ledger, disk, None, vec![Arc::clone(&self.key)], Arc::new(clock)).unwrap());
        work(&ledger);
        ledger.close();
        if let Some(publisher) = publisher {
            publisher.finish().unwrap();
        }
    }

    fn check(&self) -> Report {
        let key: VerifierKey = self.key.key().clone();
        let trust = Trust {
            keys: vec![key],
            remembered: Vec::new(),
        };
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        verify(&disk, &trust, 2, &|_| {}).unwrap()
    }
}

/// An access with two parts, of which those that are `there` stand beside it.
fn act(ledger: &Ledger, keys: [&str; 2], there: [bool; 2]) -> u64 {
    let entry = |(bytes, key): (&&[u8], &str)| {
        format!(
            "{{\"name\":\"query\",\"key\":\"{key}\",\"sealed\":\"{}\"}}",
            Part::digest(bytes)
        )
    };
    let entries: Vec<String> = BYTES.iter().zip(keys).map(entry).collect();
    let body = format!("{{\"id\":\"a\",\"parts\":[{}]}}", entries.join(","));
    let parts = BYTES.iter().zip(there).filter(|(_, there)| *there);
    let parts = parts.map(|(bytes, _)| Part { bytes: bytes.to_vec() }).collect();
    write(ledger, RecordKind::Access, body, parts)
}

fn erasure(ledger: &Ledger, what: &str, keys: &[(&str, &str)]) -> u64 {
    let key = |(id, class): &(&str, &str)| format!("{{\"id\":\"{id}\",\"class\":\"{class}\"}}");
    let keys: Vec<String> = keys.iter().map(key).collect();
    let body = format!(
        "{{\"id\":\"e\",\"erasure\":{{\"what\":\"{what}\",\"keys\":[{}]}}}}",
        keys.join(",")
    );
    write(ledger, RecordKind::Erasure, body, Vec::new())
}

fn write(ledger: &Ledger, kind: RecordKind, body: String, parts: Vec<Part>) -> u64 {
    ledger
        .append(kind, body.into_bytes(), parts)
        .unwrap()
        .wait()
        .unwrap()
        .seq
}

fn faults(report: &Report) -> Vec<(u64, &Fault)> {
    report
        .findings
        .iter()
        .map(|found| (found.records.start, &found.fault))
        .collect()
}

#[test]
fn what_was_erased_is_counted_and_what_was_taken_out_for_it_is_no_fault() {
    let world = World::new();
    let mut records = Vec::new();
    world.run(true, |ledger| {
        act(ledger, ["k1", "k2"], [true, true]);
        act(ledger, ["k1", "k2"], [false, true]);
        act(ledger, ["k1", "k3"], [false, false]);
        records.push(erasure(ledger, "erased", &[("k1", "command"), ("r1", "recording:s")]));
    });
    world.run(true, |ledger| {
        records.push(erasure(ledger, "erased", &[("k3", "query")]));
        // After a crash it may be said again.
        erasure(ledger, "erased", &[("k3", "query")]);
    });
    let report = world.check();
    assert_eq!(faults(&report), []);
    assert!(report.is_proved());
    let erased = Erased {
        records: records.into_iter().collect(),
        parts: 4,
        detached: 3,
        recordings: 1,
        refused: std::collections::BTreeSet::new(),
    };
    assert_eq!(report.erased, erased);
}

#[test]
fn a_part_that_is_missing_without_a_record_of_its_key_is_found_at_its_record() {
    let world = World::new();
    let mut lacking = Vec::new();
    world.run(true, |ledger| {
        act(ledger, ["k1", "k2"], [true, true]);
        lacking.push((act(ledger, ["k1", "k2"], [false, false]), 1));
        lacking.push((act(ledger, ["k2", "k3"], [true, false]), 1));
        // To ask for it, or to be refused, is not to erase.
        erasure(ledger, "asked", &[("k2", "query")]);
        erasure(ledger, "refused", &[("k3", "query")]);
        erasure(ledger, "erased", &[("k1", "command")]);
    });
    let report = world.check();
    let found: Vec<_> = lacking
        .iter()
        .map(|(seq, count)| (*seq, Fault::Parts(PartsFault::Missing(*count))))
        .collect();
    let found: Vec<_> = found.iter().map(|(seq, fault)| (*seq, fault)).collect();
    assert_eq!(faults(&report), found);
    assert!(!report.is_proved());
    assert_eq!((report.erased.parts, report.erased.detached), (2, 1));
}

#[test]
fn a_record_of_an_erasure_that_nobody_signed_excuses_nothing() {
    let world = World::new();
    let mut lacking = 0;
    world.run(true, |ledger| lacking = act(ledger, ["k1", "k2"], [false, true]));
    // As whoever has the files, and not the key, appends it.
    world.run(false, |ledger| {
        erasure(ledger, "erased", &[("k1", "command")]);
    });
    let report = world.check();
    assert_eq!(faults(&report), [(lacking, &Fault::Parts(PartsFault::Missing(1)))]);
    assert_eq!(report.erased, Erased::default());
}

#[test]
fn what_stands_in_place_of_an_erased_part_is_no_erasure() {
    let world = World::new();
    world.run(true, |ledger| {
        let body = format!(
            "{{\"id\":\"a\",\"parts\":[{{\"key\":\"k1\",\"sealed\":\"{}\"}}]}}",
            Part::digest(b"sealed command")
        );
        let other = Part {
            bytes: b"another command".to_vec(),
        };
        write(ledger, RecordKind::Access, body, vec![other]);
        erasure(ledger, "erased", &[("k1", "command")]);
    });
    let altered = Fault::Parts(PartsFault::Altered { part: 1, of: 1 });
    assert_eq!(faults(&world.check()), [(0, &altered)]);
}

/// As a start writes it that finds records behind what was signed, before it signs them.
fn refusal(ledger: &Ledger, refused: &[u64]) -> u64 {
    write(
        ledger,
        RecordKind::Damage,
        format!("{{\"id\":\"d\",\"refused\":{refused:?}}}"),
        Vec::new(),
    )
}

/// promise_5: a thief appends, a start refuses and signs; what was refused excuses nothing, for whoever verifies later, either.
#[test]
fn promise_5_an_erasure_that_was_refused_before_it_was_signed_excuses_nothing() {
    let world = World::new();
    let (mut lacking, mut thiefs) = (0, 0);
    world.run(true, |ledger| {
        lacking = act(ledger, ["k1", "k2"], [false, true]);
        act(ledger, ["k3", "k2"], [true, true]);
    });
    world.run(false, |ledger| {
        thiefs = erasure(ledger, "erased", &[("k1", "command"), ("k3", "command")])
    });
    world.run(true, |ledger| {
        refusal(ledger, &[thiefs]);
    });
    let report = world.check();
    assert_eq!(faults(&report), [(lacking, &Fault::Parts(PartsFault::Missing(1)))]);
    let erased = Erased {
        refused: [thiefs].into(),
        ..Erased::default()
    };
    assert_eq!(report.erased, erased);
    // Two people erase it in earnest: by that record, and by none before.
    let mut earnest = 0;
    world.run(true, |ledger| {
        act(ledger, ["k1", "k2"], [true, true]);
        earnest = erasure(ledger, "erased", &[("k1", "command")]);
    });
    let report = world.check();
    assert_eq!(faults(&report), []);
    assert_eq!((report.erased.records, report.erased.parts), ([earnest].into(), 2));
}

/// promise_5: the same thief appends a refusal, so that an erasure would count no more.
#[test]
fn promise_5_a_refusal_that_was_refused_or_that_nobody_signed_takes_no_erasure_back() {
    let world = World::new();
    let (mut earnest, mut thiefs) = (0, 0);
    world.run(true, |ledger| {
        act(ledger, ["k1", "k2"], [false, true]);
        earnest = erasure(ledger, "erased", &[("k1", "command")]);
    });
    world.run(false, |ledger| thiefs = refusal(ledger, &[earnest]));
    for is_signed in [false, true] {
        if is_signed {
            world.run(true, |ledger| {
                refusal(ledger, &[thiefs]);
            });
        }
        let report = world.check();
        assert_eq!(faults(&report), []);
        assert_eq!(report.erased.records, [earnest].into());
        assert_eq!(report.erased.refused.contains(&thiefs), is_signed);
    }
}

/// As a start says it of records that it finds.
fn unsigned(ledger: &Ledger, kind: RecordKind, records: Range<u64>) -> u64 {
    let body = format!(
        r#"{{"id":"","unsigned":{{"from":{},"until":{}}}}}"#,
        records.start, records.end
    );
    write(ledger, kind, body, Vec::new())
}

fn accesses(ledger: &Ledger, count: usize) -> Vec<u64> {
    let body = || "{\"id\":\"a\"}".to_owned();
    (0..count)
        .map(|_| write(ledger, RecordKind::Access, body(), Vec::new()))
        .collect()
}

/// promise_5: somebody appends a refusal of the record that names what he put in, and whoever signs next has never heard of refusals.
#[test]
fn promise_5_a_refusal_that_somebody_put_in_hides_nothing_that_a_start_found() {
    for kind in [RecordKind::Recovery, RecordKind::Damage] {
        let world = World::new();
        world.run(true, |ledger| drop(accesses(ledger, 3)));
        let (mut put_in, mut by, mut thiefs) = (Vec::new(), 0, 0);
        world.run(false, |ledger| put_in = accesses(ledger, 1));
        let put_in = put_in[0]..put_in[0] + 1;
        world.run(true, |ledger| by = unsigned(ledger, RecordKind::Damage, put_in.clone()));
        world.run(false, |ledger| thiefs = refusal(ledger, &[by]));
        world.run(true, |ledger| {
            unsigned(ledger, kind, thiefs..thiefs + 1);
        });
        let report = world.check();
        assert!(
            faults(&report).contains(&(put_in.start, &Fault::AfterEnd { by })),
            "{report:?}"
        );
        assert_eq!(report.erased, Erased::default(), "and nobody refused anything");
    }
}

/// promise_5: somebody says of honest records that they are not the gateway's, and when a start has said that nothing proves who said so, he refuses that.
#[test]
fn promise_5_a_refusal_that_somebody_put_in_accuses_no_honest_record() {
    let world = World::new();
    world.run(true, |ledger| drop(accesses(ledger, 3)));
    let (mut forged, mut said, mut thiefs) = (0, 0, 0);
    world.run(false, |ledger| forged = unsigned(ledger, RecordKind::Damage, 0..3));
    world.run(true, |ledger| {
        said = unsigned(ledger, RecordKind::Recovery, forged..forged + 1)
    });
    world.run(false, |ledger| thiefs = refusal(ledger, &[said]));
    world.run(true, |ledger| {
        unsigned(ledger, RecordKind::Recovery, thiefs..thiefs + 1);
    });
    let report = world.check();
    assert_eq!(faults(&report), []);
    assert_eq!(report.unsigned.unproved, [forged..forged + 1, thiefs..thiefs + 1]);
}

/// promise_5: what two people erased stays erased, whatever somebody appends who cannot sign.
#[test]
fn promise_5_a_refusal_among_records_that_a_start_found_takes_no_erasure_back() {
    for kind in [RecordKind::Recovery, RecordKind::Damage] {
        let world = World::new();
        let (mut earnest, mut thiefs) = (0, 0);
        world.run(true, |ledger| {
            act(ledger, ["k1", "k2"], [false, true]);
            earnest = erasure(ledger, "erased", &[("k1", "command")]);
        });
        world.run(false, |ledger| thiefs = refusal(ledger, &[earnest]));
        world.run(true, |ledger| {
            unsigned(ledger, kind, thiefs..thiefs + 1);
        });
        let report = world.check();
        assert_eq!(report.erased.records, [earnest].into());
        assert_eq!(report.erased.refused, [].into());
        // A start that died before it signed refused all of it, and so does the next one.
        let mut found = Vec::new();
        world.run(false, |ledger| {
            found = vec![erasure(ledger, "erased", &[("k2", "query")])];
            unsigned(ledger, RecordKind::Recovery, found[0]..found[0] + 1);
            found.push(refusal(ledger, &found));
        });
        world.run(true, |ledger| {
            unsigned(ledger, RecordKind::Recovery, found[0]..found[1] + 1);
            refusal(ledger, &found);
        });
        assert_eq!(world.check().erased.records, [earnest].into());
        assert_eq!(world.check().erased.refused, found.into_iter().collect());
    }
}

#[test]
fn a_refusal_says_nothing_of_what_came_behind_it_nor_of_itself() {
    use crate::verify::refused;
    let of = |refusals: &[(u64, &[u64])]| {
        let refusals = refusals.iter().map(|(by, which)| (*by, which.to_vec())).collect();
        Vec::from_iter(refused(&refusals))
    };
    assert_eq!(of(&[(7, &[7, 8, 6, 0, u64::MAX])]), [0, 6]);
    assert_eq!(of(&[(7, &[3]), (9, &[7])]), [7], "what was refused refuses nothing");
    assert_eq!(of(&[(7, &[3]), (9, &[7]), (11, &[9])]), [3, 9]);
    assert_eq!(of(&[]), [0; 0]);
}

/// promise_5: a thief writes an erasure over a signed record and leaves the hashes beside it, so that all signatures hold, and cuts out what others had sealed.
#[test]
fn promise_5_an_erasure_written_over_a_record_that_was_signed_excuses_nothing() {
    let world = World::new();
    let (mut lacking, mut plain) = (0, 0);
    world.run(true, |ledger| {
        lacking = act(ledger, ["k1", "k2"], [false, true]);
        let body = format!("{{\"id\":\"p\",\"note\":\"{}\"}}", "n".repeat(300));
        plain = write(ledger, RecordKind::Access, body, Vec::new());
        act(ledger, ["k2", "k2"], [true, true]);
    });
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    let record = Reader::open_on(disk).unwrap().record(plain).unwrap().unwrap();
    let forged = |filler: usize| {
        let keys = r#"[{"id":"k1","class":"command"}]"#;
        let filler = "f".repeat(filler);
        let body = format!(r#"{{"id":"{filler}","erasure":{{"what":"erased","keys":{keys}}}}}"#);
        let (mut leaf, mut frame) = (Vec::new(), Vec::new());
        crate::leaf::write(&mut leaf, RecordKind::Erasure, plain, body.as_bytes());
        let kind = crate::frame::FrameKind::Leaf(RecordKind::Erasure);
        crate::frame::write_frame(&mut frame, kind, true, plain, |out| out.extend_from_slice(&leaf));
        (leaf.len(), frame)
    };
    let filler = record.leaf.len() - forged(0).0;
    let name = crate::segment::segment_name(record.segment);
    let mut bytes = world.disk.bytes(&name).unwrap();
    let (at, (_, frame)) = (usize::try_from(record.offset).unwrap(), forged(filler));
    bytes[at..at + frame.len()].copy_from_slice(&frame);
    world.disk.put(&name, &bytes);
    let report = world.check();
    let missing = Fault::Parts(PartsFault::Missing(1));
    assert_eq!(faults(&report), [(lacking, &missing), (plain, &Fault::Altered)]);
    assert_eq!(report.erased, Erased::default());
}
