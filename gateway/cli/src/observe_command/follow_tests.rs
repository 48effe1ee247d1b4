//! A log that grows, turns over, is cut, and is read again after a crash at any byte.

use std::collections::BTreeMap;
use std::io::Write as _;

use model::cluster::ClusterId;

use super::super::intake::Memory;
use super::super::reading::CHUNK;
use super::*;
use crate::server_log::LONGEST_LINE;

pub(super) fn line(n: usize) -> String {
    format!(
        r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"id-{n}","stage":"ResponseComplete","requestURI":"/version","verb":"get","user":{{"username":"user-{n}"}},"requestReceivedTimestamp":"2026-11-18T10:00:00Z","stageTimestamp":"2026-11-18T10:00:01Z"}}"#
    ) + "\n"
}

/// What stands for the ledger outlives the followers.
fn intake() -> Arc<Mutex<Intake>> {
    let cluster = ClusterId::new("prod").unwrap();
    let clock = Arc::new(crate::serve::now);
    Arc::new(Mutex::new(Intake::new(cluster, None, Memory::default(), None, clock)))
}

pub(super) struct World {
    pub(super) folder: tempfile::TempDir,
    pub(super) intake: Arc<Mutex<Intake>>,
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            intake: intake(),
        }
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn follower(&self) -> Follower {
        let kept = self.folder.path().join("keys");
        fs::create_dir_all(&kept).unwrap();
        Follower::new(
            &self.at("audit.log"),
            Some(kept.join("observe.json")),
            Arc::clone(&self.intake),
        )
        .unwrap()
    }

    pub(super) fn append(&self, bytes: &[u8]) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.at("audit.log"))
            .unwrap();
        file.write_all(bytes).unwrap();
    }

    /// How often each caller's call was taken, and what could not be read.
    pub(super) fn taken(&self) -> (Vec<String>, u64) {
        let intake = self.intake.lock().unwrap();
        let callers: &BTreeMap<_, _> = &intake.counts.callers;
        assert!(callers.values().all(|caller| caller.calls == 1), "{callers:?}");
        (callers.keys().cloned().collect(), intake.counts.unreadable)
    }

    pub(super) fn expect(&self, numbers: impl IntoIterator<Item = usize>, why: &str) {
        let mut users: Vec<String> = numbers.into_iter().map(|n| format!("user-{n}")).collect();
        users.sort();
        assert_eq!(self.taken(), (users, 0), "{why}");
        assert_eq!(self.gaps(), [""; 0], "{why}");
    }

    pub(super) fn gaps_told(&self) -> usize {
        usize::try_from(self.intake.lock().unwrap().counts.gaps).unwrap()
    }

    pub(super) fn gaps(&self) -> Vec<String> {
        self.intake.lock().unwrap().counts.named_gaps.clone()
    }

    /// As the API server turns its log over.
    pub(super) fn turn(&self, name: &str) {
        fs::rename(self.at("audit.log"), self.at(name)).unwrap();
    }

    pub(super) fn pack(&self, name: &str) {
        let packed = File::create(self.at(&format!("{name}.gz"))).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(&fs::read(self.at(name)).unwrap()).unwrap();
        packed.finish().unwrap();
        fs::remove_file(self.at(name)).unwrap();
    }

    pub(super) fn lines(&self, numbers: std::ops::Range<usize>) {
        self.append(numbers.map(line).collect::<String>().as_bytes());
    }
}

pub(super) fn all(follower: &mut Follower) {
    let steps = (0..10_000).take_while(|_| follower.step().unwrap() == Step::Read);
    assert!(steps.count() < 10_000, "it comes to no end");
}

