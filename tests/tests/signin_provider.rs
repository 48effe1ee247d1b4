//! Signing in against a certified OpenID provider (`oidc-provider`), over real sockets, with a browser made of one HTTP
//! client and a cookie jar. What a certified provider refuses to do wrong is tried inside crate `console`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use console::{ActsFor, Leave, NoLeave, NotProved, Workloads};
use console::{
    ClusterEntry, Fetch as _, GatewayKeys, GatewayUrl, HyperFetch, Issuers, Lifetimes, NotRecorded, Parts, Peer,
    Provider, Recorder, SessionEvent, What,
};
use futures::future::BoxFuture;
use http::{Request, StatusCode, header};
use model::service::ServiceName;
use model::subject::{Subject, SubjectId};
use model::time::Timestamp;
use oidc::gateway::SigningKey;
use oidc::keys::UnknownKey;
use oidc::login::{Client, ClientAuthentication};
use oidc::{Answer, Discovery, Issuer, KeyState};
use serde_json::{Value, json};
use state::{Limits, SealingKey, SealingKeys, Store};

const LOOPBACK: &str = "http://127.0.0.1:9/callback";
const VERIFIER: &str = "verifier-verifier-verifier-verifier-verifier";
/// BASE64URL(SHA-256(VERIFIER)), computed once with another program.
const CHALLENGE: &str = "fD3GLJ_KzCDB0w6uDOSFNNdflrHwtv8Cizh6P5pJkfQ";

/// The provider as a program. Its end of input ends it, so it ends with this process, however that ends.
struct OidcProvider {
    child: Child,
    issuer: String,
    control: String,
    secret: String,
}

impl OidcProvider {
    fn start(gateway: &str) -> Self {
        let folder = tests::counterparts::repository().join("tests/counterparts/provider");
        assert!(
            folder.join("node_modules").is_dir(),
            "no node_modules in tests/counterparts/provider: run `cargo xtask counterparts`"
        );
        let options = json!({
            "redirectUris": [format!("{gateway}/callback")],
            "logoutUri": format!("{gateway}/backchannel-logout"),
            "postLogoutUris": [format!("{gateway}/signed-out")],
        });
        let mut child = Command::new("node")
            .arg("server.mjs")
            .arg(options.to_string())
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node starts");
        let ready = read_ready(child.stdout.take().unwrap());
        let text = |name: &str| ready[name].as_str().unwrap().to_owned();
        Self {
            child,
            issuer: text("issuer"),
            control: text("control"),
            secret: text("clientSecret"),
        }
    }
}

fn read_ready(stdout: ChildStdout) -> Value {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| panic!("the provider did not start: {line:?}"))
}

impl Drop for OidcProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the feeds will do: keys by the state machine of `oidc`.
struct Feed {
    issuer: Arc<Issuer>,
    client: Client,
    discovery: Arc<Discovery>,
    keys: tokio::sync::Mutex<KeyState>,
    snapshot: Mutex<Arc<[Arc<Provider>]>>,
    fetch: Arc<HyperFetch>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl Feed {
    async fn fetch_keys(&self, keys: &mut KeyState) {
        let response = self.fetch.fetch(self.discovery.keys_request()).await.unwrap();
        keys.fetched(Some(&answer(&response)), (self.clock)());
        let provider = Provider {
            name: "corp".into(),
            title: "Corp".to_owned(),
            issuer: self.issuer.clone(),
            client: self.client.clone(),
            prompt: None,
            discovery: self.discovery.clone(),
            keys: keys.keys().unwrap().clone(),
            fetch: self.fetch.clone(),
        };
        *self.snapshot.lock().unwrap() = Arc::new([Arc::new(provider)]);
    }
}

impl Issuers for Feed {
    fn providers(&self) -> Arc<[Arc<Provider>]> {
        self.snapshot.lock().unwrap().clone()
    }

    fn newer_keys<'a>(&'a self, _issuer: &'a str, kid: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut keys = self.keys.lock().await;
            if keys.on_unknown_kid(kid, (self.clock)()) == UnknownKey::Fetch {
                self.fetch_keys(&mut keys).await;
            }
        })
    }
}

fn answer(response: &http::Response<Bytes>) -> Answer<'_> {
    Answer {
        status: response.status(),
        headers: response.headers(),
        body: response.body(),
    }
}

#[derive(Default)]
struct Events(Mutex<Vec<SessionEvent>>);

