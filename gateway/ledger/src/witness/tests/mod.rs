//! Two logs of one name and key, one witness: whatever is asked, it cosigns one history.

mod refused;
mod retired;

use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::disk::RealDisk;
use crate::note::{KeyName, NoteError, SigningKey};
use crate::publish::Published;
use crate::sim::{Fault, SimDisk};
use crate::tree::{Frontier, Hash, Node, Nodes, consistency_proof, leaf_hash};

const TIME: u64 = 1_790_000_000;

fn key(name: &str, algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(KeyName::new(name).unwrap(), algorithm).unwrap())
}

/// A log by the hashes of its leaves.
#[derive(Clone)]
struct Log {
    key: Arc<SigningKey>,
    leaves: Vec<Hash>,
}

impl Nodes for Log {
    type Error = Infallible;

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Infallible> {
        let hash = |node: &Node| {
            let width = 1_usize << node.level;
            let from = usize::try_from(node.index).unwrap() * width;
            root(&self.leaves[from..from + width])
        };
        Ok(nodes.iter().map(hash).collect())
    }
}

fn root(leaves: &[Hash]) -> Hash {
    let mut frontier = Frontier::default();
    leaves.iter().for_each(|leaf| frontier.push(*leaf));
    frontier.root()
}

impl Log {
    fn new(name: &str) -> Self {
        Self {
            key: key(name, Algorithm::Ed25519),
            leaves: Vec::new(),
        }
    }

    /// Goes on with so many records of this story.
    fn grow(&mut self, story: &str, count: usize) {
        for _ in 0..count {
            self.leaves
                .push(leaf_hash(format!("{story} {}", self.leaves.len()).as_bytes()));
        }
    }

    fn size(&self) -> u64 {
        self.leaves.len() as u64
    }

    fn signed_at(&self, size: u64) -> Published {
        let checkpoint = Checkpoint {
            origin: self.key.key().name().to_string(),
            size,
            root: root(&self.leaves[..usize::try_from(size).unwrap()]),
        };
        let mut note = Note::new(checkpoint.to_string()).unwrap();
        note.sign(&*self.key, TIME).unwrap();
        Published {
            note,
            checkpoint,
            at: Timestamp::from_unix_seconds(0),
        }
    }

    fn signed(&self) -> Published {
        self.signed_at(self.size())
    }

    fn request(&self, old: u64) -> Consistency {
        let proof = consistency_proof(self, old, self.size()).unwrap();
        Consistency::unproved(old, proof, self.signed().note).unwrap()
    }
}

const MARKER: &str = "w.key.begun";

/// Key and memory in one folder, so that a crash meets both; the key is made at the first call.
fn witness_on(disk: &SimDisk, key: &Arc<SigningKey>, logs: &[&Log]) -> Result<Witness, NoWitness> {
    if disk.bytes(MARKER).is_none() {
        begin(&beside(disk), key.key())?;
    }
    witness_beside(disk, disk, key, logs, WhenForgotten::Refuse)
}

fn beside(disk: &SimDisk) -> Place {
    Place {
        disk: Arc::new(disk.clone()),
        name: MARKER.to_owned(),
    }
}

fn witness_beside(
    disk: &SimDisk,
    key_s: &SimDisk,
    key: &Arc<SigningKey>,
    logs: &[&Log],
    forgotten: WhenForgotten,
) -> Result<Witness, NoWitness> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let keys = logs.iter().map(|log| log.key.key().clone()).collect();
    let clock = Arc::new(|| Timestamp::from_unix_seconds(TIME.cast_signed()));
    let signer = Arc::clone(key) as Arc<dyn Signer>;
    Witness::open(&disk, &beside(key_s), signer, keys, clock, forgotten)
}

fn witness(logs: &[&Log]) -> Witness {
    let key = key("witness.example/one", Algorithm::Cosignature);
    witness_on(&SimDisk::new(1), &key, logs).unwrap()
}

fn ask(witness: &Witness, request: &Consistency) -> Result<Signature, Refused> {
    witness.add_checkpoint(request.to_string().as_bytes())
}

