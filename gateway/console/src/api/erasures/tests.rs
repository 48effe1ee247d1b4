//! Erasing over a real store; what would be written down is kept, with the keys that were there at that moment.

mod begun;
mod rotated;
mod sealed;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ThreadId;

use model::live::LiveSession;
use model::lock::Lock;
use model::subject::SubjectKind;
use serde_json::Value;

use super::*;
use crate::api::tests::{World, subject, world};

/// What was written down, and how many keys of the person were there then.
pub(in crate::api) struct Steps {
    store: Arc<Store>,
    steps: Mutex<Vec<(ErasureAct, usize)>>,
    /// How many holds were in force when each was written down.
    held: Mutex<Vec<usize>>,
    fails: AtomicBool,
    /// How many steps are written down before one fails.
    fails_behind: AtomicUsize,
    forgot: AtomicUsize,
    seals_names: AtomicBool,
    /// What was stored before and behind each moment in which nothing is sealed.
    moments: Mutex<Vec<[Stored; 2]>>,
    /// The thread of the test, and of its runtime.
    made_on: ThreadId,
}

/// How many erasures are asked for, and whether one has begun.
type Stored = (usize, bool);

impl Steps {
    pub(in crate::api) fn new(store: &Arc<Store>) -> Self {
        Self {
            store: Arc::clone(store),
            steps: Mutex::default(),
            held: Mutex::default(),
            fails: AtomicBool::new(false),
            fails_behind: AtomicUsize::new(usize::MAX),
            forgot: AtomicUsize::new(0),
            seals_names: AtomicBool::new(false),
            moments: Mutex::default(),
            made_on: std::thread::current().id(),
        }
    }

    fn said(&self) -> Vec<String> {
        self.steps
            .lock()
            .unwrap()
            .iter()
            .map(|(act, _)| act.sentence())
            .collect()
    }

    fn last(&self) -> (ErasureAct, usize) {
        self.steps.lock().unwrap().last().cloned().unwrap()
    }
}

impl Erases for Steps {
    fn id(&self) -> String {
        format!("id-{}", self.steps.lock().unwrap().len())
    }

    fn record(&self, _: &str, event: ErasureEvent) -> BoxFuture<'_, Result<(), NotRecorded>> {
        Box::pin(async move {
            let written = self.steps.lock().unwrap().len();
            if self.fails.load(Ordering::SeqCst) || written >= self.fails_behind.load(Ordering::SeqCst) {
                return Err(NotRecorded("disk full".to_owned()));
            }
            self.held.lock().unwrap().push(self.store.holds().unwrap().len());
            let there = self.store.part_keys_of(&subject(1)).unwrap().len();
            self.steps.lock().unwrap().push((event.act, there));
            Ok(())
        })
    }

    fn records(&self) -> u64 {
        count(self.steps.lock().unwrap().len())
    }

    fn seals_names(&self) -> bool {
        self.seals_names.load(Ordering::SeqCst)
    }

    fn forget_keys(&self) {
        self.forgot.fetch_add(1, Ordering::SeqCst);
    }

    fn forget_what_passed_and(&self, _: &SubjectId, take: &mut dyn FnMut()) {
        let stored = || {
            (
                self.store.erasures().unwrap().len(),
                self.store.erasures_begun().unwrap().is_some(),
            )
        };
        let runs_on = std::thread::current().id();
        assert_ne!(runs_on, self.made_on, "the runtime waits for a disk");
        let before = stored();
        take();
        self.moments.lock().unwrap().push([before, stored()]);
        self.forgot.fetch_add(1, Ordering::SeqCst);
    }
}

struct Scene {
    world: World,
    carol: String,
    dave: String,
}

/// Alice has a key for each of these classes; Carol and Dave are auditors.
fn scene(classes: &[&str]) -> Scene {
    let world = world();
    world.signed_in(1, "alice", &[]);
    for class in classes {
        world.store.part_key(subject(1).as_str(), class, world.time()).unwrap();
    }
    let carol = world.bearer(&world.signed_in(3, "carol", &["auditors"]));
    let dave = world.bearer(&world.signed_in(4, "dave", &["auditors"]));
    Scene { world, carol, dave }
}

