//! Whatever others do to a log while it is followed: every line that stood whole in it is taken once, or a gap is told.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::super::reading::CHUNK;
use super::tests::{World, all, line};
use super::*;
use crate::server_log::LONGEST_LINE;

/// One that is certain by itself, as those of real servers are.
fn event(n: usize) -> String {
    let agent = r#""userAgent":"kubectl/v1.36.2 (linux/amd64) kubernetes/0123456789ab""#;
    line(n).replacen("{", &format!("{{{agent},"), 1)
}

/// What somebody does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Writes(usize),
    /// The first part of a line, whose rest comes with the next one.
    Tears,
    /// The log gets another name; the next line goes to a new one.
    Turns,
    /// An empty log stands there, if none does.
    Begins,
    /// Whoever has the log open that was turned over goes on in it.
    WritesLate(usize),
    /// A copy is begun, empty; then all of the log is in it, or half.
    BeginsCopy,
    FillsCopy(bool),
    /// The log is cut to nothing, whether there is a copy or not.
    Cuts,
    BeginsPacking(usize),
    Packs(usize),
    Deletes(usize),
    /// The log is deleted, and another one begun.
    Recreates,
    Steps(usize),
    ReadsAll,
    Restarts,
    /// With the state that was kept so many restarts ago.
    RestartsWith(usize),
    /// In the middle of a step: at its so many-th point.
    Meanwhile(usize, Safe),
}

/// What destroys nothing.
#[derive(Clone, Copy, Debug)]
enum Safe {
    Writes,
    Turns,
    CopiesAndCuts,
    Packs,
    WritesLate,
}

fn act() -> impl Strategy<Value = Act> {
    let safe = prop_oneof![
        Just(Safe::Writes),
        Just(Safe::Turns),
        Just(Safe::CopiesAndCuts),
        Just(Safe::Packs),
        Just(Safe::WritesLate)
    ];
    prop_oneof![
        6 => (1..4_usize).prop_map(Act::Writes),
        2 => Just(Act::Tears),
        3 => Just(Act::Turns),
        1 => Just(Act::Begins),
        2 => (1..3_usize).prop_map(Act::WritesLate),
        2 => Just(Act::BeginsCopy),
        3 => any::<bool>().prop_map(Act::FillsCopy),
        2 => Just(Act::Cuts),
        1 => (0..3_usize).prop_map(Act::BeginsPacking),
        2 => (0..3_usize).prop_map(Act::Packs),
        1 => (0..3_usize).prop_map(Act::Deletes),
        1 => Just(Act::Recreates),
        6 => (1..4_usize).prop_map(Act::Steps),
        3 => Just(Act::ReadsAll),
        2 => Just(Act::Restarts),
        1 => (0..3_usize).prop_map(Act::RestartsWith),
        3 => ((0..4_usize), safe).prop_map(|(at, safe)| Act::Meanwhile(at, safe)),
    ]
}

/// How the log is kept.
#[derive(Clone, Copy, Debug)]
struct Ways {
    /// Its writer appends; else it goes on where it was, also in a log that was cut.
    appends: bool,
    /// `audit.log.1` is the newest; else each has its time in its name.
    numbers: bool,
}

/// The folder, and who writes there.
struct Others {
    log: PathBuf,
    ways: Ways,
    next: usize,
    names: usize,
    writer: Option<File>,
    late: Option<File>,
    /// What is missing of the last line of either.
    rest: String,
    rest_late: String,
    copy: Option<PathBuf>,
    /// Lines that stood whole in the log or beside it.
    ever: BTreeSet<usize>,
}

impl Others {
    fn folder(&self) -> &Path {
        self.log.parent().unwrap()
    }