#[test]
fn what_grows_is_read_by_whole_lines_and_a_torn_one_waits_for_its_end() {
    let world = World::new();
    let mut follower = world.follower();
    assert_eq!(follower.step().unwrap(), Step::Nothing, "there is no file yet");
    world.append(line(0).as_bytes());
    let (begin, end) = line(1).split_at(40).to_owned_pair();
    world.append(begin.as_bytes());
    all(&mut follower);
    world.expect([0], "a line without its end");
    world.append(end.as_bytes());
    all(&mut follower);
    world.expect(0..2, "with it");
}

trait ToOwnedPair {
    fn to_owned_pair(self) -> (String, String);
}

impl ToOwnedPair for (&str, &str) {
    fn to_owned_pair(self) -> (String, String) {
        (self.0.to_owned(), self.1.to_owned())
    }
}

#[test]
fn promise_4_a_restart_at_any_byte_with_any_older_state_loses_and_doubles_nothing() {
    let text: String = (0..3).map(line).collect();
    for cut in 0..=text.len() {
        let world = World::new();
        let state = world.at("keys/observe.json");
        let mut follower = world.follower();
        world.append(&text.as_bytes()[..cut / 2]);
        all(&mut follower);
        let older = fs::read(&state).ok();
        world.append(&text.as_bytes()[cut / 2..cut]);
        all(&mut follower);
        drop(follower);
        // As it was, as it was before, torn, or gone.
        let newest = fs::read(&state).ok();
        match cut % 4 {
            0 => {}
            1 => older.map_or(Ok(()), |bytes| fs::write(&state, bytes)).unwrap(),
            2 => newest
                .map_or(Ok(()), |bytes| fs::write(&state, &bytes[..bytes.len() / 2]))
                .unwrap(),
            _ => fs::remove_file(&state).unwrap_or_default(),
        }
        world.append(&text.as_bytes()[cut..]);
        all(&mut world.follower());
        world.expect(0..3, &format!("cut at {cut}"));
    }
}

#[test]
fn a_log_that_is_renamed_away_is_read_to_its_end_before_the_next() {
    for restarts in [false, true] {
        for turns in 1..=3 {
            let world = World::new();
            let mut follower = world.follower();
            world.append((line(0) + &line(1)).as_bytes());
            all(&mut follower);
            if restarts {
                drop(follower);
                follower = world.follower();
            }
            // Written after the last look, and turned over once or more before the next.
            for turn in 0..turns {
                world.append((line(2 + 2 * turn) + &line(3 + 2 * turn)).as_bytes());
                fs::rename(
                    world.at("audit.log"),
                    world.at(&format!("audit-2026-11-18T10-00-0{turn}.000.log")),
                )
                .unwrap();
            }
            world.append(line(100).as_bytes());
            all(&mut follower);
            world.expect(
                (0..2 + 2 * turns).chain([100]),
                &format!("{turns} turns, restarted: {restarts}"),
            );
        }
    }
}

/// Whenever it is turned over, also while older files are read: the file that is followed is held open before.
#[test]
fn promise_4_a_log_that_turns_over_while_older_files_are_caught_up_loses_nothing() {
    // The first run, whose other files are read before the first step.
    let world = World::new();
    world.lines(0..3);
    let mut follower = world.follower();
    world.turn("audit-2026-11-18T10-00-00.000.log");
    world.lines(3..5);
    all(&mut follower);
    world.expect(0..5, "before the first look");
    // A later run, which has much to catch up with: after each of its steps.
    for step in 0..16 {
        let world = World::new();
        let mut follower = world.follower();
        world.lines(0..2);
        all(&mut follower);
        drop(follower);
        world.lines(2..4);
        for turn in 0..3 {
            world.turn(&format!("audit-2026-11-18T10-00-0{turn}.000.log"));
            world.lines(4 + 2 * turn..6 + 2 * turn);
        }
        let mut follower = world.follower();
        for _ in 0..step {
            follower.step().unwrap();
        }
        world.lines(10..12);
        world.turn("audit-2026-11-18T10-00-04.000.log");
        world.lines(12..14);
        if step % 2 == 0 {
            drop(follower);
            follower = world.follower();
        }
        all(&mut follower);
        world.expect(0..14, &format!("turned over after step {step}"));
    }
}