impl Scene {
    async fn asks(&self, asked: Value) -> (StatusCode, Value) {
        self.world.posts(&self.carol, "/api/v1/erasures", &asked).await
    }

    /// Carol asks, and may.
    async fn asked(&self, asked: Value) -> String {
        let (status, told) = self.asks(asked).await;
        assert_eq!(status, StatusCode::OK, "{told}");
        told["id"].as_str().unwrap().to_owned()
    }

    async fn agrees(&self, token: &str, id: &str) -> (StatusCode, Value) {
        let path = format!("/api/v1/erasures/{id}/agree");
        self.world.posts(token, &path, &json!({})).await
    }

    /// It is refused for this, recorded, and nothing is gone.
    async fn is_refused(&self, token: &str, id: &str, code: &str) -> String {
        let before = self.keys();
        let (status, told) = self.agrees(token, id).await;
        assert_eq!((status, &told["error"]), (StatusCode::CONFLICT, &json!(code)), "{told}");
        let ErasureAct::Refused { why, .. } = self.world.erases.last().0 else {
            panic!("{:?}", self.world.erases.said());
        };
        assert_eq!(told["error_description"], why.as_str());
        assert_eq!(self.keys(), before);
        why
    }

    /// Alice has a recorded session that was asked for then and goes on.
    fn goes_on(&self, id: &str, since: Timestamp) {
        self.world.sessions.live.lock().unwrap().push(LiveSession {
            id: id.to_owned(),
            subject: subject(1),
            user: "alice".to_owned(),
            email: None,
            cluster: "prod".to_owned(),
            service: None,
            namespace: "shop".to_owned(),
            resource: "pods".to_owned(),
            name: "web".to_owned(),
            container: None,
            pod: None,
            node: None,
            action: "exec".to_owned(),
            stated_reason: None,
            since,
            bytes_in: 0,
            bytes_out: 0,
            is_recorded: true,
        });
    }

    fn keys(&self) -> Vec<String> {
        let keys = self.world.store.part_keys_of(&subject(1)).unwrap();
        let mut classes: Vec<String> = keys.into_iter().map(|key| key.class).collect();
        classes.sort_unstable();
        classes
    }

    /// Somebody whom another provider vouches for.
    fn of_another_provider(&self, number: u8, user: &str, email: Option<&str>) -> String {
        let session = self
            .world
            .signed_in_at("https://other.example", number, (user, email), &["auditors"]);
        self.world.bearer(&session)
    }
}

fn commands() -> Value {
    json!({"who": "alice", "classes": ["command"], "reason": "she asked for it"})
}

#[tokio::test]
async fn two_people_erase_and_the_record_stands_before_the_key_goes() {
    let scene = scene(&["command", "query"]);
    let (status, told) = scene.asks(commands()).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!((&told["keys"], &told["of"]["user"]), (&json!(1), &json!("alice")));
    let id = told["id"].as_str().unwrap();
    let (_, listed) = scene.world.get(&scene.dave, "/api/v1/erasures").await;
    assert_eq!(
        (&listed["erasures"][0]["id"], &listed["erasures"][0]["asked"]["user"]),
        (&json!(id), &json!("carol"))
    );
    assert_eq!(scene.keys(), ["command", "query"], "to ask is not to erase");
    let (status, told) = scene.agrees(&scene.dave, id).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!((&told["keys"], &told["recordings"]), (&json!(1), &json!(0)));
    assert_eq!(scene.keys(), ["query"]);
    let (act, there) = scene.world.erases.last();
    let ErasureAct::Erased {
        request,
        agreed,
        keys,
        more,
    } = act
    else {
        panic!("{act:?}");
    };
    assert_eq!(there, 2, "both keys were there when it was written down");
    assert_eq!(
        (request.asked.user.as_str(), agreed.user.as_str(), more),
        ("carol", "dave", 0)
    );
    let said = scene.world.store.erased_key(&keys[0].0).unwrap().unwrap();
    assert_eq!(
        (said.asked.as_str(), said.agreed.as_str(), keys[0].1.as_str()),
        ("carol", "dave", "command")
    );
    let forgot = scene.world.erases.forgot.load(Ordering::SeqCst);
    assert_eq!(
        forgot, 3,
        "when it was asked for, when it was agreed to, and when it was done"
    );
    let (status, _) = scene.agrees(&scene.dave, id).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "an agreement counts once");
    let said = scene.world.erases.said();
    let alice = subject(1);
    assert_eq!(
        said,
        [
            format!("asked to erase command of alice ({alice}): she asked for it"),
            format!("erased command of alice ({alice}) as carol asked: 1 keys destroyed: she asked for it"),
        ]
    );
}

