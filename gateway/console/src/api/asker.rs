//! Who asks, and whose records they may see.

use std::sync::Arc;

use http::StatusCode;
use search::{Reach, Scope};
use state::{Session, SessionId, Standing};

use super::Inner;
use super::can::Asking;
use super::erasures::{ErasureAct, ErasureEvent};
use super::read::{AuditAct, AuditRead, Whose};
use crate::answer::Refused;
use crate::caller::Caller;
use crate::limit::Act;
use crate::record::{SessionEvent, What, Who};
use crate::token::in_words;

/// A person with a live session.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) session: Session,
    pub(super) scope: Scope,
    caller: Caller,
}

impl Asker {
    /// Verifies the caller's token and looks up the session; so often for each person.
    pub(super) async fn of(api: &Inner, caller: Caller) -> Result<Self, Refused> {
        Self::who_does(Act::Question, api, caller).await
    }

    /// The same for an act with a budget of its own.
    pub(super) async fn who_does(act: Act, api: &Inner, caller: Caller) -> Result<Self, Refused> {
        let session = Self::session_of(api, &caller).await?;
        api.limiter
            .take(act, session.subject_id.as_str(), api.now())
            .map_err(|wait| Refused::too_many_of_yours(&session.subject_id, wait))?;
        let scope = scope(api, &session);
        Ok(Self { session, scope, caller })
    }

    async fn session_of(api: &Inner, caller: &Caller) -> Result<Session, Refused> {
        let token = caller
            .bearer
            .as_ref()
            .ok_or_else(|| unauthorized("a bearer token is required"))?;
        let named = api
            .parts
            .keys
            .session_of(token.reveal(), api.now())
            .map_err(|why| unauthorized(why.to_string()))?;
        let id = SessionId::parse(&named).ok_or_else(|| unauthorized("the token names no session"))?;
        live(api, id).await
    }

    /// The same person as they stand now, for whoever reads on; an error when the session has ended, or when they may see something
    /// else than when they began.
    pub(super) async fn still(&self, api: &Inner) -> Result<Self, Refused> {
        let session = live(api, self.session.id.clone()).await?;
        let scope = scope(api, &session);
        if scope != self.scope {
            let why = "what you may see has changed; begin again";
            return Err(Refused::new(StatusCode::FORBIDDEN, "scope_changed", why));
        }
        Ok(Self {
            session,
            scope,
            caller: self.caller.clone(),
        })
    }

    /// What is recorded of their reading.
    pub(super) fn reads(&self, api: &Inner, act: AuditAct, what: &str, results: u64) -> AuditRead {
        AuditRead {
            at: api.now(),
            act,
            what: what.to_owned(),
            whose: Whose::of(&self.scope),
            results,
            told: None,
            why: None,
            session: self.session.id.clone(),
            who: Who::of(&self.session),
            peer: self.caller.peer.clone(),
            agent: self.caller.agent.clone(),
        }
    }

    /// What is recorded of something that they did.
    pub(super) fn does(&self, api: &Inner, what: What) -> SessionEvent {
        SessionEvent::new(what, api.now(), Some(&self.caller)).about(&self.session)
    }

    /// What is recorded of a step of an erasure.
    pub(super) fn erases(&self, api: &Inner, act: ErasureAct) -> ErasureEvent {
        ErasureEvent {
            act,
            at: api.now(),
            session: self.session.id.clone(),
            who: Who::of(&self.session),
            peer: self.caller.peer.clone(),
            agent: self.caller.agent.clone(),
        }
    }

    pub(super) fn asking(&self) -> Asking {
        Asking {
            session: self.session.id.clone(),
            who: Who::of(&self.session),
            peer: self.caller.peer.clone(),
        }
    }
}

async fn live(api: &Inner, id: SessionId) -> Result<Session, Refused> {
    let (store, now) = (api.parts.store.clone(), api.now());
    let found = tokio::task::spawn_blocking(move || store.session(&id, now)).await;
    let Ok(Ok(found)) = found else {
        tracing::error!("session store failed");
        return Err(Refused::unavailable(
            "the gateway cannot look up your session right now; try again",
        ));
    };
    let session = found.ok_or_else(|| unauthorized("the token's session is not known here"))?;
    match session.standing {
        Standing::Live => Ok(session),
        Standing::Ended(why) => Err(unauthorized(format!("the session has ended: {}", in_words(why)))),
    }
}

fn scope(api: &Inner, session: &Session) -> Scope {
    let groups = &session.identity.groups;
    if api.parts.audit_groups.iter().any(|group| groups.contains(group)) {
        return Scope::All;
    }
    let own = session.subject_id.clone();
    let held = api.parts.audit_roles.iter();
    let held = held.filter(|one| one.groups.iter().any(|group| groups.contains(group)));
    let roles: Vec<_> = held.map(|one| Arc::clone(&one.role)).collect();
    if roles.is_empty() {
        Scope::Own(own)
    } else {
        Scope::Roles(Arc::new(Reach { own, roles }))
    }
}

fn unauthorized(why: impl Into<String>) -> Refused {
    Refused::new(StatusCode::UNAUTHORIZED, "invalid_token", why)
}
