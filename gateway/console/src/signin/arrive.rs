//! The way back: from the provider.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http::Uri;
use oidc::login::callback_state;
use state::{Secret, TakenAttempt};

use super::leave::not_now_page;
use super::{Attempt, Purpose, finish};
use crate::answer::{see_other, too_often_page, unavailable_page};
use crate::app::{App, Inner};
use crate::caller::Caller;
use crate::cookie::Cookie;
use crate::form::with_query;
use crate::page::Page;
use crate::record::{SessionEvent, What};
use crate::upstream::{ArrivalError, arrive};

/// `GET /callback` and `GET /callback/<provider>`: which of them was answered to is compared with the redirect address
/// of the provider that was asked.
pub(crate) async fn callback(State(app): State<App>, caller: Caller, uri: Uri) -> Response {
    let query = uri.query().unwrap_or_default();
    let attempt = match take(&app, &caller, query).await {
        Ok(attempt) => attempt,
        Err(answer) => return answer,
    };
    match arrive(&app, &attempt.upstream, uri.path(), query).await {
        Ok(vouched) => finish::finish(&app, &caller, attempt, vouched).await,
        Err(error) => failed(&app, &caller, attempt, &error).await,
    }
}

/// The attempt of this answer; used up by the asking.
async fn take(app: &Inner, caller: &Caller, query: &str) -> Result<Attempt, Response> {
    let state = match callback_state(query) {
        Ok(state) => Secret::presented(&state),
        Err(_) => return Err(refuse(app, caller, "malformed_answer").await.into_response()),
    };
    let browser = caller.cookies.find(Cookie::Browser, app.parts.url.is_secure());
    let now = app.now();
    let taken = app
        .store(move |store| store.take_attempt(&state, browser.as_ref(), now))
        .await
        .map_err(|_| unavailable_page().into_response())?;
    let why = match taken {
        TakenAttempt::Found(payload) => {
            return serde_json::from_slice(&payload).map_err(|_| unavailable_page().into_response());
        }
        TakenAttempt::OtherBrowser(payload) => {
            return Err(match refuse(app, caller, "other_browser").await {
                Refused::TooOften(page) => page.into_response(),
                Refused::Told(page) => once_more(app, caller, &payload).unwrap_or_else(|| page.into_response()),
            });
        }
        TakenAttempt::Expired => "too_late",
        TakenAttempt::Unknown => "unknown_or_used",
    };
    Err(refuse(app, caller, why).await.into_response())
}

/// Tabs that leave at the same time (a browser that starts opens all that were open) are given a cookie each, and the last one stays. The others
/// begin anew, one time, as the browser that they are: what they came with signs nobody in.
fn once_more(app: &Inner, caller: &Caller, payload: &[u8]) -> Option<Response> {
    caller.cookies.find(Cookie::Browser, app.parts.url.is_secure())?;
    let attempt: Attempt = serde_json::from_slice(payload).ok()?;
    let Purpose::Browser(back) = attempt.purpose else {
        return None;
    };
    let address = back.once_more(None, attempt.upstream.wishes(), &app.parts.url)?;
    Some(see_other(&address))
}

/// A page that says so.
enum Refused {
    /// Recorded.
    Told(Page),
    /// Counted: this source has tried too often.
    TooOften(Page),
}

impl Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Told(page) | Self::TooOften(page) => page.into_response(),
        }
    }
}

/// An answer that belongs to nothing: a bookmark, a back button, or somebody who tries.
async fn refuse(app: &Inner, caller: &Caller, why: &'static str) -> Refused {
    let event = SessionEvent::new(What::SignInRefused, app.now(), Some(caller)).because(why, None);
    if let Err(wait) = app.wrong_credential(caller, event).await {
        return Refused::TooOften(too_often_page(wait));
    }
    let reason = match why {
        "too_late" => "It took longer than the sign-in is kept open.",
        "other_browser" => "It was begun in another browser, or this browser keeps no cookies.",
        "unknown_or_used" => {
            "It was finished already, or never begun here. A bookmark or the back button leads here, too."
        }
        _ => "The provider's answer is incomplete.",
    };
    Refused::Told(Page::error(
        StatusCode::BAD_REQUEST,
        "This sign-in cannot be finished",
        reason,
        "Start again where you began: `gatescribe login` in the terminal, or the page you came from.",
    ))
}

/// The provider refused, or its answer does not hold. The command line is told, so that it need not wait in vain.
async fn failed(app: &Inner, caller: &Caller, attempt: Attempt, error: &ArrivalError) -> Response {
    let event = SessionEvent::new(What::SignInRefused, app.now(), Some(caller))
        .because(error.code, error.note.clone())
        .at_provider(&attempt.upstream.provider);
    app.record_after(event).await;
    match attempt.purpose {
        Purpose::Cli { redirect, state, .. } => see_other(&with_query(
            redirect.as_str(),
            &[
                ("error", error.oauth),
                ("error_description", &error.shown),
                ("state", &state),
                ("iss", app.parts.url.as_str()),
            ],
        )),
        Purpose::Browser(back) if error.is_ours_to_mend() => {
            not_now_page(&back.again(&app.parts.url, &*app.parts.is_published)).into_response()
        }
        Purpose::Browser(_) | Purpose::Device { .. } => Page::error(
            StatusCode::FORBIDDEN,
            "You are not signed in",
            &error.shown,
            "Start again where you began. If it happens again, show this page to the administrator.",
        )
        .into_response(),
    }
}
