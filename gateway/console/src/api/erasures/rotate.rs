//! New keys for parts: what comes is sealed under them, what was sealed stays readable under the old ones, and can be erased with them.
//!
//! - `POST /api/v1/part-keys/rotate {"who": …, "reason": …}` → `{keys}`; without `who`, of everybody
//!
//! Recordings have a key each already.

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::json;

use super::{auditor, stored};
use crate::answer::Refused;
use crate::api::Api;
use crate::api::read::AuditAct;
use crate::api::users::find;
use crate::caller::Caller;
use crate::named;
use crate::reason::readable;
use crate::record::What;
use crate::whole::whole;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Rotated {
    #[serde(default)]
    who: Option<String>,
    reason: String,
}

/// Takes keys of parts out of use. The record comes first.
pub(in crate::api) async fn rotate(
    State(api): State<Api>,
    caller: Caller,
    asked: Result<Json<Rotated>, JsonRejection>,
) -> Result<Response, Refused> {
    let asker = auditor(&api, caller).await?;
    let Json(asked) = asked.map_err(|error| Refused::request(error.body_text()))?;
    let why = readable(&asked.reason)?;
    let of = match &asked.who {
        Some(who) => Some(
            find::one_of_all(&api, &asker, who, AuditAct::LookedForSubject)
                .await?
                .scope(),
        ),
        None => None,
    };
    whole(async move {
        let _alone = api.erasing.lock().await;
        let whose = match &of {
            Some(of) => find::called(&api, of).await?,
            None => "everybody".to_owned(),
        };
        let mut event = asker.does(&api, What::PartKeysRotated);
        event.note = Some(format!("new keys for the parts of {whose} from now on: {why}"));
        let written = api.parts.events.record(event).await.map_err(|error| {
            tracing::error!(error = %error, "a change of keys was not recorded");
            Refused::unavailable("it could not be recorded, so nothing was done; try again")
        })?;
        written.into_iter().for_each(named::by);
        let now = api.now();
        let keys = stored(&api, move |store| {
            store.retire_part_keys(of.as_ref().map(|of| of.subject.as_str()), now)
        })
        .await?;
        api.parts.erases.forget_keys();
        Ok(Json(json!({"keys": keys})).into_response())
    })
    .await
}