#[tokio::test]
async fn one_human_is_not_two_by_another_sign_in_account_or_provider() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    let again = scene.world.bearer(&scene.world.signed_in(3, "carol", &["auditors"]));
    // The same user name under another subject; and other providers' accounts with her address, and with none.
    let twin = scene.world.bearer(&scene.world.signed_in(5, "carol", &["auditors"]));
    let private = scene.of_another_provider(6, "okafor", Some("Carol@Example.com"));
    let nameless = scene.of_another_provider(7, "c.okafor", None);
    for (token, words) in [
        (&scene.carol, "you as well"),
        (&again, "you as well"),
        (&twin, "your user name"),
        (&private, "your e-mail address"),
        (&nameless, "nothing shows that you are two"),
    ] {
        let why = scene.is_refused(token, &id, "not_another").await;
        assert!(why.contains(words), "{why}");
    }
    let other = scene.of_another_provider(8, "erin", Some("erin@other.example"));
    assert_eq!(scene.agrees(&other, &id).await.0, StatusCode::OK);
    assert!(scene.keys().is_empty());
}

#[tokio::test]
async fn nobody_removes_traces_of_their_own() {
    let scene = scene(&["command"]);
    scene
        .world
        .store
        .part_key(subject(3).as_str(), "command", scene.world.time())
        .unwrap();
    let (status, told) = scene.asks(json!({"who": "carol", "reason": "mine"})).await;
    assert_eq!((status, &told["error"]), (StatusCode::CONFLICT, &json!("yourself")));
    let asked = json!({"who": "carol", "reason": "hers"});
    let (_, told) = scene.world.posts(&scene.dave, "/api/v1/erasures", &asked).await;
    let erin = scene.of_another_provider(8, "erin", Some("carol@example.com"));
    let id = told["id"].as_str().unwrap();
    let why = scene.is_refused(&scene.carol, id, "not_another").await;
    assert!(why.contains("your own data"), "{why}");
    scene.is_refused(&erin, id, "not_another").await;
}

