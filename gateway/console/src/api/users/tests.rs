//! Locks over a real store and a real ledger; what the request path would do is counted.

use std::sync::Mutex;

use model::event::RecordKind;
use model::subject::SubjectId;
use model::subject::SubjectKind::{Person, ServiceAccount};
use serde_json::Value;
use state::SessionSecrets;

use super::*;
use crate::api::sessions::tests::{Events, until};
use crate::api::tests::{World, subject, world};

/// The request path, as far as it hears of locks: whom it knew to be locked at each call, and how many records stood then.
pub(in crate::api) struct Refreshed {
    store: Arc<Store>,
    events: Arc<Events>,
    seen: Mutex<Vec<(Vec<String>, usize)>>,
}

impl Refreshed {
    pub(in crate::api) fn new(store: &Arc<Store>, events: &Arc<Events>) -> Self {
        Self {
            store: Arc::clone(store),
            events: Arc::clone(events),
            seen: Mutex::default(),
        }
    }
}

impl LocksInForce for Refreshed {
    fn refresh(&self) -> Result<usize, StateError> {
        let locks = self.store.locks(Timestamp::EPOCH)?;
        let users = locks.into_iter().map(|lock| lock.user).collect();
        self.seen.lock().unwrap().push((users, self.events.said().len()));
        Ok(3)
    }
}

async fn locks(world: &World, token: &str, asked: Value) -> (StatusCode, Value) {
    world.posts(token, "/api/v1/users/lock", &asked).await
}

async fn unlocks(world: &World, token: &str, asked: Value) -> (StatusCode, Value) {
    world.posts(token, "/api/v1/users/unlock", &asked).await
}

#[tokio::test]
async fn an_auditor_locks_somebody_out_and_in_again_and_each_is_recorded_before_it_counts() {
    let world = world();
    let alice = world.signed_in(1, "alice", &[]);
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    let asked = json!({"who": "Alice@example.com", "reason": " TICKET-7 ", "seconds": 3_600});
    let (status, told) = locks(&world, &eve, asked).await;
    let until = world.time().plus(Duration::from_secs(3_600));
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!(
        told,
        json!({"user": "alice", "subject": subject(1), "until": until, "sessions": 1, "calls": 3})
    );
    let (status, refused) = world.get(&world.bearer(&alice), "/api/v1/sessions").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "{refused}");
    assert!(
        refused["error_description"]
            .as_str()
            .unwrap()
            .contains("locked this account"),
        "{refused}"
    );
    assert!(world.is_refused(1, "alice"), "a new sign-in, too");
    assert!(!world.is_refused(2, "bob"));
    let (_, listed) = world.get(&eve, "/api/v1/users/locks").await;
    assert_eq!(
        listed["locks"],
        json!([{"subject": subject(1), "kind": "person", "user": "alice", "email": "alice@example.com", "until": until,
                "why": "TICKET-7", "by": "eve", "at": world.time()}])
    );
    let (status, told) = unlocks(&world, &eve, json!({"who": "alice", "reason": "was a mistake"})).await;
    assert_eq!(
        (status, told["unlocked"].as_array().unwrap().len()),
        (StatusCode::OK, 1),
        "{told}"
    );
    assert!(!world.is_refused(1, "alice"));
    assert_eq!(
        *world.locks.seen.lock().unwrap(),
        [(vec!["alice".to_owned()], 1), (Vec::new(), 2)],
        "the record stood first, each time"
    );
    let id = subject(1);
    let locked = format!("alice is locked by eve until {until}: TICKET-7");
    assert_eq!(
        world.events.said(),
        [
            ("userLocked", format!("locked alice ({id}) until {until}: TICKET-7")),
            (
                "userUnlocked",
                format!("unlocked alice ({id}); it was {locked}; now: was a mistake")
            ),
        ]
    );
    assert_eq!(world.read_sentences(), ["listed who is locked out: 1 shown"]);
}

