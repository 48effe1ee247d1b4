//! Under which names subjects stand in records where names are sealed: random ids, given out at first sight and durable before they are
//! used, so that nobody who has a list of people can tell whose records are whose once the row is gone.
//!
//! Invariant: after an erasure of somebody's name no row leads from their subject id to what was recorded before it was asked for.

use model::event::names::NAME_CLASS;
use model::subject::SubjectId;
use model::time::Timestamp;
use rusqlite::{OptionalExtension as _, Transaction, params};

use crate::part_key::PartKeyBytes;
use crate::secret::random_bytes;
use crate::{StateError, Store};

/// What stands for the subject of a key that is no more, where their name went with it.
pub(crate) const NOBODY: &str = "";

/// The key `?1` of somebody whose name is sealed (under class `?3`), where nobody here is or has the id `?2`.
const BEHIND: &str = "SELECT kept.sealed FROM part_keys AS kept WHERE kept.id = ?1
    AND EXISTS (SELECT 1 FROM part_keys AS name WHERE name.subject_id = kept.subject_id AND name.class = ?3)
    AND NOT EXISTS (SELECT 1 FROM part_keys WHERE subject_id = ?2)
    AND NOT EXISTS (SELECT 1 FROM pseudonyms WHERE id = ?2 OR subject_id = ?2)";

impl Store {
    /// The pseudonym of this subject; made and durable at first use.
    ///
    /// # Errors
    /// The database failed.
    pub fn pseudonym(&self, subject: &SubjectId, now: Timestamp) -> Result<SubjectId, StateError> {
        let find = "SELECT id FROM pseudonyms WHERE subject_id = ?1 AND retired_at IS NULL";
        if let Some(known) = self.find_pseudonym(find, subject.as_str())? {
            return Ok(known);
        }
        let made = SubjectId::from_digest(random_bytes::<16>()?);
        let kept: String = self.write(|transaction| {
            // Two first sights at the same time: the first one counts.
            transaction
                .prepare_cached("INSERT OR IGNORE INTO pseudonyms (id, subject_id, created_at) VALUES (?1, ?2, ?3)")?
                .execute(params![made.as_str(), subject.as_str(), now.unix_nanos()])?;
            let mut find = transaction.prepare_cached(find)?;
            Ok(find.query_row(params![subject.as_str()], |row| row.get(0))?)
        })?;
        read(&kept)
    }

    /// The newest pseudonym of this subject that is out of use, else the one in use: under it stands what an erasure is about.
    ///
    /// # Errors
    /// The database failed.
    pub fn leaving_pseudonym(&self, subject: &SubjectId) -> Result<Option<SubjectId>, StateError> {
        self.find_pseudonym(
            "SELECT id FROM pseudonyms WHERE subject_id = ?1 ORDER BY retired_at IS NULL, created_at DESC LIMIT 1",
            subject.as_str(),
        )
    }

    /// Who stands behind a pseudonym, where that is known still.
    ///
    /// # Errors
    /// The database failed.
    pub fn subject_of_pseudonym(&self, pseudonym: &str) -> Result<Option<SubjectId>, StateError> {
        self.find_pseudonym("SELECT subject_id FROM pseudonyms WHERE id = ?1", pseudonym)
    }

    fn find_pseudonym(&self, select: &str, value: &str) -> Result<Option<SubjectId>, StateError> {
        let found: Option<String> = self.read(|connection| {
            let mut find = connection.prepare_cached(select)?;
            Ok(find.query_row(params![value], |row| row.get(0)).optional()?)
        })?;
        found.as_deref().map(read).transpose()
    }

