//! Token exchange (RFC 8693) on `POST /token`: a service that acts for the person who called it hands back what was asserted to it,
//! with its own proof, and gets an assertion for the service that it is about to call.
//!
//! Both are demanded: the assertion alone is worth nothing to whoever finds it, the proof alone says nothing of a person. What is
//! given ends with what was handed back and with the sign-in, names each workload, and grants nothing: the service that it is for
//! decides by it. As no call made with it need pass the gateway, the rules are asked for all of them at once.
//!
//! Errors are those of RFC 8693 §2.2.2 (`invalid_request`, `invalid_target`), each with a stable `reason` beside its words.
//! Invariant: nothing is given that is not recorded, and every refusal after both proofs is a record of its own.

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::service::ServiceName;
use model::subject::{Subject, SubjectKind, SubjectParts};
use model::time::Timestamp;
use oidc::gateway::assertion::{
    AssertedGroups, AssertedIdentity, AssertionClaims, AssertionError, AssertionMintError, Chain, VerifiedAssertion,
    addressee,
};
use secrecy::ExposeSecret as _;
use serde_json::json;
use state::{Session, SessionId, Standing};

use crate::answer::Refused;
use crate::app::App;
use crate::caller::Caller;
use crate::form::Fields;
use crate::limit::Act;
use crate::minting::random_id;
use crate::record::{SessionEvent, What};
use crate::token::in_words;
use crate::workloads::{ActsFor, Leave, NoLeave, NotProved};

pub(crate) const EXCHANGE_GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// RFC 8693 §3: what goes in is a JWT and what comes out is one; neither is an access token of ours.
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

pub(crate) async fn exchange(app: &App, caller: &Caller, fields: &Fields) -> Result<Response, Refused> {
    let asked = Asked::read(fields)?;
    let shown = shown(app, caller, &asked).await?;
    let workload = prove(app, caller, &asked).await?;
    app.limiter
        .take(Act::Exchange, workload.id().as_str(), app.now())
        .map_err(|wait| Refused::too_many_of_yours(workload.id(), wait))?;
    let chain = shown.acting(workload.id().clone(), workload.username());
    let through = chain.as_ref().unwrap_or(&shown.claims().chain);
    let session = session(app, caller, &shown, through).await?;
    let told = Told {
        session: &session,
        through,
        to: &asked.to,
    };
    let service = &shown.claims().audience;
    let name = workload.username();
    if !app.parts.workloads.is_service(&workload, service) {
        let why = format!(
            "the assertion is for the service `{service}`, and {name} is none of its `workloads`: a service acts by what it was sent itself"
        );
        let told = Told {
            through: &shown.claims().chain,
            ..told
        };
        return Err(told
            .refused(app, caller, ("assertion_audience", "invalid_request", why))
            .await);
    }
    if let Err(fault) = &chain {
        let error = AssertionError::from(fault.clone());
        let why = format!("{name} cannot act: {error}");
        return Err(told.refused(app, caller, (error.code(), "invalid_request", why)).await);
    }
    let acts = Acts {
        workload: &workload,
        shown: &shown,
        told,
    };
    acts.hand_over(app, caller).await
}

/// The parameters of RFC 8693 §2.1, as far as they mean something here. None is ignored.
struct Asked<'f> {
    subject_token: &'f str,
    actor_token: &'f str,
    to: ServiceName,
}

impl<'f> Asked<'f> {
    fn read(fields: &'f Fields) -> Result<Self, Refused> {
        let needed = |name: &str| {
            fields
                .find(name)
                .ok_or_else(|| Refused::request(format!("{name} is required")))
        };
        let read = Self {
            subject_token: needed("subject_token")?,
            actor_token: needed("actor_token")?,
            to: target(fields)?,
        };
        for name in ["subject_token_type", "actor_token_type"] {
            if needed(name)? != JWT {
                return Err(Refused::request(format!("{name} must be {JWT}")));
            }
        }
        if fields.find("requested_token_type").is_some_and(|wanted| wanted != JWT) {
            return Err(Refused::request(format!(
                "requested_token_type must be {JWT}, or be left out"
            )));
        }
        if fields.find("scope").is_some() {
            let why = "an assertion has no scope: leave it out";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "invalid_scope", why));
        }
        Ok(read)
    }
}