#[tokio::test]
async fn without_an_audit_role_nobody_locks_unlocks_or_sees_locks() {
    let world = world();
    world.signed_in(2, "bob", &[]);
    let alice = world.bearer(&world.signed_in(1, "alice", &["dev"]));
    let (status, told) = locks(&world, &alice, json!({"who": "bob", "reason": "because"})).await;
    assert_eq!((status, &told["error"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
    assert_eq!(
        unlocks(&world, &alice, json!({"who": "bob"})).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(world.get(&alice, "/api/v1/users/locks").await.0, StatusCode::FORBIDDEN);
    assert!(world.events.said().is_empty() && world.locks.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn nobody_locks_out_themselves_by_any_of_their_names() {
    let world = world();
    let eve = world.signed_in(3, "eve", &["auditors"]);
    // Another subject under the same user name is the same person to every cluster.
    world.signed_in(4, "eve", &[]);
    let token = world.bearer(&eve);
    for (who, code) in [
        ("eve", "ambiguous"),
        ("eve@example.com", "ambiguous"),
        (subject(3).as_str(), "yourself"),
        (subject(4).as_str(), "yourself"),
    ] {
        let (status, told) = locks(&world, &token, json!({"who": who, "reason": "because"})).await;
        assert_eq!((status, &told["error"]), (StatusCode::CONFLICT, &json!(code)), "{who}");
    }
    assert!(world.events.said().is_empty());
}

#[tokio::test]
async fn a_name_of_several_people_is_refused_with_all_of_them_and_an_unknown_one_with_what_is_like_it() {
    let world = world();
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    world.signed_in(1, "alice", &[]);
    // Somebody's user name is somebody else's address.
    world.signed_in(2, "alice@example.com", &[]);
    let because = |who: &str| json!({"who": who, "reason": "because"});
    let (status, told) = locks(&world, &eve, because("alice@example.com")).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("ambiguous")),
        "{told}"
    );
    let words = told["error_description"].as_str().unwrap();
    assert!(
        words.contains(subject(1).as_str()) && words.contains(subject(2).as_str()),
        "{words}"
    );
    let (status, _) = locks(&world, &eve, because(subject(1).as_str())).await;
    assert_eq!(status, StatusCode::OK, "the subject id is nobody else's");
    world.read("a-1", 5, "walter", "pods");
    let (status, told) = locks(&world, &eve, because("waltr")).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::NOT_FOUND, &json!("no_such_user"))
    );
    assert!(
        told["error_description"]
            .as_str()
            .unwrap()
            .contains("like it are walter"),
        "{told}"
    );
    let (status, _) = locks(&world, &eve, because("walter")).await;
    assert_eq!(
        status,
        StatusCode::OK,
        "whoever has no session here stands in the records"
    );
    let (status, told) = unlocks(&world, &eve, json!({"who": "nobody"})).await;
    assert_eq!((status, &told["error"]), (StatusCode::NOT_FOUND, &json!("not_locked")));
    for wrong in ["", "a\"b", "a\nb"] {
        assert_eq!(
            locks(&world, &eve, because(wrong)).await.0,
            StatusCode::BAD_REQUEST,
            "{wrong:?}"
        );
    }
}

#[tokio::test]
async fn one_user_name_of_two_providers_is_two_people_until_one_is_named_by_the_subject_id() {
    let world = world();
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    world.signed_in(1, "alice", &[]);
    world.signed_in_at("https://other.example", 2, ("alice", None), &[]);
    let (status, told) = locks(&world, &eve, json!({"who": "alice", "reason": "left"})).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("ambiguous")),
        "{told}"
    );
    let words = told["error_description"].as_str().unwrap();
    for said in [
        format!("of https://other.example): {}", subject(2)),
        format!("of https://idp.example): {}", subject(1)),
    ] {
        assert!(words.contains(&said), "{words}");
    }
    // To Kubernetes they are one: the lock on either of them counts for both.
    let (status, told) = locks(&world, &eve, json!({"who": subject(2), "reason": "left"})).await;
    assert_eq!((status, &told["user"]), (StatusCode::OK, &json!("alice")), "{told}");
}

#[tokio::test]
async fn a_service_account_of_two_clusters_is_two_accounts() {
    let world = world();
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    let name = "system:serviceaccount:shop:ci";
    for (number, cluster) in [(7, "prod"), (8, "dev")] {
        let by = json!({"id": subject(number), "kind": "serviceAccount", "iss": format!("cluster:{cluster}"), "sub": name,
                        "user": name, "credential": "serviceAccount"});
        world.append(
            RecordKind::Refusal,
            json!({"id": format!("a-{number}"), "t": world.time(), "boot": "b", "by": by,
                "req": {"method": "GET", "path": "/api/v1/pods", "verb": "list", "resource": "pods"},
                "decision": {"allowed": false, "who": "gateway", "reason": "noRule", "policy": "sha256:77"},
                "outcome": {"end": "refused", "status": 403}}),
        );
    }
    let (status, told) = locks(&world, &eve, json!({"who": name, "reason": "leaked"})).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("ambiguous")),
        "{told}"
    );
    assert!(
        told["error_description"].as_str().unwrap().contains("of cluster:prod"),
        "{told}"
    );
    let (status, told) = locks(&world, &eve, json!({"who": subject(7), "reason": "leaked"})).await;
    assert_eq!((status, &told["user"]), (StatusCode::OK, &json!(name)), "{told}");
    let (_, listed) = world.get(&eve, "/api/v1/users/locks").await;
    assert_eq!(listed["locks"][0]["kind"], "serviceAccount");
}

