//! Backups of the keys of parts and recordings, encrypted to whoever keeps them: the gateway itself cannot open them again.
//!
//! A backup is lines of JSON in a file of the public format [age](https://age-encryption.org/v1), so that any age program opens it, too. It
//! has the keys, whose traces stand under whose keys, when it was made, and how many records the ledger had then. Anybody who knows a recipient can write
//! such a file. So its last line is a signed note over all lines before; whose key has to sign it, is for whoever makes and takes backups: here is no ledger.
//! Version 1 had no such line.
//!
//! Invariant: a key that was erased does not come back ([`Store::restore_part_keys`]): neither one that the store knows to be erased, nor
//! one that the ledger's records name.

mod age;
mod bech32;

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::erasure::session_of;
use model::subject::SubjectId;
use model::time::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

pub use self::age::{Identity, Recipient, Unopened};
use crate::part_key::TABLE;
use crate::traces::keep_read;
use crate::{StateError, Store};

/// That which is written.
const VERSION: u32 = 2;
/// That which nobody signed.
const UNSIGNED: u32 = 1;

/// What a backup has.
#[derive(Clone, PartialEq, Eq)]
pub struct Backup {
    /// When it was made.
    pub made: Timestamp,
    /// How many records the ledger had then, at least.
    pub records: u64,
    version: u32,
    keys: Vec<Kept>,
    through: Vec<Through>,
    note: Option<String>,
}

impl std::fmt::Debug for Backup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backup({} keys, {})", self.keys.len(), self.made)
    }
}

/// One key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: String,
    subject: SubjectId,
    class: String,
    /// Nanoseconds since the epoch.
    made: i64,
    /// Its 32 bytes, base64.
    key: String,
}

/// Who acted as whom, see [`Store::acts_through`].
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Through {
    subject: SubjectId,
    user: String,
    origin: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "camelCase", deny_unknown_fields)]
enum Line {
    PartKeys {
        version: u32,
        /// Nanoseconds since the epoch.
        made: i64,
        records: u64,
    },
    Key(Kept),
    Through(Through),
    Signed {
        note: String,
    },
}

/// Why a backup is not read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not open.
    #[error(transparent)]
    Unopened(#[from] Unopened),
    /// It was not written by this program.
    #[error("it holds no backup of keys: line {line} is not understood")]
    Content {
        /// Which line, from 1.
        line: usize,
    },
    /// Its last line is missing.
    #[error("it is not whole: its last line, which signs all before, is missing: take another copy of it")]
    Cut,
    /// A newer release wrote it.
    #[error("it was written by a newer release (version {found}, this one knows {})", VERSION)]
    Newer {
        /// The version in it.
        found: u32,
    },
}

impl Backup {
    /// How many keys it has.
    #[must_use]
    pub const fn keys(&self) -> usize {
        self.keys.len()
    }

