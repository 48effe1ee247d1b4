//! Signing out: by the holder of a handle, by a browser, by the provider.
//!
//! An answer that says "signed out" is given only when the store has it (security SES-02). The provider is told as
//! well as it can be: its refusal does not undo ours, but is said.

use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use model::time::Timestamp;
use serde_json::json;
use state::{EndReason, Exchange, Exchanged, Logout, ProviderTokens, Secret, Session, Standing};

use crate::answer::{Refused, see_other, unavailable_page};
use crate::app::{App, Unavailable};
use crate::caller::Caller;
use crate::cookie::{self, Cookie};
use crate::form::Fields;
use crate::limit::Act;
use crate::page::{Mood, Page};
use crate::record::{SessionEvent, What};
use crate::token::{Posted, fields};
use crate::upstream::{self, LogoutToken, Provider};

/// `POST /revoke` (RFC 7009): the holder of a handle signs out. Unknown handles are answered as revoked, as the RFC
/// wants; `provider` in the answer says what became of the provider's own tokens.
pub(crate) async fn revoke(State(app): State<App>, caller: Caller, posted: Posted) -> Result<Response, Refused> {
    let fields = fields(posted)?;
    let token = fields
        .find("token")
        .ok_or_else(|| Refused::request("token is required: the handle"))?;
    let (handle, now) = (Secret::presented(token), app.now());
    let looked = app
        .store(move |store| {
            let exchange = Exchange {
                handle: &handle,
                request_key: None,
            };
            store.inspect_handle(&exchange, now)
        })
        .await?;
    let session = match looked {
        Exchanged::Good { session, .. } => session,
        // An old handle ended the session on being looked at: the holder wanted an end, and there is one.
        Exchanged::Reused(session) => {
            let event = SessionEvent::new(What::HandleReused, now, Some(&caller)).about(&session);
            app.record_after(event.because(EndReason::HandleReused.name(), None))
                .await;
            return Ok(Json(json!({"revoked": true, "provider": "notTold"})).into_response());
        }
        Exchanged::Ended(..) => return Ok(Json(json!({"revoked": true, "provider": "notTold"})).into_response()),
        Exchanged::Unknown => {
            let event = SessionEvent::new(What::CredentialRefused, now, Some(&caller));
            let event = event.because("unknown_credential", "an unknown handle was to be revoked".to_owned());
            app.wrong_credential(&caller, event).await.map_err(Refused::too_often)?;
            return Ok(Json(json!({"revoked": true, "provider": "notTold"})).into_response());
        }
    };
    let tokens = sign_out(&app, &caller, &session, now).await?;
    let told = tell_provider(&app, &session, tokens).await;
    Ok(Json(json!({"revoked": true, "provider": told})).into_response())
}

/// `GET /logout`: asks first. Following a link, or an image that points here, ends nothing.
pub(crate) async fn page(State(app): State<App>, caller: Caller) -> Response {
    let session = match live_session(&app, &caller).await {
        Ok(Some(session)) => session,
        Ok(None) => return signed_out(State(app)).await,
        Err(Unavailable) => return unavailable_page().into_response(),
    };
    Page::new(StatusCode::OK, Mood::Plain, "Sign out?")
        .text(&format!(
            "You are signed in as {} in this browser.",
            session.identity.username
        ))
        .text("Signing out ends that for the gateway and for every service that you opened in it.")
        .buttons("/logout", ("confirm", "yes"), &[("yes", "Sign out")])
        .small(match session.provider_sid {
            Some(_) => "Terminals that you signed in by this browser are signed out, too.",
            None => "Terminals stay signed in; `gatescribe logout` ends that.",
        })
        .leads_to(app.parts.issuers.providers().iter().map(|provider| provider.origin()))
        .into_response()
}

/// `POST /logout`: ends the browser's session, then sends the browser to the provider to sign out there, too
/// (OpenID Connect RP-Initiated Logout 1.0).
pub(crate) async fn logout(State(app): State<App>, caller: Caller) -> Response {
    if !caller.is_own_page(app.parts.url.as_str()) {
        return Page::error(
            StatusCode::FORBIDDEN,
            "You are still signed in",
            "The request to sign out came from another page.",
            "Open /logout yourself to sign out.",
        )
        .into_response();
    }
    match end_browser_session(&app, &caller).await {
        Ok(response) => response,
        Err(Unavailable) => Page::error(
            StatusCode::SERVICE_UNAVAILABLE,
            "You may still be signed in",
            "The gateway could not store that you signed out.",
            "Try again in a minute; until then close the browser only if nobody else can use it.",
        )
        .into_response(),
    }
}

