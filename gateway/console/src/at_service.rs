//! Paths of ours on the hosts of services: a sign-in arrives there, and from there one goes to sign out.
//!
//! Who arrives shows a code that the gateway host gave it a moment ago. Nothing of it counts before it is known that this very browser
//! had left this very host: the hash of its cookie here is sealed behind the code. So an address of somebody else's arrival signs nobody
//! in (security SES-01, WEB-14), and what is answered to it never leads in circles.

use axum::Router;
use axum::extract::{Extension, Query, State};
use axum::middleware;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use model::service::HostName;
use state::{Arrived, ClientKind, Secret, SessionId, Standing};

use crate::answer::{Refused, see_other, too_often_page, unavailable_page};
use crate::app::{App, AtHost, Inner, Unavailable};
use crate::caller::Caller;
use crate::cookie::{self, Cookie};
use crate::door::{Tally, service_door};
use crate::form::Fields;
use crate::page::Page;
use crate::record::{SessionEvent, What};
use crate::signin::{ARRIVE, Back};
use crate::upstream::Wishes;

/// On the host of a service: the way to sign out.
const SIGN_OUT: &str = "/.gatescribe/signout";

type Pairs = Query<Vec<(String, String)>>;

pub(crate) fn routes(app: App) -> Router {
    Router::new()
        // HEAD is no browser that arrives, and would use the code up.
        .route(ARRIVE, get(arrive).head(nothing_here))
        .route(SIGN_OUT, get(sign_out).post(sign_out))
        .fallback(nothing_here)
        .with_state(app.clone())
        .layer(middleware::from_fn_with_state(app, service_door))
}

async fn nothing_here() -> Response {
    let why = "there is nothing at this path; the service is not asked for paths below `/.gatescribe/`";
    let mut refused = Refused::new(StatusCode::NOT_FOUND, "not_found", why);
    refused.tally = Some(Box::new(Tally::Stray("unknown_path")));
    refused.into_response()
}

/// `GET /.gatescribe/arrive`: from the gateway host, with a session.
async fn arrive(
    State(app): State<App>,
    caller: Caller,
    Extension(AtHost(host)): Extension<AtHost>,
    Query(pairs): Pairs,
) -> Response {
    match land(&app, &caller, &host, pairs).await {
        Ok(response) => response,
        Err(Astray::Why(why)) => refuse(&app, &caller, &host, why).await,
        Err(Astray::Unavailable) => unavailable_page().into_response(),
    }
}

