//! Sessions from their begin to each of their ends: exchange, reuse, limits, locks, logout.

use model::lock::Lock;
use model::subject::SubjectKind;

use super::*;
use crate::store::tests::{test_keys, test_store};
use crate::{Limits, Locking, NewCode, RedeemedCode, Revocation};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_000_000);

fn at(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

pub(crate) fn alice() -> NewSession {
    NewSession {
        subject_id: SubjectId::from_digest([1; 16]),
        provider: "corp".to_owned(),
        provider_sid: Some("provider-session".to_owned()),
        identity: Identity {
            issuer: "https://idp.example".to_owned(),
            subject: "alice".to_owned(),
            username: "alice@example.com".to_owned(),
            uid: None,
            groups: vec!["dev".to_owned()],
            extra: BTreeMap::new(),
            email: None,
        },
        client: ClientKind::Cli,
        source: "192.0.2.1".to_owned(),
        auth_time: Some(999_990),
        acr: None,
        tokens: ProviderTokens {
            refresh: Some("canary-refresh-token".to_owned()),
            id_token: Some("canary-id-token".to_owned()),
            claims: "{}".to_owned(),
            nonce: "nonce".to_owned(),
        },
        first_use: Duration::from_secs(60),
        idle: Duration::from_secs(3600),
        absolute: Duration::from_secs(36_000),
    }
}

fn begin(store: &Store, new: &NewSession, now: Timestamp) -> (Session, Secret) {
    match store.begin_session(new, now).unwrap() {
        SessionSecrets::Begun { session, secret } => (*session, secret),
        SessionSecrets::Locked { why } => panic!("locked: {why}"),
    }
}

/// A browser in which alice has signed in.
pub(crate) fn of_browser(store: &Store) -> SessionId {
    let new = NewSession {
        client: ClientKind::Browser,
        first_use: alice().idle,
        ..alice()
    };
    begin(store, &new, NOW).0.id
}

/// A lock on alice.
fn lock(until: Timestamp, why: &str, now: Timestamp) -> Lock {
    Lock {
        subject: alice().subject_id,
        kind: SubjectKind::Person,
        user: alice().identity.username,
        email: None,
        until,
        why: why.to_owned(),
        by: "carol@example.com".to_owned(),
        at: now,
    }
}

fn with_handle(store: &Store) -> (SessionId, Secret) {
    let (session, _) = begin(store, &alice(), NOW);
    let handle = store.first_handle(&session.id, NOW).unwrap().unwrap();
    (session.id, handle)
}

fn exchange(store: &Store, handle: &Secret, key: Option<&str>, now: Timestamp) -> Exchanged {
    let key = key.map(Secret::presented);
    let exchange = Exchange {
        handle,
        request_key: key.as_ref(),
    };
    store.exchange(&exchange, now).unwrap()
}

fn good(exchanged: Exchanged) -> Secret {
    match exchanged {
        Exchanged::Good { handle, .. } => handle,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_exchange_gives_the_next_handle() {
    let store = test_store();
    let (id, mut handle) = with_handle(&store);
    for round in 1..=5 {
        let next = good(exchange(&store, &handle, None, at(round * 600)));
        assert_ne!(next, handle);
        handle = next;
    }
    assert_eq!(store.session(&id, at(3000)).unwrap().unwrap().generation, 6);
}

#[test]
fn an_older_handle_ends_the_session_for_both_holders() {
    let store = test_store();
    let (id, first) = with_handle(&store);
    let second = good(exchange(&store, &first, None, at(1)));
    let third = good(exchange(&store, &second, None, at(2)));
    assert!(matches!(exchange(&store, &first, None, at(3)), Exchanged::Reused(_)));
    assert!(matches!(
        exchange(&store, &third, None, at(4)),
        Exchanged::Ended(_, EndReason::HandleReused)
    ));
    let standing = store.session(&id, at(4)).unwrap().unwrap().standing;
    assert_eq!(standing, Standing::Ended(EndReason::HandleReused));
    assert!(store.provider_tokens(&id).unwrap().is_none());
}

const KEY: &str = "0123456789abcdef0123";

#[test]
fn a_lost_answer_is_given_again_to_the_same_request_only() {
    let store = test_store();
    let (_, first) = with_handle(&store);
    let second = good(exchange(&store, &first, Some(KEY), at(1)));
    assert_eq!(good(exchange(&store, &first, Some(KEY), at(30))), second);
    assert!(matches!(
        exchange(&store, &first, Some("another key of 16+"), at(30)),
        Exchanged::Reused(_)
    ));
}

#[test]
fn a_lost_answer_is_not_given_again_after_thirty_seconds() {
    let store = test_store();
    let (_, first) = with_handle(&store);
    good(exchange(&store, &first, Some(KEY), at(1)));
    assert!(matches!(
        exchange(&store, &first, Some(KEY), at(31)),
        Exchanged::Reused(_)
    ));
}

#[test]
fn a_lost_answer_is_not_given_again_once_the_new_handle_was_used() {
    let store = test_store();
    let (_, first) = with_handle(&store);
    let second = good(exchange(&store, &first, Some(KEY), at(1)));
    good(exchange(&store, &second, Some("another key of 16+"), at(2)));
    assert!(matches!(
        exchange(&store, &first, Some(KEY), at(3)),
        Exchanged::Reused(_)
    ));
}

#[test]
fn a_short_request_key_counts_as_none() {
    let store = test_store();
    let (_, first) = with_handle(&store);
    good(exchange(&store, &first, Some("short"), at(1)));
    assert!(matches!(
        exchange(&store, &first, Some("short"), at(1)),
        Exchanged::Reused(_)
    ));
}

#[test]
fn a_handle_made_up_from_a_known_session_id_harms_nobody() {
    let store = test_store();
    let (id, handle) = with_handle(&store);
    for forged in [
        format!("gsh1.{id}.0.AAAA.BBBB"),
        format!("gsh1.{id}.1.AAAA.BBBB"),
        format!("gsh1.{id}.-1.AAAA.BBBB"),
        format!("gsh1.{id}.99999999999999999999.AAAA.BBBB"),
        format!("gsh2.{id}.1.AAAA.BBBB"),
        "x".repeat(100_000),
        String::new(),
    ] {
        let exchanged = exchange(&store, &Secret::presented(&forged), None, at(1));
        assert!(matches!(exchanged, Exchanged::Unknown), "{exchanged:?}");
    }
    good(exchange(&store, &handle, None, at(2)));
}

#[test]
fn looking_at_a_handle_does_not_use_it_up() {
    let store = test_store();
    let (_, handle) = with_handle(&store);
    let look = Exchange {
        handle: &handle,
        request_key: None,
    };
    for _ in 0..3 {
        assert!(matches!(
            store.inspect_handle(&look, at(1)).unwrap(),
            Exchanged::Good { .. }
        ));
    }
    good(exchange(&store, &handle, None, at(2)));
    assert!(matches!(
        store.inspect_handle(&look, at(3)).unwrap(),
        Exchanged::Reused(_)
    ));
}

#[test]
fn a_session_gets_its_first_handle_once_and_in_time() {
    let store = test_store();
    let (session, _) = begin(&store, &alice(), NOW);
    assert!(
        store.first_handle(&session.id, at(60)).unwrap().is_none(),
        "first use was due before"
    );
    let (id, _) = with_handle(&store);
    assert!(store.first_handle(&id, NOW).unwrap().is_none());
}

#[test]
fn fifty_exchanges_of_one_handle_at_once_give_one_next_handle_and_then_end_the_session() {
    let store = std::sync::Arc::new(test_store());
    let (id, handle) = with_handle(&store);
    let threads: Vec<_> = (0..50)
        .map(|_| {
            let (store, handle) = (store.clone(), handle.clone());
            std::thread::spawn(move || matches!(exchange(&store, &handle, None, at(1)), Exchanged::Good { .. }))
        })
        .collect();
    let good = threads
        .into_iter()
        .filter_map(|thread| thread.join().unwrap().then_some(()))
        .count();
    assert_eq!(good, 1);
    assert_eq!(
        store.session(&id, at(1)).unwrap().unwrap().standing,
        Standing::Ended(EndReason::HandleReused)
    );
}

#[test]
fn ses_09_a_session_ends_when_idle_and_when_too_old_whatever_its_use() {
    let store = test_store();
    let (id, mut handle) = with_handle(&store);
    assert_eq!(
        store.session(&id, at(3600)).unwrap().unwrap().standing,
        Standing::Ended(EndReason::Idle)
    );
    for hour in 1..=19 {
        handle = good(exchange(&store, &handle, None, at(hour * 1800)));
    }
    let session = store.session(&id, at(35_999)).unwrap().unwrap();
    assert_eq!(
        (session.standing, session.idle_end),
        (Standing::Live, session.absolute_end)
    );
    assert!(matches!(
        exchange(&store, &handle, None, at(36_000)),
        Exchanged::Ended(_, EndReason::TooOld)
    ));
}

#[test]
fn a_browser_secret_finds_its_session_and_moves_the_idle_end() {
    let store = test_store();
    let (session, secret) = begin(&store, &alice(), NOW);
    assert_eq!(
        store.session_of_secret(&secret, at(59)).unwrap().unwrap().id,
        session.id
    );
    assert!(
        store
            .session_of_secret(&Secret::random().unwrap(), NOW)
            .unwrap()
            .is_none()
    );
    let id_as_secret = Secret::presented(session.id.as_str());
    assert!(
        store.session_of_secret(&id_as_secret, NOW).unwrap().is_none(),
        "the public id opens nothing"
    );
    let mut new = alice();
    new.first_use = new.idle;
    let (_, secret) = begin(&store, &new, NOW);
    for minute in (30..240).step_by(30) {
        let found = store.session_of_secret(&secret, at(minute * 60)).unwrap().unwrap();
        assert_eq!(found.standing, Standing::Live, "minute {minute}");
    }
}

#[test]
fn who_loses_a_group_is_told_in_the_order_of_ends_and_who_is_the_same_is_not() {
    let store = test_store();
    let (session, _) = begin(&store, &alice(), NOW);
    let keep = |identity: Option<&Identity>| {
        let (tokens, version) = store.provider_tokens(&session.id).unwrap().unwrap();
        assert!(
            store
                .store_provider_tokens(&session.id, version, &tokens, identity, at(5))
                .unwrap()
        );
        store.revocations_since(0, 10).unwrap()
    };
    let mut same = session.identity.clone();
    same.groups.reverse();
    same.email = Some("another@example.com".to_owned());
    for identity in [None, Some(&session.identity), Some(&same)] {
        assert_eq!(keep(identity), [], "{identity:?}");
    }
    same.groups = vec!["another".to_owned()];
    let told = keep(Some(&same));
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(
        (&told[0].revoked, &*told[0].why),
        (&Revoked::Session(session.id.clone()), IDENTITY_CHANGED)
    );
    assert_eq!(store.revision(), told[0].revision);
    assert_eq!(keep(Some(&same)).len(), 1, "said once");
}

#[test]
fn provider_tokens_are_stored_before_use_and_only_over_the_version_that_was_read() {
    let store = test_store();
    let (session, _) = begin(&store, &alice(), NOW);
    let (mut tokens, version) = store.provider_tokens(&session.id).unwrap().unwrap();
    tokens.refresh = Some("rotated".to_owned());
    let mut identity = session.identity.clone();
    identity.groups = vec!["sre".to_owned()];
    assert!(
        store
            .store_provider_tokens(&session.id, version, &tokens, Some(&identity), at(5))
            .unwrap()
    );
    assert!(
        !store
            .store_provider_tokens(&session.id, version, &tokens, Some(&identity), at(6))
            .unwrap()
    );
    let (stored, version) = store.provider_tokens(&session.id).unwrap().unwrap();
    assert_eq!((stored.refresh.as_deref(), version), (Some("rotated"), 1));
    let session = store.session(&session.id, at(6)).unwrap().unwrap();
    assert_eq!(
        (session.identity.groups, session.checked_at),
        (vec!["sre".to_owned()], at(5))
    );
}

#[test]
fn ses_11_no_secret_stands_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
    let (session, secret) = begin(&store, &alice(), NOW);
    let handle = store.first_handle(&session.id, NOW).unwrap().unwrap();
    let next = good(exchange(&store, &handle, Some(KEY), at(1)));
    let new = NewCode {
        session: &session.id,
        payload: b"canary-code-payload",
        expires_at: at(60),
    };
    let code = store.make_code(&new, NOW).unwrap();
    drop(store);
    let mut bytes = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        bytes.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("alice@example.com"), "the search itself works");
    for canary in [
        secret.reveal(),
        handle.reveal(),
        next.reveal(),
        code.reveal(),
        KEY,
        "canary-refresh-token",
        "canary-id-token",
        "canary-code-payload",
    ] {
        assert!(
            !holds(canary),
            "a secret of {} characters stands in the file",
            canary.len()
        );
    }
}

#[test]
fn what_ended_stays_ended_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let open = || Store::open(&path, test_keys(), Limits::default()).unwrap();
    let store = open();
    let (id, handle) = with_handle(&store);
    assert!(store.end_session(&id, EndReason::SignedOut, at(1)).unwrap());
    assert!(!store.end_session(&id, EndReason::SignedOut, at(2)).unwrap());
    drop(store);
    let store = open();
    assert_eq!(store.revision(), 1);
    assert!(matches!(
        exchange(&store, &handle, None, at(3)),
        Exchanged::Ended(_, EndReason::SignedOut)
    ));
}

