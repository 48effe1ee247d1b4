//! A gateway host in memory, with a provider that does what the test tells it to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode, header};
use model::service::ServiceName;
use model::subject::{Subject, SubjectId, SubjectKind, SubjectParts};
use model::time::Timestamp;
use oidc::gateway::SigningKey;
use oidc::login::{Client, ClientAuthentication};
use oidc::{Answer, Discovery};
use serde_json::{Value, json};
use state::{Limits, SealingKey, SealingKeys, Store};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt as _;

use crate::form::{encode, with_query};
use crate::{
    ActsFor, AtHost, ClusterEntry, Fetch, FetchError, GatewayKeys, GatewayUrl, Issuers, Leave, Lifetimes, NoLeave,
    NotProved, NotRecorded, Parts, Peer, Provider, Recorder, Renewals, SessionEvent, What, Workloads, hosts,
};

pub(super) const URL: &str = "https://gate.example";
pub(super) const LOOPBACK: &str = "http://127.0.0.1:41000/callback";
pub(super) const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
const START: i64 = 1_795_000_000;

/// What the token endpoint answers to a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    Rotate,
    InvalidGrant,
    Status(u16),
    NoAnswer,
}

pub(super) struct Idp {
    pub(super) issuer: String,
    pkcs8: Vec<u8>,
    pub(super) renewal: Mutex<Renewal>,
    /// Overrides of claims in each ID token; null removes.
    pub(super) claims: Mutex<Value>,
    /// Overrides only in renewed ones.
    pub(super) renewed_claims: Mutex<Value>,
    grants: Mutex<BTreeMap<String, (String, String)>>,
    pub(super) refresh: Mutex<String>,
    pub(super) requests: AtomicUsize,
    pub(super) gate: Semaphore,
    /// How often it was looked whether it is there.
    pub(super) looks: AtomicUsize,
    /// Nothing answers there.
    pub(super) is_down: AtomicBool,
    now: Arc<AtomicI64>,
}

