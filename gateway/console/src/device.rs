//! Signing in from a terminal without a browser (RFC 8628). The person types the code first, then signs in, then reads
//! who asks, and only then says yes: nobody is signed in on a stranger's machine by following a link.

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;
use state::{ClientKind, Device, EndReason, NewDevice, Secret, user_code_form};

use crate::answer::{Refused, too_often_page, unavailable_page};
use crate::app::{App, Unavailable};
use crate::caller::Caller;
use crate::cookie::Cookie;
use crate::form::{Fields, with_query};
use crate::limit::Act;
use crate::page::{Mood, Page};
use crate::record::{SessionEvent, What, Who};
use crate::signin::{Begun, CLI_CLIENT, Vouched, begin_recorded, leave_for_device, locked_page};
use crate::token::{Posted, fields};

/// `POST /device_authorization`: a terminal asks for a code.
pub(crate) async fn authorization(State(app): State<App>, caller: Caller, posted: Posted) -> Result<Response, Refused> {
    let fields = fields(posted)?;
    if fields.find("client_id") != Some(CLI_CLIENT) {
        return Err(Refused::new(
            StatusCode::BAD_REQUEST,
            "invalid_client",
            "client_id must be gatescribe-cli",
        ));
    }
    let (source, now, lifetimes) = (caller.source(), app.now(), app.parts.lifetimes);
    app.limiter
        .take(Act::Device, &source, now)
        .map_err(Refused::too_often)?;
    let asked_by: String = fields
        .find("device_name")
        .unwrap_or("not named")
        .chars()
        .take(100)
        .collect();
    let (device, user_code) = app
        .store(move |store| {
            let new = NewDevice {
                source: &source,
                asked_by: &asked_by,
                interval: lifetimes.device_interval,
                expires_at: now.plus(lifetimes.device),
            };
            store.begin_device(&new, now)
        })
        .await?;
    let uri = app.parts.url.at("/device");
    Ok(axum::Json(json!({
        "device_code": device.reveal(),
        "user_code": user_code,
        "verification_uri": uri,
        "verification_uri_complete": with_query(&uri, &[("user_code", &user_code)]),
        "expires_in": lifetimes.device.as_secs(),
        "interval": lifetimes.device_interval.as_secs(),
    }))
    .into_response())
}

/// `GET /device`: where the code is typed. A code in the address is only filled in; the person still sends it.
pub(crate) async fn page(State(app): State<App>, Query(pairs): Query<Vec<(String, String)>>) -> Response {
    let fields = Fields::read(pairs).unwrap_or_default();
    let typed = fields.find("user_code").and_then(user_code_form).unwrap_or_default();
    code_page(&app, &typed, &kept(&fields), None).into_response()
}

/// `POST /device`: the code was typed.
pub(crate) async fn entered(State(app): State<App>, caller: Caller, posted: Posted) -> Response {
    let (source, now) = (caller.source(), app.now());
    // Looked at before the code is: so short a code could be guessed, and a right guess must not be told from a wrong one.
    if let Err(wait) = app.limiter.may(Act::WrongUserCode, &source, now) {
        return too_often_page(wait).into_response();
    }
    if !caller.is_own_page(app.parts.url.as_str()) {
        return foreign_page().into_response();
    }
    let Ok(fields) = fields(posted) else {
        return code_page(&app, "", &[], Some("That was no code.")).into_response();
    };
    let typed = fields.find("user_code").and_then(user_code_form);
    let wanted = typed.clone().unwrap_or_default();
    let found = match app.store(move |store| store.waiting_device(&wanted, now)).await {
        Ok(found) => found,
        Err(Unavailable) => return unavailable_page().into_response(),
    };
    let (Some(user_code), Some(_)) = (typed, found) else {
        // The verdict on the next one is `may`'s; this one is refused anyway.
        let _ = app.limiter.take(Act::WrongUserCode, &source, now);
        let event = SessionEvent::new(What::CredentialRefused, now, Some(&caller));
        app.record_after(event.because("unknown_user_code", None)).await;
        return code_page(
            &app,
            "",
            &kept(&fields),
            Some("No device waits for that code. Codes are good for a few minutes."),
        )
        .into_response();
    };
    leave_for_device(&app, &caller, user_code, &fields).await
}

/// What the terminal wished for beside the code; the page passes it on.
fn kept(fields: &Fields) -> Vec<(&'static str, &str)> {
    let found = |name| fields.find(name).map(|value| (name, value));
    ["provider", "prompt", "max_age", "acr_values"]
        .into_iter()
        .filter_map(found)
        .collect()
}

/// After the sign-in: the question. Its form carries a ticket; ticket and browser cookie together find it again.
pub(crate) async fn ask(
    app: &App,
    caller: &Caller,
    user_code: &str,
    vouched: &Vouched,
) -> Result<Response, Unavailable> {
    let ticket = Secret::random().map_err(|_| Unavailable)?;
    let Some(holder) = holder(app, caller, ticket.reveal()) else {
        return Ok(gone().into_response());
    };
    let pending = serde_json::to_vec(vouched).map_err(|_| Unavailable)?;
    let (typed, now) = (user_code.to_owned(), app.now());
    let device = app
        .store(move |store| {
            let device = store.waiting_device(&typed, now)?;
            let asked = store.ask_device(&typed, &holder, &pending, now)?;
            Ok(device.map(|device| (device, asked)))
        })
        .await?;
    Ok(match device {
        Some((device, true)) => question(vouched, &device, &ticket).into_response(),
        _ => gone().into_response(),
    })
}