#[test]
fn a_lock_ends_what_is_open_and_refuses_what_comes_until_it_is_lifted() {
    let store = test_store();
    let (id, handle) = with_handle(&store);
    let subject = alice().subject_id;
    let told = store.lock(&lock(Timestamp::MAX, "left the company", at(1))).unwrap();
    assert_eq!(told, Locking::Done(vec![id]));
    assert!(matches!(
        exchange(&store, &handle, None, at(2)),
        Exchanged::Ended(_, EndReason::Locked)
    ));
    let refused = store.begin_session(&alice(), at(3)).unwrap();
    assert!(matches!(refused, SessionSecrets::Locked { why } if why == "left the company"));
    assert!(store.unlock(&subject).unwrap());
    begin(&store, &alice(), at(4));
    assert!(matches!(
        exchange(&store, &handle, None, at(5)),
        Exchanged::Ended(_, EndReason::Locked)
    ));
}

#[test]
fn a_lock_reaches_every_session_of_the_user_name_whoever_vouched_and_no_other() {
    let store = test_store();
    let (mut elsewhere, mut other) = (alice(), alice());
    elsewhere.subject_id = SubjectId::from_digest([7; 16]);
    other.subject_id = SubjectId::from_digest([8; 16]);
    other.identity.username = "bob".to_owned();
    let (first, _) = begin(&store, &alice(), at(0));
    let (second, _) = begin(&store, &elsewhere, at(0));
    let (his, _) = begin(&store, &other, at(0));
    let told = store.lock(&lock(Timestamp::MAX, "left", at(1))).unwrap();
    let Locking::Done(ended) = told else { panic!("{told:?}") };
    assert_eq!(ended.len(), 2);
    assert!(ended.contains(&first.id) && ended.contains(&second.id), "{ended:?}");
    assert_eq!(store.session(&his.id, at(2)).unwrap().unwrap().standing, Standing::Live);
    let refused = store.begin_session(&elsewhere, at(2)).unwrap();
    assert!(matches!(refused, SessionSecrets::Locked { .. }), "{refused:?}");
    begin(&store, &other, at(2));
}

