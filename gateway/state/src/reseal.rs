//! Another key in the place of the one that seals: whatever the keys before it sealed is sealed anew, all of it or nothing.

use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::{StateError, Store, part_key};

/// What was sealed anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Values that are sealed under the current key now: tokens of sessions, keys of parts.
    pub values: usize,
    /// Sign-ins that were under way: what they keep is bound to a secret that only the caller has, so that they have to begin again.
    pub interrupted: usize,
    /// Values that no key here opens. They are left as they are, and nobody can read them.
    pub unopened: usize,
}

/// A column of sealed values.
struct Column {
    /// The table.
    table: &'static str,
    /// Its name.
    name: &'static str,
    /// What the values are bound to, beside the row's `id`.
    bound_to: &'static str,
}

const COLUMNS: [Column; 3] = [
    Column {
        table: "sessions",
        name: "tokens",
        bound_to: "sessions",
    },
    Column {
        table: "sessions",
        name: "rotation_reply",
        bound_to: "handles",
    },
    Column {
        table: part_key::TABLE,
        name: "sealed",
        bound_to: part_key::TABLE,
    },
];

/// What is under way, and is begun again: `?1` is the id of the key that seals, which stands behind the version.
const UNDER_WAY: [&str; 3] = [
    "DELETE FROM attempts WHERE substr(payload, 2, 4) <> ?1",
    "DELETE FROM codes WHERE substr(payload, 2, 4) <> ?1",
    "UPDATE devices SET status = 'waiting', browser_hash = NULL, pending = NULL
     WHERE pending IS NOT NULL AND substr(pending, 2, 4) <> ?1",
];

