//! The provider over real sockets, and its tokens against an independent reading of the key set.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use model::time::Timestamp;
use serde_json::Value;

use super::*;

const REDIRECT: &str = "http://127.0.0.1:7443/callback";
const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-long";

struct Bench {
    provider: Provider,
    seconds: Arc<AtomicI64>,
}

struct Answer {
    status: u16,
    location: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn query(&self, name: &str) -> Option<String> {
        let query = self.location.split_once('?')?.1;
        let pair = query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        Some(
            percent_encoding::percent_decode_str(pair)
                .decode_utf8()
                .unwrap()
                .into_owned(),
        )
    }
}

impl Bench {
    async fn start() -> Self {
        let seconds = Arc::new(AtomicI64::new(1_795_000_000));
        let shown = Arc::clone(&seconds);
        let client = Client {
            id: "gatescribe".to_owned(),
            secret: Some("a secret".to_owned()),
            redirect_uris: vec![REDIRECT.to_owned()],
            post_logout_redirect_uris: vec!["http://127.0.0.1:7443/bye".to_owned()],
        };
        let options = Options {
            address: "127.0.0.1:0".parse().unwrap(),
            clients: vec![client],
            clock: Arc::new(move || Timestamp::from_unix_seconds(shown.load(Ordering::SeqCst))),
        };
        Self {
            provider: Provider::start(options).await.unwrap(),
            seconds,
        }
    }

    async fn send(&self, request: http::request::Builder, body: String) -> Answer {
        let stream = tokio::net::TcpStream::connect(self.provider.address()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = request.header("host", "x").body(Full::new(Bytes::from(body))).unwrap();
        let response = sender.send_request(request).await.unwrap();
        let location = response
            .headers()
            .get("location")
            .map_or("", |value| value.to_str().unwrap())
            .to_owned();
        let status = response.status().as_u16();
        let body = String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status, location, body }
    }

    async fn fetch(&self, path: &str) -> Answer {
        self.send(Request::get(path), String::new()).await
    }

    async fn authorize(&self, extra: &str) -> Answer {
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, VERIFIER.as_bytes()));
        self.fetch(&format!(
            "/authorize?response_type=code&client_id=gatescribe&redirect_uri={REDIRECT}&scope=openid%20offline_access\
             &state=s%26t&nonce=n1&code_challenge={challenge}&code_challenge_method=S256{extra}"
        ))
        .await
    }

    async fn token(&self, form: &str) -> Answer {
        let request = Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
        self.send(request, format!("client_id=gatescribe&client_secret=a%20secret&{form}"))
            .await
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.token(&format!(
            "grant_type=authorization_code&code={code}&code_verifier={VERIFIER}&redirect_uri={REDIRECT}"
        ))
        .await
    }

    async fn sign_in(&self, who: &str) -> Value {
        let code = self
            .authorize(&format!("&login_hint={who}&prompt=none"))
            .await
            .query("code")
            .unwrap();
        self.redeem(&code).await.json()
    }

    /// Verifies a token with the published key set only.
    async fn verified(&self, token: &str) -> Value {
        let parts: Vec<&str> = token.split('.').collect();
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let header: Value = serde_json::from_slice(&decode(parts[0])).unwrap();
        let set = self.fetch("/jwks").await.json();
        let key = set["keys"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["kid"] == header["kid"])
            .expect("key in the set");
        let mut point = vec![4];
        point.extend(decode(key["x"].as_str().unwrap()));
        point.extend(decode(key["y"].as_str().unwrap()));
        let input = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(input.as_bytes(), &decode(parts[2]))
            .unwrap();
        serde_json::from_slice(&decode(parts[1])).unwrap()
    }
}

#[tokio::test]
async fn discovery_names_endpoints_under_the_issuer() {
    let bench = Bench::start().await;
    let document = bench.fetch("/.well-known/openid-configuration").await.json();
    assert_eq!(document["issuer"], bench.provider.issuer());
    assert_eq!(document["token_endpoint"], format!("{}/token", bench.provider.issuer()));
}

#[tokio::test]
async fn a_script_signs_in_without_a_page_and_gets_verifiable_claims() {
    let bench = Bench::start().await;
    let answer = bench.authorize("&login_hint=alice&prompt=none").await;
    assert_eq!((answer.status, answer.query("state").unwrap().as_str()), (303, "s&t"));
    assert_eq!(answer.query("iss").unwrap(), bench.provider.issuer());
    let tokens = bench.redeem(&answer.query("code").unwrap()).await.json();
    let claims = bench.verified(tokens["id_token"].as_str().unwrap()).await;
    let expected: HashMap<&str, Value> = HashMap::from([
        ("iss", json!(bench.provider.issuer())),
        ("aud", json!("gatescribe")),
        ("sub", json!("d7c1a9e0-alice")),
        ("email", json!("alice@demo.example")),
        ("email_verified", json!(true)),
        ("groups", json!(["dev"])),
        ("nonce", json!("n1")),
        ("auth_time", json!(1_795_000_000)),
        ("exp", json!(1_795_003_600)),
    ]);
    for (claim, value) in expected {
        assert_eq!(claims[claim], value, "{claim}");
    }
    assert!(claims["sid"].as_str().unwrap().len() > 20);
}