impl Idp {
    fn new(issuer: &str, now: Arc<AtomicI64>) -> Arc<Self> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Arc::new(Self {
            issuer: issuer.to_owned(),
            pkcs8: pkcs8.as_ref().to_vec(),
            renewal: Mutex::new(Renewal::Rotate),
            claims: Mutex::new(json!({})),
            renewed_claims: Mutex::new(json!({})),
            grants: Mutex::default(),
            refresh: Mutex::new("refresh-0".to_owned()),
            requests: AtomicUsize::new(0),
            looks: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            is_down: AtomicBool::new(false),
            now,
        })
    }

    fn keys(&self) -> oidc::KeySet {
        SigningKey::key_set([&SigningKey::from_pkcs8(&self.pkcs8).unwrap()]).unwrap()
    }

    fn kid(&self) -> String {
        SigningKey::from_pkcs8(&self.pkcs8).unwrap().kid().to_owned()
    }

    /// Signs whatever it is given.
    pub(super) fn sign(&self, header: Value, payload: &Value) -> String {
        let mut full = json!({"alg": "ES256", "kid": self.kid()});
        merge(&mut full, &header);
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&full), part(payload));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8).unwrap();
        let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    pub(super) fn seconds(&self) -> i64 {
        self.now.load(Ordering::SeqCst)
    }

    fn id_token(&self, nonce: &str, more: &Value) -> String {
        let now = self.seconds();
        let mut claims = json!({
            "iss": self.issuer, "sub": "alice", "aud": "gate-client", "exp": now + 3600, "iat": now, "nonce": nonce,
            "auth_time": now - 5, "sid": "provider-sid", "groups": ["dev"], "email": "alice@example.com",
            "email_verified": true,
        });
        merge(&mut claims, &self.claims.lock().unwrap());
        merge(&mut claims, more);
        self.sign(json!({}), &claims)
    }

    /// A person signed in here: a code for the sign-in that this location began.
    pub(super) fn code_for(&self, location: &str) -> String {
        let grant = (
            query(location, "nonce").unwrap(),
            query(location, "code_challenge").unwrap(),
        );
        let mut grants = self.grants.lock().unwrap();
        let code = format!("code-{}-{}", grants.len(), self.issuer.len());
        grants.insert(code.clone(), grant);
        code
    }

    fn answer(&self, fields: &BTreeMap<String, String>) -> Result<Response<Bytes>, FetchError> {
        let reply = |status: u16, body: Value| {
            Ok(Response::builder()
                .status(status)
                .body(Bytes::from(body.to_string()))
                .unwrap())
        };
        if fields.get("grant_type").map(String::as_str) == Some("authorization_code") {
            let grant = self.grants.lock().unwrap().remove(fields.get("code").unwrap());
            let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, fields["code_verifier"].as_bytes()));
            return match grant {
                Some((nonce, expected)) if expected == challenge => {
                    reply(200, self.tokens(&self.id_token(&nonce, &json!({}))))
                }
                _ => reply(400, json!({"error": "invalid_grant"})),
            };
        }
        let Some(refresh) = fields.get("refresh_token") else {
            return reply(200, json!({})); // a revocation
        };
        let renewal = *self.renewal.lock().unwrap();
        match renewal {
            Renewal::NoAnswer => Err(FetchError::TooSlow),
            Renewal::Status(status) => reply(status, json!({"error": "server_error"})),
            Renewal::Rotate if *refresh == *self.refresh.lock().unwrap() => {
                let mut next = self.refresh.lock().unwrap();
                *next = format!("{next}x");
                drop(next);
                let more = self.renewed_claims.lock().unwrap().clone();
                let mut more_claims = json!({"nonce": null});
                merge(&mut more_claims, &more);
                reply(200, self.tokens(&self.id_token("", &more_claims)))
            }
            Renewal::Rotate | Renewal::InvalidGrant => reply(400, json!({"error": "invalid_grant"})),
        }
    }

    fn tokens(&self, id_token: &str) -> Value {
        json!({
            "access_token": "provider-access-token", "token_type": "Bearer", "expires_in": 300,
            "refresh_token": *self.refresh.lock().unwrap(), "id_token": id_token,
        })
    }
}

impl Fetch for Idp {
    fn fetch(&self, request: Request<Bytes>) -> BoxFuture<'_, Result<Response<Bytes>, FetchError>> {
        Box::pin(async move {
            // Whether it is there is asked for its discovery document; the rest is counted.
            let is_there = request.method() == http::Method::GET;
            let counted = if is_there { &self.looks } else { &self.requests };
            counted.fetch_add(1, Ordering::SeqCst);
            let _pass = self.gate.acquire().await.unwrap();
            if self.is_down.load(Ordering::SeqCst) {
                return Err(FetchError::TooSlow);
            }
            if is_there {
                return Ok(Response::new(Bytes::from("{}")));
            }
            let body = String::from_utf8(request.body().to_vec()).unwrap();
            let fields = body.split('&').filter_map(|pair| pair.split_once('='));
            self.answer(&fields.map(|(name, value)| (name.to_owned(), decode(value))).collect())
        })
    }
}

pub(super) struct Ledger {
    pub(super) events: Mutex<Vec<SessionEvent>>,
    pub(super) full: Mutex<bool>,
    /// Refusals without a record of their own: whose.
    pub(super) counted: Mutex<Vec<Option<SubjectId>>>,
}

impl Recorder for Ledger {
    /// The id says the how manieth event it is.
    fn record(&self, event: SessionEvent) -> BoxFuture<'_, Result<Option<String>, NotRecorded>> {
        Box::pin(async move {
            if *self.full.lock().unwrap() {
                return Err(NotRecorded("disk full".to_owned()));
            }
            let mut events = self.events.lock().unwrap();
            events.push(event);
            Ok(Some((events.len() - 1).to_string()))
        })
    }

    fn count(&self, whose: Option<&SubjectId>) {
        self.counted.lock().unwrap().push(whose.cloned());
    }
}