#[test]
fn a_lock_ends_by_itself_and_a_shorter_one_does_not_end_it_sooner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
    let before = store.revision();
    store.lock(&lock(at(100), "for a while", at(1))).unwrap();
    let shorter = store.lock(&lock(at(50), "shorter", at(2))).unwrap();
    assert_eq!(
        shorter,
        Locking::Longer(Box::new(lock(at(100), "for a while", at(1)))),
        "the longer one stays"
    );
    drop(store);
    let store = Store::open(&path, test_keys(), Limits::default()).unwrap();
    assert!(store.revision() > before);
    assert_eq!(store.locks(at(99)).unwrap(), [lock(at(100), "for a while", at(1))]);
    let refused = store.begin_session(&alice(), at(99)).unwrap();
    let until = format!("for a while (until {})", at(100));
    assert!(matches!(refused, SessionSecrets::Locked { why } if why == until));
    assert_eq!(store.locks(at(100)).unwrap(), []);
    let (session, _) = begin(&store, &alice(), at(100));
    store.sweep(at(101)).unwrap();
    let standing = |id| store.session(id, at(102)).unwrap().unwrap().standing;
    assert_eq!(standing(&session.id), Standing::Live);
    store.lock(&lock(at(103), "again", at(102))).unwrap();
    store.sweep(at(104)).unwrap();
    assert_eq!(
        standing(&session.id),
        Standing::Ended(EndReason::Locked),
        "the lock is gone, its end is not"
    );
}