    /// Files beside the log, by their names.
    fn beside(&self) -> Vec<PathBuf> {
        let names = fs::read_dir(self.folder()).unwrap().map(|entry| entry.unwrap().path());
        let is_one = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            *path != self.log && name.starts_with("audit") && path.is_file()
        };
        let mut all: Vec<PathBuf> = names.filter(is_one).collect();
        all.sort();
        all
    }

    fn plain(&self, at: usize) -> Option<PathBuf> {
        let is_plain = |path: &PathBuf| !path.to_string_lossy().ends_with(".gz");
        self.beside().into_iter().filter(is_plain).nth(at)
    }

    /// Lines that stand whole somewhere.
    fn standing(&self) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for path in self.beside().into_iter().chain([self.log.clone()]) {
            let Ok(bytes) = fs::read(&path) else { continue };
            let text = if path.to_string_lossy().ends_with(".gz") {
                if path.with_extension("").exists() {
                    continue; // it is being made
                }
                let mut text = Vec::new();
                let _ = flate2::read::MultiGzDecoder::new(&*bytes).read_to_end(&mut text);
                text
            } else {
                bytes
            };
            for line in text
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| line.ends_with(b"\n"))
            {
                let zeros = line.iter().take_while(|byte| **byte == 0).count();
                let Ok(value) = serde_json::from_slice::<serde_json::Value>(&line[zeros..]) else {
                    continue;
                };
                let user = value["user"]["username"].as_str().unwrap();
                found.insert(user.trim_start_matches("user-").parse().unwrap());
            }
        }
        found
    }

    /// Whether all of the log stands in a copy.
    fn is_copied(&self) -> bool {
        let bytes = fs::read(&self.log).unwrap();
        bytes.is_empty() || self.beside().iter().any(|path| fs::read(path).unwrap() == bytes)
    }

    fn has_packed_twin(&self, file: &File) -> bool {
        let mut begin = Vec::new();
        file.take(256).read_to_end(&mut begin).unwrap();
        let twin = |path: &PathBuf| {
            let mut other = Vec::new();
            let packed = flate2::read::MultiGzDecoder::new(File::open(path).unwrap());
            packed.take(256).read_to_end(&mut other).is_ok() && other == begin
        };
        self.beside().iter().any(twin)
    }

    fn looks(&mut self) {
        self.ever.extend(self.standing());
    }

    fn writer(&mut self) -> &mut File {
        let (log, appends) = (&self.log, self.ways.appends);
        self.writer.get_or_insert_with(|| {
            let mut options = File::options();
            let mut file = options
                .create(true)
                .append(appends)
                .write(true)
                .truncate(false)
                .open(log)
                .unwrap();
            file.seek(std::io::SeekFrom::End(0)).unwrap();
            file
        })
    }

    fn writes(&mut self, lines: usize) {
        for _ in 0..lines {
            let text = std::mem::take(&mut self.rest) + &event(self.next);
            self.next += 1;
            self.writer().write_all(text.as_bytes()).unwrap();
        }
    }

    fn writes_late(&mut self, lines: usize) {
        for _ in 0..lines {
            let text = std::mem::take(&mut self.rest_late) + &event(self.next);
            // To a file that is gone: nobody else can read that.
            let late = self.late.as_mut().filter(|late| late.metadata().unwrap().nlink() > 0);
            let Some(late) = late else { return };
            self.next += 1;
            late.write_all(text.as_bytes()).unwrap();
        }
    }

    fn tears(&mut self) {
        if self.rest.is_empty() {
            let text = event(self.next);
            self.next += 1;
            let (begin, rest) = text.split_at(text.len() / 2);
            self.rest = rest.to_owned();
            let begin = begin.to_owned();
            self.writer().write_all(begin.as_bytes()).unwrap();
        }
    }

    fn free_name(&mut self) -> PathBuf {
        self.names += 1;
        if !self.ways.numbers {
            return self
                .folder()
                .join(format!("audit-2026-11-18T10-00-{:02}.000.log", self.names));
        }
        // The oldest gets the highest number.
        let mut all = self.beside();
        let number = |path: &PathBuf| -> usize {
            let name = path.to_string_lossy().into_owned();
            let name = name.trim_end_matches(".gz");
            name.rsplit('.').next().unwrap().parse().unwrap_or(0)
        };
        all.sort_by_key(|path| std::cmp::Reverse(number(path)));
        for path in all {
            let packed = if path.to_string_lossy().ends_with(".gz") {
                ".gz"
            } else {
                ""
            };
            let to = self.folder().join(format!("audit.log.{}{packed}", number(&path) + 1));
            if self.copy.as_ref() == Some(&path) {
                self.copy = Some(to.clone());
            }
            fs::rename(path, to).unwrap();
        }
        self.folder().join("audit.log.1")
    }

    fn turns(&mut self) {
        if self.log.exists() {
            let name = self.free_name();
            fs::rename(&self.log, name).unwrap();
            self.late = self.writer.take();
            self.rest_late = std::mem::take(&mut self.rest);
            self.copy = None;
        }
    }

    fn begins_copy(&mut self) {
        if self.log.exists() && self.copy.is_none() {
            let name = self.free_name();
            File::create(&name).unwrap();
            self.copy = Some(name);
        }
    }

    fn fills_copy(&mut self, whole: bool) {
        if let (Some(copy), Ok(bytes)) = (&self.copy, fs::read(&self.log)) {
            let much = if whole { bytes.len() } else { bytes.len() / 2 };
            if fs::read(copy).is_ok_and(|begin| bytes[..much].starts_with(&begin)) {
                fs::write(copy, &bytes[..much]).unwrap();
            }
        }
    }

    fn cuts(&mut self) {
        if self.log.exists() {
            File::options().write(true).open(&self.log).unwrap().set_len(0).unwrap();
            self.copy = None;
        }
    }

    fn begins_packing(&mut self, at: usize) {
        if let Some(plain) = self.plain(at) {
            fs::write(format!("{}.gz", plain.display()), b"\x1f\x8b\x08\0").unwrap();
        }
    }

    fn packs(&mut self, at: usize) {
        let Some(plain) = self.plain(at).filter(|plain| self.copy.as_ref() != Some(plain)) else {
            return;
        };
        let packed = File::create(format!("{}.gz", plain.display())).unwrap();
        let mut packed = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
        packed.write_all(&fs::read(&plain).unwrap()).unwrap();
        packed.finish().unwrap();
        fs::remove_file(plain).unwrap();
    }

    fn safe(&mut self, safe: Safe) {
        match safe {
            Safe::Writes => self.writes(1),
            Safe::Turns => {
                self.turns();
                self.writes(1);
            }
            Safe::CopiesAndCuts => {
                self.begins_copy();
                self.fills_copy(true);
                if self
                    .copy
                    .as_ref()
                    .is_some_and(|copy| fs::read(copy).unwrap() == fs::read(&self.log).unwrap())
                {
                    self.cuts();
                }
            }
            Safe::Packs => self.packs(0),
            Safe::WritesLate => self.writes_late(1),
        }
        self.looks();
    }
}

