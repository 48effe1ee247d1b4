//! A gateway's own ledger, changed under it.

use std::fs;
use std::sync::atomic::AtomicBool;

use ledger::note::{Algorithm, KeyName, Signer, SigningKey};
use ledger::sim::{Answered, Look};
use ledger::{Options, Publisher, Reader, RealDisk};
use model::event::RecordKind;
use model::time::Timestamp;
use proxy::audit::Limits;
use proxy::clock::Clock;

use super::*;
use crate::serve::alarms::tests::Full;

struct Stage {
    folder: tempfile::TempDir,
    ledger: Arc<Ledger>,
    audit: Arc<Station>,
    publisher: Publisher,
    found: Arc<Found>,
    stop: CancellationToken,
    /// What the check reads.
    disk: Arc<dyn Disk>,
}

impl Stage {
    fn new() -> Self {
        Self::telling("n")
    }

    /// One whose records say this.
    fn telling(story: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ledger");
        fs::create_dir(&dir).unwrap();
        let options = Options {
            segment_bytes: 64 << 10,
            max_open: 32,
            outcome_bytes: 512,
            ..Options::default()
        };
        let (ledger, _) = Ledger::open(&dir, options, Arc::new(RealDisk::new(&dir))).unwrap();
        let ledger = Arc::new(ledger);
        let (clock, _) = Clock::manual(Timestamp::from_unix_seconds(1_000_000).unix_nanos());
        let audit = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
        append(&ledger, 200, story);
        let key = SigningKey::generate(KeyName::new("gate.example/audit").unwrap(), Algorithm::Ed25519).unwrap();
        let signers: Vec<Arc<dyn Signer>> = vec![Arc::new(key)];
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(&dir));
        let clock = Arc::new(|| Timestamp::from_unix_seconds(1_000_000));
        let publisher = Publisher::start(&ledger, disk, None, signers, clock).unwrap();
        Self {
            disk: Arc::new(RealDisk::new(&dir)),
            folder,
            ledger,
            audit,
            publisher,
            found: Arc::default(),
            stop: CancellationToken::new(),
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("ledger")
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join("ledger-check")
    }

    fn begin(&self, rate: u64) -> JoinHandle<()> {
        let checker = Checker {
            ledger: Arc::clone(&self.ledger),
            audit: Arc::clone(&self.audit),
            disk: Arc::clone(&self.disk),
            kept: self.kept(),
            keys: self.publisher.keys(),
            rate,
            found: Arc::clone(&self.found),
        };
        tokio::spawn(checker.run(self.stop.clone()))
    }