fn target(fields: &Fields) -> Result<ServiceName, Refused> {
    let wrong = |why: &str| Refused::new(StatusCode::BAD_REQUEST, "invalid_target", why);
    if fields.find("resource").is_some() {
        return Err(wrong("a target is named by `audience`; leave `resource` out"));
    }
    let audience = fields
        .find("audience")
        .ok_or_else(|| Refused::request("audience is required"))?;
    let name = audience.strip_prefix("service:").ok_or_else(|| {
        wrong(
            "audience is `service:NAME`: a cluster takes no assertion by itself; call it through the gateway with the assertion that you have",
        )
    })?;
    ServiceName::new(name).map_err(|error| wrong(&error.to_string()))
}

/// The assertion, verified. For whom it is says the assertion; whether it is presented by that one is asked once it is proved who
/// presents it.
async fn shown(app: &App, caller: &Caller, asked: &Asked<'_>) -> Result<VerifiedAssertion, Refused> {
    let verifier = app.parts.keys.assertion_verifier();
    // One that names no service is not for the target either; why it is none is for the verifier to say.
    let service = addressee(asked.subject_token).unwrap_or_else(|| asked.to.clone());
    match verifier.verify(asked.subject_token, &service, app.now()) {
        Ok(shown) => Ok(shown),
        Err(error) => Err(not_counted(app, caller, error.code(), error.to_string()).await),
    }
}

async fn prove(app: &App, caller: &Caller, asked: &Asked<'_>) -> Result<Subject, Refused> {
    let from = caller.peer.as_ref().map(|peer| peer.ip);
    match app.parts.workloads.prove(asked.actor_token, from).await {
        Ok(workload) if matches!(workload.kind(), SubjectKind::ServiceAccount | SubjectKind::Workload) => Ok(workload),
        Ok(_) => {
            let why = "actor_token is no workload's: a service proves itself, and nobody else acts for people";
            Err(not_counted(app, caller, "no_workload", why.to_owned()).await)
        }
        Err(NotProved::Refused(why)) => {
            let why = format!("actor_token proves no workload: {why}");
            Err(not_counted(app, caller, "no_workload", why).await)
        }
        Err(NotProved::Unknown(why)) => Err(Refused::unavailable(format!(
            "actor_token could not be verified: {why}; try again"
        ))),
    }
}

/// The sign-in behind the assertion, which must still stand and be the same person's.
async fn session(app: &App, caller: &Caller, shown: &VerifiedAssertion, chain: &Chain) -> Result<Session, Refused> {
    let claims = shown.claims();
    let now = app.now();
    let found = match SessionId::parse(&claims.session) {
        Some(id) => app.store(move |store| store.session(&id, now)).await?,
        None => None,
    };
    let own =
        |session: &Session| claims.identity.kind == SubjectKind::Person && session.subject_id == claims.identity.id;
    let Some(session) = found.filter(own) else {
        let why = "no sign-in at this gateway stands behind the assertion; only for people who signed in here can one be exchanged";
        return Err(not_counted(app, caller, "no_session", why.to_owned()).await);
    };
    match session.standing {
        Standing::Live => Ok(session),
        Standing::Ended(why) => {
            let event = SessionEvent::new(What::CredentialRefused, now, Some(caller));
            let event = event.about(&session).through(chain).because(why.name(), None);
            let words = format!("the sign-in behind the assertion has ended ({})", in_words(why));
            match app.wrong_credential(caller, event).await {
                Ok(()) => Err(refusal("session_ended", words)),
                Err(wait) => Err(Refused::too_often(wait)),
            }
        }
    }
}

/// Why nothing is given: a stable word, the OAuth error, and words.
type Why = (&'static str, &'static str, String);

/// What a record says of an exchange.
#[derive(Clone, Copy)]
struct Told<'a> {
    session: &'a Session,
    through: &'a Chain,
    to: &'a ServiceName,
}

impl Told<'_> {
    fn event(&self, app: &App, caller: &Caller, what: What) -> SessionEvent {
        let event = SessionEvent::new(what, app.now(), Some(caller));
        event.about(self.session).through(self.through)
    }

    async fn refused(&self, app: &App, caller: &Caller, (reason, error, words): Why) -> Refused {
        let event = self.event(app, caller, What::ExchangeRefused);
        let note = format!("for service {}: {words}", self.to);
        app.record_after(event.because(reason, note)).await;
        Refused {
            error,
            ..refusal(reason, words)
        }
    }
}

/// A workload that acts for somebody, both proved.
struct Acts<'a> {
    workload: &'a Subject,
    shown: &'a VerifiedAssertion,
    told: Told<'a>,
}

