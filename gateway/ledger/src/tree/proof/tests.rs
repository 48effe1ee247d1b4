//! Against the definition of RFC 6962, word for word, and against every way to spoil a proof.

use std::collections::HashMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::tree::{Frontier, leaf_hash};

/// `MTH`, `PATH` and `SUBPROOF` of RFC 6962 §2.1, recursive as they stand there, over a range of numbered leaves.
#[derive(Default)]
struct Naive(HashMap<(u64, u64), Hash>);

impl Naive {
    fn root(&mut self, from: u64, to: u64) -> Hash {
        if let Some(known) = self.0.get(&(from, to)) {
            return *known;
        }
        let hash = match to - from {
            0 => empty_root(),
            1 => leaf(from),
            n => {
                let k = from + largest_power_below(n);
                let (left, right) = (self.root(from, k), self.root(k, to));
                node_hash(&left, &right)
            }
        };
        self.0.insert((from, to), hash);
        hash
    }

    fn path(&mut self, m: u64, from: u64, to: u64) -> Vec<Hash> {
        let n = to - from;
        if n == 1 {
            return Vec::new();
        }
        let k = largest_power_below(n);
        let (mut path, other) = if m < k {
            (self.path(m, from, from + k), self.root(from + k, to))
        } else {
            (self.path(m - k, from + k, to), self.root(from, from + k))
        };
        path.push(other);
        path
    }

    fn subproof(&mut self, m: u64, from: u64, to: u64, is_whole: bool) -> Vec<Hash> {
        let n = to - from;
        if m == n {
            return if is_whole {
                Vec::new()
            } else {
                vec![self.root(from, to)]
            };
        }
        let k = largest_power_below(n);
        let (mut proof, other) = if m <= k {
            (self.subproof(m, from, from + k, is_whole), self.root(from + k, to))
        } else {
            (self.subproof(m - k, from + k, to, false), self.root(from, from + k))
        };
        proof.push(other);
        proof
    }

    fn head(&mut self, size: u64) -> Head {
        Head {
            size,
            root: self.root(0, size),
        }
    }
}

fn largest_power_below(n: u64) -> u64 {
    (0..64).map(|bit| 1 << bit).rfind(|power| *power < n).unwrap()
}

fn leaf(index: u64) -> Hash {
    leaf_hash(&index.to_be_bytes())
}

/// Every perfect subtree of a small tree, in memory.
struct Small(Vec<Vec<Hash>>);

impl Small {
    fn new(size: u64) -> Self {
        let mut levels = vec![(0..size).map(leaf).collect::<Vec<_>>()];
        while levels.last().unwrap().len() > 1 {
            let pairs = levels.last().unwrap().chunks_exact(2);
            levels.push(pairs.map(|pair| node_hash(&pair[0], &pair[1])).collect());
        }
        Self(levels)
    }
}

impl Nodes for Small {
    type Error = Infallible;

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Infallible> {
        let of = |node: &Node| self.0[usize::from(node.level)][usize::try_from(node.index).unwrap()];
        Ok(nodes.iter().map(of).collect())
    }
}

/// A tree of any size whose leaves are all alike but one.
struct Vast {
    odd: u64,
    alike: Vec<Hash>,
    with_odd: Vec<Hash>,
}

impl Vast {
    fn new(odd: u64) -> Self {
        let (mut alike, mut with_odd) = (vec![leaf_hash(b"alike")], vec![leaf_hash(b"odd")]);
        for level in 0..63 {
            let (same, other) = (alike[level], with_odd[level]);
            alike.push(node_hash(&same, &same));
            with_odd.push(if odd >> level & 1 == 1 {
                node_hash(&same, &other)
            } else {
                node_hash(&other, &same)
            });
        }
        Self { odd, alike, with_odd }
    }

    fn head(&self, size: u64) -> Head {
        let root = root_at(self, size).unwrap();
        Head { size, root }
    }
}

