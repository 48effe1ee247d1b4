//! The API over a real ledger in a temporary folder, with real sessions and tokens. Nothing sleeps: the ledger wakes.

mod at_services;
mod lines;
mod tails;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use futures::future::BoxFuture;
use http::{Request, StatusCode, header};
use ledger::{Ledger, Options, RealDisk};
use model::decision::{Nearest, RuleEffect, RuleKind, RuleRef};
use model::event::RecordKind;
use model::subject::SubjectId;
use model::time::Timestamp;
use oidc::gateway::{GatewayClaims, Mint, ProviderIdentity, SigningKey};
use serde_json::{Value, json};
use state::{
    ClientKind, EndReason, Identity, Limits, NewSession, ProviderTokens, SealingKey, SealingKeys, Session,
    SessionSecrets, Store,
};
use tokio::sync::watch;
use tower::ServiceExt as _;

pub(super) use self::lines::{Lines, follow};
use super::*;
use crate::door::Tally;
use crate::record::NotRecorded;
use crate::settings::GatewayUrl;

const URL: &str = "https://gate.example";
const START: i64 = 1_795_000_000;

#[derive(Default)]
pub(super) struct Notes {
    pub(super) reads: Mutex<Vec<AuditRead>>,
    pub(super) fails: AtomicBool,
    wrote: tokio::sync::Notify,
    /// Where readings are written down besides.
    pub(super) ledger: std::sync::OnceLock<Arc<Ledger>>,
}

impl AuditRecorder for Notes {
    fn audit_read(&self, read: AuditRead) -> BoxFuture<'_, Result<Written, NotRecorded>> {
        Box::pin(async move {
            if self.fails.load(Ordering::SeqCst) {
                return Err(NotRecorded("disk full".to_owned()));
            }
            let body = json!({"id": "r", "t": read.at, "boot": "b", "note": read.sentence()});
            self.reads.lock().unwrap().push(read);
            self.wrote.notify_one();
            let id = "r".to_owned();
            let Some(ledger) = self.ledger.get() else {
                return Ok(Written { seq: 0, id });
            };
            let body = body.to_string().into_bytes();
            let ticket = ledger.append(RecordKind::AuditRead, body, Vec::new()).unwrap();
            let seq = ticket.await.unwrap().seq;
            Ok(Written { seq, id })
        })
    }
}

struct Decides;

fn viewers() -> RuleRef {
    RuleRef {
        kind: RuleKind::RoleBinding,
        name: "viewers".into(),
        namespace: Some("shop".into()),
        role: Some("ClusterRole/view".into()),
        effect: RuleEffect::Allow,
        why: None,
    }
}

impl Explain for Decides {
    fn bindings(&self, asking: &Asking) -> Result<Vec<Bound>, CannotExplain> {
        let team = format!("{}'s team", asking.who.identity.username);
        Ok(vec![Bound {
            cluster: "prod".to_owned(),
            is_known: true,
            bindings: vec![(viewers(), Some(team.into()))],
        }])
    }

    fn can<'a>(
        &'a self,
        asking: &'a Asking,
        asked: &'a CanQuestion,
    ) -> BoxFuture<'a, Result<CanAnswer, CannotExplain>> {
        Box::pin(async move {
            if asked.cluster.as_deref() == Some("nowhere") {
                return Err(CannotExplain::NoSuchCluster("nowhere".to_owned()));
            }
            let service = asked.service.as_ref();
            let verb = service.map_or(asked.verb.as_str(), |service| &service.method);
            let allowed = verb.eq_ignore_ascii_case("get") && asking.who.identity.username == "alice";
            let rule = viewers();
            let nearest = Nearest {
                role: "ClusterRole/edit".into(),
                namespace: Some("shop".into()),
            };
            Ok(CanAnswer {
                allowed,
                rules: if allowed { vec![rule] } else { Vec::new() },
                nearest: (!allowed).then_some(nearest),
                ..CanAnswer::default()
            })
        })
    }
}

pub(super) struct World {
    dir: tempfile::TempDir,
    pub(super) ledger: Arc<Ledger>,
    pub(super) store: Arc<Store>,
    pub(super) notes: Arc<Notes>,
    pub(super) sessions: Arc<sessions::tests::Known>,
    pub(super) events: Arc<sessions::tests::Events>,
    pub(super) locks: Arc<users::tests::Refreshed>,
    pub(super) erases: Arc<erasures::tests::Steps>,
    pub(super) signed: Arc<proof::tests::Signed>,
    pub(super) services: Arc<services::tests::OneService>,
    mint: Mint,
    router: Router,
    pub(super) api: Api,
    now: Arc<AtomicI64>,
}