/// Speaks to the witness as over HTTP.
fn exchange(asker: &mut Asker, witness: &Witness, log: &Log) -> Result<Reply, NotCosigned> {
    let published = log.signed();
    let request = asker.request(log, &published)?;
    let (status, content_type, body) = match ask(witness, &request) {
        Ok(signature) => (200, "", format!("{signature}\n")),
        Err(refused) => match refused.known_size() {
            Some(size) => (refused.status(), SIZE_TYPE, format!("{size}\n")),
            None => (refused.status(), "text/plain", refused.to_string()),
        },
    };
    let answer = Answer {
        status,
        content_type,
        body: body.as_bytes(),
    };
    asker.take(&published, log.size(), &answer)
}

fn asker(witness: &Witness) -> Asker {
    Asker::new(witness.key().clone(), &[]).unwrap()
}

const EXAMPLE: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";

#[test]
fn the_specification_s_example_is_read_and_written() {
    let request = Consistency::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
    assert_eq!(request.checkpoint.size, 20_852_163);
    assert_eq!(request.to_string(), EXAMPLE);
}

#[test]
fn what_is_not_exactly_a_request_is_refused() {
    let (_, rest) = EXAMPLE.split_once('\n').unwrap();
    let (head, note) = EXAMPLE.split_once("\n\n").unwrap();
    let long = format!("{head}\n{}\n\n{note}", "A".repeat(44));
    let cases = [
        (String::new(), ConsistencyError::Old),
        (format!("old 020852014\n{rest}"), ConsistencyError::Old),
        (format!("old -1\n{rest}"), ConsistencyError::Old),
        (format!("Old 1\n{rest}"), ConsistencyError::Old),
        (format!("old  1\n{rest}"), ConsistencyError::Old),
        (format!("old 1\r\n{rest}"), ConsistencyError::Old),
        (head.to_owned(), ConsistencyError::NoCheckpoint),
        (EXAMPLE.replacen("PlRN", "PlR", 1), ConsistencyError::Proof { line: 1 }),
        (EXAMPLE.replacen("jrJZ", " jrJ", 1), ConsistencyError::Proof { line: 2 }),
        (format!("{head}\n\n"), ConsistencyError::Note(NoteError::NoSignatures)),
        (
            EXAMPLE.replacen("\n20852163\n", "\n020852163\n", 1),
            ConsistencyError::Checkpoint(crate::CheckpointError::Size),
        ),
        (EXAMPLE.repeat(300), ConsistencyError::TooLong),
    ];
    for (text, error) in cases {
        let begin: String = text.chars().take(400).collect();
        assert_eq!(Consistency::parse(text.as_bytes()), Err(error), "{begin:?}");
    }
    // A line of 33 bytes is no hash; and there are at most 63 of 32 bytes.
    assert!(matches!(
        Consistency::parse(long.as_bytes()),
        Err(ConsistencyError::Proof { .. })
    ));
    let hashes = |count| format!("old 1\n{}\n{note}", format!("{}=\n", "A".repeat(43)).repeat(count));
    assert_eq!(Consistency::parse(hashes(63).as_bytes()).unwrap().proof.len(), 63);
    assert_eq!(
        Consistency::parse(hashes(64).as_bytes()),
        Err(ConsistencyError::Proof { line: 64 })
    );
}

#[test]
fn a_log_s_key_is_no_witness_s() {
    let log = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(key_of(log), Err(NoWitnessKey::OfLog));
    assert!(matches!(key_of("no key"), Err(NoWitnessKey::Text(_))));
    let ours = key("w", Algorithm::Cosignature);
    assert_eq!(key_of(&format!("{}\n", ours.key())).as_ref(), Ok(ours.key()));
}

