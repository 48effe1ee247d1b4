//! The append-only ledger: framed records, RFC 6962 leaf hashes, group commit, recovery.
//!
//! A caller appends the body of a record and gets a [`Ticket`]; when that says [`Durable`], the record is on the disk. A
//! call that can change something appends an *intent* and holds an [`OutcomeSlot`] from then on: the place of its outcome, in
//! memory and on the disk, which neither a full queue nor a full disk can take away (promise 4).
//!
//! One writer thread frames, hashes, writes and syncs; whoever arrives during a sync shares the next one. There is no
//! async runtime and no fixed delay here. What lies on the disk is described in [`mod@frame`] and [`mod@segment`].
//!
//! What is durable is signed beside it ([`Publisher`]), somebody else may cosign it ([`mod@witness`]), and [`mod@verify`] checks a ledger from outside, by its files and a public
//! key.
//!
//! What it is not: beyond the pairing of intents with their ends it knows only what records say of the ledger itself (changes of its key, erasures, what was refused or not
//! signed); it deletes no record.
//!
//! Why plain files and an own format: a database's durability is a setting that somebody else decides, and none keeps
//! a Merkle tree over the very bytes that were synced. The price is this crate's own recovery, which therefore is tested by
//! crash rounds on a simulated disk (`sim`, feature `sim`) that loses whatever was not synced.

mod checkpoint;
mod consistency;
pub mod disk;
mod error;
pub mod evidence;
pub mod frame;
mod leaf;
mod ledger;
mod names;
pub mod note;
mod options;
mod parts;
mod publish;
mod queue;
mod reader;
mod receipt;
mod recovery;
pub mod segment;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod span;
pub mod status;
mod ticket;
mod tiles;
mod tree;
pub mod verify;
pub mod witness;
mod writer;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use consistency::{
    Consistency, ConsistencyError, Inconsistent, MAX_CONSISTENCY_LEN, NoConsistency, fuzz_consistency,
};
pub use disk::{Disk, RealDisk};
pub use error::{AppendError, Damage, FillError, FillWhy, OpenError, ReadError};
pub use evidence::fuzz_evidence;
pub use ledger::{Gathering, Ledger};
pub use names::{Names, NotSealed};
pub use note::fuzz_note;
pub use options::Options;
pub use parts::PartsFault;
pub use publish::{Cut, PublishError, Published, Publisher, Tail};
pub use queue::{Counts, OutcomeSlot, Part, Pending};
pub use reader::{Proved as ProvedSpot, Reader, Record, Records, SegmentInfo, Spot, Verified, fuzz_frame_reader};
pub use receipt::{MAX_RECEIPT_LEN, NoReceipt, NotProved, Proved, Receipt, ReceiptError, checkpoints_of, fuzz_receipt};
pub use recovery::{Recovery, Unfinished};
pub use span::{span, spanned};
pub use ticket::{Durable, Lost, Ticket};
pub use tiles::{
    BundleError, ExportError, Exported, NodesWhile, TileKind, TilePath, TilePathError, Tiles, TilesError,
    bundle_entries, fuzz_entry_bundle, fuzz_tile_path,
};
pub use tree::{
    Frontier, Hash, Head, Node, Nodes, ProofError, ProveError, check_consistency, check_inclusion, consistency_proof,
    empty_root, inclusion_proof, leaf_hash, node_hash, root_at,
};
pub use verify::{NEWEST_CHECKPOINT, WITNESSED, fuzz_remote, fuzz_resume};
pub use witness::fuzz_add_checkpoint;

#[cfg(test)]
mod tests;
