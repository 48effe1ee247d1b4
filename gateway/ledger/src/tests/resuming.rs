//! A check that is interrupted and gone on with, while somebody changes what was read (promise 5).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};

use super::turning::{Keys, clock, faults, key, simulated, start, turn};
use super::*;
use crate::disk::{Disk, DiskFile};
use crate::options::to_u64;
use crate::segment::{hashes_name, segment_name};
use crate::verify::{Fault, Report, Resume, Trust, verify, verify_resumed};
use crate::{Part, Publisher};

/// A ledger of many segments, with parts, an erasure, and a change of its key.
fn written(keys: &Keys, text: &str) -> SimDisk {
    let disk = SimDisk::new(1);
    for (round, key) in keys.iter().enumerate() {
        let ledger = start(&disk);
        if round > 0 {
            turn(&ledger, &disk, keys).unwrap();
        }
        let signers = vec![Arc::clone(key)];
        let publisher = Publisher::start(&ledger, Arc::new(disk.clone()), None, signers, clock()).unwrap();
        for number in 0..60 {
            let sealed = format!("sealed {number}").into_bytes();
            let said = serde_json::json!({"name": "query", "sealed": Part::digest(&sealed), "key": "k1"});
            let body = format!(
                "{{\"id\":\"{number}\",\"note\":\"{}\",\"parts\":[{said}]}}",
                text.repeat(4000)
            );
            let part = Part { bytes: sealed };
            ledger
                .append(RecordKind::Access, body.into_bytes(), vec![part])
                .unwrap()
                .wait()
                .unwrap();
        }
        let gone = format!(
            "{{\"id\":\"e\",\"erasure\":{{\"what\":\"erased\",\"keys\":[{{\"id\":\"k{round}\",\"class\":\"query\"}}]}}}}"
        );
        ledger
            .append(RecordKind::Erasure, gone.into_bytes(), Vec::new())
            .unwrap()
            .wait()
            .unwrap();
        ledger.close();
        publisher.finish().unwrap();
    }
    disk
}

fn trust(keys: &Keys) -> Trust {
    Trust {
        keys: vec![keys[0].key().clone()],
        remembered: Vec::new(),
    }
}

/// Tells a file by all that stands in it, as a time of change does.
fn by_content(disk: &SimDisk) -> impl Fn(&str, &dyn DiskFile) -> Option<String> + Sync {
    let disk = disk.clone();
    move |name, _| {
        let mut hasher = DefaultHasher::new();
        disk.bytes(name)?.hash(&mut hasher);
        Some(hasher.finish().to_string())
    }
}

/// What is told of a file whose changes leave no trace.
fn by_name(name: &str, _: &dyn DiskFile) -> Option<String> {
    Some(name.to_owned())
}

fn resumed(
    disk: &SimDisk,
    trust: &Trust,
    lines: &str,
    identity: &(dyn Fn(&str, &dyn DiskFile) -> Option<String> + Sync),
) -> (Report, Vec<String>) {
    let kept = Mutex::new(Vec::new());
    let keep = |line: &str| kept.lock().unwrap().push(line.to_owned());
    let resume = Resume::new(lines, identity, &keep);
    let report = verify_resumed(&simulated(disk), trust, 2, &|_| {}, &resume).unwrap();
    let mut kept = kept.into_inner().unwrap();
    kept.sort_by_key(|line| first_of(line));
    (report, kept)
}

fn first_of(line: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["first"]
        .as_u64()
        .unwrap()
}

fn plain(disk: &SimDisk, trust: &Trust) -> Report {
    verify(&simulated(disk), trust, 2, &|_| {}).unwrap()
}

/// As if all had been read now.
fn without_recall(report: &Report) -> Report {
    let recalled = report.recalled.clone();
    Report {
        segments: report.segments + recalled.segments,
        records: report.records + recalled.records,
        parts: report.parts + recalled.parts,
        bytes: report.bytes + recalled.bytes,
        recalled: crate::verify::Recalled::default(),
        ..report.clone()
    }
}

