//! A gateway by script: HTTP/1.1 on loopback, one thread for each connection, everything that was asked kept.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Script {
    /// As a gateway does.
    Ordinary,
    /// The person cancels at the provider.
    SignInRefused,
    /// 503 on renewals.
    Unavailable,
    /// Connections break without an answer.
    Hangup,
    /// Any request at all is a mistake of the test.
    Silent,
    /// Its clock is three hours ahead.
    Ahead,
}

type Form = BTreeMap<String, String>;
type OnRenewal = Box<dyn FnOnce(&Form) + Send>;

struct State {
    script: Script,
    requests: Vec<(String, String)>,
    pages: std::sync::mpsc::Sender<String>,
    handle: u64,
    ended: u64,
    /// The last exchange: handle, key, and the handle that came of it.
    exchanged: Option<(String, String, String)>,
    live: bool,
    device_polls: u32,
    tails: u32,
    on_renewal: Option<OnRenewal>,
    held: Option<Arc<Held>>,
}

/// Renewals that wait for the test.
#[derive(Default)]
pub(crate) struct Held {
    inner: Mutex<(Vec<Form>, bool)>,
    changed: Condvar,
}

impl Held {
    /// The next renewal that arrives; it gets no answer before [`Self::release`].
    pub(crate) fn wait_for_request(&self) -> Form {
        let guard = self.inner.lock().unwrap();
        let mut guard = self
            .changed
            .wait_while(guard, |(arrived, _)| arrived.is_empty())
            .unwrap();
        guard.0.remove(0)
    }

    pub(crate) fn release(&self) {
        self.inner.lock().unwrap().1 = true;
        self.changed.notify_all();
    }

    fn arrive(&self, form: &Form) {
        let mut guard = self.inner.lock().unwrap();
        guard.0.push(form.clone());
        self.changed.notify_all();
        drop(self.changed.wait_while(guard, |(_, released)| !*released).unwrap());
    }
}

pub(crate) struct Gateway {
    url: String,
    state: Arc<Mutex<State>>,
    pages: std::sync::mpsc::Receiver<String>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, pages) = std::sync::mpsc::channel();
        let state = State {
            script: Script::Ordinary,
            requests: Vec::new(),
            pages: sender,
            handle: 0,
            ended: 0,
            exchanged: None,
            live: false,
            device_polls: 0,
            tails: 0,
            on_renewal: None,
            held: None,
        };
        let state = Arc::new(Mutex::new(state));
        let (shared, own) = (Arc::clone(&state), url.clone());
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (shared, own) = (Arc::clone(&shared), own.clone());
                std::thread::spawn(move || serve(stream.unwrap(), &shared, &own));
            }
        });
        Self { url, state, pages }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn server(&self) -> String {
        format!("{}/clusters/prod", self.url)
    }

    pub(crate) fn script(&self, script: Script) {
        self.state.lock().unwrap().script = script;
    }

    pub(crate) fn end_sessions(&self) {
        self.state.lock().unwrap().live = false;
    }

    pub(crate) fn sessions_ended(&self) -> u64 {
        self.state.lock().unwrap().ended
    }

    pub(crate) fn on_renewal(&self, work: impl FnOnce(&Form) + Send + 'static) {
        self.state.lock().unwrap().on_renewal = Some(Box::new(work));
    }

    pub(crate) fn hold_answers(&self) -> Arc<Held> {
        let held = Arc::new(Held::default());
        self.state.lock().unwrap().held = Some(Arc::clone(&held));
        held
    }

    /// Bodies, or queries where there is no body, of the requests for a path.
    pub(crate) fn requests(&self, path: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state
            .requests
            .iter()
            .filter(|(asked, _)| asked == path)
            .map(|(_, text)| text.clone())
            .collect()
    }

    pub(crate) fn all_requests(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// The page that a browser got at the end of a sign-in; waits for it, as the browser outlives the command.
    pub(crate) fn page(&self) -> String {
        self.pages.recv().unwrap()
    }
}

struct Request {
    path: String,
    query: String,
    body: String,
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let target = first.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Request {
        path: path.to_owned(),
        query: query.to_owned(),
        body: String::from_utf8(body).ok()?,
    })
}

fn serve(mut stream: TcpStream, state: &Mutex<State>, url: &str) {
    let Some(request) = read(&stream) else { return };
    let script = {
        let mut state = state.lock().unwrap();
        let asked = if request.body.is_empty() {
            &request.query
        } else {
            &request.body
        };
        state.requests.push((request.path.clone(), asked.clone()));
        state.script
    };
    if script == Script::Hangup {
        return;
    }
    let ahead = if script == Script::Ahead { 3 * 3_600 + 30 } else { 0 };
    let answer = answer(&request, state, script, url).replacen(DATE, &httpdate(ahead), 1);
    // A client that was killed takes no answer.
    let _ = stream.write_all(answer.as_bytes());
}