impl Store {
    /// Seals with the current key what a previous one has sealed, in one transaction. Afterwards a previous key opens nothing here, and can go. Done again,
    /// it finds nothing to do. Blocking; a row at a time is in memory.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn reseal(&self) -> Result<Resealed, StateError> {
        let id = self.keys.current_id();
        self.write(|transaction| {
            let mut done = Resealed::default();
            for column in COLUMNS {
                self.reseal_column(transaction, &column, &id, &mut done)?;
            }
            for under_way in UNDER_WAY {
                done.interrupted += transaction.execute(under_way, params![id])?;
            }
            Ok(done)
        })
    }

    fn reseal_column(
        &self,
        transaction: &Transaction<'_>,
        column: &Column,
        current: &[u8],
        done: &mut Resealed,
    ) -> Result<(), StateError> {
        let Column { table, name, bound_to } = column;
        let next = format!(
            "SELECT id, {name} FROM {table} WHERE id > ?1 AND {name} IS NOT NULL AND substr({name}, 2, 4) <> ?2
             ORDER BY id LIMIT 1"
        );
        let put = format!("UPDATE {table} SET {name} = ?2 WHERE id = ?1");
        let (mut next, mut put) = (transaction.prepare(&next)?, transaction.prepare(&put)?);
        let mut id = String::new();
        loop {
            let row = next.query_row(params![id, current], |row| Ok((row.get(0)?, row.get(1)?)));
            let Some((row, sealed)): Option<(String, Vec<u8>)> = row.optional()? else {
                return Ok(());
            };
            id = row;
            match self.keys.open(bound_to, &id, &sealed) {
                Ok(plain) => {
                    put.execute(params![id, self.keys.seal(bound_to, &id, &plain)?])?;
                    done.values += 1;
                }
                Err(_) => done.unopened += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::time::Timestamp;

    use super::*;
    use crate::{Limits, SealingKey, SealingKeys};

    fn keys(byte: u8, previous: &[u8]) -> SealingKeys {
        let key = |byte| SealingKey::new(&[byte; 32]).unwrap();
        SealingKeys::new(key(byte), previous.iter().map(|byte| key(*byte)).collect())
    }

    fn open(file: &Path, byte: u8, previous: &[u8]) -> Store {
        Store::open(file, keys(byte, previous), Limits::default()).unwrap()
    }

    /// Sessions and keys of parts, some of them out of use, and sign-ins that are under way.
    fn fill(store: &Store) -> Vec<Vec<u8>> {
        let now = Timestamp::EPOCH;
        for subject in 0..40 {
            store.part_key(&format!("subject {subject}"), "command", now).unwrap();
        }
        store.retire_part_keys(None, now).unwrap();
        for subject in 0..40 {
            store.part_key(&format!("subject {subject}"), "command", now).unwrap();
        }
        let sealed = |table: &'static str, row: &str| store.keys.seal(table, row, row.as_bytes()).unwrap();
        store
            .write(|transaction| {
                for number in 0..40 {
                    let id = format!("session {number}");
                    transaction.execute(
                        "INSERT INTO sessions (id, subject_id, issuer, subject, provider, identity, client, source, tokens, tokens_version, checked_at,
                           created_at, last_used_at, idle_nanos, idle_end, absolute_end, generation, rotation_reply)
                         VALUES (?1, 's', 'i', 's', 'p', '{}', 'c', 'a', ?2, 1, 0, 0, 0, 0, 0, 0, 1, ?3)",
                        params![id, sealed("sessions", &id), (number % 2 == 0).then(|| sealed("handles", &id))],
                    )?;
                }
                transaction.execute(
                    "INSERT INTO attempts VALUES (x'01', x'02', 'a', ?1, 0, 9)",
                    params![sealed("attempts", "secret")],
                )?;
                transaction.execute(
                    "INSERT INTO codes (code_hash, session_id, payload, created_at, expires_at) VALUES (x'01', 's', ?1, 0, 9)",
                    params![sealed("codes", "secret")],
                )?;
                transaction.execute(
                    "INSERT INTO devices (device_hash, user_hash, source, asked_by, status, browser_hash, pending, interval_s, created_at, expires_at)
                     VALUES (x'01', x'02', 'a', 'd', 'asking', x'03', ?1, 5, 0, 9)",
                    params![sealed("devices", "secret")],
                )?;
                Ok(())
            })
            .unwrap();
        values(store)
    }

    /// What is sealed, as it opens.
    fn values(store: &Store) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for Column { table, name, bound_to } in COLUMNS {
            let rows: Vec<(String, Vec<u8>)> = store
                .read(|connection| {
                    let mut rows = connection.prepare(&format!(
                        "SELECT id, {name} FROM {table} WHERE {name} IS NOT NULL ORDER BY id"
                    ))?;
                    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                    Ok(rows.collect::<Result<_, _>>()?)
                })
                .unwrap();
            all.extend(
                rows.iter()
                    .map(|(id, sealed)| store.keys.open(bound_to, id, sealed).unwrap()),
            );
        }
        all
    }

    #[test]
    fn what_a_key_sealed_opens_under_the_next_one_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.sqlite");
        let plain = fill(&open(&file, 1, &[]));
        assert_eq!(plain.len(), 40 + 20 + 80);
        let store = open(&file, 2, &[1]);
        let done = Resealed {
            values: 140,
            interrupted: 3,
            unopened: 0,
        };
        assert_eq!(store.reseal().unwrap(), done);
        assert_eq!(store.reseal().unwrap(), Resealed::default(), "once");
        let device = store.read(|connection| {
            let row = "SELECT status, browser_hash IS NULL, pending IS NULL FROM devices";
            Ok(connection.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
        });
        let asks_again: (String, bool, bool) = ("waiting".to_owned(), true, true);
        assert_eq!(device.unwrap(), asks_again, "whoever waits at a device is asked again");
        // What begins under the current key is nobody's to interrupt.
        let begun = store.keys.seal("attempts", "attempts", b"secret").unwrap();
        store
            .write(|transaction| {
                transaction.execute(
                    "INSERT INTO attempts VALUES (x'01', x'02', 'a', ?1, 0, 9)",
                    params![begun],
                )?;
                Ok(())
            })
            .unwrap();
        assert_eq!(store.reseal().unwrap(), Resealed::default(), "and it goes on");
        drop(store);
        assert_eq!(values(&open(&file, 2, &[])), plain);
    }

    /// The columns are named here, and a table that is made later would be forgotten: its values would be lost with the key.
    #[test]
    fn every_column_that_is_sealed_is_known_here() {
        let store = crate::store::tests::test_store();
        let blobs: Vec<String> = store
            .read(|connection| {
                let mut rows = connection.prepare(
                    "SELECT m.name || '.' || c.name FROM sqlite_schema m, pragma_table_info(m.name) c
                     WHERE m.type = 'table' AND c.type = 'BLOB' AND c.name NOT LIKE '%hash' ORDER BY 1",
                )?;
                let rows = rows.query_map([], |row| row.get(0))?;
                Ok(rows.collect::<Result<_, _>>()?)
            })
            .unwrap();
        assert_eq!(
            blobs,
            [
                "attempts.payload",
                "codes.payload",
                "devices.pending",
                "own_words.digest",
                "part_keys.sealed",
                "sessions.rotation_key",
                "sessions.rotation_reply",
                "sessions.tokens",
            ],
            "of these `rotation_key` and `digest` alone are no sealed values but hashes"
        );
    }

    #[test]
    fn what_breaks_off_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.sqlite");
        let plain = fill(&open(&file, 1, &[]));
        for (table, column) in [
            ("sessions", "tokens"),
            ("sessions", "rotation_reply"),
            ("part_keys", "sealed"),
        ] {
            let store = open(&file, 2, &[1]);
            let fails = format!(
                "CREATE TRIGGER fails BEFORE UPDATE OF {column} ON {table}
                 WHEN (SELECT count(*) FROM {table} WHERE id < NEW.id) = 17 BEGIN SELECT RAISE(ABORT, 'broken'); END"
            );
            store
                .write(|transaction| Ok(transaction.execute_batch(&fails)?))
                .unwrap();
            store.reseal().unwrap_err();
            store
                .write(|transaction| Ok(transaction.execute_batch("DROP TRIGGER fails")?))
                .unwrap();
            drop(store);
            assert_eq!(
                values(&open(&file, 1, &[])),
                plain,
                "{table}.{column}: the key before opens all of it"
            );
        }
    }

    #[test]
    fn what_no_key_opens_is_left_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state.sqlite");
        let lost = open(&file, 9, &[])
            .part_key("lost", "command", Timestamp::EPOCH)
            .unwrap()
            .bytes;
        let plain = {
            let store = open(&file, 1, &[]);
            store.part_key("here", "command", Timestamp::EPOCH).unwrap().bytes
        };
        let done = open(&file, 2, &[1]).reseal().unwrap();
        assert_eq!((done.values, done.unopened), (1, 1));
        let store = open(&file, 2, &[]);
        assert_eq!(
            store.part_key("here", "command", Timestamp::EPOCH).unwrap().bytes,
            plain
        );
        assert!(store.part_key("lost", "command", Timestamp::EPOCH).is_err());
        drop(store);
        // It is left as it was: whoever finds its key again reads it.
        assert_eq!(
            open(&file, 2, &[9])
                .part_key("lost", "command", Timestamp::EPOCH)
                .unwrap()
                .bytes,
            lost
        );
    }
}
