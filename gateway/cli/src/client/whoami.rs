//! `gatescribe whoami` and `gatescribe idp test`: the gateway's own word on who one is, and why.

use serde_json::{Map, Value, json};

use super::document::document;
use super::gateway::{API, Endpoints, read_json, url_of};
use super::home::Home;
use super::http::Client;
use super::login::{meet, sign_in};
use super::session::{block_on, chosen, ready, warn_of_clocks, with_clocks};
use super::signin::Surroundings;
use super::table::facts;
use super::trouble::Trouble;
use super::{GatewayArgument, Output};
use crate::Exit;
use crate::terminal::data;

pub(super) fn run(claims: bool, output: Output, gateway: &GatewayArgument) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let told = block_on(async {
        let ready = ready(&home, gateway.url.as_deref(), API).await?;
        let told = read(&ready.client, &ready.kept.endpoints, ready.token.reveal()).await;
        warn_of_clocks(&ready.client);
        told.map_err(|trouble| with_clocks(trouble, &ready.client))
            .map(|told| (ready.kept.gateway, told))
    })?;
    show(told, claims, output)
}

pub(super) fn test(
    provider: Option<&str>,
    device: bool,
    no_browser: bool,
    output: Output,
    gateway: &GatewayArgument,
) -> Result<Exit, Trouble> {
    let home = Home::find()?;
    let gateway = match &gateway.url {
        Some(url) => url_of(url)?,
        None => chosen(&home, None)?,
    };
    let way = Surroundings::look().for_login(device, no_browser);
    let told = block_on(async {
        let met = meet(&home, &gateway, None).await?;
        let kept = sign_in(&home, &met, provider, None, way).await?;
        let token = kept.tokens.get(API).map(|token| token.secret().clone());
        let token =
            token.ok_or_else(|| Trouble::new(Exit::Fault, "the sign-in left no token").remedy("run it again"))?;
        let told = read(&met.client, &kept.endpoints, token.reveal()).await?;
        warn_of_clocks(&met.client);
        Ok((kept.gateway, told))
    })?;
    show(told, true, output)
}

/// What the gateway says of the person, and which bindings name them.
async fn read(client: &Client, endpoints: &Endpoints, token: &str) -> Result<Map<String, Value>, Trouble> {
    let mut told: Map<String, Value> = read_json(client, &endpoints.userinfo, token).await?;
    // An older gateway does not know the question, and who one is stands without it.
    match read_json::<Map<String, Value>>(client, &format!("{}/bindings", endpoints.api), token).await {
        Ok(bound) => told.extend(bound),
        Err(trouble) => drop(told.insert("bindingsUnknown".to_owned(), json!(trouble.text()))),
    }
    Ok(told)
}

fn show((gateway, mut told): (String, Map<String, Value>), claims: bool, output: Output) -> Result<Exit, Trouble> {
    if !claims {
        told.remove("claims");
    }
    data(&match output {
        Output::Json => {
            told.insert("gateway".to_owned(), json!(gateway));
            document("Identity", &told)
        }
        Output::Table => text(&gateway, &told),
    })?;
    Ok(Exit::Done)
}

fn text(gateway: &str, told: &Map<String, Value>) -> String {
    let word = |name: &str| told.get(name).map_or_else(String::new, plain);
    let session = |name: &str| {
        told.get("session")
            .and_then(|session| session.get(name))
            .map_or_else(String::new, plain)
    };
    let groups = told.get("groups").and_then(Value::as_array).map_or(0, Vec::len);
    let mut lines = vec![
        ("user", word("username")),
        ("gateway", gateway.to_owned()),
        ("provider", format!("{} ({})", word("provider"), word("issuer"))),
        ("subject", word("subject")),
        ("e-mail", word("email")),
        ("uid", word("uid")),
        (
            "groups",
            if groups == 0 {
                "none; a rule or binding has to name you yourself".to_owned()
            } else {
                word("groups")
            },
        ),
        ("signed in", time_of_sign_in(told.get("auth_time"))),
        ("session", format!("{} since {}", session("client"), session("began"))),
        (
            "ends",
            format!(
                "{} unless used, {} at the latest",
                session("endsIdle"),
                session("endsAtLatest")
            ),
        ),
        ("mapping", word("mapping")),
    ];
    lines.retain(|(_, value)| !value.is_empty());
    let mut text = facts(&lines);
    text.push_str(&dropped(told));
    text.push_str(&overage(told));
    text.push_str(&bindings(told));
    if let Some(claims) = told.get("claims").and_then(Value::as_object) {
        let claims: Vec<(&str, String)> = claims
            .iter()
            .map(|(name, value)| (name.as_str(), plain(value)))
            .collect();
        text.push_str("\nwhat the provider said\n");
        text.push_str(&facts(&claims));
    }
    text
}