#[tokio::test]
async fn a_shorter_lock_changes_nothing_and_what_is_no_lock_is_refused_before_anybody_is_looked_for() {
    let world = world();
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    world.signed_in(1, "alice", &[]);
    for wrong in [
        json!({"who": "alice"}),
        json!({"who": "alice", "reason": "no"}),
        json!({"who": "alice", "reason": "two\nlines"}),
        json!({"who": "alice", "reason": "because", "seconds": 59}),
        json!({"who": "alice", "reason": "because", "seconds": 366 * 86_400 + 1}),
        json!({"who": "alice", "reason": "because", "minutes": 5}),
    ] {
        assert_eq!(
            locks(&world, &eve, wrong.clone()).await.0,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
    let (status, _) = locks(&world, &eve, json!({"who": "alice", "reason": "left"})).await;
    assert_eq!(status, StatusCode::OK);
    let (status, told) = locks(
        &world,
        &eve,
        json!({"who": "alice", "reason": "for a while", "seconds": 60}),
    )
    .await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("locked_for_longer"))
    );
    assert!(
        told["error_description"]
            .as_str()
            .unwrap()
            .starts_with("alice is locked by eve: left"),
        "{told}"
    );
    assert_eq!(world.events.said().len(), 1, "nothing is recorded that does not happen");
}

#[tokio::test]
async fn what_cannot_be_recorded_locks_nobody() {
    let world = world();
    let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
    world.signed_in(1, "alice", &[]);
    world.events.fails(true);
    let (status, told) = locks(&world, &eve, json!({"who": "alice", "reason": "because"})).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{told}");
    assert!(!world.is_refused(1, "alice"));
    assert!(world.locks.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_lock_and_its_end_that_are_recorded_come_also_when_whoever_asked_has_gone() {
    for is_locked in [false, true] {
        let world = world();
        let eve = world.bearer(&world.signed_in(3, "eve", &["auditors"]));
        world.signed_in(1, "alice", &[]);
        let asked = json!({"who": "alice", "reason": "because"});
        if is_locked {
            let lock = Lock {
                subject: subject(1),
                kind: Person,
                user: "alice".to_owned(),
                email: None,
                until: Timestamp::MAX,
                why: "because".to_owned(),
                by: "eve".to_owned(),
                at: world.time(),
            };
            world.store.lock(&lock).unwrap();
        }
        let target = format!("/api/v1/users/{}", if is_locked { "unlock" } else { "lock" });
        let asked = world.posts(&eve, &target, &asked);
        world.events.left_behind_the_record(asked).await;
        until(|| !world.locks.seen.lock().unwrap().is_empty()).await;
        assert_eq!(world.is_refused(1, "alice"), !is_locked, "{target}");
    }
}

impl World {
    /// Whether a new sign-in is refused for a lock.
    fn is_refused(&self, number: u8, name: &str) -> bool {
        let known = self.signs_in(number, name, &[]);
        matches!(known, SessionSecrets::Locked { .. })
    }
}

#[test]
fn every_lock_on_a_name_is_lifted_together_and_those_of_others_stay() {
    let lock = |number: u8, kind, user: &str, email: Option<&str>| Lock {
        subject: SubjectId::from_digest([number; 16]),
        kind,
        user: user.to_owned(),
        email: email.map(str::to_owned),
        until: Timestamp::MAX,
        why: "because".to_owned(),
        by: "eve".to_owned(),
        at: Timestamp::EPOCH,
    };
    let all = [
        lock(1, Person, "alice", Some("alice@example.com")),
        lock(2, Person, "alice", None),
        lock(3, Person, "bob", Some("team@example.com")),
        lock(4, Person, "ben", Some("team@example.com")),
        lock(5, ServiceAccount, "system:serviceaccount:a:b", None),
        lock(6, ServiceAccount, "system:serviceaccount:a:b", None),
    ];
    let lifts = |who: &str| -> Result<Vec<u8>, &'static str> {
        let found = find::locked(&all, who).map_err(|refused| refused.error)?;
        let number = |lock: &Lock| (1..).zip(&all).find(|(_, one)| *one == lock).unwrap().0;
        Ok(found.iter().map(number).collect())
    };
    assert_eq!(lifts("alice"), Ok(vec![1, 2]));
    assert_eq!(lifts("ALICE@example.com"), Ok(vec![1, 2]));
    assert_eq!(lifts(all[1].subject.as_str()), Ok(vec![1, 2]));
    assert_eq!(lifts("team@example.com"), Err("ambiguous"));
    assert_eq!(lifts("system:serviceaccount:a:b"), Err("ambiguous"));
    assert_eq!(lifts(all[4].subject.as_str()), Ok(vec![5]));
    assert_eq!(lifts("carol"), Err("not_locked"));
}
