//! The flow itself: who may ask, who was picked, and what is handed out for it.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::{constant_time, digest};
use axum::Json;
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, CACHE_CONTROL, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use model::time::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::people::{Person, person};
use super::{Client, Shared, TOKEN_LIFETIME, Tables, page};
use crate::random;

type Parameters = HashMap<String, String>;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const STRICT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A person who has signed in.
#[derive(Debug, Clone)]
pub(super) struct Session {
    id: String,
    person: &'static Person,
    client: String,
    scope: String,
    since: Timestamp,
}

/// An authorization code: good once, for a minute.
#[derive(Debug)]
pub(super) struct Code {
    session: Session,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    used: bool,
}

/// A refresh handle: good once; the second use ends the whole session (RFC 9700 §4.14.2).
#[derive(Debug)]
pub(super) struct Handle {
    session: Session,
    used: bool,
}

/// An authorization request whose client and redirect address are known to belong together.
struct Asked<'a> {
    client: &'a str,
    redirect_uri: &'a str,
    parameters: &'a Parameters,
}

pub(super) async fn authorize(State(shared): State<Arc<Shared>>, Query(parameters): Query<Parameters>) -> Response {
    let asked = match asked(&shared, &parameters) {
        Ok(asked) => asked,
        // RFC 6749 §4.1.2.1: never redirect to an address that was not proved to be the client's.
        Err(text) => return page::notice(StatusCode::BAD_REQUEST, "This sign-in cannot start", text),
    };
    if let Some((error, text)) = mistake(&parameters) {
        return back(&shared, &asked, &[("error", error), ("error_description", text)]);
    }
    let hint = parameters.get("login_hint").map(String::as_str);
    let silent = parameters.get("prompt").is_some_and(|prompt| prompt == "none");
    match (silent, hint.and_then(person)) {
        (true, Some(person)) => match code(&shared, &asked, person) {
            Some(code) => back(&shared, &asked, &[("code", &code)]),
            None => back(&shared, &asked, &[("error", "server_error")]),
        },
        (true, None) => {
            let text = "prompt=none needs a login_hint that names alice, bob or carol";
            back(
                &shared,
                &asked,
                &[("error", "login_required"), ("error_description", text)],
            )
        }
        (false, known) => page::picker(asked.client, &again(&parameters), known.map(|person| person.username)),
    }
}

fn asked<'a>(shared: &Shared, parameters: &'a Parameters) -> Result<Asked<'a>, &'static str> {
    let client = parameters.get("client_id").ok_or("The request names no client_id.")?;
    let redirect_uri = parameters
        .get("redirect_uri")
        .ok_or("The request names no redirect_uri.")?;
    let tables = shared.tables();
    let known = tables
        .clients
        .iter()
        .find(|known| known.id == *client)
        .ok_or("The client_id is not known here.")?;
    if !known.redirect_uris.contains(redirect_uri) {
        return Err("The redirect_uri is not one of this client's.");
    }
    Ok(Asked {
        client,
        redirect_uri,
        parameters,
    })
}

fn mistake(parameters: &Parameters) -> Option<(&'static str, &'static str)> {
    let is = |name: &str, value: &str| parameters.get(name).is_some_and(|given| given == value);
    let scope = parameters.get("scope").map_or("", String::as_str);
    if !is("response_type", "code") {
        Some(("unsupported_response_type", "only response_type=code is offered"))
    } else if !scope.split(' ').any(|word| word == "openid") {
        Some(("invalid_scope", "the scope must contain openid"))
    } else if !is("code_challenge_method", "S256") || parameters.get("code_challenge").is_none_or(|c| c.len() != 43) {
        Some(("invalid_request", "PKCE with code_challenge_method=S256 is required"))
    } else if parameters.values().map(String::len).sum::<usize>() > 8192 {
        Some(("invalid_request", "the request is too long"))
    } else {
        None
    }
}

fn code(shared: &Shared, asked: &Asked<'_>, person: &'static Person) -> Option<String> {
    let (code, id) = (random::token().ok()?, random::token().ok()?);
    let now = shared.now();
    let given = |name: &str| asked.parameters.get(name).cloned();
    let session = Session {
        id,
        person,
        client: asked.client.to_owned(),
        scope: given("scope").unwrap_or_default(),
        since: now,
    };
    let entry = Code {
        session,
        redirect_uri: asked.redirect_uri.to_owned(),
        challenge: given("code_challenge").unwrap_or_default(),
        nonce: given("nonce"),
        used: false,
    };
    shared.tables().codes.insert(code.clone(), entry, now);
    Some(code)
}