#[test]
fn promise_4_without_the_state_file_what_was_turned_over_is_read_and_what_is_gone_is_told() {
    for keeps in [true, false] {
        let world = World::new();
        let mut follower = world.follower();
        world.lines(0..3);
        all(&mut follower);
        drop(follower);
        world.lines(3..5);
        world.turn("audit-2026-11-18T10-00-00.000.log");
        world.lines(5..7);
        fs::remove_file(world.at("keys/observe.json")).unwrap();
        if !keeps {
            fs::remove_file(world.at("audit-2026-11-18T10-00-00.000.log")).unwrap();
        }
        all(&mut world.follower());
        if keeps {
            world.expect(0..7, "from its beginning, each once");
        } else {
            let gaps = world.gaps();
            assert!(gaps.len() == 1 && gaps[0].contains("left off is not known"), "{gaps:?}");
            assert_eq!(world.intake.lock().unwrap().counts.gaps, 1);
        }
    }
}

#[test]
fn a_file_that_was_deleted_before_it_was_read_to_its_end_is_told_as_a_gap() {
    for restarts in [true, false] {
        let world = World::new();
        let mut follower = world.follower();
        world.lines(0..3);
        all(&mut follower);
        if restarts {
            drop(follower);
            world.lines(3..5);
        }
        world.turn("audit-2026-11-18T10-00-00.000.log");
        world.lines(5..7);
        fs::remove_file(world.at("audit-2026-11-18T10-00-00.000.log")).unwrap();
        follower = world.follower();
        all(&mut follower);
        let gaps = world.gaps();
        assert!(
            gaps.len() == 1 && gaps[0].contains("is not beside it any more"),
            "{gaps:?}"
        );
        // Told once, also by a later run.
        drop(follower);
        all(&mut world.follower());
        assert_eq!(world.gaps().len(), 1);
    }
}

#[test]
fn files_that_were_deleted_while_an_older_one_was_read_are_told_as_a_gap() {
    let world = World::new();
    let mut follower = world.follower();
    world.lines(0..3);
    all(&mut follower);
    drop(follower);
    world.lines(3..5);
    let (older, newer) = ("audit-2026-11-18T10-00-00.000.log", "audit-2026-11-18T11-00-00.000.log");
    world.turn(older);
    world.lines(5..7);
    world.turn(newer);
    world.lines(7..9);
    follower = world.follower();
    while follower.behind.is_none() {
        follower.step().unwrap();
    }
    // The older one is open, and is read to its end all the same.
    fs::remove_file(world.at(older)).unwrap();
    fs::remove_file(world.at(newer)).unwrap();
    all(&mut follower);
    let gaps = world.gaps();
    assert!(
        gaps.len() == 1 && gaps[0].contains("is not beside it any more"),
        "{gaps:?}"
    );
    drop(follower);
    all(&mut world.follower());
    assert_eq!(world.gaps().len(), 1);
}

