//! That bytes of a destroyed key are in no file of the database any more.
//!
//! `secure_delete` overwrites a row that is deleted. It does not overwrite the copies that a row leaves behind when its page is rebuilt, and pages
//! that were given back before it was switched on. So the main file is looked through for what was destroyed, and written anew where any of
//! it stands there still. Where that was interrupted, the mark in `meta` says so, and the next opening writes the file anew without looking:
//! what to look for is gone.
//!
//! Not here: blocks of the file system and of the medium that were given back, and copies that somebody else made.

use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use rusqlite::{Connection, Transaction};

use crate::{StateError, Store};

/// So many bytes in a row of a sealed value are a trace of it. Fewer are met by chance.
const TRACE: usize = 8;
/// What each sealed value begins with, and what is the same in all: version and key id.
const HEAD: usize = 5;
/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// What is looked for: each run of [`TRACE`] bytes of what was destroyed.
struct Traces {
    runs: HashSet<[u8; TRACE]>,
    /// Whether a run begins with these two bytes; most places of a file are passed over by this alone.
    begins: Vec<bool>,
}

impl Traces {
    fn of(destroyed: &[Vec<u8>]) -> Self {
        let mut traces = Self {
            runs: HashSet::new(),
            begins: vec![false; 1 << 16],
        };
        let bodies = destroyed.iter().filter_map(|sealed| sealed.get(HEAD..));
        for run in bodies.flat_map(|body| body.windows(TRACE)) {
            let (Ok(run), Some(begin)) = (run.try_into(), begin(run)) else {
                continue;
            };
            traces.runs.insert(run);
            if let Some(place) = traces.begins.get_mut(begin) {
                *place = true;
            }
        }
        traces
    }

    fn are_in(&self, bytes: &[u8]) -> bool {
        bytes.windows(TRACE).any(|run| {
            let may_be = begin(run).and_then(|begin| self.begins.get(begin));
            may_be == Some(&true) && self.runs.contains(run)
        })
    }

    fn are_in_file(&self, file: &File) -> io::Result<bool> {
        let (mut piece, mut at) = (vec![0; PIECE], 0_u64);
        loop {
            let read = file.read_at(&mut piece, at)?;
            if self.are_in(piece.get(..read).unwrap_or_default()) {
                return Ok(true);
            }
            // A run may lie across two pieces.
            let step = read.saturating_sub(TRACE - 1);
            if step == 0 {
                return Ok(false);
            }
            at = at.saturating_add(u64::try_from(step).unwrap_or(u64::MAX));
        }
    }
}

fn begin(run: &[u8]) -> Option<usize> {
    let [first, second, ..] = run else { return None };
    Some(usize::from(u16::from_le_bytes([*first, *second])))
}

/// Marks the files as holding perhaps what this transaction destroys. Gives whether they were marked before.
pub(crate) fn mark(transaction: &Transaction<'_>) -> Result<bool, StateError> {
    let was: bool = transaction.query_row("SELECT scrub_due FROM meta", [], |row| row.get(0))?;
    transaction.execute("UPDATE meta SET scrub_due = 1", [])?;
    Ok(was)
}

impl Store {
    /// Ends the traces of what an earlier run destroyed and did not look for, or an older release.
    pub(crate) fn scrub_if_due(&self) -> Result<(), StateError> {
        let is_due: bool =
            self.read(|connection| Ok(connection.query_row("SELECT scrub_due FROM meta", [], |row| row.get(0))?))?;
        if is_due {
            self.write_anew()?;
            self.unmark()?;
        }
        Ok(())
    }

    /// Empties the log, and writes the main file anew where any of what was destroyed stands in it; also where nobody knows what else was.
    pub(crate) fn scrub(&self, destroyed: &[Vec<u8>], was_marked: bool) -> Result<(), StateError> {
        self.empty_log()?;
        let traces = Traces::of(destroyed);
        if was_marked || self.has_any_of(&traces)? {
            self.write_anew()?;
        }
        if self.has_any_of(&traces)? {
            return Err(StateError::Lingers);
        }
        self.unmark()
    }

