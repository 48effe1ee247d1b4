//! Names sealed and opened with a real store and a real ledger on a disk: what stands in files, what is read, what an erasure leaves.

use ledger::{Ledger, Reader, RealDisk};
use model::erasure::{Actor, Erased, Request, Scope};
use model::event::{By, Effective, ErasedKey, Erasing, Outcome, Person, Record, RecordKind, Started};
use model::subject::SubjectKind;
use model::time::Timestamp;
use serde_json::Value;
use state::{SealingKey, SealingKeys};

use super::*;

/// Stands wherever somebody can be named.
const CANARY: &str = "canary.alice@example.com";

struct Scene {
    folder: tempfile::TempDir,
    ledger: Ledger,
    store: Arc<Store>,
    names: Arc<dyn ledger::Names>,
}

fn store(at: &Path) -> Arc<Store> {
    let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
    Arc::new(Store::open(&at.join("state.sqlite"), keys, state::Limits::default()).unwrap())
}

fn open(dir: &Path) -> Ledger {
    let options = ledger::Options {
        segment_bytes: 1 << 20,
        max_open: 16,
        ..ledger::Options::default()
    };
    Ledger::open(dir, options, Arc::new(RealDisk::new(dir))).unwrap().0
}

fn has(bytes: &[u8], word: &[u8]) -> bool {
    let Some((first, _)) = word.split_first() else {
        return true;
    };
    let starts = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    starts.into_iter().any(|(at, _)| bytes[at..].starts_with(word))
}

fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("ledger");
    std::fs::create_dir(&dir).unwrap();
    let (ledger, store) = (open(&dir), store(folder.path()));
    let names = begin(Wanted::Sealed, &ledger, &dir, &store).unwrap().unwrap();
    let scene = Scene {
        folder,
        ledger,
        store,
        names,
    };
    let start = Started {
        version: "1",
        origin: "https://gate",
        epoch: 0,
        names: Some(SEALED),
    };
    scene.write(
        RecordKind::Start,
        &Record {
            id: "start",
            start: Some(start),
            ..Record::default()
        },
    );
    scene
}

impl Scene {
    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("ledger")
    }

    fn write(&self, kind: RecordKind, record: &Record<'_>) {
        let ticket = self.ledger.append(kind, record.body().unwrap(), Vec::new()).unwrap();
        ticket.wait().unwrap();
    }

    /// Leaves as they stand, or with the names that can be opened.
    fn leaves(&self, opened: bool) -> Vec<Value> {
        let reader = Reader::open(&self.dir()).unwrap();
        let reader = reader.naming(opened.then(|| Arc::clone(&self.names)));
        let records = reader.records_from(0).map(Result::unwrap);
        let records = records.filter(|record| record.kind != RecordKind::Checkpoint);
        records
            .map(|record| serde_json::from_slice(&record.leaf).unwrap())
            .collect()
    }

    /// Whether the word stands in any file of the folder.
    fn stands(&self, word: &str) -> bool {
        let mut folders = vec![self.folder.path().to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if has(&std::fs::read(&path).unwrap(), word.as_bytes()) {
                    return true;
                }
            }
        }
        false
    }

    fn erase(&self, who: &SubjectId) {
        let request = request(who);
        let asked = erasing(&request, "asked");
        self.write(RecordKind::Erasure, &record("ask", &auditor(), Some(asked)));
        self.store.ask_erasure(&request).unwrap();
        self.ledger.forget_name_keys();
        let keys = self.store.begin_erasure(&request, 9, request.at).unwrap();
        self.ledger.forget_name_keys();
        let said: Vec<_> = keys
            .iter()
            .map(|key| ErasedKey {
                id: &key.id,
                class: &key.class,
            })
            .collect();
        let erased = Erasing {
            keys: &said,
            ..erasing(&request, "erased")
        };
        self.write(RecordKind::Erasure, &record("done", &auditor(), Some(erased)));
        let said = Erased {
            record: "done".to_owned(),
            at: request.at,
            asked: "carol".to_owned(),
            agreed: "dave".to_owned(),
        };
        let keys: Vec<_> = keys.into_iter().map(|key| (key.id, key.class)).collect();
        assert!(keys.iter().any(|(_, class)| class == NAME_CLASS), "{keys:?}");
        self.store.erased(who, &keys, &said, Some(&request.id)).unwrap();
        self.ledger.forget_name_keys();
    }
}