/// Those that are ready.
struct Known(Arc<Mutex<Vec<Arc<Provider>>>>);

impl Issuers for Known {
    fn providers(&self) -> Arc<[Arc<Provider>]> {
        self.0.lock().unwrap().as_slice().into()
    }

    fn newer_keys<'a>(&'a self, _issuer: &'a str, _kid: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// Pods in a cluster: a token `pod:NAME` proves `system:serviceaccount:shop:NAME`, which is the service `NAME`.
#[derive(Default)]
pub(super) struct Pods {
    /// What the rules say to whoever asks; by default that all of it may be done for a minute more.
    pub(super) says: Mutex<Option<Result<Leave, NoLeave>>>,
    /// The cluster does not answer.
    pub(super) silent: Mutex<bool>,
    /// What was asked of the rules: for whom, by which chain, for which service.
    pub(super) asked: Mutex<Vec<(String, Vec<String>, String)>>,
}

impl Workloads for Pods {
    fn prove<'a>(&'a self, token: &'a str, from: Option<IpAddr>) -> BoxFuture<'a, Result<Subject, NotProved>> {
        assert!(from.is_some());
        let answer = match (*self.silent.lock().unwrap(), token.split_once(':')) {
            (true, _) => Err(NotProved::Unknown("the cluster does not answer".to_owned())),
            (false, Some(("pod", name))) => Ok(subject(SubjectKind::ServiceAccount, name)),
            (false, Some(("person", name))) => Ok(subject(SubjectKind::Person, name)),
            (false, _) => Err(NotProved::Refused("the cluster does not know it".to_owned())),
        };
        Box::pin(async { answer })
    }

    fn is_service(&self, workload: &Subject, service: &ServiceName) -> bool {
        workload.username() == format!("system:serviceaccount:shop:{service}")
    }

    fn leave(&self, acts: &ActsFor<'_>) -> Result<Leave, NoLeave> {
        let chain = acts.chain.actors().iter().map(|actor| actor.username.clone());
        let asked = (acts.person.username().to_owned(), chain.collect(), acts.to.to_string());
        self.asked.lock().unwrap().push(asked);
        self.says.lock().unwrap().clone().unwrap_or_else(|| {
            Ok(Leave {
                until: Timestamp::MAX,
                rules: vec!["AccessRule cart-reads-stock".to_owned()],
            })
        })
    }
}

/// The pod of this name, or a person.
pub(super) fn subject(kind: SubjectKind, name: &str) -> Subject {
    let username = match kind {
        SubjectKind::ServiceAccount => format!("system:serviceaccount:shop:{name}"),
        _ => name.to_owned(),
    };
    let half = digest(&SHA256, username.as_bytes());
    Subject::new(SubjectParts {
        id: SubjectId::from_digest(half.as_ref()[..16].try_into().unwrap()),
        kind,
        issuer: "cluster:prod".to_owned(),
        subject: username.clone(),
        username,
        uid: None,
        groups: Vec::new(),
        extra: BTreeMap::new(),
        email: None,
    })
    .unwrap()
}

#[derive(Clone)]
pub(super) struct World {
    pub(super) router: axum::Router,
    /// On hosts of services.
    pub(super) services: axum::Router,
    pub(super) renewals: Renewals,
    /// Under which hosts a service is published.
    pub(super) published: Arc<Mutex<Vec<&'static str>>>,
    pub(super) providers: Arc<Mutex<Vec<Arc<Provider>>>>,
    pub(super) idp: Arc<Idp>,
    pub(super) other: Arc<Idp>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) store: Arc<Store>,
    pub(super) keys: Arc<GatewayKeys>,
    pub(super) pods: Arc<Pods>,
    now: Arc<AtomicI64>,
}

