//! Proofs that a leaf is in a tree, and that one tree is the beginning of another: RFC 6962 §2.1.1 and §2.1.2, in the words of
//! RFC 9162 §2.1.3 and §2.1.4. Making one asks a [`Nodes`] for hashes, once; checking one is a pure function.
//!
//! What a proof does **not** bind: the size. Two sizes can share a path (the first leaf of three and of four), and only the
//! root tells them apart. So the checks take a [`Head`], whose size and root come from one place.
//!
//! Invariants of the checks: they hold two hashes and two numbers however long the proof is, never call themselves, and no
//! number of the stranger's can overflow, up to a size of 2⁶⁴ − 1.

use super::{Hash, Head, Node, Nodes, empty_root, node_hash};

/// Why a proof does not hold. The stranger's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is no such leaf in a tree of that size.
    #[error("leaf {index} is not among the {size} leaves of the tree")]
    Outside {
        /// The leaf.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The later tree is the smaller one.
    #[error("the tree shrank from {old} to {new} leaves")]
    Shrunk {
        /// The earlier size.
        old: u64,
        /// The later size.
        new: u64,
    },
    /// Hashes are missing at the proof's end.
    #[error("the proof is too short")]
    TooShort,
    /// The proof goes on above the root.
    #[error("the proof is too long")]
    TooLong,
    /// The hashes lead to another root than the tree's (of two trees: the later one's).
    #[error("the proof does not lead to the tree's root")]
    WrongRoot,
    /// The hashes lead to another root than the earlier tree's.
    #[error("the proof does not lead to the earlier tree's root")]
    WrongOldRoot,
}