    /// SHA-256 of all lines but the one that signs them.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        digest(&SHA256, self.contents()?.as_bytes()).as_ref().try_into().ok()
    }

    /// The signed note, unproved; `None` before it is signed, and of version 1.
    #[must_use]
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// The same with this signed note over its [`digest`](Self::digest).
    #[must_use]
    pub fn signed(self, note: String) -> Self {
        Self {
            version: VERSION,
            note: Some(note),
            ..self
        }
    }

    /// The file: each recipient alone can open it. `None`: it is not signed, there is no recipient, or cryptography says no.
    #[must_use]
    pub fn sealed(&self, recipients: &[Recipient]) -> Option<Vec<u8>> {
        age::seal(self.written()?.as_bytes(), recipients)
    }

    /// Opens and reads a file, whole or not at all.
    ///
    /// # Errors
    /// By whose fault, see [`BackupError`].
    pub fn open(file: &[u8], identities: &[Identity]) -> Result<Self, BackupError> {
        Self::read(&age::open(file, identities)?)
    }

    fn written(&self) -> Option<String> {
        let mut text = self.contents()?;
        match &self.note {
            Some(note) => push(&mut text, &Line::Signed { note: note.clone() })?,
            None if self.version == UNSIGNED => {}
            None => return None,
        }
        Some(text)
    }

    fn contents(&self) -> Option<String> {
        let head = Line::PartKeys {
            version: self.version,
            made: self.made.unix_nanos(),
            records: self.records,
        };
        let keys = self.keys.iter().cloned().map(Line::Key);
        let through = self.through.iter().cloned().map(Line::Through);
        let mut text = String::new();
        for line in std::iter::once(head).chain(keys).chain(through) {
            push(&mut text, &line)?;
        }
        Some(text)
    }

    fn read(plain: &[u8]) -> Result<Self, BackupError> {
        let not_understood = |line| BackupError::Content { line };
        let text = std::str::from_utf8(plain).map_err(|_| not_understood(1))?;
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let head = serde_json::from_str(head).map_err(|_| newer(head).unwrap_or(not_understood(1)))?;
        let Line::PartKeys { version, made, records } = head else {
            return Err(not_understood(1));
        };
        match version {
            UNSIGNED..=VERSION => {}
            newer if newer > VERSION => return Err(BackupError::Newer { found: newer }),
            _ => return Err(not_understood(1)),
        }
        let mut backup = Self {
            made: Timestamp::from_unix_nanos(made),
            records,
            version,
            keys: Vec::new(),
            through: Vec::new(),
            note: None,
        };
        for (at, line) in (2..).zip(lines) {
            match serde_json::from_str(line) {
                Ok(Line::Key(kept)) if bytes_of(&kept).is_some() => backup.keys.push(kept),
                Ok(Line::Through(through)) => backup.through.push(through),
                Ok(Line::Signed { note }) if version != UNSIGNED && backup.note.is_none() => backup.note = Some(note),
                _ => return Err(not_understood(at)),
            }
        }
        if version == UNSIGNED {
            return Ok(backup);
        }
        // What is signed can be written in one way alone, also the order of its lines.
        let written = backup.written().ok_or(BackupError::Cut)?;
        if written != text {
            let same = written.split('\n').zip(text.split('\n'));
            return Err(not_understood(same.take_while(|(one, other)| one == other).count() + 1));
        }
        Ok(backup)
    }
}

fn push(text: &mut String, line: &Line) -> Option<()> {
    text.push_str(&serde_json::to_string(line).ok()?);
    text.push('\n');
    Some(())
}

/// Of a first line that this release does not read: whether it is a newer one's.
fn newer(line: &str) -> Option<BackupError> {
    #[derive(Deserialize)]
    struct Head {
        is: String,
        version: u32,
    }
    let head: Head = serde_json::from_str(line).ok()?;
    (head.is == "partKeys" && head.version > VERSION).then_some(BackupError::Newer { found: head.version })
}

fn bytes_of(kept: &Kept) -> Option<[u8; 32]> {
    STANDARD.decode(&kept.key).ok()?.try_into().ok()
}

/// What became of the keys of a backup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// They are here again.
    pub restored: usize,
    /// They were here.
    pub known: usize,
    /// They were erased and stay so.
    pub erased: usize,
}