/// `GET /signed-out`.
pub(crate) async fn signed_out(State(_app): State<App>) -> Response {
    Page::new(StatusCode::OK, Mood::Good, "You are signed out")
        .text("This browser holds no session here any more. You can close this page.")
        .into_response()
}

async fn end_browser_session(app: &App, caller: &Caller) -> Result<Response, Unavailable> {
    let secure = app.parts.url.is_secure();
    let home = app.parts.url.at("/signed-out");
    let location = match live_session(app, caller).await? {
        None => home,
        Some(session) => {
            let tokens = sign_out(app, caller, &session, app.now()).await?;
            sign_out_beside(app, caller, &session).await?;
            let provider = provider_of(app, &session);
            let there = provider
                .as_deref()
                .and_then(|provider| upstream::end_session_url(provider, tokens.as_ref(), &home));
            there.unwrap_or(home)
        }
    };
    let mut response = see_other(&location);
    response
        .headers_mut()
        .append(header::SET_COOKIE, cookie::set(Cookie::Session, "", 0, secure));
    Ok(response)
}

/// The session of this browser, where there is one that stands.
pub(crate) async fn live_session(app: &App, caller: &Caller) -> Result<Option<Session>, Unavailable> {
    let Some(secret) = caller.cookies.find(Cookie::Session, app.parts.url.is_secure()) else {
        return Ok(None);
    };
    let now = app.now();
    let found = app.store(move |store| store.session_of_secret(&secret, now)).await?;
    Ok(found.filter(|session| session.standing == Standing::Live))
}

/// Ends the session here; what it held of the provider is handed back, as the store no longer has it.
async fn sign_out(
    app: &App,
    caller: &Caller,
    session: &Session,
    now: Timestamp,
) -> Result<Option<ProviderTokens>, Unavailable> {
    let id = session.id.clone();
    let tokens = app
        .store(move |store| {
            let tokens = store.provider_tokens(&id)?.map(|(tokens, _)| tokens);
            store.end_session(&id, EndReason::SignedOut, now)?;
            Ok(tokens)
        })
        .await?;
    let event = SessionEvent::new(What::SignedOut, now, Some(caller)).about(session);
    app.record_after(event.because(EndReason::SignedOut.name(), None)).await;
    Ok(tokens)
}

/// Whatever else began with the provider's session that this browser leaves: terminals that signed in by it. One sign-out reaches them also where the
/// provider tells nobody of sign-outs; where it names no session, each is on its own.
async fn sign_out_beside(app: &App, caller: &Caller, session: &Session) -> Result<(), Unavailable> {
    let Some(sid) = session.provider_sid.clone() else {
        return Ok(());
    };
    let ended = end_by_session_name(app, session.identity.issuer.clone(), sid).await?;
    for session in &ended {
        let event = SessionEvent::new(What::SignedOut, app.now(), Some(caller)).about(session);
        let note = "with the browser that it signed in by".to_owned();
        app.record_after(event.because(EndReason::ProviderLogout.name(), note))
            .await;
    }
    Ok(())
}

/// Ends what an issuer names so; answers which.
async fn end_by_session_name(app: &App, issuer: String, sid: String) -> Result<Vec<Session>, Unavailable> {
    let now = app.now();
    app.store(move |store| {
        let ids = store.end_by_provider_session(&issuer, &sid, now)?;
        let sessions = ids.iter().map(|id| store.session(id, now));
        Ok(sessions.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    })
    .await
}

async fn tell_provider(app: &App, session: &Session, tokens: Option<ProviderTokens>) -> &'static str {
    match (provider_of(app, session), tokens) {
        (Some(provider), Some(tokens)) => upstream::revoke(app, &provider, &tokens).await,
        _ => "notTold",
    }
}

fn provider_of(app: &App, session: &Session) -> Option<std::sync::Arc<Provider>> {
    let providers = app.parts.issuers.providers();
    providers
        .iter()
        .find(|provider| *provider.name == *session.provider && provider.issuer_url() == session.identity.issuer)
        .cloned()
}

