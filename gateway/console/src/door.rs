//! The door of the gateway host: answers to the configured name only, and writes down whom it sends away.
//!
//! Handlers look at what is presented before they refuse anything: who holds a good secret is served however many others
//! behind the same address try wrong ones. What they refuse they mark with a [`Tally`], and here the mark becomes a record
//! (in the strangers' budget) or one more in a summary's count.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use model::subject::SubjectId;

use crate::answer::{Refused, harden};
use crate::app::{App, AtHost, Inner};
use crate::caller::Caller;
use crate::limit::Act;
use crate::record::{SessionEvent, What};

/// What the ledger is to learn of an answer that turned somebody away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tally {
    /// A credential was needed, and what came is none or counts no longer; why, in words.
    WrongCredential(String),
    /// Nothing answers to this name or path; which of the two.
    Stray(&'static str),
    /// Somebody asks too often, a known subject or a stranger: no record of its own, one more in the next summary.
    Counted(Option<SubjectId>),
}

/// In front of every handler: a code or a form must not be accepted under another name (protocol W-02, DNS rebinding).
pub(crate) async fn door(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(caller) = Caller::from_request_parts(&mut head, &()).await;
    let request = Request::from_parts(head, body);
    let response = if is_own_host(&app, &request) {
        next.run(request).await
    } else {
        let url = app.parts.url.as_str();
        let mut refused = Refused::new(
            StatusCode::MISDIRECTED_REQUEST,
            "invalid_request",
            format!("this host is {url}; use that address"),
        );
        refused.tally = Some(Box::new(Tally::Stray("other_host")));
        refused.into_response()
    };
    let response = written_down(&app, &caller, response).await;
    harden(response, app.parts.url.is_secure())
}

/// The same in front of the handlers on hosts of services: which host it is was decided by whoever decides where each request goes, and
/// what was withdrawn meanwhile is no host of ours.
pub(crate) async fn service_door(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(caller) = Caller::from_request_parts(&mut head, &()).await;
    let is_published = head
        .extensions
        .get::<AtHost>()
        .is_some_and(|AtHost(host)| (app.parts.is_published)(host));
    let response = if is_published {
        next.run(Request::from_parts(head, body)).await
    } else {
        let why = "no service is published under this name";
        let mut refused = Refused::new(StatusCode::MISDIRECTED_REQUEST, "invalid_request", why);
        refused.tally = Some(Box::new(Tally::Stray("other_host")));
        refused.into_response()
    };
    let response = written_down(&app, &caller, response).await;
    harden(response, app.parts.url.is_secure())
}

fn is_own_host(app: &Inner, request: &Request) -> bool {
    let url = &app.parts.url;
    let mut lines = request.headers().get_all(header::HOST).iter();
    match (request.uri().authority(), lines.next(), lines.next()) {
        (Some(authority), None, None) => url.is_authority(authority.as_str()),
        (authority, Some(line), None) => {
            line.to_str().is_ok_and(|host| url.is_authority(host))
                && authority.is_none_or(|authority| url.is_authority(authority.as_str()))
        }
        _ => false,
    }
}

/// The path is not recorded: what a stranger puts there may be a secret of somebody.
pub(crate) async fn nothing_here() -> Response {
    let mut refused = Refused::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path; `/.well-known/gatescribe` names what there is",
    );
    refused.tally = Some(Box::new(Tally::Stray("unknown_path")));
    refused.into_response()
}

async fn written_down(app: &Inner, caller: &Caller, mut response: Response) -> Response {
    let Some(tally) = response.extensions_mut().remove::<Tally>() else {
        return response;
    };
    let event = |what| SessionEvent::new(what, app.now(), Some(caller));
    let (act, event) = match tally {
        Tally::WrongCredential(why) => (
            Act::WrongCredential,
            event(What::CredentialRefused).because("invalid_token", why),
        ),
        Tally::Stray(why) => (Act::Stray, event(What::RequestRefused).because(why, None)),
        Tally::Counted(whose) => {
            app.parts.recorder.count(whose.as_ref());
            return response;
        }
    };
    if app.limiter.take(act, &caller.source(), app.now()).is_ok() {
        app.record_after(event).await;
    } else {
        app.parts.recorder.count(None);
    }
    response
}