impl Store {
    /// All keys of parts and recordings that are here, not signed yet. `records` is how many the ledger has.
    ///
    /// # Errors
    /// The database failed, a row is unreadable, or a key does not open.
    pub fn back_up_part_keys(&self, records: u64, now: Timestamp) -> Result<Backup, StateError> {
        let mut backup = Backup {
            made: now,
            records,
            version: VERSION,
            keys: Vec::new(),
            through: Vec::new(),
            note: None,
        };
        let bad = |table, what| StateError::Row { table, what };
        self.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT id, subject_id, class, created_at, sealed FROM part_keys ORDER BY id")?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let (id, subject, sealed): (String, String, Vec<u8>) = (row.get(0)?, row.get(1)?, row.get(4)?);
                backup.keys.push(Kept {
                    subject: SubjectId::parse(&subject).ok_or(bad(TABLE, "subject_id"))?,
                    class: row.get(2)?,
                    made: row.get(3)?,
                    key: STANDARD.encode(self.keys.open(TABLE, &id, &sealed)?),
                    id,
                });
            }
            let mut select = connection.prepare_cached(
                "SELECT subject_id, user_name, origin FROM acted_through ORDER BY subject_id, origin",
            )?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                backup.through.push(Through {
                    subject: SubjectId::parse(&row.get::<_, String>(0)?).ok_or(bad("acted_through", "subject_id"))?,
                    user: row.get(1)?,
                    origin: row.get(2)?,
                });
            }
            Ok(())
        })?;
        Ok(backup)
    }

    /// Puts the keys of a backup back that are not here, but none that was erased: neither one of `erased`, the names that stand in the
    /// ledger's records, nor one that the store itself knows of. Those of parts open what they sealed, and seal nothing more.
    ///
    /// # Errors
    /// The database failed: nothing changed.
    pub fn restore_part_keys(
        &self,
        backup: &Backup,
        erased: &HashSet<String>,
        now: Timestamp,
    ) -> Result<Restored, StateError> {
        self.write(|transaction| {
            let mut done = Restored::default();
            for kept in &backup.keys {
                let is_erased = transaction
                    .prepare_cached("SELECT 1 FROM erased_keys WHERE id = ?1")?
                    .exists(params![kept.id])?;
                if is_erased || erased.contains(&kept.id) {
                    done.erased += 1;
                    continue;
                }
                let bytes = bytes_of(kept).ok_or(StateError::Sealed { table: TABLE })?;
                let sealed = self.keys.seal(TABLE, &kept.id, &bytes)?;
                // A recording has one key, in use as long as there is the recording.
                let retired = session_of(&kept.class).is_none().then(|| now.unix_nanos());
                let is_new = transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO part_keys (id, subject_id, class, sealed, created_at, retired_at)
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![
                        kept.id,
                        kept.subject.as_str(),
                        kept.class,
                        sealed,
                        kept.made,
                        retired
                    ])?;
                done.restored += is_new;
                done.known += 1 - is_new;
            }
            // Those who acted since the backup was made stand in the ledger alone.
            if done.restored > 0 {
                keep_read(transaction, 0)?;
            }
            for Through { subject, user, origin } in &backup.through {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO acted_through (subject_id, user_name, origin) VALUES (?1, ?2, ?3)",
                    )?
                    .execute(params![subject.as_str(), user, origin])?;
            }
            Ok(done)
        })
    }
}

/// Entry for the fuzzer: foreign bytes are no backup, and what is read as one is written as it was read.
///
/// # Panics
/// What is written is read as something else.
#[expect(clippy::expect_used, reason = "a fuzz target panics where what must hold does not")]
pub fn fuzz_key_backup(data: &[u8]) {
    let identity = Identity::parse("AGE-SECRET-KEY-1FJJHFAY0KWM8CRP2CVQTZ79XUQYMRER02Z6SQ07MDZNJMDAPE7MSM9J60Q");
    let _ = Backup::open(data, &Vec::from_iter(identity));
    let _ = std::str::from_utf8(data).map(|text| (Recipient::parse(text), Identity::parse_file(text)));
    if let Ok(backup) = Backup::read(data) {
        let written = backup.written().expect("what was read can be written");
        let again = Backup::read(written.as_bytes()).expect("what was written can be read");
        assert!(again == backup, "a backup is read as it was written");
        let is_same = written.as_bytes() == data;
        assert!(
            is_same || backup.version == UNSIGNED,
            "what is signed is written in one way"
        );
    }
}

#[cfg(test)]
mod tests {
    use model::erasure::{Erased, recording_class};

    use super::age::tests::pair;
    use super::*;
    use crate::store::tests::test_store;