struct Story {
    world: World,
    others: Arc<Mutex<Others>>,
    follower: Option<Follower>,
    states: Vec<Vec<u8>>,
    /// Lines that others have destroyed before they were read, and where that cannot stay unnoticed, how many gaps there were.
    lost: BTreeSet<usize>,
    must_tell: Vec<(BTreeSet<usize>, usize)>,
    destroys: bool,
    /// It is turned over, and copied and cut, too: nobody keeps a log in both ways.
    mixes: bool,
}

impl Story {
    fn new(ways: Ways) -> Self {
        let world = World::new();
        let others = Others {
            log: world.at("audit.log"),
            ways,
            next: 0,
            names: 0,
            writer: None,
            late: None,
            rest: String::new(),
            rest_late: String::new(),
            copy: None,
            ever: BTreeSet::new(),
        };
        let follower = Some(world.follower());
        Self {
            world,
            others: Arc::new(Mutex::new(others)),
            follower,
            states: Vec::new(),
            lost: BTreeSet::new(),
            must_tell: Vec::new(),
            destroys: false,
            mixes: false,
        }
    }

    fn taken(&self) -> BTreeSet<usize> {
        let (users, _) = self.world.taken();
        users
            .iter()
            .map(|user| user.trim_start_matches("user-").parse().unwrap())
            .collect()
    }

    /// Does what may destroy something, and notes what it did.
    fn destroys(&mut self, path: Option<PathBuf>, is_cut: bool, does: impl FnOnce(&mut Others)) {
        let Some(file) = path.and_then(|path| File::open(path).ok()) else {
            return;
        };
        let others = Arc::clone(&self.others);
        let mut others = others.lock().unwrap();
        others.looks();
        let before = others.standing();
        let is_copied = is_cut && others.is_copied();
        // Packed from a copy, and made before more was written: nobody knows that.
        let has_twin = others.has_packed_twin(&file);
        does(&mut others);
        let gone: BTreeSet<usize> = &(&before - &others.standing()) - &self.taken();
        let follower = self.follower.as_ref().unwrap();
        let state = &follower.state;
        // Of what was cut before this one was noticed nobody knows.
        let is_one =
            |place: &Place| beside::head_at(&file, place).unwrap().is_some() && (!is_cut || place.head_len > 0);
        let is_open = state.files.values().any(is_one);
        let is_left = state.left.values().flatten().any(is_one);
        self.destroys |= !is_copied;
        if !gone.is_empty() {
            if (is_open || is_left) && !has_twin {
                self.must_tell.push((gone.clone(), self.world.gaps_told()));
            }
            self.lost.extend(gone);
        }
    }