#[test]
fn a_check_that_was_interrupted_anywhere_is_gone_on_with_and_says_the_same_as_one_that_was_not() {
    let keys = [key(), key()];
    let disk = written(&keys, "n");
    let whole = plain(&disk, &trust(&keys));
    assert!(
        whole.is_proved() && whole.turns.len() == 1 && whole.erased.records.len() == 2 && whole.erased.parts == 120,
        "{whole:?}"
    );
    let (first, lines) = resumed(&disk, &trust(&keys), "", &by_content(&disk));
    assert_eq!(first, whole);
    assert_eq!(to_u64(lines.len()) + 1, whole.segments, "all but the newest one");
    assert!(lines.len() > 6, "{}", lines.len());
    for kept in 0..=lines.len() {
        // In any order, and with half a line at the end.
        let mut left: Vec<_> = lines[..kept].iter().rev().map(String::as_str).collect();
        let half = lines.get(kept).map_or("", |line| line.get(..line.len() / 2).unwrap());
        left.push(half);
        let (report, rest) = resumed(&disk, &trust(&keys), &left.join("\n"), &by_content(&disk));
        assert_eq!(without_recall(&report), whole, "{kept}");
        assert_eq!((report.recalled.segments, report.recalled.reread), (to_u64(kept), 0));
        let spans: Vec<_> = (kept > 0)
            .then(|| 0..first_of(lines.get(kept).unwrap_or(&lines[0])).max(1))
            .into_iter()
            .collect();
        if kept < lines.len() {
            assert_eq!(report.recalled.spans, spans, "{kept}");
        }
        assert_eq!(rest, lines[kept..], "and what is read now is left for the next one");
    }
}

/// Every piece behind the place of the interruption, changed by whoever can write the folder.
#[test]
fn promise_5_what_is_changed_behind_the_interruption_is_found_as_if_there_had_been_none() {
    let keys = [key(), key()];
    let disk = written(&keys, "n");
    let (_, lines) = resumed(&disk, &trust(&keys), "", &by_content(&disk));
    let left = lines.join("\n");
    for line in &lines {
        let (first, name) = (first_of(line), segment_name(first_of(line)));
        let honest = disk.bytes(&name).unwrap();
        for at in [honest.len() / 3, honest.len() / 2] {
            let mut changed = honest.clone();
            changed[at] ^= 1;
            disk.put(&name, &changed);
            let (report, _) = resumed(&disk, &trust(&keys), &left, &by_content(&disk));
            let expected = plain(&disk, &trust(&keys));
            assert!(!report.is_proved(), "{first}: {report:?}");
            assert_eq!(report.findings, expected.findings, "{first}");
            assert_eq!(report.recalled.reread, 1);
        }
        disk.put(&name, &honest);
    }
    let (report, _) = resumed(&disk, &trust(&keys), &left, &by_content(&disk));
    assert!(
        report.is_proved() && report.recalled.segments == to_u64(lines.len()),
        "{report:?}"
    );
}

/// Somebody who changes files and leaves no trace, such as who has the disk below: what binds the records is looked at all the same, and what is not read
/// again is named.
#[test]
fn promise_5_without_a_trace_on_the_files_what_leads_to_the_signatures_is_found_and_the_rest_is_named() {
    let keys = [key(), key()];
    let disk = written(&keys, "n");
    let (whole, lines) = resumed(&disk, &trust(&keys), "", &by_name);
    let left = lines.join("\n");
    let line = &lines[2];
    let (first, name) = (first_of(line), segment_name(first_of(line)));
    let honest: BTreeMap<String, Vec<u8>> = [name.clone(), hashes_name(first)]
        .into_iter()
        .map(|name| (name.clone(), disk.bytes(&name).unwrap()))
        .collect();
    let restore = || honest.iter().for_each(|(name, bytes)| disk.put(name, bytes));

    // A record alone: not read again, and that is said.
    let mut changed = honest[&name].clone();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    disk.put(&name, &changed);
    let (report, _) = resumed(&disk, &trust(&keys), &left, &by_name);
    assert!(report.is_proved() && report.recalled.segments == to_u64(lines.len()));
    assert!(
        report.recalled.spans.iter().any(|records| records.contains(&first)),
        "{report:?}"
    );
    assert_eq!(report.segments, 1);
    // Nothing was left of the segment: it is read.
    let others: Vec<_> = lines
        .iter()
        .filter(|other| *other != line)
        .map(String::as_str)
        .collect();
    let (report, _) = resumed(&disk, &trust(&keys), &others.join("\n"), &by_name);
    assert_eq!(report.findings, plain(&disk, &trust(&keys)).findings);
    assert!(!report.is_proved());
    assert!(
        report.recalled.spans.iter().all(|records| !records.contains(&first)),
        "{report:?}"
    );

    // With its hash, its header, or its end: what was left does not lead there, and all of the segment is read.
    let hashes = hashes_name(first);
    let mut other = honest[&hashes].clone();
    other[40] ^= 1;
    disk.put(&hashes, &other);
    let (report, _) = resumed(&disk, &trust(&keys), &left, &by_name);
    assert_eq!((report.is_proved(), report.recalled.reread), (false, 1));
    restore();
    disk.put(&hashes, &honest[&hashes][..64]);
    let (report, _) = resumed(&disk, &trust(&keys), &left, &by_name);
    assert_eq!(report.recalled.reread, 1);
    restore();
    let mut changed = honest[&name].clone();
    changed[20] ^= 1;
    disk.put(&name, &changed);
    let (report, _) = resumed(&disk, &trust(&keys), &left, &by_name);
    assert!(
        !report.is_proved() && report.findings == plain(&disk, &trust(&keys)).findings,
        "{report:?}"
    );
    restore();
    assert_eq!(resumed(&disk, &trust(&keys), &left, &by_name).0.proved, whole.proved);
}

