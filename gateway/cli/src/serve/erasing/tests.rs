//! Steps written down by a real station into a real ledger, and read again as a start does.

use std::collections::BTreeSet;
use std::path::Path;

use ledger::{Head, Reader, RealDisk};
use model::erasure::{self, Actor, Hold, Scope};
use model::event::names::NAME_CLASS;
use model::subject::SubjectKind;
use model::time::Timestamp;
use proxy::audit::Limits;
use proxy::clock::Clock;
use state::{Identity, SealingKey, SealingKeys, SessionId};

use super::*;
use crate::serve::names;
use crate::serve::unsigned::body;

fn store() -> Arc<Store> {
    let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
    Arc::new(Store::in_memory(keys, state::Limits::default()).unwrap())
}

/// All that stands there was signed.
fn all(erases: &Erasures) -> Before {
    Before {
        signed: erases.ledger.durable(),
        refused: BTreeSet::new(),
        foreign: 0..0,
    }
}

fn open(dir: &Path, store: &Arc<Store>) -> Erasures {
    let ledger = Ledger::open(dir, ledger::Options::default(), Arc::new(RealDisk::new(dir)));
    let (ledger, (clock, _)) = (Arc::new(ledger.unwrap().0), Clock::manual(1_000));
    let audit = Station::new(Arc::clone(&ledger), clock, "boot".into(), Limits::default());
    let store = Arc::clone(store);
    Erasures { audit, ledger, store }
}

fn actor(number: u8, user: &str) -> Actor {
    Actor {
        subject: SubjectId::from_digest([number; 16]),
        user: user.to_owned(),
        issuer: "https://idp".to_owned(),
        email: None,
    }
}

fn alice() -> Scope {
    Scope {
        subject: actor(1, "alice").subject,
        kind: SubjectKind::Person,
        user: "alice".to_owned(),
        email: None,
        classes: vec!["command".to_owned()],
        recording: None,
        from: None,
        to: None,
    }
}

fn request(id: &str) -> erasure::Request {
    erasure::Request {
        id: id.to_owned(),
        of: alice(),
        asked: actor(3, "carol"),
        why: "she asked for it".to_owned(),
        at: Timestamp::from_unix_seconds(1),
        until: Timestamp::from_unix_seconds(100),
    }
}

async fn said(erases: &Erasures, id: &str, act: ErasureAct) {
    let identity = Identity {
        issuer: "https://idp".to_owned(),
        subject: "u".to_owned(),
        username: "dave".to_owned(),
        uid: None,
        groups: Default::default(),
        extra: Default::default(),
        email: None,
    };
    let event = ErasureEvent {
        act,
        at: Timestamp::from_unix_seconds(2),
        session: SessionId::parse(&"5e".repeat(16)).unwrap(),
        who: console::Who {
            subject_id: actor(4, "dave").subject,
            identity,
            auth_time: None,
            acr: None,
        },
        peer: None,
        agent: None,
    };
    erases.record(id, event).await.unwrap();
}

fn erased(keys: &[&str], more: u64) -> ErasureAct {
    ErasureAct::Erased {
        request: request("q"),
        agreed: actor(4, "dave"),
        keys: keys.iter().map(|id| ((*id).to_owned(), "command".to_owned())).collect(),
        more,
    }
}