    fn acts(&mut self, act: Act) {
        let log = self.others.lock().unwrap().log.clone();
        match act {
            Act::Cuts => self.destroys(Some(log), true, Others::cuts),
            Act::Deletes(at) => {
                let path = self.others.lock().unwrap().plain(at);
                let deleted = path.clone();
                self.destroys(path, false, |others| {
                    fs::remove_file(deleted.as_ref().unwrap()).unwrap();
                    if others.copy == deleted {
                        others.copy = None;
                    }
                });
            }
            Act::Recreates => self.destroys(Some(log), false, |others| {
                fs::remove_file(&others.log).unwrap();
                (others.writer, others.rest) = (None, String::new());
                others.writes(1);
            }),
            Act::Steps(_) | Act::ReadsAll | Act::Restarts | Act::RestartsWith(_) | Act::Meanwhile(..) => {
                self.follows(act)
            }
            Act::Writes(lines) => self.others().writes(lines),
            Act::Tears => self.others().tears(),
            Act::Turns => self.others().turns(),
            Act::Begins => drop(self.others().writer()),
            Act::WritesLate(lines) => self.others().writes_late(lines),
            Act::BeginsCopy => self.others().begins_copy(),
            Act::FillsCopy(whole) => self.others().fills_copy(whole),
            Act::BeginsPacking(at) => self.others().begins_packing(at),
            Act::Packs(at) => self.others().packs(at),
        }
        self.others().looks();
    }

    fn others(&self) -> std::sync::MutexGuard<'_, Others> {
        self.others.lock().unwrap()
    }

    fn follows(&mut self, act: Act) {
        let follower = self.follower.as_mut().unwrap();
        match act {
            Act::Steps(steps) => {
                for _ in 0..steps {
                    follower.step().unwrap();
                }
            }
            Act::ReadsAll => all(follower),
            Act::Meanwhile(at, safe) => {
                let (others, mut left) = (Arc::clone(&self.others), at + 1);
                follower.meanwhile = Some(Box::new(move || {
                    left = left.saturating_sub(1);
                    if left == 0 {
                        left = usize::MAX;
                        others.lock().unwrap().safe(safe);
                    }
                }));
                for _ in 0..4 {
                    follower.step().unwrap();
                }
                follower.meanwhile = None;
            }
            _ => {
                let state = self.world.at("keys/observe.json");
                self.states.push(fs::read(&state).unwrap());
                self.follower = None;
                if let Act::RestartsWith(ago) = act {
                    let then = self.states.len().saturating_sub(ago + 1);
                    fs::write(&state, &self.states[then]).unwrap();
                    // By then nothing was known of it.
                    self.must_tell.clear();
                }
                self.follower = Some(self.world.follower());
            }
        }
    }

    fn ends(mut self) {
        self.others().rest_late.clear();
        self.others().writes(1);
        self.others().looks();
        // What is torn is read to its end in a second look.
        for _ in 0..3 {
            all(self.follower.as_mut().unwrap());
        }
        let (taken, told) = (self.taken(), self.world.gaps_told());
        let missing = &self.others().ever - &taken;
        assert!(
            missing.is_subset(&self.lost),
            "missing: {:?}, of them destroyed {:?}",
            missing,
            self.lost
        );
        for (gone, before) in &self.must_tell {
            let is_told = told > *before || gone.is_disjoint(&missing);
            assert!(is_told, "{gone:?} are gone and nobody says so: {:?}", self.world.gaps());
        }
        if !self.destroys && self.others().ways.appends && !self.mixes {
            // One that was empty when it was looked at is known by nothing once it is packed.
            let gaps = self
                .world
                .gaps()
                .into_iter()
                .filter(|gap| !gap.contains("when 0 bytes of it"));
            assert_eq!(gaps.collect::<Vec<_>>(), [""; 0], "nothing was destroyed");
        }
    }
}

fn tells_every_story(ways: Ways, acts: &[Act]) {
    let mut story = Story::new(ways);
    let any = |is: fn(&Act) -> bool| acts.iter().any(is);
    let turns = any(|act| matches!(act, Act::Turns | Act::Meanwhile(_, Safe::Turns)));
    story.mixes = turns && any(|act| matches!(act, Act::Cuts | Act::Meanwhile(_, Safe::CopiesAndCuts)));
    for act in acts {
        story.acts(*act);
    }
    story.ends();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn promise_4_whatever_others_do_to_a_log_every_line_is_taken_once_or_a_gap_is_told(
        (appends, numbers) in (prop::bool::weighted(0.8), any::<bool>()),
        acts in proptest::collection::vec(act(), 1..40),
    ) {
        tells_every_story(Ways { appends, numbers }, &acts);
    }
}

