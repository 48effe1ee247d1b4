//! `GET /userinfo`: who the gateway takes the caller for, and why (`gatescribe whoami`). Only about oneself, and never
//! with a token of the provider in it.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use oidc::verify::Explanation;
use serde_json::{Value, json};
use state::{Session, SessionId, Standing};

use crate::answer::Refused;
use crate::app::App;
use crate::caller::Caller;
use crate::limit::Act;
use crate::minting;
use crate::token::in_words;

pub(crate) async fn userinfo(State(app): State<App>, caller: Caller) -> Result<Response, Refused> {
    let session = session_of_bearer(&app, &caller).await?;
    app.limiter
        .take(Act::Question, session.subject_id.as_str(), app.now())
        .map_err(|wait| Refused::too_many_of_yours(&session.subject_id, wait))?;
    let id = session.id.clone();
    let tokens = app.store(move |store| store.provider_tokens(&id)).await?;
    let word: Value = tokens
        .and_then(|(tokens, _)| serde_json::from_str(&tokens.claims).ok())
        .unwrap_or(Value::Null);
    let identity = &session.identity;
    let explained = explained(&app, &session, &word);
    Ok(Json(json!({
        "sub": session.subject_id.as_str(),
        "sid": session.id.as_str(),
        "provider": session.provider,
        "issuer": identity.issuer,
        "subject": identity.subject,
        "username": identity.username,
        "uid": identity.uid,
        "groups": identity.groups,
        "extra": identity.extra,
        "email": identity.email,
        "auth_time": session.auth_time,
        "acr": session.acr,
        "session": {
            "client": session.client.name(),
            "began": session.created_at,
            "vouchedFor": session.checked_at,
            "endsIdle": session.idle_end,
            "endsAtLatest": session.absolute_end,
        },
        "reason": session.stated_reason.as_ref().map(|(text, until)| json!({"text": text, "until": until})),
        "claims": word,
        "mapping": explained.as_ref().map(in_one_line),
        "droppedGroups": explained.as_ref().map(|explained| &explained.dropped_groups),
        "overage": explained.as_ref().map(|explained| explained.overage),
    }))
    .into_response())
}

/// How the claims became this person; nothing when the provider is not configured any more.
fn explained(app: &App, session: &Session, claims: &Value) -> Option<Explanation> {
    let providers = app.parts.issuers.providers();
    let provider = providers.iter().find(|provider| *provider.name == *session.provider)?;
    Some(provider.issuer.explain(claims.as_object()?))
}

fn in_one_line(explained: &Explanation) -> String {
    match &explained.groups {
        Some(groups) => format!("user name from {}, groups from {groups}", explained.username),
        None => format!("user name from {}, no groups", explained.username),
    }
}

/// The live session whose token the caller presents.
pub(crate) async fn session_of_bearer(app: &App, caller: &Caller) -> Result<Session, Refused> {
    let unauthorized = |why: String| Refused::new(StatusCode::UNAUTHORIZED, "invalid_token", why);
    let token = caller
        .bearer
        .as_ref()
        .ok_or_else(|| unauthorized("a bearer token is required".to_owned()))?;
    let named = minting::verify(app, token.reveal()).map_err(|why| unauthorized(why.to_string()))?;
    let id = SessionId::parse(&named).ok_or_else(|| unauthorized("the token names no session".to_owned()))?;
    let now = app.now();
    let session = app
        .store(move |store| store.session(&id, now))
        .await?
        .ok_or_else(|| unauthorized("the token's session is not known here".to_owned()))?;
    match session.standing {
        Standing::Live => Ok(session),
        Standing::Ended(why) => Err(unauthorized(format!("the session has ended: {}", in_words(why)))),
    }
}