/// Whoever writes what is gone on with, for a ledger of their own making: it leads to no signature.
#[test]
fn promise_5_what_is_left_of_another_history_makes_it_pass_nowhere() {
    let (keys, thieves) = ([key(), key()], [key(), key()]);
    let forged = written(&thieves, "f");
    let (own, lines) = resumed(&forged, &trust(&thieves), "", &by_name);
    assert!(own.is_proved());
    let (report, _) = resumed(&forged, &trust(&keys), &lines.join("\n"), &by_name);
    assert!(
        !report.is_proved() && report.proved == 0 && report.signers.is_empty(),
        "{report:?}"
    );
    // With the true ledger's checkpoints and change beside it.
    let true_disk = written(&keys, "n");
    for name in true_disk
        .list()
        .unwrap()
        .into_iter()
        .filter(|name| name.contains("checkpoint") || name == crate::verify::CHANGES)
    {
        forged.put(&name, &true_disk.bytes(&name).unwrap());
    }
    let (report, _) = resumed(&forged, &trust(&keys), &lines.join("\n"), &by_name);
    assert!(!report.is_proved() && report.proved == 0, "{report:?}");
    assert_eq!(report.findings, plain(&forged, &trust(&keys)).findings);
    // The other way round: what is left of the thief's ledger says nothing of the true one.
    let (report, _) = resumed(&true_disk, &trust(&keys), &lines.join("\n"), &by_name);
    assert!(
        report.is_proved() && report.recalled.segments == 0 && report.recalled.reread > 0,
        "{report:?}"
    );
    assert!(faults(&report).is_empty());
}

/// Whatever is turned in what was left, records whose hashes were changed with them are found.
#[test]
fn whatever_is_turned_in_what_was_left_a_forged_segment_is_found() {
    let keys = [key(), key()];
    let disk = written(&keys, "n");
    let (_, lines) = resumed(&disk, &trust(&keys), "", &by_name);
    let first = first_of(&lines[1]);
    let mut hashes = disk.bytes(&hashes_name(first)).unwrap();
    hashes[3] ^= 1;
    disk.put(&hashes_name(first), &hashes);
    let name = segment_name(first);
    let mut changed = disk.bytes(&name).unwrap();
    let at = changed.len() / 2;
    changed[at] ^= 1;
    disk.put(&name, &changed);
    let left = lines.join("\n");
    for at in (0..left.len()).step_by(101) {
        let mut turned = left.clone().into_bytes();
        turned[at] ^= 1 << (at % 7);
        let (report, _) = resumed(&disk, &trust(&keys), &String::from_utf8_lossy(&turned), &by_name);
        assert!(!report.is_proved(), "byte {at}");
        assert!(
            report.findings.iter().any(|found| !matches!(found.fault, Fault::Turn)),
            "byte {at}"
        );
    }
}
