//! A scripted OpenID provider that does what a certified one refuses to do. One server, many issuers: each lives under its
//! own path and misbehaves in its own way from its first answer on, so one gateway meets them all at once.
//!
//! It is a counterpart, not a stand-in: the gateway reaches it by the network like any other provider. Plain HTTP on
//! loopback. Every request is counted by its path; a stuck answer is held until the server goes.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// How one issuer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// As it should, in everything.
    Honest,
    /// Its key set is accepted and never answered.
    SilentKeys,
    /// Its key set comes byte by byte and never ends.
    DrippingKeys,
    /// Its key set has 50 MiB.
    HugeKeys,
    /// Its key set has 100,000 keys.
    ManyKeys,
    /// Its key set is a page, with status 200.
    PageKeys,
    /// Its key set has no key.
    NoKeys,
    /// Its key set is answered with 500.
    FailingKeys,
    /// Its key set lies behind a redirect.
    RedirectedKeys,
    /// Its key set has the private key.
    PrivateKeys,
    /// Its key set is good JSON under a wrong content type.
    OddTypeKeys,
    /// One key under two names.
    KeyOfTwoNames,
    /// Two keys under one name.
    NameOfTwoKeys,
    /// Its discovery document is another issuer's.
    WrongIssuer,
    /// Its discovery document sends to the metadata service of a cloud.
    Elsewhere,
    /// Its discovery document lies behind a redirect.
    RedirectedDiscovery,
    /// Its token endpoint never answers.
    SilentTokens,
    /// Its token endpoint answers with a page, status 200.
    PageTokens,
    /// Its token endpoint sends elsewhere.
    RedirectedTokens,
    /// Its token endpoint answers without an ID token.
    NoIdToken,
    /// Its ID token is signed with another's key under the right name.
    ForeignSignature,
    /// Its ID token has another nonce.
    OtherNonce,
    /// Its ID token vouches for another access token.
    OtherAccessToken,
}

impl Way {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Honest,
        Self::SilentKeys,
        Self::DrippingKeys,
        Self::HugeKeys,
        Self::ManyKeys,
        Self::PageKeys,
        Self::NoKeys,
        Self::FailingKeys,
        Self::RedirectedKeys,
        Self::PrivateKeys,
        Self::OddTypeKeys,
        Self::KeyOfTwoNames,
        Self::NameOfTwoKeys,
        Self::WrongIssuer,
        Self::Elsewhere,
        Self::RedirectedDiscovery,
        Self::SilentTokens,
        Self::PageTokens,
        Self::RedirectedTokens,
        Self::NoIdToken,
        Self::ForeignSignature,
        Self::OtherNonce,
        Self::OtherAccessToken,
    ];

    /// Its name in paths and in the gateway's configuration.
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The running provider. Dropping it ends it.
#[derive(Debug)]
pub struct Hostile {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    key: Key,
    stranger: Key,
    counts: Mutex<BTreeMap<String, usize>>,
    /// The nonce of the last authorization request of each issuer.
    nonces: Mutex<BTreeMap<String, String>>,
    ended: AtomicBool,
    end: (Mutex<bool>, Condvar),
}

/// A P-256 key of the provider, or of somebody else.
#[derive(Debug)]
pub struct Key {
    key: EncodingKey,
    public: Value,
    pem: String,
    scalar_der: Vec<u8>,
}

impl Key {
    fn new() -> anyhow::Result<Self> {
        let pair = rcgen::KeyPair::generate()?;
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256)?;
        jwk.thumbprint(ThumbprintHash::SHA256)?;
        Ok(Self {
            public: serde_json::to_value(&jwk)?,
            pem: pair.public_key_pem(),
            scalar_der: pair.serialize_der(),
            key,
        })
    }

    fn named(&self, kid: &str) -> Value {
        let mut public = self.public.clone();
        public["kid"] = json!(kid);
        public
    }

    /// The public half, PEM: what an attacker takes as a symmetric secret.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

