//! What somebody may read of the ledger, and why: `audit can`.
//!
//! `GET /api/v1/audit/can` → `{user, all, roles: [{name, by, clusters?, namespaces?, hides, may}], configured?}`: `by` is the groups that
//! give the asker the role. `configured` is for members of an audit group alone: every role with its groups.
//!
//! It reads no record, and is recorded all the same: what an auditor is told of others' rights is part of who knew what.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use search::Scope;
use serde_json::{Value, json};

use super::asker::Asker;
use super::read::AuditAct;
use super::records::count;
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
        (!by.is_empty()).then(|| in_json(one, "by", &by))
    });
    let roles: Vec<Value> = roles.collect();
    let told = count(if all { api.parts.audit_roles.len() } else { roles.len() });
    let mut answer = json!({
        "user": asker.session.identity.username,
        "all": all,
        "allBy": held(&api.parts.audit_groups),
        "roles": roles,
    });
    if all && let Some(answer) = answer.as_object_mut() {
        let every = api
            .parts
            .audit_roles
            .iter()
            .map(|one| in_json(one, "groups", &one.groups));
        let configured = json!({"auditGroups": api.parts.audit_groups, "roles": every.collect::<Vec<_>>()});
        answer.insert("configured".to_owned(), configured);
    }
    api.record(asker.reads(&api, AuditAct::AskedRights, "", told)).await?;
    Ok(Json(answer).into_response())
}

fn in_json(one: &RoleOf, name: &str, groups: &[String]) -> Value {
    let mut told = json!(*one.role);
    if let Some(told) = told.as_object_mut() {
        told.insert(name.to_owned(), json!(groups));
    }
    told
}

#[cfg(test)]
pub(super) mod tests;
