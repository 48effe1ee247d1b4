//! Users and locks: members of an audit group lock somebody out, let them in again, and see who is out.
//!
//! - `POST /api/v1/users/lock {"who": …, "reason": …, "seconds": …}` → `{user, subject, until?, sessions, calls}`
//! - `POST /api/v1/users/unlock {"who": …, "reason": …}` → `{unlocked: […]}`; the reason may be left out
//! - `GET /api/v1/users/locks` → `{locks: […]}`, newest first
//!
//! `who` is a Kubernetes user name, an e-mail address or a subject id; a name that is several people's is refused.
//!
//! Invariants:
//! - A lock and its end are recorded before they take effect, with who, whom and why; what was recorded takes effect, also when
//!   whoever asked for it has gone.
//! - When the answer comes, the request path refuses, or admits again.
//! - Nobody locks out themselves.

pub(super) mod find;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::lock::Lock;
use model::time::Timestamp;
use search::Scope;
use serde::Deserialize;
use serde_json::json;
use state::{Locking, StateError, Store};

use super::Api;
use super::asker::Asker;
use super::read::AuditAct;
use super::records::count;
use crate::answer::Refused;
use crate::caller::Caller;
use crate::named;
use crate::reason::readable;
use crate::record::What;
use crate::whole::whole;

/// How long a lock that ends by itself lasts, in seconds: a minute to a year.
const SECONDS: std::ops::RangeInclusive<u64> = 60..=366 * 86_400;