impl Hostile {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port, no randomness.
    pub fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            address,
            key: Key::new()?,
            stranger: Key::new()?,
            counts: Mutex::default(),
            nonces: Mutex::default(),
            ended: AtomicBool::new(false),
            end: (Mutex::new(false), Condvar::new()),
        });
        let server = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if server.ended.load(Ordering::SeqCst) {
                    return;
                }
                let server = Arc::clone(&server);
                // Ends with its connection, which the end of the server ends.
                std::thread::spawn(move || server.serve(stream));
            }
        });
        Ok(Self {
            address,
            shared,
            accepting: Some(accepting),
        })
    }

    /// An issuer's URL.
    #[must_use]
    pub fn issuer(&self, way: Way) -> String {
        self.shared.issuer(&way.name())
    }

    /// The provider's key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.shared.key
    }

    /// How often a path was asked for.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        locked(&self.shared.counts).get(path).copied().unwrap_or_default()
    }

    /// How often an issuer's keys were asked for.
    #[must_use]
    pub fn keys_asked(&self, way: Way) -> usize {
        self.asked(&format!("/{}/jwks", way.name()))
    }

    /// The claims of a good token, for whom it may concern to spoil.
    #[must_use]
    pub fn claims(&self, way: Way) -> Value {
        self.shared.claims(&way.name())
    }

    /// A token under any header, signed with the provider's key.
    ///
    /// # Errors
    /// The claims are no object.
    pub fn token(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let signed = signed_part(header, claims);
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &self.shared.key.key, Algorithm::ES256)?;
        Ok(format!("{signed}.{signature}"))
    }

    /// A token under any header with an HMAC over `secret`.
    ///
    /// # Errors
    /// The library failed.
    pub fn token_with_secret(&self, header: &Value, claims: &Value, secret: &[u8]) -> anyhow::Result<String> {
        let signed = signed_part(header, claims);
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &EncodingKey::from_secret(secret), Algorithm::HS256)?;
        Ok(format!("{signed}.{signature}"))
    }

    /// A token as the honest issuer would make it.
    ///
    /// # Errors
    /// The library failed.
    pub fn good_token(&self, way: Way) -> anyhow::Result<String> {
        self.token(&json!({"alg": "ES256", "kid": "k1", "typ": "JWT"}), &self.claims(way))
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        *locked(&self.shared.end.0) = true;
        self.shared.end.1.notify_all();
        // The listener wakes by one more visit.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// Header and payload, encoded.
#[must_use]
pub fn signed_part(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header), encode(claims))
}