fn alice() -> SubjectId {
    SubjectId::from_digest([0xa1; 16])
}

fn auditor() -> SubjectId {
    SubjectId::from_digest([0xb2; 16])
}

fn request(who: &SubjectId) -> Request {
    Request {
        id: "ask".to_owned(),
        of: Scope {
            subject: who.clone(),
            kind: SubjectKind::Person,
            user: CANARY.to_owned(),
            email: Some(CANARY.to_owned()),
            classes: Vec::new(),
            recording: None,
            from: None,
            to: None,
        },
        asked: Actor {
            subject: auditor(),
            user: "carol".to_owned(),
            issuer: "https://idp".to_owned(),
            email: None,
        },
        why: format!("{CANARY} asked for it"),
        at: Timestamp::from_unix_seconds(4_000_000_000),
        until: Timestamp::from_unix_seconds(4_000_001_000),
    }
}

fn erasing<'a>(request: &'a Request, what: &'static str) -> Erasing<'a> {
    Erasing {
        what,
        request: &request.id,
        of: &request.of,
        asked: &request.asked,
        agreed: None,
        why: &request.why,
        refused: None,
        hold: None,
        until: None,
        keys: &[],
        more: 0,
    }
}

fn by<'a>(id: &'a SubjectId, user: &'a str) -> By<'a> {
    By {
        id,
        kind: SubjectKind::Person,
        iss: "https://idp",
        sub: user,
        user,
        email: Some(user),
        groups_hash: "0011",
        session: Some("session"),
        credential: "cookie",
        credential_id: None,
        auth_time: None,
        origin: None,
        acr: None,
    }
}

fn record<'a>(id: &'a str, who: &'a SubjectId, erasure: Option<Erasing<'a>>) -> Record<'a> {
    let user = if *who == auditor() { "carol" } else { CANARY };
    Record {
        id,
        by: Some(by(who, user)),
        erasure,
        note: Some(CANARY),
        ..Record::default()
    }
}

/// A call of hers, one of a colleague in her name, a sign-in of hers, and one that was refused.
fn write_all(scene: &Scene) {
    scene.write(RecordKind::Access, &record("call", &alice(), None));
    let effective = Effective {
        user: CANARY,
        uid: None,
        groups: &[],
        groups_count: None,
        groups_hash: None,
        extra_keys: vec![],
        extra_count: None,
    };
    let person = |what| Person {
        what,
        session: Some("session"),
        provider: None,
        why: Some(CANARY),
        amr: &[],
    };
    scene.write(
        RecordKind::Session,
        &Record {
            person: Some(person("signedIn")),
            ..record("signin", &alice(), None)
        },
    );
    scene.write(
        RecordKind::Access,
        &Record {
            effective: Some(effective),
            note: None,
            ..record("as", &auditor(), None)
        },
    );
    scene.write(
        RecordKind::Session,
        &Record {
            id: "stranger",
            person: Some(person("signInRefused")),
            ..Record::default()
        },
    );
    let intent = record("effect", &alice(), None).body().unwrap();
    let (ticket, slot) = scene.ledger.append_intent(intent, Vec::new()).unwrap();
    let seq = ticket.wait().unwrap().seq;
    let outcome = Outcome {
        why: Some(CANARY),
        ..outcome()
    };
    let end = Record {
        id: "effect",
        pair: Some(seq),
        outcome: Some(outcome),
        ..Record::default()
    };
    slot.fill(RecordKind::Outcome, end.body().unwrap())
        .unwrap()
        .wait()
        .unwrap();
}

fn outcome() -> Outcome<'static> {
    Outcome {
        end: model::event::Answer::Ended,
        status: None,
        reason: None,
        bytes_in: 0,
        bytes_out: 0,
        took: None,
        body_sha256: None,
        body_hmac: None,
        exit_code: None,
        unread: None,
        diverged: false,
        why: None,
    }
}