#[test]
fn locks_are_bounded_and_one_in_place_of_another_needs_no_more_room() {
    let limits = Limits {
        locks: 1,
        ..Limits::default()
    };
    let store = Store::in_memory(test_keys(), limits).unwrap();
    store.lock(&lock(at(5), "one", at(1))).unwrap();
    store.lock(&lock(at(6), "in its place", at(2))).unwrap();
    let mut another = lock(at(5), "two", at(1));
    another.subject = SubjectId::from_digest([7; 16]);
    let refused = store.lock(&another).unwrap_err();
    assert!(
        matches!(
            refused,
            StateError::Full {
                table: "locks",
                limit: 1
            }
        ),
        "{refused}"
    );
    assert!(store.unlock(&alice().subject_id).unwrap());
    assert!(!store.unlock(&alice().subject_id).unwrap());
    store.lock(&another).unwrap();
}

#[test]
fn a_person_is_found_by_user_name_address_or_subject_id_and_each_name_once() {
    let store = test_store();
    begin(&store, &alice(), at(0));
    begin(&store, &alice(), at(1));
    let mut renamed = alice();
    renamed.identity.username = "alice.lee".to_owned();
    renamed.identity.email = Some("Alice@Example.com".to_owned());
    begin(&store, &renamed, at(2));
    let names = |who: &str| -> Vec<String> {
        let found = store.people(who).unwrap();
        found.into_iter().map(|(_, identity)| identity.username).collect()
    };
    assert_eq!(names("alice.lee"), ["alice.lee"]);
    assert_eq!(
        names("alice@example.com").first().map(String::as_str),
        Some("alice.lee")
    );
    assert_eq!(names(alice().subject_id.as_str()).len(), 2, "newest first, each once");
    assert_eq!(names("ali"), Vec::<String>::new());
}