fn respond(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nDate: {DATE}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Where the time of the answer goes.
const DATE: &str = "(now)";

/// The real time and so many seconds, as servers send it.
fn httpdate(ahead: i64) -> String {
    let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
    let now = now.to_zoned(jiff::tz::TimeZone::UTC);
    jiff::fmt::rfc2822::DateTimePrinter::new()
        .zoned_to_string(&now)
        .unwrap()
        .replace("+0000", "GMT")
}

fn answer(request: &Request, state: &Mutex<State>, script: Script, url: &str) -> String {
    let query = form(&request.query);
    match request.path.as_str() {
        "/.well-known/gatescribe" => respond("200 OK", &discovery(url)),
        "/authorize" => authorize(&query, state, script, url),
        "/token" => token(&form(&request.body), state, script),
        "/device_authorization" => respond("200 OK", &json!({
            "device_code": "dc", "user_code": "WDJB-MJHT", "verification_uri": format!("{url}/device"),
            "expires_in": 600, "interval": 1,
        }).to_string()),
        "/revoke" => respond("200 OK", r#"{"revoked":true,"provider":"revoked"}"#),
        "/userinfo" => respond("200 OK", &json!({
            "username": "alice@example.test", "groups": ["dev"], "provider": "corp", "issuer": "https://idp.example",
            "subject": "42", "session": {"client": "cli"}, "claims": {"sub": "42"},
        }).to_string()),
        "/page" => {
            // A test that has ended reads no pages.
            drop(state.lock().unwrap().pages.send(request.body.clone()));
            respond("200 OK", "")
        }
        "/api/v1/can" if query["verb"] == "get" => respond("200 OK", r#"{"allowed":true,"because":"view"}"#),
        "/api/v1/can" => respond("200 OK", r#"{"allowed":false,"because":"no rule"}"#),
        "/api/v1/audit/records" if query.get("q").is_some_and(|words| words.contains("bob")) => {
            respond("200 OK", &json!({
                "records": [], "scope": "all", "range": {"from": "2026-11-20T00:00:00Z", "to": "2026-11-21T00:00:00Z"},
                "lag_seconds": 1, "nearest": [{"key": "user", "value": "bob", "candidates": ["bobby"]}],
            }).to_string())
        }
        "/api/v1/audit/records" => respond("200 OK", &json!({
            "records": [record(7)], "scope": "own", "note": "You see your own records only: …",
                "folded": {"discovery": 12, "machines": 3, "machines_refused": 1}, "next": 7, "stopped": "limit", "range": {"from": null, "to": null}, "lag_seconds": 0, "nearest": [],
        }).to_string()),
        "/api/v1/audit/tail" => {
            let mut state = state.lock().unwrap();
            state.tails += 1;
            let seq = if state.tails == 1 { 7 } else { 8 };
            let note = json!({"begin": {"scope": "own", "note": "You see your own records only."}});
            let alive = json!({"alive": {"folded": {"discovery": 3, "machines": 1, "audit_reads": 0}}, "position": seq});
            let line = format!("{note}
{alive}
{}
", json!({"record": record(seq), "position": seq}));
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{line}\r\n0\r\n\r\n", line.len())
        }
        "/api/v1/why/7F3K" => respond("404 Not Found", r#"{"error":"not_found","error_description":"no such decision"}"#),
        "/clusters/prod/api" => respond("200 OK", &json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
            {"resource": "pods", "singularResource": "pod", "shortNames": ["po"]}]}]}]}).to_string()),
        "/clusters/prod/apis" => respond("200 OK", &json!({"items": [{"metadata": {"name": "apps"}, "versions": [{"resources": [
            {"resource": "deployments", "singularResource": "deployment", "shortNames": ["deploy"]}]}]}]}).to_string()),
        "/clusters/prod/api/v1/namespaces" => respond("403 Forbidden", r#"{"kind":"Status"}"#),
        _ => respond("404 Not Found", r#"{"error":"not_found"}"#),
    }
}

fn record(sequence: u64) -> Value {
    json!({
        "seq": sequence, "id": "0192", "t": "2026-11-21T05:00:00Z", "who": {"user": "alice@example.test"},
        "act": "kubectl delete pod web-0", "cluster": "prod", "count": 1, "outcome": {"end": "answered", "status": 200},
    })
}

fn discovery(url: &str) -> String {
    json!({
        "version": "0.1.0", "url": url, "issuer": url,
        "clusters": [{"name": "prod", "server": format!("{url}/clusters/prod"), "caData": "Q0E="}],
        "authorizationEndpoint": format!("{url}/authorize"), "tokenEndpoint": format!("{url}/token"),
        "deviceAuthorizationEndpoint": format!("{url}/device_authorization"),
        "revocationEndpoint": format!("{url}/revoke"), "userinfoEndpoint": format!("{url}/userinfo"),
        "jwksUri": format!("{url}/jwks"), "auditEndpoint": format!("{url}/api/v1/audit"),
    })
    .to_string()
}

fn authorize(query: &Form, state: &Mutex<State>, script: Script, url: &str) -> String {
    assert_eq!(
        (query["code_challenge_method"].as_str(), query["code_challenge"].len()),
        ("S256", 43)
    );
    let result = if script == Script::SignInRefused {
        "error=access_denied&error_description=the+person+cancelled".to_owned()
    } else {
        let mut state = state.lock().unwrap();
        state.exchanged = None;
        format!("code={}", query["code_challenge"])
    };
    let location = format!(
        "{}?{result}&state={}&iss={}",
        query["redirect_uri"],
        query["state"],
        url.replace(':', "%3A")
    );
    format!("HTTP/1.1 303 See Other\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn token(form: &Form, state: &Mutex<State>, script: Script) -> String {
    let refused = |error: &str, why: &str| {
        respond(
            "400 Bad Request",
            &json!({"error": error, "error_description": why}).to_string(),
        )
    };
    match form["grant_type"].as_str() {
        "authorization_code" => {
            // The code is the challenge, so the verifier must lead to it.
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, form["code_verifier"].as_bytes());
            use base64::Engine as _;
            assert_eq!(
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest.as_ref()),
                form["code"]
            );
            state.lock().unwrap().live = true;
            given(&mut state.lock().unwrap())
        }
        "refresh_token" if script == Script::Unavailable => respond("503 Service Unavailable", "{}"),
        "refresh_token" => {
            let (work, held) = {
                let mut state = state.lock().unwrap();
                (state.on_renewal.take(), state.held.clone())
            };
            if let Some(work) = work {
                work(form);
            }
            if let Some(held) = held {
                held.arrive(form);
            }
            renewal(form, &mut state.lock().unwrap())
        }
        _ => {
            let mut state = state.lock().unwrap();
            state.device_polls += 1;
            if state.device_polls == 1 {
                return refused("authorization_pending", "nobody has answered yet");
            }
            state.live = true;
            given(&mut state)
        }
    }
}