#[tokio::test]
async fn what_was_interrupted_behind_its_record_is_finished_at_the_next_start() {
    let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
    let erases = open(folder.path(), &store);
    let alice = alice().subject;
    let first = store.part_key(alice.as_str(), "command", now).unwrap();
    store.ask_erasure(&request("q")).unwrap();
    store.begin_erasure(&request("q"), erases.records(), now).unwrap();
    assert_eq!(
        finish((folder.path(), None), 0, &all(&erases), &store)
            .unwrap()
            .destroyed,
        0,
        "no record says so yet"
    );
    assert!(store.part_key_named(alice.as_str(), &first.id).unwrap().is_some());
    // Somebody agrees once more behind that start.
    store.begin_erasure(&request("q"), erases.records(), now).unwrap();
    said(&erases, "e", erased(&[&first.id], 0)).await;
    let record = Reader::open(folder.path()).unwrap().record(0).unwrap().unwrap();
    let body = String::from_utf8(record.leaf).unwrap();
    let body = body.replacen("\"v\":1,\"kind\":\"erasure\",\"seq\":0,", "", 1);
    assert!(
        store.knows_words(body.as_bytes()).unwrap(),
        "before it was written: {body}"
    );
    // As where the number that the store stands on has grown by other things meanwhile.
    let known = erases.records();
    let unsigned = Before {
        signed: Head {
            size: 0,
            ..erases.ledger.durable()
        },
        refused: BTreeSet::new(),
        foreign: 0..0,
    };
    assert_eq!(
        finish((folder.path(), None), known, &unsigned, &store)
            .unwrap()
            .destroyed,
        1,
        "nobody had signed it yet, and nothing refused it"
    );
    assert!(store.part_key_named(alice.as_str(), &first.id).unwrap().is_none());
    assert!(store.erasures().unwrap().is_empty());
    let told = store.erased_key(&first.id).unwrap().unwrap().in_words();
    assert_eq!(
        told,
        "erased on 1970-01-01T00:00:02.000000Z by carol and dave, record e"
    );
    assert_eq!(
        finish((folder.path(), None), 0, &all(&erases), &store)
            .unwrap()
            .destroyed,
        0,
        "once"
    );
}

#[tokio::test]
async fn a_store_from_a_backup_loses_again_what_was_erased_and_holds_again_what_is_held() {
    let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
    let erases = open(folder.path(), &store);
    let alice_id = alice().subject;
    // The backup has the key, a request that was withdrawn since, a hold that was released since, and lacks another one.
    let key = store.part_key(alice_id.as_str(), "command", now).unwrap();
    let hold = |id: &str| Hold {
        id: id.to_owned(),
        of: alice(),
        by: "carol".to_owned(),
        actor: None,
        why: "case 7".to_owned(),
        at: Timestamp::from_unix_seconds(2),
    };
    store.ask_erasure(&request("w")).unwrap();
    store.hold(&hold("old")).unwrap();
    let why = "the case is closed".to_owned();
    said(&erases, "w2", ErasureAct::Withdrawn(request("w"))).await;
    said(&erases, "h2", ErasureAct::Released { hold: hold("old"), why }).await;
    said(&erases, "e", erased(&[&key.id, "gone"], 0)).await;
    said(&erases, "new", ErasureAct::Held(hold("new"))).await;
    assert_eq!(
        finish((folder.path(), None), 0, &all(&erases), &store)
            .unwrap()
            .destroyed,
        1
    );
    assert!(store.part_key_named(alice_id.as_str(), &key.id).unwrap().is_none());
    assert!(
        store.erased_key("gone").unwrap().is_some(),
        "also of one that the backup never had"
    );
    let held_again = Hold {
        actor: Some(actor(4, "dave")),
        ..hold("new")
    };
    assert_eq!(store.holds().unwrap(), [held_again], "by whoever the record is of");
    assert!(store.erasures().unwrap().is_empty());
}

/// promise_5: whoever can write the ledger's files, and nothing else, destroys nothing.
#[tokio::test]
async fn promise_5_a_record_that_nobody_signed_destroys_no_key_and_ends_no_hold() {
    let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
    let erases = open(folder.path(), &store);
    let alice_id = alice().subject;
    let key = store.part_key(alice_id.as_str(), "command", now).unwrap();
    let hold = Hold {
        id: "h".to_owned(),
        of: alice(),
        by: "carol".to_owned(),
        actor: None,
        why: "case 7".to_owned(),
        at: Timestamp::from_unix_seconds(2),
    };
    store.ask_erasure(&request("q")).unwrap();
    store.hold(&hold).unwrap();
    let signed = erases.ledger.durable();
    let why = "the case is closed".to_owned();
    said(
        &erases,
        "h2",
        ErasureAct::Released {
            hold: hold.clone(),
            why,
        },
    )
    .await;
    said(&erases, "e", erased(&[&key.id], 0)).await;
    let before = Before {
        signed,
        refused: [signed.size, signed.size + 1].into(),
        foreign: 0..0,
    };
    assert_eq!(
        finish((folder.path(), None), 0, &before, &store).unwrap(),
        Finished::default()
    );
    assert!(store.part_key_named(alice_id.as_str(), &key.id).unwrap().is_some());
    assert_eq!(store.holds().unwrap(), [hold]);
    assert_eq!(signed_in_an_empty_folder(), 0);
}