/// Why a proof cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E: std::error::Error + 'static> {
    /// There is no such leaf in a tree of that size.
    #[error("leaf {index} is not among the {size} leaves of the tree")]
    Outside {
        /// The leaf.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The later tree is the smaller one.
    #[error("a tree of {new} leaves does not begin with {old}")]
    Shrunk {
        /// The earlier size.
        old: u64,
        /// The later size.
        new: u64,
    },
    /// A hash cannot be had.
    #[error("a hash of the tree cannot be had")]
    Nodes(#[source] E),
    /// Another number of hashes came than was asked for.
    #[error("{asked} hashes of the tree were asked for and {given} came")]
    Count {
        /// Asked for.
        asked: usize,
        /// Given.
        given: usize,
    },
}

/// The proof that leaf `index` is in the tree of `size` leaves: `PATH(index, D[size])` of RFC 6962 §2.1.1, at most 64 hashes.
///
/// # Errors
/// There is no such leaf, or a hash cannot be had.
pub fn inclusion_proof<N: Nodes>(nodes: &N, index: u64, size: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if index >= size {
        return Err(ProveError::Outside { index, size });
    }
    let mut siblings = Vec::new();
    let (mut from, mut to) = (0, size);
    while let Some(middle) = middle(from, to) {
        if index < middle {
            siblings.push((middle, to));
            to = middle;
        } else {
            siblings.push((from, middle));
            from = middle;
        }
    }
    siblings.reverse();
    hashes_of(nodes, &siblings)
}

/// The proof that the tree of `new` leaves begins with that of `old`: `PROOF(old, D[new])` of RFC 6962 §2.1.2. Empty when the
/// two are equal, and when `old` is 0: the empty tree is the beginning of every tree.
///
/// # Errors
/// `old` is larger than `new`, or a hash cannot be had.
pub fn consistency_proof<N: Nodes>(nodes: &N, old: u64, new: u64) -> Result<Vec<Hash>, ProveError<N::Error>> {
    if old > new {
        return Err(ProveError::Shrunk { old, new });
    }
    if old == 0 {
        return Ok(Vec::new());
    }
    let mut ranges = Vec::new();
    let (mut from, mut to) = (0, new);
    while old < to
        && let Some(middle) = middle(from, to)
    {
        if old <= middle {
            ranges.push((middle, to));
            to = middle;
        } else {
            ranges.push((from, middle));
            from = middle;
        }
    }
    // What is left is the last subtree of the earlier tree. Where that is all of it, the checker has its root.
    if from > 0 {
        ranges.push((from, to));
    }
    ranges.reverse();
    hashes_of(nodes, &ranges)
}

/// The root of the tree of `size` leaves.
///
/// # Errors
/// A hash cannot be had.
pub fn root_at<N: Nodes>(nodes: &N, size: u64) -> Result<Hash, ProveError<N::Error>> {
    if size == 0 {
        return Ok(empty_root());
    }
    hashes_of(nodes, &[(0, size)]).map(|hashes| hashes.first().copied().unwrap_or_default())
}

/// Checks that the leaf with this hash stands at `index` in the tree (RFC 9162 §2.1.3.2).
///
/// # Errors
/// It is not shown; see [`ProofError`].
pub fn check_inclusion(leaf: &Hash, index: u64, tree: &Head, proof: &[Hash]) -> Result<(), ProofError> {
    let size = tree.size;
    let Some(last) = size.checked_sub(1).filter(|last| index <= *last) else {
        return Err(ProofError::Outside { index, size });
    };
    let mut climb = Climb { at: index, last };
    let mut root = *leaf;
    for hash in proof {
        root = match climb.step()? {
            Side::Left => node_hash(hash, &root),
            Side::Right => node_hash(&root, hash),
        };
    }
    climb.end()?;
    if root == tree.root {
        Ok(())
    } else {
        Err(ProofError::WrongRoot)
    }
}

/// Checks that the tree `new` begins with the tree `old` (RFC 9162 §2.1.4.2). Of an empty earlier tree the proof is empty, and
/// its root is [`empty_root`].
///
/// # Errors
/// It is not shown; see [`ProofError`].
pub fn check_consistency(old: &Head, new: &Head, proof: &[Hash]) -> Result<(), ProofError> {
    if old.size > new.size {
        return Err(ProofError::Shrunk {
            old: old.size,
            new: new.size,
        });
    }
    let Some(before) = old.size.checked_sub(1).filter(|_| old.size < new.size) else {
        return check_trivial(old, new, proof);
    };
    let mut climb = Climb {
        at: before,
        last: new.size - 1,
    };
    // Up to the last perfect subtree of the earlier tree. Where that is the whole tree, the proof leaves its root out.
    climb.skip(before.trailing_ones());
    let mut rest = proof.iter();
    let begin = if old.size.is_power_of_two() {
        old.root
    } else {
        *rest.next().ok_or(ProofError::TooShort)?
    };
    let (mut old_root, mut new_root) = (begin, begin);
    for hash in rest {
        match climb.step()? {
            Side::Left => {
                old_root = node_hash(hash, &old_root);
                new_root = node_hash(hash, &new_root);
            }
            Side::Right => new_root = node_hash(&new_root, hash),
        }
    }
    climb.end()?;
    if old_root != old.root {
        Err(ProofError::WrongOldRoot)
    } else if new_root != new.root {
        Err(ProofError::WrongRoot)
    } else {
        Ok(())
    }
}

/// Equal sizes, or an empty earlier tree: nothing is to be proved but what is said.
fn check_trivial(old: &Head, new: &Head, proof: &[Hash]) -> Result<(), ProofError> {
    if !proof.is_empty() {
        Err(ProofError::TooLong)
    } else if old.size == 0 && old.root != empty_root() {
        Err(ProofError::WrongOldRoot)
    } else if old.size == new.size && old.root != new.root {
        Err(ProofError::WrongRoot)
    } else {
        Ok(())
    }
}

/// The way from a subtree up to the root: `fn` and `sn` of RFC 9162.
struct Climb {
    /// Where the subtree stands on its level.
    at: u64,
    /// Where the last one of that level stands.
    last: u64,
}

/// On which side of ours the next hash of the proof stands.
enum Side {
    Left,
    Right,
}

impl Climb {
    fn step(&mut self) -> Result<Side, ProofError> {
        if self.last == 0 {
            return Err(ProofError::TooLong);
        }
        if self.at & 1 == 1 {
            self.skip(1);
            Ok(Side::Left)
        } else if self.at == self.last {
            // At the right edge, without a sibling: up to where there is one, on the left. `last` is not zero, nor is `at`.
            self.skip(self.at.trailing_zeros());
            self.skip(1);
            Ok(Side::Left)
        } else {
            self.skip(1);
            Ok(Side::Right)
        }
    }

    fn skip(&mut self, levels: u32) {
        self.at = self.at.checked_shr(levels).unwrap_or(0);
        self.last = self.last.checked_shr(levels).unwrap_or(0);
    }

    fn end(&self) -> Result<(), ProofError> {
        if self.last == 0 {
            Ok(())
        } else {
            Err(ProofError::TooShort)
        }
    }
}

/// Where RFC 6962 divides the leaves `from .. to`: after the largest power of two that is smaller than their number. `None` for
/// one leaf.
fn middle(from: u64, to: u64) -> Option<u64> {
    let less = to.checked_sub(from)?.checked_sub(1)?;
    less.checked_ilog2().map(|height| from + (1 << height))
}

/// The hashes of ranges of leaves, each beginning where a perfect subtree as large as it may begin.
fn hashes_of<N: Nodes>(nodes: &N, ranges: &[(u64, u64)]) -> Result<Vec<Hash>, ProveError<N::Error>> {
    let mut wanted = Vec::new();
    let mut counts = Vec::new();
    for &(from, to) in ranges {
        let before = wanted.len();
        perfect(from, to, &mut wanted);
        counts.push(wanted.len() - before);
    }
    let given = nodes.hashes(&wanted).map_err(ProveError::Nodes)?;
    if given.len() != wanted.len() {
        return Err(ProveError::Count {
            asked: wanted.len(),
            given: given.len(),
        });
    }
    let mut rest = given.as_slice();
    let mut hashes = Vec::new();
    for count in counts {
        let (peaks, after) = rest.split_at_checked(count).unwrap_or_default();
        rest = after;
        let mut peaks = peaks.iter().rev();
        let last = peaks.next().copied().unwrap_or_default();
        hashes.push(peaks.fold(last, |right, left| node_hash(left, &right)));
    }
    Ok(hashes)
}

/// The perfect subtrees of the leaves `from .. to`, largest first.
fn perfect(from: u64, to: u64, out: &mut Vec<Node>) {
    let mut at = from;
    while let Some(height) = to.checked_sub(at).and_then(u64::checked_ilog2) {
        out.push(Node {
            level: u8::try_from(height).unwrap_or(u8::MAX),
            index: at >> height,
        });
        at += 1 << height;
    }
}

#[cfg(test)]
mod tests;