#[tokio::test]
async fn without_an_audit_role_nobody_asks_agrees_holds_or_looks() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    let bob = scene.world.bearer(&scene.world.signed_in(2, "bob", &["dev"]));
    let hold = json!({"who": "alice", "reason": "case 7"});
    for (path, body) in [
        ("/api/v1/erasures".to_owned(), commands()),
        (format!("/api/v1/erasures/{id}/agree"), json!({})),
        (format!("/api/v1/erasures/{id}/withdraw"), json!({})),
        ("/api/v1/holds".to_owned(), hold),
        ("/api/v1/holds/x/release".to_owned(), json!({"reason": "over"})),
    ] {
        let (status, told) = scene.world.posts(&bob, &path, &body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {told}");
    }
    for path in ["/api/v1/erasures", "/api/v1/holds"] {
        assert_eq!(scene.world.get(&bob, path).await.0, StatusCode::FORBIDDEN);
    }
    assert_eq!(scene.keys(), ["command"]);
    // Who was in the group when the token was made, and is not any more.
    let dave = scene.world.signed_in(4, "dave", &["auditors"]);
    scene.world.leaves_all_groups(&dave);
    assert_eq!(
        scene.agrees(&scene.world.bearer(&dave), &id).await.0,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn a_request_expires_is_withdrawn_and_counts_no_longer_when_whoever_asked_is_locked_out() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    let path = format!("/api/v1/erasures/{id}/withdraw");
    assert_eq!(
        scene.world.posts(&scene.dave, &path, &json!({})).await.0,
        StatusCode::OK
    );
    assert_eq!(scene.agrees(&scene.dave, &id).await.0, StatusCode::NOT_FOUND);
    let id = scene.asked(commands()).await;
    let lock = Lock {
        subject: subject(3),
        kind: SubjectKind::Person,
        user: "carol".to_owned(),
        email: None,
        until: Timestamp::MAX,
        why: "left".to_owned(),
        by: "eve".to_owned(),
        at: scene.world.time(),
    };
    scene.world.store.lock(&lock).unwrap();
    let why = scene.is_refused(&scene.dave, &id, "locked").await;
    assert!(why.contains("carol is locked by eve"), "{why}");
    scene.world.store.unlock(&subject(3)).unwrap();
    scene.world.pass(7 * 86_400);
    let dave = scene.world.bearer(&scene.world.signed_in(4, "dave", &["auditors"]));
    let why = scene.is_refused(&dave, &id, "expired").await;
    assert!(why.contains("ask anew"), "{why}");
}

#[tokio::test]
async fn a_hold_is_in_the_way_of_asking_and_of_agreeing_until_it_is_released() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    let hold = json!({"who": "alice@example.com", "reason": "case 7"});
    let (status, held) = scene.world.posts(&scene.dave, "/api/v1/holds", &hold).await;
    assert_eq!(status, StatusCode::OK, "{held}");
    let hold = held["id"].as_str().unwrap();
    let why = scene.is_refused(&scene.dave, &id, "held").await;
    assert!(
        why.contains(hold) && why.contains("of dave") && why.contains("case 7"),
        "{why}"
    );
    let (status, told) = scene.asks(commands()).await;
    assert_eq!((status, &told["hold"]), (StatusCode::CONFLICT, &json!(hold)), "{told}");
    assert!(matches!(scene.world.erases.last().0, ErasureAct::Refused { hold: Some(by), .. } if by == hold));
    let (_, listed) = scene.world.get(&scene.carol, "/api/v1/holds").await;
    assert_eq!(
        (&listed["holds"][0]["id"], &listed["holds"][0]["by"]),
        (&json!(hold), &json!("dave"))
    );
    let path = format!("/api/v1/holds/{hold}/release");
    let (status, _) = scene.world.posts(&scene.carol, &path, &json!({"reason": " "})).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "not without a reason");
    let over = json!({"reason": "the case is closed"});
    assert_eq!(scene.world.posts(&scene.carol, &path, &over).await.0, StatusCode::OK);
    assert_eq!(
        scene.world.posts(&scene.carol, &path, &over).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(scene.agrees(&scene.dave, &id).await.0, StatusCode::OK);
}

/// The process may end at each moment: too much is held then, and never too little.
#[tokio::test]
async fn a_hold_is_in_force_before_its_record_and_until_that_of_its_release() {
    let scene = scene(&["command"]);
    let hold = json!({"who": "alice", "reason": "case 7"});
    let (_, held) = scene.world.posts(&scene.dave, "/api/v1/holds", &hold).await;
    assert_eq!(*scene.world.erases.held.lock().unwrap(), [1], "created");
    let path = format!("/api/v1/holds/{}/release", held["id"].as_str().unwrap());
    let (status, told) = scene.world.posts(&scene.carol, &path, &json!({"reason": "over"})).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!(*scene.world.erases.held.lock().unwrap(), [1, 1], "released");
    assert!(scene.world.store.holds().unwrap().is_empty());
    // What cannot be recorded does not stay in force unknown.
    scene.world.erases.fails.store(true, Ordering::SeqCst);
    let (status, _) = scene.world.posts(&scene.dave, "/api/v1/holds", &hold).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(scene.world.store.holds().unwrap().is_empty());
}