fn of<'v>(leaves: &'v [Value], id: &str) -> &'v Value {
    leaves.iter().find(|leaf| leaf["id"] == id).unwrap()
}

#[test]
fn promise_6_where_names_are_sealed_no_file_names_anybody_and_whoever_may_see_names_reads_them() {
    let scene = scene();
    write_all(&scene);
    assert!(!scene.stands(CANARY), "a name stands in a file");
    assert!(!scene.stands("carol"));
    let raw = scene.leaves(false);
    let call = of(&raw, "call");
    assert_eq!(call["by"].as_object().unwrap().len(), 3, "{call}");
    assert_eq!(
        (&call["by"]["kind"], &call["by"]["credential"]),
        (&"person".into(), &"cookie".into())
    );
    assert_eq!(
        call["by"]["id"],
        of(&raw, "signin")["by"]["id"],
        "the same pseudonym for the same person"
    );
    assert_ne!(call["by"]["id"], alice().as_str());
    assert_ne!(call["by"]["id"], of(&raw, "as")["by"]["id"]);
    assert_eq!(call["parts"][0]["class"], "name");
    let opened = scene.leaves(true);
    for id in ["call", "signin", "effect"] {
        let leaf = of(&opened, id);
        assert_eq!(leaf["by"]["user"], CANARY, "{leaf}");
        assert_eq!(leaf["by"]["id"], alice().as_str());
        assert_eq!(leaf["note"], CANARY);
    }
    assert_eq!(of(&opened, "as")["as"]["user"], CANARY);
    assert_eq!(of(&opened, "stranger")["person"]["why"], CANARY);
    let end = opened.iter().rfind(|leaf| leaf["id"] == "effect").unwrap();
    assert_eq!(
        end["outcome"],
        serde_json::json!({"end": "ended"}),
        "nothing lies beside an end"
    );
}

#[test]
fn promise_5_after_an_erasure_a_name_is_nowhere_and_every_part_is_still_the_one_that_was_sealed() {
    let scene = scene();
    write_all(&scene);
    let before = of(&scene.leaves(false), "call")["by"]["id"].clone();
    scene.erase(&alice());
    assert!(!scene.stands(CANARY));
    assert!(
        !scene.stands(alice().as_str()),
        "who has a list of people could tell by this whose records they are"
    );
    let opened = scene.leaves(true);
    let erased = format!("erased person {}", before.as_str().unwrap().get(..8).unwrap());
    for id in ["call", "signin", "effect"] {
        let leaf = of(&opened, id);
        assert_eq!(leaf["by"]["user"], erased, "{leaf}");
        assert_eq!(leaf["by"]["id"], before);
        assert!(!leaf.to_string().contains(CANARY), "{leaf}");
    }
    for id in ["ask", "done"] {
        let leaf = of(&opened, id);
        assert_eq!(leaf["by"]["user"], "carol", "others keep their names");
        assert_eq!(
            leaf["erasure"]["of"]["subject"], before,
            "it is said whose they were by what is left of them"
        );
        assert!(
            !leaf.to_string().contains(CANARY),
            "what it says of them went with it: {leaf}"
        );
    }
    for record in Reader::open(&scene.dir()).unwrap().records_from(0) {
        record.unwrap().check_parts().unwrap();
    }
    // They come back: somebody new, of whom nothing leads to what was.
    scene.write(RecordKind::Access, &record("again", &alice(), None));
    let opened = scene.leaves(true);
    assert_eq!(of(&opened, "again")["by"]["user"], CANARY);
    assert_ne!(of(&scene.leaves(false), "again")["by"]["id"], before);
    assert_eq!(of(&opened, "call")["by"]["user"], erased);
}

