//! `why`: what was decided about one call, as it was recorded at that time. Nothing is decided again: policy may have changed.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use model::decision::{RuleEffect, RuleRef};
use search::{Acting, Called, Decision, Query, Row, Scope, View};
use serde_json::{Value, json};

use super::Api;
use super::asker::Asker;
use super::read::AuditAct;
use super::records::{Wanted, count, look_up, run};
use crate::answer::Refused;
use crate::caller::Caller;

/// What `last` stands for: people ask after a refusal.
const LAST: &str = "outcome:refused since:24h";

pub(super) async fn why(State(api): State<Api>, caller: Caller, Path(id): Path<String>) -> Result<Response, Refused> {
    let asker = Asker::of(&api, caller).await?;
    let row = if id == "last" {
        last(&api, &asker).await?
    } else {
        look_up(&api, &asker, &id, AuditAct::AskedWhy, None).await?.record
    };
    let decision = row.decision.clone().unwrap_or_default();
    Ok(Json(json!({
        "id": row.id,
        "t": row.t,
        "act": row.act,
        "allowed": !row.refused,
        "refused_by": row.refused_by,
        "reason": row.reason,
        "words": words(&row),
        "rules": decision.rules,
        "policy": decision.policy,
        "record": row,
        "scope": asker.scope.name(),
    }))
    .into_response())
}

/// The asker's own newest refused call.
async fn last(api: &Api, asker: &Asker) -> Result<Row, Refused> {
    let query = Query::parse(LAST).map_err(|error| Refused::request(error.to_string()))?;
    let own = Scope::Own(asker.session.subject_id.clone());
    let page = run(
        api,
        asker,
        own,
        Wanted {
            query,
            view: View::All,
            limit: 1,
            after: None,
        },
    )
    .await?;
    api.record(asker.reads(api, AuditAct::AskedWhy, "last", count(page.rows.len())))
        .await?;
    page.rows.into_iter().next().ok_or_else(|| {
        Refused::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "none of your calls was refused within the last 24 hours; give the id of a call to ask about another one",
        )
    })
}

/// The decision in sentences.
fn words(row: &Row) -> Vec<String> {
    let mut said = vec![verdict(row)];
    // An allowed call that nobody made is no call, and one that was made passed by.
    let is_said_alone = row.source == "verdict";
    if is_said_alone {
        said.push(
            "An ingress asked for that, and forwards by itself: what became of the call is not known here.".to_owned(),
        );
    }
    let outcome = row.outcome.as_ref();
    said.extend(outcome.and_then(|outcome| outcome.why.clone()));
    said.extend(
        row.note
            .iter()
            .filter(|_| row.refused || is_said_alone)
            .map(|note| format!("The gateway noted: {note}.")),
    );
    if let Some(effective) = &row.effective {
        said.push(format!("It was to be done as `{effective}`."));
    }
    said.extend(of_workloads(&row.via));
    said.extend(row.service.as_ref().map(of_service));
    let Some(decision) = &row.decision else {
        said.push("No decision stands in this record.".to_owned());
        return said;
    };
    if row.hides_texts() {
        said.push("Which rules mattered is hidden by your audit role.".to_owned());
    } else if decision.rules.is_empty() {
        // Bindings are about clusters.
        let nothing = if row.service.is_some() {
            "No rule matched."
        } else {
            "No rule and no binding matched."
        };
        said.push(nothing.to_owned());
    }
    said.extend(decision.rules.iter().map(rule_in_words));
    said.extend(
        decision
            .stated_reason
            .as_ref()
            .map(|reason| format!("The stated reason was `{reason}`.")),
    );
    if !decision.policy.is_empty() {
        said.push(format!("The policy was {}.", decision.policy));
    }
    said
}

/// Which workloads did it for the person.
fn of_workloads(via: &[Acting]) -> Option<String> {
    let (asked, before) = via.split_last()?;
    let through: Vec<String> = before.iter().map(|acting| format!("`{}`", acting.user)).collect();
    let through = match through.is_empty() {
        true => String::new(),
        false => format!(", which was called through {}", through.join(", then ")),
    };
    Some(format!("It was done for that person by `{}`{through}.", asked.user))
}

/// Which service it was, and whether the public was let in.
fn of_service(called: &Called) -> String {
    let public = if called.public {
        " Nobody had signed in: a rule lets the public do this."
    } else {
        ""
    };
    match &called.name {
        Some(name) => format!("It was a call of the service `{name}` at `{}`.{public}", called.host),
        None => format!("At `{}` no service is published at this path.{public}", called.host),
    }
}

fn verdict(row: &Row) -> String {
    let code = row
        .reason
        .as_deref()
        .map(|code| format!(" ({code})"))
        .unwrap_or_default();
    match (row.refused_by, &row.decision) {
        (Some("cluster"), Some(Decision { allowed: true, .. })) => {
            format!("The gateway allowed it, and the cluster refused it{code}.")
        }
        (Some("service"), _) => format!("The gateway allowed it, and the service refused it{code}."),
        (Some("cluster"), _) => format!("The cluster was asked and refused it{code}."),
        (Some(_), _) => format!("The gateway refused it{code}."),
        (None, Some(Decision { allowed: true, .. })) => "The gateway allowed it.".to_owned(),
        (None, _) => "It was not refused.".to_owned(),
    }
}

/// A rule as recorded; one that this version does not know is shown as it stands.
pub(super) fn rule_in_words(rule: &Value) -> String {
    let Ok(rule) = serde_json::from_value::<RuleRef>(rule.clone()) else {
        return format!("A rule that this version does not know: {rule}");
    };
    let does = match rule.effect {
        // Only an allow that does not hold has a reason: it could not be told, or it is about somebody else.
        RuleEffect::Allow if rule.why.is_some() => "does not allow it",
        RuleEffect::Allow => "allows it",
        RuleEffect::Forbid => "forbids it",
        RuleEffect::WouldAllow => "would allow it (shadow mode)",
        RuleEffect::WouldForbid => "would forbid it (shadow mode)",
    };
    match &rule.why {
        Some(why) => format!("{rule} {does}: {why}."),
        None => format!("{rule} {does}."),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_allow_rule_with_a_reason_is_not_said_to_have_allowed() {
        let mut rule = json!({"kind": "accessRule", "name": "r", "effect": "allow"});
        assert_eq!(rule_in_words(&rule), "AccessRule r allows it.");
        rule["why"] = json!("its condition failed");
        assert_eq!(
            rule_in_words(&rule),
            "AccessRule r does not allow it: its condition failed."
        );
    }
}