#[test]
fn each_refusal_has_the_status_of_the_specification() {
    let (mut log, other) = (Log::new("log.example/a"), Log::new("log.example/b"));
    log.grow("a", 5);
    let witness = witness(&[&log]);
    let status = |request: &Consistency| ask(&witness, request).map_or_else(|refused| refused.status(), |_| 200);

    assert_eq!(witness.add_checkpoint(b"old x\n").unwrap_err().status(), 400);
    assert_eq!(status(&other.request(0)), 404, "an unknown log");
    let mut forged = Log::new("log.example/a");
    forged.grow("a", 5);
    assert_eq!(status(&forged.request(0)), 403, "another key of that name");
    let too_old = Consistency::unproved(6, Vec::new(), log.signed().note).unwrap();
    assert_eq!(status(&too_old), 400, "the old size is above the checkpoint's");
    let unknown = ask(&witness, &log.request(3)).unwrap_err();
    assert_eq!((unknown.status(), unknown.known_size()), (409, Some(0)));
    let needless = Consistency::unproved(0, vec![[1; 32]], log.signed().note).unwrap();
    assert_eq!(status(&needless), 422, "the proof from nothing is empty");
    assert_eq!(witness.known(), [("log.example/a".to_owned(), 0)]);

    assert_eq!(status(&log.request(0)), 200);
    assert_eq!(witness.known(), [("log.example/a".to_owned(), 5)]);
    let stale = ask(&witness, &log.request(0)).unwrap_err();
    assert_eq!((stale.status(), stale.known_size()), (409, Some(5)));
    assert_eq!(status(&log.request(5)), 200, "once more, with a newer time");
    let mut fork = log.clone();
    fork.leaves.pop();
    fork.grow("b", 1);
    let forked = ask(&witness, &fork.request(5)).unwrap_err();
    assert_eq!((forked.status(), forked.known_size()), (409, None));
    assert!(forked.is_contradiction());
    fork.grow("b", 3);
    assert_eq!(status(&fork.request(5)), 422);
    log.grow("a", 3);
    let older = Consistency::unproved(4, Vec::new(), log.signed_at(4).note).unwrap();
    assert_eq!(ask(&witness, &older).unwrap_err().known_size(), Some(5), "a stale one");
    assert_eq!(status(&log.request(5)), 200);
    let empty = Consistency::unproved(0, Vec::new(), Log::new("x").signed().note).unwrap();
    assert_eq!(status(&empty), 404);
}

#[test]
fn what_is_cosigned_says_when_and_is_by_the_witness_s_key() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 9);
    let witness = witness(&[&log]);
    let signature = ask(&witness, &log.request(0)).unwrap();
    let mut note = log.signed().note;
    note.add(signature);
    let keys = [log.key.key().clone(), witness.key().clone()];
    let vouched = note.verify(&keys).unwrap();
    assert_eq!(vouched.len(), 2);
    assert_eq!(vouched[1].time, Some(TIME));
}

#[test]
fn a_witness_needs_keys_of_the_right_kind_and_a_folder_of_its_own() {
    let log = Log::new("log.example/a");
    let (ours, disk) = (key("w", Algorithm::Cosignature), SimDisk::new(1));
    let wrong = witness_on(&disk, &log.key, &[&log]).unwrap_err();
    assert!(matches!(wrong, NoWitness::Key { .. }), "{wrong}");
    let not_a_log = Log {
        key: Arc::clone(&ours),
        leaves: Vec::new(),
    };
    let wrong = witness_on(&disk, &ours, &[&not_a_log]).unwrap_err();
    assert!(matches!(wrong, NoWitness::LogKey { .. }), "{wrong}");
    assert!(matches!(witness_on(&disk, &ours, &[]), Err(NoWitness::NoLog)));
    let folder = tempfile::tempdir().unwrap();
    let real: Arc<dyn Disk> = Arc::new(RealDisk::new(folder.path()));
    let open = || {
        let clock = Arc::new(|| Timestamp::from_unix_seconds(0));
        let logs = vec![log.key.key().clone()];
        Witness::open(&real, &beside(&disk), ours.clone(), logs, clock, WhenForgotten::Refuse)
    };
    begin(&beside(&disk), ours.key()).unwrap();
    let first = open().unwrap();
    assert!(matches!(open(), Err(NoWitness::Memory(MemoryError::Lock(_)))));
    drop(first);
    open().unwrap();
}

