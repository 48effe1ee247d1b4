//! Erasures that somebody asks for, legal holds, and the keys that are no more.
//!
//! The ledger's records are the truth: what stands here of holds and erased keys can be made from them again ([`Store::erased`] and
//! [`Store::hold`] may be called as often as anybody likes).
//!
//! Invariant: a key that is said to be erased is in no file of the database any more (`scrub`).

use std::sync::PoisonError;
use std::time::Duration;

use model::erasure::{Erased, Hold, Request, session_of};
use model::event::names::NAME_CLASS;
use model::subject::SubjectId;
use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::pseudonym::{self, NOBODY};
use crate::{StateError, Store, scrub};

/// A key, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartKeyName {
    /// Its public name.
    pub id: String,
    /// Whose.
    pub subject: SubjectId,
    /// For what.
    pub class: String,
    /// Since when.
    pub made: Timestamp,
}

impl Store {
    /// Keeps what somebody asks for, and takes its keys out of use: what comes later is not asked for.
    ///
    /// Where their name goes with it, a key that was made since `request.at` is asked for as well: what is sealed under it stands under the pseudonym that goes out
    /// of use only now, and what it would seal from now on under the next one.
    ///
    /// # Errors
    /// The database failed, or too many stand open: nothing changed.
    pub fn ask_erasure(&self, request: &Request) -> Result<(), StateError> {
        let request = &self.up_to_now(request)?;
        let (most, asked) = (self.limits.erasures, text(request)?);
        let keys = self.asked_for(request)?;
        self.write(|transaction| {
            has_room(transaction, "erasures", &request.id, most)?;
            for key in keys.iter().filter(|key| session_of(&key.class).is_none()) {
                retire(transaction, &key.id, request.at)?;
            }
            if keys.iter().any(|key| key.class == NAME_CLASS) {
                pseudonym::retire(transaction, &request.of.subject, request.at)?;
            }
            transaction
                .prepare_cached("INSERT INTO erasures (id, asked, until) VALUES (?1, ?2, ?3)")?
                .execute(params![request.id, asked, request.until.unix_nanos()])?;
            Ok(())
        })
    }

    /// As it is kept, in whole microseconds: with the next one behind the newest key.
    fn up_to_now(&self, request: &Request) -> Result<Request, StateError> {
        let mut request = request.clone();
        let keys = self.part_keys_of(&request.of.subject)?;
        if request.of.is_all() && keys.iter().any(|key| key.class == NAME_CLASS) {
            request.at = keys
                .iter()
                .map(|key| key.made.plus(Duration::from_micros(1)))
                .fold(request.at, Timestamp::max);
        }
        Ok(request)
    }