/// The keys of commands; all others are missing.
struct Keys;

impl OpensParts for Keys {
    fn open(&self, _: &SubjectId, _: &str, part: &search::SealedPart) -> Opened {
        if part.bytes.starts_with(b"command=") {
            Opened::Plain(part.bytes.clone())
        } else {
            Opened::NoKey
        }
    }
}

pub(super) fn world() -> World {
    world_with(|_| {})
}

pub(super) fn world_with(changed: impl FnOnce(&mut Inner)) -> World {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(dir.path(), Options::default(), Arc::new(RealDisk::new(dir.path())))
        .unwrap()
        .0;
    let ledger = Arc::new(ledger);
    let (send, durable) = watch::channel(0);
    ledger.on_durable(move |size| {
        send.send_replace(size);
    });
    let sealing = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
    let store = Arc::new(Store::in_memory(sealing, Limits::default()).unwrap());
    let (signing, pkcs8) = SigningKey::generate().unwrap();
    let url = GatewayUrl::parse(URL).unwrap();
    let now = Arc::new(AtomicI64::new(START));
    let (notes, clock, size) = (Arc::new(Notes::default()), now.clone(), ledger.clone());
    let sessions: Arc<sessions::tests::Known> = Arc::default();
    let events: Arc<sessions::tests::Events> = Arc::default();
    let locks = Arc::new(users::tests::Refreshed::new(&store, &events));
    let erases = Arc::new(erasures::tests::Steps::new(&store));
    let signed = Arc::new(proof::tests::Signed::new(&ledger));
    let services: Arc<services::tests::OneService> = Arc::default();
    assert!(services.notes.set(notes.clone()).is_ok());
    let parts = ApiParts {
        keys: Arc::new(GatewayKeys::new(&url, signing, &[]).unwrap()),
        store: store.clone(),
        archive: Arc::new(search::Archive::live(dir.path(), move || size.durable().size)),
        durable,
        recorder: notes.clone(),
        explain: Arc::new(Decides),
        events: events.clone(),
        sessions: sessions.clone(),
        services: services.clone(),
        opener: Arc::new(Keys),
        proves: signed.clone(),
        locks: locks.clone(),
        erases: erases.clone(),
        audit_groups: vec!["auditors".to_owned()],
        audit_roles: rights::tests::roles(),
        clock: Arc::new(move || Timestamp::from_unix_seconds(clock.load(Ordering::SeqCst))),
    };
    let mut api = inner(parts);
    changed(&mut api);
    let api = Arc::new(api);
    let mint = Mint::new(SigningKey::from_pkcs8(&pkcs8).unwrap());
    World {
        dir,
        ledger,
        store,
        notes,
        sessions,
        events,
        locks,
        erases,
        signed,
        services,
        mint,
        router: routes(Arc::clone(&api)),
        api,
        now,
    }
}

pub(super) fn subject(number: u8) -> SubjectId {
    SubjectId::from_digest([number; 16])
}

