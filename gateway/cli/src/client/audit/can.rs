//! `gatescribe audit can`: which records one may read, and why.

use serde_json::{Map, Value};

use super::remote;
use crate::Exit;
use crate::client::document::document;
use crate::client::table::facts;
use crate::client::trouble::Trouble;
use crate::client::{GatewayArgument, Output};
use crate::terminal::data;

pub(super) fn run(output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let told = remote::rights(gateway)?;
    data(&match output {
        Output::Json => document("AuditRights", &told),
        Output::Table => text(&told),
    })?;
    Ok(Exit::Done)
}

fn text(told: &Map<String, Value>) -> String {
    let user = told.get("user").and_then(Value::as_str).unwrap_or_default();
    let mut text = facts(&[("you", user.to_owned()), ("your own", "everything, whole".to_owned())]);
    let roles = told
        .get("roles")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    if told.get("all") == Some(&Value::Bool(true)) {
        let by = list(told.get("allBy"));
        text.push_str(&facts(&[(
            "others",
            format!("everything, whole: you are in {by} (`identity.auditGroups`)"),
        )]));
    } else {
        for role in roles {
            text.push_str(&format!("\n{}", of_role(role, "by group", "by")));
        }
        let rest = if roles.is_empty() {
            "nothing: no audit role is yours"
        } else {
            "nothing else"
        };
        text.push_str(&format!("\n{}", facts(&[("others", rest.to_owned())])));
    }
    let configured = told
        .get("configured")
        .and_then(|all| all.get("roles"))
        .and_then(Value::as_array);
    for role in configured.into_iter().flatten() {
        text.push_str(&format!("\n{}", of_role(role, "groups", "groups")));
    }
    text
}

fn of_role(role: &Value, label: &str, member: &str) -> String {
    let is_there = |name: &str| role.get(name).is_some();
    let places = |name: &str, all: &str| {
        if is_there(name) {
            list(role.get(name))
        } else {
            all.to_owned()
        }
    };
    let some = |name: &str, none: &str| {
        Some(list(role.get(name)))
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| none.to_owned())
    };
    facts(&[
        (
            "role",
            role.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(),
        ),
        (label, list(role.get(member))),
        ("clusters", places("clusters", "all, and what goes to none")),
        ("namespaces", places("namespaces", "all, and what lies in none")),
        ("hidden", some("hides", "nothing")),
        ("besides", some("may", "nothing: rows and records alone")),
    ])
}

fn list(value: Option<&Value>) -> String {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}