#[test]
fn a_memory_that_cannot_be_believed_is_not_taken_for_an_empty_one() {
    let (mut log, ours, disk) = (
        Log::new("log.example/a"),
        key("w", Algorithm::Cosignature),
        SimDisk::new(1),
    );
    log.grow("a", 4);
    let witness = witness_on(&disk, &ours, &[&log]).unwrap();
    ask(&witness, &log.request(0)).unwrap();
    drop(witness);
    let name = disk
        .list()
        .unwrap()
        .into_iter()
        .find(|name| name.ends_with(".cosigned"));
    let name = name.unwrap();
    let good = disk.bytes(&name).unwrap();
    let open = || witness_on(&disk, &ours, &[&log]).unwrap_err();
    disk.put(&name, b"");
    assert!(matches!(open(), NoWitness::Memory(MemoryError::Note { .. })));
    disk.put(&name, log.signed().note.to_string().as_bytes());
    assert!(matches!(open(), NoWitness::Memory(MemoryError::OtherKey { .. })));
    let mut other = Log::new("log.example/b").signed().note;
    other.sign(&*ours, TIME).unwrap();
    disk.put(&name, other.to_string().as_bytes());
    assert!(matches!(open(), NoWitness::Memory(MemoryError::Origin { .. })));
    disk.put(&name, &good);
    assert_eq!(witness_on(&disk, &ours, &[&log]).unwrap().known()[0].1, 4);
}

#[test]
fn promise_5_an_emptied_folder_and_an_older_copy_are_not_taken_for_a_new_witness_s() {
    let (key_s, disk, ours) = (SimDisk::new(1), SimDisk::new(2), key("w", Algorithm::Cosignature));
    let (mut log, other) = (Log::new("log.example/a"), Log::new("log.example/b"));
    log.grow("a", 4);
    let open = |disk: &SimDisk, forgotten| witness_beside(disk, &key_s, &ours, &[&log, &other], forgotten);
    let none = open(&disk, WhenForgotten::Refuse).unwrap_err();
    assert!(
        matches!(none, NoWitness::Memory(MemoryError::NoMarker { .. })),
        "{none}"
    );
    begin(&beside(&key_s), ours.key()).unwrap();
    ask(&open(&disk, WhenForgotten::Refuse).unwrap(), &log.request(0)).unwrap();
    let emptied = open(&SimDisk::new(3), WhenForgotten::Refuse).unwrap_err();
    assert_eq!(
        emptied.to_string(),
        "`w.key.begun` says that 4 records of the log `log.example/a` were cosigned, and the folder knows of 0: it was emptied, or is an \
         older copy. Put the newest copy back, or begin with a new key under a new name. Without its memory a witness would cosign \
         another history"
    );
    // A copy that is older than the last start.
    let older = disk.copy(4);
    log.grow("a", 3);
    ask(
        &witness_beside(&disk, &key_s, &ours, &[&log], WhenForgotten::Refuse).unwrap(),
        &log.request(4),
    )
    .unwrap();
    let open = |disk: &SimDisk, forgotten| witness_beside(disk, &key_s, &ours, &[&log, &other], forgotten);
    drop(open(&disk, WhenForgotten::Refuse).unwrap());
    let stale = open(&older, WhenForgotten::Refuse).unwrap_err();
    assert!(
        matches!(
            &stale,
            NoWitness::Memory(MemoryError::Forgotten {
                cosigned: 7,
                known: 4,
                ..
            })
        ),
        "{stale}"
    );
    // Switched on where nothing is forgotten it is refused; where something is, it is not forgotten twice.
    let needless = open(&disk, WhenForgotten::DangerBeginAnew).unwrap_err();
    assert!(matches!(needless, NoWitness::NothingForgotten), "{needless}");
    let emptied = SimDisk::new(5);
    assert_eq!(open(&emptied, WhenForgotten::DangerBeginAnew).unwrap().known()[0].1, 0);
    let again = open(&emptied, WhenForgotten::DangerBeginAnew).unwrap_err();
    assert!(matches!(again, NoWitness::NothingForgotten), "{again}");
    open(&emptied, WhenForgotten::Refuse).unwrap();
}