/// The request's own parameters, for the picker's links; the choice itself is added by the page.
fn again(parameters: &Parameters) -> String {
    let mut kept: Vec<_> = parameters
        .iter()
        .filter(|(name, _)| *name != "login_hint" && *name != "prompt")
        .collect();
    kept.sort();
    kept.iter()
        .map(|(name, value)| pair(name, value))
        .collect::<Vec<_>>()
        .join("&")
}

fn pair(name: &str, value: &str) -> String {
    format!(
        "{}={}",
        utf8_percent_encode(name, STRICT),
        utf8_percent_encode(value, STRICT)
    )
}

/// Sends the browser back to the client, with `state` and `iss` (RFC 9207).
fn back(shared: &Shared, asked: &Asked<'_>, answer: &[(&str, &str)]) -> Response {
    let state = asked.parameters.get("state").map(|state| ("state", state.as_str()));
    redirect(
        asked.redirect_uri,
        answer
            .iter()
            .copied()
            .chain(state)
            .chain([("iss", shared.issuer.as_str())]),
    )
}

fn redirect<'a>(to: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Response {
    let query = pairs
        .map(|(name, value)| pair(name, value))
        .collect::<Vec<_>>()
        .join("&");
    let joint = match (query.is_empty(), to.contains('?')) {
        (true, _) => "",
        (false, true) => "&",
        (false, false) => "?",
    };
    match HeaderValue::from_str(&format!("{to}{joint}{query}")) {
        Ok(location) => (StatusCode::SEE_OTHER, [(LOCATION, location)]).into_response(),
        Err(_) => page::notice(
            StatusCode::BAD_REQUEST,
            "This sign-in cannot go on",
            "The redirect address is not one.",
        ),
    }
}

/// Why no token is given (RFC 6749 §5.2).
struct Denied(StatusCode, &'static str, &'static str);

const fn denied(error: &'static str, text: &'static str) -> Denied {
    Denied(StatusCode::BAD_REQUEST, error, text)
}

pub(super) async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Form(form): Form<Parameters>,
) -> Response {
    let now = shared.now();
    let mut tables = shared.tables();
    let granted =
        client(&tables, &headers, &form).and_then(|client| match form.get("grant_type").map(String::as_str) {
            Some("authorization_code") => redeem(&mut tables, &client, &form, now),
            Some("refresh_token") => refresh(&mut tables, &client, &form, now).map(|session| (session, None)),
            _ => Err(denied(
                "unsupported_grant_type",
                "authorization_code and refresh_token are offered",
            )),
        });
    let answer = granted.and_then(|(session, nonce)| {
        hand_out(&mut tables, &shared.issuer, &session, nonce.as_deref(), now).ok_or(Denied(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "no token could be made",
        ))
    });
    match answer {
        Ok(tokens) => (StatusCode::OK, [(CACHE_CONTROL, "no-store")], Json(tokens)).into_response(),
        Err(Denied(status, error, text)) => (
            status,
            [(CACHE_CONTROL, "no-store")],
            Json(json!({"error": error, "error_description": text})),
        )
            .into_response(),
    }
}

fn client(tables: &Tables, headers: &HeaderMap, form: &Parameters) -> Result<String, Denied> {
    let unknown = Denied(
        StatusCode::UNAUTHORIZED,
        "invalid_client",
        "the client or its secret is not known",
    );
    let (id, secret) = match basic(headers) {
        Some(both) => both,
        None => (
            form.get("client_id").cloned().unwrap_or_default(),
            form.get("client_secret").cloned(),
        ),
    };
    let Some(known) = tables.clients.iter().find(|known| known.id == id) else {
        return Err(unknown);
    };
    if is_secret(known, secret.as_deref()) {
        Ok(id)
    } else {
        Err(unknown)
    }
}