/// `POST /backchannel-logout` (OpenID Connect Back-Channel Logout 1.0): the provider says that a person signed out.
pub(crate) async fn back_channel(State(app): State<App>, caller: Caller, posted: Posted) -> Response {
    if let Err(wait) = app.limiter.take(Act::LogoutToken, &caller.source(), app.now()) {
        return Refused::too_often(wait).into_response();
    }
    match by_logout_token(&app, &caller, posted).await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn by_logout_token(app: &App, caller: &Caller, posted: Posted) -> Result<(), Refused> {
    let fields = fields(posted)?;
    let text = fields
        .find("logout_token")
        .ok_or_else(|| Refused::request("logout_token is required"))?;
    let token = match upstream::verify_logout(app, text).await {
        Ok(token) => token,
        Err(why) => {
            let event = SessionEvent::new(What::LogoutTokenRefused, app.now(), Some(caller));
            app.record_after(event.because(why.code, Some(why.shown.clone()))).await;
            return Err(Refused::request(why.shown));
        }
    };
    let ended = end_named(app, token).await?;
    for session in &ended {
        let event = SessionEvent::new(What::SignedOutByProvider, app.now(), Some(caller)).about(session);
        app.record_after(event.because(EndReason::ProviderLogout.name(), None))
            .await;
    }
    Ok(())
}

/// A provider's name of a session is as good as a key here, so it has to be one that nobody guesses.
const SHORTEST_SESSION_NAME: usize = 16;

/// `GET /frontchannel-logout` (OpenID Connect Front-Channel Logout 1.0): a page of the provider has this address in a frame when a person signs
/// out there.
///
/// Nothing is signed, and browsers send no cookie into a frame of another site, so it goes by the provider's name of the session alone (§3),
/// which the provider tells to whom it signs the person in for. Whoever has it can sign that person out, here as there, and nothing
/// else; what is answered is the same whether there was a session or not.
pub(crate) async fn front_channel(
    State(app): State<App>,
    caller: Caller,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    if let Err(wait) = app.limiter.take(Act::FrontChannel, &caller.source(), app.now()) {
        return Refused::too_often(wait).into_response();
    }
    match by_session_name(&app, &caller, pairs).await {
        Ok(()) => signed_out(State(app)).await,
        Err(refused) => refused.into_response(),
    }
}

async fn by_session_name(app: &App, caller: &Caller, pairs: Vec<(String, String)>) -> Result<(), Refused> {
    let fields = Fields::read(pairs).map_err(|error| Refused::request(error.to_string()))?;
    let (Some(issuer), Some(sid)) = (fields.find("iss"), fields.find("sid")) else {
        return Err(Refused::request(
            "iss and sid are required: register the address with `frontchannel_logout_session_required`",
        ));
    };
    if sid.len() < SHORTEST_SESSION_NAME {
        return Err(Refused::request(
            "sid is too short to be a secret of anybody; use back-channel logout at this provider",
        ));
    }
    let providers = app.parts.issuers.providers();
    if !providers.iter().any(|provider| provider.issuer_url() == issuer) {
        return Err(Refused::request("iss is no provider of this gateway"));
    }
    let ended = end_by_session_name(app, issuer.to_owned(), sid.to_owned()).await?;
    for session in &ended {
        let event = SessionEvent::new(What::SignedOutByProvider, app.now(), Some(caller)).about(session);
        let note = "by front-channel logout".to_owned();
        app.record_after(event.because(EndReason::ProviderLogout.name(), note))
            .await;
    }
    Ok(())
}

/// One that came before ends nothing: sessions that began since are not its business.
async fn end_named(app: &App, token: LogoutToken) -> Result<Vec<Session>, Refused> {
    let now = app.now();
    let ended = app
        .store(move |store| {
            let logout = Logout {
                issuer: &token.issuer,
                token: &token.id,
                remember_until: token.remember_until,
                provider_sid: token.session.as_deref(),
                subject: token.subject.as_deref(),
            };
            let Some(ids) = store.end_by_logout(&logout, now)? else {
                return Ok(None);
            };
            let sessions = ids
                .iter()
                .map(|id| store.session(id, now))
                .collect::<Result<Vec<_>, _>>()?;
            Ok(Some(sessions.into_iter().flatten().collect::<Vec<_>>()))
        })
        .await?;
    ended.ok_or_else(|| Refused::request("this logout token was presented before"))
}
