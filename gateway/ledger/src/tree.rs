//! The Merkle tree of RFC 6962 §2.1 over the leaves: hashes and the incremental frontier. Not proofs, not tiles.
//!
//! Invariant: a [`Frontier`] holds exactly the roots of the perfect subtrees of its size, largest first, so the root is
//! known at every size at a cost of at most 64 hashes, and a push costs two on average.

use aws_lc_rs::digest::{Context, SHA256};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// The hash of a leaf: `SHA-256(0x00 ‖ leaf)`.
#[must_use]
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    digest(&[&[0], leaf])
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    digest(&[&[1], left, right])
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
        let mut node = leaf;
        let mut rest = self.size;
        while rest & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            node = node_hash(&left, &node);
            rest >>= 1;
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root; of the empty tree it is `SHA-256("")`.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => digest(&[]),
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