    /// All that is asked for, the newest first, also what nobody can agree to any more.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn erasures(&self) -> Result<Vec<Request>, StateError> {
        self.all("SELECT asked FROM erasures ORDER BY id DESC", "erasures")
    }

    /// It is not asked for any more. False where it was not.
    ///
    /// # Errors
    /// The database failed.
    pub fn forget_erasure(&self, id: &str) -> Result<bool, StateError> {
        self.write(|transaction| {
            let gone = transaction
                .prepare_cached("DELETE FROM erasures WHERE id = ?1")?
                .execute(params![id])?;
            Ok(gone == 1)
        })
    }

    /// The keys that a request asks for, by their age; those of the name behind all others.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn asked_for(&self, request: &Request) -> Result<Vec<PartKeyName>, StateError> {
        let mut keys = self.part_keys_of(&request.of.subject)?;
        keys.retain(|key| request.has(&key.class, key.made));
        // What is written of the erasure names whom it is on until the last of its records.
        keys.sort_by_key(|key| key.class == NAME_CLASS);
        Ok(keys)
    }

    /// The keys of a subject, by their age.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn part_keys_of(&self, subject: &SubjectId) -> Result<Vec<PartKeyName>, StateError> {
        self.names("subject_id = ?1", subject.as_str())
    }

    /// The keys of a class, whosever they are, by their age.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn part_keys_for(&self, class: &str) -> Result<Vec<PartKeyName>, StateError> {
        self.names("class = ?1", class)
    }

    fn names(&self, which: &str, value: &str) -> Result<Vec<PartKeyName>, StateError> {
        self.read(|connection| {
            let select = format!(
                "SELECT id, subject_id, class, created_at FROM part_keys WHERE {which} ORDER BY created_at, id"
            );
            let mut select = connection.prepare_cached(&select)?;
            let mut rows = select.query(params![value])?;
            let mut names = Vec::new();
            while let Some(row) = rows.next()? {
                names.push(PartKeyName {
                    id: row.get(0)?,
                    subject: SubjectId::parse(&row.get::<_, String>(1)?).ok_or(StateError::Row {
                        table: "part_keys",
                        what: "subject_id",
                    })?,
                    class: row.get(2)?,
                    made: Timestamp::from_unix_nanos(row.get(3)?),
                });
            }
            Ok(names)
        })
    }

    /// Takes what the request asks for out of use, so that nothing more is sealed with it, and gives it. `records` is how many stood in the
    /// ledger: the record of the erasure comes behind them.
    ///
    /// # Errors
    /// The database failed or a row is unreadable: nothing changed.
    pub fn begin_erasure(
        &self,
        request: &Request,
        records: u64,
        now: Timestamp,
    ) -> Result<Vec<PartKeyName>, StateError> {
        let keys = self.asked_for(request)?;
        self.write(|transaction| {
            for key in keys.iter().filter(|key| session_of(&key.class).is_none()) {
                retire(transaction, &key.id, now)?;
            }
            // The first attempt counts: its record may be there already.
            transaction
                .prepare_cached("UPDATE erasures SET begun_at = ?2 WHERE id = ?1 AND begun_at IS NULL")?
                .execute(params![request.id, i64::try_from(records).unwrap_or(i64::MAX)])?;
            Ok(())
        })?;
        Ok(keys)
    }

    /// Whether one more request has room.
    ///
    /// # Errors
    /// The database failed, or there are too many.
    pub fn has_room_for_erasure(&self, id: &str) -> Result<(), StateError> {
        let most = self.limits.erasures;
        self.write(|transaction| has_room(transaction, "erasures", id, most))
    }

    /// Keeps a hold that the ledger says stands. One that stands already stays as it is: the first record of it counts, and a later
    /// one of its name makes it no smaller.
    ///
    /// # Errors
    /// The database failed, or there are as many as anybody could have set: nothing changed. Whoever can write the ledger's files can have records say so
    /// without end.
    pub fn hold_again(&self, hold: &Hold) -> Result<(), StateError> {
        let (said, most) = (text(hold)?, self.limits.holds);
        self.write(|transaction| {
            has_room(transaction, "holds", &hold.id, most)?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO holds (id, said) VALUES (?1, ?2)")?
                .execute(params![hold.id, said])?;
            Ok(())
        })
    }

    /// From which record on one may say that keys are erased which are still here; `None` where no erasure has begun.
    ///
    /// # Errors
    /// The database failed.
    pub fn erasures_begun(&self) -> Result<Option<u64>, StateError> {
        self.read(|connection| {
            let least: Option<i64> =
                connection.query_row("SELECT min(begun_at) FROM erasures", [], |row| row.get(0))?;
            Ok(least.and_then(|least| u64::try_from(least).ok()))
        })
    }

    /// Whether the erasure that this request asks for has begun: its record may stand already, so that it is finished and not taken back.
    ///
    /// # Errors
    /// The database failed.
    pub fn has_begun(&self, id: &str) -> Result<bool, StateError> {
        self.read(|connection| {
            let mut find =
                connection.prepare_cached("SELECT 1 FROM erasures WHERE id = ?1 AND begun_at IS NOT NULL")?;
            Ok(find.exists(params![id])?)
        })
    }

    /// All that the records say was done: what is open still was begun, and no record says so. It can be agreed to or taken back, and ends in its time.
    ///
    /// # Errors
    /// The database failed.
    pub fn open_again(&self) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction.execute("UPDATE erasures SET begun_at = NULL WHERE begun_at IS NOT NULL", [])?;
            Ok(())
        })
    }

    /// Destroys these keys (id and class) of a subject and remembers what the ledger says of them. With `is_over` the request is done with.
    /// Gives how many of them were there.
    ///
    /// # Errors
    /// The database failed, or its files may still hold bytes of the keys: call it again.
    pub fn erased(
        &self,
        subject: &SubjectId,
        keys: &[(String, String)],
        said: &Erased,
        is_over: Option<&str>,
    ) -> Result<usize, StateError> {
        // One after the other: the mark of one is not taken back by another.
        let _alone = self.scrubbing.lock().unwrap_or_else(PoisonError::into_inner);
        let (destroyed, was_marked) = self.destroy(subject, keys, said, is_over)?;
        self.scrub(&destroyed, was_marked)?;
        Ok(destroyed.len())
    }

    /// Gives what was destroyed, as it was sealed, and whether the files may hold something else that was.
    pub(crate) fn destroy(
        &self,
        subject: &SubjectId,
        keys: &[(String, String)],
        said: &Erased,
        is_over: Option<&str>,
    ) -> Result<(Vec<Vec<u8>>, bool), StateError> {
        let text = text(said)?;
        self.write(|transaction| {
            let (mut destroyed, mut name_made) = (Vec::new(), None);
            for (id, class) in keys {
                let mut delete = transaction.prepare_cached(
                    "DELETE FROM part_keys WHERE id = ?1 AND subject_id = ?2 RETURNING sealed, created_at",
                )?;
                let gone = delete.query_row(params![id, subject.as_str()], |row| Ok((row.get(0)?, row.get(1)?)));
                if let Some((sealed, made)) = gone.optional()? {
                    destroyed.push(sealed);
                    name_made = name_made.max((class == NAME_CLASS).then_some(made));
                }
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO erased_keys (id, subject_id, class, said) VALUES (?1, ?2, ?3, ?4)",
                    )?
                    .execute(params![id, subject.as_str(), class, text])?;
            }
            if let Some(request) = is_over {
                transaction
                    .prepare_cached("DELETE FROM erasures WHERE id = ?1")?
                    .execute(params![request])?;
            }
            let mut was_marked = scrub::mark(transaction)?;
            // With the last of its records: those before it are written under the pseudonym that goes.
            if is_over.is_some() && pseudonym::is_going(transaction, subject)? {
                pseudonym::erase(transaction, subject, said.at, name_made)?;
                // What leads from the person to the pseudonym is a row like any other, and nobody looks for its traces: all is written anew.
                was_marked = true;
            }
            Ok((destroyed, was_marked))
        })
    }

    /// What the ledger says of a key that is no more.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn erased_key(&self, id: &str) -> Result<Option<Erased>, StateError> {
        self.erased_one("id = ?1", params![id])
    }

    /// What the ledger says of the key of this subject for this class, where it is no more.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn erased_key_of(&self, subject: &str, class: &str) -> Result<Option<Erased>, StateError> {
        // Where their name went with it, nothing says whose it was; a recording's class is that of one recording.
        self.erased_one("subject_id IN (?1, ?3) AND class = ?2", params![subject, class, NOBODY])
    }

    fn erased_one(&self, which: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Option<Erased>, StateError> {
        let said: Option<String> = self.read(|connection| {
            let mut find = connection.prepare_cached(&format!("SELECT said FROM erased_keys WHERE {which} LIMIT 1"))?;
            Ok(find.query_row(values, |row| row.get(0)).optional()?)
        })?;
        said.map(|said| read(&said, "erased_keys")).transpose()
    }

    /// Keeps a hold; one with this id takes the place of the other.
    ///
    /// # Errors
    /// The database failed, or there are too many: nothing changed.
    pub fn hold(&self, hold: &Hold) -> Result<(), StateError> {
        let (said, most) = (text(hold)?, self.limits.holds);
        self.write(|transaction| {
            has_room(transaction, "holds", &hold.id, most)?;
            transaction
                .prepare_cached("INSERT OR REPLACE INTO holds (id, said) VALUES (?1, ?2)")?
                .execute(params![hold.id, said])?;
            Ok(())
        })
    }

    /// The holds that stand, the newest first.
    ///
    /// # Errors
    /// The database failed or a row is unreadable.
    pub fn holds(&self) -> Result<Vec<Hold>, StateError> {
        self.all("SELECT said FROM holds ORDER BY id DESC", "holds")
    }

    /// It does not stand any more. False where it did not.
    ///
    /// # Errors
    /// The database failed.
    pub fn release(&self, id: &str) -> Result<bool, StateError> {
        self.write(|transaction| {
            let gone = transaction
                .prepare_cached("DELETE FROM holds WHERE id = ?1")?
                .execute(params![id])?;
            Ok(gone == 1)
        })
    }

    fn all<T: DeserializeOwned>(&self, select: &str, table: &'static str) -> Result<Vec<T>, StateError> {
        let texts: Vec<String> = self.read(|connection| {
            let mut select = connection.prepare_cached(select)?;
            let texts = select.query_map([], |row| row.get(0))?;
            Ok(texts.collect::<Result<_, _>>()?)
        })?;
        texts.iter().map(|text| read(text, table)).collect()
    }
}