impl Nodes for Vast {
    type Error = Infallible;

    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Infallible> {
        let of = |node: &Node| {
            let level = usize::from(node.level);
            if self.odd >> level == node.index {
                self.with_odd[level]
            } else {
                self.alike[level]
            }
        };
        Ok(nodes.iter().map(of).collect())
    }
}

#[test]
fn every_proof_up_to_300_leaves_is_that_of_the_rfc_and_holds() {
    let (nodes, mut naive) = (Small::new(300), Naive::default());
    for size in 0..=300 {
        let head = naive.head(size);
        assert_eq!(root_at(&nodes, size).unwrap(), head.root);
        for index in 0..size {
            let proof = inclusion_proof(&nodes, index, size).unwrap();
            assert_eq!(proof, naive.path(index, 0, size), "{index} in {size}");
            assert_eq!(check_inclusion(&leaf(index), index, &head, &proof), Ok(()));
        }
        for old in 0..=size {
            let proof = consistency_proof(&nodes, old, size).unwrap();
            if old > 0 {
                assert_eq!(proof, naive.subproof(old, 0, size, true), "{old} in {size}");
            }
            assert_eq!(check_consistency(&naive.head(old), &head, &proof), Ok(()));
        }
    }
}

#[test]
fn a_proof_shows_one_leaf_at_one_index_in_one_tree() {
    const MOST: u64 = 24;
    let (nodes, mut naive) = (Small::new(MOST), Naive::default());
    for size in 1..=MOST {
        for index in 0..size {
            let proof = inclusion_proof(&nodes, index, size).unwrap();
            for (other, of) in (0..=MOST).flat_map(|other| (1..=MOST).map(move |of| (other, of))) {
                let tree = naive.head(of);
                let holds = |leaf_of| check_inclusion(&leaf(leaf_of), other, &tree, &proof).is_ok();
                let what = format!("{index} of {size} as {other} of {of}");
                assert_eq!(holds(index), (other, of) == (index, size), "{what}");
                assert!(other == index || !holds(other), "{what}");
            }
        }
    }
}

#[test]
fn a_consistency_proof_shows_one_pair_of_trees() {
    const MOST: u64 = 20;
    let (nodes, mut naive) = (Small::new(MOST), Naive::default());
    let pairs = || (1..=MOST).flat_map(|new| (1..=new).map(move |old| (old, new)));
    for (old, new) in pairs() {
        let proof = consistency_proof(&nodes, old, new).unwrap();
        for (first, second) in pairs() {
            let holds = check_consistency(&naive.head(first), &naive.head(second), &proof).is_ok();
            // An empty proof says nothing more than that two trees are the same, and each is the same as itself.
            let is_same = proof.is_empty() && first == second;
            assert_eq!(
                holds,
                (first, second) == (old, new) || is_same,
                "{old}, {new} as {first}, {second}"
            );
        }
    }
}

/// Every way to spoil a proof: a bit, a hash dropped, doubled, swapped with another, or one more.
fn spoilt(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for place in 0..proof.len() {
        for bit in 0..256 {
            let mut other = proof.to_vec();
            other[place][bit / 8] ^= 1 << (bit % 8);
            all.push(other);
        }
        let mut dropped = proof.to_vec();
        let hash = dropped.remove(place);
        all.push(dropped);
        for second in place + 1..proof.len() {
            let mut swapped = proof.to_vec();
            swapped.swap(place, second);
            all.push(swapped);
        }
        let mut doubled = proof.to_vec();
        doubled.insert(place, hash);
        all.push(doubled);
    }
    for place in 0..=proof.len() {
        for extra in [[0; 32], [0xff; 32]] {
            let mut longer = proof.to_vec();
            longer.insert(place, extra);
            all.push(longer);
        }
    }
    all
}