#[test]
fn a_marker_that_is_lost_is_made_anew_and_one_that_cannot_be_believed_stops_the_start() {
    let (key_s, disk, ours) = (SimDisk::new(1), SimDisk::new(2), key("w", Algorithm::Cosignature));
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let open = |disk: &SimDisk| witness_beside(disk, &key_s, &ours, &[&log], WhenForgotten::Refuse);
    begin(&beside(&key_s), ours.key()).unwrap();
    ask(&open(&disk).unwrap(), &log.request(0)).unwrap();
    let said = key_s.bytes(MARKER).unwrap();
    assert_eq!(
        String::from_utf8(said.clone()).unwrap(),
        format!("gatescribe witness\n{}\n4 log.example/a\n", ours.key().short())
    );
    key_s.remove(MARKER).unwrap();
    drop(open(&disk).unwrap());
    assert_eq!(key_s.bytes(MARKER), Some(said.clone()));
    for broken in [
        "",
        "gatescribe witness\n",
        "gatescribe witness\nw+1\n4 a\n5 a\n",
        "gatescribe witness\nw+1\n04 a\n",
        "gatescribe witness\nw+1\nnewest a\n",
        "gatescribe witness\nw+1\nnewest \n",
    ] {
        key_s.put(MARKER, broken.as_bytes());
        let stopped = open(&disk).unwrap_err();
        assert!(
            matches!(stopped, NoWitness::Memory(MemoryError::Marker { .. })),
            "{broken:?}: {stopped}"
        );
    }
    // Of another key: neither believed nor written over, unless that has cosigned nothing.
    let another = key("w", Algorithm::Cosignature);
    key_s.put(MARKER, &said);
    assert!(matches!(
        begin(&beside(&key_s), another.key()),
        Err(MemoryError::MarkerKey { .. })
    ));
    key_s.put(
        MARKER,
        format!("gatescribe witness\n{}\n", another.key().short()).as_bytes(),
    );
    assert!(matches!(
        open(&disk),
        Err(NoWitness::Memory(MemoryError::MarkerKey { .. }))
    ));
    begin(&beside(&key_s), ours.key()).unwrap();
}

/// The witness of one log begins to witness another: nothing is forgotten of either.
#[test]
fn a_log_that_comes_later_begins_from_nothing() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let (mut log, mut other) = (Log::new("log.example/a"), Log::new("log.example/b"));
    log.grow("a", 4);
    other.grow("b", 2);
    ask(&witness_on(&disk, &ours, &[&log]).unwrap(), &log.request(0)).unwrap();
    ask(&witness_on(&disk, &ours, &[&other]).unwrap(), &other.request(0)).unwrap();
    assert_eq!(witness_on(&disk, &ours, &[&log, &other]).unwrap().known()[0].1, 4);
}

/// Whoever asks puts in as many signatures as a note holds; with the witness's own it would be one too many to be read again.
#[test]
fn promise_5_signatures_of_strangers_are_not_remembered_and_do_not_stop_the_next_start() {
    let (disk, ours) = (SimDisk::new(1), key("w", Algorithm::Cosignature));
    let mut log = Log::new("log.example/a");
    log.grow("a", 3);
    let mut request = log.request(0);
    for number in 0..63_u32 {
        let stranger = KeyName::new(format!("stranger{number}")).unwrap();
        request.note.add(Signature::new(stranger, number, vec![7; 64]));
    }
    ask(&witness_on(&disk, &ours, &[&log]).unwrap(), &request).unwrap();
    let again = witness_on(&disk, &ours, &[&log]).unwrap();
    assert_eq!(again.known()[0].1, 3);
    log.grow("a", 1);
    ask(&again, &log.request(3)).unwrap();
}

/// Promise 5, of the witness: at whatever write the power goes or the disk fails, it goes on from what it has cosigned.
#[test]
fn promise_5_after_a_crash_at_any_write_nothing_that_was_cosigned_is_forgotten() {
    const ROUNDS: u64 = 4;
    let ours = key("w", Algorithm::Cosignature);
    let writes = {
        let disk = SimDisk::new(0);
        grown(&disk, &ours, ROUNDS);
        disk.operations()
    };
    assert!(writes >= 5 * ROUNDS, "create, write, sync, rename, sync: {writes}");
    for (fault, at, seed) in [Fault::Crash, Fault::Io]
        .into_iter()
        .flat_map(|fault| (0..writes).flat_map(move |at| (0..6).map(move |seed| (fault, at, seed))))
    {
        let disk = SimDisk::new(seed);
        disk.fail_after(at, fault);
        let (mut log, cosigned) = grown(&disk, &ours, ROUNDS);
        disk.power_cut();
        disk.restart();
        let again = witness_on(&disk, &ours, &[&log]).unwrap();
        let known = again.known()[0].1;
        assert!(
            known >= cosigned,
            "{fault:?} at {at}: {cosigned} were cosigned, {known} are known"
        );
        if let Some(before) = cosigned.checked_sub(1) {
            let mut fork = log.clone();
            fork.leaves.truncate(usize::try_from(before).unwrap());
            fork.grow("b", 20);
            ask(&again, &fork.request(known)).unwrap_err();
        }
        log.grow("a", 1);
        ask(&again, &log.request(known)).unwrap();
    }
}