/// Somebody else of that name who has no session: a call with a provider's own token, a certificate, or a session that is over.
#[tokio::test]
async fn a_name_is_looked_for_in_records_as_well_and_one_with_a_session_is_not_taken_for_the_other() {
    let scene = scene(&["command"]);
    let because = |who: &str| json!({"who": who, "reason": "case 7"});
    for path in ["/api/v1/erasures", "/api/v1/holds", "/api/v1/part-keys/rotate"] {
        let (status, told) = scene.world.posts(&scene.carol, path, &because("alice")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {told}");
    }
    // Many acts of the first one are newer.
    scene.world.read("a-0", 9, "alice", "pods");
    for number in 1..600 {
        scene.world.refused(&format!("a-{number}"), 1, "alice");
    }
    for path in ["/api/v1/erasures", "/api/v1/holds", "/api/v1/part-keys/rotate"] {
        let (status, told) = scene.world.posts(&scene.carol, path, &because("alice")).await;
        let is_refused = (status, &told["error"], &told["subjects"]);
        let both = json!([subject(1), subject(9)]);
        assert_eq!(
            is_refused,
            (StatusCode::CONFLICT, &json!("ambiguous"), &both),
            "{path}: {told}"
        );
    }
    let (status, told) = scene
        .world
        .posts(&scene.dave, "/api/v1/holds", &because(subject(9).as_str()))
        .await;
    assert_eq!(
        (status, &told["of"]["user"]),
        (StatusCode::OK, &json!("alice")),
        "{told}"
    );
}

#[tokio::test]
async fn whoever_has_keys_and_no_session_is_erased_by_name_or_id() {
    let scene = scene(&[]);
    let name = "system:serviceaccount:shop:ci";
    let by = |number: u8, kind: &str, name: &str| json!({"id": subject(number), "kind": kind, "iss": "https://issuer", "sub": name, "user": name, "credential": "c"});
    for (number, kind, name) in [(7, "serviceAccount", name), (8, "workload", "spiffe://prod/ci")] {
        let body = json!({"id": format!("a-{number}"), "t": scene.world.time(), "boot": "b", "by": by(number, kind, name),
            "req": {"method": "GET", "path": "/api/v1/pods", "verb": "list", "resource": "pods"},
            "decision": {"allowed": true, "who": "gateway", "policy": "sha256:77"}});
        scene.world.append(model::event::RecordKind::Access, body);
    }
    for number in [6, 7, 8] {
        scene
            .world
            .store
            .part_key(subject(number).as_str(), "query", scene.world.time())
            .unwrap();
    }
    let of = [
        (7, name.to_owned()),
        (8, "spiffe://prod/ci".to_owned()),
        (7, subject(7).to_string()),
        (6, subject(6).to_string()),
    ];
    for (number, who) in of {
        let because = json!({"who": who, "reason": "TICKET-1"});
        let (status, held) = scene.world.posts(&scene.dave, "/api/v1/holds", &because).await;
        assert_eq!(
            (status, &held["of"]["subject"]),
            (StatusCode::OK, &json!(subject(number))),
            "{who}: {held}"
        );
        let path = format!("/api/v1/holds/{}/release", held["id"].as_str().unwrap());
        assert_eq!(
            scene
                .world
                .posts(&scene.carol, &path, &json!({"reason": "over"}))
                .await
                .0,
            StatusCode::OK
        );
        scene
            .world
            .store
            .part_key(subject(number).as_str(), "query", scene.world.time())
            .unwrap();
        let id = scene.asked(because).await;
        let (status, told) = scene.agrees(&scene.dave, &id).await;
        assert_eq!(
            (status, &told["of"]["subject"]),
            (StatusCode::OK, &json!(subject(number))),
            "{who}: {told}"
        );
        assert!(
            scene.world.store.part_keys_of(&subject(number)).unwrap().is_empty(),
            "{who}"
        );
    }
    let (status, told) = scene.asks(json!({"who": subject(5), "reason": "TICKET-1"})).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::NOT_FOUND, &json!("no_such_user")),
        "no key is theirs"
    );
}