    fn alice() -> SubjectId {
        SubjectId::from_digest([1; 16])
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    /// A store with a key out of use, one in use and one of a recording; and its backup, as it comes out of the file.
    fn backed_up() -> (Store, Backup) {
        let store = test_store();
        store.part_key(alice().as_str(), "query", at(1)).unwrap();
        store.retire_part_keys(None, at(2)).unwrap();
        store.part_key(alice().as_str(), "query", at(3)).unwrap();
        store.part_key(alice().as_str(), &recording_class("s"), at(4)).unwrap();
        store.acts_through(&alice(), "alice", "carol").unwrap();
        let (identity, recipient) = pair(1);
        let backup = store.back_up_part_keys(7, at(5)).unwrap();
        assert!(
            backup.sealed(std::slice::from_ref(&recipient)).is_none(),
            "nobody has signed it"
        );
        let file = backup.signed(NOTE.to_owned()).sealed(&[recipient]).unwrap();
        let backup = Backup::open(&file, &[identity]).unwrap();
        assert_eq!((backup.keys(), backup.records, backup.made), (3, 7, at(5)));
        assert_eq!(backup.note(), Some(NOTE));
        (store, backup)
    }

    const NOTE: &str = "a text\n\n\u{2014} somebody AAAAAAAA\n";
    /// As releases before version 2 wrote it.
    const OLDER: &str = include_str!("version-1.json");
    /// As it is written now.
    const SIGNED: &str = include_str!("version-2.json");

    fn ids(store: &Store) -> Vec<String> {
        let keys = store.part_keys_of(&alice()).unwrap();
        keys.into_iter().map(|key| key.id).collect()
    }

    #[test]
    fn what_is_put_back_opens_what_it_sealed_and_seals_nothing_more() {
        let (old, backup) = backed_up();
        let new = test_store();
        new.through_is_read().unwrap();
        let done = new.restore_part_keys(&backup, &HashSet::new(), at(9)).unwrap();
        assert_eq!((done.restored, done.known, done.erased), (3, 0, 0));
        assert_eq!(ids(&new), ids(&old));
        for id in ids(&old) {
            let key = |store: &Store| store.part_key_named(alice().as_str(), &id).unwrap().unwrap().bytes;
            assert_eq!(key(&new), key(&old));
        }
        assert!(
            new.find_part_key(alice().as_str(), "query").unwrap().is_none(),
            "out of use"
        );
        assert!(
            new.find_part_key(alice().as_str(), &recording_class("s"))
                .unwrap()
                .is_some()
        );
        assert_eq!(new.origins_of(&alice()).unwrap(), ["carol"]);
        assert_eq!(
            new.through_read().unwrap(),
            Some(0),
            "who acted since then stands in the ledger alone"
        );
        let again = new.restore_part_keys(&backup, &HashSet::new(), at(9)).unwrap();
        assert_eq!((again.restored, again.known), (0, 3));
    }

    #[test]
    fn promise_5_what_was_erased_since_does_not_come_back_from_a_backup() {
        let (store, backup) = backed_up();
        let all = ids(&store);
        let said = Erased {
            record: "e".to_owned(),
            at: at(6),
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        };
        // One that the store knows of, one that only the ledger's records name.
        let class = "query".to_owned();
        store.erased(&alice(), &[(all[0].clone(), class)], &said, None).unwrap();
        let named = HashSet::from([all[2].clone()]);
        let done = store.restore_part_keys(&backup, &named, at(9)).unwrap();
        assert_eq!((done.restored, done.known, done.erased), (0, 1, 2));
        assert_eq!(
            ids(&store),
            [all[1].clone(), all[2].clone()],
            "nothing is destroyed by it either"
        );
        let new = test_store();
        let named: HashSet<String> = all.iter().cloned().collect();
        let done = new.restore_part_keys(&backup, &named, at(9)).unwrap();
        assert_eq!((done.restored, done.erased), (0, 3));
        assert!(ids(&new).is_empty());
    }

    #[test]
    fn what_is_no_backup_is_refused_whole_and_says_where() {
        let (_, backup) = backed_up();
        let good = backup.written().unwrap();
        let said = |text: &str| Backup::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(said(""), "it holds no backup of keys: line 1 is not understood");
        assert_eq!(
            said(&format!("{good}{{\"is\":\"key\"}}\n")),
            "it holds no backup of keys: line 7 is not understood"
        );
        assert!(said(&good.replace("\"class\"", "\"klass\"")).contains("line 2"));
        assert!(said(&good.lines().skip(1).collect::<Vec<_>>().join("\n")).contains("line 1"));
        let newer = good.replacen("\"version\":2", "\"version\":3", 1);
        let told = "it was written by a newer release (version 3, this one knows 2)";
        assert_eq!(said(&newer), told);
        let newer = newer.replacen("\"records\"", "\"sizes\"", 1);
        assert_eq!(said(&newer), told);
        let none = good.replacen("\"version\":2", "\"version\":0", 1);
        assert_eq!(said(&none), "it holds no backup of keys: line 1 is not understood");
        let short = good.replacen("\"key\":\"", "\"key\":\"AAAA", 1);
        assert!(said(&short).contains("line 2"), "a key has 32 bytes");
        fuzz_key_backup(good.as_bytes());
    }

    #[test]
    fn what_is_signed_is_read_in_one_way_and_each_bit_of_it_changes_what_was_signed() {
        let (_, backup) = backed_up();
        let good = backup.written().unwrap();
        let last = good.trim_end().rfind('\n').unwrap() + 1;
        let (contents, signed) = good.split_at(last);
        let digest_of = digest(&SHA256, contents.as_bytes());
        assert_eq!(
            backup.digest().unwrap(),
            digest_of.as_ref(),
            "of the bytes that stand there"
        );
        let refused = |text: &str| Backup::read(text.as_bytes()).unwrap_err();
        assert_eq!(
            refused(contents).to_string(),
            "it is not whole: its last line, which signs all before, is missing: take another copy of it"
        );
        let (head, rest) = contents.split_once('\n').unwrap();
        for text in [
            format!("{good}{signed}"),
            format!("{head}\n{signed}{rest}"),
            good.replace('\n', "\r\n"),
            good.replacen("{\"is\"", "{ \"is\"", 1),
            good.trim_end().to_owned(),
            format!("{good}\n"),
            good.replacen("\"version\":2", "\"version\":1", 1),
        ] {
            assert!(matches!(refused(&text), BackupError::Content { .. }), "{text}");
        }
        for at in 0..contents.len() {
            for bit in 0..8 {
                let mut bytes = good.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let other = Backup::read(&bytes);
                assert!(
                    other.is_err() || other.unwrap().digest() != backup.digest(),
                    "bit {bit} of byte {at}"
                );
            }
        }
    }

    #[test]
    fn what_an_earlier_release_wrote_is_read_and_is_known_to_be_signed_by_nobody() {
        let backup = Backup::read(OLDER.as_bytes()).unwrap();
        assert_eq!((backup.keys(), backup.records, backup.note()), (1, 7, None));
        assert_eq!(backup.written().unwrap(), OLDER, "frozen");
        let (identity, recipient) = pair(1);
        let file = backup.sealed(&[recipient]).unwrap();
        assert!(Backup::open(&file, &[identity]).unwrap() == backup);
    }

    /// The note is over these very bytes: another writing of the same would be signed by nobody.
    #[test]
    fn what_is_signed_is_read_and_written_byte_for_byte_as_it_has_been_since_version_2() {
        let backup = Backup::read(SIGNED.as_bytes()).unwrap();
        assert_eq!((backup.keys(), backup.records, backup.note()), (2, 7, Some(NOTE)));
        assert_eq!(backup.written().unwrap(), SIGNED, "frozen");
        let told = backup.digest().unwrap().map(|byte| format!("{byte:02x}")).concat();
        assert_eq!(told, "5342b65f4e442e94beb014576eb4bd0ac5cfe046bfe135adccac76fbb03d4fe6");
        let (identity, recipient) = pair(1);
        let file = backup.sealed(&[recipient]).unwrap();
        assert!(Backup::open(&file, &[identity]).unwrap() == backup);
    }

    #[test]
    fn the_key_itself_stands_in_no_file_that_others_can_read() {
        let (_, backup) = backed_up();
        let (_, recipient) = pair(1);
        let file = backup.sealed(&[recipient]).unwrap();
        let is_in = |file: &[u8], text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
        for kept in &backup.keys {
            assert!(is_in(backup.written().unwrap().as_bytes(), &kept.key));
            assert!(!is_in(&file, &kept.key) && !is_in(&file, alice().as_str()));
        }
        assert!(!format!("{backup:?}").contains(&backup.keys[0].key));
    }
}