impl World {
    pub(super) fn time(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.now.load(Ordering::SeqCst))
    }

    pub(super) fn signed_in(&self, number: u8, name: &str, groups: &[&str]) -> Session {
        match self.signs_in(number, name, groups) {
            SessionSecrets::Begun { session, .. } => *session,
            SessionSecrets::Locked { why } => panic!("{why}"),
        }
    }

    pub(super) fn signs_in(&self, number: u8, name: &str, groups: &[&str]) -> SessionSecrets {
        let email = format!("{name}@example.com");
        self.begins("https://idp.example", number, (name, Some(&email)), groups)
    }

    /// Somebody whom another provider vouches for.
    pub(super) fn signed_in_at(&self, issuer: &str, number: u8, who: (&str, Option<&str>), groups: &[&str]) -> Session {
        match self.begins(issuer, number, who, groups) {
            SessionSecrets::Begun { session, .. } => *session,
            SessionSecrets::Locked { why } => panic!("{why}"),
        }
    }

    fn begins(&self, issuer: &str, number: u8, (name, email): (&str, Option<&str>), groups: &[&str]) -> SessionSecrets {
        let identity = Identity {
            issuer: issuer.to_owned(),
            subject: format!("u-{number}"),
            username: name.to_owned(),
            uid: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: std::collections::BTreeMap::new(),
            email: email.map(str::to_owned),
        };
        let tokens = ProviderTokens {
            refresh: None,
            id_token: None,
            claims: "{}".to_owned(),
            nonce: String::new(),
        };
        let new = NewSession {
            subject_id: subject(number),
            provider: "corp".to_owned(),
            provider_sid: None,
            identity,
            client: ClientKind::Cli,
            source: "192.0.2.7".to_owned(),
            auth_time: None,
            acr: None,
            tokens,
            first_use: Duration::from_secs(3_600),
            idle: Duration::from_secs(3_600),
            absolute: Duration::from_secs(36_000),
        };
        self.store.begin_session(&new, self.time()).unwrap()
    }

    /// As the provider says when it is asked again.
    pub(super) fn leaves_all_groups(&self, session: &Session) {
        let (tokens, version) = self.store.provider_tokens(&session.id).unwrap().unwrap();
        let identity = Identity {
            groups: Default::default(),
            ..session.identity.clone()
        };
        let stored = self
            .store
            .store_provider_tokens(&session.id, version, &tokens, Some(&identity), self.time());
        assert!(stored.unwrap());
    }

    /// So much later.
    pub(super) fn pass(&self, seconds: i64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    fn token(&self, session: &Session, audience: &str) -> String {
        let identity = &session.identity;
        let claims = GatewayClaims {
            issuer: URL.to_owned(),
            audience: audience.to_owned(),
            subject: session.subject_id.to_string(),
            session: session.id.to_string(),
            token_id: "t".to_owned(),
            issued_at: self.time(),
            expires_at: self.time().plus(Duration::from_secs(600)),
            auth_time: Timestamp::EPOCH,
            acr: None,
            identity: ProviderIdentity {
                iss: identity.issuer.clone(),
                sub: identity.subject.clone(),
                username: identity.username.clone(),
                // What the token says of groups counts for nothing here.
                groups: vec!["auditors".to_owned()],
                uid: None,
                email: None,
                extra: identity.extra.clone(),
            },
        };
        self.mint.sign(&claims).unwrap()
    }

    pub(super) fn bearer(&self, session: &Session) -> String {
        self.token(session, crate::API_AUDIENCE)
    }

    pub(super) async fn send(&self, token: &str, target: &str) -> http::Response<Body> {
        self.ask(http::Method::GET, token, target, String::new()).await
    }

    pub(super) async fn ask(
        &self,
        method: http::Method,
        token: &str,
        target: &str,
        body: String,
    ) -> http::Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(super) async fn get(&self, token: &str, target: &str) -> (StatusCode, Value) {
        let (head, body) = self.send(token, target).await.into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        (head.status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(super) fn append(&self, kind: RecordKind, body: Value) {
        self.ledger
            .append(kind, body.to_string().into_bytes(), Vec::new())
            .unwrap()
            .wait()
            .unwrap();
    }

    /// From here to its end the segment's records can be read no more.
    pub(super) fn spoils_the_ledger(&self) {
        let mark = "this record is about to be spoilt";
        self.append(
            RecordKind::Summary,
            json!({"id": "", "t": self.time(), "boot": "b", "note": mark}),
        );
        let files = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|file| file.unwrap().path());
        let segment = files
            .filter(|path| path.extension().is_some_and(|is| is == "seg"))
            .max()
            .unwrap();
        let mut bytes = std::fs::read(&segment).unwrap();
        let at = bytes
            .windows(mark.len())
            .position(|part| part == mark.as_bytes())
            .unwrap();
        bytes[at] ^= 0xff;
        std::fs::write(&segment, &bytes).unwrap();
    }

    /// A read that was answered.
    pub(super) fn read(&self, id: &str, number: u8, name: &str, resource: &str) {
        let path = format!("/api/v1/namespaces/shop/{resource}");
        self.append(
            RecordKind::Access,
            json!({"id": id, "t": self.time(), "boot": "b", "by": by(number, name),
                "req": {"method": "GET", "path": path, "verb": "list", "group": "", "resource": resource, "namespace": "shop"},
                "decision": {"allowed": true, "who": "gateway", "policy": "sha256:77", "rules": [
                    {"kind": "roleBinding", "name": "viewers", "namespace": "shop", "role": "ClusterRole/view", "effect": "allow"},
                    {"kind": "oracle", "name": "later"}]}}),
        );
        let outcome = json!({"end": "answered", "status": 200});
        self.append(
            RecordKind::Close,
            json!({"id": id, "t": self.time(), "boot": "b", "outcome": outcome}),
        );
    }

    pub(super) fn refused(&self, id: &str, number: u8, name: &str) {
        self.append(
            RecordKind::Refusal,
            json!({"id": id, "t": self.time(), "boot": "b", "by": by(number, name),
                "req": {"method": "DELETE", "path": "/api/v1/namespaces/shop/secrets/key", "verb": "delete", "group": "",
                        "resource": "secrets", "namespace": "shop", "name": "key"},
                "decision": {"allowed": false, "who": "gateway", "reason": "noRule", "policy": "sha256:77"},
                "outcome": {"end": "refused", "status": 403, "reason": "Forbidden", "why": "Nothing allows it."}}),
        );
    }

    /// The words of the readings (`read.what`).
    pub(super) fn read_words(&self) -> Vec<&'static str> {
        self.notes
            .reads
            .lock()
            .unwrap()
            .iter()
            .map(|read| read.act.name())
            .collect()
    }

    pub(super) fn read_sentences(&self) -> Vec<String> {
        self.notes
            .reads
            .lock()
            .unwrap()
            .iter()
            .map(AuditRead::sentence)
            .collect()
    }
}