/// A log that grows while a witness cosigns it as well as its disk lets it; and the largest size of which somebody has a
/// cosignature.
fn grown(disk: &SimDisk, ours: &Arc<SigningKey>, rounds: u64) -> (Log, u64) {
    let (mut log, mut cosigned) = (Log::new("log.example/a"), 0);
    let Ok(witness) = witness_on(disk, ours, &[&log]) else {
        return (log, 0);
    };
    for _ in 0..rounds {
        log.grow("a", 3);
        match ask(&witness, &log.request(witness.known()[0].1)) {
            Ok(_) => cosigned = log.size(),
            Err(refused) => assert_eq!(refused.status(), 500, "{refused}"),
        }
    }
    (log, cosigned)
}

#[test]
fn an_asker_learns_what_the_witness_knows_and_goes_on_from_there() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let witness = witness(&[&log]);
    let mut first = asker(&witness);
    assert!(matches!(
        exchange(&mut first, &witness, &log),
        Ok(Reply::Cosigned { time: TIME, .. })
    ));
    log.grow("a", 7);
    assert!(matches!(
        exchange(&mut first, &witness, &log),
        Ok(Reply::Cosigned { .. })
    ));
    // After a restart nothing is known; the witness says it.
    let mut second = asker(&witness);
    log.grow("a", 1);
    assert_eq!(exchange(&mut second, &witness, &log), Ok(Reply::Again));
    assert!(matches!(
        exchange(&mut second, &witness, &log),
        Ok(Reply::Cosigned { .. })
    ));
}

#[test]
fn another_history_is_told_from_a_witness_that_knows_another_size() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 10);
    let witness = witness(&[&log]);
    let mut honest = asker(&witness);
    exchange(&mut honest, &witness, &log).unwrap();

    // An older copy that goes on, shorter than what was cosigned.
    let mut copy = log.clone();
    copy.leaves.truncate(6);
    copy.grow("b", 1);
    let ahead = exchange(&mut asker(&witness), &witness, &copy).unwrap_err();
    assert_eq!(ahead, NotCosigned::Ahead { known: 10, signed: 7 });
    // As long as it.
    copy.grow("b", 3);
    let mut other = asker(&witness);
    assert_eq!(exchange(&mut other, &witness, &copy), Ok(Reply::Again));
    assert_eq!(
        exchange(&mut other, &witness, &copy),
        Err(NotCosigned::Forked { size: 10 })
    );
    // Longer.
    copy.grow("b", 5);
    let inconsistent = exchange(&mut other, &witness, &copy).unwrap_err();
    assert_eq!(inconsistent, NotCosigned::Inconsistent { known: 10 });
    for error in [ahead, NotCosigned::Forked { size: 10 }, inconsistent] {
        assert!(error.is_other_history());
    }
    // The first one's history goes on all the same.
    log.grow("a", 2);
    exchange(&mut honest, &witness, &log).unwrap();

    // Somebody else has shown the witness a newer checkpoint of ours meanwhile: no alarm.
    let published = log.signed_at(3);
    let mut late = asker(&witness);
    let answer = Answer {
        status: 409,
        content_type: SIZE_TYPE,
        body: b"12\n",
    };
    assert_eq!(late.take(&published, 12, &answer), Ok(Reply::Again));
    assert_eq!(
        late.take(
            &published,
            12,
            &Answer {
                body: b"13\n",
                ..answer
            }
        ),
        Err(NotCosigned::Ahead { known: 13, signed: 12 })
    );
}

