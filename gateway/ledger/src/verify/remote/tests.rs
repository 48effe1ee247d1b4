//! Honest servers, and hostile ones.

use std::sync::Mutex;

use proptest::prelude::*;

use super::served::{Served, entry, said, signed, tree};
use super::*;
use crate::note::{Algorithm, KeyName, KeyTurn, Signer as _, SigningKey};
use crate::tree::Head as TreeHead;

const ALONE: usize = 1;

fn key() -> SigningKey {
    SigningKey::generate(KeyName::new("log.example/served").unwrap(), Algorithm::Ed25519).unwrap()
}

struct World {
    key: SigningKey,
    entries: Vec<Vec<u8>>,
    served: Served,
    note: Note,
}

impl World {
    fn of(size: u64) -> Self {
        Self::signed_by(key(), (0..size).map(|seq| entry(seq, 0)).collect())
    }

    fn signed_by(key: SigningKey, entries: Vec<Vec<u8>>) -> Self {
        let (mut served, root) = tree(&entries);
        let note = signed(&key, entries.len(), root).unwrap();
        served.0.insert("checkpoint".to_owned(), note.to_string().into_bytes());
        Self {
            key,
            entries,
            served,
            note,
        }
    }

    fn trust(&self, remembered: &[&Note]) -> Trust {
        Trust {
            keys: vec![self.key.key().clone()],
            remembered: remembered.iter().copied().cloned().collect(),
        }
    }

    fn check(&self, served: &Served) -> Report {
        verify_remote(served, &self.trust(&[]), ALONE, &|_, _| {}).unwrap()
    }

    fn said(&self, served: &Served) -> Vec<String> {
        let report = self.check(served);
        assert!(!report.is_proved());
        report.findings.iter().map(ToString::to_string).collect()
    }
}

#[test]
fn an_honest_server_s_log_is_proved_at_every_shape_of_its_tree() {
    for size in [1, 2, 255, 256, 257, 300, 511, 512, 66_000] {
        let world = World::of(size);
        for threads in [1, 3, 200] {
            let seen = Mutex::new((0, 0));
            let progress = |done, of| *seen.lock().unwrap() = (done, of);
            let report = verify_remote(&world.served, &world.trust(&[]), threads, &progress).unwrap();
            assert_eq!(report.findings, [], "{size}");
            assert_eq!(
                (report.proved, report.size, report.records, report.foreign),
                (size, size, size, 0)
            );
            assert_eq!(*seen.lock().unwrap(), (size, size));
            let tiles = world
                .served
                .0
                .keys()
                .filter(|path| !path.contains("entries") && path.contains('/'));
            assert_eq!(report.tiles, to_u64(tiles.count()), "every tile of hashes was compared");
        }
    }
}

#[test]
fn a_log_without_records_is_read_and_proves_nothing() {
    let world = World::of(0);
    let report = world.check(&world.served);
    assert_eq!((report.findings.len(), report.proved, report.checkpoints), (0, 0, 1));
}

#[test]
fn a_log_that_has_grown_may_have_put_whole_tiles_in_place_of_partial_ones() {
    let world = World::of(300);
    let (mut served, _) = tree(&(0..512).map(|seq| entry(seq, 0)).collect::<Vec<_>>());
    served
        .0
        .insert("checkpoint".to_owned(), world.note.to_string().into_bytes());
    // The level above has no whole tile yet.
    let upper = world.served.0["tile/1/000.p/1"].clone();
    served.0.insert("tile/1/000.p/1".to_owned(), upper);
    assert!(world.check(&served).is_proved());
}

#[test]
fn a_changed_entry_is_named_where_the_hashes_are_those_that_were_signed() {
    let world = World::of(600);
    let mut served = world.served.clone();
    let bundle = served.0.get_mut("tile/entries/001").unwrap();
    let at = bundle.windows(9).position(|bytes| bytes == b"\"seq\":300").unwrap();
    bundle[at + 18] ^= 1;
    assert_eq!(
        world.said(&served),
        ["record 300: not the record that was signed (tile/entries, byte 0)"]
    );
}