pub(super) fn by(number: u8, name: &str) -> Value {
    json!({"id": subject(number), "kind": "person", "iss": "https://idp.example", "sub": format!("u-{number}"), "user": name,
           "credential": "gatewayToken"})
}

fn acts(answer: &Value) -> Vec<&str> {
    answer["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["act"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn only_a_live_session_with_a_token_for_this_api_is_answered() {
    let world = world();
    let alice = world.signed_in(1, "alice", &[]);
    let target = "/api/v1/audit/records";
    for token in ["", "nonsense", &world.token(&alice, "prod")] {
        assert_eq!(world.get(token, target).await.0, StatusCode::UNAUTHORIZED, "{token}");
    }
    let token = world.bearer(&alice);
    assert_eq!(world.get(&token, target).await.0, StatusCode::OK);
    world
        .store
        .end_session(&alice.id, EndReason::SignedOut, world.time())
        .unwrap();
    for target in [
        target,
        "/api/v1/audit/records/x",
        "/api/v1/audit/tail",
        "/api/v1/can?verb=get&resource=pods",
        "/api/v1/why/last",
    ] {
        let (status, answer) = world.get(&token, target).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{target}");
        assert_eq!(answer["error_description"], "the session has ended: you signed out");
    }
    assert_eq!(world.read_sentences().len(), 1);
}

#[tokio::test]
async fn one_person_asks_so_often_and_another_is_answered() {
    let world = world();
    let (alice, bob) = (world.signed_in(1, "alice", &[]), world.signed_in(2, "bob", &[]));
    let (of_alice, of_bob) = (world.bearer(&alice), world.bearer(&bob));
    let target = "/api/v1/audit/records";
    for _ in 0..300 {
        assert_eq!(world.get(&of_alice, target).await.0, StatusCode::OK);
    }
    let refused = world.send(&of_alice, target).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let tally = refused.extensions().get::<Tally>();
    assert_eq!(tally, Some(&Tally::Counted(Some(alice.subject_id.clone()))));
    assert_eq!(world.get(&of_bob, target).await.0, StatusCode::OK);
    assert_eq!(
        world.read_sentences().len(),
        301,
        "what is refused for its number leaves no record"
    );
    let stranger = world.send("nonsense", target).await;
    assert!(matches!(
        stranger.extensions().get::<Tally>(),
        Some(Tally::WrongCredential(_))
    ));
}

#[tokio::test]
async fn without_the_audit_role_one_sees_ones_own_and_is_told_so() {
    let world = world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &["dev"]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    world.read("a-1", 1, "alice", "pods");
    world.read("b-1", 2, "bob", "secrets");
    let (_, own) = world.get(&world.bearer(&alice), "/api/v1/audit/records").await;
    assert_eq!(
        (acts(&own), &own["scope"]),
        (vec!["kubectl get pods -n shop"], &json!("own"))
    );
    assert_eq!(
        own["note"],
        "You see your own records only: nothing that other people did is shown without an audit role."
    );
    let (_, all) = world
        .get(&world.bearer(&eve), "/api/v1/audit/records?q=ns:shop&limit=1")
        .await;
    assert_eq!(
        (acts(&all), &all["scope"], &all["note"]),
        (vec!["kubectl get secrets -n shop"], &json!("all"), &Value::Null)
    );
    let next = all["next"].as_u64().unwrap();
    let (_, rest) = world
        .get(
            &world.bearer(&eve),
            &format!("/api/v1/audit/records?q=ns:shop&after={next}"),
        )
        .await;
    assert_eq!(
        (acts(&rest), &rest["next"]),
        (vec!["kubectl get pods -n shop"], &Value::Null)
    );
    assert!(rest["range"]["from"].is_string() && rest["range"]["to"].is_string() && rest["lag_seconds"] == 0);
    assert_eq!(
        world.read_sentences(),
        [
            "searched own records for ``: 1 shown",
            "searched all records for `ns:shop`: 1 shown",
            "searched all records for `ns:shop`: 1 shown"
        ]
    );
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_shown() {
    let world = world();
    let alice = world.signed_in(1, "alice", &[]);
    world.refused("a-1", 1, "alice");
    world.notes.fails.store(true, Ordering::SeqCst);
    for target in [
        "/api/v1/audit/records",
        "/api/v1/audit/records/a-1",
        "/api/v1/audit/tail",
        "/api/v1/why/last",
        "/api/v1/why/a-1",
    ] {
        let (status, answer) = world.get(&world.bearer(&alice), target).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{target}");
        assert!(
            answer["error_description"]
                .as_str()
                .unwrap()
                .contains("nothing is shown"),
            "{target}"
        );
    }
}

#[tokio::test]
async fn wrong_parameters_are_refused_with_their_place() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    for (target, says) in [
        (
            "records?quser=1",
            "`quser` is no parameter here; known are q, since, until, limit, after, all",
        ),
        ("records?q=a&q=b", "a parameter stands twice; send each once"),
        ("records?limit=0", "`limit` takes 1 to 500"),
        ("records?after=x", "`after` takes a whole number"),
        ("records?all=yes", "`all` takes true or false"),
        (
            "records?since=lately",
            "`since` takes 5m, 2h, 7d, yesterday, a day such as 2026-11-01, or a time such as 2026-11-01T10:30:00Z",
        ),
        (
            "records?since=1h&q=since:2h",
            "`since` stands both in the query and beside it; say it once",
        ),
        (
            "tail?q=since:1h",
            "a tail has no bounds in time; use `after` to begin at an earlier place",
        ),
    ] {
        let (status, answer) = world.get(&token, &format!("/api/v1/audit/{target}")).await;
        assert_eq!(
            (status, answer["error_description"].as_str().unwrap()),
            (StatusCode::BAD_REQUEST, says)
        );
    }
    let (status, answer) = world.get(&token, "/api/v1/audit/records?q=ns:shop%20usr:alice").await;
    assert_eq!(
        (status, &answer["error"], &answer["at"]),
        (
            StatusCode::BAD_REQUEST,
            &json!("invalid_query"),
            &json!({"position": 8, "length": 3})
        )
    );
    let long = format!("/api/v1/audit/records?q={}", "a".repeat(1_001));
    assert_eq!(world.get(&token, &long).await.0, StatusCode::BAD_REQUEST);
    assert!(world.read_sentences().is_empty());
}

#[tokio::test]
async fn one_act_is_viewed_whole_and_that_of_others_looks_as_if_it_were_not_there() {
    let world = world();
    let (alice, eve) = (
        world.signed_in(1, "alice", &[]),
        world.signed_in(3, "eve", &["auditors"]),
    );
    world.read("b-1", 2, "bob", "secrets");
    let target = "/api/v1/audit/records/b-1";
    let (status, answer) = world.get(&world.bearer(&eve), target).await;
    assert_eq!(
        (status, &answer["record"]["act"]),
        (StatusCode::OK, &json!("kubectl get secrets -n shop"))
    );
    assert_eq!(answer["records"].as_array().unwrap().len(), 2);
    assert_eq!(
        answer["records"][0]["decision"]["rules"][1],
        json!({"kind": "oracle", "name": "later"})
    );
    let (status, answer) = world.get(&world.bearer(&alice), target).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        answer["error_description"],
        "there is no record `b-1` of yours; without an audit role you see your own only"
    );
    assert_eq!(
        world.read_sentences(),
        [
            "viewed record `b-1` among all records: 1 shown",
            "viewed record `b-1` among own records: 0 shown"
        ]
    );
}

