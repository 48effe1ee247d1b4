//! Finds records: who did what, from the ledger's own files.
//!
//! - [`Query`] is the small language that people type; [`Fold`] joins the records of one request into a [`Row`].
//! - [`Archive`] is a ledger's folder, with or without the process that writes it; [`Archive::search`] walks it from the
//!   newest record back, [`Archive::show`] finds one act by its id, [`Archive::survey`] counts all that match and says where their
//!   records stand, [`Tail`] follows what comes.
//!
//! It reads and never writes; all it keeps (where blocks of records begin and their times) is derived and can be thrown
//! away. Time and the budget of a search are arguments. There is no async here: callers give it a thread that may block.
//!
//! Invariants:
//! - Nobody sees a record outside the [`Scope`] that was given, not even as a count or as a suggestion.
//! - What is hidden from the default view is counted exactly for the range that was searched, and what was not read is said.
//! - A record that this version cannot read is shown as such and never left out.
//!
//! Why a walk and no index yet: the ledger is ordered by time, so most questions touch its newest blocks only. Columns and
//! text indexes come beside it later and change nothing in what a query means.

mod act;
mod archive;
mod fold;
mod leaf;
mod nearest;
mod query;
mod row;
mod scan;
mod scope;
mod show;
mod survey;
mod tail;
mod view;

pub use archive::{Archive, SearchError};
pub use fold::{Ending, Fold, Piece};
pub use leaf::{Acting, Called, Kept, Passed};
pub use nearest::Nearest;
pub use query::{Key, Query, QueryError, QueryWhy, TimeBound, fuzz_query, read_time};
pub use row::{Call, Decision, Network, Outcome, Row, Who};
pub use scan::{Budget, Hole, Page, Range, Search, Stopped};
pub use scope::{AuditRole, Hides, May, Pseudonyms, Reach, Scope, Sight};
pub use show::{Begun, Found, SealedPart, Shown};
pub use survey::{MOST_MATCHED, Matched, Population, Survey, Surveyed};
pub use tail::Tail;
pub use view::{Busy, Folded, View};
