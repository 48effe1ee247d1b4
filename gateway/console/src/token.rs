//! `POST /token`: a one-time code, a device code or a handle for a gateway token and the next handle; an assertion and a workload's
//! own proof for an assertion to another service, which is [`crate::exchange`].
//!
//! The order of a renewal: look at the handle, ask the provider if its last word is old, then rotate, then sign. What
//! fails before the rotation costs the client nothing; it asks again with the same handle.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use axum::Form;
use axum::extract::State;
use axum::extract::rejection::FormRejection;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use state::{DevicePoll, EndReason, Exchange, Exchanged, RedeemedCode, Secret, Session, SessionId};

use crate::answer::Refused;
use crate::app::{App, Inner, Unavailable};
use crate::caller::Caller;
use crate::door::Tally;
use crate::exchange::{EXCHANGE_GRANT, exchange};
use crate::form::Fields;
use crate::limit::Act;
use crate::loopback::LoopbackRedirect;
use crate::minting;
use crate::record::{SessionEvent, What};
use crate::renewal::{Renewed, renew_if_due};
use crate::signin::{CLI_CLIENT, CodePayload};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
const SIGN_IN_AGAIN: &str = "sign in again with `gatescribe login`";

pub(crate) type Posted = Result<Form<Vec<(String, String)>>, FormRejection>;

pub(crate) async fn token(State(app): State<App>, caller: Caller, posted: Posted) -> Result<Response, Refused> {
    let fields = fields(posted)?;
    if fields.find("grant_type") == Some(EXCHANGE_GRANT) {
        return exchange(&app, &caller, &fields).await;
    }
    let audience = audience(&app, &fields)?;
    let (session, handle) = match fields.find("grant_type") {
        Some("authorization_code") => by_code(&app, &caller, &fields).await?,
        Some("refresh_token") => by_handle(&app, &caller, &fields).await?,
        Some(DEVICE_GRANT) => by_device(&app, &caller, &fields).await?,
        Some(_) => {
            return Err(Refused::new(
                http::StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                format!("grant_type must be authorization_code, refresh_token, {DEVICE_GRANT} or {EXCHANGE_GRANT}"),
            ));
        }
        None => return Err(Refused::request("grant_type is required")),
    };
    let minted = minting::mint(&app, &session, &audience)?;
    Ok(axum::Json(json!({
        "access_token": minted.token,
        "token_type": "Bearer",
        "expires_in": minted.expires_in.as_secs(),
        "refresh_token": handle.reveal(),
        "session_expires_at": session.idle_end.min(session.absolute_end).to_string(),
    }))
    .into_response())
}

pub(crate) fn fields(posted: Posted) -> Result<Fields, Refused> {
    let Form(pairs) = posted
        .map_err(|_| Refused::request("the body must be application/x-www-form-urlencoded and at most 32 KiB"))?;
    Fields::read(pairs).map_err(|error| Refused::request(error.to_string()))
}

/// A token is for one cluster, or for our own API.
fn audience(app: &Inner, fields: &Fields) -> Result<String, Refused> {
    let audience = fields.find("audience").unwrap_or(minting::API_AUDIENCE);
    let clusters = app.parts.clusters.borrow();
    if audience == minting::API_AUDIENCE || clusters.iter().any(|cluster| cluster.name == audience) {
        return Ok(audience.to_owned());
    }
    Err(Refused::new(
        http::StatusCode::BAD_REQUEST,
        "invalid_target",
        "there is no cluster of that name here (`audience`); `/.well-known/gatescribe` lists them",
    ))
}