#[tokio::test]
async fn why_tells_what_was_decided_as_it_was_recorded() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let (status, answer) = world.get(&token, "/api/v1/why/last").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        answer["error_description"]
            .as_str()
            .unwrap()
            .starts_with("none of your calls was refused")
    );
    world.refused("a-1", 1, "alice");
    world.refused("b-1", 2, "bob");
    world.read("a-2", 1, "alice", "pods");
    let (_, last) = world.get(&token, "/api/v1/why/last").await;
    assert_eq!(
        (&last["id"], &last["allowed"], &last["refused_by"], &last["reason"]),
        (&json!("a-1"), &json!(false), &json!("gateway"), &json!("noRule"))
    );
    assert_eq!(
        last["words"],
        json!([
            "The gateway refused it (noRule).",
            "Nothing allows it.",
            "No rule and no binding matched.",
            "The policy was sha256:77."
        ])
    );
    let (_, allowed) = world.get(&token, "/api/v1/why/a-2").await;
    assert_eq!(
        allowed["words"],
        json!([
            "The gateway allowed it.",
            "RoleBinding shop/viewers → ClusterRole/view allows it.",
            "A rule that this version does not know: {\"kind\":\"oracle\",\"name\":\"later\"}",
            "The policy was sha256:77."
        ])
    );
    assert_eq!(world.get(&token, "/api/v1/why/b-1").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_call_that_the_cluster_refused_is_not_laid_at_the_gateways_door() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    world.append(
        RecordKind::Access,
        json!({"id": "a-1", "t": world.time(), "boot": "b", "by": by(1, "alice"),
            "req": {"method": "GET", "path": "/api/v1/nodes", "verb": "list", "group": "", "resource": "nodes"},
            "decision": {"allowed": true, "who": "gateway", "policy": "p"}}),
    );
    let outcome = json!({"end": "answered", "status": 403, "reason": "Forbidden"});
    world.append(
        RecordKind::Close,
        json!({"id": "a-1", "t": world.time(), "boot": "b", "outcome": outcome}),
    );
    let (_, why) = world.get(&token, "/api/v1/why/last").await;
    assert_eq!(
        (&why["refused_by"], &why["words"][0]),
        (
            &json!("cluster"),
            &json!("The gateway allowed it, and the cluster refused it (Forbidden).")
        )
    );
}

