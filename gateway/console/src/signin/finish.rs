//! What comes of a sign-in: a one-time code, a cookie, or a question.

use axum::response::Response;
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use state::{ClientKind, EndReason, NewCode, Secret, Session, SessionSecrets, Standing};

use super::onward::onward;
use super::{Attempt, Back, Purpose, Vouched};
use crate::answer::{see_other, unavailable_page};
use crate::app::{App, Inner, Unavailable};
use crate::caller::Caller;
use crate::cookie::{self, Cookie};
use crate::device;
use crate::form::with_query;
use crate::logout::live_session;
use crate::loopback::LoopbackRedirect;
use crate::page::Page;
use crate::record::{SessionEvent, What};
use crate::upstream::{UpstreamAttempt, Wishes};

/// What must fit when the code comes back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CodePayload {
    pub(crate) redirect: LoopbackRedirect,
    pub(crate) challenge: String,
}

/// A session that began and is written down.
#[derive(Debug)]
pub(crate) enum Begun {
    Session { session: Box<Session>, secret: Secret },
    Locked { why: String },
}

pub(super) async fn finish(app: &App, caller: &Caller, attempt: Attempt, vouched: Vouched) -> Response {
    let Attempt { upstream, purpose } = attempt;
    let result = match purpose {
        Purpose::Cli {
            redirect,
            state,
            challenge,
        } => for_cli(app, caller, &vouched, redirect, &state, challenge).await,
        Purpose::Browser(back) => for_browser(app, caller, &vouched, &upstream, &back).await,
        Purpose::Device { user_code } => device::ask(app, caller, &user_code, &vouched).await,
    };
    result.unwrap_or_else(|Unavailable| unavailable_page().into_response())
}

async fn for_cli(
    app: &App,
    caller: &Caller,
    vouched: &Vouched,
    redirect: LoopbackRedirect,
    state: &str,
    challenge: String,
) -> Result<Response, Unavailable> {
    let iss = app.parts.url.as_str();
    let session = match begin_recorded(app, caller, vouched, ClientKind::Cli).await? {
        Begun::Session { session, .. } => session,
        Begun::Locked { why } => {
            let description = format!("your account is locked here: {why}");
            let pairs = [
                ("error", "access_denied"),
                ("error_description", &description),
                ("state", state),
                ("iss", iss),
            ];
            return Ok(see_other(&with_query(redirect.as_str(), &pairs)));
        }
    };
    let back = redirect.as_str().to_owned();
    let payload = serde_json::to_vec(&CodePayload { redirect, challenge }).map_err(|_| Unavailable)?;
    let (now, lifetime) = (app.now(), app.parts.lifetimes.code);
    let code = app
        .store(move |store| {
            let new = NewCode {
                session: &session.id,
                payload: &payload,
                expires_at: now.plus(lifetime),
            };
            store.make_code(&new, now)
        })
        .await?;
    Ok(see_other(&with_query(
        &back,
        &[("code", code.reveal()), ("state", state), ("iss", iss)],
    )))
}