/// A handle is good once; again only with the key of the first time.
fn renewal(form: &Form, state: &mut State) -> String {
    let over = |why: &str| {
        respond(
            "400 Bad Request",
            &json!({"error": "invalid_grant", "error_description": why}).to_string(),
        )
    };
    if !state.live {
        return over("the session has ended");
    }
    let (handle, key) = (form["refresh_token"].clone(), form["request_id"].clone());
    let current = format!("gsh1.{}", state.handle);
    if handle == current {
        let answer = given(state);
        state.exchanged = Some((handle, key, format!("gsh1.{}", state.handle)));
        return answer;
    }
    if state
        .exchanged
        .as_ref()
        .is_some_and(|(old, known, _)| (old, known) == (&handle, &key))
    {
        state.handle -= 1;
        return given(state);
    }
    state.live = false;
    state.ended += 1;
    over("this handle was used before")
}

fn given(state: &mut State) -> String {
    use base64::Engine as _;
    state.handle += 1;
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = json!({"gs": {"username": "alice@example.test", "groups": ["dev"]}, "jti": state.handle});
    let token = format!(
        "{}.{}.c2ln",
        engine.encode("{\"alg\":\"ES256\"}"),
        engine.encode(claims.to_string())
    );
    respond("200 OK", &json!({
        "access_token": token, "token_type": "Bearer", "expires_in": 600, "refresh_token": format!("gsh1.{}", state.handle),
        "session_expires_at": "2026-11-28T05:00:00Z",
    }).to_string())
}

/// GET of an address; where it leads to. A page at the end is brought back to the gateway, so that tests can read it.
pub(crate) fn visit(address: &str) -> Option<String> {
    let (status, head, body) = fetch("GET", address, "");
    if status == 303 {
        let location = head.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        return Some(location.to_owned());
    }
    let query = address.split_once('?')?.1;
    let gateway = form(query).remove("iss")?;
    fetch("POST", &format!("{gateway}/page"), &body);
    None
}

fn fetch(method: &str, address: &str, body: &str) -> (u16, String, String) {
    let rest = address.strip_prefix("http://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(authority).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /{path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), body.to_owned())
}

fn form(text: &str) -> Form {
    let unescape = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.replace('+', " ").into_bytes();
        rest.reverse();
        while let Some(byte) = rest.pop() {
            if byte == b'%' {
                let digits = [rest.pop().unwrap(), rest.pop().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}