/// How the world's providers are set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setup {
    /// One provider that names itself in its answers.
    One,
    /// One that does not.
    Silent,
    /// Two that name themselves, on one callback.
    Two,
    /// Two that do not, each with its own callback.
    TwoSilentApart,
    /// Two that do not, on one callback.
    TwoSilentTogether,
}

fn provider(name: &str, idp: &Arc<Idp>, names_itself: bool, callback: &str) -> Arc<Provider> {
    let configured: oidc::issuer::Provider = serde_json::from_value(json!({
        "name": name, "issuer": idp.issuer, "clientID": "gate-client", "usernamePrefix": "-", "groupsClaim": "groups",
        "algorithms": ["ES256"], "claimRules": [{"expression": "!has(claims.banned)", "message": "banned"}],
    }))
    .unwrap();
    let issuer = Arc::new(configured.compile().unwrap());
    let document = json!({
        "issuer": idp.issuer, "jwks_uri": format!("{}/jwks", idp.issuer),
        "authorization_endpoint": format!("{}/auth", idp.issuer), "token_endpoint": format!("{}/token", idp.issuer),
        "revocation_endpoint": format!("{}/revoke", idp.issuer), "end_session_endpoint": format!("{}/end", idp.issuer),
        "authorization_response_iss_parameter_supported": names_itself,
    })
    .to_string();
    let answer = Answer {
        status: StatusCode::OK,
        headers: &HeaderMap::new(),
        body: document.as_bytes(),
    };
    Arc::new(Provider {
        name: name.into(),
        title: format!("The {name} accounts"),
        client: Client {
            issuer: idp.issuer.as_str().into(),
            client_id: "gate-client".to_owned(),
            authentication: ClientAuthentication::Basic("secret".to_owned().into()),
            redirect_uri: format!("{URL}{callback}"),
            scopes: vec!["openid".to_owned()],
        },
        prompt: None,
        discovery: Arc::new(Discovery::read(&issuer, &answer).unwrap()),
        keys: Arc::new(idp.keys()),
        fetch: idp.clone(),
        issuer,
    })
}

pub(super) fn world(setup: Setup) -> World {
    let now = Arc::new(AtomicI64::new(START));
    let idp = Idp::new("https://idp.example", now.clone());
    let other = Idp::new("https://other-idp.example", now.clone());
    let providers = match setup {
        Setup::One => vec![provider("corp", &idp, true, "/callback")],
        Setup::Silent => vec![provider("corp", &idp, false, "/callback")],
        Setup::Two => vec![
            provider("corp", &idp, true, "/callback"),
            provider("other", &other, true, "/callback"),
        ],
        Setup::TwoSilentApart => vec![
            provider("corp", &idp, false, "/callback/corp"),
            provider("other", &other, false, "/callback/other"),
        ],
        Setup::TwoSilentTogether => vec![
            provider("corp", &idp, false, "/callback"),
            provider("other", &other, false, "/callback"),
        ],
    };
    let providers = Arc::new(Mutex::new(providers));
    let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
    let store = Arc::new(Store::in_memory(keys, Limits::default()).unwrap());
    let ledger = Arc::new(Ledger {
        events: Mutex::default(),
        full: Mutex::new(false),
        counted: Mutex::default(),
    });
    let url = GatewayUrl::parse(URL).unwrap();
    let clusters: Arc<[ClusterEntry]> = Arc::new([ClusterEntry {
        name: "prod".to_owned(),
        server: "https://prod.gate.example".to_owned(),
        ca_data: None,
    }]);
    let clock = now.clone();
    let published = Arc::new(Mutex::new(vec!["grafana.example", "wiki.example"]));
    let hosts_of_services = published.clone();
    let keys = Arc::new(GatewayKeys::new(&url, SigningKey::generate().unwrap().0, &[]).unwrap());
    let pods = Arc::new(Pods::default());
    let parts = Parts {
        lifetimes: Lifetimes::default(),
        store: store.clone(),
        issuers: Arc::new(Known(providers.clone())),
        clusters: watch::channel(clusters).1,
        recorder: ledger.clone(),
        keys: keys.clone(),
        workloads: pods.clone(),
        url,
        is_published: Arc::new(move |host| hosts_of_services.lock().unwrap().contains(&host.as_str())),
        clock: Arc::new(move || Timestamp::from_unix_seconds(clock.load(Ordering::SeqCst))),
    };
    let hosts = hosts(parts, axum::Router::new());
    World {
        router: hosts.gateway,
        services: hosts.services,
        renewals: hosts.renewals,
        published,
        providers,
        idp,
        other,
        ledger,
        store,
        keys,
        pods,
        now,
    }
}