#[test]
fn entries_that_are_cut_doubled_or_exchanged_are_found() {
    let world = World::of(300);
    let other = tree(&(0..300).map(|seq| entry(seq, 1)).collect::<Vec<_>>()).0;
    for (path, bytes, said) in [
        (
            "tile/entries/000",
            other.0["tile/entries/000"].clone(),
            "records 0 to 255: not the record",
        ),
        (
            "tile/entries/001.p/44",
            world.served.0["tile/entries/000"].clone(),
            "records 256 to 299: it cannot be read: bytes stand behind the last entry",
        ),
        (
            "tile/entries/000",
            Vec::new(),
            "records 0 to 255: it cannot be read: the entry bundle has 0",
        ),
    ] {
        let mut served = world.served.clone();
        served.0.insert(path.to_owned(), bytes);
        let told = world.said(&served);
        assert!(told.len() == 1 && told[0].starts_with(said), "{told:?}");
    }
}

/// A tile that was cut off is no silence of the server: it answered, and wrongly. Which one, and that it is cut, is said.
#[test]
fn a_tile_that_is_cut_or_too_long_is_named_as_that() {
    let world = World::of(300);
    let whole = world.served.0["tile/0/001.p/44"].clone();
    for have in [0, 31, 32, whole.len() - 1, whole.len() + 32] {
        let mut served = world.served.clone();
        let mut bytes = whole.clone();
        bytes.resize(have, 0);
        served.0.insert("tile/0/001.p/44".to_owned(), bytes);
        let error = verify_remote(&served, &world.trust(&[]), ALONE, &|_, _| {}).unwrap_err();
        let RemoteError::Fetch { path, source, .. } = &error else {
            panic!("{error:?}")
        };
        let want = whole.len();
        assert_eq!(
            (path.as_str(), source),
            ("tile/0/001.p/44", &SourceError::Cut { have, want })
        );
        let said = format!("the tile is cut, or more stands behind it: it has {have} bytes and not {want}");
        assert_eq!(source.to_string(), said);
    }
}

#[test]
fn a_tile_that_is_not_what_the_records_lead_to_is_found_on_each_level() {
    let world = World::of(66_000);
    for (path, said) in [
        ("tile/0/001", "record 256: the tile's hashes"),
        ("tile/1/000", "records 0 to 255: the tile's hashes"),
        ("tile/1/001.p/1", "records 65536 to 65791: the tile's hashes"),
        ("tile/2/000.p/1", "records 0 to 65535: the tile's hashes"),
    ] {
        let mut served = world.served.clone();
        served.0.get_mut(path).unwrap()[0] ^= 1;
        let told = world.said(&served);
        assert!(told.iter().any(|told| told.starts_with(said)), "{path}: {told:?}");
    }
}

#[test]
fn who_computes_every_hash_anew_does_not_lead_to_the_signed_root() {
    let world = World::of(600);
    let mut entries = world.entries.clone();
    entries[300] = entry(300, 9);
    let mut forged = tree(&entries).0;
    forged
        .0
        .insert("checkpoint".to_owned(), world.note.to_string().into_bytes());
    assert_eq!(
        world.said(&forged),
        ["records 0 to 599: the records do not lead to the root that was signed at size 600 (checkpoint, byte 0)"]
    );
    // A checkpoint that is remembered from between narrows it.
    let (_, root) = tree(&world.entries[..256]);
    let earlier = signed(&world.key, 256, root).unwrap();
    let report = verify_remote(&forged, &world.trust(&[&earlier]), ALONE, &|_, _| {}).unwrap();
    assert_eq!((report.proved, report.findings[0].records.clone()), (256, 256..600));
}

#[test]
fn a_log_that_is_shorter_or_another_than_the_one_that_is_remembered_is_refused() {
    let (world, key_text) = {
        let world = World::of(600);
        let text = world.key.to_private_text().to_string();
        (world, text)
    };
    let older = World::signed_by(key_text.parse().unwrap(), world.entries[..300].to_vec());
    let report = verify_remote(&older.served, &older.trust(&[&world.note]), ALONE, &|_, _| {}).unwrap();
    let cut = Fault::Cut {
        signed: 600,
        have: 300,
        held: 300,
    };
    assert_eq!(report.findings[0].fault, cut);

    let mut entries = world.entries.clone();
    entries[10] = entry(10, 3);
    let forked = World::signed_by(key_text.parse().unwrap(), entries);
    for (served, remembered, fault) in [
        (&forked.served, &older.note, Fault::Root { size: 300 }),
        (&forked.served, &world.note, Fault::Fork { size: 600 }),
    ] {
        let report = verify_remote(served, &world.trust(&[remembered]), ALONE, &|_, _| {}).unwrap();
        assert!(!report.is_proved());
        assert!(
            report.findings.iter().any(|finding| finding.fault == fault),
            "{:?}",
            report.findings
        );
    }
}

