//! Evidence of a real ledger: made, read, checked, and forged.

use std::sync::{Arc, LazyLock};

use model::event::RecordKind;
use model::time::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::note::{Algorithm, KeyName, Signer as _, SigningKey, VerifierKey};
use crate::{Ledger, Options, Reader, RealDisk};

const ORIGIN: &str = "gate.example/audit";

struct Stage {
    folder: tempfile::TempDir,
    ledger: Ledger,
    key: SigningKey,
}

fn signing() -> SigningKey {
    SigningKey::generate(KeyName::new(ORIGIN).unwrap(), Algorithm::Ed25519).unwrap()
}

impl Stage {
    /// Acts of one record each.
    fn new(acts: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = Arc::new(RealDisk::new(folder.path()));
        let (ledger, _) = Ledger::open(folder.path(), Options::default(), disk).unwrap();
        let stage = Self {
            folder,
            ledger,
            key: signing(),
        };
        for number in 0..acts {
            let recording = if number == 2 {
                ",\"recording\":{\"chunks\":3,\"bytes\":9000,\"hash\":\"ab12\"}"
            } else {
                ""
            };
            stage.append(
                RecordKind::Access,
                format!("{{\"id\":\"a-{number}\",\"note\":\"</script><b>\u{202e}\"{recording}}}"),
            );
        }
        stage
    }

    fn append(&self, kind: RecordKind, body: String) -> u64 {
        self.ledger
            .append(kind, body.into_bytes(), Vec::new())
            .unwrap()
            .wait()
            .unwrap()
            .seq
    }

    fn keys(&self) -> [VerifierKey; 1] {
        [self.key.key().clone()]
    }

    fn note(&self) -> Note {
        let Head { size, root } = self.ledger.durable();
        let origin = ORIGIN.to_owned();
        let mut note = Note::new(Checkpoint { origin, size, root }.to_string()).unwrap();
        note.sign(&self.key, 0).unwrap();
        note
    }

    fn make(&self, statement: &Statement, told: Option<u64>) -> Evidence {
        let reader = Reader::open(self.folder.path()).unwrap();
        let named: Vec<u64> = statement.records.iter().flatten().copied().collect();
        let spots: Vec<Spot> = reader
            .records_from(0)
            .map(|record| record.unwrap().spot())
            .filter(|spot| named.contains(&spot.seq))
            .collect();
        Evidence::make(
            &self.ledger.tiles(),
            statement.to_bytes(),
            &spots,
            told,
            self.note(),
            &|| true,
        )
        .unwrap()
    }

    /// As a gateway makes it: the statement is told to the ledger first.
    fn told(&self, statement: &Statement) -> Evidence {
        let Counts { packed, .. } = statement.acts;
        let digest = told(&statement.to_bytes());
        let note = format!(
            "packed {packed} acts of all records as evidence for `{}`, {digest}",
            statement.query
        );
        let seq = self.append(RecordKind::AuditRead, format!("{{\"id\":\"r\",\"note\":\"{note}\"}}"));
        self.make(statement, Some(seq))
    }
}

fn statement(records: &[u64]) -> Statement {
    let count = u64::try_from(records.len()).unwrap();
    Statement {
        v: 1,
        made: Timestamp::from_unix_seconds(1_795_000_000),
        tool: "gatescribe test".to_owned(),
        query: "verb:delete since:2h".to_owned(),
        from: None,
        to: Timestamp::from_unix_seconds(1_795_000_000),
        scope: "all".to_owned(),
        subject: None,
        read: Some(Span {
            first: 0,
            end: 9,
            within: 9,
        }),
        acts: Counts {
            range: 9,
            matched: count,
            packed: count,
        },
        sample: None,
        records: records.iter().map(|seq| vec![*seq]).collect(),
    }
}

fn sampled(seed: &str, size: u64) -> Statement {
    let population: Vec<u64> = (0..9).collect();
    let mut drawn = statement(&draw(seed, &population, size));
    drawn.acts.matched = 9;
    drawn.sample = Some(Sample {
        size,
        seed: seed.to_owned(),
        population,
    });
    drawn
}