/// What cannot all be read may have somebody else of that name.
#[tokio::test]
async fn a_name_counts_only_where_all_records_could_be_read_and_a_subject_id_always() {
    let scene = scene(&["command"]);
    scene.world.refused("a-1", 1, "alice");
    scene.world.spoils_the_ledger();
    scene.world.refused("a-2", 1, "alice");
    let (status, told) = scene.asks(commands()).await;
    assert_eq!(
        (status, &told["error"], &told["subjects"]),
        (StatusCode::CONFLICT, &json!("not_all_read"), &json!([subject(1)])),
        "{told}"
    );
    let (status, told) = scene
        .asks(json!({"who": subject(1), "reason": "she asked for it"}))
        .await;
    assert_eq!(status, StatusCode::OK, "{told}");
}

#[tokio::test]
async fn a_hold_on_one_recording_leaves_the_others_to_be_erased() {
    let scene = scene(&["recording:a", "recording:b"]);
    let hold = json!({"recording": "a", "reason": "case 7"});
    assert_eq!(
        scene.world.posts(&scene.dave, "/api/v1/holds", &hold).await.0,
        StatusCode::OK
    );
    let all = json!({"who": "alice", "classes": ["recording"], "reason": "old"});
    assert_eq!(scene.asks(all).await.1["error"], "held");
    let id = scene.asked(json!({"recording": "b", "reason": "old"})).await;
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!((status, &told["recordings"]), (StatusCode::OK, &json!(1)), "{told}");
    assert_eq!(scene.keys(), ["recording:a"]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_done() {
    let scene = scene(&["command"]);
    let id = scene.asked(commands()).await;
    scene.world.erases.fails.store(true, Ordering::SeqCst);
    for (path, body) in [
        // Before anybody agrees: from then on it is not withdrawn.
        (format!("/api/v1/erasures/{id}/withdraw"), json!({})),
        (format!("/api/v1/erasures/{id}/agree"), json!({})),
        ("/api/v1/erasures".to_owned(), commands()),
        ("/api/v1/holds".to_owned(), json!({"who": "alice", "reason": "case 7"})),
    ] {
        let (status, told) = scene.world.posts(&scene.dave, &path, &body).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}: {told}");
    }
    assert_eq!(scene.keys(), ["command"]);
    assert_eq!(scene.world.store.erasures().unwrap().len(), 1);
    assert!(scene.world.store.holds().unwrap().is_empty());
    scene.world.erases.fails.store(false, Ordering::SeqCst);
    assert_eq!(
        scene.agrees(&scene.dave, &id).await.0,
        StatusCode::OK,
        "later it can be done"
    );
    assert!(scene.keys().is_empty());
}

#[tokio::test]
async fn a_recording_that_is_being_made_is_not_erased_under_the_session() {
    let scene = scene(&["recording:a"]);
    let id = scene
        .asked(json!({"who": "alice", "classes": ["recording"], "reason": "old"}))
        .await;
    scene.goes_on("a", scene.world.time());
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("still_recorded")),
        "{told}"
    );
    assert_eq!(scene.keys(), ["recording:a"]);
    scene.world.sessions.live.lock().unwrap().clear();
    assert_eq!(scene.agrees(&scene.dave, &id).await.0, StatusCode::OK);
}