#[tokio::test]
async fn the_picker_offers_three_people_by_plain_links() {
    let bench = Bench::start().await;
    let page = bench.authorize("&login_hint=bob").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.body.matches("<a href=\"/authorize?").count(), 3);
    assert_eq!(page.body.matches(" autofocus").count(), 1);
    assert!(!page.body.contains("<script") && !page.body.contains("http-equiv"));
    let link = page
        .body
        .split("<a href=\"")
        .nth(3)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let code = bench.fetch(&link).await.query("code").unwrap();
    let tokens = bench.redeem(&code).await.json();
    assert_eq!(
        bench.verified(tokens["id_token"].as_str().unwrap()).await["preferred_username"],
        "carol"
    );
}

#[tokio::test]
async fn a_foreign_redirect_address_is_never_followed() {
    let bench = Bench::start().await;
    let answer = bench
        .fetch("/authorize?client_id=gatescribe&redirect_uri=http://evil.example/&response_type=code")
        .await;
    assert_eq!((answer.status, answer.location.as_str()), (400, ""));
}

#[tokio::test]
async fn a_request_without_pkce_is_refused_to_the_client() {
    let bench = Bench::start().await;
    let path = format!("/authorize?client_id=gatescribe&redirect_uri={REDIRECT}&response_type=code&scope=openid");
    assert_eq!(bench.fetch(&path).await.query("error").unwrap(), "invalid_request");
}

#[tokio::test]
async fn silence_without_a_known_person_is_login_required() {
    let bench = Bench::start().await;
    assert_eq!(
        bench.authorize("&prompt=none").await.query("error").unwrap(),
        "login_required"
    );
    assert_eq!(
        bench
            .authorize("&prompt=none&login_hint=mallory")
            .await
            .query("error")
            .unwrap(),
        "login_required"
    );
}

#[tokio::test]
async fn a_code_is_good_once_and_its_second_use_ends_the_session() {
    let bench = Bench::start().await;
    let code = bench
        .authorize("&login_hint=alice&prompt=none")
        .await
        .query("code")
        .unwrap();
    let tokens = bench.redeem(&code).await.json();
    assert_eq!(bench.redeem(&code).await.json()["error"], "invalid_grant");
    let handle = tokens["refresh_token"].as_str().unwrap();
    let again = bench
        .token(&format!("grant_type=refresh_token&refresh_token={handle}"))
        .await;
    assert_eq!(again.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_code_expires_after_a_minute() {
    let bench = Bench::start().await;
    let code = bench
        .authorize("&login_hint=alice&prompt=none")
        .await
        .query("code")
        .unwrap();
    bench.seconds.fetch_add(60, Ordering::SeqCst);
    assert_eq!(bench.redeem(&code).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn a_wrong_verifier_or_secret_gets_nothing() {
    let bench = Bench::start().await;
    let code = bench
        .authorize("&login_hint=alice&prompt=none")
        .await
        .query("code")
        .unwrap();
    let form = format!("grant_type=authorization_code&code={code}&code_verifier=wrong&redirect_uri={REDIRECT}");
    assert_eq!(bench.token(&form).await.json()["error"], "invalid_grant");
    let request = Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    let answer = bench
        .send(request, format!("client_id=gatescribe&client_secret=no&{form}"))
        .await;
    assert_eq!(
        (answer.status, answer.json()["error"].as_str().unwrap()),
        (401, "invalid_client")
    );
}

#[tokio::test]
async fn refresh_rotates_and_reuse_ends_the_session() {
    let bench = Bench::start().await;
    let first = bench.sign_in("bob").await;
    let refresh = |tokens: &Value| {
        format!(
            "grant_type=refresh_token&refresh_token={}",
            tokens["refresh_token"].as_str().unwrap()
        )
    };
    bench.seconds.fetch_add(600, Ordering::SeqCst);
    let second = bench.token(&refresh(&first)).await.json();
    let claims = bench.verified(second["id_token"].as_str().unwrap()).await;
    assert_eq!(
        (claims["auth_time"].as_i64(), claims["iat"].as_i64()),
        (Some(1_795_000_000), Some(1_795_000_600))
    );
    assert_eq!(bench.token(&refresh(&first)).await.json()["error"], "invalid_grant");
    assert_eq!(bench.token(&refresh(&second)).await.json()["error"], "invalid_grant");
}

#[tokio::test]
async fn tokens_signed_before_a_rotation_still_verify_once() {
    let bench = Bench::start().await;
    let before = bench.sign_in("alice").await;
    let kid = bench.provider.rotate_keys().unwrap();
    let after = bench.sign_in("alice").await;
    bench.verified(before["id_token"].as_str().unwrap()).await;
    bench.verified(after["id_token"].as_str().unwrap()).await;
    assert_eq!(bench.fetch("/jwks").await.json()["keys"][0]["kid"], kid);
}

#[tokio::test]
async fn signing_out_ends_the_session_and_returns_only_to_known_addresses() {
    let bench = Bench::start().await;
    let tokens = bench.sign_in("carol").await;
    let userinfo = || {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        bench.send(Request::get("/userinfo").header("authorization", bearer), String::new())
    };
    assert_eq!(userinfo().await.json()["groups"], json!(["audit"]));
    let hint = tokens["id_token"].as_str().unwrap();
    let path = format!("/end_session?id_token_hint={hint}&post_logout_redirect_uri=");
    let answer = bench.fetch(&format!("{path}http://127.0.0.1:7443/bye&state=x")).await;
    assert_eq!(answer.location, "http://127.0.0.1:7443/bye?state=x");
    assert_eq!(userinfo().await.status, 401);
    assert_eq!(bench.fetch(&format!("{path}http://evil.example/")).await.location, "");
}