fn faults(evidence: &Evidence, keys: &[VerifierKey]) -> Vec<String> {
    evidence
        .check(&evidence.chain(keys, &[]))
        .faults
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn promise_5_evidence_is_proved_by_the_public_key_alone_and_says_what_it_has() {
    let stage = Stage::new(9);
    let evidence = stage.told(&statement(&[1, 2, 7]));
    let text = evidence.to_string();
    assert!(
        !text.contains(['<', '>', '&', '"', '\u{202e}']),
        "no character means anything to a page"
    );
    let read = Evidence::parse(text.as_bytes()).unwrap();
    assert_eq!(read, evidence);
    let keys = stage.keys();
    let chain = read.chain(&keys, &[]);
    let checked = read.check(&chain);
    assert_eq!(checked.faults, []);
    assert_eq!((checked.told, checked.records, checked.vouched.len()), (Some(9), 4, 1));
    assert_eq!(checked.recordings.len(), 1);
    assert_eq!(
        (
            checked.recordings[0].session.as_str(),
            checked.recordings[0].root.as_str(),
            checked.recordings[0].seq
        ),
        ("a-2", "ab12", 2)
    );
    let other = [signing().key().clone()];
    assert!(faults(&read, &other)[0].starts_with("checkpoint: no key that you gave has signed its checkpoint"));
    // From files alone nobody vouches for the counts, and the check says that of it.
    let alone = stage.make(&statement(&[1, 2, 7]), None).check(&chain).told;
    assert_eq!(alone, None);
}

#[test]
fn each_thing_that_is_changed_is_found_and_named() {
    let stage = Stage::new(9);
    let keys = stage.keys();
    let good = stage.told(&statement(&[1, 2, 7]));
    let bigger = stage.make(&statement(&[1, 2, 3, 7]), Some(9));
    let with = |change: &dyn Fn(&mut Evidence)| {
        let mut changed = good.clone();
        change(&mut changed);
        faults(&changed, &keys)
    };
    let not_signed = |seq: u64| {
        vec![format!(
            "record {seq}: it is not the record that was signed, or its proof was changed"
        )]
    };
    assert_eq!(
        with(&|e| {
            let at = e.records[1].leaf.len() - 2;
            e.records[1].leaf[at] ^= 1;
        }),
        not_signed(2)
    );
    assert_eq!(with(&|e| e.records[2].path[0][0] ^= 1), not_signed(7));
    assert_eq!(with(&|e| e.records[0].path.truncate(1)), not_signed(1));
    assert_eq!(
        with(&|e| {
            let leaf = e.records[0].leaf.clone();
            e.records[0].leaf = std::mem::replace(&mut e.records[1].leaf, leaf);
        }),
        [
            "record 1: another record stands in its place",
            "record 2: another record stands in its place"
        ]
    );
    assert_eq!(with(&|e| drop(e.records.remove(1))), ["record 2: it was taken out"]);
    // Whole, signed, and not asked for.
    assert_eq!(
        with(&|e| e.records.insert(2, bigger.records[2].clone())),
        ["record 3: it was put in; the statement does not name it"]
    );
    assert_eq!(
        with(&|e| e.told = None),
        ["record 9: it was put in; the statement does not name it"]
    );
    assert_eq!(
        with(&|e| e.told = Some(7)),
        [
            "record 9: it was put in; the statement does not name it",
            "statement: record 7 is not the gateway's record of making it"
        ]
    );
    let restated = |change: &dyn Fn(&mut Statement)| {
        let mut said = Statement::parse(&good.statement).unwrap();
        change(&mut said);
        with(&|e| e.statement = said.to_bytes())
    };
    let untold = |what: &str| format!("statement: {what} not what record 9 of the ledger says was packed");
    let rest = untold("its counts, its bounds, its sample or its list of records are");
    assert_eq!(restated(&|s| s.query = "verb:get".to_owned()), [untold("the query is")]);
    assert_eq!(restated(&|s| s.acts.range = 4_000), std::slice::from_ref(&rest));
    assert_eq!(
        restated(&|s| s.to = s.to.plus(std::time::Duration::from_secs(1))),
        std::slice::from_ref(&rest)
    );
    assert_eq!(
        restated(&|s| s.acts.packed = 2),
        [
            "statement: another number of acts is here than it says".to_owned(),
            untold("the number of acts is")
        ]
    );
    assert_eq!(
        restated(&|s| s.acts.matched = 4),
        [
            "statement: another number of acts matched than it lists".to_owned(),
            rest.clone()
        ]
    );
    assert_eq!(
        restated(&|s| drop(s.records.remove(0))),
        [
            "record 1: it was put in; the statement does not name it".to_owned(),
            "statement: another number of acts is here than it says".to_owned(),
            "statement: another number of acts matched than it lists".to_owned(),
            rest,
        ]
    );
    assert_eq!(
        with(&|e| e.statement = b"{\"v\":2}".to_vec()),
        [
            "the statement is of version 2, which this program does not know: update gatescribe",
            "statement: its counts, its bounds, its sample or its list of records are not what record 9 of the ledger says was packed"
        ]
    );
}

#[test]
fn a_checkpoint_of_another_tree_or_with_other_words_is_found() {
    let stage = Stage::new(9);
    let keys = stage.keys();
    let good = stage.told(&statement(&[1]));
    let text = good.to_string();
    let swapped = |note: &str| {
        let old = STANDARD.encode(good.note.to_string());
        let forged = text.replacen(&old, &STANDARD.encode(note), 1);
        faults(&Evidence::parse(forged.as_bytes()).unwrap(), &keys)
    };
    let told = swapped(&good.note.to_string().replacen("\n10\n", "\n11\n", 1));
    assert!(
        told[0].starts_with("checkpoint: no key that you gave has signed"),
        "{told:?}"
    );
    stage.append(RecordKind::Access, "{\"id\":\"later\"}".to_owned());
    let told = swapped(&stage.note().to_string());
    assert_eq!(told.len(), 2, "both records lead elsewhere: {told:?}");
    assert!(told.iter().all(|fault| fault.starts_with("record ")), "{told:?}");
}

#[test]
fn a_sample_is_drawn_again_by_its_seed_and_another_one_is_found() {
    let population: Vec<u64> = (0..1_000).collect();
    // Frozen: whoever drew with an earlier version draws the same. Computed with another program.
    assert_eq!(draw("8f3a", &[3, 5, 8, 13, 21, 34], 3), FROZEN);
    assert_eq!(draw("a", &population, 25), draw("a", &population, 25));
    assert_ne!(draw("a", &population, 25), draw("b", &population, 25));
    assert_eq!(draw("a", &population, 2_000), population);
    assert!(draw("a", &[], 3).is_empty());

    let stage = Stage::new(9);
    let keys = stage.keys();
    let said = sampled("8f3a", 4);
    assert_eq!(faults(&stage.told(&said), &keys), Vec::<String>::new());
    let wrong = "statement: the sample is not the one that the seed draws from the population";
    let mut forged = said.clone();
    forged.sample.as_mut().unwrap().seed = "8f3b".to_owned();
    // Even where the ledger itself is told so.
    assert_eq!(faults(&stage.told(&forged), &keys), [wrong]);
}

/// `for n in 3 5 8 13 21 34; do printf 'gatescribe.dev/evidence sample v1\n8f3a\n%s' $n | sha256sum; done | sort`
const FROZEN: [u64; 3] = [3, 5, 21];

#[test]
fn what_is_not_exactly_evidence_is_refused_with_its_line() {
    let stage = Stage::new(9);
    let text = stage.told(&statement(&[1, 2])).to_string();
    let lines: Vec<&str> = text.lines().collect();
    let told = |text: &str| Evidence::parse(text.as_bytes()).unwrap_err().to_string();
    let without = |at: usize| {
        let rest: Vec<&str> = lines
            .iter()
            .enumerate()
            .filter(|(place, _)| *place != at)
            .map(|(_, line)| *line)
            .collect();
        format!("{}\n", rest.join("\n"))
    };
    assert_eq!(told("hello"), "its first line is not `gatescribe.dev/evidence@v1`");
    assert_eq!(told(&without(1)), "line 2 is not `statement <base64>`");
    assert_eq!(told(&without(2)), "line 3 is not `told <number, or ->`");
    assert_eq!(told(&without(3)), "line 4 is not `checkpoint <base64>`");
    assert_eq!(
        told(&without(4)),
        "2 records stand in it and its last line says 3: some were taken out or put in"
    );
    assert_eq!(
        told(&without(7)),
        "line 8 is not `record <number> <base64> <hashes>, or end <number>`"
    );
    assert_eq!(
        told(&format!("{text}more\n")),
        "line 9 is not `nothing: `end` is the last line`"
    );
    let swapped = text
        .replacen(lines[4], "x", 1)
        .replacen(lines[5], lines[4], 1)
        .replacen("\nx\n", &format!("\n{}\n", lines[5]), 1);
    assert_eq!(
        told(&swapped),
        "line 6: record 1 does not stand behind one with a smaller number: it stands twice, or two were swapped"
    );
    assert_eq!(
        told(&text.replacen("\nrecord 1 ", "\nrecord 01 ", 1)),
        "line 5 is not `record <number> <base64> <hashes>, or end <number>`"
    );
    assert!(
        told(&text.replacen("\ncheckpoint ", "\ncheckpoint AAAA", 1)).starts_with("its checkpoint is no signed note")
    );
    let long = format!("{HEADER}\n{}", "x".repeat(MAX_EVIDENCE_LEN));
    assert_eq!(told(&long), format!("it is longer than {MAX_EVIDENCE_LEN} bytes"));
    let many = format!("record 1 AA=={}", " AAAA".repeat(64));
    assert!(
        record(many.strip_prefix("record ").unwrap()).is_none(),
        "no tree has a longer path"
    );
}

#[test]
fn changes_of_the_key_stand_once_and_the_oldest_first() {
    let stage = Stage::new(3);
    let turned = |size: u64, from: &SigningKey, to: &SigningKey| {
        let head = Head { size, root: [7; 32] };
        KeyTurn::state(&head, from, to).unwrap().note().clone()
    };
    let keys = [signing(), signing()];
    let (early, late) = (turned(1, &stage.key, &keys[0]), turned(2, &keys[0], &keys[1]));
    let made = stage.told(&statement(&[1]));
    // In whatever order they are handed in, and be they handed in twice.
    let good = made.with_changes(vec![late.clone(), early.clone(), late.clone(), early.clone()]);
    assert_eq!(good.changes(), [early, late]);
    let text = good.to_string();
    assert_eq!(Evidence::parse(text.as_bytes()), Ok(good));
    let lines: Vec<&str> = text.lines().collect();
    let told = |order: &[usize]| {
        let changed: String = order.iter().map(|at| format!("{}\n", lines[*at])).collect();
        Evidence::parse(changed.as_bytes()).unwrap_err().to_string()
    };
    let fault = |line: usize| format!("line {line} is a change of the key that stands twice, or behind a later one");
    assert_eq!(told(&[0, 1, 2, 3, 5, 4, 6, 7, 8]), fault(6));
    assert_eq!(told(&[0, 1, 2, 3, 4, 4, 5, 6, 7, 8]), fault(6));
    assert_eq!(told(&[0, 1, 2, 3, 4, 5, 5, 6, 7, 8]), fault(7));
}

static SAMPLED: LazyLock<(String, [VerifierKey; 1])> = LazyLock::new(|| {
    let stage = Stage::new(9);
    (stage.told(&sampled("s", 5)).to_string(), stage.keys())
});

/// Nothing is read any more as soon as the rest would not fit.
#[test]
fn a_pack_that_grows_too_long_is_given_up_on_the_way() {
    let stage = Stage::new(0);
    let long = "n".repeat(62_000);
    let numbers: Vec<u64> = (0..330).collect();
    let tickets = numbers.iter().map(|number| {
        let body = format!("{{\"id\":\"{number}\",\"note\":\"{long}\"}}").into_bytes();
        stage.ledger.append(RecordKind::Access, body, Vec::new()).unwrap()
    });
    // All of them are on their way before the first is waited for.
    for ticket in tickets.collect::<Vec<_>>() {
        ticket.wait().unwrap();
    }
    let reader = Reader::open(stage.folder.path()).unwrap();
    let spots: Vec<Spot> = reader.records_from(0).map(|record| record.unwrap().spot()).collect();
    let looked = std::cell::Cell::new(0_usize);
    let make = |spots: &[Spot]| {
        looked.set(0);
        let statement = statement(&numbers[..spots.len()]).to_bytes();
        Evidence::make(&stage.ledger.tiles(), statement, spots, None, stage.note(), &|| {
            looked.set(looked.get() + 1);
            true
        })
    };
    // As many as fit, found by halves.
    let (mut fits, mut over) = (1, spots.len());
    while over - fits > 1 {
        let half = usize::midpoint(fits, over);
        *(if make(&spots[..half]).is_ok() {
            &mut fits
        } else {
            &mut over
        }) = half;
    }
    let most = make(&spots[..fits]).unwrap();
    let length = most.to_string().len();
    assert!(
        (MAX_EVIDENCE_LEN * 9 / 10..=MAX_EVIDENCE_LEN).contains(&length),
        "{fits} records, {length} bytes"
    );
    assert!(matches!(make(&spots[..=fits]), Err(NoReceipt::TooLong)));
    let asked = looked.get();
    assert!(matches!(make(&spots), Err(NoReceipt::TooLong)));
    assert_eq!(
        looked.get(),
        asked,
        "of the {} records behind it none was looked at",
        spots.len() - fits
    );
}

proptest! {
    #[test]
    fn whatever_is_flipped_is_found(at in 0..20_000_usize, bit in 0..7_u8) {
        let (text, keys) = &*SAMPLED;
        let mut bytes = text.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(read) = Evidence::parse(&bytes) {
            prop_assert!(!read.check(&read.chain(keys, &[])).faults.is_empty(), "byte {at}, bit {bit}");
        }
    }

    #[test]
    fn foreign_bytes_are_read_or_refused(data: Vec<u8>) {
        fuzz_evidence(&data);
    }

    #[test]
    fn foreign_lines_are_read_or_refused(text in "(statement|told|checkpoint|record|end|[A-Za-z0-9+/=]{0,8}|[0-9]{0,4}|-| |\n){0,40}") {
        fuzz_evidence(format!("{HEADER}\n{text}").as_bytes());
    }
}

#[test]
fn what_is_said_of_the_whole_stands_before_a_thousand_bad_records() {
    let stage = Stage::new(1_100);
    let keys = stage.keys();
    let mut bad = stage.told(&statement(&(1..1_100).collect::<Vec<_>>()));
    let told = bad.told;
    for record in bad.records.iter_mut().filter(|record| Some(record.seq) != told) {
        let last = record.leaf.len() - 2;
        record.leaf[last] ^= 1;
    }
    bad.statement = String::from_utf8(bad.statement)
        .unwrap()
        .replace("verb:delete", "verb:create")
        .into_bytes();
    let chain = bad.chain(&keys, &[]);
    let checked = bad.check(&chain);
    assert_eq!((checked.faults.len(), checked.bad_records), (1_000, 1_099));
    assert!(!checked.all_but_records_hold);
    let first = checked.faults[0].to_string();
    assert!(first.starts_with("statement:"), "{first}");
}