#[test]
fn every_spoilt_proof_is_refused() {
    let (nodes, mut naive) = (Small::new(64), Naive::default());
    for size in (1..=9).chain([15, 16, 17, 33, 64]) {
        let head = naive.head(size);
        for index in 0..size {
            let proof = inclusion_proof(&nodes, index, size).unwrap();
            for (n, bad) in spoilt(&proof).iter().enumerate() {
                let result = check_inclusion(&leaf(index), index, &head, bad);
                assert!(result.is_err(), "{index} of {size}, way {n}");
            }
        }
        for old in 0..=size {
            let proof = consistency_proof(&nodes, old, size).unwrap();
            for (n, bad) in spoilt(&proof).iter().enumerate() {
                let result = check_consistency(&naive.head(old), &head, bad);
                assert!(result.is_err(), "{old} to {size}, way {n}");
            }
        }
    }
}

#[test]
fn every_refusal_says_what_is_wrong() {
    let (nodes, mut naive) = (Small::new(13), Naive::default());
    let (old, new) = (naive.head(6), naive.head(13));
    let proof = inclusion_proof(&nodes, 4, 13).unwrap();
    let inclusion = |index, tree: &Head, proof: &[Hash]| check_inclusion(&leaf(4), index, tree, proof).unwrap_err();
    assert_eq!(inclusion(13, &new, &proof), ProofError::Outside { index: 13, size: 13 });
    assert_eq!(
        inclusion(0, &naive.head(0), &proof),
        ProofError::Outside { index: 0, size: 0 }
    );
    assert_eq!(inclusion(4, &new, &proof[..3]), ProofError::TooShort);
    assert_eq!(
        inclusion(4, &new, &[&proof[..], &proof[..1]].concat()),
        ProofError::TooLong
    );
    assert_eq!(inclusion(5, &new, &proof), ProofError::WrongRoot);
    let proof = consistency_proof(&nodes, 6, 13).unwrap();
    let consistency = |old: &Head, new: &Head, proof: &[Hash]| check_consistency(old, new, proof).unwrap_err();
    assert_eq!(consistency(&new, &old, &proof), ProofError::Shrunk { old: 13, new: 6 });
    assert_eq!(consistency(&old, &new, &[]), ProofError::TooShort);
    assert_eq!(consistency(&old, &new, &proof[..2]), ProofError::TooShort);
    assert_eq!(
        consistency(&old, &new, &[&proof[..], &proof[..1]].concat()),
        ProofError::TooLong
    );
    let forged = Head { root: [1; 32], ..old };
    assert_eq!(consistency(&forged, &new, &proof), ProofError::WrongOldRoot);
    let forged = Head { root: [1; 32], ..new };
    assert_eq!(consistency(&old, &forged, &proof), ProofError::WrongRoot);
    assert_eq!(consistency(&new, &forged, &[]), ProofError::WrongRoot);
    assert_eq!(consistency(&new, &new, &proof), ProofError::TooLong);
    let empty = naive.head(0);
    assert_eq!(consistency(&empty, &new, &proof), ProofError::TooLong);
    let forged = Head { size: 0, root: [1; 32] };
    assert_eq!(consistency(&forged, &new, &[]), ProofError::WrongOldRoot);
}

#[test]
fn what_cannot_be_proved_is_refused_when_asked_for() {
    struct Mute;
    impl Nodes for Mute {
        type Error = Infallible;
        fn hashes(&self, _: &[Node]) -> Result<Vec<Hash>, Infallible> {
            Ok(Vec::new())
        }
    }
    let nodes = Small::new(5);
    assert_eq!(
        inclusion_proof(&nodes, 5, 5).unwrap_err().to_string(),
        "leaf 5 is not among the 5 leaves of the tree"
    );
    assert_eq!(
        consistency_proof(&nodes, 5, 4).unwrap_err().to_string(),
        "a tree of 4 leaves does not begin with 5"
    );
    assert_eq!(
        inclusion_proof(&Mute, 0, 5).unwrap_err().to_string(),
        "3 hashes of the tree were asked for and 0 came"
    );
}

