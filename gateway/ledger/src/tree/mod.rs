//! The Merkle tree of RFC 6962 §2.1 over the leaves: hashes, the incremental frontier, proofs. It knows no file: where the
//! hashes of a stored tree come from is the [`Nodes`] trait's matter (`tiles` is one answer).
//!
//! Invariant: a [`Frontier`] holds exactly the roots of the perfect subtrees of its size, largest first, so the root is
//! known at every size at a cost of at most 64 hashes, and a push costs two on average.

mod proof;

use aws_lc_rs::digest::{Context, SHA256, digest as digest_of};

pub use proof::{
    ProofError, ProveError, check_consistency, check_inclusion, consistency_proof, inclusion_proof, root_at,
};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// A tree: how many leaves, and its root. The two belong together, since a root alone does not say its size: whoever checks a
/// proof takes both from the same place, such as one signed checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many leaves; of a ledger, how many records are durable.
    pub size: u64,
    /// The tree's root at that size.
    pub root: Hash,
}

impl Head {
    /// The last leaf's number; `None` when there is none.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.size.checked_sub(1)
    }
}

/// A perfect subtree: the one over the leaves `index << level .. (index + 1) << level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its height; 0 is a leaf's hash.
    pub level: u8,
    /// Its place among the perfect subtrees of that height, from the left.
    pub index: u64,
}

/// A stored tree: whoever can say the hashes of its perfect subtrees.
pub trait Nodes {
    /// Why a hash cannot be had.
    type Error: std::error::Error + Send + Sync + 'static;
    /// The hashes of these subtrees, in their order. All that one proof needs is asked for at once, so that what lies side by
    /// side can be read at once.
    ///
    /// # Errors
    /// One of them cannot be had.
    fn hashes(&self, nodes: &[Node]) -> Result<Vec<Hash>, Self::Error>;
}

/// The hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    digest(&[&[0], leaf])
}

/// The hash of a leaf that stands behind a zero byte: the prefix that RFC 6962 hashes with it is there already, so nothing is
/// copied and nothing allocated. `None` where the first byte is no zero.
pub(crate) fn leaf_hash_behind_zero(zero_and_leaf: &[u8]) -> Option<Hash> {
    (*zero_and_leaf.first()? == 0).then(|| sha256(zero_and_leaf))
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    // In one piece: a hash that is fed piece by piece is an allocation each, which costs as much as hashing 65 bytes.
    let mut bytes = [1; 65];
    let pairs = bytes
        .last_chunk_mut::<64>()
        .and_then(|rest| rest.split_at_mut_checked(32));
    if let Some((first, second)) = pairs {
        first.copy_from_slice(left);
        second.copy_from_slice(right);
    }
    sha256(&bytes)
}

/// The root of the tree without leaves: `SHA-256("")`.
#[must_use]
pub fn empty_root() -> Hash {
    digest(&[])
}

/// SHA-256 of these bytes, as they stand.
pub(crate) fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest_of(&SHA256, bytes).as_ref());
    hash
}

fn digest(pieces: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    for piece in pieces {
        context.update(piece);
    }
    let mut hash = Hash::default();
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The roots of the perfect subtrees of a tree of some size, largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// Puts a stored frontier together again; `None` when the number of hashes cannot belong to the size.
    #[must_use]
    pub fn from_parts(size: u64, peaks: Vec<Hash>) -> Option<Self> {
        let expected = usize::try_from(size.count_ones()).ok()?;
        (peaks.len() == expected).then_some(Self { size, peaks })
    }

    /// How many leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// Adds the hash of the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _| {});
    }

    /// As [`Frontier::push`]; also says each perfect subtree that the leaf completes, lowest first: its height (from 1) and hash.
    pub(crate) fn push_with(&mut self, leaf: Hash, mut completed: impl FnMut(u32, &Hash)) {
        let mut node = leaf;
        let (mut rest, mut height) = (self.size, 0);
        while rest & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            (rest, height) = (rest >> 1, height + 1);
            completed(height, &node);
        }
        self.peaks.push(node);
        // A size may be a stranger's, who wrote 2^64 - 1: what comes behind that leads to nothing that was signed, and is no end of the process.
        self.size = self.size.saturating_add(1);
    }

    /// The root; of the empty tree it is `SHA-256("")`.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }

    /// Takes the value of `other` without a new allocation.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.size = other.size;
        self.peaks.clone_from(&other.peaks);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 6962 §2.1 word for word.
    fn naive(leaves: &[Vec<u8>]) -> Hash {
        match leaves {
            [] => digest(&[]),
            [leaf] => leaf_hash(leaf),
            _ => {
                let split = leaves.len().next_power_of_two() / 2;
                node_hash(&naive(&leaves[..split]), &naive(&leaves[split..]))
            }
        }
    }

    proptest! {
        #[test]
        fn a_leaf_behind_a_zero_has_the_hash_of_the_leaf(leaf in prop::collection::vec(any::<u8>(), 0..300), before: u8) {
            let bytes = [&[before], leaf.as_slice()].concat();
            let expected = (before == 0).then(|| leaf_hash(&leaf));
            prop_assert_eq!(leaf_hash_behind_zero(&bytes), expected);
            prop_assert_eq!(leaf_hash_behind_zero(&[&[0], leaf.as_slice()].concat()), Some(leaf_hash(&leaf)));
        }

        #[test]
        fn the_frontier_has_the_root_of_rfc_6962_at_every_size(
            leaves in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..70)
        ) {
            let mut frontier = Frontier::default();
            prop_assert_eq!(frontier.root(), naive(&[]));
            for (index, leaf) in leaves.iter().enumerate() {
                frontier.push(leaf_hash(leaf));
                prop_assert_eq!(frontier.root(), naive(&leaves[..=index]));
                let again = Frontier::from_parts(frontier.size(), frontier.peaks().to_vec());
                prop_assert_eq!(again.as_ref(), Some(&frontier));
            }
        }
    }

    #[test]
    fn known_roots_of_the_certificate_transparency_test_vectors_come_out() {
        let leaves: [&[u8]; 3] = [b"", b"\x00", b"\x10"];
        let expected = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        ];
        let mut frontier = Frontier::default();
        for (leaf, root) in leaves.iter().zip(expected) {
            frontier.push(leaf_hash(leaf));
            assert_eq!(hex::encode(frontier.root()), root);
        }
    }

    #[test]
    fn a_frontier_with_the_wrong_number_of_hashes_is_refused() {
        assert_eq!(Frontier::from_parts(3, vec![[0; 32]]), None);
    }
}
