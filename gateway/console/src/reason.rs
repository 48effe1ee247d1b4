//! `/api/v1/reason`: a person states why they do what comes next. It is bound to their sign-in, holds for a while, and stands in
//! each record of what they do meanwhile; rules can demand one (`obligations.reason`).
//!
//! - `POST {"text": …, "seconds": …}` → `{"text": …, "until": …}`, in place of the one before
//! - `DELETE` → taken back
//!
//! Invariant: a reason counts only when its own record is durable.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::reason::Reason;
use model::time::Timestamp;
use serde::Deserialize;
use serde_json::json;
use state::Session;

use crate::answer::Refused;
use crate::app::App;
use crate::caller::Caller;
use crate::limit::Act;
use crate::record::{SessionEvent, What};
use crate::userinfo::session_of_bearer;
use crate::whole::whole;

/// For how long one holds.
const SECONDS: std::ops::RangeInclusive<u64> = 60..=8 * 3_600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stated {
    text: String,
    seconds: u64,
}

/// A reason takes effect; the record comes first.
pub(crate) async fn state(
    State(app): State<App>,
    caller: Caller,
    stated: Result<Json<Stated>, JsonRejection>,
) -> Result<Response, Refused> {
    let session = asker(&app, &caller).await?;
    let Json(stated) = stated.map_err(|error| Refused::request(error.body_text()))?;
    let text = readable(&stated.text)?;
    if !SECONDS.contains(&stated.seconds) {
        return Err(Refused::request("a reason holds for 1 minute to 8 hours"));
    }
    let until = app
        .now()
        .plus(Duration::from_secs(stated.seconds))
        .min(session.absolute_end);
    let kept = Some((text.clone(), until));
    whole(async move { keep(&app, &caller, &session, kept).await }).await?;
    Ok(Json(json!({"text": text, "until": until})).into_response())
}

/// There is none any more.
pub(crate) async fn take_back(State(app): State<App>, caller: Caller) -> Result<Response, Refused> {
    let session = asker(&app, &caller).await?;
    whole(async move { keep(&app, &caller, &session, None).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn asker(app: &App, caller: &Caller) -> Result<Session, Refused> {
    let session = session_of_bearer(app, caller).await?;
    app.limiter
        .take(Act::Reason, session.subject_id.as_str(), app.now())
        .map_err(|wait| Refused::too_many_of_yours(&session.subject_id, wait))?;
    Ok(session)
}

/// The text of a reason.
pub(crate) fn readable(text: &str) -> Result<String, Refused> {
    let reason = Reason::parse(text).map_err(|error| Refused::request(error.to_string()))?;
    Ok(reason.into())
}

async fn keep(
    app: &App,
    caller: &Caller,
    session: &Session,
    reason: Option<(String, Timestamp)>,
) -> Result<(), Refused> {
    let what = if reason.is_some() {
        What::ReasonStated
    } else {
        What::ReasonTakenBack
    };
    let mut event = SessionEvent::new(what, app.now(), Some(caller)).about(session);
    event.note = reason.as_ref().map(|(text, until)| format!("until {until}: {text}"));
    app.record(event).await?;
    let id = session.id.clone();
    let kept = app
        .store(move |store| store.state_reason(&id, reason.as_ref().map(|(text, until)| (text.as_str(), *until))))
        .await?;
    if kept {
        Ok(())
    } else {
        Err(Refused::new(
            StatusCode::UNAUTHORIZED,
            "invalid_token",
            "the session has ended",
        ))
    }
}