/// A gateway that was started again knows from what it has kept how far its witness was.
#[test]
fn promise_5_a_witness_that_has_forgotten_is_not_fed_from_nothing() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 6);
    let (ours, other) = (key("w", Algorithm::Cosignature), key("w", Algorithm::Cosignature));
    let before = witness_on(&SimDisk::new(1), &ours, &[&log]).unwrap();
    let mut kept = log.signed().note;
    kept.add(ask(&before, &log.request(0)).unwrap());
    log.grow("a", 3);
    let emptied = witness_on(&SimDisk::new(2), &ours, &[&log]).unwrap();
    let mut again = Asker::new(ours.key().clone(), std::slice::from_ref(&kept)).unwrap();
    for _ in 0..2 {
        let forgot = exchange(&mut again, &emptied, &log).unwrap_err();
        assert_eq!(forgot, NotCosigned::Forgot { cosigned: 6, known: 0 });
        assert!(forgot.is_alarm() && !forgot.is_other_history());
        assert_eq!(emptied.known()[0].1, 0, "it is not fed");
    }
    // In one run, too; and the one that remembers goes on.
    let mut asker = asker(&before);
    assert!(matches!(
        exchange(&mut again, &before, &log),
        Ok(Reply::Cosigned { .. })
    ));
    while exchange(&mut asker, &before, &log) == Ok(Reply::Again) {}
    log.grow("a", 1);
    let forgot = exchange(&mut asker, &emptied, &log).unwrap_err();
    assert_eq!(forgot, NotCosigned::Forgot { cosigned: 9, known: 0 });
    // What another key has cosigned says nothing of this one.
    assert_eq!(Asker::new(other.key().clone(), &[kept]).unwrap().known(), 0);
}

#[test]
fn answers_that_make_no_sense_are_no_cosignatures_and_no_alarms() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let (witness, other) = (witness(&[&log]), key("witness.example/two", Algorithm::Cosignature));
    let published = log.signed();
    let mut by_another = published.note.clone();
    by_another.sign(&*other, TIME).unwrap();
    let theirs = by_another.signatures().last().unwrap().to_string();
    // The right key, over another checkpoint.
    let mut elsewhere = log.clone();
    elsewhere.grow("a", 1);
    let stray = ask(&witness, &elsewhere.request(0)).unwrap().to_string();
    let answers: [(u16, &str, String); 8] = [
        (200, "", String::new()),
        (200, "", "no signature\n".to_owned()),
        (200, "", format!("{theirs}\n")),
        (200, "", format!("{stray}\n")),
        (409, SIZE_TYPE, "0\n".to_owned()),
        (409, SIZE_TYPE, "4".to_owned()),
        (409, "text/plain", "4\n".to_owned()),
        (500, "", "broken".to_owned()),
    ];
    for (status, content_type, body) in answers {
        let answer = Answer {
            status,
            content_type,
            body: body.as_bytes(),
        };
        let told = asker(&witness).take(&published, 4, &answer).unwrap_err();
        assert!(!told.is_other_history(), "{status} {body:?}: {told}");
    }
    for status in [403, 404] {
        let answer = Answer {
            status,
            content_type: "",
            body: b"",
        };
        let told = asker(&witness).take(&published, 4, &answer);
        assert_eq!(told, Err(NotCosigned::Unknown { status }));
    }
}

#[test]
fn a_checkpoint_is_witnessed_by_its_quorum_and_later_cosignatures_are_added() {
    let mut log = Log::new("log.example/a");
    log.grow("a", 4);
    let published = log.signed();
    let text = published.note.text();
    let keys = ["one", "two", "three"].map(|name| key(name, Algorithm::Cosignature));
    let cosign = |key: &SigningKey, time| {
        let mut note = published.note.clone();
        note.sign(key, time).unwrap();
        note.signatures().last().unwrap().clone()
    };
    let mut rounds = Rounds::new(keys.iter().map(|key| key.key().clone()).collect(), 2);
    assert_eq!(rounds.take(text, cosign(&keys[0], 1)), Told::Forgotten);
    rounds.begin(&published);
    assert_eq!(rounds.take(text, cosign(&keys[0], 1)), Told::Lacks(1));
    assert_eq!(
        rounds.take(text, cosign(&keys[0], 2)),
        Told::Lacks(1),
        "one counts once"
    );
    let stranger = key("four", Algorithm::Cosignature);
    assert_eq!(rounds.take(text, cosign(&stranger, 1)), Told::Lacks(1));
    let Told::Witnessed(with_two) = rounds.take(text, cosign(&keys[1], 1)) else {
        panic!("two of two");
    };
    let trusted: Vec<_> = keys.iter().map(|key| key.key().clone()).collect();
    assert_eq!(with_two.note.verify(&trusted).unwrap().len(), 2);
    assert!(rounds.is_witnessed(&with_two.note), "as it was kept");
    let mut by_one = published.note.clone();
    by_one.add(cosign(&keys[0], 1));
    by_one.add(cosign(&stranger, 1));
    assert!(!rounds.is_witnessed(&by_one), "a stranger is none of them");
    assert!(matches!(rounds.take(text, cosign(&keys[2], 1)), Told::Witnessed(_)));
    // Many later, the first is forgotten.
    for _ in 0..8 {
        log.grow("a", 1);
        rounds.begin(&log.signed());
    }
    assert_eq!(rounds.take(text, cosign(&keys[0], 3)), Told::Forgotten);
}