async fn for_browser(
    app: &App,
    caller: &Caller,
    vouched: &Vouched,
    upstream: &UpstreamAttempt,
    back: &Back,
) -> Result<Response, Unavailable> {
    if let Some(session) = of_another_tab(app, caller, vouched, upstream).await? {
        return onward(app, &session, back).await;
    }
    let (session, secret) = match begin_recorded(app, caller, vouched, ClientKind::Browser).await? {
        Begun::Session { session, secret } => (session, secret),
        Begun::Locked { why } => return Ok(locked_page(&why).into_response()),
    };
    end_former(app, caller).await?;
    let secure = app.parts.url.is_secure();
    let cookie = cookie::set(
        Cookie::Session,
        secret.reveal(),
        app.parts.lifetimes.absolute.as_secs(),
        secure,
    );
    let mut response = match unmet(app, &session, upstream, back) {
        Some(page) => page.into_response(),
        None => onward(app, &session, back).await?,
    };
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

/// Another tab of this browser has signed the same person in while this one was at the provider. A further session would end that one, and
/// with it what the other tab has open; this one adds nothing to it, unless something stricter was wished for.
async fn of_another_tab(
    app: &App,
    caller: &Caller,
    vouched: &Vouched,
    upstream: &UpstreamAttempt,
) -> Result<Option<Session>, Unavailable> {
    if !upstream.wishes().is_none() {
        return Ok(None);
    }
    let session = live_session(app, caller).await?;
    Ok(session.filter(|session| {
        session.client == ClientKind::Browser
            && session.subject_id == vouched.subject_id
            && session.provider == vouched.provider
            && session.identity == vouched.identity
            && session.created_at > upstream.started()
    }))
}

/// The provider signed them in, and not as was wished. Going on to a service would lead to the same refusal and back here.
fn unmet(app: &App, session: &Session, upstream: &UpstreamAttempt, back: &Back) -> Option<Page> {
    let wishes = upstream.wishes();
    if !back.is_to_service() {
        return None;
    }
    if !wishes.is_context(session.acr.as_deref()) {
        return Some(another_context_page(app, session, wishes, back));
    }
    let is_anew = match session.auth_time {
        Some(at) => at.saturating_add(CLOCKS_APART_S) >= upstream.started().unix_seconds(),
        // Nothing is known of it; a context that was wished for and is there was the reason.
        None => !wishes.contexts().is_empty(),
    };
    (wishes.is_anew() && !is_anew).then(|| not_anew_page(app, back))
}

/// By how much a provider's clock may be behind ours.
const CLOCKS_APART_S: i64 = 60;

fn not_anew_page(app: &App, back: &Back) -> Page {
    Page::error(
        StatusCode::FORBIDDEN,
        "That was no fresh sign-in",
        "What you opened asks that you sign in anew. Your provider did not ask you, or does not say when you signed in.",
        "Sign out at the provider and try again. If it stays so, ask the administrator.",
    )
    .choice("Try again", &back.address(&app.parts.url, &*app.parts.is_published))
}

fn another_context_page(app: &App, session: &Session, wishes: &Wishes, back: &Back) -> Page {
    let wished = wishes.contexts().join("`, `");
    let found = match session.acr.as_deref() {
        Some(acr) => format!("The provider says that it was by `{acr}`."),
        None => "The provider does not say by which kind it was.".to_owned(),
    };
    let address = back.address(&app.parts.url, &*app.parts.is_published);
    Page::error(
        StatusCode::FORBIDDEN,
        "You signed in by another kind than is asked for",
        &format!("What you opened asks for a sign-in of the kind `{wished}`. {found}"),
        "Sign in with the means that it asks for, such as a security key. If you have none, or used it just now, ask the administrator.",
    )
    .choice("Try again", &address)
}

/// The session that this browser held before ends: after each sign-in there is one, with a new name and secret
/// (security SES-01).
async fn end_former(app: &App, caller: &Caller) -> Result<(), Unavailable> {
    let Some(former) = caller.cookies.find(Cookie::Session, app.parts.url.is_secure()) else {
        return Ok(());
    };
    let now = app.now();
    let ended = app
        .store(move |store| {
            let Some(session) = store.session_of_secret(&former, now)? else {
                return Ok(None);
            };
            let live = session.standing == Standing::Live;
            store.end_session(&session.id, EndReason::Replaced, now)?;
            Ok(live.then_some(session))
        })
        .await?;
    if let Some(session) = ended {
        let event = SessionEvent::new(What::SignedOut, now, Some(caller)).about(&session);
        app.record_after(event.because(EndReason::Replaced.name(), None)).await;
    }
    Ok(())
}

/// Begins a session and writes it down, or neither: when the record fails, the session ends before anybody holds
/// anything of it (promise 4).
pub(crate) async fn begin_recorded(
    app: &Inner,
    caller: &Caller,
    vouched: &Vouched,
    client: ClientKind,
) -> Result<Begun, Unavailable> {
    let now = app.now();
    let new = vouched.session(app, client, caller.source());
    let (session, secret) = match app.store(move |store| store.begin_session(&new, now)).await? {
        SessionSecrets::Begun { session, secret } => (session, secret),
        SessionSecrets::Locked { why } => {
            let mut event = SessionEvent::new(What::SignInRefused, now, Some(caller))
                .because("locked", why.clone())
                .at_provider(&vouched.provider);
            event.who = Some(crate::record::Who {
                subject_id: vouched.subject_id.clone(),
                identity: vouched.identity.clone(),
                auth_time: vouched.auth_time,
                acr: vouched.acr.clone(),
            });
            app.record_after(event).await;
            return Ok(Begun::Locked { why });
        }
    };
    let mut event = SessionEvent::new(What::SignedIn, now, Some(caller)).about(&session);
    event.amr.clone_from(&vouched.amr);
    if app.record(event).await.is_err() {
        let id = session.id.clone();
        // If this fails, too, the session stays without a holder and ends by itself when its first use is due.
        let _ = app
            .store(move |store| store.end_session(&id, EndReason::NotRecorded, now))
            .await;
        return Err(Unavailable);
    }
    Ok(Begun::Session { session, secret })
}

pub(crate) fn locked_page(why: &str) -> Page {
    Page::error(
        StatusCode::FORBIDDEN,
        "Your account is locked here",
        &format!("An administrator locked it: {why}."),
        "Ask the administrator to unlock it; signing in again does not help until then.",
    )
}