/// promise_6: a state file from before the erasure was asked for is put back; it has the pseudonym in use, and would give it out again.
#[test]
fn promise_6_an_erased_name_does_not_come_back_with_a_state_file_from_before_it_was_asked_for() {
    let scene = scene();
    write_all(&scene);
    let before = of(&scene.leaves(false), "call")["by"]["id"].clone();
    let older = tempfile::tempdir().unwrap();
    for name in ["state.sqlite", "state.sqlite-wal"] {
        let _ = std::fs::copy(scene.folder.path().join(name), older.path().join(name));
    }
    scene.erase(&alice());
    let restored = store(older.path());
    let pseudonym = before.as_str().unwrap();
    assert_eq!(restored.subject_of_pseudonym(pseudonym).unwrap(), Some(alice()));
    let names: Arc<dyn ledger::Names> = Arc::new(SealedNames::new(Arc::clone(&restored)));
    let all = crate::serve::erasing::Before {
        signed: scene.ledger.durable(),
        refused: std::collections::BTreeSet::new(),
        foreign: 0..0,
    };
    let finished = crate::serve::erasing::finish((&scene.dir(), Some(&names)), 0, &all, &restored).unwrap();
    assert!(finished.destroyed > 0, "{finished:?}");
    assert_eq!(restored.subject_of_pseudonym(pseudonym).unwrap(), None);
    assert_ne!(
        restored.pseudonym(&alice(), Timestamp::EPOCH).unwrap().as_str(),
        pseudonym
    );
}

#[test]
fn what_vouches_for_evidence_stays_to_be_read_and_what_was_searched_for_does_not() {
    let scene = scene();
    let digest = "ab".repeat(32);
    let said = format!("packed 8 acts of all records as evidence for `user:{CANARY}`, statement sha256:{digest}");
    let asked = format!("searched all records for `packed {CANARY} acts , statement sha256:{digest}`: 0 shown");
    let forged = format!("packed {CANARY} acts of all records as evidence for `x`, statement sha256:{digest}");
    for (id, note) in [("packed", &said), ("asked", &asked), ("forged", &forged)] {
        let who = auditor();
        let mut record = record(id, &who, None);
        record.note = Some(note);
        scene.write(RecordKind::AuditRead, &record);
    }
    assert!(!scene.stands(CANARY));
    let raw = scene.leaves(false);
    assert_eq!(
        of(&raw, "packed")["note"],
        format!("packed 8 acts as evidence, statement sha256:{digest}")
    );
    assert!(of(&raw, "asked").get("note").is_none());
    assert!(of(&raw, "forged").get("note").is_none());
    let opened = scene.leaves(true);
    for (id, note) in [("packed", said), ("asked", asked), ("forged", forged)] {
        assert_eq!(of(&opened, id)["note"], note);
    }
}

#[test]
fn a_ledger_names_people_in_one_way_from_its_first_record_to_its_last() {
    let scene = scene();
    write_all(&scene);
    let dir = scene.dir();
    let refused = begin(Wanted::Clear, &scene.ledger, &dir, &scene.store).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "`ledger.names` is not `sealed`, and the ledger in `{}` was begun with sealed names: a ledger never changes how it names people, \
             and nobody would expect names in it. Set `ledger.names: sealed`, or begin a new ledger in another folder (`ledger.dir`)",
            dir.display()
        )
    );
    assert!(
        begin(Wanted::Sealed, &scene.ledger, &dir, &scene.store)
            .unwrap()
            .is_some()
    );
    let other = tempfile::tempdir().unwrap();
    let ledger = open(other.path());
    assert!(
        begin(Wanted::Clear, &ledger, other.path(), &scene.store)
            .unwrap()
            .is_none()
    );
    let start = Started {
        version: "1",
        origin: "https://gate",
        epoch: 0,
        names: None,
    };
    let record = Record {
        id: "start",
        start: Some(start),
        ..Record::default()
    };
    ledger
        .append(RecordKind::Start, record.body().unwrap(), Vec::new())
        .unwrap()
        .wait()
        .unwrap();
    let refused = begin(Wanted::Sealed, &ledger, other.path(), &scene.store).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "`ledger.names` is `sealed`, and the ledger in `{}` has records that name people in the clear: a ledger never changes how it names \
             them. Leave `ledger.names` out, or begin a new ledger in another folder (`ledger.dir`) and keep this one as it is",
            other.path().display()
        )
    );
}