    /// The oldest key of this subject for this class, which is made where there is none: what an erasure's record says of somebody goes with what it
    /// erases. An erasure is of all keys that there were when it was asked for, so that the oldest is always among them; one that came since may be out of use
    /// as well, and is not.
    ///
    /// # Errors
    /// The database failed, or the kept key does not open.
    pub fn leaving_part_key(&self, subject: &str, class: &str, now: Timestamp) -> Result<PartKeyBytes, StateError> {
        let id: Option<String> = self.read(|connection| {
            let mut find = connection.prepare_cached(
                "SELECT id FROM part_keys WHERE subject_id = ?1 AND class = ?2 ORDER BY created_at, id LIMIT 1",
            )?;
            Ok(find.query_row(params![subject, class], |row| row.get(0)).optional()?)
        })?;
        match id.map(|id| self.part_key_of_id(&id)).transpose()?.flatten() {
            Some(key) => Ok(key),
            None => self.part_key(subject, class, now),
        }
    }
}

impl Store {
    /// The key with this public name, for what stands under a pseudonym that this file does not know: keys were put back from a backup, and the file that said
    /// whose they are is lost. Whoever owns the key is who stands there. Not where names are in the clear, and not for somebody who is known: a record
    /// of theirs that names the key of another was not written by a gateway.
    ///
    /// # Errors
    /// The database failed, or the kept key does not open.
    pub fn part_key_behind(&self, pseudonym: &str, id: &str) -> Result<Option<PartKeyBytes>, StateError> {
        let sealed: Option<Vec<u8>> = self.read(|connection| {
            let mut find = connection.prepare_cached(BEHIND)?;
            Ok(find
                .query_row(params![id, pseudonym, NAME_CLASS], |row| row.get(0))
                .optional()?)
        })?;
        sealed.map(|sealed| self.opened(id.to_owned(), &sealed)).transpose()
    }

    /// A record says that all under this pseudonym was erased: it leads to nobody any more, also where the store was put back from before that was
    /// asked for and has it in use.
    ///
    /// # Errors
    /// The database failed.
    pub fn forget_pseudonym(&self, id: &str) -> Result<(), StateError> {
        let gone = self.write(|transaction| {
            Ok(transaction
                .prepare_cached("DELETE FROM pseudonyms WHERE id = ?1")?
                .execute(params![id])?)
        })?;
        if gone > 0 { self.scrub(&[], true) } else { Ok(()) }
    }
}

/// An erasure is asked for: what comes later is under another name, so that the two cannot be joined.
pub(crate) fn retire(transaction: &Transaction<'_>, subject: &SubjectId, at: Timestamp) -> Result<(), StateError> {
    transaction
        .prepare_cached("UPDATE pseudonyms SET retired_at = ?2 WHERE subject_id = ?1 AND retired_at IS NULL")?
        .execute(params![subject.as_str(), at.unix_nanos()])?;
    Ok(())
}

/// Whether a key of this subject's name was destroyed, and the name leads to them still.
pub(crate) fn is_going(transaction: &Transaction<'_>, subject: &SubjectId) -> Result<bool, StateError> {
    let mut find = transaction.prepare_cached("SELECT 1 FROM erased_keys WHERE subject_id = ?1 AND class = ?2")?;
    Ok(find.exists(params![subject.as_str(), NAME_CLASS])?)
}

/// The keys of their name are gone: so is all that leads from the subject to what was recorded, and what ended sign-ins say of them. `name_made` is when the
/// newest of those keys was made (Unix nanoseconds), where one was here: a file from before it was asked for has in use what was taken out of use since, also
/// where a request that was taken back came between, so that the record names a later one.
pub(crate) fn erase(
    transaction: &Transaction<'_>,
    subject: &SubjectId,
    at: Timestamp,
    name_made: Option<i64>,
) -> Result<(), StateError> {
    let subject = subject.as_str();
    transaction
        .prepare_cached(
            "DELETE FROM pseudonyms WHERE subject_id = ?1 AND (retired_at IS NOT NULL OR created_at <= ?2)",
        )?
        .execute(params![subject, name_made])?;
    transaction
        .prepare_cached("UPDATE erased_keys SET subject_id = ?2 WHERE subject_id = ?1")?
        .execute(params![subject, NOBODY])?;
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE subject_id = ?1 AND (revoked_at IS NOT NULL OR absolute_end <= ?2 OR idle_end <= ?2)",
        )?
        .execute(params![subject, at.unix_nanos()])?;
    // A lock left it. Each sign-in that it ended is told of by its own row, and is refused where there is none of it any more.
    transaction
        .prepare_cached("DELETE FROM revocations WHERE subject_id = ?1")?
        .execute(params![subject])?;
    Ok(())
}