impl Recorder for Events {
    fn record(&self, event: SessionEvent) -> BoxFuture<'_, Result<Option<String>, NotRecorded>> {
        self.0.lock().unwrap().push(event);
        Box::pin(async { Ok(None) })
    }

    fn count(&self, _whose: Option<&SubjectId>) {
        unreachable!("nobody asks too often here");
    }
}

struct World {
    provider: OidcProvider,
    url: String,
    events: Arc<Events>,
    http: Arc<HyperFetch>,
    ahead: Arc<AtomicI64>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// No workload acts for anybody here.
struct NoWorkloads;

impl Workloads for NoWorkloads {
    fn prove<'a>(&'a self, _: &'a str, _: Option<IpAddr>) -> BoxFuture<'a, Result<Subject, NotProved>> {
        Box::pin(std::future::ready(Err(NotProved::Refused("none is known".to_owned()))))
    }

    fn is_service(&self, _: &Subject, _: &ServiceName) -> bool {
        false
    }

    fn leave(&self, _: &ActsFor<'_>) -> Result<Leave, NoLeave> {
        Err(NoLeave::NoService)
    }
}

impl World {
    async fn start(recheck: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let provider = OidcProvider::start(&url);
        // One trust anchor, as plain http on loopback needs none but TLS wants to be set up.
        let ca = rcgen::generate_simple_self_signed(vec!["unused.example".to_owned()]).unwrap();
        let http = Arc::new(HyperFetch::new(Some(ca.cert.pem().as_bytes())).unwrap());
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = clock(ahead.clone());
        let feed = feed(&provider, &url, http.clone(), clock.clone()).await;
        let (events, gateway) = (Arc::new(Events::default()), GatewayUrl::parse(&url).unwrap());
        let clusters: Arc<[ClusterEntry]> = Arc::new([ClusterEntry {
            name: "prod".to_owned(),
            server: format!("{url}/clusters/prod"),
            ca_data: None,
        }]);
        let keys = SealingKeys::new(SealingKey::new(&[7; 32]).unwrap(), vec![]);
        let parts = Parts {
            lifetimes: Lifetimes {
                recheck,
                ..Lifetimes::default()
            },
            store: Arc::new(Store::in_memory(keys, Limits::default()).unwrap()),
            issuers: Arc::new(feed),
            clusters: tokio::sync::watch::channel(clusters).1,
            recorder: events.clone(),
            keys: Arc::new(GatewayKeys::new(&gateway, SigningKey::generate().unwrap().0, &[]).unwrap()),
            is_published: Arc::new(|_| false),
            workloads: Arc::new(NoWorkloads),
            url: gateway,
            clock,
        };
        let peer = Peer {
            ip: "127.0.0.1".parse().unwrap(),
            port: 1,
            listener: "gateway".to_owned(),
        };
        let router = console::hosts(parts, axum::Router::new())
            .gateway
            .layer(axum::Extension(peer));
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            provider,
            url,
            events,
            http,
            ahead,
            server,
        }
    }

    async fn control(&self, path: &str, body: Value) -> Value {
        let request = Request::post(format!("{}{path}", self.provider.control)).body(Bytes::from(body.to_string()));
        let response = self.http.fetch(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}: {:?}", response.body());
        serde_json::from_slice(response.body()).unwrap()
    }

    async fn count(&self, path: &str) -> u64 {
        let request = Request::get(format!("{}/counts", self.provider.control))
            .body(Bytes::new())
            .unwrap();
        let counts: Value = serde_json::from_slice(self.http.fetch(request).await.unwrap().body()).unwrap();
        counts[path].as_u64().unwrap_or(0)
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, Value) {
        let request = Request::post(format!("{}{path}", self.url))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Bytes::from(form(fields)))
            .unwrap();
        let response = self.http.fetch(request).await.unwrap();
        (
            response.status(),
            serde_json::from_slice(response.body()).unwrap_or(Value::Null),
        )
    }

    async fn sign_in(&self, person: &str) -> Value {
        let back = Browser::new(self).sign_in(person).await;
        self.redeem(&back).await
    }

    async fn redeem(&self, back: &str) -> Value {
        let code = query(back, "code").unwrap_or_else(|| panic!("{back}"));
        let (status, answer) = self
            .post(
                "/token",
                &[
                    ("grant_type", "authorization_code"),
                    ("client_id", "gatescribe-cli"),
                    ("code", &code),
                    ("code_verifier", VERIFIER),
                    ("redirect_uri", LOOPBACK),
                ],
            )
            .await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    async fn renew(&self, answer: &Value) -> (StatusCode, Value) {
        let handle = answer["refresh_token"].as_str().unwrap();
        self.post("/token", &[("grant_type", "refresh_token"), ("refresh_token", handle)])
            .await
    }

    fn told(&self) -> Vec<What> {
        self.events.0.lock().unwrap().iter().map(|event| event.what).collect()
    }
}

