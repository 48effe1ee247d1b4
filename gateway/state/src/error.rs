//! What can go wrong in the store, by whose fault it is.

use std::path::PathBuf;

/// A failure of the store itself. What a client did wrong is a value of the call's result, not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be created or opened.
    #[error("the state file `{path}` cannot be opened")]
    Open {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The database refused: disk full, locked, broken.
    #[error("the state database failed")]
    Database(#[from] rusqlite::Error),
    /// A newer release wrote this file.
    #[error(
        "the state file has version {found}, this release knows versions up to {known}; start the newer release again or restore a copy"
    )]
    Newer {
        /// The version in the file.
        found: i64,
        /// The newest known.
        known: i64,
    },
    /// An older release wrote this file, and it is not to be changed now.
    #[error(
        "the state file has version {found}, and this release works with version {known}: use the release that the gateway runs, or start the gateway of this one first"
    )]
    Older {
        /// The version in the file.
        found: i64,
        /// The one of this release.
        known: i64,
    },
    /// Another program's database.
    #[error("the file is a database, but not one of Gatescribe (application id {found:#x})")]
    Foreign {
        /// What stands in the file.
        found: i64,
    },
    /// A sealed value does not open: other key, or changed, or moved from another row.
    #[error("a sealed value in table `{table}` does not open with the configured keys")]
    Sealed {
        /// Where.
        table: &'static str,
    },
    /// A row holds what this release never writes.
    #[error("a row in table `{table}` is not readable: {what}")]
    Row {
        /// Where.
        table: &'static str,
        /// Which value.
        what: &'static str,
    },
    /// A table is at its bound and holds nothing that may be dropped.
    #[error("table `{table}` is full ({limit} rows): try again when some have expired")]
    Full {
        /// Which table.
        table: &'static str,
        /// Its bound.
        limit: u32,
    },
    /// Another program reads the database, so that the log beside it could not be emptied: it may still have what was destroyed.
    #[error("another program reads the state file, so that what was destroyed may still stand in the log beside it")]
    Lingers,
    /// The system's random number generator failed.
    #[error("the system gives no random numbers")]
    Random,
}