fn read(id: &str) -> Result<SubjectId, StateError> {
    SubjectId::parse(id).ok_or(StateError::Row {
        table: "pseudonyms",
        what: "subject_id",
    })
}

#[cfg(test)]
mod tests {
    use model::erasure::{Actor, Erased, Request, Scope};
    use model::lock::Lock;
    use model::subject::SubjectKind;

    use super::*;
    use crate::store::tests::test_store;
    use crate::{EndReason, Revoked, SessionId, SessionSecrets, Standing, session};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    fn alice() -> SubjectId {
        SubjectId::from_digest([1; 16])
    }

    fn request(seconds: i64) -> Request {
        Request {
            id: format!("asked at {seconds}"),
            of: Scope {
                subject: alice(),
                kind: SubjectKind::Person,
                user: "alice".to_owned(),
                email: None,
                classes: Vec::new(),
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
            why: "she asked".to_owned(),
            at: at(seconds),
            until: at(seconds + 1_000),
        }
    }

    fn erase_all(store: &Store, request: &Request) {
        let keys = store.begin_erasure(request, 7, at(90)).unwrap();
        let keys: Vec<_> = keys.into_iter().map(|key| (key.id, key.class)).collect();
        let said = Erased {
            record: "r".to_owned(),
            at: at(100),
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        };
        store
            .erased(&request.of.subject, &keys, &said, Some(&request.id))
            .unwrap();
    }

    #[test]
    fn a_pseudonym_is_random_given_once_and_leads_back() {
        let (store, other) = (test_store(), test_store());
        let first = store.pseudonym(&alice(), at(1)).unwrap();
        assert_eq!(store.pseudonym(&alice(), at(2)).unwrap(), first);
        assert_ne!(first, alice());
        assert_ne!(
            other.pseudonym(&alice(), at(1)).unwrap(),
            first,
            "nothing of the person is in it"
        );
        assert_ne!(store.pseudonym(&SubjectId::from_digest([2; 16]), at(1)).unwrap(), first);
        assert_eq!(store.subject_of_pseudonym(first.as_str()).unwrap(), Some(alice()));
        assert_eq!(store.subject_of_pseudonym(alice().as_str()).unwrap(), None);
    }

    #[test]
    fn promise_6_after_an_erasure_nothing_leads_from_a_person_to_what_was_recorded() {
        let store = test_store();
        let old = store.pseudonym(&alice(), at(1)).unwrap();
        let key = store.part_key(alice().as_str(), NAME_CLASS, at(1)).unwrap();
        let request = request(10);
        store.ask_erasure(&request).unwrap();
        // They come back before it is agreed to: under another name, sealed by another key.
        let new = store.pseudonym(&alice(), at(20)).unwrap();
        let later = store.part_key(alice().as_str(), NAME_CLASS, at(20)).unwrap();
        assert_ne!(new, old);
        assert_eq!(
            store.subject_of_pseudonym(old.as_str()).unwrap(),
            Some(alice()),
            "still to be read"
        );
        assert_eq!(store.leaving_pseudonym(&alice()).unwrap(), Some(old.clone()));
        // Keys of all are changed meanwhile, by age or by hand: the one that came since is out of use, too.
        store.retire_part_keys(None, at(21)).unwrap();
        let leaving = store.leaving_part_key(alice().as_str(), NAME_CLASS, at(21)).unwrap();
        assert_eq!(leaving.id, key.id, "what the erasure says of them goes with it");
        erase_all(&store, &request);
        assert_eq!(store.subject_of_pseudonym(old.as_str()).unwrap(), None);
        assert_eq!(
            store.subject_of_pseudonym(new.as_str()).unwrap(),
            Some(alice()),
            "what came later is not meant"
        );
        assert!(store.part_key_of_id(&later.id).unwrap().is_some());
        assert!(store.part_key_of_id(&key.id).unwrap().is_none());
        assert!(store.erased_key(&key.id).unwrap().is_some(), "it is known why");
        let said = |subject: &str| store.erased_key_of(subject, NAME_CLASS).unwrap();
        assert!(
            said(old.as_str()).is_some(),
            "whoever asks under the name that is left is told"
        );
        let linked: i64 = store
            .read(|connection| {
                let count = "SELECT count(*) FROM erased_keys WHERE subject_id = ?1";
                Ok(connection.query_row(count, params![alice().as_str()], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(linked, 0, "no row says whose the key was");
    }

    /// They sign in, are locked out, and let in again.
    fn is_locked_for_a_while(store: &Store, subject: SubjectId, user: &str) -> SessionId {
        let mut new = session::tests::alice();
        (new.subject_id, new.identity.username) = (subject.clone(), user.to_owned());
        let SessionSecrets::Begun { session, .. } = store.begin_session(&new, at(1)).unwrap() else {
            panic!("nobody is locked out yet");
        };
        let lock = Lock {
            subject: subject.clone(),
            kind: SubjectKind::Person,
            user: user.to_owned(),
            email: None,
            until: Timestamp::MAX,
            why: format!("{user} lost her laptop"),
            by: "carol".to_owned(),
            at: at(5),
        };
        store.lock(&lock).unwrap();
        assert!(store.unlock(&subject).unwrap());
        session.id
    }

    #[test]
    fn promise_6_after_an_erasure_no_end_of_access_names_the_subject_and_what_a_lock_ended_stays_ended() {
        for is_sealed in [true, false] {
            let (store, bob) = (test_store(), SubjectId::from_digest([2; 16]));
            let ended = [(alice(), "alice"), (bob.clone(), "bob")];
            let ended = ended.map(|(subject, user)| is_locked_for_a_while(&store, subject, user));
            for class in ["command", NAME_CLASS].into_iter().take(1 + usize::from(is_sealed)) {
                store.part_key(alice().as_str(), class, at(1)).unwrap();
            }
            let request = request(10);
            store.ask_erasure(&request).unwrap();
            erase_all(&store, &request);
            let ends = store.revocations_since(0, 10).unwrap();
            let (mut subjects, mut sessions) = (Vec::new(), Vec::new());
            for end in &ends {
                match &end.revoked {
                    Revoked::Subject(id, _) => subjects.push(id.clone()),
                    Revoked::Session(id) => sessions.push(id.clone()),
                }
            }
            let named = if is_sealed { vec![bob] } else { vec![alice(), bob] };
            assert_eq!(subjects, named, "{ends:?}");
            assert_eq!(sessions, ended, "what is open under a sign-in is ended still");
            let [hers, others] = ended.map(|id| store.session(&id, at(120)).unwrap());
            assert_eq!(hers.is_none(), is_sealed);
            for session in hers.into_iter().chain(others) {
                assert_eq!(session.standing, Standing::Ended(EndReason::Locked));
            }
        }
    }

    /// Its record is written meanwhile, and they go on: under the pseudonym of before.
    #[test]
    fn promise_6_a_key_that_came_while_an_erasure_of_all_was_being_asked_for_seals_nothing_under_the_next_pseudonym() {
        for has_name in [true, false] {
            let store = test_store();
            if has_name {
                store.part_key(alice().as_str(), NAME_CLASS, at(1)).unwrap();
            }
            let moment = Timestamp::from_unix_nanos(11_000_000_999);
            let between = store.part_key(alice().as_str(), "command", moment).unwrap();
            store.ask_erasure(&request(10)).unwrap();
            let later = store.part_key(alice().as_str(), "command", at(12)).unwrap();
            assert_eq!(
                later.id != between.id,
                has_name,
                "with names in the clear it came later"
            );
            let kept = store.erasures().unwrap().remove(0);
            let asked = store.asked_for(&kept).unwrap();
            assert_eq!(asked.iter().any(|key| key.id == between.id), has_name);
            assert!(asked.iter().all(|key| key.id != later.id));
        }
    }

    /// A first request was taken back, so that the erasure's record stands under the second pseudonym; and the file is from before both.
    #[test]
    fn promise_6_a_file_from_before_it_was_asked_for_loses_each_pseudonym_whose_key_of_the_name_goes() {
        let store = test_store();
        let first = store.pseudonym(&alice(), at(1)).unwrap();
        let key = store.part_key(alice().as_str(), NAME_CLASS, at(2)).unwrap();
        let bob = SubjectId::from_digest([2; 16]);
        let others = store.pseudonym(&bob, at(1)).unwrap();
        let said = Erased {
            record: "r".to_owned(),
            at: at(100),
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        };
        let keys = [key.id.as_str(), "unknown here"].map(|id| (id.to_owned(), NAME_CLASS.to_owned()));
        store.erased(&alice(), &keys, &said, Some("not here either")).unwrap();
        assert_eq!(store.subject_of_pseudonym(first.as_str()).unwrap(), None);
        assert_ne!(store.pseudonym(&alice(), at(110)).unwrap(), first);
        assert_eq!(store.subject_of_pseudonym(others.as_str()).unwrap(), Some(bob));
    }

    #[test]
    fn what_is_erased_without_the_name_leaves_the_name() {
        let store = test_store();
        let old = store.pseudonym(&alice(), at(1)).unwrap();
        for class in [NAME_CLASS, "query"] {
            store.part_key(alice().as_str(), class, at(1)).unwrap();
        }
        let mut request = request(10);
        for classes in [vec!["query".to_owned()], vec![NAME_CLASS.to_owned()]] {
            request.of.classes = classes;
            request.id.push('x');
            let asked: Vec<_> = store
                .asked_for(&request)
                .unwrap()
                .into_iter()
                .map(|key| key.class)
                .collect();
            assert!(
                !asked.contains(&NAME_CLASS.to_owned()),
                "a name goes with everything else or not at all"
            );
            store.ask_erasure(&request).unwrap();
            assert_eq!(store.pseudonym(&alice(), at(20)).unwrap(), old);
        }
    }

    #[test]
    fn behind_an_unknown_pseudonym_stands_whoever_owns_the_key_and_behind_a_known_subject_nobody_else() {
        let store = test_store();
        let (bob, unknown) = (SubjectId::from_digest([2; 16]), SubjectId::from_digest([9; 16]));
        let key = store.part_key(alice().as_str(), "query", at(1)).unwrap();
        let behind = |subject: &SubjectId| {
            let found = store.part_key_behind(subject.as_str(), &key.id).unwrap();
            found.map(|found| found.bytes)
        };
        assert_eq!(
            behind(&unknown),
            None,
            "where names are in the clear each id is a subject's own"
        );
        store.part_key(alice().as_str(), NAME_CLASS, at(1)).unwrap();
        assert_eq!(behind(&unknown), Some(key.bytes));
        assert!(store.part_key_behind(unknown.as_str(), "00").unwrap().is_none());
        let known = store.pseudonym(&bob, at(2)).unwrap();
        assert_eq!((behind(&bob), behind(&known)), (None, None), "that is somebody else");
        let carol = SubjectId::from_digest([3; 16]);
        store.part_key(carol.as_str(), "query", at(3)).unwrap();
        assert_eq!(behind(&carol), None, "so is whoever has keys of their own");
    }
}