fn clock(ahead: Arc<AtomicI64>) -> Arc<dyn Fn() -> Timestamp + Send + Sync> {
    Arc::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let ahead = Duration::from_secs(ahead.load(Ordering::SeqCst).unsigned_abs());
        Timestamp::from_unix_nanos(i64::try_from(now).unwrap()).plus(ahead)
    })
}

async fn feed(
    provider: &OidcProvider,
    url: &str,
    fetch: Arc<HyperFetch>,
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
) -> Feed {
    let configured: oidc::issuer::Provider = serde_json::from_value(json!({
        "name": "corp", "issuer": provider.issuer, "clientID": "gatescribe", "usernamePrefix": "-", "groupsClaim": "groups",
    }))
    .unwrap();
    let issuer = Arc::new(configured.compile().unwrap());
    let response = fetch.fetch(Discovery::request(&issuer)).await.unwrap();
    let discovery = Arc::new(Discovery::read(&issuer, &answer(&response)).unwrap());
    let feed = Feed {
        client: Client {
            issuer: provider.issuer.as_str().into(),
            client_id: "gatescribe".to_owned(),
            authentication: ClientAuthentication::Basic(provider.secret.clone().into()),
            redirect_uri: format!("{url}/callback"),
            scopes: ["openid", "email", "groups"].map(str::to_owned).to_vec(),
        },
        issuer,
        discovery,
        keys: tokio::sync::Mutex::new(KeyState::new()),
        snapshot: Mutex::new(Arc::new([])),
        fetch,
        clock,
    };
    let mut keys = feed.keys.lock().await;
    assert!(keys.due((feed.clock)()));
    feed.fetch_keys(&mut keys).await;
    drop(keys);
    feed
}

/// Follows redirects and keeps cookies by host and port, until it is sent to the command line's address.
struct Browser<'w> {
    world: &'w World,
    cookies: BTreeMap<(String, String), String>,
}

struct Page {
    url: String,
    status: StatusCode,
    body: String,
}

impl<'w> Browser<'w> {
    fn new(world: &'w World) -> Self {
        Self {
            world,
            cookies: BTreeMap::new(),
        }
    }

    async fn sign_in(&mut self, person: &str) -> String {
        self.sign_in_with(person, &[]).await
    }

    async fn sign_in_with(&mut self, person: &str, wishes: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", "gatescribe-cli"),
            ("redirect_uri", LOOPBACK),
            ("state", "client-state"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("login_hint", person),
        ];
        fields.extend_from_slice(wishes);
        self.get(&format!("{}/authorize?{}", self.world.url, form(&fields)))
            .await
            .url
    }

    async fn get(&mut self, url: &str) -> Page {
        self.go(Request::get(url), url, String::new()).await
    }