/// From `google/certificate-transparency`'s test data: eight known leaves, and proofs in their tree.
#[test]
fn the_known_proofs_of_certificate_transparency_come_out() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let mut levels = vec![inputs.map(|input| leaf_hash(&hex::decode(input).unwrap())).to_vec()];
    while levels.last().unwrap().len() > 1 {
        let pairs = levels.last().unwrap().chunks_exact(2);
        levels.push(pairs.map(|pair| node_hash(&pair[0], &pair[1])).collect());
    }
    let nodes = Small(levels);
    let shown = |proof: Vec<Hash>| proof.iter().map(hex::encode).collect::<Vec<_>>();
    assert_eq!(
        hex::encode(root_at(&nodes, 8).unwrap()),
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    );
    assert_eq!(
        shown(inclusion_proof(&nodes, 0, 8).unwrap()),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    assert_eq!(
        shown(consistency_proof(&nodes, 6, 8).unwrap()),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
}

#[test]
fn the_largest_trees_have_proofs_that_hold_at_the_edges() {
    const EDGES: [u64; 7] = [
        1,
        (1 << 62) + 1,
        (1 << 63) - 1,
        1 << 63,
        (1 << 63) + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    for size in EDGES {
        for odd in [0, 1, size / 2, size - 1] {
            let odd = odd.min(size - 1);
            let nodes = Vast::new(odd);
            let head = nodes.head(size);
            let proof = inclusion_proof(&nodes, odd, size).unwrap();
            assert_eq!(check_inclusion(&leaf_hash(b"odd"), odd, &head, &proof), Ok(()));
            assert!(check_inclusion(&leaf_hash(b"odd"), odd ^ 1, &head, &proof).is_err());
            for old in EDGES.into_iter().filter(|old| *old <= size) {
                let proof = consistency_proof(&nodes, old, size).unwrap();
                assert_eq!(
                    check_consistency(&nodes.head(old), &head, &proof),
                    Ok(()),
                    "{old} to {size}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn random_larger_trees_have_proofs_that_hold_and_no_other_does(
        size in 1_u64.., odd: u64, old: u64, bit in 0_usize..256, place: prop::sample::Index, other: u64
    ) {
        let (odd, old) = (odd % size, old % size + 1);
        let nodes = Vast::new(odd);
        let head = nodes.head(size);
        let proof = inclusion_proof(&nodes, odd, size).unwrap();
        let odd_leaf = leaf_hash(b"odd");
        prop_assert_eq!(check_inclusion(&odd_leaf, odd, &head, &proof), Ok(()));
        prop_assert_eq!(check_inclusion(&odd_leaf, other % size, &head, &proof).is_ok(), other % size == odd);
        let consistent = consistency_proof(&nodes, old, size).unwrap();
        let before = nodes.head(old);
        prop_assert_eq!(check_consistency(&before, &head, &consistent), Ok(()));
        for (proof, is_inclusion) in [(proof, true), (consistent, false)] {
            if proof.is_empty() {
                continue;
            }
            let mut bad = proof.clone();
            bad[place.index(proof.len())][bit / 8] ^= 1 << (bit % 8);
            let result = if is_inclusion {
                check_inclusion(&odd_leaf, odd, &head, &bad)
            } else {
                check_consistency(&before, &head, &bad)
            };
            prop_assert!(result.is_err());
        }
    }

    #[test]
    fn no_numbers_and_no_hashes_of_a_stranger_make_a_check_panic(
        index: u64, old: u64, new: u64, proof in prop::collection::vec(any::<Hash>(), 0..80)
    ) {
        let head = |size| Head { size, root: [7; 32] };
        prop_assert!(check_inclusion(&[7; 32], index, &head(new), &proof).is_err() || new == 1);
        prop_assert!(check_consistency(&head(old), &head(new), &proof).is_err() || old == new);
    }

    #[test]
    fn the_roots_are_those_of_the_frontier(size in 0_u64..2_000) {
        let (nodes, mut frontier) = (Small::new(size.max(1)), Frontier::default());
        (0..size).for_each(|index| frontier.push(leaf(index)));
        prop_assert_eq!(root_at(&nodes, size).unwrap(), frontier.root());
    }
}