/// A session is asked for, and a moment later its recording has a key. Who asks for "what began since" that moment means the key.
#[tokio::test]
async fn a_recording_that_was_asked_for_before_the_time_that_is_named_and_got_its_key_after_it_is_not_erased_under_the_session()
 {
    let scene = scene(&[]);
    let asked_for = scene.world.time();
    scene.world.pass(2);
    let from = scene.world.time();
    let class = recording_class("a");
    scene.world.store.part_key(subject(1).as_str(), &class, from).unwrap();
    let asked = json!({"who": "alice", "classes": ["recording"], "from": from, "reason": "old"});
    let id = scene.asked(asked).await;
    scene.goes_on("a", asked_for);
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("still_recorded")),
        "{told}"
    );
    assert_eq!(scene.keys(), [class]);
    // One that goes on and whose key nobody asks for is in nobody's way.
    scene.world.sessions.live.lock().unwrap().clear();
    scene.goes_on("another", from);
    assert_eq!(scene.agrees(&scene.dave, &id).await.0, StatusCode::OK);
}

#[tokio::test]
async fn nobody_removes_what_they_did_as_an_account_and_a_hold_on_them_holds_it() {
    let scene = scene(&["command"]);
    let robot = subject(1);
    scene.world.store.acts_through(&robot, "alice", "carol").unwrap();
    let (status, told) = scene.asks(commands()).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("yourself")),
        "{told}"
    );
    assert!(
        told["error_description"]
            .as_str()
            .unwrap()
            .contains("you acted as that account")
    );
    let (_, told) = scene.world.posts(&scene.dave, "/api/v1/erasures", &commands()).await;
    let id = told["id"].as_str().unwrap().to_owned();
    let why = scene.is_refused(&scene.carol, &id, "not_another").await;
    assert!(why.contains("you acted as that account"), "{why}");
    // Whoever asked acts as it before somebody agrees.
    let erin = scene.of_another_provider(8, "erin", Some("erin@other.example"));
    scene.world.store.acts_through(&robot, "alice", "dave").unwrap();
    let why = scene.is_refused(&erin, &id, "not_another").await;
    assert!(why.contains("whoever asked acted as that account"), "{why}");
    // A hold on carol is one on what she did as the account, until somebody releases it who did not.
    let hold = json!({"who": "carol", "reason": "case 8"});
    let (status, held) = scene.world.posts(&erin, "/api/v1/holds", &hold).await;
    assert_eq!(status, StatusCode::OK, "{held}");
    let (status, told) = scene.world.posts(&erin, "/api/v1/erasures", &commands()).await;
    assert_eq!((status, &told["hold"]), (StatusCode::CONFLICT, &held["id"]), "{told}");
}

#[tokio::test]
async fn whoever_asks_for_all_of_somebody_is_told_as_which_accounts_they_acted() {
    let scene = scene(&["command"]);
    let robot = subject(9);
    scene.world.store.acts_through(&robot, "robot", "alice").unwrap();
    scene.world.store.acts_through(&robot, "robot", "bob").unwrap();
    let (status, told) = scene.asks(commands()).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    assert_eq!(told["through"], json!([{"subject": robot, "user": "robot"}]));
}

#[tokio::test]
async fn an_erasure_of_a_name_that_two_providers_vouch_for_asks_which_one() {
    let scene = scene(&["command"]);
    let other = scene
        .world
        .signed_in_at("https://other.example", 2, ("alice", None), &[]);
    let (status, told) = scene.asks(commands()).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::CONFLICT, &json!("ambiguous")),
        "{told}"
    );
    let words = told["error_description"].as_str().unwrap();
    assert!(
        words.contains("of https://other.example") && words.contains("of https://idp.example"),
        "{words}"
    );
    let by_id = |id: &str| json!({"who": id, "classes": ["command"], "reason": "hers"});
    let (status, told) = scene.asks(by_id(other.subject_id.as_str())).await;
    assert_eq!(
        (status, &told["error"]),
        (StatusCode::NOT_FOUND, &json!("nothing_sealed")),
        "{told}"
    );
    scene.asked(by_id(subject(1).as_str())).await;
}