impl World {
    pub(super) fn pass(&self, time: Duration) {
        self.now
            .fetch_add(i64::try_from(time.as_secs()).unwrap(), Ordering::SeqCst);
    }

    pub(super) fn at(&self) -> Timestamp {
        Timestamp::from_unix_seconds(self.now.load(Ordering::SeqCst))
    }

    pub(super) fn events(&self) -> Vec<(What, Option<&'static str>)> {
        self.ledger
            .events
            .lock()
            .unwrap()
            .iter()
            .map(|event| (event.what, event.why))
            .collect()
    }

    pub(super) async fn send(&self, request: http::request::Builder, body: String) -> Seen {
        let mut request = request.body(Body::from(body)).unwrap();
        request
            .headers_mut()
            .entry(header::HOST)
            .or_insert("gate.example".parse().unwrap());
        Self::through(self.router.clone(), request).await
    }

    /// On the host of a service.
    pub(super) async fn send_at(&self, host: &str, request: http::request::Builder, body: String) -> Seen {
        let mut request = request.body(Body::from(body)).unwrap();
        request.headers_mut().insert(header::HOST, host.parse().unwrap());
        request
            .extensions_mut()
            .insert(AtHost(model::service::HostName::new(host).unwrap()));
        Self::through(self.services.clone(), request).await
    }

    async fn through(router: axum::Router, mut request: Request<Body>) -> Seen {
        let peer = Peer {
            ip: "192.0.2.7".parse().unwrap(),
            port: 50_000,
            listener: "gateway".to_owned(),
        };
        request.extensions_mut().insert(peer);
        let (head, body) = router.oneshot(request).await.unwrap().into_parts();
        let body = String::from_utf8(to_bytes(body, 1 << 20).await.unwrap().to_vec()).unwrap();
        Seen {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    pub(super) async fn token(&self, fields: &[(&str, &str)]) -> Seen {
        let request = Request::post("/token").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request, form(fields)).await
    }

    /// A whole sign-in of the command line.
    pub(super) async fn signed_in(&self) -> Value {
        let back = Browser::new(self).sign_in().await;
        let code = query(&back, "code").unwrap();
        self.redeem(&code, VERIFIER, LOOPBACK).await.json()
    }

    pub(super) async fn redeem(&self, code: &str, verifier: &str, redirect: &str) -> Seen {
        self.token(&[
            ("grant_type", "authorization_code"),
            ("client_id", "gatescribe-cli"),
            ("code", code),
            ("code_verifier", verifier),
            ("redirect_uri", redirect),
            ("audience", "prod"),
        ])
        .await
    }

    pub(super) async fn renew(&self, handle: &str, request_id: Option<&str>) -> Seen {
        let mut fields = vec![
            ("grant_type", "refresh_token"),
            ("refresh_token", handle),
            ("audience", "prod"),
        ];
        fields.extend(request_id.map(|id| ("request_id", id)));
        self.token(&fields).await
    }
}

pub(super) struct Seen {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Seen {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.status, self.body))
    }

    /// The record that the answer names: what it says.
    pub(super) fn named(&self, world: &World) -> Option<What> {
        let id = self.headers.get("gatescribe-record")?.to_str().unwrap();
        Some(world.events()[id.parse::<usize>().unwrap()].0)
    }

    pub(super) fn location(&self) -> String {
        let location = self.headers.get(header::LOCATION);
        location
            .unwrap_or_else(|| panic!("{} {}", self.status, self.body))
            .to_str()
            .unwrap()
            .to_owned()
    }
}