fn signed_in_an_empty_folder() -> u64 {
    signed(tempfile::tempdir().unwrap().path())
}

#[tokio::test]
async fn a_request_is_open_until_the_last_of_its_records() {
    let (folder, store) = (tempfile::tempdir().unwrap(), store());
    let erases = open(folder.path(), &store);
    store.ask_erasure(&request("q")).unwrap();
    said(&erases, "e1", erased(&["a"], 1)).await;
    finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
    assert_eq!(store.erasures().unwrap().len(), 1);
    said(&erases, "e2", erased(&["b"], 0)).await;
    finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
    assert!(store.erasures().unwrap().is_empty());
}

#[tokio::test]
async fn a_record_of_as_many_keys_as_one_names_is_whole() {
    let (folder, store) = (tempfile::tempdir().unwrap(), store());
    let erases = open(folder.path(), &store);
    let class = erasure::recording_class("01996f3a-0000-7000-8000-000000000003");
    let keys: Vec<(String, String)> = (0..100).map(|key| (format!("{key:016x}"), class.clone())).collect();
    let act = ErasureAct::Erased {
        request: request("q"),
        agreed: actor(4, "dave"),
        keys: keys.clone(),
        more: 7,
    };
    said(&erases, "e", act).await;
    let record = Reader::open(folder.path())
        .unwrap()
        .records_from(0)
        .next()
        .unwrap()
        .unwrap();
    assert!(record.leaf.len() < 16 << 10, "{}", record.leaf.len());
    let leaf: serde_json::Value = serde_json::from_slice(&record.leaf).unwrap();
    assert_eq!(leaf["erasure"]["keys"].as_array().unwrap().len(), 100);
    assert_eq!(leaf["erasure"]["keys"][99]["class"], class.as_str());
    assert_eq!(leaf["erasure"]["more"], 7);
}

/// One of each step. What is frozen never changes; a later release reads it as this one does.
#[tokio::test]
async fn records_of_erasures_and_holds_are_those_that_were_frozen() {
    let (folder, store) = (tempfile::tempdir().unwrap(), store());
    let erases = open(folder.path(), &store);
    let held = Hold {
        id: "hold-1".to_owned(),
        of: Scope {
            classes: Vec::new(),
            from: Some(Timestamp::from_unix_seconds(10)),
            to: Some(Timestamp::from_unix_seconds(20)),
            ..alice()
        },
        by: "carol".to_owned(),
        actor: None,
        why: "case 7".to_owned(),
        at: Timestamp::from_unix_seconds(2),
    };
    let refused = ErasureAct::Refused {
        request: request("request-1"),
        why: "the legal hold hold-1 of carol forbids it: case 7".to_owned(),
        hold: Some("hold-1".to_owned()),
    };
    let not_released = ErasureAct::NotReleased {
        hold: held.clone(),
        why: "it takes two people, and that is you as well".to_owned(),
    };
    let released = ErasureAct::Released {
        hold: held.clone(),
        why: "the case is closed".to_owned(),
    };
    said(&erases, "request-1", ErasureAct::Asked(request("request-1"))).await;
    said(&erases, "hold-1", ErasureAct::Held(held)).await;
    said(&erases, "refused-1", refused).await;
    said(&erases, "released-1", released).await;
    said(&erases, "erased-1", erased(&["5f6c4d66a1e1b6ef"], 1)).await;
    said(&erases, "withdrawn-1", ErasureAct::Withdrawn(request("request-2"))).await;
    said(&erases, "not-released-1", not_released).await;
    let records = Reader::open(folder.path()).unwrap().records_from(0);
    let leaves = records.map(|record| String::from_utf8(record.unwrap().leaf).unwrap() + "\n");
    let now: String = leaves.collect();
    let frozen = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/erasures/v1.ndjson");
    assert_eq!(now, std::fs::read_to_string(frozen).unwrap_or_default(), "{now}");
}