    /// Waits, on the runtime's own clock, until this holds.
    async fn until(&self, holds: impl Fn(&Found) -> bool) {
        while !holds(&self.found) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Flips a byte in the text of record 5, which stands in a sealed segment.
    fn flip(&self) {
        let reader = Reader::open(&self.dir()).unwrap();
        let victim = reader.record(5).unwrap().unwrap();
        assert!(
            reader.segments().len() > 2 && victim.segment == 0,
            "in a segment that is sealed"
        );
        let file = self.dir().join("00000000000000000000.seg");
        let mut bytes = fs::read(&file).unwrap();
        bytes[usize::try_from(victim.offset).unwrap() + 100] ^= 1;
        fs::write(&file, bytes).unwrap();
    }

    fn alarms(&self) -> Vec<String> {
        let records = Reader::open(&self.dir()).unwrap().records_from(200);
        records
            .map(Result::unwrap)
            .filter(|record| record.kind == RecordKind::Damage)
            .map(|record| String::from_utf8(record.leaf).unwrap())
            .collect()
    }
}

fn append(ledger: &Ledger, records: usize, story: &str) {
    for _ in 0..records {
        let body = format!("{{\"id\":\"x\",\"note\":\"{}\"}}", story.repeat(900)).into_bytes();
        ledger
            .append(RecordKind::Access, body, Vec::new())
            .unwrap()
            .wait()
            .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_flipped_under_a_running_gateway_is_recorded_said_and_counted_once() {
    let stage = Stage::new();
    let checking = stage.begin(1 << 20);
    stage.until(|found| found.rounds() >= 1).await;
    assert_eq!((stage.found.count(), stage.found.health()), (0, Health::Good));
    assert!(stage.alarms().is_empty());

    stage.flip();
    let now = stage.found.rounds();
    stage.until(|found| found.rounds() >= now + 3).await;
    assert_eq!(stage.found.count(), 1, "each round finds it, and it is one");
    let said = stage.found.health();
    assert!(
        matches!(&said, Health::But(why) if why.contains("not the one that was signed: record 5: ")),
        "{said:?}"
    );
    let alarms = stage.alarms();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains("record 5: "), "{}", alarms[0]);
    stage.stop.cancel();
    checking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_alarm_that_the_full_ledger_refuses_is_recorded_when_it_takes_it_again_and_once() {
    let full = Full::new();
    let stage = Stage {
        audit: Arc::clone(&full.audit),
        ..Stage::new()
    };
    stage.flip();
    let checking = stage.begin(1 << 20);
    stage.until(|found| found.rounds() >= 3).await;
    assert_eq!(stage.found.count(), 1);
    assert_eq!(full.alarms(), Vec::<String>::new(), "the disk is full");
    full.give_room();
    stage.until(|_| !full.alarms().is_empty()).await;
    let now = stage.found.rounds();
    stage.until(|found| found.rounds() >= now + 2).await;
    let alarms = full.alarms();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains("record 5: "), "{alarms:?}");
    stage.stop.cancel();
    checking.await.unwrap();
}

/// The files agree with one another again, and nothing by the key is left to hold them against.
#[tokio::test(start_paused = true)]
async fn what_is_not_what_the_process_has_in_memory_is_an_alarm_also_without_any_checkpoint() {
    let stage = Stage::new();
    let checking = stage.begin(1 << 20);
    stage.until(|found| found.rounds() >= 1).await;
    stage.publisher.finish().unwrap();
    // Another ledger of as many records takes the place of this one.
    let other = Stage::telling("o");
    let is_ledger_s = |path: &Path| path.extension().is_some_and(|end| end == "seg" || end == "hashes");
    for (dir, is_taken) in [(stage.dir(), true), (other.dir(), false)] {
        for file in fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            if is_taken && path.file_name().unwrap() != "lock" {
                fs::remove_file(&path).unwrap();
            } else if !is_taken && is_ledger_s(&path) {
                fs::copy(&path, stage.dir().join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    let now = stage.found.rounds();
    stage.until(|found| found.rounds() >= now + 2).await;
    let said = stage.found.health();
    assert!(
        matches!(&said, Health::But(why) if why.contains("do not lead to the root")),
        "{said:?}"
    );
    stage.stop.cancel();
    checking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_segment_taken_away_is_an_alarm_too() {
    let stage = Stage::new();
    let second = Reader::open(&stage.dir()).unwrap().segments()[1];
    fs::remove_file(stage.dir().join(format!("{:020}.seg", second.first_seq))).unwrap();
    let checking = stage.begin(1 << 20);
    stage.until(|found| found.rounds() >= 1).await;
    let missing = format!(
        "records {} to {}: missing",
        second.first_seq,
        second.next_seq.unwrap() - 1
    );
    let said = stage.found.health();
    assert!(matches!(&said, Health::But(why) if why.contains(&missing)), "{said:?}");
    stage.stop.cancel();
    checking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn it_reads_no_faster_than_it_is_told_and_goes_on_where_it_was() {
    let stage = Stage::new();
    let begun = tokio::time::Instant::now();
    let checking = stage.begin(1 << 10);
    stage.until(|found| found.bytes() >= 100 << 10).await;
    let least = Duration::from_secs((stage.found.bytes() >> 10) - 64);
    assert!(
        begun.elapsed() >= least,
        "{:?} for {} bytes",
        begun.elapsed(),
        stage.found.bytes()
    );
    assert_eq!(stage.found.rounds(), 0);
    stage.stop.cancel();
    checking.await.unwrap();
    let reached: u64 = fs::read_to_string(stage.kept()).unwrap().trim().parse().unwrap();
    assert!(reached > 0);

    // What was damaged behind that place meanwhile is found in the next round only.
    stage.flip();
    let again = Stage {
        stop: CancellationToken::new(),
        found: Arc::default(),
        ..stage
    };
    let checking = again.begin(1 << 20);
    again.until(|found| found.rounds() >= 1).await;
    assert_eq!(again.found.count(), 0);
    again.until(|found| found.rounds() >= 2).await;
    assert_eq!(again.found.count(), 1);
    again.stop.cancel();
    checking.await.unwrap();
}

#[test]
fn above_a_hundred_findings_are_counted_only() {
    let found = Found::default();
    let told = (0..MOST + 20)
        .filter(|number| found.take(&format!("record {number}")))
        .count();
    assert_eq!(told, MOST);
    assert!(!found.take("record 3"));
    assert_eq!(found.count(), u64::try_from(MOST + 20).unwrap());
    assert!(matches!(found.health(), Health::But(why) if why.contains("record 0, and 119 more")));
}

#[tokio::test(start_paused = true)]
async fn promise_5_a_check_that_breaks_is_an_alarm_once_and_begins_again() {
    let stage = Stage::new();
    let below: Arc<dyn Disk> = Arc::new(RealDisk::new(&stage.dir()));
    let (is_mended, listed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Whoever lists it breaks, until it is mended.
    let (mended, seen) = (Arc::clone(&is_mended), Arc::clone(&listed));
    let breaks = move |look: Look<'_>| {
        if look == Look::Folder {
            seen.fetch_add(1, Ordering::SeqCst);
            assert!(mended.load(Ordering::SeqCst), "attempt to add with overflow");
        }
        Ok(Arc::clone(&below))
    };
    let stage = Stage {
        disk: Arc::new(Answered::new(breaks)),
        ..stage
    };
    let checking = stage.begin(1 << 20);
    stage.until(|_| !stage.alarms().is_empty()).await;
    stage.until(|_| listed.load(Ordering::SeqCst) > 5).await;
    let said = stage.found.health();
    let broke =
        "the check of the ledger broke in the segment of record 0, and begins anew: attempt to add with overflow";
    assert!(matches!(&said, Health::But(why) if why.contains(broke)), "{said:?}");
    assert_eq!((stage.found.count(), stage.found.rounds()), (1, 0));
    let alarms = stage.alarms();
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert!(alarms[0].contains(broke), "{}", alarms[0]);

    // It goes on by itself, and finds what is there.
    stage.flip();
    is_mended.store(true, Ordering::SeqCst);
    stage.until(|found| found.rounds() >= 1).await;
    assert_eq!(stage.found.count(), 2);
    stage.stop.cancel();
    checking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn promise_5_a_check_that_ends_before_the_gateway_is_an_alarm() {
    for (is_told_to_stop, alarms) in [(false, 1), (true, 0)] {
        let stage = Stage::new();
        if is_told_to_stop {
            stage.stop.cancel();
        }
        let ends = tokio::spawn(async { panic!("gone") });
        stage.found.watch(ends, &stage.audit, &stage.stop).await;
        let ended =
            "the check of the ledger has ended (gone): its files are not looked at until the gateway is started again";
        let says = matches!(stage.found.health(), Health::But(why) if why.starts_with(ended));
        assert_eq!((says, stage.found.count()), (alarms == 1, alarms));
        assert_eq!(stage.alarms().len(), usize::from(alarms == 1));
    }
}

/// A start found what somebody had put in, said so and signed it with the rest: the next runs have to say it, too.
#[tokio::test(start_paused = true)]
async fn promise_5_records_that_a_start_found_are_an_alarm_of_each_later_run_and_of_its_own_one_alarm() {
    let words =
        "records 3 to 4 are not the gateway's: put in behind the end of a run that had signed all of its records";
    for is_said in [false, true] {
        let stage = Stage::new();
        let said = b"{\"id\":\"d\",\"unsigned\":{\"from\":3,\"until\":5}}".to_vec();
        let ticket = stage.ledger.append(RecordKind::Damage, said, Vec::new()).unwrap();
        ticket.await.unwrap();
        if is_said {
            stage.found.say(words);
        }
        let checking = stage.begin(1 << 20);
        stage.until(|found| found.rounds() >= 2).await;
        assert_eq!(stage.found.count(), 1);
        let health = stage.found.health();
        assert!(
            matches!(&health, Health::But(why) if why.starts_with(words)),
            "{health:?}"
        );
        let alarms = stage.alarms();
        let recorded = alarms.iter().filter(|alarm| alarm.contains(words)).count();
        assert_eq!(recorded, usize::from(!is_said), "{alarms:?}");
        stage.stop.cancel();
        checking.await.unwrap();
    }
}
