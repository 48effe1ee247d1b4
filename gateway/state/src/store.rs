//! The database file: opening, versions, transactions, sweeping.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::time::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use crate::StateError;
use crate::seal::SealingKeys;

/// One script for each version; a script is never changed once released.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/0001.sql"),
    include_str!("schema/0002.sql"),
    include_str!("schema/0003.sql"),
    include_str!("schema/0004.sql"),
    include_str!("schema/0005.sql"),
    include_str!("schema/0006.sql"),
    include_str!("schema/0007.sql"),
    include_str!("schema/0008.sql"),
    include_str!("schema/0009.sql"),
    include_str!("schema/0010.sql"),
];
/// "GtSc": marks the file as ours in its header.
const APPLICATION_ID: i64 = 0x4774_5363;

/// Bounds of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sign-in attempts under way, in all.
    pub attempts: u32,
    /// Sign-in attempts under way from one source.
    pub attempts_per_source: u32,
    /// Device codes waiting, in all.
    pub devices: u32,
    /// Device codes waiting from one source.
    pub devices_per_source: u32,
    /// One-time codes not yet expired. Only signed-in people make them, so a full table refuses.
    pub codes: u32,
    /// Live sessions of one subject; the longest unused one ends when another begins.
    pub sessions_per_subject: u32,
    /// Identifiers of logout tokens remembered against replay.
    pub seen: u32,
    /// Locks. Only auditors make them, so a full table refuses.
    pub locks: u32,
    /// Erasures that are asked for. Only auditors ask, so a full table refuses.
    pub erasures: u32,
    /// Legal holds; as for locks.
    pub holds: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts: 10_000,
            attempts_per_source: 256,
            devices: 2_000,
            devices_per_source: 32,
            codes: 10_000,
            sessions_per_subject: 64,
            seen: 50_000,
            locks: 10_000,
            erasures: 1_000,
            holds: 10_000,
        }
    }
}

type Watcher = Box<dyn Fn(u64) + Send>;

/// The store. `Send + Sync`; one writer at a time, each call one transaction.
pub struct Store {
    connection: Mutex<Connection>,
    /// The main file, to be looked through. Opened before the database and closed behind it: the locks that SQLite has on a file end, all of
    /// them, when this process closes the file anywhere.
    pub(crate) file: Option<(PathBuf, File)>,
    /// Held from the destruction of keys until no file has their bytes.
    pub(crate) scrubbing: Mutex<()>,
    pub(crate) keys: SealingKeys,
    pub(crate) limits: Limits,
    revision: AtomicU64,
    watcher: Mutex<Option<Watcher>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("keys", &self.keys)
            .field("limits", &self.limits)
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

/// What [`Store::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Sessions past their end and past the time they are kept.
    pub sessions: usize,
    /// Expired attempts, codes, device codes, replay marks, locks, erasures to which nobody agreed.
    pub short_lived: usize,
    /// Revocations that no token can need any more.
    pub revocations: usize,
}

impl Store {
    /// Opens or creates the file (mode 0600) and brings it to this release's version.
    ///
    /// # Errors
    /// The file cannot be opened, is somebody else's, or was written by a newer release.
    pub fn open(path: &Path, keys: SealingKeys, limits: Limits) -> Result<Self, StateError> {
        let file = create_private(path).map_err(|source| StateError::Open {
            path: path.to_owned(),
            source,
        })?;
        let mut store = Self::prepare(Connection::open(path)?, keys, limits)?;
        store.file = Some((path.to_owned(), file));
        store.scrub_if_due()?;
        Ok(store)
    }

    /// Opens a file that is there and of this release's version, for a program beside the gateway that uses it: its version stays as it is.
    ///
    /// # Errors
    /// There is none, it cannot be opened, is somebody else's, or was written by another release.
    pub fn open_beside(path: &Path, keys: SealingKeys, limits: Limits) -> Result<Self, StateError> {
        // Not one that is made by being looked for.
        File::open(path).map_err(|source| StateError::Open {
            path: path.to_owned(),
            source,
        })?;
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if found < known {
            return Err(StateError::Older { found, known });
        }
        Self::prepare(connection, keys, limits)
    }

    /// A store that ends with the process; for tests and the demo.
    ///
    /// # Errors
    /// The database cannot be made.
    pub fn in_memory(keys: SealingKeys, limits: Limits) -> Result<Self, StateError> {
        Self::prepare(Connection::open_in_memory()?, keys, limits)
    }