#[tokio::test]
async fn one_hears_which_bindings_name_oneself_and_by_which_group() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let (status, told) = world.get(&token, "/api/v1/bindings").await;
    assert_eq!(status, StatusCode::OK);
    let cluster = &told["clusters"][0];
    assert_eq!(
        (&cluster["cluster"], &cluster["isKnown"], &cluster["count"]),
        (&json!("prod"), &json!(true), &json!(1))
    );
    let binding = &cluster["bindings"][0];
    assert_eq!(
        (&binding["text"], &binding["by"]),
        (
            &json!("RoleBinding shop/viewers → ClusterRole/view"),
            &json!({"group": "alice's team"})
        )
    );
    assert_eq!(
        world.get("nonsense", "/api/v1/bindings").await.0,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn can_is_answered_by_what_decides_and_a_wrong_question_is_refused() {
    let world = world();
    let token = world.bearer(&world.signed_in(1, "alice", &[]));
    let can = |query: &'static str| world.get(&token, query);
    let (_, yes) = can("/api/v1/can?verb=get&resource=pods&namespace=shop").await;
    assert_eq!(
        (&yes["allowed"], &yes["rules"][0]["text"]),
        (&json!(true), &json!("RoleBinding shop/viewers → ClusterRole/view"))
    );
    let (_, no) = can("/api/v1/can?verb=delete&resource=pods&namespace=shop").await;
    assert_eq!(
        (&no["allowed"], &no["nearest"]),
        (&json!(false), &json!({"role": "ClusterRole/edit", "namespace": "shop"}))
    );
    let (_, path) = can("/api/v1/can?verb=get&path=/metrics").await;
    assert_eq!(path["allowed"], true);
    assert_eq!(
        can("/api/v1/can?verb=get&resource=pods&cluster=nowhere").await.0,
        StatusCode::NOT_FOUND
    );
    for wrong in [
        "verb=get",
        "resource=pods",
        "verb=get&resource=pods&path=/x",
        "verb=get&path=/x&name=y",
        "verb=get&path=x",
        "verb=get&resource=pods&as=bob",
    ] {
        let target = format!("/api/v1/can?{wrong}");
        assert_eq!(world.get(&token, &target).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
}