/// Who does not arrive.
enum Astray {
    Why(&'static str),
    Unavailable,
}

impl From<Unavailable> for Astray {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

async fn land(app: &Inner, caller: &Caller, host: &HostName, pairs: Vec<(String, String)>) -> Result<Response, Astray> {
    let fields = Fields::read(pairs).map_err(|_| Astray::Why("malformed_answer"))?;
    let code = fields
        .find("code")
        .filter(|code| code.len() == 43 && URL_SAFE_NO_PAD.decode(code).is_ok());
    let code = Secret::presented(code.ok_or(Astray::Why("malformed_answer"))?);
    let now = app.now();
    let (session, payload) = match app.store(move |store| store.redeem_arrival(&code, now)).await? {
        Arrived::First { session, payload } => (Some(session), payload),
        Arrived::Again { payload } => (None, payload),
        Arrived::Expired => return Err(Astray::Why("too_late")),
        Arrived::Unknown => return Err(Astray::Why("unknown_or_used")),
    };
    let back: Back = serde_json::from_slice(&payload).map_err(|_| Astray::Unavailable)?;
    let left = back.arrival_at(host).ok_or(Astray::Why("other_host"))?;
    let cookie = match caller.cookies.find(Cookie::Arrival, app.parts.url.is_secure()) {
        Some(cookie) => cookie,
        None => return anew(app, &back, Secret::random().ok().as_ref(), true).ok_or(Astray::Why("no_cookie")),
    };
    if !left.is_of(&cookie) {
        return anew(app, &back, Some(&cookie), false).ok_or(Astray::Why("other_browser"));
    }
    // A browser that asks twice was answered before, or its session is over: it goes where it wanted to, and if it is not signed in there,
    // it will be asked to.
    let mut response = see_other(&back.address(&app.parts.url, &*app.parts.is_published));
    if let Some(session) = session
        && let Some(line) = service_cookie(app, host, session).await?
    {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    Ok(response)
}

/// Begins once more, as the browser that this one is: its cookie is another one by now, or it is over and here is the next.
fn anew(app: &Inner, back: &Back, cookie: Option<&Secret>, is_new: bool) -> Option<Response> {
    let cookie = cookie?;
    let address = back.once_more(Some(cookie), &Wishes::default(), &app.parts.url)?;
    let mut response = see_other(&address);
    if is_new {
        let lasts = app.parts.lifetimes.attempt.as_secs();
        let line = cookie::set(Cookie::Arrival, cookie.reveal(), lasts, app.parts.url.is_secure());
        response.headers_mut().append(header::SET_COOKIE, line);
    }
    Some(response)
}

/// The `Set-Cookie` line that says on this host whose sign-in it is; none where that is over.
async fn service_cookie(app: &Inner, host: &HostName, id: SessionId) -> Result<Option<http::HeaderValue>, Unavailable> {
    let (host, now, secure) = (host.clone(), app.now(), app.parts.url.is_secure());
    app.store(move |store| {
        let session = store.session(&id, now)?;
        let stands =
            |session: &state::Session| session.standing == Standing::Live && session.client == ClientKind::Browser;
        let Some(session) = session.filter(stands) else {
            return Ok(None);
        };
        let value = store.service_cookie(&host, &id)?;
        let left = session.absolute_end.since(now).as_secs();
        Ok(Some(cookie::set(Cookie::Service, &value, left, secure)))
    })
    .await
}

async fn refuse(app: &Inner, caller: &Caller, host: &HostName, why: &'static str) -> Response {
    let event = SessionEvent::new(What::SignInRefused, app.now(), Some(caller));
    let event = event.because(why, format!("at the service host {host}"));
    if let Err(wait) = app.wrong_credential(caller, event).await {
        return too_often_page(wait).into_response();
    }
    let (title, reason) = match why {
        "no_cookie" => (
            format!("This browser keeps no cookies for {host}"),
            "A sign-in is kept in a cookie, and the one that was set a moment ago is not there.",
        ),
        "other_browser" | "other_host" => (
            "This sign-in was begun elsewhere".to_owned(),
            "The address with which you came belongs to another browser or to another service. Nobody was signed in by it.",
        ),
        "too_late" => (
            "This sign-in came too late".to_owned(),
            "The address with which you came is good for a minute.",
        ),
        _ => (
            "This sign-in cannot be finished".to_owned(),
            "The address with which you came was used before, or it is not whole.",
        ),
    };
    let next = match why {
        "no_cookie" => format!("Allow cookies for {host}, then open it again."),
        _ => format!("Open {host} again; you will be asked to sign in if you are not."),
    };
    let page = Page::error(StatusCode::BAD_REQUEST, &title, reason, &next);
    let origin = app.parts.url.front().origin_of(host);
    match origin {
        Some(origin) => page.choice(&format!("Open {host}"), &format!("{origin}/")),
        None => page,
    }
    .into_response()
}

/// `GET` and `POST /.gatescribe/signout`: leads to the gateway's page that asks first, so that no link or image signs anybody out. This
/// host's cookie goes at once where a page of this host asked for it (security WEB-03).
async fn sign_out(State(app): State<App>, caller: Caller, Extension(AtHost(host)): Extension<AtHost>) -> Response {
    let mut response = see_other(&app.parts.url.at("/logout"));
    let origin = app.parts.url.front().origin_of(&host);
    if origin.is_some_and(|origin| caller.is_own_page(origin.as_str())) {
        let removed = cookie::set(Cookie::Service, "", 0, app.parts.url.is_secure());
        response.headers_mut().append(header::SET_COOKIE, removed);
    }
    response
}