    fn has_any_of(&self, traces: &Traces) -> Result<bool, StateError> {
        let Some((path, file)) = &self.file else {
            return Ok(false);
        };
        traces.are_in_file(file).map_err(|source| StateError::Open {
            path: path.clone(),
            source,
        })
    }

    /// All of the database, without what lies between its rows. What it is copied through is in memory (`temp_store`).
    fn write_anew(&self) -> Result<(), StateError> {
        self.read(|connection| Ok(connection.execute_batch("VACUUM")?))?;
        self.empty_log()
    }

    fn unmark(&self) -> Result<(), StateError> {
        self.write(|transaction| Ok(transaction.execute("UPDATE meta SET scrub_due = 0", []).map(drop)?))
    }

    /// Writes everything to the main file and empties the write-ahead log, which has deleted bytes still.
    fn empty_log(&self) -> Result<(), StateError> {
        let empty = |connection: &Connection| {
            Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))?)
        };
        if self.read(empty)? == 0 {
            Ok(())
        } else {
            Err(StateError::Lingers)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::erasure::Erased;
    use model::subject::SubjectId;
    use model::time::Timestamp;

    use super::*;
    use crate::Limits;
    use crate::store::tests::test_keys;

    fn open(folder: &Path) -> Store {
        Store::open(&folder.join("state.db"), test_keys(), Limits::default()).unwrap()
    }

    fn alice() -> SubjectId {
        SubjectId::from_digest([1; 16])
    }

    fn said() -> Erased {
        Erased {
            record: "e".to_owned(),
            at: Timestamp::EPOCH,
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        }
    }

    fn sealed(store: &Store, id: &str) -> Vec<u8> {
        let find = |connection: &Connection| {
            Ok(connection.query_row("SELECT sealed FROM part_keys WHERE id = ?1", [id], |row| row.get(0))?)
        };
        store.read(find).unwrap()
    }

    /// In which files of the folder eight bytes of this in a row stand.
    fn traces_in(folder: &Path, sealed: &[u8]) -> Vec<String> {
        let traces = Traces::of(&[sealed.to_vec()]);
        let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
        let has = files.filter(|file| traces.are_in(&std::fs::read(file.path()).unwrap()));
        has.map(|file| file.file_name().into_string().unwrap()).collect()
    }

    fn is_marked(store: &Store) -> bool {
        let mark =
            |connection: &Connection| Ok(connection.query_row("SELECT scrub_due FROM meta", [], |row| row.get(0))?);
        store.read(mark).unwrap()
    }

    fn run(store: &Store, sql: &str) {
        store.read(|connection| Ok(connection.execute_batch(sql)?)).unwrap();
    }

    /// Leaves a copy of all keys in pages that were given back, as a release without `secure_delete` left them.
    fn leaves_copies(store: &Store) {
        run(
            store,
            "PRAGMA secure_delete=OFF; CREATE TABLE copy AS SELECT * FROM part_keys; DROP TABLE copy; PRAGMA secure_delete=ON;
             PRAGMA wal_checkpoint(TRUNCATE);",
        );
    }

    /// promise_5: the attack reads the files.
    #[test]
    fn promise_5_an_erased_key_is_in_no_file_wherever_its_row_has_been() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::EPOCH);
        let store = open(folder.path());
        let class = |number: usize| format!("recording:{number:04}");
        let ids: Vec<String> = (0..60)
            .map(|number| store.part_key(alice().as_str(), &class(number), now).unwrap().id)
            .collect();
        let bytes: Vec<Vec<u8>> = ids.iter().map(|id| sealed(&store, id)).collect();
        // Rows that grow move inside their page, and from page to page.
        for number in (0..60).step_by(3) {
            let grow = format!(
                "UPDATE part_keys SET retired_at = 9223372036854775807, class = class || '{}' WHERE id = '{}'",
                "x".repeat(10 * number),
                ids[number]
            );
            run(&store, &grow);
        }
        leaves_copies(&store);
        for number in [0, 7, 30, 59] {
            assert!(!traces_in(folder.path(), &bytes[number]).is_empty());
            let key = [(ids[number].clone(), class(number))];
            assert_eq!(store.erased(&alice(), &key, &said(), None).unwrap(), 1);
            assert_eq!(traces_in(folder.path(), &bytes[number]), [""; 0], "key {number}");
            assert!(!is_marked(&store));
        }
        assert!(!traces_in(folder.path(), &bytes[1]).is_empty(), "and of no other");
    }

    /// The process ends between the destruction and the look through the files.
    #[test]
    fn promise_5_what_a_crash_left_of_an_erased_key_is_gone_with_the_next_start() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::EPOCH);
        let (here, there) = (folder.path().join("here"), folder.path().join("there"));
        for folder in [&here, &there] {
            std::fs::create_dir(folder).unwrap();
        }
        let store = open(&here);
        let key = store.part_key(alice().as_str(), "command", now).unwrap();
        let bytes = sealed(&store, &key.id);
        leaves_copies(&store);
        let keys = [(key.id.clone(), "command".to_owned())];
        store.destroy(&alice(), &keys, &said(), None).unwrap();
        // As it lies there now, log and all; a store that is dropped would put its own in order.
        for file in std::fs::read_dir(&here).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), there.join(file.file_name())).unwrap();
        }
        assert!(!traces_in(&there, &bytes).is_empty());
        let after = open(&there);
        assert_eq!(traces_in(&there, &bytes), [""; 0]);
        assert!(!is_marked(&after));
    }

    /// A file of an older release, with what that left; killed in the middle of its migration, too.
    #[test]
    fn promise_5_a_file_of_an_older_release_is_written_anew_once_also_behind_a_migration_that_was_cut_off() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::EPOCH);
        let store = open(folder.path());
        let key = store.part_key(alice().as_str(), "command", now).unwrap();
        let bytes = sealed(&store, &key.id);
        leaves_copies(&store);
        // The row goes as it went there: nothing is marked.
        run(
            &store,
            "PRAGMA secure_delete=OFF; DELETE FROM part_keys; ALTER TABLE meta DROP COLUMN scrub_due; PRAGMA user_version=7;
             PRAGMA wal_checkpoint(TRUNCATE);",
        );
        crate::store::tests::undo_versions_after_8(&store);
        drop(store);
        assert!(!traces_in(folder.path(), &bytes).is_empty());
        // Migrated, and the process ends before the file is written anew.
        let path = folder.path().join("state.db");
        drop(crate::store::tests::prepared(&path));
        assert!(!traces_in(folder.path(), &bytes).is_empty());
        let store = open(folder.path());
        assert_eq!(traces_in(folder.path(), &bytes), [""; 0]);
        assert!(!is_marked(&store));
    }

    #[test]
    fn a_trace_is_found_wherever_it_lies_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let key: Vec<u8> = (0..60).map(|byte| byte ^ 0xa5).collect();
        let traces = Traces::of(std::slice::from_ref(&key));
        for at in [0, 1, PIECE - 30, PIECE - 7, PIECE - 1, PIECE, 2 * PIECE - 8] {
            for len in [TRACE - 1, TRACE] {
                let mut bytes = vec![0; 2 * PIECE + 9];
                bytes[at..at + len].copy_from_slice(&key[20..20 + len]);
                let path = folder.path().join("file");
                std::fs::write(&path, &bytes).unwrap();
                let found = traces.are_in_file(&File::open(&path).unwrap()).unwrap();
                assert_eq!(found, len == TRACE, "{at}, {len}");
            }
        }
        let none = Traces::of(&[]);
        assert!(!none.are_in(&key), "nothing to look for is nowhere");
    }
}
