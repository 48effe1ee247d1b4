//! The way back: from the provider.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http::Uri;
use oidc::login::callback_state;
use state::{Secret, TakenAttempt};

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
        Err(page) => return page.into_response(),
    };
    match arrive(&app, &attempt.upstream, uri.path(), query).await {
        Ok(vouched) => finish::finish(&app, &caller, attempt.purpose, vouched).await,
        Err(error) => failed(&app, &caller, attempt, &error).await,
    }
}

/// The attempt of this answer; used up by the asking.
async fn take(app: &Inner, caller: &Caller, query: &str) -> Result<Attempt, Page> {
    let state = match callback_state(query) {
        Ok(state) => Secret::presented(&state),
        Err(_) => return Err(refuse(app, caller, "malformed_answer").await),
    };
    let browser = caller.cookies.find(Cookie::Browser, app.parts.url.is_secure());
    let now = app.now();
    let taken = app
        .store(move |store| store.take_attempt(&state, browser.as_ref(), now))
        .await
        .map_err(|_| unavailable_page())?;
    match taken {
        TakenAttempt::Found(payload) => serde_json::from_slice(&payload).map_err(|_| unavailable_page()),
        TakenAttempt::OtherBrowser => Err(refuse(app, caller, "other_browser").await),
        TakenAttempt::Expired => Err(refuse(app, caller, "too_late").await),
        TakenAttempt::Unknown => Err(refuse(app, caller, "unknown_or_used").await),
    }
}

/// An answer that belongs to nothing: a bookmark, a back button, or somebody who tries.
async fn refuse(app: &Inner, caller: &Caller, why: &'static str) -> Page {
    let event = SessionEvent::new(What::SignInRefused, app.now(), Some(caller)).because(why, None);
    if let Err(wait) = app.wrong_credential(caller, event).await {
        return too_often_page(wait);
    }
    let reason = match why {
        "too_late" => "It took longer than the sign-in is kept open.",
        "other_browser" => "It was begun in another browser, or this browser keeps no cookies.",
        "unknown_or_used" => {
            "It was finished already, or never begun here. A bookmark or the back button leads here, too."
        }
        _ => "The provider's answer is incomplete.",
    };
    Page::error(
        StatusCode::BAD_REQUEST,
        "This sign-in cannot be finished",
        reason,
        "Start again where you began: `gatescribe login` in the terminal, or the page you came from.",
    )
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
        Purpose::Browser(_) | Purpose::Device { .. } => Page::error(
            StatusCode::FORBIDDEN,
            "You are not signed in",
            &error.shown,
            "Start again where you began. If it happens again, show this page to the administrator.",
        )
        .into_response(),
    }
}