#[test]
fn promise_4_a_log_that_is_cut_between_its_reading_and_the_note_of_it_is_read_anew() {
    let world = World::new();
    world.append((event(0) + &event(1)).as_bytes());
    let mut follower = world.follower();
    let log = world.at("audit.log");
    let mut cuts = Some(log.clone());
    follower.meanwhile = Some(Box::new(move || {
        if let Some(log) = cuts.take() {
            fs::copy(&log, log.with_extension("log.1")).unwrap();
            fs::write(&log, (2..9).map(event).collect::<String>()).unwrap();
        }
    }));
    follower.looks = false;
    all(&mut follower);
    world.expect(0..9, "what came after the cut, and what was before it");
}

#[test]
fn promise_4_the_beginning_of_a_line_and_a_cut_before_its_end_are_no_line() {
    for restarts in [false, true] {
        let world = World::new();
        let mut follower = world.follower();
        let text = event(0);
        world.append(&text.as_bytes()[..text.len() / 2]);
        all(&mut follower);
        if restarts {
            drop(follower);
            follower = world.follower();
        }
        fs::write(world.at("audit.log"), (1..4).map(event).collect::<String>()).unwrap();
        all(&mut follower);
        let (mut users, unreadable) = world.taken();
        users.sort();
        assert_eq!(
            (users.len(), unreadable),
            (3, 0),
            "{users:?}: all that stands there now"
        );
        assert_eq!(
            world.gaps().len(),
            1,
            "who has seen the line begin tells that it is gone"
        );
    }
}

#[test]
fn promise_4_a_copy_that_is_begun_empty_and_filled_later_is_read() {
    let world = World::new();
    let mut follower = world.follower();
    world.append(b"");
    all(&mut follower);
    let copy = world.at("audit.log.1");
    File::create(&copy).unwrap();
    all(&mut follower);
    // Filled in two pieces, the first of which ends in the middle of a line; the log itself is empty again by then.
    let text: String = (0..3).map(event).collect();
    fs::write(&copy, &text.as_bytes()[..text.len() / 2]).unwrap();
    all(&mut follower);
    fs::write(&copy, &text).unwrap();
    all(&mut follower);
    world.expect(0..3, "nothing of it was known before");
}

#[test]
fn promise_4_a_log_that_was_cut_while_its_writer_went_on_where_it_was_is_read_behind_the_hole() {
    for restarts in [false, true] {
        let world = World::new();
        let mut follower = world.follower();
        world.append((0..3).map(event).collect::<String>().as_bytes());
        all(&mut follower);
        fs::copy(world.at("audit.log"), world.at("audit.log.1")).unwrap();
        let mut writer = File::options().write(true).open(world.at("audit.log")).unwrap();
        let mut at = writer.seek(std::io::SeekFrom::End(0)).unwrap() + (3 << 20);
        for round in 0..2 {
            writer.set_len(0).unwrap();
            writer.seek(std::io::SeekFrom::Start(at)).unwrap();
            let text: String = (3 + round * 2..5 + round * 2).map(event).collect();
            writer.write_all(text.as_bytes()).unwrap();
            at = writer.stream_position().unwrap();
            if restarts {
                drop(follower);
                follower = world.follower();
            }
            all(&mut follower);
            fs::copy(world.at("audit.log"), world.at(&format!("audit.log.{}", round + 2))).unwrap();
            all(&mut follower);
        }
        world.expect(0..7, &format!("restarted: {restarts}"));
    }
}

#[test]
fn promise_4_a_file_that_gets_another_name_while_it_is_looked_at_ends_nothing() {
    for at in 1..6 {
        let world = World::new();
        let mut follower = world.follower();
        world.append((0..2).map(event).collect::<String>().as_bytes());
        all(&mut follower);
        world.turn("audit.log.1");
        world.append(event(2).as_bytes());
        let (folder, mut calls) = (world.folder.path().to_owned(), 0);
        follower.meanwhile = Some(Box::new(move || {
            calls += 1;
            if calls == at {
                fs::rename(folder.join("audit.log.1"), folder.join("audit.log.2")).unwrap();
            }
        }));
        all(&mut follower);
        world.expect(0..3, &format!("at point {at}"));
    }
}