#[test]
fn what_was_packed_before_it_was_read_is_read_and_what_was_read_is_not_missed() {
    for restarts in [false, true] {
        let world = World::new();
        let mut follower = world.follower();
        world.lines(0..5);
        all(&mut follower);
        if restarts {
            drop(follower);
            follower = world.follower();
        }
        // One that was being read, one that nobody has seen, one that was read to its end and is packed later.
        world.lines(5..8);
        world.turn("audit.log.3");
        world.pack("audit.log.3");
        world.lines(8..12);
        world.turn("audit.log.2");
        world.pack("audit.log.2");
        world.lines(12..16);
        world.turn("audit.log.1");
        world.lines(16..18);
        all(&mut follower);
        world.expect(0..18, &format!("packed, restarted: {restarts}"));
        world.pack("audit.log.1");
        let known = world.intake.lock().unwrap().counts.known;
        all(&mut follower);
        let mut again = world.follower();
        all(&mut again);
        world.expect(0..18, "packed after it was read");
        assert_eq!(
            world.intake.lock().unwrap().counts.known,
            known,
            "nothing is read again"
        );
        // Torn, and packed in another way.
        fs::write(world.at("audit.log.4.gz"), b"\x1f\x8b\x08\0torn").unwrap();
        fs::write(world.at("audit.log.5.zst"), b"?").unwrap();
        // Its time is nobody's else: those of files that are written one after another may be the same.
        let odd = std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_795_000_000_500);
        let other = File::options().write(true).open(world.at("audit.log.5.zst")).unwrap();
        other.set_modified(odd).unwrap();
        all(&mut again);
        all(&mut world.follower());
        let mut gaps = world.gaps();
        gaps.sort();
        assert!(
            gaps.len() == 2
                && gaps[0].contains("4.gz` cannot be unpacked")
                && gaps[1].contains("5.zst` is packed in a way"),
            "{gaps:?}"
        );
    }
}

#[test]
fn older_files_are_not_read_the_first_time_and_that_is_known() {
    let world = World::new();
    world.lines(0..3);
    world.turn("audit.log.1");
    world.lines(3..5);
    let mut follower = world.follower();
    assert_eq!(follower.older, 1);
    fs::write(world.at("audit-policy.yaml"), "no log").unwrap();
    all(&mut follower);
    world.expect(3..5, "from the log itself on");
    assert_eq!(world.follower().older, 0, "only the first time");
}

#[test]
fn a_log_that_is_copied_and_cut_is_read_from_its_copy_and_anew() {
    for restarts in [false, true] {
        // The new text may be shorter or longer than what was read of the old.
        for new in [1, 9] {
            let world = World::new();
            let mut follower = world.follower();
            world.append((0..3).map(line).collect::<String>().as_bytes());
            all(&mut follower);
            if restarts {
                drop(follower);
                follower = world.follower();
            }
            world.append(line(3).as_bytes());
            fs::copy(world.at("audit.log"), world.at("audit.log.1")).unwrap();
            File::options()
                .write(true)
                .open(world.at("audit.log"))
                .unwrap()
                .set_len(0)
                .unwrap();
            world.append((10..10 + new).map(line).collect::<String>().as_bytes());
            all(&mut follower);
            world.expect(
                (0..4).chain(10..10 + new),
                &format!("{new} new lines, restarted: {restarts}"),
            );
        }
    }
}

#[test]
fn a_line_that_is_no_event_is_told_with_its_place_and_the_rest_is_read() {
    let world = World::new();
    world.append((line(0) + "{\"kind\":\"Event\"}\n" + &line(1)).as_bytes());
    all(&mut world.follower());
    let (users, unreadable) = world.taken();
    assert_eq!((users.len(), unreadable), (2, 1));
    let intake = world.intake.lock().unwrap();
    let place = format!("audit.log at byte {}: it is `Event` of", line(0).len());
    assert!(intake.counts.named[0].contains(&place), "{:?}", intake.counts.named);
}

#[test]
fn promise_8_a_line_without_an_end_fills_no_memory() {
    let world = World::new();
    let mut follower = world.follower();
    world.append(line(0).as_bytes());
    let spaces = vec![b' '; 16 << 20];
    for _ in 0..5 {
        world.append(&spaces);
    }
    all(&mut follower);
    let held = follower.open.as_ref().map_or(0, |reading| reading.pending.capacity());
    assert!(held <= 2 * (LONGEST_LINE + 2 * CHUNK), "{held}");
    world.append((String::from("\n") + &line(1)).as_bytes());
    all(&mut follower);
    let (users, unreadable) = world.taken();
    assert_eq!((users, unreadable), (vec!["user-0".to_owned(), "user-1".to_owned()], 1));
}