impl Acts<'_> {
    async fn hand_over(&self, app: &App, caller: &Caller) -> Result<Response, Refused> {
        let token_id = random_id()?;
        let leave = self.leave(app, caller);
        let made = leave.and_then(|leave| Ok((self.claims(token_id, leave.until)?, leave)));
        let (claims, leave) = match made {
            Ok(made) => made,
            Err(why) => return Err(self.told.refused(app, caller, why).await),
        };
        let now = app.now();
        let signed = match app.parts.keys.assert(&claims, now) {
            Ok(signed) => signed,
            Err(AssertionMintError::Library) => {
                tracing::error!("assertion not signed");
                return Err(Refused::unavailable(
                    "the gateway could not sign an assertion; try again",
                ));
            }
            Err(error) => {
                let why = ("assertion_not_made", "invalid_request", error.to_string());
                return Err(self.told.refused(app, caller, why).await);
            }
        };
        let (to, rules) = (self.told.to, leave.rules.join(", "));
        let mut event = self.told.event(app, caller, What::AssertionExchanged);
        event.note = Some(format!(
            "for service {to} until {}, by {rules}; jti {}",
            signed.expires_at, claims.token_id
        ));
        app.record(event).await?;
        let left = signed.expires_at.unix_seconds().saturating_sub(now.unix_seconds());
        Ok(axum::Json(json!({
            "access_token": signed.token.expose_secret(),
            "issued_token_type": JWT,
            "token_type": "N_A",
            "expires_in": left,
        }))
        .into_response())
    }

    fn leave(&self, app: &App, caller: &Caller) -> Result<Leave, Why> {
        let Told { session, through, to } = self.told;
        let person = person(session).map_err(|error| ("no_person", "invalid_request", error.to_string()))?;
        let acts = ActsFor {
            person: &person,
            workload: self.workload,
            chain: through,
            to,
            from: caller.peer.as_ref().map(|peer| peer.ip),
            signed_in: session.auth_time.map(Timestamp::from_unix_seconds),
            acr: session.acr.as_deref(),
            reason_stated: session.stated_reason.is_some(),
            now: app.now(),
        };
        app.parts.workloads.leave(&acts).map_err(|no| {
            let words = no.to_string();
            match no {
                NoLeave::NoService => ("no_service", "invalid_target", words),
                NoLeave::Locked(_) => ("locked", "invalid_request", words),
                NoLeave::Denied(reason, _) => (reason, "invalid_target", words),
            }
        })
    }

    /// What the next service is told: the person as they are named now, through whom, and no longer than anything that it rests on.
    fn claims(&self, token_id: String, until: Timestamp) -> Result<AssertionClaims, Why> {
        let session = self.told.session;
        let (id, name) = (self.workload.id().clone(), self.workload.username());
        let onward = self.shown.onward(id, name, self.told.to.clone(), token_id);
        let onward = onward.map_err(|fault| {
            let error = AssertionError::from(fault);
            (error.code(), "invalid_target", error.to_string())
        })?;
        let ends = [until, session.absolute_end, session.idle_end];
        let identity = &session.identity;
        Ok(AssertionClaims {
            identity: AssertedIdentity {
                id: session.subject_id.clone(),
                kind: SubjectKind::Person,
                issuer: identity.issuer.clone(),
                subject: identity.subject.clone(),
                username: identity.username.clone(),
                email: identity.email.clone(),
                groups: AssertedGroups::of(&identity.groups),
            },
            auth_time: session.auth_time.map(Timestamp::from_unix_seconds),
            acr: session.acr.clone(),
            ends: ends.into_iter().fold(onward.ends, Timestamp::min),
            ..onward
        })
    }
}

fn person(session: &Session) -> Result<Subject, model::subject::SubjectError> {
    let identity = session.identity.clone();
    Subject::new(SubjectParts {
        id: session.subject_id.clone(),
        kind: SubjectKind::Person,
        issuer: identity.issuer,
        subject: identity.subject,
        username: identity.username,
        uid: identity.uid,
        groups: identity.groups,
        extra: identity.extra,
        email: identity.email,
    })
}

fn refusal(reason: &'static str, words: String) -> Refused {
    let mut refused = Refused::request(words);
    refused.more = Some(("reason", json!(reason)));
    refused
}

/// What proves nobody, or not the one who presents it: counted against its source and written down.
async fn not_counted(app: &App, caller: &Caller, reason: &'static str, words: String) -> Refused {
    let event = SessionEvent::new(What::CredentialRefused, app.now(), Some(caller));
    match app.wrong_credential(caller, event.because(reason, words.clone())).await {
        Ok(()) => refusal(reason, words),
        Err(wait) => Refused::too_often(wait),
    }
}