    fn prepare(mut connection: Connection, keys: SealingKeys, limits: Limits) -> Result<Self, StateError> {
        connection.busy_timeout(Duration::from_secs(5))?;
        // In-memory databases answer "memory" here; that is fine.
        connection.query_row("PRAGMA journal_mode=WAL", [], |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // A deleted row's bytes are overwritten: an expired secret does not linger in free pages.
        connection.query_row("PRAGMA secure_delete=ON", [], |_| Ok(()))?;
        // What is put aside for a statement, or for writing the file anew, has rows that may be destroyed later: never in a file of its own.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.set_prepared_statement_cache_capacity(64);
        migrate(&mut connection)?;
        let revision: i64 = connection.query_row("SELECT revision FROM meta", [], |row| row.get(0))?;
        Ok(Self {
            connection: Mutex::new(connection),
            file: None,
            scrubbing: Mutex::default(),
            keys,
            limits,
            revision: AtomicU64::new(u64::try_from(revision).unwrap_or(0)),
            watcher: Mutex::new(None),
        })
    }

    /// Whether the database answers. Blocking.
    ///
    /// # Errors
    /// It does not.
    pub fn answers(&self) -> Result<(), StateError> {
        self.read(|connection| {
            Ok(connection
                .query_row("SELECT revision FROM meta", [], |row| row.get::<_, i64>(0))
                .map(drop)?)
        })
    }

    /// The number of the latest end of access. Cheap: no database access.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Calls `watcher` after each change of the revision, with the new one. One watcher; it must not call the store.
    pub fn watch_revision(&self, watcher: impl Fn(u64) + Send + 'static) {
        *self.watcher.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(watcher));
    }

    /// Removes what is past its time. To be called about once a minute.
    ///
    /// # Errors
    /// The database failed.
    pub fn sweep(&self, now: Timestamp) -> Result<SweepReport, StateError> {
        const KEEP: Duration = Duration::from_secs(24 * 3600);
        self.write(|transaction| {
            let now_nanos = now.unix_nanos();
            let gone = |table: &str, column: &str, before: i64| {
                transaction.execute(&format!("DELETE FROM {table} WHERE {column} < ?1"), params![before])
            };
            let sessions = gone("sessions", "absolute_end", now.minus(KEEP).unix_nanos())?;
            let mut short_lived = 0;
            for table in ["attempts", "codes", "devices", "seen"] {
                short_lived += gone(table, "expires_at", now_nanos)?;
            }
            // The sessions that a lock ended are ended by themselves.
            short_lived += gone("locks", "before", now_nanos)?;
            // Whoever asked can still see for a day that it came to nothing. Of one that has begun a record may say that it was done: the next
            // start looks for it as long as it stands here, and nobody does otherwise.
            short_lived += transaction.execute(
                "DELETE FROM erasures WHERE until < ?1 AND begun_at IS NULL",
                params![now.minus(KEEP).unix_nanos()],
            )?;
            Ok(SweepReport {
                sessions,
                short_lived,
                revocations: gone("revocations", "keep_until", now_nanos)?,
            })
        })
    }

    pub(crate) fn read<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StateError>) -> Result<T, StateError> {
        work(&self.connection())
    }

    /// One transaction that took the write lock at its start: what it read is still so when it writes.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let mut connection = self.connection();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&transaction)?;
        let revision: i64 = transaction
            .prepare_cached("SELECT revision FROM meta")?
            .query_row([], |row| row.get(0))?;
        transaction.commit()?;
        self.publish(u64::try_from(revision).unwrap_or(0));
        Ok(value)
    }

    /// Still under the connection's lock, so that watchers see revisions in order.
    fn publish(&self, revision: u64) {
        if self.revision.swap(revision, Ordering::AcqRel) != revision
            && let Some(watcher) = &*self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
        {
            watcher(revision);
        }
    }

    /// A panic inside a transaction rolled it back when it was dropped, so the connection is good to use again.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the file could be opened as a store of this release, without touching it: a gateway may be using it. What is
/// not there yet can be made, and what a write-ahead log still holds is taken for good.
///
/// # Errors
/// The file cannot be read, is another program's, or was written by a newer release.
pub fn inspect(path: &Path) -> Result<(), StateError> {
    let open = |source| StateError::Open {
        path: path.to_owned(),
        source,
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(open(error)),
    };
    let mut header = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(&mut file, 100), &mut header).map_err(open)?;
    if header.is_empty() {
        return Ok(());
    }
    // https://www.sqlite.org/fileformat2.html#the_database_header
    let number = |at: usize| {
        let bytes = header.get(at..at.saturating_add(4))?;
        Some(i64::from(u32::from_be_bytes(bytes.try_into().ok()?)))
    };
    let (Some(version), Some(application), true) = (number(60), number(68), header.starts_with(b"SQLite format 3\0"))
    else {
        return Err(StateError::Foreign { found: 0 });
    };
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if version > known {
        return Err(StateError::Newer { found: version, known });
    }
    if application != 0 && application != APPLICATION_ID {
        return Err(StateError::Foreign { found: application });
    }
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), StateError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    let pragma = |name: &str| transaction.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let (version, application) = (pragma("user_version")?, pragma("application_id")?);
    if version > known {
        return Err(StateError::Newer { found: version, known });
    }
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && tables > 0 {
        return Err(StateError::Foreign { found: application });
    }
    for script in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(0)) {
        transaction.execute_batch(script)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(())
}