fn is_secret(client: &Client, given: Option<&str>) -> bool {
    match (&client.secret, given) {
        (None, None) => true,
        (Some(secret), Some(given)) => {
            constant_time::verify_slices_are_equal(secret.as_bytes(), given.as_bytes()).is_ok()
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// RFC 6749 §2.3.1: both halves are form-encoded inside the basic credentials.
fn basic(headers: &HeaderMap) -> Option<(String, Option<String>)> {
    let credentials = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(credentials).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .ok()
            .map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, Some(decode(secret)?)))
}

fn redeem(
    tables: &mut Tables,
    client: &str,
    form: &Parameters,
    now: Timestamp,
) -> Result<(Session, Option<String>), Denied> {
    const NO: Denied = denied(
        "invalid_grant",
        "the code is unknown, used, expired, or not this client's",
    );
    let code = form
        .get("code")
        .and_then(|code| tables.codes.live_mut(code, now))
        .ok_or(NO)?;
    if code.used {
        let session = code.session.id.clone();
        end(tables, &session);
        return Err(NO);
    }
    let is_ours = code.session.client == client && form.get("redirect_uri") == Some(&code.redirect_uri);
    let proof = form
        .get("code_verifier")
        .map(|verifier| digest::digest(&digest::SHA256, verifier.as_bytes()));
    let is_proved = proof.is_some_and(|proof| URL_SAFE_NO_PAD.encode(proof) == code.challenge);
    if !is_ours || !is_proved {
        return Err(NO);
    }
    code.used = true;
    Ok((code.session.clone(), code.nonce.clone()))
}

fn refresh(tables: &mut Tables, client: &str, form: &Parameters, now: Timestamp) -> Result<Session, Denied> {
    const NO: Denied = denied(
        "invalid_grant",
        "the refresh token is unknown, used, expired, or not this client's",
    );
    let handle = form
        .get("refresh_token")
        .and_then(|handle| tables.refresh.live_mut(handle, now))
        .ok_or(NO)?;
    if handle.session.client != client {
        return Err(NO);
    }
    if handle.used {
        let session = handle.session.id.clone();
        end(tables, &session);
        return Err(NO);
    }
    handle.used = true;
    Ok(handle.session.clone())
}

fn end(tables: &mut Tables, session: &str) {
    tables.access.retain(|known| known.id != session);
    tables.refresh.retain(|known| known.session.id != session);
}

fn hand_out(
    tables: &mut Tables,
    issuer: &str,
    session: &Session,
    nonce: Option<&str>,
    now: Timestamp,
) -> Option<Value> {
    let id_token = tables.keys.sign(&claims(issuer, session, nonce, now))?;
    let access = random::token().ok()?;
    tables.access.insert(access.clone(), session.clone(), now);
    let mut answer = json!({
        "token_type": "Bearer",
        "access_token": access,
        "expires_in": TOKEN_LIFETIME.as_secs(),
        "id_token": id_token,
        "scope": session.scope,
    });
    if session.scope.split(' ').any(|word| word == "offline_access") {
        let handle = random::token().ok()?;
        tables.refresh.insert(
            handle.clone(),
            Handle {
                session: session.clone(),
                used: false,
            },
            now,
        );
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("refresh_token".to_owned(), Value::String(handle));
        }
    }
    Some(answer)
}

fn claims(issuer: &str, session: &Session, nonce: Option<&str>, now: Timestamp) -> Value {
    let mut claims = about(session.person);
    if let Some(claims) = claims.as_object_mut() {
        claims.insert("iss".to_owned(), json!(issuer));
        claims.insert("aud".to_owned(), json!(session.client));
        claims.insert("iat".to_owned(), json!(now.unix_seconds()));
        claims.insert("exp".to_owned(), json!(now.plus(TOKEN_LIFETIME).unix_seconds()));
        claims.insert("auth_time".to_owned(), json!(session.since.unix_seconds()));
        claims.insert("amr".to_owned(), json!(["user"]));
        claims.insert("sid".to_owned(), json!(session.id));
        if let Some(nonce) = nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
    }
    claims
}

fn about(person: &Person) -> Value {
    json!({
        "sub": person.subject,
        "email": person.email,
        "email_verified": true,
        "name": person.name,
        "preferred_username": person.username,
        "groups": person.groups,
    })
}

pub(super) async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let now = shared.now();
    let known = bearer.and_then(|token| shared.tables().access.live(token, now).map(|session| session.person));
    match known {
        Some(person) => Json(about(person)).into_response(),
        None => (
            StatusCode::UNAUTHORIZED,
            [(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")],
            "",
        )
            .into_response(),
    }
}

/// RP-initiated logout 1.0. The hint's signature is not checked: the session id in it is unguessable.
pub(super) async fn end_session(State(shared): State<Arc<Shared>>, Query(parameters): Query<Parameters>) -> Response {
    let mut tables = shared.tables();
    let hint = parameters.get("id_token_hint").and_then(|token| unverified(token));
    let hinted = |claim: &str| {
        hint.as_ref()
            .and_then(|claims| claims.get(claim)?.as_str().map(str::to_owned))
    };
    if let Some(session) = hinted("sid") {
        end(&mut tables, &session);
    }
    let client = parameters.get("client_id").cloned().or_else(|| hinted("aud"));
    let to = parameters.get("post_logout_redirect_uri");
    let known = tables.clients.iter().find(|known| Some(&known.id) == client.as_ref());
    match (to, known) {
        (Some(to), Some(known)) if known.post_logout_redirect_uris.contains(to) => redirect(
            to,
            parameters
                .get("state")
                .map(|state| ("state", state.as_str()))
                .into_iter(),
        ),
        (Some(_), _) => {
            let text = "You are signed out. The address to go on to is not one of this client's.";
            page::notice(StatusCode::BAD_REQUEST, "Signed out", text)
        }
        (None, _) => page::notice(StatusCode::OK, "Signed out", "You can close this page."),
    }
}

fn unverified(token: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()
}