async fn by_code(app: &App, caller: &Caller, fields: &Fields) -> Result<(Session, Secret), Refused> {
    if fields.find("client_id") != Some(CLI_CLIENT) {
        return Err(Refused::new(
            http::StatusCode::BAD_REQUEST,
            "invalid_client",
            "client_id must be gatescribe-cli",
        ));
    }
    let code = Secret::presented(
        fields
            .find("code")
            .ok_or_else(|| Refused::request("code is required"))?,
    );
    let now = app.now();
    let (id, payload) = match app.store(move |store| store.redeem_code(&code, now)).await? {
        RedeemedCode::First { session, payload } => (session, payload),
        RedeemedCode::Again { session, ended } => {
            if ended {
                end_event(app, caller, &session, What::CodeReused, EndReason::CodeReused).await;
            }
            return Err(wrong(
                app,
                caller,
                "this code was used before, so the session it led to has ended",
            )
            .await);
        }
        RedeemedCode::Expired => return Err(wrong(app, caller, "this code has expired").await),
        RedeemedCode::Unknown => return Err(wrong(app, caller, "this code is not known here").await),
    };
    if !fits(&payload, fields) {
        // The code is out of its owner's hands: what it led to must not stay.
        let end = id.clone();
        app.store(move |store| store.end_session(&end, EndReason::CodeReused, now))
            .await?;
        end_event(app, caller, &id, What::CodeReused, EndReason::CodeReused).await;
        return Err(wrong(app, caller, "code_verifier or redirect_uri do not belong to this code").await);
    }
    first_handle(app, &id).await
}

/// PKCE (RFC 7636 §4.6) and the exact redirect address (RFC 6749 §4.1.3).
fn fits(payload: &[u8], fields: &Fields) -> bool {
    let Ok(expected) = serde_json::from_slice::<CodePayload>(payload) else {
        return false;
    };
    let redirect = fields.find("redirect_uri").and_then(LoopbackRedirect::parse);
    let verifier = fields
        .find("code_verifier")
        .filter(|verifier| (43..=128).contains(&verifier.len()));
    let challenge =
        verifier.map(|verifier| URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()).as_ref()));
    redirect.as_ref() == Some(&expected.redirect)
        && challenge.is_some_and(|own| verify_slices_are_equal(own.as_bytes(), expected.challenge.as_bytes()).is_ok())
}

async fn by_device(app: &App, caller: &Caller, fields: &Fields) -> Result<(Session, Secret), Refused> {
    let code = fields
        .find("device_code")
        .ok_or_else(|| Refused::request("device_code is required"))?;
    let (code, now) = (Secret::presented(code), app.now());
    let pending = |error, description: &str| Refused::new(http::StatusCode::BAD_REQUEST, error, description);
    match app.store(move |store| store.poll_device(&code, now)).await? {
        DevicePoll::Approved(session) => first_handle(app, &session).await,
        DevicePoll::Pending => Err(pending("authorization_pending", "nobody has answered yet; ask again")),
        DevicePoll::SlowDown(interval) => {
            let mut refused = pending("slow_down", "asked too soon; wait longer between requests");
            refused.more = Some(("interval", json!(interval.as_secs())));
            Err(refused)
        }
        DevicePoll::Denied => Err(pending("access_denied", "the person said no")),
        DevicePoll::Expired => Err(pending("expired_token", "nobody answered in time; start again")),
        DevicePoll::Unknown => Err(wrong(app, caller, "this device code is not known here").await),
    }
}

async fn by_handle(app: &App, caller: &Caller, fields: &Fields) -> Result<(Session, Secret), Refused> {
    let handle = fields
        .find("refresh_token")
        .ok_or_else(|| Refused::request("refresh_token is required"))?;
    let handle = Secret::presented(handle);
    let key = fields.find("request_id").map(Secret::presented);
    let session = look(app, caller, &handle, key.as_ref()).await?;
    app.limiter
        .take(Act::Renewal, session.subject_id.as_str(), app.now())
        .map_err(|wait| Refused::too_many_of_yours(&session.subject_id, wait))?;
    match renew_if_due(app, Some(caller), &session).await {
        Renewed::Current | Renewed::OldWordCounts => {}
        Renewed::Ended => {
            return Err(Refused::grant(format!(
                "the provider no longer vouches for you; {SIGN_IN_AGAIN}"
            )));
        }
        Renewed::Silent(why) => return Err(Refused::unavailable(why)),
    }
    let now = app.now();
    let exchanged = app
        .store(move |store| {
            let exchange = Exchange {
                handle: &handle,
                request_key: key.as_ref(),
            };
            store.exchange(&exchange, now)
        })
        .await?;
    judged(app, caller, exchanged).await
}