#[test]
fn promise_4_what_is_written_late_to_a_log_that_was_turned_over_is_read_once() {
    let world = World::new();
    let mut follower = world.follower();
    world.append(event(0).as_bytes());
    let mut late = File::options().append(true).open(world.at("audit.log")).unwrap();
    all(&mut follower);
    world.turn("audit.log.1");
    let (begin, end) = event(1).split_at(100).into_owned();
    late.write_all(begin.as_bytes()).unwrap();
    world.append(event(2).as_bytes());
    follower.step().unwrap();
    late.write_all(end.as_bytes()).unwrap();
    all(&mut follower);
    late.write_all(event(3).as_bytes()).unwrap();
    all(&mut follower);
    world.expect(0..4, "by a writer that has the old one open");
}

trait IntoOwned {
    fn into_owned(self) -> (String, String);
}

impl IntoOwned for (&str, &str) {
    fn into_owned(self) -> (String, String) {
        (self.0.to_owned(), self.1.to_owned())
    }
}

#[test]
fn promise_4_files_that_were_seen_and_not_read_are_told_when_they_are_gone() {
    let world = World::new();
    let mut follower = world.follower();
    for name in ["audit.log.2", "audit.log.1"] {
        world.append(event(name.len() + usize::from(name.ends_with('1'))).as_bytes());
        world.turn(name);
    }
    world.append(event(0).as_bytes());
    follower.step().unwrap();
    while follower.behind.is_none() {
        follower.step().unwrap();
    }
    drop(follower);
    // Seen by the run before, which had read nothing of them.
    fs::remove_file(world.at("audit.log.1")).unwrap();
    fs::remove_file(world.at("audit.log.2")).unwrap();
    all(&mut world.follower());
    let gaps = world.gaps();
    assert!(gaps.len() == 1 && gaps[0].contains("(and so with 1 more)"), "{gaps:?}");
}

/// Found by the stories: the copy is taken to its torn end, and the log itself was read from there.
#[test]
fn promise_4_a_packed_copy_that_has_the_beginning_of_a_line_hides_not_its_end() {
    let ways = Ways {
        appends: true,
        numbers: false,
    };
    let acts = [
        Act::Writes(1),
        Act::Turns,
        Act::Writes(1),
        Act::Tears,
        Act::BeginsCopy,
        Act::FillsCopy(true),
        Act::Turns,
        Act::Packs(1),
        Act::WritesLate(1),
    ];
    tells_every_story(ways, &acts);
}

#[test]
fn promise_4_a_copy_that_was_made_before_more_was_written_hides_no_gap() {
    let world = World::new();
    let mut follower = world.follower();
    world.append(event(0).as_bytes());
    all(&mut follower);
    fs::copy(world.at("audit.log"), world.at("audit.log.1")).unwrap();
    all(&mut follower);
    drop(follower);
    world.append(event(1).as_bytes());
    world.turn("audit.log.2");
    fs::remove_file(world.at("audit.log.2")).unwrap();
    world.append(event(2).as_bytes());
    all(&mut world.follower());
    assert_eq!(
        world.gaps().len(),
        1,
        "the copy has all that was read, and not what came after"
    );
}

/// So long that a file has room for it, and its memory has none.
fn long_line(last: u8) -> Vec<u8> {
    let mut line = vec![b' '; LONGEST_LINE + 2 * CHUNK];
    line.extend([last, b'\n']);
    line
}

#[test]
fn promise_4_each_line_that_is_too_long_counts_by_itself_and_is_read_again_from_its_beginning() {
    let world = World::new();
    let mut follower = world.follower();
    let begin = long_line(b'a');
    // Stopped in the middle of it, where what follows looks like an event.
    world.append(&begin[..LONGEST_LINE + CHUNK]);
    all(&mut follower);
    drop(follower);
    world.append(event(7).trim_end().as_bytes());
    world.append(b"\n");
    world.append(event(0).as_bytes());
    follower = world.follower();
    all(&mut follower);
    assert_eq!(
        world.taken(),
        (vec!["user-0".to_owned()], 1),
        "the end of a line is no line"
    );
    // At the same place of another file, and of the same length: another line.
    for last in [b'b', b'c'] {
        fs::remove_file(world.at("audit.log")).unwrap();
        world.append(&long_line(last));
        world.append(event(1).as_bytes());
        all(&mut follower);
    }
    assert_eq!(world.taken().1, 3);
}