/// `POST /device/answer`: yes or no.
pub(crate) async fn answered(State(app): State<App>, caller: Caller, posted: Posted) -> Response {
    if !caller.is_own_page(app.parts.url.as_str()) {
        return foreign_page().into_response();
    }
    let Ok(fields) = fields(posted) else {
        return gone().into_response();
    };
    let Some(holder) = fields.find("ticket").and_then(|ticket| holder(&app, &caller, ticket)) else {
        return gone().into_response();
    };
    let said_yes = fields.find("answer") == Some("yes");
    let result = decide(&app, &caller, &holder, said_yes).await;
    result.unwrap_or_else(|Unavailable| unavailable_page().into_response())
}

async fn decide(app: &App, caller: &Caller, holder: &Secret, said_yes: bool) -> Result<Response, Unavailable> {
    let (wanted, now) = (holder.clone(), app.now());
    let Some((device, pending)) = app.store(move |store| store.take_device_question(&wanted, now)).await? else {
        return Ok(gone().into_response());
    };
    let vouched: Vouched = serde_json::from_slice(&pending).map_err(|_| Unavailable)?;
    if !said_yes {
        return deny(app, caller, holder, &vouched, &device).await;
    }
    let session = match begin_recorded(app, caller, &vouched, ClientKind::Device).await? {
        Begun::Session { session, .. } => session,
        Begun::Locked { why } => return Ok(locked_page(&why).into_response()),
    };
    let event = SessionEvent::new(What::DeviceApproved, now, Some(caller)).about(&session);
    let recorded = app.record(event.because("approved", described(&device))).await;
    let (wanted, id) = (holder.clone(), session.id.clone());
    let given = app
        .store(move |store| match recorded {
            Ok(()) if store.answer_device(&wanted, Some(&id), now)? => Ok(Ok(true)),
            recorded => {
                store.end_session(&id, EndReason::NotRecorded, now)?;
                Ok(recorded.map(|()| false))
            }
        })
        .await??;
    Ok(if given {
        approved(&vouched).into_response()
    } else {
        gone().into_response()
    })
}

async fn deny(
    app: &App,
    caller: &Caller,
    holder: &Secret,
    vouched: &Vouched,
    device: &Device,
) -> Result<Response, Unavailable> {
    let (wanted, now) = (holder.clone(), app.now());
    app.store(move |store| store.answer_device(&wanted, None, now)).await?;
    let mut event = SessionEvent::new(What::DeviceDenied, now, Some(caller))
        .because("denied", described(device))
        .at_provider(&vouched.provider);
    event.who = Some(Who {
        subject_id: vouched.subject_id.clone(),
        identity: vouched.identity.clone(),
        auth_time: vouched.auth_time,
        acr: vouched.acr.clone(),
    });
    app.record_after(event).await;
    Ok(Page::new(StatusCode::OK, Mood::Plain, "The device was refused")
        .text("It is not signed in. You can close this page.")
        .small(
            "If you did not start a sign-in yourself, tell the administrator: somebody tried to get in with your help.",
        )
        .into_response())
}

/// Ticket and browser together: neither alone answers the question (a page elsewhere knows neither).
fn holder(app: &App, caller: &Caller, ticket: &str) -> Option<Secret> {
    let browser = caller.cookies.find(Cookie::Browser, app.parts.url.is_secure())?;
    Some(Secret::presented(&format!("{ticket}.{}", browser.reveal())))
}

/// For the record: a stranger chose the name, so that it stands there only when it looks like one of a machine.
fn described(device: &Device) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" .-_@()".contains(&byte);
    let name = device.asked_by.as_str();
    match name.len() <= 64 && name.bytes().all(plain) && name.split(' ').all(|word| word.len() <= 32) {
        true => format!("device at {} calls itself `{name}`", device.source),
        false => format!("device at {} calls itself something that is no name", device.source),
    }
}

fn code_page(app: &App, typed: &str, kept: &[(&str, &str)], wrong: Option<&str>) -> Page {
    let (status, mood) = match wrong {
        Some(_) => (StatusCode::BAD_REQUEST, Mood::Bad),
        None => (StatusCode::OK, Mood::Plain),
    };
    let page = Page::new(status, mood, "Sign in on a device")
        .text(wrong.unwrap_or("Type the code that your terminal shows."))
        .user_code_form(typed, kept)
        .small("Go on only if you started this yourself. Nobody who is honest sends you a code.");
    page.leads_to(app.parts.issuers.providers().iter().map(|provider| provider.origin()))
}

fn question(vouched: &Vouched, device: &Device, ticket: &Secret) -> Page {
    Page::new(StatusCode::OK, Mood::Plain, "Sign this device in?")
        .text(&format!(
            "It will act as {} until you sign it out.",
            vouched.identity.username
        ))
        .facts(&[
            ("You", &vouched.identity.username),
            ("It calls from", &device.source),
            ("It calls itself", &device.asked_by),
            ("It asked at", &device.created_at.to_string()),
        ])
        .buttons(
            "/device/answer",
            ("ticket", ticket.reveal()),
            &[("yes", "Yes, sign it in"), ("no", "No")],
        )
        .small("Say no if you did not start this yourself.")
}

fn approved(vouched: &Vouched) -> Page {
    Page::new(StatusCode::OK, Mood::Good, "The device is signed in")
        .text(&format!(
            "It acts as {}. You can close this page and go back to the terminal.",
            vouched.identity.username
        ))
        .small("Not you? Type `gatescribe logout` on that device.")
}

fn gone() -> Page {
    Page::error(
        StatusCode::BAD_REQUEST,
        "The device no longer waits",
        "Its code has expired, was answered already, or belongs to another browser.",
        "Start again on the device.",
    )
}

fn foreign_page() -> Page {
    Page::error(
        StatusCode::FORBIDDEN,
        "This came from another page",
        "The form was not sent by a page of this gateway.",
        "Open /device yourself and type the code there.",
    )
}