/// A log with what starts said: of 290 to 299 that the gateway did not write them, of 390 to 394 that nobody had signed them.
fn with_statements() -> World {
    let mut entries: Vec<_> = (0..600).map(|seq| entry(seq, 0)).collect();
    entries[300] = said(300, "damage", 290..300);
    entries[400] = said(400, "recovery", 390..395);
    World::signed_by(key(), entries)
}

#[test]
fn promise_5_records_that_were_put_in_behind_a_clean_end_are_found_from_afar_and_those_of_a_kill_are_not() {
    let world = with_statements();
    for threads in [1, 3] {
        let report = verify_remote(&world.served, &world.trust(&[]), threads, &|_, _| {}).unwrap();
        let put_in = Finding {
            fault: Fault::AfterEnd { by: 300 },
            records: 290..300,
            file: "tile/entries/001".to_owned(),
            offset: 0,
        };
        assert_eq!((&report.findings, report.proved), (&vec![put_in], 600));
        assert!(!report.is_proved());
        assert_eq!(report.unsigned.unproved, std::slice::from_ref(&(390..395)));
    }
    // The bundle is called as the server calls it.
    let mut entries: Vec<_> = (0..300).map(|seq| entry(seq, 0)).collect();
    entries[299] = said(299, "damage", 298..299);
    let world = World::signed_by(key(), entries.clone());
    let report = world.check(&world.served);
    assert_eq!(report.findings[0].file, "tile/entries/001.p/44");
    // An honest gateway that was killed and started again.
    entries[299] = said(299, "recovery", 298..299);
    let world = World::signed_by(key(), entries);
    let report = world.check(&world.served);
    assert!(report.is_proved(), "{:?}", report.findings);
    assert_eq!(report.unsigned.unproved, std::slice::from_ref(&(298..299)));
}

#[test]
fn promise_5_what_is_said_of_records_counts_from_afar_as_it_does_of_a_folder() {
    let found = |at: &[(usize, Vec<u8>)]| {
        let mut entries = with_statements().entries;
        for (seq, leaf) in at {
            entries[*seq] = leaf.clone();
        }
        let world = World::signed_by(key(), entries);
        let report = world.check(&world.served);
        let found = report.findings.iter();
        (
            found.map(|found| found.records.clone()).collect::<Vec<_>>(),
            report.unsigned.unproved,
        )
    };
    // A refusal takes nothing back of it: somebody could have put it in.
    let refuses = br#"{"v":1,"kind":"damage","seq":500,"refused":[300]}"#.to_vec();
    assert_eq!(found(&[(500, refuses)]).0, std::slice::from_ref(&(290..300)));
    // A later one speaks of it: a forger had put it in.
    let later = found(&[(500, said(500, "damage", 290..500))]);
    assert_eq!(later.0, std::slice::from_ref(&(290..500)));
    assert_eq!(later.1, [0..0; 0]);
    // It says another number than its own, or another kind says it.
    for other in [said(301, "damage", 290..300), said(300, "access", 290..300)] {
        assert_eq!(found(&[(300, other)]).0, [0..0; 0]);
    }
}

#[test]
fn promise_5_a_server_cannot_say_that_records_were_put_in_nor_take_it_away_unseen() {
    let honest = World::of(600);
    let put = |world: &World, leaf: Vec<u8>| {
        let mut served = world.served.clone();
        let mut entries = world.entries.clone();
        entries[300] = leaf;
        let path = "tile/entries/001".to_owned();
        let bundle = tree(&entries).0.0[&path].clone();
        served.0.insert(path, bundle);
        world.said(&served)
    };
    let altered = ["record 300: not the record that was signed (tile/entries, byte 0)"];
    assert_eq!(put(&honest, said(300, "damage", 0..300)), altered);
    assert_eq!(put(&with_statements(), entry(300, 0)), altered);
}

/// Counts what it is asked.
struct Counted<'a>(&'a Served, Mutex<Vec<String>>);

impl Source for Counted<'_> {
    fn fetch(&self, path: &str, most: usize) -> Result<Vec<u8>, SourceError> {
        self.1.lock().unwrap().push(path.to_owned());
        self.0.fetch(path, most)
    }
}

#[test]
fn a_checkpoint_of_nobody_we_know_is_not_followed() {
    let world = World::of(600);
    let counted = Counted(&world.served, Mutex::default());
    let trust = Trust {
        keys: vec![key().key().clone()],
        remembered: Vec::new(),
    };
    let report = verify_remote(&counted, &trust, 2, &|_, _| {}).unwrap();
    assert_eq!((report.proved, report.strange, report.is_proved()), (0, 1, false));
    assert_eq!(*counted.1.lock().unwrap(), ["checkpoint"], "nothing more is asked for");
}

