//! What somebody may read of the ledger, and why: `audit can`.
//!
//! `GET /api/v1/audit/can` → `{user, all, roles: [{name, by, clusters?, namespaces?, hides, may}], configured?}`: `by` is the groups that
//! give the asker the role. `configured` is for members of an audit group alone: every role with its groups.
//!
//! It reads no record, so that none says that it was asked.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use search::Scope;
use serde_json::{Value, json};

use super::asker::Asker;
use super::{Api, RoleOf};
use crate::answer::Refused;
use crate::caller::Caller;

pub(super) async fn rights(State(api): State<Api>, caller: Caller) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let groups = &asker.session.identity.groups;
    let all = asker.scope == Scope::All;
    let held = |named: &[String]| -> Vec<String> {
        let held = named.iter().filter(|group| groups.contains(group));
        held.cloned().collect()
    };
    let roles = api.parts.audit_roles.iter().filter_map(|one| {
        let by = held(&one.groups);
        (!by.is_empty()).then(|| told(one, "by", &by))
    });
    let mut answer = json!({
        "user": asker.session.identity.username,
        "all": all,
        "allBy": held(&api.parts.audit_groups),
        "roles": roles.collect::<Vec<_>>(),
    });
    if all && let Some(answer) = answer.as_object_mut() {
        let every = api.parts.audit_roles.iter().map(|one| told(one, "groups", &one.groups));
        let configured = json!({"auditGroups": api.parts.audit_groups, "roles": every.collect::<Vec<_>>()});
        answer.insert("configured".to_owned(), configured);
    }
    Ok(Json(answer).into_response())
}

fn told(one: &RoleOf, name: &str, groups: &[String]) -> Value {
    let mut told = json!(*one.role);
    if let Some(told) = told.as_object_mut() {
        told.insert(name.to_owned(), json!(groups));
    }
    told
}

#[cfg(test)]
pub(super) mod tests;