    async fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        let request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin");
        self.go(request, url, form(fields)).await
    }

    async fn go(&mut self, request: http::request::Builder, url: &str, body: String) -> Page {
        let (mut request, mut url, mut body) = (request, url.to_owned(), body);
        for _ in 0..20 {
            let origin = origin_of(&url);
            let of_origin = self.cookies.iter().filter(|((host, _), _)| *host == origin);
            let line: Vec<String> = of_origin.map(|((_, name), value)| format!("{name}={value}")).collect();
            let sent = request
                .header(header::COOKIE, line.join("; "))
                .body(Bytes::from(body))
                .unwrap();
            let response = self.world.http.fetch(sent).await.unwrap();
            self.keep(&origin, response.headers());
            let Some(location) = response.headers().get(header::LOCATION) else {
                let body = String::from_utf8(response.body().to_vec()).unwrap();
                return Page {
                    url,
                    status: response.status(),
                    body,
                };
            };
            let location = location.to_str().unwrap();
            url = if location.starts_with('/') {
                format!("{origin}{location}")
            } else {
                location.to_owned()
            };
            if url.starts_with(LOOPBACK) {
                return Page {
                    url,
                    status: response.status(),
                    body: String::new(),
                };
            }
            (request, body) = (Request::get(&url), String::new());
        }
        panic!("redirects without end, last to {url}");
    }

    fn keep(&mut self, origin: &str, headers: &http::HeaderMap) {
        for line in headers.get_all(header::SET_COOKIE) {
            let line = line.to_str().unwrap();
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            let key = (origin.to_owned(), name.to_owned());
            if value.is_empty() {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
    }
}

fn origin_of(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        text.bytes()
            .map(|byte| {
                if plain(byte) {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect()
    };
    fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

fn query(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, v)| v.to_owned())
}

fn claims(answer: &Value) -> Value {
    let token = answer["access_token"].as_str().unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

fn between<'p>(page: &'p str, before: &str, after: &str) -> &'p str {
    let (_, rest) = page
        .split_once(before)
        .unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split_once(after).unwrap().0
}

const NEVER: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_code_and_pkce_and_are_who_the_provider_says() {
    let world = World::start(NEVER).await;
    for (person, groups) in [("alice", json!(["dev"])), ("bob", json!(["sre"])), ("dave", json!([]))] {
        let said = claims(&world.sign_in(person).await);
        assert_eq!(
            (&said["gs"]["username"], &said["gs"]["groups"]),
            (&json!(person), &groups)
        );
        assert_eq!(said["gs"]["iss"], world.provider.issuer);
        assert!(said["auth_time"].as_i64().unwrap() > 1_700_000_000, "{said}");
    }
    assert_eq!(world.told(), [What::SignedIn; 3]);
}

/// What `gatescribe login --fresh` asks for: whom the provider remembers it does not ask who they are otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn the_provider_asks_again_only_when_a_fresh_sign_in_is_wanted() {
    let world = World::start(NEVER).await;
    let mut browser = Browser::new(&world);
    let mut asked = Vec::new();
    for wishes in [&[][..], &[], &[("prompt", "login"), ("max_age", "600")]] {
        let before = world.count("/interaction/*").await;
        let back = browser.sign_in_with("alice", wishes).await;
        assert_eq!(claims(&world.redeem(&back).await)["gs"]["username"], "alice");
        asked.push(world.count("/interaction/*").await - before);
    }
    assert!(asked[0] > asked[1] && asked[2] > asked[1], "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_rotates_the_providers_token_and_reads_the_groups_again() {
    let world = World::start(Duration::ZERO).await;
    let mut answer = world.sign_in("alice").await;
    world
        .control(
            "/people",
            json!({"id": "alice", "claims": {"groups": ["sre", "oncall"]}}),
        )
        .await;
    for _ in 0..3 {
        let (status, next) = world.renew(&answer).await;
        assert_eq!(status, StatusCode::OK, "{next}");
        answer = next;
    }
    assert_eq!(claims(&answer)["gs"]["groups"], json!(["sre", "oncall"]));
    assert_eq!(world.count("/token").await, 4);
    assert_eq!(world.told(), [What::SignedIn, What::IdentityChanged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_the_provider_no_longer_knows_is_out_at_the_next_renewal() {
    let world = World::start(Duration::ZERO).await;
    let answer = world.sign_in("alice").await;
    world.control("/disable", json!({"id": "alice"})).await;
    let (status, refused) = world.renew(&answer).await;
    assert_eq!(
        (status, &refused["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_grant"))
    );
    assert_eq!(world.told(), [What::SignedIn, What::ProviderRefused]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_provider_costs_no_session() {
    let world = World::start(Duration::ZERO).await;
    let answer = world.sign_in("alice").await;
    world.control("/pause", json!({"path": "/token", "status": 503})).await;
    let (status, during) = world.renew(&answer).await;
    assert_eq!(status, StatusCode::OK, "{during}");
    world.control("/resume", json!({})).await;
    let (status, after) = world.renew(&during).await;
    assert_eq!(status, StatusCode::OK, "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_signing_key_is_found_by_the_first_token_that_needs_it() {
    let world = World::start(Duration::ZERO).await;
    let answer = world.sign_in("alice").await;
    assert_eq!(world.count("/jwks").await, 1);
    world.control("/rotate", json!({"withdraw": true})).await;
    world.ahead.store(31, Ordering::SeqCst); // past the cool-down after the first fetch
    world.sign_in("bob").await;
    let (status, renewed) = world.renew(&answer).await;
    assert_eq!(status, StatusCode::OK, "{renewed}");
    assert_eq!(world.count("/jwks").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_at_the_provider_ends_the_session_here() {
    let world = World::start(NEVER).await;
    let (alice, bob) = (world.sign_in("alice").await, world.sign_in("bob").await);
    let sent = world.control("/logout", json!({"sub": "alice"})).await;
    assert_eq!(sent["sent"][0]["outcome"], "accepted", "{sent}");
    let (_, refused) = world.renew(&alice).await;
    assert_eq!(refused["error"], "invalid_grant");
    assert_eq!(world.renew(&bob).await.0, StatusCode::OK, "nobody else's session ended");
    assert!(world.told().contains(&What::SignedOutByProvider));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_out_here_takes_the_providers_token_back() {
    let world = World::start(NEVER).await;
    let answer = world.sign_in("alice").await;
    let (status, told) = world
        .post("/revoke", &[("token", answer["refresh_token"].as_str().unwrap())])
        .await;
    assert_eq!(
        (status, told),
        (StatusCode::OK, json!({"revoked": true, "provider": "revoked"}))
    );
    assert_eq!(world.count("/token/revocation").await, 1);
    assert_eq!(world.renew(&answer).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_out_here_and_at_the_provider() {
    let world = World::start(NEVER).await;
    let mut browser = Browser::new(&world);
    let home = browser
        .get(&format!("{}/signin?login_hint=carol&return_to=/logout", world.url))
        .await;
    assert!(
        home.status == StatusCode::OK && home.body.contains("carol"),
        "{}",
        home.body
    );
    let there = browser
        .post(
            &format!("{}/logout", world.url),
            &[("confirm", "yes"), ("answer", "yes")],
        )
        .await;
    assert!(
        there.url.starts_with(&format!("{}/session/end", world.provider.issuer)),
        "{}",
        there.url
    );
    let xsrf = between(&there.body, "name=\"xsrf\" value=\"", "\"").to_owned();
    let confirm = format!("{}/session/end/confirm", world.provider.issuer);
    let back = browser.post(&confirm, &[("xsrf", &xsrf), ("logout", "yes")]).await;
    assert!(
        back.url.starts_with(&format!("{}/signed-out", world.url)),
        "{}",
        back.url
    );
    let again = browser.get(&format!("{}/logout", world.url)).await;
    assert!(again.body.contains("You are signed out"), "{}", again.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_without_a_browser_is_signed_in_by_a_person_elsewhere() {
    let world = World::start(NEVER).await;
    world.control("/auto", json!({"login": "bob"})).await;
    let (_, device) = world
        .post(
            "/device_authorization",
            &[("client_id", "gatescribe-cli"), ("device_name", "ci-7")],
        )
        .await;
    let mut browser = Browser::new(&world);
    let form = browser.get(device["verification_uri_complete"].as_str().unwrap()).await;
    let typed = between(&form.body, "name=\"user_code\" value=\"", "\"").to_owned();
    let question = browser
        .post(&format!("{}/device", world.url), &[("user_code", &typed)])
        .await;
    assert!(
        question.body.contains("ci-7") && question.body.contains("bob"),
        "{}",
        question.body
    );
    let ticket = between(&question.body, "name=\"ticket\" value=\"", "\"").to_owned();
    let answer = format!("{}/device/answer", world.url);
    browser.post(&answer, &[("ticket", &ticket), ("answer", "yes")]).await;
    let code = device["device_code"].as_str().unwrap();
    let grant = "urn:ietf:params:oauth:grant-type:device_code";
    let (status, token) = world
        .post(
            "/token",
            &[("grant_type", grant), ("device_code", code), ("audience", "prod")],
        )
        .await;
    assert_eq!(status, StatusCode::OK, "{token}");
    assert_eq!(
        (&claims(&token)["gs"]["username"], &claims(&token)["aud"]),
        (&json!("bob"), &json!("prod"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_says_no_at_the_provider_is_not_signed_in() {
    let world = World::start(NEVER).await;
    world.control("/auto", json!({"login": ""})).await;
    let back = Browser::new(&world).sign_in("").await;
    assert_eq!(query(&back, "error").as_deref(), Some("access_denied"));
    assert_eq!(world.told(), [What::SignInRefused]);
}
