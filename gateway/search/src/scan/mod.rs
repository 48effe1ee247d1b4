//! What is searched for, how much it may cost, and the answer. The search itself is in [`walk`].

mod holes;
mod tip;
mod walk;

use std::time::Duration;

use model::time::Timestamp;
use serde::{Serialize, Serializer};

pub use holes::Hole;
pub(crate) use holes::Holes;
pub(crate) use tip::{Tip, tip};
use walk::Walk;

use crate::archive::{Archive, SearchError};
use crate::nearest::Nearest;
use crate::query::Query;
use crate::row::Row;
use crate::scope::Scope;
use crate::view::{Folded, View};

/// How wrong a clock may have been between two records next to each other.
pub(crate) const CLOCK_SLACK: Duration = Duration::from_secs(3_600);
/// What is looked for.
#[derive(Clone, Debug)]
pub struct Search<'q> {
    /// What is asked.
    pub query: &'q Query,
    /// Whose records may be seen.
    pub scope: &'q Scope,
    /// How they are shown.
    pub view: View,
    /// At most so many rows.
    pub limit: usize,
    /// Only what is older than this sequence number: [`Page::next`] of the page before.
    pub after: Option<u64>,
    /// Now: what relative times mean, and what the lag is measured from.
    pub now: Timestamp,
}

/// How much a search may cost.
pub struct Budget<'b> {
    /// Bytes of records that are read.
    pub bytes: u64,
    /// Asked at each block of about 1,000 records; `false` ends the search with what it has.
    pub go_on: &'b mut dyn FnMut() -> bool,
}

impl std::fmt::Debug for Budget<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stopped {
    /// All that was asked for was looked at.
    Complete,
    /// There are rows enough; more may follow.
    Limit,
    /// Time or bytes were used up; more may follow.
    Budget,
}

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// The earliest; absent when there is no record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The latest.
    pub to: Timestamp,
}

/// The answer to a search.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The rows, newest first.
    #[serde(rename = "records")]
    pub rows: Vec<Row>,
    /// `own`, `roles` or `all`.
    pub scope: &'static str,
    /// What else is to be said, in sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What was looked at; all counts are for it.
    pub range: Range,
    /// How old the newest durable record is; absent when there is none.
    #[serde(
        rename = "lag_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "seconds"
    )]
    pub lag: Option<Duration>,
    /// Pass it as `after` to go on; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// Why it ended.
    pub stopped: Stopped,
    /// What was found and is not shown.
    pub folded: Folded,
    /// When nothing was found: names like those that were asked for.
    pub nearest: Vec<Nearest>,
    /// Acts whose end was asked about and not read.
    #[serde(skip_serializing_if = "is_zero")]
    pub unread_ends: u64,
    /// What could not be read of what was looked at, by the numbers of its records; the rows lack it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holes: Vec<Hole>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Records that were read.
    #[serde(skip)]
    pub read: u64,
}

fn seconds<S: Serializer>(lag: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(lag.unwrap_or_default().as_secs())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it by reference")]
const fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Archive {
    /// Searches. Blocks for as long as the budget lets it.
    ///
    /// # Errors
    /// The folder cannot be read. Damage on the way is told in [`Page::holes`], beside what could be read.
    pub fn search(&self, search: &Search<'_>, budget: Budget<'_>) -> Result<Page, SearchError> {
        let reader = self.reader()?;
        let mut walk = Walk::new(self, reader, search, budget);
        walk.run();
        Ok(walk.page())
    }
}

impl Page {
    /// What a reader of the rows must know besides them.
    pub(crate) fn sentences(&self, of_scope: Option<String>) -> Option<String> {
        let mut said = Vec::from_iter(of_scope);
        let public = if self.folded.public > 0 {
            " or by the public"
        } else {
            ""
        };
        if self.rows.is_empty() && self.folded.total() > 0 {
            said.push(format!(
                "All {} that were found are discovery, made by programs{public}, or traces of searches; `--all` shows them.",
                self.folded.total()
            ));
        } else if self.rows.is_empty() && self.stopped == Stopped::Complete {
            let readable = if self.holes.is_empty() {
                ""
            } else {
                " of what can be read"
            };
            said.push(format!("Nothing was found in this range{readable}."));
        }
        if self.stopped == Stopped::Budget {
            said.push("The search ended early because it took too long; older records were not looked at.".to_owned());
        }
        if self.unread_ends > 0 {
            said.push(format!(
                "How {} calls ended was not looked up, so they were not compared with what you ask about their end or the name of \
                 what they made.",
                self.unread_ends
            ));
        }
        if let Some(trouble) = &self.trouble {
            said.push(format!("Part of the ledger cannot be read: {trouble}."));
        }
        (!said.is_empty()).then(|| said.join(" "))
    }
}

/// An error with its causes.
pub(crate) fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}
