//! Legal holds: while one stands, nothing that it covers is erased.
//!
//! - `POST /api/v1/holds {"who"|"recording": …, "from": …, "to": …, "reason": …}` → `{id, of}`
//! - `POST /api/v1/holds/{id}/release {"reason": …}` → `{released}`
//! - `GET /api/v1/holds` → `{holds: […]}`, newest first
//!
//! One member of an audit group sets one, and another releases it who is not the one it is on
//! ([`Hold::may_be_released_by`](model::erasure::Hold::may_be_released_by)). To erase what was held takes two all the same. Each step is
//! recorded, and so is a refusal to release.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::erasure::Hold;
use model::time::Timestamp;
use serde::Deserialize;
use serde_json::json;
use state::Store;

use super::{ErasureAct, actor, auditor, conflict, may_decide, note, stored, whose};
use crate::answer::Refused;
use crate::api::Api;
use crate::api::read::AuditAct;
use crate::api::records::count;
use crate::caller::Caller;
use crate::reason::readable;
use crate::whole::whole;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Held {
    #[serde(default)]
    who: Option<String>,
    #[serde(default)]
    recording: Option<String>,
    #[serde(default)]
    from: Option<Timestamp>,
    #[serde(default)]
    to: Option<Timestamp>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Released {
    reason: String,
}

/// Sets one. It is in force before its record: whatever comes in between, too much is held rather than too little.
pub(in crate::api) async fn create(
    State(api): State<Api>,
    caller: Caller,
    asked: Result<Json<Held>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let why = readable(&asked.reason)?;
    if asked.recording.is_some() && (asked.from.is_some() || asked.to.is_some()) {
        return Err(Refused::request("`recording` goes with nothing else but a reason"));
    }
    let mut of = whose(&api, &asker, (asked.who.as_deref(), asked.recording.as_deref())).await?;
    (of.from, of.to) = (asked.from, asked.to);
    let hold = Hold {
        id: api.parts.erases.id(),
        of,
        by: asker.session.identity.username.clone(),
        actor: Some(actor(&asker)),
        why,
        at: api.now(),
    };
    whole(async move {
        let _alone = api.erasing.lock().await;
        let (told, kept) = (json!({"id": hold.id, "of": hold.of}), hold.clone());
        stored(&api, move |store| store.hold(&kept)).await?;
        let recorded = note(&api, &asker, &hold.id, ErasureAct::Held(hold.clone())).await;
        if let Err(refused) = recorded {
            // A record that is there all the same has the hold again at the next start.
            stored(&api, move |store| store.release(&hold.id)).await?;
            return Err(refused);
        }
        Ok(Json(told).into_response())
    })
    .await
}

/// Those that stand.
pub(in crate::api) async fn list(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let holds = stored(&api, Store::holds).await?;
    api.record(asker.reads(&api, AuditAct::ListedHolds, "", count(holds.len())))
        .await?;
    Ok(Json(json!({"holds": holds})).into_response())
}

/// Ends one. The record comes first: until it is durable the hold is in force.
pub(in crate::api) async fn release(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    asked: Result<Json<Released>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let why = readable(&asked.reason)?;
    whole(async move {
        let _alone = api.erasing.lock().await;
        let holds = stored(&api, Store::holds).await?;
        let Some(hold) = holds.into_iter().find(|hold| hold.id == id) else {
            let why = format!("there is no hold `{id}`");
            return Err(Refused::new(StatusCode::NOT_FOUND, "no_such_hold", why));
        };
        let whoever = actor(&asker);
        let judged = hold
            .may_be_released_by(&whoever)
            .and(may_decide(&api, &whoever, &hold.of).await?);
        if let Err(why) = judged {
            let act = ErasureAct::NotReleased {
                hold,
                why: why.to_owned(),
            };
            note(&api, &asker, &api.parts.erases.id(), act).await?;
            return Err(conflict("not_released", why));
        }
        let told = json!({"released": hold.id, "of": hold.of});
        note(&api, &asker, &api.parts.erases.id(), ErasureAct::Released { hold, why }).await?;
        stored(&api, move |store| store.release(&id)).await?;
        Ok(Json(told).into_response())
    })
    .await
}