/// What makes the request path see the locks that stand in the store.
pub trait LocksInForce: Send + Sync {
    /// Puts them in force, and ends what goes on of whoever is locked out: so many calls. Blocks.
    ///
    /// # Errors
    /// The store does not answer.
    fn refresh(&self) -> Result<usize, StateError>;
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Locked {
    who: String,
    reason: String,
    #[serde(default)]
    seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unlocked {
    who: String,
    #[serde(default)]
    reason: Option<String>,
}

/// Locks somebody out.
pub(super) async fn lock(
    State(api): State<Api>,
    caller: Caller,
    asked: Result<Json<Locked>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let why = readable(&asked.reason)?;
    let at = api.now();
    let until = until(asked.seconds, at)?;
    let person = find::one(&api, &asker, &asked.who, AuditAct::LookedForUser).await?;
    if person.is(&asker) {
        return Err(yourself());
    }
    let by = asker.session.identity.username.clone();
    let lock = person.locked(until, why, by, at);
    if let Some(longer) = longer(&api, &lock).await? {
        return Err(already(&longer));
    }
    whole(async move { lock_out(&api, &asker, lock).await }).await
}

/// The record, then the lock.
async fn lock_out(api: &Api, asker: &Asker, lock: Lock) -> Result<Response, Refused> {
    note(api, asker, What::UserLocked, sentence(&lock)).await?;
    let (user, subject, until) = (lock.user.clone(), lock.subject.clone(), lock.until);
    let ended = match stored(api, move |store| store.lock(&lock)).await? {
        Locking::Done(ended) => ended.len(),
        Locking::Longer(longer) => return Err(already(&longer)),
    };
    let calls = in_force(api).await?;
    let until = (until < Timestamp::MAX).then_some(until);
    Ok(
        Json(json!({"user": user, "subject": subject, "until": until, "sessions": ended, "calls": calls}))
            .into_response(),
    )
}

/// Lets somebody in again: lifts every lock on whoever has that name.
pub(super) async fn unlock(
    State(api): State<Api>,
    caller: Caller,
    asked: Result<Json<Unlocked>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let why = asked.reason.as_deref().map(readable).transpose()?;
    let now = api.now();
    let locks = stored(&api, move |store| store.locks(now)).await?;
    let lifted = find::locked(&locks, &asked.who)?;
    whole(async move { let_in(&api, &asker, lifted, why).await }).await
}

/// The record, then the end of the lock, one after the other.
async fn let_in(api: &Api, asker: &Asker, lifted: Vec<Lock>, why: Option<String>) -> Result<Response, Refused> {
    for lock in &lifted {
        let said = format!("unlocked {} ({}); it was {}", lock.user, lock.subject, lock.in_words());
        let said = why.iter().fold(said, |said, why| format!("{said}; now: {why}"));
        note(api, asker, What::UserUnlocked, said).await?;
        let subject = lock.subject.clone();
        stored(api, move |store| store.unlock(&subject)).await?;
    }
    in_force(api).await?;
    Ok(Json(json!({"unlocked": lifted})).into_response())
}

/// Who is locked out now.
pub(super) async fn list(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let now = api.now();
    let locks = stored(&api, move |store| store.locks(now)).await?;
    api.record(asker.reads(&api, AuditAct::ListedLocks, "", count(locks.len())))
        .await?;
    Ok(Json(json!({"locks": locks})).into_response())
}

async fn auditor(api: &Api, caller: Caller) -> Result<Asker, Refused> {
    let asker = Asker::of(api, caller).await?;
    match asker.scope {
        Scope::All => Ok(asker),
        Scope::Own(_) | Scope::Roles(_) => Err(Refused::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "only members of the groups in `identity.auditGroups` lock users, unlock them and see who is locked",
        )),
    }
}

/// In whole seconds, as people read it.
fn until(seconds: Option<u64>, now: Timestamp) -> Result<Timestamp, Refused> {
    match seconds {
        None => Ok(Timestamp::MAX),
        Some(seconds) if SECONDS.contains(&seconds) => Ok(Timestamp::from_unix_seconds(
            now.plus(Duration::from_secs(seconds)).unix_seconds(),
        )),
        Some(_) => Err(Refused::request(
            "a lock that ends by itself lasts 1 minute to 366 days",
        )),
    }
}

/// Who, whom, until when and why: the record says who by itself.
fn sentence(lock: &Lock) -> String {
    let Lock {
        user,
        subject,
        until,
        why,
        ..
    } = lock;
    if *until == Timestamp::MAX {
        format!("locked {user} ({subject}): {why}")
    } else {
        format!("locked {user} ({subject}) until {until}: {why}")
    }
}

async fn note(api: &Api, asker: &Asker, what: What, said: String) -> Result<(), Refused> {
    let mut event = asker.does(api, what);
    event.note = Some(said);
    let written = api.parts.events.record(event).await.map_err(|error| {
        tracing::error!(error = %error, "a lock or its end was not recorded");
        Refused::unavailable("it could not be recorded, so nothing has changed; try again")
    })?;
    written.into_iter().for_each(named::by);
    Ok(())
}

/// A lock on the same subject that this one would shorten.
async fn longer(api: &Api, lock: &Lock) -> Result<Option<Lock>, Refused> {
    let (subject, now) = (lock.subject.clone(), lock.at);
    let known = stored(api, move |store| store.locks(now)).await?;
    Ok(known
        .into_iter()
        .find(|known| known.subject == subject && known.until > lock.until))
}

fn already(longer: &Lock) -> Refused {
    let words = longer.in_words();
    Refused::new(
        StatusCode::CONFLICT,
        "locked_for_longer",
        format!("{words}; that lock ends later and stays: unlock first, then lock anew"),
    )
}

fn yourself() -> Refused {
    Refused::new(
        StatusCode::CONFLICT,
        "yourself",
        "that is you, and whoever is locked out cannot unlock anybody: another member of the audit groups can lock you out",
    )
}

async fn stored<T: Send + 'static>(
    api: &Api,
    work: impl FnOnce(&Store) -> Result<T, StateError> + Send + 'static,
) -> Result<T, Refused> {
    let store = Arc::clone(&api.parts.store);
    let done = tokio::task::spawn_blocking(move || work(&store)).await;
    done.map_err(|_| failed("the store's thread broke"))?
        .map_err(|error| match error {
            full @ StateError::Full { .. } => Refused::new(
                StatusCode::CONFLICT,
                "too_many_locks",
                format!("{full}; unlock somebody first"),
            ),
            error => failed(&error),
        })
}

async fn in_force(api: &Api) -> Result<usize, Refused> {
    let locks = Arc::clone(&api.parts.locks);
    let done = tokio::task::spawn_blocking(move || locks.refresh()).await;
    done.map_err(|_| failed("the thread broke"))?
        .map_err(|error| failed(&error))
}

fn failed(error: impl std::fmt::Display) -> Refused {
    tracing::error!(error = %error, "locks cannot be read or written");
    Refused::unavailable(
        "the gateway's store did not answer; look at who is locked (GET /api/v1/users/locks), then try again",
    )
}

#[cfg(test)]
pub(super) mod tests;