/// A browser: keeps cookies.
pub(super) struct Browser<'w> {
    world: &'w World,
    /// Which service's host; none: the gateway's.
    host: Option<&'static str>,
    pub(super) cookies: BTreeMap<String, String>,
}

impl<'w> Browser<'w> {
    pub(super) fn new(world: &'w World) -> Self {
        Self {
            world,
            host: None,
            cookies: BTreeMap::new(),
        }
    }

    /// What it keeps for the host of a service.
    pub(super) fn at(world: &'w World, host: &'static str) -> Self {
        Self {
            host: Some(host),
            ..Self::new(world)
        }
    }

    pub(super) async fn get(&mut self, target: &str) -> Seen {
        let target = target.strip_prefix(URL).unwrap_or(target).to_owned();
        self.go(Request::get(target), String::new()).await
    }

    pub(super) async fn post(&mut self, target: &str, fields: &[(&str, &str)], site: &str) -> Seen {
        let request = Request::post(target)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", site);
        self.go(request, form(fields)).await
    }

    pub(super) async fn go(&mut self, request: http::request::Builder, body: String) -> Seen {
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = request.header(header::COOKIE, cookies.join("; "));
        let seen = match self.host {
            None => self.world.send(request, body).await,
            Some(host) => self.world.send_at(host, request, body).await,
        };
        for line in seen.headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            for wanted in [
                "__Host-",
                "; Path=/;",
                "; HttpOnly",
                "; SameSite=Lax",
                "; Secure",
                "; Max-Age=",
            ] {
                assert!(line.contains(wanted), "{line}");
            }
            assert!(!line.contains("Domain"), "{line}");
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        seen
    }

    /// Begins a sign-in; where the provider's page is.
    pub(super) async fn leave(&mut self) -> String {
        let seen = self.get(&authorize(&[])).await;
        assert_eq!(seen.status, StatusCode::SEE_OTHER, "{}", seen.body);
        seen.location()
    }

    /// A whole sign-in; where the command line hears of it.
    pub(super) async fn sign_in(&mut self) -> String {
        let away = self.leave().await;
        let code = self.world.idp.code_for(&away);
        self.come_back(&away, &code).await.location()
    }

    pub(super) async fn come_back(&mut self, away: &str, code: &str) -> Seen {
        let state = query(away, "state").unwrap();
        self.get(&with_query(
            "/callback",
            &[("code", code), ("state", &state), ("iss", "https://idp.example")],
        ))
        .await
    }
}

/// `/authorize` as our command line asks, with changes; an empty value leaves a parameter out.
pub(super) fn authorize(changes: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let mut fields = BTreeMap::from([
        ("response_type", "code"),
        ("client_id", "gatescribe-cli"),
        ("redirect_uri", LOOPBACK),
        ("state", "client-state"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ]);
    fields.extend(changes.iter().copied());
    let pairs: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    with_query("/authorize", &pairs)
}

pub(super) fn query(location: &str, name: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| decode(value))
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect();
    pairs.join("&")
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            bytes.push(if byte == b'+' { b' ' } else { byte });
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub(super) fn merge(into: &mut Value, changes: &Value) {
    let (Some(into), Some(changes)) = (into.as_object_mut(), changes.as_object()) else {
        return;
    };
    for (name, value) in changes {
        if value.is_null() {
            into.remove(name);
        } else {
            into.insert(name.clone(), value.clone());
        }
    }
}
