//! What was asked and counted, and the sample that was drawn. JSON with these members alone; what vouches for it are its very bytes.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{Context, SHA256};
use model::time::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::tree::sha256;

/// The longest statement that is read, in bytes: the numbers of 100,000 acts, and those of the records of 2,000.
pub const MAX_STATEMENT_LEN: usize = 4 << 20;
/// The most acts of a population: no gateway counts more one by one.
pub const MAX_POPULATION: usize = 100_000;
/// This form of statements.
const VERSION: u8 = 1;

/// Why bytes are no statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotAStatement {
    /// No JSON, or not with these members.
    #[error("the statement is no JSON of the form that is known here")]
    Form,
    /// A later form.
    #[error("the statement is of version {0}, which this program does not know: update gatescribe")]
    Version(u8),
}

/// What was asked and counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Statement {
    /// The form: 1.
    pub v: u8,
    /// When it was made, by the clock of who made it.
    pub made: Timestamp,
    /// Which program made it.
    pub tool: String,
    /// As it was asked, with its bounds in time.
    pub query: String,
    /// The bounds as they were understood: from this time on. Absent: from the beginning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Timestamp,
    /// Among whose records: `all`, or `own`.
    pub scope: String,
    /// Whose, where it is `own`: the subject's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<String>,
    /// The records that were read; absent where only one's own may be counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub read: Option<Span>,
    /// How many acts.
    pub acts: Counts,
    /// How some of those that matched were drawn; absent where all are here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sample: Option<Sample>,
    /// The records of each act that is here, by their numbers; the first one began it.
    pub records: Vec<Vec<u64>>,
}

/// Records that follow one another without a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// The first.
    pub first: u64,
    /// The first behind the last.
    pub end: u64,
    /// How many of them have a time within the bounds.
    pub within: u64,
}

/// Acts: calls, sessions, refusals, and records that stand for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// That began within the bounds, and may be seen by who asked.
    pub range: u64,
    /// Those of them that the query asks for: the population.
    pub matched: u64,
    /// Those of them that are here.
    pub packed: u64,
}

/// A sample, and from what it was drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// So many were asked for.
    pub size: u64,
    /// What decides which.
    pub seed: String,
    /// All that matched, by the numbers of the records that began them.
    pub population: Vec<u64>,
}

impl Statement {
    /// This form.
    pub const VERSION: u8 = VERSION;

    /// Reads a statement.
    ///
    /// # Errors
    /// [`NotAStatement`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NotAStatement> {
        #[derive(Deserialize)]
        struct Only {
            v: u8,
        }
        if bytes.len() > MAX_STATEMENT_LEN {
            return Err(NotAStatement::Form);
        }
        let Only { v } = serde_json::from_slice(bytes).map_err(|_| NotAStatement::Form)?;
        if v != VERSION {
            return Err(NotAStatement::Version(v));
        }
        serde_json::from_slice(bytes).map_err(|_| NotAStatement::Form)
    }

    /// The bytes that are vouched for.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // No map with other keys than text is in it, so there is nothing that could fail.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Characters of a seed.
pub const MAX_SEED: usize = 64;

/// Whether a sample may be drawn by this seed: letters, digits, `-`, `_`, `.`, so that it can be said on the telephone.
#[must_use]
pub fn is_seed(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=MAX_SEED).contains(&text.len()) && text.bytes().all(plain)
}

/// What the ledger's own record of a statement ends with.
#[must_use]
pub fn told(statement: &[u8]) -> String {
    format!("statement sha256:{}", hex::encode(sha256(statement)))
}

/// Draws `size` of the population: those whose `SHA-256("gatescribe.dev/evidence sample v1\n" ‖ seed ‖ "\n" ‖ number)` are the
/// smallest, in the order of their numbers. Whoever has the seed and the population draws the same, with any SHA-256.
#[must_use]
pub fn draw(seed: &str, population: &[u64], size: u64) -> Vec<u64> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut ranked: Vec<_> = population.iter().map(|seq| (rank(seed, *seq), *seq)).collect();
    ranked.sort_unstable();
    ranked.truncate(size);
    let drawn: BTreeSet<u64> = ranked.into_iter().map(|(_, seq)| seq).collect();
    drawn.into_iter().collect()
}

fn rank(seed: &str, seq: u64) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"gatescribe.dev/evidence sample v1\n");
    context.update(seed.as_bytes());
    context.update(b"\n");
    context.update(seq.to_string().as_bytes());
    context.finish().as_ref().try_into().unwrap_or_default()
}