/// The record stands, and the store failed behind it; then hours pass in which nobody starts the gateway.
#[tokio::test]
async fn an_erasure_that_is_recorded_and_not_done_is_finished_by_the_next_start_however_late_it_comes() {
    let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
    let erases = open(folder.path(), &store);
    let alice = alice().subject;
    let key = store.part_key(alice.as_str(), "command", now).unwrap();
    store.ask_erasure(&request("q")).unwrap();
    store.begin_erasure(&request("q"), erases.records(), now).unwrap();
    said(&erases, "e", erased(&[&key.id], 0)).await;
    store.sweep(Timestamp::from_unix_seconds(100 + 30 * 86_400)).unwrap();
    // The store stands on all records by now.
    let finished = finish((folder.path(), None), erases.records(), &all(&erases), &store).unwrap();
    assert_eq!(finished.destroyed, 1, "the ledger says that it is erased");
    assert!(store.part_key_named(alice.as_str(), &key.id).unwrap().is_none());
    assert!(store.erasures().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_that_was_begun_and_never_recorded_is_open_again_after_a_start_that_could_read_all() {
    let (folder, store, now) = (tempfile::tempdir().unwrap(), store(), Timestamp::EPOCH);
    let erases = open(folder.path(), &store);
    store.ask_erasure(&request("q")).unwrap();
    said(&erases, "q", ErasureAct::Asked(request("q"))).await;
    store.begin_erasure(&request("q"), 0, now).unwrap();
    let other = Before {
        signed: Head {
            root: Default::default(),
            ..erases.ledger.durable()
        },
        refused: BTreeSet::new(),
        foreign: 0..0,
    };
    let finished = finish((folder.path(), None), 0, &other, &store).unwrap();
    assert!(finished.is_unproved);
    assert_eq!(
        store.erasures_begun().unwrap(),
        Some(0),
        "what the records say was not done by"
    );
    finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
    assert_eq!(store.erasures_begun().unwrap(), None);
    assert_eq!(store.erasures().unwrap().len(), 1, "somebody may agree to it");
}

/// promise_8: whoever can write the ledger's files says of ever more holds that they were set.
#[tokio::test]
async fn promise_8_records_of_holds_fill_no_more_than_there_is_room_for_and_the_gateway_starts() {
    let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
    let limits = state::Limits {
        holds: 3,
        ..state::Limits::default()
    };
    let (folder, store) = (
        tempfile::tempdir().unwrap(),
        Arc::new(Store::in_memory(keys, limits).unwrap()),
    );
    let erases = open(folder.path(), &store);
    let hold = |number: u8| Hold {
        id: format!("h-{number}"),
        of: alice(),
        by: "carol".to_owned(),
        actor: Some(actor(4, "dave")),
        why: "case 7".to_owned(),
        at: Timestamp::from_unix_seconds(2),
    };
    for number in 0..5 {
        said(&erases, &format!("r-{number}"), ErasureAct::Held(hold(number))).await;
    }
    let finished = finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
    assert_eq!(
        store.holds().unwrap(),
        [hold(2), hold(1), hold(0)],
        "the first ones count"
    );
    assert_eq!(finished.holds_left_out, 2);
    // One that stands already takes no room.
    let finished = finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
    assert_eq!(finished.holds_left_out, 2);
    // Where one was released, the next start has room for what was left out.
    let why = "the case is closed".to_owned();
    said(&erases, "r-6", ErasureAct::Released { hold: hold(0), why }).await;
    finish((folder.path(), None), 0, &all(&erases), &store).unwrap();
    assert_eq!(store.holds().unwrap().len(), 2, "in the order of the records");
}

/// The body of a record, as it was handed to the ledger.
fn body_of(folder: &Path, seq: u64) -> String {
    let record = Reader::open(folder).unwrap().record(seq).unwrap().unwrap();
    String::from_utf8(body(&record)).unwrap()
}

/// A ledger where names are sealed and one where they are not: in both, of alice all is erased and a hold is released.
struct InBoth {
    clear: (tempfile::TempDir, Arc<Store>),
    sealed: (tempfile::TempDir, Arc<Store>),
    in_sealed: Erasures,
    names: Arc<dyn ledger::Names>,
}

async fn erased_in_both() -> InBoth {
    let clear = (tempfile::tempdir().unwrap(), store());
    let sealed = (tempfile::tempdir().unwrap(), store());
    let (in_clear, in_sealed) = (open(clear.0.path(), &clear.1), open(sealed.0.path(), &sealed.1));
    let names = names::begin(
        crate::config::Names::Sealed,
        &in_sealed.ledger,
        sealed.0.path(),
        &sealed.1,
    );
    let names = names.unwrap().unwrap();
    let (now, whose) = (Timestamp::EPOCH, alice().subject);
    let all = erasure::Request {
        of: Scope {
            classes: Vec::new(),
            ..alice()
        },
        ..request("q")
    };
    for class in ["command", NAME_CLASS] {
        sealed.1.part_key(whose.as_str(), class, now).unwrap();
    }
    in_sealed.forget_what_passed_and(&whose, &mut || sealed.1.ask_erasure(&all).unwrap());
    let keys = sealed.1.begin_erasure(&all, in_sealed.records(), now).unwrap();
    let hold = Hold {
        id: "h".to_owned(),
        of: alice(),
        by: "eve".to_owned(),
        actor: None,
        why: "case 7".to_owned(),
        at: now,
    };
    let over = ErasureAct::Released {
        hold,
        why: "over".to_owned(),
    };
    let done = ErasureAct::Erased {
        request: all,
        agreed: actor(4, "dave"),
        keys: keys.into_iter().map(|key| (key.id, key.class)).collect(),
        more: 0,
    };
    for erases in [&in_clear, &in_sealed] {
        said(erases, "e", done.clone()).await;
        said(erases, "r", over.clone()).await;
    }
    InBoth {
        clear,
        sealed,
        in_sealed,
        names,
    }
}

/// Whoever has the state file could try every name in words that everybody can write down.
#[tokio::test]
async fn promise_6_where_names_are_sealed_no_digest_of_words_in_the_clear_is_kept() {
    let InBoth { clear, sealed, .. } = erased_in_both().await;
    for seq in [0, 1] {
        let [plain, hidden] = [&clear, &sealed].map(|(folder, _)| body_of(folder.path(), seq));
        assert!(clear.1.knows_words(plain.as_bytes()).unwrap(), "{plain}");
        assert!(
            !sealed.1.knows_words(plain.as_bytes()).unwrap(),
            "it can be guessed: {plain}"
        );
        assert!(
            sealed.1.knows_words(hidden.as_bytes()).unwrap(),
            "it is believed: {hidden}"
        );
        assert!(plain.contains("alice") && !hidden.contains("alice"), "{hidden}");
    }
}

/// The process ended between the record and the end of the keys, and before a signature.
#[tokio::test]
async fn what_was_interrupted_is_finished_where_names_are_sealed() {
    let InBoth {
        sealed,
        in_sealed,
        names,
        ..
    } = erased_in_both().await;
    let unsigned = Before {
        signed: Head {
            size: 0,
            ..in_sealed.ledger.durable()
        },
        refused: BTreeSet::new(),
        foreign: 0..0,
    };
    let finished = finish((sealed.0.path(), Some(&names)), 0, &unsigned, &sealed.1).unwrap();
    assert_eq!(finished.destroyed, 2, "both keys that were asked for");
}