#[tokio::test]
async fn a_hold_is_released_neither_by_the_one_it_is_on_nor_by_whoever_set_it() {
    let scene = scene(&["command"]);
    let alice = scene.world.bearer(&scene.world.signed_in(1, "alice", &["auditors"]));
    let asked = json!({"who": subject(1), "reason": "case 7"});
    let (status, held) = scene.world.posts(&scene.carol, "/api/v1/holds", &asked).await;
    assert_eq!(status, StatusCode::OK, "{held}");
    let path = format!("/api/v1/holds/{}/release", held["id"].as_str().unwrap());
    let over = json!({"reason": "the case is closed"});
    // By another account with her address, too.
    let private = scene.of_another_provider(6, "a.private", Some("Alice@example.com"));
    for (token, words) in [
        (&alice, "your own data"),
        (&private, "your own data"),
        (&scene.carol, "that is you as well"),
    ] {
        let (status, told) = scene.world.posts(token, &path, &over).await;
        assert_eq!(
            (status, &told["error"]),
            (StatusCode::CONFLICT, &json!("not_released")),
            "{told}"
        );
        assert!(told["error_description"].as_str().unwrap().contains(words), "{told}");
        let (act, _) = scene.world.erases.last();
        assert!(
            matches!(&act, ErasureAct::NotReleased { why, .. } if why.contains(words)),
            "{act:?}"
        );
    }
    assert_eq!(scene.world.store.holds().unwrap().len(), 1);
    assert_eq!(scene.world.posts(&scene.dave, &path, &over).await.0, StatusCode::OK);
    assert!(scene.world.store.holds().unwrap().is_empty());
}

#[tokio::test]
async fn many_keys_stand_in_several_records_and_the_request_is_open_until_the_last() {
    let classes: Vec<String> = (0..KEYS_IN_RECORD + 1)
        .map(|number| format!("recording:{number}"))
        .collect();
    let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
    let scene = scene(&classes);
    let id = scene.asked(json!({"who": "alice", "reason": "old"})).await;
    let (status, told) = scene.agrees(&scene.dave, &id).await;
    assert_eq!(
        (status, &told["keys"]),
        (StatusCode::OK, &json!(KEYS_IN_RECORD + 1)),
        "{told}"
    );
    let steps = scene.world.erases.steps.lock().unwrap();
    let erased: Vec<(usize, u64, usize)> = steps
        .iter()
        .filter_map(|(act, there)| match act {
            ErasureAct::Erased { keys, more, .. } => Some((keys.len(), *more, *there)),
            _ => None,
        })
        .collect();
    assert_eq!(
        erased,
        [(KEYS_IN_RECORD, 1, KEYS_IN_RECORD + 1), (1, 0, 1)],
        "each before its own keys go"
    );
    assert!(scene.world.store.erasures().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_asked_for_in_no_way_that_counts_is_refused_with_why() {
    let scene = scene(&["command"]);
    for (asked, status, words) in [
        (json!({"reason": "because"}), StatusCode::BAD_REQUEST, "it takes `who`"),
        (
            json!({"who": "alice", "recording": "a", "reason": "because"}),
            StatusCode::BAD_REQUEST,
            "it takes `who`",
        ),
        (
            json!({"who": "alice", "classes": ["../x"], "reason": "because"}),
            StatusCode::BAD_REQUEST,
            "`classes` are names",
        ),
        (
            json!({"who": "alice", "from": "2026-01-01T00:00:00Z", "reason": "because"}),
            StatusCode::BAD_REQUEST,
            "recordings alone",
        ),
        (
            json!({"who": "alice", "classes": ["query"], "reason": "because"}),
            StatusCode::NOT_FOUND,
            "of theirs there is command",
        ),
        (
            json!({"recording": "nowhere", "reason": "because"}),
            StatusCode::NOT_FOUND,
            "no recording of a session",
        ),
        (
            json!({"who": "alice", "reason": "x\nbecause"}),
            StatusCode::BAD_REQUEST,
            "a reason is one line of text",
        ),
    ] {
        let (got, told) = scene.asks(asked.clone()).await;
        assert_eq!(got, status, "{asked}: {told}");
        assert!(told["error_description"].as_str().unwrap().contains(words), "{told}");
    }
    assert!(scene.world.erases.said().is_empty());
}
