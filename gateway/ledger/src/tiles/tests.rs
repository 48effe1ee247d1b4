//! The files and the reader against the tree itself, on the simulated disk; exports on a real one.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::disk::Disk;
use crate::note::{Algorithm, KeyName, Note, SigningKey};
use crate::segment::{hashes_name, parse_segment_name, segment_name};
use crate::sim::{Fault, SimDisk};
use crate::tree::{Frontier, Head, Node, Nodes, check_consistency, check_inclusion, leaf_hash};
use crate::tree::{consistency_proof, inclusion_proof, root_at};
use crate::{Ledger, Options, Part, Reader};

fn options() -> Options {
    Options {
        segment_bytes: 64 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        clock: Arc::new(|| model::time::Timestamp::from_unix_seconds(1_790_000_000)),
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> Ledger {
    let disk = Arc::new(disk.clone());
    Ledger::open_by_hand(Path::new("ledger"), options(), disk).unwrap().0
}

/// Appends until so many records are durable.
fn grow(ledger: &Ledger, size: u64) {
    while ledger.durable().size < size {
        for n in 0..(size - ledger.durable().size).min(100) {
            let parts = if n == 7 {
                vec![Part { bytes: vec![1; 50] }]
            } else {
                Vec::new()
            };
            let body = format!("{{\"id\":\"{n}\",\"parts\":[{{}}]}}").into_bytes();
            ledger.append_forget(RecordKind::Access, body, parts).unwrap();
        }
        ledger.drive();
    }
    assert_eq!(ledger.durable().size, size);
}

fn ledger_of(size: u64) -> (SimDisk, Ledger) {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    grow(&ledger, size);
    (disk, ledger)
}

/// What the tree is, from the records alone.
struct Truth {
    leaves: Vec<Vec<u8>>,
    /// By level: the hashes that tiles of the level hold.
    rows: BTreeMap<u8, Vec<Hash>>,
    heads: Vec<Head>,
}

impl Truth {
    fn of(disk: &SimDisk) -> Self {
        let records = Reader::open_on(Arc::new(disk.clone())).unwrap().records_from(0);
        let leaves: Vec<Vec<u8>> = records.map(|record| record.unwrap().leaf).collect();
        let mut frontier = Frontier::default();
        let mut rows = BTreeMap::from([(0, Vec::new())]);
        let mut heads = vec![Head {
            size: 0,
            root: frontier.root(),
        }];
        for leaf in &leaves {
            rows.get_mut(&0).unwrap().push(leaf_hash(leaf));
            frontier.push(leaf_hash(leaf));
            let (size, root) = (frontier.size(), frontier.root());
            heads.push(Head { size, root });
        }
        for level in 1..8 {
            let below = &rows[&(level - 1)];
            let (full, _) = below.as_chunks::<256>();
            let row = full.iter().map(|tile| {
                let mut frontier = Frontier::default();
                tile.iter().for_each(|hash| frontier.push(*hash));
                frontier.root()
            });
            let row = row.collect();
            rows.insert(level, row);
        }
        Self { leaves, rows, heads }
    }

    fn bytes(&self, tile: &TilePath) -> Vec<u8> {
        let from = usize::try_from(tile.index() << 8).unwrap();
        let to = from + usize::from(tile.width());
        match tile.what() {
            TileKind::Hashes { level } => self.rows[&level][from..to].concat(),
            TileKind::Entries => {
                let lengthed = |leaf: &Vec<u8>| [&u16::try_from(leaf.len()).unwrap().to_be_bytes()[..], leaf].concat();
                self.leaves[from..to].iter().flat_map(lengthed).collect()
            }
        }
    }

    /// All tiles and bundles of the tree of this size, and a proof of some leaves and sizes.
    fn check(&self, tiles: &Tiles, size: usize) {
        let head = &self.heads[size];
        for tile in TilePath::of_tree(head.size) {
            assert!(tiles.read(&tile).unwrap() == self.bytes(&tile), "{tile} of {size}");
        }
        assert_eq!(root_at(tiles, head.size).unwrap(), head.root);
        self.prove(tiles, size, size / 97 + 1).unwrap();
    }

    /// Makes proofs, of each `step`-th leaf and size, and says which does not hold.
    fn prove(&self, tiles: &Tiles, size: usize, step: usize) -> Result<(), String> {
        let head = &self.heads[size];
        for (index, leaf) in self.rows[&0][..size].iter().enumerate().rev().step_by(step) {
            let index = u64::try_from(index).unwrap();
            let proof = inclusion_proof(tiles, index, head.size).unwrap();
            check_inclusion(leaf, index, head, &proof).map_err(|error| format!("{index}: {error}"))?;
        }
        for old in self.heads[..=size].iter().rev().step_by(step) {
            let proof = consistency_proof(tiles, old.size, head.size).unwrap();
            check_consistency(old, head, &proof).map_err(|error| format!("{}: {error}", old.size))?;
        }
        Ok(())
    }
}

fn borders(size: u64) -> Vec<usize> {
    let around = |border: u64| [border.saturating_sub(1), border, border + 1];
    let sizes = (0..=size).step_by(256).flat_map(around).chain([size]);
    sizes
        .filter(|at| *at <= size)
        .map(|at| usize::try_from(at).unwrap())
        .collect()
}

fn view(disk: &SimDisk) -> Tiles {
    Tiles::open_on(Arc::new(disk.clone()))
}

fn segments(disk: &SimDisk) -> Vec<u64> {
    let names = disk.list().unwrap();
    names.iter().filter_map(|name| parse_segment_name(name)).collect()
}

fn level_1(disk: &SimDisk) -> Vec<Hash> {
    let bytes = disk.bytes("tiles-1").unwrap_or_default();
    assert_eq!(bytes.len() % 32, 0);
    bytes.as_chunks().0.to_vec()
}

#[test]
fn every_tile_around_every_border_is_what_the_records_say() {
    let (disk, ledger) = ledger_of(1_700);
    let truth = Truth::of(&disk);
    assert!(segments(&disk).len() > 2);
    for tiles in [ledger.tiles(), view(&disk)] {
        for size in borders(1_700) {
            truth.check(&tiles, size);
        }
    }
    ledger.close();
    let truth = Truth::of(&disk);
    let closed = view(&disk);
    for size in borders(1_701) {
        truth.check(&closed, size);
    }
}

#[test]
fn a_view_grows_with_its_ledger_through_segments_and_restarts() {
    let disk = SimDisk::new(1);
    let other = view(&disk);
    let mut size = 0;
    for life in 0..6 {
        let ledger = open(&disk);
        let tiles = ledger.tiles();
        for _ in 0..7 {
            size = ledger.durable().size + 61;
            grow(&ledger, size);
            let truth = Truth::of(&disk);
            truth.check(&tiles, usize::try_from(size).unwrap());
            truth.check(&other, usize::try_from(size).unwrap());
        }
        match life % 3 {
            0 => ledger.close(),
            1 => ledger.kill(),
            _ => {
                ledger.kill();
                disk.power_cut();
            }
        }
    }
    assert!(size > 2_500);
}

#[test]
fn a_tree_over_65_536_records_has_its_second_and_third_level() {
    let (disk, ledger) = ledger_of(65_700);
    let truth = Truth::of(&disk);
    let tiles = ledger.tiles();
    for size in [65_535, 65_536, 65_537, 65_700] {
        truth.check(&tiles, size);
    }
    let last = segments(&disk).into_iter().max().unwrap();
    assert!(last > 65_536, "the last segment begins behind the border");
    let full = usize::try_from(last >> 8).unwrap();
    assert_eq!(level_1(&disk), truth.rows[&1][..full]);
    assert_eq!(disk.bytes("tiles-2").unwrap(), truth.rows[&2].concat());
    assert_eq!(disk.bytes("tiles-3"), None);
    ledger.kill();
    let older = view(&disk);
    truth.check(&older, 65_700);
    for missing in ["tiles-1", "tiles-2"] {
        disk.remove(missing).unwrap();
        truth.prove(&view(&disk), 65_700, 20_000).unwrap();
    }
    drop(open(&disk));
    assert_eq!(level_1(&disk)[..full], truth.rows[&1][..full]);
    assert_eq!(disk.bytes("tiles-2").unwrap(), truth.rows[&2].concat());
}

#[test]
fn bundles_hold_the_leaves_of_the_records_also_across_segments() {
    let (disk, ledger) = ledger_of(1_000);
    let borders = segments(&disk);
    assert!(
        borders.iter().any(|first| first % 256 != 0),
        "a bundle spans two segments"
    );
    let truth = Truth::of(&disk);
    let tiles = ledger.tiles();
    // From the back, so that no walk goes on where another ended.
    for tile in [(3, 232), (2, 256), (1, 256), (0, 256), (0, 1), (2, 100)] {
        let bundle = tiles.entries(tile.0, tile.1).unwrap();
        let entries = bundle_entries(&bundle, tile.1).unwrap();
        let from = usize::try_from(tile.0 << 8).unwrap();
        assert_eq!(entries, truth.leaves[from..from + usize::from(tile.1)]);
        let hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        assert_eq!(tiles.tile(0, tile.0, tile.1).unwrap(), hashes.concat());
    }
}

#[test]
fn what_is_missing_short_or_long_is_read_all_the_same_and_mended_by_the_next_start() {
    let (disk, ledger) = ledger_of(2_000);
    ledger.close();
    let truth = Truth::of(&disk);
    let whole = level_1(&disk);
    assert_eq!(whole, truth.rows[&1]);
    let bytes = whole.concat();
    let long = [&bytes[..], &[7; 40]].concat();
    for (how, spoilt) in [
        ("missing", None),
        ("empty", Some(&bytes[..0])),
        ("short", Some(&bytes[..96])),
        ("cut inside a hash", Some(&bytes[..77])),
        ("long", Some(&long[..])),
    ] {
        let disk = disk.copy(1);
        match spoilt {
            None => disk.remove("tiles-1").unwrap(),
            Some(bytes) => disk.put("tiles-1", bytes),
        }
        truth.check(&view(&disk), 2_001);
        let ledger = open(&disk);
        assert_eq!(level_1(&disk), whole, "{how}");
        truth.check(&ledger.tiles(), 2_001);
        grow(&ledger, 2_600);
        ledger.close();
        assert_eq!(level_1(&disk), Truth::of(&disk).rows[&1], "{how}, gone on with");
    }
    for first in segments(&disk) {
        let disk = disk.copy(1);
        disk.put(&hashes_name(first), b"short");
        truth.check(&view(&disk), 2_001);
        disk.remove(&hashes_name(first)).unwrap();
        truth.check(&view(&disk), 2_001);
        truth.check(&open(&disk).tiles(), 2_001);
    }
}

#[test]
fn what_a_power_cut_may_have_torn_is_not_read() {
    let (disk, ledger) = ledger_of(1_500);
    ledger.kill();
    let truth = Truth::of(&disk);
    let last = segments(&disk).into_iter().max().unwrap();
    assert!(last < 1_280, "a tile ends in the last segment");
    let holes = vec![0; usize::try_from(1_500 - last).unwrap() * 32];
    disk.put(&hashes_name(last), &holes);
    disk.put("tiles-1", &[&disk.bytes("tiles-1").unwrap()[..], &[0; 64]].concat());
    truth.check(&view(&disk), 1_500);
    truth.check(&open(&disk).tiles(), 1_500);
}

#[test]
fn a_power_cut_at_any_step_of_a_close_leaves_no_lie() {
    let (disk, ledger) = ledger_of(1_500);
    let truth = Truth::of(&disk);
    let begun = disk.operations();
    ledger.close();
    let operations = disk.operations() - begun;
    for (step, seed) in (0..operations).flat_map(|step| (0..8).map(move |seed| (step, seed))) {
        let disk = SimDisk::new(seed);
        let ledger = open(&disk);
        grow(&ledger, 1_500);
        disk.fail_after(step, Fault::Crash);
        ledger.close();
        disk.power_cut();
        truth.check(&view(&disk), 1_500);
    }
}

#[test]
fn a_segment_that_was_given_up_has_a_whole_side_file() {
    let (disk, ledger) = ledger_of(300);
    disk.fail_after(1, Fault::Io);
    let lost = ledger
        .append(RecordKind::Access, b"{\"id\":\"a\"}".to_vec(), Vec::new())
        .unwrap();
    ledger.drive();
    lost.result().unwrap().unwrap_err();
    assert_eq!(segments(&disk), [0, 300]);
    disk.power_cut();
    let truth = Truth::of(&disk);
    assert_eq!(disk.bytes(&hashes_name(0)).unwrap(), truth.rows[&0][..300].concat());
    assert_eq!(level_1(&disk), truth.rows[&1]);
}

#[test]
fn a_clean_restart_writes_nothing_into_the_files_that_are_derived() {
    let (disk, ledger) = ledger_of(2_000);
    ledger.close();
    let derived = |disk: &SimDisk| -> Vec<(String, Vec<u8>)> {
        let names = disk.list().unwrap().into_iter();
        let derived = names.filter(|name| name.starts_with("tiles") || name.ends_with(".hashes"));
        derived.map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
    };
    let before = derived(&disk);
    open(&disk).kill();
    // What had been written would be lost now.
    disk.power_cut();
    let after = derived(&disk);
    assert!(before.iter().all(|file| after.contains(file)));
}

#[test]
fn leftovers_of_a_mending_and_levels_beyond_the_tree_are_removed() {
    let (disk, ledger) = ledger_of(300);
    ledger.close();
    for name in ["tiles-1.new", "tiles-2", "tiles-9", "tiles-2.new"] {
        disk.put(name, &[1; 64]);
    }
    for name in ["tiles-x", "tiles-01", "tiles-1.newer"] {
        disk.put(name, b"none of ours");
    }
    drop(open(&disk));
    let names = disk.list().unwrap();
    let ours = names.iter().filter(|name| name.starts_with("tiles"));
    assert_eq!(
        ours.collect::<Vec<_>>(),
        ["tiles-01", "tiles-1", "tiles-1.newer", "tiles-x"]
    );
}

#[test]
fn a_file_that_lies_yields_proofs_that_do_not_hold() {
    let (disk, ledger) = ledger_of(2_000);
    ledger.close();
    let truth = Truth::of(&disk);
    truth.prove(&view(&disk), 2_000, 1).unwrap();
    let first = segments(&disk)[1];
    for name in ["tiles-1".to_owned(), hashes_name(first)] {
        for at in [0, 31, 40, 96] {
            let disk = disk.copy(1);
            let mut bytes = disk.bytes(&name).unwrap();
            bytes[at] ^= 0x10;
            disk.put(&name, &bytes);
            truth.prove(&view(&disk), 2_000, 1).unwrap_err();
        }
    }
}

#[test]
fn what_cannot_be_had_is_refused_with_the_reason() {
    let (disk, ledger) = ledger_of(700);
    let (tiles, closed) = (ledger.tiles(), view(&disk));
    let say = |result: Result<Vec<u8>, TilesError>| result.unwrap_err().to_string();
    let beyond = "a tree of 768 records is asked for and 700 are durable";
    assert_eq!(say(tiles.tile(0, 2, 256)), beyond);
    assert_eq!(say(tiles.tile(1, 0, 3)), beyond);
    assert_eq!(say(tiles.entries(2, 256)), beyond);
    for missing in [closed.tile(0, 2, 256), closed.tile(1, 0, 3), closed.entries(2, 256)] {
        assert_eq!(say(missing), "record 700 is not there");
    }
    let path = |text: &str| TilePath::parse(text).unwrap();
    for nowhere in [
        tiles.tile(0, 0, 257),
        tiles.tile(0, 0, 0),
        tiles.tile(64, 0, 1),
        tiles.tile(8, 0, 1),
        tiles.tile(7, 1, 1),
        tiles.entries(u64::MAX, 1),
        closed.read(&path("tile/0/x018/x446/x744/x073/x709/x551/615")),
        closed.read(&path("tile/63/000")),
    ] {
        assert_eq!(say(nowhere), "no tree has such a tile");
    }
    let node = |level, index| tiles.hashes(&[Node { level, index }]).unwrap_err().to_string();
    for (level, index) in [(63, u64::MAX), (64, 1), (255, 0), (7, u64::MAX), (63, 2)] {
        assert_eq!(node(level, index), "no tree has such a tile", "{level}, {index}");
    }
    assert_eq!(node(9, 1), "a tree of 1024 records is asked for and 700 are durable");
    // What comes later is there when it has come.
    grow(&ledger, 768);
    assert_eq!(closed.tile(1, 0, 3).unwrap(), Truth::of(&disk).rows[&1].concat());
}

#[test]
fn a_record_that_is_damaged_is_named() {
    let (disk, ledger) = ledger_of(700);
    ledger.close();
    let first = segments(&disk)[0];
    let offset = Reader::open_on(Arc::new(disk.clone()))
        .unwrap()
        .record(10)
        .unwrap()
        .unwrap()
        .offset;
    let mut bytes = disk.bytes(&segment_name(first)).unwrap();
    bytes[usize::try_from(offset).unwrap() + 30] ^= 1;
    disk.put(&segment_name(first), &bytes);
    disk.remove(&hashes_name(first)).unwrap();
    for result in [view(&disk).entries(0, 256), view(&disk).tile(0, 0, 256)] {
        let error = std::error::Error::source(&result.unwrap_err()).unwrap().to_string();
        assert!(error.contains(&format!("damaged at byte {offset}")), "{error}");
    }
}

#[test]
fn a_full_disk_leaves_the_hashes_for_the_next_seal() {
    let disk = SimDisk::new(1);
    let ledger = open(&disk);
    let border = |disk: &SimDisk| segments(disk).into_iter().max().unwrap();
    let begun = border(&disk);
    grow(&ledger, 260);
    disk.set_space(Some(disk.used()));
    while border(&disk) == begun {
        grow(&ledger, ledger.durable().size + 1);
    }
    assert!(level_1(&disk).is_empty());
    disk.set_space(None);
    ledger.probe();
    let full = border(&disk);
    let truth = Truth::of(&disk);
    truth.check(&ledger.tiles(), truth.leaves.len());
    while border(&disk) == full {
        grow(&ledger, ledger.durable().size + 100);
    }
    let truth = Truth::of(&disk);
    let full = usize::try_from(border(&disk) >> 8).unwrap();
    assert!(full >= 6);
    assert_eq!(level_1(&disk), truth.rows[&1][..full]);
}

#[test]
fn a_failed_write_or_sync_of_a_derived_file_fails_no_record_and_leaves_no_lie() {
    let step = |ledger: &Ledger| {
        // Refused while the disk fails.
        let _ = ledger.append_forget(RecordKind::Access, b"{\"id\":\"a\"}".to_vec(), Vec::new());
        ledger.probe();
        ledger.drive();
    };
    let turn = |disk: &SimDisk, ledger: &Ledger| {
        while segments(disk).len() < 2 {
            step(ledger);
        }
    };
    let (disk, ledger) = ledger_of(800);
    turn(&disk, &ledger);
    let steps = segments(&disk)[1] - 801;
    let before_a_turn = || {
        let (disk, ledger) = ledger_of(800);
        (0..steps).for_each(|_| step(&ledger));
        (disk, ledger)
    };
    let (disk, ledger) = before_a_turn();
    let begun = disk.operations();
    turn(&disk, &ledger);
    let operations = disk.operations() - begun;
    assert!(operations > 14, "no turn happened in {operations}");
    for skip in 0..operations {
        let (disk, ledger) = before_a_turn();
        disk.fail_after(skip, Fault::Io);
        turn(&disk, &ledger);
        let truth = Truth::of(&disk);
        assert!(truth.leaves.len() > 800, "skip {skip}");
        truth.check(&ledger.tiles(), truth.leaves.len());
        ledger.kill();
        disk.power_cut();
        truth.check(&view(&disk), truth.leaves.len());
        let ledger = open(&disk);
        let last = segments(&disk).into_iter().max().unwrap();
        assert!(last > 768, "the turn is durable");
        assert_eq!(level_1(&disk), truth.rows[&1][..3], "skip {skip}");
        drop(ledger);
    }
}

#[test]
fn older_hashes_are_mended_beside_the_writer() {
    let (disk, ledger) = ledger_of(5_000);
    ledger.kill();
    disk.remove("tiles-1").unwrap();
    let (ledger, _) = Ledger::open(Path::new("ledger"), options(), Arc::new(disk.clone())).unwrap();
    let append = |count| {
        let tickets = (0..count).map(|_| ledger.append(RecordKind::Access, b"{\"id\":\"b\"}".to_vec(), Vec::new()));
        tickets.last().unwrap().unwrap().wait().unwrap();
    };
    append(1_000);
    ledger.wait_mended();
    append(1_000);
    ledger.close();
    assert_eq!(level_1(&disk), Truth::of(&disk).rows[&1]);
    // Closed before it could end: the next start begins again.
    disk.remove("tiles-1").unwrap();
    let (ledger, _) = Ledger::open(Path::new("ledger"), options(), Arc::new(disk.clone())).unwrap();
    ledger.close();
    let ledger = open(&disk);
    ledger.close();
    assert_eq!(level_1(&disk), Truth::of(&disk).rows[&1]);
}

/// A checkpoint of the ledger's first records, signed by nobody who matters: an export looks at no signature.
fn note_of(disk: &SimDisk, origin: &str, size: u64) -> Note {
    let records = Reader::open_on(Arc::new(disk.clone())).unwrap().records_from(0);
    let mut frontier = Frontier::default();
    for record in records.take(usize::try_from(size).unwrap()) {
        frontier.push(leaf_hash(&record.unwrap().leaf));
    }
    let key = SigningKey::generate(KeyName::new(origin).unwrap(), Algorithm::Ed25519).unwrap();
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size,
        root: frontier.root(),
    };
    let mut note = Note::new(checkpoint.to_string()).unwrap();
    note.sign(&key, 0).unwrap();
    note
}

/// All files below a folder, with what is in them.
fn files_in(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_folder_to_be_served_has_all_that_its_checkpoint_speaks_of_and_grows_with_the_ledger() {
    let (disk, ledger) = ledger_of(300);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("served");
    let tiles = || Tiles::open_on(Arc::new(disk.clone()));
    let first = note_of(&disk, "gate.example/a", 300);
    let made = tiles().export_signed(&out, &first).unwrap();
    assert_eq!((made.head.size, made.kept), (300, 0));
    let files = files_in(&out);
    assert_eq!(files["checkpoint"], first.to_string().into_bytes());
    for tile in TilePath::of_tree(300) {
        assert_eq!(files[&tile.to_string()], tiles().read(&tile).unwrap(), "{tile}");
    }
    let again = tiles().export_signed(&out, &first).unwrap();
    assert_eq!((again.written, again.kept), (0, made.written));
    assert_eq!(files_in(&out), files, "what is there is left as it is");

    grow(&ledger, 700);
    let later = note_of(&disk, "gate.example/a", 700);
    let grown = tiles().export_signed(&out, &later).unwrap();
    assert!(grown.kept > 0 && grown.written > 0, "{grown:?}");
    let files = files_in(&out);
    assert_eq!(files["checkpoint"], later.to_string().into_bytes());
    assert!(
        !files.contains_key(".checkpoint") && TilePath::of_tree(700).all(|tile| files.contains_key(&tile.to_string()))
    );
    ledger.close();
}

#[test]
fn promise_5_a_folder_of_another_log_of_another_history_or_of_other_things_is_left_as_it_is() {
    let (disk, ledger) = ledger_of(300);
    let (other, fork) = (SimDisk::new(1), SimDisk::new(1));
    for (disk, kind) in [(&other, RecordKind::Access), (&fork, RecordKind::Gap)] {
        let ledger = open(disk);
        for n in 0..400 {
            let body = format!("{{\"id\":\"{n}\"}}").into_bytes();
            ledger.append_forget(kind, body, Vec::new()).unwrap();
            if n % 50 == 0 {
                ledger.drive();
            }
        }
        ledger.close();
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("served");
    let tiles = |disk: &SimDisk| Tiles::open_on(Arc::new(disk.clone()));
    tiles(&disk)
        .export_signed(&out, &note_of(&disk, "gate.example/a", 300))
        .unwrap();
    let files = files_in(&out);
    let refused = |disk: &SimDisk, origin: &str, size: u64, out: &Path| {
        let error = tiles(disk)
            .export_signed(out, &note_of(disk, origin, size))
            .unwrap_err();
        error.to_string()
    };
    let is_in = |words: &str, said: String| assert!(said.contains(words), "{said}");
    is_in(
        "is of the log `gate.example/a`",
        refused(&other, "gate.example/b", 400, &out),
    );
    is_in("does not go on from them", refused(&fork, "gate.example/a", 400, &out));
    is_in("does not go on from them", refused(&disk, "gate.example/a", 200, &out));
    assert_eq!(files_in(&out), files);

    // An export that ended before its checkpoint was in place: its tiles are of one log, too.
    std::fs::rename(out.join("checkpoint"), out.join(".checkpoint")).unwrap();
    is_in("does not go on from them", refused(&fork, "gate.example/a", 400, &out));
    tiles(&disk)
        .export_signed(&out, &note_of(&disk, "gate.example/a", 300))
        .unwrap();
    assert!(files_in(&out).contains_key("checkpoint"));

    // A checkpoint that is not of these records: nothing is written.
    let (wrong, fresh) = (note_of(&fork, "gate.example/a", 300), folder.path().join("fresh"));
    let error = tiles(&disk).export_signed(&fresh, &wrong).unwrap_err();
    assert!(
        matches!(error, ExportError::NotSigned { size: 300 }) && !fresh.exists(),
        "{error:?}"
    );
    std::fs::create_dir(&fresh).unwrap();
    std::fs::write(fresh.join("thesis.txt"), "mine").unwrap();
    is_in("holds other files", refused(&disk, "gate.example/a", 300, &fresh));
    assert_eq!(files_in(&fresh).len(), 1);
    ledger.close();
}

/// Whatever stands between an export and its end: a reader finds the old log or the new one, whole.
#[test]
fn the_checkpoint_comes_last_so_that_a_folder_is_a_whole_log_wherever_an_export_ends() {
    let (disk, ledger) = ledger_of(300);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("served");
    let tiles = || Tiles::open_on(Arc::new(disk.clone()));
    let first = note_of(&disk, "gate.example/a", 300);
    tiles().export_signed(&out, &first).unwrap();
    grow(&ledger, 600);
    let later = note_of(&disk, "gate.example/a", 600);
    // A folder stands where the last tile belongs: the export ends there.
    let last = TilePath::of_tree(600).last().unwrap().to_string();
    std::fs::create_dir_all(out.join(&last).join("in the way")).unwrap();
    tiles().export_signed(&out, &later).unwrap_err();
    assert_eq!(files_in(&out)["checkpoint"], first.to_string().into_bytes());
    std::fs::remove_dir_all(out.join(&last)).unwrap();
    tiles().export_signed(&out, &later).unwrap();
    assert_eq!(files_in(&out)["checkpoint"], later.to_string().into_bytes());
    ledger.close();
}

/// Who serves the folder may let others write there: whoever opened one of them as files are opened would wait here for ever, and what a link leads to is none
/// of the log's.
#[test]
fn promise_5_a_fifo_or_a_link_in_a_folder_to_be_served_is_neither_waited_for_nor_written_through() {
    let (disk, ledger) = ledger_of(300);
    let folder = tempfile::tempdir().unwrap();
    let (out, others) = (folder.path().join("served"), folder.path().join("others"));
    let (tiles, note) = (
        Tiles::open_on(Arc::new(disk.clone())),
        note_of(&disk, "gate.example/a", 300),
    );
    let fifo = |name: &str| nix::unistd::mkfifo(&out.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::create_dir(&out).unwrap();
    for name in [".lock", ".draft"] {
        fifo(name);
    }
    tiles.export_signed(&out, &note).unwrap();
    std::fs::write(&others, "mine").unwrap();
    for name in [".lock", ".draft"] {
        let _ = std::fs::remove_file(out.join(name));
        std::os::unix::fs::symlink(&others, out.join(name)).unwrap();
    }
    tiles.export_signed(&out, &note).unwrap();
    assert_eq!(std::fs::read(&others).unwrap(), b"mine");
    for name in ["checkpoint", ".checkpoint"] {
        let _ = std::fs::remove_file(out.join(name));
        fifo(name);
        let error = tiles.export_signed(&out, &note).unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains("it is a FIFO and no regular file"), "{why}");
        std::fs::remove_file(out.join(name)).unwrap();
    }
    ledger.close();
}