#[test]
fn all_before_a_time_spares_what_began_after_it() {
    let store = test_store();
    let (old, _) = begin(&store, &alice(), at(0));
    let (new, _) = begin(&store, &alice(), at(10));
    let told = store.lock(&lock(at(5), "password reset", at(11))).unwrap();
    assert_eq!(told, Locking::Done(vec![old.id]));
    assert_eq!(
        store.session(&new.id, at(12)).unwrap().unwrap().standing,
        Standing::Live
    );
    begin(&store, &alice(), at(13));
}

#[test]
fn every_end_raises_the_revision_and_can_be_read_in_order() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let store = test_store();
    let told = std::sync::Arc::new(AtomicU64::new(0));
    let watcher = told.clone();
    store.watch_revision(move |revision| watcher.store(revision, Ordering::SeqCst));
    let (first, _) = begin(&store, &alice(), NOW);
    let (second, _) = begin(&store, &alice(), NOW);
    store.end_session(&first.id, EndReason::SignedOut, at(1)).unwrap();
    store.lock(&lock(at(2), "reset", at(2))).unwrap();
    assert_eq!((store.revision(), told.load(Ordering::SeqCst)), (3, 3));
    let all = store.revocations_since(0, 100).unwrap();
    let what: Vec<_> = all.iter().map(|revocation| revocation.revoked.clone()).collect();
    assert_eq!(
        what,
        vec![
            Revoked::Session(first.id),
            Revoked::Subject(alice().subject_id, at(2)),
            Revoked::Session(second.id)
        ]
    );
    let later: Vec<Revocation> = store.revocations_since(2, 100).unwrap();
    assert_eq!(later.len(), 1);
}

#[test]
fn a_provider_ends_its_own_sessions_and_nobody_elses() {
    let store = test_store();
    let (mine, _) = begin(&store, &alice(), NOW);
    let mut other = alice();
    other.identity.issuer = "https://other.example".to_owned();
    let (other, _) = begin(&store, &other, NOW);
    let end = |issuer: &str, sid: Option<&str>, sub: Option<&str>| {
        store
            .write(|transaction| end_by_issuer(transaction, issuer, sid, sub, EndReason::ProviderLogout, at(1)))
            .unwrap()
    };
    assert_eq!(end("https://idp.example", None, None), vec![]);
    assert_eq!(end("https://idp.example", Some("unknown"), None), vec![]);
    assert_eq!(
        end("https://idp.example", Some("provider-session"), Some("bob")),
        vec![]
    );
    assert_eq!(
        end("https://idp.example", Some("provider-session"), None),
        vec![mine.id]
    );
    assert_eq!(
        store.session(&other.id, at(2)).unwrap().unwrap().standing,
        Standing::Live
    );
}