async fn look(app: &App, caller: &Caller, handle: &Secret, key: Option<&Secret>) -> Result<Session, Refused> {
    let (handle, key, now) = (handle.clone(), key.cloned(), app.now());
    let looked = app
        .store(move |store| {
            let exchange = Exchange {
                handle: &handle,
                request_key: key.as_ref(),
            };
            store.inspect_handle(&exchange, now)
        })
        .await?;
    judged(app, caller, looked).await.map(|(session, _)| session)
}

async fn judged(app: &App, caller: &Caller, exchanged: Exchanged) -> Result<(Session, Secret), Refused> {
    match exchanged {
        Exchanged::Good { session, handle } => Ok((*session, handle)),
        Exchanged::Reused(session) => {
            let event = SessionEvent::new(What::HandleReused, app.now(), Some(caller)).about(&session);
            app.record_after(event.because(EndReason::HandleReused.name(), None))
                .await;
            let why = "this handle was used before; somebody else may hold it, so the session has ended";
            Err(Refused::grant(format!("{why}; {SIGN_IN_AGAIN}")))
        }
        Exchanged::Ended(session, why) => {
            let event = SessionEvent::new(What::CredentialRefused, app.now(), Some(caller)).about(&session);
            let mut refused = Refused::grant(format!("the session has ended ({}); {SIGN_IN_AGAIN}", in_words(why)));
            // However often it comes, its holder is told the truth; only the records have an end.
            if app
                .wrong_credential(caller, event.because(why.name(), None))
                .await
                .is_err()
            {
                refused.tally = Some(Box::new(Tally::Counted(None)));
            }
            Err(refused)
        }
        Exchanged::Unknown => Err(wrong(app, caller, "this handle is not known here").await),
    }
}

async fn first_handle(app: &App, id: &SessionId) -> Result<(Session, Secret), Refused> {
    let (id, now) = (id.clone(), app.now());
    let given = app
        .store(move |store| {
            let handle = store.first_handle(&id, now)?;
            Ok(handle.zip(store.session(&id, now)?))
        })
        .await?;
    given
        .map(|(handle, session)| (session, handle))
        .ok_or_else(|| Refused::grant(format!("the session has ended; {SIGN_IN_AGAIN}")))
}

/// A credential that is none: counted against its source and written down.
async fn wrong(app: &App, caller: &Caller, why: &str) -> Refused {
    let event = SessionEvent::new(What::CredentialRefused, app.now(), Some(caller));
    let event = event.because("unknown_credential", why.to_owned());
    match app.wrong_credential(caller, event).await {
        Ok(()) => Refused::grant(format!("{why}; {SIGN_IN_AGAIN}")),
        Err(wait) => Refused::too_often(wait),
    }
}

async fn end_event(app: &App, caller: &Caller, id: &SessionId, what: What, why: EndReason) {
    let (wanted, now) = (id.clone(), app.now());
    let found: Result<Option<Session>, Unavailable> = app.store(move |store| store.session(&wanted, now)).await;
    let mut event = SessionEvent::new(what, now, Some(caller)).because(why.name(), None);
    event.session = Some(id.clone());
    if let Ok(Some(session)) = found {
        event = event.about(&session);
    }
    app.record_after(event).await;
}

pub(crate) const fn in_words(why: EndReason) -> &'static str {
    match why {
        EndReason::SignedOut => "you signed out",
        EndReason::Idle => "it was not used for too long",
        EndReason::TooOld => "it reached its greatest age",
        EndReason::HandleReused => "an old handle was used again",
        EndReason::CodeReused => "a one-time code was used wrongly",
        EndReason::ProviderRefused => "the provider no longer vouches for you",
        EndReason::ProviderLogout => "you signed out at the provider",
        EndReason::Locked => "an administrator has locked this account",
        EndReason::Replaced => "you began newer sessions",
        EndReason::NotRecorded => "it could not be recorded",
    }
}