/// Nothing more is sealed with it; it still opens what it has sealed.
pub(crate) fn retire(transaction: &Transaction<'_>, id: &str, now: Timestamp) -> Result<(), StateError> {
    transaction
        .prepare_cached("UPDATE part_keys SET retired_at = ?2 WHERE id = ?1 AND retired_at IS NULL")?
        .execute(params![id, now.unix_nanos()])?;
    Ok(())
}

fn has_room(transaction: &Transaction<'_>, table: &'static str, id: &str, limit: u32) -> Result<(), StateError> {
    let count = format!("SELECT count(*) FROM {table} WHERE id != ?1");
    let there: u32 = transaction.query_row(&count, params![id], |row| row.get(0))?;
    if there < limit {
        Ok(())
    } else {
        Err(StateError::Full { table, limit })
    }
}

fn text(value: &impl Serialize) -> Result<String, StateError> {
    serde_json::to_string(value).map_err(|_| StateError::Row {
        table: "erasures",
        what: "not JSON",
    })
}

fn read<T: DeserializeOwned>(text: &str, table: &'static str) -> Result<T, StateError> {
    serde_json::from_str(text).map_err(|_| StateError::Row {
        table,
        what: "not what this release writes",
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::erasure::{Actor, Scope};
    use model::subject::SubjectKind;

    use super::*;
    use crate::Limits;
    use crate::store::tests::{test_keys, test_store};

    fn alice() -> SubjectId {
        SubjectId::from_digest([1; 16])
    }

    fn request(classes: &[&str]) -> Request {
        Request {
            id: "r".to_owned(),
            of: Scope {
                subject: alice(),
                kind: SubjectKind::Person,
                user: "alice".to_owned(),
                email: None,
                classes: classes.iter().map(|class| (*class).to_owned()).collect(),
                recording: None,
                from: None,
                to: None,
            },
            asked: Actor {
                subject: SubjectId::from_digest([3; 16]),
                user: "carol".to_owned(),
                issuer: "i".to_owned(),
                email: None,
            },
            why: "she asked for it".to_owned(),
            at: Timestamp::from_unix_seconds(10),
            until: Timestamp::from_unix_seconds(20),
        }
    }

    fn said() -> Erased {
        Erased {
            record: "e".to_owned(),
            at: Timestamp::from_unix_seconds(12),
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        }
    }

    fn named(keys: &[PartKeyName]) -> Vec<(String, String)> {
        keys.iter().map(|key| (key.id.clone(), key.class.clone())).collect()
    }

    /// Whether these bytes stand in any file of the folder.
    fn is_anywhere(folder: &Path, bytes: &[u8]) -> bool {
        let files = std::fs::read_dir(folder).unwrap();
        let mut all = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
        all.any(|file| file.windows(bytes.len()).any(|window| window == bytes))
    }

    fn sealed(store: &Store, id: &str) -> Vec<u8> {
        let find = |connection: &rusqlite::Connection| {
            Ok(connection.query_row("SELECT sealed FROM part_keys WHERE id = ?1", [id], |row| row.get(0))?)
        };
        store.read(find).unwrap()
    }

    #[test]
    fn an_erased_key_is_in_no_file_of_the_database_and_a_new_one_has_another_name() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::EPOCH);
        let store = Store::open(&folder.path().join("state.db"), test_keys(), Limits::default()).unwrap();
        let key = store.part_key(alice().as_str(), "command", now).unwrap();
        let other = store.part_key(alice().as_str(), "query", now).unwrap();
        let (bytes, others) = (sealed(&store, &key.id), sealed(&store, &other.id));
        assert!(is_anywhere(folder.path(), &bytes), "before");
        let request = request(&["command"]);
        store.ask_erasure(&request).unwrap();
        // What comes behind the asking is nobody's to erase by it, however late somebody agrees.
        let later = store
            .part_key(alice().as_str(), "command", Timestamp::from_unix_seconds(11))
            .unwrap();
        assert_ne!(later.id, key.id);
        let keys = store.begin_erasure(&request, 7, now).unwrap();
        assert_eq!(store.erasures_begun().unwrap(), Some(7));
        assert_eq!(named(&keys), [(key.id.clone(), "command".to_owned())]);
        let next = store.part_key(alice().as_str(), "command", now).unwrap();
        assert_eq!(next.id, later.id, "out of use since it was asked for");
        assert_eq!(
            store.part_key_named(alice().as_str(), &key.id).unwrap().unwrap().bytes,
            key.bytes,
            "it still opens until it is destroyed"
        );
        assert_eq!(store.erased(&alice(), &named(&keys), &said(), Some("r")).unwrap(), 1);
        assert!(!is_anywhere(folder.path(), &bytes), "its bytes are in no file");
        assert!(is_anywhere(folder.path(), &others));
        assert!(store.part_key_named(alice().as_str(), &key.id).unwrap().is_none());
        assert_eq!(store.erased_key(&key.id).unwrap(), Some(said()));
        assert_eq!(store.erased_key(&next.id).unwrap(), None);
        assert_eq!(
            (store.erasures().unwrap(), store.erasures_begun().unwrap()),
            (Vec::new(), None)
        );
        let again = store.erased(&alice(), &named(&keys), &said(), Some("r")).unwrap();
        assert_eq!(again, 0, "as often as anybody likes");
        assert_eq!(store.part_key(alice().as_str(), "command", now).unwrap().id, next.id);
    }

    #[test]
    fn while_another_program_reads_the_database_nothing_is_said_to_be_gone() {
        let (folder, now) = (tempfile::tempdir().unwrap(), Timestamp::EPOCH);
        let path = folder.path().join("state.db");
        let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
        store
            .read(|connection| Ok(connection.busy_timeout(Duration::ZERO)?))
            .unwrap();
        let key = store.part_key(alice().as_str(), "command", now).unwrap();
        let keys = [(key.id.clone(), "command".to_owned())];
        let reader = rusqlite::Connection::open(&path).unwrap();
        reader.execute_batch("BEGIN; SELECT count(*) FROM part_keys;").unwrap();
        let held: i64 = reader
            .query_row("SELECT count(*) FROM part_keys", [], |row| row.get(0))
            .unwrap();
        assert_eq!(held, 1);
        let lingers = store.erased(&alice(), &keys, &said(), None).unwrap_err();
        assert!(matches!(lingers, StateError::Lingers), "{lingers}");
        reader.execute_batch("COMMIT").unwrap();
        store.erased(&alice(), &keys, &said(), None).unwrap();
    }

    #[test]
    fn recordings_are_asked_for_by_time_and_go_one_by_one() {
        let (store, at) = (test_store(), Timestamp::from_unix_seconds);
        for (session, made) in [("a", 1), ("b", 5), ("c", 11)] {
            let class = model::erasure::recording_class(session);
            store.part_key(alice().as_str(), &class, at(made)).unwrap();
        }
        let mut asked = request(&["recording"]);
        let classes = |asked: &Request| -> Vec<String> {
            let keys = store.asked_for(asked).unwrap();
            keys.into_iter().map(|key| key.class).collect()
        };
        assert_eq!(
            classes(&asked),
            ["recording:a", "recording:b"],
            "c began after it was asked"
        );
        asked.of.from = Some(at(2));
        assert_eq!(classes(&asked), ["recording:b"]);
        store.ask_erasure(&asked).unwrap();
        let keys = store.begin_erasure(&asked, 1, at(12)).unwrap();
        assert!(
            store.find_part_key(alice().as_str(), "recording:b").unwrap().is_some(),
            "played until it is recorded"
        );
        store.erased(&alice(), &named(&keys), &said(), Some("r")).unwrap();
        assert!(store.find_part_key(alice().as_str(), "recording:b").unwrap().is_none());
        assert_eq!(
            store.erased_key_of(alice().as_str(), "recording:b").unwrap(),
            Some(said())
        );
        assert_eq!(store.erased_key_of(alice().as_str(), "recording:a").unwrap(), None);
        assert_eq!(store.part_keys_for("recording:a").unwrap()[0].subject, alice());
    }

    /// The ledger may say that it was done: who forgets that it had begun never looks there again.
    #[test]
    fn an_erasure_that_has_begun_is_kept_until_it_is_known_that_no_record_says_so() {
        let store = test_store();
        let late = Timestamp::from_unix_seconds(20 + 30 * 86_400);
        store.ask_erasure(&request(&[])).unwrap();
        assert!(!store.has_begun("r").unwrap());
        store.begin_erasure(&request(&[]), 7, Timestamp::EPOCH).unwrap();
        assert!(store.has_begun("r").unwrap() && !store.has_begun("s").unwrap());
        store.sweep(late).unwrap();
        assert_eq!(store.erasures_begun().unwrap(), Some(7));
        store.open_again().unwrap();
        assert_eq!(
            (store.erasures_begun().unwrap(), store.has_begun("r").unwrap()),
            (None, false)
        );
        store.sweep(late).unwrap();
        assert!(
            store.erasures().unwrap().is_empty(),
            "as any other to which nobody agreed"
        );
    }

    #[test]
    fn a_hold_stands_until_it_is_released_and_there_is_room_for_so_many() {
        let limits = Limits {
            holds: 1,
            erasures: 1,
            ..Limits::default()
        };
        let store = Store::in_memory(test_keys(), limits).unwrap();
        let hold = Hold {
            id: "h".to_owned(),
            of: request(&[]).of,
            by: "eve".to_owned(),
            actor: None,
            why: "case 7".to_owned(),
            at: Timestamp::EPOCH,
        };
        store.hold(&hold).unwrap();
        assert_eq!(store.holds().unwrap(), std::slice::from_ref(&hold));
        store.hold(&hold).unwrap();
        let other = Hold {
            id: "i".to_owned(),
            ..hold.clone()
        };
        assert!(matches!(
            store.hold(&other),
            Err(StateError::Full { table: "holds", .. })
        ));
        assert!(store.release("h").unwrap() && !store.release("h").unwrap());
        store.ask_erasure(&request(&[])).unwrap();
        let full = store.ask_erasure(&Request {
            id: "s".to_owned(),
            ..request(&[])
        });
        assert!(matches!(full, Err(StateError::Full { table: "erasures", .. })));
    }

    #[test]
    fn what_records_say_of_holds_takes_no_more_room_than_there_is() {
        let limits = Limits {
            holds: 1,
            ..Limits::default()
        };
        let store = Store::in_memory(test_keys(), limits).unwrap();
        let hold = |id: &str, why: &str| Hold {
            id: id.to_owned(),
            of: request(&[]).of,
            by: "eve".to_owned(),
            actor: None,
            why: why.to_owned(),
            at: Timestamp::EPOCH,
        };
        store.hold_again(&hold("h", "case 7")).unwrap();
        store.hold_again(&hold("h", "nothing")).unwrap();
        assert!(matches!(
            store.hold_again(&hold("i", "case 8")),
            Err(StateError::Full {
                table: "holds",
                limit: 1
            })
        ));
        assert_eq!(
            store.holds().unwrap(),
            [hold("h", "case 7")],
            "the first record of it counts"
        );
    }
}