#[test]
fn a_piece_that_cannot_be_had_is_named_with_what_was_proved_before_it() {
    let world = World::of(600);
    let (_, root) = tree(&world.entries[..256]);
    let earlier = signed(&world.key, 256, root).unwrap();
    let check = |served: &Served| verify_remote(served, &world.trust(&[&earlier]), 2, &|_, _| {}).unwrap_err();
    let mut served = world.served.clone();
    served.0.remove("tile/entries/001");
    assert_eq!(
        check(&served).to_string(),
        "`tile/entries/001` cannot be had; 256 of 600 records were proved before it"
    );
    for bytes in [vec![0; 8_191], vec![0; 8_193], vec![0; 1 << 20], Vec::new()] {
        let mut served = world.served.clone();
        served.0.insert("tile/0/001".to_owned(), bytes);
        assert!(matches!(check(&served), RemoteError::Fetch { path, .. } if path == "tile/0/001"));
    }
    let mut served = world.served.clone();
    served.0.insert("checkpoint".to_owned(), vec![b'x'; MAX_NOTE_LEN + 1]);
    assert!(matches!(
        check(&served),
        RemoteError::Fetch {
            source: SourceError::TooLong { .. },
            ..
        }
    ));
    served.0.insert("checkpoint".to_owned(), b"no note".to_vec());
    assert!(matches!(check(&served), RemoteError::Note(_)));
}

#[test]
fn findings_without_end_are_kept_as_few() {
    let world = World::of(66_000);
    let mut served = world.served.clone();
    for (path, bytes) in &mut served.0 {
        if path.starts_with("tile/0/") {
            bytes.chunks_mut(64).for_each(|bytes| bytes[0] ^= 1);
        }
    }
    assert!(world.check(&served).findings.len() <= FINDINGS_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_was_not_signed_is_proved(data in prop::collection::vec(any::<u8>(), 0..12)) {
        fuzz_remote(&data);
    }
}

/// A record of a change of the key from `old` to `next`, behind these entries.
fn turned(entries: &[Vec<u8>], old: &SigningKey, next: &SigningKey, root: Hash) -> Vec<u8> {
    let size = to_u64(entries.len());
    let turn = KeyTurn::state(&TreeHead { size, root }, old, next).unwrap();
    let note = serde_json::to_string(&turn.note().to_string()).unwrap();
    format!("{{\"v\":1,\"kind\":\"key\",\"seq\":{size},\"id\":\"\",\"key\":{{\"note\":{note}}}}}").into_bytes()
}

/// The server gives its newest checkpoint alone, which the newest key signed.
#[test]
fn changes_of_the_key_are_followed_by_who_knows_the_newest_one_alone() {
    let keys = [key(), key(), key()];
    let mut entries: Vec<Vec<u8>> = (0..5).map(|seq| entry(seq, 0)).collect();
    for change in keys.windows(2) {
        let root = tree(&entries).1;
        entries.push(turned(&entries, &change[0], &change[1], root));
        for seq in to_u64(entries.len())..to_u64(entries.len()) + 300 {
            entries.push(entry(seq, 0));
        }
    }
    let [first, _, newest] = keys;
    let world = World::signed_by(newest, entries.clone());
    let report = world.check(&world.served);
    assert!(report.is_proved(), "{:?}", report.findings);
    assert_eq!(report.turns.len(), 2);
    let both = Trust {
        keys: vec![first.key().clone(), world.key.key().clone()],
        remembered: Vec::new(),
    };
    let report = verify_remote(&world.served, &both, ALONE, &|_, _| {}).unwrap();
    assert!(report.is_proved() && report.turns.len() == 2, "{:?}", report.findings);

    // One that states another tree than the one that is there, and one between keys that nobody knows.
    let before: Vec<Vec<u8>> = (0..5).map(|seq| entry(seq, 0)).collect();
    let root = tree(&before).1;
    let newest = key();
    let other_tree = turned(&before, &first, &newest, [7; 32]);
    let of_strangers = turned(&before, &key(), &key(), root);
    let mut entries = before.clone();
    entries.push(other_tree);
    let world = World::signed_by(newest, entries);
    assert!(!world.check(&world.served).is_proved());
    let mut entries = before;
    entries.push(of_strangers);
    let world = World::signed_by(key(), entries);
    assert_eq!(world.said(&world.served).len(), 1);
}
