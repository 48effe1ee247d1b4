//! From the session that a browser has on to where it wanted to go.
//!
//! The hosts of services know nothing of the gateway's cookie. A browser is sent there with a code that is good once, for a minute and
//! beside a cookie of its own there ([`super::back::Arrival`]), and gets a cookie of that host for it.

use axum::response::Response;
use state::{ClientKind, NewCode, Session};

use super::Back;
use super::back::{ARRIVE, Next};
use crate::answer::{see_other, too_often_page, unavailable_page};
use crate::app::{App, Unavailable};
use crate::caller::Caller;
use crate::form::with_query;
use crate::limit::Act;
use crate::logout::live_session;
use crate::page::Page;
use crate::renewal::{Renewed, renew_if_due};
use crate::upstream::Wishes;

/// Leads a browser that is signed in on to a service, without asking at the provider once more. None where it has to be asked: nobody is signed in, or not
/// as was wished.
pub(super) async fn at_once(app: &App, caller: &Caller, back: &Back, wishes: &Wishes) -> Option<Response> {
    if !back.is_to_service() {
        return None;
    }
    let session = match live_session(app, caller).await {
        Ok(session) => session?,
        Err(Unavailable) => return Some(unavailable_page().into_response()),
    };
    if session.client != ClientKind::Browser || !wishes.are_met_by(&session, app.now()) {
        return None;
    }
    let taken = app.limiter.take(Act::Onward, session.subject_id.as_str(), app.now());
    if let Err(wait) = taken {
        return Some(too_often_page(wait).into_response());
    }
    match renew_if_due(app, Some(caller), &session).await {
        Renewed::Current | Renewed::OldWordCounts => {}
        Renewed::Ended => return None,
        Renewed::Silent(why) => return Some(silent_page(why).into_response()),
    }
    let answer = onward(app, &session, back).await;
    Some(answer.unwrap_or_else(|Unavailable| unavailable_page().into_response()))
}

/// Sends a browser on that holds this session.
pub(super) async fn onward(app: &App, session: &Session, back: &Back) -> Result<Response, Unavailable> {
    let origin = match back.next(&app.parts.url, &*app.parts.is_published) {
        Next::Here(address) => return Ok(see_other(&address)),
        Next::Service(origin) => origin,
    };
    let payload = serde_json::to_vec(back).map_err(|_| Unavailable)?;
    let (id, now, lifetime) = (session.id.clone(), app.now(), app.parts.lifetimes.code);
    let code = app
        .store(move |store| {
            let new = NewCode {
                session: &id,
                payload: &payload,
                expires_at: now.plus(lifetime),
            };
            store.make_arrival(&new, now)
        })
        .await?;
    let address = with_query(&format!("{origin}{ARRIVE}"), &[("code", code.reveal())]);
    Ok(see_other(&address))
}

fn silent_page(why: &str) -> Page {
    let mut sentence = why.to_owned();
    sentence.push('.');
    Page::error(
        http::StatusCode::SERVICE_UNAVAILABLE,
        "Your account cannot be checked right now",
        &sentence,
        "Try again in a minute. If it stays so, tell the administrator.",
    )
}
