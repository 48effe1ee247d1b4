//! What is read once and what is read whole, held against one another: reading once may be too strict, never too lenient.

use std::path::Path;
use std::sync::Arc;

use model::event::RecordKind;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::segment;
use super::turns::Told;
use super::*;
use crate::disk::Disk;
use crate::sim::SimDisk;
use crate::{Ledger, Options, Part};

/// A ledger of segments longer than what is read at once, with parts that lie across the pieces, and roots along it.
fn long() -> (SimDisk, Vec<Head>) {
    let disk = SimDisk::new(1);
    let options = Options {
        segment_bytes: 900 << 10,
        max_open: 32,
        outcome_bytes: 512,
        probe_every: std::time::Duration::MAX,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open_by_hand(Path::new("l"), options, Arc::new(disk.clone())).unwrap();
    let mut heads = Vec::new();
    for number in 0..60_usize {
        let sealed: Vec<Vec<u8>> = (0..number % 3)
            .map(|part| vec![b'p'; 1 + part * 60_000 + number * 900])
            .collect();
        let said = sealed
            .iter()
            .map(|part| format!("{{\"sealed\":\"{}\",\"key\":\"k\"}}", Part::digest(part)));
        let said = said.collect::<Vec<_>>().join(",");
        let note = "n".repeat(number * 997 % 30_000);
        let body = format!("{{\"id\":\"{number}\",\"note\":\"{note}\",\"parts\":[{said}]}}");
        let parts = sealed.into_iter().map(|bytes| Part { bytes }).collect();
        let (kind, body) = match number % 7 {
            6 => (RecordKind::Erasure, body),
            5 => (RecordKind::Damage, body.replacen('{', "{\"refused\":[0],", 1)),
            _ => (RecordKind::Access, body),
        };
        let ticket = ledger.append(kind, body.into_bytes(), parts).unwrap();
        ledger.drive();
        assert!(ticket.result().is_some());
        let crate::tree::Head { size, root } = ledger.durable();
        heads.push(Head {
            size,
            root,
            file: String::new(),
            signers: Vec::new(),
            is_settled: true,
            is_compared: false,
        });
    }
    ledger.close();
    (disk, heads)
}

fn firsts_of(disk: &SimDisk) -> Vec<u64> {
    let names = disk.list().unwrap();
    let mut firsts: Vec<u64> = names.iter().filter_map(|name| parse_segment_name(name)).collect();
    firsts.sort_unstable();
    firsts
}

/// What both ways of looking at a segment say, as text.
fn both(disk: &SimDisk, firsts: &[u64], at: usize, heads: &[Head]) -> (Option<String>, String, bool) {
    let spot = Spot::of(disk, firsts[at], firsts.get(at + 1).copied(), at + 2 >= firsts.len());
    let file = disk.open_read(&segment_name(firsts[at])).unwrap();
    let mut room = Room::default();
    let straight = segment::examine_straight(disk, &*file, &spot, heads, &mut room, &|_| {}).unwrap();
    let whole = segment::examine_whole(disk, &*file, &spot, heads, &mut room, (None, &|_| {})).unwrap();
    let text = |one: &Examined| {
        let (told, gone) = (one.told.iter().map(Told::kept).collect::<Vec<_>>(), one.erasures.all());
        let roots = (
            one.start.clone(),
            one.end.clone(),
            &one.heads,
            &one.findings,
            told,
            gone,
        );
        let counts = (
            (one.named, one.follower, one.first),
            one.next,
            one.records,
            one.parts,
            one.unbound,
            one.gaps,
            one.bytes,
            one.torn,
        );
        let calls = (&one.open, &one.calls, &one.dispute, one.is_end);
        format!("{roots:?} {counts:?} {calls:?} {:?} {:?}", one.abandoned, one.recalled)
    };
    (straight.as_ref().map(text), text(&whole), whole.findings.is_empty())
}

#[test]
fn a_segment_as_its_writer_left_it_is_read_once_and_what_is_said_of_it_is_the_same() {
    let (disk, heads) = long();
    let firsts = firsts_of(&disk);
    assert!(firsts.len() > 2, "{firsts:?}");
    for at in 0..firsts.len() {
        let (straight, whole, holds) = both(&disk, &firsts, at, &heads);
        assert!(holds, "{whole}");
        assert_eq!(straight, Some(whole), "{at}");
    }
    // A root that was signed, and is not that of these records.
    let mut others = heads;
    others[20].root[3] ^= 1;
    let off = (0..firsts.len()).filter(|&at| both(&disk, &firsts, at, &others).0.is_none());
    assert_eq!(off.count(), 1);
}

/// Whatever is changed, where and how: who reads once says nothing of it but that all is to be read.
#[test]
fn what_is_not_as_its_writer_left_it_is_never_taken_for_whole() {
    let (disk, heads) = long();
    let firsts = firsts_of(&disk);
    let places = (0..firsts.len(), any::<prop::sample::Index>(), 0..6_u8, any::<u8>());
    let mut runner = TestRunner::new(ProptestConfig::with_cases(60));
    let done = runner.run(&places, |(at, place, how, byte)| {
        let name = segment_name(firsts[at]);
        let honest = disk.bytes(&name).unwrap();
        let mut bytes = honest.clone();
        let place = place.index(bytes.len());
        match how {
            0 => bytes[place] ^= 1 << (byte % 8),
            1 => bytes[place] = byte,
            2 => bytes.truncate(place),
            3 => bytes.insert(place, byte),
            4 => bytes.extend(vec![byte; 1 + place % 5000]),
            _ => drop(bytes.drain(place..(place + usize::from(byte)).min(honest.len()))),
        }
        let forged = disk.copy(1);
        forged.put(&name, &bytes);
        let (straight, whole, _) = both(&forged, &firsts, at, &heads);
        prop_assert_eq!(straight, (bytes == honest).then_some(whole), "{}", how);
        Ok(())
    });
    done.unwrap();
}