/// What somebody with the log's key and any number of stories does.
#[derive(Clone, Debug)]
enum Move {
    /// Story, how many records more.
    Grow(usize, usize),
    /// Story, from which old size: what the witness knows, or off by this.
    Ask(usize, i64),
    /// Story, which goes on as a copy of the other, cut to this size.
    Copy(usize, usize),
    Restart,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0..2_usize, 1..9_usize).prop_map(|(story, count)| Move::Grow(story, count)),
        6 => (0..2_usize, prop_oneof![4 => Just(0_i64), 1 => -3..4_i64]).prop_map(|(story, off)| Move::Ask(story, off)),
        1 => (0..2_usize, 0..40_usize).prop_map(|(story, size)| Move::Copy(story, size)),
        1 => Just(Move::Restart),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    /// The oracle is the lists of records themselves: of two cosigned trees one begins with the other.
    #[test]
    fn promise_5_whatever_is_asked_the_cosigned_trees_are_one_history(moves in moves()) {
        let ours = key("w", Algorithm::Cosignature);
        let disk = SimDisk::new(3);
        let mut stories = [Log::new("log.example/a"), Log::new("log.example/a")];
        stories[1].key = Arc::clone(&stories[0].key);
        let mut witness = Some(witness_on(&disk, &ours, &[&stories[0]]).unwrap());
        let mut cosigned: Vec<Hash> = Vec::new();
        for step in moves {
            match step {
                Move::Grow(story, count) => stories[story].grow(&format!("story {story}"), count),
                Move::Copy(story, size) => {
                    let mut leaves = stories[1 - story].leaves.clone();
                    leaves.truncate(size);
                    stories[story].leaves = leaves;
                }
                Move::Restart => {
                    drop(witness.take());
                    witness = Some(witness_on(&disk, &ours, &[&stories[0]]).unwrap());
                }
                Move::Ask(story, off) => {
                    let (log, witness) = (&stories[story], witness.as_ref().unwrap());
                    let known = witness.known()[0].1;
                    let old = known.saturating_add_signed(off);
                    let proof = consistency_proof(log, old.min(log.size()), log.size()).unwrap();
                    let request = Consistency::unproved(old, proof, log.signed().note).unwrap();
                    let goes_on = log.leaves.starts_with(&cosigned);
                    let answer = ask(witness, &request);
                    prop_assert_eq!(answer.is_ok(), goes_on && old == known, "{:?}", answer);
                    if answer.is_ok() {
                        cosigned = log.leaves.clone();
                    }
                    prop_assert_eq!(witness.known()[0].1, cosigned.len() as u64);
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_the_same(old in 0..=i64::MAX as u64, proof in prop::collection::vec(any::<Hash>(), 0..=63), size in 0..40_usize) {
        let mut log = Log::new("log.example/a");
        log.grow("a", size);
        let request = Consistency::unproved(old, proof, log.signed().note).unwrap();
        prop_assert_eq!(Consistency::parse(request.to_string().as_bytes()), Ok(request));
    }

    #[test]
    fn whatever_is_read_is_written_the_same(
        cut in 0..EXAMPLE.len(), put in "[a-zA-Z0-9+/= \n\u{2014}]{0,8}", skip in 0..9_usize
    ) {
        let (before, rest) = EXAMPLE.as_bytes().split_at(cut);
        let text = [before, put.as_bytes(), rest.get(skip..).unwrap_or_default()].concat();
        fuzz_add_checkpoint(&text);
    }
}