fn encode(json: &Value) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, json.to_string())
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// What to answer.
enum Reply {
    Whole(u16, &'static str, Vec<u8>),
    Redirect(String),
    Silence,
    Drip,
}

fn json_reply(value: &Value) -> Reply {
    Reply::Whole(200, "application/json", value.to_string().into_bytes())
}

fn page() -> Reply {
    Reply::Whole(200, "text/html", b"<html>come in</html>".to_vec())
}

impl Shared {
    fn issuer(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    fn claims(&self, name: &str) -> Value {
        json!({
            "iss": self.issuer(name), "aud": "gatescribe", "sub": "mallory", "email": "mallory@example.com",
            "email_verified": true, "groups": ["dev"], "iat": now() - 5, "nbf": now() - 5, "exp": now() + 600,
            "jti": format!("t-{}", now()),
        })
    }

    fn serve(&self, stream: TcpStream) {
        let Some((target, body)) = read_request(&stream) else {
            return;
        };
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        *locked(&self.counts).entry(path.to_owned()).or_default() += 1;
        // Whoever asked may have gone.
        let _ = self.send(&stream, self.reply(path, query, &body));
        let _ = stream.shutdown(Shutdown::Both);
    }

    fn reply(&self, path: &str, query: &str, body: &str) -> Reply {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (name, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let Some(way) = Way::ALL.into_iter().find(|way| way.name() == name) else {
            return Reply::Whole(404, "text/plain", Vec::new());
        };
        match rest {
            ".well-known/openid-configuration" => self.discovery(way, name),
            "jwks" => self.keys(way, name),
            "authorize" => self.authorize(name, query),
            "token" => self.tokens(way, name, body),
            _ => Reply::Whole(404, "text/plain", Vec::new()),
        }
    }

    fn discovery(&self, way: Way, name: &str) -> Reply {
        let issuer = self.issuer(name);
        let mut document = json!({
            "issuer": issuer, "jwks_uri": format!("{issuer}/jwks"), "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"), "response_types_supported": ["code"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
        });
        match way {
            Way::WrongIssuer => document["issuer"] = json!(self.issuer("honest")),
            Way::Elsewhere => document["jwks_uri"] = json!("http://169.254.169.254/latest/meta-data/"),
            Way::RedirectedDiscovery => {
                return Reply::Redirect(format!("{}/.well-known/openid-configuration", self.issuer("honest")));
            }
            _ => {}
        }
        json_reply(&document)
    }

    fn keys(&self, way: Way, name: &str) -> Reply {
        let good = json!({ "keys": [self.key.named("k1")] });
        match way {
            Way::SilentKeys => Reply::Silence,
            Way::DrippingKeys => Reply::Drip,
            Way::HugeKeys => Reply::Whole(200, "application/json", vec![b' '; 50 << 20]),
            Way::ManyKeys => {
                let keys: Vec<Value> = (0..100_000).map(|n| self.key.named(&n.to_string())).collect();
                json_reply(&json!({ "keys": keys }))
            }
            Way::PageKeys => page(),
            Way::NoKeys => json_reply(&json!({ "keys": [] })),
            Way::FailingKeys => Reply::Whole(500, "application/json", good.to_string().into_bytes()),
            Way::RedirectedKeys => Reply::Redirect(format!("{}/jwks-behind", self.issuer(name))),
            Way::PrivateKeys => {
                let mut key = self.key.named("k1");
                key["d"] = json!(base64::Engine::encode(
                    &base64::engine::general_purpose::URL_SAFE_NO_PAD,
                    &self.key.scalar_der
                ));
                json_reply(&json!({ "keys": [key] }))
            }
            Way::OddTypeKeys => Reply::Whole(200, "image/png", good.to_string().into_bytes()),
            Way::KeyOfTwoNames => json_reply(&json!({ "keys": [self.key.named("k1"), self.key.named("k2")] })),
            Way::NameOfTwoKeys => json_reply(&json!({ "keys": [self.stranger.named("k1"), self.key.named("k1")] })),
            _ => json_reply(&good),
        }
    }

    /// Says yes at once, as a provider with a session does.
    fn authorize(&self, name: &str, query: &str) -> Reply {
        let find = |wanted: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='))
                .unwrap_or_default()
        };
        locked(&self.nonces).insert(name.to_owned(), find("nonce").to_owned());
        let back = find("redirect_uri").replace("%3A", ":").replace("%2F", "/");
        Reply::Redirect(format!("{back}?code=c&state={}", find("state")))
    }

    fn tokens(&self, way: Way, name: &str, _body: &str) -> Reply {
        match way {
            Way::SilentTokens => return Reply::Silence,
            Way::PageTokens => return page(),
            Way::RedirectedTokens => return Reply::Redirect(format!("{}/token", self.issuer("honest"))),
            Way::NoIdToken => {
                return json_reply(&json!({"access_token": "a", "token_type": "Bearer", "expires_in": 300}));
            }
            _ => {}
        }
        let mut claims = self.claims(name);
        claims["nonce"] = json!(locked(&self.nonces).get(name).cloned().unwrap_or_default());
        let mut key = &self.key;
        match way {
            Way::ForeignSignature => key = &self.stranger,
            Way::OtherNonce => claims["nonce"] = json!("another"),
            Way::OtherAccessToken => claims["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA"),
            _ => {}
        }
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("k1".to_owned());
        match jsonwebtoken::encode(&header, &claims, &key.key) {
            Ok(token) => json_reply(&json!({
                "access_token": "provider-access-token", "token_type": "Bearer", "expires_in": 300, "id_token": token,
            })),
            Err(_) => Reply::Whole(500, "text/plain", Vec::new()),
        }
    }

    fn send(&self, mut stream: &TcpStream, reply: Reply) -> std::io::Result<()> {
        match reply {
            Reply::Whole(status, kind, body) => {
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes())?;
                stream.write_all(&body)
            }
            Reply::Redirect(to) => stream.write_all(
                format!("HTTP/1.1 302 x\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .as_bytes(),
            ),
            Reply::Silence => {
                while !self.over(Duration::from_secs(60)) {}
                Ok(())
            }
            Reply::Drip => {
                stream
                    .write_all(b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\nContent-Length: 4096\r\n\r\n")?;
                while !self.over(Duration::from_millis(100)) {
                    stream.write_all(b" ")?;
                }
                Ok(())
            }
        }
    }

    /// Whether the server has ended, asked for as long as `pause`.
    fn over(&self, pause: Duration) -> bool {
        let ended = locked(&self.end.0);
        let (ended, _) = self
            .end
            .1
            .wait_timeout_while(ended, pause, |ended| !*ended)
            .unwrap_or_else(PoisonError::into_inner);
        *ended
    }
}

fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok()?;
        if field.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).context("a body").ok()?;
    Some((target, String::from_utf8_lossy(&body).into_owned()))
}