/// The bindings that name the person in each cluster, and by which name.
fn bindings(told: &Map<String, Value>) -> String {
    let member = |of: &Value, name: &str| of.get(name).map_or_else(String::new, plain);
    let clusters = told.get("clusters").and_then(Value::as_array);
    let mut text = String::new();
    if let Some(why) = told.get("bindingsUnknown").and_then(Value::as_str) {
        text.push_str(&format!("\n! the gateway did not say which bindings name you: {why}\n"));
    }
    for cluster in clusters.into_iter().flatten() {
        let known = match cluster.get("isKnown").and_then(Value::as_bool) {
            Some(false) => ", as far as is known: the cluster cannot be read right now",
            _ => "",
        };
        text.push_str(&format!("\nbindings in {}{known}\n", member(cluster, "cluster")));
        let named = cluster.get("bindings").and_then(Value::as_array);
        let lines: Vec<(String, String)> = named
            .into_iter()
            .flatten()
            .map(|binding| {
                let group = binding.pointer("/by/group").and_then(Value::as_str);
                let by = group.map_or_else(|| "by your name".to_owned(), |group| format!("by group {group}"));
                (member(binding, "text"), by)
            })
            .collect();
        let lines: Vec<(&str, String)> = lines.iter().map(|(text, by)| (text.as_str(), by.clone())).collect();
        text.push_str(&facts(&lines));
        let count = cluster.get("count").and_then(Value::as_u64).unwrap_or_default();
        let rest = count.saturating_sub(u64::try_from(lines.len()).unwrap_or(u64::MAX));
        match (lines.is_empty(), rest) {
            (true, _) => text.push_str("  none names you or one of your groups\n"),
            (false, 0) => {}
            (false, rest) => text.push_str(&format!("  and {rest} more (`-o json` has the first 200)\n")),
        }
    }
    text
}

/// Groups that the provider named and that do not count here, with the reason.
fn dropped(told: &Map<String, Value>) -> String {
    let dropped = told.get("droppedGroups").and_then(Value::as_array);
    let lines: Vec<(String, String)> = dropped
        .into_iter()
        .flatten()
        .map(|group| {
            let member = |name: &str| group.get(name).map_or_else(String::new, plain);
            (member("group"), member("reason"))
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<(&str, String)> = lines
        .iter()
        .map(|(group, reason)| (group.as_str(), reason.clone()))
        .collect();
    format!("\ngroups that do not count\n{}", facts(&lines))
}

/// Microsoft's and others' way to leave groups out of a token when there are many (distributed claims, OpenID Connect
/// Core §5.6.2). The gateway knows which claims say so.
fn overage(told: &Map<String, Value>) -> String {
    if told.get("overage") == Some(&Value::Bool(true)) {
        "\n! the provider left the groups out of the token because there are too many; let it send only groups that are \
         assigned to the application\n"
            .to_owned()
    } else {
        String::new()
    }
}

fn time_of_sign_in(auth_time: Option<&Value>) -> String {
    let seconds = auth_time.and_then(Value::as_i64);
    seconds.map_or_else(String::new, |seconds| {
        super::session::in_seconds(model::time::Timestamp::from_unix_seconds(seconds))
    })
}

/// A value on one line: texts without quotes, lists with commas, times without fractions of a second.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            model::time::Timestamp::parse(text).map_or_else(|_| text.clone(), super::session::in_seconds)
        }
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_decides_is_shown_and_nothing_empty() {
        let told = json!({
            "username": "alice@example.test", "provider": "corp", "issuer": "https://idp.example", "subject": "42",
            "groups": ["dev", "ops"], "email": null, "uid": null, "auth_time": 1_700_000_000,
            "session": {"client": "cli", "began": "2026-11-21T05:00:00.123456Z", "endsIdle": "2026-11-21T17:00:00Z",
                        "endsAtLatest": "2026-11-28T05:00:00Z"},
            "mapping": "claim `email`", "overage": true, "droppedGroups": [{"group": "system:masters", "reason": "reserved"}],
            "claims": {"sub": "42", "hasgroups": true},
            "clusters": [
                {"cluster": "prod", "isKnown": true, "count": 3, "bindings": [
                    {"text": "RoleBinding shop/viewers → ClusterRole/view", "by": {"group": "dev"}},
                    {"text": "RoleBinding shop/me → Role/mine", "by": {"user": true}}]},
                {"cluster": "spare", "isKnown": false, "count": 0, "bindings": []},
            ],
        });
        let text = text("https://gate.example", told.as_object().unwrap());
        assert_eq!(
            text,
            "user       alice@example.test\n\
             gateway    https://gate.example\n\
             provider   corp (https://idp.example)\n\
             subject    42\n\
             groups     dev, ops\n\
             signed in  2023-11-14T22:13:20Z\n\
             session    cli since 2026-11-21T05:00:00Z\n\
             ends       2026-11-21T17:00:00Z unless used, 2026-11-28T05:00:00Z at the latest\n\
             mapping    claim `email`\n\
             \ngroups that do not count\nsystem:masters  reserved\n\
             \n! the provider left the groups out of the token because there are too many; let it send only groups that are \
             assigned to the application\n\
             \nbindings in prod\n\
             RoleBinding shop/viewers → ClusterRole/view  by group dev\n\
             RoleBinding shop/me → Role/mine              by your name\n  \
             and 1 more (`-o json` has the first 200)\n\
             \nbindings in spare, as far as is known: the cluster cannot be read right now\n  \
             none names you or one of your groups\n\
             \nwhat the provider said\nhasgroups  true\nsub        42\n"
        );
    }
}
