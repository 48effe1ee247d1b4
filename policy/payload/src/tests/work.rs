//! Reading takes as many steps as a body has bytes, times a little, whatever stands in it: counted, not timed.

use super::generate::{bytes, varint};
use crate::protobuf::Envelope;
use crate::table::TABLE;
use crate::value::{Room, Why};
use crate::{json, yaml};

/// What it is, and one with so many things.
type Hostile = (&'static str, fn(usize) -> Vec<u8>);

/// Bodies that had, or could have, many things to look through for each of many things. The number is of things.
const HOSTILE: [Hostile; 6] = [
    ("distinct fields that no table knows", |n| {
        (0..n).flat_map(|at| varint(1_000 + at as u64, 1)).collect()
    }),
    ("one unknown field again and again", |n| {
        (0..n).flat_map(|_| varint(1_000, 1)).collect()
    }),
    ("strange fields in front of a map", |n| {
        let strange = (0..n / 2).flat_map(|at| varint(1_000 + at as u64, 1));
        strange
            .chain((0..n / 2).flat_map(|at| bytes(2, &bytes(1, format!("{at}").as_bytes()))))
            .collect()
    }),
    ("a map with very many keys", |n| {
        let pair = |at: usize| bytes(2, &bytes(1, format!("{at}").as_bytes()));
        (0..n).rev().flat_map(pair).collect()
    }),
    ("json: keys from the last to the first", |n| {
        let members: Vec<String> = (0..n).rev().map(|at| format!("\"{at:07}\":1")).collect();
        format!("{{{}}}", members.join(",")).into_bytes()
    }),
    ("yaml: one very long line", |n| {
        let members: Vec<String> = (0..n).rev().map(|at| format!("k{at:07}: 1")).collect();
        format!("{{{}}}", members.join(", ")).into_bytes()
    }),
];

/// Steps for that many things; the values and depth that a body may have are those of [`crate::Limits`].
fn steps(what: &str, body: &[u8]) -> (usize, Option<Why>) {
    let limits = crate::Limits::default();
    let mut room = Room::new(limits.values, limits.depth);
    let read = match what.split_once(": ") {
        Some(("json", _)) => json::read(body, &mut room).map(|_| ()),
        Some(("yaml", _)) => yaml::read(body, &mut room).map(|_| ()),
        _ => {
            let types = [bytes(1, b"v1"), bytes(2, b"ConfigMap")].concat();
            let body = [b"k8s\0".to_vec(), bytes(1, &types), bytes(2, body)].concat();
            let envelope = Envelope::open(&body).unwrap();
            let kind = TABLE.kind("v1", "ConfigMap").unwrap();
            envelope.object(kind.message, &mut room).map(|_| ())
        }
    };
    (room.steps, read.err())
}

/// promise_8: nobody takes the gateway's time with a body that is hard to read. Ten times as many things take some ten times as many steps.
#[test]
fn promise_8_no_body_takes_more_steps_than_its_length_and_a_little() {
    for (what, body) in HOSTILE {
        let (few, many) = (body(2_000), body(20_000));
        let ((of_few, why), (of_many, _)) = (steps(what, &few), steps(what, &many));
        assert!(
            matches!(why, None | Some(Why::Malformed)),
            "{what}: {why:?}, so that it is read at all"
        );
        assert!(
            of_many <= 15 * of_few.max(100),
            "{what}: {of_few} steps, then {of_many}"
        );
        // n log n: no more than 20 comparisons for each byte of the smallest thing.
        assert!(
            of_many <= 20 * many.len(),
            "{what}: {of_many} steps for {} bytes",
            many.len()
        );
    }
}