#[test]
fn over_the_number_of_sessions_the_longest_unused_one_ends() {
    let limits = Limits {
        sessions_per_subject: 2,
        ..Limits::default()
    };
    let store = Store::in_memory(test_keys(), limits).unwrap();
    let ids: Vec<_> = (0..3).map(|second| begin(&store, &alice(), at(second)).0.id).collect();
    let standing = |id| store.session(id, at(5)).unwrap().unwrap().standing;
    assert_eq!(standing(&ids[0]), Standing::Ended(EndReason::Replaced));
    assert_eq!(
        ids[1..].iter().map(standing).collect::<Vec<_>>(),
        [Standing::Live, Standing::Live]
    );
}

#[test]
fn a_code_leads_to_its_session_once_and_ends_it_the_second_time() {
    let store = test_store();
    let (session, _) = begin(&store, &alice(), NOW);
    let new = NewCode {
        session: &session.id,
        payload: b"challenge",
        expires_at: at(60),
    };
    let code = store.make_code(&new, NOW).unwrap();
    let first = store.redeem_code(&code, at(59)).unwrap();
    assert!(matches!(first, RedeemedCode::First { payload, .. } if payload == b"challenge"));
    assert!(matches!(
        store.redeem_code(&code, at(59)).unwrap(),
        RedeemedCode::Again { .. }
    ));
    assert_eq!(
        store.session(&session.id, at(59)).unwrap().unwrap().standing,
        Standing::Ended(EndReason::CodeReused)
    );
    let late = store.make_code(&new, NOW).unwrap();
    assert_eq!(store.redeem_code(&late, at(60)).unwrap(), RedeemedCode::Expired);
    assert_eq!(
        store.redeem_code(&Secret::random().unwrap(), at(1)).unwrap(),
        RedeemedCode::Unknown
    );
}

#[test]
fn sweeping_removes_what_is_past_and_nothing_else() {
    let store = test_store();
    begin(&store, &alice(), NOW);
    assert_eq!(
        store.sweep(at(36_001)).unwrap().sessions,
        0,
        "ended sessions are kept a day, to say why"
    );
    assert_eq!(store.sweep(at(36_001 + 86_400)).unwrap().sessions, 1);
}

/// Whoever likes can ask by a name, so that it must not read all sessions.
#[test]
fn sessions_are_found_by_the_providers_name_in_an_index_and_end_by_it() {
    let store = test_store();
    let plan = |connection: &rusqlite::Connection| {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {BY_PROVIDER_SID}"))?;
        let lines = statement.query_map(params!["", ""], |row| row.get::<_, String>(3))?;
        Ok(lines.collect::<Result<Vec<_>, _>>()?.join("; "))
    };
    let plan = store.read(plan).unwrap();
    assert!(
        plan.contains("USING INDEX sessions_by_provider_sid") && !plan.contains("SCAN"),
        "{plan}"
    );
    let (session, _) = begin(&store, &alice(), NOW);
    let revision = store.revision();
    let end = |issuer: &str, sid: &str| store.end_by_provider_session(issuer, sid, at(1)).unwrap();
    for (issuer, sid) in [
        ("https://idp.example", "another-session"),
        ("https://idp.example/", "provider-session"),
        ("https://idp.example", ""),
    ] {
        assert!(end(issuer, sid).is_empty(), "{issuer} {sid}");
    }
    assert_eq!(store.revision(), revision);
    assert_eq!(
        end("https://idp.example", "provider-session"),
        std::slice::from_ref(&session.id)
    );
    assert!(store.revision() > revision && end("https://idp.example", "provider-session").is_empty());
    let standing = store.session(&session.id, at(1)).unwrap().unwrap().standing;
    assert_eq!(standing, Standing::Ended(EndReason::ProviderLogout));
}