/// SQLite gives its side files the mode of the main file, so it is enough to make that one private.
fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).read(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::seal::SealingKey;

    pub(crate) fn test_keys() -> SealingKeys {
        SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![])
    }

    pub(crate) fn test_store() -> Store {
        Store::in_memory(test_keys(), Limits::default()).unwrap()
    }

    /// Migrated and not looked through yet, as where the process ends there.
    pub(crate) fn prepared(path: &Path) -> Store {
        Store::prepare(Connection::open(path).unwrap(), test_keys(), Limits::default()).unwrap()
    }

    /// What the versions after 8 added is not there.
    pub(crate) fn undo_versions_after_8(store: &Store) {
        let undo = "DROP TABLE pseudonyms; DROP TABLE own_words; ALTER TABLE meta DROP COLUMN unproved_from; ALTER TABLE meta DROP COLUMN through_read;";
        store.read(|connection| Ok(connection.execute_batch(undo)?)).unwrap();
    }

    #[test]
    fn a_file_of_a_newer_release_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        drop(Store::open(&path, test_keys(), Limits::default()).unwrap());
        Connection::open(&path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
        let error = Store::open(&path, test_keys(), Limits::default()).unwrap_err();
        assert!(matches!(error, StateError::Newer { found: 99, .. }), "{error}");
        let looked = inspect(&path).unwrap_err();
        assert!(matches!(looked, StateError::Newer { found: 99, .. }), "{looked}");
    }

    #[test]
    fn a_program_beside_the_gateway_neither_makes_a_store_nor_changes_its_version() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let beside = || Store::open_beside(&path, test_keys(), Limits::default());
        assert!(matches!(beside().unwrap_err(), StateError::Open { .. }));
        assert!(!path.exists());
        let gateway = Store::open(&path, test_keys(), Limits::default()).unwrap();
        beside().unwrap();
        let version =
            |connection: &Connection| Ok(connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?);
        for found in [1, 99] {
            let set = |connection: &Connection| Ok(connection.pragma_update(None, "user_version", found)?);
            gateway.read(set).unwrap();
            let error = beside().unwrap_err();
            let is_said = match error {
                StateError::Older { .. } => found == 1,
                StateError::Newer { .. } => found == 99,
                _ => false,
            };
            assert!(is_said, "{error}");
            assert_eq!(gateway.read(version).unwrap(), found);
        }
    }

    #[test]
    fn looking_at_a_store_leaves_every_byte_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let files = || {
            let mut all: Vec<_> = std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| (path.clone(), std::fs::read(path).unwrap()))
                .collect();
            all.sort();
            all
        };
        inspect(&path).unwrap();
        assert_eq!(files(), [], "what is not there is not made");
        let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
        let before = files();
        inspect(&path).unwrap();
        assert_eq!(files(), before);
        drop(store);
        std::fs::write(&path, "no database at all, but long enough to be one").unwrap();
        assert!(matches!(inspect(&path), Err(StateError::Foreign { .. })));
    }

    #[test]
    fn a_database_that_was_taken_away_does_not_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
        store.answers().unwrap();
        Connection::open(&path)
            .unwrap()
            .execute_batch("DROP TABLE meta")
            .unwrap();
        assert!(matches!(store.answers(), Err(StateError::Database(_))));
    }

    #[test]
    fn a_database_of_another_program_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.db");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE cats (name TEXT)")
            .unwrap();
        let error = Store::open(&path, test_keys(), Limits::default()).unwrap_err();
        assert!(matches!(error, StateError::Foreign { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_the_file_and_its_side_files() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state.db"), test_keys(), Limits::default()).unwrap();
        store.sweep(Timestamp::EPOCH).unwrap();
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let entry = entry.unwrap();
            assert_eq!(
                entry.metadata().unwrap().permissions().mode() & 0o077,
                0,
                "{:?}",
                entry.path()
            );
        }
    }

    #[test]
    fn commits_are_synchronous_and_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
        let level: i64 = store
            .read(|c| Ok(c.query_row("PRAGMA synchronous", [], |r| r.get(0))?))
            .unwrap();
        assert_eq!(level, 2, "2 is FULL");
    }
}
